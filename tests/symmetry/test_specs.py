import dataclasses
from typing import Any

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import symmetry


@dataclasses.dataclass(frozen=True)
class Dense:
    inputs: int
    outputs: int

    def init(self, key):
        kernel = jax.random.normal(key, (self.inputs, self.outputs))
        bias = 0.3 * jax.random.normal(jax.random.fold_in(key, 1), (self.outputs,))
        return {"kernel": kernel / self.inputs**0.5, "bias": bias}

    def apply(self, params, x):
        return x @ params["kernel"] + params["bias"][None]

    def parameter_axes(self):
        return {"kernel": ("in", "out"), "bias": ("out",)}


@dataclasses.dataclass(frozen=True)
class Tanh:
    def init(self, key):
        return ()

    def apply(self, params, x):
        return jnp.tanh(x)

    def parameter_axes(self):
        return ()


@dataclasses.dataclass(frozen=True)
class Scale:
    features: int

    def init(self, key):
        return {
            "scale": 1 + 0.3 * jax.random.normal(key, (self.features,)),
            "slope": jnp.array(0.7),
        }

    def apply(self, params, x):
        return x * params["scale"][None] + params["slope"]

    def parameter_axes(self):
        return {"scale": ("unit",), "slope": ()}


@dataclasses.dataclass(frozen=True)
class Spline:
    """A KAN layer on powers of tanh; per_input knots give each input its own basis."""

    inputs: int
    outputs: int
    per_input: bool = False

    def init(self, key):
        coef = jax.random.normal(key, (3, self.inputs, self.outputs))
        return {"coef": coef / self.inputs**0.5, "residual": coef[0]}

    def apply(self, params, x):
        shift = jnp.linspace(0, 1, self.inputs)[None] if self.per_input else 0.0
        powers = jnp.stack([jnp.tanh(x + shift) ** k for k in range(3)])
        spline = jnp.einsum("sni,sio->no", powers, params["coef"])
        return spline + jax.nn.silu(x) @ params["residual"]

    def parameter_axes(self):
        unit = None if self.per_input else "in"
        return {"coef": (None, unit, "out"), "residual": (unit, "out")}


