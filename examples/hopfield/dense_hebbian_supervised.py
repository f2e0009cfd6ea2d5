"""Dense Hebbian Neural Networks: a Replica Symmetric Picture of Supervised Learning.

Agliari et al. (2022), arXiv 2212.00606. Dense memories learn archetypes from noisy
examples of them. One update and the equilibrium of sampled memories stand beside the
replica-symmetric theory; digits are learned at several orders.
"""

import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import cli, hopfield, papers, plotting
from kanjax import data as datasets
from kanjax.hopfield import (
    archetype_theory,
    archetypes,
    blocking,
    tensors,
)

PAPER = papers.Paper(
    slug="dense-hebbian-supervised",
    title="Dense Hebbian Neural Networks: a Replica Symmetric Picture of Supervised "
    "Learning",
    source="Agliari et al. (2022), arXiv 2212.00606",
    room="hopfield",
    state="in part",
)

EXAMPLES = 50
BETA, LOAD, ENTROPY = 5.0, 0.1, 0.1
COLORS = plotting.style.PALETTE
# Load and entropy; of entropies up to 0.2 the theory must be within 0.03 at 60 spins.
POINTS = ((0.3, 0.0), (0.1, 0.169), (0.3, 0.15), (0.8, 0.0), (0.1, 0.3))


class Setting(NamedTuple):
    """Sizes of a run."""

    points: tuple[tuple[float, float], ...]
    spins: tuple[int, ...]
    seeds: int
    sweeps: int
    plane: int
    learned: tuple[int, ...]
    cues: int


