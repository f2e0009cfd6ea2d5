import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import data


@pytest.fixture
def labeled():
    y = np.arange(200) % 5
    return np.stack([y, np.arange(200)], axis=1).astype(np.float32), y


@pytest.mark.parametrize("rate, witnesses", [(0.01, 1), (0.25, 5), (1.0, 20)])
def test_positive_bags_have_their_witnesses_and_others_none(rate, witnesses, labeled):
    x, y = labeled
    bags = data.bags_from_instances(
        jax.random.key(0), x, y, 3, bags=60, instances=20, witness_rate=rate
    )
    found = np.sum(np.asarray(bags.x[..., 0]) == 3, axis=1)
    np.testing.assert_array_equal(found, witnesses * np.asarray(bags.y))
    assert bags.y.sum() == 30 and np.all(bags.present)
    # Instances are whole rows of the examples.
    np.testing.assert_array_equal(bags.x[..., 0], y[bags.x[..., 1].astype(int)])


def test_witnesses_are_anywhere_in_the_bag(labeled):
    bags = data.bags_from_instances(
        jax.random.key(0), *labeled, 3, bags=2000, instances=4, witness_rate=0.25
    )
    places = np.argmax(np.asarray(bags.x[..., 0]) == 3, axis=1)[np.asarray(bags.y) == 1]
    counts = np.bincount(places, minlength=4)
    # Five standard errors of a quarter of a thousand.
    assert np.all(np.abs(counts - 250) < 5 * np.sqrt(1000 * 3 / 16))


def test_bags_of_several_sizes_are_padded(labeled):
    bags = data.bags_from_instances(
        jax.random.key(1),
        *labeled,
        2,
        bags=300,
        instances=(5, 12),
        witness_rate=0.5,
        positive=0.2,
    )
    sizes = np.asarray(bags.present.sum(axis=1))
    assert sizes.min() == 5 and sizes.max() == 12 and bags.y.sum() == 60
    assert not np.any(np.asarray(bags.x)[~np.asarray(bags.present)])
    found = np.sum((np.asarray(bags.x[..., 0]) == 2) & np.asarray(bags.present), axis=1)
    expected = np.maximum(1, np.round(0.5 * sizes)) * np.asarray(bags.y)
    np.testing.assert_array_equal(found, expected)


def test_bit_patterns_hold_signals_in_positive_bags_alone():
    bags = data.bit_pattern_bags(
        jax.random.key(0), bags=400, instances=16, signals=3, signals_per_bag=2, bits=5
    )
    codes = np.asarray(bags.x) @ 2 ** np.arange(5)
    positive = np.asarray(bags.y) == 1
    assert positive.sum() == 200 and codes.min() == 1
    outside = set(np.unique(codes[~positive]))
    signals = set(np.unique(codes)) - outside
    assert len(signals) == 3 and len(outside) == 31 - 3
    found = np.isin(codes, list(signals)).sum(axis=1)
    np.testing.assert_array_equal(found, 2 * positive)


def test_the_same_key_gives_the_same_bags(labeled):
    make = lambda key: data.bags_from_instances(key, *labeled, 1, bags=9)  # noqa: E731
    a, b, c = (make(jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(a.x, b.x)
    assert np.any(a.x != c.x)


def test_bad_input_is_named(labeled, key):
    x, y = labeled
    for options, words in [
        ({"bags": 0}, "bags must be a positive integer"),
        ({"instances": (5, 2)}, r"instances must be \(least, most\)"),
        ({"witness_rate": 0}, r"witness_rate must lie in \(0, 1\]; got 0"),
        ({"positive": 1.0}, r"positive must lie in \(0, 1\); got 1.0"),
    ]:
        with pytest.raises(ValueError, match=words):
            data.bags_from_instances(key, x, y, 3, **{"bags": 4, **options})
    with pytest.raises(ValueError, match="target 9 must be the class of some examples"):
        data.bags_from_instances(key, x, y, 9, bags=4)
    with pytest.raises(ValueError, match="y must hold an integer class for each of"):
        data.bags_from_instances(key, x, y[:5], 3, bags=4)
    with pytest.raises(ValueError, match=r"signals fewer than 2\^bits - 1"):
        data.bit_pattern_bags(key, bags=2, instances=3, signals=7, bits=3)
    with pytest.raises(ValueError, match="signals must be a positive integer"):
        data.bit_pattern_bags(key, bags=2, instances=3, signals=0)


def test_types():
    bags = data.bit_pattern_bags(jax.random.key(0), bags=2, instances=3, signals=1)
    assert bags.x.dtype == jnp.float32 and bags.x.shape == (2, 3, 8)
    assert bags.present.dtype == jnp.bool_ and bags.y.dtype == jnp.int32
