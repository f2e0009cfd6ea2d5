"""Running jaxprs equation by equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import jaxprs


def plain(index, equation, operands):
    return jaxprs.bind(equation, operands)


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvp(lambda x, t: (cube(x[0]), 7.0 * t[0]))

FUNCTIONS = {
    "literals": lambda x: 2.0 * x + 1.0,
    "a call": lambda x: jax.jit(jnp.tanh)(x) * x,
    "a rule of its own": lambda x: cube(x),
    "a scan": lambda x: jax.lax.scan(lambda c, v: (c + v, c * v), 0.0, x)[1],
    "several outputs": lambda x: jnp.linalg.eigh(jnp.outer(x, x))[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_evaluating_gives_what_the_function_gives(name):
    f, x = FUNCTIONS[name], jnp.array([0.3, -1.2, 2.0])
    traced = jax.make_jaxpr(f)(x)

    def run(x):
        (y,) = jaxprs.evaluate(traced.jaxpr, traced.consts, [x], plain)
        return y

    np.testing.assert_allclose(run(x), f(x), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jacfwd(run)(x), jax.jacfwd(f)(x), rtol=1e-5, atol=1e-6
    )


def test_a_rule_replaces_an_operation():
    traced = jax.make_jaxpr(lambda x: jnp.sin(x) + x)(1.0)

    def rule(index, equation, operands):
        if equation.primitive.name == "sin":
            return [jnp.cos(operands[0])]
        return jaxprs.bind(equation, operands)

    (y,) = jaxprs.evaluate(traced.jaxpr, traced.consts, [0.5], rule)
    np.testing.assert_allclose(y, np.cos(0.5) + 0.5, rtol=1e-6)


def test_inner_jaxprs_are_those_of_calls_and_loops():
    traced = jax.make_jaxpr(FUNCTIONS["a scan"])(jnp.ones(3))
    called = [jaxprs.inner(equation) for equation in traced.jaxpr.eqns]
    assert sum(map(len, called)) == 1
