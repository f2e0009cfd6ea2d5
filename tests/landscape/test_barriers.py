import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, symmetry, training


def toy(params):
    """(uv - 1)^2 / 2, with minima on the hyperbola uv = 1."""
    return (params["u"] * params["v"] - 1) ** 2 / 2


def on_the_hyperbola(p):
    return {"u": jnp.asarray(p), "v": jnp.asarray(1 / p)}


def test_two_arms_of_the_toy_landscape_have_a_barrier_of_one_half():
    found = landscape.barrier(toy, on_the_hyperbola(1.0), on_the_hyperbola(-1.0))
    np.testing.assert_allclose(found.height, 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.at, 0.5)
    phi = ((1 - 2 * found.alphas) ** 2 - 1) ** 2 / 2
    np.testing.assert_allclose(found.losses, phi, rtol=1e-4, atol=1e-6)


def test_one_arm_of_the_toy_landscape_at_its_midpoint():
    found = landscape.barrier(toy, on_the_hyperbola(1.0), on_the_hyperbola(4.0))
    np.testing.assert_allclose(found.losses[12], 0.158203125, rtol=1e-6)


def test_a_concave_quadratic_has_the_closed_form(x64, key):
    h = jax.random.normal(key, (5, 5), jnp.float64)
    h = h + h.T - 10 * jnp.eye(5)
    a, b = jax.random.normal(key, (2, 5), jnp.float64)
    found = landscape.barrier(lambda p: p @ h @ p / 2, a, b)
    d = b - a
    np.testing.assert_allclose(found.height, -0.125 * d @ h @ d, rtol=1e-12)
    # The same with a slope: the linear reference takes it away.
    tilted = landscape.barrier(lambda p: p @ h @ p / 2 + 3 * p[0], a, b)
    np.testing.assert_allclose(tilted.height, found.height, rtol=1e-10)


def test_convex_models_never_have_a_barrier(key):
    x = jax.random.normal(key, (30, 4))
    y = (x[:, 0] > 0).astype(jnp.float32)
    logistic = lambda w: jnp.mean(  # noqa: E731
        jnp.logaddexp(0.0, x @ w) - y * (x @ w)
    )
    linear = lambda w: jnp.mean((x @ w - y) ** 2)  # noqa: E731
    for loss in (logistic, linear):
        for k in jax.random.split(key, 3):
            a, b = 3 * jax.random.normal(k, (2, 4))
            assert landscape.barrier(loss, a, b).height == 0


