"""The grouped rational function: its value, every transformation, where it runs."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import pallas_kernels
from pallas_kernels import rational, rational_mosaic, rational_tiled
from tests.kernels import transformations

ORDERS = {"A": (3, 2), "B": (2, 3)}


def plain(x, a, b, form="A"):
    """The definition, by powers."""
    by_group = x.reshape(*x.shape[:-1], len(a), x.shape[-1] // len(a))
    a, b = (jnp.broadcast_to(c, (*x.shape[:-1], *c.shape)) for c in (a, b))
    p = sum(a[..., i, None] * by_group**i for i in range(a.shape[-1]))
    terms = [b[..., j, None] * by_group ** (j + 1) for j in range(b.shape[-1])]
    if form == "A":
        q = 1 + sum(jnp.abs(term) for term in terms)
    else:
        q = 1 + jnp.abs(sum(terms))
    return (p / q).reshape(x.shape)


def operands(key, form="A", shape=(5, 6), groups=2, dtype=jnp.float64):
    m, n = ORDERS[form]
    keys = jax.random.split(key, 3)
    return (
        jax.random.normal(keys[0], shape, dtype),
        jax.random.normal(keys[1], (groups, m + 1), dtype),
        jax.random.normal(keys[2], (groups, n), dtype),
    )


def assert_agree(f, other, arguments, rtol=1e-10, atol=1e-11):
    assert_same(f, arguments, jax.jit(other)(*arguments), rtol, atol)


def assert_same(f, arguments, expected, rtol=1e-10, atol=1e-11):
    found = jax.jit(f)(*arguments)
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def assert_both_agree(change, form, arguments, **tolerances):
    """What ``change`` makes of the function, by XLA and by emulated kernels."""
    expected = jax.jit(change(functools.partial(plain, form=form)))(*arguments)
    for backend in ("xla", "interpret"):
        assert_same(change(both(form, backend)[0]), arguments, expected, **tolerances)


def both(form, backend):
    f = functools.partial(pallas_kernels.group_rational, form=form, backend=backend)
    return f, functools.partial(plain, form=form)


@pytest.mark.parametrize("name", transformations.ALONE)
@pytest.mark.parametrize("form", ["A", "B"])
def test_every_transformation(name, form, key, x64):
    assert_both_agree(transformations.ALONE[name], form, operands(key, form))


@pytest.mark.parametrize("rows", [(1, 3), (3, 1)])
def test_one_row_serves_all_groups(rows, key, x64):
    """As many equal rows do the same, and the one's gradient is the sum of theirs."""
    x, a, b = operands(key, "B", (5, 6), 3)
    a, b = a[: rows[0]], b[: rows[1]]

    def slopes(x, a, b):
        return jax.value_and_grad(
            lambda *v: jnp.sum(jnp.sin(pallas_kernels.group_rational(*v, "B"))),
            (0, 1, 2),
        )(x, a, b)

    value, (dx, *one) = jax.jit(slopes)(x, a, b)
    repeated = [jnp.tile(c, (3 // len(c), 1)) for c in (a, b)]
    expected, (dx_expected, *each) = jax.jit(slopes)(x, *repeated)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(dx, dx_expected, rtol=1e-12)
    for ours, theirs in zip(one, each, strict=True):
        if len(ours) == 1:
            theirs = theirs.sum(axis=0, keepdims=True)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("name", transformations.ENSEMBLE)
@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, 0), (0, 0, 0)], ids=str)
def test_ensembles(name, axes, key, x64):
    arguments = tuple(
        jnp.stack([v, 1.5 * v, v + 0.1]) if axis == 0 else v
        for v, axis in zip(operands(key), axes, strict=True)
    )
    change = functools.partial(transformations.batched, name, in_axes=axes)
    assert_both_agree(change, "A", arguments)


