"""Kolmogorov-Arnold Transformer.

Yang and Wang (2025), arXiv 2409.10594. Group-rational layers keep the variance of their
inputs over depth, learn activations that pay where GELU does not fit, and replace the
MLP of a vision transformer at almost no cost. Data: generated, and the digits of
scikit-learn.

With ``--config tiny`` (``small``, ``base``) the file trains that network on your images
instead, with the paper's augmentations; ``--help`` after it lists the options.
"""

import argparse
import pathlib
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import kanjax as kj
from kanjax import cli, papers, plotting
from kanjax.data import augmentation, files

PAPER = papers.Paper(
    slug="kat",
    title="Kolmogorov-Arnold Transformer",
    source="Yang, Wang (2025), arXiv 2409.10594",
    room="kan",
    state="in part",
)


class Setting(NamedTuple):
    """Sizes of a run."""

    width: int
    spline_width: int
    rows: int
    fit_steps: int
    digit_steps: int  # 0 leaves the digits out
    depth: int
    seeds: int


SETTINGS = {
    "short": Setting(512, 64, 512, 300, 0, 1, 1),
    "default": Setting(512, 128, 2048, 1000, 252, 2, 3),
    "full": Setting(512, 128, 2048, 2000, 1000, 2, 5),
}
LAYERS = 16
COMPARED = ("config", "mlp", "image_size", "patch_size", "epochs", "learning_rate")
"""The options that going on from a checkpoint must share."""


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; see the module's text for the data."""
    if data is not None:
        raise ValueError(
            "data: the claims need none; to train on images of your own, run "
            "`python examples/kan/kat.py --config tiny --data FOLDER`."
        )
    setting = SETTINGS[scale]
    variances = _variances(setting)
    errors = _learned_activation(setting)
    accuracies = _digits(setting) if setting.digit_steps else {}
    operations = _operations()
    numbers = {
        "variances": {name: list(map(float, v)) for name, v in variances.items()},
        "relative_test_errors": errors,
        "digits_accuracy": accuracies,
        "operations": operations,
    }
    figure = plotting.variance_by_depth(
        variances, title=f"{LAYERS} layers, inputs from a standard normal"
    )
    claims = _claims(variances, operations, errors, accuracies)
    return papers.Reproduction(claims, numbers, {"variance": figure})


def _variances(setting: Setting) -> dict[str, np.ndarray]:
    """Of all units, layer by layer."""
    width, narrow = setting.width, setting.spline_width
    basis = kj.bases.Rational(8, shared="numerator")
    rational = kj.kan.RationalLayer(width, width, basis)
    spline = kj.kan.KANLayer(narrow, narrow)
    gain = float(kj.kan.gain(jax.nn.silu))
    kernels = {
        "GR-KAN, gain / width": 1.0,
        "GR-KAN, 1 / width": gain**-0.5,
        "GR-KAN, standard deviation 0.02": 0.02 * (width / gain) ** 0.5,
    }
    found = {}
    for name, factor in kernels.items():
        scales = {"kernel": factor}
        found[name] = _through(rational, scales, setting.rows)
    # Residual weights up to width^(-1/2), splines of a standard deviation near 0.003.
    usual = {"residual": 3**-0.5, "coef": 0.033}
    found["B-spline KAN, like efficient-kan"] = _through(spline, usual, setting.rows)
    return found


