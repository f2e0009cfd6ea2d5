"""Points of slices spread over four devices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from kanjax import landscape, nn


@pytest.fixture
def mesh():
    return Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("rows", "columns"))


@pytest.fixture
def loss(key):
    net = nn.MLP((3, 4, 2))
    x = jax.random.normal(key, (8, 3))

    def loss(params):
        y = net.apply(params, x)
        return {"loss": jnp.mean(y**2), "outputs": y[0]}

    return loss


@pytest.fixture
def stack(key):
    return jax.vmap(nn.MLP((3, 4, 2)).init)(jax.random.split(key, 5))


def member(stack, i):
    return jax.tree.map(lambda leaf: leaf[i], stack)


@pytest.mark.parametrize("batch_size", [None, 3])
def test_slices_do_not_depend_on_the_mesh(batch_size, loss, stack, mesh):
    a, b, c = (member(stack, i) for i in range(3))
    controls = jax.tree.map(lambda leaf: leaf[:3], stack)

    def slices(mesh):
        options = {"batch_size": batch_size, "mesh": mesh}
        # Numbers of points that four devices do and do not divide.
        return (
            landscape.line(loss, a, b, points=7, **options).losses,
            landscape.curve_line(loss, controls, points=2, **options).losses,
            landscape.plane_through(loss, a, b, c, points=(4, 3), **options).losses,
            landscape.barrier_matrix(loss, stack, points=3, **options),
        )

    chex.assert_trees_all_close(slices(mesh), slices(None), rtol=1e-5)


def test_each_device_takes_its_share_of_the_points(loss, stack, mesh):
    a, b = member(stack, 0), member(stack, 1)
    losses = landscape.line(loss, a, b, points=8, mesh=mesh).losses["loss"]
    assert len(losses.sharding.device_set) == 4
    assert {shard.data.shape for shard in losses.addressable_shards} == {(2,)}


def test_under_jit_and_with_traced_parameters(loss, stack, mesh):
    def heights(stack):
        return landscape.barrier_matrix(loss, stack, points=3, mesh=mesh)

    chex.assert_trees_all_close(jax.jit(heights)(stack), heights(stack), rtol=1e-5)
