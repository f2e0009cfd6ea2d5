"""Wide and Deep Neural Networks Achieve Optimality for Classification.

Radhakrishnan, Belkin, Uhler (2023), arXiv 2204.14126. Points on the non-negative part
of a sphere carry labels that a boundary decides with probability 0.9, so that no rule
errs on less than 0.1. Three activations, three limits of depth: the one made for the
dimension, ReLU, and a cubic; each one's excess risk against the number of examples.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kanjax import cli, gaussian, papers, plotting
from kanjax.ntk import infinite_depth, limit_classifiers
from kanjax.papers import spread

PAPER = papers.Paper(
    slug="wide-deep-optimal",
    title="Wide and Deep Neural Networks Achieve Optimality for Classification",
    source="Radhakrishnan, Belkin, Uhler (2023), arXiv 2204.14126",
    room="ntk",
    state="reproduced",
)

DIMENSION, NOISE, BOUNDARY = 2, 0.1, 0.7
# A coordinate of a uniform point on the sphere of three coordinates is uniform.
PRIOR = NOISE + (1 - 2 * NOISE) * (1 - BOUNDARY)
RULES = ("made for the dimension", "cubic: nearest neighbor", "ReLU: majority vote")


class Setting(NamedTuple):
    """Sizes of a run; the last three of networks of finite depth, if any."""

    counts: tuple[int, ...]
    seeds: int
    points: int
    examples: int
    deep_points: int
    depth: int


MANY = (50, 100, 200, 400, 800, 1_600, 3_000)
SETTINGS = {
    "short": Setting((50, 800), 10, 400, 0, 0, 0),
    "default": Setting(MANY, 10, 500, 60, 100, 4_000),
    "full": Setting((*MANY, 6_000, 12_000), 30, 1_000, 100, 300, 10_000),
}
OPTIMAL = infinite_depth.optimal_activation(DIMENSION)
CUBIC = gaussian.hermite(3)


@jax.enable_x64(True)
def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    risks = np.asarray(
        [
            [_risks(jax.random.key(seed), n, setting.points) for n in setting.counts]
            for seed in range(setting.seeds)
        ]
    )
    depth = _agreements(setting) if setting.depth else []
    numbers = {
        "counts": list(setting.counts),
        "risks": {
            rule: {
                "mean": risks[:, :, i].mean(axis=0).tolist(),
                "deviation": risks[:, :, i].std(axis=0, ddof=1).tolist(),
            }
            for i, rule in enumerate(RULES)
        },
        "prior_error": PRIOR,
        "agreement_at_depth": depth,
    }
    figure = _figure(setting, risks)
    claims = _claims(setting, risks, depth)
    return papers.Reproduction(claims, numbers, {"risk": figure})


def _draw(key: jax.Array, count: int) -> jax.Array:
    x = jnp.abs(jax.random.normal(key, (count, DIMENSION + 1)))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def _chance(x: jax.Array) -> jax.Array:
    """The probability of the label 1."""
    return jnp.where(x[:, 0] > BOUNDARY, 1 - NOISE, NOISE)


def _sample(key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    where, which = jax.random.split(key)
    x = _draw(where, count)
    return x, jnp.where(jax.random.bernoulli(which, _chance(x)), 1.0, -1.0)


def _risks(key: jax.Array, count: int, points: int) -> list[float]:
    """The probability of an error of each rule, given the examples."""
    here, there = jax.random.split(key)
    x, y = _sample(here, count)
    at = _draw(there, points)
    chance = _chance(at)
    return [
        float(jnp.mean(jnp.where(label > 0, 1 - chance, chance)))
        for label in _classify(x, y, at)
    ]


@jax.jit
def _classify(x: jax.Array, y: jax.Array, at: jax.Array) -> list[jax.Array]:
    return [
        limit_classifiers.koenigs_classifier(OPTIMAL, x, y, at, steps=60),
        limit_classifiers.nearest_neighbor(x, y, at),
        limit_classifiers.majority_vote(y, at),
    ]


def _agreements(setting: Setting) -> list[list[float]]:
    """Shares of points on which deep networks and their limits agree, by seed."""
    shares = []
    for seed in range(3):
        here, there = jax.random.split(jax.random.key(2_000 + seed))
        x, y = _sample(here, setting.examples)
        at = _draw(there, setting.deep_points)
        shares.append(
            [
                float(np.mean(_deep(activation, x, y, at, setting.depth) == limit))
                for activation, limit in zip(
                    (OPTIMAL, CUBIC, gaussian.relu()),
                    _classify(x, y, at),
                    strict=True,
                )
            ]
        )
    return shares


@functools.partial(jax.jit, static_argnums=(0, 4))
def _deep(
    activation: Any, x: jax.Array, y: jax.Array, at: jax.Array, depth: int
) -> jax.Array:
    # What decays doubly exponentially leaves the range of logarithms as well in time.
    depth = min(depth, 500) if activation is CUBIC else depth
    return limit_classifiers.deep_ntk_classifier(activation, x, y, at, depth)


def _claims(
    setting: Setting, risks: np.ndarray, depth: list[list[float]]
) -> tuple[papers.Claim, ...]:
    optimal, nearest, majority = np.moveaxis(risks, 2, 0)
    first, last = setting.counts[0], setting.counts[-1]
    seeds = f"{setting.seeds} seeds"
    margin = nearest[:, -1] - optimal[:, -1]
    fall = optimal[:, 0] - optimal[:, -1]
    claims = (
        papers.Claim(
            "The excess risk of the activation made for the dimension falls with the "
            "number of examples.",
            f"{spread(optimal[:, 0] - NOISE)} with {first} examples, "
            f"{spread(optimal[:, -1] - NOISE)} with {last} ({seeds})",
            bool(fall.mean() > 3 * fall.std(ddof=1) / setting.seeds**0.5),
            threshold="a fall of more than 3 standard errors",
            baseline=f"nearest neighbor {spread(nearest[:, -1] - NOISE)} with {last}",
        ),
        papers.Claim(
            "It is below the nearest neighbor's.",
            f"error {spread(optimal[:, -1])}, least margin {margin.min():.3f} "
            f"({last} examples, {seeds})",
            bool(margin.min() > 0),
            threshold="lower for every seed",
            baseline=f"nearest neighbor {spread(nearest[:, -1])}",
        ),
        papers.Claim(
            "The error of the nearest neighbor tends to 2 eta (1 - eta).",
            f"{spread(nearest[:, -1])} with {last} examples ({seeds})",
            bool(abs(nearest[:, -1].mean() - 2 * NOISE * (1 - NOISE)) < 0.02),
            paper="0.18",
            threshold="within 0.02 of 0.18",
            baseline=f"{spread(nearest[:, 0])} with {first}",
        ),
        papers.Claim(
            "The error of the majority vote stays at that of the prior.",
            f"{spread(majority[:, 0])} with {first} examples, "
            f"{spread(majority[:, -1])} with {last} ({seeds})",
            bool(np.abs(majority.mean(axis=0) - PRIOR).max() < 0.02),
            paper=f"{PRIOR:.3f}, the prior's",
            threshold="within 0.02 of the prior's at every number",
            baseline=f"made for the dimension {spread(optimal[:, -1])}",
        ),
    )
    if not depth:
        return claims
    least = np.min(depth, axis=0)
    return (
        *claims,
        papers.Claim(
            "Regression with the tangent kernels of deep networks classifies as the "
            "three limits do.",
            f"agreement {least[0]:.1%}, {least[1]:.1%} and {least[2]:.1%} of points "
            f"(made for the dimension, cubic, ReLU; {setting.examples} examples, "
            f"depth {setting.depth}, of the cubic 500, least of 3 seeds)",
            bool(least.min() > 0.98),
            threshold="more than 98 % of points each",
        ),
    )


@plotting.style.styled
def _figure(setting: Setting, risks: np.ndarray) -> Any:
    """Errors against the number of examples, with their spread over seeds."""
    figure = plotting.style.new_figure((6.4, 4.0))
    axes = figure.subplots()
    counts = np.asarray(setting.counts)
    for i, rule in enumerate(RULES):
        mean, spread = risks[:, :, i].mean(axis=0), risks[:, :, i].std(axis=0, ddof=1)
        color = plotting.style.PALETTE[i]
        marker = plotting.style.MARKERS[i]
        axes.plot(counts, mean, color=color, marker=marker, label=rule)
        axes.fill_between(counts, mean - spread, mean + spread, color=color, alpha=0.2)
    for height, text in (
        (PRIOR, "prior"),
        (2 * NOISE * (1 - NOISE), "2 eta (1 - eta)"),
        (NOISE, "least possible"),
    ):
        axes.axhline(height, color=plotting.style.GRAY, linestyle=":", linewidth=1)
        axes.annotate(
            text, (counts[-1], height), (0, -13), "data", "offset points", ha="right"
        )
    axes.set(xscale="log", xlabel="examples", ylabel="probability of an error")
    axes.set_ylim(0.07, None)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 0.82))
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
