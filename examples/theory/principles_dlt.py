"""The Principles of Deep Learning Theory: criticality and depth over width.

Roberts, Yaida, Hanin (2021), arXiv 2106.10165. Ensembles of random perceptrons beside
the recursions: variances and gradients at and off criticality, how far from Gaussian
outputs are at several widths, and the tangent kernel's fluctuations, with and without
residual shares.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax import cli, papers, theory
from kanjax.plotting import style
from kanjax.theory import criticality, ensembles, finite_width, moments
from kanjax.theory.criticality import Scales
from kanjax.theory.finite_width import Rates

PAPER = papers.Paper(
    slug="principles-dlt",
    title="The Principles of Deep Learning Theory",
    source="Roberts, Yaida, Hanin (2021), arXiv 2106.10165",
    room="theory",
    state="in part",
)

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "GELU": jax.nn.gelu,
    "ReLU": jax.nn.relu,
    "SiLU": jax.nn.silu,
    "sin": jnp.sin,
}
FACTORS = (0.8, 1.0, 1.2)
RATES = Rates(1.0, 1.0)
# Not so wide, and wide.
FLUCTUATING, DEEP = (16, 64, 192), 4


class Setting(NamedTuple):
    """Sizes of a run."""

    depth: int
    width: int
    networks: int
    widths: tuple[int, ...]
    sampled: int  # of the widest; of others more
    activations: tuple[str, ...]
    tangents: tuple[int, ...]  # networks of each of FLUCTUATING
    residuals: tuple[float, ...] = (0.0, 0.5)


SETTINGS = {
    "short": Setting(20, 32, 256, (16, 32), 65536, ("tanh",), (256, 256), (0.0,)),
    "default": Setting(
        50, 128, 192, (32, 64, 128), 65536, tuple(ACTIVATIONS), (8192, 2048, 1024)
    ),
    "full": Setting(
        50, 128, 1024, (32, 64, 128), 2**20, tuple(ACTIVATIONS), (65536, 8192, 2048)
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; nothing is read from ``data``."""
    setting = SETTINGS[scale]
    depths = {
        (name, factor): run
        for name in ("tanh", "GELU")[: len(setting.activations)]
        for factor, run in _through_depth(setting, name).items()
    }
    excess = _excess(setting)
    tangents = {
        (name, g, width): _fluctuations(networks, name, g, width)
        for name in setting.activations
        for g in setting.residuals
        for width, networks in zip(FLUCTUATING, setting.tangents, strict=False)
    }
    numbers = {
        "depth": {f"{n} x {f}": _listed(v) for (n, f), v in depths.items()},
        "excess": {str(n): _listed(v) for n, v in excess.items()},
        "fluctuations": {
            f"{n}, g = {g}, width {w}": _listed(v) for (n, g, w), v in tangents.items()
        },
    }
    claims = (*_depth_claims(depths), *_excess_claims(excess), *_width_claims(tangents))
    figure = _figure(depths, excess, tangents)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _listed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(v).tolist() for name, v in values.items()}


def _through_depth(setting: Setting, name: str) -> dict[float, dict[str, Any]]:
    """Variances and squared gradients of every layer, measured and predicted."""
    activation = ACTIVATIONS[name]
    critical = theory.critical_initialization(activation)
    kernel = critical.start
    keys = jax.random.split(jax.random.key(0, impl="rbg"), setting.networks)
    sizes = (setting.depth, setting.width)
    bias, weights = critical.scales.bias, critical.scales.weight * np.array(FACTORS)
    measured = _forward_and_back(activation, sizes, keys, kernel, bias, weights)
    runs = {}
    for factor, weight, *means in zip(FACTORS, weights, *measured, strict=True):
        scales = Scales(bias, weight)
        kernels = criticality.kernel_flow(activation, kernel, setting.depth, scales)
        chi = criticality.susceptibilities(activation, kernels[:-1], scales)
        widths = (setting.width,) * (setting.depth - 1)
        flow = finite_width.vertex_flow(activation, kernel, widths, scales)
        runs[factor] = {
            **dict(zip(("variance", "gradient"), means, strict=True)),
            "kernel": kernels,
            "correction": flow.correction,
            "chi": jnp.append(jnp.cumprod(chi.perpendicular[::-1])[::-1], 1.0),
        }
    return runs


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward_and_back(
    activation: Any,
    sizes: tuple[int, int],
    keys: Array,
    kernel: Any,
    bias_variance: Any,
    weight_variances: Array,
) -> tuple[Array, Array]:
    """Means over networks of z^2, and of the squared gradient of an output by z, of
    every variance of weights (variances, depth); all of them scale the same draws.
    """
    depth, width = sizes

    def network(drawn: Array, variance: Array) -> tuple[Array, Array]:
        weights = jnp.sqrt(variance / width) * drawn[:, :, 1:]
        bias = jnp.sqrt(bias_variance) * drawn[:, :, 0]

        def output(shifts: Array) -> tuple[Array, Array]:
            def step(z: Array, layer: tuple[Array, ...]) -> tuple[Array, Array]:
                w, b, shift = layer
                new = b + w @ activation(z) + shift
                return new, jnp.mean(new**2)

            z = jnp.sqrt(kernel) * drawn[0, :, 0] + shifts[0]
            layers = (weights[1:], bias[1:], shifts[1:])
            last, squares = jax.lax.scan(step, z, layers)
            return last[0], jnp.append(jnp.mean(z**2), squares)

        gradients, squares = jax.grad(output, has_aux=True)(jnp.zeros((depth, width)))
        return squares, jnp.sum(gradients**2, axis=1)

    def networks(key: Array) -> tuple[Array, Array]:
        drawn = jax.random.normal(key, (depth, width, width + 1))
        return jax.vmap(network, (None, 0))(drawn, weight_variances)

    means = jax.lax.map(networks, keys, batch_size=4)
    return jnp.mean(means[0], axis=0), jnp.mean(means[1], axis=0)


