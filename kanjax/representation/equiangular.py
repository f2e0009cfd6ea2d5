"""Classifiers whose last layer is a fixed set of nearly orthogonal unit vectors.

Shen, Sun, Wei (2023), Equiangular Basis Vectors, arXiv 2303.11637. Each class has a
vector; a network learns embeddings that point to those of their classes. Nothing that
is trained grows with the number of classes, and new classes leave old vectors as they
are.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from kanjax import checks
from kanjax.nn.checks import check_positive

Schedule = Callable[[Array], Array]

# Gradients of angles are infinite at 0 and pi; cosines stay this far from 1 there.
_LEAST_ANGLE = 1e-6
_HIGHEST = lax.Precision.HIGHEST


class Coherence(NamedTuple):
    """How far unit vectors are from orthogonal.

    Attributes:
        largest: the largest absolute cosine of two of them.
        mean: the mean absolute cosine of two of them.
    """

    largest: Float[Array, ""]
    mean: Float[Array, ""]


class Basis(NamedTuple):
    """Unit vectors and how they were reached.

    Attributes:
        vectors: (classes, features), of length 1.
        coherence: their largest absolute cosine.
        steps: the steps taken.
        converged: whether the coherence is at most what was asked for.
    """

    vectors: Float[Array, "classes features"]
    coherence: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Array


def welch_bound(classes: int, features: int) -> float:
    """Return the least coherence that so many unit vectors can have, at best.

    ``sqrt((N - d) / (d (N - 1)))``, and 0 for at most as many vectors as features.
    Welch (1974); few sizes reach it.

    Args:
        classes: the number N of vectors, at least 1.
        features: their size d, at least 1.

    Raises:
        ValueError: if either is below 1.
    """
    check_positive(classes=classes, features=features)
    if classes <= features:
        return 0.0
    return math.sqrt((classes - features) / (features * (classes - 1)))


def coherence(
    vectors: Float[Array, "classes features"], *, batch_size: int | None = None
) -> Coherence:
    """Return the largest and the mean absolute cosine of two vectors.

    Args:
        vectors: (classes, features), at least two, of any lengths above 0.
        batch_size: how many rows of the matrix of cosines are held at once; all if
            None.

    Raises:
        ValueError: unless there are two vectors.
    """
    unit = normalize(_two(vectors))
    largest, total = _over_rows(
        unit, batch_size, lambda gap: (jnp.max(gap), jnp.sum(gap))
    )
    count = len(unit) * (len(unit) - 1)
    return Coherence(jnp.max(largest), jnp.sum(total) / count)


def hinge_loss(
    vectors: Float[Array, "classes features"],
    limit: float,
    *,
    power: int = 1,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """Sum by how much the absolute cosines of ordered pairs exceed a limit.

    ``sum_{i != j} max(0, |w_i . w_j| - limit)^power``, of the vectors as they are.
    With power 1 the gradient does not shrink as the limit is met, so that a constant
    step size misses a tight one by about itself; with power 2 it settles.

    Args:
        vectors: (classes, features).
        limit: the coherence that is asked for, at least 0.
        power: 1 as in the paper, or 2.
        batch_size: as for :func:`coherence`; also of what the gradient holds.

    Raises:
        ValueError: unless there are two vectors.
    """
    excess = _over_rows(
        _two(vectors),
        batch_size,
        lambda gap: (jnp.sum(jnp.maximum(gap - limit, 0) ** power),),
    )
    return jnp.sum(excess[0])


def generate(
    key: Array,
    classes: int,
    features: int,
    limit: float,
    *,
    learning_rate: float | Schedule = 1e-3,
    max_steps: int = 100_000,
    tolerance: float = 1e-4,
    power: int = 1,
    batch_size: int | None = None,
    frozen: Float[Array, "frozen features"] | None = None,
) -> Basis:
    """Draw random unit vectors, and descend until no two are closer than a limit.

    Gradient descent on :func:`hinge_loss`, with the vectors normalized at every step.
    Works under ``jit`` with static sizes, and under ``vmap`` over keys.

    Args:
        key: of the draw.
        classes: the number of vectors.
        features: their size.
        limit: the coherence that is asked for; :func:`welch_bound` is the least.
        learning_rate: of plain gradient descent, or ``step -> learning rate``.
        max_steps: steps at most.
        tolerance: by how much the coherence may exceed the limit.
        power: as for :func:`hinge_loss`.
        batch_size: as for :func:`hinge_loss`.
        frozen: (frozen, features), unit vectors that come first and stay.

    Raises:
        ValueError: for fewer than two vectors, a limit outside of [0, 1), or as many
            frozen ones as there are to be.

    Examples:
        >>> key = jax.random.key(0)
        >>> basis = generate(key, 4, 3, 1 / 3, learning_rate=0.05, power=2)
        >>> bool(basis.converged), basis.vectors.shape
        (True, (4, 3))
    """
    check_positive(features=features)
    if not 0 <= limit < 1:
        raise ValueError(f"limit must be in [0, 1); got {limit}.")
    if frozen is not None and (frozen.ndim != 2 or frozen.shape[1] != features):
        raise ValueError(
            f"frozen must have shape (frozen, {features}); got {frozen.shape}."
        )
    held = 0 if frozen is None else len(frozen)
    if classes < max(2, held + 1):
        raise ValueError(
            f"classes is {classes}; it must be at least 2, and more than the {held} "
            "frozen vectors."
        )
    drawn = normalize(jax.random.normal(key, (classes - held, features)))
    fixed = drawn[:0] if frozen is None else normalize(frozen.astype(drawn.dtype))

    def join(free: Array) -> Array:
        return jnp.concatenate([fixed, free])

    def value(free: Array) -> Float[Array, ""]:
        return hinge_loss(join(free), limit, power=power, batch_size=batch_size)

    def largest(free: Array) -> Float[Array, ""]:
        return coherence(join(free), batch_size=batch_size).largest

    def going(state: tuple[Array, Array, Array]) -> Array:
        _, now, step = state
        return (now > limit + tolerance) & (step < max_steps)

    def descend(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        free, _, step = state
        rate = learning_rate(step) if callable(learning_rate) else learning_rate
        free = normalize(free - rate * jax.grad(value)(free))
        return free, largest(free), step + 1

    start = (drawn, largest(drawn), jnp.zeros((), jnp.int32))
    free, reached, steps = lax.while_loop(going, descend, start)
    return Basis(join(free), reached, steps, reached <= limit + tolerance)


def orthonormal_basis(
    key: Array, classes: int, features: int
) -> Float[Array, "classes features"]:
    """Draw orthonormal vectors, uniformly, for at most as many classes as features.

    Args:
        key: of the draw.
        classes: the number of vectors.
        features: their size.

    Raises:
        ValueError: if there are more classes than features.
    """
    check_positive(classes=classes, features=features)
    if classes > features:
        raise ValueError(
            f"{classes} vectors of {features} features cannot be orthogonal; use "
            "generate."
        )
    return jax.random.orthogonal(key, features)[:classes]


def simplex_basis(classes: int) -> Float[Array, "classes features"]:
    """Return the vertices of a regular simplex: cosines ``-1 / (classes - 1)``.

    They have ``classes - 1`` features, and reach :func:`welch_bound`.

    Args:
        classes: the number of vectors, at least 2.

    Raises:
        ValueError: if it is below 2.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}.")
    # Rows of the Helmert basis of what is orthogonal to ones.
    k = jnp.arange(1, classes)[None]
    rows = jnp.arange(classes)[:, None]
    helmert = jnp.where(rows < k, 1.0, jnp.where(rows == k, -k, 0.0))
    helmert = helmert / jnp.sqrt(k * (k + 1.0))
    return helmert * math.sqrt(classes / (classes - 1))


