import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from kanjax.hopfield import self_consistency
from kanjax.hopfield.self_consistency import fixed_point, follow, over_plane


def magnet(beta, field=0.0, start=1.0):
    """The overlap of the mean-field magnet."""
    return fixed_point(lambda m: jnp.tanh(beta * m + field), jnp.asarray(start))


def test_the_magnet_by_brent(x64):
    found = magnet(1.5, 0.1)
    root = optimize.brentq(lambda m: np.tanh(1.5 * m + 0.1) - m, 0.1, 1, xtol=1e-14)
    assert found.value == pytest.approx(root, abs=1e-11)
    assert found.converged and found.residual < 2e-12
    assert abs(np.tanh(1.5 * found.value + 0.1) - found.value) == pytest.approx(
        float(found.residual), abs=1e-15
    )


def test_derivatives_are_those_of_the_implicit_function(x64):
    def overlap(beta, field):
        return magnet(beta, field).value

    m = float(overlap(1.5, 0.1))
    slope = 1 - m * m
    by_hand = np.array([m, 1.0]) * slope / (1 - 1.5 * slope)
    backward = jax.jit(jax.grad(overlap, argnums=(0, 1)))(1.5, 0.1)
    forward = jax.jacfwd(overlap, argnums=(0, 1))(1.5, 0.1)
    np.testing.assert_allclose(backward, by_hand, rtol=1e-9)
    np.testing.assert_allclose(forward, by_hand, rtol=1e-9)
    np.testing.assert_allclose(jax.grad(lambda s: magnet(1.5, 0.1, s).value)(0.9), 0)
    assert jax.grad(lambda b: magnet(b).residual)(1.5) == 0


def test_trees_of_values_at_many_parameters(x64):
    """An affine map of three numbers in two leaves, against its linear solution."""
    matrix = 0.2 * jax.random.normal(jax.random.key(0), (4, 3, 3))

    def solve(A):
        def update(x):
            new = A @ jnp.append(x["pair"], x["single"]) + 1
            return {"pair": new[:2], "single": new[2]}

        return fixed_point(update, {"pair": jnp.zeros(2), "single": jnp.zeros(())})

    found = jax.jit(jax.vmap(solve))(matrix)
    left = np.eye(3) - np.asarray(matrix)
    expected = np.linalg.solve(left, np.ones((4, 3, 1)))[..., 0]
    np.testing.assert_allclose(found.value["pair"], expected[:, :2], atol=1e-10)
    np.testing.assert_allclose(found.value["single"], expected[:, 2], atol=1e-10)
    assert np.all(found.converged)


def test_a_point_that_did_not_converge_is_told():
    few = fixed_point(lambda m: jnp.tanh(2 * m), jnp.array(0.1), max_steps=2)
    assert not few.converged and few.steps == 2 and few.residual > 1e-3
    lost = fixed_point(lambda m: m / 0, jnp.array(1.0))
    assert not lost.converged
    cycle = fixed_point(lambda m: -m, jnp.array(1.0), damping=0.0, max_steps=50)
    assert not cycle.converged and cycle.residual == 2
    damped = fixed_point(lambda m: -m, jnp.array(1.0))
    assert damped.converged and damped.value == 0


def test_over_plane_is_the_loop():
    betas, fields = jnp.array([0.5, 1.5, 2.0]), jnp.array([-0.2, 0.3])
    found = jax.jit(lambda b, h: over_plane(magnet, b, h))(betas, fields)
    for i, beta in enumerate(betas):
        for j, field in enumerate(fields):
            alone = magnet(beta, field)
            assert found.value[i, j] == pytest.approx(float(alone.value), abs=1e-6)


def test_follow_keeps_a_branch():
    """The metastable overlap against the field survives from the side it came from."""

    def solve(m, field):
        return fixed_point(lambda x: jnp.tanh(2 * x + field), m)

    fields = jnp.linspace(0.5, -0.2, 8)
    down = jax.jit(lambda h: follow(solve, jnp.array(1.0), h))(fields)
    assert np.all(down.value > 0.5) and np.all(down.converged)
    beyond = follow(solve, jnp.array(1.0), jnp.linspace(0.5, -1.0, 16))
    assert beyond.value[-1] < -0.5


def test_newton_steps_near_the_end_of_a_branch(x64):
    """``x = a + x^2`` has two solutions that meet at a = 1/4."""

    def solve(a, accelerate):
        return fixed_point(lambda x: a + x * x, jnp.array(0.0), accelerate=accelerate)

    a = 0.25 - 1e-8
    slow, fast = solve(a, False), solve(a, True)
    root = (1 - np.sqrt(1 - 4 * a)) / 2
    assert fast.converged and fast.steps < 300 and not slow.converged
    assert fast.value == pytest.approx(root, abs=1e-7)
    # Beyond it there is none, which acceleration must not hide.
    assert not solve(0.25 + 1e-4, True).converged
    # Nor may it keep the iteration from going on, here to 2.
    beyond = fixed_point(
        lambda x: jnp.where(x < 1, 0.25 + 1e-4 + x * x, 2.0),
        jnp.array(0.0),
        accelerate=True,
    )
    assert beyond.converged and beyond.value == 2
    slope = jax.grad(lambda a: solve(a, True).value)(0.2)
    assert slope == pytest.approx(1 / np.sqrt(0.2), rel=1e-9)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"damping": 1.0}, r"damping must lie in \[0, 1\); got 1.0"),
        ({"tolerance": 0.0}, "tolerance must be positive; got 0.0"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1; got 0"),
    ],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        self_consistency.fixed_point(jnp.tanh, jnp.array(1.0), **options)
