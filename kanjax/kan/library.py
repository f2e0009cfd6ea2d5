"""The functions that edges are read as: one definition for numbers and for formulas.

Source: the list and the complexities are those of Liu et al. (2024), KAN 2.0,
arXiv 2408.10205.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_CLOSEST_TO_POLE = 1e-3
_CLOSEST = 1e-6
_LARGEST_EXPONENT = 60.0


class Function(NamedTuple):
    """An entry of the library.

    Attributes:
        evaluate: (namespace, u) -> f(u), with jax.numpy, numpy or sympy as the
            namespace, so that the fit and the formula are one definition.
        complexity: what choosing this function costs.
        inside: (namespace, u) -> the nearest u at which f and its derivative are
            finite; where they are, u itself. The namespace is jax.numpy or numpy.
    """

    evaluate: Callable[[Any, Any], Any]
    complexity: int
    inside: Callable[[Any, Any], Any] = lambda m, u: u

    def finite(self, m: Any, u: Any) -> Any:
        """f at the nearest u at which it is finite; m is jax.numpy or numpy."""
        return self.evaluate(m, self.inside(m, u))


def _not_zero(m: Any, u: Any) -> Any:
    return m.where(
        u < 0, m.minimum(u, -_CLOSEST_TO_POLE), m.maximum(u, _CLOSEST_TO_POLE)
    )


def _positive(m: Any, u: Any) -> Any:
    return m.maximum(u, _CLOSEST)


def _within_one(m: Any, u: Any) -> Any:
    return m.clip(u, -1 + _CLOSEST, 1 - _CLOSEST)


# Powers are products of squares: numpy takes twenty times as long for u**3.
LIBRARY: dict[str, Function] = {
    "0": Function(lambda m, u: 0 * u, 0),
    "x": Function(lambda m, u: u, 1),
    "x^2": Function(lambda m, u: u**2, 2),
    "x^3": Function(lambda m, u: u * u**2, 3),
    "x^4": Function(lambda m, u: (u**2) ** 2, 3),
    "x^5": Function(lambda m, u: u * (u**2) ** 2, 3),
    "1/x": Function(lambda m, u: 1 / u, 2, _not_zero),
    "1/x^2": Function(lambda m, u: 1 / u**2, 2, _not_zero),
    "1/x^3": Function(lambda m, u: 1 / (u * u**2), 3, _not_zero),
    "1/x^4": Function(lambda m, u: 1 / (u**2) ** 2, 4, _not_zero),
    "1/x^5": Function(lambda m, u: 1 / (u * (u**2) ** 2), 5, _not_zero),
    "sqrt": Function(lambda m, u: m.sqrt(u), 2, _positive),
    "x^1.5": Function(lambda m, u: u * m.sqrt(u), 4, _positive),
    "1/sqrt": Function(lambda m, u: 1 / m.sqrt(u), 2, _positive),
    "exp": Function(
        lambda m, u: m.exp(u), 2, lambda m, u: m.minimum(u, _LARGEST_EXPONENT)
    ),
    "log": Function(lambda m, u: m.log(u), 2, _positive),
    "abs": Function(lambda m, u: abs(u), 3),
    "sin": Function(lambda m, u: m.sin(u), 2),
    "cos": Function(lambda m, u: m.cos(u), 2),
    "tan": Function(lambda m, u: m.tan(u), 3),
    "tanh": Function(lambda m, u: m.tanh(u), 3),
    "sgn": Function(lambda m, u: m.sign(u), 3),
    "arcsin": Function(lambda m, u: m.asin(u), 4, _within_one),
    "arccos": Function(lambda m, u: m.acos(u), 4, _within_one),
    "arctan": Function(lambda m, u: m.atan(u), 4),
    "arctanh": Function(lambda m, u: m.atanh(u), 4, _within_one),
    "gaussian": Function(lambda m, u: m.exp(-(u**2)), 3),
}
"""Functions by name."""

DEFAULT = tuple(name for name in LIBRARY if name not in ("cos", "arccos"))
"""What is tried unless names are given: cos is sin with another b, arccos an arcsin."""


def check_names(library: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a library, ``DEFAULT`` for None.

    Raises:
        ValueError: for an unknown name, with the nearest, or an empty library.
    """
    names = tuple(DEFAULT if library is None else library)
    if not names:
        raise ValueError("library is empty; name at least one function.")
    for name in names:
        if name not in LIBRARY:
            near = difflib.get_close_matches(str(name), LIBRARY, n=1, cutoff=0)[0]
            raise ValueError(f"no function {name!r} in the library; nearest: {near!r}.")
    return names
