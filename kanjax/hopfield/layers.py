"""The Hopfield layer: states retrieve from patterns in a learned association space.

Source: Ramsauer et al. (2020), Hopfield Networks is All You Need, arXiv 2008.02217,
section 4. With no further update it is the attention of Transformers.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from kanjax import model, nn
from kanjax.checks import as_floating
from kanjax.hopfield import checks, keys_values, masks, modern, options, spaces, sparse

MAX_STEPS = 1000
"""The most updates until convergence; :meth:`Hopfield.association` says if enough."""

Params = dict[str, Any]


class Association(NamedTuple):
    """What a layer did inside.

    Attributes:
        weights: (..., heads, states, patterns), of the last retrieval.
        values: (..., heads, patterns, value_features), what was retrieved from.
        steps: (..., heads, states), the updates before it.
        converged: (..., heads, states), with ``updates=None`` whether they sufficed;
            True for a given number of updates.
    """

    weights: Float[Array, "*batch heads states patterns"]
    values: Float[Array, "*batch heads patterns value_features"]
    steps: Int[Array, "*batch heads states"]
    converged: Bool[Array, "*batch heads states"]


@model.dataclass
class Hopfield(spaces.AssociationSpace):
    """``softmax(beta Q K^T) V`` in each head, with more updates of Q if asked for.

    Q, K and V are linear functions of layer-normalised states, stored patterns and
    values; an update replaces Q by ``softmax(beta Q K^T) K``. The heads' results, side
    by side, pass a dense layer.

    Args:
        state_features: of a state (``input_size`` in the authors' package).
        stored_features: of a stored pattern; those of a state if None.
        value_features: of a value before its projection; those of a state if None.
        out_features: of the output; those of a state if None.
        head_features: of the association space of a head (``hidden_size``); the
            states' share of a head if None.
        head_value_features: of a projected value in a head (``pattern_size``);
            ``head_features`` if None.
        heads: the number of heads.
        beta: the inverse temperature (``scaling``), one for all heads or a tuple with
            one for each; ``1 / sqrt(head_features)`` if None, or 1 where nothing is
            projected.
        updates: of the states before the retrieval (``update_steps_max``), for all
            heads or a tuple with a number for each; None updates each state until it
            converges, with gradients by the implicit function theorem.
        tolerance: with ``updates=None``, the largest distance of two states in a row.
        state_norm, stored_norm, value_norm: of the inputs; None for none.
        space_norm: of queries and keys in each head, before the first retrieval.
        state_static, stored_static, value_static: whether an input is taken as it is
            by every head, without a projection.
        connected: whether values are projected as the stored patterns are, and then
            once more (``pattern_projection_as_connected``).
        activation: a function of the output.
        dropout: the probability with which a weight is set to zero, given a key.
        use_bias: whether projections have biases.
        bias_pattern: whether a trained pattern joins the stored ones in each head
            (``concat_bias_pattern``).
        zero_pattern: whether a zero pattern with a zero value does
            (``add_zero_association``).
        project_output: whether there is a dense layer at the end.
        alpha: 1 for softmax, above 1 for sparse weights, see :func:`entmax`.
        implementation: None, or "xla" or "cudnn" for the retrieval to run in
            ``jax.nn.dot_product_attention``; it has no updates, sparse weights or
            dropout, and needs values as wide as keys.
        batch_size: how many patterns are taken at once, forward and backward, so that
            no array of all states by all patterns is needed; all of them if None.
            Without sparse weights and dropout. Patterns that lie spread over a mesh
            need none: under jit each device meets its own.
        examples_at_once: how many examples of the batch are taken at once, forward and
            backward; all of them if None. Few take a fraction of the memory. With
            dropout each example has a key of its own.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = Hopfield(16, heads=2, updates=3)
        >>> params = layer.init(jax.random.key(0))
        >>> states, stored = jnp.ones((4, 5, 16)), jnp.ones((4, 9, 16))
        >>> layer.apply(params, states, stored=stored).shape
        (4, 5, 16)
    """

    beta: float | tuple[float, ...] | None = None
    updates: int | tuple[int, ...] | None = 0
    tolerance: float = 1e-4
    activation: Callable[[Array], Array] | None = None
    dropout: float = 0.0
    alpha: float = 1.0
    implementation: str | None = None
    batch_size: int | None = None
    examples_at_once: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        sparse.check_alpha(self.alpha)
        nn.Dropout(self.dropout)
        for name in ("beta", "updates"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.heads:
                raise ValueError(
                    f"{name} has {len(value)} entries for {self.heads} heads; give one "
                    "a head, or a single one."
                )
        if self.beta is not None:
            checks.check_beta(self.beta)
        if self.updates is not None:
            counts = (
                self.updates if isinstance(self.updates, tuple) else (self.updates,)
            )
            for count in counts:
                checks.check_count("updates", count, 0)
        if not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive; got {self.tolerance!r}.")
        for name in ("examples_at_once", "batch_size"):
            if getattr(self, name) is not None:
                checks.check_count(name, getattr(self, name), 1)
        self._check_implementation()

    def _check_implementation(self) -> None:
        plain = self.alpha == 1 and self.dropout == 0
        if self.batch_size is not None and (self.implementation or not plain):
            raise ValueError(
                "batch_size is for softmax without dropout and without an "
                "implementation; leave it None for others."
            )
        if self.implementation is None:
            return
        if self.implementation not in ("xla", "cudnn"):
            raise ValueError(
                f"implementation must be None, 'xla' or 'cudnn'; got "
                f"{self.implementation!r}."
            )
        alike = self.sizes.head == self.sizes.value_head
        if self.updates != 0 or not plain or not alike:
            raise ValueError(
                "implementation is for one softmax retrieval: updates=0, alpha=1, "
                "dropout=0 and values as wide as keys; leave it None for others."
            )

    @property
    def betas(self) -> tuple[float, ...]:
        """The inverse temperature of each head."""
        if self.beta is None:
            static = self.state_static and self.stored_static and self.value_static
            plain = static and not self.project_output and self.space_norm is None
            return (1.0 if plain else self.sizes.head**-0.5,) * self.heads
        return self.beta if isinstance(self.beta, tuple) else (self.beta,) * self.heads

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        stored: Array | None = None,
        values: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "*batch states out"]:
        """Return what states retrieve.

        Args:
            params: as :meth:`init` gives them.
            x: (..., states, state_features).
            key: of the dropout; none of it if None.
            stored: (..., patterns, stored_features); x itself if None.
            values: (..., patterns, value_features); the stored patterns if None.
            present: (..., patterns), True where there is a pattern and not padding.
            mask: (states, patterns), (..., states, patterns) or (..., heads, states,
                patterns), True where a state may look at a pattern; or floating, and
                added to the logits. A state that may look at nothing retrieves zeros,
                before the output's bias.

        Raises:
            ValueError: for shapes that do not fit.
            TypeError: for a mask or ``present`` of another type.
        """
        inputs, bias = self._given(x, stored, values, present, mask)
        if self.examples_at_once is None:
            heads = self._heads(params, *inputs, bias, key)
        else:
            heads = self._in_turn(params, inputs, bias, key)
        # (batch, heads, states, size) to (..., states, heads * size)
        joined = jnp.moveaxis(heads, 1, 2)
        y = joined.reshape(*x.shape[:-1], joined.shape[2] * joined.shape[3])
        if self.project_output:
            y = self.projections()["output"].apply(params["output"], y)
        return y if self.activation is None else self.activation(y)

    def association(
        self,
        params: Params,
        x: Array,
        *,
        stored: Array | None = None,
        values: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
    ) -> Association:
        """Return the weights, the projected values, and whether the updates converged.

        All weights are made at once, whatever ``batch_size`` is. Arguments and what is
        raised are as for :meth:`apply`.
        """
        inputs, bias = self._given(x, stored, values, present, mask)
        q, keys, held, bias = self._project(params, *inputs, bias)
        q, steps, converged = self._settle(q, keys, bias)
        p = self._weights(q, keys, bias)
        made = held.projected()
        made = jnp.broadcast_to(made, (made.shape[0], self.heads, *made.shape[2:]))
        batch = x.shape[:-2]
        return Association(
            *(array.reshape(*batch, *array.shape[1:]) for array in (p, made)),
            *(array.reshape(*batch, *array.shape[1:]) for array in (steps, converged)),
        )

    def _given(
        self,
        x: Array,
        stored: Array | None,
        values: Array | None,
        present: Array | None,
        mask: Array | None,
    ) -> tuple[tuple[Array, Array | None, Array | None], Array | None]:
        """States, patterns and values (batch, rows, features), and what is added.

        What is not given stays None: it is the one before it.
        """
        x = as_floating(x)
        stored = None if stored is None else as_floating(stored)
        values = None if values is None else as_floating(values)
        met = x if stored is None else stored
        held = met if values is None else values
        options.check_inputs(self.sizes, x, met, held, stores_states=stored is None)
        bias = masks.added(x, met, self.heads, present, mask)

        def flat(a: Array | None) -> Any:
            if a is None:
                return None
            return jnp.reshape(a, (math.prod(a.shape[:-2]), *a.shape[-2:]))

        return (flat(x), flat(stored), flat(values)), bias

    def _heads(
        self,
        params: Params,
        x: Array,
        stored: Array | None,
        values: Array | None,
        bias: Array | None,
        key: Array | None,
    ) -> Float[Array, "batch heads states size"]:
        """Return what the heads retrieve."""
        q, keys, held, bias = self._project(params, x, stored, values, bias)
        q, _, _ = self._settle(q, keys, bias)
        return self._retrieve(q, keys, held, bias, key)

    def _in_turn(
        self,
        params: Params,
        inputs: tuple[Array, Array | None, Array | None],
        bias: Array | None,
        key: Array | None,
    ) -> Float[Array, "batch heads states size"]:
        """Return what the heads retrieve, a few examples at a time."""
        number = len(inputs[0])
        example_bias = bias if bias is not None and len(bias) == number else None
        keys = None if key is None else jax.random.split(key, number)

        # Rematerialised: the backward pass, too, holds a few examples at a time.
        @jax.checkpoint
        def retrieve(example: Any) -> Array:
            *arrays, key = example
            x, stored, values, example_bias = jax.tree.map(lambda a: a[None], arrays)
            added = bias if example_bias is None else example_bias
            return self._heads(params, x, stored, values, added, key)[0]

        return jax.lax.map(
            retrieve, (*inputs, example_bias, keys), batch_size=self.examples_at_once
        )

    def _project(self, params: Params, *inputs: Any) -> Any:
        # Other implementations want plain arrays of keys and values.
        return self.project(params, *inputs, lazy=self.implementation is None)

    def _settle(
        self, q: Array, keys: keys_values.Side, bias: Array | None
    ) -> tuple[Array, Array, Array]:
        """Return the queries after all updates, the number of these, and if they
        converged.
        """

        def image(q: Array) -> Array:
            return self._retrieve(q, keys, keys, bias, None).astype(q.dtype)

        rows = q.shape[:-1]
        if self.updates is None:
            return modern.fixed_point(image, q, self.tolerance, MAX_STEPS)
        each = self.updates
        each = each if isinstance(each, tuple) else (each,) * self.heads
        steps = jnp.broadcast_to(jnp.asarray(each)[None, :, None], rows)
        for done in range(max(each)):
            new = image(q)
            q = new if done < min(each) else jnp.where(steps[..., None] > done, new, q)
        return q, steps, jnp.ones(rows, bool)

    def _weights(self, q: Array, keys: keys_values.Side, bias: Array | None) -> Array:
        logits = keys.logits(self._scaled(q))
        if bias is not None:
            logits = logits + bias.astype(logits.dtype)
        return sparse.entmax(logits, self.alpha)

    def _retrieve(
        self,
        q: Array,
        keys: keys_values.Side,
        held: keys_values.Side,
        bias: Array | None,
        key: Array | None,
    ) -> Float[Array, "batch heads states size"]:
        """Return what queries retrieve, by the way that the layer's options ask for."""
        if self.implementation is not None:
            scaled, way = self._scaled(q), self.implementation
            return keys_values.fused(scaled, keys, held, bias, way)
        if self.batch_size is not None:
            return keys_values.in_batches(
                self._scaled(q), keys, held, bias, self.batch_size
            )
        p = self._weights(q, keys, bias)
        p = nn.Dropout(self.dropout).apply((), p, key=key)
        sums_to_one = bias is None and (key is None or self.dropout == 0)
        return held.mix(p, sums_to_one=sums_to_one)

    def _scaled(self, q: Array) -> Array:
        betas = jnp.asarray(self.betas, q.dtype)[None, :, None, None]
        if all(map(math.isfinite, self.betas)):
            return q * betas
        # Without a temperature only directions matter: logits so far apart that the
        # largest have all the weight.
        length = jnp.sqrt(jnp.sum(jnp.square(q), axis=-1, keepdims=True))
        cold = float(jnp.finfo(q.dtype).max) ** 0.75 / jnp.where(length > 0, length, 1)
        return q * jnp.where(jnp.isinf(betas), jax.lax.stop_gradient(cold), betas)
