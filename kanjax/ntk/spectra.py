"""What a kernel matrix says: its spectrum, its alignment with targets, its drift."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from kanjax import linalg
from kanjax.linalg.krylov import norm
from kanjax.scales import safe_scale


class Spectrum(NamedTuple):
    """The eigenvalues of a kernel and two summaries.

    Attributes:
        eigenvalues: (n,), descending.
        condition_number: the largest over the smallest, infinite when the smallest is
            round-off: up to n eps of the largest.
        effective_rank: as :func:`kanjax.linalg.effective_rank`, between 1 and n.
    """

    eigenvalues: Float[Array, " n"]
    condition_number: Float[Array, ""]
    effective_rank: Float[Array, ""]


def spectrum(kernel: Array) -> Spectrum:
    """Return the spectrum of a symmetric positive semi-definite kernel.

    Args:
        kernel: (n, n), or the full kernel of several outputs (n, n, outputs, outputs),
            taken as a matrix of (n outputs) rows. Eigenvalues come in the kernel's
            precision: in float32 those below about 1e-7 of the largest are noise.

    Raises:
        ValueError: if kernel has another shape.
    """
    eigenvalues = jnp.linalg.eigvalsh(_as_matrix(kernel))[::-1]
    smallest = eigenvalues[-1]
    eps = jnp.finfo(eigenvalues.dtype).eps
    positive = smallest > eigenvalues.size * eps * eigenvalues[0]
    condition = jnp.where(
        positive, eigenvalues[0] / jnp.where(positive, smallest, 1.0), jnp.inf
    )
    return Spectrum(eigenvalues, condition, linalg.effective_rank(eigenvalues))


def alignment(kernel: Float[Array, "n n"], targets: Array) -> Float[Array, ""]:
    """Return the centred alignment of a kernel with the kernel of the targets, in
    [0, 1].

    ``<HKH, HYH>_F / (|HKH|_F |HYH|_F)`` with ``Y = y y^T`` and ``H = I - 1/n``: both
    kernels are centred in feature space (Cortes, Mohri, Rostamizadeh 2012, "Algorithms
    for Learning Kernels Based on Centered Alignment", arXiv 1203.0550, definition 4).
    The uncentred alignment of Cristianini et al. 2001 is another number.

    Args:
        kernel: (n, n), symmetric positive semi-definite.
        targets: (n,) or (n, outputs); classes as one-hot rows. Constant targets have
            no alignment: the result is NaN.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel has shape {kernel.shape}; it must be (n, n).")
    if targets.ndim not in (1, 2) or targets.shape[0] != kernel.shape[0]:
        raise ValueError(
            f"targets has shape {targets.shape}; it must be ({kernel.shape[0]},) or "
            f"({kernel.shape[0]}, outputs), to fit the kernel."
        )
    y = targets.reshape(targets.shape[0], -1).astype(kernel.dtype)
    # Less the first first: equal targets leave exact zeros.
    y = y - y[:1]
    y = y - jnp.mean(y, axis=0, keepdims=True)
    rows = jnp.mean(kernel, axis=0, keepdims=True)
    columns = jnp.mean(kernel, axis=1, keepdims=True)
    centered = kernel - rows - columns + jnp.mean(kernel)
    # Neither has a unit that counts.
    y, centered = (v / safe_scale(v) for v in (y, centered))
    shared = jnp.sum(y * jnp.matmul(centered, y, precision="highest"))
    size = jnp.linalg.norm(jnp.matmul(y.T, y, precision="highest"))
    return shared / (jnp.linalg.norm(centered) * size)


def drift(kernel_0: Array, kernel_t: Array) -> Float[Array, ""]:
    """Return the relative change of a kernel, ``|K_t - K_0|_F / |K_0|_F``.

    Args:
        kernel_0: of any shape.
        kernel_t: of the same shape.

    Raises:
        ValueError: if the shapes differ.
    """
    if kernel_0.shape != kernel_t.shape:
        raise ValueError(
            f"kernel_0 has shape {kernel_0.shape} and kernel_t {kernel_t.shape}; they "
            "must be kernels of the same examples."
        )
    return norm((kernel_t - kernel_0).ravel()) / norm(kernel_0.ravel())


def _as_matrix(kernel: Array) -> Array:
    if kernel.ndim == 2 and kernel.shape[0] == kernel.shape[1]:
        return kernel
    square = kernel.shape[:1] * 2 + kernel.shape[-1:] * 2
    if kernel.ndim == 4 and kernel.shape == square:
        size = kernel.shape[0] * kernel.shape[2]
        return jnp.swapaxes(kernel, 1, 2).reshape(size, size)
    raise ValueError(
        f"kernel has shape {kernel.shape}; it must be (n, n) or (n, n, outputs, "
        "outputs)."
    )
