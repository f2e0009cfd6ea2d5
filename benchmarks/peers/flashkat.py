"""FlashKAT's group-rational function on a CUDA device, timed by the device's events.

As its authors train it, halves are cast to float32 by autocast, in which its kernels
work and which they return.
"""

from collections.abc import Callable
from typing import Any

from benchmarks import timing
from benchmarks.peers import server

PACKAGES = ("torch", "triton")
GROUPS, COEFFICIENTS = 8, (6, 4)
DTYPES = ("float32", "bfloat16")
TOY = (1, 2, 16)


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of every type and mode on inputs of shape (..., rows, channels)."""
    import torch

    if not torch.cuda.is_available():
        raise ImportError("PyTorch finds no CUDA device")
    runs: server.Runs = {}
    for dtype in DTYPES:
        for mode, run in _of_type(shape, dtype).items():
            runs[f"{dtype} {mode}"] = run
    return runs


def block(run: Callable[[], Any], seconds: float) -> list[float]:
    """Mean durations of launches that follow each other, by events around them."""
    import torch

    def batch() -> float:
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(timing.LAUNCHES):
            run()
        ended.record()
        ended.synchronize()
        return begun.elapsed_time(ended) / 1e3

    durations: list[float] = []
    while sum(durations) < seconds or not durations:
        durations.append(batch())
    return [total / timing.LAUNCHES for total in durations]


def _of_type(shape: tuple[int, ...], dtype: str) -> server.Runs:
    import torch
    from rational_kat import FlashKAT_Group

    torch.manual_seed(0)
    device, m, n = "cuda", *COEFFICIENTS
    module = FlashKAT_Group(shape[-1], GROUPS, GROUPS, m, n, "swish", device).to(device)
    # It takes three axes.
    x = torch.randn((1, *shape)[-3:], device=device, dtype=getattr(torch, dtype))
    watched = [x.requires_grad_(), *module.parameters()]
    half = dtype != "float32"

    def apply() -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            return module(x)

    y = apply()
    cotangent = torch.ones_like(y)

    def forward() -> None:
        with torch.no_grad():
            apply()

    def backward() -> None:
        torch.autograd.grad(y, watched, cotangent, retain_graph=True)

    def forward_backward() -> None:
        torch.autograd.grad(apply(), watched, cotangent)

    return {
        "forward": forward,
        "backward": backward,
        "forward_backward": forward_backward,
    }


if __name__ == "__main__":
    server.main(make, PACKAGES, TOY, block)
