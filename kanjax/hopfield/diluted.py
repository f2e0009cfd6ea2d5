"""Memories of patterns with blank entries, which recall several patterns at once.

Source: Agliari, Alessandrelli, Barra, Ricci-Tersenghi (2023), Parallel learning by
multitasking neural networks, arXiv 2308.04106; the memory is that of Agliari et al.
(2012), Multitasking associative networks, Phys. Rev. Lett. 109.

Spins that the first pattern leaves free align with the next one, and so on. Patterns
are learned from noisy examples of them, with a teacher who says which examples belong
together, or without. Couplings are divided by ``(1 - dilution) (1 + entropy)
quality^2`` throughout: without it, all thresholds move with dilution and quality.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax.hopfield import checks
from kanjax.hopfield.couplings import LowRank

Teaching = Literal["supervised", "unsupervised"]


class Losses(NamedTuple):
    """Half the mean squared distance of a state to each pattern.

    Attributes:
        minus: (..., patterns), of the pattern itself.
        plus: (..., patterns), of its negative.
    """

    minus: Float[Array, "*chains patterns"]
    plus: Float[Array, "*chains patterns"]


def diluted_patterns(
    key: Array, patterns: int, spins: int, dilution: ArrayLike
) -> Float[Array, "patterns spins"]:
    """Draw independent entries: 0 with a probability, else -1 or +1 alike.

    Args:
        key: drives the draws.
        patterns: how many.
        spins: entries of each.
        dilution: (), the probability of 0, in [0, 1].

    Raises:
        ValueError: for a dilution out of range, or no pattern or spin.
    """
    dilution = checks.check_share("dilution", dilution)
    checks.check_count("patterns", patterns, 1)
    checks.check_count("spins", spins, 1)
    key_signs, key_blanks = jax.random.split(key)
    signs = jax.random.rademacher(key_signs, (patterns, spins), jnp.result_type(float))
    # A uniform number is below 1, never 1.
    blank = jax.random.uniform(key_blanks, signs.shape) < dilution
    return jnp.where(blank, 0, signs)


def noisy_examples(
    key: Array, patterns: Any, examples: int, quality: ArrayLike
) -> Float[Array, "patterns examples spins"]:
    """Draw examples: entries of patterns, kept with ``(1 + quality) / 2`` or turned.

    Args:
        key: drives the draws.
        patterns: (patterns, spins) of -1, 0 and +1.
        examples: how many of each pattern.
        quality: in (0, 1], the mean of an entry over that of its pattern.

    Raises:
        ValueError: for a quality out of range, other values, or no example.
    """
    patterns = _check_diluted("patterns", checks.check_patterns(patterns))
    quality = checks.check_quality(quality)
    checks.check_count("examples", examples, 1)
    shape = (patterns.shape[0], examples, patterns.shape[1])
    kept = jax.random.uniform(key, shape) < (1 + quality) / 2
    return jnp.where(kept, patterns[:, None], -patterns[:, None])


def dataset_entropy(examples: ArrayLike, quality: ArrayLike) -> Array:
    """``(1 - quality^2) / (examples quality^2)``, the paper's rho.

    An entry of a pattern is known from its examples as this vanishes.

    Args:
        examples: (...), how many of each pattern.
        quality: (...), in (0, 1].

    Raises:
        ValueError: for a quality out of range.
    """
    quality = checks.check_quality(quality)
    return (1 - quality**2) / (jnp.asarray(examples) * quality**2)


def multitask_memory(
    examples: Any,
    *,
    dilution: ArrayLike,
    quality: ArrayLike = 1.0,
    teaching: Teaching = "supervised",
) -> LowRank:
    """Learn from examples, with or without a teacher; a memory of the room.

    With one, ``J_ij`` sums over patterns the products of the means of their examples;
    without, it is the mean over examples of all their products. Both are over
    ``spins (1 - dilution) (1 + entropy) quality^2``. ``.couplings`` is J itself.

    Args:
        examples: (patterns, examples, spins) of -1, 0 and +1; (patterns, spins) are
            the patterns themselves, to be learned with quality 1.
        dilution: in [0, 1).
        quality: in (0, 1].
        teaching: "supervised" or "unsupervised".

    Works under jit, vmap and grad.

    Raises:
        ValueError: for arguments out of range, other values or an unknown teaching.

    Examples:
        >>> import jax
        >>> from kanjax import hopfield
        >>> patterns = diluted_patterns(jax.random.key(0), 3, 1000, 0.4)
        >>> data = noisy_examples(jax.random.key(1), patterns, 50, 0.6)
        >>> memory = multitask_memory(data, dilution=0.4, quality=0.6)
        >>> start = fill_blanks(jax.random.key(2), patterns[0])
        >>> state = hopfield.retrieve(memory, start).state
        >>> abs(hopfield.overlaps(state, patterns)).round(1)
        Array([0.6, 0.3, 0.1], dtype=float32)
    """
    data = jnp.asarray(examples)
    if data.ndim == 2:
        data = data[:, None]
    if data.ndim != 3 or 0 in data.shape:
        raise ValueError(
            "examples must have shape (patterns, examples, spins) or (patterns, spins)"
            f", with at least one of each; got {jnp.shape(examples)}."
        )
    data = _check_diluted("examples", data)
    dilution, quality = checks.check_dilution(dilution), checks.check_quality(quality)
    _, count, spins = data.shape
    entropy = dataset_entropy(count, quality)
    scale = 1 / (spins * (1 - dilution) * (1 + entropy) * quality**2)
    if teaching == "supervised":
        return LowRank(jnp.mean(data, axis=1), scale)
    if teaching == "unsupervised":
        return LowRank(data.reshape(-1, spins), scale / count)
    raise ValueError(
        f"teaching must be 'supervised' or 'unsupervised'; got {teaching!r}."
    )


def fill_blanks(key: Array, patterns: Any) -> Float[Array, "*batch spins"]:
    """Make spins of diluted patterns (..., spins): blanks become -1 or +1 at random.

    Args:
        key: of the signs.
        patterns: (..., spins) of -1, 0 and +1.
    """
    patterns = _check_diluted("patterns", jnp.asarray(patterns))
    signs = jax.random.rademacher(key, patterns.shape, patterns.dtype)
    return jnp.where(patterns == 0, signs, patterns)


def example_overlaps(
    state: Any, examples: Any, quality: ArrayLike
) -> Float[Array, "*chains patterns examples"]:
    """``examples @ state / (spins quality (1 + entropy))``.

    Their mean over examples is the overlap n with the mean of the examples.

    Args:
        state: (..., spins).
        examples: (patterns, examples, spins).
        quality: in (0, 1].

    Raises:
        ValueError: for a quality out of range.
    """
    data, quality = jnp.asarray(examples), checks.check_quality(quality)
    entropy = dataset_entropy(data.shape[1], quality)
    sums = jnp.einsum("...i,mai->...ma", jnp.asarray(state), data)
    return sums / (data.shape[-1] * quality * (1 + entropy))


def losses(state: Any, patterns: Any) -> Losses:
    """``|state -+ pattern|^2 / (2 spins)``: ``1 - blank / 2 -+ overlap``.

    Stored patterns have, with ``blank`` the share of blanks of each, and the diagonal
    of J included, the energy ``-spins / (2 (1 - dilution)) sum_mu ((1 - blank / 2)^2 -
    minus plus)``: what the memory minimises is a product of losses.

    Args:
        state: (..., spins) of -1 and +1.
        patterns: (patterns, spins) of -1, 0 and +1.

    Raises:
        ValueError: for other values, or widths that differ.
    """
    state = checks.check_spins("state", state)
    patterns = checks.check_patterns(patterns, state.shape[-1])
    patterns = _check_diluted("patterns", patterns)
    patterns = jnp.expand_dims(patterns, range(state.ndim - 1))

    def half_distance(sign: int) -> Array:
        difference = state[..., None, :] - sign * patterns
        return jnp.mean(jnp.square(difference), axis=-1) / 2

    return Losses(half_distance(1), half_distance(-1))


def _check_diluted(name: str, values: Array) -> Array:
    known = checks.known_values(values)
    if known is not None and not np.all(np.isin(known, (-1, 0, 1))):
        wrong = known[~np.isin(known, (-1, 0, 1))].flat[0]
        raise ValueError(f"{name} must hold -1, 0 and +1 only; got {wrong!s}.")
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))