@dataclasses.dataclass(frozen=True)
class Rational:
    """A grouped rational activation of the inputs, then a dense map."""

    inputs: int
    outputs: int
    groups: int = 1

    def init(self, key):
        keys = jax.random.split(key, 3)
        return {
            "numerator": jax.random.normal(keys[0], (self.groups, 3)),
            "denominator": jax.random.normal(keys[1], (self.groups, 2)),
            **Dense(self.inputs, self.outputs).init(keys[2]),
        }

    def apply(self, params, x):
        n, d = (
            jnp.repeat(params[k], self.inputs // self.groups, axis=0)[None]
            for k in ("numerator", "denominator")
        )
        top = n[..., 0] + n[..., 1] * x + n[..., 2] * x**2
        x = top / (1 + jnp.abs(d[..., 0] * x + d[..., 1] * x**2))
        return Dense(self.inputs, self.outputs).apply(params, x)

    def parameter_axes(self):
        unit = "in" if self.groups == 1 else None
        return {
            "numerator": (None, None),
            "denominator": (None, None),
            "kernel": (unit, "out"),
            "bias": ("out",),
        }


@dataclasses.dataclass(frozen=True)
class Chain:
    layers: tuple[Any, ...]

    def init(self, key):
        keys = jax.random.split(key, len(self.layers))
        return tuple(m.init(k) for m, k in zip(self.layers, keys, strict=True))

    def apply(self, params, x):
        for layer, p in zip(self.layers, params, strict=True):
            x = layer.apply(p, x)
        return x


CHAINS = {
    "dense": Chain((Dense(3, 6), Tanh(), Dense(6, 5), Tanh(), Dense(5, 2))),
    "kan": Chain((Spline(3, 6), Spline(6, 5), Spline(5, 2))),
    "rational": Chain((Rational(3, 6), Rational(6, 5), Rational(5, 2))),
    "grouped": Chain((Rational(3, 6), Rational(6, 6, 3), Rational(6, 2))),
    "unit": Chain((Scale(3), Dense(3, 6), Scale(6), Tanh(), Scale(6), Dense(6, 2))),
    "nested": Chain(
        (Chain((Dense(3, 6), Tanh())), Chain((Chain((Dense(6, 5),)), Spline(5, 2))))
    ),
    "first_knots": Chain((Spline(3, 6, True), Spline(6, 2))),
}
SIZES = {
    "dense": (("P1", 6), ("P2", 5)),
    "kan": (("P1", 6), ("P2", 5)),
    "rational": (("P1", 6), ("P2", 5)),
    "grouped": (("P2", 6),),
    "unit": (("P1", 6),),
    "nested": (("P1", 6), ("P2", 5)),
    "first_knots": (("P1", 6),),
}


@pytest.mark.parametrize("name", CHAINS)
def test_outputs_are_unchanged_by_the_permutations_of_the_spec(key, name):
    model = CHAINS[name]
    spec = symmetry.permutation_spec(model)
    assert spec.sizes == SIZES[name]
    params, x = model.init(key), jax.random.normal(key, (7, 3))
    permutation = symmetry.random_permutation(spec, jax.random.key(3))
    moved = symmetry.apply_permutation(spec, permutation, params)
    changes = jax.tree.map(lambda u, v: bool(jnp.any(u != v)), params, moved)
    assert any(jax.tree.leaves(changes))
    np.testing.assert_allclose(
        model.apply(moved, x), model.apply(params, x), rtol=1e-4, atol=1e-5
    )
    assert symmetry.verify_spec(spec, model.apply, params, x, key).holds
    back = symmetry.apply_permutation(
        spec, symmetry.invert_permutation(permutation), moved
    )
    jax.tree.map(np.testing.assert_array_equal, back, params)


@dataclasses.dataclass(frozen=True)
class Pinned(Dense):
    """A dense layer that lets neither its inputs nor its outputs be reordered."""

    def parameter_axes(self):
        return {"kernel": (None, None), "bias": (None,)}


def test_a_pinned_layer_in_the_middle_pins_both_of_its_sides():
    layers = (Dense(3, 6), Pinned(6, 6), Dense(6, 6), Tanh(), Dense(6, 2))
    spec = symmetry.permutation_spec(Chain(layers))
    assert spec.sizes == (("P3", 6),)
    assert [axes for path, axes in spec.axes if "kernel" in path] == [
        (None, None),
        (None, None),
        (None, "P3"),
        ("P3", None),
    ]


def test_a_spec_names_the_axes_of_every_leaf():
    spec = symmetry.permutation_spec(CHAINS["kan"])
    assert spec.axes == (
        ("[0]['coef']", (None, None, "P1")),
        ("[0]['residual']", (None, "P1")),
        ("[1]['coef']", (None, "P1", "P2")),
        ("[1]['residual']", ("P1", "P2")),
        ("[2]['coef']", (None, "P2", None)),
        ("[2]['residual']", ("P2", None)),
    )
    assert hash(spec) == hash(symmetry.permutation_spec(CHAINS["kan"]))


def test_chain_spec_from_axes_and_shapes():
    axes = [layer.parameter_axes() for layer in CHAINS["dense"].layers]
    shapes = jax.eval_shape(CHAINS["dense"].init, jax.random.key(0))
    spec = symmetry.chain_spec(axes, shapes)
    assert spec == symmetry.permutation_spec(CHAINS["dense"])


def test_a_wrong_spec_is_found_out(key):
    model = CHAINS["dense"]
    params, x = model.init(key), jax.random.normal(key, (7, 3))
    axes = (
        {"kernel": (None, "P1"), "bias": (None,)},
        (),
        {"kernel": ("P1", "P2"), "bias": ("P2",)},
        (),
        {"kernel": ("P2", None), "bias": (None,)},
    )
    spec = symmetry.spec_from_axes(axes, params)
    found = jax.jit(
        lambda p: symmetry.verify_spec(spec, model.apply, p, x, jax.random.key(5))
    )(params)
    assert not found.holds
    assert found.deviations["P1"] > 1e-2 > 1e-4 > found.deviations["P2"]


@pytest.mark.parametrize(
    "chain",
    [
        Chain((Spline(3, 6, True), Spline(6, 5, True), Spline(5, 2, True))),
        Chain((Rational(4, 6, 2), Rational(6, 2, 2))),
    ],
)
def test_hidden_units_that_are_all_pinned_are_an_error(chain):
    with pytest.raises(ValueError, match="no hidden unit.*same knots"):
        symmetry.permutation_spec(chain)


def test_a_chain_without_hidden_units_has_nothing_to_permute(key):
    model = Chain((Dense(3, 2),))
    spec = symmetry.permutation_spec(model)
    assert spec.sizes == ()
    params = model.init(key)
    jax.tree.map(
        np.testing.assert_array_equal,
        symmetry.apply_permutation(
            spec, symmetry.random_permutation(spec, key), params
        ),
        params,
    )
    found = symmetry.match_weights(spec, params, model.init(jax.random.key(1)))
    assert found.converged and found.sweeps == 0


def test_flax_dense_stacks(key):
    class Deep(linen.Module):
        @linen.compact
        def __call__(self, x):
            for i in range(11):
                x = jnp.tanh(linen.Dense(4 + i % 3)(x))
            return linen.Dense(2)(x)

    net, x = Deep(), jax.random.normal(key, (5, 3))
    params = net.init(key, x)
    spec = symmetry.mlp_spec(params)
    assert spec.names[0] == "P1" and len(spec.names) == 11
    assert dict(spec.axes)["['params']['Dense_10']['kernel']"] == ("P10", "P11")
    permutation = symmetry.random_permutation(spec, key)
    moved = symmetry.apply_permutation(spec, permutation, params)
    np.testing.assert_allclose(
        net.apply(moved, x), net.apply(params, x), rtol=1e-4, atol=1e-5
    )


def test_equinox_mlps(key):
    net = eqx.nn.MLP(3, 2, 6, 3, key=key)
    params, static = eqx.partition(net, eqx.is_array)
    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)  # noqa: E731
    spec = symmetry.mlp_spec(params)
    assert dict(spec.axes)[".layers[1].weight"] == ("P2", "P1")
    x = jax.random.normal(key, (5, 3))
    assert symmetry.verify_spec(spec, apply, params, x, key).holds
    other = eqx.filter(eqx.nn.MLP(3, 2, 6, 3, key=jax.random.key(9)), eqx.is_array)
    found = symmetry.match_weights(spec, params, other)
    assert found.converged
    np.testing.assert_allclose(
        apply(found.permuted, x), apply(other, x), rtol=1e-4, atol=1e-5
    )


