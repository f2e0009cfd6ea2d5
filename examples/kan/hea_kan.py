"""Kolmogorov-Arnold Neural Networks for High-Entropy Alloys Design.

Bandyopadhyay, Avlani, Zhuang (2024), arXiv 2410.08452; the networks are those of Liu et
al. (2024), arXiv 2404.19756. What the method promises is measured on a known function:
finer grids and a formula read off. The cascade of classifier and regressor runs on
synthetic alloys, or with ``--data`` on a folder's ``alloys.csv`` with the columns
``composition`` (such as AlCoCrFeNi2), ``hea`` (0 or 1) and ``modulus``.
"""

import itertools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.metrics
from jax import Array

import kanjax as kj
from kanjax import cli, papers, plotting
from kanjax.kan import symbolic
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="hea-kan",
    title="Kolmogorov-Arnold Neural Networks for High-Entropy Alloys Design",
    source="Bandyopadhyay, Avlani, Zhuang (2024), arXiv 2410.08452",
    room="kan",
    state="in part",
)

ELEMENTS = ("Al", "Co", "Cr", "Fe", "Ni", "Ti")
MODULI = (180.0, 160.0, 170.0, 190.0, 137.0, 70.0)
ENTROPY = 1.3
"""The least mixing entropy of a high-entropy alloy, in units of R."""


class Setting(NamedTuple):
    """Sizes of a run."""

    grids: tuple[int, ...]
    steps: int
    seeds: int
    rows: int
    """Samples of the known function."""
    starts: int
    """Of which the best is taken, where that function is learned."""
    cascade_steps: int


SETTINGS = {
    "short": Setting((3, 10), 120, 1, 300, 1, 20),
    "default": Setting((3, 5, 10, 20), 200, 3, 1000, 3, 150),
    "full": Setting((3, 5, 10, 20, 50), 400, 10, 1000, 3, 150),
}


class Alloys(NamedTuple):
    """Fractions scaled to [-1, 1], whether an alloy is of high entropy, its modulus."""

    x: Array
    member: Array
    modulus: Array


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; see the module's text for the data."""
    setting = SETTINGS[scale]
    errors = _grid_extension(setting)
    found, x, y = _formula(setting)
    runs = [
        _cascade(_alloys(data, seed), seed, setting) for seed in range(setting.seeds)
    ]
    scores = {
        name: float(np.mean([run["scores"][name] for run in runs]))
        for name in runs[0]["scores"]
    }
    numbers = {
        "rmse_by_grid": errors,
        "formula": _formula_numbers(found, x, y),
        "cascade": scores,
        "cascade_by_seed": [run["scores"] for run in runs],
        "parameters": runs[0]["parameters"],
    }
    figures = {"hea-kan": _figure(errors, found, x, runs[0])}
    if scale != "short":
        figures["hea-kan-network"] = plotting.network(
            kj.kan.diagram(found.model, found.params, x),
            names=["x", "y"],
            output_names=["f(x, y)"],
            title="exp(sin(πx) + y²), pruned and read off",
        )
    return papers.Reproduction(_claims(numbers), numbers, figures)


def _known(x: Array) -> Array:
    return jnp.exp(jnp.sin(jnp.pi * x[:, :1]) + x[:, 1:] ** 2)


def _rmse(y: Array, prediction: Array) -> float:
    return float(np.sqrt(np.mean((np.asarray(prediction) - np.asarray(y)) ** 2)))


def _grid_extension(setting: Setting) -> dict[str, float]:
    """The test error of [2, 1, 1] at every grid, each started from the one before."""
    x, new = (
        jax.random.uniform(k, (setting.rows, 2), minval=-1.0)
        for k in jax.random.split(jax.random.key(0))
    )
    net: Any = kj.kan.KAN((2, 1, 1), kj.bases.BSpline(setting.grids[0]))

    def train(loss: Any, params: Any) -> Any:
        return kj.training.minimize(loss, params, (x, _known(x)), steps=setting.steps)

    def error(params: Any, x: Array) -> float:
        return _rmse(_known(x), jax.jit(net.apply)(params, x))

    loss = kj.training.regression(net.apply)
    init = jax.jit(net.init)
    keys = jax.random.split(jax.random.key(1), setting.starts)
    params = min((train(loss, init(k)) for k in keys), key=lambda p: error(p, x))
    # The hidden unit has left the first grid as it learned.
    net, params = kj.kan.update_grid(net, params, x, uniform_share=0.5)
    found = {}
    for intervals in setting.grids:
        if intervals > setting.grids[0]:
            net, params = kj.kan.refine(net, params, x, intervals)
        params = train(kj.training.regression(net.apply), params)
        found[str(intervals)] = error(params, new)
    return found


