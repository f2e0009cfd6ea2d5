"""What the picture of a Kolmogorov-Arnold network shows, as arrays.

The picture is that of Liu et al. (2024), arXiv 2404.19756, figures 2.4 and 4.1, with
the attribution scores of KAN 2.0, arXiv 2408.10205.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import compiling
from kanjax.kan import multiplication
from kanjax.kan.attribution import attribute, edge_activations
from kanjax.kan.networks import KAN

SAMPLES = 256
"""How many samples at most draw the curves of a :class:`Diagram`."""


class Diagram(NamedTuple):
    """A network's units and edges with their scores and curves, layer by layer.

    Attributes:
        widths: the number of units of each layer, inputs first.
        products: for each layer, how many of its units, the last ones, multiply.
        unit_of_sum: for each layer (sums,), the unit that a sum belongs to.
        edges: for each layer (in, sums), whether there is an edge.
        scores: for each layer (in, sums), the attribution score of an edge.
        formulas: for each layer, the function's name of an edge (source, sum) that is
            a formula.
        inputs: for each layer (samples, in), what its edges take.
        curves: for each layer (samples, in, sums), what its edges give.
    """

    widths: tuple[int, ...]
    products: tuple[int, ...]
    unit_of_sum: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]
    formulas: tuple[dict[tuple[int, int], str], ...]
    inputs: tuple[np.ndarray, ...]
    curves: tuple[np.ndarray, ...]


def diagram(model: KAN, params: Sequence[Any], x: Float[Array, "batch in"]) -> Diagram:
    """Return what :func:`kanjax.plotting.network` draws; not under ``jit``.

    Args:
        model: the network.
        params: its parameters, of one member.
        x: (batch, in), the samples on which edges are scored; the first 256 of them
            draw the curves.

    Raises:
        TypeError: if model is no KAN.
        ValueError: if x does not fit the model.

    Examples:
        >>> import jax
        >>> net = KAN((2, 3, 1))
        >>> x = jax.random.uniform(jax.random.key(1), (60, 2))
        >>> diagram(net, net.init(jax.random.key(0)), x).scores[0].shape
        (2, 3)
    """
    if not isinstance(model, KAN):
        raise TypeError(f"model must be a KAN; got {type(model).__name__}.")
    if jnp.ndim(x) != 2 or jnp.shape(x)[1] != model.widths[0]:
        raise ValueError(
            f"x has shape {jnp.shape(x)}; it must be (batch, {model.widths[0]})."
        )
    layers, few = model.layers, x[:SAMPLES]
    scores, inputs, curves = jax.device_get(_measured(model, params, x, few))
    return Diagram(
        widths=model.widths,
        products=model.products or (0,) * len(layers),
        unit_of_sum=tuple(map(multiplication.unit_of_sum, layers)),
        edges=tuple(map(multiplication.alive, layers)),
        scores=scores,
        formulas=tuple(
            {
                (edge.source, edge.target): edge.function
                for edge in multiplication.formulas(layer)
            }
            for layer in layers
        ),
        inputs=inputs,
        curves=curves,
    )


@compiling.jit_soon
def _measured(
    model: KAN, params: Sequence[Any], x: Array, few: Array
) -> tuple[Any, Any, Any]:
    """Return scores on all samples, and of a few what edges take and give."""
    inputs = model.activations(params, few)[:-1]
    curves = edge_activations(model, params, few)
    return attribute(model, params, x).edges, inputs, curves
