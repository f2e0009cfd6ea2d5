import functools

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, ntk

METHODS = ["structured", "jacobian", "vector_products"]
OUTPUTS = ["trace", "diagonal", "full"]


def init(key, widths=(3, 5, 4), dtype=jnp.float32):
    sizes = list(zip(widths[:-1], widths[1:], strict=True))
    keys = jax.random.split(key, len(sizes))
    return tuple(
        {
            "kernel": jax.random.normal(k, size, dtype) / size[0] ** 0.5,
            "bias": jnp.linspace(-0.5, 0.5, size[1], dtype=dtype),
        }
        for k, size in zip(keys, sizes, strict=True)
    )


def apply(params, x):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"][None])
    return x @ params[-1]["kernel"] + params[-1]["bias"][None]


def brute_force(apply, params, x1, x2):
    """The full kernel, one gradient of one output of one example at a time."""

    gradient = jax.jit(jax.grad(lambda p, row, o: apply(p, row)[0, o]))

    def gradients(x):
        outputs = apply(params, x[:1]).shape[1]
        rows = [
            jax.tree.leaves(gradient(params, x[i : i + 1], o))
            for i in range(len(x))
            for o in range(outputs)
        ]
        flat = [np.concatenate([np.ravel(v) for v in leaves]) for leaves in rows]
        return np.stack(flat).reshape(len(x), outputs, -1)

    return np.einsum("iok,jpk->ijop", gradients(x1), gradients(x2))


def reduce(full, outputs):
    diagonal = np.einsum("ijoo->ijo", full)
    return {"full": full, "diagonal": diagonal, "trace": diagonal.mean(-1)}[outputs]


