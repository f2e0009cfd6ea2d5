"""KAN layers and networks against brute force and known functions."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.interpolate

from kanjax import bases, kan


def brute_force(layer, params, x):
    """Edge by edge and sample by sample in float64, splines by scipy."""
    knots = np.asarray(layer.basis.extended_knots(), np.float64)
    coef = np.asarray(params["coef"], np.float64)
    y = np.zeros((len(x), layer.out_features))
    for i in range(layer.in_features):
        for o in range(layer.out_features):
            spline = scipy.interpolate.BSpline(knots, coef[:, i, o], layer.basis.degree)
            v = np.asarray(x[:, i], np.float64)
            silu = v / (1 + np.exp(-v))
            y[:, o] += spline(v) + float(params["residual"][i, o]) * silu
    return y


def test_layer_equals_scipy_edge_by_edge(key, x64):
    layer = kan.KANLayer(3, 2, bases.BSpline(6))
    params = jax.tree.map(lambda p: jnp.asarray(p, float), layer.init(key))
    x = jax.random.uniform(key, (17, 3), minval=-0.999, maxval=0.999)
    y = layer.apply(params, x)
    np.testing.assert_allclose(y, brute_force(layer, params, x), atol=1e-12)


def test_greville_coefficients_make_the_identity(x64):
    """Splines reproduce x from the mean of each spline's inner knots."""
    basis = bases.BSpline(5, 3)
    knots = np.asarray(basis.extended_knots())
    greville = np.array([knots[g + 1 : g + 4].mean() for g in range(basis.size)])
    layer = kan.KANLayer(3, 1, basis, residual=None)
    x = jnp.linspace(-1, 0.99, 30).reshape(10, 3)
    coef = jnp.tile(jnp.array(greville)[:, None, None], (1, 3, 1))
    np.testing.assert_allclose(
        layer.apply({"coef": coef}, x)[:, 0], x.sum(1), atol=1e-13
    )


def test_network_composes_its_layers(key):
    net = kan.KAN((3, 5, 4, 2))
    params = net.init(key)
    x = jax.random.uniform(key, (6, 3), minval=-1.0)
    y = x
    for layer, p in zip(net.layers, params, strict=True):
        y = layer.apply(p, y)
    np.testing.assert_array_equal(net.apply(params, x), y)
    assert [a.shape[-1] for a in net.activations(params, x)] == [3, 5, 4, 2]


def test_mask_removes_an_edge(key):
    layer = kan.KANLayer(2, 2)
    params = layer.init(key)
    masked = kan.KANLayer(2, 2, mask=jnp.array([[0.0, 1.0], [1.0, 1.0]]))
    x = jax.random.uniform(key, (5, 2), minval=-1.0)
    moved = x.at[:, 0].add(0.3)
    assert np.array_equal(
        masked.apply(params, x)[:, 0], masked.apply(params, moved)[:, 0]
    )
    np.testing.assert_allclose(
        masked.apply(params, x)[:, 1], layer.apply(params, x)[:, 1], atol=1e-6
    )


@pytest.mark.numerical
@pytest.mark.parametrize("basis", [bases.BSpline(5), bases.Fourier(3)], ids=repr)
def test_expansion_keeps_variance_without_a_residual(basis, key):
    layer = kan.KANLayer(200, 300, basis, residual=None)
    x = jax.random.uniform(key, (500, 200), minval=-1.0)
    assert 0.9 < float(jnp.var(layer.apply(layer.init(key), x))) < 1.1


@pytest.mark.numerical
@pytest.mark.parametrize("lows", [10.0, (10.0, -3000.0, 0.0)])
def test_expansion_keeps_variance_on_knots_of_any_place(lows, key):
    """Knots that a grid was moved to need not lie where uniform ones were."""
    lows = np.asarray(lows)
    knots = jnp.asarray(lows[..., None] + np.linspace(-3, 8, 12) * 0.7, float)
    basis = bases.BSpline(5, knots=knots)
    layer = kan.KANLayer(3, 400, basis, residual=None)
    x = 3.5 * jax.random.uniform(key, (500, 3)) + np.broadcast_to(lows, (500, 3))
    y = layer.apply(layer.init(key), x)
    assert abs(float(jnp.var(y)) - 1) < 0.1


@pytest.mark.numerical
def test_rational_layer_keeps_variance_over_depth(key):
    """Standard-normal inputs stay near unit variance through 8 layers."""
    x = jax.random.normal(key, (512, 256))
    net = kan.KAN((256,) * 9, bases.Rational(8))
    for values in net.activations(net.init(key), x):
        assert 0.5 < float(jnp.var(values)) < 2.0


def test_rational_layer_is_linear_after_its_activation(key):
    layer = kan.RationalLayer(6, 3, bases.Rational(2))
    params = layer.init(key)
    x = jax.random.normal(key, (4, 6))
    expected = layer.basis.apply(params, x) @ params["kernel"] + params["bias"][None]
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-6)


