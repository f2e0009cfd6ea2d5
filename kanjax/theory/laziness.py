"""Whether a run of training was lazy, for any network and any data.

Chizat, Oyallon, Bach 2018, arXiv 1812.07956 (lazy training); Kumar, Bordelon,
Gershman, Pehlevan 2023, arXiv 2310.06110 (grokking as the way from lazy to rich).

A run is lazy if the network stayed near its linearization at the start: the tangent
kernel hardly moved, and the linear network with the same parameters gives the same
outputs. A run that is not has learned features.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

from kanjax import checks, ntk

Apply = Callable[[Any, Any], Array]


class Laziness(NamedTuple):
    """How far training left the linearization of a network at its start.

    Attributes:
        kernel_drift: ``|K_t - K_0| / |K_0|`` of the tangent kernel.
        linearization_gap: distance of the trained outputs from those of the linear
            network with the same parameters, over how far outputs moved; NaN if they
            did not.
        parameter_change: ``|theta_t - theta_0| / |theta_0|``.
    """

    kernel_drift: Float[Array, ""]
    linearization_gap: Float[Array, ""]
    parameter_change: Float[Array, ""]

    def is_lazy(self, tolerance: ArrayLike = 0.1) -> Bool[Array, ""]:
        """Whether both the drift and the gap are at most the tolerance ()."""
        return (self.kernel_drift <= tolerance) & (self.linearization_gap <= tolerance)


class KernelForecast(NamedTuple):
    """What training a fixed kernel would have given, beside what training gave.

    Attributes:
        outputs: (test, outputs), of the network linearized at the start.
        gap: distance of the trained outputs from these, over how far they moved.
        start_alignment: of the first tangent kernel with the targets, centered.
        end_alignment: of the last; it grows as features are learned.
    """

    outputs: Float[Array, "test outputs"]
    gap: Float[Array, ""]
    start_alignment: Float[Array, ""]
    end_alignment: Float[Array, ""]


def lazy_rich(
    apply: Apply,
    start: Any,
    end: Any,
    x: Any,
    *,
    batch_size: int | None = None,
) -> Laziness:
    """Tell whether training from some parameters to others was lazy.

    It looks at both ends alone, so that loss and optimizer do not matter. Where it was
    lazy, :func:`forecast` gives what came out.

    Args:
        apply: ``apply(params, x) -> (n, outputs)``, of any library.
        start: parameters before training, a pytree of floating-point arrays.
        end: parameters after it.
        x: (n, ...), some inputs, a few hundred; new ones tell more.
        batch_size: examples whose Jacobians are in memory at once, as for
            :func:`kanjax.ntk.empirical`.

    Raises:
        ValueError: if start and end differ in structure or shapes.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> linear = lambda w, x: x @ w
        >>> run = lazy_rich(linear, jnp.ones((2, 1)), jnp.zeros((2, 1)), jnp.eye(2))
        >>> bool(run.is_lazy()), float(run.parameter_change)
        (True, 1.0)
    """
    _check_alike(start, end)
    first, last = (
        ntk.empirical(apply, params, x, batch_size=batch_size)
        for params in (start, end)
    )
    before, after = apply(start, x), apply(end, x)
    linear = ntk.linearize(apply, start)(end, x)
    step = jax.tree.map(jnp.subtract, end, start)
    return Laziness(
        ntk.drift(first, last),
        optax.tree.norm(after - linear) / optax.tree.norm(after - before),
        optax.tree.norm(step) / optax.tree.norm(start),
    )


def forecast(
    apply: Apply,
    start: Any,
    end: Any,
    train: tuple[Any, Float[Array, "n outputs"]],
    x: Any,
    *,
    time: ArrayLike = jnp.inf,
    batch_size: int | None = None,
) -> KernelForecast:
    """Predict a run of training by the kernel it began with, and compare.

    The run is taken to have been gradient descent on the mean squared error, long
    enough or up to a time.

    Args:
        apply: as for :func:`lazy_rich`.
        start: parameters before training.
        end: parameters after it.
        train: inputs (n, ...) and targets (n, outputs) that were trained on; the kernel
            has ``(n outputs)^2`` entries.
        x: (test, ...), new inputs.
        time: of gradient flow as :func:`kanjax.ntk.mse_training` counts it: the
            learning rate times the number of steps, and twice that for a loss without
            the half, such as :func:`kanjax.training.regression`.
        batch_size: as for :func:`lazy_rich`.

    Raises:
        ValueError: if start and end differ in structure or shapes, or targets and
            outputs in shape.
    """
    _check_alike(start, end)
    inputs, y = train
    first = apply(start, inputs)
    if jnp.shape(y) != first.shape:
        raise ValueError(
            f"the targets have shape {jnp.shape(y)}; the network's outputs have "
            f"{first.shape}. Give one-hot rows for classes, y[:, None] for one output."
        )

    def kernel(params: Any, x1: Any, x2: Any = None, outputs: Any = "full") -> Array:
        return ntk.empirical(
            apply, params, x1, x2, outputs=outputs, batch_size=batch_size
        )

    outputs = ntk.mse_training(kernel(start, inputs), y)
    before, after = apply(start, x), apply(end, x)
    predicted = outputs(time, first, before, kernel(start, x, inputs)).test
    assert predicted is not None
    traces = (kernel(params, inputs, outputs="trace") for params in (start, end))
    return KernelForecast(
        predicted,
        optax.tree.norm(after - predicted) / optax.tree.norm(after - before),
        *(ntk.alignment(trace, y) for trace in traces),
    )


def scale_outputs(
    apply: Apply, params: Any, alpha: Array | float, *, center: bool = True
) -> Apply:
    """Return any network with its outputs scaled, and centered at its parameters.

    ``alpha (f(p, x) - f(params, x))``: with a squared error divided by ``alpha^2``
    training becomes lazy as alpha grows (Chizat, Oyallon, Bach 2018, arXiv 1812.07956).

    Args:
        apply: ``apply(params, x)``.
        params: where outputs become 0, the start.
        alpha: the scale, positive.
        center: whether the first outputs are taken off.

    Raises:
        ValueError: for an alpha that is not positive.
    """
    checks.check_positive("alpha", alpha)

    def scaled(p: Any, x: Any) -> Array:
        outputs = apply(p, x)
        return alpha * (outputs - apply(params, x) if center else outputs)

    return scaled


def _check_alike(start: Any, end: Any) -> None:
    shapes = [jax.tree.map(jnp.shape, params) for params in (start, end)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"start has leaves of shapes {shapes[0]} and end {shapes[1]}; they must be "
            "parameters of one network."
        )
