import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import linalg, nn, ntk

NET = nn.MLP((3, 7, 2), jnp.tanh)


def problem(n=9):
    x = jax.random.normal(jax.random.key(1), (n, 3))
    return NET.init(jax.random.key(0)), x, x[:5] + 0.3


def matrix(kernel):
    n, m, o, p = kernel.shape
    return np.swapaxes(kernel, 1, 2).reshape(n * o, m * p)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_products_are_those_of_the_kernel(batch_size, x64):
    params, x1, x2 = problem()
    for second in (None, x2):
        other = x1 if second is None else second
        v = jax.random.normal(jax.random.key(3), (len(other), 2))
        options = {"batch_size": batch_size}
        full = ntk.tangent_product(NET.apply, params, x1, second, **options)
        kernel = ntk.empirical(NET.apply, params, x1, second, outputs="full")
        expected = np.einsum("ijop,jp->io", kernel, v)
        np.testing.assert_allclose(full(v), expected, rtol=1e-6, atol=1e-6)
        trace = ntk.tangent_product(
            NET.apply, params, x1, second, outputs="trace", **options
        )
        expected = ntk.empirical(NET.apply, params, x1, second) @ v[:, 0]
        np.testing.assert_allclose(trace(v[:, 0]), expected, rtol=1e-6, atol=1e-6)


def test_eigenpairs_trace_and_logdet_of_the_kernel_by_its_products(x64):
    params, x, _ = problem()
    product = ntk.tangent_product(NET.apply, params, x)
    full = matrix(ntk.empirical(NET.apply, params, x, outputs="full"))
    values, vectors = np.linalg.eigh(full)
    like = jnp.zeros((9, 2))
    top = linalg.eigenpairs(product, like, 3, jax.random.key(5), which="largest")
    assert top.converged
    np.testing.assert_allclose(top.values, values[::-1][:3], rtol=1e-6)
    overlap = np.abs(top.vectors.reshape(3, 18) @ vectors[:, ::-1][:, :3])
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-5)
    trace = linalg.hutchinson_trace(product, like, jax.random.key(6), probes=200)
    assert abs(trace.value - np.trace(full)) < 4 * trace.error < np.trace(full)
    quadrature = linalg.lanczos_quadrature(
        product, like, jax.random.key(7), steps=18, probes=100
    )
    logdet = linalg.trace_of(lambda value: jnp.log(value + 0.1), quadrature)
    expected = np.linalg.slogdet(full + 0.1 * np.eye(18))[1]
    assert abs(logdet.value - expected) < 4 * logdet.error < 5


@pytest.mark.optimized
def test_the_operator_takes_memory_of_blocks_only():
    net = nn.MLP((16, 64, 4))
    params = net.init(jax.random.key(0))

    def memory(n):
        x, v = jnp.ones((n, 16)), jnp.ones((n, 4))

        def run(params, x, v):
            return ntk.tangent_product(net.apply, params, x, batch_size=32)(v)

        compiled = jax.jit(run).lower(params, x, v).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(4096) < memory(256) + 4096 * 4 * 16


def test_shares_of_layers_sum_to_the_kernel(x64):
    params, x, _ = problem()
    shares = ntk.by_layer(NET.apply, params, x, outputs="diagonal")
    assert jax.tree.structure(shares) == jax.tree.structure(params)
    whole = ntk.empirical(NET.apply, params, x, outputs="diagonal")
    total = sum(jax.tree.leaves(shares))
    np.testing.assert_allclose(total, whole, rtol=1e-6, atol=1e-7)
    # The last layer's kernel is the conjugate kernel times the width.
    hidden = lambda p, x: NET.activations(p, x)[-2]  # noqa: E731
    width = 7 * ntk.conjugate(hidden, params, x)
    np.testing.assert_allclose(shares[1]["kernel"][..., 0], width, rtol=1e-6)
    np.testing.assert_allclose(shares[1]["bias"], 1.0)


def test_first_order_drift_is_the_limit_of_drift(x64):
    params, x, _ = problem()
    step = NET.init(jax.random.key(9))
    found = ntk.first_order_drift(NET.apply, params, step, x)
    small = jax.tree.map(lambda p, s: p + 1e-5 * s, params, step)
    kernels = [ntk.empirical(NET.apply, p, x) for p in (params, small)]
    np.testing.assert_allclose(ntk.drift(*kernels) / 1e-5, found, rtol=1e-3)
    linear = ntk.linearize(NET.apply, params)
    np.testing.assert_allclose(
        ntk.first_order_drift(linear, params, step, x), 0.0, atol=1e-6
    )


def test_sampled_kernels_are_near_those_of_infinite_width():
    net = nn.MLP((3, 128, 1), jnp.tanh, "ntk", kernel_scale=1.0)
    x = jax.random.normal(jax.random.key(1), (4, 3))
    found = ntk.sampled(net.init, net.apply, jax.random.key(0), x, draws=100)
    limit = ntk.infinite(net)(x)
    for field in ("nngp", "ntk"):
        error = getattr(found, f"{field}_error")
        off = np.abs(getattr(found, field) - getattr(limit, field))
        assert np.all(off < 4 * error + 0.01) and np.all(error < 0.5)


def test_jit_vmap_and_grad():
    params, x, _ = problem()
    v = jnp.ones((9, 2))

    def run(params):
        return ntk.tangent_product(NET.apply, params, x, batch_size=4)(v)

    stack = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
    together = jax.jit(jax.vmap(run))(stack)
    np.testing.assert_allclose(together[0], run(params), rtol=1e-4, atol=1e-4)
    gradient = jax.grad(lambda p: jnp.sum(run(p)))(params)
    step = 1e-2
    moved = [jax.tree.map(lambda p, s=s: p + s * step, params) for s in (1, -1)]
    slope = (jnp.sum(run(moved[0])) - jnp.sum(run(moved[1]))) / (2 * step)
    total = sum(jnp.sum(g) for g in jax.tree.leaves(gradient))
    np.testing.assert_allclose(total, slope, rtol=1e-2)


def test_bad_input_is_named():
    params, x, _ = problem()
    raises = functools.partial(pytest.raises, ValueError)
    with raises(match="Did you mean 'full'"):
        ntk.tangent_product(NET.apply, params, x, outputs="ful")
    with pytest.raises(TypeError, match="dtype int32"):
        ntk.tangent_product(NET.apply, jnp.arange(3), x)
    with raises(match="draws must be at least 2"):
        ntk.sampled(NET.init, NET.apply, jax.random.key(0), x, draws=1)
    with raises(match=r"features must return \(n, width\)"):
        ntk.conjugate(lambda p, x: x[:, 0], params, x)
