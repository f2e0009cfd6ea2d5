"""The hypernetwork of cmKAN: from an image to the parameters of a KAN at every pixel.

Source: Nikonorov et al. (2025), Color Matching Using Hypernetwork-Based
Kolmogorov-Arnold Networks, arXiv 2503.11781, and its published code. Images have their
channels last.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model, nn
from kanjax.checks import as_floating
from kanjax.linalg import haar_transform
from kanjax.nn.conv_grouped import grouped_conv

Params = dict[str, Any]

NORMS = ("pixels", "channels")


def _norm(channels: int) -> nn.LayerNorm:
    return nn.LayerNorm(channels, eps=1e-5)


def _conv(inputs: int, outputs: int, size: int = 1, **options: Any) -> nn.Conv:
    return nn.Conv(inputs, outputs, (size, size), **options)


def _draw(key: Array, layers: dict[str, Any]) -> Params:
    """Draw layers' parameters: kernels of convolutions by He's rule for outputs."""
    keys = jax.random.split(key, len(layers))
    params = {}
    for (name, layer), k in zip(layers.items(), keys, strict=True):
        params[name] = layer.init(k)
        if isinstance(layer, nn.Conv):
            # Of PyTorch, which counts all outputs, in groups as well.
            fan = math.prod(layer.kernel_size) * layer.out_channels
            shape = params[name]["kernel"].shape
            params[name]["kernel"] = math.sqrt(2 / fan) * jax.random.normal(k, shape)
    return params


def _run(layers: dict[str, Any], params: Params, name: str, x: Array) -> Array:
    layer = layers[name]
    if isinstance(layer, nn.Conv) and layer.groups > 1:
        return grouped_conv(layer, params[name], x)
    return layer.apply(params[name], x)


@model.dataclass
class ConvFeedForward:
    """A map of each pixel, a depthwise convolution, ReLU, a map of each pixel.

    Args:
        in_channels: of the input, and inside.
        out_channels: of the output.
    """

    in_channels: int
    out_channels: int

    @property
    def _layers(self) -> dict[str, nn.Conv]:
        c = self.in_channels
        return {
            "first": _conv(c, c),
            "depthwise": _conv(c, c, 3, groups=c),
            "last": _conv(c, self.out_channels),
        }

    def init(self, key: Array) -> Params:
        """Draw "first", "depthwise" and "last"."""
        return _draw(key, self._layers)

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return x (..., height, width, in) mapped."""
        y = _run(self._layers, params, "first", x)
        y = jax.nn.relu(_run(self._layers, params, "depthwise", y))
        return _run(self._layers, params, "last", y)


@model.dataclass
class IlluminationEstimator:
    """Features of an image's light, and the image with that light evened out.

    Args:
        features: how many, a multiple of 4.
    """

    features: int = 12

    @property
    def _layers(self) -> dict[str, nn.Conv]:
        return {
            "first": _conv(4, self.features),
            "spread": _conv(self.features, self.features, 5, groups=4),
            "map": _conv(self.features, 3),
        }

    def init(self, key: Array) -> Params:
        """Draw "first", "spread" and "map"."""
        return _draw(key, self._layers)

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> tuple[Float[Array, "*batch 3"], Float[Array, "*batch features"]]:
        """Return ``(x M + x, features)`` of images x (..., height, width, 3)."""
        with_mean = jnp.concatenate([x, jnp.mean(x, axis=-1, keepdims=True)], axis=-1)
        y = _run(self._layers, params, "first", with_mean)
        features = _run(self._layers, params, "spread", y)
        return x * _run(self._layers, params, "map", features) + x, features


