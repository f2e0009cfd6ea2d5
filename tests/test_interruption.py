"""Ctrl-C in the command line: always status 130, a way to go on, nothing half made."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

SMALL = ("--model=mlp", "--members=2", "--steps=20", "--evaluate-every=10")


class Running:
    """A command in a process of its own, whose lines are read while it runs."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kanjax.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, words, stream="stdout"):
        for line in getattr(self.process, stream):
            if words in line:
                return
        raise AssertionError(f"no line says {words!r}: {self.process.stderr.read()}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def ended(self):
        """The exit status and what is left of stderr."""
        _, errors = self.process.communicate(timeout=240)
        return self.process.returncode, errors


@pytest.fixture
def table(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] + x[:, 1]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


@pytest.mark.slow
def test_every_stage_of_a_study(table, tmp_path):
    out = tmp_path / "run"
    given = ("study", "--data", table, "--target=y", "--out", out, *SMALL)
    early = Running(*given)
    early.wait_for("reading the data")
    early.interrupt()
    status, errors = early.ended()
    assert status == 130, errors
    assert "stopping after this stage" in errors
    assert errors.endswith("kanjax: interrupted\n") and not out.exists()

    hint = f"kanjax: interrupted; go on with: kanjax study --out {out} --resume\n"
    compiling = Running(*given)
    compiling.wait_for("compiling the training")
    compiling.interrupt()
    status, errors = compiling.ended()
    assert status == 130 and errors.endswith(hint), errors
    assert not (out / "metrics.json").exists()

    resumed = ("study", "--out", out, "--resume")
    for stage in ("training", "fitting scikit-learn's baselines", "drawing"):
        process = Running(*resumed)
        process.wait_for(stage)
        process.interrupt()
        status, errors = process.ended()
        assert status == 130, errors
        if stage == "drawing":
            # Its files are whole by the time that it is asked again.
            assert errors.endswith(f"finished: {out / 'report.html'}\n")
        else:
            assert errors.endswith(hint), errors
            assert not (out / "metrics.json").exists()
    assert (out / "metrics.json").exists() and (out / "report.html").exists()
    drafts = [path for path in out.rglob(".*") if path.is_file()]
    assert not drafts


@pytest.mark.slow
def test_the_second_one_ends_it_at_once(table, tmp_path):
    out = tmp_path / "run"
    given = ("study", "--data", table, "--target=y", "--out", out, "--members=16")
    process = Running(*given)
    process.wait_for("compiling the training")
    process.interrupt()
    process.wait_for("stopping after this stage", "stderr")
    process.interrupt()
    began = time.monotonic()
    status, errors = process.ended()
    assert status == 130 and "interrupted; go on with" in errors
    assert time.monotonic() - began < 5


def test_a_command_without_stages_ends_at_the_first():
    script = (
        "import time; from kanjax import interruption\n"
        "with interruption.watched('try again'):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "kanjax: interrupted; try again\n"
