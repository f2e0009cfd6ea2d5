"""Pairs of groups of outliers that pull a network in opposite directions.

Rosenfeld, Risteski 2023, "Outliers with Opposing Signals Have an Outsized Effect on
Neural Network Optimization", arXiv 2311.04163.

Two small groups share a large feature and disagree about it. Training balances them in
a valley, sharpens the valley, and overshoots: the loss of the groups then rises in
turn. Record the losses of all examples at every step, take the groups at the most
violent one, and hold their gradients and the curvature against those of the rest. All
of it takes any pure loss that is a mean over examples, and any pytree.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks, persample, pytrees
from kanjax.landscape import curvature
from kanjax.training import losses

Params = pytrees.Params


class Groups(NamedTuple):
    """The examples whose losses change most.

    Attributes:
        up: (k,), those with the largest rises, the largest first.
        down: (k,), those with the largest falls, the largest first.
    """

    up: Int[Array, " k"]
    down: Int[Array, " k"]


class Recording(NamedTuple):
    """A training run and the losses of its examples.

    Attributes:
        params: after the last step.
        losses: (records, examples), before step 0, ``every``, ``2 every`` and so on,
            and after the last step if that is the next of them.
    """

    params: Params
    losses: Float[Array, "records examples"]


class Spike(NamedTuple):
    """What a step of gradient descent does to each example's loss, to second order.

    Attributes:
        slope: (examples,), ``-eta <grad l_i, grad L>``.
        curvature: (examples,), ``eta^2 / 2 grad L^T H_i grad L``.
        directional_curvature: of the mean loss L along its gradient,
            ``g^T H g / |g|^2``; to second order the step raises L where this exceeds
            ``2 / eta``. Zero at a stationary point.
    """

    slope: Float[Array, " examples"]
    curvature: Float[Array, " examples"]
    directional_curvature: Float[Array, ""]

    @property
    def change(self) -> Float[Array, " examples"]:
        """The predicted change of each example's loss; its mean is that of L."""
        return self.slope + self.curvature


class Planted(NamedTuple):
    """Data with outliers planted in it.

    Attributes:
        x: (examples, features + extra).
        groups: (classes, count), the examples that have the extra feature.
    """

    x: Float[Array, "examples columns"]
    groups: Int[Array, "classes count"]


def descend_and_record(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array,
    optimizer: optax.GradientTransformation,
    steps: int,
    every: int = 1,
    probe: Any = None,
    batch_size: int | None = None,
) -> Recording:
    """Train on full batches and record the loss of each example.

    One scan, to be compiled by the caller. Minibatches would add their noise to the
    changes; beside :func:`kanjax.training.fit`, a callback that stores
    ``persample.losses(loss, progress.params, probe)`` gives the same history.

    Args:
        loss: ``loss(params, batch, key)``, a scalar or (scalar, metrics), the mean over
            a batch.
        params: a pytree of floating-point arrays, the start.
        data: a pytree with a leading axis over examples.
        key: of the loss.
        optimizer: an optax optimizer.
        steps: how many, a multiple of ``every``.
        every: steps from a record to the next.
        probe: the examples whose losses are recorded; ``data`` if None.
        batch_size: how many examples' losses are computed at once, as for
            :func:`kanjax.persample.losses`.

    Returns:
        The last parameters, and ``steps / every + 1`` records.

    Raises:
        ValueError: if steps is not a positive multiple of every.
    """
    if every < 1 or steps < 1 or steps % every:
        raise ValueError(
            f"steps is {steps} and every {every}; steps must be a positive multiple "
            "of every."
        )
    probe = data if probe is None else probe

    def record(params: Params) -> Array:
        return persample.losses(loss, params, probe, key=key, batch_size=batch_size)

    def step(state: Any, i: Array) -> Any:
        params, moments = state
        value = losses.on_batch(loss, data, jax.random.fold_in(key, i))
        gradient = jax.grad(value)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), None

    def stretch(state: Any, numbers: Array) -> Any:
        before = record(state[0])
        state, _ = jax.lax.scan(step, state, numbers)
        return state, before

    numbers = jnp.arange(steps).reshape(-1, every)
    start = (params, optimizer.init(params))
    (params, _), history = jax.lax.scan(stretch, start, numbers)
    return Recording(params, jnp.concatenate([history, record(params)[None]]))


