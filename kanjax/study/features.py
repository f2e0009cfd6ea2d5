"""What the members' last features are: how alike, and how far collapsed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import compiling, taps
from kanjax.data import Examples
from kanjax.model import Model
from kanjax.representation import neural_collapse, unit_matching

FEATURE_ROWS = 2000


class Features(NamedTuple):
    """Measures of what enters the members' last layers, on training rows.

    Attributes:
        similarity: of members to each other, by "initial" and "trained".
        collapse: of classes, each measure (members,), by the same names; None in
            regression.
        width: of the features.
    """

    similarity: dict[str, unit_matching.Convergence]
    collapse: dict[str, dict[str, Array]] | None
    width: int


def compare(model: Model, initial: Any, trained: Any, train: Examples) -> Features:
    """Compare the members' features on at most ``FEATURE_ROWS`` rows, in both states.

    Args:
        model: the members' model.
        initial: the members' parameters before training, stacked.
        trained: the same after it.
        train: the training rows; labels are integers in classification.
    """
    x, y = jnp.asarray(train.x[:FEATURE_ROWS]), jnp.asarray(train.y[:FEATURE_ROWS])
    each = {
        "initial": _last_features(model, initial, x),
        "trained": _last_features(model, trained, x),
    }
    similarity = {name: _alike(features) for name, (features, _) in each.items()}
    collapse = None
    if jnp.issubdtype(y.dtype, jnp.integer):
        collapse = {
            name: _collapse(features, y, outputs)._asdict()
            for name, (features, outputs) in each.items()
        }
    return Features(similarity, collapse, each["trained"][0].shape[-1])


@compiling.jit_soon
def _last_features(model: Model, params: Any, x: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda p: last_features(model, p, x))(params)


@compiling.jit_soon
def _alike(features: Array) -> unit_matching.Convergence:
    # On the device: what calls the host cannot be kept as a compiled program.
    return unit_matching.compare_networks(list(features), solver="device")


@compiling.jit_soon
def _collapse(features: Array, y: Array, outputs: Array) -> Any:
    measure = neural_collapse.feature_collapse
    return jax.vmap(measure, in_axes=(0, None, 0))(features, y, outputs)


def last_features(model: Model, params: Any, x: Array) -> tuple[Array, Array]:
    """Return what enters a model's last layer, (n, width), and its outputs.

    Of a model whose layers are not known, or that has one alone, both are its outputs.
    """
    *layers, output = taps.record(model, params, x).values()
    features = layers[-2] if len(layers) > 1 else output
    return features.reshape(len(x), -1), output


def metrics(features: Features) -> dict[str, Any]:
    """Return the measures as plain numbers."""
    values: dict[str, Any] = {
        "width": features.width,
        "similarity": {
            name: table._asdict() for name, table in features.similarity.items()
        },
    }
    if features.collapse is not None:
        values["collapse"] = features.collapse
    return values