def _formula(
    setting: Setting,
) -> tuple[symbolic.Symbolic, Array, Array]:
    """From [2, 5, 1] to a formula."""
    x = jax.random.uniform(jax.random.key(2), (setting.rows, 2), minval=-1.0)
    net = kj.kan.KAN((2, 5, 1), kj.bases.BSpline(5))
    found = kj.kan.discover(
        net,
        jax.random.key(0),
        x,
        _known(x),
        starts=setting.starts,
        steps=setting.steps,
    )
    return found, x, _known(x)


def _formula_numbers(found: symbolic.Symbolic, x: Array, y: Array) -> dict[str, Any]:
    # A short run may not find it: the numbers then say how far from one the edges are.
    (expression,) = symbolic.formula(
        found.model, found.params, x, names=["x", "y"], minimum_r2=-np.inf
    )
    return {
        "widths": found.model.widths,
        "functions": sorted(edge.fit.name for edge in found.edges),
        "least_r2": min((edge.fit.r2 for edge in found.edges), default=np.nan),
        "rmse": _rmse(y, jax.jit(found.model.apply)(found.params, x)),
        "expression": str(expression),
    }


def _alloys(data: pathlib.Path | None, seed: int) -> Alloys:
    if data is not None:
        frame = kj.data.read_frame(data / "alloys.csv")
        parsed = kj.data.parse_compositions(list(map(str, frame["composition"])))
        order = np.random.default_rng(seed).permutation(len(frame))
        member = np.asarray(frame["hea"], int)[order]
        modulus = np.asarray(frame["modulus"], float)[order]
        x = 2 * parsed.fractions[order] - 1
        return Alloys(
            jnp.asarray(x), jnp.asarray(member), jnp.asarray(modulus)[:, None]
        )
    generator = np.random.default_rng(seed)
    c = generator.dirichlet(np.full(6, 0.6), 900)
    texts = [
        "".join(f"{s}{v:.6f}" for s, v in zip(ELEMENTS, row, strict=True)) for row in c
    ]
    entropy = kj.data.alloy_descriptors(texts).mixing_entropy / kj.data.GAS_CONSTANT
    pairs = np.triu(generator.uniform(-60, 60, (6, 6)), 1)
    modulus = c @ np.array(MODULI) + np.einsum("ni,ij,nj->n", c, pairs, c)
    modulus = modulus + generator.normal(size=900)
    member = jnp.asarray(entropy >= ENTROPY, int)
    return Alloys(jnp.asarray(2 * c - 1), member, jnp.asarray(modulus)[:, None])


def _cascade(alloys: Alloys, seed: int, setting: Setting) -> dict[str, Any]:
    """KANs beside perceptrons of as many parameters, on the same rows."""
    train = 2 * len(alloys.x) // 3
    inside = alloys.modulus[:train][alloys.member[:train] == 1]
    mean, std = jnp.mean(inside), jnp.std(inside)
    y = (alloys.modulus - mean) / std
    width = alloys.x.shape[1]
    models = {
        "KAN": kj.kan.KAN((width, 3, 1), kj.bases.BSpline(5)),
        "MLP": kj.nn.MLP((width, 22, 1), jnp.tanh),
    }
    test = Alloys(*(np.asarray(part[train:]) for part in alloys))
    scores, kept, parameters = {}, {}, {}
    for name, net in models.items():
        apply, init = jax.jit(net.apply), jax.jit(net.init)

        @jax.jit
        def logits(params: Any, x: Array, apply: Any = apply) -> Array:
            margin = apply(params, x)
            return jnp.concatenate([jnp.zeros_like(margin), margin], axis=-1)

        key_classifier, key_regressor = jax.random.split(jax.random.key(seed))
        classifier, regressor = kj.training.fit_cascade(
            lambda loss, params, batch: kj.training.minimize(
                loss, params, batch, steps=setting.cascade_steps
            ),
            (kj.training.classification(logits), init(key_classifier)),
            (kj.training.regression(apply), init(key_regressor)),
            alloys.x[:train],
            alloys.member[:train],
            y[:train],
        )
        parameters[name] = kj.model.count_parameters(classifier)
        said = kj.training.cascade(
            lambda x, p=classifier, f=logits: f(p, x),
            lambda x, p=regressor, f=apply: mean + std * f(p, x),
            test.x,
        )
        taken = logits(classifier, test.x)
        everywhere = np.asarray(mean + std * apply(regressor, test.x))
        scores[f"f1 {name}"] = float(
            sklearn.metrics.f1_score(test.member, np.argmax(taken, axis=-1))
        )
        for rows, where in (("true", test.member == 1), ("predicted", said.member)):
            r2 = sklearn.metrics.r2_score(test.modulus[where], everywhere[where])
            scores[f"R2 {name} on {rows} HEA"] = float(r2)
        kept[name] = said
    scores["R2 linear on true HEA"] = _linear_r2(alloys, train)
    return {"scores": scores, "test": test, "said": kept, "parameters": parameters}


