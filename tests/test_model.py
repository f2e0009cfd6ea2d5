"""Descriptions as pytrees: equality, repr, stacking, composition."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, model, nn


@model.dataclass
class Scale:
    """Multiplies by an array that is not trained, and by one that is."""

    name: str
    fixed: jax.Array | None = model.child(default=None)

    def init(self, key):
        return jnp.ones(())

    def apply(self, params, x, *, key=None):
        return x * params * (1.0 if self.fixed is None else self.fixed)


def test_arrays_are_children_and_the_rest_is_static():
    scale = Scale("a", jnp.arange(3.0))
    leaves, tree = jax.tree.flatten(scale)
    assert len(leaves) == 1
    assert tree == jax.tree.structure(Scale("a", jnp.ones(7)))
    assert tree != jax.tree.structure(Scale("b", jnp.arange(3.0)))


def test_equality_compares_static_fields_and_array_values():
    assert Scale("a", jnp.arange(3.0)) == Scale("a", jnp.arange(3.0))
    assert Scale("a", jnp.arange(3.0)) != Scale("a", jnp.arange(3.0) + 1)
    assert Scale("a") != Scale("b")
    assert Scale("a") != "a"
    assert hash(Scale("a")) == hash(Scale("a"))


def test_models_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Scale("a").name = "b"


@pytest.mark.parametrize(
    "described",
    [
        Scale("a", jnp.array([0.1, 1e-7, 3.0])),
        kan.KAN((4, 8, 2)),
        kan.KAN((2, 3, 1), bases.BSpline(4, knots=jnp.linspace(-2, 2, 11))),
        kan.KAN((2, 3, 1), basis=(bases.Fourier(2), bases.Rational()), residual=None),
        kan.KAN((2, 1), masks=(jnp.array([[1.0], [0.0]]),)),
        model.Sequential((Scale("a"), model.Residual(Scale("b")))),
        model.Parallel((Scale("a"), Scale("b", jnp.ones(2)))),
    ],
    ids=lambda m: type(m).__name__,
)
def test_repr_rebuilds(described):
    scope = {**vars(bases), **vars(model), **vars(kan), "Scale": Scale}
    assert eval(repr(described), {**scope, "jnp": jnp, "jax": jax}) == described


def test_repr_of_large_arrays_shows_their_shape():
    assert repr(Scale("a", jnp.zeros((40, 30)))) == "Scale('a', <float32[40, 30]>)"


def test_new_arrays_cause_no_recompilation():
    traces = []

    @jax.jit
    def run(m, x):
        traces.append(m)
        return m.apply(2.0, x)

    run(Scale("a", jnp.ones(3)), jnp.ones(3))
    result = run(Scale("a", 5 * jnp.ones(3)), jnp.ones(3))
    np.testing.assert_array_equal(result, 10)
    assert len(traces) == 1


def test_models_with_different_knots_stack_under_vmap(key):
    knots = [jnp.linspace(-1, 1, 11), jnp.linspace(-3, 3, 11)]
    nets = [kan.KAN((2, 3, 1), bases.BSpline(4, knots=t)) for t in knots]
    keys = jax.random.split(key, 2)
    params = [net.init(k) for net, k in zip(nets, keys, strict=True)]
    x = jax.random.uniform(key, (6, 2), minval=-1.0)
    together = jax.vmap(lambda m, p: m.apply(p, x))(
        model.stack(nets), model.stack(params)
    )
    apart = jnp.stack([n.apply(p, x) for n, p in zip(nets, params, strict=True)])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_models_that_differ_in_more_than_arrays_do_not_stack():
    with pytest.raises(ValueError, match="differ in their arrays alone"):
        model.stack([kan.KAN((2, 1)), kan.KAN((3, 1))])
    with pytest.raises(ValueError, match="models is empty"):
        model.stack([])


def test_sequential_residual_and_parallel_compose(key):
    two, three = Scale("a", jnp.array(2.0)), Scale("b", jnp.array(3.0))
    x = jnp.arange(4.0)
    for net, factor in [
        (model.Sequential((two, three)), 6),
        (model.Parallel((two, three)), 5),
        (model.Residual(two), 3),
    ]:
        np.testing.assert_array_equal(net.apply(net.init(key), x), factor * x)
    for net, expected in [
        (model.Product((two, three)), 6 * x**2),
        (model.Concatenate((two, three)), jnp.concatenate([2 * x, 3 * x], axis=-1)),
    ]:
        np.testing.assert_allclose(net.apply(net.init(key), x), expected, rtol=1e-6)


def test_branches_of_other_shapes_are_refused(key):
    widen = kan.KAN((2, 3))
    with pytest.raises(ValueError, match=r"x has shape \(5, 2\), the branch gave"):
        net = model.Residual(widen)
        net.apply(net.init(key), jnp.ones((5, 2)))
    with pytest.raises(ValueError, match=r"one shape; got \[\(5, 1\), \(5, 3\)\]"):
        net = model.Parallel((widen, kan.KAN((2, 1))))
        net.apply(net.init(key), jnp.ones((5, 2)))
    with pytest.raises(ValueError, match="Product multiplies its branches"):
        net = model.Product((widen, kan.KAN((2, 1))))
        net.apply(net.init(key), jnp.ones((5, 2)))


def test_count_parameters(key):
    net = kan.KAN((4, 8, 2), bases.BSpline(5))
    assert model.count_parameters(net.init(key)) == (4 * 8 + 8 * 2) * (8 + 1)


@model.dataclass
class Count:
    """Adds how often it was called; and a trained offset, in training."""

    def init(self, key):
        return jnp.zeros(())

    def initial_state(self, batch_shape=()):
        return jnp.zeros(batch_shape)

    def apply(self, params, x, *, state=None, key=None, train=False):
        if state is None:
            raise ValueError("Count needs a state")
        return x + state[..., None] + (params if train else 0.0), state + 1


two = Scale("a", jnp.array(2.0))


@pytest.mark.parametrize(
    ("net", "state", "first", "second"),
    [
        # With x = 3 and params 1 in training, counts of 0 and 1.
        (Count(), 0, 4, 5),
        (model.Sequential((two, Count())), ((), 0), 7, 8),
        (model.Residual(model.Sequential((Count(), two))), (0, ()), 11, 13),
        (model.Parallel((two, Count())), ((), 0), 10, 11),
        (model.Product((Count(), Count())), (0, 0), 16, 25),
        (model.Sequential((model.Residual(Count()), Count())), (0, 0), 8, 10),
    ],
    ids=lambda m: type(m).__name__,
)
def test_containers_hand_states_on(net, state, first, second):
    x = jnp.full((2, 1), 3.0)
    params = jax.tree.map(jnp.ones_like, net.init(jax.random.key(0)))
    zeros = jax.tree.map(lambda leaf: jnp.full(2, leaf, float), state)
    begin = net.initial_state((2,))
    assert jax.tree.structure(begin) == jax.tree.structure(zeros)
    y, after = net.apply(params, x, state=begin, train=True)
    np.testing.assert_array_equal(y, jnp.full((2, 1), first))
    apply = jax.jit(net.apply, static_argnames="train")
    y, last = apply(params, x, state=after, train=True)
    np.testing.assert_array_equal(y, jnp.full((2, 1), second))
    assert {float(leaf[0]) for leaf in jax.tree.leaves(last)} == {2.0}
    with pytest.raises(ValueError, match="Count needs a state"):
        net.apply(params, x)


def test_any_model_is_served_with_state_or_without(key):
    dense = kan.KAN((2, 3))
    params, x = dense.init(key), jnp.ones((5, 2))
    assert not isinstance(dense, model.StatefulModel)
    assert model.initial_state(dense, (5,)) == ()
    y, state = model.apply(dense, params, x, key=key, train=True)
    assert state == ()
    np.testing.assert_array_equal(y, dense.apply(params, x))
    state, y_t = model.step(dense, params, (), x)
    assert state == ()
    np.testing.assert_array_equal(y, y_t)
    count = Count()
    assert isinstance(count, model.StatefulModel)
    y, state = model.apply(count, 1.0, x, state=model.initial_state(count, (5,)))
    np.testing.assert_array_equal(state, jnp.ones(5))
    state, y = model.step(count, 1.0, state, x)
    np.testing.assert_array_equal(y, x + 1)


def test_keys_reach_layers_the_same_way_with_a_state(key):
    drop = nn.Dropout(0.5)
    net = model.Sequential((drop, model.Concatenate((drop, drop)), drop))
    x = jnp.ones((4, 8))
    params, state = net.init(key), net.initial_state()
    y, after = net.apply(params, x, state=state, key=key)
    np.testing.assert_array_equal(y, net.apply(params, x, key=key))
    assert after == state == ((), ((), ()), ())


def test_a_state_of_another_network_is_refused():
    net = model.Sequential((two, Count()))
    for state in ((), ((),), jnp.zeros(2)):
        with pytest.raises(ValueError, match="one entry for each of its 2 models"):
            net.apply((1.0, 1.0), jnp.ones(2), state=state)
        with pytest.raises(ValueError, match="one entry for each of its 2 models"):
            net.step((1.0, 1.0), state, jnp.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda value: nn.LayerNorm(4, eps=value),
        lambda value: Scale((value, 1)),
        lambda value: Scale(np.ones(3)),
    ],
)
def test_arrays_in_static_fields_are_refused_at_once(make):
    message = r"(eps of LayerNorm|name of Scale) is static and takes no array.*float"
    with pytest.raises(TypeError, match=message):
        make(jnp.float32(1e-5))
    with pytest.raises(TypeError, match=message):
        jax.jit(lambda value: make(value).init(jax.random.key(0)))(1e-5)
