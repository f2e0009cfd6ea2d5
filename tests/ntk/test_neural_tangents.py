"""Both kernels equal neural-tangents' own values, recorded in float64."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import gaussian, model, nn, ntk

RECORD = json.loads(
    (pathlib.Path(__file__).parent / "neural_tangents.json").read_text()
)
RELU = nn.Activation(jax.nn.relu)


def serial(*layers):
    return model.Sequential(layers)


def dense(inputs=64, outputs=64, w=1.3, b=0.4, parameterization="ntk"):
    options = {"use_bias": b is not None, "bias_scale": b or 0.0}
    return nn.Dense(
        inputs, outputs, options["use_bias"], parameterization, w, options["bias_scale"]
    )


def conv(window, inputs=16, parameterization="ntk", **options):
    return nn.Conv(
        inputs,
        16,
        window,
        parameterization=parameterization,
        kernel_scale=1.2,
        bias_scale=0.3,
        **options,
    )


def between(function):
    layer = nn.Activation(function)
    return serial(dense(5), layer, dense(), layer, dense(outputs=1))


def images(*layers, features=16):
    return serial(*layers, dense(features, 1))


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky relu": gaussian.leaky_relu(0.2),
    "abrelu": gaussian.ABReLU(-0.3, 1.4),
    "abs": jnp.abs,
    "erf": jax.scipy.special.erf,
    "scaled erf": gaussian.Erf(1.2, 0.7, 0.1),
    "sigmoid like": gaussian.sigmoid_like(),
    "gelu": gaussian.Gelu(),
    "sine": gaussian.Sine(1.1, 0.9, 0.3),
    "cosine": gaussian.cosine(0.8, 1.2, 0.1),
    "rbf": gaussian.rbf(0.7),
    "exponential": gaussian.Exponential(0.6, 0.5),
    "squared exponential": gaussian.SquaredExponential(1.2, -0.5),
    "gabor": gaussian.Gabor(),
    "sign": jnp.sign,
    "monomial 3": gaussian.monomial(3),
    "polynomial": gaussian.Polynomial((0.2, -0.5, 0.3)),
    "tanh": jnp.tanh,
}
STANDARD = {"parameterization": "standard"}
BRANCH = serial(RELU, dense())
BARE = nn.LayerNorm(64, eps=1e-12, use_scale=False, use_bias=False)
BARE_16 = nn.LayerNorm(16, eps=1e-12, use_scale=False, use_bias=False)
LOCAL = nn.ConvLocal(
    3,
    16,
    (4, 4),
    (3, 3),
    parameterization="ntk",
    kernel_scale=1.2,
    bias_scale=0.3,
)
TRANSPOSED = nn.ConvTranspose(
    3, 16, (3, 3), 2, parameterization="ntk", kernel_scale=1.2, bias_scale=0.3
)
FIRST = conv((3, 3), 3)
POOL = nn.GlobalPool(2)
EXPONENTIAL = nn.NormalizedExponential(0.7, -0.8)
NETWORKS = {name: between(function) for name, function in ACTIVATIONS.items()} | {
    "normalised exponential": serial(
        dense(5), EXPONENTIAL, dense(), EXPONENTIAL, dense(outputs=1)
    ),
    "linear": serial(dense(5), dense(), dense(outputs=1)),
    "deep relu": serial(
        dense(5, w=2**0.5), RELU, *[dense(w=2**0.5), RELU] * 9, dense(outputs=1)
    ),
    "without bias": serial(dense(5, b=None), RELU, dense(outputs=1, b=None)),
    "standard": serial(
        dense(5, **STANDARD),
        RELU,
        dense(64, 32, **STANDARD),
        RELU,
        dense(32, 1, **STANDARD),
    ),
    "standard conv": serial(
        conv((3, 3), 3, **STANDARD), RELU, nn.Flatten(2), dense(256, 1, **STANDARD)
    ),
    "layer norm": serial(dense(5), BARE, RELU, dense(), BARE, dense(outputs=1)),
    "dropout": serial(dense(5), RELU, nn.Dropout(0.3), dense(), RELU, dense(outputs=1)),
    "residual": serial(dense(5), model.Residual(BRANCH), RELU, dense(outputs=1)),
    "parallel": serial(
        model.Parallel((dense(5), serial(dense(5), BRANCH), dense(5, w=0.7))),
        RELU,
        dense(outputs=1),
    ),
    "product": serial(
        model.Product((dense(5), serial(dense(5), BRANCH))), dense(outputs=1)
    ),
    "concatenation": serial(
        model.Concatenate((dense(5, 32), serial(dense(5), RELU, dense(64, 96)))),
        dense(128, 1),
    ),
    "conv same": images(FIRST, RELU, conv((3, 3)), RELU, nn.Flatten(2), features=256),
    "conv valid": images(
        conv((2, 3), 3, padding="VALID"), RELU, nn.Flatten(2), features=96
    ),
    "conv circular": images(
        conv((3, 3), 3, padding="CIRCULAR"),
        RELU,
        conv((3, 3), padding="CIRCULAR"),
        nn.Activation(jax.scipy.special.erf),
        nn.Flatten(2),
        features=256,
    ),
    "conv strides": images(
        conv((3, 3), 3, strides=(2, 1)), RELU, nn.Flatten(2), features=128
    ),
    "conv 1d": images(
        conv((3,), 3),
        RELU,
        conv((2,), padding="VALID"),
        RELU,
        nn.Flatten(1),
        features=80,
    ),
    "conv 3d": images(conv((2, 2, 2), 2), RELU, nn.Flatten(3), features=288),
    "conv global pool": images(
        FIRST, RELU, conv((3, 3), padding="CIRCULAR"), RELU, POOL
    ),
    "conv global sum pool": images(
        conv((3, 3), 3, padding="VALID"), RELU, nn.GlobalPool(2, total=True)
    ),
    "myrtle": images(
        FIRST, RELU, nn.Pool((2, 2)), conv((3, 3)), RELU, nn.Pool((2, 2)), POOL
    ),
    "pool flatten": images(
        FIRST, RELU, nn.Pool((2, 2), strides=1), nn.Flatten(2), features=144
    ),
    "pool same": images(
        FIRST, RELU, nn.Pool((2, 2), padding="SAME"), nn.Flatten(2), features=64
    ),
    "pool same edges": images(
        FIRST,
        RELU,
        nn.Pool((3, 3), 2, "SAME", count_padding=False),
        nn.Flatten(2),
        features=64,
    ),
    "sum pool": images(
        FIRST, RELU, nn.Pool((2, 2), total=True), nn.Flatten(2), features=64
    ),
    "conv layer norm": images(FIRST, BARE_16, RELU, POOL),
    "residual conv": images(
        FIRST,
        model.Residual(serial(RELU, conv((3, 3)), RELU, conv((3, 3)))),
        RELU,
        POOL,
    ),
    "conv transpose": images(
        TRANSPOSED,
        RELU,
        nn.Flatten(2),
        features=1024,
    ),
    "conv local": images(LOCAL, RELU, nn.Flatten(2), features=256),
    "conv local pool": images(LOCAL, RELU, POOL),
    "attention": images(
        dense(3),
        nn.TiedAttention(64, 16, 2, 8, 1.1 * 1.2, 0.9 * 1.3, 0.2),
        RELU,
        nn.GlobalPool(1),
    ),
    "attention flatten": images(
        nn.TiedAttention(3, 16, 2, 8, bias_scale=0.2), nn.Flatten(1), features=96
    ),
    "dense on positions": images(dense(3), RELU, nn.GlobalPool(1), features=64),
}


def attentive(layer, *before):
    return serial(dense(3), *before, layer, RELU, nn.GlobalPool(1), dense(16, 1))


def attention(kind=nn.TiedAttention, features=64, **options):
    return kind(features, 16, 2, 8, 1.1, 0.9 * 1.3, 0.2, **options)


DISTANCE = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
PLACES = model.Residual(nn.Positions((6,), 64, 0.7))
NEAR = model.Residual(nn.Positions((6,), 64, 0.7, np.exp(-DISTANCE / 3)))
JOINED = model.Concatenate(
    (nn.Activation(jax.nn.identity), nn.Positions((6,), 32, 0.7))
)
LINEAR = nn.LinearAttention
NETWORKS |= {
    "attention relu": attentive(attention(weights=jax.nn.relu)),
    "attention abs": attentive(attention(weights=jnp.abs)),
    "attention identity": attentive(attention(weights=jax.nn.identity)),
    "attention positions": attentive(attention(), PLACES),
    "attention near positions": attentive(attention(), NEAR),
    "attention positions of keys": attentive(attention(key_model=PLACES)),
    "attention positions joined": attentive(attention(features=96), JOINED),
    "attention positions joined of keys": attentive(
        attention(key_model=JOINED, key_features=96)
    ),
    "linear attention": attentive(attention(LINEAR)),
    "linear attention positions": attentive(attention(LINEAR), PLACES),
    "linear attention positions of keys": attentive(
        attention(LINEAR, key_model=PLACES)
    ),
}
SQUARE = conv((3, 3))
NETWORKS |= {
    "masked dense": serial(dense(3), RELU, nn.GlobalPool(1), dense(outputs=1)),
    "masked sum": serial(
        dense(3),
        nn.Activation(gaussian.cosine()),
        nn.GlobalPool(1, total=True),
        dense(outputs=1),
    ),
    "masked conv": images(
        conv((3,), 3),
        RELU,
        conv((2,), strides=2, padding="VALID"),
        RELU,
        nn.Flatten(1),
        features=48,
    ),
    "masked attention": attentive(nn.TiedAttention(64, 16, 2, 8, bias_scale=0.2)),
    "masked attention abs": attentive(
        nn.TiedAttention(64, 16, 2, 8, bias_scale=0.2, weights=jnp.abs)
    ),
    "masked myrtle": images(FIRST, BARE_16, RELU, nn.Pool((2, 2)), SQUARE, RELU, POOL),
    "masked residual": images(FIRST, model.Residual(serial(RELU, SQUARE)), RELU, POOL),
    "masked transpose": images(
        TRANSPOSED,
        RELU,
        POOL,
    ),
    "resize": images(dense(3), nn.Resize((6, 3)), RELU, nn.Flatten(2), features=1152),
    "resize nearest": images(
        dense(3), nn.Resize((3, 7), "nearest"), RELU, nn.Flatten(2), features=1344
    ),
    "index": images(
        FIRST,
        nn.Index(((1, None), (None, None, 2))),
        RELU,
        nn.Flatten(2),
        features=96,
    ),
    "index one row": images(
        FIRST, nn.Index((2, (None,))), RELU, nn.Flatten(1), features=64
    ),
    "dot general": serial(
        dense(3),
        RELU,
        nn.Aggregate(np.array([[1.0, -1.0, 0.5, 2.0, 0.0, 0.3]])),
        nn.Index((0,)),
        dense(outputs=1),
    ),
}
SQUARE_WEIGHTS, ROWS = (RECORD["weights"][name] for name in ("square", "rows"))


def summed(subscripts, *layers, weights=SQUARE_WEIGHTS):
    einsum = nn.Einsum(subscripts, np.asarray(weights))
    return serial(dense(3), RELU, einsum, *layers, dense(outputs=1))


def graph(spatial=1):
    layers = nn.Aggregate(spatial=spatial), dense(3), RELU
    layers += nn.Aggregate(spatial=spatial), nn.GlobalPool(spatial), dense(outputs=1)
    return nn.GraphNetwork(serial(*layers))


def attention_of_images(layer, *before):
    first = conv((2, 2), 3)
    return serial(first, *before, layer, RELU, nn.Flatten(2), dense(96, 1))


POINTS = np.indices((2, 3)).reshape(2, 6)
APART = np.abs(POINTS[:, :, None] - POINTS[:, None]).sum(0)
NEAR_2D = model.Residual(nn.Positions((2, 3), 16, 0.7, np.exp(-APART / 3)))
OF_IMAGES = {"features": 16, "spatial": 2}
NETWORKS |= {
    "einsum of two axes": summed("hw,hw->"),
    "einsum of each row": summed("hw,hw->h", nn.GlobalPool(1)),
    "einsum of new rows": serial(
        dense(3),
        nn.Einsum("hw,kh->kw", np.asarray(ROWS)),
        RELU,
        nn.GlobalPool(2, total=True),
        dense(outputs=1),
    ),
    "einsum of nothing": summed("hw,hw->hw", nn.GlobalPool(2)),
    "einsum of a number": serial(
        dense(3), nn.Einsum("hw,->hw", np.asarray(2.0)), nn.Flatten(2)
    ),
    "masked einsum": summed("hw,hw->h", nn.GlobalPool(1)),
    "graphs": graph(),
    "lists of edges": graph(),
    "graphs of images": graph(2),
    "attention of images": attention_of_images(attention(**OF_IMAGES)),
    "attention of images near": attention_of_images(attention(**OF_IMAGES), NEAR_2D),
    "linear attention of images": attention_of_images(attention(LINEAR, **OF_IMAGES)),
    "masked attention of images": attention_of_images(
        attention(key_model=NEAR_2D, **OF_IMAGES)
    ),
}
# Of an example with itself neural-tangents has the square root of round-off for the
# angle; a jump makes another square root of it. tanh it takes by Hermite nodes.
TOLERANCES = {"sign": (1e-9, 2e-4), "tanh": (1e-6, 1e-6)}


def data(kind):
    both = tuple(jnp.asarray(x, jnp.float64) for x in RECORD["data"][kind])
    if kind not in RECORD["graphs"]:
        return both
    return tuple(
        (x, as_graph(kind, jnp.asarray(pattern)))
        for x, pattern in zip(both, RECORD["graphs"][kind], strict=True)
    )


def as_graph(kind, pattern):
    """Their rows are what a node gives, ours what it takes."""
    if kind == "lists of edges":
        return nn.Edges(pattern[..., 0], pattern[..., 1])
    nodes = int((pattern[0].size) ** 0.5)
    return jnp.swapaxes(pattern.reshape(-1, nodes, nodes), 1, 2)


# Of the others both kernels are blocks of one, which is half the compilation.
BETWEEN = ("relu", "dropout", "conv same", "masked attention", "graphs")


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_to_the_recorded_values(name, x64):
    record = RECORD["kernels"][name]
    x1, x2 = data(record["data"])
    mask1 = mask2 = None
    if record["data"].startswith("masked"):
        mask1, mask2 = (x[..., 0] != RECORD["nothing"] for x in (x1, x2))
    kernel = ntk.infinite(NETWORKS[name], dropout=True)
    mask = None if mask1 is None else jnp.concatenate([mask1, mask2])
    joined = jax.tree.map(lambda *both: jnp.concatenate(both), x1, x2)
    whole = kernel(joined, mask1=mask)
    n = len(jax.tree.leaves(x1)[0])
    blocks = {
        "between": jax.tree.map(lambda k: k[:n, n:], whole),
        "itself": jax.tree.map(lambda k: k[:n, :n], whole),
    }
    if name in BETWEEN:
        blocks["between"] = kernel(x1, x2, mask1=mask1, mask2=mask2)
    for which, found in blocks.items():
        for field in ("nngp", "ntk"):
            rtol = TOLERANCES.get(name, (1e-9, 2e-8))[which == "itself"]
            np.testing.assert_allclose(
                getattr(found, field), record[which][field], rtol=rtol, atol=1e-12
            )


def test_every_recorded_network_is_compared():
    assert set(NETWORKS) == set(RECORD["kernels"])
    assert len(NETWORKS) >= 88
