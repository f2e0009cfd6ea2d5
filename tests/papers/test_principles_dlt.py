"""Criticality and finite width, held against closed forms: arXiv 2106.10165."""

import functools
import math

import equinox
import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from kanjax import gaussian, nn, ntk, theory
from kanjax.theory import (
    criticality,
    ensembles,
    finite_width,
    moments,
    nearly_kernel,
    prescriptions,
)
from kanjax.theory.criticality import Scales
from kanjax.theory.finite_width import Rates

GELU = gaussian.Gelu()


@pytest.fixture(autouse=True)
def precise(x64):
    """Constants are compared to many digits."""


@pytest.mark.parametrize(
    "activation, kernel, bias, weight",
    [
        (GELU, (3 + math.sqrt(17)) / 2, 0.17292239, 1.98305826),
        (jax.nn.silu, 14.32017362, 0.55514317, 1.98800468),
        (flax.linen.silu, 14.32017362, 0.55514317, 1.98800468),
        (jnp.tanh, 0.0, 0.0, 1.0),
        (jnp.sin, 0.0, 0.0, 1.0),
        (jax.nn.relu, math.nan, 0.0, 2.0),
        (lambda x: -2 * x, math.nan, 0.0, 0.25),
    ],
)
def test_critical_initialization(activation, kernel, bias, weight):
    critical = theory.critical_initialization(activation)
    got = (critical.kernel, critical.scales.bias, critical.scales.weight)
    np.testing.assert_allclose(got, (kernel, bias, weight), atol=1e-8, rtol=1e-8)
    np.testing.assert_allclose(critical.parallel, 1, rtol=1e-9)
    np.testing.assert_allclose(critical.perpendicular, 1, rtol=1e-9)


@pytest.mark.parametrize("activation", [equinox.nn.PReLU(0.5), flax.nnx.PReLU(0.5)])
def test_activations_that_are_modules_with_a_parameter(activation):
    got = theory.critical_initialization(activation)
    np.testing.assert_allclose(got.scales.weight, 1.6, rtol=1e-7)


def test_universality_classes():
    classes = {
        "scale-invariant": (jax.nn.relu,),
        "K*=0": (jnp.tanh, jax.nn.elu),
        "half-stable": (GELU,),
        "none": (jax.nn.sigmoid, jnp.cos),
    }
    for name, activations in classes.items():
        for activation in activations:
            assert theory.universality_class(activation) == name


@pytest.mark.parametrize("kernel", [1e-6, 14.0, 1000.0])
@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu6])
def test_moments_are_those_of_a_fine_grid(activation, kernel):
    of = moments.moments(activation, kernel)

    x = np.linspace(-10, 10, 400_000) * kernel**0.5
    density = stats.norm.pdf(x, scale=kernel**0.5)
    value, gradient = gaussian.value_and_slope(activation, jnp.asarray(x))

    def mean(f):
        return integrate.trapezoid(density * np.asarray(f), x)

    square, fourth, slope = mean(value**2), mean(value**4), mean(gradient**2)
    np.testing.assert_allclose(of.square, square, rtol=1e-7)
    np.testing.assert_allclose(of.slope, slope, rtol=1e-4)
    np.testing.assert_allclose(of.square_variance, fourth - square**2, rtol=1e-6)


def test_susceptibilities_are_derivatives_of_the_kernel_map():
    scales, kernel, gap = Scales(0.1, 1.7, 0.4), 2.0, 1e-4
    got = criticality.susceptibilities(jax.nn.silu, kernel, scales)

    def square_map(k):
        return criticality.kernel_map(jax.nn.silu, k, scales)

    slope = (square_map(kernel + gap) - square_map(kernel - gap)) / (2 * gap)
    np.testing.assert_allclose(got.parallel, slope, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(square_map)(kernel), slope, rtol=1e-6)
    near = jnp.array([[kernel, kernel - gap], [kernel - gap, kernel]])
    out = criticality.kernel_map(jax.nn.silu, near, scales)
    np.testing.assert_allclose(
        (out[0, 0] - out[0, 1]) / gap, got.perpendicular, rtol=1e-3
    )


def test_relu_is_critical_at_every_kernel():
    kernels = jnp.array([1e-8, 0.1, 1.0, 1e4])
    got = criticality.susceptibilities(jax.nn.relu, kernels, Scales(0.0, 2.0))
    np.testing.assert_allclose(np.stack(got), 1, rtol=1e-12)


