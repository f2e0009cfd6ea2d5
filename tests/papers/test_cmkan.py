"""Exact statements on color matching by a hypernetwork: arXiv 2503.11781."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from scipy.interpolate import BSpline

from kanjax import bases, kan, linalg, model, nn
from kanjax.kan import color_generator, color_matching


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


def softmax(values):
    return scipy.special.softmax(values, axis=-1)


def moved(params, scale=0.3):
    """The parameters with noise, so that nothing is zero or one."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            leaf + scale * jax.random.normal(key, leaf.shape)
            for leaf, key in zip(leaves, keys, strict=True)
        ],
    )


# ---- the pixel's KAN


def test_functions_are_scipy_s_and_sum_to_one():
    x = np.linspace(0, 1, 201)[:-1]
    knots = np.arange(-3, 9) / 5
    expected = BSpline.design_matrix(x, knots, 3).toarray()
    np.testing.assert_allclose(color_matching.BASIS(x), expected, atol=1e-13)
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-12)
    far = jnp.array([-0.6, 1.6, 7.0])
    np.testing.assert_array_equal(color_matching.BASIS(far), 0)


def test_a_pixel_s_kan_is_its_formula(key):
    keys = jax.random.split(key)
    x = np.asarray(jax.random.uniform(keys[0], (4, 3)))
    w = np.asarray(jax.random.normal(keys[1], (4, 90)))
    c = w[:, :72].reshape(4, 3, 3, 8)
    v, u = w[:, 72:81].reshape(4, 3, 3), w[:, 81:].reshape(4, 3, 3)
    expected = np.zeros((4, 3))
    for n, o, i in np.ndindex(4, 3, 3):
        design = BSpline.design_matrix(x[n, i : i + 1], np.arange(-3, 9) / 5, 3)
        silu = x[n, i] * scipy.special.expit(x[n, i])
        expected[n, o] += (
            u[n, o, i] * silu + v[n, o, i] * (design.toarray() @ c[n, o, i])[0]
        )
    found = jax.jit(color_matching.pixel_kan)(x, w)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    again = color_matching.pack(color_matching.unpack(jnp.asarray(w)))
    np.testing.assert_array_equal(again, w)
    with_shared = color_matching.pixel_kan(x, w[0])
    np.testing.assert_allclose(with_shared[0], expected[0], rtol=1e-10)


def test_ones_give_three_and_greville_s_abscissae_the_identity(key):
    x = jax.random.uniform(key, (50, 3))
    shape = (3, 3)
    ones = color_matching.PixelWeights(
        jnp.ones((*shape, 8)), jnp.ones(shape), jnp.zeros(shape)
    )
    found = color_matching.pixel_kan(x, color_matching.pack(ones))
    np.testing.assert_allclose(found, 3, rtol=1e-12)
    w = color_matching.identity_weights()
    abscissae = w[:8] * 15
    np.testing.assert_allclose(abscissae, [-3, 0, 3, 6, 9, 12, 15, 18], atol=1e-6)
    np.testing.assert_allclose(color_matching.pixel_kan(x, w), x, atol=1e-6)


def test_a_constant_map_commutes_with_any_order_of_pixels(key):
    x = jax.random.uniform(key, (6, 4, 3))
    w = jax.random.normal(jax.random.key(1), (90,))
    order = jax.random.permutation(jax.random.key(2), 24)

    def shuffle(image):
        return image.reshape(24, 3)[order].reshape(6, 4, 3)

    np.testing.assert_allclose(
        shuffle(color_matching.pixel_kan(x, w)),
        color_matching.pixel_kan(shuffle(x), w),
        rtol=1e-12,
    )


def test_layers_can_be_stacked(key):
    widths, basis = (3, 5, 3), bases.Chebyshev(4)
    sizes = color_matching.layer_sizes(widths, basis)
    assert sizes == [3 * 5 * 7, 5 * 3 * 7]
    w = jax.random.normal(key, (sum(sizes),))
    x = jax.random.uniform(jax.random.key(1), (9, 3))
    first = color_matching.unpack(w[: sizes[0]], 3, 5, 5)
    second = color_matching.unpack(w[sizes[0] :], 5, 3, 5)
    y = x
    for layer in (first, second):
        values = np.polynomial.chebyshev.chebvander(np.tanh(y), 4)
        curve = np.einsum("oim,nim->noi", layer.coef, values)
        silu = np.asarray(y * scipy.special.expit(y))
        y = np.einsum("oi,noi->no", layer.scale, curve)
        y = y + silu @ np.asarray(layer.residual).T
    found = color_matching.pixel_kan(x, w, widths=widths, basis=basis)
    np.testing.assert_allclose(found, y, rtol=1e-6)


