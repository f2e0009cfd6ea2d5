"""Generic layers: dense, convolution, pooling, normalisation, attention and more."""

from kanjax.nn.activation import Activation
from kanjax.nn.affine import Affine
from kanjax.nn.aggregate import Aggregate, Edges, GraphNetwork
from kanjax.nn.attention import Attention
from kanjax.nn.batch_norm import BatchNorm, fold_batch_norm
from kanjax.nn.conv import Conv
from kanjax.nn.conv_local import ConvLocal
from kanjax.nn.conv_transpose import ConvTranspose
from kanjax.nn.dense import Dense
from kanjax.nn.dropout import Dropout, DropPath
from kanjax.nn.einsum import Einsum
from kanjax.nn.embedding import Embedding
from kanjax.nn.factored import FactoredDense
from kanjax.nn.fourier_features import FourierFeatures, PeriodicEmbedding
from kanjax.nn.layer_scale import LayerScale
from kanjax.nn.linear_attention import LinearAttention
from kanjax.nn.masked import Masked
from kanjax.nn.mlp import MLP
from kanjax.nn.modified_mlp import ModifiedMLP
from kanjax.nn.neighborhoods import (
    NeighborhoodAttention,
    neighborhood_attention,
    neighborhood_indices,
)
from kanjax.nn.norm import LayerNorm, RMSNorm
from kanjax.nn.normalized_exponential import NormalizedExponential
from kanjax.nn.patches import PatchEmbedding
from kanjax.nn.pirate import PirateNet
from kanjax.nn.pooling import Flatten, GlobalPool, Pool
from kanjax.nn.positions import Positions
from kanjax.nn.recurrent import GRU, LSTM, MultipleTimescale
from kanjax.nn.reduced_attention import ReducedAttention
from kanjax.nn.resize import Index, Resize
from kanjax.nn.separable import Separable
from kanjax.nn.simplex import project_simplex
from kanjax.nn.squeeze_excitation import SqueezeExcitation
from kanjax.nn.tied_attention import TiedAttention
from kanjax.nn.transformer import TransformerBlock
from kanjax.nn.vision import VisionTransformer, vision_transformer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "Activation",
    "Affine",
    "Aggregate",
    "Attention",
    "BatchNorm",
    "Conv",
    "ConvLocal",
    "ConvTranspose",
    "Dense",
    "DropPath",
    "Dropout",
    "Edges",
    "Einsum",
    "Embedding",
    "FactoredDense",
    "Flatten",
    "FourierFeatures",
    "GlobalPool",
    "GraphNetwork",
    "Index",
    "LayerNorm",
    "LayerScale",
    "LinearAttention",
    "Masked",
    "MultipleTimescale",
    "ModifiedMLP",
    "NeighborhoodAttention",
    "NormalizedExponential",
    "PatchEmbedding",
    "PeriodicEmbedding",
    "PirateNet",
    "Pool",
    "Positions",
    "RMSNorm",
    "ReducedAttention",
    "Resize",
    "Separable",
    "SqueezeExcitation",
    "TiedAttention",
    "TransformerBlock",
    "VisionTransformer",
    "fold_batch_norm",
    "neighborhood_attention",
    "neighborhood_indices",
    "project_simplex",
    "vision_transformer",
]
