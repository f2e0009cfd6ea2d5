"""Training in rounds: gone on from a checkpoint, stopped, and of many networks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from kanjax import nn, pinn, training
from kanjax.pinn import stages

NET = nn.MLP((1, 6, 1), jnp.tanh, kernel_scale=1.0)
OPTIONS = {"steps": 20, "points": 16, "resample_every": 5}
MEMBERS = 3


def decay(u, z):
    return pinn.partial(u, 0)(z) + u(z)


PROBLEM = pinn.Problem(
    pinn.interval(0, 1),
    decay,
    constrain=pinn.constraints.initial(lambda _: 1.0),
    reference=lambda z: jnp.exp(-z[:, 0]),
)


def solve(**options):
    options = OPTIONS | {"key": jax.random.key(0)} | options
    return pinn.solve(PROBLEM, NET, **options)


def solve_ensemble(**options):
    options = OPTIONS | {"key": jax.random.key(0), "members": MEMBERS} | options
    return pinn.solve_ensemble(PROBLEM, NET, **options)


def stopping(at):
    """A callback that acts as Ctrl-C does after a step."""

    def callback(event):
        if event.step == at:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize(
    ("call", "at"), [(solve, 10), (solve, 20), (solve_ensemble, 15)]
)
def test_an_interrupted_training_goes_on_bit_for_bit(call, at, x64, tmp_path):
    straight = call()
    stored = training.Checkpoint(tmp_path, config={"seed": 0})
    with pytest.raises(KeyboardInterrupt):
        call(checkpoint=stored, callback=stopping(at))
    events = []
    again = training.Checkpoint(tmp_path, config={"seed": 0}, resume=True)
    resumed = call(checkpoint=again, callback=events.append)
    assert events[0].step == at + 5 and events[-1].step == events[-1].steps == 25
    same = jax.tree.map(np.array_equal, resumed.params, straight.params)
    assert all(jax.tree.leaves(same))
    assert resumed.reasons == straight.reasons
    # A finished training is read back without a step.
    events.clear()
    assert call(checkpoint=again, callback=events.append).reasons == straight.reasons
    assert not events


def test_another_training_is_no_checkpoint_of_this(x64, tmp_path):
    solve(checkpoint=training.Checkpoint(tmp_path, config={"seed": 0}))
    for options, config in (({"points": 17}, {"seed": 0}), ({}, {"seed": 1})):
        again = training.Checkpoint(tmp_path, config=config, resume=True)
        with pytest.raises(training.CheckpointError, match="is of another config"):
            solve(checkpoint=again, **options)


def test_the_ensemble_is_its_members(x64):
    ensemble = solve_ensemble()
    assert ensemble.converged and len(ensemble.members) == MEMBERS
    assert ensemble.reasons[0] == "3 of 3 members converged"
    z = jnp.array([0.3])
    each = np.array([float(member.field(z)) for member in ensemble.members])
    assert len(set(each)) == MEMBERS
    np.testing.assert_allclose(ensemble.field(z), each.mean(), rtol=1e-12)
    np.testing.assert_allclose(ensemble.spread(z), each.std(), rtol=1e-6)
    assert ensemble.error < max(member.error for member in ensemble.members)
    # A member is what a run of its own gives, but for rounding.
    key = jax.random.split(jax.random.key(0), MEMBERS)[1]
    alone = solve(key=key)
    np.testing.assert_allclose(alone.losses[:5], ensemble.members[1].losses[:5], 1e-4)


def test_members_of_quasi_newton_steps_take_turns(x64):
    options = {"method": "broyden", "resample_every": 5}
    draw = lambda key: pinn.initialize(PROBLEM, NET, key=key)  # noqa: E731
    key = jax.random.key(0)
    logs = []
    for k, members in ((jax.random.split(key, 2)[1], None), (key, 2)):
        loop = stages.Stages(PROBLEM, NET, k, 5, 16, options, members=members)
        params = (jax.vmap(draw) if members else draw)(loop.keys[0])
        logs.append(loop.advance(loop.start(params), 0).losses)
    alone, together = logs
    assert together.shape[0] == 2 and alone[4] < alone[0]
    np.testing.assert_allclose(together[1, :5], alone[:5], rtol=1e-6)


def test_a_divergence_ends_with_the_last_good_parameters(x64):
    def explode(step):
        return jnp.where(step < 7, 1e-3, jnp.inf)

    solution = solve(method=optax.sgd(explode))
    assert not solution.converged
    # The round in which it happened is undone.
    assert solution.reasons[0].startswith(
        "not converged: the loss was not finite at st"
    )
    assert "at step 5;" in solution.reasons[0]
    assert np.all(np.isfinite(solution.losses[:5]))
    assert np.all(np.isnan(solution.losses[5:]))
    assert all(np.all(np.isfinite(p)) for p in jax.tree.leaves(solution.params))


def test_progress_is_told_and_an_optimizer_of_optax_trains(x64):
    events = []
    solution = solve(
        method=training.soap(3e-2),
        pseudo_time={"residual": 1.0},
        steps=450,
        callback=events.append,
    )
    assert [event.step for event in events] == list(range(5, 601, 5))
    assert events[0].loss == solution.losses[4]
    assert "loss" in training.describe(events[0])
    assert solution.error < 1e-2 and solution.losses[-1] < 1e-2 * solution.losses[0]


def test_bad_input(x64):
    with pytest.raises(ValueError, match="members must be an integer of at least 2"):
        solve_ensemble(members=1)
    with pytest.raises(ValueError, match="multiple of resample_every; got 21"):
        solve_ensemble(steps=21)
