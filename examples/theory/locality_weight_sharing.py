"""Locality and Weight Sharing: examples that three architectures need, and growth.

Lahoti, Karp, Winston, Singh, Li (2024), arXiv 2403.15707. A signal sits in any of k
patches of d numbers. Two steps of gradient ascent, and Adam, teach it to networks that
see everything, that see patches, and that share weights among patches. The thresholds
of cosine and risk are ours, the theorems' constants are not tested.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.theory import patch_signals, patch_training, sample_complexity

PAPER = papers.Paper(
    slug="locality-weight-sharing",
    title="Role of Locality and Weight Sharing in Image-Based Tasks: A Sample "
    "Complexity Separation between CNNs, LCNs, and FCNs",
    source="Lahoti, Karp, Winston, Singh, Li (2024), arXiv 2403.15707",
    room="theory",
    state="reproduced",
)

CNN, LCN, FCN = patch_signals.ARCHITECTURES
COSINE, BIAS, SEEDS = 0.9, 0.3, 4
# Of Adam's runs: patches, features and noise, and the risk on fresh examples.
PATCHES, FEATURES, NOISE, RISK = 10, 10, 0.3, 0.42
STEP_SIZE, STEPS, CHECKS, FRESH = 0.05, 200, 20, 1000


class Setting(NamedTuple):
    """Sizes of a run; rows are the most of each architecture."""

    patches: tuple[int, ...]
    features: tuple[int, ...]
    groups: int
    rows: tuple[int, int, int]
    trained: tuple[int, ...]


TRAINED = (15, 30, 60, 120, 240, 480, 960, 1920)
SETTINGS = {
    "short": Setting((10, 30), (10, 30), 3, (150, 800, 1800), (60, 480)),
    "default": Setting((5, 10, 20, 40), (10, 20, 40), 4, (300, 1500, 3500), TRAINED),
    "full": Setting(
        (5, 10, 20, 40, 80), (10, 20, 40, 80), 12, (600, 4000, 16_000), TRAINED
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; signals are drawn, and ``data`` is not read."""
    setting = SETTINGS[scale]
    # Ten numbers in a patch, or ten patches; only there is the other varied.
    middle = 10
    sizes = {
        "patches": [(k, middle) for k in setting.patches],
        "features": [(middle, d) for d in setting.features],
    }
    pairs = dict.fromkeys(pair for row in sizes.values() for pair in row)
    needed = {pair: _needed(*pair, setting) for pair in pairs}
    laws = {
        axis: {
            architecture: sample_complexity.fit_power_law(
                [pair[place] for pair in pairs],
                [needed[pair][architecture].mean() for pair in pairs],
            )
            for architecture in patch_signals.ARCHITECTURES
        }
        for place, (axis, pairs) in enumerate(sizes.items())
    }
    risks = _risks(setting.trained)
    numbers = {
        "needed": {
            f"k={k}, d={d}": {name: each.tolist() for name, each in row.items()}
            for (k, d), row in needed.items()
        },
        "exponents": {
            axis: {name: law._asdict() for name, law in each.items()}
            for axis, each in laws.items()
        },
        "risks": {name: each.tolist() for name, each in risks.items()},
    }
    claims = (*_claims(needed, laws), *_adam_claims(setting.trained, risks))
    figure = _figure(sizes, needed, laws, setting.trained, risks)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


@functools.partial(jax.jit, static_argnames=("patches", "features", "rows"))
def _draw(
    keys: Array, *, patches: int, features: int, rows: int, noise: float
) -> tuple[Array, tuple[Array, Array]]:
    """Draw a signal and examples for each key: the same for all architectures."""

    def draw(key: Array) -> tuple[Array, tuple[Array, Array]]:
        signal_key, key = jax.random.split(key)
        signal = patch_signals.draw_signal(signal_key, features)
        sample = patch_signals.sample(
            key, signal, rows=rows, patches=patches, noise=noise
        )
        return signal, sample

    return jax.vmap(draw)(keys)


