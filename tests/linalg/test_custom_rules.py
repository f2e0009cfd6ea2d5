"""Functions that have a rule for reverse mode alone."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import landscape, linalg, ntk


@jax.custom_vjp
def rule(x):
    return jnp.tanh(x)


rule.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: ((1 - jnp.tanh(x) ** 2) * g,))

X = jax.random.normal(jax.random.key(3), (6, 3))
PARAMS = {"w": jax.random.normal(jax.random.key(0), (3, 2)), "b": jnp.ones(2)}
STEP = jax.tree.map(jnp.cos, PARAMS)


def network(activation):
    return lambda p, x: activation(x @ p["w"] + p["b"][None])


def loss(activation):
    return lambda p: jnp.mean(jnp.square(network(activation)(p, X) - 0.3))


def alike(a, b):
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def along(f):
    return linalg.directional_derivatives(f, PARAMS, STEP)


TOOLS = {
    "hessian": lambda f: linalg.hessian_product(loss(f), PARAMS)(STEP),
    "line": lambda f: along(loss(f)),
    "gauss newton": lambda f: linalg.gauss_newton_product(
        lambda p: network(f)(p, X), lambda y: jnp.sum(y**4), PARAMS
    )(STEP),
    "values": lambda f: (
        landscape.hessian_eigenpairs(loss(f), PARAMS, 2, jax.random.key(0)).values
    ),
    "linear network": lambda f: ntk.linearize(network(f), PARAMS)(STEP, X),
    "polynomial": lambda f: ntk.taylor_expand(network(f), PARAMS, 2)(STEP, X),
    "kernel": lambda f: ntk.empirical(network(f), PARAMS, X, outputs="full"),
    "vector products": lambda f: ntk.empirical(
        network(f), PARAMS, X, method="vector_products"
    ),
    "kernel product": lambda f: ntk.tangent_product(network(f), PARAMS, X)(
        jnp.ones((6, 2))
    ),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_custom_vjp_is_served_by_reverse_mode(tool):
    alike(jax.jit(lambda: TOOLS[tool](rule))(), TOOLS[tool](jnp.tanh))


def test_what_cannot_be_transposed_says_what_to_do():
    @jax.custom_vjp
    def odd(x):
        return x

    odd.defvjp(lambda x: (x, None), lambda _, g: (g * jnp.abs(g),))
    with pytest.raises(TypeError, match="Give it a custom_jvp"):
        linalg.linearize(odd, jnp.ones(2))


COMPLEX = {"w": jnp.ones((3, 2), jnp.complex64)}


@pytest.mark.parametrize(
    "use",
    [
        lambda f: linalg.hessian_product(f, COMPLEX),
        lambda f: linalg.gauss_newton_product(f, f, COMPLEX),
        lambda f: linalg.directional_derivatives(f, COMPLEX, COMPLEX),
        lambda f: linalg.eigenpairs(lambda v: v, COMPLEX, 1, jax.random.key(0)),
        lambda f: linalg.hutchinson_trace(lambda v: v, COMPLEX, jax.random.key(0)),
        lambda f: landscape.hessian_eigenpairs(f, COMPLEX, 1, jax.random.key(0)),
        lambda f: landscape.hessian_trace(f, COMPLEX, jax.random.key(0)),
        lambda f: landscape.layer_traces(f, COMPLEX, jax.random.key(0)),
        lambda f: landscape.barrier(f, COMPLEX, COMPLEX),
        lambda f: ntk.empirical(lambda p, x: x @ p["w"], COMPLEX, X),
        lambda f: ntk.tangent_product(lambda p, x: x @ p["w"], COMPLEX, X),
        lambda f: ntk.linearize(lambda p, x: x @ p["w"], COMPLEX),
    ],
)
def test_complex_parameters_are_refused_at_the_door(use):
    with pytest.raises(TypeError, match="complex64; only real parameters are served"):
        use(lambda p: jnp.sum(jnp.abs(p["w"]) ** 2))


def test_parameters_of_a_frozen_flax_network_pass():
    net = linen.Dense(2)
    variables = net.init(jax.random.key(0), X)
    f = lambda v: jnp.sum(net.apply(v, X) ** 2)  # noqa: E731
    assert jnp.isfinite(linalg.directional_derivatives(f, variables, variables).slope)
