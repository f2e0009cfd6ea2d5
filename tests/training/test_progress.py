"""What a fit says while it runs."""

import io

import numpy as np
import rich.console

from kanjax import training
from kanjax.training import progress


def event(step):
    losses = np.array([1.23456e-3, np.nan])
    return training.Progress(step, 20_000, losses, 40 * losses, 16, 16, None)


def test_a_line_on_the_state():
    said = training.describe(event(5))
    assert said == "loss 0.00123, validation 0.0494, 16/16 members"
    alone = event(5)._replace(members=1, validation_loss=None, loss=np.array([np.nan]))
    assert training.describe(alone) == ""


def test_steps_time_and_losses_fit_in_80_columns(monkeypatch):
    shown = io.StringIO()
    console = rich.console.Console(file=shown, width=80, force_terminal=True)
    monkeypatch.setattr(rich.console, "Console", lambda **_: console)
    with progress.bar() as show:
        show(event(12_345))
    last = shown.getvalue()
    for words in ("12345/20000", "16/16 members", "loss 0.00123"):
        assert words in last
