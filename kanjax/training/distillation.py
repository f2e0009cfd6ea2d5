"""Losses that make a network follow another: knowledge distillation.

Source: Hinton, Vinyals, Dean (2015), Distilling the knowledge in a neural network,
arXiv:1503.02531.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks
from kanjax.training import losses


def kl_divergence(
    logits: Float[ArrayLike, "*batch classes"],
    other: Float[ArrayLike, "*batch classes"],
    *,
    temperature: float = 1.0,
) -> Float[Array, "*batch"]:
    """Return KL(p || q) of two distributions over classes, for each example.

    Distillation calls it forward with the teacher first (the student covers all that
    the teacher allows), and reverse with the student first (it seeks one mode). Order
    matters: PyTorch's ``kl_div(input, target)`` is KL(target || input).

    Args:
        logits: (..., classes) of p, the distribution that is averaged over. Classes
            with the logit -inf have probability 0 and add nothing.
        other: (..., classes) of q. Where q is 0 and p is not, the result is inf.
        temperature: both logits are divided by it before the softmax.

    Returns:
        (...) in nats, summed in float32 at least.

    Raises:
        ValueError: for shapes that differ, fewer than two classes, or a temperature
            that is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import training
        >>> teacher = jnp.log(jnp.array([0.5, 0.5]))
        >>> student = jnp.log(jnp.array([0.75, 0.25]))
        >>> round(float(training.kl_divergence(teacher, student)), 4)
        0.1438
        >>> round(float(training.kl_divergence(student, teacher)), 4)
        0.1308
    """
    checks.check_positive("temperature", temperature)
    logits, other = jnp.asarray(logits), jnp.asarray(other)
    if logits.shape != other.shape:
        raise ValueError(
            f"logits have shape {logits.shape} and other {other.shape}: both must be "
            "(..., classes), of the same examples and classes."
        )
    if logits.ndim == 0 or logits.shape[-1] < 2:
        raise ValueError(
            f"logits have shape {logits.shape}: a distribution needs at least two "
            "classes; give a single logit z as [0, z]."
        )
    dtype = jnp.promote_types(jnp.result_type(logits, other), jnp.float32)
    log_p = jax.nn.log_softmax(logits.astype(dtype) / temperature)
    log_q = jax.nn.log_softmax(other.astype(dtype) / temperature)
    # 0 log 0 is 0. Both selections are needed: the inner one keeps -inf - (-inf) out of
    # the derivative.
    possible = log_p > -jnp.inf
    ratio = jnp.where(possible, log_p, 0) - jnp.where(possible, log_q, 0)
    return jnp.sum(jnp.where(possible, jnp.exp(log_p) * ratio, 0), axis=-1)


def knowledge_distillation(
    apply: Callable[..., Array], *, temperature: float = 4.0, weight: float = 0.9
) -> losses.Loss:
    """Return the loss of a student that learns from labels and a teacher's logits.

    ``(1 - weight) cross_entropy + weight temperature^2 KL(teacher || student)``, in
    the mean over examples. The square keeps the gradient of the second term of one
    size at all temperatures.

    The teacher's logits are data, computed once: ``y`` is ``(labels, logits)``. A
    teacher may be the mean of an ensemble, or a network of another kind or library.

    Args:
        apply: as for :func:`kanjax.training.classification`, with at least two logits.
        temperature: what softens both distributions.
        weight: of the teacher, from 0 (labels alone) to 1 (teacher alone).

    Returns:
        A loss as from :func:`kanjax.training.classification`, of batches
        ``(x, (labels, logits))``; metrics: ``accuracy``, by the labels, and
        ``agreement``, the share of examples where student and teacher name one class.

    Raises:
        ValueError: for a temperature that is not positive, a weight outside of [0, 1],
            or, when called, for a teacher's logits of another shape than the student's.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import training
        >>> x = jax.random.normal(jax.random.key(0), (64, 2))
        >>> teacher = jnp.stack([x[:, 0], -x[:, 0]], axis=1)
        >>> labels = jnp.argmax(teacher, axis=1)
        >>> loss = training.knowledge_distillation(lambda w, x: x @ w, temperature=2.0)
        >>> fit = training.fit(
        ...     loss, jnp.zeros((2, 2)), (x, (labels, teacher)), optimizer="adam",
        ...     learning_rate=0.1, steps=100, key=jax.random.key(1))
        >>> float(fit.history.metrics["agreement"][-1])
        1.0
    """
    checks.check_positive("temperature", temperature)
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must lie between 0 and 1; got {weight!r}.")

    def measure(logits: Array, y: Any) -> tuple[Array, dict[str, Array]]:
        labels, teacher = y
        from_labels, metrics = losses.measure_classes(logits, labels)
        divergence = kl_divergence(teacher, logits, temperature=temperature)
        agree = jnp.argmax(logits, axis=-1) == jnp.argmax(teacher, axis=-1)
        metrics["agreement"] = jnp.mean(agree, dtype=from_labels.dtype)
        from_teacher = temperature**2 * jnp.mean(divergence)
        return (1 - weight) * from_labels + weight * from_teacher, metrics

    def check_targets(logits: jax.ShapeDtypeStruct, y: Any) -> None:
        losses.check_classes(logits, y[0])

    return losses.from_measure(apply, measure, check_targets)
