import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import kan, landscape, model, nn


@pytest.fixture
def params(key):
    k = jax.random.split(key, 4)
    return {
        "kan": {"coef": jax.random.normal(k[0], (5, 3, 4))},
        "dense": {"kernel": jax.random.normal(k[1], (4, 2)), "bias": jnp.ones(2)},
        "conv": 3 * jax.random.normal(k[2], (3, 3, 2, 6)),
        "slope": jnp.ones(()),
    }


def norms(leaf, axis):
    """The norm of each slice along an axis."""
    slices = np.moveaxis(np.asarray(leaf), axis, 0)
    return np.linalg.norm(slices.reshape(len(slices), -1), axis=1)


def test_each_filter_has_the_norm_it_has_in_the_parameters(key, params):
    d = landscape.random_direction(key, params)
    for get in (
        lambda p: p["kan"]["coef"],
        lambda p: p["dense"]["kernel"],
        lambda p: p["conv"],
    ):
        np.testing.assert_allclose(norms(get(d), -1), norms(get(params), -1), rtol=1e-5)
    assert not d["dense"]["bias"].any() and not d["slope"].any()


def test_layer_weight_and_no_normalisation(key, params):
    layer = landscape.random_direction(key, params, normalize="layer")
    np.testing.assert_allclose(
        jnp.linalg.norm(layer["conv"].ravel()),
        jnp.linalg.norm(params["conv"].ravel()),
        rtol=1e-5,
    )
    plain = landscape.random_direction(key, params, normalize=None)
    weight = landscape.random_direction(key, params, normalize="weight")
    np.testing.assert_allclose(weight["conv"], plain["conv"] * params["conv"])
    assert abs(float(jnp.std(plain["conv"])) - 1) < 0.2
    assert not plain["dense"]["bias"].any()


def test_ignoring_nothing_copies_vectors_or_leaves_them_random(key, params):
    copied = landscape.random_direction(key, params, ignore=None)
    np.testing.assert_array_equal(copied["dense"]["bias"], params["dense"]["bias"])
    free = landscape.random_direction(key, params, ignore=None, normalize=None)
    assert free["slope"] != params["slope"]


def test_filters_along_other_axes(key, params):
    first = landscape.random_direction(key, params, filter_axis=0)
    np.testing.assert_allclose(
        norms(first["conv"], 0), norms(params["conv"], 0), rtol=1e-5
    )
    both = {"kan": params["kan"], "conv": params["conv"]}
    by_path = lambda path, leaf: 1 if "coef" in path else 2  # noqa: E731
    for axis in ({"kan": 1, "conv": 2}, by_path):
        d = landscape.random_direction(key, both, filter_axis=axis)
        np.testing.assert_allclose(
            norms(d["kan"]["coef"], 1), norms(params["kan"]["coef"], 1), rtol=1e-5
        )
        np.testing.assert_allclose(
            norms(d["conv"], 2), norms(params["conv"], 2), rtol=1e-5
        )


def test_zero_filters_stay_zero_and_finite(key):
    w = jnp.ones((4, 3)).at[:, 1].set(0)
    d = landscape.random_direction(key, w)
    assert not d[:, 1].any() and jnp.all(jnp.isfinite(d))


def test_a_pair_is_independent_and_reproducible(key, params):
    d1, d2 = landscape.random_directions(key, params)
    cosine = jnp.sum(d1["conv"] * d2["conv"]) / jnp.sum(d1["conv"] ** 2)
    assert abs(float(cosine)) < 0.5
    again, _ = landscape.random_directions(key, params)
    jax.tree.map(np.testing.assert_array_equal, d1, again)


def test_jit_and_vmap_over_members(key, params):
    keys = jax.random.split(key, 2)
    stack = jax.tree.map(lambda v: jnp.stack([v, 2 * v]), params)
    together = jax.jit(jax.vmap(landscape.random_direction))(keys, stack)
    for i in range(2):
        alone = landscape.random_direction(
            keys[i], jax.tree.map(lambda v, i=i: v[i], stack)
        )
        jax.tree.map(
            lambda t, a, i=i: np.testing.assert_allclose(t[i], a, rtol=1e-5),
            together,
            alone,
        )


def test_flax_and_equinox_parameters(key):
    dense = linen.Dense(5).init(key, jnp.ones((1, 3)))["params"]
    d = landscape.random_direction(key, dense)
    np.testing.assert_allclose(
        norms(d["kernel"], 1), norms(dense["kernel"], 1), rtol=1e-5
    )
    net = eqx.filter(eqx.nn.MLP(3, 2, 4, 1, key=key), eqx.is_array)
    d = landscape.random_direction(key, net, filter_axis=0)
    weight = net.layers[0].weight
    np.testing.assert_allclose(
        norms(d.layers[0].weight, 0), norms(weight, 0), rtol=1e-5
    )


def test_filter_axes_are_inferred(key):
    net = model.Sequential((nn.Conv(2, 3, (3,)), kan.KAN((3, 4, 2)), nn.LayerNorm(2)))
    params = net.init(key)
    axes = landscape.filter_axes(params, net)
    assert set(jax.tree.leaves(axes)) == {-1}
    turned = model.Sequential((Turned(),))
    axes = landscape.filter_axes(turned.init(key), turned)
    assert axes == ({"kernel": -2},)
    flax_params = linen.Conv(4, (3, 3)).init(key, jnp.ones((1, 5, 5, 2)))["params"]
    assert landscape.filter_axes(flax_params) == {"kernel": -1, "bias": -1}
    net = eqx.filter(eqx.nn.Conv2d(2, 4, 3, key=key), eqx.is_array)
    axes = landscape.filter_axes(net)
    assert axes.weight == 0
    d = landscape.random_direction(key, net, filter_axis=axes)
    np.testing.assert_allclose(norms(d.weight, 0), norms(net.weight, 0), rtol=1e-5)


class Turned:
    """A layer with kernels (out, in)."""

    def init(self, key):
        return {"kernel": jax.random.normal(key, (3, 2))}

    def parameter_axes(self):
        return {"kernel": ("out", "in")}


def test_bad_input_is_named(key, params):
    with pytest.raises(ValueError, match="normalize is 'filters'"):
        landscape.random_direction(key, params, normalize="filters")
    with pytest.raises(ValueError, match="ignore is 'bias'"):
        landscape.random_direction(key, params, ignore="bias")
    with pytest.raises(ValueError, match=r"filter_axis is 2 at \['dense'\]"):
        landscape.random_direction(key, {"dense": jnp.ones((2, 2))}, filter_axis=2)
    with pytest.raises(ValueError, match="prefix of params"):
        landscape.random_direction(key, params, filter_axis={"kan": 0})
    with pytest.raises(TypeError, match=r"\['n'\] has dtype int32"):
        landscape.random_direction(key, {"n": jnp.arange(3)})
