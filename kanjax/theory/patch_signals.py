"""What locality and weight sharing save: signals in one of many patches.

Lahoti, Karp, Winston, Singh, Li (2024), "Role of locality and weight sharing in
image-based tasks: a sample complexity separation between CNNs, LCNs, and FCNs", arXiv
2403.15707. An example has ``patches`` patches of ``features`` numbers; one of them, any
one, holds the signal with the label's sign, and all hold noise. Networks with a node
for each patch differ in what a node sees (everything, or its patch) and in whether
nodes share their weights.
"""

import math
from typing import Any, Literal

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, model

Architecture = Literal["convolutional", "locally connected", "fully connected"]
ARCHITECTURES = ("convolutional", "locally connected", "fully connected")


def draw_signal(key: Array, features: int) -> Float[Array, " features"]:
    """Draw a signal w* from the unit sphere.

    Args:
        key: to draw it by.
        features: numbers in a patch.
    """
    return _unit(jax.random.normal(key, (features,)))


def sample(
    key: Array,
    signal: Float[Array, " features"],
    *,
    rows: int,
    patches: int,
    noise: ArrayLike,
    position: int | None = None,
) -> tuple[Float[Array, "rows patches features"], Float[Array, " rows"]]:
    """Draw examples ``x = y w* at one patch + noise * normal``, with labels y of +-1.

    Args:
        key: to draw by.
        signal: (features,), w* of length 1.
        rows: how many examples.
        patches: how many patches each has.
        noise: sigma, the standard deviation of the noise; the theorems are for
            about ``1 / sqrt(patches)``.
        position: the patch of the signal (static signal distribution); drawn for each
            example if None (dynamic signal distribution).

    Returns:
        x (rows, patches, features) and y (rows,).

    Raises:
        ValueError: if a number is less than 1, position is no patch, noise is negative,
            or the signal's length is not 1.

    Examples:
        >>> import jax
        >>> w = draw_signal(jax.random.key(0), 5)
        >>> x, y = sample(jax.random.key(1), w, rows=8, patches=3, noise=0.0)
        >>> bool(jax.numpy.allclose((x @ w).sum(-1), y))
        True
    """
    for name, number in (("rows", rows), ("patches", patches)):
        checks.check_count(name, number)
    _check_unit(signal)
    _check_least("noise", noise)
    if position is not None and not 0 <= position < patches:
        raise ValueError(
            f"position is {position}, and the {patches} patches are numbered from 0 to "
            f"{patches - 1}; None draws one for each example."
        )
    sign_key, place_key, noise_key = jax.random.split(key, 3)
    y = jax.random.rademacher(sign_key, (rows,), signal.dtype)
    places = jax.random.randint(place_key, (rows,), 0, patches)
    if position is not None:
        places = jnp.full((rows,), position)
    marks = jax.nn.one_hot(places, patches, dtype=signal.dtype)
    bare = jnp.multiply.outer(marks, signal)
    shape = (rows, patches, signal.shape[-1])
    normal = jax.random.normal(noise_key, shape, signal.dtype)
    return y[:, None, None] * bare + noise * normal, y


def bayes_mean(
    x: Float[Array, "*batch patches features"],
    signal: Float[Array, " features"],
    noise: ArrayLike,
) -> Float[Array, " *batch"]:
    """Return ``E[y | x]`` of :func:`sample`, whose sign errs least of all predictions.

    Args:
        x: (..., patches, features).
        signal: (features,), w*.
        noise: sigma, above 0.

    Raises:
        ValueError: if noise is not positive, or the signal's length is not 1.
    """
    _check_unit(signal)
    checks.check_positive("noise", noise)
    scores = x @ signal / jnp.square(noise)
    odds = jax.nn.logsumexp(scores, axis=-1) - jax.nn.logsumexp(-scores, axis=-1)
    return jnp.tanh(odds / 2)


def soft_threshold(z: Array, bias: ArrayLike) -> Array:
    """Return ``relu(z - bias) - relu(-z - bias)``: z, less the bias, or 0 if smaller.

    Args:
        z: (...).
        bias: broadcast with z; it thresholds where it is not negative.
    """
    return jax.nn.relu(z - bias) - jax.nn.relu(-z - bias)