def test_jit_and_vmap_over_members(key):
    model = CHAINS["kan"]
    spec = symmetry.permutation_spec(model)
    keys = jax.random.split(key, 3)
    stack = jax.vmap(model.init)(keys)
    drawn = jax.jit(jax.vmap(lambda k: symmetry.random_permutation(spec, k)))(keys)
    moved = jax.vmap(lambda p, s: symmetry.apply_permutation(spec, p, s))(drawn, stack)
    for i in range(3):
        one = lambda tree, i=i: jax.tree.map(lambda v: v[i], tree)  # noqa: E731
        jax.tree.map(
            np.testing.assert_array_equal,
            one(moved),
            symmetry.apply_permutation(spec, one(drawn), one(stack)),
        )


def test_apply_permutation_is_differentiable(key):
    model = CHAINS["dense"]
    spec, params = symmetry.permutation_spec(model), model.init(key)
    permutation = symmetry.random_permutation(spec, key)
    inverse = symmetry.invert_permutation(permutation)
    weight = lambda p: sum(  # noqa: E731
        jnp.sum(u * v)
        for u, v in zip(jax.tree.leaves(p), jax.tree.leaves(params), strict=True)
    )
    gradient = jax.grad(
        lambda p: weight(symmetry.apply_permutation(spec, permutation, p))
    )(params)
    expected = symmetry.apply_permutation(spec, inverse, params)
    jax.tree.map(np.testing.assert_allclose, gradient, expected)


