"""Layers and networks that are linear in random features.

Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov 2024, "Scalable Neural Network
Kernels", arXiv 2310.13225. Where a dense layer with its activation is ``f(W x + b)``,
its twin is ``Psi(W, b) Phi(x)``: trained is the matrix of the weights' features, and
the linear map of the next layer merges with it. A whole network becomes one matrix on
fixed features, with a least-squares solution in closed form.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, model, nn
from kanjax.ntk import random_features as rf

Features = rf.ExponentialFeatures | rf.ReLUFeatures

Method = Literal["unbiased", "fitted"]
"""How a twin gets its weights: as the features of a layer's, or by least squares."""


@model.dataclass
class RandomFeatureLayer:
    """A dense layer with its activation, as one matrix on random features.

    Args:
        features: maps one after the other (one for a layer, several for a network that
            is bundled), each a model without parameters.
        out_features: number of outputs.
        use_bias: whether a bias is added to the outputs.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax.ntk import random_features as rf
        >>> projections = rf.gaussian_projections(jax.random.key(0), 16, 4)
        >>> layer = RandomFeatureLayer((rf.ReLUFeatures(projections),), 3)
        >>> params = layer.init(jax.random.key(1))
        >>> params["kernel"].shape, layer.apply(params, jnp.ones((5, 4))).shape
        ((16, 3), (5, 3))
    """

    features: tuple[Features, ...] = model.child()
    out_features: int
    use_bias: bool = False

    @property
    def columns(self) -> int:
        """The number of features that the matrix is applied to."""
        return self.features[-1].columns

    def init(self, key: Array) -> dict[str, Array]:
        """Draw "kernel" (columns, out), and "bias" (out,) of zeros.

        The kernel holds the features of weights and biases that are uniform up to ``1 /
        sqrt(in)``, as an ordinary layer starts with.
        """
        last = self.features[-1]
        reach = 1 / math.sqrt(last.in_features)
        shape = (self.out_features, last.in_features + 1)
        drawn = jax.random.uniform(key, shape, minval=-reach, maxval=reach)
        return self._params(_of_weights(last, drawn[:, :-1], drawn[:, -1]).T)

    def _params(self, kernel: Array, bias: Array | None = None) -> dict[str, Array]:
        if not self.use_bias:
            return {"kernel": kernel}
        zeros = jnp.zeros(self.out_features, kernel.dtype)
        return {"kernel": kernel, "bias": zeros if bias is None else bias}

    def transform(self, x: Array) -> Float[Array, "*batch columns"]:
        """Return the features of inputs x (..., in)."""
        for feature in self.features:
            x = feature.apply((), x)
        return x

    def apply(
        self, params: dict[str, Array], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the outputs for x (..., in)."""
        y = jnp.matmul(self.transform(x), params["kernel"])
        return y + jnp.broadcast_to(params["bias"], y.shape) if self.use_bias else y


class Twin(NamedTuple):
    """A layer or network on random features beside what it stands for.

    Attributes:
        model: the layer.
        params: its parameters.
        error: the root of the mean squared difference of outputs over that of the
            outputs: 0 is exact, 1 is as bad as zeros.
    """

    model: RandomFeatureLayer
    params: dict[str, Array]
    error: Float[Array, ""]


class LeastSquares(NamedTuple):
    """A ridge regression on features.

    Attributes:
        kernel: (columns, outputs).
        residual: of the normal equations, relative to their right-hand side.
    """

    kernel: Float[Array, "columns outputs"]
    residual: Float[Array, ""]


def snnk_from_dense(
    params: Any,
    activation: rf.Activation | rf.Spectrum,
    x: Float[Array, "n in"],
    *,
    key: Array,
    m: int,
    method: Method = "unbiased",
    layer: nn.Dense | None = None,
    orthogonal: bool = False,
    split: rf.Split = "real",
    terms: int = 8,
    ridge: float = 1e-6,
) -> Twin:
    """Turn a dense layer and its activation into a layer on m random features.

    Args:
        params: a layer of kanjax or flax ("kernel" (in, out) and maybe "bias"), or of
            equinox ("weight" (out, in), as PyTorch lays it out); a dict of arrays or an
            object with such attributes.
        activation: the function after it. Sine, cosine and exp are taken exactly; any
            other by its cosine series as far as the layer's sums go on x.
        x: (n, in), inputs that the layer meets: they set scales and tell the error.
        key: of the draw.
        m: number of features.
        method: "unbiased": the paper's, exponential features of the layer's weights;
            its error grows exponentially with the norms of weights and inputs.
            "fitted": ReLU features, and a matrix fitted to the layer's outputs on x;
            its error is that of fits on either half of x at the other half.
        layer: a kanjax layer whose scales count ("ntk" parameterization).
        orthogonal: whether projections are orthogonal in blocks.
        split: of exponential features; "symmetric" has 2 m of them.
        terms: of the cosine series.
        ridge: of the fit, times the mean diagonal of the features' Gram matrix.

    Raises:
        TypeError: if params are no dense layer's.
        ValueError: if shapes do not fit, or method is unknown.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> x = jax.random.normal(jax.random.key(0), (200, 4)) / 2
        >>> params = nn.Dense(4, 8).init(jax.random.key(1))
        >>> twin = snnk_from_dense(
        ...     params, jnp.tanh, x, key=jax.random.key(2), m=256, method="fitted")
        >>> twin.params["kernel"].shape, bool(twin.error < 0.1)
        ((256, 8), True)
    """
    return bundle(
        [params],
        activation,
        x,
        key=key,
        m=m,
        method=method,
        layers=None if layer is None else [layer],
        orthogonal=orthogonal,
        split=split,
        terms=terms,
        ridge=ridge,
        activate_last=True,
    )


def bundle(
    params: Sequence[Any],
    activation: rf.Activation | rf.Spectrum,
    x: Float[Array, "n in"],
    *,
    key: Array,
    m: int,
    method: Method = "fitted",
    layers: Sequence[nn.Dense] | None = None,
    orthogonal: bool = False,
    split: rf.Split = "real",
    terms: int = 8,
    ridge: float = 1e-6,
    activate_last: bool = False,
) -> Twin:
    """Turn a whole perceptron into one matrix on fixed random features.

    Layer by layer, the next layer's matrix times the features of this layer's weights
    is what the next layer's features are taken of. Only the last matrix is left, (m,
    out), however wide the hidden layers are.

    Args:
        params: the dense layers, first to last, each as in :func:`snnk_from_dense`.
        activation: the function between them.
        x: (n, in), inputs that the network meets.
        key: of the draws.
        m: number of features of each layer.
        method: see :func:`snnk_from_dense`. "fitted" solves for the last matrix;
            "unbiased" serves a single hidden layer: features are far from unit vectors,
            and the variance of features of features leaves all bounds.
        layers: kanjax layers whose scales count, such as ``mlp.layers``.
        orthogonal: whether projections are orthogonal in blocks.
        split: of exponential features.
        terms: of the cosine series.
        ridge: of the fit, times the mean diagonal of the features' Gram matrix.
        activate_last: whether the activation follows the last layer, too.

    Raises:
        TypeError: if params are no dense layers'.
        ValueError: if shapes do not fit, or method is unknown.
    """
    if method not in ("unbiased", "fitted"):
        raise ValueError(f"method must be 'unbiased' or 'fitted'; got {method!r}.")
    x = checks.as_floating(x)
    dense = _read_layers(params, layers, x)
    function = (
        activation.function if isinstance(activation, rf.Spectrum) else activation
    )
    activated = len(dense) if activate_last else len(dense) - 1
    if activated < 1:
        raise ValueError("params has a single layer; snnk_from_dense takes it.")
    values = [x]
    for i, (kernel, bias) in enumerate(dense):
        z = jnp.matmul(values[-1], kernel)
        z = z + jnp.broadcast_to(bias, z.shape)
        values.append(function(z) if i < activated else z)
    keys = jax.random.split(key, activated)
    if method == "fitted":
        return _fitted(values, keys, m, orthogonal, ridge)
    maps: tuple[Features, ...] = ()
    at, features = x, jnp.zeros((0, 0))
    for (kernel, bias), layer_key in zip(dense[:activated], keys, strict=True):
        # The matrix of this layer on the features before it.
        kernel = jnp.matmul(features.T, kernel) if maps else kernel
        spectrum = _spectrum(activation, kernel, bias, at, terms)
        balance = jnp.sqrt(_norm(kernel.T) / _norm(at))
        shape = (m, at.shape[-1])
        last = rf.ExponentialFeatures.draw(
            layer_key,
            spectrum,
            *shape,
            orthogonal=orthogonal,
            balance=balance,
            split=split,
        )
        features, at, maps = (
            last.of_weights(kernel.T, bias),
            last.apply((), at),
            (*maps, last),
        )
    twin = RandomFeatureLayer(maps, dense[-1][0].shape[-1], not activate_last)
    bundled = features.T
    last_bias = None
    if not activate_last:
        bundled, last_bias = jnp.matmul(bundled, dense[-1][0]), dense[-1][1]
    made = twin._params(bundled, last_bias)
    return Twin(twin, made, _relative(twin.apply(made, x), values[-1]))


def merge(
    layer: RandomFeatureLayer, params: dict[str, Array], following: Any
) -> tuple[RandomFeatureLayer, dict[str, Array]]:
    """Merge a layer on random features with the dense layer after it.

    Args:
        layer: the layer.
        params: its parameters, of which "kernel" is (columns, out).
        following: the parameters of a dense layer, as in :func:`snnk_from_dense`; no
            activation stands between the two.

    Returns:
        One layer that computes what both do, and its parameters.

    Raises:
        ValueError: if the widths differ.
    """
    kernel, bias = _kernel_and_bias(following)
    if kernel.shape[0] != layer.out_features:
        raise ValueError(
            f"following takes {kernel.shape[0]} inputs; layer gives "
            f"{layer.out_features}."
        )
    if "bias" in params:
        bias = bias + jnp.matmul(params["bias"], kernel)
    merged = RandomFeatureLayer(layer.features, kernel.shape[1], True)
    return merged, merged._params(jnp.matmul(params["kernel"], kernel), bias)


def adapter(layer: RandomFeatureLayer) -> model.Residual:
    """Return ``x + s layer(x)`` with a trained vector s that starts at 0: the identity.

    Args:
        layer: with as many outputs as inputs.

    Raises:
        ValueError: if they differ.
    """
    inputs = layer.features[0].in_features
    if inputs != layer.out_features:
        raise ValueError(
            f"layer has {inputs} inputs and {layer.out_features} outputs; to be "
            "added to its inputs it must have as many."
        )
    scale = nn.LayerScale(layer.out_features, 0.0)
    return model.Residual(model.Sequential((layer, scale)))


def solve(
    features: Float[Array, "n columns"],
    y: Float[Array, "n outputs"],
    *,
    ridge: float = 0.0,
) -> LeastSquares:
    """Solve ``min |Z K - Y|^2 + ridge |K|^2``: training of the last matrix, at once.

    By the QR decomposition of Z over ``sqrt(ridge) I``, whose error goes with the
    condition number and not, as that of the normal equations, with its square.

    Args:
        features: Z (n, columns).
        y: (n, outputs).
        ridge: at least 0; at 0 the columns of Z must be independent.

    Raises:
        ValueError: if shapes do not fit, or ridge is negative.
    """
    z, y = checks.as_floating(features), checks.as_floating(y)
    if z.ndim != 2 or y.ndim != 2 or len(z) != len(y):
        raise ValueError(
            "features and y must have shapes (n, columns) and (n, outputs); got "
            f"{z.shape} and {y.shape}."
        )
    if ridge < 0 or (ridge == 0 and z.shape[0] < z.shape[1]):
        raise ValueError(
            f"ridge is {ridge}; it must be positive, or 0 with at least as many rows "
            f"as columns (features has shape {z.shape})."
        )
    return _solve(z, y, jnp.asarray(ridge, z.dtype))


def _solve(z: Array, y: Array, ridge: Array) -> LeastSquares:
    eye = jnp.sqrt(ridge) * jnp.eye(z.shape[1], dtype=z.dtype)
    q, r = jnp.linalg.qr(jnp.concatenate([z, eye]))
    right = jnp.matmul(q[: len(z)].T, y, precision="highest")
    kernel = jax.scipy.linalg.solve_triangular(r, right)
    right = jnp.matmul(z.T, y, precision="highest")
    left = jnp.matmul(z.T, jnp.matmul(z, kernel), precision="highest") + ridge * kernel
    return LeastSquares(kernel, _relative(left, right))


def _fitted(
    values: list[Array], keys: Array, m: int, orthogonal: bool, ridge: float
) -> Twin:
    """Fit one matrix on ReLU features to the last of values, from the first."""
    x, y = values[0], values[-1]
    # The bias of a map counts as much as all that it is added to.
    maps: tuple[Features, ...] = ()
    at = x
    for layer_key in keys:
        drawn = rf.gaussian_projections(
            layer_key, m, at.shape[-1] + 1, orthogonal=orthogonal
        )
        drawn = drawn.at[:, -1].multiply(_norm(at))
        maps = (*maps, rf.ReLUFeatures(drawn, use_bias=True))
        at = maps[-1].apply((), at)
    level = ridge * jnp.mean(jnp.sum(at**2, axis=0))
    twin = RandomFeatureLayer(maps, y.shape[-1])
    halves = (slice(0, None, 2), slice(1, None, 2))
    guesses = jnp.zeros_like(y)
    for here, there in (halves, halves[::-1]):
        kernel = _solve(at[here], y[here], level / 2).kernel
        guesses = guesses.at[there].set(jnp.matmul(at[there], kernel))
    params = twin._params(_solve(at, y, level).kernel)
    return Twin(twin, params, _relative(guesses, y))


def _spectrum(
    activation: Any, kernel: Array, bias: Array, x: Array, terms: int
) -> rf.Spectrum:
    known: dict[Callable, Callable[[], rf.Spectrum]] = {
        jnp.sin: rf.sine,
        jnp.cos: rf.cosine,
        jnp.exp: rf.exponential,
    }
    if isinstance(activation, rf.Spectrum):
        return activation
    if activation in known:
        return known[activation]()
    z = jnp.matmul(x, kernel)
    reach = jnp.max(jnp.abs(z + jnp.broadcast_to(bias, z.shape)))
    tilt = _norm(kernel.T) * _norm(x)
    return rf.cosine_series(activation, reach, terms=terms, tilt=tilt)


def _of_weights(features: Features, w: Array, bias: Array) -> Array:
    if isinstance(features, rf.ReLUFeatures) and not features.use_bias:
        return features.of_weights(w)
    return features.of_weights(w, bias)


def _read_layers(
    params: Sequence[Any], layers: Sequence[nn.Dense] | None, x: Array
) -> list[tuple[Array, Array]]:
    scales = [None] * len(params) if layers is None else layers
    if len(scales) != len(params):
        raise ValueError(f"layers has {len(scales)} entries, params {len(params)}.")
    dense = [
        _kernel_and_bias(p, scale) for p, scale in zip(params, scales, strict=True)
    ]
    if x.ndim != 2:
        raise ValueError(f"x must have shape (n, in); got {x.shape}.")
    width = x.shape[1]
    for i, (kernel, _) in enumerate(dense):
        if kernel.shape[0] != width:
            raise ValueError(
                f"layer {i} takes {kernel.shape[0]} inputs; it gets {width}. Give x of "
                "shape (n, in) and layers first to last."
            )
        width = kernel.shape[1]
    return dense


def _kernel_and_bias(params: Any, layer: nn.Dense | None = None) -> tuple[Array, Array]:
    """Return the matrix (in, out) and bias (out,) of any library's dense layer."""

    def read(name: str) -> Array | None:
        if isinstance(params, dict):
            value = params.get(name)
        else:
            value = getattr(params, name, None)
        return None if value is None else jnp.asarray(value)

    kernel, weight, bias = read("kernel"), read("weight"), read("bias")
    if kernel is None:
        kernel = None if weight is None else weight.T
    if kernel is None or kernel.ndim != 2:
        raise TypeError(
            "params must have a matrix, 'kernel' (in, out) or 'weight' (out, in); got "
            f"{type(params).__name__}."
        )
    bias = jnp.zeros(kernel.shape[1], kernel.dtype) if bias is None else bias
    if bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"bias has shape {bias.shape}; with a matrix (in, out) of "
            f"{kernel.shape} it must be {kernel.shape[1:]}."
        )
    if layer is None or layer.parameterization == "standard":
        return kernel, bias
    scale = layer.kernel_scale / math.sqrt(kernel.shape[0])
    return scale * kernel, layer.bias_scale * bias


def _norm(rows: Array) -> Array:
    """Return the root of the mean squared norm of rows."""
    return jnp.sqrt(jnp.mean(jnp.sum(rows**2, axis=-1)))


def _relative(estimate: Array, truth: Array) -> Array:
    return jnp.linalg.norm(estimate - truth) / jnp.linalg.norm(truth)
