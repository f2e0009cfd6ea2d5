"""Scores of a cross-validation against scikit-learn on the same folds."""

import dataclasses

import jax
import numpy as np
import pytest
import sklearn.linear_model
import sklearn.metrics

from kanjax import data, study
from kanjax.study import baselines, cross_validation, summary

CONFIG = study.Config(
    "diabetes", model="mlp", hidden=(3,), members=2, steps=20, evaluate_every=10, cv=3
)


def test_every_fold_is_scored_on_its_rows(tmp_path, monkeypatch):
    ridge = {"ridge regression": sklearn.linear_model.Ridge()}
    monkeypatch.setattr(baselines, "methods", lambda task, seed: ridge)
    metrics = {
        "test": {"ensemble": {"R2": 0.1, "RMSE": 1.0, "MAE": 1.0}},
        "baselines": {
            "ridge regression": {"R2": 0.2, "RMSE": 1.0, "MAE": 1.0},
            "gone": {"R2": 0.3},
        },
        "notes": [],
    }
    keys = tuple(jax.random.split(jax.random.key(0), 3))
    told = []

    def run(resume):
        return cross_validation.cross_validate(
            CONFIG,
            metrics,
            frame=None,
            keys=keys,
            root=tmp_path,
            resume=resume,
            tell=lambda what, share: told.append(what),
        )

    result = run(resume=False)
    assert told == [f"cross-validating: fold {k} of 3" for k in (2, 3)]
    assert result["folds"] == 3 and set(result["scores"]) == {
        "ensemble",
        "ridge regression",
    }
    for fold in (1, 2):
        prepared = data.prepare(data.load("diabetes"), key=keys[0], fold=(fold, 3))
        split = prepared.split
        known = [np.concatenate(part) for part in zip(*split[:2], strict=True)]
        expected = sklearn.metrics.r2_score(
            split.test.y, sklearn.linear_model.Ridge().fit(*known).predict(split.test.x)
        )
        values = result["scores"]["ridge regression"]["R2"]
        assert values[0] == 0.2 and values[fold] == pytest.approx(expected, abs=1e-5)
    # What was trained is not trained again.
    assert run(resume=True) == result

    metrics["cross_validation"] = result
    mean = np.mean(result["scores"]["ridge regression"]["R2"])
    spread = np.std(result["scores"]["ridge regression"]["R2"], ddof=1)
    assert summary._folds(metrics).startswith(
        "Over 3 folds ridge regression has the best mean R2, "
        f"{mean:.3f} ± {spread:.3f}, where the ensemble's is "
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cv": 1}, "at least 2 folds; got 1"),
        ({"search": 4}, "search chooses settings by rows that other folds"),
        ({"time": "day"}, "time says what is; give one"),
        ({"test": "more.csv"}, "test says what is; give one"),
    ],
)
def test_what_does_not_go_with_folds(settings, words):
    with pytest.raises(study.StudyError, match=words):
        study.run(dataclasses.replace(CONFIG, **settings))
