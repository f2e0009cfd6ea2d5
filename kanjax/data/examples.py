"""Data as the rest of the package takes it: examples, splits, named data sets."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import pytrees
from kanjax.data import splitting

Task = Literal["regression", "classification"]
"""What y holds: numbers, or the indices of classes."""


class Examples(NamedTuple):
    """Inputs and what they should give; a batch is a slice of both.

    Fields:
        x: (n, ...) float32.
        y: (n, outputs) float32 in regression, (n,) int32 class indices in
            classification.
    """

    x: Array
    y: Array


class Split(NamedTuple):
    """Training, validation and test examples.

    Fields:
        train, validation, test: the three parts.
        rows: for each part, the indices of its rows in the data it was taken from.
    """

    train: Examples
    validation: Examples
    test: Examples
    rows: splitting.Rows

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named data set in memory, in its original units.

    Attributes:
        x: (n, features) or images (n, height, width, channels), floating.
        y: (n, outputs) floating in regression; (n,) class indices in classification.
        feature_names: one a feature; empty for images.
        target_names: names of the outputs, or the labels of the classes.
        task: ``"regression"`` or ``"classification"``.
        name: what reports call it.
        notes: what a reader of results should know about it.
    """

    x: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    task: Task
    name: str = "data"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_task(self.task)
        if self.x.ndim < 2 or self.x.shape[0] != self.y.shape[0]:
            raise ValueError(
                "x must be (n, ...) and y have as many rows, got the shapes "
                f"{self.x.shape} and {self.y.shape}"
            )
        if self.feature_names and self.x.shape[1:] != (len(self.feature_names),):
            raise ValueError(
                f"feature_names has {len(self.feature_names)} names for x of shape "
                f"{self.x.shape}; give one a feature, or none for images"
            )
        if self.task == "classification":
            _check_classes(self.y, len(self.target_names))
        elif self.y.ndim != 2 or self.y.shape[1] != len(self.target_names):
            raise ValueError(
                "in regression y must be (n, outputs) with one of target_names an "
                f"output, got the shape {self.y.shape} and {self.target_names}"
            )

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {self.task}, x={self.x.shape}, y={self.y.shape})"
        )

    def split(
        self, key: Array, *, fractions: Sequence[float] = splitting.FRACTIONS
    ) -> Split:
        """Divide the rows at random, by class in classification; nothing is scaled.

        Args:
            key: a jax key; the same key gives the same split.
            fractions: of training, validation and test; they sum to 1.

        Raises:
            DataError: when a class has a single member.
        """
        classes = self.y if self.task == "classification" else None
        rows = splitting.split_rows(
            key, len(self.y), labels=classes, fractions=fractions
        )
        train, validation, test = (
            examples(self.x[index], self.y[index], self.task) for index in rows
        )
        return Split(train, validation, test, rows)


def examples(x: np.ndarray, y: np.ndarray, task: Task) -> Examples:
    """Arrays as jax examples: float32 inputs; float32 targets or int32 classes."""
    kind = jnp.int32 if task == "classification" else jnp.float32
    return Examples(jnp.asarray(x, jnp.float32), jnp.asarray(y, kind))


def check_task(task: Any) -> None:
    """Refuse what is not the name of a task."""
    if task not in ("regression", "classification"):
        raise ValueError(f"task must be 'regression' or 'classification', got {task!r}")


def _check_classes(y: np.ndarray, classes: int) -> None:
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            "in classification y must be (n,) integer class indices, got the shape "
            f"{y.shape} and type {y.dtype}"
        )
    if y.size and not (y.min() >= 0 and y.max() < classes):
        raise ValueError(
            f"class indices in y must lie in 0..{classes - 1}, one for each of "
            f"target_names, got {y.min()}..{y.max()}"
        )
