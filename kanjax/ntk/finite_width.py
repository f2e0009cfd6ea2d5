"""Neural tangent kernels of finite networks, exactly and in bounded memory.

Jacot, Gabriel, Hongler 2018, arXiv 1806.07572. The ways to compute them: Novak,
Sohl-Dickstein, Schoenholz 2022, "Fast Finite Width Neural Tangent Kernel", arXiv
2206.08720, sections 3.1 to 3.4.
"""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh

from kanjax import checks, linalg, pytrees
from kanjax.ntk import blockwise, structured_derivatives

Params = Any
Apply = Callable[[Params, Any], Array]
"""``apply(params, x)``: examples along the leading axis of x, (examples, outputs)."""

OUTPUTS = ("trace", "diagonal", "full")
METHODS = ("auto", "structured", "jacobian", "vector_products")

_MANY_ENTRIES = 2**28
# A push forward over a forward pass, in multiplications.
_PUSH_COST = 2.0
# An entry of a Jacobian that goes to memory and back, in multiplications.
_ENTRY_COST = 60.0


def empirical(
    apply: Apply,
    params: Params,
    x1: Any = None,
    x2: Any = None,
    *,
    outputs: Literal["trace", "full", "diagonal"] = "trace",
    method: Literal["auto", "structured", "jacobian", "vector_products"] = "auto",
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Array:
    """Return the empirical neural tangent kernel of a network at its parameters.

    ``Theta[i, j, o, p] = sum_k d f_o(x1_i)/d theta_k  d f_p(x2_j)/d theta_k``, summed
    over all parameters.

    Args:
        apply: ``apply(params, x) -> (examples, outputs)``. Each output row must depend
            on its own example alone (no batch normalisation over the batch): the
            kernel is taken of ``apply(params, x[i:i+1])``.
        params: any pytree of floating-point arrays.
        x1: (n1, ...), or a pytree with such leaves; must be given.
        x2: (n2, ...), x1 itself if None (the kernel is then computed for one half and
            exactly symmetric), or a pytree with such leaves.
        outputs: what to return,

            - "trace": (n1, n2), the MEAN over outputs of Theta[i, j, o, o], as
              neural-tangents defines its trace,
            - "diagonal": (n1, n2, outputs), Theta[i, j, o, o],
            - "full": (n1, n2, outputs, outputs).
        method: how,

            - "jacobian" forms the Jacobians of both sides and contracts them leaf by
              leaf.
            - "vector_products" pulls each output of each x2_j back to the parameters
              and pushes the result forward to all x1 (a vjp, then a jvp), with one
              example's Jacobian in memory at a time.
            - "structured" finds the products and convolutions that use a weight once
              and takes their share from the layer's inputs and the derivatives of its
              outputs, without the weight's Jacobian, with any bias that is added;
              of other parameters, such as a norm's and whatever is inside a scan, it
              forms the Jacobian.
            - "auto" takes the structure, unless vector products are estimated to need
              fewer multiplications, or the derivatives of one block of rows and one of
              columns would have more than 2**28 entries.
        batch_size: rows and columns are taken in blocks of this many examples, so that
            no Jacobian of more than one block a side is in memory; everything at once
            if None.
        mesh: spread the rows over all its devices, each of which has the parameters and
            all columns and takes ``batch_size`` of its rows at once.

    The kernel is accumulated in float32 at least and with full-precision products. It
    works under jit, grad (in params and x), and vmap over ensembles of params.

    Raises:
        TypeError: if a leaf of params is not a floating-point array, if apply is a
            network of another library, or without x1.
        ValueError: if apply does not return (examples, outputs), for an unknown outputs
            or method, if batch_size is not positive, or if the kernel itself is
            larger than the memory.

    Examples:
        >>> import jax.numpy as jnp
        >>> linear = lambda w, x: x @ w
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> empirical(linear, jnp.ones((2, 3)), x).tolist()
        [[5.0, 2.0], [2.0, 1.0]]
    """
    checks.check_function(apply, "apply")
    if x1 is None:
        raise TypeError("x1 is missing; give apply, params and x1, in this order.")
    check_choice("outputs", outputs, OUTPUTS)
    check_choice("method", method, METHODS)
    checks.check_real(params, "params")
    blockwise.check_batch_size(batch_size)
    params, x1, x2 = jax.tree.map(jnp.asarray, (params, x1, x2))
    sizes = [examples(x1, "x1")] * 2
    width = _width(apply, params, x1, sizes[0])
    if x2 is not None:
        sizes[1] = examples(x2, "x2")
        if _width(apply, params, x2, sizes[1]) != width:
            raise ValueError("apply gives different numbers of outputs for x1 and x2.")
    entries = {"trace": 1, "diagonal": width}.get(outputs, width**2)
    blockwise.check_memory(
        sizes[0] * sizes[1] * entries * 4,
        f"the {outputs} kernel of {sizes[0]} by {sizes[1]} examples",
        lambda share: "kj.ntk.tangent_product multiplies with it without forming it.",
    )
    return _empirical(
        params,
        x1,
        x2,
        apply=pytrees.hashable(apply),
        outputs=outputs,
        method=method,
        batch_size=batch_size,
        mesh=mesh,
    )


@functools.partial(
    jax.jit, static_argnames=("apply", "outputs", "method", "batch_size", "mesh")
)
def _empirical(
    params: Params,
    x1: Any,
    x2: Any,
    *,
    apply: Apply,
    outputs: str,
    method: str,
    batch_size: int | None,
    mesh: Mesh | None,
) -> Array:
    sizes = [examples(x, "x") for x in (x1, x1 if x2 is None else x2)]
    # What one device computes.
    local = [-(-sizes[0] // (1 if mesh is None else mesh.size)), sizes[1]]
    blocks = [n if batch_size is None else min(n, batch_size) for n in local]
    kernel = functools.partial(
        _block(apply, params, x1, outputs, method, blocks, x2 is None), params, outputs
    )
    if mesh is not None:
        rows = functools.partial(
            blockwise.rectangle, kernel, sizes=local, blocks=blocks
        )
        theta = blockwise.spread(rows, mesh, x1, sizes[0], x1 if x2 is None else x2)
        return blockwise.symmetrized(theta) if x2 is None else theta
    if x2 is None:
        return blockwise.symmetric(
            kernel, x1, sizes[0], blocks[0], separate_diagonal=True
        )
    return blockwise.rectangle(kernel, x1, x2, sizes, blocks)


def _block(
    apply: Apply,
    params: Params,
    x1: Any,
    outputs: str,
    method: str,
    blocks: Sequence[int],
    same: bool,
) -> Callable[..., Array]:
    """Return the kernel of two blocks of examples, by the method asked for."""
    single = _single(apply)
    methods = {"jacobian": _jacobian_block, "vector_products": _product_block}
    if method not in methods:
        # Planning traces the network: not for those who ask for another method.
        example = jax.tree.map(lambda leaf: leaf[0], x1)
        plan = structured_derivatives.plan(single, params, example)
        width = jax.eval_shape(single, params, example).shape[0]
        if method == "auto":
            method = _choose(plan, outputs, width, blocks, same)
        if method == "structured":
            return functools.partial(structured_derivatives.block, plan)
    return functools.partial(methods[method], single)


def _jacobian_block(
    f: Apply, params: Params, outputs: str, x1: Any, x2: Any, same: bool
) -> Array:
    """Return the kernel of two blocks of examples by contracting their Jacobians."""
    jacobian = jax.vmap(jax.jacrev(f), (None, 0))
    j1 = jax.tree.leaves(jacobian(params, x1))
    j2 = j1 if same else jax.tree.leaves(jacobian(params, x2))
    terms = [
        structured_derivatives.contract(a, b, outputs)
        for a, b in zip(j1, j2, strict=True)
    ]
    return sum(terms[1:], terms[0])


def _product_block(
    f: Apply, params: Params, outputs: str, x1: Any, x2: Any, same: bool
) -> Array:
    """Return the kernel of two blocks of examples by products with its columns."""
    del same
    rows = jax.vmap(f, (None, 0))
    _, push = linalg.linearize(lambda p: rows(p, x1), params)

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
    """Return the function of one example, whose output is (outputs,)."""
    return lambda p, x: apply(p, jax.tree.map(lambda leaf: leaf[None], x))[0]


def _choose(
    plan: structured_derivatives.Plan,
    outputs: str,
    width: int,
    parts: Sequence[int],
    same: bool,
) -> Literal["structured", "vector_products"]:
    if structured_derivatives.entries(plan, width, sum(parts)) > _MANY_ENTRIES:
        return "vector_products"
    forward = structured_derivatives.forward_cost(plan) * width
    # A product pulls back each column, and pushes it forward to all rows.
    products = forward * (parts[1] + _PUSH_COST * parts[0] * parts[1])
    pulled = parts[0] if same else sum(parts)
    pulls = pulled * (forward + _ENTRY_COST * width * structured_derivatives.rest(plan))
    dear = pulls + structured_derivatives.cost(plan, outputs, width, *parts) > products
    return "vector_products" if dear else "structured"


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


def examples(x: Any, name: str) -> int:
    """Return the number of examples, or ``ValueError`` if leaves disagree on it."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x)}
    if len(sizes) != 1 or sizes == {()} or sizes == {(0,)}:
        raise ValueError(
            f"{name} must have one leading axis over examples, at least one of them; "
            f"its leaves have leading axes {sorted(sizes)}."
        )
    return sizes.pop()[0]


def check_choice(name: str, value: Any, known: Sequence[str]) -> None:
    """Raise ``ValueError`` unless the value is one of those."""
    if value not in known:
        close = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"{name} is {value!r}; it must be one of {', '.join(map(repr, known))}. "
            f"Did you mean {close!r}?"
        )
