"""Unsupervised color matching: losses by hand, the pool, and colors that move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import signal

from kanjax import kan, nn, training
from kanjax.data import color
from kanjax.kan import color_cycle

NET, JUDGE = nn.Dense(3, 3), color_cycle.PatchDiscriminator((4, 6))


@pytest.fixture(scope="module")
def networks():
    return color_cycle.init(NET, JUDGE, jax.random.key(0))


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (2, 5, 16, 16, 3))


def test_verdicts_are_those_of_plain_convolutions(networks, images):
    params, x = networks["judge_a"], np.asarray(images[0, :2], float)
    verdict = JUDGE.apply(params, images[0, :2])
    for i, (stride, p) in enumerate(zip((2, 1, 1), params, strict=True)):
        kernel, bias = np.asarray(p["kernel"], float), np.asarray(p["bias"], float)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        x = np.stack(
            [
                sum(
                    signal.correlate(padded[..., c], kernel[None, :, :, c, o], "valid")
                    for c in range(padded.shape[-1])
                )
                for o in range(kernel.shape[-1])
            ],
            axis=-1,
        )
        x = x[:, ::stride, ::stride] + bias
        if i == 1:
            mean, std = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
            x = (x - mean) / np.sqrt(std + 1e-5)
        if i < 2:
            x = np.where(x > 0, x, 0.2 * x)
    np.testing.assert_allclose(verdict, x[..., 0], rtol=1e-4, atol=1e-4)


def test_the_published_discriminator_has_its_parameters():
    params = jax.eval_shape(color_cycle.PatchDiscriminator().init, jax.random.key(0))
    edges = (3, 64, 128, 256, 512, 1)
    count = sum(16 * i * o + o for i, o in zip(edges, edges[1:], strict=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count == 2_764_737


def test_losses_are_those_of_the_paper(networks, images):
    a, b = images[:, :2]
    loss, (fake_b, fake_a) = color_cycle.generator_loss(NET, JUDGE, networks, a, b)
    forth = functools.partial(NET.apply, networks["a_to_b"])
    back = functools.partial(NET.apply, networks["b_to_a"])
    np.testing.assert_array_equal(fake_b, forth(a))

    def restored(x, y):
        structure = np.mean(1 - np.asarray(color.ssim(x, y)))
        return np.abs(np.asarray(x) - np.asarray(y)).mean() + 0.15 * structure

    verdicts = {
        name: np.asarray(JUDGE.apply(networks[f"judge_{name[-1]}"], x))
        for name, x in {"a": a, "b": b, "fake_a": fake_a, "fake_b": fake_b}.items()
    }
    expected = sum(np.mean((verdicts[n] - 1) ** 2) for n in ("fake_a", "fake_b"))
    expected += 10 * (restored(back(fake_b), a) + restored(forth(fake_a), b))
    expected += 5 * (np.abs(forth(b) - b).mean() + np.abs(back(a) - a).mean())
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    judged = color_cycle.discriminator_loss(JUDGE, networks, (a, b), (fake_a, fake_b))
    expected = [np.mean((verdicts[n] - 1) ** 2) for n in "ab"]
    expected += [np.mean(verdicts[f"fake_{n}"] ** 2) for n in "ab"]
    np.testing.assert_allclose(judged, sum(expected) / 2, rtol=1e-5)


def test_a_pool_gives_back_what_it_was_given():
    exchange = jax.jit(color_cycle.exchange)
    pool, seen, old, count = (
        color_cycle.empty_pool(4, jnp.zeros((1, 1, 3))),
        set(),
        0,
        200,
    )
    for i in range(count):
        image = jnp.full((1, 1, 1, 3), float(i))
        seen.add(i)
        pool, back = exchange(jax.random.key(i), pool, image)
        value = int(back[0, 0, 0, 0])
        assert value in seen
        if i < 4:
            assert value == i
        elif value != i:
            old += 1
            assert i in np.asarray(pool.images) and value not in np.asarray(pool.images)
    assert int(pool.count) == 4
    # Half of them, within four deviations.
    assert abs(old - (count - 4) / 2) < 4 * np.sqrt(count) / 2


def test_recolored_images_stay_in_range_and_differ(key, images):
    image = images[0, 0]
    changed = color_cycle.recolor(key, image)
    assert changed.min() >= 0 and changed.max() <= 1
    assert jnp.abs(changed - image).mean() > 0.01
    np.testing.assert_allclose(
        color_cycle.recolor(key, image, strength=0.0), image, atol=1e-5
    )
    loss = color_cycle.recoloring(NET.apply, strength=0.0)
    identity = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
    np.testing.assert_allclose(loss(identity, images[0], key), 0, atol=1e-4)


def test_training_closes_the_cycle_and_teaches_the_judges(networks, images, key):
    a = images.at[..., 0].multiply(0.2)
    b = images.at[..., 1:].multiply(0.6)
    train = functools.partial(color_cycle.train, NET, JUDGE, learning_rate=1e-2)
    run = jax.jit(functools.partial(train, key=key, steps=200, batch_size=4))
    after, losses = run(networks, a[0], b[1])
    assert losses["generators"].shape == (200,)
    # The first is that of the start, on a batch.
    first, _ = color_cycle.generator_loss(NET, JUDGE, networks, a[0], b[1])
    np.testing.assert_allclose(losses["generators"][0], first, rtol=0.1)
    for each in losses.values():
        assert jnp.isfinite(each).all() and each[-20:].mean() < 0.5 * each[0]
    mapped = NET.apply(after["a_to_b"], a[0])
    assert jnp.abs(NET.apply(after["b_to_a"], mapped) - a[0]).mean() < 0.02


def test_a_color_matcher_is_a_generator(key):
    net = kan.ColorMatcher(light=True, start="identity")

    def run(key, a, b):
        networks = color_cycle.init(net, JUDGE, key)
        loss = color_cycle.recoloring(net.apply)
        networks["a_to_b"], _ = training.descend(
            loss, networks["a_to_b"], a, key=key, optimizer=optax.adam(1e-3), steps=2
        )
        return color_cycle.train(net, JUDGE, networks, a, b, key=key, steps=3)

    shape = jax.ShapeDtypeStruct((4, 16, 16, 3), jnp.float32)
    networks, losses = jax.eval_shape(run, key, shape, shape)
    assert losses["discriminators"].shape == (3,)
    like = jax.eval_shape(net.init, key)
    assert jax.tree.structure(networks["b_to_a"]) == jax.tree.structure(like)


def test_bad_input_is_named(networks, images, key):
    a, b = images
    with pytest.raises(ValueError, match=r"a has shape \(5, 16, 16, 3\) and b \(5, 8"):
        color_cycle.train(NET, JUDGE, networks, a, b[:, :8], key=key, steps=1)
    with pytest.raises(ValueError, match="batch_size is 6, and there are 5 and 5"):
        color_cycle.train(NET, JUDGE, networks, a, b, key=key, steps=1, batch_size=6)
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        color_cycle.train(NET, JUDGE, networks, a, b, key=key, steps=0)
    with pytest.raises(ValueError, match="widths must have two entries"):
        color_cycle.PatchDiscriminator((4,))
