"""Permutations of bits, learned by wide ensembles from the unit vectors alone.

Giapitzakis, Back de Luca, Fountoulakis 2025, arXiv 2502.16763. A network of one hidden
layer, ``f(x) = W2 relu(W1 x / sqrt(k)) / sqrt(width)`` with standard normal weights, is
trained by gradient descent on the squared error of the k examples ``e_i -> e_p(i)``. At
infinite width its outputs on any nonzero binary input are independent and Gaussian. All
of them share one variance; the mean is positive where the permuted input is 1 and at
most 0 elsewhere, so the sign of an average over enough networks permutes exactly.

The kernels of unit vectors have two values, on and off the diagonal, hence two
eigenvalues, and everything depends on an input by its number of ones only: no matrix is
formed here. The closed forms are derived for this module, not taken from the paper; the
general ones are :func:`kanjax.ntk.infinite` and :func:`kanjax.ntk.ensemble`. Time and
learning rate are those of :mod:`kanjax.ntk.dynamics`, with its loss ``|f - y|^2 / (2
k^2)``. Kernels are of size 1 / k by the fan-in scale of the first layer: it leaves the
mean as it is and divides the variance by k.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import gaussian, nn, training
from kanjax.data import Examples

# Kernels of unit vectors, times k: covariance with oneself, and with another (which is
# also the tangent kernel of another; with oneself that is 1).
_VARIANCE, _CROSS = 0.5, 1 / (2 * math.pi)
_MOST_BITS = 24

Params = Any


class Mean(NamedTuple):
    """The mean output of trained networks on an input.

    Attributes:
        high: where the permuted input is 1.
        low: where it is 0.
    """

    high: Array
    low: Array


def mean(
    k: ArrayLike,
    ones: ArrayLike,
    t: ArrayLike = math.inf,
    *,
    learning_rate: ArrayLike = 1.0,
) -> Mean:
    """Return the mean over networks of infinite width at a time of training.

    At infinity, with ``c = 1 / (2 pi)`` and ``v + s`` the tangent kernel of the input
    with one of its unit vectors, ``low = c sqrt(n) (1 - c + n c - sqrt(n) (v + s)) /
    ((1 - c) (1 - c + k c))`` and ``high = low + (v + s - c sqrt(n)) / (1 - c)``. A form
    without the cancellation of the solved system: single precision suffices.

    Args:
        k: the number of bits.
        ones: how many of them are 1, from 1 to k; any shape that broadcasts with k.
        t: the time of gradient flow, from 0 to infinity.
        learning_rate: of gradient flow.

    Raises:
        ValueError: if ones is 0 or above k: the zero vector has no angle.

    Examples:
        >>> high, low = mean(5, 2)
        >>> round(float(high), 6), round(float(low), 6)
        (0.792854, -0.020704)
    """
    _check_ones(k, ones)
    k, n = _as_floats(k, ones)
    pair = gaussian.dual(jax.nn.relu)(n, jnp.ones_like(n), jnp.ones_like(n))
    inside, outside = pair.value + pair.slope, _CROSS * jnp.sqrt(n)
    bulk, along = _eigenvalues(k)
    low = outside * (bulk + n * _CROSS - jnp.sqrt(n) * inside) / (bulk * along)
    high = low + (inside - outside) / bulk
    # The mean of A over the examples belongs to one eigenvalue, the rest to another.
    level = (n * inside + (k - n) * outside) / (k * along)
    learned_bulk = _learned(bulk, k, t, learning_rate)
    learned_along = _learned(along, k, t, learning_rate)
    shift = (learned_along - learned_bulk) * level
    return Mean(learned_bulk * high + shift, learned_bulk * low + shift)


def variance(
    k: ArrayLike,
    ones: ArrayLike,
    t: ArrayLike = math.inf,
    *,
    learning_rate: ArrayLike = 1.0,
) -> Array:
    """Return the variance of each output over networks of infinite width.

    ``K(x, x) - 2 A K(X, x) + A K(X, X) A^T``, where A, the weights of the k examples,
    are the two means of :func:`mean`. At infinity it is 0 for an input of the training
    set. Outputs are independent of each other.

    Args:
        k: the number of bits.
        ones: how many of them are 1, from 1 to k; any shape that broadcasts with k.
        t: the time of gradient flow, from 0 to infinity.
        learning_rate: of gradient flow.

    Raises:
        ValueError: if ones is 0 or above k.

    Examples:
        >>> round(float(5 * variance(5, 2)), 6)
        0.132347
    """
    high, low = mean(k, ones, t, learning_rate=learning_rate)
    k, n = _as_floats(k, ones)
    inside = gaussian.dual(jax.nn.relu)(n, jnp.ones_like(n), jnp.ones_like(n)).value
    outside = _CROSS * jnp.sqrt(n)
    mixed = n * high * inside + (k - n) * low * outside
    squares = n * high**2 + (k - n) * low**2
    total = n * high + (k - n) * low
    prior = (_VARIANCE - _CROSS) * squares + _CROSS * total**2
    return jnp.maximum(n * _VARIANCE - 2 * mixed + prior, 0) / k


def ensemble_size(
    k: int,
    failure: ArrayLike = 0.01,
    *,
    scope: Literal["single", "all"] = "single",
    t: ArrayLike = math.inf,
    learning_rate: ArrayLike = 1.0,
) -> Array:
    """How many networks suffice for their average to have every sign right.

    ``2 variance log(m / failure) / min(high^2, low^2)``, rounded up, for the worst
    number of ones from 2 on: by the Gaussian tail an entry fails with at most
    ``exp(-size mean^2 / (2 variance))``, and by the union bound over m entries (twice,
    for both signs) so do all. It grows as k log k for one input and as k^2 for all.

    Args:
        k: the number of bits, at least 2.
        failure: the probability of an error anywhere, between 0 and 1.
        scope: "single" input (``m = 2 k``) or "all" (``m = 2 k 2^k``).
        t: the time of gradient flow, from 0 to infinity.
        learning_rate: of gradient flow.

    Returns:
        A whole number as a float, infinite where means are not yet of the right signs.

    Raises:
        ValueError: if k is below 2, failure is no probability or scope is neither.

    Examples:
        >>> float(ensemble_size(4)), float(ensemble_size(4, scope="all"))
        (846.0, 1197.0)
    """
    if operator.index(k) < 2:
        raise ValueError(f"k must be at least 2; got {k}. One bit has no unseen input.")
    if scope not in ("single", "all"):
        raise ValueError(f"scope must be 'single' or 'all'; got {scope!r}.")
    if not isinstance(failure, jax.core.Tracer):
        chances = np.asarray(failure)
        if not np.all((chances > 0) & (chances < 1)):
            raise ValueError(f"failure must be above 0 and below 1; got {failure!s}.")
    # Of one shape for all small k, which are then compiled once.
    ones = jnp.minimum(jnp.arange(2, max(k, 32) + 1), k)
    high, low = mean(k, ones, t, learning_rate=learning_rate)
    # An input of only ones has no output that should be low.
    low = jnp.where(ones == k, -jnp.inf, low)
    signed = jnp.minimum(high, -low)
    gap = jnp.maximum(signed, jnp.finfo(signed.dtype).tiny ** 0.5)
    spread = variance(k, ones, t, learning_rate=learning_rate)
    inputs = k * math.log(2) if scope == "all" else 0.0
    entries = math.log(2 * k) + inputs - jnp.log(failure)
    worst = jnp.max(jnp.where(signed > 0, spread / gap**2, jnp.inf))
    return jnp.ceil(2 * worst * entries)


def all_binary_inputs(k: int) -> Float[Array, "inputs k"]:
    """Every nonzero binary vector of k bits, those of fewer ones first.

    Args:
        k: the number of bits, from 1 to 24.

    Returns:
        (2^k - 1, k); the first k are the unit vectors, the training set.

    Raises:
        ValueError: if k is out of range.

    Examples:
        >>> all_binary_inputs(2).tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    if not 1 <= operator.index(k) <= _MOST_BITS:
        raise ValueError(
            f"k must be from 1 to {_MOST_BITS}; got {k}. Of more bits draw inputs at "
            "random: all 2^k - 1 do not fit."
        )
    numbers = np.arange(1, 2**k)
    bits = (numbers[:, None] >> np.arange(k)) & 1
    order = np.argsort(bits.sum(1), kind="stable")
    return jnp.asarray(bits[order], jnp.result_type(float))


