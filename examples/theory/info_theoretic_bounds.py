"""Information-Theoretic Generalization Bounds for Deep Neural Networks.

He, Goldfeld (2024), arXiv 2404.03176. Two Gaussian classes and linear networks, with
and without noise, and the Gibbs algorithm over few hypotheses: bounds in closed form
beside gaps by simulation or enumeration; and perceptrons on digits, with a bound that
is counted. The paper has analytic illustrations only; sizes are ours.
"""

import functools
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
from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.theory import (
    contraction,
    information_bounds,
    information_estimates,
    sample_complexity,
    supersamples,
)
from kanjax.theory import gaussian_classification as classes

PAPER = papers.Paper(
    slug="info-theoretic-bounds",
    title="Information-Theoretic Generalization Bounds for Deep Neural Networks",
    source="He, Goldfeld (2024), arXiv 2404.03176",
    room="theory",
    state="reproduced",
)

WIDTHS, EXAMPLES, NOISE = (20, 16, 8, 4, 2), 50, 1.0
DROPS, DEVIATIONS = (0.5, 0.8), (1.0, 2.0)
HYPOTHESES, CHANCE, GAMMA = np.linspace(0, 1, 5), 0.3, 8.0


class Setting(NamedTuple):
    """Sizes of a run."""

    nets: int
    sets: int
    counts: tuple[int, ...]
    samples: int
    trained: tuple[int, ...]
    draws: int


