"""Windows on the host: judged, gone on from a checkpoint, stopped."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, pinn, training
from kanjax.pinn import relays, windows


def explode(s):
    """``s' = s^2 (1, 1)``: from 1 infinite at t = 1."""
    return s**2


BASIS = bases.Chebyshev(8, domain=(0, 0.25), squash=None)
NET = kan.KANLayer(1, 2, basis=BASIS, residual=None)
CUT = dataclasses.replace(
    windows.ordinary_windows(explode, (1.0, 1.0), 0.25),
    reference=lambda z: 1 / (1 - jnp.tile(z, 2)),
)


def solve(**options):
    options = {"count": 2, "key": jax.random.key(0), "steps": 6, "points": 16} | options
    return pinn.solve_relay(CUT, NET, resample_every=3, damping=1e-12, **options)


def test_the_second_run_refines_the_first(x64, tmp_path):
    events = []
    straight = solve(callback=events.append)
    assert straight.converged and straight.error < 1e-4
    assert straight.change == pytest.approx(straight.error, abs=1e-4)
    assert [e.step for e in events] == [6, 12, 15, 18]
    t = jnp.array([[0.1], [0.3], [0.45]])
    values = jax.vmap(straight.field)(t)
    np.testing.assert_allclose(values, 1 / (1 - np.tile(t, 2)), rtol=1e-4)
    # The field's slope at times of the second window.
    slope = pinn.partial(straight.field, 0)(t[1])
    np.testing.assert_allclose(slope, 1 / 0.7**2, rtol=1e-3)

    def stop(event):
        if event.step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(checkpoint=training.Checkpoint(tmp_path), callback=stop)
    again = training.Checkpoint(tmp_path, resume=True)
    resumed = solve(checkpoint=again)
    same = jax.tree.map(np.array_equal, resumed.params, straight.params)
    assert all(jax.tree.leaves(same)) and resumed.reasons == straight.reasons
    with pytest.raises(training.CheckpointError, match="of another config"):
        solve(checkpoint=again, points=17)


def test_a_window_that_is_not_finite_ends_the_relay(x64):
    cut = windows.ordinary_windows(
        lambda s: jnp.where(s[0] > 1.2, jnp.nan, 1.0) * s**2, (1.0, 1.0), 0.15
    )
    cut = windows.Windows(cut.problem, cut.start, cut.end, cut.duration)
    net = kan.KANLayer(
        1, 2, basis=bases.Chebyshev(4, domain=(0, 0.15), squash=None), residual=None
    )
    relay = relays.Relays(
        relays.Team(cut, net, 3), jax.random.key(0), 3, 8, {"resample_every": 3}
    )
    run = relay.train(relay.team.init(jax.random.key(1)))
    assert not run.good and np.isnan(run.losses[3:]).all()
    assert np.isfinite(run.losses[:3]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params))


def test_single_precision_is_refused():
    with pytest.raises(ValueError, match="double precision"):
        solve()
