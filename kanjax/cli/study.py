"""``kanjax study`` and ``kanjax predict``."""

import gc
import pathlib
import sys
import tempfile
from typing import Annotated, Any

import typer

from kanjax import interruption, progress
from kanjax.cli.application import Quiet, errors

NO_SETTINGS = ("out", "overwrite", "resume", "as_json", "quiet", "no_cache")
"""Options of ``kanjax study`` that say where and how, and not what is computed."""

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and the rest to stderr."),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither read nor keep compiled programs."),
]


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
        pathlib.Path | None,
        typer.Option(
            help="The result folder.", show_default="runs/ and the name of the data"
        ),
    ] = None,
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
    cv: Annotated[
        int | None,
        typer.Option(
            help="Folds of a cross-validation: every row is tested on once.",
            show_default="0",
        ),
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
    intervals: Annotated[
        str | None,
        typer.Option(
            help="Of a regression: split, from the validation rows; cv+, from ten "
            "networks more; auto, cv+ below 1,000 rows.",
            show_default="auto",
        ),
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
    quiet: Quiet = False,
    no_cache: NoCache = False,
) -> None:
    """Train an ensemble on a table, analyse it and write a report."""
    settings = {
        name: value
        for name, value in locals().items()
        if name not in NO_SETTINGS and value is not None
    }
    out = out or pathlib.Path("runs", _name(data or "diabetes"))
    go_on = f"go on with: kanjax study --out {out} --resume"
    with (
        interruption.watched(go_on if resume else "", stages=True) as stop,
        errors(stop),
    ):
        # Looking for garbage took a tenth of a study's time (measured), and frees next
        # to nothing: what is imported stays till the end.
        gc.set_threshold(100_000, 20)
        from kanjax import study as study_

        config = _config(settings, out, resume)
        _use_cache(no_cache)
        gc.freeze()
        with progress.stages(sys.stderr if as_json else None, quiet=quiet) as show:

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
        elif not quiet:
            _summarize(finished, out)
        # All goes with the process; nobody need look for it one by one.
        gc.freeze()


def predict(
    run_dir: Annotated[pathlib.Path, typer.Argument(help="A study's result folder.")],
    table: Annotated[
        pathlib.Path,
        typer.Argument(help="New rows: .csv, .parquet ..., or - for CSV by a pipe."),
    ],
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Where to write, .csv or .json; else <table>.predictions.csv."
        ),
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

    With --then and --when, rows that the first study puts in a class go on to
    a second study; of the others the second predicts nothing.
    """
    with errors():
        from kanjax import files
        from kanjax import study as study_

        if (then is None) != (when is None):
            raise study_.StudyError("--then and --when belong together; give both.")
        if str(table) == "-" and out is None and not as_json:
            raise study_.StudyError(
                "rows come by a pipe; say by --out where predictions go, or --json."
            )
        path = out or table.with_suffix(".predictions.csv")
        if as_json and out is not None:
            raise study_.StudyError("--json prints what --out writes; give one.")
        if path.is_dir():
            raise study_.StudyError(f"{path} is a folder; name a file for predictions.")
        if not as_json and (reason := files.why_not_writable(path)):
            raise study_.StudyError(f"{path} cannot be written: {reason}.")
        _use_cache(no_cache)
        first, rows = study_.load(run_dir), _rows(table)
        if then is None or when is None:
            predictions, notes = study_.prediction_table(first, rows)
        else:
            predictions, notes = study_.cascade(
                first, study_.load(then), rows, when=when
            )
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        if as_json:
            typer.echo(_as_json(predictions), nl=False)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced = ", in the place of what was there" if path.is_file() else ""
        is_json = path.suffix.lower() == ".json"
        text = _as_json(predictions) if is_json else predictions.to_csv(index=False)
        files.write_text(path, text)
        typer.echo(f"{len(predictions)} predictions written to {path}{replaced}")


def _rows(table: pathlib.Path) -> Any:
    """Return the cells of a table as they are written, by a pipe if it is "-"."""
    from kanjax import data as data_

    if str(table) != "-":
        return data_.read_frame(table, text=True)
    with tempfile.TemporaryDirectory() as folder:
        piped = pathlib.Path(folder, "piped.csv")
        piped.write_bytes(sys.stdin.buffer.read())
        return data_.read_frame(piped, text=True)


def _as_json(predictions: Any) -> str:
    return predictions.to_json(orient="records", indent=2) + "\n"


def _name(data: str) -> str:
    """Return what a folder of results is called: after a set, a formula or a file."""
    return "feynman" if data.startswith("feynman:") else pathlib.Path(data).stem


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
