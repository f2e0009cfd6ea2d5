"""Tangent kernels of finite networks by their products, never formed.

``K v = J(x1) (J(x2)^T v)``: one reverse and one forward pass over the examples, so that
memory holds parameters and one block of examples whatever the size of the kernel.
Eigenvalues by Lanczos' method and log-determinants by stochastic Lanczos quadrature
(Ubaru, Chen, Saad 2017, SIAM Journal on Matrix Analysis and Applications 38) run in
matfree.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.ntk import blocks, finite_width

Product = Callable[[Array], Array]


class TopEigenpairs(NamedTuple):
    """The largest eigenvalues of a symmetric operator.

    Attributes:
        eigenvalues: (count,), descending.
        eigenvectors: (count, *shape).
        residuals: (count,), ``|K v - lambda v| / lambda_1``: what is not small has not
            converged; take more steps.
    """

    eigenvalues: Float[Array, " count"]
    eigenvectors: Array
    residuals: Float[Array, " count"]


class Estimate(NamedTuple):
    """A mean over random samples.

    Attributes:
        value: the mean.
        error: its standard error.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]


def tangent_product(
    apply: finite_width.Apply,
    params: finite_width.Params,
    x1: Any,
    x2: Any = None,
    *,
    outputs: Literal["trace", "full"] = "full",
    batch_size: int | None = None,
) -> Product:
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
    """
    finite_width.check_parameters(params)
    finite_width.check_choice("outputs", outputs, ("trace", "full"))
    blocks.check_batch_size(batch_size)
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
        def one(o: Array) -> Array:
            return full(v[:, None] * jax.nn.one_hot(o, width, dtype=v.dtype))[:, o]

        return jnp.mean(jax.lax.map(one, jnp.arange(width)), axis=0)

    return trace


def top_eigenpairs(
    product: Product,
    shape: tuple[int, ...],
    key: Array,
    *,
    count: int,
    steps: int | None = None,
) -> TopEigenpairs:
    """The largest eigenvalues of a symmetric operator, by Lanczos' method.

    Args:
        product: ``K @ v`` for v of that shape, such as :func:`tangent_product`'s.
        shape: (n, outputs), or (n,) for the trace.
        key: of the starting vector.
        count: how many eigenpairs.
        steps: products to make; ``2 count + 20`` if None. Memory holds as many vectors.

    Raises:
        ValueError: if there are fewer steps than eigenpairs, or more than dimensions.
    """
    from matfree import decomp, eig

    size = _size(shape)
    steps = min(size, 2 * count + 20) if steps is None else steps
    if not 1 <= count <= steps <= size:
        raise ValueError(
            f"count={count} and steps={steps} must be 1 <= count <= steps <= {size}, "
            "the number of dimensions."
        )

    def flat(v: Array) -> Array:
        return product(v.reshape(shape)).ravel()

    start = jax.random.normal(key, (size,))
    values, vectors = eig.eigh_partial(decomp.tridiag_sym(steps))(flat, start)
    values, vectors = values[::-1][:count], vectors[::-1][:count]
    images = jax.lax.map(flat, vectors)
    gap = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    return TopEigenpairs(values, vectors.reshape(count, *shape), gap / values[0])


def estimate_trace(
    product: Product, shape: tuple[int, ...], key: Array, *, samples: int = 32
) -> Estimate:
    """The trace of an operator, by Hutchinson's method with random signs.

    Args:
        product: ``K @ v`` for v of that shape.
        shape: (n, outputs), or (n,) for the trace kernel.
        key: of the signs.
        samples: products to make.
    """
    signs = jax.random.rademacher(key, (samples, *shape), jnp.result_type(float))
    values = jax.lax.map(lambda v: jnp.sum(v * product(v)), signs)
    return _mean(values)


def estimate_logdet(
    product: Product,
    shape: tuple[int, ...],
    key: Array,
    *,
    jitter: float,
    samples: int = 16,
    steps: int = 32,
) -> Estimate:
    """The log-determinant of ``K + jitter I``, by stochastic Lanczos quadrature.

    Args:
        product: ``K @ v`` for v of that shape.
        shape: (n, outputs), or (n,) for the trace kernel.
        key: of the random signs.
        jitter: above 0: a kernel has eigenvalues near 0, of which few products can say
            the logarithm.
        samples: random vectors.
        steps: products a vector.

    Raises:
        ValueError: if jitter is not positive.
    """
    from matfree import decomp, funm

    if not jitter > 0:
        raise ValueError(
            f"jitter must be positive, e.g. 1e-3 of the mean diagonal; got {jitter!r}."
        )
    size = _size(shape)
    quadrature = funm.monte_carlo_funm_sym_logdet(decomp.tridiag_sym(min(steps, size)))

    def flat(v: Array) -> Array:
        return product(v.reshape(shape)).ravel() + jitter * v

    signs = jax.random.rademacher(key, (samples, size), jnp.result_type(float))
    return _mean(jax.lax.map(lambda v: quadrature(flat, v), signs))


def _pull(apply: finite_width.Apply, params: Any, x: Any, v: Array, size: int) -> Any:
    """``J(x)^T v``, block by block; rows that fill up the last block count as zero."""

    def one(rows: Array, weights: Array) -> Any:
        part = blocks.take(x, rows)
        y, pull = jax.vjp(lambda p: apply(p, part), params)
        return pull(weights.astype(y.dtype))[0]

    n = v.shape[0]
    rows = blocks.indices(n, size)
    if rows.shape[0] == 1:
        return one(rows[0], v)
    real = (jnp.arange(rows.size) < n).reshape(rows.shape)
    weights = jnp.where(real[..., None], v[rows], 0)

    def add(total: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, one(*part)), None

    zero = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zero, (rows, weights))[0]


def _push(
    apply: finite_width.Apply, params: Any, x: Any, direction: Any, size: int
) -> Array:
    """``J(x) direction``, block by block."""
    n = finite_width.examples(x, "x1")

    def one(rows: Array) -> Array:
        part = blocks.take(x, rows)
        return jax.jvp(lambda p: apply(p, part), (params,), (direction,))[1]

    rows = blocks.indices(n, size)
    if rows.shape[0] == 1:
        return one(rows[0])
    images = jax.lax.map(one, rows)
    return images.reshape(-1, images.shape[-1])[:n]


def _mean(values: Array) -> Estimate:
    return Estimate(jnp.mean(values), jnp.std(values, ddof=1) / values.size**0.5)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
