import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape


@pytest.mark.parametrize("p, q", [(1.0, -1.0), (1.0, 4.0), (-2.0, -0.5), (0.5, -3.0)])
def test_the_closed_form_on_a_segment(p, q):
    ends = landscape.valley_floor(p), landscape.valley_floor(q)
    found = landscape.line(landscape.two_valleys, *ends, points=11)
    expected = landscape.valley_line(p, q, found.alphas)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5, atol=1e-6)


def test_the_numbers_of_the_two_cases():
    np.testing.assert_allclose(landscape.valley_line(1, -1, 0.5), 0.5)
    np.testing.assert_allclose(landscape.valley_line(1, 4, 0.5), 0.158203125)


def test_hikers_who_part_early_end_in_different_valleys(key):
    """They choose their valley at the saddle, so only those who part there differ."""

    def barrier(k, common):
        start = 1e-3 * jax.random.normal(k, (2,))
        ends = landscape.spawn(
            landscape.hike, start, k, common=common, separate=400 - common
        ).ends
        found = landscape.barrier(landscape.two_valleys, ends[0], ends[1], points=11)
        return found.height, ends

    keys = jax.random.split(key, 60)
    run = jax.jit(jax.vmap(barrier, in_axes=(0, None)))
    early, ends = run(keys, 0)
    late, _ = run(keys, 150)
    arms = jnp.sign(ends[:, :, 0])
    apart = arms[:, 0] != arms[:, 1]
    # Half of the pairs: each hiker's valley is a coin toss of its own.
    assert 0.3 < jnp.mean(apart) < 0.7
    np.testing.assert_array_equal(early > 0.3, apart)
    assert jnp.all(late < 0.1)
