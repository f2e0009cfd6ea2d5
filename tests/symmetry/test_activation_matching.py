import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, landscape, model, nn, symmetry

NETS = {
    "mlp": nn.MLP((4, 9, 7, 3), jnp.tanh),
    "kan": kan.KAN((4, 6, 2), basis=bases.BSpline(4)),
    "conv": model.Sequential(
        (
            nn.Conv(2, 6, (3, 3)),
            nn.Activation(jax.nn.relu),
            nn.Conv(6, 3, (3, 3)),
        )
    ),
}
SHAPES = {"mlp": (50, 4), "kan": (50, 4), "conv": (6, 5, 5, 2)}


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, "correlation") for name in NETS] + [("mlp", "product")],
)
def test_a_planted_permutation_is_recovered(key, name, mode):
    net = NETS[name]
    a, x = net.init(key), jax.random.normal(key, SHAPES[name])
    spec = symmetry.permutation_spec(net)
    planted = symmetry.random_permutation(spec, jax.random.key(3))
    b = symmetry.apply_permutation(spec, planted, a)
    values = [symmetry.hidden_values(net, p, x) for p in (a, b)]
    assert set(values[0]) == set(spec.names)
    found = symmetry.match_activations(spec, *values, b, mode=mode)
    if mode == "correlation":
        inverse = symmetry.invert_permutation(planted)
        jax.tree.map(np.testing.assert_array_equal, found.permutation, inverse)
        np.testing.assert_allclose(found.objective, 1.0, atol=1e-2)
    np.testing.assert_allclose(
        net.apply(found.permuted, x), net.apply(b, x), rtol=1e-3, atol=1e-4
    )
    assert found.converged and found.sweeps == 1


def test_scores_are_those_of_numpy(key):
    spec = symmetry.spec_from_axes({"w": ("P",)}, {"w": jnp.zeros(4)})
    x, y = jax.random.normal(key, (2, 30, 4))
    y = y + x[:, ::-1]
    found = symmetry.match_activations(spec, {"P": x}, {"P": y}, {"w": jnp.arange(4.0)})
    table = np.corrcoef(np.asarray(x).T, np.asarray(y).T)[:4, 4:]
    np.testing.assert_array_equal(found.permutation["P"], [3, 2, 1, 0])
    expected = table[np.arange(4), [3, 2, 1, 0]].mean()
    np.testing.assert_allclose(found.objective, expected, rtol=1e-3)


def test_dead_units_and_names_without_values(key):
    spec = symmetry.spec_from_axes({"w": ("P", "Q")}, {"w": jnp.zeros((3, 2))})
    x = jax.random.normal(key, (20, 3)).at[:, 1].set(0)
    found = symmetry.match_activations(
        spec, {"P": x}, {"P": x[:, ::-1]}, {"w": jnp.zeros((3, 2))}
    )
    np.testing.assert_array_equal(found.permutation["P"], [2, 1, 0])
    np.testing.assert_array_equal(found.permutation["Q"], [0, 1])
    broken = symmetry.match_activations(
        spec, {"P": x * jnp.nan}, {"P": x}, {"w": jnp.zeros((3, 2))}
    )
    assert not broken.converged
    np.testing.assert_array_equal(broken.permutation["P"], [0, 1, 2])


def test_a_flax_network_with_captured_activations(key):
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = jnp.tanh(linen.Dense(8)(x))
            self.sow("intermediates", "P1", x)
            return linen.Dense(2)(x)

    net, x = Net(), jax.random.normal(key, (40, 3))
    a = {"params": net.init(key, x)["params"]}
    spec = symmetry.mlp_spec(a)
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)

    def values(p):
        kept = net.apply(p, x, mutable="intermediates")[1]["intermediates"]
        return {"P1": kept["P1"][0]}

    found = symmetry.match_activations(spec, values(a), values(b), b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)


def test_jit_and_vmap_over_members(key):
    net = nn.MLP((3, 5, 2), jnp.tanh)
    spec, x = symmetry.permutation_spec(net), jax.random.normal(key, (20, 3))
    a = net.init(key)
    stack = jax.vmap(net.init)(jax.random.split(key, 2))

    def match(b):
        values = [symmetry.hidden_values(net, p, x) for p in (a, b)]
        return symmetry.match_activations(spec, *values, b)

    together = jax.jit(jax.vmap(match))(stack)
    alone = match(jax.tree.map(lambda v: v[1], stack))
    np.testing.assert_array_equal(
        together.permutation["P1"][1], alone.permutation["P1"]
    )


def test_straight_through_lowers_the_midpoint(key):
    net = nn.MLP((3, 8, 1), jnp.tanh)
    x = jax.random.normal(key, (64, 3))
    y = net.apply(net.init(jax.random.key(9)), x)
    loss = lambda p, batch: jnp.mean((net.apply(p, batch[0]) - batch[1]) ** 2)  # noqa: E731
    spec, a = symmetry.permutation_spec(net), net.init(key)
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)
    batches = (jnp.stack([x] * 4), jnp.stack([y] * 4))
    found = jax.jit(
        lambda a, b: symmetry.match_straight_through(spec, loss, a, b, batches)
    )(a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    np.testing.assert_allclose(found.objective, loss(a, (x, y)), rtol=1e-5)
    other = net.init(jax.random.key(4))
    start = symmetry.match_weights(spec, a, other)
    found = symmetry.match_straight_through(
        spec, loss, a, other, batches, learning_rate=0.3
    )
    midway = lambda p: loss(landscape.interpolate(a, p, 0.5), (x, y))  # noqa: E731
    assert found.objective <= midway(start.permuted) * (1 + 1e-5)
    np.testing.assert_allclose(found.objective, midway(found.permuted), rtol=1e-4)


def test_bad_input_is_named(key):
    spec = symmetry.spec_from_axes({"w": ("P",)}, {"w": jnp.zeros(4)})
    w, x = {"w": jnp.zeros(4)}, jnp.zeros((5, 4))
    with pytest.raises(ValueError, match="mode is 'cosine'"):
        symmetry.match_activations(spec, {"P": x}, {"P": x}, w, mode="cosine")
    with pytest.raises(ValueError, match=r"values for 'Q'; .*\('P',\)"):
        symmetry.match_activations(spec, {"Q": x}, {"Q": x}, w)
    with pytest.raises(ValueError, match="values_b lacks 'P'"):
        symmetry.match_activations(spec, {"P": x}, {}, w)
    with pytest.raises(ValueError, match=r"must be \(samples, 4\)"):
        symmetry.match_activations(spec, {"P": x[:, :3]}, {"P": x[:, :3]}, w)
