import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.hopfield import Hopfield, Norm

RECORDED = np.load(
    pathlib.Path(__file__).parent / "fixtures" / "hflayers.npz", allow_pickle=False
)
NO_NORMS = {"state_norm": None, "stored_norm": None, "value_norm": None}
PLAIN = Norm(affine=False)
PLAIN_NORMS = {"state_norm": PLAIN, "stored_norm": PLAIN, "value_norm": PLAIN}
# The options in our names, see benchmarks/peers/hopfield_fixture.py for theirs.
LAYERS = {
    "self": Hopfield(8, heads=2),
    "sizes": Hopfield(8, 6, 7, 5, head_features=4, head_value_features=3, heads=2),
    "updates": Hopfield(8, heads=2, beta=1.5, updates=3),
    "converged": Hopfield(8, heads=2, beta=1.5, updates=None, tolerance=1e-10),
    "space norm": Hopfield(8, head_features=5, heads=2, updates=2, space_norm=Norm()),
    "space norm without scale": Hopfield(8, head_features=5, space_norm=PLAIN),
    "no norms": Hopfield(8, heads=2, **NO_NORMS),
    "norms without scale": Hopfield(8, **PLAIN_NORMS),
    "connected": Hopfield(8, heads=2, connected=True),
    "connected updates": Hopfield(8, heads=4, connected=True, updates=2),
    "static state": Hopfield(8, state_static=True),
    "static stored": Hopfield(8, stored_static=True),
    "static values": Hopfield(8, value_static=True),
    "static connected": Hopfield(8, value_static=True, connected=True),
    "all static": Hopfield(
        8,
        state_static=True,
        stored_static=True,
        value_static=True,
        project_output=False,
        **NO_NORMS,
    ),
    "zero pattern": Hopfield(8, heads=2, zero_pattern=True),
    "no biases": Hopfield(8, heads=2, beta=2.5, use_bias=False),
    "no output": Hopfield(8, head_value_features=3, heads=2, project_output=False),
    "activation": Hopfield(8, activation=jnp.tanh),
    "padded": Hopfield(8, heads=2),
    "masked": Hopfield(8, heads=2, zero_pattern=True, updates=1),
    "mask by head": Hopfield(8, heads=2),
    "added mask": Hopfield(8, heads=2),
}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"):
        yield


def recorded(case, part):
    """The arrays of a case under a name, by what follows it."""
    start = f"{case}/{part}/"
    return {n.removeprefix(start): RECORDED[n] for n in RECORDED if n.startswith(start)}


def translated(layer, theirs, prefix=""):
    """The authors' parameters of a Hopfield layer as ours."""
    theirs = {
        n.removeprefix(prefix): v for n, v in theirs.items() if n.startswith(prefix)
    }
    core = {
        n.removeprefix("association_core."): v
        for n, v in theirs.items()
        if n.startswith("association_core.")
    }
    size, ours = layer.sizes, {}
    widths = {"query": size.head, "key": size.head, "value": size.value_head}
    static = {
        "query": layer.state_static,
        "key": layer.stored_static,
        "value": layer.value_static,
    }
    weight = bias = 0
    for name, width in widths.items():
        rows = layer.heads * width
        if static[name]:
            continue
        if "in_proj_weight" in core:
            kernel = core["in_proj_weight"][weight : weight + rows]
            weight += rows
        else:
            kernel = core[f"{name[0]}_proj_weight"]
        ours[name] = {"kernel": kernel.T}
        if layer.use_bias:
            ours[name]["bias"] = core["in_proj_bias"][bias : bias + rows]
            bias += rows
    if layer.project_output:
        ours["output"] = {"kernel": core["out_proj.weight"].T}
        if layer.use_bias:
            ours["output"]["bias"] = core["out_proj.bias"]
    if "p_norm_weight" in core:
        ours["space_norm"] = {
            "scale": core["p_norm_weight"],
            "bias": core["p_norm_bias"],
        }
    names = {
        "state_norm": "norm_state_pattern",
        "stored_norm": "norm_stored_pattern",
        "value_norm": "norm_pattern_projection",
    }
    for name, their_name in names.items():
        if f"{their_name}.weight" in theirs:
            scale, bias = (theirs[f"{their_name}.{end}"] for end in ("weight", "bias"))
            ours[name] = {"scale": scale, "bias": bias}
    return jax.tree.map(jnp.asarray, ours)


def masks_of(inputs, heads):
    """True is what may be looked at here, and what may not there."""
    masks = {}
    if "padding" in inputs:
        masks["present"] = jnp.asarray(~inputs["padding"])
    if "mask" in inputs:
        mask = inputs["mask"]
        mask = ~mask if mask.dtype == bool else mask
        if mask.ndim == 3:
            mask = mask.reshape(-1, heads, *mask.shape[1:])
        masks["mask"] = jnp.asarray(mask)
    return masks


def from_authors(case, layer):
    """Our parameters and inputs of a recorded case."""
    given = recorded(case, "inputs")
    options = {n: jnp.asarray(given[n]) for n in ("stored", "values") if n in given}
    options |= masks_of(given, layer.heads)
    params = translated(layer, recorded(case, "params"))
    return params, jnp.asarray(given["x"]), options


def test_all_recorded_cases_are_used():
    cases = {name.split("/")[0] for name in RECORDED} - {"allow_pickle"}
    others = {"pooling", "padded pooling", "static pooling", "lookup"}
    others |= {"separate lookup", "static lookup", "encoder", "decoder"}
    assert cases == set(LAYERS) | others


@pytest.mark.parametrize("case", LAYERS)
def test_outputs_weights_and_gradients_are_the_authors(case, x64):
    layer = LAYERS[case]
    params, x, options = from_authors(case, layer)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(layer.init, jax.random.key(0))
    )

    @jax.jit
    def everything(params, x, options):
        def total(x):
            y = layer.apply(params, x, **options)
            return jnp.sum(jnp.sin(y)), y

        (_, y), slope = jax.value_and_grad(total, has_aux=True)(x)
        return y, slope, layer.association(params, x, **options)

    y, slope, found = everything(params, x, options)
    exact = {"rtol": 1e-9, "atol": 1e-11}
    # Theirs stops on all weights of a head together, ours on each state.
    near = {"rtol": 1e-7, "atol": 1e-9} if layer.updates is None else exact
    np.testing.assert_allclose(y, RECORDED[f"{case}/output"], **near)
    np.testing.assert_allclose(found.weights, RECORDED[f"{case}/weights"], **near)
    assert np.all(found.converged)

    # At a fixed point the states that it started from do not matter.
    if layer.updates is not None:
        np.testing.assert_allclose(slope, RECORDED[f"{case}/gradient"], **exact)