@model.dataclass
class PatchNetwork:
    """The sum of soft thresholds of one linear node for each patch.

    ``f(x) = sum_i phi_b(<w_i, x_i>)``, where x_i is patch i, or all of x for the fully
    connected network, and where the convolutional one has one w for all patches.

    Args:
        architecture: "convolutional", "locally connected" or "fully connected".
        patches: k, the number of patches and of nodes.
        features: d, the numbers in a patch.

    Examples:
        >>> import jax
        >>> net = PatchNetwork("locally connected", 4, 3)
        >>> params = net.init(jax.random.key(0))
        >>> params["weights"].shape, net.apply(params, jax.numpy.ones((5, 4, 3))).shape
        ((4, 3), (5,))
    """

    architecture: Architecture
    patches: int
    features: int

    def __post_init__(self) -> None:
        _check_architecture(self.architecture)
        for name in ("patches", "features"):
            checks.check_count(name, getattr(self, name))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of the weights: nodes, then what a node sees."""
        return {
            "convolutional": (self.features,),
            "locally connected": (self.patches, self.features),
            "fully connected": (self.patches, self.patches * self.features),
        }[self.architecture]

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "weights", deviations ``1 / (10 k d)`` as in the paper; "bias" is 0."""
        deviation = 1 / (10 * self.patches * self.features)
        weights = deviation * jax.random.normal(key, self.weight_shape)
        return {"weights": weights, "bias": jnp.zeros((), weights.dtype)}

    def apply(
        self,
        params: dict[str, Array],
        x: Float[Array, "*batch patches features"],
        *,
        key: Array | None = None,
    ) -> Float[Array, " *batch"]:
        """Return f of x (..., patches, features): (...).

        Raises:
            ValueError: if x has another shape.
        """
        if jnp.shape(x)[-2:] != (self.patches, self.features):
            raise ValueError(
                f"x must have shape (..., {self.patches}, {self.features}); got "
                f"{jnp.shape(x)}."
            )
        weights = params["weights"]
        if self.architecture == "fully connected":
            nodes = x.reshape(*x.shape[:-2], -1) @ weights.T
        else:
            nodes = jnp.sum(x * jnp.broadcast_to(weights, x.shape), axis=-1)
        return jnp.sum(soft_threshold(nodes, params["bias"]), axis=-1)


def widen(
    net: PatchNetwork, params: dict[str, Array], architecture: Architecture
) -> tuple[PatchNetwork, dict[str, Array]]:
    """Return the same function as a network of a more general architecture.

    Args:
        net: convolutional or locally connected.
        params: its parameters, "weights" (nodes, features) or (features,) and "bias".
        architecture: "locally connected" or "fully connected".

    Raises:
        ValueError: if the architecture is less general than that of net.
    """
    _check_architecture(architecture)
    if ARCHITECTURES.index(architecture) < ARCHITECTURES.index(net.architecture):
        raise ValueError(
            f"a {net.architecture} network is not always {architecture}: architecture "
            f"must be one of {ARCHITECTURES[ARCHITECTURES.index(net.architecture) :]}."
        )
    wide = PatchNetwork(architecture, net.patches, net.features)
    weights = params["weights"]
    if architecture != net.architecture:
        weights = jnp.broadcast_to(weights, (net.patches, net.features))
    if architecture == "fully connected" != net.architecture:
        places = jnp.eye(net.patches, dtype=weights.dtype)
        weights = (places[..., None] * weights[None]).reshape(wide.weight_shape)
    return wide, params | {"weights": weights}


def gate_bias(patches: int, features: int) -> float:
    """Return the paper's bias of the second step of :func:`fit_two_steps`.

    Args:
        patches: k.
        features: d.
    """
    size = patches * features
    return math.sqrt((patches + features) * math.log(size) / size) / 32


def fit_two_steps(
    net: PatchNetwork,
    params: dict[str, Array],
    x: Float[Array, "rows patches features"],
    y: Float[Array, " rows"],
    *,
    bias: ArrayLike,
    final_bias: ArrayLike = 1e-4,
    example_weights: Float[Array, " rows"] | None = None,
) -> dict[str, Array]:
    """Learn by two steps of gradient ascent on ``mean y f(x)``, nodes of length 1.

    The first, from small weights and without a bias, finds the mean of ``y x``. The
    second is long and leaves out examples whose node is below the bias in size: of the
    rows, a node keeps those that have the signal in its patch. With a squared loss the
    second step would point back, since nodes of length 1 overshoot the labels.

    Args:
        net: the network.
        params: a start, of :meth:`PatchNetwork.init`.
        x: (rows, patches, features).
        y: (rows,) labels of +-1.
        bias: of the second step, such as :func:`gate_bias`; large ones leave out every
            example of few, and the nodes stay as they were.
        final_bias: what the result has.
        example_weights: (rows,) in the mean over examples, 1 if None. With zeros for
            the last ones, one program serves all numbers of rows.

    Raises:
        ValueError: if labels and rows differ in number.
    """
    if len(y) != len(x):
        raise ValueError(f"x has {len(x)} rows and y has {len(y)}; both need as many.")
    mass = jnp.ones(len(y)) if example_weights is None else example_weights

    def step(
        params: dict[str, Array], bias: ArrayLike, size: float
    ) -> dict[str, Array]:
        def agreement(weights: Array) -> Array:
            f = net.apply({"weights": weights, "bias": jnp.asarray(bias)}, x)
            return jnp.sum(mass * y * f) / jnp.sum(mass)

        weights = params["weights"]
        weights = _unit(weights + size * jax.grad(agreement)(weights))
        return params | {"weights": weights}

    params = step(params, 0.0, 1.0)
    params = step(params, bias, 1e3 * net.patches)
    return params | {"bias": jnp.asarray(final_bias, params["bias"].dtype)}


