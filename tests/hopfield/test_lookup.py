import equinox
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import interop, model, nn, symmetry
from kanjax.hopfield import Hopfield, HopfieldLayer, HopfieldPooling, lookup_network
from tests.hopfield.recordings import RECORDED, masks_of, recorded, translated

NO_NORMS = {"state_norm": None, "stored_norm": None, "value_norm": None}
POOLINGS = {
    "pooling": HopfieldPooling(Hopfield(8, heads=2), 3),
    "padded pooling": HopfieldPooling(Hopfield(8, heads=2, updates=1), 2),
    "static pooling": HopfieldPooling(
        Hopfield(6, 8, 8, 8, head_features=6, state_static=True, **NO_NORMS)
    ),
}
LOOKUPS = {
    "lookup": HopfieldLayer(Hopfield(8, heads=2), 6),
    "separate lookup": HopfieldLayer(
        Hopfield(8, value_features=3, heads=2), 6, targets=True
    ),
    "static lookup": HopfieldLayer(Hopfield(8, stored_static=True), 6),
}


def translated_around(layer, case):
    """The authors' parameters of a pooling or look-up layer as ours."""
    theirs = recorded(case, "params")
    params = {"association": translated(layer.association, theirs, "hopfield.")}
    names = {"pooling_weights": "state", "lookup_weights": "patterns"}
    for their_name, name in (names | {"target_weights": "targets"}).items():
        if their_name in theirs:
            params[name] = jnp.asarray(theirs[their_name][0])
    return params


@pytest.mark.parametrize("case", POOLINGS)
def test_pooling_is_the_authors(case, x64):
    layer, params = POOLINGS[case], translated_around(POOLINGS[case], case)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(layer.init, jax.random.key(0))
    )
    given = recorded(case, "inputs")
    options, bags = masks_of(given, 2), jnp.asarray(given["stored"])

    @jax.jit
    def everything(params, bags):
        def total(bags):
            y = layer.apply(params, bags, **options)
            return jnp.sum(jnp.sin(y)), y

        slope, y = jax.grad(total, has_aux=True)(bags)
        return y, layer.attention(params, bags, **options), slope

    for ours, part in zip(
        everything(params, bags), ("output", "weights", "gradient"), strict=True
    ):
        np.testing.assert_allclose(ours, RECORDED[f"{case}/{part}"], rtol=1e-9)


@pytest.mark.parametrize("case", LOOKUPS)
def test_lookup_is_the_authors(case, x64):
    layer, params = LOOKUPS[case], translated_around(LOOKUPS[case], case)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(layer.init, jax.random.key(0))
    )
    x = jnp.asarray(recorded(case, "inputs")["x"])
    y = jax.jit(layer.apply)(params, x)
    np.testing.assert_allclose(y, RECORDED[f"{case}/output"], rtol=1e-9)
    # Theirs has the heads before the states.
    weights = jnp.moveaxis(layer.attention(params, x), -2, 1)
    np.testing.assert_allclose(weights, RECORDED[f"{case}/weights"], rtol=1e-9)


def test_fixed_states_and_patterns_are_not_trained_but_act_alike(key):
    pool = POOLINGS["pooling"]
    params = pool.init(key)
    fixed = HopfieldPooling(pool.association, 3, params["state"])
    assert set(fixed.init(key)) == {"association"}
    bags = jax.random.normal(key, (2, 5, 8))
    inside = {"association": params["association"]}
    np.testing.assert_allclose(
        jax.jit(fixed.apply)(inside, bags),
        jax.jit(pool.apply)(params, bags),
        rtol=1e-4,
        atol=1e-7,
    )
    lookup = LOOKUPS["separate lookup"]
    params = lookup.init(key)
    fixed = HopfieldLayer(
        lookup.association,
        6,
        fixed_patterns=params["patterns"],
        fixed_targets=params["targets"],
    )
    inside = {"association": params["association"]}
    assert jax.tree.structure(fixed.init(key)) == jax.tree.structure(inside)
    np.testing.assert_allclose(
        jax.jit(fixed.apply)(inside, bags),
        jax.jit(lookup.apply)(params, bags),
        rtol=1e-4,
        atol=1e-7,
    )


