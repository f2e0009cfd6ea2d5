"""The command line: ``kanjax study``, ``predict``, ``pinn``, ``papers`` and others."""

import importlib.metadata
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from kanjax import interruption, progress

app = typer.Typer(
    help="Train ensembles of Kolmogorov-Arnold networks and understand them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

BAD_INPUT = 2

NO_SETTINGS = ("out", "overwrite", "resume", "as_json", "no_cache")
"""Options of ``kanjax study`` that say where and how, and not what is computed."""

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and the rest to stderr."),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither read nor keep compiled programs."),
]


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


@app.command()
def study(
    data: Annotated[
        str | None,
        typer.Option(
            help="diabetes, breast_cancer, wine, digits, friedman, feynman:<formula>, "
            "or a table: .csv, .tsv, .npz, .parquet.",
            show_default="diabetes",
        ),
    ] = None,
    out: Annotated[
        pathlib.Path, typer.Option(help="The result folder.")
    ] = pathlib.Path("runs/study"),
    target: Annotated[
        str | None, typer.Option(help="Target column of a table.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="regression or classification; else inferred.")
    ] = None,
    composition: Annotated[
        str | None, typer.Option(help="Column of alloys, such as AlCoCrFeNi2.")
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Column to leave out; may be given several times."),
    ] = None,
    numeric: Annotated[
        list[str] | None,
        typer.Option(help="Column of numbers that looks like an identifier."),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option(help="Column of categories that looks like numbers."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column whose equal values stay in one part of the split."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Column of dates or numbers; the last rows are tested on."),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="A table with the same columns: the rows to test on."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="kan, skan, afkan, mlp, boosted, hopfield or dkm.", show_default="kan"
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            help="Units of each hidden layer, such as 10,8.",
            show_default="one layer of 8; of 32 from 10,000 rows on",
        ),
    ] = None,
    basis: Annotated[
        str | None,
        typer.Option(
            help="bspline, rbf, chebyshev, legendre, fourier, jacobi, gegenbauer, "
            "hermite, gram, sine, rswaf, sech, bsrbf, wavelet, morlet, dog, meyer, "
            "shannon, relu, activation or rational.",
            show_default="bspline",
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            help="Grid intervals, degree or order of the basis.", show_default="5"
        ),
    ] = None,
    members: Annotated[
        int | None, typer.Option(help="Networks in the ensemble.", show_default="8")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="An optax optimizer.", show_default="adam")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Its step size.", show_default="0.003")
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Of the weights, times the step size.", show_default="0.0"),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Of the weights at initialization.", show_default="1.0"),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            help="Settings to try before, by validation; 16 are a good number.",
            show_default="0",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Most updates of a member.", show_default="2000, or 40 epochs if more"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Examples a step; 0 takes all.",
            show_default="64; 512 from 10,000 rows on",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between evaluations.", show_default="25, or 80 evaluations"
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Evaluations without improvement till the end.", show_default="20"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random.", show_default="0")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the study in the folder.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study in the folder.")
    ] = False,
    as_json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Train an ensemble on a table, analyse it and write a report."""
    settings = {
        name: value
        for name, value in locals().items()
        if name not in NO_SETTINGS and value is not None
    }
    go_on = f"go on with: kanjax study --out {out} --resume"
    with (
        interruption.watched(go_on if resume else "", stages=True) as stop,
        _errors(stop),
    ):
        from kanjax import study as study_

        config = _config(settings, out, resume)
        _use_cache(no_cache)
        with progress.stages(sys.stderr if as_json else None) as show:

            def tell(what: str, share: float) -> None:
                if share == 1:
                    stop.hint = f"the study is finished: {out / 'report.html'}"
                stop.check()
                # The folder is made after the first stage.
                stop.hint = stop.hint or (go_on if share > 0 else "")
                show(what, share)

            finished = study_.run(
                config, out=out, overwrite=overwrite, resume=resume, progress=tell
            )
        if as_json:
            _print_json(finished, out)
        else:
            _summarize(finished, out)


@app.command()
def predict(
    run_dir: Annotated[pathlib.Path, typer.Argument(help="A study's result folder.")],
    table: Annotated[pathlib.Path, typer.Argument(help="New rows: .csv, .parquet ...")],
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="Where to write; else <table>.predictions.csv."),
    ] = None,
    then: Annotated[
        pathlib.Path | None,
        typer.Option(help="A second study's folder, for the rows of one class."),
    ] = None,
    when: Annotated[
        str | None, typer.Option(help="The class whose rows go on to it.")
    ] = None,
    as_json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Predict the rows of a table as CSV: mean, interval or set of classes, spread.

    Columns that the study does not know, such as row numbers, come along.

    With --then and --when rows that the first study puts in a class go on to a second
    one, a cascade; for the others it predicts nothing.
    """
    with _errors():
        from kanjax import data as data_
        from kanjax import files
        from kanjax import study as study_

        if (then is None) != (when is None):
            raise study_.StudyError("--then and --when belong together; give both.")
        path = out or table.with_suffix(".predictions.csv")
        if as_json and out is not None:
            raise study_.StudyError("--json prints what --out writes; give one.")
        if path.is_dir():
            raise study_.StudyError(f"{path} is a folder; name a file for predictions.")
        if not as_json and (reason := files.why_not_writable(path)):
            raise study_.StudyError(f"{path} cannot be written: {reason}.")
        _use_cache(no_cache)
        first, rows = study_.load(run_dir), data_.read_frame(table, text=True)
        if then is None or when is None:
            predictions, notes = study_.prediction_table(first, rows)
        else:
            predictions, notes = study_.cascade(
                first, study_.load(then), rows, when=when
            )
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if as_json:
            typer.echo(predictions.to_json(orient="records", indent=2))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, predictions.to_csv(index=False))
        typer.echo(f"{len(predictions)} predictions written to {path}")


