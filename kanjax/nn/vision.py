"""The vision transformer.

Source: Dosovitskiy et al. (2021), An Image is Worth 16x16 Words, arXiv 2010.11929.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks
from kanjax.nn.activation import Activation
from kanjax.nn.attention import Attention
from kanjax.nn.dense import Dense
from kanjax.nn.dropout import Dropout, DropPath
from kanjax.nn.norm import LayerNorm
from kanjax.nn.patches import PatchEmbedding, check_divides
from kanjax.nn.transformer import TransformerBlock

Params = dict[str, Any]

SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
"""Features, depth and heads of the vision transformers of one name."""

_STD = 0.02


@model.dataclass
class VisionTransformer:
    """Classes of images by attention among their patches and a class token.

    Patches become tokens, a trained position is added to each, blocks follow, and a
    dense layer reads the normalised class token.

    Args:
        image_size: (height, width) in pixels.
        patch_size: the edge of a patch, which divides both.
        channels: number of channels of the images.
        classes: number of outputs.
        features: number of features of a token.
        depth: number of blocks.
        heads: number of attention's heads; divides features.
        mlp: the network on each token, the same description in all blocks; None is a
            dense layer to ``4 features``, GELU, and a dense layer back, with
            ``dropout`` after both.
        dropout: the rate after adding positions and in the standard mlp, given a key.
        drop_path: the rate at which an example skips a branch of the last block, given
            a key; it rises linearly from 0 in the first.
        scale: where the trained scales of branches begin; None is none.
        initialization: of attention, "lecun" or "mimetic".
        attention: another attention among ``tokens + 1`` tokens, the same description
            in all blocks; None is :class:`Attention`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = VisionTransformer((8, 8), 2, 1, 10, features=16, depth=2, heads=2)
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((5, 8, 8, 1))).shape
        (5, 10)
    """

    image_size: tuple[int, int]
    patch_size: int
    channels: int
    classes: int
    features: int
    depth: int
    heads: int
    mlp: model.Model | None = model.child(default=None)
    dropout: float = 0.0
    drop_path: float = 0.0
    scale: float | None = None
    initialization: str = "lecun"
    attention: Any = model.child(default=None)

    def __post_init__(self) -> None:
        checks.check_positive(
            patch_size=self.patch_size,
            channels=self.channels,
            classes=self.classes,
            depth=self.depth,
        )
        check_divides(self.patch_size, self.image_size)
        Dropout(self.dropout)
        DropPath(self.drop_path)
        Attention(self.features, self.heads, initialization=self.initialization)

    @property
    def tokens(self) -> int:
        """The number of patches."""
        height, width = self.image_size
        return (height // self.patch_size) * (width // self.patch_size)

    @property
    def patches(self) -> PatchEmbedding:
        """What makes the tokens."""
        return PatchEmbedding(self.patch_size, self.channels, self.features)

    @property
    def blocks(self) -> tuple[TransformerBlock, ...]:
        """The blocks, first to last."""
        attention = self.attention
        if attention is None:
            attention = Attention(
                self.features, self.heads, initialization=self.initialization
            )
        mlp = self.token_mlp if self.mlp is None else self.mlp
        rates = [self.drop_path * i / max(1, self.depth - 1) for i in range(self.depth)]
        return tuple(
            TransformerBlock(attention, mlp, self.scale, rate) for rate in rates
        )

    @property
    def token_mlp(self) -> model.Sequential:
        """The standard network on each token."""
        hidden, dropped = 4 * self.features, Dropout(self.dropout)
        return model.Sequential(
            (
                Dense(self.features, hidden),
                Activation(jax.nn.gelu),
                dropped,
                Dense(hidden, self.features),
                dropped,
            )
        )

    @property
    def norm(self) -> LayerNorm:
        """The last normalisation."""
        return LayerNorm(self.features)

    @property
    def head(self) -> Dense:
        """What reads the class token."""
        return Dense(self.features, self.classes)

    def init(self, key: Array) -> Params:
        """Draw "patches", "class_token", "positions", "blocks", "norm" and "head".

        "class_token" (features,) and "positions" (tokens + 1, features), the class
        token's first, have a standard deviation of 0.02.
        """
        keys = jax.random.split(key, 4 + self.depth)
        shape = (self.tokens + 1, self.features)
        return {
            "patches": self.patches.init(keys[0]),
            "class_token": _STD * jax.random.normal(keys[1], shape[1:]),
            "positions": _STD * jax.random.normal(keys[2], shape),
            "blocks": tuple(
                block.init(k) for block, k in zip(self.blocks, keys[4:], strict=True)
            ),
            "norm": self.norm.init(key),
            "head": self.head.init(keys[3]),
        }

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch classes"]:
        """Return the outputs for images x (..., height, width, channels).

        Raises:
            ValueError: for images of another size.
        """
        number = self.depth + 1
        keys = [None] * number if key is None else list(jax.random.split(key, number))
        y = self.embed(params, x, key=keys[0])
        for block, p, k in zip(self.blocks, params["blocks"], keys[1:], strict=True):
            y = block.apply(p, y, key=k)
        return self.read(params, y)

    def embed(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch tokens features"]:
        """Return what the first block takes of images x, the class token first.

        Raises:
            ValueError: for images of another size.
        """
        expected = (*self.image_size, self.channels)
        if jnp.shape(x)[-3:] != expected:
            shown = ", ".join(map(str, expected))
            raise ValueError(f"x must have shape (..., {shown}); got {jnp.shape(x)}.")
        y = self.patches.apply(params["patches"], x)
        first = jnp.broadcast_to(params["class_token"], (*y.shape[:-2], 1, y.shape[-1]))
        y = jnp.concatenate([first.astype(y.dtype), y], axis=-2)
        y = y + jnp.broadcast_to(params["positions"], y.shape)
        return Dropout(self.dropout).apply((), y, key=key)

    def read(self, params: Params, y: Array) -> Float[Array, "*batch classes"]:
        """Return the outputs for the last block's tokens y (..., tokens, features)."""
        token = self.norm.apply(params["norm"], y[..., 0, :])
        return self.head.apply(params["head"], token)


def vision_transformer(
    size: str,
    *,
    classes: int = 1000,
    image_size: tuple[int, int] = (224, 224),
    patch_size: int = 16,
    channels: int = 3,
    **options: Any,
) -> VisionTransformer:
    """Return the vision transformer of a published size.

    Args:
        size: "tiny", "small" or "base": 5.7, 22.1 and 86.6 million parameters for 1,000
            classes.
        classes: the number of outputs.
        image_size: (height, width) in pixels.
        patch_size: the side of a square patch, in pixels.
        channels: of an image.
        **options: its other arguments: ``mlp``, ``dropout``, ``drop_path``,
            ``scale``, ``initialization`` and ``attention``.

    Raises:
        ValueError: for another name.
    """
    if size not in SIZES:
        raise ValueError(f"size must be one of {tuple(SIZES)}; got {size!r}.")
    features, depth, heads = SIZES[size]
    return VisionTransformer(
        image_size, patch_size, channels, classes, features, depth, heads, **options
    )
