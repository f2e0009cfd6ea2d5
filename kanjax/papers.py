"""The papers whose methods kanjax has, and how their reproductions are run.

A paper is one file ``examples/<room>/<slug>.py`` (underscores for hyphens). It says
what it is in a literal ``PAPER = papers.Paper(...)``, and its ``main`` measures what
the paper claims and returns a :class:`Reproduction`. The command line, the docs and the
README read the same entries, without importing the examples.
"""

import ast
import difflib
import importlib.util
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kanjax import files

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

Scale = Literal["short", "default", "full"]
"""How much runs: seconds, minutes on two cores, or the size of the paper."""

RESULT = "result.json"
DOTS_PER_INCH = 110


class Paper(NamedTuple):
    """A paper in kanjax.

    Attributes:
        slug: its name on the command line and in the names of its files.
        title: as published.
        source: authors, year, and the arXiv id or DOI that docstrings cite.
        room: where its methods live.
        state: "reproduced" if every claim of the example holds at its default size, "in
            part" if those do that the example's table shows, or "not reproduced".
    """

    slug: str
    title: str
    source: str
    room: str
    state: Literal["reproduced", "in part", "not reproduced"]


class Claim(NamedTuple):
    """One statement of a paper beside what was measured.

    Attributes:
        text: what is claimed.
        measured: what came out here.
        holds: whether that is within the threshold.
        paper: the paper's own figure, if it has one.
        threshold: what decides whether the claim holds.
        baseline: what the alternative gave with the same budget.
    """

    text: str
    measured: str
    holds: bool
    paper: str = ""
    threshold: str = ""
    baseline: str = ""


class Reproduction(NamedTuple):
    """What an example's ``main`` returns.

    Attributes:
        claims: at least one.
        numbers: what was measured, as JSON can express it, for ``result.json``.
        figures: by name, for ``<name>.png``.
    """

    claims: tuple[Claim, ...]
    numbers: Mapping[str, Any]
    figures: Mapping[str, "Figure"]

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(claim.holds for claim in self.claims)


Main = Callable[[Scale, pathlib.Path | None], Reproduction]


def spread(values: "np.ndarray", digits: int = 3) -> str:
    """Write the mean and the standard deviation of seeds, draws or splits.

    Args:
        values: (runs,), two or more.
        digits: after the point.
    """
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"


def examples_folder() -> pathlib.Path:
    """Return the folder of all examples: the checkout's, or the installed package's."""
    root = pathlib.Path(__file__).parents[1]
    installed = root / "kanjax_papers"
    return installed if installed.is_dir() else root / "examples"


def scan(folder: pathlib.Path) -> tuple[Paper, ...]:
    """Read the entries of all examples in a folder, by room and slug.

    Args:
        folder: what holds ``<room>/<slug>.py``; files and folders whose name begins
            with an underscore or a dot are passed over.

    Raises:
        ValueError: if an example has no entry, or one that is not of its place.
    """
    return tuple(_read_entry(path) for path in sorted(folder.glob("[!_.]*/[!_.]*.py")))


