"""Grokking as the Transition from Lazy to Rich Training Dynamics, without weight decay.

Kumar, Bordelon, Gershman, Pehlevan (2023), arXiv 2310.06110. The paper's polynomial
regression at a smaller dimension: the delay of the test loss against the scale of
outputs, the number of examples and the first kernel; mean-field theory beside
experiments; a perceptron on digits, lazy or rich; and one that groks them. The paper's
transformer and student-teacher runs are not here.
"""

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers, plotting
from kanjax.plotting import style
from kanjax.theory import (
    grokking,
    laziness,
    mean_field_ensembles,
    polynomial_regression,
)
from kanjax.theory import mean_field_dynamics as mean_field

PAPER = papers.Paper(
    slug="grokking-lazy-rich",
    title="Grokking as the Transition from Lazy to Rich Training Dynamics",
    source="Kumar, Bordelon, Gershman, Pehlevan (2023), arXiv 2310.06110",
    room="theory",
    state="in part",
)

# A tenth of the variance of the targets, (beta . x)^2 / 2 of a standard normal.
THRESHOLD = 0.1 * 0.5
ALPHAS = (1.0, 0.3, 0.1)
# The share of epsilon at which the first kernel knows little of even functions.
MISALIGNED = 0.08
LOAD, KAPPA, TIMES, EPSILON = 2.0, 0.04, 25, 0.5
OVERLAP = (0.3, 0.1, -0.2)
COVARIANCE = ((1.0, 0.2, 0.1), (0.2, 0.8, 0.0), (0.1, 0.0, 1.2))
KINDS = {"train": "--", "test": "-"}
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Of digits: half the variance of one-hot targets, weight decay, and examples.
HALF, DECAY, LABELED = 0.045, 0.1, 200
# Other seeds than those seen when the claim was written.
DIGIT_SEED, LOOKS = 5, 150


class Setting(NamedTuple):
    """Sizes of a run. The examples are few, the main number, and many."""

    inputs: int
    width: int
    examples: tuple[int, int, int]
    epsilon: float
    steps: int
    seeds: int
    units: tuple[int, ...]
    dimension: int
    repeats: int
    solves: int
    samples: int
    hidden: int
    # Hidden units of each layer, steps, and sizes of the first weights.
    digits: tuple[int, int, tuple[float, ...]]


SETTINGS = {
    "short": Setting(
        16, 40, (30, 65, 65), 0.25, 2_000, 2, (1,), 200, 80, 4, 8_000, 20,
        (32, 4_000, (1.0, 2.0)),
    ),
    "default": Setting(
        40, 100, (120, 180, 260), 0.25, 20_000, 5, (1, 2, 3), 500, 40, 6, 20_000, 200,
        (64, 15_000, (1.0, 2.0, 3.0)),
    ),
    "full": Setting(
        100, 500, (400, 550, 1100), 0.25, 100_000, 5, (1, 2, 3), 2000, 40, 12, 20_000,
        1000, (200, 50_000, (1.0, 2.0, 3.0)),
    ),
}  # fmt: skip


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; the digits to grok are MNIST's from ``data``, or bundled."""
    setting = SETTINGS[scale]
    runs = {n: _train(setting, n) for n in setting.examples}
    linear = _linear_losses(setting)
    fields = {units: _mean_field(setting, units) for units in setting.units}
    digits = _digits(setting)
    grokked = _grok_digits(setting, data)
    delays = {n: run["delay"] for n, run in runs.items()}
    delays["misaligned"] = runs[setting.examples[2]]["misaligned"]
    numbers = {
        "delays": {
            name: {"train": d.train.tolist(), "test": d.test.tolist()}
            for name, d in delays.items()
        },
        "linearized": linear.tolist(),
        "mean field": {n: f["gaps"] for n, f in fields.items()},
        "digits": {name: values.tolist() for name, values in digits.items()},
        "grokked digits": {name: values.tolist() for name, values in grokked.items()},
    }
    claims = (
        *_claims(setting, runs, linear, fields, digits),
        _digit_claim(setting, grokked),
    )
    figure = _figure(setting, runs, fields, digits, grokked)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _problem(setting: Setting, seed: Any, examples: int) -> Any:
    key = jax.random.fold_in(jax.random.key(0), seed)
    sizes = {"inputs": setting.inputs, "width": setting.width, "examples": examples}
    return polynomial_regression.draw(key, **sizes)


