"""Merging of features, held against a plain loop and closed forms: arXiv 2310.06756."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn, symmetry
from kanjax.representation import (
    feature_merging,
    functional_equivalence,
    unit_merging,
    unit_pruning,
)

HAND = (
    {"kernel": jnp.array([[1.0, 1, 0], [0, 0.1, 1]]), "bias": jnp.zeros(3)},
    {"kernel": jnp.array([[1.0], [1.1], [-1]]), "bias": jnp.zeros(1)},
)
HAND_SPEC = symmetry.permutation_spec(nn.MLP((2, 3, 1)))


def duplicate(params, spec, copies, channel_axis=-1):
    """Repeat units, equal in what comes in, and share what goes out among copies."""
    leaves, structure = jax.tree.flatten(params)
    for name, times in copies.items():
        rows = np.repeat(np.arange(len(times)), times)
        for place, (_, axes) in enumerate(spec.axes):
            for axis, entry in enumerate(axes):
                if entry != name:
                    continue
                leaf = jnp.take(leaves[place], rows, axis=axis)
                if len(axes) > 1 and axis != channel_axis % len(axes):
                    shape = [1] * leaf.ndim
                    shape[axis] = len(rows)
                    leaf = leaf / jnp.asarray(np.array(times)[rows]).reshape(shape)
                leaves[place] = leaf
    return jax.tree.unflatten(structure, leaves)


def conv_net(*widths):
    a, b = widths
    return model.Sequential(
        (
            nn.Conv(1, a, (3, 3)),
            nn.Activation(jax.nn.relu),
            nn.Conv(a, b, (3, 3)),
            nn.Activation(jax.nn.relu),
            nn.GlobalPool(2),
            nn.Dense(b, 3),
        )
    )


def mlp(activation):
    return lambda *widths: nn.MLP((4, *widths, 3), activation)


def kan_net(*widths):
    return kan.KAN((4, *widths, 3), basis=bases.GaussianRBF(5))


NETS = {
    "relu": (mlp(jax.nn.relu), ("sum_in", "sum_out"), (6, 4)),
    "tanh": (mlp(jnp.tanh), ("sum_out",), (6, 4)),
    "conv": (conv_net, ("sum_in", "sum_out"), (6, 6, 1)),
    "kan": (kan_net, ("sum_out",), (6, 4)),
}


@pytest.fixture(scope="module")
def networks():
    """Each kind of network with the same units as copies."""
    made = {}
    for kind, (build, _, shape) in NETS.items():
        small = build(3, 4)
        # A bias that counts: zeros would be equal in any case.
        params = jax.tree.map(lambda p: p + 0.1, small.init(jax.random.key(1)))
        times = {"P1": [1, 4, 2], "P2": [2, 1, 1, 2]}
        spec = symmetry.permutation_spec(small)
        large = build(7, 6)
        made[kind] = (
            small,
            large,
            duplicate(params, spec, times),
            params,
            jax.random.normal(jax.random.key(2), (7, *shape))[:, :4],
        )
    return made


@pytest.mark.parametrize(
    "kind, rule",
    [(kind, rule) for kind, (_, rules, _) in NETS.items() for rule in rules],
)
def test_copies_merge_and_outputs_stay(networks, kind, rule):
    small, large, copied, params, x = networks[kind]
    spec = symmetry.permutation_spec(large)
    y = large.apply(copied, x)
    np.testing.assert_allclose(y, small.apply(params, x), atol=2e-5)
    merging = feature_merging.merge_features(copied, spec, beta=1e-6, rule=rule)
    assert merging.widths == {"P1": 3, "P2": 4}
    np.testing.assert_allclose(small.apply(merging.params, x), y, atol=2e-5)
    assert sorted(len(m) for m in merging.members["P1"]) == [1, 2, 4]
    masked = unit_merging.merge_masked(copied, spec, beta=1e-6, rule=rule)
    np.testing.assert_allclose(large.apply(masked.params, x), y, atol=2e-5)
    gap = functional_equivalence.functional_gap(
        functools.partial(large.apply, copied),
        functools.partial(small.apply, merging.params),
        x,
    )
    assert gap < 2e-5


@pytest.mark.parametrize("rule", ["sum_in", "sum_out"])
def test_three_copies_do_not_merge_into_a_single_unit(rule):
    """A unit that stands for two is twice the third in what adds up: the published
    distances are of sums. Outputs stay.
    """
    small, large = nn.MLP((4, 2, 3)), nn.MLP((4, 4, 3))
    params = small.init(jax.random.key(14))
    copied = duplicate(params, symmetry.permutation_spec(small), {"P1": [1, 3]})
    spec = symmetry.permutation_spec(large)
    merging = feature_merging.merge_features(copied, spec, beta=1e-6, rule=rule)
    assert merging.widths == {"P1": 3}
    x = jax.random.normal(jax.random.key(15), (5, 4))
    np.testing.assert_allclose(
        nn.MLP((4, 3, 3)).apply(merging.params, x), small.apply(params, x), atol=1e-5
    )


def test_sums_of_inputs_are_wrong_under_tanh(networks):
    small, large, copied, _, x = networks["tanh"]
    spec = symmetry.permutation_spec(large)
    merging = feature_merging.merge_features(copied, spec, beta=1e-6, rule="sum_in")
    assert merging.widths == {"P1": 3, "P2": 4}
    gap = jnp.abs(small.apply(merging.params, x) - large.apply(copied, x)).max()
    assert gap > 0.01


def test_by_hand():
    table = unit_merging.unit_distances(HAND, HAND_SPEC, "P1")
    expected = [[0, 0.02, 6], [0.02, 0, 6.22], [6, 6.22, 0]]
    np.testing.assert_allclose(table, expected, atol=1e-5)
    merging = feature_merging.merge_features(HAND, HAND_SPEC, beta=0.01, rule="sum_in")
    kernel, out = (p["kernel"] for p in merging.params)
    np.testing.assert_allclose(kernel, [[2, 0], [0.1, 1]], rtol=1e-6)
    np.testing.assert_allclose(out, [[1.05], [-1]], rtol=1e-6)
    assert [m.tolist() for m in merging.members["P1"]] == [[0, 1], [2]]
    assert merging.merges.group.tolist() == [0, -1, -1]
    np.testing.assert_allclose(merging.merges.distance[0], 0.02, rtol=1e-5)
    np.testing.assert_allclose(merging.merges.largest[0], 6.22, rtol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 0.99])
def test_two_units_are_left_below_beta_of_1(beta):
    merging = feature_merging.merge_features(HAND, HAND_SPEC, beta=beta)
    assert merging.widths == {"P1": 2}


def test_a_merge_moves_outputs_as_the_identity_says(x64):
    """Of two ReLU units, with their weights out averaged and those in added."""
    rng = np.random.default_rng(0)
    weights, out = rng.normal(size=(3, 2)), rng.normal(size=(2, 2))
    x = jnp.asarray(rng.normal(size=(50, 3)))
    params = (
        {"kernel": jnp.asarray(weights), "bias": jnp.zeros(2)},
        {"kernel": jnp.asarray(out), "bias": jnp.zeros(2)},
    )
    net = nn.MLP((3, 2, 2))
    spec = symmetry.permutation_spec(net)
    merged, counts = unit_merging.merge_pair(
        params, spec, "P1", (0, 1), jnp.ones(2), rule="sum_in"
    )
    z = np.asarray(x) @ weights
    a, b = np.maximum(z, 0).T
    both = np.maximum(z.sum(axis=1), 0)
    lost = np.outer((a - b) / 2, out[0] - out[1]) + np.outer(
        a + b - both, (out[0] + out[1]) / 2
    )
    np.testing.assert_allclose(
        net.apply(params, x) - net.apply(merged, x), lost, atol=1e-12
    )
    np.testing.assert_array_equal(counts, [2, 0])


def by_a_loop(kernels, biases, beta, rule):
    """The published algorithm on a perceptron, units taken out one by one."""
    kernels, biases = [np.array(k) for k in kernels], [np.array(b) for b in biases]
    initial = [k.shape[1] for k in kernels[:-1]]
    counts = [np.ones(n) for n in initial]
    for rounds in itertools.count():
        merged = False
        for layer in range(len(kernels) - 1):
            vectors = np.concatenate([kernels[layer], kernels[layer + 1].T]).T
            table = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=-1)
            if len(table) < 2:
                continue
            off = table + np.diag(np.full(len(table), np.inf))
            m, n = np.unravel_index(off.argmin(), off.shape)
            if table[m, n] > beta * table.max() or rounds >= initial[layer]:
                continue
            merged, c = True, counts[layer]

            def mean(u, m=m, n=n, c=c):
                return (c[m] * u[m] + c[n] * u[n]) / (c[m] + c[n])

            def total(u, m=m, n=n):
                return u[m] + u[n]

            into, out = (total, mean) if rule == "sum_in" else (mean, total)
            rest = [k for k in range(len(table)) if k not in (m, n)]

            def change(u, how, rest=rest):
                return np.concatenate([u[rest], how(u)[None]])

            kernels[layer] = change(kernels[layer].T, into).T
            biases[layer] = change(biases[layer], into)
            kernels[layer + 1] = change(kernels[layer + 1], out)
            counts[layer] = change(c, total)
        if not merged:
            return kernels, biases


@pytest.mark.parametrize("rule", ["sum_in", "sum_out"])
def test_the_program_is_the_loop(x64, rule):
    net = nn.MLP((4, 12, 9, 3))
    params = jax.tree.map(lambda p: p.astype(float) + 0.1, net.init(jax.random.key(3)))
    x = jax.random.normal(jax.random.key(4), (6, 4))
    spec = symmetry.permutation_spec(net)
    betas = (0.0, 0.2, 0.4, 0.7)
    path = feature_merging.merge_path(params, spec, betas, rule=rule)
    assert path[0].widths == {"P1": 12, "P2": 9}
    for beta, merging in zip(betas, path, strict=True):
        kernels, biases = by_a_loop(
            [p["kernel"] for p in params], [p["bias"] for p in params], beta, rule
        )
        widths = [k.shape[1] for k in kernels[:-1]]
        assert list(merging.widths.values()) == widths
        smaller = nn.MLP((4, *widths, 3))
        expected = tuple(
            {"kernel": k, "bias": b} for k, b in zip(kernels, biases, strict=True)
        )
        # The same units, in another order.
        np.testing.assert_allclose(
            smaller.apply(merging.params, x), smaller.apply(expected, x), rtol=1e-9
        )
    assert any(m.widths["P1"] < 12 for m in path)


def test_a_path_of_a_single_layer_falls_and_an_order_of_units_is_no_matter():
    net = nn.MLP((4, 12, 3))
    params, spec = net.init(jax.random.key(5)), symmetry.permutation_spec(net)
    betas = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)
    path = feature_merging.merge_path(params, spec, betas)
    widths = [m.widths["P1"] for m in path]
    assert widths == sorted(widths, reverse=True) and widths[0] == 12 > widths[-1]
    order = symmetry.random_permutation(spec, jax.random.key(6))
    turned = symmetry.apply_permutation(spec, order, params)
    again = feature_merging.merge_features(turned, spec, beta=0.4)
    single = path[3]
    assert again.widths == single.widths
    former = {
        frozenset(np.asarray(order["P1"])[m].tolist()) for m in again.members["P1"]
    }
    assert former == {frozenset(m.tolist()) for m in single.members["P1"]}


def test_nested_merges_average_all_that_they_stand_for():
    params = jax.tree.map(jnp.asarray, HAND)
    counts = jnp.ones(3)
    for pair in ((0, 1), (0, 2)):
        params, counts = unit_merging.merge_pair(
            params, HAND_SPEC, "P1", pair, counts, rule="sum_in"
        )
    np.testing.assert_allclose(params[1]["kernel"][0], [1.1 / 3], rtol=1e-6)
    np.testing.assert_allclose(params[0]["kernel"][:, 0], [2, 1.1], rtol=1e-6)
    np.testing.assert_array_equal(counts, [3, 0, 0])


def test_rounds_are_limited_and_units_can_be_left_out(networks):
    _, large, copied, _, _ = networks["relu"]
    spec = symmetry.permutation_spec(large)
    merge = functools.partial(feature_merging.merge_features, copied, spec, beta=1e-6)
    assert merge(max_ratio=0.0).widths == {"P1": 7, "P2": 6}
    assert merge(max_ratio=1 / 7).widths == {"P1": 6, "P2": 5}
    assert merge(exclude=("P1",)).widths == {"P1": 7, "P2": 4}


def test_a_residual_stream_is_merged_as_a_single_set_of_units():
    block = model.Residual(
        model.Sequential((nn.Dense(4, 4), nn.Activation(jax.nn.relu)))
    )
    net = model.Sequential((nn.Dense(3, 4), block, nn.Dense(4, 2)))
    params = jax.tree.map(lambda p: p + 0.1, net.init(jax.random.key(7)))
    spec = symmetry.permutation_spec(net)
    (name,) = spec.names
    # Unit 3 becomes a copy of unit 0, by hand: rows share what goes out.
    first, (inner, _), last = params
    same = np.array([0, 1, 2, 0])
    half = jnp.array([0.5, 1, 1, 0.5])
    copied = (
        {"kernel": first["kernel"][:, same], "bias": first["bias"][same]},
        (
            {
                "kernel": inner["kernel"][np.ix_(same, same)] * half[:, None],
                "bias": inner["bias"][same],
            },
            (),
        ),
        {"kernel": last["kernel"][same, :] * half[:, None], "bias": last["bias"]},
    )
    x = jax.random.normal(jax.random.key(8), (5, 3))
    masked = unit_merging.merge_masked(copied, spec, beta=1e-6)
    assert masked.counts[name].tolist() == [2, 1, 1, 0]
    np.testing.assert_allclose(
        net.apply(masked.params, x), net.apply(copied, x), atol=1e-5
    )


def test_parameters_of_other_libraries_merge_alike():
    """flax keeps output channels last, equinox first."""
    net = nn.MLP((4, 6, 3))
    small = nn.MLP((4, 3, 3))
    params = duplicate(
        small.init(jax.random.key(9)),
        symmetry.permutation_spec(small),
        {"P1": [2, 2, 2]},
    )
    flax = {
        f"Dense_{i}": {"kernel": p["kernel"], "bias": p["bias"]}
        for i, p in enumerate(params)
    }
    equinox = {
        f"layer_{i}": {"weight": p["kernel"].T, "bias": p["bias"]}
        for i, p in enumerate(params)
    }
    expected = feature_merging.merge_features(
        params, symmetry.permutation_spec(net), beta=1e-6
    ).params
    got = feature_merging.merge_features(flax, symmetry.mlp_spec(flax), beta=1e-6)
    for i, p in enumerate(expected):
        kernel = got.params[f"Dense_{i}"]["kernel"]
        np.testing.assert_allclose(kernel, p["kernel"], rtol=1e-5)
    got = feature_merging.merge_features(
        equinox, symmetry.mlp_spec(equinox), beta=1e-6, channel_axis=0
    )
    for i, p in enumerate(expected):
        weight = got.params[f"layer_{i}"]["weight"]
        np.testing.assert_allclose(weight.T, p["kernel"], rtol=1e-5)


def test_batch_norm_is_folded_and_then_merges_exactly():
    def build(width):
        return model.Sequential(
            (
                nn.Dense(4, width),
                nn.BatchNorm(width),
                nn.Activation(jax.nn.relu),
                nn.Dense(width, 2),
            )
        )

    net = build(4)
    params, state = net.init(jax.random.key(10)), net.initial_state()
    x = jax.random.normal(jax.random.key(11), (32, 4))
    _, state = net.apply(params, x, state=state, train=True)
    plain, folded = nn.fold_batch_norm(net, params, state)
    spec = symmetry.permutation_spec(plain)
    copied = duplicate(folded, spec, {"P1": [2, 1, 1, 2]})
    merged = feature_merging.merge_features(
        copied,
        symmetry.permutation_spec(
            model.Sequential(
                (nn.Dense(4, 6), nn.Activation(jax.nn.relu), nn.Dense(6, 2))
            )
        ),
        beta=1e-6,
        rule="sum_in",
    )
    np.testing.assert_allclose(
        plain.apply(merged.params, x),
        net.apply(params, x, state=state)[0],
        atol=1e-5,
    )


def test_complexity_counts_features_and_dead_units(networks):
    _, large, copied, _, _ = networks["relu"]
    spec = symmetry.permutation_spec(large)
    keep = {"P1": jnp.arange(7) != 0}
    masked = unit_pruning.mask_units(copied, spec, keep)
    counted = feature_merging.feature_complexity(masked, spec, beta=1e-6)
    # The unit in place 0 had no copy.
    assert counted["P1"] == (3, 3 / 7, 1)
    assert counted["P2"][0] == 4 and counted["P2"].dead == 0


def test_pruning_by_magnitude_keeps_the_largest(networks):
    _, large, copied, _, _ = networks["relu"]
    spec = symmetry.permutation_spec(large)
    vectors = unit_pruning.unit_vectors(copied, spec, "P1")
    norms = np.linalg.norm(np.asarray(vectors), axis=1)
    keep = jax.jit(
        lambda width: unit_pruning.keep_largest(copied, spec, {"P1": width})
    )(4)
    assert norms[keep["P1"]].min() >= norms[~keep["P1"]].max() - 1e-6
    assert keep["P1"].sum() == 4


@pytest.mark.parametrize("kind", NETS)
def test_units_masked_and_left_out_are_one_function(networks, kind):
    _, large, copied, _, x = networks[kind]
    spec = symmetry.permutation_spec(large)
    widths = {"P1": 2, "P2": 5}
    drawn = unit_pruning.keep_random(jax.random.key(0), spec, widths)
    assert [int(v.sum()) for v in drawn.values()] == [2, 5]
    smaller = unit_pruning.select_units(copied, spec, drawn)
    masked = unit_pruning.mask_units(copied, spec, drawn)
    y = NETS[kind][0](2, 5).apply(smaller, x)
    np.testing.assert_allclose(y, large.apply(masked, x), atol=1e-5)
    counted = unit_pruning.cost(copied, spec, widths)
    assert counted.parameters == model.count_parameters(smaller)
    if kind == "relu":
        assert counted.flops == 4 * 2 + 2 * 5 + 5 * 3


def test_cost_counts_positions_of_kernels():
    net = conv_net(2, 5)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    spec = symmetry.permutation_spec(net)
    positions = {path: 36 for path, axes in spec.axes if len(axes) == 4}
    counted = unit_pruning.cost(shapes, spec, positions=positions)
    assert counted.flops == 36 * (9 * 2 + 9 * 2 * 5) + 5 * 3
    assert counted.parameters == model.count_parameters(shapes)


def test_symmetries_of_a_network_leave_no_gap(networks):
    _, large, copied, _, x = networks["relu"]
    spec = symmetry.permutation_spec(large)
    order = symmetry.random_permutation(spec, jax.random.key(12))
    moved = symmetry.apply_permutation(spec, order, copied)
    scale = {
        name: jnp.exp(jax.random.normal(jax.random.key(i), (size,)))
        for i, (name, size) in enumerate(spec.sizes)
    }
    moved = functional_equivalence.rescale_units(moved, spec, scale)
    f, g = (functools.partial(large.apply, p) for p in (copied, moved))
    assert functional_equivalence.functional_gap(f, g, x) < 1e-4
    gap = functional_equivalence.naturality_gap
    assert gap(copied, moved) > 0.1
    back = functional_equivalence.rescale_units(
        moved, spec, {name: 1 / s for name, s in scale.items()}
    )
    back = symmetry.apply_permutation(
        spec, symmetry.specs.invert_permutation(order), back
    )
    assert gap(copied, back) < 1e-5


def test_layerwise_connectivity_is_0_with_itself_and_of_linear_layers_in_order(
    networks,
):
    _, large, copied, _, x = networks["relu"]
    other = large.init(jax.random.key(13))
    same = functional_equivalence.layerwise_connectivity(
        large.activations, copied, copied, x
    )
    np.testing.assert_allclose(same, 0, atol=1e-6)
    gaps = functional_equivalence.layerwise_connectivity(
        large.activations, copied, other, x
    )
    assert gaps[0] < 1e-6 < gaps[-1]
    z = [np.ravel(large.activations(p, x)[1]) for p in (copied, other)]
    middle = jax.tree.map(lambda p, q: (p + q) / 2, copied, other)
    at, mean = np.ravel(large.activations(middle, x)[1]), (z[0] + z[1]) / 2
    cosine = at @ mean / np.linalg.norm(at) / np.linalg.norm(mean)
    np.testing.assert_allclose(gaps[1], 1 - cosine, atol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: feature_merging.merge_features(HAND, HAND_SPEC, beta=1.0),
            r"\[0, 1\)",
        ),
        (lambda: feature_merging.merge_path(HAND, HAND_SPEC, [-0.1]), "beta is -0.1"),
        (
            lambda: feature_merging.merge_features(HAND, HAND_SPEC, rule="mean"),
            "rule is 'mean'",
        ),
        (
            lambda: feature_merging.merge_features(HAND, HAND_SPEC, exclude=("P1",)),
            "no units to merge",
        ),
        (lambda: unit_pruning.unit_vectors(HAND, HAND_SPEC, "P9"), "no units 'P9'"),
        (
            lambda: feature_merging.merge_features(HAND[:1], HAND_SPEC),
            r"lacks .*\[1\]\['kernel'\]",
        ),
        (
            lambda: unit_pruning.unit_vectors(
                nn.MLP((2, 4, 1)).init(jax.random.key(0)), HAND_SPEC, "P1"
            ),
            r"does not fit params at \[0\]\['bias'\]",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_blocks_are_refused():
    spec = symmetry.spec_from_axes(
        {"in": (None, "P"), "out": (("P", 2), None)},
        params := {"in": jnp.ones((3, 2)), "out": jnp.ones((4, 1))},
    )
    with pytest.raises(ValueError, match="made of blocks of the units 'P'"):
        feature_merging.merge_features(params, spec)