def test_kernels_of_many_inputs_are_the_infinite_networks():
    x = jax.random.normal(jax.random.key(0), (4, 3))
    scales = Scales(0.2, 1.5)
    net = nn.MLP((3, 8, 8, 1), jnp.tanh, kernel_scale=1.5**0.5, bias_scale=0.2**0.5)
    first = scales.bias + scales.weight * x @ x.T / 3
    got = criticality.kernel_flow(jnp.tanh, first, 3, scales)[-1]
    np.testing.assert_allclose(got, ntk.infinite(net)(x).nngp, rtol=1e-6)
    alone = criticality.kernel_flow(jnp.tanh, first[0, 0], 3, scales)
    np.testing.assert_allclose(alone[-1], got[0, 0], rtol=1e-6)


@pytest.fixture(scope="module")
def deep_tanh():
    with jax.enable_x64(True):
        return finite_width.vertex_flow(jnp.tanh, 1.0, (2,) * 999,
                                        Scales(0.0, 1.0))  # fmt: skip


def test_tanh_falls_as_one_over_twice_the_depth(deep_tanh):
    layers = np.array([100, 1000])
    kernel = np.asarray(deep_tanh.kernel)[layers - 1]
    vertex = 2 * np.asarray(deep_tanh.four_point)[layers - 1]
    np.testing.assert_allclose(2 * layers * kernel, [1.0241, 1.0033], atol=1e-4)
    np.testing.assert_allclose(
        vertex / (layers * kernel**2), [0.6480, 0.6641], atol=1e-4
    )


@pytest.mark.parametrize("activation, slope", [(jax.nn.relu, 5), (lambda x: x, 2)])
def test_the_vertex_grows_by_its_slope(activation, slope):
    weight = theory.critical_initialization(activation).scales.weight
    flow = finite_width.vertex_flow(activation, 3.0, (40,) * 9, Scales(0.0, weight))
    excess = flow.four_point / flow.kernel**2
    np.testing.assert_allclose(excess, slope * np.arange(10) / 40, atol=1e-9)
    np.testing.assert_allclose(flow.correction, 0, atol=1e-9)
    np.testing.assert_allclose(finite_width.vertex_slope(activation), slope)


def test_deep_linear_networks_have_exact_moments():
    # E K_l^2 = (1 + 2 / n_(l-1)) E K_(l-1)^2.
    widths = (50, 200, 100)
    flow = finite_width.vertex_flow(lambda x: x, 1.0, widths, Scales(0.0, 1.0))
    exact = np.cumprod(1 + 2 / np.array(widths)) - 1
    np.testing.assert_allclose(flow.four_point[1:], exact, rtol=0.03)
    np.testing.assert_allclose(flow.four_point[1:], np.cumsum(2 / np.array(widths)))


@pytest.mark.parametrize("activation", [GELU, jax.nn.relu])
def test_slopes_with_residuals_are_those_of_the_flow(activation):
    for residual in (0.0, 0.5):
        critical = theory.critical_initialization(activation, residual=residual)
        kernel = critical.kernel if critical.kernel > 0 else 1.0
        flow = finite_width.vertex_flow(activation, kernel, (2,) * 39, critical.scales)
        growth = 2 * float(flow.four_point[-1] - flow.four_point[-2]) / kernel**2
        slope = finite_width.vertex_slope(activation, residual=residual)
        np.testing.assert_allclose(slope, growth, rtol=1e-6)


def test_slopes_of_even_squares_and_without_layers():
    for g in (0.0, 0.4, 0.9):
        linear = finite_width.vertex_slope(lambda x: x, residual=g)
        np.testing.assert_allclose(linear, 2 * (1 - g**4))
        tanh = finite_width.vertex_slope(jnp.tanh, residual=g)
        np.testing.assert_allclose(tanh, 2 / 3 * (1 - g**4), rtol=1e-6)
    assert finite_width.vertex_slope(jax.nn.relu, residual=0.999) < 0.03


def test_aspect_ratios_maximize_the_information():
    ratio = prescriptions.optimal_aspect_ratio(jax.nn.relu)
    np.testing.assert_allclose(ratio, 4 / 23 / 5)
    excess = np.linspace(0, 0.5, 5001)
    values = [prescriptions.output_information(v, (1, 2)) for v in excess]
    best = prescriptions.optimal_aspect_ratio(lambda x: x, outputs=3)
    np.testing.assert_allclose(excess[np.argmax(values)], 2 * best, atol=1e-4)


