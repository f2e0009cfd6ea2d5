"""Generic layers: dense, convolution, normalisation, attention, embedding, dropout."""

from kanjax.nn.activation import Activation
from kanjax.nn.attention import Attention
from kanjax.nn.conv import Conv
from kanjax.nn.dense import Dense
from kanjax.nn.dropout import Dropout
from kanjax.nn.embedding import Embedding
from kanjax.nn.mlp import MLP
from kanjax.nn.norm import LayerNorm, RMSNorm

__all__ = [
    "MLP",
    "Activation",
    "Attention",
    "Conv",
    "Dense",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "RMSNorm",
]