def normalize(x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
    """Return unit vectors; zeros stay zeros, with a gradient of zero.

    Args:
        x: (..., features).
    """
    x = checks.as_floating(x)
    # Divided by the largest entry first, so that no square over- or underflows.
    size = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    is_zero = size == 0
    scaled = jnp.where(is_zero, 1, x) / jnp.where(is_zero, 1, size)
    unit = scaled / jnp.linalg.norm(scaled, axis=-1, keepdims=True)
    return jnp.where(is_zero, 0, unit)


def cosines(
    embedding: Float[Array, "*batch features"],
    vectors: Float[Array, "classes features"],
) -> Float[Array, "*batch classes"]:
    """Return the cosines of embeddings with each class's vector.

    Args:
        embedding: (..., features), of any length.
        vectors: (classes, features), unit vectors.

    Raises:
        ValueError: if the features differ in number.
    """
    if embedding.shape[-1] != vectors.shape[-1]:
        raise ValueError(
            f"embedding has {embedding.shape[-1]} features and vectors "
            f"{vectors.shape[-1]}; they must be equal."
        )
    # Cosines near 0.001 decide: products in bfloat16 or TF32 would not.
    unit = normalize(embedding)
    return jnp.matmul(unit, vectors.T.astype(unit.dtype), precision=_HIGHEST)


def logits(
    embedding: Float[Array, "*batch features"],
    vectors: Float[Array, "classes features"],
    *,
    temperature: float = 0.07,
) -> Float[Array, "*batch classes"]:
    """Return the cosines over a temperature, for a cross-entropy.

    With them as outputs the paper's loss is ``training.classification(apply)``, for
    labels or for shares of classes, as mixup and label smoothing give them:
    ``apply = lambda p, x: logits(net.apply(p, x), vectors)``.

    Args:
        embedding: as for :func:`cosines`.
        vectors: as for :func:`cosines`.
        temperature: above 0.

    Raises:
        ValueError: as :func:`cosines`, and for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}.")
    return cosines(embedding, vectors) / temperature


def spherical_distance(
    embedding: Float[Array, "*batch features"],
    vectors: Float[Array, "classes features"],
) -> Float[Array, "*batch classes"]:
    """Return the angles of embeddings with each class's vector, in [0, pi].

    Args:
        embedding: as for :func:`cosines`.
        vectors: as for :func:`cosines`.
    """
    c = cosines(embedding, vectors)
    # Half precision has no number as near to 1.
    limit = 1 - max(_LEAST_ANGLE, float(jnp.finfo(c.dtype).epsneg))
    return jnp.arccos(jnp.clip(c, -limit, limit))


def predict(
    embedding: Float[Array, "*batch features"],
    vectors: Float[Array, "classes features"],
    *,
    top: int = 1,
    batch_size: int | None = None,
) -> Int[Array, "*batch top"]:
    """Return the classes whose vectors are nearest, nearest first.

    Args:
        embedding: as for :func:`cosines`.
        vectors: as for :func:`cosines`.
        top: how many classes.
        batch_size: how many classes are compared at once, so that no array of all
            embeddings by all classes is made; all if None.

    Raises:
        ValueError: as :func:`cosines`, and if there are fewer classes than ``top``.
    """
    classes = len(vectors)
    if not 1 <= top <= classes:
        raise ValueError(f"top must be 1 to {classes}, the classes; got {top}.")
    if batch_size is None or batch_size >= classes:
        return lax.top_k(cosines(embedding, vectors), top)[1].astype(jnp.int32)
    check_positive(batch_size=batch_size)
    blocks, starts = _blocks(vectors, batch_size)
    batch = embedding.shape[:-1]

    def merge(best: tuple[Array, Array], block: tuple[Array, Array]) -> tuple:
        rows, start = block
        places = start + jnp.arange(len(rows))
        values = jnp.where(places < classes, cosines(embedding, rows), -jnp.inf)
        places = jnp.broadcast_to(places, values.shape)
        values = jnp.concatenate([best[0], values], axis=-1)
        places = jnp.concatenate([best[1], places], axis=-1)
        values, chosen = lax.top_k(values, top)
        return (values, jnp.take_along_axis(places, chosen, axis=-1)), None

    none = (
        jnp.full((*batch, top), -jnp.inf, checks.as_floating(embedding).dtype),
        jnp.full((*batch, top), -1, starts.dtype),
    )
    return lax.scan(merge, none, (blocks, starts))[0][1].astype(jnp.int32)


def _over_rows(
    vectors: Array,
    batch_size: int | None,
    reduce: Callable[[Array], tuple[Array, ...]],
) -> tuple[Array, ...]:
    """Reduce ``|W W^T|`` without its diagonal, a block of rows at a time."""
    count = len(vectors)
    blocks, starts = _blocks(vectors, batch_size or count)

    # Rematerialized: the gradient, too, holds one block of cosines.
    @jax.checkpoint
    def of_block(block: tuple[Array, Array]) -> tuple[Array, ...]:
        rows, start = block
        products = jnp.abs(jnp.matmul(rows, vectors.T, precision=_HIGHEST))
        here = start + jnp.arange(len(rows))[:, None]
        is_pair = (here != jnp.arange(count)[None]) & (here < count)
        return reduce(jnp.where(is_pair, products, 0))

    return lax.map(of_block, (blocks, starts))


def _blocks(vectors: Array, size: int) -> tuple[Array, Array]:
    """Cut rows in blocks of one size, zeros in the last, and say where they begin."""
    count = -(-len(vectors) // size)
    padded = jnp.pad(vectors, ((0, count * size - len(vectors)), (0, 0)))
    return padded.reshape(count, size, -1), size * jnp.arange(count)


def _two(vectors: Array) -> Array:
    if vectors.ndim != 2 or len(vectors) < 2:
        raise ValueError(
            "vectors must have shape (classes, features) with at least 2 classes; got "
            f"{vectors.shape}."
        )
    return vectors
