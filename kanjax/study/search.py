"""A search for the settings of a study, many trials in few compiled programs.

Trials that share their shapes are members of one ensemble: what they differ in, step
size, weight decay and scale at initialisation, are numbers that travel with the
parameters. Shapes are dropped by successive halving (Jamieson, Talwalkar 2016, arXiv
1502.07943); the members of a shape cost the same whether they stay or not, and stay.
"""

import dataclasses
import functools
import json
import pathlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from kanjax import bases, files, progress, training
from kanjax import data as data_
from kanjax.study import models, schedules
from kanjax.study.config import Config

NAME = "search.json"
"""The file of a search that is finished, for a study that is resumed."""
PER_SHAPE = 4
"""Trials that share a program."""

RUNGS = (0.25, 0.5)
"""Shares of a study's steps: the first for all shapes, the next for the better half."""

BASES = ("bspline", "rbf", "chebyshev")
RESOLUTIONS = (3, 5, 8)
WIDTHS = (4, 8, 16, 32)
LEARNING_RATES = (1e-3, 3e-2)
WEIGHT_DECAYS = (1e-4, 1.0)
SCALES = (0.3, 2.0)
SHAPE = ("hidden", "basis", "resolution")
NUMBERS = ("learning_rate", "weight_decay", "scale")


