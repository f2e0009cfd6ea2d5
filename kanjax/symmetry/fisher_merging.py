"""Averages of networks weighted by their Fisher information.

Matena, Raffel (2021), "Merging Models with Fisher-Weighted Averaging", arXiv
2111.09832. Each network stands for a Gaussian posterior whose precision is the diagonal
of its Fisher information; the average is where their joint likelihood is greatest.
Networks must come from one start, or be aligned first (:func:`kanjax.symmetry.merge`);
running statistics of a normalization are no parameters: recompute them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks, pytrees
from kanjax.symmetry.fisher_information import diagonal_fisher, stream_mean

__all__ = [
    "Search",
    "diagonal_fisher",
    "dirichlet_coeffs",
    "fisher_merge",
    "floored_share",
    "isotropic_merge",
    "laplace_logpdf",
    "merge_with_heads",
    "pairwise_grid",
    "replace_leaves",
    "search_coeffs",
    "select_leaves",
    "stream_mean",
]

Params = pytrees.Params
Select = Callable[[str], bool]
"""Whether the leaf at a path, as ``[0]['kernel']``, is merged."""


def fisher_merge(
    members: Sequence[Params],
    fishers: Sequence[Params],
    coeffs: ArrayLike | None = None,
    *,
    floor: float = 1e-6,
    relative_floor: bool = False,
    favor_target: bool = True,
    normalize: bool = True,
    select: Select | None = None,
) -> Params:
    """Average networks, each parameter weighted by its Fisher information.

    ``sum_m c_m F_m theta_m / sum_m c_m F_m``, entry by entry.

    Args:
        members: networks of one structure, the target first.
        fishers: their Fisher diagonals, see :func:`diagonal_fisher`, each of its own
            data.
        coeffs: (members,), at least 0; equal ones by default.
        floor: the least Fisher information, taken before all else. What has less in
            all networks is the target's, or with ``favor_target=False`` averaged.
        relative_floor: measures the floor in each network's root mean square of Fisher
            information, so that it fits networks trained to any loss.
        favor_target: gives the floor to the target alone.
        normalize: divides each Fisher diagonal by its norm over all merged leaves.
        select: which leaves are merged; the others are the target's.

    Returns:
        Like the target, in its dtypes. Where all weights are 0, the target's value.

    Raises:
        TypeError: if parameters are not real floating point.
        ValueError: if the pytrees differ, naming the first path that does; for a Fisher
            that is negative or not finite; for coefficients that are negative or all 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.symmetry import fisher_merging
        >>> members = [jnp.array([0.0]), jnp.array([4.0])]
        >>> fishers = [jnp.array([1.0]), jnp.array([3.0])]
        >>> fisher_merging.fisher_merge(members, fishers, normalize=False).tolist()
        [3.0]
    """
    coeffs = check_members(members, coeffs)
    if len(fishers) != len(members):
        raise ValueError(
            f"fishers has {len(fishers)} entries for {len(members)} members; give one "
            "for each."
        )
    for i, (member, fisher) in enumerate(zip(members, fishers, strict=True)):
        pytrees.check_same(member, fisher, f"members[{i}]", f"fishers[{i}]")
        _check_fisher(fisher, f"fishers[{i}]")
    if floor < 0:
        raise ValueError(f"floor must be at least 0; got {floor}.")
    target = select_leaves(members[0], select)
    weights = []
    for i, fisher in enumerate(fishers):
        values = jax.tree.map(_wide, select_leaves(fisher, select))
        size = _norm(values)
        least = _least(values, floor, relative_floor)
        if i == 0 or not favor_target:
            values = jax.tree.map(lambda f, low=least: jnp.maximum(f, low), values)
        scale = jnp.where(size > 0, size, 1.0) if normalize else 1.0
        weights.append(
            jax.tree.map(lambda f, c=coeffs[i], s=scale: c * (f / s), values)
        )
    bodies = [select_leaves(member, select) for member in members]
    merged = {
        path: _weighted(
            [body[path] for body in bodies], [weight[path] for weight in weights]
        )
        for path in target
    }
    return replace_leaves(members[0], merged)


def isotropic_merge(
    members: Sequence[Params],
    coeffs: ArrayLike | None = None,
    *,
    select: Select | None = None,
) -> Params:
    """Average networks, every parameter weighted alike: all Fisher information is 1.

    Args:
        members: networks of one structure, the target first.
        coeffs: (members,), at least 0, divided by their sum; equal ones by default.
        select: which leaves are merged; the others are the target's.

    Raises:
        TypeError: as :func:`fisher_merge` does.
        ValueError: as :func:`fisher_merge` does.
    """
    ones = [jax.tree.map(jnp.ones_like, member) for member in members]
    return fisher_merge(members, ones, coeffs, normalize=False, select=select)


def merge_with_heads(
    target: Params,
    donors: Sequence[Params],
    select_body: Select,
    *,
    fishers: Sequence[Params] | None = None,
    coeffs: ArrayLike | None = None,
    **options: Any,
) -> Params:
    """Merge the bodies of networks whose heads differ; the head is the target's.

    Args:
        target: the network that is improved.
        donors: others, whose leaves in the body have the target's paths and shapes.
        select_body: which paths belong to the body.
        fishers: of the target and of each donor; None averages all alike.
        coeffs: (1 + donors,), the target's first; equal ones by default.
        **options: of :func:`fisher_merge`.

    Raises:
        ValueError: if no leaf is selected, or bodies differ, as :func:`fisher_merge`.
    """
    bodies = [select_leaves(member, select_body) for member in (target, *donors)]
    if not bodies[0]:
        raise ValueError(
            "select_body chooses no leaf of the target; its paths are "
            f"{list(select_leaves(target))}."
        )
    if fishers is None:
        return replace_leaves(target, isotropic_merge(bodies, coeffs))
    information = [select_leaves(fisher, select_body) for fisher in fishers]
    merged = fisher_merge(bodies, information, coeffs, **options)
    return replace_leaves(target, merged)


def select_leaves(params: Params, select: Select | None = None) -> dict[str, Array]:
    """Take leaves by their paths, as a pytree that any merge takes.

    Args:
        params: any pytree.
        select: ``select(path)`` with paths as Python writes them; None takes all.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    named = ((checks.path_name(path), leaf) for path, leaf in leaves)
    return {path: leaf for path, leaf in named if select is None or select(path)}