def _read_entry(path: pathlib.Path) -> Paper:
    """Evaluate the literals of ``PAPER = papers.Paper(...)``; nothing of it is run."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign([ast.Name("PAPER")], ast.Call(_, [], keywords)):
                break
    else:
        raise ValueError(
            f"{path} has no entry; give it PAPER = papers.Paper(slug=..., title=..., "
            "source=..., room=..., state=...)."
        )
    try:
        paper = Paper(**{str(k.arg): ast.literal_eval(k.value) for k in keywords})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: PAPER must be of literals: {error}.") from None
    if (paper.room, paper.slug) != (path.parent.name, path.stem.replace("_", "-")):
        raise ValueError(
            f"{path} is the entry of {paper.slug!r} in {paper.room!r}; it must lie at "
            f"{paper.room}/{paper.slug.replace('-', '_')}.py."
        )
    return paper


PAPERS: tuple[Paper, ...] = scan(examples_folder())


def find(slug: str) -> Paper:
    """Return the paper of a slug.

    Args:
        slug: with hyphens or underscores.

    Raises:
        ValueError: if there is none, with the nearest one that there is.
    """
    for paper in PAPERS:
        if paper.slug == slug.replace("_", "-"):
            return paper
    near = difflib.get_close_matches(slug, [paper.slug for paper in PAPERS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`kanjax papers` lists them."
    raise ValueError(f"there is no paper {slug!r}; {hint}")


def reproduce(
    slug: str,
    *,
    scale: Scale = "default",
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Reproduction:
    """Run a paper's reproduction, and store it if a folder is given.

    Args:
        slug: a paper in ``PAPERS``.
        scale: "short" takes seconds, "default" minutes on two cores, "full" is the
            paper's own size.
        data: a folder with the paper's data; what is needed without it comes bundled
            or is generated.
        out: a folder for ``result.json`` and the figures; made if absent.

    Raises:
        ValueError: for an unknown paper, or data that the reproduction cannot use.
    """
    paper = find(slug)
    if data is not None and not pathlib.Path(data).exists():
        raise ValueError(f"data: there is nothing at {os.fspath(data)}.")
    if out is not None and (reason := files.why_not_writable(out)):
        raise ValueError(f"out: {os.fspath(out)} cannot be written: {reason}.")
    result = load_main(paper)(scale, None if data is None else pathlib.Path(data))
    if out is not None:
        _store(paper, scale, result, pathlib.Path(out))
    return result


def load_main(paper: Paper) -> Main:
    """Import a paper's example and return its ``main``."""
    path = example_path(paper)
    spec = importlib.util.spec_from_file_location(f"kanjax_papers.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def example_path(paper: Paper) -> pathlib.Path:
    """Return the file of a paper's example."""
    return examples_folder() / paper.room / f"{paper.slug.replace('-', '_')}.py"


def places(paper: Paper) -> dict[str, list[pathlib.Path]]:
    """Find what belongs to a paper: library files, example, tests and page.

    The library's files are those that cite the paper's arXiv id or DOI. Tests and pages
    are there in a checkout only.
    """
    root = pathlib.Path(__file__).parents[1]
    name = paper.slug.replace("-", "_")
    identifier = re.search(r"(?:arXiv|doi)\s+(\S+)$", paper.source)
    library = []
    if identifier is not None:
        library = [
            path
            for path in sorted((root / "kanjax").rglob("*.py"))
            if identifier[1] in path.read_text(encoding="utf-8")
        ]
    beside = {
        "tests": root / "tests" / "papers" / f"test_{name}.py",
        "page": root / page_path(paper, prefix="docs/"),
    }
    return {
        "library": library,
        "example": [example_path(paper)],
        **{kind: [path] for kind, path in beside.items() if path.exists()},
    }


def page_path(paper: Paper, *, prefix: str = "") -> str:
    """Return the path of a paper's page; ``prefix`` leads to the folder of the docs."""
    return f"{prefix}papers/{paper.room}/{paper.slug}.md"


def rooms() -> tuple[str, ...]:
    """Return the rooms that have papers, in order."""
    return tuple(dict.fromkeys(paper.room for paper in PAPERS))


def table(room: str, *, prefix: str = "") -> str:
    """Render the papers of a room as a Markdown table.

    Args:
        room: one of :func:`rooms`.
        prefix: leads to the folder of the docs.
    """
    lines = ["| paper | title | state |", "| --- | --- | --- |"]
    for paper in PAPERS:
        if paper.room == room:
            link = f"[{paper.slug}]({page_path(paper, prefix=prefix)})"
            lines.append(f"| {link} | {paper.title}. {paper.source} | {paper.state} |")
    return "\n".join(lines)


def summary() -> str:
    """Render how many papers each room has, by state, as a Markdown table."""
    states = ("reproduced", "in part", "not reproduced")
    lines = [f"| room | {' | '.join(states)} |", "| --- | --- | --- | --- |"]
    for room in rooms():
        counts = [
            sum((paper.room, paper.state) == (room, state) for paper in PAPERS)
            for state in states
        ]
        lines.append(f"| `{room}` | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def _store(
    paper: Paper, scale: Scale, result: Reproduction, folder: pathlib.Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in result.figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DOTS_PER_INCH, bbox_inches="tight")
    document = {
        "paper": paper._asdict(),
        "scale": scale,
        "holds": result.holds,
        "claims": [claim._asdict() for claim in result.claims],
        "numbers": dict(result.numbers),
    }
    files.write_json(folder / RESULT, document)
