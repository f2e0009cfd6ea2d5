"""``kanjax papers`` and ``kanjax reproduce``."""

import pathlib
from typing import Annotated, Any

import typer

from kanjax import interruption
from kanjax.cli.application import BAD_INPUT, errors, fail


def papers(
    slug: Annotated[
        str | None, typer.Argument(help="A paper, to see where its parts are.")
    ] = None,
) -> None:
    """List the papers whose methods are in kanjax, or the files of one."""
    from kanjax import papers as papers_

    if slug is not None:
        paper = _find_paper(slug)
        typer.echo(f"{paper.title}. {paper.source} ({paper.state})")
        for kind, paths in papers_.places(paper).items():
            for path in paths:
                typer.echo(f"{kind:<8} {_relative(path)}")
        return
    import rich.box
    import rich.console
    import rich.table

    table = rich.table.Table(box=rich.box.SIMPLE)
    for name in ("room", "slug", "title", "state"):
        table.add_column(name, no_wrap=name == "slug")
    for paper in papers_.PAPERS:
        table.add_row(paper.room, paper.slug, paper.title, paper.state)
    rich.console.Console().print(table)


def reproduce(
    slug: Annotated[
        str | None, typer.Argument(help="A paper of `kanjax papers`.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every paper, each in a process of its own.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="At the size of the paper, not of a laptop.")
    ] = False,
    short: Annotated[
        bool, typer.Option("--short", help="In seconds, at the smallest size.")
    ] = False,
    data: Annotated[
        pathlib.Path | None, typer.Option(help="A folder with the paper's own data.")
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="A folder for results and figures.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --all: run what the folder lacks.")
    ] = False,
) -> None:
    """Measure what a paper claims; exit with 1 if a claim does not hold."""
    if full and short:
        fail("--full and --short exclude each other; give one of them.", BAD_INPUT)
    if everything == (slug is not None):
        fail("give one paper of `kanjax papers`, or --all.", BAD_INPUT)
    scale = "full" if full else "short" if short else "default"
    if slug is None:
        _reproduce_all(scale, data, out or pathlib.Path("runs/papers"), resume)
    elif resume:
        fail("--resume goes with --all.", BAD_INPUT)
    else:
        _reproduce_one(slug, scale, data, out)


def _reproduce_one(
    slug: str, scale: Any, data: pathlib.Path | None, out: pathlib.Path | None
) -> None:
    from kanjax import papers as papers_

    with errors():
        try:
            result = papers_.reproduce(slug, scale=scale, data=data, out=out)
        except ValueError as error:
            fail(str(error), BAD_INPUT)
    for claim in result.claims:
        typer.echo(f"claim:    {claim.text}")
        for name in ("paper", "threshold", "baseline"):
            if text := getattr(claim, name):
                typer.echo(f"{name + ':':<9} {text}")
        typer.echo(f"measured: {claim.measured}")
        typer.echo(f"verdict:  {'holds' if claim.holds else 'does not hold'}\n")
    if out is None:
        typer.echo("not stored; --out DIR keeps result.json and the figures")
    else:
        typer.echo(f"written to {out}")
    raise typer.Exit(0 if result.holds else 1)


def _reproduce_all(
    scale: Any, data: pathlib.Path | None, out: pathlib.Path, resume: bool
) -> None:
    from kanjax import claims

    if data is not None:
        fail("--data goes with one paper, not with --all.", BAD_INPUT)
    again = f"go on with: kanjax reproduce --all --out {out} --resume"
    with interruption.watched(again), errors():
        try:
            results = claims.reproduce_all(
                out, scale=scale, resume=resume, tell=typer.echo
            )
        except ValueError as error:
            fail(str(error), BAD_INPUT)
    typer.echo(f"written to {out / claims.CLAIMS}")
    failed = [slug for slug, result in results.items() if result["error"]]
    if failed:
        fail(f"failed: {', '.join(failed)}; --resume runs these again.", 1)


def _find_paper(slug: str) -> Any:
    from kanjax import papers as papers_

    try:
        return papers_.find(slug)
    except ValueError as error:
        fail(str(error), BAD_INPUT)


def _relative(path: pathlib.Path) -> pathlib.Path:
    """Return the path from here, where that is shorter to read."""
    here = pathlib.Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
