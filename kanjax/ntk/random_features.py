"""Random features that turn ``f(w . x + bias)`` into a dot product.

Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov 2024, "Scalable Neural Network
Kernels", arXiv 2310.13225. A function of a layer's sums is a mean of exponentials,
``f(z) = E[amplitude exp(i (rate z + phase))]`` (its :class:`Spectrum`), and of each
exponential ``exp(u . v) = E[exp(g . u - |u|^2 / 2) exp(g . v - |v|^2 / 2)]`` over a
standard normal g, for complex u and v as well: one factor belongs to the input, one to
the weights. Trained layers of such features are in
:mod:`kanjax.ntk.random_feature_layers`.

The paper splits ``i rate`` into equal complex factors. Here by default the input's
factor is real and the weights' imaginary: the mean is the same, and all features are
real, half as many (derived for this module, as are the variances). Variances grow as
``exp(rate (|x|^2 + |w|^2))``: inputs and weights should be about unit vectors.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks, model
from kanjax.nn.checks import check_last_axis

Activation = Callable[[Array], Array]
"""A function of each value."""

Split = Literal["real", "symmetric"]
"""How the exponent is shared: all features real, or the paper's complex ones."""

_GRID = 1024


class Rates(NamedTuple):
    """Exponentials drawn from a spectrum.

    Attributes:
        rates: (m,).
        amplitudes: (m,).
        phases: (m,).
    """

    rates: Float[Array, " m"]
    amplitudes: Float[Array, " m"]
    phases: Float[Array, " m"]


class Spectrum(NamedTuple):
    """A function as a mean of exponentials.

    Attributes:
        function: f itself.
        sample: ``sample(key, m) -> Rates``, m independent draws.
        oscillating: whether f is the mean of ``amplitude cos(rate z + phase)``; of
            ``amplitude cos(phase) exp(rate z)`` otherwise.
    """

    function: Activation
    sample: Callable[[Array, int], Rates]
    oscillating: bool = True


def sine() -> Spectrum:
    """Return the sine, which is one wave: ``cos(z - pi / 2)``."""
    return Spectrum(jnp.sin, lambda key, m: _constant(m, 1.0, -math.pi / 2))


def cosine() -> Spectrum:
    """Return the cosine, which is one wave."""
    return Spectrum(jnp.cos, lambda key, m: _constant(m, 1.0, 0.0))


def exponential(rate: float = 1.0) -> Spectrum:
    """``exp(rate z)``: positive features, as those of softmax attention."""
    return Spectrum(
        lambda z: jnp.exp(rate * z), lambda key, m: _constant(m, rate, 0.0), False
    )


def squared_exponential(width: float = 1.0) -> Spectrum:
    """``exp(-z^2 / (2 width^2))``, whose rates are normal.

    Args:
        width: positive; from 2 on for unit vectors, as features of a rate above 1 have
            large variances.
    """

    def sample(key: Array, m: int) -> Rates:
        return _constant(m, 1.0, 0.0)._replace(
            rates=jax.random.normal(key, (m,)) / width
        )

    return Spectrum(lambda z: jnp.exp(-((z / width) ** 2) / 2), sample)


def custom(
    function: Activation,
    transform: Callable[[Array], Array],
    draw: Callable[[Array, int], Array],
    density: Callable[[Array], Array],
) -> Spectrum:
    """Any function with a Fourier transform F: ``f(z) = int F(xi) e^(2 pi i xi z)``.

    Args:
        function: f, real.
        transform: F, complex, of frequencies (m,).
        draw: ``draw(key, m)``, frequencies (m,) from the density.
        density: p of frequencies (m,), positive wherever F is not 0.

    Raises:
        ValueError: on drawing, if a density is not positive.
    """

    def sample(key: Array, m: int) -> Rates:
        xi = draw(key, m)
        p = density(xi)
        if not isinstance(p, jax.core.Tracer) and not bool(jnp.all(p > 0)):
            raise ValueError(
                f"density must be positive at all that is drawn; the least value "
                f"is {float(jnp.min(p)):.3g}. Give the density that draw draws from."
            )
        ratio = transform(xi) / p
        return Rates(2 * math.pi * xi, jnp.abs(ratio), jnp.angle(ratio))

    return Spectrum(function, sample)


