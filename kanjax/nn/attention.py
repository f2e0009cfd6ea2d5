"""Multi-head attention.

Sources: Vaswani et al. (2017), Attention Is All You Need, arXiv 1706.03762, section
3.2; Trockman and Kolter (2023), Mimetic Initialization of Self-Attention Layers, arXiv
2305.09828.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from kanjax import model
from kanjax.nn import checks, dense

Axes = dict[str, dict[str, tuple[Any, ...]]]

_INPUTS = ("query", "key", "value")


@model.dataclass
class Attention:
    """``softmax(Q K^T / sqrt(head size)) V`` in each head, then a dense layer.

    Q, K and V are dense functions of the tokens; a head takes its share of their
    features. Attention runs in ``jax.nn.dot_product_attention``.

    Args:
        features: number of features of a token, of queries, keys, values and outputs.
        heads: number of heads; divides features.
        causal: whether a token sees only itself and those before it.
        use_bias: whether the four dense layers have biases.
        initialization: of the kernels, "lecun" (each on its own) or "mimetic" (products
            of two near a multiple of the identity, as trained networks have them).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> attention = Attention(32, heads=4, causal=True)
        >>> params = attention.init(jax.random.key(0))
        >>> attention.apply(params, jnp.ones((5, 10, 32))).shape
        (5, 10, 32)
    """

    features: int
    heads: int
    causal: bool = False
    use_bias: bool = True
    initialization: str = "lecun"

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features, heads=self.heads)
        if self.features % self.heads:
            raise ValueError(
                f"heads={self.heads} does not divide features={self.features}; choose "
                "a divisor."
            )
        if self.initialization not in ("lecun", "mimetic"):
            raise ValueError(
                "initialization must be 'lecun' or 'mimetic'; got "
                f"{self.initialization!r}."
            )

    @property
    def projection(self) -> dense.Dense:
        """The model of each of the four dense layers."""
        return dense.Dense(self.features, self.features, self.use_bias)

    def init(self, key: Array) -> dict[str, dict[str, Array]]:
        """Draw the dense layers "query", "key", "value" and "output".

        Each has a "kernel" (features, features) and, if biases are used, a "bias"
        (features,). Head h has the h-th block of ``features / heads`` features.

        Mimetic kernels: ``query_h key_h^T`` is in each head the best approximation, of
        the rank of a head, of ``0.7 Z + 0.7 I``, and ``value output`` is ``0.4 Z - 0.4
        I``, with a new Z of variance ``1 / features`` each time.
        """
        keys = jax.random.split(key, 4)
        names = (*_INPUTS, "output")
        params = {n: self.projection.init(k) for n, k in zip(names, keys, strict=True)}
        if self.initialization == "mimetic":
            for name, kernel in self._mimetic_kernels(key).items():
                params[name]["kernel"] = kernel
        return params

    def _mimetic_kernels(self, key: Array) -> dict[str, Array]:
        size = self.features // self.heads

        def head(key: Array) -> tuple[Array, Array]:
            left, right = _near_identity(key, self.features, 0.7)
            return left[:, :size], right[:size].T

        keys = jax.random.split(key, self.heads + 1)
        query, of_key = (
            jnp.moveaxis(each, 0, 1).reshape(self.features, self.features)
            for each in jax.vmap(head)(keys[1:])
        )
        value, output = _near_identity(keys[0], self.features, 0.4, sign=-1)
        return {"query": query, "key": of_key, "value": value, "output": output}

    def apply(
        self,
        params: dict[str, dict[str, Array]],
        x: Array,
        *,
        key: Array | None = None,
        context: Array | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "*batch tokens features"]:
        """Return the layer's outputs for x (..., tokens, features).

        Args:
            params: as :meth:`init` gives them.
            x: (..., tokens, features), where queries come from.
            key: not used.
            context: (..., others, features), where keys and values come from; None is
                x itself.
            mask: True where a query (last axis but one) may look at a key (last axis),
                for all heads: (tokens, others) or with the leading axes of x. A query
                that may look at nothing gets the mean of all values.

        Raises:
            ValueError: if shapes do not fit, or for a context in causal attention.
            TypeError: if mask is not boolean.
        """
        _check_tokens("x", x, self.features)
        if context is not None:
            self._check_context(context, x)
        source = x if context is None else context
        query, keys, values = (
            self._heads(self.projection.apply(params[name], inputs))
            for name, inputs in zip(_INPUTS, (x, source, source), strict=True)
        )
        attended = jax.nn.dot_product_attention(
            query,
            keys,
            values,
            mask=_per_example(mask, x, source),
            is_causal=self.causal,
        )
        return self.projection.apply(params["output"], attended.reshape(x.shape))

    def apply_masked(
        self,
        params: dict[str, dict[str, Array]],
        x: Array,
        mask: Array,
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch tokens features"]:
        """Return the outputs where tokens look at unmasked ones alone."""
        return self.apply(params, x, key=key, mask=looks_at(mask))

    def _heads(self, x: Array) -> Float[Array, "batch tokens heads head_features"]:
        return x.reshape(
            math.prod(x.shape[:-2]),
            x.shape[-2],
            self.heads,
            self.features // self.heads,
        )

    def _check_context(self, context: Array, x: Array) -> None:
        _check_tokens("context", context, self.features)
        if self.causal:
            raise ValueError(
                "causal attention is among the tokens of x, so it takes no context; "
                "use causal=False, with a mask if needed."
            )
        if context.shape[:-2] != x.shape[:-2]:
            raise ValueError(
                f"context must have the leading axes of x, {x.shape[:-2]}; got "
                f"{context.shape[:-2]}."
            )

    def parameter_axes(self) -> Axes:
        """Return what the axes of each parameter run over; heads are blocks of
        features.
        """
        heads = ("block", self.heads)
        ways: dict[str, tuple[Any, ...]] = {name: ("in", heads) for name in _INPUTS}
        ways["output"] = (heads, "out")
        if not self.use_bias:
            return {name: {"kernel": way} for name, way in ways.items()}
        return {n: {"kernel": way, "bias": way[1:]} for n, way in ways.items()}


def looks_at(mask: Array) -> Bool[Array, "*batch tokens tokens"]:
    """Return which tokens each may look at: those of a mask (..., tokens)."""
    return jnp.broadcast_to(mask[..., None, :], (*mask.shape, mask.shape[-1]))


def _near_identity(
    key: Array, features: int, scale: float, *, sign: int = 1
) -> tuple[Array, Array]:
    """L and R of equal singular values, largest first: ``L R = scale (Z + sign I)``."""
    bound = math.sqrt(3 / features)
    z = jax.random.uniform(key, (features, features), minval=-bound, maxval=bound)
    u, s, vt = jnp.linalg.svd(scale * (z + sign * jnp.eye(features)))
    root = jnp.sqrt(s)
    return u * root[None], root[:, None] * vt


def _per_example(
    mask: Array | None, x: Array, source: Array
) -> Bool[Array, "batch 1 tokens others"] | None:
    if mask is None:
        return None
    if mask.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean; got {mask.dtype}.")
    pairs = (x.shape[-2], source.shape[-2])
    shape = (*x.shape[:-2], *pairs)
    if mask.shape not in (pairs, shape):
        raise ValueError(f"mask must have shape {pairs} or {shape}; got {mask.shape}.")
    return jnp.broadcast_to(mask, shape).reshape(math.prod(x.shape[:-2]), 1, *pairs)


def _check_tokens(name: str, x: Array, features: int) -> None:
    if jnp.ndim(x) < 2 or x.shape[-1] != features:
        raise ValueError(
            f"{name} must have shape (..., tokens, {features}); got {jnp.shape(x)}."
        )
