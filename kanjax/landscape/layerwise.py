"""Barriers of single layers: only these leaves move, all others stay.

Adilova, Andriushchenko, Kamp, Fischer, Jaggi 2024, "Layer-wise Linear Mode
Connectivity", arXiv 2307.06966; the prediction from curvature is the second-order
estimate of kanjax.landscape.barrier_estimates with D zero outside of the layer.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, linalg, pytrees
from kanjax.landscape import barrier_estimates, barriers, paths

Params = pytrees.Params
Layers = Mapping[str, Sequence[str]]
"""For every layer's name the paths of its leaves, as Python writes them."""


def layer_leaves(params: Params) -> dict[str, tuple[str, ...]]:
    """Return the layers of a pytree: leaves whose paths agree in all but the last key.

    Args:
        params: any pytree.

    Examples:
        >>> import jax.numpy as jnp
        >>> dense = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        >>> len(layer_leaves((dense, dense)))
        2
    """
    checks.check_real(params, "params")
    groups: dict[str, list[str]] = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        layer = checks.path_name(path[:-1])
        groups.setdefault(layer, []).append(checks.path_name(path))
    return {name: tuple(paths_) for name, paths_ in groups.items()}


def layer_barriers(
    loss: paths.Loss,
    a: Params,
    b: Params,
    *,
    layers: Layers | None = None,
    points: int = 11,
    others: Literal["a", "b"] = "a",
    reference: Literal["linear", "mean", "max", "models"] = "linear",
    batch_size: int | None = None,
) -> dict[str, barriers.Barrier]:
    """Return the barrier of each layer on its own.

    Along ``t(alpha)`` the layer's leaves go from a's to b's in a straight line, and all
    other leaves are those of one of the two networks throughout.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values.
        a: the solution at alpha 0.
        b: the solution at alpha 1.
        layers: for every name the paths of its leaves; layer_leaves(a) if None. Layers
            may overlap: see cumulative_layers.
        points: of each layer's path.
        others: whose the other leaves are.
        reference: as in barrier, with the two ends of the layer's own path; "models"
            is the mean of the losses of a and b themselves.
        batch_size: how many points are evaluated at once; one after the other if None.

    All layers are one compiled call.

    Raises:
        ValueError: if a and b do not match, if a layer names no leaf of theirs, or for
            a bad option.
    """
    pytrees.check_same(a, b, "a", "b")
    layers = layer_leaves(a) if layers is None else layers
    selected = masks(layers, a)
    if others not in ("a", "b"):
        raise ValueError(f"others is {others!r}; it must be 'a' or 'b'.")
    between = "mean" if reference == "models" else reference
    barriers.check_options(points, between)
    alphas = jnp.linspace(0.0, 1.0, points)
    fixed = 0.0 if others == "a" else 1.0
    grid = jnp.meshgrid(jnp.arange(len(layers)), alphas, indexing="ij")
    flat = tuple(g.ravel() for g in grid)
    losses = pytrees.evaluate(
        _loss_with_layer,
        flat,
        a,
        b,
        selected,
        static=(loss, fixed),
        batch_size=batch_size,
    )
    ends = jax.tree.map(lambda x, y: (x + y) / 2, loss(a), loss(b))
    result = {}
    for i, name in enumerate(layers):
        rows = slice(i * points, (i + 1) * points)
        layer_losses = jax.tree.map(lambda v, rows=rows: v[rows], losses)
        barrier = barriers.from_losses(alphas, layer_losses, between)
        if reference == "models":
            height = jax.tree.map(
                lambda v, e: jnp.max(v, axis=0) - e, layer_losses, ends
            )
            barrier = barrier._replace(height=height)
        result[name] = barrier
    return result


