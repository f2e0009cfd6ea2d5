"""Regression data drawn from known functions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from kanjax.data import errors, examples, formula

FUNCTION_SUITE: dict[str, Callable[[Array, Array], Array]] = {
    "exp(sin πx + y²)": lambda x, y: jnp.exp(jnp.sin(jnp.pi * x) + y**2),
    "xy": lambda x, y: x * y,
    "sin 5x cos 3y": lambda x, y: jnp.sin(5 * x) * jnp.cos(3 * y),
    "|x - 0.3| + |y + 0.2|": lambda x, y: jnp.abs(x - 0.3) + jnp.abs(y + 0.2),
    "1 / (1 + 10 r²)": lambda x, y: 1 / (1 + 10 * (x**2 + y**2)),
    "tanh 8(x + y)": lambda x, y: jnp.tanh(8 * (x + y)),
    "r": jnp.hypot,
}
"""Seven functions of x and y on [-1, 1]², smooth, oscillating, kinked and steep."""


def friedman(
    key: Array, *, rows: int = 1000, features: int = 10, noise: float = 0.5
) -> examples.Dataset:
    """Friedman's first regression problem; inputs uniform on [0, 1].

    ``y = 10 sin(pi x0 x1) + 20 (x2 - 1/2)^2 + 10 x3 + 5 x4 + noise * normal``; the
    other features are irrelevant.

    Args:
        key: a random key.
        rows: how many to draw.
        features: how many columns, of which 5 matter.
        noise: its standard deviation.

    Source: Friedman, Multivariate adaptive regression splines, 1991, eq. 61.

    Raises:
        ValueError: when there are fewer than 5 features.
    """
    if features < 5:
        raise ValueError(f"features must be at least 5, got {features}")
    inputs, noise_key = jax.random.split(key)
    x = _uniform(inputs, rows, features, (0.0, 1.0))
    normal = np.asarray(jax.random.normal(noise_key, (rows,), jnp.float32), float)
    y = _friedman(x) + noise * normal
    return examples.Dataset(
        x,
        y[:, None],
        tuple(f"x{i}" for i in range(features)),
        ("y",),
        "regression",
        "friedman",
        (f"Friedman's first problem with noise of standard deviation {noise:g}",),
    )


def feynman(
    key: Array,
    text: str,
    *,
    rows: int = 1000,
    domain: tuple[float, float] = (-1.0, 1.0),
    noise: float = 0.0,
) -> examples.Dataset:
    """Return a formula on inputs uniform on ``domain``; features in order of
    appearance.

    Args:
        key: drives the inputs and the noise.
        text: e.g. ``"exp(sin(pi*x) + y^2)"``; see :func:`kanjax.data.formula.parse`.
        rows: how many examples.
        domain: lower and upper end, the same for every variable.
        noise: standard deviation of what is added to the target.

    Raises:
        DataError: when the text is not a formula, or it has no finite value
            somewhere on the domain.
    """
    low, high = domain
    if not low < high:
        raise ValueError(f"domain must be (low, high) with low < high, got {domain}")
    parsed = formula.parse(text)
    names = parsed.variables
    inputs, noise_key = jax.random.split(key)
    x = _uniform(inputs, rows, len(names), domain)
    y = np.broadcast_to(parsed(dict(zip(names, x.T, strict=True))), (rows,))
    undefined = int(np.count_nonzero(~np.isfinite(y)))
    if undefined:
        raise errors.DataError(
            f"the formula {text!r} has no finite value at {undefined} of {rows} points "
            f"on [{low:g}, {high:g}]; choose another domain, e.g. domain=(0.1, 2)"
        )
    normal = np.asarray(jax.random.normal(noise_key, (rows,), jnp.float32), float)
    return examples.Dataset(
        x,
        (y + noise * normal)[:, None],
        names,
        # No variable can be called that, so no feature has the target's name.
        (f"f({', '.join(names)})",),
        "regression",
        f"feynman:{text}",
        (f"{text}, inputs uniform on [{low:g}, {high:g}]",),
    )


def _friedman(x: np.ndarray) -> np.ndarray:
    wave = 10 * np.sin(np.pi * x[:, 0] * x[:, 1])
    return wave + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]


def _uniform(
    key: Array, rows: int, features: int, domain: tuple[float, float]
) -> np.ndarray:
    # A fixed type: the same key gives the same data with and without 64 bits.
    draws = jax.random.uniform(key, (rows, features), jnp.float32)
    low, high = domain
    return low + (high - low) * np.asarray(draws, float)
