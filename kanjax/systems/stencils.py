"""Finite differences: weights of stencils, values between nodes, elliptic equations.

Fornberg (1988), "Generation of Finite Difference Formulas on Arbitrarily Spaced Grids",
Math. Comp. 51, 699.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def weights(offsets: Sequence[float], order: int = 0) -> np.ndarray:
    """Return the weights of a derivative at 0 by values at the offsets.

    They are exact for polynomials of a degree below the number of offsets.

    Args:
        offsets: where the values are, different from each other, (nodes,).
        order: of the derivative, below the number of offsets; 0 interpolates.

    Raises:
        ValueError: for an order that so many offsets do not give, or equal offsets.

    Examples:
        >>> weights((-1, 0, 1), 2).tolist()
        [1.0, -2.0, 1.0]
    """
    x = np.asarray(offsets, float)
    if not 0 <= order < len(x):
        raise ValueError(
            f"order must be 0 to {len(x) - 1} for {len(x)} offsets; got {order}."
        )
    if len(np.unique(x)) < len(x):
        raise ValueError(f"offsets must be different from each other; got {offsets!r}.")
    # The polynomial that is 1 at a node and 0 at the others, by its coefficients.
    table = np.zeros(len(x))
    for i, node in enumerate(x):
        others = np.delete(x, i)
        polynomial = np.poly1d(np.poly(others)) / np.prod(node - others)
        table[i] = polynomial.coeffs[::-1][order] * math.factorial(order)
    return table


def interpolate(
    values: Float[Array, "rows columns"],
    z: Float[Array, "places 2"],
    *,
    lower: tuple[float, float] = (0.0, 0.0),
    upper: tuple[float, float] = (1.0, 1.0),
    nodes: int = 6,
) -> Float[Array, " places"]:
    """Interpolate values on a grid by polynomials through the nearest nodes.

    Args:
        values: at the nodes of a grid of the box, its edges included.
        z: places in the box, (places, 2).
        lower: the box's least coordinates.
        upper: its largest.
        nodes: of each polynomial along an axis, even; at most as many as the grid has.

    Raises:
        ValueError: if the grid has fewer nodes along an axis.
    """
    if nodes % 2 or nodes < 2 or min(values.shape) < nodes:
        raise ValueError(
            f"nodes must be even and at most those of the grid, {values.shape}; got "
            f"{nodes}."
        )
    k = np.arange(nodes)
    scale = np.array([np.prod(i - np.delete(k, i), dtype=float) for i in k])

    def along(x: Array, count: int, low: float, high: float) -> tuple[Array, Array]:
        place = (x - low) / (high - low) * (count - 1)
        first = jnp.clip(
            jnp.floor(place).astype(int) - nodes // 2 + 1, 0, count - nodes
        )
        gaps = jnp.subtract.outer(place - first, k)
        products = [
            jnp.prod(jnp.delete(gaps, i, axis=1, assume_unique_indices=True), axis=1)
            for i in k
        ]
        return jnp.add.outer(first, k), jnp.stack(products, axis=1) / scale[None]

    (i, row), (j, column) = (
        along(z[:, axis], values.shape[axis], lower[axis], upper[axis])
        for axis in (0, 1)
    )
    block = values[i[:, :, None], j[:, None, :]]
    return jnp.einsum("pij,pi,pj->p", block, row, column)


def solve_elliptic(
    coefficient: Callable[[Array], Array],
    source: Callable[[Array], Array],
    cells: int,
) -> Float[Array, "nodes nodes"]:
    """Solve ``-div(a grad u) = f`` on the unit square, u = 0 on its boundary.

    By the five-point stencil in flux form, with a at the middles between nodes: of
    second order where a is smooth, and conservative where it jumps. The sparse system
    is solved by scipy, outside of any trace.

    Args:
        coefficient: a, positive, a function of points (points, 2).
        source: f, likewise.
        cells: of the grid along each axis.

    Returns:
        u at the nodes, edges included, (cells + 1, cells + 1).

    Raises:
        ValueError: for fewer than two cells, or a coefficient that is not positive.
    """
    sparse = scipy_sparse()
    if cells < 2:
        raise ValueError(f"cells must be at least 2; got {cells}.")
    inside, middles = np.arange(1, cells) / cells, (np.arange(cells) + 0.5) / cells

    def at(
        function: Callable[[Array], Array], x: np.ndarray, y: np.ndarray
    ) -> np.ndarray:
        z = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
        with jax.ensure_compile_time_eval():
            return np.asarray(function(jnp.asarray(z)), float).reshape(len(x), len(y))

    across, along = at(coefficient, middles, inside), at(coefficient, inside, middles)
    if not min(across.min(), along.min()) > 0:
        raise ValueError("coefficient must be positive and finite in the square.")
    n = cells - 1
    # Differences of neighbors, a value beyond the edge being 0; their transpose is
    # minus the divergence.
    steps = cells * sparse.diags_array(
        [np.ones(n), -np.ones(n)], offsets=[0, -1], shape=(cells, n)
    )
    eye = sparse.eye_array(n)
    parts = [
        (sparse.kron(steps, eye), across),
        (sparse.kron(eye, steps), along),
    ]
    matrix = sum(d.T @ sparse.diags_array(a.ravel()) @ d for d, a in parts)
    right = at(source, inside, inside).ravel()
    u = sparse.linalg.spsolve(sparse.csc_array(matrix), right)
    return jnp.asarray(np.pad(u.reshape(n, n), 1))


def scipy_sparse() -> Any:
    """Import scipy's sparse matrices when they are first needed."""
    # Without a type: its stubs take products of sparse arrays for dense ones.
    import scipy.sparse
    import scipy.sparse.linalg

    return scipy.sparse