def cosine_series(
    function: Activation, reach: ArrayLike, *, terms: int = 8, tilt: ArrayLike = 0.0
) -> Spectrum:
    """Return the cosine series of any function on an interval: ReLU, tanh and what
    you like.

    Of the function mirrored at the ends, whose coefficients fall as ``1 / k^2``. The
    series, not the function, is what features average to; ``spectrum.function`` is it.

    Args:
        function: of each value.
        reach: (), the series holds from -reach to reach.
        terms: how many; rates go up to ``pi terms / (2 reach)``, and variances grow
            exponentially in them.
        tilt: (), terms are drawn in proportion to ``|c_k| exp(tilt rate)``; best is the
            product of the norms of weights and inputs.

    Raises:
        ValueError: if terms is less than 1.
    """
    if terms < 1:
        raise ValueError(f"terms is {terms}; it must be at least 1.")
    k = jnp.arange(terms)
    middles = (jnp.arange(_GRID) + 0.5) / _GRID
    waves = jnp.cos(math.pi * jnp.outer(k, middles))
    values = function((2 * middles - 1) * reach)
    c = jnp.matmul(waves, values, precision="highest") / _GRID * jnp.where(k > 0, 2, 1)
    rates, phases = math.pi * k / (2 * reach), math.pi * k / 2
    # A coefficient that is 0 for symmetry comes out as round-off, and is never drawn.
    c = jnp.where(jnp.abs(c) > 1e-6 * jnp.max(jnp.abs(c)), c, 0.0)
    chances = jax.nn.softmax(jnp.log(jnp.abs(c)) + tilt * rates)

    def series(z: Array) -> Array:
        turns = jnp.multiply.outer(z, rates)
        return jnp.cos(turns + jnp.broadcast_to(phases, turns.shape)) @ c

    def sample(key: Array, m: int) -> Rates:
        chosen = jax.random.choice(key, terms, (m,), p=chances)
        amplitudes = jnp.abs(c) / jnp.where(chances > 0, chances, 1.0)
        turned = phases + jnp.where(c < 0, math.pi, 0.0)
        return Rates(rates[chosen], amplitudes[chosen], turned[chosen])

    return Spectrum(series, sample)


def _constant(m: int, rate: float, phase: float) -> Rates:
    return Rates(jnp.full(m, rate), jnp.ones(m), jnp.full(m, phase))


