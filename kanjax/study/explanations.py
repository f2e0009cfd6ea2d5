"""What an ensemble's predictions hang on: columns permuted, and columns prescribed.

Breiman (2001), "Random forests", Machine Learning 45, 5, section 10; Friedman (2001),
"Greedy function approximation: a gradient boosting machine", Annals of Statistics 29,
1189, section 8.2.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from scipy import special

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
    x, y = np.asarray(test.x[:ROWS]), np.asarray(test.y[:ROWS])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    def losses(x: np.ndarray) -> np.ndarray:
        """Return the loss of each of several tables, (tables, n, features)."""
        outputs = evaluation.predict(model, params, x.reshape(-1, x.shape[-1]))
        output = evaluation.combine(task, outputs, temperature).output
        output = output.reshape(*x.shape[:2], -1)
        if task == "regression":
            return np.mean((output - y) ** 2, axis=(1, 2))
        return -np.mean(output[:, np.arange(len(y)), y], axis=1)

    # All columns are permuted alike, one at a time.
    permuted = np.stack([x[rng.permutation(len(x))] for _ in range(REPEATS)])
    start = losses(x[None])
    return np.stack([losses(np.where(mask, permuted, x)) for mask in masks], 1) - start


def _dependences(
    model: Model,
    params: Any,
    prepared: data_.Prepared,
    masks: np.ndarray,
    shown: list[int],
) -> list[Dependence]:
    columns = prepared.preprocessor.columns
    x = np.asarray(prepared.split.train.x[:ROWS])

    def at(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return each member's mean output, (members, values, outputs)."""
        changed = np.broadcast_to(x, (len(values), *x.shape)).copy()
        changed[..., mask] = values[:, None]
        outputs = evaluation.predict(model, params, changed.reshape(-1, x.shape[1]))
        if prepared.task == "classification":
            outputs = special.softmax(outputs, axis=-1)
        shape = len(outputs), len(values), len(x), outputs.shape[-1]
        means = outputs.reshape(shape).mean(axis=2)
        if prepared.task == "classification":
            return means
        return prepared.preprocessor.inverse_target(means)

    dependences = []
    for i in shown:
        grid = _grid(columns[i], x[:, masks[i]])
        values = _in_units(columns[i], grid, prepared)
        dependences.append(Dependence(columns[i].name, values, at(masks[i], grid)))
    return dependences


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
