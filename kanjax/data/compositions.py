"""Compositions of alloys from text, and the descriptors computed from them.

Descriptors are the usual ones of high-entropy alloys, for atomic fractions c: the
mixing entropy ``-R sum c ln c``, the valence electron concentration ``sum c VEC``, the
size mismatch ``100 sqrt(sum c (1 - r / mean r)^2)``, the spread of the
electronegativity ``sqrt(sum c (chi - mean chi)^2)`` and, where the values of all pairs
are given, the mixing enthalpy ``sum_{i<j} 4 H_ij c_i c_j``.

Source of the definitions, and of the radii: Guo and Liu, Progress in Natural Science:
Materials International 21 (2011) 433-446.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from kanjax.data import errors

GAS_CONSTANT = 8.314462618
"""J / (mol K), exact in the SI of 2019 to the digits given."""

_TERM = re.compile(r"([A-Z][a-z]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)?")
_TOLERANCE = 1e-3


SYMBOLS = frozenset(
    re.findall(
        "[A-Z][a-z]?",
        "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRu"
        "RhPdAgCdInSnSbTeIXeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPo"
        "AtRnFrRaAcThPaUNpPuAmCmBkCfEsFmMdNoLrRfDbSgBhHsMtDsRgCnNhFlMcLvTsOg",
    )
)
"""The symbols of the periodic table."""


class Element(NamedTuple):
    """What descriptors need of an element.

    Attributes:
        radius: the atomic radius in angstrom.
        electronegativity: on Pauling's scale.
        valence: valence electrons, those of the d shell included.
    """

    radius: float
    electronegativity: float
    valence: int


ELEMENTS: dict[str, Element] = {
    "Li": Element(1.519, 0.98, 1),
    "Be": Element(1.128, 1.57, 2),
    "B": Element(0.820, 2.04, 3),
    "C": Element(0.773, 2.55, 4),
    "Mg": Element(1.601, 1.31, 2),
    "Al": Element(1.432, 1.61, 3),
    "Si": Element(1.153, 1.90, 4),
    "Ca": Element(1.976, 1.00, 2),
    "Sc": Element(1.641, 1.36, 3),
    "Ti": Element(1.462, 1.54, 4),
    "V": Element(1.316, 1.63, 5),
    "Cr": Element(1.249, 1.66, 6),
    "Mn": Element(1.350, 1.55, 7),
    "Fe": Element(1.241, 1.83, 8),
    "Co": Element(1.251, 1.88, 9),
    "Ni": Element(1.246, 1.91, 10),
    "Cu": Element(1.278, 1.90, 11),
    "Zn": Element(1.395, 1.65, 12),
    "Ga": Element(1.392, 1.81, 3),
    "Ge": Element(1.240, 2.01, 4),
    "Y": Element(1.802, 1.22, 3),
    "Zr": Element(1.603, 1.33, 4),
    "Nb": Element(1.429, 1.60, 5),
    "Mo": Element(1.363, 2.16, 6),
    "Ru": Element(1.338, 2.20, 8),
    "Rh": Element(1.345, 2.28, 9),
    "Pd": Element(1.375, 2.20, 10),
    "Ag": Element(1.445, 1.93, 11),
    "In": Element(1.659, 1.78, 3),
    "Sn": Element(1.620, 1.96, 4),
    "La": Element(1.879, 1.10, 3),
    "Ce": Element(1.825, 1.12, 3),
    "Gd": Element(1.801, 1.20, 3),
    "Hf": Element(1.578, 1.30, 4),
    "Ta": Element(1.430, 1.50, 5),
    "W": Element(1.367, 2.36, 6),
    "Re": Element(1.375, 1.90, 7),
    "Os": Element(1.352, 2.20, 8),
    "Ir": Element(1.357, 2.20, 9),
    "Pt": Element(1.387, 2.28, 10),
    "Au": Element(1.442, 2.54, 11),
}
"""Constants by symbol: radii as tabulated by Guo and Liu (2011), Pauling's
electronegativities as in the CRC Handbook of Chemistry and Physics, and the numbers of
valence electrons that Guo et al., J. Appl. Phys. 109 (2011) 103505, count."""


class Compositions(NamedTuple):
    """Atomic fractions of several alloys.

    Attributes:
        elements: the symbols, in order of first appearance.
        fractions: (alloys, elements), each row sums to one.
        notes: what was normalised, one line.
    """

    elements: tuple[str, ...]
    fractions: Float[np.ndarray, "alloys elements"]
    notes: tuple[str, ...]


class Descriptors(NamedTuple):
    """Descriptors of alloys, each (alloys,).

    Attributes:
        mixing_entropy: in J / (mol K).
        valence_electrons: the valence electron concentration.
        size_mismatch: in percent.
        electronegativity_spread: on Pauling's scale.
        mixing_enthalpy: in the units of the pairs' values, None without them.
    """

    mixing_entropy: np.ndarray
    valence_electrons: np.ndarray
    size_mismatch: np.ndarray
    electronegativity_spread: np.ndarray
    mixing_enthalpy: np.ndarray | None = None


def parse_composition(text: str) -> dict[str, float]:
    """Return the amounts in a formula such as ``"AlCoCrFeNi2"``, by symbol, as written.

    A symbol without a number counts 1; spaces are ignored, and a symbol that comes
    twice is added up.

    Raises:
        DataError: when the text is no formula, names an element that there is not, or
            has no positive amount.

    Examples:
        >>> parse_composition("AlCoCrFeNi2")
        {'Al': 1.0, 'Co': 1.0, 'Cr': 1.0, 'Fe': 1.0, 'Ni': 2.0}
    """
    compact = re.sub(r"\s+", "", str(text))
    terms = _TERM.findall(compact)
    if not compact or "".join(symbol + amount for symbol, amount in terms) != compact:
        raise errors.DataError(
            f"{str(text)[:60]!r} is no composition, expected symbols of elements, each "
            "followed by its amount or by nothing for 1, such as 'AlCoCrFeNi2' or "
            "'Ti0.5Zr0.5'"
        )
    amounts: dict[str, float] = {}
    for symbol, amount in terms:
        amounts[symbol] = amounts.get(symbol, 0.0) + (float(amount) if amount else 1.0)
    unknown = [symbol for symbol in amounts if symbol not in SYMBOLS]
    if unknown:
        raise errors.DataError(
            f"{str(text)[:60]!r} names {errors.listing(unknown)}, which is no element "
            "of the periodic table; correct the composition"
        )
    if not sum(amounts.values()) > 0:
        raise errors.DataError(
            f"{str(text)[:60]!r} has no positive amount; correct the composition"
        )
    return amounts


def parse_compositions(texts: Sequence[str]) -> Compositions:
    """Atomic fractions of many alloys; amounts that do not sum to one are scaled.

    Args:
        texts: formulas such as ``"Fe0.7Ni0.3"``.

    Raises:
        DataError: as :func:`parse_composition`, and when there is no alloy.
    """
    if not len(texts):
        raise errors.DataError("there are no compositions, expected at least one")
    parsed = [parse_composition(text) for text in texts]
    elements = tuple(dict.fromkeys(symbol for amounts in parsed for symbol in amounts))
    amounts = np.array(
        [
            [composition.get(symbol, 0.0) for symbol in elements]
            for composition in parsed
        ]
    )
    totals = amounts.sum(axis=1, keepdims=True)
    off = np.flatnonzero(np.abs(totals[:, 0] - 1) > _TOLERANCE)
    notes: tuple[str, ...] = ()
    if off.size:
        first = int(off[0])
        notes = (
            f"{off.size} of {len(parsed)} compositions do not sum to 1 (the first, "
            f"{str(texts[first])[:40]!r}, sums to {totals[first, 0]:g}); their amounts "
            "were scaled to fractions",
        )
    return Compositions(elements, amounts / totals, notes)


def alloy_descriptors(
    compositions: Compositions | Sequence[str],
    *,
    constants: Mapping[str, Element] = ELEMENTS,
    pair_enthalpies: Mapping[tuple[str, str], float] | None = None,
) -> Descriptors:
    """Descriptors of alloys; see the module's text for their definitions.

    Args:
        compositions: from :func:`parse_compositions`, or texts.
        constants: the elements' constants by symbol.
        pair_enthalpies: H_ij by pair of symbols in either order, as in the tables of
            Takeuchi and Inoue (2005), in kJ/mol; every pair that occurs is needed.

    Raises:
        DataError: when an element has no constants, or a pair no value.
    """
    if not isinstance(compositions, Compositions):
        compositions = parse_compositions(compositions)
    elements, c, _ = compositions
    absent = [symbol for symbol in elements if symbol not in constants]
    if absent:
        raise errors.DataError(
            f"there are no constants for the elements {errors.listing(absent)}; add "
            f"them: constants={{**kanjax.data.ELEMENTS, {absent[0]!r}: Element(...)}}"
        )
    table = np.array([constants[symbol] for symbol in elements], float)
    radius, negativity, valence = table.T
    logs = np.log(np.where(c > 0, c, 1))
    mean_radius = (c @ radius)[:, None]
    mean_negativity = (c @ negativity)[:, None]
    return Descriptors(
        -GAS_CONSTANT * np.sum(c * logs, axis=1),
        c @ valence,
        100 * np.sqrt(np.sum(c * (1 - radius / mean_radius) ** 2, axis=1)),
        np.sqrt(np.sum(c * (negativity - mean_negativity) ** 2, axis=1)),
        None
        if pair_enthalpies is None
        else _mixing_enthalpy(elements, c, pair_enthalpies),
    )


def _mixing_enthalpy(
    elements: Sequence[str], c: np.ndarray, pairs: Mapping[tuple[str, str], float]
) -> np.ndarray:
    total = np.zeros(len(c))
    for i, first in enumerate(elements):
        for j, second in enumerate(elements[:i]):
            both = c[:, i] * c[:, j]
            if not both.any():
                continue
            value = pairs.get((first, second), pairs.get((second, first)))
            if value is None:
                raise errors.DataError(
                    f"pair_enthalpies has no value for {second}-{first}, which occur "
                    "together; add it"
                )
            total += 4 * value * both
    return total
