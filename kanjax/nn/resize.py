"""Images of another size, and parts of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating
from kanjax.nn import checks, pooling

_METHODS = ("nearest", "linear", "cubic", "lanczos3", "lanczos5")


@model.dataclass
class Resize:
    """Values between positions, as ``jax.image.resize`` interpolates them.

    Args:
        shape: the new extent of each spatial axis.
        method: "nearest", "linear", "cubic", "lanczos3" or "lanczos5".
        antialias: whether a smaller image is smoothed first.

    Examples:
        >>> import jax.numpy as jnp
        >>> Resize((4, 4)).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 4, 4, 3)
    """

    shape: tuple[int, ...]
    method: str = "linear"
    antialias: bool = True

    def __post_init__(self) -> None:
        checks.check_positive(**{f"shape[{i}]": n for i, n in enumerate(self.shape)})
        if self.method not in _METHODS:
            raise ValueError(
                f"method must be one of {', '.join(map(repr, _METHODS))}; got "
                f"{self.method!r}."
            )

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """x (..., *spatial, channels) to (..., *shape, channels)."""
        spatial = len(self.shape)
        pooling.check_spatial(x, spatial)
        x = as_floating(x)
        shape = (*x.shape[: -spatial - 1], *self.shape, x.shape[-1])
        return jax.image.resize(x, shape, self.method, antialias=self.antialias)

    def matrix(self, axis: int, size: int) -> Float[Array, "new size"]:
        """Return what one spatial axis of that extent is multiplied with."""
        return jax.image.resize(
            jnp.eye(size),
            (self.shape[axis], size),
            self.method,
            antialias=self.antialias,
        )

    def mask_after(self, mask: Array) -> Array:
        """Return where anything is taken of what is there."""
        share = mask.astype(float)
        for a in range(-len(self.shape), 0):
            matrix = self.matrix(a, mask.shape[a])
            moved = jnp.tensordot(matrix, share, (1, a), precision="highest")
            share = jnp.moveaxis(moved, 0, a)
        return share != 0

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()


@model.dataclass
class Index:
    """Some of the positions.

    Args:
        positions: of each spatial axis an integer, the one position that is left, whose
            axis then goes; or what ``slice`` takes, such as (None, 4) or (0, None, 2).

    Examples:
        >>> import jax.numpy as jnp
        >>> Index((0, (None, None, 2))).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 4, 3)
    """

    positions: tuple[Any, ...]

    def __post_init__(self) -> None:
        for i, position in enumerate(self.positions):
            parts = (
                position
                if isinstance(position, tuple) and 0 < len(position) < 4
                else (position,)
            )
            is_slice = parts is position
            if not all(isinstance(n, int) or (is_slice and n is None) for n in parts):
                raise ValueError(
                    f"positions[{i}] must be an integer or a tuple of up to three for "
                    f"slice, such as (None, 4); got {position!r}."
                )

    @property
    def slices(self) -> tuple[int | slice, ...]:
        """What the spatial axes are indexed with."""
        return tuple(
            slice(*position) if isinstance(position, tuple) else position
            for position in self.positions
        )

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Those of x (..., *spatial, channels)."""
        pooling.check_spatial(x, len(self.positions))
        return x[(..., *self.slices, slice(None))]

    def mask_after(self, mask: Array) -> Array | None:
        """Return that of the positions that are left, None if there are none."""
        left = any(isinstance(index, slice) for index in self.slices)
        return mask[(..., *self.slices)] if left else None

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()
