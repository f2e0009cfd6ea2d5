import numpy as np
import pytest
from sklearn.datasets import load_digits

from kanjax import data


def test_digits_are_scikit_learns_in_another_order():
    train, test = data.handwritten_digits()
    assert len(train.x) == len(train.y) == 1347 and len(test.x) == 450
    rows = np.c_[np.concatenate([train.x, test.x]), np.concatenate([train.y, test.y])]
    known = load_digits()
    expected = np.c_[known.data / 16, known.target]
    assert {tuple(row) for row in rows} == {tuple(row) for row in expected}
    assert rows[:, :-1].min() >= 0 and rows[:, :-1].max() == 1


def write_idx(path, array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def test_a_folder_with_mnists_files(tmp_path):
    rng = np.random.default_rng(0)
    pixels = {"train": (5, 28, 28), "t10k": (2, 28, 28)}
    made = {}
    for part, shape in pixels.items():
        x = rng.integers(0, 256, shape).astype(np.uint8)
        y = rng.integers(0, 10, shape[0]).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", x)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", y)
        made[part] = x, y
    for part, found in zip(pixels, data.handwritten_digits(tmp_path), strict=True):
        x, y = made[part]
        np.testing.assert_allclose(found.x, x.reshape(len(x), -1) / 255, rtol=1e-6)
        np.testing.assert_array_equal(found.y, y)


def test_a_folder_without_them(tmp_path):
    with pytest.raises(data.DataError, match="train-images-idx3-ubyte"):
        data.handwritten_digits(tmp_path)
