"""Problems: what their residuals are, and what does not fit together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn, pinn

NET = nn.MLP((2, 4, 1), jnp.tanh, kernel_scale=1.0)
BAR = pinn.TimeSpace(0.0, 1.0, pinn.interval(-1, 1))
START = pinn.dirichlet(BAR.initial, lambda z: z[1] ** 2)


def heat(u, z):
    return pinn.partial(u, 0)(z) - pinn.partial(u, 1, 2)(z)


def problem(**changes):
    return dataclasses.replace(pinn.Problem(BAR, heat, {"start": START}), **changes)


def test_residuals_by_name(key):
    params = pinn.initialize(problem(), NET, key=key)
    found = pinn.residuals(problem(), NET)
    assert list(found) == ["residual", "start"]
    u = lambda z: NET.apply(params.network, z)[0]  # noqa: E731
    z = jnp.array([0.3, 0.4])
    np.testing.assert_allclose(found["residual"](params, z), [heat(u, z)], rtol=1e-6)
    np.testing.assert_allclose(found["start"](params, z), [u(z) - 0.16], rtol=1e-6)


def test_equations_can_have_names_and_be_complex(key):
    def both(u, z):
        return {"heat": heat(u, z), "wave": u(z) * jnp.exp(1j * z[0])}

    found = pinn.residuals(problem(residual=both), NET)
    assert list(found) == ["heat", "wave", "start"]
    params = pinn.initialize(problem(), NET, key=key)
    z = jnp.array([0.3, 0.4])
    u = NET.apply(params.network, z)[0]
    parts = [u * np.cos(0.3), u * np.sin(0.3)]
    np.testing.assert_allclose(found["wave"](params, z), parts, rtol=1e-5)


def test_unknown_coefficients_reach_the_residual(key):
    def decay(u, z, coefficients):
        return pinn.partial(u, 0)(z) + coefficients["rate"] * u(z)

    inverse = problem(residual=decay, coefficients={"rate": 0.7})
    params = pinn.initialize(inverse, NET, key=key)
    assert float(params.coefficients["rate"]) == pytest.approx(0.7)
    r = pinn.residuals(inverse, NET)["residual"]
    z = jnp.array([0.3, 0.4])
    slope = jax.grad(lambda p: r(p, z)[0])(params).coefficients["rate"]
    np.testing.assert_allclose(slope, NET.apply(params.network, z)[0], rtol=1e-6)


@pytest.mark.parametrize("order", [0, 1])
def test_periodic_conditions_compare_both_ends(order):
    condition = pinn.periodic(BAR, 0, order=order)
    z = condition.place.place(jnp.array([[0.25]]))[0]
    np.testing.assert_allclose(z, [0.25, -1.0])
    cubic = condition.residual(lambda z: z[1] ** 3 * z[0], z)
    np.testing.assert_allclose(cubic.ravel(), [-0.5, 0.0][: order + 1], atol=1e-6)
    square = condition.residual(lambda z: z[1] ** 2 * z[0], z)
    np.testing.assert_allclose(square.ravel(), [0.0, -1.0][: order + 1], atol=1e-6)


def test_observations_at_whole_numbers_are_those_at_the_same_numbers(key):
    line, net = pinn.interval(0, 2.5), nn.MLP((1, 4, 1), jnp.tanh)
    constrain = pinn.constraints.boundary(line)
    found = []
    for kind in (int, float):
        data = pinn.observations(np.array([[1], [2]], kind), np.array([3, 4], kind))
        walls = pinn.Problem(
            line, lambda u, z: u(z), {"data": data}, constrain=constrain
        )
        params = pinn.initialize(walls, net, key=key)
        residual = pinn.residuals(walls, net)["data"]
        found.append([residual(params, row) for row in data.place])
    np.testing.assert_array_equal(*found)


def test_observations_are_all_taken(key):
    z = jax.random.uniform(key, (7, 2))
    condition = pinn.observations(z, z[:, 0] + 1)
    data = problem(conditions={"data": condition})
    drawn = pinn.problems.sample(data, 16, key=key)
    assert drawn["residual"].shape == (16, 2) and drawn["data"].shape == (7, 3)
    errors = [condition.residual(lambda z: z[0], row) for row in drawn["data"]]
    np.testing.assert_allclose(errors, -np.ones((7, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: problem(outputs=2), r"outputs=2; the model gives shape \(1,\)"),
        (lambda: problem(conditions={}), "there is no initial condition"),
        (
            lambda: problem(residual=lambda u, z: jnp.outer(z, z)),
            r"one point; got shape \(2, 2\)",
        ),
        (
            lambda: problem(residual=lambda u, z: {"start": u(z)}),
            "names an equation and a condition",
        ),
        (lambda: pinn.periodic(pinn.Disk(), 0), "needs a box"),
        (
            lambda: pinn.observations(jnp.zeros((3, 2)), jnp.zeros(2)),
            "at least one row; got",
        ),
        (
            lambda: pinn.observations(jnp.zeros((1, 2)), jnp.array([jnp.nan])),
            "observations must be finite",
        ),
        (
            lambda: problem(
                conditions={
                    "data": pinn.observations(
                        jnp.array([[0.5, 0.5], [0.5, 9.0]]), jnp.zeros(2)
                    )
                }
            ),
            r"'data' has a point outside of the domain, row 1: \[0.5, 9.0\]",
        ),
    ],
)
def test_bad_input(build, words):
    with pytest.raises(ValueError, match=words):
        pinn.problems.check(build(), NET)


def test_a_condition_without_points(key):
    with pytest.raises(ValueError, match="points must be a positive integer; got 0"):
        pinn.problems.sample(problem(), 8, key=key, condition_points=0)


def test_a_network_of_other_coordinates():
    with pytest.raises(ValueError, match=r"shape \(..., 3\); got \(2,\)"):
        pinn.problems.check(problem(), nn.MLP((3, 4, 1)))
