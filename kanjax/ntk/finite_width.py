"""Neural tangent kernels of finite networks, exactly and in bounded memory.

Jacot, Gabriel, Hongler 2018, arXiv 1806.07572. The two ways to compute them: Novak,
Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel", arXiv
2206.08720, sections 3.1 and 3.2.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.ntk import blocks

Params = Any
Apply = Callable[[Params, Any], Array]
"""``apply(params, x)``: examples along the leading axis of x, (examples, outputs)."""

OUTPUTS = ("trace", "diagonal", "full")
METHODS = ("auto", "jacobian", "vector_products")

# Limits of the automatic choice, see empirical; measured on dense and convolutional
# nets with 1 to 100 outputs on a CPU.
_DENSE_REUSE = 2.0
_OUTPUTS_PER_REUSE = 4.0
_MANY_ENTRIES = 2**28

_HIGHEST = jax.lax.Precision.HIGHEST


def empirical(
    apply: Apply,
    params: Params,
    x1: Any,
    x2: Any = None,
    *,
    outputs: Literal["trace", "full", "diagonal"] = "trace",
    method: Literal["auto", "jacobian", "vector_products"] = "auto",
    batch_size: int | None = None,
) -> Array:
    """The empirical neural tangent kernel of a network at its parameters.

    ``Theta[i, j, o, p] = sum_k d f_o(x1_i)/d theta_k  d f_p(x2_j)/d theta_k``, summed
    over all parameters.

    Args:
        apply: ``apply(params, x) -> (examples, outputs)``. Each output row must depend
            on its own example alone (no batch normalisation over the batch): the
            kernel is taken of ``apply(params, x[i:i+1])``.
        params: any pytree of floating-point arrays.
        x1: (n1, ...), or a pytree with such leaves.
        x2: (n2, ...), x1 itself if None (the kernel is then computed for one half and
            exactly symmetric), or a pytree with such leaves.
        outputs: what to return,

            - "trace": (n1, n2), the MEAN over outputs of Theta[i, j, o, o], as
              neural-tangents defines its trace,
            - "diagonal": (n1, n2, outputs), Theta[i, j, o, o],
            - "full": (n1, n2, outputs, outputs).
        method: "jacobian" forms the Jacobians of both sides and contracts them leaf by
            leaf; "vector_products" pulls each output of each x2_j back to the
            parameters and pushes the result forward to all x1 (a vjp, then a jvp),
            with one example's Jacobian in memory at a time. "auto" counts how often a
            forward pass uses each parameter (multiplications over parameters: 1 in a
            dense net, the number of positions in a convolution) and takes vector
            products where that is less than 2, for the full kernel of more outputs
            than 4 times that, and wherever the Jacobians of one block of rows and one
            of columns would have more than 2**28 entries; Jacobians otherwise.
        batch_size: rows and columns are taken in blocks of this many examples, so that
            no Jacobian of more than one block a side is in memory; everything at once
            if None.

    The kernel is accumulated in float32 at least and with full-precision products. It
    works under jit, grad (in params and x), and vmap over ensembles of params.

    Raises:
        TypeError: if a leaf of params is not a floating-point array.
        ValueError: if apply does not return (examples, outputs), for an unknown outputs
            or method, or if batch_size is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> linear = lambda w, x: x @ w
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> empirical(linear, jnp.ones((2, 3)), x).tolist()
        [[5.0, 2.0], [2.0, 1.0]]
    """
    _check_choice("outputs", outputs, OUTPUTS)
    _check_choice("method", method, METHODS)
    _check_parameters(params)
    blocks.check_batch_size(batch_size)
    params, x1, x2 = jax.tree.map(jnp.asarray, (params, x1, x2))
    sizes = [_examples(x1, "x1")] * 2
    width = _width(apply, params, x1, sizes[0])
    if x2 is not None:
        sizes[1] = _examples(x2, "x2")
        if _width(apply, params, x2, sizes[1]) != width:
            raise ValueError("apply gives different numbers of outputs for x1 and x2.")
    parts = [n if batch_size is None else min(n, batch_size) for n in sizes]
    if method == "auto":
        entries = sum(parts) * width * _count(params)
        method = _choose(apply, params, x1, outputs, width, entries)
    block = _jacobian_block if method == "jacobian" else _product_block

    def compute(params: Params, x1: Any, x2: Any) -> Array:
        kernel = functools.partial(block, _single(apply), params, outputs)
        if x2 is None:
            return blocks.symmetric(kernel, x1, sizes[0], parts[0])
        return blocks.rectangle(kernel, x1, x2, sizes, parts)

    return jax.jit(compute)(params, x1, x2)


def _jacobian_block(
    f: Apply, params: Params, outputs: str, x1: Any, x2: Any, same: bool
) -> Array:
    """The kernel of two blocks of examples by contracting their Jacobians."""
    jacobian = jax.vmap(jax.jacrev(f), (None, 0))
    j1 = jax.tree.leaves(jacobian(params, x1))
    j2 = j1 if same else jax.tree.leaves(jacobian(params, x2))
    terms = [_contract(a, b, outputs) for a, b in zip(j1, j2, strict=True)]
    return sum(terms[1:], terms[0])


def _contract(j1: Array, j2: Array, outputs: str) -> Array:
    """One leaf's share: Jacobians are (examples, outputs, *leaf)."""
    wide = jnp.promote_types(j1.dtype, jnp.float32)
    j1, j2 = (j.reshape(*j.shape[:2], -1).astype(wide) for j in (j1, j2))
    pattern = {"trace": "iok,jok->ij", "diagonal": "iok,jok->ijo"}
    subscripts = pattern.get(outputs, "iok,jpk->ijop")
    kernel = jnp.einsum(subscripts, j1, j2, precision=_HIGHEST)
    return kernel / j1.shape[1] if outputs == "trace" else kernel


