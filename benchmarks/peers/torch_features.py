"""Features of two networks as modules whose outputs the peers' hooks take."""

from typing import Any


def problem(shape: tuple[int, ...]) -> tuple[Any, Any, list[str], list[Any]]:
    """Two networks, the names of their layers, and batches of a stream.

    Layers do no more than to hand features on, as (examples, batch, layers, width).
    """
    import torch

    examples, batch, layers, width = shape

    class Features(torch.nn.Module):
        def __init__(self, start: int) -> None:
            super().__init__()
            self.start = start
            for i in range(layers):
                self.add_module(f"layer{i}", torch.nn.Identity())

        def forward(self, x):
            for i, layer in enumerate(self.children()):
                layer(x[self.start + i])
            return x

    torch.manual_seed(0)
    features = torch.randn(2 * layers, examples, width)
    cuts = range(0, examples, batch)
    # The batch's axis is the first for those that look at it: it is not looked at.
    batches = [features[:, i : i + batch].contiguous() for i in cuts]
    names = [f"layer{i}" for i in range(layers)]
    return Features(0), Features(layers), names, batches
