"""Modules of flax and equinox as pure functions of their parameters."""

import inspect
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jax import Array

from kanjax.interop import libraries

Params = Any
State = Any

_TRAINING = ("train", "training", "is_training")
_INFERENCE = ("use_running_average", "deterministic")


@runtime_checkable
class Apply(Protocol):
    """A pure function of parameters and inputs."""

    def __call__(self, params: Params, x: Any, *, key: Array | None = None) -> Any:
        """Evaluate at x; ``key`` drives what is random, e.g. dropout."""
        ...


class Functional(NamedTuple):
    """A module taken apart: a pure function, and the trained parameters it takes."""

    apply: Apply
    params: Params


@runtime_checkable
class ApplyWithState(Protocol):
    """A pure function of parameters, inputs and state."""

    def __call__(
        self,
        params: Params,
        x: Any,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Any, State]:
        """Evaluate at x, to ``(y, new state)``, as a model with a state does."""
        ...


class Stateful(NamedTuple):
    """A module taken apart: a pure function, the trained parameters, the state."""

    apply: ApplyWithState
    params: Params
    state: State


def from_flax(module: Any, variables: Any = None, **options: Any) -> Functional:
    """Return a flax module, linen or nnx, as ``(apply, params)``.

    What is not trained is bound in ``apply`` as it is now and never updated: other
    collections than "params" (batch statistics) for linen, other variables than
    ``nnx.Param`` (batch statistics, random streams) for nnx. So evaluate normalisation
    and dropout in their inference mode: by an option such as ``train=False``, or by
    ``module.eval()`` before the call of this function. To train with batch statistics,
    see :func:`from_flax_with_state`.

    ``apply(params, x, key=key)`` gives the key to the stream "dropout" (linen), or
    seeds the streams "dropout" and "default" with it (nnx).

    Args:
        module: a ``flax.linen.Module`` or a ``flax.nnx.Module``.
        variables: for linen, what ``module.init`` returned; for nnx None.
        options: keyword arguments of every call of the module.

    Returns:
        apply, and params: ``variables["params"]`` for linen; a nested dictionary of
        arrays, by attribute, for nnx.

    Raises:
        TypeError: if module is no flax module.
        ValueError: if variables are missing, or given for nnx.
        ImportError: if flax is not installed.
    """
    if _is_linen(module, variables):
        return _from_linen(module, variables, options)
    return _from_nnx(module, options)


def from_flax_with_state(
    module: Any, variables: Any = None, **options: Any
) -> Stateful:
    """Take a flax module, linen or nnx, apart into ``(apply, params, state)``.

    ``apply(params, x, state=state, key=key, train=train) -> (y, new state)`` is the
    protocol of :class:`kanjax.model.StatefulModel`, so losses and fits take it.
    An analysis takes ``lambda params, x: apply(params, x, state=state)[0]``.

    Args:
        module: a ``flax.linen.Module`` whose ``__call__`` has a keyword for the mode:
            ``train``, ``training`` or ``is_training``, or the opposite,
            ``use_running_average`` or ``deterministic``; or a ``flax.nnx.Module``,
            which goes by ``train()`` and ``eval()``.
        variables: for linen, what ``module.init`` returned; for nnx None.
        options: other keyword arguments of every call of the module.

    Returns:
        apply; params as for :func:`from_flax`; and the state, of linen all collections
        but "params", of nnx a nested dictionary of all variables but ``nnx.Param`` and
        random streams.

    Raises:
        TypeError: if module is no flax module.
        ValueError: if variables are missing, or given for nnx; if a linen module has
            no keyword for the mode.
        ImportError: if flax is not installed.

    Examples:
        >>> import flax.linen, jax, jax.numpy as jnp, kanjax as kj
        >>> class Net(flax.linen.Module):
        ...     @flax.linen.compact
        ...     def __call__(self, x, train):
        ...         x = flax.linen.BatchNorm(not train)(flax.linen.Dense(8)(x))
        ...         return flax.linen.Dense(1)(jnp.tanh(x))
        >>> x = jax.random.normal(jax.random.key(0), (32, 2))
        >>> variables = Net().init(jax.random.key(1), x, train=False)
        >>> apply, params, state = kj.interop.from_flax_with_state(Net(), variables)
        >>> fit = kj.training.fit(
        ...     kj.training.regression(apply), params, (x, x[:, :1]), state=state,
        ...     optimizer="adam", learning_rate=1e-2, steps=2, key=jax.random.key(2))
        >>> y, _ = apply(fit.params, x, state=fit.state)
    """
    if _is_linen(module, variables):
        return _stateful_from_linen(module, variables, options)
    return _stateful_from_nnx(module, options)


