"""Exact statements on learned attention: arXiv 2503.10632."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn
from kanjax.kan import attention_transformer as transformer

N, R, G = 6, 3, 2
SERIES = bases.Fourier(G, frequency=1.0, constant=False)


def series(coef, a):
    """Sum of cosines and sines edge by edge, (rows, in) to (rows, out), by numpy."""
    coef, a = np.asarray(coef, np.float64), np.asarray(a, np.float64)
    y = np.zeros((*a.shape[:-1], coef.shape[-1]))
    for m in range(1, coef.shape[0] // 2 + 1):
        y += np.cos(m * a) @ coef[m - 1]
        y += np.sin(m * a) @ coef[coef.shape[0] // 2 + m - 1]
    return y


@pytest.fixture
def logits():
    return 2 * jax.random.normal(jax.random.key(5), (4, N, N))


@pytest.mark.parametrize("variant", ["w_phi", "phi_w", "phi_phi"])
def test_the_orders_are_their_formulas(variant, logits, key):
    operator = kan.AttentionOperator(N, R, SERIES, variant=variant)
    params = operator.init(key)
    first = params["functions"]["coef"]
    if variant == "w_phi":
        assert first.shape == (2 * G, N, R)
        expected = series(first, logits) @ np.asarray(params["projection"]["kernel"])
    elif variant == "phi_w":
        assert first.shape == (2 * G, R, N)
        expected = series(first, logits @ params["projection"]["kernel"])
    else:
        expected = series(params["others"]["coef"], series(first, logits))
    y = operator.apply(params, logits)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=2e-4)


def test_the_full_operator_has_a_function_on_every_pair(logits, key):
    operator = kan.AttentionOperator(N, None, SERIES)
    params = operator.init(key)
    assert params["functions"]["coef"].shape == (2 * G, N, N)
    expected = series(params["functions"]["coef"], logits)
    np.testing.assert_allclose(
        operator.apply(params, logits), expected, rtol=1e-4, atol=1e-4
    )


def test_the_rank_of_attention_is_at_most_that_of_the_operator(logits, key):
    operator = kan.AttentionOperator(N, R, SERIES)
    found = operator.apply(operator.init(key), logits)
    np.testing.assert_array_equal(transformer.matrix_rank(found), R)
    np.testing.assert_array_equal(transformer.matrix_rank(logits), N)


def test_a_single_sine_is_a_sine(logits, key):
    operator = kan.AttentionOperator(N, N, SERIES)
    coef = jnp.zeros((2 * G, N, N)).at[G].set(jnp.eye(N))
    params = {"functions": {"coef": coef}, "projection": {"kernel": jnp.eye(N)}}
    found = operator.apply(params, logits)
    np.testing.assert_allclose(found, np.sin(logits), atol=1e-6)


def test_an_identity_base_sums_the_row(logits, key):
    operator = kan.AttentionOperator(N, R, SERIES, lambda v: v)
    params = operator.init(key)
    params["functions"] = {
        "coef": jnp.zeros((2 * G, N, R)),
        "residual": jnp.ones((N, R)),
    }
    kernel = jnp.zeros((R, N)).at[:, :R].set(jnp.eye(R))
    found = operator.apply(params | {"projection": {"kernel": kernel}}, logits)
    sums = jnp.broadcast_to(logits.sum(-1, keepdims=True), (4, N, R))
    np.testing.assert_allclose(found[..., :R], sums, atol=1e-5)


def test_turning_by_angles_is_the_series():
    t = np.linspace(-20, 20, 4001, dtype=np.float32)
    values = bases.Fourier(11, frequency=1.0, constant=False)(jnp.asarray(t))
    m = np.arange(1, 12)
    angles = m * t[:, None].astype(np.float64)
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_it_is_periodic(x64, logits, key):
    operator = kan.AttentionOperator(N, R, SERIES)
    params = operator.init(key)
    found = operator.apply(params, logits + 2 * np.pi)
    np.testing.assert_allclose(found, operator.apply(params, logits), rtol=1e-9)


@pytest.mark.parametrize(
    "size, harmonics, millions, universal",
    [
        ("tiny", 3, 0.76, 0.06),
        ("small", 3, 1.53, 0.13),
        ("base", 1, 1.70, 0.14),
    ],
)
def test_the_published_numbers_of_parameters(size, harmonics, millions, universal):
    plain = nn.vision_transformer(size)
    sizes = {"heads": plain.heads, "depth": plain.depth}
    basis = bases.Fourier(harmonics, frequency=1.0, constant=False)
    for shared, published in ((False, millions), (True, universal)):
        cost = kan.attention_operator_cost(
            197, 12, basis.size, universal=shared, **sizes
        )
        # The table has 0.766 as 0.76: digits are cut or rounded.
        assert abs(cost.parameters / 1e6 - published) < 0.01
        net = kan.karat(size, universal=shared, basis=basis)
        count, before = (
            model.count_parameters(jax.eval_shape(each.init, jax.random.key(0)))
            for each in (net, plain)
        )
        bare = kan.attention_operator_cost(
            197, 12, basis.size, universal=shared, edge_scales=0, **sizes
        )
        assert count - before == bare.parameters


SMALL = nn.VisionTransformer((4, 4), 2, 1, 3, 8, 2, 2)
OPERATOR = kan.AttentionOperator(5, 2, SERIES, coef_std=None)


@pytest.fixture(scope="module")
def universal():
    net = transformer.with_operators(SMALL, OPERATOR, universal=True)
    params = jax.jit(net.init)(jax.random.key(0))
    return net, params, jax.random.normal(jax.random.key(1), (3, 4, 4, 1))


def test_a_shared_operator_has_the_gradients_of_all_blocks(universal):
    net, params, x = universal

    def total(apply):
        return jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(apply(p, x)))))

    shared = total(net.apply)(params)["operators"]
    blocks = total(net.network.apply)(net.distribute(params))["blocks"]
    each = [block["attention"]["operators"] for block in blocks]
    assert np.max(np.abs(each[0]["projection"]["kernel"])) > 1e-4
    summed = jax.tree.map(lambda *leaves: sum(leaves), *each)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        shared,
        summed,
    )
    count = model.count_parameters(params) - model.count_parameters(
        SMALL.init(jax.random.key(0))
    )
    assert count == SMALL.heads * (2 * G + 1) * 5 * 2


def test_an_operator_is_made_for_a_number_of_tokens(universal):
    net, params, x = universal
    with pytest.raises(ValueError, match="a row for 5 tokens"):
        OPERATOR.apply(OPERATOR.init(jax.random.key(0)), jnp.ones((4, 4)))
    with pytest.raises(ValueError, match="operator has tokens=6; the network has 5"):
        transformer.with_operators(SMALL, kan.AttentionOperator(6, 2))
    attention = net.network.attention
    inner = net.distribute(params)["blocks"][0]["attention"]
    with pytest.raises(ValueError, match="a row for 5 tokens"):
        attention.apply(inner, jnp.ones((2, 4, 8)))
