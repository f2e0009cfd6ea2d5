import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import kan, training
from kanjax.training import compiled

MEMBERS = 3


def init(key):
    a, b = jax.random.split(key)
    return {
        "hidden": 0.5 * jax.random.normal(a, (2, 6)),
        "out": 0.5 * jax.random.normal(b, (6, 1)),
    }


def apply(params, x, *, key=None):
    hidden = jnp.tanh(x @ params["hidden"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.9, hidden.shape)
    return hidden @ params["out"]


loss = training.regression(apply)
adam = optax.adam(1e-2)


@pytest.fixture
def data():
    x = jax.random.normal(jax.random.key(7), (23, 2))
    return x, jnp.sin(x[:, :1] + 2 * x[:, 1:])


@pytest.fixture
def ensemble():
    return jax.vmap(init)(jax.random.split(jax.random.key(1), MEMBERS))


def assert_close(a, b, **tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **(tolerance or {"rtol": 2e-4, "atol": 1e-5}))


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def by_hand(params, data, tx, steps, batch_size, key):
    """The plain loop that fit must agree with, drawing what fit says it draws."""
    order_key, loss_key = jax.random.split(key)
    tx = optax.with_extra_args_support(tx)
    state, values = tx.init(params), []
    examples = len(data[0])
    size = batch_size or examples
    for step in range(steps):
        epoch, place = divmod(step, examples // size)
        rows = jnp.arange(examples)
        if batch_size:
            epoch_key = jax.random.fold_in(order_key, epoch)
            order = compiled.permutations(epoch_key[None], examples)[0]
            rows = order[place * size : (place + 1) * size]
        batch = data[0][rows], data[1][rows]
        step_key = jax.random.fold_in(loss_key, step)

        def value_fn(p, batch=batch, key=step_key):
            return loss(p, batch, key)[0]

        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = tx.update(
            grad, state, params, value=value, grad=grad, value_fn=value_fn
        )
        params = optax.apply_updates(params, updates)
        values.append(float(value))
    return params, values


@pytest.mark.parametrize("batch_size", [None, 5])
def test_fit_is_the_plain_loop(data, key, batch_size):
    params = init(key)
    result = training.fit(
        loss, params, data, optimizer=adam, steps=9, batch_size=batch_size, key=key
    )
    expected, values = by_hand(params, data, adam, 9, batch_size, key)
    assert_close(result.params, expected)
    np.testing.assert_allclose(result.history.loss, values, rtol=1e-4)
    assert result.history.metrics["mae"].shape == (9,)
    assert (result.steps, result.best_step, result.diverged) == (9, 9, -1)
    assert result.history.validation_loss.shape == (0,)


def test_each_member_goes_as_alone(data, ensemble, key):
    options = dict(optimizer=adam, steps=30, batch_size=5, evaluate_every=7)
    together = training.fit_ensemble(
        loss, ensemble, data, key=key, validation=data, **options
    )
    assert together.history.loss.shape == (MEMBERS, 30)
    assert together.history.evaluated_at.tolist() == [0, 7, 14, 21, 28, 30]
    for i, member_key in enumerate(jax.random.split(key, MEMBERS)):
        params = jax.tree.map(lambda leaf, i=i: leaf[i], ensemble)
        alone = training.fit(
            loss, params, data, key=member_key, validation=data, **options
        )
        assert_close(together.member(i), alone.params)
        np.testing.assert_allclose(
            together.history.validation_loss[i],
            alone.history.validation_loss,
            rtol=1e-4,
        )
        np.testing.assert_allclose(
            alone.history.validation_loss[-1],
            training.on_batch(loss, data)(alone.final_params),
            rtol=1e-5,
        )


def test_shared_batches_are_those_of_member_0(data, ensemble, key):
    options = dict(optimizer="sgd", learning_rate=0.1, steps=12, batch_size=5, key=key)
    own = training.fit_ensemble(loss, ensemble, data, **options)
    shared = training.fit_ensemble(loss, ensemble, data, shared_batches=True, **options)
    assert_close(shared.member(0), own.member(0))
    assert np.abs(shared.params["out"][1] - own.params["out"][1]).max() > 1e-3


def batch_rows(params, batch, key):
    """A loss that reports which examples it was given."""
    return jnp.sum(params**2), {"rows": batch["row"]}


def test_every_example_is_used_once_an_epoch(ensemble, key):
    n, size = 17, 4
    result = training.fit_ensemble(
        batch_rows,
        jnp.ones(MEMBERS),
        {"row": np.arange(n)},
        optimizer=optax.sgd(0.01),
        steps=8,
        batch_size=size,
        key=key,
    )
    rows = result.history.metrics["rows"]  # (members, steps, batch)
    assert rows.shape == (MEMBERS, 8, size)
    epochs = rows.reshape(MEMBERS, 2, 4 * size)
    for order in epochs.reshape(-1, 4 * size):
        assert len(set(order.tolist())) == 4 * size
    assert len({tuple(order) for order in epochs.reshape(-1, 4 * size)}) == 6


@pytest.mark.numerical
@pytest.mark.parametrize("number", [1, 2, 3, 300, 70_000])
def test_permutations_are_permutations(key, number):
    orders = compiled.permutations(jax.random.split(key, 2), number)
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(number))


@pytest.mark.numerical
def test_permutations_are_uniform(key):
    orders = compiled.permutations(jax.random.split(key, 6000), 4)
    codes = np.asarray(orders) @ np.array([64, 16, 4, 1])
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    chi_squared = np.sum((counts - 250) ** 2 / 250)
    assert chi_squared < 49.7  # its 99.9 % quantile at 23 degrees of freedom


def test_lbfgs_solves_least_squares(key, x64):
    a, b, c = jax.random.split(key, 3)
    x = jax.random.normal(a, (40, 4), jnp.float64)
    y = jax.random.normal(b, (40, 1), jnp.float64)
    starts = jax.random.normal(c, (2, 4, 1), jnp.float64)
    result = training.fit_ensemble(
        training.regression(lambda w, x: x @ w),
        starts,
        (x, y),
        optimizer="lbfgs",
        steps=40,
        key=key,
    )
    expected = np.linalg.lstsq(x, y)[0]
    np.testing.assert_allclose(result.params, np.stack([expected] * 2), atol=1e-9)
    assert result.diverged.tolist() == [-1, -1]


def test_stateful_random_optimizers_keep_their_keys(data, key):
    tx = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(5)), optax.sgd(0.01))
    result = training.fit(loss, init(key), data, optimizer=tx, steps=4, key=key)
    assert_close(result.params, by_hand(init(key), data, tx, 4, None, key)[0])


