"""The learned layers of MedViTV2, from a checkout of its authors' code."""

import benchmarks.peers.torch_layer
from benchmarks.peers import server

PACKAGES = ("torch",)


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of layers of shape (batch, in, ..., out), with layer norms."""
    from fasterkan import FasterKANLayer

    def layer(in_features: int, out_features: int):
        module = FasterKANLayer(in_features, out_features)
        return module, module

    return benchmarks.peers.torch_layer.runs(layer, shape)


if __name__ == "__main__":
    server.main(make, PACKAGES)
