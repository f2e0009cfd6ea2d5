"""Parts of an empirical kernel, how it starts to move, and kernels by sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax.ntk import finite_width


class SampledKernel(NamedTuple):
    """Means over draws of the parameters, and their standard errors.

    Attributes:
        nngp: (n1, n2), of the product of outputs, averaged over outputs.
        ntk: (n1, n2), of the trace of the empirical kernel.
        nngp_error: (n1, n2).
        ntk_error: (n1, n2).
    """

    nngp: Float[Array, "n1 n2"]
    ntk: Float[Array, "n1 n2"]
    nngp_error: Float[Array, "n1 n2"]
    ntk_error: Float[Array, "n1 n2"]


def by_layer(
    apply: finite_width.Apply,
    params: finite_width.Params,
    x1: Any,
    x2: Any = None,
    **options: Any,
) -> Any:
    """Each parameter's share of the empirical kernel; they sum to the whole.

    Args:
        apply: as :func:`kanjax.ntk.empirical` takes it.
        params: a pytree of floating-point arrays.
        x1: (n1, ...).
        x2: (n2, ...), x1 if None.
        **options: those of :func:`kanjax.ntk.empirical`.

    Returns:
        The pytree of params with a kernel in the place of each leaf.
    """
    leaves, structure = jax.tree.flatten(params)

    def share(i: int) -> Array:
        def alone(leaf: Array, x: Any) -> Array:
            return apply(structure.unflatten([*leaves[:i], leaf, *leaves[i + 1 :]]), x)

        return finite_width.empirical(alone, leaves[i], x1, x2, **options)

    return structure.unflatten([share(i) for i in range(len(leaves))])


def first_order_drift(
    apply: finite_width.Apply,
    params: finite_width.Params,
    step: finite_width.Params,
    x: Any,
    **options: Any,
) -> Float[Array, ""]:
    """Return the relative change of the kernel along a step, to first order.

    ``|d Theta[step]|_F / |Theta|_F``: small against 1 where training is lazy. With the
    whole way of training as the step it is what :func:`kanjax.ntk.drift` would be, were
    the kernel linear in the parameters.

    Args:
        apply: as :func:`kanjax.ntk.empirical` takes it.
        params: where the step begins.
        step: a pytree like params, e.g. trained minus initial parameters.
        x: (n, ...).
        **options: those of :func:`kanjax.ntk.empirical`.
    """

    def kernel(params: Any) -> Array:
        return finite_width.empirical(apply, params, x, **options)

    theta, change = jax.jvp(kernel, (params,), (step,))
    return jnp.linalg.norm(change.ravel()) / jnp.linalg.norm(theta.ravel())


def conjugate(
    features: Callable[[Any, Any], Array], params: Any, x1: Any, x2: Any = None
) -> Float[Array, "n1 n2"]:
    """Return the conjugate kernel, ``phi(x1) phi(x2)^T / width`` of a hidden layer.

    It is the kernel of training the layer behind it alone.

    Args:
        features: ``features(params, x) -> (n, width)``, such as
            ``lambda p, x: mlp.activations(p, x)[-2]``.
        params: whatever features takes.
        x1: (n1, ...).
        x2: (n2, ...), x1 if None.
    """
    first = features(params, x1)
    second = first if x2 is None else features(params, x2)
    if first.ndim != 2:
        raise ValueError(
            f"features must return (n, width); it returned shape {first.shape}."
        )
    return jnp.matmul(first, second.T, precision="highest") / first.shape[1]


def sampled(
    init: Callable[[Array], Any],
    apply: finite_width.Apply,
    key: Array,
    x1: Any,
    x2: Any = None,
    *,
    draws: int,
    **options: Any,
) -> SampledKernel:
    """Both kernels as means over random networks, of any function of parameters.

    Of wide networks they are near :func:`kanjax.ntk.infinite`'s, where that is defined.

    Args:
        init: ``init(key) -> params``.
        apply: as :func:`kanjax.ntk.empirical` takes it.
        key: split into one a draw.
        x1: (n1, ...).
        x2: (n2, ...), x1 if None.
        draws: number of networks, at least 2, one in memory at a time.
        **options: those of :func:`kanjax.ntk.empirical`, but ``outputs``.

    Raises:
        ValueError: if there are fewer than 2 draws.
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, for an error; got {draws}.")

    def draw(key: Array) -> tuple[Array, Array]:
        params = init(key)
        theta = finite_width.empirical(apply, params, x1, x2, **options)
        return conjugate(apply, params, x1, x2), theta

    every = jax.lax.map(draw, jax.random.split(key, draws))
    means = (jnp.mean(values, axis=0) for values in every)
    errors = (jnp.std(values, axis=0, ddof=1) / draws**0.5 for values in every)
    return SampledKernel(*means, *errors)
