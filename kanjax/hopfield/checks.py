"""Checks of arguments whose values are known; what jax traces passes unseen."""

from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.checks import as_floating
from kanjax.checks import check_count as check_count


def check_spins(name: str, values: Any) -> Array:
    """Return the values as floating point, each of them -1 or +1.

    Raises:
        ValueError: if one is not, or if there are none.
    """
    spins = jnp.asarray(values)
    if spins.size == 0:
        raise ValueError(f"{name} is empty, of shape {spins.shape}; give at least one.")
    known = known_values(spins)
    if known is not None and not np.all(np.abs(known) == 1):
        wrong = known[np.abs(known) != 1].flat[0]
        raise ValueError(
            f"{name} must hold -1 and +1 only; got {wrong!s}. Use "
            f"jnp.where({name} > 0, 1.0, -1.0) to make spins of real values."
        )
    return spins.astype(jnp.promote_types(spins.dtype, jnp.float32))


def check_beta(beta: Any) -> Array:
    """Return the inverse temperature as an array, above zero; infinity is allowed.

    Raises:
        ValueError: if one is not above zero.
    """
    array = jnp.asarray(beta, dtype=jnp.result_type(float))
    known = known_values(array)
    if known is not None and not np.all(known > 0):
        raise ValueError(f"beta must be positive; got {beta!r}.")
    return array


def check_patterns(patterns: Any, width: int | None = None) -> Array:
    """Check stored patterns (patterns, features), at least one of them.

    Raises:
        ValueError: for another number of axes, for no pattern, or another width.
    """
    array = jnp.asarray(patterns)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            "patterns must have shape (patterns, features) with at least one of each; "
            f"got {array.shape}. Map over sets of them by jax.vmap."
        )
    if width is not None and array.shape[-1] != width:
        raise ValueError(
            f"patterns have {array.shape[-1]} features, the state has {width}; they "
            "must agree."
        )
    return as_floating(array)


def check_share(name: str, value: Any) -> Array:
    """Return the value as floating point, in [0, 1].

    Raises:
        ValueError: if one is not.
    """
    return _check_range(name, value, "lie in [0, 1]", lambda v: (v >= 0) & (v <= 1))


def check_dilution(value: Any) -> Array:
    """Return the probability of a blank entry as floating point, in [0, 1).

    Raises:
        ValueError: if one is not.
    """
    return _check_range(
        "dilution", value, "lie in [0, 1)", lambda v: (v >= 0) & (v < 1)
    )


def check_quality(value: Any) -> Array:
    """Return the quality of examples as floating point, in (0, 1].

    Raises:
        ValueError: if one is not.
    """
    return _check_range("quality", value, "lie in (0, 1]", lambda v: (v > 0) & (v <= 1))


def check_entropy(value: Any) -> Array:
    """Return the entropy of a data set as floating point, at least 0.

    Raises:
        ValueError: if one is not.
    """
    return _check_range("entropy", value, "be at least 0", lambda v: v >= 0)


def check_load(value: Any) -> Array:
    """Return the load as floating point, at least 0.

    Raises:
        ValueError: if one is not.
    """
    return _check_range("load", value, "be at least 0", lambda v: v >= 0)


def check_point(scaled_beta: Any, load: Any, order: Any) -> tuple[Array, Array]:
    """Return beta and load of a model of products of ``order`` spins as floats.

    Raises:
        ValueError: for a beta that is not positive, a negative load, or an order that
            is no integer of at least 2.
    """
    check_count("order", order, 2)
    return check_beta(scaled_beta), check_load(load)


def check_double(name: str) -> None:
    """Raise ``ValueError`` unless double precision is on."""
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            f"{name} needs double precision: call it inside of `with "
            "jax.enable_x64(True):`."
        )


def known_values(array: Array) -> np.ndarray | None:
    """Return what the array holds, or None while jax traces it."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def _check_range(name: str, value: Any, what: str, test: Any) -> Array:
    # As it came: under jit even the array of a number is traced.
    if not isinstance(value, jax.core.Tracer) and not np.all(test(np.asarray(value))):
        raise ValueError(f"{name} must {what}; got {value!s}.")
    return jnp.asarray(value, jnp.result_type(float))
