"""What takes any pure function gives the same for networks of four libraries."""

from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from kanjax import interop, nn, persample, symmetry, taps, training
from kanjax.landscape import opposing_signals
from kanjax.representation import (
    barlow_twins,
    equiangular,
    feature_merging,
    functional_equivalence,
    grad_cam,
    neural_collapse,
    similarity,
    unit_pruning,
)
from kanjax.symmetry import fisher_information

X = jax.random.normal(jax.random.key(1), (12, 3))
Y = jnp.arange(12) % 2
WIDTH = 6


class Case(NamedTuple):
    """A perceptron 3-6-2 with ReLU, and the same of any width."""

    apply: Any
    hidden: Any
    params: Any
    run: Any
    channel_axis: int


class Linen(linen.Module):
    width: int

    @linen.compact
    def __call__(self, x):
        hidden = jax.nn.relu(linen.Dense(self.width)(x))
        return linen.Dense(2)(hidden)


class Nnx(nnx.Module):
    def __init__(self, width):
        self.first = nnx.Linear(3, width, rngs=nnx.Rngs(0))
        self.last = nnx.Linear(width, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.last(jax.nn.relu(self.first(x)))


def leaves(params):
    """Kernels and biases in kanjax' layout."""
    return tuple((p["kernel"], p["bias"]) for p in params)


def kanjax_case(params):
    net = nn.MLP((3, WIDTH, 2), jax.nn.relu)
    run = lambda p, x: nn.MLP((3, len(p[0]["bias"]), 2), jax.nn.relu).apply(p, x)  # noqa: E731
    hidden = lambda p, x: taps.record(net, p, x)["[0]"]  # noqa: E731
    return Case(net.apply, hidden, params, run, -1)


def linen_case(params):
    names = ("Dense_0", "Dense_1")
    ours = {
        name: {"kernel": k, "bias": b}
        for name, (k, b) in zip(names, leaves(params), strict=True)
    }

    def run(p, x):
        return Linen(len(p["Dense_0"]["bias"])).apply({"params": p}, x)

    def hidden(p, x):
        _, kept = Linen(WIDTH).apply({"params": p}, x, capture_intermediates=True)
        return jax.nn.relu(kept["intermediates"]["Dense_0"]["__call__"][0])

    return Case(run, hidden, ours, run, -1)


def nnx_case(params):
    apply, state = interop.from_flax(Nnx(WIDTH))
    (k, b), (l, c) = leaves(params)  # noqa: E741
    order = {"first": {"kernel": k, "bias": b}, "last": {"kernel": l, "bias": c}}
    like = jax.tree.structure(state)
    ours = jax.tree.unflatten(like, jax.tree.leaves(order))

    def run(p, x):
        width = jax.tree.leaves(p)[0].shape[0]
        small, _ = interop.from_flax(Nnx(width))
        return small(p, x)

    def hidden(p, x):
        bias, kernel = jax.tree.leaves(p)[:2]
        return jax.nn.relu(x @ kernel + bias[None])

    return Case(apply, hidden, ours, run, -1)


def equinox_case(params):
    def build(width):
        net = eqx.nn.MLP(3, 2, width, 1, jax.nn.relu, key=jax.random.key(0))
        return interop.from_equinox(net)

    apply, like = build(WIDTH)
    ours = eqx.tree_at(
        lambda m: [v for layer in m.layers for v in (layer.weight, layer.bias)],
        like,
        [v for k, b in leaves(params) for v in (k.T, b)],
    )

    def run(p, x):
        # A module knows its sizes: the leaves go into one of the new width.
        apply, like = build(len(p.layers[0].bias))
        leaves = jax.tree.leaves(p)
        return apply(jax.tree.unflatten(jax.tree.structure(like), leaves), x)

    hidden = lambda p, x: jax.nn.relu(jax.vmap(p.layers[0])(x))  # noqa: E731
    return Case(apply, hidden, ours, run, 0)


@pytest.fixture(scope="module")
def ours():
    """Two units are one, and one is another's multiple with its sign."""
    params = nn.MLP((3, WIDTH, 2), jax.nn.relu).init(jax.random.key(0))
    kernel = params[0]["kernel"].at[:, 3].set(params[0]["kernel"][:, 1])
    bias = jnp.array([0.1, 0.2, -0.3, 0.2, 0.5, -0.1])
    out = params[1]["kernel"].at[3].set(params[1]["kernel"][1])
    return (
        {"kernel": kernel, "bias": bias},
        {"kernel": out, "bias": jnp.array([0.3, -0.4])},
    )


@pytest.fixture(
    scope="module",
    params=[linen_case, nnx_case, equinox_case],
    ids=["linen", "nnx", "equinox"],
)
def both(request, ours):
    return kanjax_case(ours), request.param(ours)


def test_examples_by_themselves(both):
    expected, values = (jax.jit(measures, static_argnums=0)(*split(c)) for c in both)
    assert len(expected) == 6
    for a, b in zip(expected, values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def split(case):
    """What stays and what is traced."""
    return case._replace(params=None), case.params


def measures(case, params):
    case = case._replace(params=params)
    loss = training.classification(case.apply)
    norm = lambda _, gradient: optax.tree.norm(gradient)  # noqa: E731
    fisher = fisher_information.diagonal_fisher(case.apply, case.params, X)
    spike = opposing_signals.decompose_spike(loss, case.params, (X, Y), 0.1)
    return (
        persample.losses(loss, case.params, (X, Y)),
        persample.map_examples(norm, loss, case.params, (X, Y), batch_size=5),
        persample.mean(norm, loss, case.params, (X, Y), batch_size=5),
        optax.tree.sum(fisher),
        spike.slope,
        spike.curvature,
    )


def test_features_and_what_is_made_of_them(both):
    views = (lambda key, x: x + 0.1 * jax.random.normal(key, x.shape),) * 2
    basis = equiangular.simplex_basis(3)

    def values(case, params):
        case = case._replace(params=params)
        h = case.hidden(case.params, X)
        out = case.apply(case.params, X)
        loss = barlow_twins.twin_loss(case.apply, views)
        maps = h.reshape(3, 2, 2, WIDTH)
        head = lambda a: jnp.mean(a, axis=(1, 2))[:, :2]  # noqa: E731
        return (
            jnp.stack(neural_collapse.feature_collapse(h, Y, out)),
            loss(case.params, X, jax.random.key(2))[0],
            equiangular.logits(out, basis),
            grad_cam.grad_cam(head, maps),
        )

    program = jax.jit(values, static_argnums=0)
    for a, b in zip(*(program(*split(case)) for case in both), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    h, other = (case.hidden(case.params, X) for case in both)
    np.testing.assert_allclose(similarity.linear_cka(h, other), 1, rtol=1e-5)


def test_merged_and_pruned_networks_run_in_their_library(both):
    widths = []
    for case in both:
        spec = symmetry.mlp_spec(case.params)
        merging = feature_merging.merge_features(
            case.params, spec, beta=1e-6, channel_axis=case.channel_axis
        )
        widths.append(merging.widths["P1"])
        before = case.apply(case.params, X)
        gap = functional_equivalence.functional_gap(
            lambda x, case=case, p=merging.params: case.run(p, x),
            lambda x, case=case: case.apply(case.params, x),
            X,
        )
        assert gap < 1e-5 * jnp.abs(before).max()
        keep = unit_pruning.keep_largest(case.params, spec, {"P1": 3})
        small = unit_pruning.select_units(case.params, spec, keep)
        zeros = unit_pruning.mask_units(case.params, spec, keep)
        np.testing.assert_allclose(
            case.run(small, X), case.apply(zeros, X), rtol=1e-5, atol=1e-6
        )
        scaled = functional_equivalence.rescale_units(
            case.params,
            spec,
            {"P1": jnp.linspace(0.5, 2, WIDTH)},
            channel_axis=case.channel_axis,
        )
        np.testing.assert_allclose(case.apply(scaled, X), before, rtol=1e-4, atol=1e-5)
    assert widths == [WIDTH - 1, WIDTH - 1]
