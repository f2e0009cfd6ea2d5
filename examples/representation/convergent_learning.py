"""Convergent Learning: do different networks learn the same units, on digits.

Li, Yosinski, Clune, Lipson, Hopcroft (2016), arXiv 1511.07543. Pairs of networks that
differ in their initialization and the order of their data are aligned one to one, few
to one and many to many. The paper's networks (AlexNet on ImageNet) are not here:
``--full`` is the default with more pairs. Sizes and thresholds are ours.
"""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.papers import spread
from kanjax.plotting import style
from kanjax.representation import (
    similarity,
    sparse_prediction,
    unit_clusters,
    unit_information,
    unit_matching,
)

PAPER = papers.Paper(
    slug="convergent-learning",
    title="Convergent Learning: Do different neural networks learn the same "
    "representations?",
    source="Li, Yosinski, Clune, Lipson, Hopcroft (2016), arXiv 1511.07543",
    room="representation",
    state="in part",
)

NET = kj.nn.MLP((64, 256, 256, 10))
LOSS = kj.training.classification(NET.apply)
TRAIN, FIT, TARGETS, CLUSTERS = 1347, 900, 30, 40
PENALTIES = jnp.array([0.3, 0.1, 0.03, 0.01])
FEW = 2
"""The penalty, of those above, that the claims on few units are made of."""


PAIRS = {"short": 2, "default": 8, "full": 40}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; all data come with scikit-learn, and ``data`` is not read."""
    digits = kj.data.load("digits")
    # As they come, the last digits are by other writers than the first.
    order = np.random.default_rng(0).permutation(len(digits.y))
    x = jnp.asarray(digits.x[order] / 16, jnp.float32)
    y = jnp.asarray(digits.y[order])
    keys = jax.random.split(jax.random.key(0), (PAIRS[scale], 2))
    run = jax.jit(lambda key: _run(key, x, y))
    runs = [run(key) for key in keys.ravel()]
    values, accuracies = jax.tree.map(
        lambda *v: jnp.stack(v).reshape(*keys.shape, *v[0].shape), *runs
    )
    align, predict, agree = jax.jit(_align), jax.jit(_predict), jax.jit(_agree)
    measured: dict[str, Any] = {"accuracy": np.asarray(accuracies)}
    for name, layer in (("first", "[0]"), ("second", "[1]")):
        for state, layers in values.items():
            both = layers[layer]
            runs = [align(*both[i], keys[i, 0]) for i in range(PAIRS[scale])]
            measured[f"{state} {name}"] = _stack(runs)
    first = values["trained"]["[0]"]
    measured["prediction"] = _stack([predict(*pair) for pair in first])
    measured["partners"] = _stack([agree(*pair) for pair in first])
    affinity = np.asarray(jax.jit(_reorder)(*first[0], keys[0, 0]))
    numbers = jax.tree.map(lambda v: v.tolist(), measured)
    figure = _figure(measured, affinity)
    return papers.Reproduction(_claims(measured), numbers, {PAPER.slug: figure})


def _run(key: Array, x: Array, y: Array) -> tuple[dict[str, Any], Array]:
    """Train a network, and record it before and after on what it was trained on."""
    untrained = NET.init(key)
    trained, _ = kj.training.descend(
        LOSS,
        untrained,
        (x[:TRAIN], y[:TRAIN]),
        key=key,
        optimizer=optax.adam(3e-3),
        steps=250,
        batch_size=128,
    )
    networks = {"trained": trained, "untrained": untrained}
    values = {k: kj.taps.record(NET, p, x[:TRAIN]) for k, p in networks.items()}
    return values, LOSS(trained, (x[TRAIN:], y[TRAIN:]))[1]["accuracy"]


def _align(x: Array, y: Array, key: Array) -> dict[str, Array]:
    """Measure a pair of layers one to one, beside samples in another order."""
    table = unit_matching.correlate(x, y)
    summary = unit_matching.summarize(table)
    other = unit_matching.correlate(x, jax.random.permutation(key, y))
    return {
        "sorted": summary.bipartite,
        "bipartite": summary.mean_bipartite,
        "semi": summary.mean_semi,
        "unaligned": summary.unaligned,
        "shuffled": unit_matching.summarize(other).mean_bipartite,
        "cka": similarity.linear_cka(x, y, debiased=True),
    }


def _agree(x: Array, y: Array) -> dict[str, Array]:
    """Measure how often information and correlation pick the same partner."""
    table = unit_matching.correlate(x, y)
    information = unit_information.mutual_information(x, y).mutual
    agree = jnp.argmax(information, axis=1) == jnp.argmax(table.xy, axis=1)
    return {"agreement": jnp.mean(agree, where=table.live_x)}


def _predict(x: Array, y: Array) -> dict[str, Array]:
    """Predict units of y from those of x, with errors on samples held out."""
    live = unit_matching.correlate(x, y).live_y
    # The first live units, in the order that they stand in.
    targets = y[:, jnp.argsort(~live)[:TARGETS]]
    fit, held = slice(FIT), slice(FIT, None)
    pairs = [
        [sparse_prediction.standardize(v[rows], v[fit]) for v in (x, targets)]
        for rows in (fit, held)
    ]
    path = sparse_prediction.sparse_path(*pairs[0], PENALTIES)
    full = sparse_prediction.linear_prediction(*pairs[0])
    alone = unit_matching.correlate(*pairs[0]).xy
    best = jnp.argmax(jnp.abs(alone), axis=0)
    units = jnp.arange(alone.shape[1])
    single = jnp.zeros_like(alone).at[best, units].set(alone[best, units])
    weights = jnp.concatenate([single[None], path, full[None]])
    errors = jax.vmap(lambda w: sparse_prediction.prediction_error(w, *pairs[1]))
    return {
        "errors": jnp.mean(errors(weights), axis=1),
        "counts": jnp.mean(sparse_prediction.count_units(weights), axis=1),
        "live": jnp.sum(jnp.any(x != 0, axis=0)),
    }


def _reorder(x: Array, y: Array, key: Array) -> Array:
    """Put the affinity of both networks' units in the order of their clusters."""
    affinity = unit_clusters.joint_affinity(unit_matching.correlate(x, y))
    labels = unit_clusters.spectral_clusters(affinity, CLUSTERS, key=key).labels
    order = jnp.argsort(labels)
    return affinity[order][:, order]


