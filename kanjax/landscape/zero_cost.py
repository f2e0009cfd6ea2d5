"""Scores of untrained networks that rank architectures without training them.

Zhang, Jia (2021), GradSign: Model Performance Inference with Theoretical Insights,
arXiv 2110.08616; the scores beside it as Abdelfattah et al. (2021), arXiv 2101.08134,
Mellor et al. (2020), arXiv 2006.04647, and Lin et al. (2021), arXiv 2102.01063, define
them. Higher is better, by the authors' signs.

All take any pure function and any pytree. A weight is a leaf with two axes or more:
kernels of dense layers and convolutions, and no biases or scales.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float

from kanjax import checks, linalg, persample
from kanjax.model import count_parameters
from kanjax.training import losses

Params = Any
Apply = Callable[[Params, Array], Array]
Select = Callable[[Array], bool]
"""Whether a leaf of the parameters counts."""

# As the authors' code adds to the eigenvalues of correlations.
_LEAST_EIGENVALUE = 1e-5


def is_weight(leaf: Array) -> bool:
    """Whether a leaf is a weight: it has two axes or more, as (in, out)."""
    return jnp.ndim(leaf) >= 2


def gradsign(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    select: Select = is_weight,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """Sum over coordinates how far the signs of the examples' gradients agree.

    ``sum_k |sum_i sign(dl_i / dtheta_k)|`` (Algorithm 1). Two examples whose gradients
    have one sign in a coordinate have their optima on one side of the start, and the
    nearer all optima, the lower the loss that training reaches. It lies between 0 and
    examples times weights; a zero gradient counts 0, and so does one that is NaN.

    Args:
        loss: as for :func:`kanjax.persample.losses`.
        params: untrained.
        data: a pytree of arrays with a leading example axis.
        select: which leaves count.
        batch_size: how many gradients at once; the result is the same for any.

    Raises:
        ValueError: as :func:`kanjax.persample.losses`, and if no leaf counts.

    Examples:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, batch, key: jnp.mean(batch @ w)
        >>> data = jnp.array([[1.0, -2, 0], [3, 4, -1], [-5, 6, -1]])
        >>> gradsign(loss, jnp.zeros((3, 1)), data)
        Array(4., dtype=float32)
    """

    def signs(_: Array, gradient: Params) -> list[Array]:
        # Integers to the largest float32 that counts by ones, 2^24 examples.
        return [jnp.nan_to_num(jnp.sign(g)) for g in _selected(gradient, select)]

    count = len(jax.tree.leaves(data)[0])
    means = persample.mean(signs, loss, params, data, batch_size=batch_size)
    sums = [jnp.abs(jnp.round(mean * count)) for mean in means]
    return _total(sums)


def pairwise_sign_agreement(
    gradients: Float[Array, "examples coordinates"],
) -> Float[Array, ""]:
    """Count the pairs of examples with one sign less those with two, in all places.

    ``sum_k ((sum_i s_ik)^2 - number of nonzero s_ik) / 2``: what :func:`gradsign`
    grows with, coordinate by coordinate.

    Args:
        gradients: (examples, coordinates), of each example's loss.
    """
    signs = jnp.sign(jnp.asarray(gradients))
    return jnp.sum(jnp.sum(signs, axis=0) ** 2 - jnp.sum(jnp.abs(signs), axis=0)) / 2


def mean_distance(optima: Float[Array, "examples coordinates"]) -> Float[Array, ""]:
    """Return the mean L1 distance of two examples' optima, as in the paper's Psi.

    ``(1 / n^2) sum_ij |theta_i - theta_j|_1``; Psi is this times the square root of a
    bound on the curvature.

    Args:
        optima: (examples, coordinates), where each example's loss is least.
    """
    # Sorted, coordinate k's pairs sum to 2 sum_i (2 i - n + 1) theta_(i).
    ordered = jnp.sort(jnp.asarray(optima), axis=0)
    n = len(ordered)
    ranks = 2 * jnp.arange(n) - n + 1
    return 2 * jnp.sum(ranks[:, None] * ordered) / n**2


def gradient_angle(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    select: Select = is_weight,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """Return the mean cosine of the examples' unit gradients with their mean.

    That is the length of the mean: 1 where all agree, 0 where they cancel.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
        batch_size: as for :func:`gradsign`.
    """

    def unit(_: Array, gradient: Params) -> list[Array]:
        leaves = _selected(gradient, select)
        length = optax.tree.norm(leaves)
        return [leaf / jnp.where(length > 0, length, 1) for leaf in leaves]

    return optax.tree.norm(
        persample.mean(unit, loss, params, data, batch_size=batch_size)
    )


def gradient_norm(
    loss: losses.Loss, params: Params, data: Any, *, select: Select = is_weight
) -> Float[Array, ""]:
    """Sum the norms of the weights' gradients of the mean loss, leaf by leaf.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
    """
    gradient = _selected(_gradient(loss, params, data), select)
    return _total([jnp.sqrt(jnp.sum(g**2)) for g in gradient])


def weight_norm(params: Params, *, select: Select = is_weight) -> Float[Array, ""]:
    """Sum the norms of the weights, leaf by leaf.

    Args:
        params: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
    """
    return _total([jnp.sqrt(jnp.sum(w**2)) for w in _selected(params, select)])


def plain(
    loss: losses.Loss, params: Params, data: Any, *, select: Select = is_weight
) -> Float[Array, ""]:
    """Sum weight times gradient, with its sign.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
    """
    return _total(_saliences(loss, params, data, select))


def snip(
    loss: losses.Loss, params: Params, data: Any, *, select: Select = is_weight
) -> Float[Array, ""]:
    """Sum ``|weight * gradient|``: the loss's slope in masks of the weights.

    Lee et al. (2018), arXiv 1810.02340.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
    """
    return _total([jnp.abs(s) for s in _saliences(loss, params, data, select)])


def grasp(
    loss: losses.Loss, params: Params, data: Any, *, select: Select = is_weight
) -> Float[Array, ""]:
    """Sum ``-weight * (H g)``: how masks of the weights change the gradient's norm.

    Wang et al. (2020), arXiv 2002.07376, with the sign of Abdelfattah et al.; H is the
    Hessian of the mean loss in the weights alone, g its gradient in them.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
    """
    product = linalg.hessian_product(losses.on_batch(loss, data), params)
    gradient = jax.tree.map(
        lambda p, g: g if select(p) else jnp.zeros_like(g),
        params,
        _gradient(loss, params, data),
    )
    pairs = zip(
        _selected(params, select), _selected(product(gradient), select), strict=True
    )
    return -_total([w * v for w, v in pairs])


def fisher(
    loss: losses.Loss,
    params: Params,
    data: Any,
    *,
    select: Select = is_weight,
    channel_axis: int = -1,
    batch_size: int | None = None,
) -> Float[Array, ""]:
    """Sum over weights the Fisher information of a mask of their output channel.

    With ``g_nc`` the slope of example n's share of the mean loss in a factor of channel
    c of a layer's output, ``sum_c fan_in_c / 2 mean_n g_nc^2`` (Theis et al. 2018,
    arXiv 1801.05787, as Abdelfattah et al. use it). Such a factor scales the channel's
    weights and bias, so the slope is read off the gradient in these. Leaves side by
    side in the pytree, with as many channels, belong to one layer.

    Args:
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: as for :func:`gradsign`.
        select: as for :func:`gradsign`.
        channel_axis: the weights' axis of output channels: the last in kanjax and flax,
            0 in equinox.
        batch_size: as for :func:`gradsign`.
    """
    number = len(jax.tree.leaves(data)[0])
    _selected(params, select)
    paths = jax.tree_util.tree_leaves_with_path(params)
    # Of each layer, by its place and channels: how many weights a channel has.
    fan_in: dict[Any, int] = {}
    for path, leaf in paths:
        if select(leaf):
            channels = leaf.shape[channel_axis]
            layer = path[:-1], channels
            fan_in[layer] = fan_in.get(layer, 0) + leaf.size // channels

    def squared(_: Array, gradient: Params) -> list[Array]:
        slopes = {layer: jnp.zeros(layer[1]) for layer in fan_in}
        for (path, leaf), g in zip(paths, jax.tree.leaves(gradient), strict=True):
            axis = channel_axis if select(leaf) else -1
            layer = path[:-1], leaf.shape[axis] if leaf.ndim else 0
            if layer in slopes:
                slopes[layer] += _by_channel(leaf * g, axis)
        return [(slope / number) ** 2 for slope in slopes.values()]

    means = persample.mean(squared, loss, params, data, batch_size=batch_size)
    return _total([n / 2 * m for n, m in zip(fan_in.values(), means, strict=True)])


def synflow(
    apply: Apply, params: Params, x: Array, *, select: Select = is_weight
) -> Float[Array, ""]:
    """Sum ``|weight * dR/dweight|``, R the outputs for ones through ``|params|``.

    Tanaka et al. (2020), arXiv 2006.05467. It grows as the product of all layers: in
    single precision a deep, wide network overflows to infinity; use double then.

    Args:
        apply: ``apply(params, x)``, without batch norm.
        params: as for :func:`gradsign`.
        x: any batch of inputs; only the shape of one counts.
        select: as for :func:`gradsign`.
    """
    ones = jnp.ones_like(x[:1])
    positive = jax.tree.map(jnp.abs, params)
    flow = jax.grad(lambda p: jnp.sum(apply(p, ones)))(positive)
    pairs = zip(_selected(positive, select), _selected(flow, select), strict=True)
    return _total([jnp.abs(w * g) for w, g in pairs])


def jacobian_covariance(
    apply: Apply, params: Params, x: Array, *, least: float = _LEAST_EIGENVALUE
) -> Float[Array, ""]:
    """Score how little the examples' input gradients correlate.

    ``-sum_i log(v_i + least) + 1 / (v_i + least)``, with v the eigenvalues of the
    correlations of the rows ``d(sum of outputs)/dx_n``; Mellor et al., first version.

    Args:
        apply: ``apply(params, x)``, each example by itself.
        params: as for :func:`gradsign`.
        x: (n, ...), inputs.
        least: what is added to the eigenvalues.
    """
    x = checks.as_floating(x)
    rows = jax.grad(lambda x: jnp.sum(apply(params, x)))(x).reshape(len(x), -1)
    values = jnp.linalg.eigvalsh(jnp.corrcoef(rows))
    shifted = jnp.maximum(values, 0) + least
    return -jnp.sum(jnp.log(shifted) + 1 / shifted)


def naswot(active: Sequence[Bool[Array, "n units"]]) -> Float[Array, ""]:
    """Return the log-determinant of how many units treat two inputs alike.

    Mellor et al. (2020), arXiv 2006.04647: ``K_ij`` counts the units that are active
    for both or for neither, all units less the Hamming distance of the codes. It is
    minus infinity where two inputs share all codes.

    Args:
        active: of each layer (n, ...), whether a unit is active for an input, such as
            ``z > 0`` of what enters a ReLU.

    Raises:
        ValueError: if there is no layer.
    """
    if not active:
        raise ValueError("active is empty; give the codes of at least one layer.")
    codes = jnp.concatenate([jnp.asarray(a).reshape(len(a), -1) for a in active], 1)
    on = (codes != 0).astype(jnp.float32)
    off = 1 - on
    return jnp.linalg.slogdet(on @ on.T + off @ off.T)[1]


def zen(
    apply: Apply, params: Params, x: Array, *, key: Array, step: float = 1e-2
) -> Float[Array, ""]:
    """Return the log of how far random steps of random inputs move the outputs.

    ``log mean |f(v) - f(v + step u)|``, v and u standard normal; Lin et al. (2021),
    arXiv 2102.01063, for networks without batch norm, whose variances it would add.

    Args:
        apply: ``apply(params, x)``.
        params: as for :func:`gradsign`.
        x: (n, ...): so many inputs of such a shape are drawn.
        key: for the inputs and steps.
        step: the length of a step.
    """
    inputs, steps = jax.random.normal(key, (2, *x.shape))
    moved = apply(params, inputs) - apply(params, inputs + step * steps)
    lengths = jnp.linalg.norm(moved.reshape(len(x), -1), axis=1)
    return jnp.log(jnp.mean(lengths))


def scores(
    apply: Apply,
    loss: losses.Loss,
    params: Params,
    data: tuple[Array, Array],
    *,
    key: Array,
    select: Select = is_weight,
    batch_size: int | None = None,
) -> dict[str, Float[Array, ""]]:
    """Return every score that a function and its parameters allow, by name.

    :func:`naswot` is not among them: it needs the units inside. "parameters" is their
    number, the baseline that a score has to beat.

    Args:
        apply: ``apply(params, x)``.
        loss: as for :func:`gradsign`.
        params: as for :func:`gradsign`.
        data: (x, y), one batch.
        key: for :func:`zen`.
        select: as for :func:`gradsign`.
        batch_size: as for :func:`gradsign`.
    """
    x, of_loss = data[0], (loss, params, data)
    blocks: dict[str, Any] = {"select": select, "batch_size": batch_size}
    return {
        "gradsign": gradsign(*of_loss, **blocks),
        "gradient angle": gradient_angle(*of_loss, **blocks),
        "gradient norm": gradient_norm(*of_loss, select=select),
        "weight norm": weight_norm(params, select=select),
        "plain": plain(*of_loss, select=select),
        "snip": snip(*of_loss, select=select),
        "grasp": grasp(*of_loss, select=select),
        "fisher": fisher(*of_loss, **blocks),
        "synflow": synflow(apply, params, x, select=select),
        "jacobian covariance": jacobian_covariance(apply, params, x),
        "zen": zen(apply, params, x, key=key),
        "parameters": jnp.asarray(count_parameters(params), jnp.float32),
    }


def _gradient(loss: losses.Loss, params: Params, data: Any) -> Params:
    return jax.grad(losses.on_batch(loss, data))(params)


def _saliences(
    loss: losses.Loss, params: Params, data: Any, select: Select
) -> list[Array]:
    gradient = _selected(_gradient(loss, params, data), select)
    return [w * g for w, g in zip(_selected(params, select), gradient, strict=True)]


def _selected(tree: Params, select: Select) -> list[Array]:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if select(leaf)]
    if not leaves:
        raise ValueError(
            "select takes none of the parameters' leaves; weights have two axes or "
            f"more, and the shapes are {[jnp.shape(v) for v in jax.tree.leaves(tree)]}."
        )
    return leaves


def _by_channel(values: Array, axis: int) -> Array:
    moved = jnp.moveaxis(values, axis, -1)
    return jnp.sum(moved, axis=tuple(range(moved.ndim - 1)))


def _total(values: Sequence[Array]) -> Float[Array, ""]:
    return jnp.sum(jnp.stack([jnp.sum(value) for value in values]))
