"""The models and bases that a study can be told to use, by name."""

from collections.abc import Callable
from typing import Any

from kanjax import bases, hopfield, kan, nn
from kanjax.model import Model
from kanjax.study.config import Config

BASES: dict[str, Callable[[int], Any]] = {
    "bspline": lambda resolution: bases.BSpline(resolution),
    "rbf": lambda resolution: bases.GaussianRBF(resolution + 3),
    "chebyshev": lambda resolution: bases.Chebyshev(resolution),
    "legendre": lambda resolution: bases.Legendre(resolution),
    "fourier": lambda resolution: bases.Fourier(resolution),
    "jacobi": lambda resolution: bases.Jacobi(resolution),
    "gegenbauer": lambda resolution: bases.Gegenbauer(resolution),
    "hermite": lambda resolution: bases.Hermite(resolution),
    "gram": lambda resolution: bases.Gram(resolution, points=max(64, resolution + 1)),
    "sine": lambda resolution: bases.Sine(resolution + 3),
    "rswaf": lambda resolution: bases.Sech(resolution + 3),
    "sech": lambda resolution: bases.Sech(resolution + 3, power=1),
    "bsrbf": lambda resolution: bases.Sum(
        (bases.BSpline(resolution), bases.GaussianRBF(resolution + 3))
    ),
    "wavelet": lambda resolution: bases.Wavelet(resolution + 3),
    "morlet": lambda resolution: bases.Wavelet(resolution + 3, "morlet"),
    "dog": lambda resolution: bases.Wavelet(resolution + 3, "dog"),
    "meyer": lambda resolution: bases.Wavelet(resolution + 3, "meyer"),
    "shannon": lambda resolution: bases.Wavelet(resolution + 3, "shannon"),
    "relu": lambda resolution: bases.ReLUPower(resolution),
    "activation": lambda resolution: bases.ActivationPairs(resolution),
    "rational": lambda resolution: bases.Rational(),
}
"""Bases by name, from a resolution: grid intervals, degree or order."""

MODELS: dict[str, Callable[[tuple[int, ...], Any], Model]] = {
    "kan": lambda widths, basis: kan.KAN(widths, basis),
    "skan": lambda widths, basis: kan.SelectableKAN(widths),
    "afkan": lambda widths, basis: kan.AFKAN(widths, norm=None, layer_norm=False),
    "mlp": lambda widths, basis: nn.MLP(widths),
    "hopfield": lambda widths, basis: hopfield.lookup_network(widths),
}
"""Models by name, from their widths and a basis; a new model adds a line here."""


def build(config: Config, inputs: int, outputs: int) -> Model:
    """Return the model of a study of data with so many features and outputs."""
    hidden = (max(8, outputs),) if config.hidden is None else config.hidden
    widths = (inputs, *hidden, outputs)
    return MODELS[config.model](widths, BASES[config.basis](config.resolution))


def domain(config: Config) -> tuple[float, float]:
    """Where the features are scaled to: the domain of the model's basis."""
    if config.model != "kan":
        return (-1.0, 1.0)
    return BASES[config.basis](config.resolution).domain
