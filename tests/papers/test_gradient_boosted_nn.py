"""Boosted networks, held against hand values and scikit-learn: arXiv 1909.12098."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from kanjax import training
from kanjax.representation import boosting

LOSSES = {
    "squared": boosting.squared(),
    "binary": boosting.binary(),
    "multiclass": boosting.multiclass(3),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + 0.5 * x[:, 2]
    labels = np.digitize(score, (-0.4, 0.4))
    return jnp.asarray(x), {
        "squared": jnp.asarray(score),
        "binary": jnp.asarray((score > 0).astype(int)),
        "multiclass": jnp.asarray(labels),
    }


@pytest.fixture(scope="module")
def fitted(data):
    x, y = data
    return {
        name: jax.jit(
            lambda key, loss=loss, y=y[name]: boosting.fit(
                loss, x, y, key=key, steps=12, units=2, rate=0.5, max_iterations=50
            )
        )(jax.random.key(1))
        for name, loss in LOSSES.items()
    }


def test_binary_by_hand():
    loss = boosting.binary()
    y = loss.targets(jnp.array([1, 1, 0, 1]))
    start = loss.start(y)
    np.testing.assert_allclose(start, 0.5 * np.log(3), rtol=1e-6)
    f = jnp.broadcast_to(start, (4, 1))
    np.testing.assert_allclose(
        loss.residual(y, f)[:, 0], [0.5, 0.5, -1.5, 0.5], rtol=1e-6
    )
    h = jnp.array([0.5, 1, -0.8, 0.2])[:, None]
    step = boosting.newton_step(loss, y, f, h)
    np.testing.assert_allclose(step, 1.4162348877, rtol=1e-6)
    np.testing.assert_allclose(loss.value(y, f), 0.5623351446, rtol=1e-6)
    np.testing.assert_allclose(loss.value(y, f + step * h), 0.1353479723, rtol=1e-5)


def test_multiclass_by_hand():
    loss = boosting.multiclass(3)
    y = loss.targets(jnp.arange(3))
    step = boosting.newton_step(loss, y, jnp.zeros((3, 3)), jnp.eye(3))
    np.testing.assert_allclose(step, 3, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_residual_and_curvature_are_derivatives(name, data):
    loss, targets = LOSSES[name], LOSSES[name].targets(data[1][name])
    f = jax.random.normal(jax.random.key(2), targets.shape)

    def total(f):
        return len(f) * loss.value(targets, f)

    np.testing.assert_allclose(
        loss.residual(targets, f), -jax.grad(total)(f), rtol=1e-4, atol=1e-6
    )

    def slope(v):
        return jax.grad(total)(v.reshape(f.shape)).ravel()

    hessian = jnp.diag(jax.jacobian(slope)(f.ravel())).reshape(f.shape)
    np.testing.assert_allclose(
        loss.curvature(targets, f), hessian, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", LOSSES)
def test_the_sum_is_one_network(name, fitted, data):
    x, boosted = data[0], fitted[name]
    plain = boosting.apply(boosted, x)
    net, params = boosting.merge(boosted)
    assert net.widths == (4, 24, plain.shape[1])
    np.testing.assert_allclose(net.apply(params, x), plain, rtol=1e-4, atol=1e-5)
    each = boosting.staged(boosted, x)
    np.testing.assert_allclose(each[-1], plain, rtol=1e-4, atol=1e-5)
    for active in (1, 5):
        net, params = boosting.merge(boosted, active=active)
        assert net.widths[1] == 2 * active
        np.testing.assert_allclose(net.apply(params, x), each[active - 1], 1e-4, 1e-5)
        masked = jax.jit(lambda n, b=boosted: boosting.apply(b, x, active=n))(active)
        np.testing.assert_allclose(masked, each[active - 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_scikit_learn_reads_the_merged_network(name, fitted, data):
    x, y = np.asarray(data[0]), np.asarray(data[1][name])
    net, params = boosting.merge(fitted[name], logit=name == "binary")
    theirs = MLPClassifier(net.widths[1:2], activation="logistic", max_iter=1)
    theirs.partial_fit(x, y, classes=np.unique(y))
    theirs.coefs_ = [np.asarray(p["kernel"]) for p in params]
    theirs.intercepts_ = [np.asarray(p["bias"]) for p in params]
    p = LOSSES[name].probabilities(boosting.apply(fitted[name], x))
    p = np.concatenate([1 - p, p], axis=1) if name == "binary" else p
    np.testing.assert_allclose(p, theirs.predict_proba(x), rtol=1e-4, atol=1e-6)
    # The loss here reads it, too: one logit is that of class 1.
    loss = training.classification(net.apply)
    accuracy = loss(params, (data[0], data[1][name]))[1]["accuracy"]
    hits = boosting.predict(LOSSES[name], fitted[name], x) == y
    np.testing.assert_allclose(accuracy, np.mean(hits))
    assert accuracy > 0.8


def test_squared_errors_never_rise(data):
    x, y = data[0], 1e10 * data[1]["squared"]
    for rate in (0.3, 1.0):
        boosted = boosting.fit(
            boosting.squared(), x, y, key=jax.random.key(3), steps=8, units=2,
            rate=rate, subsample=1.0, max_iterations=30, exact_outputs=True,
        )  # fmt: skip
        stages = boosting.staged(boosted, x)[..., 0]
        errors = np.mean((stages - y[None]) ** 2, axis=1) / 1e20
        assert (np.diff(errors) <= 1e-6).all() and errors[-1] < 0.7 * np.var(y / 1e10)


def test_a_newton_step_along_the_best_outputs_is_one(data):
    x, y = data[0], boosting.squared().targets(data[1]["squared"])
    design = np.concatenate([jax.nn.sigmoid(x), np.ones((90, 1))], axis=1)
    h = jnp.asarray(design @ np.linalg.lstsq(design, np.asarray(y), rcond=None)[0])
    step = boosting.newton_step(boosting.squared(), y, jnp.zeros_like(y), h)
    np.testing.assert_allclose(step, 1, rtol=1e-4)


def test_a_rate_of_zero_leaves_the_constant(data):
    x, y = data
    boosted = boosting.fit(
        boosting.squared(), x, y["squared"], key=jax.random.key(0), steps=2, rate=0.0
    )
    constant = jnp.full((90, 1), jnp.mean(y["squared"]))
    np.testing.assert_allclose(boosting.apply(boosted, x), constant, rtol=1e-5)


def test_the_fit_of_a_small_network_is_that_of_scipy(data):
    """Down to the loss that L-BFGS of scipy reaches from the same start."""
    import scipy.optimize
    from jax.flatten_util import ravel_pytree

    x, y = data[0], data[1]["squared"][:, None]
    params = boosting._initial(jax.random.key(4), 4, 2, 1, x.dtype)

    def objective(p):
        return boosting._objective(x, y, 1e-4, p)

    flat, unravel = ravel_pytree(params)
    value = jax.jit(jax.value_and_grad(lambda v: objective(unravel(v))))
    theirs = scipy.optimize.minimize(
        lambda v: [np.asarray(t, float) for t in value(jnp.asarray(v, jnp.float32))],
        np.asarray(flat, float),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 200},
    )
    ours = jax.jit(lambda p: objective(boosting._minimize(objective, p, 200)))(params)
    assert ours <= 1.05 * theirs.fun < 0.5 * objective(params)