def find(
    config: Config,
    prepared: data_.Prepared,
    key: Array,
    *,
    root: pathlib.Path | None = None,
    resume: bool = False,
    tell: progress.Report = lambda what, share: None,
) -> dict[str, Any]:
    """Try ``config.search`` settings, the first of them the config's own.

    Args:
        config: of the study.
        prepared: its data; the validation rows decide.
        key: draws the settings and trains.
        root: the folder that keeps the result.
        resume: whether a result in the folder is taken as it is.
        tell: told before each shape.

    Returns:
        "trials", each with its settings, the lowest validation loss of its first rung
        ("first") and of all its steps ("loss"); "chosen", the settings of the lowest
        loss; "matters", what share of the first losses' ranks goes with each setting.
    """
    stored = None if root is None else root / NAME
    if resume and stored is not None and stored.exists():
        return json.loads(stored.read_text(encoding="utf-8"))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    groups = _drawn(config, prepared, rng)
    plan = schedules.schedule(config, len(prepared.split.train.x))
    runs = [
        _Shape(config, prepared, group, k)
        for group, k in zip(groups, jax.random.split(key, len(groups)), strict=True)
    ]
    left = list(range(len(runs)))
    for rung, share in enumerate(RUNGS):
        steps = max(1, round(share * plan.steps))
        for place, i in enumerate(left):
            tell(
                f"searching: shape {place + 1} of {len(left)}, round {rung + 1} of "
                f"{len(RUNGS)}",
                0.01 + 0.01 * rung,
            )
            runs[i].train(steps)
        left = sorted(left, key=lambda i: runs[i].best())[: max(1, len(left) // 2)]
    trials = [
        {**settings, "first": first, "loss": last}
        for run in runs
        for settings, first, last in zip(
            run.settings, run.first.tolist(), run.losses.tolist(), strict=True
        )
    ]
    best = min(trials, key=lambda t: t["loss"] if np.isfinite(t["loss"]) else np.inf)
    result = {
        "trials": trials,
        "chosen": {name: best[name] for name in (*SHAPE, *NUMBERS)},
        "matters": _matters(trials),
    }
    if stored is not None:
        files.write_json(stored, result)
    return result


def choose(config: Config, result: dict[str, Any]) -> Config:
    """Return the config with the settings that a search chose."""
    chosen = dict(result["chosen"])
    chosen["hidden"] = tuple(chosen["hidden"])
    return dataclasses.replace(config, **chosen)


@functools.lru_cache(maxsize=8)
def numbers_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer whose step size and weight decay are among the parameters.

    Parameters are ``{"net": ..., "rate": (), "decay": ()}``; of these the last two
    stay.
    """
    inner = training.optimizer(name, 1.0)

    def init(params: Any) -> Any:
        return inner.init(params["net"])

    def update(updates: Any, state: Any, params: Any = None, **_: Any) -> Any:
        net, rate, decay = params["net"], params["rate"], params["decay"]
        steps, state = inner.update(updates["net"], state, net)
        steps = jax.tree.map(lambda u, p: rate * (u - decay * p), steps, net)
        still = jnp.zeros_like(rate)
        return {"net": steps, "rate": still, "decay": still}, state

    return optax.GradientTransformationExtraArgs(init, update)


class _Shape:
    """The trials of one shape, trained together."""

    def __init__(
        self,
        config: Config,
        prepared: data_.Prepared,
        settings: list[dict[str, Any]],
        key: Array,
    ) -> None:
        shape = {name: settings[0][name] for name in SHAPE}
        self.config = dataclasses.replace(config, **shape)
        self.settings, self.prepared = settings, prepared
        model = models.build(self.config, prepared)
        key_init, self.key = jax.random.split(key)
        rate, decay, scale = (
            jnp.asarray([trial[name] for trial in settings], jnp.float32)
            for name in NUMBERS
        )

        def start(key: Array, scale: Array) -> Any:
            return jax.tree.map(lambda leaf: scale * leaf, model.init(key))

        keys = jax.random.split(key_init, len(settings))
        net = jax.jit(jax.vmap(start))(keys, scale)
        self.params = {"net": net, "rate": rate, "decay": decay}
        make = models.loss_maker(prepared.task)
        self.loss = make(lambda params, x: model.apply(params["net"], x))
        self.first = np.full(len(settings), np.inf)
        self.losses = self.first

    def train(self, steps: int) -> None:
        """Go on for so many steps, with a fresh state of the optimizer."""
        self.key, key = jax.random.split(self.key)
        split, is_first = self.prepared.split, not np.isfinite(self.losses).any()
        plan = schedules.schedule(self.config, len(split.train.x))
        with warnings.catch_warnings():
            # A trial that diverges is one that loses.
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            fit = training.fit_ensemble(
                self.loss,
                self.params,
                split.train,
                key=key,
                optimizer=numbers_optimizer(self.config.optimizer),
                steps=steps,
                batch_size=plan.batch_size,
                validation=split.validation,
                patience=self.config.patience,
                evaluate_every=plan.evaluate_every,
            )
        self.params = fit.final_params
        reached = np.asarray(fit.history.validation_loss, float)
        reached = np.where(np.isfinite(reached), reached, np.inf).min(axis=1)
        self.losses = np.minimum(self.losses, reached)
        if is_first:
            self.first = self.losses

    def best(self) -> float:
        """Return the lowest validation loss so far."""
        return float(self.losses.min())


def _drawn(
    config: Config, prepared: data_.Prepared, rng: np.random.Generator
) -> list[list[dict[str, Any]]]:
    """Return the trials by shape; the first of the first is the config's own."""
    rows, outputs = len(prepared.split.train.x), len(prepared.target_names)
    base = {
        "hidden": schedules.hidden_units(config, rows, outputs),
        **{n: getattr(config, n) for n in ("basis", "resolution", *NUMBERS)},
    }
    domain = models.domain(config)
    families = [
        name
        for name in dict.fromkeys((config.basis, *BASES))
        if bases.family(name, config.resolution).domain == domain
    ]
    count = max(1, config.search // PER_SHAPE)
    sizes = [len(chunk) for chunk in np.array_split(np.arange(config.search), count)]
    groups = []
    for i, size in enumerate(sizes):
        shape = {name: base[name] for name in SHAPE}
        if i > 0:
            width = max(int(rng.choice(WIDTHS)), outputs)
            shape["hidden"] = (width,) * max(1, len(base["hidden"]))
        if i > 0 and config.model == "kan":
            shape["basis"] = str(rng.choice(families))
            shape["resolution"] = int(rng.choice(RESOLUTIONS))
        groups.append([{**shape, **_numbers(rng)} for _ in range(size)])
    groups[0][0] = base
    return groups


def _numbers(rng: np.random.Generator) -> dict[str, float]:
    """Draw what trials of one shape differ in, uniform on a logarithmic scale."""

    def draw(ends: tuple[float, float]) -> float:
        return float(np.exp(rng.uniform(*np.log(ends))))

    return {
        "learning_rate": draw(LEARNING_RATES),
        "weight_decay": draw(WEIGHT_DECAYS),
        "scale": draw(SCALES),
    }


def _matters(trials: list[dict[str, Any]]) -> dict[str, float]:
    """Return what share of the ranks' variance goes with each setting by itself.

    The correlation ratio over its values, which for numbers are their terciles. With
    few trials chance alone gives (values - 1) / (trials - 1).
    """
    losses = np.array([trial["first"] for trial in trials])
    ranks = np.argsort(np.argsort(losses, kind="stable")).astype(float)
    total = np.sum((ranks - ranks.mean()) ** 2)
    shares = {}
    for name in (*SHAPE, *NUMBERS):
        values = [trial[name] for trial in trials]
        if name in NUMBERS:
            order = np.argsort(np.argsort(values, kind="stable"))
            values = (3 * order // len(values)).tolist()
        kinds = {value: [] for value in values}
        if len(kinds) < 2 or not total:
            continue
        for value, rank in zip(values, ranks, strict=True):
            kinds[value].append(rank)
        between = sum(
            len(each) * (np.mean(each) - ranks.mean()) ** 2 for each in kinds.values()
        )
        shares[name] = float(between / total)
    return shares
