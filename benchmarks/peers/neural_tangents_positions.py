"""Networks that join, mask and map positions, in neural-tangents' layers."""

import jax
import numpy as np

WEIGHTS = {
    "square": [[1.8, 0.4, 0.1], [-1.9, -0.3, -0.4]],
    "rows": [[-0.1, -0.6], [1.4, 0.3], [0.0, -0.5], [-1.3, 0.9]],
}
"""Of the linear maps of positions."""


def networks(stax):
    """By name: the kind of data and the network."""
    return (
        attentions(stax)
        | masked(stax)
        | positions(stax)
        | contractions(stax)
        | graphs(stax)
        | attentions_of_images(stax)
    )


def attentions(stax):
    """Attention of all kinds that have a closed form."""

    def network(**options):
        return "sequences", stax.serial(
            stax.Dense(64, 1.3, 0.4),
            attention(stax, **options),
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


def attention(stax, linear=True, **options):
    """Two heads, every scale another."""
    scales = {"W_key_std": 1.1, "W_value_std": 0.9, "W_out_std": 1.3, "b_std": 0.2}
    return stax.GlobalSelfAttention(
        16, 8, 8, 2, linear_scaling=linear, **scales, **options
    )


def masked(stax):
    """Networks of examples that have nothing at some positions."""
    serial, relu = stax.serial, stax.Relu()
    last = stax.Dense(1, 1.3, 0.4)
    dense, mean = stax.Dense(64, 1.3, 0.4), stax.GlobalAvgPool()
    conv = lambda window, **options: stax.Conv(  # noqa: E731
        16, window, W_std=1.2, b_std=0.3, **options
    )
    looking = lambda kind: stax.GlobalSelfAttention(  # noqa: E731
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
        "masked attention": serial(dense, looking("SOFTMAX"), relu, mean, last),
        "masked attention abs": serial(dense, looking("ABS"), relu, mean, last),
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

    def network(**options):
        return stax.serial(
            stax.Conv(16, (2, 2), padding="SAME", W_std=1.2, b_std=0.3),
            attention(stax, **options),
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
            network(linear=False, attention_mechanism="IDENTITY"),
        ),
        "masked attention of images": ("masked " + kind, network(**near)),
    }
