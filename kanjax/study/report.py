"""The report of a study: one HTML file that needs nothing beside it."""

import base64
import io
import math
import pathlib
from typing import TYPE_CHECKING, Any

from kanjax import files
from kanjax.study import figures, store
from kanjax.study.evaluation import ENSEMBLE, HIGHER_IS_BETTER

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
    """Rows of a name and a cell for each metric, for all methods."""
    names = list(metrics["test"]["ensemble"])
    kind = study.config.model.upper()
    members = metrics["test"]["members"]
    compared = metrics["compared"]
    values = {ENSEMBLE: metrics["test"]["ensemble"], **metrics["baselines"]}
    best = {n: _best(n, [scores[n] for scores in values.values()]) for n in names}
    single = {
        "name": f"{kind}, one of {study.config.members} members (mean ± spread)",
        "cells": [
            {
                "text": " ± ".join(map(figures.number, (_mean(m), _spread(m)))),
                "range": None,
                "best": False,
                "level": False,
            }
            for m in (members[n] for n in names)
        ],
    }
    rows = [
        {
            "name": f"{kind} ensemble" if method == ENSEMBLE else method,
            "cells": [
                {
                    "text": figures.number(scores[n]),
                    "range": [compared[method][n][end] for end in ("low", "high")],
                    "best": scores[n] == best[n],
                    "level": compared[method][n]["is_level"],
                }
                for n in names
            ],
        }
        for method, scores in values.items()
    ]
    return {"metrics": names, "rows": [single, *rows]}


def _best(metric: str, values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    if not finite:
        return None
    return max(finite) if metric in HIGHER_IS_BETTER else min(finite)


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
