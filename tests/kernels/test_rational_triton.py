"""The rational function's kernels in Triton: interpreted, compiled, and chosen."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from pallas_kernels import rational

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Triton is for Linux")


def test_on_ragged_tiles_they_are_the_plain_function(x64, tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"x": (70, 80), "a": (6, 80), "b": (4, 80), "g": (70, 80)}
    given = {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    # What has an absolute value in the denominator is at its kink here.
    given["x"][0], given["b"][1] = 0, 0
    paths = [str(tmp_path / name) for name in ("operands.npz", "results.npz")]
    np.savez(paths[0], **given)
    script = pathlib.Path(__file__).with_name("interpreted_triton.py")
    root = script.parents[2]
    done = subprocess.run(
        [sys.executable, str(script), *paths],
        cwd=root,
        env={"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    x, a, b, g = (jnp.asarray(v, jnp.float64) for v in given.values())
    found = np.load(paths[1])
    for form in "AB":
        value, cotangent = (
            rational.Static(what, form, "xla") for what in ("value", "cotangent")
        )
        expected = [
            *rational._plain(x, a, b, static=value),
            *rational._plain(x, a, b, g, static=cotangent),
        ]
        for name, wanted in zip(("y", "gx", "ga", "gb"), expected, strict=True):
            ours, scale = found[f"{form} {name}"], np.max(np.abs(wanted))
            np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["value_kernel", "cotangent_kernel"])
def test_they_compile_for_nvidia_gpus(name, dtype, capability, monkeypatch, tmp_path):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pallas_kernels import rational_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(rational_triton, name)
    constants = {"M": 6, "N": 4, "FORM_A": True, "ROWS": 64, "CHANNELS": 64}
    types = dict.fromkeys(constants, "constexpr") | {"rows": "i32", "channels": "i32"}
    types |= {"x_ref": f"*{dtype}", "g_ref": f"*{dtype}"}
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    compiled = triton.compile(
        ASTSource(kernel, signature, constexprs=constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": rational_triton.WARPS, "enable_fp_fusion": True},
    )
    assert f".target sm_{capability}" in compiled.asm["ptx"]


def test_asked_for_on_another_platform_xla_serves(key):
    x, coef = jax.random.normal(key, (4, 6)), jnp.ones((1, 3))
    y, other = (
        pallas_kernels.group_rational(x, coef, coef, backend=backend)
        for backend in ("triton", "xla")
    )
    np.testing.assert_array_equal(y, other)


def test_without_a_gpus_jax_the_message_says_what_to_install():
    def f(x):
        coef = jnp.ones((1, 3))
        return pallas_kernels.group_rational(x, coef, coef, backend="triton")

    traced = jax.jit(f).trace(jnp.ones((4, 6)))
    with pytest.raises(ImportError, match="needs jax-triton and a jax for NVIDIA GPUs"):
        traced.lower(lowering_platforms=("cuda",))
