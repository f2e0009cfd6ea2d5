"""How alike two sets of features are, whatever their units' order, sign or rotation.

Centered kernel alignment: Kornblith, Norouzi, Lee, Hinton (2019), "Similarity of Neural
Network Representations Revisited", arXiv 1905.00414; unbiased: Song, Smola, Gretton,
Bedo, Borgwardt (2012), JMLR 13; in minibatches: Nguyen, Raghu, Kornblith (2021), arXiv
2010.15327. Procrustes: Ding, Denain, Steinhardt (2021), arXiv 2108.01661; of dis-
similarities: Kriegeskorte, Mur, Bandettini (2008). Beside the alignments of units of Li
et al. (2016), arXiv 1511.07543, which see what these do not: the axes.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.representation import samples
from kanjax.scales import safe_scale
from kanjax.square_root import safe_sqrt

Dissimilarity = Literal["correlation", "euclidean"]
"""One less the correlation of two samples' features, or their distance."""


class HSIC(NamedTuple):
    """Hilbert-Schmidt independence criteria with linear kernels.

    Attributes:
        cross: (layers_x, layers_y) between two networks' layers.
        x: (layers_x,) of the first's layers with themselves.
        y: (layers_y,) of the second's.
    """

    cross: Float[Array, "layers_x layers_y"]
    x: Float[Array, " layers_x"]
    y: Float[Array, " layers_y"]


class Procrustes(NamedTuple):
    """The nearest rotation of one network's features to another's.

    Attributes:
        distance: from 0, if one is a rotation of the other, to 2; squared, of features
            centered and of norm 1.
        rotation: (p, q) with orthonormal columns or rows, takes x to y.
    """

    distance: Float[Array, ""]
    rotation: Float[Array, "p q"]


def linear_cka(
    x: ArrayLike, y: ArrayLike, *, debiased: bool = False
) -> Float[Array, ""]:
    """Return centered kernel alignment of features with a linear kernel.

    No kernel is formed: time is samples * (p + q)^2.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        debiased: whether to use the unbiased estimator, with mean 0 for independent
            features; the plain one has a mean above 0 that grows with p and q. It needs
            4 samples.

    Returns:
        1 for features that are a rotation and scaling of each other; NaN if one is
        constant.

    Raises:
        ValueError: if samples differ in number or are too few.
    """
    x, y = (samples.center(v) for v in samples.as_pair(x, y))
    _check_count(len(x), debiased)
    tables = (x, y), (x, x), (y, y)
    cross, first, second = (_linear_hsic(a, b, debiased) for a, b in tables)
    return _ratio(cross, first, second)


def kernel_cka(
    x: ArrayLike,
    y: ArrayLike,
    *,
    fraction: ArrayLike = 1.0,
    debiased: bool = False,
) -> Float[Array, ""]:
    """Return centered kernel alignment with Gaussian kernels.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.
        fraction: the kernels' width over the median distance of two samples.
        debiased: as for :func:`linear_cka`.

    Raises:
        ValueError: if samples differ in number or are too few.
    """
    x, y = (samples.center(v) for v in samples.as_pair(x, y))
    return cka(
        gaussian_kernel(x, fraction), gaussian_kernel(y, fraction), debiased=debiased
    )


def cka(
    kernel_x: Float[Array, "n n"],
    kernel_y: Float[Array, "n n"],
    *,
    debiased: bool = False,
) -> Float[Array, ""]:
    """Return centered kernel alignment of any two kernels on the same samples.

    Args:
        kernel_x: (n, n), symmetric; need not be centered.
        kernel_y: (n, n), symmetric.
        debiased: as for :func:`linear_cka`.

    Raises:
        ValueError: if the kernels differ in shape or samples are too few.
    """
    if kernel_x.ndim != 2 or not (
        kernel_x.shape == kernel_y.shape == kernel_x.shape[::-1]
    ):
        raise ValueError(
            f"the kernels have shapes {kernel_x.shape} and {kernel_y.shape}; both must "
            "be (n, n), on the same samples."
        )
    _check_count(len(kernel_x), debiased)
    a, b = (_center_kernel(k, debiased) for k in (kernel_x, kernel_y))
    return _ratio(jnp.sum(a * b), jnp.sum(a * a), jnp.sum(b * b))


