"""The bases and models that a study knows by name."""

import types

import jax
import jax.numpy as jnp
import pytest

from kanjax import bases, kan, study
from kanjax.study import models, schedules


@pytest.mark.parametrize("name", bases.FAMILIES)
@pytest.mark.parametrize("resolution", [1, 6])
def test_every_name_makes_a_network(name, resolution, key):
    basis = bases.family(name, resolution)
    net = kan.KAN((3, 2), basis=basis)
    params = jax.eval_shape(net.init, key)
    if not isinstance(basis, bases.Rational):
        assert params[0]["coef"].shape == (basis.size, 3, 2)
        # The more resolution is asked for, the more functions there are.
        assert basis.size > bases.family(name, max(1, resolution - 1)).size or (
            resolution == 1
        )
    x = jax.ShapeDtypeStruct((5, 3), jnp.float32)
    assert jax.eval_shape(net.apply, params, x).shape == (5, 2)


def test_features_are_scaled_to_the_domain_of_the_basis():
    assert models.domain(study.Config(basis="rational")) == (-3.0, 3.0)
    assert models.domain(study.Config(basis="bsrbf")) == (-1.0, 1.0)
    assert models.domain(study.Config(model="mlp", basis="rational")) == (-1.0, 1.0)


def test_a_kernel_machine_takes_its_examples_and_task_from_the_data():
    config = study.Config(model="dkm", hidden=(4, 2))
    x, task = jnp.ones((6, 3)), "classification"
    split = types.SimpleNamespace(train=types.SimpleNamespace(x=x))
    data = types.SimpleNamespace(split=split, task=task, target_names="abcde")
    machine = models.build(config, data)
    assert machine.likelihood == "categorical" and machine.nu == (4, 2)
    assert machine.outputs == 5 and machine.inputs.shape == (6, 3)


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (300, {}, (2000, 64, 25, 2000 * 64 / 300)),
        (9_000, {}, (5625, 64, 70, 40)),
        (70_000, {}, (5469, 512, 68, 40)),
        (300, {"batch_size": 0}, (2000, None, 25, 2000)),
        (50, {}, (2000, None, 25, 2000)),
        (300, {"steps": 10, "evaluate_every": 3}, (10, 64, 3, 10 * 64 / 300)),
    ],
)
def test_what_is_left_open_goes_by_rows(rows, settings, expected):
    made = schedules.schedule(study.Config(**settings), rows)
    assert made[:3] == expected[:3] and made.epochs == pytest.approx(expected[3], 1e-3)


def test_networks_are_wider_with_many_rows():
    assert schedules.hidden_units(study.Config(), 300, 3) == (8,)
    assert schedules.hidden_units(study.Config(), 300, 12) == (12,)
    assert schedules.hidden_units(study.Config(), 20_000, 1) == (32,)
    assert schedules.hidden_units(study.Config(hidden=()), 20_000, 1) == ()
