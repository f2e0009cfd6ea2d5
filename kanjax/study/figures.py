"""The pictures of a study's report, each with the sentence that goes under it."""

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kanjax import compiling, kan, ntk, plotting
from kanjax.pages import number
from kanjax.study import store
from kanjax.study.attempts import attempted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kanjax.study.findings import Findings

CURVE_POINTS = 100

_layer_edges = compiling.jit_soon(kan.layer_edges)


class Picture(NamedTuple):
    """A figure, its file name, its section in the report and its caption."""

    name: str
    section: str
    figure: "Figure"
    caption: str


def draw(
    study: store.Study, findings: "Findings", notes: list[str]
) -> Iterator[Picture]:
    """All pictures, in the report's order; what fails is noted and left out."""
    sections = _quality, _predictions, _functions, _features, _kernels, _landscape
    for section in sections:
        pictures = section(study, findings)
        what = f"figures of {section.__name__.strip('_')}"
        while picture := attempted(
            notes, what, functools.partial(next, pictures, None)
        ):
            yield picture


def _quality(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    yield Picture(
        "scores",
        "quality",
        _scores(study, findings),
        "Test scores: one dot per member, the ensemble, and scikit-learn's methods.",
    )
    yield Picture(
        "training",
        "quality",
        plotting.training_history(
            findings.fit.history,
            best_step=findings.fit.best_step,
            loss_name=_loss_name(study),
        ),
        "Loss of every member on its training batches and on the validation rows.",
    )


def _scores(study: store.Study, findings: "Findings") -> "Figure":
    metric = "R2" if study.data.task == "regression" else "accuracy"
    kind = study.config.model.upper()
    rows: list[tuple[str, Any]] = [
        (f"{kind} members", findings.scores.members[metric]),
        (f"{kind} ensemble", findings.scores.ensemble[metric]),
    ]
    rows += [(name, values[metric]) for name, values in findings.baselines.items()]
    return plotting.scores(rows, metric=f"test {metric}")


def _loss_name(study: store.Study) -> str:
    if isinstance(study.model, ntk.DeepKernelMachine):
        return "minus the objective for each row (nats)"
    if study.data.task == "regression":
        return "mean squared error (standardised)"
    return "cross-entropy (nats)"


def _predictions(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    data = study.data
    test = data.split.test
    nominal, observed = findings.scores.curve
    output, spread = map(np.asarray, findings.scores.prediction)
    if data.task == "regression":
        scaler = data.preprocessor
        y = scaler.inverse_target(test.y)[:, 0]
        mean = scaler.inverse_target(output)[:, 0]
        std = spread[:, 0] * scaler.std[0]
        summary = None
        if output.shape[1] == 1:
            # Of several targets one is drawn, whose scores are in no table.
            shown = {n: number(v) for n, v in findings.scores.ensemble.items()}
            summary = f"R² = {shown['R2']}\nRMSE = {shown['RMSE']}"
        yield Picture(
            "parity",
            "quality",
            plotting.parity(y, mean, std, summary=summary, title=data.target_names[0]),
            "The ensemble's prediction of the test rows; bars are the members' spread.",
        )
        yield Picture(
            "calibration",
            "quality",
            plotting.calibration(nominal, observed),
            "How many test targets lie inside the central intervals of the members' "
            "spread. Below the diagonal the spread is too narrow: it holds what the "
            "members disagree on, not the noise of the target.",
        )
        return
    predicted = output.argmax(axis=-1)
    yield Picture(
        "confusion",
        "quality",
        plotting.confusion(np.asarray(test.y), predicted, data.target_names),
        "Test rows by true and predicted class.",
    )
    yield Picture(
        "calibration",
        "quality",
        plotting.calibration(nominal, observed, kind="confidence"),
        "Accuracy against the ensemble's confidence, in bins of equal size.",
    )


def _functions(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    names, data = study.data.feature_names, study.data
    if findings.inputs is not None:
        yield Picture(
            "attribution",
            "functions",
            plotting.attribution(findings.inputs.attribution, findings.inputs.names),
            "Share of each input in what the members compute; one dot per member.",
        )
    yield from _explanations(study, findings)
    if findings.pruning is None or not isinstance(study.model, kan.KAN):
        return
    x: Any = np.asarray(data.split.train.x[:2000])
    pruned = findings.pruning.pruned
    diagram = kan.diagram(pruned.model, pruned.params, x)
    yield Picture(
        "network",
        "functions",
        plotting.network(
            diagram,
            names=names,
            output_names=data.target_names,
        ),
        "The best member after pruning, with the functions of its strongest edges; the "
        "darker an edge, the more it matters.",
    )
    low, high = np.min(x, axis=0), np.max(x, axis=0)
    grid = low + np.linspace(0, 1, CURVE_POINTS)[:, None] * (high - low)
    # There is nothing between a category and another.
    grid = np.where(data.preprocessor.of_categories, np.round(grid), grid)
    grid = grid.astype(np.float32)
    values = _layer_edges(pruned.model.layers[0], pruned.params[0], grid)
    yield Picture(
        "functions",
        "functions",
        plotting.edge_functions(
            data.preprocessor.in_units(grid),
            values,
            names,
            diagram.scores[0],
            xlabel="input in the units of its column",
        ),
        "Learned functions of the first layer of the pruned network: for the inputs "
        "that matter most, the strongest edges into hidden units, by their numbers in "
        "its picture. Of a category there are bars: without it (0) and with it (1).",
    )


def _explanations(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    explained, data = findings.explanations, study.data
    if explained is None:
        return
    regression = data.task == "regression"
    unit = "over the target's variance" if regression else "nats"
    yield Picture(
        "importance",
        "functions",
        plotting.attribution(
            explained.rises,
            explained.columns,
            label=f"rise of the loss ({unit})",
            dots="permutations",
        ),
        "How much the ensemble's loss rises where a column's values are permuted among "
        "the test rows, one dot a permutation: what the predictions hang on, given the "
        "other columns.",
    )
    if explained.dependences:
        yield Picture(
            "dependence",
            "functions",
            plotting.partial_dependence(
                explained.dependences,
                data.target_names,
                ylabel="mean prediction" if regression else "mean probability",
            ),
            "The mean prediction over training rows in which one column has the same "
            "value everywhere; the band is from the lowest member to the highest. "
            "Where columns go together, such rows may be unlike any of the data.",
        )


def _features(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    if findings.features is None:
        return
    alike = findings.features.similarity
    yield Picture(
        "similarity",
        "features",
        plotting.similarity_matrix(
            alike["initial"].cka,
            alike["trained"].cka,
            names=[str(i) for i in range(len(alike["trained"].cka))],
        ),
        "Linear CKA, debiased, of what enters the last layer of any two members on the "
        "training rows: 1 if one is a rotation and scaling of the other, about 0 if "
        "they have nothing in common.",
    )


def _kernels(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    best, y = int(findings.order[0]), np.asarray(study.data.split.train.y)
    kernels = findings.kernels
    if kernels is None:
        return
    rows = kernels.trained.shape[1]
    order = np.argsort(y[:rows] if y.ndim == 1 else y[:rows, 0])
    yield Picture(
        "spectra",
        "kernels",
        plotting.spectra(
            {
                "at initialisation": kernels.spectra["initial"].eigenvalues,
                "after training": kernels.spectra["trained"].eigenvalues,
            }
        ),
        f"Spectrum of the empirical tangent kernel of every member on {rows} training "
        "rows.",
    )
    yield Picture(
        "kernel",
        "kernels",
        plotting.kernel_matrix(
            kernels.trained[best], order=order, title="tangent kernel after training"
        ),
        "The best member's kernel after training, rows sorted by the target.",
    )


def _landscape(study: store.Study, findings: "Findings") -> Iterator[Picture]:
    around = findings.landscape
    if around is None:
        return
    label = _loss_name(study)
    yield Picture(
        "plane",
        "landscape",
        plotting.loss_plane(around.plane, label=label, mark_names=["best member"]),
        "Training loss around the best member along two random filter-normalised "
        "directions.",
    )
    if around.members_plane is not None:
        yield Picture(
            "members_plane",
            "landscape",
            plotting.loss_plane(
                around.members_plane,
                label=label,
                mark_names=[f"member {i}" for i in around.plane_members],
            ),
            "Training loss on the plane through the three best members.",
        )
    names = [str(i) for i in range(len(around.barriers))]
    yield Picture(
        "barriers",
        "landscape",
        plotting.barrier_matrix(around.barriers, around.aligned_barriers, names=names),
        "Height of the loss barrier on the straight line between members, before and "
        "after permuting the hidden units of one to match the other's.",
    )