def gaussian_projections(
    key: Array, m: int, d: int, *, orthogonal: bool = False
) -> Float[Array, "m d"]:
    """Draw standard normal rows, independent or orthogonal within blocks of d.

    Each row is standard normal either way. With m below d, or not a multiple of it, the
    last block is cut: its rows are orthogonal still. Rows of different blocks are
    independent, so that m above d is never orthogonal as a whole.

    Args:
        key: of the draw.
        m: number of rows.
        d: their length.
        orthogonal: whether rows of a block are orthogonal.

    Raises:
        ValueError: if m or d is less than 1.
    """
    for name, number in (("m", m), ("d", d)):
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1.")
    normal = jax.random.normal(key, (m, d))
    if not orthogonal:
        return normal
    blocks = jax.random.orthogonal(jax.random.fold_in(key, 1), d, (-(-m // d),))
    return jnp.linalg.norm(normal, axis=1)[:, None] * blocks.reshape(-1, d)[:m]


@model.dataclass
class ExponentialFeatures:
    """Features whose dot product has the mean ``f(w . x + bias)``.

    ``apply`` and ``of_weights`` share the projections: features of different draws have
    nothing in common. :meth:`draw` makes them.

    Args:
        projections: (m, d), standard normal rows.
        rates: the m exponentials of a spectrum.
        balance: (), inputs are multiplied by it and weights divided, which leaves the
            mean; the variance is least at the root of ``|w| / |x|``.
        oscillating: of the spectrum.
        split: "real": m real columns; "symmetric": the paper's complex features, as 2 m
            columns of real and imaginary parts (the same as "real" for a spectrum that
            does not oscillate).
        damping: M of the paper's positive features, at least 0: features carry
            ``exp(-M |g|^2)``. See :func:`optimal_damping`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> features = ExponentialFeatures.draw(jax.random.key(0), sine(), 20_000, 3)
        >>> w, x = jnp.array([0.6, 0.8, 0.0]), jnp.array([0.0, 1.0, 0.0])
        >>> mean = features.of_weights(w) @ features.apply((), x)
        >>> abs(float(mean - jnp.sin(0.8))) < 0.05
        True
    """

    projections: Float[Array, "m d"] = model.child()
    rates: Rates = model.child()
    balance: ArrayLike = model.child(default=1.0)
    oscillating: bool = True
    split: Split = "real"
    damping: float = 0.0

    def __post_init__(self) -> None:
        if self.split not in ("real", "symmetric"):
            raise ValueError(
                f"split must be 'real' or 'symmetric'; got {self.split!r}."
            )
        if not 0 <= self.damping < math.inf:
            raise ValueError(
                f"damping must be at least 0 and finite; got {self.damping!r}."
            )

    @classmethod
    def draw(
        cls,
        key: Array,
        spectrum: Spectrum,
        m: int,
        d: int,
        *,
        orthogonal: bool = False,
        balance: ArrayLike = 1.0,
        split: Split = "real",
        damping: float = 0.0,
    ) -> "ExponentialFeatures":
        """Draw projections (m, d) and the m rates of a spectrum."""
        key_rates, key = jax.random.split(key)
        projections = gaussian_projections(key, m, d, orthogonal=orthogonal)
        rates, kind = spectrum.sample(key_rates, m), spectrum.oscillating
        return cls(projections, rates, balance, kind, split, damping)

    @property
    def in_features(self) -> int:
        """The length of an input."""
        return self.projections.shape[-1]

    @property
    def columns(self) -> int:
        """The number of features."""
        return self.projections.shape[-2] * (2 if self._is_complex else 1)

    @property
    def _is_complex(self) -> bool:
        return self.oscillating and self.split == "symmetric"

    def init(self, key: Array) -> tuple[()]:
        """There is nothing to train."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch columns"]:
        """Return the features of inputs x (..., d)."""
        x = checks.as_floating(x)
        check_last_axis(x, self.in_features)
        rate, scale = self.rates.rates, jnp.asarray(self.balance, x.dtype)
        along = self._along(scale * x, jnp.sqrt(jnp.abs(rate)))
        rate, square = jnp.broadcast_to(rate, along.shape), _square(scale * x)
        if not self._is_complex:
            return jnp.exp(along - jnp.abs(rate) * square / 2 + self._level(along))
        along = along / math.sqrt(2)
        size = jnp.exp(along + self._level(along))
        turn = jnp.sign(rate) * along - rate * square / 2
        return jnp.concatenate([size * jnp.cos(turn), size * jnp.sin(turn)], axis=-1)

    def of_weights(
        self, w: Array, bias: ArrayLike | None = None
    ) -> Float[Array, "*batch columns"]:
        """Return the features of weights w (..., d) and biases (...), 0 if None."""
        w = checks.as_floating(w)
        check_last_axis(w, self.in_features)
        rate = self.rates.rates
        scale = 1 / jnp.asarray(self.balance, w.dtype)
        along = self._along(scale * w, jnp.sign(rate) * jnp.sqrt(jnp.abs(rate)))
        rate, amplitude, phase = (jnp.broadcast_to(v, along.shape) for v in self.rates)
        square = _square(scale * w)
        bias = jnp.broadcast_to(0.0 if bias is None else bias, along.shape[:-1])
        shift = rate * bias[..., None]
        if not self.oscillating:
            level = self._level(along) - jnp.abs(rate) * square / 2 + shift
            return amplitude * jnp.cos(phase) * jnp.exp(along + level)
        if not self._is_complex:
            growth = jnp.abs(rate) * square / 2 + self._level(along)
            size = amplitude * jnp.exp(growth)
            return size * jnp.cos(along + shift + phase)
        along = along / math.sqrt(2)
        size = amplitude * jnp.exp(jnp.sign(rate) * along + self._level(along))
        turn = along - rate * square / 2 + shift + phase
        # The real part of a product without conjugate.
        return jnp.concatenate([size * jnp.cos(turn), -size * jnp.sin(turn)], axis=-1)

    def _along(self, x: Array, factors: Array) -> Array:
        factors = math.sqrt(1 + 4 * self.damping) * factors
        return jnp.matmul(x, (factors[:, None] * self.projections).T)

    def _level(self, along: Array) -> Array | float:
        """Return the logarithm of what both sides have in common, for each column."""
        m, d = self.projections.shape
        level = -math.log(m) / 2 + d / 4 * math.log1p(4 * self.damping)
        if not self.damping:
            return level
        damped = level - self.damping * _square(self.projections)[..., 0]
        return jnp.broadcast_to(damped, along.shape)

    def standard_error(
        self, w: Array, x: Array, bias: ArrayLike = 0.0
    ) -> Float[Array, "*batch"]:
        """Return the standard deviation of the estimate over independent draws.

        The root of ``(E|h|^2 + Re E h^2) / 2 - f^2`` over m, where h is an exponential
        before its real part is taken, averaged over the rates that were drawn. Exact if
        all rates are equal but for their sign, an estimate if they are random.

        Args:
            w: (..., d), weights.
            x: (..., d), inputs; leading axes broadcast with those of w.
            bias: (...).
        """
        m, d = self.projections.shape
        rank = max(jnp.ndim(w), jnp.ndim(x), jnp.ndim(bias) + 1)
        w, x, bias, *rates = (
            jnp.expand_dims(v, range(rank - jnp.ndim(v)))
            for v in (w, x, jnp.asarray(bias)[..., None], *self.rates)
        )
        rate, amplitude, phase = rates
        root = jnp.sqrt(jnp.abs(rate)) + 0j
        a, b = root, jnp.sign(rate) * root
        if self.oscillating:
            quarter = jnp.exp(1j * math.pi / 4 * jnp.sign(rate))
            a, b = (a, 1j * b) if self.split == "real" else (root * quarter,) * 2
        a, b = a * self.balance, b / self.balance
        xx, ww, xw = _square(x), _square(w), jnp.sum(x * w, axis=-1, keepdims=True)
        sizes = a**2 * xx + b**2 * ww
        total = jnp.sum(w * x, axis=-1, keepdims=True) + bias
        more = 1 + 4 * self.damping
        share = 2 * more / (1 + 8 * self.damping)
        factor = d * math.log(more) - d / 2 * math.log1p(8 * self.damping)
        real = a.real**2 * xx + b.real**2 * ww + 2 * a.real * b.real * xw
        whirl = 1j if self.oscillating else 1.0
        start = whirl * rate * bias + 1j * phase
        absolute = (
            jnp.exp(factor + 2 * start.real + share * real - sizes.real) * amplitude**2
        )
        square = amplitude**2 * jnp.exp(
            factor + 2 * start + share * (sizes + 2 * a * b * xw) - sizes
        )
        mean = amplitude * jnp.exp(whirl * rate * total + 1j * phase)
        second = jnp.mean((absolute + square.real) / 2, axis=-1)
        variance = second - jnp.mean(mean.real, axis=-1) ** 2
        return jnp.sqrt(jnp.maximum(variance, 0) / m)


def optimal_damping(square: float, d: int) -> float:
    """Return the M of least variance for the features of ``exp(w . x)``.

    The minimum of ``(1 + 4 M)^d (1 + 8 M)^(-d/2) exp(2 (1 + 4 M) / (1 + 8 M) s)``, the
    positive root of ``2 d M (1 + 8 M) = s (1 + 4 M)``.

    Args:
        square: s, what ``|x + w|^2`` is on average.
        d: the length of an input.

    Raises:
        ValueError: if square is negative.
    """
    if square < 0:
        raise ValueError(f"square is {square}; it must be at least 0.")
    b = d - 2 * square
    return (-b + math.sqrt(b * b + 16 * d * square)) / (16 * d)


@model.dataclass
class ReLUFeatures:
    """``max(G x, c) / sqrt(m)`` of inputs and of weights alike.

    At c = 0 the dot product has the arc-cosine kernel of order one as its mean,
    ``|x| |w| (sin t + (pi - t) cos t) / (2 pi)`` with t the angle between, which is
    ``kanjax.gaussian.dual(jax.nn.relu)``: no function of ``w . x`` alone.

    Args:
        projections: (m, d), or (m, d + 1) with a bias.
        threshold: c.
        use_bias: whether a 1 is appended to inputs, and biases to weights.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> features = ReLUFeatures(gaussian_projections(jax.random.key(0), 16, 3))
        >>> features.apply((), jnp.ones((5, 3))).shape
        (5, 16)
    """

    projections: Float[Array, "m inputs"] = model.child()
    threshold: float = 0.0
    use_bias: bool = False

    @property
    def in_features(self) -> int:
        """The length of an input."""
        return self.projections.shape[-1] - self.use_bias

    @property
    def columns(self) -> int:
        """The number of features."""
        return self.projections.shape[-2]

    def init(self, key: Array) -> tuple[()]:
        """There is nothing to train."""
        return ()

    def apply(
        self, params: tuple[()], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch m"]:
        """Return the features of inputs x (..., d)."""
        return self._features(x, jnp.ones(()) if self.use_bias else None)

    def of_weights(
        self, w: Array, bias: ArrayLike | None = None
    ) -> Float[Array, "*batch m"]:
        """Return the features of weights w (..., d) and biases (...), 0 if None."""
        return self._features(w, bias)

    def _features(self, x: Array, last: ArrayLike | None) -> Array:
        x = checks.as_floating(x)
        check_last_axis(x, self.in_features)
        scale = 1 / math.sqrt(self.columns)
        projections = scale * self.projections
        sums = jnp.matmul(x, projections[:, : self.in_features].T)
        if last is not None and self.use_bias:
            bias = jnp.broadcast_to(last, sums.shape[:-1])
            sums = sums + jnp.multiply.outer(bias, projections[:, -1])
        elif last is not None:
            raise ValueError("bias must be None; for biases give use_bias=True.")
        return jnp.maximum(sums, scale * self.threshold)


def _square(x: Array) -> Array:
    return jnp.sum(x * x, axis=-1, keepdims=True)
