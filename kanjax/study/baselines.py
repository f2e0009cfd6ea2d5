"""What the usual methods of scikit-learn reach on the same rows."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from kanjax.data import Split, errors
from kanjax.study import evaluation


def baselines(
    task: str, split: Split, scale: np.ndarray, classes: int, *, seed: int
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Test metrics of a linear model, boosted trees and a perceptron.

    They are fitted on the training and the validation rows together, since only the
    ensemble stops early by the latter. Nothing else is tuned.

    Returns:
        The name of each method with its metrics, as ``evaluation.score`` names them,
        and a note on each method that fails, as some do on a class of two rows.
    """
    x = np.concatenate([split.train.x, split.validation.x])
    y = np.concatenate([split.train.y, split.validation.y])
    found, notes = {}, []
    for name, method in _methods(task, seed).items():
        with warnings.catch_warnings():
            # A perceptron that has not converged is scored as it is.
            warnings.simplefilter("ignore")
            try:
                outputs = _fitted_outputs(task, method, x, y, split.test.x, classes)
            except ValueError as error:
                reason = errors.one_line(error)
                notes.append(f"{name} left out, since it cannot be fitted: {reason}")
                continue
        found[name] = evaluation.measure(
            task, jnp.asarray(outputs), jnp.asarray(split.test.y), scale
        )
    return found, notes


def _methods(task: str, seed: int) -> dict[str, Any]:
    from sklearn import ensemble, linear_model, multioutput, neural_network

    if task == "regression":
        boosting = ensemble.HistGradientBoostingRegressor(random_state=seed)
        return {
            "ridge regression": linear_model.RidgeCV(np.logspace(-3, 3, 13)),
            "gradient boosting": multioutput.MultiOutputRegressor(boosting),
            "MLP (scikit-learn)": neural_network.MLPRegressor(
                hidden_layer_sizes=(64, 64),
                max_iter=500,
                early_stopping=True,
                random_state=seed,
            ),
        }
    return {
        "logistic regression": linear_model.LogisticRegression(max_iter=1000),
        "gradient boosting": ensemble.HistGradientBoostingClassifier(random_state=seed),
        "MLP (scikit-learn)": neural_network.MLPClassifier(
            (64, 64), max_iter=500, early_stopping=True, random_state=seed
        ),
    }


def _fitted_outputs(
    task: str, method: Any, x: np.ndarray, y: np.ndarray, test: Any, classes: int
) -> np.ndarray:
    """Values, or log probabilities over all classes, of the test rows."""
    if task == "regression":
        method.fit(x, y)
        return np.asarray(method.predict(test), np.float32).reshape(len(test), -1)
    method.fit(x, y)
    p = np.full((len(test), classes), 1e-12)
    p[:, method.classes_] = np.maximum(method.predict_proba(test), 1e-12)
    return np.log(p / p.sum(axis=1, keepdims=True)).astype(np.float32)
