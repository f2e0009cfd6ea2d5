import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape


def parameters(key):
    return ({"kernel": jax.random.normal(key, (3, 2)), "bias": jnp.ones(2)},)


def square(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


@pytest.fixture
def ends(key):
    return tuple(parameters(k) for k in jax.random.split(key))


def test_interpolate_is_exact_at_both_ends_and_linear_between(ends):
    a, b = ends
    jax.tree.map(np.testing.assert_array_equal, landscape.interpolate(a, b, 0.0), a)
    jax.tree.map(np.testing.assert_array_equal, landscape.interpolate(a, b, 1), b)
    jax.tree.map(
        lambda m, x, y: np.testing.assert_allclose(m, 0.75 * x + 0.25 * y, rtol=1e-6),
        landscape.interpolate(a, b, 0.25),
        a,
        b,
    )


def test_interpolate_keeps_the_dtype():
    a, b = jnp.ones(2, jnp.bfloat16), jnp.zeros(2, jnp.bfloat16)
    assert landscape.interpolate(a, b, 0.3).dtype == jnp.bfloat16


def test_interpolate_is_differentiable_in_all_arguments(ends):
    a, b = ends
    loss = lambda a, b, t: square(landscape.interpolate(a, b, t))  # noqa: E731
    ga, gb, gt = jax.grad(loss, (0, 1, 2))(a, b, 0.25)
    m = landscape.interpolate(a, b, 0.25)
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5)  # noqa: E731
    jax.tree.map(lambda g, v: close(g, 1.5 * v), ga, m)
    jax.tree.map(lambda g, v: close(g, 0.5 * v), gb, m)
    difference = jax.tree.map(jnp.subtract, b, a)
    products = jax.tree.map(lambda u, v: jnp.sum(2 * u * v), m, difference)
    close(gt, sum(jax.tree.leaves(products)))


@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
def test_line_of_a_quadratic(ends, batch_size):
    a, b = ends
    found = landscape.line(square, a, b, points=9, batch_size=batch_size)
    loop = [square(landscape.interpolate(a, b, t)) for t in np.linspace(0, 1, 9)]
    np.testing.assert_allclose(found.alphas, np.linspace(0, 1, 9), rtol=1e-6)
    np.testing.assert_allclose(found.losses, loop, rtol=1e-5)


def test_line_takes_positions_and_any_pytree_of_values(ends):
    a, b = ends
    both = lambda p: {"loss": square(p), "first": p[0]["bias"]}  # noqa: E731
    found = landscape.line(both, a, b, alphas=[-1.0, 0.5, 2.0])
    assert found.losses["first"].shape == (3, 2)
    outside = landscape.interpolate(a, b, 2.0)
    np.testing.assert_allclose(found.losses["loss"][2], square(outside), rtol=1e-6)


def test_line_under_jit_vmap_and_grad(key):
    stack = jax.vmap(parameters)(jax.random.split(key, 3))
    origin = parameters(key)
    losses = lambda p: landscape.line(square, origin, p, points=5).losses  # noqa: E731
    together = jax.jit(jax.vmap(losses))(stack)
    for i in range(3):
        member = jax.tree.map(lambda v, i=i: v[i], stack)
        np.testing.assert_allclose(together[i], losses(member), rtol=1e-5)
    slope = jax.grad(lambda p: losses(p)[-1])(origin)
    jax.tree.map(
        lambda g, v: np.testing.assert_allclose(g, 2 * v, rtol=1e-5), slope, origin
    )


@pytest.mark.optimized
def test_memory_is_bounded_by_the_size_of_a_block():
    a, b = jnp.zeros(100_000), jnp.ones(100_000)
    run = lambda a, b, size: landscape.line(  # noqa: E731
        lambda p: jnp.sum(jnp.sin(p)), a, b, points=64, batch_size=size
    )
    # By itself, a block has some megabytes.
    for size, copies in ((1, 4), (4, 12), (None, 12)):
        compiled = jax.jit(run, static_argnums=2).lower(a, b, size).compile()
        used = compiled.memory_analysis().temp_size_in_bytes
        assert used <= copies * a.nbytes


def test_non_finite_losses_are_kept():
    found = landscape.line(lambda p: 1 / p, -jnp.ones(()), jnp.ones(()), points=3)
    assert jnp.isinf(found.losses[1])
    nan = landscape.line(jnp.log, -jnp.ones(()), jnp.ones(()), points=3)
    assert jnp.isnan(nan.losses[0]) and nan.losses[2] == 0


def test_bad_input_is_named(ends):
    a, b = ends
    with pytest.raises(ValueError, match=r"differ at \[0\]\['kernel'\].*\(3, 2\)"):
        landscape.interpolate(
            a, ({"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},), 0
        )
    with pytest.raises(ValueError, match=r"\[0\]\['bias'\] is in a and not in b"):
        landscape.interpolate(a, ({"kernel": a[0]["kernel"]},), 0)
    with pytest.raises(ValueError, match=r"\[1\] is in b and not in a"):
        landscape.line(square, a, (*b, jnp.ones(1)))
    with pytest.raises(ValueError, match="different containers"):
        landscape.interpolate(a, list(b), 0)
    with pytest.raises(TypeError, match="the root has dtype int32"):
        landscape.interpolate(jnp.arange(2), jnp.arange(2), 0)
    with pytest.raises(TypeError, match="not an array"):
        landscape.interpolate({"f": square}, {"f": square}, 0)
    with pytest.raises(ValueError, match="points is 1"):
        landscape.line(square, a, b, points=1)
    with pytest.raises(ValueError, match="batch_size is 0"):
        landscape.line(square, a, b, batch_size=0)
    with pytest.raises(ValueError, match=r"alphas has shape \(\)"):
        landscape.line(square, a, b, alphas=0.5)
