"""The Kolmogorov-Arnold transformer: group-rational layers for a transformer's MLP.

Source: Yang and Wang (2025), Kolmogorov-Arnold Transformer, arXiv 2409.10594.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from kanjax import bases, model, nn
from kanjax.kan import layers


def rational_mlp(
    features: int,
    hidden: int | None = None,
    *,
    groups: int = 8,
    activation: str = "silu",
    form: str = "A",
    dropout: float = 0.0,
    initialization: str = "paper",
) -> model.Sequential:
    """Two group-rational layers, from features to as many, for a transformer's block.

    The first begins with the identity, the second with an activation. All groups share
    the numerator.

    Args:
        features: number of features of a token; ``groups`` divides it.
        hidden: number of hidden units, which ``groups`` divides; None is 4 features.
        groups: number of groups of channels with a denominator of their own.
        activation: where the second function begins: a ``start`` of
            :class:`kanjax.bases.Rational`.
        form: of the denominators, "A" or "B".
        dropout: the rate after each rational function.
        initialization: "paper" or "timm", see :class:`RationalLayer`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> block = rational_mlp(16, groups=4)
        >>> params = block.init(jax.random.key(0))
        >>> block.apply(params, jnp.ones((5, 16))).shape
        (5, 16)
    """
    hidden = 4 * features if hidden is None else hidden

    def rational_layer(inputs: int, outputs: int, start: str) -> layers.RationalLayer:
        return layers.RationalLayer(
            inputs,
            outputs,
            bases.Rational(groups, form=form, start=start, shared="numerator"),
            initialization=initialization,
            dropout=dropout,
        )

    return model.Sequential(
        (
            rational_layer(features, hidden, "identity"),
            rational_layer(hidden, features, activation),
        )
    )


def kat(
    size: str,
    *,
    groups: int = 8,
    activation: str = "silu",
    form: str = "A",
    dropout: float = 0.0,
    initialization: str = "paper",
    attention: str = "mimetic",
    **options: Any,
) -> nn.VisionTransformer:
    """Return the Kolmogorov-Arnold transformer of a published size.

    A vision transformer with :func:`rational_mlp` on each token: 76 parameters a block
    more than the one with an MLP.

    Args:
        size: "tiny", "small" or "base".
        groups: as for :func:`rational_mlp`.
        activation: as for :func:`rational_mlp`.
        form: as for :func:`rational_mlp`.
        dropout: as for :func:`rational_mlp`.
        initialization: as for :func:`rational_mlp`.
        attention: its initialisation, "mimetic" (as the published models) or "lecun".
        **options: as for :func:`kanjax.nn.vision_transformer`: ``classes``,
            ``image_size``, ``patch_size``, ``channels``, ``drop_path``, ``scale``.

    Examples:
        >>> net = kat("tiny", classes=10, image_size=(32, 32), patch_size=4)
        >>> net.features, net.depth, net.heads
        (192, 12, 3)
    """
    plain = nn.vision_transformer(
        size, dropout=dropout, initialization=attention, **options
    )
    mlp = rational_mlp(
        plain.features,
        groups=groups,
        activation=activation,
        form=form,
        dropout=dropout,
        initialization=initialization,
    )
    return dataclasses.replace(plain, mlp=mlp)


def kat_from_vit(
    vit: nn.VisionTransformer, params: Any, *, groups: int = 8, form: str = "A"
) -> tuple[nn.VisionTransformer, Any]:
    """Return a trained vision transformer as a Kolmogorov-Arnold one, (nearly)
    unchanged.

    Dense layers are kept; the first rational function of a block is the identity, the
    second a fit of the block's activation on [-3, 3].

    Args:
        vit: with the standard mlp: a :class:`kanjax.model.Sequential` that has one
            activation between two dense layers.
        params: its parameters.
        groups: as for :func:`rational_mlp`.
        form: of the denominators, "A" or "B".

    Returns:
        The model and its parameters, with nothing but "mlp" changed.

    Raises:
        ValueError: if the mlp is another.
    """
    first, second, activation = _parts(vit)
    mlp = rational_mlp(
        first.in_features,
        first.out_features,
        groups=groups,
        form=form,
        dropout=vit.dropout,
    )
    fit = bases.fit_rational(activation, form=form)
    dense = [i for i, layer in enumerate(_layers(vit)) if isinstance(layer, nn.Dense)]
    first, second = mlp.layers
    assert isinstance(first, layers.RationalLayer) and isinstance(
        second, layers.RationalLayer
    )
    identity = first.basis.init(jax.random.key(0))
    fitted = second.basis.coefficients(fit.numerator, fit.denominator)

    def block(old: Any) -> Any:
        return {
            **old,
            "mlp": tuple(
                {**start, **old["mlp"][i]}
                for start, i in zip((identity, fitted), dense, strict=True)
            ),
        }

    blocks = tuple(block(old) for old in params["blocks"])
    return dataclasses.replace(vit, mlp=mlp), {**params, "blocks": blocks}


def _layers(vit: nn.VisionTransformer) -> tuple[model.Model, ...]:
    mlp = vit.token_mlp if vit.mlp is None else vit.mlp
    return mlp.layers if isinstance(mlp, model.Sequential) else ()


def _parts(
    vit: nn.VisionTransformer,
) -> tuple[nn.Dense, nn.Dense, Callable[[Array], Array]]:
    """Return the dense layers of a block's mlp and the function between them."""
    kept = [layer for layer in _layers(vit) if not isinstance(layer, nn.Dropout)]
    if len(kept) == 3:
        first, between, second = kept
        if (
            isinstance(first, nn.Dense)
            and isinstance(between, nn.Activation)
            and isinstance(second, nn.Dense)
            and first.has_bias
            and second.has_bias
            and {first.parameterization, second.parameterization} == {"standard"}
        ):
            return first, second, between.function
    raise ValueError(
        "vit must have the standard mlp, dense layers with biases and one activation "
        f"between them; got {vit.mlp!r}."
    )
