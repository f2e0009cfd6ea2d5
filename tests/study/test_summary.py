"""The sentences at the top of a report, from the numbers that stand below."""

from kanjax.study import summary


def compared(**levels):
    return {name: {"R2": {"is_level": level}} for name, level in levels.items()}


METRICS = {
    "task": "regression",
    "rows": {"train": 70, "validation": 15, "test": 15},
    "test": {"ensemble": {"R2": 0.5, "RMSE": 1.0}},
    "baselines": {"ridge": {"R2": 0.6, "RMSE": 0.9}, "trees": {"R2": None, "RMSE": 2}},
    "compared": compared(ensemble=True, ridge=True, trees=False),
    "intervals": {"asked": 0.9, "measured": 0.934, "width": [3.0]},
    "notes": [],
    "attribution": {"a": [0.1, 0.3], "b": [0.7, 0.5], "c": [0.2, 0.2]},
}


def test_what_is_said_is_what_was_measured():
    assert summary.summarize(METRICS) == [
        "Ridge has the best R2 on the test rows, 0.600; these rows do not tell it from "
        "the ensemble.",
        "The ensemble's intervals that should hold 90% of the rows hold 93% of the 15 "
        "test rows.",
        "Of the inputs b (60%), a (20%) and c (20%) matter most to the ensemble.",
        "To try next: --cv 5, since scores of so few test rows tell little.",
    ]


def test_other_endings():
    alone = {
        **METRICS,
        "test": {"ensemble": {"R2": 0.9}},
        "compared": compared(ensemble=True, ridge=False, trees=False),
        "intervals": {"asked": 0.9, "measured": 0.0, "width": [None]},
        "attribution": {},
        "pruning": {"formula": ["x1"]},
        "notes": ["2 of 8 members were best at their last step: more --steps"],
    }
    said = summary.summarize(alone)
    assert said[0].startswith("The ensemble has the best R2")
    assert said[0].endswith("worse in at least 95 of 100 samples of them.")
    assert "too few validation rows" in said[1]
    assert said[2] == "After pruning its best member reads as a formula."
    assert said[3].startswith("To try next: more --steps")
    behind = {**METRICS, "compared": compared(ensemble=False, ridge=True, trees=False)}
    assert summary.summarize(behind)[-1].startswith("To try next: --search 16")
    assert len(summary.summarize({**behind, "search": {}})) == 3
