"""Run the rational function's Triton kernels by Triton's interpreter.

A process of its own: whether Triton interprets is decided where it is first imported.
Called as ``interpreted_triton.py OPERANDS.npz RESULTS.npz``; has both forms.
"""

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np  # noqa: E402

from pallas_kernels import rational_triton  # noqa: E402


class Tensor:
    """A NumPy array with what the interpreter asks of one of PyTorch's."""

    def __init__(self, array):
        self.array = np.ascontiguousarray(array)
        self.dtype = self.array.dtype

    def data_ptr(self):
        return self.array.ctypes.data

    def untyped_storage(self):
        return self

    cpu = untyped_storage

    def new_empty(self, *_, **__):
        return self

    def set_(self, *_):
        return self

    copy_ = set_

    def storage_offset(self):
        return 0

    def size(self):
        return self.array.shape

    stride = size


def main(operands, results):
    stored = np.load(operands)
    given = [stored[name] for name in "xabg"]
    found = {
        f"{form} {name}": value
        for form in "AB"
        for name, value in run(form, *given).items()
    }
    np.savez(results, **found)


def run(form, x, a, b, g):
    (rows, channels), m, n = x.shape, len(a), len(b)
    grid = -(-rows // rational_triton.ROWS), -(-channels // rational_triton.CHANNELS)
    options = {
        "M": m,
        "N": n,
        "FORM_A": form == "A",
        "ROWS": rational_triton.ROWS,
        "CHANNELS": rational_triton.CHANNELS,
    }
    shapes = x.shape, x.shape, (grid[0], m, channels), (grid[0], n, channels)
    # What is not written shows.
    y, *slopes = (Tensor(np.full(shape, np.nan, np.float32)) for shape in shapes)
    given = [Tensor(v) for v in (x, a, b, g)]
    rational_triton.value_kernel[grid](*given[:3], rows, channels, y, **options)
    rational_triton.cotangent_kernel[grid](*given, rows, channels, *slopes, **options)
    gx, ga, gb = (slope.array for slope in slopes)
    return {"y": y.array, "gx": gx, "ga": ga.sum(axis=0), "gb": gb.sum(axis=0)}


if __name__ == "__main__":
    main(*sys.argv[1:])
