"""Merging units that are alike, two at a time; shapes stay.

The steps of iterative feature merging: Chen, Zhou, Yan (2023), arXiv 2310.06756, of
which :mod:`kanjax.representation.feature_merging` makes smaller networks.
"""

import functools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax.representation import samples, unit_pruning

if TYPE_CHECKING:
    from kanjax.symmetry import PermutationSpec

Params = Any
Rule = Literal["sum_out", "sum_in"]
"""Which weights of merged units add up; the others are averaged."""


class Merges(NamedTuple):
    """The merges in their order, with room for as many as there are units.

    Attributes:
        group: which set of units, by its place in the spec; -1 after the last merge.
        pair: the two units; the first stands for both from then on.
        distance: squared, of their weights.
        largest: of any two units of the set at that time.
    """

    group: Int[Array, " units"]
    pair: Int[Array, "units 2"]
    distance: Float[Array, " units"]
    largest: Float[Array, " units"]


class Masked(NamedTuple):
    """A network with merged units, of the shapes that it had.

    Attributes:
        params: zeros in place of units that others stand for.
        counts: for each set of units, how many each stands for; 0 if another does.
        owners: for each set of units, which stands for each.
        merges: what was merged, in order.
    """

    params: Params
    counts: dict[str, Float[Array, " units"]]
    owners: dict[str, Int[Array, " units"]]
    merges: Merges


def unit_distances(
    params: Params, spec: "PermutationSpec", name: str
) -> Float[Array, "units units"]:
    """Return the squared distances of the units' weights.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        name: of a set of units.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit.
    """
    return _distances(unit_pruning.unit_vectors(params, spec, name))


def merge_pair(
    params: Params,
    spec: "PermutationSpec",
    name: str,
    pair: tuple[int | Array, int | Array],
    counts: Float[Array, " units"],
    *,
    rule: Rule = "sum_out",
    channel_axis: int = -1,
) -> tuple[Params, Float[Array, " units"]]:
    """Let a unit stand for two, and zeros for the other; shapes stay.

    Weights that add up are summed, the others averaged by the units' counts. With
    "sum_out" equal units merge without a change of outputs whatever the activation;
    with "sum_in", the published rule, if it is positively homogeneous (ReLU).

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        name: of a set of units.
        pair: the unit that will stand for both, and the other.
        counts: (units,), how many units each stands for.
        rule: which weights add up: those that go out or those that come in.
        channel_axis: of a leaf with several axes, the one of output channels: the last
            in kanjax and flax, 0 in equinox.

    Returns:
        The parameters, and the counts after the merge.

    Raises:
        ValueError: if the spec has no such name, or counts blocks with it,
            or does not fit; or for an unknown rule.
    """
    _check_rule(rule)
    leaves, structure = jax.tree.flatten(params)
    i, j = pair
    total = counts[i] + counts[j]
    for place, axis in unit_pruning.unit_places(params, spec, name):
        rank = len(spec.axes[place][1])
        comes_in = rank == 1 or axis == channel_axis % rank
        leaf = jnp.moveaxis(jnp.asarray(leaves[place]), axis, 0)
        if comes_in == (rule == "sum_in"):
            merged = leaf[i] + leaf[j]
        else:
            merged = (counts[i] * leaf[i] + counts[j] * leaf[j]) / total
        leaf = leaf.at[i].set(merged.astype(leaf.dtype)).at[j].set(0)
        leaves[place] = jnp.moveaxis(leaf, 0, axis)
    return jax.tree.unflatten(structure, leaves), counts.at[i].set(total).at[j].set(0)


