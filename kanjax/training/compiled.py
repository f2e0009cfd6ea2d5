"""The compiled part of a fit: a stretch of steps of all members in one call.

Every array of the state has a leading member axis but the step counter, which the
members share: so choices that hang on the step stay real branches under ``vmap``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from kanjax import conv_layouts
from kanjax.training import losses, sharding

Params = Any


class Program(NamedTuple):
    """What is fixed for a fit; hashable, so that equal fits share a compilation."""

    loss: Callable[..., Any]
    validation_loss: Callable[..., Any] | None
    optimizer: optax.GradientTransformationExtraArgs
    members: int
    batch_size: int | None
    shared_batches: bool
    patience: int | None
    stretch: int
    key_impl: Any
    mesh: Mesh | None


class Counts(NamedTuple):
    """Where each member stands."""

    updates: Int[Array, " members"]
    diverged: Int[Array, " members"]
    """The step whose loss, gradient or update was not finite, or -1."""
    stopped: Bool[Array, " members"]
    best_step: Int[Array, " members"]
    """The updates made before the best parameters, or -1."""

    @property
    def training(self) -> Any:
        """Which (members,) still train, boolean: on the host an array of NumPy's."""
        return (self.diverged < 0) & ~self.stopped


class State(NamedTuple):
    """All that a fit must remember from one step to the next."""

    step: Int[Array, ""]
    params: Params
    previous: Params
    """The parameters of each member's last step but one with a finite loss."""
    opt_state: Any
    order: Int[Array, "members examples"] | None
    """This epoch's order of the examples; one row where the members share it."""
    counts: Counts
    best: Params
    best_loss: Float[Array, " members"] | None
    unimproved: Int[Array, " members"]
    model_state: Any = None
    """The model's own state, or None; the next two belong to previous and best."""
    previous_model_state: Any = None
    best_model_state: Any = None


class Report(NamedTuple):
    """What a stretch of steps tells the host; NaN where a member did not take part."""

    loss: Float[Array, "stretch members"]
    metrics: dict[str, Array]
    validation_loss: Float[Array, " members"] | None
    validation_metrics: dict[str, Array]
    counts: Counts


@jax.jit
def chosen(state: State) -> tuple[Params, Any]:
    """Return the best parameters of each member and their model's state.

    The current ones if there are none.
    """
    last = state.params, state.model_state
    if state.best_loss is None:
        return last
    best = state.best, state.best_model_state
    return _select(state.counts.best_step >= 0, best, last)


