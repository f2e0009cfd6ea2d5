"""Neural Collapse in Deep Linear Networks, on free features and on digits.

Dang et al. (2023), arXiv 2301.00437. Free features under linear layers are trained by
L-BFGS from random starts and held against the closed-form optimum; then a network with
three linear layers on top learns digits. The paper's networks (VGG, ResNet on CIFAR-10)
are not here: ``--full`` is the default with more starts and steps.
"""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.representation import (
    linear_optima,
    neural_collapse,
    unconstrained_features,
)

PAPER = papers.Paper(
    slug="neural-collapse-dln",
    title="Neural Collapse in Deep Linear Networks: From Balanced to Imbalanced Data",
    source="Dang, Tran, Osher, Tran-The, Ho, Nguyen (2023), arXiv 2301.00437",
    room="representation",
    state="reproduced",
)

WIDTH, DECAY = 16, 5e-3
DECAYS = {"weight_decay": DECAY, "feature_decay": DECAY}
CLASSES = {"balanced": (10, 10, 10, 10), "imbalanced": (20, 10, 5, 5)}
DEPTHS = (1, 3)
NET = kj.model.Sequential(
    (
        *(kj.nn.Dense(64, 128), kj.nn.Activation(jax.nn.relu)),
        *(kj.nn.Dense(128, 128), kj.nn.Activation(jax.nn.relu)),
        *(kj.nn.Dense(128, 128, use_bias=False),) * 2,
        kj.nn.Dense(128, 10, use_bias=False),
    )
)
FEATURES, LINEAR = "[3]", slice(4, 7)
"""Where features enter the linear layers, and which layers these are."""
LABELS = {"nc1": "NC1", "nc2_weights": "NC2 of weights", "nc2_means": "NC2 of means"}
LABELS |= {"nc3": "NC3"}


class Setting(NamedTuple):
    """Sizes of a run."""

    starts: int
    seeds: int
    examples: int
    steps: int