@functools.partial(
    jax.jit, static_argnames=("spec", "max_ratio", "rule", "exclude", "channel_axis")
)
def merge_masked(
    params: Params,
    spec: "PermutationSpec",
    *,
    beta: float | Array = 0.1,
    max_ratio: float = 1.0,
    rule: Rule = "sum_out",
    exclude: tuple[str, ...] = (),
    channel_axis: int = -1,
) -> Masked:
    """Merge units in turn until none are alike; shapes stay.

    Iterative feature merging: in each round every set of units merges its nearest two,
    if their squared distance is at most ``beta`` times the largest of its units at that
    time. Compiled once a spec; works under ``vmap``, over networks and over betas.
    Each merge takes time in proportion to the units' weights and their pairs.

    Args:
        params: parameters that the spec fits.
        spec: which axes count which units.
        beta: in [0, 1).
        max_ratio: no more rounds than this share of a set's units.
        rule: as for :func:`merge_pair`.
        exclude: sets of units that stay, such as those with blocks.
        channel_axis: as for :func:`merge_pair`.

    Returns:
        Parameters that the network takes as before. Under an activation that is not 0
        at 0 their zeros do no harm: no weight goes out of those units.

    Raises:
        ValueError: as :func:`merge_pair`, or if nothing is left to merge.
    """
    _check_rule(rule)
    groups = [i for i, (name, _) in enumerate(spec.sizes) if name not in exclude]
    if not groups:
        raise ValueError(
            f"there are no units to merge: spec has {spec.names}, exclude {exclude}."
        )
    sizes = dict(spec.sizes)
    dtype = jnp.promote_types(jnp.result_type(*jax.tree.leaves(params)), jnp.float32)
    most = sum(sizes.values())
    empty = Merges(
        jnp.full(most, -1),
        jnp.zeros((most, 2), int),
        jnp.zeros(most, dtype),
        jnp.zeros(most, dtype),
    )
    start = Masked(
        params,
        {name: jnp.ones(size, dtype) for name, size in spec.sizes},
        {name: jnp.arange(size) for name, size in spec.sizes},
        empty,
    )

    def turn(group: int, carry: Any) -> Any:
        state, tables, number, now = carry
        name, size = spec.sizes[group]
        alive = state.counts[name] > 0
        # Of each pair once, without the diagonal's zeros and units that are gone.
        is_pair = jnp.triu(alive[:, None] & alive[None, :], 1)
        nearest = jnp.argmin(jnp.where(is_pair, tables[name], jnp.inf))
        i, j = jnp.divmod(nearest, size)
        largest = jnp.max(jnp.where(is_pair, tables[name], 0))
        # By differences: the table has lost digits where two are nearly equal.
        vectors = unit_pruning.unit_vectors(state.params, spec, name)
        distance = jnp.sum((vectors[i] - vectors[j]) ** 2)
        is_like = (distance <= beta * largest) & is_pair[i, j]
        goes = is_like & (now < max_ratio * size)

        def merge() -> Any:
            merged, counts = merge_pair(
                state.params,
                spec,
                name,
                (i, j),
                state.counts[name],
                rule=rule,
                channel_axis=channel_axis,
            )
            owners = state.owners[name]
            entry = Merges(jnp.array(group), jnp.stack([i, j]), distance, largest)
            after = Masked(
                merged,
                {**state.counts, name: counts},
                {**state.owners, name: jnp.where(owners == j, i, owners)},
                jax.tree.map(lambda v, e: v.at[number].set(e), state.merges, entry),
            )
            fresh = _update_tables(spec, tables, name, (i, j), state.params, merged)
            return after, fresh, number + 1, now

        return jax.lax.cond(goes, merge, lambda: carry)

    def round_(carry: Any) -> Any:
        *rest, _ = carry
        before = rest[2]
        for group in groups:
            rest = turn(group, tuple(rest))
        state, tables, number, now = rest
        return state, tables, number, now + 1, number > before

    tables = {
        name: _distances(unit_pruning.unit_vectors(params, spec, name))
        for name in (spec.sizes[group][0] for group in groups)
    }
    zero = jnp.zeros((), int)
    first = (start, tables, zero, zero, jnp.array(True))
    return jax.lax.while_loop(lambda carry: carry[-1], round_, first)[0]


def _distances(vectors: Array) -> Array:
    # About their mean: less is lost where large vectors differ by little.
    centered = vectors - jnp.mean(vectors, axis=0, keepdims=True)
    squares = jnp.sum(centered**2, axis=1)
    products = samples.matmul(centered, centered.T)
    table = squares[:, None] + squares[None, :] - 2 * products
    return jnp.where(jnp.eye(len(table), dtype=bool), 0.0, jnp.maximum(table, 0.0))


def _update_tables(
    spec: "PermutationSpec",
    tables: dict[str, Array],
    name: str,
    pair: tuple[Array, Array],
    before: Params,
    after: Params,
) -> dict[str, Array]:
    """Bring all distances up to date after a merge in one set of units.

    In the set's table one unit has moved. A neighbor's table is a sum over weights:
    those at the two merged units are taken out of it, and those at the new unit added.
    """
    i, j = pair
    places = unit_pruning.unit_places(after, spec, name)
    vectors = unit_pruning.unit_vectors(after, spec, name)
    if len({place for place, _ in places}) < len(places):
        # A leaf from these units to themselves: all of them have moved.
        table = _distances(vectors)
    else:
        row = jnp.sum((vectors - vectors[i][None]) ** 2, axis=1)
        table = tables[name].at[i].set(row).at[:, i].set(row)
    old, new = jax.tree.leaves(before), jax.tree.leaves(after)
    fresh = {**tables, name: table}
    for other in (key for key in tables if key != name):
        for place, axis in unit_pruning.unit_places(after, spec, other):
            for there in (a for p, a in places if p == place):
                was, now = (
                    jnp.moveaxis(leaves[place], (there, axis), (0, 1))
                    for leaves in (old, new)
                )
                gone = _differences(was[i]) + _differences(was[j])
                change = _differences(now[i]) - gone
                fresh[other] = jnp.maximum(fresh[other] + change, 0)
    return fresh


def _differences(x: Float[Array, "units ..."]) -> Float[Array, "units units"]:
    flat = x.reshape(len(x), -1)
    return jnp.sum((flat[:, None] - flat[None, :]) ** 2, axis=-1)


def _check_rule(rule: str) -> None:
    if rule not in ("sum_out", "sum_in"):
        raise ValueError(f"rule is {rule!r}; it must be 'sum_out' or 'sum_in'.")
