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

from benchmarks.peers.neural_tangents_networks import networks
from benchmarks.peers.neural_tangents_positions import WEIGHTS

SHAPES = {
    "vectors": (5,),
    "sequences": (6, 3),
    "images": (4, 4, 3),
    "volumes": (3, 2, 3, 2),
    "masked sequences": (6, 3),
    "masked images": (4, 4, 3),
    "small images": (2, 3, 3),
    "masked small images": (2, 3, 3),
    "graphs": (5, 3),
    "lists of edges": (5, 3),
    "graphs of images": (2, 3, 3),
}
PATTERNS = {
    "graphs": (5, 5),
    "lists of edges": (7, 2),
    "graphs of images": (2, 3, 2, 3),
}
"""What comes with each example."""
ROWS, COLUMNS = 3, 2
NOTHING = 100.0
"""What stands where an example has nothing."""


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
    gaps = np.random.RandomState(1)
    for kind in (name for name in SHAPES if name.startswith("masked")):
        for x in data[kind]:
            x[gaps.uniform(size=x.shape[:-1]) < 0.3] = NOTHING
    draw = np.random.RandomState(2)
    patterns = {
        kind: [np.round(draw.normal(size=(n, *shape)), 3) for n in (ROWS, COLUMNS)]
        for kind, shape in PATTERNS.items()
    }
    nodes = SHAPES["lists of edges"][0]
    for x in patterns["lists of edges"]:
        x[:] = draw.randint(nodes, size=x.shape)
        # Some are not there. With the sender alone at -1, an edge would come from the
        # last node.
        x[:, -2:] = -1
    patterns["lists of edges"] = [x.astype(int) for x in patterns["lists of edges"]]
    values = {}
    for name, (kind, (_, _, kernel_fn)) in networks(nt.stax).items():
        x1, x2 = data[kind]
        options = {"mask_constant": NOTHING} if kind.startswith("masked") else {}
        itself, between = dict(options), dict(options)
        if kind in patterns:
            first, second = patterns[kind]
            itself["pattern"], between["pattern"] = (first, first), (first, second)
        between = kernel_fn(x1, x2, ("nngp", "ntk"), **between)
        itself = kernel_fn(x1, None, ("nngp", "ntk"), **itself)
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
        "graphs": {kind: [p.tolist() for p in both] for kind, both in patterns.items()},
        "weights": WEIGHTS,
        "nothing": NOTHING,
        "kernels": values,
    }
    out.write_text(json.dumps(document) + "\n")
    print(f"{len(values)} architectures")


if __name__ == "__main__":
    main()
