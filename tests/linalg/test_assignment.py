"""Assignments have the sum of scipy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from kanjax import linalg


@pytest.mark.parametrize("columns", [10, 14])
@pytest.mark.parametrize("solver", ["host", "device"])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_sum_is_that_of_scipy(key, solver, maximize, columns):
    solve = lambda s: linalg.linear_assignment(  # noqa: E731
        s, maximize=maximize, solver=solver
    )
    stack = jax.random.normal(key, (3, 10, columns))
    together = jax.jit(jax.vmap(solve))(stack)
    for scores, chosen in zip(stack, together, strict=True):
        assert len(set(chosen.tolist()) & set(range(columns))) == 10
        expected = optimize.linear_sum_assignment(scores, maximize=maximize)
        np.testing.assert_allclose(
            scores[np.arange(10), chosen].sum(), scores[expected].sum(), rtol=1e-5
        )
        np.testing.assert_array_equal(solve(scores), chosen)
    broken = stack[0].at[2, 3].set(jnp.inf)
    np.testing.assert_array_equal(solve(broken), np.arange(10))


@pytest.mark.parametrize("solver", ["host", "device"])
def test_unsigned_integers(solver):
    scores = np.array([[5, 0, 9], [9, 5, 0], [3, 2, 2]], np.uint8)
    chosen = linalg.linear_assignment(jnp.asarray(scores), maximize=True, solver=solver)
    expected = optimize.linear_sum_assignment(scores, maximize=True)[1]
    np.testing.assert_array_equal(chosen, expected)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"scores has shape \(3, 2\)"):
        linalg.linear_assignment(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="solver is 'gpu'"):
        linalg.linear_assignment(jnp.ones((2, 2)), solver="gpu")
