"""AF-KAN: Activation Function-Based Kolmogorov-Arnold Networks.

Ta, Tran (2025), arXiv 2503.06112. Networks of combined activations, of squared
rectifiers (ReLU-KAN), of B-splines and a perceptron classify scikit-learn's digits, at
one structure and at one number of parameters; then AF-KAN with other activations,
combinations, reductions and grids. With a folder they classify MNIST.
"""

import dataclasses
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.bases.activation_pairs import COMBINATIONS
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="af-kan",
    title="AF-KAN: Activation Function-Based Kolmogorov-Arnold Networks for Efficient "
    "Representation Learning",
    source="Ta, Tran (2025), arXiv 2503.06112",
    room="kan",
    state="in part",
)

ACTIVATIONS = {
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}
REDUCTIONS = {
    "global": ("global_attn",),
    "spatial": ("spatial_attn",),
    "multistep": ("multistep",),
    "local": ("local_attn",),
    "global + spatial": ("global_attn", "spatial_attn"),
}


class Setting(NamedTuple):
    """Sizes of a run; the ablations have fewer seeds than the comparison."""

    seeds: int
    epochs: int
    ablation_seeds: int


SETTINGS = {
    "short": Setting(2, 5, 0),
    "default": Setting(5, 25, 3),
    "full": Setting(10, 25, 5),
}
BATCH = 64


