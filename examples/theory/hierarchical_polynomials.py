"""Learning Hierarchical Polynomials with Three-Layer Neural Networks, beside kernels.

Wang, Nichani, Lee (2023), arXiv 2311.13774. A link of degree 2 of a feature of degree
2: three layers, trained stage by stage, need a number of examples that grows as the
square of the dimension; kernels, of all polynomials up to degree 4, do not see that the
two are nested; and a feature of degree 3. The paper's theorems are not here, nor has it
figures to compare with; how the kernels' number of examples grows with the dimension is
not measured.
"""

import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.theory import (
    hierarchical,
    hierarchical_targets,
    ridge_regression,
    sample_complexity,
)

PAPER = papers.Paper(
    slug="hierarchical-polynomials",
    title="Learning Hierarchical Polynomials with Three-Layer Neural Networks",
    source="Wang, Nichani, Lee (2023), arXiv 2311.13774",
    room="theory",
    state="in part",
)

FEATURE = hierarchical_targets.parities(2)
TARGET = hierarchical_targets.Target(FEATURE, (0.0, 1.0, 1.0))
# The information exponent of this link is 2.
FLAT = hierarchical_targets.Target(FEATURE, (0.0, 0.0, 1.0))
CUBIC = hierarchical_targets.Target(hierarchical_targets.parities(3), (0.0, 1.0, 1.0))
# The error at which numbers of examples are compared.
LEVEL = 0.5
# What is added to the diagonal of each kernel; the best on new inputs is taken.
KERNELS = {"ReLU tangent kernel": (1e-3, 1e-2), "degree-4 polynomials": (1.0, 10.0)}
# That of one hidden layer knows no polynomials of degree 3.
CUBIC_KERNELS = {"deep tangent kernel": (1e-3, 1e-2), "degree-6 polynomials": (1.0, 10)}
# Other seeds than those seen when the claim was written.
CUBIC_KEY = 101
TESTS = 3000


class Setting(NamedTuple):
    """Sizes of a run.

    Attributes:
        dimensions: that are compared.
        ratios: numbers of examples over the dimension squared.
        main: the dimension at which kernels are compared.
        examples: the number at which they are.
        many: the most examples, where kernels have landmarks.
        kernel_sizes: of each kernel, where it is exact.
        landmarks: of kernels.
        seeds: of networks.
        kernel_seeds: of kernels.
        cubic: the dimension for a feature of degree 3, its inner units, numbers of
            examples, and seeds.
    """

    dimensions: tuple[int, ...]
    ratios: tuple[float, ...]
    main: int
    examples: int
    many: int
    kernel_sizes: tuple[tuple[int, ...], tuple[int, ...]]
    landmarks: int
    seeds: int
    kernel_seeds: int
    cubic: tuple[int, int, tuple[int, ...], int]


