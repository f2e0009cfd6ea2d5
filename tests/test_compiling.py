"""Options for short programs are known to this compiler, and results stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import compiling


@pytest.mark.parametrize("jit", [compiling.jit_soon, compiling.jit_balanced])
def test_results_are_those_of_the_default(jit, key):
    x = jax.random.normal(key, (5, 5))

    def f(x):
        return jnp.tanh(x) @ jnp.exp(x)

    np.testing.assert_allclose(jit(f)(x), jax.jit(f)(x), rtol=1e-5)
