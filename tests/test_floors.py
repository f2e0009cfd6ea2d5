"""Imports go down, never up, and rooms on one floor do not import each other."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = (
    {"pallas_kernels"},
    {
        "kanjax.bases",
        "kanjax.checks",
        "kanjax.compiling",
        "kanjax.conv_layouts",
        "kanjax.data",
        "kanjax.files",
        "kanjax.gaussian",
        "kanjax.linalg",
        "kanjax.model",
        "kanjax.nn",
        "kanjax.jaxprs",
        "kanjax.persample",
        "kanjax.plotting",
        "kanjax.pytrees",
        "kanjax.scales",
        "kanjax.square_root",
        "kanjax.taps",
        "kanjax.training",
        "kanjax.unit_trace",
        "kanjax.versions",
    },
    {
        "kanjax.hopfield",
        "kanjax.kan",
        "kanjax.landscape",
        "kanjax.ntk",
        "kanjax.representation",
        "kanjax.symmetry",
        "kanjax.systems",
    },
    {"kanjax.pinn", "kanjax.theory"},
    {
        "kanjax.__main__",
        "kanjax.claims",
        "kanjax.cli",
        "kanjax.compilation_cache",
        "kanjax.interruption",
        "kanjax.pages",
        "kanjax.papers",
        "kanjax.progress",
        "kanjax.solutions",
        "kanjax.study",
    },
)
# What stands beside the floors, and the floors whose rooms serve each other.
BESIDE = {"kanjax", "kanjax.interop"}
SHARED = (1, 4)


def room(module: str) -> str:
    """``kanjax.kan`` for ``kanjax.kan.layers``."""
    return ".".join(module.split(".")[: 1 if module.startswith("pallas") else 2])


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def sources() -> list[pathlib.Path]:
    folders = (ROOT / "kanjax", ROOT / "pallas_kernels")
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(path: pathlib.Path) -> set[str]:
    """The rooms that a file imports when it runs, those for types alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    modules = []
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "kanjax":
            modules += [f"kanjax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
    ours = (
        name for name in modules if name.split(".")[0] in ("kanjax", "pallas_kernels")
    )
    return {room(name) for name in ours}


def home(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return room(".".join(part for part in parts if part != "__init__"))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    here = home(path)
    if here in BESIDE:
        return
    for there in imports(path) - {here} - BESIDE:
        assert floor(there) <= floor(here), f"{here} imports {there}, a floor above"
        is_stranger = floor(there) == floor(here) and floor(here) not in SHARED
        assert not is_stranger, f"{here} and {there} stand on one floor"


def test_every_room_has_a_floor():
    names = {home(path) for path in sources()} - BESIDE
    assert names == set().union(*FLOORS)
