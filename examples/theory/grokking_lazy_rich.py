"""Grokking as the Transition from Lazy to Rich Training Dynamics, without weight decay.

Kumar, Bordelon, Gershman, Pehlevan (2023), arXiv 2310.06110. The paper's polynomial
regression at a smaller dimension: the delay of the test loss against the scale of
outputs, the number of examples and the first kernel; mean-field theory beside
experiments; a perceptron on digits, lazy or rich; and one that groks them. The paper's
transformer and student-teacher runs are not here.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike

import kanjax as kj
from kanjax import cli, papers
from kanjax.plotting import style
from kanjax.theory import grokking, laziness
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
LOAD, KAPPA, TIMES, EPSILON = 2.0, 0.04, 25, 0.5
OVERLAP = (0.3, 0.1, -0.2)
COVARIANCE = ((1.0, 0.2, 0.1), (0.2, 0.8, 0.0), (0.1, 0.0, 1.2))
SCALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# Of digits: sizes of first weights, half the variance of one-hot targets, and decay.
SIZES, HALF, DECAY, LABELED = (1.0, 2.0, 3.0), 0.045, 0.1, 200


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
    digits: tuple[int, int]  # hidden units of each layer, and steps


SETTINGS = {
    "short": Setting(
        16, 40, (30, 65, 90), 0.25, 2_000, 2, (1,), 200, 20, 2, 2_000, 20, (32, 2_000)
    ),  # fmt: skip
    "default": Setting(
        40,
        100,
        (120, 180, 260),
        0.25,
        20_000,
        5,
        (1, 2, 3),
        500,
        40,
        6,
        20_000,
        200,
        (64, 15_000),
    ),
    "full": Setting(
        100,
        500,
        (400, 550, 1100),
        0.25,
        100_000,
        5,
        (1, 2, 3),
        2000,
        40,
        12,
        20_000,
        1000,
        (200, 50_000),
    ),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; the digits to grok are MNIST's from ``data``, or bundled."""
    setting = SETTINGS[scale]
    experiment = _experiment(setting)
    runs = {n: experiment(n, setting.epsilon) for n in setting.examples}
    # A kernel that knows little of even functions.
    misaligned = experiment(setting.examples[2], 0.08 * setting.epsilon)
    linear = _linear_losses(setting)
    fields = {units: _mean_field(setting, units) for units in setting.units}
    digits = _digits(setting)
    grokked = _grok_digits(setting, data)
    delays = {n: run["delay"] for n, run in runs.items()}
    numbers = {
        "delays": {
            name: {"train": d.train.tolist(), "test": d.test.tolist()}
            for name, d in {**delays, "misaligned": misaligned["delay"]}.items()
        },
        "linearized": linear.tolist(),
        "mean field": {n: f["gaps"] for n, f in fields.items()},
        "digits": {name: values.tolist() for name, values in digits.items()},
        "grokked digits": {name: values.tolist() for name, values in grokked.items()},
    }
    claims = (
        *_claims(setting, runs, misaligned, linear, fields, digits),
        _digit_claim(setting, grokked),
    )
    figure = _figure(setting, runs, fields, digits, grokked)
    return papers.Reproduction(claims, numbers, {PAPER.slug: figure})


def _problem(setting: Setting, seed: Any, number: ArrayLike) -> Any:
    """A direction, examples, a start and a key; the examples are padded with zeros."""
    keys = jax.random.split(jax.random.fold_in(jax.random.key(0), seed), 4)
    beta = grokking.draw_direction(keys[0], setting.inputs)
    net = grokking.PolynomialNetwork(setting.inputs, setting.width)
    start = grokking.moments(net.init(keys[2]))
    x, y = grokking.draw_data(keys[1], beta, max(setting.examples))
    real = jnp.arange(len(y)) < number
    return beta, (jnp.where(real[:, None], x, 0), jnp.where(real, y, 0)), start, keys[3]


