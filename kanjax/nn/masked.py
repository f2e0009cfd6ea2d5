"""Networks of examples of which some positions have nothing, such as padded words."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from kanjax import model
from kanjax.nn.aggregate import GraphNetwork

Mask = Array | None
Values = tuple[Array, Mask]


@model.dataclass
class Masked:
    """A network of examples of which some positions have nothing.

    Its data are pairs: ``apply(params, (x, mask))``, with x (n, *positions, channels)
    or tokens (n, *positions), and a boolean mask (n, *positions), True where there is
    something; what x has elsewhere is not read. Of a ``GraphNetwork``, x is a pair
    itself. Masked positions are zeroed after every layer; ``GlobalPool`` averages over,
    and attention attends to, unmasked positions. The output of a convolution or of
    pooling is unmasked where the center of its window is; that of a transposed
    convolution where its window holds no masked input.

    ``kj.ntk.infinite(network)(x, mask1=mask)`` is the limit of it.

    Args:
        network: of layers of :mod:`kanjax.nn`, in ``Sequential``, ``Residual``,
            ``Parallel``, ``Product``, ``Concatenate`` or ``GraphNetwork``. Any other
            layer must take what is zero for what is not there. One that moves
            positions has ``mask_after(mask)``, see :func:`mask_after`; one that is
            another function where something is missing, as attention is, has
            ``apply_masked(params, x, mask, *, key)``.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.Attention(4, heads=2), nn.GlobalPool(1)))
        >>> params = net.init(jax.random.key(0))
        >>> words = jax.random.normal(jax.random.key(1), (1, 5, 4))
        >>> mask = jnp.array([[True, True, True, False, False]])
        >>> y = nn.Masked(net).apply(params, (words, mask))
        >>> bool(jnp.allclose(y, net.apply(params, words[:, :3]), atol=1e-6))
        True
    """

    network: model.Model = model.child()

    def init(self, key: Array) -> model.Params:
        """Draw the network's parameters."""
        return self.network.init(key)

    def apply(self, params: model.Params, x: Any, *, key: Array | None = None) -> Array:
        """Return the network's outputs for a pair of x and its mask.

        Raises:
            ValueError: if it is no such pair, or for a layer that moves positions and
                does not say where something is after it.
        """
        if not isinstance(x, tuple) or len(x) != 2:
            raise ValueError(
                f"a Masked network takes pairs (x, mask); got {type(x).__name__}."
            )
        values, mask = x[0], jnp.asarray(x[1])
        network = self.network
        if isinstance(network, GraphNetwork):
            values, graph = values
            network = network.with_graph(graph)
        values = jnp.asarray(values)
        tokens = jnp.issubdtype(values.dtype, jnp.integer)
        shape = values.shape if tokens else values.shape[:-1]
        if mask.dtype != jnp.bool_ or mask.shape != shape:
            raise ValueError(
                f"the mask is {mask.dtype}{mask.shape}; it must be boolean and have "
                f"the shape {shape} of the positions of x."
            )
        there = mask if tokens else mask[..., None]
        values = jnp.where(there, values, 0)
        return propagate(network, params, values, mask, key=key)[0]


def mask_after(layer: Any, mask: Array) -> Mask:
    """Return where there is something after a layer.

    The layer's own ``mask_after(mask)`` says so; without it positions stay.

    Args:
        layer: such as a convolution.
        mask: (..., *positions), where there was something before it.

    Returns:
        (..., *new positions), or None if no positions are left.
    """
    method = getattr(layer, "mask_after", None)
    return mask if method is None else method(mask)


def propagate(
    network: Any, params: Any, x: Array, mask: Mask, *, key: Array | None = None
) -> Values:
    """Return a network's outputs, and where they have something.

    Args:
        network: as in :class:`Masked`.
        params: its parameters.
        x: (..., *positions, channels), 0 where the mask is False, or tokens.
        mask: (..., *positions); None if there are no positions, or all have something.
        key: for what is random.
    """
    return model.walk(network, params, (x, mask), _visit, _join, key=key)


def _visit(layer: Any, params: Any, values: Values, path: Any, key: Any) -> Values:
    x, mask = values
    if mask is None:
        return layer.apply(params, x, key=key), None
    if hasattr(layer, "apply_masked"):
        y = layer.apply_masked(params, x, mask, key=key)
    else:
        y = layer.apply(params, x, key=key)
    # Invariant: where the mask is False, x is 0, of which layers without words of their
    # own (sums, convolutions, dense layers without bias) take nothing.
    after = mask_after(layer, mask)
    if after is None:
        return y, None
    if y.shape[:-1] != after.shape:
        raise ValueError(
            f"positions {after.shape} go into {layer!r} and {y.shape[:-1]} come out: "
            "say where there is something after it by a method mask_after(mask)."
        )
    return jnp.where(after[..., None], y, 0), after


def _join(container: Any, values: Sequence[Values]) -> Values:
    """Something is wherever one of the branches has something."""
    outputs, masks = zip(*values, strict=True)
    y = container.join(outputs)
    # A branch without positions, such as a mean, is added to all.
    if any(mask is None for mask in masks):
        return y, None
    return y, functools.reduce(operator.or_, masks)
