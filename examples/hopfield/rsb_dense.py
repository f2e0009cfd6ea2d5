"""Replica Symmetry Breaking in Dense Neural Networks.

Albanese, Alemanno, Alessandrelli, Barra (2021), arXiv 2111.12997. The glass of a dense
memory with as many patterns as it can hold, while replicas are alike and after one step
of broken symmetry: entropies, ground states and storage, beside simulations of states
of recall, Sherrington and Kirkpatrick's model, and the random energy model.
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
from kanjax.hopfield import ground_states, parisi, replica_breaking, replica_symmetry

PAPER = papers.Paper(
    slug="rsb-dense",
    title="Replica Symmetry Breaking in Dense Neural Networks",
    source="Albanese, Alemanno, Alessandrelli, Barra (2021), arXiv 2111.12997",
    room="hopfield",
    state="reproduced",
)

ORDER = 4
BLUE, ORANGE, GREEN = plotting.style.PALETTE[:3]
# Where memories are simulated: low temperature, a quarter of the capacity.
BETA, LOAD = 2.0, 0.1


class Setting(NamedTuple):
    """Sizes of a run; without numbers of spins nothing is simulated."""

    betas: int
    signals: int
    spins: tuple[int, ...]
    memories: int
    sweeps: int
    steps: int
    points: int


SETTINGS = {
    "short": Setting(4, 5, (), 0, 0, 2, 101),
    "default": Setting(25, 61, (64, 96, 128), 8, 60, 4, 301),
    "full": Setting(61, 121, (64, 96, 128, 160), 16, 100, 6, 401),
}


@jax.enable_x64(True)
def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    setting = SETTINGS[scale]
    glass = _glass(setting)
    branch = _branch(setting)
    simulated = _simulate(setting) if setting.spins else {}
    anchors = _anchors(setting)
    claims = (
        _entropy_claim(glass),
        *_ground_claims(branch),
        *((_simulation_claim(simulated),) if simulated else ()),
        *_anchor_claims(anchors),
    )
    results = {"glass": glass, "branch": branch, "simulated": simulated}
    numbers = {
        name: {key: np.asarray(value).tolist() for key, value in result.items()}
        for name, result in {**results, "anchors": anchors}.items()
    }
    figure = _figure(glass, branch, simulated)
    return papers.Reproduction(claims, numbers, {"rsb-dense": figure})


def _glass(setting: Setting) -> dict[str, Array]:
    """Pressure and entropy of the glass of load 1 over inverse temperatures."""
    b = jnp.linspace(1.0, 4.0, setting.betas)

    def at(b: Array) -> dict[str, Array]:
        alike = replica_symmetry.solve(b, 1.0, ORDER, start=(0.0, 1.0))
        broken = replica_breaking.solve(b, 1.0, ORDER)
        x, y = alike[:2], broken[:4]
        return {
            "beta": b,
            "replica overlap": alike.replica_overlap,
            "within": broken.self_overlap,
            "theta": broken.breaking,
            "converged": alike.converged & broken.converged,
            "annealed": replica_breaking.annealed_pressure(b, 1.0),
            "symmetric": replica_symmetry.pressure(b, 1.0, *x, ORDER),
            "broken": replica_breaking.pressure(b, 1.0, *y, ORDER),
            "symmetric entropy": replica_symmetry.entropy(b, 1.0, *x, ORDER),
            "broken entropy": replica_breaking.entropy(b, 1.0, *y, ORDER),
        }

    return jax.jit(jax.vmap(at))(b)


def _branch(setting: Setting) -> dict[str, Any]:
    """States of recall without temperature over signal to noise, and ground states."""
    signal = jnp.linspace(1.1, 2.9, setting.signals)
    states = [ground_states.recall(s, ORDER) for s in signal]
    broken = jax.tree.map(lambda *each: jnp.stack(each), *states)
    glass = ground_states.glass(ORDER)
    load, overlap = replica_symmetry.zero_temperature(signal, ORDER)
    return {
        "symmetric load": load,
        "symmetric overlap": overlap,
        "broken load": broken.load,
        "broken overlap": broken.overlap,
        "converged": broken.converged,
        "symmetric capacity": replica_symmetry.capacity(ORDER),
        "broken capacity": ground_states.capacity(ORDER),
        "energy": glass.energy,
        "converged glass": glass.converged,
    }


@functools.partial(jax.jit, static_argnames=("spins", "sweeps"))
def _overlaps(key: Array, *, spins: int, sweeps: int) -> Array:
    """Mean overlap, after a while, with each of 32 patterns that chains start from."""
    key_patterns, key_chains = jax.random.split(key)
    count = round(LOAD * 2 / math.factorial(ORDER) * spins ** (ORDER - 1))
    patterns = hopfield.random_patterns(key_patterns, count, spins).astype(jnp.float32)
    start = patterns[:32]
    chains = hopfield.glauber(
        key_chains,
        hopfield.PSpin(patterns, ORDER),
        start,
        beta=BETA * math.factorial(ORDER) / 2,
        sweeps=sweeps,
        observe=lambda state: jnp.mean(state * start, axis=-1),
    )
    return jnp.mean(chains.observed[sweeps // 3 :], axis=0)


def _simulate(setting: Setting) -> dict[str, Any]:
    """Overlaps of sampled memories, by size, and extrapolated to infinitely many."""
    means, errors = [], []
    for spins in setting.spins:
        keys = jax.random.split(jax.random.key(spins), setting.memories)
        each = [
            float(jnp.mean(_overlaps(key, spins=spins, sweeps=setting.sweeps)))
            for key in keys
        ]
        means.append(np.mean(each))
        errors.append(np.std(each, ddof=1) / math.sqrt(setting.memories))
    inverse = 1 / np.array(setting.spins)
    weights = 1 / np.maximum(errors, 1e-6)
    design = np.stack([np.ones_like(inverse), inverse], axis=1) * weights[:, None]
    covariance = np.linalg.inv(design.T @ design)
    fit = covariance @ design.T @ (np.array(means) * weights)
    theory = replica_symmetry.solve(BETA, LOAD, ORDER)
    return {
        "spins": setting.spins,
        "overlap": means,
        "error": errors,
        "limit": fit[0],
        "slope": fit[1],
        "limit error": math.sqrt(covariance[0, 0]),
        "theory": theory.overlap,
        "replicon": replica_symmetry.replicon(BETA, LOAD, *theory[:2], ORDER),
        "without crosstalk": replica_symmetry.solve(BETA, 0.0, ORDER).overlap,
    }


def _anchors(setting: Setting) -> dict[str, Any]:
    """Numbers that others have computed for related models."""

    @jax.jit
    def ground_state() -> parisi.Minimum:
        return parisi.minimize(
            lambda q: q**2 / 2,
            setting.steps,
            zero_temperature=True,
            points=setting.points,
        )

    sk = ground_state()
    orders = (4, 6, 8, 12, 20)
    return {
        "sk energy": -sk.value,
        "sk symmetric": -math.sqrt(2 / math.pi),
        "sk converged": sk.converged,
        "orders": orders,
        "critical": [replica_breaking.critical_beta(P) for P in orders],
        "random energy model": 2 * math.sqrt(math.log(2)),
    }


def _entropy_claim(glass: dict[str, Any]) -> papers.Claim:
    low, broken = (
        float(jnp.min(glass[f"{name} entropy"])) for name in ("symmetric", "broken")
    )
    return papers.Claim(
        "Glass of order 4 and load 1, inverse temperatures 1 to 4: one step of broken "
        "symmetry has no negative entropy.",
        f"at least {broken:.4f}; {int(jnp.sum(glass['converged']))} of "
        f"{len(glass['beta'])} points converged",
        broken >= 0 and bool(jnp.all(glass["converged"])),
        threshold="at least 0, all converged",
        baseline=f"with replicas alike down to {low:.2f}",
    )


def _ground_claims(branch: dict[str, Any]) -> list[papers.Claim]:
    energy = float(branch["energy"])
    alike, broken = (branch[f"{n} capacity"] for n in ("symmetric", "broken"))
    ratio = broken.load / alike.load
    return [
        papers.Claim(
            "The ground state of the glass of order 4.",
            f"energy {energy:.6f}",
            abs(energy + 0.82547) <= 1e-4 and bool(branch["converged glass"]),
            threshold="-0.82547, to 1e-4",
            baseline=f"with replicas alike {-math.sqrt(ORDER / math.pi):.5f}",
        ),
        papers.Claim(
            "Broken symmetry raises the storage of order 4 at zero temperature.",
            f"load {broken.load:.4f} (overlap {broken.overlap:.3f}), {ratio:.3f} times "
            "that of replicas alike",
            1.13 <= ratio <= 1.18,
            threshold="ratio in [1.13, 1.18]",
            baseline=f"replicas alike: load {alike.load:.5f} (overlap "
            f"{alike.overlap:.3f})",
        ),
    ]


def _simulation_claim(simulated: dict[str, Any]) -> papers.Claim:
    theory, limit = float(simulated["theory"]), simulated["limit"]
    error = simulated["limit error"]
    sizes = ", ".join(
        f"{m:.4f} +- {e:.4f} at {n} spins"
        for n, m, e in zip(
            simulated["spins"], simulated["overlap"], simulated["error"], strict=True
        )
    )
    free = float(simulated["without crosstalk"])
    return papers.Claim(
        f"Sampled memories of order 4, scaled beta {BETA:g}, load {LOAD:g}, recall as "
        f"the theory says: overlap {theory:.4f}.",
        f"{sizes}; in 1 / spins {limit:.4f} +- {error:.4f}",
        abs(limit - theory) < 3 * error and abs(limit - theory) < 0.01,
        threshold="extrapolated within 3 standard errors, and 0.01",
        baseline=f"without crosstalk {free:.4f}, {abs(limit - free) / error:.1f} "
        "standard errors away",
    )


def _anchor_claims(anchors: dict[str, Any]) -> list[papers.Claim]:
    energy = float(anchors["sk energy"])
    gaps = anchors["random energy model"] - np.array(anchors["critical"])
    return [
        papers.Claim(
            "Parisi's equation gives the ground state of Sherrington and Kirkpatrick.",
            f"energy {energy:.5f}",
            abs(energy + 0.7632) < 5e-4 and bool(anchors["sk converged"]),
            paper="-0.7632",
            threshold="three digits",
            baseline=f"replicas alike {anchors['sk symmetric']:.4f}",
        ),
        papers.Claim(
            "At large orders the glass freezes as the random energy model.",
            "scaled beta "
            + ", ".join(
                f"{float(b):.5f} (P = {P})"
                for P, b in zip(anchors["orders"], anchors["critical"], strict=True)
            ),
            bool(np.all(np.diff(gaps) < 0) and 0 < gaps[-1] < 1e-6),
            paper="1.66511",
            threshold="rising to it, within 1e-6 at order 20",
        ),
    ]


def _figure(glass: dict[str, Any], branch: dict[str, Any], simulated: Any) -> Any:
    figure = plotting.style.new_figure((7.8, 5.9))
    (top, right), (left, corner) = figure.subplots(2, 2)
    b = glass["beta"]
    for axes, suffix in ((top, ""), (right, " entropy")):
        axes.plot(b, glass[f"symmetric{suffix}"], "--", color=ORANGE, label="alike")
        axes.plot(b, glass[f"broken{suffix}"], color=BLUE, label="broken once")
    top.plot(b, glass["annealed"], ":", color="0.45", label="annealed")
    right.axhline(0, color="0.45", lw=1)
    top.set(xlabel="scaled beta", ylabel="pressure", title="Glass of order 4, load 1")
    right.set(xlabel="scaled beta", ylabel="entropy", title="Entropy of a spin")
    theta = right.twinx()
    theta.plot(b, glass["theta"], "-.", color=GREEN)
    theta.set(ylabel="theta", ylim=(0, 1.05))
    right.plot([], [], "-.", color=GREEN, label="theta")
    for name, style, color in (("symmetric", "--", ORANGE), ("broken", "-", BLUE)):
        load, m = branch[f"{name} load"], branch[f"{name} overlap"]
        recalled = np.asarray(m) >= branch[f"{name} capacity"].overlap
        label = "alike" if name == "symmetric" else "broken once"
        left.plot(load[recalled], m[recalled], style, color=color, label=label)
        left.plot(load[~recalled], m[~recalled], ":", color=color)
        left.plot(*branch[f"{name} capacity"], "o", color=color)
    left.set(
        xlabel="load",
        ylabel="overlap",
        title="Recall without temperature; dotted: unstable",
    )
    if simulated:
        _draw_simulated(corner, simulated)
    for axes in (top, right, left):
        axes.legend()
    corner.set_visible(bool(simulated))
    return figure


def _draw_simulated(corner: Any, simulated: dict[str, Any]) -> None:
    inverse = 1 / np.array(simulated["spins"])
    corner.errorbar(
        inverse, simulated["overlap"], simulated["error"], fmt="o", color=BLUE
    )
    line = np.linspace(0, inverse.max(), 2)
    corner.plot(line, simulated["limit"] + simulated["slope"] * line, color=BLUE)
    corner.errorbar(
        0, simulated["limit"], simulated["limit error"], fmt="s", color=BLUE
    )
    corner.axhline(simulated["theory"], color="0.3", ls="--", label="theory")
    corner.axhline(
        simulated["without crosstalk"], color="0.6", ls=":", label="without crosstalk"
    )
    corner.set(
        xlabel="1 / spins",
        ylabel="overlap",
        title=f"Simulated: scaled beta {BETA:g}, load {LOAD:g}",
    )
    corner.locator_params(axis="x", nbins=4)
    corner.legend()


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
