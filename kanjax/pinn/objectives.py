"""What steps of training go down: residuals at points that are drawn, and weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.pinn import causal, losses, problems, samplers

CANDIDATES = 8


@dataclasses.dataclass(frozen=True)
class Objective:
    """A problem as a network is trained on it.

    Attributes:
        problem: the problem.
        net: a model from its coordinates to its outputs.
        residuals: of the problem for the network, by name.
        points: inside of the domain.
        condition_points: of each condition; an eighth of points if None.
        sampler: of :mod:`kanjax.pinn.samplers`.
        weights: of the terms of the loss, by name; 1 where absent.
        is_causal: whether an epsilon weighs points by earlier residuals.
        chunks: of points sorted by time that share a causal weight.
        adaptive: if not None, the constant by which more points are drawn where the
            residual is large.
        pseudo_time: steps of pseudo-time by equation, or None.
    """

    problem: problems.Problem
    net: model.Model
    residuals: problems.Residuals
    points: int
    condition_points: int | None
    sampler: samplers.Sampler
    weights: Mapping[str, Any]
    is_causal: bool
    chunks: int
    adaptive: float | None
    pseudo_time: Mapping[str, float] | None

    @property
    def equations(self) -> problems.Residuals:
        """Your residuals inside of the domain."""
        conditions = self.problem.conditions
        return {k: r for k, r in self.residuals.items() if k not in conditions}

    def residuals_from(self, previous: problems.Parameters) -> problems.Residuals:
        """Return the residuals, in pseudo-time those of a step from parameters.

        Args:
            previous: the parameters that pseudo-time goes on from.
        """
        if self.pseudo_time is None:
            return self.residuals
        return losses.pseudo_time(self.problem, self.net, previous, self.pseudo_time)

    def weigh(
        self, params: problems.Parameters, drawn: dict[str, Array], epsilon: Array
    ) -> tuple[dict[str, Any], Float[Array, ""]]:
        """Return the weights of all terms, and the smallest that is causal, or 1.

        Args:
            params: where causal weights are taken.
            drawn: points of :meth:`draw`.
            epsilon: (), of causal weights.
        """
        weights: dict[str, Any] = dict(self.weights)
        if not self.is_causal:
            return weights, jnp.ones(())
        values = losses.evaluate(self.equations, params, drawn)
        squares = sum(
            weights.get(k, 1.0) * jnp.sum(r**2, axis=1) for k, r in values.items()
        )
        times = drawn[problems.INTERIOR][:, 0]
        w = causal.point_weights(times, jnp.asarray(squares), epsilon, self.chunks)
        return weights | {k: weights.get(k, 1.0) * w for k in values}, jnp.min(w)

    def draw(self, params: problems.Parameters, key: Array) -> dict[str, Array]:
        """Return points of the domain and of each condition.

        Args:
            params: whose residuals adaptive points follow.
            key: of the draw.
        """
        many = self.points if self.adaptive is None else CANDIDATES * self.points
        few = self.condition_points
        few = max(1, self.points // 8) if few is None else few
        key, choice = jax.random.split(key)
        drawn = problems.sample(
            self.problem, many, key=key, sampler=self.sampler, condition_points=few
        )
        if self.adaptive is None:
            return drawn
        values = losses.evaluate(self.equations, params, drawn).values()
        sizes = jnp.linalg.norm(jnp.concatenate(list(values), axis=1), axis=1)
        inner = drawn[problems.INTERIOR]
        chosen = samplers.residual_adaptive(
            inner, sizes, self.points, key=choice, constant=self.adaptive
        )
        return drawn | {problems.INTERIOR: chosen}
