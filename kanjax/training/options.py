"""What a fit takes by keyword, said once for one network and for an ensemble."""

from collections.abc import Mapping
from typing import Any, Required, TypedDict

import optax
from jax.sharding import Mesh

from kanjax.training import loop, losses, optimizers
from kanjax.training.checkpoints import Checkpoint

Optimizer = str | optax.GradientTransformation | optax.GradientTransformationExtraArgs


class Options(TypedDict, total=False):
    """The keywords of :func:`fit` and :func:`fit_ensemble`; see :func:`fit`."""

    optimizer: Required[Optimizer]
    learning_rate: optimizers.LearningRate | None
    steps: Required[int]
    batch_size: int | None
    validation: Any
    validation_loss: losses.Loss | None
    patience: int | None
    evaluate_every: int
    mesh: Mesh | None
    checkpoint: Checkpoint | None
    progress: bool | loop.Watcher
    callback: loop.Watcher | None
    compiler_options: Mapping[str, Any]
