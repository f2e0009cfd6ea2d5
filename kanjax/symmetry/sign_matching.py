"""Matching that flips units as well: the sign symmetry of odd activations and of KANs.

A unit whose sign is turned may be turned back by the next layer: always if the
activation is odd, and in a KAN if its basis is closed under reflection (splines and
Gaussians on a symmetric grid, polynomials, Fourier series) and its residual branch, if
any, is odd or even. Chen, Lu, Hecht-Nielsen 1993, "On the Geometry of Feedforward
Neural Network Error Surfaces".
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import pytrees
from kanjax.linalg import assignment
from kanjax.symmetry import from_models, matching, specs

Params = pytrees.Params

_POINTS = 257
_CLOSE = 1e-4


class SignedMatching(NamedTuple):
    """A signed permutation of one network towards another.

    Attributes:
        permutation: for every name of the spec, where each new unit comes from.
        signs: for every name, +1 or -1 for each new unit.
        permuted: the second network's parameters after both.
        objective: ``<a, permuted>``, which was maximised.
        sweeps: passes over all permutations.
        converged: whether the last pass changed nothing.
    """

    permutation: dict[str, Int[Array, " units"]]
    signs: dict[str, Int[Array, " units"]]
    permuted: Params
    objective: Float[Array, ""]
    sweeps: Int[Array, ""]
    converged: Bool[Array, ""]


class Flip(NamedTuple):
    """What turning units' signs does to one leaf that they are an axis of.

    Attributes:
        axis: the units' axis.
        matrix: None if entries only change their sign; else what acts on the leaf's
            first axis, the basis functions.
        factor: -1 or 1, for leaves without a matrix.
    """

    axis: int
    matrix: np.ndarray | None
    factor: float


def match_signed_weights(
    model: Any,
    a: Params,
    b: Params,
    *,
    max_sweeps: int = 100,
    solver: Literal["host", "device"] = "host",
) -> SignedMatching:
    """Permute b's hidden units and turn their signs so that b comes closest to a.

    As match_weights, with the better sign of every pair of units in the scores.

    Args:
        model: an MLP with an odd activation, or a KAN whose bases are closed under
            reflection.
        a: the network that stays.
        b: the network to permute.
        max_sweeps: passes over all sets of units.
        solver: as for :func:`kanjax.linalg.linear_assignment`.

    Works under jit and vmap.

    Raises:
        ValueError: if the model has no such symmetry, or a and b do not fit it.
    """
    pytrees.check_same(a, b, "a", "b")
    spec = from_models.permutation_spec(model)
    specs.check_fits(spec, a, "a")
    # What the functions of the model are like is known before anything is traced.
    with jax.ensure_compile_time_eval():
        flips = _flips(model, spec)
    ours = matching.wide_leaves(a)

    def update(name: str, state: Any) -> Any:
        theirs, permutation, turned = state
        every = jnp.ones(dict(spec.sizes)[name], bool)
        plain, other = (
            matching.scores(spec, name, ours, leaves, permutation)
            for leaves in (theirs, _turn(theirs, flips[name], every))
        )
        best = jnp.maximum(plain, other)
        chosen = assignment.linear_assignment(best, maximize=True, solver=solver)
        rows = jnp.arange(every.size)
        gain = jnp.sum(best[rows, chosen] - plain[rows, permutation[name]])
        size = jnp.sum(
            jnp.abs(best[rows, chosen]) + jnp.abs(plain[rows, permutation[name]])
        )
        better = gain > 4 * jnp.finfo(best.dtype).eps * size
        chosen = jnp.where(better, chosen, permutation[name])
        flip = better & (other[rows, chosen] > plain[rows, chosen])
        which = jnp.zeros_like(every).at[chosen].set(flip)
        theirs = _turn(theirs, flips[name], which)
        turned = {**turned, name: turned[name] ^ which}
        return (theirs, {**permutation, name: chosen}, turned), better

    def sweep(carry: Any) -> Any:
        state, count, _ = carry
        improved = jnp.array(False)
        for name in spec.names:
            state, better = update(name, state)
            improved = improved | better
        return state, count + 1, improved

    first = (
        matching.wide_leaves(b),
        {n: jnp.arange(s, dtype=jnp.int32) for n, s in spec.sizes},
        {n: jnp.zeros(s, bool) for n, s in spec.sizes},
    )
    (_, permutation, turned), sweeps, improved = jax.lax.while_loop(
        lambda carry: carry[2] & (carry[1] < max_sweeps),
        sweep,
        (first, jnp.array(0, jnp.int32), jnp.array(bool(spec.names))),
    )
    leaves, structure = jax.tree.flatten(b)
    for name in spec.names:
        leaves = _turn(leaves, flips[name], turned[name])
    moved = jax.tree.unflatten(structure, leaves)
    permuted = specs.apply_permutation(spec, permutation, moved)
    objective = pytrees.inner(a, permuted)
    signs = {n: 1 - 2 * turned[n][permutation[n]].astype(jnp.int32) for n in spec.names}
    converged = ~improved & jnp.isfinite(objective)
    return SignedMatching(permutation, signs, permuted, objective, sweeps, converged)


def _turn(
    leaves: list[Array], flips: list[Flip | None], which: Bool[Array, " units"]
) -> list[Array]:
    """Return the leaves with the signs of some units turned."""
    turned = []
    for leaf, flip in zip(leaves, flips, strict=True):
        if flip is None:
            turned.append(leaf)
            continue
        if flip.matrix is None:
            image = flip.factor * leaf
        else:
            matrix = jnp.asarray(flip.matrix, leaf.dtype)
            image = jnp.tensordot(matrix.T, leaf, axes=1)
        shape = [1] * leaf.ndim
        shape[flip.axis] = which.size
        turned.append(jnp.where(which.reshape(shape), image, leaf))
    return turned


def _flips(model: Any, spec: specs.PermutationSpec) -> dict[str, list[Flip | None]]:
    """For every name, what turning its units does to each leaf."""
    if not hasattr(model, "layers") or not hasattr(model, "activations"):
        raise ValueError(
            f"{type(model).__name__} is neither an MLP nor a KAN, so the sign symmetry "
            "of its units is not known. Use match_weights."
        )
    activation = getattr(model, "activation", None)
    if activation is not None and _parity(activation, "the activation") != -1:
        raise ValueError(
            "the activation is even, so turning the sign of a unit before it changes "
            "nothing behind it. Use match_weights."
        )
    result: dict[str, list[Flip | None]] = {}
    for name in spec.names:
        flips: list[Flip | None] = []
        for path, axes in spec.axes:
            axis = specs.index_of(axes, name)
            if axis is None:
                flips.append(None)
            elif axis == len(axes) - 1:
                flips.append(Flip(axis, None, -1.0))
            else:
                number = int(path[1 : path.index("]")])
                flips.append(_reflected(model.layers[number], path, axis))
        result[name] = flips
    return result


def _reflected(layer: Any, path: str, axis: int) -> Flip:
    """Return what undoes a turned input in one leaf of the layer that reads it."""
    if path.endswith("['coef']"):
        return Flip(axis, _reflection(layer.basis), 1.0)
    if path.endswith("['residual']"):
        return Flip(axis, None, _parity(layer.residual, "the residual branch"))
    if hasattr(layer, "basis") or not path.endswith("['kernel']"):
        raise ValueError(
            f"{layer!r} learns functions that no sign can be moved through. Use "
            "match_weights."
        )
    return Flip(axis, None, -1.0)


def _parity(function: Any, name: str) -> float:
    x = jnp.linspace(0.05, 3.0, _POINTS)
    there, back = np.asarray(function(x)), np.asarray(function(-x))
    size = np.max(np.abs(there))
    for sign in (-1.0, 1.0):
        if np.allclose(back, sign * there, atol=_CLOSE * size):
            return sign
    raise ValueError(
        f"{name} is neither odd nor even, so units have no sign symmetry. Use "
        "match_weights, or a KAN with residual=None and an MLP with tanh."
    )


def _reflection(basis: Any) -> np.ndarray:
    """R with ``basis(-x) = R basis(x)``."""
    x = jnp.linspace(-1.0, 1.0, _POINTS) * max(abs(end) for end in basis.domain)
    there, back = (np.asarray(basis(v), np.float64) for v in (x, -x))
    solution = np.linalg.lstsq(there, back, rcond=None)[0]
    matrix = np.round(solution.T)
    signed = np.all(np.abs(matrix).sum(0) == 1) and np.all(np.abs(matrix).sum(1) == 1)
    if not signed or not np.allclose(there @ matrix.T, back, atol=_CLOSE):
        raise ValueError(
            f"{basis!r} is not closed under reflection at 0, so units have no sign "
            "symmetry. Use match_weights, or a basis on a symmetric domain."
        )
    return matrix
