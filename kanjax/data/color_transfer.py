"""Maps of colors to colors: fitted to pairs of pixels, or to distributions.

Sources: Finlayson, Mackiewicz, Hurlbert (2015), Color correction using root-polynomial
regression; Reinhard et al. (2001), Color transfer between images; Pitie, Kokaram
(2007), The linear Monge-Kantorovitch linear colour mapping.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating

KINDS = ("linear", "affine", "polynomial", "root-polynomial")


@model.dataclass
class ColorMap:
    """A color map that is linear in terms of a color.

    Args:
        kind: which terms, one of ``KINDS``.
        matrix: (terms, 3).
    """

    kind: str
    matrix: Array = model.child()

    def apply(self, x: Array) -> Float[Array, "*batch 3"]:
        """Map colors (..., 3)."""
        return color_terms(x, self.kind) @ self.matrix


def color_terms(x: Array, kind: str) -> Float[Array, "*batch terms"]:
    """Return the terms of colors that a :class:`ColorMap` is linear in.

    Args:
        x: (..., 3).
        kind: "linear" (R, G, B), "affine" (and 1), "polynomial" (and all products of
            two), or "root-polynomial" (R, G, B and the roots of products of two, which
            scale with the exposure).

    Raises:
        ValueError: if the kind is another, or x does not hold colors.
    """
    x = as_floating(x)
    if x.ndim == 0 or x.shape[-1] != 3:
        raise ValueError(f"x must have shape (..., 3); got {x.shape}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}; got {kind!r}.")
    if kind == "linear":
        return x
    constant = jnp.ones_like(x[..., :1])
    if kind == "affine":
        return jnp.concatenate([x, constant], axis=-1)
    mixed = x * jnp.roll(x, -1, axis=-1)
    if kind == "polynomial":
        return jnp.concatenate([x, mixed, jnp.square(x), constant], axis=-1)
    positive = mixed > 0
    roots = jnp.where(positive, jnp.sqrt(jnp.where(positive, mixed, 1)), 0)
    return jnp.concatenate([x, roots], axis=-1)


def fit_color_map(source: Array, target: Array, kind: str = "linear") -> ColorMap:
    """Fit a map to pairs of colors by least squares.

    Args:
        source: (..., 3).
        target: of the same shape.
        kind: which terms, as of :func:`color_terms`.

    Raises:
        ValueError: if shapes differ.

    Examples:
        >>> x = jnp.eye(3)
        >>> bool(jnp.allclose(fit_color_map(x, 2 * x).apply(x), 2 * x, atol=1e-5))
        True
    """
    if jnp.shape(source) != jnp.shape(target):
        raise ValueError(
            "source and target must be pairs of colors of one shape; got "
            f"{jnp.shape(source)} and {jnp.shape(target)}. For images that are no pair "
            "use monge_kantorovich or match_histograms."
        )
    terms = color_terms(source, kind)
    terms = terms.reshape(-1, terms.shape[-1])
    matrix = jnp.linalg.lstsq(terms, as_floating(target).reshape(-1, 3))[0]
    return ColorMap(kind, matrix)


def match_moments(source: Array, target: Array) -> Float[Array, "*batch 3"]:
    """Give each channel the mean and deviation of the target's (Reinhard).

    Args:
        source: (..., 3), in any color space; Reinhard's is a log-opponent one.
        target: (..., 3), of any number of pixels.
    """
    x, y = _pixels(source), _pixels(target)
    mean_x, mean_y = (jnp.mean(z, axis=0, keepdims=True) for z in (x, y))
    std_x, std_y = (jnp.std(z, axis=0, keepdims=True) for z in (x, y))
    spread = std_y / jnp.maximum(std_x, 1e-6)
    return ((x - mean_x) * spread + mean_y).reshape(source.shape)


def monge_kantorovich(source: Array, target: Array) -> ColorMap:
    """Return the affine map that takes one normal distribution of colors to another.

    Of all with the target's mean and covariance it moves colors the least.

    Args:
        source: (..., 3).
        target: (..., 3), of any number of pixels.
    """
    x, y = _pixels(source), _pixels(target)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    small = 1e-8 * jnp.eye(3, dtype=x.dtype)
    cov_x, cov_y = (jnp.cov(z, rowvar=False, bias=True) + small for z in (x, y))
    root, inverse = _power(cov_x, 0.5), _power(cov_x, -0.5)
    matrix = inverse @ _power(root @ cov_y @ root, 0.5) @ inverse
    shift = mean_y - mean_x @ matrix
    return ColorMap("affine", jnp.concatenate([matrix, shift[None]]))


def _power(matrix: Array, exponent: float) -> Array:
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.maximum(values[None], 1e-12) ** exponent) @ vectors.T


def match_histograms(source: Array, target: Array) -> Float[Array, "*batch 3"]:
    """Give each channel the distribution of the target's, keeping its order.

    Args:
        source: (..., 3).
        target: (..., 3), of any number of pixels.
    """
    x, y = _pixels(source), _pixels(target)

    def channel(values: Array, others: Array) -> Array:
        ordered, goal = jnp.sort(values), jnp.sort(others)
        # Equal values have one rank, the mean of theirs.
        below = jnp.searchsorted(ordered, values, side="left")
        above = jnp.searchsorted(ordered, values, side="right")
        rank = (below + above).astype(values.dtype) / (2 * len(values))
        return jnp.interp(
            rank, (jnp.arange(len(goal), dtype=goal.dtype) + 0.5) / len(goal), goal
        )

    matched = jax.vmap(channel, 1, 1)(x, y)
    return matched.reshape(source.shape)


def _pixels(x: Array) -> Array:
    x = as_floating(x)
    if x.ndim == 0 or x.shape[-1] != 3:
        raise ValueError(f"colors must have shape (..., 3); got {x.shape}.")
    return x.reshape(-1, 3)
