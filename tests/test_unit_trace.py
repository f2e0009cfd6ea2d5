import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, model, nn, symmetry

relu = nn.Activation(jax.nn.relu)
BLOCK = model.Residual(model.Sequential((nn.Dense(6, 9), relu, nn.Dense(9, 6))))
NETS = {
    "residual": model.Sequential((nn.Dense(3, 6), BLOCK, BLOCK, nn.Dense(6, 2))),
    "parallel": model.Sequential(
        (
            nn.Dense(3, 5),
            model.Parallel((nn.Dense(5, 4), kan.KAN((5, 4)))),
            nn.Dense(4, 2),
        )
    ),
    "transformer": model.Sequential(
        (
            nn.Dense(3, 8),
            model.Residual(model.Sequential((nn.LayerNorm(8), nn.Attention(8, 4)))),
            model.Residual(
                model.Sequential((nn.RMSNorm(8), nn.Dense(8, 7), relu, nn.Dense(7, 8)))
            ),
            nn.LayerNorm(8),
            nn.Dense(8, 2),
        )
    ),
    "conv": model.Sequential(
        (
            nn.Conv(3, 6, (3,)),
            relu,
            model.Residual(
                model.Sequential((nn.Conv(6, 5, (3,)), relu, nn.Conv(5, 6, (1,))))
            ),
            nn.Conv(6, 2, (3,), strides=2),
        )
    ),
}
SIZES = {
    "residual": {"P1": 6, "P2": 9, "P4": 9},
    "parallel": {"P1": 5, "P2": 4},
    "transformer": {"P1": 8, "B2": 4, "P3": 7},
    "conv": {"P1": 6, "P2": 5},
}


@pytest.mark.parametrize("name", NETS)
def test_specs_hold(key, name):
    net = NETS[name]
    params = jax.tree.map(
        lambda v: v + 0.1 * jax.random.normal(key, v.shape), net.init(key)
    )
    x = jax.random.normal(key, (4, 8, 3))
    spec = symmetry.permutation_spec(net)
    assert dict(spec.sizes) == SIZES[name]
    assert symmetry.verify_spec(spec, net.apply, params, x, key).holds
    planted = symmetry.random_permutation(spec, jax.random.key(1))
    moved = symmetry.apply_permutation(spec, planted, params)
    changed = jax.tree.map(lambda u, v: bool(jnp.any(u != v)), moved, params)
    assert any(jax.tree.leaves(changed))
    back = symmetry.apply_permutation(spec, symmetry.invert_permutation(planted), moved)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_weight_matching_recovers_a_planted_permutation(key, name):
    net = NETS[name]
    a = net.init(key)
    spec = symmetry.permutation_spec(net)
    planted = symmetry.random_permutation(spec, jax.random.key(2))
    b = symmetry.apply_permutation(spec, planted, a)
    found = symmetry.match_weights(spec, a, b)
    jax.tree.map(np.testing.assert_array_equal, found.permuted, a)


def test_values_of_units_move_with_them(key):
    net = NETS["residual"]
    a, x = net.init(key), jax.random.normal(key, (10, 3))
    spec = symmetry.permutation_spec(net)
    planted = symmetry.random_permutation(spec, key)
    b = symmetry.apply_permutation(spec, planted, a)
    before, after = (symmetry.hidden_values(net, p, x) for p in (a, b))
    # The stream is read by both branches and by the last layer.
    assert before["P1"].shape == (30, 6) and before["P2"].shape == (10, 9)
    for name, units in planted.items():
        np.testing.assert_allclose(
            after[name], before[name][:, units], rtol=1e-4, atol=1e-5
        )


def test_values_are_the_inputs_of_the_next_layer(key):
    net = nn.MLP((3, 5, 4, 2), jnp.tanh)
    params, x = net.init(key), jax.random.normal(key, (7, 3))
    found = symmetry.hidden_values(net, params, x)
    first = jnp.tanh(x @ params[0]["kernel"] + params[0]["bias"][None])
    np.testing.assert_allclose(found["P1"], first, rtol=1e-5)
    np.testing.assert_allclose(found["P2"], net.activations(params, x)[2], rtol=1e-6)


def test_blocks_by_hand(key):
    params = {"w": jax.random.normal(key, (3, 6))}
    spec = symmetry.spec_from_axes({"w": (None, ("H", 3))}, params)
    assert spec.sizes == (("H", 3),)
    moved = symmetry.apply_permutation(spec, {"H": jnp.array([2, 0, 1])}, params)
    np.testing.assert_array_equal(moved["w"], params["w"][:, [4, 5, 0, 1, 2, 3]])
    with pytest.raises(ValueError, match="4 blocks of permutation 'H'"):
        symmetry.spec_from_axes({"w": (None, ("H", 4))}, params)
