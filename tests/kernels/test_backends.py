"""Which kernels a program gets where it is lowered, and what is said of it."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

import pallas_kernels
from kanjax import bases

BASIS = bases.BSpline(2)


def product(dtype="float32", **options):
    f = functools.partial(pallas_kernels.expansion_dot, basis=BASIS, **options)
    return f, (jnp.zeros((8, 3), dtype), jnp.zeros((BASIS.size, 3, 2), dtype))


def rational(dtype="float32", **options):
    coef = jnp.ones((1, 3))
    f = functools.partial(pallas_kernels.group_rational, **options)
    return f, (jnp.zeros((8, 6), dtype), coef, coef)


def kernels_of(f, arguments, platform="cuda"):
    """The kinds of kernels in a gradient that is lowered for a platform."""

    def loss(*v):
        return jnp.sum(f(*v).astype(jnp.float32) ** 2)

    traced = jax.jit(jax.value_and_grad(loss, (0, 1))).trace(*arguments)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    return set(re.findall(r"custom_call @\S*(triton|mosaic_gpu|tpu)", text))


@pytest.mark.parametrize("backend", ["auto", "mosaic"])
@pytest.mark.parametrize("kernel", [product, rational])
def test_without_jax_triton_xla_serves_and_one_line_says_so(kernel, backend, caplog):
    pallas_kernels.triton_calls.log.cache_clear()
    # Mosaic has none of these.
    dtype = "bfloat16" if kernel is rational else "float32"
    for rows in (8, 9):
        f, (x, *coef) = kernel(dtype, backend=backend)
        assert kernels_of(f, (jnp.zeros((rows, x.shape[1]), x.dtype), *coef)) == set()
    (record,) = caplog.records
    assert "XLA serves in place of kernels in Triton" in record.getMessage()
    assert "pip install 'kanjax[gpu]'" in record.getMessage()


@pytest.mark.parametrize("kernel", [product, rational])
def test_who_asks_for_triton_is_told_what_to_install(kernel):
    with pytest.raises(ImportError, match="needs jax-triton.*pip install 'kanjax"):
        kernels_of(*kernel(backend="triton"))


@pytest.mark.parametrize("kernel", [product, rational])
def test_mosaic_and_pallas_where_they_are_asked_for(kernel):
    dtype = "bfloat16" if kernel is product else "float32"
    assert kernels_of(*kernel(dtype, backend="mosaic")) == {"mosaic_gpu"}
    if jax.__version_info__ < (0, 12):
        assert kernels_of(*kernel(backend="pallas")) == {"triton"}
        return
    # It is jax that warns, and only who asked; it compiles for no card but one at hand.
    with (
        pytest.warns(DeprecationWarning, match="Pallas Triton backend"),
        pytest.raises(RuntimeError, match="No supported GPU"),
    ):
        kernels_of(*kernel(backend="pallas"))


@pytest.mark.parametrize("kernel", [product, rational])
@pytest.mark.parametrize("backend", ["auto", "triton", "mosaic", "pallas"])
def test_tpus_have_one_kind(kernel, backend):
    assert kernels_of(*kernel(backend=backend), "tpu") == {"tpu"}
