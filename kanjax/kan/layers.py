"""One layer of a Kolmogorov-Arnold network: a learned function on every edge.

Sources: Liu et al. (2024), arXiv 2404.19756 (spline edges); Yang and Wang (2025),
arXiv 2409.10594 (rational functions shared by groups of inputs).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import bases, model, nn
from kanjax.kan import variance
from kanjax.nn import linear

Activation = Callable[[Array], Array]
Axes = dict[str, tuple[str | None, ...]]


@model.dataclass
class KANLayer:
    """``y_o = sum_i phi_io(x_i)``, each edge's phi an expansion in one basis.

    ``phi_io(x) = sum_g coef[g, i, o] basis_g(x) + residual[i, o] * residual(x)``.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        basis: the functions of one variable, shared by all inputs or with knots of
            each input's own, or a name of :data:`kanjax.bases.FAMILIES`.
        residual: the function of the residual branch, or None for none.
        mask: (in, out), multiplies every edge; None keeps all edges.
        noise: scale of the expansion at initialisation, as a share of the variance-
            preserving one. With a residual branch the expansion starts small.
    """

    in_features: int
    out_features: int
    basis: Any = model.child(default=bases.BSpline())
    residual: Activation | None = jax.nn.silu
    mask: Array | None = model.child(default=None)
    noise: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.basis, str):
            # The one field that may be written otherwise than it is kept.
            object.__setattr__(self, "basis", bases.family(self.basis))
        _check_features(self.in_features, self.out_features)

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "coef" (size, in, out) and, with a residual, "residual" (in, out).

        The expansion's variance on the basis' domain is ``noise**2`` for inputs spread
        evenly over it (1 without a residual branch); the residual's weights are
        LeCun-uniform.
        """
        key_coef, key_residual = jax.random.split(key)
        scale = self.feature_scales()[0] / jnp.sqrt(self.in_features)
        shape = (self.basis.size, self.in_features, self.out_features)
        params = {"coef": scale * jax.random.normal(key_coef, shape)}
        if self.residual is not None:
            bound = math.sqrt(3 / self.in_features)
            params["residual"] = jax.random.uniform(
                key_residual, shape[1:], minval=-bound, maxval=bound
            )
        return params

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        check_inputs(x, self.in_features)
        return pallas_kernels.expansion_dot(x, self.weights(params), self.functions)

    def features(
        self, params: dict[str, Array], x: Array
    ) -> Float[Array, "*batch rows in"]:
        """Return what the edges are linear in: :attr:`functions` of each input."""
        return self.functions(x, axis=-2)

    def feature_scales(self) -> Float[Array, " rows"]:
        """Return what :meth:`init` draws weights with: deviations times
        sqrt(in_features).
        """
        points = jnp.linspace(*_ends(self.basis), 64).reshape(64, -1)
        points = jnp.broadcast_to(points, (64, self.in_features))
        power = jnp.mean(jnp.sum(jnp.square(self.basis(points)), axis=-1))
        scale = (1.0 if self.residual is None else self.noise) / jnp.sqrt(power)
        ones = jnp.ones(0 if self.residual is None else 1, scale.dtype)
        return jnp.concatenate([jnp.full(self.basis.size, scale), ones])

    def weights(self, params: dict[str, Array]) -> Float[Array, "rows in out"]:
        """Return the edges' weights on :meth:`features`."""
        weights = params["coef"]
        if self.residual is not None:
            weights = jnp.concatenate([weights, params["residual"][None]])
        if self.mask is not None:
            weights = weights * self.mask.astype(weights.dtype)[None]
        return weights

    @property
    def functions(self) -> pallas_kernels.Basis:
        """The basis and, last, the residual branch."""
        if self.residual is None:
            return self.basis
        residual = pallas_kernels.Single(self.residual)
        return pallas_kernels.Joined((self.basis, residual))

    @property
    def shared_functions(self) -> pallas_kernels.Basis | None:
        """:attr:`functions`, or None if inputs have knots of their own."""
        own_knots = getattr(self.basis, "knots", None) is not None
        return None if own_knots else self.functions

    def joined_weights(self, params: dict[str, Array]) -> Float[Array, "rows in out"]:
        """Return the weights on :attr:`shared_functions`."""
        return self.weights(params)

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over: "in", "out" or neither."""
        # Knots of each input's own and a mask tie a unit to its place.
        own_knots = getattr(self.basis, "knots", None) is not None
        source = None if own_knots or self.mask is not None else "in"
        target = None if self.mask is not None else "out"
        axes: Axes = {"coef": (None, source, target)}
        if self.residual is not None:
            axes["residual"] = (source, target)
        return axes


@model.dataclass
class RationalLayer:
    """``y_o = bias_o + sum_i kernel[i, o] F(x_i)``, F a learned rational function.

    The group-rational layer (GR-KAN): the edges out of one input share their shape.

    Args:
        in_features: number of inputs; ``basis.groups`` divides it.
        out_features: number of outputs.
        basis: the rational function.
        mask: (in, out), multiplies every edge; None keeps all edges.
        initialization: of the kernel, "paper" (it keeps the variance of standard-normal
            inputs) or "timm" (standard deviation 0.02, as the published code runs).
        dropout: the rate at which values of F are dropped, given a key.
    """

    in_features: int
    out_features: int
    basis: bases.Rational = model.child(default=bases.Rational())
    mask: Array | None = model.child(default=None)
    initialization: str = "paper"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        nn.Dropout(self.dropout)
        if self.initialization not in ("paper", "timm"):
            raise ValueError(
                "initialization must be 'paper' or 'timm'; got "
                f"{self.initialization!r}."
            )
        _check_features(self.in_features, self.out_features)
        groups = getattr(self.basis, "groups", 1)
        if self.in_features % groups:
            raise ValueError(
                f"groups={groups} does not divide in_features={self.in_features}; "
                "choose a divisor."
            )

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "numerator", "denominator", "kernel" (in, out) and "bias" (out,).

        The variance of the paper's kernel is ``1 / (in * E[F(x)^2])`` (Yang and Wang,
        section 4.3), with the expectation by adaptive quadrature.
        """
        params = self.basis.init(key)
        shape = (self.in_features, self.out_features)
        if self.initialization == "timm":
            kernel = 0.02 * jax.random.normal(key, shape)
        else:
            start = _starting_gain(self.basis)
            kernel = jnp.sqrt(start / self.in_features) * jax.random.normal(key, shape)
        params["kernel"] = kernel
        params["bias"] = jnp.zeros(self.out_features)
        return params

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        check_inputs(x, self.in_features)
        kernel = self.weights(params)[0]
        values = nn.Dropout(self.dropout).apply(
            (), self.basis.apply(params, x), key=key
        )
        return linear.add_bias(values @ kernel, params["bias"])

    def features(
        self, params: dict[str, Array], x: Array
    ) -> Float[Array, "*batch rows in"]:
        """Return what the edges are linear in: the rational function of each input."""
        return self.basis.apply(params, x)[..., None, :]

    def weights(self, params: dict[str, Array]) -> Float[Array, "rows in out"]:
        """Return the edges' weights on :meth:`features`."""
        kernel = params["kernel"]
        if self.mask is not None:
            kernel = kernel * self.mask.astype(kernel.dtype)
        return kernel[None]

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over: "in", "out" or neither."""
        free = self.mask is None
        source = "in" if free and self.basis.groups == 1 else None
        target = "out" if free else None
        return {
            "numerator": (None, None),
            "denominator": (None, None),
            "kernel": (source, target),
            "bias": (target,),
        }


@functools.lru_cache(maxsize=64)
def _starting_gain(basis: bases.Rational) -> float:
    """Return the gain of the function that all groups begin with; no key changes it."""

    def first_group(x: Array) -> Array:
        channels = jnp.repeat(x[..., None], basis.groups, axis=-1)
        return basis.apply(params, channels)[..., 0]

    with jax.ensure_compile_time_eval():
        params = basis.init(jax.random.key(0))
        return float(variance.gain(first_group))


Layer = KANLayer | RationalLayer


def _ends(basis: Any) -> tuple[Any, Any]:
    """Return where a basis begins and ends, (in,) each for knots of inputs' own."""
    knots = getattr(basis, "knots", None)
    if knots is None:
        return basis.domain
    # Its domain is then that of a uniform grid which is not used.
    return knots[..., basis.degree], knots[..., -basis.degree - 1]


def check_inputs(x: Any, in_features: int) -> None:
    """Raise ``ValueError`` unless the last axis of x runs over the inputs."""
    if jnp.ndim(x) == 0 or x.shape[-1] != in_features:
        raise ValueError(f"x must have shape (..., {in_features}); got {jnp.shape(x)}.")


def _check_features(in_features: int, out_features: int) -> None:
    for name, value in (("in_features", in_features), ("out_features", out_features)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer; got {value!r}.")
