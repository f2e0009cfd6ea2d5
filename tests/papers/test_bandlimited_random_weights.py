"""Exact statements on frozen random weights and band limits: arXiv 2008.08427."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from kanjax.ntk import band_limits, random_feature_layers, ridgelets
from kanjax.ntk import random_weights as weights

WAVE = 5.0
ENERGY = math.sqrt(math.pi) / 2 * (1 + math.exp(-(WAVE**2)))


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


def gaussian_power(xi):
    return 2 * math.pi * jnp.exp(-(xi**2))


def packet(x):
    return np.exp(-(x**2) / 2) * np.cos(WAVE * x)


def transform(xi):
    bumps = jnp.exp(-((xi - WAVE) ** 2) / 2) + jnp.exp(-((xi + WAVE) ** 2) / 2)
    return math.sqrt(math.pi / 2) * bumps


def sinc_layer(seed, n, radius, extent=6.0):
    rng = np.random.default_rng(seed)
    a = rng.uniform(-radius, radius, n)
    b = a * rng.uniform(-extent, extent, n)
    return weights.RandomLayer(jnp.asarray(a[:, None]), jnp.asarray(b), ridgelets.SINC)


def test_bound_of_a_gaussian_is_erfc():
    radii = jnp.asarray([0.0, 0.3, 1.0, 2.0, 3.0])
    tabulated = band_limits.tabulate_spectrum(gaussian_power, 9.0)
    x = np.linspace(-10, 10, 401)
    measured = band_limits.measure_spectrum(np.exp(-(x**2) / 2), [0.05], points=16_384)
    for spectrum in (tabulated, measured):
        bound = jax.vmap(functools.partial(band_limits.bandlimit_lower_bound, spectrum))
        fraction = bound(radii).fraction
        np.testing.assert_allclose(fraction, special.erfc(radii), atol=4e-6)
        energy = bound(radii).energy
        np.testing.assert_allclose(energy, math.sqrt(math.pi), rtol=1e-12)


def test_bound_in_the_plane():
    # Polar coordinates: exp(-radius^2) of the energy pi.
    def power(u, v):
        return 4 * math.pi**2 * jnp.exp(-(u**2) - v**2)

    x = np.linspace(-8, 8, 81)
    samples = np.exp(-(x[:, None] ** 2 + x**2) / 2)
    for spectrum in (
        band_limits.tabulate_spectrum(power, 7.0, m=2, points=300),
        band_limits.measure_spectrum(samples, [0.2, 0.2], points=600),
    ):
        for radius in (0.0, 0.7, 1.5):
            bound = band_limits.bandlimit_lower_bound(spectrum, radius)
            assert float(bound.energy) == pytest.approx(math.pi, rel=1e-10)
            assert float(bound.fraction) == pytest.approx(
                math.exp(-(radius**2)), abs=5e-4
            )


def test_bound_of_a_wave_packet_is_its_energy_outside():
    spectrum = band_limits.tabulate_spectrum(lambda xi: transform(xi) ** 2, 16.0)
    for radius, figure in (
        (3, 0.9977),
        (4, 0.9213),
        (5, 0.4999),
        (6, 0.0786),
        (8, 1.1e-5),
    ):
        bound = band_limits.bandlimit_lower_bound(spectrum, radius)
        outside = integrate.quad(
            lambda xi: float(np.square(transform(xi))), radius, 20, epsabs=1e-12
        )[0]
        assert float(bound.squared_error) == pytest.approx(outside / math.pi, abs=2e-6)
        assert float(bound.fraction) == pytest.approx(figure, rel=5e-3)
        assert float(bound.energy) == pytest.approx(ENERGY, rel=1e-12)


def test_bound_falls_with_the_radius_and_has_its_slope():
    spectrum = band_limits.tabulate_spectrum(gaussian_power, 9.0)

    def bound(radius):
        return band_limits.bandlimit_lower_bound(spectrum, radius).fraction

    radii = jnp.linspace(0.0, 4.0, 50)
    assert jnp.all(jnp.diff(jax.jit(jax.vmap(bound))(radii)) < 0)
    slope = jax.grad(bound)(1.2)
    assert float(slope) == pytest.approx(
        -2 / math.sqrt(math.pi) * math.exp(-1.44), rel=5e-3
    )


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_gaussian_derivatives_have_their_transform(order):
    profile = ridgelets.gaussian_derivative(order)
    z = np.linspace(-12, 12, 2_001)
    for w in (0.4, 1.7):
        expected = np.sum(profile(jnp.asarray(z)) * np.exp(-1j * w * z)) * 0.012
        value = profile.transform(jnp.asarray(w))
        np.testing.assert_allclose(value, expected, atol=1e-12)
    if order:
        slope = jax.vmap(jax.grad(ridgelets.gaussian_derivative(order - 1)))
        np.testing.assert_allclose(
            profile(jnp.asarray(z)), slope(jnp.asarray(z)), atol=1e-12
        )


def test_transforms_of_activations():
    # Against a Schwartz function: int f(z) p(z) dz = int f^ conj(p^) dw / (2 pi).
    probe = {0: ridgelets.gaussian_derivative(4), 1: ridgelets.gaussian_derivative(3)}
    z = jnp.linspace(-12, 12, 240_001)
    for profile in (ridgelets.GAUSSIAN, ridgelets.SINC, ridgelets.TANH, ridgelets.RELU):
        test = probe[profile.parity]
        direct = float(jnp.sum(profile(z) * test(z))) * 1e-4
        spectral = float(ridgelets.admissibility(profile, test, 0))
        assert spectral == pytest.approx(direct, abs=1e-7)


def test_admissibility_in_closed_form():
    second, fourth = map(ridgelets.gaussian_derivative, (2, 4))
    root = math.sqrt(2 * math.pi)
    cases = [
        (ridgelets.GAUSSIAN, second, 1, -2 * math.pi),
        (ridgelets.GAUSSIAN, second, 2, -4 * math.pi**2 * math.sqrt(math.pi)),
        (ridgelets.SINC, second, 1, -2 * math.pi * root * (1 - math.exp(-0.5))),
        (ridgelets.SINC, second, 2, -4 * math.pi**3 * math.erf(math.sqrt(0.5))),
        (ridgelets.RELU, fourth, 1, -2 * root),
    ]
    for activation, ridgelet, m, expected in cases:
        value = ridgelets.admissibility(activation, ridgelet, m)
        assert float(value) == pytest.approx(expected, rel=1e-10)
    for activation, m, order in (
        (ridgelets.SINC, 1, 2),
        (ridgelets.TANH, 1, 3),
        (ridgelets.TANH, 2, 3),
        (ridgelets.RELU, 1, 4),
    ):
        assert ridgelets.ridgelet_for(activation, m).pole == -order


def test_fourier_slice():
    ridgelet = ridgelets.gaussian_derivative(2)
    x = jnp.linspace(-8, 8, 801)
    b = jnp.linspace(-25, 25, 2_001)
    for a in (0.7, -2.0):
        row = ridgelets.ridgelet_transform(
            jnp.exp(-((x - 0.5) ** 2) / 2),
            x[:, None],
            ridgelet,
            jnp.asarray([[a]]),
            b,
            0.02,
        )[0]
        for w in (0.3, 1.1):
            along = np.sum(row * np.exp(-1j * w * b)) * 0.025
            target = math.sqrt(2 * math.pi) * np.exp(-((w * a) ** 2) / 2 - 0.5j * w * a)
            expected = target * np.conj(ridgelet.transform(jnp.asarray(w)))
            np.testing.assert_allclose(along, expected, atol=1e-10)


def grid(reach, directions, offsets):
    q, measure = np.polynomial.legendre.leggauss(directions)
    b = jnp.linspace(-6 * reach - 8, 6 * reach + 8, offsets)
    a = jnp.asarray(reach * q)[:, None]
    return a, b, jnp.asarray(reach * measure)[:, None] * (b[1] - b[0])


def reconstruct(activation, reach, x):
    """A Gaussian from its transform on ``|a| <= reach``."""
    ridgelet = ridgelets.ridgelet_for(activation, 1)
    a, b, measure = grid(reach, int(14 * reach), int(60 * reach))
    points = jnp.linspace(-7, 7, 500)
    rows = ridgelets.ridgelet_transform(
        jnp.exp(-(points**2) / 2),
        points[:, None],
        ridgelet,
        a,
        b,
        points[1] - points[0],
    )
    total = ridgelets.dual_ridgelet(rows, a, b, activation, x[:, None], measure)
    return total / ridgelets.admissibility(activation, ridgelet, 1)


@pytest.mark.parametrize(
    "activation",
    [ridgelets.GAUSSIAN, ridgelets.SINC, ridgelets.TANH, ridgelets.RELU],
    ids=["gaussian", "sinc", "tanh", "relu"],
)
def test_the_network_of_the_transform_is_the_function(activation):
    x = jnp.linspace(-3, 3, 25)
    value = reconstruct(activation, 12.0, x)
    np.testing.assert_allclose(value, jnp.exp(-(x**2) / 2), atol=1e-2)


def test_bounded_directions_filter_frequencies():
    # |a| <= A multiplies the transform by exp(-(xi / A)^2), for this pair: a wider
    # and lower Gaussian.
    x = jnp.linspace(-3, 3, 25)
    spread = 1 + 2 / 3.0**2
    expected = jnp.exp(-(x**2) / (2 * spread)) / math.sqrt(spread)
    value = reconstruct(ridgelets.GAUSSIAN, 3.0, x)
    np.testing.assert_allclose(value, expected, atol=1e-6)


def test_gram_and_products_are_integrals():
    layer = sinc_layer(0, 6, 4.0, extent=2.0)
    gram = band_limits.sinc_gram(layer)
    products = band_limits.sinc_products(layer, transform)
    x = np.linspace(-9, 9, 6_001)
    values = layer.apply((), jnp.asarray(x)[:, None])
    np.testing.assert_allclose(products, packet(x) @ values * 0.003, atol=1e-12)
    a, b = np.asarray(layer.directions[:, 0]), np.asarray(layer.offsets)

    def product(i, j):
        # Parseval's identity, by quadrature.
        edge = min(abs(a[i]), abs(a[j]))
        lag = b[i] / a[i] - b[j] / a[j]
        wave = integrate.quad(lambda xi: math.cos(xi * lag), -edge, edge)[0]
        return math.pi / (2 * abs(a[i] * a[j])) * wave

    expected = [[product(i, j) for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(gram, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jnp.diag(gram), math.pi / np.abs(a), rtol=1e-14)


def test_no_number_of_units_beats_the_bound():
    spectrum = band_limits.tabulate_spectrum(lambda xi: transform(xi) ** 2, 16.0)
    keys, counts = jax.random.split(jax.random.key(0), 2), (5, 20, 60)
    errors = jax.jit(
        lambda key, radius: band_limits.sinc_errors(
            key, transform, ENERGY, radius, counts, extent=3.0
        )
    )
    everything = jax.vmap(jax.vmap(errors, (0, None)), (None, 0))
    radii = jnp.asarray([3.0, 5.0, 8.0])
    left = everything(keys, radii)
    for radius, values in zip(radii, left, strict=True):
        bound = band_limits.bandlimit_lower_bound(spectrum, radius).squared_error
        assert jnp.all(values > bound - 1e-9)
        assert jnp.all(jnp.diff(values, axis=1) <= 1e-9)
    assert jnp.all(left[0, :, -1] > 0.99 * ENERGY)
    assert jnp.all(left[2, :, -1] < 0.05 * ENERGY)


def test_projection_is_least_squares():
    layer = sinc_layer(3, 8, 6.0, extent=2.0)
    gram = band_limits.sinc_gram(layer)
    products = band_limits.sinc_products(layer, transform)
    result = band_limits.project(gram, products, ENERGY)
    np.testing.assert_allclose(
        result.weights, np.linalg.solve(gram, products), rtol=1e-8
    )
    assert result.rank == 8 and result.jitter == 0 and result.residual < 1e-12
    eigenvalues = np.linalg.eigvalsh(gram)
    assert float(result.least_eigenvalue) == pytest.approx(eigenvalues[0], abs=1e-13)
    # The error is that of the function itself, up to the tails of the sincs.
    x = np.linspace(-2e3, 2e3, 400_001)
    g = np.zeros_like(x)
    for a, b, c in zip(
        layer.directions[:, 0], layer.offsets, result.weights, strict=True
    ):
        g += float(c) * np.sinc((float(a) * x - float(b)) / math.pi)
    assert float(result.squared_error) == pytest.approx(
        np.sum((packet(x) - g) ** 2) * 0.01, abs=2e-4
    )
    damped = band_limits.project(gram, products, ENERGY, jitter=0.1)
    added = 0.1 * np.mean(np.diag(gram))
    assert float(damped.jitter) == pytest.approx(added, rel=1e-14)
    expected = np.linalg.solve(gram + added * np.eye(8), products)
    np.testing.assert_allclose(damped.weights, expected, rtol=1e-10)
    assert damped.squared_error > result.squared_error and damped.residual < 1e-12
    few = band_limits.project(gram, products, ENERGY, cut=0.5)
    left = np.linalg.norm(gram @ few.weights - products) / np.linalg.norm(products)
    assert few.rank < 8 and float(few.residual) == pytest.approx(left) and left > 0.01


def test_units_that_are_the_same_are_counted_alike():
    gram, products = jnp.ones((2, 2)), jnp.ones(2)
    result = band_limits.project(gram, products, 2.0)
    np.testing.assert_allclose(result.weights, [0.5, 0.5], rtol=1e-12)
    assert result.rank == 1
    assert float(result.squared_error) == pytest.approx(1.0, abs=1e-12)


def test_single_precision():
    layer = sinc_layer(3, 8, 6.0, extent=2.0)
    exact = band_limits.project(
        band_limits.sinc_gram(layer),
        band_limits.sinc_products(layer, transform),
        ENERGY,
    )
    with jax.enable_x64(False):
        layer = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), layer)
        gram = band_limits.sinc_gram(layer)
        products = band_limits.sinc_products(layer, transform)
        single = band_limits.project(gram, products, ENERGY)
    assert single.weights.dtype == jnp.float32
    assert float(single.squared_error) == pytest.approx(
        float(exact.squared_error), abs=1e-5
    )


def test_derivatives_of_a_projection():
    layer = sinc_layer(4, 5, 5.0, extent=2.0)

    def error(offsets):
        moved = weights.RandomLayer(layer.directions, offsets, layer.activation)
        products = band_limits.sinc_products(moved, transform)
        gram = band_limits.sinc_gram(moved)
        return band_limits.project(gram, products, ENERGY).squared_error

    direction = jnp.asarray([0.3, -1.0, 0.5, 0.2, 0.8])
    slope = jax.jit(jax.grad(error))(layer.offsets) @ direction
    step = 1e-5 * direction
    ends = error(layer.offsets + step) - error(layer.offsets - step)
    assert float(slope) == pytest.approx(float(ends) / 2e-5, rel=1e-5)


def test_a_network_is_a_layer_and_least_squares():
    layer = weights.RandomLayer.draw(jax.random.key(1), 12, 2, radius=2.0)
    x = jax.random.normal(jax.random.key(2), (60, 2))
    values = layer.apply((), x)
    expected = np.tanh(x @ layer.directions.T - layer.offsets[None])
    np.testing.assert_allclose(values, expected, atol=1e-14)
    y = jnp.sin(x[:, :1])
    c = random_feature_layers.solve(values, y).kernel
    peer = np.linalg.lstsq(values, y, rcond=1e-10)[0]
    np.testing.assert_allclose(c, peer, rtol=1e-6, atol=1e-8)


def test_draws_stay_in_their_domain():
    key = jax.random.key(0)
    layer = weights.RandomLayer.draw(key, 4_000, 2, radius=3.0)
    assert 2.99 < jnp.max(jnp.abs(layer.directions)) <= 3
    assert 2.99 < jnp.max(jnp.abs(layer.offsets)) <= 3
    assert float(jnp.var(layer.directions)) == pytest.approx(3, rel=0.05)
    sphere = weights.RandomLayer.draw(key, 50, 3, radius=2.0, law="sphere")
    np.testing.assert_allclose(
        jnp.linalg.norm(sphere.directions, axis=1), 2.0, rtol=1e-12
    )
    centers = jnp.asarray([[1.0, 2.0], [-1.0, 0.5]])
    shifted = weights.RandomLayer.draw(key, 50, 2, radius=2.0, centers=centers)
    either = shifted.directions @ centers.T - shifted.offsets[:, None]
    assert jnp.all(jnp.min(jnp.abs(either), axis=1) < 1e-12)


def test_layers_under_transformations():
    def draw(key):
        return weights.RandomLayer.draw(key, 5, 2, radius=2.0)

    keys = jax.random.split(jax.random.key(0), 3)
    stack = jax.jit(jax.vmap(draw))(keys)
    x = jnp.asarray([0.3, -0.4])
    values = jax.vmap(lambda layer: layer.apply(layer.init(keys[0]), x))(stack)
    np.testing.assert_allclose(values[1], draw(keys[1]).apply((), x), rtol=1e-12)
    slope = jax.grad(lambda x: draw(keys[0]).apply((), x).sum())(x)
    assert slope.shape == (2,) and jnp.all(jnp.isfinite(slope))


def test_draws_follow_the_transform():
    a, b = jnp.asarray([[1.0], [-2.0]]), jnp.asarray([0.0, 1.0, 2.0])
    coefficients = jnp.asarray([[1.0, -2.0, 0.0], [0.0, 3.0, 0.0]])
    measure = jnp.asarray([[1.0], [2.0]])
    draw = functools.partial(
        weights.draw_by_ridgelet, activation=jnp.tanh, width=jnp.asarray([0.2, 0.1])
    )
    layer = jax.jit(draw, static_argnums=1)(
        jax.random.key(0), 6_000, coefficients, a, b, measure
    )
    rows, columns = jnp.round(layer.directions[:, 0]), jnp.round(layer.offsets)
    assert float(jnp.max(jnp.abs(layer.directions[:, 0] - rows))) <= 0.1
    for row, column, share in ((1, 0, 1 / 9), (1, 1, 2 / 9), (-2, 1, 6 / 9)):
        drawn = jnp.mean((rows == row) & (columns == column))
        assert float(drawn) == pytest.approx(share, abs=0.02)


def test_wrong_arguments_are_told():
    spectrum = band_limits.tabulate_spectrum(gaussian_power, 5.0, points=8)
    for power, words in (
        (-spectrum.power, "at least 0 everywhere"),
        (0 * spectrum.power, "positive somewhere"),
        (spectrum.power.at[0].set(jnp.nan), "is finite"),
        (spectrum.power + 0j, "not the transform"),
    ):
        with pytest.raises(ValueError, match=words):
            band_limits.bandlimit_lower_bound(spectrum._replace(power=power), 1.0)
    with pytest.raises(ValueError, match="1 positive distances"):
        band_limits.measure_spectrum(jnp.ones(4), [0.0])
    with pytest.raises(ValueError, match="at least 4"):
        band_limits.measure_spectrum(jnp.ones(4), [1.0], points=3)
    with pytest.raises(ValueError, match="reach is 0"):
        band_limits.tabulate_spectrum(gaussian_power, 0.0)
    with pytest.raises(ValueError, match="not positive semi-definite"):
        band_limits.project(jnp.asarray([[1.0, 2.0], [2.0, 1.0]]), jnp.ones(2), 1.0)
    wrong = jax.jit(band_limits.project)(
        jnp.asarray([[1.0, 2.0], [2.0, 1.0]]), jnp.ones(2), 1.0
    )
    assert float(wrong.least_eigenvalue) == pytest.approx(-1.0, abs=1e-12)
    with pytest.raises(ValueError, match="need \\(3, 3\\)"):
        band_limits.project(jnp.eye(2), jnp.ones(3), 1.0)
    layer = weights.RandomLayer.draw(jax.random.key(0), 3, 2, radius=1.0)
    with pytest.raises(ValueError, match="inputs of length 1"):
        band_limits.sinc_gram(layer)
    with pytest.raises(ValueError, match="n is 0"):
        weights.RandomLayer.draw(jax.random.key(0), 0, 2, radius=1.0)
    with pytest.raises(ValueError, match="'cube' or 'sphere'"):
        weights.RandomLayer.draw(jax.random.key(0), 3, 2, radius=1.0, law="ball")
    with pytest.raises(ValueError, match="it must be \\(points, 2\\)"):
        weights.RandomLayer.draw(
            jax.random.key(0), 3, 2, radius=1.0, centers=jnp.ones((4, 1))
        )
    with pytest.raises(ValueError, match="parities 0 and 1"):
        ridgelets.admissibility(ridgelets.SINC, ridgelets.gaussian_derivative(1), 1)
    with pytest.raises(ValueError, match="diverges"):
        ridgelets.admissibility(ridgelets.RELU, ridgelets.gaussian_derivative(2), 1)
    with pytest.raises(ValueError, match="order is -1"):
        ridgelets.gaussian_derivative(-1)
