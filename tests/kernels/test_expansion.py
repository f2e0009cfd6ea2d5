"""The basis-expansion product against a brute-force sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from kanjax import bases


def brute_force(expand, x, coef):
    values = np.asarray(expand(x), np.float64)
    y = np.zeros((x.shape[0], coef.shape[2]))
    for g in range(coef.shape[0]):
        for i in range(coef.shape[1]):
            y += values[:, g, i, None] * np.asarray(coef, np.float64)[g, i]
    return y


@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 1, 1), (0, 3, 2), (7, 1, 4)])
def test_equals_the_plain_sum(shape, key):
    batch, inputs, outputs = shape
    basis = bases.BSpline(4)
    x = jax.random.uniform(key, (batch, inputs), minval=-1.0)
    coef = jax.random.normal(key, (basis.size, inputs, outputs))

    def expand(values):
        return basis(values, axis=-2)

    y = pallas_kernels.expansion_dot(expand, x, coef)
    np.testing.assert_allclose(y, brute_force(expand, x, coef), atol=1e-5)
    np.testing.assert_allclose(
        jax.jit(pallas_kernels.expansion_dot, static_argnums=0)(expand, x, coef),
        y,
        atol=1e-6,
    )


def test_half_precision_keeps_its_type_and_accumulates_in_float32(key):
    basis = bases.GaussianRBF(8)
    x = jax.random.uniform(key, (16, 64), minval=-1.0).astype(jnp.bfloat16)
    coef = jax.random.normal(key, (8, 64, 4)).astype(jnp.bfloat16)

    def expand(values):
        return basis(values, axis=-2)

    y = pallas_kernels.expansion_dot(expand, x, coef)
    assert y.dtype == jnp.bfloat16
    # One rounding of the result, not one per term: the spread of a bfloat16 sum of
    # 512 terms would be about ten times this.
    np.testing.assert_allclose(
        y.astype(float), brute_force(expand, x, coef), rtol=2**-8, atol=2**-8
    )


def test_coefficients_that_do_not_fit():
    basis = bases.BSpline(5)
    with pytest.raises(ValueError, match=r"\(size, in\) = \(8, 3\)"):
        pallas_kernels.expansion_dot(
            lambda x: basis(x, axis=-2), jnp.zeros((2, 3)), jnp.zeros((7, 3, 1))
        )
