import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.linalg

from kanjax import linalg


@pytest.fixture
def system(x64):
    random = np.random.default_rng(0)
    rows = random.normal(size=(6, 9))
    return jnp.asarray(rows @ rows.T), jnp.asarray(random.normal(size=(6, 2)))


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_solution_is_scipys(system, jitter):
    matrix, right = system
    right = right.at[:, 1].set(0.0)
    result = jax.jit(linalg.solve_positive, static_argnames="jitter")(
        matrix, right, jitter=jitter
    )
    added = jitter * np.mean(np.diag(matrix))
    full = np.asarray(matrix) + added * np.eye(6)
    expected = scipy.linalg.solve(full, right, assume_a="pos")
    np.testing.assert_allclose(result.solution, expected, rtol=1e-10)
    assert float(result.jitter) == pytest.approx(added)
    assert 0 < float(result.residual[0]) < 1e-13 and float(result.residual[1]) == 0


def test_residual_tells_round_off():
    """Of a matrix that single precision all but takes for singular."""
    matrix = 1 / (1.0 + jnp.add.outer(jnp.arange(5), jnp.arange(5)))
    exact = np.linalg.solve(np.asarray(matrix, float), np.ones((5, 1)))
    result = linalg.solve_positive(matrix, jnp.ones((5, 1)))
    left = 1 - np.asarray(matrix, float) @ np.asarray(result.solution, float)
    # The residual is of single precision itself.
    assert abs(float(result.residual[0]) - np.linalg.norm(left) / 5**0.5) < 1e-3
    assert np.max(np.abs(result.solution - exact)) > 1e-3 * np.max(np.abs(exact))


@pytest.mark.parametrize("unit", [2.0**-80, 2.0**67])
def test_residual_in_any_units(unit):
    """Squares of these do not fit into single precision; powers of 2 round alike."""
    matrix = jnp.array([[1.0, 0.9999999], [0.9999999, 1.0]])
    right = jnp.array([[1.0], [-1.2]])
    result = linalg.solve_positive(matrix, right)
    other = linalg.solve_positive(matrix, unit * right)
    np.testing.assert_array_equal(other.solution, unit * result.solution)
    assert float(result.residual[0]) > 0.1
    assert float(other.residual[0]) == pytest.approx(float(result.residual[0]))


def test_roots_say_how_far_they_are_from_whitening(system):
    matrix, _ = system
    roots = linalg.triangular_roots(matrix)
    assert float(linalg.root_residual(matrix, roots)) < 1e-13
    # Of another matrix: R^-1 (A + R E R^T) R^-T - I = E.
    change = jnp.diag(jnp.arange(6.0))
    other = matrix + roots.root @ change @ roots.root.T
    expected = np.linalg.norm(change) / 6**0.5
    assert float(linalg.root_residual(other, roots)) == pytest.approx(expected)


def test_what_is_not_positive_definite_is_nan(system):
    result = linalg.solve_positive(jnp.diag(jnp.array([1.0, -1.0])), jnp.ones((2, 1)))
    assert np.all(np.isnan(result.solution)) and np.all(np.isnan(result.residual))


def test_derivatives_and_members(system):
    matrix, right = system

    def value(matrix):
        return jnp.sum(jnp.sin(linalg.solve_positive(matrix, right).solution))

    symmetric = lambda m: value((m + m.T) / 2)  # noqa: E731
    jax.test_util.check_grads(symmetric, (matrix,), order=1, modes=("fwd", "rev"))
    slope = jax.grad(lambda r: linalg.solve_positive(matrix, r).residual[0])(right)
    assert np.all(np.isfinite(slope))
    both = jax.vmap(lambda r: linalg.solve_positive(matrix, r).solution)(
        jnp.stack([right, 2 * right])
    )
    np.testing.assert_allclose(both[1], 2 * both[0], rtol=1e-12)


def test_shapes_that_do_not_fit_are_told(system):
    matrix, right = system
    for m, r in ((matrix, right[:, 0]), (matrix[:3], right)):
        with pytest.raises(ValueError, match="matrix has shape"):
            linalg.solve_positive(m, r)
