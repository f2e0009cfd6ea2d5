"""One column of a table: what kind it is, its values, and how it becomes features.

A numeric column becomes one feature: missing values get the training median, and the
training range is mapped linearly to the domain of the basis. A categorical column
(text, booleans, pandas categories) becomes one feature for each category, 1 where the
row is of that category and 0 elsewhere. A column of compositions, if one is named,
becomes the fractions of its elements and their descriptors.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from kanjax.data import compositions, errors

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["numeric", "categorical"]

# What lies further than this many widths of the central 98% outside of it is clipped.
_FENCE = 3.0
# Beyond this, the squares in a standard deviation overflow as infinities would.
_LARGEST = 1e150
_NUMERIC_OBJECTS = ("decimal", "integer", "floating", "mixed-integer-float")


@dataclasses.dataclass(frozen=True)
class NumericColumn:
    """A numeric column: ``fill`` for missing values, ``low`` and ``high`` to scale."""

    name: str
    fill: float
    low: float
    high: float

    @property
    def feature_names(self) -> tuple[str, ...]:
        return (self.name,)

    def write(
        self, series: "pd.Series", domain: tuple[float, float], out: np.ndarray
    ) -> None:
        """Fill ``out`` (rows, 1) with the scaled values, all of them in ``domain``."""
        values = numbers(series, self.name)
        values = np.where(np.isnan(values), self.fill, values)
        shares = (np.clip(values, self.low, self.high) - self.low) / (
            self.high - self.low
        )
        out[:, 0] = domain[0] + (domain[1] - domain[0]) * shares

    def in_units(self, features: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
        """Return the values that ``write`` scaled to these features, (rows, 1)."""
        return _unscaled(features, domain, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class CategoricalColumn:
    """A categorical column: ``fill`` for missing values, one feature a category."""

    name: str
    fill: str
    categories: tuple[str, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}={category}" for category in self.categories)

    def write(
        self, series: "pd.Series", domain: tuple[float, float], out: np.ndarray
    ) -> None:
        """Fill ``out`` (rows, categories) with 0 and 1; unseen categories are zeros."""
        del domain
        index = positions(series, self.name, self.categories)
        index = np.where(missing(series), self.categories.index(self.fill), index)
        seen = np.flatnonzero(index >= 0)
        out[:] = 0
        out[seen, index[seen]] = 1

    def in_units(self, features: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
        """Return the features, which are 0 and 1 in any domain."""
        del domain
        return features


@dataclasses.dataclass(frozen=True)
class CompositionColumn:
    """A column of compositions: a feature for each element and each descriptor.

    Attributes:
        name: the column's.
        elements: those whose fractions are features.
        low, high: of each feature over the training rows.
    """

    name: str
    elements: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def feature_names(self) -> tuple[str, ...]:
        fractions = tuple(f"{self.name}:{symbol}" for symbol in self.elements)
        described = tuple(f"{self.name}:{name}" for name in DESCRIPTOR_NAMES)
        return fractions + described

    def values(self, series: "pd.Series") -> np.ndarray:
        """(rows, features) in their own units: fractions, then descriptors."""
        parsed = parsed_compositions(series, self.name)
        columns = dict(zip(parsed.elements, parsed.fractions.T, strict=True))
        zeros = np.zeros(len(series))
        fractions = [columns.get(symbol, zeros) for symbol in self.elements]
        described = compositions.alloy_descriptors(parsed)
        return np.stack(
            [*fractions, *(getattr(described, name) for name in DESCRIPTOR_NAMES)], 1
        )

    def write(
        self, series: "pd.Series", domain: tuple[float, float], out: np.ndarray
    ) -> None:
        """Fill ``out`` (rows, features) with the scaled values, all in ``domain``."""
        low, high = np.array(self.low), np.array(self.high)
        width = np.where(high > low, high - low, 1)
        shares = (np.clip(self.values(series), low, high) - low) / width
        out[:] = domain[0] + (domain[1] - domain[0]) * shares

    def in_units(self, features: np.ndarray, domain: tuple[float, float]) -> np.ndarray:
        """Return the values that ``write`` scaled to these features."""
        return _unscaled(features, domain, np.array(self.low), np.array(self.high))


def _unscaled(
    features: np.ndarray, domain: tuple[float, float], low: Any, high: Any
) -> np.ndarray:
    shares = (np.asarray(features, float) - domain[0]) / (domain[1] - domain[0])
    return low + shares * (high - low)


DESCRIPTOR_NAMES = (
    "mixing_entropy",
    "valence_electrons",
    "size_mismatch",
    "electronegativity_spread",
)

Column = NumericColumn | CategoricalColumn | CompositionColumn


def column(frame: "pd.DataFrame", name: str) -> "pd.Series":
    """Return the column of that name.

    Raises:
        DataError: when the table lacks it (with the nearest name).
    """
    if name not in frame.columns:
        hint = errors.nearest(name, map(str, frame.columns))
        raise errors.DataError(f"the table lacks the column {name!r}; {hint}")
    return cast("pd.Series", frame[name])


def kind(series: "pd.Series", name: str) -> Kind:
    """Whether a column holds numbers or categories, by its type.

    Raises:
        DataError: when it holds neither, e.g. dates or complex numbers.
    """
    from pandas.api import types

    if types.is_bool_dtype(series.dtype) or isinstance(
        series.dtype, types.CategoricalDtype
    ):
        return "categorical"
    if types.is_numeric_dtype(series.dtype) and series.dtype.kind != "c":
        return "numeric"
    if types.is_object_dtype(series.dtype):
        inferred = types.infer_dtype(series, skipna=True)
        return "numeric" if inferred in _NUMERIC_OBJECTS else "categorical"
    if types.is_string_dtype(series.dtype):
        return "categorical"
    raise errors.DataError(
        f"column {name!r} is of type {series.dtype}, expected numbers, text or "
        "booleans; convert it to numbers or leave it out"
    )


def missing(series: "pd.Series") -> np.ndarray:
    """(rows,) whether the value is missing."""
    return series.isna().to_numpy(bool)


def numbers(series: "pd.Series", name: str) -> np.ndarray:
    """(rows,) float64 values of a column, NaN where missing.

    Raises:
        DataError: when a value is not a number, or infinite.
    """
    import pandas as pd

    values: Any = series
    if not pd.api.types.is_numeric_dtype(series.dtype):
        # Categories do not convert themselves to numbers, plain objects do.
        values = pd.to_numeric(series.astype(object), errors="coerce")
        wrong = values.isna().to_numpy(bool) & ~missing(series)
        if wrong.any():
            first = series.iloc[int(np.argmax(wrong))]
            raise errors.DataError(
                f"column {name!r} has {int(wrong.sum())} of {len(series)} values that "
                f"are not numbers, the first is {str(first)[:40]!r}; expected only "
                "numbers, correct them or leave them blank"
            )
    values = values.to_numpy(dtype=float, na_value=np.nan)
    infinite = int(np.count_nonzero(np.abs(values) > _LARGEST))
    if infinite:
        raise errors.DataError(
            f"column {name!r} has infinite values in {infinite} of {len(values)} rows, "
            "expected finite numbers; correct these rows or leave them blank"
        )
    return values


def positions(
    series: "pd.Series", name: str, categories: tuple[str, ...]
) -> np.ndarray:
    """(rows,) index of each value's category, -1 where it is none or missing."""
    codes, labels = factorized(series, name)
    known = {category: i for i, category in enumerate(categories)}
    index = np.array([known.get(label, -1) for label in labels] + [-1])
    return index[codes]


