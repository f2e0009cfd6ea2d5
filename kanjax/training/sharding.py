"""Placing ensembles and batches on a mesh of devices.

A mesh has an axis ``"members"``, over which the members of an ensemble are spread, and
an axis ``"batch"``, over which the examples of each batch are; either may be absent.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MEMBERS = "members"
BATCH = "batch"


def member_mesh(devices: Sequence[Any] | None = None, *, batch: int = 1) -> Mesh:
    """Return a mesh of shape (devices / batch, batch) with axes ("members", "batch").

    Args:
        devices: all devices of all processes by default.
        batch: how many devices share the examples of one batch.

    Raises:
        ValueError: if ``batch`` does not divide the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    if batch < 1 or len(devices) % batch:
        raise ValueError(
            f"batch is {batch}, which does not divide the {len(devices)} devices; "
            "choose a divisor."
        )
    grid = np.array(devices, dtype=object).reshape(-1, batch)
    return Mesh(grid, (MEMBERS, BATCH), axis_types=(AxisType.Auto,) * 2)


def shard_members(tree: Any, mesh: Mesh) -> Any:
    """Spread the leading axis of every leaf over the mesh's members axis.

    Args:
        tree: a pytree of arrays.
        mesh: of devices.

    Raises:
        ValueError: if the axis does not divide into the devices along it.
    """
    return place(tree, mesh, MEMBERS)


def shard_batch(tree: Any, mesh: Mesh) -> Any:
    """Spread the leading axis of every leaf over the mesh's batch axis.

    Args:
        tree: a pytree of arrays.
        mesh: of devices.

    Raises:
        ValueError: if the axis does not divide into the devices along it.
    """
    return place(tree, mesh, BATCH)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Put a whole copy of every leaf on each device of the mesh.

    Args:
        tree: a pytree of arrays.
        mesh: of devices.
    """
    return place(tree, mesh)


def gather(tree: Any, mesh: Mesh) -> Any:
    """Bring every leaf to this process as a NumPy array, also from other processes.

    All processes of the mesh must call it together.

    Args:
        tree: a pytree of arrays.
        mesh: it is spread over.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        np.asarray, jax.jit(lambda leaves: leaves, out_shardings=replicated)(tree)
    )


def spec(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """Return the sharding whose leading axes go over the named ones that the mesh
    has.
    """
    return NamedSharding(
        mesh, PartitionSpec(*(a if a in mesh.axis_names else None for a in axes))
    )


def constrain(tree: Any, mesh: Mesh | None, *axes: str | None) -> Any:
    """Inside jit: keep every leaf spread by its leading axes; without mesh, nothing.

    Args:
        tree: a pytree of arrays.
        mesh: of devices, or None.
        *axes: the mesh's axis for each leading axis, or None.
    """
    if mesh is None:
        return tree
    sharding = spec(mesh, *axes)
    return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding), tree
    )


def place(tree: Any, mesh: Mesh, axis: str | None = None) -> Any:
    """Put every leaf on the mesh, its leading axis spread over one of the mesh's.

    Args:
        tree: a pytree of arrays.
        mesh: of devices.
        axis: of the mesh; None copies every leaf to all devices.
    """
    parts = mesh.shape.get(axis, 1) if axis else 1
    sharding = spec(mesh, axis) if axis else spec(mesh)

    def put(leaf: Any) -> jax.Array:
        shape = np.shape(leaf)
        if axis and (not shape or shape[0] % parts):
            raise ValueError(
                f"an array of shape {shape} cannot be spread over {parts} devices "
                f"along {axis!r}: make its leading axis a multiple of {parts}."
            )
        if isinstance(leaf, jax.Array):
            if leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
                return leaf
            if not sharding.is_fully_addressable:
                # A process-local array must be handed over as a plain value.
                leaf = np.asarray(leaf)
        return jax.device_put(leaf, sharding)

    return jax.tree.map(put, tree)
