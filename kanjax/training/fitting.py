"""Training one network or an ensemble, by full batches or minibatches."""

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from kanjax import pytrees
from kanjax.training import (
    compiled,
    inputs,
    loop,
    losses,
    optimizers,
    results,
    sharding,
)
from kanjax.training import progress as reports
from kanjax.training.options import Checkpoint, Optimizer, Options

Params = Any


def fit(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array,
    state: Any = None,
    **options: Unpack[Options],
) -> results.Fit:
    """Minimise a loss over the parameters of one network.

    Args:
        loss: ``loss(params, batch, key) -> scalar`` or ``(scalar, metrics)``, with
            ``metrics`` a dict of arrays. Traced once a function object: what it reads
            from outside must not change between fits. With ``state``, ``loss(params,
            batch, key, state) -> (scalar, metrics, new state)``.
        params: a pytree of floating-point arrays.
        data: a pytree of arrays with a leading example axis; ``None`` if the loss
            draws its own batches from the key.
        key: drives the order of the examples and the ``key`` of the loss.
        state: the state of the model before the first step, such as
            ``net.initial_state()``, which every step hands to the next; None for a
            model without. ``result.state`` belongs to ``result.params``.
        **options: of these ``optimizer`` and ``steps`` must be given.

            - ``optimizer``: an optax gradient transformation, also one that searches
              along the line (it is given ``value``, ``grad`` and ``value_fn`` of the
              batch), or a name in ``OPTIMIZERS``.
            - ``learning_rate``: for an optimizer given by name.
            - ``steps``: the number of updates.
            - ``batch_size``: examples a step, without replacement in an epoch; what is
              left over at the end of an epoch is dropped till the next shuffle. None:
              all examples at every step.
            - ``validation``: what the validation loss is evaluated on, before the first
              step and after every ``evaluate_every``, with ``key=None``: so ready
              losses use the running statistics. The state that comes out is let go.
            - ``validation_loss``: like ``loss``, which it defaults to.
            - ``patience``: stop after so many evaluations in a row without a new
              minimum.
            - ``evaluate_every``: steps between evaluations, 100 by default. Control
              returns to Python only at evaluations; callbacks, the bar and Ctrl-C wait
              until then.
            - ``mesh``: spread batches over the mesh's axis ``"batch"``, members over
              ``"members"``; either axis may be absent.
            - ``checkpoint``: a :class:`Checkpoint`.
            - ``progress``: True draws a bar; a function gets each :class:`Progress`
              instead.
            - ``callback``: gets each :class:`Progress` too, after every evaluation.
            - ``compiler_options``: as of ``jax.jit``, for the program of the steps.

    Returns:
        A :class:`Fit`.

    Raises:
        TypeError: for parameters that are not floating point, or a loss that gives no
            real scalar.
        ValueError: for settings out of range, an unknown optimizer or data that do not
            fit together.
        CheckpointError: on going on from a checkpoint that is damaged or of another
            run.
        Interrupted: on Ctrl-C, with the result so far and how to go on.

    Warns:
        RuntimeWarning: if the loss became non-finite: training ended there, the last
            good parameters are kept, and ``diverged`` says at which step.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import training
        >>> x = jnp.linspace(-1, 1, 32)[:, None]
        >>> loss = training.regression(lambda w, x: x * w)
        >>> result = training.fit(
        ...     loss, jnp.zeros(()), (x, 3 * x), optimizer="lbfgs", steps=5,
        ...     key=jax.random.key(0))
        >>> round(float(result.params), 4)
        3.0
    """
    inputs.check_loss(loss)
    inputs.check_params(params)
    return _fit(
        loss,
        jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params),
        data,
        keys=jnp.reshape(inputs.typed(key), (1,)),
        state=jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state),
        single=True,
        **options,
    )


def fit_ensemble(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    key: Array,
    state: Any = None,
    shared_batches: bool = False,
    **options: Unpack[Options],
) -> results.Fit:
    """Minimise a loss over the parameters of every member of an ensemble at once.

    A member goes as it would alone: member ``i`` gets from ``key`` what ``fit`` gives
    with ``jax.random.split(key, members)[i]``, up to rounding. It has its own optimizer
    state, order of the examples, best parameters, early stop and divergence; the fit
    ends when no member trains any more.

    Args:
        loss: of one member, as for :func:`fit`.
        params: as for :func:`fit`, with a leading member axis on every leaf.
        data: shared by the members.
        key: one key, which is split over the members, or (members,) keys.
        state: as for :func:`fit`, with a leading member axis on every leaf, such as
            ``jax.vmap(lambda key: net.initial_state())(keys)``.
        shared_batches: whether all members see the examples in member 0's order.
        **options: as for :func:`fit`.

    What is raised is as for :func:`fit`; results have a leading member axis.

    Raises:
        ValueError: also if the member axes of the leaves, or of the keys, differ.
    """
    inputs.check_loss(loss)
    inputs.check_params(params)
    members = inputs.leading(params, "params", "member")
    inputs.check_state(state, members)
    return _fit(
        loss,
        params,
        data,
        keys=inputs.member_keys(key, members),
        state=state,
        single=False,
        shared_batches=shared_batches,
        **options,
    )


