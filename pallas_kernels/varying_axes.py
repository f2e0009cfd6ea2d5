"""Over which axes of a mesh a value differs, inside of ``shard_map``.

jax joins these for its own operations; a primitive of our own must do so itself.
"""

from collections.abc import Sequence

import jax
from jax import Array


def vary_alike(arrays: Sequence[Array]) -> list[Array]:
    """Return the arrays, all marked as differing over the axes over which one of them
    does.
    """
    axes = frozenset().union(*map(_varying, arrays))
    return [_mark(a, axes) for a in arrays]


def vary_like(a: Array, others: Sequence[Array]) -> Array:
    """Return ``a`` marked as differing over the axes over which one of the others
    does.
    """
    return _mark(a, frozenset().union(*map(_varying, others)))


def _mark(a: Array, axes: frozenset[str]) -> Array:
    missing = tuple(sorted(axes - _varying(a)))
    return jax.lax.pcast(a, missing, to="varying") if missing else a


def _varying(a: Array) -> frozenset[str]:
    kind = jax.typeof(a)
    # The name since jax 0.10, and the one before.
    since = getattr(kind, "manual_axis_type", None)
    return kind.vma if since is None else since.varying
