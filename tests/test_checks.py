import jax.numpy as jnp
import pytest

from kanjax import checks


@pytest.mark.parametrize("kind", [jnp.int32, jnp.uint8, bool])
def test_integers_and_booleans_become_floating(kind):
    found = checks.as_floating(jnp.ones(3, kind))
    assert found.dtype == jnp.float32 and found.sum() == 3
    half = jnp.ones(3, jnp.bfloat16)
    assert checks.as_floating(half) is half


def test_real_parameters_alone_pass():
    checks.check_real({"a": jnp.ones(2), "b": 1.0}, "params")
    with pytest.raises(ValueError, match="params has no leaves"):
        checks.check_real({}, "params")
    with pytest.raises(TypeError, match=r"params at \['a'\] has dtype complex64"):
        checks.check_real({"a": jnp.ones(2, jnp.complex64)}, "params")
    with pytest.raises(TypeError, match="dtype int32.*Close over"):
        checks.check_real(jnp.ones(2, int), "params")
    with pytest.raises(TypeError, match="is 'x', not an array"):
        checks.check_real({"a": "x"}, "params")
