"""Network feature complexity: merging features by weights alone, on digits.

Chen, Zhou, Yan (2023), arXiv 2310.06756. Perceptrons learn digits with some decay of
their weights; then units that are alike are merged, without data or fine-tuning, beside
pruning to the same width. VGG, ResNet, CIFAR-10 and ImageNet are not here; sizes are
ours.
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
from kanjax.papers import spread
from kanjax.plotting import style
from kanjax.representation import feature_merging, unit_merging, unit_pruning

PAPER = papers.Paper(
    slug="feature-complexity-ifm",
    title="Going Beyond Neural Network Feature Similarity: The Network Feature "
    "Complexity and Its Interpretation Using Category Theory",
    source="Chen, Zhou, Yan (2023), arXiv 2310.06756",
    room="representation",
    state="reproduced",
)

DECAYS = (0.0, 1e-3, 1e-2)
MAIN, BATCH, STEP_SIZE = 1e-3, 128, 1e-3
METHODS = ("merged", "merged, sums out", "largest weights", "random units")


class Setting(NamedTuple):
    """Sizes of a run; ``deep`` are the hidden widths of a network of many layers."""

    seeds: int
    steps: int
    hidden: int
    deep: tuple[int, ...]
    betas: tuple[float, ...]
    decays: tuple[float, ...]


BETAS = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
SETTINGS = {
    "short": Setting(2, 1000, 256, (16, 16), (0.15,), (MAIN,)),
    "default": Setting(5, 1500, 256, (128, 128, 128, 128), BETAS, DECAYS),
    "full": Setting(20, 1500, 1024, (256,) * 6, BETAS, DECAYS),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims, on digits, or on MNIST from the folder ``data``."""
    setting = SETTINGS[scale]
    train, test = kj.data.handwritten_digits(data)
    net = kj.nn.MLP((train.x.shape[1], setting.hidden, 10))
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    betas = jnp.array(setting.betas)
    results = {}
    for decay in setting.decays:
        params = _train(setting, net, keys, decay, train)
        results[decay] = jax.device_get(_measure(net, params, keys, betas, test))
    spec = kj.symmetry.permutation_spec(net)
    shapes = jax.eval_shape(net.init, keys[0])
    for result in results.values():
        result["share"] = np.vectorize(
            lambda width: unit_pruning.cost(shapes, spec, {"P1": int(width)}).parameters
        )(result["width"]) / kj.model.count_parameters(shapes)
    deep = kj.nn.MLP((train.x.shape[1], *setting.deep, 10))
    deep_params = _train(setting, deep, keys[:1], MAIN, train)
    fractions = _layer_fractions(deep, jax.tree.map(lambda p: p[0], deep_params), betas)
    numbers = {
        "betas": list(setting.betas),
        "by decay": {
            str(decay): {name: values.tolist() for name, values in result.items()}
            for decay, result in results.items()
        },
        "layers": fractions.tolist(),
    }
    figure = _figure(setting, results, fractions)
    return papers.Reproduction(_claims(results[MAIN]), numbers, {PAPER.slug: figure})


@functools.partial(jax.jit, static_argnums=(0, 1))
def _train(setting: Setting, net: Any, keys: Array, decay: float, data: Any) -> Any:
    """Train a network from each seed; leading axis of seeds."""
    inner = kj.training.classification(net.apply)

    def loss(params: Any, batch: Any, key: Array) -> Any:
        kernels = sum(jnp.sum(p["kernel"] ** 2) for p in params)
        return inner(params, batch)[0] + decay * kernels

    def run(key: Array) -> Any:
        start_key, step_key = jax.random.split(key)
        return kj.training.descend(
            loss,
            net.init(start_key),
            (data.x, data.y),
            key=step_key,
            optimizer=optax.adam(STEP_SIZE),
            steps=setting.steps,
            batch_size=BATCH,
        )[0]

    return jax.vmap(run)(keys)


