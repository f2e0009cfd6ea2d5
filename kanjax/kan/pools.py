"""Pools of families of functions, and the layer that has one of them for each input.

Source: Yang et al. (2024), Activation Space Selectable Kolmogorov-Arnold Networks,
arXiv 2408.08338.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

import pallas_kernels
from kanjax import bases, checks, model
from kanjax.kan.layers import Activation, KANLayer, check_inputs

POOL_DEFAULT: tuple[bases.Basis, ...] = (
    bases.BSpline(5),
    bases.GaussianRBF(8),
    bases.Sech(8),
    bases.Chebyshev(7),
    bases.Wavelet(8, "dog"),
    bases.ReLUPower(5),
)
"""Six families of eight functions each, all on [-1, 1]."""

POOL_PUBLISHED: tuple[bases.Basis, ...] = (
    bases.BSpline(5),
    bases.GaussianRBF(8, (-2.0, 2.0)),
    bases.Sech(8, (-1.2, 0.2), width=2.0),
    bases.Chebyshev(4, squash=jax.nn.hard_tanh),
    bases.Gram(3),
    bases.Wavelet(8),
    bases.Jacobi(4),
    bases.ReLUPower(5),
)
"""The families and settings of the published code, which puts a layer norm before some.

A :class:`kanjax.nn.LayerNorm` before the layer is for all of them.
"""


@model.dataclass
class SelectedLayer:
    """A layer each of whose inputs has one family of a pool: what pruning leaves.

    Inputs are grouped by family, so that each family in use is evaluated at its own
    inputs only.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        families: which family of the pool each input has.
        pool: the families.
        residual: the function of the residual branch, or None for none.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = SelectedLayer(4, 3, families=(0, 5, 5, 0))
        >>> params = layer.init(jax.random.key(0))
        >>> tuple(coef.shape for coef in params["coef"])
        ((8, 2, 3), (8, 2, 3))
    """

    in_features: int
    out_features: int
    families: tuple[int, ...]
    pool: tuple[bases.Basis, ...] = model.child(default=POOL_DEFAULT)
    residual: Activation | None = jax.nn.silu

    def __post_init__(self) -> None:
        KANLayer(self.in_features, self.out_features)
        check_pool(self.pool)
        number = len(self.pool) if isinstance(self.pool, tuple) else np.inf
        if len(self.families) != self.in_features or not all(
            0 <= family < number for family in self.families
        ):
            raise ValueError(
                f"families must have an index into the pool for each of the "
                f"{self.in_features} inputs; got {self.families}."
            )

    @property
    def groups(self) -> dict[int, np.ndarray]:
        """The inputs of each family in use, by the family."""
        each = np.asarray(self.families)
        return {int(family): np.flatnonzero(each == family) for family in set(each)}

    def init(self, key: Array) -> dict[str, Any]:
        """Draw "coef", of each family in use (size, its inputs, out), and "residual".

        Each as :class:`kanjax.kan.KANLayer` draws them.
        """
        keys = jax.random.split(key, len(self.groups))
        drawn = {
            family: KANLayer(
                self.in_features, self.out_features, self.pool[family], self.residual
            ).init(k)
            for family, k in zip(self.groups, keys, strict=True)
        }
        params: dict[str, Any] = {
            "coef": tuple(
                drawn[family]["coef"][:, inputs]
                for family, inputs in self.groups.items()
            )
        }
        if self.residual is not None:
            params["residual"] = drawn[self.families[0]]["residual"]
        return params

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        check_inputs(x, self.in_features)
        x = checks.as_floating(x)
        y = residual_branch(self.residual, params, x)
        for (family, inputs), coef in zip(
            self.groups.items(), params["coef"], strict=True
        ):
            y = y + pallas_kernels.expansion_dot(
                x[..., inputs], coef, self.pool[family]
            )
        return y

    def parameter_axes(self) -> dict[str, Any]:
        """Return what the axes of each parameter run over; inputs are tied to
        families.
        """
        axes: dict[str, Any] = {"coef": tuple((None, None, "out") for _ in self.groups)}
        return axes | ({} if self.residual is None else {"residual": (None, "out")})


def check_pool(pool: Any) -> None:
    """Raise unless the pool is a tuple of bases, at least one."""
    # jax rebuilds models with placeholders for their parts.
    if not isinstance(pool, tuple | list):
        return
    if not pool:
        raise ValueError("pool is empty; give at least one basis of kanjax.bases.")
    for i, basis in enumerate(pool):
        if isinstance(basis, bases.Rational):
            raise TypeError(
                f"pool[{i}] is {basis!r}, whose functions are trained; families of a "
                "pool are fixed bases, such as kanjax.bases.BSpline(5)."
            )


def residual_branch(
    residual: Activation | None, params: dict[str, Any], x: Array
) -> Array:
    """``residual(x) @ params["residual"]``, or zero where there is none."""
    if residual is None:
        return jnp.zeros((), x.dtype)
    return residual(x) @ params["residual"]
