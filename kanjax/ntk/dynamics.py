"""Training in function space: what gradient descent does to outputs of fixed kernel.

Jacot, Gabriel, Hongler 2018, arXiv 1806.07572, section 5; Lee, Xiao, Schoenholz, Bahri,
Novak, Sohl-Dickstein, Pennington 2019, arXiv 1902.06720 (closed forms, ensembles).

The loss is ``1 / (2 n outputs) |f - y|^2`` everywhere, half of the mean squared error:
at a learning rate for :func:`kanjax.training.regression`, which has no half, twice the
time passes a step.

A kernel of repeated examples, of a linear model or of few parameters is singular. Its
eigenvalues up to n eps of the largest are round-off, whatever their sign: along their
eigenvectors outputs neither of train nor of test examples move, at any time, and what
comes at infinity is least squares of least norm.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, linalg
from kanjax.ntk.regression import as_matrix

Predict = Callable[..., Any]


class Posterior(NamedTuple):
    """The Gaussian over test outputs, of an ensemble or a Gaussian process.

    Attributes:
        mean: (test, outputs).
        covariance: (test, test), of each output.
    """

    mean: Float[Array, "test outputs"]
    covariance: Float[Array, "test test"]


class Outputs(NamedTuple):
    """Outputs at a time of training.

    Attributes:
        train: (n, outputs).
        test: (test, outputs), None if no test kernel was given.
    """

    train: Float[Array, "n outputs"]
    test: Float[Array, "test outputs"] | None


def mse_training(
    kernel: Array,
    y: Float[Array, "n outputs"],
    *,
    learning_rate: float = 1.0,
    momentum: float = 0.0,
    discrete: bool = False,
    diagonal_regularization: float = 0.0,
) -> Callable[..., Outputs]:
    """Predict outputs of gradient descent on the squared error, at any time at once.

    With ``k = n outputs`` (see the module for the loss), ``f_t(X) = y + D(t) (f_0(X) -
    y)`` and ``f_t(x) = f_0(x) + Theta(x, X) Theta^-1 (D(t) - I) (f_0(X) - y)``, where D
    acts on each eigenvector of Theta, of eigenvalue lambda, as

    - gradient flow: ``exp(-learning_rate lambda t / k)``,
    - discrete steps: ``(1 - learning_rate lambda / k)^t``,
    - with momentum m: the power t of the two-step recursion of heavy ball, ``v <- m v -
      learning_rate gradient``, ``f <- f + v``.

    One eigendecomposition is made, here; each time then costs products. Modes whose
    eigenvalue is round-off do not move (see the module).

    Args:
        kernel: (n, n), the same for every output and zero between outputs, as of
            infinite width; or the full empirical one, (n, n, outputs, outputs).
        y: (n, outputs), the targets.
        learning_rate: the size of steps.
        momentum: in [0, 1); discrete steps only.
        discrete: t counts steps in place of time.
        diagonal_regularization: added to the kernel's diagonal, times its mean.

    Returns:
        ``outputs(t, f_train=None, f_test=None, kernel_test=None) -> Outputs``: t is a
        number, at least 0, or infinity; f_train (n, outputs) and f_test (test, outputs)
        are the outputs at the start, zero if None; kernel_test is (test, n) or (test,
        n, outputs, outputs). It works under jit, vmap (in t) and grad.

    Raises:
        ValueError: if shapes do not fit, or for momentum in gradient flow.

    Examples:
        >>> import jax.numpy as jnp
        >>> outputs = mse_training(2 * jnp.eye(1), jnp.ones((1, 1)))
        >>> outputs(jnp.inf).train.tolist()
        [[1.0]]
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1; got {momentum!r}.")
    if momentum and not discrete:
        raise ValueError(
            f"momentum={momentum} is of discrete steps: give discrete=True. Heavy ball "
            "in continuous time is gradient flow with learning_rate / (1 - momentum)."
        )
    y = checks.as_floating(y)
    matrix, shared = as_matrix(kernel, y.shape)
    system = linalg.decompose(linalg.regularize(matrix, diagonal_regularization))
    left = functools.partial(_left, discrete, momentum)
    learned = functools.partial(_learned, discrete, momentum)
    columns = (lambda f: f) if shared else (lambda f: f.reshape(-1, 1))

    def outputs(
        t: ArrayLike,
        f_train: Array | None = None,
        f_test: Array | None = None,
        kernel_test: Array | None = None,
    ) -> Outputs:
        error = -y if f_train is None else f_train - y
        time = jnp.asarray(t, system.values.dtype)
        args = (jnp.asarray(learning_rate / y.size, time.dtype), time)
        error = columns(error)
        remaining = linalg.function_product(left, system, error, *args)
        train = y + remaining.reshape(y.shape)
        if kernel_test is None:
            return Outputs(train, None)
        rows = kernel_test if shared else _rows(kernel_test, y.shape)
        solved = linalg.function_product(learned, system, error, *args)
        change = -(rows @ solved).reshape(-1, y.shape[1])
        return Outputs(train, change if f_test is None else f_test + change)

    return outputs


