"""The networks of ``neural_tangents_values.py``, in neural-tangents' layers."""

import jax
import numpy as np

WEIGHTS = {
    "square": [[1.8, 0.4, 0.1], [-1.9, -0.3, -0.4]],
    "rows": [[-0.1, -0.6], [1.4, 0.3], [0.0, -0.5], [-1.3, 0.9]],
}
"""Of the linear maps of positions."""


def networks(stax):
    """By name: the kind of data and the network."""
    serial, relu = stax.serial, stax.Relu()
    dense = lambda width=64, w=1.3, b=0.4, **options: stax.Dense(  # noqa: E731
        width, w, b, **options
    )
    conv = lambda window, **options: stax.Conv(  # noqa: E731
        16, window, W_std=1.2, b_std=0.3, **options
    )

    def between(layer):
        return serial(dense(), layer, dense(), layer, dense(1))

    def images(*layers):
        return serial(*layers, dense(1))

    flat = stax.Flatten()
    # RectifiedMonomial is left out: it gives NaN.
    activations = {
        "relu": relu,
        "leaky relu": stax.LeakyRelu(0.2),
        "abrelu": stax.ABRelu(-0.3, 1.4),
        "abs": stax.Abs(),
        "erf": stax.Erf(),
        "scaled erf": stax.Erf(1.2, 0.7, 0.1),
        "sigmoid like": stax.Sigmoid_like(),
        "gelu": stax.Gelu(),
        "sine": stax.Sin(1.1, 0.9, 0.3),
        "cosine": stax.Cos(0.8, 1.2, 0.1),
        "rbf": stax.Rbf(0.7),
        "exponential": stax.Exp(0.6, 0.5),
        "squared exponential": stax.Gaussian(1.2, -0.5),
        "gabor": stax.Gabor(),
        "sign": stax.Sign(),
        "monomial 3": stax.Monomial(3),
        "polynomial": stax.Polynomial([0.2, -0.5, 0.3]),
        "tanh": stax.ElementwiseNumerical(jax.numpy.tanh, deg=300),
    }
    activations["normalised exponential"] = stax.ExpNormalized(0.7, -0.8)
    found = {name: ("vectors", between(layer)) for name, layer in activations.items()}
    standard = {"parameterization": "standard"}
    branch = serial(relu, dense())
    found |= {
        "linear": ("vectors", serial(dense(), dense(), dense(1))),
        "deep relu": ("vectors", serial(*[dense(w=2**0.5), relu] * 10, dense(1))),
        "without bias": (
            "vectors",
            serial(dense(b=None), relu, dense(1, b=None)),
        ),
        "standard": (
            "vectors",
            serial(
                dense(**standard),
                relu,
                dense(32, **standard),
                relu,
                dense(1, **standard),
            ),
        ),
        "standard conv": (
            "images",
            serial(
                conv((3, 3), padding="SAME", **standard),
                relu,
                flat,
                dense(1, **standard),
            ),
        ),
        "layer norm": (
            "vectors",
            serial(
                dense(), stax.LayerNorm(), relu, dense(), stax.LayerNorm(), dense(1)
            ),
        ),
        "dropout": (
            "vectors",
            serial(dense(), relu, stax.Dropout(0.7), dense(), relu, dense(1)),
        ),
        "residual": (
            "vectors",
            serial(
                dense(),
                stax.FanOut(2),
                stax.parallel(stax.Identity(), branch),
                stax.FanInSum(),
                relu,
                dense(1),
            ),
        ),
        "parallel": (
            "vectors",
            serial(
                stax.FanOut(3),
                stax.parallel(dense(), serial(dense(), relu, dense()), dense(w=0.7)),
                stax.FanInSum(),
                relu,
                dense(1),
            ),
        ),
        "product": (
            "vectors",
            serial(
                stax.FanOut(2),
                stax.parallel(dense(), serial(dense(), relu, dense())),
                stax.FanInProd(),
                dense(1),
            ),
        ),
        "concatenation": (
            "vectors",
            serial(
                stax.FanOut(2),
                stax.parallel(dense(32), serial(dense(), relu, dense(96))),
                stax.FanInConcat(-1),
                dense(1),
            ),
        ),
        "conv same": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                relu,
                conv((3, 3), padding="SAME"),
                relu,
                flat,
            ),
        ),
        "conv valid": ("images", images(conv((2, 3), padding="VALID"), relu, flat)),
        "conv circular": (
            "images",
            images(
                conv((3, 3), padding="CIRCULAR"),
                relu,
                conv((3, 3), padding="CIRCULAR"),
                stax.Erf(),
                flat,
            ),
        ),
        "conv strides": (
            "images",
            images(conv((3, 3), strides=(2, 1), padding="SAME"), relu, flat),
        ),
        "conv 1d": (
            "sequences",
            images(
                conv((3,), padding="SAME"),
                relu,
                conv((2,), padding="VALID"),
                relu,
                flat,
            ),
        ),
        "conv 3d": ("volumes", images(conv((2, 2, 2), padding="SAME"), relu, flat)),
        "conv global pool": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                relu,
                conv((3, 3), padding="CIRCULAR"),
                relu,
                stax.GlobalAvgPool(),
            ),
        ),
        "conv global sum pool": (
            "images",
            images(conv((3, 3), padding="VALID"), relu, stax.GlobalSumPool()),
        ),
        "myrtle": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                relu,
                stax.AvgPool((2, 2), (2, 2)),
                conv((3, 3), padding="SAME"),
                relu,
                stax.AvgPool((2, 2), (2, 2)),
                stax.GlobalAvgPool(),
            ),
        ),
        "pool flatten": (
            "images",
            images(
                conv((3, 3), padding="SAME"), relu, stax.AvgPool((2, 2), (1, 1)), flat
            ),
        ),
        "pool same": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                relu,
                stax.AvgPool((2, 2), (2, 2), "SAME"),
                flat,
            ),
        ),
        "pool same edges": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                relu,
                stax.AvgPool((3, 3), (2, 2), "SAME", normalize_edges=True),
                flat,
            ),
        ),
        "sum pool": (
            "images",
            images(
                conv((3, 3), padding="SAME"), relu, stax.SumPool((2, 2), (2, 2)), flat
            ),
        ),
        "conv layer norm": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                stax.LayerNorm(),
                relu,
                stax.GlobalAvgPool(),
            ),
        ),
        "residual conv": (
            "images",
            images(
                conv((3, 3), padding="SAME"),
                stax.FanOut(2),
                stax.parallel(
                    stax.Identity(),
                    serial(
                        relu,
                        conv((3, 3), padding="SAME"),
                        relu,
                        conv((3, 3), padding="SAME"),
                    ),
                ),
                stax.FanInSum(),
                relu,
                stax.GlobalAvgPool(),
            ),
        ),
        "dense on positions": (
            "sequences",
            images(dense(), relu, stax.GlobalAvgPool()),
        ),
        "conv transpose": (
            "images",
            images(
                stax.ConvTranspose(16, (3, 3), (2, 2), "SAME", 1.2, 0.3), relu, flat
            ),
        ),
        "conv local": (
            "images",
            images(
                stax.ConvLocal(16, (3, 3), padding="SAME", W_std=1.2, b_std=0.3),
                relu,
                flat,
            ),
        ),
        "conv local pool": (
            "images",
            images(
                stax.ConvLocal(16, (3, 3), padding="SAME", W_std=1.2, b_std=0.3),
                relu,
                stax.GlobalAvgPool(),
            ),
        ),
        "attention": (
            "sequences",
            images(
                dense(),
                stax.GlobalSelfAttention(
                    16,
                    8,
                    8,
                    2,
                    linear_scaling=True,
                    W_key_std=1.1,
                    W_value_std=0.9,
                    W_query_std=1.2,
                    W_out_std=1.3,
                    b_std=0.2,
                ),
                relu,
                stax.GlobalAvgPool(),
            ),
        ),
        "attention flatten": (
            "sequences",
            images(
                stax.GlobalSelfAttention(16, 8, 8, 2, linear_scaling=True, b_std=0.2),
                flat,
            ),
        ),
    }
    return (
        found
        | attentions(stax)
        | masked(stax)
        | positions(stax)
        | contractions(stax)
        | graphs(stax)
        | attentions_of_images(stax)
    )


