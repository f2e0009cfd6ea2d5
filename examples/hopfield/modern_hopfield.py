"""Hopfield Networks is All You Need: storage, one-step retrieval, heads, bags.

Ramsauer et al. (2020), arXiv 2008.02217. The paper's own sets (Tiger, Fox, Elephant,
UCSB; immune repertoires; drug design) are not bundled; bags of handwritten digits at
several witness rates take their place.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from kanjax import cli, data, hopfield, model, nn, papers, plotting, training
from kanjax.hopfield import mean_field, modern

PAPER = papers.Paper(
    slug="modern-hopfield",
    title="Hopfield Networks is All You Need",
    source="Ramsauer et al. (2020), arXiv 2008.02217",
    room="hopfield",
    state="in part",
)

FLIPPED = 0.1
BETA = 1.0
POOLS = ("Hopfield", "attention", "max", "mean")


class Scale(NamedTuple):
    """How much of everything."""

    queries: int
    stored: tuple[int, ...]
    widths: tuple[int, ...]
    spins: int
    loads: tuple[float, ...]
    digits: int
    bags: int
    rates: tuple[float, ...]
    members: int
    steps: int
    power: int


SCALES = {
    "short": Scale(
        128,
        (16, 4096),
        (12, 16, 20),
        300,
        (0.08, 0.22),
        150,
        150,
        (1 / 30,),
        1,
        100,
        7,
    ),
    "default": Scale(
        512,
        (16, 64, 256, 1024, 4096, 16384, 65536),
        (12, 16, 20, 24, 28),
        2000,
        (0.06, 0.1, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.22),
        400,
        400,
        (1 / 30, 0.1, 0.3),
        3,
        500,
        13,
    ),
    "full": Scale(
        2048,
        (16, 64, 256, 1024, 4096, 16384, 65536, 262144),
        (12, 16, 20, 24, 28, 32),
        8000,
        tuple(np.linspace(0.05, 0.22, 18).tolist()),
        1797,
        1000,
        (1 / 30, 0.1, 0.2, 0.3),
        8,
        1500,
        16,
    ),
}


def main(scale: papers.Scale, folder: pathlib.Path | None) -> papers.Reproduction:
    """Measure the paper's claims; ``folder`` is not needed."""
    size = SCALES[scale]
    keys = jax.random.split(jax.random.key(0), 6)
    widths = (64,) if scale == "short" else (32, 64)
    recall = {d: _recall(keys[0], d, size) for d in widths}
    growth = _growth(keys[1], size)
    capacity = _classical_capacity(keys[2], size)
    pictures, found = _half_covered(size)
    heads = _heads()
    ways = ("Hopfield", "mean") if scale == "short" else POOLS
    pools = _pooling(keys[3], size, ways)
    claims = (
        _one_step(recall[64], size),
        _exponential(growth),
        _breakdown(capacity),
        _completion(found, size),
        _witnesses(pools, size),
    )
    numbers = {
        "recall": {str(d): values for d, values in recall.items()},
        "patterns_stored": growth,
        "classical_overlap": capacity,
        "half_covered_recalled": found,
        "pooling_auc": pools,
        "heads_by_regime": [hopfield.REGIMES[int(code)] for code in heads.regime],
    }
    figures = {
        "modern-hopfield": _overview(recall, growth, capacity, pools),
        "digits": pictures,
        "heads": plotting.head_statistics(
            heads, order="head", title="Heads of rising beta on handwritten digits"
        ),
    }
    return papers.Reproduction(claims, numbers, figures)


@functools.partial(jax.jit, static_argnames=("width", "stored", "queries"))
def _trial(key: Array, width: int, stored: int, queries: int) -> dict[str, Array]:
    """One update of damaged patterns, beside 20 sweeps of Hebb's network."""
    key_patterns, key_damage = jax.random.split(key)
    patterns = hopfield.random_patterns(key_patterns, stored, width)
    wanted = patterns[:queries]
    cues = hopfield.corrupt(key_damage, wanted, FLIPPED)
    new = hopfield.associate(cues, patterns, beta=BETA, batch_size=min(stored, 4096))
    memory = hopfield.Pairwise(hopfield.hebb(patterns))
    old = hopfield.retrieve(memory, cues, mode="synchronous", max_sweeps=20).state
    own = jnp.sum(old * wanted, axis=1) / width
    return {
        "modern": jnp.mean(jnp.all(jnp.sign(new) == wanted, axis=1)),
        "classical": jnp.mean(own > 0.94),
        "error": jnp.mean(jnp.linalg.norm(new - wanted, axis=1)),
    }


