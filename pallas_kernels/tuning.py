"""Tiles that were measured to be the fastest, by card, product, type and shape.

``python -m benchmarks.tiles`` writes the table; what is not in it has a default.
"""

import functools
import json
import pathlib

import jax

PATH = pathlib.Path(__file__).with_name("tiles.json")


def measured(
    card: str | None, out: str, dtype: str, inputs: int, outputs: int
) -> list[int] | None:
    """Return the fields of :class:`pallas_kernels.expansion_triton.Blocks`, or None
    where nothing was measured.
    """
    by_class = _table().get(card or "", {})
    return by_class.get(shape_class(out, dtype, inputs, outputs))


def shape_class(out: str, dtype: str, inputs: int, outputs: int) -> str:
    """Return the key of a product: shapes up to the same powers of two are alike."""
    high = (min(1024, max(16, 1 << (n - 1).bit_length())) for n in (inputs, outputs))
    return " ".join([out, dtype, *map(str, high)])


def card_at_hand() -> str | None:
    """Return the name of this process' NVIDIA GPU, if it has one."""
    try:
        return jax.devices("cuda")[0].device_kind
    except RuntimeError:
        return None


@functools.cache
def _table() -> dict[str, dict[str, list[int]]]:
    return json.loads(PATH.read_text())
