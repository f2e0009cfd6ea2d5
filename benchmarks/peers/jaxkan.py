"""jaxKAN's ``SplineLayer``: the recursion of efficient-kan, on flax.nnx."""

import itertools

import numpy as np

from benchmarks.peers import server

PACKAGES = ("jaxkan", "jax", "jaxlib", "flax")


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of layers of shape (batch, in, ..., out)."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
    from jaxkan.layers import SplineLayer

    batch, *widths = shape
    pairs = itertools.pairwise(widths)
    layers = [SplineLayer(a, b, k=3, G=5) for a, b in pairs]
    inputs = np.random.default_rng(0).uniform(-1, 1, (batch, widths[0]))
    x = jnp.asarray(inputs, jnp.float32)
    split = [nnx.split(layer, nnx.Param, ...) for layer in layers]
    params = [one for _, one, _ in split]
    optimizer = optax.adam(1e-3)

    def apply(params, x):
        for (graph, _, rest), one in zip(split, params, strict=True):
            x = nnx.merge(graph, one, rest)(x)
        return x

    def loss(params, x):
        return jnp.sum(jnp.square(apply(params, x)))

    @jax.jit
    def update(params, state, x):
        gradient = jax.grad(loss)(params, x)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, change), state

    forward = jax.jit(apply)
    backward = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    start = params, optimizer.init(params)
    return {
        "forward": lambda: jax.block_until_ready(forward(params, x)),
        "forward_backward": lambda: jax.block_until_ready(backward(params, x)),
        "step": lambda: jax.block_until_ready(update(*start, x)),
    }


if __name__ == "__main__":
    server.main(make, PACKAGES)
