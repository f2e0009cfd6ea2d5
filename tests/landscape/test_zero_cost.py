"""What scores without training promise beside their formulas."""

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import interop, kan, nn, training
from kanjax.landscape import zero_cost

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8, 8, 1)), jnp.float32)
Y = jnp.arange(6) % 3


def networks():
    key = jax.random.key(0)
    net = nn.MLP((64, 5, 3))
    yield "dense", lambda p, x: net.apply(p, x.reshape(-1, 64)), net.init(key), -1
    spline = kan.KAN((64, 2, 3))
    yield (
        "kan",
        lambda p, x: spline.apply(p, x.reshape(-1, 64)),
        spline.init(key),
        -1,
    )

    class Convolutions(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Conv(4, (3, 3))(x))
            return linen.Dense(3)(x.mean(axis=(1, 2)))

    flax = Convolutions()
    yield "flax", lambda p, x: flax.apply(p, x), flax.init(key, X[:1]), -1
    module = eqx.nn.MLP(64, 3, 5, 1, key=key)
    apply, params = interop.from_equinox(module, batched=True)
    yield "equinox", lambda p, x: apply(p, x.reshape(-1, 64)), params, 0


@pytest.fixture(scope="module", params=["dense", "kan", "flax", "equinox"])
def network(request):
    return next(net for net in networks() if net[0] == request.param)


def test_all_scores_of_any_network_under_jit(network):
    _, apply, params, _ = network
    loss = training.classification(apply)

    @jax.jit
    def compute(params, key):
        return zero_cost.scores(apply, loss, params, (X, Y), key=key)

    got = compute(params, jax.random.key(1))
    assert all(np.isfinite(score) for score in got.values()), got
    alone = zero_cost.gradsign(loss, params, (X, Y), batch_size=2)
    assert got["gradsign"] == alone > 0


def test_fisher_is_the_slope_in_channels(network):
    """By a factor on each channel of the first layer that there is."""
    _, apply, params, axis = network
    loss = training.classification(apply)
    leaves, tree = jax.tree.flatten_with_path(params)
    parent = next(p[:-1] for p, v in leaves if v.ndim >= 2)
    weights = [v for p, v in leaves if p[:-1] == parent and v.ndim >= 2]
    channels = weights[0].shape[axis]

    def scaled(factor, channel):
        def scale(leaf, place):
            one_hot = 1 + (factor - 1) * jax.nn.one_hot(channel, channels)
            shape = [1] * leaf.ndim
            shape[place] = channels
            return leaf * one_hot.reshape(shape)

        return tree.unflatten(
            [
                scale(v, axis if v.ndim >= 2 else -1) if p[:-1] == parent else v
                for p, v in leaves
            ]
        )

    def slope(channel, x, y):
        example = (x[None], y[None])
        return jax.grad(lambda f: loss(scaled(f, channel), example)[0])(1.0) / 6

    over_channels = jax.vmap(slope, (0, None, None))
    slopes = jax.jit(jax.vmap(over_channels, (None, 0, 0)))(jnp.arange(channels), X, Y)
    fan_in = sum(w.size for w in weights) / channels
    total = jnp.sum(fan_in * jnp.mean(slopes**2, axis=0) / 2)
    got = zero_cost.fisher(
        loss,
        params,
        (X, Y),
        channel_axis=axis,
        select=lambda v: any(v.shape == w.shape for w in weights),
    )
    np.testing.assert_allclose(got, total, rtol=1e-3)


def test_ensembles_are_scored_under_vmap():
    net = nn.MLP((4, 3, 2))
    loss = training.classification(net.apply)
    stack = jax.vmap(net.init)(jax.random.split(jax.random.key(0), 3))
    data = (X[..., 0, :4, 0], Y % 2)

    def score(params):
        return zero_cost.gradsign(loss, params, data)

    each = [score(jax.tree.map(lambda v, i=i: v[i], stack)) for i in range(3)]
    np.testing.assert_array_equal(jax.vmap(score)(stack), each)


def test_integers_and_half_precision():
    net = nn.MLP((4, 3, 2))
    loss, params = training.classification(net.apply), net.init(jax.random.key(0))
    whole = jnp.arange(24).reshape(6, 4) % 5
    assert np.isfinite(zero_cost.jacobian_covariance(net.apply, params, whole))
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    tau = zero_cost.gradsign(loss, half, (whole.astype(jnp.bfloat16), Y % 2))
    assert 0 < tau <= 6 * 18


@pytest.mark.parametrize("kind", [bool, np.uint8, int, float])
def test_codes_of_any_type(kind):
    codes = np.random.default_rng(0).integers(0, 2, (5, 30))
    alike = (codes[:, None] == codes[None]).sum(axis=2)
    expected = np.linalg.slogdet(alike)[1]
    found = zero_cost.naswot([codes[:, :10].astype(kind), codes[:, 10:].astype(kind)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bad_input():
    net = nn.MLP((4, 3))
    loss, params = training.classification(net.apply), net.init(jax.random.key(0))
    x = X[..., 0, :4, 0]
    with pytest.raises(ValueError, match="none of the parameters"):
        zero_cost.gradsign(loss, params, (x, Y), select=lambda leaf: False)
    with pytest.raises(ValueError, match="one leading example axis"):
        zero_cost.gradsign(loss, params, (x[:3], Y))
    with pytest.raises(ValueError, match="active is empty"):
        zero_cost.naswot([])
