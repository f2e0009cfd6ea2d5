"""Recurrent layers against flax's cells and a loop in numpy."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from kanjax import model, nn

CELLS = {
    "gru": nn.GRU(2, 5),
    "lstm": nn.LSTM(2, 5),
    "multiple timescales": nn.MultipleTimescale(2, (3, 2), (1.5, 40.0)),
}
every_cell = pytest.mark.parametrize("name", CELLS)


def problem(name, dtype=None):
    """A cell, parameters without zeros, a state that is not the first, and inputs."""
    cell = CELLS[name]
    keys = iter(jax.random.split(jax.random.key(0), 20))

    def move(leaf):
        return leaf + 0.3 * jax.random.normal(next(keys), leaf.shape)

    params = jax.tree.map(move, cell.init(next(keys)))
    state = jax.tree.map(move, cell.initial_state((3,)))
    return cell, params, state, jax.random.normal(next(keys), (3, 6, 2))


def gates(params, names, prefix):
    kernels = np.split(params["kernel"], len(names), axis=1)
    recurrent = np.split(params["recurrent_kernel"], len(names), axis=1)
    biases = np.split(params["bias"], len(names))
    theirs = {}
    for name, w, u, b in zip(names, kernels, recurrent, biases, strict=True):
        # flax has the biases of a GRU with the inputs, those of an LSTM with h.
        theirs[f"i{name}"] = {"kernel": w} | ({"bias": b} if prefix == "i" else {})
        theirs[f"h{name}"] = {"kernel": u} | ({"bias": b} if prefix == "h" else {})
    return theirs


def test_the_gated_unit_is_flaxs():
    cell, params, state, x = problem("gru")
    theirs = gates(params, "rzn", "i")
    theirs["hn"]["bias"] = params["recurrent_bias"]
    scan = flax.linen.RNN(flax.linen.GRUCell(5), return_carry=True)
    after, expected = scan.apply(
        {"params": {"cell": theirs}}, x, initial_carry=state["hidden"]
    )
    y, new = cell.apply(params, x, state=state)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new["hidden"], after, rtol=1e-5, atol=1e-6)


def test_long_short_term_memory_is_flaxs():
    cell, params, state, x = problem("lstm")
    scan = flax.linen.RNN(flax.linen.LSTMCell(5), return_carry=True)
    (c, h), expected = scan.apply(
        {"params": {"cell": gates(params, "ifgo", "h")}},
        x,
        initial_carry=(state["cell"], state["hidden"]),
    )
    y, new = cell.apply(params, x, state=state)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new["cell"], c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new["hidden"], h, rtol=1e-5, atol=1e-6)


def test_multiple_timescales_are_the_leaky_units_of_the_paper():
    cell, params, state, x = problem("multiple timescales")
    p, h = jax.tree.map(lambda a: np.asarray(a, np.float64), (params, state["hidden"]))
    tau = np.array([1.5, 1.5, 1.5, 40.0, 40.0])
    expected = []
    for t in range(6):
        drive = (
            x[:, t] @ p["kernel"] + np.tanh(h) @ p["recurrent_kernel"] + p["bias"][None]
        )
        h = (1 - 1 / tau) * h + np.asarray(drive) / tau
        expected.append(np.tanh(h))
    y, new = cell.apply(params, x, state=state)
    np.testing.assert_allclose(y, np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["hidden"], h, rtol=1e-4, atol=1e-5)


def test_slow_units_decay_by_their_time_constant():
    cell = nn.MultipleTimescale(1, (1, 1), (2.0, 50.0), activation=lambda h: h)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    y, _ = cell.apply(params, jnp.zeros((20, 1)), state={"hidden": jnp.ones(2)})
    np.testing.assert_allclose(y[-1], [0.5**20, 0.98**20], rtol=1e-5)


@every_cell
def test_steps_are_the_sequence(name):
    cell, params, state, x = problem(name)
    expected, after = cell.apply(params, x, state=state)
    step = functools.partial(cell.step, params)
    new, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
    np.testing.assert_allclose(jnp.moveaxis(y, 0, 1), expected, rtol=1e-5, atol=1e-6)
    # Two halves are the whole, and a sequence without a state begins anew.
    first, between = cell.apply(params, x[:, :2], state=state)
    second, last = cell.apply(params, x[:, 2:], state=between)
    halves = jnp.concatenate([first, second], axis=1)
    np.testing.assert_allclose(halves, expected, rtol=1e-5, atol=1e-6)
    for leaf in state:
        np.testing.assert_allclose(new[leaf], after[leaf], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(last[leaf], after[leaf], rtol=1e-5, atol=1e-6)
    anew, _ = cell.apply(params, x, state=cell.initial_state((3,)))
    np.testing.assert_array_equal(cell.apply(params, x), anew)


@pytest.mark.numerical
@every_cell
def test_gradients_through_time_are_those_of_differences(name, x64):
    cell, params, state, x = problem(name)

    def f(params, state):
        y, after = cell.apply(params, x, state=state)
        return jnp.sum(jnp.sin(y)) + jnp.sum(after["hidden"])

    check_grads(f, (params, state), order=1, modes=("rev",))


@every_cell
def test_half_precision_inputs_keep_a_state_in_single(name):
    cell, params, state, x = problem(name)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, x))
    y, after = cell.apply(*half, state=state)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in after.values()} == {jnp.dtype("float32")}
    expected, _ = cell.apply(params, x, state=state)
    np.testing.assert_allclose(y.astype(float), expected, atol=0.1)


def test_streams_go_through_containers():
    net = model.Sequential(
        (
            nn.Dense(2, 4),
            model.Residual(model.Sequential((nn.GRU(4, 4), nn.Activation(jnp.sin)))),
            model.Concatenate((nn.LSTM(4, 3), nn.Dense(4, 2))),
            nn.MultipleTimescale(5, (2,), (3.0,)),
        )
    )
    params, state = net.init(jax.random.key(0)), net.initial_state((3,))
    x = jax.random.normal(jax.random.key(1), (3, 6, 2))
    expected, after = net.apply(params, x, state=state)
    step = functools.partial(model.step, net, params)
    new, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
    np.testing.assert_allclose(jnp.moveaxis(y, 0, 1), expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-6)


def test_recurrent_kernels_begin_orthogonal():
    u = nn.GRU(2, 5).init(jax.random.key(0))["recurrent_kernel"]
    for gate in np.split(np.asarray(u), 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-5)


def test_bad_arguments_are_named():
    gru = nn.GRU(2, 3)
    params = gru.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"state of this GRU.*initial_state\(\(4,\)\)"):
        gru.apply(params, jnp.ones((4, 6, 2)), state=gru.initial_state())
    with pytest.raises(ValueError, match="state of this GRU"):
        gru.step(params, (), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match="For one time, call step"):
        gru.apply(params, jnp.ones(2))
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2\)"):
        gru.apply(params, jnp.ones((4, 6, 3)))
    with pytest.raises(ValueError, match="features must be a positive integer"):
        nn.LSTM(2, 0)
    with pytest.raises(ValueError, match="units must be a tuple"):
        nn.MultipleTimescale(2, 5, (1.0,))
    with pytest.raises(ValueError, match="an entry for each group; got 2 and 1"):
        nn.MultipleTimescale(2, (5, 3), (1.0,))
    with pytest.raises(ValueError, match="tau must be at least 1"):
        nn.MultipleTimescale(2, (5,), (0.5,))
