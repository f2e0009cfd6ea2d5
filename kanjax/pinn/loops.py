"""The host's side of training: round after round, with checkpoints and progress.

Every round is one call of one program, so that a training that is gone on from a
checkpoint is the same bit for bit.
"""

import abc
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from kanjax import training

Watcher = Callable[[training.Progress], Any]
CHECKPOINTS = 10


class Loop(abc.ABC):
    """A training in rounds, to be run.

    A run is a pytree of arrays with ``good``, whether every loss so far was finite;
    ``losses`` before each step, (..., steps), NaN where not trained; and ``params``.

    Args:
        bounds: steps before each round, and after the last, (rounds + 1,).
        identity: what JSON can express, and tells this training from others.
        members: of an ensemble, None for a single network.
    """

    def __init__(
        self,
        bounds: np.ndarray,
        identity: dict[str, Any],
        members: int | None = None,
    ) -> None:
        self.bounds, self.members = bounds, members
        self.steps = int(bounds[-1])
        self._identity = identity

    @abc.abstractmethod
    def start(self, params: Any) -> Any:
        """Return the run before the first round.

        Args:
            params: to start from.
        """

    @abc.abstractmethod
    def advance(self, run: Any, done: int) -> Any:
        """Return the run after another round.

        Args:
            run: before it.
            done: rounds before it.
        """

    def train(
        self,
        params: Any,
        *,
        checkpoint: training.Checkpoint | None = None,
        callback: Watcher | None = None,
    ) -> Any:
        """Train from parameters on, or from the checkpoint.

        Args:
            params: to start from; of an ensemble with a leading member axis.
            checkpoint: where to store the training, and whether to go on from there.
            callback: called after each round.

        Raises:
            CheckpointError: if the checkpoint is of another training.
        """
        run, done, last = self.start(params), 0, len(self.bounds) - 1
        if checkpoint is not None:
            run, done = self._restored(checkpoint, run)
        saved = done
        try:
            while done < last and bool(jnp.any(run.good)):
                run, done = self.advance(run, done), done + 1
                if done < last and self._is_due(checkpoint, saved, done):
                    self._save(checkpoint, run, done)
                    saved = done
                if callback is not None:
                    callback(self._progress(run, done))
        except KeyboardInterrupt:
            if done > saved:
                self._save(checkpoint, run, done)
            raise
        if done > saved:
            self._save(checkpoint, run, done)
        return run

    def _is_due(
        self, checkpoint: training.Checkpoint | None, saved: int, done: int
    ) -> bool:
        if checkpoint is None:
            return False
        every = checkpoint.every or self.steps / CHECKPOINTS
        return bool(self.bounds[done] - self.bounds[saved] >= every)

    def _metadata(self, checkpoint: training.Checkpoint) -> dict[str, Any]:
        return {"config": checkpoint.config or {}, "training": self._identity}

    def _save(
        self, checkpoint: training.Checkpoint | None, run: Any, done: int
    ) -> None:
        if checkpoint is None:
            return
        metadata = self._metadata(checkpoint) | {"rounds": done}
        training.checkpoints.save(checkpoint.path, run, metadata=metadata)

    def _restored(self, checkpoint: training.Checkpoint, run: Any) -> tuple[Any, int]:
        path = checkpoint.path
        if not checkpoint.resume or not training.checkpoints.exists(path):
            return run, 0
        restored = training.checkpoints.restore(
            path, run, metadata=self._metadata(checkpoint)
        )
        return restored, int(training.checkpoints.metadata(path)["rounds"])

    def _progress(self, run: Any, done: int) -> training.Progress:
        step = int(self.bounds[done])
        return training.Progress(
            step=step,
            steps=self.steps,
            loss=run.losses[..., step - 1],
            validation_loss=None,
            training=int(jnp.sum(run.good)),
            members=self.members or 1,
            params=run.params,
        )
