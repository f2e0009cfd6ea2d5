"""Data sets that come with the package, by name; nothing is downloaded."""

from typing import Any

import jax
import numpy as np

from kanjax.data import errors, examples, synthetic

NAMES = ("diabetes", "breast_cancer", "wine", "digits", "friedman")
"""The data sets that :func:`load` has by name."""
_FORMULA = "feynman:"
_SEED = 0


def load(name: str, *, domain: tuple[float, float] = (-1.0, 1.0)) -> examples.Dataset:
    """Return a bundled data set.

    Args:
        name: one of ``NAMES``, or ``"feynman:<formula>"`` for 1,000 rows of a formula
            such as ``feynman:exp(sin(pi*x)+y^2)``.
        domain: where the variables of a formula are drawn from; no other set uses it.

    Raises:
        DataError: when there is no such set (with the nearest name), or the formula
            is not one.
    """
    if name.startswith(_FORMULA):
        text = name.removeprefix(_FORMULA).strip()
        return synthetic.feynman(jax.random.key(_SEED), text, domain=domain)
    if name == "friedman":
        return synthetic.friedman(jax.random.key(_SEED))
    if name == "diabetes":
        return _diabetes()
    if name in NAMES:
        return _classes(name)
    hint = errors.nearest(name, (*NAMES, "feynman:<formula>"))
    raise errors.DataError(
        f"no bundled data set is called {name!r}, {hint} Expected one of "
        f"{', '.join(NAMES)}, feynman:<formula>, or the path of a table"
    )


def _diabetes() -> examples.Dataset:
    from sklearn import datasets

    bunch: Any = datasets.load_diabetes(scaled=False)
    return examples.Dataset(
        np.asarray(bunch["data"], float),
        np.asarray(bunch["target"], float)[:, None],
        tuple(map(str, bunch["feature_names"])),
        ("progression",),
        "regression",
        "diabetes",
        ("disease progression after one year in 442 patients (scikit-learn)",),
    )


def _classes(name: str) -> examples.Dataset:
    from sklearn import datasets

    loaders = {
        "breast_cancer": (datasets.load_breast_cancer, "569 tumours, 2 diagnoses"),
        "wine": (datasets.load_wine, "178 wines from 3 growers"),
        "digits": (datasets.load_digits, "1,797 handwritten digits, 8x8 pixels"),
    }
    loader, about = loaders[name]
    bunch: Any = loader()
    return examples.Dataset(
        np.asarray(bunch["data"], float),
        np.asarray(bunch["target"], np.int32),
        tuple(map(str, bunch["feature_names"])),
        tuple(map(str, bunch["target_names"])),
        "classification",
        name,
        (f"{about} (scikit-learn)",),
    )
