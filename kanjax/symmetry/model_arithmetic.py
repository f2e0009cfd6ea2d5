"""Sums, averages and regressions of networks from one start.

Task arithmetic: Ilharco et al. (2023), arXiv 2212.04089. TIES: Yadav et al. (2023),
arXiv 2306.01708. DARE: Yu et al. (2024), arXiv 2311.03099. RegMean: Jin et al. (2023),
arXiv 2212.09849. Soups: Wortsman et al. (2022), arXiv 2203.05482. Fisher-weighted
averages, with these as their baselines, are in :mod:`kanjax.symmetry.fisher_merging`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax import checks, pytrees
from kanjax.symmetry import fisher_merging
from kanjax.symmetry.regmean import collect_grams, layer_inputs, regmean_merge

__all__ = [
    "Soup",
    "apply_task_vectors",
    "collect_grams",
    "dare",
    "greedy_soup",
    "layer_inputs",
    "regmean_merge",
    "task_vector",
    "ties_merge",
    "uniform_soup",
]

Params = pytrees.Params


def task_vector(theta: Params, start: Params) -> Params:
    """Give what fine-tuning added to a network.

    Args:
        theta: the network after.
        start: the network before.

    Raises:
        TypeError: if parameters are not real floating point.
        ValueError: if the pytrees differ, naming the first path that does.
    """
    pytrees.check_same(theta, start, "theta", "start")
    return optax.tree.sub(theta, start)


def apply_task_vectors(
    start: Params, taus: Sequence[Params], scale: ArrayLike = 1.0
) -> Params:
    """Add task vectors to a network.

    An analogy "a is to b as c is to d" has the vectors (b, c, a) and scale (1, 1, -1).

    Args:
        start: the network before.
        taus: task vectors like it.
        scale: one for all, or (taus,); negative ones forget a task.

    Raises:
        TypeError: as :func:`task_vector` does.
        ValueError: as :func:`task_vector` does, or for scales that do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.symmetry import model_arithmetic as arithmetic
        >>> start, tuned = jnp.array([1.0, 1.0]), jnp.array([3.0, 0.0])
        >>> tau = arithmetic.task_vector(tuned, start)
        >>> arithmetic.apply_task_vectors(start, [tau], -0.5).tolist()
        [0.0, 1.5]
    """
    _check_taus(start, taus)
    scale = jnp.asarray(scale)
    if scale.shape not in ((), (len(taus),)):
        raise ValueError(
            f"scale has shape {scale.shape} for {len(taus)} task vectors; give a "
            "scalar, or one for each."
        )
    scales = jnp.broadcast_to(scale, (len(taus),))
    return pytrees.combine([1.0, *scales], [start, *taus])


def ties_merge(
    start: Params,
    taus: Sequence[Params],
    *,
    keep: float = 0.2,
    scale: ArrayLike = 1.0,
) -> Params:
    """Merge task vectors after trimming them and electing signs, and add the result.

    Of each vector only the largest entries stay. The sign of an entry's sum is elected,
    and those that have this sign are averaged.

    Args:
        start: the network before.
        taus: task vectors like it.
        keep: the share of entries, over the whole network, that stays; entries as
            large as the least of them stay as well.
        scale: (), what the merged vector is multiplied by.

    Raises:
        TypeError: as :func:`task_vector` does.
        ValueError: as :func:`task_vector` does, or if keep is not in (0, 1].
    """
    _check_taus(start, taus)
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be above 0 and at most 1; got {keep}.")
    vectors = jnp.stack([_ravel(tau) for tau in taus])
    size = jnp.abs(vectors)
    number = max(1, round(keep * size.shape[1]))
    least = lax.top_k(size, number)[0][:, -1:]
    trimmed = jnp.where(size >= least, vectors, 0.0)
    elected = jnp.sign(jnp.sum(trimmed, axis=0, keepdims=True))
    agree = (jnp.sign(trimmed) == elected) & (elected != 0)
    count = jnp.maximum(jnp.sum(agree, axis=0), 1)
    merged = jnp.sum(jnp.where(agree, trimmed, 0.0), axis=0) / count
    return pytrees.combine([1.0, scale], [start, _unravel(merged, start)])


def dare(tau: Params, drop: float, *, key: Array) -> Params:
    """Drop entries of a task vector at random and rescale the others.

    Its expectation is the vector; merge what is left by any other method.

    Args:
        tau: a task vector.
        drop: the probability that an entry becomes 0.
        key: draws which.

    Raises:
        TypeError: if the vector is not real floating point.
        ValueError: if drop is not in [0, 1).
    """
    checks.check_real(tau, "tau")
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be at least 0 and below 1; got {drop}.")
    leaves, structure = jax.tree.flatten(tau)
    keys = jax.random.split(key, len(leaves))
    thinned = [
        jnp.where(jax.random.bernoulli(k, drop, jnp.shape(leaf)), 0, leaf / (1 - drop))
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, thinned)


def uniform_soup(members: Sequence[Params]) -> Params:
    """Average networks, all alike.

    Args:
        members: networks of one structure.

    Raises:
        TypeError: as :func:`task_vector` does.
        ValueError: as :func:`task_vector` does, or if there is no network.
    """
    return fisher_merging.isotropic_merge(members)


class Soup(NamedTuple):
    """A mean of some of several networks.

    Attributes:
        params: the mean.
        members: (networks,), which are in it.
        score: what it scores.
        scores: (networks,), what each scores alone.
    """

    params: Params
    members: Bool[Array, " networks"]
    score: Float[Array, ""]
    scores: Float[Array, " networks"]


def greedy_soup(members: Sequence[Params], evaluate: Callable[[Params], Array]) -> Soup:
    """Average networks, from the best down, that do not lower the mean's score.

    Args:
        members: networks of one structure.
        evaluate: ``evaluate(params) -> scalar`` on validation data, higher is better;
            a network that scores NaN stays out.

    Raises:
        TypeError: as :func:`task_vector` does.
        ValueError: as :func:`task_vector` does, or if there is no network.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.symmetry import model_arithmetic as arithmetic
        >>> soup = arithmetic.greedy_soup(
        ...     [jnp.array(9.0), jnp.array(1.0), jnp.array(-2.0)], lambda t: -abs(t))
        >>> soup.members.tolist(), float(soup.params)
        ([False, True, True], -0.5)
    """
    fisher_merging.check_members(members, None)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    scores = lax.map(evaluate, stack)
    ranked = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    order = jnp.argsort(-ranked, stable=True)
    # Means of half precision would be rounded once a network.
    best = jax.tree.map(
        lambda leaf: leaf[order[0]].astype(jnp.promote_types(leaf.dtype, jnp.float32)),
        stack,
    )

    def narrow(mean: Params) -> Params:
        return jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), mean, stack)

    def stir(carry: Any, index: Array) -> tuple[Any, Array]:
        mean, count, score = carry
        share = 1 / (count + 1)
        new = jax.tree.map(lambda leaf: leaf[index], stack)
        tried = pytrees.combine([1 - share, share], [mean, new])
        value = evaluate(narrow(tried))
        better = value >= score
        pick = lambda a, b: jnp.where(better, a, b)  # noqa: E731
        return (
            jax.tree.map(pick, tried, mean),
            count + better,
            pick(value, score),
        ), better

    start = (best, jnp.array(1), ranked[order[0]])
    (mean, _, score), taken = lax.scan(stir, start, order[1:])
    inside = jnp.zeros(len(members), bool).at[order[0]].set(True)
    inside = inside.at[order[1:]].set(taken)
    return Soup(narrow(mean), inside, score, scores)


def _check_taus(start: Params, taus: Sequence[Params]) -> None:
    if len(taus) == 0:
        raise ValueError("taus is empty; give at least one task vector.")
    for i, tau in enumerate(taus):
        pytrees.check_same(start, tau, "start", f"taus[{i}]")


def _ravel(tree: Params) -> Float[Array, " size"]:
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)]
    dtype = jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
    return jnp.concatenate([leaf.astype(dtype) for leaf in leaves])


def _unravel(vector: Array, like: Params) -> Params:
    leaves, structure = jax.tree.flatten(like)
    sizes = [jnp.size(leaf) for leaf in leaves]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    pieces = jnp.split(vector, ends[:-1])
    shaped = [p.reshape(jnp.shape(v)) for p, v in zip(pieces, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)