def _experiment(setting: Setting) -> Callable[[int, float], dict[str, Any]]:
    """Return what trains each seed and alpha, (seeds, alphas, times), in one program.

    An example of zeros pulls at nothing and only counts in the means, so that all
    numbers of examples share a shape.
    """
    every = max(setting.steps // 1000, 5)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None, None))
    @functools.partial(jax.vmap, in_axes=(None, 0, None, None))
    def run(seed: Array, alpha: Array, number: Array, epsilon: Array) -> Any:
        beta, (x, y), start, _ = _problem(setting, seed, number)
        knobs = {"alpha": alpha, "epsilon": epsilon}
        more = len(y) / number

        def record(at: grokking.Moments) -> dict[str, Array]:
            squares = (grokking.predict(at, x, **knobs) - y) ** 2
            return {
                "train": more * jnp.mean(squares),
                "test": grokking.population_loss(at, beta, **knobs).total,
                "alignment": grokking.alignment(at, beta),
            }

        options = {"steps": setting.steps, "every": every, "record": record}
        return grokking.reduced_dynamics(start, x, y, rate=more, **knobs, **options)[1]

    def curves(number: int, epsilon: float) -> dict[str, Any]:
        seeds = jnp.arange(setting.seeds)
        each = run(seeds, jnp.array(ALPHAS), 1.0 * number, epsilon)
        each = {name: np.asarray(values) for name, values in each.items()}
        times = np.arange(each["train"].shape[-1]) * every
        delay = grokking.grokking_delay(
            each["train"], each["test"], times, threshold=THRESHOLD
        )
        return {"times": times, "delay": delay, **each}

    return curves


def _first_kernels(setting: Setting, epsilons: Sequence[float]) -> np.ndarray:
    """The kernel's alignment with the targets before training, (epsilons, seeds)."""

    def align(epsilon: Array, seed: Array) -> Array:
        _, (x, y), start, _ = _problem(setting, seed, max(setting.examples))
        kernel = grokking.tangent_kernel(start, x, x, epsilon=epsilon)
        return kj.ntk.alignment(kernel, y)

    over = jax.jit(jax.vmap(jax.vmap(align, (None, 0)), (0, None)))
    return np.asarray(over(jnp.array(epsilons), jnp.arange(setting.seeds)))


def _linear_losses(setting: Setting) -> np.ndarray:
    """The test loss of each seed's linearized network after as many steps."""

    def run(seed: Array) -> Array:
        beta, (x, y), start, key = _problem(setting, seed, max(setting.examples))
        x, y = x[: setting.examples[1]], y[: setting.examples[1]]
        x_new, y_new = grokking.draw_data(key, beta, 1000)
        kernel, across = (
            grokking.tangent_kernel(start, v, x, epsilon=setting.epsilon)
            for v in (x, x_new)
        )
        first = [
            grokking.predict(start, v, alpha=1.0, epsilon=setting.epsilon)[:, None]
            for v in (x, x_new)
        ]
        outputs = kj.ntk.mse_training(
            kernel, y[:, None], learning_rate=2.0, discrete=True
        )
        predicted = outputs(setting.steps, *first, across).test
        return jnp.mean((predicted[:, 0] - y_new) ** 2)

    # One by one: batched eigenvectors can stand still on the CPU in jaxlib 0.10.1.
    seeds = jnp.arange(setting.seeds)
    return np.asarray(jax.jit(lambda seeds: jax.lax.map(run, seeds))(seeds))


def _mean_field(setting: Setting, units: int) -> dict[str, Any]:
    """Losses by theory and of descent from the same start, and the largest gaps."""
    overlap = jnp.array(OVERLAP[:units])
    covariance = jnp.array(COVARIANCE)[:units, :units]
    size, number = setting.dimension, int(LOAD * setting.dimension)
    net = grokking.PolynomialNetwork(size, units, epsilon=EPSILON)

    def solve(key: Array) -> mean_field.MeanField:
        return mean_field.solve(
            key,
            lambda h: h + EPSILON / 2 * h**2,
            lambda s: s**2 / 2,
            load=LOAD,
            step_size=KAPPA,
            steps=TIMES,
            overlap=overlap,
            covariance=covariance,
            samples=setting.samples // units,
        )

    # More samples than memory holds: their sums are averaged over solutions.
    keys = jax.random.split(jax.random.key(0), setting.solves)
    solutions = jax.jit(lambda keys: jax.lax.map(solve, keys))(keys)
    theory = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), solutions)

    def descend(key: Array) -> tuple[Array, Array]:
        keys = jax.random.split(key, 3)
        beta = grokking.draw_direction(keys[0], size)
        rest = jax.random.normal(keys[1], (units, size))
        rest = rest - jnp.outer(rest @ beta, beta) / size
        rest = jnp.linalg.qr(rest.T)[0].T * size**0.5
        root = jnp.linalg.cholesky(covariance - jnp.outer(overlap, overlap))
        x, y = grokking.draw_data(keys[2], beta, number)

        def loss(weights: Array) -> Array:
            return jnp.mean((net.apply(weights, x)[:, 0] - y) ** 2)

        def step(weights: Array, _: None) -> Any:
            train, gradient = jax.value_and_grad(loss)(weights)
            at = grokking.moments(weights)
            test = grokking.population_loss(at, beta, alpha=1.0, epsilon=EPSILON).total
            return weights - KAPPA * number * units / 2 * gradient, (train, test)

        start = root @ rest + jnp.outer(overlap, beta)
        return jax.lax.scan(step, start, None, length=TIMES)[1]

    keys = jax.random.split(jax.random.key(1), setting.repeats)
    runs = dict(zip(("train", "test"), jax.jit(jax.vmap(descend))(keys), strict=True))
    gaps = {
        name: float(jnp.max(jnp.abs(getattr(theory, name) / values.mean(0) - 1)))
        for name, values in runs.items()
    }
    return {"theory": theory, "runs": runs, "gaps": gaps}


