"""The basis-expansion product: its sum, every transformation, and where it runs."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import pallas_kernels
from kanjax import bases
from pallas_kernels import blocked, reference, rewrite, tiled
from pallas_kernels.basis import derivative
from tests.kernels import transformations

KNOTS = np.sort(np.random.default_rng(0).uniform(-1.3, 1.3, (3, 10)), axis=1)
BASES = {
    "spline": bases.BSpline(2),
    "own knots": bases.BSpline(5, degree=2, knots=jnp.asarray(KNOTS)),
    "shared knots": bases.BSpline(5, degree=2, knots=jnp.asarray(KNOTS[0])),
    "rbf": bases.GaussianRBF(3),
    "chebyshev": bases.Chebyshev(3),
    "legendre": bases.Legendre(3),
    "fourier": bases.Fourier(2),
    "wavelet": bases.Wavelet(3),
    "relu": bases.ReLUPower(2),
    "jacobi": bases.Jacobi(3, 0.5, -0.3),
    "sech": bases.Sech(3, power=1),
    "shannon": bases.Wavelet(3, "shannon"),
    "sum": bases.Sum((bases.BSpline(2), bases.GaussianRBF(5))),
    "with residual": pallas_kernels.Joined(
        (bases.BSpline(2), pallas_kernels.Single(jax.nn.silu))
    ),
}
SHAPES = [(5, 3, 2), (1, 3, 1), (7, 1, 4), (1, 1, 1), (0, 3, 2), (33, 3, 17)]


def operands(key, basis, shape, dtype=jnp.float64):
    batch, inputs, outputs = shape
    a, b = jax.random.split(key)
    x = jax.random.uniform(a, (batch, inputs), dtype, minval=-1.0)
    return x, jax.random.normal(b, (basis.size, inputs, outputs), dtype)


def assert_agree(f, plain, arguments):
    assert_same(f, arguments, jax.jit(plain)(*arguments))


def assert_same(f, arguments, expected):
    found = jax.jit(f)(*arguments)
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-11)


def assert_both_agree(change, basis, arguments):
    """What ``change`` makes of the product, by XLA and by emulated kernels."""
    plain = functools.partial(reference.expansion_dot, basis=basis)
    expected = jax.jit(change(plain))(*arguments)
    for backend in ("xla", "interpret"):
        f = functools.partial(
            pallas_kernels.expansion_dot, basis=basis, backend=backend
        )
        assert_same(change(f), arguments, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_plain_sum(shape, key):
    basis = bases.BSpline(4)
    x, coef = operands(key, basis, shape, jnp.float32)
    values, weights = np.asarray(basis(x), float), np.asarray(coef, float)
    expected = np.zeros((x.shape[0], coef.shape[2]))
    for g in range(basis.size):
        for i in range(x.shape[1]):
            expected += values[:, i, g, None] * weights[g, i]
    for backend in ("xla", "interpret", "auto"):
        y = pallas_kernels.expansion_dot(x, coef, basis, backend=backend)
        np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("name", BASES)
def test_every_basis_and_its_gradients(name, key, x64):
    basis = BASES[name]
    given = operands(key, basis, (5, 3, 2))
    assert_both_agree(transformations.hvp, basis, given)


@pytest.mark.parametrize("name", transformations.ALONE)
def test_every_transformation(name, key, x64):
    basis = BASES["with residual"]
    given = operands(key, basis, (5, 3, 2))
    assert_both_agree(transformations.ALONE[name], basis, given)


@pytest.mark.parametrize("name", transformations.ENSEMBLE)
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_ensembles(name, axes, key, x64):
    basis = bases.BSpline(2)
    x, coef = operands(key, basis, (4, 3, 2))
    stacked = (jnp.stack([x, 0.5 * x]), jnp.stack([coef, coef + 1]))
    arguments = tuple(
        s if axis == 0 else a
        for s, a, axis in zip(stacked, (x, coef), axes, strict=True)
    )
    change = functools.partial(transformations.batched, name, in_axes=axes)
    assert_both_agree(change, basis, arguments)


def test_gradients_of_examples_in_an_ensemble(key, x64):
    basis = bases.BSpline(2)
    x, coef = operands(key, basis, (4, 3, 2))
    members = jnp.stack([coef, coef + 1, 2 * coef])

    def per_example(product):
        def loss(c, row):
            return jnp.sum(jnp.sin(product(row, c, basis)))

        each = jax.vmap(jax.grad(loss), (None, 0))
        return lambda c, rows: jax.vmap(each, (0, None))(c, rows)

    assert_agree(
        per_example(pallas_kernels.expansion_dot),
        per_example(reference.expansion_dot),
        (members, x),
    )


def test_members_with_knots_of_their_own(key, x64):
    basis = BASES["own knots"]
    x, coef = operands(key, basis, (4, 3, 2))
    stacked = jax.tree.map(lambda k: jnp.stack([k, 1.1 * k]), basis)

    def gradients(product):
        def loss(x, coef, basis):
            return jnp.sum(jnp.sin(product(x, coef, basis)))

        return jax.vmap(jax.grad(loss, (0, 1, 2)), (None, None, 0))

    assert_agree(
        gradients(pallas_kernels.expansion_dot),
        gradients(reference.expansion_dot),
        (x, coef, stacked),
    )


@pytest.mark.parametrize("kernels", ["gpu", "mosaic", "tpu"])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("out", ["t", "c", "s"])
@pytest.mark.parametrize("name", ["with residual", "own knots"])
def test_kernels_on_many_ragged_tiles(name, kernels, out, order, key):
    basis = BASES[name]
    if name == "own knots":
        basis = jax.tree.map(lambda k: jnp.tile(k, (7, 1))[:19], basis)
    x, c = operands(key, basis, (37, 19, 35), jnp.float32)
    s, t = jnp.cos(x), jnp.ones((37, 35)) - jnp.arange(35)[None] / 10
    named = {"x": x, "s": s if order else None, "c": c, "t": t}
    named = {k: v for k, v in named.items() if k != out}
    tiles = tiled.Tiles(16, 128, 128) if kernels == "tpu" else tiled.Tiles(16, 16, 16)

    @jax.jit
    def run(basis, named):
        return tiled.product(basis, order, out, named, kernels, True, tiles)

    expected = reference.form(basis, order, out, **named)
    scale = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(run(basis, named), expected, atol=2e-6 * scale)


@pytest.mark.parametrize("out", ["t", "c", "s"])
@pytest.mark.parametrize("blocks", [1, 3, 8])
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_blocks_of_rows_change_nothing(out, blocks, platform, key, x64):
    basis = BASES["with residual"]
    x, c = operands(key, basis, (16, 3, 2))
    barrier = blocked.opaque_true(x, platform)
    named = {"x": x, "s": jnp.cos(x), "c": c, "t": jnp.ones((16, 2)) + x[:, :1]}
    named.pop(out)
    run = {"t": blocked.forward, "c": blocked.coefficients, "s": blocked.scales}[out]
    np.testing.assert_allclose(
        run(basis, 1, **named, cut=blocked.Cut(blocks, barrier)),
        reference.form(basis, 1, out, **named),
        rtol=1e-12,
        atol=1e-12,
    )


LOGARITHM = pallas_kernels.Joined((bases.BSpline(2), pallas_kernels.Single(jnp.log)))


@pytest.mark.parametrize("out", ["t", "c"])
@pytest.mark.parametrize("kernels", [None, "gpu", "mosaic", "tpu"])
def test_what_fills_up_tiles_lies_where_functions_are_finite(kernels, out, key):
    """The logarithm is infinite at zero: times a cotangent of zero that is NaN."""
    x, c = operands(key, LOGARITHM, (37, 19, 5), jnp.float32)
    x = 0.2 + jnp.abs(x)
    named = {"x": x, "s": None, "c": c, "t": jnp.ones((37, 5)) + x[:, :1]}
    named.pop(out)
    if kernels is None:
        run = {"t": blocked.forward, "c": blocked.coefficients}[out]
        found = run(LOGARITHM, 0, **named, cut=blocked.Cut(3))
    else:
        tiles = tiled.Tiles(16, 16, 16 if kernels != "tpu" else 128)
        found = tiled.product(LOGARITHM, 0, out, named, kernels, True, tiles)
    splines = np.moveaxis(np.asarray(bases.BSpline(2)(x)), -1, 0)
    functions = np.stack([*splines, np.log(x)])
    sums, other = ("gbi,gio->bo", c) if out == "t" else ("gbi,bo->gio", named["t"])
    wanted = np.einsum(sums, functions, other)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("first", [0.3, jnp.inf, -jnp.inf, jnp.nan])
def test_an_expansion_apart_from_its_product_is_the_same(first, key):
    """Whatever the first input, by which the compiler is kept from joining both."""
    basis = bases.Chebyshev(3)
    x = jax.random.uniform(key, (512, 16)).at[0, 0].set(first)
    c = jax.random.normal(key, (basis.size, 16, 2))
    product = jax.jit(lambda x, c: _product(x, c, basis)).lower(x, c).compile()
    assert " conditional(" in product.as_text()
    few = jax.jit(lambda x, c: _product(x, c, basis)).lower(x[:8], c).compile()
    assert " conditional(" not in few.as_text()
    expected = reference.form(basis, 0, "t", x, None, c)
    np.testing.assert_allclose(product(x, c), expected, rtol=1e-5, atol=1e-6)


def forward_only(x, coef, t):
    return _product(x, coef, bases.BSpline(5))


def by_coefficients(x, coef, t):
    return jax.vjp(lambda c: _product(x, c, bases.BSpline(5)), coef)[1](t)


def by_inputs(x, coef, t):
    return jax.vjp(lambda x: _product(x, coef, bases.BSpline(5)), x)[1](t)


@pytest.mark.optimized
@pytest.mark.parametrize("f", [forward_only, by_coefficients, by_inputs])
def test_memory_is_one_block_whatever_the_batch(f):
    def temporary(batch):
        given = jnp.zeros((batch, 64)), jnp.zeros((8, 64, 64)), jnp.zeros((batch, 64))
        compiled = jax.jit(f).lower(*given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    expansion = 2**15 * 64 * 8 * 4
    assert temporary(2**13) == temporary(2**15) < expansion / 16


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_half_precision_rounds_once(backend, key):
    basis = bases.GaussianRBF(8)
    x, coef = operands(key, basis, (16, 64, 4), jnp.bfloat16)

    def run(x, coef):
        return pallas_kernels.expansion_dot(x, coef, basis, backend=backend)

    def exact(x, coef):
        values = basis(x.astype(jnp.float32)).astype(jnp.bfloat16)
        return jnp.einsum("big,gio->bo", *(v.astype(float) for v in (values, coef)))

    y = run(x, coef)
    assert y.dtype == jnp.bfloat16
    # The spread of a sum of 512 terms in bfloat16 would be about ten times this.
    np.testing.assert_allclose(y.astype(float), exact(x, coef), rtol=2**-8, atol=2**-8)
    dx, dcoef = jax.grad(lambda *a: run(*a).astype(float).sum(), (0, 1))(x, coef)
    assert dx.dtype == dcoef.dtype == jnp.bfloat16
    expected = basis(x.astype(jnp.float32)).sum(0).T[..., None]
    np.testing.assert_allclose(
        dcoef.astype(float),
        jnp.broadcast_to(expected, dcoef.shape),
        rtol=2**-6,
        atol=0.02,
    )


def loss_of(product, total=lambda value: value):
    return lambda x, coef: total(jnp.sum(jnp.sin(product(x, coef))))


def spread(f, backend, out_specs):
    """``f(x, coef)`` inside of shard_map, x by rows over four devices."""
    mesh = Mesh(np.array(jax.devices()[:4]), ("rows",))
    return jax.shard_map(
        f,
        mesh=mesh,
        in_specs=(PartitionSpec("rows"), PartitionSpec()),
        out_specs=out_specs,
        # What emulates Pallas does not tell over which axes its values differ.
        check_vma=backend != "interpret",
    )


@pytest.mark.parametrize("backend", ["xla", "interpret"])
def test_gradients_through_shard_map(backend, key, x64):
    basis = bases.BSpline(2)
    f = functools.partial(pallas_kernels.expansion_dot, basis=basis, backend=backend)
    plain = functools.partial(reference.expansion_dot, basis=basis)
    through = spread(f, backend, PartitionSpec("rows"))
    assert_agree(
        jax.grad(loss_of(through), (0, 1)),
        jax.grad(loss_of(plain), (0, 1)),
        operands(key, basis, (8, 3, 2)),
    )


def test_gradients_inside_shard_map(key, x64):
    basis = bases.BSpline(2)
    f = functools.partial(pallas_kernels.expansion_dot, basis=basis, backend="xla")
    plain = functools.partial(reference.expansion_dot, basis=basis)
    inside = jax.grad(loss_of(f, lambda value: jax.lax.psum(value, "rows")), (0, 1))
    assert_agree(
        spread(inside, "xla", (PartitionSpec("rows"), PartitionSpec())),
        jax.grad(loss_of(plain), (0, 1)),
        operands(key, basis, (8, 3, 2)),
    )


@pytest.mark.parametrize(
    "platform, backend, dtype, kernel",
    [
        ("cuda", "mosaic", jnp.bfloat16, "mosaic_gpu"),
        ("tpu", "auto", jnp.float32, "tpu_cus"),
        ("tpu", "auto", jnp.bfloat16, "tpu_cus"),
    ],
)
@pytest.mark.parametrize(
    "shape", [(1024, 64, 64, 5), (4096, 256, 256, 5), (8192, 784, 64, 32), (9, 5, 3, 2)]
)
def test_lowers_for_accelerators(shape, platform, backend, dtype, kernel):
    *sizes, intervals = shape
    batch, inputs, outputs = sizes
    edges = pallas_kernels.Joined(
        (bases.BSpline(intervals), pallas_kernels.Single(jax.nn.silu))
    )

    def loss(x, coef):
        y = pallas_kernels.expansion_dot(x, coef, edges, backend=backend)
        return jnp.sum(y**2)

    x = jax.ShapeDtypeStruct((batch, inputs), dtype)
    coef = jax.ShapeDtypeStruct((edges.size, inputs, outputs), dtype)
    text = (
        jax.jit(jax.value_and_grad(loss, (0, 1)))
        .trace(x, coef)
        .lower(lowering_platforms=(platform,))
        .as_text()
    )
    # Forward, the inputs' gradient, the coefficients' of the splines and the residual.
    assert len(re.findall(rf"custom_call @\S*{kernel}", text)) >= 3


@pytest.mark.parametrize("name", BASES)
def test_every_basis_lowers_for_tpus(name):
    basis = BASES[name]
    x = jnp.zeros((8, 3), jnp.float32)
    coef = jnp.zeros((basis.size, 3, 2), jnp.float32)
    text = (
        jax.jit(jax.grad(lambda x, c: jnp.sum(_product(x, c, basis) ** 2), (0, 1)))
        .trace(x, coef)
        .lower(lowering_platforms=("tpu",))
        .as_text()
    )
    assert "tpu_custom_call" in text


# Arrays, loops, and operations for which Mosaic needs others in their place.
@pytest.mark.parametrize(
    "basis",
    [
        bases.BSpline(7, degree=1, knots=jnp.asarray(KNOTS)),
        bases.BSpline(7, degree=1, knots=jnp.asarray(KNOTS[0])),
        BASES["jacobi"],
        BASES["shannon"],
    ],
    ids=["own knots", "shared knots", "jacobi", "shannon"],
)
def test_bases_lower_for_mosaic_on_gpus(basis):
    x = jnp.zeros((8, 3), jnp.float16)
    coef = jnp.zeros((basis.size, 3, 2), jnp.float16)

    def loss(x, coef):
        y = pallas_kernels.expansion_dot(x, coef, basis, backend="mosaic")
        return jnp.sum(y**2)

    traced = jax.jit(jax.grad(loss, (0, 1))).trace(x, coef)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert len(re.findall(r"custom_call @\S*mosaic_gpu", text)) == 3


def test_what_stands_in_for_operations_is_as_good(key):
    x = jax.random.uniform(key, (20, 3), minval=-1)
    parts = [BASES[name] for name in ("spline", "jacobi", "sech", "shannon")]

    def slope(basis, index):
        return derivative(lambda v: basis.function(index, v), 2)

    @jax.jit
    def both(index):
        return [
            (
                rewrite.rewritten(slope(basis, index), x, rewrite.MOSAIC_GPU),
                slope(basis, index)(x),
            )
            for basis in parts
        ]

    for found, expected in both(1):
        scale = jnp.max(jnp.abs(expected))
        np.testing.assert_allclose(found, expected, atol=3e-6 * scale)


def _product(x, coef, basis):
    return pallas_kernels.expansion_dot(x, coef, basis, backend="auto")


def test_types_that_no_kernel_takes_go_to_xla(x64):
    basis = bases.BSpline(2)
    x, coef = jnp.zeros((4, 3)), jnp.zeros((basis.size, 3, 2))
    text = (
        jax.jit(_product, static_argnums=2)
        .trace(x, coef, basis)
        .lower(lowering_platforms=("tpu",))
        .as_text()
    )
    assert "custom_call" not in text


def test_integers_are_taken_as_numbers():
    basis = bases.BSpline(2)
    x, coef = np.array([[0, 1, -1]]), np.ones((basis.size, 3, 2), np.float32)
    y = pallas_kernels.expansion_dot(x, coef, basis)
    np.testing.assert_array_equal(
        y, pallas_kernels.expansion_dot(x.astype(np.float32), coef, basis)
    )


def test_bad_input(monkeypatch):
    basis, x = bases.BSpline(5), jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"\(size, in\) = \(8, 3\)"):
        pallas_kernels.expansion_dot(x, jnp.zeros((7, 3, 1)), basis)
    with pytest.raises(ValueError, match="backend must be one of auto, xla.*'cuda'"):
        pallas_kernels.expansion_dot(x, jnp.zeros((8, 3, 1)), basis, backend="cuda")
    monkeypatch.setenv("KANJAX_KERNELS", "fast")
    with pytest.raises(ValueError, match="KANJAX_KERNELS must be one of.*'fast'"):
        pallas_kernels.expansion_dot(x, jnp.zeros((8, 3, 1)), basis)


def test_the_variable_chooses(monkeypatch, key):
    basis = bases.BSpline(2)
    x, coef = operands(key, basis, (3, 3, 2), jnp.float32)
    monkeypatch.setenv("KANJAX_KERNELS", "interpret")
    jaxpr = jax.make_jaxpr(lambda *a: pallas_kernels.expansion_dot(*a, basis))(x, coef)
    assert "backend='interpret'" in str(jaxpr)
