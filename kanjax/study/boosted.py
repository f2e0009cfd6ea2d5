"""An ensemble whose members are boosted, a hidden unit at a time.

The settings are those of Emami, Martinez-Munoz (2019), arXiv 1909.12098; an ensemble's
own settings of an optimizer have no say. Units that no longer help on the validation
rows are switched off, but stay, so that all members have one shape.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import data as data_
from kanjax import training
from kanjax.representation import boosting
from kanjax.study.config import Config

UNITS = 100
"""Hidden units of a member by default, as many as steps of boosting."""

RATE = 0.2
SUBSAMPLE = 0.5
ITERATIONS = 100


def switched_off(params: Any, prepared: data_.Prepared) -> Any:
    """Return stacked members with drawn units, none of which counts yet.

    Args:
        params: of the members' network with one hidden layer, as drawn.
        prepared: the data, whose best constant all members put out.
    """
    loss = _loss(prepared)
    start = loss.start(loss.targets(jnp.asarray(prepared.split.train.y)))
    hidden, out = params
    bias = jnp.broadcast_to(start, out["bias"].shape)
    return hidden, {"kernel": jnp.zeros_like(out["kernel"]), "bias": bias}


def train(config: Config, prepared: data_.Prepared, key: Array) -> training.Fit:
    """Boost all members in one program; each keeps its best number of units."""
    split, loss = prepared.split, _loss(prepared)
    units = config.hidden[0] if config.hidden else UNITS
    is_values = prepared.task == "regression"
    make = training.regression if is_values else training.classification
    mean_loss = make(lambda values, _: values)

    def staged(boosted: boosting.Boosted, rows: data_.Examples) -> Array:
        return boosting.staged_losses(
            lambda values: mean_loss(values, (rows.x, rows.y), None)[0], boosted, rows.x
        )

    def boost(key: Array) -> tuple[Any, Any, Array, Array]:
        boosted = boosting.fit(
            loss,
            split.train.x,
            split.train.y,
            key=key,
            steps=units,
            rate=RATE,
            subsample=SUBSAMPLE,
            max_iterations=ITERATIONS,
        )
        losses = staged(boosted, split.validation)
        best = boosting.switch_off(boosted, jnp.argmin(losses))
        kept, full = (boosting.merge(b)[1] for b in (best, boosted))
        return kept, full, staged(boosted, split.train), losses

    # One after the other: side by side, each would wait for the longest line search.
    boost_all = jax.jit(lambda keys: jax.lax.map(boost, keys))
    keys = jax.random.split(key, config.members)
    params, final, losses, validation = boost_all(keys)
    validation = np.asarray(validation)
    none = np.zeros(config.members, bool)
    return training.Fit(
        params,
        final,
        training.History(
            np.asarray(losses)[:, :-1], {}, validation, {}, np.arange(units + 1)
        ),
        steps=np.full(config.members, units),
        best_step=validation.argmin(axis=1),
        stopped=none,
        diverged=np.full(config.members, -1),
    )


def _loss(prepared: data_.Prepared) -> boosting.BoostingLoss:
    if prepared.task == "regression":
        return boosting.squared()
    return boosting.multiclass(len(prepared.target_names))
