"""Whether two networks are one function, and transformations that leave it so.

Chen, Zhou, Yan (2023), arXiv 2310.06756: two networks are equivalent if invertible
maps of each layer's units make one's weights the other's; of maps that a layer of ReLUs
lets through, these are permutations and positive scales. Features that interpolate as
weights do: Zhou, Yang, Yang, Yan, Hu (2023), arXiv 2307.08286.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.representation import unit_pruning

if TYPE_CHECKING:
    from kanjax.symmetry import PermutationSpec

Params = Any


def rescale_units(
    params: Params,
    spec: "PermutationSpec",
    scale: Mapping[str, Float[Array, " units"]],
    *,
    channel_axis: int = -1,
) -> Params:
    """Multiply what comes into units by positive factors, and divide what goes out.

    With :func:`kanjax.symmetry.apply_permutation` all transformations that a layer of
    ReLUs lets through: a natural isomorphism, in the paper's words.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        scale: for sets of units, the factors.
        channel_axis: as for :func:`~kanjax.representation.unit_merging.merge_pair`.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """

    def multiply(leaf: Array, axis: int, factors: Array) -> Array:
        comes_in = leaf.ndim == 1 or axis == channel_axis % leaf.ndim
        shape = [1] * leaf.ndim
        shape[axis] = len(factors)
        return leaf * (factors if comes_in else 1 / factors).reshape(shape)

    return unit_pruning.change_units(params, spec, scale, multiply)


def naturality_gap(params: Params, other: Params) -> Float[Array, ""]:
    """Return how far two networks' weights are from each other, layer by layer.

    ``max_l |W_l - W'_l| / |W_l|`` over leaves with two axes or more. Of a network after
    a permutation and :func:`rescale_units` it is 0 if they make it the other.

    Args:
        params: of one network, moved.
        other: of the other, with the same shapes.
    """
    gaps = [
        jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(jnp.ravel(a))
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True)
        if jnp.ndim(a) > 1
    ]
    return jnp.max(jnp.stack(gaps))


def functional_gap(
    f: Callable[[Array], Array], other: Callable[[Array], Array], x: Array
) -> Float[Array, ""]:
    """Return the largest difference of two functions' outputs on data.

    Args:
        f: of inputs.
        other: of the same inputs.
        x: (n, ...), inputs.
    """
    return jnp.max(jnp.abs(f(x) - other(x)))


def layerwise_connectivity(
    activations: Callable[[Params, Array], Sequence[Array]],
    a: Params,
    b: Params,
    x: Array,
) -> list[Float[Array, ""]]:
    """Return how far each layer's features at the midpoint are from the mean features.

    ``1 - cos(Z((a + b) / 2), (Z(a) + Z(b)) / 2)``, all values of a layer as one vector:
    0 where features interpolate as the weights do.

    Args:
        activations: ``activations(params, x)``, the values of each layer.
        a: parameters of one network.
        b: of another, aligned to it.
        x: (n, ...), inputs.
    """
    middle = jax.tree.map(lambda p, q: (p + q) / 2, a, b)
    return [
        1 - _cosine(jnp.ravel(z), jnp.ravel((za + zb) / 2))
        for z, za, zb in zip(*(activations(p, x) for p in (middle, a, b)), strict=True)
    ]


def _cosine(a: Array, b: Array) -> Array:
    return jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
