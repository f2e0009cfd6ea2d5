import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kanjax.hopfield import Hopfield, HopfieldLayer, Norm
from tests.hopfield.recordings import RECORDED, masks_of, recorded, translated

NO_NORMS = {"state_norm": None, "stored_norm": None, "value_norm": None}
PLAIN = Norm(affine=False)
PLAIN_NORMS = {"state_norm": PLAIN, "stored_norm": PLAIN, "value_norm": PLAIN}
# The options in our names, see benchmarks/peers/hopfield_fixture.py for theirs.
LAYERS = {
    "self": Hopfield(8, heads=2),
    "sizes": Hopfield(8, 6, 7, 5, head_features=4, head_value_features=3, heads=2),
    "updates": Hopfield(8, heads=2, beta=1.5, updates=3),
    "converged": Hopfield(8, heads=2, beta=1.5, updates=None, tolerance=1e-10),
    "space norm": Hopfield(8, head_features=5, heads=2, updates=2, space_norm=Norm()),
    "space norm without scale": Hopfield(8, head_features=5, space_norm=PLAIN),
    "no norms": Hopfield(8, heads=2, **NO_NORMS),
    "norms without scale": Hopfield(8, **PLAIN_NORMS),
    "connected": Hopfield(8, heads=2, connected=True),
    "connected updates": Hopfield(8, heads=4, connected=True, updates=2),
    "static state": Hopfield(8, state_static=True),
    "static stored": Hopfield(8, stored_static=True),
    "static values": Hopfield(8, value_static=True),
    "static connected": Hopfield(8, value_static=True, connected=True),
    "all static": Hopfield(
        8,
        state_static=True,
        stored_static=True,
        value_static=True,
        project_output=False,
        **NO_NORMS,
    ),
    "zero pattern": Hopfield(8, heads=2, zero_pattern=True),
    "no biases": Hopfield(8, heads=2, beta=2.5, use_bias=False),
    "no output": Hopfield(8, head_value_features=3, heads=2, project_output=False),
    "activation": Hopfield(8, activation=jnp.tanh),
    "padded": Hopfield(8, heads=2),
    "masked": Hopfield(8, heads=2, zero_pattern=True, updates=1),
    "mask by head": Hopfield(8, heads=2),
    "added mask": Hopfield(8, heads=2),
}


def from_authors(case, layer):
    """Our parameters and inputs of a recorded case."""
    given = recorded(case, "inputs")
    options = {n: jnp.asarray(given[n]) for n in ("stored", "values") if n in given}
    options |= masks_of(given, layer.heads)
    params = translated(layer, recorded(case, "params"))
    return params, jnp.asarray(given["x"]), options


def test_all_recorded_cases_are_used():
    cases = {name.split("/")[0] for name in RECORDED} - {"allow_pickle"}
    others = {"pooling", "padded pooling", "static pooling", "lookup"}
    others |= {"separate lookup", "static lookup", "encoder", "decoder"}
    assert cases == set(LAYERS) | others


@pytest.mark.parametrize("case", LAYERS)
def test_outputs_weights_and_gradients_are_the_authors(case, x64):
    layer = LAYERS[case]
    params, x, options = from_authors(case, layer)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(layer.init, jax.random.key(0))
    )

    @jax.jit
    def everything(params, x, options):
        def total(x):
            y = layer.apply(params, x, **options)
            return jnp.sum(jnp.sin(y)), y

        (_, y), slope = jax.value_and_grad(total, has_aux=True)(x)
        return y, slope, layer.association(params, x, **options)

    y, slope, found = everything(params, x, options)
    exact = {"rtol": 1e-9, "atol": 1e-11}
    # Theirs stops on all weights of a head together, ours on each state.
    near = {"rtol": 1e-7, "atol": 1e-9} if layer.updates is None else exact
    np.testing.assert_allclose(y, RECORDED[f"{case}/output"], **near)
    np.testing.assert_allclose(found.weights, RECORDED[f"{case}/weights"], **near)
    assert np.all(found.converged)

    # At a fixed point the states that it started from do not matter.
    if layer.updates is not None:
        np.testing.assert_allclose(slope, RECORDED[f"{case}/gradient"], **exact)


