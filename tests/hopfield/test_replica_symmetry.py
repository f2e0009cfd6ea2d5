import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

from kanjax import hopfield
from kanjax.hopfield import replica_symmetry


def mean(function):
    return integrate.quad(
        lambda z: function(z) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -12, 12
    )[0]


def test_the_line_of_sherrington_and_kirkpatrick(x64):
    """De Almeida and Thouless' line: both of its equations by another quadrature."""
    line = jax.jit(lambda s: replica_symmetry.glass_line(s, 2))(
        jnp.array([0.1, 0.6, 2.0, 8.0])
    )
    for h, t, q in zip(*(np.asarray(v) for v in line), strict=True):

        def field(z, h=h, t=t, q=q):
            return (h + np.sqrt(q) * z) / t

        assert q == pytest.approx(mean(lambda z: np.tanh(field(z)) ** 2), abs=1e-8)
        curvature = mean(lambda z: np.cosh(field(z)) ** -4) / t**2
        assert curvature == pytest.approx(1, abs=1e-7)
    # Its two ends, as they are known.
    near = (1 - line.temperature[0]) ** 3 * 4 / 3
    assert line.field[0] ** 2 == pytest.approx(float(near), rel=0.05)
    h = line.field[3]
    low = 4 / (3 * np.sqrt(2 * np.pi)) * np.exp(-(h**2) / 2)
    assert line.temperature[3] == pytest.approx(float(low), rel=0.05)
    assert np.all(np.diff(line.field) > 0) and np.all(np.diff(line.temperature) < 0)


def test_states_of_recall_break_up_on_their_line(x64):
    line = replica_symmetry.recall_line(2.0, 4)
    b, load = 1 / line.temperature, line.load
    start = line.overlap, line.replica_overlap
    at = replica_symmetry.solve(b, load, 4, start=start)
    assert at.converged
    np.testing.assert_allclose(at[:2], start, atol=1e-8)
    value = replica_symmetry.replicon(b, load, *at[:2], 4)
    assert value == pytest.approx(0, abs=1e-7)
    # Colder is broken, and warmer is not.
    for factor, sign in ((1.1, -1), (0.9, 1)):
        x = replica_symmetry.solve(factor * b, load, 4)
        assert sign * replica_symmetry.replicon(factor * b, load, *x[:2], 4) > 0.01


def test_the_slope_of_the_line_by_differences(x64):
    line = lambda s: replica_symmetry.glass_line(s, 2).field  # noqa: E731
    slope = jax.grad(line)(0.7)
    ends = line(jnp.array([0.7 - 1e-4, 0.7 + 1e-4]))
    assert slope == pytest.approx(float(ends[1] - ends[0]) / 2e-4, rel=1e-6)


def test_a_plane_and_the_derivatives_of_a_solution(x64):
    solve = jax.jit(
        jax.vmap(lambda b, load: replica_symmetry.solve(b, load, 4), (None, 0))
    )
    found = solve(4.0, jnp.array([0.05, 0.2, 0.6]))
    assert np.all(found.converged) and np.all(found.residual < 2e-12)
    assert np.all(found.overlap[:2] > 0.99) and found.overlap[2] < 1e-6
    slope = jax.grad(lambda load: replica_symmetry.solve(4.0, load, 4).overlap)
    ends = solve(4.0, jnp.array([0.2 - 1e-5, 0.2 + 1e-5])).overlap
    assert slope(0.2) == pytest.approx(float(ends[1] - ends[0]) / 2e-5, rel=1e-5)


def test_single_precision_is_enough_away_from_the_capacity():
    found = replica_symmetry.solve(6.0, 0.2, 4)
    assert found.overlap.dtype == jnp.float32 and found.converged
    assert found.overlap == pytest.approx(0.9977913, abs=1e-5)


def test_the_free_energy_without_crosstalk_is_a_magnet_s(x64):
    """Of products of four spins, in the variables of the memory itself."""
    b = float(replica_symmetry.scale_beta(18.0, 4))
    found = replica_symmetry.solve(b, 0.0, 4)
    value = replica_symmetry.pressure(b, 0.0, *found[:2], 4)
    free = replica_symmetry.free_energy(value, b, 4)

    def by_hand(m):
        # Energy -m^4 / 24 and the entropy of spins of mean m.
        p = np.array([(1 + m) / 2, (1 - m) / 2])
        return -(m**4) / 24 + np.sum(p * np.log(p)) / 18

    best = optimize.minimize_scalar(
        by_hand, bounds=(0.5, 1 - 1e-9), method="bounded", options={"xatol": 1e-12}
    )
    assert free == pytest.approx(best.fun, abs=1e-10)
    assert found.overlap == pytest.approx(best.x, abs=1e-5)


def test_a_sampled_memory_recalls_as_it_says(key):
    spins = 64
    count = round(float(replica_symmetry.stored_patterns(0.1, spins, 4)))
    patterns = hopfield.random_patterns(key, count, spins)
    memory = hopfield.PSpin(patterns, 4)
    start = patterns[:16]
    state = hopfield.glauber(key, memory, start, beta=24.0, sweeps=20).state
    found = jnp.mean(state * start)
    theory = replica_symmetry.solve(2.0, 0.1, 4).overlap
    # The error of few spins is of the order of 1 / spins.
    assert found == pytest.approx(float(theory), abs=0.01)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: replica_symmetry.solve(0.0, 0.1, 4), "beta must be positive; got 0.0"),
        (lambda: replica_symmetry.solve(1.0, -0.1, 4), "load must be at least 0; got"),
        (lambda: replica_symmetry.solve(1.0, 0.1, 1), "order must be an integer of at"),
        (lambda: replica_symmetry.capacity(2), "order must be an integer of at least"),
        (lambda: replica_symmetry.recall_line(1.0, 2), "order must be an integer of"),
        (lambda: replica_symmetry.scale_beta(-1.0, 4), "beta must be positive; got -1"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