def _needed(patches: int, features: int, setting: Setting) -> dict[str, np.ndarray]:
    """Return the rows for a mean cosine of COSINE over SEEDS runs, for each group."""
    # Other seeds than those seen when the closed form's claim was written.
    keys = jax.random.split(jax.random.key(11), setting.groups * SEEDS)
    signals, (x, y) = _draw(
        keys,
        patches=patches,
        features=features,
        rows=max(setting.rows),
        noise=patches**-0.5,
    )

    def cosines(architecture: Any, sizes: np.ndarray) -> Array:
        net = patch_signals.PatchNetwork(architecture, patches, features)
        start = net.init(jax.random.key(1))

        @jax.jit
        @jax.vmap
        def of_each_size(signal: Array, x: Array, y: Array) -> Array:
            def learn(rows: Array) -> Array:
                mass = (jnp.arange(len(y)) < rows).astype(x.dtype)
                if architecture == FCN:
                    learned = patch_signals.mean_direction(
                        net, x, y, example_weights=mass
                    )
                else:
                    learned = patch_signals.fit_two_steps(
                        net, start, x, y, bias=BIAS, example_weights=mass
                    )
                return patch_signals.alignment(net, learned, signal)

            # One size after the other: a gate's mask of every row fits in memory.
            return jax.lax.map(learn, jnp.asarray(sizes))

        return of_each_size(signals, x[:, : sizes[-1]], y[:, : sizes[-1]])

    needed = {}
    for architecture, most in zip(
        patch_signals.ARCHITECTURES, setting.rows, strict=True
    ):
        sizes = sample_complexity.geometric_sizes(max(8, most // 40), most)
        each = np.asarray(cosines(architecture, sizes))
        means = each.reshape(setting.groups, SEEDS, len(sizes)).mean(axis=1)
        needed[architecture] = sample_complexity.first_size(sizes, means, COSINE)
    return needed


def _formula(architecture: Any, patches: int, features: int) -> float:
    """The rows for a cosine of COSINE by closed form: of the first step, or of a second
    step with an ideal gate.
    """
    size = {"patches": patches, "features": features, "noise": patches**-0.5}
    if architecture == FCN:
        alone = patch_signals.first_step_cosine(architecture, 1, **size)
    else:
        alone = patch_signals.second_step_cosine(architecture, 1, **size)
    return float((alone**-2 - 1) * COSINE**2 / (1 - COSINE**2))


def _risks(trained: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return squared errors on fresh examples, at the best of CHECKS stops by Adam."""
    _, examples = _draw(
        jax.random.split(jax.random.key(1), SEEDS),
        patches=PATCHES,
        features=FEATURES,
        rows=2 * FRESH + max(trained),
        noise=NOISE,
    )
    stop = jax.tree.map(lambda v: v[:, :FRESH], examples)
    test = jax.tree.map(lambda v: v[:, FRESH : 2 * FRESH], examples)
    optimizer = optax.adam(STEP_SIZE)

    def risk(architecture: Any, rows: int) -> Array:
        net = patch_signals.PatchNetwork(architecture, PATCHES, FEATURES)
        loss = kj.training.regression(net.apply)
        start = net.init(jax.random.key(2))

        @jax.jit
        @jax.vmap
        def run(train: Any, stop: Any, test: Any) -> Array:
            stopped = patch_training.fit_descent(
                net, start, train, stop,
                optimizer=optimizer, steps=STEPS, every=STEPS // CHECKS,
            )  # fmt: skip
            return loss(stopped.params, test)[0]

        rest = slice(2 * FRESH, 2 * FRESH + rows)
        train = jax.tree.map(lambda v: v[:, rest], examples)
        return run(train, stop, test)

    return {
        architecture: np.stack([risk(architecture, rows) for rows in trained])
        for architecture in patch_signals.ARCHITECTURES
    }


def _claims(needed: dict[Any, Any], laws: dict[str, Any]) -> list[papers.Claim]:
    pair = (20, 10) if (20, 10) in needed else next(iter(needed))
    row, size = needed[pair], f"{pair[0]} patches of {pair[1]} numbers."
    counts = {name: papers.spread(values, 0) for name, values in row.items()}
    mean = {name: values.mean() for name, values in row.items()}
    ratios = {
        name: [each[name].mean() / _formula(name, *p) for p, each in needed.items()]
        for name in patch_signals.ARCHITECTURES
    }
    spans = {name: f"{min(r):.2f} to {max(r):.2f}" for name, r in ratios.items()}
    return [
        papers.Claim(
            f"Sharing weights saves examples: {size}",
            f"{counts[CNN]} with, {counts[LCN]} without",
            bool(mean[CNN] < mean[LCN] / 5),
            threshold="fewer than a fifth",
            baseline=f"{counts[LCN]} of the locally connected network",
        ),
        papers.Claim(
            f"Locality saves examples: {size}",
            f"{counts[LCN]} with, {counts[FCN]} without",
            bool(mean[LCN] < mean[FCN]),
            threshold="fewer",
            baseline=f"{counts[FCN]} of the fully connected network",
        ),
        papers.Claim(
            "Without locality the number grows as that of patches.",
            f"exponent {_law(laws['patches'][FCN])}",
            0.8 <= laws["patches"][FCN].exponent <= 1.1,
            threshold="from 0.8 to 1.1",
            baseline="1 by the closed form of the first step",
        ),
        papers.Claim(
            "With it, the number grows more slowly.",
            f"exponent {_law(laws['patches'][LCN])}",
            laws["patches"][LCN].exponent < 0.6,
            threshold="below 0.6",
            baseline=f"{_law(laws['patches'][FCN])} fully connected",
        ),
        papers.Claim(
            "The fully connected network needs as many as its closed form says.",
            f"{spans[FCN]} times it",
            bool(min(ratios[FCN]) > 0.7 and max(ratios[FCN]) < 1.3),
            threshold="within 30 %, which is 3 % of the cosine, each number of patches "
            "and of features",
            baseline=f"locally connected {spans[LCN]} times that of an ideal gate, "
            f"convolutional {spans[CNN]}",
        ),
        papers.Claim(
            "All numbers grow as that of a patch's features.",
            ", ".join(f"{name} {_law(law)}" for name, law in laws["features"].items()),
            all(0.8 <= law.exponent <= 1.2 for law in laws["features"].values()),
            threshold="exponents from 0.8 to 1.2",
            baseline="1 by the closed forms",
        ),
    ]


def _law(law: sample_complexity.PowerLaw) -> str:
    return f"{law.exponent:.2f} ({law.interval[0]:.2f} to {law.interval[1]:.2f})"


def _adam_claims(
    rows: tuple[int, ...], risks: dict[str, np.ndarray]
) -> list[papers.Claim]:
    needed = {
        name: sample_complexity.first_size(rows, -each.mean(axis=1), -RISK)
        for name, each in risks.items()
    }
    last = papers.spread(risks[FCN][-1], 2)
    return [
        papers.Claim(
            "Adam, too, needs far fewer examples with shared weights: a risk of "
            f"{RISK} with 10 patches of 10 numbers.",
            f"{needed[CNN]:.0f} with, {needed[LCN]:.0f} without",
            bool(needed[CNN] < needed[LCN] / 5 and np.isfinite(needed[CNN])),
            threshold="fewer than a fifth",
            baseline=f"{needed[LCN]:.0f} of the locally connected network",
        ),
        papers.Claim(
            "And far fewer with locality.",
            f"{needed[LCN]:.0f} with; without, a risk of {last} from {rows[-1]}",
            bool(needed[LCN] <= needed[FCN] / 3 and np.isfinite(needed[LCN])),
            threshold="at most a third",
            baseline=f"fully connected, {last} from {rows[-1]}",
        ),
    ]


@style.styled
def _figure(
    sizes: dict[str, Any],
    needed: dict[Any, Any],
    laws: dict[str, Any],
    rows: tuple[int, ...],
    risks: dict[str, np.ndarray],
) -> Any:
    figure = style.new_figure((11.0, 3.6))
    panels = figure.subplots(1, 3)
    looks = list(zip(risks, style.PALETTE, style.MARKERS, strict=False))
    for place, (axis, pairs) in enumerate(sizes.items()):
        panel = panels[place]
        x = np.array([pair[place] for pair in pairs])
        for name, color, marker in looks:
            y = np.array([needed[pair][name] for pair in pairs])
            panel.plot(x, y, marker, color=color, alpha=0.3, markersize=3)
            law = laws[axis][name]
            panel.plot(x, y.mean(axis=1), marker, color=color)
            panel.plot(
                x,
                law.factor * x**law.exponent,
                color=color,
                label=f"{name}: exponent {_law(law)}",
            )
            panel.plot(x, [_formula(name, *pair) for pair in pairs], ":", color=color)
        other = "10 features" if axis == "patches" else "10 patches"
        panel.set(
            xscale="log",
            yscale="log",
            xlabel=f"{axis}, with {other}",
            ylabel="examples for a cosine of 0.9",
            title=f"Growth with {axis} (dotted: theory)",
        )
        panel.set_xticks(x, [str(v) for v in x], minor=False)
        panel.xaxis.set_minor_formatter("")
        panel.set_ylim(top=12 * panel.get_ylim()[1])
        panel.legend(fontsize=7.5, loc="upper left")
    panel = panels[-1]
    for name, color, marker in looks:
        mean, spread = risks[name].mean(axis=1), risks[name].std(axis=1, ddof=1)
        panel.errorbar(rows, mean, spread, marker=marker, color=color, label=name)
    panel.axhline(RISK, color=style.GRAY, linestyle=":", label=f"risk {RISK}")
    panel.set(
        xscale="log",
        xlabel="training examples",
        ylabel="squared error, fresh examples",
        title="Trained by Adam",
    )
    panel.legend(fontsize=7.5)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
