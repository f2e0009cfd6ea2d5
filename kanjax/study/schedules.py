"""How long a study trains and how wide its networks are, by the number of its rows."""

import math
from typing import Any, NamedTuple

from kanjax import compiling
from kanjax.study import boosted
from kanjax.study.config import Config

MANY_ROWS = 10_000
"""Training rows from which networks are wider and batches larger."""

LEAST_STEPS = 2000
EPOCHS = 40
EVALUATIONS = 80


class Schedule(NamedTuple):
    """What a training is told, with nothing left open.

    Attributes:
        steps: the most updates of a member.
        batch_size: examples a step; None is all of them.
        evaluate_every: steps between evaluations on the validation rows.
        epochs: how often ``steps`` go through the training rows.
    """

    steps: int
    batch_size: int | None
    evaluate_every: int
    epochs: float


def schedule(config: Config, rows: int) -> Schedule:
    """Return how a study of so many training rows is trained.

    What the config leaves open: batches of 64 rows, of 512 from ``MANY_ROWS`` on; 2000
    steps, or 40 epochs where these are more; an evaluation every 25 steps, or 80 in all
    where these are fewer.
    """
    batch = config.batch_size
    if batch is None:
        batch = 64 if rows < MANY_ROWS else 512
    batch_size = batch if 0 < batch < rows else None
    per_epoch = rows / (batch_size or rows)
    steps = config.steps or max(LEAST_STEPS, math.ceil(EPOCHS * per_epoch))
    every = config.evaluate_every or max(25, steps // EVALUATIONS)
    return Schedule(steps, batch_size, every, steps / per_epoch)


def compiler_options(rows: int) -> dict[str, Any]:
    """Return how a training on so many rows is compiled: soon, unless it is long."""
    return compiling.BALANCED if rows < MANY_ROWS else {}


def hidden_units(config: Config, rows: int, outputs: int) -> tuple[int, ...]:
    """Return the units of each hidden layer: one of 8, or of 32 with many rows."""
    if config.hidden is not None:
        return config.hidden
    if config.model == "boosted":
        return (boosted.UNITS,)
    return (max(8 if rows < MANY_ROWS else 32, outputs),)
