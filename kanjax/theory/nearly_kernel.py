"""What a network of finite width learns beyond its tangent kernel, to first order.

Roberts, Yaida, Hanin 2021, "The Principles of Deep Learning Theory", arXiv 2106.10165,
chapter 11: the network as a quadratic function of its parameters, ``z + J d + d Q d /
2`` (``kanjax.ntk.taylor_expand(apply, params, 2)``), whose kernel moves by the
differential of the kernel, ``dH_abc = Q_a[J_b, J_c]``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, linalg, ntk
from kanjax.ntk.finite_width import Apply, Params


class SecondDifferentials(NamedTuple):
    """How the tangent kernel and its differential move with the parameters.

    With J and Q the first and second derivatives of outputs, and T the third.

    Attributes:
        first: (m, m, m, m), ``T_a[J_b, J_c, J_d]``, symmetric in b, c and d.
        second: (m, m, m, m), ``Q_a[J_c] . Q_b[J_d]``.
    """

    first: Array
    second: Array


class Prediction(NamedTuple):
    """Outputs at the end of training; their sum is the prediction.

    Attributes:
        kernel: (n, outputs), of the linearized network.
        correction: (n, outputs), what the differential of the kernel adds.
    """

    kernel: Array
    correction: Array


def dntk(apply: Apply, params: Params, x: Any) -> Float[Array, "m m m"]:
    """Return the differential of the tangent kernel.

    ``dH[a, b, c] = sum d2 z_a / d theta_i d theta_j  d z_b / d theta_i  d z_c / d
    theta_j``, with a, b and c over examples and outputs, m = n outputs. A step of
    gradient descent of a squared loss moves z by ``-eta H e + eta^2 / 2 dH e e``, up to
    the third order.

    Args:
        apply: ``apply(params, x) -> (n, outputs)``.
        params: a pytree of floating-point arrays; scale them by the roots of learning
            rates where these differ.
        x: (n, ...).

    Returns:
        Symmetric in b and c; no Jacobian but a row at a time is formed.
    """
    checks.check_real(params, "params")
    z = _flat(apply, x)
    value, pull = jax.vjp(z, params)
    units = jnp.eye(value.size, dtype=value.dtype)

    def row(b: Array) -> Array:
        return jax.lax.map(lambda c: _second(z, params, pull(b)[0], pull(c)[0]), units)

    return jnp.moveaxis(jax.lax.map(row, units), 2, 0)


def ddntk(apply: Apply, params: Params, x: Any) -> SecondDifferentials:
    """Return both differentials of the differential of the tangent kernel.

    A step of gradient descent of a squared loss moves z by ``-eta H e + eta^2 / 2 dH e
    e - eta^3 / 6 T e e e``, up to the fourth order, T being the first of the two; and H
    by ``-eta (dH_abc + dH_bac) e_c`` to the first, ``eta^2 (first_abcd + first_bacd) /
    2 + eta^2 second_abcd``, times ``e_c e_d``, to the second. The third power of m
    derivatives along three directions are taken, and ``m^4`` numbers kept.

    Args:
        apply: ``apply(params, x) -> (n, outputs)``.
        params: as for :func:`dntk`.
        x: (n, ...), few.

    Returns:
        Of m = n outputs.
    """
    checks.check_real(params, "params")
    z = _flat(apply, x)
    value, pull = jax.vjp(z, params)
    units = jnp.eye(value.size, dtype=value.dtype)

    def third(b: Array, c: Array, d: Array) -> Array:
        def second(p: Params) -> Array:
            return _second(z, p, pull(b)[0], pull(c)[0])

        return linalg.linearize(second, params)[1](pull(d)[0])

    def over(function: Any) -> Any:
        return lambda *rows: jax.lax.map(lambda row: function(*rows, row), units)

    # (b, c, d, a).
    first = over(over(over(third)))()

    def turned(a: Array, c: Array) -> Params:
        """Return ``Q_a[J_c]``."""
        gradient = jax.grad(lambda p: z(p) @ a)
        return linalg.linearize(gradient, params)[1](pull(c)[0])

    ways = over(over(turned))()
    size = value.size
    rows = [jnp.reshape(leaf, (size, size, -1)) for leaf in jax.tree.leaves(ways)]
    second = sum((jnp.einsum("aci,bdi->abcd", row, row) for row in rows), jnp.zeros(()))
    return SecondDifferentials(jnp.moveaxis(first, -1, 0), second)


def predict(
    apply: Apply, params: Params, x: Any, y: Float[Array, "n outputs"], x_test: Any
) -> Prediction:
    """Predict a network that gradient flow of a squared loss has trained to the end.

    To first order in the second derivatives. With the kernel H of the examples, its
    eigenvalues l, and errors e at the start, ``M = int e(t) a(t)^T dt``, ``a = H^-1 (e
    - e(t))``, has the entries ``e_k e_m / (l_k (l_k + l_m))`` in the eigenbasis, and
    the kernel's motion adds ``c_i - H_i. H^-1 c`` with ``c_i = sum M_ab (dH_iab +
    dH_aib)``. By products: no third power of the examples is in memory.

    Args:
        apply: ``apply(params, x) -> (n, outputs)``.
        params: where training starts, a pytree of floating-point arrays.
        x: (n, ...), the examples.
        y: (n, outputs), their targets.
        x_test: (n_test, ...), where to predict.

    Returns:
        Of x_test.

    Raises:
        TypeError: if a leaf of params is not of floating point.
        ValueError: if the shape of y is not that of the outputs.

    The kernel of the examples must have full rank, which float64 helps to see.
    """
    checks.check_real(params, "params")
    train, test = _flat(apply, x), _flat(apply, x_test)
    shape = jax.eval_shape(apply, params, x).shape
    if jnp.shape(y) != shape:
        raise ValueError(
            f"y has shape {jnp.shape(y)}; apply gives {shape} for x. Targets need an "
            "axis of outputs."
        )
    value, pull = jax.vjp(train, params)
    error = value - jnp.ravel(jnp.asarray(y, value.dtype))
    size = value.size
    gram = _as_matrix(ntk.empirical(apply, params, x, outputs="full"))
    across = _as_matrix(ntk.empirical(apply, params, x_test, x, outputs="full"))
    values, vectors = jnp.linalg.eigh(gram)

    def solve(v: Array) -> Array:
        return vectors @ ((vectors.T @ v) / values)

    errors = vectors.T @ error
    moved = jnp.outer(errors, errors)
    moved = moved / (values[:, None] * jnp.add.outer(values, values))
    moved = vectors @ moved @ vectors.T

    # dH_iab M_ab, by the eigenvectors of the symmetric share of M.
    strengths, ways = jnp.linalg.eigh((moved + moved.T) / 2)

    def along(strength: Array, way: Array) -> list[Array]:
        step = pull(way)[0]
        return [strength * _second(z, params, step, step) for z in (train, test)]

    # dH_aib M_ab = J_i w with w = sum_b Q[M_.b, J_b].
    def toward(column: Array, unit: Array) -> Params:
        gradient = jax.grad(lambda p: train(p) @ column)
        return jax.jvp(gradient, (params,), pull(unit))[1]

    curved = jax.lax.map(lambda row: along(*row), (strengths, ways.T))
    unit = jnp.eye(size, dtype=value.dtype)
    turned = jax.lax.map(lambda row: toward(*row), (moved.T, unit))
    turned = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), turned)
    c_train, c_test = (
        jnp.sum(shares, axis=0) + jax.jvp(z, (params,), (turned,))[1]
        for shares, z in zip(curved, (train, test), strict=True)
    )
    outputs = (-1, shape[1])
    return Prediction(
        (test(params) - across @ solve(error)).reshape(outputs),
        (c_test - across @ solve(c_train)).reshape(outputs),
    )


def _flat(apply: Apply, x: Any):
    return lambda params: jnp.ravel(apply(params, x))


def _second(z: Any, params: Params, v: Params, w: Params) -> Array:
    """Return the second derivatives of all outputs along two directions."""

    def along(p: Params) -> Array:
        return linalg.linearize(z, p)[1](v)

    return linalg.linearize(along, params)[1](w)


def _as_matrix(kernel: Array) -> Array:
    """(n1, n2, outputs, outputs) by example and output."""
    n1, n2, outputs, _ = kernel.shape
    return jnp.transpose(kernel, (0, 2, 1, 3)).reshape(n1 * outputs, n2 * outputs)
