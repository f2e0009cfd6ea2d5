"""Dense memories that learn archetypes from noisy examples of them.

Source: Agliari et al. (2022), Dense Hebbian neural networks: a replica symmetric
picture of supervised learning, arXiv 2212.00606; without a teacher, arXiv 2211.14067.

Examples are drawn by :func:`kanjax.hopfield.diluted.noisy_examples`; what the memory
recalls of them is in :mod:`kanjax.hopfield.archetype_theory`.
"""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.checks import check_labels
from kanjax.hopfield import checks, diluted
from kanjax.hopfield.replica_symmetry import scale_beta
from kanjax.hopfield.self_consistency import FixedPoint, fixed_point
from kanjax.hopfield.tensors import LowRankTensor


def archetype_memory(
    examples: Any,
    *,
    order: int,
    quality: ArrayLike = 1.0,
    teaching: Literal["supervised", "unsupervised"] = "supervised",
) -> LowRankTensor:
    """Learn from examples, with or without a teacher; a memory of the room.

    With one, the energy sums products of P entries of the means of examples; without,
    it is the mean over examples of all their products. Both are over ``R^(P/2)
    spins^(P - 1)`` with ``R = quality^2 (1 + entropy)``.

    Args:
        examples: (archetypes, examples, spins) of -1 and +1; (archetypes, spins) are
            the archetypes themselves, to be learned with quality 1.
        order: P, at least 2.
        quality: in (0, 1].
        teaching: "supervised" or "unsupervised".

    Works under jit, vmap and grad.

    Raises:
        ValueError: for arguments out of range, other values or an unknown teaching.

    Examples:
        >>> import jax
        >>> from kanjax import hopfield
        >>> archetypes = hopfield.random_patterns(jax.random.key(0), 5, 200)
        >>> data = diluted.noisy_examples(jax.random.key(1), archetypes, 20, 0.5)
        >>> memory = archetype_memory(data, order=4, quality=0.5)
        >>> found = hopfield.retrieve(memory, data[:, 0])
        >>> hopfield.overlaps(found.state, archetypes).diagonal().min() > 0.9
        Array(True, dtype=bool)
    """
    data = jnp.asarray(examples)
    if data.ndim == 2:
        data = data[:, None]
    if data.ndim != 3 or 0 in data.shape:
        raise ValueError(
            "examples must have shape (archetypes, examples, spins) or (archetypes, "
            f"spins), with at least one of each; got {jnp.shape(examples)}."
        )
    data = checks.check_spins("examples", data)
    _, count, spins = data.shape
    ratio = checks.check_quality(quality) ** 2
    ratio = ratio * (1 + diluted.dataset_entropy(count, quality))
    scale = ratio ** (-order / 2) * float(spins) ** (1 - order)
    if teaching == "supervised":
        return LowRankTensor(jnp.mean(data, axis=1), scale, order)
    if teaching == "unsupervised":
        return LowRankTensor(data.reshape(-1, spins), scale / count, order)
    raise ValueError(
        f"teaching must be 'supervised' or 'unsupervised'; got {teaching!r}."
    )


def binarize(x: Any, threshold: ArrayLike) -> Float[Array, "*batch spins"]:
    """Make spins of real values: +1 above the threshold, else -1.

    Args:
        x: (..., spins).
        threshold: a number or (spins,).
    """
    x = checks.as_floating(jnp.asarray(x))
    return jnp.where(x > jnp.asarray(threshold), 1.0, -1.0).astype(x.dtype)


def archetypes_from_labels(
    spins: Any, labels: Any, classes: int
) -> Float[Array, "classes spins"]:
    """Return the sign of each class's mean, +1 where it is 0.

    Args:
        spins: (examples, spins) of -1 and +1.
        labels: (examples,), from 0 to classes - 1.
        classes: how many.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for other values.
    """
    spins = checks.check_spins("spins", spins)
    check_labels(labels, classes)
    sums = jax.ops.segment_sum(spins, jnp.asarray(labels), classes)
    return jnp.where(sums >= 0, 1.0, -1.0).astype(spins.dtype)


def magnetizations(
    memory: LowRankTensor,
    start: Any,
    *,
    beta: ArrayLike,
    load: ArrayLike | None = None,
    max_steps: int = 500,
) -> FixedPoint:
    """Iterate ``m_i <- tanh(beta h_i(m))``, the first order of Plefka's expansion.

    All spins at once and without draws: the fast way to an equilibrium.

    Args:
        memory: of :func:`archetype_memory`.
        start: (spins,), in [-1, 1].
        beta: the inverse temperature of the memory.
        load: gamma, for the second order: Onsager's reaction, ``-m (1 - q) b^2 load
            P (P - 1) / 2 q^(P-2)``, of Thouless, Anderson and Palmer; none if None.
        max_steps: the most updates.

    Works under jit, vmap and grad.

    Raises:
        ValueError: for a beta that is not positive, or a negative load.
    """
    beta, P = checks.check_beta(beta), memory.order
    b = scale_beta(beta, P)
    share = 0.0 if load is None else checks.check_load(load) * b**2 * P * (P - 1) / 2

    def update(m: Array) -> Array:
        q = jnp.mean(jnp.square(m))
        reaction = share * (1 - q) * q ** (P - 2) * m
        return jnp.tanh(beta * memory.mean_fields(m) - reaction)

    begin = checks.as_floating(jnp.asarray(start))
    return fixed_point(update, begin, max_steps=max_steps)


def tensor_noise_load(
    patterns: ArrayLike, noise: ArrayLike, spins: int, order: int
) -> Array:
    """Return the load that Gaussian noise in the couplings counts as.

    Of each pattern's products, ``prod xi + noise g`` with g independent: ``patterns
    noise^2 P! / (2 spins^(P - 1))``. Few patterns, ``spins^k`` of them, so bear noise
    of ``spins^((P - 1 - k) / 2)``.

    Args:
        patterns: (...), how many.
        noise: (...), its standard deviation.
        spins: of the memory.
        order: P, at least 2.

    Raises:
        ValueError: for an order below 2.
    """
    checks.check_count("order", order, 2)
    size = math.factorial(order) / 2 * float(spins) ** (1 - order)
    return jnp.asarray(patterns) * jnp.square(jnp.asarray(noise)) * size