def factorized(series: "pd.Series", name: str) -> tuple[np.ndarray, list[str]]:
    """(rows,) codes into a list of labels in order of appearance, -1 where missing.

    Whole numbers are labelled alike whether they are stored as integers or floats,
    which a missing value can turn them into.
    """
    import pandas as pd

    try:
        codes, uniques = pd.factorize(series)
    except TypeError as error:
        raise errors.DataError(
            f"column {name!r} has values that cannot be categories "
            f"({errors.one_line(error)}), expected numbers, text or booleans"
        ) from None
    first: dict[str, int] = {}
    merged = [first.setdefault(_label(value), len(first)) for value in uniques]
    return np.array([*merged, -1])[codes], list(first)


def labels(series: "pd.Series", name: str) -> list[str]:
    """Return the distinct values as text: in their declared order, else sorted."""
    import pandas as pd

    _, present = factorized(series, name)
    if isinstance(series.dtype, pd.CategoricalDtype):
        declared = dict.fromkeys(_label(value) for value in series.cat.categories)
        return [label for label in declared if label in set(present)]
    if kind(series, name) == "numeric":
        return sorted(present, key=float)
    return sorted(present)


def fit_numeric(
    series: "pd.Series", name: str
) -> tuple[NumericColumn | None, list[str]]:
    """Return the description of a numeric column, ``None`` if it is constant, and
    notes.
    """
    values = numbers(series, name)
    absent = np.isnan(values)
    known = values[~absent]
    low, high = float(known.min()), float(known.max())
    if low == high:
        return None, []
    median = float(np.median(known))
    notes = []
    if absent.any():
        notes.append(_filled(name, absent, f"the median {median:g}"))
    below, above = np.quantile(known, [0.01, 0.99])
    reach = _FENCE * float(above - below)
    if reach > 0:
        low, high = max(low, float(below) - reach), min(high, float(above) + reach)
    outside = int(np.count_nonzero((known < low) | (known > high)))
    if outside:
        notes.append(
            f"column {name!r}: {outside} outliers in the training rows clipped to "
            f"[{low:g}, {high:g}]"
        )
    return NumericColumn(name, median, low, high), notes


