"""Training in random subspaces, and the dimension at which a task is solved.

Li, Farkhoor, Liu, Yosinski 2018, "Measuring the Intrinsic Dimension of Objective
Landscapes", arXiv 1804.08838.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from kanjax import pytrees, training
from kanjax.landscape import subspaces

Params = pytrees.Params
Loss = Callable[[Params, Any, Array], Any]
"""``loss(params, batch, key)``: a scalar, or a scalar and metrics."""


class SubspaceFit(NamedTuple):
    """A point of a subspace.

    Attributes:
        v: (dimension,), its coordinates.
        params: the parameters there.
        losses: (steps,), of each step's batch.
    """

    v: Float[Array, " dimension"]
    params: Params
    losses: Float[Array, " steps"]


class IntrinsicDimension(NamedTuple):
    """Scores by dimension, and where they cross the threshold.

    Attributes:
        dims: (dims,), the dimensions of the subspaces.
        scores: (dims, seeds).
        baseline: the score in the full space.
        threshold: what a solution must reach.
        dimension: where the mean score, made monotone, crosses it, between the
            dimensions tried by interpolation; inf if none reaches it.
        smallest: the smallest dimension tried whose mean score reaches it, or inf.
        size: how many parameters the full space has.
    """

    dims: np.ndarray
    scores: np.ndarray
    baseline: float
    threshold: float
    dimension: float
    smallest: float
    size: int


def train_subspace(
    key: Array,
    loss: Loss,
    start: Params,
    space: subspaces.Subspace,
    data: Any,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    batch_size: int | None = None,
) -> SubspaceFit:
    """Minimise a loss inside a subspace through start.

    Args:
        key: draws batches and drives what is random in the loss.
        loss: ``loss(params, batch, key)``.
        start: the parameters that the subspace goes through.
        space: of :func:`kanjax.landscape.subspace`.
        data: a pytree with a leading axis over examples, such as ``(x, y)``.
        optimizer: acts on v. With unit columns its best step size is 10 to 100 times
            that of the full space, and decaying ones serve best.
        steps: how many.
        batch_size: examples of a step, drawn at random; all of them if None.

    Pure: works under jit, and under vmap over keys, starts and subspaces.

    Raises:
        ValueError: if batch_size or steps is not positive.
    """
    restricted = subspaces.subspace_loss(loss, start, space)
    v = jnp.zeros(space.dimension, _dtype(start))
    v, losses = training.descend(
        restricted,
        v,
        data,
        key=key,
        optimizer=optimizer,
        steps=steps,
        batch_size=batch_size,
    )
    return SubspaceFit(v, subspaces.place(space, start, v), losses)


def intrinsic_dimension(
    key: Array,
    loss: Loss,
    score: Callable[[Params], Array],
    init: Callable[[Array], Params],
    data: Any,
    *,
    dims: Sequence[int],
    optimizer: optax.GradientTransformation,
    steps: int,
    kind: subspaces.Kind = "fastfood",
    batch_size: int | None = None,
    seeds: int = 1,
    fraction: float = 0.9,
    baseline: float | None = None,
    full_optimizer: optax.GradientTransformation | None = None,
) -> IntrinsicDimension:
    """Measure how many numbers a task needs: d_int90 by default.

    Trains in subspaces of growing dimension, each the span of the first columns of the
    largest, so that all are one compiled program. A solution is a score
    of at least ``fraction`` of the baseline, or, for a negative baseline, one that
    falls short of it by at most ``1 - fraction`` of its magnitude.

    Args:
        key: of starts, subspaces and batches.
        loss: ``loss(params, batch, key)``.
        score: ``score(params)``, higher is better, such as the validation accuracy.
        init: draws parameters from a key.
        data: a pytree with a leading axis over examples.
        dims: increasing.
        optimizer: in the subspaces.
        steps: of each run.
        kind: of subspace, as for :func:`kanjax.landscape.subspace`.
        batch_size: examples of a step, drawn at random; all of them if None.
        seeds: runs of each dimension, trained together.
        fraction: of the baseline that a solution must reach.
        baseline: the score of the full space; by default it is trained in the same
            way, with full_optimizer (or else optimizer), and averaged over the seeds.
        full_optimizer: in the full space; ``optimizer`` if None.

    Raises:
        ValueError: if dims is empty or does not increase, or seeds is less than 1.
    """
    dimensions = [int(d) for d in dims]
    if not dimensions or dimensions[0] < 1 or any(np.diff(dimensions) <= 0):
        raise ValueError(f"dims is {list(dims)}; give increasing positive integers.")
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; it must be at least 1.")
    shapes = jax.eval_shape(init, key)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    keys = jax.random.split(key, seeds)

    def full(k: Array) -> Array:
        begin, run = jax.random.split(k)
        best = full_optimizer or optimizer
        params, _ = training.descend(
            loss,
            init(begin),
            data,
            key=run,
            optimizer=best,
            steps=steps,
            batch_size=batch_size,
        )
        return score(params)

    def inside(k: Array, dimension: Array) -> Array:
        begin, draw, run = jax.random.split(k, 3)
        start = init(begin)
        space = subspaces.subspace(draw, start, dimensions[-1], kind=kind)
        used = jnp.arange(dimensions[-1]) < dimension

        def at(v: Array) -> Params:
            return subspaces.place(space, start, jnp.where(used, v, 0))

        v, _ = training.descend(
            lambda v, batch, key: loss(at(v), batch, key),
            jnp.zeros(dimensions[-1], _dtype(start)),
            data,
            key=run,
            optimizer=optimizer,
            steps=steps,
            batch_size=batch_size,
        )
        return score(at(v))

    if baseline is None:
        baseline = float(jnp.mean(jax.jit(jax.vmap(full))(keys)))
    threshold = baseline - (1 - fraction) * abs(baseline)
    together = jax.jit(jax.vmap(inside, in_axes=(0, None)))
    scores = np.array([np.asarray(together(keys, jnp.array(d))) for d in dimensions])
    mean = scores.mean(axis=1)
    reached = [d for d, s in zip(dimensions, mean, strict=True) if s >= threshold]
    return IntrinsicDimension(
        np.array(dimensions),
        scores,
        baseline,
        threshold,
        crossing(dimensions, mean, threshold),
        float(reached[0]) if reached else float("inf"),
        size,
    )


def crossing(
    dims: Any, scores: Any, threshold: float, *, isotonic: bool = True
) -> float:
    """Where scores reach a threshold as the dimension grows.

    Linear in the logarithm of the dimension between those given.

    Args:
        dims: (n,), increasing.
        scores: (n,), means over seeds.
        threshold: the score to reach.
        isotonic: whether to fit the nearest non-decreasing scores first, as scores are
            monotone on average only.

    Returns:
        The dimension: dims[0] if its score suffices, inf if none does.

    Raises:
        ValueError: if the shapes differ.
    """
    d, s = np.asarray(dims, float), np.asarray(scores, float)
    if d.shape != s.shape or d.ndim != 1 or not d.size:
        raise ValueError(
            f"dims has shape {d.shape} and scores {s.shape}; both must be (n,)."
        )
    if isotonic:
        s = _monotone(s)
    above = np.flatnonzero(s >= threshold)
    if not above.size:
        return float("inf")
    i = int(above[0])
    if i == 0:
        return float(d[0])
    share = (threshold - s[i - 1]) / (s[i] - s[i - 1])
    return float(np.exp(np.log(d[i - 1]) + share * np.log(d[i] / d[i - 1])))


def grouped_sums(
    size: int = 1000, groups: int = 10
) -> tuple[Callable[[Array], Array], int]:
    """Return a loss whose intrinsic dimension is known, and that dimension.

    The sum over groups g of ``(sum of the group's parameters - g)^2``, g from 1: as
    many independent constraints as groups, so a random subspace through zero holds a
    solution from dimension ``groups`` on. Made in the manner of the paper's toy.

    Raises:
        ValueError: if groups does not divide size.
    """
    if groups < 1 or size % groups:
        raise ValueError(f"groups is {groups}; it must divide size, {size}.")
    goals = np.arange(1, groups + 1)

    def loss(theta: Float[Array, " size"]) -> Float[Array, ""]:
        sums = jnp.sum(theta.reshape(groups, -1), axis=1)
        return jnp.sum(jnp.square(sums - goals))

    return loss, groups


def _monotone(values: np.ndarray) -> np.ndarray:
    """Return the non-decreasing values nearest in squared distance."""
    from scipy import optimize

    return optimize.isotonic_regression(values).x


def _dtype(params: Params) -> Any:
    leaves = jax.tree.leaves(params)
    return jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
