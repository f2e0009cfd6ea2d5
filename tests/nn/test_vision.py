"""Patches, transformer blocks and the vision transformer."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn

SMALL = nn.VisionTransformer((8, 4), 2, 3, 5, features=8, depth=2, heads=2)


@pytest.fixture(scope="module")
def params():
    return jax.jit(SMALL.init)(jax.random.key(0))


def test_patches_are_a_strided_convolution(key):
    patches = nn.PatchEmbedding(2, 3, 5)
    params = patches.init(key)
    x = jax.random.normal(key, (4, 6, 8, 3))
    expected = jax.lax.conv_general_dilated(
        x,
        params["kernel"].reshape(2, 2, 3, 5),
        (2, 2),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(
        patches.apply(params, x), expected.reshape(4, 12, 5), atol=1e-5
    )


def test_a_block_is_its_two_residual_branches(key):
    attention, mlp = nn.Attention(8, 2), nn.MLP((8, 16, 8))
    block = nn.TransformerBlock(attention, mlp, scale=0.5)
    params = block.init(key)
    x = jax.random.normal(key, (3, 5, 8))

    def norm(v):
        return (v - v.mean(-1, keepdims=True)) / jnp.sqrt(v.var(-1)[..., None] + 1e-6)

    y = x + 0.5 * attention.apply(params["attention"], norm(x))
    y = y + 0.5 * mlp.apply(params["mlp"], norm(y))
    np.testing.assert_allclose(block.apply(params, x), y, atol=1e-5)


def test_the_network_equals_a_plain_one_in_flax(params, key):
    """Position by position: the class token first, the rest by flax's own layers."""
    x = jax.random.normal(key, (2, 8, 4, 3))
    tokens = SMALL.patches.apply(params["patches"], x)
    first = jnp.tile(params["class_token"], (2, 1, 1))
    y = jnp.concatenate([first, tokens], 1) + params["positions"][None]
    norm = flax.linen.LayerNorm()
    attend = flax.linen.MultiHeadDotProductAttention(2)
    for p in params["blocks"]:
        kernels = {
            name: {
                "kernel": p["attention"][name]["kernel"].reshape(8, 2, 4),
                "bias": p["attention"][name]["bias"].reshape(2, 4),
            }
            for name in ("query", "key", "value")
        }
        out = p["attention"]["output"]
        kernels["out"] = {**out, "kernel": out["kernel"].reshape(2, 4, 8)}
        normed = norm.apply({"params": p["attention_norm"]}, y)
        y = y + attend.apply({"params": kernels}, normed)
        normed = norm.apply({"params": p["mlp_norm"]}, y)
        one, two = p["mlp"][0], p["mlp"][3]
        hidden = jax.nn.gelu(normed @ one["kernel"] + one["bias"][None, None])
        y = y + hidden @ two["kernel"] + two["bias"][None, None]
    token = norm.apply({"params": params["norm"]}, y)[:, 0]
    expected = token @ params["head"]["kernel"] + params["head"]["bias"][None]
    np.testing.assert_allclose(SMALL.apply(params, x), expected, atol=2e-5)


def test_every_place_counts_and_examples_do_not_mix(params, key):
    x = jax.random.normal(key, (2, 8, 4, 3))
    slope = jax.jit(jax.grad(lambda x: jnp.sum(SMALL.apply(params, x)[0])))(x)
    assert np.all(np.any(np.asarray(slope[0]) != 0, axis=-1))
    assert not np.any(slope[1])


def test_paths_drop_more_often_with_depth_and_keys_reach_them(params, key):
    net = nn.VisionTransformer((8, 4), 2, 3, 5, 8, 3, 2, drop_path=0.4, dropout=0.1)
    assert [block.drop_path for block in net.blocks] == [0, 0.2, 0.4]
    x, params = jnp.ones((4, 8, 4, 3)), net.init(key)
    apply = jax.jit(net.apply)
    keyed, again = (np.asarray(apply(params, x, key=key)) for _ in range(2))
    np.testing.assert_array_equal(keyed, again)
    assert not np.allclose(keyed[0], keyed[1])
    plain = np.asarray(apply(params, x))
    np.testing.assert_allclose(plain[0], plain[1], atol=1e-6)


@pytest.mark.parametrize(
    "size, number", [("tiny", 5_717_416), ("small", 22_050_664), ("base", 86_567_656)]
)
def test_published_sizes_have_as_many_parameters(size, number, key):
    net = nn.vision_transformer(size)
    assert model.count_parameters(jax.eval_shape(net.init, key)) == number


def test_bad_input(params):
    with pytest.raises(ValueError, match="patch_size=16 does not divide an image of 2"):
        nn.vision_transformer("tiny", image_size=(225, 224))
    with pytest.raises(ValueError, match="patch_size=2 does not divide .* 5 x 4 pixel"):
        nn.PatchEmbedding(2, 1, 3).apply({}, jnp.ones((5, 4, 1)))
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 8, 4, 3\); got"):
        SMALL.apply(params, jnp.ones((2, 4, 8, 3)))
    with pytest.raises(ValueError, match="size must be one of .* got 'huge'"):
        nn.vision_transformer("huge")
    with pytest.raises(ValueError, match="heads=5 does not divide features=192"):
        nn.VisionTransformer((8, 8), 2, 1, 10, 192, 12, 5)
