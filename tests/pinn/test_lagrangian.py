"""Problems along characteristics, the network for them, and what is measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn
from kanjax.pinn import lagrangian, transport

SMALL = lagrangian.TwoBranches((5,), (6, 6))
CONVECTION = transport.convection_diffusion(30.0)


def test_labels_and_values_are_where_they_start(key):
    problem = lagrangian.lagrangian(CONVECTION)
    params = pinn.initialize(problem, SMALL, key=key)
    w = jax.jit(pinn.field(problem, SMALL, params))
    np.testing.assert_allclose(w(jnp.array([0.0, 2.0])), [2.0, np.sin(2.0)], rtol=1e-6)
    # One period on, the label has moved as far, and carries the same value.
    shift = w(jnp.array([0.6, 2 + 2 * np.pi])) - w(jnp.array([0.6, 2.0]))
    np.testing.assert_allclose(shift, [2 * np.pi, 0], atol=1e-5)
    raw = SMALL.apply(params.network, jnp.array([0.6, 2.0]))
    wanted = [2 + 0.6 * 30 * raw[0], np.sin(2.0) + 0.6 * raw[1]]
    np.testing.assert_allclose(w(jnp.array([0.6, 2.0])), wanted, rtol=1e-5)


def test_soft_starts_are_conditions(key):
    problem = lagrangian.lagrangian(CONVECTION, hard=False, displacement=False)
    params = pinn.initialize(problem, SMALL, key=key)
    residuals = pinn.residuals(problem, SMALL)
    z = jnp.array([0.0, 2.0])
    raw = SMALL.apply(params.network, z)
    np.testing.assert_allclose(
        residuals["positions"](params, z), 30 * raw[:1], rtol=1e-5
    )
    np.testing.assert_allclose(
        residuals["values"](params, z), raw[1:] - np.sin(2.0), rtol=1e-5
    )


def test_metrics_differ_where_labels_are_stretched(x64):
    equation = transport.burgers(0.0, 0.1)
    physical, label = (
        lagrangian.lagrangian(equation, metric=m) for m in lagrangian.METRICS
    )
    w = lambda z: jnp.stack([2 * z[1], jnp.sin(z[1])])  # noqa: E731
    z = jnp.array([0.5, 1.0])
    # u = sin(x / 2): u_xx = -u / 4, but -u by the label; u_t = 0.
    found = [
        jax.jit(lambda z, p=p: p.residual(w, z)["state"])(z) for p in (physical, label)
    ]
    np.testing.assert_allclose(found, 0.1 * np.sin(1.0) * np.array([0.25, 1]))


def test_two_dimensions_of_bent_labels(x64):
    def w(z):
        t, a, b = z
        x = a + 0.3 * jnp.sin(b) * t
        y = b + 0.2 * jnp.cos(a + b)
        return jnp.stack([x, y, jnp.sin(2 * x) * jnp.exp(y)])

    z = jnp.array([0.8, 0.4, 1.1])
    x, y, u = w(z)
    slopes = [2 * np.cos(2 * x) * np.exp(y), u]
    gradient, laplacian, stretch, jacobian = jax.jit(
        lambda z: (
            lagrangian.moving_gradient(w)(z),
            lagrangian.moving_laplacian(w)(z),
            lagrangian.stretch(w)(z),
            jax.jacobian(w)(z)[:2, 1:],
        )
    )(z)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-12)
    np.testing.assert_allclose(laplacian, -4 * u + u, rtol=1e-12)
    np.testing.assert_allclose(stretch, np.linalg.det(jacobian), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_inverses_are_inverses(x64, size, key):
    f = jax.random.normal(key, (size, size))
    np.testing.assert_allclose(lagrangian._inverse(f) @ f, np.eye(size), atol=1e-12)


def test_waves_in_two_dimensions_have_no_residual(x64):
    equation = transport.convection_diffusion((3.0, -5.0), 0.2)
    problem = lagrangian.lagrangian(equation)

    def w(z):
        u = jnp.exp(-0.4 * z[0]) * jnp.sin(z[1]) * jnp.sin(z[2])
        return jnp.append(z[1:] + jnp.array([3.0, -5.0]) * z[0], u)

    z = jnp.array([[0.3, 1.0, 4.0], [0.9, 2.0, 0.5]])
    for r in jax.jit(jax.vmap(lambda z: problem.residual(w, z)))(z).values():
        np.testing.assert_allclose(r, 0, atol=1e-12)
    np.testing.assert_allclose(lagrangian.error(equation, w, z), 0, atol=1e-12)


def test_meeting_characteristics_stay_finite():
    w = lambda z: jnp.stack([0 * z[1], jnp.sin(z[1])])  # noqa: E731
    z = jnp.array([0.5, 1.0])
    for operator in (lagrangian.moving_gradient, lagrangian.moving_laplacian):
        assert bool(jnp.all(jnp.isfinite(operator(w)(z))))
    assert float(lagrangian.stretch(w)(z)) == 0


def test_interpolation_is_linear_in_wrapped_places(x64):
    x = jnp.array([[0.5, 6.0, -4.0], [20.0, 1.0, 3.5]])
    u = jnp.array([[1.0, 4.0, 9.0], [2.0, 3.0, 5.0]])
    places = jnp.array([0.0, 1.0, 4.9])
    found = jax.jit(lagrangian.to_eulerian)(x, u, places, 5.0)
    # Wrapped: 0.5, 1, 1 and 0, 1, 3.5; by numpy with its own padding.
    wanted = [
        np.interp(places, *sorted_padded(row, values), period=None)
        for row, values in zip(np.mod(x, 5.0), np.asarray(u), strict=True)
    ]
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-12)
    np.testing.assert_allclose(found[0, ::2], wanted[0][::2], atol=1e-12)
    slope = jax.grad(lambda u: lagrangian.to_eulerian(x[1], u, places, 5.0)[2])(u[1])
    np.testing.assert_allclose(slope, [1.4 / 1.5, 0, 0.1 / 1.5], atol=1e-12)


def sorted_padded(x, u):
    order = np.argsort(x)
    x, u = x[order], u[order]
    return np.r_[x[-1] - 5, x, x[0] + 5], np.r_[u[-1], u, u[0]]


def test_widths_are_distances_to_the_best_spaces(x64, key):
    table = jax.random.normal(key, (6, 9))
    widths = jax.jit(lagrangian.kolmogorov_widths)(table)
    left, values, right = np.linalg.svd(table)
    for n in range(7):
        near = left[:, :n] @ np.diag(values[:n]) @ right[:n]
        np.testing.assert_allclose(widths[n], np.linalg.norm(table - near), atol=1e-12)
    both = jax.vmap(lagrangian.kolmogorov_widths)(jnp.stack([table, 2 * table]))
    np.testing.assert_allclose(both[1], 2 * widths, rtol=1e-12)
    slope = jax.grad(lambda t: lagrangian.kolmogorov_widths(t)[0])(table)
    np.testing.assert_allclose(slope, table / np.linalg.norm(table), rtol=1e-9)


def test_tied_branches_share_their_layers(key):
    tied = lagrangian.TwoBranches((7,) * 2, (7,) * 5, tied=True)
    params = tied.init(key)
    assert [p["kernel"].shape for p in params] == [(4, 7), (7, 7), (7, 7), (7, 1)]
    z = jnp.array([0.4, 1.0])
    waves = jnp.array([0.4, 1.0, np.cos(1.0), np.sin(1.0)])

    def dense(i, h):
        return h @ params[i]["kernel"] + params[i]["bias"]

    h = jnp.tanh(dense(1, jnp.tanh(dense(0, waves))))
    deep = h
    for _ in range(3):
        deep = jnp.tanh(dense(2, deep))
    wanted = jnp.concatenate([dense(3, h), dense(3, deep)])
    np.testing.assert_allclose(tied.apply(params, z), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": ()}, "at least one hidden layer"),
        ({"positions": (4,), "values": (5,), "tied": True}, "of one width"),
        ({"periods": (1.0, 1.0), "tied": True}, "of one width"),
    ],
)
def test_branches_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        lagrangian.TwoBranches(**options)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="metric must be one of"):
        lagrangian.lagrangian(CONVECTION, metric="moving")
    with pytest.raises(ValueError, match="no reference"):
        lagrangian.error(transport.burgers(1.0, 0.0), lambda z: z, jnp.zeros((1, 2)))


def test_a_fast_wave_is_solved(x64):
    problem = lagrangian.lagrangian(CONVECTION)
    net = lagrangian.TwoBranches((4,), (4,))
    weights = {"characteristic": 1 / 30**2}
    solution = pinn.solve(
        problem, net, key=jax.random.key(0), steps=25, points=32, weights=weights
    )
    assert solution.converged, solution.reasons
    z = pinn.samplers.uniform(problem.domain, 50, key=jax.random.key(1))
    error = jax.jit(lambda z: lagrangian.error(CONVECTION, solution.field, z))
    assert float(error(z)) < 1e-3


def test_residuals_serve_ensembles_and_gradients(key):
    problem = lagrangian.lagrangian(transport.burgers(1.0, 0.1))
    residuals = pinn.residuals(problem, SMALL)
    z = jnp.array([[0.3, 1.0], [0.8, 4.0]])

    def loss(key):
        params = pinn.initialize(problem, SMALL, key=key)
        return pinn.losses.loss(residuals, params, {"residual": z})

    keys = jax.random.split(key, 2)
    together = jax.jit(jax.vmap(loss))(keys)
    np.testing.assert_allclose(together[1], jax.jit(loss)(keys[1]), rtol=1e-4)
    params = pinn.initialize(problem, SMALL, key=key)
    slope = jax.jit(
        jax.grad(lambda p: pinn.losses.loss(residuals, p, {"residual": z}))
    )(params)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(slope))
