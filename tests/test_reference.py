"""The reference's pages: what a module is for as a heading, results after verbs."""

import importlib.util
import pathlib

import pytest

pytest.importorskip("mkdocs")

HOOKS = pathlib.Path(__file__).parents[1] / "docs" / "hooks.py"


def test_entries_stand_by_task_and_results_after_verbs():
    spec = importlib.util.spec_from_file_location("docs_hooks", HOOKS)
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.by_task("kanjax.training")
    headings = [line for line in page.splitlines() if line.startswith("### ")]
    assert "### Training one network or an ensemble, by full batches" in page
    assert not any(":func:" in heading for heading in headings)
    names = ["cascade", "fit_cascade", "Cascade"]
    places = [page.index(f"::: kanjax.training.{name}\n") for name in names]
    assert places == sorted(places)
    # Rooms that are one module have nothing to put apart.
    assert hooks.by_task("kanjax.taps") == "::: kanjax.taps"
