"""Convolutions of learned functions against jax's own, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pallas_kernels
from kanjax import bases, kan, nn
from kanjax.kan import selection

IDENTITY = pallas_kernels.Single(lambda x: x)
CASES = {
    "same": ((3, 2), {}),
    "valid": ((2, 3), {"padding": "VALID", "strides": (2, 1)}),
    "circular": ((3, 3), {"padding": "CIRCULAR", "dilation": (1, 2)}),
    "pairs": ((2, 2), {"padding": ((1, 0), (2, 3)), "strides": 2}),
    "groups": ((3, 2), {"groups": 2, "dilation": 2}),
    "one axis": ((4,), {"strides": 3}),
    "three axes": ((2, 1, 3), {"strides": (1, 2, 1), "padding": "SAME"}),
}


@pytest.mark.parametrize("name", CASES)
def test_with_the_identity_it_is_a_plain_convolution(name, x64):
    kernel_size, options = CASES[name]
    groups = options.get("groups", 1)
    taps = int(np.prod(kernel_size))
    plain = nn.Conv(4, 6, kernel_size, use_bias=False, **options)
    params = plain.init(jax.random.key(0))
    layer = kan.KANLayer(taps * 4 // groups, 6 // groups, IDENTITY, residual=None)
    net = kan.KANConv(layer, kernel_size, **options)
    shape = (2, 3, 8, 7, 5)[: 2 + len(kernel_size)]
    x = jax.random.normal(jax.random.key(1), (*shape, 4))
    coef = params["kernel"].reshape(1, taps * 4 // groups, groups, 6 // groups)
    coef = jnp.moveaxis(coef, 2, 0) if groups > 1 else coef[:, :, 0]
    np.testing.assert_allclose(
        net.apply({"coef": coef}, x), plain.apply(params, x), rtol=1e-11, atol=1e-13
    )


def test_any_basis_is_the_convolution_of_its_maps(x64):
    # Padding comes first: the functions at 0 are not 0.
    basis = bases.Chebyshev(3)
    net = kan.kan_conv(2, 3, (3, 3), basis)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 5, 4, 2))
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = net.layer.weights(params)
    expected = jnp.zeros(())
    for values, row in zip(
        jnp.moveaxis(net.layer.functions(padded), -1, 0), rows, strict=True
    ):
        expected = expected + jax.lax.conv_general_dilated(
            values,
            row.reshape(3, 3, 2, 3),
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    np.testing.assert_allclose(net.apply(params, x), expected, rtol=1e-11, atol=1e-13)


def test_the_expansion_of_an_image_is_not_stored():
    net = kan.selectable_conv(8, 4, (3, 3))
    params = jax.eval_shape(net.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((4, 64, 64, 8), jnp.float32)

    def loss(params, x):
        return jnp.sum(jnp.sin(net.apply(params, x)))

    used = jax.jit(jax.grad(loss)).lower(params, x).compile().memory_analysis()
    functions = sum(basis.size for basis in net.layer.pool)
    expansion = 4 * x.size * 9 * functions
    assert used.temp_size_in_bytes < expansion / 4


def test_groups_have_parameters_and_choices_of_their_own(x64):
    net = kan.selectable_conv(4, 6, (3,), bases_of_two(), groups=2)
    params = net.init(jax.random.key(0))
    params["logits"] = jax.random.normal(jax.random.key(1), params["logits"].shape)
    assert params["logits"].shape == (2, 2, 2)
    x = jax.random.normal(jax.random.key(2), (5, 7, 4))
    hard = selection.harden(params)
    half = kan.selectable_conv(2, 3, (3,), bases_of_two())
    for p in (params, hard):
        y = net.apply(p, x)
        for group in range(2):
            mine = jax.tree.map(lambda leaf, g=group: leaf[g], p)
            expected = half.apply(mine, x[..., 2 * group : 2 * group + 2])
            np.testing.assert_allclose(
                y[..., 3 * group : 3 * group + 3], expected, rtol=1e-11, atol=1e-13
            )


@pytest.mark.parametrize("name", ["circular", "groups", "three axes"])
def test_functions_evaluated_once_give_what_patches_give(name, x64):
    kernel_size, options = CASES[name]
    options = options | {"strides": 1}
    net = kan.selectable_conv(4, 2, kernel_size, **options)
    params = net.init(jax.random.key(0))
    params["logits"] = jax.random.normal(jax.random.key(1), params["logits"].shape)
    shape = (2, 3, 8, 7, 5)[: 2 + len(kernel_size)]
    x = jax.random.normal(jax.random.key(2), (*shape, 4))

    def by_patches(params, x):
        cut = net.patches(x)
        if net.groups == 1:
            return net.layer.apply(params, cut[..., 0, :])
        y = jax.vmap(net.layer.apply, (0, -2), -2)(params, cut)
        return y.reshape(*y.shape[:-2], -1)

    def value(function):
        return jax.value_and_grad(
            lambda p, x: jnp.sum(jnp.sin(function(p, x))), argnums=(0, 1)
        )(params, x)

    expected, result = value(by_patches), value(net.apply)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
        result,
        expected,
    )


def bases_of_two():
    return (bases.BSpline(3), bases.Chebyshev(3))


def test_points_of_a_kernel_may_choose_for_themselves():
    net = kan.selectable_conv(3, 2, (3, 3), per_tap=True)
    assert net.init(jax.random.key(0))["logits"].shape == (27, 6)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="points of kernel_size=.* do not divide"):
        kan.KANConv(kan.KANLayer(10, 3), (3, 3))
    with pytest.raises(ValueError, match="groups=2 does not divide"):
        kan.kan_conv(3, 4, (3,), groups=2)
    with pytest.raises(ValueError, match="padding must be one of"):
        kan.kan_conv(4, 4, (3,), padding="REFLECT")
    net = kan.kan_conv(2, 3, (5, 5), padding="VALID")
    params = net.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"x must have shape \(..., n1, n2, 2\)"):
        net.apply(params, jnp.zeros((8, 8, 3)))
    with pytest.raises(ValueError, match="kernel is larger than x"):
        net.apply(params, jnp.zeros((8, 4, 2)))
    with pytest.raises(ValueError, match="nothing is left of an image"):
        kan.image_classifier((8, 8, 1), 10)