def test_best_parameters_and_patience_by_member(key):
    """Member 0 walks past its optimum, member 1 towards it till the end."""

    def walk(params, batch, key):
        return params

    def distance(params, batch, key):
        return jnp.abs(params)

    result = training.fit_ensemble(
        walk,
        jnp.array([2.5, 100.0]),
        None,
        optimizer=optax.sgd(1.0),
        steps=12,
        key=key,
        validation_loss=distance,
        patience=2,
        evaluate_every=1,
    )
    # 2.5, 1.5, 0.5 (best), -0.5 (no better), -1.5 (stop): frozen there.
    np.testing.assert_allclose(result.params, [0.5, 88.0])
    np.testing.assert_allclose(result.final_params, [-1.5, 88.0])
    assert result.stopped.tolist() == [True, False]
    assert result.steps.tolist() == [4, 12]
    assert result.best_step.tolist() == [2, 12]
    assert result.best_member == 0
    assert np.isnan(result.history.loss[0, 4:]).all()
    assert np.isnan(result.history.validation_loss[0, 5:]).all()
    assert np.isfinite(result.history.validation_loss[1]).all()


def test_fit_ends_when_every_member_has_stopped(key):
    result = training.fit(
        lambda p, batch, key: p,
        1.0,
        None,
        optimizer=optax.sgd(1.0),
        steps=1000,
        key=key,
        validation_loss=lambda p, batch, key: jnp.abs(p),
        patience=3,
        evaluate_every=10,
    )
    assert result.stopped and result.steps == 30
    assert result.history.loss.shape == (30,)
    assert result.params == 1.0 and result.best_step == 0


def cliff(params, batch, key):
    """Falls by one a step under plain descent, and is NaN beyond zero."""
    return jnp.where(params > -0.25, params, jnp.nan)


