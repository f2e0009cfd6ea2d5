"""A solution on a grid of its domain, for files and figures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.pinn import domains, problems, recipes, solving

SIDE, LENGTH = 101, 401
TIMES, SPACE_SIDE = 25, 65


def evaluate(
    problem: problems.Problem,
    recipe: recipes.AnyRecipe,
    solution: solving.Solution | solving.Ensemble,
) -> dict[str, Any]:
    """Return coordinates, and values, references and residuals at their grid.

    Of more coordinates than two, or time and two, the others stay in the middle of the
    domain. Complex fields become real and imaginary parts; where there is no domain
    everything is NaN.

    Args:
        problem: the problem.
        recipe: of it, for names.
        solution: of it.
    """
    lower, upper = problem.domain.bounds
    counts = _counts(problem.domain)
    shown = len(counts)
    axes = [np.linspace(lower[i], upper[i], n) for i, n in enumerate(counts)]
    middle = [np.array([(a + b) / 2]) for a, b in zip(lower, upper, strict=True)]
    mesh = np.meshgrid(*axes, *middle[shown:], indexing="ij")
    z = jnp.asarray(np.stack([c.ravel() for c in mesh], axis=1))
    inside = jax.vmap(problem.domain.distance)(z) <= 1e-12

    def on_grid(values: Array) -> np.ndarray:
        rows = values.reshape(len(z), -1)
        if jnp.iscomplexobj(rows):
            parts = jnp.stack([rows.real, rows.imag], axis=-1)
            rows = parts.reshape(len(z), -1)
        rows = jnp.where(inside[:, None], rows, jnp.nan)
        return np.asarray(rows.T.reshape(-1, *counts))

    coefficients = solution.params.coefficients
    if isinstance(solution, solving.Ensemble):
        coefficients = {k: jnp.mean(v, axis=0) for k, v in coefficients.items()}
    extra = (coefficients,) if problem.coefficients else ()

    def size(point: Array) -> Array:
        entries = jax.tree.leaves(problem.residual(solution.field, point, *extra))
        each = [jnp.abs(jnp.ravel(entry)) for entry in entries]
        return jnp.linalg.norm(jnp.concatenate(each))

    names = zip(recipe.coordinates, axes, strict=False)
    arrays: dict[str, Any] = {f"coordinate_{name}": axis for name, axis in names}
    arrays["values"] = on_grid(jax.jit(jax.vmap(solution.field))(z))
    arrays["residual"] = on_grid(jax.jit(jax.vmap(size))(z))[0]
    if problem.reference is not None:
        arrays["reference"] = on_grid(problem.reference(z))
    if isinstance(solution, solving.Ensemble):
        arrays["spread"] = on_grid(jax.jit(jax.vmap(solution.spread))(z))
        each = solution.members
        arrays["losses"] = np.stack([np.asarray(s.losses) for s in each])
        weights = np.stack([np.asarray(s.smallest_weights) for s in each])
    else:
        arrays["losses"] = np.asarray(solution.losses)
        weights = np.asarray(solution.smallest_weights)
    if recipe.options.get("epsilons"):
        arrays["smallest_causal_weights"] = weights
    return arrays


def _counts(domain: domains.Domain) -> tuple[int, ...]:
    """Return the points of each coordinate that is shown."""
    if domain.coordinates == 1:
        return (LENGTH,)
    if domain.coordinates == 3 and isinstance(domain, domains.TimeSpace):
        return (TIMES, SPACE_SIDE, SPACE_SIDE)
    return (SIDE, SIDE)
