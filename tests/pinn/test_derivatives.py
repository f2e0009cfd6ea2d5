"""Operators against closed forms in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.pinn import derivatives as d

Z = np.array([0.3, -0.7, 1.1])


@pytest.fixture
def z(x64):
    return jnp.array(Z)


def wave(z):
    return jnp.sin(2 * z[0]) * jnp.exp(z[1]) * z[2] ** 4


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_partial_to_fourth_order(z):
    x, y, w = Z
    s, c = np.sin(2 * x), np.cos(2 * x)
    sines = (2 * c, -4 * s, -8 * c, 16 * s)
    powers = (4 * w**3, 12 * w**2, 24 * w, 24.0)
    for order in range(1, 5):
        close(d.partial(wave, 0, order)(z), sines[order - 1] * np.exp(y) * w**4)
        close(d.partial(wave, 2, order)(z), s * np.exp(y) * powers[order - 1])
        close(d.partial(wave, 1, order)(z), wave(z))


def test_mixed_partials(z):
    x, y, w = Z
    wanted = -4 * np.sin(2 * x) * np.exp(y) * 4 * w**3
    close(d.partial(wave, (0, 1, 2, 0))(z), wanted)
    close(d.partial(wave, (2, 0, 0))(z), wanted)


def test_derivatives_are_partials_in_one_pass(z):
    together = d.derivatives(wave, 0, 4)(z)
    assert len(together) == 5
    close(together[0], wave(z))
    for order in range(1, 5):
        close(together[order], d.partial(wave, 0, order)(z))


def test_gradient_of_scalar_and_vector_fields(z):
    x, y, w = Z
    s, c = np.sin(2 * x), np.cos(2 * x)
    slopes = np.exp(y) * np.array([2 * c * w**4, s * w**4, s * 4 * w**3])
    close(d.gradient(wave)(z), slopes)
    close(d.gradient(wave, (2, 0))(z), slopes[[2, 0]])
    vector = lambda z: jnp.stack([z[0] * z[1], z[2] ** 2])  # noqa: E731
    close(d.gradient(vector)(z), [[y, x, 0], [0, 0, 2 * w]])


def test_laplacian_and_hessian_diagonal(z):
    x, y, w = Z
    u = np.sin(2 * x) * np.exp(y)
    diagonal = np.array([-4 * u * w**4, u * w**4, 12 * u * w**2])
    close(d.hessian_diagonal(wave)(z), diagonal)
    close(d.laplacian(wave)(z), diagonal.sum())
    close(d.laplacian(wave, (1, 2))(z), diagonal[1:].sum())
    vector = lambda z: jnp.stack([wave(z), z[0] ** 2])  # noqa: E731
    close(d.laplacian(vector)(z), [diagonal.sum(), 2])


def test_laplacians_of_many_coordinates_come_in_blocks(z):
    # More than twice as many as one part of the program has, and a rest.
    many = jnp.linspace(0.1, 0.9, 2 * d.LINES + 3)
    powers = jnp.arange(1, len(many) + 1) % 4
    power = lambda z: jnp.sum(z**powers) * z[0]  # noqa: E731
    hessian, all_axes, most = jax.jit(
        lambda z: (
            jax.hessian(power)(z),
            d.laplacian(power)(z),
            d.laplacian(power, range(2 * d.LINES))(z),
        )
    )(many)
    close(all_axes, np.trace(hessian))
    close(most, np.trace(np.asarray(hessian)[:-3, :-3]))


def test_the_biharmonic_operator_nests(z):
    power = lambda z: jnp.sum(z**4) + z[0] ** 2 * z[1] ** 2  # noqa: E731
    close(d.laplacian(d.laplacian(power))(z), 3 * 24 + 8)


def test_divergence_and_curl(z):
    x, y, w = Z
    v = lambda z: jnp.stack([z[0] ** 2 * z[1], z[1] * z[2], z[0] * z[2]])  # noqa: E731
    close(d.divergence(v)(z), 2 * x * y + w + x)
    close(d.curl(v)(z), [-y, -w, -(x**2)])
    # (t, x, y): space is what follows time.
    plane = lambda z: z[0] * jnp.stack([-z[2], z[1] ** 2])  # noqa: E731
    close(d.curl(plane, (1, 2))(z), x * (2 * y + 1))
    close(d.divergence(plane, (1, 2))(z), 0)


def test_vector_identities(z):
    v = lambda z: jnp.stack([jnp.sin(z[1]) * z[2], z[0] ** 3, wave(z)])  # noqa: E731
    close(d.divergence(d.curl(v))(z), 0)
    close(d.curl(d.gradient(wave))(z), np.zeros(3))


def test_complex_fields(z):
    plane = lambda z: jnp.exp(1j * (2 * z[0] - 3 * z[1]))  # noqa: E731
    u = np.exp(1j * (2 * Z[0] - 3 * Z[1]))
    close(d.gradient(plane)(z), u * np.array([2j, -3j, 0]))
    close(d.laplacian(plane)(z), -13 * u)
    close(d.partial(plane, 1, 4)(z), 81 * u)


def test_operators_work_under_jit_vmap_and_grad(z):
    points = jnp.stack([z, 2 * z, -z])

    @jax.jit
    def total(scale):
        u = lambda z: jnp.sin(scale * z[0]) * z[1] ** 2  # noqa: E731
        return jnp.sum(jax.vmap(d.laplacian(u))(points))

    x, y = points[:, 0], points[:, 1]

    def by_hand(a):
        return jnp.sum(-(a**2) * jnp.sin(a * x) * y**2 + 2 * jnp.sin(a * x))

    close(total(1.7), by_hand(1.7))
    close(jax.grad(total)(1.7), jax.grad(by_hand)(1.7))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda z: d.partial(wave, 3)(z), "axis 3 is out of range"),
        (lambda z: d.partial(wave, 0, 5), "order 1 to 4; got 5"),
        (lambda z: d.partial(wave, (0, 1), 2), "order counts derivatives"),
        (lambda z: d.laplacian(wave)(z[None]), "Map over points by jax.vmap"),
        (lambda z: d.divergence(lambda z: z[:2])(z), "one component for each of 3"),
        (lambda z: d.curl(lambda z: z, (0,))(z), "two or three axes"),
    ],
)
def test_bad_input(z, call, words):
    with pytest.raises(ValueError, match=words):
        call(z)
