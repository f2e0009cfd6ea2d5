"""Which unit of one network computes what a unit of another does.

Li, Yosinski, Clune, Lipson, Hopcroft (2016), "Convergent Learning: Do different neural
networks learn the same representations?", arXiv 1511.07543, section 3. A score between
two units is their correlation or their mutual information
(:mod:`kanjax.representation.unit_information`); chance is not 0, as the best of many is
biased upwards: hold scores against those of untrained networks or shuffled samples.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax import linalg, taps
from kanjax.representation import samples, similarity
from kanjax.scales import safe_scale


class Correlations(NamedTuple):
    """Correlations in and between the units of two networks.

    Those of a dead unit, which hardly varies, are 0.

    Attributes:
        x: (p, p) in the first.
        y: (q, q) in the second.
        xy: (p, q) between them.
        live_x: (p,) whether a unit of the first varies.
        live_y: (q,) whether a unit of the second does.
    """

    x: Float[Array, "p p"]
    y: Float[Array, "q q"]
    xy: Float[Array, "p q"]
    live_x: Bool[Array, " p"]
    live_y: Bool[Array, " q"]


class Pairs(NamedTuple):
    """Units of one network with partners in the other.

    Attributes:
        x: (pairs,) units of the first network, in order.
        y: (pairs,) the partner of each.
        scores: (pairs,) of each pair.
    """

    x: Int[Array, " pairs"]
    y: Int[Array, " pairs"]
    scores: Float[Array, " pairs"]


class Summary(NamedTuple):
    """How well the units of two networks match, over those that are live.

    Attributes:
        bipartite: (pairs,) scores of a matching without replacement, from the best
            down.
        semi: (p,) scores of each unit's best partner, from the best down.
        mean_bipartite: mean over pairs.
        mean_semi: mean over units of the first; no less than ``mean_bipartite`` if no
            unit is dead and p <= q.
        unaligned: mean correlation of units of the same index; NaN if p and q differ.
        closest_in_x: mean over the first network's units of the largest magnitude of
            correlation with another of its units, a yardstick.
        dead: how many units of the first and the second do not vary.
    """

    bipartite: Float[Array, " pairs"]
    semi: Float[Array, " p"]
    mean_bipartite: Float[Array, ""]
    mean_semi: Float[Array, ""]
    unaligned: Float[Array, ""]
    closest_in_x: Float[Array, ""]
    dead: tuple[Int[Array, ""], Int[Array, ""]]


class Convergence(NamedTuple):
    """How alike several networks are in one layer.

    Attributes:
        bipartite: (nets, nets) mean matched correlation, 1 on the diagonal.
        semi: (nets, nets) mean correlation of each unit's best partner in the other.
        cka: (nets, nets) linear CKA, debiased.
    """

    bipartite: Float[Array, "nets nets"]
    semi: Float[Array, "nets nets"]
    cka: Float[Array, "nets nets"]


def stream_pairs(batches: Iterable[tuple[ArrayLike, ArrayLike]]) -> taps.Moments:
    """Take the moments of both networks' units together, one batch at a time.

    Args:
        batches: pairs of activations (..., p) and (..., q) on the same samples.

    Raises:
        ValueError: if there is no batch, or one whose samples differ in number.
    """
    pairs = (samples.as_pair(x, y) for x, y in batches)
    return taps.stream(jnp.concatenate(pair, axis=1) for pair in pairs)


def correlations(moments: taps.Moments, units: int) -> Correlations:
    """Return all correlations of two networks' units.

    A unit is dead whose deviation is at most 1e-6 of its layer's median one, or round-
    off of its mean.

    Args:
        moments: of both networks' units side by side, as :func:`stream_pairs` gives.
        units: p, how many are the first network's.

    Raises:
        ValueError: if moments have no covariances, or no unit is left for the second.
    """
    total = moments.mean.shape[0]
    if moments.scatter.ndim != 2:
        raise ValueError("moments are diagonal; correlations need their covariance.")
    if not 1 <= units < total:
        raise ValueError(
            f"units is {units}; of {total} in all, both networks must have some."
        )
    variance = jnp.diagonal(moments.scatter) / moments.count
    deviation = jnp.sqrt(variance)
    tiny = 10 * jnp.finfo(variance.dtype).eps * jnp.abs(moments.mean)

    def is_live(where: slice) -> Array:
        floor = 1e-6 * jnp.median(deviation[where])
        # Written so that NaN counts as live, and is seen.
        return ~(deviation[where] <= jnp.maximum(floor, tiny[where]))

    live = jnp.concatenate([is_live(slice(units)), is_live(slice(units, None))])
    scale = jnp.where(live, 1 / jnp.where(live, deviation, 1.0), 0.0)
    # One unit after the other, or small deviations would overflow together.
    table = moments.scatter / moments.count * scale[:, None] * scale[None, :]
    return Correlations(
        table[:units, :units],
        table[units:, units:],
        table[:units, units:],
        live[:units],
        live[units:],
    )


def correlate(x: ArrayLike, y: ArrayLike) -> Correlations:
    """Return all correlations of two networks' units on samples that are all here.

    Args:
        x: (..., p) activations; all axes but the last are samples.
        y: (..., q) on the same samples.

    Raises:
        ValueError: if samples differ in number.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.representation import unit_matching
        >>> x = jnp.array([[0.0, 1.0], [1.0, 0.0], [3.0, 1.0]])
        >>> c = unit_matching.correlate(x, 2 * x[:, ::-1] + 1)
        >>> unit_matching.bipartite_matching(c.xy).y
        Array([1, 0], dtype=int32)
    """
    x, y = samples.as_pair(x, y)
    # Correlations have no units: each layer's largest value is 1, so that squares
    # neither vanish nor overflow.
    layers = [layer / safe_scale(layer) for layer in (x, y)]
    return correlations(taps.measure(jnp.concatenate(layers, axis=1)), x.shape[1])


def semi_matching(scores: Float[Array, "p q"]) -> Pairs:
    """Give each unit its best partner; several may share a partner.

    Args:
        scores: (p, q), such as signed correlations. Of magnitudes, a unit would be
            paired with its opposite.
    """
    best = jnp.argmax(scores, axis=1).astype(jnp.int32)
    units = jnp.arange(scores.shape[0], dtype=jnp.int32)
    return Pairs(units, best, scores[units, best])


def bipartite_matching(
    scores: Float[Array, "p q"], *, solver: Literal["host", "device"] = "host"
) -> Pairs:
    """Pair units one to one so that the sum of scores is greatest.

    Works under jit and vmap; scores of the pairs can be differentiated.

    Args:
        scores: (p, q); min(p, q) pairs come out.
        solver: as for :func:`kanjax.linalg.linear_assignment`.

    Raises:
        ValueError: for an unknown solver.
    """
    p, q = scores.shape
    if p <= q:
        x = jnp.arange(p, dtype=jnp.int32)
        y = linalg.linear_assignment(scores, maximize=True, solver=solver)
    else:
        rows = linalg.linear_assignment(scores.T, maximize=True, solver=solver)
        y = jnp.argsort(rows).astype(jnp.int32)
        x = rows[y]
    return Pairs(x, y, scores[x, y])


def summarize(
    table: Correlations,
    scores: Float[Array, "p q"] | None = None,
    *,
    solver: Literal["host", "device"] = "host",
) -> Summary:
    """Match two networks' units in both ways, and say how well it went.

    Args:
        table: of :func:`correlate` or :func:`correlations`.
        scores: (p, q), what to match by; signed correlations if None.
        solver: as for :func:`kanjax.linalg.linear_assignment`.
    """
    scores = table.xy if scores is None else scores
    # A dead unit matches at 0 like any other that has nothing in common with a live.
    alive = table.live_x[:, None] & table.live_y[None, :]
    scores = jnp.where(alive, scores, 0.0)
    pairs = bipartite_matching(scores, solver=solver)
    semi = semi_matching(scores)
    live = jnp.sum(table.live_x), jnp.sum(table.live_y)
    p, q = scores.shape
    others = jnp.abs(table.x) * (1 - jnp.eye(p))
    return Summary(
        -jnp.sort(-pairs.scores),
        -jnp.sort(-semi.scores),
        jnp.sum(pairs.scores) / jnp.minimum(*live),
        jnp.sum(semi.scores) / live[0],
        jnp.trace(table.xy) / jnp.minimum(*live) if p == q else jnp.array(jnp.nan),
        jnp.sum(jnp.max(others, axis=1)) / live[0],
        (p - live[0], q - live[1]),
    )


def compare_networks(
    values: Sequence[ArrayLike], *, solver: Literal["host", "device"] = "host"
) -> Convergence:
    """Compare a layer of every network with that of every other.

    One program for networks of the same width, and one for each pair of widths; both
    are compiled once.

    Args:
        values: (..., units) of each network on the same samples, such as one entry of
            :func:`kanjax.taps.record`.
        solver: as for :func:`kanjax.linalg.linear_assignment`.

    Raises:
        ValueError: if there are no two networks, or samples differ in number.
    """
    if len(values) < 2:
        raise ValueError(f"values has {len(values)} networks; give at least 2.")
    layers = [samples.as_rows(v, f"values[{i}]") for i, v in enumerate(values)]
    if len({layer.shape for layer in layers}) == 1:
        return _compare_stack(jnp.stack(layers), solver=solver)
    pairs = [_compare_pair(x, y, solver=solver) for x in layers for y in layers]
    count = len(layers)
    return jax.tree.map(lambda *v: jnp.stack(v).reshape(count, count), *pairs)


@functools.partial(jax.jit, static_argnames="solver")
def _compare_pair(
    x: Float[Array, "samples p"],
    y: Float[Array, "samples q"],
    *,
    solver: Literal["host", "device"],
) -> Convergence:
    summary = summarize(correlate(x, y), solver=solver)
    cka = similarity.linear_cka(x, y, debiased=True)
    return Convergence(summary.mean_bipartite, summary.mean_semi, cka)


@functools.partial(jax.jit, static_argnames="solver")
def _compare_stack(
    layers: Float[Array, "nets samples units"], *, solver: Literal["host", "device"]
) -> Convergence:
    """Compare all pairs in one program, a network's with all others at once."""
    compare = functools.partial(_compare_pair, solver=solver)
    return jax.lax.map(lambda x: jax.vmap(compare, (None, 0))(x, layers), layers)
