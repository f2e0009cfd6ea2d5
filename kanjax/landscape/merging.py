"""Merging networks into one, and repairing what averaging does to their activations.

Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin", arXiv 2209.04836, algorithm 3 (many
models); Jordan, Sedghi, Saukh, Entezari, Neyshabur 2022, "REPAIR: REnormalizing
Permuted Activations for Interpolation Repair", arXiv 2211.08403.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax import checks
from kanjax.landscape import matching, paths, permutations, pytrees, units

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
    spec: permutations.PermutationSpec,
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
        members: a pytree with a leading axis over networks, at least 2.
        max_rounds: passes over all networks.
        max_sweeps: of each matching.

    Works under jit and vmap.

    Raises:
        ValueError: if there are fewer than 2 networks, or the spec does not fit them.
    """
    count = jax.tree.leaves(members)[0].shape[0]
    if count < 2:
        raise ValueError(f"members holds {count} network; merging needs at least 2.")

    def align(i: Array, carry: Any) -> Any:
        members, changed = carry
        own = jax.tree.map(lambda v: v[i], members)
        others = jax.tree.map(
            lambda v: (jnp.sum(v, axis=0) - v[i]) / (count - 1), members
        )
        found = matching.match_weights(
            spec, others, own, max_sweeps=max_sweeps, solver=solver
        )
        members = jax.tree.map(lambda v, new: v.at[i].set(new), members, found.permuted)
        moved = [jnp.any(p != jnp.arange(p.size)) for p in found.permutation.values()]
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
    apart = jax.tree.map(lambda v, m: v - m, members, mean)
    spread = pytrees.inner(apart, apart)
    return Merged(mean, members, spread, rounds, ~changed)


def repair(
    layers: Sequence[units.Affine],
    a: Params,
    b: Params,
    x: Array,
    *,
    alpha: ArrayLike = 0.5,
) -> Params:
    """Interpolate two aligned networks and give their units back their statistics.

    A unit of the mean of two networks varies less than it does in either. For every
    layer in turn, mean and standard deviation of each unit's outputs on x are set to
    ``(1 - alpha) m_a + alpha m_b`` and ``(1 - alpha) s_a + alpha s_b``, with those of
    the interpolated network measured after all layers before it are repaired.

    Args:
        layers: from the input on; affine_layers(model) for our models.
        a: the one network, and b the other, aligned to it.
        x: the inputs that statistics are taken on.
        alpha: 0 gives a and 1 gives b.

    For a network with batch normalisation, recompute its running statistics instead.

    Works under jit, vmap and grad.

    Raises:
        ValueError: if a and b do not match, or a layer names a leaf that they lack.
    """
    pytrees.check_same(a, b, "a", "b")
    alpha = jnp.asarray(alpha)
    leaves = jax.tree_util.tree_leaves_with_path(a)
    place = {checks.path_name(path): i for i, (path, _) in enumerate(leaves)}
    _check_layers(layers, place)
    merged = paths.interpolate(a, b, alpha)
    for layer in layers:
        goals = [_statistics(layer.values(p, x)) for p in (a, b)]
        mean, deviation = (
            (1 - alpha) * first + alpha * last
            for first, last in zip(*goals, strict=True)
        )
        now, spread = _statistics(layer.values(merged, x))
        # A unit that has stopped varying has nothing to be scaled up.
        dead = spread == 0
        scale = jnp.where(dead, 1.0, deviation / jnp.where(dead, 1.0, spread))
        values, structure = jax.tree.flatten(merged)
        w, b_ = values[place[layer.weight]], values[place[layer.bias]]
        along = [1] * w.ndim
        along[layer.axis] = scale.size
        shifted = (layer.factor * b_ - now) * scale + mean
        values[place[layer.weight]] = (w * scale.reshape(along)).astype(w.dtype)
        values[place[layer.bias]] = (shifted / layer.factor).astype(b_.dtype)
        merged = jax.tree.unflatten(structure, values)
    return merged


def _statistics(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each unit over everything else."""
    flat = values.reshape(-1, values.shape[-1])
    flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
    mean = jnp.mean(flat, axis=0)
    largest = jnp.max(jnp.abs(flat), axis=0)
    unit = jnp.where(largest > 0, largest, 1.0)
    variance = jnp.mean(jnp.square((flat - mean) / unit), axis=0)
    # The root of 0 has no slope; a dead unit's deviation is 0 with slope 0. So is that
    # of one whose values differ by round-off alone.
    still = variance <= (10 * jnp.finfo(flat.dtype).eps) ** 2
    safe = jnp.where(still, 1.0, variance)
    return mean, jnp.where(still, 0.0, unit * jnp.sqrt(safe))


def _check_layers(layers: Sequence[units.Affine], place: dict[str, int]) -> None:
    for layer in layers:
        for leaf in (layer.weight, layer.bias):
            if leaf not in place:
                raise ValueError(
                    f"layers names the leaf {leaf!r}, which the parameters do not "
                    f"have; their leaves are {list(place)}."
                )
