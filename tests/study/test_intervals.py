"""CV+ of a study: its folds, against training them one by one, and its coverage."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from kanjax import study, training
from kanjax.study import ensembles, evaluation, figures, findings, intervals, models

CONFIG = study.Config(
    target="y", model="mlp", hidden=(4,), members=2, steps=40, evaluate_every=20,
    learning_rate=0.03, intervals="cv+",
)  # fmt: skip


def table(rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(rows, 2))
    y = np.sin(2 * x[:, 0]) + x[:, 1] + rng.normal(size=rows)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": 10 * y})


@pytest.fixture(scope="module")
def trained():
    prepared = ensembles.prepare(CONFIG, table(150, 0), jax.random.key(1))
    model = models.build(CONFIG, prepared)
    folds = intervals.train_folds(CONFIG, model, prepared, jax.random.key(2))
    return prepared, model, folds


def test_a_fold_has_no_say_in_its_network(trained):
    """A row's target changes the other networks, and not that which leaves it out."""
    prepared, model, folds = trained
    x, y = (np.concatenate(part) for part in zip(*prepared.split[:2], strict=True))
    assert np.ptp(np.bincount(folds.fold, minlength=intervals.FOLDS)) <= 1
    y = y.copy()
    y[5] += 100.0
    rows = len(prepared.split.train.x)
    split = prepared.split._replace(
        train=prepared.split.train._replace(y=y[:rows]),
        validation=prepared.split.validation._replace(y=y[rows:]),
    )
    changed = intervals.train_folds(
        CONFIG, model, prepared._replace(split=split), jax.random.key(2)
    )
    fold = int(folds.fold[5])
    moved = jax.tree.map(
        lambda a, b: jnp.any(a != b, axis=tuple(range(1, a.ndim))),
        folds.params,
        changed.params,
    )
    moved = np.any(np.stack(jax.tree.leaves(moved)), axis=0)
    # The network before it only stops by this fold.
    trains = np.arange(intervals.FOLDS) != (fold - 1) % intervals.FOLDS
    assert not moved[fold] and moved[trains].sum() == intervals.FOLDS - 2
    at = jax.tree.map(lambda leaf: leaf[fold], folds.params)
    off = np.abs(y[5] - 100.0 - np.asarray(model.apply(at, x[5])))
    np.testing.assert_allclose(folds.residuals[5], off, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [
        ({}, 150, True),
        ({}, 1300, False),
        ({"model": "boosted"}, 150, False),
        ({"time": "a"}, 150, False),
    ],
)
def test_few_rows_in_any_order_have_folds(settings, rows, expected):
    config = dataclasses.replace(CONFIG, intervals="auto", **settings)
    prepared = ensembles.prepare(config, table(rows, 0), jax.random.key(1))
    assert intervals.use_folds(config, prepared) == expected


def test_its_intervals_hold_new_targets(trained):
    prepared, model, folds = trained
    new = table(2000, 9)
    x = jnp.asarray(prepared.preprocessor.features(new))
    lower, upper = (
        prepared.preprocessor.inverse_target(np.asarray(end))[:, 0]
        for end in intervals.find_ends(
            model, jnp.zeros((2000, 1)), evaluation.Calibration(), folds, x
        )
    )
    assert 0.86 < np.mean((lower <= new.y) & (new.y <= upper)) < 0.96


def test_a_study_keeps_them(tmp_path, monkeypatch):
    """With the analysis cut down to what intervals need."""

    def skip(*_, **__):
        raise ZeroDivisionError("not asked for here")

    for room, names in {
        findings.analysis: (
            "attribute_inputs", "prune_member", "kernels", "losses_around"),
        findings.explanations: ("explain",),
        findings.features: ("compare",),
    }.items():  # fmt: skip
        for name in names:
            monkeypatch.setattr(room, name, skip)
    monkeypatch.setattr(findings.baselines, "baselines", lambda *_, **__: {})
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    done = study.run(CONFIG, frame=table(150, 0), out=tmp_path / "run")
    held = done.metrics["intervals"]
    assert held["method"] == "cv+" and 0.6 < held["measured"] <= 1
    rows = table(150, 0).iloc[done.data.split.rows[2]]
    again = study.load(tmp_path / "run")
    predicted = again.predict(rows)
    assert (predicted.lower < predicted.mean).all()
    inside = (predicted.lower[:, 0] <= rows.y) & (rows.y <= predicted.upper[:, 0])
    assert np.mean(inside) == pytest.approx(held["measured"])
    width = np.mean(predicted.upper - predicted.lower)
    assert held["width"][0] == pytest.approx(width, rel=1e-4)
    assert "wide on average, by CV+" in (tmp_path / "run" / "report.html").read_text()
    assert training.checkpoints.exists(tmp_path / "run" / "checkpoint" / "folds")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"intervals": "cv"}, "unknown intervals 'cv'; nearest: 'cv\\+'"),
        ({"model": "dkm"}, "intervals 'cv\\+' are for rows in any order"),
        ({"group": "a"}, "group 'a'"),
        ({"data": "wine", "target": None}, "are for a regression"),
    ],
)
def test_where_there_are_none(settings, words):
    with pytest.raises(study.StudyError, match=words):
        study.run(dataclasses.replace(CONFIG, **settings))
