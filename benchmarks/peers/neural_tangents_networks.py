"""The networks of ``neural_tangents_values.py``, in neural-tangents' layers."""

import jax

from benchmarks.peers import neural_tangents_positions


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
    return found | neural_tangents_positions.networks(stax)
