"""What the reference cannot read from the sources by itself.

Constructors of models: ``kanjax.model.dataclass`` makes them when a class is imported,
and griffe, which reads the sources, knows those of ``dataclasses`` only. Roles such as
``:func:`kanjax.kan.prune```: they become links.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

ROLE = re.compile(r":\w+:`(~?)([\w.]+)`")


class Reference(griffe.Extension):
    """Give every model an ``__init__`` made of its fields, and roles their links."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through a package once it is read."""
        for model in _models(pkg):
            if "__init__" not in model.members:
                model.set_member("__init__", _constructor(model))
        for each in _documented(pkg):
            text = each.docstring.value
            each.docstring.value = ROLE.sub(lambda m, o=each: _link(o, m), text)


def _documented(parent: Any) -> Iterator[Any]:
    if parent.docstring is not None:
        yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from _documented(member)


def _link(where: Any, role: re.Match[str]) -> str:
    short, name = role.groups()
    first, _, rest = name.partition(".")
    try:
        path = where.resolve(first) + (f".{rest}" if rest else "")
    except griffe.NameResolutionError:
        path = name
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'


def _models(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in parent.members.values():
        if member.is_alias or not isinstance(member, griffe.Module | griffe.Class):
            continue
        if isinstance(member, griffe.Class) and _is_model(member):
            yield member
        yield from _models(member)


def _is_model(cls: griffe.Class) -> bool:
    paths = (getattr(each.value, "canonical_path", "") for each in cls.decorators)
    return any(p.startswith("kanjax.model.") and p.endswith("dataclass") for p in paths)


def _constructor(model: griffe.Class) -> griffe.Function:
    fields: dict[str, griffe.Parameter] = {}
    for cls in (*reversed(model.mro()), model):
        if _is_model(cls):
            fields |= {field.name: field for field in _fields(cls)}
    this = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    return griffe.Function(
        "__init__",
        lineno=model.lineno,
        endlineno=model.endlineno,
        parent=model,
        parameters=griffe.Parameters(this, *fields.values()),
        returns="None",
    )


def _fields(cls: griffe.Class) -> Iterator[griffe.Parameter]:
    for member in cls.members.values():
        if not isinstance(member, griffe.Attribute) or member.annotation is None:
            continue
        if "property" in member.labels or "ClassVar" in str(member.annotation):
            continue
        yield griffe.Parameter(
            member.name,
            annotation=member.annotation,
            kind=griffe.ParameterKind.positional_or_keyword,
            default=_default(member.value),
        )


def _default(value: Any) -> Any:
    """Return a field's default; None if it has none."""
    if not isinstance(value, griffe.ExprCall):
        return value
    if str(value.function).rpartition(".")[2] not in ("child", "field"):
        return value
    given = {getattr(a, "name", ""): getattr(a, "value", None) for a in value.arguments}
    return given.get("default")