def _through(layer: Any, scales: dict[str, float], rows: int) -> np.ndarray:
    """Variances through a stack of layers whose parameters are scaled by name."""

    @jax.jit
    def run(key: jax.Array, factors: dict[str, float]) -> jax.Array:
        def step(x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            params = layer.init(key)
            for name, factor in factors.items():
                params[name] = factor * params[name]
            y = layer.apply(params, x)
            return y, jnp.var(y)

        x = jax.random.normal(key, (rows, layer.in_features))
        later = jax.lax.scan(step, x, jax.random.split(key, LAYERS))[1]
        return jnp.concatenate([jnp.var(x)[None], later])

    return np.asarray(run(jax.random.key(0), scales))


def _learned_activation(setting: Setting) -> dict[str, list[float]]:
    """Relative test errors on a sum of sines, of a GELU network and of GR-KAN."""
    keys = jax.random.split(jax.random.key(2), 4)
    directions = jax.random.normal(keys[0], (8, 4))
    directions /= jnp.linalg.norm(directions, axis=0)

    def examples(key: jax.Array) -> kj.data.Examples:
        x = jax.random.uniform(key, (1024, 8), minval=-1)
        return kj.data.Examples(x, jnp.sin(3 * x @ directions).sum(1, keepdims=True))

    train, test = examples(keys[1]), examples(keys[2])
    shared = {"groups": 8, "shared": "numerator"}
    learned = (
        kj.bases.Rational(start="identity", **shared),
        kj.bases.Rational(**shared),
    )
    nets = {
        "GELU": kj.nn.MLP((8, 64, 1), jax.nn.gelu),
        "GR-KAN": kj.kan.KAN((8, 64, 1), learned),
    }
    found = {}
    for name, net in nets.items():
        loss = kj.training.regression(net.apply)
        starts = jax.vmap(net.init)(jax.random.split(keys[3], setting.seeds))
        fit = kj.training.fit_ensemble(
            loss,
            starts,
            train,
            optimizer="adam",
            learning_rate=5e-3,
            steps=setting.fit_steps,
            key=keys[3],
            evaluate_every=setting.fit_steps,
        )
        errors = jax.vmap(lambda p, loss=loss: loss(p, test)[0])(fit.params)
        found[name] = (errors / jnp.var(test.y)).tolist()
    return found


def _digits(setting: Setting) -> dict[str, list[float]]:
    """Test accuracies of two small vision transformers on digits."""
    digits = kj.data.load("digits")
    order = np.asarray(jax.random.permutation(jax.random.key(0), len(digits.x)))
    x = jnp.asarray(digits.x / 16, jnp.float32)[order].reshape(-1, 8, 8, 1)
    y = jnp.asarray(digits.y)[order]
    nets = {
        name: kj.nn.VisionTransformer((8, 8), 2, 1, 10, 32, setting.depth, 4, mlp)
        for name, mlp in (("GELU", None), ("GR-KAN", kj.kan.rational_mlp(32)))
    }
    found = {}
    for name, net in nets.items():
        loss = kj.training.classification(net.apply)
        starts = jax.vmap(net.init)(jax.random.split(jax.random.key(1), setting.seeds))
        schedule = optax.cosine_decay_schedule(3e-3, setting.digit_steps)
        fit = kj.training.fit_ensemble(
            loss,
            starts,
            (x[:1347], y[:1347]),
            optimizer=optax.adam(schedule),
            steps=setting.digit_steps,
            batch_size=64,
            key=jax.random.key(2),
            evaluate_every=setting.digit_steps,
        )
        tested = jax.jit(
            jax.vmap(lambda p, loss=loss: loss(p, (x[1347:], y[1347:]))[1]["accuracy"])
        )
        found[name] = tested(fit.params).tolist()
    return found


def _operations() -> dict[str, float]:
    """Operations of one edge, as the compiler counts them, by kind of function."""
    layers = {
        "spline": kj.kan.KANLayer(1, 1, kj.bases.BSpline(3), residual=None),
        "rational": kj.kan.RationalLayer(1, 1, kj.bases.Rational(1)),
    }
    x = jnp.linspace(-0.9, 0.9, 4096)[:, None]
    found = {}
    for name, layer in layers.items():
        params = layer.init(jax.random.key(0))
        program = jax.jit(layer.apply).lower(params, x).compile()
        found[name] = program.cost_analysis()["flops"] / len(x)
    return found


def _claims(
    variances: dict[str, np.ndarray],
    counted: dict[str, float],
    errors: dict[str, list[float]],
    accuracies: dict[str, list[float]],
) -> tuple[papers.Claim, ...]:
    kept, *others = variances.values()
    ends = [float(one[-1]) for one in others]
    mean = {name: float(np.mean(each)) for name, each in errors.items()}
    ratio = mean["GELU"] / mean["GR-KAN"]
    ratios = np.asarray(errors["GELU"]) / np.asarray(errors["GR-KAN"])
    cost = counted["spline"] / counted["rational"]
    claims = (
        papers.Claim(
            "Kernels of variance gain / width keep the variance of values within [0.5, "
            f"2] through {LAYERS} layers.",
            f"from {kept.min():.2f} to {kept.max():.2f}",
            bool(kept.min() >= 0.5 and kept.max() <= 2),
        ),
        papers.Claim(
            "Other kernels lose it.",
            ", ".join(f"{end:.0e}" for end in ends),
            max(ends) < 1e-3,
            threshold="below 1e-3",
            baseline="variance 1 / width; a standard deviation of 0.02; a B-spline KAN "
            "at efficient-kan's scales: residual weights of at most width^(-1/2) and "
            "coefficients of 0.003",
        ),
        papers.Claim(
            "A learned activation pays where the target is not made of GELUs: sums of "
            "four sines of 8 inputs, uniform on [-1, 1], by one hidden layer of 64.",
            f"{mean['GR-KAN']:.4f} of the variance, {ratio:.1f} times lower ("
            + ", ".join(f"{each:.1f}" for each in ratios)
            + " by seed)",
            min(ratios) >= 3,
            threshold="test errors at least 3 times lower, for every seed",
            baseline=f"GELU, as many units and steps: {mean['GELU']:.4f}",
        ),
        papers.Claim(
            "A rational function costs over 9 times fewer operations than a cubic "
            "B-spline on 3 intervals, in compiled programs.",
            f"{counted['spline']:.0f} and {counted['rational']:.0f}: {cost:.1f} times",
            cost > 9,
            paper=f"{kj.kan.spline_flops():.0f} and {kj.kan.rational_flops()} by the "
            "authors' formulas: 9.7",
            threshold="over 9 times",
        ),
    )
    if not accuracies:
        return claims
    score = {name: float(np.mean(each)) for name, each in accuracies.items()}
    return (
        *claims,
        papers.Claim(
            "In a small vision transformer on digits, GR-KAN is as accurate as the MLP "
            "with GELU (within 0.03).",
            f"{score['GR-KAN']:.3f} and {score['GELU']:.3f}",
            score["GR-KAN"] > score["GELU"] - 0.03,
        ),
    )


def train(arguments: list[str]) -> None:
    """Train a vision transformer or its Kolmogorov-Arnold form on a set of images."""
    options = _options(arguments)
    train_set, test_set, classes = _images(options.data, options.image_size)
    make = kj.nn.vision_transformer if options.mlp else kj.kan.kat
    net = make(
        options.config,
        classes=classes,
        image_size=train_set.x.shape[1:3],
        patch_size=options.patch_size,
        channels=train_set.x.shape[3],
        drop_path=0.4 if options.config == "base" else 0.1,
    )
    loss = kj.training.classification(net.apply)

    def augmented(params: Any, batch: Any, key: jax.Array) -> Any:
        change, drop = jax.random.split(key)
        return loss(params, _augment(change, *batch, classes), drop)

    def in_blocks(params: Any, x: jax.Array) -> jax.Array:
        def one(image: jax.Array) -> jax.Array:
            return net.apply(params, image)

        return jax.lax.map(one, x, batch_size=options.batch_size)

    tested = kj.training.classification(in_blocks)
    steps = options.epochs * len(train_set.x) // options.batch_size
    warm = min(steps // 10, 5 * len(train_set.x) // options.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(
        0, options.learning_rate, warm, steps, options.learning_rate / 100
    )
    devices = jax.devices()
    found = kj.training.fit(
        augmented,
        jax.jit(net.init)(jax.random.key(options.seed)),
        train_set,
        optimizer=optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, weight_decay=0.05, mask=_decayed),
        ),
        steps=steps,
        batch_size=options.batch_size,
        key=jax.random.key(options.seed + 1),
        validation=test_set,
        validation_loss=tested,
        evaluate_every=max(1, len(train_set.x) // options.batch_size),
        mesh=kj.training.member_mesh(devices, batch=len(devices)),
        checkpoint=options.out
        and kj.training.Checkpoint(
            options.out,
            config={name: getattr(options, name) for name in COMPARED},
            resume=options.resume,
        ),
        progress=True,
    )
    value, metrics = jax.jit(tested)(found.params, test_set)
    print(
        f"test loss {value:.4f}, accuracy {metrics['accuracy']:.4f}; in {options.out}"
    )


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kat.py", description=train.__doc__)
    parser.add_argument("--config", choices=("tiny", "small", "base"), required=True)
    parser.add_argument(
        "--data", type=pathlib.Path, required=True, help=_images.__doc__
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("kat-run"))
    parser.add_argument("--mlp", action="store_true", help="the plain transformer")
    parser.add_argument("--image-size", type=int, help="scale an image folder to this")
    parser.add_argument("--patch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(arguments)


def _images(
    data: pathlib.Path, size: int | None
) -> tuple[kj.data.Examples, kj.data.Examples, int]:
    """MNIST's IDX files, CIFAR's *.bin, a MedMNIST or other .npz, or class folders."""
    if data.suffix == ".npz":
        if "train_images" in files.arrays(data):
            split = kj.data.read_medmnist(data)
            return split.train, split.test, int(split.train.y.max()) + 1
        parts = [kj.data.read_npz(data, task="classification")]
    elif next(data.glob("*-images*"), None):
        parts = [kj.data.read_idx(*_idx_files(data, p)) for p in ("train", "t10k")]
    elif next(data.glob("*.bin"), None):
        tests = sorted(p for p in data.glob("*.bin") if "test" in p.name)
        trains = sorted(p for p in data.glob("*.bin") if "test" not in p.name)
        parts = [kj.data.read_cifar(paths) for paths in (trains, tests) if paths]
    else:
        square = None if size is None else (size, size)
        folders = [data / p for p in ("train", "val") if (data / p).is_dir()]
        parts = [kj.data.read_image_folder(p, size=square) for p in folders or [data]]
    classes = len(parts[0].target_names)
    if len(parts) == 1:
        split = parts[0].split(jax.random.key(0), fractions=(0.8, 0.0, 0.2))
        return split.train, split.test, classes
    first, second = (
        kj.data.Examples(jnp.asarray(p.x), jnp.asarray(p.y, jnp.int32)) for p in parts
    )
    return first, second, classes


def _idx_files(data: pathlib.Path, part: str) -> list[pathlib.Path]:
    found = [next(data.glob(f"{part}-{k}*"), None) for k in ("images", "labels")]
    if None in found:
        raise kj.data.DataError(
            f"{data} lacks {part}-images or {part}-labels; MNIST's four files belong "
            "together."
        )
    return [path for path in found if path is not None]


def _augment(key: jax.Array, x: Any, y: Any, classes: int) -> tuple[Any, Any]:
    """Flip, RandAugment, erasing, then Mixup or CutMix with smoothed labels."""
    keys = jax.random.split(key, 4)
    changes = (augmentation.flip, augmentation.rand_augment, augmentation.erase)
    for k, change in zip(keys[:3], changes, strict=True):
        x = jax.vmap(change)(jax.random.split(k, len(x)), x)
    return augmentation.mix(keys[3], x, augmentation.smooth(y, classes))


def _decayed(params: Any) -> Any:
    """Kernels decay; biases, norms, tokens and rational coefficients do not."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", None) == "kernel", params
    )


if __name__ == "__main__":
    if "--config" in sys.argv:
        train(sys.argv[1:])
    else:
        cli.reproduce_as_script(PAPER.slug)
