"""The papers whose methods kanjax has, and how their reproductions are run.

A paper is one line of ``PAPERS`` and one file ``examples/<slug>.py`` (underscores for
hyphens), whose ``main`` measures what the paper claims and returns a
:class:`Reproduction`. The command line, the docs and the README read the same lines.
"""

import importlib.util
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["short", "default", "full"]
"""How much runs: seconds, minutes on two cores, or the size of the paper."""

RESULT = "result.json"
DOTS_PER_INCH = 110


class Paper(NamedTuple):
    """A paper in kanjax."""

    slug: str
    title: str
    source: str
    """Authors, year, arXiv id."""
    room: str
    """Where its methods live."""
    state: Literal["reproduced", "in part", "not reproduced"]
    """Whether its claims hold here: all, those that the example names, or not."""


PAPERS: tuple[Paper, ...] = (
    Paper(
        "landscaping-lmc",
        "Landscaping Linear Mode Connectivity",
        "Singh et al. (2024), arXiv 2406.16300",
        "landscape",
        "reproduced",
    ),
    Paper(
        "intrinsic-dimension",
        "Measuring the Intrinsic Dimension of Objective Landscapes",
        "Li et al. (2018), arXiv 1804.08838",
        "landscape",
        "reproduced",
    ),
    Paper(
        "ntk",
        "Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
        "Jacot, Gabriel, Hongler (2018), arXiv 1806.07572",
        "ntk",
        "reproduced",
    ),
    Paper(
        "modern-hopfield",
        "Hopfield Networks is All You Need",
        "Ramsauer et al. (2020), arXiv 2008.02217",
        "hopfield",
        "in part",
    ),
    Paper(
        "kat",
        "Kolmogorov-Arnold Transformer",
        "Yang, Wang (2025), arXiv 2409.10594",
        "kan",
        "in part",
    ),
    Paper(
        "hea-kan",
        "Kolmogorov-Arnold Neural Networks for High-Entropy Alloys Design",
        "Bandyopadhyay, Avlani, Zhuang (2024), arXiv 2410.08452",
        "kan",
        "in part",
    ),
)


class Claim(NamedTuple):
    """One statement of a paper beside what was measured."""

    text: str
    measured: str
    holds: bool


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


def find(slug: str) -> Paper:
    """The paper of a slug.

    Raises:
        ValueError: if there is none, with the nearest one that there is.
    """
    import difflib

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
    result = load_main(paper)(scale, None if data is None else pathlib.Path(data))
    if out is not None:
        _store(paper, scale, result, pathlib.Path(out))
    return result


def load_main(paper: Paper) -> Main:
    """The ``main`` of a paper's example."""
    name = paper.slug.replace("-", "_")
    spec = importlib.util.spec_from_file_location(
        f"kanjax_examples.{name}", example_path(paper)
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def example_path(paper: Paper) -> pathlib.Path:
    """The example's file: in the checkout, or installed inside the package."""
    package = pathlib.Path(__file__).parent
    file = paper.slug.replace("-", "_") + ".py"
    candidates = (package.parent / "examples" / file, package / "examples" / file)
    return next((path for path in candidates if path.exists()), candidates[0])


def table(*, prefix: str = "") -> str:
    """All papers as a Markdown table; ``prefix`` leads to the folder of the docs."""
    lines = ["| paper | title | room | state |", "| --- | --- | --- | --- |"]
    for paper in PAPERS:
        link = f"[{paper.slug}]({prefix}papers/{paper.slug}.md)"
        title = f"{paper.title}. {paper.source}"
        lines.append(f"| {link} | {title} | `{paper.room}` | {paper.state} |")
    return "\n".join(lines)


def _store(
    paper: Paper, scale: Scale, result: Reproduction, folder: pathlib.Path
) -> None:
    from kanjax.study import store

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
    store.write_json(folder / RESULT, document)
