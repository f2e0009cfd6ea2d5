"""Color Matching Using Hypernetwork-Based Kolmogorov-Arnold Networks (cmKAN).

Nikonorov et al. (2025), arXiv 2503.11781. scikit-learn's two photographs get other
colors by a known map that changes over the image; half of the pixels are there to learn
it. Maps in closed form are compared, then the light hypernetwork, and it is tuned to
the other photograph in a few steps.

``python examples/kan/cmkan.py --source a.png --target b.png --out c.png`` gives one
photograph the colors of another.
"""

import argparse
import pathlib
import sys
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

import kanjax as kj
from kanjax import cli, papers
from kanjax.data import color, color_transfer
from kanjax.kan import color_matching
from kanjax.plotting import style

PAPER = papers.Paper(
    slug="cmkan",
    title="Color Matching Using Hypernetwork-Based Kolmogorov-Arnold Networks",
    source="Nikonorov, Perevozchikov, Korepanov, Mehta, Afifi, Ershov, Timofte (2025), "
    "arXiv 2503.11781",
    room="kan",
    state="in part",
)

NAMES = ("china", "flower")
MIXING = ((0.85, 0.12, 0.03), (0.05, 0.9, 0.05), (0.02, 0.18, 0.8))
CROP, BATCH = 64, 4


class Setting(NamedTuple):
    """Sizes of a run; no seeds leave the hypernetwork out."""

    images: int
    seeds: int
    steps: int


SETTINGS = {
    "short": Setting(2, 0, 0),
    "default": Setting(2, 2, 300),
    "full": Setting(2, 5, 3000),
}


class Scene(NamedTuple):
    """A photograph, its recolored twin, and which pixels are there to learn from."""

    x: Array
    y: Array
    known: Array
    terms: Array


def main(scale: papers.Scale, data: pathlib.Path | None) -> papers.Reproduction:
    """Measure the claims; data is not used."""
    setting = SETTINGS[scale]
    scenes = [_scene(i) for i in range(setting.images)]
    images = [_closed_forms(scene) for scene in scenes]
    measured = [
        {name: _psnr(scene, image) for name, image in maps.items()}
        for scene, maps in zip(scenes, images, strict=True)
    ]
    networks: list[dict[str, np.ndarray]] = []
    if setting.seeds:
        net = kj.kan.ColorMatcher(light=True, norm="channels", start="identity")
        trained = [_train(net, scene, setting) for scene in scenes]
        for i, scene in enumerate(scenes):
            images[i]["light hypernetwork"] = trained[i][0][0]
            tuned = _tuned(net, trained[1 - i][1], scene)
            networks.append(
                {
                    "light hypernetwork": np.array(
                        [_psnr(scene, image) for image in trained[i][0]]
                    ),
                    "of the image at once": np.array(
                        [_psnr(scene, net.apply(p, scene.x)) for p in trained[i][1]]
                    ),
                    "before tuning": tuned[0],
                    "tuned": tuned[1],
                }
            )
    numbers = {
        name: values | {key: each.tolist() for key, each in more.items()}
        for name, values, more in zip(
            NAMES, measured, networks or [{} for _ in measured], strict=True
        )
    }
    figure = _figure(scenes[0], images[0])
    return papers.Reproduction(
        _claims(measured, networks), numbers, {PAPER.slug: figure}
    )


# ---- photographs and maps in closed form


