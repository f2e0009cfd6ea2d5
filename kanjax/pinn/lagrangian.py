"""Transport solved along its characteristics, beside the usual form at fixed places.

Mojgani, Balajewicz, Hassanzadeh (2022), "Lagrangian PINNs: A causality-conforming
solution to failure modes of physics-informed neural networks", arXiv 2205.02902. A wave
that moves far is hard for a network of (t, x): the snapshots of its solution span many
dimensions. Followed from labels X that move along, ``x(t, X)`` and ``u(t, X)``, the
same solution spans few.

Both forms are :class:`kanjax.pinn.Problem` values, for all that the room offers. Points
of the Lagrangian one are ``(t, X)``, and its field has the values ``(x, u)``.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.pinn.constraints import Constraint
from kanjax.pinn.derivatives import Field, gradient, laplacian, partial
from kanjax.pinn.problems import Condition, Problem
from kanjax.pinn.transport import Transport

Metric = Literal["physical", "label"]

METRICS = ("physical", "label")
SMALLEST_STRETCH = 1e-3
"""Where dx/dX is smaller, derivatives by x divide by this instead."""


@model.dataclass
class TwoBranches:
    """A network for x and a network for u, both of (t, X), exactly periodic in X.

    Args:
        positions: the hidden units of each layer of the branch for x.
        values: the same of the branch for u.
        periods: of each coordinate of X.
        activation: between layers; smooth, as it is differentiated.
        tied: whether the branches share layers, as they do in the authors' code: the
            input layer, the first and the second hidden layer (which is applied again
            for all later ones) and the output layer.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = TwoBranches((8, 8), (16, 16, 16))
        >>> net.apply(net.init(jax.random.key(0)), jnp.zeros((5, 2))).shape
        (5, 2)
    """

    positions: tuple[int, ...] = (50, 50)
    values: tuple[int, ...] = (50, 50, 50, 50, 50)
    periods: tuple[float, ...] = (2 * math.pi,)
    activation: Callable[[Array], Array] = jnp.tanh
    tied: bool = False

    def __post_init__(self) -> None:
        widths = {*self.positions, *self.values}
        dimensions = len(self.periods)
        if not self.positions or not self.values:
            raise ValueError("each branch needs at least one hidden layer; got none.")
        if self.tied and (len(widths) > 1 or dimensions > 1):
            raise ValueError(
                "tied branches need hidden layers of one width and one dimension of "
                f"space; got widths {sorted(widths)} and {dimensions} dimensions."
            )

    @property
    def embedding(self) -> nn.PeriodicEmbedding:
        """What makes the branches periodic."""
        return nn.PeriodicEmbedding((None, *self.periods))

    @property
    def branches(self) -> tuple[nn.MLP, nn.MLP]:
        """The networks of x and of u on the embedding."""
        inputs, dimensions = self.embedding.features, len(self.periods)
        return (
            self._mlp((inputs, *self.positions, dimensions)),
            self._mlp((inputs, *self.values, 1)),
        )

    def init(self, key: Array) -> Any:
        """Draw "positions" and "values"; a single tuple of layers if they are tied."""
        if self.tied:
            width = self.values[0]
            shared = min(3, max(len(self.positions), len(self.values)))
            widths = (self.embedding.features, *[width] * shared, 1)
            return self._mlp(widths).init(key)
        keys = jax.random.split(key)
        names = ("positions", "values")
        pairs = zip(names, self.branches, keys, strict=True)
        return {name: branch.init(k) for name, branch, k in pairs}

    def apply(
        self, params: Any, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch outputs"]:
        """Return the outputs for x and then for u, of points (t, X): (..., dimensions
        + 1).
        """
        waves = self.embedding.apply((), x)
        if self.tied:
            depths = (len(self.positions), len(self.values))
            layers = [_unroll(params, depth) for depth in depths]
        else:
            layers = [params["positions"], params["values"]]
        outputs = [
            branch.apply(p, waves)
            for branch, p in zip(self.branches, layers, strict=True)
        ]
        return jnp.concatenate(outputs, axis=-1)

    def _mlp(self, widths: tuple[int, ...]) -> nn.MLP:
        return nn.MLP(widths, self.activation, kernel_scale=1.0)


def lagrangian(
    equation: Transport,
    *,
    metric: Metric = "physical",
    hard: bool = True,
    displacement: bool = True,
) -> Problem:
    """State an equation along its characteristics: x and u of (t, X).

    ``x_t = c(u)`` ("characteristic") and ``u_t = nu lap u + s(u)`` ("state") from ``x =
    X`` and ``u = u0(X)``. The network's first outputs count in units of
    :meth:`Transport.travel`, d, and give ``x = X + (t / T) d net``.

    Args:
        equation: the equation.
        metric: by what the Laplacian differentiates. "physical" is exact: by x, through
            dx/dX. "label" is by X, as in the authors' code: it is the same as long as
            dx/dX stays 1, so for constant c.
        hard: whether u is ``u0 + (t / T) net``; else there is a condition "values".
        displacement: whether x starts at X by construction; else it is ``X + d net``
            and there is a condition "positions".

    Returns:
        A problem of dimensions + 1 outputs, without a reference: see :func:`error`.

    Raises:
        ValueError: for an unknown metric.
    """
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}; got {metric!r}.")
    conditions = {}
    start = equation.domain.initial
    if not displacement:
        conditions["positions"] = Condition(start, lambda w, z: w(z)[:-1] - z[1:])
    if not hard:
        conditions["values"] = Condition(
            start, lambda w, z: w(z)[-1] - equation.initial(z[1:])
        )

    def residual(w: Field, z: Array) -> dict[str, Array]:
        rates, u = partial(w, 0)(z), w(z)[-1]
        state = rates[-1] - equation.growth(u)
        if equation.viscosity != 0:
            if metric == "label":
                curvature = laplacian(lambda y: w(y)[-1], equation.axes)(z)
            else:
                curvature = moving_laplacian(w)(z)
            state = state - equation.viscosity * curvature
        return {"characteristic": rates[:-1] - equation.velocity(u), "state": state}

    return Problem(
        equation.domain,
        residual,
        conditions,
        _from_labels(equation, hard, displacement),
        outputs=len(equation.periods) + 1,
    )


def moving_gradient(w: Field) -> Field:
    """Differentiate u by the places x that it is carried to: ``(dx/dX)^-T du/dX``.

    Args:
        w: a field of points (t, X) with the values (x, u).

    Examples:
        >>> import jax.numpy as jnp
        >>> twice = lambda z: jnp.stack([2 * z[1], jnp.sin(2 * z[1])])
        >>> float(moving_gradient(twice)(jnp.zeros(2))[0])
        1.0
    """

    def slopes(z: Float[Array, " coordinates"]) -> Float[Array, " dimensions"]:
        jacobian = gradient(w, range(1, z.shape[0]))(z)
        return _inverse(jacobian[:-1]).T @ jacobian[-1]

    return slopes


def moving_laplacian(w: Field) -> Field:
    """Sum the second derivatives of u by the places x that it is carried to.

    Args:
        w: a field of points (t, X) with the values (x, u).
    """
    slopes = moving_gradient(w)

    def curvature(z: Float[Array, " coordinates"]) -> Float[Array, ""]:
        axes = range(1, z.shape[0])
        changes = gradient(slopes, axes)(z)
        return jnp.trace(changes @ _inverse(gradient(w, axes)(z)[:-1]))

    return curvature


def stretch(w: Field) -> Field:
    """Measure the volume that a unit of labels takes, ``det dx/dX``.

    Where it comes near 0 characteristics meet, and the solution is not to be trusted.

    Args:
        w: a field of points (t, X) with the values (x, u).
    """
    return lambda z: jnp.linalg.det(gradient(w, range(1, z.shape[0]))(z)[:-1])


def error(
    equation: Transport, w: Field, points: Float[Array, "points coordinates"]
) -> Float[Array, ""]:
    """Measure the relative L2 distance of u to the reference where labels have moved.

    Args:
        equation: with a reference.
        w: a field of points (t, X) with the values (x, u).
        points: labels and times (t, X), (points, 1 + dimensions).

    Raises:
        ValueError: if the equation has no reference.
    """
    if equation.reference is None:
        raise ValueError("the equation has no reference to compare with.")
    values = jax.vmap(w)(points)
    places = jnp.concatenate([points[:, :1], values[:, :-1]], axis=1)
    places = places.at[:, 1:].set(jnp.mod(places[:, 1:], jnp.array([equation.periods])))
    known = equation.reference(places)
    return jnp.linalg.norm(values[:, -1] - known) / jnp.linalg.norm(known)


def snapshots(
    u: Field,
    times: Float[Array, " times"],
    places: Float[Array, "places dimensions"],
) -> Float[Array, "times places *outputs"]:
    """Evaluate a field at some places, or labels, at each time.

    Args:
        u: a field of points (t, x) or (t, X).
        times: (times,).
        places: (places, dimensions).
    """

    def at(t: Array, x: Array) -> Array:
        return u(jnp.concatenate([t[None], x]))

    return jax.vmap(jax.vmap(at, (None, 0)), (0, None))(times, places)


def to_eulerian(
    x: Float[Array, "*times labels"],
    u: Float[Array, "*times labels"],
    places: Float[Array, " places"],
    period: float = 2 * math.pi,
) -> Float[Array, "*times places"]:
    """Interpolate from where labels have moved to fixed places, linearly.

    Args:
        x: where each label is, in any order and any number of periods away, (...,
            labels).
        u: its value, (..., labels).
        places: where to interpolate, (places,).
        period: of space.

    Examples:
        >>> import jax.numpy as jnp
        >>> x, u = jnp.array([7.5, 5.0, 6.0]), jnp.array([1.0, 2.0, 3.0])
        >>> to_eulerian(x, u, jnp.array([1.5, 2.75]), period=4.0).tolist()
        [2.5, 2.0]
    """
    # numpy's interpolation sorts, and pads by a point at each end of the period.
    interpolate = functools.partial(jnp.interp, period=period)
    return jnp.vectorize(
        lambda x, u: interpolate(places, x, u), signature="(n),(n)->(m)"
    )(x, u)


def kolmogorov_widths(
    snapshots: Float[Array, "times places"],
) -> Float[Array, " dimensions"]:
    """Measure how far snapshots are from the best space of 0, 1, 2, ... dimensions.

    ``d_n = sqrt(sum_{i > n} s_i^2)`` of the singular values s: the root of the summed
    squares over snapshots, which stands for the largest distance of the definition.

    Args:
        snapshots: one a row, (times, places).

    Examples:
        >>> import jax.numpy as jnp
        >>> kolmogorov_widths(jnp.diag(jnp.array([4.0, 3.0]))).round(5).tolist()
        [5.0, 3.0, 0.0]
    """
    values = jnp.linalg.svd(snapshots, compute_uv=False)
    # The smallest first, so that small widths keep their digits.
    sums = jnp.cumsum(values[::-1] ** 2)[::-1]
    return jnp.sqrt(jnp.append(sums, 0))


def _unroll(shared: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    """Return the layers of a branch of some depth; the last hidden one is used
    repeatedly.
    """
    *hidden, output = shared
    return tuple(hidden[min(i, len(hidden) - 1)] for i in range(depth)) + (output,)


def _from_labels(equation: Transport, hard: bool, displacement: bool) -> Constraint:
    travel = equation.travel()

    def constrain(net: Field) -> Field:
        def w(z: Array) -> Array:
            y, grown = net(z), z[0] / equation.duration
            moved = travel.astype(y.dtype) * y[:-1]
            x = z[1:] + (grown * moved if displacement else moved)
            u = equation.initial(z[1:]) + grown * y[-1] if hard else y[-1]
            return jnp.append(x, u)

        return w

    return constrain


def _inverse(f: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return the adjugate by Faddeev and Le Verrier, over a determinant kept from 0."""
    size = f.shape[0]
    eye = jnp.eye(size, dtype=f.dtype)
    m = eye
    for k in range(1, size):
        product = f @ m
        m = jnp.trace(product) / k * eye - product
    determinant = jnp.trace(f @ m) / size
    least = jnp.where(determinant < 0, -SMALLEST_STRETCH, SMALLEST_STRETCH)
    small = jnp.abs(determinant) < SMALLEST_STRETCH
    return m / jnp.where(small, least, determinant)
