"""Make ``docs/images/report.png`` of a study: four of its pictures, side by side.

kanjax study --data diabetes --out runs/diabetes
python docs/report_picture.py runs/diabetes
"""

import pathlib
import sys

from PIL import Image, ImageOps

PICTURES = ("scores", "dependence", "network", "members_plane")
CELL = (600, 470)
COLORS = 128


def main(study: str) -> None:
    """Put the pictures in a grid of two columns, and write few colors."""
    figures = pathlib.Path(study) / "figures"
    width, height = CELL
    sheet = Image.new("RGB", (2 * width, 2 * height), "white")
    for i, name in enumerate(PICTURES):
        picture = Image.open(figures / f"{name}.png").convert("RGB")
        picture = ImageOps.contain(picture, (width - 20, height - 20))
        left = i % 2 * width + (width - picture.width) // 2
        top = i // 2 * height + (height - picture.height) // 2
        sheet.paste(picture, (left, top))
    target = pathlib.Path(__file__).parent / "images" / "report.png"
    few = sheet.quantize(COLORS, Image.Quantize.MAXCOVERAGE)
    few.save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
