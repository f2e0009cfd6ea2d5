"""Classifiers that wide networks become as their depth grows.

Radhakrishnan, Belkin, Uhler 2023, "Wide and Deep Neural Networks Achieve Optimality for
Classification", arXiv 2204.14126; Devroye, Györfi, Krzyżak 1998, "The Hilbert kernel
regression estimate". Which of them an activation leads to says
:func:`kanjax.ntk.infinite_depth.classify_regime`. Labels are -1 and 1.
"""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks
from kanjax.ntk import infinite_depth, regression

# How far from a unit vector, and below an inner product of 0, is round-off.
_OFF = 1e-3


def koenigs_classifier(
    activation: infinite_depth.Activation,
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    x: Float[Array, "m inputs"],
    *,
    steps: int = 200,
) -> Float[Array, "m"]:
    """Classify as an infinitely deep network of the singular regime.

    ``sign sum_i y_i g(x_i . x)``; at an example it is that example's label.

    Args:
        activation: of the singular regime.
        x_train: (n, inputs), unit vectors with inner products in [0, 1].
        y: (n,), -1 and 1.
        x: (m, inputs), likewise.
        steps: as in :func:`kanjax.ntk.infinite_depth.log_koenigs`.

    Returns:
        (m,), -1 and 1, or 0 where the sum is 0.

    Raises:
        ValueError: if activation is of another regime, or inputs are off the sphere or
            have negative inner products.
    """
    _check_sphere("x_train", x_train)
    _check_sphere("x", x, x_train)
    log_g = infinite_depth.tabulate_koenigs(activation, steps=steps)
    return jnp.sign(_average(log_g(_inner(x, x_train)), y))


def hilbert_estimate(
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    x: Float[Array, "m inputs"],
    exponent: ArrayLike,
) -> Float[Array, "m"]:
    """Average values with weights ``|x - x_i|^-alpha``.

    The Hilbert kernel estimate where alpha is the dimension of the data: it
    interpolates, and is consistent nonetheless.

    Args:
        x_train: (n, inputs).
        y: (n,), any values.
        x: (m, inputs).
        exponent: alpha, above 0.

    Returns:
        (m,), at an example its own value, or the mean of those that coincide.
    """
    squares = _squared_distances(x, x_train)
    distinct = squares > 0
    logs = jnp.log(jnp.where(distinct, squares, 1.0))
    return _average(jnp.where(distinct, -jnp.asarray(exponent) / 2 * logs, jnp.inf), y)


def singular_kernel_classifier(
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    x: Float[Array, "m inputs"],
    exponent: ArrayLike,
) -> Float[Array, "m"]:
    """Classify by the sign of :func:`hilbert_estimate`.

    Args:
        x_train: (n, inputs).
        y: (n,), -1 and 1.
        x: (m, inputs).
        exponent: alpha, above 0; below the dimension of the data the rule tends to a
            majority vote with more examples, above it to the nearest neighbor.
    """
    return jnp.sign(hilbert_estimate(x_train, y, x, exponent))


def nearest_neighbor(
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    x: Float[Array, "m inputs"],
) -> Float[Array, "m"]:
    """Classify by the label of the nearest example, the first of several.

    Args:
        x_train: (n, inputs).
        y: (n,).
        x: (m, inputs).
    """
    return jnp.asarray(y)[jnp.argmin(_squared_distances(x, x_train), axis=1)]


def majority_vote(
    y: Float[Array, "n"], x: Float[Array, "m inputs"]
) -> Float[Array, "m"]:
    """Classify every point by the sign of the sum of all labels.

    Args:
        y: (n,), -1 and 1.
        x: (m, inputs), of which only the number is used.
    """
    return jnp.broadcast_to(jnp.sign(jnp.sum(jnp.asarray(y))), (len(x),))


