"""Convolutions, dilated attention and KANs in one classifier of medical images.

Manzari, Asgariandehkordi, Koleilat, Xiao, Rivaz (2025), "Medical image classification
with KAN-integrated transformers and dilated neighborhood attention" (MedViTV2), arXiv
2502.13693. Local blocks attend to neighborhoods and mix channels by convolutions;
global blocks attend to all of a reduced image, and have a KAN on each pixel where
transformers have a perceptron. All of it is :class:`kanjax.model.Sequential`, with the
running statistics of batch norm as its state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kanjax import bases, model, nn
from kanjax.kan.layers import KANLayer
from kanjax.nn import checks


class Size(NamedTuple):
    """A network's sizes, by stage.

    Attributes:
        channels: of each stage.
        depths: blocks of each stage.
        drop_path: the rate in the last block.
    """

    channels: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    drop_path: float


SIZES = {
    "tiny": Size((64, 128, 192, 384), (2, 2, 6, 1), 0.1),
    "small": Size((64, 128, 256, 512), (2, 2, 6, 2), 0.1),
    "base": Size((96, 192, 384, 768), (2, 2, 6, 2), 0.2),
    "large": Size((96, 256, 512, 1024), (2, 2, 6, 2), 0.2),
}
HEAD = 32
_KERNEL, _REDUCTIONS, _GLOBAL_SHARE = 7, (8, 4, 2, 1), 0.75

TokenNetwork = Callable[[int], model.Model]


def medvit(
    size: str | Size,
    classes: int,
    *,
    channels: int = 3,
    image_size: int = 224,
    kernel: int = _KERNEL,
    dilations: tuple[int, ...] | None = None,
    token_network: TokenNetwork | None = None,
) -> model.Sequential:
    """Describe a MedViTV2 network of square images.

    Args:
        size: a name of :data:`SIZES`, or sizes of your own, channels multiples of 32.
        classes: number of outputs.
        channels: of the images.
        image_size: their edge in pixels, a multiple of 32.
        kernel: extent of the windows that local blocks attend to, odd; smaller where a
            stage's image is.
        dilations: of each local block in turn; None alternates 1 and the largest that
            fits. The authors' code has 1 everywhere.
        token_network: of the channels, the model on each pixel in global blocks;
            None is :func:`kan_network`.

    Returns:
        ``apply(params, images, state=state, train=..., key=...) -> (logits, state)``;
        images (..., image_size, image_size, channels), all leading axes one batch.
        ``nn.fold_batch_norm`` gives the network of evaluation without a state.

    Raises:
        ValueError: for an unknown size, an image that four halvings do not divide, or
            dilations that are too few or too many.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> size = Size((32, 128, 128, 128), (1, 1, 1, 1), 0.0)
        >>> net = medvit(size, classes=10, channels=1, image_size=32, kernel=3)
        >>> params, state = net.init(jax.random.key(0)), net.initial_state()
        >>> logits, state = net.apply(params, jnp.ones((2, 32, 32, 1)), state=state)
        >>> logits.shape
        (2, 10)
    """
    sizes = _sizes(size)
    checks.check_positive(classes=classes, image_size=image_size, channels=channels)
    if image_size % 32:
        raise ValueError(
            f"image_size={image_size} must be a multiple of 32: the image is halved "
            "five times. Resize the images."
        )
    kinds = [block_kinds(stage, depth) for stage, depth in enumerate(sizes.depths)]
    local = sum(kind == "local" for stage in kinds for kind in stage)
    if dilations is not None and len(dilations) != local:
        raise ValueError(
            f"dilations has {len(dilations)} entries for {local} local blocks; give "
            "one for each."
        )
    rates = iter(jnp.linspace(0, sizes.drop_path, sum(sizes.depths)).tolist())
    token_network = token_network or kan_network
    layers: list[Any] = [stem(channels, 64)]
    features, extent, seen = 64, image_size // 4, 0
    for stage, (width, stage_kinds) in enumerate(
        zip(sizes.channels, kinds, strict=True)
    ):
        for place, kind in enumerate(stage_kinds):
            stride = 2 if place == 0 and stage > 0 else 1
            extent //= stride
            rate = next(rates)
            if kind == "local":
                window = min(kernel, extent - (extent + 1) % 2)
                widest = _widest(extent, window)
                dilation = dilations[seen] if dilations else (1, widest)[seen % 2]
                seen += 1
                layers += local_block(
                    features,
                    width,
                    stride=stride,
                    kernel=window,
                    dilation=dilation,
                    drop_path=rate,
                    conv_kernel=7 if stage == 0 else 3,
                ).layers
            else:
                layers += global_block(
                    features,
                    width,
                    stride=stride,
                    reduction=_REDUCTIONS[stage],
                    drop_path=rate,
                    token_network=token_network,
                ).layers
            features = width
    layers += [nn.BatchNorm(features), nn.GlobalPool(2), nn.Dense(features, classes)]
    return model.Sequential(tuple(layers))


def block_kinds(stage: int, depth: int) -> tuple[str, ...]:
    """Return which blocks of a stage are "local" and which "global".

    Args:
        stage: from 0 to 3; all are local in the first, the last one is global in the
            second, every third in the third, all in the fourth.
        depth: number of blocks.
    """
    if stage == 0:
        return ("local",) * depth
    if stage == 3:
        return ("global",) * depth
    period = depth if stage == 1 else 3
    return tuple(
        "global" if place % period == period - 1 else "local" for place in range(depth)
    )


def stem(channels: int, features: int) -> model.Sequential:
    """Describe four convolutions that halve the image twice.

    Args:
        channels: of the images.
        features: of the result, even.
    """
    steps = (
        (channels, features, 2),
        (features, features // 2, 1),
        (features // 2, features, 1),
        (features, features, 2),
    )
    layers: list[Any] = []
    for before, after, stride in steps:
        layers += _conv_norm(before, after, (3, 3), strides=stride)
        layers.append(nn.Activation(jax.nn.relu))
    return model.Sequential(tuple(layers))


def local_block(
    in_channels: int,
    channels: int,
    *,
    stride: int = 1,
    kernel: int = _KERNEL,
    dilation: int = 1,
    drop_path: float = 0.0,
    conv_kernel: int = 3,
) -> model.Sequential:
    """Describe local feature perception: neighborhoods, then convolutions.

    With u the normalised input of the second half, it adds ``u + conv(u)``, as the
    authors' code does.

    Args:
        in_channels: of the input.
        channels: of the result, a multiple of 32.
        stride: 1, or 2 to halve the image.
        kernel: of the attention's windows.
        dilation: of the attention's windows.
        drop_path: the rate at which an example skips the attention, given a key.
        conv_kernel: of the convolution within channels.
    """
    attention = nn.NeighborhoodAttention(channels, channels // HEAD, kernel, dilation)
    convolutions = model.Residual(conv_network(channels, kernel=conv_kernel))
    return model.Sequential(
        (
            *_embedding(in_channels, channels, stride).layers,
            _branch(nn.BatchNorm(channels), attention, _drop_path(drop_path)),
            _branch(nn.BatchNorm(channels), convolutions),
        )
    )


def global_block(
    in_channels: int,
    channels: int,
    *,
    stride: int = 1,
    reduction: int = 1,
    drop_path: float = 0.0,
    token_network: TokenNetwork | None = None,
) -> model.Sequential:
    """Describe global feature perception: attention beside convolutions, then a KAN.

    Three quarters of the channels come from attention to a reduced image, the others
    from grouped convolutions of these.

    Args:
        in_channels: of the input.
        channels: of the result, a multiple of 32, at least 128.
        stride: 1, or 2 to halve the image.
        reduction: attention sees means of ``reduction**2`` pixels.
        drop_path: the rate at which an example skips a branch, given a key.
        token_network: of the channels, the model on each pixel; None is
            :func:`kan_network`.

    Raises:
        ValueError: if there are fewer than 128 channels.
    """
    attended = _divisible(int(channels * _GLOBAL_SHARE))
    rest = channels - attended
    if rest < HEAD:
        raise ValueError(
            f"channels={channels} leave {rest} for convolutions beside attention's "
            f"{attended}; take {4 * HEAD} or more."
        )
    norm: Any = nn.BatchNorm(attended) if reduction > 1 else model.Sequential(())
    attention = nn.ReducedAttention(attended, attended // HEAD, reduction, norm)
    drop = _drop_path(drop_path)
    convolved = (
        *_embedding(attended, rest, 1).layers,
        _branch(multi_head_conv(rest), drop),
    )
    network = (token_network or kan_network)(channels)
    return model.Sequential(
        (
            *_embedding(in_channels, attended, stride).layers,
            _branch(nn.BatchNorm(attended), attention, drop),
            model.Concatenate((model.Sequential(()), model.Sequential(convolved))),
            _branch(nn.BatchNorm(channels), network, drop),
        )
    )


def conv_network(
    channels: int, *, kernel: int = 3, expansion: int = 3
) -> model.Sequential:
    """Describe a network on each pixel with a convolution within channels inside.

    Args:
        channels: in and out.
        kernel: of the convolution.
        expansion: hidden channels for each channel.
    """
    hidden = expansion * channels
    swish = nn.Activation(jax.nn.hard_swish)
    return model.Sequential(
        (
            *_conv_norm(channels, hidden, (1, 1)),
            swish,
            *_conv_norm(hidden, hidden, (kernel, kernel), groups=hidden),
            swish,
            nn.SqueezeExcitation(hidden, hidden // channels),
            *_conv_norm(hidden, channels, (1, 1)),
        )
    )


def multi_head_conv(channels: int) -> model.Sequential:
    """Describe a convolution in groups of 32 channels, and one that mixes them.

    Args:
        channels: in and out, a multiple of 32.
    """
    return model.Sequential(
        (
            *_conv_norm(channels, channels, (3, 3), groups=channels // HEAD),
            nn.Activation(jax.nn.relu),
            nn.Conv(channels, channels, (1, 1), use_bias=False),
        )
    )


def kan_network(channels: int) -> model.Sequential:
    """Describe two FasterKAN layers, to twice the channels and back.

    Each normalises its inputs, and has 8 bumps ``sech(.)^2`` from -2 to 2 on each.

    Args:
        channels: in and out.
    """
    basis = bases.Sech(8, (-2.0, 2.0), 0.33, 2)
    layers: list[Any] = []
    for before, after in ((channels, 2 * channels), (2 * channels, channels)):
        layers.append(nn.LayerNorm(before))
        layers.append(KANLayer(before, after, basis, residual=None))
    return model.Sequential(tuple(layers))


def mlp_network(channels: int) -> model.Sequential:
    """Describe what transformers have in the KAN's place: GELU between dense layers.

    Args:
        channels: in and out; there are four times as many inside.
    """
    return model.Sequential(
        (
            nn.Dense(channels, 4 * channels),
            nn.Activation(jax.nn.gelu),
            nn.Dense(4 * channels, channels),
        )
    )


def _sizes(size: str | Size) -> Size:
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise ValueError(f"size must be one of {tuple(SIZES)} or a Size; got {size!r}.")
    return SIZES[size]


def _divisible(channels: int) -> int:
    """Return the nearest multiple of a head's channels, not below 0.9 times them."""
    nearest = max(HEAD, (channels + HEAD // 2) // HEAD * HEAD)
    return nearest + HEAD if nearest < 0.9 * channels else nearest


def _widest(extent: int, window: int) -> int:
    """Return the largest dilation of a window that divides the extent and fits."""
    return max(d for d in range(1, extent // window + 1) if extent % d == 0)


def _embedding(before: int, after: int, stride: int) -> model.Sequential:
    """Describe the change of channels, and of size, in front of a block."""
    layers: list[Any] = []
    if stride > 1:
        window = (stride, stride)
        layers.append(nn.Pool(window, padding="SAME", count_padding=False))
    if stride > 1 or before != after:
        layers += _conv_norm(before, after, (1, 1))
    return model.Sequential(tuple(layers))


def _conv_norm(
    before: int, after: int, kernel: tuple[int, int], **options: Any
) -> tuple[Any, ...]:
    """Describe a convolution whose bias is that of the norm behind it."""
    # The same margin on both sides, which "SAME" does not have with strides.
    margin = tuple((size // 2, size // 2) for size in kernel)
    conv = nn.Conv(before, after, kernel, padding=margin, use_bias=False, **options)
    return conv, nn.BatchNorm(after)


def _branch(*layers: Any) -> model.Residual:
    return model.Residual(model.Sequential(layers))


def _drop_path(rate: float) -> nn.DropPath:
    return nn.DropPath(rate, axes=3)
