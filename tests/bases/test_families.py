"""The other families against numpy, scipy and their defining formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kanjax import bases

FAMILIES = [
    bases.BSpline(5),
    bases.BSpline(4, knots=jnp.linspace(-2.5, 2.5, 11)),
    bases.GaussianRBF(6),
    bases.Chebyshev(4),
    bases.Legendre(4),
    bases.Fourier(3),
    bases.Wavelet(5, "mexican_hat"),
    bases.Wavelet(5, "morlet"),
    bases.Wavelet(5, "dog"),
    bases.Wavelet(5, "meyer"),
    bases.Wavelet(5, "shannon"),
    bases.ReLUPower(5),
    bases.ActivationPairs(3, combination="cubic1"),
    bases.Jacobi(4, 0.5, -0.3),
    bases.Gegenbauer(4, 0.7),
    bases.Hermite(4),
    bases.Gram(4, 9),
    bases.Sech(5),
    bases.Sech(5, power=1),
    bases.Sine(5, standardized=True),
    bases.Sum((bases.BSpline(2), bases.GaussianRBF(5))),
]


def test_chebyshev_equals_numpy(x64):
    x = np.linspace(-1, 1, 51)
    basis = bases.Chebyshev(7, squash=None)
    expected = np.polynomial.chebyshev.chebvander(x, 7)
    np.testing.assert_allclose(basis(x), expected, atol=1e-13)


def test_legendre_equals_scipy_also_on_another_domain(x64):
    x = np.linspace(2, 6, 51)
    basis = bases.Legendre(7, domain=(2.0, 6.0), squash=None)
    expected = scipy.special.eval_legendre(np.arange(8), (x[:, None] - 4) / 2)
    np.testing.assert_allclose(basis(x), expected, atol=1e-13)


@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (-0.5, 0.8), (0.0, 0.0)])
def test_jacobi_equals_scipy(alpha, beta, x64):
    x = np.linspace(-1, 1, 21)
    basis = bases.Jacobi(6, alpha, beta, squash=None)
    expected = scipy.special.eval_jacobi(np.arange(7), alpha, beta, x[:, None])
    np.testing.assert_allclose(basis(x), expected, atol=1e-12)


def test_gegenbauer_equals_scipy(x64):
    x = np.linspace(-1, 1, 21)
    basis = bases.Gegenbauer(6, 0.8, squash=None)
    expected = scipy.special.eval_gegenbauer(np.arange(7), 0.8, x[:, None])
    np.testing.assert_allclose(basis(x), expected, atol=1e-12)


def test_hermite_equals_scipy(x64):
    x, n = np.linspace(-3, 3, 21)[:, None], np.arange(7)
    expected = scipy.special.eval_hermitenorm(n, x) / np.sqrt(
        scipy.special.factorial(n)
    )
    basis = bases.Hermite(6, squash=None)
    np.testing.assert_allclose(basis(x[:, 0]), expected, atol=1e-12)


def test_gram_is_monic_and_orthogonal_over_the_points(x64):
    """The one such family: the columns that QR makes of the powers, but for scale."""
    points = (2 * np.arange(9) + 1 - 9) / 9
    found = np.asarray(bases.Gram(5, 9, squash=None)(points))
    q, r = np.linalg.qr(np.vander(points, 6, increasing=True))
    np.testing.assert_allclose(found, q * np.diag(r), atol=1e-13)


def test_gram_on_many_points_is_legendre_made_monic(x64):
    x, n = np.linspace(-1, 1, 11), np.arange(5)
    leading = scipy.special.binom(2 * n, n) / 2.0**n
    found = bases.Gram(4, 10**6, squash=None)(x) * leading[None]
    np.testing.assert_allclose(found, bases.Legendre(4, squash=None)(x), atol=1e-10)


@pytest.mark.parametrize("power", [1, 2])
def test_sech_equals_its_definition_and_has_no_nan_far_out(power, x64):
    x = np.linspace(-4, 4, 33)
    basis = bases.Sech(5, (-2.0, 2.0), 0.7, power)
    expected = 1 / np.cosh((x[:, None] - np.linspace(-2, 2, 5)) / 0.7) ** power
    np.testing.assert_allclose(basis(x), expected, atol=1e-14)
    far = jnp.array([-1e30, -300.0, 300.0, 1e30], jnp.float32)
    value, slope = jax.jvp(basis, (far,), (jnp.ones_like(far),))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(slope, 0)


def test_sines_have_the_stated_functions_and_can_be_standardised(x64):
    x, g = np.linspace(-2, 2, 21)[:, None], np.arange(1, 5)
    basis = bases.Sine(4, frequency=1.3)
    np.testing.assert_allclose(basis(x[:, 0]), np.sin(1.3 * g * x + g / 5), atol=1e-14)
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    values = bases.Sine(4, standardized=True)(points)
    np.testing.assert_allclose(weights @ values, 0, atol=1e-12)
    np.testing.assert_allclose(weights @ values**2, 1, atol=1e-12)


def test_a_sum_adds_function_by_function(x64):
    """BSRBF-KAN's: B-splines plus Gaussians."""
    parts = bases.BSpline(5), bases.GaussianRBF(8)
    x = np.linspace(-1, 1, 21)
    np.testing.assert_allclose(bases.Sum(parts)(x), parts[0](x) + parts[1](x))


