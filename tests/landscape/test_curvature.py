import flax.linen as linen
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, nn, training


@pytest.fixture(scope="module")
def problem():
    net = nn.MLP((4, 8, 3), jnp.tanh)
    x = jax.random.normal(jax.random.key(1), (50, 4))
    y = jnp.argmax(x[:, :3], axis=1)
    loss = training.on_batch(training.classification(net.apply), (x, y))
    params = net.init(jax.random.key(2))
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    hessian = np.asarray(jax.hessian(lambda v: loss(unravel(v)))(flat), np.float64)
    return loss, params, hessian


@pytest.mark.parametrize("which", ["magnitude", "smallest"])
def test_eigenpairs_are_those_of_the_full_hessian(problem, key, which):
    loss, params, hessian = problem
    found = landscape.hessian_eigenpairs(loss, params, 4, key, which=which)
    values = np.linalg.eigvalsh(hessian)
    order = -np.abs(values) if which == "magnitude" else values
    np.testing.assert_allclose(
        found.values, values[np.argsort(order)[:4]], rtol=1e-3, atol=1e-5
    )
    assert found.converged
    assert jax.tree.structure(found.vectors) == jax.tree.structure(params)


def test_an_eigenvalue_has_its_derivative(key):
    loss = lambda p: jnp.sum(p**4 * jnp.arange(1.0, 6.0))  # noqa: E731
    params = jnp.ones(5)
    top = lambda p: landscape.hessian_eigenpairs(loss, p, 1, key).values[0]  # noqa: E731
    value, slope = jax.value_and_grad(top)(params)
    # The Hessian is diagonal, 12 i p_i^2: the last is the largest.
    np.testing.assert_allclose(value, 60.0, rtol=1e-5)
    np.testing.assert_allclose(slope, [0, 0, 0, 0, 120.0], atol=0.05)


def test_traces_of_the_whole_and_of_layers(problem, key):
    loss, params, hessian = problem
    whole = landscape.hessian_trace(loss, params, key, probes=200)
    assert abs(whole.value - np.trace(hessian)) < 4 * whole.error
    layers = landscape.layer_traces(loss, params, key, probes=200)
    assert list(layers) == ["[0]", "[1]"]
    first = 4 * 8 + 8
    for name, part in (("[0]", slice(0, first)), ("[1]", slice(first, None))):
        expected = np.trace(hessian[part, part])
        assert abs(layers[name].value - expected) < 4 * layers[name].error


def test_blocks_of_layers(problem, key):
    loss, params, hessian = problem
    found = landscape.layer_eigenpairs(loss, params, 2, key, which="largest")
    first = 4 * 8 + 8
    for name, part in (("[0]", slice(0, first)), ("[1]", slice(first, None))):
        values = np.linalg.eigvalsh(hessian[part, part])[::-1][:2]
        np.testing.assert_allclose(found[name].values, values, rtol=1e-3)
    np.testing.assert_allclose(found["[0]"].vectors[1]["kernel"], 0, atol=1e-6)


def test_the_smallest_of_blocks_without_a_zero(key):
    """Zeros around a block are no eigenvalues of it."""
    diagonals = {"a": jnp.arange(2.0, 6.0), "b": jnp.arange(10.0, 13.0)}
    loss = lambda p: sum(jnp.sum(p[k] ** 2 * d) / 2 for k, d in diagonals.items())  # noqa: E731
    params = jax.tree.map(jnp.ones_like, diagonals)
    found = landscape.layer_eigenpairs(
        loss, params, 2, key, layers={"a": ("['a']",)}, which="smallest"
    )["a"]
    np.testing.assert_allclose(found.values, [2, 3], rtol=1e-4)
    np.testing.assert_allclose(jnp.abs(found.vectors["a"]), jnp.eye(2, 4), atol=1e-3)
    np.testing.assert_allclose(found.vectors["b"], np.zeros((2, 3)), atol=1e-5)
    assert found.converged


def test_the_spectrum_follows_the_full_one(problem, key):
    loss, params, hessian = problem
    found = jax.jit(
        lambda p: landscape.hessian_spectrum(loss, p, key, steps=40, probes=20)
    )(params)
    np.testing.assert_allclose(jnp.trapezoid(found.density, found.x), 1.0, rtol=1e-2)
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(found.quadrature.nodes.max(), values[-1], rtol=1e-3)
    mean = jnp.trapezoid(found.density * found.x, found.x) * values.size
    assert abs(mean - values.sum()) < 0.15 * abs(values.sum())