def attentions(stax):
    """Attention of all kinds that have a closed form."""
    scales = {"W_key_std": 1.1, "W_value_std": 0.9, "W_out_std": 1.3, "b_std": 0.2}

    def network(linear=True, **options):
        return "sequences", stax.serial(
            stax.Dense(64, 1.3, 0.4),
            stax.GlobalSelfAttention(
                16, 8, 8, 2, linear_scaling=linear, **scales, **options
            ),
            stax.Relu(),
            stax.GlobalAvgPool(),
            stax.Dense(1, 1.3, 0.4),
        )

    added = {"pos_emb_type": "SUM", "W_pos_emb_std": 0.7}
    joined = {"pos_emb_type": "CONCAT", "W_pos_emb_std": 0.7, "n_chan_pos_emb": 32}
    near = {"pos_emb_decay_fn": lambda d: jax.numpy.exp(-d / 3), "pos_emb_p_norm": 1}
    bare = {"linear": False, "attention_mechanism": "IDENTITY"}
    return {
        "attention relu": network(attention_mechanism="RELU"),
        "attention abs": network(attention_mechanism="ABS"),
        "attention identity": network(attention_mechanism="IDENTITY"),
        "attention positions": network(val_pos_emb=True, **added),
        "attention near positions": network(val_pos_emb=True, **added, **near),
        "attention positions of keys": network(**added),
        "attention positions joined": network(val_pos_emb=True, **joined),
        "attention positions joined of keys": network(**joined),
        "linear attention": network(**bare),
        "linear attention positions": network(val_pos_emb=True, **bare, **added),
        "linear attention positions of keys": network(**bare, **added),
    }


