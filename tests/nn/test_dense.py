import chex
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn

SCALES = {"kernel_scale": 1.5, "bias_scale": 0.5}


def test_dense_agrees_with_flax(key):
    params = nn.Dense(5, 3, bias_scale=1.0).init(key)
    x = jax.random.normal(key, (4, 2, 5))
    y = nn.Dense(5, 3).apply(params, x)
    theirs = flax.linen.Dense(3).apply({"params": params}, x)
    np.testing.assert_allclose(y, theirs, rtol=1e-6, atol=1e-6)


def test_a_single_example_has_no_batch_axis(key):
    dense = nn.Dense(5, 3)
    params = dense.init(key)
    x = np.arange(5.0, dtype=np.float32)
    np.testing.assert_allclose(dense.apply(params, x), x @ params["kernel"], rtol=1e-5)


def test_both_parameterizations_are_one_function_of_scaled_weights(key):
    ntk = nn.Dense(6, 4, parameterization="ntk", **SCALES)
    params = ntk.init(key)
    scaled = {
        "kernel": params["kernel"] * 1.5 / np.sqrt(6),
        "bias": params["bias"] * 0.5,
    }
    x = jax.random.normal(key, (7, 6))
    y = nn.Dense(6, 4, **SCALES).apply(scaled, x)
    np.testing.assert_allclose(ntk.apply(params, x), y, rtol=1e-5, atol=1e-6)
    # One key draws one function in both.
    same = nn.Dense(6, 4, **SCALES).init(key)
    chex.assert_trees_all_close(same, scaled, rtol=1e-6)


def test_standard_weights_have_the_variance_asked_for(key):
    params = nn.Dense(300, 500, **SCALES).init(key)
    # The standard error of a standard deviation from n draws is 1 / sqrt(2 n).
    assert np.std(params["kernel"]) * np.sqrt(300) == pytest.approx(1.5, rel=0.01)
    assert np.std(params["bias"]) == pytest.approx(0.5, rel=0.1)
    assert abs(np.mean(params["kernel"])) < 4 * 1.5 / 300 / np.sqrt(500)


def test_ntk_weights_are_standard_normal_and_outputs_of_unit_order(key):
    dense = nn.Dense(300, 500, parameterization="ntk", **SCALES)
    params = dense.init(key)
    assert np.std(params["kernel"]) == pytest.approx(1, rel=0.01)
    assert np.std(params["bias"]) == pytest.approx(1, rel=0.1)
    y = dense.apply(params, jnp.ones((1, 300)))
    assert np.var(y) == pytest.approx(1.5**2 + 0.5**2, rel=0.2)


def test_the_bias_starts_at_zero_by_default(key):
    bias = nn.Dense(2, 3).init(key)["bias"]
    np.testing.assert_array_equal(bias, np.zeros(3))
    assert not np.any(np.signbit(bias))


@pytest.mark.parametrize(
    "dense",
    [nn.Dense(2, 3, use_bias=False), nn.Dense(2, 3, parameterization="ntk")],
    ids=["not asked for", "of scale 0"],
)
def test_a_bias_that_could_not_be_trained_is_left_out(dense, key):
    assert set(dense.init(key)) == set(dense.parameter_axes()) == {"kernel"}
    assert not dense.has_bias


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features must be a positive integer; got 0"),
        ({"out_features": 2.0}, "out_features must be a positive integer; got 2.0"),
        ({"out_features": True}, "out_features must be a positive integer; got True"),
        (
            {"parameterization": "mup"},
            r"parameterization must be one of \('standard', 'ntk'\); got 'mup'",
        ),
        ({"kernel_scale": -1.0}, "kernel_scale must be at least 0 and finite; got -1"),
        ({"bias_scale": float("nan")}, "bias_scale must be at least 0 and finite"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Dense(**{"in_features": 2, "out_features": 3} | arguments)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
def test_inputs_of_another_width_are_refused(shape, key):
    dense = nn.Dense(2, 3)
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 2\); got"):
        dense.apply(dense.init(key), jnp.ones(shape))