def _train(setting: Setting, examples: int) -> dict[str, Any]:
    """Losses and alignment of each seed and alpha, (seeds, alphas, times).

    With most examples also the delay where the kernel knows little of even functions.
    """
    pairs = [(alpha, setting.epsilon) for alpha in ALPHAS]
    if examples == setting.examples[2]:
        pairs.append((1.0, MISALIGNED * setting.epsilon))
    every = max(setting.steps // 1000, 5)

    def run(seed: Array, knobs: Array) -> tuple[polynomial_regression.Curves, Array]:
        problem, (alpha, epsilon) = _problem(setting, seed, examples), knobs
        _, x, y, start = problem
        kernel = grokking.tangent_kernel(start, x, x, epsilon=epsilon)
        curves = polynomial_regression.train(
            problem, alpha=alpha, epsilon=epsilon, steps=setting.steps, every=every
        )[1]
        return curves, kj.ntk.alignment(kernel, y)

    over = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))
    seen, aligned = jax.tree.map(
        np.asarray, over(jnp.arange(setting.seeds), jnp.array(pairs))
    )
    times = np.arange(setting.steps // every + 1) * every
    delay = grokking.grokking_delay(seen.train, seen.test, times, threshold=THRESHOLD)
    delay = [np.asarray(v) for v in delay]
    usual, misaligned = (
        grokking.Delay(*(np.split(v, [len(ALPHAS)], axis=1)[i] for v in delay))
        for i in (0, 1)
    )
    delays = {"delay": usual, "misaligned": misaligned}
    return {"times": times, "kernel": aligned, **delays, **seen._asdict()}


def _linear_losses(setting: Setting) -> np.ndarray:
    """The test loss of each seed's linearized network after as many steps."""

    def run(seed: Array) -> Array:
        problem = _problem(setting, seed, setting.examples[1])
        key = jax.random.fold_in(jax.random.key(4), seed)
        x, y = grokking.draw_data(key, problem.direction, 1000)
        predicted = polynomial_regression.train_linearized(
            problem, x, epsilon=setting.epsilon, steps=setting.steps
        )
        return jnp.mean((predicted - y) ** 2)

    # One by one: batched eigenvectors can stand still on the CPU in jaxlib 0.10.1.
    return np.asarray(jax.jit(lambda s: jax.lax.map(run, s))(jnp.arange(setting.seeds)))


def _mean_field(setting: Setting, units: int) -> dict[str, Any]:
    """Losses by theory and of descent from the same start, and the largest gaps."""
    shared = {
        "load": LOAD,
        "step_size": KAPPA,
        "steps": TIMES,
        "overlap": jnp.array(OVERLAP[:units]),
        "covariance": jnp.array(COVARIANCE)[:units, :units],
    }
    functions = (lambda h: h + EPSILON / 2 * h**2), (lambda s: s**2 / 2)

    @jax.jit
    def solve(keys: Array) -> Any:
        """More samples than memory holds: their sums are averaged over solutions."""
        samples = setting.samples // units
        each = jax.lax.map(
            lambda key: mean_field.solve(key, *functions, samples=samples, **shared),
            keys,
        )
        return {k: jnp.mean(getattr(each, k), axis=0) for k in ("train", "test")}

    sample = jax.jit(lambda key: mean_field_ensembles.sample(
        key, *functions, dimension=setting.dimension, runs=setting.repeats, **shared
    ))  # fmt: skip
    theory = solve(jax.random.split(jax.random.key(0), setting.solves))
    runs = sample(jax.random.key(1))
    means = {name: np.asarray(getattr(runs, name).mean) for name in theory}
    gaps = {k: float(np.max(np.abs(theory[k] / v - 1))) for k, v in means.items()}
    return {"theory": theory, "runs": means, "gaps": gaps}


def _digits(setting: Setting) -> dict[str, np.ndarray]:
    """How lazily a perceptron tells even digits from odd, (scales, seeds)."""
    train, test = kj.data.handwritten_digits(None)
    x, y = train.x[:200], 1.0 - 2.0 * (train.y[:200, None] % 2)
    net = kj.nn.MLP((x.shape[1], setting.hidden, 1), jnp.tanh, "ntk", kernel_scale=1.0)

    def run(alpha: Array, seed: Array) -> dict[str, Array]:
        start = net.init(jax.random.fold_in(jax.random.key(2), seed))
        apply = laziness.scale_outputs(net.apply, start, alpha)
        end, losses = kj.training.descend(
            kj.training.regression(apply), start, (x, y), key=jax.random.key(0),
            optimizer=optax.sgd(0.3 / alpha**2), steps=300,
        )  # fmt: skip
        lazy = kj.theory.lazy_rich(apply, start, end, test.x[:100])
        return {**lazy._asdict(), "lazy": lazy.is_lazy(), "loss": losses[-1]}

    pairs = jnp.meshgrid(jnp.array(SCALES), jnp.arange(setting.seeds), indexing="ij")
    each = jax.jit(lambda *pairs: jax.lax.map(lambda pair: run(*pair), pairs))(
        *(v.ravel() for v in pairs)
    )
    return {k: np.asarray(v).reshape(len(SCALES), -1) for k, v in each.items()}


def _grok_digits(setting: Setting, data: pathlib.Path | None) -> dict[str, np.ndarray]:
    """Losses on digits through training, (sizes + 1, seeds, times); the last row is the
    largest size without weight decay.
    """
    train, test = kj.data.handwritten_digits(data)
    hidden, steps, sizes = setting.digits
    net = kj.nn.MLP((train.x.shape[1], hidden, hidden, 10), use_bias=False)
    seen, new = (
        (v.x[:LABELED], jax.nn.one_hot(v.y[:LABELED], 10)) for v in (train, test)
    )
    loss = kj.training.regression(net.apply)

    def run(size: Array, decay: Array, key: Array) -> Any:
        optimizer = optax.adamw(1e-3, weight_decay=decay)

        def step(state: Any, _: None) -> Any:
            gradient = jax.grad(lambda p: loss(p, seen)[0])(state[0])
            updates, moments = optimizer.update(gradient, state[1], state[0])
            return (optax.apply_updates(state[0], updates), moments), None

        def stretch(state: Any, _: None) -> Any:
            records = [loss(state[0], batch)[0] for batch in (seen, new)]
            return jax.lax.scan(step, state, length=steps // LOOKS)[0], records

        start = jax.tree.map(lambda w: size * w, net.init(key))
        state = start, optimizer.init(start)
        return jax.lax.scan(stretch, state, length=LOOKS)[1]

    keys = jax.random.split(jax.random.key(DIGIT_SEED), 3)
    rows = jnp.array([*sizes, sizes[-1]]), jnp.array([DECAY] * len(sizes) + [0.0])
    over = jax.jit(jax.vmap(jax.vmap(run, (None, None, 0)), (0, 0, None)))
    losses = [np.asarray(v) for v in over(*rows, keys)]
    times = np.arange(LOOKS) * (steps // LOOKS)
    delay = grokking.grokking_delay(*losses, times, threshold=HALF)
    return {
        "sizes": np.array(sizes),
        "times": times,
        **dict(zip(KINDS, losses, strict=True)),
        **{f"{kind} time": np.asarray(getattr(delay, kind)) for kind in KINDS},
    }


def _digit_claim(setting: Setting, grokked: dict[str, np.ndarray]) -> papers.Claim:
    delays = grokked["test time"][:-1] - grokked["train time"][:-1]
    usual, large = delays[0], delays[-1]
    never = grokked["test"][-1, :, -1]
    every = grokked["times"][1]
    return papers.Claim(
        f"A perceptron groks {LABELED} digits where its first weights are large.",
        f"{papers.spread(large, 0)} steps from train to test, weights "
        f"{grokked['sizes'][-1]:g} times as large; {papers.spread(usual, 0)} at the "
        "usual size",
        bool(np.isfinite(large).all() and large.min() >= 5 * max(usual.max(), every)),
        threshold="delay at least 5 times as long, as above, in each of 3 seeds, and 5 "
        f"times the {every} steps between looks; loss of {HALF}",
        baseline=f"without weight decay test loss {papers.spread(never, 2)} after "
        f"{setting.digits[1]:,} steps",
    )


def _delay(run: dict[str, Any], name: str = "delay") -> np.ndarray:
    return run[name].test - run[name].train


def _claims(
    setting: Setting,
    runs: dict[int, Any],
    linear: np.ndarray,
    fields: dict[int, Any],
    digits: dict[str, np.ndarray],
) -> tuple[papers.Claim, ...]:
    few, main, many = setting.examples
    delay = {n: _delay(run) for n, run in runs.items()}
    slow, fast = delay[main][:, 0], delay[main][:, -1]
    crossed = np.isfinite(runs[few]["delay"].test[:, 0])
    end = runs[main]["alignment"][:, 0, -1]
    begin = runs[main]["alignment"][:, 0, 0]
    late = _delay(runs[many], "misaligned")[:, 0]
    aligned = runs[many]["kernel"][:, -1], runs[many]["kernel"][:, 0]
    worst = max(gap for field in fields.values() for gap in field["gaps"].values())
    lowest = max(
        abs(float(mean[-1] / mean[0] - 1))
        for field in fields.values()
        for mean in field["runs"].values()
    )
    drift = digits["kernel_drift"]

    def epochs(values: np.ndarray) -> str:
        late = ~np.isfinite(values)
        if late.any():
            return f"not in time in {late.sum()} of {setting.seeds} seeds"
        return f"{papers.spread(values, 0)} epochs"

    return (
        papers.Claim(
            f"At alpha = 1 a network groks {main} examples; a tenth of it takes most "
            "of the delay away.",
            f"{epochs(slow)} from train to test; alpha = {ALPHAS[-1]}: {epochs(fast)}",
            bool(slow.mean() >= 5 * fast.mean()),
            threshold="mean delay at least 5 times as long at alpha = 1",
            baseline="the linearized network never gets there: test loss "
            f"{papers.spread(linear)}, threshold {THRESHOLD}",
        ),
        papers.Claim(
            "What is found late is the target's direction.",
            f"alignment {papers.spread(end)} after {setting.steps:,} epochs, least "
            f"{end.min():.3f}",
            bool(end.mean() > 0.98),
            threshold="above 0.98, mean over seeds",
            baseline=f"{papers.spread(begin)} at the start",
        ),
        papers.Claim(
            f"With {few} examples the test loss never falls.",
            f"{int(crossed.sum())} of {setting.seeds} seeds get to {THRESHOLD} in "
            f"{setting.steps:,} epochs",
            not crossed.any(),
            threshold="none, at alpha = 1",
            baseline=f"with {main} examples "
            f"{int(np.isfinite(runs[main]['delay'].test[:, 0]).sum())} do",
        ),
        papers.Claim(
            "A first kernel that knows less of the target delays the test loss.",
            f"{epochs(late)} at epsilon = {MISALIGNED * setting.epsilon:.3g}, kernel "
            f"alignment {papers.spread(aligned[0])}",
            bool(np.all(late > delay[many][:, 0])),
            threshold="longer in every seed",
            baseline=f"{epochs(delay[many][:, 0])} at epsilon = {setting.epsilon}, "
            f"kernel alignment {papers.spread(aligned[1])}; {many} examples",
        ),
        papers.Claim(
            "Mean-field theory gives train and test losses of "
            f"{', '.join(map(str, fields))} hidden units at every step.",
            f"largest difference {worst:.1%}",
            worst <= 0.05,
            threshold=f"5 % of the mean of {setting.repeats} runs, dimension "
            f"{setting.dimension}",
            baseline=f"losses change by up to {lowest:.0%} on the way",
        ),
        papers.Claim(
            "A perceptron on digits trains lazily at a large scale of outputs, and not "
            "at a small one.",
            f"kernel drift {papers.spread(drift[-1])} at {SCALES[-1]:g}, lazy in "
            f"{int(digits['lazy'][-1].sum())} of {setting.seeds} seeds",
            bool(digits["lazy"][-1].all() and not digits["lazy"][0].any()),
            threshold="drift and gap at most 0.1 in every seed there, and in none at "
            f"{SCALES[0]}",
            baseline=f"kernel drift {papers.spread(drift[0])} at {SCALES[0]}",
        ),
    )


@style.styled
def _figure(
    setting: Setting,
    runs: dict[int, Any],
    fields: dict[int, Any],
    digits: dict[str, np.ndarray],
    grokked: dict[str, np.ndarray],
) -> Any:
    figure = style.new_figure((13.0, 7.2))
    (curves, phases, grok), (theory, lazy, sizes) = figure.subplots(2, 3)
    main = runs[setting.examples[1]]
    log = {"xscale": "log", "yscale": "log"}

    def draw(axes: Any, times: Any, each: Any, place: int, label: str) -> None:
        for kind, dashes in KINDS.items():
            plotting.seed_curves(
                times[1:], each[kind][:, 1:], label=label if dashes == "-" else None,
                place=place, dashes=dashes, axes=axes,
            )  # fmt: skip

    for place, color in ((0, 1), (-1, 0)):
        pair = {kind: main[kind][:, place] for kind in KINDS}
        draw(curves, main["times"], pair, color, f"alpha = {ALPHAS[place]:g}")
    plotting.seed_curves(
        main["times"][1:], main["alignment"][:, 0, 1:], label="alignment, alpha = 1",
        place=2, dashes=":", axes=curves,
    )  # fmt: skip
    curves.axhline(THRESHOLD, color=style.GRAY, linewidth=0.7)
    curves.set(
        **log, ylim=(1e-4, 4), xlabel="epoch", ylabel="loss; alignment",
        title=f"{setting.examples[1]} examples, each seed: train (dashed), test",
    )  # fmt: skip
    for k, (number, run) in enumerate(runs.items()):
        for kind, dashes in KINDS.items():
            plotting.seed_means(
                ALPHAS, getattr(run["delay"], kind).T, place=k, dashes=dashes,
                label=f"{number} examples" if dashes == "-" else None, axes=phases,
            )  # fmt: skip
    phases.set(
        **log, xlabel="alpha", ylabel=f"epoch of loss {THRESHOLD}",
        title="Rich to lazy: train (dashed), test (solid)",
    )  # fmt: skip
    measured, predicted = (
        {f"{kind}, {units} unit{'s' * (units > 1)}": field[source][kind]
         for units, field in fields.items() for kind in ("train", "test")}
        for source in ("runs", "theory")
    )  # fmt: skip
    plotting.predicted_curves(
        range(TIMES), measured, predicted, log=True, ylabel="loss", axes=theory,
        title="Mean field (lines), runs (marks)",
    )  # fmt: skip
    for k, name in enumerate(("kernel_drift", "linearization_gap", "parameter_change")):
        label = name.replace("_", " ")
        plotting.seed_means(SCALES, digits[name], label=label, place=k, axes=lazy)
    lazy.axhline(0.1, color=style.GRAY, linewidth=0.7)
    lazy.set(**log, xlabel="scale of outputs", title="A perceptron on digits")
    rows = "size 1", f"size {grokked['sizes'][-1]:g}", "no weight decay"
    for row, name in zip((0, -2, -1), rows, strict=True):
        pair = {kind: grokked[kind][row] for kind in KINDS}
        draw(grok, grokked["times"], pair, row % 5, name)
    grok.axhline(HALF, color=style.GRAY, linewidth=0.7)
    grok.set(
        **log, xlabel="step", ylabel="loss", ylim=(1e-5, 1e3),
        title=f"{LABELED} digits: train (dashed), test",
    )  # fmt: skip
    for kind, dashes in KINDS.items():
        times = grokked[f"{kind} time"][:-1]
        plotting.seed_means(
            grokked["sizes"], times, label=kind, dashes=dashes, axes=sizes
        )
    sizes.set(
        yscale="log", xlabel="size of the first weights", ylabel=f"step of loss {HALF}",
        title="Digits: when each loss is low",
    )  # fmt: skip
    lines, labels = theory.get_legend_handles_labels()
    labels = [label.removesuffix(", predicted") for label in labels[::2]]
    theory.legend(lines[::2], labels, fontsize=8, ncols=len(fields))
    theory.set_ylim(top=5)
    for axes in (curves, phases, lazy, grok, sizes):
        axes.legend(fontsize=8)
        style.light_grid(axes)
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
