"""Pooling over windows of positions or over all of them, and flattening.

Channels are last; a layer says how many spatial axes stand before them, and whatever
axes come first are the batch.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating
from kanjax.nn import checks, conv

_PADDINGS = ("VALID", "SAME")


@model.dataclass
class Pool:
    """The mean, or the sum, of each channel over windows of positions.

    Args:
        window: the window's extent in each of the spatial axes.
        strides: steps between windows, one number or one for each spatial axis; None is
            the window itself, so that windows do not overlap.
        padding: "VALID" (windows inside the image only) or "SAME" (zeros around it).
        total: the sum in place of the mean.
        count_padding: whether the mean of a window over the edge counts its zeros.

    Examples:
        >>> import jax.numpy as jnp
        >>> Pool((2, 2)).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 4, 4, 3)
    """

    window: tuple[int, ...]
    strides: int | tuple[int, ...] | None = None
    padding: str = "VALID"
    total: bool = False
    count_padding: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.window, tuple) or not self.window:
            raise ValueError(
                f"window must be a tuple of integers, such as (2, 2); got "
                f"{self.window!r}."
            )
        checks.check_positive(**{f"window[{i}]": n for i, n in enumerate(self.window)})
        if len(self.steps) != len(self.window):
            raise ValueError(
                f"strides={self.strides} must have one entry for each of the "
                f"{len(self.window)} axes of window={self.window}."
            )
        checks.check_positive(**{f"strides[{i}]": n for i, n in enumerate(self.steps)})
        if self.padding not in _PADDINGS:
            raise ValueError(
                f"padding must be one of {_PADDINGS}; got {self.padding!r}."
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """The strides, one for each spatial axis."""
        if self.strides is None:
            return self.window
        if isinstance(self.strides, tuple):
            return self.strides
        return (self.strides,) * len(self.window)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Pool x (..., *spatial, channels)."""
        spatial = len(self.window)
        check_spatial(x, spatial)
        x = as_floating(x)
        sums = _window_sum(self, x)
        if self.total:
            return sums
        if self.count_padding or self.padding == "VALID":
            return sums / math.prod(self.window)
        ones = jnp.ones((*x.shape[-spatial - 1 : -1], 1), x.dtype)
        return sums / jnp.broadcast_to(_window_sum(self, ones), sums.shape)

    def mask_after(self, mask: Array) -> Array:
        """Return where windows have something at their centers."""
        return conv.mask_of_centers(mask, self.window, self.steps, self.padding)

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()


@model.dataclass
class GlobalPool:
    """The mean, or the sum, of each channel over all positions.

    Args:
        spatial: the number of spatial axes.
        total: the sum in place of the mean.

    Examples:
        >>> import jax.numpy as jnp
        >>> GlobalPool(2).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 3)
    """

    spatial: int
    total: bool = False

    def __post_init__(self) -> None:
        checks.check_positive(spatial=self.spatial)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Pool x (..., *spatial, channels) to (..., channels)."""
        check_spatial(x, self.spatial)
        x = as_floating(x)
        axes = tuple(range(-self.spatial - 1, -1))
        return jnp.sum(x, axes) if self.total else jnp.mean(x, axes)

    def apply_masked(
        self, params: tuple[()], x: Array, mask: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Pool unmasked positions alone, of x that is 0 elsewhere."""
        check_spatial(x, self.spatial)
        total = jnp.sum(x, tuple(range(-self.spatial - 1, -1)))
        if self.total:
            return total
        # Of an example with nothing in it the sum is 0, and so the mean.
        count = jnp.sum(mask, tuple(range(-self.spatial, 0)))
        return total / jnp.maximum(count, 1).astype(x.dtype)[..., None]

    def mask_after(self, mask: Array) -> None:
        """No positions are left."""

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()


@model.dataclass
class Flatten:
    """All positions and channels of an example on one axis.

    Args:
        spatial: the number of spatial axes.

    Examples:
        >>> import jax.numpy as jnp
        >>> Flatten(2).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 192)
    """

    spatial: int

    def __post_init__(self) -> None:
        checks.check_positive(spatial=self.spatial)

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch features"]:
        """x (..., *spatial, channels) to (..., features), channels running fastest."""
        check_spatial(x, self.spatial)
        return x.reshape(*x.shape[: -self.spatial - 1], -1)

    def mask_after(self, mask: Array) -> None:
        """No positions are left."""


def check_spatial(x: Array, spatial: int) -> None:
    """Raise ``ValueError`` if x has no room for that many spatial axes."""
    if jnp.ndim(x) < spatial + 1:
        axes = ", ".join(f"n{i + 1}" for i in range(spatial))
        raise ValueError(
            f"x must have shape (..., {axes}, channels); got {jnp.shape(x)}."
        )


def _window_sum(pool: Pool, x: Array) -> Array:
    batch = jnp.ndim(x) - len(pool.window) - 1
    extend = functools.partial(_around, batch)
    return jax.lax.reduce_window(
        x,
        np.zeros((), x.dtype),
        jax.lax.add,
        extend(pool.window),
        extend(pool.steps),
        pool.padding,
    )


def _around(batch: int, values: tuple[int, ...]) -> tuple[int, ...]:
    """One for the axes of the batch and of the channels."""
    return (1,) * batch + values + (1,)
