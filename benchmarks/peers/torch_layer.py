"""PyTorch modules in a row: forward, backward and a step of Adam."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np


def runs(
    make: Callable[[int, int], tuple[Any, Callable[[Any], Any]]], shape: tuple[int, ...]
) -> dict[str, Callable[[], Any]]:
    """What one repeat of "forward", of "forward_backward" and of "step" calls.

    The backward pass is for parameters and inputs, a step for the parameters.

    Args:
        make: maps (in, out) to a module and the function of x (batch, in) -> y.
        shape: (batch, in, ..., out): a layer, or several one after the other.
    """
    import torch

    torch.manual_seed(0)
    batch, *widths = shape
    layers = [make(*pair) for pair in itertools.pairwise(widths)]
    inputs = np.random.default_rng(0).uniform(-1, 1, (batch, widths[0]))
    x = torch.tensor(inputs, dtype=torch.float32)
    watched = x.clone().requires_grad_()
    everything = [p for module, _ in layers for p in module.parameters()]
    trained = [p for p in everything if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-3)

    def apply(y):
        for _, layer in layers:
            y = layer(y)
        return y

    def forward() -> None:
        with torch.no_grad():
            apply(x)

    def forward_backward() -> None:
        torch.autograd.grad(apply(watched).square().sum(), [*trained, watched])

    def step() -> None:
        optimizer.zero_grad()
        apply(x).square().mean().backward()
        optimizer.step()

    return {"forward": forward, "forward_backward": forward_backward, "step": step}
