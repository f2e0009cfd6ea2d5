"""The driven cavity against published values, and against its own equations."""

import functools

import numpy as np
import pytest

from kanjax.systems import cavity


@functools.cache
def flow(cells, reynolds=100.0):
    return cavity.solve_cavity(reynolds, np.ones_like, cells)


def test_values_of_ghia_ghia_shin():
    # Ghia, Ghia, Shin (1982), J. Comput. Phys. 48, 387, at Re = 100, by extrapolation.
    coarse, fine = (
        (f.velocity[0, n // 2, n // 2], f.velocity[1, :, n // 2].max(), f.stream.min())
        for n, f in ((32, flow(32)), (64, flow(64)))
    )
    u, v, stream = (4 * np.array(fine) - np.array(coarse)) / 3
    assert abs(u + 0.20581) < 4e-3
    assert abs(v - 0.17527) < 5e-3
    assert abs(stream + 0.103423) < 2e-4


def test_two_resolutions_agree_to_second_order():
    a, b, c = (flow(n).stream[:: n // 16, :: n // 16] for n in (16, 32, 64))
    first, second = np.max(np.abs(a - b)), np.max(np.abs(b - c))
    assert second < 4e-3
    assert 3 < first / second < 6


def test_momentum_and_mass_are_in_balance():
    n, f = 64, flow(64)
    inner = (slice(16, -16),) * 2
    u, v = f.velocity
    u_x, u_y = np.gradient(u, 1 / n)
    _, v_y = np.gradient(v, 1 / n)
    assert np.max(np.abs((u_x + v_y)[inner])) < 1e-10
    lap = np.gradient(u_x, 1 / n, axis=0) + np.gradient(u_y, 1 / n, axis=1)
    p_x = np.gradient(np.pad(f.pressure, 1), 1 / n, axis=0)
    rest = (u * u_x + v * u_y + p_x - lap / 100)[inner]
    assert np.max(np.abs(rest)) < 0.05 * np.max(np.abs((lap / 100)[inner]))


def test_finer_grids_begin_at_coarser_ones(monkeypatch):
    monkeypatch.setattr(cavity, "COARSE", 8)
    by_levels = cavity.solve_cavity(100.0, np.ones_like, 32)
    np.testing.assert_allclose(by_levels.stream, flow(32).stream, atol=1e-10)


def test_bad_input():
    with pytest.raises(ValueError, match="cells must be at least 4"):
        cavity.solve_cavity(100.0, np.ones_like, 2)
    with pytest.raises(RuntimeError, match="more cells help"):
        cavity.solve_cavity(1e7, np.ones_like, 8)
