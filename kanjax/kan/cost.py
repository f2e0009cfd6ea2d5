"""What layers cost: their parameters, and floating-point operations for one input.

Source: Yang and Wang (2025), arXiv 2409.10594, table 2 and section 4.1; of attention,
Maity et al. (2025), arXiv 2503.10632. An operation is one addition or multiplication.
"""

from typing import NamedTuple

SILU_FLOPS = 4
"""Operations of a SiLU: an exponential, an addition, a division and a product."""


class Cost(NamedTuple):
    """A layer's cost.

    Attributes:
        parameters: number of trained numbers.
        flops: floating-point operations for one input vector.
    """

    parameters: int
    flops: float


def dense_cost(
    in_features: int, out_features: int, *, activation_flops: float = SILU_FLOPS
) -> Cost:
    """Return a dense layer and its activation.

    Args:
        in_features: of the layer.
        out_features: likewise.
        activation_flops: of one activation.
    """
    edges = in_features * out_features
    return Cost(edges + out_features, 2 * edges + activation_flops * out_features)


def spline_cost(
    in_features: int,
    out_features: int,
    *,
    intervals: int = 3,
    degree: int = 3,
    activation_flops: float = SILU_FLOPS,
) -> Cost:
    """Return a layer of B-splines whose every edge evaluates its own, as in the first
    KANs.

    Args:
        in_features: of the layer.
        out_features: likewise.
        intervals: G, of the grid.
        degree: K, of the splines.
        activation_flops: of the activation beside each spline.
    """
    edges = in_features * out_features
    parameters = edges * (intervals + degree + 3) + out_features
    flops = activation_flops * in_features + edges * spline_flops(intervals, degree)
    return Cost(parameters, flops)


def rational_cost(
    in_features: int,
    out_features: int,
    *,
    groups: int = 8,
    orders: tuple[int, int] = (5, 4),
) -> Cost:
    """Return a group-rational layer that shares its numerator.

    Args:
        in_features: of the layer.
        out_features: likewise.
        groups: of inputs that share a function.
        orders: (m, n), of numerator and denominator.
    """
    m, n = orders
    edges = in_features * out_features
    parameters = edges + out_features + m + 1 + n * groups
    return Cost(parameters, rational_flops(orders) * in_features + 2 * edges)


def spline_flops(intervals: int = 3, degree: int = 3) -> float:
    """``9 K (G + 1.5 K) + 2 G - 2.5 K + 3``: one edge by the recursion of de Boor.

    Args:
        intervals: G, of the grid.
        degree: K, of the splines.
    """
    g, k = intervals, degree
    return 9 * k * (g + 1.5 * k) + 2 * g - 2.5 * k + 3


def rational_flops(orders: tuple[int, int] = (5, 4)) -> int:
    """``2 m + 2 n + 3``: one value by Horner's scheme.

    Args:
        orders: (m, n), of numerator and denominator.
    """
    m, n = orders
    return 2 * m + 2 * n + 3


def attention_operator_cost(
    tokens: int,
    rank: int = 12,
    size: int = 6,
    *,
    heads: int,
    depth: int,
    universal: bool = False,
    edge_scales: int = 2,
) -> Cost:
    """Return what the operators of a vision transformer add to it.

    ``(size + edge_scales + 1) N r`` parameters each, and ``2 (size + 1) N^2 r``
    operations for one image in every head of every block: products with the functions'
    values and with W, not the values themselves. Source: Maity et al. (2025), arXiv
    2503.10632, table 13.

    Args:
        tokens: N, the class token among them.
        rank: r.
        size: number of functions of the basis, twice the harmonics of a series.
        heads: of a block.
        depth: number of blocks.
        universal: whether all blocks share their operators.
        edge_scales: trained factors of an edge beside its coefficients: 2 in the
            published code, of the basis and of a base function that is zero, and 0 in
            :class:`kanjax.kan.AttentionOperator`.

    Examples:
        >>> round(attention_operator_cost(197, heads=3, depth=12).parameters / 1e6, 2)
        0.77
    """
    edges = tokens * rank
    operators = heads * (1 if universal else depth)
    flops = 2 * (size + 1) * edges * tokens * heads * depth
    return Cost(operators * (size + edge_scales + 1) * edges, flops)
