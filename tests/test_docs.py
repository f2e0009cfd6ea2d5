"""The code in the README and the tutorial runs as it stands."""

import pathlib
import re
import warnings

import matplotlib
import pytest

ROOT = pathlib.Path(__file__).parent.parent
matplotlib.use("agg")


def blocks(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", ["README.md", "docs/tutorial.md"])
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
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in navigation
