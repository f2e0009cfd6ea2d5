"""The network that the landscape peers look at: a ReLU perceptron on random data."""

from typing import Any


def problem(shape: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """Model, criterion, inputs and labels of shape (samples, in, hidden..., out)."""
    import torch

    torch.manual_seed(0)
    samples, *widths = shape
    layers: list[Any] = []
    for inputs, outputs in zip(widths[:-1], widths[1:], strict=True):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    x = torch.randn(samples, widths[0])
    y = torch.randint(0, widths[-1], (samples,))
    return model, torch.nn.CrossEntropyLoss(), x, y
