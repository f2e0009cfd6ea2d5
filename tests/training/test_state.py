"""Fits of networks with a state: running statistics, and what goes with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import model, nn, training
from kanjax.training import losses

MEMBERS = 2
# A bias there would have a gradient of rounding errors, which Adam scales up.
layers = (nn.Dense(2, 6, use_bias=False), nn.BatchNorm(6), nn.Activation(jnp.tanh))
net = model.Sequential((*layers, nn.Dense(6, 1)))
loss = training.regression(net.apply)
adam = optax.adam(1e-2)


@pytest.fixture(scope="module")
def data():
    x = 1 + jax.random.normal(jax.random.key(7), (23, 2))
    return x, jnp.sin(x[:, :1] + 2 * x[:, 1:])


@pytest.fixture(scope="module")
def ensemble():
    keys = jax.random.split(jax.random.key(1), MEMBERS)
    return jax.vmap(net.init)(keys), jax.vmap(lambda _: net.initial_state())(keys)


def member(tree, i):
    return jax.tree.map(lambda leaf: leaf[i], tree)


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-5)


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_fit_is_the_plain_loop_that_hands_the_state_on(data, ensemble, key):
    params, state = member(ensemble, 0)
    result = training.fit(
        loss,
        params,
        data,
        state=state,
        optimizer=adam,
        steps=6,
        key=key,
        validation=data,
        evaluate_every=3,
    )
    x, y = data
    opt_state, values = adam.init(params), []

    def mean_square(params, state, train):
        prediction, state = net.apply(params, x, state=state, train=train)
        return jnp.mean((prediction - y) ** 2), state

    for _ in range(6):
        (value, state), grad = jax.value_and_grad(mean_square, has_aux=True)(
            params, state, True
        )
        updates, opt_state = adam.update(grad, opt_state, params)
        params = optax.apply_updates(params, updates)
        values.append(value)
    np.testing.assert_allclose(result.history.loss, values, rtol=1e-4)
    assert_close(result.final_params, params)
    assert_close(result.final_state, state)
    # Validation takes the running statistics, and leaves them alone.
    expected, _ = mean_square(params, state, False)
    np.testing.assert_allclose(result.history.validation_loss[-1], expected, rtol=1e-4)
    assert abs(expected - mean_square(params, state, True)[0]) > 1e-2


def test_each_member_goes_as_alone(data, ensemble, key):
    options = dict(optimizer=adam, steps=10, batch_size=5, evaluate_every=4)
    params, states = ensemble
    together = training.fit_ensemble(
        loss, params, data, state=states, key=key, validation=data, **options
    )
    for i, member_key in enumerate(jax.random.split(key, MEMBERS)):
        p, s = member(ensemble, i)
        alone = training.fit(
            loss, p, data, state=s, key=member_key, validation=data, **options
        )
        assert_close(together.member(i), alone.params)
        assert_close(together.member_state(i), alone.state)
        assert_close(member(together.final_state, i), alone.final_state)
    with pytest.raises(TypeError, match=r"its state is \.state"):
        alone.member_state(0)
    with pytest.raises(IndexError, match="member 2 does not exist"):
        together.member_state(2)


def test_best_parameters_keep_their_own_state(data, ensemble, key):
    params, state = member(ensemble, 0)
    seen = {}
    result = training.fit(
        loss,
        params,
        data,
        state=state,
        # Goes well at first and then astray.
        optimizer=optax.sgd(lambda step: jnp.where(step < 6, 0.1, -0.3)),
        steps=12,
        key=key,
        validation=data,
        evaluate_every=2,
        callback=lambda event: seen.update({event.step: (event.params, event.state)}),
    )
    assert 0 < result.best_step < 12
    assert_same_bits((result.params, result.state), seen[int(result.best_step)])
    assert_same_bits((result.final_params, result.final_state), seen[12])
    value = training.on_batch(loss, data, state=result.state)(result.params)
    np.testing.assert_allclose(value, result.history.validation_loss.min(), rtol=1e-5)


def test_going_on_is_bit_for_bit_the_uninterrupted_run(data, ensemble, key, tmp_path):
    params, states = ensemble
    options = dict(
        state=states,
        optimizer=adam,
        steps=12,
        batch_size=5,
        key=key,
        validation=data,
        evaluate_every=3,
    )
    whole = training.fit_ensemble(loss, params, data, **options)

    def stop(event):
        if event.step == 6:
            raise KeyboardInterrupt

    options["checkpoint"] = training.Checkpoint(tmp_path)
    with pytest.raises(training.Interrupted) as stopped:
        training.fit_ensemble(loss, params, data, callback=stop, **options)
    assert np.any(stopped.value.fit.final_state[1]["mean"] != states[1]["mean"])
    # The state comes from the checkpoint, not from the call.
    options["state"] = jax.tree.map(jnp.zeros_like, states)
    options["checkpoint"] = training.Checkpoint(tmp_path, resume=True)
    resumed = training.fit_ensemble(loss, params, data, **options)
    assert_same_bits(resumed, whole)


def count_steps(params, batch, key, state):
    """Diverges in the loss at the step after next, in the state two steps later."""
    at, bad = state
    value = (params - 3.0) ** 2 + jnp.where(at == batch[0, 0], jnp.nan, 0)
    return value, {}, (at + 1, jnp.where(at == batch[0, 1], jnp.inf, bad))


@pytest.mark.parametrize(
    ("batch", "step", "kept"),
    # A loss that is not finite condemns the parameters it was computed at, and the
    # state of that time; a state that is not finite is refused itself.
    [((4.0, 99.0), 4, 3), ((99.0, 2.0), 2, 2), ((0.0, 99.0), 0, 0)],
)
def test_divergence_restores_the_state_as_well(batch, step, kept, key):
    call = dict(optimizer=optax.sgd(0.1), key=key)
    data, state = jnp.array([batch]), (jnp.zeros((), int), 0.0)
    with pytest.warns(RuntimeWarning, match=f"non-finite at step {step}"):
        result = training.fit(count_steps, 0.0, data, state=state, steps=7, **call)
    assert result.diverged == step
    assert int(result.state[0]) == int(result.final_state[0]) == kept
    assert result.state[1] == 0
    if kept:
        data = jnp.array([[99.0, 99.0]])
        shorter = training.fit(count_steps, 0.0, data, state=state, steps=kept, **call)
        np.testing.assert_allclose(result.params, shorter.params, rtol=1e-6)
        assert shorter.params != 0


def test_a_recurrent_network_carries_its_memory_on(key):
    rnn = model.Sequential((nn.GRU(1, 4), nn.Dense(4, 1)))
    wave = jnp.sin(jnp.linspace(0, 12, 33))[:, None]
    start = rnn.initial_state()
    params, data = rnn.init(key), (wave[:-1], wave[1:])

    def one_stretch(params, batch, key, state):
        x, y = batch
        prediction, state = rnn.apply(params, x, state=state)
        return jnp.mean((prediction - y) ** 2), {}, state

    result = training.fit(
        one_stretch,
        params,
        data,
        state=start,
        optimizer=optax.sgd(0.0),
        steps=2,
        key=key,
    )
    twice = jnp.concatenate([data[0], data[0]])
    _, expected = rnn.apply(params, twice, state=start)
    assert_close(result.state, expected)


def test_a_line_search_sees_the_state(data, ensemble, key):
    params, state = member(ensemble, 0)
    options = dict(optimizer="lbfgs", steps=5, key=key)
    result = training.fit(loss, params, data, state=state, **options)
    assert result.history.loss[-1] < 0.8 * result.history.loss[0]

    # In training the batch's statistics alone count, so a plain function does the same.
    def apply(params, x):
        return net.apply(params, x, state=state, train=True)[0]

    plain = training.fit(training.regression(apply), params, data, **options)
    np.testing.assert_allclose(result.history.loss, plain.history.loss, rtol=1e-4)


def test_members_with_states_spread_over_a_mesh(data, ensemble, key):
    params, states = ensemble
    options = dict(state=states, optimizer=adam, steps=3, batch_size=4, key=key)
    plain = training.fit_ensemble(loss, params, data, **options)
    # Two devices share each batch of four: its statistics are of all of it.
    mesh = training.member_mesh(jax.devices()[:4], batch=2)
    spread = training.fit_ensemble(loss, params, data, mesh=mesh, **options)
    assert_close(spread.state, plain.state)
    leaf = spread.final_state[1]["mean"]
    assert len(leaf.sharding.device_set) == 4
    assert {shard.data.shape for shard in leaf.addressable_shards} == {(1, 6)}


def test_ready_losses_take_models_with_a_state_and_without(data, ensemble, key):
    params, state = member(ensemble, 0)
    x, y = data
    trained, _ = net.apply(params, x, state=state, train=True)
    running, _ = net.apply(params, x, state=state)
    value, metrics, after = loss(params, data, key, state)
    np.testing.assert_allclose(value, jnp.mean((trained - y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(metrics["mae"], jnp.mean(abs(trained - y)), rtol=1e-5)
    assert np.any(after[1]["mean"] != state[1]["mean"])
    value, _, same = loss(params, data, None, state)
    np.testing.assert_allclose(value, jnp.mean((running - y) ** 2), rtol=1e-5)
    assert_same_bits(same, state)
    labels = (y[:, 0] > 0).astype(int)
    wide = model.Sequential(layers)
    classify = training.classification(wide.apply)
    value, metrics, _ = classify(params[:3], (x, labels), None, state[:3])
    logits, _ = wide.apply(params[:3], x, state=state[:3])
    log_p = jax.nn.log_softmax(logits)[jnp.arange(23), labels]
    np.testing.assert_allclose(value, -jnp.mean(log_p), rtol=1e-5)
    dense = nn.Dense(2, 1)
    weights, none = dense.init(key), model.initial_state(dense)
    ours = training.regression(dense.apply)
    assert ours(weights, data, key, none)[2] == ()
    with_none = training.fit(
        ours, weights, data, state=none, optimizer=adam, steps=3, key=key
    )
    plain = training.fit(ours, weights, data, optimizer=adam, steps=3, key=key)
    assert with_none.state == ()
    assert plain.state is None and plain.final_state is None
    assert_close(with_none.params, plain.params)


def test_what_does_not_fit_is_named(data, ensemble, key):
    params, states = ensemble
    options = dict(optimizer=adam, steps=1, key=key)
    with pytest.raises(ValueError, match="state has 6 members and params 2"):
        training.fit_ensemble(loss, params, data, state=net.initial_state(), **options)
    with pytest.raises(ValueError, match=r"state\['a'\] is a scalar"):
        training.fit_ensemble(loss, params, data, state={"a": jnp.ones(())}, **options)
    call = member(params, 0), data, key, member(states, 0)
    with pytest.raises(TypeError, match=r"must return \(scalar, metrics, state\)"):
        losses.value_metrics_and_state(lambda *_: (1.0, {}), *call)
    for after in ((), jax.tree.map(lambda a: a[:1], call[3])):
        with pytest.raises(TypeError, match="structure, shapes and types"):
            losses.value_metrics_and_state(lambda *_, s=after: (1.0, {}, s), *call)
