"""Weight matching: permute one network's hidden units to sit closest to another's.

Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin: Merging Models modulo Permutation
Symmetries", arXiv 2209.04836, section 3.2 and algorithm 1.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import pytrees
from kanjax.linalg import assignment
from kanjax.symmetry import specs

Params = pytrees.Params


class Matching(NamedTuple):
    """A permutation of one network towards another.

    Attributes:
        permutation: for every name of the spec, where each new unit comes from.
        permuted: the second network's parameters after it.
        objective: ``<a, permuted>``, which was maximised.
        sweeps: passes over all permutations.
        converged: whether the last pass changed nothing.
    """

    permutation: dict[str, Int[Array, " units"]]
    permuted: Params
    objective: Float[Array, ""]
    sweeps: Int[Array, ""]
    converged: Bool[Array, ""]


def match_weights(
    spec: specs.PermutationSpec,
    a: Params,
    b: Params,
    *,
    key: Array | None = None,
    start: specs.Permutation | None = None,
    max_sweeps: int = 100,
    solver: Literal["host", "device"] = "host",
) -> Matching:
    """Permute b's hidden units so that its parameters come closest to a's.

    Coordinate ascent on ``<a, pi(b)>``: with all permutations but one held fixed, that
    one is the solution of a linear assignment problem whose scores are the inner
    products of a's and b's weights unit by unit. It starts from the identity and ends
    at a local optimum, when a pass over all permutations improves nothing. A step is
    taken only when its gain exceeds round-off, so the objective never decreases and
    the ascent cannot cycle.

    Args:
        spec: of permutation_spec, mlp_spec or spec_from_axes.
        a: the network that stays.
        b: the network to permute.
        key: draws the order of the permutations anew for each pass, as the paper does;
            in the order of the spec if None (under vmap this is also the faster
            choice).
        start: the permutation to begin with; the identity if None.
        max_sweeps: passes over all sets of units.
        solver: of the assignment problem, see
            :func:`kanjax.linalg.linear_assignment`.

    Works under jit and vmap. The result's ``permuted`` is differentiable in b with the
    permutation held fixed. Parameters that are not finite leave the permutation as it
    is, and converged False.

    Raises:
        ValueError: if a, b and the spec do not fit each other, if one leaf carries a
            permutation on two axes, or if max_sweeps is less than 1.
    """
    pytrees.check_same(a, b, "a", "b")
    specs.check_fits(spec, a, "a")
    _check_spec(spec)
    if max_sweeps < 1:
        raise ValueError(f"max_sweeps is {max_sweeps}; it must be at least 1.")
    ours = wide_leaves(a)
    theirs = wide_leaves(b)

    def update(
        name: str, permutation: dict[str, Array]
    ) -> tuple[dict[str, Array], Array]:
        table = scores(spec, name, ours, theirs, permutation)
        best = assignment.linear_assignment(table, maximize=True, solver=solver)
        better = _gains(table, best, permutation[name])
        chosen = jnp.where(better, best, permutation[name])
        return {**permutation, name: chosen}, better

    def sweep(state: Any) -> Any:
        permutation, count, _ = state
        improved = jnp.array(False)
        if key is None:
            for name in spec.names:
                permutation, better = update(name, permutation)
                improved = improved | better
            return permutation, count + 1, improved

        order = jax.random.permutation(jax.random.fold_in(key, count), len(spec.names))
        updates = [functools.partial(update, name) for name in spec.names]

        def step(i: Array, state: Any) -> Any:
            permutation, better = jax.lax.switch(order[i], updates, state[0])
            return permutation, state[1] | better

        state = jax.lax.fori_loop(0, len(updates), step, (permutation, improved))
        return state[0], count + 1, state[1]

    first = specs.identity_permutation(spec) if start is None else start
    permutation, sweeps, improved = jax.lax.while_loop(
        lambda state: state[2] & (state[1] < max_sweeps),
        sweep,
        (
            {n: jnp.asarray(first[n], jnp.int32) for n in spec.names},
            jnp.array(0, jnp.int32),
            jnp.array(bool(spec.names)),
        ),
    )
    permuted = specs.apply_permutation(spec, permutation, b)
    objective = pytrees.inner(a, permuted)
    converged = ~improved & jnp.isfinite(objective)
    return Matching(permutation, permuted, objective, sweeps, converged)


def scores(
    spec: specs.PermutationSpec,
    name: str,
    ours: list[Array],
    theirs: list[Array],
    permutation: dict[str, Array],
) -> Float[Array, "units units"]:
    """Return <a, pi(b)> as a function of one permutation: its assignment's scores."""
    total = None
    for x, y, (_, axes) in zip(ours, theirs, spec.axes, strict=True):
        axis = specs.index_of(axes, name)
        if axis is None:
            continue
        y = specs.permute_leaf(y, axes, permutation, skip=axis)
        units = specs.name_and_blocks(axes[axis])[1] or x.shape[axis]
        x, y = (jnp.moveaxis(w, axis, 0).reshape(units, -1) for w in (x, y))
        # Rounded products (TF32, bfloat16 passes) would make the ascent cycle.
        term = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
        total = term if total is None else total + term
    assert total is not None
    return total


def _gains(scores: Array, new: Array, old: Array) -> Bool[Array, ""]:
    """Whether new beats old by more than the rounding of the scores."""
    rows = jnp.arange(scores.shape[0])
    gain = jnp.sum(scores[rows, new] - scores[rows, old])
    size = jnp.sum(jnp.abs(scores[rows, new]) + jnp.abs(scores[rows, old]))
    return gain > 4 * jnp.finfo(scores.dtype).eps * size


def wide_leaves(params: Params) -> list[Array]:
    """Return the leaves in float32 at least, held fixed under differentiation."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(params)]
    dtype = jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
    return [jax.lax.stop_gradient(leaf.astype(dtype)) for leaf in leaves]


def _check_spec(spec: specs.PermutationSpec) -> None:
    for path, axes in spec.axes:
        entries = [specs.name_and_blocks(entry)[0] for entry in axes]
        named = [name for name in entries if name is not None]
        if len(set(named)) != len(named):
            raise ValueError(
                f"{path} carries one permutation on two axes {axes}; weight matching "
                "solves for each permutation by a linear assignment, which this leaf "
                "would make quadratic."
            )
