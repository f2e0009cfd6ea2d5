"""Safe Pade rational functions: a learned activation, not a linear expansion.

Sources: Molina et al. (2020), arXiv 1907.06732 (the safe Pade unit); Yang and Wang
(2025), arXiv 2409.10594 (groups of channels, forms A and B).
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import model
from kanjax.bases.basis import Domain, check_at_least

FITS: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {
    ("A", "silu"): (
        (0.0, 0.50000079, 0.24999783, 0.053266283, 0.0058030346, 0.0002751961),
        (-4.1115540e-6, 0.10652899, -1.2690007e-6, 0.00055023312),
    ),
    ("A", "gelu"): (
        (-0.00124236, 0.50804971, 0.41586363, 0.13022719, 0.0243559, 0.00290284),
        (-0.06675016, 0.17927646, 0.03746683, 1.6561611e-10),
    ),
    ("A", "relu"): (
        (0.0299638, 0.61689784, 2.3753476, 3.06599, 1.5246832, 0.25280709),
        (-1.1915501, 4.4080488, 0.91103571, 0.34884978),
    ),
    ("A", "tanh"): (
        (0.0, 1.0003008, 0.0, 0.096321299, 0.0, 0.00042557093),
        (-0.0013027181, 0.42834902, 0.0, 0.010796648),
    ),
    ("B", "silu"): (
        (0.0, 0.50000079, 0.24999783, 0.053266283, 0.0058030346, 0.0002751961),
        (-4.1115540e-6, 0.10652899, -1.2690007e-6, 0.00055023312),
    ),
    ("B", "gelu"): (
        (-0.00153969, 0.51692871, 0.44075827, 0.0972553, -0.00884418, -0.00378675),
        (-0.14171056, -0.06481231, -0.0444695, 0.01283776),
    ),
    ("B", "geglu"): (
        (0.00079642, -0.00602563, 0.49750578, 0.47691076, 0.15421425, 0.0168486),
        (-0.12619161, -0.20067464, -0.03005465, 0.0027335),
    ),
    ("B", "swishglu"): (
        (-0.00111528, -0.00334562, 0.53107663, 0.27851476, 0.06044361, 0.00483468),
        (0.14408492, 0.02008671, 0.02944107, -0.00329516),
    ),
}
"""Published fits on [-3, 3] for orders (5, 4), by form and function.

The numerator's a_0 to a_5, then the denominator's b_1 to b_4, rounded where the digits
left out change nothing in float32. "geglu" is ``x gelu(x)``, "swishglu" ``x silu(x)``.
"""

SHARED = ("none", "numerator", "denominator")


@model.dataclass
class Rational:
    """``P(x) / Q(x)`` with learned coefficients, the same for the channels of a group.

    ``P(x) = sum_i a_i x^i``. Form A has ``Q(x) = 1 + sum_j |b_j| |x|^j``, form B has
    ``Q(x) = 1 + |sum_j b_j x^j|``; neither has a pole.

    Args:
        groups: number of contiguous blocks of channels; divides the channels of x.
        orders: (m, n), the degrees of P and Q.
        form: "A" or "B".
        start: the function at initialisation: "identity" (any orders), or a name in
            ``FITS`` for the form (orders (5, 4)). :func:`fit_rational` makes others.
        shared: which polynomial all groups have in common: "none", or "numerator", as
            the Kolmogorov-Arnold transformer has it, or "denominator".
    """

    groups: int = 1
    orders: tuple[int, int] = (5, 4)
    form: str = "A"
    start: str = "silu"
    shared: str = "none"

    def __post_init__(self) -> None:
        check_at_least("groups", self.groups, 1)
        check_at_least("orders[0]", self.orders[0], 1)
        check_at_least("orders[1]", self.orders[1], 1)
        if self.form not in ("A", "B"):
            raise ValueError(f"form must be 'A' or 'B'; got {self.form!r}.")
        if self.shared not in SHARED:
            raise ValueError(f"shared must be one of {SHARED}; got {self.shared!r}.")
        fits = sorted(name for form, name in FITS if form == self.form)
        if self.start != "identity" and self.start not in fits:
            raise ValueError(
                f"start must be 'identity' or, in form {self.form}, one of {fits}; "
                f"got {self.start!r}."
            )
        if self.start != "identity" and self.orders != (5, 4):
            raise ValueError(
                f"start={self.start!r} is known for orders (5, 4); got {self.orders}. "
                "Use start='identity' for other orders."
            )

    @property
    def domain(self) -> Domain:
        """The interval on which the starting coefficients were fitted."""
        return (-3.0, 3.0)

    def init(self, key: Array) -> dict[str, Array]:
        """Return the starting coefficients; the key is not used.

        Returns:
            "numerator" (groups, m + 1) and "denominator" (groups, n); the shared one
            has a single row.
        """
        m, n = self.orders
        if self.start == "identity":
            numerator = jnp.zeros(m + 1).at[1].set(1)
            denominator = jnp.zeros(n)
        else:
            numerator, denominator = map(jnp.array, FITS[self.form, self.start])
        return self.coefficients(numerator, denominator)

    def coefficients(self, numerator: Array, denominator: Array) -> dict[str, Array]:
        """Parameters that give one function to all groups: (m + 1,) and (n,)."""
        coefficients = {"numerator": numerator, "denominator": denominator}
        return {
            name: jnp.tile(coef, (1 if self.shared == name else self.groups, 1))
            for name, coef in coefficients.items()
        }

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Evaluate at x (..., channels), whose groups are contiguous blocks.

        Raises:
            ValueError: if groups does not divide the channels.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups={self.groups} does not divide the {channels} channels of x; "
                "choose a divisor."
            )
        return pallas_kernels.group_rational(
            x, params["numerator"], params["denominator"], self.form
        )
