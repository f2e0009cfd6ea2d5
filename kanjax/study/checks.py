"""What can be told of the settings of a study before it reads its data."""

import difflib
from collections.abc import Iterable

from kanjax.bases import FAMILIES
from kanjax.study.config import Config, StudyError
from kanjax.study.models import MODELS
from kanjax.training import OPTIMIZERS

OTHER_MODELS = ("boosted", "dkm")
"""Those that an optimizer's settings do not train, or not alone."""


def check(config: Config) -> Config:
    """Return the config itself, if what can be told without the data is right.

    Raises:
        StudyError: naming the setting, its value and what was expected.
    """
    _check_name("model", config.model, MODELS)
    _check_name("basis", config.basis, FAMILIES)
    _check_name("optimizer", config.optimizer, OPTIMIZERS)
    if config.task is not None:
        _check_name("task", config.task, ("regression", "classification"))
    _check_name("intervals", config.intervals, ("auto", "split", "cv+"))
    _check_numbers(config)
    _check_split(config)
    _check_training(config)
    _check_hidden(config)
    return config


def _check_numbers(config: Config) -> None:
    least = {
        "members": 2,
        "resolution": 1,
        "steps": 1,
        "batch_size": 0,
        "evaluate_every": 1,
        "patience": 1,
        "seed": 0,
        "search": 0,
        "cv": 0,
    }
    by_rows = ("steps", "batch_size", "evaluate_every")
    for name, minimum in least.items():
        value = getattr(config, name)
        if value is None and name in by_rows:
            continue
        if not isinstance(value, int) or value < minimum:
            raise StudyError(
                f"{name} must be an integer of at least {minimum}; got {value!r}."
            )
    rate = config.learning_rate
    if not isinstance(rate, int | float) or not rate > 0:
        raise StudyError(f"learning_rate must be positive; got {rate!r}.")
    if not config.weight_decay >= 0 or not config.scale > 0:
        raise StudyError(
            "weight_decay must be at least 0 and scale positive; got "
            f"{config.weight_decay!r} and {config.scale!r}."
        )


def _check_split(config: Config) -> None:
    if config.group is not None and config.time is not None:
        raise StudyError(
            f"group {config.group!r} and time {config.time!r} divide the rows in two "
            "ways; give one of them."
        )
    if config.test is not None and (config.group or config.time):
        raise StudyError(
            f"test {config.test!r} says what is tested on, and so does "
            f"{config.group or config.time!r}; give one of them."
        )
    if config.cv == 1:
        raise StudyError("cv must be 0, or at least 2 folds; got 1.")
    rival = "test" if config.test else "time" if config.time else "search"
    if config.cv and getattr(config, rival):
        why = {"search": "chooses settings by rows that other folds are tested on"}
        raise StudyError(
            f"cv rotates what is tested on, and {rival} "
            f"{why.get(rival, 'says what is')}; give one of them."
        )


def _check_training(config: Config) -> None:
    is_other = config.model in OTHER_MODELS
    if is_other and (config.search or config.weight_decay or config.scale != 1):
        raise StudyError(
            "search, weight_decay and scale are for networks that a step size trains; "
            f"got the model {config.model!r}."
        )
    if config.intervals == "cv+" and (is_other or config.group or config.time):
        raise StudyError(
            "intervals 'cv+' are for rows in any order and networks that a step size "
            f"trains; got the model {config.model!r}, group {config.group!r} and time "
            f"{config.time!r}. Take 'split'."
        )
    if config.optimizer == "lbfgs" and (config.search or config.weight_decay):
        raise StudyError(
            "search and weight_decay are for optimizers with a step size; got 'lbfgs'."
        )


def _check_hidden(config: Config) -> None:
    if config.hidden is not None and any(
        not isinstance(width, int) or width < 1 for width in config.hidden
    ):
        raise StudyError(
            "hidden must be positive integers, the units of each hidden layer; got "
            f"{config.hidden!r}."
        )
    is_boosted = config.model == "boosted"
    if is_boosted and config.hidden is not None and len(config.hidden) != 1:
        raise StudyError(
            "hidden must be the units of one layer for the model 'boosted', such as "
            f"50; got {config.hidden!r}."
        )


def _check_name(setting: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        nearest = difflib.get_close_matches(str(value), names, n=1, cutoff=0.0)
        raise StudyError(
            f"unknown {setting} {value!r}; nearest: {nearest[0]!r}. Known: "
            f"{', '.join(sorted(names))}."
        )
