import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import hopfield
from tests.hopfield.recordings import RECORDED, recorded, translated

INSIDE = hopfield.Hopfield(8, heads=2)
ENCODER = hopfield.HopfieldEncoderLayer(INSIDE, 12)
DECODER = hopfield.HopfieldDecoderLayer(INSIDE, INSIDE, 12)


def rest(theirs, norms):
    """The norms and dense layers of the authors' block as ours."""
    made = {
        ours: {
            "scale": jnp.asarray(theirs[f"{name}.weight"]),
            "bias": jnp.asarray(theirs[f"{name}.bias"]),
        }
        for ours, name in norms.items()
    }
    made["dense"] = tuple(
        {
            "kernel": jnp.asarray(theirs[f"{name}.weight"].T),
            "bias": jnp.asarray(theirs[f"{name}.bias"]),
        }
        for name in ("linear_residual", "linear_output")
    )
    return made


def check(layer, params, case, **options):
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(layer.init, jax.random.key(0))
    )
    x = jnp.asarray(recorded(case, "inputs")["x"])
    y = jax.jit(layer.apply)(params, x, **options)
    np.testing.assert_allclose(y, RECORDED[f"{case}/output"], rtol=1e-9, atol=1e-12)
    slope = jax.jit(
        jax.grad(lambda x: jnp.sum(jnp.sin(layer.apply(params, x, **options))))
    )(x)
    np.testing.assert_allclose(
        slope, RECORDED[f"{case}/gradient"], rtol=1e-8, atol=1e-12
    )


def test_the_encoder_is_the_authors(x64):
    theirs = recorded("encoder", "params")
    params = {"association": translated(INSIDE, theirs, "hopfield_association.")}
    params |= rest(theirs, {"norm": "norm_residual", "norm_out": "norm_output"})
    check(ENCODER, params, "encoder")


def test_the_decoder_is_the_authors(x64):
    theirs = recorded("decoder", "params")
    params = {
        "association": translated(INSIDE, theirs, "hopfield_association_self."),
        "cross_association": translated(INSIDE, theirs, "hopfield_association_cross."),
    }
    params |= rest(
        theirs,
        {
            "norm": "norm_residual_self",
            "norm_cross": "norm_residual_cross",
            "norm_out": "norm_output",
        },
    )
    memory = jnp.asarray(recorded("decoder", "inputs")["memory"])
    check(DECODER, params, "decoder", memory=memory)


def test_dropout_needs_a_key_and_masks_reach_the_associations(key):
    params = DECODER.init(key)
    x, memory = jax.random.normal(key, (2, 3, 5, 8))
    apply = jax.jit(DECODER.apply)
    quiet = apply(params, x, memory=memory)
    noisy = apply(params, x, memory=memory, key=key)
    assert np.max(np.abs(noisy - quiet)) > 1e-3
    causal = jnp.tril(jnp.ones((5, 5), bool))
    present = jnp.broadcast_to(jnp.arange(5) < 3, (3, 5))
    options = {"mask": causal, "memory_present": present}
    y = apply(params, x, memory=memory, **options)
    changed = apply(
        params, x.at[:, 4].set(9.0), memory=memory.at[:, 3:].set(9.0), **options
    )
    np.testing.assert_allclose(changed[:, :4], y[:, :4], rtol=1e-5, atol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="out_features must be state_features=8"):
        hopfield.HopfieldEncoderLayer(hopfield.Hopfield(8, out_features=4))
    with pytest.raises(ValueError, match="hidden must be a positive integer"):
        hopfield.HopfieldEncoderLayer(INSIDE, 0)
