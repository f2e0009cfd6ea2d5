"""Pages that come from the registry of papers: their table and the navigation."""

import pathlib
import re
from typing import Any

from kanjax import papers

ROOT = pathlib.Path(__file__).parents[1]
BLOCK = re.compile(r"(?<=<!-- papers -->\n).*?(?=<!-- /papers -->)", re.DOTALL)


def with_table(text: str, *, prefix: str = "") -> str:
    """The text with the table of papers between its two marks."""
    return BLOCK.sub(lambda _: papers.table(prefix=prefix) + "\n", text)


def on_config(config: Any) -> Any:
    """List every paper's page, and bring the README's table up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = with_table(text, prefix="docs/")
    if new != text:
        readme.write_text(new, encoding="utf-8")
    pages = [{paper.title: f"papers/{paper.slug}.md"} for paper in papers.PAPERS]
    for entry in config.nav:
        if "Papers" in entry:
            entry["Papers"] = [*entry["Papers"], *pages]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the table where a page asks for it."""
    return with_table(markdown)
