"""Recurrent layers: a gated unit, long short-term memory, and multiple timescales.

A layer takes a sequence by ``apply(params, x)``, or a step at a time by ``step(params,
state, x_t) -> (state, y)``, which ``jax.lax.scan`` takes with ``params`` bound.

Sources: Cho et al. (2014), arXiv 1406.1078; Hochreiter, Schmidhuber (1997), Neural
Computation 9(8), with the forget gate of Gers et al. (2000), Neural Computation 12(10);
Yamashita, Tani (2008), PLoS Computational Biology 4(11): e1000220.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import model
from kanjax.nn import checks

Params = dict[str, Array]
State = dict[str, Array]


@model.dataclass
class GRU:
    """A gated recurrent unit; its state is its output.

    ``r = sigmoid(x W_r + h U_r + b_r)``, ``z = sigmoid(x W_z + h U_z + b_z)``,
    ``n = tanh(x W_n + b_n + r (h U_n + c))`` and ``h' = (1 - z) n + z h``: the reset
    gate acts after the product, as in cuDNN, flax and torch.

    Args:
        in_features: number of inputs.
        features: number of units, which are the outputs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> gru = GRU(2, 8)
        >>> params = gru.init(jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (5, 20, 2))
        >>> y, state = gru.apply(params, x, state=gru.initial_state((5,)))
        >>> y.shape, state["hidden"].shape
        ((5, 20, 8), (5, 8))
        >>> state, y_t = gru.step(params, state, x[:, 0])
        >>> y_t.shape
        (5, 8)
    """

    in_features: int
    features: int

    def __post_init__(self) -> None:
        checks.check_positive(in_features=self.in_features, features=self.features)

    def init(self, key: Array) -> Params:
        """Draw the parameters; the gates r, z, n stand side by side.

        "kernel" (in, 3 features) is normal with variance 1 / in, "recurrent_kernel"
        (features, 3 features) orthogonal for each gate; "bias" (3 features,) and
        "recurrent_bias" (features,), c of the equations, are zeros.
        """
        params = _init(key, self.in_features, self.features, gates=3)
        return params | {"recurrent_bias": jnp.zeros(self.features)}

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give "hidden" (*batch_shape, features) of zeros."""
        return {"hidden": jnp.zeros((*batch_shape, self.features))}

    def step(
        self, params: Params, state: State, x_t: Float[Array, "*batch in"]
    ) -> tuple[State, Float[Array, "*batch features"]]:
        """Take one step of time.

        Args:
            params: as :meth:`init` gives them.
            state: as :meth:`initial_state` gives it for x_t's leading axes.
            x_t: (..., in_features), the input of this time.

        Returns:
            ``(state, y)``, y (..., features).
        """
        return _step(self, params, state, x_t)

    def apply(
        self,
        params: Params,
        x: Float[Array, "*batch time in"],
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Run over the times of a sequence.

        Args:
            params: as :meth:`init` gives them.
            x: (..., time, in_features).
            state: before the first time; None begins anew.
            key: not used.
            train: not used.

        Returns:
            y (..., time, features); with a state, ``(y, state after the last time)``.
        """
        return _run(self, params, x, state)

    def move(
        self, params: Params, state: State, drive: Sequence[Array]
    ) -> tuple[State, Array]:
        """Take one step, given the drive ``x W + b`` (..., features) of each gate.

        The recurrent kernel comes as a list of that of each gate.
        """
        h = state["hidden"]
        r, z, n = _products(h, params)
        r, z = jax.nn.sigmoid(drive[0] + r), jax.nn.sigmoid(drive[1] + z)
        n = jnp.tanh(drive[2] + r * (n + _along(params["recurrent_bias"], n)))
        h = (1 - z) * n + z * h
        return {"hidden": h}, h


@model.dataclass
class LSTM:
    """Long short-term memory, with a forget gate and without peepholes.

    ``i, f, o = sigmoid(x W + h U + b)`` and ``g = tanh(x W_g + h U_g + b_g)``, then
    ``c' = f c + i g`` and ``h' = o tanh(c')``, the output.

    Args:
        in_features: number of inputs.
        features: number of units, which are the outputs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> lstm = LSTM(2, 8)
        >>> params = lstm.init(jax.random.key(0))
        >>> lstm.apply(params, jnp.ones((5, 20, 2))).shape
        (5, 20, 8)
    """

    in_features: int
    features: int

    def __post_init__(self) -> None:
        checks.check_positive(in_features=self.in_features, features=self.features)

    def init(self, key: Array) -> Params:
        """Draw the parameters; the gates i, f, g, o stand side by side.

        "kernel" (in, 4 features) is normal with variance 1 / in, "recurrent_kernel"
        (features, 4 features) orthogonal for each gate, "bias" (4 features,) zeros.
        """
        return _init(key, self.in_features, self.features, gates=4)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give "hidden" and "cell", (*batch_shape, features) of zeros."""
        shape = (*batch_shape, self.features)
        return {"hidden": jnp.zeros(shape), "cell": jnp.zeros(shape)}

    def step(
        self, params: Params, state: State, x_t: Float[Array, "*batch in"]
    ) -> tuple[State, Float[Array, "*batch features"]]:
        """Take one step of time, as :meth:`GRU.step`."""
        return _step(self, params, state, x_t)

    def apply(
        self,
        params: Params,
        x: Float[Array, "*batch time in"],
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Run over the times of a sequence, as :meth:`GRU.apply`."""
        return _run(self, params, x, state)

    def move(
        self, params: Params, state: State, drive: Sequence[Array]
    ) -> tuple[State, Array]:
        """Take one step, given the drive ``x W + b`` (..., features) of each gate.

        The recurrent kernel comes as a list of that of each gate.
        """
        products = _products(state["hidden"], params)
        i, f, g, o = (d + p for d, p in zip(drive, products, strict=True))
        i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
        c = f * state["cell"] + i * jnp.tanh(g)
        h = o * jnp.tanh(c)
        return {"hidden": h, "cell": c}, h


@model.dataclass
class MultipleTimescale:
    """A leaky recurrent network whose groups of units have time constants of their own.

    ``h' = (1 - 1 / tau) h + (1 / tau) (x W + f(h) U + b)`` with the output ``f(h')``:
    ``tau dh/dt = -h + x W + f(h) U + b`` of Yamashita and Tani (2008) by Euler steps of
    length 1. Groups with a large tau change slowly and come to hold the context of the
    fast ones.

    Args:
        in_features: number of inputs.
        units: the number of units of each group.
        tau: the time constant of each group, 1 or more; 1 has no leak.
        activation: f.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = MultipleTimescale(2, units=(60, 20), tau=(5.0, 70.0))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((10, 2))).shape
        (10, 80)
    """

    in_features: int
    units: tuple[int, ...]
    tau: tuple[float, ...]
    activation: Callable[[Array], Array] = jnp.tanh

    def __post_init__(self) -> None:
        checks.check_positive(in_features=self.in_features)
        checks.check_function("activation", self.activation)
        for name in ("units", "tau"):
            if not isinstance(getattr(self, name), tuple) or not getattr(self, name):
                raise ValueError(
                    f"{name} must be a tuple with an entry for each group of units, "
                    f"such as (60, 20); got {getattr(self, name)!r}."
                )
        checks.check_positive(**{f"units[{i}]": n for i, n in enumerate(self.units)})
        if len(self.units) != len(self.tau):
            raise ValueError(
                "units and tau must have an entry for each group; got "
                f"{len(self.units)} and {len(self.tau)}."
            )
        if not all(1 <= tau < math.inf for tau in self.tau):
            raise ValueError(
                f"tau must be at least 1, the length of a step; got {self.tau}."
            )

    @property
    def features(self) -> int:
        """The number of units, which are the outputs."""
        return sum(self.units)

    def init(self, key: Array) -> Params:
        """Draw the parameters.

        "kernel" (in, features) is normal with variance 1 / in, "recurrent_kernel"
        (features, features) orthogonal, "bias" (features,) zeros.
        """
        return _init(key, self.in_features, self.features, gates=1)

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give "hidden" (*batch_shape, features) of zeros: the potentials h."""
        return {"hidden": jnp.zeros((*batch_shape, self.features))}

    def step(
        self, params: Params, state: State, x_t: Float[Array, "*batch in"]
    ) -> tuple[State, Float[Array, "*batch features"]]:
        """Take one step of time, as :meth:`GRU.step`."""
        return _step(self, params, state, x_t)

    def apply(
        self,
        params: Params,
        x: Float[Array, "*batch time in"],
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> Any:
        """Run over the times of a sequence, as :meth:`GRU.apply`."""
        return _run(self, params, x, state)

    def move(
        self, params: Params, state: State, drive: Sequence[Array]
    ) -> tuple[State, Array]:
        """Take one step, given the one drive ``x W + b`` (..., features)."""
        h = state["hidden"]
        rate = jnp.asarray(1 / np.repeat(self.tau, self.units), h.dtype)
        rate = _along(rate, h)
        (product,) = _products(self.activation(h), params)
        h = (1 - rate) * h + rate * (drive[0] + product)
        return {"hidden": h}, self.activation(h)


@runtime_checkable
class _Cell(Protocol):
    in_features: int

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State: ...

    def move(
        self, params: Params, state: State, drive: Sequence[Array]
    ) -> tuple[State, Array]: ...


def _init(key: Array, in_features: int, features: int, gates: int) -> Params:
    key_kernel, key_recurrent = jax.random.split(key)
    shape = (in_features, gates * features)
    orthogonal = jax.random.orthogonal(key_recurrent, features, (gates,))
    return {
        "kernel": jax.random.normal(key_kernel, shape) / math.sqrt(in_features),
        "recurrent_kernel": jnp.moveaxis(orthogonal, 0, 1).reshape(features, -1),
        "bias": jnp.zeros(gates * features),
    }


def _step(cell: Any, params: Params, state: State, x_t: Array) -> tuple[State, Array]:
    drive = _drive(cell, params, x_t)
    _check_state(cell, state, x_t.shape[:-1])
    return _move(cell, _by_gate(params), state, drive)


def _run(cell: Any, params: Params, x: Array, state: State | None) -> Any:
    if jnp.ndim(x) < 2:
        raise ValueError(
            f"x must have shape (..., time, {cell.in_features}); got {jnp.shape(x)}. "
            "For one time, call step."
        )
    batch_shape = x.shape[:-2]
    # One product for all times; only what hangs on the state is left to the scan.
    drive = _drive(cell, params, jnp.moveaxis(x, -2, 0))
    start = state
    if start is None:
        fresh = cell.initial_state(batch_shape)
        start = jax.tree.map(lambda leaf: leaf.astype(drive[0].dtype), fresh)
    _check_state(cell, start, batch_shape)
    gates = _by_gate(params)
    after, y = jax.lax.scan(
        lambda carry, now: _move(cell, gates, carry, now), start, drive
    )
    y = jnp.moveaxis(y, 0, -2)
    return y if state is None else (y, after)


# The gates stand side by side in the parameters but are arrays of their own in a step:
# on CPU, XLA makes slow code of a sigmoid of a slice.
def _drive(cell: _Cell, params: Params, x: Array) -> tuple[Array, ...]:
    checks.check_last_axis(x, cell.in_features)
    product = jnp.dot(x, params["kernel"])
    drive = product + _along(params["bias"], product)
    return tuple(jnp.split(drive, _gates(params), axis=-1))


def _products(h: Array, params: Params) -> list[Array]:
    """``h U``, of each gate."""
    return [jnp.dot(h, kernel) for kernel in params["recurrent_kernel"]]


def _by_gate(params: Params) -> Any:
    # Outside of the scan, or its gradient would join the gates again at every step.
    kernels = jnp.split(params["recurrent_kernel"], _gates(params), axis=-1)
    return params | {"recurrent_kernel": kernels}


def _gates(params: Params) -> int:
    features, columns = params["recurrent_kernel"].shape
    return columns // features


def _move(
    cell: _Cell, params: Params, state: State, drive: Sequence[Array]
) -> tuple[State, Array]:
    """One step that keeps the types of the state, and of the outputs those of drive."""
    after, y = cell.move(params, state, drive)
    kept = {name: leaf.astype(state[name].dtype) for name, leaf in after.items()}
    return kept, y.astype(drive[0].dtype)


def _check_state(cell: _Cell, state: Any, batch_shape: tuple[int, ...]) -> None:
    like = jax.eval_shape(lambda: cell.initial_state(batch_shape))
    expected = {name: leaf.shape for name, leaf in like.items()}
    came = state
    if isinstance(state, dict):
        came = {name: jnp.shape(leaf) for name, leaf in state.items()}
    if came != expected:
        raise ValueError(
            f"the state of this {type(cell).__name__} must have the shapes {expected}; "
            f"got {came}. Begin with initial_state({batch_shape})."
        )


def _along(values: Array, x: Array) -> Array:
    return jnp.broadcast_to(values, x.shape)
