"""What the authors' layers computed, and their parameters as ours."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

RECORDED = np.load(
    pathlib.Path(__file__).parent / "fixtures" / "hflayers.npz", allow_pickle=False
)


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
