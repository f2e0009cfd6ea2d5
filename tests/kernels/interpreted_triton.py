"""Run the kernels in Triton by Triton's interpreter, under every transformation.

A process of its own: whether Triton interprets is decided where it is first imported.
Called as ``interpreted_triton.py RESULTS.npz``.
"""

import os
import sys
from unittest import mock

os.environ["TRITON_INTERPRET"] = "1"

import jax  # noqa: E402
import numpy as np  # noqa: E402
import triton  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

from pallas_kernels import backends, expansion_triton, triton_calls  # noqa: E402
from tests.kernels.triton_cases import cases, halves, run  # noqa: E402


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


def dot(self, a, b, total, *_):
    """Multiply two tiles; the interpreter takes the bits of bfloat16 as integers."""
    left, right = (
        (v.data.astype(np.uint32) << 16).view(np.float32)
        if v.dtype.scalar == triton.language.bfloat16
        else v.data
        for v in (a, b)
    )
    value = np.matmul(left, right, dtype=total.data.dtype) + total.data
    return interpreter.TensorHandle(value, total.dtype.scalar)


interpreter.InterpreterBuilder.create_dot = dot
LAUNCHED = []


def interpreted(operands, kernel, results, *, grid, warps, stages=2, **constants):
    """As :func:`pallas_kernels.triton_calls.call`, on the host."""
    whole = [isinstance(o, int) for o in operands]
    arrays = [o for o, is_int in zip(operands, whole, strict=True) if not is_int]

    def launch(*arrays):
        LAUNCHED.append(kernel.__name__)
        following = iter(arrays)
        given = [
            o if is_int else Tensor(np.asarray(next(following)))
            for o, is_int in zip(operands, whole, strict=True)
        ]
        # What is not written shows.
        outs = [Tensor(np.full(r.shape, np.nan, r.dtype)) for r in results]
        kernel[grid](*given, *outs, **constants)
        return [out.array for out in outs]

    return jax.pure_callback(launch, results, *arrays)


def main(path):
    found, of = {}, cases()
    always_triton = mock.patch.object(backends, "kernels", lambda *_: ("triton",))
    serves = mock.patch.object(triton_calls, "serve", lambda *_: True)
    call = mock.patch.object(triton_calls, "call", interpreted)
    small = expansion_triton.Blocks(16, 16, 16)
    blocks = mock.patch.dict(expansion_triton.BLOCKS, {"tensor cores": small})
    with always_triton, serves, call, blocks:
        for name, case in of.items():
            LAUNCHED.clear()
            for i, value in enumerate(run(*case, "float32")):
                found[f"{name} {i}"] = np.asarray(value)
            found[f"{name} launched"] = np.asarray(sorted(set(LAUNCHED)))
        for name, case in halves().items():
            for i, value in enumerate(run(*case, "bfloat16")):
                found[f"{name} half {i}"] = np.asarray(value, "float32")
    np.savez(path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
