"""The diagonal of the Fisher information matrix, in blocks and over streams.

As Matena, Raffel (2021), arXiv 2111.09832, weigh networks by it: gradients of the log
likelihood are squared for each example and each label by itself. The square of a
batch's gradient is another and much smaller thing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, persample, pytrees
from kanjax.training.metrics import two_logits

Params = pytrees.Params
Likelihood = Literal["categorical", "bernoulli", "gaussian"]
Labels = Literal["exact", "sampled", "empirical"]
Apply = Callable[[Params, Any], Array]


def diagonal_fisher(
    apply: Apply,
    params: Params,
    x: Any,
    *,
    y: Array | None = None,
    labels: Labels = "exact",
    likelihood: Likelihood = "categorical",
    samples: int = 1,
    sigma: ArrayLike = 1.0,
    key: Array | None = None,
    batch_size: int | None = None,
) -> Params:
    """Compute the diagonal of the Fisher information matrix.

    ``F = 1/n sum_i E_y (d log p(y | x_i) / d params)^2``, squared example by example
    before the sum. Switch off dropout and augmentation in ``apply``.

    Args:
        apply: ``apply(params, x)`` with outputs (examples, ..., classes), each example
            by itself. Axes between are positions whose labels are independent.
        params: a pytree of real floating-point arrays.
        x: a pytree of arrays with a leading axis of n examples.
        y: labels for ``"empirical"``: integers (n, ...) for a categorical likelihood,
            otherwise of the outputs' shape.
        labels: ``"exact"`` takes the expectation over the model's own distribution, by
            one gradient for each output; ``"sampled"`` draws labels from it;
            ``"empirical"`` takes ``y``, another quantity, equal only where the labels
            come from the model.
        likelihood: ``"categorical"`` for logits (a single one is that of class 1),
            ``"bernoulli"`` for logits of independent events, ``"gaussian"`` for means.
        samples: how many labels are drawn for each example.
        sigma: the Gaussian's standard deviation, a scalar or of the shape of one
            example's outputs.
        key: draws the labels of ``"sampled"``.
        batch_size: examples at once; None takes as many as have gradients of 64 MiB.

    Returns:
        Like ``params``, at least 0, in float32 at least. It can be differentiated,
        but for drawn labels, which are held fixed.

    Raises:
        TypeError: if parameters are not real floating point, or classes no integers.
        ValueError: for an unknown option, missing ``y`` or ``key``, or a label that is
            no class.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax.symmetry import fisher_information
        >>> x = jnp.array([[1.0], [3.0]])
        >>> logits = lambda w, x: w * x  # of class 1, p = 1/2
        >>> fisher = fisher_information.diagonal_fisher(logits, jnp.array(0.0), x)
        >>> round(float(fisher), 4)
        1.25
    """
    checks.check_real(params, "params")
    _check_options(labels, likelihood, samples, y, key)
    outputs = jax.eval_shape(lambda p, x: _output(apply, p, x), params, _first(x))
    if labels == "exact":
        scores = jax.eval_shape(lambda o: _scores(likelihood, o, sigma), outputs)

        def exact(k: Array) -> Params:
            def score(params: Params, batch: Any, _: Any) -> Float[Array, ""]:
                return _scores(likelihood, _output(apply, params, batch), sigma)[k]

            return _mean_square(score, params, x, batch_size, likelihood)

        return _sum_over(exact, scores.shape[0])
    if labels == "empirical":
        target = jnp.asarray(y)
        _check_targets(target, outputs.shape, likelihood)

        def log_likelihood(params: Params, batch: Any, _: Any) -> Float[Array, ""]:
            out = _output(apply, params, batch[0])
            return _log_likelihood(likelihood, out, batch[1][0], sigma)

        return _mean_square(log_likelihood, params, (x, target), batch_size)
    assert key is not None
    count = jax.tree.leaves(x)[0].shape[0]

    def drawn(s: Array) -> Params:
        def score(params: Params, batch: Any, _: Any) -> Float[Array, ""]:
            out = _output(apply, params, batch[0])
            label = _draw(likelihood, lax.stop_gradient(out), sigma, batch[1][0])
            return _log_likelihood(likelihood, out, label, sigma)

        keys = jax.random.split(jax.random.fold_in(key, s), count)
        return _mean_square(score, params, (x, keys), batch_size)

    return jax.tree.map(lambda f: f / samples, _sum_over(drawn, samples))


def stream_mean(
    function: Callable[..., Any], batches: Iterable[Any], *, key: Array | None = None
) -> Any:
    """Average what is a mean over examples, over batches of which one is held.

    Args:
        function: ``function(batch)``, or ``function(batch, key)`` if there is a key,
            giving a pytree of means over the batch's examples; compile it with
            ``jax.jit``. A Fisher diagonal is such a mean, and a Gram matrix.
        batches: pytrees of arrays with a leading axis of examples, of any lengths.
        key: gives each batch one of its own.

    Raises:
        ValueError: if there is no batch, or one of no examples.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax.symmetry import fisher_information
        >>> x = jnp.array([[1.0], [3.0], [5.0]])
        >>> fisher = jax.jit(lambda batch: fisher_information.diagonal_fisher(
        ...     lambda w, x: w * x, jnp.array(0.0), batch, likelihood="gaussian"))
        >>> float(fisher_information.stream_mean(fisher, [x[:2], x[2:]]))
        11.666666984558105
    """
    total, count = None, 0
    for i, batch in enumerate(batches):
        rows = jnp.shape(jax.tree.leaves(batch)[0])[0]
        if rows == 0:
            raise ValueError(f"batch {i} has no examples.")
        args = () if key is None else (jax.random.fold_in(key, i),)
        value = function(batch, *args)
        count += rows
        share = rows / count
        total = (
            value
            if total is None
            else jax.tree.map(lambda a, b, s=share: a + (b - a) * s, total, value)
        )
    if total is None:
        raise ValueError("batches is empty; give at least one batch.")
    return total


def _scores(
    likelihood: Likelihood, outputs: Array, sigma: ArrayLike
) -> Float[Array, " scores"]:
    """Functions whose squared gradients, times _weight, add up to the Fisher diagonal.

    Positions add up, since the gradient of a log likelihood has mean zero at each.
    """
    if likelihood == "categorical":
        return jax.nn.log_softmax(two_logits(outputs)).ravel()
    if likelihood == "bernoulli":
        return outputs.ravel()
    return (outputs / sigma).ravel()


def _weight(likelihood: Likelihood, score: Array) -> ArrayLike:
    """Return the expectation over labels: p of a class, p (1 - p) of an event.

    It comes from the score's value and is not held fixed, so that the Fisher diagonal
    has the right gradient itself.
    """
    if likelihood == "categorical":
        return jnp.exp(score)
    if likelihood == "bernoulli":
        return jax.nn.sigmoid(score) * jax.nn.sigmoid(-score)
    return 1.0


def _log_likelihood(
    likelihood: Likelihood, outputs: Array, y: Array, sigma: ArrayLike
) -> Float[Array, ""]:
    """``log p(y)`` of one example, up to what does not depend on the outputs."""
    if likelihood == "categorical":
        log_p = jax.nn.log_softmax(two_logits(outputs))
        each = jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
        # A negative label would count from the last class.
        return jnp.sum(jnp.where((y >= 0) & (y < log_p.shape[-1]), each, jnp.nan))
    if likelihood == "bernoulli":
        return jnp.sum(y * outputs - jax.nn.softplus(outputs))
    return -jnp.sum(((y - outputs) / sigma) ** 2) / 2


def _draw(
    likelihood: Likelihood, outputs: Array, sigma: ArrayLike, key: Array
) -> Array:
    """Return a label of the network's own distribution for one example."""
    if likelihood == "categorical":
        return jax.random.categorical(key, two_logits(outputs))
    if likelihood == "bernoulli":
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)
    noise = jax.random.normal(key, outputs.shape, outputs.dtype)
    return outputs + sigma * noise


