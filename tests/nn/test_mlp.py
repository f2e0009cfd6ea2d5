import chex
import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn, symmetry


def test_mlp_agrees_with_equinox(key):
    net = nn.MLP((3, 8, 8, 2), jax.nn.gelu, bias_scale=0.3)
    params = net.init(key)
    theirs = equinox.nn.MLP(3, 2, 8, 2, activation=jax.nn.gelu, key=key)
    theirs = equinox.tree_at(
        lambda m: [a for one in m.layers for a in (one.weight, one.bias)],
        theirs,
        [a for p in params for a in (p["kernel"].T, p["bias"])],
    )
    x = jax.random.normal(key, (6, 3))
    np.testing.assert_allclose(
        net.apply(params, x), jax.vmap(theirs)(x), rtol=1e-5, atol=1e-6
    )


def test_mlp_is_the_chain_of_its_layers(key):
    net = nn.MLP((3, 8, 2), jnp.tanh, "ntk", bias_scale=0.1)
    params = net.init(key)
    first, last = net.layers
    chain = model.Sequential((first, nn.Activation(jnp.tanh), last))
    x = jax.random.normal(key, (6, 3))
    expected = chain.apply((params[0], (), params[1]), x)
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-6)


def test_activations_are_all_values_from_inputs_to_outputs(key):
    net = nn.MLP((3, 8, 5, 2))
    params = net.init(key)
    x = jax.random.normal(key, (6, 3))
    values = net.activations(params, x)
    assert [v.shape for v in values] == [(6, 3), (6, 8), (6, 5), (6, 2)]
    assert min(float(v.min()) for v in values[1:3]) == 0
    assert float(values[-1].min()) < 0
    np.testing.assert_array_equal(values[-1], net.apply(params, x))


def test_the_default_scale_keeps_the_size_of_values_through_relu_layers(key):
    net = nn.MLP((200,) * 8)
    x = jax.random.normal(key, (50, 200))
    *_, last, y = net.activations(net.init(key), x)
    # A ReLU halves the second moment of 2 that each layer gives.
    assert np.mean(np.square(last)) == pytest.approx(1, rel=0.4)
    assert np.var(y) == pytest.approx(2, rel=0.4)


def test_hidden_units_can_be_permuted(key):
    net = nn.MLP((3, 8, 5, 2), bias_scale=1.0)
    spec = symmetry.permutation_spec(net)
    assert spec.sizes == (("P1", 8), ("P2", 5))
    params = net.init(key)
    moved = symmetry.apply_permutation(
        spec, symmetry.random_permutation(spec, key), params
    )
    x = jax.random.normal(key, (6, 3))
    np.testing.assert_allclose(
        net.apply(moved, x), net.apply(params, x), rtol=1e-5, atol=1e-5
    )


def test_tangent_kernels_keep_their_size_with_width_in_the_ntk_parameterization():
    x = jnp.ones(4)

    def kernel(width: int) -> float:
        net = nn.MLP((4, width, width, 1), parameterization="ntk")

        @jax.jit
        @jax.vmap
        def squared_slope(key):
            slope = jax.grad(lambda p: net.apply(p, x)[0])(net.init(key))
            return sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(slope))

        return float(jnp.mean(squared_slope(jax.random.split(jax.random.key(0), 40))))

    # Each of the three layers adds the second moment of the outputs, which is 2.
    assert kernel(64) == pytest.approx(6, rel=0.25)
    assert kernel(256) == pytest.approx(6, rel=0.25)


def test_params_have_one_entry_a_layer(key):
    shapes = jax.tree.map(jnp.shape, nn.MLP((3, 8, 2)).init(key))
    chex.assert_trees_all_equal(
        shapes,
        ({"kernel": (3, 8), "bias": (8,)}, {"kernel": (8, 2), "bias": (2,)}),
    )
    alone = nn.MLP((3, 8, 2), use_bias=False).init(key)
    assert [set(p) for p in alone] == [{"kernel"}, {"kernel"}]


@pytest.mark.parametrize("widths", [(3,), (), (3, 0, 2), (3, 2.5), [3, 2]])
def test_bad_widths_are_refused(widths):
    with pytest.raises(ValueError, match="widths must be a tuple of at least two pos"):
        nn.MLP(widths)


def test_other_bad_arguments_are_named():
    with pytest.raises(ValueError, match="parameterization must be one of"):
        nn.MLP((3, 2), parameterization="NTK")
    with pytest.raises(TypeError, match="activation must be a function.*got 'relu'"):
        nn.MLP((3, 2), "relu")
    with pytest.raises(TypeError, match="function must be a function.*got None"):
        nn.Activation(None)
