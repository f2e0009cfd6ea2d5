"""Any fixed linear map of positions."""

import re

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.checks import as_floating

_FORM = re.compile(r"([a-z]*),([a-z]*)->([a-z]*)")


@model.dataclass
class Einsum:
    """A fixed linear map of positions, in the letters of ``jnp.einsum``.

    Args:
        subscripts: the axes of positions, of the weights and of the new positions, in
            small letters, such as "hw,kh->kw"; axes of examples, which come first, and
            of channels, which are last, have none.
        weights: not trained.

    Examples:
        The rows of an image, the second from the first, each with a weight of its own:

        >>> import jax.numpy as jnp
        >>> weights = jnp.array([[1.0, 1.0, 1.0], [-1.0, -2.0, -3.0]])
        >>> difference = Einsum("hw,hw->w", weights)
        >>> difference.apply((), jnp.ones((5, 2, 3, 4)))[0, :, 0].tolist()
        [0.0, -1.0, -2.0]
    """

    subscripts: str
    weights: Array = model.child()

    def __post_init__(self) -> None:
        match = _FORM.fullmatch(self.subscripts)
        parts = match.groups() if match else ()
        once = all(len(set(letters)) == len(letters) for letters in parts)
        if not parts or not once or not _is_linear(*parts):
            raise ValueError(
                f"subscripts is {self.subscripts!r}; it must be of the form "
                "'hw,kh->kw': small letters, each once in each part, and those of the "
                "weights and of the result in one of the other parts."
            )

    @property
    def letters(self) -> tuple[str, str, str]:
        """Those of the positions, of the weights and of the new positions."""
        before, after = self.subscripts.split("->")
        positions, weights = before.split(",")
        return positions, weights, after

    def init(self, key: Array) -> tuple[()]:
        """No parameters: the empty tuple; the key is not used."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Return the map of x (..., *positions, channels)."""
        before, of_weights, after = self.letters
        self._check(jnp.shape(x))
        x = as_floating(x)
        subscripts = f"...{before}C,{of_weights}->...{after}C"
        return jnp.einsum(subscripts, x, self.weights.astype(x.dtype))

    def mask_after(self, mask: Array) -> Array | None:
        """Return where anything is taken of what is there."""
        before, of_weights, after = self.letters
        if not after:
            return None
        there = mask.astype(int), (self.weights != 0).astype(int)
        return jnp.einsum(f"...{before},{of_weights}->...{after}", *there) > 0

    def _check(self, shape: tuple[int, ...]) -> None:
        before, of_weights, _ = self.letters
        sizes = shape[:-1][len(shape) - 1 - len(before) :]
        known = dict(zip(of_weights, self.weights.shape, strict=False))
        fits = [n == known.get(a, n) for a, n in zip(before, sizes, strict=False)]
        if (
            self.weights.ndim != len(of_weights)
            or len(shape) <= len(before)
            or not all(fits)
        ):
            raise ValueError(
                f"x has shape {shape} and weights {self.weights.shape}, which do not "
                f"fit {self.subscripts!r}: x must be (..., "
                f"{', '.join([*before, 'channels'])}), and one letter has one size."
            )

    def parameter_axes(self) -> tuple[()]:
        """There are no parameters: channels pass in their order."""
        return ()


def _is_linear(positions: str, weights: str, after: str) -> bool:
    return set(weights) <= set(positions + after) and set(after) <= set(
        positions + weights
    )
