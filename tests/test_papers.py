"""Every registered paper runs in its short mode; and the pipeline around it."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache
from typer.testing import CliRunner

from kanjax import claims, cli, papers

ROOT = pathlib.Path(__file__).parents[1]
# Twice what a short run should take: a busy machine counts more for the same work. Of
# a machine that compiles the reference in a twelfth of a second; others get as much
# more or less as they need for it.
PROCESSOR_SECONDS, REFERENCE_SECONDS, MEGABYTES = 2 * 10, 1 / 12, 1_000
EXAMPLE = """
from matplotlib.figure import Figure
from kanjax import papers

PAPER = papers.Paper(
    slug="some-paper",
    title="Some paper",
    source="A, B (2020), arXiv 2406.16300",
    room="nn",
    state="in part",
)

def main(scale, data):
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    holds = scale == "short"
    claim = papers.Claim(
        "one is one", f"it is, at scale {scale}", holds, threshold="none at all"
    )
    numbers = {"one": 1.0, "nan": float("nan")}
    return papers.Reproduction((claim,), numbers, {"line": figure})
"""


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """A registry with one paper, whose example lies in a folder of its own."""
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "some_paper.py").write_text(EXAMPLE)
    monkeypatch.setattr(papers, "PAPERS", papers.scan(tmp_path))
    monkeypatch.setattr(papers, "examples_folder", lambda: tmp_path)


def reference_seconds():
    """Return the processor time of a compilation, such as short runs are made of."""

    def loss(w):
        x = jax.random.normal(jax.random.key(0), (8, 8))
        for _ in range(4):
            x = jnp.tanh(x @ w)
        return jnp.sum(x**2)

    def train(w):
        step = jax.grad(loss)
        return jax.lax.scan(lambda w, _: (w - step(w), None), w, length=5)[0]

    times = []
    for _ in range(5):
        jax.clear_caches()
        start = time.process_time()
        jax.jit(train).lower(jnp.ones((8, 8))).compile()
        times.append(time.process_time() - start)
    return statistics.median(times)


@pytest.fixture
def uncached(monkeypatch):
    """Compile anew, here and in processes that start: a budget counts all."""
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "0")
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


@pytest.mark.paper
@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.slug)
def test_short_run(paper, tmp_path, uncached):
    command = [sys.executable, "-m", "kanjax.cli", "reproduce", paper.slug]
    # Threads that wait for one another would count as work.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    before = reference_seconds()
    run = subprocess.Popen([*command, "--short", "--out", tmp_path], env=environment)
    _, status, used = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode in (0, 1)
    stored = json.loads((tmp_path / papers.RESULT).read_text())
    assert stored["claims"] and list(tmp_path.glob("*.png"))
    assert stored["holds"] == (run.returncode == 0)
    if paper.state == "reproduced":
        assert stored["holds"], [c for c in stored["claims"] if not c["holds"]]
    slowness = max(before, reference_seconds()) / REFERENCE_SECONDS
    assert used.ru_utime + used.ru_stime <= PROCESSOR_SECONDS * slowness
    assert used.ru_maxrss / 1024 <= MEGABYTES


@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.slug)
def test_every_paper_has_a_page_with_pictures(paper):
    page = ROOT / papers.page_path(paper, prefix="docs/")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text())
    assert pictures
    for picture in [*pictures, f"../../images/{paper.slug}.png"]:
        size = (page.parent / picture).stat().st_size
        assert size < 100_000, f"{picture} has {size} bytes"


@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.slug)
def test_docstrings_of_the_library_cite_every_paper(paper):
    assert papers.places(paper)["library"]


def test_every_example_is_scanned():
    files = {path.stem for path in (ROOT / "examples").rglob("*.py")}
    assert files == {paper.slug.replace("-", "_") for paper in papers.PAPERS}


@pytest.mark.parametrize(
    "change, words",
    [
        (("PAPER =", "OTHER ="), "has no entry"),
        (('"some-paper"', '"another"'), "must lie at nn/another.py"),
        (('"nn"', '"kan"'), "must lie at kan/some_paper.py"),
        (('"in part"', "1 + open"), "must be of literals"),
        (("state=", "status="), "unexpected keyword argument 'status'"),
    ],
)
def test_a_wrong_entry_is_told(tmp_path, change, words):
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "some_paper.py").write_text(EXAMPLE.replace(*change))
    with pytest.raises(ValueError, match=words):
        papers.scan(tmp_path)


def test_scanning_runs_nothing(tmp_path):
    (tmp_path / "nn").mkdir()
    (tmp_path / "nn" / "some_paper.py").write_text("raise SystemExit\n" + EXAMPLE)
    assert papers.scan(tmp_path)[0].title == "Some paper"


def test_slugs_are_unique():
    slugs = [paper.slug for paper in papers.PAPERS]
    assert len(set(slugs)) == len(slugs)


def test_reproduce_prints_stores_and_judges(registered, tmp_path):
    out = tmp_path / "out"
    good = call("reproduce", "some-paper", "--short", "--out", out)
    assert good.exit_code == 0
    assert "claim:    one is one" in good.stdout
    assert "measured: it is, at scale short" in good.stdout
    assert "threshold: none at all" in good.stdout
    assert "verdict:  holds" in good.stdout
    stored = json.loads((out / "result.json").read_text())
    assert stored["claims"][0]["holds"] and stored["numbers"] == {"one": 1, "nan": None}
    assert (out / "line.png").read_bytes().startswith(b"\x89PNG")
    bad = call("reproduce", "some_paper", "--full")
    assert bad.exit_code == 1 and "verdict:  does not hold" in bad.stdout
    assert "not stored" in bad.stdout and "not stored" not in good.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["some-papr"], "did you mean 'some-paper'?"),
        (["zzz"], "`kanjax papers` lists them"),
        (["some-paper", "--data", "nowhere"], "there is nothing at nowhere"),
        (["some-paper", "--full", "--short"], "exclude each other"),
        (["some-paper", "--all"], "give one paper of `kanjax papers`, or --all"),
        ([], "give one paper of `kanjax papers`, or --all"),
        (["some-paper", "--resume"], "--resume goes with --all"),
        (["--all", "--data", "x"], "--data goes with one paper"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(registered, arguments, words):
    result = call("reproduce", *arguments)
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1
    assert words in lines[0]


def test_the_list_and_the_places(registered):
    shown = call("papers")
    assert shown.exit_code == 0
    assert "some-paper" in shown.stdout and "in part" in shown.stdout
    row = (
        "| [some-paper](docs/papers/nn/some-paper.md) | Some paper. A, B (2020), arXiv"
    )
    assert row in papers.table("nn", prefix="docs/")
    assert "| `nn` | 0 | 1 | 0 |" in papers.summary()
    one = call("papers", "some-paper").stdout
    assert "nn/some_paper.py" in one and "landscape/spawning.py" in one


RUN = subprocess.run


def run_as(monkeypatch, script):
    """Let children run a script in the place of ``kanjax reproduce``."""

    def other(command, **options):
        out = command[command.index("--out") + 1]
        return RUN([sys.executable, "-c", script, out], **options)

    monkeypatch.setattr(claims.subprocess, "run", other)


WRITES = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
claim = {"text": "a | b", "measured": "2", "holds": False}
(folder / "result.json").write_text(json.dumps({"claims": [claim]}))
sys.exit(1)
"""
FAILS = "import sys; sys.exit('no memory')"