def _recall(key: Array, width: int, size: Scale) -> dict[str, list[float]]:
    trials = [_trial(key, width, n, min(size.queries, n)) for n in size.stored]
    rates = {name: [float(t[name]) for t in trials] for name in trials[0]}
    return {"stored": [float(n) for n in size.stored], **rates}


def _growth(key: Array, size: Scale) -> dict[str, list[float]]:
    """For each width the most patterns of which 90% come back, by powers of 2."""
    counts = 2 ** jnp.arange(1, size.power + 1)
    most = []
    for width in size.widths:
        rates = _rates(key, counts, width, 2**size.power, size.queries)
        lost = np.append(np.asarray(rates) < 0.9, True)
        first = int(np.argmax(lost))
        most.append(float(counts[first - 1]) if first else 1.0)
    return {"width": [float(w) for w in size.widths], "patterns": most}


@functools.partial(jax.jit, static_argnames=("width", "most", "queries"))
def _rates(key: Array, counts: Array, width: int, most: int, queries: int) -> Array:
    """How often one of the first so many patterns comes back, for each number."""

    def trial(key: Array) -> Array:
        key_patterns, key_damage = jax.random.split(key)
        patterns = hopfield.random_patterns(key_patterns, most, width)
        cue = hopfield.corrupt(key_damage, patterns[0], FLIPPED)
        stored = jnp.arange(len(patterns)) < counts[:, None]
        cues = jnp.broadcast_to(cue, (len(counts), width))
        new = modern.update(cues, patterns, BETA, mask=stored)
        return jnp.all(jnp.sign(new) == patterns[0], axis=1)

    found = jax.lax.map(trial, jax.random.split(key, queries), batch_size=32)
    return jnp.mean(found, axis=0)


def _classical_capacity(key: Array, size: Scale) -> dict[str, list[float]]:
    """The overlap at the fixed point that a stored pattern leads to."""
    numbers = [round(load * size.spins) for load in size.loads]
    overlap = [float(_kept(key, number, size.spins)) for number in numbers]
    return {"load": list(size.loads), "overlap": overlap}


@functools.partial(jax.jit, static_argnames=("number", "spins"))
def _kept(key: Array, number: int, spins: int) -> Array:
    patterns = hopfield.random_patterns(key, number, spins)
    start = patterns[:20]
    end = hopfield.retrieve(hopfield.PSpin(patterns, 2), start, max_sweeps=300)
    return jnp.mean(jnp.sum(end.state * start, axis=1) / spins)


def _half_covered(size: Scale) -> tuple[Any, float]:
    """Handwritten digits from their upper halves."""
    images = jnp.asarray(data.load("digits").x[: size.digits], jnp.float32)
    mean = jnp.mean(images, axis=0)
    centered = images - mean[None]
    lengths = jnp.linalg.norm(centered, axis=1, keepdims=True)
    patterns = centered / lengths
    cues = patterns.at[:, 32:].set(0)
    found = jax.jit(modern.retrieve)(cues, patterns, 100.0)
    right = jnp.argmax(found.weights, axis=1) == jnp.arange(len(patterns))
    shown = np.arange(0, 10)

    def picture(values: Array) -> np.ndarray:
        return np.asarray(values * lengths + mean[None]).reshape(-1, 8, 8)[shown]

    covered = picture(cues)
    covered[:, 4:] = np.nan
    rows = {"cue": covered, "recalled": picture(found.state)}
    rows["stored"] = picture(patterns)
    return plotting.recalled_images(rows), float(jnp.mean(right))


def _heads() -> hopfield.HeadStatistics:
    """Heads that differ in their temperature alone, on the digits."""
    images = jnp.asarray(data.load("digits").x[:400], jnp.float32)
    centered = images - jnp.mean(images, axis=0)[None]
    x = centered / jnp.linalg.norm(centered, axis=1, keepdims=True)
    layer = hopfield.Hopfield(
        64,
        heads=12,
        beta=tuple(float(2.0**k) for k in range(-1, 11)),
        state_norm=None,
        stored_norm=None,
        value_norm=None,
        state_static=True,
        stored_static=True,
        value_static=True,
        project_output=False,
    )
    return hopfield.head_statistics(jax.jit(layer.association)({}, x).weights)


