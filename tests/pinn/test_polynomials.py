"""Products of polynomials against numpy, and equations that they solve at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import pinn
from kanjax.pinn import flows, library


def test_values_are_those_of_numpy(x64):
    net = pinn.PolynomialProducts((-1.0, 2.0), (1.0, 5.0), (4, 7), outputs=2)
    params = net.init(jax.random.key(0))
    assert params["coef"].shape == (2, 5, 8)
    assert 0.07 < np.std(params["coef"]) < 0.13
    rng = np.random.default_rng(0)
    c, z = rng.normal(size=(2, 5, 8)), rng.uniform((-1, 2), (1, 5), (6, 2))
    found = net.apply({"coef": jnp.asarray(c)}, jnp.asarray(z))
    x, y = z[:, 0], (2 * z[:, 1] - 7) / 3
    c /= (1 + np.arange(5)[:, None] ** 2 + np.arange(8) ** 2) ** 2
    wanted = [np.polynomial.chebyshev.chebval2d(x, y, each) for each in c]
    np.testing.assert_allclose(found, np.stack(wanted, -1), rtol=1e-12)


def test_a_linear_equation_is_solved_in_two_steps(x64):
    problem = library.poisson()
    net = pinn.PolynomialProducts((0.0, 0.0), (1.0, 1.0), (9, 9))
    params = pinn.initialize(problem, net, key=jax.random.key(0))

    @jax.jit
    def train(params):
        return pinn.train(
            problem,
            net,
            params,
            key=jax.random.key(1),
            steps=2,
            points=200,
            sampler=pinn.samplers.edge_dense,
            resample_every=2,
            damping=1e-12,
        )

    u = jax.vmap(pinn.field(problem, net, train(params).params))
    z = jnp.array([[0.3, 0.6], [0.5, 0.2], [0.9, 0.75]])
    np.testing.assert_allclose(u(z), problem.reference(z), atol=1e-7)


def test_a_stream_function_has_no_divergence_and_the_same_momentum(x64):
    free, by_stream = (
        flows.lid_driven_cavity(50.0, stream=stream) for stream in (False, True)
    )
    net = lambda z: jnp.stack([z[0] ** 2 * z[1] ** 3, jnp.sin(z[0])])  # noqa: E731
    x, y = 0.3, 0.6
    w, z = by_stream.constrain(net), jnp.array([x, y])
    wanted = [3 * x**2 * y**2, -2 * x * y**3, np.sin(x)]
    np.testing.assert_allclose(w(z), wanted, rtol=1e-12)
    terms, alone = jax.jit(lambda z: [p.residual(w, z) for p in (free, by_stream)])(z)
    np.testing.assert_allclose(terms["continuity"], 0, atol=1e-14)
    assert list(alone) == ["momentum"] and by_stream.outputs == 2
    np.testing.assert_allclose(alone["momentum"], terms["momentum"], rtol=1e-12)
    # Near an end of the lid it counts by the distance to it, in units of 0.2.
    near = jnp.array([1 - 0.03, 1 - 0.04])
    terms, alone = (p.residual(w, near)["momentum"] for p in (free, by_stream))
    np.testing.assert_allclose(alone, 0.25 * terms, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"degrees": (0, 3)}, "must be at least 1; got .0, 3. and 1"),
        ({"upper": (1.0, 0.0)}, "lower must be below upper"),
        ({"outputs": 0}, "outputs must be at least 1"),
    ],
)
def test_bad_input(options, words):
    good = {"lower": (0.0, 0.0), "upper": (1.0, 1.0), "degrees": (2, 2)}
    with pytest.raises(ValueError, match=words):
        pinn.PolynomialProducts(**(good | options))