@pytest.mark.parametrize("method", [*METHODS, "auto"])
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_equals_the_sum_over_parameters_of_products_of_gradients(x64, method, outputs):
    params = init(jax.random.key(0), dtype=jnp.float64)
    x1, x2 = (jax.random.normal(jax.random.key(i), (n, 3)) for i, n in ((1, 5), (2, 3)))
    expected = reduce(brute_force(apply, params, x1, x2), outputs)
    kernel = ntk.empirical(apply, params, x1, x2, outputs=outputs, method=method)
    assert kernel.dtype == jnp.float64
    np.testing.assert_allclose(kernel, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("outputs", OUTPUTS)
def test_a_linear_model_has_the_closed_form(key, method, outputs):
    x1, x2 = jax.random.normal(key, (4, 6)), jax.random.normal(key, (3, 6))
    model = lambda w, x: x @ w  # noqa: E731
    kernel = ntk.empirical(
        model, jnp.ones((6, 2)), x1, x2, outputs=outputs, method=method
    )
    full = np.einsum("id,jd,op->ijop", x1, x2, np.eye(2))
    np.testing.assert_allclose(kernel, reduce(full, outputs), rtol=1e-5, atol=1e-6)


def test_a_deep_linear_net_with_identity_weights_has_depth_times_the_covariance():
    x = jax.random.normal(jax.random.key(0), (5, 4))
    params = [jnp.eye(4)] * 3
    model = lambda p, x: x @ p[0] @ p[1] @ p[2]  # noqa: E731
    kernel = ntk.empirical(model, params, x)
    np.testing.assert_allclose(kernel, 3 * x @ x.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "outputs", "batch_size"),
    [
        ("jacobian", "trace", 3),
        ("jacobian", "full", 4),
        ("jacobian", "diagonal", 1),
        ("vector_products", "trace", 100),
        ("vector_products", "full", 3),
    ],
)
def test_blocks_do_not_change_the_kernel(key, method, outputs, batch_size):
    params = init(key)
    x1, x2 = jax.random.normal(key, (7, 3)), jax.random.normal(key, (4, 3)) + 0.1
    options = {"outputs": outputs, "method": method}
    for second in (x2, None):
        kernel = functools.partial(ntk.empirical, apply, params, x1, second, **options)
        whole, parts = kernel(), kernel(batch_size=batch_size)
        assert parts.shape == whole.shape
        np.testing.assert_allclose(parts, whole, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_rows_are_spread_over_a_mesh(key, outputs):
    mesh = jax.sharding.Mesh(np.reshape(jax.devices()[:4], (2, 2)), ("a", "b"))
    params, x = init(key), jax.random.normal(key, (8, 3))
    kernel = functools.partial(ntk.empirical, apply, params, outputs=outputs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    spread = jax.jit(lambda x: kernel(x, x[:3], mesh=mesh))(x)
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("a", "b")))
    assert spread.sharding.is_equivalent_to(rows, spread.ndim)
    close(spread, kernel(x, x[:3]))
    itself = kernel(x[:7], mesh=mesh, batch_size=1)
    axes = (1, 0, 3, 2)[: itself.ndim]
    np.testing.assert_array_equal(itself, jnp.transpose(itself, axes))
    close(itself, kernel(x[:7]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [None, 3])
def test_the_kernel_of_one_set_is_exactly_symmetric_and_psd(key, method, batch_size):
    params, x = init(key), jax.random.normal(key, (7, 3))
    options = {"method": method, "batch_size": batch_size}
    full = ntk.empirical(apply, params, x, outputs="full", **options)
    matrix = jnp.swapaxes(full, 1, 2).reshape(28, 28)
    np.testing.assert_array_equal(matrix, matrix.T)
    eigenvalues = np.linalg.eigvalsh(np.asarray(matrix, np.float64))
    assert eigenvalues[0] > -1e-5 * eigenvalues[-1]
    np.testing.assert_allclose(
        full, brute_force(apply, params, x, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.optimized
def test_blocks_bound_the_memory(key):
    params, x = init(key, (64, 256, 4)), jax.random.normal(key, (256, 64))
    entries = sum(leaf.size for leaf in jax.tree.leaves(params)) * 4

    def memory(batch_size):
        kernel = lambda p, x: ntk.empirical(  # noqa: E731
            apply, p, x, method="jacobian", batch_size=batch_size
        )
        compiled = jax.jit(kernel).lower(params, x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(16) < 8 * 16 * entries * 4 < memory(None)


@pytest.mark.parametrize("method", ["jacobian", "vector_products"])
def test_only_structured_derivatives_are_planned(key, method, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("planned")

    monkeypatch.setattr(ntk.finite_width.structured_derivatives, "plan", refuse)
    # A function of its own, for which nothing is compiled yet.
    network = functools.partial(apply)
    assert ntk.empirical(network, init(key), jnp.ones((2, 3)), method=method).shape
    with pytest.raises(AssertionError, match="planned"):
        ntk.empirical(network, init(key), jnp.ones((2, 3)), method="structured")


def test_vmap_over_members_equals_a_loop(key):
    stack = jax.vmap(init)(jax.random.split(key, 3))
    x = jax.random.normal(key, (4, 3))
    for method in METHODS:
        kernel = functools.partial(
            ntk.empirical, apply, x1=x, method=method, batch_size=3
        )
        together = jax.jit(jax.vmap(kernel))(stack)
        for i in range(3):
            alone = kernel(jax.tree.map(lambda v, i=i: v[i], stack))
            np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [2])
def test_jit_and_grad(key, method, batch_size):
    params, x = init(key), jax.random.normal(key, (3, 3))

    def total(p):
        kernel = ntk.empirical(apply, p, x, method=method, batch_size=batch_size)
        return jnp.sum(jnp.sin(kernel))

    direction = jax.tree.map(jnp.ones_like, params)
    value, slope = jax.jvp(total, (params,), (direction,))
    total = jax.jit(total)
    np.testing.assert_allclose(total(params), value, rtol=1e-5)
    step = 1e-2
    ahead, behind = (
        total(jax.tree.map(lambda v, s=s: v + s * step, params)) for s in (1, -1)
    )
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=2e-2)
    gradient = jax.grad(total)(params)
    inner = sum(jnp.sum(v) for v in jax.tree.leaves(gradient))
    np.testing.assert_allclose(inner, slope, rtol=1e-4)


def test_low_precision_parameters_are_accumulated_in_float32(key):
    params = init(key)
    half = jax.tree.map(lambda v: v.astype(jnp.bfloat16), params)
    x = jax.random.normal(key, (4, 3))
    for method in METHODS:
        kernel = ntk.empirical(apply, half, x.astype(jnp.bfloat16), method=method)
        assert kernel.dtype == jnp.float32
        np.testing.assert_allclose(
            kernel, ntk.empirical(apply, params, x), rtol=0.1, atol=0.1
        )


def test_inputs_may_be_pytrees(key):
    params, x = init(key), jax.random.normal(key, (4, 3))
    split = {"left": x[:, :1], "right": x[:, 1:]}
    join = lambda p, x: apply(  # noqa: E731
        p, jnp.concatenate([x["left"], x["right"]], axis=1)
    )
    for batch_size in (None, 3):
        np.testing.assert_allclose(
            ntk.empirical(join, params, split, batch_size=batch_size),
            ntk.empirical(apply, params, x),
            rtol=1e-5,
            atol=1e-6,
        )


class Convolutional(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3))(x))
        x = linen.relu(linen.Conv(3, (2, 2), strides=2)(x))
        return linen.Dense(3)(x.mean((1, 2)))


def test_a_flax_network_as_it_is(key):
    net = Convolutional()
    x = jax.random.normal(key, (2, 4, 4, 1))
    params = net.init(key, x)["params"]
    flax_apply = lambda p, x: net.apply({"params": p}, x)  # noqa: E731
    expected = brute_force(flax_apply, params, x, x)
    for method in METHODS:
        kernel = ntk.empirical(flax_apply, params, x, outputs="full", method=method)
        np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-4)


