"""Record what the authors' Hopfield layers compute, for the tests of ours.

Run it in an environment with PyTorch, from the root of the repository:

    python -m benchmarks.peers.hopfield_fixture --source FOLDER OUT.npz

where FOLDER holds the package ``hflayers``. Each case has arrays named
``case/inputs/..``, ``case/params/..``, ``case/output``, ``case/weights`` and
``case/gradient`` (of the sum of the output's sines, for the states), in float64.
"""

import argparse
import sys
from typing import Any

import numpy as np

BATCH, STATES, PATTERNS = 3, 4, 5
NO_NORMS = {
    f"normalize_{name}{end}": False
    for name in ("stored_pattern", "state_pattern", "pattern_projection")
    for end in ("", "_affine")
}
STATIC = {
    f"{name}_as_static": True
    for name in ("stored_pattern", "state_pattern", "pattern_projection")
}
SIZES = {
    "stored_pattern_size": 6,
    "pattern_projection_size": 7,
    "hidden_size": 4,
    "pattern_size": 3,
    "output_size": 5,
}
# Widths of states, stored patterns and values are 8 unless a case says otherwise.
LAYERS: dict[str, dict[str, Any]] = {
    "self": {"num_heads": 2},
    "sizes": {"num_heads": 2, **SIZES},
    "updates": {"num_heads": 2, "update_steps_max": 3, "scaling": 1.5},
    "converged": {"num_heads": 2, "update_steps_max": None, "scaling": 1.5},
    "space norm": {
        "num_heads": 2,
        "hidden_size": 5,
        "update_steps_max": 2,
        "normalize_hopfield_space": True,
        "normalize_hopfield_space_affine": True,
    },
    "space norm without scale": {"hidden_size": 5, "normalize_hopfield_space": True},
    "no norms": {"num_heads": 2, **NO_NORMS},
    "norms without scale": {
        name: False for name in NO_NORMS if name.endswith("_affine")
    },
    "connected": {"num_heads": 2, "pattern_projection_as_connected": True},
    "connected updates": {
        "num_heads": 4,
        "pattern_projection_as_connected": True,
        "update_steps_max": 2,
    },
    "static state": {"hidden_size": 8, "state_pattern_as_static": True},
    "static stored": {"hidden_size": 8, "stored_pattern_as_static": True},
    "static values": {"hidden_size": 8, "pattern_projection_as_static": True},
    "static connected": {
        "hidden_size": 8,
        "pattern_projection_as_static": True,
        "pattern_projection_as_connected": True,
    },
    "all static": {"disable_out_projection": True, **STATIC, **NO_NORMS},
    "zero pattern": {"num_heads": 2, "add_zero_association": True},
    "no biases": {"num_heads": 2, "input_bias": False, "scaling": 2.5},
    "no output": {"num_heads": 2, "pattern_size": 3, "disable_out_projection": True},
    "activation": {"association_activation": "tanh"},
    "padded": {"num_heads": 2},
    "masked": {"num_heads": 2, "add_zero_association": True, "update_steps_max": 1},
    "mask by head": {"num_heads": 2},
    "added mask": {"num_heads": 2},
}
POOLINGS: dict[str, dict[str, Any]] = {
    "pooling": {"num_heads": 2, "quantity": 3},
    "padded pooling": {"num_heads": 2, "quantity": 2, "update_steps_max": 1},
    "static pooling": {"hidden_size": 6, "state_pattern_as_static": True, **NO_NORMS},
}
LOOKUPS: dict[str, dict[str, Any]] = {
    "lookup": {"num_heads": 2, "quantity": 6},
    "separate lookup": {
        "num_heads": 2,
        "quantity": 6,
        "lookup_weights_as_separated": True,
        "pattern_projection_size": 3,
    },
    "static lookup": {
        "quantity": 6,
        "hidden_size": 8,
        "stored_pattern_as_static": True,
    },
}