def _fit(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    keys: Array,
    state: Any,
    single: bool,
    optimizer: Optimizer,
    steps: int,
    shared_batches: bool = False,
    learning_rate: optimizers.LearningRate | None = None,
    batch_size: int | None = None,
    validation: Any = None,
    validation_loss: losses.Loss | None = None,
    patience: int | None = None,
    evaluate_every: int = 100,
    mesh: Mesh | None = None,
    checkpoint: Checkpoint | None = None,
    progress: bool | loop.Watcher = False,
    callback: loop.Watcher | None = None,
    compiler_options: Mapping[str, Any] | None = None,
) -> results.Fit:
    """Train members along the leading axis of ``params``."""
    examples = inputs.leading(data, "data", "example") if jax.tree.leaves(data) else 0
    validated = validation is not None or validation_loss is not None
    member, its_state = jax.eval_shape(compiled.first, (params, state))
    losses.check_data(loss, member, data, its_state)
    if validation is not None:
        losses.check_data(validation_loss or loss, member, validation, its_state)
    inputs.check_counts(steps=steps, evaluate_every=evaluate_every)
    inputs.check_optional(batch_size, patience, examples, validated)
    inputs.check_checkpoint(checkpoint)
    validates = pytrees.hashable(validation_loss or loss)
    program = compiled.Program(
        loss=pytrees.hashable(loss),
        validation_loss=validates if validated else None,
        optimizer=_transformation(optimizer, learning_rate),
        members=len(keys),
        batch_size=batch_size,
        shared_batches=shared_batches,
        patience=patience,
        stretch=min(evaluate_every, steps),
        key_impl=jax.random.key_impl(keys),
        mesh=mesh,
    )
    key_data = jax.random.key_data(keys)
    identity = {}
    if checkpoint is not None:
        identity = {
            **_settings(program, optimizer, learning_rate),
            "evaluate_every": evaluate_every,
            "key": np.asarray(key_data).tolist(),
            "data": inputs.fingerprint(data),
            "validation": inputs.fingerprint(validation),
            "config": dict(checkpoint.config or {}),
        }
    problem = loop.Problem(
        program,
        *_placed(program, params, state, data, validation, key_data),
        examples=examples,
        steps=steps,
        evaluate_every=evaluate_every,
        single=single,
        checkpoint=checkpoint,
        identity=identity,
        compiler_options=tuple(sorted((compiler_options or {}).items())),
    )
    with contextlib.ExitStack() as stack:
        if progress is True:
            progress = stack.enter_context(reports.bar())
        watchers = [w for w in (progress, callback) if callable(w)]
        return loop.train(problem, watchers)


def _placed(
    program: compiled.Program,
    params: Params,
    state: Any,
    data: Any,
    validation: Any,
    keys: Array,
) -> tuple[Params, Any, Any, Any, Array]:
    """Return the arguments of the program on its mesh, if it has one."""
    # Not by jnp.asarray, which compiles a program for each shape.
    params, state, data, validation = jax.device_put((params, state, data, validation))
    mesh = program.mesh
    if mesh is None:
        return params, state, data, validation, keys
    # Minibatches are drawn from the whole data, and spread when drawn.
    axis = sharding.BATCH if program.batch_size is None else None
    return (
        sharding.shard_members(params, mesh),
        sharding.shard_members(state, mesh),
        sharding.place(data, mesh, axis),
        sharding.replicate(validation, mesh),
        sharding.replicate(keys, mesh),
    )


def _settings(
    program: compiled.Program,
    optimizer: Optimizer,
    learning_rate: optimizers.LearningRate | None,
) -> dict[str, Any]:
    """Return what of the settings JSON can express; closures have no name to
    compare.
    """
    return {
        "optimizer": optimizer if isinstance(optimizer, str) else None,
        "learning_rate": None if callable(learning_rate) else learning_rate,
        "members": program.members,
        "batch_size": program.batch_size,
        "shared_batches": program.shared_batches,
        "patience": program.patience,
    }


def _transformation(
    optimizer: Optimizer, learning_rate: optimizers.LearningRate | None
) -> optax.GradientTransformationExtraArgs:
    if isinstance(optimizer, str):
        return optimizers.optimizer(optimizer, learning_rate)
    if learning_rate is not None:
        raise ValueError(
            "learning_rate is for an optimizer given by name; this one has its own."
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            "optimizer must be an optax gradient transformation or a name, got "
            f"{type(optimizer).__name__}."
        )
    if isinstance(optimizer, optax.GradientTransformationExtraArgs):
        return optimizer
    return _with_extra_args(optimizer)


# Remembered, so that a second fit with the same optimizer needs no compilation.
_with_extra_args = functools.lru_cache(maxsize=64)(optax.with_extra_args_support)
