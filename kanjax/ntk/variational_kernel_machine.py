"""Deep kernel machines as models: minibatches, regression and classification.

Yang, Robeyns, Milsom, Anson, Schoots, Aitchison 2023, arXiv 2108.13097; the bound of
the last layer is that of Hensman, Fusi, Lawrence 2013, "Gaussian processes for big
data", arXiv 1309.6835. The Gram matrices are those of
:mod:`kanjax.ntk.deep_kernel_machine`; the posterior of the function at the inducing
inputs is learned with them, so that the objective is a sum over examples, and a step
needs a batch of them only.
"""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, model
from kanjax.ntk import deep_kernel_machine as machines

Likelihood = Literal["gaussian", "categorical"]

# Draws of the function for the mean log-likelihood of classes.
_DRAWS = 8


class Parameters(NamedTuple):
    """What a machine learns.

    Attributes:
        machine: kernels, inducing inputs and Gram matrices.
        mean: (m, outputs), of the whitened function at the inducing inputs.
        factor: (m, m), of its covariance, as the factors of the machine.
    """

    machine: machines.Parameters
    mean: Float[Array, "m outputs"]
    factor: Float[Array, "m m"]


@model.dataclass
class DeepKernelMachine:
    """A deep kernel machine with inducing inputs and a learned posterior.

    Train it by ``training.fit`` with its :meth:`loss`; a step costs ``O(b m^2)`` for a
    batch of b examples, and ``O(m^3)``. Members of an ensemble differ by the examples
    that they take for inducing inputs.

    Args:
        inputs: (n, d), of the examples to be learned from, n of them.
        outputs: of the function, or classes.
        nu: width of each layer relative to the outputs, the more the closer to the
            Gaussian process of an infinitely wide network; () is a sparse one.
        inducing: m, random rows of the inputs to start with; all if there are fewer.
        likelihood: "gaussian", for y (n, outputs) best of mean 0 and variance 1, or
            "categorical", for classes y (n,).
        activation: what :func:`kanjax.gaussian.dual` takes; its dual is the kernel.
        jitter: a share of the mean of the diagonal of each kernel matrix, added to it.
            In double precision 1e-6 serves.

    Raises:
        ValueError: for an unknown likelihood, or numbers out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import training
        >>> x = jax.random.uniform(jax.random.key(0), (300, 2), minval=-1)
        >>> y = jnp.sin(3 * x[:, :1]) * x[:, 1:]
        >>> machine = DeepKernelMachine(x, outputs=1, inducing=20)
        >>> fit = training.fit(
        ...     machine.loss, machine.init(jax.random.key(1)), (x, y), optimizer="adam",
        ...     learning_rate=0.02, steps=200, batch_size=50, key=jax.random.key(2))
        >>> predicted = machine.predict(fit.params, x)
        >>> bool(jnp.mean((predicted.mean - y) ** 2) < 0.1 * jnp.var(y))
        True
    """

    inputs: Array = model.child()
    outputs: int
    nu: tuple[float, ...] = (10.0,)
    inducing: int = 100
    likelihood: Likelihood = "gaussian"
    activation: Any = machines.SQUARED_EXPONENTIAL
    jitter: float = 1e-4

    def __post_init__(self) -> None:
        checks.check_count("outputs", self.outputs, 1)
        checks.check_count("inducing", self.inducing, 1)
        if self.likelihood not in ("gaussian", "categorical"):
            raise ValueError(
                "likelihood must be 'gaussian' or 'categorical'; got "
                f"{self.likelihood!r}."
            )
        if not all(width >= 0 for width in self.nu):
            raise ValueError(f"nu must be at least 0 for each layer; got {self.nu!r}.")

    def init(self, key: Array) -> Parameters:
        """Start at the prior of a wide network, with random inducing inputs."""
        inputs = jnp.asarray(self.inputs)
        m = min(self.inducing, len(inputs))
        chosen = jax.random.choice(key, len(inputs), (m,), replace=False)
        machine = machines.init(inputs[chosen], len(self.nu))
        kind = machine.inputs.dtype
        return Parameters(
            machine, jnp.zeros((m, self.outputs), kind), jnp.zeros((m, m), kind)
        )

    def predict(
        self, params: Parameters, x: Float[Array, "n d"]
    ) -> machines.Prediction:
        """Return the posterior of the function at points.

        Args:
            params: of the machine.
            x: (n, d), points.
        """
        layers = machines.propagate(
            params.machine, x, activation=self.activation, jitter=self.jitter
        )
        kernel, along = layers.kernels[-1], layers.along
        spread = machines.triangular(params.factor).T @ along
        left = jnp.maximum(kernel.diagonal - jnp.sum(along**2, axis=0), 0)
        variance = left + jnp.sum(spread**2, axis=0)
        noise = jnp.exp(2 * params.machine.log_noise)
        return machines.Prediction(
            along.T @ params.mean, variance, noise, layers.jitter, layers.residual
        )

    def apply(
        self,
        params: Parameters,
        x: Float[Array, "*batch d"],
        *,
        key: Array | None = None,
    ) -> Float[Array, "*batch outputs"]:
        """Return the mean of the function, or unnormalised log probabilities.

        Those are MacKay's (1992): the mean over ``sqrt(1 + pi variance / 8)``, closer
        to each other the less is known of the function.
        """
        points = jnp.reshape(x, (-1, x.shape[-1]))
        mean, variance, *_ = self.predict(params, points)
        if self.likelihood == "categorical":
            mean = mean / jnp.sqrt(1 + math.pi / 8 * variance)[:, None]
        return jnp.reshape(mean, (*x.shape[:-1], self.outputs))

    def loss(
        self, params: Parameters, batch: Any, key: Array | None = None
    ) -> Float[Array, ""]:
        """Return minus the objective for each example, estimated by a batch.

        ``-E log p(y | f)``, the mean over the batch, plus the divergences of the
        posterior and of the Gram matrices over n. That of classes is a mean of draws.

        Args:
            params: of the machine.
            batch: ``(x, y)``.
            key: drives the draws; always the same if None.

        Raises:
            TypeError: if classes are not integers.
            ValueError: for y that does not fit, or a label that is no class where it is
                known; the loss is NaN where it is traced.
        """
        x, y = jnp.asarray(batch[0]), jnp.asarray(batch[1])
        wanted = (len(x), self.outputs) if self.likelihood == "gaussian" else (len(x),)
        if y.shape != wanted:
            raise ValueError(f"y must have shape {wanted}; got {y.shape}.")
        mean, variance, noise, *_ = self.predict(params, x)
        if self.likelihood == "gaussian":
            square = (y - mean) ** 2 + variance[:, None]
            each = -jnp.sum(square / noise + jnp.log(2 * math.pi * noise), axis=1) / 2
        else:
            shape = (_DRAWS, *mean.shape)
            draws = jax.random.normal(
                jax.random.key(0) if key is None else key, shape, mean.dtype
            )
            # The root of 0 has no derivative.
            spread = jnp.sqrt(jnp.maximum(variance, 1e-12))[:, None]
            log_p = jax.nn.log_softmax(mean[None] + spread[None] * draws)
            checks.check_labels(y, self.outputs)
            each = jnp.mean(log_p[:, jnp.arange(len(y)), y], axis=0)
            # Indexing would take any other label for the first or last class.
            each = jnp.where((y >= 0) & (y < self.outputs), each, jnp.nan)
        return (self.divergence(params) / len(self.inputs)) - jnp.mean(each)

    def divergence(self, params: Parameters) -> Float[Array, ""]:
        """Return that of the posterior from the prior, and nu times each layer's."""
        square = jnp.sum(params.mean**2)
        posterior = self.outputs * machines.kl_gram(params.factor) + square / 2
        nu = jnp.asarray(self.nu, square.dtype)
        return posterior + jnp.sum(nu * machines.kl_gram(params.machine.factors))
