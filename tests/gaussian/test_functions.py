import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import gaussian
from kanjax.gaussian import functions

FUNCTIONS = {
    "relu": gaussian.relu(),
    "leaky relu": gaussian.leaky_relu(0.3),
    "abs": gaussian.absolute(),
    "linear": gaussian.ABReLU(1.0, 1.0),
    "abrelu": gaussian.ABReLU(-0.4, 1.7),
    "rectified 1": gaussian.RectifiedMonomial(1),
    "rectified 2": gaussian.RectifiedMonomial(2),
    "rectified 3": gaussian.RectifiedMonomial(3),
    "rectified 4": gaussian.RectifiedMonomial(4),
    "rectified 5": gaussian.RectifiedMonomial(5),
    "erf": gaussian.Erf(),
    "scaled erf": gaussian.Erf(1.5, 0.7, -0.3),
    "sigmoid like": gaussian.sigmoid_like(),
    "gelu": gaussian.Gelu(),
    "sine": gaussian.Sine(1.2, 0.8, 0.3),
    "cosine": gaussian.cosine(0.7, 1.3, -0.2),
    "rbf": gaussian.rbf(0.6),
    "exponential": gaussian.Exponential(0.8, 0.5),
    "squared exponential": gaussian.SquaredExponential(1.3, -0.4),
    "gabor": gaussian.Gabor(),
    "polynomial": gaussian.Polynomial((0.3, -1.0, 0.5, 0.25)),
    "monomial 5": gaussian.monomial(5),
    "hermite 3": gaussian.hermite(3),
}
JUMPS = {
    "sign": gaussian.Sign(),
    "step": gaussian.Step(),
    "rectified 0": gaussian.RectifiedMonomial(0),
}
COVARIANCES = (
    (1.0, 0.5, 1.0),
    (0.7, -0.4, 1.3),
    (1.6, 1.1, 0.9),
    (0.2, 0.0, 2.0),
    (1.0, 0.999, 1.0),
)


def plane(evaluate, covariance, nodes=100):
    """The dual on angles and radii of numpy's own, between the rays of the kinks."""
    q11, q12, q22 = covariance
    angle = np.arctan2(np.sqrt(max(q11 * q22 - q12**2, 0)), q12)
    x, w = np.polynomial.legendre.leggauss(nodes)
    radii = 7 * (x + 1)
    radial = 7 * w * radii * np.exp(-(radii**2) / 2)
    rays = [-np.pi / 2, angle - np.pi / 2, np.pi / 2, angle + np.pi / 2, 3 * np.pi / 2]
    total = np.zeros(2)
    for low, high in zip(rays[:-1], rays[1:], strict=True):
        a = low + (high - low) * (x + 1) / 2
        weight = np.outer((high - low) / 2 * w, radial) / (2 * np.pi)
        first = evaluate(np.sqrt(q11) * np.outer(np.cos(a), radii))
        second = evaluate(np.sqrt(q22) * np.outer(np.cos(a - angle), radii))
        pairs = zip(first, second, strict=True)
        total += [np.sum(weight * np.asarray(f * g)) for f, g in pairs]
    return total