def _mean_square(
    score: Callable[..., Array],
    params: Params,
    data: Any,
    batch_size: int | None,
    expected: Likelihood | None = None,
) -> Params:
    """Return the mean over examples of a score's squared gradient, weighted if
    expected.
    """

    def square(value: Array, gradient: Params) -> Params:
        weight = 1.0 if expected is None else _weight(expected, value)
        return jax.tree.map(lambda g: weight * jnp.square(_wide(g)), gradient)

    return persample.mean(square, score, params, data, batch_size=batch_size)


def _sum_over(term: Callable[[Array], Params], count: int) -> Params:
    """Return the sum of ``term(0)`` to ``term(count - 1)``, one after the other."""

    def add(total: Params, k: Array) -> tuple[Params, None]:
        return jax.tree.map(jnp.add, total, term(k)), None

    shapes = jax.eval_shape(term, jnp.array(0))
    start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.scan(add, start, jnp.arange(count))[0]


def _output(apply: Apply, params: Params, batch: Any) -> Array:
    """Return what a network puts out for a batch of one, in float32 at least."""
    outputs = apply(params, batch)
    if outputs.ndim < 1 or outputs.shape[0] != 1:
        raise ValueError(
            f"apply gives shape {outputs.shape} for a batch of one example; its "
            "outputs must have a leading axis of examples, of length 1."
        )
    return _wide(outputs[0])


def _first(x: Any) -> Any:
    for leaf in jax.tree.leaves(x):
        if jnp.ndim(leaf) == 0 or jnp.shape(leaf)[0] == 0:
            raise ValueError(
                "x must be a pytree of arrays with a leading axis of at least one "
                f"example; got shape {jnp.shape(leaf)}."
            )
    return jax.tree.map(lambda leaf: leaf[:1], x)


def _wide(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _check_options(
    labels: str, likelihood: str, samples: int, y: Array | None, key: Array | None
) -> None:
    for name, value, choices in (
        ("labels", labels, get_args(Labels)),
        ("likelihood", likelihood, get_args(Likelihood)),
    ):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}; it must be one of {choices}.")
    if samples < 1:
        raise ValueError(f"samples must be at least 1; got {samples}.")
    if (labels == "empirical") != (y is not None):
        raise ValueError(
            f"labels={labels!r} {'needs' if y is None else 'takes no'} y; labels that "
            "are known belong to labels='empirical' alone."
        )
    if (labels == "sampled") != (key is not None):
        raise ValueError(
            f"labels={labels!r} {'needs a' if key is None else 'takes no'} key; "
            "only labels='sampled' draws anything."
        )


def _check_targets(y: Array, shape: tuple[int, ...], likelihood: Likelihood) -> None:
    """Labels must fit the outputs of one example."""
    if likelihood == "categorical":
        checks.check_labels(y, max(shape[-1], 2))
        shape = shape[:-1]
    if y.shape[1:] != shape:
        raise ValueError(
            f"y has shape {y.shape}; for a {likelihood} likelihood of these outputs it "
            f"must be (examples, *{shape})."
        )
