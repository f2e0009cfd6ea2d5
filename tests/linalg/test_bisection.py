import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.linalg import bisect


def test_bisect(x64):
    root = jax.jit(lambda: bisect(lambda x: x**3 > 2, 0.0, 4.0, steps=40))()
    assert root == pytest.approx(2 ** (1 / 3), abs=1e-11)


def test_each_range_by_itself_and_without_derivative():
    goals = jnp.array([0.5, 2.0, 7.0])
    roots = bisect(lambda x: x > goals, jnp.zeros(3), 8.0)
    np.testing.assert_allclose(roots, goals, rtol=1e-6)
    slope = jax.grad(lambda g: bisect(lambda x: x > g, 0.0, 8.0))(2.0)
    assert slope == 0
