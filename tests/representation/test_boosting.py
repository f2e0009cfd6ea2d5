"""What boosted networks promise beside their formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.representation import boosting

X = jax.random.normal(jax.random.key(0), (40, 3))
Y = (X[:, 0] > 0).astype(int)


def small(key, **options):
    settings = {"steps": 3, "max_iterations": 20} | options
    return boosting.fit(boosting.binary(), X, Y, key=key, **settings)


def test_members_go_as_alone(x64):
    """In double precision: each step of the minimizer multiplies round-off."""
    x = X.astype(float)
    fit = functools.partial(boosting.fit, boosting.binary(), x, Y, steps=3)
    fit = functools.partial(fit, max_iterations=20)
    keys = jax.random.split(jax.random.key(1), 3)
    members = jax.jit(jax.vmap(lambda key: fit(key=key)))(keys)
    alone = jax.jit(lambda key: fit(key=key))(keys[1])
    outputs = jax.vmap(lambda b: boosting.apply(b, x))(members)
    np.testing.assert_allclose(outputs[1], boosting.apply(alone, x), rtol=1e-8)


def test_subsamples_and_starts_follow_the_key():
    first, again = (small(jax.random.key(2)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = small(jax.random.key(3))
    assert not np.array_equal(first.kernel, other.kernel)


def test_labels_of_one_class_stay_finite():
    boosted = boosting.fit(
        boosting.binary(), X, jnp.ones(40, int), key=jax.random.key(0), steps=3
    )
    outputs = boosting.apply(boosted, X)
    assert np.isfinite(outputs).all() and (outputs > 3).all()


def test_gradients_flow_to_inputs():
    boosted = small(jax.random.key(4))
    slope = jax.grad(lambda x: boosting.apply(boosted, x).sum())(X)
    shift = 1e-2 * jnp.eye(3)[:1]
    rise = boosting.apply(boosted, X + shift) - boosting.apply(boosted, X - shift)
    np.testing.assert_allclose(slope[:, 0], rise[:, 0] / 2e-2, rtol=0.05, atol=0.02)


def test_losses_by_stage_and_networks_switched_off():
    boosted = small(jax.random.key(5))
    value = lambda f: jnp.mean((f[:, 0] - Y) ** 2)  # noqa: E731
    losses = boosting.staged_losses(value, boosted, X)
    assert losses.shape == (4,)
    for active, loss in enumerate(losses):
        alone = boosting.apply(boosted, X, active=active)
        np.testing.assert_allclose(value(alone), loss, rtol=1e-5)
        net, params = boosting.merge(boosting.switch_off(boosted, active))
        np.testing.assert_allclose(net.apply(params, X), alone, rtol=1e-5, atol=1e-6)


def test_bad_input():
    fit, key = boosting.fit, jax.random.key(0)
    for options, message in (
        ({"rate": 1.5}, "rate must be in"),
        ({"subsample": 0.0}, "subsample must be in"),
        ({"steps": 0}, "steps must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(boosting.binary(), X, Y, key=key, **options)
    with pytest.raises(ValueError, match="for n=3 targets"):
        fit(boosting.binary(), X, Y[:3], key=key)
    with pytest.raises(ValueError, match="at least 2"):
        boosting.multiclass(1)
    with pytest.raises(ValueError, match="active must be 1 to 3"):
        boosting.merge(small(key), active=4)
    with pytest.raises(ValueError, match="labels"):
        fit(boosting.multiclass(2), X, Y + 1, key=key)
    with pytest.raises(ValueError, match="labels"):
        fit(boosting.binary(), X, Y + 1, key=key)
