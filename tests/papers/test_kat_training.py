"""Training the Kolmogorov-Arnold transformer on images of one's own."""

import numpy as np
import pytest
from PIL import Image

import kanjax.nn.vision
from kanjax import data, papers


@pytest.fixture
def example():
    return papers.load_main(papers.find("kat")).__globals__


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name, level in (("dark", 40), ("light", 200)):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(12):
                pixels = rng.integers(level - 40, level + 40, (8, 8, 3)).astype(
                    np.uint8
                )
                Image.fromarray(pixels).save(tmp_path / part / name / f"{i}.png")
    return tmp_path


def test_images_are_read_from_what_is_there(example, folder):
    train, test, classes = example["_images"](folder, None)
    assert train.x.shape == test.x.shape == (24, 8, 8, 3) and classes == 2
    train, test, classes = example["_images"](folder / "train", 4)
    assert len(train.x) == 19 and len(test.x) == 5 and train.x.shape[1:] == (4, 4, 3)


def _idx(path, array):
    dimensions = b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + dimensions + array.tobytes())


def test_idx_files_are_read(example, tmp_path):
    rng = np.random.default_rng(0)
    for part, number in (("train", 20), ("t10k", 10)):
        labels = (np.arange(number) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (number, 28, 28), np.uint8)
        _idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        _idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    train, test, classes = example["_images"](tmp_path, None)
    assert train.x.shape == (20, 28, 28, 1) and test.x.shape == (10, 28, 28, 1)
    assert classes == 10 and np.array_equal(test.y, np.arange(10))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(data.DataError, match="lacks t10k-images or t10k-labels"):
        example["_images"](tmp_path, None)


def test_cifar_files_are_read(example, tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (60, 1 + 3072), np.uint8)
    rows[:, 0] = np.arange(60) % 10
    for name, part in (("data_batch_1", rows[:50]), ("test_batch", rows[50:])):
        (tmp_path / f"{name}.bin").write_bytes(part.tobytes())
    train, test, classes = example["_images"](tmp_path, None)
    assert train.x.shape == (50, 32, 32, 3) and len(test.x) == 10 and classes == 10
    (tmp_path / "test_batch.bin").unlink()
    train, test, _ = example["_images"](tmp_path, None)
    assert (len(train.x), len(test.x)) == (40, 10)


def test_npz_files_are_read(example, tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"train": 12, "val": 6, "test": 6}
    images = {k: rng.integers(0, 256, (n, 8, 8, 3), np.uint8) for k, n in sizes.items()}
    labels = {k: (np.arange(n) % 3)[:, None] for k, n in sizes.items()}
    arrays = {f"{k}_images": v for k, v in images.items()}
    arrays |= {f"{k}_labels": v for k, v in labels.items()}
    np.savez(tmp_path / "medmnist.npz", **arrays)
    train, test, classes = example["_images"](tmp_path / "medmnist.npz", None)
    assert train.x.shape == (12, 8, 8, 3) and len(test.x) == 6 and classes == 3
    y = np.arange(20) % 2
    np.savez(tmp_path / "own.npz", x=rng.random((20, 8, 8, 3)), y=y)
    train, test, classes = example["_images"](tmp_path / "own.npz", None)
    assert train.x.shape == (16, 8, 8, 3) and len(test.x) == 4 and classes == 2
    (tmp_path / "cut.npz").write_bytes((tmp_path / "own.npz").read_bytes()[:-50])
    with pytest.raises(data.DataError, match="cut.npz"):
        example["_images"](tmp_path / "cut.npz", None)


def test_only_kernels_decay(example):
    params = {"mlp": {"kernel": 0, "bias": 0, "numerator": 0}, "positions": 0}
    assert example["_decayed"](params) == {
        "mlp": {"kernel": True, "bias": False, "numerator": False},
        "positions": False,
    }


@pytest.mark.slow
def test_training_prints_its_score_and_goes_on(
    example, folder, tmp_path, monkeypatch, capsys
):
    """With a network of one narrow block in the place of the tiny one."""
    monkeypatch.setitem(kanjax.nn.vision.SIZES, "tiny", (16, 1, 2))
    options = ["--config", "tiny", "--data", str(folder), "--patch-size", "4"]
    options += ["--batch-size", "8", "--out", str(tmp_path / "run")]
    options += ["--learning-rate", "3e-3"]
    example["train"]([*options, "--epochs", "2"])
    assert "accuracy" in capsys.readouterr().out
    example["train"]([*options, "--epochs", "2", "--resume"])
    again = capsys.readouterr().out
    assert "accuracy" in again
