"""What every model promises: layers, Kolmogorov-Arnold networks and their nestings."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, hopfield, kan, model, nn
from kanjax.pinn import lagrangian

# Inputs are (batch, features) unless a case says otherwise.
SHAPES = {
    "tied branches": (6, 2),
    "conv 1d": (6, 8, 4),
    "conv 2d": (6, 5, 7, 4),
    "depthwise conv": (6, 8, 4),
    "kan conv 2d": (6, 5, 7, 4),
    "selectable conv 1d": (6, 8, 4),
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
    "neighborhood attention": (6, 6, 8, 4),
    "squeeze excitation": (6, 3, 2, 4),
    "reduced attention": (6, 3, 4, 4),
    "patches": (6, 4, 6, 3),
    "transformer block": (6, 5, 4),
    "vision transformer": (6, 4, 2, 1),
    "graph network": (6, 3, 4),
    "graph batch norm": (6, 3, 4),
    "masked": (6, 3, 4),
    "hopfield encoder": (6, 5, 4),
    "kan attention": (6, 5, 4),
    "operator": (6, 5, 4),
    "rational operator": (6, 5, 4),
    "karat": (6, 4, 2, 1),
    "color matcher": (6, 4, 5, 3),
    "hopfield decoder": (6, 5, 4),
    "gru": (6, 5, 4),
    "lstm": (6, 5, 4),
    "multiple timescales": (6, 5, 4),
    "recurrent chain": (6, 5, 4),
}
KNOTS = jnp.linspace(-1.5, 1.5, 9)
POOL = (bases.BSpline(3), bases.Chebyshev(3))
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
    "normalised exponential": nn.NormalizedExponential(0.5),
    "bare layer norm": nn.LayerNorm(4, use_scale=False, use_bias=False),
    "layer norm": nn.LayerNorm(4, eps=1e-3),
    "rms norm": nn.RMSNorm(4),
    "attention": nn.Attention(4, 2),
    "causal attention": nn.Attention(4, heads=4, causal=True, use_bias=False),
    "mimetic attention": nn.Attention(4, 2, initialization="mimetic"),
    "neighborhood attention": nn.NeighborhoodAttention(4, 2, 3, dilation=2),
    "reduced attention": nn.ReducedAttention(4, 2, 2),
    "squeeze excitation": nn.SqueezeExcitation(4, 2),
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
    "modified mlp": nn.ModifiedMLP((4, 8, 8, 2)),
    "factored dense": nn.FactoredDense(4, 3, 0.5, 0.2),
    "pirate net": nn.PirateNet(4, 6, 2, blocks=2),
    "fourier features": nn.FourierFeatures(4, 6, 0.7),
    "fixed fourier features": nn.FourierFeatures(4, 2, frequencies=jnp.eye(4, 1)),
    "periodic embedding": nn.PeriodicEmbedding((None, 3.0, None, 5.0), 2),
    "separable": nn.Separable(nn.MLP((1, 5, 6)), nn.MLP((3, 5, 3)), outputs=2),
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
    "affine": nn.Affine(4),
    "two branches": lagrangian.TwoBranches((5,), (6, 6), (3.0, 2.0, 5.0)),
    "tied branches": lagrangian.TwoBranches((5,), (5, 5, 5), (3.0,), tied=True),
    "graph network": nn.GraphNetwork(
        model.Sequential((nn.Aggregate(), nn.Dense(4, 3), nn.GlobalPool(1)))
    ),
    "masked": nn.Masked(model.Sequential((nn.Dense(4, 3), nn.GlobalPool(1)))),
    "kan layer": kan.KANLayer(4, 3, mask=jnp.ones((4, 3)).at[0, 1].set(0)),
    "rational layer": kan.RationalLayer(4, 3, bases.Rational(groups=2), dropout=0.25),
    "unit layer": kan.UnitLayer(4, 5, kan.KANLayer(4, 5), products=2, affine=True),
    "selectable layer": kan.SelectableLayer(4, 3, nodes=2),
    "gated layer": kan.SelectableLayer(4, 3, POOL, residual=None, gate="input"),
    "selected layer": kan.SelectedLayer(4, 3, families=(0, 5, 0, 3)),
    "operator": kan.AttentionOperator(4, 2, bases.BSpline(4), jnp.tanh),
    "rational operator": kan.AttentionOperator(
        4, 2, bases.Rational(form="B"), simplex="row", coef_std=None
    ),
    "rational edges": kan.RationalEdges(4, 3, coef_std=0.5),
    "kan attention": kan.KANAttention(
        4,
        2,
        kan.AttentionOperator(5, 2, variant="phi_w", coef_std=None),
        learned=(False, True),
    ),
    "karat": kan.SharedOperators(
        nn.VisionTransformer(
            (4, 2),
            2,
            1,
            3,
            4,
            2,
            2,
            attention=kan.KANAttention(4, 2, kan.AttentionOperator(3, 2, coef_std=0.1)),
        )
    ),
    "activation pairs": bases.ActivationPairs(2),
    "af-kan layer": kan.AFKANLayer(4, 3, reductions=("spatial_attn", "local_attn")),
    # Without LayerNorm, which enlarges rounding errors of almost equal numbers.
    "af-kan": kan.AFKAN(
        (4, 6, 3),
        bases.ActivationPairs(2, 2, (-1.0, 1.0), jnp.tanh, "sum_prod"),
        ("global_attn", "multistep"),
        "quadratic",
        layer_norm=False,
    ),
    "relu-kan layer": kan.ReLUKANLayer(4, 3),
    "color matcher": kan.ColorMatcher(light=True, norm="channels"),
    "selectable kan": kan.SelectableKAN((4, 3, 2), POOL),
    "kan conv 2d": kan.kan_conv(4, 6, (3, 2), strides=(2, 1), groups=2, dilation=2),
    "selectable conv 1d": kan.selectable_conv(4, 3, (3,), POOL, padding="CIRCULAR"),
    "hopfield encoder": hopfield.HopfieldEncoderLayer(hopfield.Hopfield(4), 6),
    "hopfield decoder": hopfield.HopfieldDecoderLayer(
        hopfield.Hopfield(4), hopfield.Hopfield(4, heads=2), 6
    ),
    "gru": nn.GRU(4, 3),
    "lstm": nn.LSTM(4, 3),
    "multiple timescales": nn.MultipleTimescale(4, (2, 3), (2.0, 30.0)),
    "recurrent chain": model.Sequential(
        (nn.Dense(4, 3), model.Residual(nn.GRU(3, 3)), nn.Activation(jnp.tanh))
    ),
}
# Models that cannot do without their state have a contract of their own below.
WITH_STATE = {
    "batch norm": nn.BatchNorm(4, 0.8, 1e-3),
    "bare batch norm": nn.BatchNorm(4, use_scale=False, use_bias=False),
    "batch norm chain": model.Sequential(
        (
            nn.Dense(4, 5),
            nn.BatchNorm(5),
            model.Residual(
                model.Concatenate(
                    (
                        nn.Dense(5, 2),
                        model.Sequential((nn.Dense(5, 3), nn.BatchNorm(3))),
                    )
                )
            ),
            nn.Dropout(0.5),
        )
    ),
    "graph batch norm": nn.GraphNetwork(
        model.Sequential((nn.Aggregate(), nn.Dense(4, 3), nn.BatchNorm(3)))
    ),
    **{name: m for name, m in MODELS.items() if isinstance(m, model.StatefulModel)},
}
NAMES = {name: getattr(nn, name) for name in nn.__all__}
NAMES |= {name: getattr(kan, name) for name in kan.__all__}
NAMES |= {name: getattr(bases, name) for name in bases.__all__}
NAMES |= {name: getattr(hopfield, name) for name in hopfield.__all__}
NAMES |= {name: getattr(model, name) for name in model.__all__}
NAMES |= {"TwoBranches": lagrangian.TwoBranches}
NAMES |= {"jax": jax, "jnp": jnp}


every_model = pytest.mark.parametrize("name", MODELS)
every_model_with_state = pytest.mark.parametrize("name", WITH_STATE)


def inputs(name: str):
    if name == "embedding":
        return jnp.array([0, 3, 6, 3, 1, 2])
    x = jax.random.normal(jax.random.key(1), SHAPES.get(name, (6, 4)))
    if name in ("graph network", "graph batch norm"):
        return x, jnp.abs(x[..., :3])
    if name == "masked":
        return x, x[..., 0] > -1
    return x


def is_model(value) -> bool:
    protocols = (model.Model, model.StatefulModel)
    methods = hasattr(value, "init") and hasattr(value, "apply")
    return isinstance(value, type) and methods and value not in protocols


def test_every_model_there_is_stands_in_a_table():
    rooms = (nn, kan, bases, hopfield, model)
    values = [getattr(room, name) for room in rooms for name in room.__all__]
    there = {value for value in values if is_model(value)}
    assert len(there) > 40
    checked = {type(m) for m in [*MODELS.values(), *WITH_STATE.values()]}
    assert there - checked == set()


def apply(m: model.Model, params, x):
    if isinstance(m, hopfield.HopfieldDecoderLayer):
        return m.apply(params, x, memory=x[..., :3, :])
    return m.apply(params, x)


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
    fixed = (nn.Affine, nn.LayerNorm, nn.LayerScale, nn.RMSNorm)
    fixed += (bases.ActivationPairs, bases.Rational)
    if drawn and not isinstance(MODELS[name], fixed):
        assert any(np.any(both[0] != both[1]) for both in drawn)


@pytest.mark.numerical
@every_model
def test_apply_is_the_same_eagerly_and_compiled(name):
    # The model is an argument, too: its arrays are traced.
    compiled = jax.jit(apply)(MODELS[name], first(name), inputs(name))
    y = apply(MODELS[name], first(name), inputs(name))
    np.testing.assert_allclose(compiled, y, rtol=1e-5, atol=1e-6)


@every_model
def test_apply_maps_over_members_and_examples(name):
    x, params = inputs(name), first(name)
    call = functools.partial(apply, MODELS[name])

    def in_blocks(leaf):
        return leaf.reshape(2, 3, *leaf.shape[1:])

    @jax.jit
    def three_ways(everyone, params, x):
        y = call(params, x)
        blocks = call(params, jax.tree.map(in_blocks, x))
        examples = jax.vmap(call, (None, 0))(params, x)
        if not jax.tree.leaves(everyone):
            return y, blocks.reshape(y.shape), examples
        ensemble = jax.vmap(call, (0, None))(everyone, x)
        return y, blocks.reshape(y.shape), examples, ensemble[0]

    y, *others = three_ways(members(name), params, x)
    for other in others:
        np.testing.assert_allclose(other, y, rtol=1e-5, atol=1e-5)


@every_model
def test_every_parameter_has_a_finite_gradient(name):
    one, x = MODELS[name], inputs(name)
    slope = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(apply(one, p, x)))))(first(name))
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


@pytest.mark.numerical
@every_model
def test_half_precision_stays_half_and_close(name):
    wide = MODELS[name], first(name), inputs(name)
    half = jax.tree.map(
        lambda a: a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a, wide
    )
    compiled = jax.jit(apply)
    y, rounded = compiled(*wide), compiled(*half)
    assert rounded.dtype == jnp.bfloat16
    error = np.abs(np.asarray(rounded, dtype=np.float32) - y)
    assert np.max(error) < 0.1 * np.std(y) + 0.02


@every_model
def test_double_precision_is_kept(name, x64):
    params = jax.eval_shape(MODELS[name].init, jax.random.key(0))
    assert {p.dtype for p in jax.tree.leaves(params)} <= {jnp.dtype("float64")}
    x = jax.tree.map(
        lambda a: a.astype(float) if a.dtype == jnp.float32 else a, inputs(name)
    )
    y = jax.eval_shape(functools.partial(apply, MODELS[name]), params, x)
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


def batch_shape(name: str) -> tuple[int, ...]:
    """The leading axes that a memory has for the inputs of this name."""
    return SHAPES[name][:1] if name in SHAPES else ()


@functools.cache
def with_state(name: str):
    """A model, the parameters and states of two members, and inputs."""
    one = WITH_STATE[name]
    keys = jax.random.split(jax.random.key(0), 2)

    def draw(key):
        state = one.initial_state(batch_shape(name))
        move = 1 + 0.5 * jax.random.uniform(key)
        return one.init(key), jax.tree.map(lambda leaf: leaf + move, state)

    return one, *jax.jit(jax.vmap(draw))(keys), inputs(name)


def has_memory(one: model.Model) -> bool:
    return any(
        hasattr(layer, "step") and not isinstance(layer, CONTAINERS)
        for layer in layers_of(one)
    )


CONTAINERS = (model.Sequential, model.Residual)
CONTAINERS += (model.Parallel, model.Product, model.Concatenate)


def layers_of(one):
    if isinstance(one, model.Residual):
        return layers_of(one.branch)
    if isinstance(one, CONTAINERS):
        inside = one.layers if isinstance(one, model.Sequential) else one.branches
        return [layer for each in inside for layer in layers_of(each)]
    return [one]


@every_model_with_state
def test_the_state_is_a_fixed_point_of_apply(name):
    one, params, states, x = with_state(name)
    params, state = jax.tree.map(lambda leaf: leaf[0], (params, states))
    for train in (True, False):
        call = functools.partial(one.apply, train=train)
        y, after = jax.eval_shape(call, params, x, state=state)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        assert y.dtype == jnp.float32
    begin = one.initial_state(batch_shape(name))
    chex.assert_trees_all_equal_shapes_and_dtypes(begin, state)


@every_model_with_state
def test_apply_with_a_state_is_the_same_eagerly_compiled_and_by_member(name):
    one, params, states, x = with_state(name)

    def call(m, p, s):
        train = m.apply(p, x, state=s, train=True)
        return train, m.apply(p, x, state=s)

    together = jax.jit(jax.vmap(call, (None, 0, 0)))(one, params, states)
    alone = call(one, *jax.tree.map(lambda leaf: leaf[1], (params, states)))
    second = jax.tree.map(lambda leaf: leaf[1], together)
    chex.assert_trees_all_close(second, alone, rtol=1e-5, atol=1e-5)


@every_model_with_state
def test_only_training_and_time_change_the_state(name):
    one, params, states, x = with_state(name)
    params, state = jax.tree.map(lambda leaf: leaf[0], (params, states))
    _, after = one.apply(params, x, state=state)
    _, trained = one.apply(params, x, state=state, train=True)

    def moved(new):
        pairs = zip(jax.tree.leaves(new), jax.tree.leaves(state), strict=True)
        return [bool(np.any(a != b)) for a, b in pairs]

    memory = has_memory(one)
    assert moved(after) == [memory] * len(jax.tree.leaves(state))
    assert all(moved(trained))


@every_model_with_state
def test_gradients_with_a_state_are_finite(name):
    one, params, states, x = with_state(name)
    params, state = jax.tree.map(lambda leaf: leaf[0], (params, states))

    def total(p, s):
        y, after = one.apply(p, x, state=s, train=True)
        return jnp.sum(jnp.sin(y)) + sum(map(jnp.sum, jax.tree.leaves(after)))

    slope = jax.jit(jax.grad(total, (0, 1)))(params, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(slope, (params, state))
    chex.assert_tree_all_finite(slope)


@every_model_with_state
def test_a_model_with_a_state_is_a_value(name):
    one = WITH_STATE[name]
    assert isinstance(one, model.StatefulModel) and isinstance(one, model.Model)
    assert eval(repr(one), NAMES) == one
    leaves, structure = jax.tree.flatten(one)
    assert jax.tree.unflatten(structure, leaves) == one


@every_model_with_state
def test_half_precision_with_a_state_stays_half_and_close(name):
    one, params, states, x = with_state(name)
    params, state = jax.tree.map(lambda leaf: leaf[0], (params, states))

    def to_half(a):
        return a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a

    call = jax.jit(functools.partial(one.apply, train=True))
    y, _ = call(params, x, state=state)
    rounded, after = call(*jax.tree.map(to_half, (params, x)), state=state)
    assert rounded.dtype == jnp.bfloat16
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    error = np.abs(np.asarray(rounded, dtype=np.float32) - y)
    assert np.max(error) < 0.1 * np.std(y) + 0.02


def takes_an_array_of_numbers(name):
    return name != "embedding" and not isinstance(inputs(name), tuple)


@pytest.mark.numerical
@pytest.mark.parametrize("name", [n for n in MODELS if takes_an_array_of_numbers(n)])
def test_integers_are_taken_as_real_numbers(name):
    net = MODELS[name]
    signed = jnp.round(2 * inputs(name)).astype(int)

    @jax.jit
    def both_ways(params):
        kinds = signed, jnp.abs(signed).astype(jnp.uint8)
        return [
            (apply(net, params, x), apply(net, params, x.astype(float))) for x in kinds
        ]

    for taken, expected in both_ways(first(name)):
        # What only moves or drops values leaves their type, as tokens need.
        moves = name in ("flatten", "index", "dropout", "drop path")
        assert moves or jnp.issubdtype(taken.dtype, jnp.floating)
        np.testing.assert_allclose(taken, expected, rtol=1e-5, atol=1e-5)