def gaussian_kernel(x: ArrayLike, fraction: ArrayLike = 1.0) -> Float[Array, "n n"]:
    """Return ``exp(-d^2 / (2 (fraction * median d)^2))`` of distances of samples.

    Args:
        x: (..., units); all axes but the last are samples.
        fraction: width over the median distance of two different samples.
    """
    x = samples.center(samples.as_rows(x))
    squares = _squared_distances(x)
    pairs = jnp.triu_indices(len(x), 1)
    median = jnp.median(squares[pairs])
    width = jnp.where(median > 0, median, 1.0) * jnp.square(fraction)
    return jnp.exp(-squares / (2 * width))


def minibatch_cka(
    batches: Iterable[tuple[Sequence[ArrayLike], Sequence[ArrayLike]]],
) -> Float[Array, "layers_x layers_y"]:
    """Return debiased linear CKA of all pairs of layers, streamed over batches.

    Unbiased estimates of the batches are averaged before the ratio is taken, so that it
    does not depend on the batches' size but for noise. Memory is (layers of both) *
    batch^2; every batch is let go.

    Args:
        batches: for each batch the values (samples, ...) of one network's layers and of
            the other's, at least 4 samples; what is behind the first axis is flattened.

    Raises:
        ValueError: if there is no batch, its samples differ in number or are too few.

    Examples:
        >>> import jax
        >>> from kanjax.representation import similarity
        >>> x = jax.random.normal(jax.random.key(0), (64, 5))
        >>> layers = [x, x[:, ::-1] * 2]
        >>> table = similarity.minibatch_cka(
        ...     (([v[i:i + 16] for v in layers],) * 2 for i in range(0, 64, 16)))
        >>> table.round(4).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    total, scales = None, None
    for xs, ys in batches:
        if scales is None:
            scales = [safe_scale(jnp.asarray(v)) for v in (*xs, *ys)]
        sums = _scaled_hsic(scales, list(xs), list(ys))
        total = sums if total is None else jax.tree.map(jnp.add, total, sums)
    if total is None:
        raise ValueError("batches is empty; give at least one batch of values.")
    return _ratio(total.cross, total.x[:, None], total.y[None, :])


def hsic(xs: Sequence[ArrayLike], ys: Sequence[ArrayLike]) -> HSIC:
    """Estimate HSIC without bias between all layers of two networks, from a batch.

    What :func:`minibatch_cka` adds up over batches.

    Args:
        xs: values (samples, ...) of a network's layers.
        ys: of another's, on the same samples.

    Raises:
        ValueError: if samples differ in number or are fewer than 4.
    """
    layers = [jnp.asarray(v) for v in (*xs, *ys)]
    counts = {len(v) for v in layers}
    if len(counts) != 1:
        raise ValueError(
            f"layers have {sorted(counts)} samples; all must have the same ones."
        )
    count = counts.pop()
    _check_count(count, True)
    kernels = []
    for v in layers:
        rows = samples.as_rows(v.reshape(count, -1))
        rows = rows - jnp.mean(rows, axis=0, keepdims=True)
        kernels.append(_center_kernel(samples.matmul(rows, rows.T), True).ravel())
    a, b = jnp.stack(kernels[: len(xs)]), jnp.stack(kernels[len(xs) :])
    pairs = count * (count - 3)
    cross = samples.matmul(a, b.T) / pairs
    return HSIC(cross, jnp.sum(a * a, axis=1) / pairs, jnp.sum(b * b, axis=1) / pairs)


def procrustes(x: ArrayLike, y: ArrayLike) -> Procrustes:
    """Rotate one network's features onto another's, as near as can be.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.

    Raises:
        ValueError: if samples differ in number.
    """
    a, b = (samples.center(v) for v in samples.as_pair(x, y))
    a, b = a / jnp.linalg.norm(a), b / jnp.linalg.norm(b)
    u, values, v = jnp.linalg.svd(samples.matmul(a.T, b), full_matrices=False)
    return Procrustes(2 - 2 * jnp.sum(values), samples.matmul(u, v))


def rsa(
    x: ArrayLike,
    y: ArrayLike,
    *,
    dissimilarity: Dissimilarity = "correlation",
    ranks: bool = True,
) -> Float[Array, ""]:
    """Return the correlation of dissimilarities between samples in two networks.

    Args:
        x: (..., p) activations; all axes but the last are samples, at least 3.
        y: (..., q) on the same samples.
        dissimilarity: of two samples' features.
        ranks: whether to correlate ranks (Spearman), which have no derivative, or
            values (Pearson).

    Raises:
        ValueError: if samples differ in number or are too few, or for an unknown
            dissimilarity.
    """
    if dissimilarity not in ("correlation", "euclidean"):
        raise ValueError(
            f"dissimilarity is {dissimilarity!r}; it must be 'correlation' or "
            "'euclidean'."
        )
    x, y = samples.as_pair(x, y)
    if len(x) < 3:
        raise ValueError(f"there are {len(x)} samples; dissimilarities need 3 or more.")
    pairs = jnp.triu_indices(len(x), 1)
    tables = []
    for v in (x, y):
        if dissimilarity == "correlation":
            v = samples.center(v.T).T
            v = v / jnp.linalg.norm(v, axis=1, keepdims=True)
            table = 1 - samples.matmul(v, v.T)[pairs]
        else:
            table = safe_sqrt(_squared_distances(samples.center(v))[pairs])
        tables.append(jax.scipy.stats.rankdata(table) if ranks else table)
    a, b = (t - jnp.mean(t) for t in tables)
    return jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))


@jax.jit
def _scaled_hsic(
    scales: Sequence[Array], xs: Sequence[ArrayLike], ys: Sequence[ArrayLike]
) -> HSIC:
    """Estimate HSIC of layers in units in which squares of kernels are near 1: their
    ratio has none.
    """
    layers = [v / s for v, s in zip((*xs, *ys), scales, strict=True)]
    return hsic(layers[: len(xs)], layers[len(xs) :])


def _linear_hsic(x: Array, y: Array, debiased: bool) -> Array:
    """Give the sum over pairs of samples of the product of centered linear kernels."""
    plain = jnp.sum(samples.matmul(x.T, y) ** 2)
    if not debiased:
        return plain
    count = len(x)
    squares_x, squares_y = jnp.sum(x**2, axis=1), jnp.sum(y**2, axis=1)
    # Row sums of the kernels without their diagonals: those with it are 0.
    rows_x, rows_y = -squares_x, -squares_y
    return (
        plain
        - jnp.sum(squares_x * squares_y)
        + jnp.sum(rows_x) * jnp.sum(rows_y) / ((count - 1) * (count - 2))
        - 2 * jnp.sum(rows_x * rows_y) / (count - 2)
    )


def _center_kernel(kernel: Array, debiased: bool) -> Array:
    """Center a kernel; debiased, so that rows sum to 0 without its diagonal, which is
    0 (Székely, Rizzo 2014).
    """
    if not debiased:
        rows = jnp.mean(kernel, axis=1)
        return kernel - rows[:, None] - rows[None, :] + jnp.mean(rows)
    count = len(kernel)
    diagonal = jnp.eye(count, dtype=bool)
    kernel = jnp.where(diagonal, 0.0, kernel)
    rows = jnp.sum(kernel, axis=1)
    kernel = kernel - (rows[:, None] + rows[None, :]) / (count - 2)
    kernel = kernel + jnp.sum(rows) / ((count - 1) * (count - 2))
    return jnp.where(diagonal, 0.0, kernel)


def _ratio(cross: Array, first: Array, second: Array) -> Array:
    """Give ``cross / sqrt(first second)``; NaN where one is not above 0, as an estimate
    may be.
    """
    return cross / (jnp.sqrt(first) * jnp.sqrt(second))


def _squared_distances(x: Float[Array, "n units"]) -> Float[Array, "n n"]:
    squares = jnp.sum(x**2, axis=1)
    table = squares[:, None] + squares[None, :] - 2 * samples.matmul(x, x.T)
    return jnp.where(jnp.eye(len(x), dtype=bool), 0.0, jnp.maximum(table, 0.0))


def _check_count(count: int, debiased: bool) -> None:
    least = 4 if debiased else 2
    if count < least:
        raise ValueError(
            f"there are {count} samples; {'debiased ' * debiased}CKA needs {least} or "
            "more."
        )