def ensemble(
    nngp: Float[Array, "n n"],
    ntk: Float[Array, "n n"] | None,
    y: Float[Array, "n outputs"],
    *,
    learning_rate: float = 1.0,
    diagonal_regularization: float = 0.0,
) -> Callable[..., Posterior]:
    """Mean and covariance over an ensemble of wide networks at any time of training.

    With ``A = Theta(x, X) Theta^-1 (I - exp(-learning_rate Theta t / k))``: the mean is
    ``A y`` and the covariance ``K(x, x) + A K(X, X) A^T - A K(X, x) - K(x, X) A^T``.
    Without ntk only the last layer is trained, Theta is K, and at ``t = inf`` this is
    the posterior of the Gaussian process.

    Args:
        nngp: (n, n), the covariance of outputs at initialisation, K.
        ntk: (n, n), the tangent kernel, Theta; K if None.
        y: (n, outputs), the targets.
        learning_rate: of gradient flow.
        diagonal_regularization: added to Theta's diagonal, times its mean; with ntk
            None also the variance of the noise of the Gaussian process in the same
            units.

    Returns:
        ``posterior(t, nngp_test, nngp_test_train, ntk_test_train=None) -> Posterior``
        with nngp_test (test, test), the others (test, n).

    Raises:
        ValueError: if shapes do not fit.
    """
    y = checks.as_floating(y)
    theta = nngp if ntk is None else ntk
    matrix, shared = as_matrix(theta, y.shape)
    if not shared or nngp.shape != theta.shape:
        raise ValueError(
            f"nngp {nngp.shape} and ntk {theta.shape} must both be (n, n), the kernels "
            "of one output."
        )
    system = linalg.decompose(linalg.regularize(matrix, diagonal_regularization))
    learned = functools.partial(_learned, False, 0.0)
    prior = linalg.regularize(nngp, diagonal_regularization) if ntk is None else nngp

    def posterior(
        t: ArrayLike,
        nngp_test: Array,
        nngp_test_train: Array,
        ntk_test_train: Array | None = None,
    ) -> Posterior:
        if (ntk is None) != (ntk_test_train is None):
            raise ValueError(
                "ntk_test_train goes with ntk: give both, or neither for the NNGP."
            )
        across = nngp_test_train if ntk_test_train is None else ntk_test_train
        time = jnp.asarray(t, system.values.dtype)
        scale = jnp.asarray(learning_rate / y.size, time.dtype)
        a = linalg.function_product(learned, system, across.T, scale, time).T
        mixed = a @ nngp_test_train.T
        covariance = nngp_test + a @ prior @ a.T - mixed - mixed.T
        return Posterior(a @ y, covariance)

    return posterior


