"""Phase diagrams: what memories with infinitely many spins do, over planes of controls.

The theories are those of :mod:`kanjax.hopfield.mean_field` (order 2), of
:mod:`kanjax.hopfield.archetype_theory` (even orders from 4 on) and of
:mod:`kanjax.hopfield.diluted_theory` (few patterns with blanks).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from kanjax.checks import as_floating, check_positive
from kanjax.hopfield import archetype_theory, checks, diluted_theory, mean_field
from kanjax.hopfield.replica_breaking import critical_beta
from kanjax.hopfield.self_consistency import over_plane

# As they are drawn: of two that vary, the first is the horizontal axis.
_CONTROLS = ("dilution", "entropy", "load", "temperature")


class PhaseDiagram(NamedTuple):
    """The regimes of a memory over a plane of two controls.

    Attributes:
        axes: names of the columns' control and of the rows'.
        columns: (columns,), values of the horizontal one, rising.
        rows: (rows,), values of the vertical one, rising.
        codes: (rows, columns), the place of each point's regime in ``names``.
        names: of the regimes.
        overlap: (rows, columns), the largest with a pattern.
        replicon: (rows, columns), of states of recall, above 0 where replicas are
            alike; NaN where there are none, and for a dilution.
        stable: (rows, columns), whether the state is: with a load a paramagnet, or one
            of recall whose replicas are alike; with a dilution a maximum of the
            pressure.
        converged: (rows, columns), whether all searches for states did.
        residual: (rows, columns), the largest change that their equations still ask
            for.
        lines: by name, (x, y) of curves that are known more exactly than the plane is.
    """

    axes: tuple[str, str]
    columns: Float[Array, " columns"]
    rows: Float[Array, " rows"]
    codes: Int[Array, "rows columns"]
    names: tuple[str, ...]
    overlap: Float[Array, "rows columns"]
    replicon: Float[Array, "rows columns"]
    stable: Bool[Array, "rows columns"]
    converged: Bool[Array, "rows columns"]
    residual: Float[Array, "rows columns"]
    lines: dict[str, tuple[np.ndarray, np.ndarray]]


def phase_diagram(
    *,
    temperature: ArrayLike,
    load: ArrayLike | None = None,
    dilution: ArrayLike | None = None,
    entropy: ArrayLike = 0.0,
    order: int = 2,
    patterns: int = 3,
) -> PhaseDiagram:
    """Solve for the regime at each point of a plane: two controls vary, others do not.

    Two of the arguments are arrays: load and temperature, entropy (the noise of
    examples) and load, or dilution and temperature; what varies alone is a number.
    With a load there are infinitely many patterns, ``2 load / P! spins^(P - 1)``; with
    a dilution there are a few. The search is compiled once for each shape.

    Args:
        temperature: (rows,) or a number, above 0: over ``P! / 2``, 1 / scaled_beta of
            :mod:`kanjax.hopfield.replica_symmetry`, which is 1 / beta at order 2.
        load: (columns,), (rows,) or a number, above 0.
        dilution: (columns,), in [0, 1), in place of a load.
        entropy: (columns,) or a number, at least 0, of the data set; 0 are patterns
            that are stored themselves.
        order: P, 2 or even and at least 4; examples, an entropy above 0, need 4.
        patterns: how many, for a dilution.

    Raises:
        ValueError: for arguments out of range, or unless exactly two vary.

    Examples:
        >>> import jax.numpy as jnp
        >>> diagram = phase_diagram(
        ...     load=jnp.array([0.03, 0.1, 0.2]), temperature=jnp.array([0.1, 1.6]))
        >>> [[diagram.names[code] for code in row] for row in diagram.codes]
        ... # doctest: +NORMALIZE_WHITESPACE
        [['recall', 'metastable recall', 'glass'],
         ['paramagnet', 'paramagnet', 'paramagnet']]
    """
    arguments = dilution, entropy, load, temperature
    controls = {
        name: _check_control(name, value)
        for name, value in zip(_CONTROLS, arguments, strict=True)
        if value is not None
    }
    axes = tuple(name for name, value in controls.items() if value.ndim == 1)
    if len(axes) != 2:
        raise ValueError(
            "exactly two of temperature, load, dilution and entropy must be arrays; "
            f"got {' and '.join(axes) or 'none'}."
        )
    if ("load" in controls) == ("dilution" in controls):
        raise ValueError("give either a load or a dilution, and not both.")
    if order == 2 or dilution is not None:
        checks.check_count("patterns", patterns, 1)
        if np.any(np.asarray(entropy)):
            raise ValueError(
                f"entropy must be 0 for order 2 and for a dilution; got {entropy!s}. "
                "Give an order of 4 or more, and a load."
            )
    names = _names(controls, order)
    points = _search(controls, axes, order, patterns)
    columns, rows = (controls[name] for name in axes)
    lines = _lines(controls, axes, order, patterns)
    replicon = np.asarray(points.replicon)
    crossing = _crossing(np.asarray(rows), np.asarray(columns), replicon)
    if len(crossing[0]) > 1:
        lines["de Almeida-Thouless"] = crossing
    return PhaseDiagram(
        axes=axes,
        columns=columns,
        rows=rows,
        names=names,
        lines=lines,
        **points._asdict(),
    )


def _names(controls: dict[str, Array], order: int) -> tuple[str, ...]:
    if "dilution" in controls:
        return diluted_theory.REGIMES
    return mean_field.REGIMES if order == 2 else archetype_theory.REGIMES


class _Points(NamedTuple):
    """The fields of a diagram that each point has a value of."""

    codes: Array
    overlap: Array
    replicon: Array
    stable: Array
    converged: Array
    residual: Array


@functools.partial(jax.jit, static_argnames=("axes", "order", "patterns"))
def _search(
    controls: dict[str, Array], axes: tuple[str, str], order: int, patterns: int
) -> _Points:
    def at(y: Array, x: Array) -> _Points:
        point = {**controls, axes[1]: y, axes[0]: x}
        beta = 1 / point["temperature"]
        if "dilution" in point:
            sites = diluted_theory.enumerate_sites(patterns, point["dilution"])
            few = diluted_theory.regime(sites, beta, max_steps=2_000)
            none = jnp.full((), jnp.nan)
            return _Points(
                few.code, few.overlaps[0], none, few.stable, few.converged, few.residual
            )
        if order == 2:
            state = mean_field.regime(point["load"], beta)
        else:
            state = archetype_theory.regime(
                beta, point["load"], point["entropy"], order
            )
        replicon = jnp.where(state.code >= 2, state.replicon, jnp.nan)
        stable = (state.code == 0) | (replicon > 0)
        return _Points(
            state.code,
            state.overlap,
            replicon,
            stable,
            state.converged,
            state.residual,
        )

    return over_plane(at, controls[axes[1]], controls[axes[0]])


def _lines(
    controls: dict[str, Array], axes: tuple[str, str], order: int, patterns: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return closed forms of lines of the plane, within its bounds."""
    x, y = (np.asarray(controls[name]) for name in axes)
    fine = np.linspace(x[0], x[-1], 201)
    if "dilution" in controls:
        most = np.full(2, diluted_theory.critical_dilution(patterns))
        candidates = {
            "onset of recall": (fine, np.ones_like(fine)),
            "critical dilution": (most, y[[0, -1]]),
        }
    else:
        if axes[1] == "temperature":
            load = fine if axes[0] == "load" else float(controls["load"])
            freezes = _freezing_temperature(load, order)
        else:
            # It goes with the square root of the load.
            freezes = float(controls["temperature"]) / _freezing_temperature(1.0, order)
            freezes = freezes**2
        freezes = np.broadcast_to(freezes, fine.shape)
        candidates = {"freezing": (fine, freezes)}
    return {
        name: (cx[inside], cy[inside])
        for name, (cx, cy) in candidates.items()
        if np.any(inside := (cx >= x[0]) & (cx <= x[-1]) & (cy >= y[0]) & (cy <= y[-1]))
    }