def _excess(setting: Setting) -> dict[int, dict[str, Any]]:
    """``E z^4 / (3 K^2) - 1`` of ReLU at several widths, to depth / width = 1 / 10."""
    critical = theory.critical_initialization(jax.nn.relu)
    results = {}
    for width in setting.widths:
        depth = max(3, int(np.ceil(width / 10)))
        measured = ensembles.sample_vertices(
            jax.random.key(width, impl="rbg"), jax.nn.relu, 1.0, critical.scales,
            width=width, depth=depth,
            networks=setting.sampled * max(setting.widths) // width,
        )  # fmt: skip
        square = measured.kernel.mean**2
        layers = np.arange(1, depth + 1)
        results[width] = {
            "layers": layers,
            "excess": measured.four_point.mean / square,
            "error": measured.four_point.error / square,
            "line": finite_width.vertex_slope(jax.nn.relu) * (layers - 1) / width,
            # Of the mean square of ReLU at each layer, independent of the others.
            "exact": (1 + 5 / width) ** (layers - 1) - 1,
        }
    return results


def _fluctuations(
    networks: int, name: str, residual: float, width: int
) -> dict[str, Any]:
    """The last layer's vertex and tangent kernel beside their predictions."""
    activation, depth = ACTIVATIONS[name], DEEP
    critical = theory.critical_initialization(activation, residual=residual)
    kernel, scales = (critical.kernel or 1.0), critical.scales
    kernel = 1.0 if np.isnan(kernel) else kernel
    tangents = ensembles.sample_ntk(
        jax.random.key(1, impl="rbg"), activation, kernel, scales, RATES,
        width=width, depth=depth, networks=networks,
    )  # fmt: skip
    widths = (width,) * (depth - 1)
    flow = finite_width.vertex_flow(activation, kernel, widths, scales)
    drift = finite_width.ntk_flow(activation, kernel, widths, scales, RATES)
    pairs = {
        "V": (tangents.four_point, flow.four_point),
        "NTK": (tangents.ntk, drift.ntk),
        "A": (tangents.covariance, drift.covariance),
        "B": (tangents.variance, drift.variance),
    }
    ratios = {n: float(m.mean[-1] / p[-1]) for n, (m, p) in pairs.items()}
    errors = {f"{n} ±": float(m.error[-1] / p[-1]) for n, (m, p) in pairs.items()}
    closed = _closed_vertex(activation, kernel, width, depth, scales)
    alone = {"closed": float(tangents.four_point.mean[-1] / closed)}
    return ratios | errors | alone


def _closed_vertex(
    activation: Any, kernel: float, width: int, depth: int, scales: Scales
) -> Any:
    """The vertex were layers to remember variances only along residual shares."""
    around, vertex = scales.residual**2, 0.0
    kernels = criticality.kernel_flow(activation, kernel, depth, scales)[:-1]
    at = moments.moments(activation, kernels)
    growth = scales.weight * at.growth
    source = scales.weight**2 * at.square_variance + 4 * around * kernels**2 * growth
    for more, added in zip(around + growth, source / width, strict=True):
        vertex = more**2 * vertex + added
    return vertex


