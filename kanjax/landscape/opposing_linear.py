"""The two-layer linear model of opposing signals: closed forms beside its training.

Rosenfeld, Risteski 2023, arXiv 2311.04163; the formulas follow from the population
loss. Inputs are ``x = (x_s, x_o)``, a standard normal signal and an opposing part of
independent entries ``+- sqrt(alpha)``; targets are ``beta^T x_s + r 1^T |x_o|`` less
their constant; the model is ``c (b^T x_s + b_o^T x_o)``. The opposing part is
uncorrelated with the target, so that its best weight is zero, and yet it makes the
valley sharp: gradient descent is stable only while ``alpha c^2 < 2 / eta``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float


class Weights(NamedTuple):
    """Parameters of the model.

    Attributes:
        c: the second layer, a scalar.
        b: (signals,), the first layer on the signal.
        b_o: (opposing,), the first layer on the opposing part.
    """

    c: Float[Array, ""]
    b: Float[Array, " signals"]
    b_o: Float[Array, " opposing"]


class Limit(NamedTuple):
    """Where gradient flow ends.

    Attributes:
        c_squared: of the second layer.
        b_norm: of the first layer on the signal.
        sharpness: the largest eigenvalue of the Hessian.
    """

    c_squared: Float[Array, ""]
    b_norm: Float[Array, ""]
    sharpness: Float[Array, ""]


class Path(NamedTuple):
    """A run of gradient descent.

    Attributes:
        weights: with a leading axis over ``steps + 1`` points, the start first.
        losses: (steps + 1,), the population loss at each.
    """

    weights: Weights
    losses: Float[Array, " points"]


def sample(
    key: Array,
    beta: Float[Array, " signals"],
    count: int,
    opposing: int,
    *,
    alpha: ArrayLike,
    r: ArrayLike = 1.0,
) -> tuple[Float[Array, "examples inputs"], Float[Array, " examples"]]:
    """Draw examples.

    Args:
        key: of the draw.
        beta: (signals,), the weights of the signal in the target.
        count: examples.
        opposing: entries of the opposing part.
        alpha: its variance.
        r: the weight of its size in the target, whose constant ``r sum |x_o|`` is
            taken off, as a bias would.
    """
    beta = jnp.asarray(beta, dtype=float)
    signal_key, sign_key = jax.random.split(key)
    signal = jax.random.normal(signal_key, (count, len(beta)), beta.dtype)
    signs = jax.random.rademacher(sign_key, (count, opposing), beta.dtype)
    noise = jnp.sqrt(alpha) * signs
    size = jnp.sum(jnp.abs(noise), axis=1)
    target = signal @ beta + r * (size - opposing * jnp.sqrt(alpha))
    return jnp.concatenate([signal, noise], axis=1), target


def apply(weights: Weights, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
    """Evaluate the model.

    Args:
        weights: of the model.
        x: (..., signals + opposing).
    """
    return weights.c * (x @ jnp.concatenate([weights.b, weights.b_o]))


def loss(
    weights: Weights, beta: Float[Array, " signals"], alpha: ArrayLike
) -> Float[Array, ""]:
    """Return the population loss, ``|c b - beta|^2 / 2 + alpha c^2 |b_o|^2 / 2``.

    Args:
        weights: of the model.
        beta: (signals,), the weights of the signal in the target.
        alpha: the variance of the opposing part's entries.
    """
    c, b, b_o = weights
    rest = c * b - jnp.asarray(beta)
    return jnp.sum(rest**2) / 2 + alpha * c**2 * jnp.sum(b_o**2) / 2


def gradient(
    weights: Weights, beta: Float[Array, " signals"], alpha: ArrayLike
) -> Weights:
    """Return the gradient of the population loss.

    Args:
        weights: as for :func:`loss`.
        beta: as for :func:`loss`.
        alpha: as for :func:`loss`.
    """
    c, b, b_o = weights
    rest = c * b - jnp.asarray(beta)
    slope = b @ rest + alpha * c * jnp.sum(b_o**2)
    return Weights(slope, c * rest, jnp.asarray(alpha * c**2 * b_o))


def hessian(
    weights: Weights, beta: Float[Array, " signals"], alpha: ArrayLike
) -> Float[Array, "weights weights"]:
    """Return the Hessian of the population loss, in the order c, b, b_o.

    Args:
        weights: as for :func:`loss`.
        beta: as for :func:`loss`.
        alpha: as for :func:`loss`.
    """
    c, b, b_o = weights
    c = jnp.asarray(c)
    corner = jnp.sum(b**2) + alpha * jnp.sum(b_o**2)
    border = jnp.concatenate([2 * c * b - jnp.asarray(beta), 2 * alpha * c * b_o])
    diagonal = jnp.concatenate(
        [jnp.full(b.shape, c**2), jnp.full(b_o.shape, alpha * c**2)]
    )
    first = jnp.concatenate([corner[None], border])
    return jnp.concatenate(
        [
            first[None],
            jnp.concatenate([border[:, None], jnp.diag(diagonal)], axis=1),
        ]
    )


def sharpness(
    weights: Weights, beta: Float[Array, " signals"], alpha: ArrayLike
) -> Float[Array, ""]:
    """Return the largest eigenvalue of the population loss' Hessian.

    Args:
        weights: as for :func:`loss`.
        beta: as for :func:`loss`.
        alpha: as for :func:`loss`.
    """
    return jnp.linalg.eigvalsh(hessian(weights, beta, alpha))[-1]


def initial_sharpness(
    b: Float[Array, " signals"],
    b_o: Float[Array, " opposing"],
    beta: Float[Array, " signals"],
    alpha: ArrayLike,
) -> Float[Array, ""]:
    """Return the sharpness where c is 0: ``(h + sqrt(h^2 + 4 |beta|^2)) / 2``.

    Here ``h = |b|^2 + alpha |b_o|^2``.

    Args:
        b: (signals,), the first layer on the signal.
        b_o: (opposing,), the first layer on the opposing part.
        beta: as for :func:`loss`.
        alpha: as for :func:`loss`.
    """
    h = jnp.sum(jnp.square(b)) + alpha * jnp.sum(jnp.square(b_o))
    return (h + jnp.sqrt(h**2 + 4 * jnp.sum(jnp.square(beta)))) / 2


def balance(weights: Weights) -> Float[Array, ""]:
    """Return what gradient flow conserves, ``Q = c^2 - |b|^2 - |b_o|^2``.

    A step of gradient descent changes it by O(eta^2).

    Args:
        weights: of the model.
    """
    c, b, b_o = weights
    return c**2 - jnp.sum(b**2) - jnp.sum(b_o**2)


def gradient_flow_limit(
    q: ArrayLike, beta: Float[Array, " signals"], alpha: ArrayLike
) -> Limit:
    """Return where gradient flow ends: ``b_o = 0`` and ``c b = beta``.

    ``c^2 = (Q + sqrt(Q^2 + 4 |beta|^2)) / 2``, and the nonzero eigenvalues of the
    Hessian there are ``alpha c^2``, ``c^2`` and ``c^2 + |b|^2``.

    Args:
        q: the start's :func:`balance`.
        beta: as for :func:`loss`, not zero.
        alpha: as for :func:`loss`.
    """
    square = jnp.sum(jnp.square(beta))
    root = jnp.sqrt(jnp.square(q) + 4 * square)
    # Two forms of the same root; for Q < 0 the usual one cancels.
    positive = jnp.asarray(q) > 0
    c_squared = jnp.where(positive, (q + root) / 2, 2 * square / (root - q))
    b_squared = square / c_squared
    top = jnp.maximum(alpha * c_squared, c_squared + b_squared)
    return Limit(c_squared, jnp.sqrt(b_squared), top)


def stability_limit(alpha: ArrayLike, c: ArrayLike) -> Float[Array, ""]:
    """Return the largest stable step size, ``2 / (alpha c^2)``.

    ``b_o`` is multiplied by ``1 - eta alpha c^2`` at each step of gradient descent:
    beyond the limit it grows with alternating sign.

    Args:
        alpha: (), the variance of the opposing part's entries.
        c: (), the second layer.
    """
    return 2 / (jnp.asarray(alpha) * jnp.square(c))


def gradient_descent(
    weights: Weights,
    beta: Float[Array, " signals"],
    alpha: ArrayLike,
    *,
    step_size: ArrayLike,
    steps: int,
) -> Path:
    """Train by gradient descent on the population loss.

    Args:
        weights: the start.
        beta: as for :func:`loss`.
        alpha: as for :func:`loss`.
        step_size: eta.
        steps: how many.
    """

    def step(now: Weights, _: None) -> tuple[Weights, Weights]:
        slope = gradient(now, beta, alpha)
        moved = jax.tree.map(lambda w, g: w - step_size * g, now, slope)
        return moved, moved

    start = jax.tree.map(lambda w: jnp.asarray(w, dtype=float), weights)
    _, after = jax.lax.scan(step, start, None, length=steps)
    path = jax.tree.map(lambda s, p: jnp.concatenate([s[None], p]), start, after)
    return Path(path, jax.vmap(lambda w: loss(w, beta, alpha))(path))


def half_losses(
    weights: Weights,
    x: Float[Array, "examples inputs"],
    y: Float[Array, " examples"],
) -> tuple[Float[Array, " examples"], Float[Array, " examples"]]:
    """Return each example's loss with its opposing part, and with that part turned.

    The two differ in the sign of the cross term, so that as ``b_o`` alternates they
    rise and fall in turn.

    Args:
        weights: of the model.
        x: (examples, signals + opposing).
        y: (examples,), which the turn leaves as they are.
    """
    signals = len(weights.b)
    signal = weights.c * (x[:, :signals] @ weights.b) - y
    cross = weights.c * (x[:, signals:] @ weights.b_o)
    return (signal + cross) ** 2 / 2, (signal - cross) ** 2 / 2
