"""Curves of low loss between two solutions, and planes that hold a trajectory.

Garipov, Izmailov, Podoprikhin, Vetrov, Wilson 2018, "Loss Surfaces, Mode Connectivity,
and Fast Ensembling of DNNs", arXiv 1802.10026; Draxler et al. 2018, arXiv 1803.00885.
Trajectory planes: Li et al. 2018, arXiv 1712.09913, section 7.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import pytrees, training
from kanjax.landscape import paths

Params = pytrees.Params
Kind = Literal["bezier", "polygon"]


class Curve(NamedTuple):
    """A curve between two solutions.

    Attributes:
        controls: a pytree with a leading axis over control points, the ends included.
        losses: (steps,), of training it.
    """

    controls: Params
    losses: Float[Array, " steps"]


def curve_point(controls: Params, t: ArrayLike, *, kind: Kind = "bezier") -> Params:
    """Return the point of a curve at t in [0, 1].

    Args:
        controls: a pytree with a leading axis over n + 1 control points.
        t: a scalar in [0, 1].
        kind: "bezier", with weights ``C(n, i) t^i (1 - t)^(n - i)``, or "polygon", the
            straight segments between consecutive points in equal times,
            ``max(0, 1 - |t n - i|)``.

    Raises:
        ValueError: for fewer than 2 control points or an unknown kind.
    """
    count = jax.tree.leaves(controls)[0].shape[0]
    weights = _weights(count, jnp.asarray(t, dtype=float), kind)

    def leaf(points: Array) -> Array:
        wide = jnp.promote_types(points.dtype, jnp.float32)
        mixed = jnp.tensordot(weights.astype(wide), points.astype(wide), axes=1)
        return mixed.astype(points.dtype)

    return jax.tree.map(leaf, controls)


def train_curve(
    key: Array,
    loss: Callable[[Params, Any, Array], Any],
    a: Params,
    b: Params,
    data: Any,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    bends: int = 1,
    kind: Kind = "bezier",
    batch_size: int | None = None,
) -> Curve:
    """Bend a curve between two solutions until the loss is low all along it.

    Minimises ``E loss(curve(t))`` over t uniform on [0, 1], one t a step, with both
    ends fixed and the bends starting on the segment.

    Args:
        key: draws the t, the batches, and what is random in the loss.
        loss: ``loss(params, batch, key)``, a scalar or (scalar, metrics).
        a: the solution at t = 0.
        b: the solution at t = 1.
        data: a pytree with a leading axis over examples.
        optimizer: an optax optimizer of the bends.
        steps: how many.
        bends: control points between the ends.
        kind: as for :func:`curve_point`.
        batch_size: examples of a step, drawn at random; all of them if None.

    Works under jit and vmap. A network with batch normalisation needs its running
    statistics recomputed at each t that is evaluated.

    Raises:
        ValueError: if a and b do not match, or bends or steps is less than 1.
    """
    pytrees.check_same(a, b, "a", "b")
    if bends < 1:
        raise ValueError(f"bends is {bends}; it must be at least 1.")
    _weights(bends + 2, jnp.zeros(()), kind)
    places = jnp.arange(1, bends + 1) / (bends + 1)
    inner = jax.vmap(lambda t: paths.interpolate(a, b, t))(places)

    def with_ends(inner: Params) -> Params:
        return jax.tree.map(
            lambda x, between, y: jnp.concatenate(
                [jnp.asarray(x)[None], between, jnp.asarray(y)[None]]
            ),
            a,
            inner,
            b,
        )

    def loss_at_random(inner: Params, batch: Any, key: Array) -> Any:
        key, time = jax.random.split(key)
        t = jax.random.uniform(time)
        return loss(curve_point(with_ends(inner), t, kind=kind), batch, key)

    inner, losses = training.descend(
        loss_at_random,
        inner,
        data,
        key=key,
        optimizer=optimizer,
        steps=steps,
        batch_size=batch_size,
    )
    return Curve(with_ends(inner), losses)


def curve_line(
    loss: paths.Loss,
    controls: Params,
    *,
    points: int = 25,
    kind: Kind = "bezier",
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> paths.Line:
    """Return the loss along a curve, as line gives it along a segment; options as
    there.

    Args:
        loss: of parameters alone.
        controls: control points, stacked on a leading axis.
        points: where to evaluate, evenly spread.
        kind: Bezier curve or chain of segments.
        batch_size: as for line.
        mesh: as for line.

    Raises:
        ValueError: if points is less than 2.
    """
    if points < 2:
        raise ValueError(f"points is {points}; a curve has at least its 2 ends.")
    t = jnp.linspace(0.0, 1.0, points)
    losses = pytrees.evaluate(
        _loss_on_curve,
        t,
        controls,
        static=(loss, kind),
        batch_size=batch_size,
        mesh=mesh,
    )
    return paths.Line(t, losses)


def _loss_on_curve(t: Array, loss: paths.Loss, kind: Kind, controls: Params) -> Any:
    return loss(curve_point(controls, t, kind=kind))


def _weights(count: int, t: Array, kind: str) -> Float[Array, " controls"]:
    if count < 2:
        raise ValueError(f"controls has {count} points; a curve has at least 2.")
    n = count - 1
    i = jnp.arange(count)
    if kind == "polygon":
        return jnp.maximum(0.0, 1 - jnp.abs(t * n - i))
    if kind != "bezier":
        raise ValueError(f"kind is {kind!r}; it must be 'bezier' or 'polygon'.")
    # Integer powers, as 0^0 is 1 at the ends and has a derivative.
    terms = [math.comb(n, j) * t**j * (1 - t) ** (n - j) for j in range(count)]
    return jnp.stack([jnp.asarray(term, t.dtype) for term in terms])
