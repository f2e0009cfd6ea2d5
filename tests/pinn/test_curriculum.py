"""Training by stages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn

curriculum = pinn.curriculum.curriculum


def fit(params, coefficient, key):
    end = params + coefficient * jax.random.normal(key, params.shape)
    return end, {"start": params}


def test_stages_start_where_the_last_ended(key):
    found, kept = jax.jit(lambda p: curriculum(fit, p, (1.0, 2.0, 4.0), key=key))(
        jnp.zeros(3)
    )
    params, starts = jnp.zeros(3), []
    for c, k in zip((1.0, 2.0, 4.0), jax.random.split(key, 3), strict=True):
        starts.append(params)
        params, _ = fit(params, c, k)
    np.testing.assert_allclose(found, params, rtol=1e-6)
    np.testing.assert_allclose(kept["start"], np.stack(starts), rtol=1e-6)


def test_coefficients_have_slopes_and_map(key):
    def end(schedule):
        step = lambda p, c, k: (p * c, ())  # noqa: E731
        return curriculum(step, jnp.ones(()), schedule, key=key)[0]

    schedules = jnp.array([[2.0, 3.0], [5.0, 7.0]])
    np.testing.assert_allclose(jax.vmap(end)(schedules), [6, 35])
    np.testing.assert_allclose(jax.grad(end)(schedules[0]), [3, 2])


def test_no_stage_is_refused(key):
    with pytest.raises(ValueError, match="at least one stage"):
        curriculum(fit, jnp.zeros(3), (), key=key)