@jax.jit
def first(tree: Any) -> Any:
    """Return the first member of every leaf."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


@functools.partial(jax.jit, static_argnames=("program", "examples"))
def initial(
    program: Program, params: Params, examples: int, model_state: Any = None
) -> State:
    """Return the state before the first step."""
    members = program.members
    # Weakly typed leaves would turn strong after a step and compile it once more.
    params, model_state = jax.tree.map(_strong, (params, model_state))
    order = None
    if program.batch_size is not None:
        rows = 1 if program.shared_batches else members
        order = jnp.zeros((rows, examples), jnp.int32)
    validated = program.validation_loss is not None
    opt_state = _over_members(program.optimizer.init, members)(params)
    zeros = jnp.zeros(members, jnp.int32)
    state = State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        previous=params,
        opt_state=jax.tree.map(_strong, opt_state),
        order=order,
        counts=Counts(zeros, zeros - 1, zeros.astype(bool), zeros - 1),
        best=params if validated else None,
        best_loss=_strong(jnp.full(members, jnp.inf)) if validated else None,
        unimproved=zeros,
        model_state=model_state,
        previous_model_state=model_state,
        best_model_state=model_state if validated else None,
    )
    return _constrain(program, state)


@functools.lru_cache(maxsize=64)
def advancing(options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    """Return :func:`advance` compiled with these options, names and values."""
    options_ = dict(options) or None
    return jax.jit(advance, static_argnames="program", compiler_options=options_)


def advance(
    program: Program,
    state: State,
    data: Any,
    validation: Any,
    key_data: Array,
    count: Int[Array, ""],
) -> tuple[State, Report]:
    """Take ``count <= program.stretch`` steps, then validate.

    Args:
        program: what is static in the run.
        state: where the run stands.
        data: examples along the leading axis of every leaf.
        validation: examples like data, or None.
        key_data: (members, ...) the data of one PRNG key a member.
        count: a traced number, so that a short last stretch is no other program.
    """
    keys = jax.random.wrap_key_data(key_data, impl=program.key_impl)
    # One stream shuffles, the other is the loss's: a loss that draws changes no order.
    streams = jax.vmap(jax.random.split)(keys)
    if program.batch_size is None:
        data = sharding.constrain(data, program.mesh, sharding.BATCH)
    take = functools.partial(_step, program, data=data, streams=streams)
    began = state.counts.training
    # The log has the stretch's full length whatever count is: shapes stay static, and
    # steps not taken stay blank.
    records = jax.eval_shape(lambda s: take(s)[1], state)
    log = jax.tree.map(
        lambda r: jnp.full((program.stretch, *r.shape), _blank(r.dtype), r.dtype),
        records,
    )

    def body(i: Array, carry: Any) -> Any:
        state, log = carry
        state, record = take(state)
        write = functools.partial(lax.dynamic_update_index_in_dim, index=i, axis=0)
        return state, jax.tree.map(write, log, record)

    state, (loss, metrics) = lax.fori_loop(0, count, body, (state, log))
    scores, score_metrics = None, {}
    if program.validation_loss is not None:
        state, scores, score_metrics = _validate(program, state, validation, began)
    report = Report(loss, metrics, scores, score_metrics, state.counts)
    return state, sharding.constrain(report, program.mesh)


# Compiled as a part of the stretch; traced once for its shapes and its steps.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _step(
    program: Program, state: State, *, data: Any, streams: Array
) -> tuple[State, tuple[Array, dict[str, Array]]]:
    """One step of every member that still trains."""
    active = state.counts.training
    # All members take the step, and what the stopped would have changed is not
    # selected below: a branch under vmap would compute both sides anyway.
    batch, axis, order = _batch(program, state, data, streams[:, 0])
    keys = jax.vmap(jax.random.fold_in, (0, None))(streams[:, 1], state.step)
    take = functools.partial(_member_step, program)
    value, metrics, params, opt_state, model_state, sound = _over_members(
        take, program.members, (0, 0, 0, axis, 0)
    )(state.params, state.opt_state, state.model_state, batch, keys)

    sound = _compute_once(sound, state.step)
    ok = active & sound
    # A loss that is not finite condemns the parameters it was computed at, and the
    # state that came with them.
    back = active & ~jnp.isfinite(value)
    kept = _select(back, state.previous, state.params)
    kept_model_state = _select(back, state.previous_model_state, state.model_state)
    new = state._replace(
        step=state.step + 1,
        params=_select(ok, params, kept),
        previous=_select(ok, state.params, state.previous),
        opt_state=_select(ok, opt_state, state.opt_state),
        order=order,
        counts=state.counts._replace(
            updates=state.counts.updates + ok,
            diverged=jnp.where(active & ~sound, state.step, state.counts.diverged),
        ),
        model_state=_select(ok, model_state, kept_model_state),
        previous_model_state=_select(ok, state.model_state, state.previous_model_state),
    )
    record = _mask(active, (value, metrics))
    return _constrain(program, new), record


def _member_step(
    program: Program,
    params: Params,
    opt_state: Any,
    model_state: Any,
    batch: Any,
    key: Array,
) -> tuple[Array, dict[str, Array], Params, Any, Any, Array]:
    def value_and_rest(p: Params) -> tuple[Array, tuple[dict[str, Array], Any]]:
        value, metrics, after = losses.value_metrics_and_state(
            program.loss, p, batch, key, model_state
        )
        return value, (metrics, after)

    # Steps are the body of a loop.
    (value, (metrics, new_model_state)), grad = conv_layouts.channels_last(
        jax.value_and_grad(value_and_rest, has_aux=True)
    )(params)
    updates, opt_state = program.optimizer.update(
        grad,
        opt_state,
        params,
        value=value,
        grad=grad,
        value_fn=lambda p: value_and_rest(p)[0],
    )
    params = optax.apply_updates(params, updates)
    sound = jnp.isfinite(value) & _all_finite(grad) & _all_finite(params)
    if any(map(_is_inexact, jax.tree.leaves(new_model_state))):
        sound = sound & _all_finite(new_model_state)
    return value, metrics, params, opt_state, new_model_state, sound


def _batch(
    program: Program, state: State, data: Any, keys: Array
) -> tuple[Any, int | None, Array | None]:
    """Return this step's examples, their member axis, and the order of the epoch."""
    size = program.batch_size
    if size is None or state.order is None:
        return data, None, state.order
    rows, examples = state.order.shape
    epoch, place = jnp.divmod(state.step, examples // size)

    def shuffled(order: Array) -> Array:
        epoch_keys = jax.vmap(jax.random.fold_in, (0, None))(keys[:rows], epoch)
        return permutations(epoch_keys, examples)

    # The step is shared by members, so this is a branch: one sort an epoch.
    order = lax.cond(place == 0, shuffled, lambda order: order, state.order)
    chosen = lax.dynamic_slice_in_dim(order, place * size, size, axis=1)
    axes = (sharding.MEMBERS, sharding.BATCH)
    axis = 0
    if program.shared_batches:
        chosen, axes, axis = chosen[0], axes[1:], None
    batch = jax.tree.map(
        lambda leaf: leaf.at[chosen].get(mode="promise_in_bounds"), data
    )
    return sharding.constrain(batch, program.mesh, *axes), axis, order


def permutations(keys: Array, number: int) -> Int[Array, "rows number"]:
    """One random order of ``range(number)`` a key.

    ``jax.random.permutation`` sorts pairs, which costs on CPU four to ten times what
    sorting single integers does. So random bits and position share an integer, and as
    many rounds are made as it takes for ties, which keep their order, to be rare.
    """
    width = max(1, (number - 1).bit_length())
    spare = 32 - width
    if spare < 8:
        return jax.vmap(lambda key: jax.random.permutation(key, number))(keys)
    # Two rows tie in all rounds with probability 2^(-spare rounds) <= number^-2.
    rounds = -(-2 * width // spare)
    position = jnp.arange(number, dtype=jnp.uint32)
    order = jnp.broadcast_to(position, (len(keys), number))
    for i in range(rounds):
        round_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        bits = jax.vmap(lambda k: jax.random.bits(k, (number,), jnp.uint32))(round_keys)
        drawn = lax.sort((bits << jnp.uint32(width)) | position[None], dimension=1)
        chosen = drawn & jnp.uint32(2**width - 1)
        order = jnp.take_along_axis(order, chosen, axis=1)
    return order.astype(jnp.int32)


def _validate(
    program: Program, state: State, validation: Any, began: Array
) -> tuple[State, Array, dict[str, Array]]:
    """Score the members that trained in this stretch; keep the best, stop the idle."""

    def score(params: Params, model_state: Any) -> tuple[Array, dict[str, Array]]:
        assert program.validation_loss is not None
        # Without a key it is not training; what becomes of the state is let go.
        return losses.value_metrics_and_state(
            program.validation_loss, params, validation, None, model_state
        )[:2]

    value, metrics = _over_members(score, program.members)(
        state.params, state.model_state
    )
    assert state.best_loss is not None
    improved = began & (value < state.best_loss)
    unimproved = jnp.where(improved, 0, state.unimproved + began)
    # A member that stopped or diverged in this stretch is scored with it once more.
    counts = state.counts
    stopped = counts.stopped
    if program.patience is not None:
        stopped = stopped | (counts.training & (unimproved >= program.patience))
    state = state._replace(
        counts=counts._replace(
            stopped=stopped,
            best_step=jnp.where(improved, counts.updates, counts.best_step),
        ),
        best=_select(improved, state.params, state.best),
        best_loss=_select(improved, value, state.best_loss),
        unimproved=unimproved,
        best_model_state=_select(improved, state.model_state, state.best_model_state),
    )
    value, metrics = _mask(began, (value, metrics))
    return _constrain(program, state), value, metrics


def _constrain(program: Program, state: State) -> State:
    if program.mesh is None:
        return state
    by_member = state._replace(step=None, order=None)
    spread = sharding.constrain(by_member, program.mesh, sharding.MEMBERS)
    order = state.order
    if order is not None and not program.shared_batches:
        order = sharding.constrain(order, program.mesh, sharding.MEMBERS)
    return spread._replace(
        step=sharding.constrain(state.step, program.mesh), order=order
    )


def _over_members(
    f: Callable[..., Any], members: int, in_axes: int | tuple[int | None, ...] = 0
) -> Callable[..., Any]:
    """``vmap``; one member alone is called as it is, so its branches stay branches."""
    if members > 1:
        return jax.vmap(f, in_axes)

    def alone(*args: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        inner = [
            arg if axis is None else jax.tree.map(lambda leaf: leaf[0], arg)
            for arg, axis in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], f(*inner))

    return alone


def _select(choose: Array, new: Any, old: Any) -> Any:
    """By member: ``new`` where ``choose``, else ``old``; in the type of ``old``."""

    def leaf(a: Array, b: Array) -> Array:
        mask = choose.reshape(choose.shape + (1,) * (b.ndim - 1))
        return jnp.where(mask, a if a.dtype == b.dtype else a.astype(b.dtype), b)

    return jax.tree.map(leaf, new, old)


def _mask(active: Array, records: Any) -> Any:
    def leaf(value: Array) -> Array:
        blank = jnp.full_like(value, _blank(value.dtype))
        return _select(active, value, blank)

    return jax.tree.map(leaf, records)


def _blank(dtype: Any) -> float | int:
    return np.nan if jnp.issubdtype(dtype, jnp.inexact) else 0


def _compute_once(sound: Array, step: Array) -> Array:
    """Return ``sound`` by a branch that is always taken: XLA fuses nothing with it.

    Else every selection by it would hold its computation from all leaves again, which
    is quadratic in their number: 16 s of compilation, and not 4, for 75 leaves
    (measured). ``lax.optimization_barrier`` is gone before XLA fuses on a CPU.
    """
    return lax.cond(step >= 0, lambda s: s, jnp.zeros_like, sound)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if _is_inexact(leaf)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def _is_inexact(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _strong(leaf: Array) -> Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    return lax.convert_element_type(leaf, leaf.dtype)
