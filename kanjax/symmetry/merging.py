"""Merging many networks into one.

Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin", arXiv 2209.04836, algorithm 3.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import pytrees
from kanjax.symmetry import matching, specs

Params = pytrees.Params

# As in the authors' code: added to the variance, as batch normalisation does.


class Merged(NamedTuple):
    """Networks aligned to one another.

    Attributes:
        params: their mean after alignment.
        members: the aligned networks, with a leading axis.
        spread: the sum of their squared distances from the mean.
        rounds: passes over all networks.
        converged: whether the last pass changed nothing.
    """

    params: Params
    members: Params
    spread: Float[Array, ""]
    rounds: Int[Array, ""]
    converged: Bool[Array, ""]


def merge(
    spec: specs.PermutationSpec,
    members: Params,
    *,
    max_rounds: int = 50,
    max_sweeps: int = 100,
    solver: Literal["host", "device"] = "host",
) -> Merged:
    """Align many networks to one another and take their mean.

    In turn, each network's units are matched to the mean of all others, until a round
    improves nothing. Each step lowers the spread or leaves it, so it ends.

    Args:
        spec: which axes are permuted together.
        members: a pytree with a leading axis over networks, at least 2.
        max_rounds: passes over all networks.
        max_sweeps: of each matching.
        solver: as for :func:`kanjax.linalg.linear_assignment`.

    Works under jit and vmap.

    Raises:
        ValueError: if there are fewer than 2 networks, or the spec does not fit them.
    """
    count = jax.tree.leaves(members)[0].shape[0]
    if count < 2:
        raise ValueError(f"members holds {count} network; merging needs at least 2.")

    def align(i: Array, carry: Any) -> Any:
        members, changed = carry
        member = jax.tree.map(lambda v: v[i], members)
        others = jax.tree.map(
            lambda v: (jnp.sum(v, axis=0) - v[i]) / (count - 1), members
        )
        aligned = matching.match_weights(
            spec, others, member, max_sweeps=max_sweeps, solver=solver
        )
        members = jax.tree.map(
            lambda v, new: v.at[i].set(new), members, aligned.permuted
        )
        moved = [jnp.any(p != jnp.arange(p.size)) for p in aligned.permutation.values()]
        return members, changed | jnp.any(jnp.stack(moved)) if moved else changed

    def round_(carry: Any) -> Any:
        members, rounds, _ = carry
        first = (members, jnp.array(False))
        members, changed = jax.lax.fori_loop(0, count, align, first)
        return members, rounds + 1, changed

    members, rounds, changed = jax.lax.while_loop(
        lambda carry: carry[2] & (carry[1] < max_rounds),
        round_,
        (members, jnp.array(0, jnp.int32), jnp.array(True)),
    )
    mean = jax.tree.map(lambda v: jnp.mean(v, axis=0), members)
    deviations = jax.tree.map(lambda v, m: v - m[None], members, mean)
    spread = pytrees.inner(deviations, deviations)
    return Merged(mean, members, spread, rounds, ~changed)
