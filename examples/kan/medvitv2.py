"""MedViTV2: what dilation sees and costs, and damaged digits, with KANs and without.

Manzari, Asgariandehkordi, Koleilat, Xiao, Rivaz (2025), arXiv 2502.13693. A regression
whose target needs a pixel four steps away, attention's memory at the first stage of an
image of 224 pixels, and small networks of neighborhood attention on digits under nine
corruptions. MedMNIST needs ``--data``; the paper's networks are not trained here.

``python examples/kan/medvitv2.py --data DIR --config tiny --out runs/medvit`` trains a
network of the paper on images of your own: a folder with a folder for each class, or a
MedMNIST file. ``--resume`` goes on after an interruption.
"""

import argparse
import functools
import pathlib
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.data import corruptions
from kanjax.kan import medvit, medvit_training
from kanjax.plotting import style
from kanjax.representation import grad_cam

PAPER = papers.Paper(
    slug="medvitv2",
    title="Medical Image Classification with KAN-Integrated Transformers and Dilated "
    "Neighborhood Attention",
    source="Manzari, Asgariandehkordi, Koleilat, Xiao, Rivaz (2025), arXiv 2502.13693",
    room="kan",
    state="in part",
)

# The regression: pixels, distance of the partner, features, and what reading the
# partner's mean in its place explains.
EDGE, DISTANCE, FEATURES, BLIND = 16, 4, 8, 0.426
TRAIN, TEST, BATCH, STEP_SIZE = 64, 32, 8, 1e-2
# The digits: their edge when enlarged, the edge of a patch, and features.
IMAGE, PATCH, WIDTH = 32, 4, 32
NETWORKS = {"KAN": medvit.kan_network, "MLP": medvit.mlp_network}


class Setting(NamedTuple):
    """Sizes of a run; ``blocks`` are the dilations of the network for digits."""

    dilations: tuple[tuple[int, ...], ...]
    seeds: int
    steps: int
    digits: int
    blocks: tuple[int, ...]
    members: int
    fit_steps: int
    corruptions: tuple[str, ...]


