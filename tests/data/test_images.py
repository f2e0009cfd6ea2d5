import gzip
import pickle
import struct

import numpy as np
import pytest

import kanjax.data


def _idx(array, code, dtype):
    head = bytes([0, 0, code, array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + array.astype(dtype).tobytes()


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 28, 28))
    labels = np.arange(30) % 10
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(images, 0x08, ">u1"))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(_idx(labels, 0x08, ">u1"))
    return tmp_path, images, labels


def test_idx_as_mnist_ships(mnist):
    folder, images, labels = mnist
    data = kanjax.data.read_idx(
        folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    )
    assert data.x.shape == (30, 28, 28, 1) and data.x.dtype == np.float32
    np.testing.assert_allclose(data.x[..., 0], images / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y, labels)
    assert data.target_names == tuple("0123456789")


def test_idx_gzipped_and_alone(mnist):
    folder, images, _ = mnist
    raw = (folder / "train-images-idx3-ubyte").read_bytes()
    (folder / "images.gz").write_bytes(gzip.compress(raw))
    stored = kanjax.data.read_idx(folder / "images.gz")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, images)


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (14, "f8")],
)
def test_idx_types_are_big_endian(tmp_path, code, dtype):
    array = np.array([[-3, 100, 7], [0, 5, -128]])
    (tmp_path / "a.idx").write_bytes(_idx(array, code, ">" + dtype))
    stored = kanjax.data.read_idx(tmp_path / "a.idx")
    np.testing.assert_array_equal(stored, array)
    assert stored.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-1], "promises 23520 bytes .* has 23519 bytes"),
        (lambda raw: raw + b"\0", "promises 23520 bytes .* has more"),
        (lambda raw: raw[:9], "cut off within its header"),
        (lambda raw: b"", r"\(none\), expected an IDX file"),
        (lambda raw: b"\x89PNG" + raw, "89 50 4e 47, expected an IDX file"),
        (lambda raw: raw[:4] + b"\xff" * 12 + raw, "so it is cut off or damaged"),
        (lambda raw: gzip.compress(raw)[:-20], "damaged or cut off"),
        (lambda raw: gzip.compress(raw)[:60] + b"\xff" * 500, "damaged or cut off"),
    ],
)
def test_damaged_idx(mnist, change, message):
    folder, *_ = mnist
    raw = (folder / "train-images-idx3-ubyte").read_bytes()
    (folder / "bad").write_bytes(change(raw))
    with pytest.raises(kanjax.data.DataError, match=message) as caught:
        kanjax.data.read_idx(folder / "bad")
    assert "\n" not in str(caught.value)


def test_idx_pairs_must_match(mnist):
    folder, images, labels = mnist
    paths = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    with pytest.raises(kanjax.data.DataError, match="paths swapped"):
        kanjax.data.read_idx(*paths[::-1])
    paths[1].write_bytes(_idx(labels[:-1], 0x08, ">u1"))
    with pytest.raises(kanjax.data.DataError, match="29 labels, expected one label"):
        kanjax.data.read_idx(*paths)
    with pytest.raises(kanjax.data.DataError, match="did you mean 'train-images-idx3"):
        kanjax.data.read_idx(folder / "train-images-idx3-ubite")
    with pytest.raises(kanjax.data.DataError, match="is a folder"):
        kanjax.data.read_idx(folder)


def _cifar(labels, pixels):
    return b"".join(
        bytes(label) + image.tobytes()
        for label, image in zip(labels, pixels, strict=True)
    )


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (12, 3, 32, 32)).astype(np.uint8)


def test_cifar_10(tmp_path, pixels):
    paths = [tmp_path / "data_batch_1.bin", tmp_path / "data_batch_2.bin"]
    paths[0].write_bytes(_cifar([[i % 10] for i in range(8)], pixels[:8]))
    paths[1].write_bytes(_cifar([[9], [8], [7], [6]], pixels[8:]))
    data = kanjax.data.read_cifar(paths)
    assert data.x.shape == (12, 32, 32, 3) and data.name == "cifar10"
    np.testing.assert_allclose(data.x[5, 3, 4, 2], pixels[5, 2, 3, 4] / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.y, [0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 7, 6])
    assert data.target_names[9] == "truck"
    assert len(kanjax.data.read_cifar(paths[1]).y) == 4


