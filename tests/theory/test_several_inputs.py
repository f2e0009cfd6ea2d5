"""Flows at several inputs against those at one, symmetries and random networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.theory import (
    criticality,
    finite_width,
    several_input_ensembles,
    several_inputs,
)
from kanjax.theory.criticality import Scales
from kanjax.theory.finite_width import Rates

SCALES, RATES = Scales(0.1, 1.2), Rates(0.7, 1.0)
MEANS = ("kernel", "ntk")


def curved(z, share=0.2):
    """Of a slope that moves with z, so that kernels fluctuate with preactivations."""
    return z + share * z**2


def test_a_single_input_is_that_of_the_recursions_at_one(x64):
    widths = (50, 30)
    got = several_inputs.flow(jnp.tanh, jnp.array([[1.3]]), widths, SCALES, RATES)
    vertices = finite_width.vertex_flow(jnp.tanh, 1.3, widths, SCALES)
    tangents = finite_width.ntk_flow(jnp.tanh, 1.3, widths, SCALES, RATES)
    said = {
        "kernel_correction": vertices.correction,
        "four_point": vertices.four_point,
        **tangents._asdict(),
    }
    for name, expected in said.items():
        values = np.ravel(getattr(got, name))
        np.testing.assert_allclose(values, expected, rtol=3e-3, err_msg=name)
    np.testing.assert_allclose(np.ravel(got.kernel), vertices.kernel, rtol=1e-7)


def test_inputs_that_depend_on_each_other(x64):
    """Layers of ReLU without biases only stretch a stretched input."""
    gram = jnp.outer(jnp.array([1.0, 2.0]), jnp.array([1.0, 2.0]))
    got = several_inputs.flow(
        jax.nn.relu, gram, (8, 8), Scales(0.0, 2.0), Rates(0.0, 1.0)
    )
    for name, power in (("four_point", 4), ("covariance", 4), ("exchange", 4)):
        table = np.asarray(getattr(got, name))[-1]
        np.testing.assert_allclose(
            table[1, 1, 1, 1], 2**power * table[0, 0, 0, 0], rtol=1e-9
        )
        np.testing.assert_allclose(table[0, 1, 1, 0], 4 * table[0, 0, 0, 0], rtol=1e-9)
    np.testing.assert_allclose(got.four_point[:, 0, 0, 0, 0] * 8, [0, 5, 10], rtol=0.01)


@pytest.fixture(scope="module")
def sampled():
    """The last of three layers at two inputs, measured and predicted."""
    x = np.array([[1.0, 0.3], [-0.5, 0.9]])
    gram, width = SCALES.bias + SCALES.weight * x @ x.T / 2, 48
    measured = several_input_ensembles.sample(
        jax.random.key(0, impl="rbg"), curved, gram, SCALES, RATES,
        width=width, depth=3, networks=1024, batch_size=32,
    )  # fmt: skip
    said = several_inputs.flow(curved, gram, (width,) * 2, SCALES, RATES)
    return measured, said, gram


@pytest.mark.parametrize("name", several_input_ensembles.Sample._fields)
def test_random_networks_are_where_the_recursions_say(sampled, name):
    measured, said, _ = sampled
    seen, expected = getattr(measured, name), np.asarray(getattr(said, name))
    if name in ("kernel", "ntk"):
        expected = expected + np.asarray(getattr(said, f"{name}_correction"))
    # What is left is of order 1 / width of the effect.
    allowed = 4 * seen.error + 0.15 * np.abs(expected[-1]).max() * (name not in MEANS)
    assert np.all(np.abs(seen.mean - expected) <= allowed + 1e-5)


def test_means_are_off_those_at_infinite_width_by_the_corrections():
    steep = functools.partial(curved, share=0.5)
    gram, width = jnp.array([[1.3]]), 24
    measured = several_input_ensembles.sample(
        jax.random.key(0, impl="rbg"), steep, gram, SCALES, RATES,
        width=width, depth=3, networks=2**13, batch_size=512,
    )  # fmt: skip
    said = several_inputs.flow(steep, gram, (width,) * 2, SCALES, RATES)
    for name in MEANS:
        seen, leading = getattr(measured, name), getattr(said, name)
        added = np.ravel(getattr(said, f"{name}_correction"))[-1]
        off, error = (np.ravel(v)[-1] for v in (seen.mean - leading, seen.error))
        assert abs(off) > 10 * error, name
        assert abs(off - added) < 4 * error + 0.1 * added, name


def test_kernels_at_infinite_width_are_those_of_the_kernel_flow(sampled):
    *_, said, gram = sampled
    expected = criticality.kernel_flow(curved, jnp.asarray(gram), 3, SCALES)
    np.testing.assert_allclose(said.kernel, expected, rtol=1e-5)


CALL = functools.partial(
    several_inputs.flow, jnp.tanh, widths=(4,), scales=SCALES, rates=RATES
)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: CALL(jnp.ones(2)), r"kernel has shape \(2,\)"),
        (lambda: CALL(-jnp.eye(2)), "the diagonal of kernel must be positive"),
        (lambda: CALL(jnp.array([[1.0, 2], [2, 1]])), "its least is -1"),
        (lambda: CALL(jnp.eye(2), widths=(4, 1)), "widths must be an integer"),
        (lambda: CALL(jnp.eye(2), scales=Scales(0, 1, 0.5)), "residual must be 0"),
        (
            lambda: several_input_ensembles.sample(
                jax.random.key(0), jnp.tanh, jnp.eye(2), SCALES, RATES,
                width=4, depth=1, networks=1,
            ),
            "networks must be an integer of at least 2; got 1",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_told(call, words):
    with pytest.raises(ValueError, match=words):
        call()
