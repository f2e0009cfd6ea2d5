"""What a fit checks of its arguments before anything is compiled."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.training.checkpoints import Checkpoint

Params = Any


def typed(key: Array) -> Array:
    """Return a typed PRNG key of any shape, also from raw uint32 data."""
    if jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(jnp.asarray(key))


def check_loss(loss: Any) -> None:
    """Refuse a network in the place of its loss."""
    if not callable(loss):
        raise TypeError(
            "loss must be a function loss(params, batch, key), such as "
            f"kj.training.regression(net.apply); got {type(loss).__name__}."
        )


def member_keys(key: Array, members: int) -> Array:
    """One key a member: split from one, or given."""
    keys = typed(key)
    if keys.ndim == 0:
        return jax.random.split(keys, members)
    if keys.shape != (members,):
        raise ValueError(
            f"key has shape {keys.shape}; give one key, or one for each of the "
            f"{members} members."
        )
    return keys


def leading(tree: Any, name: str, axis: str) -> int:
    """Return the common length of the leaves' leading axes."""
    lengths = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        if np.ndim(leaf) == 0:
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} is a scalar; every leaf needs a "
                f"leading {axis} axis."
            )
        lengths[f"{name}{jax.tree_util.keystr(path)}"] = np.shape(leaf)[0]
    if len(set(lengths.values())) != 1:
        seen = ", ".join(f"{leaf} {length}" for leaf, length in lengths.items())
        raise ValueError(
            f"the leaves of {name} must agree in their leading {axis} axis; got {seen}."
        )
    length = next(iter(lengths.values()))
    if length == 0:
        raise ValueError(f"{name} has no {axis}s: its leading axes have length 0.")
    return length


def check_state(state: Any, members: int) -> None:
    """Check that the leaves of an ensemble's state, if any, have its member axis."""
    if not jax.tree.leaves(state):
        return
    came = leading(state, "state", "member")
    if came != members:
        raise ValueError(
            f"state has {came} members and params {members}; give each member its own, "
            "e.g. jax.vmap(lambda key: net.initial_state())(keys)."
        )


def check_params(params: Params) -> None:
    """All leaves are floating point, and there is one at least."""
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError("params has no arrays; there is nothing to train.")
    for path, leaf in leaves:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} is {dtype}; every leaf is trained "
                "and must be floating point. Keep other arrays in the model."
            )


def check_counts(**counts: Any) -> None:
    """Each is a whole number of 1 or more."""
    for name, count in counts.items():
        is_integer = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not is_integer or count < 1:
            raise ValueError(
                f"{name} is {count!r}; it must be an integer of 1 or more."
            )


def check_optional(
    batch_size: int | None,
    patience: int | None,
    examples: int,
    validated: bool,
) -> None:
    """Check the settings that may be absent, where they are not."""
    if batch_size is not None:
        check_counts(batch_size=batch_size)
        if batch_size > examples:
            raise ValueError(
                f"batch_size is {batch_size}, but data has {examples} examples; give "
                "at most that, or None for all of them."
            )
    if patience is not None:
        check_counts(patience=patience)
        if not validated:
            raise ValueError("patience needs a validation loss: give validation data.")


def check_checkpoint(checkpoint: Checkpoint | None) -> None:
    """Check what a checkpoint is, how often it is written, and by how many."""
    if checkpoint is None:
        return
    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint is {checkpoint!r}; give training.Checkpoint(path)."
        )
    if checkpoint.every is not None:
        check_counts(every=checkpoint.every)
    if jax.process_count() > 1:
        raise ValueError(
            "checkpoint is for runs of one process, this one has "
            f"{jax.process_count()}; leave it out."
        )


def fingerprint(data: Any) -> int:
    """Return a checksum of the values, shapes and types of the data."""
    total = 0
    for leaf in jax.tree.leaves(data):
        array = np.ascontiguousarray(leaf)
        total = zlib.crc32(f"{array.shape}{array.dtype}".encode(), total)
        total = zlib.crc32(array.view(np.uint8).data, total)
    return total
