"""The search for settings: what it draws, trains and says."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from kanjax import study
from kanjax.study import ensembles, search

CONFIG = study.Config(
    data="diabetes",
    model="mlp",
    hidden=(3,),
    steps=40,
    evaluate_every=10,
    search=9,
    learning_rate=1e-2,
)


@pytest.fixture(scope="module")
def prepared():
    return ensembles.prepare(CONFIG, None, jax.random.key(1))


def test_step_size_and_decay_travel_with_the_parameters(key):
    net = {"w": jax.random.normal(key, (3,))}
    theirs = optax.adamw(0.02, weight_decay=0.1)
    ours = search.numbers_optimizer("adam")
    params = {"net": net, "rate": np.float32(0.02), "decay": np.float32(0.1)}
    states = theirs.init(net), ours.init(params)
    for gradient in jax.random.normal(key, (3, 3)):
        updates, first = theirs.update({"w": gradient}, states[0], net)
        net = optax.apply_updates(net, updates)
        full = {"net": {"w": gradient}, "rate": np.float32(0), "decay": np.float32(0)}
        updates, second = ours.update(full, states[1], params)
        params = optax.apply_updates(params, updates)
        states = first, second
    np.testing.assert_allclose(params["net"]["w"], net["w"], rtol=1e-5)
    assert float(params["rate"]) == np.float32(0.02)
    # An ensemble with these settings is trained with the same.
    config = dataclasses.replace(CONFIG, learning_rate=0.02, weight_decay=0.1)
    plain = ensembles.optimizer(config)["optimizer"]
    gradient = {"w": np.ones(3, np.float32)}
    updates, _ = plain.update(gradient, plain.init(net), net)
    expected, _ = theirs.update(gradient, theirs.init(net), net)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5)


def test_the_lowest_validation_loss_is_chosen(prepared, key, tmp_path):
    told = []
    result = search.find(
        CONFIG, prepared, key, root=tmp_path, tell=lambda what, share: told.append(what)
    )
    trials = result["trials"]
    assert len(trials) == 9 and [trial["hidden"] for trial in trials[:5]] == [(3,)] * 5
    chosen = {name: trials[0][name] for name in ("learning_rate", "weight_decay")}
    assert chosen == {"learning_rate": 1e-2, "weight_decay": 0.0}
    losses = np.array([trial["loss"] for trial in trials])
    best = trials[int(losses.argmin())]
    assert all(best[name] == value for name, value in result["chosen"].items())
    # Of two shapes the better went on, and only it.
    firsts = np.array([trial["first"] for trial in trials])
    went_on = (
        np.arange(9) < 5 if firsts[:5].min() < firsts[5:].min() else (np.arange(9) >= 5)
    )
    assert (losses[~went_on] == firsts[~went_on]).all() and (losses <= firsts).all()
    assert len(told) == 3 and told[-1].endswith("shape 1 of 1, round 2 of 2")
    again = search.find(CONFIG, prepared, key, root=tmp_path, resume=True)
    config = search.choose(CONFIG, result)
    assert search.choose(CONFIG, again) == config
    assert config.learning_rate == best["learning_rate"]
    assert config.hidden == best["hidden"] and config.search == 9


def test_what_matters_is_a_share_of_the_ranks():
    rates = [1e-3, 2e-3, 1e-2, 2e-2, 1e-1, 2e-1]
    trials = [
        {"hidden": (4,), "basis": "rbf", "resolution": 3, "scale": float(i % 2)}
        | {"learning_rate": rate, "weight_decay": 1.0 + i, "first": float(i)}
        for i, rate in enumerate(rates)
    ]
    shares = search._matters(trials)
    assert set(shares) == {"learning_rate", "weight_decay", "scale"}
    # Terciles of ranks 0..5: means 0.5, 2.5, 4.5 around 2.5.
    assert shares["learning_rate"] == pytest.approx(2 * (4 + 0 + 4) / 17.5)


def test_what_cannot_be_searched():
    for change in ({"model": "boosted"}, {"optimizer": "lbfgs"}, {"search": -1}):
        with pytest.raises(study.StudyError, match="search"):
            study.run(dataclasses.replace(CONFIG, **{"hidden": None, **change}))
