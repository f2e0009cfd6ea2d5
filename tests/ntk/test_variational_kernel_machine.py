import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from kanjax import training
from kanjax.ntk import DeepKernelMachine
from kanjax.ntk import deep_kernel_machine as machines


@pytest.fixture(scope="module")
def sample():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (40, 3))
    y = np.stack([np.sin(3 * x[:, 0]) * x[:, 1], x[:, 2]], axis=1)
    with jax.enable_x64(True):
        return jnp.asarray(x), jnp.asarray(y)


def perturbed(machine, key):
    """Parameters away from the start."""
    params = machine.init(key)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [
        leaf + 0.2 * jax.random.normal(k, leaf.shape, leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(tree, moved)


def test_the_best_posterior_has_the_collapsed_bound(sample, key, x64):
    """Titsias' posterior in closed form: the bound and predictions without it."""
    x, y = sample
    nu = (4.0,)
    machine = DeepKernelMachine(x, 2, nu, inducing=9, jitter=1e-8)
    params = perturbed(machine, key)
    propagate = jax.jit(lambda p: machines.propagate(p, x, jitter=1e-8).kernels[-1])
    kernel = propagate(params.machine)
    root = np.linalg.cholesky(np.asarray(kernel.inducing))
    along = np.linalg.solve(root, np.asarray(kernel.cross))
    precision = float(jnp.exp(-2 * params.machine.log_noise))
    covariance = np.linalg.inv(np.eye(9) + precision * along @ along.T)
    factor = np.linalg.cholesky(covariance)
    raw = np.tril(factor, -1) + np.diag(np.log(np.diag(factor)))
    best = params._replace(
        mean=jnp.asarray(precision * covariance @ along @ np.asarray(y)),
        factor=jnp.asarray(raw),
    )
    objective = jax.jit(lambda p: machines.objective(p, x, y, nu=4.0, jitter=1e-8))
    loss = jax.jit(jax.value_and_grad(machine.loss))
    least, slope = loss(best, (x, y))
    expected = -float(objective(params.machine)) / 40
    assert float(least) == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(slope.mean, 0, atol=1e-7)
    value = loss(params, (x, y))[0]
    assert float(value) > float(least) + 0.1
    points = x[:5] + 0.1
    there, found = jax.jit(
        lambda p, q: (
            machines.predict(p, x, y, points, jitter=1e-8),
            machine.predict(q, points),
        )
    )(params.machine, best)
    for ours, theirs in zip(found, there, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
    # Of batches that make up the data, losses have the mean of that of all.
    halves = [loss(params, (x[i : i + 20], y[i : i + 20]))[0] for i in (0, 20)]
    assert np.mean(halves) == pytest.approx(float(value), abs=1e-12)


def test_classes_by_draws_and_by_mackay(sample, key, x64):
    x, _ = sample
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.3)
    machine = DeepKernelMachine(x, 3, (2.0,), inducing=8, likelihood="categorical")
    params = perturbed(machine, key)
    mean, variance, *_ = jax.jit(machine.predict)(params, x)
    outputs = jax.jit(machine.apply)(params, x)
    loss = jax.jit(jax.vmap(lambda k: machine.loss(params, (x, y), k)))
    values = np.asarray(loss(jax.random.split(key, 400)))
    random = np.random.default_rng(1)
    noise = random.normal(size=(4_000, 40, 3))
    f = np.asarray(mean) + np.sqrt(np.asarray(variance))[:, None] * noise
    likelihood = np.mean(special.log_softmax(f, axis=-1)[:, np.arange(40), y])
    expected = float(machine.divergence(params)) / 40 - likelihood
    assert np.mean(values) == pytest.approx(expected, abs=5e-3)
    scale = np.sqrt(1 + np.pi * np.asarray(variance) / 8)[:, None]
    np.testing.assert_allclose(outputs, mean / scale)
    # Near the means over draws of the probabilities themselves.
    p = special.softmax(f, axis=-1).mean(axis=0)
    near = special.softmax(np.asarray(outputs), axis=-1)
    assert np.max(np.abs(p - near)) < 0.03


def test_an_ensemble_learns_in_batches():
    """Single precision, members under vmap, each with inducing inputs of its own."""
    x = jax.random.uniform(jax.random.key(0), (400, 2), minval=-1)
    y = jnp.sin(4 * x[:, :1]) * x[:, 1:]
    machine = DeepKernelMachine(x, 1, (8.0,), inducing=30)
    members = jax.vmap(machine.init)(jax.random.split(jax.random.key(1), 3))
    assert not np.allclose(members.machine.inputs[0], members.machine.inputs[1])
    fit = training.fit_ensemble(
        machine.loss,
        members,
        (x[:300], y[:300]),
        optimizer="adam",
        learning_rate=0.02,
        steps=400,
        batch_size=64,
        key=jax.random.key(2),
    )
    predict = jax.jit(jax.vmap(machine.predict, (0, None)))
    found = predict(fit.params, x[300:])
    errors = jnp.mean((found.mean - y[None, 300:]) ** 2, axis=(1, 2)) / jnp.var(y)
    assert np.all(errors < 0.05)
    # Far away nothing is known.
    far = predict(fit.params, 20 * jnp.ones((1, 2)))
    assert np.all(far.variance[:, 0] > 10 * jnp.mean(found.variance, axis=1))


def test_what_it_refuses(sample, key, x64):
    x, y = sample
    machine = DeepKernelMachine(x, 2, inducing=5)
    params = machine.init(key)
    with pytest.raises(ValueError, match=r"y must have shape \(40, 2\); got \(40,\)"):
        machine.loss(params, (x, y[:, 0]))
    classes = DeepKernelMachine(x, 2, inducing=5, likelihood="categorical")
    params, labels = classes.init(key), 1 + (x[:, 0] > 0)
    with pytest.raises(ValueError, match="numbered from 0 to 1"):
        classes.loss(params, (x, labels))
    assert np.isnan(jax.jit(classes.loss)(params, (x, labels)))
    with pytest.raises(ValueError, match="likelihood must be 'gaussian' or"):
        DeepKernelMachine(x, 2, likelihood="poisson")
    with pytest.raises(ValueError, match="nu must be at least 0"):
        DeepKernelMachine(x, 2, nu=(1.0, -1.0))
    with pytest.raises(ValueError, match="inducing must be"):
        DeepKernelMachine(x, 2, inducing=0)
    assert DeepKernelMachine(x[:3], 2).init(key).mean.shape == (3, 2)