def test_least_squares_finds_the_kan_that_made_the_colors(key):
    keys = jax.random.split(key, 3)
    x = jax.random.uniform(keys[0], (600, 3))
    place = jax.random.uniform(keys[1], (600, 2))
    terms = jnp.concatenate([jnp.ones((600, 1)), place], axis=1)
    true = jax.random.normal(keys[2], (3, 90)).at[:, 72:81].set(0)
    true = true.at[0, 72:81].set(1)
    y = color_matching.pixel_kan(x, terms @ true)
    w = jax.jit(color_matching.fit_pixel_kan)(x, y, terms)
    fresh = jax.random.uniform(jax.random.key(5), (100, 3))
    here = jnp.concatenate(
        [jnp.ones((100, 1)), jax.random.uniform(keys[1], (100, 2))], axis=1
    )
    np.testing.assert_allclose(
        color_matching.pixel_kan(fresh, here @ w),
        color_matching.pixel_kan(fresh, here @ true),
        atol=1e-8,
    )


# ---- the hypernetwork


@pytest.mark.parametrize("light, number", [(False, 76_907), (True, 7_327)])
def test_parameter_counts(light, number):
    net = kan.ColorMatcher(light=light)
    draw = jax.eval_shape(net.init, jax.random.key(0))
    # The published count has the filters of each wavelet transform, 16 numbers.
    levels = 1 if light else 2
    assert model.count_parameters(draw) == number - 16 * levels


@pytest.fixture
def attention(key):
    """An attention of two heads, moved parameters, an image and its light."""
    layer = color_generator.ChannelAnchorAttention(8, 2)
    params = moved(layer.init(key))
    x, light = jax.random.normal(jax.random.key(1), (2, 6, 4, 8))
    return layer, params, x, light


def test_attention_s_rows_sum_to_one(attention):
    layer, params, x, _ = attention
    over_anchors, over_keys = layer.weights(params, x)
    assert over_anchors.shape == (2, 4, 2)
    assert over_keys.shape == (2, 2, 4)
    np.testing.assert_allclose(jnp.sum(over_anchors, -1), 1, rtol=1e-12)
    np.testing.assert_allclose(jnp.sum(over_keys, -1), 1, rtol=1e-12)


def test_attention_is_its_formula(attention):
    """Pixel by pixel, with convolutions by their definition."""
    layer, params, x, light = attention
    p = jax.tree.map(np.asarray, params)
    x, light = np.asarray(x), np.asarray(light)
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0)], mode="reflect")

    def half(name, depthwise):
        kernel, bias = p[name]["kernel"], p[name]["bias"]
        out = np.zeros((3, 2, 8))
        for r, s in np.ndindex(3, 2):
            window = padded[2 * r : 2 * r + 3, 2 * s : 2 * s + 3]
            if depthwise:
                out[r, s] = np.sum(window * kernel[:, :, 0], axis=(0, 1)) + bias
            else:
                out[r, s] = np.einsum("abi,abio->o", window, kernel) + bias
        return out.reshape(6, 8)

    def pointwise(name, values):
        return values @ p[name]["kernel"][0, 0] + p[name]["bias"]

    q, k = half("query", True), half("key", False)
    a = pointwise("halve", half("anchor", True))
    v = (pointwise("value", x) * light).reshape(24, 8)
    q, k, a = (each / np.linalg.norm(each, axis=0) for each in (q, k, a))
    out = np.zeros((24, 8))
    for h in range(2):
        c, half_c = slice(4 * h, 4 * h + 4), slice(2 * h, 2 * h + 2)
        s_a = softmax(p["anchors"][h] * q[:, c].T @ a[:, half_c])
        s_k = softmax(p["keys"][h] * a[:, half_c].T @ k[:, c])
        out[:, c] = (s_a @ (s_k @ v[:, c].T)).T
    expected = pointwise("output", out).reshape(6, 4, 8)
    found = layer.apply(params, x, light)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("norm", color_generator.NORMS)
