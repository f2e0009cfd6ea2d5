"""What the trained parameters tell: functions, kernels and the loss around them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import kan, landscape, ntk, symmetry, training
from kanjax.data import Examples
from kanjax.data import columns as kinds
from kanjax.kan import symbolic
from kanjax.model import Model
from kanjax.study import evaluation, models

KERNEL_ROWS = 200
LOSS_ROWS = 512
MOST_EDGES = 200
MINIMUM_R2 = 0.99
THRESHOLDS = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
"""Scores at which edges go, units at a third of it, from the most to the fewest."""

WORSE = 1.02
"""How much larger the validation loss may be for it."""


class Inputs(NamedTuple):
    """How much each input matters to each member.

    Attributes:
        names: of the inputs; all categories of a column are one.
        attribution: (members, inputs), shares.
    """

    names: tuple[str, ...]
    attribution: Array


class Pruning(NamedTuple):
    """The best member, pruned, and its formula where its edges have one.

    Attributes:
        pruned: the smaller network.
        edges: number of edges before.
        scores_before, scores_after: the member's test metrics.
        fits: the function found for each edge that is left; empty when there are more
            than ``MOST_EDGES``.
        formula: sympy expressions of the outputs, or None where an edge has no
            adequate function.
        formula_scores: the formula's test metrics, or None.
    """

    pruned: kan.Pruned
    edges: int
    scores_before: dict[str, float]
    scores_after: dict[str, float]
    fits: list[symbolic.Edge]
    formula: list[Any] | None
    formula_scores: dict[str, float] | None


class Kernels(NamedTuple):
    """The empirical NTK of every member, before and after training.

    Attributes:
        initial, trained: (members, n, n), the trace kernels.
        spectra: of both, eigenvalues (members, n), by "initial" and "trained".
        alignment: of both with the targets, (members,), by the same names.
        drift: (members,), the relative change in Frobenius norm.
    """

    initial: Array
    trained: Array
    spectra: dict[str, ntk.Spectrum]
    alignment: dict[str, Array]
    drift: Array


class Landscape(NamedTuple):
    """The training loss around and between members.

    Attributes:
        plane: around the best member, along two filter-normalised directions.
        members_plane: through the three best members, in ``plane_members``' order.
        barriers, aligned_barriers: (members, members), before and after aligning the
            units of one of a pair with the other's.
    """

    plane: landscape.Plane
    members_plane: landscape.Plane | None
    plane_members: tuple[int, ...]
    barriers: Array
    aligned_barriers: Array


def attribute_inputs(
    model: Model, params: Any, x: Array, columns: Sequence[Any]
) -> Inputs:
    """Return shares of the inputs: the KAN score, or mean |df/dx| std(x) for other
    models, and of a column of categories their sum.

    Args:
        model: the members' model.
        params: their parameters, stacked.
        x: (rows, features).
        columns: of the preprocessor, which make the features.
    """
    names, owners = [], []
    for column in columns:
        features = column.feature_names
        is_joint = isinstance(column, kinds.CategoricalColumn)
        owners += [len(names) + (0 if is_joint else i) for i in range(len(features))]
        names += [column.name] if is_joint else features
    of_input = np.asarray(owners) == np.arange(len(names))[:, None]

    def gradient_score(p: Any) -> Array:
        jacobian = jax.vmap(jax.jacrev(lambda row: model.apply(p, row)))(x)
        return jnp.mean(jnp.abs(jacobian), axis=(0, 1)) * jnp.std(x, axis=0)

    def share(p: Any) -> Array:
        if isinstance(model, kan.KAN):
            score = kan.attribute(model, p, x).inputs
        else:
            score = gradient_score(p)
        return of_input @ (score / jnp.sum(score))

    return Inputs(tuple(names), jax.jit(jax.vmap(share))(params))


def edge_threshold(
    model: kan.KAN, params: Any, task: str, train: Array, validation: Examples
) -> float:
    """Return the largest of ``THRESHOLDS`` that the validation loss lets pass; else 0.

    Args:
        model: the network.
        params: its parameters.
        task: "regression" or "classification".
        train: (rows, in), on which edges are scored.
        validation: the rows that judge.
    """
    scores = kan.attribute(model, params, train)

    @jax.jit
    def loss(threshold: Array) -> Array:
        alive = [node > threshold / 3 for node in scores.nodes[1:-1]]
        alive = [jnp.ones(model.widths[0], bool), *alive]
        alive.append(jnp.ones(model.widths[-1], bool))
        masks = tuple(
            jnp.where((edge > threshold) & rows[:, None] & columns, 1.0, 0.0)
            for edge, rows, columns in zip(
                scores.edges, alive[:-1], alive[1:], strict=True
            )
        )
        masked = dataclasses.replace(model, masks=masks)
        return models.loss_maker(task)(masked.apply)(params, validation, None)[0]

    most = WORSE * float(loss(jnp.asarray(-1.0)))
    for threshold in THRESHOLDS:
        if float(loss(jnp.asarray(threshold))) <= most:
            return threshold
    return 0.0


def prune_member(
    model: kan.KAN,
    params: Any,
    task: str,
    train: Array,
    validation: Examples,
    test: Examples,
    scale: Any,
) -> Pruning:
    """Prune one member and look for a formula of what is left.

    So much goes as the validation loss lets pass, since what is pruned is shown as what
    the ensemble has learned.
    """

    def scores(outputs: Array) -> dict[str, float]:
        return evaluation.measure(task, outputs, jnp.asarray(test.y), scale)

    edges = sum(a * b for a, b in zip(model.widths, model.widths[1:], strict=False))
    threshold = edge_threshold(model, params, task, train, validation)
    pruned = kan.prune(
        model, params, train, node_threshold=threshold / 3, edge_threshold=threshold
    )
    fits: list[symbolic.Edge] = []
    formula, formula_scores = None, None
    if 0 < pruned.edges_left <= MOST_EDGES:
        fits = symbolic.fit_edges(
            pruned.model, pruned.params, train, minimum_r2=MINIMUM_R2
        )
        if min(edge.fit.r2 for edge in fits) >= MINIMUM_R2:
            formula = symbolic.formula(pruned.model, pruned.params, train, edges=fits)
            formula_scores = scores(_evaluate(formula, np.asarray(test.x)))
    return Pruning(
        pruned,
        edges,
        scores(jax.jit(model.apply)(params, test.x)),
        scores(jax.jit(pruned.model.apply)(pruned.params, test.x)),
        fits,
        formula,
        formula_scores,
    )


def _evaluate(formula: list[Any], x: np.ndarray) -> Array:
    """Return the formulas' values, (n, outputs); they are ours, not a file's."""
    import sympy

    symbols = sympy.symbols([f"x{i + 1}" for i in range(x.shape[1])])
    columns = [
        np.broadcast_to(sympy.lambdify(symbols, expression, "numpy")(*x.T), len(x))
        for expression in formula
    ]
    return jnp.asarray(np.stack(columns, axis=1), jnp.float32)


def kernels(
    model: Model, initial: Any, trained: Any, examples: Examples, classes: int
) -> Kernels:
    """Return the empirical NTK of every member on at most ``KERNEL_ROWS`` rows."""
    x, y = examples.x[:KERNEL_ROWS], examples.y[:KERNEL_ROWS]
    targets = jax.nn.one_hot(y, classes) if classes else y

    @jax.jit
    def of_members(params: Any) -> Array:
        return jax.lax.map(lambda p: ntk.empirical(model.apply, p, x), params)

    @jax.jit
    def aligned(kernels: Array) -> Array:
        return jax.vmap(lambda kernel: ntk.alignment(kernel, targets))(kernels)

    both = {"initial": of_members(initial), "trained": of_members(trained)}
    return Kernels(
        both["initial"],
        both["trained"],
        # Not compiled as one: eigenvalues of a batch may hang there.
        {name: jax.vmap(ntk.spectrum)(k) for name, k in both.items()},
        {name: aligned(k) for name, k in both.items()},
        jax.jit(jax.vmap(ntk.drift))(both["initial"], both["trained"]),
    )


def losses_around(
    model: Model,
    params: Any,
    order: np.ndarray,
    loss: Any,
    train: Examples,
    key: Array,
    *,
    points: int = 31,
) -> Landscape:
    """Return the training loss on planes and between members, on ``LOSS_ROWS`` rows.

    Args:
        model: the members' model.
        params: the members' parameters, stacked.
        order: the members, best first.
        loss: ``loss(params, batch, key)``.
        train: the training rows.
        key: of the random directions.
        points: grid points of a plane along each axis.
    """
    # First: a model without units to permute is known before anything is computed.
    spec = symmetry.permutation_spec(model)
    batch = Examples(train.x[:LOSS_ROWS], train.y[:LOSS_ROWS])
    on_batch = training.on_batch(loss, batch)

    def member(i: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[i], params)

    chosen = tuple(int(i) for i in order[:3])

    @jax.jit
    def planes(
        key: Array, *members: Any
    ) -> tuple[landscape.Plane, landscape.Plane | None]:
        directions = landscape.random_directions(key, members[0])
        around = landscape.plane(
            on_batch, members[0], *directions, extent=1.0, points=points
        )
        if len(members) < 3:
            return around, None
        return around, landscape.plane_through(on_batch, *members, points=points)

    around, through = planes(key, *map(member, chosen))
    return Landscape(
        around,
        through,
        chosen,
        landscape.barrier_matrix(on_batch, params),
        landscape.barrier_matrix(
            on_batch,
            params,
            # A program that calls the host could not be kept in the cache.
            align=lambda a, b: (
                symmetry.match_weights(spec, a, b, solver="device").permuted
            ),
        ),
    )
