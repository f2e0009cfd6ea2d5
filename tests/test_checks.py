import jax.numpy as jnp
import pytest

from kanjax import checks, nn


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


def test_functions_and_losses_alone_pass():
    checks.check_function(jnp.dot, "apply")
    for value, words in (({}, "got a dict"), (nn.MLP((2, 1)), r"got MLP\(\(2, 1\)\)")):
        with pytest.raises(TypeError, match=f"apply must be a function.*{words}"):
            checks.check_function(value, "apply")
    for loss in (jnp.sum, abs, lambda params, scale=1: 0, lambda *args: 0, max):
        checks.check_loss(loss)

    def of_a_batch(params, batch, key):
        return 0

    with pytest.raises(TypeError, match=r"of_a_batch\(params, batch, key\).*on_batch"):
        checks.check_loss(of_a_batch)
    with pytest.raises(TypeError, match="got a dict"):
        checks.check_loss({})