def test_divergence_keeps_the_last_good_parameters(key):
    with pytest.warns(RuntimeWarning, match=r"1 of 3 members: 1 at step 4"):
        result = training.fit_ensemble(
            cliff,
            jnp.array([20.0, 3.0, 30.0]),
            None,
            optimizer=optax.sgd(1.0),
            steps=10,
            key=key,
            evaluate_every=3,
        )
    # The loss was last finite at 0.0; the step from there led to the NaN.
    np.testing.assert_allclose(result.final_params, [10.0, 0.0, 20.0])
    assert result.diverged.tolist() == [-1, 4, -1]
    assert result.steps.tolist() == [10, 4, 10]
    assert np.isfinite(result.history.loss[1, :4]).all()
    assert np.isnan(result.history.loss[1, 4:]).all()
    assert np.isfinite(result.history.loss[[0, 2]]).all()


def test_fit_stops_at_the_end_of_the_stretch_that_diverged(key):
    with pytest.warns(RuntimeWarning, match="non-finite at step 2"):
        result = training.fit(
            cliff,
            1.0,
            None,
            optimizer=optax.sgd(1.0),
            steps=1000,
            key=key,
            evaluate_every=5,
            validation_loss=lambda p, batch, key: jnp.abs(p + 1),
        )
    assert result.history.loss.shape == (5,)
    assert result.diverged == 2
    assert result.params == result.final_params == 0.0


@pytest.mark.parametrize("bad", ["gradient", "update"])
def test_gradient_and_update_that_are_not_finite(key, bad):
    def root(params, batch, key):
        return jnp.sqrt(jnp.abs(params))  # infinite slope at 0, where it is finite

    start, tx = 0.0, optax.sgd(0.1)
    if bad == "update":
        start, tx = 1.0, optax.chain(optax.scale(1e30), optax.scale(1e30))
    with pytest.warns(RuntimeWarning, match="at step 0"):
        result = training.fit(root, start, None, optimizer=tx, steps=3, key=key)
    assert result.params == start and result.diverged == 0


def test_validation_loss_that_is_never_finite_is_told(key):
    with pytest.warns(RuntimeWarning, match="validation loss was never finite"):
        result = training.fit(
            lambda p, batch, key: p**2,
            1.0,
            None,
            optimizer=optax.sgd(0.1),
            steps=2,
            key=key,
            validation_loss=lambda p, batch, key: p * jnp.nan,
        )
    assert result.params == result.final_params < 1.0
    assert result.best_step == 2


def test_the_loss_is_traced_for_one_compilation_only(data, ensemble, key):
    traces = []

    def counted(params, batch, key):
        traces.append(1)
        return loss(params, batch, key)

    options = dict(optimizer=adam, batch_size=5, validation=data, evaluate_every=4)
    run = lambda steps, key: training.fit_ensemble(  # noqa: E731
        counted, ensemble, data, steps=steps, key=key, **options
    )
    run(4, key)
    first = len(traces)
    assert first <= 8
    # Many stretches, a short last one, another key: nothing new to compile.
    run(31, jax.random.key(8))
    assert len(traces) == first


def test_history_and_params_are_pytrees_of_the_right_types(data, key):
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), init(key))
    result = training.fit(loss, params, data, optimizer=adam, steps=3, key=key)
    assert result.params["out"].dtype == jnp.bfloat16
    assert result.history.loss.dtype == np.float32
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(result.history))
    with pytest.raises(TypeError, match="fit of one network"):
        result.member(0)


def test_a_network_is_no_loss(data, ensemble, key):
    for call in (training.fit, training.fit_ensemble):
        with pytest.raises(TypeError, match=r"regression\(net.apply\); got KAN"):
            call(kan.KAN((2, 1)), ensemble, data, optimizer=adam, steps=1, key=key)


def test_raw_keys_and_keys_by_member(data, ensemble, key):
    options = dict(optimizer=adam, steps=3, batch_size=5)
    keys = jax.random.split(key, MEMBERS)
    a = training.fit_ensemble(loss, ensemble, data, key=key, **options)
    b = training.fit_ensemble(loss, ensemble, data, key=keys, **options)
    c = training.fit_ensemble(
        loss, ensemble, data, key=jax.random.PRNGKey(0), **options
    )
    assert_same_bits(a.params, b.params)
    assert_same_bits(a.params, c.params)


