"""What the expansion kernels ask of a basis, and bases made of other ones."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array


@runtime_checkable
class Basis(Protocol):
    """A finite family of functions of one variable: a hashable pytree of arrays."""

    @property
    def size(self) -> int:
        """The number of functions."""
        ...

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """All functions at x (..., in); the new axis goes to -1 or -2."""
        ...

    def function(self, index: int | Array, x: Array) -> Array:
        """One function at x (..., in); ``index`` may be traced."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Single:
    """A basis of one function, which works element by element."""

    f: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})

    @property
    def size(self) -> int:
        """One."""
        return 1

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Return the function at x, with an axis of length one."""
        return jnp.expand_dims(self.f(x), axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Return the function at x."""
        return self.f(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Joined:
    """Several bases as one, their functions in turn."""

    parts: tuple[Any, ...]

    @property
    def size(self) -> int:
        """The functions of all parts."""
        return sum(basis.size for basis in self.parts)

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """All functions of all parts."""
        return jnp.concatenate([basis(x, axis=axis) for basis in self.parts], axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """One function of one part; all parts are evaluated."""
        value, first = jnp.zeros_like(x), 0
        for basis in self.parts:
            clipped = jnp.clip(index - first, 0, basis.size - 1)
            value = jnp.where(index >= first, basis.function(clipped, x), value)
            first += basis.size
        return value


def parts(basis: Any) -> list[tuple[int, Any]]:
    """Return the bases that a basis is made of, each with the place of its first
    function.
    """
    members = basis.parts if isinstance(basis, Joined) else (basis,)
    firsts = itertools.accumulate((member.size for member in members), initial=0)
    return list(zip(firsts, members, strict=False))


def derivative(f: Callable[[Array], Array], order: int) -> Callable[[Array], Array]:
    """Return the derivative of that order of a function that works element by
    element.
    """
    if order == 0:
        return f
    lower = derivative(f, order - 1)
    return lambda x: jax.jvp(lower, (x,), (jnp.ones_like(x),))[1]


def expand(basis: Any, x: Array, order: int) -> Array:
    """Return the derivatives of that order of all functions: x (..., in) -> (...,
    size, in).

    Half precision is evaluated in float32 and rounded once.
    """
    exact = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return derivative(lambda v: basis(v, axis=-2), order)(exact).astype(x.dtype)