def masked(stax):
    """Networks of examples that have nothing at some positions."""
    serial, relu = stax.serial, stax.Relu()
    last = stax.Dense(1, 1.3, 0.4)
    dense, mean = stax.Dense(64, 1.3, 0.4), stax.GlobalAvgPool()
    conv = lambda window, **options: stax.Conv(  # noqa: E731
        16, window, W_std=1.2, b_std=0.3, **options
    )
    attention = lambda kind: stax.GlobalSelfAttention(  # noqa: E731
        16, 8, 8, 2, linear_scaling=True, b_std=0.2, attention_mechanism=kind
    )
    steps = conv((2,), strides=(2,), padding="VALID")
    square = conv((3, 3), padding="SAME")
    pool = stax.AvgPool((2, 2), (2, 2))
    branch = serial(relu, square)
    sequences = {
        "masked dense": serial(dense, relu, mean, last),
        "masked sum": serial(dense, stax.Cos(), stax.GlobalSumPool(), last),
        "masked conv": serial(
            conv((3,), padding="SAME"), relu, steps, relu, stax.Flatten(), last
        ),
        "masked attention": serial(dense, attention("SOFTMAX"), relu, mean, last),
        "masked attention abs": serial(dense, attention("ABS"), relu, mean, last),
    }
    images = {
        "masked myrtle": serial(
            square, stax.LayerNorm(), relu, pool, square, relu, mean, last
        ),
        "masked residual": serial(
            square,
            stax.FanOut(2),
            stax.parallel(stax.Identity(), branch),
            stax.FanInSum(),
            relu,
            mean,
            last,
        ),
        "masked transpose": serial(
            stax.ConvTranspose(16, (3, 3), (2, 2), "SAME", 1.2, 0.3), relu, mean, last
        ),
    }
    return {name: ("masked sequences", net) for name, net in sequences.items()} | {
        name: ("masked images", net) for name, net in images.items()
    }


