"""Information-Theoretic Generalization Bounds for Deep Neural Networks.

He, Goldfeld (2024), arXiv 2404.03176. Two Gaussian classes and linear networks, with
and without noise, and the Gibbs algorithm over few hypotheses: bounds in closed form
beside gaps by simulation or enumeration. The paper has analytic illustrations only;
sizes are ours.
"""

import functools
import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import stats

from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.theory import (
    contraction,
    information_bounds,
    information_estimates,
    sample_complexity,
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


SETTINGS = {
    "short": Setting(2, 1_000, (10, 160), 300),
    "default": Setting(10, 10_000, (10, 20, 40, 80, 160, 320, 640), 3000),
    "full": Setting(50, 100_000, (10, 20, 40, 80, 160, 320, 640, 1280), 10_000),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; nothing is read from ``data``."""
    setting = SETTINGS[scale]
    # All networks see the same training sets.
    keys = jax.random.split(jax.random.key(0, impl="rbg"), setting.sets)
    depths = [_through_layers(seed, keys) for seed in range(setting.nets)]
    noisy = _noisy(keys)
    gibbs = [_gibbs(n) for n in setting.counts]
    estimates = {d: _estimate(d, setting.samples) for d in (1, 20)}
    numbers = {
        "layers": [{k: np.asarray(v).tolist() for k, v in d.items()} for d in depths],
        "noisy": noisy,
        "gibbs": gibbs,
        "estimates": estimates,
    }
    claims = (*_layer_claims(depths), *_other_claims(noisy, gibbs, estimates))
    figure = _figure(depths, noisy, gibbs)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _network(seed: int) -> tuple[list[np.ndarray], list[Array]]:
    """Fixed layers with orthonormal rows, and their products."""
    rng = np.random.default_rng(seed)
    layers = [
        np.linalg.qr(rng.normal(size=pair))[0].T.astype(np.float32)
        for pair in itertools.pairwise(WIDTHS)
    ]
    return layers, classes.layer_products(layers)


def _through_layers(seed: int, keys: Array) -> dict[str, Any]:
    """Bounds of all layers, and gaps of the networks that end there."""
    layers, products = _network(seed)
    mean = np.eye(WIDTHS[0], dtype=np.float32)[0]
    kl = classes.layer_divergences(products, EXAMPLES)
    exact = [classes.gap(np.asarray(b) @ mean, NOISE, EXAMPLES).gap for b in products]
    simulated, errors = _simulate(keys, layers, mean)
    rng = np.random.default_rng(seed)
    shift = NOISE / np.sqrt(EXAMPLES) * rng.normal(size=(4000, WIDTHS[0]))
    distances = classes.layer_distances(products, NOISE, EXAMPLES, shift=shift)
    # A sigmoid of the score: the later layers stretch by 1, the released mean by B w.
    stretch = np.linalg.norm((mean + shift) @ np.asarray(products[-1]).T, axis=1) / 4
    smooth = information_bounds.wasserstein_bound(
        distances, np.broadcast_to(stretch[:, None], distances.shape)
    )
    return {
        "bound": information_bounds.kl_bound(kl[:, None], 0.5),
        "gap": exact,
        "simulated": simulated[0],
        "error": errors[0],
        "wasserstein": smooth,
        "smooth gap": simulated[1],
        "smooth error": errors[1],
    }


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
    layers, products = _network(0)
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
    """Nearest neighbors' information between w and an example, and the exact one."""
    rng = np.random.default_rng(dimension)
    v = rng.normal(size=(samples, EXAMPLES, dimension))
    got = information_estimates.neighbor_information(v[:, 0], v.mean(axis=1))
    kl = classes.layer_divergences([np.eye(dimension)], EXAMPLES)[0]
    return [float(got), float(kl)]


def _layer_claims(depths: list[dict[str, Any]]) -> tuple[papers.Claim, ...]:
    bounds = np.stack([d["bound"] for d in depths])
    gaps = np.stack([d["gap"] for d in depths])
    simulated = np.array([d["simulated"] for d in depths])
    errors = np.array([d["error"] for d in depths])
    off = np.abs(simulated - gaps[:, -1]) / errors
    smooth = np.stack([d["wasserstein"] for d in depths])
    smooth_gaps = np.array([d["smooth gap"] for d in depths])
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
    noisy: list[dict[str, Any]],
    gibbs: list[dict[str, float]],
    estimates: dict[int, list[float]],
) -> tuple[papers.Claim, ...]:
    slope, plain = (
        sample_complexity.fit_power_law(
            [g["n"] for g in gibbs], [g[name] for g in gibbs]
        ).exponent
        for name in ("gap", "information")
    )
    slack = {k: min(g[k] / g["gap"] for g in gibbs) for k in list(gibbs[0])[3:]}
    identity = max(abs(g["gap"] / g["identity"] - 1) for g in gibbs)
    missed = {d: abs(got / kl - 1) for d, (got, kl) in estimates.items()}
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
        papers.Claim(
            "Nearest neighbors miss information in many dimensions.",
            f"off by {100 * missed[20]:.0f} % in 20 dimensions: {estimates[20][0]:.4f}",
            missed[20] > 0.5,
            threshold="off by more than 50 %",
            baseline=f"exact {estimates[20][1]:.4f}; in 1 dimension "
            f"{estimates[1][0]:.4f}, exact {estimates[1][1]:.4f}",
        ),
    )


@style.styled
def _figure(depths: list[dict[str, Any]], noisy: Any, gibbs: Any) -> Any:
    figure = style.new_figure((12.0, 3.9))
    left, middle, right = figure.subplots(1, 3)
    layers = np.arange(len(WIDTHS))
    left.plot(layers, depths[0]["bound"], "-o", color=style.BLUE, label="bound")
    for i, d in enumerate(depths):
        label = "gap of the net to there" if i == 0 else None
        left.plot(layers, d["gap"], color=style.ORANGE, linewidth=0.8, label=label)
    left.errorbar(
        [layers[-1]], [depths[0]["simulated"]], [depths[0]["error"]], fmt="s",
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
        right.plot(n, values, line, color=style.PALETTE[i], label=name)
    right.set(
        xscale="log", yscale="log", xlabel="examples", ylabel="gap and bounds",
        title="The Gibbs algorithm",
    )  # fmt: skip
    for axes in (left, middle, right):
        axes.legend(fontsize=8)
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
