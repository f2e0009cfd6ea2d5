"""Hierarchical polynomials: three layers learn a feature, then a function of it.

Wang, Nichani, Lee 2023, "Learning Hierarchical Polynomials with Three-Layer Neural
Networks", arXiv 2311.13774.

Targets are ``g(p(x))`` of ``x ~ N(0, I_d)``, p a polynomial of degree k that sums many
independent parts, g one of degree q with ``E g' != 0``. A network with one number in
its middle first fits the target by polynomials of degree k, which gives p but for an
error that falls with d, from about ``d^k`` examples; a function of that number is then
learned from few. Kernels need about ``d^(k q)``.

Inputs are taken to be standard normal: the feature's polynomials are Hermite's. Targets
are in :mod:`kanjax.theory.hierarchical_targets`, kernels to compare with in
:mod:`kanjax.theory.ridge_regression`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, gaussian, model
from kanjax.ntk.random_weights import RandomLayer
from kanjax.theory import ridge_regression
from kanjax.theory.hierarchical_targets import Feature, Target


class Params(NamedTuple):
    """What is trained of a :class:`ThreeLayerNetwork`.

    Attributes:
        inner: u (inner units,).
        offset: the mean of the inner network that is taken off.
        outer: c (outer units,).
    """

    inner: Float[Array, " inner"]
    offset: Float[Array, ""]
    outer: Float[Array, " outer"]


@model.dataclass
class ThreeLayerNetwork:
    """A network with one number in its middle, and a connection past its last layers.

    ``h(x) = z + m2^(-1/2) c . relu(a z - b)`` with ``z = m1^(-1/2) u . sigma(V x + s) -
    offset``; V, s, a and b are drawn once, see :meth:`draw`.

    Args:
        inner: the units ``sigma(V x + s)``.
        outer: the units ``relu(a z - b)`` of one number.

    Examples:
        >>> import jax
        >>> net = ThreeLayerNetwork.draw(jax.random.key(0), 6, inner=20, degree=2)
        >>> net.apply(net.init(), jax.numpy.ones((4, 6))).tolist()
        [0.0, 0.0, 0.0, 0.0]
    """

    inner: RandomLayer = model.child()
    outer: RandomLayer = model.child()

    @classmethod
    def draw(
        cls,
        key: Array,
        dimension: int,
        *,
        inner: int,
        degree: int,
        outer: int = 200,
        activation: Feature | None = None,
        reach: float = 3.0,
    ) -> "ThreeLayerNetwork":
        """Draw the weights that are not trained.

        Rows of V are uniform on the unit sphere, s is 0, a is 1 or -1, b uniform.

        Args:
            key: for the draws.
            dimension: d.
            inner: the number of inner units, well above ``d^degree / degree!``.
            degree: k, of the feature.
            outer: the number of outer units.
            activation: sigma; the normalized Hermite polynomial of degree k if None.
            reach: b lies in [-reach, reach], in standard deviations of z.

        Raises:
            ValueError: if a number is below 1.
        """
        for name, count in (
            ("dimension", dimension),
            ("inner", inner),
            ("outer", outer),
            ("degree", degree),
        ):
            checks.check_count(name, count)
        keys = jax.random.split(key, 3)
        first = RandomLayer.draw(
            keys[0],
            inner,
            dimension,
            radius=1.0,
            law="sphere",
            activation=activation or gaussian.hermite(degree),
        )
        signs = jax.random.rademacher(keys[1], (outer, 1), float)
        offsets = jax.random.uniform(keys[2], (outer,), minval=-reach, maxval=reach)
        return cls(
            RandomLayer(first.directions, jnp.zeros(inner), first.activation),
            RandomLayer(signs, offsets, jax.nn.relu),
        )

    def init(self) -> Params:
        """Return parameters that are all 0: so is the output."""
        units = (len(layer.offsets) for layer in (self.inner, self.outer))
        first, second = (jnp.zeros(count) for count in units)
        return Params(first, jnp.zeros(()), second)

    def inner_features(self, x: Float[Array, "n d"]) -> Float[Array, "n inner"]:
        """Return what u weighs."""
        return self.inner.apply((), x) / len(self.inner.offsets) ** 0.5

    def outer_features(self, z: Float[Array, " n"]) -> Float[Array, "n outer"]:
        """Return what c weighs."""
        return self.outer.apply((), z[:, None]) / len(self.outer.offsets) ** 0.5

    def inner_apply(self, params: Params, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        """Return the number in the middle, z."""
        return self.inner_features(x) @ params.inner - params.offset

    def apply(self, params: Params, x: Float[Array, "n d"]) -> Float[Array, " n"]:
        """Return the outputs of inputs x (n, d)."""
        z = self.inner_apply(params, x)
        return z + self.outer_features(z) @ params.outer


class Trained(NamedTuple):
    """A network after both stages of training.

    Attributes:
        params: of the network.
        inner_losses: the mean squared error of z on the first half, before each step
            and after the last; at both ends where it was solved for.
        outer_losses: likewise of the network, on the second half.
        inner_decay: the decay of the first stage, the best of those that were tried.
    """

    params: Params
    inner_losses: Float[Array, " inner_losses"]
    outer_losses: Float[Array, " outer_losses"]
    inner_decay: Float[Array, ""]


def train_layerwise(
    network: ThreeLayerNetwork,
    first: tuple[Float[Array, "n1 d"], Float[Array, " n1"]],
    second: tuple[Float[Array, "n2 d"], Float[Array, " n2"]],
    *,
    inner_decay: Float[Array, "..."] | Sequence[float] | float,
    outer_decay: Array | float = 1e-4,
    solver: Literal["ridge", "descent"] = "ridge",
    steps: tuple[int, int] = (1000, 1000),
    learning_rates: tuple[float | None, float | None] = (None, None),
    counts: tuple[Array | int, Array | int] | None = None,
    batch_size: int = 2048,
) -> Trained:
    """Train the inner weights on one half of the data, then the outer on the other.

    Stage one fits z to the targets; z is then scaled to variance 1 on the second half,
    and stage two fits what z leaves. Each is a ridge regression: descent goes to what
    "ridge" solves for. Examples pass in blocks. It is for the caller to compile, and
    maps over seeds.

    Args:
        network: with weights that are not trained.
        first: inputs (n1, d) and targets (n1,).
        second: inputs (n2, d) and targets (n2,), of mean near 0.
        inner_decay: weight decay of stage one, in ``decay / 2 |u|^2``; of several the
            best by the correlation of z with the targets of the second half. The
            paper's is ``2 d^-(k + a)`` with a between 0 and 1.
        outer_decay: of stage two.
        solver: "ridge" at once, or "descent" by steps of full-batch gradient descent.
        steps: of descent, in each stage.
        learning_rates: of descent, in each stage; see
            :func:`kanjax.theory.ridge_regression.descend` for None.
        counts: how many examples of each half count, from the first on; all if None.
            They may be traced.
        batch_size: how many examples' features are in memory at once.

    Raises:
        ValueError: for an unknown solver, or halves whose shapes do not fit.
    """
    if solver not in ("ridge", "descent"):
        raise ValueError(f"solver must be 'ridge' or 'descent'; got {solver!r}.")
    x, y = second
    n1, n2 = (len(first[1]), len(y)) if counts is None else counts

    def fit(moments: ridge_regression.Moments, decay: Array, stage: int):
        if solver == "descent":
            return ridge_regression.descend(
                moments,
                decay,
                steps=steps[stage],
                learning_rate=learning_rates[stage],
            )
        weights = ridge_regression.solve(moments, decay)
        return weights, jnp.stack([moments.power, moments.loss(weights)])

    measured = ridge_regression.measure(
        network.inner_features, *first, count=n1, batch_size=batch_size
    )
    held_out = ridge_regression.measure(
        network.inner_features, x, y, count=n2, batch_size=batch_size
    )
    decays = jnp.ravel(jnp.asarray(inner_decay, measured.gram.dtype))
    centered = measured.center()
    every, losses = jax.lax.map(lambda decay: fit(centered, decay, 0), decays)
    best = jnp.argmax(jnp.abs(jax.vmap(held_out.correlation)(every)))
    inner = every[best]
    variance = held_out.variance(inner)
    inner = inner / jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    start = network.init()._replace(inner=inner, offset=measured.features @ inner)

    # Stage two sees z beside its features, so that its target is what z leaves.
    def features(x: Array) -> Array:
        return network.outer_features(network.inner_apply(start, x))

    remainder = y - _in_blocks(network.inner_apply, start, x, batch_size)
    moments = ridge_regression.measure(
        features, x, remainder, count=n2, batch_size=batch_size
    )
    outer, outer_losses = fit(moments, jnp.asarray(outer_decay), 1)
    return Trained(
        start._replace(outer=outer), losses[best], outer_losses, decays[best]
    )


class Sweep(NamedTuple):
    """Networks trained on samples of several sizes.

    Attributes:
        error: (sizes, seeds), the mean squared error on new inputs, over the variance
            of targets.
        correlation: (sizes, seeds), of z with the feature.
    """

    error: Float[Array, "sizes seeds"]
    correlation: Float[Array, "sizes seeds"]


def feature_correlation(
    network: ThreeLayerNetwork,
    params: Params,
    x: Float[Array, "n d"],
    feature: Feature,
) -> Float[Array, ""]:
    """Return the correlation of the number in the middle with a feature.

    Args:
        network: with weights that are not trained.
        params: of the network.
        x: (n, d), new inputs.
        feature: p.
    """
    return jnp.corrcoef(network.inner_apply(params, x), feature(x))[0, 1]


def sample_complexity_sweep(
    key: Array,
    target: Target,
    *,
    dimension: int,
    degree: int,
    sizes: Sequence[int],
    seeds: int,
    inner: int,
    outer: int = 200,
    tests: int = 4000,
    inner_decay: Float[Array, "..."] | Sequence[float] | float | None = None,
    outer_decay: float = 1e-4,
    batch_size: int = 2048,
) -> Sweep:
    """Train networks on samples of several sizes, all seeds of a size at once.

    Args:
        key: for data and networks.
        target: what is learned.
        dimension: d.
        degree: k, of the network's inner polynomials.
        sizes: numbers of examples, of both halves together.
        seeds: how many networks, each with data of its own.
        inner: the number of inner units.
        outer: the number of outer units.
        tests: how many new inputs each is measured on.
        inner_decay: as for :func:`train_layerwise`; if None, multiples of ``d^-k``
            from 0.003 to 3, the best being taken.
        outer_decay: as for :func:`train_layerwise`.
        batch_size: as for :func:`train_layerwise`, for each seed.

    Raises:
        ValueError: if a size is below 2.
    """
    if min(sizes) < 2:
        raise ValueError(f"sizes hold {min(sizes)}; each must be at least 2.")
    decays = jnp.geomspace(0.003, 3.0, 7) / dimension**degree
    if inner_decay is not None:
        decays = jnp.asarray(inner_decay)

    most = max(sizes)

    def draw(key: Array) -> tuple[ThreeLayerNetwork, Array, Array, Array]:
        keys = jax.random.split(key, 4)
        network = ThreeLayerNetwork.draw(
            keys[0], dimension, inner=inner, degree=degree, outer=outer
        )
        counts = (most // 2, most - most // 2, tests)
        first, second, new = (
            jax.random.normal(k, (count, dimension))
            for k, count in zip(keys[1:], counts, strict=True)
        )
        return network, first, second, new

    def run(
        size: Array, network: ThreeLayerNetwork, first: Array, second: Array, new: Array
    ) -> tuple[Array, Array]:
        trained = train_layerwise(
            network,
            (first, target(first)),
            (second, target(second)),
            inner_decay=decays,
            outer_decay=outer_decay,
            counts=(size // 2, size - size // 2),
            batch_size=batch_size,
        )
        y = target(new)
        z = _in_blocks(network.inner_apply, trained.params, new, batch_size)
        outputs = z + network.outer_features(z) @ trained.params.outer
        error = jnp.mean((outputs - y) ** 2) / jnp.var(y)
        return error, jnp.corrcoef(z, target.feature(new))[0, 1]

    networks, first, second, new = jax.vmap(draw)(jax.random.split(key, seeds))
    over_seeds = jax.vmap(run, in_axes=(None, 0, 0, 0, 0))
    # Small samples are the beginnings of the largest, and share its program.
    error, correlation = jax.lax.map(
        lambda size: over_seeds(size, networks, first, second, new), jnp.array(sizes)
    )
    return Sweep(error, correlation)


def _in_blocks(
    apply: Callable[[Params, Array], Array], params: Params, x: Array, batch_size: int
) -> Array:
    """Apply a network to inputs, a block at a time."""

    def single(row: Array) -> Array:
        return apply(params, row[None])[0]

    return jax.lax.map(single, x, batch_size=min(batch_size, len(x)))
