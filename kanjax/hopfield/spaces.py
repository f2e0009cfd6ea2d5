"""The association space of a Hopfield layer: queries, keys and values of its heads.

Source: Ramsauer et al. (2020), Hopfield Networks is All You Need, arXiv 2008.02217,
section 4.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.hopfield import keys_values, options
from kanjax.nn import checks as nn_checks

Params = dict[str, Any]


@model.dataclass
class AssociationSpace:
    """Heads' queries of states, keys of stored patterns, and values.

    All three are linear functions of layer-normalized inputs. The heads' results, side
    by side, pass a dense layer.

    Args are those of :class:`kanjax.hopfield.Hopfield` that do not concern updates and
    weights.
    """

    state_features: int
    stored_features: int | None = None
    value_features: int | None = None
    out_features: int | None = None
    head_features: int | None = None
    head_value_features: int | None = None
    heads: int = 1
    state_norm: options.Norm | None = options.Norm()
    stored_norm: options.Norm | None = options.Norm()
    value_norm: options.Norm | None = options.Norm()
    space_norm: options.Norm | None = None
    state_static: bool = False
    stored_static: bool = False
    value_static: bool = False
    connected: bool = False
    use_bias: bool = True
    bias_pattern: bool = False
    zero_pattern: bool = False
    project_output: bool = True

    def __post_init__(self) -> None:
        for name in (
            "state_features",
            "stored_features",
            "value_features",
            "out_features",
            "head_features",
            "head_value_features",
            "heads",
        ):
            if getattr(self, name) is not None:
                nn_checks.check_positive(**{name: getattr(self, name)})
        projected = not self.state_static and not self.stored_static
        if (
            self.head_features is None
            and projected
            and self.state_features % self.heads
        ):
            raise ValueError(
                f"heads={self.heads} does not divide state_features="
                f"{self.state_features}; choose a divisor, or give head_features."
            )
        size = self.sizes
        for name, features in (("state", size.state), ("stored", size.stored)):
            if getattr(self, f"{name}_static") and features != size.head:
                raise ValueError(
                    f"{name}_static needs inputs of head_features={size.head} "
                    f"features, as heads take them; got {features}."
                )
        alike = size.stored == size.value and size.head == size.value_head
        if self.is_connected and not alike:
            raise ValueError(
                "connected values are projected as stored patterns are, so they need "
                f"as many features; got {size.value} beside {size.stored}, and in a "
                f"head {size.value_head} beside {size.head}."
            )

    @property
    def sizes(self) -> options.Sizes:
        """All sizes, with the defaults filled in."""
        state = self.state_features
        stored = self.stored_features or state
        value = self.value_features or state
        head = self.head_features
        if head is None:
            if self.state_static:
                head = state
            elif self.stored_static:
                head = stored
            else:
                head = state // self.heads
        value_head = self.head_value_features or head
        if self.value_static:
            value_head = head if self.connected and not self.stored_static else value
        out = self.out_features or state
        if not self.project_output:
            out = self.heads * value_head
        return options.Sizes(state, stored, value, head, value_head, out)

    @property
    def is_connected(self) -> bool:
        """Whether values are projected as the stored patterns are."""
        return self.connected and not self.stored_static

    def init(self, key: Array) -> Params:
        """Draw the projections, N(0, 0.02^2); biases are 0.

        Those that there are of "state_norm", "stored_norm", "value_norm" and
        "space_norm" ("scale" and "bias"), "query", "key", "value" and "output"
        ("kernel" (in, out) and "bias" (out,)), and "bias_key" and "bias_value" (heads,
        size). Head h has the h-th block of a projection's outputs.
        """
        size, keys = self.sizes, iter(jax.random.split(key, 6))
        params: Params = {
            name: nn.LayerNorm(features).init(key)
            for name, norm, features in self._norms()
            if norm is not None and norm.affine
        }
        params |= {
            name: dense.init(next(keys)) for name, dense in self.projections().items()
        }
        if self.bias_pattern:
            shapes = {"bias_key": size.head, "bias_value": size.value_head}
            for name, features in shapes.items():
                shape = (self.heads, features)
                params[name] = options.INIT_SCALE * jax.random.normal(next(keys), shape)
        return params

    def projections(self) -> dict[str, options.Projection]:
        """Return the dense layers that there are, by the name of their parameters."""
        size, made = self.sizes, {}
        make = functools.partial(options.Projection, use_bias=self.use_bias)
        if not self.state_static:
            made["query"] = make(size.state, self.heads * size.head)
        if not self.stored_static:
            made["key"] = make(size.stored, self.heads * size.head)
        if not self.value_static:
            inside = self.heads * size.head if self.is_connected else size.value
            made["value"] = make(inside, self.heads * size.value_head)
        if self.project_output:
            made["output"] = make(self.heads * size.value_head, size.out)
        return made

    def parameter_axes(self) -> dict[str, Any]:
        """Return what the axes of each parameter run over, for states that are
        stored, too.

        Raises:
            ValueError: if an input is not projected, or the output is not.
        """
        if self.state_static or self.stored_static or self.value_static:
            raise ValueError("units that heads take as they are cannot be permuted.")
        if not self.project_output:
            raise ValueError("without a projection heads have their units in order.")
        axes: dict[str, Any] = {}
        for name, norm, _ in self._norms():
            if norm is not None and norm.affine:
                unit = (None,) if name == "space_norm" else ("in",)
                axes[name] = {"scale": unit, "bias": unit}
        for name in self.projections():
            ways = ("in", None) if name != "output" else (None, "out")
            ways = (None, None) if name == "value" and self.connected else ways
            axes[name] = {"kernel": ways} | (
                {"bias": ways[1:]} if self.use_bias else {}
            )
        if self.bias_pattern:
            axes |= {"bias_key": (None, None), "bias_value": (None, None)}
        return axes

    def _norms(self) -> tuple[tuple[str, options.Norm | None, int], ...]:
        size = self.sizes
        return (
            ("state_norm", self.state_norm, size.state),
            ("stored_norm", self.stored_norm, size.stored),
            ("value_norm", self.value_norm, size.value),
            ("space_norm", self.space_norm, size.head),
        )

    def project(
        self,
        params: Params,
        x: Array,
        stored: Array | None,
        values: Array | None,
        bias: Array | None,
        *,
        lazy: bool,
    ) -> tuple[Array, keys_values.Side, keys_values.Side, Array | None]:
        """Return queries, keys and values of each head, and what is added to logits.

        Args:
            params: as :meth:`init` gives them.
            x: (batch, states, state_features).
            stored: (batch, patterns, stored_features); x itself if None.
            values: (batch, patterns, value_features); the stored patterns if None.
            bias: None or (batch, heads, states, patterns), added to the logits.
            lazy: whether keys and values may stay unprojected, where that is less work.

        Returns:
            Queries (batch, heads, states, head_features); keys and values, with the
            projection that they still need; the bias, padded for the patterns that
            the layer adds.
        """
        stored = x if stored is None else stored
        values = stored if values is None else values
        q = self._normalize(params, "state_norm", x)
        if self.state_static:
            q = jnp.broadcast_to(q[:, None], (len(q), self.heads, *q.shape[1:]))
        else:
            q = self._by_head(self.projections()["query"].apply(params["query"], q))
        lazy = lazy and not (self.zero_pattern or self.bias_pattern)
        states = x.shape[1] if lazy else None
        keys, held = self._sides(params, states, stored, values)
        if self.space_norm is not None:
            q = self._normalize(params, "space_norm", q)
            keys = keys_values.Side(
                self._normalize(params, "space_norm", keys.projected()),
            )
        return q, *self._with_extra(params, keys, held), self._padded(bias)

    def _sides(
        self, params: Params, states: int | None, stored: Array, values: Array
    ) -> tuple[keys_values.Side, keys_values.Side]:
        """Keys and values, projected where that is less work for so many states.

        All are projected if states is None.
        """
        keys = self._side(params, "stored_norm", "key", stored)
        if self.is_connected:
            through = self._side(params, "value_norm", "key", values).projected()
            joined = jnp.moveaxis(through, 1, 2).reshape(*values.shape[:2], -1)
            held = keys_values.Side(through)
            if not self.value_static:
                dense = self.projections()["value"]
                held = keys_values.Side(
                    self._by_head(dense.apply(params["value"], joined))
                )
        else:
            held = self._side(params, "value_norm", "value", values)
        if states is not None:
            return (
                keys_values.cheapest(keys, states),
                keys_values.cheapest(held, states),
            )
        return keys_values.Side(keys.projected()), keys_values.Side(held.projected())

    def _side(self, params: Params, norm: str, name: str, y: Array) -> keys_values.Side:
        """Patterns with the projection they need, the scale of the norm within it."""
        if name not in params:
            return keys_values.Side(self._normalize(params, norm, y)[:, None])
        kernel, bias = params[name]["kernel"], params[name].get("bias")
        if norm in params:
            shift = params[norm]["bias"] @ kernel
            bias = shift if bias is None else bias + shift
            kernel = params[norm]["scale"][:, None] * kernel
        kernel = kernel.reshape(kernel.shape[0], self.heads, -1)
        bias = None if bias is None else bias.reshape(self.heads, -1)
        plain = self._normalize({}, norm, y)
        return keys_values.Side(plain[:, None], kernel, bias)

    def _normalize(self, params: Params, name: str, x: Array) -> Array:
        norm: options.Norm | None = getattr(self, name)
        if norm is None:
            return x
        features = x.shape[-1]
        plain = {"scale": jnp.ones(features), "bias": jnp.zeros(features)}
        plain = jax.tree.map(lambda leaf: leaf.astype(x.dtype), plain)
        return nn.LayerNorm(features, norm.eps).apply(params.get(name, plain), x)

    def _with_extra(
        self, params: Params, keys: keys_values.Side, held: keys_values.Side
    ) -> tuple[keys_values.Side, keys_values.Side]:
        """Return the bias pattern and the zero pattern, behind the stored ones."""
        for name in ("bias", "zero"):
            if getattr(self, f"{name}_pattern"):
                made = []
                for side, parameter in ((keys, "bias_key"), (held, "bias_value")):
                    old = side.patterns
                    old = jnp.broadcast_to(
                        old, (old.shape[0], self.heads, *old.shape[2:])
                    )
                    row = jnp.zeros_like(old[:, :, :1])
                    if name == "bias":
                        row = row + params[parameter][None, :, None].astype(old.dtype)
                    made.append(keys_values.Side(jnp.concatenate([old, row], axis=2)))
                keys, held = made
        return keys, held

    def _padded(self, bias: Array | None) -> Array | None:
        extra = int(self.zero_pattern) + int(self.bias_pattern)
        if bias is None or extra == 0:
            return bias
        return jnp.pad(bias, [(0, 0)] * (bias.ndim - 1) + [(0, extra)])

    def _by_head(self, x: Array) -> Float[Array, "batch heads rows size"]:
        split = x.reshape(*x.shape[:2], self.heads, x.shape[2] // self.heads)
        return jnp.moveaxis(split, 2, 1)
