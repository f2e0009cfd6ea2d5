"""Deep kernel machines: Gaussian processes in layers whose Gram matrices are learned.

Yang, Robeyns, Milsom, Anson, Schoots, Aitchison 2023, "A theory of representation
learning gives a deep generalisation of kernel methods", arXiv 2108.13097. In a deep
Gaussian process whose layers and copies of the outputs grow together, the Gram matrices
``G_l`` of the features maximise

``log P(Y | G_L) - sum_l nu_l KL(N(0, G_l) || N(0, K(G_{l-1})))``.

As nu grows, ``G_l = K(G_{l-1})``, the fixed kernel of an infinitely wide network. The
kernel of a Gram matrix is a dual of :mod:`kanjax.gaussian`. Gram matrices are learned
at m inducing inputs and ``G = L V V^T L^T`` there, ``K = L L^T``, V lower triangular.
With all examples as inducing inputs the machine is dense; with fewer, a step costs
``O(n m^2)``. The machine needs float64, or a jitter of 1e-4 and more.
Minibatches and classes: :mod:`kanjax.ntk.variational_kernel_machine`; samples of finite
width: :mod:`kanjax.ntk.deep_gaussian_process`; the linear kernel in closed form:
:mod:`kanjax.ntk.linear_kernel_machine`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import gaussian, linalg, training

SQUARED_EXPONENTIAL = gaussian.rbf(0.5)
"""The activation whose dual is ``exp(-|x - x'|^2 / 2)``."""


class Parameters(NamedTuple):
    """What a machine of some layers learns.

    Attributes:
        inputs: (m, d), the inducing inputs.
        factors: (layers, m, m), V below the diagonal and its logarithm on the diagonal;
            what is above is not used.
        log_scales: (layers + 1,), of the kernels.
        log_length: the length scale by which every kernel divides features.
        log_noise: of the standard deviation of the noise.
    """

    inputs: Float[Array, "m d"]
    factors: Float[Array, "layers m m"]
    log_scales: Float[Array, " kernels"]
    log_length: Float[Array, ""]
    log_noise: Float[Array, ""]


class Blocks(NamedTuple):
    """A Gram or kernel matrix of inducing inputs and points, as far as it is needed.

    Attributes:
        inducing: (m, m), among inducing inputs.
        cross: (m, n), of them and points.
        diagonal: (n,), of points.
    """

    inducing: Float[Array, "m m"]
    cross: Float[Array, "m n"]
    diagonal: Float[Array, " n"]


class Layers(NamedTuple):
    """The matrices of a machine.

    Attributes:
        grams: ``G_0`` to ``G_L``.
        kernels: ``K(G_0)`` to ``K(G_L)``.
        roots: of the kernels among inducing inputs, NaN where they are not positive
            definite.
        jitter: (layers + 1,), what was added to the diagonals of those.
    """

    grams: tuple[Blocks, ...]
    kernels: tuple[Blocks, ...]
    roots: tuple[linalg.Roots, ...]
    jitter: Float[Array, " kernels"]

    @property
    def along(self) -> Float[Array, "m n"]:
        """``L^-1 K_it`` of the last kernel, ``K_ii = L L^T``."""
        return self.roots[-1].inverse @ self.kernels[-1].cross

    @property
    def residual(self) -> Float[Array, " kernels"]:
        """How far ``L^-1 K_ii L^-T`` of each kernel is from the identity."""
        pairs = zip(self.kernels, self.roots, strict=True)
        return jnp.stack([linalg.root_residual(k.inducing, r) for k, r in pairs])


class Prediction(NamedTuple):
    """The posterior of the function at points.

    Attributes:
        mean: (n, outputs).
        variance: (n,), without that of the noise.
        noise: the variance of the noise.
        jitter: (layers + 1,), as in :class:`Layers`.
        residual: (layers + 1,), as in :class:`Layers`: well below 1 where the solves
            behind the prediction are to be trusted, NaN where they failed.
    """

    mean: Float[Array, "n outputs"]
    variance: Float[Array, " n"]
    noise: Float[Array, ""]
    jitter: Float[Array, " kernels"]
    residual: Float[Array, " kernels"]


def init(inputs: Float[Array, "m d"], layers: int, *, noise: float = 0.3) -> Parameters:
    """Start where each Gram matrix is the kernel's: an infinitely wide network.

    Args:
        inputs: (m, d), e.g. random rows of the data, or all of them.
        layers: how many Gram matrices are learned, 0 for a sparse Gaussian process.
        noise: the standard deviation of the noise.

    Raises:
        ValueError: if inputs are no matrix or layers is negative.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = init(jnp.eye(3), 2)
        >>> params.factors.shape, float(kl_gram(params.factors[0]))
        ((2, 3, 3), 0.0)
    """
    inputs = jnp.asarray(inputs, jnp.result_type(inputs, 1.0))
    if inputs.ndim != 2:
        raise ValueError(
            f"inputs has shape {inputs.shape}; it must be (m, d). Use inputs[:, None] "
            "for one variable."
        )
    if layers < 0:
        raise ValueError(f"layers is {layers}; it must be at least 0.")
    m, kind = len(inputs), inputs.dtype
    return Parameters(
        inputs,
        jnp.zeros((layers, m, m), kind),
        jnp.zeros(layers + 1, kind),
        jnp.zeros((), kind),
        jnp.asarray(math.log(noise), kind),
    )


def triangular(raw: Float[Array, "... m m"]) -> Float[Array, "... m m"]:
    """Return V, lower triangular with a positive diagonal; the identity for 0.

    Args:
        raw: (..., m, m), as in the factors of :class:`Parameters`.
    """
    diagonal = jnp.exp(jnp.diagonal(raw, axis1=-2, axis2=-1))
    identity = jnp.eye(raw.shape[-1], dtype=raw.dtype)
    return jnp.tril(raw, -1) + diagonal[..., None] * identity


def kl_gram(raw: Float[Array, "... m m"]) -> Float[Array, "..."]:
    """Return ``KL(N(0, L V V^T L^T) || N(0, L L^T))``, which does not depend on L.

    It is ``(|V|^2 - m) / 2 - sum log V_ii``.

    Args:
        raw: (..., m, m), of :func:`triangular`.
    """
    logs = jnp.diagonal(raw, axis1=-2, axis2=-1)
    # exp(2 log V_ii) - 1 as expm1: the divergence is tiny where nu is large.
    below = jnp.sum(jnp.tril(raw, -1) ** 2, axis=(-2, -1))
    return (below + jnp.sum(jnp.expm1(2 * logs), axis=-1)) / 2 - jnp.sum(logs, axis=-1)


def propagate(
    params: Parameters,
    x: Float[Array, "n d"],
    *,
    activation: Any = SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> Layers:
    """Compute the Gram and kernel matrices of all layers.

    Features of points follow those of the inducing inputs as in the prior:
    ``G_ti = K_ti K_ii^-1 G_ii``, and the diagonal of
    ``G_tt = K_tt - K_ti K_ii^-1 K_it + K_ti K_ii^-1 G_ii K_ii^-1 K_it``.

    Args:
        params: of the machine.
        x: (n, d), points; n may be 0.
        activation: what :func:`kanjax.gaussian.dual` takes; its dual is the kernel.
        jitter: a share of the mean of the diagonal of each ``K_ii``, added to it; the
            result says how much. NaN tells that it was too small.
    """
    kernel = gaussian.dual(activation)
    z, d = params.inputs, params.inputs.shape[1]
    gram = Blocks(z @ z.T / d, z @ x.T / d, jnp.sum(x**2, axis=1) / d)
    square = jnp.exp(-2 * params.log_length)
    grams, kernels, roots, added = [gram], [], [], []
    for layer, log_scale in enumerate(params.log_scales):
        scale, scaled = jnp.exp(log_scale), jax.tree.map(lambda g: square * g, gram)
        q = jnp.diag(scaled.inducing)
        among = kernel(q[:, None], scaled.inducing, q[None, :]).value
        cross = kernel(q[:, None], scaled.cross, scaled.diagonal[None, :]).value
        diagonal = kernel(scaled.diagonal, scaled.diagonal, scaled.diagonal).value
        among = scale * among
        added.append(jitter * jnp.mean(jnp.diag(among)))
        among = linalg.regularize(among, jitter)
        kernels.append(Blocks(among, scale * cross, scale * diagonal))
        roots.append(linalg.triangular_roots(among))
        if layer == len(params.factors):
            break
        along = roots[-1].inverse @ kernels[-1].cross
        v = triangular(params.factors[layer])
        root, turned = roots[-1].root @ v, v.T @ along
        # Round-off must not make what the inducing inputs leave open negative.
        left = jnp.maximum(kernels[-1].diagonal - jnp.sum(along**2, axis=0), 0)
        gram = Blocks(root @ root.T, root @ turned, left + jnp.sum(turned**2, axis=0))
        grams.append(gram)
    return Layers(tuple(grams), tuple(kernels), tuple(roots), jnp.stack(added))


def dense_objective(
    params: Parameters,
    y: Float[Array, "m outputs"],
    *,
    nu: ArrayLike,
    activation: Any = SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> Float[Array, ""]:
    """Return the objective of a machine whose inducing inputs are all examples.

    ``log P(Y | G_L) - sum_l nu_l KL_l`` with ``y_c ~ N(0, K(G_L) + noise^2 I)`` (arXiv
    2108.13097, the objective of the deep kernel machine).

    Args:
        params: of the machine; its inputs are the examples.
        y: (m, outputs).
        nu: widths relative to the outputs', one or one for each layer.
        activation: as for :func:`propagate`.
        jitter: as for :func:`propagate`.
    """
    none = params.inputs[:0]
    layers = propagate(params, none, activation=activation, jitter=jitter)
    identity = jnp.eye(len(y), dtype=params.inputs.dtype)
    k = layers.kernels[-1].inducing + jnp.exp(2 * params.log_noise) * identity
    roots = linalg.triangular_roots(k)
    fit = jnp.sum((roots.inverse @ y) ** 2)
    volume = jnp.sum(jnp.log(2 * math.pi * jnp.diag(roots.root) ** 2))
    return -(fit + y.shape[1] * volume) / 2 - _divergence(params, nu)


def objective(
    params: Parameters,
    x: Float[Array, "n d"],
    y: Float[Array, "n outputs"],
    *,
    nu: ArrayLike,
    activation: Any = SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> Float[Array, ""]:
    """Return the objective of a machine with inducing inputs.

    The likelihood is Titsias' collapsed bound (2009): ``sum_c log N(y_c; 0, Q +
    noise^2 I) - tr(K_tt - Q) / (2 noise^2)``, ``Q = K_ti K_ii^-1 K_it``.

    Args:
        params: of the machine.
        x: (n, d), examples.
        y: (n, outputs), best with mean 0 and variance 1.
        nu: widths relative to the outputs', one or one for each layer; 0 is no prior.
        activation: as for :func:`propagate`.
        jitter: as for :func:`propagate`.

    Raises:
        ValueError: if y is no matrix with a row for each example.
    """
    _check_rows(x, y)
    layers = propagate(params, x, activation=activation, jitter=jitter)
    kernel, along = layers.kernels[-1], layers.along
    precision = jnp.exp(-2 * params.log_noise)
    roots, weights = _posterior(along, y, precision)
    volume = len(x) * (math.log(2 * math.pi) + 2 * params.log_noise)
    volume = volume + 2 * jnp.sum(jnp.log(jnp.diag(roots.root)))
    open_variance = jnp.sum(kernel.diagonal) - jnp.sum(along**2)
    fit = precision * jnp.sum(y**2) - jnp.sum(weights**2)
    likelihood = -(fit + y.shape[1] * (volume + precision * open_variance)) / 2
    return likelihood - _divergence(params, nu)


def predict(
    params: Parameters,
    x: Float[Array, "n d"],
    y: Float[Array, "n outputs"],
    points: Float[Array, "p d"],
    *,
    activation: Any = SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> Prediction:
    """Predict the function at points, given examples.

    Args:
        params: of the machine.
        x: (n, d), the examples that it learned from.
        y: (n, outputs).
        points: (p, d).
        activation: as for :func:`propagate`.
        jitter: as for :func:`propagate`.

    Raises:
        ValueError: if y is no matrix with a row for each example.
    """
    _check_rows(x, y)
    both = jnp.concatenate([x, points])
    layers = propagate(params, both, activation=activation, jitter=jitter)
    along, there = jnp.split(layers.along, [len(x)], axis=1)
    noise = jnp.exp(2 * params.log_noise)
    roots, weights = _posterior(along, y, 1 / noise)
    turned = roots.inverse @ there
    known = jnp.sum(there**2, axis=0) - jnp.sum(turned**2, axis=0)
    variance = layers.kernels[-1].diagonal[len(x) :] - known
    return Prediction(
        turned.T @ weights, variance, noise, layers.jitter, layers.residual
    )


def fit(
    params: Parameters,
    x: Float[Array, "n d"],
    y: Float[Array, "n outputs"],
    *,
    nu: ArrayLike,
    optimizer: optax.GradientTransformation,
    steps: int,
    learn_grams: ArrayLike = True,
    activation: Any = SQUARED_EXPONENTIAL,
    jitter: float = 1e-6,
) -> tuple[Parameters, Float[Array, " steps"]]:
    """Maximise the objective by an optimizer, in one scan.

    Args:
        params: the start, of :func:`init`.
        x: (n, d), examples.
        y: (n, outputs).
        nu: widths relative to the outputs', one or one for each layer.
        optimizer: of optax, e.g. ``optax.adam(0.02)``.
        steps: how many.
        learn_grams: whether Gram matrices are learned, or only kernels, noise and
            inducing inputs: then it is the Gaussian process of a wide network. It may
            be traced.
        activation: as for :func:`propagate`.
        jitter: as for :func:`propagate`.

    Returns:
        The parameters, and the objective for each example before each step.
    """

    def loss(params: Parameters, data: Any, key: Array) -> Array:
        fixed = jax.lax.stop_gradient(params.factors)
        params = params._replace(factors=jnp.where(learn_grams, params.factors, fixed))
        value = objective(params, *data, nu=nu, activation=activation, jitter=jitter)
        return -value / len(x)

    params, losses = training.descend(
        loss, params, (x, y), key=jax.random.key(0), optimizer=optimizer, steps=steps
    )
    return params, -losses


def _posterior(along: Array, y: Array, precision: Array) -> tuple[linalg.Roots, Array]:
    """``B = I + A A^T / noise^2``: its roots, and ``root^-1 A y / noise^2``."""
    identity = jnp.eye(len(along), dtype=along.dtype)
    b = identity + precision * along @ along.T
    roots = linalg.triangular_roots(b)
    return roots, roots.inverse @ (precision * along @ y)


def _divergence(params: Parameters, nu: ArrayLike) -> Array:
    return jnp.sum(jnp.asarray(nu) * kl_gram(params.factors))


def _check_rows(x: Array, y: Array) -> None:
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(
            f"y has shape {y.shape}; for {len(x)} examples it must be ({len(x)}, "
            "outputs). Use y[:, None] for one output."
        )