def _claims(measured: dict[str, Any]) -> tuple[papers.Claim, ...]:
    claims = []
    trained, untrained = measured["trained second"], measured["untrained second"]
    gain = trained["bipartite"] - untrained["bipartite"]
    claims.append(
        papers.Claim(
            "Training aligns units: in the second layer the mean correlation of units "
            "matched one to one is above that of untrained networks.",
            f"{spread(trained['bipartite'])}, a gain of {spread(gain)}",
            bool(gain.min() > 0.2),
            threshold="a gain above 0.2 for each pair",
            baseline=f"untrained {spread(untrained['bipartite'])}, samples shuffled "
            f"{spread(trained['shuffled'])}",
        )
    )
    first, plain = measured["trained first"], measured["untrained first"]
    for name, layer in (("first", first), ("second", trained)):
        gap = layer["semi"] - layer["bipartite"]
        claims.append(
            papers.Claim(
                f"Some units have no partner of their own: in the {name} layer, "
                "sharing partners raises the mean correlation.",
                f"{spread(layer['semi'])}, a gain of {spread(gap)}",
                # Not 0: with as many units in both it cannot fall.
                bool(gap.min() > 0.02),
                threshold="a gain above 0.02 for each pair",
                baseline=f"one to one {spread(layer['bipartite'])}",
            )
        )
    errors, counts = (measured["prediction"][k] for k in ("errors", "counts"))
    explained = (1 - errors[:, 1 + FEW]) / (1 - errors[:, -1])
    used = counts[:, 1 + FEW] / measured["prediction"]["live"]
    alone = (1 - errors[:, 0]) / (1 - errors[:, -1])
    claims.append(
        papers.Claim(
            "Few units of one network predict a unit of the other about as well as all "
            "do, where the best alone does not: the code is partly distributed.",
            f"with {spread(used)} of the live units, {spread(explained)} of the "
            "variance on held-out digits that least squares explains",
            bool(explained.min() > 0.8 and used.max() < 0.3 and alone.max() < 0.8),
            threshold="above 0.8 with less than 0.3 of the units, below 0.8 with one",
            baseline=f"the best unit alone {spread(alone)}",
        )
    )
    claims.append(
        papers.Claim(
            "Subspaces are shared more than units are: debiased CKA of the first layer "
            "is above the mean correlation of its matched units.",
            spread(first["cka"]),
            bool((first["cka"] - first["bipartite"]).min() > 0.2),
            threshold="a difference above 0.2 for each pair",
            baseline=f"matched units {spread(first['bipartite'])}; CKA of untrained "
            f"networks {spread(plain['cka'])}",
        )
    )
    agreement = measured["partners"]["agreement"]
    claims.append(
        papers.Claim(
            "Correlation misses little: mutual information picks the same partner for "
            "most units of the first layer.",
            f"{spread(agreement)} of the units",
            bool(agreement.min() > 0.5),
            threshold="above 0.5 for each pair",
            baseline=f"by chance {1 / 256:.3f}",
        )
    )
    return tuple(claims)


