"""Bumps made of an activation and its mirror image.

Sources: Qiu et al. (2024), ReLU-KAN, arXiv 2406.02075 (two rectifiers); Ta, Tran
(2025), AF-KAN, arXiv 2503.06112 (any activation, other combinations).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.bases.basis import Domain, all_functions, check_at_least, check_domain
from kanjax.checks import as_floating

COMBINATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "quad1": lambda u, v: jnp.square(u * v),
    "quad2": lambda u, v: u * v + jnp.square(u) + jnp.square(v),
    "sum": lambda u, v: u + v,
    "prod": lambda u, v: u * v,
    "sum_prod": lambda u, v: u + v + u * v,
    "cubic1": lambda u, v: (u + v) * (jnp.square(u) + jnp.square(v)),
    "cubic2": lambda u, v: (u * v) ** 3,
}
"""The combinations of AF-KAN, by the names that its code has for them."""


@model.dataclass
class ActivationPairs:
    """``f(s(x - low_g), s(high_g - x))`` for an activation s and a combination f.

    Function g rises at ``low_g`` and ends at ``high_g``, ``degree + 1`` intervals
    later, as the B-spline of that degree does. As a basis the phases low and high stay
    on the grid; :meth:`apply` takes trained ones, which :meth:`init` gives. With
    ``activation=jax.nn.relu`` and ``scaled=True`` it is ReLU-KAN's basis, as
    :class:`ReLUPower` is with phases that stay.

    Args:
        intervals: number of grid intervals over the domain, at least 1.
        degree: the overlap of functions, at least 0.
        domain: (low, high) of the grid; the published one is (0, 1).
        activation: a function of each value.
        combination: "quad1" (``(u v)^2``), "quad2", "sum", "prod", "sum_prod", "cubic1"
            or "cubic2", as in ``COMBINATIONS``.
        scaled: whether u and v are divided by half the width of a function, so that
            rectifiers give a "quad1" or a "prod" with a maximum of one.
        inputs: None for phases (size,) that all inputs share, or the number of inputs
            with phases (inputs, size) of their own, which start alike.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> basis = ActivationPairs(5, activation=jax.nn.relu, scaled=True)
        >>> params = basis.init(jax.random.key(0))
        >>> middle = (params["low"] + params["high"]) / 2
        >>> bool(jnp.allclose(jnp.diag(basis.apply(params, middle)), 1))
        True
    """

    intervals: int = 3
    degree: int = 3
    domain: Domain = (0.0, 1.0)
    activation: Callable[[Array], Array] = jax.nn.silu
    combination: str = "quad1"
    scaled: bool = False
    inputs: int | None = None

    def __post_init__(self) -> None:
        check_at_least("intervals", self.intervals, 1)
        check_at_least("degree", self.degree, 0)
        check_domain(self.domain)
        if not callable(self.activation):
            raise ValueError(
                "activation must be a function, such as jax.nn.silu; got "
                f"{self.activation!r}."
            )
        if self.combination not in COMBINATIONS:
            raise ValueError(
                f"combination must be one of {tuple(COMBINATIONS)}; got "
                f"{self.combination!r}."
            )
        if self.inputs is not None:
            check_at_least("inputs", self.inputs, 1)

    @property
    def size(self) -> int:
        """intervals + degree."""
        return self.intervals + self.degree

    @property
    def _interval(self) -> float:
        return (self.domain[1] - self.domain[0]) / self.intervals

    def init(self, key: Array) -> dict[str, Array]:
        """Give the phases "low" and "high" of the grid; the key is not used.

        They are (size,), or (inputs, size) for phases of each input's own.
        """
        low = self.domain[0] + (jnp.arange(self.size) - self.degree) * self._interval
        if self.inputs is not None:
            low = jnp.tile(low, (self.inputs, 1))
        return {"low": low, "high": low + (self.degree + 1) * self._interval}

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch size"]:
        """Evaluate all functions at x (...,), or (..., inputs), with these phases."""
        x = as_floating(x)
        if self.inputs is not None and (x.ndim == 0 or x.shape[-1] != self.inputs):
            raise ValueError(f"x must have shape (..., {self.inputs}); got {x.shape}.")
        shape = (*x.shape, self.size)
        low, high = (jnp.broadcast_to(params[end], shape) for end in ("low", "high"))
        return self._combine(x[..., None], low, high)

    def __call__(self, x: Array, *, axis: int = -1) -> Array:
        """Evaluate all functions at x (...,) -> (..., size), or where ``axis`` says.

        The phases are those of the grid.
        """
        return all_functions(self, x, axis)

    def function(self, index: int | Array, x: Array) -> Array:
        """Evaluate one function at x."""
        x = as_floating(x)
        shift = jnp.asarray(index, x.dtype) - self.degree
        low = self.domain[0] + shift * self._interval
        return self._combine(x, low, low + (self.degree + 1) * self._interval)

    def _combine(self, x: Array, low: Array, high: Array) -> Array:
        u, v = self.activation(x - low), self.activation(high - x)
        if self.scaled:
            scale = 2 / ((self.degree + 1) * self._interval)
            u, v = scale * u, scale * v
        return COMBINATIONS[self.combination](u, v)
