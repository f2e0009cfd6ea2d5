"""``kanjax pinn``."""

import pathlib
from typing import Annotated, Any

import typer

from kanjax import interruption, progress
from kanjax.cli.application import BAD_INPUT, Quiet, fail


def pinn(
    name: Annotated[
        str | None, typer.Argument(help="A problem of `kanjax pinn --list`.")
    ] = None,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="The result folder; else runs/pinn/NAME."),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="List the problems and end.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random.", show_default="0")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Networks trained together; their spread is an uncertainty.",
            show_default="1",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps, not the recipe's.")
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points inside, not the recipe's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the solution in the folder.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the solution in the folder.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Solve a differential equation by a network, and say whether to trust it."""
    settings = {
        key: value
        for key, value in (
            *(("problem", name), ("seed", seed), ("members", members)),
            *(("steps", steps), ("points", points)),
        )
        if value is not None
    }
    if listing:
        _list()
        return
    folder = out or (pathlib.Path("runs/pinn") / name if name else None)
    if folder is None or (name is None and not resume):
        fail("give a problem of `kanjax pinn --list`.", BAD_INPUT)
    go_on = f"go on with: kanjax pinn --out {folder} --resume"
    with interruption.watched(go_on if resume else "", stages=True) as stop:
        try:
            from kanjax import solutions

            config = _config(settings, folder, resume)
            with progress.stages(quiet=quiet) as show:

                def tell(what: str, share: float) -> None:
                    if share == 1:
                        stop.hint = f"it is finished: {folder / 'report.html'}"
                    stop.check()
                    # The folder is made by now.
                    stop.hint = stop.hint or go_on
                    show(what, share)

                metrics = solutions.solve(
                    config, folder, overwrite=overwrite, resume=resume, progress=tell
                )
        except ValueError as error:
            fail(str(error), BAD_INPUT)
        except FloatingPointError as error:
            fail(str(error), 1)
        except KeyboardInterrupt:
            fail(interruption.line(stop), interruption.STATUS)
        if quiet:
            return
        typer.echo(solutions.verdict(metrics))
        typer.echo(f"report: {folder / 'report.html'}")


def _config(settings: dict[str, Any], folder: pathlib.Path, resume: bool) -> Any:
    """Return the config of the options given; when resumed, of the folder's for the
    rest.
    """
    import dataclasses

    from kanjax import solutions

    if resume:
        stored = dataclasses.asdict(solutions.read_config(folder))
        return solutions.Config(**{**stored, **settings})
    return solutions.Config(**settings)


def _list() -> None:
    from kanjax.pinn import recipes

    for key, recipe in recipes.RECIPES.items():
        typer.echo(f"{key:<20} {recipe.about}")
    for key, recipe in recipes.WINDOW_RECIPES.items():
        typer.echo(f"{key:<20} {recipe.about} In {recipe.count} windows of time.")
