"""The layers of AF-KAN's authors, from ``models`` of a checkout of All-KAN."""

import benchmarks.peers.torch_layer
from benchmarks.peers import server

PACKAGES = ("torch",)
GRID, DEGREE = 3, 3


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of layers of shape (batch, in, ..., out), with global attention."""
    # The module is named as this one.
    from af_kan import AF_KANLayer

    def layer(in_features: int, out_features: int):
        module = AF_KANLayer(in_features, GRID, DEGREE, out_features)
        # The first axis is of reductions.
        return module, lambda x: module(x[None])[0]

    return benchmarks.peers.torch_layer.runs(layer, shape)


if __name__ == "__main__":
    server.main(make, PACKAGES, toy=(2, 4, 2))
