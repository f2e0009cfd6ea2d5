"""Record neural-tangents' kernels of many architectures, in float64.

Runs in an environment with neural-tangents 0.6.5 and a jax that it imports on (0.4.30):

    /path/to/python -m benchmarks.peers.neural_tangents_values OUT.json

The tests hold ``tests/ntk/neural_tangents.json`` against ``kj.ntk.infinite`` of models
with the same names in ``tests/ntk/test_neural_tangents.py``.
"""

import argparse
import json
import pathlib
import warnings

SHAPES = {
    "vectors": (5,),
    "sequences": (6, 3),
    "images": (4, 4, 3),
    "volumes": (3, 2, 3, 2),
}
ROWS, COLUMNS = 3, 2


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
        "tanh": stax.ElementwiseNumerical(__import__("jax").numpy.tanh, deg=300),
    }
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
    return found


def main():
    """Write the data and both kernels, between two sets and of one with itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    import jax
    import neural_tangents as nt
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    draw = np.random.RandomState(0)
    data = {
        kind: [np.round(draw.normal(size=(n, *shape)), 3) for n in (ROWS, COLUMNS)]
        for kind, shape in SHAPES.items()
    }
    values = {}
    for name, (kind, (_, _, kernel_fn)) in networks(nt.stax).items():
        x1, x2 = data[kind]
        between = kernel_fn(x1, x2, ("nngp", "ntk"))
        itself = kernel_fn(x1, None, ("nngp", "ntk"))
        values[name] = {
            "data": kind,
            "between": {
                k: np.asarray(getattr(between, k)).tolist() for k in ("nngp", "ntk")
            },
            "itself": {
                k: np.asarray(getattr(itself, k)).tolist() for k in ("nngp", "ntk")
            },
        }
    document = {
        "versions": {"neural-tangents": nt.__version__, "jax": jax.__version__},
        "data": {kind: [x.tolist() for x in both] for kind, both in data.items()},
        "kernels": values,
    }
    out.write_text(json.dumps(document) + "\n")
    print(f"{len(values)} architectures")


if __name__ == "__main__":
    main()
