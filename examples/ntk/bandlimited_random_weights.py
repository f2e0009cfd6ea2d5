"""How Powerful are Shallow Neural Networks with Bandlimited Random Weights?

Li, Sonoda, Cao, Wang, Liang (2023), arXiv 2008.08427. A wave packet is fitted by sinc
units whose slopes are at most A: on the whole line the error stays at the energy beyond
the frequency A, for any number of units; on a window it does not. Then tanh networks on
an interval: which range of weights is best depends on the function.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from kanjax import cli, papers
from kanjax.ntk import band_limits, random_feature_layers, random_weights, ridgelets
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="bandlimited-random-weights",
    title="How Powerful are Shallow Neural Networks with Bandlimited Random Weights?",
    source="Li, Sonoda, Cao, Wang, Liang (2023), arXiv 2008.08427",
    room="ntk",
    state="in part",
)

WAVE, EXTENT = 5.0, 12.0
ENERGY = np.sqrt(np.pi) / 2 * (1 + np.exp(-(WAVE**2)))
# Singular values of less than this share hardly count.
CUT = 1e-10
# A root mean square error up to which a network is of use.
USEFUL = 0.01


class Setting(NamedTuple):
    """Sizes of a run; the last three of the tanh networks."""

    slopes: tuple[float, ...]
    counts: tuple[int, ...]
    draws: int
    units: int
    ranges: tuple[float, ...]
    waves: tuple[float, ...]


RANGES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SLOPES = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
COUNTS = (25, 50, 100, 200, 400)
SETTINGS = {
    "short": Setting((3, 5, 8), (50, 200), 3, 100, (1, 10, 100), (3, 40)),
    "default": Setting(SLOPES, COUNTS, 5, 200, RANGES, (3, 12, 40)),
    "full": Setting(SLOPES, (*COUNTS, 800, 1600), 30, 600, RANGES, (3, 12, 40, 80)),
}


class Run(NamedTuple):
    """What is measured: shares of the energy, and of tanh networks errors.

    Attributes:
        bounds: (slopes,).
        line: (slopes, draws, counts).
        window: (slopes, 3): in the window, on the line, and the norm of coefficients.
        tanh: (waves, ranges, draws).
    """

    bounds: np.ndarray
    line: np.ndarray
    window: np.ndarray
    tanh: np.ndarray


@jax.enable_x64(True)
def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    keys = jax.random.split(jax.random.key(0), setting.draws)
    spectrum = band_limits.tabulate_spectrum(lambda xi: _transform(xi) ** 2, 16.0)
    bounds = jax.vmap(band_limits.bandlimit_lower_bound, (None, 0))(
        spectrum, jnp.asarray(setting.slopes, float)
    ).fraction
    slopes, waves = setting.slopes, setting.waves
    line = [np.asarray(_line(keys, a, setting.counts)) for a in slopes]
    window = [np.asarray(_window(keys, a, setting.counts[-1])) for a in slopes]
    tanh = [
        [np.asarray(_tanh(keys, w, a, setting.units)) for a in setting.ranges]
        for w in waves
    ]
    run = Run(*(np.asarray(values) for values in (bounds, line, window, tanh)))
    numbers = {name: values.tolist() for name, values in run._asdict().items()}
    return papers.Reproduction(
        _claims(setting, run),
        {**setting._asdict(), **numbers},
        {"bounds": _figure(setting, run)},
    )


def _transform(xi: Array) -> Array:
    """``exp(-x^2 / 2) cos(5 x)``, transformed."""
    bumps = jnp.exp(-((xi - WAVE) ** 2) / 2) + jnp.exp(-((xi + WAVE) ** 2) / 2)
    return jnp.sqrt(jnp.pi / 2) * bumps


@functools.partial(jax.jit, static_argnums=2)
def _line(keys: Array, slope: ArrayLike, counts: tuple[int, ...]) -> Array:
    """(draws, counts): shares of the energy left, in L^2 of the line."""

    def errors(key: Array) -> Array:
        return band_limits.sinc_errors(
            key, _transform, ENERGY, slope, counts, extent=EXTENT
        )

    return _each(errors, keys) / ENERGY


def _each(measure: Callable[[Array], Array], keys: Array) -> Array:
    """Draw by draw: batches of decompositions may stall on few cores."""
    return jax.lax.scan(lambda _, key: (None, measure(key)), None, keys)[1]


def _solve(values: Array, targets: Array) -> Array:
    # Units are at most 1: the largest singular value is at most the root of the size.
    ridge = CUT**2 * values.size
    return random_feature_layers.solve(values, targets[:, None], ridge=ridge)[0][:, 0]


@functools.partial(jax.jit, static_argnums=2)
def _window(keys: Array, slope: ArrayLike, n: int) -> Array:
    """(3,): mean share left in the window and on the line, and norm of coefficients."""
    x = jnp.linspace(-EXTENT, EXTENT, 1_001)[:, None]
    f = jnp.exp(-(x[:, 0] ** 2) / 2) * jnp.cos(WAVE * x[:, 0])

    def fit(key: Array) -> Array:
        layer = random_weights.RandomLayer.draw(
            key, n, 1, radius=slope, activation=ridgelets.SINC, centers=x
        )
        values = layer.apply((), x)
        c = _solve(values, f)
        inside = jnp.sum((values @ c - f) ** 2) / jnp.sum(f**2)
        gram = band_limits.sinc_gram(layer)
        products = band_limits.sinc_products(layer, _transform)
        everywhere = band_limits.squared_error(gram, products, ENERGY, c) / ENERGY
        return jnp.stack([inside, everywhere, jnp.linalg.norm(c)])

    return jnp.exp(jnp.mean(jnp.log(_each(fit, keys)), axis=0))


@functools.partial(jax.jit, static_argnums=3)
def _tanh(keys: Array, wave: ArrayLike, radius: ArrayLike, n: int) -> Array:
    """(draws,): root mean square errors off the examples."""
    x = jnp.linspace(-1.0, 1.0, 2 * n + 1)[:, None]
    between = (x[1:] + x[:-1]) / 2

    def fit(key: Array) -> Array:
        layer = random_weights.RandomLayer.draw(key, n, 1, radius=radius)
        c = _solve(layer.apply((), x), jnp.sin(wave * x[:, 0]))
        off = layer.apply((), between) @ c - jnp.sin(wave * between[:, 0])
        return jnp.sqrt(jnp.mean(off**2))

    return _each(fit, keys)


def _claims(setting: Setting, run: Run) -> tuple[papers.Claim, ...]:
    bounds, line, window, tanh = run
    inside, outside, sizes = window.T
    slopes, n = np.asarray(setting.slopes), setting.counts[-1]
    middle, wide = int(np.argmax(slopes == WAVE)), int(np.argmax(slopes == 8))
    last = line[:, :, -1]
    gap = line - bounds[:, None, None]
    ratio = (last.mean(axis=1) / bounds)[slopes <= WAVE]
    share = inside / bounds
    fastest = np.exp(np.log(tanh[-1]).mean(axis=1))
    best = int(np.argmin(fastest))
    ranges = np.asarray(setting.ranges)
    # Of each draw, for the slowest wave and the fastest.
    slow, fast = (ranges[np.argmin(tanh[i], axis=0)] for i in (0, -1))
    least = [
        np.where(tanh[i] < USEFUL, ranges[:, None], np.inf).min(axis=0) for i in (0, -1)
    ]
    waves = [f"sin({setting.waves[i]:g} x)" for i in (0, -1)]
    draws = f"{setting.draws} draws"
    return (
        papers.Claim(
            "On the whole line no network errs by less than the energy beyond the "
            "largest slope.",
            f"least excess {gap.min():.1e} of the energy ({len(slopes)} slopes, "
            f"{setting.counts[0]} to {n} units, {draws})",
            bool(gap.min() > 0),
            threshold="more than the bound for every network",
            baseline=f"window fit {share.min():.2g} to {share.max():.2g} of it",
        ),
        papers.Claim(
            "Up to the wave's frequency, 5, the error levels off at the bound.",
            f"with {n} units {ratio.min():.3f} to {ratio.max():.3f} of the bound "
            f"(mean of {draws}); slope 5: {_spread(last[middle])} of the energy, "
            f"{_spread(line[middle, :, -2])} with {setting.counts[-2]}",
            bool(ratio.max() < 1.2),
            paper="0.500 of the energy at slope 5",
            threshold="at most 1.2 of the bound at each slope",
            baseline=f"slope 8: {_spread(last[wide])}",
        ),
        papers.Claim(
            "From slope 8 on it collapses.",
            f"at most {last[slopes >= 8].max():.1e} of the energy with {n} units "
            f"({draws})",
            bool(last[slopes >= 8].max() < 0.01),
            threshold="less than 0.01 for every draw",
            baseline=f"slope 5: {_spread(last[middle])}",
        ),
        papers.Claim(
            "A fit of the window [-12, 12] alone gets below the bound there, and pays "
            "for it outside.",
            f"slope 5: {inside[middle]:.3f} of the energy in the window, "
            f"{outside[middle]:.1e} on the line, |c| = {sizes[middle]:.1e} ({n} units, "
            f"geometric means of {draws})",
            bool((inside < bounds).all() and (outside > 1).all()),
            threshold="below the bound inside, above the energy outside, every slope",
            baseline=f"fit of the line: {last[middle].mean():.3f} at slope 5",
        ),
        papers.Claim(
            f"For {waves[1]} weights of a tanh network can be too narrow and too wide.",
            f"error {fastest[0]:.1e} at {setting.ranges[0]:g}, {fastest[best]:.1e} at "
            f"{setting.ranges[best]:g}, {fastest[-1]:.1e} at {setting.ranges[-1]:g} "
            f"({setting.units} units, geometric means of {draws})",
            bool(min(fastest[0], fastest[-1]) > 10 * fastest[best]),
            threshold="at both ends 10 times the least",
            baseline="the same units, another range",
        ),
        papers.Claim(
            "Which ranges are of use depends on the function.",
            f"an error below {USEFUL:g} from {least[0].min():g} to {least[0].max():g} "
            f"on for {waves[0]}, from {least[1].min():g} to {least[1].max():g} on for "
            f"{waves[1]} ({draws})",
            bool((least[0] < least[1]).all()),
            threshold="from a wider one for the faster, every draw",
        ),
        papers.Claim(
            "And so does the best range.",
            f"{slow.min():g} to {slow.max():g} for {waves[0]}, {fast.min():g} to "
            f"{fast.max():g} for {waves[1]} ({draws})",
            bool((slow < fast).all()),
            threshold="wider for the faster, every draw",
        ),
    )


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2g} ± {values.std(ddof=1):.1g}"


@style.styled
def _figure(setting: Setting, run: Run) -> Any:
    """Errors against the number of units and against the range of weights."""
    bounds, line, inside = run.bounds, run.line, run.window[:, 0]
    figure = style.new_figure((9.6, 3.6))
    left, middle, right = figure.subplots(1, 3)
    shown = [i for i, slope in enumerate(setting.slopes) if slope in (3, 5, 6, 8)]
    for i, color, marker in zip(shown, style.PALETTE, style.MARKERS, strict=False):
        label = f"A = {setting.slopes[i]:g}"
        left.loglog(
            setting.counts, line[i].mean(0), color=color, marker=marker, label=label
        )
        left.axhline(bounds[i], color=color, ls=":", lw=1.2)
    left.set_xticks(setting.counts, [str(n) for n in setting.counts])
    left.set_xticks([], minor=True)
    left.set(xlabel="units", ylabel="share of the energy left", ylim=(1e-7, 2))
    left.set_title("Sinc units, whole line\n(dotted: lower bound)")
    left.legend(loc="lower left")
    middle.semilogy(setting.slopes, bounds, color=style.BLACK, ls=":", label="bound")
    for values, name, k in (
        (line[:, :, -1].mean(1), "error on the line", 0),
        (inside, "window fit, in the window", 1),
    ):
        color, marker = style.PALETTE[k], style.MARKERS[k]
        middle.semilogy(setting.slopes, values, color=color, marker=marker, label=name)
    middle.set(xlabel="largest slope A", ylim=(1e-15, 3))
    middle.set_title(f"{setting.counts[-1]} units")
    middle.legend(loc="lower left")
    for i, wave in enumerate(setting.waves):
        mean = np.exp(np.log(run.tanh[i]).mean(axis=1))
        right.loglog(
            setting.ranges,
            mean,
            color=style.PALETTE[i],
            marker=style.MARKERS[i],
            label=f"sin({wave:g} x)",
        )
    right.set(xlabel="range of weights", ylabel="root mean square error")
    right.set_ylim(1e-11, 1e4)
    right.set_title(f"{setting.units} tanh units on [-1, 1]")
    right.legend(loc="upper center")
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