def replace_leaves(params: Params, leaves: dict[str, Array]) -> Params:
    """Put leaves in the places that their paths name.

    Args:
        params: any pytree.
        leaves: new leaves (...) by path; all others stay.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaves.get(checks.path_name(path), leaf), params
    )


def floored_share(
    fisher: Params,
    *,
    floor: float = 1e-6,
    relative_floor: bool = False,
    select: Select | None = None,
) -> Float[Array, ""]:
    """Give the share of entries whose Fisher information is below the floor.

    Near 1 for the target's or all donors' Fisher, a merge is the target nearly
    everywhere, and a relative floor or a lower one is called for.

    Args:
        fisher: a Fisher diagonal.
        floor: as for :func:`fisher_merge`.
        relative_floor: as for :func:`fisher_merge`.
        select: as for :func:`fisher_merge`.
    """
    values = jax.tree.map(_wide, select_leaves(fisher, select))
    least = _least(values, floor, relative_floor)
    below = sum(jnp.sum(f < least) for f in values.values())
    return jnp.asarray(below) / sum(f.size for f in values.values())


def laplace_logpdf(theta: Params, mean: Params, precision: Params) -> Float[Array, ""]:
    """Evaluate the log density of a Gaussian with a diagonal precision matrix.

    Args:
        theta: where.
        mean: like ``theta``.
        precision: like ``theta``, positive.

    Raises:
        ValueError: if the pytrees differ.
    """
    pytrees.check_same(theta, mean, "theta", "mean")
    pytrees.check_same(theta, precision, "theta", "precision")

    def leaf(t: Array, m: Array, p: Array) -> Array:
        t, m, p = _wide(t), _wide(m), _wide(p)
        return jnp.sum(jnp.log(p) - np.log(2 * np.pi) - p * (t - m) ** 2) / 2

    terms = jax.tree.leaves(jax.tree.map(leaf, theta, mean, precision))
    return jnp.sum(jnp.stack(terms))


class Search(NamedTuple):
    """Merges for many coefficients.

    Attributes:
        coeffs: (members,), those of the best score.
        score: the best one.
        scores: (points,), of all; NaN where the score was.
        index: which is best.
    """

    coeffs: Float[Array, " members"]
    score: Float[Array, ""]
    scores: Float[Array, " points"]
    index: Int[Array, ""]


def search_coeffs(
    merge: Callable[[Array], Params],
    evaluate: Callable[[Params], Array],
    coeffs: ArrayLike,
    *,
    points_at_once: int = 8,
) -> Search:
    """Score the merges for many coefficients and take the best.

    Args:
        merge: ``merge(coeffs) -> params``.
        evaluate: ``evaluate(params) -> scalar`` on validation data, higher is better;
            NaN is never best.
        coeffs: (points, members), such as :func:`pairwise_grid` gives.
        points_at_once: how many merged networks are held.

    Raises:
        ValueError: if there are no coefficients, or below one point at once.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.symmetry import fisher_merging
        >>> members = [jnp.array(0.0), jnp.array(1.0)]
        >>> found = fisher_merging.search_coeffs(
        ...     lambda c: fisher_merging.isotropic_merge(members, c),
        ...     lambda theta: -((theta - 0.75) ** 2), fisher_merging.pairwise_grid(5))
        >>> found.coeffs.tolist()
        [0.25, 0.75]
    """
    coeffs = jnp.asarray(coeffs)
    if coeffs.ndim != 2 or len(coeffs) == 0:
        raise ValueError(f"coeffs must be (points, members); got {coeffs.shape}.")
    if points_at_once < 1:
        raise ValueError(f"points_at_once must be at least 1; got {points_at_once}.")
    scores = lax.map(
        lambda c: evaluate(merge(c)),
        coeffs,
        batch_size=min(points_at_once, len(coeffs)),
    )
    index = jnp.argmax(jnp.where(jnp.isnan(scores), -jnp.inf, scores))
    return Search(coeffs[index], scores[index], scores, index)


def pairwise_grid(points: int) -> Float[Array, "points 2"]:
    """Give coefficients (a, 1 - a) with a from 1 to 0, both included.

    Args:
        points: how many, at least 2.

    Raises:
        ValueError: for fewer than 2.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, for both ends; got {points}.")
    first = jnp.linspace(1.0, 0.0, points)
    return jnp.stack([first, 1 - first], axis=1)