def test_the_information_is_that_of_a_random_variance():
    # S ~ Gamma of mean 1 and variance v, two outputs, by quadrature over both.
    v = 0.02
    grid = stats.gamma.ppf((np.arange(4000) + 0.5) / 4000, 1 / v, scale=v)
    z, w = np.polynomial.hermite_e.hermegauss(60)
    w = w / w.sum()
    alone = np.mean(np.exp(-(z[:, None] ** 2) * (1 / grid - 1) / 2) / grid**0.5, axis=1)
    radius = (z[:, None] ** 2 + z**2)[..., None]
    both = np.mean(np.exp(-radius * (1 / grid - 1) / 2) / grid, axis=-1)
    pair = w[:, None] * w * both
    exact = np.sum(pair * np.log(both / (alone[:, None] * alone)))
    third = prescriptions.output_information(v, (1, 1))
    np.testing.assert_allclose(third, exact, rtol=0.03)
    assert abs(v**2 / 8 - exact) > 3 * abs(third - exact)


def test_rates_give_all_layers_equal_shares():
    for activation, scales in ((jnp.tanh, Scales(0.0, 1.0)), (GELU, Scales(0.1, 1.5))):
        rates = prescriptions.equal_rates(activation, 1.0, 6, scales)
        for layer in (0, 3, 5):
            one_layer = Rates(*(jnp.zeros(6).at[layer].set(r[layer]) for r in rates))
            got = finite_width.ntk_flow(activation, 1.0, (9,) * 5, scales, one_layer)
            np.testing.assert_allclose(got.ntk[-1], 1 / 6, rtol=1e-9)


def test_rates_give_layers_of_random_networks_equal_shares(key):
    scales, depth = Scales(0.1, 1.2), 4
    rates = prescriptions.equal_rates(jnp.tanh, 1.0, depth, scales)
    for layer in (0, 2):
        alone = Rates(*(jnp.zeros(depth).at[layer].set(r[layer]) for r in rates))
        seen = ensembles.sample_ntk(
            key, jnp.tanh, 1.0, scales, alone, width=64, depth=depth, networks=256
        ).ntk
        off = np.abs(seen.mean[-1] - 1 / depth)
        assert off < 4 * seen.error[-1] + 0.25 / 64
        assert seen.error[-1] < 0.01


def test_rates_scale_as_the_book_says():
    depth, scales = 200, Scales(0.0, 1.0)
    layers = np.arange(1, depth + 1)
    rates = prescriptions.equal_rates(jnp.tanh, 1.0, depth, scales)
    late = slice(50, None)
    for values in (rates.bias * layers, rates.weight):
        assert np.ptp(values[late]) < 0.04 * np.mean(values[late])
    relu = prescriptions.equal_rates(jax.nn.relu, 1.0, depth, Scales(0.0, 2.0))
    np.testing.assert_allclose(relu.bias, 1 / (2 * depth), rtol=1e-9)


def test_both_samples_have_one_law(key):
    """Preactivations drawn given a layer, and weights; and the variance they share."""
    sizes = {"width": 16, "depth": 3, "networks": 4096}
    scales = Scales(0.1, 1.5, 0.3)
    got = ensembles.sample_vertices(key, jax.nn.relu, 1.0, scales, **sizes)
    flow = finite_width.vertex_flow(jax.nn.relu, 1.0, (16, 16), scales)
    # The first two layers are exact; what is left of the third is of order 1 / width^2.
    for measured, said in (
        (got.kernel, flow.kernel + flow.correction),
        (got.four_point, flow.four_point),
    ):
        assert np.all(np.abs(measured.mean - said)[:2] < 4 * measured.error[:2])
    other = ensembles.sample_ntk(
        key, jax.nn.relu, 1.0, scales, Rates(1.0, 1.0), **sizes
    )
    off = np.abs(other.four_point.mean - got.four_point.mean)
    assert np.all(off < 4 * np.hypot(other.four_point.error, got.four_point.error))


