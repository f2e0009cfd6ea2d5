"""From an activation to its dual: the closed form where it is known.

Daniely, Frostig, Singer 2016, arXiv 1602.05897 (dual activations); Han, Zandieh, Lee,
Novak, Xiao, Karbasi 2022, arXiv 2209.04121 (closed forms and quadrature for NTKs).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from kanjax.gaussian import functions
from kanjax.gaussian.quadrature import (
    Dual,
    Function,
    dual_by_polar_quadrature,
    dual_by_quadrature,
)

DualFunction = Callable[[Array, Array, Array], Dual]
"""``dual(q11, q12, q22)``: from variances and covariance to expectations."""

_KNOWN: tuple[tuple[Any, functions.Known], ...] = (
    (jax.nn.relu, functions.relu()),
    (jax.nn.leaky_relu, functions.leaky_relu(0.01)),
    (jax.nn.identity, functions.ABReLU(1.0, 1.0)),
    (jnp.positive, functions.ABReLU(1.0, 1.0)),
    (jnp.abs, functions.absolute()),
    (jnp.sign, functions.Sign()),
    (jnp.sin, functions.Sine()),
    (jnp.cos, functions.cosine()),
    (jnp.exp, functions.Exponential()),
    (jnp.square, functions.monomial(2)),
    (jax.scipy.special.erf, functions.Erf()),
    (jax.lax.erf, functions.Erf()),
)
_KINK_AT_ZERO = (jax.nn.elu, jax.nn.selu, jax.nn.celu)


def dual(function: Function) -> DualFunction:
    """The dual of an activation, ``(q11, q12, q22) -> Dual(value, slope)``.

    Args:
        function: one of :mod:`kanjax.gaussian` or anything else with a method ``dual``,
            which is called; a function of jax with a closed form (relu, leaky_relu and
            its partials, identity, abs, sign, sin, cos, exp, square, erf, exact gelu);
            jax.nn.elu, selu or celu (polar quadrature); any other is taken as smooth
            (:func:`dual_by_quadrature`).

    Raises:
        TypeError: if function cannot be called.

    Example:
        >>> import jax
        >>> half = dual(jax.nn.relu)(1.0, 1.0, 1.0)
        >>> float(half.value), float(half.slope)
        (0.5, 0.5)
    """
    if not callable(function):
        raise TypeError(
            f"function must be an activation such as jax.nn.relu; got {function!r}."
        )
    known = _closed_form(function)
    if known is not None:
        chosen = known.dual
    elif any(_plain(function) is kinked for kinked in _KINK_AT_ZERO):
        chosen = functools.partial(dual_by_polar_quadrature, function)
    else:
        chosen = functools.partial(dual_by_quadrature, function)

    def of(q11: Any, q12: Any, q22: Any) -> Dual:
        q11, q12, q22 = (
            jnp.asarray(q, jnp.result_type(q, 1.0)) for q in (q11, q12, q22)
        )
        return Dual(*chosen(q11, q12, q22))

    return of


def is_homogeneous(function: Function) -> bool:
    """Whether ``function(x) = x function'(x)``: relu, its kin and the identity."""
    return isinstance(_closed_form(function), functions.ABReLU)


def _closed_form(function: Any) -> Any:
    """What knows its dual in place of a function, or None."""
    if hasattr(function, "dual"):
        return function
    for candidate, known in _KNOWN:
        if function is candidate:
            return known
    if isinstance(function, functools.partial) and not function.args:
        options = function.keywords
        if function.func is jax.nn.leaky_relu and set(options) == {"negative_slope"}:
            return functions.leaky_relu(float(options["negative_slope"]))
        if function.func is jax.nn.gelu and options == {"approximate": False}:
            return functions.Gelu()
    return None


def _plain(function: Any) -> Any:
    return function.func if isinstance(function, functools.partial) else function