SETTINGS = {
    "short": Setting(2, 1_000, (10, 160), 1_500, (20, 100), 16),
    "default": Setting(
        10, 10_000, (10, 20, 40, 80, 160, 320, 640), 3000, (25, 50, 100, 200, 400), 64
    ),
    "full": Setting(
        50,
        100_000,
        (10, 20, 40, 80, 160, 320, 640, 1280),
        10_000,
        (25, 50, 100, 200, 400, 800),
        512,
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; digits are MNIST's from ``data``, or bundled."""
    setting = SETTINGS[scale]
    # All networks see the same training sets.
    keys = jax.random.split(jax.random.key(0, impl="rbg"), setting.sets)
    measurements = {
        "layers": lambda: _through_layers(setting.nets, keys),
        "noisy": lambda: _noisy(keys),
        "trained": lambda: _trained(setting, data),
        "gibbs": lambda: [_gibbs(n) for n in setting.counts],
        "estimates": lambda: {d: _estimate(d, setting.samples) for d in (1, 20)},
    }
    results: dict[str, Any] = {}
    for name, measure in measurements.items():
        results[name] = measure()
        # What is compiled for the one is of no use to the others, and holds memory.
        jax.clear_caches()
    depths, noisy, trained, gibbs, estimates = results.values()
    numbers = {
        **results,
        "layers": {name: np.asarray(v).tolist() for name, v in depths.items()},
    }
    claims = (
        *_layer_claims(depths),
        *_other_claims(noisy, gibbs),
        *_estimate_claims(trained, estimates),
    )
    figure = _figure(depths, noisy, gibbs, trained)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _networks(count: int) -> list[np.ndarray]:
    """Fixed layers with orthonormal rows, (count, outputs, inputs) each."""
    rng = np.random.default_rng(0)
    return [
        np.swapaxes(np.linalg.qr(rng.normal(size=(count, *pair)))[0], 1, 2).astype(
            np.float32
        )
        for pair in itertools.pairwise(WIDTHS)
    ]


def _through_layers(nets: int, keys: Array) -> dict[str, np.ndarray]:
    """Bounds of all layers, and gaps of the networks that end there, (nets, ...)."""
    layers = _networks(nets)
    products = jax.vmap(classes.layer_products)(layers)
    mean = np.eye(WIDTHS[0], dtype=np.float32)[0]
    # Ranks are those of the widths, in every network.
    kl = classes.layer_divergences([b[0] for b in products], EXAMPLES)
    exact = [[classes.gap(v, NOISE, EXAMPLES).gap for v in np.asarray(b @ mean)]
             for b in products]  # fmt: skip
    simulated, errors = jax.vmap(_simulate, (None, 0, None))(keys, layers, mean)
    rng = np.random.default_rng(1)
    shift = NOISE / np.sqrt(EXAMPLES) * rng.normal(size=(4000, WIDTHS[0]))

    @jax.vmap
    def smooth(products: list[Array]) -> Array:
        distances = classes.layer_distances(products, NOISE, EXAMPLES, shift=shift)
        # A sigmoid of the score: later layers stretch by 1, the released mean by B w.
        stretch = jnp.linalg.norm((mean + shift) @ products[-1].T, axis=1) / 4
        return information_bounds.wasserstein_bound(
            distances, jnp.broadcast_to(stretch[:, None], distances.shape)
        )

    bound = np.asarray(information_bounds.kl_bound(kl[:, None], 0.5))
    each = {
        "bound": np.tile(bound, (nets, 1)),
        "gap": np.transpose(exact),
        "simulated": simulated[:, 0],
        "error": errors[:, 0],
        "wasserstein": smooth(products),
        "smooth gap": simulated[:, 1],
        "smooth error": errors[:, 1],
    }
    return {name: np.asarray(values) for name, values in each.items()}


@functools.partial(jax.jit, static_argnames="kind")
def _simulate(
    keys: Array, layers: list[Array], mean: Array, level: Any = 0.0, *, kind: str = ""
) -> tuple[Array, Array]:
    """Gaps of errors and of a sigmoid over training sets, and standard errors."""
    product = functools.reduce(lambda b, layer: layer @ b, layers)
    columns = WIDTHS[:1] + WIDTHS if kind else WIDTHS[:1]

    def training_set(key: Array) -> Array:
        # As many fresh examples as trained ones, for a mean with less noise.
        drawn = jax.random.normal(key, (2 * EXAMPLES, sum(columns)))
        drawn, *noise = jnp.split(drawn, np.cumsum(columns[:-1]), axis=1)
        v = mean + NOISE * drawn
        z = v if kind else v @ product.T
        for layer, before, after in zip(layers, noise, noise[1:], strict=False):
            if kind == "dropout":
                z = (z * (before > jax.scipy.stats.norm.ppf(level))) @ layer.T
            elif kind == "noise":
                z = jnp.tanh(z @ layer.T) + level * after
        scores = z @ (product @ jnp.mean(v[:EXAMPLES], axis=0))
        losses = jnp.stack([scores < 0, jax.nn.sigmoid(-scores)])
        train, fresh = jnp.split(losses, 2, axis=1)
        return jnp.mean(fresh, axis=1) - jnp.mean(train, axis=1)

    gaps = jax.lax.map(training_set, keys, batch_size=500)
    return jnp.mean(gaps, axis=0), jnp.std(gaps, axis=0) / jnp.sqrt(len(keys))


def _noisy(keys: Array) -> list[dict[str, Any]]:
    """Networks with dropped inputs or Gaussian noise: contracted bounds and gaps."""
    layers = [layer[0] for layer in _networks(1)]
    products = classes.layer_products(layers)
    kl = float(classes.layer_divergences(products[:1], EXAMPLES)[0])
    mean, runs = np.eye(WIDTHS[0], dtype=np.float32)[0], []
    for kind, levels in (("dropout", DROPS), ("noise", DEVIATIONS)):
        for level in levels:
            if kind == "dropout":
                each = [contraction.dropout_contraction(level, n) for n in WIDTHS[:-1]]
            else:
                each = [contraction.noise_contraction(1, n, level) for n in WIDTHS[1:]]
            left = contraction.contracted_divergence(kl, each)
            gap, error = _simulate(keys, layers, mean, level, kind=kind)
            bounds = information_bounds.kl_bound(left[:, None], 0.5)
            runs.append(
                {
                    "kind": f"{kind} {level}",
                    "bounds": np.asarray(bounds).tolist(),
                    "gap": float(gap[0]),
                    "error": float(error[0]),
                }
            )
    return runs


def _gibbs(n: int) -> dict[str, float]:
    """The Gibbs algorithm on n fair-or-not bits, by enumeration, and its bounds."""
    with jax.enable_x64(True):
        k = np.arange(n + 1)
        share = k[:, None] / n
        losses = share * (1 - HYPOTHESES) ** 2 + (1 - share) * HYPOTHESES**2
        weights = stats.binom.pmf(k, n, CHANCE)
        got = information_bounds.gibbs_gap(weights, losses, GAMMA)
        posterior = np.asarray(information_bounds.gibbs_posterior(losses, GAMMA))
        rest = stats.binom.pmf(k[:-1], n - 1, CHANCE)
        single = (1 - CHANCE) * rest @ posterior[:-1], CHANCE * rest @ posterior[1:]
        alone = information_bounds.discrete_information(np.stack(single)).mutual
        joint = weights[:, None] * posterior
        coarse = np.stack(
            [joint[:, :2].sum(1), joint[:, 2], joint[:, 3:].sum(1)], axis=1
        )
        chain = [
            information_bounds.discrete_information(t).mutual for t in (coarse, joint)
        ]
        values = {
            "gap": got.gap,
            "identity": (got.mutual + got.lautum) / GAMMA,
            "information": information_bounds.kl_bound(got.mutual / n, 0.5),
            "single examples": information_bounds.kl_bound(alone, 0.5),
            "chained": information_bounds.chained_bound(chain, [0.25, 0.25], n),
            "Gibbs": information_bounds.gibbs_bound(0.5, GAMMA, n),
        }
        return {"n": n, **{name: float(v) for name, v in values.items()}}


def _estimate(dimension: int, samples: int) -> list[float]:
    """Nearest neighbors' information between w and an example, its bias, the truth."""
    rng = np.random.default_rng(dimension)
    v = rng.normal(size=(samples, EXAMPLES, dimension)).astype(np.float32)
    pair = v[:, 0], v.mean(axis=1)
    got = information_estimates.neighbor_information(*pair, rows_at_once=64)
    twin = jax.jit(lambda *pair: information_estimates.gaussian_twin(
        jax.random.key(0), *pair, draws=3, rows_at_once=64))(*pair)  # fmt: skip
    kl = classes.layer_divergences([np.eye(dimension)], EXAMPLES)[0]
    return [float(v) for v in (got, twin.mean - twin.exact, kl)]


def _trained(setting: Setting, data: pathlib.Path | None) -> list[dict[str, float]]:
    """Perceptrons on digits: errors, their gap, and the bound by what losses say."""
    train, test = kj.data.handwritten_digits(data)
    pool = jnp.concatenate([train.x, test.x]), jnp.concatenate([train.y, test.y])
    net = kj.nn.MLP((pool[0].shape[1], 32, 10))
    loss = kj.training.classification(net.apply)

    def fit(key: Array, batch: Any) -> Any:
        keys = jax.random.split(key)
        start = net.init(keys[0])
        return kj.training.descend(
            loss, start, batch, key=keys[1], optimizer=optax.adam(0.01), steps=150
        )[0]

    def mistakes(params: Any, batch: Any) -> Array:
        return jnp.argmax(net.apply(params, batch[0]), axis=1) != batch[1]

    runs = []
    for n in setting.trained:
        measure = functools.partial(
            supersamples.measure_gap, fit=fit, mistakes=mistakes, pool=pool,
            examples=n, draws=setting.draws,
        )  # fmt: skip
        seen = jax.jit(measure)(jax.random.key(n))
        values = {
            "gap": seen.gap.mean,
            "error": seen.gap.error,
            "train": seen.train,
            "bound": seen.bound,
            **seen.information._asdict(),
        }
        values["information error"] = values.pop("error")
        runs.append(
            {"n": n} | {name: float(v) for name, v in values.items()}
            | {"error": float(seen.gap.error)}
        )  # fmt: skip
    return runs


def _layer_claims(depths: dict[str, np.ndarray]) -> tuple[papers.Claim, ...]:
    bounds, gaps, errors = depths["bound"], depths["gap"], depths["error"]
    off = np.abs(depths["simulated"] - gaps[:, -1]) / errors
    smooth, smooth_gaps = depths["wasserstein"], depths["smooth gap"]
    ratios = bounds[:, -1] / bounds[:, 0]
    return (
        papers.Claim(
            "The bound falls from layer to layer.",
            ", ".join(f"{b:.4f}" for b in bounds[0])
            + f"; last over first {ratios[0]:.4f}",
            bool(
                np.all(np.diff(bounds) < 0)
                and np.allclose(ratios, np.sqrt(0.1), rtol=1e-3)
            ),
            threshold="at each layer, and to sqrt(2 / 20) = 0.3162 of the first",
            baseline=f"input alone {bounds[0, 0]:.4f}",
        ),
        papers.Claim(
            "It is above the gap of the network that ends at that layer.",
            f"{(bounds / gaps).min():.2f} to {(bounds / gaps).max():.1f} times it",
            bool(np.all(bounds > gaps)),
            threshold="at every layer of every network",
            baseline="gaps of the deepest networks "
            f"{papers.spread(gaps[:, -1], 4)}, by simulation at most {off.max():.1f} "
            "standard errors off",
        ),
        papers.Claim(
            "A Wasserstein bound holds for a smooth loss, and is least at the last "
            "layer where distances are exact.",
            f"bounds {smooth[0, 0]:.3f} at the input to {smooth[0, -1]:.3f}",
            bool(
                np.all(smooth[:, -1] > smooth_gaps)
                and np.all(information_bounds.funnel_layer(smooth) == len(WIDTHS) - 1)
            ),
            threshold="above the gap at the last layer, and least there",
            baseline=f"gaps {papers.spread(smooth_gaps, 4)}",
        ),
    )


def _other_claims(
    noisy: list[dict[str, Any]], gibbs: list[dict[str, float]]
) -> tuple[papers.Claim, ...]:
    slope, plain = (
        sample_complexity.fit_power_law(
            [g["n"] for g in gibbs], [g[name] for g in gibbs]
        ).exponent
        for name in ("gap", "information")
    )
    slack = {k: min(g[k] / g["gap"] for g in gibbs) for k in list(gibbs[0])[3:]}
    identity = max(abs(g["gap"] / g["identity"] - 1) for g in gibbs)
    return (
        papers.Claim(
            "Noise contracts the bound, which stays above the gap.",
            ", ".join(f"{r['kind']}: {r['bounds'][-1]:.4f}" for r in noisy),
            all(
                r["gap"] + 3 * r["error"] < r["bounds"][-1] < r["bounds"][0]
                for r in noisy
            ),
            threshold="below that without contraction, above the gap + 3 standard "
            "errors, for each",
            baseline=f"without contraction {noisy[0]['bounds'][0]:.4f}; gaps "
            + ", ".join(f"{r['gap']:.4f} ± {r['error']:.4f}" for r in noisy),
        ),
        papers.Claim(
            "The gap of the Gibbs algorithm falls as 1 / n.",
            f"slope {slope:.3f} on log axes",
            abs(slope + 1) <= 0.1,
            threshold="-1 ± 0.1",
            baseline=f"n from {gibbs[0]['n']} to {gibbs[-1]['n']}; the bound by plain "
            "information falls as "
            f"{plain:.2f}",
        ),
        papers.Claim(
            "It is (I + L) / gamma, and below every bound.",
            f"identity off by {identity:.0e}; bound over gap "
            + ", ".join(f"{k} {v:.2f}" for k, v in slack.items()),
            identity < 1e-9 and min(slack.values()) > 1,
            threshold="identity to 1e-9; each bound above the gap at each n",
            baseline=f"gap {gibbs[0]['gap']:.4f} at n = {gibbs[0]['n']}",
        ),
    )


def _estimate_claims(
    trained: list[dict[str, float]], estimates: dict[int, list[float]]
) -> tuple[papers.Claim, ...]:
    missed = {d: abs(got / kl - 1) for d, (got, _, kl) in estimates.items()}
    shown = {d: abs((got - bias) / kl - 1) for d, (got, bias, kl) in estimates.items()}
    slack = [r["bound"] / (r["gap"] + 3 * r["error"]) for r in trained]
    return (
        papers.Claim(
            "Of trained perceptrons, too, the bound by what the losses of a pair say "
            "of which was trained on is above the gap.",
            ", ".join(f"n = {r['n']}: {r['bound']:.3f}" for r in trained)
            + f"; the last by {trained[-1]['estimate']:.4f} ± "
            f"{trained[-1]['information error']:.4f} nats, bias "
            f"{trained[-1]['bias']:.0e}",
            min(slack) > 1,
            threshold="above the gap + 3 standard errors for each number of examples",
            baseline="gaps "
            + ", ".join(f"{r['gap']:.3f} ± {r['error']:.3f}" for r in trained)
            + "; sqrt(2 log 2) = 1.177 for any algorithm",
        ),
        papers.Claim(
            "Nearest neighbors miss information in many dimensions, as Gaussian twins "
            "show.",
            f"off by {100 * missed[20]:.0f} % in 20 dimensions: "
            f"{estimates[20][0]:.4f}; less the twins' bias {100 * shown[20]:.0f} %",
            missed[20] > 0.5 and shown[20] < 0.2,
            threshold="off by more than 50 %, less the bias by at most 20 %",
            baseline=f"exact {estimates[20][2]:.4f}; in 1 dimension "
            f"{estimates[1][0]:.4f}, exact {estimates[1][2]:.4f}",
        ),
    )


@style.styled
def _figure(depths: dict[str, np.ndarray], noisy: Any, gibbs: Any, trained: Any) -> Any:
    figure = style.new_figure((10.0, 7.4))
    (left, middle), (right, last) = figure.subplots(2, 2)
    layers = np.arange(len(WIDTHS))
    left.plot(layers, depths["bound"][0], "-o", color=style.BLUE, label="bound")
    for i, gaps in enumerate(depths["gap"]):
        label = "gap of the net to there" if i == 0 else None
        left.plot(layers, gaps, color=style.ORANGE, linewidth=0.8, label=label)
    left.errorbar(
        layers[-1:], depths["simulated"][:1], depths["error"][:1], fmt="s",
        color=style.BLACK, label="by simulation",
    )  # fmt: skip
    left.set_xticks(layers, [str(w) for w in WIDTHS])
    left.set(xlabel="width of the layer", ylabel="error", title="Linear networks")
    for i, r in enumerate(noisy):
        color = style.PALETTE[i]
        middle.plot(layers, r["bounds"], "-o", color=color, label=r["kind"])
        middle.axhline(r["gap"], color=color, linestyle=":")
    middle.set_xticks(layers, [str(w) for w in WIDTHS])
    middle.set(
        xlabel="width of the layer", ylabel="error",
        title="Contracted bounds; dotted: gaps", yscale="log",
    )  # fmt: skip
    n = [g["n"] for g in gibbs]
    for i, name in enumerate(("gap", *list(gibbs[0])[3:])):
        values = [g[name] for g in gibbs]
        line = "-o" if name == "gap" else "--"
        power = sample_complexity.fit_power_law(n, values).exponent
        label = f"{name}, exponent {power:.2f}"
        right.plot(n, values, line, color=style.PALETTE[i], label=label)
    right.set(
        xscale="log", yscale="log", xlabel="examples", ylabel="gap and bounds",
        title="The Gibbs algorithm",
    )  # fmt: skip
    n = [r["n"] for r in trained]
    for color, name in ((style.BLUE, "bound"), (style.ORANGE, "gap")):
        values = np.array([r[name] for r in trained])
        power = sample_complexity.fit_power_law(n, values).exponent
        errors = [r["error"] for r in trained] if name == "gap" else None
        last.errorbar(
            n, values, errors, marker="o", color=color,
            label=f"{name}, exponent {power:.2f}",
        )  # fmt: skip
    last.set(
        xscale="log", yscale="log", xlabel="examples", ylabel="gap and bound",
        title="Perceptrons on digits",
    )  # fmt: skip
    last.set_xticks(n, [str(v) for v in n])
    last.set_xticks([], minor=True)
    for axes in (left, middle, right, last):
        axes.legend(fontsize=8)
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
