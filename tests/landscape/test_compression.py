import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, nn

NET = nn.MLP((4, 6, 2))


@pytest.mark.parametrize("kind", ["dense", "regenerated", "sparse", "fastfood"])
@pytest.mark.parametrize("bits", [32, 5])
def test_saved_and_restored(key, tmp_path, kind, bits):
    start, draw = jax.random.split(key)
    params = NET.init(start)
    space = landscape.subspace(draw, params, 7, kind=kind)
    v = jax.random.normal(key, (7,))
    found = landscape.compress(start, draw, v, kind=kind, bits=bits)
    landscape.save_description(found, tmp_path / "net.npz")
    again = landscape.load_description(tmp_path / "net.npz")
    np.testing.assert_array_equal(again.v, found.v)
    restored = landscape.decompress(again, NET.init)
    expected = landscape.place(space, params, found.v)
    jax.tree.map(np.testing.assert_array_equal, restored, expected)
    if bits == 32:
        np.testing.assert_array_equal(found.v, v)
    else:
        half = (v.max() - v.min()) / (2**bits - 1) / 2
        assert jnp.max(jnp.abs(found.v - v)) <= half * 1.001


def test_bits_are_counted(key):
    v = jnp.arange(100.0)
    assert landscape.compress(key, key, v).total_bits == 100 * 32 + 2 * 64
    assert landscape.compress(key, key, v, bits=8).total_bits == 800 + 2 * 64 + 64
    same = landscape.compress(key, key, jnp.ones(3), bits=4)
    np.testing.assert_array_equal(same.v, 1.0)


def test_bad_input_is_named(key, tmp_path):
    with pytest.raises(ValueError, match="bits is 33"):
        landscape.compress(key, key, jnp.ones(2), bits=33)
    with pytest.raises(ValueError, match="kind is 'full'"):
        landscape.compress(key, key, jnp.ones(2), kind="full")
    np.savez(tmp_path / "other.npz", v=np.ones(2))
    with pytest.raises(ValueError, match="no description: it lacks"):
        landscape.load_description(tmp_path / "other.npz")


def test_a_damaged_file_is_refused(key, tmp_path):
    path = tmp_path / "net.npz"
    landscape.save_description(landscape.compress(key, key, jnp.ones(200)), path)
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"net\.npz is damaged"):
        landscape.load_description(path)
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + b"\0\0\0\0" + whole[middle + 4 :])
    with pytest.raises(ValueError, match=r"net\.npz is damaged"):
        landscape.load_description(path)
