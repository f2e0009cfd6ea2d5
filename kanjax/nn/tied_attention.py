"""Self-attention with one matrix for queries and keys, scaled by the head size.

Hron, Bahri, Sohl-Dickstein, Novak 2020, arXiv 2006.10540, section 3.2: in this scaling
attention of infinite width is a fixed function of the tokens' covariance.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks, masked


@model.dataclass
class TiedAttention:
    """``weights(scale K K^T / (in head_features)) V`` in each head, then a dense layer.

    All weights are standard normal, in the NTK parameterization; a token's keys, which
    are its queries as well, are ``x W``, its values ``kernel_scale / sqrt(in) x W``.

    Args:
        features: number of features of a token.
        out_features: number of features of an output.
        heads: number of heads.
        head_features: number of features of a key and of a value.
        scale: of the logits; the product of the standard deviations of queries and
            keys.
        kernel_scale: of the outputs; the product of the standard deviations of values
            and of the output's weights.
        bias_scale: the standard deviation of the output's bias; none if 0.
        weights: what the logits (..., tokens, tokens) of each query, along the last
            axis, become: ``jax.nn.softmax``, or a function of each, such as
            ``jax.nn.relu``, ``jnp.abs`` or ``jax.nn.identity``.
        key_model: a model of the tokens that keys are taken of in their place, such as
            ``model.Residual(Positions(...))``.
        key_features: the number of features of its outputs; that of a token if None.
        spatial: the number of axes of positions, such as 2 for an image, all of whose
            positions are tokens.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> attention = TiedAttention(4, 6, heads=2, head_features=8)
        >>> params = attention.init(jax.random.key(0))
        >>> attention.apply(params, jnp.ones((5, 10, 4))).shape
        (5, 10, 6)
    """

    features: int
    out_features: int
    heads: int = 1
    head_features: int = 64
    scale: float = 1.0
    kernel_scale: float = 1.0
    bias_scale: float = 0.0
    weights: Callable[[Array], Array] = jax.nn.softmax
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
        checks.check_function("weights", self.weights)

    def init(self, key: Array) -> dict[str, model.Params]:
        """Draw "key" and "value" (heads, in, head), "output" and any "bias".

        And "key_model", where there is one.
        """
        keys = jax.random.split(key, 4)
        inner = (self.heads, self.features, self.head_features)
        of_keys = (self.heads, self.key_features or self.features, self.head_features)
        params: dict[str, model.Params] = {
            "key": jax.random.normal(keys[0], of_keys),
            "value": jax.random.normal(keys[1], inner),
            "output": jax.random.normal(
                keys[2], (self.heads, self.head_features, self.out_features)
            ),
        }
        if self.bias_scale > 0:
            params["bias"] = jax.random.normal(keys[3], (self.out_features,))
        if self.key_model is not None:
            params["key_model"] = self.key_model.init(jax.random.fold_in(key, 4))
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
        """Return the outputs where tokens look at those of a mask alone, if any."""
        check_tokens(x, self.features, self.spatial)
        source = source_of_keys(self, params, x, mask, key)
        return self.attend(params, x, source, mask)

    def attend(
        self,
        params: dict[str, model.Params],
        x: Array,
        source: Array,
        mask: Array | None = None,
    ) -> Float[Array, "*batch out"]:
        """Return the outputs, given what keys are taken of and where there are tokens.

        Args:
            params: as :meth:`init` gives them.
            x: (..., *positions, features).
            source: (..., *positions, key_features).
            mask: (..., *positions), True where there is a token to look at; None if
                there is everywhere.
        """
        positions = x.shape[:-1]
        source, x = (as_tokens(values, self.spatial) for values in (source, x))
        if mask is not None:
            mask = mask.reshape(*x.shape[:-2], 1, x.shape[-2])
        keys, values = (
            jnp.einsum("...tc,hcd->...htd", of, params[name])
            for name, of in (("key", source), ("value", x))
        )
        logits = jnp.einsum("...htd,...hsd->...hts", keys, keys)
        logits = logits * (self.scale / (source.shape[-1] * self.head_features))
        seen = jnp.einsum("...hts,...hsd->...htd", self.looks(logits, mask), values)
        return joined(self, params, seen).reshape(*positions, self.out_features)

    def looks(self, logits: Array, mask: Array | None) -> Array:
        """How much each token takes from each, nothing from those that are not there.

        Args:
            logits: (..., tokens, tokens).
            mask: (..., tokens) that broadcasts against a query's logits, or None.
        """
        if mask is None:
            return self.weights(logits)
        there = mask[..., None, :]
        if self.weights is jax.nn.softmax:
            # Finite, so that an example with nothing in it has no NaN.
            logits = jnp.where(there, logits, jnp.finfo(logits.dtype).min)
        return jnp.where(there, self.weights(logits), 0)

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Return what the axes of each parameter run over.

        Raises:
            ValueError: if there is a key_model, whose inputs would have to be permuted
                with the keys.
        """
        if self.key_model is not None:
            raise ValueError(f"the axes of {self!r} are not known with a key_model.")
        axes: dict[str, tuple[str | None, ...]] = {
            "key": (None, "in", None),
            "value": (None, "in", None),
            "output": (None, None, "out"),
        }
        return axes | {"bias": ("out",)} if self.bias_scale > 0 else axes


def source_of_keys(
    layer: Any, params: Any, x: Array, mask: Array | None, key: Array | None
) -> Array:
    """Return what the keys of an attention are taken of: the tokens, or the key
    model's.
    """
    if layer.key_model is None:
        return x
    inner = params["key_model"]
    return masked.propagate(layer.key_model, inner, x, mask, key=key)[0]


def joined(layer: Any, params: Any, seen: Array) -> Float[Array, "*batch tokens out"]:
    """Return the last dense layer, of what (..., heads, tokens, head_features) was
    seen.
    """
    size = math.sqrt(layer.features * layer.heads * layer.head_features)
    y = jnp.einsum("...htd,hdo->...to", seen, params["output"])
    y = y * (layer.kernel_scale / size)
    if "bias" in params:
        y = y + jnp.broadcast_to(layer.bias_scale * params["bias"], y.shape)
    return y


def as_tokens(x: Array, spatial: int) -> Array:
    """All positions on one axis, of x (..., *positions, features)."""
    return x.reshape(*x.shape[: -spatial - 1], -1, x.shape[-1])


def check_tokens(x: Array, features: int, spatial: int) -> None:
    """Raise ``ValueError`` unless x is (..., *positions, features)."""
    if jnp.ndim(x) < spatial + 1 or x.shape[-1] != features:
        axes = ["tokens"] if spatial == 1 else [f"n{i + 1}" for i in range(spatial)]
        raise ValueError(
            f"x must have shape (..., {', '.join(axes)}, {features}); got "
            f"{jnp.shape(x)}."
        )