def test_all_papers_go_on_after_one_that_failed(registered, tmp_path, monkeypatch):
    out = tmp_path / "all"
    run_as(monkeypatch, FAILS)
    bad = call("reproduce", "--all", "--out", out)
    assert bad.exit_code == 1 and "failed: some-paper" in bad.stderr
    stored = claims.read_claims(out / claims.CLAIMS)["some-paper"]
    assert stored["error"] == "no memory" and not stored["claims"]

    run_as(monkeypatch, WRITES)
    good = call("reproduce", "--all", "--out", out, "--resume")
    assert good.exit_code == 0 and "0 of 1 claims hold" in good.stdout
    again = call("reproduce", "--all", "--out", out, "--resume")
    assert "some-paper: kept from before" in again.stdout
    stored = claims.read_claims(out / claims.CLAIMS)
    assert stored["some-paper"]["versions"]["jax"] == jax.__version__
    assert r"| some-paper | a \| b | 2 | **no** |" in claims.table(stored)


def test_a_damaged_file_of_claims_is_not_overwritten(registered, tmp_path):
    (tmp_path / claims.CLAIMS).write_text("{")
    result = call("reproduce", "--all", "--out", tmp_path, "--resume")
    assert result.exit_code == 2 and "is damaged" in result.stderr
    assert (tmp_path / claims.CLAIMS).read_text() == "{"