SETTINGS = {
    "short": Setting(
        (8, 12),
        (2, 12),
        12,
        1_728,
        1_728,
        ((1_728,),) * 2,
        300,
        2,
        2,
        (6, 80, (600, 3000), 2),
    ),  # fmt: skip
    "default": Setting(
        (16, 24, 32),
        (1, 2, 4, 8, 16),
        24,
        9_600,
        38_400,
        ((1_200, 2_400, 4_800, 9_600), (1_200, 2_400, 4_800)),
        2_000,
        5,
        2,
        (18, 1_500, (2_400, 9_600, 38_400), 2),
    ),
    "full": Setting(
        (24, 32, 48, 64),
        (1, 2, 4, 8, 16, 32),
        24,
        9_600,
        153_600,
        ((1_200, 2_400, 4_800, 9_600, 19_200),) * 2,
        8_000,
        10,
        3,
        (24, 4_000, (9_600, 38_400, 153_600), 5),
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; targets are drawn, and ``data`` is not read."""
    setting = SETTINGS[scale]
    networks = {}
    for d in setting.dimensions:
        sizes = {int(ratio * d**2) for ratio in setting.ratios}
        if d == setting.main:
            sizes |= {setting.examples, setting.many}
        networks[d] = _networks(setting, TARGET, d, tuple(sorted(sizes)))
    flat = _networks(setting, FLAT, setting.main, (setting.examples,))
    cubic = _cubic(setting)
    kernels = {
        name: {n: _kernel(setting, name, n, None) for n in sizes}
        for name, sizes in zip(KERNELS, setting.kernel_sizes, strict=True)
    }
    approximate = {
        name: _kernel(setting, name, setting.many, setting.landmarks)
        for name in KERNELS
    }
    numbers = {
        "networks": {
            d: {n: {k: v.tolist() for k, v in row.items()} for n, row in rows.items()}
            for d, rows in networks.items()
        },
        "flat": {n: row["correlation"].tolist() for n, row in flat.items()},
        "kernels": {
            name: {n: errors.tolist() for n, errors in rows.items()}
            for name, rows in kernels.items()
        },
        "landmarks": {name: errors.tolist() for name, errors in approximate.items()},
    }
    numbers["degree 3"] = {
        "networks": {n: row["error"].tolist() for n, row in cubic["networks"].items()},
        "correlation": cubic["correlation"].tolist(),
        "kernels": {name: errors.tolist() for name, errors in cubic["kernels"].items()},
    }
    needed = _needed(networks)
    numbers["needed"] = needed.tolist()
    claims = (
        *_claims(setting, networks, flat, kernels, needed),
        _cubic_claim(setting, cubic),
    )
    figure = _figure(setting, networks, kernels, approximate, needed, cubic)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _networks(
    setting: Setting,
    target: Any,
    dimension: int,
    sizes: tuple[int, ...],
    *,
    degree: int = 2,
    inner: int | None = None,
    seeds: int | None = None,
    key: int | None = None,
) -> dict[int, dict[str, np.ndarray]]:
    """Errors and correlations of each seed, by the number of examples."""
    sweep = jax.jit(
        functools.partial(
            hierarchical.sample_complexity_sweep,
            target=target,
            dimension=dimension,
            degree=degree,
            sizes=sizes,
            seeds=seeds or setting.seeds,
            inner=inner or int(0.6 * dimension**2),
        )
    )(jax.random.key(key or dimension))
    columns = {name: np.asarray(values) for name, values in sweep._asdict().items()}
    return {
        n: {name: values[i] for name, values in columns.items()}
        for i, n in enumerate(sizes)
    }


def _cubic(setting: Setting) -> dict[str, Any]:
    """Errors of networks and kernels for a feature of degree 3."""
    d, inner, sizes, seeds = setting.cubic
    networks = _networks(
        setting, CUBIC, d, sizes, degree=3, inner=inner, seeds=seeds, key=CUBIC_KEY
    )
    kernels = {
        name: _errors(
            CUBIC, d, kernel, choices, sizes[-1], setting.landmarks, 1, CUBIC_KEY
        )
        for (name, choices), kernel in zip(
            CUBIC_KERNELS.items(),
            (_tangent(d, 2), ridge_regression.polynomial_kernel(6)),
            strict=True,
        )
    }
    return {
        "networks": networks,
        "correlation": networks[sizes[-1]]["correlation"],
        "kernels": kernels,
    }


def _tangent(dimension: int, layers: int) -> Any:
    """The ReLU tangent kernel of a number of hidden layers."""
    widths = (dimension, *(512,) * layers, 1)
    limit = kj.ntk.infinite(kj.nn.MLP(widths, parameterization="ntk"))
    return lambda a, b: limit(a, b).ntk


def _kernel(
    setting: Setting, name: str, examples: int, landmarks: int | None
) -> np.ndarray:
    """The relative error of each seed; of its regularizations the best."""
    kernel = {
        "ReLU tangent kernel": _tangent(setting.main, 1),
        "degree-4 polynomials": ridge_regression.polynomial_kernel(4),
    }[name]
    seeds = 1 if landmarks else setting.kernel_seeds
    choices = KERNELS[name]
    return _errors(TARGET, setting.main, kernel, choices, examples, landmarks, seeds)


def _errors(
    target: Any,
    dimension: int,
    kernel: Any,
    regularizations: tuple[float, ...],
    examples: int,
    landmarks: int | None,
    seeds: int,
    key: int | None = None,
) -> np.ndarray:
    def error(key: Array) -> Array:
        x = jax.random.normal(key, (examples + TESTS, dimension))
        y = target(x)
        predicted = ridge_regression.kernel_ridge(
            kernel,
            x[:examples],
            y[:examples],
            x[examples:],
            regularizations=regularizations,
            landmarks=landmarks,
        )
        new = y[examples:]
        return jnp.mean((predicted - new[:, None]) ** 2, axis=0) / jnp.var(new)

    # One by one: a kernel fills much of the memory.
    keys = jax.random.split(jax.random.key(key or examples), seeds)
    each = jax.jit(lambda keys: jax.lax.map(error, keys))(keys)
    return np.nanmin(each, axis=1)


def _needed(networks: dict[int, Any]) -> np.ndarray:
    """How many examples give the error LEVEL, (dimensions, seeds), interpolated."""
    rows = []
    for by_size in networks.values():
        sizes = np.log(list(by_size))
        errors = np.array([row["error"] for row in by_size.values()])
        rows.append([np.exp(np.interp(-LEVEL, -column, sizes)) for column in errors.T])
    return np.array(rows)


def _claims(
    setting: Setting,
    networks: dict[int, Any],
    flat: dict[int, Any],
    kernels: dict[str, Any],
    needed: np.ndarray,
) -> tuple[papers.Claim, ...]:
    d, n = setting.main, setting.examples
    here = networks[d][n]
    tangent = kernels["ReLU tangent kernel"][n]
    polynomial = kernels["degree-4 polynomials"]
    last = max(polynomial)
    slopes = np.array(
        [
            sample_complexity.fit_power_law(setting.dimensions, column).exponent
            for column in needed.T
        ]
    )
    ceiling = (1 + 4 / d) ** -0.5
    blind = np.abs(flat[n]["correlation"])
    return (
        papers.Claim(
            f"Three layers learn the target in {d} dimensions from {n:,} examples.",
            f"relative error {papers.spread(here['error'])}",
            bool(here["error"].mean() < 0.40),
            threshold="below 0.40, mean over seeds",
            baseline=f"ReLU tangent kernel {papers.spread(tangent)}",
        ),
        papers.Claim(
            "The tangent kernel does not.",
            f"relative error {papers.spread(tangent)} at its best regularization",
            bool(tangent.mean() > 0.45),
            threshold="above 0.45, mean over seeds",
            baseline=f"degree-4 polynomials {papers.spread(polynomial[last])} of "
            f"{last:,} examples",
        ),
        papers.Claim(
            "Three layers need a number of examples that grows as the square of the "
            "dimension.",
            f"exponent {papers.spread(slopes, 2)} of the dimension, at a relative "
            f"error of {LEVEL}",
            bool(1.5 <= slopes.mean() <= 2.5),
            threshold="between 1.5 and 2.5, mean over seeds",
            baseline="4 for kernels, in theory",
        ),
        papers.Claim(
            "Where the link's information exponent is 2 the feature is not found.",
            f"correlation with the feature {papers.spread(blind)}, its size",
            bool(blind.mean() < 0.2),
            threshold="below 0.2, mean over seeds",
            baseline=f"exponent 1: {papers.spread(here['correlation'])}; "
            f"{ceiling:.3f} at most",
        ),
    )


def _cubic_claim(setting: Setting, cubic: dict[str, Any]) -> papers.Claim:
    d, _, sizes, _ = setting.cubic
    error = cubic["networks"][sizes[-1]]["error"]
    best = min(float(values.mean()) for values in cubic["kernels"].values())
    return papers.Claim(
        f"A feature of degree 3, too: {d} dimensions, {sizes[-1]:,} examples.",
        f"relative error {papers.spread(error)}, correlation with the feature "
        f"{papers.spread(cubic['correlation'])}",
        bool(error.mean() < best - 0.1),
        threshold="0.1 below the best kernel, mean over seeds; twice what lies between "
        "0.40 and 0.45 above",
        baseline=", ".join(
            f"{name} {values.mean():.3f}" for name, values in cubic["kernels"].items()
        )
        + f", {setting.landmarks:,} landmarks",
    )


@style.styled
def _figure(
    setting: Setting,
    networks: dict[int, Any],
    kernels: dict[str, Any],
    approximate: dict[str, np.ndarray],
    needed: np.ndarray,
    cubic: dict[str, Any],
) -> Any:
    figure = style.new_figure((13.0, 7.6))
    (errors, collapse, feature), (growth, third, blank) = figure.subplots(2, 3)
    blank.axis("off")
    main = networks[setting.main]
    style_of = dict(zip(("three layers", *kernels), range(3), strict=True))
    rows = {"three layers": {n: row["error"] for n, row in main.items()}, **kernels}
    for name, by_size in rows.items():
        k = style_of[name]
        looks = {"color": style.PALETTE[k], "marker": style.MARKERS[k]}
        means = [values.mean() for values in by_size.values()]
        deviations = [values.std(ddof=1) for values in by_size.values()]
        errors.errorbar(list(by_size), means, deviations, label=name, **looks)
    for name, values in approximate.items():
        k = style_of[name]
        errors.plot(
            setting.many,
            values.mean(),
            linestyle="none",
            marker=style.MARKERS[k],
            markerfacecolor="none",
            color=style.PALETTE[k],
            label=f"{setting.landmarks:,} landmarks",
        )
    errors.axvline(setting.examples, color=style.GRAY, linewidth=0.7)
    errors.set(
        xscale="log",
        yscale="log",
        xlabel="examples",
        ylabel="relative error",
        title=f"{setting.main} dimensions",
    )
    errors.legend(fontsize=7.5)
    for k, (d, by_size) in enumerate(networks.items()):
        looks = {"color": style.PALETTE[k], "marker": style.MARKERS[k]}
        ratios = np.array(list(by_size)) / d**2
        for axes, name in ((collapse, "error"), (feature, "correlation")):
            values = np.array([row[name] for row in by_size.values()])
            axes.errorbar(
                ratios,
                values.mean(axis=1),
                values.std(axis=1, ddof=1),
                label=f"{d} dimensions",
                **looks,
            )
        feature.axhline(
            (1 + 4 / d) ** -0.5, color=style.PALETTE[k], linestyle=":", linewidth=1
        )
    collapse.set(
        xscale="log",
        yscale="log",
        xlabel="examples / dimension²",
        ylabel="relative error",
        title="Three layers",
    )
    feature.set(
        xscale="log",
        xlabel="examples / dimension²",
        ylabel="correlation with the feature",
        title="In the middle (dotted: most there can be)",
    )
    dimensions = np.array(setting.dimensions)
    law = sample_complexity.fit_power_law(dimensions, needed.mean(axis=1))
    growth.errorbar(
        dimensions,
        needed.mean(axis=1),
        needed.std(axis=1, ddof=1),
        linestyle="none",
        marker="o",
        color=style.BLUE,
        label="three layers",
    )
    growth.plot(
        dimensions,
        law.factor * dimensions**law.exponent,
        color=style.BLUE,
        label=f"exponent {law.exponent:.2f}",
    )
    growth.set(
        xscale="log",
        yscale="log",
        xlabel="dimensions",
        ylabel=f"examples for an error of {LEVEL}",
        title="Growth with the dimension",
    )
    growth.set_xticks(dimensions, [str(d) for d in dimensions])
    growth.set_xticks([], minor=True)
    rows = cubic["networks"]
    third.errorbar(
        list(rows),
        [row["error"].mean() for row in rows.values()],
        [row["error"].std(ddof=1) for row in rows.values()],
        marker="o",
        color=style.PALETTE[0],
        label="three layers",
    )
    for k, (name, values) in enumerate(cubic["kernels"].items(), start=1):
        third.plot(
            list(rows)[-1:],
            values,
            linestyle="none",
            marker=style.MARKERS[k],
            markerfacecolor="none",
            color=style.PALETTE[k],
            label=f"{name}, landmarks",
        )
    third.set(
        xscale="log",
        xlabel="examples",
        ylabel="relative error",
        title=f"A feature of degree 3, {setting.cubic[0]} dimensions",
    )
    third.set_xticks(list(rows), [f"{n:,}" for n in rows])
    third.set_xticks([], minor=True)
    for axes in (collapse, feature, growth, third):
        axes.legend(fontsize=8)
    for axes in (errors, collapse, feature, growth, third):
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
