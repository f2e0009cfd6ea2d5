"""GPyTorch's deep Gaussian process, by the doubly stochastic bound of its tutorial.

Layers of independent processes with inducing inputs of their own, squared exponentials
with a length for each input, linear means in hidden layers, Adam.
"""

import time
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.peers import server

PACKAGES = ("gpytorch", "torch")
BATCH, RATE = 256, 0.02


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Five variables and a target of two of them: rows, and 1,000 to test on."""
    draw = np.random.default_rng(0)
    x = draw.uniform(-2, 2, (rows + 1000, 5)).astype(np.float32)
    y = np.sin(1.5 * x[:, 0]) * x[:, 1] + 0.1 * draw.normal(size=len(x))
    return x, ((y - y.mean()) / y.std()).astype(np.float32)


class _Process:
    """The process, its data and its optimizer."""

    def __init__(self, rows: int, inducing: int, samples: int, layers: int) -> None:
        import gpytorch
        import torch
        from gpytorch.models.deep_gps import DeepGP, DeepGPLayer
        from gpytorch.variational import (
            CholeskyVariationalDistribution,
            VariationalStrategy,
        )

        torch.manual_seed(0)
        x, y = (torch.as_tensor(v) for v in data(rows))
        self.x, self.y, self.test, self.truth = x[:rows], y[:rows], x[rows:], y[rows:]
        features = x.shape[1]

        class Layer(DeepGPLayer):
            def __init__(self, outputs: int | None, mean: Any) -> None:
                shape = torch.Size([]) if outputs is None else torch.Size([outputs])
                chosen = torch.randperm(rows)[:inducing]
                points = x[chosen].expand(*shape, inducing, features).clone()
                strategy = VariationalStrategy(
                    self,
                    points,
                    CholeskyVariationalDistribution(inducing, batch_shape=shape),
                    learn_inducing_locations=True,
                )
                super().__init__(strategy, features, outputs)
                self.mean_module = mean
                self.covar_module = gpytorch.kernels.ScaleKernel(
                    gpytorch.kernels.RBFKernel(
                        batch_shape=shape, ard_num_dims=features
                    ),
                    batch_shape=shape,
                )

            def forward(self, x: Any) -> Any:
                return gpytorch.distributions.MultivariateNormal(
                    self.mean_module(x), self.covar_module(x)
                )

        class Deep(DeepGP):
            def __init__(self) -> None:
                super().__init__()
                self.hidden = torch.nn.ModuleList(
                    Layer(features, gpytorch.means.LinearMean(features))
                    for _ in range(layers)
                )
                self.last = Layer(None, gpytorch.means.ConstantMean())
                self.likelihood = gpytorch.likelihoods.GaussianLikelihood()

            def forward(self, x: Any) -> Any:
                for layer in self.hidden:
                    x = layer(x)
                return self.last(x)

        self.model = Deep()
        self.objective = gpytorch.mlls.DeepApproximateMLL(
            gpytorch.mlls.VariationalELBO(
                self.model.likelihood, self.model, num_data=rows
            )
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=RATE)
        self.samples = gpytorch.settings.num_likelihood_samples(samples)

    def step(self) -> None:
        """Take a step with a random batch."""
        import torch

        chosen = torch.randint(len(self.x), (BATCH,))
        with self.samples:
            self.optimizer.zero_grad()
            loss = -self.objective(self.model(self.x[chosen]), self.y[chosen])
            loss.backward()
            self.optimizer.step()

    def error(self) -> float:
        """Return the root mean squared error of the mean on what was held out."""
        import gpytorch
        import torch

        self.model.eval()
        with torch.no_grad(), gpytorch.settings.num_likelihood_samples(10):
            mean = self.model(self.test).mean.mean(0)
        return float(((mean - self.truth) ** 2).mean() ** 0.5)


_known: dict[tuple[int, ...], _Process] = {}


def answers(
    shape: list[int],
    threads: int,
    seconds: float | None = None,
    steps: int | None = None,
) -> dict[str, Any]:
    """Time steps of a process (rows, inducing, samples, layers), or train a new one."""
    import torch

    torch.set_num_threads(threads)
    if steps is None:
        process = _known.get(tuple(shape)) or _Process(*shape)
        _known[tuple(shape)] = process
        return {"durations": timing.block(process.step, seconds or 0.0)}
    process = _Process(*shape)
    began = time.perf_counter()
    for _ in range(steps):
        process.step()
    trained = round(time.perf_counter() - began, 2)
    return {"training_s": trained, "rmse": round(process.error(), 4)}


if __name__ == "__main__":
    server.answer(answers, PACKAGES)
