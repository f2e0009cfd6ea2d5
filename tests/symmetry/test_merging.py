import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, model, nn, symmetry

NETS = {
    "mlp": (nn.MLP((4, 9, 7, 3)), (60, 4)),
    "ntk": (nn.MLP((4, 9, 3), jnp.tanh, "ntk", bias_scale=0.5), (60, 4)),
    "conv": (
        model.Sequential(
            (nn.Conv(2, 5, (3,)), nn.Activation(jax.nn.relu), nn.Conv(5, 3, (3,)))
        ),
        (8, 7, 2),
    ),
}


def statistics(values):
    flat = np.asarray(values).reshape(-1, values.shape[-1])
    return flat.mean(0), flat.std(0)


@pytest.mark.parametrize("name", NETS)
def test_repaired_units_have_the_statistics_between(key, name):
    net, shape = NETS[name]
    a, b = (net.init(k) for k in jax.random.split(key))
    x = jax.random.normal(key, shape)
    layers = symmetry.affine_layers(net)
    fixed = jax.jit(lambda a, b: symmetry.repair(layers, a, b, x, alpha=0.25))(a, b)
    for layer in layers:
        goals = [statistics(layer.values(p, x)) for p in (a, b)]
        for found, (one, other) in zip(
            statistics(layer.values(fixed, x)), zip(*goals, strict=True), strict=True
        ):
            np.testing.assert_allclose(
                found, 0.75 * one + 0.25 * other, rtol=5e-3, atol=1e-4
            )


def test_layers_are_found_with_their_outputs(key):
    net = nn.MLP((4, 9, 3))
    params, x = net.init(key), jax.random.normal(key, (6, 4))
    first, last = symmetry.affine_layers(net)
    assert (first.weight, first.axis, first.bias) == ("[0]['kernel']", 1, "[0]['bias']")
    np.testing.assert_allclose(
        first.values(params, x),
        x @ params[0]["kernel"] + params[0]["bias"][None],
        rtol=1e-5,
    )
    np.testing.assert_allclose(last.values(params, x), net.apply(params, x), rtol=1e-5)


@pytest.mark.parametrize("alpha", [0, 1])
def test_repair_changes_nothing_at_the_ends(key, alpha):
    net, shape = NETS["mlp"]
    a, b = (net.init(k) for k in jax.random.split(key))
    x = jax.random.normal(key, shape)
    layers = symmetry.affine_layers(net)
    fixed = symmetry.repair(layers, a, b, x, alpha=alpha)
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-3, atol=1e-4),
        fixed,
        (a, b)[alpha],
    )


def test_repair_of_dead_units_is_finite_and_differentiable(key):
    net, shape = NETS["mlp"]
    a, b = (net.init(k) for k in jax.random.split(key))
    x = jax.random.normal(key, shape)
    a[0]["kernel"] = a[0]["kernel"].at[:, 0].set(0)
    b[0]["kernel"] = b[0]["kernel"].at[:, 0].set(0)
    layers = symmetry.affine_layers(net)
    total = lambda a: jnp.sum(  # noqa: E731
        net.apply(symmetry.repair(layers, a, b, x), x) ** 2
    )
    value, slope = jax.value_and_grad(total)(a)
    assert jnp.isfinite(value)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


def test_merging_copies_gives_one_of_them(key):
    net = nn.MLP((4, 8, 6, 2))
    params, spec = net.init(key), symmetry.permutation_spec(net)
    copies = [
        symmetry.apply_permutation(spec, symmetry.random_permutation(spec, k), params)
        for k in jax.random.split(key, 4)
    ]
    stack = jax.tree.map(lambda *v: jnp.stack(v), *copies)
    found = jax.jit(lambda s: symmetry.merge(spec, s))(stack)
    assert found.converged
    x = jax.random.normal(key, (5, 4))
    outputs = jax.vmap(lambda p: net.apply(p, x))(found.members)
    np.testing.assert_allclose(outputs[2], net.apply(params, x), rtol=1e-4, atol=1e-5)
    before = jax.tree.map(lambda v: v - v.mean(0)[None], stack)
    apart = sum(float(jnp.sum(v**2)) for v in jax.tree.leaves(before))
    assert found.spread < 1e-6 * apart
    np.testing.assert_allclose(
        net.apply(found.params, x), net.apply(params, x), rtol=1e-4, atol=1e-5
    )


def test_each_round_brings_networks_closer(key):
    net = nn.MLP((4, 8, 2))
    spec = symmetry.permutation_spec(net)
    stack = jax.vmap(net.init)(jax.random.split(key, 3))
    spreads = [symmetry.merge(spec, stack, max_rounds=n).spread for n in (1, 2, 50)]
    centered = jax.tree.map(lambda v: v - v.mean(0)[None], stack)
    start = sum(float(jnp.sum(v**2)) for v in jax.tree.leaves(centered))
    assert start > spreads[0] >= spreads[1] * (1 - 1e-6)
    assert spreads[1] >= spreads[2] * (1 - 1e-6)


def test_bad_input_is_named(key):
    net = nn.MLP((4, 8, 2))
    spec, params = symmetry.permutation_spec(net), net.init(key)
    one = jax.tree.map(lambda v: v[None], params)
    with pytest.raises(ValueError, match="members holds 1 network"):
        symmetry.merge(spec, one)
    with pytest.raises(ValueError, match=r"layer at \[0\].*KANLayer.*not affine"):
        symmetry.affine_layers(kan.KAN((2, 3, 1)))
    with pytest.raises(ValueError, match="bias"):
        symmetry.affine_layers(nn.MLP((2, 3, 1), use_bias=False))
    layer = symmetry.Affine("w", 0, "b", lambda p, x: x)
    with pytest.raises(ValueError, match="names the leaf 'w'"):
        symmetry.repair([layer], params, params, jnp.ones((2, 4)))