@pytest.mark.slow
def test_the_spectrum_of_two_thousand_parameters(key):
    """Stochastic Lanczos quadrature against eigh of the full Hessian."""
    net = nn.MLP((16, 64, 14), jnp.tanh)
    x = jax.random.normal(key, (200, 16))
    y = jnp.argmax(x[:, :14], axis=1)
    loss = training.on_batch(training.classification(net.apply), (x, y))
    params = net.init(key)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    assert 1_900 < flat.size < 2_100
    hessian = jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat)
    values = np.linalg.eigvalsh(np.asarray(hessian, np.float64))
    width = (values[-1] - values[0]) / 50
    found = landscape.hessian_spectrum(
        loss, params, key, steps=80, probes=10, width=width
    )
    distance = (np.asarray(found.x)[:, None] - values[None]) / width
    bells = np.exp(-0.5 * distance**2) / (width * np.sqrt(2 * np.pi))
    full = bells.mean(1)
    apart = np.trapezoid(np.abs(found.density - full), found.x)
    assert apart < 0.05
    np.testing.assert_allclose(found.quadrature.nodes.max(), values[-1], rtol=1e-4)


def test_a_flax_convolution(key):
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = jnp.tanh(linen.Conv(3, (3, 3))(x)).mean((1, 2))
            return linen.Dense(2)(x)

    net, x = Net(), jax.random.normal(key, (4, 5, 5, 1))
    params = net.init(key, x)
    loss = lambda p: jnp.mean(net.apply(p, x) ** 2)  # noqa: E731
    found = landscape.hessian_eigenpairs(loss, params, 2, key)
    product = jax.jit(lambda v: jax.jvp(jax.grad(loss), (params,), (v,))[1])
    for i, value in enumerate(found.values):
        v = jax.tree.map(lambda leaf, i=i: leaf[i], found.vectors)
        jax.tree.map(
            lambda image, leaf, value=value: np.testing.assert_allclose(
                image, value * leaf, atol=1e-3 * abs(float(found.values[0]))
            ),
            product(v),
            v,
        )
    assert found.converged


def test_bad_input_is_named(key):
    with pytest.raises(TypeError, match="params at the root has dtype int32"):
        landscape.hessian_eigenpairs(jnp.sum, jnp.arange(3), 1, key)
    with pytest.raises(ValueError, match="k is 4"):
        landscape.hessian_eigenpairs(jnp.sum, jnp.ones(3), 4, key)
    with pytest.raises(ValueError, match=r"layers\['x'\] names 'nowhere'"):
        landscape.layer_traces(jnp.sum, jnp.ones(3), key, layers={"x": ("nowhere",)})


def test_every_eigenpair_of_a_small_hessian(key):
    matrix = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    found = landscape.hessian_eigenpairs(
        lambda v: 0.5 * v @ matrix @ v, jnp.zeros(2), 2, key
    )
    np.testing.assert_allclose(found.values, [3.0, 1.0], rtol=1e-6)
    assert found.converged


@pytest.mark.parametrize("features", [2, 6])
def test_the_density_of_a_linear_model_spans_its_spectrum(features, key):
    x = jax.random.normal(key, (8, features))
    params = {"w": jnp.zeros((features, 5)), "b": jnp.zeros(5)}
    loss = lambda p: 0.5 * jnp.sum(jnp.square(x @ p["w"] + p["b"][None] - 1))  # noqa: E731
    found = landscape.hessian_spectrum(loss, params, key, steps=10, points=64)
    ones = np.concatenate([np.asarray(x), np.ones((8, 1))], axis=1)
    values = np.linalg.eigvalsh(ones.T @ ones)
    assert found.x[0] > -0.1 * values[-1] and found.x[-1] < 1.1 * values[-1]
    assert jnp.all(jnp.isfinite(found.density))


def test_the_density_of_a_single_eigenvalue(key):
    found = landscape.hessian_spectrum(
        lambda p: 1.5 * jnp.sum(p**2), jnp.zeros(9), key, steps=4, points=101
    )
    area = jnp.trapezoid(found.density, found.x)
    np.testing.assert_allclose(area, 1.0, rtol=1e-3)
    np.testing.assert_allclose(found.x[jnp.argmax(found.density)], 3.0, rtol=1e-3)


def test_more_pairs_than_a_layer_has_parameters_are_refused(key):
    params = {"a": {"kernel": jnp.ones(3)}, "b": {"kernel": jnp.ones(1)}}
    loss = lambda p: sum(jnp.sum(v**2) for v in jax.tree.leaves(p))  # noqa: E731
    with pytest.raises(ValueError, match="k is 2, but the layer .*'b'.* has 1 param"):
        landscape.layer_eigenpairs(loss, params, 2, key)