class Pool(NamedTuple):
    """A way to summarise a bag of instances (bags, instances, features)."""

    init: Callable[[Array], Any]
    apply: Callable[[Any, Array, Array], Array]


def _pools(features: int) -> dict[str, Pool]:
    layer = hopfield.HopfieldPooling(
        hopfield.Hopfield(
            features,
            heads=4,
            head_features=16,
            beta=0.25,
            state_norm=None,
            stored_norm=None,
            value_norm=None,
        )
    )
    first, second = nn.Dense(features, 32), nn.Dense(32, 1)

    def attention(params: Any, h: Array, present: Array) -> Array:
        scores = second.apply(params[1], jnp.tanh(first.apply(params[0], h)))
        scores = jnp.where(present[..., None], scores, -jnp.inf)
        return jnp.sum(jax.nn.softmax(scores, axis=1) * h, axis=1)

    def mean(params: Any, h: Array, present: Array) -> Array:
        return jnp.mean(h, axis=1, where=present[..., None])

    def largest(params: Any, h: Array, present: Array) -> Array:
        return jnp.max(h, axis=1, where=present[..., None], initial=-jnp.inf)

    return {
        "Hopfield": Pool(
            layer.init, lambda p, h, present: layer.apply(p, h, present=present)
        ),
        "attention": Pool(
            lambda key: tuple(
                d.init(k)
                for d, k in zip((first, second), jax.random.split(key), strict=True)
            ),
            attention,
        ),
        "max": Pool(lambda key: (), largest),
        "mean": Pool(lambda key: (), mean),
    }


def _pooling(
    key: Array, size: Scale, ways: tuple[str, ...]
) -> dict[str, dict[str, list[float]]]:
    """Test AUC of each way of pooling, for each witness rate and member."""
    digits = data.load("digits")
    rows = np.asarray(jax.random.permutation(jax.random.key(1), len(digits.x)))
    # Other digits to test than to train on, as well as other bags.
    parts = np.split(rows, [1350])
    results: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for rate in size.rates:
        train, test = (
            data.bags_from_instances(
                jax.random.fold_in(key, i),
                digits.x[part] / 16.0,
                digits.y[part],
                9,
                bags=size.bags,
                witness_rate=rate,
            )
            for i, part in enumerate(parts)
        )
        for name in ways:
            pool = _pools(64)[name]
            results[name][f"{rate:.3g}"] = _fit(key, pool, train, test, size)
    return results


def _fit(
    key: Array, pool: Pool, train: data.Bags, test: data.Bags, size: Scale
) -> list[float]:
    from sklearn.metrics import roc_auc_score

    embedding = model.Sequential((nn.MLP((64, 128, 64)), nn.Activation(jax.nn.relu)))
    readout = nn.Dense(64, 1)

    def init(key: Array) -> Any:
        keys = jax.random.split(key, 3)
        return embedding.init(keys[0]), pool.init(keys[1]), readout.init(keys[2])

    def logits(params: Any, x: Array, present: Array) -> Array:
        h = embedding.apply(params[0], x)
        return readout.apply(params[2], pool.apply(params[1], h, present))[..., 0]

    def loss(params: Any, batch: data.Bags, key: Array | None) -> Array:
        scores = logits(params, batch.x, batch.present)
        return jnp.mean(optax.sigmoid_binary_cross_entropy(scores, batch.y))

    fit = training.fit_ensemble(
        loss,
        jax.jit(jax.vmap(init))(jax.random.split(key, size.members)),
        train,
        optimizer=optax.adamw(2e-3),
        steps=size.steps,
        batch_size=40,
        key=key,
    )
    score = jax.jit(jax.vmap(logits, (0, None, None)))
    scores = score(fit.params, test.x, test.present)
    return [float(roc_auc_score(np.asarray(test.y), s)) for s in np.asarray(scores)]


def _one_step(recall: dict[str, list[float]], size: Scale) -> papers.Claim:
    modern_rate, classical = recall["modern"][-1], recall["classical"]
    late = max(classical[1:])
    return papers.Claim(
        "one update retrieves far more random patterns than there are neurons",
        f"of {size.stored[-1]:,} patterns of 64 neurons, 10% flipped, "
        f"{modern_rate:.1%} come back in one update; Hebb's network recalls "
        f"{classical[0]:.1%} of 16 and at most {late:.1%} of more",
        modern_rate >= 0.98 and late <= 0.2,
    )


