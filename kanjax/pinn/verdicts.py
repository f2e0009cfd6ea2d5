"""Whether a solution is to be trusted, and why: checks on fresh points."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import causal, losses, problems

POINTS = 2000
CAUSAL_BOUND = 0.99
CAUSAL_CHUNKS = 20


class Verdict(NamedTuple):
    """What the checks found.

    Attributes:
        residuals: the root mean square of each residual, by name.
        change: the relative L2 distance between the stages' solutions.
        error: that to the reference, None without one.
        smallest_weight: the smallest causal weight; 1 without.
        converged: whether all checks passed.
        reasons: of each check.
    """

    residuals: dict[str, float]
    change: float
    error: float | None
    smallest_weight: float
    converged: bool
    reasons: tuple[str, ...]


class Examiner:
    """Checks of a problem's solutions, all on the same fresh points.

    Args:
        problem: the problem.
        net: its model.
        key: of the points.
        tolerance: of the checks.
        options: of :func:`kanjax.pinn.train`, for its epsilons.

    Raises:
        FloatingPointError: if the reference is not finite there.
    """

    def __init__(
        self,
        problem: problems.Problem,
        net: model.Model,
        key: Array,
        tolerance: float,
        options: Mapping[str, Any],
    ) -> None:
        self.problem, self.net, self.tolerance = problem, net, tolerance
        self.points = problems.sample(problem, POINTS, key=key)
        self.epsilons = options.get("epsilons", ())
        self._known: Array | None = None
        if problem.reference is not None:
            # Now: a bad reference is not to be noticed after hours of training.
            self._known = problem.reference(self.inside)
            if not bool(jnp.all(jnp.isfinite(self._known))):
                raise FloatingPointError("the problem's reference is not finite.")

    def judge(
        self,
        first: problems.Parameters,
        coarse: problems.Parameters,
        fine: problems.Parameters,
        diverged: int | None = None,
    ) -> Verdict:
        """Judge the solution of the last parameters.

        Args:
            first: parameters before training.
            coarse: after it.
            fine: after more of it, on twice the points.
            diverged: the step at which the loss was not finite, if any.

        Raises:
            FloatingPointError: if a residual is not finite.
        """
        before, _, _ = self._measure(first)
        _, rough, _ = self._measure(coarse)
        after, u, smallest = self._measure(fine)
        # A compiled program sorts the names.
        names = problems.residuals(self.problem, self.net)
        sizes = {k: float(after[k]) ** 0.5 for k in names}
        if not all(jnp.isfinite(jnp.asarray(list(sizes.values())))):
            raise FloatingPointError(
                f"residuals are not finite: {sizes}; look for divisions by zero or "
                "roots of negative numbers in the problem at its first parameters."
            )
        change, tolerance = distance(u, rough), self.tolerance
        checks = []
        if diverged is not None:
            text = f"the loss was not finite at step {diverged}; the last good "
            checks.append((text + "parameters are kept", False))
        for name, size in sizes.items():
            scale = max(1e-300, float(before[name]) ** 0.5)
            text = f"{name} fell to {size:.1e}, {size / scale:.1e} of its first value"
            checks.append((text, size <= tolerance * scale))
        text = f"doubling the points changed the solution by {change:.1e}"
        checks.append((text, change <= tolerance))
        if self.epsilons:
            text = f"the smallest causal weight is {float(smallest):.3f}"
            checks.append((text, float(smallest) > CAUSAL_BOUND))
        error = self.error(u)
        if error is not None:
            text = f"the relative error against the reference is {error:.1e}"
            checks.append((text, error <= tolerance))
        return Verdict(sizes, change, error, float(smallest), *summarize(checks))

    def error(self, u: Array) -> float | None:
        """Return the distance of u (points, ...) to the reference, None without one."""
        if self._known is None:
            return None
        return distance(u, jnp.reshape(self._known, u.shape))

    @property
    def inside(self) -> Float[Array, "points coordinates"]:
        """The points inside of the domain."""
        return self.points[problems.INTERIOR]

    def _measure(
        self, params: problems.Parameters
    ) -> tuple[dict[str, Array], Array, Array]:
        epsilon = float(self.epsilons[-1]) if self.epsilons else 0.0
        return _measure(self.problem, self.net, params, self.points, epsilon)


def summarize(
    checks: list[tuple[str, bool]],
) -> tuple[bool, tuple[str, ...]]:
    """Return whether all checks passed, and what each found."""
    reasons = (t if passed else f"not converged: {t}" for t, passed in checks)
    return all(passed for _, passed in checks), tuple(reasons)


def distance(u: Array, known: Array) -> float:
    """Return the relative L2 distance; absolute where what is known vanishes.

    Args:
        u: values, of any shape.
        known: what they should be, (...) likewise.
    """
    size = float(jnp.linalg.norm(jnp.ravel(known)))
    return float(jnp.linalg.norm(jnp.ravel(u - known))) / (size or 1.0)


@functools.partial(jax.jit, static_argnames=("problem", "net", "epsilon"))
def _measure(
    problem: problems.Problem,
    net: model.Model,
    params: problems.Parameters,
    points: Any,
    epsilon: float,
) -> tuple[dict[str, Array], Array, Array]:
    """Mean squares of residuals, values inside, and the smallest causal weight."""
    residuals = problems.residuals(problem, net)
    values = losses.evaluate(residuals, params, points)
    squares = {k: jnp.sum(r**2, axis=1) for k, r in values.items()}
    inside = points[problems.INTERIOR]
    total = sum(v for k, v in squares.items() if k not in problem.conditions)
    means = causal.chunk_losses(inside[:, 0], jnp.asarray(total), CAUSAL_CHUNKS)
    smallest = jnp.min(causal.causal_weights(means, epsilon))
    u = jax.vmap(problems.field(problem, net, params))(inside)
    return {k: jnp.mean(v) for k, v in squares.items()}, u, smallest
