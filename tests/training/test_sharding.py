import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import training
from kanjax.training import sharding

MEMBERS = 4


def apply(params, x):
    return jnp.tanh(x @ params["hidden"]) @ params["out"]


loss = training.regression(apply)


@pytest.fixture
def problem(key):
    x = jax.random.normal(key, (24, 2))
    a, b = jax.random.split(key)
    params = {
        "hidden": 0.5 * jax.random.normal(a, (MEMBERS, 2, 6)),
        "out": 0.5 * jax.random.normal(b, (MEMBERS, 6, 1)),
    }
    return params, (x, jnp.sin(x[:, :1]))


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        (1, dict(batch_size=6)),
        (2, dict(batch_size=6, shared_batches=True)),
        (4, dict(batch_size=None)),
    ],
)
def test_sharded_ensemble_is_the_unsharded_one(problem, key, batch, options):
    params, data = problem
    compilations = []

    def counted(params, batch, key):
        compilations.append(1)
        return loss(params, batch, key)

    options = dict(
        optimizer=optax.adam(1e-2),
        steps=10,
        key=key,
        validation=data,
        evaluate_every=4,
        **options,
    )
    expected = training.fit_ensemble(loss, params, data, **options)
    mesh = training.member_mesh(batch=batch)
    assert dict(mesh.shape) == {"members": 4 // batch, "batch": batch}
    training.fit_ensemble(counted, params, data, mesh=mesh, **options)
    traced = len(compilations)
    assert traced <= 8
    found = training.fit_ensemble(counted, params, data, mesh=mesh, **options)
    assert len(compilations) == traced
    for leaf in jax.tree.leaves(found.final_params):
        assert len(leaf.sharding.device_set) == 4
        assert leaf.addressable_shards[0].data.shape[0] == MEMBERS * batch // 4
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        (found.params, found.history),
        (expected.params, expected.history),
    )


def test_sharded_run_goes_on_bit_for_bit(problem, key, tmp_path):
    params, data = problem
    options = dict(
        optimizer=optax.adam(1e-2), key=key, batch_size=6, evaluate_every=5,
        mesh=training.member_mesh(),
    )  # fmt: skip
    whole = training.fit_ensemble(loss, params, data, steps=10, **options)
    options |= dict(checkpoint=training.Checkpoint(tmp_path, resume=True))
    training.fit_ensemble(loss, params, data, steps=5, **options)
    resumed = training.fit_ensemble(loss, params, data, steps=10, **options)
    for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(resumed.params["out"].sharding.device_set) == 4


def test_one_network_by_data_parallelism(problem, key):
    params, data = problem
    one = jax.tree.map(lambda leaf: leaf[0], params)
    options = dict(optimizer=optax.adam(1e-2), steps=5, key=key)
    mesh = training.member_mesh(batch=4)
    found = training.fit(loss, one, data, mesh=mesh, **options)
    expected = training.fit(loss, one, data, **options)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        found.params,
        expected.params,
    )


def test_placing_and_gathering(problem):
    params, data = problem
    mesh = training.member_mesh(batch=2)
    placed = sharding.shard_members(params, mesh)
    assert placed["out"].addressable_shards[0].data.shape == (2, 6, 1)
    assert sharding.shard_members(placed, mesh)["out"] is placed["out"]
    assert sharding.shard_batch(data, mesh)[0].addressable_shards[0].data.shape[0] == 12
    assert sharding.replicate(data, mesh)[0].sharding.is_fully_replicated
    back = sharding.gather(placed, mesh)
    np.testing.assert_array_equal(back["out"], params["out"])


def test_what_does_not_divide_is_named(problem, key):
    params, data = problem
    three = jax.tree.map(lambda leaf: leaf[:3], params)
    with pytest.raises(ValueError, match=r"\(3, 2, 6\) cannot be spread over 4"):
        training.fit_ensemble(
            loss,
            three,
            data,
            optimizer=optax.adam(1e-2),
            steps=2,
            key=key,
            mesh=training.member_mesh(),
        )
    with pytest.raises(ValueError, match="batch is 3, which does not divide the 4"):
        training.member_mesh(batch=3)


def test_two_processes_give_what_one_gives(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = pathlib.Path(__file__).with_name("two_processes.py")
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(port), str(i), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        logs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(logs)
    sys.path.insert(0, str(script.parent))
    try:
        import two_processes
    finally:
        sys.path.pop(0)
    expected = two_processes.train(None)
    for name, leaf in expected.items():
        for process in range(2):
            with np.load(tmp_path / f"{process}.npz") as file:
                found = file[name]
            np.testing.assert_allclose(found, leaf, rtol=1e-4, atol=1e-5)
