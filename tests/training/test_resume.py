import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import training

MEMBERS = 2


def apply(params, x):
    return jnp.tanh(x @ params["hidden"]) @ params["out"]


loss = training.regression(apply)


@pytest.fixture
def problem(key):
    x = jax.random.normal(key, (23, 2))
    a, b = jax.random.split(key)
    params = {
        "hidden": 0.5 * jax.random.normal(a, (MEMBERS, 2, 4)),
        "out": 0.5 * jax.random.normal(b, (MEMBERS, 4, 1)),
    }
    return params, (x, jnp.sin(x[:, :1]))


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def interrupt_at(step):
    def callback(event):
        if event.step == step:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
def test_going_on_is_bit_for_bit_the_uninterrupted_run(problem, key, tmp_path, name):
    params, data = problem
    tx = optax.lbfgs()
    if name == "adam":
        # Noise, so that a PRNG key is in the optimizer's state.
        noise = optax.add_noise(0.01, 0.5, jax.random.key(5))
        tx = optax.chain(noise, optax.adam(1e-2))
    options = dict(
        optimizer=tx,
        steps=20,
        batch_size=None if name == "lbfgs" else 5,
        key=key,
        validation=data,
        patience=3,
        evaluate_every=3,
    )
    whole = training.fit_ensemble(loss, params, data, **options)
    options["checkpoint"] = training.Checkpoint(tmp_path)
    # Step 9 is in the middle of an epoch of four steps.
    with pytest.raises(training.Interrupted, match="step 9 of 20.*resume=True") as stop:
        training.fit_ensemble(loss, params, data, callback=interrupt_at(9), **options)
    assert stop.value.fit.history.loss.shape == (MEMBERS, 9)
    if name == "adam":
        jax.clear_caches()
    options["checkpoint"] = training.Checkpoint(tmp_path, resume=True)
    resumed = training.fit_ensemble(loss, params, data, **options)
    assert_same_bits(resumed, whole)
    # A finished run comes back as it is, without a step.
    again = training.fit_ensemble(loss, params, data, **options)
    assert_same_bits(again, whole)


def test_more_steps_go_on_from_a_finished_run(problem, key, tmp_path):
    params, data = problem
    one = jax.tree.map(lambda leaf: leaf[0], params)
    options = dict(optimizer=optax.adam(1e-2), key=key, evaluate_every=5, batch_size=6)
    whole = training.fit(loss, one, data, steps=20, **options)
    options |= dict(checkpoint=training.Checkpoint(tmp_path, resume=True))
    training.fit(loss, one, data, steps=10, **options)
    longer = training.fit(loss, one, data, steps=20, **options)
    assert_same_bits(longer, whole)
    with pytest.raises(training.CheckpointError, match="at step 20, beyond steps=15"):
        training.fit(loss, one, data, steps=15, **options)


def test_checkpoints_on_the_way_survive_a_crash(problem, key, tmp_path):
    params, data = problem
    options = dict(optimizer="adam", learning_rate=1e-2, steps=12, key=key)
    options |= dict(evaluate_every=2, checkpoint=training.Checkpoint(tmp_path, every=4))

    def crash(event):
        if event.step == 10:
            raise RuntimeError("power cut")

    whole = training.fit_ensemble(loss, params, data, **options)
    with pytest.raises(RuntimeError, match="power cut"):
        training.fit_ensemble(loss, params, data, callback=crash, **options)
    assert training.checkpoints.metadata(tmp_path)["history"]["steps"][""]["shape"] == [
        8,
        MEMBERS,
    ]
    options["checkpoint"] = training.Checkpoint(tmp_path, resume=True)
    resumed = training.fit_ensemble(loss, params, data, **options)
    assert_same_bits(resumed, whole)


def test_ctrl_c_without_checkpoint_says_so(problem, key):
    params, data = problem
    with pytest.raises(KeyboardInterrupt, match="no checkpoint was asked for") as stop:
        training.fit_ensemble(
            loss,
            params,
            data,
            optimizer=optax.adam(1e-2),
            steps=4,
            key=key,
            evaluate_every=2,
            callback=interrupt_at(2),
        )
    assert stop.value.fit.steps.tolist() == [2, 2]


def test_another_run_is_refused_by_name(problem, key, tmp_path):
    params, data = problem
    call = dict(params=params, data=data, optimizer="adam", learning_rate=1e-2)
    call |= dict(steps=2, key=key)
    stored = training.Checkpoint(tmp_path, config={"model": "kan"})
    training.fit_ensemble(loss, **call, checkpoint=stored)
    call["checkpoint"] = dataclasses.replace(stored, resume=True)
    other = {
        "learning_rate was 0.01 and is now 0.1": dict(learning_rate=0.1),
        "optimizer was 'adam' and is now 'lion'": dict(optimizer="lion"),
        "batch_size was None and is now 4": dict(batch_size=4),
        "data was": dict(data=(data[0] + 1, data[1])),
        "validation was": dict(validation=data),
        "key was": dict(key=jax.random.key(9)),
        "'kan'.*'mlp'": dict(
            checkpoint=training.Checkpoint(
                tmp_path, config={"model": "mlp"}, resume=True
            )
        ),
        r"\['hidden'\].*is float32\[2, 2, 4\] in it": dict(
            params={**params, "hidden": jnp.ones((MEMBERS, 2, 5))}
        ),
    }
    for message, changed in other.items():
        with pytest.raises(training.CheckpointError, match=message):
            training.fit_ensemble(loss, **{**call, **changed})


def test_a_damaged_or_foreign_checkpoint_is_refused(problem, key, tmp_path):
    params, data = problem
    call = dict(optimizer="adam", learning_rate=1e-2, steps=2, key=key)
    foreign, own = (
        training.Checkpoint(tmp_path / name, resume=True) for name in ("foreign", "own")
    )
    training.checkpoints.save(foreign.path, params)
    with pytest.raises(training.CheckpointError, match="not one of a fit"):
        training.fit_ensemble(loss, params, data, checkpoint=foreign, **call)
    # Where there is none yet, resuming begins anew.
    training.fit_ensemble(loss, params, data, checkpoint=own, **call)
    folder = own.path
    for path in itertools.chain(folder.rglob("d/*"), folder.rglob("manifest.ocdbt")):
        path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(training.CheckpointError, match="is damaged"):
        training.fit_ensemble(loss, params, data, checkpoint=own, **call)
