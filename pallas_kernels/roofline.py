"""The least time that a chip allows for the expansion product, by what bounds it."""

from typing import NamedTuple


class Chip(NamedTuple):
    """What a chip does in a second, at most.

    Attributes:
        products: operations of matrix products, by type.
        operations: other operations of float32.
        bytes: read from and written to its memory.
    """

    products: dict[str, float]
    operations: float
    bytes: float


CHIPS = {
    # Of benchmarks/results/kernels.json: what was seen.
    "2 cores of an AMD EPYC": Chip({"float32": 0.13e12}, 0.13e12, 4.4e9),
    # Of the makers' data sheets: SXM cards with 80 GB (A100, H100) and 141 GB (H200),
    # without sparsity.
    "A100": Chip(
        {"float32": 19.5e12, "tf32": 156e12, "bfloat16": 312e12}, 19.5e12, 2.04e12
    ),
    "H100": Chip(
        {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12}, 67e12, 3.35e12
    ),
    "H200": Chip({"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12}, 67e12, 4.8e12),
    # Nothing is published of other operations than products.
    "TPU v5e": Chip({"bfloat16": 197e12}, float("inf"), 0.82e12),
}


class Times(NamedTuple):
    """Seconds for the product, for the expansion, and for reading and writing."""

    product: float
    expansion: float
    memory: float

    @property
    def least(self) -> float:
        """The longest of the three, which may all go on at once."""
        return max(self)


def least_times(
    chip: Chip,
    rows: int,
    inputs: int,
    outputs: int,
    size: int,
    dtype: str,
    *,
    operations: int = 13,
    tile: int | None = None,
) -> Times:
    """Return the least times of a forward pass of the expansion product.

    The expansion is never stored, so that only x, the coefficients and y are moved; it
    is made for every tile of outputs again.

    Args:
        chip: of ``CHIPS``, or one of your own.
        rows: of x.
        inputs: the columns of x.
        outputs: the columns of y.
        size: the number of functions.
        dtype: "float32", "tf32" or "bfloat16", as the chip has it.
        operations: for one function at one number; 13 for a cubic spline on an even
            grid.
        tile: the outputs of a tile; None for all of them.

    Raises:
        ValueError: for a type that the chip's products have not.

    Examples:
        >>> times = least_times(CHIPS["H100"], 8192, 784, 64, 8, "bfloat16")
        >>> times.least == times.expansion
        True
    """
    if dtype not in chip.products:
        raise ValueError(
            f"dtype must be one of {', '.join(chip.products)} for this chip; got "
            f"{dtype!r}."
        )
    values = rows * inputs * size
    made = -(-outputs // (tile or outputs))
    numbers = rows * inputs + inputs * size * outputs + rows * outputs
    return Times(
        product=2 * values * outputs / chip.products[dtype],
        expansion=values * operations * made / chip.operations,
        memory=numbers * (2 if dtype == "bfloat16" else 4) / chip.bytes,
    )