PAIRS, EVERY = ((1, 1), (1, 2), (1, 4)), tuple(corruptions.CORRUPTIONS)
SETTINGS = {
    "short": Setting(((1,), (4,)), 2, 2, 16, (1,), 2, 1, ("contrast",)),
    "default": Setting(PAIRS, 3, 500, 1347, (1, 2), 3, 300, EVERY),
    "full": Setting(PAIRS, 20, 500, 1347, (1, 2), 10, 1000, EVERY),
}


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims, on digits, or on a MedMNIST file ``data``."""
    setting = SETTINGS[scale]
    explained = {d: _receptive_field(d, setting) for d in setting.dilations}
    memory = _memory()
    train, test = _images(data, setting)
    runs = {name: _robustness(name, train, test, setting) for name in NETWORKS}
    numbers = {
        "explained": {str(d): r.tolist() for d, r in explained.items()},
        "memory": memory,
        "errors": {
            name: {c: e.tolist() for c, e in run.errors.items()}
            for name, run in runs.items()
        },
        "clean": {name: run.clean.tolist() for name, run in runs.items()},
    }
    figure = _figure(explained, runs, test)
    return papers.Reproduction(
        _claims(explained, memory, runs), numbers, {PAPER.slug: figure}
    )


def _receptive_field(dilations: tuple[int, ...], setting: Setting) -> np.ndarray:
    """Return the variance explained of ``max(x_ij, x_i,j+4)``, for each seed."""

    def block(dilation: int) -> list[Any]:
        attention = kj.nn.NeighborhoodAttention(FEATURES, 1, 3, dilation)
        mlp = kj.nn.MLP((FEATURES, 2 * FEATURES, FEATURES), jax.nn.gelu)
        return [kj.model.Residual(attention), kj.model.Residual(mlp)]

    blocks = [layer for dilation in dilations for layer in block(dilation)]
    net = kj.model.Sequential((*blocks, kj.nn.Dense(FEATURES, 1)))

    def apply(params: Any, x: Array) -> Array:
        places = jnp.broadcast_to(params["places"], (*x.shape, FEATURES - 1))
        features = jnp.concatenate([x[..., None], places], axis=-1)
        return net.apply(params["net"], features)[..., 0]

    def errors(params: Any, batch: Any, key: Array | None = None) -> Array:
        x, y = batch
        return jnp.mean((apply(params, x)[..., :EDGE] - y) ** 2)

    @jax.jit
    @jax.vmap
    def run(key: Array) -> Array:
        data_key, place_key, start_key, fit_key = jax.random.split(key, 4)
        # Partners of the last pixels lie beyond them; only EDGE columns are scored.
        x = jax.random.normal(data_key, (TRAIN + TEST, EDGE, EDGE + DISTANCE))
        y = jnp.maximum(x[..., :EDGE], x[..., DISTANCE:])
        start = {
            "places": jax.random.normal(place_key, (*x.shape[1:], FEATURES - 1)),
            "net": net.init(start_key),
        }
        params, _ = kj.training.descend(
            errors,
            start,
            (x[:TRAIN], y[:TRAIN]),
            key=fit_key,
            optimizer=optax.adam(STEP_SIZE),
            steps=setting.steps,
            batch_size=BATCH,
        )
        return 1 - errors(params, (x[TRAIN:], y[TRAIN:])) / jnp.var(y[TRAIN:])

    return np.asarray(run(_keys(setting.seeds)))


def _keys(count: int) -> Array:
    # Most of a short run is compilation, of which this generator needs less.
    return jax.random.split(jax.random.key(0, impl="rbg"), count)


def _memory() -> dict[str, int]:
    """Return the bytes of the compiler for two heads on 56 x 56 pixels, kernel 7."""
    x = jax.ShapeDtypeStruct((1, 56, 56, 64), jnp.float32)

    def needed(layer: Any, x: jax.ShapeDtypeStruct) -> int:
        params = jax.eval_shape(layer.init, jax.random.key(0))
        program = jax.jit(layer.apply).lower(params, x).compile()
        return program.memory_analysis().temp_size_in_bytes

    tokens = jax.ShapeDtypeStruct((1, 56 * 56, 64), jnp.float32)
    return {
        "neighborhood": needed(kj.nn.NeighborhoodAttention(64, 2, dilation=8), x),
        "full": needed(kj.nn.Attention(64, 2), tokens),
    }


def _images(data: pathlib.Path | None, setting: Setting) -> tuple[Any, Any]:
    if data is not None:
        split = kj.data.read_medmnist(data)
        parts = split.train, split.test
    else:
        parts = tuple(
            (part.x.reshape(-1, 8, 8, 1), part.y)
            for part in kj.data.handwritten_digits()
        )

    def enlarged(x: Any, y: Any) -> tuple[Array, Array]:
        x = jnp.asarray(x, jnp.float32)[: setting.digits]
        shape = (len(x), IMAGE, IMAGE, x.shape[-1])
        large = jax.image.resize(x, shape, "linear")
        return jnp.clip(large, 0, 1), jnp.asarray(y)[: setting.digits]

    return enlarged(*parts[0]), enlarged(*parts[1])


class Robustness(NamedTuple):
    """What a kind of network does, a member after the other.

    Attributes:
        clean: (members,), the share of wrong classes.
        errors: by corruption (members, severities).
        parameters: how many.
        maps: of the first member, Grad-CAM on two images.
    """

    clean: np.ndarray
    errors: dict[str, np.ndarray]
    parameters: int
    maps: np.ndarray

    @property
    def mean_corruption_error(self) -> np.ndarray:
        """(members,)."""
        members = range(len(self.clean))
        by_member = [{c: e[m] for c, e in self.errors.items()} for m in members]
        return np.array([corruptions.mean_corruption_error(e) for e in by_member])


def _network(
    name: str, dilations: tuple[int, ...], channels: int, classes: int
) -> kj.model.Sequential:
    """Blocks of attention with these dilations, each with a KAN or an MLP."""

    def block(dilation: int) -> list[Any]:
        attention = kj.nn.NeighborhoodAttention(WIDTH, 1, 3, dilation)
        return [
            kj.model.Residual(kj.model.Sequential((kj.nn.LayerNorm(WIDTH), branch)))
            for branch in (attention, NETWORKS[name](WIDTH))
        ]

    patches = kj.nn.Conv(channels, WIDTH, (PATCH, PATCH), strides=PATCH)
    blocks = [layer for dilation in dilations for layer in block(dilation)]
    layers = (patches, *blocks, kj.nn.LayerNorm(WIDTH))
    return kj.model.Sequential(
        (*layers, kj.nn.GlobalPool(2), kj.nn.Dense(WIDTH, classes))
    )


def _robustness(name: str, train: Any, test: Any, setting: Setting) -> Robustness:
    classes = int(train[1].max()) + 1
    net = _network(name, setting.blocks, train[0].shape[-1], classes)
    loss = kj.training.classification(net.apply)
    optimizer = optax.adamw(optax.cosine_decay_schedule(5e-3, setting.fit_steps))

    @jax.jit
    def learn(key: Array) -> Any:
        start_key, fit_key = jax.random.split(key)
        return kj.training.descend(
            loss,
            net.init(start_key),
            train,
            key=fit_key,
            optimizer=optimizer,
            steps=setting.fit_steps,
            batch_size=min(64, len(train[1])),
        )[0]

    # One by one: XLA runs convolutions with kernels of many members slowly on CPUs.
    members = [learn(key) for key in _keys(setting.members)]

    @jax.jit
    def wrong_of(params: Any, images: Array) -> Array:
        return jnp.mean(jnp.argmax(net.apply(params, images), axis=-1) != test[1])

    def wrong(images: Array) -> np.ndarray:
        return np.stack([wrong_of(params, images) for params in members])

    errors = {
        corruption: np.stack(
            [
                wrong(corruptions.corrupt(jax.random.key(s), test[0], corruption, s))
                for s in corruptions.SEVERITIES
            ],
            axis=1,
        )
        for corruption in setting.corruptions
    }
    size = sum(leaf.size for leaf in jax.tree.leaves(members[0]))
    return Robustness(wrong(test[0]), errors, size, _maps(net, members[0], test[0][:2]))


def _maps(net: kj.model.Sequential, params: Any, images: Array) -> np.ndarray:
    """Return what a network finds its classes by, in the last features but pooling."""
    cut = len(net.layers) - 3
    body = kj.model.Sequential(net.layers[:cut])
    head = kj.model.Sequential(net.layers[cut:])

    @jax.jit
    def maps(params: Any, images: Array) -> Array:
        features = body.apply(params[:cut], images)
        return grad_cam.grad_cam(functools.partial(head.apply, params[cut:]), features)

    return np.asarray(maps(params, images))


def _claims(
    explained: dict[tuple[int, ...], np.ndarray],
    memory: dict[str, int],
    runs: dict[str, Robustness],
) -> tuple[papers.Claim, ...]:
    near, *_, spread_out = explained.values()
    mean = {name: run.mean_corruption_error for name, run in runs.items()}
    shown = {name: papers.spread(100 * each, 1) for name, each in mean.items()}
    return (
        papers.Claim(
            "Two layers of dilations 1 and 4 find a partner four pixels away.",
            f"they explain {papers.spread(spread_out)} of the variance",
            bool(spread_out.min() >= 0.97),
            threshold="0.97 in every seed",
            baseline=f"without dilation {papers.spread(near)}",
        ),
        papers.Claim(
            "Without dilation they cannot see it.",
            papers.spread(near),
            bool(near.max() <= 0.44),
            threshold="at most 0.44 in every seed",
            baseline=f"{BLIND} is what the pixel alone can explain",
        ),
        papers.Claim(
            "At the first stage of 224 pixels neighborhoods take a small share of full "
            "attention's memory.",
            f"{memory['neighborhood'] / 1e6:.1f} MB",
            memory["neighborhood"] < memory["full"] / 10,
            threshold="below a tenth",
            baseline=f"{memory['full'] / 1e6:.1f} MB for 3,136 tokens and two heads",
        ),
        papers.Claim(
            "With KANs a network is not worse on damaged digits than with perceptrons.",
            f"mean corruption error {shown['KAN']} %, {runs['KAN'].parameters:,} "
            "parameters",
            bool(mean["KAN"].mean() <= mean["MLP"].mean()),
            threshold="not above it, means over seeds",
            baseline=f"{shown['MLP']} %, {runs['MLP'].parameters:,} parameters; clean "
            f"{papers.spread(100 * runs['KAN'].clean, 1)} and "
            f"{papers.spread(100 * runs['MLP'].clean, 1)} %",
        ),
    )


@style.styled
def _figure(
    explained: dict[tuple[int, ...], np.ndarray],
    runs: dict[str, Robustness],
    test: Any,
) -> Any:
    figure = style.new_figure((11.0, 3.6))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.5, 1))
    for place, values in enumerate(explained.values()):
        left.plot([place] * len(values), values, "o", color=style.BLUE, alpha=0.5)
    left.axhline(BLIND, color=style.GRAY, linestyle=":", label="the pixel alone")
    left.set_xticks(
        range(len(explained)), [", ".join(map(str, pair)) for pair in explained]
    )
    left.set(
        xlabel="dilations of two layers",
        ylabel="variance explained",
        title="A partner four pixels away",
    )
    left.legend()
    names = list(runs["KAN"].errors)
    places = np.arange(len(names))
    for (name, run), color, shift in zip(
        runs.items(), style.PALETTE, (-0.18, 0.18), strict=False
    ):
        each = np.stack([100 * run.errors[c].mean(axis=1) for c in names])
        middle.bar(places + shift, each.mean(axis=1), 0.34, color=color, label=name)
        middle.plot(
            np.repeat(places + shift, each.shape[1]),
            each.ravel(),
            ".",
            color=style.BLACK,
            markersize=3,
        )
        middle.axhline(100 * run.clean.mean(), color=color, linestyle=":")
    middle.set_xticks(places, names, rotation=40, ha="right", fontsize=8)
    middle.set(ylabel="error, %", title="Damaged digits; dotted: as they are")
    middle.legend()
    # Two images above their maps: where the network with KANs finds its class.
    images = np.asarray(test[0][:2])[..., 0]
    maps = np.asarray(jax.image.resize(runs["KAN"].maps, (2, IMAGE, IMAGE), "linear"))
    maps = maps / np.maximum(maps.max(axis=(1, 2), keepdims=True), 1e-12)
    right.imshow(np.hstack(images), cmap="gray", extent=(0, 2, 1, 2))
    right.imshow(np.hstack(maps), cmap="viridis", extent=(0, 2, 0, 1))
    right.set(xlim=(0, 2), ylim=(0, 2), xticks=[], yticks=[], title="Grad-CAM, KAN")
    return figure


def _train_from_arguments() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--config", choices=medvit.SIZES, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    for name, default in (("image-size", 224), ("steps", 1000), ("batch-size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--step-size", type=float, default=1e-4)
    parser.add_argument("--resume", action="store_true")
    options = vars(parser.parse_args())
    data, out, size = (options.pop(name) for name in ("data", "out", "config"))
    try:
        medvit_training.train_on_images(data, out, size=size, progress=True, **options)
    except ValueError as error:
        # Of data, settings or a checkpoint: one line says what to mend.
        parser.error(str(error))


if __name__ == "__main__":
    if any(each.startswith("--config") for each in sys.argv[1:]):
        _train_from_arguments()
    else:
        cli.reproduce_as_script(PAPER.slug)
