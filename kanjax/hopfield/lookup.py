"""Pooling with trained states, and look-up in trained patterns.

Source: Ramsauer et al. (2020), Hopfield Networks is All You Need, arXiv 2008.02217,
section 4: the layers HopfieldPooling and HopfieldLayer.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.hopfield import layers, options
from kanjax.nn import checks as nn_checks

Params = dict[str, Any]


@model.dataclass
class HopfieldPooling:
    """A set of patterns summarised: what trained states retrieve from it.

    Args:
        association: the Hopfield layer that the states and the set go through.
        quantity: the number of trained states.
        state: (quantity, state_features), states that are not trained, in their place.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> pool = HopfieldPooling(layers.Hopfield(16, heads=2), quantity=3)
        >>> params = pool.init(jax.random.key(0))
        >>> bags, present = jnp.ones((4, 30, 16)), jnp.ones((4, 30), bool)
        >>> pool.apply(params, bags, present=present).shape
        (4, 48)
    """

    association: layers.Hopfield = model.child()
    quantity: int = 1
    state: Array | None = model.child(default=None)

    def __post_init__(self) -> None:
        nn_checks.check_positive(quantity=self.quantity)

    def init(self, key: Array) -> Params:
        """Draw "association" and, if trained, "state" (quantity, state_features)."""
        keys = jax.random.split(key)
        params: Params = {"association": self.association.init(keys[0])}
        if self.state is None:
            features = self.association.sizes.state
            params["state"] = _small(keys[1], self.quantity, features)
        return params

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        values: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "*batch quantity_out"]:
        """Return what the states retrieve from x (..., patterns, features), side by
        side.

        Args:
            params: as :meth:`init` gives them.
            x: (..., patterns, stored_features).
            key: of the dropout; none of it if None.
            values: (..., patterns, value_features); x if None.
            present: (..., patterns), True where there is a pattern and not padding. An
                empty set gives the output's bias.
            mask: as for :meth:`Hopfield.apply`, with the trained states.

        Raises:
            ValueError: for shapes that do not fit.
        """
        y = self.association.apply(
            params["association"],
            self._states(params, x),
            key=key,
            stored=x,
            values=values,
            present=present,
            mask=mask,
        )
        return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])

    def attention(
        self, params: Params, x: Array, **options: Any
    ) -> Float[Array, "*batch heads quantity patterns"]:
        """Return the weight of each pattern for each state; options as for
        :meth:`apply`.
        """
        states = self._states(params, x)
        inside = params["association"]
        return self.association.association(inside, states, stored=x, **options).weights

    def _states(self, params: Params, x: Array) -> Array:
        state = params["state"] if self.state is None else self.state
        if jnp.ndim(x) < 2:
            raise ValueError(
                f"x must have shape (..., patterns, features); got {jnp.shape(x)}."
            )
        return jnp.broadcast_to(state, (*x.shape[:-2], *state.shape)).astype(
            jnp.result_type(state, x)
        )


@model.dataclass
class HopfieldLayer:
    """Look-up in trained patterns: what each input retrieves from them.

    The patterns are also what is retrieved, unless targets are trained beside them.
    With training examples in the place of the patterns and their labels in that of the
    targets, see :meth:`store`, it starts as a kernel classifier.

    Args:
        association: the Hopfield layer that inputs and patterns go through.
        quantity: the number of patterns.
        targets: whether there are targets beside the patterns
            (``lookup_weights_as_separated``).
        fixed_patterns: (quantity, stored_features), patterns that are not trained.
        fixed_targets: (quantity, value_features), targets that are not trained.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = HopfieldLayer(layers.Hopfield(16), quantity=100)
        >>> params = layer.init(jax.random.key(0))
        >>> layer.apply(params, jnp.ones((5, 16))).shape
        (5, 16)
    """

    association: layers.Hopfield = model.child()
    quantity: int = 1
    targets: bool = False
    fixed_patterns: Array | None = model.child(default=None)
    fixed_targets: Array | None = model.child(default=None)

    def __post_init__(self) -> None:
        nn_checks.check_positive(quantity=self.quantity)
        size = self.association.sizes
        alone = not self.targets and self.fixed_targets is None
        if alone and size.stored != size.value:
            raise ValueError(
                "patterns that are their own values need value_features="
                f"{size.stored}, the stored_features; got {size.value}. Use "
                "targets=True for values beside them."
            )

    def init(self, key: Array) -> Params:
        """Draw "association" and, if trained, "patterns" and "targets"."""
        keys = jax.random.split(key, 3)
        params: Params = {"association": self.association.init(keys[0])}
        size = self.association.sizes
        if self.fixed_patterns is None:
            params["patterns"] = _small(keys[1], self.quantity, size.stored)
        if self.targets and self.fixed_targets is None:
            params["targets"] = _small(keys[2], self.quantity, size.value)
        return params

    def store(self, params: Params, patterns: Array, targets: Any = None) -> Params:
        """Return the parameters with these patterns, and targets, in the trained
        ones' place.

        Args:
            params: as :meth:`init` gives them.
            patterns: (quantity, stored_features), such as training examples.
            targets: (quantity, value_features), such as their one-hot labels.

        Raises:
            ValueError: for another shape, or where nothing is trained.
        """
        new = dict(params)
        for name, array in (("patterns", patterns), ("targets", targets)):
            if array is None:
                continue
            if name not in params:
                raise ValueError(f"the layer has no trained {name} to set.")
            array = jnp.asarray(array, params[name].dtype)
            if array.shape != params[name].shape:
                raise ValueError(
                    f"{name} must have shape {params[name].shape}; got {array.shape}."
                )
            new[name] = array
        return new

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "*batch out"]:
        """Return what inputs retrieve.

        Args:
            params: as :meth:`init` gives them.
            x: (..., state_features); each is looked up by itself.
            key: of the dropout; none of it if None.
            present: (quantity,), False for patterns to leave out.
            mask: (..., quantity), True where an input may look at a pattern; or
                floating, and added to the logits.

        Raises:
            ValueError: for shapes that do not fit.
        """
        y = self.association.apply(
            params["association"],
            **self._memory(params, x, mask),
            present=present,
            key=key,
        )
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def attention(
        self, params: Params, x: Array, *, mask: Array | None = None, **options: Any
    ) -> Float[Array, "*batch heads quantity"]:
        """Return the weight of each pattern for each input; options as for
        :meth:`apply`.
        """
        association = self.association.association(
            params["association"], **self._memory(params, x, mask), **options
        )
        weights = jnp.moveaxis(association.weights, 0, 1)
        return weights.reshape(*x.shape[:-1], *weights.shape[1:])

    def parameter_axes(self) -> Params:
        """Return what the axes of each parameter run over: inputs and outputs alone."""
        inside = self.association.parameter_axes()
        for name, axes in inside.items():
            if name not in ("state_norm", "query", "output"):
                inside[name] = jax.tree.map(
                    lambda way: (None,) * len(way),
                    axes,
                    is_leaf=lambda leaf: isinstance(leaf, tuple),
                )
        made: Params = {"association": inside}
        if self.fixed_patterns is None:
            made["patterns"] = (None, None)
        if self.targets and self.fixed_targets is None:
            made["targets"] = (None, None)
        return made

    def _memory(self, params: Params, x: Array, mask: Array | None) -> dict[str, Any]:
        """Return the inputs as the states of one example, and what they look at."""
        nn_checks.check_last_axis(x, self.association.sizes.state)
        states = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        patterns = params.get("patterns", self.fixed_patterns)
        targets = params.get("targets", self.fixed_targets)
        if mask is not None:
            shape = (*x.shape[:-1], self.quantity)
            if mask.shape != shape:
                raise ValueError(f"mask must have shape {shape}; got {mask.shape}.")
            mask = mask.reshape(len(states), self.quantity)
        return {"x": states, "stored": patterns, "values": targets, "mask": mask}


def lookup_network(
    widths: tuple[int, ...], *, patterns: int = 64, heads: int | None = None
) -> model.Sequential:
    """Return a network for tables: dense layers with a look-up after each hidden one.

    Args:
        widths: the number of inputs, of each hidden layer's units, and of outputs.
        patterns: the number of trained patterns of each look-up.
        heads: of each look-up; one for each 8 units if None, where 8 divides them.

    Raises:
        ValueError: for fewer than two widths.
    """
    if len(widths) < 2:
        raise ValueError(
            f"widths must be at least two, inputs first and outputs last; got {widths}."
        )
    parts: list[model.Model] = []
    for inputs, hidden in zip(widths[:-2], widths[1:-1], strict=True):
        number = heads or (hidden // 8 if hidden % 8 == 0 else 1)
        inside = layers.Hopfield(hidden, heads=number)
        parts += [nn.Dense(inputs, hidden), HopfieldLayer(inside, patterns)]
    parts.append(nn.Dense(widths[-2], widths[-1]))
    return model.Sequential(tuple(parts))


def _small(key: Array, *shape: int) -> Array:
    return options.INIT_SCALE * jax.random.normal(key, shape)
