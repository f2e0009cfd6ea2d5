"""Parallel Learning by Multitasking Neural Networks.

Agliari, Alessandrelli, Barra, Ricci-Tersenghi (2023), arXiv 2308.04106. Patterns with
blank entries are learned from noisy examples, with and without a teacher, and recalled
several at a time from a cue of the first. Amplitudes simulated without noise stand
beside the solution of the self-consistent equations, over all dilutions.
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
from kanjax.hopfield import diluted, diluted_theory

PAPER = papers.Paper(
    slug="multitasking-hebbian",
    title="Parallel Learning by Multitasking Neural Networks",
    source="Agliari et al. (2023), arXiv 2308.04106",
    room="hopfield",
    state="in part",
)

QUALITY, EXAMPLES = 0.5, 100
TEACHINGS = ("supervised", "unsupervised")
COLORS = plotting.style.PALETTE


class Setting(NamedTuple):
    """Sizes of a run."""

    spins: int
    patterns: tuple[int, ...]
    dilutions: tuple[float, ...]
    seeds: int
    learning_spins: int
    learning: tuple[tuple[float, int], ...]
    plane: int
    theory_sites: int = 200_000


EVERY = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
# Quality and number of examples, with entropies from 4 to 0.03.
PAIRS = (
    *((0.5, count) for count in (3, 10, 30, 100)),
    *((0.2, count) for count in (8, 30, 100, 300, 800)),
    *((0.1, count) for count in (30, 100, 300, 1000)),
)
SETTINGS = {
    "short": Setting(
        4_000, (3,), (0.2, 0.7), 4, 1_000, ((0.5, 30), (0.2, 30)), 12, 40_000
    ),
    "default": Setting(10_000, (3, 4, 5), EVERY, 8, 4_000, PAIRS, 40),
    "full": Setting(50_000, (3, 4, 5), EVERY, 8, 10_000, PAIRS, 100),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    setting = SETTINGS[scale]
    sweeps = {k: _sweep(k, setting) for k in setting.patterns}
    learning = _learning(setting)
    plane = _plane(setting)
    claims = [*_amplitude_claims(sweeps), _teaching_claim(sweeps)]
    claims.append(_learning_claim(learning))
    numbers = {
        "amplitudes": {
            str(k): {name: np.asarray(v).tolist() for name, v in sweep.items()}
            for k, sweep in sweeps.items()
        },
        "learning": learning,
        "phases": {
            "dilution": plane.columns.tolist(),
            "temperature": plane.rows.tolist(),
            "code": plane.codes.tolist(),
            "converged": plane.converged.tolist(),
        },
    }
    figure = _figure(sweeps, learning, plane)
    return papers.Reproduction(tuple(claims), numbers, {"multitasking-hebbian": figure})


@functools.partial(jax.jit, static_argnames=("patterns", "spins", "examples"))
def _simulate(
    keys: Array,
    dilutions: Array,
    quality: Array,
    *,
    patterns: int,
    spins: int,
    examples: int,
) -> tuple[Array, Array]:
    """Overlaps (runs, 2, patterns) after one update of a cue, and at the end."""

    def run(at: tuple[Array, Array]) -> tuple[Array, Array]:
        key, d = at
        keys = jax.random.split(key, 3)
        xi = diluted.diluted_patterns(keys[0], patterns, spins, d)
        shown = diluted.noisy_examples(keys[1], xi, examples, quality)
        cue = diluted.fill_blanks(keys[2], xi[0])
        first, last = [], []
        for teaching in TEACHINGS:
            memory = diluted.multitask_memory(
                shown, dilution=d, quality=quality, teaching=teaching
            )
            first.append(jnp.where(memory.fields(cue) < 0, -1.0, 1.0))
            last.append(hopfield.retrieve(memory, cue, max_sweeps=100).state)
        states = jnp.stack([jnp.stack(first), jnp.stack(last)])
        one, end = hopfield.overlaps(states, xi)
        return one, end

    return jax.lax.map(run, (keys, dilutions))


def _sweep(patterns: int, setting: Setting) -> dict[str, np.ndarray]:
    """Amplitudes, largest first, over dilutions: simulated and of the theory."""
    d = jnp.repeat(jnp.asarray(setting.dilutions), setting.seeds)
    _, end = _simulate(
        jax.random.split(jax.random.key(patterns), len(d)),
        d,
        jnp.asarray(QUALITY),
        patterns=patterns,
        spins=setting.spins,
        examples=EXAMPLES,
    )
    shape = (len(setting.dilutions), setting.seeds, 2, patterns)
    found = -np.sort(-np.abs(np.asarray(end)), axis=-1).reshape(shape)
    entropy = diluted.dataset_entropy(EXAMPLES, QUALITY)

    @jax.jit
    def theory(dilutions: Array) -> diluted_theory.State:
        def solve(d: Array) -> diluted_theory.State:
            sites = diluted_theory.sample_sites(
                jax.random.key(0), patterns, d, setting.theory_sites, entropy=entropy
            )
            # Sampled sites end a step of the sign: solutions are as fine as a site.
            return diluted_theory.solve(sites, jnp.inf, tolerance=2e-5, max_steps=500)

        return jax.lax.map(solve, dilutions)

    solution = theory(jnp.asarray(setting.dilutions))
    expected = -np.sort(-np.abs(np.asarray(solution.overlaps)), axis=-1)
    expected[~np.asarray(solution.converged)] = np.nan
    return {
        "dilution": np.asarray(setting.dilutions),
        "supervised": found[:, :, 0],
        "unsupervised": found[:, :, 1],
        "theory": expected,
    }


def _learning(setting: Setting) -> list[dict[str, Any]]:
    """The first overlap after one update of the pattern, over 1 - dilution."""
    d, points = 0.2, []
    for quality, examples in setting.learning:
        one, end = _simulate(
            jax.random.split(jax.random.key(7), 4),
            jnp.full(4, d),
            jnp.asarray(quality),
            patterns=3,
            spins=setting.learning_spins,
            examples=examples,
        )
        share, settled = (np.asarray(m)[:, :, 0] / (1 - d) for m in (one, end))
        entropy = diluted.dataset_entropy(examples, quality)
        points.append(
            {
                "quality": quality,
                "examples": examples,
                "entropy": float(entropy),
                "theory": float(diluted_theory.learning_curve(entropy)),
                **dict(zip(TEACHINGS, share.mean(0).tolist(), strict=True)),
                "spread": float(share.std(0).max()),
                "settled": np.abs(settled).mean(0).tolist(),
            }
        )
    return points


def _plane(setting: Setting) -> hopfield.PhaseDiagram:
    """The regime of three stored patterns at each dilution and temperature."""
    return hopfield.phase_diagram(
        dilution=jnp.linspace(0.0, 0.95, setting.plane),
        temperature=jnp.linspace(0.02, 1.1, setting.plane),
        patterns=3,
    )


def _amplitude_claims(sweeps: dict[int, Any]) -> list[papers.Claim]:
    """Few patterns and more of them apart: only the first come out as they should."""
    claims = []
    for few in (True, False):
        chosen = {k: s for k, s in sweeps.items() if (k == 3) == few}
        if not chosen:
            continue
        number = " or ".join(map(str, chosen))
        off, equal, spread, ratio, below, crossing = [], [], [], [], [], []
        for k, sweep in chosen.items():
            d, runs = sweep["dilution"], sweep["supervised"]
            mean, low = runs.mean(1), d <= 0.5
            off.append(np.max(np.abs(mean - sweep["theory"])[low]))
            flat = mean.mean(1, keepdims=True)
            equal.append(np.max(np.abs(mean - flat)[low]))
            spread.append(np.max(runs.std(1)[low]))
            high = d > diluted_theory.critical_dilution(k)
            share = mean[:, 0] / mean[:, -1]
            ratio.append(np.max(share[high]))
            below.append(np.min(share[low]))
            crossing.append(d[np.argmax(share < 2)])
        shown = [f"{x:.3f}" for x in off]
        claims.append(
            papers.Claim(
                f"{number} patterns, dilutions up to 0.5: amplitudes are those of the "
                "self-consistent equations.",
                f"largest difference of means over seeds {', '.join(shown)} (a run "
                f"spreads by up to {max(spread):.3f})",
                bool(max(off) < 0.02),
                threshold="below 0.02",
                baseline=f"equal amplitudes are off by up to {min(equal):.2f}",
            )
        )
        shown = [f"{x:.2f}" for x in ratio]
        starts = [f"{x:.2f}" for x in crossing]
        claims.append(
            papers.Claim(
                f"{number} patterns above the critical dilution: amplitudes are "
                "comparable.",
                f"largest over smallest at most {', '.join(shown)}; below 2 from a "
                f"dilution of {', '.join(starts)} on",
                bool(max(ratio) < 2),
                threshold="largest / smallest below 2 at all dilutions above critical",
                baseline=f"up to 0.5 it is {min(below):.1f} or more",
            )
        )
    return claims


def _teaching_claim(sweeps: dict[int, Any]) -> papers.Claim:
    gaps, halves = [], []
    for sweep in sweeps.values():
        taught, untaught = sweep["supervised"], sweep["unsupervised"]
        gaps.append(np.max(np.abs(taught.mean(1) - untaught.mean(1))))
        half = taught.shape[1] // 2
        halves.append(
            np.max(np.abs(taught[:, :half].mean(1) - taught[:, half:].mean(1)))
        )
    return papers.Claim(
        "Learning without a teacher gives the same amplitudes, of examples enough.",
        f"largest difference of means over seeds {max(gaps):.3f}, entropy 0.03",
        bool(max(gaps) < 0.02),
        threshold="below 0.02, entropy at most 0.05",
        baseline=f"two halves of the seeds of one protocol differ by {max(halves):.3f}",
    )


def _learning_claim(points: list[dict[str, Any]]) -> papers.Claim:
    off = max(abs(p[t] - p["theory"]) for p in points for t in TEACHINGS)
    pairs = [
        abs(a["supervised"] - b["supervised"])
        for a in points
        for b in points
        if a["examples"] == b["examples"]
    ]
    return papers.Claim(
        "The first overlap depends on examples and quality by the entropy alone, with "
        "and without a teacher: one update falls on erf(1 / sqrt(2 entropy)).",
        f"largest difference {off:.3f} over {len(points)} pairs of examples and quality"
        f" (a run spreads by up to {max(p['spread'] for p in points):.3f})",
        off < 0.05,
        threshold="below 0.05",
        baseline="with the same number of examples overlaps differ by up to "
        f"{max(pairs):.2f}",
    )


def _figure(sweeps: dict[int, Any], learning: list[Any], plane: Any) -> Any:
    figure = plotting.style.new_figure((8.6, 6.6))
    (top, right), (left, corner) = figure.subplots(2, 2)
    _draw_amplitudes(top, sweeps[3])
    for color, (k, sweep) in zip(COLORS, sweeps.items(), strict=False):
        mean = sweep["supervised"].mean(1)
        high = sweep["dilution"] >= 0.3
        ratio = (mean[:, 0] / mean[:, -1])[high]
        right.semilogy(
            sweep["dilution"][high], ratio, "o-", color=color, label=f"{k} patterns"
        )
        right.axvline(diluted_theory.critical_dilution(k), color=color, ls=":")
    right.axhline(2, color="0.45", lw=1)
    right.set(
        xlabel="dilution",
        ylabel="largest / smallest amplitude",
        title="Dotted: critical dilutions",
    )
    right.legend()
    rho = np.geomspace(0.02, 5, 200)
    left.semilogx(rho, diluted_theory.learning_curve(rho), color="0.3", label="theory")
    qualities = dict.fromkeys(point["quality"] for point in learning)
    for color, quality in zip(COLORS, qualities, strict=False):
        for teaching, marker in zip(TEACHINGS, "ox", strict=True):
            chosen = [p for p in learning if p["quality"] == quality]
            left.plot(
                [p["entropy"] for p in chosen],
                [p[teaching] for p in chosen],
                marker,
                color=color,
                label=f"quality {quality}, {teaching}",
            )
    left.set(
        xlabel="entropy of the data set",
        ylabel="first overlap / (1 - dilution)",
        title="One update of the first pattern",
    )
    left.legend(fontsize=7)
    plotting.phase_diagram(plane, title="Three stored patterns", axes=corner)
    return figure


def _draw_amplitudes(axes: Any, sweep: dict[str, np.ndarray]) -> None:
    d, runs = sweep["dilution"], sweep["supervised"]
    error = runs.std(1) / math.sqrt(runs.shape[1])
    for k in range(runs.shape[2]):
        axes.plot(d, sweep["theory"][:, k], color=COLORS[k])
        axes.errorbar(
            d, runs.mean(1)[:, k], error[:, k], fmt="o", ms=4, color=COLORS[k]
        )
        axes.plot(d, sweep["unsupervised"].mean(1)[:, k], "x", color=COLORS[k])
    axes.axvline(diluted_theory.critical_dilution(3), color="0.45", ls=":")
    axes.plot([], [], color="0.3", label="theory")
    axes.plot([], [], "o", color="0.3", label="supervised")
    axes.plot([], [], "x", color="0.3", label="unsupervised")
    axes.set(
        xlabel="dilution", ylabel="amplitude", title="Three patterns, zero temperature"
    )
    axes.legend()


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
