"""Tables of predictions, of one study and of two in a row."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from kanjax import cli, data, files, study
from kanjax.study import evaluation, models, store


def rows(number, seed=0):
    """Only rows of kind "in" have a y."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(number, 2)), columns=["a", "b"])
    frame["kind"] = np.where(frame.a > 0, "in", "out")
    frame["y"] = (frame.a + frame.b).where(frame.kind == "in")
    return frame


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Stored studies of "kind" and of "y", of linear networks before training."""
    root = tmp_path_factory.mktemp("cascade")
    rows(60).to_csv(root / "table.csv", index=False)
    keys = jax.random.split(jax.random.key(0))
    for target, ignored in (("kind", "y"), ("y", "kind")):
        table, left_out = str(root / "table.csv"), (ignored,)
        config = study.Config(table, target, model="mlp", hidden=(), members=2)
        config = dataclasses.replace(config, ignore=left_out)
        read = data.read_table(table, target=target, ignore=left_out)
        prepared = data.prepare(read, key=keys[0])
        net = models.build(config, prepared)
        params = jax.vmap(net.init)(keys)
        out = root / target
        out.mkdir()
        files.write_json(out / "config.json", config.to_dict())
        store.save(
            study.Study(
                config,
                net,
                params,
                params,
                prepared,
                evaluation.Calibration(radius=(1.0,)),
                {"task": "any"},
                out,
            ),
            out,
        )
    return root


def test_rows_of_one_class_go_on(folders, tmp_path):
    new = rows(30, seed=1)[["a", "b"]]
    new.to_csv(tmp_path / "new.csv", index=False)
    given = [folders / "kind", tmp_path / "new.csv", "--then", folders / "y"]
    result = CliRunner().invoke(
        cli.app, ["predict", *(str(one) for one in given), "--when", "in"]
    )
    assert result.exit_code == 0, result.output
    written = pd.read_csv(tmp_path / "new.predictions.csv")
    classes, values = (study.load(folders / name) for name in ("kind", "y"))
    np.testing.assert_array_equal(written.prediction, classes.predict(new).labels)
    member = (written.prediction == "in").to_numpy()
    assert 0 < member.sum() < 30
    expected = values.predict(new).mean[:, 0]
    np.testing.assert_allclose(written.y_mean[member], expected[member], rtol=1e-4)
    assert np.all(np.isnan(written.y_mean[~member]))


def test_columns_that_are_not_known_come_along(folders):
    values = study.load(folders / "y")
    new = rows(30, seed=1).assign(sample=np.arange(30) + 100, y_mean="taken")
    found, _ = study.prediction_table(values, new.set_index(new.a))
    assert list(found) == ["kind", "sample", "y_mean", "y_lower", "y_upper", "y_spread"]
    np.testing.assert_array_equal(found["sample"], new["sample"])
    np.testing.assert_allclose(
        found.y_upper - found.y_mean, values.data.preprocessor.std[0]
    )


def test_rows_without_a_target_are_not_trained_on(folders):
    values = study.load(folders / "y")
    kept = np.concatenate([np.asarray(part) for part in values.data.split.rows])
    known = np.flatnonzero(rows(60).y.notna())
    np.testing.assert_array_equal(np.sort(kept), known)
    assert values.data.feature_names == ("a", "b")


def test_no_row_in_the_class(folders):
    classes, values = (study.load(folders / name) for name in ("kind", "y"))
    new = rows(30, seed=1)[["a", "b"]]
    out = new[classes.predict(new).labels == "out"]
    found, notes = study.cascade(classes, values, out, when="in")
    assert list(found) == [
        *("prediction", "set", "in_mean", "in_spread", "out_mean", "out_spread")
    ]
    assert set(found["set"]) <= {"in", "out", "in|out"}
    assert "none went on" in notes[-1]


def test_bad_classes(folders):
    classes, values = (study.load(folders / name) for name in ("kind", "y"))
    with pytest.raises(study.StudyError, match="no class 'on'; it knows in, out"):
        study.cascade(classes, values, rows(5), when="on")
    with pytest.raises(study.StudyError, match="it knows none, but numbers"):
        study.cascade(values, classes, rows(5), when="in")
