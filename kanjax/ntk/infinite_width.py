"""Kernels of infinitely wide networks: the Gaussian process and the tangent kernel.

Jacot, Gabriel, Hongler 2018, arXiv 1806.07572; Lee, Bahri, Novak, Schoenholz,
Pennington, Sohl-Dickstein 2018, arXiv 1711.00165 (the Gaussian process).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Float

from kanjax import nn
from kanjax.nn import masked
from kanjax.ntk import (
    attention_rules,
    blockwise,
    finite_width,
    graph_rules,
    inputs,
    rules,
    scan_layers,
    spatial_rules,
)
from kanjax.ntk.covariances import Covariances
from kanjax.ntk.per_example import Reader, Writer

RULES: rules.Rules = {
    **rules.RULES,
    **spatial_rules.SPATIAL_RULES,
    **attention_rules.ATTENTION_RULES,
    **graph_rules.GRAPH_RULES,
}
"""The rule of each class of layers."""

# Entries of what is noted of each example by itself, kept for the pairs; or as many as
# the kernels have.
_NOTES = 2**24


class Kernel(NamedTuple):
    """The two kernels of an infinitely wide network.

    Attributes:
        nngp: (n1, n2), the covariance of one output over draws of the parameters.
        ntk: (n1, n2), the neural tangent kernel of one output; different outputs have
            kernel zero.
    """

    nngp: Float[Array, "n1 n2"]
    ntk: Float[Array, "n1 n2"]


@runtime_checkable
class KernelFunction(Protocol):
    """What :func:`infinite` returns."""

    def __call__(
        self,
        x1: Any,
        x2: Any = None,
        *,
        mask1: Any = None,
        mask2: Any = None,
        diagonal: bool = False,
        batch_size: int | None = None,
        mesh: Mesh | None = None,
    ) -> Kernel:
        """Return the kernels between two sets of examples.

        Args:
            x1: (n1, features) or (n1, *spatial, channels), floating-point; tokens,
                (n1, *spatial) and integer, for a model that begins with an embedding;
                a pair (x, graph) for ``nn.GraphNetwork``.
            x2: (n2, ...) of the same kind, x1 itself if None.
            mask1: (n1, *spatial), True where an example has something, such as the
                words of a sentence before its padding; everywhere if None. Masked
                positions are zeroed after every layer; ``GlobalPool`` averages over,
                and attention attends to, unmasked positions. A windowed layer's output
                is unmasked where the center of its window is; a transposed
                convolution's where its window holds no masked input.
            mask2: (n2, *spatial), the same of x2.
            diagonal: only the pairs (x1[i], x2[i]), as (n,).
            batch_size: rows and columns in blocks of this many examples, so that no
                covariance of more than one block a side is in memory; if None as many
                as have covariances of 2**16 entries on a CPU, 2**22 elsewhere, or all
                of them if x1 is a concrete array sharded over several devices.
            mesh: spread the rows over all its devices, each of which takes
                ``batch_size`` of its rows at once.

        Returns:
            The kernels, (n1, n2) each, or (n,).
        """
        ...


def infinite(
    model: Any,
    *,
    rules: Mapping[type, rules.Rule] | None = None,
    dropout: bool = False,
) -> KernelFunction:
    """Return the kernels of a model as all its hidden widths go to infinity.

    They are what the covariance of ``model.apply(model.init(key), x)`` over keys and
    ``kj.ntk.empirical(model.apply, model.init(key), x)`` converge to as hidden widths
    grow: the widths that the model has matter in the standard parameterization only,
    where a layer's share of the tangent kernel is its number of inputs times that in
    the NTK one.

    Use float64 (``jax.enable_x64``): in float32 deep kernels lose digits and small
    eigenvalues are noise.

    Args:
        model: dense, convolutional, pooling, attention, normalising, embedding, dropout
            and activation layers of ``kanjax.nn`` and layers of a KAN that share one
            basis, sums over graphs and fixed maps of positions, nested in MLP, KAN,
            Sequential, Residual, Parallel, Product or GraphNetwork; the functions of
            :mod:`kanjax.gaussian` and their like in jax are taken in closed form, any
            other activation by quadrature.
        rules: rules of your own by class of layer; they go before those that exist.
        dropout: whether ``nn.Dropout`` drops values, as it does when given a key, each
            example with a draw of its own; it matters where an example meets itself,
            which is with x2=None only.

    Returns:
        ``kernel(x1, x2=None, *, mask1=None, mask2=None, diagonal=False,
        batch_size=None, mesh=None) -> Kernel``, see :class:`KernelFunction`. It works
        under jit, vmap and grad (in x) and computes the half of a symmetric kernel;
        rows of x1 that are spread over a mesh stay there.

    Raises:
        ValueError: at the call, for a layer without a rule or one where its rule does
            not hold, data that do not fit the model, or a kernel beyond the memory; at
            once for a ``nn.Masked``, whose network has the kernel.

    Examples:
        >>> import jax.numpy as jnp, numpy as np
        >>> from kanjax import nn
        >>> kernel = infinite(nn.MLP((2, 512, 1), parameterization="ntk"))
        >>> x = jnp.array([[1.0, 1.0], [1.0, -1.0]])
        >>> print(np.asarray(kernel(x).nngp).round(4))
        [[2.     0.6366]
         [0.6366 2.    ]]
    """
    if isinstance(model, nn.Masked):
        raise ValueError(
            "model is a nn.Masked: give the network inside it, and its masks at the "
            "call, kj.ntk.infinite(model.network)(x, mask1=mask)."
        )
    table = {**RULES, **(rules or {})}

    @functools.partial(jax.jit, static_argnames=("diagonal", "batch_size", "mesh"))
    def compute(
        x1: Any, x2: Any, diagonal: bool, batch_size: int, mesh: Mesh | None
    ) -> tuple[Array, Array]:
        n, is_one_set = _size(x1), x2 is None
        if is_one_set:
            x1 = x2 = x1._replace(index=jnp.arange(n))
        through = functools.partial(_through, model, table, dropout)
        block = functools.partial(_block, through, diagonal)
        noted = functools.partial(
            _noted,
            through,
            at_once=batch_size if diagonal else batch_size**2,
            most=max(_NOTES, n if diagonal else n * _size(x2)),
        )
        if mesh is not None and not diagonal:
            kernels = _spread(block, noted, x1, x2, batch_size, mesh)
            return blockwise.symmetrized(kernels) if is_one_set else kernels
        x1 = noted(x1)
        x2 = x1 if is_one_set else noted(x2)
        if diagonal:
            return blockwise.rows(lambda x: block(*x), (x1, x2), n, batch_size)
        if is_one_set:
            return blockwise.symmetric(block, x1, n, blockwise.even(n, batch_size))
        return _rectangle(block, batch_size, x1, x2)

    def kernel(
        x1: Any,
        x2: Any = None,
        *,
        mask1: Any = None,
        mask2: Any = None,
        diagonal: bool = False,
        batch_size: int | None = None,
        mesh: Mesh | None = None,
    ) -> Kernel:
        blockwise.check_batch_size(batch_size)
        first, second = inputs.read(model, x1, x2, mask1, mask2, diagonal)
        pairs = _needs_pairs(table, model, False)
        if batch_size is None:
            batch_size = inputs.batch_size(first, second, pairs, diagonal, mesh)
        inputs.check_memory(first, second, pairs, diagonal, batch_size)
        kernels = Kernel(*compute(first, second, diagonal, batch_size, mesh))
        # Afterwards, so that a layer without a rule is told first.
        inputs.check_fits(model, first)
        return kernels

    return kernel


def rows_product(
    kernel: KernelFunction,
    x: Any,
    *,
    batch_size: int = 512,
    which: Literal["ntk", "nngp"] = "ntk",
) -> Callable[[Array], Array]:
    """Products with the kernel of one set of examples that is never in memory whole.

    Args:
        kernel: as :func:`infinite` returns it.
        x: (n, ...), the examples.
        batch_size: the number of rows in memory at once.
        which: the tangent kernel or that of the Gaussian process.

    Returns:
        ``product(v) -> K(x, x) @ v`` for v (n, ...), computed anew at each call.

    Raises:
        ValueError: for an unknown kernel, or if batch_size is not positive.
    """
    if which not in Kernel._fields:
        raise ValueError(f"which is {which!r}; it must be 'ntk' or 'nngp'.")
    blockwise.check_batch_size(batch_size)
    n = finite_width.examples(x, "x")
    parts = blockwise.indices(n, min(batch_size, n))

    def product(v: Array) -> Array:
        def rows_of(i: Array) -> Array:
            return getattr(kernel(blockwise.take(x, i), x), which) @ v

        rows = jax.lax.map(rows_of, parts)
        return rows.reshape(-1, *v.shape[1:])[:n]

    return product


def _size(x: Any) -> int:
    return finite_width.examples(x, "x")


def _through(
    model: Any,
    table: rules.Rules,
    dropout: bool,
    diagonal: bool,
    tape: Writer | Reader,
    x1: inputs.Examples,
    x2: inputs.Examples,
) -> Covariances:
    """Two blocks of examples through the model."""
    pairs = _needs_pairs(table, model, False)
    k = inputs.covariances(x1, x2, pairs, diagonal, tape)
    return _propagate(table, False, model, k.replace(dropout=dropout))


def _notes(through: Callable[..., Covariances], x: inputs.Examples) -> list[Any]:
    """Return what layers need to know of each example by itself."""
    indexed = x._replace(index=jnp.arange(_size(x)))
    tape = Writer()
    through(True, tape, indexed, indexed)
    return tape.notes


def _noted(
    through: Callable[..., Covariances], x: inputs.Examples, at_once: int, most: int
) -> inputs.Examples:
    """With their notes, unless these have more entries than there may be."""
    notes = functools.partial(_notes, through)
    shapes = jax.tree.leaves(jax.eval_shape(notes, x))
    if sum(shape.size for shape in shapes) > most:
        return x
    return x._replace(notes=blockwise.rows(notes, x, _size(x), at_once))


def _block(
    through: Callable[..., Covariances],
    diagonal: bool,
    x1: inputs.Examples,
    x2: inputs.Examples,
    same: bool = False,
) -> tuple[Array, Array]:
    """Return the kernels of two blocks of examples, which know where they meet
    themselves.
    """
    tape = Reader(
        *(_notes(through, x) if x.notes is None else x.notes for x in (x1, x2))
    )
    k = through(diagonal, tape, x1, x2).averaged()
    if k.spatial:
        raise ValueError(
            f"the model's outputs have {k.spatial} spatial axes; end it with Flatten "
            "or GlobalPool, and a layer with weights."
        )
    shape = jnp.broadcast_shapes(k.nngp.shape, k.ntk.shape)
    return jnp.broadcast_to(k.nngp, shape), jnp.broadcast_to(k.ntk, shape)


def _propagate(
    table: rules.Rules, later: bool, layer: Any, k: Covariances
) -> Covariances:
    """Through one layer, when what is behind it needs pairs of positions or not."""
    if isinstance(layer, rules.model.Sequential):
        steps: list[tuple[Any, bool]] = []
        for sublayer in reversed(layer.layers):
            steps.insert(0, (sublayer, later))
            later = _needs_pairs(table, sublayer, later)
        return scan_layers.in_turn(
            lambda step, k: _propagate(table, step[1], step[0], k), steps, k
        )
    rule = rules.find(table, layer)
    k = k if rule.channelwise else k.averaged()

    def inside(layer: Any, k: Covariances, *, pairs: bool = False) -> Covariances:
        return _propagate(table, later or pairs, layer, k)

    k = rule.propagate(layer, k, inside)
    k = k.map_masks(lambda mask: masked.mask_after(layer, mask))
    k = k.replace(data=None).masked()
    return k.all_pairs() if later else k.equal_positions()


def _needs_pairs(table: rules.Rules, layer: Any, later: bool) -> bool:
    needs = functools.partial(_needs_pairs, table)
    return rules.find(table, layer).needs_pairs(layer, later, needs)


def _rectangle(
    block: blockwise.Block, batch_size: int, x1: inputs.Examples, x2: inputs.Examples
) -> tuple[Array, Array]:
    sizes = [_size(x1), _size(x2)]
    parts = [blockwise.even(n, batch_size) for n in sizes]
    return blockwise.rectangle(block, x1, x2, sizes, parts)


def _spread(
    block: blockwise.Block,
    noted: Callable[[inputs.Examples], inputs.Examples],
    x1: inputs.Examples,
    x2: inputs.Examples,
    batch_size: int,
    mesh: Mesh,
) -> tuple[Array, Array]:
    """Rows over the devices of a mesh."""

    def rows(a: inputs.Examples, b: inputs.Examples) -> tuple[Array, Array]:
        return _rectangle(block, batch_size, noted(a), noted(b))

    return blockwise.spread(rows, mesh, x1, _size(x1), x2)
