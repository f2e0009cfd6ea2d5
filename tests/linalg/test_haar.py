"""The Haar transform against its filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from kanjax import linalg

FILTERS = (
    [[0.5, 0.5], [0.5, 0.5]],
    [[-0.5, -0.5], [0.5, 0.5]],
    [[-0.5, 0.5], [-0.5, 0.5]],
    [[0.5, -0.5], [-0.5, 0.5]],
)


@pytest.fixture
def image(key):
    return jax.random.normal(key, (2, 6, 8, 3))


def test_bands_are_convolutions_with_the_four_filters(image, x64):
    found = linalg.haar_transform(image)
    assert found.shape == (2, 3, 4, 12)
    for channel in range(3):
        plane = np.asarray(image[1, ..., channel])
        for band, kernel in enumerate(FILTERS):
            # A convolution flips the filter in both axes, as the paper's code does.
            expected = scipy.signal.convolve2d(plane, kernel, "valid")[::2, ::2]
            np.testing.assert_allclose(
                found[1, ..., 4 * channel + band], expected, atol=1e-6
            )


def test_the_transform_is_orthonormal_and_has_its_inverse(image):
    bands = linalg.haar_transform(image)
    np.testing.assert_allclose(linalg.inverse_haar_transform(bands), image, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(bands**2), jnp.sum(image**2), rtol=1e-5)


def test_a_constant_has_a_mean_alone():
    bands = linalg.haar_transform(jnp.full((4, 4, 2), 0.3))
    expected = np.tile([0.6, 0, 0, 0], (2, 2, 2))
    np.testing.assert_allclose(bands, expected, atol=1e-7)


def test_jit_vmap_and_grad(image):
    there = jax.jit(jax.vmap(linalg.haar_transform))(image)
    np.testing.assert_allclose(there, linalg.haar_transform(image), atol=1e-6)
    back = jax.jit(jax.vmap(linalg.inverse_haar_transform))(there)
    np.testing.assert_allclose(back, image, atol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(linalg.haar_transform(x) ** 2) / 2)(image)
    np.testing.assert_allclose(slope, image, atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"even height and width; got \(3, 4, 1\)"):
        linalg.haar_transform(jnp.ones((3, 4, 1)))
    with pytest.raises(ValueError, match=r"four bands .* got \(3, 4, 6\)"):
        linalg.inverse_haar_transform(jnp.ones((3, 4, 6)))