SETTINGS = {
    "short": Setting(1, 2, 300, 150),
    "default": Setting(6, 4, 1797, 1000),
    "full": Setting(20, 10, 1797, 10000),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; all data come with scikit-learn, and ``data`` is not read."""
    setting = SETTINGS[scale]
    with jax.enable_x64(True):
        free = {
            (name, depth): _optimize(sizes, depth, setting.starts)
            for name, sizes in CLASSES.items()
            for depth in DEPTHS
        }
    steps, digits = _learn_digits(setting, DECAY)
    _, plain = _learn_digits(setting, 0.0)
    numbers = {
        "free": {f"{name} {m}": _plain(v) for (name, m), v in free.items()},
        "steps": steps,
        "digits": _plain(digits._asdict()),
        "digits without decay": _plain(plain._asdict()),
    }
    figure = _figure(free, steps, digits)
    return papers.Reproduction(
        _claims(free, digits, plain), numbers, {PAPER.slug: figure}
    )


def _free_loss(params: Any, labels: Array, key: Any) -> Array:
    return unconstrained_features.loss(params, labels, **DECAYS)


@jax.jit
def _measure_free(params: Any, labels: Array, optimum: Any) -> dict[str, Array]:
    features, product = unconstrained_features.layer_views(params)[0]
    exact, simplex, equal = (
        neural_collapse.collapse(features, labels, product, kind=kind)
        for kind in (optimum, "etf", "orthogonal")
    )
    return {
        "gap": _free_loss(params, labels, None) - optimum.value,
        "nc1": exact.nc1,
        "frame": jnp.stack([exact.nc2_weights, exact.nc2_means, exact.nc3]).max(),
        "simplex": simplex.nc2_weights,
        "equal": equal.nc2_weights,
        "squares": jnp.sum(product**2, axis=0),
    }


def _optimize(sizes: tuple[int, ...], depth: int, starts: int) -> dict[str, Any]:
    """Minimize from several random starts, and measure where each ends."""
    optimum = linear_optima.solve(sizes, depth, **DECAYS)
    labels = unconstrained_features.class_labels(sizes)
    runs = []
    for key in jax.random.split(jax.random.key(0), starts):
        start = unconstrained_features.init(sizes, (WIDTH,) * depth, key=key, scale=0.5)
        params = kj.training.minimize(_free_loss, start, labels, steps=600)
        runs.append(_measure_free(params, labels, optimum))
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def _loss(params: Any, batch: Any, key: Any) -> Array:
    """Squared error with decay of features and linear layers, as in the theory."""
    x, y, decay = batch
    values = kj.taps.record(NET, params, x)
    squares = jnp.sum(values[FEATURES] ** 2) / len(x)
    squares += sum(jnp.sum(p["kernel"] ** 2) for p in params[LINEAR])
    error = values[""] - jax.nn.one_hot(y, 10)
    return jnp.sum(error**2) / (2 * len(x)) + decay / 2 * squares


@jax.jit
def _measure(params: Any, x: Array, y: Array) -> neural_collapse.Collapse:
    features = kj.taps.record(NET, params, x)[FEATURES]
    first, second, third = (layer["kernel"] for layer in params[LINEAR])
    product = first @ second @ third
    return neural_collapse.collapse(features, y, product, kind="orthogonal")


def _learn_digits(
    setting: Setting, decay: float
) -> tuple[list[int], neural_collapse.Collapse]:
    """Train networks, and measure their collapse on the way: (times, seeds)."""
    digits = kj.data.load("digits")
    x = jnp.asarray(digits.x[: setting.examples] / 16, jnp.float32)
    y = jnp.asarray(digits.y[: setting.examples])
    batch = (x, y, jnp.asarray(decay, jnp.float32))
    # Each stretch begins anew, without what L-BFGS remembers of the last.
    stretches = [setting.steps // 2**i for i in range(6, -1, -1)]
    runs = []
    for key in jax.random.split(jax.random.key(1), setting.seeds):
        params = NET.init(key)
        measures = [_measure(params, x, y)]
        for steps in stretches:
            params = kj.training.minimize(_loss, params, batch, steps=steps)
            measures.append(_measure(params, x, y))
        runs.append(jax.tree.map(lambda *v: np.stack(v), *measures))
    times = [0, *np.cumsum(stretches).tolist()]
    return times, jax.tree.map(lambda *v: np.stack(v, axis=1), *runs)


def _claims(
    free: dict[Any, dict[str, Any]],
    digits: neural_collapse.Collapse,
    plain: neural_collapse.Collapse,
) -> tuple[papers.Claim, ...]:
    claims = []
    for (name, depth), run in free.items():
        gap, variability, frame = (
            np.abs(run[k]).max() for k in ("gap", "nc1", "frame")
        )
        claims.append(
            papers.Claim(
                f"Features of {name} classes under linear layers, {depth} in number, "
                "collapse to the frame of the closed form, from every start.",
                f"NC1 {variability:.0e}, NC2 and NC3 {frame:.0e}, loss {gap:.0e} away",
                bool(variability < 1e-6 and frame < 1e-3 and gap < 1e-6),
                threshold="below 1e-6, 1e-3 and 1e-6",
                baseline=f"NC2 of weights from a simplex {run['simplex'].min():.2f}, "
                f"from a frame of equal lengths {run['equal'].min():.2g}",
            )
        )
    run = free["imbalanced", 1]
    squares = run["squares"].mean(axis=0)
    wanted = np.array([4.27213595, 2.96227766, 2.03606798, 2.03606798])
    claims.append(
        papers.Claim(
            "Lengths follow the classes' sizes: of 20, 10, 5 and 5 samples under a "
            "single layer.",
            "squared lengths " + ", ".join(f"{v:.3f}" for v in squares),
            bool(
                np.abs(run["squares"] - wanted).max() < 1e-3
                and run["simplex"].min() > 0.1
            ),
            paper="4.272, 2.962, 2.036, 2.036, by its closed form",
            threshold="within 1e-3; NC2 of weights from a simplex above 0.1",
            baseline=f"NC2 from a simplex {run['simplex'].min():.2f}",
        )
    )
    for name, label in LABELS.items():
        values, others = getattr(digits, name), getattr(plain, name)
        falls, other_falls = values[0] / values[-1], others[0] / others[-1]
        claims.append(
            papers.Claim(
                f"On digits, under three linear layers, {label} falls as well.",
                f"{_spread(values[0])} to {_spread(values[-1])}, at least "
                f"{falls.min():.0f} times",
                bool(falls.min() > 10),
                threshold="more than 10 times, for each seed",
                baseline=f"without decay to {_spread(others[-1])}, at least "
                f"{other_falls.min():.1f} times",
            )
        )
    return tuple(claims)


def _spread(values: np.ndarray) -> str:
    """Mean and standard deviation over seeds."""
    return f"{values.mean():.2g} ± {values.std(ddof=1):.1g}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(v).tolist() for name, v in values.items()}


@style.styled
def _figure(free: Any, steps: list[int], digits: neural_collapse.Collapse) -> Any:
    figure = style.new_figure((9.0, 3.4))
    left, right = figure.subplots(1, 2)
    styles = zip(LABELS.items(), style.PALETTE, style.DASHES, strict=False)
    for (name, label), color, dashes in styles:
        values = getattr(digits, name)
        left.plot(
            steps, values.mean(axis=1), color=color, linestyle=dashes, label=label
        )
        left.fill_between(
            steps, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2, lw=0
        )
    left.set(
        xscale="symlog",
        yscale="log",
        xlabel="step of L-BFGS",
        ylabel="distance from collapse",
        title="Digits, three linear layers",
    )
    left.legend()
    sizes = np.linspace(0.5, 24, 300)
    total = sum(CLASSES["imbalanced"])
    for depth, color, marker in zip(
        DEPTHS, (style.BLUE, style.ORANGE), "os", strict=True
    ):
        scaled = depth * total / sizes * (total * DECAY ** (depth + 1)) ** (1 / depth)
        x = linear_optima.minimize_scalar(jnp.asarray(scaled), depth)
        curve = jnp.sqrt(total * DECAY * x**depth)
        right.plot(np.sqrt(sizes), curve, color=color)
        lengths = np.sqrt(free["imbalanced", depth]["squares"].mean(axis=0))
        right.plot(
            np.sqrt(CLASSES["imbalanced"]),
            lengths,
            marker,
            color=color,
            label=f"{depth} linear layer{'s' * (depth > 1)}, trained",
        )
        threshold = linear_optima.collapse_threshold(total, depth, **DECAYS)
        right.axvline(float(threshold) ** 0.5, color=color, linestyle=":", lw=0.9)
    right.set(
        xlabel="root of the class's size",
        ylabel="length of its weights",
        title="Free features, on their closed form",
        xlim=(0, None),
        ylim=(-0.1, None),
    )
    right.legend()
    for axes in (left, right):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
