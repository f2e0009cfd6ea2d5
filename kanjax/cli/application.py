"""What all commands share: the application, and errors as one line."""

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from kanjax import interruption

app = typer.Typer(
    help="Train ensembles of Kolmogorov-Arnold networks and understand them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

BAD_INPUT = 2

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"kanjax {importlib.metadata.version('kanjax')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it."
        ),
    ] = False,
) -> None:
    """Take the options of ``kanjax`` itself."""


@contextmanager
def errors(stop: interruption.Interruption | None = None) -> Iterator[None]:
    """Turn what the user can mend into one line and an exit code."""
    try:
        from kanjax.data import DataError
        from kanjax.study import StudyError, TrainingDiverged
        from kanjax.training import CheckpointError

        try:
            yield
        except (DataError, StudyError, CheckpointError) as error:
            fail(str(error), BAD_INPUT)
        except TrainingDiverged as error:
            fail(str(error), 1)
    except KeyboardInterrupt:
        stop = stop or interruption.Interruption("")
        fail(interruption.line(stop), interruption.STATUS)


def fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    print(f"kanjax: {line}", file=sys.stderr)
    raise typer.Exit(code)
