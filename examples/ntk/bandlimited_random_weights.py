"""How Powerful are Shallow Neural Networks with Bandlimited Random Weights?

Li, Sonoda, Cao, Wang, Liang (2023), arXiv 2008.08427. A wave packet is fitted by sinc
units whose slopes are at most A: on the whole line the error stays at the energy beyond
the frequency A, for any number of units; on a window it does not. Then tanh networks on
an interval: which range of weights is best depends on the function.
"""

import functools
import pathlib
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
    state="reproduced",
)

WAVE, EXTENT = 5.0, 12.0
ENERGY = np.sqrt(np.pi) / 2 * (1 + np.exp(-(WAVE**2)))
# Singular values of less than this share hardly count.
CUT = 1e-10


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
    "short": Setting((3, 5, 8), (25, 50, 100, 200), 3, 100, (1, 10, 100), (3, 40)),
    "default": Setting(SLOPES, COUNTS, 5, 200, RANGES, (3, 12, 40)),
    "full": Setting(SLOPES, (*COUNTS, 800, 1600), 30, 600, RANGES, (3, 12, 40, 80)),
}


@jax.enable_x64(True)
def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    keys = jax.random.split(jax.random.key(0), setting.draws)
    spectrum = band_limits.tabulate_spectrum(lambda xi: _transform(xi) ** 2, 16.0)
    bounds = jax.vmap(band_limits.bandlimit_lower_bound, (None, 0))(
        spectrum, jnp.asarray(setting.slopes, float)
    ).fraction
    line = np.asarray([_line(keys, a, setting.counts) for a in setting.slopes])
    window = [_window(keys, a, setting.counts[-1]) for a in setting.slopes]
    inside, outside, sizes = np.moveaxis(np.asarray(window), 1, 0)
    tanh = np.asarray(
        [[_tanh(keys, w, a, setting.units) for a in setting.ranges] for w in setting.waves]
    )
    numbers = {
        "slopes": setting.slopes,
        "counts": setting.counts,
        "bounds": np.asarray(bounds).tolist(),
        "line": line.tolist(),
        "window": {
            "inside": inside.tolist(),
            "whole line": outside.tolist(),
            "norm": sizes.tolist(),
        },
        "tanh": {
            "ranges": setting.ranges,
            "waves": setting.waves,
            "error": tanh[..., 0].tolist(),
            "norm": tanh[..., 1].tolist(),
        },
    }
    run = (np.asarray(bounds), line, inside, outside, sizes, tanh)
    claims = _claims(setting, *run)
    return papers.Reproduction(claims, numbers, {"bounds": _figure(setting, *run)})


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

    return jax.vmap(errors)(keys) / ENERGY


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

    return jnp.exp(jnp.mean(jnp.log(jax.vmap(fit)(keys)), axis=0))


@functools.partial(jax.jit, static_argnums=3)
def _tanh(keys: Array, wave: ArrayLike, radius: ArrayLike, n: int) -> Array:
    """(draws, 2): root mean square error off the examples, norm of coefficients."""
    x = jnp.linspace(-1.0, 1.0, 2 * n + 1)[:, None]
    between = (x[1:] + x[:-1]) / 2

    def fit(key: Array) -> Array:
        layer = random_weights.RandomLayer.draw(key, n, 1, radius=radius)
        c = _solve(layer.apply((), x), jnp.sin(wave * x[:, 0]))
        off = layer.apply((), between) @ c - jnp.sin(wave * between[:, 0])
        return jnp.stack([jnp.sqrt(jnp.mean(off**2)), jnp.linalg.norm(c)])

    return jax.vmap(fit)(keys)
