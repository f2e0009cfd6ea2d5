"""Measures of color against published tables, scipy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from kanjax.data import color, color_transfer

# Sharma, Wu, Dalal (2005), table 1: two colors of L*a*b*, and their difference.
PAIRS = np.array(
    [
        [50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425],
        [50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615],
        [50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412],
        [50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000],
        [50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669],
        [50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195],
        [50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045],
        [50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461],
        [50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065],
        [50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492],
        [50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977],
        [50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030],
        [50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000],
        [50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000],
        [60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644],
        [63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ]
)


@pytest.fixture(autouse=True)
def double(x64):
    """Everything here is in double precision."""


@pytest.fixture
def images(key):
    x, noise = jax.random.uniform(key, (2, 2, 24, 19, 3))
    return x, jnp.clip(x + 0.3 * (noise - 0.5), 0, 1)


def test_ciede2000_is_the_published_table_both_ways():
    first, second, expected = PAIRS[:, :3], PAIRS[:, 3:6], PAIRS[:, 6]
    found = jax.jit(color.delta_e_2000)(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(color.delta_e_2000(second, first), expected, atol=1e-4)


def test_equal_colors_have_no_difference_and_finite_slopes():
    lab = jnp.array([[50.0, 0, 0], [50.0, 20, -10], [0.0, 0, 0]])
    slope = jax.grad(lambda a: jnp.sum(color.delta_e_2000(a, lab)))(lab)
    np.testing.assert_array_equal(color.delta_e_2000(lab, lab), 0)
    assert np.all(np.isfinite(slope))
    near = lab[1] + jnp.array([0.3, 1.0, -0.7])
    slope = jax.grad(lambda a: color.delta_e_2000(a, lab[1]))(near)
    for i, step in enumerate(1e-6 * np.eye(3)):
        up, down = (color.delta_e_2000(near + s, lab[1]) for s in (step, -step))
        np.testing.assert_allclose(slope[i], (up - down) / 2e-6, rtol=1e-5)


def test_lab_of_known_colors():
    """White, black, and sRGB's primaries as tables of the conversion give them."""
    rgb = jnp.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    expected = [
        [100, 0, 0],
        [0, 0, 0],
        [53.24, 80.09, 67.20],
        [87.74, -86.18, 83.18],
        [32.30, 79.19, -107.86],
    ]
    np.testing.assert_allclose(color.srgb_to_lab(rgb), expected, atol=0.02)
    slope = jax.jacfwd(color.srgb_to_lab)(jnp.zeros(3))
    assert np.all(np.isfinite(slope))


def test_ssim_is_that_of_gaussian_filters(images):
    x, y = (np.asarray(image[0]) for image in images)

    def mean(a):
        return scipy.ndimage.gaussian_filter(a, 1.5, truncate=3.5, axes=(0, 1))

    ux, uy = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - ux**2, mean(y * y) - uy**2, mean(x * y) - ux * uy
    c1, c2 = 0.01**2, 0.03**2
    s = (2 * ux * uy + c1) * (2 * vxy + c2)
    s /= (ux**2 + uy**2 + c1) * (vx + vy + c2)
    expected = s[5:-5, 5:-5].mean()
    found = color.ssim(*images)
    assert found.shape == (2,)
    np.testing.assert_allclose(found[0], expected, rtol=1e-10)
    np.testing.assert_allclose(color.ssim(x, x), 1, rtol=1e-12)
    wide = color.ssim(255 * x, 255 * y, data_range=255.0)
    np.testing.assert_allclose(wide, expected, rtol=1e-10)


