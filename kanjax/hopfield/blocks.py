"""Transformer blocks with a Hopfield layer in the place of attention.

Source: Ramsauer et al. (2020), arXiv 2008.02217; the blocks normalise after each
residual, as those of Vaswani et al. (2017), arXiv 1706.03762, do.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.hopfield import layers
from kanjax.nn import checks as nn_checks

Params = dict[str, Any]
_EPS = 1e-5


@model.dataclass
class HopfieldEncoderLayer:
    """``norm(y + dense(f(dense(y))))`` with ``y = norm(x + association(x))``.

    Args:
        association: of the states among themselves; its outputs are as wide as them.
        hidden: units of the two dense layers.
        dropout: the probability after the association and in the dense layers, given a
            key.
        activation: f.
    """

    association: layers.Hopfield = model.child()
    hidden: int = 2048
    dropout: float = 0.1
    activation: Callable[[Array], Array] = jax.nn.relu

    def __post_init__(self) -> None:
        _check_block(self.association, self.hidden, self.dropout)

    def init(self, key: Array) -> Params:
        """Draw "association", the norms "norm" and "norm_out", and "dense"."""
        keys = jax.random.split(key)
        features = self.association.sizes.state
        return {
            "association": self.association.init(keys[0]),
            **_init_rest(keys[1], features, self.hidden, ("norm", "norm_out")),
        }

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        key: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
    ) -> Float[Array, "*batch states features"]:
        """Return the block's outputs for x (..., states, features).

        ``present`` and ``mask`` are as for :meth:`Hopfield.apply`.
        """
        keys = _split(key, 2)
        y = _associated(
            self, "association", params, x, keys[0], present=present, mask=mask
        )
        y = _norm(params["norm"], x + y)
        return _feed_forward(self, params, y, keys[1])


@model.dataclass
class HopfieldDecoderLayer:
    """An encoder block with a second association, of the states with a memory.

    Args:
        association: of the states among themselves.
        cross_association: of the states with the memory.
        hidden, dropout, activation: as for :class:`HopfieldEncoderLayer`.
    """

    association: layers.Hopfield = model.child()
    cross_association: layers.Hopfield = model.child()
    hidden: int = 2048
    dropout: float = 0.1
    activation: Callable[[Array], Array] = jax.nn.relu

    def __post_init__(self) -> None:
        _check_block(self.association, self.hidden, self.dropout)
        _check_block(self.cross_association, self.hidden, self.dropout)

    def init(self, key: Array) -> Params:
        """Draw both associations, "norm", "norm_cross", "norm_out" and "dense"."""
        keys = jax.random.split(key, 3)
        features = self.association.sizes.state
        norms = ("norm", "norm_cross", "norm_out")
        return {
            "association": self.association.init(keys[0]),
            "cross_association": self.cross_association.init(keys[1]),
            **_init_rest(keys[2], features, self.hidden, norms),
        }

    def apply(
        self,
        params: Params,
        x: Array,
        *,
        memory: Array,
        key: Array | None = None,
        present: Array | None = None,
        mask: Array | None = None,
        memory_present: Array | None = None,
        memory_mask: Array | None = None,
    ) -> Float[Array, "*batch states features"]:
        """Return the block's outputs for x (..., states, features).

        Args:
            params: as :meth:`init` gives them.
            x: (..., states, features).
            memory: (..., patterns, stored_features), such as an encoder's outputs.
            key: of the dropout; none of it if None.
            present: which states are there, see :meth:`Hopfield.apply`.
            mask: which states each state may look at, see there.
            memory_present: which patterns of the memory are there.
            memory_mask: which patterns of the memory each state may look at.
        """
        keys = _split(key, 3)
        y = _associated(
            self, "association", params, x, keys[0], present=present, mask=mask
        )
        x = _norm(params["norm"], x + y)
        y = _associated(
            self,
            "cross_association",
            params,
            x,
            keys[1],
            stored=memory,
            present=memory_present,
            mask=memory_mask,
        )
        x = _norm(params["norm_cross"], x + y)
        return _feed_forward(self, params, x, keys[2])


Block = HopfieldEncoderLayer | HopfieldDecoderLayer


def _associated(
    block: Block, name: str, params: Params, x: Array, key: Array | None, **options: Any
) -> Array:
    keys = _split(key, 2)
    layer: layers.Hopfield = getattr(block, name)
    y = layer.apply(params[name], x, key=keys[0], **options)
    return nn.Dropout(block.dropout).apply((), y, key=keys[1])


def _feed_forward(block: Block, params: Params, x: Array, key: Array | None) -> Array:
    keys, features = _split(key, 2), x.shape[-1]
    drop = nn.Dropout(block.dropout)
    first, second = nn.Dense(features, block.hidden), nn.Dense(block.hidden, features)
    inner = block.activation(first.apply(params["dense"][0], x))
    inner = drop.apply((), inner, key=keys[0])
    y = drop.apply((), second.apply(params["dense"][1], inner), key=keys[1])
    return _norm(params["norm_out"], x + y)


def _norm(params: Params, x: Array) -> Array:
    return nn.LayerNorm(x.shape[-1], _EPS).apply(params, x)


def _init_rest(
    key: Array, features: int, hidden: int, norms: tuple[str, ...]
) -> Params:
    keys = jax.random.split(key)
    dense = (nn.Dense(features, hidden), nn.Dense(hidden, features))
    made: Params = {name: nn.LayerNorm(features).init(key) for name in norms}
    made["dense"] = tuple(d.init(k) for d, k in zip(dense, keys, strict=True))
    return made


def _split(key: Array | None, number: int) -> list[Array | None]:
    return [None] * number if key is None else list(jax.random.split(key, number))


def _check_block(layer: layers.Hopfield, hidden: int, dropout: float) -> None:
    nn_checks.check_positive(hidden=hidden)
    nn.Dropout(dropout)
    if layer.sizes.out != layer.sizes.state:
        raise ValueError(
            "a block adds what is retrieved to the states, so out_features must be "
            f"state_features={layer.sizes.state}; got {layer.sizes.out}."
        )