@pytest.mark.parametrize("name", [*FUNCTIONS, *JUMPS])
def test_closed_forms_equal_the_integral(name, x64):
    function = {**FUNCTIONS, **JUMPS}[name]
    evaluate = jax.jit(lambda z: jax.jvp(function, (z,), (jnp.ones_like(z),)))
    found = jax.jit(function.dual)(*jnp.asarray(COVARIANCES).T)
    expected = np.array([plane(evaluate, covariance) for covariance in COVARIANCES]).T
    np.testing.assert_allclose(found.value, expected[0], rtol=1e-9, atol=1e-10)
    slope = np.zeros(len(COVARIANCES)) if name in JUMPS else expected[1]
    np.testing.assert_allclose(found.slope, slope, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_slope_is_the_derivative_of_the_value(name, x64):
    dual = FUNCTIONS[name].dual
    q = jnp.asarray(COVARIANCES).T
    value = lambda q11, q12, q22: dual(q11, q12, q22).value  # noqa: E731
    derivative = jax.jit(jax.vmap(jax.grad(value, argnums=1)))(*q)
    np.testing.assert_allclose(derivative, dual(*q).slope, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_diagonal_is_finite_and_so_are_its_gradients(name):
    function, q = FUNCTIONS[name], jnp.asarray(1.3)
    value, slope = function.dual(q, q, q)
    assert jnp.isfinite(value) and jnp.isfinite(slope)
    total = lambda q: sum(function.dual(q[0], q[1], q[2]))  # noqa: E731
    points = jnp.array([[1.3, 1.3, 1.3], [0.0, 0.0, 1.0]])
    assert jnp.all(jnp.isfinite(jax.jit(jax.vmap(jax.grad(total)))(points)))


@pytest.mark.parametrize("q", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("name", ["erf", "gelu", "squared exponential"])
def test_large_variances_in_single_precision(name, q):
    """Of one value with itself, in closed form."""
    function, value, slope = {
        "erf": (
            gaussian.Erf(),
            2 / np.pi * np.arctan2(2 * q, np.sqrt(1 + 4 * q)),
            4 / np.pi / np.sqrt(1 + 4 * q),
        ),
        # All but relu: E[x^2; x > 0] and E[1; x > 0].
        "gelu": (gaussian.Gelu(), q / 2, 0.5),
        "squared exponential": (
            gaussian.SquaredExponential(),
            (1 + 4 * q) ** -0.5,
            4 * q * (1 + 4 * q) ** -1.5,
        ),
    }[name]
    found = function.dual(*jnp.full(3, q))
    rtol = 1e-2 / np.sqrt(q) if name == "gelu" else 1e-5
    np.testing.assert_allclose(found.value, value, rtol=max(rtol, 1e-5))
    np.testing.assert_allclose(found.slope, slope, rtol=100 * max(rtol, 1e-7))


def test_the_sign_of_a_value_that_is_always_zero():
    """As of an input of zeros in a layer without biases."""
    q11, q12, q22 = jnp.array([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [4, 2, 1]]).T
    value = gaussian.Sign().dual(q11, q12, q22).value
    np.testing.assert_allclose(value, [0, 0, 0, 1])


def test_powers_of_the_correlation_for_normalised_hermite_polynomials(x64):
    for degree in range(5):
        q = jnp.linspace(-1, 1, 7)
        value, slope = gaussian.hermite(degree).dual(jnp.ones(7), q, jnp.ones(7))
        np.testing.assert_allclose(value, q**degree, atol=1e-13)
        expected = degree * q ** max(degree - 1, 0)
        np.testing.assert_allclose(slope, expected, atol=1e-12)


def test_rbf_gives_the_gaussian_kernel(x64):
    q11, q12, q22 = 0.8, 0.3, 1.4
    value = gaussian.rbf(0.7).dual(*map(jnp.asarray, (q11, q12, q22))).value
    np.testing.assert_allclose(value, np.exp(-0.7 * (q11 + q22 - 2 * q12)))


def test_a_dual_of_ones_own(x64):
    q = tuple(map(jnp.asarray, (0.8, 0.3, 1.4)))
    exponential = lambda q11, q12, q22: jnp.exp((q11 + q22) / 2 + q12)  # noqa: E731
    alone = gaussian.Elementwise(jnp.exp, exponential)
    both = gaussian.Elementwise(jnp.exp, exponential, exponential)
    for own in (alone, both):
        np.testing.assert_allclose(own.dual(*q), gaussian.Exponential().dual(*q))
        np.testing.assert_allclose(own(q[0]), jnp.exp(q[0]))


@pytest.mark.parametrize(
    "function, same",
    [
        (jax.nn.relu, gaussian.relu()),
        (jax.nn.leaky_relu, gaussian.leaky_relu(0.01)),
        (functools.partial(jax.nn.leaky_relu, negative_slope=0.2), None),
        (functools.partial(jax.nn.gelu, approximate=False), gaussian.Gelu()),
        (jnp.abs, gaussian.absolute()),
        (jnp.sign, gaussian.Sign()),
        (jnp.sin, gaussian.Sine()),
        (jnp.cos, gaussian.cosine()),
        (jnp.exp, gaussian.Exponential()),
        (jnp.square, gaussian.monomial(2)),
        (jax.scipy.special.erf, gaussian.Erf()),
        (jax.nn.identity, gaussian.ABReLU(1.0, 1.0)),
    ],
)
def test_functions_of_jax_have_the_closed_form(function, same, x64):
    same = gaussian.leaky_relu(0.2) if same is None else same
    x = jnp.linspace(-2, 2, 9)
    np.testing.assert_allclose(function(x), same(x), atol=1e-12)
    q = tuple(map(jnp.asarray, (0.7, -0.4, 1.3)))
    for a, b in zip(gaussian.dual(function)(*q), same.dual(*q), strict=True):
        assert a == b


def test_half_precision_of_the_digits_is_not_lost_at_small_angles():
    """float32 near angle 0, where arccos would be good for four digits only."""
    q12 = jnp.asarray(1 - 1e-6)
    with jax.enable_x64(True):
        exact = gaussian.relu().dual(*map(jnp.float64, (1.0, np.float32(q12), 1.0)))
    found = gaussian.relu().dual(jnp.float32(1), q12, jnp.float32(1))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


@pytest.mark.parametrize("name", ["abrelu", "rectified 3", "gelu", "polynomial"])
def test_jit_and_vmap(name):
    q = jnp.asarray(COVARIANCES)
    together = jax.jit(jax.vmap(FUNCTIONS[name].dual))(*q.T)
    one = FUNCTIONS[name].dual(*q[1])
    np.testing.assert_allclose([v[1] for v in together], one, rtol=1e-5, atol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="b must be at most 0"):
        gaussian.SquaredExponential(1.0, 0.5)
    with pytest.raises(ValueError, match="degree must be from 0 to 5; got 6"):
        gaussian.RectifiedMonomial(6)
    with pytest.raises(TypeError, match="function must be an activation"):
        gaussian.dual("relu")


@pytest.mark.parametrize("dtype, tolerance", [("float32", 3e-7), ("float64", 6e-15)])
def test_the_angle_and_its_derivatives(dtype, tolerance, x64):
    angles = np.concatenate([np.linspace(0.0, np.pi, 101), [1e-5, 1e-3, np.pi - 1e-4]])
    y, x = (np.asarray(2.5 * f(angles), dtype) for f in (np.sin, np.cos))
    y = np.maximum(y, np.zeros((), dtype))
    angle = functions._upper_arctan2
    wide = np.float64(y), np.float64(x)
    inverse = np.asarray(1 / np.hypot(*wide), dtype)
    found = angle(*map(jnp.asarray, (y, x, inverse)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.arctan2(*wide), tolerance, tolerance / 4)
    at = jnp.array([0.3, -0.4], dtype)
    slopes = jax.grad(lambda v: angle(v[0], v[1], 1 / jnp.hypot(*v)))(at)
    np.testing.assert_allclose(slopes, [-0.4 / 0.25, -0.3 / 0.25], rtol=1e-6)
