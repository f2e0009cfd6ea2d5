"""Losses for :func:`kanjax.training.fit`, made from a model's ``apply``.

A loss is ``loss(params, batch, key) -> scalar`` or ``(scalar, metrics)``, with a batch
``(x, y)`` whose leaves have a leading example axis. Of a model with a state it is
``loss(params, batch, key, state) -> (scalar, metrics, new state)``; those made here are
both. As everywhere, a key says that this is training: without one there is no dropout,
and statistics are the running ones.
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
State = Any
Loss = Callable[..., Any]


def regression(apply: Callable[..., Array]) -> Loss:
    """Return the mean squared error over examples and outputs; metric: ``mae``.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, key=key)``, giving what has
            the shape of the targets ``y``; or that of a model with a state, see
            :class:`kanjax.model.StatefulModel`.

    Returns:
        ``loss(params, (x, y), key) -> (scalar, {"mae": scalar})``; with a state,
        ``loss(params, (x, y), key, state) -> (scalar, {"mae": scalar}, new state)``.
        Sums are made in float32 at least.
    """

    def measure(prediction: Array, y: Any) -> tuple[Array, dict[str, Array]]:
        prediction = _at_least_float32(prediction)
        if prediction.shape != jnp.shape(y):
            raise ValueError(
                f"the predictions have shape {prediction.shape} and the targets "
                f"{jnp.shape(y)}: they must be equal, or the difference would be "
                "broadcast. Reshape the targets, e.g. y[:, None]."
            )
        error = prediction - y
        return jnp.mean(error**2), {"mae": jnp.mean(jnp.abs(error))}

    return from_measure(apply, measure)


def classification(apply: Callable[..., Array]) -> Loss:
    """Return the mean softmax cross entropy with labels; metric: ``accuracy``.

    Args:
        apply: ``apply(params, x)`` or ``apply(params, x, key=key)``, giving logits of
            shape (..., classes) for integer labels of shape (...), or for labels that
            are probabilities of the classes, of the shape of the logits; or that of a
            model with a state, see :class:`kanjax.model.StatefulModel`. One logit,
            (..., 1), is that of class 1 against class 0, by a sigmoid.

    Returns:
        ``loss(params, (x, y), key) -> (scalar, {"accuracy": scalar})``, where the most
        probable class is the right one; with a state, ``loss(params, (x, y), key,
        state) -> (scalar, {"accuracy": scalar}, new state)``. Sums are made in float32
        at least. A label that is no class raises ``ValueError`` where it is known, and
        makes the loss NaN where it is traced.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import model, nn, training
        >>> layers = (nn.Dense(2, 8), nn.BatchNorm(8), nn.Activation(jnp.tanh))
        >>> net = model.Sequential((*layers, nn.Dense(8, 2)))
        >>> x = jax.random.normal(jax.random.key(0), (64, 2))
        >>> labels = (x[:, 0] * x[:, 1] > 0).astype(int)
        >>> fit = training.fit(
        ...     training.classification(net.apply), net.init(jax.random.key(1)),
        ...     (x, labels), state=net.initial_state(), optimizer="adam",
        ...     learning_rate=1e-2, steps=100, key=jax.random.key(2))
        >>> bool(fit.history.loss[-1] < 0.5 * fit.history.loss[0])
        True
        >>> plain, params = nn.fold_batch_norm(net, fit.params, fit.state)
        >>> plain.apply(params, x).shape
        (64, 2)
    """

    return from_measure(apply, measure_classes, check_classes)


def on_batch(
    loss: Loss, batch: Batch, key: Array | None = None, *, state: State | None = None
) -> Callable[[Params], Float[Array, ""]]:
    """Return the loss on one fixed batch as a function of the parameters alone, sans
    metrics.

    Args:
        loss: of a model, with a state or without.
        batch: what the loss takes.
        key: drives what is random; with a state, also whether this is training.
        state: the model's state, if it has one; it stays.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> loss = training.regression(lambda w, x: x * w)
        >>> f = training.on_batch(loss, (jnp.arange(3.0), jnp.arange(3.0)))
        >>> float(f(1.0))
        0.0
    """

    def value(params: Params) -> Float[Array, ""]:
        return value_metrics_and_state(loss, params, batch, key, state)[0]

    return value


def value_and_metrics(
    loss: Loss, params: Params, batch: Batch, key: Array | None
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Call a loss of either kind; the metrics of a plain scalar loss are ``{}``.

    Raises:
        TypeError: if the loss gives neither a real scalar nor ``(scalar, dict)``.
        ValueError: if its value is an array.
    """
    return value_metrics_and_state(loss, params, batch, key, None)[:2]


