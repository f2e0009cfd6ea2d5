"""Checks and casts of arguments, one rule for all rooms."""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

Numbers = ArrayLike | Sequence[Any]
"""What becomes an array: what jax takes for one, or nested lists."""


def as_floating(x: Numbers) -> Array:
    """Return the array itself, or integers and booleans in the default floating type.

    What a layer computes is real: knots, parameters and sums cast to integers would be
    cut off without a word.

    Args:
        x: of any shape and dtype.
    """
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


def check_image_range(images: Array, name: str, *, slack: float = 0.0) -> None:
    """Refuse images whose values are not on [0, 1], where they are known.

    Args:
        images: of any shape.
        name: what the message calls them.
        slack: how far beyond they may lie, as the outputs of networks do.

    Raises:
        ValueError: with the range that came.
    """
    if isinstance(images, jax.core.Tracer) or not images.size:
        return
    # By NumPy: jax would trace the minimum of a known array, where a program is traced.
    values = np.asarray(images)
    low, high = float(values.min()), float(values.max())
    # So written that NaN is refused as well.
    if not (low >= -slack and high <= 1 + slack):
        raise ValueError(
            f"{name} must lie on [0, 1]; they run from {low:.4g} to {high:.4g}. "
            "Divide by 255 if they are bytes."
        )


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Let only an integer pass that is large enough.

    Args:
        name: what the message calls it.
        value: the number.
        least: the smallest that passes.

    Raises:
        ValueError: with what came.
    """
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}; got {value!r}."
        )


def check_positive(name: str, value: Any) -> None:
    """Let only positive, finite numbers pass; what jax traces passes unseen.

    Args:
        name: what the message calls them.
        value: a number, or an array of any shape.

    Raises:
        ValueError: with what came.
    """
    if isinstance(value, jax.core.Tracer):
        return
    known = np.asarray(value, np.float64)
    if not np.all((known > 0) & np.isfinite(known)):
        raise ValueError(f"{name} must be positive and finite; got {value!r}.")


def check_finite(samples: Any, name: str) -> None:
    """Let only numbers pass, no NaN or infinity; what jax traces passes unseen.

    Args:
        samples: (rows, ...).
        name: what the message calls them.

    Raises:
        ValueError: with the number of rows that are not finite, and the first.
    """
    if isinstance(samples, jax.core.Tracer):
        return
    known = np.asarray(samples)
    if not jnp.issubdtype(known.dtype, jnp.inexact) or known.ndim == 0:
        return
    wrong = ~np.isfinite(known.astype(np.float64)).reshape(len(known), -1).all(axis=1)
    if np.any(wrong):
        raise ValueError(
            f"{name} has NaN or infinity in {int(wrong.sum())} of {len(known)} rows, "
            f"first in row {int(np.argmax(wrong))}. Leave these rows out, e.g. "
            f"{name}[np.isfinite({name}).all(axis=1)]."
        )


def check_labels(labels: ArrayLike, classes: int) -> None:
    """Let only labels from 0 to classes - 1 pass; what jax traces passes unseen.

    Args:
        labels: integers of any shape.
        classes: how many there are.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if a label is no class.
    """
    array = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got {array.dtype}.")
    if isinstance(array, jax.core.Tracer):
        return
    known = np.asarray(array)
    outside = (known < 0) | (known >= classes)
    if np.any(outside):
        raise ValueError(
            f"labels hold {known[outside].flat[0]}, and {int(outside.sum())} of "
            f"{known.size} are no class: the {classes} classes are numbered from 0 to "
            f"{classes - 1}. Number them from 0, and drop rows without a label."
        )


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
                "apart from the rest, as kj.interop.from_equinox does."
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


def check_function(function: Any, name: str) -> None:
    """Refuse a network, or parameters, in the place of ``apply(params, x)``.

    Args:
        function: what came.
        name: what the message calls it.

    Raises:
        TypeError: for a module of flax or equinox, with what takes it apart, and for
            what cannot be called.
    """
    if library := foreign_library(function):
        raise TypeError(
            f"{name} is the {library} network {type(function).__name__}, which holds "
            "its parameters; take it apart first: apply, params = "
            f"kj.interop.from_{library}(network)."
        )
    if not callable(function):
        raise TypeError(
            f"{name} must be a function of parameters and inputs, such as net.apply; "
            f"got {_call_name(function)}."
        )


def check_loss(loss: Any) -> None:
    """Refuse a loss that wants more than parameters, as those of a training do.

    Args:
        loss: what came in the place of ``loss(params)``.

    Raises:
        TypeError: with what makes a function of the parameters of it.
    """
    try:
        inspect.signature(loss).bind(None)
    except ValueError:
        # Nobody knows what it takes.
        return
    except TypeError:
        raise TypeError(
            f"loss must be a function of the parameters alone; got {_call_name(loss)}. "
            "kj.training.on_batch(loss, data) makes one of a training's loss, and "
            "kj.training.regression(net.apply) such a loss of a network."
        ) from None


def _call_name(value: Any) -> str:
    """Return what a message calls a value: functions and models by name."""
    if callable(value):
        name = getattr(value, "__name__", type(value).__name__)
        return f"{name}({', '.join(inspect.signature(value).parameters)})"
    return repr(value) if hasattr(value, "apply") else f"a {type(value).__name__}"


def foreign_library(value: Any) -> str | None:
    """Return "flax" or "equinox" for a network of theirs, None for all else.

    Args:
        value: of any type.
    """
    kind = type(value)
    # Functions that equinox has wrapped are its modules, too.
    if kind.__module__.startswith("equinox._"):
        return None
    libraries = {base.__module__.partition(".")[0] for base in kind.__mro__}
    return next((name for name in ("flax", "equinox") if name in libraries), None)


def path_name(path: Sequence[Any]) -> str:
    """Return the path of a leaf as Python writes it, e.g. ``[0]['kernel']``."""
    return jax.tree_util.keystr(tuple(path)) or "the root"
