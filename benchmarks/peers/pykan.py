"""pykan's ``KANLayer``, which evaluates every edge by itself."""

import benchmarks.peers.torch_layer
from benchmarks.peers import server

PACKAGES = ("pykan", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a layer of shape (batch, in, out)."""
    from kan import KANLayer

    def layer(in_features: int, out_features: int):
        module = KANLayer(in_features, out_features, num=5, k=3)
        return module, lambda x: module(x)[0]

    return benchmarks.peers.torch_layer.runs(layer, shape)


if __name__ == "__main__":
    server.main(make, PACKAGES)
