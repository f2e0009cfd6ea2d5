"""The block of a transformer: attention among tokens, then a network on each token.

Source: Vaswani et al. (2017), arXiv 1706.03762; in the pre-norm form of Dosovitskiy et
al. (2021), arXiv 2010.11929.
"""

import functools
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn.attention import looks_at
from kanjax.nn.dropout import DropPath
from kanjax.nn.layer_scale import LayerScale
from kanjax.nn.norm import LayerNorm

Params = dict[str, Any]


@model.dataclass
class TransformerBlock:
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``.

    Args:
        attention: among the tokens, an :class:`Attention` or a model that has its
            ``features`` and takes its ``mask``.
        mlp: the network on each token, from its features to as many.
        scale: where a :class:`LayerScale` at the end of both branches begins; None is
            none.
        drop_path: the rate at which an example skips a branch, given a key.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> block = TransformerBlock(nn.Attention(8, heads=2), nn.MLP((8, 32, 8)))
        >>> params = block.init(jax.random.key(0))
        >>> block.apply(params, jnp.ones((5, 10, 8))).shape
        (5, 10, 8)
    """

    attention: Any = model.child()
    mlp: model.Model = model.child()
    scale: float | None = None
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        DropPath(self.drop_path)

    @property
    def norm(self) -> LayerNorm:
        """The normalisation at the beginning of either branch."""
        return LayerNorm(self.attention.features)

    def init(self, key: Array) -> Params:
        """Draw "attention", "mlp", each one's "_norm" and, with a scale, "_scale"."""
        keys = jax.random.split(key, 2)
        params: Params = {
            "attention_norm": self.norm.init(key),
            "attention": self.attention.init(keys[0]),
            "mlp_norm": self.norm.init(key),
            "mlp": self.mlp.init(keys[1]),
        }
        if self.scale is not None:
            scales = LayerScale(self.attention.features, self.scale)
            for name in ("attention_scale", "mlp_scale"):
                params[name] = scales.init(key)
        return params

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        mask: Array | None = None,
        **options: Any,
    ) -> Float[Array, "*batch tokens features"]:
        """Return the tokens x (..., tokens, features), changed; the mask is
        attention's.

        Args:
            params: as :meth:`init` gives them.
            x: (..., tokens, features).
            key: for what is dropped.
            mask: as of :class:`Attention`.
            **options: what else attention takes.
        """
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        attention = functools.partial(self.attention.apply, mask=mask, **options)
        branches = {"attention": attention, "mlp": self.mlp.apply}
        for i, (name, branch) in enumerate(branches.items()):
            y = self.norm.apply(params[f"{name}_norm"], x)
            y = branch(params[name], y, key=keys[2 * i])
            if self.scale is not None:
                scales = LayerScale(self.attention.features, self.scale)
                y = scales.apply(params[f"{name}_scale"], y)
            path = DropPath(self.drop_path)
            x = x + path.apply((), y, key=keys[2 * i + 1])
        return x

    def apply_masked(
        self, params: Params, x: Array, mask: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch tokens features"]:
        """Return the tokens where all look at unmasked ones alone."""
        return self.apply(params, x, key=key, mask=looks_at(mask))
