"""Record what pykan computes, for the tests of ours.

Run it in an environment with pykan, from the root of the repository:

    python -m benchmarks.peers.pykan_values OUT.npz

Each case has its parameters, layer by layer as ``case/0/coef`` and so on, the inputs
``case/x`` and what pykan makes of them, in float64: outputs, the values of all edges,
attribution scores and the penalty; for "grid" also the knots and outputs after an
update of the grid, and for "refined" the outputs after a refinement.
"""

import argparse
import contextlib
import io
import tempfile
from typing import Any

import numpy as np

# A multiple of the intervals and one more: then pykan's choice of samples as knots is
# that of quantiles.
ROWS, INTERVALS = 31, 5
WIDTHS: dict[str, list[Any]] = {
    "plain": [3, 4, 2],
    "products": [2, [3, 2], 1],
    "formulas": [2, 3, 1],
    "grid": [3, 2],
    "refined": [3, 4],
}
FORMULAS = (
    (0, 0, 0, "sin", (2.0, 0.5, 1.5, -0.2)),
    (0, 1, 2, "x^2", (0.7, 0.1, -1.0, 0.3)),
    (1, 2, 0, "tanh", (1.2, 0.0, 0.8, 0.1)),
)
WEIGHTS = (1.0, 2.0, 0.3, 0.2)


def main() -> None:
    """Record all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="an .npz file")
    options = parser.parse_args()
    import torch

    torch.set_default_dtype(torch.float64)
    recorded: dict[str, np.ndarray] = {}
    for name in WIDTHS:
        with contextlib.redirect_stdout(io.StringIO()):
            case = _case(name)
        for part, value in case.items():
            recorded[f"{name}/{part}"] = np.asarray(value)
    np.savez_compressed(options.out, allow_pickle=False, **recorded)


def _case(name: str) -> dict[str, Any]:
    import torch
    from kan import KAN

    net = KAN(
        width=WIDTHS[name],
        grid=INTERVALS,
        k=3,
        seed=0,
        auto_save=False,
        ckpt_path=tempfile.mkdtemp(),
    )
    generator = torch.Generator().manual_seed(sum(map(ord, name)))

    def draw(like: Any) -> Any:
        return torch.randn(like.shape, generator=generator)

    for one in net.act_fun:
        one.coef.data = 0.3 * draw(one.coef)
        one.scale_base.data = draw(one.scale_base)
        # The penalty of the coefficients sees them before this scale.
        one.scale_sp.data = torch.ones_like(one.scale_sp)
    if name == "plain":
        net.act_fun[0].mask.data[1, 2] = 0.0
    if name == "products":
        for group in (net.subnode_scale, net.subnode_bias, net.node_scale):
            for value in group:
                value.data = 1 + 0.3 * draw(value)
        for value in net.node_bias:
            value.data = 0.3 * draw(value)
    if name == "formulas":
        for index, source, target, function, affine in FORMULAS:
            net.fix_symbolic(
                index, source, target, function, fit_params_bool=False, verbose=False
            )
            net.symbolic_fun[index].affine.data[target, source] = torch.tensor(affine)
    x = 1.9 * torch.rand((ROWS, net.width_in[0]), generator=generator) - 0.95
    recorded = _parameters(net) | {"x": x} | _measured(net, x)
    if name == "refined":
        recorded["refined"] = net.refine(2 * INTERVALS)(x)
    if name == "grid":
        recorded |= _after_update(net, x)
    return {
        part: value.detach().numpy() if hasattr(value, "detach") else value
        for part, value in recorded.items()
    }


def _parameters(net: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, one in enumerate(net.act_fun):
        for part in ("coef", "scale_base", "mask", "grid"):
            found[f"{i}/{part}"] = getattr(one, part).clone()
        for part in ("subnode_scale", "subnode_bias", "node_scale", "node_bias"):
            found[f"{i}/{part}"] = getattr(net, part)[i].clone()
    return found


def _measured(net: Any, x: Any) -> dict[str, Any]:
    output = net(x)
    net.attribute()
    found = {
        "output": output,
        "penalty": net.get_reg("edge_forward_spline_n", *WEIGHTS),
    }
    for i in range(net.depth):
        found[f"{i}/edges"] = net.spline_postacts[i]
        found[f"{i}/edge_scores"] = net.edge_scores[i]
    for i, scores in enumerate(net.node_scores):
        found[f"node_scores/{i}"] = scores
    return found


def _after_update(net: Any, x: Any) -> dict[str, Any]:
    """After an update of the grid under cubics, which no grid changes."""
    import torch
    from kan.spline import curve2coef

    (one,) = net.act_fun
    points = torch.linspace(-1, 0.999, 40)[:, None].expand(-1, net.width_in[0])
    cubics = torch.stack([points**3 - points, 0.5 * points**2 + points**3], dim=2)
    one.coef.data = curve2coef(points, cubics, one.grid, one.k)
    before = one.coef.data.clone()
    net.update_grid_from_samples(x)
    return {"cubic_coef": before, "updated_grid": one.grid, "updated": net(x)}


if __name__ == "__main__":
    main()
