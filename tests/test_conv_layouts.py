"""Convolutions laid out channels last, held against the same without."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from kanjax import conv_layouts

# Shapes of x and kernel, options of the convolution.
CASES = {
    "one axis, strides": (
        (2, 9, 3),
        (3, 3, 4),
        {"dimension_numbers": ("NHC", "HIO", "NHC"), "window_strides": (2,)},
    ),
    "channels first, dilation": (
        (2, 4, 7, 6),
        (6, 4, 3, 2),
        {
            "dimension_numbers": ("NCHW", "OIHW", "NCHW"),
            "window_strides": (1, 2),
            "rhs_dilation": (2, 1),
        },
    ),
    "groups, axes in a strange order": (
        (5, 4, 2, 6),
        (3, 2, 2, 6),
        {
            "dimension_numbers": ("WCNH", "HWIO", "HCWN"),
            "window_strides": (1, 1),
            "feature_group_count": 2,
        },
    ),
    "three axes": (
        (1, 4, 5, 3, 2),
        (2, 2, 2, 2, 3),
        {"dimension_numbers": ("NDHWC", "DHWIO", "NDHWC"), "window_strides": (1,) * 3},
    ),
}


def convolve(options):
    # The call within is compiled apart, as those of jax.numpy are.
    @jax.jit
    def run(x, kernel):
        return lax.conv_general_dilated(x, kernel, padding="SAME", **options)

    return run


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_stay(name):
    shape, kernel_shape, options = CASES[name]
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), kernel_shape)
    run = convolve(options)

    def value(x, kernel):
        return jnp.sum(run(x, kernel) ** 2)

    gradient = jax.grad(value, argnums=(0, 1))
    expected = run(x, kernel), *gradient(x, kernel)
    results = (
        conv_layouts.channels_last(run)(x, kernel),
        *conv_layouts.channels_last(gradient)(x, kernel),
    )
    derived = jax.grad(conv_layouts.channels_last(value), argnums=(0, 1))(x, kernel)
    for got, wanted in zip(
        (*results, *derived), (*expected, *expected[1:]), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of the compiler for a CPU")
def test_a_loop_has_the_layout_that_is_fast():
    shape, kernel_shape, options = CASES["channels first, dilation"]
    xs, kernel = jnp.ones((3, *shape)), jnp.ones(kernel_shape)
    run = convolve(options)
    gradient = jax.grad(lambda k, x: jnp.sum(run(x, k) ** 2))

    def in_loop(step):
        loop = jax.jit(lambda k, xs: lax.map(lambda x: step(k, x), xs))
        text = loop.lower(kernel, xs).compile().as_text()
        layouts = {
            line.split("dim_labels=")[1].split(",")[0]
            for line in text.splitlines()
            if "dim_labels=b" in line or "dim_labels=f" in line
        }
        return loop(kernel, xs), layouts

    values, layouts = in_loop(conv_layouts.channels_last(gradient))
    expected, plain = in_loop(gradient)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert {v.split()[0] for v in layouts} == {"b01f_01io->b01f"}
    assert {v.split()[0] for v in plain} != {"b01f_01io->b01f"}
