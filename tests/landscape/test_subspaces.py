import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, nn

NET = nn.MLP((4, 7, 3))
KINDS = ("dense", "regenerated", "sparse", "fastfood")
SIZE = 4 * 7 + 7 + 7 * 3 + 3


def matrix(space):
    """P, column by column."""
    return jax.vmap(space.flat)(jnp.eye(space.dimension)).T


@pytest.mark.parametrize("kind", KINDS)
def test_linear_with_columns_over_all_leaves(key, kind):
    params = NET.init(key)
    space = landscape.subspace(key, params, 20, kind=kind)
    p = matrix(space)
    assert p.shape == (SIZE, 20) and isinstance(space, landscape.Subspace)
    norms = jnp.linalg.norm(p, axis=0)
    if kind == "fastfood":
        np.testing.assert_allclose(jnp.mean(norms**2), 1.0, atol=0.25)
    else:
        np.testing.assert_allclose(norms, 1.0, rtol=1e-5)
    u, v = jax.random.normal(key, (2, 20))
    np.testing.assert_allclose(
        space.flat(2 * u - v), 2 * space.flat(u) - space.flat(v), atol=1e-5
    )
    np.testing.assert_array_equal(space.flat(jnp.zeros(20)), 0)
    moved = landscape.place(space, params, v)
    change = jax.tree.map(jnp.subtract, moved, params)
    flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(change)])
    np.testing.assert_allclose(flat, p @ v, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_transpose_is_the_gradient(key, kind):
    space = landscape.subspace(key, jnp.zeros(50), 9, kind=kind)
    w = jax.random.normal(key, (50,))
    p = matrix(space)
    slope = jax.grad(lambda v: space.flat(v) @ w)(jnp.ones(9))
    np.testing.assert_allclose(slope, p.T @ w, rtol=1e-4, atol=1e-5)
    if kind == "regenerated" and jax.__version_info__ < (0, 10):
        pytest.skip("jax 0.9 cannot transpose a loop over its inputs")
    (turned,) = jax.linear_transpose(space.flat, jnp.ones(9))(w)
    np.testing.assert_allclose(turned, p.T @ w, rtol=1e-4, atol=1e-5)


def test_fastfood_is_the_product_of_its_factors(key, x64):
    from scipy import linalg as scipy_linalg

    space = landscape.subspace(key, jnp.zeros(50), 20)
    h = scipy_linalg.hadamard(64)
    s, order, g = (
        np.asarray(v[0]) for v in (space.signs, space.order, space.gaussians)
    )
    full = h @ np.diag(g) @ np.eye(64)[order] @ h @ np.diag(s)
    expected = full[:50, :20] / np.sqrt(64 * np.sum(g**2)) / np.sqrt(50 / 64)
    np.testing.assert_allclose(matrix(space), expected, atol=1e-6)
    # Over all 64 rows each column has squared norm 64 / 50, exactly.
    whole = full / np.sqrt(64 * np.sum(g**2)) / np.sqrt(50 / 64)
    np.testing.assert_allclose(np.sum(whole**2, axis=0), 64 / 50, rtol=1e-6)


def test_fastfood_columns_of_a_power_of_two_have_norm_one(key):
    space = landscape.subspace(key, jnp.zeros((8, 16)), 128)
    np.testing.assert_allclose(jnp.linalg.norm(matrix(space), axis=0), 1.0, rtol=1e-5)


def test_more_dimensions_than_parameters_reach_the_whole_space(key, x64):
    for kind in ("dense", "fastfood"):
        space = landscape.subspace(key, jnp.zeros(12, jnp.float64), 40, kind=kind)
        assert jnp.linalg.matrix_rank(matrix(space)) == 12


def test_sparse_entries_are_independent_coins(key):
    space = landscape.subspace(key, jnp.zeros((50, 50)), 200, kind="sparse")
    p = np.asarray(matrix(space))
    counts = (p != 0).sum(0)
    # 2500 coins of 1/50: mean 50, variance 49.
    assert abs(counts.mean() - 50) < 4 * 7 / np.sqrt(200)
    assert 5.5 < counts.std() < 8.5
    by_row = (p != 0).sum(1)
    assert abs(by_row[:1250].sum() / by_row.sum() - 0.5) < 0.02
    nonzero = p[p != 0]
    assert abs(np.sign(nonzero).mean()) < 4 / np.sqrt(nonzero.size)
    for column, count in zip(p.T, counts, strict=True):
        np.testing.assert_allclose(
            np.unique(np.abs(column[column != 0])), 1 / np.sqrt(count), rtol=1e-5
        )


def test_densities(key):
    params = {"a": jnp.zeros(400), "b": jnp.zeros(4)}
    space = landscape.subspace(key, params, 300, kind="sparse", density="per_leaf")
    p = np.asarray(matrix(space)) != 0
    np.testing.assert_allclose(p[:400].mean(), 1 / 20, rtol=0.1)
    np.testing.assert_allclose(p[400:].mean(), 1 / 2, rtol=0.1)
    full = landscape.subspace(key, params, 3, kind="sparse", density=1)
    assert np.all(matrix(full) != 0)
    few = landscape.subspace(key, jnp.zeros(9), 50, kind="sparse", density=0.01)
    norms = jnp.linalg.norm(matrix(few), axis=0)
    # A column without entries stays zero, and finite.
    assert set(np.round(np.unique(norms), 5)) == {0.0, 1.0}


def test_dtypes_jit_and_vmap_over_keys(key):
    params = {"w": jnp.zeros((5, 3), jnp.bfloat16), "b": jnp.zeros(3)}

    def moved(k, v):
        return landscape.place(landscape.subspace(k, params, 4), params, v)

    keys = jax.random.split(key, 3)
    together = jax.jit(jax.vmap(moved, in_axes=(0, None)))(keys, jnp.ones(4))
    assert together["w"].dtype == jnp.bfloat16 and together["b"].dtype == jnp.float32
    alone = moved(keys[1], jnp.ones(4))
    np.testing.assert_allclose(together["b"][1], alone["b"], rtol=1e-5)


def test_flax_and_equinox_losses(key):
    x = jax.random.normal(key, (6, 3))
    net = linen.Dense(2)
    variables = net.init(key, x)
    space = landscape.subspace(key, variables, 3)
    loss = landscape.subspace_loss(
        lambda p: jnp.mean(net.apply(p, x) ** 2), variables, space
    )
    np.testing.assert_allclose(
        loss(jnp.zeros(3)), jnp.mean(net.apply(variables, x) ** 2), rtol=1e-6
    )
    params, static = eqx.partition(eqx.nn.MLP(3, 2, 4, 1, key=key), eqx.is_array)
    space = landscape.subspace(key, params, 3)
    apply = landscape.subspace_loss(
        lambda p, x: jax.vmap(eqx.combine(p, static))(x), params, space
    )
    assert apply(jnp.ones(3), x).shape == (6, 2)


@pytest.mark.optimized
def test_nothing_of_the_size_of_the_matrix():
    params, v = jnp.zeros(50_000), jnp.ones(1_000)
    for kind in ("fastfood", "regenerated"):
        run = lambda k, v, kind=kind: landscape.subspace(  # noqa: E731
            k, params, 1_000, kind=kind
        ).flat(v)
        compiled = jax.jit(run).lower(jax.random.key(0), v).compile()
        used = compiled.memory_analysis().temp_size_in_bytes
        assert used < 1_000 * params.nbytes / 8


def test_bad_input_is_named(key):
    params = jnp.zeros(6)
    with pytest.raises(ValueError, match="kind is 'full'"):
        landscape.subspace(key, params, 2, kind="full")
    with pytest.raises(ValueError, match="dimension is 0"):
        landscape.subspace(key, params, 0)
    with pytest.raises(ValueError, match="density is 1.5"):
        landscape.subspace(key, params, 2, kind="sparse", density=1.5)
    space = landscape.subspace(key, params, 2)
    with pytest.raises(ValueError, match=r"v has shape \(3,\).*\(2,\)"):
        landscape.place(space, params, jnp.zeros(3))
    with pytest.raises(ValueError, match="start has 7 parameters.* of 6"):
        landscape.place(space, jnp.zeros(7), jnp.zeros(2))
    with pytest.raises(TypeError, match="start at the root has dtype int32"):
        landscape.place(space, jnp.zeros(6, jnp.int32), jnp.zeros(2))
