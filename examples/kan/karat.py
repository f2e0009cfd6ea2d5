"""Kolmogorov-Arnold Attention: Is Learnable Attention Better For Vision Transformers?

Maity, Hitsman, Li, Dutta (2025), arXiv 2503.10632. One head of attention learns a
signed sum over tokens, with a softmax and with learned functions; and small vision
transformers of all kinds are trained on handwritten digits: scikit-learn's, or MNIST
from a folder. All have as many steps, and each the learning rate that does best on
examples of its own.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.kan import attention_transformer
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="karat",
    title="Kolmogorov-Arnold Attention: Is Learnable Attention Better For Vision "
    "Transformers?",
    source="Maity, Hitsman, Li, Dutta (2025), arXiv 2503.10632",
    room="kan",
    state="in part",
)

TOKENS, FEATURES, SAMPLES, RANK = 9, 8, 512, 6


class Setting(NamedTuple):
    """Sizes of a run; no steps on digits leave the digits out."""

    seeds: int
    rates: tuple[float, ...]
    steps: int
    digit_seeds: int
    digit_rates: tuple[float, ...]
    digit_steps: int


SETTINGS = {
    "short": Setting(2, (0.01,), 40, 0, (), 0),
    "default": Setting(5, (0.01, 0.03), 400, 3, (0.004, 0.01), 300),
    "full": Setting(10, (0.003, 0.01, 0.03), 400, 10, (0.001, 0.002, 0.005), 4000),
}


class Runs(NamedTuple):
    """What the best rate gave: one entry a seed, and the scores to choose it by."""

    test: np.ndarray
    params: Any
    parameters: int
    losses: np.ndarray
    held: list[float]


@kj.model.dataclass
class Placed:
    """Softmax attention of two wide heads that knows where tokens stand."""

    net: Any = kj.model.child(
        default=kj.model.Sequential((kj.nn.Attention(16, 2), kj.nn.Dense(16, FEATURES)))
    )

    def init(self, key: Array) -> Any:
        keys = jax.random.split(key, 3)
        return {
            "embedding": kj.nn.Dense(FEATURES, 16).init(keys[0]),
            "positions": 0.1 * jax.random.normal(keys[1], (TOKENS, 16)),
            "net": self.net.init(keys[2]),
        }

    def apply(self, params: Any, x: Array, *, key: Array | None = None) -> Array:
        y = kj.nn.Dense(FEATURES, 16).apply(params["embedding"], x)
        return self.net.apply(params["net"], y + params["positions"])


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is a folder with MNIST, for the digits."""
    setting = SETTINGS[scale]
    signed = _signed_runs(setting)
    digits = _digit_runs(setting, data) if setting.digit_steps else {}
    numbers = {
        task: {
            name: {
                "test": run.test.tolist(),
                "parameters": run.parameters,
                "rates": dict(zip(map(str, rates), run.held, strict=True)),
            }
            for name, run in runs.items()
        }
        for task, runs, rates in (
            ("signed", signed, setting.rates),
            ("digits", digits, setting.digit_rates),
        )
    }
    claims = (*_signed_claims(signed), *(_digit_claims(digits) if digits else ()))
    return papers.Reproduction(claims, numbers, {PAPER.slug: _figure(signed, digits)})


def _train(
    init: Callable[[Array], Any],
    loss: Callable[..., Any],
    score: Callable[[Any, Any], Array],
    sets: tuple[Any, Any, Any],
    *,
    seeds: int,
    rates: tuple[float, ...],
    steps: int,
    batch_size: int | None = None,
    schedule: Any = lambda rate, steps: rate,
) -> Runs:
    """Train all seeds at every rate; sets have an axis of seeds, scores fall."""
    keys = jax.random.split(jax.random.key(1), seeds)
    # Not in the compiled program, where random numbers take the most time to compile.
    starts = jax.vmap(init)(keys)

    def run(rate: Array, key: Array, start: Any, sets: Any) -> Any:
        params, losses = kj.training.descend(
            loss,
            start,
            sets[0],
            key=key,
            optimizer=optax.adam(schedule(rate, steps)),
            steps=steps,
            batch_size=batch_size,
        )
        return params, losses, jnp.stack([score(params, s) for s in sets[1:]])

    over_seeds = jax.jit(jax.vmap(run, (None, 0, 0, 0)))
    runs = [over_seeds(jnp.asarray(rate), keys, starts, sets) for rate in rates]
    held = [float(jnp.mean(scores[:, 0])) for *_, scores in runs]
    params, losses, scores = runs[int(np.argmin(held))]
    size = kj.model.count_parameters(jax.tree.map(lambda leaf: leaf[0], starts))
    return Runs(np.asarray(scores[:, 1]), params, size, np.asarray(losses), held)


# ---- a signed sum over tokens


def _signed_attention(x: Array) -> Array:
    signs = jnp.where(jnp.arange(TOKENS) % 2, -1.0, 1.0)
    products = x @ jnp.swapaxes(x, -1, -2) / FEATURES**0.5
    return jnp.tanh(products) * signs / TOKENS**0.5


