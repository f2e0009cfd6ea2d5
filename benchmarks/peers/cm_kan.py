"""The light color matcher of cmKAN's authors, from a checkout of their code."""

import numpy as np

from benchmarks.peers import server

PACKAGES = ("torch",)


def make(shape: tuple[int, ...]) -> server.Runs:
    """A step of Adam on images of shape (images, side), absolute errors."""
    import torch
    from cm_kan.ml.layers.cm_kan.cm_kan import LightCmKANLayer

    images, side = shape
    torch.manual_seed(0)
    net = LightCmKANLayer(3, 3, 5, 3, 0.1, [0.0, 1.0])
    values = np.random.default_rng(0).uniform(size=(2, images, 3, side, side))
    x, y = torch.tensor(values, dtype=torch.float32)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        (net(x) - y).abs().mean().backward()
        optimizer.step()

    return {"step": step}


if __name__ == "__main__":
    server.main(make, PACKAGES, toy=(1, 8))
