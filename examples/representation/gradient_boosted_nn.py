"""Sequential Training of Neural Networks with Gradient Boosting, on small tables.

Emami, Martinez-Munoz (2019), arXiv 1909.12098. Networks whose units are boosted stand
beside networks of as many units that scikit-learn trains at once, by L-BFGS as the
boosted ones are, and by Adam. Three bundled sets; the paper has more.
"""

import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

import kanjax as kj
from kanjax import cli, papers
from kanjax.papers import spread
from kanjax.plotting import style
from kanjax.representation import boosting

PAPER = papers.Paper(
    slug="gradient-boosted-nn",
    title="Sequential Training of Neural Networks with Gradient Boosting",
    source="Emami, Martinez-Munoz (2019), arXiv 1909.12098",
    room="representation",
    state="reproduced",
)

RATE, TRAIN_SHARE, ITERATIONS = 0.1, 0.7, 200


class Table(NamedTuple):
    """A set, with the hidden units of a step and the share of rows it sees."""

    units: int
    subsample: float
    loss: Callable[[], boosting.BoostingLoss]


TABLES = {
    "diabetes": Table(1, 0.5, boosting.squared),
    "breast_cancer": Table(2, 0.5, boosting.binary),
    "wine": Table(2, 0.75, lambda: boosting.multiclass(3)),
}


class Setting(NamedTuple):
    """Sizes of a run."""

    splits: int
    steps: int
    tables: tuple[str, ...]