def test_references():
    loss = lambda p: p + jnp.sin(jnp.pi * p)  # noqa: E731
    height = {
        r: landscape.barrier(loss, jnp.zeros(()), jnp.ones(()), reference=r).height
        for r in ("linear", "mean", "max")
    }
    phi = np.linspace(0, 1, 25) + np.sin(np.pi * np.linspace(0, 1, 25))
    np.testing.assert_allclose(height["linear"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(height["mean"], phi.max() - 0.5, rtol=1e-5)
    np.testing.assert_allclose(height["max"], phi.max() - 1.0, rtol=1e-5)


def test_every_value_of_a_pytree_has_its_barrier():
    loss = lambda p: {"toy": toy(p), "sum": p["u"] + p["v"]}  # noqa: E731
    found = landscape.barrier(
        loss, on_the_hyperbola(1.0), on_the_hyperbola(-1.0), batch_size=5
    )
    np.testing.assert_allclose(found.height["toy"], 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.height["sum"], 0.0, atol=1e-6)


def test_symmetric_in_its_ends_and_never_negative(key):
    loss = lambda p: jnp.sum(jnp.sin(3 * p))  # noqa: E731
    for k in jax.random.split(key, 3):
        a, b = jax.random.normal(k, (2, 4))
        there, back = landscape.barrier(loss, a, b), landscape.barrier(loss, b, a)
        assert there.height >= 0
        np.testing.assert_allclose(there.height, back.height, rtol=1e-4, atol=1e-6)


def test_jit_vmap_and_grad(key):
    loss = lambda p: -jnp.sum(p**2)  # noqa: E731
    a, b = jax.random.normal(key, (2, 3, 4))
    height = lambda a, b: landscape.barrier(loss, a, b).height  # noqa: E731
    together = jax.jit(jax.vmap(height))(a, b)
    expected = jnp.sum((a - b) ** 2, axis=1) / 4
    np.testing.assert_allclose(together, expected, rtol=1e-5)
    np.testing.assert_allclose(
        jax.grad(height)(a[0], b[0]), (a - b)[0] / 2, rtol=1e-4, atol=1e-5
    )


def test_a_non_finite_loss_shows(key):
    a, b = jnp.array(-1.0), jnp.array(1.0)
    assert jnp.isinf(landscape.barrier(lambda p: 1 / p**2, a, b).height)
    assert jnp.isnan(landscape.barrier(jnp.log, a, b).height)


@pytest.mark.parametrize("batch_size", [None, 2, 50])
def test_barrier_matrix_equals_single_barriers(key, batch_size):
    stack = jax.random.normal(key, (4, 3))
    loss = lambda p: jnp.sum(jnp.sin(2 * p))  # noqa: E731
    matrix = landscape.barrier_matrix(loss, stack, batch_size=batch_size)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(jnp.diagonal(matrix), 0)
    for i in range(4):
        for j in range(i):
            single = landscape.barrier(loss, stack[j], stack[i], points=11)
            np.testing.assert_allclose(
                matrix[i, j], single.height, rtol=1e-4, atol=1e-6
            )


def test_barrier_matrix_after_alignment(key):
    first, second = jax.random.split(key)
    params = [
        {"kernel": jax.random.normal(first, (3, 16))},
        {"kernel": jax.random.normal(second, (16, 2))},
    ]
    apply = lambda p, x: jnp.tanh(x @ p[0]["kernel"]) @ p[1]["kernel"]  # noqa: E731
    spec = symmetry.mlp_spec(params)
    copies = [
        symmetry.apply_permutation(spec, symmetry.random_permutation(spec, k), params)
        for k in jax.random.split(key, 3)
    ]
    stack = jax.tree.map(lambda *v: jnp.stack(v), *copies)
    x = jax.random.normal(key, (20, 3))
    y = apply(params, x)
    loss = lambda p: jnp.mean((apply(p, x) - y) ** 2)  # noqa: E731
    before = landscape.barrier_matrix(loss, stack)
    after = landscape.barrier_matrix(
        loss, stack, align=lambda a, b: symmetry.match_weights(spec, a, b).permuted
    )
    assert before[np.triu_indices(3, 1)].min() > 1e-2
    np.testing.assert_allclose(after, 0, atol=1e-6)


def test_one_member_and_pytrees_of_values():
    matrix = landscape.barrier_matrix(
        lambda p: {"a": p, "b": -(p**2)}, jnp.array([1.0, -1.0])
    )
    np.testing.assert_allclose(matrix["a"], np.zeros((2, 2)), atol=1e-6)
    np.testing.assert_allclose(matrix["b"], [[0, 1], [1, 0]], rtol=1e-6)
    assert landscape.barrier_matrix(jnp.sum, jnp.ones((1, 3))).shape == (1, 1)


def test_flax_and_equinox_parameters(key):
    x = jax.random.normal(key, (8, 3))
    net = linen.Sequential([linen.Dense(4), jnp.tanh, linen.Dense(1)])
    a, b = (net.init(k, x) for k in jax.random.split(key))
    loss = lambda p: jnp.mean(net.apply(p, x) ** 2)  # noqa: E731
    assert jnp.isfinite(landscape.barrier(loss, a, b).height)
    make = lambda k: eqx.nn.MLP(3, 1, 4, 1, key=k)  # noqa: E731
    _, static = eqx.partition(make(key), eqx.is_array)
    stack = jax.vmap(lambda k: eqx.filter(make(k), eqx.is_array))(
        jax.random.split(key, 3)
    )
    loss = lambda p: jnp.mean(  # noqa: E731
        jax.vmap(eqx.combine(p, static))(x) ** 2
    )
    assert jnp.all(jnp.isfinite(landscape.barrier_matrix(loss, stack)))


def test_bad_input_is_named():
    a = jnp.ones(2)
    with pytest.raises(ValueError, match="points is 2"):
        landscape.barrier(jnp.sum, a, a, points=2)
    with pytest.raises(ValueError, match="reference is 'median'"):
        landscape.barrier(jnp.sum, a, a, reference="median")
    with pytest.raises(ValueError, match="a and b differ at the root"):
        landscape.barrier(jnp.sum, a, jnp.ones(3))
    with pytest.raises(TypeError, match=r"of the parameters alone.*on_batch"):
        landscape.barrier(training.regression(jnp.dot), a, 2 * a)
    with pytest.raises(ValueError, match=r"leading axis over members.*\['v'\]"):
        landscape.barrier_matrix(jnp.sum, {"u": jnp.ones((2, 3)), "v": jnp.ones(3)})
