"""Frames that class means and classifiers collapse to.

A simplex of equal angles: Papyan, Han, Donoho (2020), arXiv 2008.08186. Orthogonal
frames, of lengths of their own where classes differ in size: Dang et al. (2023), arXiv
2301.00437.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.representation import equiangular
from kanjax.representation.linear_optima import Optimum


class Target(NamedTuple):
    """The frame that weights and class means are held against.

    Attributes:
        weights: (classes, classes) products of the classifier's columns.
        means: (classes, classes) products of class means.
        outputs: (classes, classes) the classifier at the class means.
        ratios: (classes,) of the classifier's columns to the class means.
        centered: whether means are taken less the mean of all samples.
    """

    weights: Float[Array, "classes classes"]
    means: Float[Array, "classes classes"]
    outputs: Float[Array, "classes classes"]
    ratios: Float[Array, " classes"]
    centered: bool


def orthogonal_frame(classes: int, width: int, *, key: Array) -> Array:
    """Return random orthonormal rows, (classes, width).

    Args:
        classes: how many.
        width: of each, at least as many.
        key: for the rotation.

    Raises:
        ValueError: if the space is too small.
    """
    if not 1 <= classes <= width:
        raise ValueError(
            f"{classes} orthogonal vectors do not fit into width {width}; it must be "
            "at least their number."
        )
    return jnp.linalg.qr(jax.random.normal(key, (width, classes)))[0].T


def general_orthogonal_frame(
    lengths: Float[Array, " classes"], width: int, *, key: Array
) -> Float[Array, "classes width"]:
    """Return random orthogonal rows of different lengths.

    Args:
        lengths: (classes,).
        width: of each row, at least as many.
        key: for the rotation.

    Raises:
        ValueError: if the space is too small.
    """
    lengths = jnp.asarray(lengths)
    return lengths[:, None] * orthogonal_frame(len(lengths), width, key=key)


def simplex_etf(classes: int, width: int, *, key: Array) -> Array:
    """Return unit rows whose cosines are all ``-1 / (classes - 1)``, (classes, width).

    Args:
        classes: at least 2.
        width: of each row, at least classes - 1.
        key: for the rotation.

    Raises:
        ValueError: for fewer than 2 classes, or if the space is too small.
    """
    if classes < 2:
        raise ValueError(f"classes is {classes}; a simplex has 2 corners or more.")
    corners = equiangular.simplex_basis(classes)
    return corners @ orthogonal_frame(corners.shape[1], width, key=key)


def target(kind: Literal["etf", "orthogonal"] | Optimum, classes: int) -> Target:
    """Return what features and classifier collapse to.

    Args:
        kind: "etf", a simplex of centered means, as of classes of equal size and a
            bias or cross-entropy; "orthogonal", as of classes of equal size without a
            bias under the squared error; or the optimum of
            :func:`kanjax.representation.linear_optima.solve` without a bias.
        classes: how many.

    Raises:
        ValueError: for an unknown kind, or an optimum of other classes.
    """
    ones = jnp.ones(classes)
    if isinstance(kind, Optimum):
        if kind.squares.shape != (classes,):
            raise ValueError(
                f"the optimum is of {kind.squares.shape[-1]} classes, not of {classes}."
            )
        live = kind.means > 0
        ratios = kind.squares / jnp.where(live, kind.outputs, 1.0)
        return Target(
            jnp.diag(kind.squares),
            jnp.diag(kind.means),
            jnp.diag(kind.outputs),
            jnp.where(live, ratios, 0.0),
            False,
        )
    if kind not in ("etf", "orthogonal"):
        raise ValueError(
            f"kind is {kind!r}; it must be 'etf', 'orthogonal' or an optimum."
        )
    gram = jnp.eye(classes)
    if kind == "etf":
        gram = gram - 1 / classes
    return Target(gram, gram, gram, ones, kind == "etf")
