"""Forward and backward of a PyTorch module, the backward for parameters and input."""

from collections.abc import Callable
from typing import Any

import numpy as np


def runs(
    make: Callable[[int, int], tuple[Any, Callable[[Any], Any]]], shape: tuple[int, ...]
) -> dict[str, Callable[[], Any]]:
    """What one repeat of "forward" and of "forward_backward" calls.

    Args:
        make: maps (in, out) to a module and the function of x (batch, in) -> y.
        shape: (batch, in, out).
    """
    import torch

    torch.manual_seed(0)
    batch, in_features, out_features = shape
    module, layer = make(in_features, out_features)
    inputs = np.random.default_rng(0).uniform(-1, 1, (batch, in_features))
    x = torch.tensor(inputs, dtype=torch.float32)
    watched = x.clone().requires_grad_()
    trained = [p for p in module.parameters() if p.requires_grad]

    def forward() -> None:
        with torch.no_grad():
            layer(x)

    def forward_backward() -> None:
        y = layer(watched)
        torch.autograd.grad(y.square().sum(), [*trained, watched])

    return {"forward": forward, "forward_backward": forward_backward}
