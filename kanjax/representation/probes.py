"""What a representation holds: how well labels are read off it, and in how many
directions it varies.

Linear probe and nearest neighbors as self-supervised features are judged by, Zbontar et
al. (2021), arXiv 2103.03230, and Wu, Xiong, Yu, Lin (2018), arXiv 1805.01978.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks, linalg, training
from kanjax.representation import equiangular, samples


class LinearProbe(NamedTuple):
    """A linear classifier of features.

    Attributes:
        kernel: (features, classes).
        bias: (classes,).
    """

    kernel: Float[Array, "features classes"]
    bias: Float[Array, " classes"]


def fit_linear_probe(
    x: Float[Array, "n features"],
    labels: Int[Array, " n"],
    classes: int,
    *,
    key: Array,
    steps: int = 1000,
    learning_rate: float = 0.3,
    weight_decay: float = 1e-6,
    batch_size: int | None = None,
) -> LinearProbe:
    """Train a linear classifier on features that stay.

    Gradient descent with momentum 0.9 and a rate that falls to 0 as half a cosine, from
    zeros, as the loss is convex. Works under ``jit`` and ``vmap``, over features,
    labels and keys.

    Args:
        x: (n, features), such as an encoder's outputs.
        labels: (n,) integers from 0.
        classes: how many there are.
        key: draws batches.
        steps: of gradient descent.
        learning_rate: the first; the longer the features, the smaller it must be.
        weight_decay: added to the gradient, of weights and biases.
        batch_size: examples of a step; all if None. The paper's is 256.

    Raises:
        ValueError: if labels are no classes, or do not fit x.
    """
    x = _features(x, labels)
    checks.check_labels(labels, classes)
    zeros = jnp.zeros((x.shape[1], classes), x.dtype)
    probe, _ = training.descend(
        training.classification(logits),
        LinearProbe(zeros, zeros[0]),
        (x, labels),
        key=key,
        optimizer=optax.chain(
            optax.add_decayed_weights(weight_decay),
            optax.sgd(optax.cosine_decay_schedule(learning_rate, steps), 0.9),
        ),
        steps=steps,
        batch_size=batch_size,
    )
    return probe


def logits(
    probe: LinearProbe, x: Float[Array, "*batch features"]
) -> Float[Array, "*batch classes"]:
    """Return a linear probe's logits.

    Args:
        probe: of :func:`fit_linear_probe`.
        x: (..., features).
    """
    y = x @ probe.kernel
    return y + jnp.broadcast_to(probe.bias, y.shape)


def predict_neighbors(
    x: Float[Array, "n features"],
    labels: Int[Array, " n"],
    classes: int,
    queries: Float[Array, "m features"],
    *,
    neighbors: int = 20,
    temperature: float = 0.07,
    batch_size: int | None = None,
) -> Int[Array, " m"]:
    """Return the class for which a query's nearest features vote.

    Nearest by cosine, each with the weight ``exp(cosine / temperature)``; of classes
    with equal votes the first.

    Args:
        x: (n, features), whose classes are known.
        labels: (n,) integers from 0.
        classes: how many there are.
        queries: (m, features).
        neighbors: how many vote, at most n.
        temperature: the smaller, the more the nearest ones weigh.
        batch_size: queries at once, so that no array of all by all is made; all if
            None.

    Raises:
        ValueError: if labels are no classes or do not fit x, the features differ in
            number, or there are fewer examples than neighbors.
    """
    x = _features(x, labels)
    checks.check_labels(labels, classes)
    if queries.ndim != 2 or queries.shape[1] != x.shape[1]:
        raise ValueError(
            f"queries has shape {queries.shape}; it must be (m, {x.shape[1]}), with as "
            "many features as x."
        )
    if not 1 <= neighbors <= len(x):
        raise ValueError(
            f"neighbors is {neighbors}; it must be from 1 to {len(x)}, the examples."
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}.")
    unit = equiangular.normalize(x)

    def vote(query: Array) -> Array:
        cosines, rows = jax.lax.top_k(unit @ equiangular.normalize(query), neighbors)
        # From the nearest: no exponential overflows.
        weights = jnp.exp((cosines - cosines[0]) / temperature)
        return jnp.argmax(jnp.zeros(classes).at[labels[rows]].add(weights))

    return jax.lax.map(vote, queries, batch_size=batch_size or len(queries))


def effective_rank(x: ArrayLike) -> Float[Array, ""]:
    """Return in how many directions features vary.

    The exponential of the entropy of their covariance's eigenvalues; at most the number
    of features, or of samples less one. NaN for constant features.

    Args:
        x: (..., features); all axes but the last are samples.
    """
    rows = samples.center(samples.as_rows(x))
    return linalg.effective_rank(jnp.linalg.svd(rows, compute_uv=False) ** 2)


def _features(x: Array, labels: Array) -> Array:
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"x has shape {x.shape} and labels {labels.shape}; they must be (n, "
            "features) and (n,)."
        )
    return checks.as_floating(x)