def drawn(layer, key):
    """Parameters that are all far from where they start."""
    leaves, structure = jax.tree.flatten(layer.init(key))
    keys = jax.random.split(key, len(leaves))
    noisy = [
        p + 0.4 * jax.random.normal(k, p.shape)
        for p, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


def plain(layer, params, x, stored, values):
    """The layer as formulas, one head after the other, in NumPy."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def norm(name, a):
        centered = a - a.mean(-1, keepdims=True)
        unit = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
        return unit * params[name]["scale"] + params[name]["bias"]

    def dense(name, a):
        return a @ params[name]["kernel"] + params[name]["bias"]

    size, outputs = layer.sizes, []
    q = dense("query", norm("state_norm", x))
    k = dense("key", norm("stored_norm", stored))
    v = dense("value", norm("value_norm", values))
    for h, beta in enumerate(layer.betas):
        one, two = size.head, size.value_head
        qh, kh = (a[..., h * one : (h + 1) * one] for a in (q, k))
        vh = v[..., h * two : (h + 1) * two]
        for name, there in (("bias", layer.bias_pattern), ("zero", layer.zero_pattern)):
            if there:
                rows = [np.zeros(one), np.zeros(two)]
                if name == "bias":
                    rows = [params["bias_key"][h], params["bias_value"][h]]
                kh, vh = (
                    np.concatenate(
                        [a, np.broadcast_to(r, (*a.shape[:-2], 1, len(r)))], axis=-2
                    )
                    for a, r in ((kh, rows[0]), (vh, rows[1]))
                )
        updates = layer.updates
        updates = updates[h] if isinstance(updates, tuple) else updates
        for _ in range(updates + 1):
            logits = beta * qh @ kh.swapaxes(-1, -2)
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            qh = p @ kh
        outputs.append(p @ vh)
    return dense("output", np.concatenate(outputs, axis=-1))


@pytest.mark.numerical
@pytest.mark.parametrize("states, patterns", [(2, 30), (30, 2)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"updates": 2},
        {"heads": 2, "beta": (0.5, 3.0), "updates": (0, 2)},
        {"heads": 2, "bias_pattern": True, "zero_pattern": True, "updates": 1},
    ],
    ids=["one head", "updates", "by head", "bias pattern"],
)
def test_few_and_many_states_are_those_of_the_formulas(options, states, patterns, key):
    """Few states meet patterns before these are projected, many meet them after."""
    layer = Hopfield(6, 5, 7, 4, head_features=4, head_value_features=3, **options)
    params = drawn(layer, key)
    keys = jax.random.split(key, 3)
    x = jax.random.normal(keys[0], (2, states, 6))
    stored = jax.random.normal(keys[1], (2, patterns, 5))
    values = jax.random.normal(keys[2], (2, patterns, 7))
    expected = plain(layer, params, *map(np.asarray, (x, stored, values)))
    y = jax.jit(layer.apply)(params, x, stored=stored, values=values)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_one_plain_head_is_attention_of_jax(key):
    layer = Hopfield(
        8,
        beta=0.7,
        state_static=True,
        stored_static=True,
        value_static=True,
        project_output=False,
        **NO_NORMS,
    )
    x, stored = jax.random.normal(key, (2, 3, 5, 8))
    expected = jax.nn.dot_product_attention(
        x[:, :, None], stored[:, :, None], stored[:, :, None], scale=0.7
    )
    y = layer.apply({}, x, stored=stored)
    np.testing.assert_allclose(y, expected[:, :, 0], rtol=1e-6, atol=1e-6)


def test_the_fused_implementation_agrees_masked_or_not(key):
    layer, fused = (
        Hopfield(8, heads=2, beta=(0.3, 2.0), implementation=name)
        for name in (None, "xla")
    )
    params = drawn(layer, key)
    x = jax.random.normal(key, (3, 5, 8))
    mask = jax.random.bernoulli(key, 0.5, (3, 5, 5)).at[0, 2].set(False)
    added = jax.random.normal(key, (5, 5))
    for given in (None, mask, added):
        ours, theirs = (
            jax.jit(one.apply)(params, x, mask=given) for one in (layer, fused)
        )
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("updates", [0, 2, None])
def test_masked_patterns_are_not_there_and_their_order_is_free(updates, key):
    layer = Hopfield(8, heads=2, updates=updates, tolerance=1e-6)
    params = drawn(layer, key)
    x, stored = jax.random.normal(key, (2, 3, 6, 8))
    apply = jax.jit(layer.apply)
    present = jnp.broadcast_to(jnp.arange(6) < 4, (3, 6))
    cut = apply(params, x, stored=stored[:, :4])
    close = {"rtol": 1e-3, "atol": 1e-4}
    masked = apply(params, x, stored=stored, present=present)
    np.testing.assert_allclose(masked, cut, **close)
    mask = jnp.broadcast_to(present[:, None], (3, 6, 6))
    masked = apply(params, x, stored=stored, mask=mask)
    np.testing.assert_allclose(masked, cut, **close)
    order = jnp.array([2, 0, 3, 1])
    moved = apply(params, x, stored=stored[:, order])
    np.testing.assert_allclose(moved, cut, **close)


@pytest.mark.numerical
@pytest.mark.parametrize("options", [{}, {"alpha": 1.5}, {"updates": 1}, {"heads": 4}])
@pytest.mark.parametrize("states", [1, 9])
def test_a_state_that_may_look_at_nothing_gives_the_outputs_bias(states, options, key):
    layer = Hopfield(8, **options)
    params = drawn(layer, key)
    x, stored = jax.random.normal(key, (2, 2, 9, 8))
    x = x[:, :states]
    present = jnp.stack([jnp.zeros(9, bool), jnp.ones(9, bool)])

    @jax.jit
    def both(params, x, stored):
        def total(params, x, stored):
            y = layer.apply(params, x, stored=stored, present=present)
            return jnp.sum(jnp.sin(y)), y

        return jax.grad(total, (0, 1, 2), has_aux=True)(params, x, stored)

    slopes, y = both(params, x, stored)
    bias = jnp.broadcast_to(params["output"]["bias"], y[0].shape)
    np.testing.assert_allclose(y[0], bias, rtol=1e-6)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


@pytest.mark.numerical
@pytest.mark.parametrize(
    "options, taken",
    [
        ({"updates": 2, "beta": (0.5, 3.0)}, {"batch_size": 4}),
        ({"zero_pattern": True}, {"batch_size": 8, "examples_at_once": 1}),
        ({"connected": True}, {"batch_size": 100}),
        ({"updates": None, "alpha": 1.5}, {"examples_at_once": 2}),
    ],
)
def test_what_is_taken_at_once_changes_nothing(options, taken, key, x64):
    layer = Hopfield(8, heads=2, **options)
    params = jax.tree.map(lambda p: 10 * p, layer.init(key))
    x, stored = (jax.random.normal(key, (3, n, 8)) for n in (2, 23))
    present = jnp.arange(23)[None] < jnp.array([23, 9, 0])[:, None]

    def total(params, x, stored, layer):
        y = layer.apply(params, x, stored=stored, present=present)
        return jnp.sum(jnp.sin(y)), y

    slopes = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
    results = [
        slopes(params, x, stored, one)
        for one in (layer, dataclasses.replace(layer, **taken))
    ]
    # A small slope is a difference of terms as large as the largest.
    largest = max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(results[0]))
    chex.assert_trees_all_close(*results, rtol=1e-10, atol=1e-13 * float(largest))


@pytest.mark.optimized
def test_memory_is_that_of_one_batch_of_patterns(key):
    layer = Hopfield(16, heads=2, batch_size=256)

    def used(number):
        lookup = HopfieldLayer(layer, quantity=number)
        params = jax.eval_shape(lookup.init, key)
        x = jax.ShapeDtypeStruct((64, 16), jnp.float32)
        compiled = jax.jit(lookup.apply).lower(params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # At most four normalized copies of the patterns, and what aligns them, but nothing
    # of 2 heads by 64 states by them, which would be as much as eight.
    copies, alignment = 4 * (2**15 - 2**13) * 16 * 4, 1024
    assert used(2**15) - used(2**13) < copies + alignment


@pytest.mark.optimized
def test_memory_is_that_of_the_examples_taken_at_once(key):
    layer = Hopfield(8, examples_at_once=2)

    def used(number):
        params = jax.eval_shape(layer.init, key)
        x, stored = (
            jax.ShapeDtypeStruct((number, n, 8), jnp.float32) for n in (64, 256)
        )

        def total(*arrays):
            params, x, stored = arrays
            return jnp.sum(jnp.sin(layer.apply(params, x, stored=stored)))

        compiled = jax.jit(jax.grad(total, (0, 1, 2))).lower(params, x, stored)
        return compiled.compile().memory_analysis().temp_size_in_bytes

    # Less than the weights, of 64 states by 256 patterns, of the others.
    assert used(32) - used(8) < 24 * (64 * 256 * 4) / 2


def test_examples_taken_in_turn_drop_weights_of_their_own(key):
    layer = Hopfield(8, dropout=0.5, examples_at_once=1)
    params = drawn(layer, key)
    x = jnp.broadcast_to(jax.random.normal(key, (4, 8)), (3, 4, 8))
    y = layer.apply(params, x, key=key)
    assert not np.allclose(y[0], y[1]) and not np.allclose(y[1], y[2])
    np.testing.assert_allclose(layer.apply(params, x)[0], layer.apply(params, x)[1])


def test_patterns_spread_over_a_mesh_are_met_where_they_lie(key):
    lookup = HopfieldLayer(Hopfield(8, heads=2), quantity=32)
    params, x = lookup.init(key), jax.random.normal(key, (5, 8))
    wanted = lookup.apply(params, x)
    mesh = Mesh(np.array(jax.devices()[:4]), ("patterns",))
    rows = NamedSharding(mesh, PartitionSpec("patterns"))
    spread = params | {"patterns": jax.device_put(params["patterns"], rows)}
    np.testing.assert_allclose(jax.jit(lookup.apply)(spread, x), wanted, rtol=1e-5)


def test_sparse_weights_are_sparse_and_whole(key):
    layer = Hopfield(8, heads=2, alpha=2.0, beta=4.0)
    params = drawn(layer, key)
    x = jax.random.normal(key, (3, 10, 8))
    found = layer.association(params, x)
    assert np.mean(found.weights == 0) > 0.5
    np.testing.assert_allclose(found.weights.sum(-1), 1, rtol=1e-5)
    heads = jnp.einsum("bhls,bhsd->blhd", found.weights, found.values)
    y = heads.reshape(3, 10, 8) @ params["output"]["kernel"]
    y = y + jnp.broadcast_to(params["output"]["bias"], y.shape)
    np.testing.assert_allclose(layer.apply(params, x), y, rtol=1e-3, atol=1e-4)


def test_convergence_is_reported_for_each_state(key):
    layer = Hopfield(8, heads=2, beta=(0.5, 3.0), updates=None, tolerance=1e-5)
    params = drawn(layer, key)
    x, stored = jax.random.normal(key, (2, 3, 6, 8))
    associated = jax.jit(layer.association)
    together = associated(params, x, stored=stored)
    assert np.all(together.converged) and len(np.unique(together.steps)) > 1
    alone = associated(params, x[:1, :1], stored=stored[:1])
    np.testing.assert_array_equal(alone.steps[0, :, 0], together.steps[0, :, 0])
    lost = associated(params, x.at[0, 0].set(jnp.nan), stored=stored)
    assert not np.any(lost.converged[0, :, 0]) and np.all(lost.converged[1:])


def test_dropout_is_driven_by_its_key(key):
    layer = Hopfield(8, dropout=0.5)
    params = drawn(layer, key)
    x = jax.random.normal(key, (2, 6, 8))
    quiet = Hopfield(8).apply(params, x)
    np.testing.assert_array_equal(layer.apply(params, x), quiet)
    keys = jax.random.split(key, 3000)
    noisy = jax.jit(jax.vmap(lambda k: layer.apply(params, x, key=k)))(keys)
    assert np.all(np.std(noisy, axis=0) > 0)
    error = 5 * np.std(noisy, axis=0) / np.sqrt(len(keys))
    assert np.all(np.abs(np.mean(noisy, axis=0) - quiet) < error + 1e-5)


def test_bad_input_is_named(key):
    for options, words in [
        ({"heads": 3}, "heads=3 does not divide state_features=8"),
        ({"heads": 0}, "heads must be a positive integer"),
        ({"beta": 0.0}, "beta must be positive; got 0.0"),
        ({"heads": 2, "beta": (1.0, 2.0, 3.0)}, "beta has 3 entries for 2 heads"),
        ({"updates": -1}, "updates must be an integer of at least 0"),
        ({"tolerance": 0}, "tolerance must be positive"),
        ({"dropout": 1.0}, "rate must be at least 0 and less than 1"),
        ({"alpha": 0.5}, "alpha must be at least 1"),
        ({"state_static": True, "head_features": 4}, "state_static needs inputs of"),
        ({"connected": True, "value_features": 5}, "connected values are projected"),
        ({"implementation": "mkl"}, "implementation must be None, 'xla' or 'cudnn'"),
        ({"implementation": "xla", "updates": 1}, "implementation is for one softmax"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"examples_at_once": 0}, "examples_at_once must be an integer of at least 1"),
        ({"batch_size": 8, "alpha": 1.5}, "batch_size is for softmax without dropout"),
    ]:
        with pytest.raises(ValueError, match=words):
            Hopfield(8, **options)
    layer, x = Hopfield(8, heads=2), jnp.ones((3, 5, 8))
    params = layer.init(key)
    for options, words in [
        (
            {"stored": jnp.ones((3, 5, 7))},
            r"stored must have shape \(\.\.\., patterns, 8",
        ),
        ({"stored": jnp.ones((3, 0, 8))}, "with at least one of them"),
        ({"stored": jnp.ones((2, 5, 8))}, "stored must have the leading axes of x"),
        ({"values": jnp.ones((3, 4, 8))}, "there are 5 stored patterns and 4 values"),
        ({"mask": jnp.ones((4, 5), bool)}, "mask must have one of the shapes"),
        ({"present": jnp.ones(5, bool)}, r"present must have shape \(3, 5\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            layer.apply(params, x, **options)
    for options, words in [
        ({"mask": jnp.ones((5, 5), int)}, "mask must be boolean, or floating"),
        ({"present": jnp.ones((3, 5))}, "present must be boolean; got float32"),
    ]:
        with pytest.raises(TypeError, match=words):
            layer.apply(params, x, **options)
    with pytest.raises(ValueError, match="give stored="):
        Hopfield(8, 6).apply({}, x)
