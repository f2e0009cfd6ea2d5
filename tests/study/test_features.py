"""What a study says of its members' features and of the rows that it gets wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import data, kan, nn, study
from kanjax.representation import neural_collapse, similarity
from kanjax.study import boosted, evaluation, features, hardest, models


def test_features_are_those_of_the_last_hidden_layer(key):
    x = jax.random.normal(key, (12, 3))
    for net in (nn.MLP((3, 5, 4, 2)), kan.KAN((3, 5, 4, 2)), kan.SelectableKAN((3, 2))):
        params = net.init(key)
        inner, output = features.last_features(net, params, x)
        np.testing.assert_array_equal(output, net.apply(params, x))
        hidden = net.activations(params, x)[-2] if len(net.widths) > 2 else output
        np.testing.assert_array_equal(inner, hidden)


def test_measures_are_those_of_each_member(key):
    x = jax.random.normal(key, (40, 3))
    y = (jnp.arange(40) % 2).astype(int)
    net = nn.MLP((3, 5, 2))
    initial, trained = (
        jax.vmap(net.init)(jax.random.split(k, 3)) for k in jax.random.split(key)
    )
    result = features.compare(net, initial, trained, data.Examples(x, y))
    member = lambda i: jax.tree.map(lambda v: v[i], trained)  # noqa: E731
    first, last = (net.activations(member(i), x)[1] for i in (0, 2))
    cka = similarity.linear_cka(first, last, debiased=True)
    np.testing.assert_allclose(result.similarity["trained"].cka[0, 2], cka, rtol=1e-4)
    full = neural_collapse.collapse(last, y, *(member(2)[1][n] for n in HEAD))
    for name, values in result.collapse["trained"].items():
        # Two classes are always at equal angles.
        np.testing.assert_allclose(values[2], getattr(full, name), rtol=1e-4, atol=1e-6)
    values = features.compare(net, initial, trained, data.Examples(x, x[:, :2]))
    assert values.collapse is None and "collapse" not in features.metrics(values)


HEAD = ("kernel", "bias")


def test_hardest_rows_of_a_classification(key):
    config = study.Config(data="wine")
    prepared = data.prepare(data.load(config.data), key=key)
    test = prepared.split.test
    logits = jax.random.normal(key, (2, len(test.y), 3))
    prediction = evaluation.combine("classification", logits)
    listed = hardest.hardest_rows(prepared, {"test": prediction})
    p = np.asarray(jax.nn.softmax(logits)).astype(float)
    true = p[:, np.arange(len(test.y)), np.asarray(test.y)]
    order = np.argsort(true.mean(axis=0))[: hardest.MOST]
    assert [row["row"] for row in listed] == prepared.split.rows[2][order].tolist()
    for row, i in zip(listed, order, strict=True):
        assert row["target"] == [prepared.target_names[int(test.y[i])]]
        best = prepared.target_names[p.mean(axis=0)[i].argmax()]
        assert row["prediction"] == [best]
        assert row["loss"] == pytest.approx(-np.log(true[:, i].mean()), rel=1e-4)
        assert row["spread"][0] == pytest.approx(true[:, i].std(ddof=1), rel=1e-3)


def test_boosted_members_keep_the_units_that_help(key):
    config = study.Config(data="diabetes", model="boosted", hidden=(4,), members=2)
    prepared = data.prepare(data.load(config.data), key=key)
    net = models.build(config, prepared)
    fit = boosted.train(config, prepared, key)
    losses = fit.history.validation_loss
    x, y = prepared.split.validation
    for i in range(2):
        best = fit.best_step[i]
        assert best == losses[i].argmin()
        error = np.mean((np.asarray(net.apply(fit.member(i), x)) - y) ** 2)
        np.testing.assert_allclose(error, losses[i, best], rtol=1e-4)
        kernel = np.asarray(fit.member(i)[1]["kernel"])
        assert (kernel[best:] == 0).all() and (kernel[:best] != 0).all()
    drawn = jax.vmap(net.init)(jax.random.split(key, 2))
    before = net.apply(
        jax.tree.map(lambda v: v[0], boosted.switched_off(drawn, prepared)), x
    )
    np.testing.assert_allclose(np.mean((before - y) ** 2), losses[0, 0], rtol=1e-4)
    with pytest.raises(study.StudyError, match="hidden must be the units of one layer"):
        study.run(study.Config(model="boosted", hidden=(3, 3)))