SETTINGS = {
    "short": Setting(2, 50, ("diabetes",)),
    "default": Setting(10, 50, tuple(TABLES)),
    "full": Setting(50, 50, tuple(TABLES)),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; all sets are bundled, and ``data`` is not read."""
    setting = SETTINGS[scale]
    scores = {name: measure(name, setting) for name in setting.tables}
    numbers = {
        name: {method: values.tolist() for method, values in each.items()}
        for name, each in scores.items()
    }
    return papers.Reproduction(
        _claims(scores, setting), numbers, {PAPER.slug: _figure(scores, setting)}
    )


def measure(name: str, setting: Setting) -> dict[str, np.ndarray]:
    """Scores on the test rows of each split: errors for values, else accuracies.

    "boosted" and "boosted, train" are (splits, steps), after each step.
    """
    table, table_data = TABLES[name], kj.data.load(name)
    loss, is_values = table.loss(), name == "diabetes"
    x = np.asarray(table_data.x, np.float32)
    y = np.asarray(table_data.y)
    y = y.reshape(-1).astype(np.float32) if is_values else y
    count = round(TRAIN_SHARE * len(y))
    parts = [_split(x, y, count, seed, is_values) for seed in range(setting.splits)]
    train_x, train_y, test_x, test_y = (jnp.stack(p) for p in zip(*parts, strict=True))

    @jax.jit
    @jax.vmap
    def run(key: Array, x: Array, y: Array, new_x: Array, new_y: Array) -> Any:
        boosted = boosting.fit(
            loss,
            x,
            y,
            key=key,
            steps=setting.steps,
            units=table.units,
            rate=RATE,
            subsample=table.subsample,
            max_iterations=ITERATIONS,
        )
        return [
            _score(loss, boosting.staged(boosted, rows), targets, is_values)
            for rows, targets in ((new_x, new_y), (x, y))
        ]

    keys = jax.random.split(jax.random.key(0), setting.splits)
    test, train = run(keys, train_x, train_y, test_x, test_y)
    units = setting.steps * table.units
    scores = {"boosted": np.asarray(test), "boosted, train": np.asarray(train)}
    for solver in ("lbfgs", "adam"):
        scores[solver] = np.array(
            [_at_once(part, units, solver, is_values) for part in parts]
        )
    return scores


def _split(x: Any, y: Any, count: int, seed: int, is_values: bool) -> tuple[Any, ...]:
    """Rows to train on and to test, standardized by the first."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:count], order[count:]
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    if is_values:
        y = (y - y[train].mean()) / y[train].std()
    return x[train], y[train], x[test], y[test]


def _score(loss: Any, stages: Array, y: Array, is_values: bool) -> Array:
    if is_values:
        return jnp.sqrt(jnp.mean((stages[..., 0] - y) ** 2, axis=1))
    p = loss.probabilities(stages)
    labels = p[..., 0] > 0.5 if p.shape[-1] == 1 else jnp.argmax(p, axis=-1)
    return jnp.mean(labels == y, axis=1)


def _at_once(part: Any, units: int, solver: str, is_values: bool) -> float:
    x, y, new_x, new_y = part
    make = MLPRegressor if is_values else MLPClassifier
    net = make(
        hidden_layer_sizes=(units,),
        activation="logistic",
        solver=solver,
        max_iter=ITERATIONS,
    )
    net.set_params(random_state=0)
    with warnings.catch_warnings():
        # So many iterations and no more are the comparison.
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(x, y)
    if is_values:
        return float(np.sqrt(np.mean((net.predict(new_x) - new_y) ** 2)))
    return float(net.score(new_x, new_y))


def _claims(
    scores: dict[str, dict[str, np.ndarray]], setting: Setting
) -> tuple[papers.Claim, ...]:
    half, claims = setting.steps // 2, []
    for name, each in scores.items():
        boosted, early = each["boosted"][:, -1], each["boosted"][:, half - 1]
        baseline = f"L-BFGS {spread(each['lbfgs'])}, Adam {spread(each['adam'])}"
        if name == "diabetes":
            ratio = boosted.mean() / each["lbfgs"].mean()
            claims.append(
                papers.Claim(
                    "On diabetes the boosted network has a lower error than one of as "
                    "many units trained at once by L-BFGS.",
                    f"{spread(boosted)} of the target's deviation, {ratio:.2f} times",
                    bool(ratio <= 0.8),
                    threshold="at most 0.8 times, means over splits",
                    baseline=baseline,
                )
            )
        else:
            gain = boosted - each["lbfgs"]
            claims.append(
                papers.Claim(
                    f"On {name} it is no less accurate.",
                    f"{spread(boosted)}, a difference of {spread(gain)}",
                    bool(gain.mean() >= -0.005),
                    threshold="a difference of at least -0.005, mean over splits",
                    baseline=baseline,
                )
            )
        cost = (early - boosted) * (1 if name == "diabetes" else -1)
        claims.append(
            papers.Claim(
                f"On {name} half of its units can be switched off.",
                f"{spread(early)}, a loss of {spread(cost)}",
                bool(cost.mean() <= 0.01),
                threshold="a loss of at most 0.01, mean over splits",
                baseline=f"all units {spread(boosted)}",
            )
        )
    return tuple(claims)


@style.styled
def _figure(scores: dict[str, dict[str, np.ndarray]], setting: Setting) -> Any:
    figure = style.new_figure((10.0, 3.6))
    panels = np.atleast_1d(figure.subplots(1, len(scores)))
    for axes, (name, each) in zip(panels, scores.items(), strict=True):
        active = np.arange(1, setting.steps + 1) * TABLES[name].units
        for kind, color, label in (
            ("boosted", style.ORANGE, "boosted, test"),
            ("boosted, train", style.AMBER, "boosted, training rows"),
        ):
            values = each[kind]
            mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
            axes.plot(active, mean, color=color, label=label)
            axes.fill_between(
                active, mean - spread, mean + spread, color=color, alpha=0.2, lw=0
            )
        for solver, dashes, label in (
            ("lbfgs", "--", "at once, L-BFGS, test"),
            ("adam", ":", "at once, Adam, test"),
        ):
            level = each[solver].mean()
            axes.axhline(level, color=style.BLUE, linestyle=dashes, label=label)
        axes.set(
            xlabel="active hidden units",
            ylabel="error" if name == "diabetes" else "accuracy",
            title=name.replace("_", " "),
        )
        style.light_grid(axes)
    panels[0].legend(fontsize=7)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