def value_metrics_and_state(
    loss: Loss, params: Params, batch: Batch, key: Array | None, state: State | None
) -> tuple[Float[Array, ""], dict[str, Array], State | None]:
    """Call a loss of any kind; it is given a state unless that is None.

    Raises:
        TypeError: if the loss gives neither a real scalar nor ``(scalar, dict)``, or,
            with a state, no ``(scalar, dict, state)`` with a state like the one given.
        ValueError: if its value is an array.
    """
    after: Any = None
    if state is None:
        out = loss(params, batch, key)
        value: Any = out
        metrics: Any = {}
        if isinstance(out, tuple) and len(out) == 2:
            value, metrics = out
    else:
        out = loss(params, batch, key, state)
        if not isinstance(out, tuple) or len(out) != 3:
            raise TypeError(
                "with a state, a loss must return (scalar, metrics, state); got "
                f"{jax.tree.structure(out)}."
            )
        value, metrics, after = out
        _check_like(after, state)
    is_leaf = jax.tree.structure(value) == jax.tree.structure(0)
    if not is_leaf or not isinstance(metrics, dict):
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
    metrics = {name: jnp.asarray(metric) for name, metric in metrics.items()}
    return value, metrics, after


def with_key(apply: Callable[..., Array]) -> Callable[[Params, Any, Any], Array]:
    """``call(params, x, key)`` that hands the key on only if ``apply`` takes one."""
    if _takes(apply, "key"):
        return lambda params, x, key: apply(params, x, key=key)
    return lambda params, x, key: apply(params, x)


def check_data(loss: Loss, params: Params, data: Any, state: State | None) -> None:
    """Let a loss look at all targets before anything is compiled.

    Within a compiled step targets are traced, and no check sees them. Of the
    parameters and the state shapes are enough.

    Raises:
        ValueError: if targets are none that the loss can take.
    """
    check = getattr(loss, "check_data", None)
    if check is not None:
        check(params, data, state)


def measure_classes(logits: Array, y: Any) -> tuple[Array, dict[str, Array]]:
    """Return the mean cross entropy of logits, and the accuracy."""
    logits = _at_least_float32(logits)
    labels = jnp.asarray(y)
    if labels.shape == logits.shape and jnp.issubdtype(labels.dtype, jnp.floating):
        if logits.shape[-1] == 1:
            labels = jnp.concatenate([1 - labels, labels], axis=-1)
            logits = two_logits(logits)
        log_p = jax.nn.log_softmax(logits)
        # 0 log 0 is 0, of classes that logits of -inf leave out.
        each = -jnp.sum(jnp.where(labels == 0, 0, labels * log_p), axis=-1)
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


def check_classes(logits: jax.ShapeDtypeStruct, y: Any) -> None:
    """Check that integer targets are classes that the logits have."""
    if jnp.issubdtype(jnp.result_type(y), jnp.integer):
        checks.check_labels(y, max(2, logits.shape[-1]))


def from_measure(
    apply: Callable[..., Any],
    measure: Callable[..., Any],
    check_targets: Callable[[jax.ShapeDtypeStruct, Any], None] | None = None,
) -> Loss:
    """Return a loss that measures predictions against targets, with a state or
    without.
    """
    call = with_key(apply)
    takes_state = _takes(apply, "state")

    def predict(params: Params, x: Any, key: Array | None, state: Any) -> Any:
        if state is None or not takes_state:
            return call(params, x, key), state
        train = key is not None
        return apply(params, x, state=state, key=key, train=train)

    def loss(
        params: Params, batch: Batch, key: Array | None = None, state: Any = None
    ) -> Any:
        x, y = batch
        prediction, after = predict(params, x, key, state)
        measured = measure(prediction, y)
        return measured if state is None else (*measured, after)

    if check_targets is None:
        return loss

    def check_all(params: Params, data: Batch, state: Any) -> None:
        x, y = data
        prediction, _ = jax.eval_shape(
            lambda params, x, state: predict(params, x, None, state), params, x, state
        )
        check_targets(prediction, y)

    loss.check_data = check_all  # pyright: ignore[reportFunctionMemberAccess]
    return loss


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether there is a keyword argument of this name."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def _check_like(after: State, before: State) -> None:
    """Check that a new state has the structure, shapes and types of the old one."""

    def describe(tree: State) -> Any:
        return jax.tree.map(lambda a: (jnp.shape(a), jnp.asarray(a).dtype), tree)

    if describe(after) != describe(before):
        raise TypeError(
            "a loss must return a state with the structure, shapes and types of the "
            f"one it got, {describe(before)}; got {describe(after)}."
        )


def _at_least_float32(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
