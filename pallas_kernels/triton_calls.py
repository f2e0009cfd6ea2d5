"""Kernels in Triton itself, called through jax-triton, where that can be had."""

import functools
import importlib
import inspect
import logging
from collections.abc import Sequence
from typing import Any

from jax import Array

MOST_MEMBERS = 2**16 - 1
"""The most programs that a grid has along the axis over an ensemble."""
NEEDED = "pip install 'kanjax[gpu]' and a jax for NVIDIA GPUs, such as 'jax[cuda13]'"


def serve(backend: str, members: int = 1) -> bool:
    """Whether kernels in Triton can run here; where not, say so once.

    Ensembles that are too many for a grid go to XLA.

    Raises:
        ImportError: if they cannot and ``backend`` is "triton", which asks for them.
    """
    reason = _absent()
    if reason is not None and backend == "triton":
        raise ImportError(f"backend='triton' needs jax-triton: {reason}; {NEEDED}.")
    if reason is not None:
        log(f"XLA serves in place of kernels in Triton: {reason}; {NEEDED}.")
    return reason is None and members <= MOST_MEMBERS


def call(
    operands: Sequence[Array | int],
    kernel: Any,
    results: Any,
    *,
    grid: tuple[int, ...],
    warps: int,
    stages: int = 2,
    **constants: Any,
) -> Any:
    """Call a kernel of ``triton.jit`` on operands, then pointers to its results.

    Args:
        operands: arrays and integers, in the order of the kernel's parameters.
        kernel: the kernel.
        results: shapes and types of the results, as ``jax.ShapeDtypeStruct``.
        grid: the numbers of programs.
        warps: the warps of a program.
        stages: how many steps of a loop have their operands in shared memory.
        constants: the kernel's ``tl.constexpr`` parameters.
    """
    jax_triton: Any = importlib.import_module("jax_triton")

    options: dict[str, Any] = {"num_warps": warps, "num_stages": stages}
    if "out_type" in inspect.signature(jax_triton.triton_call).parameters:
        # Said aloud, for Triton warns of a default that is to change.
        fusion = {"enable_fp_fusion": True}
        options |= {"out_type": results, "backend_options": fusion}
    else:
        # Before jax-triton 0.4.
        options |= {"out_shape": results}
    return jax_triton.triton_call(
        *operands, kernel=kernel, grid=grid, **options, **constants
    )


@functools.cache
def _absent() -> str | None:
    """Return why nothing can be called through jax-triton here, if so."""
    try:
        importlib.import_module("jax_triton")
        library = importlib.import_module("jaxlib.gpu_triton")
    except ImportError as error:
        return f"jax-triton cannot be imported ({str(error).splitlines()[0]})"
    if not hasattr(library, "TritonKernelCall"):
        return "this jax is for CPUs"
    try:
        library.get_compute_capability(0)
    except RuntimeError:
        return "there is no NVIDIA GPU to compile for"
    return None


@functools.cache
def log(line: str) -> None:
    """Log a line once in a process."""
    logging.getLogger("pallas_kernels").warning(line)
