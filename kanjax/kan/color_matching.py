"""Color matching: a small KAN maps each pixel's color, an image says which KAN.

Source: Nikonorov et al. (2025), Color Matching Using Hypernetwork-Based
Kolmogorov-Arnold Networks (cmKAN), arXiv 2503.11781, and its published code. Images
have their channels last, on [0, 1].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from kanjax import bases, model, nn, training
from kanjax.checks import as_floating, check_image_range
from kanjax.data import color
from kanjax.kan.color_generator import ColorGenerator
from kanjax.nn import norm

BASIS = bases.BSpline(5, domain=(0.0, 1.0))
"""The published basis: cubic B-splines on five intervals of [0, 1]."""


class PixelWeights(NamedTuple):
    """The parameters of one layer of a KAN, for every pixel.

    Attributes:
        coef: (..., out, in, size), of the basis' functions.
        scale: (..., out, in), of each expansion.
        residual: (..., out, in), of silu.
    """

    coef: Array
    scale: Array
    residual: Array


def pack(weights: PixelWeights) -> Float[Array, "*batch numbers"]:
    """Write a layer's parameters in one row, in the order of the fields.

    Args:
        weights: of one layer.
    """
    batch = weights.scale.shape[:-2]
    return jnp.concatenate([each.reshape(*batch, -1) for each in weights], axis=-1)


def unpack(
    w: Array, in_features: int = 3, out_features: int = 3, size: int = BASIS.size
) -> PixelWeights:
    """Read a layer's parameters from a row.

    Args:
        w: (..., in_features * out_features * (size + 2)).
        in_features: number of inputs.
        out_features: number of outputs.
        size: number of functions of the basis.

    Raises:
        ValueError: if the row has another length.
    """
    edges = in_features * out_features
    if jnp.ndim(w) == 0 or w.shape[-1] != edges * (size + 2):
        raise ValueError(
            f"w must have shape (..., {edges * (size + 2)}) for {in_features} inputs, "
            f"{out_features} outputs and {size} functions; got {jnp.shape(w)}."
        )
    coef, scale, residual = jnp.split(w, [edges * size, edges * (size + 1)], axis=-1)
    shape = (*w.shape[:-1], out_features, in_features)
    return PixelWeights(
        coef.reshape(*shape, size), scale.reshape(shape), residual.reshape(shape)
    )


def identity_weights(basis: bases.BSpline = BASIS) -> Float[Array, " numbers"]:
    """Return the row of a layer that leaves colors on the basis' domain as they are.

    Its coefficients are the Greville abscissae, the means of the knots inside of a
    spline, on the diagonal.

    Args:
        basis: B-splines of degree 1 at least.
    """
    knots = basis.extended_knots()
    inside = jnp.stack([knots[m : m + basis.size] for m in range(1, basis.degree + 1)])
    eye = jnp.eye(3)
    coef = jnp.multiply.outer(eye, jnp.mean(inside, axis=0))
    return pack(PixelWeights(coef, eye, jnp.zeros((3, 3))))


def pixel_kan(
    x: Array,
    w: Array,
    *,
    widths: tuple[int, ...] = (3, 3),
    basis: bases.Basis = BASIS,
) -> Float[Array, "*batch out"]:
    """Evaluate at each pixel a KAN of the pixel's own.

    ``y_o = sum_i u_oi silu(x_i) + v_oi sum_m c_oim B_m(x_i)``. Colors far out of the
    basis' domain keep the silu alone.

    Args:
        x: (..., in).
        w: (..., numbers), one layer after the other as :func:`pack` writes them;
            broadcasts against x.
        widths: inputs, any hidden units, outputs.
        basis: the functions, of all layers.

    Raises:
        ValueError: if a last axis has another length.
    """
    x = as_floating(x)
    if x.ndim == 0 or x.shape[-1] != widths[0]:
        raise ValueError(f"x must have shape (..., {widths[0]}); got {x.shape}.")
    sizes = layer_sizes(widths, basis)
    if jnp.ndim(w) == 0 or w.shape[-1] != sum(sizes):
        raise ValueError(
            f"w must have shape (..., {sum(sizes)}) for widths={widths}; got "
            f"{jnp.shape(w)}."
        )
    rank = max(x.ndim, w.ndim)
    x, w = (jnp.expand_dims(v, range(rank - v.ndim)) for v in (x, w))
    rows = jnp.split(w, np.cumsum(sizes)[:-1], axis=-1)
    for row, inputs, outputs in zip(rows, widths, widths[1:], strict=False):
        coef, scale, residual = unpack(row, inputs, outputs, basis.size)
        curve = jnp.einsum("...oim,...im->...oi", coef, basis(x))
        x = jnp.sum(residual * jax.nn.silu(x)[..., None, :] + scale * curve, axis=-1)
    return x


def layer_sizes(
    widths: tuple[int, ...] = (3, 3), basis: bases.Basis = BASIS
) -> list[int]:
    """Return how many numbers each layer of a pixel's KAN takes.

    Args:
        widths: inputs, any hidden units, outputs.
        basis: the functions.
    """
    pairs = zip(widths, widths[1:], strict=False)
    return [inputs * outputs * (basis.size + 2) for inputs, outputs in pairs]


@model.dataclass
class ColorMatcher:
    """Map an image's colors by the KANs that a hypernetwork makes of it (cmKAN).

    Images are padded by reflection where the hypernetwork asks for other sizes.

    Args:
        light: the small hypernetwork, of 7,311 parameters for 76,875.
        norm: "pixels", as published, or "channels": what a pixel gets then depends less
            on the image's size; see :class:`kanjax.kan.color_generator.BasisModulator`.
        start: "published", or "identity": the image is left as it is before training.
        widths: of the pixel's KAN; with hidden units, it starts as published.
        basis: the functions of the pixel's KAN.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = ColorMatcher(light=True, start="identity")
        >>> params = net.init(jax.random.key(0))
        >>> image = jax.random.uniform(jax.random.key(1), (17, 12, 3))
        >>> bool(jnp.allclose(net.apply(params, image), image, atol=1e-5))
        True
    """

    light: bool = False
    norm: str = "pixels"
    start: str = "published"
    widths: tuple[int, ...] = (3, 3)
    basis: bases.Basis = model.child(default=BASIS)

    def __post_init__(self) -> None:
        if self.start not in ("published", "identity"):
            raise ValueError(
                f"start must be 'published' or 'identity'; got {self.start!r}."
            )
        if len(self.widths) < 2 or (self.widths[0], self.widths[-1]) != (3, 3):
            raise ValueError(f"widths must go from 3 to 3 colors; got {self.widths}.")
        if self.start == "identity" and self.widths != (3, 3):
            raise ValueError(
                f"start='identity' is for one layer; got widths={self.widths}."
            )
        # jax rebuilds models with placeholders for their children.
        if isinstance(self.basis, bases.Basis):
            _ = self.generator
            if self.start == "identity" and not isinstance(self.basis, bases.BSpline):
                raise ValueError(
                    f"start='identity' needs a basis of B-splines; got {self.basis!r}."
                )

    @property
    def generator(self) -> ColorGenerator:
        """The hypernetwork."""
        numbers = sum(layer_sizes(self.widths, self.basis))
        return ColorGenerator(numbers, self.light, self.norm)

    def init(self, key: Array) -> dict[str, Any]:
        """Draw the hypernetwork's parameters."""
        params = self.generator.init(key)
        if self.start == "identity" and isinstance(self.basis, bases.BSpline):
            last = params["last"]["last"]
            row = identity_weights(self.basis)
            last["kernel"], last["bias"] = jnp.zeros_like(last["kernel"]), row
        return params

    def weights(
        self, params: dict[str, Any], image: Array
    ) -> Float[Array, "*batch height width numbers"]:
        """Return each pixel's parameters for images (..., height, width, 3)."""
        image = as_floating(image)
        if image.ndim < 3 or image.shape[-1] != 3:
            raise ValueError(
                f"image must have shape (..., height, width, 3); got {image.shape}."
            )
        height, width = image.shape[-3:-1]
        divisor = self.generator.divisor
        more = [
            max(2 * divisor, -(-size // divisor) * divisor) - size
            for size in (height, width)
        ]
        edges = [(0, 0)] * (image.ndim - 3) + [(0, more[0]), (0, more[1]), (0, 0)]
        padded = jnp.pad(image, edges, mode="reflect") if any(more) else image
        w = self.generator.apply(params, padded)
        return w[..., :height, :width, :]

    def apply(
        self, params: dict[str, Any], image: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch height width 3"]:
        """Return images (..., height, width, 3) with other colors.

        Nothing is cut off at 0 or 1. What half precision would lose is computed in
        float32.
        """
        image = as_floating(image)
        dtype = jnp.result_type(image, *jax.tree.leaves(params))
        wide, params = jax.tree.map(norm.widen, (image, params))
        w = self.weights(params, wide)
        y = pixel_kan(wide, w, widths=self.widths, basis=self.basis)
        return y.astype(dtype)

    def apply_large(
        self,
        params: dict[str, Any],
        image: Array,
        *,
        side: int = 256,
        rows_at_once: int = 32,
    ) -> Float[Array, "height width 3"]:
        """Map one large image with the parameters of a small copy, between its pixels.

        The parameters of all pixels are never held at once.

        Args:
            params: as :meth:`init` gives them.
            image: (height, width, 3).
            side: the longer side of the small copy; a smaller image is mapped as it is.
            rows_at_once: rows whose parameters are held at once.
        """
        height, width, _ = image.shape
        scale = side / max(height, width)
        if scale >= 1:
            return self.apply(params, image)
        small = tuple(max(1, round(scale * size)) for size in (height, width))
        copy = jax.image.resize(as_floating(image), (*small, 3), "linear")
        w = self.weights(params, copy)
        resize = nn.Resize((height, width))
        rows, columns = resize.matrix(0, small[0]), resize.matrix(1, small[1])
        more = -height % rows_at_once
        tiles = tuple(
            jnp.pad(each, [(0, more)] + [(0, 0)] * (each.ndim - 1)).reshape(
                -1, rows_at_once, *each.shape[1:]
            )
            for each in (as_floating(image), rows)
        )

        def tile(pixels_and_rows: tuple[Array, Array]) -> Array:
            pixels, rows = pixels_and_rows
            between = jnp.einsum("rh,hwn,vw->rvn", rows, w, columns)
            return pixel_kan(pixels, between, widths=self.widths, basis=self.basis)

        y = jax.lax.map(tile, tiles)
        return y.reshape(-1, width, 3)[:height]


def restoration_loss(image: Array, target: Array) -> Float[Array, ""]:
    """Return ``mean |image - target| + 0.15 (1 - SSIM)``, the supervised loss.

    Args:
        image: (..., height, width, 3).
        target: of the same shape.
    """
    structure = 1 - jnp.mean(color.ssim(image, target))
    return jnp.mean(jnp.abs(image - target)) + 0.15 * structure


def restoration(apply: Callable[..., Array]) -> Callable[..., Array]:
    """Return the loss of supervised training, for ``kanjax.training``.

    Args:
        apply: ``apply(params, images)``.

    Returns:
        ``loss(params, (images, targets), key)``.
    """

    def loss(params: Any, batch: tuple[Array, Array], key: Array) -> Array:
        images, targets = batch
        return restoration_loss(apply(params, images), targets)

    return loss


def fine_tune(
    net: ColorMatcher,
    params: dict[str, Any],
    source: Array,
    target: Array,
    *,
    steps: int = 10,
    learning_rate: float = 1e-3,
) -> tuple[dict[str, Any], Float[Array, " steps"]]:
    """Fit a trained network to a pair of images by a few steps of Adam on L1.

    Args:
        net: the model.
        params: where to start.
        source: (height, width, 3).
        target: of the same shape, pixel on pixel.
        steps: how many.
        learning_rate: of Adam.

    Returns:
        ``(params, losses)``, the loss before each step. Works under jit, and under
        vmap over pairs.

    Raises:
        ValueError: if the images differ in shape, or the source's colors are not on
            [0, 1], as bytes are not.
    """
    if jnp.shape(source) != jnp.shape(target):
        raise ValueError(
            f"source has shape {jnp.shape(source)} and target {jnp.shape(target)}; a "
            "pair must fit pixel on pixel. For two different photographs make a target "
            "of the source by kanjax.data.color_transfer first."
        )
    # Splines are zero far out of their domain, and nothing would be said.
    check_image_range(jnp.asarray(source), "source", slack=1.0)

    def loss(params: Any, batch: tuple[Array, Array], key: Array) -> Array:
        images, targets = batch
        return jnp.mean(jnp.abs(net.apply(params, images) - targets))

    return training.descend(
        loss,
        params,
        (source[None], target[None]),
        key=jax.random.key(0),
        optimizer=optax.adam(learning_rate),
        steps=steps,
    )


def fit_pixel_kan(
    source: Array,
    target: Array,
    terms: Array | None = None,
    *,
    basis: bases.Basis = BASIS,
) -> Float[Array, "terms numbers"]:
    """Fit one KAN to pairs of colors in closed form, or one that moves with terms.

    Each pixel's KAN is ``terms @ w``. Least squares, of the least norm where several
    fit: the functions of a basis that sum to one leave constants open.

    Args:
        source: (pixels, 3).
        target: (pixels, 3).
        terms: (pixels, terms), such as monomials of the pixel's place, the first of
            them 1 everywhere; None for this one alone.
        basis: the functions.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jax.random.uniform(jax.random.key(0), (200, 3))
        >>> w = fit_pixel_kan(x, jnp.sin(2 * x))
        >>> bool(jnp.max(jnp.abs(pixel_kan(x, w[0]) - jnp.sin(2 * x))) < 1e-3)
        True
    """
    x, y = as_floating(source), as_floating(target)
    if x.shape != y.shape or x.ndim != 2 or x.shape[-1] != 3:
        raise ValueError(
            "source and target must both have shape (pixels, 3); got "
            f"{x.shape} and {y.shape}."
        )
    if terms is None:
        terms = jnp.ones_like(x[:, :1])
    functions = jnp.concatenate([basis(x), jax.nn.silu(x)[..., None]], axis=-1)
    features = jnp.einsum("nt,nim->ntim", terms, functions)
    solution = jnp.linalg.lstsq(features.reshape(len(x), -1), y)[0]
    # (out, in, size + 1) for each term.
    solution = solution.reshape(terms.shape[1], 3, basis.size + 1, 3)
    solution = jnp.moveaxis(solution, -1, 1)
    scale = jnp.zeros(solution.shape[:3], x.dtype).at[0].set(1)
    return pack(PixelWeights(solution[..., :-1], scale, solution[..., -1]))
