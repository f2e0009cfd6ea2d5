"""What is found out about a trained ensemble, and the numbers of it."""

from typing import Any, NamedTuple

import jax
import numpy as np

from kanjax import compiling, kan, progress, training, versions
from kanjax import data as data_
from kanjax.model import Model, count_parameters
from kanjax.study import (
    analysis,
    baselines,
    evaluation,
    explanations,
    features,
    hardest,
    intervals,
    models,
    schedules,
    store,
)
from kanjax.study.attempts import attempted
from kanjax.study.config import Config


class Predictions(NamedTuple):
    """What is found out about an ensemble's predictions."""

    scores: evaluation.Scores
    calibration: evaluation.Calibration
    folds: intervals.FoldNetworks | None
    coverage: dict[str, Any]
    hardest: list[dict[str, Any]]


class Findings(NamedTuple):
    """All results of a study's analysis; None for what failed, as ``notes`` say."""

    fit: training.Fit
    order: np.ndarray
    scores: evaluation.Scores
    calibration: evaluation.Calibration
    folds: intervals.FoldNetworks | None
    coverage: dict[str, Any]
    baselines: dict[str, dict[str, float]]
    compared: dict[str, dict[str, evaluation.Compared]]
    hardest: list[dict[str, Any]]
    inputs: analysis.Inputs | None
    explanations: explanations.Explanations | None
    features: features.Features | None
    pruning: analysis.Pruning | None
    kernels: analysis.Kernels | None
    landscape: analysis.Landscape | None
    notes: tuple[str, ...]
    search: dict[str, Any] | None = None


def analyze(
    config: Config,
    model: Model,
    initial: Any,
    fit: training.Fit,
    prepared: data_.Prepared,
    key: jax.Array,
    tell: progress.Report,
) -> Findings:
    """Everything that is found out about a trained ensemble.

    What fails is left out, with a note: a finished training is never lost by it.
    """
    split, task = prepared.split, prepared.task
    scale = np.asarray(prepared.preprocessor.std)
    classes = len(prepared.target_names) if task == "classification" else 0
    order = np.argsort(np.nanmin(fit.history.validation_loss, axis=1))
    # On the host, where taking a member or rows needs no program.
    best = jax.tree.map(lambda leaf: np.asarray(leaf)[order[0]], fit.params)
    some_rows: Any = np.asarray(split.train.x)[:2000]

    key_folds, key_plane, key_samples, key_orders = _keys(key)
    notes: list[str] = []
    predicted = _predict(config, model, fit, prepared, key_folds, notes, tell)
    scores, calibration = predicted.scores, predicted.calibration
    y = np.asarray(split.test.y)
    tell("fitting scikit-learn's baselines", 0.55)
    others = baselines.baselines(
        task,
        split,
        classes,
        seed=config.seed,
        notes=notes,
        with_processes=config.model == "dkm",
    )
    methods = {evaluation.ENSEMBLE: scores.prediction.output, **others}
    compared = evaluation.compare(task, methods, y, scale, key_samples)
    tell("attributing the inputs", 0.62)
    inputs = attempted(
        notes,
        "attribution",
        lambda: analysis.attribute_inputs(
            model, fit.params, some_rows, prepared.preprocessor.columns
        ),
    )
    tell("permuting the columns", 0.63)
    explained = attempted(
        notes,
        "permuted columns",
        lambda: explanations.explain(
            model, fit.params, prepared, calibration.temperature, key_orders
        ),
    )
    tell("comparing the members", 0.64)
    inner = attempted(
        notes,
        "members' features",
        lambda: features.compare(model, initial, fit.params, split.train),
    )
    pruning = None
    if isinstance(model, kan.KAN) and inputs is not None:
        net, test = model, split.test
        edges = jax.tree.map(lambda leaf: np.asarray(leaf)[order[0]], inputs.of_edges)
        tell("pruning and looking for a formula", 0.65)
        pruning = attempted(
            notes,
            "pruning",
            lambda: analysis.prune_member(
                net, best, edges, task, some_rows, split.validation, test, scale
            ),
        )
    tell("computing tangent kernels", 0.7)
    kernels = attempted(
        notes,
        "tangent kernels",
        lambda: analysis.kernels(model, initial, fit.params, split.train, classes),
    )
    tell("mapping the loss landscape", 0.75)
    around = attempted(
        notes,
        "loss landscape",
        lambda: analysis.losses_around(
            model,
            fit.params,
            order,
            models.loss_of(task, model),
            split.train,
            key_plane,
        ),
    )
    return Findings(
        fit=fit,
        order=order,
        **predicted._asdict(),
        baselines={
            name: evaluation.measure(task, values, y, scale)
            for name, values in others.items()
        },
        compared=compared,
        inputs=inputs,
        explanations=explained,
        features=inner,
        pruning=pruning,
        kernels=kernels,
        landscape=around,
        notes=tuple(notes),
    )


