"""Neural tangent kernels: at large width constant, and then training has a closed form.

Jacot, Gabriel, Hongler 2018, "Neural Tangent Kernel: Convergence and Generalization in
Neural Networks", arXiv 1806.07572.
"""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import kanjax as kj
from kanjax import cli, papers
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="ntk",
    title="Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
    source="Jacot, Gabriel, Hongler (2018), arXiv 1806.07572",
    room="ntk",
    state="reproduced",
)


class Size(NamedTuple):
    """How much is run."""

    widths: tuple[int, ...]
    draws: int
    wide: int
    steps: int
    members: int


SIZES: dict[papers.Scale, Size] = {
    "short": Size((32, 256), 4, 512, 100, 4),
    "default": Size((32, 64, 128, 256, 512, 1024), 10, 2048, 200, 12),
    "full": Size((32, 64, 128, 256, 512, 1024, 2048, 4096), 10, 10_000, 500, 20),
}
CIRCLE_WIDTHS = {"short": 64, "default": 512, "full": 2048}
# How far the outputs of a network of this width may be from the closed form's.
FAR = {"short": 0.1, "default": 0.05, "full": 0.05}
TRAIN, TEST, MODES = 30, 60, 4
# One draw's error is mostly a common factor, so many are needed for its size.
KERNEL_DRAWS = 100


def net(inputs: int, width: int) -> kj.nn.MLP:
    """Two hidden layers of ReLU in the NTK parameterization."""
    return kj.nn.MLP((inputs, width, width, 1), parameterization="ntk", bias_scale=0.1)


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure convergence of the kernel, its constancy, and the closed form."""
    size = SIZES[scale]
    key = jax.random.key(0)
    errors, drifts = width_sweep(key, size)
    slopes = [_slope(size.widths, values) for values in (errors, drifts)]
    digits = train_on_digits(key, size)
    rmse = float(jnp.sqrt(jnp.mean((digits["test"] - digits["test_predicted"]) ** 2)))
    modes = float(jnp.max(jnp.abs(digits["modes"] - digits["modes_predicted"])))
    shares = shares_left(digits)
    circle = ensemble_on_circle(key, size.members, CIRCLE_WIDTHS[scale])
    claims = (
        papers.Claim(
            "the empirical kernel tends to the analytic one as the width grows, with "
            "an error of order width^-1/2",
            f"error ~ width^{slopes[0]:.2f} over widths {size.widths[0]} to "
            f"{size.widths[-1]}",
            -0.6 <= slopes[0] <= -0.4,
        ),
        papers.Claim(
            "the kernel stays constant during training at infinite width",
            f"relative change over training ~ width^{slopes[1]:.2f}",
            -1.2 <= slopes[1] <= -0.4,
        ),
        papers.Claim(
            "outputs of a wide network under gradient descent follow the linear "
            "equation of the limiting kernel",
            f"test outputs of width {size.wide} over {size.steps} steps: root mean "
            f"squared difference {rmse:.3f} on targets of ±1, {FAR[scale]} allowed",
            rmse < FAR[scale],
        ),
        papers.Claim(
            "along kernel principal components the error decays exponentially",
            f"largest difference from exp(-rate t) over {MODES} components: "
            f"{modes:.3f} of the initial error",
            modes < 0.1,
        ),
        papers.Claim(
            "it decays fastest along the first component, and slower along each next",
            "what is left when the first should be at 1/e: "
            + ", ".join(f"{share:.2f}" for share in shares),
            bool(np.all(np.diff(shares) > 0)),
        ),
    )
    numbers = {
        "widths": list(size.widths),
        "errors": [float(e) for e in errors],
        "drifts": [float(d) for d in drifts],
        "slopes": slopes,
        "rmse": rmse,
        "modes": modes,
        "shares_left": shares.tolist(),
    }
    figure = draw(size.widths, errors, drifts, digits, circle)
    return papers.Reproduction(claims, numbers, {"ntk": figure})


def width_sweep(key: jax.Array, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Mean error of the kernel at initialisation, and its change over training."""
    x = jax.random.normal(key, (20, 8))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True) * jnp.sqrt(8.0)
    y = jnp.sign(jax.random.normal(jax.random.key(1), (20, 1)))
    errors, drifts = [], []
    for width in size.widths:
        model = net(8, width)
        limit = kj.ntk.infinite(model)(x).ntk
        rate = 0.5 * kj.ntk.max_learning_rate(limit)

        def error(key, model=model, limit=limit):
            kernel = kj.ntk.empirical(model.apply, model.init(key), x)
            return kj.ntk.drift(limit, kernel)

        def change(key, model=model, rate=rate):
            params = model.init(key)
            before = kj.ntk.empirical(model.apply, params, x)
            trained, _ = descend(model, params, x, y, rate, size.steps)
            return kj.ntk.drift(before, kj.ntk.empirical(model.apply, trained, x))

        keys = jax.random.split(key, KERNEL_DRAWS)
        errors.append(np.mean(jax.lax.map(error, keys)))
        drifts.append(np.mean(jax.lax.map(change, keys[: size.draws])))
    return np.array(errors), np.array(drifts)


def descend(model, params, x, y, rate, steps, watch=None):
    """Full-batch gradient descent; outputs at ``watch`` before each step."""
    watch = x if watch is None else watch

    def loss(params):
        return jnp.mean((model.apply(params, x) - y) ** 2) / 2

    def step(params, _):
        slope = jax.grad(loss)(params)
        new = jax.tree.map(lambda p, g: p - rate * g, params, slope)
        return new, model.apply(params, watch)[:, 0]

    return jax.lax.scan(step, params, length=steps)


