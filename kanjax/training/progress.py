"""What a fit reports while it runs, and a progress bar that shows it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Progress(NamedTuple):
    """The state of a fit after a stretch of steps.

    Attributes:
        step: steps done.
        steps: steps asked for.
        loss: (members,) the last training loss of each member; NaN before the first.
        validation_loss: (members,) or None without validation.
        training: members neither stopped nor diverged.
        members: members in all.
        params: the current parameters. Without member axis (like ``loss`` and
            ``validation_loss``) under ``fit``.
        state: the model's current state; None if the fit has none.
    """

    step: int
    steps: int
    loss: np.ndarray
    validation_loss: np.ndarray | None
    training: int
    members: int
    params: Any
    state: Any = None


def describe(event: Progress) -> str:
    """Return one short line: mean losses, and how many members still train.

    Args:
        event: of a fit; the members are told in an ensemble only.
    """
    parts = []
    if np.isfinite(event.loss).any():
        parts.append(f"loss {_mean(event.loss):.3g}")
    if event.validation_loss is not None and np.isfinite(event.validation_loss).any():
        parts.append(f"validation {_mean(event.validation_loss):.3g}")
    if event.members > 1:
        parts.append(f"{event.training}/{event.members} members")
    return ", ".join(parts)


@contextlib.contextmanager
def bar() -> Iterator[Callable[[Progress], None]]:
    """Draw a rich progress bar on stderr; yield the function that moves it.

    Steps, remaining time and losses fit in 80 columns.
    """
    import rich.console
    import rich.progress

    columns = (
        rich.progress.BarColumn(bar_width=12),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.description}"),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console) as display:
        task = display.add_task("training", total=None)

        def show(event: Progress) -> None:
            display.update(
                task,
                completed=event.step,
                total=event.steps,
                description=describe(event),
            )

        yield show


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values)
    return float(np.mean(values[np.isfinite(values)]))
