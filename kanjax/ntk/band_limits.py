"""What networks with bounded directions cannot fit, from the spectrum of the function.

Li, Sonoda, Cao, Wang, Liang 2023, "How Powerful are Shallow Neural Networks with
Bandlimited Random Weights?", arXiv 2008.08427. Where the transform of an activation
ends at a frequency w, that of ``activation(a . x - b)`` ends at ``|a| w``, and a
function's energy beyond ``max |a| w`` is left as an error by any number of units
(derived for this module; the paper's theorem is another). This holds on the whole of
R^m: on a bounded window nothing similar does, as coefficients may explode there. On the
line the units of a sinc have all inner products in closed form
(:func:`sinc_gram`), so that errors need no window. Transforms are ``f^(xi) = int f(x)
exp(-i xi . x) dx``. Gram matrices are ill-conditioned: use double precision.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from kanjax import checks, linalg
from kanjax.ntk.random_weights import RandomLayer
from kanjax.ntk.ridgelets import SINC, Function


class PowerSpectrum(NamedTuple):
    """The squared magnitude of a Fourier transform on a grid of equal cells.

    Attributes:
        norms: (cells,), ``|xi|`` in the middles of the cells.
        power: (cells,), ``|f^(xi)|^2``.
        spacing: (m,), the sides of a cell.
    """

    norms: Float[Array, " cells"]
    power: Float[Array, " cells"]
    spacing: Float[Array, " m"]


def measure_spectrum(
    samples: Array, spacing: Sequence[float], *, points: int | None = None
) -> PowerSpectrum:
    """Return the spectrum of samples on a grid, by the fast Fourier transform.

    Args:
        samples: (n_1, ..., n_m), f on a grid, near 0 at the edges: outside it is taken
            for 0. What it has beyond ``pi / spacing`` is folded back.
        spacing: m distances between neighbors.
        points: of the transform along each axis, filled up with zeros to refine
            frequencies; as many as samples if None.

    Raises:
        ValueError: if there are not m positive distances, or fewer points than samples.
    """
    samples = checks.as_floating(samples)
    if len(spacing) != samples.ndim or not all(step > 0 for step in spacing):
        raise ValueError(
            f"spacing is {spacing}; samples of shape {samples.shape} need "
            f"{samples.ndim} positive distances."
        )
    if points is not None and points < max(samples.shape):
        raise ValueError(
            f"points is {points}; it must be at least {max(samples.shape)}, the most "
            "samples along an axis."
        )
    sizes = samples.shape if points is None else (points,) * samples.ndim
    power = jnp.abs(jnp.fft.fftn(samples, sizes) * math.prod(spacing)) ** 2
    pairs = list(zip(sizes, spacing, strict=True))
    norms = _norms(2 * math.pi * jnp.fft.fftfreq(n, step) for n, step in pairs)
    widths = jnp.asarray([2 * math.pi / (n * step) for n, step in pairs])
    return PowerSpectrum(norms.ravel(), power.ravel(), widths)


def tabulate_spectrum(
    power: Callable[..., Array], reach: float, *, m: int = 1, points: int = 4096
) -> PowerSpectrum:
    """Return a spectrum in closed form, on the cube of frequencies up to reach.

    Args:
        power: ``|f^|^2`` of the m coordinates of a frequency, arrays that broadcast.
        reach: positive; what lies beyond is left out.
        m: dimension.
        points: along each axis.

    Raises:
        ValueError: if reach is not positive.
    """
    if not reach > 0:
        raise ValueError(f"reach is {reach}; it must be positive.")
    side = 2 * reach / points
    axes = [(jnp.arange(points) + 0.5) * side - reach] * m
    values = jnp.broadcast_to(power(*jnp.ix_(*axes)), (points,) * m)
    return PowerSpectrum(_norms(axes).ravel(), values.ravel(), jnp.full(m, side))


def _norms(axes: Iterable[Array]) -> Array:
    return jnp.sqrt(sum((a**2 for a in jnp.ix_(*axes)), jnp.zeros(())))


class Bound(NamedTuple):
    """What no network reaches.

    Attributes:
        squared_error: at least this much is left, in L^2 of R^m.
        energy: the squared norm of the function.
        fraction: the first over the second.
    """

    squared_error: Array
    energy: Array
    fraction: Array


def bandlimit_lower_bound(spectrum: PowerSpectrum, radius: ArrayLike) -> Bound:
    """Return the energy of a function beyond a radius of frequencies.

    ``(2 pi)^-m int_{|xi| > radius} |f^|^2 dxi`` is a lower bound on the squared error
    in L^2 of R^m for any number of units with ``|a| band <= radius`` and any
    coefficients; with dense units it is attained in the limit. A cell that the sphere
    cuts counts in proportion: errors are of second order in the spacing.

    Args:
        spectrum: of the function, from :func:`measure_spectrum` or
            :func:`tabulate_spectrum`.
        radius: (), the largest ``|a|`` times the activation's band, at least 0.

    Raises:
        ValueError: if the power is complex, negative or not finite somewhere, or 0
            everywhere.
    """
    norms, power, spacing = spectrum
    radius = jnp.asarray(radius)
    _check_power(power)
    volume, m = jnp.prod(spacing), len(spacing)
    width = volume ** (1 / m)
    # Of a cell around the frequency 0 both ends count.
    low = jnp.maximum(norms - width / 2, -radius)
    inside = jnp.maximum(jnp.minimum(norms + width / 2, radius) - low, 0.0) / width
    scale = volume / (2 * math.pi) ** m
    energy, error = scale * jnp.sum(power), scale * jnp.sum((1 - inside) * power)
    return Bound(error, energy, error / energy)


def _check_power(power: Array) -> None:
    if jnp.issubdtype(power.dtype, jnp.complexfloating):
        raise ValueError(
            f"power has dtype {power.dtype}; give |f^|^2, not the transform f^ itself."
        )
    if isinstance(power, jax.core.Tracer):
        return
    known = np.asarray(power)
    least, most = float(known.min()), float(known.max())
    if not (least >= 0 and 0 < most < math.inf):
        raise ValueError(
            f"power goes from {least:.3g} to {most:.3g}; a spectrum |f^|^2 is finite, "
            "at least 0 everywhere and positive somewhere."
        )


def sinc_gram(layer: RandomLayer) -> Float[Array, "n n"]:
    """Return the inner products of a layer's units over the whole line.

    A unit ``sinc(a x - b)`` has the transform ``pi / |a| exp(-i xi b / a)`` on ``|xi|
    <= |a|``, hence two of them ``pi sinc(min(|a|, |a'|) (b / a - b' / a')) / max(|a|,
    |a'|)``.

    Args:
        layer: of ``ridgelets.SINC`` with inputs of length 1; directions that are not 0.

    Raises:
        ValueError: if the layer is another.
    """
    a, b = _line(layer)
    size, at = jnp.abs(a), b / a
    narrow = jnp.minimum(size[:, None], size[None])
    wide = jnp.maximum(size[:, None], size[None])
    return math.pi * SINC(narrow * jnp.subtract.outer(at, at)) / wide


def sinc_products(
    layer: RandomLayer, transform: Function, *, nodes: int = 256
) -> Float[Array, " n"]:
    """Return the inner products of a real function with a layer's units, on the line.

    ``int_{-1}^1 f^(a q) exp(i q b) dq / 2``, by Gauss-Legendre quadrature.

    Args:
        layer: of ``ridgelets.SINC`` with inputs of length 1.
        transform: f^ of each frequency.
        nodes: of the quadrature, more than ``max |b|``.

    Raises:
        ValueError: if the layer is another.
    """
    a, b = _line(layer)
    q, weights = map(jnp.asarray, np.polynomial.legendre.leggauss(nodes))
    waves = transform(jnp.outer(a, q)) * jnp.exp(1j * jnp.outer(b, q))
    return jnp.sum(weights[None] * waves.real, axis=1) / 2


def _line(layer: RandomLayer) -> tuple[Array, Array]:
    if layer.activation != SINC or layer.directions.shape[-1] != 1:
        raise ValueError(
            "layer must have the activation ridgelets.SINC and inputs of length 1; got "
            f"{layer.activation} and {layer.directions.shape[-1]}."
        )
    return layer.directions[:, 0], layer.offsets


class Projection(NamedTuple):
    """The best combination of units.

    Attributes:
        weights: (n,).
        squared_error: of these weights, with the jitter left out.
        rank: how many eigenvalues of the Gram matrix were kept.
        jitter: what was added to the diagonal.
        least_eigenvalue: of the Gram matrix. Well below 0 the matrix is none, and the
            rest means nothing; under jit only this says it.
        residual: of the equations with the jitter, relative to the products: what was
            cut off and round-off.
    """

    weights: Float[Array, " n"]
    squared_error: Float[Array, ""]
    rank: Int[Array, ""]
    jitter: Float[Array, ""]
    least_eigenvalue: Float[Array, ""]
    residual: Float[Array, ""]


def project(
    gram: Float[Array, "n n"],
    products: Float[Array, " n"],
    energy: ArrayLike,
    *,
    cut: float | None = None,
    jitter: ArrayLike = 0.0,
) -> Projection:
    """Project a function on the span of units, from inner products alone.

    Args:
        gram: (n, n), of the units with one another, symmetric positive semi-definite.
        products: (n,), of the units with the function.
        energy: (), the function's squared norm.
        cut: eigenvalues up to this share of the largest are left out; n eps if None.
        jitter: added to the diagonal, as a share of its mean; the result says it.

    Raises:
        ValueError: if shapes do not fit, or gram has an eigenvalue below minus the cut.
    """
    if gram.shape != (len(products),) * 2:
        raise ValueError(
            f"gram has shape {gram.shape}; products of shape {products.shape} need "
            f"{(len(products),) * 2}."
        )
    system = linalg.decompose(gram, cut=cut)
    vectors = jax.lax.stop_gradient(system.vectors)
    images = jnp.matmul(gram, vectors, precision="highest")
    eigenvalues = jnp.sum(vectors * images, axis=0)
    least, most = jnp.min(eigenvalues), jnp.max(jnp.abs(eigenvalues))
    share = len(gram) * jnp.finfo(gram.dtype).eps if cut is None else cut
    semidefinite = least >= -share * most
    if not isinstance(semidefinite, jax.core.Tracer) and not bool(semidefinite):
        raise ValueError(
            f"gram is not positive semi-definite: its eigenvalues go from "
            f"{float(least):.3g} to {float(most):.3g}. Inner products in double "
            "precision are; where round-off is meant, say how much by cut."
        )
    added = jnp.asarray(jitter) * jnp.mean(jnp.diag(gram))
    weights = linalg.function_product(_inverse, system, products[:, None], added)[:, 0]
    error = squared_error(gram, products, energy, weights)
    rank = jnp.sum(system.positive)
    left = products - jnp.matmul(gram, weights, precision="highest") - added * weights
    residual = linalg.relative_norms(left[:, None], products[:, None])[0]
    return Projection(weights, error, rank, added, least, residual)


def _inverse(values: Array, added: Array) -> Array:
    positive = values > 0
    return jnp.where(positive, 1 / (jnp.where(positive, values, 1.0) + added), 0.0)


def squared_error(
    gram: Float[Array, "n n"],
    products: Float[Array, " n"],
    energy: ArrayLike,
    weights: Float[Array, " n"],
) -> Float[Array, ""]:
    """Return ``|f - sum_j c_j g_j|^2`` from inner products; round-off is eps energy.

    Args:
        gram: (n, n), of the units.
        products: (n,), of the units with f.
        energy: (), ``|f|^2``.
        weights: c (n,).
    """
    images = jnp.matmul(gram, weights, precision="highest")
    return jnp.asarray(energy) + jnp.sum(weights * (images - 2 * products))


def sinc_errors(
    key: Array,
    transform: Function,
    energy: ArrayLike,
    radius: ArrayLike,
    counts: Sequence[int],
    *,
    extent: float,
    nodes: int = 256,
) -> Float[Array, " counts"]:
    """Return the least squared errors on the line against the number of sinc units.

    Units of a smaller number are among those of a larger. Directions are uniform in
    [-radius, radius] and centers ``b / a`` in [-extent, extent]. For many draws vmap
    over keys, or scan where there are hundreds of units: batches of such decompositions
    may stall on few cores.

    Args:
        key: of the draw.
        transform: f^ of each frequency.
        energy: (), the squared norm of f.
        radius: (), of the directions.
        counts: of units.
        extent: of the centers.
        nodes: of :func:`sinc_products`.
    """
    where, which = jax.random.split(key)
    n = max(counts)
    a = jnp.asarray(radius) * jax.random.uniform(where, (n,), minval=-1.0)
    b = a * extent * jax.random.uniform(which, (n,), minval=-1.0)
    layer = RandomLayer(a[:, None], b, SINC)
    gram, products = sinc_gram(layer), sinc_products(layer, transform, nodes=nodes)
    errors = []
    for k in counts:
        result = project(gram[:k, :k], products[:k], energy)
        errors.append(result.squared_error)
        # One decomposition at a time: several at once, each in threads of the same
        # small pool, may wait for one another for ever.
        gram, _ = jax.lax.optimization_barrier((gram, result.squared_error))
    return jnp.stack(errors)
