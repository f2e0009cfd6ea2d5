"""Random subspaces of parameter space: ``theta = theta0 + P v`` with few numbers v.

Li, Farkhoor, Liu, Yosinski 2018, "Measuring the Intrinsic Dimension of Objective
Landscapes", arXiv 1804.08838; Le, Sarlos, Smola 2013, "Fastfood", arXiv 1408.3060; Li,
Hastie, Church 2006 (very sparse projections). All projections are over all leaves
together; their columns have norm 1, or do so in expectation.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.flatten_util
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax import checks, linalg, model, pytrees

Params = pytrees.Params
Kind = Literal["dense", "regenerated", "sparse", "fastfood"]
KINDS = ("dense", "regenerated", "sparse", "fastfood")
Density = Literal["auto", "per_leaf"] | float


@runtime_checkable
class Subspace(Protocol):
    """A linear map from few numbers to all parameters, as one vector."""

    @property
    def dimension(self) -> int:
        """How many numbers v has."""
        ...

    @property
    def size(self) -> int:
        """How many parameters there are."""
        ...

    def flat(self, v: Float[Array, " dimension"]) -> Float[Array, " size"]:
        """``P v``; linear."""
        ...


@model.dataclass
class Dense:
    """P as a matrix: Gaussian columns of norm 1. Takes size x dimension numbers."""

    columns: Float[Array, "dimension size"] = model.child()

    @property
    def dimension(self) -> int:
        """How many numbers v has."""
        return self.columns.shape[-2]

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return self.columns.shape[-1]

    def flat(self, v: Float[Array, " dimension"]) -> Float[Array, " size"]:
        """``P v``."""
        return jnp.matmul(v, self.columns, precision="highest")


@model.dataclass
class Regenerated:
    """The same kind of P, drawn anew in blocks of columns whenever it is needed.

    Takes O(size) memory and about as long as drawing size x dimension numbers.
    """

    key: Array = model.child()
    dimension: int
    size: int
    block: int = 16

    def flat(self, v: Float[Array, " dimension"]) -> Float[Array, " size"]:
        """``P v``."""
        blocks = -(-self.dimension // self.block)
        padded = jnp.pad(v, (0, blocks * self.block - self.dimension))

        @jax.checkpoint
        def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
            number, coefficients = block
            key = jax.random.fold_in(self.key, number)
            columns = _unit_rows(
                jax.random.normal(key, (self.block, self.size), v.dtype)
            )
            moved = jnp.matmul(coefficients, columns, precision="highest")
            return total + moved, None

        parts = (jnp.arange(blocks), padded.reshape(blocks, self.block))
        return jax.lax.scan(add, jnp.zeros(self.size, v.dtype), parts)[0]


@model.dataclass
class Sparse:
    """Columns with few entries, all of one magnitude and random sign, and norm 1."""

    places: Int[Array, "dimension entries"] = model.child()
    values: Float[Array, "dimension entries"] = model.child()
    size: int

    @property
    def dimension(self) -> int:
        """How many numbers v has."""
        return self.places.shape[-2]

    def flat(self, v: Float[Array, " dimension"]) -> Float[Array, " size"]:
        """``P v``."""
        moved = v[:, None] * self.values.astype(v.dtype)
        # Places beyond the last parameter hold nothing.
        return jnp.zeros(self.size, v.dtype).at[self.places].add(moved, mode="drop")


@model.dataclass
class Fastfood:
    """``Hd diag(g) Pi Hd diag(b)``, cut to size: O(L log L) time and O(L) memory.

    L is the power of two that is not below size. Columns have norm 1 in expectation,
    exactly if size is L. Beyond dimension L, independent blocks are added up.
    """

    signs: Float[Array, "blocks L"] = model.child()
    order: Int[Array, "blocks L"] = model.child()
    gaussians: Float[Array, "blocks L"] = model.child()
    dimension: int
    size: int

    def flat(self, v: Float[Array, " dimension"]) -> Float[Array, " size"]:
        """``P v``."""
        blocks, length = self.signs.shape
        width = min(length, 1 << (self.dimension - 1).bit_length())
        padded = jnp.pad(v, (0, blocks * width - self.dimension))

        def transform(
            block: Array, signs: Array, order: Array, gaussians: Array
        ) -> Float[Array, " L"]:
            # The transform of a vector that is zero beyond width repeats itself.
            mixed = linalg.fwht(signs[:width].astype(v.dtype) * block, normalize=True)
            gathered = gaussians.astype(v.dtype) * mixed[order & (width - 1)]
            power = jnp.sum(jnp.square(gaussians)).astype(v.dtype)
            scale = math.sqrt(length * width / self.size) / jnp.sqrt(power)
            return scale * linalg.fwht(gathered, normalize=True)

        parts = padded.reshape(blocks, width)
        moved = jax.vmap(transform)(parts, self.signs, self.order, self.gaussians)
        return jnp.sum(moved, axis=0)[: self.size]


def subspace(
    key: Array,
    params: Params,
    dimension: int,
    *,
    kind: Kind = "fastfood",
    density: Density = "auto",
) -> Subspace:
    """Draw a random subspace for parameters like params.

    Args:
        key: of the random columns.
        params: arrays or ``jax.ShapeDtypeStruct``; only shapes matter.
        dimension: how many numbers describe a point of it.
        kind: "dense" (memory size x dimension), "regenerated" (the same law, drawn
            anew each time, memory of order size), "sparse" (of order
            dimension x sqrt(size)) or "fastfood" (of order size, and quick at any
            dimension).
        density: of "sparse", the share of entries that are not zero: "auto" is
            ``1 / sqrt(size)``, "per_leaf" the same with the size of each leaf, as the
            authors' code has it.

    Raises:
        ValueError: for an unknown kind, or a dimension or density out of range.
        TypeError: if a leaf is not of floating point.

    Examples:
        >>> space = subspace(jax.random.key(0), jnp.zeros((20, 30)), 5)
        >>> place(space, jnp.zeros((20, 30)), jnp.ones(5)).shape
        (20, 30)
    """
    leaves = jax.tree.leaves(params)
    size = sum(math.prod(leaf.shape) for leaf in leaves)
    dtype = jnp.promote_types(
        jnp.result_type(*(leaf.dtype for leaf in leaves)), jnp.float32
    )
    if dimension < 1:
        raise ValueError(f"dimension is {dimension}; it must be at least 1.")
    if kind == "dense":
        return Dense(_unit_rows(jax.random.normal(key, (dimension, size), dtype)))
    if kind == "regenerated":
        return Regenerated(key, dimension, size)
    if kind == "sparse":
        sizes = [math.prod(leaf.shape) for leaf in leaves]
        return _sparse(key, sizes, dimension, density, dtype)
    if kind == "fastfood":
        return _fastfood(key, size, dimension, dtype)
    raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}.")


def place(space: Subspace, start: Params, v: Float[Array, " dimension"]) -> Params:
    """Return the parameters ``start + P v``, in the dtypes of start.

    Args:
        space: the subspace, with its P.
        start: parameters, its origin.
        v: (dimension,).

    Raises:
        ValueError: if v or start does not fit the subspace.
    """
    if jnp.shape(v) != (space.dimension,):
        raise ValueError(
            f"v has shape {jnp.shape(v)}; the subspace has dimension "
            f"{space.dimension}, so it must be ({space.dimension},)."
        )
    checks.check_real(start, "start")
    flat, unravel = jax.flatten_util.ravel_pytree(start)
    if flat.size != space.size:
        raise ValueError(
            f"start has {flat.size} parameters and the subspace is of {space.size}; "
            "draw it for parameters like start."
        )
    wide = jnp.promote_types(flat.dtype, jnp.float32)
    return unravel((flat.astype(wide) + space.flat(v.astype(wide))).astype(flat.dtype))


def subspace_loss(
    loss: Callable[..., Any], start: Params, space: Subspace
) -> Callable[..., Any]:
    """Return a loss of the few numbers: ``loss(start + P v, ...)``, other arguments
    as given.

    It serves wherever a loss does, as in ``kanjax.training.fit``; apply functions
    likewise.

    Args:
        loss: of parameters, and of anything else.
        start: parameters, the origin.
        space: the subspace.
    """

    def restricted(v: Float[Array, " dimension"], *args: Any, **options: Any) -> Any:
        return loss(place(space, start, v), *args, **options)

    return restricted


def _sparse(
    key: Array, sizes: list[int], dimension: int, density: Density, dtype: Any
) -> Sparse:
    size = sum(sizes)
    if density == "auto":
        parts = [(size, 1 / math.sqrt(size))]
    elif density == "per_leaf":
        parts = [(n, 1 / math.sqrt(n)) for n in sizes if n]
    elif isinstance(density, float | int) and 0 < density <= 1:
        parts = [(size, float(density))]
    else:
        raise ValueError(
            f"density is {density!r}; it must be 'auto', 'per_leaf' or in (0, 1]."
        )
    places, offset = [], 0
    for n, share in parts:
        key, leaf_key = jax.random.split(key)
        drawn = _bernoulli_places(leaf_key, dimension, n, share)
        places.append(jnp.where(drawn < n, drawn + offset, size))
        offset += n
    at = jnp.concatenate(places, axis=1)
    signs = jax.random.rademacher(key, at.shape, dtype)
    count = jnp.sum(at < size, axis=1, keepdims=True)
    values = jnp.where(at < size, signs, 0) / jnp.sqrt(jnp.maximum(count, 1))
    return Sparse(at, values.astype(dtype), size)


def _bernoulli_places(
    key: Array, rows: int, size: int, share: float
) -> Int[Array, "rows capacity"]:
    """Where independent coins of a row fall on heads; at least size where none is.

    The gaps between heads are geometric. The capacity is so far above the mean that a
    row exceeds it less than once in 1e9.
    """
    if share >= 1:
        return jnp.broadcast_to(jnp.arange(size), (rows, size))
    mean = size * share
    capacity = min(size, math.ceil(mean + 7 * math.sqrt(mean) + 12))
    u = jax.random.uniform(
        key, (rows, capacity), minval=jnp.finfo(jnp.float32).tiny, maxval=1.0
    )
    # A longer gap has probability exp(-40); sums must stay in the range of integers.
    longest = min(size + 1, math.ceil(40 / share))
    if capacity * longest >= 2**31:
        raise ValueError(
            f"a sparse subspace of {size} parameters needs larger integers than int32; "
            "use kind='fastfood'."
        )
    gaps = jnp.floor(jnp.log(u) / math.log1p(-share)).astype(jnp.int32) + 1
    return jnp.cumsum(jnp.minimum(gaps, longest), axis=1) - 1


def _fastfood(key: Array, size: int, dimension: int, dtype: Any) -> Fastfood:
    length = 1 << (size - 1).bit_length()
    blocks = -(-dimension // length)
    keys = jax.random.split(key, 3)
    order = jax.vmap(lambda k: jax.random.permutation(k, length))(
        jax.random.split(keys[1], blocks)
    )
    return Fastfood(
        jax.random.rademacher(keys[0], (blocks, length), dtype),
        order,
        jax.random.normal(keys[2], (blocks, length), dtype),
        dimension,
        size,
    )


def _unit_rows(rows: Array) -> Array:
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
