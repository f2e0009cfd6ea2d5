"""The study end to end on a small table, read back, predicted from and resumed."""

import html.parser
import json

import jax
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from kanjax import kan, plotting, study, training
from kanjax.study import evaluation, findings

SMALL = {
    "members": 3,
    "steps": 60,
    "evaluate_every": 20,
    "resolution": 3,
    "intervals": "split",
}


def table(rows=120, seed=0):
    """A number, a category, a constant and gaps; y depends on the first two."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.uniform(-3, 5, rows),
            "kind": rng.choice(["red", "green", "blue"], rows),
            "same": 1.0,
            "b": rng.normal(size=rows),
        }
    )
    frame["y"] = np.sin(frame.a) + (frame.kind == "red") + 0.1 * rng.normal(size=rows)
    frame.loc[3:6, "b"] = np.nan
    return frame


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    table().to_csv(root / "table.csv", index=False)
    config = study.Config(data=str(root / "table.csv"), target="y", **SMALL)
    shares = []
    done = study.run(
        config, out=root / "run", progress=lambda what, share: shares.append(share)
    )
    return root, config, done, shares


def test_folder_holds_what_is_promised(finished):
    root, config, _, _ = finished
    names = {path.name for path in (root / "run").iterdir()}
    assert {
        "report.html",
        "metrics.json",
        "config.json",
        "figures",
        "checkpoint",
    } <= names
    figures = {path.name for path in (root / "run" / "figures").iterdir()}
    for name in ("scores", "parity", "calibration", "plane", "barriers", "network"):
        assert {f"{name}.png", f"{name}.svg"} <= figures
    assert study.Config.from_dict(json.loads((root / "run/config.json").read_text()))
    assert not list((root / "run").rglob("*.draft*"))


def test_progress_runs_from_nothing_to_all(finished):
    shares = finished[3]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.targets, self.ids, self.images = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img"
        self.targets += [v for k, v in attrs if k in ("src", "href")]
        self.ids += [v for k, v in attrs if k == "id"]


def test_report_stands_alone(finished):
    text = (finished[0] / "run" / "report.html").read_text()
    links = _Links()
    links.feed(text)
    assert links.images >= 10
    inside = {target[1:] for target in links.targets if target.startswith("#")}
    assert inside == set(links.ids) and "learned" in inside
    others = [target for target in links.targets if not target.startswith("#")]
    assert all(target.startswith("data:image/png") for target in others)
    assert "width=device-width" in text
    assert "constant columns dropped" in text and "missing" in text
    for method in ("ridge regression", "gradient boosting", "MLP (scikit-learn)"):
        assert method in text
    asked = "--target y --resolution 3 --members 3 --intervals split --steps 60"
    assert f"table.csv {asked} --evaluate-every 20</code>" in text
    assert "3 categories</td><td>blue, green, red</td>" in text


def test_metrics_equal_scikit_learn(finished):
    _, _, done, _ = finished
    test = done.data.split.test
    outputs = evaluation.predict(done.model, done.params, test.x)
    scaler = done.data.preprocessor
    y = scaler.inverse_target(test.y)
    mean = scaler.inverse_target(np.mean(outputs, axis=0))
    found = done.metrics["test"]["ensemble"]
    assert found["R2"] == pytest.approx(sklearn.metrics.r2_score(y, mean), abs=1e-4)
    rmse = sklearn.metrics.root_mean_squared_error(y, mean)
    assert found["RMSE"] == pytest.approx(rmse, rel=1e-4)
    one = scaler.inverse_target(outputs[1])
    member = done.metrics["test"]["members"]["MAE"][1]
    mae = sklearn.metrics.mean_absolute_error(y, one)
    assert member == pytest.approx(mae, rel=1e-4)


def test_categories_of_a_column_are_one_input(finished):
    done = finished[2]
    attribution = done.metrics["attribution"]
    assert list(attribution) == ["a", "kind", "b"]
    np.testing.assert_allclose(np.sum(list(attribution.values()), axis=0), 1, rtol=1e-5)
    scores = kan.attribute(done.model, done.member(0), done.data.split.train.x).inputs
    expected = np.sum(scores[1:4]) / np.sum(scores)
    assert attribution["kind"][0] == pytest.approx(float(expected), rel=1e-4)


def test_the_hardest_rows_are_those_of_the_largest_errors(finished):
    _, _, done, _ = finished
    table_ = table()
    for part in ("test", "train"):
        listed = [row for row in done.metrics["hardest"] if row["part"] == part]
        rows = done.data.split.rows[("train", "validation", "test").index(part)]
        predicted = done.predict(table_.iloc[rows]).mean[:, 0]
        errors = (predicted - table_.y.to_numpy()[rows]) ** 2
        order = np.argsort(-errors)[: len(listed)]
        assert [row["row"] for row in listed] == rows[order].tolist()
        for row, i in zip(listed, order, strict=True):
            assert row["target"][0] == pytest.approx(table_.y[rows[i]], abs=1e-4)
            assert row["prediction"][0] == pytest.approx(predicted[i], abs=1e-3)
            loss = errors[i] / done.data.preprocessor.std[0] ** 2
            assert row["loss"] == pytest.approx(loss, rel=1e-2)


def test_load_gives_the_study_back(finished):
    root, config, done, _ = finished
    loaded = study.load(root / "run")
    assert loaded.config == config and loaded.model == done.model
    for ours, theirs in zip(
        jax.tree.leaves((loaded.params, loaded.initial_params)),
        jax.tree.leaves((done.params, done.initial_params)),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    for part in ("train", "validation", "test"):
        for ours, theirs in zip(
            getattr(loaded.data.split, part),
            getattr(done.data.split, part),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    assert loaded.metrics["test"] == json.loads(json.dumps(done.metrics["test"]))


def test_predictions_are_in_the_target_units(finished):
    root, _, done, _ = finished
    fresh = table(rows=30, seed=1).drop(columns="y")
    fresh.loc[0, "kind"] = "violet"
    found = study.load(root / "run").predict(fresh)
    assert found.mean.shape == found.spread.shape == (30, 1)
    scaler = done.data.preprocessor
    outputs = np.stack(
        [
            scaler.inverse_target(
                done.model.apply(done.member(i), scaler.features(fresh))
            )
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(found.mean, outputs.mean(0), rtol=1e-4, atol=1e-4)
    spread = outputs.std(0, ddof=1)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-3, atol=1e-4)
    assert any("of no category" in note for note in found.notes)


def test_same_seed_same_study(finished):
    """Of the file and of the table that was written to it."""
    _, config, done, _ = finished
    again = study.run(config, frame=table())
    assert again.config.data == "DataFrame"
    for ours, theirs in zip(
        jax.tree.leaves(again.params), jax.tree.leaves(done.params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_interrupted_study_resumes_to_the_same_result(finished, tmp_path):
    _, config, done, _ = finished

    def stop(what, share):
        if what.startswith("training") and share > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(training.Interrupted):
        study.run(config, out=tmp_path / "run", progress=stop)
    assert not (tmp_path / "run" / "report.html").exists()
    resumed = study.run(config, out=tmp_path / "run", resume=True)
    for ours, theirs in zip(
        jax.tree.leaves(resumed.params), jax.tree.leaves(done.params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"data": "breast_cancer", "model": "mlp"},
        {"data": "wine", "model": "hopfield"},
        {"data": "friedman", "model": "boosted", "hidden": (6,)},
        {"data": "wine", "basis": "rational", "hidden": (3,)},
        {"data": "feynman:sin(pi*x)+y^2", "basis": "fourier", "optimizer": "lbfgs"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_other_models_bases_and_tasks(options, tmp_path, monkeypatch):
    settings = {**SMALL, "members": 2, **options}
    drawn = recorded(monkeypatch)
    done = study.run(study.Config(**settings), out=tmp_path / "run")
    score = done.metrics["test"]["ensemble"]
    assert score.get("accuracy", score.get("R2")) > 0.3
    text = (tmp_path / "run" / "report.html").read_text()
    assert ("log loss" in text) == (done.data.task == "classification")
    check_figures(drawn, done, text)


def recorded(monkeypatch):
    """What each figure of the report is given, and what it draws, by its name."""
    drawn = {}

    def record(name, draw):
        def recording(*inputs, **options):
            figure = draw(*inputs, **options)
            # The first call: of importances there is another figure of this kind.
            drawn.setdefault(name, (*inputs, options, figure))
            return figure

        return recording

    for name in plotting.__all__:
        monkeypatch.setattr(plotting, name, record(name, getattr(plotting, name)))
    return drawn


def check_figures(drawn, done, report):
    """Hold every number that a figure shows to the one that stands in the text."""
    metrics, test = done.metrics, done.metrics["test"]
    name = "accuracy" if "accuracy" in test["ensemble"] else "R2"
    members, ensemble, *others = (values for _, values in drawn["scores"][0])
    assert members == test["members"][name] and ensemble == test["ensemble"][name]
    assert others == [values[name] for values in metrics["baselines"].values()]
    written = [text.get_text() for text in drawn["scores"][-1].axes[0].texts]
    assert all(f">{text}<" in report for text in written[1:])
    curve = metrics["calibration"]
    assert drawn["calibration"][:2] == (curve["nominal"], curve["observed"])
    shares = list(metrics["attribution"].values())
    np.testing.assert_array_equal(drawn["attribution"][0].T, shares)
    barriers = metrics["barriers"]
    np.testing.assert_array_equal(drawn["barrier_matrix"][0], barriers["before"])
    np.testing.assert_array_equal(
        drawn["barrier_matrix"][1], barriers["after_alignment"]
    )
    tables = metrics["features"]["similarity"]
    for drawing, state in zip(drawn["similarity_matrix"], tables, strict=False):
        np.testing.assert_array_equal(drawing, tables[state]["cka"])
    if "pruning" in metrics:
        left = metrics["pruning"]["edges_left"]
        label = drawn["network"][-1].axes[0].get_xlabel()
        assert ("not shown" in label) == (f" of {left} edges" in label)
    if name == "accuracy":
        true, predicted = drawn["confusion"][:2]
        counts = sklearn.metrics.confusion_matrix(true, predicted)
        np.testing.assert_array_equal(counts, metrics["confusion"])
        assert np.trace(counts) / counts.sum() == pytest.approx(ensemble, rel=1e-6)
        hits = np.array(drawn["calibration"][1])
        sizes = [len(part) for part in np.array_split(true, len(hits))]
        assert np.average(hits, weights=sizes) == pytest.approx(ensemble, rel=1e-6)
    else:
        y, mean, std = drawn["parity"][:3]
        assert sklearn.metrics.r2_score(y, mean) == pytest.approx(ensemble, abs=1e-5)
        rmse = sklearn.metrics.root_mean_squared_error(y, mean)
        assert rmse == pytest.approx(test["ensemble"]["RMSE"], rel=1e-4)
        # Fortin's factor for a finite number of members, here 2.
        error = np.sqrt(1.5 * np.mean(std**2)) / rmse
        assert error == pytest.approx(metrics["spread"]["spread / error"], rel=1e-3)
        for line in drawn["parity"][-1].axes[0].texts[0].get_text().splitlines():
            assert f">{line.split(' = ')[1]}<" in report


def test_what_fails_after_training_is_left_out(tmp_path, monkeypatch):
    """A class of two rows, on which a baseline fails; and what no table makes fail."""
    frame = table().drop(columns="same").drop(columns="y")
    frame["label"] = ["rare"] * 2 + ["common"] * 118
    frame.to_csv(tmp_path / "t.csv", index=False)

    def fail(*_, **__):
        raise ZeroDivisionError("of no use\nhere")

    monkeypatch.setattr(findings.analysis, "kernels", fail)
    monkeypatch.setattr(plotting, "confusion", fail)
    config = study.Config(str(tmp_path / "t.csv"), "label", model="mlp", cv=2, **SMALL)
    done = study.run(config, out=tmp_path / "run")
    rotated = done.metrics["cross_validation"]["scores"]
    assert (
        rotated["ensemble"]["accuracy"][0]
        == done.metrics["test"]["ensemble"]["accuracy"]
    )
    assert set(rotated) == {"ensemble", *done.metrics["baselines"]}
    assert set(done.metrics["baselines"]) == {
        "logistic regression",
        "gradient boosting",
        "random forest",
    }
    assert "ntk" not in done.metrics and "barriers" in done.metrics
    notes = " | ".join(done.metrics["notes"])
    for words in (
        "MLP (scikit-learn) left out, since it failed with ValueError: The least",
        "tangent kernels left out, since it failed with ZeroDivisionError: of no use",
        "figures of predictions left out",
    ):
        assert words in notes
    text = (tmp_path / "run" / "report.html").read_text()
    assert "Its tangent kernel" not in text and "The loss around it" in text
    assert "figures of predictions left out" in text
    assert "Over 2 folds, each tested" in text
    assert study.load(tmp_path / "run").metrics["notes"] == done.metrics["notes"]


def test_deep_kernel_machines_beside_a_gaussian_process(tmp_path, monkeypatch):
    table().to_csv(tmp_path / "t.csv", index=False)

    def fail(*_, **__):
        raise ZeroDivisionError("too slow for a test")

    for name in ("attribute_inputs", "kernels"):
        monkeypatch.setattr(findings.analysis, name, fail)
    config = study.Config(
        str(tmp_path / "t.csv"), "y", model="dkm", learning_rate=0.02, **SMALL
    )
    done = study.run(config, out=tmp_path / "run")
    test, others = done.metrics["test"]["ensemble"], done.metrics["baselines"]
    assert test["R2"] > 0.6 and others["Gaussian process"]["R2"] > 0.6
    assert len(done.model.inputs) == len(done.data.split.train.x)
    x = done.data.split.test.x
    expected = np.asarray(evaluation.predict(done.model, done.params, x))
    again = study.load(tmp_path / "run")
    np.testing.assert_array_equal(
        evaluation.predict(again.model, again.params, x), expected
    )


def test_a_table_is_no_config():
    with pytest.raises(TypeError, match="got a DataFrame.*frame=table"):
        study.run(table())


def test_divergence_keeps_the_last_good_parameters(tmp_path):
    config = study.Config(data="friedman", optimizer="sgd", learning_rate=1e30, **SMALL)
    with pytest.raises(study.TrainingDiverged, match="at step .*learning-rate"):
        study.run(config, out=tmp_path / "run")
    assert training.checkpoints.exists(tmp_path / "run" / "checkpoint" / "training")
    assert not (tmp_path / "run" / "metrics.json").exists()
