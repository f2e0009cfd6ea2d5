"""Training that chooses families: all together, then their weights, then one each.

Source: Yang et al. (2024), arXiv 2408.08338, whose three phases (full training,
selective training, pruning) these are; the temperatures are derived.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import model, training
from kanjax.kan import selection


@model.dataclass
class Schedule:
    """How many steps each phase has, and the temperatures of the second.

    Args:
        full: steps in which all families weigh the same.
        selective: steps in which the weights are trained, too.
        tuning: steps after every node has lost all families but one. Few of them lose
            what the choice gains: give at least half of all steps.
        start: temperature of the first selective step.
        end: of the last one; between them temperatures fall geometrically.
    """

    full: int
    selective: int
    tuning: int
    start: float = 1.0
    end: float = 0.1

    def __post_init__(self) -> None:
        for name in ("full", "selective", "tuning"):
            steps = getattr(self, name)
            if not isinstance(steps, int) or steps < 0:
                raise ValueError(
                    f"{name} must be a number of steps, 0 or more; got {steps!r}."
                )
        for name in ("start", "end"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be a positive temperature; got {getattr(self, name)}."
                )

    @property
    def temperatures(self) -> Float[Array, " steps"]:
        """Of the first two phases: infinite in the first."""
        falling = jnp.geomspace(self.start, self.end, self.selective)
        return jnp.concatenate([jnp.full(self.full, jnp.inf), falling])


class Selection(NamedTuple):
    """What :func:`fit` found.

    Attributes:
        params: after the last phase: one family a node, the others at zero.
        mixture: after the second phase, with logits at its last temperature.
        losses: (steps,), before each update, of all phases.
    """

    params: Any
    mixture: Any
    losses: Float[Array, " steps"]


def _adam(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(2e-2, steps))


def fit(
    loss: Callable[..., Any],
    params: Any,
    batch: Any,
    schedule: Schedule,
    *,
    key: Array,
    optimizer: Callable[[int], optax.GradientTransformation] = _adam,
    entropy: float = 0.0,
) -> Selection:
    """Train in three phases, with all examples in every step.

    Pure, and not compiled: ``jax.jit(jax.vmap(...))`` of it trains an ensemble whose
    members choose for themselves.

    Args:
        loss: ``loss(params, batch, key)``, a scalar or ``(scalar, metrics)``, as
            ``kanjax.training.regression(network.apply)`` makes it.
        params: of a network with selectable layers anywhere in it.
        batch: what the loss takes.
        schedule: the phases.
        key: drives what is random in the loss.
        optimizer: of a number of steps; made for the first two phases together, and
            anew for the last.
        entropy: weight of the sum of all choices' entropies in the first two phases.

    Examples:
        >>> import jax
        >>> from kanjax import kan, training
        >>> net = kan.SelectableKAN((2, 3, 1))
        >>> x = jax.random.uniform(jax.random.key(0), (64, 2), minval=-1)
        >>> found = fit(
        ...     training.regression(net.apply), net.init(jax.random.key(1)),
        ...     (x, x[:, :1] * x[:, 1:]), Schedule(5, 5, 10), key=jax.random.key(2))
        >>> small, params = kan.selection.prune(net, found.params)
        >>> small.apply(params, x).shape
        (64, 1)
    """

    def objective(params: Any, temperature: Array, key: Array) -> Array:
        soft = selection.at_temperature(params, temperature)
        value = training.on_batch(loss, batch, key)(soft)
        if entropy:
            value = value + entropy * sum(
                jnp.sum(each) for each in selection.selection_entropy(soft)
            )
        return value

    def train(params: Any, temperatures: Array, key: Array) -> tuple[Any, Array]:
        steps = len(temperatures)
        if not steps:
            return params, temperatures
        transform = optimizer(steps)

        def update(carry: tuple[Any, Any], now: tuple[Array, Array]) -> Any:
            params, state = carry
            value, slope = jax.value_and_grad(objective)(params, *now)
            change, state = transform.update(slope, state, params)
            return (optax.apply_updates(params, change), state), value

        keys = jax.random.split(key, steps)
        carry = (params, transform.init(params))
        (params, _), losses = jax.lax.scan(update, carry, (temperatures, keys))
        return params, losses

    key, key_tuning = jax.random.split(key)
    params, losses = train(params, schedule.temperatures, key)
    mixture = selection.at_temperature(
        params, schedule.end if schedule.selective else jnp.inf
    )
    params = selection.harden(mixture)
    params, tuned = train(params, jnp.ones(schedule.tuning), key_tuning)
    return Selection(params, mixture, jnp.concatenate([losses, tuned]))