@pytest.mark.parametrize("shape", [(0, 6), (1, 6), (6,), (2, 3, 6), (37, 130)])
def test_shapes(shape, key):
    arguments = operands(key, "B", shape, 2, jnp.float32)

    def gradients(f):
        return jax.value_and_grad(lambda *a: jnp.sum(f(*a) ** 2), (0, 1, 2))

    assert_both_agree(gradients, "B", arguments, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("what", ["value", "tangent", "cotangent"])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_kernels_on_many_ragged_tiles(what, platform, key, x64):
    x, *coef = operands(key, "A", (70, 40), 1)
    a, b = (jnp.broadcast_to(c.T, (c.shape[1], 40)) for c in coef)
    more = {"value": [], "tangent": [jnp.cos(v) for v in (x, a, b)]}
    given = [x, a, b, *more.get(what, [jnp.sin(x)])]
    tiles = rational_tiled.Tiles(16, 16 if platform == "cuda" else 128)
    kernels = "gpu" if platform == "cuda" else "tpu"
    found = rational_tiled.compute(what, "A", tuple(given), kernels, tiles, True)
    for ours, theirs in zip(
        found,
        rational._plain(*given, static=rational.Static(what, "A", "xla")),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("what", ["value", "cotangent"])
@pytest.mark.parametrize("form", ["A", "B"])
def test_the_kernel_for_mosaic_on_ragged_tiles(what, form, key, x64):
    x, *coef = operands(key, form, (130, 140), 1)
    a, b = (jnp.broadcast_to(c.T, (c.shape[1], 140)) for c in coef)
    given = (x, a, b, jnp.sin(x))[: 3 if what == "value" else 4]
    for ours, theirs in zip(
        rational_mosaic.compute(what, form, given, interpret=True),
        rational._plain(*given, static=rational.Static(what, form, "xla")),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


def test_blocks_of_rows_change_nothing(key, x64, monkeypatch):
    x, *coef = operands(key, "A", (50, 6), 1)
    a, b = (jnp.broadcast_to(c.T, (c.shape[1], 6)) for c in coef)
    static = rational.Static("cotangent", "A", "xla")
    given = x, a, b, jnp.sin(x)
    monkeypatch.setattr(rational, "BLOCK_BYTES", 700)
    for ours, theirs in zip(
        rational._by_xla(given, static, "cpu", 1),
        rational._plain(*given, static=static),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_a_zero_coefficient_of_the_denominator_can_leave_zero(backend):
    x, a, b = jnp.array([[-2.0, 3.0]]), jnp.array([[0.0, 1.0]]), jnp.zeros((1, 1))
    for form, expected in (("A", -(2 * -2 + 3 * 3)), ("B", -(-2 * -2 + 3 * 3))):
        f, _ = both(form, backend)
        slope = jax.grad(lambda b, f=f: jnp.sum(f(x, a, b)))(b)
        np.testing.assert_allclose(slope, [[expected]])


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_half_precision_sums_in_float32(backend, key):
    x, a, b = operands(key, "A", (4096, 8), 1, jnp.float32)
    half = x.astype(jnp.bfloat16)
    f, other = both("A", backend)
    g = jax.grad(lambda *v: jnp.sum(f(*v).astype(jnp.float32)), (0, 1, 2))(half, a, b)
    assert f(half, a, b).dtype == g[0].dtype == jnp.bfloat16
    assert g[1].dtype == g[2].dtype == jnp.float32
    exact = jax.grad(lambda *v: jnp.sum(other(*v)), (1, 2))(
        half.astype(jnp.float32), a, b
    )
    # 32,768 terms summed in bfloat16 would be off by tenths.
    np.testing.assert_allclose(g[1], exact[0], rtol=2e-3)
    np.testing.assert_allclose(g[2], exact[1], rtol=2e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_slopes_in_half_precision_round_once(dtype):
    """In the inputs alone, too, whose powers half precision does not hold."""
    x = jnp.array([[-50.0, -3.7, 0.3, 1.3, 60.0]], dtype)
    a = jnp.array([[0.1, 0.5, 0.25, 0.05, 0.006, 0.0003]], dtype)
    b = jnp.array([[0.1, 0.1, 0.01, 0.0006]], dtype)

    def exact(x):
        p = np.polyval(np.float64(a[0])[::-1], x)
        q = np.polyval([*np.float64(b[0])[::-1], 1.0], np.abs(x))
        return p / q

    points, step = np.float64(x[0]), 1e-5
    wanted = (exact(points + step) - exact(points - step)) / (2 * step)
    found = jax.grad(lambda x: jnp.sum(pallas_kernels.group_rational(x, a, b)))(x)
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.float64(found[0]), wanted, rtol=eps)


def test_the_same_every_time(key):
    f, _ = both("A", None)
    arguments = operands(key, "A", (4096, 64), 8, jnp.float32)
    run = jax.jit(jax.grad(lambda *v: jnp.sum(f(*v) ** 2), (0, 1, 2)))
    for one, two in zip(run(*arguments), run(*arguments), strict=True):
        assert np.array_equal(one, two)


def test_inside_shard_map(key):
    x, a, b = operands(key, "A", (8, 6), 2, jnp.float32)
    mesh = Mesh(np.array(jax.devices()[:4]), ("rows",))
    by_rows, whole = PartitionSpec("rows"), PartitionSpec()

    def gradients(f, total):
        return jax.grad(lambda *v: total(jnp.sum(jnp.sin(f(*v)))), (0, 1, 2))

    f, other = both("A", "xla")
    spread = jax.shard_map(
        gradients(f, lambda v: jax.lax.psum(v, "rows")),
        mesh=mesh,
        in_specs=(by_rows, whole, whole),
        out_specs=(by_rows, whole, whole),
    )
    assert_agree(spread, gradients(other, lambda v: v), (x, a, b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "platform, backend, dtype, kernel",
    [
        ("cuda", "auto", jnp.float32, "triton"),
        ("cuda", "auto", jnp.bfloat16, "triton"),
        ("cuda", "mosaic", jnp.float32, "mosaic_gpu"),
        ("cuda", "mosaic", jnp.bfloat16, "triton"),
        ("tpu", "auto", jnp.float32, "tpu_custom"),
        ("tpu", "auto", jnp.bfloat16, "tpu_custom"),
    ],
)
@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize("shape", [(64, 1000, 512), (8192, 768), (9, 16)])
def test_lowers_for_accelerators(
    shape, platform, backend, dtype, kernel, form, nvidia_gpu
):
    def loss(*v):
        y = pallas_kernels.group_rational(*v, form, backend=backend)
        return jnp.sum(y.astype(jnp.float32) ** 2)

    given = [
        jax.ShapeDtypeStruct(s, d)
        for s, d in ((shape, dtype), ((8, 6), jnp.float32), ((8, 4), jnp.float32))
    ]
    text = (
        jax.jit(jax.grad(loss, (0, 1, 2)))
        .trace(*given)
        .lower(lowering_platforms=(platform,))
        .as_text()
    )
    assert text.count(kernel) >= 2


def test_members_of_an_ensemble_go_through_triton(nvidia_gpu):
    """Mosaic takes no batch axes on GPUs."""
    given = jnp.zeros((2, 8, 16)), jnp.zeros((2, 1, 3)), jnp.zeros((2, 1, 2))
    f, _ = both("A", "mosaic")
    traced = jax.jit(jax.vmap(f)).trace(*given)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert set(re.findall(r"custom_call @\S*(triton|mosaic)", text)) == {"triton"}


def test_bad_input():
    x = jnp.zeros((2, 6))
    with pytest.raises(ValueError, match="form must be 'A' or 'B'; got 'C'"):
        pallas_kernels.group_rational(x, jnp.zeros((1, 2)), jnp.zeros((1, 1)), "C")
    for groups in ((4, 4), (2, 3)):
        with pytest.raises(ValueError, match="divides the 6 channels"):
            numerator, denominator = (jnp.zeros((n, 2)) for n in groups)
            pallas_kernels.group_rational(x, numerator, denominator)
