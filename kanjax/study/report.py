"""The report of a study: one HTML file that needs nothing beside it."""

import math
import pathlib
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from kanjax import files, pages
from kanjax.study import figures, store, summary
from kanjax.study.config import Config
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
SPREAD = {
    "CRPS": "mean distance of the targets from what the members say together, in the "
    "target's unit; for a single prediction it is the mean absolute error",
    "coverage of its 90% interval": "share of the targets in it; below 0.9 members "
    "agree more with each other than with the data, since their spread is not the "
    "target's noise",
    "spread / error": "1 where the members differ as much as they are wrong",
    "calibration error": "mean distance of confidence from accuracy",
    "mean entropy (nats)": "of the ensemble's probabilities: 0 where it is certain",
    "disagreement where right (nats)": "0 where all give the same probabilities",
    "disagreement where wrong (nats)": "if it is larger than where right, it warns of "
    "errors",
}
"""What the measures of the members' spread say."""
MOST_CATEGORIES = 8


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
        spread_meanings=SPREAD,
        columns=[_column(column) for column in study.data.preprocessor.columns],
        classes=_classes(study),
        command=_command(study.config),
        pruning=metrics.get("pruning"),
        longest=LONGEST_FORMULA,
    )


def _column(column: Any) -> tuple[str, str, str]:
    """Return a column's name, kind and values, for a reader."""
    if hasattr(column, "categories"):
        more = len(column.categories) - MOST_CATEGORIES
        listed = ", ".join(column.categories[:MOST_CATEGORIES])
        listed += f" and {more} more" if more > 0 else ""
        return column.name, f"{len(column.categories)} categories", listed
    if hasattr(column, "elements"):
        return column.name, "compositions", ", ".join(column.elements)
    ends = figures.number(column.low), figures.number(column.high)
    return column.name, "numbers", " to ".join(ends)


def _classes(study: store.Study) -> dict[str, list[int]]:
    """Return each class's rows for training, validation and testing."""
    if study.data.task == "regression":
        return {}
    names, split = study.data.target_names, study.data.split
    targets = [np.asarray(getattr(split, subset).y) for subset in store.PARTS]
    counts = [np.bincount(y, minlength=len(names)).tolist() for y in targets]
    return dict(zip(names, map(list, zip(*counts, strict=True)), strict=True))


def _command(config: Config) -> str:
    """Return the command of a study; empty if its settings come from elsewhere."""
    if config.data == "DataFrame" or config.search:
        return ""
    words, usual = ["kanjax study --data", shlex.quote(config.data)], Config().to_dict()
    for name, value in config.to_dict().items():
        if name == "data" or value == usual[name]:
            continue
        values = value if isinstance(value, tuple | list) else (value,)
        if name == "hidden":
            values = (",".join(map(str, values)),)
        for each in values:
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(each))]
    return " ".join(words)


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
