"""Corruptions of images, held against scipy, Pillow and the definitions."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

from kanjax.data import corruptions


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    smooth = scipy.ndimage.gaussian_filter(rng.random((40, 48, 3)), (3, 3, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return jnp.asarray(smooth, jnp.float32)


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_every_corruption_keeps_shape_and_range_and_grows(name, image, key):
    images = jnp.stack([image] * 4)
    distances = []
    for severity in corruptions.SEVERITIES:
        damaged = corruptions.corrupt(key, images, name, severity)
        assert damaged.shape == images.shape and damaged.dtype == images.dtype
        assert damaged.min() >= 0 and damaged.max() <= 1
        distances.append(float(jnp.mean(jnp.square(damaged - images))))
    assert np.all(np.diff(distances) > 0), distances


@pytest.mark.parametrize("name", ["gaussian noise", "shot noise", "impulse noise"])
def test_noise_differs_between_images_and_keys(name, image, key):
    images = jnp.stack([image] * 2)
    first = corruptions.corrupt(key, images, name, 3)
    assert np.any(first[0] != first[1])
    again = corruptions.corrupt(key, images, name, 3)
    np.testing.assert_array_equal(first, again)


def test_moments_of_noise(key):
    gray = jnp.full((200, 200, 1), 0.5)
    gaussian = corruptions.gaussian_noise(key, gray, 1)
    assert np.std(gaussian) == pytest.approx(0.08, rel=0.02)
    shot = corruptions.shot_noise(key, gray, 1)
    assert np.mean(shot) == pytest.approx(0.5, abs=0.002)
    assert np.var(shot) == pytest.approx(0.5 / 60, rel=0.03)
    speckle = corruptions.speckle_noise(key, gray, 1)
    assert np.std(speckle) == pytest.approx(0.075, rel=0.02)
    impulse = corruptions.impulse_noise(key, gray, 5)
    assert np.mean(impulse != 0.5) == pytest.approx(0.27, abs=0.01)
    assert set(np.unique(impulse)) == {0, 0.5, 1}


def test_blur_is_scipys_inside(image, key):
    blurred = corruptions.gaussian_blur(key, image, 5)
    sigma = 6 * 48 / 224
    expected = scipy.ndimage.gaussian_filter(
        np.asarray(image, float), (sigma, sigma, 0), truncate=8
    )
    np.testing.assert_allclose(blurred[8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (3, 15), (5, 7)])
def test_jpeg_is_pillows(severity, quality, image, key):
    gray = jnp.round(255 * image[..., :1]) / 255
    damaged = corruptions.jpeg(key, gray, severity)
    stream = io.BytesIO()
    levels = np.asarray(255 * gray[..., 0]).round().astype(np.uint8)
    PIL.Image.fromarray(levels).save(stream, "jpeg", quality=quality)
    expected = np.asarray(PIL.Image.open(stream)) / 255
    # libjpeg's integer transforms differ by a rounding or two, and a coefficient
    # between two steps may fall to the other side in one of the 30 blocks.
    differs = np.abs(damaged[..., 0] - expected) > 2.1 / 255
    assert np.mean(differs) <= 1 / 30


def test_jpeg_of_any_size(key):
    image = jnp.full((5, 11, 1), 0.5)
    assert corruptions.jpeg(key, image, 1).shape == (5, 11, 1)


def test_pixelate_has_squares(key):
    image = jnp.asarray(np.random.default_rng(0).random((32, 32, 1)), jnp.float32)
    squares = np.asarray(corruptions.pixelate(key, image, 5)).reshape(8, 4, 8, 4)
    assert np.all(np.ptp(squares, axis=(1, 3)) == 0)


def test_mean_corruption_error():
    errors = {"a": [0.1, 0.3], "b": [0.5, 0.7]}
    assert corruptions.mean_corruption_error(errors) == pytest.approx(0.4)
    base = {"a": [0.2, 0.2], "b": [0.3, 0.3]}
    relative = corruptions.mean_corruption_error(errors, base)
    assert relative == pytest.approx((1 + 2) / 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, k: corruptions.corrupt(k, i, "fog", 1), "name must be one of"),
        (lambda i, k: corruptions.corrupt(k, i, "jpeg", 0), "severity must be"),
        (lambda i, k: corruptions.corrupt(k, i[0], "jpeg", 1), "batch, height"),
        (lambda i, k: corruptions.corrupt(k, 255 * i, "jpeg", 1), "Divide by 255"),
        (
            lambda i, k: corruptions.corrupt(k, i.at[0, 0].set(jnp.nan), "jpeg", 1),
            "nan",
        ),
        (lambda i, k: corruptions.mean_corruption_error({}), "it is empty"),
        (
            lambda i, k: corruptions.mean_corruption_error({"a": [1]}, {"b": [1]}),
            "no errors of",
        ),
    ],
)
def test_bad_input(call, message, key):
    with pytest.raises(ValueError, match=message):
        call(jnp.full((2, 8, 8, 1), 0.5), key)


def test_under_jit(image, key):
    images = image[None]
    for name in ("jpeg", "shot noise", "gaussian blur"):
        plain = corruptions.corrupt(key, images, name, 2)
        traced = jax.jit(lambda k, i, n=name: corruptions.corrupt(k, i, n, 2))(
            key, images
        )
        np.testing.assert_allclose(plain, traced, atol=1 / 255 + 1e-6)
