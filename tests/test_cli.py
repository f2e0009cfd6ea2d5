"""The command line: bad input gives one line and exit code 2, and writes nothing."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from kanjax import bases, cli, study


def frame(rows=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] + x[:, 1]})


def call(*arguments, input=None):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.app, words, input=input)


def refused(result, *words):
    """One line on stderr with these words, and exit code 2."""
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2, result.output
    assert len(lines) == 1 and lines[0].startswith("kanjax: "), result.stderr
    for word in words:
        assert word in lines[0]


TABLES = {
    "empty": (lambda f: f.iloc[:0], "empty"),
    "few rows": (lambda f: f.iloc[:19], "20"),
    "all missing": (lambda f: f.assign(b=np.nan), "b"),
    "constant target": (lambda f: f.assign(y=1.0), "constant"),
    "lonely class": (lambda f: f.assign(y=["p"] + ["q", "r"] * 19 + ["q"]), "'p'"),
    "infinite": (lambda f: f.assign(a=np.where(f.index == 3, np.inf, f.a)), "infinite"),
}


@pytest.mark.parametrize("case", TABLES)
def test_bad_tables(case, tmp_path):
    change, word = TABLES[case]
    change(frame()).to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "run"
    refused(
        call("study", "--data", tmp_path / "t.csv", "--target", "y", "--out", out), word
    )
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--data", "nowhere.csv", "--target", "y"], ["nowhere.csv"]),
        (["--data", "diabets"], ["diabets", "diabetes"]),
        (["--data", "{table}", "--target", "yy"], ["yy", "'y'"]),
        (["--data", "{table}"], ["--target"]),
        (["--data", "{broken}", "--target", "y"], ["broken.parquet"]),
        (["--data", "{text}", "--target", "y", "--task", "regression"], ["text"]),
        (["--data", "feynman:__import__('os')"], ["__import__"]),
        (["--basis", "bsplin"], ["unknown basis 'bsplin'; nearest: 'bspline'"]),
        (["--model", "kann"], ["unknown model 'kann'; nearest: 'kan'"]),
        (["--optimizer", "adm"], ["unknown optimizer 'adm'; nearest: 'adam'"]),
        (["--task", "ranking"], ["unknown task 'ranking'"]),
        (["--hidden", "8,0"], ["hidden must be positive integers"]),
        (["--hidden", "3;4"], ["hidden must be integers with commas"]),
        (["--members", "1"], ["members must be an integer of at least 2; got 1"]),
        (["--learning-rate", "-1"], ["learning_rate must be positive"]),
        (["--data", "{table}", "--target", "y", "--ignore", "c"], ["'c'", "'a', 'b'"]),
        (["--ignore", "age"], ["ignore is for the columns of a file"]),
        (["--group", "ages"], ["lacks the column 'ages'; did you mean 'age'?"]),
        (["--group", "age", "--time", "age"], ["give one of them"]),
        (["--test", "t.csv"], ["test is for a table of one's own"]),
        (["--test", "t.csv", "--group", "age"], ["give one of them"]),
        (["--resume"], ["nothing to resume"]),
    ],
)
def test_bad_options(arguments, words, tmp_path):
    frame().to_csv(tmp_path / "table.csv", index=False)
    frame().assign(y=["low", "high"] * 20).to_csv(tmp_path / "text.csv", index=False)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but not really")
    paths = {name: tmp_path / f"{name}.csv" for name in ("table", "text")}
    paths["broken"] = tmp_path / "broken.parquet"
    filled = [a.format(**paths) if "{" in a else a for a in arguments]
    result = call("study", *filled, "--out", tmp_path / "run")
    refused(result, *words)
    assert not (tmp_path / "run").exists()


def test_the_options_are_the_settings_and_their_defaults():
    command = typer.main.get_command(cli.app).commands["study"]
    options = {option.name: option for option in command.params}
    defaults = study.Config().to_dict()
    assert set(options) == {*defaults, *cli.study.NO_SETTINGS}
    for name, default in defaults.items():
        if default not in (None, ()):
            assert options[name].show_default == str(default), name
    for name in bases.FAMILIES:
        assert name in options["basis"].help
    for name in study.MODELS:
        assert name in options["model"].help


def test_version_and_module():
    version = importlib.metadata.version("kanjax")
    assert call("--version").stdout == f"kanjax {version}\n"
    command = [sys.executable, "-m", "kanjax", "-h"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "reproduce" in shown.stdout


def test_study_without_arguments_explains_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("study")
    assert "Usage: " in result.output and "--data" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data, folder",
    [("wine", "wine"), ("my.table.csv", "my.table"), ("feynman:x*y", "feynman")],
)
def test_a_study_is_named_after_its_data(data, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / folder).mkdir(parents=True)
    (tmp_path / "runs" / folder / "notes.txt").write_text("mine")
    refused(call("study", "--data", data), f"runs/{folder}", "not empty")


def test_commands_are_completed():
    asked = {"_KANJAX_COMPLETE": "complete_bash", "COMP_WORDS": "kanjax re"}
    shown = subprocess.run(
        [shutil.which("kanjax", path=sysconfig.get_path("scripts"))],
        env={**os.environ, **asked, "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.split() == ["reproduce"]


def test_a_folder_that_is_not_empty_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused(call("study", "--out", tmp_path), "not empty", "--overwrite")
    refused(call("study", "--out", tmp_path, "--overwrite"), "not a study")
    assert (tmp_path / "notes.txt").read_text() == "mine"


SMALL = (
    *("--members", 2, "--steps", 20, "--evaluate-every", 10, "--resolution", 2),
    *("--intervals", "split"),
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    frame().to_csv(root / "t.csv", index=False)
    result = call(
        "study",
        "--data",
        root / "t.csv",
        "--target",
        "y",
        "--out",
        root / "run",
        *SMALL,
    )
    assert result.exit_code == 0, result.output
    assert "kan ensemble" in result.stdout and "report.html" in result.stdout
    return root / "run"


def test_predict_writes_mean_interval_and_spread(run_dir, tmp_path):
    frame(7).drop(columns="y").to_csv(tmp_path / "new.csv", index=False)
    result = call("predict", run_dir, tmp_path / "new.csv")
    assert result.exit_code == 0, result.output
    written = pd.read_csv(tmp_path / "new.predictions.csv")
    expected = study.load(run_dir).predict(frame(7))
    assert list(written.columns) == ["y_mean", "y_lower", "y_upper", "y_spread"]
    np.testing.assert_allclose(written.y_mean, expected.mean[:, 0], rtol=1e-6)
    np.testing.assert_allclose(written.y_lower, expected.lower[:, 0], rtol=1e-6)
    np.testing.assert_allclose(written.y_upper, expected.upper[:, 0], rtol=1e-6)
    np.testing.assert_allclose(written.y_spread, expected.spread[:, 0], rtol=1e-6)
    printed = call("predict", run_dir, tmp_path / "new.csv", "--json")
    told = pd.DataFrame(json.loads(printed.stdout))
    np.testing.assert_allclose(told.y_mean, written.y_mean, rtol=1e-6)
    # Of six validation rows no interval comes, and JSON has no infinity.
    assert np.isinf(written.y_upper).all() and told.y_upper.isna().all()
    result = call(
        "predict", run_dir, tmp_path / "new.csv", "--out", tmp_path / "p.json"
    )
    assert result.exit_code == 0 and "in the place of" not in result.stdout
    assert (tmp_path / "p.json").read_text() == printed.stdout
    assert "in the place of" in call("predict", run_dir, tmp_path / "new.csv").stdout
    rows = (tmp_path / "new.csv").read_text()
    piped = call("predict", run_dir, "-", "--json", input=rows)
    assert piped.stdout == printed.stdout
    refused(call("predict", run_dir, "-", input=rows), "say by --out where")
    both = ("--json", "--out", tmp_path / "p.csv")
    refused(call("predict", run_dir, tmp_path / "new.csv", *both), "give one")


def test_predict_refuses_what_it_cannot_read(run_dir, tmp_path):
    frame(7)[["a"]].to_csv(tmp_path / "lacks.csv", index=False)
    refused(call("predict", run_dir, tmp_path / "lacks.csv"), "'b'")
    refused(call("predict", run_dir, tmp_path / "no.csv"), "no.csv")
    alone = call("predict", run_dir, tmp_path / "lacks.csv", "--then", run_dir)
    refused(alone, "--then and --when belong together")
    refused(call("predict", tmp_path, tmp_path / "lacks.csv"), "no finished study")


def test_predict_makes_the_folder_or_says_why_not(run_dir, tmp_path):
    frame(7).to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "missing" / "dir" / "p.csv"
    result = call("predict", run_dir, tmp_path / "new.csv", "--out", out)
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(out)) == 7
    # Before anything is read or predicted.
    for path, words in ((tmp_path, "name a file"), (out / "p.csv", "is a file, not")):
        refused(call("predict", run_dir, tmp_path / "no.csv", "--out", path), words)
    refused(call("study", "--out", out / "run"), "cannot be written")
    refused(call("reproduce", "ntk", "--short", "--out", out / "run"), "is a file")
    refused(call("reproduce", "--all", "--short", "--out", out / "run"), "is a file")


def test_columns_that_the_user_knows_better(tmp_path):
    """Row numbers kept, and categories that look like numbers with a gap."""
    table = frame().assign(run=range(40), depth=["12", "30", "<5", "12"] * 10)
    table.to_csv(tmp_path / "t.csv", index=False)
    table[:10].to_csv(tmp_path / "held_out.csv", index=False)
    given = ("study", "--data", tmp_path / "t.csv", "--target", "y")
    refused(call(*given, "--out", tmp_path / "run"), "10 of 40", "'<5'")
    result = call(
        *given,
        *("--out", tmp_path / "run", "--categorical", "depth", "--numeric", "run"),
        *("--model", "mlp", *SMALL, "--test", tmp_path / "held_out.csv", "--json"),
        *("--search", 2, "--quiet"),
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    done = study.load(tmp_path / "run")
    names = done.data.feature_names
    assert names == ("a", "b", "run", "depth=12", "depth=30", "depth=<5")
    np.testing.assert_array_equal(done.data.split.rows[2], range(40, 50))
    told = json.loads(result.stdout)
    assert told["test"] == done.metrics["test"] and told["rows"]["test"] == 10
    assert len(told["search"]["trials"]) == 2
    assert done.config.learning_rate == told["search"]["chosen"]["learning_rate"]
    assert told["folder"] == str(tmp_path / "run") and told["config"]["model"] == "mlp"
    assert f"Report: {tmp_path / 'run' / 'report.html'}" in done._repr_html_()


def test_damaged_and_foreign_checkpoints_are_refused(run_dir, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    refused(call("study", "--out", copy, "--resume", "--seed", 5), "another config")
    for path in (copy / "checkpoint" / "ensemble").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frame(7).to_csv(tmp_path / "new.csv", index=False)
    refused(call("predict", copy, tmp_path / "new.csv"), "checkpoint")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "seed": 9}))
    refused(call("predict", copy, tmp_path / "new.csv"))
    (copy / "config.json").write_text("{")
    refused(call("predict", copy, tmp_path / "new.csv"), "config.json is damaged")


def test_import_is_light():
    """What a notebook pays for `import kanjax`, beyond jax."""
    script = (
        "import sys, kanjax; heavy = ['flax', 'equinox', 'sklearn', 'pandas', "
        "'matplotlib', 'orbax', 'sympy', 'rich', 'typer', 'scipy.optimize']; "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
