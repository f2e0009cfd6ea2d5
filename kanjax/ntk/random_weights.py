"""Layers whose weights are drawn once and never trained.

Li, Sonoda, Cao, Wang, Liang 2023, "How Powerful are Shallow Neural Networks with
Bandlimited Random Weights?", arXiv 2008.08427. A network is ``g(x) = sum_j c_j
activation(a_j . x - b_j)``: a and b are a :class:`RandomLayer`, and c is solved for, by
:func:`kanjax.ntk.random_feature_layers.solve` on examples or by
:func:`kanjax.ntk.band_limits.project` on the whole line. Where a and b are drawn from a
bounded domain, some functions stay out of reach of any number of units:
:mod:`kanjax.ntk.band_limits`. Matrices of such units are ill-conditioned: use double
precision.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, model
from kanjax.nn.checks import check_last_axis
from kanjax.ntk.ridgelets import Function

Law = Literal["cube", "sphere"]
"""Directions uniform in ``[-radius, radius]^d``, or on the sphere of the radius."""


@model.dataclass
class RandomLayer:
    """Units ``activation(a . x - b)`` with nothing to train; :meth:`draw` makes them.

    Args:
        directions: a (n, d).
        offsets: b (n,).
        activation: of each value, e.g. a :class:`kanjax.ntk.ridgelets.Profile`.

    Examples:
        >>> import jax
        >>> layer = RandomLayer.draw(jax.random.key(0), 50, 2, radius=3.0)
        >>> layer.apply((), jax.numpy.ones((4, 2))).shape
        (4, 50)
    """

    directions: Float[Array, "n d"] = model.child()
    offsets: Float[Array, " n"] = model.child()
    activation: Function = jnp.tanh

    @classmethod
    def draw(
        cls,
        key: Array,
        n: int,
        d: int,
        *,
        radius: ArrayLike,
        activation: Function = jnp.tanh,
        law: Law = "cube",
        centers: Float[Array, "points d"] | None = None,
    ) -> "RandomLayer":
        """Draw a layer: directions by a law, offsets uniform or from centers.

        Args:
            key: of the draw.
            n: number of units.
            d: the length of an input.
            radius: (), of the domain of directions, and of offsets without centers.
            activation: of each value.
            law: of the directions.
            centers: (points, d), e.g. the data: each unit has ``b = a . center`` with
                a random one of them. Offsets are uniform in [-radius, radius] if None.

        Raises:
            ValueError: if n or d is less than 1, the law is not known, or centers do
                not have length d.
        """
        for name, number in (("n", n), ("d", d)):
            if number < 1:
                raise ValueError(f"{name} is {number}; it must be at least 1.")
        if law not in ("cube", "sphere"):
            raise ValueError(f"law must be 'cube' or 'sphere'; got {law!r}.")
        if centers is not None and (centers.ndim != 2 or centers.shape[1] != d):
            raise ValueError(
                f"centers has shape {centers.shape}; it must be (points, {d}). Use "
                "centers[:, None] for points of a line."
            )
        where, which = jax.random.split(key)
        if law == "cube":
            a = jax.random.uniform(where, (n, d), minval=-1.0)
        else:
            a = jax.random.normal(where, (n, d))
            a = a / jnp.linalg.norm(a, axis=1, keepdims=True)
        a = jnp.asarray(radius) * a
        if centers is None:
            b = jnp.asarray(radius) * jax.random.uniform(which, (n,), minval=-1.0)
        else:
            b = jnp.sum(a * jax.random.choice(which, centers, (n,)), axis=1)
        return cls(a, b, activation)

    def init(self, key: Array) -> tuple[()]:
        """There is nothing to train."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch n"]:
        """Return the units' values at inputs x (..., d)."""
        x = checks.as_floating(x)
        check_last_axis(x, self.directions.shape[-1])
        z = jnp.matmul(x, self.directions.T, precision="highest")
        return self.activation(z - jnp.broadcast_to(self.offsets, z.shape))


def draw_by_ridgelet(
    key: Array,
    n: int,
    coefficients: Float[Array, "p q"],
    a: Float[Array, "p m"],
    b: Float[Array, " q"],
    measure: ArrayLike,
    *,
    activation: Function,
    width: ArrayLike = 0.0,
) -> RandomLayer:
    """Draw a layer that suits a function: units in proportion to its transform.

    Args:
        key: of the draw.
        n: number of units.
        coefficients: ``R f`` (p, q), of :func:`kanjax.ntk.ridgelets.ridgelet_transform`
            on the grid of a and b; its size counts.
        a: directions (p, m).
        b: offsets (q,).
        measure: of the grid, of a shape that broadcasts to (p, q).
        activation: of each value.
        width: units are moved off the grid by up to half of it, along each of (a, b):
            (m + 1,) or a number.
    """
    which, where = jax.random.split(key)
    sizes = jnp.abs(coefficients * jnp.broadcast_to(measure, coefficients.shape))
    cells = jax.random.categorical(which, jnp.log(sizes).ravel(), shape=(n,))
    rows, columns = jnp.divmod(cells, len(b))
    units = jnp.concatenate([a[rows], b[columns, None]], axis=1)
    moves = jax.random.uniform(where, units.shape) - 0.5
    units = units + jnp.broadcast_to(width, units.shape) * moves
    return RandomLayer(units[:, :-1], units[:, -1], activation)
