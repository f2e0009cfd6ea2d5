"""Self-scaled Broyden steps: a dense quasi-Newton method as an optax transformation.

Al-Baali (1998), "Numerical Experience with a Class of Self-Scaling Quasi-Newton
Algorithms", J. Optim. Theory Appl. 96, 533; Urban, Stefanou, Pons (2025), "Unveiling
the optimization process of Physics Informed Neural Networks", arXiv 2405.04230, whose
equations 13 to 23 these are. For smooth full-batch losses of up to a few thousand
parameters, in double precision.
"""

from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float

LINE_SEARCH_STEPS = 25


class BroydenState(NamedTuple):
    """What a step leaves for the next.

    Attributes:
        inverse: the estimate H of the inverse Hessian, (parameters, parameters).
        params: where the last gradient was taken, (parameters,).
        gradient: it, (parameters,).
        direction: H times it, (parameters,).
        scaled: whether H has the scale of the loss: after the first pair.
        ready: whether there is a last gradient of the same loss.
    """

    inverse: Float[Array, "parameters parameters"]
    params: Float[Array, " parameters"]
    gradient: Float[Array, " parameters"]
    direction: Float[Array, " parameters"]
    scaled: Bool[Array, ""]
    ready: Bool[Array, ""]


def scale_by_self_scaled_broyden() -> optax.GradientTransformation:
    """Multiply gradients by an estimate of the inverse Hessian.

    It needs the parameters at each update, and a line search after it that satisfies
    Wolfe's conditions, as :func:`self_scaled_broyden` has.
    """

    def init(params: Any) -> BroydenState:
        flat, _ = jax.flatten_util.ravel_pytree(params)
        no = jnp.zeros((), bool)
        return BroydenState(
            jnp.eye(flat.size, dtype=flat.dtype),
            flat,
            jnp.zeros_like(flat),
            jnp.zeros_like(flat),
            no,
            no,
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("self-scaled Broyden steps need update(..., params=...).")
        gradient, unravel = jax.flatten_util.ravel_pytree(updates)
        flat, _ = jax.flatten_util.ravel_pytree(params)
        inverse, scaled = _update_inverse(state, flat, gradient)
        direction = inverse @ gradient
        scaled = scaled & (gradient @ direction > 0)
        # The first step is no longer than 1: nothing is known of the loss' scale.
        first = 1 / jnp.maximum(1, jnp.linalg.norm(gradient))
        direction = jnp.where(scaled, direction, first * gradient)
        inverse = jnp.where(scaled, inverse, jnp.eye(flat.size, dtype=flat.dtype))
        yes = jnp.ones((), bool)
        after = BroydenState(inverse, flat, gradient, direction, scaled, yes)
        return unravel(direction), after

    return optax.GradientTransformation(init, update)


def self_scaled_broyden() -> optax.GradientTransformationExtraArgs:
    """Return a full optimizer: the direction, and optax' zoom line search along it.

    Call ``update(grad, state, params, value=..., grad=..., value_fn=...)``, as for
    ``optax.lbfgs``; ``optax.value_and_grad_from_state`` saves an evaluation a step.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from kanjax import training
        >>> def loss(x):
        ...     return jnp.sum((x - 1) ** 2 * jnp.array([1.0, 9.0]))
        >>> optimizer, x = training.self_scaled_broyden(), jnp.zeros(2)
        >>> state = optimizer.init(x)
        >>> for _ in range(8):
        ...     value, grad = optax.value_and_grad_from_state(loss)(x, state=state)
        ...     steps, state = optimizer.update(
        ...         grad, state, x, value=value, grad=grad, value_fn=loss
        ...     )
        ...     x = optax.apply_updates(x, steps)
        >>> bool(loss(x) < 1e-6)
        True
    """
    return optax.chain(
        scale_by_self_scaled_broyden(),
        optax.scale(-1.0),
        optax.scale_by_zoom_linesearch(LINE_SEARCH_STEPS, initial_guess_strategy="one"),
    )


def change_loss(state: Any) -> Any:
    """Keep the curvature but forget the last gradient and value, as of another loss.

    For losses on points that are drawn anew: the next step compares nothing with
    gradients of the old points.

    Args:
        state: of :func:`self_scaled_broyden`.
    """
    broyden, scale, search = state
    no = jnp.zeros((), bool)
    # The line search computes the value again if it is infinite.
    search = search._replace(value=jnp.full_like(search.value, jnp.inf))
    return broyden._replace(ready=no), scale, search


def _update_inverse(
    state: BroydenState, flat: Array, gradient: Array
) -> tuple[Array, Bool[Array, ""]]:
    """Return H with the last step's pair, and whether it has the loss' scale."""
    s, y = flat - state.params, gradient - state.gradient
    curvature = s @ y
    size = jnp.linalg.norm(s) * jnp.linalg.norm(y)
    # s^T H^-1 s, without H^-1: s is a multiple of -direction = -H gradient.
    multiple = -(s @ state.direction) / jnp.maximum(
        state.direction @ state.direction, jnp.finfo(flat.dtype).tiny
    )
    energy = -multiple * (s @ state.gradient)
    positive = (curvature > jnp.finfo(flat.dtype).eps * size) & (energy > 0)
    valid = state.ready & positive
    # Pairs that are not valid are replaced by one that divides by nothing.
    safe = jnp.where(valid, curvature, 1.0)
    initial = safe / jnp.where(valid, y @ y, 1.0)
    energy = jnp.where(state.scaled, energy, (s @ s) / initial)
    start = jnp.where(state.scaled, 1.0, initial)
    image = start * (state.inverse @ y)
    h = jnp.where(valid, y @ image, 1.0) / safe
    b = jnp.where(valid, energy, 1.0) / safe
    theta, tau = _theta_and_tau(b, h, flat.size)
    phi = (1 - theta) / (1 + (b * h - 1) * theta)
    v = s / safe - image / (h * safe)
    outer = jnp.outer
    changed = start * state.inverse - outer(image, image) / (h * safe)
    changed = (changed + phi * h * safe * outer(v, v)) / tau + outer(s, s) / safe
    inverse = jnp.where(valid, changed, state.inverse)
    # A line search that found no positive curvature has failed: H starts over.
    return inverse, valid | (state.scaled & ~state.ready)


def _theta_and_tau(b: Array, h: Array, size: int) -> tuple[Array, Array]:
    """Return Broyden's parameter and the scale (equations 17 to 23)."""
    # a is at least 0 by the Cauchy-Schwarz inequality, but for rounding.
    a = jnp.maximum(b * h - 1, jnp.finfo(b.dtype).eps)
    least = jnp.minimum(1, h * (1 - jnp.sqrt(a / (1 + a))))
    theta = jnp.clip((1 - b) / b, (least - 1) / a, 1 / least)
    sigma = 1 + theta * a
    root = sigma ** (1 / (1 - max(size, 2)))
    rho = jnp.minimum(1, 1 / b)
    below = jnp.minimum(rho * root, sigma)
    above = rho * jnp.minimum(root, 1 / jnp.where(theta > 0, theta, 1.0))
    return theta, jnp.where(theta <= 0, below, above)