def _depth_claims(depths: dict[Any, Any]) -> tuple[papers.Claim, ...]:
    spans, said, off, off_spans = {}, {}, {}, {}
    for (name, factor), run in depths.items():
        ratios = [np.ptp(np.log(run[k])) for k in ("variance", "gradient")]
        if factor == 1:
            spans[name] = float(np.exp(max(ratios)))
            first = [run["kernel"], run["kernel"] + run["correction"]]
            said[name] = [float(np.exp(np.ptp(np.log(v)))) for v in first]
            continue
        off_spans[name, factor] = float(np.exp(max(ratios)))
        late = slice(len(run["chi"]) // 2, None)
        layers = np.arange(len(run["chi"]))[late]
        off[name, factor] = [
            -float(np.polyfit(layers, np.log(run[kind][late]), 1)[0])
            for kind in ("gradient", "chi")
        ]
    misses = [abs(a - b) - max(0.02, 0.1 * abs(b)) for a, b in off.values()]
    return (
        papers.Claim(
            "At criticality variances and gradients change like a power of depth.",
            ", ".join(f"{n}: a factor of {v:.1f}" for n, v in spans.items()),
            max(spans.values()) < 100,
            threshold="a factor below 100 over all layers, for each",
            baseline=", ".join(
                f"{n}, C_W x {f}: {v:.3g}" for (n, f), v in off_spans.items()
            )
            + "; variances in theory at infinite width and to first order: "
            + ", ".join(f"{n} {a:.1f} and {b:.1f}" for n, (a, b) in said.items()),
        ),
        papers.Claim(
            "Off it gradients change exponentially, by log chi a layer.",
            ", ".join(f"{n} x {f}: {a:.3f}" for (n, f), (a, _) in off.items()),
            max(misses) < 0,
            threshold="within 0.02 or 10 % of log chi, layers of the later half",
            baseline=", ".join(
                f"log chi {n} x {f}: {b:.3f}" for (n, f), (_, b) in off.items()
            ),
        ),
    )


def _excess_claims(excess: dict[int, Any]) -> tuple[papers.Claim, ...]:
    shared = [
        ratio
        for ratio in (1 / min(excess), 2 / min(excess))
        if all(round(ratio * n) < len(run["layers"]) for n, run in excess.items())
    ]
    apart_by = []
    for ratio in shared:
        values = [run["excess"][round(ratio * n)] for n, run in excess.items()]
        apart_by.append(float(np.max(values) / np.min(values) - 1))
    inside = {n: run["layers"] / n < 0.1 for n, run in excess.items()}
    misses = {
        n: np.abs(run["excess"][inside[n]][1:] / run["line"][inside[n]][1:] - 1)
        for n, run in excess.items()
    }
    worst = max(float(np.max(m, initial=0)) for m in misses.values())
    from_exact = max(
        float(np.max(np.abs((run["excess"] - run["exact"]) / run["error"])[1:]))
        for run in excess.values()
    )
    bend = max(
        float(
            np.max(
                run["exact"][1:][inside[n][1:]] / run["line"][1:][inside[n][1:]],
                initial=1,
            )
        )
        - 1
        for n, run in excess.items()
    )
    errors = max(float(np.max(r["error"][1:] / r["line"][1:])) for r in excess.values())
    return (
        papers.Claim(
            "The excess kurtosis of ReLU networks depends on depth / width alone.",
            f"widths {', '.join(map(str, excess))} differ by "
            + ", ".join(f"{100 * v:.0f} %" for v in apart_by)
            + " at (L - 1) / n = "
            + ", ".join(f"{r:.3f}" for r in shared),
            max(apart_by) <= 0.15,
            threshold="at most 15 % of each other for L / n < 0.1",
            baseline=f"standard errors up to {100 * errors:.0f} %",
        ),
        papers.Claim(
            "That excess is nu (L - 1) / n.",
            f"up to {100 * worst:.0f} % off",
            worst <= 0.15,
            threshold="within 15 % for L / n < 0.1",
            baseline=f"(1 + 5 / n)^(L - 1) - 1, exact, is up to {100 * bend:.0f} % off "
            f"it; from this all are within {from_exact:.1f} standard errors",
        ),
    )


QUANTITIES = ("V", "NTK", "A", "B")


def _width_claims(tangents: dict[Any, Any]) -> tuple[papers.Claim, ...]:
    claims = []
    for g in dict.fromkeys(g for _, g, _ in tangents):
        runs = {n: run for (n, h, w), run in tangents.items() if (h, w) == (g, 64)}
        misses = {
            (n, q): abs(run[q] - 1) - 3 * run[f"{q} ±"]
            for n, run in runs.items()
            for q in QUANTITIES
        }
        name, quantity = max(misses, key=lambda pair: misses[pair])
        closed = ", ".join(f"{n} {run['closed']:.2f}" for n, run in runs.items())
        claims.append(
            papers.Claim(
                "Recursions of first order give the vertex, the tangent kernel and its "
                f"fluctuations at width 64, depth {DEEP}, residual share {g}.",
                f"measured over predicted: {_ratios(runs.values())}; worst {quantity} "
                f"of {name}",
                bool(max(misses.values()) <= 0.15),
                threshold="within 15 % beyond three standard errors",
                baseline=f"V over a recursion of four points alone: {closed}",
            )
        )
    widths = list(dict.fromkeys(w for *_, w in tangents))
    narrow, wide = (
        [run for (*_, w), run in tangents.items() if w == width]
        for width in (widths[0], widths[-1])
    )
    allowed = 0.15 * 64 / widths[-1]
    off = max(abs(r[q] - 1) - 3 * r[f"{q} ±"] for r in wide for q in QUANTITIES)
    claims.append(
        papers.Claim(
            "The wider the networks, the nearer they are.",
            f"width {widths[-1]}: {_ratios(wide)}",
            bool(off <= allowed),
            threshold=f"within {allowed:.0%} beyond three standard errors, all "
            "activations and residual shares",
            baseline=f"width {widths[0]}: {_ratios(narrow)}",
        )
    )
    return tuple(claims)


def _ratios(runs: Any) -> str:
    spans = ((q, [run[q] for run in runs]) for q in QUANTITIES)
    return ", ".join(f"{q} {min(r):.2f} to {max(r):.2f}" for q, r in spans)


@style.styled
def _figure(depths: Any, excess: Any, tangents: Any) -> Any:
    figure = style.new_figure((12.0, 3.9))
    left, middle, right = figure.subplots(1, 3)
    shades = dict(zip(FACTORS, (style.BLUE, style.BLACK, style.ORANGE), strict=True))
    for (name, factor), run in depths.items():
        dashes = "-" if name == "tanh" else "--"
        layers = np.arange(1, len(run["gradient"]) + 1)
        left.plot(
            layers, run["gradient"], dashes, color=shades[factor],
            label=f"{name}, $C_W$ × {factor}",
        )  # fmt: skip
        left.plot(layers, run["chi"], ":", color=style.GRAY, linewidth=1)
    left.set(
        yscale="log", xlabel="layer", ylabel="squared gradient of an output",
        title="Gradients; dotted: chi of all later layers",
    )  # fmt: skip
    left.legend(fontsize=7)
    for i, (width, run) in enumerate(excess.items()):
        middle.errorbar(
            (run["layers"] - 1) / width, run["excess"], run["error"], linestyle="none",
            marker=style.MARKERS[i], color=style.PALETTE[i], label=f"width {width}",
        )  # fmt: skip
    ratio = np.linspace(0, 0.1, 50)
    middle.plot(ratio, 5 * ratio, color=style.GRAY, label="5 (L - 1) / n")
    middle.plot(ratio, np.expm1(5 * ratio), ":", color=style.GRAY, label="exp - 1")
    middle.set(
        xlabel="(L - 1) / n", ylabel="excess kurtosis / 3", title="ReLU: one curve"
    )
    middle.legend()
    names = list(dict.fromkeys(name for name, *_ in tangents))
    for i, name in enumerate(names):
        runs = {w: run for (n, g, w), run in tangents.items() if (n, g) == (name, 0.0)}
        for k, (q, dashes) in enumerate((("V", "-"), ("A", "--"))):
            right.errorbar(
                [w * (1 + 0.03 * (i - 2)) for w in runs], [r[q] for r in runs.values()],
                [r[f"{q} ±"] for r in runs.values()], linestyle=dashes,
                marker=style.MARKERS[k], color=style.PALETTE[i], markersize=4,
                label=name if q == "V" else None,
            )  # fmt: skip
    right.axhline(1, color=style.GRAY, linewidth=0.7)
    right.plot([], [], "--", color=style.GRAY, label="A, dashed")
    ticks = sorted({w for *_, w in tangents})
    right.set(
        xscale="log", xlabel="width", ylabel="measured / predicted",
        title=f"Depth {DEEP}: V (solid) and A",
    )  # fmt: skip
    right.set_xticks(ticks, [str(w) for w in ticks])
    right.set_xticks([], minor=True)
    right.legend(fontsize=7)
    for axes in (left, middle, right):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