def loss_changes(
    history: Float[Array, "records examples"],
) -> Float[Array, "records-1 examples"]:
    """Return by how much each example's loss changes from a record to the next.

    Args:
        history: (records, examples), losses in the order of training.
    """
    return jnp.diff(jnp.asarray(history), axis=0)


def most_violent_step(history: Float[Array, "records examples"]) -> Int[Array, ""]:
    """Return the record after which an example's loss changes most.

    Oscillations die out, and with them what tells the groups: look for them here, or
    at the :func:`most_opposed_step`.

    Args:
        history: as for :func:`loss_changes`.
    """
    return jnp.argmax(jnp.max(jnp.abs(loss_changes(history)), axis=1))


def most_opposed_step(history: Float[Array, "records examples"]) -> Int[Array, ""]:
    """Return the record after which losses both rise and fall the most.

    The largest of ``min(largest rise, largest fall)``. At the start of training large
    losses only fall, which :func:`most_violent_step` may take for the groups' step.

    Args:
        history: as for :func:`loss_changes`.
    """
    changes = loss_changes(history)
    rises, falls = jnp.max(changes, axis=1), jnp.max(-changes, axis=1)
    return jnp.argmax(jnp.minimum(rises, falls))


def opposing_groups(changes: Float[Array, " examples"], k: int) -> Groups:
    """Take the examples with the largest rises and the largest falls of the loss.

    Args:
        changes: (examples,), of one step: a row of :func:`loss_changes`.
        k: examples of a group, at most half of all.

    Raises:
        ValueError: if two groups of k do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> groups = opposing_groups(jnp.array([3.0, -1, 0, 2, -5]), 2)
        >>> groups.up.tolist(), groups.down.tolist()
        ([0, 3], [4, 1])
    """
    changes = jnp.asarray(changes)
    if not 1 <= k <= len(changes) // 2:
        raise ValueError(
            f"k is {k}; two groups of {len(changes)} examples have from 1 to "
            f"{len(changes) // 2} each."
        )
    return Groups(jax.lax.top_k(changes, k)[1], jax.lax.top_k(-changes, k)[1])


def group_losses(
    history: Float[Array, "records examples"], examples: Int[Array, " k"]
) -> Float[Array, " records"]:
    """Follow the mean loss of a group through a training run.

    Args:
        history: as for :func:`loss_changes`.
        examples: (k,), the group.
    """
    return jnp.mean(jnp.asarray(history)[:, jnp.asarray(examples)], axis=1)


def opposition_score(
    history: Float[Array, "records examples"], groups: Groups
) -> Float[Array, ""]:
    """Tell a pair that opposes itself from examples that are merely hard.

    Minus the correlation of the changes of the groups' mean losses: 1 in anti-phase, -1
    where both rise and fall together. NaN where the loss of a group never changes.

    Args:
        history: as for :func:`loss_changes`, of the steps that are looked at.
        groups: the pair.
    """
    up, down = (jnp.diff(group_losses(history, group)) for group in groups)
    up, down = up - jnp.mean(up), down - jnp.mean(down)
    return -jnp.sum(up * down) / jnp.sqrt(jnp.sum(up**2) * jnp.sum(down**2))


def group_gradient(
    loss: losses.Loss,
    params: Params,
    data: Any,
    examples: Int[Array, " k"],
    *,
    key: Array | None = None,
) -> Params:
    """Return the gradient of the mean loss of a group.

    Args:
        loss: as for :func:`descend_and_record`.
        params: where the gradient is taken.
        data: a pytree with a leading axis over examples.
        examples: (k,), the group.
        key: of the loss.
    """
    batch = _rows(data, examples)
    return jax.grad(losses.on_batch(loss, batch, key))(params)


def cosine(a: Params, b: Params) -> Float[Array, ""]:
    """Return the cosine between two pytrees of one structure, 0 where one is zero.

    Of the gradients of two groups it is near -1 if they oppose each other; of a
    group's gradient and the top eigenvector of the Hessian, near 1 or -1 if the group
    makes the valley.

    Args:
        a: a gradient, or an eigenvector.
        b: another.
    """
    scale = pytrees.norm(a) * pytrees.norm(b)
    return pytrees.inner(a, b) / jnp.where(scale > 0, scale, 1.0)


