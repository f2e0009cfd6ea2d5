"""The code in the README and the docs runs as it stands."""

import pathlib
import re
import warnings

import matplotlib
import pytest

from kanjax import papers

ROOT = pathlib.Path(__file__).parent.parent
matplotlib.use("agg")


def blocks(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


PAGES = ["README.md"]
PAGES += sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "docs").rglob("*.md")
    if blocks(path)
)


@pytest.mark.parametrize("path", PAGES)
def test_code_runs(path):
    code = blocks(path)
    assert code
    scope = {}
    with warnings.catch_warnings():
        # Of other libraries' own deprecations a reader sees nothing either.
        warnings.simplefilter("default")
        for block in code:
            exec(compile(block, path, "exec"), scope)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    registered = {papers.page_path(paper) for paper in papers.PAPERS}
    for path in (ROOT / "docs").rglob("*.md"):
        page = str(path.relative_to(ROOT / "docs"))
        assert page in registered or page in navigation


def test_the_readme_has_the_table_of_papers():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert papers.summary() in text, "`make docs` brings it up to date"
