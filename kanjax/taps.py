"""Values inside a network: what its layers put out, and statistics of a stream of them.

Values of flax and equinox networks come from :func:`kanjax.interop.record_flax` and
:func:`kanjax.interop.record_equinox`; :class:`Moments` takes the values of any.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import model as models

Params = Any


def record(model: Any, params: Params, x: Array) -> dict[str, Array]:
    """Evaluate a model and keep what each of its layers puts out.

    Containers are walked through: ``Sequential``, ``Residual``, models side by side,
    and whatever has ``activations``, as MLPs (where a layer's values are those after
    the activation) and Kolmogorov-Arnold networks of every kind.

    Args:
        model: a model without a state; :func:`kanjax.nn.fold_batch_norm` gives one.
        params: its parameters.
        x: what it takes.

    Returns:
        Values by the path of the layer's parameters in ``params``, such as ``[0]`` or
        ``[2][1]``, in the order of evaluation, and at last the model's output as "".

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn, taps
        >>> net = nn.MLP((2, 8, 3))
        >>> values = taps.record(net, net.init(jax.random.key(0)), jnp.ones((5, 2)))
        >>> {path: v.shape for path, v in values.items()}
        {'[0]': (5, 8), '[1]': (5, 3), '': (5, 3)}
    """
    values: dict[str, Array] = {}

    def visit(layer: Any, p: Params, x: Array, path: Any, key: Any) -> Array:
        if not hasattr(layer, "activations"):
            return layer.apply(p, x)
        # The first is the input itself.
        _, *outputs = layer.activations(p, x)
        for i, y in enumerate(outputs):
            leave((*path, jax.tree_util.SequenceKey(i)), y)
        return outputs[-1]

    def join(container: Any, outputs: Sequence[Array]) -> Array:
        return container.join(outputs)

    def leave(path: Any, y: Array) -> None:
        values[jax.tree_util.keystr(path)] = y

    values[""] = models.walk(model, params, x, visit, join, leave=leave)
    return values


class Moments(NamedTuple):
    """Mean and covariance of values that come in batches.

    A batch is joined to what was before by the pairwise update of Chan, Golub, LeVeque
    (1983), The American Statistician 37(3): sums of squares are taken about the batch's
    own mean, so that a large mean does not cancel the variance.

    Attributes:
        count: how many samples there were.
        mean: (features,).
        scatter: (features, features) sums of products of deviations from the mean, or
            (features,) sums of squares.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import taps
        >>> x = jnp.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
        >>> moments = taps.stream([x[:2], x[2:]])
        >>> moments.mean.tolist(), moments.covariance().tolist()
        ([3.0, 4.0], [[4.0, 6.0], [6.0, 12.0]])
    """

    count: Float[Array, ""]
    mean: Float[Array, " features"]
    scatter: Array

    def covariance(self, *, ddof: int = 1) -> Array:
        """Give the covariance, or the variances, with ``count - ddof`` below."""
        return self.scatter / (self.count - ddof)


def measure(x: Array, *, diagonal: bool = False) -> Moments:
    """Take the moments of one batch.

    Args:
        x: (..., features); all axes but the last are samples. Sums are made in float32
            at least.
        diagonal: whether to take variances alone.
    """
    x = jnp.asarray(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    x = x.reshape(-1, x.shape[-1])
    mean = jnp.mean(x, axis=0)
    # About a sample first: the rounding of a large mean would count as variance.
    moved = x - x[:1]
    centered = moved - jnp.mean(moved, axis=0, keepdims=True)
    scatter = jnp.sum(centered**2, axis=0) if diagonal else centered.T @ centered
    return Moments(jnp.asarray(len(x), x.dtype), mean, scatter)


def join(a: Moments, b: Moments) -> Moments:
    """Give the moments of the samples of both.

    Args:
        a: of some samples.
        b: of others, with the same features; both with covariances or both without.
    """
    count = a.count + b.count
    # About the joint mean both sums grow by the distance of their own from it; together
    # that is the outer product of the step, by the harmonic weight of the counts.
    step = b.mean - a.mean
    square = step**2 if a.scatter.ndim == 1 else jnp.outer(step, step)
    return Moments(
        count,
        a.mean + step * (b.count / count),
        a.scatter + b.scatter + square * (a.count * b.count / count),
    )


def stream(batches: Iterable[Array], *, diagonal: bool = False) -> Moments:
    """Take the moments of all batches, of which one at a time is held.

    Args:
        batches: (..., features) each.
        diagonal: whether to take variances alone.

    Raises:
        ValueError: if there is no batch.
    """
    total: Moments | None = None
    for batch in batches:
        moments = measure(batch, diagonal=diagonal)
        total = moments if total is None else join(total, moments)
    if total is None:
        raise ValueError("batches is empty; give at least one batch of values.")
    return total
