"""fast-kan's ``FastKANLayer``: as many Gaussians as there are cubic B-splines."""

import benchmarks.peers.torch_layer
from benchmarks.peers import server

PACKAGES = ("fastkan", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a layer of shape (batch, in, out)."""
    from fastkan import FastKANLayer

    def layer(in_features: int, out_features: int):
        # Without the layer norm, which is no part of the expansion.
        module = FastKANLayer(
            in_features, out_features, num_grids=8, use_layernorm=False
        )
        return module, module

    return benchmarks.peers.torch_layer.runs(layer, shape)


if __name__ == "__main__":
    server.main(make, PACKAGES)
