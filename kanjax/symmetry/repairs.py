"""Repairing what averaging two networks does to their activations.

Jordan, Sedghi, Saukh, Entezari, Neyshabur 2022, "REPAIR: REnormalizing Permuted
Activations for Interpolation Repair", arXiv 2211.08403.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from kanjax import checks, pytrees, unit_trace
from kanjax.scales import safe_scale

Params = pytrees.Params


class Affine(NamedTuple):
    """A layer whose outputs are ``weight . input + factor * bias``, for repair.

    Attributes:
        weight: the path of its weights' leaf, as Python writes it.
        axis: the axis of the weights that counts the layer's outputs.
        bias: the path of its biases' leaf, which has this axis alone.
        values: ``values(params, x)``, the layer's outputs (..., units), before any
            activation, when the network with these parameters is given x.
        factor: what multiplies the biases.
    """

    weight: str
    axis: int
    bias: str
    values: Callable[[Params, Array], Array]
    factor: float = 1.0


def affine_layers(model: Any) -> tuple[Affine, ...]:
    """Return the dense and convolution layers of a model, in order, for repair.

    Raises:
        ValueError: if a layer that mixes is neither, or has no bias to shift.
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    layers = []
    for number, met in enumerate(unit_trace.trace(model, shapes).mixing):
        roles = met.layer.parameter_axes()
        where = checks.path_name(met.path)
        is_affine = isinstance(roles, dict) and set(roles) == {"kernel", "bias"}
        if not is_affine:
            raise ValueError(
                f"the layer at {where}, {met.layer!r}, is not affine with a kernel and "
                "a bias, so its outputs cannot be rescaled and shifted. List the "
                "layers to repair by hand as Affine."
            )
        ntk = getattr(met.layer, "parameterization", "standard") == "ntk"
        layers.append(
            Affine(
                checks.path_name((*met.path, jax.tree_util.DictKey("kernel"))),
                len(roles["kernel"]) - 1,
                checks.path_name((*met.path, jax.tree_util.DictKey("bias"))),
                _outputs_of(model, number),
                met.layer.bias_scale if ntk else 1.0,
            )
        )
    return tuple(layers)


def _outputs_of(model: Any, number: int) -> Callable[[Params, Array], Array]:
    def values(params: Params, x: Array) -> Array:
        outputs = unit_trace.trace(model, params, x).mixing[number].outputs
        assert outputs is not None
        return outputs

    return values


def repair(
    layers: Sequence[Affine],
    a: Params,
    b: Params,
    x: Array,
    *,
    alpha: ArrayLike = 0.5,
) -> Params:
    """Interpolate two aligned networks and give their units back their statistics.

    A unit of the mean of two networks varies less than it does in either. For every
    layer in turn, mean and standard deviation of each unit's outputs on x are set to
    ``(1 - alpha) m_a + alpha m_b`` and ``(1 - alpha) s_a + alpha s_b``, with those of
    the interpolated network measured after all layers before it are repaired.

    Args:
        layers: from the input on; affine_layers(model) for our models.
        a: the one network, and b the other, aligned to it.
        b: the other network, already matched to a.
        x: (samples, ...), the inputs that statistics are taken on.
        alpha: (), 0 gives a and 1 gives b.

    For a network with batch normalisation, recompute its running statistics instead.

    Works under jit, vmap and grad.

    Raises:
        ValueError: if a and b do not match, or a layer names a leaf that they lack.
    """
    pytrees.check_same(a, b, "a", "b")
    alpha = jnp.asarray(alpha)
    leaves = jax.tree_util.tree_leaves_with_path(a)
    place = {checks.path_name(path): i for i, (path, _) in enumerate(leaves)}
    _check_layers(layers, place)
    merged = pytrees.combine((1 - alpha, alpha), (a, b))
    for layer in layers:
        goals = [_statistics(layer.values(p, x)) for p in (a, b)]
        mean, deviation = (
            (1 - alpha) * first + alpha * last
            for first, last in zip(*goals, strict=True)
        )
        now, spread = _statistics(layer.values(merged, x))
        # A unit that has stopped varying has nothing to be scaled up.
        dead = spread == 0
        scale = jnp.where(dead, 1.0, deviation / jnp.where(dead, 1.0, spread))
        values, structure = jax.tree.flatten(merged)
        w, b_ = values[place[layer.weight]], values[place[layer.bias]]
        along = [1] * w.ndim
        along[layer.axis] = scale.size
        shifted = (layer.factor * b_ - now) * scale + mean
        values[place[layer.weight]] = (w * scale.reshape(along)).astype(w.dtype)
        values[place[layer.bias]] = (shifted / layer.factor).astype(b_.dtype)
        merged = jax.tree.unflatten(structure, values)
    return merged


def _statistics(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each unit over everything else."""
    flat = values.reshape(-1, values.shape[-1])
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    mean = jnp.mean(flat, axis=0)
    unit = safe_scale(flat, axis=0)
    variance = jnp.mean(jnp.square((flat - mean[None]) / unit), axis=0)
    # The root of 0 has no slope; a dead unit's deviation is 0 with slope 0. So is that
    # of one whose values differ by round-off alone.
    still = variance <= (10 * jnp.finfo(flat.dtype).eps) ** 2
    safe = jnp.where(still, 1.0, variance)
    return mean, jnp.where(still, 0.0, unit[0] * jnp.sqrt(safe))


def _check_layers(layers: Sequence[Affine], place: dict[str, int]) -> None:
    for layer in layers:
        for leaf in (layer.weight, layer.bias):
            if leaf not in place:
                raise ValueError(
                    f"layers names the leaf {leaf!r}, which the parameters do not "
                    f"have; their leaves are {list(place)}."
                )
