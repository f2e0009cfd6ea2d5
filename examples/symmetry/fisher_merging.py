"""Merging Models with Fisher-Weighted Averaging, on digits of two orientations.

Matena, Raffel (2021), arXiv 2111.09832. A network trained on few digits is fine-tuned
on upright ones, and once more on turned, mirrored or inverted ones; the two are merged
without data of the other's task. The paper's own models (BERT, RoBERTa, ViT) and data
are not here: ``--full`` is the default with more seeds. Sizes and thresholds are ours.
"""

import pathlib
from collections.abc import Callable
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
from kanjax.symmetry import fisher_merging, model_arithmetic

PAPER = papers.Paper(
    slug="fisher-merging",
    title="Merging Models with Fisher-Weighted Averaging",
    source="Matena, Raffel (2021), arXiv 2111.09832",
    room="symmetry",
    state="reproduced",
)

NET = kj.nn.MLP((64, 64, 10))
LOSS = kj.training.classification(NET.apply)
BATCH, STEPS, STEP_SIZE = 128, 200, 1e-3
FEW, TRAIN, POINTS = 300, 1347, 21
DOMAINS: dict[str, Callable[[Array], Array]] = {
    "turned": lambda x: jnp.rot90(x.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64),
    "mirrored": lambda x: x.reshape(-1, 8, 8)[:, :, ::-1].reshape(-1, 64),
    "inverted": lambda x: 1 - x,
}


class Setting(NamedTuple):
    """Sizes of a run."""

    seeds: int
    examples: int