def test_meyer_is_even_smooth_at_its_ends_and_as_defined(x64):
    x = np.array([-1.5, -1, -0.8, -0.25, 0, 0.25, 0.5, 0.8, 1, 1.5])
    t = np.clip(2 * np.abs(x) - 1, 0, 1)
    ramp = 35 * t**4 - 84 * t**5 + 70 * t**6 - 20 * t**7
    expected = np.sin(np.pi * np.abs(x)) * np.cos(np.pi / 2 * ramp) * (np.abs(x) < 1)
    basis = bases.Wavelet(3, "meyer", (-9.0, 9.0), scale=1.0)
    np.testing.assert_allclose(basis(x)[:, 1], expected, atol=1e-14)


def test_shannon_is_a_difference_of_low_passes_and_has_unit_norm(x64):
    x = np.linspace(-200, 200, 80001)
    basis = bases.Wavelet(3, "shannon", (-1.0, 1.0), scale=1.0)
    values = np.asarray(basis(x)[:, 1])
    np.testing.assert_allclose(values, 2 * np.sinc(2 * x) - np.sinc(x), atol=1e-12)
    np.testing.assert_allclose(np.trapezoid(values**2, x), 1, atol=2e-3)


@pytest.mark.parametrize("family", [bases.Chebyshev, bases.Legendre])
def test_polynomials_have_finite_slopes_at_the_ends(family, x64):
    """T_n'(1) = n^2 and P_n'(1) = n (n + 1) / 2."""
    slopes = jax.jacfwd(family(5, squash=None))(jnp.array(1.0))
    n = np.arange(6)
    expected = n**2 if family is bases.Chebyshev else n * (n + 1) / 2
    np.testing.assert_allclose(slopes, expected, atol=1e-12)


def test_squash_keeps_polynomials_bounded():
    assert float(jnp.max(jnp.abs(bases.Chebyshev(6)(jnp.array([-50.0, 50.0]))))) <= 1


def test_rbf_is_one_at_its_centre_and_1_over_e_at_its_width(x64):
    basis = bases.GaussianRBF(5, domain=(-2, 2))
    np.testing.assert_allclose(basis(jnp.array([0.0, 1.0]))[:, 2], [1, math.exp(-1)])


def test_fourier_has_the_stated_functions(x64):
    x = np.linspace(-1, 1, 21)
    basis = bases.Fourier(2, frequency=math.pi)
    w = math.pi * x
    expected = [np.ones(21), np.cos(w), np.cos(2 * w), np.sin(w), np.sin(2 * w)]
    np.testing.assert_allclose(basis(x), np.stack(expected, -1), atol=1e-14)


def test_fourier_functions_are_orthogonal_over_a_period(x64):
    x = jnp.linspace(-1, 1, 401)[:-1]
    values = bases.Fourier(3, frequency=math.pi)(x)
    gram = values.T @ values / 400
    np.testing.assert_allclose(gram, np.diag([1] + [0.5] * 6), atol=1e-12)


@pytest.mark.parametrize("kind", ["mexican_hat", "dog"])
def test_wavelets_have_zero_mean(kind, x64):
    x = jnp.linspace(-30, 30, 4001)
    basis = bases.Wavelet(3, kind, domain=(-3, 3), scale=1.5)
    np.testing.assert_allclose(np.trapezoid(basis(x), x, axis=0), 0, atol=1e-8)


def test_mexican_hat_has_unit_norm_and_is_the_ricker_wavelet(x64):
    x = jnp.linspace(-20, 20, 8001)
    values = bases.Wavelet(3, domain=(-1, 1), scale=1.0)(x)
    np.testing.assert_allclose(np.trapezoid(values**2, x, axis=0), 1, rtol=1e-8)


def test_relu_power_peaks_at_one_and_is_a_translate(x64):
    basis = bases.ReLUPower(5, 3)
    centers = -1 + (np.arange(8) - 3 + 2) * 0.4
    np.testing.assert_allclose(np.diag(basis(jnp.array(centers))), 1, atol=1e-12)
    x = jnp.linspace(-3, 3, 101)
    np.testing.assert_allclose(basis(x)[:, 4], basis(x - 0.4)[:, 3], atol=1e-12)
    assert not np.any(np.where((x < -1 + 1 * 0.4) | (x > 1.4 + 0.6), basis(x)[:, 4], 0))