@functools.partial(jax.jit, static_argnums=0)
def _measure(
    net: Any, params: Any, keys: Array, betas: Array, data: Any
) -> dict[str, Array]:
    """Widths and accuracies after merging, and of pruning to the same widths."""
    spec = kj.symmetry.permutation_spec(net)
    loss = kj.training.classification(net.apply)

    def accuracy(params: Any) -> Array:
        return loss(params, (data.x, data.y))[1]["accuracy"]

    def at(params: Any, key: Array, beta: Array) -> dict[str, Array]:
        merged, out = (
            unit_merging.merge_masked(params, spec, beta=beta, rule=rule)
            for rule in ("sum_in", "sum_out")
        )
        width = jnp.sum(merged.counts["P1"] > 0)
        kept = {
            "largest weights": unit_pruning.keep_largest(params, spec, {"P1": width}),
            "random units": unit_pruning.keep_random(key, spec, {"P1": width}),
        }
        return {
            "width": width,
            "merged": accuracy(merged.params),
            "merged, sums out": accuracy(out.params),
            **{
                name: accuracy(unit_pruning.mask_units(params, spec, keep))
                for name, keep in kept.items()
            },
        }

    over_betas = jax.vmap(at, (None, None, 0))
    result = jax.vmap(over_betas, (0, 0, None))(params, keys, betas)
    dead = jax.vmap(lambda p: jnp.sum(unit_pruning.dead_units(p, spec, "P1")))(params)
    return result | {"before": jax.vmap(accuracy)(params), "dead": dead}


def _layer_fractions(net: Any, params: Any, betas: Array) -> np.ndarray:
    """Features over units of each layer (betas, layers)."""
    spec = kj.symmetry.permutation_spec(net)
    path = feature_merging.merge_path(params, spec, betas.tolist(), rule="sum_in")
    return np.array(
        [[m.widths[name] / size for name, size in spec.sizes] for m in path]
    )


def _claims(result: dict[str, np.ndarray]) -> tuple[papers.Claim, ...]:
    # Of each seed the first threshold by which 85 % of the parameters are gone.
    first = [
        next((k for k, share in enumerate(row) if share <= 0.15), len(row) - 1)
        for row in result["share"]
    ]
    rows = np.arange(len(first))
    at = {name: result[name][rows, first] for name in (*METHODS, "share", "width")}
    lost = result["before"] - at["merged"]
    gain = at["merged"] - at["largest weights"]
    is_small = bool(np.all(at["share"] <= 0.15))
    left = f"{spread(at['share'])} of the parameters, {spread(at['width'], 1)} units"
    return (
        papers.Claim(
            "Merging removes most of a network at little cost, without data.",
            f"{spread(lost)} of accuracy lost, {left} left",
            is_small and bool(lost.mean() < 0.06),
            threshold="below 0.06 with at least 0.85 of the parameters removed",
            baseline=f"before {spread(result['before'])}; at the same widths largest "
            f"weights lose {spread(result['before'] - at['largest weights'])}",
        ),
        papers.Claim(
            "It keeps more than pruning by magnitude does at the same width.",
            f"accuracy {spread(at['merged'])}, {spread(gain)} more",
            is_small and bool(gain.mean() > 0.15),
            threshold="more than 0.15 above it",
            baseline=f"largest weights {spread(at['largest weights'])}, random units "
            f"{spread(at['random units'])}",
        ),
    )


@style.styled
def _figure(
    setting: Setting, results: dict[float, dict[str, np.ndarray]], fractions: np.ndarray
) -> Any:
    figure = style.new_figure((11.0, 3.8))
    left, middle, right = figure.subplots(1, 3)
    result = results[MAIN]
    for i, name in enumerate(METHODS):
        left.errorbar(
            result["share"].mean(axis=0),
            result[name].mean(axis=0),
            result[name].std(axis=0, ddof=1),
            color=style.PALETTE[i],
            linestyle=style.DASHES[i],
            marker=style.MARKERS[i],
            label=name,
        )
    left.axhline(result["before"].mean(), color=style.GRAY, linewidth=0.7)
    left.set(
        xscale="log",
        xlabel="share of the parameters left",
        ylabel="test accuracy",
        title=f"Weight decay {MAIN}",
    )
    left.legend()
    for i, (decay, each) in enumerate(results.items()):
        middle.plot(
            setting.betas,
            each["width"].mean(axis=0) / setting.hidden,
            color=style.PALETTE[i],
            linestyle=style.DASHES[i],
            marker=style.MARKERS[i],
            label=f"decay {decay}",
        )
    middle.set(
        xscale="log", xlabel="β", ylabel="features over units", title="One layer"
    )
    middle.legend()
    for i, values in enumerate(fractions.T):
        right.plot(
            setting.betas,
            values,
            color=style.PALETTE[i],
            linestyle=style.DASHES[i],
            marker=style.MARKERS[i],
            label=f"layer {i + 1}",
        )
    right.set(xscale="log", xlabel="β", title=f"{len(setting.deep)} layers")
    right.legend()
    for axes in (left, middle, right):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