SETTINGS = {
    "short": Setting(7, 256),
    "default": Setting(40, 512),
    "full": Setting(200, 1347),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; all data come with scikit-learn, and ``data`` is not read."""
    setting = SETTINGS[scale]
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    digits = kj.data.load("digits")
    x, y = jnp.asarray(digits.x / 16, jnp.float32), jnp.asarray(digits.y)
    begin = jax.jit(jax.vmap(lambda key: _begin(key, x, y)))
    compare = jax.jit(
        jax.vmap(
            lambda begun, other: _compare(begun, x, other, y, setting.examples),
            (0, None),
        )
    )
    begun = begin(keys)
    found = {
        name: jax.tree.map(np.asarray, compare(begun, turn(x)))
        for name, turn in DOMAINS.items()
    }
    numbers = jax.tree.map(lambda v: v.tolist(), found)
    return papers.Reproduction(_claims(found), numbers, {PAPER.slug: _figure(found)})


def _begin(key: Array, x: Array, y: Array) -> tuple[Array, Array, Any, Any]:
    """The order of the digits, a key, and networks of few and all upright digits."""
    order_key, start_key, few_key, all_key, last_key = jax.random.split(key, 5)
    order = jax.random.permutation(order_key, len(y))
    x, y = x[order], y[order]
    start = _train(NET.init(start_key), x[:FEW], y[:FEW], few_key)
    return order, last_key, start, _train(start, x[:TRAIN], y[:TRAIN], all_key)


def _compare(
    begun: tuple[Array, Array, Any, Any], x: Array, other: Array, y: Array, n: int
) -> dict[str, Any]:
    """Accuracies on both domains' test digits, of networks and of their merges."""
    order, key, start, upright = begun
    data, y = (x[order], other[order]), y[order]
    members = [upright, _train(start, data[1][:TRAIN], y[:TRAIN], key)]

    def accuracies(params: Any) -> Array:
        tests = [LOSS(params, (x[TRAIN:], y[TRAIN:]))[1]["accuracy"] for x in data]
        return jnp.stack(tests)

    seen = [x[:n] for x in data]
    fishers = [
        fisher_merging.diagonal_fisher(NET.apply, p, x)
        for p, x in zip(members, seen, strict=True)
    ]
    inputs = model_arithmetic.layer_inputs(NET)
    grams = [
        model_arithmetic.collect_grams(inputs, p, x)
        for p, x in zip(members, seen, strict=True)
    ]
    taus = [model_arithmetic.task_vector(p, start) for p in members]
    merges = {
        "isotropic": lambda c: fisher_merging.isotropic_merge(members, c),
        "fisher": lambda c: fisher_merging.fisher_merge(members, fishers, c),
    }
    grid = fisher_merging.pairwise_grid(POINTS)
    curves = {
        name: jax.lax.map(lambda c, m=merge: accuracies(m(c)), grid)
        for name, merge in merges.items()
    }
    regression = model_arithmetic.regmean_merge(members, grams, alpha=0.9, ridge=1e-4)
    return {
        "start": accuracies(start),
        "a": accuracies(members[0]),
        "b": accuracies(members[1]),
        "isotropic": curves["isotropic"][POINTS // 2],
        "fisher": curves["fisher"][POINTS // 2],
        "regmean": accuracies(regression),
        "task": accuracies(model_arithmetic.apply_task_vectors(start, taus)),
        "ties": accuracies(model_arithmetic.ties_merge(start, taus)),
        "curves": curves,
        "floored": jnp.stack([fisher_merging.floored_share(f) for f in fishers]),
    }


def _train(params: Any, x: Array, y: Array, key: Array) -> Any:
    optimizer = optax.adam(STEP_SIZE)

    def step(carry: Any, k: Array) -> tuple[Any, None]:
        params, state = carry
        rows = jax.random.randint(k, (BATCH,), 0, len(x))
        gradient = jax.grad(lambda p: LOSS(p, (x[rows], y[rows]))[0])(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, jax.random.split(key, STEPS))[0][0]


def _claims(found: dict[str, Any]) -> tuple[papers.Claim, ...]:
    """Means over the two digits' accuracies, and the spread of that over seeds."""
    both = {
        (name, method): found[name][method].mean(axis=1)
        for name in ("turned", "mirrored")
        for method in ("isotropic", "fisher", "regmean")
    }
    claims = []
    for name in ("turned", "mirrored"):
        plain, fisher = both[name, "isotropic"], both[name, "fisher"]
        gain = fisher - plain
        claims.append(
            papers.Claim(
                f"At equal weights the Fisher merge of upright and {name} digits is "
                "more accurate than the isotropic one.",
                f"{spread(fisher)}, a gain of {spread(gain)}",
                bool(gain.mean() > 0.03 and gain.min() > 0),
                threshold="a gain above 0.03 on average, and above 0 for each seed",
                baseline=f"isotropic {spread(plain)}",
            )
        )
    for name in ("turned", "mirrored"):
        gain = both[name, "regmean"] - both[name, "fisher"]
        claims.append(
            papers.Claim(
                f"RegMean is no less accurate than the Fisher merge on {name} digits.",
                spread(both[name, "regmean"]),
                bool(gain.mean() >= 0),
                threshold="a difference of at least 0 on average",
                baseline=f"Fisher {spread(both[name, 'fisher'])}",
            )
        )
    for name in ("turned", "mirrored"):
        plain, fisher = (
            np.array([_area(points) for points in found[name]["curves"][method]])
            for method in ("isotropic", "fisher")
        )
        claims.append(
            papers.Claim(
                f"As weight moves from upright to {name} digits, the Fisher merge's "
                "two accuracies lie outside the isotropic merge's.",
                f"area under them {spread(fisher)}, a gain of "
                f"{spread(fisher - plain)}, above 0 for {np.sum(fisher > plain)} of "
                f"{len(plain)} seeds",
                bool(np.mean(fisher - plain) > 0 and np.mean(fisher > plain) > 0.5),
                threshold="a gain above 0 on average and for most seeds",
                baseline=f"isotropic {spread(plain)}",
            )
        )
    hard = found["inverted"]
    merged = [hard[method][:, 1] for method in ("isotropic", "fisher", "regmean")]
    alone = hard["b"][:, 1]
    claims.append(
        papers.Claim(
            "Where the tasks conflict, on inverted digits, every merge fails.",
            "isotropic, Fisher, RegMean: " + ", ".join(map(spread, merged)),
            bool(max(m.mean() for m in merged) < 0.1 and alone.mean() > 0.3),
            threshold="below chance, 0.1, on inverted digits",
            baseline=f"the network tuned on them {spread(alone)}",
        )
    )
    return tuple(claims)


def _area(points: np.ndarray) -> float:
    """The area of what is at most as accurate on both as one of the points."""
    area, height = 0.0, 0.0
    for right, top in points[np.argsort(-points[:, 0])]:
        area += right * max(0.0, top - height)
        height = max(height, top)
    return float(area)


@style.styled
def _figure(found: dict[str, Any]) -> Any:
    figure = style.new_figure((10.0, 4.4))
    colors = {"isotropic": style.BLUE, "fisher": style.ORANGE}
    points = (
        ("a", "tuned on upright", "<", style.BLACK),
        ("b", "tuned on the other", "v", style.BLACK),
        ("regmean", "RegMean", "D", style.GREEN),
        ("task", "task arithmetic", "P", style.PURPLE),
        ("ties", "TIES", "X", style.AMBER),
    )
    for axes, name in zip(figure.subplots(1, 2), ("turned", "mirrored"), strict=True):
        for (method, color), dashes in zip(colors.items(), style.DASHES, strict=False):
            curves = found[name]["curves"][method]
            label = {"isotropic": "isotropic", "fisher": "Fisher"}[method]
            mean = curves.mean(axis=0)
            axes.plot(
                *mean.T, color=color, linestyle=dashes, label=f"{label}, any weights"
            )
            middle = curves[:, POINTS // 2]
            spread = dict(
                zip(("xerr", "yerr"), middle.std(axis=0, ddof=1), strict=True)
            )
            label = f"{label}, equal weights"
            axes.errorbar(
                *middle.mean(axis=0), **spread, fmt="o", color=color, label=label
            )
        for method, label, marker, color in points:
            values = found[name][method].mean(axis=0)
            axes.plot(*values, marker, color=color, markersize=7, label=label)
        axes.set(
            xlabel="accuracy on upright digits",
            ylabel=f"accuracy on {name} digits",
            title=f"Upright and {name} digits",
        )
        style.light_grid(axes)
    figure.axes[0].legend(loc="lower left")
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
