"""Measuring the Intrinsic Dimension of Objective Landscapes.

Li et al. (2018), arXiv 1804.08838. Networks are trained in random subspaces through
their initial point, and the dimension from which on they reach 90 % of the full
network's accuracy is read off: for a problem where it is known, and for two networks of
different size on one task. A solution is then stored as two keys and few numbers. Data:
scikit-learn's digits, or with ``--full`` and ``--data`` a folder with MNIST's four IDX
files (784-200-200-10; the paper reports 750).
"""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import kanjax as kj
from kanjax import cli, papers, plotting

PAPER = papers.Paper(
    slug="intrinsic-dimension",
    title="Measuring the Intrinsic Dimension of Objective Landscapes",
    source="Li et al. (2018), arXiv 1804.08838",
    room="landscape",
    state="reproduced",
)


class Setting(NamedTuple):
    """Sizes of a run."""

    hidden: tuple[tuple[int, ...], ...]
    dims: tuple[int, ...]
    steps: int
    seeds: int
    batch_size: int | None = None


NARROW, WIDE = (32,), (100, 100)
SETTINGS = {
    "short": Setting((NARROW, WIDE), (40, 120, 200), 120, 1),
    "default": Setting((NARROW, WIDE), (10, 30, 50, 80, 110, 150, 200), 300, 3),
    "full": Setting((NARROW, WIDE), (10, 30, 50, 80, 110, 150, 200), 1_000, 5),
}
MNIST = Setting(((50, 50), (200, 200)), (100, 250, 500, 750, 1_000), 10_000, 2, 128)


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; see the module's text for the data."""
    setting = SETTINGS[scale] if data is None else MNIST
    train, test = kj.data.handwritten_digits(data)
    found = {}
    for hidden in setting.hidden:
        for kind in ("dense", "fastfood") if hidden == NARROW else ("fastfood",):
            name = "-".join(map(str, (train.x.shape[1], *hidden, 10))) + f", {kind}"
            found[name] = _measure(hidden, kind, train, test, setting)
    toy = _toy()
    stored = _stored(train, test, setting)
    claims = _claims(found, toy, stored)
    numbers = {
        "networks": {
            name: {
                **one._asdict(),
                "dims": one.dims.tolist(),
                "scores": one.scores.tolist(),
            }
            for name, one in found.items()
        },
        "toy_least_losses": toy,
        "stored": stored,
    }
    figure = plotting.intrinsic_dimension(found, label="test accuracy / full network's")
    return papers.Reproduction(claims, numbers, {"dimension": figure})


def _measure(
    hidden: tuple[int, ...], kind: Any, train: Any, test: Any, setting: Setting
) -> kj.landscape.IntrinsicDimension:
    net = kj.nn.MLP((train.x.shape[1], *hidden, 10))
    loss = kj.training.classification(net.apply)
    decay = optax.cosine_decay_schedule
    return kj.landscape.intrinsic_dimension(
        jax.random.key(1),
        loss,
        lambda params: loss(params, test)[1]["accuracy"],
        net.init,
        train,
        dims=setting.dims,
        kind=kind,
        optimizer=optax.adam(decay(0.1, setting.steps)),
        full_optimizer=optax.adam(decay(0.01, setting.steps)),
        steps=setting.steps,
        seeds=setting.seeds,
        batch_size=setting.batch_size,
    )


def _toy() -> dict[str, float]:
    """The least loss in subspaces around the known dimension, by least squares."""
    loss, known = kj.landscape.grouped_sums()
    least = {}
    with jax.enable_x64(True):
        theta = jnp.zeros(1000, jnp.float64)
        for d in (known - 1, known):
            space = kj.landscape.subspace(jax.random.key(2), theta, d, kind="dense")
            sums = jax.vmap(lambda c: jnp.sum(c.reshape(known, -1), axis=1))(
                space.columns
            )
            goals = jnp.arange(1.0, known + 1)
            v = jnp.linalg.lstsq(sums.T, goals)[0]
            least[str(d)] = float(loss(kj.landscape.place(space, theta, v)))
    return least


def _stored(train: Any, test: Any, setting: Setting) -> dict[str, float]:
    """Train in one subspace, store the solution, and draw it anew."""
    net = kj.nn.MLP((train.x.shape[1], *setting.hidden[0], 10))
    loss = kj.training.classification(net.apply)
    begin, draw, run = jax.random.split(jax.random.key(3), 3)
    start = net.init(begin)
    found = kj.landscape.train_subspace(
        run,
        loss,
        start,
        kj.landscape.subspace(draw, start, setting.dims[-1]),
        train,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.1, setting.steps)),
        steps=setting.steps,
        batch_size=setting.batch_size,
    )
    packed = kj.landscape.compress(begin, draw, found.v, bits=8)
    restored = kj.landscape.decompress(packed, net.init)
    return {
        "accuracy": float(loss(found.params, test)[1]["accuracy"]),
        "restored_accuracy": float(loss(restored, test)[1]["accuracy"]),
        "bits": packed.total_bits,
        "full_bits": 32 * kj.model.count_parameters(start),
    }


def _claims(
    found: dict[str, Any], toy: dict[str, float], stored: dict[str, float]
) -> tuple[papers.Claim, ...]:
    before, known = toy.values()
    dense, narrow, wide = found.values()
    ratio = stored["full_bits"] / stored["bits"]
    return (
        papers.Claim(
            "A problem of 1,000 parameters and 10 constraints has a solution in a "
            "random subspace of dimension 10, and none in one of dimension 9.",
            f"least loss {known:.1e} and {before:.2f}",
            known < 1e-18 and before > 1e-2,
        ),
        papers.Claim(
            "A network needs far fewer dimensions than it has parameters: under 10 %.",
            f"{dense.dimension:.0f} of {dense.size} "
            f"({dense.dimension / dense.size:.1%})",
            bool(dense.dimension < 0.1 * dense.size),
        ),
        papers.Claim(
            "Fastfood and dense projections measure the same (within a factor 1.5).",
            f"{narrow.dimension:.0f} and {dense.dimension:.0f}",
            bool(2 / 3 < narrow.dimension / dense.dimension < 1.5),
        ),
        papers.Claim(
            "The dimension belongs to the task more than to the network: less than "
            f"twice as many for {wide.size / narrow.size:.1f} times the parameters.",
            f"{narrow.dimension:.0f} of {narrow.size}, {wide.dimension:.0f} of "
            f"{wide.size}",
            bool(wide.dimension < 2 * narrow.dimension),
            threshold="a ratio below 2, both found within the largest subspace, "
            f"{narrow.dims[-1]}",
        ),
        papers.Claim(
            "A solution is stored as two keys and its coordinates, in under a tenth of "
            "the bits, and loses at most a hundredth of accuracy (8 bits each).",
            f"{ratio:.0f} times fewer bits, accuracy {stored['accuracy']:.3f}, "
            f"restored {stored['restored_accuracy']:.3f}",
            ratio > 10 and stored["restored_accuracy"] > stored["accuracy"] - 0.01,
        ),
    )


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
