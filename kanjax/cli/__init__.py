"""The command line: ``kanjax study``, ``predict``, ``pinn``, ``papers`` and others."""

import sys

from kanjax import interruption
from kanjax.cli import papers, pinn, study
from kanjax.cli.application import app

__all__ = ["app", "main", "reproduce_as_script"]

# In the order of the help.
for command in (
    study.study,
    study.predict,
    pinn.pinn,
    papers.papers,
    papers.reproduce,
):
    # Without arguments a command explains itself, and trains nothing for minutes.
    app.command(no_args_is_help=command is study.study)(command)


def reproduce_as_script(slug: str) -> None:
    """Call ``kanjax reproduce`` of one paper: the last line of its example.

    Args:
        slug: the paper's.
    """
    main(["reproduce", slug, *sys.argv[1:]])


def main(arguments: list[str] | None = None) -> None:
    """Run the command ``kanjax``.

    Args:
        arguments: instead of those that the process got.
    """
    with interruption.watched():
        try:
            app(arguments)
        except SystemExit as end:
            if end.code == interruption.STATUS:
                interruption.leave()
            raise
