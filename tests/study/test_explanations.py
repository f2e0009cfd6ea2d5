"""Permuted and prescribed columns, beside models whose answers are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from kanjax import data, nn, plotting
from kanjax.study import explanations


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.uniform(10, 30, 300),
            "color": rng.choice(["red", "green", "blue"], 300),
            "idle": rng.uniform(0, 1, 300),
        }
    )
    return table.assign(y=0.1 * table["size"] + 2.0 * (table["color"] == "red"))


def linear(prepared, kernels):
    """Members that are linear in the features, without a bias."""
    net = nn.Dense(len(prepared.feature_names), kernels.shape[-1], use_bias=False)
    return net, {"kernel": jnp.asarray(kernels, jnp.float32)}


def test_linear_members_of_a_regression(frame):
    prepared = data.prepare(frame, target="y", key=jax.random.key(0))
    names = list(prepared.feature_names)
    kernel = np.zeros((2, len(names), 1))
    kernel[:, names.index("size")] = [[0.5], [1.5]]
    kernel[:, names.index("color=red")] = 2.0
    net, params = linear(prepared, kernel)
    told = explanations.explain(net, params, prepared, 1.0, jax.random.key(1))
    assert told.columns == ["size", "color", "idle"]
    assert told.rises.shape == (explanations.REPEATS, 3)
    np.testing.assert_allclose(told.rises[:, 2], 0, atol=1e-6)
    assert (told.rises[:, :2].mean(axis=0) > 0.1).all()
    x, y = map(np.asarray, prepared.split.test)
    weights = kernel.mean(axis=0)[:, 0]
    # A permutation leaves the rest uncorrelated: the rise is twice a covariance.
    part = x[:, names.index("size")] * weights[names.index("size")]
    expected = -2 * np.cov(x @ weights - y[:, 0] - part, part, ddof=0)[0, 1]
    error = told.rises[:, 0].std(ddof=1) / explanations.REPEATS**0.5
    assert abs(told.rises[:, 0].mean() - expected) < 3 * error < 0.3 * expected

    by_column = {d.column: d for d in told.dependences}
    size = by_column["size"]
    slopes = np.diff(size.outputs[..., 0], axis=1) / np.diff(size.values)
    column = prepared.preprocessor.columns[0]
    unit = (column.high - column.low) / 2
    known = np.array([0.5, 1.5]) / unit * prepared.preprocessor.std[0]
    np.testing.assert_allclose(slopes, known[:, None] + 0 * slopes, rtol=1e-3)
    color = by_column["color"]
    red = color.values.index("red")
    gaps = color.outputs[:, red] - np.delete(color.outputs, red, axis=1)[:, 0]
    np.testing.assert_allclose(gaps, 2 * prepared.preprocessor.std[0], rtol=1e-4)
    figure = plotting.partial_dependence(told.dependences, ["y"], ylabel="mean")
    assert len(figure.axes) == 4 and figure.axes[0].get_xlabel() in by_column


def test_classes_have_probabilities(frame):
    table = frame.assign(y=np.where(frame["size"] > 20, "high", "low"))
    prepared = data.prepare(table, target="y", key=jax.random.key(0))
    names, labels = list(prepared.feature_names), list(prepared.target_names)
    kernel = np.zeros((2, len(names), 2))
    kernel[:, names.index("size"), labels.index("high")] = 8.0
    net, params = linear(prepared, kernel)
    told = explanations.explain(net, params, prepared, 1.0, jax.random.key(1))
    assert told.rises[:, 0].min() > 1
    np.testing.assert_allclose(told.rises[:, 1:], 0, atol=1e-6)
    size = told.dependences[0]
    assert size.column == "size"
    np.testing.assert_allclose(size.outputs.sum(axis=-1), 1, rtol=1e-5)
    assert (np.diff(size.outputs[..., labels.index("high")], axis=1) > 0).all()
    figures = explanations.metrics(told)
    assert figures["idle"]["range"][0] <= figures["idle"]["mean"]


def test_too_many_columns_are_refused():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 202)))
    table.columns = [f"c{i}" for i in range(202)]
    prepared = data.prepare(table, target="c0", key=jax.random.key(0))
    net, params = linear(prepared, np.zeros((2, len(prepared.feature_names), 1)))
    with pytest.raises(ValueError, match="201 columns"):
        explanations.explain(net, params, prepared, 1.0, jax.random.key(0))
    with pytest.raises(ValueError, match="empty"):
        plotting.partial_dependence([], ["y"], ylabel="mean")
