"""What an ensemble's predictions hang on: columns permuted, and columns prescribed.

Breiman (2001), "Random forests", Machine Learning 45, 5, section 10; Friedman (2001),
"Greedy function approximation: a gradient boosting machine", Annals of Statistics 29,
1189, section 8.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import data as data_
from kanjax.data import columns as kinds
from kanjax.model import Model
from kanjax.study import evaluation

REPEATS = 10
ROWS = 1000
MOST_COLUMNS = 200
SHOWN = 6
POINTS = 20


class Dependence(NamedTuple):
    """The mean prediction where a column has one value in all rows.

    Attributes:
        column: its name.
        values: numbers in its unit, or the names of categories.
        outputs: each member's mean over rows, (members, values, outputs): targets in
            their units, or probabilities.
    """

    column: str
    values: list[Any]
    outputs: np.ndarray


class Explanations(NamedTuple):
    """What :func:`explain` finds.

    Attributes:
        columns: names, one-hot features taken together.
        rises: how much the ensemble's loss rises where a column's values are permuted
            among the test rows, (repeats, columns): the squared error over the
            target's variance, or the cross-entropy in nats.
        dependences: of the columns that matter most.
    """

    columns: list[str]
    rises: np.ndarray
    dependences: list[Dependence]


def explain(
    model: Model,
    params: Any,
    prepared: data_.Prepared,
    temperature: float,
    key: Array,
) -> Explanations:
    """Permute each column among the test rows, and prescribe those that matter most.

    Args:
        model: the members' model.
        params: their parameters, stacked.
        prepared: the data.
        temperature: of the ensemble's probabilities.
        key: of the permutations.

    Raises:
        ValueError: for more than ``MOST_COLUMNS`` columns.
    """
    columns = prepared.preprocessor.columns
    if len(columns) > MOST_COLUMNS:
        raise ValueError(
            f"there are {len(columns)} columns, and at most {MOST_COLUMNS} are "
            "permuted one by one"
        )
    masks = _masks(columns)
    rises = _rises(model, params, prepared, temperature, masks, key)
    order = np.argsort(-rises.mean(axis=0), kind="stable")
    shown = [int(i) for i in order if _is_simple(columns[i])][:SHOWN]
    return Explanations(
        [column.name for column in columns],
        rises,
        _dependences(model, params, prepared, masks, shown),
    )


def _is_simple(column: Any) -> bool:
    """Whether a column's features can be prescribed without others of it."""
    return isinstance(column, (kinds.NumericColumn, kinds.CategoricalColumn))


def _masks(columns: Any) -> np.ndarray:
    """Return which features are of which column, (columns, features)."""
    owner = np.repeat(
        np.arange(len(columns)), [len(column.feature_names) for column in columns]
    )
    return owner == np.arange(len(columns))[:, None]


def _rises(
    model: Model,
    params: Any,
    prepared: data_.Prepared,
    temperature: float,
    masks: np.ndarray,
    key: Array,
) -> np.ndarray:
    task, test = prepared.task, prepared.split.test
    y = jnp.asarray(test.y[:ROWS])

    def loss(x: Array) -> Array:
        outputs = jax.vmap(lambda p: model.apply(p, x))(params)
        output = evaluation.combine(task, outputs, temperature).output
        if task == "regression":
            return jnp.mean((output - y) ** 2)
        return -jnp.mean(jnp.take_along_axis(output, y[:, None], axis=-1))

    @jax.jit
    def rises(x: Array, masks: Array, keys: Array) -> Array:
        def of_column(mask: Array) -> Array:
            def once(key: Array) -> Array:
                return loss(jnp.where(mask, jax.random.permutation(key, x), x))

            return jax.lax.map(once, keys)

        return jax.lax.map(of_column, masks) - loss(x)

    keys = jax.random.split(key, REPEATS)
    return np.asarray(rises(jnp.asarray(test.x[:ROWS]), masks, keys)).T


def _dependences(
    model: Model,
    params: Any,
    prepared: data_.Prepared,
    masks: np.ndarray,
    shown: list[int],
) -> list[Dependence]:
    columns, task = prepared.preprocessor.columns, prepared.task
    x = np.asarray(prepared.split.train.x[:ROWS])
    grids = [_grid(columns[i], x[:, masks[i]]) for i in shown]
    # One program for all values of all columns.
    rows, of_rows = [], []
    for i, grid in zip(shown, grids, strict=True):
        row = np.zeros((len(grid), x.shape[1]), np.float32)
        row[:, masks[i]] = grid
        rows.append(row)
        of_rows.append(np.broadcast_to(masks[i], row.shape))

    @jax.jit
    def means(x: Array, rows: Array, masks: Array) -> Array:
        def at(row: Array, mask: Array) -> Array:
            changed = jnp.where(mask, row, x)
            outputs = jax.vmap(lambda p: model.apply(p, changed))(params)
            if task == "classification":
                outputs = jax.nn.softmax(outputs, axis=-1)
            return jnp.mean(outputs, axis=1)

        return jax.lax.map(lambda each: at(*each), (rows, masks))

    if not shown:
        return []
    values = np.asarray(means(x, np.concatenate(rows), np.concatenate(of_rows)))
    values = np.moveaxis(values, 1, 0)
    if task == "regression":
        values = prepared.preprocessor.inverse_target(values)
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    return [
        Dependence(columns[i].name, _in_units(columns[i], grid, prepared), each)
        for i, grid, each in zip(
            shown, grids, np.split(values, ends, axis=1), strict=True
        )
    ]


def _grid(column: Any, x: np.ndarray) -> np.ndarray:
    """Return the values to prescribe, (values, features of the column)."""
    if isinstance(column, kinds.CategoricalColumn):
        return np.eye(x.shape[1], dtype=np.float32)
    # Between the ends of 9 in 10 rows: beyond them there is little to learn from.
    low, high = np.quantile(x[:, 0], (0.05, 0.95))
    return np.linspace(low, high, POINTS, dtype=np.float32)[:, None]


def _in_units(column: Any, grid: np.ndarray, prepared: data_.Prepared) -> list[Any]:
    if isinstance(column, kinds.CategoricalColumn):
        return list(column.categories)
    domain = prepared.preprocessor.domain
    return column.in_units(grid, domain)[:, 0].tolist()


def metrics(explanations: Explanations) -> dict[str, Any]:
    """Return the figures of the report as plain numbers.

    Args:
        explanations: of :func:`explain`.

    Returns:
        By column "mean" and the "range" of the repeats' rise of the loss.
    """
    rises = explanations.rises
    return {
        name: {
            "mean": float(each.mean()),
            "range": [float(each.min()), float(each.max())],
        }
        for name, each in zip(explanations.columns, rises.T, strict=True)
    }
