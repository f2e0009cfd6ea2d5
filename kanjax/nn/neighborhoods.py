"""Attention of every pixel to the pixels around it, near or spread out.

Sources: Hassani, Walton, Li, Li, Shi (2023), Neighborhood Attention Transformer, arXiv
2204.07143; Hassani, Shi (2022), Dilated Neighborhood Attention Transformer, arXiv
2209.15001.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, dense


def neighborhood_indices(length: int, kernel: int, dilation: int = 1) -> np.ndarray:
    """Return which points of a line each point attends to.

    They are the ``kernel`` points nearest to it among those whose distance is a
    multiple of the dilation; at the ends the window is shifted inwards, so that there
    are always as many.

    Args:
        length: number of points.
        kernel: how many each attends to, odd.
        dilation: the distance of those, which divides the length; ``kernel * dilation``
            is at most the length.

    Returns:
        (length, kernel), increasing in each row.

    Raises:
        ValueError: if the kernel is even, the dilation does not divide the length, or
            the window does not fit.

    Examples:
        >>> neighborhood_indices(10, 3, 2)[np.array([0, 5, 9])]
        array([[0, 2, 4],
               [3, 5, 7],
               [5, 7, 9]])
    """
    _check_window(kernel, dilation, length)
    # Points of one residue form a line of their own, without a dilation.
    place, residue = np.divmod(np.arange(length), dilation)
    first = _first_places(length // dilation, kernel)[place]
    return residue[:, None] + dilation * (first[:, None] + np.arange(kernel))


def neighborhood_attention(
    query: Float[Array, "*batch height width heads size"],
    key: Float[Array, "*batch height width heads size"],
    value: Float[Array, "*batch height width heads size"],
    bias: Float[Array, "heads rows columns"] | None = None,
    *,
    kernel: int,
    dilation: int = 1,
) -> Float[Array, "*batch height width heads size"]:
    """Attend to the ``kernel x kernel`` pixels around each one, in each head.

    The neighbors of all pixels are never held at once: one offset in the window after
    the other, a shifted image of keys gives one score to each pixel, and a shifted
    image of values adds to each pixel's output. Forward and backward, memory is that of
    the ``kernel**2`` scores of a pixel and head.

    Args:
        query: (..., height, width, heads, size).
        key: of the same shape.
        value: of the same shape.
        bias: (heads, 2 kernel - 1, 2 kernel - 1), added to scores by how far the
            neighbor lies, in units of the dilation, ``kernel - 1`` for none.
        kernel: the window's extent, odd.
        dilation: the distance of neighbors in the window, which divides both edges.

    Raises:
        ValueError: if the dilation does not divide an edge, or the window does not fit.
    """
    for edge in query.shape[-4:-2]:
        _check_window(kernel, dilation, edge)
    query, key, value = (_split(image, dilation) for image in (query, key, value))
    height, width = query.shape[-4:-2]
    query = query / math.sqrt(query.shape[-1])
    offsets = jnp.asarray(np.divmod(np.arange(kernel**2), kernel)).T

    # What a step reads is read again in the backward pass, not kept for each offset.
    @jax.checkpoint
    def score(offset: Array) -> Array:
        return jnp.sum(query * _shift(key, offset, kernel), axis=-1)

    scores = jax.lax.map(score, offsets)
    if bias is not None:
        down, along = (
            _first_places(n, kernel) - np.arange(n) + kernel - 1
            for n in (height, width)
        )
        y, x = offsets[:, :1] + down[None], offsets[:, 1:] + along[None]
        table = jnp.moveaxis(bias[:, y[:, :, None], x[:, None]], 0, -1)
        batch = (1,) * (query.ndim - 4)
        scores = scores + table.reshape(kernel**2, *batch, *table.shape[1:])
    weights = jax.nn.softmax(scores, axis=0)

    @jax.checkpoint
    def add(total: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        weight, offset = step
        return total + weight[..., None] * _shift(value, offset, kernel), None

    total = jax.lax.scan(add, jnp.zeros_like(value), (weights, offsets))[0]
    return _interleave(total, dilation)


def _shift(image: Array, offset: Array, kernel: int) -> Array:
    """Return the neighbor of every pixel at one offset into its window.

    Windows begin at the pixels ``first, first + 1, ...`` inside, and stay where they
    are within half a kernel of the edges: a slice whose edges are repeated. Unlike
    indices, it has a transpose that is as quick.
    """
    half = kernel // 2
    height, width = image.shape[-4:-2]
    rows = jax.lax.dynamic_slice_in_dim(image, offset[0], height - 2 * half, axis=-4)
    rows = jax.lax.dynamic_slice_in_dim(rows, offset[1], width - 2 * half, axis=-3)
    edges = [(0, 0)] * (image.ndim - 4) + [(half, half)] * 2 + [(0, 0)] * 2
    return jnp.pad(rows, edges, "edge")


def _split(image: Array, dilation: int) -> Array:
    """Return the images of one residue each, (dilation, dilation, ..., h, w, *rest)."""
    if dilation == 1:
        return image
    *batch, height, width, heads, size = image.shape
    n = len(batch)
    image = image.reshape(
        *batch, height // dilation, dilation, width // dilation, dilation, heads, size
    )
    return jnp.moveaxis(image, (n + 1, n + 3), (0, 1))


def _interleave(images: Array, dilation: int) -> Array:
    """Undo :func:`_split`."""
    if dilation == 1:
        return images
    n = images.ndim - 6
    *batch, height, width, heads, size = images.shape[2:]
    image = jnp.moveaxis(images, (0, 1), (n + 1, n + 3))
    return image.reshape(*batch, height * dilation, width * dilation, heads, size)


def _first_places(length: int, kernel: int) -> np.ndarray:
    """Return where the window of each point begins."""
    return np.clip(np.arange(length) - kernel // 2, 0, length - kernel)


@model.dataclass
class NeighborhoodAttention:
    """Multi-head attention of every pixel to a window around it.

    At the edges the window is shifted, not padded: every pixel sees ``kernel**2``
    others, itself among them. With a dilation it sees pixels that far apart. Two layers
    with kernel k and dilations 1 and d see ``1 + (k - 1) (1 + d)`` pixels along an
    axis.

    Args:
        features: number of features of a pixel; heads divide it.
        heads: number of heads.
        kernel: the window's extent, odd.
        dilation: the distance of neighbors, which divides both edges of an image;
            ``kernel * dilation`` fits into them.
        use_relative_bias: whether scores have a trained bias by relative place.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = NeighborhoodAttention(8, 2, kernel=3, dilation=2)
        >>> params = layer.init(jax.random.key(0))
        >>> layer.apply(params, jnp.ones((5, 12, 6, 8))).shape
        (5, 12, 6, 8)
    """

    features: int
    heads: int
    kernel: int = 7
    dilation: int = 1
    use_relative_bias: bool = True

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features, heads=self.heads)
        _check_window(self.kernel, self.dilation)
        if self.features % self.heads:
            raise ValueError(
                f"heads={self.heads} does not divide features={self.features}; choose "
                "a divisor."
            )

    @property
    def projection(self) -> dense.Dense:
        """The model of each of the four dense layers."""
        return dense.Dense(self.features, self.features)

    def init(self, key: Array) -> dict[str, Any]:
        """Draw "query", "key", "value" and "output", dense layers each.

        With relative biases "bias" (heads, 2 kernel - 1, 2 kernel - 1), zeros.
        """
        names = ("query", "key", "value", "output")
        keys = jax.random.split(key, 4)
        params: dict[str, Any] = {
            n: self.projection.init(k) for n, k in zip(names, keys, strict=True)
        }
        if self.use_relative_bias:
            extent = 2 * self.kernel - 1
            params["bias"] = jnp.zeros((self.heads, extent, extent))
        return params

    def apply(
        self, params: dict[str, Any], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch height width features"]:
        """Return the layer's outputs for x (..., height, width, features).

        Raises:
            ValueError: if x has too few axes, other features, or is smaller than the
                window.
        """
        checks.check_last_axis(x, self.features)
        if jnp.ndim(x) < 3:
            raise ValueError(
                f"x must have shape (..., height, width, {self.features}); got "
                f"{jnp.shape(x)}."
            )
        heads = (*x.shape[:-1], self.heads, self.features // self.heads)
        query, of_key, value = (
            self.projection.apply(params[name], x).reshape(heads)
            for name in ("query", "key", "value")
        )
        y = neighborhood_attention(
            query,
            of_key,
            value,
            params.get("bias"),
            kernel=self.kernel,
            dilation=self.dilation,
        )
        return self.projection.apply(params["output"], y.reshape(x.shape))


def _check_window(kernel: int, dilation: int, length: int | None = None) -> None:
    checks.check_positive(kernel=kernel, dilation=dilation)
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, so that it has a middle; got {kernel}.")
    if length is None:
        return
    if kernel * dilation > length:
        raise ValueError(
            f"a kernel of {kernel} with dilation {dilation} needs {kernel * dilation} "
            f"points at least; there are {length}. Take a smaller kernel or dilation."
        )
    if length % dilation:
        raise ValueError(
            f"dilation={dilation} does not divide the {length} pixels of an edge. "
            "Choose a divisor, or resize the image."
        )