def _stack(runs: list[dict[str, Array]]) -> dict[str, np.ndarray]:
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


@style.styled
def _figure(measured: dict[str, Any], affinity: np.ndarray) -> Any:
    figure = style.new_figure((9.6, 3.3))
    left, middle, right = figure.subplots(1, 3)
    colors = {"first": style.BLUE, "second": style.ORANGE}
    for name, color in colors.items():
        for state, dashes in (("trained", "-"), ("untrained", ":")):
            curve = measured[f"{state} {name}"]["sorted"].mean(axis=0)
            label = f"{name}, {state}"
            left.plot(curve, color=color, linestyle=dashes, label=label)
    left.set(
        xlabel="pair of units, best first",
        ylabel="correlation",
        title="Units of a layer, matched one to one",
        ylim=(-0.1, 1.02),
    )
    left.legend(loc="lower left", fontsize=8)
    errors, counts = (measured["prediction"][k] for k in ("errors", "counts"))
    middle.errorbar(
        counts.mean(axis=0),
        errors.mean(axis=0),
        yerr=errors.std(axis=0, ddof=1),
        fmt="o-",
        color=style.GREEN,
    )
    labels = ["best unit", *(f"λ = {p:g}" for p in PENALTIES.tolist()), "least squares"]
    for i, label in enumerate(labels):
        place = counts.mean(axis=0)[i], errors.mean(axis=0)[i]
        shift = (8, -24) if label == "least squares" else (5, 6)
        side = "right" if label == "least squares" else "left"
        middle.annotate(
            label, place, shift, textcoords="offset points", ha=side, fontsize=8
        )
    middle.set(
        xscale="log",
        xlabel="units used",
        ylabel="error on held-out digits (mean: 1)",
        title="Predicting units of the first layer",
        ylim=(0, None),
    )
    size = len(affinity) // 8
    coarse = affinity.reshape(size, 8, size, 8).mean(axis=(1, 3))
    picture = right.imshow(coarse, cmap="Greys", vmin=0, vmax=1)
    figure.colorbar(picture, cax=style.beside(right), label="|correlation|")
    right.set(
        xticks=[],
        yticks=[],
        xlabel="units of both networks, by cluster",
        title=f"{CLUSTERS} spectral clusters",
    )
    for axes in (left, middle):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
