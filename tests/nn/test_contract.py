"""What every model promises: layers, Kolmogorov-Arnold networks and their nestings."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, hopfield, kan, model, nn

# Inputs are (batch, features) unless a case says otherwise.
SHAPES = {
    "conv 1d": (6, 8, 4),
    "conv 2d": (6, 5, 7, 4),
    "depthwise conv": (6, 8, 4),
    "conv transpose": (6, 3, 2, 4),
    "conv local": (6, 3, 2, 4),
    "pool": (6, 5, 7, 4),
    "sum pool": (6, 5, 4),
    "global pool": (6, 3, 2, 4),
    "flatten": (6, 3, 2, 4),
    "aggregate": (6, 3, 4),
    "tied attention": (6, 5, 4),
    "attention weights": (6, 3, 2, 4),
    "linear attention": (6, 3, 2, 4),
    "einsum": (6, 3, 2, 4),
    "positions": (6, 3, 2, 4),
    "resize": (6, 3, 2, 4),
    "index": (6, 3, 2, 4),
    "attention": (6, 5, 4),
    "causal attention": (6, 5, 4),
    "hopfield": (6, 5, 4),
    "hopfield pooling": (6, 5, 4),
    "mimetic attention": (6, 5, 4),
    "patches": (6, 4, 6, 3),
    "transformer block": (6, 5, 4),
    "vision transformer": (6, 4, 2, 1),
}
KNOTS = jnp.linspace(-1.5, 1.5, 9)
MODELS = {
    "dense": nn.Dense(4, 3),
    "ntk dense": nn.Dense(4, 3, parameterization="ntk", bias_scale=0.1),
    "conv 1d": nn.Conv(4, 3, (3,), padding="CIRCULAR"),
    "conv 2d": nn.Conv(4, 6, (3, 2), strides=(2, 1), groups=2, dilation=2),
    "depthwise conv": nn.Conv(4, 4, (3,), padding="VALID", groups=4),
    "conv transpose": nn.ConvTranspose(4, 3, (3, 2), 2, bias_scale=0.3),
    "conv local": nn.ConvLocal(4, 3, (3, 2), (2, 2), bias_scale=0.3),
    "pool": nn.Pool((2, 3), (1, 2), "SAME", count_padding=False),
    "sum pool": nn.Pool((2,), total=True),
    "global pool": nn.GlobalPool(2),
    "flatten": nn.Flatten(2),
    "aggregate": nn.Aggregate(jnp.array([[1.0, 0.5, 0.0], [0.2, 1, 0], [0, 0, 1]])),
    "tied attention": nn.TiedAttention(4, 3, 2, 5, 2.0, 0.9, 0.3),
    "attention weights": nn.TiedAttention(4, 3, weights=jax.nn.relu, spatial=2),
    "linear attention": nn.LinearAttention(
        4, 3, 2, 5, 2.0, 0.9, 0.3, nn.Positions((3, 2), 2), key_features=2, spatial=2
    ),
    "positions": nn.Positions((3, 2), 5, 0.5, jnp.eye(6) + 0.5),
    "resize": nn.Resize((2, 3), "cubic"),
    "index": nn.Index((1, (None, 1))),
    "einsum": nn.Einsum("hw,kh->wk", jnp.array([[1.0, -0.5, 0.25], [0.0, 2.0, 1.0]])),
    "normalised exponential": nn.NormalisedExponential(0.5),
    "bare layer norm": nn.LayerNorm(4, use_scale=False, use_bias=False),
    "layer norm": nn.LayerNorm(4, eps=1e-3),
    "rms norm": nn.RMSNorm(4),
    "attention": nn.Attention(4, 2),
    "causal attention": nn.Attention(4, heads=4, causal=True, use_bias=False),
    "mimetic attention": nn.Attention(4, 2, initialization="mimetic"),
    "patches": nn.PatchEmbedding(2, 3, 5),
    "layer scale": nn.LayerScale(4, 0.5),
    "drop path": nn.DropPath(0.25),
    "transformer block": nn.TransformerBlock(
        nn.Attention(4, 2), nn.MLP((4, 6, 4)), scale=0.5, drop_path=0.25
    ),
    "vision transformer": nn.VisionTransformer((4, 2), 2, 1, 3, 4, 1, 2),
    "embedding": nn.Embedding(7, 3),
    "dropout": nn.Dropout(0.25),
    "activation": nn.Activation(jax.nn.gelu),
    "mlp": nn.MLP((4, 8, 8, 2)),
    "ntk mlp": nn.MLP((4, 8, 2), jnp.tanh, "ntk", 1.5, bias_scale=0.5),
    "kan": kan.KAN((4, 5, 2)),
    "pruned kan": kan.KAN((4, 2), masks=(jnp.ones((4, 2)).at[0, 1].set(0),)),
    "rational": bases.Rational(groups=2, start="gelu"),
    "shared rational": bases.Rational(2, form="B", shared="numerator"),
    "rational mlp": kan.rational_mlp(4, 8, groups=2, dropout=0.25),
    "rational kan": kan.KAN((4, 6, 2), basis=bases.Rational(groups=2)),
    "hopfield": hopfield.Hopfield(4, heads=2, updates=1, batch_size=3),
    "hopfield pooling": hopfield.HopfieldPooling(hopfield.Hopfield(4), quantity=2),
    "hopfield lookup": hopfield.HopfieldLayer(hopfield.Hopfield(4), quantity=3),
    "sequential": model.Sequential(
        (nn.Dense(4, 8), nn.Activation(jnp.tanh), nn.Dropout(0.5), kan.KAN((8, 2)))
    ),
    "residual": model.Residual(model.Sequential((nn.LayerNorm(4), nn.Dense(4, 4)))),
    "product": model.Product((nn.Dense(4, 2), nn.Dense(4, 2))),
    "concatenation": model.Concatenate((nn.Dense(4, 2), kan.KAN((4, 3)))),
    "parallel": model.Parallel((nn.Dense(4, 2), kan.KAN((4, 2)))),
}
NAMES = {name: getattr(nn, name) for name in nn.__all__}
NAMES |= {name: getattr(kan, name) for name in kan.__all__}
NAMES |= {name: getattr(bases, name) for name in bases.__all__}
NAMES |= {name: getattr(hopfield, name) for name in hopfield.__all__}
NAMES |= {"Sequential": model.Sequential, "Residual": model.Residual}
NAMES |= {"Parallel": model.Parallel, "jax": jax, "jnp": jnp}
NAMES |= {"Product": model.Product, "Concatenate": model.Concatenate}


every_model = pytest.mark.parametrize("name", MODELS)


def inputs(name: str) -> jax.Array:
    if name == "embedding":
        return jnp.array([0, 3, 6, 3, 1, 2])
    return jax.random.normal(jax.random.key(1), SHAPES.get(name, (6, 4)))


def has_axes(one: model.Model) -> bool:
    tied = isinstance(one, nn.Conv) and 1 < one.groups < one.in_channels
    tied = tied or isinstance(one, nn.ConvLocal)
    return hasattr(one, "parameter_axes") and not tied


@functools.cache
def members(name: str):
    """The parameters of two members, drawn under jit and vmap."""
    keys = jax.random.split(jax.random.key(0), 2)
    return jax.jit(jax.vmap(MODELS[name].init))(keys)


def first(name: str):
    return jax.tree.map(lambda leaf: leaf[0], members(name))


@every_model
def test_init_draws_members_of_their_own_under_jit_and_vmap(name, key):
    alone = jax.eval_shape(MODELS[name].init, key)
    assert jax.tree.structure(alone) == jax.tree.structure(members(name))
    drawn = jax.tree.leaves(members(name))
    for leaf, both in zip(jax.tree.leaves(alone), drawn, strict=True):
        assert both.shape == (2, *leaf.shape)
        assert both.dtype == leaf.dtype == jnp.float32
    fixed = (nn.LayerNorm, nn.LayerScale, nn.RMSNorm, bases.Rational)
    if drawn and not isinstance(MODELS[name], fixed):
        assert any(np.any(both[0] != both[1]) for both in drawn)


@every_model
def test_apply_is_the_same_eagerly_and_compiled(name):
    # The model is an argument, too: its arrays are traced.
    compiled = jax.jit(lambda m, p, x: m.apply(p, x))(
        MODELS[name], first(name), inputs(name)
    )
    y = MODELS[name].apply(first(name), inputs(name))
    np.testing.assert_allclose(compiled, y, rtol=1e-5, atol=1e-6)


@every_model
def test_apply_maps_over_members_and_examples(name):
    one, x, params = MODELS[name], inputs(name), first(name)

    @jax.jit
    def three_ways(everyone, params, x):
        y = one.apply(params, x)
        blocks = one.apply(params, x.reshape(2, 3, *x.shape[1:]))
        examples = jax.vmap(one.apply, (None, 0))(params, x)
        if not jax.tree.leaves(everyone):
            return y, blocks.reshape(y.shape), examples
        ensemble = jax.vmap(one.apply, (0, None))(everyone, x)
        return y, blocks.reshape(y.shape), examples, ensemble[0]

    y, *others = three_ways(members(name), params, x)
    for other in others:
        np.testing.assert_allclose(other, y, rtol=1e-5, atol=1e-5)


@every_model
def test_every_parameter_has_a_finite_gradient(name):
    one, x = MODELS[name], inputs(name)
    slope = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(one.apply(p, x)))))(first(name))
    chex.assert_trees_all_equal_shapes_and_dtypes(slope, first(name))
    chex.assert_tree_all_finite(slope)


@every_model
def test_repr_rebuilds_the_model(name):
    assert eval(repr(MODELS[name]), NAMES) == MODELS[name]


@every_model
def test_a_model_is_a_hashable_pytree(name):
    one = MODELS[name]
    assert isinstance(one, model.Model)
    leaves, structure = jax.tree.flatten(one)
    again = jax.tree.unflatten(structure, leaves)
    assert again == one
    assert hash(again) == hash(one)
    assert sum(one == other for other in MODELS.values()) == 1


@every_model
def test_half_precision_stays_half_and_close(name):
    wide = MODELS[name], first(name), inputs(name)
    half = jax.tree.map(
        lambda a: a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a, wide
    )
    compiled = jax.jit(lambda m, p, x: m.apply(p, x))
    y, rounded = compiled(*wide), compiled(*half)
    assert rounded.dtype == jnp.bfloat16
    error = np.abs(np.asarray(rounded, dtype=np.float32) - y)
    assert np.max(error) < 0.1 * np.std(y) + 0.02


@every_model
def test_double_precision_is_kept(name, x64):
    params = jax.eval_shape(MODELS[name].init, jax.random.key(0))
    assert {p.dtype for p in jax.tree.leaves(params)} <= {jnp.dtype("float64")}
    x = jnp.ones(inputs(name).shape) if name != "embedding" else jnp.arange(3)
    y = jax.eval_shape(MODELS[name].apply, params, x)
    assert y.dtype == jnp.float64


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if has_axes(m)])
def test_parameter_axes_have_the_structure_of_the_parameters(name, key):
    params = jax.eval_shape(MODELS[name].init, key)
    axes = jax.tree.structure(params).flatten_up_to(MODELS[name].parameter_axes())
    for leaf, names in zip(jax.tree.leaves(params), axes, strict=True):
        assert len(names) == leaf.ndim
        blocks = {entry for entry in names if isinstance(entry, tuple)}
        assert set(names) - blocks <= {"in", "out", "unit", None}
        for (kind, number), size in zip(blocks, leaf.shape, strict=False):
            assert kind == "block" and size % number == 0


@every_model
def test_integers_are_taken_as_real_numbers(name):
    if name == "embedding":
        return
    params, net = first(name), MODELS[name]
    whole = jnp.round(2 * inputs(name)).astype(int)
    expected = net.apply(params, whole.astype(float))
    found = net.apply(params, whole)
    # What only moves or drops values leaves their type, as tokens need.
    moves = name in ("flatten", "index", "dropout", "drop path")
    assert moves or jnp.issubdtype(found.dtype, jnp.floating)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    small = jnp.abs(whole).astype(jnp.uint8)
    np.testing.assert_allclose(
        net.apply(params, small), net.apply(params, small.astype(float)), 1e-5, 1e-5
    )
