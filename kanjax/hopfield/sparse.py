"""Softmax, sparsemax and what lies between: weights that can be exactly zero.

Sources: Martins, Astudillo (2016), From softmax to sparsemax, arXiv 1602.02068; Peters,
Niculae, Martins (2019), Sparse sequence-to-sequence models, arXiv 1905.05702 (entmax).
As the weights of a memory: Hu et al. (2023), On sparse modern Hopfield model, arXiv
2309.12673.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.checks import as_floating


def entmax(logits: Any, alpha: float = 1.5) -> Float[Array, "*batch n"]:
    """Return the weights p on the simplex that maximise ``p . z + H_alpha(p)``.

    ``p_i = [(alpha - 1) z_i - tau]_+^(1 / (alpha - 1))`` with tau such that they sum to
    1, where H_alpha is Tsallis' entropy. alpha = 1 is softmax; the larger alpha, the
    more weights are exactly zero; 2 is sparsemax, the projection on the simplex.

    Args:
        logits: z, (..., n). Entries of -inf get a weight of zero; where all are -inf,
            all weights are zero.
        alpha: at least 1.

    Raises:
        ValueError: for an alpha below 1 or not finite.

    Examples:
        >>> import jax.numpy as jnp
        >>> entmax(jnp.array([1.0, 0.8, -1.0]), 2.0).round(3)
        Array([0.6, 0.4, 0. ], dtype=float32)
    """
    check_alpha(alpha)
    z = as_floating(logits)
    top = jnp.max(z, axis=-1, keepdims=True, initial=-jnp.inf)
    possible = top != -jnp.inf
    # What is hidden altogether is evaluated at zeros, to keep NaN out of gradients.
    z = jnp.where(possible, z, 0)
    p = jax.nn.softmax(z, axis=-1) if alpha == 1 else _tsallis(z, float(alpha))
    return jnp.where(possible, p, 0)


def entropy(p: Array, alpha: float = 1.5) -> Float[Array, "*batch"]:
    """Tsallis' ``H_alpha(p) = sum_i (p_i - p_i^alpha) / (alpha (alpha - 1))``.

    At alpha = 1 it is its limit, Shannon's entropy in nats.

    Args:
        p: weights (..., n).
        alpha: at least 1.
    """
    check_alpha(alpha)
    if alpha == 1:
        return jnp.sum(jax.scipy.special.entr(p), axis=-1)
    return jnp.sum(p - p**alpha, axis=-1) / (alpha * (alpha - 1))


def conjugate(logits: Array, alpha: float = 1.5) -> Float[Array, "*batch"]:
    """``max_p p . z + H_alpha(p)``, whose gradient is entmax; log-sum-exp at alpha = 1.

    Args:
        logits: z, (..., n); -inf where an entry is left out.
        alpha: at least 1.
    """
    if alpha == 1:
        return jax.nn.logsumexp(logits, axis=-1)
    p = entmax(logits, alpha)
    gain = jnp.sum(p * jnp.where(p > 0, logits, 0), axis=-1)
    return gain + entropy(p, alpha)


def check_alpha(alpha: float) -> None:
    """Raise ``ValueError`` unless alpha is at least 1 and finite."""
    if not 1 <= alpha < float("inf"):
        raise ValueError(
            f"alpha must be at least 1 (softmax) and finite; got {alpha!r}."
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _tsallis(z: Array, alpha: float) -> Array:
    """By bisection of tau, then a division by the sum, which takes up its rounding."""
    wide = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    x = (alpha - 1) * (wide - jnp.max(wide, axis=-1, keepdims=True))

    def power(tau: Array) -> Array:
        return jnp.maximum(x - tau, 0) ** (1 / (alpha - 1))

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = jnp.sum(power(middle), axis=-1, keepdims=True) >= 1
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    # At tau = -1 the largest entry alone has weight 1, at 0 none has any.
    low = jnp.full((*x.shape[:-1], 1), -1, x.dtype)
    steps = jnp.finfo(x.dtype).nmant + 6
    low, _ = jax.lax.fori_loop(0, steps, halve, (low, jnp.zeros_like(low)))
    p = power(low)
    return (p / jnp.sum(p, axis=-1, keepdims=True)).astype(z.dtype)


@_tsallis.defjvp
def _tsallis_jvp(alpha: float, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """``(diag(s) - s s^T / sum(s)) dz`` with ``s = p^(2 - alpha)`` on the support."""
    (z,), (dz,) = primals, tangents
    p = _tsallis(z, alpha)
    support = p > 0
    s = jnp.where(support, jnp.where(support, p, 1) ** (2 - alpha), 0)
    mean = jnp.sum(s * jnp.where(support, dz, 0), axis=-1, keepdims=True)
    mean = mean / jnp.sum(s, axis=-1, keepdims=True)
    return p, s * (jnp.where(support, dz, 0) - mean)
