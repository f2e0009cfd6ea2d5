import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import landscape

H = jnp.diag(jnp.array([1.0, 4.0, 9.0]))


def bowl(p):
    return p["w"] @ H @ p["w"] / 2


AT = {"w": jnp.array([1.0, -0.5, 0.2])}


def test_sam_gradient_in_closed_form():
    g = H @ AT["w"]
    value, found = landscape.sam_gradient(bowl, AT, radius=0.1)
    np.testing.assert_allclose(value, bowl(AT), rtol=1e-6)
    expected = H @ (AT["w"] + 0.1 * g / jnp.linalg.norm(g))
    np.testing.assert_allclose(found["w"], expected, rtol=1e-5)
    t = jnp.abs(AT["w"]) + 0.01
    _, found = landscape.sam_gradient(bowl, AT, radius=0.5, adaptive=True)
    expected = H @ (AT["w"] + 0.5 * t**2 * g / jnp.linalg.norm(t * g))
    np.testing.assert_allclose(found["w"], expected, rtol=1e-5)


def test_sam_agrees_with_optax():
    outer, inner = (
        optax.sgd(0.1),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.05)),
    )
    sam = optax.contrib.sam(outer, inner, sync_period=2)
    state, p = sam.init(AT), AT
    for _ in range(2):
        updates, state = sam.update(jax.grad(bowl)(p), state, p)
        p = optax.apply_updates(p, updates)
    _, gradient = landscape.sam_gradient(bowl, AT, radius=0.05)
    np.testing.assert_allclose(p["w"], AT["w"] - 0.1 * gradient["w"], rtol=1e-4)


def test_metrics_pass_and_zero_gradients_stay():
    loss = lambda p, scale: (scale * bowl(p), {"m": 1.0})  # noqa: E731
    (value, metrics), gradient = landscape.sam_gradient(loss, {"w": jnp.zeros(3)}, 2.0)
    assert value == 0 and metrics == {"m": 1.0}
    np.testing.assert_array_equal(gradient["w"], 0)


def test_asam_does_not_see_the_scale_of_layers():
    net = lambda p: (p["a"] * p["b"] - 1) ** 2  # noqa: E731
    p = {"a": jnp.array(2.0), "b": jnp.array(1.0)}
    q = {"a": jnp.array(20.0), "b": jnp.array(0.1)}
    for adaptive, equal in ((True, True), (False, False)):
        g = [
            landscape.sam_gradient(net, w, radius=0.1, adaptive=adaptive, eta=0.0)[1]
            for w in (p, q)
        ]
        # Gradients scale inversely to the weights when the two points are equivalent.
        same = np.isclose(g[0]["a"] * p["a"], g[1]["a"] * q["a"], rtol=1e-3)
        assert same == equal


def test_worst_rise_of_a_bowl_is_its_stiffest_direction(key):
    zero = {"w": jnp.zeros(3)}
    found = jax.jit(
        lambda k: landscape.worst_rise(bowl, zero, k, radius=0.3, steps=60)
    )(key)
    np.testing.assert_allclose(found.rise, 0.5 * 9 * 0.09, rtol=1e-3)
    np.testing.assert_allclose(jnp.abs(found.params["w"]), [0, 0, 0.3], atol=5e-3)
    flat = landscape.worst_rise(lambda p: -bowl(p), zero, key, radius=0.3)
    assert flat.rise == 0


def test_a_loss_that_blows_up_in_the_ball_shows(key):
    found = landscape.worst_rise(
        lambda p: jnp.sum(jnp.log(p)), jnp.full(3, 0.1), key, radius=1.0
    )
    assert not jnp.isfinite(found.rise)


def test_mean_rise_is_half_the_trace(key):
    found = landscape.mean_rise(bowl, AT, key, sigma=0.1, samples=4000, batch_size=100)
    np.testing.assert_allclose(found, 0.5 * 0.01 * 14, rtol=0.1)


def test_m_sharpness_is_the_mean_over_groups():
    data = jnp.arange(6.0)
    loss = lambda p, batch: jnp.mean((p - batch) ** 2)  # noqa: E731
    p = jnp.array(0.3)
    found = landscape.m_sharpness(loss, p, data, m=2, radius=0.1)
    rises = []
    for group in data.reshape(3, 2):
        step = 0.1 * jnp.sign(p - group.mean())
        rises.append(loss(p + step, group) - loss(p, group))
    np.testing.assert_allclose(found, np.mean(rises), rtol=1e-4)


def test_vmap_over_members(key):
    stack = {"w": jax.random.normal(key, (3, 3))}
    together = jax.vmap(lambda p: landscape.sam_gradient(bowl, p)[1])(stack)
    alone = landscape.sam_gradient(bowl, {"w": stack["w"][1]})[1]
    np.testing.assert_allclose(together["w"][1], alone["w"], rtol=1e-5)


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match="steps is 0"):
        landscape.worst_rise(bowl, AT, key, steps=0)
    with pytest.raises(ValueError, match="samples is 3"):
        landscape.mean_rise(bowl, AT, key, samples=3)
    with pytest.raises(ValueError, match="m is 4.*number of examples, 6"):
        landscape.m_sharpness(lambda p, b: p, jnp.ones(()), jnp.ones(6), m=4)