def test_progress_events(data, ensemble, key, capsys):
    events = []
    result = training.fit_ensemble(
        loss,
        ensemble,
        data,
        optimizer=adam,
        steps=5,
        evaluate_every=2,
        key=key,
        validation=data,
        progress=True,
        callback=events.append,
    )
    assert [event.step for event in events] == [0, 2, 4, 5]
    last = events[-1]
    assert (last.steps, last.training, last.members) == (5, MEMBERS, MEMBERS)
    np.testing.assert_array_equal(last.loss, result.history.loss[:, -1])
    np.testing.assert_array_equal(
        last.validation_loss, result.history.validation_loss[:, -1]
    )
    assert_same_bits(last.params, result.final_params)
    assert np.isnan(events[0].loss).all()
    captured = capsys.readouterr()
    assert captured.out == "" and "5/5" in captured.err


BAD = [
    (dict(steps=0), ValueError, "steps is 0; it must be an integer of 1 or more"),
    (dict(steps=2.5), ValueError, "steps is 2.5"),
    (dict(evaluate_every=0), ValueError, "evaluate_every is 0"),
    (dict(batch_size=24), ValueError, "batch_size is 24, but data has 23 examples"),
    (dict(batch_size=0), ValueError, "batch_size is 0"),
    (dict(patience=2), ValueError, "patience needs a validation loss"),
    (dict(checkpoint="runs"), TypeError, r"give training.Checkpoint\(path\)"),
    (dict(checkpoint=training.Checkpoint("runs", every=0)), ValueError, "every is 0"),
    (dict(stepz=3), TypeError, "stepz"),
    (dict(optimizer="adm"), ValueError, "Did you mean 'adam'"),
    (dict(learning_rate=0.1), ValueError, "learning_rate is for an optimizer given"),
    (dict(optimizer=3), TypeError, "must be an optax gradient transformation"),
    (dict(key=jax.random.split(jax.random.key(0), 2)), ValueError, r"shape \(2,\)"),
    (dict(data=(np.ones((3, 2)), np.ones(4))), ValueError, r"data\[0\] 3, data\[1\] 4"),
    (dict(data=(np.ones((0, 2)), np.ones((0, 1)))), ValueError, "data has no examples"),
    (dict(data=(np.ones((3, 2)), 1.0)), ValueError, r"data\[1\] is a scalar"),
    (dict(params={}), ValueError, "nothing to train"),
    (dict(params={"n": np.arange(3)}), TypeError, r"params\['n'\] is int"),
    (
        dict(params={"a": np.ones((3, 2)), "b": np.ones((2, 2))}),
        ValueError,
        r"member axis; got params\['a'\] 3, params\['b'\] 2",
    ),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD)
def test_bad_settings_are_named(data, ensemble, key, changed, error, message):
    call = dict(params=ensemble, data=data, optimizer=adam, steps=2, key=key)
    with pytest.raises(error, match=message):
        training.fit_ensemble(loss, **{**call, **changed})


def test_member_out_of_range(data, ensemble, key):
    result = training.fit_ensemble(
        loss, ensemble, data, optimizer=adam, steps=3, batch_size=5, key=key
    )
    assert_same_bits(result.member(-1), result.member(MEMBERS - 1))
    with pytest.raises(IndexError, match="member 3 does not exist"):
        result.member(3)
    with pytest.raises(ValueError, match="no member has a finite validation loss"):
        _ = result.best_member


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_all_stretches_share_a_program(optimizer, key):
    """A leaf of the state that is weakly typed at first only would make it two."""
    advance = compiled.advancing((("xla_backend_optimization_level", 0),))
    before = advance._cache_size()
    x = jnp.linspace(-1, 1, 8)[:, None]
    rate = {} if optimizer == "lbfgs" else {"learning_rate": 0.1}
    training.fit(
        training.regression(lambda w, x: x * w), jnp.zeros(()), (x, 3 * x), key=key,
        optimizer=optimizer, **rate, steps=6, evaluate_every=2, validation=(x, 3 * x),
        compiler_options={"xla_backend_optimization_level": 0},
    )  # fmt: skip
    assert advance._cache_size() - before == 1
