import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from scipy import stats

from kanjax import gaussian

KINKED = {
    "hard_tanh": (jax.nn.hard_tanh, (-1.0, 1.0)),
    "relu6": (jax.nn.relu6, (0.0, 6.0)),
    "hard_silu": (jax.nn.hard_silu, (-3.0, 3.0)),
    "shifted": (lambda x: jax.nn.relu(x - 0.4137), (0.4137,)),
    "jump": (lambda x: jnp.where(x > 0.25, 1.0 + x, 0.0), (0.25,)),
    "curved": (lambda x: jax.nn.relu(x + 0.5) ** 2, (-0.5,)),
}


@pytest.mark.parametrize("name", KINKED)
def test_kinks_are_where_they_are(name):
    function, places = KINKED[name]
    np.testing.assert_allclose(gaussian.find_kinks(function), places, atol=1e-5)


@pytest.mark.parametrize(
    "function", [jnp.tanh, jax.nn.gelu, jnp.cosh, lambda x: jnp.tanh(30 * x)]
)
def test_smooth_functions_have_none(function):
    assert gaussian.find_kinks(function) == ()


def brute(function, places, q11, q12, q22):
    """E[f(u) f(v)] by nested adaptive integrals split at the kinks."""
    f = lambda x: float(function(np.float64(x)))  # noqa: E731
    root, along = np.sqrt(q11), q12 / np.sqrt(q11)
    across = np.sqrt(q22 - along**2)

    def inside(u):
        mean = along * u / root
        points = [(k - mean) / across for k in places]
        points = [p for p in points if abs(p) < 9]
        inner = lambda y: f(mean + across * y) * stats.norm.pdf(y)  # noqa: E731
        return scipy.integrate.quad(inner, -9, 9, points=points or None)[0]

    outer = lambda u: f(u) * inside(u) * stats.norm.pdf(u / root) / root  # noqa: E731
    points = [k for k in places if abs(k) < 9 * root]
    return scipy.integrate.quad(outer, -9 * root, 9 * root, points=points, epsabs=1e-9)[
        0
    ]


NUMPY = {
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "shifted": lambda x: max(x - 0.4137, 0.0),
    "jump": lambda x: 1.0 + x if x > 0.25 else 0.0,
}


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("q", [(1.0, 0.5, 1.0), (0.7, -0.6, 1.3), (2.0, 1.99, 2.0)])
def test_duals_equal_nested_adaptive_integrals(name, q, x64):
    function, places = KINKED[name]
    found = gaussian.dual(function)(*q).value
    expected = brute(NUMPY[name], places, *q)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("q", [0.3, 1.0, 5.0])
def test_hard_tanh_of_one_variable_has_its_closed_form(q, x64):
    found = gaussian.dual(jax.nn.hard_tanh)(q, q, q)
    inside = 2 * stats.norm.cdf(1 / np.sqrt(q)) - 1
    edge = 1 / np.sqrt(q)
    value = q * (inside - 2 * edge * stats.norm.pdf(edge)) + 1 - inside
    np.testing.assert_allclose(found.slope, inside, rtol=1e-9)
    np.testing.assert_allclose(found.value, value, rtol=1e-9)


def test_the_slope_of_a_pair_is_a_probability_of_two_intervals(x64):
    q = np.array([[1.2, 0.9], [0.9, 0.8]])
    normal = stats.multivariate_normal(cov=q)
    expected = normal.cdf([1, 1], lower_limit=[-1, -1])
    found = gaussian.dual(jax.nn.hard_tanh)(q[0, 0], q[0, 1], q[1, 1])
    np.testing.assert_allclose(found.slope, expected, rtol=1e-5)
    # Price's theorem, and a derivative through the pieces.
    value = lambda c: gaussian.dual(jax.nn.hard_tanh)(1.2, c, 0.8).value  # noqa: E731
    np.testing.assert_allclose(jax.grad(value)(0.9), found.slope, rtol=1e-7)


def test_batches_jit_vmap_and_finite_derivatives():
    dual = gaussian.dual(jax.nn.hard_tanh)
    q = jnp.array([[1.0, 0.5, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 2.0]])
    together = dual(*q.T)
    mapped = jax.jit(jax.vmap(dual))(*q.T)
    np.testing.assert_allclose(mapped.value, together.value, rtol=1e-4, atol=1e-5)
    assert together.value[1] == 0 and abs(together.value[3]) < 1e-5
    gradient = jax.vmap(jax.grad(lambda q: dual(*q).value))(q)
    assert jnp.all(jnp.isfinite(gradient))


def test_hermite_coefficients_of_functions_with_kinks(x64):
    found = gaussian.hermite_coefficients(lambda x: jnp.abs(x - 0.0), 5)
    # He_0, He_2, He_4 of |x|: sqrt(2 / pi) (1, 1 / sqrt 2, -1 / sqrt 24).
    root = np.sqrt(2 / np.pi)
    expected = [root, 0, root / np.sqrt(2), 0, -root / np.sqrt(24)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_too_many_kinks_are_told():
    with pytest.warns(UserWarning, match="not smooth in more than 24 places"):
        gaussian.dual(lambda x: x - jnp.floor(3 * x))
    given = gaussian.dual(lambda x: jax.nn.relu(x - 0.5), kinks=[0.5])(1.0, 1.0, 1.0)
    np.testing.assert_allclose(given.slope, stats.norm.sf(0.5), rtol=1e-5)


@pytest.mark.parametrize("nodes", [5, 376, 1000])
def test_gauss_hermite_with_any_number_of_nodes(nodes, x64):
    found = gaussian.expectation(lambda x: x**4 + jnp.cos(x), nodes=nodes)
    np.testing.assert_allclose(
        found, 3 + np.exp(-0.5), atol=1e-3 if nodes < 9 else 1e-9
    )


def test_adaptive_expectations_know_their_error(x64):
    found = gaussian.adaptive_expectation(jax.nn.hard_tanh, 0.3, 2.0)

    def density(x):
        return np.clip(x, -1, 1) * stats.norm.pdf(x, 0.3, np.sqrt(2.0))

    exact = scipy.integrate.quad(density, -17, 17, points=[-1, 1], epsabs=1e-12)[0]
    np.testing.assert_allclose(found.value, exact, atol=1e-10)
    assert found.converged and abs(found.value - exact) <= found.error + 1e-14
    few = gaussian.adaptive_expectation(
        lambda x: jnp.sign(jnp.sin(40 * x)), max_pieces=20
    )
    assert not few.converged
    slope = jax.grad(lambda v: gaussian.adaptive_expectation(jnp.abs, 0.0, v).value)
    np.testing.assert_allclose(slope(2.0), 0.5 * np.sqrt(2 / np.pi / 2.0), rtol=1e-8)
    with pytest.raises(ValueError, match="max_pieces is 3"):
        gaussian.adaptive_expectation(jnp.abs, max_pieces=3)
