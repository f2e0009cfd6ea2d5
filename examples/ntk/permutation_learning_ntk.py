"""Exact Learning of Permutations for Nonzero Binary Inputs, by wide ensembles.

Giapitzakis, Back de Luca, Fountoulakis (2025), arXiv 2502.16763. Networks of one hidden
layer are trained on the k unit vectors and their images under a permutation, and the
signs of their average output are read on all nonzero binary inputs: how many networks
until not one bit is wrong? Really trained networks stand beside draws from their exact
law at infinite width, and both beside the union bound.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import cli, ntk, papers
from kanjax.ntk import permutation_learning as learning
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="permutation-learning-ntk",
    title="Exact Learning of Permutations for Nonzero Binary Inputs with Logarithmic "
    "Training Size and Quadratic Ensemble Complexity",
    source="Giapitzakis et al. (2025), arXiv 2502.16763",
    room="ntk",
    state="in part",
)

FAILURE = 0.01
COLORS = style.PALETTE


class Setting(NamedTuple):
    """Sizes of a run."""

    k: int
    width: int
    narrow: int | None
    members: int
    seeds: int
    draws: int
    members_at_once: int = 16
    steps: int = 60


SETTINGS = {
    "short": Setting(6, 128, None, 1_400, 1, 2, 100, 20),
    "default": Setting(6, 2_000, 64, 2_000, 5, 20),
    "full": Setting(8, 50_000, 64, 2_000, 5, 20, 2),
}
FEW, ALL_FEW, MANY = (4, 8, 12, 16, 20), range(4, 21), (1_000, 4_000)


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; ``data`` is not needed."""
    setting = SETTINGS[scale]
    permutation = jax.random.permutation(jax.random.key(0), setting.k)
    x = learning.all_binary_inputs(setting.k)
    bound = int(learning.ensemble_size(setting.k, FAILURE, scope="all"))
    run = {
        name: _run_seeds(functools.partial(maker, setting, permutation, x), seeds)
        for name, maker, seeds in (
            ("trained", _train, setting.seeds),
            ("drawn", _draw, setting.draws),
        )
    }
    if setting.narrow is not None:
        narrow = setting._replace(width=setting.narrow)
        run["narrow"] = _run_seeds(
            functools.partial(_train, narrow, permutation, x), setting.seeds
        )
    sizes = {scope: _sizes(scope) for scope in ("single", "all")}
    numbers = {
        "bound": bound,
        "sizes": {
            scope: {str(k): n for k, n in s.items()} for scope, s in sizes.items()
        },
        **{
            name: {k: np.asarray(v).tolist() for k, v in r.items() if k != "accuracy"}
            for name, r in run.items()
        },
    }
    claims = (*_exactness(run, bound), _single(run), *_growth(sizes))
    figure = _figure(run, sizes, setting, bound)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _sizes(scope: Any) -> dict[int, float]:
    few = {k: float(learning.ensemble_size(k, FAILURE, scope=scope)) for k in ALL_FEW}
    size = jax.jit(learning.ensemble_size, static_argnames=("k", "scope"))
    return few | {k: float(size(k=k, failure=FAILURE, scope=scope)) for k in MANY}


def _train(setting: Setting, permutation: Array, x: Array, key: Array) -> Array:
    return learning.train_ensemble(
        key,
        permutation,
        x,
        members=setting.members,
        width=setting.width,
        members_at_once=setting.members_at_once,
        steps=setting.steps,
    )


def _draw(setting: Setting, permutation: Array, x: Array, key: Array) -> Array:
    """Members drawn from the joint Gaussian law of all inputs at infinite width."""
    data = learning.permutation_dataset(permutation)
    kernel = ntk.infinite(learning.network(setting.k, 1))(x)
    # The training set comes first of all inputs.
    nngp, tangent = kernel.nngp[:, : setting.k], kernel.ntk[:, : setting.k]
    posterior = ntk.ensemble(nngp[: setting.k], tangent[: setting.k], data.y)
    law = posterior(jnp.inf, kernel.nngp, nngp, tangent)
    values, vectors = jnp.linalg.eigh(law.covariance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0))
    noise = jax.random.normal(key, (setting.members, *law.mean.shape))
    return law.mean + root @ noise


def _run_seeds(make: Any, seeds: int) -> dict[str, np.ndarray]:
    """What averages of the first members give, for each of some ensembles."""
    compiled = jax.jit(make)
    keys = jax.random.split(jax.random.key(1), seeds)
    results = [jax.device_get(_measure(compiled(key), *make.args[1:])) for key in keys]
    return {name: np.stack([r[name] for r in results]) for name in results[0]}