def main() -> None:
    """Record all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="a folder that hflayers is imported from")
    parser.add_argument("out", help="an .npz file")
    options = parser.parse_args()
    if options.source:
        sys.path.insert(0, options.source)
    import torch

    torch.set_default_dtype(torch.float64)
    recorded: dict[str, np.ndarray] = {}
    for name in (*LAYERS, *POOLINGS, *LOOKUPS, "encoder", "decoder"):
        torch.manual_seed(sum(map(ord, name)))
        for part, array in _case(name).items():
            recorded[f"{name}/{part}"] = array
    np.savez_compressed(options.out, allow_pickle=False, **recorded)


def _case(name: str) -> dict[str, np.ndarray]:
    import torch

    module, inputs, call, weights = _built(name)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    watched = inputs["stored" if "pooling" in name else "x"]
    watched.requires_grad_()
    output = call()
    (gradient,) = torch.autograd.grad(output.sin().sum(), watched)
    recorded = {f"inputs/{k}": v for k, v in inputs.items()}
    recorded |= {f"params/{k}": v for k, v in module.named_parameters()}
    recorded |= {"output": output, "gradient": gradient}
    if weights is not None:
        recorded["weights"] = weights()
    return {k: v.detach().numpy() for k, v in recorded.items()}


def _built(name: str) -> tuple[Any, dict[str, Any], Any, Any]:
    """A module, its inputs, a call of it and one of its association weights."""
    import torch
    from hflayers import Hopfield, HopfieldLayer, HopfieldPooling
    from hflayers.transformer import HopfieldDecoderLayer, HopfieldEncoderLayer

    if name in LAYERS:
        settings = {"input_size": 8, **LAYERS[name]}
        if name == "all static":
            settings["input_size"] = None
        inputs = _inputs(settings, own=name == "self")
        if settings.get("update_steps_max", 0) != 0:
            settings["update_steps_eps"] = 1e-12
        module = Hopfield(**settings)
        given = tuple(inputs[k] for k in ("stored", "x", "values") if k in inputs)
        data = given if len(given) == 3 else inputs["x"]
        masks = _masks(name, inputs, settings.get("num_heads", 1))
        return (
            module,
            inputs,
            lambda: module(data, **masks),
            lambda: module.get_association_matrix(data, **masks),
        )
    if name in POOLINGS:
        module = HopfieldPooling(input_size=8, **POOLINGS[name])
        size = 6 if name == "static pooling" else 8
        stored = torch.randn(BATCH, PATTERNS, 8)
        inputs = {"stored": stored}
        masks = _masks(name, inputs, 2)
        assert size == module.pooling_weights.shape[2]
        return (
            module,
            inputs,
            lambda: module(stored, **masks),
            lambda: module.get_association_matrix(stored, **masks),
        )
    if name in LOOKUPS:
        module = HopfieldLayer(input_size=8, **LOOKUPS[name])
        x = torch.randn(BATCH, STATES, 8)
        return (
            module,
            {"x": x},
            lambda: module(x),
            lambda: module.get_association_matrix(x),
        )
    x, memory = torch.randn(BATCH, STATES, 8), torch.randn(BATCH, PATTERNS, 8)
    inside = Hopfield(input_size=8, num_heads=2)
    if name == "encoder":
        block = HopfieldEncoderLayer(inside, dim_feedforward=12).eval()
        return block, {"x": x}, lambda: block(x), None
    cross = Hopfield(input_size=8, num_heads=2, update_steps_max=0)
    block = HopfieldDecoderLayer(inside, cross, dim_feedforward=12).eval()
    inputs = {"x": x, "memory": memory}
    return block, inputs, lambda: block(x, memory), None


def _inputs(settings: dict[str, Any], *, own: bool) -> dict[str, Any]:
    import torch

    state = settings["input_size"] or 8
    x = torch.randn(BATCH, STATES, state)
    if own:
        return {"x": x}
    stored = settings.get("stored_pattern_size", state)
    values = settings.get("pattern_projection_size", state)
    return {
        "stored": torch.randn(BATCH, PATTERNS, stored),
        "x": x,
        "values": torch.randn(BATCH, PATTERNS, values),
    }


def _masks(name: str, inputs: dict[str, Any], heads: int) -> dict[str, Any]:
    """True is what the authors' layers leave out."""
    import torch

    masks: dict[str, Any] = {}
    if name in ("padded", "masked", "padded pooling"):
        hidden = torch.zeros(BATCH, PATTERNS, dtype=torch.bool)
        hidden[0, 3:] = True
        hidden[2, 0] = True
        inputs["padding"] = masks["stored_pattern_padding_mask"] = hidden
    if name == "masked":
        mask = torch.rand(STATES, PATTERNS) < 0.4
        mask[:, 1] = False
        inputs["mask"] = masks["association_mask"] = mask
    if name == "mask by head":
        mask = torch.rand(BATCH * heads, STATES, PATTERNS) < 0.4
        mask[..., 1] = False
        inputs["mask"] = masks["association_mask"] = mask
    if name == "added mask":
        mask = torch.randn(STATES, PATTERNS)
        inputs["mask"] = masks["association_mask"] = mask
    return masks


if __name__ == "__main__":
    main()
