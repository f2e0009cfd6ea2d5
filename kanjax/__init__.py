"""kanjax: networks as functions, in JAX.

Kolmogorov-Arnold networks, tangent kernels, Hopfield memories and loss landscapes
as pure functions on parameter pytrees. ``plotting``, ``study``, ``papers``,
``interop``, ``systems`` and ``pinn`` load on first use: some bring matplotlib, pandas
and other large packages with them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kanjax import (
    bases,
    data,
    gaussian,
    hopfield,
    kan,
    landscape,
    linalg,
    model,
    nn,
    ntk,
    training,
)

if TYPE_CHECKING:
    from kanjax import interop, papers, pinn, plotting, study, systems

__version__ = "0.1.0"

__all__ = [
    "bases",
    "data",
    "gaussian",
    "hopfield",
    "interop",
    "kan",
    "landscape",
    "linalg",
    "model",
    "nn",
    "ntk",
    "papers",
    "pinn",
    "plotting",
    "study",
    "systems",
    "training",
]

_LAZY = ("interop", "papers", "pinn", "plotting", "study", "systems")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"kanjax.{name}")
    raise AttributeError(f"module 'kanjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
