"""Tangent kernels of finite networks by their products, never formed.

``K v = J(x1) (J(x2)^T v)``: one reverse and one forward pass over the examples, so that
memory holds parameters and one block of examples whatever the size of the kernel.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import checks, linalg
from kanjax.ntk import blockwise, finite_width


def tangent_product(
    apply: finite_width.Apply,
    params: finite_width.Params,
    x1: Any,
    x2: Any = None,
    *,
    outputs: Literal["trace", "full"] = "full",
    batch_size: int | None = None,
) -> linalg.Product:
    """Products with the empirical tangent kernel, which is never formed.

    Args:
        apply: ``apply(params, x) -> (examples, outputs)``; here an output may depend on
            other examples of its block.
        params: any pytree of floating-point arrays.
        x1: (n1, ...), or a pytree with such leaves.
        x2: (n2, ...), x1 if None.
        outputs: "full", ``product(v)[i, o] = sum_jp Theta[i, j, o, p] v[j, p]`` for v
            (n2, outputs); or "trace", the product of the mean over outputs, for v
            (n2,), which takes one full product an output.
        batch_size: examples in memory at once; all if None.

    Returns:
        ``product(v)``, of the shape of v with n1 for n2. It works under jit, vmap and
        grad.

    Raises:
        TypeError: if a leaf of params is not a floating-point array.
        ValueError: for an unknown ``outputs``, or a batch_size that is not positive.

    Example, with the tools of :mod:`kanjax.linalg`, for v of shape (n, outputs):
        ``linalg.eigenpairs(product, v, 20, key, which="largest")``,
        ``linalg.hutchinson_trace(product, v, key)``, and the log-determinant of
        ``K + jitter I`` by ``linalg.trace_of(lambda x: jnp.log(x + jitter),
        linalg.lanczos_quadrature(product, v, key))``.
    """
    checks.check_real(params, "params")
    finite_width.check_choice("outputs", outputs, ("trace", "full"))
    blockwise.check_batch_size(batch_size)
    params, x1, x2 = jax.tree.map(jnp.asarray, (params, x1, x2))
    x2 = x1 if x2 is None else x2
    n1, n2 = finite_width.examples(x1, "x1"), finite_width.examples(x2, "x2")
    size = max(n1, n2) if batch_size is None else batch_size

    def full(v: Array) -> Array:
        direction = _pull(apply, params, x2, v, min(size, n2))
        return _push(apply, params, x1, direction, min(size, n1))

    if outputs == "full":
        return full
    width = jax.eval_shape(apply, params, x1).shape[1]

    def trace(v: Array) -> Array:
        def column(o: Array) -> Array:
            return full(jnp.outer(v, jax.nn.one_hot(o, width, dtype=v.dtype)))[:, o]

        return jnp.mean(jax.lax.map(column, jnp.arange(width)), axis=0)

    return trace


def _pull(apply: finite_width.Apply, params: Any, x: Any, v: Array, size: int) -> Any:
    """``J(x)^T v``, block by block; rows that fill up the last block count as zero."""

    def pull_block(rows: Array, weights: Array) -> Any:
        block = blockwise.take(x, rows)
        y, pull = jax.vjp(lambda p: apply(p, block), params)
        return pull(weights.astype(y.dtype))[0]

    n = v.shape[0]
    rows = blockwise.indices(n, size)
    if rows.shape[0] == 1:
        return pull_block(rows[0], v)
    real = (jnp.arange(rows.size) < n).reshape(rows.shape)
    weights = jnp.where(real[..., None], v[rows], 0)

    def add(total: Any, block: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, pull_block(*block)), None

    zero = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zero, (rows, weights))[0]


def _push(
    apply: finite_width.Apply, params: Any, x: Any, direction: Any, size: int
) -> Array:
    """``J(x) direction``, block by block."""
    n = finite_width.examples(x, "x1")

    def push_block(rows: Array) -> Array:
        block = blockwise.take(x, rows)
        return linalg.linearize(lambda p: apply(p, block), params)[1](direction)

    rows = blockwise.indices(n, size)
    if rows.shape[0] == 1:
        return push_block(rows[0])
    images = jax.lax.map(push_block, rows)
    return images.reshape(-1, images.shape[-1])[:n]