def test_the_excess_of_relu_networks_is_the_exact_law(key):
    """(1 + 5 / n)^(l - 1) - 1, and what 4,000 networks with weights gave."""
    seen = ensembles.sample_vertices(
        key, jax.nn.relu, 1.0, Scales(0.0, 2.0), width=64, depth=6, networks=2**15
    )
    exact, error = (1 + 5 / 64) ** np.arange(6) - 1, seen.four_point.error[1:]
    off = np.abs(seen.four_point.mean - exact)[1:]
    assert np.all(off < 4 * error) and np.all(error < 0.04 * exact[1:])
    with_weights = np.array([0.076, 0.150, 0.240, 0.334, 0.441])
    off = np.abs(seen.four_point.mean[1:] - with_weights)
    assert np.all(off < 3 * error * (1 + 2**15 / 4000) ** 0.5)


def test_sampled_tangent_kernels_are_those_of_a_network(key):
    """The mean over outputs of H_ii, by another route."""
    scales, rates = Scales(0.0, 1.5), Rates(0.0, 1.0)
    net = nn.MLP((8, 8, 8), jnp.tanh, parameterization="ntk",
                 kernel_scale=1.5**0.5)  # fmt: skip
    x = jnp.ones((1, 8))
    measured = ntk.sampled(net.init, net.apply, key, x, draws=400)
    # There the scale of the map is on each derivative, too.
    sampled = ensembles.sample_ntk(
        key, jnp.tanh, 1.5, scales, rates, width=8, depth=2, networks=400
    )
    other, error = sampled.ntk.mean[-1] * 1.5, sampled.ntk.error[-1] * 1.5
    spread = math.hypot(error, float(measured.ntk_error[0, 0]))
    assert abs(other - measured.ntk[0, 0]) < 4 * spread


@pytest.mark.parametrize("residual", [0.0, 0.6])
def test_ensembles_are_where_the_recursions_say(key, residual):
    critical = theory.critical_initialization(GELU, residual=residual)
    setting = (GELU, critical.kernel)
    rates = Rates(1.0, 1.0)
    kinds = {"width": 32, "depth": 3, "networks": 512}
    tangents = ensembles.sample_ntk(key, *setting, critical.scales, rates, **kinds)
    flow = finite_width.vertex_flow(*setting, (32, 32), critical.scales)
    drift = finite_width.ntk_flow(*setting, (32, 32), critical.scales, rates)
    expected = {
        "four_point": flow.four_point,
        **drift._asdict(),
    }
    for name, measured in tangents._asdict().items():
        # Of order 1 / width relative, beside the standard error.
        allowed = 4 * measured.error + 0.1 * np.abs(expected[name])
        assert np.all(np.abs(measured.mean - expected[name]) <= allowed + 1e-9), name


@pytest.fixture(scope="module")
def small():
    with jax.enable_x64(True):
        net = theory.criticality.critical_mlp((2, 5, 2), jnp.tanh)
        x = jax.random.normal(jax.random.key(1), (3, 2))
        return net, net.init(jax.random.key(0)), x


def test_the_differential_of_the_kernel_is_that_of_jacobians(small):
    net, params, x = small
    got = jax.jit(functools.partial(nearly_kernel.dntk, net.apply))(params, x)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def z(p):
        return net.apply(unravel(p), x).ravel()

    j, q = jax.jacobian(z)(flat), jax.hessian(z)(flat)
    np.testing.assert_allclose(got, jnp.einsum("aij,bi,cj->abc", q, j, j), atol=1e-12)
    # One step of descent, to the third order.
    y = jnp.arange(6.0)
    off = []
    for eta in (1e-3, 1e-4):
        e = z(flat) - y
        step = z(flat - eta * j.T @ e) - z(flat)
        said = -eta * j @ j.T @ e + eta**2 / 2 * jnp.einsum("abc,b,c", got, e, e)
        off.append(np.abs(step - said).max())
    assert 900 < off[0] / off[1] < 1100


