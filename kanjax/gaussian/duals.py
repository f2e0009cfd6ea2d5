"""From an activation to its dual: the closed form where it is known.

Daniely, Frostig, Singer 2016, arXiv 1602.05897 (dual activations); Han, Zandieh, Lee,
Novak, Xiao, Karbasi 2022, arXiv 2209.04121 (closed forms and quadrature for NTKs).
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.gaussian import functions
from kanjax.gaussian.kinks import dual_by_pieces, find_kinks, rule_on_pieces
from kanjax.gaussian.quadrature import (
    Dual,
    Function,
    dual_by_polar_quadrature,
    dual_by_quadrature,
    hermite_nodes,
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


def dual(function: Function, *, kinks: Sequence[float] | None = None) -> DualFunction:
    """Return the dual of an activation, ``(q11, q12, q22) -> Dual(value, slope)``.

    Args:
        function: one of :mod:`kanjax.gaussian` or anything else with a method ``dual``,
            which is called; a function of jax with a closed form (relu, leaky_relu and
            its partials, identity, abs, sign, sin, cos, exp, square, erf, exact gelu);
            jax.nn.elu, selu or celu (polar quadrature); any other by quadrature, split
            at its kinks (:func:`dual_by_pieces`) where it has any.
        kinks: where function is not smooth, () for nowhere; looked for between -12 and
            12 (:func:`find_kinks`) if None.

    Raises:
        TypeError: if function cannot be called.

    Warns:
        UserWarning: where kinks are too many to split at.

    Examples:
        >>> import jax
        >>> half = dual(jax.nn.relu)(1.0, 1.0, 1.0)
        >>> float(half.value), float(half.slope)
        (0.5, 0.5)
    """
    if not callable(function):
        raise TypeError(
            f"function must be an activation such as jax.nn.relu; got {function!r}."
        )
    known = _closed_form(function) if kinks is None else None
    if known is not None:
        chosen = known.dual
    elif kinks is None and any(_plain(function) is k for k in _KINK_AT_ZERO):
        chosen = functools.partial(dual_by_polar_quadrature, function)
    else:
        places = _kinks(function) if kinks is None else tuple(kinks)
        chosen = functools.partial(dual_by_quadrature, function)
        if places:
            chosen = functools.partial(dual_by_pieces, function, kinks=places)

    def of(q11: Any, q12: Any, q22: Any) -> Dual:
        q11, q12, q22 = (
            jnp.asarray(q, jnp.result_type(q, 1.0)) for q in (q11, q12, q22)
        )
        return Dual(*chosen(q11, q12, q22))

    return of


def hermite_coefficients(function: Function, count: int, *, nodes: int = 100) -> Array:
    """Return the coefficients of a function in normalised Hermite polynomials.

    ``a_l = E[function(x) He_l(x)] / sqrt(l!)`` for a standard normal x: the function
    is ``sum_l a_l He_l(x) / sqrt(l!)``, and of unit variances its dual is
    ``sum_l a_l^2 q12^l``.

    Args:
        function: of each value. By Gauss-Hermite quadrature, or split at its kinks.
        count: how many.
        nodes: of Gauss-Hermite quadrature.

    Returns:
        (count,)
    """
    places = _kinks(function)
    if places:
        points, weights = rule_on_pieces(places, 8.5 + 2 * math.sqrt(count), 40)
    else:
        points, weights = (np.asarray(v) for v in hermite_nodes(nodes))
    # Normalised from the start: unnormalised polynomials overflow.
    rows = [np.ones_like(points), points]
    for order in range(1, count - 1):
        following = points * rows[-1] - math.sqrt(order) * rows[-2]
        rows.append(following / math.sqrt(order + 1))
    matrix = jnp.asarray(weights * np.stack(rows[:count]), jnp.result_type(1.0))
    return jnp.matmul(
        matrix, function(jnp.asarray(points, matrix.dtype)), precision="highest"
    )


def is_homogeneous(function: Function) -> bool:
    """Whether ``function(x) = x function'(x)``: relu, its kin and the identity."""
    return isinstance(_closed_form(function), functions.ABReLU)


def _kinks(function: Function) -> tuple[float, ...]:
    places = find_kinks(function)
    if places is None:
        # What is traced can be nothing else than taken at its word.
        if not _is_traced(function):
            warnings.warn(
                f"{function!r} is not smooth in more than 24 places; it is taken "
                "as smooth, and its expectations may be off. Give kinks=.",
                stacklevel=3,
            )
        return ()
    return places


def _is_traced(function: Function) -> bool:
    with jax.ensure_compile_time_eval():
        try:
            return isinstance(function(jnp.zeros(1)), jax.core.Tracer)
        except TypeError:
            return True


def _closed_form(function: Any) -> Any:
    """Return what knows its dual in place of a function, or None."""
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
