"""Debiased CKA of two networks' layers in batches by cka-pytorch."""

from benchmarks.peers import server, torch_features

PACKAGES = ("cka-pytorch", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """All pairs of layers of features of shape (examples, batch, layers, width)."""
    import torch
    from cka_pytorch.cka import CKACalculator

    one, other, names, batches = torch_features.problem(shape)
    device, labels = torch.device("cpu"), None
    stream = [(batch, labels) for batch in batches]

    def run() -> None:
        calculator = CKACalculator(
            one, other, names, names, device=device, verbose=False
        )
        calculator.calculate_cka_matrix(stream, num_epochs=1)

    return {"stream": run}


if __name__ == "__main__":
    server.main(make, PACKAGES, toy=(8, 4, 2, 3))
