"""A network of two knobs on data of its own: problems drawn, and trained with records.

Kumar, Bordelon, Gershman, Pehlevan 2023, arXiv 2310.06110: their polynomial regression.
What is drawn here :mod:`kanjax.theory.grokking` explains.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import ntk
from kanjax.theory import grokking
from kanjax.theory.grokking import Moments, Scalar


class Problem(NamedTuple):
    """A target, its examples, and a network before training.

    Attributes:
        direction: (inputs,), beta of the target ``(beta . x)^2 / 2``.
        x: (examples, inputs).
        y: (examples,).
        start: the moments of standard normal weights.
    """

    direction: Float[Array, " inputs"]
    x: Float[Array, "examples inputs"]
    y: Float[Array, " examples"]
    start: Moments


class Curves(NamedTuple):
    """What was seen before step 0, every, ... and after the last.

    Attributes:
        train: (times,), the mean squared error on the examples.
        test: (times,), on new inputs, exactly.
        alignment: (times,), of the weights with the target's direction.
    """

    train: Float[Array, " times"]
    test: Float[Array, " times"]
    alignment: Float[Array, " times"]


def draw(key: Array, *, inputs: int, width: int, examples: int) -> Problem:
    """Draw a target, examples and first weights.

    Fewer examples of the same key are the first of more.

    Args:
        key: for all of them.
        inputs: the dimension, D.
        width: the number of hidden units, N.
        examples: how many, P.

    Examples:
        >>> problem = draw(jax.random.key(0), inputs=8, width=20, examples=40)
        >>> problem.x.shape, problem.y.shape
        ((40, 8), (40,))
    """
    direction_key, data_key, weights_key = jax.random.split(key, 3)
    direction = grokking.draw_direction(direction_key, inputs)
    x, y = grokking.draw_data(data_key, direction, examples)
    net = grokking.PolynomialNetwork(inputs, width)
    return Problem(direction, x, y, grokking.moments(net.init(weights_key)))


def train(
    problem: Problem, *, alpha: Scalar, epsilon: Scalar, steps: int, every: int = 1
) -> tuple[Moments, Curves]:
    """Train by gradient descent and see both losses and the alignment.

    One scan, for the caller to compile; it maps over problems, alpha and epsilon. When
    both losses are low is :func:`kanjax.theory.grokking.grokking_delay`.

    Args:
        problem: such as :func:`draw` gives.
        alpha: the scale of outputs; larger is lazier.
        epsilon: the share of the even part.
        steps: how many, a multiple of every.
        every: steps from a record to the next.

    Returns:
        The last moments, and ``steps / every + 1`` records.

    Raises:
        ValueError: as :func:`kanjax.theory.grokking.reduced_dynamics` does.

    Examples:
        >>> problem = draw(jax.random.key(0), inputs=8, width=20, examples=40)
        >>> end, curves = train(problem, alpha=1.0, epsilon=0.25, steps=400, every=200)
        >>> curves.test.shape, bool(curves.train[-1] < curves.train[0])
        ((3,), True)
    """
    knobs = {"alpha": alpha, "epsilon": epsilon}
    direction, x, y, start = problem

    def record(at: Moments) -> Curves:
        errors = grokking.predict(at, x, **knobs) - y
        return Curves(
            jnp.mean(errors**2),
            grokking.population_loss(at, direction, **knobs).total,
            grokking.alignment(at, direction),
        )

    return grokking.reduced_dynamics(
        start, x, y, **knobs, steps=steps, every=every, record=record
    )


def train_linearized(
    problem: Problem,
    x_new: Float[Array, "new inputs"],
    *,
    epsilon: Scalar,
    steps: int,
    alpha: Scalar = 1.0,
) -> Float[Array, " new"]:
    """Return what the network linearized at its start predicts after training.

    The lazy end of :func:`train`: the first kernel is kept.

    Args:
        problem: such as :func:`draw` gives.
        x_new: (new, inputs).
        epsilon: the share of the even part.
        steps: of the same gradient descent.
        alpha: the scale of the first outputs.
    """
    _, x, y, start = problem

    def outputs(v: Array) -> Array:
        return grokking.predict(start, v, alpha=alpha, epsilon=epsilon)[:, None]

    kernel, across = (
        grokking.tangent_kernel(start, v, x, epsilon=epsilon) for v in (x, x_new)
    )
    # The loss has no half, so that the rate is twice that of the squared error's.
    rule = ntk.mse_training(kernel, y[:, None], learning_rate=2.0, discrete=True)
    predicted = rule(steps, outputs(x), outputs(x_new), across).test
    assert predicted is not None
    return predicted[:, 0]
