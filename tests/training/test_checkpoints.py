import gc
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from kanjax.training import checkpoints


@pytest.fixture
def tree(key):
    return {
        "params": (jnp.arange(6.0).reshape(2, 3), jnp.ones(3, jnp.bfloat16)),
        "key": jax.random.split(key, 3),
        "empty": np.zeros((3, 0), np.float32),
        "count": jnp.int32(7),
        "flags": np.array([True, False]),
        "nothing": None,
    }


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert x.dtype == y.dtype and x.shape == y.shape
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_round_trip_is_exact(tree, tmp_path, capfd):
    checkpoints.save(tmp_path / "a" / "b", tree, metadata={"widths": (1, 2)})
    back = checkpoints.restore(tmp_path / "a" / "b", tree, metadata={"widths": [1, 2]})
    assert_equal(back, tree)
    assert isinstance(back["params"][0], jax.Array)
    assert isinstance(back["flags"], np.ndarray)
    assert checkpoints.metadata(tmp_path / "a" / "b") == {"widths": [1, 2]}
    assert capfd.readouterr() == ("", "")


def test_new_version_replaces_the_old(tree, tmp_path):
    for count in range(3):
        checkpoints.save(tmp_path, {**tree, "count": jnp.int32(count)})
    assert checkpoints.restore(tmp_path, tree)["count"] == 2
    assert os.listdir(tmp_path) == ["000003"]


def test_failure_while_writing_keeps_the_last_good_one(tree, tmp_path, monkeypatch):
    checkpoints.save(tmp_path, tree)

    def full(self, target):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "rename", full)
        with pytest.raises(checkpoints.CheckpointError, match="no space left"):
            checkpoints.save(tmp_path, {**tree, "count": jnp.int32(9)})
    assert_equal(checkpoints.restore(tmp_path, tree), tree)
    checkpoints.save(tmp_path, {**tree, "count": jnp.int32(9)})
    assert checkpoints.restore(tmp_path, tree)["count"] == 9


def test_absent(tree, tmp_path):
    assert not checkpoints.exists(tmp_path / "none")
    with pytest.raises(checkpoints.CheckpointError, match="there is no checkpoint at"):
        checkpoints.restore(tmp_path / "none", tree)


def test_another_config_is_named(tree, tmp_path):
    checkpoints.save(tmp_path, tree, metadata={"basis": "bspline", "seed": 0})
    with pytest.raises(
        checkpoints.CheckpointError, match="another config: basis was 'bspline' and is"
    ):
        checkpoints.restore(tmp_path, tree, metadata={"basis": "rbf", "seed": 0})
    with pytest.raises(checkpoints.CheckpointError, match=r"float32\[2, 3\] in it"):
        other = {**tree, "params": (jnp.ones((2, 4)), tree["params"][1])}
        checkpoints.restore(tmp_path, other)
    with pytest.raises(checkpoints.CheckpointError, match="'more'"):
        checkpoints.restore(tmp_path, {**tree, "more": jnp.ones(1)})


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "json", "shape"])
def test_damage_is_found(tree, tmp_path, damage):
    checkpoints.save(tmp_path, tree)
    version = tmp_path / "000001"
    if damage == "truncated":
        for path in version.rglob("d/*"):
            path.write_bytes(path.read_bytes()[:-20])
    elif damage == "flipped":
        for path in version.rglob("d/*"):
            path.write_bytes(bytes(b ^ 1 for b in path.read_bytes()))
    elif damage == "missing":
        for path in version.rglob("d/*"):
            path.unlink()
    elif damage == "json":
        (version / "metadata.json").write_text("{")
    else:
        document = json.loads((version / "metadata.json").read_text())
        document["arrays"]["['count']"]["shape"] = [1]
        (version / "metadata.json").write_text(json.dumps(document))
        tree = {**tree, "count": jnp.ones(1, jnp.int32)}
    with pytest.raises(checkpoints.CheckpointError, match="damaged"):
        checkpoints.restore(tmp_path, tree)
    # Nothing is left behind that would fail later, in other code.
    gc.collect()


def test_bfloat16_is_kept_as_it_is(tmp_path):
    tree = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    checkpoints.save(tmp_path, tree)
    assert checkpoints.restore(tmp_path, tree).dtype == ml_dtypes.bfloat16


def test_restored_arrays_are_placed_like_the_expected_ones(tmp_path):
    device = jax.devices()[2]
    tree = {"here": jnp.ones(3), "there": jax.device_put(jnp.ones(3), device)}
    checkpoints.save(tmp_path, tree)
    back = checkpoints.restore(tmp_path, tree)
    assert back["there"].devices() == {device}
    assert not back["here"].committed
