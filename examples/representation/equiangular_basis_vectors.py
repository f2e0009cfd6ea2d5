"""Equiangular Basis Vectors: a fixed head beside a trained one, on digits.

Shen, Sun, Wei (2023), arXiv 2303.11637. Small perceptrons learn few digits, with a
trained linear head and with fixed vectors of several sizes; and sets of many vectors
are generated. ImageNet and the paper's networks are not here; sizes are ours.
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
from kanjax.representation import equiangular

PAPER = papers.Paper(
    slug="equiangular-basis-vectors",
    title="Equiangular Basis Vectors",
    source="Shen, Sun, Wei (2023), arXiv 2303.11637",
    room="representation",
    state="in part",
)

CLASSES, TRAIN, BATCH, STEP_SIZE = 10, 300, 64, 2e-3
# Of 1,000 vectors with 100 features: what was asked for, with the step size.
LIMITS = (0.25, 0.18)


class Setting(NamedTuple):
    """Sizes of a run."""

    seeds: int
    steps: int
    hidden: int
    features: tuple[int, ...]
    vectors: int


SETTINGS = {
    "short": Setting(2, 100, 32, (10,), 200),
    "default": Setting(10, 1500, 128, (9, 10, 64), 1000),
    "full": Setting(40, 1500, 128, (9, 10, 16, 32, 64, 128), 1000),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; the digits are bundled, and ``data`` is not read."""
    setting = SETTINGS[scale]
    digits = kj.data.load("digits")
    order = np.random.default_rng(0).permutation(len(digits.y))
    x, y = jnp.asarray(digits.x[order] / 16, jnp.float32), jnp.asarray(digits.y[order])
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    accuracy = {"trained": np.asarray(_accuracies(setting, keys, x, y, CLASSES, None))}
    for size in setting.features:
        vectors = _vectors(size)
        scores = _accuracies(setting, keys, x, y, size, vectors)
        accuracy[f"fixed, d = {size}"] = np.asarray(scores)
    sets = _sets(setting)
    numbers = {
        "accuracy": {name: values.tolist() for name, values in accuracy.items()},
        "sets": [{k: v for k, v in each.items() if k != "cosines"} for each in sets],
    }
    figure = _figure(accuracy, sets)
    return papers.Reproduction(_claims(accuracy, sets), numbers, {PAPER.slug: figure})


def _vectors(features: int) -> Array:
    """Orthonormal ones where there is room, else a simplex."""
    if features == CLASSES - 1:
        return equiangular.simplex_basis(CLASSES)
    return equiangular.orthonormal_basis(jax.random.key(1), CLASSES, features)


def _accuracies(
    setting: Setting, keys: Array, x: Array, y: Array, size: int, vectors: Array | None
) -> Array:
    """Test accuracies of each seed; a trained head where there are no vectors."""
    net = kj.nn.MLP((64, setting.hidden, setting.hidden, size))

    def outputs(params: Any, x: Array) -> Array:
        z = net.apply(params, x)
        return z if vectors is None else equiangular.logits(z, vectors)

    loss = kj.training.classification(outputs)

    @jax.jit
    @jax.vmap
    def run(key: Array) -> Array:
        order_key, start_key, batch_key = jax.random.split(key, 3)
        rows = jax.random.permutation(order_key, len(y))
        train, test = rows[:TRAIN], rows[TRAIN:]
        params, _ = kj.training.descend(
            loss,
            net.init(start_key),
            (x[train], y[train]),
            key=batch_key,
            optimizer=optax.adamw(
                optax.cosine_decay_schedule(STEP_SIZE, setting.steps)
            ),
            steps=setting.steps,
            batch_size=BATCH,
        )
        return loss(params, (x[test], y[test]))[1]["accuracy"]

    return run(keys)


def _sets(setting: Setting) -> list[dict[str, Any]]:
    """Sets of many vectors, from random starts and, to compare, the starts."""
    count, features = setting.vectors, 100
    made = []
    for limit in LIMITS:
        generate = functools.partial(
            equiangular.generate, classes=count, features=features, limit=limit
        )
        basis = jax.jit(
            functools.partial(generate, learning_rate=0.01, max_steps=2000)
        )(jax.random.key(2))
        start = jax.jit(functools.partial(generate, max_steps=0))(jax.random.key(2))
        made.append(
            {
                "limit": limit,
                "steps": int(basis.steps),
                "coherence": float(basis.coherence),
                "converged": bool(basis.converged),
                "start": float(start.coherence),
                "bound": equiangular.welch_bound(count, features),
                "cosines": [_cosines(v.vectors) for v in (start, basis)],
            }
        )
    return made


def _cosines(vectors: Array) -> np.ndarray:
    gram = np.abs(np.asarray(vectors @ vectors.T))
    return gram[np.triu_indices(len(gram), 1)]


def _claims(
    accuracy: dict[str, np.ndarray], sets: list[dict[str, Any]]
) -> tuple[papers.Claim, ...]:
    trained = accuracy["trained"]
    claims = [
        papers.Claim(
            f"A head of fixed vectors, {name.removeprefix('fixed, ')}, is about as "
            "accurate as a trained one.",
            f"{spread(values)}, a difference of {spread(values - trained)}",
            bool(np.mean(values - trained) >= -0.015),
            threshold="at most 0.015 below it, mean over seeds",
            baseline=f"trained head {spread(trained)}",
        )
        for name, values in accuracy.items()
        if name != "trained"
    ]
    for each in sets:
        claims.append(
            papers.Claim(
                f"Descent brings random vectors to a coherence of {each['limit']}.",
                f"{each['coherence']:.4f} after {each['steps']} steps",
                each["converged"],
                threshold=f"{each['limit']} + 0.0001 within 2,000 steps",
                baseline=f"random vectors {each['start']:.3f}; no set is below "
                f"{each['bound']:.4f} (Welch)",
            )
        )
    return tuple(claims)


@style.styled
def _figure(accuracy: dict[str, np.ndarray], sets: list[dict[str, Any]]) -> Any:
    figure = style.new_figure((10.0, 3.8))
    left, right = figure.subplots(1, 2)
    for place, (name, values) in enumerate(accuracy.items()):
        color = style.BLUE if name == "trained" else style.ORANGE
        left.plot([place] * len(values), values, "_", color=color, markersize=10)
        left.plot(place, values.mean(), "o", color=color)
    left.set_xticks(range(len(accuracy)), [f"{name}" for name in accuracy])
    left.set(ylabel="test accuracy", title="Heads: each seed, and the mean")
    last = sets[-1]
    labels = ("random", f"after {last['steps']} steps")
    colors = (style.BLUE, style.ORANGE)
    bins = np.linspace(0, max(cosines.max() for cosines in last["cosines"]), 80)
    for cosines, label, color in zip(last["cosines"], labels, colors, strict=True):
        right.hist(cosines, bins=bins, histtype="step", color=color, label=label)
    for value, name, dashes in (
        (last["limit"], "asked for", "--"),
        (last["bound"], "Welch's bound", ":"),
    ):
        right.axvline(value, color=style.GRAY, linestyle=dashes, label=name)
    right.set(
        yscale="log",
        xlabel="absolute cosine of two vectors",
        ylabel="pairs",
        title="Vectors with 100 features",
    )
    right.legend()
    for axes in (left, right):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
