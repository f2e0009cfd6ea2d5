"""A theory of representation learning gives a deep generalisation of kernel methods.

Yang, Robeyns, Milsom, Anson, Schoots, Aitchison (2023), arXiv 2108.13097. Two of five
variables decide the output, as a product. Machines with two hidden layers learn their
Gram matrices against a prior of strength nu; the process of the infinitely wide
network, which is the same machine without learned Gram matrices, and scikit-learn's
Gaussian process have the same data.
"""

import functools
import pathlib
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn import exceptions, gaussian_process
from sklearn.gaussian_process import kernels

from kanjax import cli, papers, plotting
from kanjax.ntk import deep_gaussian_process
from kanjax.ntk import deep_kernel_machine as machines
from kanjax.papers import spread

PAPER = papers.Paper(
    slug="deep-kernel-machine",
    title="A theory of representation learning gives a deep generalisation of kernel "
    "methods",
    source="Yang, Robeyns, Milsom, Anson, Schoots, Aitchison (2023), arXiv 2108.13097",
    room="ntk",
    state="reproduced",
)

DIMENSION, NOISE, LAYERS = 5, 0.1, 2
STRENGTHS = (100.0, 10.0, 1.0)
LENGTHS = kernels.RBF(np.ones(DIMENSION))
PEERS = {"one length": kernels.RBF(1.0), "a length for each variable": LENGTHS}


class Setting(NamedTuple):
    """Sizes of a run."""

    examples: int
    inducing: int
    steps: int
    seeds: int
    widths: tuple[int, ...]
    chain: int


SETTINGS = {
    "short": Setting(250, 30, 200, 2, (), 0),
    "default": Setting(200, 40, 500, 5, (16, 64, 256, 1_024), 1_000),
    "full": Setting(1_000, 100, 2_000, 10, (16, 64, 256, 1_024, 4_096), 4_000),
}


@jax.enable_x64(True)
def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    keys = jax.random.split(jax.random.key(0), setting.seeds)
    samples = jax.vmap(functools.partial(_sample, setting))(keys)
    # By machine (the wide network's first) and seed.
    values, errors, losses, spectra = _run(setting, samples)
    rows = list(zip(*samples, strict=True))
    peers = {
        name: np.asarray([_peer(kernel, *map(np.asarray, s)) for s in rows])
        for name, kernel in PEERS.items()
    }
    distances = _distances(setting) if setting.widths else np.zeros((0, 3))
    numbers = {
        "strengths": ["inf", *STRENGTHS],
        "objective": values.tolist(),
        "error": errors.tolist(),
        "log_loss": losses.tolist(),
        "peers": {name: error.tolist() for name, error in peers.items()},
        "widths": list(setting.widths),
        "distances": distances.tolist(),
    }
    figure = _figure(setting, errors, peers, spectra, distances)
    claims = _claims(setting, values, errors, peers, distances)
    return papers.Reproduction(claims, numbers, {"deep-kernel-machine": figure})


def _sample(setting: Setting, key: jax.Array) -> tuple[jax.Array, ...]:
    """Examples and points with their outputs, standardised by the examples."""
    where, noise = jax.random.split(key)
    x = jax.random.normal(where, (setting.examples + 500, DIMENSION))
    y = jnp.sin(1.5 * x[:, :1]) * x[:, 1:2]
    y = y + NOISE * jax.random.normal(noise, y.shape)
    known = y[: setting.examples]
    y = (y - known.mean()) / known.std()
    return (*jnp.split(x, [setting.examples]), *jnp.split(y, [setting.examples]))


def _run(setting: Setting, samples: Any) -> Any:
    """Objectives, errors, losses of densities and spectra, by strength and seed."""

    @jax.jit
    def train(x: Any, points: Any, y: Any, targets: Any, nu: Any, learn: Any) -> Any:
        start = machines.init(x[: setting.inducing], LAYERS)
        params, values = machines.fit(
            start,
            x,
            y,
            nu=nu,
            optimizer=optax.adam(0.02),
            steps=setting.steps,
            learn_grams=learn,
        )
        mean, variance, noise, *_ = machines.predict(params, x, y, points)
        square = (mean - targets)[:, 0] ** 2
        width = variance + noise
        loss = jnp.mean(square / width + jnp.log(2 * jnp.pi * width)) / 2
        layers = machines.propagate(params, x[:0])
        pairs = (layers.kernels[LAYERS - 1].inducing, layers.grams[LAYERS].inducing)
        spectra = [jnp.linalg.eigvalsh(gram)[::-1] for gram in pairs]
        return values[-1], jnp.sqrt(jnp.mean(square)), loss, jnp.stack(spectra)

    # In a loop, and compiled once: large batches of decompositions may hang on a CPU.
    results = [
        [train(*(v[seed] for v in samples), nu, learn) for seed in range(setting.seeds)]
        for nu, learn in ((1.0, False), *((nu, True) for nu in STRENGTHS))
    ]
    return jax.tree.map(
        lambda *v: np.reshape(v, (len(STRENGTHS) + 1, setting.seeds, *v[0].shape)),
        *(result for row in results for result in row),
    )


def _peer(kernel: Any, x: Any, points: Any, y: Any, targets: Any) -> float:
    """The error of a Gaussian process of one layer, all of whose lengths are fitted."""
    full = kernels.ConstantKernel() * kernel + kernels.WhiteKernel(0.1)
    with warnings.catch_warnings():
        # A variable that does not matter has a length at its bound.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        process = gaussian_process.GaussianProcessRegressor(full).fit(x, y[:, 0])
    return float(np.sqrt(np.mean((process.predict(points) - targets[:, 0]) ** 2)))


