"""Random changes of images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.data import augmentation


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
    call = {f.__name__: f(image, one, one) for f in augmentation._COLORS}
    np.testing.assert_allclose(call["_invert"], 1 - x, atol=1e-6)
    np.testing.assert_allclose(call["_stretch"].min((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(call["_stretch"].max((0, 1)), 1, atol=1e-6)
    assert set(np.unique(np.asarray(call["_posterize"]) * 16)) <= set(range(16))
    np.testing.assert_allclose(call["_solarize"], 1 - x, atol=1e-6)
    np.testing.assert_allclose(call["_brightness"], 1.9 * x, rtol=1e-5)
    gray = x.mean(-1, keepdims=True)
    np.testing.assert_allclose(call["_color"], gray + 1.9 * (x - gray), atol=1e-5)
    flat = jnp.full((4, 4, 1), 0.3)
    np.testing.assert_allclose(augmentation._sharpness(flat, one, one), 0.3, atol=1e-6)
    shift = jnp.eye(2, 3).at[1, 2].set(2 / 8)
    moved = augmentation._warp(image, shift)
    np.testing.assert_allclose(moved[:, :6], x[:, 2:], atol=1e-5)
    np.testing.assert_allclose(moved[:, 6:], 0, atol=1e-6)
    quarter = jnp.array([[0.0, -1, 0], [1, 0, 0]])
    square = image[:, :6]
    turned = augmentation._warp(square, quarter)
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
