"""What layers cost: their parameters, and floating-point operations for one input.

Source: Yang and Wang (2025), arXiv 2409.10594, table 2 and section 4.1. An operation is
one addition or multiplication.
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
    """Return a dense layer and its activation."""
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
    """Return a group-rational layer that shares its numerator."""
    m, n = orders
    edges = in_features * out_features
    parameters = edges + out_features + m + 1 + n * groups
    return Cost(parameters, rational_flops(orders) * in_features + 2 * edges)


def spline_flops(intervals: int = 3, degree: int = 3) -> float:
    """``9 K (G + 1.5 K) + 2 G - 2.5 K + 3``: one edge by the recursion of de Boor."""
    g, k = intervals, degree
    return 9 * k * (g + 1.5 * k) + 2 * g - 2.5 * k + 3


def rational_flops(orders: tuple[int, int] = (5, 4)) -> int:
    """``2 m + 2 n + 3``: one value by Horner's scheme."""
    m, n = orders
    return 2 * m + 2 * n + 3
