"""Networks of combined activations, with an attention in the place of coefficients.

Sources: Ta, Tran (2025), AF-KAN, arXiv 2503.06112, whose published code decided where
the text leaves a choice; Qiu et al. (2024), ReLU-KAN, arXiv 2406.02075. A layer has no
coefficient for every input, function and output: the functions' values at an input are
reduced to a number, and a linear map follows.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import bases, checks, model, nn
from kanjax.kan.layers import KANLayer, check_inputs
from kanjax.kan.reductions import (
    REDUCTIONS,
    global_weights,
    spatial_weights,
    uniform,
)
from kanjax.nn import linear
from kanjax.nn import norm as norms

Params = dict[str, Any]

NORMS = ("batch", "sample", None)

COMBINE: dict[str, Callable[[Array, Array], Array]] = {
    "sum": lambda total, product: total,
    "product": lambda total, product: product,
    "sum_product": lambda total, product: total + product,
}
"""Combinations of several reductions' outputs; "quadratic" adds the sum of squares."""


@model.dataclass
class AFKANLayer:
    """``y = W s(LayerNorm(z))``, each z_i reduced from the basis' values at x_i.

    The values ``f_im = f(s(x_i - low_m), s(high_m - x_i))`` are scaled to [0, 1] and
    reduced over the functions m:

    - "global_attn": ``z_i = a_i sum_m f_im``, a the softmax over inputs of
      ``(f_i w + b) / max(T, 1)``;
    - "spatial_attn": ``z_i = sum_m a_im f_im``, a the softmax over functions of a
      convolution along the inputs, one filter of three taps a function, over T;
    - "multistep": ``z_i = f_i w + b``;
    - "self_attn": inputs attend to each other, by maps of the functions' values, over
      T; then a sum over functions;
    - "multihead_attn": so, with one head a function;
    - "local_attn": the windows of two functions attend to each other in each input,
      over T; then ``z_i`` is linear in what they give.

    Inputs that attend to each other get almost one z before training, and LayerNorm
    enlarges their rounding errors in float32 a hundredfold.

    Args:
        in_features: number of inputs, n.
        out_features: number of outputs.
        basis: the functions; its phases are trained, shared by all inputs, and its
            activation s is that of z, too.
        reductions: which ones; they share phases, T, the norm and W, and each sees the
            inputs alone.
        combine: how the outputs of several reductions make one: "sum", "product",
            "sum_product" or "quadratic" (those and the sum of squares).
        norm: over what values are scaled to [0, 1], by their least and greatest: each
            "sample", or the "batch", as published, or None for no scaling. With
            "batch" all of x counts, so an output depends on the other examples, under
            ``vmap`` over examples it is another function, and what has been trained on
            batches is best evaluated on large ones.
        layer_norm: whether z is normalised over the inputs. Of two inputs nothing but
            an order is left by it, so a layer of few inputs is better without.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = AFKANLayer(64, 32)
        >>> params = layer.init(jax.random.key(0))
        >>> params["low"].shape, layer.apply(params, jnp.ones((5, 64))).shape
        ((6,), (5, 32))
    """

    in_features: int
    out_features: int
    basis: bases.ActivationPairs = model.child(default=bases.ActivationPairs())
    reductions: tuple[str, ...] = ("global_attn",)
    combine: str = "sum"
    norm: str | None = "sample"
    layer_norm: bool = True

    def __post_init__(self) -> None:
        KANLayer(self.in_features, self.out_features)
        _check_options(self.basis, self.reductions, self.combine, self.norm)

    def init(self, key: Array) -> Params:
        """Draw "low", "high" (size,), "temperature" (), "kernel" (in, out), any "norm".

        "reductions" has a dictionary with the parameters of each reduction. The
        temperature starts at sqrt(n); weights are uniform within 1 / sqrt(inputs of
        the map), as PyTorch draws them.
        """
        keys = jax.random.split(key, len(self.reductions) + 1)
        params = self.basis.init(key) | {
            "temperature": jnp.full((), math.sqrt(self.in_features)),
            "kernel": uniform(
                keys[0], (self.in_features, self.out_features), self.in_features
            ),
            "reductions": {
                name: REDUCTIONS[name].init(k, self.basis.size)
                for name, k in zip(self.reductions, keys[1:], strict=True)
            },
        }
        if self.layer_norm:
            params["norm"] = nn.LayerNorm(self.in_features).init(key)
        return params

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        x = checks.as_floating(x)
        outputs = [self.branch(params, x, name) for name in self.reductions]
        return combine_outputs(outputs, self.combine)

    def features(self, params: Params, x: Array) -> Float[Array, "*batch in size"]:
        """Return the functions' values at x (..., in), scaled as ``norm`` says."""
        check_inputs(x, self.in_features)
        values = self.basis.apply(params, checks.as_floating(x))
        axes = {"batch": None, "sample": (-2, -1)}
        return values if self.norm is None else _to_unit(values, axes[self.norm])

    def branch(
        self, params: Params, x: Array, reduction: str
    ) -> Float[Array, "*batch out"]:
        """Return the outputs of one reduction.

        What comes before W is computed in float32 or better.

        Args:
            params: the layer's.
            x: (..., in).
            reduction: one of ``reductions``.
        """
        dtype = jnp.result_type(x, params["kernel"])
        # The norm's differences of almost equal numbers need more than half precision.
        x, kernel = norms.widen(x), params["kernel"]
        params = jax.tree.map(norms.widen, params)
        z = REDUCTIONS[reduction].apply(
            params["reductions"][reduction],
            self.features(params, x),
            _sharpness(params),
        )
        if self.layer_norm:
            z = nn.LayerNorm(self.in_features, eps=1e-5).apply(params["norm"], z)
        return self.basis.activation(z).astype(dtype) @ kernel

    def parameter_axes(self) -> Params:
        """Return what the axes of each parameter run over: "in", "out" or neither."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        axes = jax.tree.map(lambda leaf: (None,) * leaf.ndim, shapes)
        # Its filters run along the inputs, so that their order counts.
        source = None if "spatial_attn" in self.reductions else "in"
        axes["kernel"] = (source, "out")
        if self.layer_norm:
            axes["norm"] = {"scale": (source,), "bias": (source,)}
        return axes

    def attention(
        self, params: Params, x: Array, reduction: str = "global_attn"
    ) -> Float[Array, "*batch in"] | Float[Array, "*batch in size"]:
        """Return the weights of "global_attn" (..., in) or "spatial_attn" (..., in,
        size).

        Args:
            params: the layer's.
            x: (..., in).
            reduction: which of the two.
        """
        weights = {"global_attn": global_weights, "spatial_attn": spatial_weights}
        if reduction not in weights or reduction not in self.reductions:
            raise ValueError(
                f"reduction must be one of {tuple(weights)} and of the layer's own "
                f"{self.reductions}; got {reduction!r}."
            )
        values = self.features(params, x)
        reduced = params["reductions"][reduction]
        return weights[reduction](reduced, values, _sharpness(params))


@model.dataclass
class AFKAN:
    """A stack of :class:`AFKANLayer`; each reduction goes through all of it alone.

    The reductions share the layers' phases, norms and linear maps, and the network's
    outputs, one for each reduction, are combined at the end.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        basis: of all layers.
        reductions: as of the layer.
        combine: how the reductions' outputs make one.
        norm: "sample", "batch" (as published) or None, as of the layer.
        layer_norm: as of the layer; in all layers.

    Examples:
        >>> import jax
        >>> from kanjax import model
        >>> net = AFKAN((784, 64, 10))
        >>> model.count_parameters(net.init(jax.random.key(0)))
        52552
    """

    widths: tuple[int, ...]
    basis: bases.ActivationPairs = model.child(default=bases.ActivationPairs())
    reductions: tuple[str, ...] = ("global_attn",)
    combine: str = "sum"
    norm: str | None = "sample"
    layer_norm: bool = True

    def __post_init__(self) -> None:
        _check_widths(self.widths)
        _ = self.layers

    @property
    def layers(self) -> tuple[AFKANLayer, ...]:
        """The layers' models, first to last."""
        return tuple(
            AFKANLayer(
                inputs,
                outputs,
                self.basis,
                self.reductions,
                self.combine,
                self.norm,
                self.layer_norm,
            )
            for inputs, outputs in zip(self.widths, self.widths[1:], strict=False)
        )

    def init(self, key: Array) -> tuple[Params, ...]:
        """Draw the parameters: a tuple with one dictionary a layer."""
        return model.Sequential(self.layers).init(key)

    def apply(
        self, params: tuple[Params, ...], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        return self.activations(params, x)[-1]

    def activations(self, params: tuple[Params, ...], x: Array) -> tuple[Array, ...]:
        """x, then what the reductions' values of each layer combine to."""
        x = checks.as_floating(x)
        each = [x] * len(self.reductions)
        values = [x]
        for layer, p in zip(self.layers, params, strict=True):
            pairs = zip(self.reductions, each, strict=True)
            each = [layer.branch(p, y, reduction) for reduction, y in pairs]
            values.append(combine_outputs(each, self.combine))
        return tuple(values)


@model.dataclass
class ReLUKANLayer:
    """``y = W vec(B(LayerNorm(x))) + b``, B the bumps with phases of each input's own.

    Args:
        in_features: number of inputs, n.
        out_features: number of outputs.
        intervals: of the grid on [0, 1].
        degree: the overlap of bumps.

    Examples:
        >>> import jax
        >>> from kanjax import model
        >>> model.count_parameters(ReLUKANLayer(64, 32).init(jax.random.key(0)))
        13216
    """

    in_features: int
    out_features: int
    intervals: int = 3
    degree: int = 3

    def __post_init__(self) -> None:
        KANLayer(self.in_features, self.out_features)
        _ = self.basis

    @property
    def basis(self) -> bases.ActivationPairs:
        """The squared products of two rectifiers."""
        return bases.ActivationPairs(
            self.intervals,
            self.degree,
            activation=jax.nn.relu,
            scaled=True,
            inputs=self.in_features,
        )

    def init(self, key: Array) -> Params:
        """Draw "low" and "high" (in, size), "norm", "kernel" (in, size, out), "bias"
        (out,).

        Kernel and bias are uniform within 1 / sqrt(in * size).
        """
        fan = self.in_features * self.basis.size
        key_kernel, key_bias = jax.random.split(key)
        shape = (self.in_features, self.basis.size, self.out_features)
        return self.basis.init(key) | {
            "norm": nn.LayerNorm(self.in_features).init(key),
            "kernel": uniform(key_kernel, shape, fan),
            "bias": uniform(key_bias, (self.out_features,), fan),
        }

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        check_inputs(x, self.in_features)
        x = checks.as_floating(x)
        normed = nn.LayerNorm(self.in_features, eps=1e-5).apply(params["norm"], x)
        values = self.basis.apply(params, normed)
        product = jnp.einsum("...im,imo->...o", values, params["kernel"])
        return linear.add_bias(product, params["bias"])


def relu_kan(
    widths: tuple[int, ...], *, intervals: int = 3, degree: int = 3
) -> model.Sequential:
    """Describe a stack of :class:`ReLUKANLayer`.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        intervals: of the grids on [0, 1].
        degree: the overlap of bumps.

    Examples:
        >>> import jax
        >>> from kanjax import model
        >>> params = relu_kan((784, 64, 10)).init(jax.random.key(0))
        >>> model.count_parameters(params)
        316842
    """
    _check_widths(widths)
    pairs = zip(widths, widths[1:], strict=False)
    return model.Sequential(
        tuple(ReLUKANLayer(m, n, intervals, degree) for m, n in pairs)
    )


def combine_outputs(outputs: list[Array], combine: str) -> Array:
    """Return the combination of several reductions' outputs; of one alone, itself.

    Args:
        outputs: at least one, all of one shape.
        combine: "sum", "product", "sum_product" or "quadratic".
    """
    if len(outputs) == 1:
        return outputs[0]
    total = functools.reduce(jnp.add, outputs)
    product = functools.reduce(jnp.multiply, outputs)
    if combine == "quadratic":
        squares = functools.reduce(jnp.add, map(jnp.square, outputs))
        return total + product + squares
    return COMBINE[combine](total, product)


def _sharpness(params: Params) -> Array:
    return 1 / jnp.maximum(params["temperature"], 1)


def _to_unit(values: Array, axis: tuple[int, int] | None) -> Array:
    """Scale to [0, 1] over the axes; what is constant becomes 0.

    The published code divides by the norm of the values first, which cancels.
    """
    low = jnp.min(values, axis=axis, keepdims=True)
    span = jnp.max(values, axis=axis, keepdims=True) - low
    return (values - low) / jnp.where(span > 0, span, 1)


def _check_options(
    basis: Any, reductions: tuple[str, ...], combine: str, norm: str | None
) -> None:
    if (
        not isinstance(reductions, tuple)
        or not reductions
        or len(set(reductions)) < len(reductions)
        or not set(reductions) <= REDUCTIONS.keys()
    ):
        raise ValueError(
            "reductions must be a tuple of different ones of "
            f"{tuple(REDUCTIONS)}; got {reductions!r}."
        )
    if combine not in (*COMBINE, "quadratic"):
        raise ValueError(
            f"combine must be one of {(*COMBINE, 'quadratic')}; got {combine!r}."
        )
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {NORMS}; got {norm!r}.")
    # jax rebuilds models with placeholders for their children.
    if isinstance(basis, bases.ActivationPairs):
        if basis.inputs is not None:
            raise ValueError(
                f"basis has inputs={basis.inputs}; here all inputs share phases, so "
                "leave it None."
            )
        if "local_attn" in reductions and basis.size < 2:
            raise ValueError(
                "local_attn needs windows of two functions; the basis has "
                f"{basis.size}."
            )


def _check_widths(widths: tuple[int, ...]) -> None:
    if len(widths) < 2:
        raise ValueError(
            "widths must be at least two positive integers, the inputs first and the "
            f"outputs last; got {widths}."
        )
