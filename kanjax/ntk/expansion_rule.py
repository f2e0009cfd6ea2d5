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

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import gaussian
from kanjax.gaussian import Dual
from kanjax.ntk.covariances import Covariances


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
        """The standard deviations of their weights, times sqrt(in_features)."""
        ...

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """None in the place of "out" or "in" where units are not alike."""
        ...


def propagate(layer: Expansion, k: Covariances, _: Any) -> Covariances:
    """Through the layer: of data, or of Gaussian values."""
    _check(layer, k)
    variances = jnp.square(layer.feature_scales())
    if k.data is not None:
        weighted, plain = _of_data(layer, variances, k)
    else:
        q11, q22 = k.variances(k.first, k.second)
        weighted, plain = _duals(layer, variances, q11, k.nngp, q22)
    first, second = (_within(layer, variances, k, i) for i in range(2))
    return k.replace(
        nngp=weighted.value,
        ntk=layer.in_features * plain + weighted.slope * k.ntk,
        first=first,
        second=second,
        channels=layer.out_features,
        centred=True,
        fresh=True,
    )


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
    if k.data is None and (not k.centred or k.spatial):
        raise ValueError(
            f"{layer!r} has a rule for vectors that are data or Gaussian: put it "
            "first, or right behind a layer with weights."
        )


def _of_data(layer: Expansion, variances: Array, k: Covariances) -> tuple[Dual, Array]:
    x1, x2 = (layer.functions(x, axis=-2) for x in k.data or ())
    examples = "n", "n" if k.examples == 1 else "m"
    out = "n" if k.examples == 1 else "nm"

    def mean(weights: Array) -> Array:
        subscripts = f"{examples[0]}gi,{examples[1]}gi->{out}"
        shared = weights[None, :, None] * x1
        product = jnp.einsum(subscripts, shared, x2, precision="highest")
        return product / layer.in_features

    # Nothing before the data is trained, so that no slope is needed.
    value = mean(variances)
    return Dual(value, jnp.zeros_like(value)), mean(jnp.ones_like(variances))


def _within(layer: Expansion, variances: Array, k: Covariances, which: int) -> Array:
    """The variance of each example by itself."""
    if k.data is None:
        own = (k.first, k.second)[which]
        return _duals(layer, variances, own, own, own)[0].value
    squares = jnp.square(layer.functions(k.data[which], axis=-2))
    found = jnp.mean(jnp.einsum("g,ngi->ni", variances, squares), axis=-1)
    return found if k.examples == 1 else jnp.expand_dims(found, 1 - which)


def _duals(
    layer: Expansion, variances: Array, q11: Array, q12: Array, q22: Array
) -> tuple[Dual, Array]:
    """The sums over functions of their duals, with and without their variances."""
    functions = layer.functions
    q11, q12, q22 = jnp.broadcast_arrays(q11, q12, q22)

    def add(total: Any, at: tuple[Array, Array]) -> tuple[Any, None]:
        index, variance = at
        value, slope = gaussian.dual_by_quadrature(
            lambda u: functions.function(index, u), q11, q12, q22
        )
        terms = variance * value, variance * slope, value
        return [t + new for t, new in zip(total, terms, strict=True)], None

    zeros = [jnp.zeros_like(q12)] * 3
    parts = (jnp.arange(functions.size), variances.astype(q12.dtype))
    (value, slope, plain), _ = jax.lax.scan(add, zeros, parts)
    return Dual(value, slope), plain
