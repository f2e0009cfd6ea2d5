"""Normalisation by the statistics of the batch, and how to be rid of it.

Source: Ioffe, Szegedy (2015), Batch Normalization, arXiv 1502.03167.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import model as models
from kanjax.checks import as_floating
from kanjax.nn import checks, norm
from kanjax.nn.affine import Affine
from kanjax.nn.aggregate import GraphNetwork
from kanjax.nn.conv import Conv
from kanjax.nn.dense import Dense

Params = Any
State = dict[str, Array]


@models.dataclass
class BatchNorm:
    """``scale (x - mean) / sqrt(var + eps) + bias``, feature by feature.

    With ``train=True`` mean and variance are those of x over all axes but the last, and
    the running ones move by ``running = momentum running + (1 - momentum) batch``;
    with ``train=False`` they are the running ones, which stay. This is flax's
    convention: torch calls ``1 - momentum`` momentum. The variance is the biased one,
    in the running average as well (torch's is unbiased there). Statistics are taken in
    float32 or better.

    Args:
        features: length of the last axis.
        momentum: the share of the running statistics that a batch leaves, in [0, 1).
        eps: what keeps the division finite.
        use_scale: whether there is a scale to train.
        use_bias: whether there is a bias to train.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = BatchNorm(4)
        >>> params, state = layer.init(jax.random.key(0)), layer.initial_state()
        >>> x = 3 + jax.random.normal(jax.random.key(1), (64, 4))
        >>> y, state = layer.apply(params, x, state=state, train=True)
        >>> bool(jnp.all(jnp.abs(jnp.mean(y, axis=0)) < 1e-4))
        True
        >>> y, _ = layer.apply(params, x, state=state)
    """

    features: int
    momentum: float = 0.9
    eps: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    def __post_init__(self) -> None:
        checks.check_positive(features=self.features)
        norm.check_eps(self.eps)
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum must be in [0, 1); got {self.momentum!r}. It is the share "
                "that stays: 0.9 here is 0.1 in torch."
            )

    def init(self, key: Array) -> dict[str, Array]:
        """Give any "scale" of ones and "bias" of zeros, both (features,)."""
        params = {"scale": jnp.ones(self.features)} if self.use_scale else {}
        return params | ({"bias": jnp.zeros(self.features)} if self.use_bias else {})

    def initial_state(self, batch_shape: tuple[int, ...] = ()) -> State:
        """Give running "mean" of zeros and "var" of ones, both (features,)."""
        return {"mean": jnp.zeros(self.features), "var": jnp.ones(self.features)}

    def apply(
        self,
        params: dict[str, Array],
        x: Array,
        *,
        state: State | None = None,
        key: Array | None = None,
        train: bool = False,
    ) -> tuple[Array, State]:
        """Normalise x (..., features).

        Args:
            params: as :meth:`init` gives them.
            x: (..., features), in training with one axis more at least.
            state: the running statistics.
            key: not used.
            train: whether statistics are those of x, and move the running ones.

        Returns:
            ``(y, state)``, y of the shape of x.

        Raises:
            ValueError: if no state came, or x does not fit.
        """
        checks.check_last_axis(x, self.features)
        x = as_floating(x)
        if not isinstance(state, dict) or set(state) != {"mean", "var"}:
            raise ValueError(
                "BatchNorm needs its running statistics, with 'mean' and 'var'; got "
                f"state={state!r}. Call the network as apply(params, x, state=state), "
                "beginning with state = network.initial_state(), or fold the "
                "statistics into a network without by nn.fold_batch_norm."
            )
        wide = norm.widen(x)
        mean, var = state["mean"], state["var"]
        if train:
            if x.ndim < 2:
                raise ValueError(
                    f"train=True needs a batch; x has shape {x.shape}, with features "
                    "alone. Under vmap over examples there is no batch to see."
                )
            axes = tuple(range(x.ndim - 1))
            mean, var = jnp.mean(wide, axis=axes), jnp.var(wide, axis=axes)
            state = {
                "mean": self._moved(state["mean"], mean),
                "var": self._moved(state["var"], var),
            }
        scale, shift = self._scale_and_shift(params, mean, var)
        y = (wide - _along(mean, x)) * _along(scale, x) + _along(shift, x)
        return y.astype(jnp.result_type(x, *params.values())), state

    def parameter_axes(self) -> dict[str, tuple[str | None, ...]]:
        """Say what the axes of each parameter run over."""
        used = {"scale": self.use_scale, "bias": self.use_bias}
        return {name: ("unit",) for name, is_used in used.items() if is_used}

    def affine(self, params: dict[str, Array], state: State) -> dict[str, Array]:
        """Give the parameters of the :class:`Affine` that this is with train=False."""
        scale, bias = self._scale_and_shift(params, state["mean"], state["var"])
        return {"scale": scale, "bias": bias - state["mean"] * scale}

    def _moved(self, running: Array, batch: Array) -> Array:
        moved = self.momentum * running + (1 - self.momentum) * batch
        return moved.astype(running.dtype)

    def _scale_and_shift(
        self, params: dict[str, Array], mean: Array, var: Array
    ) -> tuple[Array, Array]:
        scale = jax.lax.rsqrt(norm.widen(var) + self.eps)
        if self.use_scale:
            scale = scale * params["scale"]
        return scale, params["bias"] if self.use_bias else jnp.zeros_like(mean)


@functools.singledispatch
def fold_batch_norm(
    model: Any, params: Params, state: Any
) -> tuple[models.Model, Params]:
    """Turn a network with running statistics into one without a state.

    Its ``apply(params, x)`` is the network's ``apply(..., train=False)``, so every
    analysis takes it. In a ``Sequential``, a :class:`BatchNorm` goes into the ``Dense``
    or ``Conv`` right before it, which has a bias then; elsewhere it becomes an
    :class:`Affine`. The function is the same, its parameters are other ones: so are
    what hangs on them, tangent kernels and sharpness.

    By class of model: ``fold_batch_norm.register(MyBlock)`` takes a function for a
    container of your own. A recurrent layer stays as it is, and begins anew at every
    call.

    Args:
        model: the network.
        params: its parameters.
        state: its state.

    Returns:
        ``(model, params)``. Works under jit, vmap and grad over params and state.

    Raises:
        TypeError: if a ``BatchNorm`` is inside of a class that is not known.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn
        >>> net = model.Sequential((nn.Dense(2, 8), nn.BatchNorm(8)))
        >>> params, state = net.init(jax.random.key(0)), net.initial_state()
        >>> plain, plain_params = nn.fold_batch_norm(net, params, state)
        >>> plain
        Sequential((Dense(2, 8),))
        >>> plain.apply(plain_params, jnp.ones((5, 2))).shape
        (5, 8)
    """
    if _has_batch_norm(model):
        raise TypeError(
            f"{type(model).__name__} has a BatchNorm inside, and fold_batch_norm does "
            "not know where; tell it by nn.fold_batch_norm.register("
            f"{type(model).__name__}), with a function of (model, params, state)."
        )
    return model, params


@fold_batch_norm.register
def _(model: BatchNorm, params: Params, state: Any) -> tuple[models.Model, Params]:
    dtype = jnp.result_type(*params.values()) if params else state["mean"].dtype
    affine = model.affine(params, state)
    return Affine(model.features), {k: v.astype(dtype) for k, v in affine.items()}


@fold_batch_norm.register
def _(
    model: models.Sequential, params: Params, state: Any
) -> tuple[models.Model, Params]:
    layers: list[models.Model] = []
    leaves: list[Params] = []
    for layer, p, s in zip(model.layers, params, state, strict=True):
        before = layers[-1] if layers else None
        if isinstance(layer, BatchNorm) and isinstance(before, Dense | Conv):
            affine = layer.affine(p, s)
            layers[-1], leaves[-1] = _into_layer(before, leaves[-1], affine)
        else:
            layer, p = fold_batch_norm(layer, p, s)
            layers.append(layer)
            leaves.append(p)
    return models.Sequential(tuple(layers)), tuple(leaves)


@fold_batch_norm.register
def _(
    model: models.Residual, params: Params, state: Any
) -> tuple[models.Model, Params]:
    branch, params = fold_batch_norm(model.branch, params, state)
    return models.Residual(branch), params


@fold_batch_norm.register
def _(model: GraphNetwork, params: Params, state: Any) -> tuple[models.Model, Params]:
    network, params = fold_batch_norm(model.network, params, state)
    return GraphNetwork(network), params


@fold_batch_norm.register(models.Parallel)
@fold_batch_norm.register(models.Product)
@fold_batch_norm.register(models.Concatenate)
def _(model: Any, params: Params, state: Any) -> tuple[models.Model, Params]:
    pairs = [
        fold_batch_norm(*each)
        for each in zip(model.branches, params, state, strict=True)
    ]
    branches, params = zip(*pairs, strict=True)
    return dataclasses.replace(model, branches=branches), params


def _into_layer(
    layer: Dense | Conv, params: dict[str, Array], affine: dict[str, Array]
) -> tuple[models.Model, dict[str, Array]]:
    """Return the layer that is the affine function of the layer's outputs."""
    kernel, ntk = params["kernel"], layer.parameterization == "ntk"
    bias_scale = layer.bias_scale
    if ntk and not layer.has_bias:
        # There the bias acts times its scale, which must not be 0 then.
        bias_scale = bias_scale or 1.0
    factor = bias_scale if ntk else 1.0
    bias = factor * params["bias"] if layer.has_bias else 0.0
    scale = jnp.broadcast_to(affine["scale"], kernel.shape)
    after = {
        "kernel": (kernel * scale).astype(kernel.dtype),
        "bias": ((affine["scale"] * bias + affine["bias"]) / factor).astype(
            kernel.dtype
        ),
    }
    return dataclasses.replace(layer, use_bias=True, bias_scale=bias_scale), after


def _has_batch_norm(model: Any) -> bool:
    nodes = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, BatchNorm))
    return any(isinstance(node, BatchNorm) for node in nodes)


def _along(values: Array, x: Array) -> Array:
    return jnp.broadcast_to(values, x.shape)