def positions(stax):
    """Networks with fixed maps of positions."""
    relu, flat, last = stax.Relu(), stax.Flatten(), stax.Dense(1, 1.3, 0.4)
    conv = stax.Conv(16, (3, 3), padding="SAME", W_std=1.2, b_std=0.3)
    # Behind a convolution the kernel of ImageResize exchanges the axes of an image, so
    # it is behind a dense layer here.
    dense = stax.Dense(64, 1.3, 0.4)
    resized = {
        "resize": stax.ImageResize((-1, 6, 3, -1), "linear"),
        "resize nearest": stax.ImageResize((-1, 3, 7, -1), "nearest"),
    }
    layers = {
        "index": stax.Index(stax.Slice[:, 1:, ::2]),
        "index one row": stax.Index(stax.Slice[:, 2]),
    }
    rows = np.array([1.0, -1.0, 0.5, 2.0, 0.0, 0.3])
    dot = stax.DotGeneral(rhs=rows, dimension_numbers=(((1,), (0,)), ((), ())))
    return (
        {
            name: ("images", stax.serial(conv, layer, relu, flat, last))
            for name, layer in layers.items()
        }
        | {
            name: ("images", stax.serial(dense, layer, relu, flat, last))
            for name, layer in resized.items()
        }
        | {
            "dot general": (
                "sequences",
                stax.serial(stax.Dense(64, 1.3, 0.4), relu, dot, last),
            )
        }
    )


def contractions(stax):
    """Networks with fixed linear maps of several positions."""
    serial, relu, last = stax.serial, stax.Relu(), stax.Dense(1, 1.3, 0.4)
    dense, flat = stax.Dense(64, 1.3, 0.4), stax.Flatten()
    square, rows = (np.array(WEIGHTS[name]) for name in ("square", "rows"))
    none = ((), ())
    # What comes out has the examples on the second axis.
    over_all = stax.GlobalAvgPool(batch_axis=1, channel_axis=2)
    second = {"batch_axis": 1, "channel_axis": 3}
    both = stax.DotGeneral(rhs=square, dimension_numbers=(((1, 2), (0, 1)), none))
    each = stax.DotGeneral(rhs=square, dimension_numbers=(((2,), (1,)), ((1,), (0,))))
    left = stax.DotGeneral(lhs=rows, dimension_numbers=(((1,), (1,)), none))
    along = stax.DotGeneral(
        rhs=square, dimension_numbers=((none[0], none[1]), ((1, 2), (0, 1)))
    )
    kind = "small images"
    return {
        "einsum of two axes": (kind, serial(dense, relu, both, last)),
        "einsum of each row": (kind, serial(dense, relu, each, over_all, last)),
        "einsum of new rows": (
            kind,
            serial(
                dense,
                left,
                stax.Relu(),
                stax.GlobalSumPool(**second),
                last,
            ),
        ),
        "einsum of nothing": (
            kind,
            serial(dense, relu, along, stax.GlobalAvgPool(batch_axis=2), last),
        ),
        "einsum of a number": ("images", serial(dense, stax.DotGeneral(rhs=2.0), flat)),
        "masked einsum": ("masked " + kind, serial(dense, relu, each, over_all, last)),
    }


def graphs(stax):
    """Networks of examples that each come with a graph."""

    def network(axes=1, **options):
        layer = stax.Aggregate(axes, **options)
        dense = stax.Dense(64, 1.3, 0.4)
        layers = layer, dense, stax.Relu(), layer, stax.GlobalAvgPool()
        return stax.serial(*layers, stax.Dense(1, 1.3, 0.4))

    return {
        "graphs": ("graphs", network()),
        "lists of edges": ("lists of edges", network(implementation="SPARSE")),
        "graphs of images": ("graphs of images", network((1, 2))),
    }


def attentions_of_images(stax):
    """Attention of all positions of an image."""
    scales = {"W_key_std": 1.1, "W_value_std": 0.9, "W_out_std": 1.3, "b_std": 0.2}

    def network(linear=True, **options):
        return stax.serial(
            stax.Conv(16, (2, 2), padding="SAME", W_std=1.2, b_std=0.3),
            stax.GlobalSelfAttention(
                16, 8, 8, 2, linear_scaling=linear, **scales, **options
            ),
            stax.Relu(),
            stax.Flatten(),
            stax.Dense(1, 1.3, 0.4),
        )

    near = {
        "pos_emb_type": "SUM",
        "W_pos_emb_std": 0.7,
        "pos_emb_decay_fn": lambda d: jax.numpy.exp(-d / 3),
        "pos_emb_p_norm": 1,
    }
    kind = "small images"
    return {
        "attention of images": (kind, network()),
        "attention of images near": (kind, network(val_pos_emb=True, **near)),
        "linear attention of images": (
            kind,
            network(False, attention_mechanism="IDENTITY"),
        ),
        "masked attention of images": ("masked " + kind, network(**near)),
    }