@pytest.mark.parametrize("basis", FAMILIES, ids=repr)
class TestInterface:
    def test_sizes_and_layouts(self, basis, key):
        x = jax.random.uniform(key, (4, 3), minval=-1.0)
        values, other, one = jax.jit(
            lambda x: (basis(x), basis(x, axis=-2), basis(x[0, 0]))
        )(x)
        assert values.shape == (4, 3, basis.size)
        np.testing.assert_allclose(other, np.swapaxes(values, -1, -2), atol=1e-6)
        np.testing.assert_allclose(one, values[0, 0], atol=1e-6)

    def test_one_by_one_they_are_the_same_functions(self, basis, key, x64):
        x = jax.random.uniform(key, (16, 3), minval=-1.3, maxval=1.3)
        one, everything = jax.jit(basis.function), basis(x)
        for index in range(basis.size):
            np.testing.assert_allclose(
                one(index, x), everything[..., index], atol=1e-13
            )
        last = basis.function(basis.size - 1, x)
        np.testing.assert_allclose(last, everything[..., -1], atol=1e-13)

    def test_jit_and_vmap_agree_with_eager(self, basis, key):
        x = jax.random.uniform(key, (16,), minval=-1.0)
        np.testing.assert_allclose(jax.jit(basis)(x), basis(x), atol=1e-6)
        np.testing.assert_allclose(jax.vmap(basis)(x), basis(x), atol=1e-6)

    def test_slopes_equal_finite_differences(self, basis, key, x64):
        x = jax.random.uniform(key, (50,), minval=-1.2, maxval=1.2)
        slopes = jax.jit(jax.vmap(jax.jacfwd(basis)))(x)
        numeric = (basis(x + 1e-6) - basis(x - 1e-6)) / 2e-6
        np.testing.assert_allclose(slopes, numeric, atol=1e-6)

    def test_third_derivatives_are_finite_and_right(self, basis, key, x64):
        x = jax.random.uniform(key, (20,), minval=-0.97, maxval=0.97)
        second = jax.jit(jax.vmap(jax.jacfwd(jax.jacfwd(basis))))
        third = jax.jit(jax.vmap(jax.jacfwd(jax.jacfwd(jax.jacfwd(basis)))))(x)
        numeric = (second(x + 1e-6) - second(x - 1e-6)) / 2e-6
        np.testing.assert_allclose(third, numeric, rtol=1e-5, atol=2e-3)

    def test_keeps_the_dtype(self, basis):
        for dtype in (jnp.bfloat16, jnp.float32):
            x = jax.ShapeDtypeStruct((3,), dtype)
            assert jax.eval_shape(basis, x).dtype == dtype
            assert jax.eval_shape(basis.function, 1, x).dtype == dtype

    def test_is_a_pytree_whose_repr_rebuilds(self, basis):
        scope = {**vars(bases), "jnp": jnp, "jax": jax}
        assert eval(repr(basis), scope) == basis
        leaves, tree = jax.tree.flatten(basis)
        assert jax.tree.unflatten(tree, leaves) == basis
        assert isinstance(basis, bases.Basis)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bases.GaussianRBF(1), "centers must be an integer of at least 2"),
        (lambda: bases.GaussianRBF(3, width=0.0), "width must be positive"),
        (lambda: bases.Wavelet(4, "haar"), "kind must be one of .* got 'haar'"),
        (lambda: bases.Chebyshev(-1), "degree must be an integer of at least 0"),
        (lambda: bases.Fourier(0), "order must be an integer of at least 1"),
        (lambda: bases.ReLUPower(power=0), "power must be an integer of at least 1"),
        (lambda: bases.Legendre(2, domain=(1, 0)), "low < high"),
        (lambda: bases.Jacobi(2, -1.0), "alpha must be above -1; got -1.0"),
        (lambda: bases.Gegenbauer(2, 0.0), "order must be positive; got 0.0"),
        (lambda: bases.Gram(5, 5), "5 points carry polynomials up to degree 4; got 5"),
        (lambda: bases.Sech(power=3), "power must be 1 or 2; got 3"),
        (lambda: bases.Sine(frequency=0.0), "frequency must be positive; got 0.0"),
        (lambda: bases.Sum(()), "parts is empty"),
        (
            lambda: bases.Sum((bases.BSpline(5), bases.GaussianRBF(5))),
            r"parts must be of one size; got \[8, 5\]",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("basis", FAMILIES, ids=repr)
def test_integers_are_taken_as_real_numbers(basis):
    whole = jnp.array([[-1], [0], [1], [2]])
    expected = basis(whole.astype(float))
    np.testing.assert_allclose(basis(whole), expected, rtol=1e-6, atol=1e-6)
    for i in range(basis.size):
        np.testing.assert_allclose(
            basis.function(i, whole), expected[..., i], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("basis", [bases.ReLUPower(5), bases.Sine(5)], ids=repr)
@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_integers_too_small_for_an_index_are_numbers_as_well(basis, dtype):
    found = basis.function(2, jnp.array([[0], [1]], dtype))
    np.testing.assert_allclose(found, basis(jnp.array([[0.0], [1.0]]))[..., 2])


@pytest.mark.parametrize("basis", [bases.Hermite(4), bases.Sine(5)], ids=repr)
def test_several_functions_at_once_broadcast_against_points(basis):
    x, index = jnp.linspace(-1, 1, 6), jnp.arange(basis.size)[::-1]
    some = basis.function(index[:, None], x[None])
    np.testing.assert_allclose(some, basis(x).T[::-1], atol=1e-6)