@app.command()
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
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Training steps, not the recipe's.")
    ] = None,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points inside, not the recipe's.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the solution in the folder.")
    ] = False,
) -> None:
    """Solve a differential equation by a network, and say whether to trust it."""
    with _errors():
        from kanjax import solutions
        from kanjax.pinn import recipes

        if listing:
            for key, recipe in recipes.RECIPES.items():
                typer.echo(f"{key:<18} {recipe.about}")
            return
        if name is None:
            _fail("give a problem of `kanjax pinn --list`.", BAD_INPUT)
        folder = out or pathlib.Path("runs/pinn") / name
        try:
            metrics = solutions.solve(
                name,
                folder,
                seed=seed,
                steps=steps,
                points=points,
                overwrite=overwrite,
            )
        except ValueError as error:
            _fail(str(error), BAD_INPUT)
        except FloatingPointError as error:
            _fail(str(error), 1)
        typer.echo(solutions.verdict(metrics))
        typer.echo(f"written to {folder}")


@app.command()
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


@app.command()
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
        _fail("--full and --short exclude each other; give one of them.", BAD_INPUT)
    if everything == (slug is not None):
        _fail("give one paper of `kanjax papers`, or --all.", BAD_INPUT)
    scale = "full" if full else "short" if short else "default"
    if slug is None:
        _reproduce_all(scale, data, out or pathlib.Path("runs/papers"), resume)
    elif resume:
        _fail("--resume goes with --all.", BAD_INPUT)
    else:
        _reproduce_one(slug, scale, data, out)


