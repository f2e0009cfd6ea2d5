"""The Hessian of a loss: its extreme eigenpairs, trace, spectrum and layer blocks.

Ghorbani, Krishnan, Xiao 2019, "An Investigation into Neural Net Optimization via
Hessian Eigenvalue Density", arXiv 1901.10159; Yao, Gholami, Keutzer, Mahoney 2020,
"PyHessian", arXiv 1912.07145. The linear algebra is kanjax.linalg's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax import checks, linalg, pytrees
from kanjax.landscape import barrier_estimates, layerwise

Params = pytrees.Params


class Spectrum(NamedTuple):
    """A spectral density on a grid.

    Attributes:
        x: (points,), eigenvalues.
        density: (points,), integrates to about 1.
        quadrature: the nodes and weights that it was drawn from.
    """

    x: Float[Array, " points"]
    density: Float[Array, " points"]
    quadrature: linalg.Quadrature


def hessian_eigenpairs(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    k: int,
    key: Array,
    *,
    which: linalg.Which = "magnitude",
    tolerance: float | None = None,
    basis: int | None = None,
    max_restarts: int = 50,
) -> linalg.Eigenpairs:
    """Return the k extreme eigenpairs of the loss' Hessian, with their residuals.

    Options are those of kanjax.linalg's eigenpairs. The values are differentiable in
    params where they are simple, ``d value = v^T dH v`` with v held fixed. Vectors are
    directions for plane: ``pair = jax.tree.map(lambda v: v[0], found.vectors)``.

    Args:
        loss: of parameters alone.
        params: where to take the Hessian.
        k: how many pairs.
        key: of the first vector.
        which: the largest in magnitude, or the largest or smallest.
        tolerance: of the residuals, relative to the largest value.
        basis: how many vectors the iteration keeps.
        max_restarts: how often it starts again from the best ones.

    Raises:
        TypeError: if a leaf of params is not of floating point.
        ValueError: if k does not fit the number of parameters.
    """
    checks.check_real(params, "params")
    fixed = jax.lax.stop_gradient(params)
    pairs = linalg.eigenpairs(
        linalg.hessian_product(loss, fixed),
        fixed,
        k,
        key,
        which=which,
        tolerance=tolerance,
        basis=basis,
        max_restarts=max_restarts,
    )
    pairs = jax.lax.stop_gradient(pairs)

    def value(v: Params) -> Array:
        return linalg.directional_derivatives(loss, params, v).curvature

    again = jax.lax.map(value, pairs.vectors).astype(pairs.values.dtype)
    return pairs._replace(values=_with_slope_of(pairs.values, again))


@jax.custom_jvp
def _with_slope_of(values: Array, others: Array) -> Array:
    """Return the values with the derivative of the others, computed for a derivative
    only.
    """
    return values


_with_slope_of.defjvp(lambda primals, tangents: (primals[0], tangents[1]))


def hessian_trace(
    loss: barrier_estimates.ScalarLoss, params: Params, key: Array, *, probes: int = 32
) -> linalg.Estimate:
    """Return the trace of the loss' Hessian by Hutchinson's estimator, with its
    error.

    Args:
        loss: of parameters alone.
        params: where to take the Hessian.
        key: of the probes.
        probes: random vectors to average over.
    """
    checks.check_real(params, "params")
    product = linalg.hessian_product(loss, params)
    return linalg.hutchinson_trace(product, params, key, probes=probes)


def layer_traces(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    key: Array,
    *,
    layers: layerwise.Layers | None = None,
    probes: int = 32,
) -> dict[str, linalg.Estimate]:
    """Return the trace of each layer's diagonal block of the Hessian.

    One product serves all layers: with random signs v, a layer's part of ``v * H v``
    sums to its trace in expectation.

    Args:
        loss: ``loss(params)``, a scalar.
        params: where the Hessian is taken.
        key: of the random signs.
        layers: for every name the paths of its leaves; layer_leaves(params) if None.
        probes: how many vectors of signs.

    Raises:
        ValueError: if a layer names a leaf that params lacks.
    """
    layers = layerwise.layer_leaves(params) if layers is None else layers
    masks = layerwise.masks(layers, params)
    product = linalg.hessian_product(loss, params)

    def probe(k: Array) -> Float[Array, " layers"]:
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(k, len(leaves))
        signs = [
            jax.random.rademacher(i, jnp.shape(leaf), jnp.result_type(leaf))
            for i, leaf in zip(keys, leaves, strict=True)
        ]
        image = jax.tree.leaves(product(jax.tree.unflatten(structure, signs)))
        shares = [pytrees.inner(u, v) for u, v in zip(signs, image, strict=True)]
        return masks.astype(shares[0].dtype) @ jnp.stack(shares)

    values = jax.lax.map(probe, jax.random.split(key, probes))
    errors = jnp.std(values, axis=0, ddof=1) / probes**0.5
    means = jnp.mean(values, axis=0)
    return {name: linalg.Estimate(means[i], errors[i]) for i, name in enumerate(layers)}


def layer_eigenpairs(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    k: int,
    key: Array,
    *,
    layers: layerwise.Layers | None = None,
    which: linalg.Which = "magnitude",
) -> dict[str, linalg.Eigenpairs]:
    """Return the extreme eigenpairs of each layer's diagonal block of the Hessian.

    Vectors are zero outside of their layer.

    Args:
        loss: ``loss(params)``, a scalar.
        params: where the Hessian is taken.
        k: eigenpairs of each layer.
        key: of the starting vectors.
        layers: for every name the paths of its leaves; layer_leaves(params) if None.
        which: as for :func:`hessian_eigenpairs`.

    Raises:
        ValueError: if a layer names a leaf that params lacks, or has less than k
            parameters.
    """
    layers = layerwise.layer_leaves(params) if layers is None else layers
    masks = layerwise.masks(layers, params)
    structure = jax.tree.structure(params)
    sizes = np.array([np.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params)])
    for name, size in zip(layers, np.asarray(masks) @ sizes, strict=True):
        if size < k:
            raise ValueError(
                f"k is {k}, but the layer {name!r} has {int(size)} parameters; a block "
                "has as many eigenpairs. Lower k, or join layers."
            )
    product = linalg.hessian_product(loss, params)

    def of_layer(mask: Array) -> linalg.Eigenpairs:
        selected = jax.tree.unflatten(structure, list(mask))
        block = linalg.block_product(product, selected)
        if which == "magnitude":
            return linalg.eigenpairs(block, params, k, key)
        # Zeros around the block are no eigenvalues of it, and would be found where all
        # of its own have one sign: they are moved beyond its other end.
        first = linalg.eigenpairs(block, params, 1, key)
        size = 2 * jnp.abs(first.values[0])
        size = jnp.where(size > 0, size, 1.0)
        end = size if which == "smallest" else -size

        def beyond(x: Array) -> Array:
            return (end * x).astype(x.dtype)

        def moved(v: Params) -> Params:
            return jax.tree.map(
                lambda keep, image, x: jnp.where(keep, image, beyond(x)),
                selected,
                block(v),
                v,
            )

        pairs = linalg.eigenpairs(moved, params, k, key, which=which)
        return pairs._replace(products=pairs.products + first.products)

    pairs = jax.lax.map(of_layer, masks)
    return {
        name: jax.tree.map(lambda v, i=i: v[i], pairs) for i, name in enumerate(layers)
    }


def hessian_spectrum(
    loss: barrier_estimates.ScalarLoss,
    params: Params,
    key: Array,
    *,
    steps: int = 64,
    probes: int = 8,
    points: int = 512,
    width: float | None = None,
) -> Spectrum:
    """Return the spectral density of the loss' Hessian by stochastic Lanczos
    quadrature.

    Args:
        loss: ``loss(params)``, a scalar.
        params: where the Hessian is taken.
        key: of the starting vectors.
        steps: products for each probe.
        probes: random starting vectors.
        points: of the grid, which spans all nodes and four widths beyond.
        width: standard deviation of the bells that smooth it; a hundredth of the
            nodes' range if None, or of their size where all are one.
    """
    checks.check_real(params, "params")
    product = linalg.hessian_product(loss, params)
    quadrature = linalg.lanczos_quadrature(
        product, params, key, steps=steps, probes=probes
    )
    low, high = jnp.min(quadrature.nodes), jnp.max(quadrature.nodes)
    if width is None:
        # A spectrum of a single value has no range but round-off; 1 is for zeros.
        largest = jnp.maximum(jnp.abs(low), jnp.abs(high))
        noise = 10 * jnp.finfo(quadrature.nodes.dtype).eps * largest
        single = jnp.where(largest > 0, largest, 1.0)
        spread = jnp.where(high - low > noise, high - low, single) / 100
    else:
        spread = width
    x = jnp.linspace(low - 4 * spread, high + 4 * spread, points)
    return Spectrum(x, linalg.density(quadrature, x, width=spread), quadrature)
