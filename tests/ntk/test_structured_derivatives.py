"""Which weights are found in a jaxpr, and that their shares are those of Jacobians."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn, ntk
from kanjax.ntk import structured_derivatives


class Flax(linen.Module):
    """Convolutions of both kinds, a norm, attention, weights in scaled products."""

    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 2), strides=2, kernel_dilation=2)(x))
        x = linen.relu(linen.ConvTranspose(5, (3, 3), strides=(2, 2))(x))
        x = linen.LayerNorm()(x).reshape(x.shape[0], -1, 5)
        x = linen.MultiHeadDotProductAttention(num_heads=1)(x)
        return linen.Dense(3)(x.mean(1))


def tied(params, x):
    return jnp.tanh(x @ params["w"]) @ params["w"].T + jnp.sum(params["b"]) * x


def scanned(params, x):
    step = lambda x, w: (jnp.tanh(x @ w), None)  # noqa: E731
    return jax.lax.scan(step, x, params["w"])[0] @ params["out"]


def scaled_and_turned(params, x):
    return jnp.tanh((0.3 * params["w"]).T @ x.T).T @ params["v"].reshape(4, 2)


def draw(*shapes):
    keys = jax.random.split(jax.random.key(2), len(shapes))
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


def case(name):
    """A function, its parameters, inputs, and how many products are to be found."""
    vectors, image = draw((5, 4), (3, 4, 4, 2))
    key = jax.random.key(0)
    if name == "flax":
        return Flax().apply, Flax().init(key, image), image, 7
    if name == "conv":
        net = model.Sequential(
            (
                nn.Conv(2, 6, (3, 3), parameterization="ntk", bias_scale=0.2),
                nn.Activation(jax.nn.relu),
                nn.Conv(6, 4, (2, 2), padding="CIRCULAR"),
                nn.GlobalPool(2),
            )
        )
        return net.apply, net.init(key), image, 2
    if name == "kan":
        net = kan.KAN((4, 5, 3), basis=bases.BSpline(3))
        return net.apply, net.init(key), vectors, 2
    w, b, v, square, out = draw((4, 4), (4,), (8,), (3, 4, 4), (4, 2))
    return {
        "tied": (tied, {"w": w, "b": b}, vectors, 0),
        "scanned": (scanned, {"w": square, "out": out}, vectors, 1),
        "scaled and turned": (scaled_and_turned, {"w": w, "v": v}, vectors, 2),
    }[name]


REST = {"flax": 2, "tied": 2, "scanned": 1}
CASES = ["flax", "conv", "kan", "tied", "scanned", "scaled and turned"]


@pytest.mark.parametrize("name", CASES)
def test_equals_the_contraction_of_jacobians(name, x64):
    apply, params, x, found = case(name)
    params, x = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, x))
    single = lambda p, x: apply(p, x[None])[0]  # noqa: E731
    plan = structured_derivatives.plan(single, params, x[0])
    assert len(plan.sites) == found
    # A bias goes with its product; of a norm, and whatever is used twice, is the rest.
    assert plan.leaves - len(plan.covered) == REST.get(name, 0)

    def kernel(**options):
        return ntk.empirical(apply, params, x, x[:2] + 0.1, **options)

    full = kernel(outputs="full", method="jacobian")
    mean = jnp.trace(full, axis1=2, axis2=3) / full.shape[-1]
    for outputs, expected in (("full", full), ("trace", mean)):
        found = kernel(outputs=outputs, method="structured")
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_positions_are_paired_or_summed_whichever_is_cheaper(x64):
    """Both ways of a convolution's share, at sizes where each is chosen."""
    for positions, inputs, features in ((2, 7, 5), (9, 2, 3)):
        a, d = draw((4, positions, inputs), (4, 2, positions, features))
        costs = structured_derivatives._costs(positions, inputs, features, 2, 4, 4, 4)
        assert (costs[0] < costs[1]) == (positions == 2)
        jacobian = np.einsum("nsc,nosf->nocf", a, d)
        expected = np.einsum("iocf,jpcf->ijop", jacobian, jacobian)
        found = structured_derivatives._site_share((a, d), (a, d), "full")
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.optimized
def test_no_jacobian_of_a_large_weight_is_in_memory():
    net = nn.MLP((32, 512, 512, 4))
    params, x = net.init(jax.random.key(0)), jnp.ones((16, 32))

    def memory(method):
        kernel = lambda p, x: ntk.empirical(net.apply, p, x, method=method)  # noqa: E731
        compiled = jax.jit(kernel).lower(params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    jacobian = 16 * 4 * 512 * 512 * 4
    assert memory("structured") < jacobian / 10 < jacobian < memory("jacobian")


def test_multiplications_are_counted_within_scans_and_convolutions():
    params = {"w": jnp.ones((3, 4, 4)), "out": jnp.ones((4, 2))}
    single = lambda p, x: scanned(p, x[None])[0]  # noqa: E731
    plan = structured_derivatives.plan(single, params, jnp.ones(4))
    # Three steps of a product and a tanh, then the last product.
    products = 3 * (4 * 4 + 4) + 4 * 2
    assert products <= structured_derivatives.forward_cost(plan) <= products + 10
    net = nn.Conv(2, 6, (3, 3), use_bias=False)
    image = jnp.ones((5, 4, 2))
    plan = structured_derivatives.plan(net.apply, net.init(jax.random.key(0)), image)
    products = 5 * 4 * 6 * 9 * 2
    assert products <= structured_derivatives.forward_cost(plan) <= 1.2 * products
