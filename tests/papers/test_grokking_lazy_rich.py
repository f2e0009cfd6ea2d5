"""Lazy and rich training against descent, closed forms and random matrices.

Kumar et al., arXiv 2310.06110.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import nn, ntk, representation, theory, training
from kanjax.theory import (
    grokking,
    laziness,
    mean_field_ensembles,
    polynomial_regression,
)
from kanjax.theory import mean_field_dynamics as mean_field

D, N, P = 7, 5, 12
NET = grokking.PolynomialNetwork(D, N, alpha=0.7, epsilon=0.3)
KNOBS = {"alpha": 0.7, "epsilon": 0.3}


@pytest.fixture
def problem(x64):
    """Weights, inputs, targets and their direction, in double precision."""
    keys = jax.random.split(jax.random.key(0), 3)
    beta = grokking.draw_direction(keys[0], D)
    x, y = grokking.draw_data(keys[1], beta, P)
    return NET.init(keys[2]), x, y, beta


def squared(params, batch, key):
    x, y = batch
    return jnp.mean((NET.apply(params, x)[:, 0] - y) ** 2)


def test_the_moments_are_all_that_outputs_depend_on(problem):
    weights, x, *_ = problem
    expected = 0.7 / N * sum(w @ x.T + 0.15 * (w @ x.T) ** 2 for w in weights)
    np.testing.assert_allclose(NET.apply(weights, x)[:, 0], expected, rtol=1e-12)
    at = grokking.moments(weights)
    np.testing.assert_allclose(grokking.predict(at, x, **KNOBS), expected, rtol=1e-12)


@pytest.mark.parametrize("width", [1, N])
def test_reduced_dynamics_is_gradient_descent(problem, width):
    weights, x, y, _ = problem
    weights = weights[:width]
    steps, rate = 60, 0.5
    end, _ = training.descend(
        squared,
        weights,
        (x, y),
        key=jax.random.key(0),
        optimizer=optax.sgd(rate * width / 0.7**2),
        steps=steps,
    )
    start = grokking.moments(weights)
    got, records = grokking.reduced_dynamics(
        start, x, y, steps=steps, every=20, rate=rate, **KNOBS
    )
    for a, b in zip(got, grokking.moments(end), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    assert records.second.shape == (4, D, D)
    np.testing.assert_array_equal(records.mean[0], start.mean)
    np.testing.assert_array_equal(records.second[-1], got.second)
    assert jnp.abs(got.second - start.second).max() > 0.01


def test_the_population_loss_is_that_of_many_inputs(problem):
    weights, _, _, beta = problem
    # The formula holds for a direction of any length.
    at, beta = grokking.moments(weights), beta * 1.7
    x = np.random.default_rng(0).normal(size=(1_000_000, D)) / D**0.5
    y = (x @ beta) ** 2 / 2
    sampled = jnp.mean((grokking.predict(at, x, **KNOBS) - y) ** 2)
    shares = grokking.population_loss(at, beta, **KNOBS)
    np.testing.assert_allclose(shares.total, sampled, rtol=0.01)
    a = (0.21 * at.second - jnp.outer(beta, beta)) / 2
    exact = 0.49 * at.mean @ at.mean / D + 2 * jnp.trace(a @ a) / D**2
    exact += (jnp.trace(a) / D) ** 2
    np.testing.assert_allclose(shares.total, exact, rtol=1e-12)


def test_weights_of_0_have_the_loss_of_the_targets(x64):
    # E (beta . x)^4 / 4 of a normal number of variance |beta|^2 / D.
    beta = jnp.array([1.0, -2.0, 0.5, 1.0])
    at = grokking.Moments(jnp.zeros(4), jnp.zeros((4, 4)))
    shares = grokking.population_loss(at, beta, **KNOBS)
    np.testing.assert_allclose(shares.total, 0.75 * (6.25 / 4) ** 2, rtol=1e-12)
    assert float(grokking.alignment(at, beta)) == 0


def test_the_solution_that_generalizes_has_no_loss(problem):
    beta = problem[3]
    at = grokking.Moments(jnp.zeros(D), jnp.outer(beta, beta) / 0.21)
    np.testing.assert_allclose(
        grokking.population_loss(at, beta, **KNOBS), 0, atol=1e-12
    )
    np.testing.assert_allclose(grokking.alignment(at, beta), 1)


def test_without_an_even_part_the_loss_stays_above_the_targets(problem):
    weights, x, y, beta = problem
    knobs = {"alpha": 0.7, "epsilon": 0.0}
    _, losses = grokking.reduced_dynamics(
        grokking.moments(weights),
        x,
        y,
        steps=300,
        every=10,
        record=lambda at: grokking.population_loss(at, beta, **knobs).total,
        **knobs,
    )
    # E y^2 for a target of unit variance before the square: (1 + 2) / 4.
    assert losses.min() >= 0.75 and losses.min() < losses[0]


def test_the_tangent_kernel_is_the_empirical_one(problem):
    weights, x, *_ = problem
    at = grokking.moments(weights)
    got = grokking.tangent_kernel(at, x, x[:4], epsilon=0.3)
    expected = ntk.empirical(NET.apply, weights, x, x[:4]) * NET.learning_rate
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    wide = grokking.PolynomialNetwork(D, 200_000).init(jax.random.key(3))
    mean = grokking.tangent_kernel(grokking.moments(wide), x, x, epsilon=0.3)
    formula = grokking.expected_kernel(x, x, epsilon=0.3)
    np.testing.assert_allclose(mean, formula, atol=0.01)


def test_alignment_of_a_kernel_with_itself_is_one(problem):
    y = problem[2]
    kernel = jnp.outer(y, y)
    np.testing.assert_allclose(ntk.alignment(kernel, y), 1)
    random = jnp.cov(jax.random.normal(jax.random.key(1), (P, 40)))
    cka = representation.similarity.cka(random, kernel)
    np.testing.assert_allclose(ntk.alignment(random, y), cka)


def test_large_scale_trains_as_the_linear_network(problem):
    weights, x, y, _ = problem
    start, x_new = grokking.moments(weights), problem[1][::-1] * 0.9
    rows = [grokking.tangent_kernel(start, v, x, epsilon=0.3) for v in (x, x_new)]

    linear = ntk.mse_training(rows[0], y[:, None], learning_rate=2, discrete=True)
    expected = linear(200, None, None, rows[1]).test[:, 0]

    @jax.vmap
    def gap(alpha):
        knobs = {"alpha": alpha, "epsilon": 0.3}
        first = [grokking.predict(start, v, **knobs) for v in (x, x_new)]
        # Centered: the difference to the first outputs is trained.
        end, _ = grokking.reduced_dynamics(start, x, y + first[0], steps=200, **knobs)
        got = grokking.predict(end, x_new, **knobs) - first[1]
        return jnp.abs(got - expected).max() / jnp.abs(expected).max()

    gaps = gap(jnp.array([1e2, 1e3, 1e4]))
    assert gaps[-1] < 1e-4
    np.testing.assert_allclose(gaps[:-1] / gaps[1:], 10, rtol=0.1)


def test_a_delay_is_between_two_crossings():
    times = jnp.array([0, 10, 20, 30])
    train = jnp.array([[3.0, 1, 0, 0], [3, 2, 2, 2]])
    test = jnp.array([[3.0, 2, 2, 0.5], [3, 2, 2, 2]])
    delay = grokking.grokking_delay(train, test, times, threshold=1.0)
    np.testing.assert_array_equal(delay.train, [10, np.inf])
    np.testing.assert_array_equal(delay.test, [30, np.inf])
    assert delay.ratio[0] == 3 and np.isnan(delay.ratio[1])


def test_a_problem_is_trained_by_the_dynamics_with_both_losses_seen(x64):
    sizes = {"inputs": D, "width": N}
    key = jax.random.key(0)
    problem = polynomial_regression.draw(key, examples=P, **sizes)
    fewer = polynomial_regression.draw(key, examples=P // 2, **sizes)
    np.testing.assert_array_equal(fewer.x, problem.x[: P // 2])
    np.testing.assert_allclose(problem.y, (problem.x @ problem.direction) ** 2 / 2)
    end, curves = polynomial_regression.train(problem, steps=20, every=10, **KNOBS)
    expected, _ = grokking.reduced_dynamics(
        problem.start, problem.x, problem.y, steps=20, **KNOBS
    )
    np.testing.assert_allclose(end.second, expected.second)
    errors = grokking.predict(end, problem.x, **KNOBS) - problem.y
    shares = grokking.population_loss(end, problem.direction, **KNOBS)
    aligned = grokking.alignment(end, problem.direction)
    last = [curve[-1] for curve in curves]
    np.testing.assert_allclose(last, [np.mean(errors**2), shares.total, aligned])


def test_the_linearized_network_is_trained_by_the_same_descent(problem):
    weights, x, y, beta = problem
    start, x_new = grokking.moments(weights), x[::-1] * 0.9
    linear = ntk.linearize(NET.apply, weights)

    def loss(params, batch, key):
        return jnp.mean((linear(params, batch[0])[:, 0] - batch[1]) ** 2)

    end, _ = training.descend(
        loss, weights, (x, y), key=jax.random.key(0),
        optimizer=optax.sgd(NET.learning_rate), steps=30,
    )  # fmt: skip
    got = polynomial_regression.train_linearized(
        polynomial_regression.Problem(beta, x, y, start), x_new, steps=30, **KNOBS
    )
    np.testing.assert_allclose(got, linear(end, x_new)[:, 0], rtol=1e-8)


def test_scaled_outputs_are_zero_at_the_start(problem):
    weights, x, *_ = problem
    moved = weights + 0.1
    scaled = theory.laziness.scale_outputs(NET.apply, weights, 5.0)
    assert jnp.all(scaled(weights, x) == 0)
    difference = NET.apply(moved, x) - NET.apply(weights, x)
    np.testing.assert_allclose(scaled(moved, x), 5 * difference)
    plain = theory.laziness.scale_outputs(NET.apply, weights, 5.0, center=False)
    np.testing.assert_allclose(plain(moved, x), 5 * NET.apply(moved, x))


@pytest.fixture(scope="module")
def run():
    """Train a small network, scaled, and hold it against its linearization."""
    net = nn.MLP((3, 30, 2), jnp.tanh)
    start = net.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (30, 3))
    y = jnp.stack([x[:, 0] * x[:, 1], jnp.sin(x[:, 2])], axis=1)

    @jax.jit
    def compare(alpha, steps=300):
        apply = laziness.scale_outputs(net.apply, start, alpha)
        loss = training.regression(apply)
        end, _ = training.descend(
            loss,
            start,
            (x[:20], y[:20]),
            key=jax.random.key(0),
            optimizer=optax.sgd(0.02 / alpha**2),
            steps=steps,
        )
        forecast = theory.forecast(
            apply, start, end, (x[:20], y[:20]), x[20:], time=2 * 0.02 / alpha**2 * 300
        )
        lazy = theory.lazy_rich(apply, start, end, x)
        return lazy, forecast, lazy.is_lazy(), apply(end, x[20:])

    return compare


def test_laziness_grows_with_the_scale(run):
    (rich, rich_forecast, is_lazy, _), (lazy, lazy_forecast, is_lazy_too, outputs) = (
        run(0.1),
        run(30.0),
    )
    assert not is_lazy and is_lazy_too
    for a, b in zip(rich, lazy, strict=True):
        assert a > 20 * b
    assert rich_forecast.gap > 0.3 and lazy_forecast.gap < 0.03
    np.testing.assert_allclose(lazy_forecast.outputs, outputs, atol=0.02)
    start, end = rich_forecast[2:]
    assert end > start + 0.05
    np.testing.assert_allclose(lazy_forecast.end_alignment, start, rtol=0.05)


def test_a_linear_network_is_lazy_whatever_it_does():
    lazy = theory.lazy_rich(
        lambda w, x: x @ w, jnp.ones((3, 2)), jnp.zeros((3, 2)), jnp.eye(3)
    )
    np.testing.assert_allclose(lazy, [0, 0, 1], atol=1e-6)


# Mean field.

STEPS, LOAD, KAPPA = 10, 2.0, 0.08


@functools.partial(jax.jit, static_argnames=("phi", "psi", "samples"))
def solve(key, overlap, covariance, phi, psi, samples=5_000):
    return mean_field.solve(
        key,
        phi,
        psi,
        load=LOAD,
        step_size=KAPPA,
        steps=STEPS,
        overlap=overlap,
        covariance=covariance,
        samples=samples,
    )


def quadratic(h):
    return h + 0.25 * h**2


def half_square(s):
    return s**2 / 2


def experiment(overlap, covariance, phi, slope, psi, size=400, runs=8):
    """Descend in a finite dimension from the same start; records of each run."""
    rng = np.random.default_rng(0)
    number, records = int(LOAD * size), []
    for _ in range(runs):
        beta = rng.normal(size=size)
        beta *= size**0.5 / np.linalg.norm(beta)
        rest = rng.normal(size=(len(overlap), size))
        rest -= np.outer(rest @ beta, beta) / size
        rest = np.linalg.qr(rest.T)[0].T * size**0.5
        root = np.linalg.cholesky(covariance - np.outer(overlap, overlap))
        weights = root @ rest + np.outer(overlap, beta)
        x = rng.normal(size=(2 * number, size)) / size**0.5
        y = psi(x @ beta)
        for _ in range(STEPS):
            h = x @ weights.T
            error = y - phi(h).mean(axis=1)
            losses = [np.mean(e**2) for e in (error[:number], error[number:])]
            products = weights @ beta / size, weights @ weights.T / size
            records.append((*losses, *products))
            weights = (
                weights + KAPPA * (error[:, None] * slope(h))[:number].T @ x[:number]
            )
    return [
        np.stack(kind).reshape(runs, STEPS, *np.shape(kind[0]))
        for kind in zip(*records, strict=True)
    ]


@pytest.mark.parametrize(
    "phi, slope, psi, units",
    [
        (quadratic, lambda h: 1 + h / 2, half_square, 1),
        (jnp.tanh, lambda h: 1 - np.tanh(h) ** 2, jnp.sin, 2),
    ],
)
def test_mean_field_is_descent_in_many_dimensions(phi, slope, psi, units):
    overlap = np.array([0.3, 0.1])[:units]
    covariance = np.array([[1, 0.2], [0.2, 0.8]])
    covariance = covariance[:units, :units]
    got = solve(jax.random.key(1), overlap, covariance, phi, psi)
    runs = experiment(overlap, covariance, phi, slope, psi)
    now = jnp.moveaxis(jnp.diagonal(got.covariance, axis1=0, axis2=2), -1, 0)
    for predicted, values in zip((*got[:3], now), runs, strict=True):
        mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / 8**0.5
        scale = jnp.abs(mean).max()
        assert (jnp.abs(predicted - mean) <= 4 * error + 0.02 * scale).all()
    # Nothing answers before it is pushed, and then at once by itself.
    response = jnp.moveaxis(got.response, 2, 1)
    assert (response[jnp.triu_indices(STEPS)] == 0).all()
    first = response[jnp.arange(1, STEPS), jnp.arange(STEPS - 1)]
    np.testing.assert_allclose(first, jnp.broadcast_to(jnp.eye(units), first.shape))
    # It has moved far beyond that.
    assert jnp.abs(got.train[-1] - got.train[0]) > 0.3 * got.train[0]


def test_runs_are_where_the_mean_field_says():
    """Of the other implementation of descent; the start has the overlaps exactly."""
    overlap = jnp.array([0.3, 0.1])
    covariance = jnp.array([[1, 0.2], [0.2, 0.8]])
    beta = grokking.draw_direction(jax.random.key(3), 50)
    weights = mean_field_ensembles.draw_weights(
        jax.random.key(4), beta, overlap, covariance
    )
    np.testing.assert_allclose(weights @ beta / 50, overlap, atol=1e-6)
    np.testing.assert_allclose(weights @ weights.T / 50, covariance, atol=1e-6)
    got = jax.jit(lambda key: mean_field_ensembles.sample(
        key, jnp.tanh, jnp.sin, load=LOAD, step_size=KAPPA, steps=STEPS,
        overlap=overlap, covariance=covariance, dimension=400, runs=8,
    ))(jax.random.key(0))  # fmt: skip
    expected = experiment(
        *map(np.asarray, (overlap, covariance)), jnp.tanh,
        lambda h: 1 - np.tanh(h) ** 2, jnp.sin,
    )  # fmt: skip
    for seen, values in zip(got, expected[:3], strict=True):
        mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / 8**0.5
        assert np.all(np.abs(seen.mean - mean) <= 4 * np.hypot(error, seen.error))
        assert np.all(np.asarray(seen.error) < 0.1 * np.abs(mean[0]))


def test_mean_field_of_a_linear_unit_is_that_of_marchenko_and_pastur():
    # (I - kappa X^T X)^t on beta - w, and the law of the spectrum of X^T X.
    def identity(h):
        return h

    start = jnp.array([0.2]), jnp.array([[0.5]])
    got = solve(jax.random.key(0), *start, identity, identity, samples=40_000)
    edges = (1 - LOAD**0.5) ** 2, (1 + LOAD**0.5) ** 2
    s = np.linspace(*edges, 200_001)
    density = np.sqrt(np.maximum((edges[1] - s) * (s - edges[0]), 0)) / (2 * np.pi * s)
    t = np.arange(STEPS)[:, None]
    left = (1 - KAPPA * s) ** (2 * t) * density
    far = 1 - 2 * 0.2 + 0.5
    step = s[1] - s[0]
    np.testing.assert_allclose(got.test, far * left.sum(1) * step, rtol=0.03)
    train = far * (s * left).sum(1) * step / LOAD
    np.testing.assert_allclose(got.train, train, rtol=0.03)
    mean = ((1 - KAPPA * s) ** t * density).sum(1) * step
    np.testing.assert_allclose(1 - got.overlap[:, 0], 0.8 * mean, rtol=1e-4)


# What is refused.

START = grokking.Moments(jnp.zeros(2), jnp.eye(2))
DYNAMICS = functools.partial(
    grokking.reduced_dynamics, START, alpha=1.0, epsilon=0.1, steps=4
)
FIELD = functools.partial(
    mean_field.solve,
    jax.random.key(0),
    quadratic,
    half_square,
    load=1.0,
    step_size=0.1,
    steps=2,
    overlap=jnp.zeros(1),
    covariance=jnp.eye(1),
    samples=10,
)
RUNS = functools.partial(
    mean_field_ensembles.sample,
    *FIELD.args,
    **{k: v for k, v in FIELD.keywords.items() if k != "samples"},
    dimension=4,
    runs=2,
)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: grokking.PolynomialNetwork(0, 3),
            "inputs must be an integer of at least 1; got 0",
        ),
        (
            lambda: grokking.PolynomialNetwork(2, 0),
            "width must be an integer of at least 1; got 0",
        ),
        (
            lambda: grokking.PolynomialNetwork(2, 3, alpha=0.0),
            "alpha must be positive and finite; got 0.0",
        ),
        (
            lambda: DYNAMICS(jnp.ones((3, 2)), jnp.ones(3), alpha=-1.0),
            "alpha must be positive and finite; got -1.0",
        ),
        (lambda: DYNAMICS(jnp.ones((3, 4)), jnp.ones(3)), r"\(3, 4\)"),
        (lambda: DYNAMICS(jnp.ones((3, 2)), jnp.ones((3, 1))), r"y \(3, 1\)"),
        (lambda: DYNAMICS(jnp.ones((3, 2)), jnp.ones(3), every=3), "every 3"),
        (
            lambda: grokking.grokking_delay(
                jnp.ones(3), jnp.ones(3), jnp.ones(4), threshold=1
            ),
            "times",
        ),
        (
            lambda: laziness.scale_outputs(NET.apply, (), 0.0),
            "alpha must be positive and finite; got 0.0",
        ),
        (
            lambda: theory.lazy_rich(
                NET.apply, jnp.ones((2, D)), jnp.ones((3, D)), None
            ),
            "one network",
        ),
        (
            lambda: theory.forecast(
                NET.apply,
                jnp.ones((N, D)),
                jnp.ones((N, D)),
                (jnp.ones((3, D)), jnp.ones(3)),
                jnp.ones((3, D)),
            ),
            "one-hot rows",
        ),
        (lambda: FIELD(steps=0), "steps must be an integer of at least 1; got 0"),
        (lambda: FIELD(samples=0), "samples must be an integer of at least 1; got 0"),
        (lambda: FIELD(load=0.0), "load must be positive and finite; got 0.0"),
        (lambda: FIELD(covariance=jnp.eye(2)), r"covariance \(2, 2\)"),
        (lambda: FIELD(overlap=jnp.full(1, 1.2)), "Cauchy"),
        (lambda: RUNS(runs=1), "runs must be an integer of at least 2; got 1"),
        (lambda: RUNS(dimension=1), "dimension must be an integer of at least 2"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
