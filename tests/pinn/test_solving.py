"""Problems stated and solved, and solutions that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, pinn
from kanjax.pinn import library

SMALL = nn.MLP((1, 8, 1), jnp.tanh, kernel_scale=1.0)


def decay(u, z):
    return pinn.partial(u, 0)(z) + u(z)


def from_one():
    return pinn.Problem(
        pinn.interval(0, 1),
        decay,
        constrain=pinn.constraints.initial(lambda _: 1.0),
        reference=lambda z: jnp.exp(-z[:, 0]),
    )


DECAY = from_one()


def solve(problem, net=SMALL, **options):
    defaults = {"key": jax.random.key(0), "steps": 20, "points": 20}
    defaults |= {"resample_every": 10}
    return pinn.solve(problem, net, **(defaults | options))


def test_an_equation_is_solved_and_judged(x64):
    solution = solve(DECAY)
    assert solution.converged and solution.error < 1e-5
    assert solution.change < 1e-4 and solution.smallest_weight == 1
    assert solution.residuals["residual"] < 1e-4
    assert solution.losses.shape == (30,)
    z = jnp.array([0.7])
    np.testing.assert_allclose(solution.field(z), np.exp(-0.7), atol=1e-5)
    assert "the relative error against the reference" in solution.reasons[-1]


def test_a_wrong_solution_is_refused_with_reasons(x64):
    # Of an equation that oscillates far more than one wave of the network.
    problem = pinn.Problem(
        pinn.interval(0, 30),
        lambda u, z: pinn.partial(u, 0, 2)(z) + u(z),
        constrain=lambda net: lambda z: 1 + z[0] ** 2 * net(z),
        reference=lambda z: jnp.cos(z[:, 0]),
    )
    solution = solve(problem)
    assert not solution.converged
    assert solution.error > 0.3
    assert any(reason.startswith("not converged: ") for reason in solution.reasons)


def test_a_soft_problem_in_two_dimensions(x64):
    net = nn.MLP((2, 12, 1), jnp.tanh, kernel_scale=1.0)
    solution = solve(library.poisson(hard=False), net, steps=60, points=100)
    assert list(solution.residuals) == ["residual", "boundary"]
    assert solution.error < 1e-2


def test_an_unknown_coefficient_is_recovered(x64):
    times = jnp.linspace(0, 1, 9)[:, None]
    data = pinn.observations(times, jnp.exp(-1.7 * times[:, 0]))
    problem = pinn.Problem(
        pinn.interval(0, 1),
        lambda u, z, c: pinn.partial(u, 0)(z) + c["rate"] * u(z),
        {"data": data},
        coefficients={"rate": 0.5},
    )
    solution = solve(problem, steps=40)
    rate = float(solution.params.coefficients["rate"])
    assert abs(rate / 1.7 - 1) < 1e-3


def test_causal_weights_are_part_of_the_verdict(x64):
    net = nn.MLP((1, 8, 2), jnp.tanh, kernel_scale=1.0)
    swing = library.pendulum(duration=2.0)
    good = solve(swing, net, steps=40, epsilons=(0.1, 10.0))
    assert good.smallest_weight > 0.99 and good.error < 1e-3
    assert good.reasons[-2].startswith("the smallest causal weight is 1.000")
    bad = solve(swing, net, steps=10, epsilons=(1e9,))
    assert bad.smallest_weight < 0.99 and not bad.converged


def test_training_is_pure_and_maps_over_members(x64):
    keys = jax.random.split(jax.random.key(0), 2)
    params = jax.vmap(lambda k: pinn.initialize(DECAY, SMALL, key=k))(keys)

    def train(params, key):
        return pinn.train(
            DECAY, SMALL, params, key=key, steps=10, resample_every=10, points=16
        )

    both = jax.jit(jax.vmap(train))(params, keys)
    assert both.losses.shape == (2, 10)
    assert np.all(both.losses[:, -1] < 1e-3 * both.losses[:, 0])
    second = train(jax.tree.map(lambda a: a[1], params), keys[1])
    np.testing.assert_allclose(both.losses[1][:5], second.losses[:5], rtol=1e-3)


def test_options_reach_the_steps(x64):
    for form, momentum in (("residuals", 0.5), ("matrix_free", 0.0)):
        assert solve(DECAY, form=form, momentum=momentum).error < 1e-3


def test_quasi_newton_steps_solve_and_never_go_up_between_draws(x64):
    params = pinn.initialize(DECAY, SMALL, key=jax.random.key(0))

    def train(params):
        return pinn.train(
            DECAY,
            SMALL,
            params,
            key=jax.random.key(1),
            steps=60,
            points=20,
            resample_every=20,
            method="broyden",
            adaptive=1.0,
        )

    result = jax.jit(train)(params)
    rounds = result.losses.reshape(3, 20)
    assert np.all(np.diff(rounds, axis=1) <= 0)
    assert rounds[-1, -1] < 1e-6 * rounds[0, 0]
    u = pinn.field(DECAY, SMALL, result.params)(jnp.array([0.7]))
    np.testing.assert_allclose(u, np.exp(-0.7), atol=1e-4)
    both = jax.jit(jax.vmap(train))(jax.tree.map(lambda a: jnp.stack([a, a]), params))
    np.testing.assert_allclose(both.losses[1, :5], result.losses[:5], rtol=1e-3)


def test_points_follow_the_residual(x64):
    # Of all that is drawn the residual is large in the first tenth alone.
    def late(u, z):
        return jnp.where(z[0] < 0.1, 100 * u(z), 1e-3)

    problem = pinn.Problem(pinn.interval(0, 1), late)
    params = pinn.initialize(problem, SMALL, key=jax.random.key(0))
    options = {"key": jax.random.key(2), "steps": 1, "resample_every": 1, "points": 40}
    spread = pinn.train(problem, SMALL, params, **options)
    drawn = pinn.train(problem, SMALL, params, **options, adaptive=1e-3)
    # The mean square on ten times as many points of the first tenth is larger.
    assert drawn.losses[0] > 3 * spread.losses[0]


def test_bad_input():
    with pytest.raises(ValueError, match="method must be one of .*; got 'newton'"):
        solve(DECAY, precision="single", method="newton")
    with pytest.raises(ValueError, match="need double precision"):
        solve(DECAY)
    with pytest.raises(ValueError, match="multiple of resample_every; got 15"):
        solve(DECAY, steps=15, precision="single")
    with pytest.raises(FloatingPointError, match="reference is not finite"):
        bad = pinn.Problem(
            DECAY.domain,
            decay,
            constrain=DECAY.constrain,
            reference=lambda z: jnp.full(len(z), jnp.nan),
        )
        solve(bad, steps=10, precision="single")