def test_the_second_differentials_are_those_of_jacobians(small):
    net, params, x = small
    x, y = x[:1], jnp.array([1.0, -0.5])
    got = jax.jit(functools.partial(nearly_kernel.ddntk, net.apply))(params, x)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def z(p):
        return net.apply(unravel(p), x).ravel()

    def kernel(p):
        j = jax.jacobian(z)(p)
        return j @ j.T

    j, q = jax.jacobian(z)(flat), jax.hessian(z)(flat)
    third = jax.jacfwd(jax.hessian(z))(flat)
    expected = jnp.einsum("aijk,bi,cj,dk->abcd", third, j, j, j)
    np.testing.assert_allclose(got.first, expected, atol=1e-12)
    np.testing.assert_allclose(
        got.second, jnp.einsum("aij,bik,cj,dk->abcd", q, q, j, j), atol=1e-12
    )
    # One step of descent: outputs to the fourth order, the kernel to the third.
    slope = nearly_kernel.dntk(net.apply, params, x)
    e = z(flat) - y
    moves = jnp.einsum("abc,c->ab", slope, e)
    twice = jnp.einsum("abcd,c,d->ab", got.first, e, e)
    bends = jnp.einsum("abcd,c,d->ab", got.second, e, e)
    off = []
    for eta in (1e-2, 1e-3):
        end = flat - eta * j.T @ e
        said = -eta * j @ j.T @ e + eta**2 / 2 * moves @ e - eta**3 / 6 * twice @ e
        turned = -eta * (moves + moves.T) + eta**2 * (twice + twice.T) / 2
        turned += eta**2 * bends
        off.append([
            np.abs(z(end) - z(flat) - said).max(),
            np.abs(kernel(end) - kernel(flat) - turned).max(),
        ])  # fmt: skip
    np.testing.assert_allclose(np.divide(*off), [1e4, 1e3], rtol=0.3)


def test_the_prediction_is_that_of_training_to_the_end(small):
    """Of a quadratic model with a small curvature, by 4th-order steps of the flow."""
    net, params, x = small
    wide = nn.MLP((2, 12, 1), jnp.tanh)
    params, x_test = wide.init(jax.random.key(3)), x + 0.3
    y = wide.apply(params, x) + jnp.array([[0.2], [-0.1], [0.1]])

    def scaled(size):
        """Targets at a size from where training starts."""
        start = wide.apply(params, x)
        return start + size * (y - start)

    def trained(size):
        target = scaled(size)

        def slope(p):
            return jax.grad(lambda p: jnp.sum((wide.apply(p, x) - target) ** 2) / 2)(p)

        def shift(p, k, h):
            return jax.tree.map(lambda a, b: a - h * b, p, k)

        def step(p, _):
            h = 0.1
            k1 = slope(p)
            k2 = slope(shift(p, k1, h / 2))
            k3 = slope(shift(p, k2, h / 2))
            k4 = slope(shift(p, k3, h))
            k = jax.tree.map(lambda *k: (k[0] + 2 * k[1] + 2 * k[2] + k[3]) / 6, *(
                k1, k2, k3, k4))  # fmt: skip
            return shift(p, k, h), None

        p = jax.jit(lambda p: jax.lax.scan(step, p, length=20_000)[0])(params)
        assert np.abs(wide.apply(p, x) - target).max() < 1e-6
        return wide.apply(p, x_test)

    predict = jax.jit(functools.partial(nearly_kernel.predict, wide.apply))
    off = {}
    for size in (0.2, 0.1):
        said = predict(params, x, scaled(size), x_test)
        off[size] = np.abs(trained(size) - said.kernel - said.correction).max()
        kernel_off = np.abs(trained(size) - said.kernel).max()
        assert off[size] < kernel_off / 4
    # The kernel's error is of second order in the size, what is left of third.
    assert 6 < off[0.2] / off[0.1] < 10


def test_a_prescription_answers_the_question():
    plan = theory.prescribe(jax.nn.relu, 11, 100, residual=0.0)
    assert plan.criticality.universality == "scale-invariant"
    np.testing.assert_allclose(plan.excess[-1], 0.5)
    np.testing.assert_allclose(plan.aspect_ratio, 0.11)
    np.testing.assert_allclose(plan.input_square, 0.5)
    deeper = theory.prescribe(GELU, 40, 100, residual=0.5)
    assert deeper.rates.bias.shape == (40,) and deeper.ntk_deviation > 0
    with jax.enable_x64(False):
        single = theory.prescribe(GELU, 40, 100, residual=0.5)
    np.testing.assert_allclose(single.excess, deeper.excess, rtol=1e-6)


