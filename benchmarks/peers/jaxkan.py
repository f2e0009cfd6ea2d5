"""jaxKAN's ``SplineLayer``: the recursion of efficient-kan, on flax.nnx."""

import numpy as np

from benchmarks.peers import server

PACKAGES = ("jaxkan", "jax", "jaxlib", "flax")


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a layer of shape (batch, in, out)."""
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from jaxkan.layers import SplineLayer

    batch, in_features, out_features = shape
    layer = SplineLayer(in_features, out_features, k=3, G=5)
    inputs = np.random.default_rng(0).uniform(-1, 1, (batch, in_features))
    x = jnp.asarray(inputs, jnp.float32)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)

    def apply(params, x):
        return nnx.merge(graph, params, rest)(x)

    def loss(params, x):
        return jnp.sum(jnp.square(apply(params, x)))

    forward = jax.jit(apply)
    backward = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return {
        "forward": lambda: jax.block_until_ready(forward(params, x)),
        "forward_backward": lambda: jax.block_until_ready(backward(params, x)),
    }


if __name__ == "__main__":
    server.main(make, PACKAGES)
