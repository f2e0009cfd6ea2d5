"""Outliers with Opposing Signals Have an Outsized Effect on Optimization.

Rosenfeld, Risteski (2023), arXiv 2311.04163. The two-layer linear model, and digits of
which twelve ones and twelve sevens share a large feature. The paper's networks on
CIFAR-10 and on text are not here; sizes and thresholds are ours.
"""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.landscape import opposing_linear as linear
from kanjax.landscape import opposing_optimizers, opposing_signals
from kanjax.papers import spread
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="opposing-signals",
    title="Outliers with Opposing Signals Have an Outsized Effect on Neural Network "
    "Optimization",
    source="Rosenfeld, Risteski (2023), arXiv 2311.04163",
    room="landscape",
    state="in part",
)

ALPHA, TOY_STEPS = 20.0, {0.001: 4000, 0.012: 500, 0.03: 500, 0.04: 500}
CLASSES, COUNT, EXAMPLES, MAGNITUDE, FAST, SLOW = (1, 7), 12, 500, 8.0, 0.2, 0.12
OPTIMIZERS = {
    "gradient descent": optax.sgd(FAST),
    "Adam": optax.adam(3e-3),
    "Adam at 0.01": optax.adam(1e-2),
    "momentum": opposing_optimizers.sgd_dampened(0.05),
    "dampened momentum": opposing_optimizers.sgd_dampened(FAST, dampening=0.9),
    "clipping": optax.chain(optax.clip(0.02), optax.sgd(FAST)),
    "split": opposing_optimizers.split_sgd(FAST, 5e-3, 0.95),
    "signs": optax.sign_sgd(2e-3),
}
NET = kj.nn.MLP((68, 64, 10), jax.nn.relu)
LOSS = kj.training.classification(NET.apply)


class Setting(NamedTuple):
    """Sizes of a run."""

    seeds: int
    steps: int
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)


