"""What the trained parameters tell: functions, kernels and the loss around them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import compiling, kan, landscape, ntk, symmetry, training
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
        of_edges: the members' scores of all edges and units; None but for a KAN.
    """

    names: tuple[str, ...]
    attribution: np.ndarray
    of_edges: kan.Attribution | None = None


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

    initial: np.ndarray
    trained: np.ndarray
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
    barriers: np.ndarray
    aligned_barriers: np.ndarray


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
    if isinstance(model, kan.KAN):
        edges = _attribution(model, params, x)
        scores = np.asarray(edges.inputs)
    else:
        edges, scores = None, np.asarray(_gradient_scores(model, params, x))
    shares = scores / np.sum(scores, axis=1, keepdims=True)
    return Inputs(tuple(names), shares @ of_input.T, edges)


@compiling.jit_soon
def _attribution(model: kan.KAN, params: Any, x: Array) -> kan.Attribution:
    return jax.vmap(lambda p: kan.attribute(model, p, x))(params)


@compiling.jit_balanced
def _gradient_scores(model: Model, params: Any, x: Array) -> Array:
    def score(p: Any) -> Array:
        jacobian = jax.vmap(jax.jacrev(lambda row: model.apply(p, row)))(x)
        return jnp.mean(jnp.abs(jacobian), axis=(0, 1)) * jnp.std(x, axis=0)

    return jax.vmap(score)(params)


def edge_threshold(
    model: kan.KAN,
    params: Any,
    scores: kan.Attribution,
    task: str,
    validation: Examples,
) -> float:
    """Return the largest of ``THRESHOLDS`` that the validation loss lets pass; else 0.

    Args:
        model: the network.
        params: its parameters.
        scores: of its edges and units.
        task: "regression" or "classification".
        validation: the rows that judge.
    """
    thresholds = np.asarray((-1.0, *THRESHOLDS), np.float32)
    start, *losses = np.asarray(
        _masked_losses(model, params, scores, thresholds, validation, task=task)
    )
    for threshold, loss in zip(THRESHOLDS, losses, strict=True):
        if loss <= WORSE * start:
            return threshold
    return 0.0


@functools.partial(compiling.jit_balanced, static_argnames="task")
def _masked_losses(
    model: kan.KAN,
    params: Any,
    scores: kan.Attribution,
    thresholds: Array,
    validation: Examples,
    *,
    task: str,
) -> Array:
    """Return the loss without the edges and units up to each threshold."""

    def loss(threshold: Array) -> Array:
        alive = [node > threshold / 3 for node in scores.nodes[1:-1]]
        alive = [jnp.ones(model.widths[0], bool), *alive]
        alive.append(jnp.ones(model.widths[-1], bool))
        masks = tuple(
            jnp.where((edge > threshold) & rows[:, None] & columns[None], 1.0, 0.0)
            for edge, rows, columns in zip(
                scores.edges, alive[:-1], alive[1:], strict=True
            )
        )
        masked = dataclasses.replace(model, masks=masks)
        return models.loss_maker(task)(masked.apply)(params, validation, None)[0]

    return jax.lax.map(loss, thresholds)


