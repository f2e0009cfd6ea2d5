"""GradSign: Model Performance Inference with Theoretical Insights, on perceptrons.

Zhang, Jia (2021), arXiv 2110.08616. Perceptrons of many depths, widths and activations
are scored before training on one batch of digits, then trained, and the ranks compared.
The paper's spaces of convolutional networks (NAS-Bench-101, 201) and their tables are
not here; sizes are ours.
"""

import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.landscape import architecture_search, zero_cost
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="gradsign",
    title="GradSign: Model Performance Inference with Theoretical Insights",
    source="Zhang, Jia (2021), arXiv 2110.08616",
    room="landscape",
    state="in part",
)

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}
SCORED, STEPS, BATCH, STEP_SIZE = 64, 150, 128, 3e-3
RIVALS = ("snip", "gradient norm", "synflow", "grasp")


class Setting(NamedTuple):
    """Sizes of a run, which takes every architecture of its space."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    seeds: int


SETTINGS = {
    "short": Setting((1,), (16,), 2),
    "default": Setting((1, 2, 3, 5), (4, 16, 64), 5),
    "full": Setting((1, 2, 3, 5), (4, 8, 16, 32, 64), 20),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims, on digits, or on MNIST from the folder ``data``."""
    setting = SETTINGS[scale]
    train, test = kj.data.handwritten_digits(data)
    architectures = [
        {"depth": depth, "width": width, "activation": activation}
        for depth, width, activation in itertools.product(
            setting.depths, setting.widths, ACTIVATIONS
        )
    ]
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    runs = [
        measure(keys, train, test, **architecture) for architecture in architectures
    ]
    values = {name: np.stack([run[name] for run in runs], axis=1) for name in runs[0]}
    values["gradsign a parameter"] = values["gradsign"] / values["parameters"]
    accuracy = values.pop("accuracy")
    ranks = {
        name: [
            architecture_search.rank_correlation(scores, accuracy.mean(axis=0))
            for scores in by_seed
        ]
        for name, by_seed in values.items()
        if name != "naswot" or np.isfinite(by_seed).sum(axis=1).min() >= 3
    }
    numbers = {
        "architectures": architectures,
        "accuracy": accuracy.tolist(),
        "ranks": {name: [r._asdict() for r in each] for name, each in ranks.items()},
    }
    figure = _figure(architectures, values["gradsign"], accuracy, ranks)
    return papers.Reproduction(_claims(ranks), numbers, {PAPER.slug: figure})


def measure(
    keys: Array, train: Any, test: Any, *, depth: int, width: int, activation: str
) -> dict[str, np.ndarray]:
    """Scores before training and the accuracy after it, of each seed."""
    widths = (train.x.shape[1], *(width,) * depth, 10)
    net = kj.nn.MLP(widths, ACTIVATIONS[activation])
    loss = kj.training.classification(net.apply)

    # By itself, operation by operation: architectures share these compilations.
    starts = jax.vmap(net.init)(keys)

    @jax.jit
    def score(params: Any, key: Array) -> dict[str, Array]:
        scored = train.x[:SCORED], train.y[:SCORED]
        scores = zero_cost.scores(net.apply, loss, params, scored, key=key)
        hidden = net.activations(params, scored[0])[1:-1]
        # A ReLU is active above 0; the others, above what they make of 0.
        middle = ACTIVATIONS[activation](jnp.zeros(()))
        return scores | {"naswot": zero_cost.naswot([h > middle for h in hidden])}

    @jax.jit
    @jax.vmap
    def reach(params: Any, key: Array) -> Array:
        trained, _ = kj.training.descend(
            loss,
            params,
            (train.x, train.y),
            key=key,
            optimizer=optax.adam(STEP_SIZE),
            steps=STEPS,
            batch_size=BATCH,
        )
        return loss(trained, (test.x, test.y))[1]["accuracy"]

    # One by one: batched eigenvalues can stand still on the CPU in jaxlib 0.10.1.
    scores = [
        score(jax.tree.map(lambda leaf, i=i: leaf[i], starts), key)
        for i, key in enumerate(keys)
    ]
    stacked = {name: np.stack([each[name] for each in scores]) for name in scores[0]}
    return stacked | {"accuracy": np.asarray(reach(starts, keys))}


def _claims(ranks: dict[str, Any]) -> tuple[papers.Claim, ...]:
    rho = {name: np.array([r.spearman for r in each]) for name, each in ranks.items()}
    spread = {name: papers.spread(values, 2) for name, values in rho.items()}
    best = max(RIVALS, key=lambda name: rho[name].mean())
    return (
        papers.Claim(
            "GradSign ranks architectures better than SNIP, the gradient's norm, "
            "SynFlow and GraSP.",
            f"Spearman {spread['gradsign']}",
            bool(rho["gradsign"].mean() > rho[best].mean()),
            threshold="above each of them, means over initializations",
            baseline=", ".join(f"{name} {spread[name]}" for name in RIVALS),
        ),
        papers.Claim(
            "Before any training GradSign tells which architectures will do well.",
            f"Spearman {spread['gradsign']}, Kendall "
            f"{np.mean([r.kendall for r in ranks['gradsign']]):.2f}",
            bool(rho["gradsign"].mean() >= 0.7),
            threshold="Spearman at least 0.7, mean over initializations",
            baseline=f"number of parameters {spread['parameters']}; GradSign a "
            f"parameter {spread['gradsign a parameter']}",
        ),
    )


@style.styled
def _figure(
    architectures: list[dict[str, Any]],
    scores: np.ndarray,
    accuracy: np.ndarray,
    ranks: dict[str, Any],
) -> Any:
    figure = style.new_figure((10.0, 4.4))
    left, right = figure.subplots(1, 2)
    for k, kind in enumerate(ACTIVATIONS):
        mine = [i for i, each in enumerate(architectures) if each["activation"] == kind]
        left.plot(
            scores[:, mine].mean(axis=0),
            accuracy[:, mine].mean(axis=0),
            linestyle="none",
            marker=style.MARKERS[k],
            color=style.PALETTE[k],
            label=kind,
        )
    left.set(
        xscale="log",
        xlabel="GradSign before training",
        ylabel="accuracy after training",
        title="One point an architecture",
    )
    left.legend(title="activation")
    names = sorted(ranks, key=lambda name: np.mean([r.spearman for r in ranks[name]]))
    for place, name in enumerate(names):
        color = style.ORANGE if name == "gradsign" else style.BLUE
        rho = [r.spearman for r in ranks[name]]
        low, high = np.mean([r.interval for r in ranks[name]], axis=0)
        right.plot([low, high], [place, place], color=color, linewidth=1)
        right.plot(rho, [place] * len(rho), "|", color=color, markersize=9)
        right.plot(np.mean(rho), place, "o", color=color)
    right.axvline(0, color=style.GRAY, linewidth=0.7)
    right.set_yticks(range(len(names)), names)
    right.set(
        xlabel="Spearman's rank correlation with accuracy",
        title="Mean, each initialization, 95 % over architectures",
    )
    for axes in (left, right):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
