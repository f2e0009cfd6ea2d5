"""Scalable Neural Network Kernels.

Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov (2024), arXiv 2310.13225. Two
questions: how the error of random features for ``sin(w . x)`` falls with their number,
and how many trained numbers handwritten digits need, in a network that is bundled into
one matrix (solved in closed form) and in perceptrons trained by Adam.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kanjax import cli, nn, papers, plotting, training
from kanjax import data as datasets
from kanjax.ntk import random_feature_layers, random_features
from kanjax.papers import spread

PAPER = papers.Paper(
    slug="scalable-nn-kernels",
    title="Scalable Neural Network Kernels",
    source="Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov (2024), "
    "arXiv 2310.13225",
    room="ntk",
    state="in part",
)

DIMENSION, TRAIN, RIDGE, SMALL = 8, 1_200, 1e-4, 256
KINDS: dict[str, tuple[random_features.Split, bool]] = {
    "real": ("real", False),
    "real, orthogonal": ("real", True),
    "complex": ("symmetric", False),
    "complex, orthogonal": ("symmetric", True),
}


class Setting(NamedTuple):
    """Sizes of a run."""

    draws: int
    counts: tuple[int, ...]
    seeds: int
    features: tuple[int, ...]
    widths: tuple[int, ...]
    steps: int


SETTINGS = {
    "short": Setting(5, (64, 1_024), 2, (SMALL,), (256,), 300),
    "default": Setting(
        10, (64, 256, 1_024, 4_096), 5, (32, 64, 128, SMALL, 512), (8, 34, 256), 2_000
    ),
    "full": Setting(
        30, (64, 256, 1_024, 4_096, 16_384), 10, (32, 64, 128, SMALL, 512, 1_024),
        (4, 8, 17, 34, 68, 128, 256, 512), 5_000,
    ),
}  # fmt: skip


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    errors = {
        kind: np.asarray([_errors(m, setting.draws, *options) for m in setting.counts])
        for kind, options in KINDS.items()
    }
    keys = jax.random.split(jax.random.key(1), setting.seeds)
    bundled = np.asarray([_bundled(keys, m) for m in setting.features])
    networks = np.asarray([_perceptrons(keys, w, setting) for w in setting.widths])
    numbers = {
        "counts": list(setting.counts),
        "errors": {kind: e.tolist() for kind, e in errors.items()},
        "features": list(setting.features),
        "bundled_accuracy": bundled.tolist(),
        "bundled_parameters": [10 * (m + 1) for m in setting.features],
        "widths": list(setting.widths),
        "perceptron_accuracy": networks.tolist(),
        "perceptron_parameters": [_size(w) for w in setting.widths],
    }
    claims = _claims(setting, errors, bundled, networks)
    figure = _figure(setting, errors, bundled, networks)
    return papers.Reproduction(claims, numbers, {"accuracy": figure})


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _errors(
    m: int, draws: int, split: random_features.Split, orthogonal: bool
) -> jax.Array:
    """The root of the mean squared error for unit vectors, of each draw."""
    spectrum = random_features.sine()

    def error(key: jax.Array) -> jax.Array:
        here, there, key = jax.random.split(key, 3)
        x = _units(jax.random.normal(here, (200, DIMENSION)))
        w = _units(jax.random.normal(there, (50, DIMENSION)))
        features = random_features.ExponentialFeatures.draw(
            key, spectrum, m, DIMENSION, split=split, orthogonal=orthogonal
        )
        estimate = features.apply((), x) @ features.of_weights(w).T
        return jnp.sqrt(jnp.mean((estimate - jnp.sin(x @ w.T)) ** 2))

    return jax.vmap(error)(jax.random.split(jax.random.key(0), draws))


def _units(x: jax.Array) -> jax.Array:
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@functools.cache
def _digits() -> tuple[jax.Array, jax.Array]:
    """Inputs less their mean over the training set, as unit vectors; and labels."""
    digits = datasets.load("digits")
    order = np.random.default_rng(0).permutation(len(digits.y))
    x, y = jnp.asarray(digits.x)[order], jnp.asarray(digits.y)[order]
    x = x.reshape(len(x), -1)
    return _units(x - jnp.mean(x[:TRAIN], axis=0)), y


def _bundled(keys: jax.Array, m: int) -> jax.Array:
    """Test accuracy of a network bundled into one matrix on m features and a 1."""
    x, y = _digits()

    @jax.jit
    @jax.vmap
    def run(key: jax.Array) -> jax.Array:
        projections = random_features.gaussian_projections(
            key, m, x.shape[1] + 1, orthogonal=True
        )
        # Inputs are centered: their spread, not a constant, should fill the features.
        z = random_features.ReLUFeatures(
            projections.at[:, -1].multiply(0.1), use_bias=True
        ).apply((), x)
        z = jnp.concatenate([z, jnp.ones((len(z), 1))], axis=1)
        solution = random_feature_layers.solve(
            z[:TRAIN], jax.nn.one_hot(y[:TRAIN], 10), ridge=RIDGE
        )
        labels = jnp.argmax(z[TRAIN:] @ solution.kernel, axis=1)
        return jnp.mean(labels == y[TRAIN:])

    return run(keys)


def _perceptrons(keys: jax.Array, width: int, setting: Setting) -> jax.Array:
    """Test accuracy of perceptrons with one hidden layer."""
    x, y = _digits()
    network = nn.MLP((x.shape[1], width, 10))
    loss = training.classification(network.apply)

    @jax.jit
    @jax.vmap
    def run(key: jax.Array) -> jax.Array:
        params, _ = training.descend(
            loss,
            network.init(key),
            (x[:TRAIN], y[:TRAIN]),
            key=key,
            optimizer=optax.adam(3e-3),
            steps=setting.steps,
            batch_size=128,
        )
        labels = jnp.argmax(network.apply(params, x[TRAIN:]), axis=1)
        return jnp.mean(labels == y[TRAIN:])

    return run(keys)


def _size(width: int) -> int:
    return 65 * width + 10 * (width + 1)


def _claims(
    setting: Setting, errors: dict[str, np.ndarray], bundled: Any, networks: Any
) -> tuple[papers.Claim, ...]:
    first, last = setting.counts[0], setting.counts[-1]
    slopes = {
        kind: float(np.polyfit(np.log(setting.counts), np.log(e.mean(axis=1)), 1)[0])
        for kind, e in errors.items()
    }
    off = max(abs(slope + 0.5) for slope in slopes.values())
    complex_, real = errors["complex"], errors["real"]
    ratio = complex_.mean(axis=1) / real.mean(axis=1)
    gains = {
        kind: errors[kind].mean() / errors[f"{kind}, orthogonal"].mean()
        for kind in ("real", "complex")
    }
    ours = bundled[setting.features.index(SMALL)]
    theirs = networks[setting.widths.index(256)]
    fewer = _size(256) / (10 * (SMALL + 1))
    same = f"{setting.draws} draws"
    claims = (
        papers.Claim(
            "The error of features for sin falls with the root of their number.",
            f"slopes {', '.join(f'{s:.2f}' for s in slopes.values())} of the logarithm "
            f"({', '.join(slopes)}); complex: {spread(complex_[0])} with {first}, "
            f"{spread(complex_[-1])} with {last} ({same})",
            bool(off < 0.1),
            threshold="slopes within 0.1 of -0.5",
        ),
        papers.Claim(
            "A real factor for inputs and an imaginary one for weights give half the "
            "columns at no larger error (ours).",
            f"error of complex features over that of real ones {ratio.min():.2f} to "
            f"{ratio.max():.2f} ({same})",
            bool(ratio.min() > 1),
            threshold="above 1 at every number",
            baseline="the paper's equal, complex factors",
        ),
        papers.Claim(
            "Orthogonal projections lower the error.",
            f"independent over orthogonal {gains['real']:.2f} (real), "
            f"{gains['complex']:.2f} (complex)",
            bool(min(gains.values()) > 1.05),
            threshold="by more than 5 %",
        ),
        papers.Claim(
            "A network bundled into one matrix, solved in closed form, is as good as "
            "one with many more trained parameters.",
            f"accuracy {spread(ours)} with {10 * (SMALL + 1)} parameters, {fewer:.1f} "
            f"times fewer ({setting.seeds} seeds)",
            bool(fewer >= 7 and ours.mean() > theirs.mean() - 0.005),
            paper="up to 5 times fewer",
            threshold="at least 7 times fewer, within 0.5 points",
            baseline=f"perceptron of {_size(256)}: {spread(theirs)}",
        ),
    )
    if 34 not in setting.widths:
        return claims
    few = networks[setting.widths.index(34)]
    gain = ours.mean() - few.mean()
    doubt = np.sqrt((ours.var(ddof=1) + few.var(ddof=1)) / setting.seeds)
    return (
        *claims,
        papers.Claim(
            "It is better than a trained perceptron with as many parameters.",
            f"accuracy {spread(ours)} with {10 * (SMALL + 1)}",
            bool(gain > 2 * doubt),
            threshold="by more than 2 standard errors",
            baseline=f"perceptron of {_size(34)}: {spread(few)}",
        ),
    )


@plotting.style.styled
def _figure(
    setting: Setting, errors: dict[str, np.ndarray], bundled: Any, networks: Any
) -> Any:
    """Errors against the number of features; accuracy against trained parameters."""
    figure = plotting.style.new_figure((9.0, 3.8))
    left, right = figure.subplots(1, 2)
    for i, (kind, e) in enumerate(errors.items()):
        left.errorbar(
            setting.counts, e.mean(axis=1), e.std(axis=1, ddof=1), label=kind,
            color=plotting.style.PALETTE[i], marker=plotting.style.MARKERS[i],
        )  # fmt: skip
    left.set(
        xscale="log", yscale="log", xlabel="features m", ylabel="error of sin(w.x)"
    )
    left.legend()
    sizes = (
        [10 * (m + 1) for m in setting.features],
        [_size(w) for w in setting.widths],
    )
    names = ("bundled, in closed form", "perceptron, trained by Adam")
    for i, (size, values) in enumerate(zip(sizes, (bundled, networks), strict=True)):
        right.errorbar(
            size, values.mean(axis=1), values.std(axis=1, ddof=1), label=names[i],
            color=plotting.style.PALETTE[i], marker=plotting.style.MARKERS[i],
        )  # fmt: skip
    right.set(xscale="log", xlabel="trained parameters", ylabel="test accuracy, digits")
    right.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
