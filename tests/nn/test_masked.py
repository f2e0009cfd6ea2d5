"""Networks of examples of which some positions have nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn, ntk

RELU = nn.Activation(jax.nn.relu)
LENGTHS = (6, 4, 1)
MASK = jnp.arange(6)[None] < jnp.array(LENGTHS)[:, None]


def serial(*layers):
    return model.Sequential(layers)


KEYS = model.Residual(nn.Positions((6,), 4))
NETS = {
    "convolution": (nn.Conv(4, 5, (3,)), nn.Activation(jnp.cos), nn.Conv(5, 4, (3,))),
    "attention": (nn.Attention(4, 2), RELU, nn.Attention(4, 2, causal=True)),
    "transformer": (nn.TransformerBlock(nn.Attention(4, 2), nn.MLP((4, 8, 4)), 0.5),),
    "tied attention": (nn.TiedAttention(4, 4), nn.TiedAttention(4, 4, weights=jnp.cos)),
    "linear attention": (nn.LinearAttention(4, 4, bias_scale=0.5),) * 2,
    "branches": (
        model.Concatenate((nn.Dense(4, 3), nn.Conv(4, 1, (3,)))),
        model.Product((nn.Dense(4, 4), RELU)),
        model.Parallel((nn.Attention(4, 2), nn.LayerNorm(4))),
        model.Residual(nn.Attention(4, 1)),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_what_a_mask_leaves_out_might_as_well_not_be_there(name, key):
    total = name == "attention"
    net = serial(*NETS[name], nn.GlobalPool(1, total), nn.Dense(4, 2))
    params = net.init(key)
    x = jax.random.normal(key, (3, 6, 4))
    noise = jnp.where(MASK[..., None], x, jnp.nan)
    found = jax.jit(nn.Masked(net).apply)(params, (noise, MASK))
    for one, words, n in zip(found, x, LENGTHS, strict=True):
        alone = net.apply(params, words[None, :n])[0]
        np.testing.assert_allclose(one, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*NETS, "windows"])
def test_a_mask_that_leaves_out_nothing_changes_nothing(name, key):
    windows = nn.Conv(4, 4, (3,), strides=2), nn.Pool((2,), 1, "SAME"), nn.Resize((5,))
    net = serial(*NETS.get(name, windows), nn.Flatten(1))
    params = net.init(key)
    x = jax.random.normal(key, (2, 6, 4))
    found = nn.Masked(net).apply(params, (x, jnp.ones((2, 6), bool)))
    np.testing.assert_allclose(found, net.apply(params, x), rtol=1e-5, atol=1e-5)


def test_keys_are_taken_of_what_is_there(key):
    layer = nn.TiedAttention(4, 4, key_model=KEYS)
    params = layer.init(key)
    x = jax.random.normal(key, (1, 6, 4))
    found = nn.Masked(layer).apply(params, (x, MASK[1:2]))
    keys = x + params["key_model"]["embedding"][None]
    few = layer.attend(params, x[:, :4], keys[:, :4])
    np.testing.assert_allclose(found[:, :4], few, rtol=1e-5)
    np.testing.assert_array_equal(found[:, 4:], 0)


WINDOWS = {
    # A window has something where its centre has; False is padding beyond the edge.
    "same": (nn.Conv(1, 1, (3,)), [1, 1, 0, 1, 0, 0]),
    "strided": (nn.Conv(1, 1, (3,), 2, "VALID"), [1, 1]),
    "dilated": (nn.Conv(1, 1, (3,), padding="VALID", dilation=2), [0, 1]),
    "circular": (nn.Conv(1, 1, (3,), padding="CIRCULAR"), [1, 1, 0, 1, 0, 0]),
    "local": (nn.ConvLocal(1, 1, (6,), (3,), padding="VALID"), [1, 0, 1, 0]),
    "pool": (nn.Pool((3,)), [1, 0]),
    "transposed": (nn.ConvTranspose(1, 1, (2,), 2), [1, 1, 1, 1, 0, 0, 1, 1] + [0] * 4),
    "part": (nn.Index(((1, None, 2),)), [1, 1, 0]),
    "smaller": (nn.Resize((3,), "nearest"), [1, 1, 0]),
    "no axis": (nn.Index((2,)), None),
    "sum": (nn.Einsum("s,s->", jnp.ones(6)), None),
    "two rows": (nn.Einsum("s,ts->t", jnp.eye(6)[1:4]), [1, 0, 1]),
    "two nodes": (nn.Aggregate(jnp.eye(6)[2:4]), [0, 1]),
    "nodes": (nn.Aggregate(), [1, 1, 0, 1, 0, 0]),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_where_something_is_behind_a_layer(name):
    layer, expected = WINDOWS[name]
    mask = jnp.array([1, 1, 0, 1, 0, 0], bool)
    for lead in [(), (1,), (1, 1)]:
        found = nn.masked.mask_after(layer, mask.reshape(*lead, 6))
        if expected is None:
            assert found is None
        else:
            assert found.dtype == bool
            np.testing.assert_array_equal(found.reshape(-1), expected)


def test_graphs_of_nodes_that_are_not_there(key):
    net = nn.GraphNetwork(serial(nn.Aggregate(), nn.Dense(4, 3), nn.GlobalPool(1)))
    params = net.init(key)
    x, graphs = jax.random.normal(key, (3, 6, 4)), jnp.ones((3, 6, 6))
    found = nn.Masked(net).apply(params, ((x, graphs), MASK))
    for one, nodes, n in zip(found, x, LENGTHS, strict=True):
        alone = net.apply(params, (nodes[None, :n], graphs[:1, :n, :n]))
        np.testing.assert_allclose(one, alone[0], rtol=1e-4, atol=1e-5)


def test_padded_sentences_of_tokens_train(key):
    """Under jit and grad, also where a sentence is empty."""
    net = serial(nn.Embedding(9, 4), nn.TiedAttention(4, 4), nn.GlobalPool(1))
    masked = nn.Masked(net)
    params = masked.init(key)
    tokens = jax.random.randint(key, (4, 6), 0, 9)
    mask = jnp.concatenate([MASK, jnp.zeros((1, 6), bool)])

    @jax.jit
    @jax.grad
    def slope(params, tokens):
        return jnp.sum(masked.apply(params, (tokens, mask)) ** 2)

    found = slope(params, tokens)
    other = slope(params, jnp.where(mask, tokens, (tokens + 1) % 9))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
    assert np.max(np.abs(found[0]["embedding"])) > 0
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, other)


@pytest.mark.optimized
def test_their_limit_has_the_same_mask(key):
    """The mean over wide networks of their tangent kernels."""
    options = {"parameterization": "ntk", "bias_scale": 0.4}
    net = serial(
        nn.Conv(4, 256, (3,), **options),
        RELU,
        nn.TiedAttention(256, 256, 4, 64, bias_scale=0.3),
        RELU,
        nn.ConvTranspose(256, 256, (2,), 2, **options),
        RELU,
        nn.GlobalPool(1),
        nn.Dense(256, 1, **options),
    )
    x, draws = jax.random.normal(key, (3, 6, 4)), 12
    kernel = ntk.infinite(net)(x, mask1=MASK)
    masked = nn.Masked(net)

    def draw(key):
        params = masked.init(key)
        return ntk.empirical(masked.apply, params, (x, MASK), method="jacobian")

    thetas = jax.lax.map(draw, jax.random.split(key, draws))
    error = np.std(thetas, axis=0) / np.sqrt(draws)
    size = float(jnp.max(jnp.abs(kernel.ntk)))
    off = np.abs(np.mean(thetas, axis=0) - kernel.ntk)
    assert np.all(off < 4 * error + 0.01 * size)
    assert np.max(error) < 0.1 * size


@model.dataclass
class Halve:
    """Every second position."""

    def init(self, key):
        return ()

    def apply(self, params, x, *, key=None):
        return x[..., ::2, :]


def test_bad_input_is_named(key):
    net = nn.Masked(serial(nn.Dense(4, 4), Halve(), nn.GlobalPool(1)))
    params = net.init(key)
    x = jnp.ones((3, 6, 4))
    with pytest.raises(ValueError, match=r"takes pairs \(x, mask\); got ArrayImpl"):
        net.apply(params, x)
    with pytest.raises(ValueError, match=r"the mask is float32\(3, 6\); .* \(3, 6\)"):
        net.apply(params, (x, jnp.ones((3, 6))))
    with pytest.raises(ValueError, match=r"go into Halve\(\) and \(3, 3\) come out"):
        net.apply(params, (x, MASK))
    with pytest.raises(ValueError, match="give the network inside it"):
        ntk.infinite(net)
    Halve.mask_after = lambda layer, mask: mask[..., ::2]
    assert net.apply(params, (x, MASK)).shape == (3, 4)