def from_equinox(module: Any, *, batched: bool = True) -> Functional:
    """Return an equinox module as ``(apply, params)``.

    params is the module with all but its inexact arrays taken out
    (``equinox.partition``); the rest is bound in ``apply``. Modules that take and
    return an ``equinox.nn.State`` need a function around them that leaves it out. For
    dropout to be the identity, give ``equinox.nn.inference_mode(module)``.

    Args:
        module: a callable ``equinox.Module``.
        batched: whether apply takes a batch, mapping the module over the leading axis
            of x (equinox's own layers take one example), each example with its own
            share of the key; otherwise x and key go to the module as they are.

    Raises:
        TypeError: if module is no equinox module, or cannot be called.
        ImportError: if equinox is not installed.

    Examples:
        >>> import equinox, jax, jax.numpy as jnp, kanjax as kj
        >>> net = equinox.nn.MLP(2, 1, 8, 1, key=jax.random.key(0))
        >>> apply, params = kj.interop.from_equinox(net)
        >>> apply(params, jnp.ones((5, 2))).shape
        (5, 1)
    """
    eqx = libraries.equinox()
    if not isinstance(module, eqx.Module) or not callable(module):
        raise TypeError(
            f"module must be a callable equinox.Module; got {type(module).__name__}."
        )
    params, rest = eqx.partition(module, eqx.is_inexact_array)

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        network = eqx.combine(params, rest)
        if not batched:
            return network(x) if key is None else network(x, key=key)
        if key is None:
            return jax.vmap(network)(x)
        keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
        return jax.vmap(lambda example, k: network(example, key=k))(x, keys)

    return Functional(apply, params)


def _from_linen(module: Any, variables: Any, options: dict[str, Any]) -> Functional:
    rest = _without_params(variables)

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        rngs = {} if key is None else {"dropout": key}
        return module.apply({**rest, "params": params}, x, rngs=rngs, **options)

    return Functional(apply, variables["params"])


def _from_nnx(module: Any, options: dict[str, Any]) -> Functional:
    _, nnx = libraries.flax()
    # A state shares its variables with the module; only copies can be written to
    # without the module's later changes, or those of a call, reaching the next call.
    graph, *states = nnx.split(module, nnx.Param, ...)
    trained, rest = _copy_variables(states)

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        ours, others = _copy_variables((trained, rest))
        nnx.replace_by_pure_dict(ours, params)
        network = nnx.merge(graph, ours, others)
        if key is not None:
            nnx.reseed(network, dropout=key, default=key)
        return network(x, **options)

    return Functional(apply, nnx.to_pure_dict(trained))


def _stateful_from_linen(
    module: Any, variables: Any, options: dict[str, Any]
) -> Stateful:
    state = _without_params(variables)
    takes = inspect.signature(type(module).__call__).parameters
    modes = {name: True for name in _TRAINING if name in takes}
    modes |= {name: False for name in _INFERENCE if name in takes}
    if not modes:
        raise ValueError(
            f"the __call__ of {type(module).__name__} has no keyword to tell training "
            f"from evaluation: {', '.join(_TRAINING + _INFERENCE)}. Give it one."
        )
    given_twice = sorted(modes.keys() & options.keys())
    if given_twice:
        raise ValueError(
            f"{given_twice[0]} follows apply's own train; leave it out of the options."
        )

    def apply(
        params: Params,
        x: Any,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Any, State]:
        before = _check_state(state)
        y, updates = module.apply(
            {**before, "params": params},
            x,
            rngs={} if key is None else {"dropout": key},
            mutable=list(before),
            **{name: train == mode for name, mode in modes.items()},
            **options,
        )
        return y, {**before, **updates}

    return Stateful(apply, variables["params"], state)


def _stateful_from_nnx(module: Any, options: dict[str, Any]) -> Stateful:
    _, nnx = libraries.flax()
    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, ...)
    trained, streams, moving = _copy_variables(states)

    def apply(
        params: Params,
        x: Any,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Any, State]:
        before = _check_state(state)
        ours, random, others = _copy_variables((trained, streams, moving))
        nnx.replace_by_pure_dict(ours, params)
        nnx.replace_by_pure_dict(others, before)
        net = nnx.merge(graph, ours, random, others)
        if train:
            net.train()
        else:
            net.eval()
        if key is not None:
            nnx.reseed(net, dropout=key, default=key)
        y = net(x, **options)
        _, _, after = nnx.state(net, nnx.Param, nnx.RngState, ...)
        return y, nnx.to_pure_dict(after)

    return Stateful(apply, nnx.to_pure_dict(trained), nnx.to_pure_dict(moving))


def _check_state(state: Any) -> Any:
    if state is None:
        raise ValueError(
            "this network has a state: call apply(params, x, state=state), with the "
            "state of from_flax_with_state or of a fit."
        )
    return state


def _is_linen(module: Any, variables: Any) -> bool:
    """Whether a flax module is linen, not nnx; its variables are where they should."""
    linen, nnx = libraries.flax()
    if isinstance(module, linen.Module):
        if variables is None or "params" not in variables:
            raise ValueError(
                "variables must hold 'params', as module.init(key, x) returns them; "
                f"got {None if variables is None else sorted(variables)}."
            )
        return True
    if not isinstance(module, nnx.Module):
        raise TypeError(
            "module must be a flax.linen.Module or a flax.nnx.Module; got "
            f"{type(module).__name__}."
        )
    if variables is not None:
        raise ValueError("an nnx module holds its variables; leave variables out.")
    return False


def _without_params(variables: Any) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name != "params"}


def _copy_variables(states: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf, states)