SETTINGS = {
    "short": Setting(2, 60, ("gradient descent", "Adam")),
    "default": Setting(16, 150),
    "full": Setting(32, 400),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; the digits are bundled, and ``data`` is not read."""
    setting = SETTINGS[scale]
    toys = [measure_toy(seed) for seed in range(setting.seeds)]
    toy = jax.tree.map(lambda *values: np.stack(values), *toys)
    drawn = [outliers(seed) for seed in range(setting.seeds)]
    x, y, groups = (jnp.stack(leaf) for leaf in zip(*drawn, strict=True))
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    starts = jax.vmap(he_init)(keys)
    runs = {
        name: jax.tree.map(
            np.asarray, follow(starts, x, y, groups, OPTIMIZERS[name], setting.steps)
        )
        for name in setting.optimizers
    }
    valley = jax.tree.map(np.asarray, survey(starts, x, y, groups, keys))
    numbers = jax.tree.map(
        np.ndarray.tolist, {"toy": toy, "valley": valley, "runs": _numbers(runs)}
    )
    figure = _figure(toy, runs, valley, np.asarray(x))
    return papers.Reproduction(
        _toy_claims(toy) + _digit_claims(runs, valley), numbers, {PAPER.slug: figure}
    )


@jax.jit
def _descend_adam(start: linear.Weights, beta: Array) -> Any:
    def loss(weights: linear.Weights, _: Array, key: Array) -> Array:
        return linear.loss(weights, beta, ALPHA)

    end, losses = kj.training.descend(
        loss,
        start,
        jnp.zeros(1),
        key=jax.random.key(0),
        optimizer=optax.adam(0.02),
        steps=1000,
    )
    return linear.sharpness(end, beta, ALPHA), losses


_descend = jax.jit(linear.gradient_descent, static_argnames="steps")


def measure_toy(seed: int) -> dict[str, Any]:
    """Train one draw of the linear model with each step size, and by Adam."""
    rng = np.random.default_rng(seed)
    beta = rng.normal(size=10)
    beta = jnp.asarray(5 * beta / np.linalg.norm(beta), jnp.float32)
    b, b_o = jnp.asarray(rng.normal(size=(2, 10)) / np.sqrt(20), jnp.float32)
    start = linear.Weights(jnp.zeros(()), b, b_o)
    limit = linear.gradient_flow_limit(linear.balance(start), beta, ALPHA)
    measured: dict[str, Any] = {"limit": limit.sharpness}
    measured["start"] = linear.initial_sharpness(b, b_o, beta, ALPHA)
    measured["adam end"], measured["adam losses"] = _descend_adam(start, beta)
    for step_size, steps in TOY_STEPS.items():
        path = _descend(start, beta, ALPHA, step_size=step_size, steps=steps)
        sharp = jax.vmap(lambda w: linear.sharpness(w, beta, ALPHA))(path.weights)
        sizes = jnp.linalg.norm(path.weights.b_o, axis=1)
        beyond = linear.stability_limit(ALPHA, path.weights.c) < step_size
        crossing = jnp.argmax(beyond)
        later = jnp.where(jnp.arange(len(sizes)) > crossing, path.losses, -1)
        growth = sizes[jnp.argmax(later)] / sizes[crossing]
        measured[f"sharpness {step_size}"] = sharp
        measured[f"losses {step_size}"] = path.losses
        measured[f"growth {step_size}"] = jnp.where(jnp.any(beyond), growth, 1.0)
    return jax.tree.map(np.asarray, measured)


def outliers(seed: int) -> tuple[Array, Array, Array]:
    """Return images with the planted feature, their classes, and the two groups."""
    digits = kj.data.load("digits")
    rows = np.random.default_rng(seed).permutation(len(digits.y))[:EXAMPLES]
    x, y = jnp.asarray(digits.x[rows] / 16, jnp.float32), jnp.asarray(digits.y[rows])
    planted = opposing_signals.plant_outliers(
        jax.random.key(seed), x, y, classes=CLASSES, count=COUNT, magnitude=MAGNITUDE
    )
    return planted.x, y, planted.groups


def he_init(key: Array) -> Any:
    """Draw kernels of variance 2 / inputs, and zero biases."""
    layers = NET.init(key)
    keys = jax.random.split(key, len(layers))
    draw = jax.nn.initializers.he_normal()
    return tuple(
        {**layer, "kernel": draw(k, layer["kernel"].shape)}
        for layer, k in zip(layers, keys, strict=True)
    )


def follow(
    starts: Any, x: Array, y: Array, groups: Array, optimizer: Any, steps: int
) -> dict[str, Array]:
    """Train every seed and look for its groups by the losses alone."""

    @jax.jit
    @jax.vmap
    def run(start: Any, x: Array, y: Array, groups: Array) -> dict[str, Array]:
        losses = opposing_signals.descend_and_record(
            LOSS,
            start,
            (x, y),
            key=jax.random.key(0),
            optimizer=optimizer,
            steps=steps,
        ).losses
        changes = opposing_signals.loss_changes(losses)
        means = jnp.stack([jnp.mean(losses[:, g], axis=1) for g in groups])
        first, second = jnp.diff(means, axis=1)
        swaps = jnp.minimum(jnp.abs(first), jnp.abs(second)) * (first * second < 0)
        result = {"means": means, "swap": jnp.max(swaps), "loss": losses.mean(axis=1)}
        for name, step in (
            ("violent", opposing_signals.most_violent_step(losses)),
            ("opposed", opposing_signals.most_opposed_step(losses)),
        ):
            pair = opposing_signals.opposing_groups(changes[step], COUNT)
            result |= {f"{name} step": step, f"{name} pair": jnp.stack(pair)}
            result[f"{name} precision"] = jnp.maximum(
                _overlap(pair, groups), _overlap(pair, groups[::-1])
            )
            hard = jax.lax.top_k(losses[step], 2 * COUNT)[1]
            result[f"{name} hard"] = jnp.mean(jnp.isin(hard, groups))
        return result

    return run(starts, x, y, groups)


def _overlap(pair: Any, groups: Array) -> Array:
    """Return the smaller of the two precisions."""
    hits = [jnp.mean(jnp.isin(p, g)) for p, g in zip(pair, groups, strict=True)]
    return jnp.minimum(*hits)


@jax.jit
@jax.vmap
def survey(
    params: Any, x: Array, y: Array, groups: Array, key: Array
) -> dict[str, Array]:
    """Gradients and curvature at step 30 and on, with other examples beside them."""
    data, optimizer = (x, y), optax.sgd(SLOW)
    planted = jnp.isin(jnp.arange(EXAMPLES), groups)
    # As many ones and sevens without the feature.
    others = jnp.stack([jax.lax.top_k((y == c) & ~planted, COUNT)[1] for c in CLASSES])

    def measure(params: Any) -> dict[str, Array]:
        top, vector = opposing_signals.sharpest_direction(LOSS, params, data, key)
        result = {"sharpness": top}
        for name, pair in (("planted", groups), ("others", others)):
            rest, _ = opposing_signals.sharpest_direction(
                LOSS, params, data, key, without=pair.ravel()
            )
            a, b = (
                opposing_signals.group_gradient(LOSS, params, data, group)
                for group in pair
            )
            along = [jnp.abs(opposing_signals.cosine(g, vector)) for g in (a, b)]
            result[f"{name} cosine"] = opposing_signals.cosine(a, b)
            result[f"{name} along"] = jnp.minimum(*along)
            result[f"{name} ratio"] = top / rest
        return result

    def stretch(params: Any, _: None) -> Any:
        params, _ = kj.training.descend(
            LOSS, params, data, key=key, optimizer=optimizer, steps=10
        )
        return params, measure(params)

    return jax.lax.scan(stretch, params, None, length=12)[1]


def _numbers(runs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {k: v for k, v in run.items() if k != "means"}
        for name, run in runs.items()
    }


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.2f}" if len(values) else "none"


def _toy_claims(toy: dict[str, Any]) -> tuple[papers.Claim, ...]:
    off = np.abs(toy["sharpness 0.001"][:, -1] / toy["limit"] - 1)
    ends = {eta: toy[f"sharpness {eta}"][:, -1] for eta in (0.03, 0.04)}
    grown = {eta: toy[f"growth {eta}"] for eta in (0.03, 0.04)}
    least = min(values.min() for values in grown.values())
    peak = toy["adam losses"].max(axis=1) / toy["adam losses"][:, 0]
    rough = toy["losses 0.04"].max(axis=1) / toy["losses 0.04"][:, 0]
    return (
        papers.Claim(
            "Linear model, small steps: sharpness ends at the formula's value.",
            f"at most {off.max():.2%} off (the value is {spread(toy['limit'], 1)})",
            bool(off.max() < 0.02),
            threshold="within 2 % for every draw",
            baseline=f"at the start {spread(toy['start'], 1)}",
        ),
        papers.Claim(
            "Linear model, large steps: training ends below the stability limit.",
            "; ".join(
                f"η = {eta}: {spread(end, 1)} < {2 / eta:.1f}"
                for eta, end in ends.items()
            ),
            all(bool((end < 2 / eta).all()) for eta, end in ends.items()),
            threshold="below 2 / η for every draw",
            baseline=f"η = 0.012 ends at {spread(toy['sharpness 0.012'][:, -1], 1)}",
        ),
        papers.Claim(
            "Linear model: past the limit the opposing weights grow until the spike.",
            f"at least {least:,.0f} times",
            bool(least > 1e3),
            threshold="over 1,000 times for every draw",
            baseline="η = 0.012 does not cross"
            if (toy["growth 0.012"] == 1).all()
            else "η = 0.012 crosses as well",
        ),
        papers.Claim(
            "Linear model: Adam's loss does not rise above its start.",
            f"highest loss {peak.max():.4f} of the first; sharpness ends at "
            f"{spread(toy['adam end'], 1)}",
            bool((peak <= 1 + 1e-6).all()),
            threshold="at most the first loss for every draw",
            baseline=f"gradient descent, η = 0.04: {spread(rough, 2)}",
        ),
    )


def _digit_claims(runs: dict[str, Any], valley: Any) -> tuple[papers.Claim, ...]:
    plain, adam = runs["gradient descent"], runs["Adam"]
    at = {name: values[:, 2] for name, values in valley.items()}
    swaps = ", ".join(
        f"{name} {spread(run['swap'], 2)}"
        for name, run in runs.items()
        if name != "Adam"
    )
    # Only where the valley is sharper than the fast run's limit can it overshoot.
    sharp = at["sharpness"] > 2 / FAST
    crossed = f"{sharp.sum()} seeds that were sharper than 2 / {FAST} at η = {SLOW}"
    precisions = tuple(
        papers.Claim(
            f"Digits: the largest rises and falls at the most {name} step are the "
            "planted groups.",
            f"smaller of the two precisions {spread(plain[f'{name} precision'], 2)}, "
            f"at least 0.9 in {(plain[f'{name} precision'] >= 0.9).sum()} of "
            f"{len(sharp)} seeds, and in "
            f"{(plain[f'{name} precision'][sharp] >= 0.9).sum()} of the {crossed}",
            bool(plain[f"{name} precision"].mean() >= 0.9),
            threshold="precision at least 0.9, mean over seeds",
            baseline=f"highest losses there {spread(plain[f'{name} hard'], 2)}, chance "
            f"{2 * COUNT / EXAMPLES:.2f}",
        )
        for name in ("violent", "opposed")
    )
    return (
        *precisions,
        papers.Claim(
            "Digits: the two groups' gradients oppose each other.",
            f"cosine {spread(at['planted cosine'], 3)}",
            bool(at["planted cosine"].max() < -0.9),
            threshold="below -0.9 for every seed",
            baseline="same classes without the feature "
            f"{spread(at['others cosine'], 2)}",
        ),
        papers.Claim(
            "Digits: both gradients lie along the top eigenvector of the Hessian.",
            f"smaller |cosine| {spread(at['planted along'], 3)}",
            bool(at["planted along"].min() > 0.9),
            threshold="above 0.9 for every seed",
            baseline="same classes without the feature "
            f"{spread(at['others along'], 2)}",
        ),
        papers.Claim(
            "Digits: 24 of 500 examples make the sharpness.",
            f"{spread(at['planted ratio'], 2)} times that without them, over 3 in "
            f"{(at['planted ratio'] > 3).sum()} of {len(sharp)} seeds",
            bool(at["planted ratio"].mean() > 3),
            threshold="over 3 times, mean over seeds",
            baseline=f"without 24 others {spread(at['others ratio'], 2)} times",
        ),
        papers.Claim(
            "Digits: Adam at no lower speed does not swap the groups.",
            f"largest swap of a step {spread(adam['swap'], 2)}; last loss "
            f"{spread(adam['loss'][:, -1], 2)}, of gradient descent "
            f"{spread(plain['loss'][:, -1], 2)}; on the {crossed}, Adam "
            f"{_mean(adam['swap'][sharp])}, gradient descent "
            f"{_mean(plain['swap'][sharp])}",
            bool(
                adam["swap"].mean() < plain["swap"].mean() / 4
                and adam["loss"][:, -1].mean() <= plain["loss"][:, -1].mean()
            ),
            threshold="under a quarter of gradient descent's, at no higher last loss",
            baseline=swaps,
        ),
    )


@style.styled
def _figure(toy: dict[str, Any], runs: dict[str, Any], valley: Any, x: Any) -> Any:
    seed = int(np.argmax(runs["gradient descent"]["swap"]))
    figure = style.new_figure((7.4, 4.7))
    grid = figure.add_gridspec(2, 2)
    left, right, below = (figure.add_subplot(grid[i]) for i in ((0, 0), (0, 1), (1, 0)))
    for step_size, color in (
        (0.012, style.GREEN),
        (0.03, style.BLUE),
        (0.04, style.ORANGE),
    ):
        left.plot(
            toy[f"sharpness {step_size}"][0][:200],
            color=color,
            label=f"η = {step_size}",
        )
        if step_size > 0.012:
            left.axhline(2 / step_size, color=color, linestyle=":")
    left.set(
        xlabel="step",
        ylabel="sharpness",
        ylim=(0, 170),
        title="Linear model (dotted: 2 / η)",
    )
    for name, dash in (("gradient descent", "-"), ("Adam", "--")):
        for group, color in zip((0, 1), (style.BLUE, style.ORANGE), strict=True):
            right.plot(
                runs[name]["means"][seed, group, :30],
                color=color,
                linestyle=dash,
                label=f"{CLASSES[group]}s, {name}",
            )
    right.set(
        xlabel="step",
        ylabel="mean loss",
        title="Planted groups, seed of the largest swap",
    )
    steps = 10 * np.arange(1, valley["sharpness"].shape[1] + 1)
    sharp, ratio = valley["sharpness"], valley["planted ratio"]
    below.plot(steps, sharp.mean(axis=0), color=style.BLUE, label="all examples")
    rest = (sharp / ratio).mean(axis=0)
    below.plot(steps, rest, color=style.ORANGE, label="without the groups")
    below.axhline(2 / SLOW, color=style.GRAY, linestyle=":", label="2 / η")
    below.set(
        xlabel="step",
        ylabel="sharpness",
        ylim=(0, 32),
        title=f"Digits, η = {SLOW}, mean over seeds",
    )
    for axes, place in (
        (left, "upper right"),
        (right, "upper right"),
        (below, "upper right"),
    ):
        style.light_grid(axes)
        axes.legend(loc=place, fontsize="small")
    pictures = grid[1, 1].subgridspec(2, 4)
    for row, title in enumerate(("rises most", "falls most")):
        pair = runs["gradient descent"]["opposed pair"][seed, row]
        for column, example in enumerate(pair[:4]):
            axes = figure.add_subplot(pictures[row, column])
            axes.imshow(x[seed, example, :64].reshape(8, 8), cmap="gray_r")
            axes.set(xticks=[], yticks=[])
            if column == 0:
                axes.set_ylabel(title)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
