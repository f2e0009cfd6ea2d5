"""How much divergence is left after noise: strong data-processing coefficients.

He, Goldfeld 2024, arXiv 2404.03176, section on Dropout, DropConnect and Gaussian noise.
``KL(out) <= eta KL(in)``, and eta is at most Dobrushin's coefficient, the largest total
variation between outputs of two inputs (Cohen et al. 1993; Polyanskiy, Wu 2017, arXiv
1508.06025). For discrete channels eta is reached on two inputs (Ordentlich, Polyanskiy
2021, "Strong data processing constant is achieved by binary inputs").
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy import special

from kanjax import checks
from kanjax.theory import information_bounds


class ChannelContraction(NamedTuple):
    """Coefficients of a discrete channel.

    Attributes:
        total_variation: Dobrushin's coefficient.
        kl: the largest ratio of Kullback-Leibler divergences after and before.
    """

    total_variation: Array
    kl: Array


def dropout_contraction(drop: float, inputs: int) -> float:
    """Return ``1 - drop^inputs``, for a layer whose inputs are dropped.

    With the probability ``drop^inputs`` all are, and nothing is left of them: the
    output's law has this share in common for all inputs (Doeblin).

    Args:
        drop: the probability that an input is set to 0.
        inputs: how many there are.

    Raises:
        ValueError: for a probability outside of [0, 1], or no input.

    Examples:
        >>> dropout_contraction(0.5, 4)
        0.9375
    """
    _check_probability("drop", drop)
    checks.check_count("inputs", inputs)
    return 1 - drop**inputs


def dropconnect_contraction(drop: float, inputs: int, outputs: int) -> float:
    """Return ``1 - drop^(inputs outputs)``, for a layer whose weights are dropped.

    Args:
        drop: the probability that a weight is set to 0.
        inputs: of the layer.
        outputs: of the layer.

    Raises:
        ValueError: for a probability outside of [0, 1], or no input or output.
    """
    _check_probability("drop", drop)
    checks.check_count("inputs", inputs)
    checks.check_count("outputs", outputs)
    return 1 - drop ** (inputs * outputs)


def noise_contraction(amplitude: float, features: int, deviation: float) -> float:
    """Return ``1 - 2 Q(amplitude sqrt(features) / deviation)``, for Gaussian noise.

    Q is the normal tail. Two means within ``[-amplitude, amplitude]^features`` are
    ``2 amplitude sqrt(features)`` apart at most.

    Args:
        amplitude: the largest size of an activation, such as 1 for tanh.
        features: of the layer.
        deviation: of the noise that is added to each activation.

    Raises:
        ValueError: for an amplitude or deviation not positive, or no feature.

    Examples:
        >>> round(noise_contraction(1.0, 4, 2.0), 5)
        0.68269
    """
    for name, value in (("amplitude", amplitude), ("deviation", deviation)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite; got {value!r}.")
    checks.check_count("features", features)
    return float(special.erf(amplitude * math.sqrt(features / 2) / deviation))


def linear_gaussian_contraction(signal_to_noise: ArrayLike) -> Array:
    """Return ``SNR / (1 + SNR)``: of X to X + Z about the law of a Gaussian X.

    The squared correlation of X and X + Z. It holds for divergences from the Gaussian
    law itself; for two laws of any kind there is no contraction.

    Args:
        signal_to_noise: (...), the variance of X over that of Z.

    Raises:
        ValueError: for a negative ratio.
    """
    if np.any(np.asarray(signal_to_noise) < 0):
        raise ValueError(
            f"signal_to_noise must be at least 0; got {signal_to_noise!r}."
        )
    ratio = checks.as_floating(signal_to_noise)
    return ratio / (1 + ratio)


def channel_contraction(channel: checks.Numbers) -> ChannelContraction:
    """Return the contraction coefficients of a discrete channel.

    ``eta_KL = max over i, j, beta of beta (1 - beta) sum_y (P_i - P_j)^2 / (beta P_i +
    (1 - beta) P_j)``, which is concave in beta.

    Args:
        channel: (inputs, outputs), each row the law of the output for an input.

    Raises:
        ValueError: if a row is no law, or there are fewer than two.

    Examples:
        >>> c = channel_contraction([[0.9, 0.1], [0.1, 0.9]])
        >>> round(float(c.total_variation), 4), round(float(c.kl), 4)
        (0.8, 0.64)
    """
    information_bounds.check_law("channel", channel, axes=(-1,))
    rows = checks.as_floating(channel)
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(
            f"channel has shape {rows.shape}; it must be (inputs, outputs) with two "
            "inputs or more."
        )
    i, j = np.triu_indices(len(rows), 1)
    p, q = rows[i][:, None, :], rows[j][:, None, :]
    variation = jnp.max(jnp.sum(jnp.abs(p - q), axis=-1) / 2)

    def at(beta: Array) -> Array:
        """(pairs, points)."""
        b = beta[..., None]
        mixture = b * p + (1 - b) * q
        terms = (p - q) ** 2 / jnp.where(mixture > 0, mixture, 1.0)
        return beta * (1 - beta) * jnp.sum(terms, axis=-1)

    # The maximum of a concave function lies beside the best point of a grid.
    points = 33
    shares = jnp.linspace(0, 1, points)
    low, high = jnp.zeros(len(i)), jnp.ones(len(i))
    for _ in range(6):
        grid = low[:, None] + jnp.outer(high - low, shares)
        best = jnp.argmax(at(grid), axis=1)
        rows_of = jnp.arange(len(i))
        low = grid[rows_of, jnp.maximum(best - 1, 0)]
        high = grid[rows_of, jnp.minimum(best + 1, points - 1)]
    return ChannelContraction(variation, jnp.max(at((low + high)[:, None] / 2)))


def contracted_divergence(
    divergence: ArrayLike, coefficients: Sequence[float], *, of_labels: float = 0.0
) -> Array:
    """Return bounds on the divergence at every layer of a network with noise.

    ``KL_l <= KL(Y) + prod_(j <= l) eta_j (KL_0 - KL(Y))``. Noise contracts what is
    known of the representation; the label passes by, so that its divergence stays.

    Args:
        divergence: (...), KL_0, at the input.
        coefficients: (layers,), eta_j of each.
        of_labels: ``KL(P(Y_i | W) || P(Y) | P(W))``, 0 where the weights say nothing of
            the label alone.

    Returns:
        (..., layers + 1), KL_0 first.

    Raises:
        ValueError: for coefficients outside of [0, 1], or labels with more divergence
            than there is.
    """
    for value in coefficients:
        _check_probability("coefficients", value)
    total = np.asarray(divergence)
    if not of_labels >= 0 or np.any(total < of_labels):
        raise ValueError(
            f"of_labels must be from 0 to divergence; got {of_labels!r} and "
            f"{divergence!r}."
        )
    left = jnp.cumprod(jnp.asarray([1.0, *coefficients]))
    start = checks.as_floating(divergence)
    return of_labels + jnp.multiply.outer(start - of_labels, left)


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1; got {value!r}.")