def train_on_digits(key: jax.Array, size: Size) -> dict[str, jax.Array]:
    """Zeros against ones: a wide network beside the closed form, step by step."""
    digits = kj.data.load("digits")
    x, labels = np.asarray(digits.x, np.float32), np.asarray(digits.y).ravel()
    chosen = np.flatnonzero(labels <= 1)[: TRAIN + TEST]
    x = jnp.asarray(x[chosen].reshape(len(chosen), -1))
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True) * jnp.sqrt(float(x.shape[1]))
    y = jnp.where(jnp.asarray(labels[chosen]) == 1, 1.0, -1.0)[:TRAIN, None]
    model = net(x.shape[1], size.wide)
    kernel = kj.ntk.infinite(model)(x).ntk
    theta, across = kernel[:TRAIN, :TRAIN], kernel[TRAIN:, :TRAIN]
    # Small, so that steps are close to the flow that the theory is about.
    rate = 0.05 * float(kj.ntk.max_learning_rate(theta))
    params = jax.jit(model.init)(key)
    _, real = jax.jit(lambda p: descend(model, p, x[:TRAIN], y, rate, size.steps, x))(
        params
    )
    predict = kj.ntk.mse_training(theta, y, learning_rate=rate, discrete=True)
    start = real[0][:, None]
    steps = jnp.arange(size.steps)
    found = jax.vmap(lambda t: predict(t, start[:TRAIN], start[TRAIN:], across))(steps)
    values, vectors = jnp.linalg.eigh(theta)
    top = vectors[:, ::-1][:, :MODES]
    first = jnp.linalg.norm(start[:TRAIN] - y)
    decay = jnp.exp(-rate * steps[:, None] * values[::-1][:MODES] / TRAIN)
    along = (real[:, :TRAIN] - y[:, 0]) @ top / first
    return {
        "steps": steps,
        "train_loss": jnp.mean((real[:, :TRAIN] - y[:, 0]) ** 2, axis=1) / 2,
        "train_loss_predicted": jnp.mean((found.train - y) ** 2, axis=(1, 2)) / 2,
        "test": real[:, TRAIN:],
        "test_predicted": found.test[..., 0],
        "modes": jnp.abs(along),
        "modes_predicted": jnp.abs(along[0]) * decay,
    }


def shares_left(digits: dict[str, jax.Array]) -> np.ndarray:
    """Of each component's error, when the first should have fallen to 1/e."""
    predicted = np.asarray(digits["modes_predicted"][:, 0])
    step = int(np.argmax(predicted < predicted[0] / np.e))
    return np.asarray(digits["modes"][step] / digits["modes"][0])


def ensemble_on_circle(key: jax.Array, members: int, width: int) -> dict:
    """Networks trained on six points of a circle, and their predicted law."""
    angles = jnp.linspace(-jnp.pi, jnp.pi, 101)
    known = jnp.array([-2.6, -1.7, -0.9, 0.4, 1.1, 2.3])
    y = jnp.sin(2 * known)[:, None]
    x, x_train = (
        jnp.sqrt(2.0) * jnp.stack([jnp.cos(a), jnp.sin(a)], 1) for a in (angles, known)
    )
    model = net(2, width)
    kernel = kj.ntk.infinite(model)
    train, across, test = kernel(x_train), kernel(x, x_train), kernel(x)
    posterior = kj.ntk.ensemble(train.nngp, train.ntk, y)(
        jnp.inf, test.nngp, across.nngp, across.ntk
    )
    rate = 0.9 * kj.ntk.max_learning_rate(train.ntk)

    def outputs(key):
        params, _ = descend(model, model.init(key), x_train, y, rate, 1500, x[:1])
        return model.apply(params, x)[:, 0]

    samples = jax.lax.map(outputs, jax.random.split(key, members))
    return {"x": angles, "data": (known, y[:, 0]), "posterior": posterior} | {
        "samples": samples
    }


def draw(widths, errors, drifts, digits, circle):
    """Kernel against width, predicted against real training, modes, posterior."""
    figure = style.new_figure((10.0, 7.4))
    (a, b), (c, d) = figure.subplots(2, 2)
    kinds = (("error at initialisation", errors), ("change over training", drifts))
    for k, (name, values) in enumerate(kinds):
        color, mark = style.PALETTE[k], style.MARKERS[k]
        a.loglog(widths, values, color=color, marker=mark, label=name)
    guide = errors[0] * (np.array(widths) / widths[0]) ** -0.5
    a.loglog(widths, guide, "k:", label="width^-1/2")
    a.set(xlabel="width", ylabel="relative Frobenius norm")
    a.set_title("the kernel converges and stays")
    a.legend()
    style.light_grid(a)
    steps = digits["steps"]
    names = ("test digit 1", "test digit 2", "test digit 3")
    kj.plotting.predicted_curves(
        steps,
        {name: digits["test"][:, i] for i, name in enumerate(names)},
        {name: digits["test_predicted"][:, i] for i, name in enumerate(names)},
        ylabel="output",
        title="outputs in training on 30 digits",
        axes=b,
    )
    names = tuple(f"component {i + 1}" for i in range(MODES))
    kj.plotting.predicted_curves(
        steps,
        {name: digits["modes"][:, i] for i, name in enumerate(names)},
        {name: digits["modes_predicted"][:, i] for i, name in enumerate(names)},
        ylabel="error, share of the initial",
        title="error along kernel principal components",
        axes=c,
    )
    kj.plotting.posterior_band(
        circle["x"],
        circle["posterior"],
        data=circle["data"],
        samples=circle["samples"],
        xlabel="angle on the circle (radians)",
        title="trained networks and their predicted law",
        axes=d,
    )
    return figure


def _slope(widths, values) -> float:
    return float(np.polyfit(np.log(widths), np.log(values), 1)[0])


if __name__ == "__main__":
    cli.reproduce_as_script(PAPER.slug)
