"""What a study does, as one value that JSON can hold."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal


class StudyError(ValueError):
    """Bad input to a study: one line that says what to do."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of a study.

    Args:
        data: a bundled set ("diabetes", "breast_cancer", "wine", "digits",
            "friedman", "feynman:<formula>") or the path of a table.
        target: the target column of a table.
        task: "regression" or "classification"; None infers it.
        composition: the column of a table that holds alloys' compositions.
        ignore: columns of a table to leave out.
        numeric: columns that are numbers, though they look like identifiers.
        categorical: columns that are categories, whatever they look like.
        group: a column whose equal values stay together in training, validation or
            test rows.
        time: a column of numbers or dates: the last rows are tested on.
        test: the path of a table with the same columns whose rows are tested on.
        cv: the folds of a cross-validation, at least 2; 0 for none. The study is of the
            first fold; ensembles of the others are trained and scored beside it.
        model: a name in ``kanjax.study.MODELS``.
        hidden: the units of each hidden layer; None is one layer of 8, of 32 with
            10,000 training rows or more, or of as many as there are outputs; () is a
            network without any. A boosted network has one layer, of 100 units by
            default.
        basis: a name in ``kanjax.bases.FAMILIES``; only a KAN has one.
        resolution: the basis' grid intervals, centres, degree or order.
        members: networks in the ensemble, at least 2.
        optimizer: an optax optimiser by name.
        learning_rate: its step size.
        weight_decay: what share of the weights goes at each step, times the step size.
        scale: what the drawn weights are multiplied by before training.
        intervals: "split" takes the errors on the validation rows, "cv+" trains ten
            networks more, each without a tenth of the training and validation rows.
            "auto" is "cv+" where there are under 1,000 of these rows and their order
            and groups do not matter. Only a regression has intervals.
        search: how many settings are tried before, by their validation loss; 0 trains
            with these. Tried are units, basis, resolution, learning_rate, weight_decay
            and scale.
        steps: the most updates that a member makes; None is 2000, or 40 epochs where
            these are more.
        batch_size: examples a step; 0 takes all, as do more than there are. None is 64,
            or 512 with 10,000 training rows or more.
        evaluate_every: steps between evaluations on the validation rows; None is 25, or
            as many as make 80 evaluations.
        patience: evaluations without improvement after which a member stops.
        seed: of the split, the initialisation and the order of the data.
    """

    data: str = "diabetes"
    target: str | None = None
    task: Literal["regression", "classification"] | None = None
    model: str = "kan"
    hidden: tuple[int, ...] | None = None
    basis: str = "bspline"
    resolution: int = 5
    members: int = 8
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    scale: float = 1.0
    intervals: Literal["auto", "split", "cv+"] = "auto"
    search: int = 0
    steps: int | None = None
    batch_size: int | None = None
    evaluate_every: int | None = None
    patience: int = 20
    seed: int = 0
    composition: str | None = None
    ignore: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    test: str | None = None
    cv: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a description of plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Config":
        """Return the config that ``to_dict`` described.

        Raises:
            StudyError: if a field is unknown or cannot be read.
        """
        try:
            fields = dict(described)
            if fields.get("hidden") is not None:
                fields["hidden"] = tuple(fields["hidden"])
            for name in ("ignore", "numeric", "categorical"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except TypeError as error:
            raise StudyError(f"this is not the config of a study: {error}.") from None
