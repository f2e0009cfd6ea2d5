import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn, symmetry

NETS = {
    "mlp": nn.MLP((3, 8, 6, 2), jnp.tanh),
    "odd residual": kan.KAN((3, 6, 5, 2), basis=bases.BSpline(4), residual=jnp.tanh),
    "chebyshev": kan.KAN((3, 6, 2), basis=bases.Chebyshev(4), residual=None),
    "gaussian": kan.KAN((3, 5, 2), basis=bases.GaussianRBF(5), residual=jnp.square),
}


def noisy(net, key):
    return jax.tree.map(
        lambda v: v + 0.1 * jax.random.normal(key, v.shape), net.init(key)
    )


def turned(net, params, name, unit):
    """One hidden unit's sign turned, by the definition of the symmetry alone."""
    spec = symmetry.permutation_spec(net)
    flips = symmetry.sign_matching._flips(net, spec)[name]
    leaves, structure = jax.tree.flatten(params)
    which = jnp.arange(dict(spec.sizes)[name]) == unit
    return jax.tree.unflatten(
        structure, symmetry.sign_matching._turn(leaves, flips, which)
    )


@pytest.mark.parametrize("name", NETS)
def test_planted_signs_and_permutations_are_found(key, name):
    net = NETS[name]
    a, x = noisy(net, key), jax.random.uniform(key, (9, 3), minval=-1, maxval=1)
    b = turned(net, turned(net, a, "P1", 0), "P1", 3)
    assert any(
        bool(jnp.any(u != v))
        for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )
    # The network computes the same: the flip is a symmetry of it.
    np.testing.assert_allclose(net.apply(b, x), net.apply(a, x), rtol=1e-3, atol=1e-4)
    spec = symmetry.permutation_spec(net)
    b = symmetry.apply_permutation(spec, symmetry.random_permutation(spec, key), b)
    found = jax.jit(lambda a, b: symmetry.match_signed_weights(net, a, b))(a, b)
    jax.tree.map(
        lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-6),
        found.permuted,
        a,
    )
    assert found.converged and int(jnp.sum(found.signs["P1"] == -1)) == 2


def test_signs_bring_networks_closer_than_permutations_alone(key):
    net = NETS["mlp"]
    a, b = (noisy(net, k) for k in jax.random.split(key))
    spec, x = symmetry.permutation_spec(net), jax.random.normal(key, (9, 3))
    plain = symmetry.match_weights(spec, a, b)
    signed = symmetry.match_signed_weights(net, a, b)
    assert signed.objective > plain.objective
    np.testing.assert_allclose(
        net.apply(signed.permuted, x), net.apply(b, x), rtol=1e-3, atol=1e-4
    )


def test_networks_without_the_symmetry_are_refused(key):
    for net, words in (
        (nn.MLP((2, 3, 1)), "neither odd nor even"),
        (nn.MLP((2, 3, 1), jnp.cos), "activation is even"),
        (kan.KAN((2, 3, 1)), "residual branch is neither"),
        (
            kan.KAN((2, 3, 1), basis=bases.BSpline(5, domain=(0, 1)), residual=None),
            "not closed under reflection",
        ),
        (nn.Dense(2, 3), "neither an MLP nor a KAN"),
    ):
        params = net.init(key)
        with pytest.raises(ValueError, match=words):
            symmetry.match_signed_weights(net, params, params)
