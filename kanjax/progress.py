"""What a long command shows while it runs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

Report = Callable[[str, float], None]
"""Called with what is being done and the share of the work that is behind, 0 to 1."""


@contextmanager
def stages(stream: TextIO | None = None, *, quiet: bool = False) -> Iterator[Any]:
    """Show the stages: a bar on a terminal, else a line for each.

    Args:
        stream: where the lines go; to standard output by default.
        quiet: show nothing.
    """
    if quiet:
        yield lambda what, share: None
        return
    if sys.stderr.isatty():
        with _bar() as show:
            yield show
        return
    shown = ""

    def say(what: str, share: float) -> None:
        nonlocal shown
        stage = what.partition(":")[0]
        if stage != shown:
            print(f"{share:4.0%} {stage}", file=stream, flush=True)
        shown = stage

    yield say


@contextmanager
def _bar() -> Iterator[Any]:
    """One rich progress bar over the whole study, on stderr."""
    import rich.console
    import rich.progress

    columns = (
        rich.progress.BarColumn(bar_width=12),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.description}"),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("starting", total=1.0)
        yield lambda what, share: display.update(
            task, description=what, completed=share
        )
