"""Pages that come from the registry of papers: tables, gallery and navigation."""

import ast
import html
import importlib
import pathlib
import re
import types
import zlib
from collections.abc import Iterator
from typing import Any

from mkdocs.exceptions import PluginError

import kanjax
import pallas_kernels
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
    missing = [p.slug for p in papers.PAPERS if p.slug not in results]
    if not missing:
        return claims.table(results)
    rest = f"Not run yet for this table, by `make claims`: {', '.join(missing)}."
    return f"{claims.table(results)}\n\n{rest}" if results else rest


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
    if page.file.src_uri.startswith("api/"):
        markdown = ROOM.sub(lambda match: by_task(match[1]), markdown)
    markdown = fill(markdown, "papers", tables())
    markdown = fill(markdown, "gallery", gallery())
    return with_links(fill(markdown, "claims", measured()))


CODE = re.compile(r"(?<!\[)`(kj\.)?(\w+(?:\.\w+)*)((?:\(.*?\))?)`(?!\])")


def with_links(markdown: str) -> str:
    """Lead names such as ``kj.kan.prune`` outside of blocks to the reference.

    A bare name after one belongs to the same room. What has no entry stays as it is.
    """
    # Every other piece is a block of code.
    pieces = markdown.split("```")
    lines = [piece.split("\n") for piece in pieces[::2]]
    pieces[::2] = ["\n".join(map(_with_links, piece)) for piece in lines]
    return "```".join(pieces)


def _with_links(line: str) -> str:
    room = ""

    def link(match: re.Match[str]) -> str:
        nonlocal room
        begin, name, arguments = match.groups("")
        if begin:
            room = name.rpartition(".")[0]
        if not begin and not room:
            return match[0]
        identifier = name if begin else f"{room}.{name}"
        code = html.escape(f"{begin}{name}{arguments}")
        return (
            f'<autoref identifier="kanjax.{identifier}" optional>'
            f"<code>{code}</code></autoref>"
        )

    return CODE.sub(link, line)


ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
ROOM = re.compile(r"^::: (kanjax\.\w+)$", re.MULTILINE)


def by_task(room: str) -> str:
    """Return the entry of a room, with what each of its modules is for as headings.

    Under them stand first what acts, and then the tuples that it returns.
    """
    package = importlib.import_module(room)
    if not hasattr(package, "__path__"):
        return f"::: {room}"
    entries = [f"::: {room}\n    options:\n      members: false"]
    for module, names in _imports(package):
        public = [name for name in names if name in package.__all__]
        if not public:
            continue
        task = (importlib.import_module(module).__doc__ or "").split("\n\n")[0]
        task = ROLE.sub(r"`\1`", " ".join(task.split()).rstrip("."))
        entries.append(f"### {task}")
        public.sort(key=lambda name: _is_result(getattr(package, name)))
        entries += [
            f"::: {room}.{name}\n    options:\n      show_root_heading: true\n"
            "      show_root_full_path: false\n      heading_level: 4"
            for name in public
        ]
    return "\n\n".join(entries)


def _imports(package: types.ModuleType) -> Iterator[tuple[str, list[str]]]:
    """The modules that a room takes names from, with these, in its order."""
    source = pathlib.Path(package.__file__ or "").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ImportFrom) or node.module == package.__name__:
            continue
        yield node.module or "", [alias.asname or alias.name for alias in node.names]


def _is_result(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, tuple)


def on_post_build(config: Any) -> None:
    """Raise unless every public name has an entry among the pages."""
    inventory = pathlib.Path(config.site_dir, "objects.inv").read_bytes()
    # Four lines of plain text, then compressed entries that begin with their names.
    entries = zlib.decompress(inventory.split(b"\n", 4)[4]).decode()
    documented = {line.split(" ", 1)[0] for line in entries.splitlines()}
    absent = [name for name in public_names() if name not in documented]
    if absent:
        raise PluginError(
            "public names without an entry in docs/api: " + ", ".join(sorted(absent))
        )


def public_names() -> Iterator[str]:
    """The full names of what the rooms and ``pallas_kernels`` list in ``__all__``."""
    rooms = [importlib.import_module(f"kanjax.{name}") for name in kanjax.__all__]
    for room in [*rooms, pallas_kernels]:
        for name in getattr(room, "__all__", ()):
            if not isinstance(getattr(room, name), types.ModuleType):
                yield f"{room.__name__}.{name}"
