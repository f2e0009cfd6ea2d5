"""efficient-kan's ``KANLinear``: B-splines by recursion, one product for all edges."""

import benchmarks.peers.torch_layer
from benchmarks.peers import server

PACKAGES = ("efficient_kan", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a layer of shape (batch, in, out)."""
    from efficient_kan import KANLinear

    def layer(in_features: int, out_features: int):
        module = KANLinear(in_features, out_features, grid_size=5, spline_order=3)
        return module, module

    return benchmarks.peers.torch_layer.runs(layer, shape)


if __name__ == "__main__":
    server.main(make, PACKAGES)
