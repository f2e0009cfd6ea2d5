"""Random directions in parameter space, scaled like the parameters.

Li, Xu, Taylor, Studer, Goldstein 2018, "Visualizing the Loss Landscape of Neural
Nets", arXiv 1712.09913, section 4.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import checks, pytrees, unit_trace

Params = pytrees.Params
FilterAxis = int | Callable[[str, Array], int] | Any
"""Where a leaf counts its filters: an axis, a function of path and leaf, or a pytree
of axes (a prefix of the parameters' pytree will do)."""

NORMALIZATIONS = ("filter", "layer", "weight")

# The authors' code adds this much to the norm that it divides by.
_TINY = 1e-10


def random_direction(
    key: Array,
    params: Params,
    *,
    normalize: Literal["filter", "layer", "weight"] | None = "filter",
    filter_axis: FilterAxis = -1,
    ignore: Literal["biasbn"] | None = "biasbn",
) -> Params:
    """Return a Gaussian direction like params, given the scale of params.

    Args:
        key: of the Gaussian.
        params: a pytree of floating-point arrays.
        normalize: "filter" gives each filter of the direction the norm that the same
            filter has in params, ``d <- d |w| / (|d| + 1e-10)``; "layer" does so for
            whole leaves; "weight" multiplies entry by entry, ``d <- d w``; None leaves
            the Gaussian.
        filter_axis: the axis that counts filters, one filter being all weights into
            one unit. The last by default, as in dense kernels (in, out), convolutions
            (..., in, out) and KAN coefficients (size, in, out); 0 for equinox's and
            torch's (out, in, ...). Also a function ``(path, leaf) -> axis``, path
            being like ``[0]['kernel']``, or a pytree of axes.
        ignore: "biasbn" makes the direction zero on leaves with at most one axis
            (biases and normalisation). None copies these leaves from params, as the
            authors' code does, or keeps the Gaussian when normalize is None.

    Raises:
        ValueError: for an unknown normalize or ignore, or an axis that a leaf lacks.
        TypeError: if a leaf of params is not a floating-point array.
    """
    checks.check_real(params, "params")
    if normalize not in (*NORMALIZATIONS, None):
        raise ValueError(
            f"normalize is {normalize!r}; it must be one of "
            f"{', '.join(map(repr, NORMALIZATIONS))} or None."
        )
    if ignore not in ("biasbn", None):
        raise ValueError(f"ignore is {ignore!r}; it must be 'biasbn' or None.")
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    axes = _filter_axes(filter_axis, params)
    keys = jax.random.split(key, len(leaves))
    direction = []
    for (path, leaf), axis, leaf_key in zip(leaves, axes, keys, strict=True):
        w = jnp.asarray(leaf)
        d = jax.random.normal(leaf_key, w.shape, w.dtype)
        if w.ndim <= 1 and ignore == "biasbn":
            d = jnp.zeros_like(w)
        elif w.ndim <= 1 and normalize is not None:
            d = w
        elif normalize == "weight":
            d = d * w
        elif normalize is not None:
            filters = None if normalize == "layer" else _check_axis(axis, w, path)
            d = _rescale(d, w, filters)
        direction.append(d)
    return jax.tree.unflatten(structure, direction)


def random_directions(
    key: Array,
    params: Params,
    *,
    normalize: Literal["filter", "layer", "weight"] | None = "filter",
    filter_axis: FilterAxis = -1,
    ignore: Literal["biasbn"] | None = "biasbn",
) -> tuple[Params, Params]:
    """Two independent directions for a plane; options as in random_direction.

    Args:
        key: of both.
        params: whose shapes and norms they have.
        normalize: as in random_direction.
        filter_axis: likewise.
        ignore: likewise.
    """
    first, second = (
        random_direction(
            k, params, normalize=normalize, filter_axis=filter_axis, ignore=ignore
        )
        for k in jax.random.split(key)
    )
    return first, second


def filter_axes(params: Params, model: Any = None) -> Any:
    """Which axis of each leaf counts its filters, as a value for random_direction.

    Args:
        params: parameters of one of our models, of flax (linen or nnx) or equinox.
        model: one of our models: each layer says itself which axis is its outputs'.
            Without it leaves named ``weight`` (equinox, torch: (out, in, ...)) count
            filters along the first axis and all others along the last.

    Returns:
        A pytree of integers like params.

    Examples:
        >>> filter_axes({"weight": jnp.ones((3, 2)), "kernel": jnp.ones((2, 3))})
        {'kernel': -1, 'weight': 0}
    """
    if model is not None:
        axes = unit_trace.trace(model, params).output_axes
        return jax.tree.unflatten(jax.tree.structure(params), axes)

    def by_name(path: Any, leaf: Any) -> int:
        name = re.sub(r"\W", "", checks.path_name(path[-1:]))
        return 0 if name == "weight" else -1

    return jax.tree_util.tree_map_with_path(by_name, params)


def _rescale(d: Array, w: Array, filters: int | None) -> Array:
    """Give d the norm of w: in each slice along an axis, or as a whole if None."""
    others = tuple(i for i in range(w.ndim) if i != filters)
    wide = jnp.promote_types(w.dtype, jnp.float32)
    d_norm, w_norm = (
        jnp.sqrt(jnp.sum(jnp.abs(x.astype(wide)) ** 2, axis=others, keepdims=True))
        for x in (d, w)
    )
    return (d.astype(wide) * (w_norm / (d_norm + _TINY))).astype(w.dtype)


def _check_axis(axis: Any, w: Array, path: Any) -> int:
    if not isinstance(axis, int) or not -w.ndim <= axis < w.ndim:
        raise ValueError(
            f"filter_axis is {axis!r} at {checks.path_name(path)}, whose shape is "
            f"{w.shape}; it must be an integer from {-w.ndim} to {w.ndim - 1}."
        )
    return axis % w.ndim


def _filter_axes(filter_axis: FilterAxis, params: Params) -> list[Any]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if isinstance(filter_axis, int):
        return [filter_axis] * len(leaves)
    # A module of equinox that holds axes is callable, too.
    if callable(filter_axis) and jax.tree_util.all_leaves([filter_axis]):
        return [filter_axis(checks.path_name(path), leaf) for path, leaf in leaves]
    try:
        spread = jax.tree.map(
            lambda axis, branch: [axis] * len(jax.tree.leaves(branch)),
            filter_axis,
            params,
        )
    except ValueError as error:
        raise ValueError(
            "filter_axis must be an integer, a function of path and leaf, or a pytree "
            f"of integers that is a prefix of params: {error}"
        ) from error
    return jax.tree.leaves(spread)
