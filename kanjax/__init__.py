"""kanjax: networks as functions, in JAX.

Kolmogorov-Arnold networks, tangent kernels, physics-informed networks, Hopfield
memories and loss landscapes as pure functions on parameter pytrees. Rooms load on first
use, so that a program pays for those that it asks for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kanjax import (
        bases,
        data,
        gaussian,
        hopfield,
        interop,
        kan,
        landscape,
        linalg,
        model,
        nn,
        ntk,
        papers,
        persample,
        pinn,
        plotting,
        representation,
        study,
        symmetry,
        systems,
        taps,
        theory,
        training,
    )

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
    "persample",
    "pinn",
    "plotting",
    "representation",
    "study",
    "symmetry",
    "systems",
    "taps",
    "theory",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"kanjax.{name}")
    raise AttributeError(f"module 'kanjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
