"""Models to and from flax (linen and nnx) and equinox.

``to_*`` makes a model of kanjax a module of another library, to be trained by that
library's own loop. ``from_*`` makes another library's module a pair ``(apply,
params)`` that every analysis of kanjax takes. The libraries are imported when a
function needs them; ``pip install kanjax[interop]`` installs them.
"""

import functools
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array

from kanjax import model as models

Params = Any


class Apply(Protocol):
    """A pure function of parameters and inputs."""

    def __call__(self, params: Params, x: Any, *, key: Array | None = None) -> Any:
        """Evaluate at x; ``key`` drives what is random, e.g. dropout."""
        ...


class Functional(NamedTuple):
    """A module taken apart: a pure function, and the trained parameters it takes."""

    apply: Apply
    params: Params


def to_linen(model: models.Model) -> Any:
    """A ``flax.linen.Module`` that computes what the model does.

    Its variables are ``{"params": {"model": params}}`` with the model's own parameters
    as they are, tuples included, so either side's parameters serve the other.
    ``init`` draws them by ``model.init``. The model's arrays that are not trained are
    constants of the module. The rng stream "dropout", if given, is the model's key.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if flax is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, kanjax as kj
        >>> net = kj.interop.to_linen(kj.nn.MLP((2, 8, 1)))
        >>> variables = net.init(jax.random.key(0), jnp.ones((5, 2)))
        >>> net.apply(variables, jnp.ones((5, 2))).shape
        (5, 1)
    """
    _check_model(model)
    return _linen_class()(model)


def to_nnx(model: models.Model, params: Params) -> Any:
    """A ``flax.nnx.Module`` that computes what the model does.

    Each leaf of params becomes an ``nnx.Param``; the model's arrays that are not
    trained are plain arrays of the module, which ``wrt=nnx.Param`` leaves alone. Call
    it as ``module(x)`` or ``module(x, key=key)``; ``module.params`` is the pytree that
    the model takes, as training has left it.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if flax is not installed.
    """
    _check_model(model)
    return _nnx_class()(model, params)


def to_equinox(model: models.Model, params: Params) -> Any:
    """An ``equinox.Module`` that computes what the model does.

    Its array leaves are those of params and nothing else, so that
    ``equinox.filter(module, equinox.is_inexact_array)`` is what to train; the model,
    with its arrays that are not trained, is static. Call it as ``module(x)`` or
    ``module(x, key=key)``, on one example or on a batch; ``module.params`` is the
    pytree that the model takes.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if equinox is not installed.
    """
    _check_model(model)
    return _equinox_class()(params, _Static(model))


