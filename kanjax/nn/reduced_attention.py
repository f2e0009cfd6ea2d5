"""Attention of all pixels to means of them.

Source: Manzari et al. (2025), MedViTV2, arXiv 2502.13693, after the spatial reduction
of Wang et al. (2021), Pyramid Vision Transformer, arXiv 2102.12122.
"""

import dataclasses
from typing import Any

from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks
from kanjax.nn.attention import Attention
from kanjax.nn.batch_norm import fold_batch_norm


@model.dataclass
class ReducedAttention:
    """Attention of all pixels to means of consecutive ones.

    Keys and values come from means of ``reduction**2`` pixels that follow each other
    row by row (they are no square); pixels left over at the end are not seen.

    Args:
        features: of a pixel; heads divide it.
        heads: number of heads.
        reduction: 1 for all pixels as they are.
        norm: what normalises the means, such as :class:`kanjax.nn.BatchNorm`.
    """

    features: int
    heads: int
    reduction: int = 1
    norm: model.Model = model.child(default=model.Sequential(()))

    def __post_init__(self) -> None:
        checks.check_positive(reduction=self.reduction)
        Attention(self.features, self.heads)

    @property
    def attention(self) -> Attention:
        """The attention of pixels to means."""
        return Attention(self.features, self.heads)

    def init(self, key: Array) -> dict[str, Any]:
        """Draw "attention" and "norm"."""
        return {"attention": self.attention.init(key), "norm": self.norm.init(key)}

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> Any:
        """Give the state of the norm."""
        return model.initial_state(self.norm, batch_shape)

    def apply(
        self,
        params: dict[str, Any],
        x: Float[Array, "*batch height width features"],
        *,
        state: Any = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Return y of the shape of x; with a state, ``(y, new state)``.

        Raises:
            ValueError: if there are fewer pixels than a mean takes.
        """
        pixels, every = x.shape[-3] * x.shape[-2], self.reduction**2
        if pixels < every:
            raise ValueError(
                f"reduction={self.reduction} takes means of {every} pixels, and the "
                f"image has {pixels}: take larger images or a smaller reduction."
            )
        tokens = x.reshape(*x.shape[:-3], pixels, self.features)
        means = tokens[..., : pixels // every * every, :]
        means = means.reshape(*means.shape[:-2], -1, every, self.features).mean(axis=-2)
        if state is None:
            means = self.norm.apply(params["norm"], means)
        else:
            means, state = model.apply(
                self.norm, params["norm"], means, state=state, train=train
            )
        y = self.attention.apply(params["attention"], tokens, context=means)
        y = y.reshape(x.shape)
        return y if state is None else (y, state)


@fold_batch_norm.register
def _(layer: ReducedAttention, params: Any, state: Any) -> tuple[model.Model, Any]:
    norm, norm_params = fold_batch_norm(layer.norm, params["norm"], state)
    return dataclasses.replace(layer, norm=norm), params | {"norm": norm_params}
