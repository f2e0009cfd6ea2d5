"""Pages that come from the registry of papers: tables, gallery and navigation."""

import pathlib
import re
from typing import Any

from kanjax import claims, papers

ROOT = pathlib.Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "papers" / claims.CLAIMS


def fill(text: str, name: str, content: str) -> str:
    """Put content between the marks ``<!-- name -->`` and ``<!-- /name -->``."""
    between = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    return between.sub(lambda _: content + "\n", text)


def tables() -> str:
    """All papers, a table a room."""
    return "\n\n".join(f"### {room}\n\n{papers.table(room)}" for room in papers.rooms())


def measured() -> str:
    """Claims beside measurements, from what ``make claims`` stored."""
    results = claims.read_claims(MEASURED)
    return claims.table(results) if results else "`make claims` fills in this table."


def gallery() -> str:
    """The figure of each paper, small, leading to its page."""
    cells = [
        f"[![{paper.title}](images/{paper.slug}.png){{ width=220 }}]"
        f"({papers.page_path(paper)})"
        for paper in papers.PAPERS
    ]
    return "\n".join(cells)


def on_config(config: Any) -> Any:
    """List every paper's page by room, and bring the README's table up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = fill(text, "papers", papers.summary())
    if new != text:
        readme.write_text(new, encoding="utf-8")
    pages = [
        {
            room: [
                {paper.title: papers.page_path(paper)}
                for paper in papers.PAPERS
                if paper.room == room
            ]
        }
        for room in papers.rooms()
    ]
    for entry in config.nav:
        if "Papers" in entry:
            entry["Papers"] = [*entry["Papers"], *pages]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what a page asks for by its marks."""
    markdown = fill(markdown, "papers", tables())
    markdown = fill(markdown, "gallery", gallery())
    return fill(markdown, "claims", measured())