class Run(NamedTuple):
    """Test accuracies by seed in percent, and the number of parameters."""

    accuracy: np.ndarray
    parameters: int
    params: Any


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is a folder with MNIST, in the place of digits."""
    setting = SETTINGS[scale]
    sets = _digits(data)
    inputs = sets[0][0].shape[1]
    middle = 32 if data is None else 64
    structure = (inputs, middle, 10)
    af = kj.kan.AFKAN(structure, norm="batch")
    nets: dict[str, Any] = {
        "AF-KAN": af,
        "ReLU-KAN": kj.kan.relu_kan(structure),
        "MLP": kj.nn.MLP(structure, jax.nn.silu),
    }
    curves: dict[str, dict[int, Any]] = {}
    if scale != "short":
        nets["AF-KAN by sample"] = dataclasses.replace(af, norm="sample")
        nets["KAN"] = kj.kan.KAN(structure, kj.bases.BSpline(3))
        curves = _of_all_widths(inputs)
        target = _size(af)
        for name in ("ReLU-KAN", "MLP", "KAN"):
            # The width whose number of parameters is the nearest to AF-KAN's.
            widths = range(1, 2 * middle)
            sizes = [abs(_size(_net(name, inputs, h)) - target) for h in widths]
            nets[f"{name}, equal"] = _net(name, inputs, widths[int(np.argmin(sizes))])
    runs = {
        name: _train(net, sets, setting.seeds, setting) for name, net in nets.items()
    }
    by_width = {
        name: [_train(net, sets, setting.seeds, setting) for net in each.values()]
        for name, each in curves.items()
    }
    ablations = {}
    if setting.ablation_seeds:
        ablations = _ablations(af, runs["AF-KAN"], sets, setting)
    numbers = {
        "runs": {name: _numbers(run) for name, run in runs.items()},
        "by_width": {
            name: [_numbers(run) for run in each] for name, each in by_width.items()
        },
        "ablations": {
            kind: {name: _numbers(run) for name, run in each.items()}
            for kind, each in ablations.items()
        },
    }
    if scale != "short":
        single = _singly(af, runs["AF-KAN"].params, sets[1])
        numbers["one_example_at_a_time"] = single
    figures = {PAPER.slug: _figure(runs, by_width, ablations)}
    return papers.Reproduction(_claims(runs), numbers, figures)


def _digits(folder: pathlib.Path | None) -> Any:
    """Examples to train on and to test on, pixels from -1 to 1."""
    if folder is not None:
        train, test = kj.data.handwritten_digits(folder)
        return tuple((2 * each.x - 1, each.y) for each in (train, test))
    from sklearn import datasets, model_selection

    x, y = datasets.load_digits(return_X_y=True)
    x, x_test, y, y_test = model_selection.train_test_split(
        x / 8 - 1, y, test_size=0.3, stratify=y, random_state=0
    )
    return (jnp.float32(x), jnp.int32(y)), (jnp.float32(x_test), jnp.int32(y_test))


def _net(name: str, inputs: int, width: int) -> Any:
    structure = (inputs, width, 10)
    if name == "AF-KAN":
        return kj.kan.AFKAN(structure, norm="batch")
    if name == "ReLU-KAN":
        return kj.kan.relu_kan(structure)
    if name == "KAN":
        return kj.kan.KAN(structure, kj.bases.BSpline(3))
    return kj.nn.MLP(structure, jax.nn.silu)


def _of_all_widths(inputs: int) -> dict[str, dict[int, Any]]:
    widths = {
        "AF-KAN": (8, 16, 64),
        "MLP": (8, 16, 64),
        "ReLU-KAN": (2, 8),
        "KAN": (2, 8),
    }
    return {
        name: {width: _net(name, inputs, width) for width in each}
        for name, each in widths.items()
    }


def _size(net: Any) -> int:
    return kj.model.count_parameters(jax.eval_shape(net.init, jax.random.key(0)))


def _train(net: Any, sets: Any, seeds: int, setting: Setting) -> Run:
    (x, y), test = sets
    keys = jax.random.split(jax.random.key(0), seeds)
    # Not in the compiled program, where random numbers take the most time to compile.
    starts = jax.vmap(net.init)(keys)
    steps = setting.epochs * -(-len(x) // BATCH)

    def run(key: Array, start: Any) -> Any:
        params, _ = kj.training.descend(
            kj.training.classification(net.apply),
            start,
            (x, y),
            key=key,
            optimizer=optax.adamw(2e-3, weight_decay=1e-4),
            steps=steps,
            batch_size=BATCH,
        )
        right = jnp.argmax(net.apply(params, test[0]), axis=-1) == test[1]
        return 100 * jnp.mean(right), params

    accuracy, params = jax.jit(jax.vmap(run))(keys, starts)
    return Run(np.asarray(accuracy), _size(net), params)


def _ablations(
    af: kj.kan.AFKAN, known: Run, sets: Any, setting: Setting
) -> dict[str, dict[str, Run]]:
    """AF-KAN with one thing changed at a time."""

    def with_basis(**options: Any) -> kj.kan.AFKAN:
        return dataclasses.replace(af, basis=kj.bases.ActivationPairs(**options))

    kinds = {
        "activation": {
            name: with_basis(activation=function)
            for name, function in ACTIVATIONS.items()
        },
        "combination": {name: with_basis(combination=name) for name in COMBINATIONS},
        "reduction": {
            name: dataclasses.replace(af, reductions=each)
            for name, each in REDUCTIONS.items()
        },
        "grid": {
            f"G={g}, k={k}": with_basis(intervals=g, degree=k)
            for g, k in ((3, 1), (3, 3), (5, 3), (10, 3))
        },
    }

    def train(net: kj.kan.AFKAN) -> Run:
        if net == af:
            return known._replace(accuracy=known.accuracy[: setting.ablation_seeds])
        return _train(net, sets, setting.ablation_seeds, setting)

    return {
        kind: {name: train(net) for name, net in nets.items()}
        for kind, nets in kinds.items()
    }


def _singly(af: kj.kan.AFKAN, params: Any, test: Any) -> list[float]:
    """Accuracy where every test example is a batch of its own, by seed."""

    def accuracy(params: Any) -> Array:
        outputs = jax.vmap(af.apply, (None, 0))(params, test[0])
        return 100 * jnp.mean(jnp.argmax(outputs, axis=-1) == test[1])

    return jax.jit(jax.vmap(accuracy))(params).tolist()


# ---- claims and the figure


def _numbers(run: Run) -> dict[str, Any]:
    return {"accuracy": run.accuracy.tolist(), "parameters": run.parameters}


def _said(name: str, run: Run) -> str:
    mean, spread = run.accuracy.mean(), run.accuracy.std(ddof=1)
    return f"{name} {mean:.2f}% ± {spread:.2f} ({run.parameters:,} parameters)"


def _claims(runs: dict[str, Run]) -> tuple[papers.Claim, ...]:
    af = runs["AF-KAN"]
    seeds = len(af.accuracy)

    def gain(name: str) -> tuple[float, float, str]:
        change = af.accuracy - runs[name].accuracy
        error = change.std(ddof=1) / seeds**0.5
        text = f"{change.mean():+.2f} ± {error:.2f} points ({seeds} seeds)"
        return change.mean(), error, f"{text}; {_said('AF-KAN', af)}"

    change, _, text = gain("ReLU-KAN")
    ratio = runs["ReLU-KAN"].parameters / af.parameters
    claims = [
        papers.Claim(
            "At one structure, AF-KAN is about as good as ReLU-KAN with a sixth of its "
            "parameters.",
            f"{text}, {ratio:.2f} times fewer",
            bool(change >= -0.5 and round(ratio, 1) >= 6.0),
            paper="competitive with 6 to 10 times fewer parameters",
            threshold="at most 0.5 points less, with 6.0 times fewer parameters",
            baseline=_said("ReLU-KAN", runs["ReLU-KAN"]),
        )
    ]
    change, _, text = gain("MLP")
    claims.append(
        papers.Claim(
            "It is about as good as a perceptron of that structure.",
            text,
            bool(abs(change) <= 1.5),
            threshold="within 1.5 points",
            baseline=_said("MLP", runs["MLP"]),
        )
    )
    for name in ("MLP", "ReLU-KAN", "KAN"):
        if f"{name}, equal" not in runs:
            continue
        change, error, text = gain(f"{name}, equal")
        other = {"MLP": "a perceptron", "KAN": "a KAN of B-splines"}.get(name, name)
        claims.append(
            papers.Claim(
                f"At one number of parameters, it is better than {other}.",
                text,
                bool(change > 2 * error),
                paper="better at an equal number of parameters",
                threshold="accuracy higher by more than 2 standard errors",
                baseline=_said(name, runs[f"{name}, equal"]),
            )
        )
    return tuple(claims)


@style.styled
def _figure(
    runs: dict[str, Run],
    by_width: dict[str, list[Run]],
    ablations: dict[str, dict[str, Run]],
) -> Any:
    figure = style.new_figure((9.4, 4.6))
    sizes, bars = figure.subplots(1, 2)
    for name, color in zip(
        ("AF-KAN", "ReLU-KAN", "MLP", "KAN"), style.PALETTE, strict=False
    ):
        if name not in runs:
            continue
        every = [*by_width.get(name, []), runs[name]]
        every.sort(key=lambda run: run.parameters)
        sizes.errorbar(
            [run.parameters for run in every],
            [run.accuracy.mean() for run in every],
            [run.accuracy.std(ddof=1) for run in every],
            color=color,
            marker="o",
            markersize=4,
            capsize=2,
            label=name,
        )
        sizes.plot(
            runs[name].parameters,
            runs[name].accuracy.mean(),
            "o",
            color=color,
            markersize=10,
            fillstyle="none",
        )
    sizes.set(
        xscale="log",
        xlabel="parameters",
        ylabel="test accuracy (%)",
        title="Digits (rings: one structure)",
    )
    sizes.legend()
    style.light_grid(sizes, "both")
    labels, place = [], 0.0
    places: list[float] = []
    for (kind, each), color in zip(ablations.items(), style.PALETTE, strict=False):
        where = place + np.arange(len(each))
        means = [run.accuracy.mean() for run in each.values()]
        spreads = [run.accuracy.std(ddof=1) for run in each.values()]
        bars.errorbar(means, where, xerr=spreads, fmt="o", color=color, label=kind)
        labels += list(each)
        places += where.tolist()
        place += len(each) + 1
    if ablations:
        bars.set_yticks(places, labels, fontsize=7)
        bars.invert_yaxis()
        bars.legend(fontsize=7, loc="lower right")
        bars.set(xlabel="test accuracy (%)", title="AF-KAN, one thing changed")
        style.light_grid(bars, "x")
    else:
        bars.set_axis_off()
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