def _reproduce_one(
    slug: str, scale: Any, data: pathlib.Path | None, out: pathlib.Path | None
) -> None:
    from kanjax import papers as papers_

    with _errors():
        try:
            result = papers_.reproduce(slug, scale=scale, data=data, out=out)
        except ValueError as error:
            _fail(str(error), BAD_INPUT)
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
        _fail("--data goes with one paper, not with --all.", BAD_INPUT)
    again = f"go on with: kanjax reproduce --all --out {out} --resume"
    with interruption.watched(again), _errors():
        try:
            results = claims.reproduce_all(
                out, scale=scale, resume=resume, tell=typer.echo
            )
        except ValueError as error:
            _fail(str(error), BAD_INPUT)
    typer.echo(f"written to {out / claims.CLAIMS}")
    failed = [slug for slug, result in results.items() if result["error"]]
    if failed:
        _fail(f"failed: {', '.join(failed)}; --resume runs these again.", 1)


def _find_paper(slug: str) -> Any:
    from kanjax import papers as papers_

    try:
        return papers_.find(slug)
    except ValueError as error:
        _fail(str(error), BAD_INPUT)


def _relative(path: pathlib.Path) -> pathlib.Path:
    """Return the path from here, where that is shorter to read."""
    here = pathlib.Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def reproduce_as_script(slug: str) -> None:
    """Call ``kanjax reproduce`` of one paper: the last line of its example."""
    main(["reproduce", slug, *sys.argv[1:]])


def main(arguments: list[str] | None = None) -> None:
    """Run the command ``kanjax``."""
    with interruption.watched():
        try:
            app(arguments)
        except SystemExit as end:
            if end.code == interruption.STATUS:
                interruption.leave()
            raise


def _config(settings: dict[str, Any], out: pathlib.Path, resume: bool) -> Any:
    """Return the config of the options given; a resumed study keeps its own for the
    rest.
    """
    from kanjax.study import store
    from kanjax.study.config import Config, StudyError

    fields = Config().to_dict()
    if resume and (out / "config.json").exists():
        fields = store.read_config(out).to_dict()
    fields.update(settings)
    if isinstance(hidden := fields["hidden"], str):
        try:
            fields["hidden"] = tuple(map(int, filter(None, hidden.split(","))))
        except ValueError:
            raise StudyError(
                f"hidden must be integers with commas, such as 10,8; got {hidden!r}."
            ) from None
    return Config.from_dict(fields)


def _print_json(finished: Any, out: pathlib.Path) -> None:
    """Print what metrics.json holds, with the folder and the settings."""
    import json

    from kanjax import files

    where = {"folder": str(out), "config": finished.config.to_dict()}
    told = files.to_json({**where, **finished.metrics})
    typer.echo(json.dumps(told, indent=2, allow_nan=False))


def _use_cache(no_cache: bool) -> None:
    if no_cache:
        return
    from kanjax import compilation_cache

    compilation_cache.use()


def _summarize(finished: Any, out: pathlib.Path) -> None:
    from kanjax import files
    from kanjax.study import summary

    metrics = finished.metrics
    metric = "R2" if metrics["task"] == "regression" else "accuracy"
    rows = {f"{finished.config.model} ensemble": metrics["test"]["ensemble"]}
    rows |= metrics["baselines"]
    for name, values in rows.items():
        typer.echo(f"{name:<24} test {metric} {values[metric]:.3f}")
    for sentence in summary.summarize(files.to_json(metrics)):
        typer.echo(sentence)
    for note in metrics["notes"]:
        typer.echo(f"note: {note}")
    typer.echo(f"report: {out / 'report.html'}")


@contextmanager
def _errors(stop: interruption.Interruption | None = None) -> Iterator[None]:
    """Turn what the user can mend into one line and an exit code."""
    try:
        from kanjax.data import DataError
        from kanjax.study import StudyError, TrainingDiverged
        from kanjax.training import CheckpointError

        try:
            yield
        except (DataError, StudyError, CheckpointError) as error:
            _fail(str(error), BAD_INPUT)
        except TrainingDiverged as error:
            _fail(str(error), 1)
    except KeyboardInterrupt:
        stop = stop or interruption.Interruption("")
        _fail(interruption.line(stop), interruption.STATUS)


def _fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split())
    print(f"kanjax: {line}", file=sys.stderr)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
