"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for optax.

Vyas, Morwani, Zhao, Shapira, Brandfonbrener, Janson, Kakade (2024), "SOAP: Improving
and Stabilizing Shampoo using Adam", arXiv 2409.11321, algorithms 3 and 4.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Int


class SoapState(NamedTuple):
    """What an update leaves for the next.

    Attributes:
        count: updates so far.
        mean: of gradients, a pytree like the parameters.
        squares: of gradients in the eigenbases, likewise.
        factors: of each leaf a tuple, for each axis the mean of ``G G^T`` over all
            other axes, (size, size); None of an axis that is not rotated.
        bases: likewise the orthonormal columns that are nearly its eigenvectors.
    """

    count: Int[Array, ""]
    mean: Any
    squares: Any
    factors: list[tuple[Array | None, ...]]
    bases: list[tuple[Array | None, ...]]


def scale_by_soap(
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    *,
    every: int = 10,
    largest: int = 1024,
) -> optax.GradientTransformation:
    """Divide gradients by their sizes in the eigenbases of their second moments.

    Args:
        b1: how slowly the mean of gradients moves, 0 to 1.
        b2: how slowly their squares and the bases do, 0 to 1.
        eps: added to the sizes.
        every: updates between changes of the bases, a step of orthogonal iteration
            each. Under ``vmap`` over members it is computed at each update.
        largest: axes with more entries are not rotated; vectors and numbers never are,
            they are Adam's.

    Raises:
        ValueError: for a number outside of its range.
    """
    if not (0 <= b1 < 1 and 0 <= b2 < 1 and eps > 0 and every >= 1):
        raise ValueError(
            "b1 and b2 must be at least 0 and below 1, eps positive and every at "
            f"least 1; got {b1!r}, {b2!r}, {eps!r} and {every!r}."
        )

    def rotates(leaf: Array) -> list[bool]:
        return [leaf.ndim > 1 and 1 < size <= largest for size in leaf.shape]

    def squares_of(leaf: Array) -> tuple[Array | None, ...]:
        return tuple(
            _second_moment(leaf, axis) if turned else None
            for axis, turned in enumerate(rotates(leaf))
        )

    def init(params: Any) -> Any:
        leaves = jax.tree.leaves(params)
        zeros = jax.tree.map(jnp.zeros_like, params)
        factors = [squares_of(jnp.zeros_like(leaf)) for leaf in leaves]
        bases = [
            tuple(None if f is None else jnp.eye(*f.shape, dtype=f.dtype) for f in each)
            for each in factors
        ]
        return SoapState(jnp.zeros((), jnp.int32), zeros, zeros, factors, bases)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        count = state.count + 1
        leaves, structure = jax.tree.flatten(updates)
        unflatten = structure.unflatten
        mean = optax.tree.update_moment(updates, state.mean, b1, 1)
        turned = [_rotate(g, q) for g, q in zip(leaves, state.bases, strict=True)]
        squares = optax.tree.update_moment(unflatten(turned), state.squares, b2, 2)
        steps = []
        for m, v, q in zip(
            jax.tree.leaves(optax.tree.bias_correction(mean, b1, count)),
            jax.tree.leaves(optax.tree.bias_correction(squares, b2, count)),
            state.bases,
            strict=True,
        ):
            step = _rotate(m, q) / (jnp.sqrt(v) + eps)
            steps.append(_rotate(step, q, back=True))
        factors = jax.tree.map(
            lambda f, new: b2 * f + (1 - b2) * new,
            state.factors,
            [squares_of(g) for g in leaves],
        )
        bases = jax.lax.cond(
            (count - 1) % every == 0,
            lambda: jax.tree.map(_iterate, factors, state.bases),
            lambda: state.bases,
        )
        return unflatten(steps), SoapState(count, mean, squares, factors, bases)

    return optax.GradientTransformation(init, update)


def soap(
    learning_rate: optax.ScalarOrSchedule = 3e-3,
    b1: float = 0.95,
    b2: float = 0.95,
    eps: float = 1e-8,
    *,
    every: int = 10,
    largest: int = 1024,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Return SOAP, for matrices Adam in a basis that follows their gradients.

    Args:
        learning_rate: a number or a schedule.
        b1: of :func:`scale_by_soap`.
        b2: likewise.
        eps: likewise.
        every: likewise.
        largest: likewise.
        weight_decay: as in AdamW.

    Raises:
        ValueError: for a number outside of its range.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from kanjax import training
        >>> loss = lambda w: jnp.sum((w - 1) ** 2)
        >>> optimizer = training.soap(0.05)
        >>> w = jnp.zeros((3, 2))
        >>> state = optimizer.init(w)
        >>> for _ in range(100):
        ...     moves, state = optimizer.update(jax.grad(loss)(w), state, w)
        ...     w = optax.apply_updates(w, moves)
        >>> bool(loss(w) < 0.1)
        True
    """
    return optax.chain(
        scale_by_soap(b1, b2, eps, every=every, largest=largest),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def _second_moment(leaf: Array, axis: int) -> Array:
    rows = jnp.moveaxis(leaf, axis, 0).reshape(leaf.shape[axis], -1)
    return rows @ rows.T


def _rotate(
    leaf: Array, bases: tuple[Array | None, ...], *, back: bool = False
) -> Array:
    """Write a leaf in its bases, axis by axis."""
    for axis, basis in enumerate(bases):
        if basis is not None:
            turned = basis.T if back else basis
            # The axis that is summed goes last, where it came from.
            leaf = jnp.moveaxis(jnp.tensordot(leaf, turned, (axis, 0)), -1, axis)
    return leaf


def _iterate(factor: Array, basis: Array) -> Array:
    """Bring a basis nearer to the factor's eigenvectors: orthogonal iteration."""
    return jnp.linalg.qr(factor @ basis)[0]
