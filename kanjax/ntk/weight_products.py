"""The products of weights in a jaxpr, and the biases that are added to them.

Novak, Sohl-Dickstein, Schoenholz 2022, arXiv 2206.08720, section 3.4.

One pass over the equations follows a weight W with its bias b through

    W --reshape, transpose, * scalar--> dot or conv --* scalar--> + <--broadcast-- b

A value used twice is lost from sight: then the derivative in it is not that of one
product. What is not followed keeps its Jacobian; the kernel is right either way.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax import jaxprs

# What only moves entries about, so that the weights stay the parameters.
_MOVES = ("reshape", "transpose", "squeeze", "convert_element_type", "copy")


class Site(NamedTuple):
    """A product of a layer's inputs with weights that occur nowhere else.

    Attributes:
        equation: its index in the jaxpr.
        operand: which operand the weights are.
        leaves: the indices of the parameters that the weights are made of, and of any
            bias.
        factor: what the weights are multiplied with.
        bias: what a bias is multiplied with that is added to the product; 0 without.
    """

    equation: int
    operand: int
    leaves: frozenset[int]
    factor: float
    bias: float = 0.0


def find(jaxpr: Any, leaves: int) -> list[Site]:
    """Follow each parameter through moves to the one product that it is used in."""
    uses: dict[Any, int] = {}
    for equation in jaxpr.eqns:
        for v in equation.invars:
            if not jaxprs.is_literal(v):
                uses[v] = uses.get(v, 0) + 1
    for v in jaxpr.outvars:
        if not jaxprs.is_literal(v):
            uses[v] = uses.get(v, 0) + 1
    # Invariant: each entry of these values is ``factor`` times an entry of the leaves.
    weights = {
        v: (frozenset({i}), 1.0)
        for i, v in enumerate(jaxpr.invars[:leaves])
        if uses.get(v) == 1
    }
    sites: list[Site] = []
    candidates = _Candidates({}, {})
    for index, equation in enumerate(jaxpr.eqns):
        tracked: list[Any] = [
            weights.get(v) if not jaxprs.is_literal(v) else None
            for v in equation.invars
        ]
        once = uses.get(equation.outvars[0]) == 1
        if not any(tracked):
            _follow(equation, once, candidates, sites)
            continue
        moved = _moved(equation, tracked)
        if moved is not None:
            if once:
                weights[equation.outvars[0]] = moved
            continue
        operand = _product_operand(equation, tracked)
        if operand is not None:
            # The product itself may be used often: taps are added at its output.
            made_of, factor = tracked[operand]
            axes = _feature_axes(equation, operand)
            if once:
                candidates.products[equation.outvars[0]] = len(sites), 1.0, axes
            sites.append(Site(index, operand, made_of, factor))
        # A leaf that grows is no weight any more, but may be a bias.
        elif once and equation.primitive.name == "broadcast_in_dim":
            axes = equation.params["broadcast_dimensions"]
            shape = equation.invars[0].aval.shape
            wide = frozenset(a for a, n in zip(axes, shape, strict=True) if n > 1)
            candidates.spread[equation.outvars[0]] = *tracked[0], wide
        else:
            _follow(equation, once, candidates, sites, weights)
    return sites


class _Candidates(NamedTuple):
    """Values that may be a product and its bias, each used once.

    Attributes:
        products: of each, its site, what it was multiplied with since, and the axes of
            its features.
        spread: of each, the parameters, their factor, and the axes that they vary on.
    """

    products: dict[Any, tuple[int, float, frozenset[int]]]
    spread: dict[Any, tuple[frozenset[int], float, frozenset[int]]]


def _follow(
    equation: Any,
    once: bool,
    candidates: _Candidates,
    sites: list[Site],
    weights: dict[Any, tuple[frozenset[int], float]] | None = None,
) -> None:
    """Follow a product through a factor, and give it the bias that is added to it."""
    name, operands = equation.primitive.name, equation.invars
    if name not in ("mul", "add") or len(operands) != 2:
        return
    for v, other in (operands, operands[::-1]):
        if jaxprs.is_literal(v) or v not in candidates.products:
            continue
        site, factor, features = candidates.products[v]
        # f * (x W) + b = f * (x W + b / f): the bias is taken into the product.
        if name == "mul":
            if (
                once
                and jaxprs.is_literal(other)
                and jnp.ndim(other.val) == 0
                and other.val
            ):
                scaled = factor * float(other.val)
                candidates.products[equation.outvars[0]] = site, scaled, features
            return
        bias = _bias(other, candidates, weights or {})
        # Only a bias with exactly the features' axes is one more, constant input; one
        # for each position has a share of its own.
        if bias is not None and bias[2] == features:
            leaves = sites[site].leaves | bias[0]
            share = bias[1] / factor
            sites[site] = sites[site]._replace(leaves=leaves, bias=share)
        return


def _bias(
    v: Any, candidates: _Candidates, weights: dict[Any, tuple[frozenset[int], float]]
) -> tuple[frozenset[int], float, frozenset[int]] | None:
    if jaxprs.is_literal(v):
        return None
    if v in weights:
        wide = frozenset(a for a, n in enumerate(v.aval.shape) if n > 1)
        return *weights[v], wide
    return candidates.spread.get(v)


def _feature_axes(equation: Any, operand: int) -> frozenset[int]:
    """Return the axes of a product's outputs that its weights have, where longer than
    1.
    """
    out = equation.outvars[0].aval
    if equation.primitive.name == "conv_general_dilated":
        axes: Sequence[int] = equation.params["dimension_numbers"].out_spec[1:2]
    else:
        contracted = equation.params["dimension_numbers"][0][operand]
        free = equation.invars[operand].aval.ndim - len(contracted)
        axes = range(free) if operand == 0 else range(out.ndim - free, out.ndim)
    return frozenset(a for a in axes if out.shape[a] > 1)


def _moved(equation: Any, tracked: list) -> tuple[frozenset[int], float] | None:
    """Return what the output is made of, if its entries are those of the weights."""
    name, out = equation.primitive.name, equation.outvars[0].aval
    if name in _MOVES or (
        name == "broadcast_in_dim" and out.size == equation.invars[0].aval.size
    ):
        return tracked[0] if jnp.issubdtype(out.dtype, jnp.floating) else None
    if name == "mul":
        for mine, other in ((0, 1), (1, 0)):
            v = equation.invars[other]
            if tracked[mine] and jaxprs.is_literal(v) and jnp.ndim(v.val) == 0:
                return tracked[mine][0], tracked[mine][1] * float(v.val)
    if name == "concatenate" and all(tracked):
        # Joined weights are one site with the leaves of all, if one factor serves.
        factors = {factor for _, factor in tracked}
        if len(factors) == 1:
            return frozenset().union(*(axes for axes, _ in tracked)), factors.pop()
    return None


def _product_operand(equation: Any, tracked: list) -> int | None:
    """Which operand the weights of a product of ours are; None for any other."""
    if sum(weight is not None for weight in tracked) != 1:
        return None
    operand = next(i for i, weight in enumerate(tracked) if weight is not None)
    if equation.primitive.name == "dot_general":
        # A batched product has other weights for each batch entry.
        batch = equation.params["dimension_numbers"][1][operand]
        return operand if not batch else None
    if equation.primitive.name == "conv_general_dilated" and operand == 1:
        groups = ("feature_group_count", "batch_group_count")
        return 1 if all(equation.params[g] == 1 for g in groups) else None
    return None