def deep_ntk_weights(
    activation: infinite_depth.Activation,
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    depth: int,
    *,
    diagonal_regularization: float = 0.0,
) -> regression.Solution:
    """Solve ``K_L(X, X) w = y`` for the tangent kernel of a network of finite depth.

    Args:
        activation: of each value.
        x_train: (n, inputs), distinct unit vectors with inner products in [0, 1].
        y: (n,), -1 and 1.
        depth: L, the number of hidden layers.
        diagonal_regularization: a share of the diagonal, added to it.

    Returns:
        Weights (n, 1), in units of the kernel's diagonal, with their residual and
        whether they converged.

    Raises:
        ValueError: if x_train is off the sphere or has negative inner products.
    """
    _check_sphere("x_train", x_train, x_train)
    count = len(jnp.asarray(y))
    itself = jnp.eye(count, dtype=bool)
    pairs = jnp.where(itself, 1.0, _inner(x_train, x_train))
    logs = infinite_depth.deep_ntk(activation, pairs, depth)
    return regression.regress(
        jnp.exp(logs - logs[0, 0]),
        jnp.asarray(y)[:, None],
        diagonal_regularization=diagonal_regularization,
    )


def deep_ntk_classifier(
    activation: infinite_depth.Activation,
    x_train: Float[Array, "n inputs"],
    y: Float[Array, "n"],
    x: Float[Array, "m inputs"],
    depth: int,
    *,
    diagonal_regularization: float = 0.0,
) -> Float[Array, "m"]:
    """Classify by regression with the tangent kernel of a network of finite depth.

    ``sign(y^T K_L(X, X)^-1 K_L(X, x))``, each column in units of its largest entry.

    Args:
        activation: of each value.
        x_train: (n, inputs), distinct unit vectors with inner products in [0, 1].
        y: (n,), -1 and 1.
        x: (m, inputs), likewise.
        depth: L, the number of hidden layers.
        diagonal_regularization: as for :func:`deep_ntk_weights`.

    Returns:
        (m,), -1 and 1; NaN where the weights did not converge, as for equal examples
        of different labels. :func:`deep_ntk_weights` tells the residual.

    Raises:
        ValueError: if inputs are off the sphere or have negative inner products.
    """
    _check_sphere("x", x, x_train)
    solution = deep_ntk_weights(
        activation, x_train, y, depth, diagonal_regularization=diagonal_regularization
    )
    logs = infinite_depth.deep_ntk(activation, _inner(x, x_train), depth)
    across = jnp.exp(logs - jnp.max(logs, axis=1, keepdims=True))
    sums = jnp.matmul(across, solution.weights[:, 0], precision="highest")
    return jnp.where(solution.converged, jnp.sign(sums), jnp.nan)


def _check_sphere(name: str, x: Array, x_train: Array | None = None) -> None:
    """Raise ``ValueError`` unless rows are unit vectors, at most at right angles to
    those of x_train."""
    if isinstance(x, jax.core.Tracer):
        return
    rows = np.asarray(x)
    norms = np.linalg.norm(rows, axis=-1)
    if not np.all(np.abs(norms - 1) <= _OFF):
        raise ValueError(
            f"{name} must have rows of norm 1; got norms from {norms.min():.4g} to "
            f"{norms.max():.4g}. Divide each row by its norm."
        )
    if x_train is None or isinstance(x_train, jax.core.Tracer):
        return
    least = float(np.min(rows @ np.asarray(x_train).T))
    if least < -_OFF:
        raise ValueError(
            f"{name} must have inner products with x_train in [0, 1]; the least is "
            f"{least:.4g}. Give points of the non-negative orthant."
        )


def _inner(x: Array, other: Array) -> Array:
    return jnp.matmul(jnp.asarray(x), jnp.asarray(other).T, precision="highest")


def _squared_distances(x: Array, other: Array) -> Array:
    """By differences: expanding the square would round what is near to zero."""
    x, other = checks.as_floating(x), checks.as_floating(other)
    return jnp.sum(jnp.square(x[:, None] - other[None]), axis=-1)


def _average(log_weights: Array, y: ArrayLike) -> Array:
    """Return the average of y; over those alone whose weights are infinite, where any
    are.
    """
    largest = jnp.max(log_weights, axis=1, keepdims=True)
    exact = jnp.isposinf(largest)
    shifted = jnp.exp(log_weights - jnp.where(exact, 0.0, largest))
    weights = jnp.where(exact, jnp.isposinf(log_weights).astype(shifted.dtype), shifted)
    return jnp.sum(weights * jnp.asarray(y)[None], axis=1) / jnp.sum(weights, axis=1)
