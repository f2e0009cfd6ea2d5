"""Recorded values are those of the layers one by one; moments are numpy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, model, nn, taps

NET = model.Sequential(
    (
        nn.Dense(3, 4),
        model.Residual(model.Sequential((nn.Activation(jnp.tanh), nn.Dense(4, 4)))),
        model.Concatenate((nn.Dense(4, 2), kan.KAN((4, 2)))),
        nn.MLP((4, 5, 2)),
    )
)


@pytest.fixture(scope="module")
def params():
    return NET.init(jax.random.key(0))


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (6, 3))


def test_values_are_those_of_the_layers_one_by_one(params, x):
    values = taps.record(NET, params, x)
    first = NET.layers[0].apply(params[0], x)
    branch = NET.layers[1].branch.layers
    inner = branch[1].apply(params[1][1], jnp.tanh(first))
    left, right = NET.layers[2].branches
    side = [
        left.apply(params[2][0], first + inner),
        right.apply(params[2][1], first + inner),
    ]
    hidden = NET.layers[3].activations(params[3], jnp.concatenate(side, axis=-1))
    expected = {
        "[0]": first,
        "[1][0]": jnp.tanh(first),
        "[1][1]": inner,
        "[1]": first + inner,
        "[2][0]": side[0],
        "[2][1][0]": side[1],
        "[2][1]": side[1],
        "[2]": jnp.concatenate(side, axis=-1),
        "[3][0]": hidden[1],
        "[3][1]": hidden[2],
        "[3]": hidden[2],
        "": NET.apply(params, x),
    }
    assert list(values) == list(expected)
    for path, value in expected.items():
        np.testing.assert_allclose(values[path], value, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    "net",
    [
        kan.SelectableKAN((3, 5, 2)),
        kan.AFKAN((3, 5, 2)),
        kan.AFKAN((3, 5, 2), reductions=("global_attn", "local_attn")),
    ],
)
def test_networks_of_every_kind_have_their_layers_recorded(net, x):
    params = net.init(jax.random.key(0))
    values = taps.record(net, params, x)
    assert {path: v.shape for path, v in values.items()} == {
        "[0]": (6, 5),
        "[1]": (6, 2),
        "": (6, 2),
    }
    first = net.layers[0].apply(params[0], x)
    np.testing.assert_allclose(values["[0]"], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values[""], net.apply(params, x))


def test_recording_under_jit_vmap_and_grad(params, x):
    members = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    record = jax.jit(jax.vmap(lambda p: taps.record(NET, p, x)))
    for path, value in taps.record(NET, params, x).items():
        np.testing.assert_allclose(record(members)[path][0], value, 1e-5, 1e-6)
    slope = jax.grad(lambda x: jnp.sum(taps.record(NET, params, x)["[1]"]))(x)
    assert np.all(np.isfinite(slope)) and np.any(slope != 0)


@pytest.mark.parametrize("scale, offset", [(1, 0), (1e-15, 0), (1e15, 0), (1.0, 1e4)])
def test_moments_are_those_of_all_samples_at_any_scale(scale, offset):
    x = np.random.default_rng(0).normal(size=(40, 3)) * scale + offset
    x = x.astype(np.float32)
    moments = taps.stream(jnp.asarray(part) for part in np.split(x, [1, 7, 30]))
    expected = np.cov(x.astype(float), rowvar=False)
    size = np.abs(expected).max()
    np.testing.assert_allclose(moments.mean, x.astype(float).mean(0), rtol=1e-5)
    # A mean is known to its own round-off; sums of squares would lose the square of it.
    bound = 1e-5 + 2 * np.finfo(np.float32).eps * offset
    np.testing.assert_allclose(moments.covariance() / size, expected / size, atol=bound)
    diagonal = taps.stream((jnp.asarray(x[:9]), jnp.asarray(x[9:])), diagonal=True)
    variances = diagonal.covariance() / size
    np.testing.assert_allclose(variances, np.diag(expected) / size, atol=bound)


def test_moments_of_a_batch_far_from_zero():
    x = np.float32(1e6 + np.random.default_rng(0).normal(size=(107, 2)))
    expected = np.cov(x.astype(float), rowvar=False)
    covariance = taps.measure(jnp.asarray(x)).covariance()
    np.testing.assert_allclose(covariance, expected, rtol=1e-5, atol=1e-5)
    variances = taps.measure(jnp.asarray(x), diagonal=True).covariance()
    np.testing.assert_allclose(variances, np.diag(expected), rtol=1e-5)


def test_half_precision_is_summed_in_single_and_positions_are_samples():
    x = jnp.ones((8, 512, 2), jnp.bfloat16)
    moments = taps.measure(x)
    assert float(moments.count) == 4096 and moments.mean.dtype == jnp.float32
    np.testing.assert_array_equal(moments.mean, 1)


def test_no_batch():
    with pytest.raises(ValueError, match="at least one batch"):
        taps.stream([])