def mean_direction(
    net: PatchNetwork,
    x: Float[Array, "rows patches features"],
    y: Float[Array, " rows"],
    *,
    example_weights: Float[Array, " rows"] | None = None,
) -> dict[str, Array]:
    """Return the unit mean of ``y x`` in each node: one step from the smallest weights.

    Args:
        net: the network.
        x: (rows, patches, features).
        y: (rows,) labels of +-1.
        example_weights: (rows,) in the mean over examples, 1 if None.
    """
    mass = jnp.ones(len(y)) if example_weights is None else example_weights
    mean = jnp.einsum("n,nkd->kd", mass * y, x)
    if net.architecture == "convolutional":
        mean = jnp.sum(mean, axis=0)
    if net.architecture == "fully connected":
        mean = jnp.broadcast_to(mean.ravel(), net.weight_shape)
    return {"weights": _unit(mean), "bias": jnp.zeros((), mean.dtype)}


def alignment(
    net: PatchNetwork, params: dict[str, Array], signal: Float[Array, " features"]
) -> Float[Array, ""]:
    """Return the mean cosine of the nodes to what they should be.

    That is the signal; for nodes that see every patch, the signal in all of them.

    Args:
        net: the network.
        params: its parameters.
        signal: (features,), w*.
    """
    ideal = signal
    if net.architecture == "fully connected":
        ideal = jnp.tile(signal, net.patches)
    return jnp.mean(_unit(params["weights"]) @ _unit(ideal))


def first_step_cosine(
    architecture: Architecture, rows: Any, *, patches: Any, features: Any, noise: Any
) -> Array:
    """Return the expected :func:`alignment` of :func:`mean_direction`.

    ``1 / sqrt(1 + k^2 d sigma^2 / n)``, without locality or sharing, and with locality
    alone; with both, ``1 / sqrt(1 + k d sigma^2 / n)``. It takes the number of rows
    with the signal in a patch, and squared lengths, for their means.

    Args:
        architecture: of the network.
        rows: n, the number of examples.
        patches: k.
        features: d.
        noise: sigma.

    Raises:
        ValueError: for another architecture, or a number that is not positive.
    """
    _check_architecture(architecture)
    _check_sizes(rows, patches, features, noise)
    power = 1 if architecture == "convolutional" else 2
    return 1 / jnp.sqrt(1 + patches**power * features * noise**2 / jnp.asarray(rows))


def second_step_cosine(
    architecture: Literal["convolutional", "locally connected"],
    rows: Any,
    *,
    patches: Any,
    features: Any,
    noise: Any,
) -> Array:
    """Return the expected alignment after a second step that leaves out all that errs.

    ``1 / sqrt(1 + k d sigma^2 / n)`` for a locally connected network, whose nodes learn
    from ``n / k`` rows each, and ``1 / sqrt(1 + d sigma^2 / n)`` for a convolutional
    one, which learns from all.

    Args:
        architecture: of the network; gates in patches need locality.
        rows: n, the number of examples.
        patches: k.
        features: d.
        noise: sigma.

    Raises:
        ValueError: if the architecture is not local, or a number is not positive.
    """
    _check_architecture(architecture)
    if architecture == "fully connected":
        raise ValueError(
            "a fully connected network has no gate for each patch: architecture must "
            "be 'convolutional' or 'locally connected'."
        )
    _check_sizes(rows, patches, features, noise)
    share = 1 if architecture == "convolutional" else patches
    return 1 / jnp.sqrt(1 + share * features * noise**2 / jnp.asarray(rows))


def _check_architecture(architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture must be one of {ARCHITECTURES}; got {architecture!r}."
        )


def _check_sizes(rows: Any, patches: Any, features: Any, noise: Any) -> None:
    for name, value in (("rows", rows), ("patches", patches), ("features", features)):
        checks.check_positive(name, value)
    _check_least("noise", noise)


def _check_least(name: str, value: Any) -> None:
    if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) >= 0):
        raise ValueError(f"{name} must be at least 0; got {value!r}.")


def _check_unit(signal: Array) -> None:
    if isinstance(signal, jax.core.Tracer):
        return
    length = float(np.linalg.norm(signal))
    if abs(length - 1) > 1e-3:
        raise ValueError(
            f"signal has the length {length:.4g}; it must be on the unit sphere. "
            "Divide it by its length, and noise as well."
        )


def _unit(v: Array) -> Array:
    """Of length 1 along the last axis; zeros stay, which a gate may leave."""
    size = jnp.linalg.norm(v, axis=-1, keepdims=True)
    return v / jnp.where(size > 0, size, 1.0)
