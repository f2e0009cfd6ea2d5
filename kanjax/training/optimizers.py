"""Optimisers by name, for command lines and tables of settings."""

import difflib
import functools
from collections.abc import Callable
from typing import Any

import optax

OPTIMIZERS = (
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "amsgrad",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "nadam",
    "nadamw",
    "novograd",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "sm3",
    "yogi",
)
"""The names :func:`optimizer` takes, each the optax function of that name."""

LearningRate = float | Callable[[Any], Any]


def optimizer(
    name: str, learning_rate: LearningRate | None = None, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Return the optax optimiser of that name.

    Args:
        name: one of ``OPTIMIZERS``.
        learning_rate: a positive number or an optax schedule. ``lbfgs`` finds its step
            by line search and needs none; all others do.
        **options: further options of the optax function, e.g. ``weight_decay=1e-4``.

    Returns:
        The gradient transformation. Equal hashable arguments give the same object, so
        that a second fit with it needs no compilation.

    Raises:
        ValueError: for an unknown name (with the nearest one), an absent or
            non-positive learning rate.
    """
    if name not in OPTIMIZERS:
        near = difflib.get_close_matches(str(name).lower(), OPTIMIZERS, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"optimizer {name!r} is unknown.{hint} Known: {', '.join(OPTIMIZERS)}."
        )
    if learning_rate is None:
        if name != "lbfgs":
            raise ValueError(
                f"optimizer {name!r} needs a learning_rate, e.g. learning_rate=1e-2."
            )
    elif not callable(learning_rate) and not 0 < learning_rate < float("inf"):
        raise ValueError(
            f"learning_rate is {learning_rate!r}; it must be a positive finite number "
            "or an optax schedule."
        )
    try:
        return _make_once(name, learning_rate, **options)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _make(name, learning_rate, **options)


def _make(
    name: str, learning_rate: LearningRate | None, **options: Any
) -> optax.GradientTransformationExtraArgs:
    made = getattr(optax, name)(learning_rate, **options)
    return optax.with_extra_args_support(made)


_make_once = functools.lru_cache(maxsize=64)(_make)
