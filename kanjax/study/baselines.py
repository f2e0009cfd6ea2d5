"""What the usual methods of scikit-learn reach on the same rows."""

import functools
import warnings
from typing import Any

import numpy as np

from kanjax.data import Split
from kanjax.study import schedules
from kanjax.study.attempts import attempted

MOST_PROCESS_ROWS = 500
"""Rows from which on an exact Gaussian process would take minutes."""


def baselines(
    task: str,
    split: Split,
    classes: int,
    *,
    seed: int,
    notes: list[str],
    with_processes: bool = False,
) -> dict[str, np.ndarray]:
    """Predictions of the test rows by a linear model, two of trees and a perceptron.

    They are fitted on the training and the validation rows together, since only the
    ensemble stops early by the latter. Nothing else is tuned. ``with_processes`` adds a
    Gaussian process, of up to ``MOST_PROCESS_ROWS`` rows.

    Returns:
        The name of each method with its outputs, as ``evaluation.measure`` takes
        them. A method that fails, as on a class of two rows, is left out, and
        ``notes`` get why.
    """
    import threadpoolctl

    x = np.concatenate([split.train.x, split.validation.x])
    y = np.concatenate([split.train.y, split.validation.y])
    candidates, predicted = methods(task, seed), {}
    if with_processes and len(x) <= MOST_PROCESS_ROWS:
        candidates["Gaussian process"] = _process(task, seed)
    elif with_processes:
        notes.append(
            f"no Gaussian process of scikit-learn beside, for {len(x)} rows: it takes "
            f"at most {MOST_PROCESS_ROWS}"
        )
    # Of few rows, threads that wait for each other cost more than all the work.
    threads = 1 if len(x) < schedules.MANY_ROWS else None
    for name, method in candidates.items():
        fitted = functools.partial(
            fit_and_predict, task, method, x, y, split.test.x, classes
        )
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(threads):
            # A perceptron that has not converged is scored as it is.
            warnings.simplefilter("ignore")
            outputs = attempted(notes, name, fitted)
        if outputs is not None:
            predicted[name] = outputs
    return predicted


def methods(task: str, seed: int) -> dict[str, Any]:
    """Return scikit-learn's methods by name, not yet fitted."""
    from sklearn import ensemble, linear_model, multioutput, neural_network

    # The default share of 10 % and patience of 10 end too early with few rows.
    perceptron = {
        "hidden_layer_sizes": (64, 64),
        "max_iter": 1000,
        "early_stopping": True,
        "validation_fraction": 0.2,
        "n_iter_no_change": 50,
        "random_state": seed,
    }
    if task == "regression":
        boosting = ensemble.HistGradientBoostingRegressor(random_state=seed)
        return {
            "ridge regression": linear_model.RidgeCV(np.logspace(-3, 3, 13)),
            "gradient boosting": multioutput.MultiOutputRegressor(boosting),
            "random forest": ensemble.RandomForestRegressor(random_state=seed),
            "MLP (scikit-learn)": neural_network.MLPRegressor(**perceptron),
        }
    return {
        "logistic regression": linear_model.LogisticRegression(max_iter=1000),
        "gradient boosting": ensemble.HistGradientBoostingClassifier(random_state=seed),
        "random forest": ensemble.RandomForestClassifier(random_state=seed),
        "MLP (scikit-learn)": neural_network.MLPClassifier(**perceptron),
    }


def _process(task: str, seed: int) -> Any:
    """Return an exact process whose kernel and noise are learned."""
    from sklearn import gaussian_process
    from sklearn.gaussian_process import kernels

    scaled = kernels.ConstantKernel() * kernels.RBF()
    if task == "regression":
        return gaussian_process.GaussianProcessRegressor(
            scaled + kernels.WhiteKernel(0.1), random_state=seed
        )
    return gaussian_process.GaussianProcessClassifier(scaled, random_state=seed)


def fit_and_predict(
    task: str, method: Any, x: np.ndarray, y: np.ndarray, test: Any, classes: int
) -> np.ndarray:
    """Return values, or log probabilities over all classes, of the test rows.

    Args:
        task: "regression" or "classification".
        method: one of :func:`methods`.
        x: (n, features) to fit on.
        y: (n, outputs) values or (n,) classes.
        test: (m, features).
        classes: how many there are.
    """
    if task == "regression":
        method.fit(x, y)
        return np.asarray(method.predict(test), np.float32).reshape(len(test), -1)
    method.fit(x, y)
    p = np.full((len(test), classes), 1e-12)
    p[:, method.classes_] = np.maximum(method.predict_proba(test), 1e-12)
    return np.log(p / p.sum(axis=1, keepdims=True)).astype(np.float32)
