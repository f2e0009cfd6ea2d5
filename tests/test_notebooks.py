"""The notebooks run, in their short mode, and are stored executed."""

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Each with the number of figures that it shows.
FIGURES = {
    "01_first_ensemble": 6,
    "02_look_inside": 10,
    "03_physics": 5,
    "04_infinite_width": 4,
    "05_hopfield": 3,
}
LARGEST_FILE = 600_000
LARGEST_FIGURE = 100_000
MACHINE_PATH = re.compile(
    r"/(?:home|root|Users|tmp|private|var|usr|opt|work|mnt|workspace|builds)/"
    r"|\b[A-Z]:\\"
)


def stored(name: str) -> Any:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def figures(notebook: Any) -> list[str]:
    """The base64 text of every picture."""
    found = [output.get("data", {}).get("image/png") for output in outputs(notebook)]
    return [png for png in found if png]


def texts(notebook: Any) -> list[str]:
    """All that the outputs say, without the pictures."""
    said = []
    for output in outputs(notebook):
        data = {k: v for k, v in output.get("data", {}).items() if k != "image/png"}
        said.append(json.dumps([output.get("text", ""), data], ensure_ascii=False))
    return said


def assert_clean(notebook: Any) -> None:
    """No errors, no warnings, nothing of the machine it ran on."""
    for output in outputs(notebook):
        assert output.output_type != "error", output
        assert output.get("name") != "stderr", output
    for text in texts(notebook):
        assert not MACHINE_PATH.search(text), text
        assert str(ROOT) not in text, text


# In a process of its own: the client leaves sockets and an event loop behind.
EXECUTE = """
import sys, nbclient, nbformat
source, result, folder = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
client = nbclient.NotebookClient(
    notebook, kernel_name="here", timeout=300, allow_errors=False
)
client.execute(cwd=folder)
nbformat.write(notebook, result)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_notebook_runs(name: str, tmp_path: pathlib.Path) -> None:
    # A kernel of the running interpreter, whatever kernels are installed.
    kernel = tmp_path / "kernels" / "here" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "here", "language": "python"}
    kernel.write_text(json.dumps(spec), encoding="utf-8")
    notebook = stored(name)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    source, result = tmp_path / "source.ipynb", tmp_path / "result.ipynb"
    nbformat.write(notebook, source)
    folder = tmp_path / "run"
    folder.mkdir()
    environment = os.environ | {
        "KANJAX_SHORT": "1",
        "JUPYTER_PATH": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(source), str(result), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    executed = nbformat.read(result, as_version=4)
    assert_clean(executed)
    assert len(figures(executed)) == FIGURES[name]
    assert not list(folder.iterdir()), "a notebook leaves nothing in its folder"


@pytest.mark.parametrize("name", FIGURES)
def test_notebook_is_stored_executed(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    assert_clean(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    shown = figures(notebook)
    assert len(shown) == FIGURES[name]
    # Base64 has 4 characters for 3 bytes.
    assert max(len(png) * 3 // 4 for png in shown) < LARGEST_FIGURE
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < LARGEST_FILE


@pytest.mark.parametrize("name", FIGURES)
def test_notebook_holds_no_traces_of_its_making(name: str) -> None:
    notebook = stored(name)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("name", FIGURES)
def test_cells_are_short(name: str) -> None:
    for cell in code_cells(stored(name)):
        assert len(cell.source.splitlines()) <= 18, cell.source


def test_every_notebook_is_tested() -> None:
    found = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert found == set(FIGURES)
