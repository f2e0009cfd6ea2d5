"""Vision transformers with learned attention, and what their attention is.

Source: Maity, Hitsman, Li, Dutta (2025), Kolmogorov-Arnold Attention, arXiv 2503.10632.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from kanjax import model, nn
from kanjax.kan.attention import PUBLISHED, AttentionOperator, KANAttention

Params = dict[str, Any]


@model.dataclass
class SharedOperators:
    """A vision transformer all of whose blocks have the same operators of attention.

    The universal form: head h has its own operator, and the same one in every block.

    Args:
        network: with :class:`KANAttention`.

    Examples:
        >>> net = karat("tiny", universal=True, image_size=(32, 32))
        >>> type(net).__name__, net.network.depth
        ('SharedOperators', 12)
    """

    network: nn.VisionTransformer = model.child()

    def init(self, key: Array) -> Params:
        """Draw the network's parameters, "operators" beside "blocks", not in them.

        Raises:
            ValueError: if the network's attention has no operators to share.
        """
        params = self.network.init(key)
        first = params["blocks"][0]["attention"]
        if "operators" not in first:
            raise ValueError(
                "network must have KANAttention with an operator in at least one head; "
                f"got attention={self.network.attention!r}."
            )
        blocks = tuple(
            {**block, "attention": _without_operators(block["attention"])}
            for block in params["blocks"]
        )
        return {**params, "blocks": blocks, "operators": first["operators"]}

    def distribute(self, params: Params) -> Params:
        """Return parameters of :attr:`network`, with the operators in every block."""
        shared = {"operators": params["operators"]}
        blocks = tuple(
            {**block, "attention": {**block["attention"], **shared}}
            for block in params["blocks"]
        )
        rest = {name: leaf for name, leaf in params.items() if name != "operators"}
        return {**rest, "blocks": blocks}

    def apply(
        self, params: Params, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch classes"]:
        """Return the outputs for images x (..., height, width, channels)."""
        return self.network.apply(self.distribute(params), x, key=key)


Network = nn.VisionTransformer | SharedOperators


def karat(
    size: str,
    *,
    universal: bool = False,
    rank: int | None = 12,
    basis: Any = PUBLISHED,
    learned: tuple[bool, ...] | None = None,
    **options: Any,
) -> Network:
    """Return a vision transformer of a published size with learned attention.

    Args:
        size: "tiny", "small" or "base".
        universal: whether all blocks share their operators; else each block has its
            own (blockwise).
        rank: of the operators; None is the full one.
        basis: of the operators' functions. The paper's, three harmonics, is that of its
            tiny and small networks; the base one has one.
        learned: which heads have an operator, see :class:`KANAttention`.
        **options: of the operators, ``base``, ``variant``, ``coef_std`` and
            ``simplex``; all others as for :func:`kanjax.nn.vision_transformer`.

    Examples:
        >>> net = karat("tiny", classes=10, image_size=(32, 32), patch_size=4)
        >>> net.heads, net.attention.operator.tokens
        (3, 65)
    """
    names = {field.name for field in dataclasses.fields(AttentionOperator)}
    of_operator = {name: options.pop(name) for name in names & options.keys()}
    plain = nn.vision_transformer(size, **options)
    operator = AttentionOperator(plain.tokens + 1, rank, basis, **of_operator)
    return with_operators(plain, operator, learned=learned, universal=universal)


def with_operators(
    network: nn.VisionTransformer,
    operator: AttentionOperator,
    *,
    learned: tuple[bool, ...] | None = None,
    universal: bool = False,
) -> Network:
    """Return a vision transformer of any size with learned attention.

    Args:
        network: whose attention is replaced.
        operator: for ``network.tokens + 1`` tokens.
        learned: as for :func:`karat`.
        universal: as for :func:`karat`.

    Raises:
        ValueError: for an operator of another number of tokens.
    """
    tokens = network.tokens + 1
    if operator.tokens != tokens:
        raise ValueError(
            f"operator has tokens={operator.tokens}; the network has {tokens}, its "
            "patches and the class token."
        )
    attention = KANAttention(
        network.features,
        network.heads,
        operator,
        learned,
        initialization=network.initialization,
    )
    changed = dataclasses.replace(network, attention=attention)
    return SharedOperators(changed) if universal else changed


def attention_matrices(
    network: Network, params: Params, x: Array
) -> Float[Array, "depth *batch heads tokens tokens"]:
    """Return what the heads of every block multiply their values with.

    Args:
        network: with learned attention, or with the usual one, whose rows sum to 1.
        params: its parameters.
        x: (..., height, width, channels), images.
    """
    network, params = _by_block(network, params)
    attention = _attention(network)
    y = network.embed(params, x)
    matrices = []
    for block, p in zip(network.blocks, params["blocks"], strict=True):
        normed = block.norm.apply(p["attention_norm"], y)
        matrices.append(attention.matrices(p["attention"], normed))
        block = dataclasses.replace(block, attention=attention)
        y = block.apply(p, y, matrices=matrices[-1])
    return jnp.stack(matrices)


def apply_with_matrices(
    network: Network,
    params: Params,
    x: Array,
    matrices: Array,
    *,
    key: Array | None = None,
) -> Float[Array, "*batch classes"]:
    """Return the outputs of a network that attends as another one did.

    With matrices from :func:`attention_matrices` of a trained network this is the
    transfer of attention: values, MLPs and the head of a new network are trained, its
    queries, keys and operators have no gradient.

    Args:
        network: of the same depth, heads and tokens as the matrices.
        params: its parameters.
        x: (..., height, width, channels), the images that the matrices are of.
        matrices: (depth, ..., heads, tokens, tokens).
        key: for what is dropped.

    Raises:
        ValueError: if the matrices do not fit.
    """
    network, params = _by_block(network, params)
    if len(matrices) != network.depth:
        raise ValueError(
            f"matrices must have shape (depth, ..., heads, tokens, tokens) with depth "
            f"{network.depth}; got {matrices.shape}."
        )
    attention = _attention(network)
    number = network.depth + 1
    keys = [None] * number if key is None else list(jax.random.split(key, number))
    y = network.embed(params, x, key=keys[0])
    for i, block in enumerate(network.blocks):
        block = dataclasses.replace(block, attention=attention)
        y = block.apply(params["blocks"][i], y, key=keys[i + 1], matrices=matrices[i])
    return network.read(params, y)


def singular_values(matrices: Array) -> Float[Array, "*batch tokens"]:
    """Return singular values of attention matrices, the largest first.

    Args:
        matrices: (..., tokens, tokens).
    """
    wide = matrices.astype(jnp.promote_types(matrices.dtype, jnp.float32))
    return jnp.linalg.svd(wide, compute_uv=False)


def matrix_rank(matrices: Array, *, tolerance: float = 1e-5) -> Int[Array, "*batch"]:
    """Count the singular values of attention matrices that are not nearly 0.

    Args:
        matrices: (..., tokens, tokens).
        tolerance: as a share of the largest singular value.

    Examples:
        >>> import jax.numpy as jnp
        >>> int(matrix_rank(jnp.ones((4, 4))))
        1
    """
    values = singular_values(matrices)
    return jnp.sum(values > tolerance * values[..., :1], axis=-1)


def class_token_maps(
    matrices: Array, grid: tuple[int, int]
) -> Float[Array, "*batch rows columns"]:
    """Return how much the class token takes from each patch, negative weights as 0.

    Args:
        matrices: (..., tokens, tokens), the class token first.
        grid: (rows, columns) of patches.

    Raises:
        ValueError: if the grid has not as many patches as the matrices.
    """
    rows, columns = grid
    if matrices.shape[-2:] != (rows * columns + 1,) * 2:
        raise ValueError(
            f"grid={grid} has {rows * columns} patches, so that matrices must end with "
            f"two axes of {rows * columns + 1}; got {matrices.shape}."
        )
    weights = jnp.maximum(matrices[..., 0, 1:], 0)
    return weights.reshape(*matrices.shape[:-2], rows, columns)


def _by_block(network: Network, params: Params) -> tuple[nn.VisionTransformer, Params]:
    if isinstance(network, SharedOperators):
        return network.network, network.distribute(params)
    return network, params


def _attention(network: nn.VisionTransformer) -> KANAttention:
    """Return the blocks' attention, a plain one as one whose heads learn nothing."""
    if isinstance(network.attention, KANAttention):
        return network.attention
    return KANAttention(
        network.features,
        network.heads,
        AttentionOperator(network.tokens + 1),
        (False,) * network.heads,
        initialization=network.initialization,
    )


def _without_operators(attention: Params) -> Params:
    return {name: leaf for name, leaf in attention.items() if name != "operators"}