def train(
    kernel: Array,
    y: Array,
    loss: Callable[[Array, Array], Array],
    times: Float[Array, " times"],
    *,
    f_train: Array,
    f_test: Array | None = None,
    kernel_test: Array | None = None,
    learning_rate: float = 1.0,
    momentum: float | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 100_000,
) -> Outputs:
    """Predict outputs under gradient flow on any loss, by an ODE solver.

    ``df/dt = -learning_rate Theta(., X) d loss(f(X), y) / d f(X)``; with momentum m,
    ``df/dt = v`` and ``dv/dt = (m - 1) v - learning_rate Theta grad`` where steps of
    heavy ball are units of time. By diffrax.

    Args:
        kernel: (n, n), or (n, n, outputs, outputs).
        y: the targets, whatever loss takes.
        loss: ``loss(f, y) -> scalar`` of all outputs f (n, outputs).
        times: (times,), increasing, from 0 on.
        f_train: (n, outputs), the outputs at the start.
        f_test: (test, outputs), with kernel_test.
        kernel_test: (test, n), or (test, n, outputs, outputs).
        learning_rate: of gradient flow.
        momentum: in [0, 1), or None.
        tolerance: of the solver, relative and absolute.
        max_steps: of the solver; beyond, diffrax raises.

    Returns:
        Outputs with a leading axis over times.

    Raises:
        ValueError: if shapes do not fit.
    """
    import diffrax

    as_matrix(kernel, f_train.shape)
    if (f_test is None) != (kernel_test is None):
        raise ValueError("f_test and kernel_test go together: give both or neither.")
    slope = jax.grad(loss)

    def push(theta: Array, direction: Array) -> Array:
        if theta.ndim == 2:
            return theta @ direction
        return jnp.einsum("ijop,jp->io", theta, direction, precision="highest")

    def force(f: tuple[Array, Array | None]) -> tuple[Array, Array | None]:
        direction = -learning_rate * slope(f[0], y)
        test = None if kernel_test is None else push(kernel_test, direction)
        return push(kernel, direction), test

    def flow(t: Any, state: Any, args: Any) -> Any:
        if momentum is None:
            return force(state)
        f, v = state
        drag = momentum - 1
        return v, jax.tree.map(lambda v, a: drag * v + a, v, force(f))

    start: Any = (f_train, f_test)
    if momentum is not None:
        start = (start, jax.tree.map(jnp.zeros_like, start))
    times = jnp.asarray(times, f_train.dtype)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(flow),
        diffrax.Tsit5(),
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=max_steps,
    )
    assert solution.ys is not None
    f = solution.ys if momentum is None else solution.ys[0]
    return Outputs(*f)


def max_learning_rate(
    kernel: Array, outputs: int = 1, *, momentum: float = 0.0
) -> Float[Array, ""]:
    """Return the largest learning rate of discrete steps that converges, to first
    order.

    ``2 (1 + momentum) k / lambda_max`` with ``k = n outputs``, for the loss of this
    module.

    Args:
        kernel: (n, n), or (n, n, outputs, outputs).
        outputs: the number of outputs, for a kernel that is the same for all.
        momentum: of heavy ball.
    """
    if kernel.ndim == 4:
        outputs = kernel.shape[2]
    matrix, _ = as_matrix(kernel, (kernel.shape[0], outputs))
    largest = jnp.linalg.eigvalsh(matrix)[-1]
    return 2 * (1 + momentum) * kernel.shape[0] * outputs / largest


def time_to_learn(
    kernel: Float[Array, "n n"],
    outputs: int = 1,
    *,
    share: float = 0.5,
    learning_rate: float = 1.0,
) -> Float[Array, " n"]:
    """How long gradient flow takes to remove a share of the error in each mode.

    ``-log(1 - share) k / (learning_rate lambda_i)``, of eigenvalues descending: stop
    before the modes that only noise is in.

    Args:
        kernel: (n, n), of training examples.
        outputs: k, of the network.
        share: of the error, below 1.
        learning_rate: of gradient flow on the mean squared error.

    Returns:
        (n,), infinite where the eigenvalue is round-off.
    """
    eigenvalues = linalg.decompose(kernel).values[::-1]
    positive = eigenvalues > 0
    rate = learning_rate * jnp.where(positive, eigenvalues, 1.0)
    times = -jnp.log1p(-share) * kernel.shape[0] * outputs / rate
    return jnp.where(positive, times, jnp.inf)