def test_an_equinox_network_as_it_is(key):
    net = eqx.nn.MLP(3, 2, 6, 2, key=key)
    params, static = eqx.partition(net, eqx.is_array)
    equinox_apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    x = jax.random.normal(key, (4, 3))
    expected = reduce(brute_force(equinox_apply, params, x, x), "trace")
    for method in METHODS:
        kernel = ntk.empirical(equinox_apply, params, x, method=method)
        np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-5)


def test_bad_input_is_named(key):
    params, x = init(key), jnp.ones((4, 3))
    with pytest.raises(ValueError, match="outputs is 'ful'.*Did you mean 'full'"):
        ntk.empirical(apply, params, x, outputs="ful")
    with pytest.raises(ValueError, match="Did you mean 'jacobian'"):
        ntk.empirical(apply, params, x, method="jacobi")
    with pytest.raises(ValueError, match="batch_size is 0"):
        ntk.empirical(apply, params, x, batch_size=0)
    with pytest.raises(TypeError, match=r"\['steps'\] has dtype int32"):
        ntk.empirical(apply, {"net": params, "steps": jnp.arange(2)}, x)
    with pytest.raises(TypeError, match="not an array"):
        ntk.empirical(apply, {"activation": test_bad_input_is_named}, x)
    with pytest.raises(TypeError, match=r"such as net.apply; got MLP\(\(3, 1\)\)"):
        ntk.empirical(nn.MLP((3, 1)), params, x)
    with pytest.raises(TypeError, match="such as net.apply; got a dict"):
        ntk.empirical({"w": x}, apply, x)
    with pytest.raises(ValueError, match=r"\(examples, outputs\).*shape \(4,\)"):
        ntk.empirical(lambda p, x: apply(p, x)[:, 0], params, x)
    with pytest.raises(ValueError, match="leading axis over examples"):
        ntk.empirical(apply, params, {"a": x, "b": x[:2]})
    with pytest.raises(
        ValueError, match=r"GiB, and this machine has .*tangent_product"
    ):
        many = jax.ShapeDtypeStruct((10**6, 3), jnp.float32)
        jax.eval_shape(lambda x: ntk.empirical(apply, params, x), many)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_call_compiles_nothing(key, method, compilations):
    a, b = init(key), init(jax.random.fold_in(key, 1))
    x, other = jax.random.normal(key, (2, 3, 3))
    first = compilations(lambda: ntk.empirical(apply, a, x, method=method))
    again = compilations(lambda: ntk.empirical(apply, b, other, method=method))
    assert first > again == 0
