"""Matching by what units compute: activations, and the straight-through estimator.

Li, Yosinski, Clune, Lipson, Hopcroft 2016, "Convergent Learning", arXiv 1511.07543
(correlations); Ainsworth, Hayase, Srinivasa 2022, "Git Re-Basin", arXiv 2209.04836,
sections 3.1 and 3.3.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import pytrees
from kanjax.linalg import assignment
from kanjax.scales import safe_scale
from kanjax.symmetry import matching, specs

Params = pytrees.Params
Values = Mapping[str, Float[Array, "samples units"]]

# REPAIR's code adds this much to the product of two units' deviations.


def match_activations(
    spec: specs.PermutationSpec,
    values_a: Values,
    values_b: Values,
    b: Params,
    *,
    mode: Literal["correlation", "product"] = "correlation",
    solver: Literal["host", "device"] = "host",
) -> matching.Matching:
    """Permute b's hidden units to those of a network that fire like them.

    For each permutation one linear assignment, of greatest sum of scores between a
    unit of a and a unit of b.

    Args:
        spec: of permutation_spec, mlp_spec or spec_from_axes.
        values_a: for the names of the spec, what a's units give on some samples: of
            hidden_values for our models. A name without values stays in place.
        values_b: b's values on the same samples.
        b: the parameters to permute.
        mode: "correlation" scores by Pearson's coefficient, 0 for a unit that is
            constant; "product" by the mean product, not centred, as Git Re-Basin's
            code does.
        solver: of the assignment, see
            :func:`kanjax.linalg.linear_assignment`.

    Returns:
        A Matching whose objective is the mean score of matched units, after one sweep;
        converged is False if values were not finite, and these permutations are the
        identity.

    Works under jit and vmap.

    Raises:
        ValueError: if values and spec do not fit each other, or for an unknown mode.
    """
    specs.check_fits(spec, b, "b")
    if mode not in ("correlation", "product"):
        raise ValueError(f"mode is {mode!r}; it must be 'correlation' or 'product'.")
    _check_values(spec, values_a, values_b)
    permutation = specs.identity_permutation(spec)
    scores = []
    for name, size in spec.sizes:
        if name not in values_a:
            continue
        table = _similarity(values_a[name], values_b[name], mode)
        chosen = assignment.linear_assignment(table, maximize=True, solver=solver)
        permutation[name] = chosen
        scores.append(jnp.sum(table[jnp.arange(size), chosen]))
    matched = sum(size for name, size in spec.sizes if name in values_a)
    objective = jnp.sum(jnp.stack(scores)) / matched if scores else jnp.zeros(())
    permuted = specs.apply_permutation(spec, permutation, b)
    return matching.Matching(
        permutation,
        permuted,
        objective,
        jnp.array(1, jnp.int32),
        jnp.isfinite(objective),
    )


def match_straight_through(
    spec: specs.PermutationSpec,
    loss: Callable[[Params, Any], Array],
    a: Params,
    b: Params,
    batches: Any,
    *,
    learning_rate: ArrayLike = 1e-2,
    momentum: ArrayLike = 0.9,
    max_sweeps: int = 100,
    solver: Literal["host", "device"] = "host",
) -> matching.Matching:
    """Permute b's hidden units for a low loss midway between the two networks.

    A free copy t of a's parameters is trained on the loss of ``(a + pi(b)) / 2``, where
    pi matches b's weights to t anew in each step, from the last one; forward the
    midpoint has pi(b), backward its gradient goes to t. The permutation with the
    lowest loss on its own batch is kept.

    Args:
        spec: which axes are permuted together.
        loss: ``loss(params, batch)``, a scalar.
        a: the network that stays.
        b: the network to permute.
        batches: a pytree with a leading axis over steps; one batch a step.
        learning_rate: of gradient descent with momentum on t.
        momentum: of gradient descent on t.
        max_sweeps: of the matching in each step.
        solver: as for :func:`kanjax.linalg.linear_assignment`.

    Returns:
        A Matching whose objective is that lowest loss (so smaller is better) and whose
        sweeps are the steps.

    Raises:
        ValueError: if a, b and the spec do not fit each other.
    """
    pytrees.check_same(a, b, "a", "b")
    specs.check_fits(spec, a, "a")

    def step(carry: Any, batch: Any) -> Any:
        free, velocity, last, best, lowest = carry
        matching_ = matching.match_weights(
            spec, free, b, start=last, max_sweeps=max_sweeps, solver=solver
        )
        fixed = jax.lax.stop_gradient(matching_.permuted)

        def midway(free: Params) -> Array:
            return loss(_midpoint(a, _straight_through(free, fixed)), batch)

        value, gradient = jax.value_and_grad(midway)(free)
        velocity = pytrees.combine((momentum, 1.0), (velocity, gradient))
        free = pytrees.combine((1.0, -jnp.asarray(learning_rate)), (free, velocity))
        better = value < lowest
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), matching_.permutation, best
        )
        lowest = jnp.where(better, value, lowest)
        return (free, velocity, matching_.permutation, best, lowest), None

    identity = specs.identity_permutation(spec)
    identity = {name: p.astype(jnp.int32) for name, p in identity.items()}
    dtype = jax.eval_shape(loss, a, jax.tree.map(lambda x: x[0], batches)).dtype
    start = (
        jax.tree.map(jnp.asarray, a),
        jax.tree.map(jnp.zeros_like, a),
        identity,
        identity,
        jnp.array(jnp.inf, dtype),
    )
    (*_, best, lowest), _ = jax.lax.scan(step, start, batches)
    steps = jax.tree.leaves(batches)[0].shape[0]
    return matching.Matching(
        best,
        specs.apply_permutation(spec, best, b),
        lowest,
        jnp.array(steps, jnp.int32),
        jnp.isfinite(lowest),
    )


def _similarity(x: Array, y: Array, mode: str) -> Float[Array, "units units"]:
    wide = jnp.promote_types(jnp.result_type(x, y), jnp.float32)
    x, y = x.astype(wide), y.astype(wide)
    highest = jax.lax.Precision.HIGHEST
    if mode == "product":
        return jnp.matmul(x.T, y, precision=highest) / x.shape[0]
    x, y = (_standardize(v) for v in (x, y))
    return jnp.matmul(x.T, y, precision=highest) / x.shape[0]


def _standardize(v: Float[Array, "batch units"]) -> Float[Array, "batch units"]:
    """Of mean 0 and variance 1; 0 for units that differ by round-off alone.

    These have no correlation with any other.
    """
    # In units of its own, so that squares neither vanish nor overflow.
    v = v / safe_scale(v, axis=0)
    v = v - jnp.mean(v, axis=0, keepdims=True)
    variance = jnp.mean(jnp.square(v), axis=0, keepdims=True)
    # A comparison that NaN fails would hide it.
    still = variance <= (10 * jnp.finfo(v.dtype).eps) ** 2
    return jnp.where(still, 0.0, v / jnp.sqrt(jnp.where(still, 1.0, variance)))


def _straight_through(free: Params, fixed: Params) -> Params:
    """Return the values of fixed with the derivative of free."""
    return jax.tree.map(lambda t, p: t + jax.lax.stop_gradient(p - t), free, fixed)


def _midpoint(a: Params, b: Params) -> Params:
    return pytrees.combine((0.5, 0.5), (a, b))


def _check_values(
    spec: specs.PermutationSpec, values_a: Values, values_b: Values
) -> None:
    sizes = dict(spec.sizes)
    for name in {**values_a, **values_b}:
        if name not in sizes:
            raise ValueError(
                f"there are values for {name!r}; the spec's names are {spec.names}."
            )
        if name not in values_a or name not in values_b:
            lacking = "values_a" if name not in values_a else "values_b"
            raise ValueError(f"{lacking} lacks {name!r}, which the other one has.")
        shapes = [jnp.shape(v[name]) for v in (values_a, values_b)]
        fits = shapes[0] == shapes[1] and len(shapes[0]) == 2
        if not fits or shapes[0][1] != sizes[name]:
            raise ValueError(
                f"the values of {name!r} have shapes {shapes[0]} and {shapes[1]}; both "
                f"must be (samples, {sizes[name]})."
            )