def _linear_r2(alloys: Alloys, train: int) -> float:
    member = np.asarray(alloys.member) == 1
    x = np.c_[np.asarray(alloys.x), np.ones(len(member))]
    rows = np.arange(len(member)) < train
    y = np.asarray(alloys.modulus)
    weights = np.linalg.lstsq(x[rows & member], y[rows & member])[0]
    held = ~rows & member
    return float(sklearn.metrics.r2_score(y[held], x[held] @ weights))


def _claims(numbers: dict[str, Any]) -> tuple[papers.Claim, ...]:
    errors, formula, cascade = (
        numbers[name] for name in ("rmse_by_grid", "formula", "cascade")
    )
    by_grid = list(errors.values())
    falls = all(finer < coarser for coarser, finer in itertools.pairwise(by_grid))
    f1 = [cascade[f"f1 {name}"] for name in ("KAN", "MLP")]
    r2 = [cascade[f"R2 {name} on true HEA"] for name in ("KAN", "MLP")]
    chosen = [cascade[f"R2 {name} on predicted HEA"] for name in ("KAN", "MLP")]
    return (
        papers.Claim(
            "Finer grids keep improving a trained KAN: the test error falls with each, "
            "and at least fivefold from the first to the last.",
            ", ".join(f"G={g}: {e:.2g}" for g, e in errors.items()),
            falls and by_grid[-1] < by_grid[0] / 5,
        ),
        papers.Claim(
            "Sparsified and pruned from [2, 5, 1], the network is read off as sin, x^2 "
            "and exp, each with R2 above 0.99.",
            f"{', '.join(formula['functions'])}; least R2 {formula['least_r2']:.5f}; "
            f"RMSE of the formula {formula['rmse']:.1e}",
            formula["functions"] == ["exp", "sin", "x^2"]
            and formula["least_r2"] > 0.99,
        ),
        papers.Claim(
            "Alloys of high entropy: the KAN's F1 is that of a perceptron of as many "
            "parameters or better (to 0.01).",
            f"{f1[0]:.3f} against {f1[1]:.3f}",
            f1[0] >= f1[1] - 0.01,
        ),
        papers.Claim(
            "Their modulus: R2 of the KAN on true members is at least 0.97 and within "
            "0.02 of the perceptron's.",
            f"{r2[0]:.4f} against {r2[1]:.4f}; on predicted members {chosen[0]:.4f} "
            f"against {chosen[1]:.4f}; linear {cascade['R2 linear on true HEA']:.3f}",
            r2[0] >= 0.97 and r2[0] >= r2[1] - 0.02,
        ),
    )


@style.styled
def _figure(
    errors: dict[str, float], found: symbolic.Symbolic, x: Array, run: dict[str, Any]
) -> Any:
    figure = style.new_figure((7.8, 5.8))
    (grid, edges), (confused, parity) = figure.subplots(2, 2)
    grid.plot(list(map(int, errors)), list(errors.values()), "o-", color=style.BLUE)
    grid.set(xscale="log", yscale="log", title="Grid extension of a [2, 1, 1] KAN")
    grid.set_xticks(list(map(int, errors)), list(errors))
    grid.minorticks_off()
    grid.set_ylim(min(errors.values()) / 3, max(errors.values()) * 3)
    grid.set(xlabel="grid intervals", ylabel="test RMSE")
    style.light_grid(grid)
    _draw_edges(edges, found, x)
    test, said = run["test"], run["said"]["KAN"]
    plotting.confusion(
        test.member,
        said.member.astype(int),
        ["other", "HEA"],
        title="KAN: is it a high-entropy alloy?",
        axes=confused,
    )
    rows = np.asarray(said.member)
    plotting.parity(
        test.modulus[rows, 0],
        said.value[rows, 0],
        units="GPa",
        title="KAN: bulk modulus of predicted HEA",
        axes=parity,
    )
    return figure


def _draw_edges(axes: Any, found: symbolic.Symbolic, x: Array) -> None:
    """Each edge's formula over the values of its input."""
    inputs = found.model.activations(found.params, x)
    edges = zip(found.edges, style.PALETTE, style.DASHES, strict=False)
    for edge, color, dash in edges:
        row = np.asarray(inputs[edge.layer][:, edge.source])
        a, b, c, d = edge.fit.coefficients
        u = np.linspace(row.min(), row.max(), 200)
        curve = c * symbolic.LIBRARY[edge.fit.name].evaluate(np, a * u + b) + d
        label = f"layer {edge.layer + 1}, input {edge.source + 1}: {edge.fit.name}"
        axes.plot(u, curve, color=color, linestyle=dash, label=label)
    axes.set(xlabel="input of the edge", ylabel="edge function")
    axes.set_title("Edges of the pruned KAN, as formulas")
    axes.legend()
    style.light_grid(axes)


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