def from_flax(module: Any, variables: Any = None, **options: Any) -> Functional:
    """A flax module, linen or nnx, as ``(apply, params)``.

    What is not trained is bound in ``apply`` as it is now and never updated: other
    collections than "params" (batch statistics) for linen, other variables than
    ``nnx.Param`` (batch statistics, random streams) for nnx. So evaluate normalisation
    and dropout in their inference mode: by an option such as ``train=False``, or by
    ``module.eval()`` before the call of this function.

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
    linen, nnx = _flax()
    if isinstance(module, linen.Module):
        return _from_linen(module, variables, options)
    if not isinstance(module, nnx.Module):
        raise TypeError(
            "module must be a flax.linen.Module or a flax.nnx.Module; got "
            f"{type(module).__name__}."
        )
    if variables is not None:
        raise ValueError("an nnx module holds its variables; leave variables out.")
    return _from_nnx(module, options)


def from_equinox(module: Any, *, batched: bool = True) -> Functional:
    """An equinox module as ``(apply, params)``.

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

    Example:
        >>> import equinox, jax, jax.numpy as jnp, kanjax as kj
        >>> net = equinox.nn.MLP(2, 1, 8, 1, key=jax.random.key(0))
        >>> apply, params = kj.interop.from_equinox(net)
        >>> apply(params, jnp.ones((5, 2))).shape
        (5, 1)
    """
    eqx = _equinox()
    if not isinstance(module, eqx.Module) or not callable(module):
        raise TypeError(
            f"module must be a callable equinox.Module; got {type(module).__name__}."
        )
    params, rest = eqx.partition(module, eqx.is_inexact_array)

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        whole = eqx.combine(params, rest)
        if not batched:
            return whole(x) if key is None else whole(x, key=key)
        if key is None:
            return jax.vmap(whole)(x)
        keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
        return jax.vmap(lambda one, k: whole(one, key=k))(x, keys)

    return Functional(apply, params)


def _from_linen(module: Any, variables: Any, options: dict[str, Any]) -> Functional:
    if variables is None or "params" not in variables:
        raise ValueError(
            "variables must hold 'params', as module.init(key, x) returns them; got "
            f"{None if variables is None else sorted(variables)}."
        )
    rest = {name: value for name, value in variables.items() if name != "params"}

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        rngs = {} if key is None else {"dropout": key}
        return module.apply({**rest, "params": params}, x, rngs=rngs, **options)

    return Functional(apply, variables["params"])


def _from_nnx(module: Any, options: dict[str, Any]) -> Functional:
    _, nnx = _flax()
    # A state shares its variables with the module; only copies can be written to
    # without the module's later changes, or those of a call, reaching the next call.
    graph, *states = nnx.split(module, nnx.Param, ...)
    trained, rest = _copy_variables(states)

    def apply(params: Params, x: Any, *, key: Array | None = None) -> Any:
        ours, others = _copy_variables((trained, rest))
        nnx.replace_by_pure_dict(ours, params)
        whole = nnx.merge(graph, ours, others)
        if key is not None:
            nnx.reseed(whole, dropout=key, default=key)
        return whole(x, **options)

    return Functional(apply, nnx.to_pure_dict(trained))


def _copy_variables(states: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf, states)


class _Static:
    """A model as an opaque value: not a pytree, equal and hashed as the model is."""

    def __init__(self, model: models.Model) -> None:
        self.model = model

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.model == other.model

    def __hash__(self) -> int:
        return hash(self.model)

    def __repr__(self) -> str:
        return repr(self.model)


@functools.cache
def _linen_class() -> Any:
    linen, _ = _flax()

    class LinenModel(linen.Module):
        """A model of kanjax as a linen module."""

        model: Any

        @linen.compact
        def __call__(self, x: Any) -> Any:
            params = self.param("model", self.model.init)
            key = self.make_rng("dropout") if self.has_rng("dropout") else None
            return self.model.apply(params, x, key=key)

    return LinenModel


@functools.cache
def _nnx_class() -> Any:
    _, nnx = _flax()

    class NNXModel(nnx.Module):
        """A model of kanjax as an nnx module."""

        def __init__(self, model: models.Model, params: Params) -> None:
            self.model = nnx.data(model)
            self.variables = nnx.data(jax.tree.map(nnx.Param, params))

        @property
        def params(self) -> Params:
            """The trained parameters as the model takes them."""
            return jax.tree.map(
                lambda variable: variable[...],
                self.variables,
                is_leaf=lambda node: isinstance(node, nnx.Variable),
            )

        def __call__(self, x: Any, *, key: Array | None = None) -> Any:
            return self.model.apply(self.params, x, key=key)

    return NNXModel


@functools.cache
def _equinox_class() -> Any:
    eqx = _equinox()

    class EquinoxModel(eqx.Module):
        """A model of kanjax as an equinox module."""

        params: Params
        description: _Static = eqx.field(static=True)

        @property
        def model(self) -> models.Model:
            """The model, which is not trained."""
            return self.description.model

        def __call__(self, x: Any, *, key: Array | None = None) -> Any:
            return self.model.apply(self.params, x, key=key)

    return EquinoxModel


def _flax() -> tuple[Any, Any]:
    try:
        from flax import linen, nnx
    except ImportError as error:
        raise ImportError(
            "this function of kanjax.interop needs flax: pip install kanjax[interop]"
        ) from error
    return linen, nnx


def _equinox() -> Any:
    try:
        import equinox
    except ImportError as error:
        raise ImportError(
            "this function of kanjax.interop needs equinox: pip install kanjax[interop]"
        ) from error
    return equinox


def _check_model(model: Any) -> None:
    if not isinstance(model, models.Model) or isinstance(model, type):
        raise TypeError(
            "model must be a model of kanjax, with init(key) and apply(params, x); got "
            f"{model!r}."
        )
