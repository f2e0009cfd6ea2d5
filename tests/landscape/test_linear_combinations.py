import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn, pytrees, training
from kanjax.landscape import linear_combinations

X = jax.random.normal(jax.random.key(1), (6, 16))
WEIGHTS = (1.0, -0.6, 0.35)


def three(init):
    return tuple(init(k) for k in jax.random.split(jax.random.key(0), 3))


def perceptron():
    net = nn.MLP((16, 5, 3), parameterization="ntk", bias_scale=1.0)
    loss = training.classification(net.apply)
    return jax.jit(training.on_batch(loss, (X, jnp.arange(6) % 3))), three(net.init)


def convolution():
    def loss(params):
        images = X.reshape(6, 4, 4, 1).repeat(2, -1)
        rows = jax.lax.conv_general_dilated(
            images,
            params["kernel"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        rows = jnp.where(rows > 0, rows, 0.1 * rows) - params["shift"]
        return {"mean": jnp.mean(rows**2), "rows": rows[:, 0, 0]}

    def init(key):
        kernel = jax.random.normal(key, (3, 3, 2, 4))
        return {"kernel": kernel, "shift": jnp.sum(kernel[0, 0, 0])}

    return loss, three(init)


def splines():
    net = kan.KAN((4, 2), basis=bases.BSpline(4))
    x = jnp.tanh(X[:, :4])
    return lambda p: jnp.mean(jnp.sin(net.apply(p, x))), three(net.init)


def all_linear():
    """Sums, differences, reshapes, masks, a constant that comes in twice."""

    def loss(w):
        half = (1.0 - w.T[::-1] * jnp.arange(5.0)[None]) / 2 + w.T - 3.0
        rows = half.reshape(16, 5) @ jnp.ones((5, 2)) + X[0, :, None]
        return jnp.sum(-rows[1:] + X[1, 1:, None]), X.sum(), w[0]

    return loss, three(lambda key: jax.random.normal(key, (5, 16)))


def half_precision():
    def loss(w):
        return jnp.sum(jnp.sin((X.astype(w.dtype) @ w).astype(jnp.float32)))

    init = lambda key: jax.random.normal(key, (16, 4), jnp.bfloat16)  # noqa: E731
    return loss, three(init)


def with_an_effect():
    def loss(w):
        jax.debug.callback(lambda v: None, w[0, 0])
        return jnp.sum(jnp.cos(X @ w))

    return loss, three(lambda key: jax.random.normal(key, (16, 4)))


@pytest.mark.parametrize(
    "case",
    [perceptron, convolution, splines, all_linear, half_precision, with_an_effect],
)
def test_equals_the_loss_of_the_sum(case):
    loss, trees = case()

    @jax.jit
    def both(weights, trees):
        value, _ = linear_combinations.loss_of_sums(loss, trees)
        return value(weights), loss(pytrees.combine(weights, trees))

    found, expected = both(WEIGHTS, trees)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for u, v in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert u.shape == v.shape and u.dtype == v.dtype
        np.testing.assert_allclose(u, v, rtol=2e-5, atol=1e-5)


def at_a_point(loss, trees):
    value, _ = linear_combinations.loss_of_sums(loss, trees)
    return str(jax.make_jaxpr(value)(WEIGHTS))


def test_first_layers_are_not_multiplied_again_at_every_point():
    loss, trees = perceptron()
    assert str(jax.make_jaxpr(loss)(trees[0])).count("dot_general[") == 2
    assert at_a_point(loss, trees).count("dot_general[") == 1
    loss, trees = convolution()
    assert "conv_general_dilated" not in at_a_point(loss, trees)
    loss, trees = half_precision()
    assert "dot_general[" in at_a_point(loss, trees)
    # A product of two inputs takes as long as reading three of its results.
    loss = lambda w: jnp.sum(jnp.sin(X[:, :2] @ w))  # noqa: E731
    assert "dot_general[" in at_a_point(loss, three(lambda k: jnp.ones((2, 3))))


def test_differentiable_in_weights_and_trees():
    loss, trees = splines()

    def prepared(weights, trees):
        return linear_combinations.loss_of_sums(loss, trees)[0](weights)

    def plain(weights, trees):
        return loss(pytrees.combine(weights, trees))

    found, expected = (
        jax.jit(jax.grad(f, (0, 1)))(WEIGHTS, trees) for f in (prepared, plain)
    )
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-4, atol=1e-5),
        found,
        expected,
    )


def test_blocks_shrink_as_points_grow():
    def block(width):
        trees = (jnp.ones(width), jnp.zeros(width))
        return linear_combinations.loss_of_sums(lambda p: jnp.sum(jnp.sin(p)), trees)[1]

    assert block(10) > block(10_000) > block(100_000) >= 1
    # Parameters, their sines and the sum, in float32.
    assert 2**22 / (8 * 10_000) - 2 < block(10_000) <= 2**22 / (8 * 10_000)
    assert block(10_000_000) == 1