def test_modulator_is_its_formula(norm, key):
    layer = color_generator.BasisModulator(5, 7, norm)
    params = moved(layer.init(key))
    x = np.asarray(jax.random.normal(key, (4, 3, 5)))
    p = jax.tree.map(np.asarray, params)
    f = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    f = (f * p["norm"]["scale"] + p["norm"]["bias"]).reshape(12, 5).T

    def pointwise(name, values):
        return p[name]["kernel"][0, 0].T @ values + p[name]["bias"][:, None]

    q, k, v = (
        pointwise("query", f),
        pointwise("key", p["table"]),
        pointwise("value", p["table"]),
    )
    # The published norms run along the rows: pixels, and entries of the table.
    axis = 1 if norm == "pixels" else 0
    q, k = (each / np.linalg.norm(each, axis=axis, keepdims=True) for each in (q, k))
    expected = (v @ np.maximum((q.T @ k).T, 0)).T.reshape(4, 3, 5)
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-9, atol=1e-12)


def test_by_channels_a_pixel_s_numbers_do_not_hang_on_the_image_s_size(key):
    x = jax.random.normal(key, (4, 6, 5))
    for norm, same in (("channels", True), ("pixels", False)):
        layer = color_generator.BasisModulator(5, 7, norm)
        params = moved(layer.init(key))
        alone = layer.apply(params, x)[:2]
        difference = np.max(np.abs(layer.apply(params, x[:2]) - alone))
        assert (difference < 1e-12) == same


def test_the_generator_s_steps_in_their_order(key):
    """The light network, put together from its layers by hand."""
    net = color_generator.ColorGenerator(light=True)
    params = moved(net.init(key), 0.1)
    x = jax.random.uniform(key, (6, 8, 3))
    even, light = color_generator.IlluminationEstimator().apply(
        params["illumination"], x
    )
    halved = nn.Pool((2, 2), strides=2, padding="VALID").apply((), light)
    light = nn.Conv(12, 12, (1, 1)).apply(params["light_1"], halved)
    block = color_generator.ColorTransformerBlock(12)
    z = block.apply(params["block_1"], linalg.haar_transform(even), light)
    up = np.zeros((6, 8, 12))
    for i, j in np.ndindex(6, 8):
        r, s = np.clip((i + 0.5) / 2 - 0.5, 0, 2), np.clip((j + 0.5) / 2 - 0.5, 0, 3)
        i0, j0 = int(r), int(s)
        i1, j1 = min(i0 + 1, 2), min(j0 + 1, 3)
        a, b = r - i0, s - j0
        up[i, j] = (1 - a) * ((1 - b) * z[i0, j0] + b * z[i0, j1])
        up[i, j] += a * ((1 - b) * z[i1, j0] + b * z[i1, j1])
    y = jnp.concatenate([even, up], axis=-1)
    norm = nn.LayerNorm(15, eps=1e-5)
    y = norm.apply(params["norm"], y)
    y = color_generator.ConvFeedForward(15, 15).apply(params["mix"], y)
    y = color_generator.BasisModulator(15, 30).apply(params["modulator"], y)
    y = norm.apply(params["second_norm"], y)
    expected = color_generator.ConvFeedForward(15, 90).apply(params["last"], y)
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-6, atol=1e-8)


def test_kernels_start_as_published():
    params = kan.ColorMatcher().init(jax.random.key(0))
    kernel = params["block_2"]["attention"]["key"]["kernel"]
    np.testing.assert_allclose(jnp.std(kernel), np.sqrt(2 / (9 * 48)), rtol=0.03)
    # Outputs count in groups, too.
    kernel = params["illumination"]["spread"]["kernel"]
    np.testing.assert_allclose(jnp.std(kernel), np.sqrt(2 / (25 * 12)), rtol=0.1)
    assert not np.any(params["illumination"]["spread"]["bias"])
    np.testing.assert_array_equal(params["block_1"]["attention"]["keys"], 1)


# ---- the whole


@pytest.mark.parametrize("light", [True, False])
def test_started_at_the_identity_images_of_any_size_stay(light, key):
    net = kan.ColorMatcher(light=light, start="identity")
    params = net.init(key)
    for shape in ((2, 9, 14, 3), (3, 5, 3)):
        image = jax.random.uniform(key, shape)
        found = jax.jit(net.apply)(params, image)
        np.testing.assert_allclose(found, image, atol=1e-6)


