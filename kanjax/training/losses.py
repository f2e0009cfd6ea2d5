"""Losses for :func:`kanjax.training.fit`, made from a model's ``apply``.

A loss is ``loss(params, batch, key) -> scalar`` or ``(scalar, metrics)``, with a batch
``(x, y)`` whose leaves have a leading example axis.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float

from kanjax import checks
from kanjax.training.metrics import two_logits

Params = Any
Batch = Any
Loss = Callable[[Params, Batch, Array | None], Any]


def regression(apply: Callable[..., Array]) -> Loss:
    """The mean squared error over examples and outputs; metric: ``mae``.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, key=key)``, giving what has
            the shape of the targets ``y``.

    Returns:
        ``loss(params, (x, y), key) -> (scalar, {"mae": scalar})``. Sums are made in
        float32 at least.
    """
    call = with_key(apply)

    def loss(params: Params, batch: Batch, key: Array | None = None) -> Any:
        x, y = batch
        prediction = _at_least_float32(call(params, x, key))
        if prediction.shape != jnp.shape(y):
            raise ValueError(
                f"the predictions have shape {prediction.shape} and the targets "
                f"{jnp.shape(y)}: they must be equal, or the difference would be "
                "broadcast. Reshape the targets, e.g. y[:, None]."
            )
        error = prediction - y
        return jnp.mean(error**2), {"mae": jnp.mean(jnp.abs(error))}

    return loss


def classification(apply: Callable[..., Array]) -> Loss:
    """The mean softmax cross entropy with labels; metric: ``accuracy``.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, key=key)``, giving logits of
            shape (..., classes) for integer labels of shape (...), or for labels that
            are probabilities of the classes, of the shape of the logits. One logit,
            (..., 1), is that of class 1 against class 0, by a sigmoid.

    Returns:
        ``loss(params, (x, y), key) -> (scalar, {"accuracy": scalar})``, where the most
        probable class is the right one. Sums are made in float32 at least. A label
        that is no class raises ``ValueError`` where it is known, and makes the loss NaN
        where it is traced.
    """
    call = with_key(apply)

    def loss(params: Params, batch: Batch, key: Array | None = None) -> Any:
        x, y = batch
        logits = _at_least_float32(call(params, x, key))
        labels = jnp.asarray(y)
        if labels.shape == logits.shape and jnp.issubdtype(labels.dtype, jnp.floating):
            if logits.shape[-1] == 1:
                labels = jnp.concatenate([1 - labels, labels], axis=-1)
                logits = two_logits(logits)
            each = optax.softmax_cross_entropy(logits, labels)
            hits = jnp.argmax(logits, axis=-1) == jnp.argmax(labels, axis=-1)
            return jnp.mean(each), {"accuracy": jnp.mean(hits, dtype=logits.dtype)}
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(
                f"classification needs integer labels, got {labels.dtype}; number the "
                "classes from 0, or give probabilities of the shape of the logits."
            )
        if logits.shape[:-1] != labels.shape:
            raise ValueError(
                f"the logits have shape {logits.shape} and the labels {labels.shape}: "
                "logits must be (..., classes) for labels of shape (...)."
            )
        logits = two_logits(logits)
        checks.check_labels(labels, logits.shape[-1])
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        # It would take -1 for the last class.
        is_class = (labels >= 0) & (labels < logits.shape[-1])
        each = jnp.where(is_class, each, jnp.nan)
        hits = jnp.argmax(logits, axis=-1) == labels
        return jnp.mean(each), {"accuracy": jnp.mean(hits, dtype=logits.dtype)}

    return loss


def on_batch(
    loss: Loss, batch: Batch, key: Array | None = None
) -> Callable[[Params], Float[Array, ""]]:
    """The loss on one fixed batch as a function of the parameters alone, sans metrics.

    Example:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> loss = training.regression(lambda w, x: x * w)
        >>> f = training.on_batch(loss, (jnp.arange(3.0), jnp.arange(3.0)))
        >>> float(f(1.0))
        0.0
    """

    def value(params: Params) -> Float[Array, ""]:
        return value_and_metrics(loss, params, batch, key)[0]

    return value


def value_and_metrics(
    loss: Loss, params: Params, batch: Batch, key: Array | None
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Call a loss of either kind; the metrics of a plain scalar loss are ``{}``.

    Raises:
        TypeError: if the loss gives neither a real scalar nor ``(scalar, dict)``.
        ValueError: if its value is an array.
    """
    out = loss(params, batch, key)
    value: Any = out
    metrics: Any = {}
    if isinstance(out, tuple) and len(out) == 2:
        value, metrics = out
    one_leaf = jax.tree.structure(value) == jax.tree.structure(0)
    if not one_leaf or not isinstance(metrics, dict):
        raise TypeError(
            "a loss must return a scalar or (scalar, metrics) with metrics a dict of "
            f"arrays; got {jax.tree.structure(out)}."
        )
    if jnp.shape(value) != ():
        raise ValueError(
            f"a loss must return a scalar, got shape {jnp.shape(value)}; take its mean."
        )
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"a loss must be real floating point, got {value.dtype}.")
    return value, {name: jnp.asarray(metric) for name, metric in metrics.items()}


def with_key(apply: Callable[..., Array]) -> Callable[[Params, Any, Any], Array]:
    """``call(params, x, key)`` that hands the key on only if ``apply`` takes one."""
    try:
        parameters = inspect.signature(apply).parameters
    except (TypeError, ValueError):
        parameters = {}
    takes_key = "key" in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )
    if takes_key:
        return lambda params, x, key: apply(params, x, key=key)
    return lambda params, x, key: apply(params, x)


def _at_least_float32(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