def _digits(setting: Setting) -> dict[str, np.ndarray]:
    """How lazily a perceptron tells even digits from odd, (scales, seeds)."""
    train, test = kj.data.handwritten_digits(None)
    x, y = train.x[:200], 1.0 - 2.0 * (train.y[:200, None] % 2)
    net = kj.nn.MLP((x.shape[1], setting.hidden, 1), jnp.tanh, "ntk", kernel_scale=1.0)

    def run(alpha: Array, seed: Array) -> dict[str, Array]:
        start = net.init(jax.random.fold_in(jax.random.key(2), seed))
        apply = laziness.scale_outputs(net.apply, start, alpha)
        end, losses = kj.training.descend(
            kj.training.regression(apply),
            start,
            (x, y),
            key=jax.random.key(0),
            optimizer=optax.sgd(0.3 / alpha**2),
            steps=300,
        )
        lazy = kj.theory.lazy_rich(apply, start, end, test.x[:100])
        return {**lazy._asdict(), "lazy": lazy.is_lazy(), "loss": losses[-1]}

    scales, seeds = jnp.meshgrid(
        jnp.array(SCALES), jnp.arange(setting.seeds), indexing="ij"
    )
    each = jax.jit(lambda *pairs: jax.lax.map(lambda pair: run(*pair), pairs))(
        scales.ravel(), seeds.ravel()
    )
    return {name: np.asarray(v).reshape(scales.shape) for name, v in each.items()}


