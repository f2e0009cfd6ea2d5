"""Networks whose hidden layer is trained a few units at a time, by gradient boosting.

Emami, Martinez-Munoz (2019), Sequential Training of Neural Networks with Gradient
Boosting, arXiv 1909.12098, whose published code decided where the text leaves a choice.
Each step fits a network of a few hidden units to what is left to explain. The sum of
all is one network with one hidden layer, of which the units added last can be switched
off.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Float, Int

from kanjax import checks, nn
from kanjax.nn.checks import check_positive

# Of a share of a class, so that its logit is finite; and of a curvature.
_LEAST = 1e-6


class Boosted(NamedTuple):
    """A sum of small networks, ``start + rate sum_t step_t h_t(x)``.

    Attributes:
        start: (outputs,), the constant that boosting begins with.
        kernel: (steps, features, units), of the hidden units.
        bias: (steps, units).
        out_kernel: (steps, units, outputs), with the rate and Newton's step in it.
        out_bias: (steps, outputs), so too.
    """

    start: Float[Array, " outputs"]
    kernel: Float[Array, "steps features units"]
    bias: Float[Array, "steps units"]
    out_kernel: Float[Array, "steps units outputs"]
    out_bias: Float[Array, "steps outputs"]


class BoostingLoss(NamedTuple):
    """What boosting asks of a loss; targets and sums F are (n, outputs).

    Attributes:
        targets: labels or values to targets.
        start: targets to the best constant (outputs,).
        value: (targets, F) to the mean loss.
        residual: (targets, F) to the negative slope of each example's loss in F.
        curvature: (targets, F) to the second derivative, its diagonal.
        probabilities: F to probabilities; F itself for values.
    """

    targets: Callable[[Array], Array]
    start: Callable[[Array], Array]
    value: Callable[[Array, Array], Array]
    residual: Callable[[Array, Array], Array]
    curvature: Callable[[Array, Array], Array]
    probabilities: Callable[[Array], Array]


def _binary_start(y: Array) -> Array:
    share = jnp.clip((1 + jnp.mean(y, axis=0)) / 2, _LEAST, 1 - _LEAST)
    return jnp.log(share / (1 - share)) / 2


def _checked(labels: Array, classes: int) -> Array:
    checks.check_labels(labels, classes)
    return labels


def _softmax_value(y: Array, f: Array) -> Array:
    return jnp.mean(optax.softmax_cross_entropy(f, y))


def squared() -> BoostingLoss:
    """Describe ``(y - F)^2 / 2`` for values (n,) or (n, outputs)."""
    return BoostingLoss(
        targets=lambda y: checks.as_floating(y).reshape(len(y), -1),
        start=lambda y: jnp.mean(y, axis=0),
        value=lambda y, f: jnp.mean(jnp.sum((y - f) ** 2, axis=1)) / 2,
        residual=lambda y, f: y - f,
        curvature=lambda y, f: jnp.ones_like(f),
        probabilities=lambda f: f,
    )


def binary() -> BoostingLoss:
    """Describe ``log(1 + exp(-2 y F))`` for labels 0 and 1, y = -1 and 1."""
    return BoostingLoss(
        targets=lambda labels: 2.0 * _checked(labels, 2)[:, None] - 1,
        start=_binary_start,
        value=lambda y, f: jnp.mean(jax.nn.softplus(-2 * y * f)),
        # 2 y / (1 + exp(2 y F)), which would overflow as it stands.
        residual=lambda y, f: 2 * y * jax.nn.sigmoid(-2 * y * f),
        curvature=lambda y, f: 4 * jax.nn.sigmoid(2 * f) * jax.nn.sigmoid(-2 * f),
        probabilities=lambda f: jax.nn.sigmoid(2 * f),
    )


def multiclass(classes: int) -> BoostingLoss:
    """Describe the cross-entropy of a softmax for labels from 0 to classes - 1.

    Args:
        classes: how many there are, at least 2.

    Raises:
        ValueError: if there are fewer than two.
    """
    if classes < 2:
        raise ValueError(f"classes must be at least 2; got {classes}.")
    softmax = functools.partial(jax.nn.softmax, axis=-1)
    return BoostingLoss(
        targets=lambda labels: jax.nn.one_hot(_checked(labels, classes), classes),
        start=lambda y: jnp.zeros(classes, y.dtype),
        value=_softmax_value,
        residual=lambda y, f: y - softmax(f),
        curvature=lambda y, f: softmax(f) * (1 - softmax(f)),
        probabilities=softmax,
    )


def newton_step(
    loss: BoostingLoss, y: Array, f: Array, h: Float[Array, "n outputs"]
) -> Float[Array, ""]:
    """Return how far to go along h by one Newton step of the loss from F.

    ``sum h r / sum h^2 l''``: exact for one output; of several the diagonal of the
    Hessian counts alone, as published.

    Args:
        loss: the loss.
        y: (n, outputs), targets.
        f: (n, outputs), the sum so far.
        h: (n, outputs), the direction.
    """
    slope = jnp.sum(h * loss.residual(y, f))
    curvature = jnp.sum(h**2 * loss.curvature(y, f))
    # Where all examples are certain there is nothing left to do.
    least = _LEAST * jnp.sum(h**2)
    return jnp.where(curvature > least, slope / jnp.maximum(curvature, least), 0.0)


def fit(
    loss: BoostingLoss,
    x: Float[Array, "n features"],
    y: Array,
    *,
    key: Array,
    steps: int = 100,
    units: int = 1,
    rate: float = 1.0,
    subsample: float = 0.5,
    max_iterations: int = 200,
    l2: float = 1e-4,
    exact_outputs: bool = False,
) -> Boosted:
    """Train a network of ``steps * units`` hidden units, ``units`` at a time.

    One scan over the steps: it runs under ``jit``, and under ``vmap`` over keys and
    data. Hidden units are logistic.

    Args:
        loss: such as :func:`squared`, :func:`binary` or :func:`multiclass`.
        x: (n, features), standardized.
        y: (n,) labels, or values (n,) or (n, outputs), standardized.
        key: of the subsamples and of the weights' starts.
        steps: how many small networks.
        units: hidden units of each.
        rate: the share of Newton's step that is taken.
        subsample: the share of examples that each network is fitted to, drawn without
            replacement.
        max_iterations: of L-BFGS for each network.
        l2: the penalty ``l2 / (2 n) |weights|^2``, in scikit-learn's convention.
        exact_outputs: whether the output weights of each network are then replaced by
            the best ones, by least squares. With all examples and squared errors the
            loss cannot rise then.

    Raises:
        ValueError: for shapes that do not fit, labels that are no classes, or numbers
            out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.linspace(-2, 2, 100)[:, None]
        >>> boosted = fit(squared(), x, jnp.sin(2 * x[:, 0]), key=jax.random.key(0),
        ...     steps=20, rate=0.5)
        >>> apply(boosted, x).shape, apply(boosted, x, active=5).shape
        ((100, 1), (100, 1))
    """
    check_positive(steps=steps, units=units, max_iterations=max_iterations)
    for name, value in (("rate", rate), ("subsample", subsample)):
        if not (0 <= value <= 1) or (name == "subsample" and value == 0):
            raise ValueError(f"{name} must be in (0, 1]; got {value}.")
    x = checks.as_floating(x)
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"x must have shape (n, features) for n={len(y)} targets; got {x.shape}."
        )
    targets = loss.targets(jnp.asarray(y)).astype(x.dtype)
    count = max(1, round(subsample * len(x)))
    start = loss.start(targets)

    def step(f: Array, step_key: Array) -> tuple[Array, Boosted]:
        rows_key, start_key = jax.random.split(step_key)
        residual = loss.residual(targets, f)
        rows = jnp.arange(len(x))
        if count < len(x):
            rows = jax.random.permutation(rows_key, len(x))[:count]
        params = _initial(start_key, x.shape[1], units, f.shape[1], x.dtype)
        objective = functools.partial(_objective, x[rows], residual[rows], l2)
        params = _minimize(objective, params, max_iterations)
        if exact_outputs:
            params = _with_best_outputs(params, x[rows], residual[rows])
        h = _network(x, **params)
        scale = rate * newton_step(loss, targets, f, h)
        network = Boosted(
            start,
            params["kernel"],
            params["bias"],
            scale * params["out_kernel"],
            scale * params["out_bias"],
        )
        return f + scale * h, network

    f = jnp.broadcast_to(start, targets.shape).astype(x.dtype)
    _, networks = lax.scan(step, f, jax.random.split(key, steps))
    return networks._replace(start=start)


def apply(
    boosted: Boosted, x: Float[Array, "*batch features"], *, active: Any = None
) -> Float[Array, "*batch outputs"]:
    """Return the sum's values, or that of the first networks alone.

    Args:
        boosted: of :func:`fit`.
        x: (..., features).
        active: how many networks count, a number that may be traced; all if None.
    """
    boosted = boosted if active is None else switch_off(boosted, active)
    total = jnp.sum(_parts(boosted, checks.as_floating(x)), axis=0)
    return jnp.broadcast_to(boosted.start, total.shape) + total


def staged(
    boosted: Boosted, x: Float[Array, "*batch features"]
) -> Float[Array, "steps *batch outputs"]:
    """Return the sum's values after each step.

    Args:
        boosted: of :func:`fit`.
        x: (..., features).
    """
    sums = jnp.cumsum(_parts(boosted, checks.as_floating(x)), axis=0)
    return jnp.broadcast_to(boosted.start, sums.shape) + sums


def staged_losses(
    value: Callable[[Float[Array, "n outputs"]], Array],
    boosted: Boosted,
    x: Float[Array, "n features"],
) -> Float[Array, " losses"]:
    """Return a loss before the first step and after each, without storing the values.

    Args:
        value: the sum's values (n, outputs) to a number.
        boosted: of :func:`fit`.
        x: (n, features).
    """
    x = checks.as_floating(x)

    def step(f: Array, network: tuple[Array, ...]) -> tuple[Array, Array]:
        return f + _network(x, *network), value(f)

    start = jnp.broadcast_to(boosted.start, (len(x), len(boosted.start)))
    f, losses = lax.scan(step, start, tuple(boosted[1:]))
    return jnp.append(losses, value(f))


def switch_off(boosted: Boosted, active: int | Array) -> Boosted:
    """Return the same network with zeros for the outputs of those added last.

    Args:
        boosted: of :func:`fit`.
        active: how many networks count, a number that may be traced.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.linspace(-2, 2, 50)[:, None]
        >>> boosted = fit(squared(), x, x[:, 0] ** 2, key=jax.random.key(0), steps=4)
        >>> value = lambda f: jnp.mean((f[:, 0] - x[:, 0] ** 2) ** 2)
        >>> best = jnp.argmin(staged_losses(value, boosted, x))
        >>> apply(switch_off(boosted, best), x).shape
        (50, 1)
    """
    count = len(boosted.kernel)

    def kept(leaf: Array) -> Array:
        shape = (count, *(1,) * (leaf.ndim - 1))
        return jnp.where(jnp.arange(count).reshape(shape) < active, leaf, 0)

    return boosted._replace(
        out_kernel=kept(boosted.out_kernel), out_bias=kept(boosted.out_bias)
    )


def merge(
    boosted: Boosted, *, active: int | None = None, logit: bool = False
) -> tuple[nn.MLP, tuple[dict[str, Array], ...]]:
    """Return one network with one hidden layer that computes the same.

    Args:
        boosted: of :func:`fit`.
        active: how many of its networks count; the others' units are left out.
        logit: whether the outputs are doubled: those of :func:`binary` are then the
            logit of class 1, as losses here and scikit-learn take it.

    Returns:
        The model, and its parameters.

    Raises:
        ValueError: for a number of networks that there is not.
    """
    count, features, units = boosted.kernel.shape
    active = count if active is None else active
    if not 1 <= active <= count:
        raise ValueError(f"active must be 1 to {count}, the steps; got {active}.")
    factor = 2.0 if logit else 1.0
    first = jax.tree.map(lambda v: v[:active], boosted._replace(start=boosted.bias))
    outputs = boosted.start.shape[0]
    hidden = {
        "kernel": jnp.moveaxis(first.kernel, 0, 1).reshape(features, active * units),
        "bias": first.bias.reshape(active * units),
    }
    out = {
        "kernel": factor * first.out_kernel.reshape(active * units, outputs),
        "bias": factor * (boosted.start + jnp.sum(first.out_bias, axis=0)),
    }
    net = nn.MLP((features, active * units, outputs), jax.nn.sigmoid)
    return net, (hidden, out)


def predict(loss: BoostingLoss, boosted: Boosted, x: Array) -> Int[Array, " n"]:
    """Return the most probable class of each example.

    Args:
        loss: the one that was boosted, :func:`binary` or :func:`multiclass`.
        boosted: of :func:`fit`.
        x: (n, features).
    """
    p = loss.probabilities(apply(boosted, x))
    return (p[:, 0] > 0.5).astype(int) if p.shape[1] == 1 else jnp.argmax(p, axis=1)


def _parts(boosted: Boosted, x: Array) -> Float[Array, "steps *batch outputs"]:
    return jax.vmap(functools.partial(_network, x))(*boosted[1:])


def _network(
    x: Array, kernel: Array, bias: Array, out_kernel: Array, out_bias: Array
) -> Array:
    return _affine(jax.nn.sigmoid(_affine(x, kernel, bias)), out_kernel, out_bias)


def _affine(x: Array, kernel: Array, bias: Array) -> Array:
    y = x @ kernel
    return y + jnp.broadcast_to(bias, y.shape)


def _initial(
    key: Array, features: int, units: int, outputs: int, dtype: Any
) -> dict[str, Array]:
    """Draw uniformly, as scikit-learn does for logistic units; biases, too."""
    keys = jax.random.split(key, 4)
    inner, outer = (2 / (features + units)) ** 0.5, (2 / (units + outputs)) ** 0.5

    def draw(k: Array, shape: tuple[int, ...], bound: float) -> Array:
        return jax.random.uniform(k, shape, dtype, -bound, bound)

    return {
        "kernel": draw(keys[0], (features, units), inner),
        "bias": draw(keys[1], (units,), inner),
        "out_kernel": draw(keys[2], (units, outputs), outer),
        "out_bias": draw(keys[3], (outputs,), outer),
    }


def _objective(x: Array, residual: Array, l2: float, params: dict[str, Array]) -> Array:
    error = _network(x, **params) - residual
    # scikit-learn's squared error is a mean over outputs, too.
    penalty = jnp.sum(params["kernel"] ** 2) + jnp.sum(params["out_kernel"] ** 2)
    return jnp.mean(error**2) / 2 + l2 / (2 * len(x)) * penalty


def _minimize(
    objective: Callable[[Any], Array], params: dict[str, Array], most: int
) -> dict[str, Array]:
    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def going(carry: tuple[Any, Any, Array]) -> Array:
        _, state, i = carry
        gradient = optax.tree.get(state, "grad")
        # Nothing to gain: also keeps a fit of zeros from dividing by them.
        moves = optax.tree.norm(gradient) > 1e-9
        return (i < most) & ((i == 0) | moves)

    def descend(carry: tuple[Any, Any, Array]) -> tuple[Any, Any, Array]:
        params, state, i = carry
        value, gradient = value_and_grad(params, state=state)
        updates, state = solver.update(
            gradient, state, params, value=value, grad=gradient, value_fn=objective
        )
        return optax.apply_updates(params, updates), state, i + 1

    first = (params, solver.init(params), jnp.zeros((), jnp.int32))
    best, _, _ = lax.while_loop(going, descend, first)
    # A line search that fails may leave the reals; the start then stays.
    better = objective(best) <= objective(params)
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), best, params)


def _with_best_outputs(
    params: dict[str, Array], x: Array, residual: Array
) -> dict[str, Array]:
    hidden = jax.nn.sigmoid(_affine(x, params["kernel"], params["bias"]))
    design = jnp.concatenate([hidden, jnp.ones_like(hidden[:, :1])], axis=1)
    solution = jnp.linalg.lstsq(design, residual)[0]
    return params | {"out_kernel": solution[:-1], "out_bias": solution[-1]}
