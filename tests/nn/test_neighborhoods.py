"""Neighborhood attention, held against gathered neighborhoods and full attention."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


def gathered(params, x, *, heads, kernel, dilation):
    """Every neighborhood of every pixel, in float64."""
    params, x = jax.tree.map(lambda v: np.asarray(v, float), (params, x))
    height, width, features = x.shape
    project = {
        n: (x @ params[n]["kernel"] + params[n]["bias"]).reshape(
            height, width, heads, -1
        )
        for n in ("query", "key", "value")
    }
    rows = nn.neighborhood_indices(height, kernel, dilation)
    columns = nn.neighborhood_indices(width, kernel, dilation)
    y = np.zeros((height, width, heads, features // heads))
    for i in range(height):
        for j in range(width):
            near = np.ix_(rows[i], columns[j])
            keys, values = project["key"][near], project["value"][near]
            scores = np.einsum("hd,abhd->hab", project["query"][i, j], keys)
            scores /= math.sqrt(features // heads)
            dy = (rows[i] - i) // dilation + kernel - 1
            dx = (columns[j] - j) // dilation + kernel - 1
            scores += params["bias"][:, dy[:, None], dx]
            weights = np.exp(scores - scores.max(axis=(1, 2), keepdims=True))
            weights /= weights.sum(axis=(1, 2), keepdims=True)
            y[i, j] = np.einsum("hab,abhd->hd", weights, values)
    return y.reshape(x.shape) @ params["output"]["kernel"] + params["output"]["bias"]


def drawn(layer, key):
    """Parameters with relative biases that are not 0."""
    params = layer.init(key)
    bias = jax.random.normal(jax.random.key(9), params["bias"].shape)
    return params | {"bias": bias}


@pytest.mark.parametrize(
    ("size", "kernel", "dilation"),
    [((7, 5), 3, 1), ((6, 10), 3, 2), ((4, 8), 1, 4), ((5, 5), 5, 1), ((9, 12), 3, 3)],
)
def test_it_is_the_gathered_form(size, kernel, dilation, key):
    layer = nn.NeighborhoodAttention(6, 2, kernel, dilation)
    params = drawn(layer, key)
    x = jax.random.normal(key, (*size, 6))
    expected = gathered(params, x, heads=2, kernel=kernel, dilation=dilation)
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=2e-5)


def test_leading_axes_and_vmap_are_batches(key):
    layer = nn.NeighborhoodAttention(4, 2, 3)
    params = drawn(layer, key)
    x = jax.random.normal(key, (2, 3, 5, 6, 4))
    y = jax.jit(layer.apply)(params, x)
    mapped = jax.vmap(jax.vmap(lambda x: layer.apply(params, x)))(x)
    np.testing.assert_allclose(y, mapped, atol=1e-5)
    np.testing.assert_allclose(y[1, 2], layer.apply(params, x[1, 2]), atol=1e-5)


def test_a_window_of_the_image_is_full_attention(key):
    layer = nn.NeighborhoodAttention(8, 2, 5, use_relative_bias=False)
    params = layer.init(key)
    x = jax.random.normal(key, (3, 5, 5, 8))
    full = nn.Attention(8, 2).apply(params, x.reshape(3, 25, 8))
    np.testing.assert_allclose(layer.apply(params, x), full.reshape(x.shape), atol=1e-5)


def test_a_window_of_one_pixel_is_its_value(key):
    layer = nn.NeighborhoodAttention(4, 1, 1)
    params = drawn(layer, key)
    x = jax.random.normal(key, (4, 3, 4))
    value = layer.projection.apply(params["value"], x)
    expected = layer.projection.apply(params["output"], value)
    np.testing.assert_allclose(layer.apply(params, x), expected, atol=1e-6)


def test_dilation_attends_within_interleaved_images(key):
    dense = nn.NeighborhoodAttention(4, 2, 3)
    spread = nn.NeighborhoodAttention(4, 2, 3, dilation=2)
    params = drawn(dense, key)
    x = jax.random.normal(key, (8, 6, 4))
    y = spread.apply(params, x)
    for i in range(2):
        for j in range(2):
            part = dense.apply(params, x[i::2, j::2])
            np.testing.assert_allclose(y[i::2, j::2], part, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "kernel", "dilation"), [(12, 5, 2), (9, 3, 3), (3, 3, 1)]
)
def test_indices(length, kernel, dilation):
    indices = nn.neighborhood_indices(length, kernel, dilation)
    assert indices.shape == (length, kernel)
    assert indices.min() >= 0 and indices.max() < length
    for i, row in enumerate(indices):
        assert i in row and len(set(row)) == kernel
        assert np.all(row % dilation == i % dilation)
    np.testing.assert_array_equal(
        nn.neighborhood_indices(10, 3, 2)[[0, 5, 9]], [[0, 2, 4], [3, 5, 7], [5, 7, 9]]
    )


def test_an_output_sees_its_window_and_two_layers_see_more(key):
    near = nn.NeighborhoodAttention(2, 1, 3)
    far = nn.NeighborhoodAttention(2, 1, 3, dilation=4)
    params = drawn(near, key)
    x = jax.random.normal(key, (12, 12, 2))

    def seen(apply):
        slopes = jax.grad(lambda x: apply(x)[5, 6].sum())(x)
        return np.argwhere(np.abs(slopes).sum(axis=-1) > 0)

    assert len(seen(lambda x: near.apply(params, x))) == 9
    assert len(seen(lambda x: far.apply(params, x))) == 9
    both = seen(lambda x: far.apply(params, near.apply(params, x)))
    # 1 + (k - 1) (1 + dilation) along an axis, at the edges, with holes inside.
    assert np.ptp(both, axis=0).tolist() == [10, 10]


def test_gradients_are_those_of_the_gathered_form(key):
    layer = nn.NeighborhoodAttention(4, 2, 3)
    params = drawn(layer, key)
    x = jax.random.normal(key, (4, 5, 4))
    with jax.enable_x64(True):
        params, x = jax.tree.map(lambda v: jnp.asarray(v, float), (params, x))
        direction = jax.tree.map(
            lambda v: jnp.cos(jnp.arange(v.size)).reshape(v.shape), params
        )
        slope = jax.jvp(
            lambda p: jnp.sum(jnp.sin(layer.apply(p, x))), (params,), (direction,)
        )[1]
        gradient = jax.grad(lambda p: jnp.sum(jnp.sin(layer.apply(p, x))))(params)
        products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
        reverse = sum(jax.tree.leaves(products))

        def value(step):
            moved = jax.tree.map(lambda p, d: p + step * d, params, direction)
            y = gathered(moved, x, heads=2, kernel=3, dilation=1)
            return np.sin(y).sum()

        numeric = (value(1e-5) - value(-1e-5)) / 2e-5
    assert float(slope) == pytest.approx(numeric, rel=1e-6)
    assert float(reverse) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.optimized
def test_neighborhoods_are_not_held_at_once(key):
    layer = nn.NeighborhoodAttention(32, 1, 7)
    params = layer.init(key)
    x = jnp.ones((1, 56, 56, 32))

    def memory(function):
        compiled = jax.jit(function).lower(params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # One number for each of 49 neighbors and head, not the 32 of its key and value.
    gathered_bytes = 2 * 49 * x.nbytes
    assert memory(layer.apply) < gathered_bytes / 10
    assert memory(jax.grad(lambda p, x: layer.apply(p, x).sum())) < gathered_bytes / 4
    scores = 4 * 56**4
    assert memory(layer.apply) < scores / 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.NeighborhoodAttention(4, 3), "heads=3 does not divide"),
        (lambda: nn.NeighborhoodAttention(4, 2, 4), "kernel must be odd"),
        (lambda: nn.NeighborhoodAttention(4, 2, 3, 0), "dilation must be a positive"),
        (lambda: nn.neighborhood_indices(5, 3, 2), "needs 6 points"),
        (lambda: nn.neighborhood_indices(7, 3, 2), "does not divide the 7 pixels"),
        (
            lambda: nn.NeighborhoodAttention(4, 2, 7).apply(
                nn.NeighborhoodAttention(4, 2, 7).init(jax.random.key(0)),
                jnp.ones((6, 9, 4)),
            ),
            "needs 7 points at least; there are 6",
        ),
        (
            lambda: nn.NeighborhoodAttention(4, 2).apply({}, jnp.ones((9, 4))),
            "height, width, 4",
        ),
        (
            lambda: nn.NeighborhoodAttention(4, 2).apply({}, jnp.ones((9, 9, 5))),
            r"\(\.\.\., 4\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