def _left(
    discrete: bool, momentum: float, values: Array, scale: Array, t: Array
) -> Array:
    """Return what is left at a time of the error along eigenvectors; all where
    values are 0.

    Args:
        discrete: steps of gradient descent, not gradient flow.
        momentum: of heavy ball, 0 for none.
        values: eigenvalues; not positive ones are those of the null space.
        scale: the learning rate over ``n outputs``.
        t: the time, or the number of steps.
    """
    if not discrete:
        ends = jnp.isposinf(t)
        limit = jnp.where(values > 0, 0.0, 1.0)
        finite = jnp.exp(-scale * values * jnp.where(ends, 0.0, t))
        return jnp.where(ends, limit, finite)
    positive = values > 0
    rates = scale * jnp.where(positive, values, 1.0)
    return jnp.where(positive, _after_steps(rates, momentum, t), 1.0)


def _learned(
    discrete: bool, momentum: float, values: Array, scale: Array, t: Array
) -> Array:
    """``(1 - left) / eigenvalue``, and 0 in the null space."""
    positive = values > 0
    safe = jnp.where(positive, values, 1.0)
    if discrete and momentum == 0:
        # One less a power near 1 would lose digits.
        rates = scale * safe
        slow = jnp.minimum(rates, 0.5)
        finite = -jnp.expm1(jnp.where(jnp.isposinf(t), 0.0, t) * jnp.log1p(-slow))
        share = 1 - _after_steps(rates, momentum, t)
        share = jnp.where((rates < 0.5) & ~jnp.isposinf(t), finite, share)
    elif discrete:
        share = 1 - _after_steps(scale * safe, momentum, t)
    else:
        ends = jnp.isposinf(t)
        share = -jnp.expm1(-scale * safe * jnp.where(ends, 0.0, t))
        share = jnp.where(ends, 1.0, share)
    return jnp.where(positive, share / safe, 0.0)


def _after_steps(rates: Array, momentum: float, t: Array) -> Array:
    """Return the factor that t steps put on the error along each eigenvector.

    Of heavy ball, the recursion ``e_(t+1) = (1 + m - r) e_t - m e_(t-1)`` from ``e_0 =
    1``, ``e_1 = 1 - r``, whose closed form has the roots of its polynomial. Between
    ``r = 0`` and ``2 (1 + m)`` both are below 1 in size.
    """
    ends = jnp.isposinf(t)
    steps = jnp.where(ends, 0.0, t)
    if momentum == 0:
        left = _power(1 - rates, steps)
    else:
        wide = jnp.result_type(rates, jnp.complex64)
        half = ((1 + momentum - rates) / 2).astype(wide)
        square = half**2 - momentum
        # A double root would divide by zero: part the roots by a little.
        tiny = jnp.finfo(rates.dtype).eps
        root = jnp.sqrt(jnp.where(jnp.abs(square) < tiny, tiny, square))
        first, second = half + root, half - root
        share = (1 - rates - second) / (2 * root)
        powers = _complex_power(first, steps), _complex_power(second, steps)
        left = jnp.real(share * powers[0] + (1 - share) * powers[1])
    converges = (rates > 0) & (rates < 2 * (1 + momentum))
    return jnp.where(ends, jnp.where(converges, 0.0, jnp.inf), left)


def _power(base: Array, t: Array) -> Array:
    """``base^t`` for whole t at least 0, negative bases included."""
    size, odd = jnp.abs(base), jnp.mod(t, 2) == 1
    # The even power beside a plain factor, so that the slope at 0 is right.
    even = jnp.where(odd, t - 1, t)
    power = jnp.where(size > 0, size, 1.0) ** even
    power = jnp.where((size > 0) | (even == 0), power, 0.0)
    return jnp.where(odd, base * power, power)


def _complex_power(base: Array, t: Array) -> Array:
    return jnp.abs(base) ** t * jnp.exp(1j * t * jnp.angle(base))


def _rows(kernel: Array, shape: tuple[int, ...]) -> Array:
    """(test, n, outputs, outputs) as a matrix of (test outputs) rows."""
    if kernel.ndim != 4 or kernel.shape[1:] != (*shape, shape[1]):
        raise ValueError(
            f"kernel_test has shape {kernel.shape}; it must be (test, {shape[0]}, "
            f"{shape[1]}, {shape[1]}), as the kernel is full."
        )
    size = kernel.shape[0] * shape[1]
    return jnp.swapaxes(kernel, 1, 2).reshape(size, shape[0] * shape[1])