def _freezing_temperature(load: Any, order: int) -> Any:
    """Where the paramagnet becomes a glass."""
    root = np.sqrt(load)
    return 1 + root if order == 2 else root / float(critical_beta(order))


def _crossing(
    rows: np.ndarray, columns: np.ndarray, field: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where a field changes its sign along each column, by linear interpolation."""
    with np.errstate(invalid="ignore"):
        turns = field[1:] * field[:-1] < 0
    at = np.flatnonzero(np.any(turns, axis=0))
    row = np.argmax(turns[:, at], axis=0)
    low, high = field[row, at], field[row + 1, at]
    share = low / (low - high)
    return columns[at], rows[row] + share * (rows[row + 1] - rows[row])


def _check_control(name: str, value: Any) -> Array:
    """Return a number, or an array that rises, in the range of the control."""
    if name == "dilution":
        array = checks.check_dilution(value)
    elif name == "entropy":
        array = checks.check_entropy(value)
    else:
        check_positive(name, value)
        array = as_floating(value)
    known = np.asarray(array)
    if known.ndim > 1 or (known.ndim == 1 and len(known) < 2):
        raise ValueError(
            f"{name} must be a number or have shape (values,), two at least; got "
            f"shape {known.shape}."
        )
    if known.ndim == 1 and not np.all(np.diff(known) > 0):
        raise ValueError(f"{name} must rise along its axis; got {known!s}.")
    return array