@jax.jit
def _measure(outputs: Array, permutation: Array, x: Array) -> dict[str, Array]:
    k = x.shape[1]
    ones = jnp.sum(x, axis=1, keepdims=True)
    # The sign is the rule for unseen inputs; of the training set low outputs are 0.
    threshold = jnp.where(ones == 1, 0.5, 0.0)
    counts = jnp.arange(1, len(outputs) + 1)
    averages = jnp.cumsum(outputs, axis=0) / counts[:, None, None]
    score = functools.partial(learning.exact_accuracy, permutation=permutation)
    accuracy = score(averages, x=x, threshold=threshold)
    between = score(averages, x=x, threshold=learning.midpoint(x))
    high, low = learning.mean(k, ones)
    targets = learning.permutation_targets(permutation, x)
    mean = jnp.where(targets == 1, high, low)
    z = (averages[-1] - mean) ** 2 / learning.variance(k, ones) * len(outputs)
    pairs = slice(k, k + k * (k - 1) // 2)
    return {
        "accuracy": accuracy,
        "needed": jnp.max(jnp.where(accuracy < 1, counts, 0)) + 1,
        "needed_between": jnp.max(jnp.where(between < 1, counts, 0)) + 1,
        "pairs": jnp.mean(score(outputs[:, pairs], x=x[pairs])),
        "z": jnp.mean(z[k:]),
        "training_error": jnp.max(jnp.abs((outputs - targets)[:, :k])),
    }


def _exactness(run: dict[str, Any], bound: int) -> list[papers.Claim]:
    claims = []
    between, narrow = run["trained"]["needed_between"], run.get("narrow")
    words = "narrow networks: "
    counts = "not run" if narrow is None else _range(narrow["needed"])
    ratio = "not run" if narrow is None else f"{narrow['z'].mean():.1f}"
    for name, text in (
        (
            "trained",
            "An average of trained networks has every bit of every input right",
        ),
        ("drawn", "So has one of draws from the exact law at infinite width"),
    ):
        needed = run[name]["needed"]
        claims.append(
            papers.Claim(
                f"{text}, with fewer members than the union bound says.",
                f"from {_range(needed)} members on, over {len(needed)} ensembles; "
                f"bound {bound}",
                bool(max(needed) < bound),
                threshold=f"exact accuracy 1 from below {bound} members on, in every "
                "ensemble",
                baseline=words + counts
                if name == "trained"
                else "trained ones with the "
                f"threshold between the two means: {_range(between)}",
            )
        )
    z = run["trained"]["z"]
    claims.append(
        papers.Claim(
            "Averages of trained networks are where the law of infinite width says: "
            "the squared distance from its mean is its variance over members.",
            f"mean ratio {np.mean(z):.2f} (ensembles: {min(z):.2f} to {max(z):.2f})",
            bool(0.5 < np.mean(z) < 2),
            threshold="between 0.5 and 2",
            baseline=words + ratio,
        )
    )
    return claims


def _single(run: dict[str, Any]) -> papers.Claim:
    pairs = run["trained"]["pairs"]
    return papers.Claim(
        "A single network fails on most inputs with two ones.",
        f"it permutes {np.mean(pairs):.1%} of them (means of ensembles "
        f"{min(pairs):.1%} to {max(pairs):.1%})",
        bool(max(pairs) < 0.5),
        threshold="below half of them right",
        baseline="ensembles above: all",
    )


def _growth(sizes: dict[str, dict[int, float]]) -> list[papers.Claim]:
    claims = []
    for ks, words in ((FEW, "k = 4 to 20"), (MANY, "k = 1,000 to 4,000")):
        slopes = [
            np.polyfit(np.log(ks), np.log([sizes[scope][k] for k in ks]), 1)[0]
            for scope in ("single", "all")
        ]
        near = np.polyfit(np.log(ks), np.log(np.array(ks) * np.log(ks)), 1)[0]
        claims.append(
            papers.Claim(
                "The ensemble that suffices grows about linearly with k for one input, "
                f"and quadratically for all: {words}.",
                f"exponents {slopes[0]:.2f} and {slopes[1]:.2f}",
                bool(0.8 < slopes[0] < 1.3 and 1.7 < slopes[1] < 2.2),
                paper="O(k log k) and O(k^2)",
                threshold="0.8 to 1.3 and 1.7 to 2.2",
                baseline=f"k log k itself has {near:.2f} there, k^2 has 2",
            )
        )
    return claims


def _range(values: np.ndarray) -> str:
    return f"{min(values)} to {max(values)}" if len(values) > 1 else str(values[0])


def _figure(run: Any, sizes: Any, setting: Setting, bound: int) -> Any:
    figure = style.new_figure((8.6, 3.6))
    left, right = figure.subplots(1, 2)
    labels = {
        "trained": f"trained, {setting.width:,} wide",
        "drawn": "drawn from the law",
        "narrow": f"trained, {setting.narrow} wide",
    }
    for color, (name, label) in zip(COLORS, labels.items(), strict=False):
        if name not in run:
            continue
        accuracy = run[name]["accuracy"]
        counts = np.arange(1, accuracy.shape[1] + 1)
        # As many points as can be seen.
        at = np.unique(np.geomspace(1, len(counts), 150).astype(int)) - 1
        shown = accuracy[:, at]
        left.semilogx(counts[at], shown.mean(0), color=color, label=label)
        left.fill_between(
            counts[at], shown.min(0), shown.max(0), color=color, alpha=0.2, lw=0
        )
    left.axvline(bound, color="0.3", ls=":", label=f"union bound, {bound:,}")
    left.set(
        xlabel="networks averaged",
        ylabel="inputs with every bit right",
        title=f"All {2**setting.k - 1} inputs of {setting.k} bits",
    )
    left.legend(fontsize=8, loc="lower right")
    for color, (scope, label) in zip(
        COLORS, (("single", "one input"), ("all", "all inputs at once")), strict=False
    ):
        right.plot(
            ALL_FEW, [sizes[scope][k] for k in ALL_FEW], "o-", color=color, label=label
        )
    right.set(
        xlabel="bits k",
        ylabel="networks that suffice",
        title=f"Union bound, failure {FAILURE}",
        ylim=(0, None),
        xticks=FEW,
    )
    right.legend()
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