def test_psnr_is_its_closed_form(images):
    x, y = images
    np.testing.assert_allclose(color.psnr(x, x + 0.1), 20, rtol=1e-10)
    mse = np.mean((np.asarray(x) - np.asarray(y)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(color.psnr(x, y), -10 * np.log10(mse), rtol=1e-10)


def test_angles():
    red, yellow, black = jnp.eye(3)[0], jnp.array([2.0, 2, 0]), jnp.zeros(3)
    np.testing.assert_allclose(color.angular_error(red, yellow), 45)
    np.testing.assert_allclose(color.angular_error(red, 3 * red), 0)
    np.testing.assert_allclose(color.angular_error(red, black), 0)
    tiny = color.angular_error(red, red + jnp.array([0, 1e-9, 0]))
    np.testing.assert_allclose(tiny, np.degrees(1e-9), rtol=1e-6)
    assert np.all(np.isfinite(jax.grad(color.angular_error)(red, red)))


def test_a_histogram_is_its_sum_over_pixels(images):
    pixels = np.asarray(images[0][0, :3, :2]).reshape(-1, 3)
    found = color.rgb_uv_histogram(images[0][0, :3, :2], bins=16, sigma=0.3)
    centers = np.linspace(-3, 3, 16)
    expected = np.zeros((3, 16, 16))
    for pixel in pixels:
        log = np.log(pixel + 1e-6)
        for i, (j, k) in enumerate(((1, 2), (0, 2), (0, 1))):
            u = 1 / (1 + ((log[i] - log[j] - centers) / 0.3) ** 2)
            v = 1 / (1 + ((log[i] - log[k] - centers) / 0.3) ** 2)
            expected[i] += np.linalg.norm(pixel) * np.outer(u, v)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(np.sum(found), 1, rtol=1e-6)
    # Exposure changes log-chroma by no more than what keeps logarithms finite.
    darker = color.rgb_uv_histogram(images[0][0, :3, :2] / 2, bins=16, sigma=0.3)
    np.testing.assert_allclose(darker, found, rtol=1e-3)


def test_hellinger_distance():
    p, q = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(color.hellinger_distance(p, q), 1)
    np.testing.assert_array_equal(color.hellinger_distance(p, p), 0)
    half = jnp.array([0.5, 0.5])
    expected = np.sqrt(1 - np.sqrt(0.5))
    np.testing.assert_allclose(color.hellinger_distance(p, half), expected)


@pytest.mark.parametrize("kind", color_transfer.KINDS)
def test_color_maps_find_the_map_that_made_the_pairs(kind, key):
    x = jax.random.uniform(key, (60, 3))
    terms = color_transfer.color_terms(x, kind).shape[-1]
    true = color_transfer.ColorMap(
        kind, jax.random.normal(jax.random.key(1), (terms, 3))
    )
    found = jax.jit(color_transfer.fit_color_map, static_argnums=2)(
        x, true.apply(x), kind
    )
    np.testing.assert_allclose(found.matrix, true.matrix, atol=1e-7)
    scales = {"linear": 2, "root-polynomial": 2}
    if kind in scales:
        np.testing.assert_allclose(true.apply(2 * x), 2 * true.apply(x), rtol=1e-10)


def test_monge_kantorovich_has_the_target_s_moments_and_a_symmetric_matrix(key):
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (400, 3)) @ jax.random.normal(keys[1], (3, 3))
    y = jax.random.uniform(keys[2], (300, 3)) @ jnp.array(
        [[1.0, 2, 0], [0, 1, 0], [1, 0, 3]]
    )
    found = color_transfer.monge_kantorovich(x, y)
    moved = found.apply(x)
    np.testing.assert_allclose(moved.mean(0), y.mean(0), rtol=1e-6)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(y.T), rtol=5e-3, atol=1e-6)
    # The gradient of a convex function, so the optimal transport.
    np.testing.assert_allclose(found.matrix[:3], found.matrix[:3].T, atol=1e-7)
    assert np.all(np.linalg.eigvalsh(found.matrix[:3]) > 0)


def test_moments_are_matched_by_channel(images):
    x, y = images[0][0], images[1][1] ** 2
    moved = color_transfer.match_moments(x, y)
    assert moved.shape == x.shape
    np.testing.assert_allclose(moved.mean((0, 1)), y.mean((0, 1)), rtol=1e-10)
    np.testing.assert_allclose(moved.std((0, 1)), y.std((0, 1)), rtol=1e-10)


def test_histograms_are_matched_in_order(key):
    x = jax.random.permutation(key, jnp.linspace(0, 1, 60)).reshape(5, 4, 3)
    y = x[::-1] ** 2
    moved = color_transfer.match_histograms(x, y)
    for i in range(3):
        expected = np.sort(np.ravel(y[..., i]))
        np.testing.assert_allclose(np.sort(np.ravel(moved[..., i])), expected)
        ranks = (scipy.stats.rankdata(np.ravel(a[..., i])) for a in (moved, x))
        np.testing.assert_array_equal(*ranks)
    same = color_transfer.match_histograms(jnp.ones((4, 3)), y)
    np.testing.assert_allclose(same, np.median(y, axis=(0, 1))[None].repeat(4, 0))


def test_measures_map_over_images_and_have_slopes(images):
    x, y = images
    for measure in (color.psnr, color.ssim):
        mapped = jax.jit(jax.vmap(measure))(x, y)
        np.testing.assert_allclose(mapped, measure(x, y), rtol=1e-10)
        slope = jax.grad(lambda a, f=measure: jnp.sum(f(a, y)))(x)
        assert np.all(np.isfinite(slope))


def test_bad_input(images):
    x, y = images
    with pytest.raises(ValueError, match="must have one shape"):
        color.psnr(x, y[0])
    with pytest.raises(ValueError, match="at least 11 x 11"):
        color.ssim(x[:, :9], y[:, :9])
    with pytest.raises(ValueError, match="pairs of colors of one shape"):
        color_transfer.fit_color_map(x, y[0])
    with pytest.raises(ValueError, match="kind must be one of"):
        color_transfer.color_terms(x, "cubic")
    with pytest.raises(ValueError, match=r"shape \(..., 3\)"):
        color_transfer.match_moments(x[..., :2], y)