def test_bad_input_is_named(key):
    model = CHAINS["dense"]
    spec, params = symmetry.permutation_spec(model), model.init(key)
    identity = symmetry.identity_permutation(spec)
    with pytest.raises(ValueError, match=r"permutation\['P2'\] is missing"):
        symmetry.apply_permutation(spec, {"P1": identity["P1"]}, params)
    with pytest.raises(ValueError, match=r"permutation\['P1'\] has shape \(3,\)"):
        symmetry.apply_permutation(spec, {**identity, "P1": jnp.arange(3)}, params)
    with pytest.raises(ValueError, match=r"does not fit params at \[0\]\['bias'\]"):
        small = Chain((Dense(3, 4), Tanh(), Dense(4, 5), Tanh(), Dense(5, 2)))
        symmetry.apply_permutation(spec, identity, small.init(key))
    with pytest.raises(ValueError, match=r"lacks .*\[4\]\['bias'\]"):
        symmetry.apply_permutation(spec, identity, params[:3])
    with pytest.raises(ValueError, match="'P' has 2 units.* and 3 at"):
        symmetry.spec_from_axes({"w": ("P", "P")}, {"w": jnp.ones((2, 3))})
    with pytest.raises(ValueError, match=r"\['w'\] are \('P',\).*\(2, 3\)"):
        symmetry.spec_from_axes({"w": ("P",)}, {"w": jnp.ones((2, 3))})
    with pytest.raises(ValueError, match="axes must be a pytree like params"):
        symmetry.spec_from_axes({"v": ("P",)}, {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="Plain does not say"):
        symmetry.permutation_spec(Chain((Dense(2, 2), Plain(), Dense(2, 2))))
    for net in (eqx.nn.MLP(2, 1, 8, 1, key=key), linen.Dense(3)):
        with pytest.raises(TypeError, match=r"network .* kj.symmetry.mlp_spec"):
            symmetry.permutation_spec(net)
    with pytest.raises(ValueError, match=r"axes of layer \[0\] hold"):
        symmetry.chain_spec([{"w": ("input", "out")}], [{"w": jnp.ones((2, 2))}])
    with pytest.raises(ValueError, match="axes is for 1 layers and params for 2"):
        symmetry.chain_spec([()], [(), ()])


def test_bad_stacks_are_named():
    matrix = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="named neither 'kernel' nor 'weight'"):
        symmetry.mlp_spec([{"w": matrix}])
    with pytest.raises(ValueError, match="gives 2 outputs.* takes 3 inputs"):
        symmetry.mlp_spec([{"kernel": matrix}, {"kernel": matrix}])
    with pytest.raises(ValueError, match=r"shape \(3, 3, 1, 2\)"):
        symmetry.mlp_spec({"Conv_0": {"kernel": jnp.ones((3, 3, 1, 2))}})
    with pytest.raises(ValueError, match="layout is 'oi'"):
        symmetry.mlp_spec([matrix], layout="oi")
    square = {"a": {"w": jnp.ones((2, 3))}, "b": {"w": jnp.ones((3, 2))}}
    assert symmetry.mlp_spec(square, layout="in_out").sizes == (("P1", 3),)


class Plain:
    """A layer that says nothing about its units."""

    def init(self, key):
        return ()
