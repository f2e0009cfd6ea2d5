"""Pallas kernels for NVIDIA's GPUs through Mosaic, in the jax at hand."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu


def call(
    kernel: Callable[..., None],
    *,
    out_shape: Any,
    in_specs: Sequence[Any],
    out_specs: Any,
    grid: tuple[int, ...],
    scratch_shapes: Sequence[Any] = (),
    params: Any = None,
    interpret: bool = False,
) -> Callable[..., Any]:
    """Return ``pl.pallas_call`` of a kernel, lowered through Mosaic on GPUs."""
    options: dict[str, Any] = {
        "out_shape": out_shape,
        "in_specs": in_specs,
        "out_specs": out_specs,
        "grid": grid,
        "scratch_shapes": scratch_shapes,
        "compiler_params": params or plgpu.CompilerParams(),
    }
    if interpret:
        return pl.pallas_call(kernel, interpret=True, **options)
    return (_since_0_12() or pl.pallas_call)(kernel, **options)


def transposed(ref: Any) -> Any:
    """Return a reference to a matrix, turned."""
    # The name since jax 0.11, and the one before.
    if hasattr(ref, "transpose"):
        return ref.transpose((1, 0))
    return plgpu.transpose_ref(ref, (1, 0))


def _since_0_12() -> Callable[..., Any] | None:
    """Return what jax has since 0.12, where ``pl.pallas_call`` is for Triton alone."""
    try:
        module = importlib.import_module("jax._src.pallas.mosaic_gpu.pallas_call")
    except ImportError:
        return None
    known = inspect.signature(module.pallas_call).parameters
    return module.pallas_call if "compiler_params" in known else None
