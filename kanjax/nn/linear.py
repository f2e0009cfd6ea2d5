"""Where the scale of a linear map's weights lives: in their draw or in the map.

Sources: Jacot, Gabriel, Hongler (2018), arXiv 1806.07572 (the NTK parameterization);
Sohl-Dickstein et al. (2020), arXiv 2001.07301 (the two side by side).
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Parameterization = Literal["standard", "ntk"]

_KNOWN = ("standard", "ntk")


def init(
    key: Array,
    kernel_shape: tuple[int, ...],
    *,
    use_bias: bool,
    parameterization: Parameterization,
    kernel_scale: float,
    bias_scale: float,
) -> dict[str, Array]:
    """Draw a linear map's "kernel" and, where it has one, its "bias" (out,).

    The last axis of the kernel runs over the outputs; the others are its fan-in. In the
    standard parameterization ``kernel ~ N(0, kernel_scale^2 / fan_in)`` and ``bias ~
    N(0, bias_scale^2)``; in the NTK one both are standard normal.
    """
    key_kernel, key_bias = jax.random.split(key)
    standard = parameterization == "standard"
    kernel = jax.random.normal(key_kernel, kernel_shape)
    if standard:
        kernel = kernel * (kernel_scale / math.sqrt(math.prod(kernel_shape[:-1])))
    if not has_bias(use_bias, parameterization, bias_scale):
        return {"kernel": kernel}
    bias = jax.random.normal(key_bias, kernel_shape[-1:])
    if standard:
        bias = bias_scale * bias if bias_scale > 0 else jnp.zeros_like(bias)
    return {"kernel": kernel, "bias": bias}


def output(
    product: Float[Array, "*batch out"],
    params: dict[str, Array],
    *,
    parameterization: Parameterization,
    kernel_scale: float,
    bias_scale: float,
) -> Float[Array, "*batch out"]:
    """Return the product of inputs and kernel, scaled, plus the bias.

    ``product + bias`` in the standard parameterization, ``kernel_scale / sqrt(fan_in)
    product + bias_scale bias`` in the NTK one.
    """
    bias = params.get("bias")
    if parameterization == "ntk":
        fan_in = math.prod(params["kernel"].shape[:-1])
        product = product * (kernel_scale / math.sqrt(fan_in))
        bias = None if bias is None else bias_scale * bias
    return product if bias is None else add_bias(product, bias)


def add_bias(product: Array, bias: Array) -> Array:
    """Add a bias (out,) to values (..., out), also where jax refuses to promote
    ranks.
    """
    return product + jnp.broadcast_to(bias, product.shape)


def has_bias(
    use_bias: bool, parameterization: Parameterization, bias_scale: float
) -> bool:
    """Whether there is a bias to train: times a scale of 0 it would never act."""
    return use_bias and (parameterization == "standard" or bias_scale > 0)


def check_parameterization(
    parameterization: str, kernel_scale: float, bias_scale: float
) -> None:
    """Raise ``ValueError`` for an unknown name, or a scale that is negative."""
    if parameterization not in _KNOWN:
        raise ValueError(
            f"parameterization must be one of {_KNOWN}; got {parameterization!r}."
        )
    for name, value in (("kernel_scale", kernel_scale), ("bias_scale", bias_scale)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0 and finite; got {value!r}.")
