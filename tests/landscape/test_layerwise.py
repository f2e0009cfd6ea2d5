import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, nn


@pytest.fixture
def problem(key):
    net = nn.MLP((3, 5, 4, 2), jnp.tanh)
    x = jax.random.normal(key, (12, 3))
    loss = lambda p: jnp.mean(net.apply(p, x) ** 2 + jnp.sin(3 * net.apply(p, x)))  # noqa: E731
    a, b = (net.init(k) for k in jax.random.split(key))
    return loss, a, b


def swap(a, b, layer, others="a"):
    """The straight path on which one layer goes from a's to b's, by hand."""

    def at(alpha):
        mixed = list(a if others == "a" else b)
        mixed[layer] = landscape.interpolate(a[layer], b[layer], alpha)
        return tuple(mixed)

    return at


def test_layers_are_leaves_with_one_parent(problem):
    _, a, _ = problem
    layers = landscape.layer_leaves(a)
    assert list(layers) == ["[0]", "[1]", "[2]"]
    assert layers["[1]"] == ("[1]['bias']", "[1]['kernel']")


@pytest.mark.parametrize("others", ["a", "b"])
def test_each_layer_on_its_own_path(problem, others):
    loss, a, b = problem
    found = landscape.layer_barriers(loss, a, b, others=others, points=5, batch_size=4)
    for i in range(3):
        path = swap(a, b, i, others)
        expected = [loss(path(t)) for t in np.linspace(0, 1, 5)]
        np.testing.assert_allclose(found[f"[{i}]"].losses, expected, rtol=1e-4)
        single = landscape.barrier(loss, path(0.0), path(1.0), points=5)
        np.testing.assert_allclose(
            found[f"[{i}]"].height, single.height, rtol=1e-3, atol=1e-6
        )


def test_reference_of_the_two_models(problem):
    loss, a, b = problem
    found = landscape.layer_barriers(loss, a, b, reference="models", points=5)
    mean = (loss(a) + loss(b)) / 2
    for one in found.values():
        np.testing.assert_allclose(
            one.height, one.losses.max() - mean, rtol=1e-4, atol=1e-6
        )


def test_all_layers_together_are_the_whole_barrier(problem):
    loss, a, b = problem
    layers = landscape.layer_leaves(a)
    up = landscape.cumulative_layers(layers)
    down = landscape.cumulative_layers(layers, order="down")
    assert list(up) == list(layers) and list(down) == list(layers)[::-1]
    assert set(up["[1]"]) == {*layers["[0]"], *layers["[1]"]}
    assert set(down["[1]"]) == {*layers["[2]"], *layers["[1]"]}
    whole = landscape.barrier(loss, a, b, points=11)
    found = landscape.layer_barriers(loss, a, b, layers=up)
    np.testing.assert_allclose(found["[2]"].losses, whole.losses, rtol=1e-5)


def test_the_prediction_is_exact_for_quadratics(key, x64):
    h = jax.random.normal(key, (6, 6), jnp.float64)
    h = h + h.T
    loss = lambda p: (  # noqa: E731
        jnp.concatenate([p["u"]["w"], p["v"]["w"]])
        @ h
        @ jnp.concatenate([p["u"]["w"], p["v"]["w"]])
    )
    a, b = (
        {"u": {"w": w[:2]}, "v": {"w": w[2:]}}
        for w in jax.random.normal(key, (2, 6), jnp.float64)
    )
    d = b["v"]["w"] - a["v"]["w"]
    found = jax.jit(lambda a, b: landscape.layer_barriers_predicted(loss, a, b))(a, b)
    np.testing.assert_allclose(found["['v']"], d @ (2 * h[2:, 2:]) @ d / 8, rtol=1e-10)
    with_slopes = landscape.layer_barriers_predicted(loss, a, b, gradients=True)
    step = jnp.concatenate([b["u"]["w"] - a["u"]["w"], d])
    np.testing.assert_allclose(
        with_slopes["['v']"] - found["['v']"], -(2 * h @ step)[2:] @ d / 4, rtol=1e-9
    )


def test_vmap_over_pairs(problem, key):
    loss, a, b = problem
    stack = jax.tree.map(lambda v: jnp.stack([v, 2 * v]), b)
    height = lambda b: landscape.layer_barriers(loss, a, b, points=3)["[1]"].height  # noqa: E731
    together = jax.jit(jax.vmap(height))(stack)
    np.testing.assert_allclose(together[0], height(b), rtol=1e-4, atol=1e-6)


def test_bad_input_is_named(problem):
    loss, a, b = problem
    with pytest.raises(ValueError, match=r"layers\['x'\] names 'nowhere'"):
        landscape.layer_barriers(loss, a, b, layers={"x": ("nowhere",)})
    with pytest.raises(ValueError, match="layers is empty"):
        landscape.layer_barriers(loss, a, b, layers={})
    with pytest.raises(ValueError, match="others is 'c'"):
        landscape.layer_barriers(loss, a, b, others="c")
    with pytest.raises(ValueError, match="reference is 'median'"):
        landscape.layer_barriers(loss, a, b, reference="median")
    with pytest.raises(ValueError, match="order is 'left'"):
        landscape.cumulative_layers({"a": ("x",)}, order="left")