def _predict(
    config: Config,
    model: Model,
    fit: training.Fit,
    prepared: data_.Prepared,
    key: jax.Array,
    notes: list[str],
    tell: progress.Report,
) -> Predictions:
    """Score an ensemble's predictions and say how sure they are."""
    split, task = prepared.split, prepared.task
    scale, y = np.asarray(prepared.preprocessor.std), np.asarray(split.test.y)
    tell("scoring", 0.5)
    calibration = evaluation.calibrate(
        task,
        evaluation.predict(model, fit.params, split.validation.x),
        split.validation.y,
    )
    outputs = evaluation.predict(model, fit.params, split.test.x)
    scores = evaluation.score(task, outputs, y, scale, calibration.temperature)
    folds = None
    if intervals.use_folds(config, prepared):
        tell("training without folds, for the intervals", 0.51)
        folds = attempted(
            notes,
            "CV+",
            lambda: intervals.train_folds(config, model, prepared, key),
        )
    if task == "regression":
        output, x = scores.prediction.output, split.test.x
        ends = intervals.find_ends(model, output, calibration, folds, x)
        covered = evaluation.interval_coverage(ends, y, scale)
        covered["method"] = "split" if folds is None else "cv+"
    else:
        covered = evaluation.set_coverage(scores.prediction, calibration, y)
    on_train = evaluation.predict(model, fit.params, split.train.x)
    on_train = evaluation.combine(task, on_train, calibration.temperature)
    wrong = hardest.hardest_rows(
        prepared, {"test": scores.prediction, "train": on_train}
    )
    return Predictions(scores, calibration, folds, covered, wrong)


@compiling.jit_soon
def _keys(key: jax.Array) -> tuple[jax.Array, ...]:
    """Return a key for each part that draws."""
    return jax.random.fold_in(key, 1), *jax.random.split(key, 3)


def metrics(
    config: Config, prepared: data_.Prepared, findings: Findings
) -> dict[str, Any]:
    """Return the figures of the report as plain numbers."""
    member = jax.tree.map(lambda leaf: np.asarray(leaf)[0], findings.fit.params)
    kernels, around = findings.kernels, findings.landscape
    values: dict[str, Any] = {
        "task": prepared.task,
        "rows": {
            subset: len(getattr(prepared.split, subset).x) for subset in store.PARTS
        },
        "parameters": count_parameters(member),
        "test": {
            "members": findings.scores.members,
            "ensemble": findings.scores.ensemble,
        },
        "spread": findings.scores.spread,
        "calibration": {
            "nominal": findings.scores.curve[0],
            "observed": findings.scores.curve[1],
        },
        "intervals": findings.coverage,
        "baselines": findings.baselines,
        "compared": {
            method: {metric: score._asdict() for metric, score in scores.items()}
            for method, scores in findings.compared.items()
        },
        "hardest": findings.hardest,
        "training": {
            "schedule": schedules.schedule(
                config, len(prepared.split.train.x)
            )._asdict(),
            "steps": findings.fit.steps,
            "best_step": findings.fit.best_step,
            "stopped": findings.fit.stopped,
            "diverged": findings.fit.diverged,
            "order": findings.order,
        },
        "notes": [
            *prepared.notes,
            *_training_notes(config, findings.fit),
            *findings.notes,
        ],
        "versions": versions.installed(),
    }
    if prepared.task == "classification":
        y = prepared.split.test.y
        values["confusion"] = evaluation.confusion(findings.scores.prediction, y)
    if findings.inputs is not None:
        shares = np.asarray(findings.inputs.attribution).T.tolist()
        values["attribution"] = dict(zip(findings.inputs.names, shares, strict=True))
    if findings.explanations is not None:
        values["importance"] = explanations.metrics(findings.explanations)
    if findings.search is not None:
        values["search"] = findings.search
    if findings.features is not None:
        values["features"] = features.metrics(findings.features)
    if findings.pruning is not None:
        values["pruning"] = _pruning_metrics(findings.pruning)
    if kernels is not None:
        values["ntk"] = {
            "drift": kernels.drift,
            **{
                when: {
                    "alignment": kernels.alignment[when],
                    "condition_number": kernels.spectra[when].condition_number,
                    "effective_rank": kernels.spectra[when].effective_rank,
                }
                for when in ("initial", "trained")
            },
        }
    if around is not None:
        values["barriers"] = {
            "before": around.barriers,
            "after_alignment": around.aligned_barriers,
        }
    return values


def _pruning_metrics(pruning: analysis.Pruning) -> dict[str, Any]:
    return {
        "edges": pruning.edges,
        "edges_left": pruning.pruned.edges_left,
        "widths": pruning.pruned.model.widths,
        "before": pruning.scores_before,
        "after": pruning.scores_after,
        "edge_functions": [
            {
                "layer": edge.layer,
                "source": edge.source,
                "target": edge.target,
                "function": edge.fit.name,
                "coefficients": edge.fit.coefficients,
                "r2": edge.fit.r2,
            }
            for edge in pruning.fits
        ],
        "formula": None if pruning.formula is None else list(map(str, pruning.formula)),
        "formula_scores": pruning.formula_scores,
    }


def _training_notes(config: Config, fit: training.Fit) -> list[str]:
    notes = [
        f"member {i} diverged at step {int(step)}; its last good parameters are used"
        for i, step in enumerate(fit.diverged)
        if step >= 0
    ]
    improving = int(np.sum((fit.diverged < 0) & (fit.best_step == fit.steps)))
    if improving:
        more = "more --steps, or a larger --learning-rate,"
        more = "more units by --hidden" if config.model == "boosted" else more
        notes.append(
            f"{improving} of {len(fit.steps)} members were best at their last step: "
            f"{more} may help"
        )
    return notes