def permutation_targets(
    permutation: Sequence[int] | Int[Array, " k"], x: Float[Array, "*inputs k"]
) -> Float[Array, "*inputs k"]:
    """Move bit i of every input to place ``permutation[i]``.

    Args:
        permutation: (k,), each of 0 to k - 1 once.
        x: (..., k)

    Raises:
        ValueError: if permutation is none, or not of as many bits as x.
    """
    places = _check_permutation(permutation)
    if x.shape[-1:] != places.shape:
        raise ValueError(
            f"x has shape {x.shape}; its last axis must be as long as permutation, "
            f"{len(places)}."
        )
    return x[..., jnp.argsort(places)]


def permutation_dataset(permutation: Sequence[int] | Int[Array, " k"]) -> Examples:
    """Return the k unit vectors and their images, ``e_i -> e_permutation[i]``.

    Args:
        permutation: (k,), each of 0 to k - 1 once.

    Raises:
        ValueError: if permutation is none.

    Examples:
        >>> permutation_dataset([1, 0]).y.tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    x = jnp.eye(len(_check_permutation(permutation)))
    return Examples(x, permutation_targets(permutation, x))


def network(k: int, width: int) -> nn.MLP:
    """Return the paper's network of k inputs and outputs: one hidden layer and no
    biases.

    Args:
        k: the number of bits.
        width: of the hidden layer.
    """
    widths = (k, width, k)
    return nn.MLP(widths, parameterization="ntk", kernel_scale=1.0, use_bias=False)


def train_ensemble(
    key: Array,
    permutation: Sequence[int] | Int[Array, " k"],
    x: Float[Array, "inputs k"],
    *,
    members: int,
    width: int,
    steps: int = 40,
    learning_rate: float | None = None,
    members_at_once: int = 16,
    centered: bool = False,
) -> Float[Array, "members inputs k"]:
    """Train networks of finite width, and return what each puts out on some inputs.

    Plain gradient descent on all k examples. Parameters of a few members at a time are
    held, so that memory grows with ``members_at_once * width`` and not with members.

    Args:
        key: of the initial weights; member i has ``jax.random.split(key, members)[i]``.
        permutation: (k,), each of 0 to k - 1 once.
        x: (inputs, k)
        members: how many networks.
        width: of their hidden layer; means on inputs with two ones are of size 1 / k,
            and the bias of finite width must be well below.
        steps: of gradient descent.
        learning_rate: of the loss ``|f - y|^2 / (2 k^2)``; the quickest at infinite
            width if None, which leaves a share of ``k / (4 pi - 2 + k)`` of the error
            in each step.
        members_at_once: how many are trained side by side.
        centered: leave out each network's outputs at initialisation: what remains is
            near :func:`mean` without an average, of any one wide network.

    Raises:
        ValueError: if permutation is none, or not of as many bits as x.
    """
    data = permutation_dataset(permutation)
    permutation_targets(permutation, x)
    k = len(permutation)
    net = network(k, width)
    rate = 2 * k**3 / sum(_eigenvalues(k)) if learning_rate is None else learning_rate

    def loss(params: Params, batch: tuple[Array, Array], key: Array) -> Array:
        inputs, targets = batch
        return jnp.sum((net.apply(params, inputs) - targets) ** 2) / (2 * k**2)

    def train(key: Array) -> Array:
        params = net.init(key)
        kept = 1.0 if centered else 0.0
        start, begin = (kept * net.apply(params, inputs) for inputs in (data.x, x))
        params, _ = training.descend(
            loss,
            params,
            (data.x, data.y + start),
            key=key,
            optimizer=optax.sgd(jnp.asarray(rate)),
            steps=steps,
        )
        return net.apply(params, x) - begin

    keys = jax.random.split(key, members)
    return jax.lax.map(train, keys, batch_size=min(members_at_once, members))


def round_outputs(
    outputs: Float[Array, "*inputs k"], threshold: ArrayLike = 0.0
) -> Float[Array, "*inputs k"]:
    """1 where an average of outputs is above the threshold, else 0.

    Args:
        outputs: (..., k), averages over an ensemble.
        threshold: 0 for the sign, the paper's rule for unseen inputs; on the training
            set low outputs are 0 themselves and chance decides their sign: take one
            between, such as :func:`midpoint`.
    """
    return (outputs > threshold).astype(outputs.dtype)


def midpoint(
    x: Float[Array, "*inputs k"],
    t: ArrayLike = math.inf,
    *,
    learning_rate: ArrayLike = 1.0,
) -> Float[Array, "*inputs 1"]:
    """Return the threshold half way between the two means, which asks least of an
    ensemble.

    It knows the number of ones of an input, which a sign does not.

    Args:
        x: (..., k), nonzero binary inputs.
        t: the time of gradient flow.
        learning_rate: of gradient flow.

    Raises:
        ValueError: if an input is 0.
    """
    ones = jnp.sum(x, axis=-1, keepdims=True)
    high, low = mean(x.shape[-1], ones, t, learning_rate=learning_rate)
    return (high + low) / 2


def exact_accuracy(
    outputs: Float[Array, "*ensembles inputs k"],
    permutation: Sequence[int] | Int[Array, " k"],
    x: Float[Array, "inputs k"],
    *,
    threshold: ArrayLike = 0.0,
) -> Float[Array, "*ensembles"]:
    """Return the share of inputs that are permuted without a single wrong bit.

    Args:
        outputs: (..., inputs, k), averages over an ensemble.
        permutation: (k,), each of 0 to k - 1 once.
        x: (inputs, k), all or some of the inputs.
        threshold: see :func:`round_outputs`.

    Raises:
        ValueError: if permutation is none, or not of as many bits as x.
    """
    targets = permutation_targets(permutation, x)
    bits = round_outputs(outputs, threshold)
    right = bits == jnp.broadcast_to(targets, bits.shape)
    return jnp.mean(jnp.all(right, axis=-1), axis=-1)


def _as_floats(k: ArrayLike, ones: ArrayLike) -> tuple[Array, Array]:
    dtype = jnp.result_type(k, ones, 1.0)
    return jnp.asarray(k, dtype), jnp.asarray(ones, dtype)


def _check_ones(k: ArrayLike, ones: ArrayLike) -> None:
    if isinstance(k, jax.core.Tracer) or isinstance(ones, jax.core.Tracer):
        return
    number = np.asarray(ones)
    if not np.all((number >= 1) & (number <= np.asarray(k))):
        raise ValueError(
            f"ones must be from 1 to k = {k}; got values from {number.min()} to "
            f"{number.max()}. The law is that of nonzero binary inputs."
        )


def _eigenvalues(k: ArrayLike) -> tuple[float, ArrayLike]:
    """Of the tangent kernel times k: of k - 1 vectors, and of the constant one."""
    return 1 - _CROSS, 1 - _CROSS + k * _CROSS


def _learned(
    eigenvalue: ArrayLike, k: Array, t: ArrayLike, learning_rate: ArrayLike
) -> Array:
    """Return the share of an eigenvector that is learned at a time, 1 at infinity."""
    time = jnp.asarray(t, k.dtype)
    ends = jnp.isposinf(time)
    exponent = learning_rate * eigenvalue * jnp.where(ends, 0.0, time) / k**3
    return jnp.where(ends, 1.0, -jnp.expm1(-exponent))


def _check_permutation(permutation: Sequence[int] | Array) -> Array:
    places = jnp.asarray(permutation)
    if places.ndim != 1 or not jnp.issubdtype(places.dtype, jnp.integer):
        raise ValueError(
            f"permutation must be (k,) integers; got {places.dtype} of shape "
            f"{places.shape}."
        )
    if isinstance(places, jax.core.Tracer):
        return places
    if not np.array_equal(np.sort(np.asarray(places)), np.arange(len(places))):
        raise ValueError(
            "permutation must have each of 0 to k - 1 once; got "
            f"{np.asarray(places).tolist()}."
        )
    return places