def _product_block(
    f: Apply, params: Params, outputs: str, x1: Any, x2: Any, same: bool
) -> Array:
    """The kernel of two blocks of examples by products with its columns."""
    del same
    rows = jax.vmap(f, (None, 0))
    _, push = jax.linearize(lambda p: rows(p, x1), params)

    def column(x: Any) -> Array:
        y, pull = jax.vjp(lambda p: f(p, x), params)
        unit = jnp.eye(y.shape[0], dtype=y.dtype)
        pushed = jax.vmap(lambda v: push(*pull(v)))(unit)
        pushed = pushed.astype(jnp.promote_types(y.dtype, jnp.float32))
        if outputs == "full":
            return jnp.transpose(pushed, (1, 2, 0))
        diagonal = jnp.diagonal(pushed, axis1=0, axis2=2)
        return jnp.mean(diagonal, axis=-1) if outputs == "trace" else diagonal

    return jnp.moveaxis(jax.lax.map(column, x2), 0, 1)


def _single(apply: Apply) -> Apply:
    """The function of one example, whose output is (outputs,)."""
    return lambda p, x: apply(p, jax.tree.map(lambda leaf: leaf[None], x))[0]


def _choose(
    apply: Apply, params: Params, x: Any, outputs: str, width: int, entries: int
) -> Literal["jacobian", "vector_products"]:
    if entries > _MANY_ENTRIES:
        return "vector_products"
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    one = jax.tree.map(lambda v: jax.ShapeDtypeStruct((1, *v.shape[1:]), v.dtype), x)
    cost = jax.jit(apply).lower(shapes, one).cost_analysis() or {}
    # Not every backend counts operations; a dense net is the guess then.
    reuse = cost.get("flops", 0.0) / (2 * _count(params))
    many = outputs == "full" and width > _OUTPUTS_PER_REUSE * reuse
    return "vector_products" if reuse < _DENSE_REUSE or many else "jacobian"


def _count(params: Params) -> int:
    return sum(int(np.prod(jnp.shape(leaf))) for leaf in jax.tree.leaves(params))


def _width(apply: Apply, params: Params, x: Any, examples: int) -> int:
    y = jax.eval_shape(apply, params, x)
    shape = getattr(y, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != examples:
        came = "a pytree" if shape is None else f"shape {shape}"
        raise ValueError(
            f"apply must return (examples, outputs) for {examples} examples; it "
            f"returned {came}. Add or flatten the axes of the outputs."
        )
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise ValueError(f"apply returned dtype {y.dtype}; it must be floating-point.")
    return shape[1]


def _examples(x: Any, name: str) -> int:
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x)}
    if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
        raise ValueError(
            f"{name} must have one leading axis over examples, at least one of them; "
            f"its leaves have leading axes {sorted(sizes)}."
        )
    return sizes.pop()[0]


def _check_parameters(params: Params) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("params has no leaves; there is nothing to differentiate in.")
    for path, leaf in leaves:
        dtype = getattr(leaf, "dtype", jnp.result_type(float))
        if not hasattr(leaf, "dtype") and not isinstance(leaf, float):
            dtype = type(leaf).__name__
        elif jnp.issubdtype(dtype, jnp.floating):
            continue
        raise TypeError(
            f"params at {jax.tree_util.keystr(path) or 'the root'} has dtype {dtype}; "
            "the kernel is taken in floating-point parameters. Close over whatever is "
            "not trained."
        )


def _check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        close = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{name} is {value!r}; it must be one of {', '.join(map(repr, known))}. "
            f"Did you mean {close!r}?"
        )