def _distances(setting: Setting) -> np.ndarray:
    """Distances of Gram matrices at a width from the machine's, by width and chain."""
    x, _, y, _ = _sample(setting, jax.random.key(100))
    x, y = x[:4], y[:4]
    start = machines.init(x, 1)

    def loss(factors: jax.Array) -> jax.Array:
        return -machines.dense_objective(start._replace(factors=factors), y, nu=1.0)

    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 1_500))

    def step(state: Any, _: None) -> tuple[Any, None]:
        factors, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(factors), moments)
        return (factors + updates, moments), None

    @jax.jit
    def limit(factors: jax.Array) -> jax.Array:
        state = (factors, optimizer.init(factors))
        factors = jax.lax.scan(step, state, length=1_500)[0][0]
        params = start._replace(factors=factors)
        return machines.propagate(params, x[:0]).grams[1].inducing

    gram = limit(start.factors)
    rows = []
    for width in setting.widths:
        chain = functools.partial(
            deep_gaussian_process.wide_posterior,
            width=width,
            nu=(1,),
            step_size=0.24 * width ** (-1 / 3),
            steps=setting.chain,
        )
        keys = jax.random.split(jax.random.key(1), 3)
        sampled, _ = jax.jit(jax.vmap(chain, (0, None, None)))(keys, start, y)
        late = sampled[:, setting.chain // 4 :, 0]
        square = jnp.mean(jnp.sum((late - gram) ** 2, axis=(2, 3)), axis=1)
        rows.append(np.asarray(jnp.sqrt(square) / jnp.linalg.norm(gram)))
    return np.asarray(rows)


def _claims(
    setting: Setting,
    values: np.ndarray,
    errors: np.ndarray,
    peers: dict[str, np.ndarray],
    distances: np.ndarray,
) -> tuple[papers.Claim, ...]:
    ratios = errors[2] / errors[0]
    steps = np.diff(values, axis=0)
    shallow = peers["one length"]
    seeds = f"{setting.seeds} seeds"
    claims = (
        papers.Claim(
            "A machine that learns its Gram matrices errs less than the process of "
            "the infinitely wide network.",
            f"{spread(errors[2])} with nu = 10, {ratios.mean():.2f} of the wide "
            f"network's, at most {ratios.max():.2f} ({seeds})",
            bool(ratios.mean() <= 0.6),
            threshold="at most 0.6 of its error, in the mean over seeds",
            baseline=f"wide network {spread(errors[0])}; scikit-learn, one length "
            f"{spread(shallow)}",
        ),
        papers.Claim(
            "The objective rises as nu falls.",
            ", ".join(spread(v) for v in values)
            + f" for each example with nu = inf, 100, 10, 1 ({seeds})",
            bool(steps.min() > 0),
            threshold="every step, for every seed",
        ),
    )
    if not setting.widths:
        return claims
    slopes = np.polyfit(np.log(setting.widths), np.log(distances), 1)[0]
    return (
        *claims,
        papers.Claim(
            "Gram matrices of a deep Gaussian process approach the machine's as its "
            "width grows.",
            f"distance {distances[0].mean():.3f} at width {setting.widths[0]}, "
            f"{distances[-1].mean():.3f} at {setting.widths[-1]}, slopes "
            f"{spread(slopes)} (3 chains)",
            bool(abs(slopes.mean() + 0.5) < 0.1),
            threshold="a slope within 0.1 of -1/2",
        ),
    )


@plotting.style.styled
def _figure(
    setting: Setting,
    errors: np.ndarray,
    peers: dict[str, np.ndarray],
    spectra: np.ndarray,
    distances: np.ndarray,
) -> Any:
    """Errors by machine, spectra of Gram matrices, and distances by width."""
    figure = plotting.style.new_figure((9.6, 3.4))
    left, middle, *rest = figure.subplots(1, 2 + bool(setting.widths))
    names = ["inf", *(f"{nu:g}" for nu in STRENGTHS)]
    colors = plotting.style.PALETTE
    places = np.arange(len(names))
    left.errorbar(places, errors.mean(1), errors.std(1, ddof=1), fmt="o", color="k")
    for (name, error), color in zip(peers.items(), colors, strict=False):
        left.axhline(error.mean(), color=color, linestyle="--", label=name)
    left.set_xticks(places, names)
    left.set(xlabel="nu", ylabel="test error (RMSE)", ylim=(0, None))
    left.legend(title="scikit-learn")
    kernel, gram = spectra[2].mean(axis=0)
    ranks = np.arange(1, len(gram) + 1)
    for values, label, color in (
        (kernel, "K(G_1)", colors[0]),
        (gram, "G_2", colors[1]),
    ):
        middle.plot(ranks, values, label=label, color=color)
    middle.set(yscale="log", xlabel="rank", ylabel="eigenvalue, nu = 10")
    middle.legend()
    for right in rest:
        mean = distances.mean(axis=1)
        widths = np.asarray(setting.widths)
        right.plot(widths, mean, "o-", color=colors[0], label="measured")
        right.plot(
            widths, mean[0] * (widths / widths[0]) ** -0.5, ":k", label="slope -1/2"
        )
        right.set(
            xscale="log", yscale="log", xlabel="width", ylabel="distance from limit"
        )
        right.legend()
    return figure


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
