"""Respecting causality is all you need for training physics-informed neural networks.

Wang, Sankaran, Perdikaris (2022), arXiv 2203.07404. A pendulum is let go near the top.
A network trained on all times at once sticks to a wrong solution, the same one from
every seed; one that is trained causally finds the right one, and its smallest weight
says when it has. The paper's own equations take hours of a GPU; ``--full`` runs
Allen-Cahn's, with a reference of our own. The authors state that the algorithm is
patented and not free for commercial use.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from kanjax import cli, model, nn, papers, pinn
from kanjax.pinn import causal

PAPER = papers.Paper(
    slug="causal-pinn",
    title="Respecting causality is all you need for training PINNs",
    source="Wang, Sankaran, Perdikaris (2022), arXiv 2203.07404",
    room="pinn",
    state="in part",
)
EPSILONS = (0.01, 0.1, 1.0, 10.0)
STEEP = (0.1, 1.0, 10.0, 100.0)
TRUSTED = 0.8
BLOCK = 250
NEVER = 2.0
"""A bound that no weight exceeds: all steps are taken."""
TIMES = jnp.linspace(0.0, 8.0, 128)[:, None]
SWING = pinn.library.pendulum(angle=2.0, duration=8.0)
NET = nn.MLP((1, 32, 32, 32, 2), jnp.tanh, kernel_scale=1.0)


class Scale(NamedTuple):
    """Seeds, and steps at each epsilon of the three ways to train."""

    seeds: int
    plain: int
    patient: int
    hasty: int


SCALES = {
    "short": Scale(1, 250, 2000, 250),
    "default": Scale(8, 2500, 2500, 1500),
    "full": Scale(16, 2500, 2500, 1500),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    size = SCALES[scale]
    known = _truth()
    runs = {
        "plain": _train((0.0,) * 4, size.plain, size.seeds, known),
        "causal": _train(EPSILONS, size.patient, size.seeds, known),
        "hasty": _train(STEEP, size.hasty, size.seeds, known),
    }
    numbers = {
        name: {"errors": run["errors"][:, -1].tolist(), "weights": run["w"].tolist()}
        for name, run in runs.items()
    }
    claims = _claims({k: run["errors"][:, -1] for k, run in runs.items()}, runs)
    figures = {"causal-pinn": _figure(runs, known)}
    if scale == "full":
        error, smallest = _allen_cahn()
        numbers["allen_cahn"] = {"error": error, "smallest_weight": smallest}
        text = "Allen-Cahn: a relative error of at most 1e-3 (paper: 1.4e-4)."
        measured = f"{error:.2e}, smallest weight {smallest:.3f}"
        claims = (*claims, papers.Claim(text, measured, error <= 1e-3))
    return papers.Reproduction(claims, numbers, figures)


def _truth() -> np.ndarray:
    with jax.enable_x64(True):
        assert SWING.reference is not None
        return np.asarray(SWING.reference(jnp.linspace(0.0, 8.0, 128)[:, None]))


def _swing(params: Any) -> Any:
    """Angle and velocity as a function of time, of a network that sees [-1, 1]."""
    assert SWING.constrain is not None
    return SWING.constrain(lambda z: NET.apply(params, z / 4 - 1))


def _states(params: Any) -> Array:
    return jax.vmap(_swing(params))(TIMES)


def _slice_losses(params: Any) -> Array:
    s = _swing(params)
    residuals = jax.vmap(lambda z: SWING.residual(s, z))(TIMES)
    return jnp.sum(residuals**2, axis=1)


@functools.partial(jax.jit, static_argnames=("steps", "seeds"))
def _run(epsilons: Array, truth: Array, *, steps: int, seeds: int) -> Any:
    """States at the end, and errors and weights after each block of steps."""
    rate = optax.exponential_decay(3e-3, 1000, 0.85)

    def record(params: Any, epsilon: Array) -> tuple[Array, Array]:
        error = jnp.linalg.norm(_states(params) - truth) / jnp.linalg.norm(truth)
        return error, causal.causal_weights(_slice_losses(params), epsilon)

    def one_seed(key: Array) -> Any:
        result = pinn.anneal(
            lambda p, epsilon: pinn.causal_loss(_slice_losses(p), epsilon),
            NET.init(key),
            optax.adam(rate),
            epsilons=epsilons,
            steps=steps,
            delta=NEVER,
            block=BLOCK,
            record=record,
        )
        return _states(result.params), result.records

    return jax.vmap(one_seed)(jax.random.split(jax.random.key(0), seeds))


def _train(
    epsilons: tuple[float, ...], steps: int, seeds: int, known: np.ndarray
) -> dict[str, np.ndarray]:
    truth = jnp.asarray(known, jnp.float32)
    states, (errors, weights) = _run(
        jnp.array(epsilons), truth, steps=steps, seeds=seeds
    )
    weights = np.asarray(weights).reshape(seeds, -1, len(TIMES))
    return {
        "states": np.asarray(states),
        "errors": np.asarray(errors).reshape(seeds, -1),
        "all_weights": weights,
        "w": weights[:, -1].min(axis=-1),
    }


def _claims(errors: dict[str, np.ndarray], runs: dict[str, Any]) -> tuple[Any, ...]:
    plain, patient, hasty = (errors[k] for k in ("plain", "causal", "hasty"))
    ratio = float(np.median(plain) / np.median(patient))
    weights = np.concatenate([runs["causal"]["w"], runs["hasty"]["w"]])
    both = np.concatenate([patient, hasty])
    sure = weights > TRUSTED
    worst = {flag: max(both[sure == flag], default=np.nan) for flag in (True, False)}
    return (
        papers.Claim(
            "Trained on all times at once the network fails: every seed's relative "
            "error is above 1.",
            _range(plain),
            bool(np.all(plain > 1)),
        ),
        papers.Claim(
            "Causal weights cure it: the median error is at least 50 times smaller.",
            f"{_range(patient)}, {ratio:.0f} times",
            ratio >= 50,
        ),
        papers.Claim(
            "The smallest weight tells what to trust: where it exceeds 0.8 the error "
            "is below 0.02, and the largest error belongs to a smaller weight.",
            f"{sure.sum()} of {len(both)} runs exceed it, with errors of at most "
            f"{worst[True]:.2g}; among the others errors reach {worst[False]:.2g}",
            bool(worst[True] < 0.02 and worst[False] > worst[True]),
        ),
    )


def _range(values: np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.2g}" if len(values) == 1 else f"{low:.2g} to {high:.2g}"


def _figure(runs: dict[str, Any], known: np.ndarray) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.1), layout="constrained")
    swing, weights, progress = figure.subplots(1, 3)
    t = np.asarray(TIMES[:, 0])
    swing.plot(t, known[:, 0], color="black", label="reference")
    for name, color in (("plain", "tab:red"), ("causal", "tab:blue")):
        states = runs[name]["states"]
        swing.plot(t, states[0, :, 0], "--", color=color, label=name)
        errors = runs[name]["errors"]
        steps = BLOCK * np.arange(1, errors.shape[1] + 1)
        progress.semilogy(steps, errors.T, color=color, lw=1)
        progress.plot([], [], color=color, label=name)
    swing.set(xlabel="time", ylabel="angle (rad)", title="Seed 1")
    log = runs["causal"]["all_weights"][0]
    for i in np.linspace(0, len(log) - 1, 6).astype(int):
        weights.plot(t, log[i], label=f"step {(i + 1) * BLOCK}")
    weights.set(xlabel="time", ylabel="causal weight", title="Weights, seed 1")
    progress.set(xlabel="step", ylabel="relative error", title="All seeds")
    for axes in (swing, weights, progress):
        axes.legend(fontsize=7)
    return figure


def _allen_cahn() -> tuple[float, float]:
    """The paper's setting: a modified MLP, 4 x 128, 100 times, 256 places."""
    problem = pinn.library.allen_cahn()
    net = model.Sequential(
        (nn.PeriodicEmbedding((None, 2.0), 10), nn.ModifiedMLP((22, *[128] * 4, 1)))
    )
    t, x = jnp.linspace(0.0, 1.0, 100), jnp.linspace(-1.0, 1.0, 256, endpoint=False)
    grid = jnp.stack(jnp.meshgrid(t, x, indexing="ij"), axis=-1)

    def loss(params: Any, epsilon: Array) -> causal.Causal:
        u = pinn.field(problem, net, params)
        r = jax.vmap(jax.vmap(lambda z: problem.residual(u, z)))(grid)
        return pinn.causal_loss(jnp.mean(r**2, axis=1), epsilon)

    train = functools.partial(
        pinn.anneal,
        loss,
        optimizer=optax.adam(optax.exponential_decay(1e-3, 5000, 0.9)),
        steps=100_000,
        block=1000,
    )
    params = pinn.initialize(problem, net, key=jax.random.key(0))
    result = jax.jit(lambda p: train(p))(params)
    points = grid.reshape(-1, 2)
    u = jax.vmap(pinn.field(problem, net, result.params))(points)
    assert problem.reference is not None
    known = problem.reference(points)
    error = float(jnp.linalg.norm(u - known) / jnp.linalg.norm(known))
    return error, float(np.nanmin(result.smallest[-1][-1:]))


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
