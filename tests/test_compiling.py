"""Options for short programs are known to this compiler, and results stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import compiling


@pytest.mark.parametrize("options", [compiling.SOON, compiling.BALANCED])
def test_results_are_those_of_the_default(options, key):
    x = jax.random.normal(key, (5, 5))

    def f(x):
        return jnp.tanh(x) @ jnp.exp(x)

    soon = jax.jit(f, compiler_options=options)(x)
    np.testing.assert_allclose(soon, jax.jit(f)(x), rtol=1e-5)