def prune_member(
    model: kan.KAN,
    params: Any,
    scores: kan.Attribution,
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

    def measure(outputs: Any) -> dict[str, float]:
        return evaluation.measure(task, outputs, test.y, scale)

    def outputs(model: kan.KAN, params: Any) -> np.ndarray:
        stacked = jax.tree.map(lambda leaf: np.asarray(leaf)[None], params)
        return evaluation.predict(model, stacked, test.x)[0]

    edges = sum(a * b for a, b in zip(model.widths, model.widths[1:], strict=False))
    threshold = edge_threshold(model, params, scores, task, validation)
    pruned = kan.prune(
        model,
        params,
        train,
        node_threshold=threshold / 3,
        edge_threshold=threshold,
        scores=scores,
    )
    fits: list[symbolic.Edge] = []
    formula, formula_scores = None, None
    if 0 < pruned.edges_left <= MOST_EDGES:
        fits = symbolic.fit_edges(
            pruned.model, pruned.params, train, minimum_r2=MINIMUM_R2
        )
        if min(edge.fit.r2 for edge in fits) >= MINIMUM_R2:
            formula = symbolic.formula(pruned.model, pruned.params, train, edges=fits)
            formula_scores = measure(_evaluate(formula, np.asarray(test.x)))
    return Pruning(
        pruned,
        edges,
        measure(outputs(model, params)),
        measure(outputs(pruned.model, pruned.params)),
        fits,
        formula,
        formula_scores,
    )


def _evaluate(formula: list[Any], x: np.ndarray) -> np.ndarray:
    """Return the formulas' values, (n, outputs); they are ours, not a file's."""
    import sympy

    symbols = sympy.symbols([f"x{i + 1}" for i in range(x.shape[1])])
    columns = [
        np.broadcast_to(sympy.lambdify(symbols, expression, "numpy")(*x.T), len(x))
        for expression in formula
    ]
    return np.stack(columns, axis=1)


def kernels(
    model: Model, initial: Any, trained: Any, examples: Examples, classes: int
) -> Kernels:
    """Return the empirical NTK of every member on at most ``KERNEL_ROWS`` rows."""
    import threadpoolctl

    x, y = (np.asarray(v)[:KERNEL_ROWS] for v in (examples.x, examples.y))
    targets = np.eye(classes, dtype=np.float32)[y] if classes else y
    both = {
        "initial": np.asarray(_tangent_kernels(model, initial, x)),
        "trained": np.asarray(_tangent_kernels(model, trained, x)),
    }
    pairs = zip(*both.values(), strict=True)
    # One after the other: eigenvalues of a batch may hang where they are compiled. By
    # one thread: of so few rows, threads that wait cost 80 times the work (measured).
    with threadpoolctl.threadpool_limits(1):
        each = [jax.device_get(_kernel_measures(*pair, targets)) for pair in pairs]
    measures, drift = jax.tree.map(lambda *of_member: np.stack(of_member), *each)
    return Kernels(
        both["initial"],
        both["trained"],
        {name: spectrum for name, (spectrum, _) in measures.items()},
        {name: alignment for name, (_, alignment) in measures.items()},
        drift,
    )


@compiling.jit_balanced
def _tangent_kernels(model: Model, params: Any, x: Array) -> Array:
    return jax.lax.map(lambda p: ntk.empirical(model.apply, p, x), params)


@compiling.jit_soon
def _kernel_measures(before: Array, after: Array, targets: Array) -> Any:
    both = {"initial": before, "trained": after}
    measures = {
        name: (ntk.spectrum(kernel), ntk.alignment(kernel, targets))
        for name, kernel in both.items()
    }
    return measures, ntk.drift(before, after)


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
    batch = jax.tree.map(lambda v: np.asarray(v)[:LOSS_ROWS], train)

    def member(i: int) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[i], params)

    chosen = tuple(int(i) for i in order[:3])

    @compiling.jit_balanced
    def planes(
        batch: Examples, key: Array, *members: Any
    ) -> tuple[landscape.Plane, landscape.Plane | None]:
        on_batch = training.on_batch(loss, batch)
        directions = landscape.random_directions(key, members[0])
        around = landscape.plane(
            on_batch, members[0], *directions, extent=1.0, points=points
        )
        if len(members) < 3:
            return around, None
        return around, landscape.plane_through(on_batch, *members, points=points)

    upper = np.triu_indices(len(order), k=1)

    @compiling.jit_balanced
    def barriers(batch: Examples, params: Any) -> Array:
        on_batch = training.on_batch(loss, batch)

        def of(members: np.ndarray) -> Any:
            return jax.tree.map(lambda leaf: leaf[members], params)

        firsts, seconds = map(of, upper)

        def align(pair: tuple[Any, Any]) -> Any:
            # A program that calls the host could not be kept in the cache.
            return symmetry.match_weights(spec, *pair, solver="device").permuted

        aligned = jax.lax.map(align, (firsts, seconds))
        # All that lines lead to in one array, so that the loss is compiled once.
        starts, ends = (
            jax.tree.map(lambda *v: jnp.concatenate(v), *pair)
            for pair in ((firsts, firsts), (seconds, aligned))
        )

        def height(pair: tuple[Any, Any]) -> Array:
            return landscape.barrier(on_batch, *pair, points=11).height

        return jax.lax.map(height, (starts, ends)).reshape(2, -1)

    matrices = np.zeros((2, len(order), len(order)), np.float32)
    matrices[:, *upper] = matrices[:, *upper[::-1]] = barriers(batch, params)
    around, through = planes(batch, key, *map(member, chosen))
    return Landscape(around, through, chosen, *matrices)