def _learned(coef_std: float | None) -> Any:
    operator = kj.kan.AttentionOperator(TOKENS, RANK, coef_std=coef_std)
    return kj.kan.KANAttention(FEATURES, 1, operator, use_bias=False)


SIGNED = {
    "softmax": kj.nn.Attention(FEATURES, 1, use_bias=False),
    "softmax, two heads, positions": Placed(),
    "KArAt": _learned(None),
    "KArAt, N(0, 1)": _learned(1.0),
}


def _signed_runs(setting: Setting) -> dict[str, Runs]:
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    shape = (3, SAMPLES, TOKENS, FEATURES)
    x = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
    y = _signed_attention(x) @ x
    sets = tuple((x[:, i], y[:, i]) for i in range(3))

    def train(net: Any) -> Runs:
        def score(params: Any, examples: Any) -> Array:
            x, y = examples
            return jnp.mean((net.apply(params, x) - y) ** 2) / jnp.mean(y**2)

        return _train(
            net.init,
            lambda params, batch, key: score(params, batch),
            score,
            sets,
            seeds=setting.seeds,
            rates=setting.rates,
            steps=setting.steps,
        )

    nets = SIGNED if setting.digit_steps else dict(list(SIGNED.items())[::2])
    return {name: train(net) for name, net in nets.items()}


# ---- digits


def _digit_runs(setting: Setting, folder: pathlib.Path | None) -> dict[str, Runs]:
    train, test = kj.data.handwritten_digits(folder)
    side = int(train.x.shape[1] ** 0.5)
    patch = 2 if side == 8 else 7
    kept = (len(train.x) * 4) // 5
    parts = [(train.x[:kept], train.y[:kept]), (train.x[kept:], train.y[kept:]), test]
    sets = [(2 * x.reshape(-1, side, side, 1) - 1, y) for x, y in parts]
    many = functools.partial(
        jax.tree.map, lambda v: jnp.broadcast_to(v, (setting.digit_seeds, *v.shape))
    )
    options = dict(
        seeds=setting.digit_seeds,
        rates=setting.digit_rates,
        steps=setting.digit_steps,
        batch_size=64,
        schedule=optax.cosine_decay_schedule,
    )

    def vit(hidden: int) -> kj.nn.VisionTransformer:
        mlp = kj.nn.MLP((24, hidden, 24), jax.nn.gelu)
        return kj.nn.VisionTransformer((side, side), patch, 1, 10, 24, 2, 3, mlp)

    plain = vit(96)
    tokens = plain.tokens + 1
    change = attention_transformer.with_operators
    scaled = kj.kan.AttentionOperator(tokens, RANK, coef_std=None)
    onto = kj.kan.AttentionOperator(tokens, RANK, coef_std=None, simplex="row")
    nets = {
        "softmax": plain,
        "softmax, wider MLP": vit(140),
        "KArAt, blockwise": change(plain, scaled),
        "KArAt, universal": change(plain, scaled, universal=True),
        "KArAt on the simplex": change(plain, onto),
    }
    runs = {}
    for name, net in nets.items():
        loss = kj.training.classification(net.apply)
        score = functools.partial(_error, net.apply)
        runs[name] = _train(net.init, loss, score, many(tuple(sets)), **options)

    # The learned attention of every image, in the place of a new network's own.
    source = nets["KArAt, blockwise"]

    def attention(params: Any, x: Array) -> Array:
        found = attention_transformer.attention_matrices(source, params, x)
        return jnp.moveaxis(found, 0, 1)

    def transferred(params: Any, inputs: Any) -> Array:
        x, matrices = inputs
        matrices = jnp.moveaxis(matrices, 1, 0)
        return attention_transformer.apply_with_matrices(plain, params, x, matrices)

    of_seeds = jax.jit(jax.vmap(attention, (0, None)))
    taught = runs["KArAt, blockwise"].params
    with_matrices = tuple(((many(x), of_seeds(taught, x)), many(y)) for x, y in sets)
    runs["transferred attention"] = _train(
        plain.init,
        lambda params, batch, key: optax.softmax_cross_entropy_with_integer_labels(
            transferred(params, batch[0]), batch[1]
        ).mean(),
        functools.partial(_error, transferred),
        with_matrices,
        **options,
    )
    return runs


def _error(apply: Any, params: Any, examples: Any) -> Array:
    x, y = examples
    return jnp.mean(jnp.argmax(apply(params, x), axis=-1) != y)


# ---- claims and the figure


def _said(name: str, run: Runs, percent: bool) -> str:
    factor, unit = (100, "%") if percent else (1, "")
    mean, spread = factor * run.test.mean(), factor * run.test.std(ddof=1)
    digits = 1 if percent else 3
    size = f"{run.parameters} parameters"
    return f"{name} {mean:.{digits}f}{unit} ± {spread:.{digits}f} ({size})"


