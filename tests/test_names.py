"""Names say what a thing is in the field's words, not that it is a thing."""

import ast

import pytest

from tests.test_floors import ROOT, sources

EMPTY = {
    *("one", "found", "part", "whole", "own", "given"),
    *("behind", "apart", "within", "sides", "always"),
}


def names(path):
    """Every name that a file binds, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_is_empty(path):
    assert not [(line, name) for line, name in names(path) if name in EMPTY]
