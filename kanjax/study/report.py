"""The report of a study: one HTML file that needs nothing beside it."""

import base64
import io
import math
import pathlib
from typing import TYPE_CHECKING, Any

from kanjax import files
from kanjax.study import figures, store

if TYPE_CHECKING:
    from kanjax.study.findings import Findings

LONGEST_FORMULA = 1500
PIXELS_PER_INCH = 130
WIDE = ("functions", "barriers")


def write(study: store.Study, findings: "Findings", root: pathlib.Path) -> pathlib.Path:
    """Write ``report.html`` and ``figures/``, and return the report's path.

    A figure that fails is left out, and noted in the study's metrics.
    """
    folder = root / "figures"
    folder.mkdir(exist_ok=True)
    sections: dict[str, list[dict[str, Any]]] = {}
    for picture in figures.draw(study, findings, study.metrics["notes"]):
        png = _rendered(picture.figure, "png")
        (folder / f"{picture.name}.png").write_bytes(png)
        (folder / f"{picture.name}.svg").write_bytes(_rendered(picture.figure, "svg"))
        sections.setdefault(picture.section, []).append(
            {
                "name": picture.name,
                "caption": picture.caption,
                "wide": picture.name in WIDE,
                "source": "data:image/png;base64," + base64.b64encode(png).decode(),
            }
        )
    path = root / "report.html"
    files.write_text(path, render(study, sections))
    return path


def render(study: store.Study, sections: dict[str, list[dict[str, Any]]]) -> str:
    """Return the report's HTML from the study's metrics and its encoded pictures."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kanjax.study", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = figures.number
    environment.filters["mean"] = _mean
    environment.filters["spread"] = _spread
    metrics = files.to_json(study.metrics)
    return environment.get_template("report.html.jinja").render(
        config=study.config,
        data=study.data,
        model=repr(study.model),
        metrics=metrics,
        sections=sections,
        table=_table(study, metrics),
        barriers=_barriers(metrics.get("barriers", {})),
        pruning=metrics.get("pruning"),
        longest=LONGEST_FORMULA,
    )


def _table(study: store.Study, metrics: dict[str, Any]) -> dict[str, Any]:
    """Rows of (name, {metric: text}, best metrics) for all methods."""
    names = list(metrics["test"]["ensemble"])
    kind = study.config.model.upper()
    members = metrics["test"]["members"]
    rows = [
        {
            "name": f"{kind}, one of {study.config.members} members (mean ± spread)",
            "cells": [
                " ± ".join(map(figures.number, (_mean(m), _spread(m))))
                for m in (members[n] for n in names)
            ],
            "values": None,
        },
        {"name": f"{kind} ensemble", "values": metrics["test"]["ensemble"]},
    ]
    rows += [{"name": n, "values": v} for n, v in metrics["baselines"].items()]
    compared = [row for row in rows if row["values"] is not None]
    for row in compared:
        row["cells"] = [figures.number(row["values"][n]) for n in names]
        row["best"] = [
            row["values"][n] == _best(n, [r["values"][n] for r in compared])
            for n in names
        ]
    rows[0]["best"] = [False] * len(names)
    return {"metrics": names, "rows": rows}


def _best(metric: str, values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    if not finite:
        return None
    is_score = metric in ("R2", "accuracy", "macro F1")
    return max(finite) if is_score else min(finite)


def _barriers(barriers: dict[str, Any]) -> dict[str, float | None]:
    """Return the mean over pairs, before and after alignment."""

    def over_pairs(matrix: list[list[float | None]]) -> float | None:
        pairs = [row[j] for i, row in enumerate(matrix) for j in range(i)]
        return _mean(pairs)

    return {name: over_pairs(matrix) for name, matrix in barriers.items()}


def _mean(values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite) if finite else None


def _spread(values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    if len(finite) < 2:
        return None
    mean = sum(finite) / len(finite)
    return math.sqrt(sum((v - mean) ** 2 for v in finite) / (len(finite) - 1))


def _rendered(figure: Any, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=PIXELS_PER_INCH, bbox_inches="tight")
    return buffer.getvalue()
