import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, nn, training


@pytest.fixture
def quadratic(key, x64):
    h = jax.random.normal(key, (5, 5), jnp.float64)
    h, a, b = h + h.T, *jax.random.normal(jax.random.key(1), (2, 5), jnp.float64)
    loss = lambda p: p["w"] @ h @ p["w"] / 2 + 3 * p["w"][0]  # noqa: E731
    return h, {"w": a}, {"w": b}, loss


@pytest.mark.parametrize("alpha", [0.3, 0.5])
def test_a_quadratic_has_the_closed_form(quadratic, alpha):
    h, a, b, loss = quadratic
    d = b["w"] - a["w"]
    exact = -alpha * (1 - alpha) / 2 * d @ h @ d
    along = landscape.interpolate(a, b, alpha)
    direct = loss(along) - (1 - alpha) * loss(a) - alpha * loss(b)
    np.testing.assert_allclose(direct, exact, rtol=1e-10)
    for found in (
        landscape.barrier_second_order(loss, a, b, alpha),
        landscape.barrier_from_base(loss, a, b, {"w": jnp.ones(5)}, alpha),
    ):
        np.testing.assert_allclose(found, exact, rtol=1e-10)
    integral = landscape.barrier_curvature_integral(loss, a, b, alpha, points=1000)
    np.testing.assert_allclose(integral, exact, rtol=1e-5)
    # Without gradients the ends see the opposite of the base.
    bare = landscape.barrier_second_order(loss, a, b, alpha, gradients=False)
    np.testing.assert_allclose(bare, -exact, rtol=1e-10)


def test_the_curvature_identity_on_a_network(key):
    net = nn.MLP((4, 12, 3), jnp.tanh)
    x = jax.random.normal(key, (40, 4))
    y = jnp.argmax(x[:, :3], axis=1)
    loss = training.on_batch(training.classification(net.apply), (x, y))
    a, b = (net.init(k) for k in jax.random.split(key))
    wall = landscape.line(loss, a, b, alphas=[0.0, 0.4, 1.0]).losses
    direct = wall[1] - 0.6 * wall[0] - 0.4 * wall[2]
    found = landscape.barrier_curvature_integral(loss, a, b, 0.4)
    np.testing.assert_allclose(found, direct, rtol=1e-3)


def test_kinks_carry_curvature_that_the_integral_misses():
    kink = lambda p: jnp.abs(p)  # noqa: E731
    a, b = -jnp.ones(()), jnp.ones(())
    assert landscape.barrier_curvature_integral(kink, a, b) == 0
    line = landscape.line(kink, a, b, points=3).losses
    assert line[1] - (line[0] + line[2]) / 2 == -1


def test_the_toy_landscape_seen_from_its_saddle():
    a, b = landscape.valley_floor(1.0), landscape.valley_floor(-1.0)
    # At the minima the valley is flat across the saddle: curvature 4 + 4 over 16.
    d = b - a
    h = jax.hessian(landscape.two_valleys)
    at_ends = d @ (h(a) + h(b)) @ d / 16
    found = landscape.barrier_second_order(landscape.two_valleys, a, b)
    np.testing.assert_allclose(found, at_ends, rtol=1e-6)
    saddle = landscape.barrier_from_base(landscape.two_valleys, a, b, jnp.zeros(2))
    np.testing.assert_allclose(saddle, -d @ h(jnp.zeros(2)) @ d / 8, rtol=1e-6)
    assert saddle == 1.0


def test_jit_vmap_and_grad(quadratic):
    h, a, b, loss = quadratic
    found = lambda b: landscape.barrier_second_order(loss, a, b)  # noqa: E731
    slope = jax.jit(jax.grad(found))(b)["w"]
    np.testing.assert_allclose(slope, -h @ (b["w"] - a["w"]) / 4, rtol=1e-9, atol=1e-10)
    stack = {"w": jnp.stack([b["w"], 2 * b["w"]])}
    together = jax.vmap(
        lambda b: landscape.barrier_curvature_integral(loss, a, b, points=20)
    )(stack)
    alone = landscape.barrier_curvature_integral(loss, a, {"w": 2 * b["w"]}, points=20)
    np.testing.assert_allclose(together[1], alone, rtol=1e-10)


def test_bad_input_is_named():
    a = jnp.ones(2)
    with pytest.raises(ValueError, match="points is 0"):
        landscape.barrier_curvature_integral(jnp.sum, a, a, points=0)
    with pytest.raises(ValueError, match="a and base differ"):
        landscape.barrier_from_base(jnp.sum, a, a, jnp.ones(3))
    with pytest.raises(ValueError, match="a and b differ"):
        landscape.barrier_second_order(jnp.sum, a, jnp.ones(3))