@pytest.mark.numerical
@pytest.mark.parametrize("basis", [bases.BSpline(3), bases.Rational(start="silu")])
def test_gradients_in_parameters_and_inputs(basis, key, x64):
    net = kan.KAN((2, 3, 1), basis)
    # Away from the kinks of |b| at 0, where differences mean nothing.
    params = jax.tree.map(lambda p: jnp.asarray(p, float) + 0.05, net.init(key))
    x = jax.random.uniform(key, (4, 2), minval=-0.9, maxval=0.9)
    jax.test_util.check_grads(net.apply, (params, x), order=1, atol=1e-5, rtol=1e-5)
    hessian = jax.hessian(lambda v: net.apply(params, v)[0])(x[0])
    step = 1e-5 * jnp.eye(2)
    gradient = jax.grad(lambda v: net.apply(params, v)[0])
    numeric = jnp.stack(
        [(gradient(x[0] + s) - gradient(x[0] - s)) / 2e-5 for s in step]
    )
    np.testing.assert_allclose(hessian, numeric, atol=1e-6)


def test_an_ensemble_is_a_leading_axis(key):
    net = kan.KAN((2, 4, 1))
    params = jax.vmap(net.init)(jax.random.split(key, 5))
    x = jax.random.uniform(key, (7, 2), minval=-1.0)
    together = jax.vmap(net.apply, (0, None))(params, x)
    for i in range(5):
        member = jax.tree.map(lambda p, i=i: p[i], params)
        np.testing.assert_allclose(together[i], net.apply(member, x), atol=1e-6)


def test_leading_axes_are_free(key):
    net = kan.KAN((2, 4, 1))
    params = net.init(key)
    x = jax.random.uniform(key, (3, 5, 2), minval=-1.0)
    flat = net.apply(params, x.reshape(15, 2)).reshape(3, 5, 1)
    np.testing.assert_allclose(net.apply(params, x), flat, atol=1e-6)
    np.testing.assert_allclose(net.apply(params, x[0, 0]), flat[0, 0], atol=1e-6)


@pytest.mark.optimized
def test_no_array_of_every_edge_at_every_sample(key):
    """Forward and backward stay below batch * in * out numbers."""
    batch, width = 512, 64
    layer = kan.KANLayer(width, width)
    params, x = layer.init(key), jnp.zeros((batch, width))

    def loss(p, v):
        return jnp.sum(layer.apply(p, v) ** 2)

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(params, x).compile()
    analysis = compiled.memory_analysis()
    assert 0 < analysis.temp_size_in_bytes < 4 * batch * width * width


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: kan.KAN((4,)), r"at least two positive integers.*got \(4,\)"),
        (lambda: kan.KAN((4, 0, 1)), "at least two positive integers"),
        (lambda: kan.KAN((4, 2, 1), (bases.BSpline(),)), "basis has 1 entries"),
        (lambda: kan.KAN((4, 1), masks=(None, None)), "masks has 2 entries"),
        (lambda: kan.KANLayer(0, 1), "in_features must be a positive integer; got 0"),
        (
            lambda: kan.RationalLayer(5, 1, bases.Rational(2)),
            "groups=2 does not divide",
        ),
    ],
)
def test_bad_descriptions(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("basis", [bases.BSpline(), bases.Rational()], ids=repr)
def test_bad_inputs(basis, key):
    net = kan.KAN((3, 2), basis)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\); got \(5, 4\)"):
        net.apply(net.init(key), jnp.ones((5, 4)))


@pytest.mark.parametrize("name", bases.FAMILIES)
def test_a_basis_may_be_named(name, key):
    net = kan.KAN((2, 3, 1), basis=name)
    assert net == kan.KAN((2, 3, 1), basis=bases.family(name))
    assert eval(repr(net), {**vars(bases), "KAN": kan.KAN}) == net
    x = jnp.linspace(-0.9, 0.9, 8).reshape(4, 2)
    assert np.all(np.isfinite(net.apply(net.init(key), x)))


def test_an_unknown_name_of_a_basis_is_told_at_once():
    with pytest.raises(ValueError, match="'bsplin' is none of.*did you mean 'bspline'"):
        kan.KAN((2, 1), basis="bsplin")
    with pytest.raises(ValueError, match="did you mean 'bspline'"):
        kan.KANLayer(2, 1, basis="bsplin")


def test_a_layer_takes_a_name_of_a_basis_too():
    assert kan.KANLayer(2, 3, basis="rbf") == kan.KANLayer(2, 3, bases.family("rbf"))


def test_the_words_of_pykan_are_known():
    with pytest.raises(TypeError, match=r"grid=5 is basis=kj.bases.BSpline\(5\) here"):
        kan.KAN((2, 3, 1), grid=5, k=3)
    with pytest.raises(TypeError, match=r"BSpline\(5, degree=3\)"):
        kan.KAN((2, 3, 1), k=3)
    with pytest.raises(TypeError, match="widths, as in"):
        kan.KAN(width=[2, 3, 1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'bases'"):
        kan.KAN((2, 3, 1), bases=None)
