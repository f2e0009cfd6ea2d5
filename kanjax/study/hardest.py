"""The rows that an ensemble gets most wrong."""

from typing import Any

import numpy as np

from kanjax import data as data_
from kanjax.study import evaluation

MOST = 8


def hardest_rows(
    prepared: data_.Prepared, predictions: dict[str, evaluation.Prediction]
) -> list[dict[str, Any]]:
    """List the rows with the largest losses in each part of the data, largest first.

    Args:
        prepared: the data.
        predictions: of the ensemble, by the name of the part, such as "test".

    Returns:
        For each row its number in the data as given, its part, the target, the
        prediction, the members' spread (of the true class's probability in
        classification) and the loss: the negative logarithm of the true class's
        probability, or the squared error over the target's variance.
    """
    rows = []
    for subset, prediction in predictions.items():
        place = prepared.split._fields.index(subset)
        numbers = prepared.split.rows[place]
        y = np.asarray(getattr(prepared.split, subset).y)
        output, std = map(np.asarray, prediction)
        scaler = prepared.preprocessor
        if prepared.task == "classification":
            true = np.arange(len(y)), y
            losses, spread = -output[true], std[true][:, None]
            target = scaler.inverse_target(y)[:, None]
            predicted = scaler.inverse_target(output.argmax(axis=1))[:, None]
        else:
            losses = np.mean((output - y) ** 2, axis=1)
            target, predicted = scaler.inverse_target(y), scaler.inverse_target(output)
            spread = std * np.asarray(scaler.std)
        for i in np.argsort(-losses, kind="stable")[:MOST]:
            rows.append(
                {
                    "row": int(numbers[i]),
                    "part": subset,
                    "target": target[i].tolist(),
                    "prediction": predicted[i].tolist(),
                    "spread": spread[i].tolist(),
                    "loss": float(losses[i]),
                }
            )
    return rows
