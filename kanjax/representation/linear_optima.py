"""Where the losses of deep linear networks on free features are least.

Dang et al. (2023), "Neural Collapse in Deep Linear Networks: From Balanced to
Imbalanced Data", arXiv 2301.00437: with squared error the problem
falls into one scalar problem for each singular value. Depth is M, the number of linear
layers.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks
from kanjax.linalg import bisect
from kanjax.representation import equiangular
from kanjax.representation import unconstrained_features as free


class Optimum(NamedTuple):
    """The global minimum of the squared error, by singular value.

    Of a network without a bias, a singular value belongs to a class.

    Attributes:
        squares: (classes,) squared singular values of the product of all weights; 0
            where a class collapses to zero.
        outputs: (classes,) singular values of logits at the class means, below 1.
        means: (classes,) squared singular values of the class means.
        value: the loss.
    """

    squares: Float[Array, " classes"]
    outputs: Float[Array, " classes"]
    means: Float[Array, " classes"]
    value: Float[Array, ""]


class FrameLogits(NamedTuple):
    """Logits ``kappa (I - 11^T / classes)``: a simplex frame under cross-entropy.

    Attributes:
        kappa: their size; 0 if no logits at all are better.
        value: the loss.
    """

    kappa: Float[Array, ""]
    value: Float[Array, ""]


def minimize_scalar(b: Float[Array, "..."], depth: int) -> Float[Array, "..."]:
    """Return the x of at least 0 where ``1 / (1 + x^depth) + b x`` is least.

    Works under jit and vmap; derivatives are those of the root.

    Args:
        b: (...) above 0.
        depth: M, at least 1.

    Raises:
        ValueError: if depth is less than 1.
    """
    m = _check_depth(depth)
    b = checks.as_floating(b)
    if m == 1:
        inside = b < 1
        return jnp.where(inside, 1 / jnp.sqrt(jnp.where(inside, b, 1.0)) - 1, 0.0)
    # The slope's part that opposes b falls from x0 on, and is below m / x^(m + 1): the
    # largest root, the minimum, lies between. Beyond the tie, 0 is better.
    inside = b < _tie(m)
    b = jnp.where(inside, b, _tie(m) / 2)
    low = jnp.full_like(b, math.log((m - 1) / (m + 1)) / m)
    fixed = jax.lax.stop_gradient(b)
    high = jnp.log(m / fixed) / (m + 1)

    def slope(log_x: Array) -> Array:
        # Of x^(m - 1) / (1 + x^m)^2, in logarithms, which do not overflow.
        return math.log(m) + (m - 1) * log_x - 2 * jnp.logaddexp(0.0, m * log_x)

    root = bisect(lambda t: slope(t) <= jnp.log(fixed), low, high)
    tangent = (m - 1) - 2 * m * jax.nn.sigmoid(m * root)
    # A step of Newton's method has the root's own derivative.
    root = root - (slope(root) - jnp.log(b)) / tangent
    return jnp.where(inside, jnp.exp(root), 0.0)


def solve(
    sizes: Sequence[int],
    depth: int,
    *,
    weight_decay: ArrayLike,
    feature_decay: ArrayLike,
    bias: bool = False,
    rank: int | None = None,
) -> Optimum:
    """Return the global minimum of the squared error.

    Without a bias the classes are orthogonal, with lengths by their sizes; with one, of
    classes of equal size, they form a simplex, and one singular value is 0.

    Args:
        sizes: samples of each class.
        depth: M, the number of linear layers.
        weight_decay: a scalar, or (M,) for each layer; above 0.
        feature_decay: a scalar above 0.
        bias: whether the last layer has one, without decay.
        rank: the least of the inner widths where it is below the number of classes; no
            more classes than that survive, the largest.

    Raises:
        ValueError: for sizes, depth or rank out of range, or classes of different size
            with a bias, for which there is no closed form.
    """
    free.check_sizes(sizes)
    m = _check_depth(depth)
    if bias and len(set(sizes)) > 1:
        raise ValueError(
            f"sizes are {tuple(sizes)}; with a bias a closed form is known for classes "
            "of equal size alone. Use bias=False."
        )
    rank = len(sizes) if rank is None else rank
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be at least 1.")
    kept = min(rank, len(sizes) - bias)
    n, total = jnp.asarray(sizes, float), sum(sizes)
    scaled = _scaled_decay(total, m, weight_decay, feature_decay)
    b = m * total / n * scaled
    x = minimize_scalar(b, m)
    # Ties among equal classes go to those that come first.
    survives = np.zeros(len(sizes), bool)
    survives[np.argsort(-np.asarray(sizes), kind="stable")[:kept]] = True
    x = jnp.where(survives, x, 0.0)
    power = x**m
    squares = total * jnp.asarray(feature_decay) * power
    outputs = power / (1 + power)
    denominator = total * feature_decay * (1 + power) ** 2
    # With a bias the mean of the labels is fitted for nothing.
    costs = n / (2 * total) * (1 / (1 + power) + b * x)
    if bias:
        unused = np.argsort(-np.asarray(sizes), kind="stable")[-1]
        costs = costs.at[unused].set(0.0)
    return Optimum(squares, outputs, power / denominator, jnp.sum(costs))


def minimizer(
    sizes: Sequence[int],
    widths: Sequence[int],
    *,
    key: Array,
    weight_decay: ArrayLike,
    feature_decay: ArrayLike,
    bias: bool = False,
) -> free.Network:
    """Return a network at the global minimum of the squared error.

    All layers share their singular directions, and have balanced singular values.

    Args:
        sizes: samples of each class; of equal size if there is a bias.
        widths: what each of the M layers takes.
        key: for the rotations of the spaces between layers, which are free.
        weight_decay: a scalar, or (M,) for each layer; above 0.
        feature_decay: a scalar above 0.
        bias: whether the last layer has one.

    Raises:
        ValueError: as for :func:`solve`, or for widths that are not positive.
    """
    free.check_widths(widths)
    m, classes = len(widths), len(sizes)
    options = {"weight_decay": weight_decay, "feature_decay": feature_decay}
    rank = min(widths)
    optimum = solve(sizes, m, **options, bias=bias, rank=rank)
    decays = free.per_layer(weight_decay, m)
    # Of each layer, decay times square is the same.
    level = (optimum.squares * jnp.prod(decays)) ** (1 / m)
    order = np.argsort(-np.asarray(sizes), kind="stable")
    count = min(rank, classes - bias)
    level = level[order[:count]]
    # Logits of a class along each singular direction.
    directions = jnp.eye(classes)[:, order[:count]]
    if bias:
        # Orthonormal columns across that of ones.
        basis = equiangular.simplex_basis(classes) * (1 - 1 / classes) ** 0.5
        directions = basis[:, :count]
    spaces = [
        jnp.linalg.qr(jax.random.normal(k, (width, count)))[0]
        for k, width in zip(jax.random.split(key, m), widths, strict=True)
    ]
    weights = tuple(
        into * jnp.sqrt(level / decay)[None] @ out.T
        for into, out, decay in zip(
            spaces, [*spaces[1:], directions], decays, strict=True
        )
    )
    roots = jnp.sqrt(level / feature_decay)
    per_sample = directions / jnp.sqrt(jnp.asarray(sizes, float))[:, None]
    means = per_sample * roots[None] @ spaces[0].T
    features = means[free.class_labels(sizes)]
    return free.Network(
        features, weights, jnp.full(classes, 1 / classes) if bias else None
    )


def collapse_threshold(
    total: int, depth: int, *, weight_decay: ArrayLike, feature_decay: ArrayLike
) -> Float[Array, ""]:
    """Return the size of a class at and below which it collapses to zero.

    Args:
        total: samples of all classes.
        depth: M.
        weight_decay: a scalar, or (M,) for each layer.
        feature_decay: a scalar.

    Raises:
        ValueError: if depth is less than 1.
    """
    m = _check_depth(depth)
    scaled = _scaled_decay(total, m, weight_decay, feature_decay)
    return m * total * scaled / _tie(m)


def etf_logits(
    classes: int,
    size: int,
    depth: int,
    *,
    weight_decay: ArrayLike,
    feature_decay: ArrayLike,
) -> FrameLogits:
    """Return the best simplex frame under cross-entropy, of classes of equal size.

    A stationary point, and the global minimum at depth 1. Deeper networks often have a
    lower one, of lower rank (arXiv 2410.23169).

    Args:
        classes: at least 2.
        size: samples of each.
        depth: M.
        weight_decay: a scalar, or (M,) for each layer; above 0.
        feature_decay: a scalar above 0.

    Raises:
        ValueError: for numbers out of range.
    """
    free.check_sizes([size] * classes)
    m, others = _check_depth(depth), classes - 1
    decay = feature_decay * jnp.prod(free.per_layer(weight_decay, m))
    rate = (size * decay) ** (1 / (m + 1))
    share = (m - 1) / (m + 1)

    def wrong(kappa: Array) -> Array:
        """Probability of all wrong classes."""
        return jax.nn.sigmoid(math.log(others) - kappa)

    # The gain of a larger kappa rises up to the peak, then falls: the minimum is where
    # it falls below its price. Gain is at most others * exp(-kappa / 2).
    zero = jnp.zeros_like(rate)
    top = jnp.full_like(rate, math.log(classes) + 2)
    peak = bisect(lambda k: k * (1 - wrong(k)) >= share, zero, top)
    high = jnp.maximum(peak, -2 * jnp.log(jax.lax.stop_gradient(rate)))
    price = others * rate
    fixed = jax.lax.stop_gradient(price)
    root = bisect(lambda k: wrong(k) * k**share <= fixed, peak, high)
    # A step of Newton's method, for the derivative.
    rest = jnp.log(wrong(root)) + share * jnp.log(root) - jnp.log(price)
    root = root - rest / (share / root - (1 - wrong(root)))

    def value(kappa: Array) -> Array:
        safe = jnp.where(kappa > 0, kappa, 1.0)
        penalty = others * (m + 1) / 2 * rate * safe ** (2 / (m + 1))
        likelihood = jax.nn.softplus(math.log(others) - kappa)
        return likelihood + jnp.where(kappa > 0, penalty, 0.0)

    better = value(root) < math.log(classes)
    kappa = jnp.where(better, root, 0.0)
    return FrameLogits(kappa, value(kappa))


def _tie(m: int) -> float:
    """Return the b at which a minimum off zero is as low as that at zero."""
    return (m - 1) ** ((m - 1) / m) / m


def _scaled_decay(
    total: int, m: int, weight_decay: ArrayLike, feature_decay: ArrayLike
) -> Array:
    decays = (
        total * jnp.asarray(feature_decay) * jnp.prod(free.per_layer(weight_decay, m))
    )
    return decays ** (1 / m)


def _check_depth(depth: int) -> int:
    if depth < 1:
        raise ValueError(f"depth is {depth}; it must be at least 1.")
    return depth