def _exponential(growth: dict[str, list[float]]) -> papers.Claim:
    slope, r2 = _line(growth["width"], np.log2(growth["patterns"]))
    pairs = zip(growth["width"], growth["patterns"], strict=True)
    shown = ", ".join(f"{n:,.0f} at {w:.0f}" for w, n in pairs)
    return papers.Claim(
        "the number of patterns grows exponentially with the number of neurons",
        f"90% come back of up to {shown} neurons: doubled every "
        f"{1 / slope if slope > 0 else np.inf:.1f} neurons (R2 {r2:.2f})",
        slope > 0.2 and r2 > 0.9,
    )


def _line(x: list[float], y: np.ndarray) -> tuple[float, float]:
    slope, start = np.polyfit(x, y, 1)
    rest = np.var(y - slope * np.asarray(x) - start)
    return float(slope), float(1 - rest / np.var(y))


def _breakdown(capacity: dict[str, list[float]]) -> papers.Claim:
    load, overlap = np.array(capacity["load"]), np.array(capacity["overlap"])
    critical = mean_field.zero_temperature_capacity().load
    below, above = overlap[load < 0.125], overlap[load > 0.155]
    measured = (
        f"overlap {below.min():.2f} or more below a load of 0.125, {above.max():.2f} "
        "or less above 0.155"
    )
    holds = bool(below.min() > 0.95 and above.max() < 0.85)
    if len(load) > 4:
        crossing = float(np.interp(-0.85, -overlap, load))
        measured += f", through 0.85 at {crossing:.3f}"
        holds = holds and abs(crossing - critical) < 0.02
    return papers.Claim(
        "the classical network recalls up to 0.138 patterns a neuron",
        f"{measured}; theory {critical:.4f}",
        holds,
    )


def _completion(found: float, size: Scale) -> papers.Claim:
    return papers.Claim(
        "most patterns are completed from a part of them",
        f"{found:.1%} of {size.digits} handwritten digits are the pattern recalled "
        "from their upper half",
        found >= 0.7,
    )


def _witnesses(pools: dict[str, dict[str, list[float]]], size: Scale) -> papers.Claim:
    rare = f"{size.rates[0]:.3g}"
    means = {name: float(np.mean(found[rare])) for name, found in pools.items()}
    shown = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
    least, ahead = (0.97, 0.08) if size.steps >= 400 else (0.6, 0.02)
    return papers.Claim(
        "Hopfield pooling finds one witness among 30 instances, where a mean does not",
        f"test AUC with one '9' in a bag of 30 digits: {shown}",
        means["Hopfield"] >= max(least, means["mean"] + ahead),
    )


@plotting.style.styled
def _overview(
    recall: dict[int, dict[str, list[float]]],
    growth: dict[str, list[float]],
    capacity: dict[str, list[float]],
    pools: dict[str, dict[str, list[float]]],
) -> Any:
    figure = plotting.style.new_figure((9.0, 6.6))
    grid = figure.subplots(2, 2)
    curves = {
        f"{name}, {d} neurons": (recall[d]["stored"], recall[d][name])
        for name in ("modern", "classical")
        for d in recall
    }
    plotting.recall_curves(
        curves, title="One update, 10% of spins flipped", axes=grid[0, 0]
    )
    plotting.recall_curves(
        {"90% come back": (growth["width"], growth["patterns"])},
        xlabel="neurons",
        ylabel="stored patterns",
        log=False,
        log_y=True,
        title="Capacity of the modern network",
        axes=grid[0, 1],
    )
    plotting.recall_curves(
        {"simulation": (capacity["load"], capacity["overlap"])},
        xlabel="patterns a neuron",
        ylabel="overlap with the pattern",
        log=False,
        title="Capacity of the classical network",
        axes=grid[1, 0],
    )
    critical = mean_field.zero_temperature_capacity().load
    grid[1, 0].axvline(critical, color="0.45", linestyle=":", label="theory: 0.138")
    grid[1, 0].legend()
    plotting.recall_curves(
        {
            name: (
                [float(rate) for rate in found],
                [np.mean(v) for v in found.values()],
            )
            for name, found in pools.items()
        },
        xlabel="witnesses in a positive bag (share)",
        ylabel="test AUC",
        log=False,
        title="Bags of 30 digits, positive with a '9'",
        axes=grid[1, 1],
    )
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
