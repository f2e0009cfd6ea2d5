"""Images in folders."""

import numpy as np
import pytest
from PIL import Image

from kanjax import data


@pytest.fixture
def folder(tmp_path):
    for name, value in (("cat", 0), ("dog", 128), ("ant", 255)):
        (tmp_path / name / "deep").mkdir(parents=True)
        pixels = np.full((6, 8, 3), value, np.uint8)
        pixels[0, 0] = (255, 0, 0)
        Image.fromarray(pixels).save(tmp_path / name / "one.png")
        Image.fromarray(pixels).save(tmp_path / name / "deep" / "two.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def test_folders_are_classes_and_pixels_are_kept(folder):
    found = data.read_image_folder(folder)
    assert found.target_names == ("ant", "cat", "dog")
    np.testing.assert_array_equal(found.y, [0, 0, 1, 1, 2, 2])
    assert found.x.shape == (6, 6, 8, 3) and found.x.dtype == np.float32
    np.testing.assert_array_equal(found.x[2, 0, 0], [1, 0, 0])
    np.testing.assert_allclose(found.x[4, 1], 128 / 255, rtol=1e-6)


def test_images_are_scaled_and_cut_to_a_size(folder):
    found = data.read_image_folder(folder, size=(4, 4), gray=True)
    assert found.x.shape == (6, 4, 4, 1)
    np.testing.assert_allclose(found.x[0, 1:], 1, atol=1e-6)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("gray", [True, False])
def test_white_is_the_largest_number_of_16_bits(ending, gray, tmp_path):
    pixels = np.linspace(0, 65535, 24).reshape(4, 6).astype(np.uint16)
    path = tmp_path / f"deep.{ending}"
    Image.fromarray(pixels).save(path)
    found = data.read_image(path, gray=gray)
    wanted = np.broadcast_to(pixels[..., None] / 65535, found.shape)
    np.testing.assert_allclose(found, wanted, atol=0.51 / 255)


def test_numbers_without_a_white_are_refused(tmp_path):
    Image.fromarray(np.eye(4, dtype=np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(data.DataError, match="32 bits a pixel.*save it with 8 or 16"):
        data.read_image(tmp_path / "float.tif")


def test_bad_folders_get_one_line(folder, tmp_path):
    with pytest.raises(data.DataError, match="there is no folder"):
        data.read_image_folder(folder / "nowhere")
    with pytest.raises(data.DataError, match="expected one folder a class"):
        data.read_image_folder(folder / "cat" / "deep")
    Image.new("RGB", (3, 3)).save(folder / "dog" / "small.png")
    with pytest.raises(data.DataError, match="3 x 3 pixels.* give a size to scale"):
        data.read_image_folder(folder)
    (folder / "dog" / "broken.png").write_bytes(b"no image")
    with pytest.raises(data.DataError, match="broken.png' cannot be read as an image"):
        data.read_image_folder(folder, size=(4, 4))


def test_one_image_and_pairs_by_name(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for side in ("a", "b"):
        (tmp_path / side).mkdir()
        for i, name in enumerate(("y", "x")):
            image = Image.fromarray(pixels + i + 10 * (side == "b"))
            image.save(tmp_path / side / f"{name}.{'png' if side == 'a' else 'bmp'}")
    one = data.read_image(tmp_path / "a" / "y.png")
    assert one.dtype == np.float32
    np.testing.assert_allclose(one, pixels / 255, rtol=1e-6)
    pairs = data.read_image_pairs(tmp_path / "a", tmp_path / "b")
    for i, (source, target) in zip((1, 0), pairs, strict=True):
        np.testing.assert_allclose(source, (pixels + i) / 255, rtol=1e-6)
        np.testing.assert_allclose(target, (pixels + i + 10) / 255, rtol=1e-6)


def test_pairs_that_are_none_are_refused(tmp_path):
    with pytest.raises(data.DataError, match="there is no file"):
        data.read_image(tmp_path / "a.png")
    with pytest.raises(data.DataError, match="there is no folder"):
        data.read_image_pairs(tmp_path / "a", tmp_path)
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    with pytest.raises(data.DataError, match="has no images"):
        data.read_image_pairs(a, b)
    Image.new("RGB", (3, 2)).save(a / "x.png")
    Image.new("RGB", (3, 4)).save(b / "z.png")
    with pytest.raises(data.DataError, match="have no pair"):
        data.read_image_pairs(a, b)
    (b / "z.png").rename(b / "x.png")
    with pytest.raises(data.DataError, match="2 x 3 pixels in .* and 4 x 3 in"):
        data.read_image_pairs(a, b)
