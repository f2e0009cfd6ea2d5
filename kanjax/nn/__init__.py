"""Generic layers: dense, convolution, pooling, normalisation, attention and more."""

from kanjax.nn.activation import Activation
from kanjax.nn.aggregate import Aggregate
from kanjax.nn.attention import Attention
from kanjax.nn.conv import Conv
from kanjax.nn.conv_local import ConvLocal
from kanjax.nn.conv_transpose import ConvTranspose
from kanjax.nn.dense import Dense
from kanjax.nn.dropout import Dropout
from kanjax.nn.embedding import Embedding
from kanjax.nn.mlp import MLP
from kanjax.nn.norm import LayerNorm, RMSNorm
from kanjax.nn.pooling import Flatten, GlobalPool, Pool
from kanjax.nn.tied_attention import TiedAttention

__all__ = [
    "MLP",
    "Activation",
    "Aggregate",
    "Attention",
    "Conv",
    "ConvLocal",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalPool",
    "LayerNorm",
    "Pool",
    "RMSNorm",
    "TiedAttention",
]
