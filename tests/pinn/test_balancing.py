"""Weights of points and of terms, and pseudo-time, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, pinn
from kanjax.pinn import balancing, losses

VALUES = {
    "residual": np.array([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]),
    "edge": np.array([[0.5], [-2.0]]),
}
OLD = {"residual": np.array([1.0, 2.0, 3.0]), "edge": np.array([1.0, 0.5])}
SIZES = {"residual": np.array([5.0, 1.0, 0.0]), "edge": np.array([0.5, 2.0])}


@pytest.fixture
def case(x64):
    return jax.tree.map(jnp.asarray, (OLD, VALUES))


def test_self_adaptive_weights_climb_the_loss(case):
    old, values = case

    def loss(weights):
        return sum(jnp.sum(w * jnp.sum(values[k] ** 2, 1)) for k, w in weights.items())

    slopes = jax.grad(loss)(old)
    new = balancing.self_adaptive_weights(old, values, rate=0.3)
    for name, w in new.items():
        np.testing.assert_allclose(w, OLD[name] + 0.3 * slopes[name], rtol=1e-12)
        np.testing.assert_allclose(w, OLD[name] + 0.3 * SIZES[name] ** 2, rtol=1e-12)


def test_residual_attention_is_a_running_share(case):
    new = balancing.residual_attention(*case, decay=0.9, rate=0.2)
    for name, size in SIZES.items():
        wanted = 0.9 * OLD[name] + 0.2 * size / size.max()
        np.testing.assert_allclose(new[name], wanted, rtol=1e-12)
    # It settles at rate / (1 - decay) where the residual is largest.
    attention = {"r": jnp.zeros(2)}
    for _ in range(200):
        attention = balancing.residual_attention(
            attention, {"r": jnp.array([[1.0], [-4.0]])}, decay=0.9, rate=0.2
        )
    np.testing.assert_allclose(attention["r"], [0.5, 2.0], rtol=1e-6)
    still = balancing.residual_attention({"r": jnp.ones(2)}, {"r": jnp.zeros((2, 1))})
    np.testing.assert_allclose(still["r"], 0.999)


def test_relobralo_is_the_paper_s_formula(x64):
    old, now = {"a": 1.5, "b": 0.5}, {"a": 2.0, "b": 0.3}
    previous, first = {"a": 2.5, "b": 0.2}, {"a": 10.0, "b": 8.0}
    arrays = jax.tree.map(jnp.asarray, (old, now, previous, first))

    def balance(since):
        powers = np.exp([now[k] / (0.7 * since[k]) for k in now])
        return 2 * powers / powers.sum()

    for lookback, history in ((1.0, np.array([1.5, 0.5])), (0.0, balance(first))):
        new = balancing.relobralo(
            *arrays,
            key=jax.random.key(0),
            temperature=0.7,
            decay=0.8,
            lookback=lookback,
        )
        wanted = 0.8 * history + 0.2 * balance(previous)
        np.testing.assert_allclose([new["a"], new["b"]], wanted, rtol=1e-12)


NET = nn.MLP((1, 4, 2), jnp.tanh)
PAIR = pinn.Problem(
    pinn.interval(0, 1),
    lambda u, z: {"both": u(z) ** 2 - z[0], "sum": jnp.sum(u(z))},
    outputs=2,
)


def test_pseudo_time_adds_the_step_from_the_last_solution(x64):
    params, before = (
        pinn.initialize(PAIR, NET, key=jax.random.key(k)) for k in range(2)
    )
    stepped = losses.pseudo_time(PAIR, NET, before, {"both": 0.25})
    plain, z = pinn.residuals(PAIR, NET), jnp.array([0.3])
    u, old = (np.asarray(NET.apply(p.network, z)) for p in (params, before))
    np.testing.assert_allclose(
        stepped["both"](params, z), u**2 - 0.3 + (u - old) / 0.25, rtol=1e-12
    )
    np.testing.assert_array_equal(stepped["sum"](params, z), plain["sum"](params, z))
    # At the last solution itself the gradient alone differs: by r du / tau.
    points = {"residual": z[None]}
    at = losses.pseudo_time(PAIR, NET, params, {"both": 0.25})
    slopes = [
        jax.grad(lambda p, r=r: losses.loss({"both": r["both"]}, p, points))(params)
        for r in (at, plain)
    ]
    r = plain["both"](params, z)
    wanted = jax.grad(lambda p: 2 * r @ NET.apply(p.network, z) / 0.25)(params)
    difference = jax.tree.map(jnp.subtract, *slopes)
    for got, expected in zip(
        jax.tree.leaves(difference), jax.tree.leaves(wanted), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ({"momentum": 1.0}, r"names equations, here \['both', 'sum'\]; got 'momentum'"),
        ({"both": 0.0}, "steps of pseudo-time must not be 0"),
    ],
)
def test_bad_pseudo_time(steps, words):
    params = pinn.initialize(PAIR, NET, key=jax.random.key(0))
    with pytest.raises(ValueError, match=words):
        losses.pseudo_time(PAIR, NET, params, steps)
