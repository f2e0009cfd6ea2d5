"""What looks at a network's structure, on a flax CNN and an equinox perceptron."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, symmetry


class Convolutions(linen.Module):
    @linen.compact
    def __call__(self, x):
        before = linen.Conv(5, (3, 3))(x)
        self.sow("intermediates", "first", before)
        last = linen.Dense(2)(jnp.tanh(before).mean((1, 2)))
        self.sow("intermediates", "second", last)
        return last


def flax_case(key):
    net, x = Convolutions(), jax.random.normal(key, (12, 4, 4, 2))
    params = {"params": net.init(key, x)["params"]}

    @jax.jit
    def layers(params, x):
        kept = net.apply(params, x, mutable="intermediates")[1]["intermediates"]
        return kept["first"][0], kept["second"][0]

    names = ("['params']['Conv_0']", "['params']['Dense_0']")
    affine = [
        symmetry.Affine(
            f"{name}['kernel']",
            axis,
            f"{name}['bias']",
            lambda p, x, i=i: layers(p, x)[i],
        )
        for i, (name, axis) in enumerate(zip(names, (3, 1), strict=True))
    ]
    spec = symmetry.cnn_spec(params, list(names))
    return lambda p, x: layers(p, x)[1], layers, params, spec, affine, x


def equinox_case(key):
    params, static = eqx.partition(eqx.nn.MLP(3, 2, 6, 1, key=key), eqx.is_array)

    @jax.jit
    def layers(params, x):
        net = eqx.combine(params, static)
        before = jax.vmap(net.layers[0])(x)
        return before, jax.vmap(net.layers[1])(jax.nn.relu(before))

    affine = [
        symmetry.Affine(
            f".layers[{i}].weight",
            0,
            f".layers[{i}].bias",
            lambda p, x, i=i: layers(p, x)[i],
        )
        for i in range(2)
    ]
    x = jax.random.normal(key, (12, 3))
    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    return apply, layers, params, symmetry.mlp_spec(params), affine, x


@pytest.fixture(params=[flax_case, equinox_case], ids=["flax", "equinox"])
def case(request, key):
    return request.param(key)


def moved(spec, params, key):
    planted = symmetry.random_permutation(spec, key)
    return symmetry.apply_permutation(spec, planted, params)


def test_activations_and_gradients_find_a_planted_permutation(case, key):
    apply, layers, a, spec, _, x = case
    b = moved(spec, a, key)
    values = [{"P1": layers(p, x)[0].reshape(-1, spec.sizes[0][1])} for p in (a, b)]
    found = symmetry.match_activations(spec, *values, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    y = apply(a, x)
    loss = lambda p, batch: jnp.mean((apply(p, batch[0]) - batch[1]) ** 2)  # noqa: E731
    batches = (x[None], y[None])
    match = lambda a, b: symmetry.match_straight_through(spec, loss, a, b, batches)  # noqa: E731
    found = jax.jit(match)(a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)


def test_copies_merge_into_one_of_them(case, key):
    apply, _, a, spec, _, x = case
    copies = [moved(spec, a, k) for k in jax.random.split(key, 3)]
    stack = jax.tree.map(lambda *v: jnp.stack(v), *copies)
    found = jax.jit(lambda s: symmetry.merge(spec, s))(stack)
    assert found.converged
    np.testing.assert_allclose(
        apply(found.params, x), apply(a, x), rtol=1e-4, atol=1e-5
    )


def test_repaired_units_have_the_statistics_between(case, key):
    _, layers, a, spec, affine, x = case
    other = jax.tree.map(lambda v: v + jax.random.normal(key, v.shape), a)
    b = symmetry.match_weights(spec, a, other).permuted
    fixed = jax.jit(lambda a, b: symmetry.repair(affine, a, b, x, alpha=0.25))(a, b)
    for one, last, found in zip(*(layers(p, x) for p in (a, b, fixed)), strict=True):
        for statistic in (np.mean, np.std):
            goal, end, now = (
                statistic(np.asarray(v).reshape(-1, v.shape[-1]), axis=0)
                for v in (one, last, found)
            )
            np.testing.assert_allclose(
                now, 0.75 * goal + 0.25 * end, rtol=5e-3, atol=1e-4
            )


def test_each_layer_has_its_barrier_and_its_curvature(case, key):
    apply, _, a, _, _, x = case
    b = jax.tree.map(lambda v: v + jax.random.normal(key, v.shape), a)
    loss = jax.jit(lambda p: jnp.mean(jnp.sin(apply(p, x))))
    layers = landscape.layer_leaves(a)

    @jax.jit
    def measure(a, b):
        return (
            landscape.layer_barriers(loss, a, b, points=3),
            landscape.layer_traces(loss, a, key, probes=2),
            landscape.layer_barriers_predicted(loss, a, b),
        )

    found, traces, predicted = measure(a, b)
    assert len(layers) == 2
    assert set(found) == set(traces) == set(predicted) == set(layers)
    leaves, structure = jax.tree_util.tree_flatten_with_path(a)
    for name, owned in layers.items():
        half = [
            (u + v) / 2 if jax.tree_util.keystr(path) in owned else u
            for (path, u), v in zip(leaves, jax.tree.leaves(b), strict=True)
        ]
        expected = loss(jax.tree.unflatten(structure, half))
        np.testing.assert_allclose(found[name].losses[1], expected, rtol=1e-4)
        assert jnp.isfinite(traces[name].value) and jnp.isfinite(predicted[name])