SETTINGS = {
    "short": Setting(POINTS[:2], (60,), 4, 64, 8, (3, 100), 60),
    "default": Setting(POINTS, (40, 60, 80), 12, 256, 50, (1, 3, 10, 30, 100), 400),
    "full": Setting(POINTS, (40, 60, 80, 100), 48, 1024, 100, (1, 3, 10, 30, 100), 400),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    setting = SETTINGS[scale]
    steps = [
        _one_step(point, n, setting) for n in setting.spins for point in setting.points
    ]
    storage = _storage(setting)
    settled = [_equilibrium(n, setting) for n in setting.spins]
    plane = _plane(setting)
    digits = _digits(setting)
    claims = (_step_claim(steps), *_storage_claims(storage), _digits_claim(digits))
    numbers = {
        "one step": steps,
        "storage": storage,
        "equilibrium": settled,
        "plane": {
            "load": plane.columns.tolist(),
            "temperature": plane.rows.tolist(),
            "code": plane.codes.tolist(),
            "overlap": plane.overlap.tolist(),
            "converged": plane.converged.tolist(),
        },
        "digits": digits,
    }
    figure = _figure(steps, settled, plane, digits)
    return papers.Reproduction(claims, numbers, {"dense-hebbian-supervised": figure})


def _learn(
    key: Array, load: float, entropy: float, spins: int
) -> tuple[Array, tensors.LowRankTensor]:
    """Archetypes and the memory of means of 50 examples of each, of order 4."""
    count = round(load * 2 / math.factorial(4) * spins**3)
    quality = 1 / math.sqrt(1 + EXAMPLES * entropy)
    key_archetypes, key_examples = jax.random.split(key)
    xi = hopfield.random_patterns(key_archetypes, count, spins)
    if entropy == 0:
        return xi, archetypes.archetype_memory(xi, order=4)
    # Only how many examples agree matters: a binomial number.
    kept = jax.random.binomial(key_examples, EXAMPLES, (1 + quality) / 2, xi.shape)
    means = xi * (2 * kept / EXAMPLES - 1) / quality
    scale = (1 + entropy) ** -2 / spins**3
    return xi, tensors.LowRankTensor(means, scale, 4)


@functools.partial(jax.jit, static_argnames=("load", "entropy", "spins"))
def _step(key: Array, load: float, entropy: float, spins: int) -> Array:
    xi, memory = _learn(key, load, entropy, spins)
    start = xi[:16]
    after = jnp.where(jax.lax.map(memory.fields, start) < 0, -1.0, 1.0)
    return jnp.mean(after * start)


def _one_step(
    point: tuple[float, float], spins: int, setting: Setting
) -> dict[str, Any]:
    """The mean overlap of 16 archetypes after one update of all spins."""
    load, entropy = point
    keys = jax.random.split(jax.random.key(spins), setting.seeds)
    each = [float(_step(key, load, entropy, spins)) for key in keys]
    return {
        "load": load,
        "entropy": entropy,
        "spins": spins,
        "overlap": float(np.mean(each)),
        "error": float(np.std(each, ddof=1) / math.sqrt(len(each))),
        "theory": float(archetype_theory.one_step_overlap(load, entropy, 4)),
        "without crosstalk": float(archetype_theory.one_step_overlap(0, entropy, 4)),
    }


def _storage(setting: Setting) -> dict[str, Any]:
    """A load of 0.1 at 56 spins, 1,463 patterns, as products of four and of two."""
    overlaps: dict[int, list[float]] = {2: [], 4: []}
    for seed in range(setting.seeds):
        xi = hopfield.random_patterns(jax.random.key(seed), 1463, 56)
        for order, values in overlaps.items():
            found = hopfield.retrieve(hopfield.PSpin(xi, order), xi[:50])
            values.append(float(jnp.mean(found.state * xi[:50])))
    return {
        f"order {order}": {"overlap": np.mean(v), "spread": np.std(v)}
        for order, v in overlaps.items()
    }


@functools.partial(jax.jit, static_argnames=("spins", "sweeps"))
def _chains(key: Array, spins: int, sweeps: int) -> tuple[blocking.Blocked, Array]:
    key_learn, key_chains = jax.random.split(key)
    xi, memory = _learn(key_learn, LOAD, ENTROPY, spins)
    start, beta = xi[:4], 12 * BETA
    chains = hopfield.glauber(
        key_chains,
        memory,
        start,
        beta=beta,
        sweeps=sweeps,
        observe=lambda state: jnp.mean(state * start, axis=-1),
    )
    fast = archetypes.magnetizations(memory, start[0], beta=beta, load=LOAD)
    kept = blocking.standard_error(chains.observed[sweeps // 4 :], blocks=8)
    return kept, jnp.mean(fast.value * start[0])


def _equilibrium(spins: int, setting: Setting) -> dict[str, Any]:
    """Overlaps of chains that start from archetypes, of memory after memory."""
    keys = jax.random.split(jax.random.key(spins), max(2, setting.seeds // 3))
    runs = [_chains(key, spins, setting.sweeps) for key in keys]
    means = np.array([np.mean(run[0].mean) for run in runs])
    with jax.enable_x64(True):
        theory = archetype_theory.solve(BETA, LOAD, ENTROPY, 4)
    return {
        "spins": spins,
        "overlap": means.mean(),
        "error": means.std(ddof=1) / math.sqrt(len(means)),
        "error of a chain": np.mean([run[0].error for run in runs]),
        "autocorrelation time": np.mean([run[0].time for run in runs]),
        "magnetizations": np.mean([run[1] for run in runs]),
        "theory": float(theory.overlap),
    }


def _plane(setting: Setting) -> hopfield.PhaseDiagram:
    """The regime at each load and temperature, of an entropy of 0.1."""
    return hopfield.phase_diagram(
        load=jnp.linspace(0.005, 0.6, setting.plane),
        temperature=jnp.linspace(0.02, 1.0, setting.plane),
        entropy=ENTROPY,
        order=4,
    )


def _digits(setting: Setting) -> list[dict[str, Any]]:
    """Recall of ten digits from unseen ones, by order and number of examples."""
    digits = datasets.load("digits")
    spins = np.asarray(archetypes.binarize(digits.x, np.mean(digits.x, axis=0)))
    labels = np.asarray(digits.y)
    results = []
    for order in (2, 4, 6):
        for count in setting.learned:
            rows = []
            for seed in range(3):
                mixed = np.random.default_rng(seed).permutation(len(labels))
                seen, unseen = mixed[:1300], mixed[1300:][: setting.cues]
                stored = archetypes.archetypes_from_labels(
                    spins[seen], labels[seen], 10
                )
                shown = np.stack(
                    [spins[seen][labels[seen] == c][:count] for c in range(10)]
                )
                memory = archetypes.archetype_memory(shown, order=order)
                end = hopfield.retrieve(memory, spins[unseen], max_sweeps=30)
                overlaps = np.asarray(hopfield.overlaps(end.state, stored))
                rows.append(overlaps[np.arange(len(unseen)), labels[unseen]].mean())
            results.append(
                {
                    "order": order,
                    "examples": count,
                    "overlap": float(np.mean(rows)),
                    "spread": float(np.std(rows)),
                }
            )
    return results


def _step_claim(steps: list[dict[str, Any]]) -> papers.Claim:
    chosen = [s for s in steps if s["spins"] == 60 and s["entropy"] <= 0.2]
    gaps = [abs(s["overlap"] - s["theory"]) for s in chosen]
    free = [abs(s["overlap"] - s["without crosstalk"]) for s in chosen]
    shown = ", ".join(
        f"{s['overlap']:.3f} +- {s['error']:.3f} ({s['theory']:.3f})" for s in chosen
    )
    places = ", ".join(f"({s['load']:g}, {s['entropy']:g})" for s in chosen)
    return papers.Claim(
        "One update from an archetype, order 4, 60 spins, entropies up to 0.2: the "
        f"overlap is that of the theory, at (load, entropy) {places}.",
        f"{shown}: at most {max(gaps):.3f} off",
        max(gaps) < 0.03,
        threshold="below 0.03",
        baseline=f"the theory without crosstalk is up to {max(free):.2f} off",
    )


def _storage_claims(storage: dict[str, Any]) -> list[papers.Claim]:
    few, many = storage["order 2"], storage["order 4"]
    return [
        papers.Claim(
            "26 patterns a spin (56 spins, load 0.1): order 4 recalls them.",
            f"overlap {many['overlap']:.4f}, of a memory +- {many['spread']:.4f}",
            bool(many["overlap"] > 0.99),
            threshold="above 0.99",
            baseline=f"order 2: {few['overlap']:.3f}",
        ),
        papers.Claim(
            "The pairwise memory does not recall any of them.",
            f"overlap {few['overlap']:.3f}, of a memory +- {few['spread']:.3f}",
            bool(few["overlap"] < 0.2),
            threshold="below 0.2",
            baseline=f"order 4: {many['overlap']:.4f}",
        ),
    ]


def _digits_claim(digits: list[dict[str, Any]]) -> papers.Claim:
    most = max(d["examples"] for d in digits)
    last = {d["order"]: d for d in digits if d["examples"] == most}
    least = min(d["examples"] for d in digits)
    first = {d["order"]: d for d in digits if d["examples"] == least}
    gain = (
        last[6]["overlap"] - last[4]["overlap"],
        last[4]["overlap"] - last[2]["overlap"],
    )
    spread = max(d["spread"] for d in last.values())
    shown = ", ".join(f"{d['overlap']:.3f} (P = {P})" for P, d in last.items())
    before = ", ".join(f"{d['overlap']:.3f}" for d in first.values())
    return papers.Claim(
        f"Digits, {most} examples of each: unseen ones recall their archetype better "
        "the larger the order.",
        f"overlap {shown}; three splits spread by up to {spread:.3f}",
        min(gain) > 3 * spread,
        threshold="gains from order to order above 3 spreads",
        baseline=f"from {least} example{'s' * (least > 1)} of each {before}",
    )


def _figure(steps: Any, settled: Any, plane: Any, digits: Any) -> Any:
    figure = plotting.style.new_figure((7.8, 5.9))
    (top, right), (left, corner) = figure.subplots(2, 2)
    points = dict.fromkeys((s["load"], s["entropy"]) for s in steps)
    for color, (load, entropy) in zip(COLORS, points, strict=False):
        chosen = [s for s in steps if (s["load"], s["entropy"]) == (load, entropy)]
        top.errorbar(
            [1 / s["spins"] for s in chosen],
            [s["overlap"] for s in chosen],
            [s["error"] for s in chosen],
            fmt="o-",
            ms=4,
            color=color,
            label=f"{load:g}, {entropy:g}",
        )
        top.plot(0, chosen[0]["theory"], "s", ms=5, color=color)
    top.set(xlabel="1 / spins", ylabel="overlap", title="One update; squares: theory")
    top.legend(title="load, entropy", fontsize=7, title_fontsize=7, loc=(0.08, 0.03))
    top.locator_params(axis="x", nbins=4)
    inverse = [1 / s["spins"] for s in settled]
    right.errorbar(
        inverse,
        [s["overlap"] for s in settled],
        [s["error"] for s in settled],
        fmt="o",
        color=COLORS[0],
        label="Monte Carlo",
    )
    right.plot(
        inverse,
        [s["magnetizations"] for s in settled],
        "x",
        color=COLORS[1],
        label="mean field, with reaction",
    )
    right.plot(0, settled[0]["theory"], "s", color="0.3", label="theory")
    right.set(
        xlabel="1 / spins",
        ylabel="overlap",
        title=f"Scaled beta {BETA:g}, load {LOAD:g}, entropy {ENTROPY:g}",
    )
    right.legend(fontsize=8)
    right.locator_params(axis="x", nbins=4)
    plotting.phase_diagram(plane, title=f"Order 4, entropy {ENTROPY:g}", axes=left)
    left.set_ylabel("1 / scaled beta")
    for color, order in zip(COLORS, (2, 4, 6), strict=False):
        chosen = [d for d in digits if d["order"] == order]
        corner.errorbar(
            [d["examples"] for d in chosen],
            [d["overlap"] for d in chosen],
            [d["spread"] for d in chosen],
            fmt="o-",
            ms=4,
            color=color,
            label=f"P = {order}",
        )
    corner.set(
        xscale="log", xlabel="examples of each", ylabel="overlap", title="Digits"
    )
    corner.legend()
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
