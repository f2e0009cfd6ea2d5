"""The kernels in Triton: interpreted, compiled for three generations, and lowered."""

import functools
import os
import pathlib
import re
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from kanjax import bases
from pallas_kernels import reference, triton_calls, tuning
from tests.kernels import triton_cases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")
CASES = triton_cases.cases()


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """What Triton's interpreter makes of all cases."""
    path = tmp_path_factory.mktemp("triton") / "results.npz"
    script = pathlib.Path(__file__).with_name("interpreted_triton.py")
    root = str(script.parents[2])
    done = subprocess.run(
        [sys.executable, str(script), str(path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return np.load(path)


def exact(name):
    """The same in float64, by XLA."""
    change, f, arguments = CASES[name]
    kernel = functools.partial(f, backend="xla")
    if f.func is pallas_kernels.expansion_dot:
        kernel = functools.partial(reference.expansion_dot, **f.keywords)
    return triton_cases.run(change, kernel, arguments, "float64")


@pytest.mark.parametrize("name", CASES)
def test_interpreted_they_are_the_plain_function(name, interpreted, x64):
    for i, wanted in enumerate(exact(name)):
        ours, scale = interpreted[f"{name} {i}"], np.max(np.abs(wanted))
        assert ours.shape == wanted.shape
        np.testing.assert_allclose(ours, wanted, rtol=2e-5, atol=3e-6 * scale)
    launched = set(interpreted[f"{name} launched"])
    # The value of a rational function has no tangent in Triton.
    assert launched or name == "rational jvp"
    if name.endswith("grad") and not name.startswith("rational"):
        assert launched == {"forward_kernel", "coefficients_kernel", "scales_kernel"}


@pytest.mark.parametrize("name", triton_cases.halves())
def test_interpreted_in_half_precision(name, interpreted, x64):
    change, f, arguments = triton_cases.halves()[name]
    rounded = [np.asarray(jnp.asarray(a, jnp.bfloat16), float) for a in arguments]
    kernel = functools.partial(reference.expansion_dot, **f.keywords)
    for i, wanted in enumerate(triton_cases.run(change, kernel, rounded, "float64")):
        ours, scale = interpreted[f"{name} half {i}"], np.max(np.abs(wanted))
        # The expansion is cut to 8 bits, and so is what is summed in float32: the
        # interpreter does not round.
        np.testing.assert_allclose(ours, wanted, rtol=2**-6, atol=2**-8 * scale)


LOWERED = {
    "residual": pallas_kernels.Joined(
        (bases.BSpline(5), pallas_kernels.Single(jax.nn.silu))
    ),
    "own knots": triton_cases.BASES["own knots"],
}


@pytest.mark.parametrize(
    "name, dtype, members",
    [("residual", "bfloat16", ()), ("own knots", "float32", (3,))],
)
def test_products_lower_through_jax_triton(name, dtype, members, nvidia_gpu):
    """All but the card itself: jax-triton compiles for it and makes the calls."""
    basis = LOWERED[name]
    x = jnp.zeros((*members, 70, 17), dtype)
    coef = jnp.zeros((*members, basis.size, 17, 19), dtype)

    def loss(x, coef):
        y = pallas_kernels.expansion_dot(x, coef, basis, backend="auto")
        return jnp.sum(y.astype(jnp.float32) ** 2)

    slopes = jax.value_and_grad(loss, (0, 1))
    traced = jax.jit(jax.vmap(slopes) if members else slopes).trace(x, coef)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    # Forward, the inputs' gradient, the coefficients'.
    assert len(re.findall(r"custom_call @triton_kernel_call", text)) == 3
    # The kernels read the operands as they are: nothing is copied to fit tiles, but
    # knots are laid out by rows.
    assert not re.search(r"stablehlo\.(pad|slice|gather)", text)
    assert ("stablehlo.transpose" in text) == (name == "own knots")


def constants_of(dtype, precision):
    """What a forward pass is compiled with, for inputs and outputs of 70 and 130."""
    compiled = []

    def kept(*arguments, **constants):
        compiled.append(constants)
        return called(*arguments, **constants)

    called = triton_calls.call
    f = functools.partial(pallas_kernels.expansion_dot, basis=bases.BSpline(3))
    given = jnp.zeros((90, 70), dtype), jnp.zeros((6, 70, 130), dtype)
    keep = mock.patch.object(triton_calls, "call", kept)
    with keep, jax.default_matmul_precision(precision):
        jax.jit(f).trace(*given).lower(lowering_platforms=("cuda",))
    (constants,) = compiled
    return constants


@pytest.mark.parametrize("asked, way", [(None, "tf32"), ("highest", "ieee")])
def test_tiles_of_float32_are_multiplied_as_asked(asked, way, nvidia_gpu):
    assert constants_of("float32", asked)["PRECISION"] == way


def test_tiles_are_those_measured_on_this_card(nvidia_gpu):
    table = {"a card": {tuning.shape_class("t", "tf32", 128, 256): [32, 64, 128, 8, 3]}}
    names = "ROWS", "INPUTS", "OUTPUTS", "warps", "stages"
    with (
        mock.patch.object(tuning, "card_at_hand", lambda: "a card"),
        mock.patch.object(tuning, "_table", lambda: table),
    ):
        found = constants_of("float32", None)
        assert [found[name] for name in names] == [32, 64, 128, 8, 3]
        other = constants_of("bfloat16", None)
    # Nothing was measured in bfloat16.
    assert [other[name] for name in names] == [64, 32, 64, 4, 2]


SHARED = {80: 163 * 2**10, 90: 227 * 2**10, 100: 227 * 2**10}
"""The shared memory of a multiprocessor that programs can have."""


def assert_fits(usage, capability, warps):
    """No number of a thread is spilled, and a multiprocessor holds two programs."""
    assert f".target sm_{capability}" in usage.ptx
    assert usage.spilled == 0
    assert 2 * usage.shared <= SHARED[capability]
    # 65,536 registers; products of float32 without tensor cores may take them all.
    assert usage.registers * 32 * warps <= 2**16 // (2 if warps == 4 else 1)


@pytest.mark.parametrize(
    "capability, kind", [(80, "ieee"), (80, "bf16"), (90, "tf32"), (100, "bf16")]
)
@pytest.mark.parametrize("name", ["forward", "coefficients", "scales"])
def test_products_compile_for_cards(name, capability, kind, monkeypatch, tmp_path):
    from pallas_kernels import expansion_triton, triton_source
    from tests.kernels import compiled_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    basis = LOWERED["residual"]
    kernel = getattr(expansion_triton, f"{name}_kernel")
    blocks = expansion_triton.BLOCKS["ieee" if kind == "ieee" else "tensor cores"]
    constants = {
        # What the scales are for is a derivative in x.
        "VALUES": triton_source.function(basis, int(name == "scales")),
        "SIZE": basis.size,
        "inputs": 784,
        "outputs": 64,
        "WIDTH": 1,
        "SCALED": False,
        "PRECISION": "ieee" if kind == "ieee" else "tf32",
        "ROWS": blocks.rows,
        "INPUTS": blocks.inputs,
        "OUTPUTS": blocks.outputs,
    }
    constants = {k: v for k, v in constants.items() if k in kernel.arg_names}
    usage = compiled_triton.compile_for(
        kernel,
        capability,
        _types(kernel, "bf16" if kind == "bf16" else "fp32"),
        constants,
        warps=blocks.warps,
        stages=blocks.stages,
        folder=tmp_path,
    )
    assert_fits(usage, capability, blocks.warps)
    # Tensor cores multiply, but for exact products of float32.
    assert ("mma" in usage.ptx) == (kind != "ieee")


@pytest.mark.parametrize("capability", SHARED)
@pytest.mark.parametrize("name", ["value_kernel", "cotangent_kernel"])
def test_rational_functions_compile_for_cards(name, capability, monkeypatch, tmp_path):
    from pallas_kernels import rational_triton
    from tests.kernels import compiled_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(rational_triton, name)
    constants = {
        "channels": 768,
        "M": 6,
        "N": 4,
        "FORM_A": True,
        "ROWS": rational_triton.ROWS,
        "CHANNELS": rational_triton.CHANNELS,
    }
    usage = compiled_triton.compile_for(
        kernel,
        capability,
        _types(kernel, "bf16" if capability == 90 else "fp32"),
        constants,
        warps=rational_triton.WARPS,
        stages=2,
        folder=tmp_path,
    )
    assert_fits(usage, capability, rational_triton.WARPS)


def _types(kernel, dtype):
    arrays = ("x_ref", "s_ref", "c_ref", "t_ref", "g_ref", "y_ref", "gx_ref")
    integers = [n for n in kernel.arg_names if n == "rows" or n.endswith("_step")]
    return dict.fromkeys(integers, "i32") | dict.fromkeys(arrays, f"*{dtype}")


def test_a_basis_that_triton_has_no_word_for_goes_to_xla(nvidia_gpu, caplog):
    basis = pallas_kernels.Single(lambda x: jax.lax.lgamma(x))
    x, coef = jnp.ones((4, 3)), jnp.ones((1, 3, 2))

    def lower(backend):
        f = functools.partial(
            pallas_kernels.expansion_dot, basis=basis, backend=backend
        )
        traced = jax.jit(f).trace(x, coef)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    assert "custom_call @triton" not in lower("auto")
    (record,) = caplog.records
    assert "XLA serves" in record.getMessage() and "'lgamma'" in record.getMessage()
    with pytest.raises(NotImplementedError, match="the operation 'lgamma'"):
        lower("triton")