def layer_barriers_predicted(
    loss: barrier_estimates.ScalarLoss,
    a: Params,
    b: Params,
    *,
    layers: Layers | None = None,
    alpha: ArrayLike = 0.5,
    gradients: bool = False,
) -> dict[str, Float[Array, ""]]:
    """Each layer's barrier by the curvature that both networks see in it.

    ``alpha (1 - alpha) / 2  D_S^T [alpha H_a + (1 - alpha) H_b] D_S`` with D_S the
    difference of the two in the layer's leaves and zero elsewhere; it is meant to rank
    the layers.

    Args:
        loss: ``loss(params)``, a scalar.
        a: the solution at alpha 0.
        b: the solution at alpha 1.
        layers: as in layer_barriers.
        alpha: where on the segment, in [0, 1].
        gradients: whether to add the gradients' part, see barrier_second_order.

    Raises:
        ValueError: if a and b do not match, or if a layer names no leaf of theirs.
    """
    pytrees.check_same(a, b, "a", "b")
    layers = layer_leaves(a) if layers is None else layers
    selected = masks(layers, a)
    alpha = jnp.asarray(alpha, dtype=float)

    values = pytrees.evaluate(
        _predicted_barrier,
        selected,
        a,
        b,
        alpha,
        static=(loss, gradients),
        batch_size=None,
    )
    return dict(zip(layers, values, strict=True))


def cumulative_layers(
    layers: Layers, *, order: Literal["up", "down"] = "up"
) -> dict[str, tuple[str, ...]]:
    """Growing sets of layers, for layer_barriers: from the input up or the output down.

    A set is named by the layer that was added last. Layers count in the order given,
    which for layer_leaves is that of the leaves.
    """
    if order not in ("up", "down"):
        raise ValueError(f"order is {order!r}; it must be 'up' or 'down'.")
    names = list(layers) if order == "up" else list(layers)[::-1]
    sets = itertools.accumulate(tuple(layers[name]) for name in names)
    return dict(zip(names, sets, strict=True))


def masks(layers: Layers, params: Params) -> Array:
    """(layers, leaves): which leaves belong to each layer.

    Raises:
        ValueError: if there is no layer, or one names a leaf that params lacks.
    """
    if not layers:
        raise ValueError("layers is empty; give the paths of at least one layer.")
    known = [
        checks.path_name(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    for name, leaves in layers.items():
        for leaf in leaves:
            if leaf not in known:
                raise ValueError(
                    f"layers[{name!r}] names {leaf!r}, which a does not have; its "
                    f"leaves are {known}."
                )
    return jnp.array([[leaf in leaves for leaf in known] for leaves in layers.values()])


def _loss_with_layer(
    point: tuple[Array, Array],
    loss: paths.Loss,
    fixed: float,
    a: Params,
    b: Params,
    masks: Array,
) -> Any:
    """Return the loss with one layer at alpha on its path and the other layers
    fixed.
    """
    layer, alpha = point
    shares = [jnp.where(mask, alpha, fixed) for mask in masks[layer]]
    return loss(_mix(a, b, shares))


def _predicted_barrier(
    mask: Array,
    loss: barrier_estimates.ScalarLoss,
    gradients: bool,
    a: Params,
    b: Params,
    alpha: Array,
) -> Array:
    leaves, structure = jax.tree.flatten(pytrees.combine((1.0, -1.0), (b, a)))
    kept = [jnp.where(m, x, 0) for m, x in zip(mask, leaves, strict=True)]
    step = jax.tree.unflatten(structure, kept)
    first, last = (linalg.directional_derivatives(loss, p, step) for p in (a, b))
    total = (alpha * first.curvature + (1 - alpha) * last.curvature) / 2
    if gradients:
        total = total + first.slope - last.slope
    return alpha * (1 - alpha) * total


def _mix(a: Params, b: Params, shares: Sequence[Array]) -> Params:
    """Leaf by leaf, ``(1 - share) a + share b``."""
    leaves, structure = jax.tree.flatten(a)
    mixed = [
        pytrees.combine((1 - share, share), (x, y))
        for share, x, y in zip(shares, leaves, jax.tree.leaves(b), strict=True)
    ]
    return jax.tree.unflatten(structure, mixed)
