"""Equality with pykan on copied parameters: networks, scores, penalties, grids.

The file of values is written by ``benchmarks/peers/pykan_values.py``.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan
from kanjax.kan import attribution, multiplication

FORMULAS = (((0, 0, "sin"), (1, 2, "x^2")), ((2, 0, "tanh"),))
AFFINE = (((2.0, 0.5, 1.5, -0.2), (0.7, 0.1, -1.0, 0.3)), ((1.2, 0.0, 0.8, 0.1),))
MODELS = {
    "plain": {"widths": (3, 4, 2)},
    "products": {"widths": (2, 5, 1), "products": (2, 0), "affine": True},
    "formulas": {"widths": (2, 3, 1), "formulas": FORMULAS},
    "grid": {"widths": (3, 2)},
    "refined": {"widths": (3, 4)},
}
AFFINE_NAMES = {
    "sum_scale": "subnode_scale",
    "sum_shift": "subnode_bias",
    "unit_scale": "node_scale",
    "unit_shift": "node_bias",
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(pathlib.Path(__file__).with_name("pykan_values.npz")) as file:
        return dict(file)


def copied(recorded, name):
    """Our model and parameters with pykan's values, in double precision."""
    options = dict(MODELS[name])
    layers = range(len(options["widths"]) - 1)
    masks = tuple(jnp.asarray(recorded[f"{name}/{i}/mask"]) for i in layers)
    net = kan.KAN(basis=bases.BSpline(5), masks=masks, **options)
    params = []
    for i in layers:
        part = {
            "coef": jnp.moveaxis(recorded[f"{name}/{i}/coef"], -1, 0),
            "residual": jnp.asarray(recorded[f"{name}/{i}/scale_base"]),
        }
        if name == "formulas":
            part["formulas"] = jnp.array(AFFINE[i])
        if name == "products":
            part |= {
                ours: jnp.asarray(recorded[f"{name}/{i}/{theirs}"])
                for ours, theirs in AFFINE_NAMES.items()
            }
        params.append(part)
    return net, tuple(params), jnp.asarray(recorded[f"{name}/x"])


def scored(net, params, x, floor):
    """Scores of edges with a floor added to deviations, as pykan has one."""
    values, score, edges = net.activations(params, x), jnp.ones(net.widths[-1]), []
    for i in reversed(range(len(net.layers))):
        one, p = net.layers[i], params[i]
        spread = attribution.edge_deviation(one, p, values[i])
        sums = jnp.std(multiplication.sum_values(one, p, values[i]), axis=0)
        share = score[multiplication.unit_of_sum(one)] / (sums + floor)
        edges.insert(0, spread * share[None])
        score = jnp.sum(edges[0], axis=1)
    return edges


@pytest.mark.parametrize("name", ["plain", "products", "formulas"])
def test_networks_and_scores_are_those_of_pykan(name, recorded, x64):
    net, params, x = copied(recorded, name)
    example = net.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, example) == jax.tree.map(jnp.shape, params)
    np.testing.assert_allclose(
        net.apply(params, x), recorded[f"{name}/output"], atol=1e-9
    )
    scores = kan.attribute(net, params, x)
    floored, plain = (scored(net, params, x, floor) for floor in (1e-4, 0.0))
    outputs = net.widths[-1]
    for i, edges in enumerate(kan.edge_activations(net, params, x)):
        theirs = recorded[f"{name}/{i}/edges"]
        np.testing.assert_allclose(edges, np.moveaxis(theirs, 1, 2), atol=1e-9)
        # pykan divides by the number of outputs; and the floors under its standard
        # deviations weigh less, since those are of samples.
        theirs = outputs * recorded[f"{name}/{i}/edge_scores"].T
        np.testing.assert_allclose(floored[i], theirs, rtol=1e-4)
        np.testing.assert_allclose(scores.edges[i], plain[i], rtol=1e-9)
    for i, nodes in enumerate(scores.nodes):
        theirs = outputs * recorded[f"{name}/node_scores/{i}"]
        ours = jnp.sum(floored[i], axis=1) if i < len(floored) else nodes
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("name", ["plain", "products", "formulas"])
def test_the_penalty_is_that_of_pykan(name, recorded, x64):
    net, params, x = copied(recorded, name)
    found = kan.penalty(net, params, x, l1=1.0, entropy=2.0, size=0.3, roughness=0.2)
    assert float(found) == pytest.approx(float(recorded[f"{name}/penalty"]), rel=1e-9)


def test_knots_follow_samples_as_in_pykan(recorded, x64):
    """Its knots are order statistics, which are quantiles at this number of rows."""
    net, params, x = copied(recorded, "grid")
    cubic = jnp.moveaxis(recorded["grid/cubic_coef"], -1, 0)
    params = ({**params[0], "coef": cubic},)
    moved, fitted = kan.update_grid(net, params, x, uniform_share=0.02)
    (basis,) = moved.basis
    np.testing.assert_allclose(basis.knots, recorded["grid/updated_grid"], atol=1e-12)
    # No grid changes a cubic, inside; on its last knot pykan's splines count as well.
    np.testing.assert_allclose(
        moved.apply(fitted, x), recorded["grid/updated"], atol=1e-5
    )


def test_refined_networks_are_those_of_pykan(recorded, x64):
    """One layer: pykan's next one changes where samples do not cover its grid."""
    net, params, x = copied(recorded, "refined")
    finer, fitted = kan.refine(net, params, x, 10)
    np.testing.assert_allclose(
        finer.apply(fitted, x), recorded["refined/refined"], atol=1e-5
    )
