"""Sharpness: how much the loss rises around parameters, and gradients that avoid it.

Foret, Kleiner, Mobahi, Neyshabur 2021, "Sharpness-Aware Minimization", arXiv
2010.01412; Kwon, Kim, Park, Choi 2021, "ASAM", arXiv 2102.11600; Andriushchenko,
Flammarion 2022, arXiv 2206.06232 (m-sharpness).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, pytrees
from kanjax.landscape import barrier_estimates

Params = pytrees.Params


class Ascent(NamedTuple):
    """The worst point found near parameters.

    Attributes:
        rise: by how much the loss is higher there; never negative.
        params: that point.
    """

    rise: Float[Array, ""]
    params: Params


def sam_gradient(
    loss: Callable[..., Any],
    params: Params,
    *args: Any,
    radius: ArrayLike = 0.05,
    adaptive: bool = False,
    eta: ArrayLike = 0.01,
) -> tuple[Any, Params]:
    """Return the loss at params, and its gradient a step of steepest ascent away.

    SAM: the step is ``radius g / |g|``. ASAM (adaptive) measures it in units of the
    weights, ``radius T^2 g / |T g|`` with ``T = |w| + eta``, which makes it
    independent of how the layers are scaled. Give the gradient to any optimiser; for
    a whole optimiser see also ``optax.contrib.sam``.

    Args:
        loss: ``loss(params, *args)``, a scalar or (scalar, metrics).
        params: a pytree of floating-point arrays.
        *args: what else the loss takes.
        radius: 0.05 is usual for SAM, 0.5 for ASAM.
        adaptive: whether to take ASAM's step.
        eta: what ASAM adds to the size of a weight.

    Returns:
        What the loss gave at params, and a pytree like params. Where the gradient is
        zero, so is the step.
    """

    def value(p: Params) -> tuple[Array, Any]:
        result = loss(p, *args)
        return (result[0], result) if isinstance(result, tuple) else (result, result)

    (_, result), gradient = jax.value_and_grad(value, has_aux=True)(params)
    scale = jax.tree.map(
        lambda w: jnp.abs(w) + eta if adaptive else jnp.ones_like(w), params
    )
    scaled = jax.tree.map(jnp.multiply, scale, gradient)
    length = _over(radius, pytrees.inner(scaled, scaled))
    step = jax.tree.map(jnp.multiply, scale, scaled)
    moved = pytrees.combine((1.0, length), (params, jax.lax.stop_gradient(step)))
    return result, jax.grad(lambda p: value(p)[0])(moved)


def worst_rise(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    key: Array,
    *,
    radius: ArrayLike = 0.05,
    steps: int = 20,
    step_size: float = 0.25,
) -> Ascent:
    """Return the highest loss within a ball around params, by projected gradient
    ascent.

    Args:
        loss: ``loss(params)``, a scalar.
        params: the center of the ball.
        key: draws the point of the ball's surface that the ascent begins with.
        radius: of the ball, in Euclidean distance over all leaves.
        steps: of the ascent.
        step_size: of each normalised step, in units of the radius.

    A lower bound of the true maximum. Works under jit and vmap.

    Raises:
        ValueError: if steps is less than 1.
    """
    checks.check_real(params, "params")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1.")
    radius = jnp.asarray(radius, dtype=float)
    base = loss(params)

    def at(shift: Params) -> Params:
        return pytrees.combine((1.0, 1.0), (params, shift))

    def step(state: Any, _: None) -> Any:
        shift, best, height = state
        now, gradient = jax.value_and_grad(lambda s: loss(at(s)))(shift)
        best, height = _better(now, shift, height, best)
        size = pytrees.inner(gradient, gradient)
        shift = pytrees.combine(
            (1.0, _over(step_size * radius, size)), (shift, gradient)
        )
        outside = pytrees.inner(shift, shift)
        inward = jnp.where(outside > radius**2, _over(radius, outside), 1.0)
        return (pytrees.combine((inward,), (shift,)), best, height), None

    start = _gaussian(key, params)
    start = pytrees.combine((_over(radius, pytrees.inner(start, start)),), (start,))
    zero = jax.tree.map(jnp.zeros_like, params)
    (shift, best, height), _ = jax.lax.scan(
        step, (start, zero, base), None, length=steps
    )
    best, height = _better(loss(at(shift)), shift, height, best)
    return Ascent(height - base, at(best))


def mean_rise(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    key: Array,
    *,
    sigma: ArrayLike = 0.01,
    samples: int = 32,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """How much higher the loss is on average in Gaussian noise around params.

    ``E loss(params + sigma xi) - loss(params)``, about ``sigma^2 / 2`` times the trace
    of the Hessian for a small sigma.

    Args:
        loss: ``loss(params)``, a scalar.
        params: the mean of the noise.
        key: of the noise.
        sigma: its standard deviation.
        samples: in pairs of opposite sign, which cancels the gradient's part.
        batch_size: how many are evaluated at once; one after the other if None.

    Raises:
        ValueError: if samples is odd or less than 2.
    """
    checks.check_real(params, "params")
    if samples < 2 or samples % 2:
        raise ValueError(f"samples is {samples}; it must be even, for pairs.")

    keys = jax.random.split(key, samples // 2)
    values = pytrees.evaluate(
        _loss_in_noise,
        keys,
        params,
        jnp.asarray(sigma),
        static=(loss,),
        batch_size=batch_size,
    )
    return jnp.mean(values) - loss(params)


def _loss_in_noise(
    key: Array, loss: barrier_estimates.ScalarLoss, params: Params, sigma: Array
) -> Array:
    """Return the mean loss in one draw of noise and its opposite."""
    noise = _gaussian(key, params)
    both = [
        loss(pytrees.combine((1.0, sign * sigma), (params, noise))) for sign in (1, -1)
    ]
    return (both[0] + both[1]) / 2


def m_sharpness(
    loss: Callable[[Params, Any], Array],
    params: Params,
    data: Any,
    *,
    m: int,
    radius: ArrayLike = 0.05,
) -> Float[Array, ""]:
    """Return the mean rise of the loss over groups of m examples, one SAM step away
    in each.

    Args:
        loss: ``loss(params, batch)``, a scalar.
        params: where the loss is taken.
        data: a pytree with a leading axis over examples, of which m divides the number.
        m: examples of a group.
        radius: the length of the step.

    Raises:
        ValueError: if m does not divide the number of examples.
    """
    count = jax.tree.leaves(data)[0].shape[0]
    if m < 1 or count % m:
        raise ValueError(f"m is {m}; it must divide the number of examples, {count}.")
    groups = jax.tree.map(lambda v: v.reshape(count // m, m, *v.shape[1:]), data)

    def rise(batch: Any) -> Array:
        now, gradient = jax.value_and_grad(loss)(params, batch)
        length = _over(radius, pytrees.inner(gradient, gradient))
        return loss(pytrees.combine((1.0, length), (params, gradient)), batch) - now

    return jnp.mean(jax.lax.map(rise, groups))


def _better(now: Array, shift: Params, height: Array, best: Params) -> Any:
    # A loss that is not finite is worse than any: it counts as the highest.
    higher = (now > height) | ~jnp.isfinite(now)
    best = jax.tree.map(lambda new, old: jnp.where(higher, new, old), shift, best)
    return best, jnp.where(higher, now, height)


def _over(numerator: ArrayLike, square: Array) -> Array:
    """numerator / sqrt(square), and 0 where square is 0."""
    safe = jnp.where(square > 0, square, 1.0)
    return jnp.where(square > 0, numerator / jnp.sqrt(safe), 0.0)


def _gaussian(key: Array, params: Params) -> Params:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        jax.random.normal(k, jnp.shape(leaf), jnp.result_type(leaf))
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)
