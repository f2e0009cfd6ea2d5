"""What a wide layer's values look like: their covariances, between positions, too."""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from kanjax.gaussian import Dual
from kanjax.ntk import blockwise
from kanjax.ntk.per_example import Reader, Writer

DualFunction = Callable[[Array, Array, Array], Dual]
ValueFunction = Callable[[Array, Array, Array], Array]
PairFunction = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


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
        tape: what is known of each example by itself, see :meth:`each`.
    """

    nngp: Array
    ntk: Array
    examples: int = 2
    spatial: int = 0
    channels: int = 1
    pairs: bool = False
    centered: bool = False
    fresh: bool = False
    scales: int = 0
    itself: Array | None = None
    dropout: bool = False
    first_mask: Array | None = None
    second_mask: Array | None = None
    graphs: tuple[Any, Any] | None = None
    data: tuple[Array, Array] | None = None
    tape: Writer | Reader = dataclasses.field(default_factory=Writer)

    def map(self, function: Callable[[Array], Array], **changes: Any) -> "Covariances":
        """Apply one function to both kernels."""
        return self.replace(nngp=function(self.nngp), ntk=function(self.ntk), **changes)

    def replace(self, **changes: Any) -> "Covariances":
        """Return a copy with other attributes."""
        return dataclasses.replace(self, **changes)

    def averaged(self) -> "Covariances":
        """Return the mean over channels, where their own trained scales made them
        differ.

        An activation would act on each channel, so no more can follow but weights.
        """
        if not self.scales:
            return self
        ntk = self.ntk + self.scales * self.nngp
        return self.replace(ntk=ntk, scales=0, centered=False)

    def masked(self) -> "Covariances":
        """Zero wherever one of the two positions has nothing."""
        if self.first_mask is None or self.second_mask is None or not self.spatial:
            return self
        left, right = self._of_positions(self.first_mask, self.second_mask)
        return self.map(lambda c: jnp.where(left & right, c, 0))

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
            square = jnp.vectorize(jnp.diag, signature="(n)->(n,n)")(flat)
            return square.reshape(*covariance.shape, *shape)

        return self.map(spread, pairs=True)

    def each(self, function: Callable[["Covariances"], Array]) -> tuple[Array, Array]:
        """Return what a function makes of each example of x1 by itself, and of x2.

        Args:
            function: of the covariances of examples with themselves, ``examples=1``,
                here in the network; its result begins with the examples.

        Returns:
            (n1, 1, ...) and (1, n2, ...), or (n, ...) both for pairs of examples.
        """
        return self.tape.ask(lambda: function(self), self.examples)

    def variances(self) -> tuple[Array, Array]:
        """Of the values of x1 and of x2, shaped to broadcast against ``nngp``."""
        return self._of_positions(*self.each(lambda side: side.equal_positions().nngp))

    def itself_where(self) -> list[Array]:
        """Masks in the rank of ``nngp``, all True where a value meets itself.

        One of the examples and, if there are pairs of positions, one of each spatial
        axis; none if there are two sets.
        """
        if self.itself is None:
            return []
        masks = [self.over_examples(self.itself)]
        for a in range(self.spatial if self.pairs else 0):
            axes = (self.examples + a, self.examples + a + self.spatial)
            others = [b for b in range(self.nngp.ndim) if b not in axes]
            eye = jnp.eye(self.nngp.shape[axes[0]], dtype=bool)
            masks.append(jnp.expand_dims(eye, others))
        return masks

    def elementwise(self, function: PairFunction, **changes: Any) -> "Covariances":
        """After a function of each value.

        Args:
            function: ``(q11, q12, q22, ntk) -> (nngp, ntk)``, element by element, of
                the variances and the covariance of two values and their tangent kernel.
            changes: of other attributes.
        """
        q11, q22 = self.variances()

        def step(
            q11: Array, q12: Array, q22: Array, ntk: Array, *itself: Array
        ) -> tuple[Array, Array]:
            if itself:
                # The angle of a value with itself is 0 to the last digit.
                q12 = jnp.where(functools.reduce(operator.and_, itself), q11, q12)
            return function(q11, q12, q22, ntk)

        where = self.itself_where()
        nngp, ntk = blockwise.in_parts(step, q11, self.nngp, q22, self.ntk, *where)
        return self.replace(nngp=nngp, ntk=ntk, **changes)

    def through(
        self,
        dual: DualFunction,
        share: ValueFunction | None = None,
        *,
        centered: bool = False,
        fresh: bool = False,
    ) -> "Covariances":
        """After a function of each value: ``K <- value``, ``Theta <- slope Theta``.

        Args:
            dual: of the function.
            share: what each trained scale adds to Theta, if there are any.
            centered: whether values stay centered.
            fresh: the same.
        """

        def step(q11: Array, q12: Array, q22: Array, ntk: Array) -> Any:
            value, slope = dual(q11, q12, q22)
            after = slope * ntk
            if share is not None and self.scales:
                after = after + self.scales * share(q11, q12, q22)
            return value, after

        scales = self.scales if share is None else 0
        return self.elementwise(step, centered=centered, fresh=fresh, scales=scales)

    def over_examples(self, values: Array) -> Array:
        """Values of pairs of examples in the rank of the covariances."""
        return values.reshape(*values.shape, *(1,) * (self.nngp.ndim - values.ndim))

    def _of_positions(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Arrays of each example's positions, to broadcast against ``nngp``."""
        if not self.pairs:
            return first, second
        axes = tuple(range(self.examples, self.examples + self.spatial))
        trailing = tuple(a + self.spatial for a in axes)
        return jnp.expand_dims(first, trailing), jnp.expand_dims(second, axes)

    def _diagonal(self, covariance: Array) -> Array:
        """Equal positions of a covariance of pairs of positions."""
        for left in range(self.spatial, 0, -1):
            # Each step moves one spatial axis to the end, in their order.
            axes = (self.examples, self.examples + left)
            covariance = jnp.diagonal(covariance, axis1=axes[0], axis2=axes[1])
        return covariance