def _grok_digits(setting: Setting, data: pathlib.Path | None) -> dict[str, np.ndarray]:
    """Losses on digits through training, (sizes + 1, seeds, times); the last row is the
    largest size without weight decay.
    """
    train, test = kj.data.handwritten_digits(data)
    hidden, steps = setting.digits
    net = kj.nn.MLP((train.x.shape[1], hidden, hidden, 10), use_bias=False)
    seen, new = (
        (v.x[:LABELED], jax.nn.one_hot(v.y[:LABELED], 10)) for v in (train, test)
    )
    loss = kj.training.regression(net.apply)
    every = steps // 150

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None))
    @functools.partial(jax.vmap, in_axes=(None, None, 0))
    def run(size: Array, decay: Array, key: Array) -> Any:
        start = jax.tree.map(lambda w: size * w, net.init(key))
        optimizer = optax.adamw(1e-3, weight_decay=decay)

        def step(state: Any, _: None) -> Any:
            params, moments = state
            gradient = jax.grad(lambda p: loss(p, seen)[0])(params)
            updates, moments = optimizer.update(gradient, moments, params)
            return (optax.apply_updates(params, updates), moments), None

        def stretch(state: Any, _: None) -> Any:
            records = [loss(state[0], batch)[0] for batch in (seen, new)]
            return jax.lax.scan(step, state, None, length=every)[0], records

        state = start, optimizer.init(start)
        return jax.lax.scan(stretch, state, None, length=150)[1]

    keys = jax.random.split(jax.random.key(3), 3)
    sizes, decays = (
        jnp.array([*SIZES, SIZES[-1]]),
        jnp.array([DECAY] * len(SIZES) + [0]),
    )
    losses = run(sizes, decays, keys)
    times = np.arange(150) * every
    delay = grokking.grokking_delay(*losses, times, threshold=HALF)
    train_loss, test_loss = (np.asarray(v) for v in losses)
    return {
        "times": times,
        "train": train_loss,
        "test": test_loss,
        "train time": np.asarray(delay.train),
        "test time": np.asarray(delay.test),
    }


def _digit_claim(setting: Setting, grokked: dict[str, np.ndarray]) -> papers.Claim:
    delays = grokked["test time"] - grokked["train time"]
    usual, large = delays[0], delays[len(SIZES) - 1]
    never = grokked["test"][-1, :, -1]
    every = grokked["times"][1]
    return papers.Claim(
        f"A perceptron groks {LABELED} digits where its first weights are large.",
        f"{papers.spread(large, 0)} steps from train to test, weights {SIZES[-1]:g} "
        f"times as large; {papers.spread(usual, 0)} at the usual size",
        bool(np.isfinite(large).all() and large.min() >= 5 * max(usual.max(), every)),
        threshold="delay at least 5 times as long in each of 3 seeds, and 5 times the "
        f"{every} steps between looks; loss of {HALF}",
        baseline=f"without weight decay test loss {papers.spread(never, 2)} after "
        f"{setting.digits[1]:,} steps",
    )


def _delay(run: dict[str, Any]) -> np.ndarray:
    return np.asarray(run["delay"].test - run["delay"].train)


