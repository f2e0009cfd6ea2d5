"""Barlow Twins: Self-Supervised Learning via Redundancy Reduction, on digits.

Zbontar et al. (2021), arXiv 2103.03230. A small perceptron learns from pairs of views
of digits without labels; a linear probe then reads few labels off it. ImageNet,
ResNet-50 and the paper's tables are not here; sizes are ours.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.data import augmentation
from kanjax.plotting import style
from kanjax.representation import barlow_twins, probes

PAPER = papers.Paper(
    slug="barlow-twins",
    title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
    source="Zbontar, Jing, Misra, LeCun, Deny (2021), arXiv 2103.03230",
    room="representation",
    state="in part",
)

CLASSES, BATCH, STEP_SIZE, PROBE_STEPS = 10, 256, 1e-3, 300
# Features in the picture of correlations.
SHOWN = 48
# Weights of the invariance and of the redundancy term.
ARMS = {
    "λ = 0.0051": (1.0, 0.0051),
    "λ = 0.02": (1.0, 0.02),
    "λ = 0": (1.0, 0.0),
    "redundancy only": (0.0, 0.0051),
}
MAIN, WITHOUT, ALONE = "λ = 0.0051", "λ = 0", "redundancy only"
RAW, RANDOM = "raw pixels", "random encoder"


class Setting(NamedTuple):
    """Sizes of a run; the last width is that of the arms."""

    generator: str
    seeds: int
    draws: int
    steps: int
    hidden: int
    widths: tuple[int, ...]
    labels: tuple[int, ...]


SETTINGS = {
    # Most of the short run is compilation, of which this generator needs less.
    "short": Setting("rbg", 2, 3, 40, 32, (16,), (50,)),
    "default": Setting(
        "threefry2x32", 4, 5, 800, 256, (16, 64, 256), (10, 20, 50, 100, 200)
    ),
    "full": Setting(
        "threefry2x32", 20, 10, 2000, 512, (16, 64, 256, 1024), (10, 20, 50, 100, 200)
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims, on digits, or on MNIST from the folder ``data``."""
    setting = SETTINGS[scale]
    train, test = kj.data.handwritten_digits(data)
    encoder = kj.nn.MLP((train.x.shape[1], setting.hidden, setting.hidden // 2))
    encoders, correlations = _encoders(setting, encoder, train.x)
    features = {RAW: (train.x[None], test.x[None])}
    apply = jax.jit(jax.vmap(encoder.apply, (0, None)))
    for name, params in encoders.items():
        features[name] = apply(params, train.x), apply(params, test.x)
    probe = jax.jit(
        jax.vmap(
            jax.vmap(functools.partial(_probe, train.y, test.y), (None, None, 0)),
            (0, 0, None),
        )
    )
    draws = {n: _draw(np.asarray(train.y), n, setting.draws) for n in setting.labels}
    accuracy = {
        name: {
            count: np.asarray(probe(x, held, rows)).mean(axis=1)
            for count, rows in draws.items()
        }
        for name, (x, held) in features.items()
    }
    effective_rank = jax.jit(probes.effective_rank)
    rank = {
        name: np.array([float(effective_rank(x)) for x in np.asarray(held)])
        for name, (_, held) in features.items()
    }
    numbers = {
        "accuracy": {
            name: {count: values.tolist() for count, values in by_count.items()}
            for name, by_count in accuracy.items()
        },
        "effective rank": {name: values.tolist() for name, values in rank.items()},
        "neighbors": {
            name: float(_by_neighbors(train.y, test.y, x[0], held[0]))
            for name, (x, held) in features.items()
        },
        "mean redundancy": [
            float(barlow_twins.mean_redundancy(c)) for c in correlations
        ],
    }
    figure = _figure(setting, accuracy, rank, correlations)
    claims = _claims(setting, accuracy, rank)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _encoders(
    setting: Setting, encoder: Any, x: Array
) -> tuple[dict[str, Any], list[Array]]:
    """Give parameters of each arm, stacked by seed, and cross-correlations of the first
    seed's views before and after training.
    """
    keys = jax.random.split(jax.random.key(0, impl=setting.generator), setting.seeds)
    weights = jnp.array(list(ARMS.values()))
    encoders: dict[str, Any] = {}
    for width in setting.widths[:-1]:
        net = _network(setting, encoder, width)
        params = jax.device_get(_pretrain(setting, net, keys, weights[:1], x)[1])
        encoders[f"width {width}"] = jax.tree.map(lambda p: p[0], params[0])
    net = _network(setting, encoder, setting.widths[-1])
    starts, params = jax.device_get(_pretrain(setting, net, keys, weights, x))
    for i, arm in enumerate(ARMS):
        encoders[arm] = jax.tree.map(lambda p, i=i: p[i], params[0])
    encoders[RANDOM] = jax.tree.map(lambda p: p[0], starts[0])

    @jax.jit
    def correlate(params: Any) -> Array:
        pair = jax.vmap(jax.vmap(view, (0, None)))(
            jax.random.split(keys[0], (len(x), 2)), x
        )
        za, zb = (_embed(net, params, pair[:, i]) for i in range(2))
        return barlow_twins.cross_correlation(za, zb)

    return encoders, [
        correlate(jax.tree.map(lambda p: p[0, 0], each)) for each in (starts, params)
    ]


def view(key: Array, row: Array) -> Array:
    """Turn, scale, shift one digit (pixels,) by up to a pixel, cut out, add noise."""
    edge = round(len(row) ** 0.5)
    keys = jax.random.split(key, 3)
    image = row.reshape(edge, edge, 1)
    image = augmentation.affine(
        keys[0], image, degrees=15.0, scale=(0.9, 1.1), shift=1 / 8
    )
    image = augmentation.erase(keys[1], image, probability=0.5, area=(0.05, 0.25))
    return image.reshape(-1) + 0.1 * jax.random.normal(keys[2], row.shape)


def _network(setting: Setting, encoder: Any, width: int) -> Any:
    head = barlow_twins.projector((setting.hidden // 2, width, width))
    return kj.model.Sequential((encoder, head))


def _embed(net: Any, params: Any, x: Array) -> Array:
    # The running statistics are not needed: the projector is thrown away.
    return net.apply(params, x, state=net.initial_state(), train=True)[0]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _pretrain(
    setting: Setting, net: Any, keys: Array, weights: Array, x: Array
) -> tuple[Any, Any]:
    """Give the networks before and after training, by pair of weights and by seed."""

    def run(key: Array, weight: Array) -> tuple[Any, Any]:
        def compare(za: Array, zb: Array) -> Any:
            _, terms = barlow_twins.barlow_twins_loss(za, zb)
            value = weight[0] * terms["invariance"] + weight[1] * terms["redundancy"]
            return value, terms

        start_key, step_key = jax.random.split(key)
        start = net.init(start_key)
        embed = functools.partial(_embed, net)
        params, _ = kj.training.descend(
            barlow_twins.twin_loss(embed, (view, view), compare=compare),
            start,
            x,
            key=step_key,
            optimizer=optax.adam(STEP_SIZE),
            steps=setting.steps,
            batch_size=BATCH,
        )
        return start, params

    over_seeds = jax.vmap(run, (0, None))
    return jax.lax.map(lambda weight: over_seeds(keys, weight), weights)


def _draw(labels: np.ndarray, count: int, draws: int) -> Array:
    """Rows (draws, count) with as many of each class."""
    rng = np.random.default_rng(count)
    rows = [
        np.concatenate(
            [
                rng.choice(np.flatnonzero(labels == c), count // CLASSES, replace=False)
                for c in range(CLASSES)
            ]
        )
        for _ in range(draws)
    ]
    return jnp.asarray(np.stack(rows))


def _probe(y: Array, y_test: Array, x: Array, x_test: Array, rows: Array) -> Array:
    """Test accuracy of a linear probe of a few rows' labels."""
    # In one unit for all features of all arms: centered, of mean squared length 1.
    mean = jnp.mean(x, axis=0)
    unit = jnp.sqrt(jnp.mean(jnp.sum((x - mean) ** 2, axis=1)))
    probe = probes.fit_linear_probe(
        (x[rows] - mean) / unit,
        y[rows],
        CLASSES,
        key=jax.random.key(0),
        steps=PROBE_STEPS,
        learning_rate=3.0,
    )
    chosen = jnp.argmax(probes.logits(probe, (x_test - mean) / unit), axis=1)
    return jnp.mean(chosen == y_test)


@jax.jit
def _by_neighbors(y: Array, y_test: Array, x: Array, x_test: Array) -> Array:
    return jnp.mean(probes.predict_neighbors(x, y, CLASSES, x_test) == y_test)


def _claims(
    setting: Setting,
    accuracy: dict[str, dict[int, np.ndarray]],
    rank: dict[str, np.ndarray],
) -> tuple[papers.Claim, ...]:
    few = {name: by_count[50] for name, by_count in accuracy.items()}
    mean = {name: float(values.mean()) for name, values in few.items()}
    raw = f"{mean[RAW]:.3f}"
    spread = {n: papers.spread(v) if len(v) > 1 else raw for n, v in few.items()}
    ranks = {n: papers.spread(v, 1) for n, v in rank.items() if len(v) > 1}
    sizes = [*(f"width {w}" for w in setting.widths[:-1]), MAIN]
    measured = f"{spread[MAIN]} with 50 labels"
    return (
        *(
            papers.Claim(
                f"A probe reads few labels off the learned features better than off "
                f"{what}.",
                measured,
                mean[MAIN] - mean[name] >= margin,
                threshold=f"{margin} above it, means over seeds and draws of labels",
                baseline=f"{spread[name]}",
            )
            for name, what, margin in (
                (RAW, "raw pixels", 0.03),
                (RANDOM, "the untrained encoder", 0.05),
                (WITHOUT, "features without the redundancy term", 0.06),
            )
        ),
        papers.Claim(
            "Without the redundancy term the features collapse to few directions.",
            f"effective rank {ranks[MAIN]} with it",
            bool(rank[MAIN].mean() >= 1.5 * rank[WITHOUT].mean()),
            threshold="1.5 times that without, means over seeds",
            baseline=f"{ranks[WITHOUT]} without",
        ),
        papers.Claim(
            "Without the invariance term the features are no better than untrained "
            "ones.",
            f"{spread[ALONE]}",
            mean[ALONE] - mean[RANDOM] <= 0.01,
            threshold="at most 0.01 above the untrained encoder",
            baseline=f"untrained {spread[RANDOM]}; both terms {spread[MAIN]}",
        ),
        papers.Claim(
            "The wider the embedding, the more accurate the probe.",
            ", ".join(
                f"{width}: {spread[name]}"
                for width, name in zip(setting.widths, sizes, strict=True)
            ),
            bool(np.all(np.diff([mean[name] for name in sizes]) > 0)),
            threshold="every step wider is better, means over seeds",
            baseline=f"untrained {spread[RANDOM]}",
        ),
    )


@style.styled
def _figure(
    setting: Setting,
    accuracy: dict[str, dict[int, np.ndarray]],
    rank: dict[str, np.ndarray],
    correlations: list[Array],
) -> Any:
    figure = style.new_figure((10.0, 6.4))
    (left, right), lower = figure.subplots(2, 2)
    for i, name in enumerate((MAIN, WITHOUT, ALONE, RANDOM, RAW)):
        means = [accuracy[name][count].mean() for count in setting.labels]
        left.plot(
            setting.labels,
            means,
            color=style.PALETTE[i],
            linestyle=style.DASHES[i],
            marker=style.MARKERS[i],
            label=name,
        )
    left.set(
        xscale="log", xlabel="labels", ylabel="test accuracy", title="Linear probe"
    )
    left.set_xticks(setting.labels, [str(count) for count in setting.labels])
    left.minorticks_off()
    left.legend()
    names = [WITHOUT, MAIN, "λ = 0.02", ALONE, RANDOM, RAW]
    for place, name in enumerate(names):
        right.plot(rank[name], [place] * len(rank[name]), "|", color=style.BLUE)
        right.plot(rank[name].mean(), place, "o", color=style.BLUE)
    right.set_yticks(range(len(names)), names)
    right.set(xlabel="effective rank of the features", title="Directions in use")
    for axes in (left, right):
        style.light_grid(axes)
    for axes, values, when in zip(
        lower, correlations, ("before", "after"), strict=True
    ):
        shown = np.abs(np.asarray(values))[:SHOWN, :SHOWN]
        picture = axes.imshow(shown, vmin=0, vmax=1, cmap="magma")
        axes.set(
            title=f"|correlation| of the views {when} training",
            xlabel="feature of one view",
            ylabel="feature of the other",
        )
        figure.colorbar(picture, ax=axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
