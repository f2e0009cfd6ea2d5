"""Steady flow in a square cavity under a moving lid, by its stream function.

Finite differences of second order and Newton's method, from small Reynolds numbers
upward; the vorticity at the walls is that of values mirrored at them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kanjax.systems import stencils

FIRST, FACTOR, ITERATIONS, COARSE = 100.0, 2.0, 20, 64
TOLERANCE = 1e-9


class Flow(NamedTuple):
    """A flow at the nodes of a grid of the unit square, edges included; x first.

    Attributes:
        stream: the stream function, with ``u = psi_y`` and ``v = -psi_x``.
        velocity: u and v, (2, nodes, nodes).
        pressure: at the inner nodes, (nodes - 2, nodes - 2), up to a constant.
    """

    stream: np.ndarray
    velocity: np.ndarray
    pressure: np.ndarray


def solve_cavity(
    reynolds: float, lid: Callable[[np.ndarray], np.ndarray], cells: int
) -> Flow:
    """Solve ``w . grad w + grad p = lap w / Re, div w = 0``, w = (lid(x), 0) on top.

    Args:
        reynolds: Re, positive.
        lid: the speed of the wall y = 1 as a function of x (nodes,).
        cells: of the grid along each axis.

    Raises:
        ValueError: for fewer than four cells, or if Re is not positive.
        RuntimeError: if Newton's method does not converge; more cells help.

    Examples:
        >>> flow = solve_cavity(100.0, np.ones_like, 16)
        >>> flow.stream.shape, bool(flow.stream.min() < -0.08)
        ((17, 17), True)
    """
    if cells < 4 or not reynolds > 0:
        raise ValueError(
            "cells must be at least 4 and reynolds positive; got "
            f"{cells} and {reynolds}."
        )
    x = np.linspace(0, 1, cells + 1)
    return _flow(_operators(cells), *_stream(reynolds, lid, cells), lid(x), reynolds)


def _stream(
    reynolds: float, lid: Callable[[np.ndarray], np.ndarray], cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the stream function inside, and the lid's share of the vorticity."""
    grid, x = _operators(cells), np.linspace(0, 1, cells + 1)
    # A lid in motion adds to the vorticity of its wall: 2 U / h.
    moved = np.zeros((cells + 1, cells + 1))
    moved[:, -1] = 2 * cells * lid(x)
    moved = moved.ravel()
    if cells >= 2 * COARSE and cells % 2 == 0:
        # From half of the cells Newton's method needs few of the dear steps.
        coarse, _ = _stream(reynolds, lid, cells // 2)
        return _newton(grid, _refine(coarse, cells), moved, reynolds), moved
    psi, current = np.zeros((cells - 1) ** 2), min(FIRST, reynolds)
    while current < reynolds:
        psi = _newton(grid, psi, moved, current)
        current = min(FACTOR * current, reynolds)
    return _newton(grid, psi, moved, reynolds), moved


def _refine(psi: np.ndarray, cells: int) -> np.ndarray:
    import scipy.interpolate

    n = cells // 2
    values, nodes = np.pad(psi.reshape(n - 1, n - 1), 1), np.linspace(0, 1, n + 1)
    inner = np.linspace(0, 1, cells + 1)[1:-1]
    spline = scipy.interpolate.RectBivariateSpline(nodes, nodes, values)
    return spline(inner, inner).ravel()


class _Operators(NamedTuple):
    """Sparse matrices from inner or all nodes to inner ones, or to all."""

    cells: int
    spread: Any
    curvature: Any
    slopes: tuple[Any, Any]
    laplacian: Any


def _operators(cells: int) -> _Operators:
    sp = stencils.scipy_sparse()

    n = cells + 1
    inner = sp.eye_array(n, format="csr")[1:-1]
    first = sp.diags_array([-1.0, 1.0], offsets=[-1, 1], shape=(n, n)).tocsr()[1:-1]
    second = sp.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tolil()
    # psi vanishes at a wall: mirrored there, its second difference is twice the next.
    mirrored = second.copy()
    mirrored[0, 1] = mirrored[-1, -2] = 2.0
    spread = sp.kron(inner.T, inner.T).tocsr()
    eye = sp.eye_array(n)
    mirrored, second = mirrored.tocsr(), second.tocsr()[1:-1]
    curvature = (sp.kron(mirrored, eye) + sp.kron(eye, mirrored)) @ spread
    slopes = (sp.kron(first, inner), sp.kron(inner, first))
    laplacian = sp.kron(second, inner) + sp.kron(inner, second)
    return _Operators(
        cells,
        spread,
        (curvature * cells**2).tocsr(),
        (slopes[0] * (cells / 2), slopes[1] * (cells / 2)),
        (laplacian * cells**2).tocsr(),
    )


def _newton(
    grid: _Operators, psi: np.ndarray, moved: np.ndarray, reynolds: float
) -> np.ndarray:
    sp = stencils.scipy_sparse()

    dx, dy = grid.slopes
    for _ in range(ITERATIONS):
        zeta = grid.curvature @ psi + moved
        u, v = dy @ (grid.spread @ psi), -(dx @ (grid.spread @ psi))
        zeta_x, zeta_y = dx @ zeta, dy @ zeta
        residual = u * zeta_x + v * zeta_y - grid.laplacian @ zeta / reynolds
        matrix = (
            sp.diags_array(zeta_x) @ dy @ grid.spread
            - sp.diags_array(zeta_y) @ dx @ grid.spread
            + (sp.diags_array(u) @ dx + sp.diags_array(v) @ dy) @ grid.curvature
            - grid.laplacian @ grid.curvature / reynolds
        )
        step = sp.linalg.spsolve(sp.csc_array(matrix), -residual)
        psi = psi + step
        if np.max(np.abs(step)) < TOLERANCE:
            return psi
    raise RuntimeError(
        f"Newton's method did not converge at Re = {reynolds} with {grid.cells} cells; "
        "more cells help."
    )


def _flow(
    grid: _Operators,
    psi: np.ndarray,
    moved: np.ndarray,
    lid: np.ndarray,
    reynolds: float,
) -> Flow:
    sp = stencils.scipy_sparse()

    n = grid.cells - 1
    dx, dy = grid.slopes
    zeta, stream = grid.curvature @ psi + moved, grid.spread @ psi
    inner = np.stack([dy @ stream, -(dx @ stream)])
    velocity = np.zeros((2, n + 2, n + 2))
    velocity[:, 1:-1, 1:-1] = inner.reshape(2, n, n)
    velocity[0, :, -1] = lid
    flat = velocity.reshape(2, -1)
    # lap u = zeta_y and lap v = -zeta_x.
    viscous = np.stack([dy @ zeta, -(dx @ zeta)]) / reynolds
    carried = np.stack([inner[0] * (dx @ c) + inner[1] * (dy @ c) for c in flat])
    forces = (viscous - carried).reshape(2, n, n)
    # The pressure whose differences between neighbors are their mean force, by least
    # squares; its first value is 0.
    steps = grid.cells * sp.diags_array(
        [-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n)
    )
    eye = sp.eye_array(n)
    matrix = sp.vstack([sp.kron(steps, eye), sp.kron(eye, steps)]).tocsc()[:, 1:]
    wanted = np.concatenate(
        [
            (forces[0, 1:] + forces[0, :-1]).ravel() / 2,
            (forces[1, :, 1:] + forces[1, :, :-1]).ravel() / 2,
        ]
    )
    pressure = sp.linalg.spsolve(sp.csc_array(matrix.T @ matrix), matrix.T @ wanted)
    return Flow(
        stream.reshape(n + 2, n + 2),
        velocity,
        np.concatenate([[0.0], pressure]).reshape(n, n),
    )