def test_a_padded_image_is_cut_to_its_size(key):
    net = kan.ColorMatcher(light=True)
    params = net.init(key)
    image = jax.random.uniform(key, (7, 9, 3))
    wide = jnp.pad(image, [(0, 1), (0, 1), (0, 0)], mode="reflect")
    expected = net.apply(params, wide)[:7, :9]
    np.testing.assert_allclose(net.apply(params, image), expected, rtol=1e-9)


def test_large_images_have_the_numbers_of_a_small_copy_between_its_pixels(key):
    net = kan.ColorMatcher(light=True)
    params = net.init(key)
    image = jax.random.uniform(key, (41, 30, 3))
    found = jax.jit(functools.partial(net.apply_large, side=16, rows_at_once=8))(
        params, image
    )
    w = net.weights(params, jax.image.resize(image, (16, 12, 3), "linear"))
    w = jax.image.resize(w, (41, 30, 90), "linear")
    np.testing.assert_allclose(found, color_matching.pixel_kan(image, w), atol=1e-6)
    same = net.apply_large(params, image, side=64)
    np.testing.assert_allclose(same, net.apply(params, image))


def test_a_few_steps_bring_a_pair_together(key):
    net = kan.ColorMatcher(light=True, start="identity")
    params = net.init(key)
    source = jax.random.uniform(key, (2, 12, 12, 3))
    target = 0.8 * source**1.2

    def tune(a, b):
        return color_matching.fine_tune(net, params, a, b, steps=10, learning_rate=1e-2)

    tuned, losses = jax.jit(jax.vmap(tune))(source, target)
    np.testing.assert_allclose(
        losses[:, 0], jnp.mean(jnp.abs(source - target), axis=(1, 2, 3)), rtol=1e-4
    )
    first = jax.tree.map(lambda leaf: leaf[0], tuned)
    after = jnp.mean(jnp.abs(net.apply(first, source[0]) - target[0]))
    assert after < 0.7 * losses[0, 0]


def test_the_supervised_loss_is_its_formula(key):
    x, y = jax.random.uniform(key, (2, 2, 12, 12, 3))
    from kanjax.data import color

    expected = jnp.mean(jnp.abs(x - y)) + 0.15 * (1 - jnp.mean(color.ssim(x, y)))
    loss = color_matching.restoration(lambda params, images: images)
    np.testing.assert_allclose(loss((), (x, y), key), expected)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: kan.ColorMatcher(norm="batch"), "norm must be one of"),
        (lambda: kan.ColorMatcher(start="zero"), "start must be"),
        (lambda: kan.ColorMatcher(widths=(3, 4)), "from 3 to 3 colors"),
        (lambda: kan.ColorMatcher(start="identity", widths=(3, 4, 3)), "one layer"),
        (
            lambda: kan.ColorMatcher(start="identity", basis=bases.Chebyshev(3)),
            "basis of B-splines",
        ),
        (
            lambda: color_generator.ChannelAnchorAttention(9, 3),
            "multiple of 2 heads = 6",
        ),
        (lambda: color_matching.pixel_kan(jnp.ones(2), jnp.ones(90)), "x must have"),
        (lambda: color_matching.pixel_kan(jnp.ones(3), jnp.ones(91)), "w must have"),
        (lambda: color_matching.unpack(jnp.ones(80)), r"shape \(..., 90\)"),
        (
            lambda: color_matching.fit_pixel_kan(jnp.ones((4, 3)), jnp.ones((5, 3))),
            r"shape \(pixels, 3\)",
        ),
        (
            lambda: color_matching.fine_tune(
                kan.ColorMatcher(), {}, jnp.ones((4, 4, 3)), jnp.ones((8, 4, 3))
            ),
            "pixel on pixel",
        ),
        (
            lambda: kan.ColorMatcher().apply({}, jnp.ones((8, 8, 4))),
            r"\(..., height, width, 3\)",
        ),
        (
            lambda: color_generator.ColorGenerator().apply({}, jnp.ones((8, 6, 3))),
            "multiples of 4",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("bytes_", [np.uint8, np.float32])
def test_bytes_are_no_colors(bytes_):
    from kanjax.data import color

    image = np.full((12, 12, 3), 200, bytes_)
    net = kan.ColorMatcher(light=True)
    params = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(net.init, jax.random.key(0))
    )
    tune = functools.partial(color_matching.fine_tune, net, params, target=image)
    for call in (color.srgb_to_lab, tune):
        with pytest.raises(ValueError, match="they run from 200 to 200. Divide by 255"):
            call(image)
