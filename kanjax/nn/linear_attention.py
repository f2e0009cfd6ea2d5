"""Self-attention without a nonlinearity, scaled by the root of the head size.

Hron, Bahri, Sohl-Dickstein, Novak 2020, arXiv 2006.10540, section 3.1: the one
attention in that scaling whose limit has a closed form.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks
from kanjax.nn.tied_attention import as_tokens, check_tokens, joined, source_of_keys


@model.dataclass
class LinearAttention:
    """``(scale Q K^T / (in sqrt(head_features))) V`` in each head, then a dense layer.

    All weights are standard normal, in the NTK parameterization: queries and keys are
    ``x W``, values ``kernel_scale / sqrt(in) x W``.

    Args:
        features: number of features of a token.
        out_features: number of features of an output.
        heads: number of heads.
        head_features: number of features of a query, a key and a value.
        scale: of the logits.
        kernel_scale: of the outputs.
        bias_scale: the standard deviation of the output's bias; none if 0.
        key_model: a model of the tokens that queries and keys are taken of in their
            place, such as ``model.Residual(Positions(...))``.
        key_features: the number of features of its outputs; that of a token if None.
        spatial: the number of axes of positions, such as 2 for an image, all of whose
            positions are tokens.
    """

    features: int
    out_features: int
    heads: int = 1
    head_features: int = 64
    scale: float = 1.0
    kernel_scale: float = 1.0
    bias_scale: float = 0.0
    key_model: model.Model | None = model.child(default=None)
    key_features: int | None = None
    spatial: int = 1

    def __post_init__(self) -> None:
        checks.check_positive(
            features=self.features,
            out_features=self.out_features,
            heads=self.heads,
            head_features=self.head_features,
            spatial=self.spatial,
        )

    def init(self, key: Array) -> dict[str, model.Params]:
        """Draw "query", "key", "value" (heads, in, head), "output" and the rest."""
        keys = jax.random.split(key, 6)
        size = self.key_features or self.features
        inner = (self.heads, size, self.head_features)
        params: dict[str, model.Params] = {
            "query": jax.random.normal(keys[0], inner),
            "key": jax.random.normal(keys[1], inner),
            "value": jax.random.normal(
                keys[2], (self.heads, self.features, self.head_features)
            ),
            "output": jax.random.normal(
                keys[3], (self.heads, self.head_features, self.out_features)
            ),
        }
        if self.bias_scale > 0:
            params["bias"] = jax.random.normal(keys[4], (self.out_features,))
        if self.key_model is not None:
            params["key_model"] = self.key_model.init(keys[5])
        return params

    def apply(
        self, params: dict[str, model.Params], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., *positions, features)."""
        return self.apply_masked(params, x, None, key=key)

    def apply_masked(
        self,
        params: dict[str, model.Params],
        x: Array,
        mask: Array | None,
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch out"]:
        """Return the outputs, of x that is 0 where a mask, if any, is False."""
        check_tokens(x, self.features, self.spatial)
        return self.attend(params, x, source_of_keys(self, params, x, mask, key))

    def attend(
        self, params: dict[str, model.Params], x: Array, source: Array
    ) -> Float[Array, "*batch out"]:
        """Return the outputs, with queries and keys of (..., *positions, key_features).

        A token of zeros adds nothing to any output.
        """
        positions = x.shape[:-1]
        source, x = (as_tokens(values, self.spatial) for values in (source, x))
        queries, keys, values = (
            jnp.einsum("...tc,hcd->...htd", of, params[name])
            for name, of in (("query", source), ("key", source), ("value", x))
        )
        # Without a nonlinearity keys meet values first.
        memory = jnp.einsum("...hsd,...hse->...hde", keys, values)
        seen = jnp.einsum("...htd,...hde->...hte", queries, memory)
        logits = self.scale / (source.shape[-1] * math.sqrt(self.head_features))
        y = joined(self, params, logits * seen)
        return y.reshape(*positions, self.out_features)
