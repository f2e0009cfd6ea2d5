"""Kernel regression: by Cholesky, and by conjugate gradients from products alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import checks, linalg
from kanjax.scales import safe_scale


class Solution(NamedTuple):
    """The dual weights of kernel regression.

    Attributes:
        weights: (n, outputs): predictions are ``kernel(x, X) @ weights``.
        converged: whether the equations hold to the tolerance, per output for conjugate
            gradients. By Cholesky, whether all residuals are at most the root of eps;
            False as well where the matrix is not positive definite: weights are NaN.
        iterations: of conjugate gradients, 0 for Cholesky.
        jitter: what was added to the diagonal.
        residual: (outputs,), what the equations with it leave, relative to y.
    """

    weights: Float[Array, "n outputs"]
    converged: Bool[Array, "..."]
    iterations: Int[Array, ""]
    jitter: Float[Array, ""]
    residual: Float[Array, " outputs"]


def regress(
    kernel: Float[Array, "n n"],
    y: Float[Array, "n outputs"],
    *,
    diagonal_regularization: float = 0.0,
) -> Solution:
    """Kernel ridge regression, ``(K + r mean(diag K) I)^-1 y``, by Cholesky.

    A kernel of distinct examples is positive definite in theory; after round-off it may
    not be, and then converged is False and the weights NaN or large: regularise by 1e-6
    in float32, 1e-12 in float64, or use float64.

    Args:
        kernel: (n, n), symmetric.
        y: (n, outputs).
        diagonal_regularization: r, a share of the mean of the diagonal.

    Raises:
        ValueError: if shapes do not fit.
    """
    y = jnp.asarray(y)
    matrix, shared = as_matrix(kernel, y.shape)
    if not shared:
        raise ValueError(
            f"kernel has shape {kernel.shape}; a full kernel of several outputs goes "
            "to mse_training, at t=inf."
        )
    weights, residual, jitter = linalg.solve_positive(
        matrix, y, jitter=diagonal_regularization
    )
    holds = jnp.all(residual <= jnp.finfo(residual.dtype).eps ** 0.5)
    return Solution(weights, holds, jnp.zeros((), int), jitter, residual)


def regress_by_products(
    product: Callable[[Array], Array],
    y: Float[Array, "n outputs"],
    *,
    diagonal: Float[Array, " n"],
    diagonal_regularization: float = 0.0,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> Solution:
    """Return the same without the kernel matrix, by preconditioned conjugate gradients.

    Args:
        product: ``K @ v`` for v (n, outputs), e.g. :func:`kanjax.ntk.rows_product` of
            an infinite-width kernel.
        y: (n, outputs).
        diagonal: (n,), of the kernel: the preconditioner.
        diagonal_regularization: added to the diagonal, times its mean.
        tolerance: of the residual, relative to y, for each output.
        max_iterations: steps at most.
    """
    y = checks.as_floating(y)
    # In units of each output, so that squares neither vanish nor overflow.
    unit = safe_scale(y, axis=0)
    y = y / unit
    jitter = diagonal_regularization * jnp.mean(diagonal)
    scale = 1 / (diagonal + jitter)[:, None]

    def apply(v: Array) -> Array:
        return product(v) + jitter * v

    size = jnp.sum(y**2, axis=0)
    limit = tolerance**2 * size

    def going(state: tuple) -> Array:
        _, residual, _, _, step = state
        left = jnp.any(jnp.sum(residual**2, axis=0) > limit)
        return left & (step < max_iterations)

    def improve(state: tuple) -> tuple:
        x, residual, direction, power, step = state
        image = apply(direction)
        curvature = jnp.sum(direction * image, axis=0)
        # A column that is solved has no direction left; it stays where it is.
        length = jnp.where(
            curvature > 0, power / jnp.where(curvature > 0, curvature, 1), 0
        )
        length = length[None]
        x, residual = x + length * direction, residual - length * image
        scaled = scale * residual
        new = jnp.sum(residual * scaled, axis=0)
        turn = jnp.where(power > 0, new / jnp.where(power > 0, power, 1), 0)
        return x, residual, scaled + turn[None] * direction, new, step + 1

    start = scale * y
    first = (
        jnp.zeros_like(y),
        y,
        start,
        jnp.sum(y * start, axis=0),
        jnp.zeros((), int),
    )
    x, residual, _, _, steps = jax.lax.while_loop(going, improve, first)
    converged = jnp.sum(residual**2, axis=0) <= limit
    left = y - apply(x)
    return Solution(x * unit, converged, steps, jitter, linalg.relative_norms(left, y))


def as_matrix(kernel: Array, shape: tuple[int, ...]) -> tuple[Array, bool]:
    """Return a kernel for targets of that shape as a matrix; whether outputs share it.

    Raises:
        ValueError: if it fits neither (n, n) nor (n, n, outputs, outputs).
    """
    if len(shape) != 2:
        raise ValueError(
            f"y must have shape (n, outputs); got {shape}. Use y[:, None] for one."
        )
    n, outputs = shape
    if kernel.shape == (n, n):
        return kernel, True
    if kernel.shape == (n, n, outputs, outputs):
        return jnp.swapaxes(kernel, 1, 2).reshape(n * outputs, n * outputs), False
    raise ValueError(
        f"kernel has shape {kernel.shape}; for y of shape {shape} it must be {(n, n)} "
        f"or {(n, n, outputs, outputs)}."
    )