def _signed_claims(runs: dict[str, Runs]) -> tuple[papers.Claim, ...]:
    def claim(text: str, name: str, limit: float) -> papers.Claim:
        ratio = runs["KArAt"].test / runs[name].test
        return papers.Claim(
            text,
            f"{ratio.mean():.2f} ± {ratio.std(ddof=1):.2f} of it ({len(ratio)} seeds); "
            + _said("KArAt", runs["KArAt"], False),
            bool(ratio.mean() < limit),
            threshold=f"less than {limit} of it in the mean of seeds",
            baseline=_said(name, runs[name], False),
        )

    claims = [
        claim(
            "A signed sum over tokens is learned better than with a softmax.",
            "softmax",
            0.5,
        )
    ]
    other = "softmax, two heads, positions"
    if other in runs:
        text = "So it is beside a softmax with more parameters, two heads, positions."
        claims.append(claim(text, other, 1.0))
    return tuple(claims)


def _digit_claims(runs: dict[str, Runs]) -> tuple[papers.Claim, ...]:
    def claim(text: str, better: str, worse: str, figures: str) -> papers.Claim:
        gain = 100 * (runs[worse].test - runs[better].test)
        error = gain.std(ddof=1) / len(gain) ** 0.5
        return papers.Claim(
            text,
            f"{gain.mean():+.1f} ± {error:.1f} points ({len(gain)} seeds); error: "
            + _said(better, runs[better], True),
            bool(gain.mean() > 2 * error),
            paper=figures,
            threshold="accuracy higher by more than 2 standard errors",
            baseline=_said(worse, runs[worse], True),
        )

    return (
        claim(
            "Blockwise operators classify better than a softmax.",
            "KArAt, blockwise",
            "softmax",
            "76.69 beside 72.76 (CIFAR-10)",
        ),
        claim(
            "So they do beside a softmax with as many parameters.",
            "KArAt, blockwise",
            "softmax, wider MLP",
            "",
        ),
        claim(
            "Universal operators classify better than a softmax.",
            "KArAt, universal",
            "softmax",
            "75.56 beside 72.76 (CIFAR-10)",
        ),
        claim(
            "Rows projected onto the simplex classify worse.",
            "KArAt, blockwise",
            "KArAt on the simplex",
            "41.99 beside 76.69 (CIFAR-10)",
        ),
        claim(
            "A network with transferred attention is better than one with its own.",
            "transferred attention",
            "softmax",
            "77.94 beside 72.76 (CIFAR-10)",
        ),
    )


@style.styled
def _figure(signed: dict[str, Runs], digits: dict[str, Runs]) -> Any:
    figure = style.new_figure((9.6, 5.6))
    axes = figure.subplots(2, 3)
    curves, spectrum, bars = axes[0, 0], axes[1, 0], axes[1, 2]
    for (name, run), color in zip(signed.items(), style.PALETTE, strict=False):
        curves.plot(run.losses.mean(axis=0), color=color, label=name)
    curves.set(xlabel="step", ylabel="relative MSE", title="A signed sum over tokens")
    curves.set_ylim(0, 1.5)
    curves.legend(fontsize=7)
    x = jax.random.normal(jax.random.key(7), (TOKENS, FEATURES))
    pictures = {"true, signed": _signed_attention(x)}
    for name in ("softmax", "KArAt"):
        params = jax.tree.map(lambda leaf: leaf[0], signed[name].params)
        net = _learned(None)
        if name == "softmax":
            net = dataclasses.replace(net, learned=(False,))
        # What a head's values are multiplied with on the way to the output.
        values = params["value"]["kernel"] @ params["output"]["kernel"]
        matrix = net.matrices(params, x)[0]
        pictures[name] = matrix * jnp.trace(values) / FEATURES
        before = (
            jnp.einsum(
                "qd,kd->qk",
                *(
                    net.dense.projection.apply(params[each], x)
                    for each in ("query", "key")
                ),
            )
            / FEATURES**0.5
        )
        color = style.PALETTE[list(signed).index(name)]
        for each, line in ((before, ":"), (matrix, "-")):
            s = attention_transformer.singular_values(each)
            label = f"{name}, {'logits' if line == ':' else 'attention'}"
            spectrum.semilogy(
                np.arange(1, TOKENS + 1),
                np.maximum(s / s[0], 1e-8),
                line,
                color=color,
                marker="o",
                label=label,
            )
    spectrum.set(
        xlabel="number",
        ylabel="singular value / largest",
        title=f"Spectra, rank {RANK}",
    )
    spectrum.legend(fontsize=7)
    places = (axes[0, 1], axes[0, 2], axes[1, 1])
    for place, (name, matrix) in zip(places, pictures.items(), strict=True):
        limit = float(jnp.max(jnp.abs(pictures["true, signed"])))
        image = place.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set(title=f"{name} attention", xlabel="key", ylabel="query")
        figure.colorbar(image, ax=place, shrink=0.8)
    if digits:
        mean = [100 * run.test.mean() for run in digits.values()]
        spread = [100 * run.test.std(ddof=1) for run in digits.values()]
        bars.barh(range(len(mean)), mean, xerr=spread, color=style.PALETTE[0])
        bars.set_yticks(range(len(mean)), list(digits), fontsize=7)
        bars.invert_yaxis()
        bars.set(xlabel="test error (%)", title="Digits")
    else:
        bars.set_axis_off()
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