def test_a_layer_that_stores_its_training_set_is_a_kernel_classifier(key):
    """Class centres far apart: the weights of the nearest examples decide."""
    centers = 3 * jnp.eye(4)
    labels = jnp.repeat(jnp.arange(4), 10)
    keys = jax.random.split(key, 2)
    x, new = (centers[labels] + 0.3 * jax.random.normal(k, (40, 4)) for k in keys)
    layer = HopfieldLayer(
        Hopfield(
            4,
            beta=2.0,
            state_static=True,
            stored_static=True,
            value_static=True,
            project_output=False,
            **NO_NORMS,
        ),
        40,
        targets=True,
    )
    params = layer.store(layer.init(key), x, jax.nn.one_hot(labels, 4))
    p = layer.apply(params, new)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(jnp.argmax(p, axis=1), labels)
    kernel = np.exp(2.0 * np.asarray(new @ x.T))
    expected = kernel @ np.eye(4)[np.asarray(labels)] / kernel.sum(1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-4, atol=1e-6)


def test_masks_of_a_lookup(key):
    layer = LOOKUPS["lookup"]
    params = layer.init(key)
    x = jax.random.normal(key, (3, 5, 8))
    present = jnp.arange(6) < 4
    few = HopfieldLayer(layer.association, 4)
    apply = jax.jit(layer.apply)
    cut = jax.jit(few.apply)({**params, "patterns": params["patterns"][:4]}, x)
    masked = apply(params, x, present=present)
    np.testing.assert_allclose(masked, cut, rtol=1e-4, atol=1e-6)
    mask = jnp.broadcast_to(present, (3, 5, 6))
    np.testing.assert_allclose(apply(params, x, mask=mask), cut, rtol=1e-4, atol=1e-6)
    single = apply(params, x[0, 0], mask=mask[0, 0])
    np.testing.assert_allclose(single, cut[0, 0], rtol=1e-4, atol=1e-6)


def test_a_network_for_tables_maps_rows_and_has_its_symmetry(key):
    net = lookup_network((5, 16, 3), patterns=7)
    params = net.init(key)
    x = jax.random.normal(key, (4, 5))
    y, rows = jax.jit(
        lambda p, x: (net.apply(p, x), jax.vmap(lambda row: net.apply(p, row))(x))
    )(params, x)
    np.testing.assert_allclose(rows, y, rtol=1e-4, atol=1e-6)
    spec = symmetry.permutation_spec(net)
    assert symmetry.verify_spec(spec, jax.jit(net.apply), params, x, key).holds
    assert {size for _, size in spec.sizes} == {16}
    assert len(lookup_network((5, 16, 8, 3)).layers) == 5


def test_layers_serve_flax_and_equinox(key):
    net = model.Sequential((nn.Dense(4, 8), HopfieldPooling(Hopfield(8, heads=2))))
    params = net.init(key)
    bags = jax.random.normal(key, (3, 6, 4))

    def loss(call, bags):
        return jnp.sum(jnp.sin(call(bags)))

    def ours(params, bags):
        return loss(lambda x: net.apply(params, x), bags)

    expected, slope = jax.jit(jax.value_and_grad(ours))(params, bags)
    linen = interop.to_linen(net)
    theirs = jax.jit(lambda v, x: loss(lambda x: linen.apply(v, x), x))
    value = theirs({"params": {"model": params}}, bags)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Value and gradient in each library's own way.
    module = interop.to_equinox(net, params)
    both = equinox.filter_jit(equinox.filter_value_and_grad(loss))
    value, found = both(module, bags)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    close = {"rtol": 1e-4, "atol": 1e-6}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **close), found.params, slope
    )
    module = interop.to_nnx(net, params)
    value, found = flax.nnx.jit(flax.nnx.value_and_grad(loss))(module, bags)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(slope), strict=True):
        np.testing.assert_allclose(one, other, **close)


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match="quantity must be a positive integer"):
        HopfieldPooling(Hopfield(8), 0)
    with pytest.raises(ValueError, match="patterns that are their own values need"):
        HopfieldLayer(Hopfield(8, value_features=3), 6)
    with pytest.raises(ValueError, match="widths must be at least two"):
        lookup_network((4,))
    pool, lookup = POOLINGS["pooling"], LOOKUPS["lookup"]
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., patterns"):
        pool.apply(pool.init(key), jnp.ones(8))
    params = lookup.init(key)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 8\)"):
        lookup.apply(params, jnp.ones((2, 7)))
    with pytest.raises(ValueError, match=r"mask must have shape \(2, 6\)"):
        lookup.apply(params, jnp.ones((2, 8)), mask=jnp.ones((2, 5), bool))
    with pytest.raises(ValueError, match="no trained targets to set"):
        lookup.store(params, params["patterns"], jnp.ones((6, 3)))
    with pytest.raises(ValueError, match=r"patterns must have shape \(6, 8\)"):
        lookup.store(params, jnp.ones((5, 8)))