@model.dataclass
class ChannelAnchorAttention:
    """Channels attend to each other by way of half as many anchors.

    Queries, keys and anchors are at half the size; values, times the light's features,
    at the full one. In each head ``softmax(t_a Q A^T) softmax(t_v A K^T) V``, rows of
    Q, K and A of length one over the pixels.

    Args:
        channels: of the input and the output; twice the heads divide it.
        heads: number of heads.
    """

    channels: int
    heads: int

    def __post_init__(self) -> None:
        if self.channels % (2 * self.heads):
            raise ValueError(
                f"channels={self.channels} must be a multiple of 2 heads = "
                f"{2 * self.heads}; choose another number of heads."
            )

    @property
    def _layers(self) -> dict[str, nn.Conv]:
        c = self.channels
        half = {"strides": 2, "padding": "VALID"}
        return {
            "query": _conv(c, c, 3, groups=c, **half),
            "key": _conv(c, c, 3, **half),
            "anchor": _conv(c, c, 3, groups=c, **half),
            "halve": _conv(c, c // 2),
            "value": _conv(c, c),
            "output": _conv(c, c),
        }

    def init(self, key: Array) -> Params:
        """Draw the maps, and the temperatures "anchors" and "keys" (heads,) of one."""
        ones = jnp.ones(self.heads)
        return _draw(key, self._layers) | {"anchors": ones, "keys": ones}

    def weights(
        self, params: Params, x: Array
    ) -> tuple[Float[Array, "*batch heads c a"], Float[Array, "*batch heads a c"]]:
        """Return the softmax over anchors and that over channels, for each head.

        Args:
            params: the layer's.
            x: (..., height, width, channels).
        """
        edge = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
        padded = jnp.pad(x, edge, mode="reflect")
        query, key, anchor = (
            _run(self._layers, params, name, padded)
            for name in ("query", "key", "anchor")
        )
        anchor = _run(self._layers, params, "halve", anchor)
        query, key, anchor = (
            _unit(self._by_head(each), axis=-3) for each in (query, key, anchor)
        )
        to_anchors = jnp.einsum("...nhc,...nha->...hca", query, anchor)
        to_keys = jnp.einsum("...nha,...nhc->...hac", anchor, key)
        return (
            _softmax_by_head(to_anchors, params["anchors"]),
            _softmax_by_head(to_keys, params["keys"]),
        )

    def apply(
        self,
        params: Params,
        x: Array,
        light: Array | None = None,
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch channels"]:
        """Return x (..., height, width, channels) attended to.

        Args:
            params: as :meth:`init` gives them.
            x: even height and width, at least 4.
            light: the light's features, of the shape of x; None for ones.
            key: not used.
        """
        over_anchors, over_keys = self.weights(params, x)
        value = _run(self._layers, params, "value", x)
        if light is not None:
            value = value * light
        value = self._by_head(value)
        inner = jnp.einsum("...hac,...nhc->...nha", over_keys, value)
        mixed = jnp.einsum("...hca,...nha->...nhc", over_anchors, inner)
        return _run(self._layers, params, "output", mixed.reshape(x.shape))

    def _by_head(self, x: Array) -> Array:
        """(..., height, width, c) to (..., pixels, heads, c / heads)."""
        *batch, height, width, channels = x.shape
        return x.reshape(*batch, height * width, self.heads, channels // self.heads)


@model.dataclass
class ColorTransformerBlock:
    """``y = x + attention(norm(x), light)``, then ``y + feed_forward(norm(y))``.

    Args:
        channels: of the input and the output.
        heads: of the attention.
    """

    channels: int
    heads: int = 3

    @property
    def _layers(self) -> dict[str, Any]:
        return {
            "norm": _norm(self.channels),
            "attention": ChannelAnchorAttention(self.channels, self.heads),
            "second_norm": _norm(self.channels),
            "feed_forward": ConvFeedForward(self.channels, self.channels),
        }

    def init(self, key: Array) -> Params:
        """Draw "norm", "attention", "second_norm" and "feed_forward"."""
        return _draw(key, self._layers)

    def apply(
        self,
        params: Params,
        x: Array,
        light: Array | None = None,
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch channels"]:
        """Return x (..., height, width, channels) mapped; light as of the attention."""
        normed = _run(self._layers, params, "norm", x)
        attention = self._layers["attention"]
        y = x + attention.apply(params["attention"], normed, light)
        normed = _run(self._layers, params, "second_norm", y)
        return y + _run(self._layers, params, "feed_forward", normed)


@model.dataclass
class BasisModulator:
    """Each pixel's features written anew in a learned basis.

    ``y = V relu(K^T q)`` for queries q of the pixels, and keys K and values V that are
    linear in a learned table.

    Args:
        channels: of the input and the output.
        size: number of basis vectors.
        norm: over what queries and keys have length one. "pixels", as published: a
            query's channel over all pixels and a key's over the table, so that
            what a pixel gets depends on the size of the image, and its scale falls as
            one over the root of it. "channels": each query and each key.
    """

    channels: int
    size: int
    norm: str = "pixels"

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}; got {self.norm!r}.")

    @property
    def _layers(self) -> dict[str, Any]:
        c = self.channels
        maps = {name: _conv(c, c) for name in ("query", "key", "value")}
        return {"norm": _norm(c), **maps}

    def init(self, key: Array) -> Params:
        """Draw "norm", "query", "key", "value" and, on [0, 1), "table" (channels,
        size).
        """
        key_table, key = jax.random.split(key)
        table = jax.random.uniform(key_table, (self.channels, self.size))
        return _draw(key, self._layers) | {"table": table}

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch channels"]:
        """Return x (..., height, width, channels) written anew."""
        normed = _run(self._layers, params, "norm", x)
        query = _run(self._layers, params, "query", normed)
        table = params["table"].T[None]
        keys = _run(self._layers, params, "key", table)[0]
        values = _run(self._layers, params, "value", table)[0]
        by_pixels = self.norm == "pixels"
        query = _unit(query, axis=(-3, -2) if by_pixels else -1)
        keys = _unit(keys, axis=0 if by_pixels else -1)
        return jax.nn.relu(query @ keys.T) @ values


@model.dataclass
class ColorGenerator:
    """From images to numbers for every pixel: the whole hypernetwork.

    Args:
        outputs: how many numbers each pixel gets.
        light: one level of the wavelet transform and 30 basis vectors, for two and 128.
        norm: "pixels" or "channels", as of :class:`BasisModulator`.
    """

    outputs: int = 90
    light: bool = False
    norm: str = "pixels"

    def __post_init__(self) -> None:
        BasisModulator(self.channels, 1, self.norm)

    @property
    def channels(self) -> int:
        """3 colors, and 12 and 48 channels of the transforms."""
        return 15 if self.light else 63

    @property
    def divisor(self) -> int:
        """What height and width must be multiples of, and twice that at the least."""
        return 2 if self.light else 4

    @property
    def _layers(self) -> dict[str, Any]:
        layers: dict[str, Any] = {
            "illumination": IlluminationEstimator(),
            "light_1": _conv(12, 12),
            "block_1": ColorTransformerBlock(12),
        }
        if not self.light:
            layers |= {"light_2": _conv(12, 48), "block_2": ColorTransformerBlock(48)}
        c = self.channels
        return layers | {
            "norm": _norm(c),
            "mix": ConvFeedForward(c, c),
            "modulator": BasisModulator(c, 30 if self.light else 128, self.norm),
            "second_norm": _norm(c),
            "last": ConvFeedForward(c, self.outputs),
        }

    def init(self, key: Array) -> Params:
        """Draw a dictionary with the parameters of each step, as published."""
        return _draw(key, self._layers)

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch outputs"]:
        """Return the numbers of every pixel of x (..., height, width, 3).

        Raises:
            ValueError: if height or width is no multiple of ``divisor``, or too small.
        """
        x = as_floating(x)
        _check_image(x, self.divisor)
        layers = self._layers
        even, light = layers["illumination"].apply(params["illumination"], x)
        shape = x.shape[:-1]
        scales, z = [even], even
        for level in ("1",) if self.light else ("1", "2"):
            light = _run(layers, params, f"light_{level}", _halve(light))
            z = layers[f"block_{level}"].apply(
                params[f"block_{level}"], haar_transform(z), light
            )
            full = (*shape, z.shape[-1])
            scales.append(jax.image.resize(z, full, "linear", antialias=False))
        y = _run(layers, params, "norm", jnp.concatenate(scales, axis=-1))
        y = _run(layers, params, "mix", y)
        y = _run(layers, params, "modulator", y)
        y = _run(layers, params, "second_norm", y)
        return _run(layers, params, "last", y)


def _halve(x: Array) -> Array:
    """Return the mean of every 2 x 2 pixels."""
    *batch, height, width, channels = x.shape
    blocks = x.reshape(*batch, height // 2, 2, width // 2, 2, channels)
    return jnp.mean(blocks, axis=(-4, -2))


def _softmax_by_head(scores: Array, sharpness: Array) -> Array:
    """Scale scores (..., heads, n, m) by head and take the softmax over the last."""
    by_head = jnp.broadcast_to(sharpness[:, None, None], scores.shape)
    return jax.nn.softmax(by_head * scores, axis=-1)


def _unit(x: Array, axis: int | tuple[int, ...]) -> Array:
    square = jnp.sum(jnp.square(x), axis=axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def _check_image(x: Array, divisor: int) -> None:
    if (
        x.ndim < 3
        or x.shape[-1] != 3
        or any(n % divisor or n < 2 * divisor for n in x.shape[-3:-1])
    ):
        raise ValueError(
            "x must be images (..., height, width, 3) whose height and width are "
            f"multiples of {divisor} and at least {2 * divisor}; got shape {x.shape}. "
            "kanjax.kan.ColorMatcher pads images by reflection."
        )
