"""Training the Kolmogorov-Arnold transformer on images of one's own."""

import numpy as np
import pytest
from PIL import Image

import kanjax.nn.vision
from kanjax import papers


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
