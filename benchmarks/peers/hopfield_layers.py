"""The authors' ``Hopfield`` layer, one head, states beside stored patterns."""

import argparse
import json
import sys

from benchmarks import timing
from benchmarks.peers import server

PACKAGES = ("hflayers", "torch")
TOY = (2, 2, 2, 2)


def make(shape: tuple[int, ...]) -> server.Runs:
    """The runs of a layer of shape (batch, states, patterns, features)."""
    import torch
    from hflayers import Hopfield

    torch.manual_seed(0)
    batch, states, patterns, features = shape
    module = Hopfield(input_size=features)
    x = torch.randn(batch, states, features)
    stored = torch.randn(batch, patterns, features)
    watched = [a.clone().requires_grad_() for a in (x, stored)]
    trained = [p for p in module.parameters() if p.requires_grad]

    def forward() -> None:
        with torch.no_grad():
            module((stored, x, stored))

    def forward_backward() -> None:
        y = module((watched[1], watched[0], watched[1]))
        # Its parameters are not all used: a joint projection has unused parts.
        torch.autograd.grad(y.square().sum(), [*trained, *watched], allow_unused=True)

    return {"forward": forward, "forward_backward": forward_backward}


def main() -> None:
    """Serve, or with ``--peak`` print what one forward and backward pass takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source")
    parser.add_argument("--peak", type=int, nargs=4)
    options = parser.parse_args()
    if options.peak is None:
        server.main(make, PACKAGES, TOY)
        return
    if options.source:
        sys.path.insert(0, options.source)
    make(TOY)["forward_backward"]()
    run = make(tuple(options.peak))["forward_backward"]
    print(json.dumps({"peak_mb": timing.peak_growth_mb(run)}))


if __name__ == "__main__":
    main()
