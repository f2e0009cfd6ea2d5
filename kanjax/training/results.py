"""What a fit returns."""

from typing import Any, NamedTuple

import jax
import numpy as np

from kanjax import pytrees

Params = Any
State = Any


class History(NamedTuple):
    """What was measured on the way; NaN where a member no longer took part.

    Attributes:
        loss: (members, steps) the training loss before each update.
        metrics: the loss's metrics, each (members, steps, ...).
        validation_loss: (members, evaluations).
        validation_metrics: each (members, evaluations, ...).
        evaluated_at: (evaluations,) the steps done before each evaluation.
    """

    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    validation_loss: np.ndarray
    validation_metrics: dict[str, np.ndarray]
    evaluated_at: np.ndarray

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr


class Fit(NamedTuple):
    """A finished fit. Under :func:`kanjax.training.fit` nothing has a member axis.

    Attributes:
        params: the parameters of lowest validation loss; without validation, or where
            it was never finite, the last ones.
        final_params: the last parameters with a finite loss.
        history: losses and metrics on the way.
        steps: (members,) the updates each member made.
        best_step: (members,) the updates made before ``params``.
        stopped: (members,) whether patience ended the training early.
        diverged: (members,) the step whose loss, gradient or update was not finite, so
            that training ended there; -1 if none.
        state: the model's state that belongs to ``params``; None if the fit has none.
        final_state: the one that belongs to ``final_params``.
    """

    params: Params
    final_params: Params
    history: History
    steps: np.ndarray
    best_step: np.ndarray
    stopped: np.ndarray
    diverged: np.ndarray
    state: State | None = None
    final_state: State | None = None

    __repr__ = pytrees.short_repr
    _repr_html_ = pytrees.html_repr

    @property
    def members(self) -> int:
        """The number of members."""
        return int(np.size(self.steps))

    @property
    def best_member(self) -> int:
        """The member of lowest validation loss.

        Raises:
            ValueError: if no member has a finite validation loss.
        """
        losses = np.atleast_2d(self.history.validation_loss)
        finite = np.where(np.isfinite(losses), losses, np.inf)
        lowest = finite.min(axis=1, initial=np.inf)
        if not np.isfinite(lowest).any():
            raise ValueError(
                "no member has a finite validation loss; give fit_ensemble a "
                "validation set to compare members."
            )
        return int(lowest.argmin())

    def member(self, index: int) -> Params:
        """Return the parameters of one member of an ensemble.

        Raises:
            IndexError: if there is no such member.
            TypeError: if this is no ensemble.
        """
        return self._of_member(index, self.params, "params")

    def member_state(self, index: int) -> State | None:
        """Take the model's state of one member of an ensemble.

        Args:
            index: of the member.

        Raises:
            IndexError: if there is no such member.
            TypeError: if this is no ensemble.
        """
        return self._of_member(index, self.state, "state")

    def _of_member(self, index: int, tree: Any, name: str) -> Any:
        if np.ndim(self.steps) == 0:
            what = {"params": "parameters are", "state": "state is"}[name]
            raise TypeError(f"this is a fit of one network; its {what} .{name}.")
        if not -self.members <= index < self.members:
            raise IndexError(
                f"member {index} does not exist; the ensemble has {self.members}."
            )
        return jax.tree.map(lambda leaf: leaf[index], tree)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a fit; ``fit`` holds the result up to the last evaluation."""

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit
