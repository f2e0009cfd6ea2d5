"""From a config to a trained ensemble, without any analysis."""

import functools
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import jax
import optax

from kanjax import compiling, progress, training
from kanjax import data as data_
from kanjax.model import Model
from kanjax.study import boosted, models, schedules
from kanjax.study.config import Config, StudyError

if TYPE_CHECKING:
    import pandas as pd

TRAINING_SHARE = (0.05, 0.5)
"""The part of a study's progress that is training."""


def prepare(
    config: Config, frame: "pd.DataFrame | None", key: jax.Array, *, fold: int = 0
) -> data_.Prepared:
    """Read, split and scale the data that a config names, or those of the frame.

    With a cross-validation the fold says which part of the rows is tested on.
    """
    path = pathlib.Path(config.data)
    is_file = path.suffix != "" and not config.data.startswith("feynman:")
    if frame is not None or is_file or config.target is not None:
        if config.target is None:
            kind = "file" if frame is None else "table"
            raise StudyError(
                f"{config.data} is a {kind}; name its target column with --target."
            )
        read = functools.partial(
            data_.read_table,
            target=config.target,
            task=config.task,
            ignore=config.ignore,
            categorical=config.categorical,
        )
        source: Any = read(path if frame is None else frame)
        test = None if config.test is None else read(config.test).frame
    elif config.test is not None:
        raise StudyError(
            f"test is for a table of one's own; {config.data!r} is a bundled set."
        )
    elif config.ignore:
        raise StudyError(
            f"ignore is for the columns of a file; {config.data!r} is a bundled set."
        )
    else:
        source, test = data_.load(config.data), None
    return data_.prepare(
        source,
        task=config.task,
        key=key,
        domain=models.domain(config),
        composition=config.composition,
        numeric=config.numeric,
        categorical=config.categorical,
        group=config.group,
        time=config.time,
        test=test,
        fold=(fold, config.cv) if config.cv else None,
    )


def initial_params(
    config: Config, model: Model, prepared: data_.Prepared, key: jax.Array
) -> Any:
    """Draw the parameters of all members, stacked."""
    params = _draw(model, jax.random.split(key, config.members))
    if config.model == "boosted":
        return boosted.switched_off(params, prepared)
    if config.scale != 1:
        return jax.tree.map(lambda leaf: config.scale * leaf, params)
    return params


@compiling.jit_soon
def _draw(model: Model, keys: jax.Array) -> Any:
    return jax.vmap(model.init)(keys)


def optimizer(config: Config) -> Any:
    """Return what updates the weights, and its step size where it is a name."""
    if not config.weight_decay:
        return {"optimizer": config.optimizer, "learning_rate": config.learning_rate}
    decayed = optax.chain(
        training.optimizer(config.optimizer, 1.0),
        optax.add_decayed_weights(-config.weight_decay),
        optax.scale(config.learning_rate),
    )
    return {"optimizer": decayed}


def fit(
    config: Config,
    model: Model,
    initial: Any,
    prepared: data_.Prepared,
    key: jax.Array,
    *,
    checkpoint: training.Checkpoint | None = None,
    tell: progress.Report = lambda what, share: None,
) -> training.Fit:
    """Train all members in one program, and keep the best parameters of each."""
    if config.model == "boosted":
        return boosted.train(config, prepared, key)
    train = prepared.split.train
    low, high = TRAINING_SHARE

    def show(event: training.Progress) -> None:
        tell(
            f"training: {training.describe(event)}",
            low + (high - low) * event.step / event.steps,
        )

    plan = schedules.schedule(config, len(train.x))
    with warnings.catch_warnings():
        # Told by _refuse_divergence and in the report, not beside a progress bar.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        return training.fit_ensemble(
            models.loss_of(prepared.task, model),
            initial,
            train,
            **optimizer(config),
            steps=plan.steps,
            batch_size=plan.batch_size,
            key=key,
            validation=prepared.split.validation,
            patience=config.patience,
            evaluate_every=plan.evaluate_every,
            checkpoint=checkpoint,
            callback=show,
            compiler_options=schedules.compiler_options(len(train.x)),
        )
