"""Random changes of images."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from kanjax.data import augmentation
from kanjax.data import image_operations as operations


def many(function, image, number=200, **options):
    """The function of one image with as many keys."""
    keys = jax.random.split(jax.random.key(0), number)
    one = functools.partial(function, image=image, **options)
    return np.asarray(jax.jit(jax.vmap(lambda key: one(key)))(keys))


@pytest.fixture
def image(key):
    return jax.random.uniform(key, (6, 8, 3))


def test_half_of_the_images_are_flipped(image):
    found = many(augmentation.flip, image)
    same = np.all(found == np.asarray(image), axis=(1, 2, 3))
    mirrored = np.all(found == np.asarray(image)[:, ::-1], axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 70 < same.sum() < 130


def test_crops_are_shifted_images(image):
    found = many(augmentation.crop, image, padding=1)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = {
        padded[i : i + 6, j : j + 8].tobytes() for i in range(3) for j in range(3)
    }
    assert {one.tobytes() for one in found} == windows


def test_erased_is_a_rectangle_of_the_area_asked_for():
    gray = jnp.full((32, 32, 1), 2.0)
    found = many(augmentation.erase, gray, probability=0.5, area=(0.1, 0.3))
    erased = found[..., 0] != 2
    hit = erased.any(axis=(1, 2))
    assert 70 < hit.sum() < 130
    for one in erased[hit]:
        rows, columns = one.any(axis=1), one.any(axis=0)
        np.testing.assert_array_equal(one, rows[:, None] & columns[None])
        # The edges of the image cut some.
        assert one.mean() < 0.3 + 0.1
    assert found[erased].min() >= 0 and found[erased].max() <= 1


def test_random_operations_stay_in_range_and_can_be_none(image):
    found = many(augmentation.rand_augment, image, number=400)
    assert found.min() >= 0 and found.max() <= 1
    same = np.all(found == np.asarray(image), axis=(1, 2, 3)).mean()
    # Both of two are left out a quarter of the time.
    assert same == pytest.approx(0.25, abs=0.1)
    never = many(augmentation.rand_augment, image, number=5, probability=0.0)
    np.testing.assert_array_equal(never, np.broadcast_to(image, never.shape))


def test_every_operation_does_what_it_is_named_for(image):
    x, one = np.asarray(image), jnp.array(1.0)
    call = {f.__name__: f(image, one, one) for f in operations.COLORS}
    np.testing.assert_allclose(call["_invert"], 1 - x, atol=1e-6)
    np.testing.assert_allclose(call["_stretch"].min((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(call["_stretch"].max((0, 1)), 1, atol=1e-6)
    assert set(np.unique(np.asarray(call["_posterize"]) * 16)) <= set(range(16))
    np.testing.assert_allclose(call["_solarize"], 1 - x, atol=1e-6)
    np.testing.assert_allclose(call["_brightness"], 1.9 * x, rtol=1e-5)
    gray = x.mean(-1, keepdims=True)
    np.testing.assert_allclose(call["_color"], gray + 1.9 * (x - gray), atol=1e-5)
    flat = operations.COLORS[-1](jnp.full((4, 4, 1), 0.3), one, one)
    np.testing.assert_allclose(flat, 0.3, atol=1e-6)
    shift = jnp.eye(2, 3).at[1, 2].set(2 / 8)
    moved = operations.warp(image, shift)
    np.testing.assert_allclose(moved[:, :6], x[:, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, 6:], 0, atol=1e-6)
    quarter = jnp.array([[0.0, -1, 0], [1, 0, 0]])
    square = image[:, :6]
    turned = operations.warp(square, quarter)
    np.testing.assert_allclose(turned, np.rot90(square, -1), atol=1e-5)


def test_labels_are_smoothed():
    y = augmentation.smooth(jnp.array([1, 0]), 4, amount=0.2)
    np.testing.assert_allclose(y, [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]])


@pytest.mark.parametrize("mixing", [augmentation.mixup, augmentation.cutmix])
def test_images_and_labels_are_mixed_by_one_share(mixing):
    """Of images that are 0 and 1, the mean is the share of the second class."""
    x = jnp.stack([jnp.zeros((16, 16, 1)), jnp.ones((16, 16, 1))])
    y = jnp.eye(2)
    keys = jax.random.split(jax.random.key(1), 50)
    mixed, labels = jax.jit(jax.vmap(lambda key: mixing(key, x, y)))(keys)
    np.testing.assert_allclose(mixed.mean(axis=(2, 3, 4)), labels[..., 1], atol=1e-5)
    np.testing.assert_allclose(labels.sum(-1), 1, atol=1e-5)
    assert np.std(labels[:, 0, 0]) > 0.1
    is_mixup = mixing is augmentation.mixup
    assert np.all((mixed == 0) | (mixed == 1)) != is_mixup


def test_mix_is_one_or_the_other():
    x = jnp.stack([jnp.zeros((16, 16, 1)), jnp.ones((16, 16, 1))])
    keys = jax.random.split(jax.random.key(1), 100)
    mixed, _ = jax.jit(jax.vmap(lambda key: augmentation.mix(key, x, jnp.eye(2))))(keys)
    cut = np.all((mixed == 0) | (mixed == 1), axis=(1, 2, 3, 4))
    assert 30 < cut.sum() < 70


def test_resized_crops_are_windows_of_the_image():
    """Of a ramp along each axis, a window is a ramp of less slope."""
    rows, columns = jnp.mgrid[:32, :32] / 31
    ramps = jnp.stack([rows, columns], axis=-1)
    crops = many(augmentation.resized_crop, ramps, area=(0.25, 0.5), size=(16, 8))
    assert crops.shape == (200, 16, 8, 2)
    inner = crops[:, 3:-3, 2:-2]
    heights = np.diff(inner[..., 0], axis=1).mean(axis=(1, 2)) * 16 * 31 / 32
    widths = np.diff(inner[..., 1], axis=2).mean(axis=(1, 2)) * 8 * 31 / 32
    np.testing.assert_allclose(np.diff(inner[..., 0], axis=2), 0, atol=1e-4)
    areas, ratios = heights * widths, widths / heights
    assert 0.24 < areas.min() < 0.3 and 0.45 < areas.max() < 0.51
    assert 0.74 < ratios.min() < 0.85 and 1.2 < ratios.max() < 1.34
    middles = inner[..., 0].mean(axis=(1, 2))
    assert middles.min() < 0.35 and middles.max() > 0.65


def test_a_window_larger_than_the_image_is_the_image(image):
    kept = many(augmentation.resized_crop, image, number=3, area=(1.5, 2.0))
    np.testing.assert_allclose(kept, np.broadcast_to(image, kept.shape), atol=1e-5)


def test_affine_changes_stay_within_their_limits():
    spot = jnp.zeros((33, 33, 1)).at[16, 26].set(1.0)
    places = jnp.stack(jnp.mgrid[:33, :33], axis=-1) - 16

    def center(moved):
        return (
            np.einsum("nhwc,hwd->nd", moved, places)
            / moved.sum(axis=(1, 2, 3))[:, None]
        )

    turned = center(many(augmentation.affine, spot, degrees=30.0))
    angles = np.degrees(np.arctan2(*turned.T))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 10, atol=0.6)
    assert -32 < angles.min() < -25 and 25 < angles.max() < 32
    scaled = center(many(augmentation.affine, spot, scale=(0.8, 1.2)))
    assert 7.5 < scaled[:, 1].min() < 8.5 and 11.5 < scaled[:, 1].max() < 12.5
    shifted = center(many(augmentation.affine, spot, shift=0.1)) - [0, 10]
    assert -3.4 < shifted.min() < -2.5 and 2.5 < shifted.max() < 3.4
    np.testing.assert_allclose(many(augmentation.affine, spot, number=2)[0], spot)


def test_hue_turns_as_that_of_the_standard_library(image):
    for turn in (-0.3, 0.1, 1 / 3):
        expected = []
        for pixel in np.asarray(image, float).reshape(-1, 3):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            expected.append(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
        got = operations.turn_hue(image, turn)
        np.testing.assert_allclose(got.reshape(-1, 3), expected, atol=1e-5)


def test_colors_jitter_each_by_its_own(image):
    options = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    x, luma = np.asarray(image), np.asarray(image) @ [0.299, 0.587, 0.114]
    same = many(augmentation.jitter_color, image, number=4, **options)
    np.testing.assert_allclose(same, np.broadcast_to(x, same.shape), atol=1e-5)
    others = {"brightness": 0.0, "contrast": luma.mean(), "saturation": luma[..., None]}
    for name, other in others.items():
        changed = many(
            augmentation.jitter_color,
            image,
            probability=1.0,
            **options | {name: 0.4},
        )
        free = (changed > 0) & (changed < 1)
        # The factor that explains what is not clipped.
        away = np.broadcast_to(x - other, changed.shape)
        moved = changed - other
        factors = np.sum(moved * away * free, axis=(1, 2, 3)) / np.sum(
            away**2 * free, axis=(1, 2, 3)
        )
        assert 0.55 < factors.min() < 0.7 and 1.3 < factors.max() < 1.45
        expected = np.clip(other + factors[:, None, None, None] * away, 0, 1)
        np.testing.assert_allclose(changed, expected, atol=1e-4)
    seldom = many(augmentation.jitter_color, image, probability=0.2)
    kept = np.all(np.abs(seldom - x) < 1e-6, axis=(1, 2, 3)).mean()
    assert kept == pytest.approx(0.8, abs=0.1)


def test_gray_blurred_and_solarized_images(image):
    x = np.asarray(image)
    gray = many(augmentation.grayscale, image, probability=0.3)
    is_gray = np.all(np.ptp(gray, axis=-1) < 1e-6, axis=(1, 2))
    assert is_gray.mean() == pytest.approx(0.3, abs=0.1)
    luma = np.broadcast_to((x @ [0.299, 0.587, 0.114])[..., None], x.shape)
    np.testing.assert_allclose(gray[is_gray][0], luma, atol=1e-5)
    sun = many(augmentation.solarize, image, probability=1.0, number=1)[0]
    np.testing.assert_allclose(sun, np.where(x < 0.5, x, 1 - x), atol=1e-6)
    never = many(augmentation.blur, image, probability=0.0, number=2)
    np.testing.assert_array_equal(never[0], x)


def test_blur_is_that_of_scipy_and_keeps_constants():
    image = jax.random.uniform(jax.random.key(2), (40, 30, 2))
    got = many(augmentation.blur, image, probability=1.0, width=(1.5, 1.5), number=1)
    expected = scipy.ndimage.gaussian_filter(np.asarray(image), (1.5, 1.5, 0))
    np.testing.assert_allclose(got[0, 8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)
    flat = many(augmentation.blur, jnp.full((9, 7, 1), 0.4), probability=1.0, number=3)
    np.testing.assert_allclose(flat, 0.4, atol=1e-6)
