"""Selectable layers under transformations, their training, and wrong arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special

from kanjax import bases, kan, training
from kanjax.kan import selection, selection_training

POOL = (bases.Chebyshev(3, squash=None), bases.Fourier(3))
# Lines and two narrow bumps, of which neither has anything of the other.
DISJOINT = (bases.Chebyshev(1, squash=None), bases.Sech(2, (-0.5, 0.5), width=0.1))


def test_a_gate_by_input_is_its_formula(x64):
    layer = kan.SelectableLayer(3, 2, POOL, nodes=3, gate="input")
    params = layer.init(jax.random.key(0))
    params["logits"], params["slopes"] = jax.random.normal(jax.random.key(1), (2, 3, 2))
    x = jax.random.uniform(jax.random.key(2), (5, 3), minval=-1.0)
    logits = params["logits"][None] + params["slopes"][None] * x[..., None]
    weights = special.softmax(np.asarray(logits), axis=-1)
    expected = np.asarray(jax.nn.silu(x) @ params["residual"])
    for m, basis in enumerate(POOL):
        scaled = np.asarray(basis(x, axis=-2)) * weights[:, None, :, m]
        coef = np.asarray(params["coef"][m])
        expected = expected + np.einsum("bgi,gio->bo", scaled, coef)
    np.testing.assert_allclose(layer.apply(params, x), expected, rtol=1e-12)
    # Without slopes it is the layer with trained numbers.
    params["slopes"] = jnp.zeros((3, 2))
    plain = kan.SelectableLayer(3, 2, POOL)
    np.testing.assert_allclose(
        layer.apply(params, x), plain.apply(params, x), rtol=1e-12
    )


def test_the_mean_of_families_begins_with_the_variance_of_one():
    x = jax.random.uniform(jax.random.key(0), (4000, 64), minval=-1.0)
    for pool in (kan.POOL_DEFAULT, kan.POOL_DEFAULT[:1]):
        layer = kan.SelectableLayer(64, 50, pool, residual=None)
        y = layer.apply(layer.init(jax.random.key(1)), x)
        # 50 outputs share the inputs; each sums 64 edges.
        assert float(jnp.mean(y**2)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperatures_divide_logits_wherever_they_are(temperature):
    params = ({"deep": kan.SelectableLayer(3, 2, POOL).init(jax.random.key(0))}, 2.0)
    params[0]["deep"]["logits"] = logits = jnp.array([[1.0, -2], [0, 3], [0.5, 0.5]])
    soft = selection.at_temperature(params, temperature)
    assert soft[1] == 2.0
    weights = special.softmax(np.asarray(logits) / temperature, axis=1)
    (entropy,) = selection.selection_entropy(soft)
    np.testing.assert_allclose(entropy, special.entr(weights).sum(1), rtol=1e-5)


def test_the_entropy_of_a_choice_has_a_slope():
    params = {"coef": (), "logits": jnp.array([[0.0, -300.0], [0.0, 1.0]])}

    def total(params):
        return jnp.sum(selection.selection_entropy(params)[0])

    slope = jax.jit(jax.grad(total))(params)["logits"]
    # dH / dl_1 = -w_1 w_2 (l_1 - l_2) of two families.
    w = special.softmax([0.0, 1.0])
    expected = [[0, 0], [w[0] * w[1], -w[0] * w[1]]]
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def targets(x):
    """Two data sets, each a function of one of the families."""
    return jnp.stack([DISJOINT[0].function(1, x), DISJOINT[1].function(1, x)])


@pytest.fixture(scope="module")
def ensemble():
    """Two members that fit one function each, and what they fit."""
    layer = kan.SelectableLayer(1, 1, DISJOINT, residual=None)
    x = jnp.linspace(-1, 1, 40)[:, None]
    fit = functools.partial(
        selection_training.fit,
        training.regression(layer.apply),
        schedule=selection_training.Schedule(50, 150, 100, 1.0, 0.1),
        optimizer=lambda steps: optax.adam(0.03),
        entropy=1e-3,
    )

    def train(key, y):
        # Small, or the choice would be the family that is wrong by less at the start.
        start = layer.init(key)
        start["coef"] = jax.tree.map(lambda leaf: 0.1 * leaf, start["coef"])
        return fit(start, (x, y), key=key)

    keys = jax.random.split(jax.random.key(0), 2)
    return layer, x, jax.jit(jax.vmap(train))(keys, targets(x))


def test_members_choose_the_family_of_their_data(ensemble):
    layer, x, found = ensemble
    (chosen,) = selection.select(found.params)
    np.testing.assert_array_equal(chosen, [[0], [1]])
    assert found.losses.shape == (2, 300)
    y = jax.vmap(layer.apply, (0, None))(found.params, x)
    assert float(jnp.max(jnp.mean((y - targets(x)) ** 2, axis=1))) < 1e-3
    assert np.all(selection.selection_entropy(found.params)[0] == 0)
    assert np.all(selection.selection_entropy(found.mixture)[0] > 0)
    for member, family in enumerate((0, 1)):
        params = jax.tree.map(lambda leaf, i=member: leaf[i], found.params)
        # What was not chosen has stayed at zero in all the steps that followed.
        assert not np.any(params["coef"][1 - family])
        small, kept = selection.prune(layer, params)
        assert small.families == (family,)
        np.testing.assert_allclose(
            small.apply(kept, x), layer.apply(params, x), rtol=1e-5, atol=1e-6
        )


def test_phases_are_those_of_a_loop():
    layer = kan.SelectableLayer(1, 1, POOL, residual=None)
    x = jnp.linspace(-1, 1, 20)[:, None]
    params, batch = layer.init(jax.random.key(0)), (x, targets(x)[1])
    loss = training.regression(layer.apply)
    schedule = selection_training.Schedule(2, 3, 2, 2.0, 0.5)
    np.testing.assert_allclose(
        schedule.temperatures, [np.inf, np.inf, 2.0, 1.0, 0.5], rtol=1e-6
    )
    found = selection_training.fit(
        loss,
        params,
        batch,
        schedule,
        key=jax.random.key(1),
        optimizer=lambda steps: optax.sgd(0.1, momentum=0.9),
    )

    @jax.jit
    def slope(params, temperature):
        return jax.value_and_grad(
            lambda p: loss(selection.at_temperature(p, temperature), batch, None)[0]
        )(params)

    def loop(params, temperatures):
        momentum, seen = jax.tree.map(jnp.zeros_like, params), []
        for temperature in temperatures:
            value, change = slope(params, temperature)
            momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, change)
            params = jax.tree.map(lambda p, m: p - 0.1 * m, params, momentum)
            seen.append(value)
        return params, seen

    early, losses = loop(params, schedule.temperatures[:2])
    np.testing.assert_array_equal(early["logits"], 0)
    late, _ = loop(params, schedule.temperatures)
    assert np.all(late["logits"] != 0)
    hard = selection.harden(selection.at_temperature(late, 0.5))
    last, _ = loop(hard, [1.0, 1.0])
    np.testing.assert_allclose(found.losses[:2], losses, rtol=1e-5)
    for leaf, expected in zip(
        jax.tree.leaves(found.params), jax.tree.leaves(last), strict=True
    ):
        np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-6)


def test_wrong_arguments_are_told():
    for make in (kan.SelectableLayer, kan.SelectableKAN):
        start = ((2, 3),) if make is kan.SelectableKAN else (2, 3)
        with pytest.raises(ValueError, match="pool is empty"):
            make(*start, pool=())
        with pytest.raises(TypeError, match=r"pool\[1\] .* functions are trained"):
            make(*start, pool=(bases.BSpline(), bases.Rational()))
        with pytest.raises(ValueError, match="gate must be 'node' or 'input'"):
            make(*start, gate="both")
    with pytest.raises(ValueError, match="nodes=3 must divide in_features=4"):
        kan.SelectableLayer(4, 3, nodes=3)
    with pytest.raises(ValueError, match="widths must be at least two"):
        kan.SelectableKAN((3,))
    with pytest.raises(ValueError, match="families must have an index"):
        kan.SelectedLayer(2, 3, families=(0, 6))
    params = kan.SelectableLayer(2, 3, gate="input").init(jax.random.key(0))
    for temperature in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must be positive"):
            selection.at_temperature(params, temperature)
    with pytest.raises(ValueError, match="use gate='node' to prune"):
        selection.harden(params)
    with pytest.raises(ValueError, match="end must be a positive temperature"):
        selection_training.Schedule(1, 1, 1, end=0.0)
    with pytest.raises(ValueError, match="tuning must be a number of steps"):
        selection_training.Schedule(1, 1, -1)
    grouped = kan.selectable_conv(4, 4, (3,), groups=2)
    with pytest.raises(ValueError, match="a choice for each group"):
        selection.prune(grouped, grouped.init(jax.random.key(0)))
