"""Grokking without weight decay: lazy first, rich later, in a network with two knobs.

Kumar, Bordelon, Gershman, Pehlevan 2023, "Grokking as the Transition from Lazy to Rich
Training Dynamics", arXiv 2310.06110.

A network ``f(x) = (alpha / N) sum_i phi(w_i . x)`` with ``phi(h) = h + epsilon h^2 /
2`` learns ``y = (beta . x)^2 / 2`` of ``x ~ N(0, I / D)`` with ``|beta|^2 = D``, by
full-batch gradient descent on ``mean (f - y)^2``. Alpha says how lazily it trains,
epsilon how much its first kernel knows of even functions. The learning rate is ``N /
alpha^2``, so that outputs move equally fast at first for any alpha and N.

Outputs depend on the weights through two moments, and a step of descent maps moments to
moments: :func:`reduced_dynamics` is descent itself, exactly, at a price that does not
grow with N. What they leave out of sight is in :mod:`kanjax.theory.laziness`, for any
network, and in :mod:`kanjax.theory.mean_field_dynamics`, for large D.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, model

Scalar = Array | float


@model.dataclass
class PolynomialNetwork:
    """One hidden layer of ``h + epsilon h^2 / 2``, whose second layer is fixed.

    Args:
        inputs: the dimension of x, D.
        width: the number of hidden units, N.
        alpha: the scale of outputs; larger is lazier.
        epsilon: the share of the even part.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = PolynomialNetwork(4, 8, epsilon=0.25)
        >>> net.apply(net.init(jax.random.key(0)), jnp.ones((3, 4))).shape
        (3, 1)
    """

    inputs: int
    width: int
    alpha: float = 1.0
    epsilon: float = 0.02

    def __post_init__(self) -> None:
        for name in ("inputs", "width"):
            checks.check_count(name, getattr(self, name))
        checks.check_positive("alpha", self.alpha)

    @property
    def learning_rate(self) -> float:
        """The step size at which outputs move equally fast for any alpha and width."""
        return self.width / self.alpha**2

    def init(self, key: Array) -> Float[Array, "width inputs"]:
        """Return standard normal weights (width, inputs)."""
        return jax.random.normal(key, (self.width, self.inputs))

    def apply(
        self, params: Float[Array, "width inputs"], x: Float[Array, "... inputs"]
    ) -> Float[Array, "... 1"]:
        """Return the outputs (..., 1) of x (..., inputs)."""
        h = x @ params.T
        units = h + self.epsilon / 2 * h**2
        return self.alpha * jnp.mean(units, axis=-1, keepdims=True)


class Moments(NamedTuple):
    """All that outputs of a :class:`PolynomialNetwork` depend on.

    Attributes:
        mean: (inputs,), of the units' weights.
        second: (inputs, inputs), ``W^T W / N``.
    """

    mean: Float[Array, " inputs"]
    second: Float[Array, "inputs inputs"]


class PopulationLoss(NamedTuple):
    """The loss on new inputs by what causes it; the total is their sum.

    Attributes:
        linear: ``alpha^2 |mean|^2 / D``: the network has an odd part, the target none.
        scale: the second moment has the wrong size.
        misalignment: it has the wrong direction; 0 where its alignment is 1.
        offset: the mean output is wrong, squared.
    """

    linear: Float[Array, ""]
    scale: Float[Array, ""]
    misalignment: Float[Array, ""]
    offset: Float[Array, ""]

    @property
    def total(self) -> Float[Array, ""]:
        """The mean squared error."""
        return self.linear + self.scale + self.misalignment + self.offset


class Delay(NamedTuple):
    """When two curves first reach a threshold; infinity for never.

    Attributes:
        train: the time of the train loss.
        test: the time of the test loss.
    """

    train: Float[Array, "..."]
    test: Float[Array, "..."]

    @property
    def ratio(self) -> Float[Array, "..."]:
        """How many times longer the test loss takes; NaN where neither arrives."""
        return self.test / self.train


def draw_direction(key: Array, inputs: int) -> Float[Array, " inputs"]:
    """Draw a target's direction, uniformly with ``|beta|^2 = inputs``.

    Args:
        key: for the draw.
        inputs: the dimension.
    """
    beta = jax.random.normal(key, (inputs,))
    return beta * jnp.sqrt(inputs) / jnp.linalg.norm(beta)


def draw_data(
    key: Array, direction: Float[Array, " inputs"], examples: int
) -> tuple[Float[Array, "examples inputs"], Float[Array, " examples"]]:
    """Draw inputs ``N(0, I / D)`` with their targets ``(beta . x)^2 / 2``.

    Args:
        key: for the inputs.
        direction: (inputs,), beta, such as :func:`draw_direction` draws.
        examples: how many.
    """
    inputs = len(direction)
    x = jax.random.normal(key, (examples, inputs), direction.dtype) / inputs**0.5
    return x, (x @ direction) ** 2 / 2


def moments(weights: Float[Array, "width inputs"]) -> Moments:
    """Return the mean and the second moment of hidden units' weights.

    Args:
        weights: (width, inputs).
    """
    second = jnp.matmul(weights.T, weights, precision="highest") / len(weights)
    return Moments(jnp.mean(weights, axis=0), second)


def predict(
    at: Moments, x: Float[Array, "n inputs"], *, alpha: Scalar, epsilon: Scalar
) -> Float[Array, " n"]:
    """Return the outputs of any network with these moments.

    Args:
        at: the moments.
        x: (n, inputs).
        alpha: the scale of outputs.
        epsilon: the share of the even part.
    """
    squares = jnp.sum((x @ at.second) * x, axis=-1)
    return alpha * (x @ at.mean + epsilon / 2 * squares)


def population_loss(
    at: Moments,
    direction: Float[Array, " inputs"],
    *,
    alpha: Scalar,
    epsilon: Scalar,
) -> PopulationLoss:
    """Return the expected squared error on new inputs, in closed form.

    With ``A = (alpha epsilon M - beta beta^T) / 2`` it is ``alpha^2 |mean|^2 / D + 2 tr
    A^2 / D^2 + (tr A / D)^2``, for any length of beta; the middle term is split by the
    alignment.

    Args:
        at: the moments.
        direction: (inputs,), beta.
        alpha: the scale of outputs.
        epsilon: the share of the even part.
    """
    inputs = len(direction)
    power = jnp.sum(direction**2)
    size = alpha * epsilon * jnp.linalg.norm(at.second)
    aligned = alignment(at, direction)
    trace = alpha * epsilon * jnp.trace(at.second) - power
    return PopulationLoss(
        linear=alpha**2 * jnp.sum(at.mean**2) / inputs,
        scale=(size - power * aligned) ** 2 / (2 * inputs**2),
        misalignment=power**2 * (1 - aligned**2) / (2 * inputs**2),
        offset=(trace / (2 * inputs)) ** 2,
    )


def alignment(at: Moments, direction: Float[Array, " inputs"]) -> Float[Array, ""]:
    """Return ``beta^T M beta / (|beta|^2 |M|_F)``, 1 where ``M ~ beta beta^T``.

    0 where M is 0, as of weights that are all 0.

    Args:
        at: the moments.
        direction: (inputs,), beta.
    """
    along = direction @ at.second @ direction
    size = jnp.sum(direction**2) * jnp.linalg.norm(at.second)
    return along / jnp.where(size > 0, size, 1.0)


def tangent_kernel(
    at: Moments,
    x1: Float[Array, "n1 inputs"],
    x2: Float[Array, "n2 inputs"],
    *,
    epsilon: Scalar,
) -> Float[Array, "n1 n2"]:
    """Return the tangent kernel of these moments, times the learning rate.

    ``x . x' mean_i phi'(h_i) phi'(h_i')``: with ``N / alpha^2`` neither the scale nor
    the width remains. Its alignment with targets is :func:`kanjax.ntk.alignment`.

    Args:
        at: the moments.
        x1: (n1, inputs).
        x2: (n2, inputs).
        epsilon: the share of the even part.
    """
    linear = (x1 @ at.mean)[:, None] + (x2 @ at.mean)[None, :]
    slopes = 1 + epsilon * linear + epsilon**2 * (x1 @ at.second @ x2.T)
    return (x1 @ x2.T) * slopes


def expected_kernel(
    x1: Float[Array, "n1 inputs"],
    x2: Float[Array, "n2 inputs"],
    *,
    epsilon: Scalar,
) -> Float[Array, "n1 n2"]:
    """Return the mean of :func:`tangent_kernel` over standard normal weights.

    ``x . x' (1 + epsilon^2 x . x')``; a small epsilon leaves the linear kernel, which
    knows nothing of an even target.

    Args:
        x1: (n1, inputs).
        x2: (n2, inputs).
        epsilon: the share of the even part.
    """
    products = x1 @ x2.T
    return products * (1 + epsilon**2 * products)


def reduced_step(
    at: Moments,
    x: Float[Array, "n inputs"],
    y: Float[Array, " n"],
    *,
    alpha: Scalar,
    epsilon: Scalar,
    rate: Scalar = 1.0,
) -> Moments:
    """Return the moments after a step of gradient descent, exactly.

    A unit moves by ``w <- w + g + epsilon B w``, with ``g = 2 / (alpha P) sum_mu (y_mu
    - f_mu) x_mu`` and B the same sum over ``x_mu x_mu^T``.

    Args:
        at: the moments before.
        x: (n, inputs).
        y: (n,).
        alpha: the scale of outputs.
        epsilon: the share of the even part.
        rate: the learning rate, in units of ``N / alpha^2``.
    """
    error = y - predict(at, x, alpha=alpha, epsilon=epsilon)
    pull = 2 * rate / (alpha * len(x)) * error[:, None] * x
    shift = jnp.sum(pull, axis=0)
    stretch = jnp.eye(x.shape[1], dtype=x.dtype) + epsilon * (pull.T @ x)
    mean = stretch @ at.mean
    cross = jnp.outer(shift, mean)
    second = stretch @ at.second @ stretch + cross + cross.T + jnp.outer(shift, shift)
    # Round-off would grow where it is not symmetric.
    return Moments(mean + shift, (second + second.T) / 2)


def reduced_dynamics(
    start: Moments,
    x: Float[Array, "n inputs"],
    y: Float[Array, " n"],
    *,
    alpha: Scalar,
    epsilon: Scalar,
    steps: int,
    every: int = 1,
    rate: Scalar = 1.0,
    record: Callable[[Moments], Any] = lambda at: at,
) -> tuple[Moments, Any]:
    """Train by gradient descent, in the moments alone.

    One scan, for the caller to compile; it maps over seeds, alpha, epsilon and rate. To
    train the difference to the first outputs (centering), add these to y.

    Args:
        start: the moments of the first weights.
        x: (n, inputs), the examples to train on.
        y: (n,).
        alpha: the scale of outputs.
        epsilon: the share of the even part.
        steps: how many, a multiple of every.
        every: steps from a record to the next.
        rate: the learning rate, in units of ``N / alpha^2``.
        record: what is kept of the moments, a pytree of arrays.

    Returns:
        The last moments, and the records before step 0, every, ... and after the last,
        ``steps / every + 1`` of them.

    Raises:
        ValueError: for an alpha that is not positive, shapes that do not fit, or steps
            that are no positive multiple of every.

    Examples:
        >>> import jax
        >>> beta = draw_direction(jax.random.key(0), 8)
        >>> x, y = draw_data(jax.random.key(1), beta, 40)
        >>> net = PolynomialNetwork(8, 20, epsilon=0.25)
        >>> start = moments(net.init(jax.random.key(2)))
        >>> knobs = {"alpha": net.alpha, "epsilon": net.epsilon}
        >>> end, losses = reduced_dynamics(start, x, y, steps=2000, every=500, **knobs,
        ...     record=lambda at: population_loss(at, beta, **knobs).total)
        >>> losses.shape, bool(losses[-1] < 0.5 * losses[0])
        ((5,), True)
    """
    checks.check_positive("alpha", alpha)
    if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[1:] != start.mean.shape:
        raise ValueError(
            f"x has shape {x.shape}, y {y.shape} and the weights' mean "
            f"{start.mean.shape}; they must be (n, inputs), (n,) and (inputs,)."
        )
    if every < 1 or steps < 1 or steps % every:
        raise ValueError(
            f"steps is {steps} and every {every}; steps must be a positive multiple "
            "of every."
        )

    def step(at: Moments, _: None) -> tuple[Moments, None]:
        return reduced_step(at, x, y, alpha=alpha, epsilon=epsilon, rate=rate), None

    def stretch(at: Moments, _: None) -> tuple[Moments, Any]:
        return jax.lax.scan(step, at, None, length=every)[0], record(at)

    end, records = jax.lax.scan(stretch, start, None, length=steps // every)
    final = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], record(end))
    return end, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), records, final)


def grokking_delay(
    train: Float[Array, "... times"],
    test: Float[Array, "... times"],
    times: Float[Array, " times"],
    *,
    threshold: Scalar,
) -> Delay:
    """Return when the train and the test loss first reach a threshold.

    Of losses, not accuracies: these exaggerate how sudden it is.

    Args:
        train: (..., times).
        test: (..., times).
        times: (times,), increasing.
        threshold: for both.

    Raises:
        ValueError: if the shapes do not fit.
    """
    train, test, times = (checks.as_floating(v) for v in (train, test, times))
    if (
        times.ndim != 1
        or not (train.shape == test.shape != ())
        or (train.shape[-1:] != times.shape)
    ):
        raise ValueError(
            f"train has shape {train.shape}, test {test.shape} and times "
            f"{times.shape}; they must be (..., times), (..., times) and (times,)."
        )

    def first(curve: Array) -> Array:
        reached = curve <= threshold
        at = times[jnp.argmax(reached, axis=-1)]
        return jnp.where(jnp.any(reached, axis=-1), at, jnp.inf)

    return Delay(first(train), first(test))