def test_a_prescription_is_the_same_for_any_library():
    """A leaky line of slopes 1 and 1/2: A_2 = 5 / 8, A_4 = 17 / 32."""
    for leaky in (
        equinox.nn.PReLU(0.5),
        flax.nnx.PReLU(0.5),
        lambda x: flax.linen.leaky_relu(x, 0.5),
    ):
        plan = theory.prescribe(leaky, 11, 100)
        np.testing.assert_allclose(plan.criticality.scales.weight, 8 / 5)
        slope = 3 * (17 / 32) / (5 / 8) ** 2 - 1
        np.testing.assert_allclose(plan.excess[-1], slope * 10 / 100, rtol=1e-6)


def test_flows_go_through_transformations():
    def last(kernel, weight):
        scales = Scales(0.1, weight)
        return finite_width.vertex_flow(jnp.tanh, kernel, (8,), scales).kernel[-1]

    scales = Scales(0.1, 1.3)
    slope = jax.jit(jax.grad(last))(0.7, 1.3)
    expected = criticality.susceptibilities(jnp.tanh, 0.7, scales).parallel
    np.testing.assert_allclose(slope, expected, rtol=1e-9)

    def steep(size):
        """Of an activation that is traced."""
        steeper = finite_width.vertex_flow(
            lambda x: jnp.tanh(size * x), 0.7, (8,), scales
        )
        return steeper.kernel[-1]

    gap = (steep(1 + 1e-5) - steep(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(steep)(1.0), gap, rtol=1e-6)
    many = jax.vmap(last, (0, None))(jnp.array([0.7, 0.9]), 1.3)
    np.testing.assert_allclose(many[1], last(0.9, 1.3))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: theory.critical_initialization(3.0), TypeError, "must be a function"),
        (lambda: theory.critical_initialization(jnp.log), ValueError, "-inf at 0"),
        (lambda: theory.critical_initialization(jnp.sign), ValueError, "jumps"),
        (lambda: theory.critical_initialization(jax.nn.softmax), ValueError, "each"),
        (lambda: theory.critical_initialization(jnp.sum), ValueError, "shape"),
        (lambda: theory.critical_initialization(jnp.cos), ValueError, "no critical"),
        (
            lambda: theory.critical_initialization(jnp.tanh, residual=1.0),
            ValueError,
            "residual must be from 0 to less than 1; got 1.0",
        ),
        (lambda: moments.moments(jnp.tanh, 1.0, modes=1), ValueError, "modes must be"),
        (lambda: theory.prescribe(jnp.tanh, 10, 1), ValueError, "width must be an int"),
        (lambda: theory.prescribe(jnp.tanh, 1, 10), ValueError, "depth must be an int"),
        (
            lambda: finite_width.vertex_flow(jnp.tanh, 1.0, (4, 1), Scales(0.0, 1.0)),
            ValueError,
            "widths must be an integer of at least 2; got 1",
        ),
        (
            lambda: finite_width.vertex_flow(
                jnp.tanh, 1.0, (4, 5), Scales(0.0, 1.0, 0.5)
            ),
            ValueError,
            "widths differ",
        ),
        (
            lambda: criticality.kernel_flow(jnp.tanh, -1.0, 3, Scales(0.0, 1.0)),
            ValueError,
            "kernel must be positive and finite; got",
        ),
        (
            lambda: criticality.kernel_map(jnp.tanh, jnp.ones(3), Scales(0.0, 1.0)),
            ValueError,
            r"kernel has shape \(3,\)",
        ),
        (
            lambda: criticality.susceptibilities(jnp.tanh, 1.0, Scales(0.0, 0.0)),
            ValueError,
            "scales.weight must be positive",
        ),
        (
            lambda: criticality.susceptibilities(jnp.tanh, 1.0, Scales(-1.0, 1.0)),
            ValueError,
            "scales.bias must be at least 0",
        ),
        (
            lambda: prescriptions.equal_rates(jnp.tanh, 0.1, 3, Scales(0.2, 1.0)),
            ValueError,
            "kernel - scales.bias must be positive",
        ),
        (
            lambda: prescriptions.output_information(-1.0, (1, 1)),
            ValueError,
            "excess must be at least 0",
        ),
        (
            lambda: nearly_kernel.predict(
                lambda p, x: x * p, jnp.ones(()), jnp.ones((2, 1)), jnp.ones(2), 0.0
            ),
            ValueError,
            r"y has shape \(2,\)",
        ),
    ],
)
def test_bad_input_is_told(call, error, words):
    with pytest.raises(error, match=words):
        call()
