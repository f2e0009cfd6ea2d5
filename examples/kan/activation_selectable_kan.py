"""Activation Space Selectable Kolmogorov-Arnold Networks.

Yang, Zhang, Luo, Lu, Shen (2024), arXiv 2408.08338. Seven functions of two variables
are fitted by networks that choose each node's family of functions from six, before and
after the other families are pruned, by networks of one family each, as wide and with as
many parameters, and by a perceptron. All have as many steps, and each the learning rate
that does best on points of its own.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.data import FUNCTION_SUITE
from kanjax.kan import selection, selection_training
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="activation-selectable-kan",
    title="Activation Space Selectable Kolmogorov-Arnold Networks",
    source="Yang, Zhang, Luo, Lu, Shen (2024), arXiv 2408.08338",
    room="kan",
    state="in part",
)

POINTS = 256
NAMES = ("B-spline", "Gaussian", "sech²", "Chebyshev", "DOG wavelet", "ReLU power")


class Setting(NamedTuple):
    """Sizes of a run: steps of full, selective and pruned training."""

    families: tuple[int, ...]
    functions: int
    seeds: int
    rates: tuple[float, ...]
    phases: tuple[int, int, int]


RATES = (0.02, 0.05, 0.1, 0.2)
SETTINGS = {
    "short": Setting((1, 2), 3, 2, (0.05,), (5, 10, 45)),
    "default": Setting(tuple(range(6)), 7, 5, RATES, (40, 60, 500)),
    "full": Setting(tuple(range(6)), 7, 20, (0.01, *RATES, 0.4), (40, 60, 500)),
}


class Errors(NamedTuple):
    """What was trained at the best rate, and its test errors (seeds, functions).

    ``held`` is each rate's geometric mean of errors on the points to choose on.
    """

    rmse: np.ndarray
    held: list[float]
    parameters: int
    params: Any


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    pool = tuple(kj.kan.POOL_DEFAULT[m] for m in setting.families)
    steps = sum(setting.phases)
    plain = selection_training.Schedule(steps, 0, 0)
    first = setting.phases[0]
    mixed = selection_training.Schedule(first, steps - first, 0, end=1.0)
    chosen = selection_training.Schedule(*setting.phases)
    both = kj.kan.SelectableKAN((2, 4, 1), pool)
    names = tuple(NAMES[m] for m in setting.families)
    results = {
        "mixture": _errors(setting, both, mixed),
        "pruned": _errors(setting, both, chosen),
        "perceptron": _errors(setting, kj.nn.MLP((2, 27, 1), jnp.tanh), plain),
    }
    for name, basis in zip(names, pool, strict=True):
        results[name] = _errors(setting, kj.kan.KAN((2, 4, 1), basis), plain)
    best = min(names, key=lambda name: min(results[name].held))
    if scale != "short":
        per_edge = results[best].parameters / 12
        wide = round(results["mixture"].parameters / (3 * per_edge))
        net = kj.kan.KAN((2, wide, 1), pool[names.index(best)])
        results["wide"] = _errors(setting, net, plain)
    # What pruning leaves has one family a node.
    member = jax.tree.map(lambda leaf: leaf[0, 0], results["pruned"].params)
    pruned = kj.model.count_parameters(selection.prune(both, member)[1])
    results["pruned"] = results["pruned"]._replace(parameters=pruned)
    counts = _counts(results["pruned"].params, len(names))
    numbers = {
        name: {
            "rmse": found.rmse.mean(axis=0).tolist(),
            "geometric_mean": _means(found).tolist(),
            "rates": dict(zip(map(str, setting.rates), found.held, strict=True)),
            "parameters": found.parameters,
        }
        for name, found in results.items()
    }
    numbers["families_chosen_by_layer"] = counts.tolist()
    return papers.Reproduction(
        _claims(results, names, best),
        numbers,
        {PAPER.slug: _figure(results, names, counts)},
    )


def _draw(key: Array, functions: int) -> tuple[Array, Array]:
    """Points to train on, to choose on and to test on, and standardised targets."""
    x = jax.random.uniform(key, (3 * POINTS, 2), minval=-1.0)
    suite = list(FUNCTION_SUITE.values())[:functions]
    y = jnp.stack([function(*x.T) for function in suite])[..., None]
    seen = y[:, :POINTS]
    mean, deviation = seen.mean(1, keepdims=True), seen.std(1, keepdims=True)
    return x, (y - mean) / deviation


def _errors(
    setting: Setting, net: Any, schedule: selection_training.Schedule
) -> Errors:
    """Train a network of every function and seed, at every rate."""
    points, keys = jax.random.split(jax.random.key(0), (2, setting.seeds))
    draw = functools.partial(_draw, functions=setting.functions)
    x, y = jax.vmap(draw)(points)
    # Not in the compiled program, where random numbers take the most time to compile.
    starts = jax.vmap(net.init)(keys)

    def train(rate: Array, key: Array, start: Any, x: Array, y: Array) -> Any:
        found = selection_training.fit(
            kj.training.regression(net.apply),
            start,
            (x[:POINTS], y[:POINTS]),
            schedule,
            key=key,
            optimizer=lambda n: optax.adam(optax.cosine_decay_schedule(rate, n)),
        )
        params = found.params if schedule.tuning else found.mixture
        errors = jnp.square(net.apply(params, x) - y).reshape(3, POINTS)
        return jnp.sqrt(jnp.mean(errors, axis=1)), params

    over_functions = jax.vmap(train, (None, None, None, None, 0))
    over_seeds = jax.jit(jax.vmap(over_functions, (None, 0, 0, 0, 0)))
    rates = map(jnp.asarray, setting.rates)
    runs = [over_seeds(rate, keys, starts, x, y) for rate in rates]
    held = [float(jnp.exp(jnp.mean(jnp.log(rmse[..., 1])))) for rmse, _ in runs]
    rmse, params = runs[int(np.argmin(held))]
    size = kj.model.count_parameters(jax.tree.map(lambda leaf: leaf[0, 0], params))
    return Errors(np.asarray(rmse[..., 2]), held, size, params)


def _means(found: Errors) -> np.ndarray:
    """Each seed's geometric mean over the functions."""
    return np.exp(np.log(found.rmse).mean(axis=1))


