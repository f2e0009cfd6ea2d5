"""loss-landscapes' ``random_plane`` with filter normalisation."""

from benchmarks.peers import server, torch_mlp

PACKAGES = ("loss-landscapes", "torch")
STEPS = 51


def make(shape: tuple[int, ...]) -> server.Runs:
    """A plane of the network of shape (samples, in, hidden..., out)."""
    import loss_landscapes
    import loss_landscapes.metrics
    import torch

    model, criterion, x, y = torch_mlp.problem(shape)
    metric = loss_landscapes.metrics.Loss(criterion, x, y)

    def plane() -> None:
        with torch.no_grad():
            loss_landscapes.random_plane(model, metric, steps=STEPS)

    return {"plane": plane}


if __name__ == "__main__":
    server.main(make, PACKAGES)