def dirichlet_coeffs(
    key: Array, members: int, points: int
) -> Float[Array, "points members"]:
    """Draw coefficients uniformly from the simplex.

    Args:
        key: draws them.
        members: how many networks.
        points: how many coefficients for each.
    """
    return jax.random.dirichlet(key, jnp.ones(members), (points,))


def _weighted(leaves: Sequence[ArrayLike], weights: Sequence[Array]) -> Array:
    """Return the weighted mean, as the target plus what the others add: exact where
    equal.
    """
    dtype = jnp.result_type(leaves[0])
    target = _wide(leaves[0])
    total = sum(weights[1:], weights[0])
    safe = jnp.where(total > 0, total, 1.0)
    pull = jnp.zeros_like(target)
    for leaf, weight in zip(leaves[1:], weights[1:], strict=True):
        pull = pull + (weight / safe) * (_wide(leaf) - target)
    return (target + pull).astype(dtype)


def _norm(values: dict[str, Array]) -> Float[Array, ""]:
    """Return the Euclidean norm; squares of tiny Fisher information would vanish."""
    largest = jnp.max(jnp.stack([jnp.max(f, initial=0.0) for f in values.values()]))
    unit = jnp.where(largest > 0, largest, 1.0)
    return unit * pytrees.norm(jax.tree.map(lambda f: f / unit, values))


def _least(
    values: dict[str, Array], floor: float, relative: bool
) -> Float[Array, ""] | float:
    if not relative:
        return floor
    count = sum(f.size for f in values.values())
    return floor * _norm(values) / np.sqrt(count)


def _wide(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def check_members(members: Sequence[Params], coeffs: ArrayLike | None) -> Array:
    """Let only networks of one structure pass, and give their coefficients.

    Args:
        members: at least one network.
        coeffs: (members,), at least 0 and not all 0, or None for equal ones.

    Raises:
        TypeError: if parameters are not real floating point.
        ValueError: if the pytrees differ, or coefficients do not fit.
    """
    if len(members) == 0:
        raise ValueError("members is empty; give at least one network.")
    for i, member in enumerate(members):
        pytrees.check_same(members[0], member, "members[0]", f"members[{i}]")
    count = len(members)
    values = jnp.full(count, 1 / count) if coeffs is None else jnp.asarray(coeffs)
    if values.shape != (count,):
        raise ValueError(
            f"coeffs has shape {values.shape} for {count} members; give one for each."
        )
    if pytrees.concrete(values):
        known = np.asarray(values, np.float64)
        if not np.all(np.isfinite(known) & (known >= 0)) or known.sum() == 0:
            raise ValueError(
                f"coeffs is {known.tolist()}; coefficients must be at least 0, finite "
                "and not all 0."
            )
    return values


def _check_fisher(fisher: Params, name: str) -> None:
    if not pytrees.concrete(fisher):
        return
    for path, leaf in select_leaves(fisher).items():
        known = np.asarray(leaf, np.float64)
        if not np.all(np.isfinite(known) & (known >= 0)):
            raise ValueError(
                f"{name} at {path} has entries that are negative or not finite; a "
                "Fisher diagonal is a mean of squares. Look at the network's outputs, "
                "or leave the leaf out by select."
            )
