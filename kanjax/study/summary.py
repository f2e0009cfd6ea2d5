"""What a study found, in a few sentences: the top of its report."""

import statistics
from typing import Any

from kanjax.study import evaluation

FEW_ROWS = 1000


def summarize(metrics: dict[str, Any]) -> list[str]:
    """Return sentences on who is best, what to trust, what matters and what to try.

    Args:
        metrics: of a study, as JSON holds them.
    """
    sentences = [
        _best(metrics),
        _folds(metrics),
        _trust(metrics),
        _inputs(metrics),
        _formula(metrics),
        _next(metrics),
    ]
    return [sentence for sentence in sentences if sentence]


def _best(metrics: dict[str, Any]) -> str:
    metric = next(iter(metrics["test"]["ensemble"]))
    scores = {evaluation.ENSEMBLE: metrics["test"]["ensemble"], **metrics["baselines"]}
    known = {n: v[metric] for n, v in scores.items() if v[metric] is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    level = [
        _named(name)
        for name, values in metrics["compared"].items()
        if name != best and values[metric]["is_level"]
    ]
    told = f"{_sentence(_named(best))} has the best {metric} on the test rows, "
    told += f"{known[best]:.3f}"
    if not level:
        return f"{told}; all others are worse in at least 95 of 100 samples of them."
    return f"{told}; these rows do not tell it from {_listed(level)}."


def _folds(metrics: dict[str, Any]) -> str:
    rotated = metrics.get("cross_validation")
    if rotated is None:
        return ""
    metric = next(iter(metrics["test"]["ensemble"]))
    told = {
        name: (statistics.mean(values[metric]), statistics.stdev(values[metric]))
        for name, values in rotated["scores"].items()
        if None not in values[metric]
    }
    if not told:
        return ""
    best = max(told, key=lambda name: told[name][0])
    shown = {
        name: f"{mean:.3f} ± {spread:.3f}" for name, (mean, spread) in told.items()
    }
    beside = shown.get(evaluation.ENSEMBLE)
    if best != evaluation.ENSEMBLE and beside is not None:
        beside = f", where the ensemble's is {beside}"
    else:
        beside = ""
    return (
        f"Over {rotated['folds']} folds {_named(best)} has the best mean {metric}, "
        f"{shown[best]}{beside}."
    )


def _trust(metrics: dict[str, Any]) -> str:
    held, size = metrics["intervals"], metrics["rows"]["test"]
    what = "intervals" if metrics["task"] == "regression" else "sets of classes"
    if None in held.get("width", ()):
        return "There are too few validation rows for intervals that hold 90% of rows."
    return (
        f"The ensemble's {what} that should hold {held['asked']:.0%} of the rows hold "
        f"{held['measured']:.0%} of the {size} test rows."
    )


def _inputs(metrics: dict[str, Any]) -> str:
    shares = {
        name: sum(values) / len(values)
        for name, values in metrics.get("attribution", {}).items()
        if None not in values
    }
    if len(shares) < 2:
        return ""
    ranked = sorted(shares, key=lambda name: -shares[name])[:3]
    listed = _listed([f"{name} ({shares[name]:.0%})" for name in ranked])
    return f"Of the inputs {listed} matter most to the ensemble."


def _formula(metrics: dict[str, Any]) -> str:
    if not metrics.get("pruning", {}).get("formula"):
        return ""
    return "After pruning its best member reads as a formula."


def _next(metrics: dict[str, Any]) -> str:
    """Say what may help where another method is ahead; nothing where none is."""
    metric = next(iter(metrics["test"]["ensemble"]))
    level = metrics["compared"][evaluation.ENSEMBLE][metric]["is_level"]
    if any("best at their last step" in note for note in metrics["notes"]):
        return "To try next: more --steps, since members still improved at their last."
    if not level and "search" not in metrics:
        return "To try next: --search 16, since another method is ahead."
    rows = sum(metrics["rows"].values())
    if level and rows < FEW_ROWS and "cross_validation" not in metrics:
        return "To try next: --cv 5, since scores of so few test rows tell little."
    return ""


def _named(method: str) -> str:
    return "the ensemble" if method == evaluation.ENSEMBLE else method


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
