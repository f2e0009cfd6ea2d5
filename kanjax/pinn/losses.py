"""Residuals at points, their weighted sums of squares, and their Jacobians.

Everything takes residuals as dicts of functions ``r(params, z)``, see
:func:`kanjax.pinn.residuals`, and points and weights as dicts under the same names.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import model, pytrees
from kanjax.pinn import problems

Params = Any
Residuals = Mapping[str, Callable[[Any, Array], Array]]
Points = Mapping[str, Float[Array, "points coordinates"]]
Weights = Mapping[str, Any]


def evaluate(
    residuals: Residuals, params: Params, points: Points
) -> dict[str, Float[Array, "points equations"]]:
    """Evaluate all residuals at their points.

    Args:
        residuals: by name.
        params: of the residuals.
        points: by name, each (points, coordinates); a name that is not there takes
            those of "residual", so that equations share their points.
    """
    return {
        name: jax.vmap(r, (None, 0))(params, points_of(points, name))
        for name, r in residuals.items()
    }


def points_of(points: Points, name: str) -> Float[Array, "points coordinates"]:
    """Return the points of a residual.

    Args:
        points: by name.
        name: of the residual.
    """
    return points[name] if name in points else points[problems.INTERIOR]


def mean_squares(
    residuals: Residuals, params: Params, points: Points
) -> dict[str, Float[Array, ""]]:
    """Average the squares of each residual over points, and sum over equations.

    Args:
        residuals: by name.
        params: of the residuals.
        points: by name.
    """
    values = evaluate(residuals, params, points)
    return {k: jnp.mean(jnp.sum(r**2, axis=1)) for k, r in values.items()}


def stack(
    residuals: Residuals, points: Points, weights: Weights | None = None
) -> Callable[[Params], Float[Array, " rows"]]:
    """Stack all residuals so that the sum of squares is the weighted loss.

    Args:
        residuals: by name.
        points: by name.
        weights: by name, a number or one for each point (points,); 1 where absent.

    Returns:
        A function of the parameters whose squares sum to ``sum_name mean(w |r|^2)``.
    """

    def rows(params: Params) -> Array:
        values = evaluate(residuals, params, points)
        return jnp.concatenate(
            [(_roots(r, weights, k) * r).ravel() for k, r in values.items()]
        )

    return rows


def loss(
    residuals: Residuals,
    params: Params,
    points: Points,
    weights: Weights | None = None,
) -> Float[Array, ""]:
    """Return the weighted loss ``sum_name mean(w |r|^2)``.

    Args:
        residuals: by name.
        params: of the residuals.
        points: by name.
        weights: as in :func:`stack`.
    """
    return jnp.sum(stack(residuals, points, weights)(params) ** 2)


def euclidean(
    residuals: Residuals,
    params: Params,
    points: Points,
    weights: Mapping[str, float] | None = None,
) -> Float[Array, ""]:
    """Sum the weighted norms, ``sum_name w |r|``, neither squared nor averaged.

    The loss of "Lagrangian PINNs" (2022, arXiv 2205.02902). Its gradient does not
    shrink near a solution, where Adam with a constant rate goes back and forth; the
    squares of :func:`loss` converge.

    Args:
        residuals: by name.
        params: of the residuals.
        points: by name.
        weights: a number by name; 1 where absent.
    """
    values = evaluate(residuals, params, points)
    tiny = jnp.finfo(jnp.result_type(*values.values())).tiny
    # The gradient of a norm at zero is zero here, and not NaN.
    norms = {k: optax.safe_norm(r, tiny) for k, r in values.items()}
    return sum(
        ((weights or {}).get(k, 1.0) * norm for k, norm in norms.items()),
        start=jnp.zeros(()),
    )


def pseudo_time(
    problem: problems.Problem,
    net: model.Model,
    previous: problems.Parameters,
    steps: Mapping[str, float],
) -> problems.Residuals:
    """Return residuals of an implicit step in pseudo-time: ``r + (u - u_prev) / tau``.

    An equation ``r = 0`` is solved as the rest of ``du/ds = -r``, step after step; with
    the parameters of the last optimizer step as ``previous`` the term costs an
    evaluation of u, and steers training away from the trivial solutions in which it
    gets stuck else. Where ``du/ds = +r`` is the stable direction, as for ``r = lap u +
    f``, tau is negative. Chiu et al. (2026), "Scale-PINN: learning efficient
    physics-informed neural networks through sequential correction"; Wang et al. (2026),
    "When PINNs go wrong", arXiv 2604.23528.

    Args:
        problem: the problem.
        net: its model.
        previous: parameters of u_prev; not differentiated.
        steps: tau by the equation's name. A residual of k entries moves the first k
            outputs, such as a momentum the velocity; equations that are not named stay
            as they are.

    Raises:
        ValueError: for a name that is no equation, a tau of 0, or a residual with more
            entries than u.
    """
    residuals = problems.residuals(problem, net)
    unknown = [k for k in steps if k not in residuals or k in problem.conditions]
    if unknown:
        names = [k for k in residuals if k not in problem.conditions]
        raise ValueError(
            f"pseudo_time names equations, here {names}; got {unknown[0]!r}."
        )
    if any(pytrees.concrete(tau) and tau == 0 for tau in steps.values()):
        raise ValueError(f"steps of pseudo-time must not be 0; got {dict(steps)}.")
    previous = jax.lax.stop_gradient(previous)

    def stepped(r: Callable[..., Array], tau: float) -> Callable[..., Array]:
        def total(params: problems.Parameters, z: Array) -> Array:
            u, before = (
                jnp.ravel(problems.field(problem, net, p)(z))
                for p in (params, previous)
            )
            value = r(params, z)
            change = u - before
            if jnp.iscomplexobj(change):
                half = value.size // 2
                change = jnp.concatenate([change.real[:half], change.imag[:half]])
            if value.size > change.size:
                raise ValueError(
                    f"pseudo_time moves an output for each of {value.size} residuals; "
                    f"u has {change.size}. Name another equation."
                )
            return value + change[: value.size] / tau

        return total

    return residuals | {k: stepped(residuals[k], tau) for k, tau in steps.items()}


def jacobian(
    residuals: Residuals, points: Points, weights: Weights | None = None
) -> Callable[[Params], Float[Array, "rows parameters"]]:
    """Return the Jacobian of :func:`stack`, one backward pass a point and equation.

    A residual knows its point alone, so that this costs as much as the gradient of the
    loss does, where ``jax.jacrev`` of the stack would cost a gradient a row.

    Args:
        residuals: by name.
        points: by name.
        weights: as in :func:`stack`.
    """

    def rows(params: Params) -> Array:
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        blocks = []
        for name, r in residuals.items():
            slopes = jax.vmap(
                jax.jacrev(lambda theta, z, r=r: r(unravel(theta), z)), (None, 0)
            )(flat, points_of(points, name))
            scaled = _roots(slopes[..., 0], weights, name)[..., None] * slopes
            blocks.append(scaled.reshape(-1, flat.size))
        return jnp.concatenate(blocks)

    return rows


def _roots(values: Array, weights: Weights | None, name: str) -> Array:
    """Square roots of weight / points, (points, 1): constants for differentiation."""
    w = 1.0 if weights is None else weights.get(name, 1.0)
    w = jax.lax.stop_gradient(jnp.asarray(w, values.dtype))
    return jnp.sqrt(jnp.broadcast_to(w, values.shape[:1]) / values.shape[0])[:, None]
