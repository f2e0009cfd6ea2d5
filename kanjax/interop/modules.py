"""Models of kanjax as modules of flax and equinox.

A model whose state is running statistics, as those of batch norm, keeps them where the
library keeps its own; one whose state is a memory begins anew at each call.
"""

import functools
from typing import Any

import jax
from jax import Array

from kanjax import model as models
from kanjax.interop import libraries

Params = Any
State = Any


def to_linen(model: models.Model) -> Any:
    """Return a ``flax.linen.Module`` that computes what the model does.

    Its variables are ``{"params": {"model": params}}`` with the model's own parameters
    as they are, tuples included, so either side's parameters serve the other.
    ``init`` draws them by ``model.init``. The model's arrays that are not trained are
    constants of the module. The rng stream "dropout", if given, is the model's key.
    Running statistics are the collection "batch_stats", as of linen's own batch norm:
    ``net.apply(variables, x, train=True, mutable="batch_stats")`` updates them.

    Args:
        model: with init and apply.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if flax is not installed.

    Examples:
        >>> import jax, jax.numpy as jnp, kanjax as kj
        >>> net = kj.interop.to_linen(kj.nn.MLP((2, 8, 1)))
        >>> variables = net.init(jax.random.key(0), jnp.ones((5, 2)))
        >>> net.apply(variables, jnp.ones((5, 2))).shape
        (5, 1)
    """
    _check_model(model)
    return _linen_class()(model)


def to_nnx(model: models.Model, params: Params, state: State | None = None) -> Any:
    """Return a ``flax.nnx.Module`` that computes what the model does.

    Each leaf of params becomes an ``nnx.Param``; the model's arrays that are not
    trained are plain arrays of the module, which ``wrt=nnx.Param`` leaves alone. Call
    it as ``module(x)`` or ``module(x, key=key)``; ``module.params`` is the pytree that
    the model takes, as training has left it. Running statistics are ``nnx.BatchStat``,
    ``module.state`` their pytree, and ``module(x, train=True)`` updates them.

    Args:
        model: with init and apply.
        params: its parameters.
        state: of a model with running statistics; None for those before the first call.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if flax is not installed.
    """
    _check_model(model)
    return _nnx_class()(model, params, state)


def to_equinox(model: models.Model, params: Params) -> Any:
    """Return an ``equinox.Module`` that computes what the model does.

    Its array leaves are those of params and nothing else, so that
    ``equinox.filter(module, equinox.is_inexact_array)`` is what to train; the model,
    with its arrays that are not trained, is static. Call it as ``module(x)`` or
    ``module(x, key=key)``, on one example or on a batch; ``module.params`` is the
    pytree that the model takes. A state goes in and out as with the model itself:
    ``y, state = module(x, state=state, train=True)`` from
    ``state = module.model.initial_state()``.

    Args:
        model: with init and apply.
        params: its parameters.

    Raises:
        TypeError: if model has no init and apply.
        ImportError: if equinox is not installed.
    """
    _check_model(model)
    return _equinox_class()(params, _Static(model))


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
    linen, _ = libraries.flax()

    class LinenModel(linen.Module):
        """A model of kanjax as a linen module."""

        model: Any

        @linen.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            params = self.param("model", self.model.init)
            key = self.make_rng("dropout") if self.has_rng("dropout") else None
            start = _statistics(self.model)
            if start is None:
                return self.model.apply(params, x, key=key)
            model: Any = self.model
            state = self.variable("batch_stats", "model", lambda: start)
            y, after = model.apply(params, x, state=state.value, key=key, train=train)
            if train and not self.is_initializing():
                state.value = after
            return y

    return LinenModel


@functools.cache
def _nnx_class() -> Any:
    _, nnx = libraries.flax()

    class NNXModel(nnx.Module):
        """A model of kanjax as an nnx module."""

        def __init__(
            self, model: models.Model, params: Params, state: State | None
        ) -> None:
            self.model = nnx.data(model)
            self.variables = nnx.data(jax.tree.map(nnx.Param, params))
            state = _statistics(model) if state is None else state
            self.statistics = nnx.data(jax.tree.map(nnx.BatchStat, state))

        @property
        def params(self) -> Params:
            """The trained parameters as the model takes them."""
            return self._values(self.variables)

        @property
        def state(self) -> State:
            """The running statistics as the model takes them; None for none."""
            return self._values(self.statistics)

        def __call__(
            self, x: Any, *, key: Array | None = None, train: bool = False
        ) -> Any:
            state = self.state
            if state is None:
                return self.model.apply(self.params, x, key=key)
            y, after = self.model.apply(
                self.params, x, state=state, key=key, train=train
            )
            if train:
                variables = jax.tree.leaves(self.statistics, is_leaf=self._is_variable)
                for variable, value in zip(
                    variables, jax.tree.leaves(after), strict=True
                ):
                    variable[...] = value
            return y

        def _values(self, variables: Any) -> Any:
            return jax.tree.map(
                lambda variable: variable[...], variables, is_leaf=self._is_variable
            )

        @staticmethod
        def _is_variable(node: Any) -> bool:
            return isinstance(node, nnx.Variable)

    return NNXModel


@functools.cache
def _equinox_class() -> Any:
    eqx = libraries.equinox()

    class EquinoxModel(eqx.Module):
        """A model of kanjax as an equinox module."""

        params: Params
        description: _Static = eqx.field(static=True)

        @property
        def model(self) -> models.Model:
            """The model, which is not trained."""
            return self.description.model

        def __call__(
            self,
            x: Any,
            *,
            state: State | None = None,
            key: Array | None = None,
            train: bool = False,
        ) -> Any:
            if state is None:
                return self.model.apply(self.params, x, key=key)
            model: Any = self.model
            return model.apply(self.params, x, state=state, key=key, train=train)

    return EquinoxModel


def _statistics(model: models.Model) -> State | None:
    """Return a model's state before the first call, if it is no memory of inputs.

    Running statistics have the same shapes whatever the batch; a memory has its axes.
    """
    first, other = (models.initial_state(model, shape) for shape in ((), (2,)))
    shapes = [[leaf.shape for leaf in jax.tree.leaves(s)] for s in (first, other)]
    return first if shapes[0] and shapes[0] == shapes[1] else None


def _check_model(model: Any) -> None:
    if not isinstance(model, models.Model) or isinstance(model, type):
        raise TypeError(
            "model must be a model of kanjax, with init(key) and apply(params, x); got "
            f"{model!r}."
        )
