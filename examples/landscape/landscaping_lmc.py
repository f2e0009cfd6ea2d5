"""Landscaping Linear Mode Connectivity: ridges, mountainsides, and ways around them.

Singh et al. (2024), arXiv 2406.16300. Two networks trained from different starts are
aligned and repaired; pairs that part after some common steps are seen from their start;
the curvature along a segment is held against its barrier; and hikers in a landscape of
closed form choose their valley. The paper reports pictures and trends rather than
numbers; sizes and thresholds are ours. Data: scikit-learn's digits, or with ``--full``
and ``--data`` a folder with MNIST's four IDX files.
"""

import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy import stats

import kanjax as kj
from kanjax import cli, papers, plotting
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="landscaping-lmc",
    title="Landscaping Linear Mode Connectivity",
    source="Singh et al. (2024), arXiv 2406.16300",
    room="landscape",
    state="reproduced",
)

BATCH = 128
COMMON = (0.0, 0.02, 0.08, 0.24, 0.6)
"""The shares of training that the runs make together."""


class Setting(NamedTuple):
    """Sizes of a run."""

    width: int
    steps: int
    hikers: int


SETTINGS = {
    "short": Setting(64, 250, 60),
    "default": Setting(256, 250, 200),
    "full": Setting(512, 2_000, 1_000),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; see the module's text for the data."""
    setting = SETTINGS[scale]
    train, test = kj.data.handwritten_digits(data)
    net = kj.nn.MLP((train.x.shape[1], setting.width, setting.width, 10))
    loss = kj.training.classification(net.apply)
    runs = _trainer(loss, train)
    far, far_lines = _independent(net, loss, runs, train, test, setting)
    near = _spawned(net, loss, runs, train, setting)
    curvature = _curvature(train, setting)
    toy = _hikers(setting)
    claims = _claims(far, near, curvature, toy)
    numbers = {"independent": far, "spawned": near, "curvature": curvature, "toy": toy}
    return papers.Reproduction(claims, numbers, {"lmc": _figure(far_lines, near)})


def _trainer(loss: Any, train: kj.data.Examples) -> Any:
    """``(start, run)`` for spawn; the state is parameters and optimiser's state."""
    optimizer = optax.adam(3e-3)
    value = lambda p, batch: loss(p, batch)[0]  # noqa: E731

    def start(params: Any) -> Any:
        return params, optimizer.init(params)

    @jax.jit
    def run(state: Any, key: Array, steps: Any) -> Any:
        def step(i: Array, state: Any) -> Any:
            params, moments = state
            rows = jax.random.randint(
                jax.random.fold_in(key, i), (BATCH,), 0, len(train.x)
            )
            gradient = jax.grad(value)(params, (train.x[rows], train.y[rows]))
            updates, moments = optimizer.update(gradient, moments, params)
            return optax.apply_updates(params, updates), moments

        return jax.lax.fori_loop(0, steps, step, state)

    return start, run


def _independent(
    net: kj.nn.MLP, loss: Any, runs: Any, train: Any, test: Any, setting: Setting
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two networks from different starts: plain, aligned, repaired."""
    start, run = runs
    keys = jax.random.split(jax.random.key(1), 2)
    a, b = (run(start(net.init(k)), k, setting.steps)[0] for k in keys)
    on_train = kj.training.on_batch(loss, train)
    spec = kj.symmetry.permutation_spec(net)
    by_weights = kj.symmetry.match_weights(spec, a, b)
    values = [kj.symmetry.hidden_values(net, p, train.x) for p in (a, b)]
    by_activations = kj.symmetry.match_activations(spec, *values, b)
    layers = kj.symmetry.affine_layers(net)

    @jax.jit
    def measure(a: Any, b: Any) -> tuple[Any, dict[str, Any]]:
        wall = kj.landscape.barrier(on_train, a, b)
        middle = kj.landscape.interpolate(a, b, 0.5)
        repaired = kj.symmetry.repair(layers, a, b, train.x)
        alone = kj.landscape.layer_barriers(on_train, a, b, points=3)
        level = (wall.losses[0] + wall.losses[-1]) / 2
        return wall, {
            "barrier": wall.height,
            "midpoint_loss": on_train(middle),
            "midpoint_accuracy": loss(middle, test)[1]["accuracy"],
            "repaired_loss": on_train(repaired),
            "repaired_accuracy": loss(repaired, test)[1]["accuracy"],
            "second_order": kj.landscape.barrier_second_order(on_train, a, b),
            # Above the two networks' own losses: the layer's path ends elsewhere.
            "layers": {name: one.losses[1] - level for name, one in alone.items()},
            "layers_predicted": kj.landscape.layer_barriers_predicted(on_train, a, b),
            "curvature_integral": kj.landscape.barrier_curvature_integral(
                on_train, a, b, points=50
            ),
        }

    numbers: dict[str, Any] = {"sweeps": int(by_weights.sweeps)}
    lines = {}
    for name, other in (
        ("as trained", b),
        ("weights matched", by_weights.permuted),
        ("activations matched", by_activations.permuted),
    ):
        lines[name], found = measure(a, other)
        numbers[name] = jax.tree.map(float, found)
    return numbers, lines


def _spawned(
    net: kj.nn.MLP, loss: Any, runs: Any, train: Any, setting: Setting
) -> dict[str, Any]:
    """Runs from one start that part after some common steps, seen from the start."""
    start, run = runs
    init = net.init(jax.random.key(2))
    on_train = kj.training.on_batch(loss, train)

    @jax.jit
    def measure(a: Any, b: Any) -> tuple[Array, Array, Array]:
        side = kj.landscape.mountainside(on_train, a, b, init)
        wall = kj.landscape.barrier(on_train, a, b, points=11)
        return wall.height, jnp.degrees(side.angle), side.distance

    def part(common: int) -> Any:
        spawned = kj.landscape.spawn(
            run,
            start(init),
            jax.random.key(3),
            common=common,
            separate=setting.steps - common,
            runs=3,
        )
        ends = [jax.tree.map(lambda v, n=n: v[n], spawned.ends[0]) for n in range(3)]
        pairs = [measure(a, b) for a, b in itertools.combinations(ends, 2)]
        return [[float(v) for v in quantity] for quantity in zip(*pairs, strict=True)]

    steps = [round(share * setting.steps) for share in COMMON]
    barriers, angles, distances = zip(*map(part, steps), strict=True)
    return {
        "common_steps": steps,
        "barriers": barriers,
        "angles": angles,
        "distances": distances,
    }


def _curvature(train: kj.data.Examples, setting: Setting) -> dict[str, float]:
    """The barrier of two trained smooth networks, measured and from curvature."""
    net = kj.nn.MLP((train.x.shape[1], 32, 32, 10), jnp.tanh)
    loss = kj.training.classification(net.apply)
    start, run = _trainer(loss, train)
    keys = jax.random.split(jax.random.key(4))
    a, b = (run(start(net.init(k)), k, setting.steps)[0] for k in keys)
    on_train = kj.training.on_batch(loss, (train.x[:1000], train.y[:1000]))
    first, middle, last = kj.landscape.line(on_train, a, b, points=3).losses
    integral = kj.landscape.barrier_curvature_integral(on_train, a, b)
    return {
        "measured": float(middle - (first + last) / 2),
        "integral": float(integral),
    }


def _hikers(setting: Setting) -> dict[str, float]:
    """How many pairs of hikers end in different valleys, parting early and late."""

    def differ(key: Array, common: Array) -> Array:
        start = 1e-3 * jax.random.normal(key, (2,))
        ends = kj.landscape.spawn(
            kj.landscape.hike, start, key, common=common, separate=400 - common
        ).ends
        wall = kj.landscape.barrier(kj.landscape.two_valleys, *ends, points=11)
        return wall.height > 0.25

    keys = jax.random.split(jax.random.key(5), setting.hikers)
    share = jax.jit(jax.vmap(differ, in_axes=(0, None)))
    return {
        "apart_at_once": float(jnp.mean(share(keys, jnp.array(0)))),
        "apart_late": float(jnp.mean(share(keys, jnp.array(150)))),
    }


def _claims(
    far: dict[str, Any], near: dict[str, Any], curvature: Any, toy: Any
) -> tuple[papers.Claim, ...]:
    plain, weights, fired = (
        far[n] for n in ("as trained", "weights matched", "activations matched")
    )
    apart = float(np.mean(near["barriers"][0]))
    angles = np.mean(near["angles"], axis=1)
    ratio = abs(curvature["integral"] / curvature["measured"] - 1)
    cases = (plain, weights, fired)
    alone, foreseen = (
        [case[key][layer] for case in cases for layer in case["layers"]]
        for key in ("layers", "layers_predicted")
    )
    ranked = float(stats.spearmanr(alone, foreseen).statistic)
    return (
        papers.Claim(
            "Independent runs have a ridge between them; matching weights takes most "
            "of it away (to less than 0.4 of its height).",
            f"{plain['barrier']:.3f} to {weights['barrier']:.3f}",
            weights["barrier"] < 0.4 * plain["barrier"],
        ),
        papers.Claim(
            "Matching activations does, too (to less than 0.2).",
            f"{plain['barrier']:.3f} to {fired['barrier']:.3f}",
            fired["barrier"] < 0.2 * plain["barrier"],
        ),
        papers.Claim(
            "REPAIR lowers the loss midway, whatever the alignment.",
            ", ".join(
                f"{c['midpoint_loss']:.3f} to {c['repaired_loss']:.3f}" for c in cases
            ),
            all(c["repaired_loss"] < c["midpoint_loss"] for c in cases),
        ),
        papers.Claim(
            "Runs from one start stay on one mountainside: their barrier is over 100 "
            "times lower than between independent runs.",
            f"{plain['barrier']:.3f} against {apart:.2g}",
            plain["barrier"] > 100 * apart,
        ),
        papers.Claim(
            "The longer runs walk together, the smaller the angle they are seen under "
            "from their start.",
            " > ".join(f"{angle:.1f}°" for angle in angles),
            bool(np.all(np.diff(angles) < 0)),
        ),
        papers.Claim(
            "A barrier is negative curvature along the segment: the integral over it "
            "gives the height of a smooth network's barrier (to 0.1 %).",
            f"{curvature['integral']:.5f}, measured {curvature['measured']:.5f}",
            ratio < 1e-3,
        ),
        papers.Claim(
            "Curvature at the two ends ranks the barriers of single layers (rank "
            "correlation above 0.5 over three layers and three alignments).",
            f"{ranked:.2f}",
            ranked > 0.5,
        ),
        papers.Claim(
            "In the toy landscape, hikers who part at the saddle end in different "
            "valleys half of the time, those who part later hardly ever.",
            f"{toy['apart_at_once']:.2f} and {toy['apart_late']:.2f} of the pairs",
            0.3 < toy["apart_at_once"] < 0.7 and toy["apart_late"] < 0.05,
        ),
    )


@style.styled
def _figure(lines: dict[str, Any], near: dict[str, Any]) -> Any:
    figure = style.new_figure((10.0, 3.9))
    left, right = figure.subplots(1, 2)
    plotting.barrier_curves(
        lines, label="training loss (nats)", title="Two independent runs", axes=left
    )
    plotting.barrier_angles(
        near["angles"],
        near["barriers"],
        names=[f"{k} common steps" for k in near["common_steps"]],
        label="barrier (nats)",
        title="Runs from one start, seen from it",
        axes=right,
    )
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
