"""Products of polynomials: a network that is linear in its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model


@model.dataclass
class PolynomialProducts:
    """``y_o = sum_ij c_oij T_i(x_0) T_j(x_1) / (1 + i^2 + j^2)^2`` with Chebyshev's T.

    A KAN layer of products, in a way, on a rectangle. It is linear in its parameters,
    so that Gauss-Newton steps are almost Newton's and a few suffice.
    Second derivatives of a product at the edges grow as the fourth power of its
    degrees: undivided, the damping of a step would hold what is smooth.

    Args:
        lower: the lower corner of the rectangle, two numbers.
        upper: the upper corner.
        degrees: the highest degree in each coordinate.
        outputs: their number.

    Raises:
        ValueError: unless the corners are ordered, degrees and outputs positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = PolynomialProducts((0.0, 0.0), (1.0, 2.0), (3, 4), outputs=2)
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((5, 2))).shape
        (5, 2)
    """

    lower: tuple[float, float]
    upper: tuple[float, float]
    degrees: tuple[int, int]
    outputs: int = 1

    def __post_init__(self) -> None:
        if min(*self.degrees, self.outputs) < 1:
            raise ValueError(
                "degrees and outputs must be at least 1; got "
                f"{self.degrees} and {self.outputs}."
            )
        if not all(a < b for a, b in zip(self.lower, self.upper, strict=True)):
            raise ValueError(
                f"lower must be below upper; got {self.lower} and {self.upper}."
            )

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "coef" (outputs, degrees + 1, degrees + 1), normal of deviation 0.1."""
        # Not 0: a residual is judged by what it was at first, which may be 0 there.
        first, second = self.degrees
        shape = (self.outputs, first + 1, second + 1)
        return {"coef": 0.1 * jax.random.normal(key, shape)}

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the outputs for x (..., 2)."""
        first, second = (
            _chebyshev(2 * (x[..., k] - a) / (b - a) - 1, degree)
            for k, (a, b, degree) in enumerate(
                zip(self.lower, self.upper, self.degrees, strict=True)
            )
        )
        i, j = (jnp.arange(degree + 1.0) ** 2 for degree in self.degrees)
        size = (1 + jnp.add.outer(i, j)) ** 2
        coef = params["coef"] / jnp.broadcast_to(size, params["coef"].shape)
        rows = jnp.einsum("oij,...j->...oi", coef, second)
        return jnp.einsum("...oi,...i->...o", rows, first)


def _chebyshev(x: Array, degree: int) -> Float[Array, "... functions"]:
    """Return T_0 to T_degree in log2(degree) steps, so that programs are short."""
    t = jnp.stack([jnp.ones_like(x), x], axis=-1)
    while t.shape[-1] <= degree:
        # T_(k+m) = 2 T_k T_m - T_(k-m) for m = 1 to k, the highest so far. By products
        # with constants: of slices the compiler makes loops that grow with each step.
        k = t.shape[-1] - 1
        kept, more = np.eye(k + 1, 2 * k + 1), np.eye(k + 1, 2 * k + 1, k)
        more[0] = 0
        kept[:, k + 1 :] = -np.eye(k + 1)[::-1, 1:]
        twice = 2 * t[..., -1:] * t
        t = t @ jnp.asarray(kept, t.dtype) + twice @ jnp.asarray(more, t.dtype)
    return t[..., : degree + 1]
