"""What a study does, as one value that JSON can hold."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from kanjax.training import OPTIMIZERS


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
        model: a name in ``kanjax.study.MODELS``.
        widths: inputs, hidden units and outputs of the network; None is one hidden
            layer of max(8, outputs) units.
        basis: a name in ``kanjax.study.BASES``; only a KAN has one.
        resolution: the basis' grid intervals, centres, degree or order.
        members: networks in the ensemble, at least 2.
        optimizer: an optax optimiser by name.
        learning_rate: its step size.
        steps: the most updates that a member makes.
        batch_size: examples a step; None takes all. More than there are means all.
        evaluate_every: steps between evaluations on the validation rows.
        patience: evaluations without improvement after which a member stops.
        seed: of the split, the initialisation and the order of the data.
    """

    data: str = "diabetes"
    target: str | None = None
    task: Literal["regression", "classification"] | None = None
    model: str = "kan"
    widths: tuple[int, ...] | None = None
    basis: str = "bspline"
    resolution: int = 5
    members: int = 8
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    steps: int = 2000
    batch_size: int | None = 64
    evaluate_every: int = 25
    patience: int = 20
    seed: int = 0
    composition: str | None = None
    ignore: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a description of plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Config":
        """Return the config that ``to_dict`` described.

        Raises:
            StudyError: if a field is unknown or of the wrong kind.
        """
        try:
            fields = dict(described)
            if fields.get("widths") is not None:
                fields["widths"] = tuple(fields["widths"])
            for name in ("ignore", "numeric", "categorical"):
                fields[name] = tuple(fields.get(name, ()))
            return check(cls(**fields))
        except TypeError as error:
            raise StudyError(f"this is not the config of a study: {error}.") from None


def check(config: Config) -> Config:
    """Return the config itself, if what can be told without the data is right.

    Raises:
        StudyError: naming the setting, its value and what was expected.
    """
    # Here, since models import this module for its error.
    from kanjax.study.models import BASES, MODELS

    _check_name("model", config.model, MODELS)
    _check_name("basis", config.basis, BASES)
    _check_name("optimizer", config.optimizer, OPTIMIZERS)
    if config.task is not None:
        _check_name("task", config.task, ("regression", "classification"))
    least = {
        "members": 2,
        "resolution": 1,
        "steps": 1,
        "evaluate_every": 1,
        "patience": 1,
        "seed": 0,
    }
    if config.batch_size is not None:
        least["batch_size"] = 1
    for name, minimum in least.items():
        value = getattr(config, name)
        if not isinstance(value, int) or value < minimum:
            raise StudyError(
                f"{name} must be an integer of at least {minimum}; got {value!r}."
            )
    if not config.learning_rate > 0:
        raise StudyError(
            f"learning_rate must be positive; got {config.learning_rate!r}."
        )
    if config.widths is not None and (
        len(config.widths) < 2
        or any(not isinstance(width, int) or width < 1 for width in config.widths)
    ):
        raise StudyError(
            "widths must be at least two positive integers, inputs first and outputs "
            f"last; got {config.widths!r}."
        )
    return config


def _check_name(setting: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        nearest = difflib.get_close_matches(str(value), names, n=1, cutoff=0.0)
        raise StudyError(
            f"unknown {setting} {value!r}; nearest: {nearest[0]!r}. Known: "
            f"{', '.join(sorted(names))}."
        )
