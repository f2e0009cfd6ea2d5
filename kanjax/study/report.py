"""The report of a study: one HTML file that needs nothing beside it."""

import math
import pathlib
from typing import TYPE_CHECKING, Any

from kanjax import files, pages
from kanjax.study import figures, store, summary
from kanjax.study.evaluation import ENSEMBLE, HIGHER_IS_BETTER

if TYPE_CHECKING:
    from kanjax.study.findings import Findings

LONGEST_FORMULA = 1500
WIDE = ("functions", "barriers", "similarity")
COLLAPSE = {
    "nc1": "NC1: spread within classes over that between them",
    "nc2_means": "NC2: distance of the class means from a simplex",
    "equinorm": "NC2: unevenness of their lengths",
    "equiangle": "NC2: unevenness of their angles",
    "nc4": "NC4: rows that the nearest class mean labels otherwise",
}
"""Measures of collapse as a reader knows them."""


def write(study: store.Study, findings: "Findings", root: pathlib.Path) -> pathlib.Path:
    """Write ``report.html`` and ``figures/``, and return the report's path.

    A figure that fails is left out, and noted in the study's metrics.
    """
    folder = root / "figures"
    folder.mkdir(exist_ok=True)
    sections: dict[str, list[dict[str, Any]]] = {}
    for picture in figures.draw(study, findings, study.metrics["notes"]):
        sections.setdefault(picture.section, []).append(
            pages.store_figure(
                folder,
                picture.name,
                picture.caption,
                picture.figure,
                wide=picture.name in WIDE,
            )
        )
    path = root / "report.html"
    files.write_text(path, render(study, sections))
    return path


def render(study: store.Study, sections: dict[str, list[dict[str, Any]]]) -> str:
    """Return the report's HTML from the study's metrics and its encoded pictures."""
    environment = pages.environment("kanjax.study")
    environment.filters["mean"] = _mean
    environment.filters["spread"] = _spread
    environment.filters["cell"] = _cell
    metrics = files.to_json(study.metrics)
    return environment.get_template("report.html.jinja").render(
        config=study.config,
        data=study.data,
        model=repr(study.model),
        metrics=metrics,
        sections=sections,
        summary=summary.summarize(metrics),
        table=_table(study, metrics),
        barriers=_over_pairs(metrics.get("barriers", {})),
        alike={
            name: _over_pairs(tables)
            for name, tables in metrics.get("features", {})
            .get("similarity", {})
            .items()
        },
        collapse_names=COLLAPSE,
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


def _over_pairs(tables: dict[str, Any]) -> dict[str, float | None]:
    """Return the mean over pairs of members of each table."""

    def over_pairs(matrix: list[list[float | None]]) -> float | None:
        return _mean(
            [v for i, row in enumerate(matrix) for v in row[:i] + row[i + 1 :]]
        )

    return {name: over_pairs(matrix) for name, matrix in tables.items()}


def _mean(values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return sum(finite) / len(finite) if finite else None


def _spread(values: list[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    if len(finite) < 2:
        return None
    mean = sum(finite) / len(finite)
    return math.sqrt(sum((v - mean) ** 2 for v in finite) / (len(finite) - 1))


def _cell(values: list[Any]) -> str:
    """Return a target or a prediction, which may have several numbers."""
    return ", ".join(
        figures.number(v) if isinstance(v, float) else str(v) for v in values
    )
