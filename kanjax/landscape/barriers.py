"""Loss barriers between solutions: how far from linearly connected they are.

Frankle, Dziugaite, Roy, Carbin 2020, "Linear Mode Connectivity and the Lottery Ticket
Hypothesis", arXiv 1912.05671; Entezari, Sedghi, Saukh, Neyshabur 2022, arXiv
2110.06296; Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin", arXiv 2209.04836.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from kanjax import checks, pytrees
from kanjax.landscape import linear_combinations, paths

Params = pytrees.Params
Reference = Literal["linear", "mean", "max"]


class Barrier(NamedTuple):
    """The barrier on the straight segment between two solutions.

    Attributes:
        height: the largest excess of the loss over the reference; never negative, as
            both ends count.
        at: the alpha where it is reached.
        alphas: (points,).
        losses: the loss at these.

    For a loss that returns a pytree, height, at and losses are such pytrees.
    """

    height: Any
    alphas: Float[Array, " points"]
    losses: Any
    at: Any


def barrier(
    loss: paths.Loss,
    a: Params,
    b: Params,
    *,
    points: int = 25,
    reference: Reference = "linear",
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Barrier:
    """Return the height of the loss barrier between a and b.

    With phi(alpha) the loss at ``(1 - alpha) a + alpha b``, the largest over a uniform
    grid on [0, 1] of phi(alpha) less the reference, which is
    - "linear": (1 - alpha) phi(0) + alpha phi(1) (Frankle et al., Entezari et al.),
    - "mean": (phi(0) + phi(1)) / 2 (Ainsworth et al.),
    - "max": the greater of phi(0) and phi(1).

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values, each with its own
            barrier; for an accuracy return its negative.
        a: the solution at alpha 0.
        b: the solution at alpha 1.
        points: an odd number has the midpoint on the grid.
        reference: see above.
        batch_size: how many points are evaluated at once, as in line.
        mesh: spread the points over its devices.

    A non-finite loss on the segment gives a non-finite height.

    Raises:
        ValueError: if a and b do not match, if points is less than 3, or for an
            unknown reference.
    """
    check_options(points, reference)
    alphas, losses = paths.line(
        loss, a, b, points=points, batch_size=batch_size, mesh=mesh
    )
    return from_losses(alphas, losses, reference)


def from_losses(
    alphas: Float[Array, " points"], losses: Any, reference: Reference = "linear"
) -> Barrier:
    """Return the barrier of losses known along a path; the first and last are its
    ends.
    """
    excess = jax.tree.map(lambda phi: _excess(phi, alphas, reference), losses)
    return Barrier(
        jax.tree.map(lambda e: jnp.max(e, axis=0), excess),
        alphas,
        losses,
        jax.tree.map(lambda e: alphas[jnp.argmax(e, axis=0)], excess),
    )


def barrier_matrix(
    loss: paths.Loss,
    params: Params,
    *,
    points: int = 11,
    reference: Reference = "linear",
    align: Callable[[Params, Params], Params] | None = None,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Any:
    """Return the barriers between all pairs of an ensemble, in one compiled call.

    Args:
        loss: as for :func:`barrier`.
        params: a pytree with a leading axis over members on every leaf.
        points: of each pair's segment.
        reference: as for :func:`barrier`.
        align: ``align(a, b)`` returns what takes the place of b before a pair is
            compared, e.g. ``lambda a, b: match_weights(spec, a, b).permuted``; member
            i is a and member j is b for i < j.
        batch_size: how many pairs are evaluated at once; one after the other if None.
        mesh: spread the pairs over its devices.

    Other options are as in barrier.

    Returns:
        A (members, members) array, symmetric with a zero diagonal (for a loss that
        returns a pytree, a pytree of these).

    Raises:
        ValueError: if leaves disagree on the number of members, if points is less
            than 3, or for an unknown reference.
    """
    check_options(points, reference)
    members = _members(params)
    return _matrix(
        params,
        loss=pytrees.hashable(loss),
        align=pytrees.hashable(align),
        members=members,
        points=points,
        reference=reference,
        batch_size=batch_size,
        mesh=mesh,
    )


@functools.partial(
    jax.jit,
    static_argnames=(
        "loss",
        "align",
        "members",
        "points",
        "reference",
        "batch_size",
        "mesh",
    ),
)
def _matrix(
    params: Params,
    *,
    loss: paths.Loss,
    align: Callable[[Params, Params], Params] | None,
    members: int,
    points: int,
    reference: Reference,
    batch_size: int | None,
    mesh: Mesh | None,
) -> Any:
    ends = jax.lax.map(
        lambda i: jax.tree.map(jnp.asarray, loss(_member(i, params))),
        jnp.arange(members),
    )
    upper = np.triu_indices(members, k=1)
    heights = pytrees.evaluate(
        _pair_height,
        (jnp.asarray(upper[0]), jnp.asarray(upper[1])),
        params,
        ends,
        static=(loss, align, points, reference),
        batch_size=batch_size,
        mesh=mesh,
    )

    def spread(h: Array) -> Array:
        zeros = jnp.zeros((members, members, *h.shape[1:]), h.dtype)
        return zeros.at[upper].set(h).at[upper[::-1]].set(h)

    return jax.tree.map(spread, heights)


def _pair_height(
    pair: tuple[Array, Array],
    loss: paths.Loss,
    align: Callable[[Params, Params], Params] | None,
    points: int,
    reference: Reference,
    params: Params,
    ends: Any,
) -> Any:
    """Return the barrier between two members, whose own losses are known."""
    i, j = pair
    a, b = _member(i, params), _member(j, params)
    first, last = _member(i, ends), _member(j, ends)
    if align is not None:
        b = align(a, b)
        pytrees.check_same(a, b, "a", "align(a, b)")
        last = loss(b)
    alphas = jnp.linspace(0.0, 1.0, points)
    value, _ = linear_combinations.loss_of_sums(loss, (a, b))
    between = jax.lax.map(lambda alpha: value((1 - alpha, alpha)), alphas[1:-1])

    def largest(start: Array, inside: Array, end: Array) -> Array:
        phi = jnp.concatenate([start[None], inside, end[None]])
        return jnp.max(_excess(phi, alphas, reference), axis=0)

    return jax.tree.map(largest, first, between, last)


def _member(i: Array, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _excess(phi: Array, alphas: Array, reference: Reference) -> Array:
    """phi less its reference; axis 0 of phi runs over alphas."""
    alphas = alphas.astype(jnp.promote_types(phi.dtype, jnp.float32))
    phi = phi.astype(alphas.dtype)
    if reference == "linear":
        outer = jnp.multiply.outer
        return phi - (outer(1 - alphas, phi[0]) + outer(alphas, phi[-1]))
    first, last = phi[0], phi[-1]
    both = (first + last) / 2 if reference == "mean" else jnp.maximum(first, last)
    return phi - both[None]


def check_options(points: int, reference: str) -> None:
    """Raise ``ValueError`` for a bad number of points or an unknown reference."""
    if points < 3:
        raise ValueError(
            f"points is {points}; a barrier needs its 2 ends and at least 1 between."
        )
    if reference not in ("linear", "mean", "max"):
        raise ValueError(
            f"reference is {reference!r}; it must be 'linear', 'mean' or 'max'."
        )


def _members(params: Params) -> int:
    checks.check_real(params, "params")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    members = jnp.shape(leaves[0][1])[:1]
    for path, leaf in leaves:
        if not jnp.shape(leaf) or jnp.shape(leaf)[:1] != members:
            raise ValueError(
                "params must have one leading axis over members on every leaf; "
                f"{checks.path_name(leaves[0][0])} has shape "
                f"{jnp.shape(leaves[0][1])}, {checks.path_name(path)} has shape "
                f"{jnp.shape(leaf)}."
            )
    return members[0]
