"""Two Gaussian classes and a linear network: gaps and their bounds, exactly.

He, Goldfeld 2024, arXiv 2404.03176. Labels y are fair signs and ``x ~ N(y mu, s^2 I)``;
the algorithm releases the mean w of y x over n examples, and a network with fixed
layers of product B classifies by ``sign((B w) . (B x))``. Given w, y x of a trained
example is ``N(w, s^2 (1 - 1/n) I)`` and independent of its label.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy import stats

from kanjax import checks


class ClassificationGap(NamedTuple):
    """Expected losses and their difference.

    Attributes:
        gap: ``test - train``.
        test: on a fresh example.
        train: on the examples.
    """

    gap: float
    test: float
    train: float


def layer_products(weights: Sequence[ArrayLike]) -> list[Array]:
    """Return ``B_l = W_l ... W_1`` of every layer, the identity first.

    Args:
        weights: (outputs, inputs) of each layer, first to last.

    Raises:
        ValueError: for layers that do not follow each other.
    """
    products = [jnp.eye(jnp.shape(weights[0])[1])]
    for i, layer in enumerate(weights):
        if jnp.ndim(layer) != 2 or jnp.shape(layer)[1] != len(products[-1]):
            raise ValueError(
                f"weights[{i}] has shape {jnp.shape(layer)}; it must be (outputs, "
                f"{len(products[-1])})."
            )
        products.append(jnp.asarray(layer) @ products[-1])
    return products


def layer_divergences(products: Sequence[ArrayLike], examples: int) -> np.ndarray:
    """Return ``KL_l = rank(B_l) / 2 log(n / (n - 1))`` of every layer, in nats.

    Between a layer's values of a trained and of a fresh example, given w, in the mean
    over w. If ``B_L w`` alone were released it would be that of the last layer at every
    layer: what was released matters, too.

    Args:
        products: (layers,) of (outputs, inputs).
        examples: n, 2 or more.

    Raises:
        ValueError: for fewer than 2 examples.
    """
    checks.check_count("examples", examples, 2)
    ranks = [np.linalg.matrix_rank(np.asarray(product)) for product in products]
    return -np.asarray(ranks) / 2 * np.log1p(-1 / examples)


def layer_distances(
    products: Sequence[ArrayLike],
    noise: float,
    examples: int,
    *,
    shift: ArrayLike | None = None,
) -> Array:
    """Return Wasserstein distances of order 2 of every layer; those of 1 are less.

    ``sqrt(|B (w - mu)|^2 + s^2 (1 - sqrt(1 - 1/n))^2 |B|_F^2)``, which holds for the
    values with the label beside them: both have the same label in the best coupling.

    Args:
        products: (layers,) of (outputs, inputs).
        noise: s.
        examples: n, 2 or more.
        shift: (..., inputs), w - mu; if None the root of the mean over w, which is no
            less than the mean of the root.

    Returns:
        (..., layers).

    Raises:
        ValueError: for a noise not positive, or fewer than 2 examples.
    """
    checks.check_positive("noise", noise)
    checks.check_count("examples", examples, 2)
    squares = jnp.stack([jnp.sum(jnp.square(jnp.asarray(b))) for b in products])
    narrowed = noise**2 * (1 - np.sqrt(1 - 1 / examples)) ** 2 * squares
    if shift is None:
        return jnp.sqrt(noise**2 * squares / examples + narrowed)
    moved = [
        jnp.sum(jnp.square(jnp.asarray(shift) @ jnp.asarray(b).T), axis=-1)
        for b in products
    ]
    moved = jnp.stack(moved, axis=-1)
    return jnp.sqrt(moved + jnp.broadcast_to(narrowed, moved.shape))


def gap(
    mean: ArrayLike,
    noise: float,
    examples: int,
    *,
    loss: Literal["zero-one", "linear"] = "zero-one",
) -> ClassificationGap:
    """Return the expected gap, exactly: by quadrature over two numbers.

    Of a network whose product B has orthonormal rows it is the gap at ``B mu``.

    Args:
        mean: (d,), mu.
        noise: s.
        examples: n, 2 or more.
        loss: whether the sign is wrong, or ``-y w . x``, whose gap is ``s^2 d / n``.

    Raises:
        ValueError: for an unknown loss, a noise not positive, or fewer than 2 examples.

    Examples:
        >>> import numpy as np
        >>> round(gap(np.eye(20)[0], 1.0, 50).gap, 4)
        0.0789
    """
    checks.check_positive("noise", noise)
    checks.check_count("examples", examples, 2)
    mu = np.asarray(mean, np.float64)
    size, d = float(np.linalg.norm(mu)), mu.size
    if loss == "linear":
        test, gained = -(size**2), noise**2 * d / examples
        return ClassificationGap(gained, test, test - gained)
    if loss != "zero-one":
        raise ValueError(f"loss is {loss!r}; it must be 'zero-one' or 'linear'.")
    # Along mu a normal, across it the root of a chi-square; both by their quantiles.
    points, weights = np.polynomial.legendre.leggauss(300)
    chances, weights = (points + 1) / 2, weights / 2
    deviation = noise / np.sqrt(examples)
    # In two halves: where w turns its back on mu, the sign that it gives jumps.
    backward = stats.norm.cdf(-size / deviation)
    edges = np.unique(np.array([0.0, float(backward), 1.0]))
    widths = np.diff(edges)[:, None]
    places, shares = edges[:-1, None] + widths * chances, widths * weights
    along = size + deviation * stats.norm.ppf(places.reshape(-1, 1))
    across = stats.chi2.ppf(chances, d - 1) if d > 1 else np.zeros_like(chances)
    length = np.sqrt(along**2 + deviation**2 * across)
    mass = shares.reshape(-1, 1) * weights
    shrunk = noise * np.sqrt(1 - 1 / examples)
    test = float(np.sum(mass * stats.norm.cdf(-along * size / (noise * length))))
    train = float(np.sum(mass * stats.norm.cdf(-length / shrunk)))
    return ClassificationGap(test - train, test, train)


def gap_at(
    weights: ArrayLike, product: ArrayLike, mean: ArrayLike, noise: float, examples: int
) -> Float[Array, "..."]:
    """Return the gap of errors given the released mean, for any layers.

    Its mean over ``w ~ N(mu, s^2 / n I)`` is the expected gap.

    Args:
        weights: (..., d), w.
        product: (outputs, d), B.
        mean: (d,), mu.
        noise: s.
        examples: n, 2 or more.

    Raises:
        ValueError: for a noise not positive, or fewer than 2 examples.
    """
    checks.check_positive("noise", noise)
    checks.check_count("examples", examples, 2)
    w, b = jnp.asarray(weights), jnp.asarray(product)
    direction = w @ b.T @ b
    size = jnp.linalg.norm(direction, axis=-1)
    normal = jax.scipy.stats.norm
    test = normal.cdf(-(direction @ jnp.asarray(mean)) / (noise * size))
    shrunk = noise * np.sqrt(1 - 1 / examples)
    return test - normal.cdf(-jnp.sum(direction * w, axis=-1) / (shrunk * size))
