"""Images of any format: one, folders with a folder for each class, folders of pairs."""

from pathlib import Path

import numpy as np

from kanjax.data import errors, examples, files

_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_image_folder(
    path: files.PathLike, *, size: tuple[int, int] | None = None, gray: bool = False
) -> examples.Dataset:
    """Read the images of a folder's folders, whose names are the classes.

    Args:
        path: a folder with a folder for each class, in which images lie at any depth.
        size: (height, width): an image is scaled so that it just covers this, and its
            middle is taken. None takes images as they are, all of one size.
        gray: one channel instead of three.

    Returns:
        A data set with x (n, height, width, 1 or 3) on [0, 1], classes in the order of
        their names. All is held in memory.

    Raises:
        DataError: when there is no folder, no class or no image, when one cannot be
            read, or sizes differ.
    """
    root = Path(path)
    if not root.is_dir():
        raise errors.DataError(f"there is no folder {str(path)!r}; check the path")
    classes = sorted(each.name for each in root.iterdir() if each.is_dir())
    labeled = [
        (image, i) for i, name in enumerate(classes) for image in _in(root / name)
    ]
    if not labeled:
        raise errors.DataError(
            f"{str(path)!r} has no images in folders, expected one folder a class with "
            f"files such as .png or .jpg in it; it has {errors.listing(classes)}"
        )
    images = [_image(image, size, gray) for image, _ in labeled]
    for (image, _), array in zip(labeled, images, strict=True):
        if array.shape != images[0].shape:
            raise errors.DataError(
                f"{str(image)!r} has {array.shape[0]} x {array.shape[1]} pixels and "
                f"{str(labeled[0][0])!r} {images[0].shape[0]} x {images[0].shape[1]}; "
                "give a size to scale them to"
            )
    x = np.stack(images).astype(np.float32) / np.float32(255)
    y = np.array([label for _, label in labeled], np.int32)
    return examples.Dataset(x, y, (), tuple(classes), "classification", root.name)


def read_image(
    path: files.PathLike, *, size: tuple[int, int] | None = None, gray: bool = False
) -> np.ndarray:
    """Read an image as (height, width, 3) of float32 on [0, 1], or 1 channel if gray.

    Args:
        path: a file of any format that pillow reads, with 8 or 16 bits; these are
            rounded to 8.
        size: (height, width): the image is scaled so that it just covers this, and its
            middle is taken. None takes it as it is.
        gray: one channel instead of three.

    Raises:
        DataError: when there is no such file, or it cannot be read.
    """
    if not Path(path).is_file():
        raise errors.DataError(f"there is no file {str(path)!r}; check the path")
    pixels = _image(Path(path), size, gray)
    return pixels.astype(np.float32) / np.float32(255)


def read_image_pairs(
    sources: files.PathLike, targets: files.PathLike
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read pairs of images, one of each folder, that have one name.

    Endings may differ. Images of folders that are no pairs are read one by one with
    :func:`read_image`.

    Args:
        sources: a folder.
        targets: a folder with as many images, of the same names.

    Returns:
        In the order of the names, ``(source, target)`` as :func:`read_image` gives
        them, both of one size.

    Raises:
        DataError: when a folder is absent or empty, a name lacks its pair, or the two
            of a pair differ in size.
    """
    folders = []
    for path in (sources, targets):
        if not Path(path).is_dir():
            raise errors.DataError(f"there is no folder {str(path)!r}; check the path")
        folders.append({image.stem: image for image in _in(Path(path))})
        if not folders[-1]:
            raise errors.DataError(f"{str(path)!r} has no images in it")
    first, second = folders
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        raise errors.DataError(
            f"{errors.listing(alone)} of {str(sources)!r} and {str(targets)!r} have no "
            "pair; give both folders images of the same names"
        )
    pairs = [(read_image(first[name]), read_image(second[name])) for name in first]
    for name, (source, target) in zip(first, pairs, strict=True):
        if source.shape != target.shape:
            raise errors.DataError(
                f"{name!r} has {source.shape[0]} x {source.shape[1]} pixels in "
                f"{str(sources)!r} and {target.shape[0]} x {target.shape[1]} in "
                f"{str(targets)!r}; a pair must fit pixel on pixel"
            )
    return pairs


def _in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.suffix.lower() in _ENDINGS)


def _bits(mode: str, kind: str | None) -> int:
    """Return how many bits a number of a pixel has in one of Pillow's modes."""
    # Older versions of Pillow give the 16 bits of a PNG as integers.
    if mode.startswith("I;16") or (mode == "I" and kind == "PNG"):
        return 16
    return 32 if mode in ("I", "F") else 8


def _image(path: Path, size: tuple[int, int] | None, gray: bool) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.load()
            bits = _bits(opened.mode, opened.format)
            if bits == 16:
                # Pillow would take all from 255 up for white.
                shades = np.rint(np.asarray(opened, float) / 257).astype(np.uint8)
                opened = Image.fromarray(shades)
            image = opened.convert("L" if gray else "RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise errors.DataError(
            f"{str(path)!r} cannot be read as an image ({errors.one_line(error)}); "
            "remove it or fetch it again"
        ) from None
    if bits == 32:
        raise errors.DataError(
            f"{str(path)!r} has 32 bits a pixel, of which nobody knows what is white; "
            "save it with 8 or 16"
        )
    if size is not None:
        height, width = size
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if gray else pixels