def _scene(index: int) -> Scene:
    from sklearn import datasets

    pixels = datasets.load_sample_images().images[index][::4, ::4]
    x = jnp.asarray(pixels, jnp.float32) / 255
    height, width, _ = x.shape
    v, u = jnp.meshgrid(
        jnp.linspace(-1, 1, height), jnp.linspace(-1, 1, width), indexing="ij"
    )
    y = (x @ jnp.array(MIXING).T) ** jnp.array([0.8, 0.9, 1.15])
    vignette = 1 - 0.25 * (u**2 + v**2)
    tint = 1 + 0.15 * u[..., None] * jnp.array([1, 0, -1])
    y = y * vignette[..., None] * tint
    known = jax.random.bernoulli(jax.random.key(index), 0.5, (height, width, 1))
    terms = jnp.stack([jnp.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    return Scene(x, y, known.astype(x.dtype), terms)


def _psnr(scene: Scene, image: Array) -> float:
    """On the pixels that were not there to learn from."""
    hidden = 1 - scene.known
    error = jnp.sum(hidden * (image - scene.y) ** 2) / (3 * jnp.sum(hidden))
    return float(-10 * jnp.log10(error))


def _closed_forms(scene: Scene) -> dict[str, Array]:
    known = np.asarray(scene.known[..., 0], bool)
    x, y, terms = (each[known] for each in (scene.x, scene.y, scene.terms))
    result = {"none": scene.x}
    for kind in ("linear", "affine", "polynomial", "root-polynomial"):
        fitted = color_transfer.fit_color_map(x, y, kind)
        result[kind] = fitted.apply(scene.x)
    transport = color_transfer.monge_kantorovich(x, y)
    result["Monge-Kantorovich"] = transport.apply(scene.x)
    result["histograms"] = color_transfer.match_histograms(scene.x, y)
    w = color_matching.fit_pixel_kan(x, y)
    result["KAN"] = color_matching.pixel_kan(scene.x, w[0])

    def products(x: Array, terms: Array) -> Array:
        affine = color_transfer.color_terms(x, "affine")
        return (terms[..., :, None] * affine[..., None, :]).reshape(*x.shape[:-1], -1)

    matrix = jnp.linalg.lstsq(products(x, terms), y)[0]
    result["affine, by place"] = products(scene.x, scene.terms) @ matrix
    w = color_matching.fit_pixel_kan(x, y, terms)
    result["KAN, by place"] = color_matching.pixel_kan(scene.x, scene.terms @ w)
    return result


# ---- the light hypernetwork


def _loss(net: kj.kan.ColorMatcher, scene: Scene) -> Any:
    """Mean square over known pixels of random crops, as the closed forms have it."""
    height, width, _ = scene.x.shape

    def loss(params: Any, batch: Array, key: Array) -> Array:
        keys = jax.random.split(key)
        top = jax.random.randint(keys[0], (BATCH,), 0, height - CROP + 1)
        left = jax.random.randint(keys[1], (BATCH,), 0, width - CROP + 1)

        def crop(image: Array) -> Array:
            def cut(i: Array, j: Array) -> Array:
                size = (CROP, CROP, image.shape[-1])
                return jax.lax.dynamic_slice(image, (i, j, 0), size)

            return jax.vmap(cut)(top, left)

        x, y, known = map(crop, scene[:3])
        error = known * jnp.square(net.apply(params, x) - y)
        return jnp.sum(error) / (3 * jnp.sum(known))

    return loss


def _train(net: kj.kan.ColorMatcher, scene: Scene, setting: Setting) -> Any:
    """Train all seeds on one photograph; give its mapped images, and parameters."""
    keys = jax.random.split(jax.random.key(0), setting.seeds)

    def run(key: Array, start: Any, scene: Scene) -> Any:
        params, _ = kj.training.descend(
            _loss(net, scene),
            start,
            jnp.zeros(1),
            key=key,
            optimizer=optax.adam(optax.cosine_decay_schedule(0.005, setting.steps)),
            steps=setting.steps,
        )
        return net.apply(params, scene.x), params

    # One KAN in closed form is where training begins.
    is_known = np.asarray(scene.known[..., 0], bool)
    w = color_matching.fit_pixel_kan(scene.x[is_known], scene.y[is_known])
    starts = jax.vmap(net.init)(keys)
    starts["last"]["last"]["bias"] = jnp.tile(w, (setting.seeds, 1))
    program = jax.jit(run)
    results = [
        program(key, jax.tree.map(lambda leaf, i=i: leaf[i], starts), scene)
        for i, key in enumerate(keys)
    ]
    return [image for image, _ in results], [params for _, params in results]


def _in_crops(net: kj.kan.ColorMatcher, params: Any, x: Array) -> Array:
    """Map an image in crops of the size trained on, and take means where they overlap.

    What a pixel gets depends on all that the network sees, so on the size.
    """
    total, count = jnp.zeros_like(x), jnp.zeros_like(x)
    corners = [
        np.linspace(0, size - CROP, -(-size // CROP)).astype(int)
        for size in x.shape[:2]
    ]
    places = [
        (slice(i, i + CROP), slice(j, j + CROP)) for i in corners[0] for j in corners[1]
    ]
    mapped = net.apply(params, jnp.stack([x[place] for place in places]))
    for place, crop in zip(places, mapped, strict=True):
        total, count = total.at[place].add(crop), count.at[place].add(1)
    return total / count


def _tuned(
    net: kj.kan.ColorMatcher, params: list[Any], scene: Scene
) -> tuple[np.ndarray, np.ndarray]:
    """Before and after ten steps on this photograph, of networks of the other.

    The hidden pixels' colors are those that the network gave them, so that they teach
    nothing.
    """

    @jax.jit
    def tune(start: Any) -> tuple[Array, Array]:
        before = _in_crops(net, start, scene.x)
        target = jnp.where(scene.known > 0, scene.y, before)
        after, _ = color_matching.fine_tune(net, start, scene.x, target)
        return before, _in_crops(net, after, scene.x)

    pairs = [tune(start) for start in params]
    before, after = (
        np.array([_psnr(scene, pair[i]) for pair in pairs]) for i in range(2)
    )
    return before, after


# ---- claims and the figure


def _claims(
    measured: list[dict[str, float]], networks: list[dict[str, np.ndarray]]
) -> tuple[papers.Claim, ...]:
    def gains(better: str, worse: str) -> tuple[list[float], str]:
        pairs = [(each[better], each[worse]) for each in measured]
        said = "; ".join(
            f"{name} {a:.2f} beside {b:.2f} dB"
            for name, (a, b) in zip(NAMES, pairs, strict=True)
        )
        return [a - b for a, b in pairs], said

    claims = []
    for text, better, worse, limit in (
        (
            "A KAN that moves with the place is far better than such an affine map.",
            "KAN, by place",
            "affine, by place",
            10,
        ),
        (
            "An affine map that moves with the place is better than one KAN for all.",
            "affine, by place",
            "KAN",
            0,
        ),
        ("One KAN is better than a polynomial.", "KAN", "polynomial", 0),
    ):
        gain, said = gains(better, worse)
        claims.append(
            papers.Claim(
                text,
                said,
                bool(min(gain) > limit),
                threshold=f"more than {limit} dB on both photographs",
                baseline=worse,
            )
        )
    if not networks:
        return tuple(claims)
    said, worst = [], []
    for name, values, runs in zip(NAMES, measured, networks, strict=True):
        light = runs["light hypernetwork"]
        worst.append(light.mean() - values["KAN"])
        said.append(
            f"{name} {light.mean():.2f} ± {light.std(ddof=1):.2f} beside "
            f"{values['KAN']:.2f} dB"
        )
    claims.append(
        papers.Claim(
            "The light hypernetwork is better than one KAN fitted in closed form.",
            f"{'; '.join(said)} ({len(light)} seeds)",
            bool(min(worst) >= 3),
            threshold="at least 3 dB on both photographs, in the mean of seeds",
            baseline="KAN",
        )
    )
    gain = np.stack([runs["tuned"] - runs["before tuning"] for runs in networks])
    said = [
        f"{name} {runs['before tuning'].mean():.2f} to {runs['tuned'].mean():.2f} dB"
        for name, runs in zip(NAMES, networks, strict=True)
    ]
    claims.append(
        papers.Claim(
            "Ten steps bring a network of the other photograph nearer.",
            f"{'; '.join(said)} ({gain.shape[1]} seeds)",
            bool(np.min(gain) > 0),
            threshold="better in every seed on both photographs",
            baseline="the network before them",
        )
    )
    return tuple(claims)


@style.styled
def _figure(scene: Scene, images: dict[str, Array]) -> Any:
    figure = style.new_figure((9.6, 5.2))
    axes = figure.subplots(2, 3)
    for place, (title, image) in zip(
        axes[0], {"source": scene.x, "target": scene.y}.items(), strict=False
    ):
        place.imshow(np.clip(image, 0, 1))
        place.set_title(title)
    last = "light hypernetwork"
    shown = ["KAN", "affine, by place", "KAN, by place"]
    if last in images:
        shown.insert(1, last)
    else:
        axes[0, 2].set_visible(False)
    places = [*axes[1], axes[0, 2]] if last in images else list(axes[1])
    for place, name in zip(places, shown, strict=True):
        error = 255 * np.abs(np.asarray(images[name] - scene.y)).mean(axis=-1)
        drawn = place.imshow(error, cmap="magma", vmin=0, vmax=25)
        place.set_title(f"{name}: {_psnr(scene, images[name]):.1f} dB")
        figure.colorbar(drawn, ax=place, shrink=0.7, label="mean error of 255")
    for place in axes.flat:
        place.set_axis_off()
    return figure


# ---- one photograph's colors for another


def match_photographs(
    source: pathlib.Path, target: pathlib.Path, out: pathlib.Path, *, steps: int = 120
) -> None:
    """Write the source with the target's colors, and all three side by side.

    The photographs need not show the same: the source's colors are first moved onto the
    target's distribution, and the light network learns that as a smooth map.
    """
    begin = time.perf_counter()
    x, y = (jnp.asarray(kj.data.read_image(path)) for path in (source, target))
    small, other = (_shrink(image, 96) for image in (x, y))
    goal = color_transfer.monge_kantorovich(small, other).apply(small)
    goal = jnp.clip(color_transfer.match_histograms(goal, other), 0, 1)
    net = kj.kan.ColorMatcher(light=True, norm="channels", start="identity")
    # Compiled, and by a generator that takes less time for it.
    start = jax.jit(net.init)(jax.random.key(0, impl="rbg"))
    # Not from a fit in closed form, whose steep functions show noise and blocks.
    params, _ = jax.jit(
        lambda start: kj.training.descend(
            color_matching.restoration(net.apply),
            start,
            (small[None], goal[None]),
            key=jax.random.key(1),
            optimizer=optax.adam(optax.cosine_decay_schedule(0.01, steps)),
            steps=steps,
        )
    )(start)
    result = np.clip(jax.jit(net.apply_large)(params, x), 0, 1)

    from PIL import Image

    pixels = np.round(255 * result).astype(np.uint8)
    Image.fromarray(pixels).save(out)
    beside = out.with_name(f"{out.stem}-beside.png")
    figure = style.new_figure((10, 3.6))
    for place, (title, image) in zip(
        figure.subplots(1, 3),
        {"source": x, "result": result, "target": y}.items(),
        strict=True,
    ):
        place.imshow(np.asarray(_shrink(jnp.asarray(image), 640)))
        place.set(title=title)
        place.set_axis_off()
    figure.savefig(beside, dpi=120)
    histograms = [
        color.rgb_uv_histogram(image)
        for image in (small, _shrink(jnp.asarray(result), 96), other)
    ]
    before, after = (
        float(color.hellinger_distance(each, histograms[2])) for each in histograms[:2]
    )
    print(
        f"{out} and {beside} in {time.perf_counter() - begin:.0f} s; distance of "
        f"log-chroma histograms {before:.3f} before, {after:.3f} after"
    )


def _shrink(image: Array, side: int) -> Array:
    """Return a copy whose longer side is so long at most."""
    scale = min(1.0, side / max(image.shape[:2]))
    shape = tuple(max(11, round(scale * size)) for size in image.shape[:2])
    return jnp.clip(jax.image.resize(image, (*shape, 3), "linear"), 0, 1)


def _match_from_arguments() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--source", "--target", "--out"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=120)
    given = parser.parse_args()
    try:
        match_photographs(given.source, given.target, given.out, steps=given.steps)
    except kj.data.DataError as error:
        parser.error(str(error))


if __name__ == "__main__":
    if any(each.startswith(("--source", "--target")) for each in sys.argv[1:]):
        _match_from_arguments()
    else:
        cli.reproduce_as_script(PAPER.slug)