def fit_categorical(
    series: "pd.Series", name: str, most: int
) -> tuple[CategoricalColumn | None, list[str]]:
    """Return the description of a categorical column, ``None`` if dropped, and
    notes.
    """
    codes, names = factorized(series, name)
    known = codes[codes >= 0]
    counts = np.bincount(known, minlength=len(names))
    if len(names) == 1:
        return None, []
    # By falling count, then by name, so that ties do not depend on the row order.
    ranked = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
    fill, kept = names[ranked[0]], sorted(names[i] for i in ranked[:most])
    notes = []
    if known.size < codes.size:
        notes.append(_filled(name, codes < 0, f"the most frequent, {fill!r}"))
    if len(names) > most:
        notes.append(
            f"column {name!r}: {most} most frequent of {len(names)} categories kept, "
            "the others are encoded as zeros"
        )
    return CategoricalColumn(name, fill, tuple(kept)), notes


def parsed_compositions(series: "pd.Series", name: str) -> compositions.Compositions:
    """Return the compositions of a column.

    Raises:
        DataError: when one is missing or cannot be read; the message says which row.
    """
    absent = missing(series)
    if absent.any():
        raise errors.DataError(
            f"column {name!r} has no composition in {int(absent.sum())} of "
            f"{len(series)} rows; add them or leave the rows out"
        )
    texts = [str(value) for value in series]
    for row, text in enumerate(texts):
        try:
            compositions.parse_composition(text)
        except errors.DataError as error:
            raise errors.DataError(f"column {name!r}, row {row}: {error}") from None
    return compositions.parse_compositions(texts)


def fit_composition(
    series: "pd.Series", name: str
) -> tuple[CompositionColumn, list[str]]:
    """Return the description of a column of compositions, and notes."""
    parsed = parsed_compositions(series, name)
    elements = tuple(sorted(parsed.elements))
    column = CompositionColumn(name, elements, (), ())
    values = column.values(series)
    low, high = (tuple(map(float, v)) for v in (values.min(0), values.max(0)))
    notes = [f"column {name!r}: {note}" for note in parsed.notes]
    return CompositionColumn(name, elements, low, high), notes


def _filled(name: str, absent: np.ndarray, value: str) -> str:
    return (
        f"column {name!r}: {int(absent.sum())} of {absent.size} training values "
        f"missing, filled with {value}"
    )


def _label(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    text = str(value)
    # As pandas reads a column that has nothing else.
    return text.capitalize() if text.lower() in ("true", "false") else text