def test_cifar_100(tmp_path, pixels):
    path = tmp_path / "train.bin"
    path.write_bytes(_cifar([[i, 99 - i] for i in range(12)], pixels))
    np.testing.assert_array_equal(kanjax.data.read_cifar(path).y, 99 - np.arange(12))
    coarse = kanjax.data.read_cifar(path, labels="coarse")
    np.testing.assert_array_equal(coarse.y, np.arange(12))
    assert len(coarse.target_names) == 20
    ten = tmp_path / "ten.bin"
    ten.write_bytes(_cifar([[1]] * 12, pixels))
    with pytest.raises(kanjax.data.DataError, match="mix CIFAR-10 and CIFAR-100"):
        kanjax.data.read_cifar([path, ten])


def test_bad_cifar(tmp_path, pixels):
    path = tmp_path / "batch"
    good = _cifar([[3]] * 12, pixels)
    for bad in (good[:-5], b"", _cifar([[11]] * 12, pixels), b"hello"):
        path.write_bytes(bad)
        with pytest.raises(kanjax.data.DataError, match="whole records of 3073"):
            kanjax.data.read_cifar(path)
    path.write_bytes(gzip.compress(good))
    with pytest.raises(kanjax.data.DataError, match="gzip archive"):
        kanjax.data.read_cifar(path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_cifar_is_refused(tmp_path, pixels, protocol):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": pixels.tolist()[:1]}, protocol))
    with pytest.raises(kanjax.data.DataError, match="pickle, which is never loaded"):
        kanjax.data.read_cifar(path)


def _medmnist(shape=(28, 28), labels=1):
    rng = np.random.default_rng(2)
    stored = {}
    for part, n in (("train", 12), ("val", 5), ("test", 4)):
        stored[f"{part}_images"] = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        stored[f"{part}_labels"] = rng.integers(0, 2, (n, labels)).astype(np.uint8)
    return stored


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((28, 28), (28, 28, 1)),
        ((28, 28, 3), (28, 28, 3)),
        ((28, 28, 28), (28, 28, 28, 1)),
    ],
)
def test_medmnist(tmp_path, shape, read):
    stored = _medmnist(shape)
    np.savez(tmp_path / "m.npz", **stored)
    split = kanjax.data.read_medmnist(tmp_path / "m.npz")
    assert split.train.x.shape == (12, *read) and split.test.x.shape == (4, *read)
    assert split.validation.y.shape == (5,) and split.validation.y.dtype == np.int32
    np.testing.assert_array_equal(split.train.y, stored["train_labels"][:, 0])
    np.testing.assert_allclose(
        np.asarray(split.test.x).ravel(), stored["test_images"].ravel() / 255, rtol=1e-6
    )
    assert len(split.rows[0]) == 12


def test_medmnist_with_several_labels(tmp_path):
    stored = _medmnist(labels=14)
    np.savez_compressed(tmp_path / "chest.npz", **stored)
    split = kanjax.data.read_medmnist(tmp_path / "chest.npz")
    assert split.train.y.shape == (12, 14) and split.train.y.dtype == np.float32
    np.testing.assert_array_equal(split.test.y, stored["test_labels"])


def test_bad_medmnist(tmp_path):
    path = tmp_path / "m.npz"
    stored = _medmnist()
    np.savez(path, **{k: v for k, v in stored.items() if k != "val_labels"})
    with pytest.raises(kanjax.data.DataError, match="lacks the arrays 'val_labels'"):
        kanjax.data.read_medmnist(path)
    np.savez(path, **(stored | {"val_labels": stored["val_labels"][:2]}))
    with pytest.raises(kanjax.data.DataError, match="val_images .* do not match"):
        kanjax.data.read_medmnist(path)
    np.savez(path, **stored)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(kanjax.data.DataError, match="is not an NPZ file, or is cut"):
        kanjax.data.read_medmnist(path)
    np.savez(path, **(stored | {"val_labels": np.array([{}] * 5, object)}))
    with pytest.raises(kanjax.data.DataError, match="never loaded"):
        kanjax.data.read_medmnist(path)
