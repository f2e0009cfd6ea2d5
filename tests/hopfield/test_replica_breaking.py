import jax
import jax.numpy as jnp
import pytest

from kanjax.hopfield import ground_states, parisi, replica_breaking


@pytest.fixture(scope="module")
def solve():
    return jax.jit(jax.vmap(lambda b, g: replica_breaking.solve(b, g, 4), (0, None)))


def test_the_slope_in_the_load_by_scaling(x64, solve):
    """The glass depends on ``beta^2 load`` alone; derivatives as differences say."""
    theta = jax.grad(lambda g: replica_breaking.solve(3.0, g, 4).breaking)(1.0)
    step = 1e-5
    ends = solve(3.0 * jnp.sqrt(jnp.array([1 - step, 1 + step])), 1.0).breaking
    assert theta == pytest.approx(float(ends[1] - ends[0]) / (2 * step), rel=1e-5)


def test_a_fixed_theta_is_solved_on_its_own(x64):
    found = replica_breaking.solve(3.0, 1.0, 4, breaking=0.4)
    assert found.converged and found.breaking == 0.4

    def value(q):
        return replica_breaking.pressure(
            3.0, 1.0, 0.0, 0.0, q, 0.4, 4, outer_nodes=1, inner_nodes=2001
        )

    assert jax.grad(value)(found.self_overlap) == pytest.approx(0, abs=1e-8)
    # The bound by Parisi's equation, on another grid.
    other = parisi.pressure(
        lambda q: 4.5 * q**4, jnp.array([0.0, found.self_overlap]), jnp.array([0.4])
    )
    assert value(found.self_overlap) == pytest.approx(float(other), abs=1e-8)


def test_the_pressure_is_least_in_theta(x64, solve):
    found = solve(jnp.array([3.0]), 1.0)
    q, theta = found.self_overlap[0], found.breaking[0]
    values = [
        replica_breaking.pressure(
            3.0, 1.0, 0.0, 0.0, q, t, 4, outer_nodes=1, inner_nodes=2001
        )
        for t in (theta - 0.05, theta, theta + 0.05)
    ]
    assert values[1] < min(values[0], values[2])


def test_the_energy_s_slope_in_the_load(x64):
    # Energies of a glass go with the square root of the load.
    slope = jax.grad(lambda g: ground_states.glass(4, g).energy)(1.0)
    assert slope == pytest.approx(-0.8254705 / 2, abs=1e-6)


def test_several_loads_are_several_calls(x64):
    """The overlap falls along the branch; its slope in the signal by differences."""
    solve = jax.jit(jax.vmap(lambda s: ground_states.recall(s, 6, nodes=801)))
    found = solve(jnp.array([1.9 - 1e-4, 1.9, 1.9 + 1e-4]))
    slope = jax.grad(lambda s: ground_states.recall(s, 6, nodes=801).load)(1.9)
    ends = float(found.load[2] - found.load[0]) / 2e-4
    assert slope == pytest.approx(ends, rel=1e-5) and slope < 0


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: replica_breaking.solve(2.0, 1.0, 4), "needs double precision: call"),
        (lambda: ground_states.glass(4), "needs double precision"),
        (lambda: ground_states.recall(2.0, 4), "needs double precision"),
        (lambda: ground_states.capacity(4), "needs double precision"),
        (lambda: ground_states.glass(2), "order must be an integer of at least 3"),
        (lambda: replica_breaking.critical_beta(2), "order must be an integer of at"),
        (lambda: replica_breaking.annealed_pressure(-1.0, 1.0), "beta must be posit"),
        (lambda: replica_breaking.critical_beta(4, -1.0), "load must be at least 0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