def _claims(
    setting: Setting,
    runs: dict[int, Any],
    misaligned: dict[str, Any],
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
    late = _delay(misaligned)[:, 0]
    aligned = _first_kernels(setting, (0.08 * setting.epsilon, setting.epsilon))
    worst = max(gap for field in fields.values() for gap in field["gaps"].values())
    lowest = max(
        abs(float(values.mean(0)[-1] / values.mean(0)[0] - 1))
        for field in fields.values()
        for values in field["runs"].values()
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
            f"{epochs(late)} at epsilon = {0.08 * setting.epsilon:.3g}, kernel "
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
    _draw_grokked(grok, sizes, grokked)
    run = runs[setting.examples[1]]
    times = run["times"][1:]
    for place, color in ((0, style.ORANGE), (-1, style.BLUE)):
        label = f"alpha = {ALPHAS[place]:g}"
        for kind, dashes in (("train", "--"), ("test", "-")):
            for values in run[kind][:, place, 1:]:
                curves.plot(times, values, dashes, color=color, linewidth=0.9)
            curves.plot([], [], dashes, color=color, label=f"{label}, {kind}")
    for values in run["alignment"][:, 0, 1:]:
        curves.plot(times, values, ":", color=style.GREEN, linewidth=1.2)
    curves.plot([], [], ":", color=style.GREEN, label="alignment, alpha = 1")
    curves.axhline(THRESHOLD, color=style.GRAY, linewidth=0.7)
    curves.set(
        xscale="log",
        yscale="log",
        ylim=(1e-4, 4),
        xlabel="epoch",
        ylabel="loss; alignment",
        title=f"{setting.examples[1]} examples, each seed",
    )
    curves.legend(fontsize=8, loc="lower left")
    for k, (number, run) in enumerate(runs.items()):
        delay = run["delay"]
        for values, dashes in ((delay.train, "--"), (delay.test, "-")):
            shown = np.where(np.isfinite(values), values, np.nan)
            known = np.isfinite(values).all(axis=0)
            middle = np.where(known, np.median(values, axis=0), np.nan)
            phases.plot(ALPHAS, middle, dashes, color=style.PALETTE[k])
            phases.plot(
                ALPHAS,
                shown.T,
                linestyle="none",
                marker=style.MARKERS[k],
                markersize=3,
                color=style.PALETTE[k],
            )
        phases.plot([], [], color=style.PALETTE[k], label=f"{number} examples")
    phases.set(
        xscale="log",
        yscale="log",
        xlabel="alpha",
        ylabel=f"epoch of loss {THRESHOLD:g}",
        title="Rich to lazy: train (dashed), test (solid)",
    )
    phases.legend(fontsize=8, loc="lower right")
    for k, (units, field) in enumerate(fields.items()):
        color = style.PALETTE[k]
        for kind, dashes, marker in (("train", "--", "s"), ("test", "-", "o")):
            values = field["runs"][kind]
            error = values.std(axis=0, ddof=1) / len(values) ** 0.5
            theory.plot(getattr(field["theory"], kind), dashes, color=color)
            theory.errorbar(
                range(0, TIMES, 3),
                values.mean(axis=0)[::3],
                2 * error[::3],
                linestyle="none",
                marker=marker,
                markersize=3,
                color=color,
            )
        theory.plot([], [], color=color, label=f"{units} unit{'s' * (units > 1)}")
    theory.set(
        yscale="log",
        xlabel="step",
        ylabel="loss",
        title="Mean field (lines), runs (marks): train, test",
    )
    theory.legend(fontsize=8)
    for k, (name, label) in enumerate(
        (
            ("kernel_drift", "kernel drift"),
            ("linearization_gap", "gap to the linear network"),
            ("parameter_change", "change of parameters"),
        )
    ):
        color = style.PALETTE[k]
        lazy.plot(SCALES, digits[name].mean(1), style.DASHES[k], color=color)
        lazy.plot([], [], style.DASHES[k], color=color, label=label)
        lazy.plot(SCALES, digits[name], ".", color=color, markersize=4)
    lazy.axhline(0.1, color=style.GRAY, linewidth=0.7)
    lazy.set(
        xscale="log",
        yscale="log",
        xlabel="scale of outputs",
        title="A perceptron on digits",
    )
    lazy.legend(fontsize=8)
    for axes in (curves, phases, theory, lazy, grok, sizes):
        style.light_grid(axes)
    return figure


def _draw_grokked(grok: Any, sizes: Any, grokked: dict[str, np.ndarray]) -> None:
    """Draw losses on digits through time, and when they are low against the size."""
    times = grokked["times"][1:]
    for row, name in enumerate([*(f"size {s:g}" for s in SIZES), "no weight decay"]):
        if row == 1:
            continue
        color = style.PALETTE[row]
        for kind, dashes in (("train", "--"), ("test", "-")):
            for values in grokked[kind][row, :, 1:]:
                grok.plot(times, values, dashes, color=color, linewidth=0.9)
        grok.plot([], [], color=color, label=name)
    grok.axhline(HALF, color=style.GRAY, linewidth=0.7)
    grok.set(
        xscale="log", yscale="log", xlabel="step", ylabel="loss", ylim=(1e-5, 1e3),
        title=f"{LABELED} digits: train (dashed), test",
    )  # fmt: skip
    grok.legend(fontsize=8)
    for kind, dashes in (("train", "--"), ("test", "-")):
        values = grokked[f"{kind} time"][: len(SIZES)]
        mean = np.where(np.isfinite(values).all(1), values.mean(1), np.nan)
        sizes.plot(SIZES, mean, dashes, color=style.BLUE, label=kind)
        sizes.plot(SIZES, values, "o", color=style.BLUE, markersize=3)
    sizes.set(
        yscale="log", xlabel="size of the first weights", ylabel=f"step of loss {HALF}",
        title="Digits: when each loss is low",
    )  # fmt: skip
    sizes.legend(fontsize=8)


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
