"""The Kolmogorov-Arnold transformer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, model, nn, training


def vit(activation=jax.nn.silu, kernel_scale=1.0, **options):
    mlp = model.Sequential(
        (
            nn.Dense(8, 32, kernel_scale=kernel_scale),
            nn.Activation(activation),
            nn.Dense(32, 8),
        )
    )
    return nn.VisionTransformer((4, 4), 2, 1, 3, 8, 2, 2, mlp, **options)


@pytest.mark.parametrize(
    "size, plain", [("tiny", 5_717_416), ("small", 22_050_664), ("base", 86_567_656)]
)
def test_published_sizes_have_76_parameters_a_block_more(size, plain, key):
    """Two rational functions, each of 6 shared and 8 times 4 coefficients."""
    drawn = jax.eval_shape(kan.kat(size).init, key)
    assert model.count_parameters(drawn) == plain + 12 * 76


def test_the_block_begins_with_the_identity_then_the_activation(key):
    block = kan.rational_mlp(16, 24, groups=4)
    params = block.init(key)
    x = jnp.clip(jax.random.normal(key, (5, 16)), -1, 1)
    one, two = params
    hidden = x @ one["kernel"] + one["bias"][None]
    assert float(jnp.max(jnp.abs(hidden))) < 5
    expected = jax.nn.silu(hidden) @ two["kernel"] + two["bias"][None]
    np.testing.assert_allclose(block.apply(params, x), expected, atol=1e-3)


@pytest.mark.parametrize("form", ["A", "B"])
def test_a_vision_transformer_is_kept(form, key):
    plain = vit(kernel_scale=0.5)
    params = jax.jit(plain.init)(key)
    for block in params["blocks"]:
        # A normalised token has the norm sqrt(8), so that no pre-activation leaves
        # the interval of the fit.
        norms = jnp.linalg.norm(block["mlp"][0]["kernel"], axis=0)
        assert float(jnp.max(norms)) * np.sqrt(8) < 3
    net, new = kan.kat_from_vit(plain, params, groups=4, form=form)
    x = jax.random.normal(key, (16, 4, 4, 1))
    difference = net.apply(new, x) - plain.apply(params, x)
    assert float(jnp.max(jnp.abs(difference))) <= 1e-4
    structure = jax.tree.structure(jax.eval_shape(net.init, key))
    assert jax.tree.structure(new) == structure


def test_the_standard_network_is_kept_with_its_dropout(key):
    plain = nn.VisionTransformer((4, 4), 2, 1, 3, 8, 1, 2, dropout=0.1)
    params = jax.jit(plain.init)(key)
    net, new = kan.kat_from_vit(plain, params)
    x = jax.random.normal(key, (16, 4, 4, 1))
    # The best rational function of form A is within 0.004 of GELU.
    difference = net.apply(new, x) - plain.apply(params, x)
    assert float(jnp.max(jnp.abs(difference))) < 0.05
    assert net.blocks[0].mlp.layers[0].dropout == 0.1


def test_an_ensemble_trains_over_a_mesh(key):
    mlp = kan.rational_mlp(8, 16, groups=4, dropout=0.1)
    net = nn.VisionTransformer((4, 4), 2, 1, 2, 8, 1, 2, mlp, drop_path=0.1)
    x = jax.random.normal(key, (32, 4, 4, 1))
    data = (x, (x.mean(axis=(1, 2, 3)) > 0).astype(jnp.int32))
    loss = training.classification(net.apply)
    found = training.fit_ensemble(
        loss,
        jax.jit(jax.vmap(net.init))(jax.random.split(key, 2)),
        data,
        optimizer="adam",
        learning_rate=1e-2,
        steps=40,
        key=key,
        evaluate_every=40,
        mesh=training.member_mesh(jax.devices()[:2]),
    )
    for member in range(2):
        value, metrics = loss(found.member(member), data)
        assert float(value) < 0.5 and float(metrics["accuracy"]) > 0.8


def test_bad_input(key):
    with pytest.raises(ValueError, match="groups=5 does not divide in_features=192"):
        kan.kat("tiny", groups=5)
    with pytest.raises(ValueError, match="groups=8 does not divide in_features=20"):
        kan.rational_mlp(16, 20)
    with pytest.raises(ValueError, match="patch_size=16 does not divide an image of 3"):
        kan.kat("tiny", image_size=(30, 32))
    other = dataclasses.replace(vit(), mlp=nn.MLP((8, 32, 8)))
    with pytest.raises(ValueError, match="vit must have the standard mlp, dense lay"):
        kan.kat_from_vit(other, {})
