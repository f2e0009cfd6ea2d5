"""PyHessian's power iteration for the five largest eigenvalues, with its defaults."""

from benchmarks.peers import server, torch_mlp

PACKAGES = ("pyhessian", "torch")


def make(shape: tuple[int, ...]) -> server.Runs:
    """Eigenvalues of the network of shape (samples, in, hidden..., out)."""
    from pyhessian import hessian

    model, criterion, x, y = torch_mlp.problem(shape)

    def top5() -> None:
        hessian(model, criterion, data=(x, y), cuda=False).eigenvalues(top_n=5)

    return {"top5": top5}


if __name__ == "__main__":
    server.main(make, PACKAGES)
