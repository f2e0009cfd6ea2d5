import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, symmetry

WIDTHS = (5, 12, 9, 3)


def init(key, widths=WIDTHS):
    params = []
    for i, (n, m) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        w = jax.random.normal(jax.random.fold_in(key, i), (n + 1, m))
        params.append({"kernel": w[:-1] / n**0.5, "bias": w[-1]})
    return tuple(params)


def init_kan(key, widths=WIDTHS):
    params = []
    for i, (n, m) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        w = jax.random.normal(jax.random.fold_in(key, i), (4, n, m))
        params.append({"coef": w[1:], "residual": w[0]})
    return tuple(params)


def kan_spec(params):
    dense = {"coef": (None, "in", "out"), "residual": ("in", "out")}
    return symmetry.chain_spec([dense] * len(params), params)


def apply(params, x):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"][None])
    return x @ params[-1]["kernel"] + params[-1]["bias"][None]


def objective(a, b):
    products = jax.tree.map(lambda u, v: float(jnp.sum(u * v)), a, b)
    return sum(jax.tree.leaves(products))


@pytest.mark.parametrize(
    ("kind", "order", "solver"),
    [("mlp", None, "host"), ("kan", 4, "host"), ("kan", None, "device")],
)
def test_a_planted_permutation_is_recovered_exactly(key, kind, order, solver):
    a = init(key) if kind == "mlp" else init_kan(key)
    spec = symmetry.mlp_spec(a) if kind == "mlp" else kan_spec(a)
    planted = symmetry.random_permutation(spec, jax.random.key(7))
    b = symmetry.apply_permutation(spec, planted, a)
    found = symmetry.match_weights(
        spec, a, b, key=order and jax.random.key(order), solver=solver
    )
    inverse = symmetry.invert_permutation(planted)
    jax.tree.map(np.testing.assert_array_equal, found.permutation, inverse)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    np.testing.assert_allclose(found.objective, objective(a, a), rtol=1e-5)
    assert found.converged


@pytest.mark.slow
@pytest.mark.parametrize("width", [512, 2048])
def test_planted_permutations_of_wide_layers(key, width):
    a = init(key, (32, width, 4))
    spec = symmetry.mlp_spec(a)
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)
    found = symmetry.match_weights(spec, a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    assert found.converged


def test_one_hidden_layer_needs_one_sweep(key):
    a = init(key, (4, 64, 2))
    spec = symmetry.mlp_spec(a)
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)
    found = symmetry.match_weights(spec, a, b, max_sweeps=1)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)
    # The second sweep is the one that finds nothing left to gain.
    assert not found.converged
    assert symmetry.match_weights(spec, a, b).sweeps == 2


@pytest.mark.parametrize("order", [None, 1])
def test_the_objective_never_decreases_and_ends_at_a_local_optimum(key, order):
    a, b = init(key), init(jax.random.key(1))
    spec = symmetry.mlp_spec(a)
    order = order and jax.random.key(order)
    values = [objective(a, b)]
    for sweeps in (1, 2, 3, 100):
        found = symmetry.match_weights(spec, a, b, key=order, max_sweeps=sweeps)
        np.testing.assert_allclose(
            found.objective, objective(a, found.permuted), rtol=1e-5
        )
        values.append(float(found.objective))
    assert np.all(np.diff(values) >= -1e-5 * abs(values[-1]))
    assert values[-1] > values[0] and found.converged
    again = symmetry.match_weights(spec, a, found.permuted)
    jax.tree.map(
        np.testing.assert_array_equal,
        again.permutation,
        symmetry.identity_permutation(spec),
    )


def test_matching_brings_parameters_closer_and_keeps_the_outputs(key):
    a, b = init(key), init(jax.random.key(1))
    spec, x = symmetry.mlp_spec(a), jax.random.normal(key, (6, 5))
    moved = symmetry.match_weights(spec, a, b).permuted
    distance = lambda p: sum(  # noqa: E731
        float(jnp.sum((u - v) ** 2))
        for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(p), strict=True)
    )
    assert distance(moved) < distance(b)
    np.testing.assert_allclose(apply(moved, x), apply(b, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [None, 2])
def test_jit_and_vmap_over_members(key, order):
    a = init(key)
    spec = symmetry.mlp_spec(a)
    stack = jax.vmap(init)(jax.random.split(key, 3))
    order = order and jax.random.key(order)
    match = lambda b: symmetry.match_weights(spec, a, b, key=order)  # noqa: E731
    together = jax.jit(jax.vmap(match))(stack)
    for i in (0, 2):
        alone = match(jax.tree.map(lambda v, i=i: v[i], stack))
        jax.tree.map(
            lambda t, v, i=i: np.testing.assert_allclose(t[i], v, rtol=1e-5),
            together,
            alone,
        )


def test_the_permuted_parameters_are_differentiable(key):
    a, b = init(key), init(jax.random.key(1))
    spec = symmetry.mlp_spec(a)
    square = lambda b: sum(  # noqa: E731
        jnp.sum(v**2)
        for v in jax.tree.leaves(symmetry.match_weights(spec, a, b).permuted)
    )
    jax.tree.map(
        lambda g, v: np.testing.assert_allclose(g, 2 * v, rtol=1e-5),
        jax.grad(square)(b),
        b,
    )


def test_double_precision_is_kept(x64, key):
    a = jax.tree.map(lambda v: v.astype(jnp.float64), init(key))
    b = jax.tree.map(lambda v: v[..., ::-1] * 1.1, a)
    found = symmetry.match_weights(symmetry.mlp_spec(a), a, b)
    assert found.objective.dtype == jnp.float64 and found.converged


def test_parameters_that_are_not_finite_stay_in_place(key):
    a = init(key)
    spec = symmetry.mlp_spec(a)
    b = jax.tree.map(lambda v: v.at[0].set(jnp.nan), a)
    found = symmetry.match_weights(spec, a, b)
    jax.tree.map(
        np.testing.assert_array_equal,
        found.permutation,
        symmetry.identity_permutation(spec),
    )
    assert not found.converged and jnp.isnan(found.objective)


def test_bad_input_is_named(key):
    a = init(key)
    spec = symmetry.mlp_spec(a)
    with pytest.raises(ValueError, match=r"a and b differ at \[0\]\['bias'\]"):
        symmetry.match_weights(spec, a, init(key, (5, 8, 9, 3)))
    with pytest.raises(ValueError, match="the spec does not fit a"):
        symmetry.match_weights(spec, a[:2], a[:2])
    with pytest.raises(TypeError, match=r"permutation_spec\(net\) gives; got MLP"):
        symmetry.match_weights(nn.MLP((5, 8, 3)), a, a)
    with pytest.raises(ValueError, match="max_sweeps is 0"):
        symmetry.match_weights(spec, a, a, max_sweeps=0)
    twice = symmetry.spec_from_axes({"w": ("P", "P")}, {"w": jnp.ones((3, 3))})
    with pytest.raises(ValueError, match=r"\['w'\] carries one permutation on two"):
        symmetry.match_weights(twice, {"w": jnp.ones((3, 3))}, {"w": jnp.ones((3, 3))})
