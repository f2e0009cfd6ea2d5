import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import isotonic

from kanjax import landscape, nn, training


@pytest.mark.parametrize("kind", ["dense", "fastfood"])
def test_the_toy_is_solved_from_its_own_dimension_on(key, x64, kind):
    loss, dimension = landscape.grouped_sums()
    assert dimension == 10
    theta = jnp.zeros(1000, jnp.float64)
    for d, solved in ((9, False), (10, True), (11, True)):
        space = landscape.subspace(key, theta, d, kind=kind)
        # The loss is |A v - goals|^2: its least value by least squares.
        sums = lambda v, space=space: jnp.sum(  # noqa: E731
            space.flat(v).reshape(10, 100), axis=1
        )
        a = np.asarray(jax.jacobian(sums)(jnp.zeros(d)))
        v, *_ = np.linalg.lstsq(a, np.arange(1.0, 11.0), rcond=None)
        least = landscape.subspace_loss(loss, theta, space)(jnp.asarray(v))
        assert (least < 1e-18) == solved
        if not solved:
            assert least > 1e-2


def test_training_in_a_subspace_finds_the_least_value_there(key):
    x = jax.random.normal(key, (40, 6))
    y = x @ jnp.arange(6.0)
    loss = lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2)  # noqa: E731
    space = landscape.subspace(key, jnp.zeros(6), 3, kind="dense")
    found = landscape.train_subspace(
        key, loss, jnp.zeros(6), space, (x, y), optimizer=optax.adam(0.3), steps=400
    )
    best = np.linalg.lstsq(x @ space.columns.T, y, rcond=None)[0]
    np.testing.assert_allclose(found.v, best, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(found.params, space.flat(found.v), rtol=1e-5)
    assert found.losses.shape == (400,) and found.losses[-1] < found.losses[0]


def test_runs_of_many_keys_are_one_program(key):
    net = nn.MLP((3, 8, 2))
    x = jax.random.normal(key, (30, 3))
    data = (x, (x[:, 0] > 0).astype(jnp.int32))
    loss = training.classification(net.apply)

    def run(k):
        start = net.init(k)
        space = landscape.subspace(k, start, 5)
        return landscape.train_subspace(
            k,
            loss,
            start,
            space,
            data,
            optimizer=optax.adam(0.1),
            steps=5,
            batch_size=8,
        )

    keys = jax.random.split(key, 3)
    together = jax.jit(jax.vmap(run))(keys)
    np.testing.assert_allclose(together.v[2], run(keys[2]).v, rtol=1e-3, atol=1e-5)


def test_a_quadratic_of_rank_m_needs_m_dimensions(key):
    """The rank of the Hessian is the dimension, almost surely."""
    a = jax.random.normal(key, (4, 60))
    goal = jax.random.normal(jax.random.key(1), (60,))
    data = (jnp.zeros((1, 1)),)
    loss = lambda w, batch, key: jnp.sum((a @ (w - goal)) ** 2)  # noqa: E731
    found = landscape.intrinsic_dimension(
        key,
        loss,
        lambda w: jnp.exp(-jnp.sum((a @ (w - goal)) ** 2)),
        lambda k: jnp.zeros(60),
        data,
        dims=(2, 3, 4, 6),
        kind="dense",
        optimizer=optax.adam(optax.cosine_decay_schedule(1.0, 1500)),
        full_optimizer=optax.adam(optax.cosine_decay_schedule(0.1, 1500)),
        steps=1500,
        seeds=2,
    )
    np.testing.assert_allclose(found.baseline, 1.0, atol=1e-3)
    np.testing.assert_allclose(found.threshold, 0.9 * found.baseline)
    assert found.smallest == 4 and 3 < found.dimension <= 4
    assert found.scores.shape == (4, 2) and found.size == 60
    assert np.all(found.scores[1] < 0.9)


def test_crossing_between_dimensions():
    dims, scores = [10, 100, 1000], [0.1, 0.5, 0.9]
    assert landscape.crossing(dims, scores, 0.5) == pytest.approx(100)
    assert landscape.crossing(dims, scores, 0.7) == pytest.approx(10**2.5)
    assert landscape.crossing(dims, scores, 0.05) == 10
    assert landscape.crossing(dims, scores, 0.95) == float("inf")


def test_noisy_scores_are_made_monotone_first():
    dims, scores = np.array([1, 2, 4, 8, 16]), np.array([0.1, 0.6, 0.4, 0.5, 0.9])
    fitted = isotonic.IsotonicRegression().fit_transform(dims, scores)
    assert landscape.crossing(dims, scores, 0.55, isotonic=False) < 2
    found = landscape.crossing(dims, scores, 0.55)
    share = (0.55 - fitted[3]) / (fitted[4] - fitted[3])
    np.testing.assert_allclose(found, 8 * 2**share, rtol=1e-10)


def test_bad_input_is_named(key):
    space = landscape.subspace(key, jnp.zeros(6), 2)
    options = {"optimizer": optax.sgd(0.1), "steps": 1}
    loss = lambda w, batch, key: jnp.sum(w)  # noqa: E731
    with pytest.raises(ValueError, match="steps is 0"):
        landscape.train_subspace(
            key, loss, jnp.zeros(6), space, jnp.ones(3), **{**options, "steps": 0}
        )
    for dims in ((), (3, 2), (0, 1)):
        with pytest.raises(ValueError, match="increasing positive integers"):
            landscape.intrinsic_dimension(
                key, loss, jnp.sum, jnp.ones, jnp.ones(3), dims=dims, **options
            )
    with pytest.raises(ValueError, match=r"dims has shape \(2,\) and scores \(3,\)"):
        landscape.crossing([1, 2], [1, 2, 3], 0.5)
    with pytest.raises(ValueError, match="groups is 3.*size, 1000"):
        landscape.grouped_sums(groups=3)
