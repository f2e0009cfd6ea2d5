"""Every registered paper runs in its short mode; and the pipeline around it."""

import json
import pathlib
import re

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from kanjax import cli, papers

ROOT = pathlib.Path(__file__).parents[1]
PAPER = papers.Paper(
    "some-paper", "Some paper", "A, B (2020), arXiv 2000.00000", "nn", "in part"
)
EXAMPLE = """
from matplotlib.figure import Figure
from kanjax import papers

def main(scale, data):
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    holds = scale == "short"
    claim = papers.Claim("one is one", f"it is, at scale {scale}", holds)
    numbers = {"one": 1.0, "nan": float("nan")}
    return papers.Reproduction((claim,), numbers, {"line": figure})
"""


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """A registry with one paper, whose example lies in a folder of its own."""
    path = tmp_path / "some_paper.py"
    path.write_text(EXAMPLE)
    monkeypatch.setattr(papers, "PAPERS", (PAPER,))
    monkeypatch.setattr(papers, "example_path", lambda paper: path)


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.slug)
def test_short_reproduction(paper, tmp_path):
    result = papers.reproduce(paper.slug, scale="short", out=tmp_path)
    assert result.claims and result.figures
    assert all(isinstance(figure, Figure) for figure in result.figures.values())
    stored = json.loads((tmp_path / papers.RESULT).read_text())
    assert stored["holds"] == result.holds
    if paper.state == "reproduced":
        assert result.holds, [claim for claim in result.claims if not claim.holds]


@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.slug)
def test_every_paper_is_whole(paper):
    example = papers.example_path(paper)
    assert example.parent == ROOT / "examples" and example.is_file()
    page = (ROOT / "docs" / "papers" / f"{paper.slug}.md").read_text()
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    for picture in pictures:
        size = (ROOT / "docs" / "papers" / picture).stat().st_size
        assert size < 100_000, f"{picture} has {size} bytes"


def test_slugs_are_unique():
    slugs = [paper.slug for paper in papers.PAPERS]
    assert len(set(slugs)) == len(slugs)


def test_reproduce_prints_stores_and_judges(registered, tmp_path):
    out = tmp_path / "out"
    good = call("reproduce", "some-paper", "--short", "--out", out)
    assert good.exit_code == 0
    assert "claim:    one is one" in good.stdout
    assert "measured: it is, at scale short" in good.stdout
    assert "verdict:  holds" in good.stdout
    stored = json.loads((out / "result.json").read_text())
    assert stored["claims"][0]["holds"] and stored["numbers"] == {"one": 1, "nan": None}
    assert (out / "line.png").read_bytes().startswith(b"\x89PNG")
    bad = call("reproduce", "some_paper", "--full")
    assert bad.exit_code == 1 and "verdict:  does not hold" in bad.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["some-papr"], "did you mean 'some-paper'?"),
        (["zzz"], "`kanjax papers` lists them"),
        (["some-paper", "--data", "nowhere"], "there is nothing at nowhere"),
        (["some-paper", "--full", "--short"], "exclude each other"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(registered, arguments, words):
    result = call("reproduce", *arguments)
    lines = result.stderr.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1
    assert words in lines[0]


def test_the_list(registered):
    shown = call("papers")
    assert shown.exit_code == 0
    assert "some-paper" in shown.stdout and "in part" in shown.stdout
    row = "| [some-paper](docs/papers/some-paper.md) | Some paper. A, B (2020), arXiv"
    assert row in papers.table(prefix="docs/")
