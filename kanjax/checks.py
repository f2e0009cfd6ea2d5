"""Checks and casts of arguments, one rule for all rooms."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def as_floating(x: ArrayLike) -> Array:
    """The array itself, or integers and booleans in the default floating type.

    What a layer computes is real: knots, parameters and sums cast to integers would be
    cut off without a word.

    Args:
        x: of any shape and dtype.
    """
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


def check_real(params: Any, name: str) -> None:
    """Let only pytrees of real floating-point leaves pass.

    Args:
        params: a pytree.
        name: what the message calls it.

    Raises:
        TypeError: if a leaf is complex, or not of floating point.
        ValueError: if there is no leaf at all.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError(f"{name} has no leaves; give a pytree with parameters in it.")
    for path, leaf in leaves:
        where = path_name(path)
        if not isinstance(leaf, float | complex) and not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} at {where} is {leaf!r}, not an array. Keep the trained arrays "
                "apart from the rest, as equinox.partition does."
            )
        dtype = jnp.result_type(leaf)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"{name} at {where} has dtype {dtype}; only real parameters are "
                "served. Hold real and imaginary parts as two leaves and join them in "
                "the function."
            )
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{name} at {where} has dtype {dtype}; parameters must be "
                "floating-point. Close over whatever is not trained."
            )


def path_name(path: Sequence[Any]) -> str:
    """The path of a leaf as Python writes it, e.g. ``[0]['kernel']``."""
    return jax.tree_util.keystr(tuple(path)) or "the root"
