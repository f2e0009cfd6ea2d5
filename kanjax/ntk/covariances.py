"""What a wide layer's values look like: their covariances, between positions, too."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from kanjax.gaussian import Dual
from kanjax.ntk import blocks

DualFunction = Callable[[Array, Array, Array], Dual]


@dataclasses.dataclass(frozen=True)
class Covariances:
    """The values of a layer for two blocks of examples, at infinite width.

    All channels are alike, so one covariance stands for them. Arrays begin with the
    examples, (n1, n2), or (n,) where only pairs of equal index are asked for; then
    come the spatial axes: once, of equal positions in both examples, or twice, of all
    pairs of positions (first those of x1's example, then those of x2's).

    Attributes:
        nngp: (n1, n2, *spatial), the covariance of the values.
        ntk: the same shape, the tangent kernel of the layers so far.
        first: (n1, 1, *spatial), the covariance within each example of x1.
        second: (1, n2, *spatial), the same of x2.
        examples: the number of axes over examples, 1 or 2.
        spatial: the number of spatial axes of the values.
        channels: the number of channels that the model has here, which stands for
            their share where branches are concatenated.
        pairs: whether spatial axes come twice.
        centred: whether values are sums with random weights of their own, hence
            Gaussian of mean zero.
        fresh: the same, but since the last branching of the network.
        scales: how many trained scales act on the values as they are: channel c's own
            tangent kernel is ``ntk + scales * value_c(x1) value_c(x2)``.
        itself: (n1, n2) or (n,), True where an example meets itself; None if x1 and
            x2 are two sets.
        dropout: whether values are dropped.
        first_mask: (n1, 1, *positions), or (n, *positions) for pairs of examples: True
            where an example of x1 has something; None if it has everywhere.
        second_mask: (1, n2, *positions), the same of x2.
        graphs: of both blocks, arrays that begin with the examples as masks do; None
            where examples have none.
        data: the two blocks (n1, features) and (n2, features) themselves, where the
            covariances are the data's and have no spatial axes.
    """

    nngp: Array
    ntk: Array
    first: Array
    second: Array
    examples: int = 2
    spatial: int = 0
    channels: int = 1
    pairs: bool = False
    centred: bool = False
    fresh: bool = False
    scales: int = 0
    itself: Array | None = None
    dropout: bool = False
    first_mask: Array | None = None
    second_mask: Array | None = None
    graphs: tuple[Any, Any] | None = None
    data: tuple[Array, Array] | None = None

    def map(self, function: Callable[[Array], Array], **changes: Any) -> "Covariances":
        """Apply one function to all four arrays."""
        return dataclasses.replace(
            self,
            nngp=function(self.nngp),
            ntk=function(self.ntk),
            first=function(self.first),
            second=function(self.second),
            **changes,
        )

    def replace(self, **changes: Any) -> "Covariances":
        """A copy with other attributes."""
        return dataclasses.replace(self, **changes)

    def averaged(self) -> "Covariances":
        """The mean over channels, where their own trained scales made them differ.

        An activation would act on each channel, so no more can follow but weights.
        """
        if not self.scales:
            return self
        ntk = self.ntk + self.scales * self.nngp
        return self.replace(ntk=ntk, scales=0, centred=False)

    def masked(self) -> "Covariances":
        """Zero wherever one of the two positions has nothing."""
        if self.first_mask is None or self.second_mask is None or not self.spatial:
            return self
        first, second = self.first_mask, self.second_mask

        def keep(covariance: Array, left: Array, right: Array) -> Array:
            if self.pairs:
                axes = tuple(range(self.examples, self.examples + self.spatial))
                left = jnp.expand_dims(left, tuple(a + self.spatial for a in axes))
                right = jnp.expand_dims(right, axes)
            return jnp.where(left & right, covariance, 0)

        return self.replace(
            nngp=keep(self.nngp, first, second),
            ntk=keep(self.ntk, first, second),
            first=keep(self.first, first, first),
            second=keep(self.second, second, second),
        )

    def map_masks(self, function: Callable[[Array], Array | None]) -> "Covariances":
        """Apply one function to both masks, if there are any."""
        if self.first_mask is None or self.second_mask is None:
            return self
        return self.replace(
            first_mask=function(self.first_mask),
            second_mask=function(self.second_mask),
        )

    def equal_positions(self) -> "Covariances":
        """Equal positions only."""
        if not self.pairs:
            return self
        return self.map(self._diagonal, pairs=False)

    def all_pairs(self) -> "Covariances":
        """All pairs of positions, those that differ uncorrelated."""
        if self.pairs or not self.spatial:
            return self

        def spread(covariance: Array) -> Array:
            shape = covariance.shape[self.examples :]
            size = math.prod(shape)
            flat = covariance.reshape(*covariance.shape[: self.examples], size)
            square = flat[..., None] * jnp.eye(size, dtype=flat.dtype)
            return square.reshape(*covariance.shape, *shape)

        return self.map(spread, pairs=True)

    def variances(self, first: Array, second: Array) -> tuple[Array, Array]:
        """The variances, shaped to broadcast against covariances of those values."""
        if not self.pairs:
            return first, second
        once = self._diagonal(first), self._diagonal(second)
        axes = tuple(range(self.examples, self.examples + self.spatial))
        behind = tuple(a + self.spatial for a in axes)
        return jnp.expand_dims(once[0], behind), jnp.expand_dims(once[1], axes)

    def through(
        self, dual: DualFunction, *, centred: bool = False, fresh: bool = False
    ) -> "Covariances":
        """After a function of each value: ``K <- value``, ``Theta <- slope Theta``."""
        q11, q22 = self.variances(self.first, self.second)
        first, second = self._within(dual, self.first), self._within(dual, self.second)
        # An example with itself: the angle of its values is 0 to the last digit.
        itself: tuple[Array, ...] = ()
        if self.itself is not None and self.examples == 2:
            itself = self.over_examples(self.itself), first.value, first.slope

        def step(
            q11: Array, q12: Array, q22: Array, ntk: Array, *itself: Array
        ) -> tuple[Array, Array]:
            value, slope = dual(q11, q12, q22)
            if itself:
                is_itself, *own = itself
                value = jnp.where(is_itself, own[0], value)
                slope = jnp.where(is_itself, own[1], slope)
            return value, slope * ntk

        nngp, ntk = blocks.in_parts(step, q11, self.nngp, q22, self.ntk, *itself)
        return self.replace(
            nngp=nngp,
            ntk=ntk,
            first=first.value,
            second=second.value,
            centred=centred,
            fresh=fresh,
        )

    def over_examples(self, values: Array) -> Array:
        """Values of pairs of examples in the rank of the covariances."""
        return values.reshape(*values.shape, *(1,) * (self.nngp.ndim - values.ndim))

    def _within(self, dual: DualFunction, covariance: Array) -> Dual:
        left, right = self.variances(covariance, covariance)
        return blocks.in_parts(dual, left, covariance, right)

    def _diagonal(self, covariance: Array) -> Array:
        """Equal positions of a covariance of pairs of positions."""
        for _ in range(self.spatial):
            # Each step moves one spatial axis to the end, in their order.
            axes = (self.examples, self.examples + self._left(covariance))
            covariance = jnp.diagonal(covariance, axis1=axes[0], axis2=axes[1])
        return covariance

    def _left(self, covariance: Array) -> int:
        """How far the partner of the first spatial axis is behind it."""
        done = 2 * self.spatial - (covariance.ndim - self.examples)
        return self.spatial - done
