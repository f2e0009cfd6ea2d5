import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from kanjax import model, nn, symmetry

OPTIONS = {
    "1d valid": (nn.Conv(4, 3, (3,), padding="VALID"), {"padding": "VALID"}),
    "2d strides": (nn.Conv(4, 6, (3, 2), strides=(2, 1)), {"strides": (2, 1)}),
    "2d dilation": (
        nn.Conv(4, 6, (3, 2), dilation=2, padding="CIRCULAR"),
        {"kernel_dilation": 2, "padding": "CIRCULAR"},
    ),
    "2d groups": (nn.Conv(4, 6, (2, 2), groups=2), {"feature_group_count": 2}),
    "2d pairs": (
        nn.Conv(4, 2, (2, 2), padding=((1, 0), (0, 3))),
        {"padding": ((1, 0), (0, 3))},
    ),
    "3d circular": (
        nn.Conv(4, 2, (3, 2, 4), strides=2, padding="CIRCULAR"),
        {"strides": 2, "padding": "CIRCULAR"},
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_conv_agrees_with_flax(name, key):
    conv, options = OPTIONS[name]
    params = conv.init(key)
    params["bias"] = jnp.arange(float(conv.out_channels))
    x = jax.random.normal(key, (2, *(7, 6, 5)[: len(conv.kernel_size)], 4))
    theirs = flax.linen.Conv(conv.out_channels, conv.kernel_size, **options)
    expected = theirs.apply({"params": params}, x)
    y = jax.jit(conv.apply)(params, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_conv_agrees_with_scipy(key):
    conv = nn.Conv(1, 1, (3, 3), padding="CIRCULAR")
    params = conv.init(key)
    image = np.asarray(jax.random.normal(key, (8, 9)))
    kernel = np.asarray(params["kernel"])[:, :, 0, 0]
    expected = scipy.ndimage.correlate(image, kernel, mode="wrap")
    y = conv.apply(params, image[..., None])[..., 0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_both_parameterizations_draw_one_function(key):
    scales = {"kernel_scale": 1.5, "bias_scale": 0.5}
    standard = nn.Conv(4, 6, (3, 2), groups=2, **scales)
    ntk = nn.Conv(4, 6, (3, 2), groups=2, parameterization="ntk", **scales)
    x = jax.random.normal(key, (2, 5, 5, 4))
    np.testing.assert_allclose(
        ntk.apply(ntk.init(key), x),
        standard.apply(standard.init(key), x),
        rtol=1e-5,
        atol=1e-5,
    )


def test_weights_have_the_variance_of_their_fan_in(key):
    kernel = nn.Conv(32, 64, (3, 3), kernel_scale=1.5).init(key)["kernel"]
    assert np.std(kernel) * np.sqrt(32 * 9) == pytest.approx(1.5, rel=0.02)
    kernel = nn.Conv(32, 64, (3, 3), groups=4).init(key)["kernel"]
    assert np.std(kernel) * np.sqrt(8 * 9) == pytest.approx(1, rel=0.03)


def test_channels_can_be_permuted_through_a_depthwise_convolution(key):
    net = model.Sequential(
        (
            nn.Conv(3, 6, (3, 3), bias_scale=1.0),
            nn.Activation(jax.nn.relu),
            nn.Conv(6, 6, (3, 3), groups=6, bias_scale=1.0),
            nn.LayerNorm(6),
            nn.Conv(6, 2, (1, 1)),
        )
    )
    spec = symmetry.permutation_spec(net)
    assert spec.sizes == (("P1", 6),)
    x = jax.random.normal(key, (2, 5, 5, 3))
    assert symmetry.verify_spec(spec, net.apply, net.init(key), x, key).holds


def test_grouped_channels_have_no_common_permutation():
    with pytest.raises(ValueError, match="groups=2 are tied to their group"):
        nn.Conv(4, 6, (3,), groups=2).parameter_axes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 3}, "kernel_size must be a tuple of 1 to 3 integers.*got 3"),
        ({"kernel_size": (1,) * 4}, "kernel_size must be a tuple of 1 to 3 integers"),
        ({"kernel_size": (3, 0)}, r"kernel_size\[1\] must be a positive integer"),
        ({"strides": (1, 1, 1)}, "strides must have one entry for each of the 2"),
        ({"dilation": 0}, "dilation must be a positive integer; got 0"),
        ({"groups": 3}, "groups=3 does not divide in_channels=4"),
        ({"groups": 4}, "groups=4 does not divide out_channels=6"),
        ({"padding": "REFLECT"}, r"padding must be one of \('SAME'.*got 'REFLECT'"),
        ({"padding": ((1, 1),)}, "pair for each of the 2 spatial axes"),
        ({"padding": (1, 1)}, "pair for each of the 2 spatial axes"),
        ({"parameterization": "mup"}, "parameterization must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Conv(
            **{"in_channels": 4, "out_channels": 6, "kernel_size": (3, 3)} | arguments
        )


def test_bad_inputs_are_refused(key):
    conv = nn.Conv(4, 6, (3, 3), padding="VALID")
    params = conv.init(key)
    for shape in ((5, 4), (2, 5, 5, 3)):
        with pytest.raises(
            ValueError, match=r"x must have shape \(\.\.\., n1, n2, 4\)"
        ):
            conv.apply(params, jnp.ones(shape))
    with pytest.raises(ValueError, match="the kernel is larger than x"):
        conv.apply(params, jnp.ones((2, 2, 5, 4)))
