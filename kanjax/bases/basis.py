"""The interface of a basis: a family of univariate functions."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Domain = tuple[float, float]


@runtime_checkable
class Basis(Protocol):
    """A finite family of functions of one variable, evaluated together."""

    @property
    def size(self) -> int:
        """The number of functions."""
        ...

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


def along(values: Float[Array, " size"], axis: int) -> Array:
    """Shape a vector over the functions to broadcast against x with that axis."""
    return values.reshape(values.shape + (1,) * (-1 - axis))


def evenly(domain: Domain, number: int, x: Array) -> Float[Array, " number"]:
    """Evenly spaced points over the domain, both ends included, in x's dtype."""
    return jnp.linspace(*domain, number, dtype=x.dtype)


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