def _counts(params: Any, families: int) -> np.ndarray:
    """How many nodes of each layer have each family, (layers, families)."""
    return np.stack(
        [
            np.bincount(np.ravel(layer), minlength=families)
            for layer in selection.select(params)
        ]
    )


def _claims(
    results: dict[str, Errors], names: tuple[str, ...], best: str
) -> tuple[papers.Claim, ...]:
    means = {name: _means(found) for name, found in results.items()}
    average = np.mean([means[name] for name in names], axis=0)
    mixture, pruned = means["mixture"], means["pruned"]
    each = np.stack([results[name].rmse.mean(axis=0) for name in names])
    lowest = int(np.sum(results["mixture"].rmse.mean(axis=0) < each.min(axis=0)))
    seeds, functions = results["mixture"].rmse.shape
    needed = -(-5 * functions // 7)

    def said(name: str) -> str:
        spread = means[name].std(ddof=1)
        size = results[name].parameters
        return f"{name} {means[name].mean():.4f} ± {spread:.4f} ({size} parameters)"

    def claim(
        text: str, value: np.ndarray, other: Any, limit: float, beside: str
    ) -> Any:
        ratio = value / other
        return papers.Claim(
            text,
            f"{ratio.mean():.2f} ± {ratio.std(ddof=1):.2f} of it ({seeds} seeds)",
            bool(ratio.mean() <= limit),
            threshold=f"at most {limit} of it in the mean of seeds",
            baseline=beside,
        )

    claims = (
        claim(
            "Not pruned, a selectable network errs less than the best single family.",
            mixture,
            means[best],
            0.8,
            f"{said('mixture')}; {said(best)}",
        ),
        papers.Claim(
            "It is better than every single family on most functions.",
            f"on {lowest} of {functions}, means of {seeds} seeds",
            lowest >= needed,
            threshold=f"on at least {needed} of {functions}",
            baseline="the best family of each function",
        ),
        claim(
            "Pruned, it errs less than a perceptron with as many parameters.",
            pruned,
            means["perceptron"],
            0.6,
            f"{said('pruned')}; {said('perceptron')}",
        ),
        claim(
            "Pruned, it is about as good as the mean single family.",
            pruned,
            average,
            1.4,
            f"mean of families {average.mean():.4f} ± {average.std(ddof=1):.4f}",
        ),
        claim(
            "Pruned, it errs less than the best single family.",
            pruned,
            means[best],
            1.0,
            f"{said('pruned')}; {said(best)}",
        ),
    )
    if "wide" not in results:
        return claims
    return (
        *claims,
        claim(
            "Not pruned, it errs less than that family with as many parameters.",
            mixture,
            means["wide"],
            1.0,
            f"{said('mixture')}; {said('wide')}",
        ),
    )


@style.styled
def _figure(
    results: dict[str, Errors], names: tuple[str, ...], counts: np.ndarray
) -> Any:
    figure = style.new_figure((8.6, 6.4))
    table, bars = figure.subplots(2, 1, height_ratios=(2.2, 1))
    columns = (*names, "mixture", "pruned", "perceptron")
    values = np.stack([results[name].rmse.mean(axis=0) for name in columns], axis=1)
    image = table.imshow(np.log10(values), cmap="Blues", aspect="auto")
    low, high = image.get_clim()
    for (i, j), value in np.ndenumerate(values):
        is_dark = (np.log10(value) - low) / (high - low) > 0.6
        best = value == values[i].min()
        table.text(
            j,
            i,
            f"{value:.3f}",
            ha="center",
            va="center",
            color="white" if is_dark else "black",
            weight="bold" if best else "normal",
            fontsize=9,
        )
    labels = [name.replace(" ", "\n") for name in columns]
    labels[len(names) :] = ["selectable,\nmixture", "selectable,\npruned", "MLP"]
    table.set_xticks(range(len(columns)), labels)
    table.set_yticks(range(len(values)), list(FUNCTION_SUITE)[: len(values)])
    table.set_title("Test RMSE, mean over seeds (bold: least of a row)")
    table.spines[:].set_visible(False)
    table.tick_params(length=0)
    place = np.arange(len(names))
    for i, (layer, color) in enumerate(zip(counts, style.PALETTE, strict=False)):
        share = layer / layer.sum()
        shift = 0.4 * (i - 0.5)
        bars.bar(place + shift, share, 0.38, color=color, label=f"layer {i + 1}")
    bars.set_xticks(place, names)
    bars.set(ylabel="share of nodes", title="Families that nodes chose")
    bars.legend()
    style.light_grid(bars, "y")
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