def sharpest_direction(
    loss: losses.Loss,
    params: Params,
    data: Any,
    key: Array,
    *,
    without: Int[Array, " k"] | None = None,
) -> tuple[Float[Array, ""], Params]:
    """Return the largest eigenvalue of the Hessian, and its eigenvector.

    Args:
        loss: as for :func:`descend_and_record`; the Hessian is that of its mean over
            the data. It gets no key.
        params: where it is taken.
        data: a pytree with a leading axis over examples.
        key: of Lanczos' start.
        without: examples whose terms are taken out of the sum, which is divided by the
            number of all examples as before.
    """
    count = len(jax.tree.leaves(data)[0])

    total = losses.on_batch(loss, data)

    def value(params: Params) -> Array:
        if without is None:
            return total(params)
        group = losses.on_batch(loss, _rows(data, without))
        return total(params) - len(without) / count * group(params)

    pairs = curvature.hessian_eigenpairs(value, params, 1, key, which="largest")
    return pairs.values[0], jax.tree.map(lambda v: v[0], pairs.vectors)


def decompose_spike(
    loss: losses.Loss,
    params: Params,
    data: Any,
    step_size: ArrayLike,
    *,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Spike:
    """Predict what one step of gradient descent does to each example's loss.

    The expansion ``l_i(theta - eta g) - l_i(theta) = -eta <grad l_i, g> + eta^2 / 2
    g^T H_i g + O(eta^3)``, which is exact for a quadratic loss. Its mean over examples
    is ``-eta |g|^2 (1 - eta/2 g^T H g / |g|^2)``.

    Args:
        loss: as for :func:`descend_and_record`.
        params: before the step.
        data: a pytree with a leading axis over examples.
        step_size: (), eta.
        key: of the loss.
        batch_size: as for :func:`kanjax.persample.losses`.
    """
    step_size = jnp.asarray(step_size, dtype=float)
    g = jax.grad(losses.on_batch(loss, data, key))(params)

    def along(t: Array) -> Array:
        moved = pytrees.combine((1.0, -t), (params, g))
        return persample.losses(loss, moved, data, key=key, batch_size=batch_size)

    def first(t: Array) -> Array:
        return jax.jvp(along, (t,), (jnp.ones_like(t),))[1]

    zero = jnp.zeros_like(step_size)
    slopes, seconds = jax.jvp(first, (zero,), (jnp.ones_like(zero),))
    square = pytrees.inner(g, g)
    directional = jnp.mean(seconds) / jnp.where(square > 0, square, 1.0)
    return Spike(step_size * slopes, step_size**2 / 2 * seconds, directional)


def plant_outliers(
    key: Array,
    x: Float[Array, "examples features"],
    y: Int[Array, " examples"],
    *,
    classes: Sequence[int],
    count: int,
    magnitude: ArrayLike,
    extra: int = 4,
) -> Planted:
    """Give a few examples of some classes one large feature in common.

    Args:
        key: chooses the examples.
        x: (examples, features).
        y: (examples,), the classes.
        classes: those that share the feature, two for a pair.
        count: examples of each; where a class has fewer, others take their place, which
            is not checked under jit.
        magnitude: the value of the feature; it is 0 for all others.
        extra: how many columns carry it.

    Raises:
        ValueError: if a class has fewer than count examples.
    """
    x, y = checks.as_floating(x), jnp.asarray(y)
    groups = []
    for k, label in zip(jax.random.split(key, len(classes)), classes, strict=True):
        member = y == label
        if pytrees.concrete(y) and int(jnp.sum(member)) < count:
            raise ValueError(
                f"count is {count}, but class {label} has {int(jnp.sum(member))} "
                "examples. Lower count, or choose another class."
            )
        # The members in random order come first: all others have a negative rank.
        ranks = jnp.where(member, jax.random.uniform(k, y.shape), -1.0)
        groups.append(jax.lax.top_k(ranks, count)[1])
    rows = jnp.stack(groups)
    columns = jnp.zeros((len(y), extra), x.dtype).at[rows.ravel()].set(magnitude)
    return Planted(jnp.concatenate([x, columns], axis=1), rows)


def _rows(data: Any, examples: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[jnp.asarray(examples)], data)
