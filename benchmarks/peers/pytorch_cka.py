"""Debiased CKA of two networks' layers in batches by pytorch-cka."""

from benchmarks.peers import server, torch_features

PACKAGES = ("pytorch-cka", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """All pairs of layers of features of shape (examples, batch, layers, width)."""
    from cka import compute_cka

    one, other, names, batches = torch_features.problem(shape)

    def stream() -> None:
        # A list would be one of streams.
        compute_cka(one, other, [batches], layers=names, device="cpu", progress=False)

    return {"stream": stream}


if __name__ == "__main__":
    server.main(make, PACKAGES, toy=(8, 4, 2, 3))
