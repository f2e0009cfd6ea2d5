"""The interface of a basis: a family of univariate functions."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

import pallas_kernels
from kanjax.checks import as_floating

Domain = tuple[float, float]


@runtime_checkable
class Basis(pallas_kernels.Basis, Protocol):
    """A finite family of functions of one variable, evaluated together."""

    @property
    def domain(self) -> Domain:
        """The interval that the functions are made for."""
        ...

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all functions at x.

        Args:
            x: points of any shape; where the basis has knots of its own for each
                input, the last axis of x runs over the inputs.
            axis: where the new axis over the functions goes: -1 gives
                (..., in, size), -2 gives (..., size, in).
        """
        ...

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one function at x, element by element.

        Args:
            index: which one; may be traced, and broadcasts against x.
            x: (...), as for all functions together.
        """
        ...


def all_functions(basis: Basis, x: Array, axis: int) -> Array:
    """Every function of a basis whose ``function`` takes an array of indices."""
    x = as_floating(x)
    x = jnp.expand_dims(x, axis)
    shape = [1] * x.ndim
    shape[axis] = basis.size
    return basis.function(jnp.arange(basis.size).reshape(shape), x)


def distance(
    domain: Domain, number: int, width: float | None, index: int | Array, x: Array
) -> Array:
    """``(x - c) / width``, c one of evenly spaced centres from low to high.

    A width of None is the distance of two centres.
    """
    x = as_floating(x)
    low, high = domain
    gap = (high - low) / (number - 1)
    center = low + jnp.asarray(index, x.dtype) * gap
    return (x - center) * (1 / (width or gap))


def to_unit(x: Array, domain: Domain) -> Array:
    """Map the domain onto [-1, 1] by the affine map that keeps order."""
    low, high = domain
    return (x - (low + high) / 2) * (2 / (high - low))


def check_domain(domain: Domain) -> None:
    """Raise ``ValueError`` unless the domain is a pair (low, high), low < high."""
    if len(domain) != 2 or not domain[0] < domain[1]:
        raise ValueError(f"domain must be (low, high) with low < high; got {domain}.")


def check_at_least(name: str, value: int, least: int) -> None:
    """Raise ``ValueError`` unless the integer is at least ``least``."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value}.")
