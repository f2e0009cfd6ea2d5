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
    """One short line: mean losses and, in an ensemble, the members still training."""
    parts = []
    if np.isfinite(event.loss).any():
        parts.append(f"loss {_mean(event.loss):.4g}")
    if event.validation_loss is not None and np.isfinite(event.validation_loss).any():
        parts.append(f"validation {_mean(event.validation_loss):.4g}")
    if event.members > 1:
        parts.append(f"{event.training}/{event.members} members training")
    return ", ".join(parts)


@contextlib.contextmanager
def bar(description: str = "training") -> Iterator[Callable[[Progress], None]]:
    """Draw a rich progress bar on stderr; yield the function that moves
    it.
    """
    import rich.console
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[info]}"),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console) as display:
        task = display.add_task(description, total=None, info="")

        def show(event: Progress) -> None:
            display.update(
                task, completed=event.step, total=event.steps, info=describe(event)
            )

        yield show


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values)
    return float(np.mean(values[np.isfinite(values)]))
