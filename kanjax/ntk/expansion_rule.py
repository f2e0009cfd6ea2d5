"""Layers of learned functions on edges, as those of a KAN, at infinite width.

An output is ``y_o = sum_i sum_g w_gio psi_g(x_i)`` with fixed functions psi and weights
of mean 0 and variance ``s_g^2 / n`` over n inputs. By the central limit theorem wide
layers of them are Gaussian, as dense ones are, with

    K' = sum_g s_g^2 E[psi_g(u) psi_g(v)]
    Theta' = n sum_g E[psi_g(u) psi_g(v)] + Theta sum_g s_g^2 E[psi_g'(u) psi_g'(v)]

over Gaussian (u, v) of covariance K; in the first layer the expectations are means over
the inputs themselves. n is there because weights are trained as they are (the standard
parameterization). Derived here after Jacot, Gabriel, Hongler 2018, arXiv 1806.07572,
theorem 1, whose single activation is replaced by several functions.
"""

import dataclasses
import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import gaussian
from kanjax.ntk.covariances import Covariances


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """A sum with unlike weights, whose kinks are those of all functions.

    A value and no closure: kinks of equal functions are searched for once.
    """

    functions: pallas_kernels.Basis

    def __call__(self, u: Array) -> Array:
        size = self.functions.size
        terms = (math.cos(i + 1) * self.functions.function(i, u) for i in range(size))
        return sum(terms, start=jnp.zeros_like(u))


@runtime_checkable
class Expansion(Protocol):
    """A layer whose outputs are linear in functions of each of its inputs."""

    in_features: int
    out_features: int

    @property
    def functions(self) -> pallas_kernels.Basis:
        """The functions of one variable."""
        ...

    def feature_scales(self) -> Float[Array, " functions"]:
        """Return the standard deviations of their weights, times sqrt(in_features)."""
        ...

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """None in the place of "out" or "in" where units are not alike."""
        ...


def propagate(layer: Expansion, k: Covariances, _: Any) -> Covariances:
    """Through the layer: of data, or of Gaussian values."""
    _check(layer, k)
    variances = jnp.square(layer.feature_scales())

    def step(q11: Array, q12: Array, q22: Array, ntk: Array) -> tuple[Array, Array]:
        value, slope, plain = _duals(layer, variances, q11, q12, q22)
        return value, layer.in_features * plain + slope * ntk

    if k.data is None:
        after = k.elementwise(step)
    else:
        # Nothing before the data is trained.
        value, plain = _of_data(layer, variances, k)
        after = k.replace(nngp=value, ntk=layer.in_features * plain)
    return after.replace(channels=layer.out_features, centered=True, fresh=True)


def _check(layer: Expansion, k: Covariances) -> None:
    roles = [role for axes in layer.parameter_axes().values() for role in axes]
    if "out" not in roles:
        raise ValueError(
            "a layer with masked edges has units that are not alike, so it has no "
            "infinite width. Take ntk.empirical of wide networks."
        )
    if k.data is None and "in" not in roles:
        raise ValueError(
            "a layer whose inputs have knots of their own has an infinite width only "
            "on the data, as the first layer. Use one basis for all inputs."
        )
    if k.data is None and (not k.centered or k.spatial):
        raise ValueError(
            f"{layer!r} has a rule for vectors that are data or Gaussian: put it "
            "first, or right behind a layer with weights."
        )


def _of_data(layer: Expansion, variances: Array, k: Covariances) -> list[Array]:
    """Return the means over inputs of products, with the functions' variances and
    without.
    """
    x1, x2 = (layer.functions(x, axis=-2) for x in k.data or ())
    subscripts = "ngi,ngi->n" if k.examples == 1 else "ngi,mgi->nm"

    def mean(weights: Array) -> Array:
        shared = weights[None, :, None] * x1
        product = jnp.einsum(subscripts, shared, x2, precision="highest")
        return product / layer.in_features

    return [mean(weights) for weights in (variances, jnp.ones_like(variances))]


def _duals(
    layer: Expansion, variances: Array, q11: Array, q12: Array, q22: Array
) -> Any:
    """Return the sums over functions of value and slope with their variances, and of
    value.
    """
    functions = layer.functions
    q11, q12, q22 = jnp.broadcast_arrays(q11, q12, q22)

    kinks = gaussian.find_kinks(_Mixture(functions))

    def add(total: Any, at: tuple[Array, Array]) -> tuple[Any, None]:
        index, variance = at
        function = lambda u: functions.function(index, u)  # noqa: E731
        if kinks:
            value, slope = gaussian.dual_by_pieces(function, q11, q12, q22, kinks=kinks)
        else:
            value, slope = gaussian.dual_by_quadrature(function, q11, q12, q22)
        terms = variance * value, variance * slope, value
        return [t + new for t, new in zip(total, terms, strict=True)], None

    zeros = [jnp.zeros_like(q12)] * 3
    parts = (jnp.arange(functions.size), variances.astype(q12.dtype))
    return jax.lax.scan(add, zeros, parts)[0]
