"""Ridge regression on features that are never in memory whole, at once or by descent.

:func:`kanjax.ntk.random_feature_layers.solve` is more exact, by a QR decomposition of
all features; here examples pass in blocks, and what stays is a matrix of the features'
number. Beside Wang, Nichani, Lee 2023, arXiv 2311.13774, whose stages of training are
such regressions.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import checks, ntk

Features = Callable[[Array], Array]
"""``features(x) -> (examples, columns)`` of a block of examples."""
Kernel = Callable[[Array, Array], Array]
"""``kernel(x1, x2) -> (n1, n2)``."""


class Moments(NamedTuple):
    """What a regression needs to know of all examples; means over them.

    Attributes:
        gram: (columns, columns), of products of features.
        cross: (columns,), of features times targets.
        features: (columns,), of features.
        target: of targets.
        power: of squared targets.
    """

    gram: Float[Array, "columns columns"]
    cross: Float[Array, " columns"]
    features: Float[Array, " columns"]
    target: Float[Array, ""]
    power: Float[Array, ""]

    def center(self) -> "Moments":
        """Return those of features less their means, targets as they are."""
        return Moments(
            self.gram - jnp.outer(self.features, self.features),
            self.cross - self.features * self.target,
            jnp.zeros_like(self.features),
            self.target,
            self.power,
        )

    def loss(self, weights: Float[Array, " columns"]) -> Float[Array, ""]:
        """Return the mean squared error of ``features @ weights``."""
        return self.power - 2 * self.cross @ weights + weights @ self.gram @ weights

    def variance(self, weights: Float[Array, " columns"]) -> Float[Array, ""]:
        """Return the variance of ``features @ weights``."""
        return weights @ self.gram @ weights - (self.features @ weights) ** 2

    def correlation(self, weights: Float[Array, " columns"]) -> Float[Array, ""]:
        """Return that of ``features @ weights`` with the targets; 0 for a constant."""
        covariance = self.cross @ weights - self.features @ weights * self.target
        square = self.variance(weights) * (self.power - self.target**2)
        return covariance / jnp.sqrt(jnp.where(square > 0, square, jnp.inf))


def measure(
    features: Features,
    x: Float[Array, "n ..."],
    y: Float[Array, " n"],
    *,
    count: Array | int | None = None,
    batch_size: int = 2048,
) -> Moments:
    """Return the moments of features of all examples, block by block.

    Args:
        features: of a block of examples.
        x: (n, ...).
        y: (n,).
        count: of how many examples from the first on, of all if None; it may be traced,
            so that samples of several sizes share a program.
        batch_size: how many examples are in a block.

    Raises:
        ValueError: if x and y differ in length, or batch_size is below 1.
    """
    y = checks.as_floating(y)
    if y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"x has shape {x.shape} and y {y.shape}; they must be (n, ...) and (n,)."
        )
    checks.check_count("batch_size", batch_size)
    n = len(y)
    number = n if count is None else count
    size = min(batch_size, n)
    blocks = -(-n // size)
    rows = jnp.arange(blocks * size).reshape(blocks, size)

    def add(total: Moments, i: Array) -> Moments:
        # Blocks are filled up with examples that do not count.
        at, counts = jnp.minimum(i, n - 1), i < number
        z = jnp.where(counts[:, None], features(x[at]), 0)
        v = jnp.where(counts, y[at], 0)
        block = Moments(
            jnp.matmul(z.T, z, precision="highest"),
            jnp.matmul(v, z, precision="highest"),
            jnp.sum(z, axis=0),
            jnp.sum(v),
            v @ v,
        )
        return jax.tree.map(jnp.add, total, block)

    def step(total: Moments, i: Array) -> tuple[Moments, None]:
        # Of small samples most blocks are empty, and cost nothing.
        return jax.lax.cond(i[0] < number, add, lambda total, _: total, total, i), None

    columns = jax.eval_shape(features, x[:size])
    start = _zeros(columns.shape[1:], jnp.result_type(columns.dtype, y.dtype))
    total, _ = jax.lax.scan(step, start, rows)
    return jax.tree.map(lambda leaf: leaf / number, total)


def solve(moments: Moments, decay: Array | float) -> Float[Array, " columns"]:
    """Return the weights that minimize ``mean error^2 + decay / 2 |weights|^2``.

    By conjugate gradients, which many solutions at once under ``vmap`` do well by, and
    a matrix that round-off leaves indefinite does not stop.

    Args:
        moments: of features and targets.
        decay: (), of weights as gradient descent counts it, ``2 * gram + decay`` being
            the curvature.
    """
    level = decay / 2
    eps = float(jnp.finfo(moments.gram.dtype).eps)

    def product(v: Array) -> Array:
        return jnp.matmul(moments.gram, v, precision="highest") + level * v

    def iterate(_: Callable[[Array], Array], v: Array) -> Array:
        return ntk.regress_by_products(
            product,
            v,
            diagonal=jnp.diag(moments.gram) + level,
            tolerance=10 * eps,
            max_iterations=10 * len(v),
        ).weights

    # Its derivative is another solution, and not that of the iterations.
    right = moments.cross[:, None]
    return jax.lax.custom_linear_solve(product, right, iterate, symmetric=True)[:, 0]


def descend(
    moments: Moments,
    decay: Array | float,
    *,
    steps: int,
    learning_rate: Array | float | None = None,
) -> tuple[Float[Array, " columns"], Float[Array, " losses"]]:
    """Take steps of full-batch gradient descent to the same weights, from 0.

    Args:
        moments: of features and targets.
        decay: (), of weights.
        steps: how many.
        learning_rate: (), of each; if None one over a bound of the curvature, which
            always converges.

    Returns:
        The weights, and the mean squared error before each step and after the last.
    """
    curvature = 2 * moments.gram + decay * jnp.eye(len(moments.cross))
    if learning_rate is None:
        learning_rate = 1 / jnp.max(jnp.sum(jnp.abs(curvature), axis=1))

    def step(weights: Array, _: None) -> tuple[Array, Array]:
        slope = jnp.matmul(curvature, weights, precision="highest") - 2 * moments.cross
        return weights - learning_rate * slope, moments.loss(weights)

    start = jnp.zeros_like(moments.cross)
    weights, losses = jax.lax.scan(step, start, None, length=steps)
    return weights, jnp.append(losses, moments.loss(weights))


def polynomial_kernel(degree: int) -> Kernel:
    """Return ``(1 + x . x' / d)^degree``, which spans all polynomials of a degree.

    Args:
        degree: at least 1.

    Raises:
        ValueError: if degree is below 1.
    """
    checks.check_count("degree", degree)
    return lambda x1, x2: (1 + x1 @ x2.T / x1.shape[1]) ** degree


def kernel_ridge(
    kernel: Kernel,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    x_test: Float[Array, "test d"],
    *,
    regularizations: Sequence[float],
    landmarks: int | None = None,
    batch_size: int = 1024,
) -> Float[Array, "test choices"]:
    """Predict by kernel ridge regression, exactly or from landmarks.

    Exactly it takes ``3 n^2`` numbers of memory and ``n^3`` of time for each choice.
    With landmarks it is Nystroem's approximation, on the features that these span: ``n
    landmarks^2`` of time and memory for ``landmarks^2`` numbers.

    Args:
        kernel: such as :func:`polynomial_kernel`, or ``lambda a, b: limit(a, b).ntk``
            with ``limit = kanjax.ntk.infinite(net)``.
        x: (n, d).
        y: (n,).
        x_test: (test, d).
        regularizations: (choices,), what is added to the diagonal, over its mean.
        landmarks: how many, the first of x; None for exact.
        batch_size: how many rows are in memory at once beside landmarks.

    Raises:
        ValueError: if landmarks is not between 1 and n.
    """
    if landmarks is None:
        matrix = kernel(x, x)
        solutions = [
            ntk.regress(matrix, y[:, None], diagonal_regularization=share)
            for share in regularizations
        ]
        return kernel(x_test, x) @ jnp.hstack([s.weights for s in solutions])
    if not 1 <= landmarks <= len(x):
        raise ValueError(
            f"landmarks is {landmarks}; it must be from 1 to {len(x)}, as there are "
            "examples."
        )
    points = x[:landmarks]
    gram = kernel(points, points)
    scale = jnp.trace(gram) / landmarks
    # Round-off of the kernel, in single precision as in double.
    jitter = 10 * landmarks * jnp.finfo(gram.dtype).eps * scale
    identity = jnp.eye(landmarks, dtype=gram.dtype)
    factor = jnp.linalg.cholesky(gram + jitter * identity)

    def features(x: Array) -> Array:
        across = kernel(points, x)
        return jax.scipy.linalg.solve_triangular(factor, across, lower=True).T

    moments = measure(features, x, y, batch_size=batch_size)
    # Directly: their condition number is beyond iterations.
    weights = [
        jax.scipy.linalg.solve(
            moments.gram + share * scale / len(x) * identity,
            moments.cross,
            assume_a="pos",
        )
        for share in regularizations
    ]
    return features(x_test) @ jnp.stack(weights, axis=1)


def _zeros(columns: tuple[int, ...], dtype: Any) -> Moments:
    shapes = (columns * 2, columns, columns, (), ())
    return Moments(*(jnp.zeros(shape, dtype) for shape in shapes))
