"""Points in a domain: drawn, spread evenly, or where residuals are large.

All work inside ``jit``. Wu et al. (2023), "A comprehensive study of non-adaptive and
residual-based adaptive sampling for physics-informed neural networks", arXiv
2207.10289 (RAD); Daw et al. (2023), "Mitigating Propagation Failures in
Physics-informed Neural Networks using Retain-Resample-Release (R3) Sampling", arXiv
2207.02338.
"""

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from kanjax.pinn import domains

Sampler = Callable[..., Float[Array, "points coordinates"]]
"""``sampler(domain, points, *, key)``."""


def uniform(
    domain: domains.Domain, points: int, *, key: Array
) -> Float[Array, "points coordinates"]:
    """Draw points independently.

    Args:
        domain: where.
        points: how many.
        key: of the draw.

    Raises:
        ValueError: unless points is positive (of all samplers).
    """
    _check(points)
    return domain.place(jax.random.uniform(key, (points, domain.parameters)))


def latin_hypercube(
    domain: domains.Domain, points: int, *, key: Array
) -> Float[Array, "points coordinates"]:
    """Draw points so that each coordinate has one in each of ``points`` slices.

    Args:
        domain: where.
        points: how many.
        key: of the draw.
    """
    _check(points)
    key_slice, key_place = jax.random.split(key)
    shape = (points, domain.parameters)
    slices = jnp.broadcast_to(jnp.arange(points)[:, None], shape)
    slices = jax.random.permutation(key_slice, slices, axis=0, independent=True)
    return domain.place((slices + jax.random.uniform(key_place, shape)) / points)


def sobol(
    domain: domains.Domain, points: int, *, key: Array
) -> Float[Array, "points coordinates"]:
    """Spread points evenly by Sobol's sequence, shifted at random around the torus.

    The sequence is scipy's; the shift is drawn by the key, so that each call under
    ``jit`` has points of its own.

    Args:
        domain: where.
        points: how many; powers of two are the most even.
        key: of the shift.
    """
    from scipy.stats import qmc

    _check(points)
    if domain.parameters == 0:
        return domain.place(jnp.zeros((points, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that are no powers of two
        s = qmc.Sobol(domain.parameters, scramble=False).random(points)
    shift = jax.random.uniform(key, (domain.parameters,))
    return domain.place((jnp.asarray(s, shift.dtype) + shift[None]) % 1)


def edge_dense(
    domain: domains.Domain, points: int, *, key: Array
) -> Float[Array, "points coordinates"]:
    """Spread points by Sobol's sequence, and bend each coordinate toward its ends.

    They have the density of the zeros of Chebyshev's polynomials, under which fits by
    polynomials of high degree stay tame, and find thin layers at the edges.

    Args:
        domain: a box or its edges.
        points: how many.
        key: of the shift.

    Examples:
        >>> import jax
        >>> from kanjax.pinn import domains
        >>> z = edge_dense(domains.interval(0, 1), 1024, key=jax.random.key(0))
        >>> bool((z < 0.1).mean() > 0.19)
        True
    """
    z = sobol(domain, points, key=key)
    lower, upper = (jnp.array([v], z.dtype) for v in domain.bounds)
    width = jnp.where(upper > lower, upper - lower, 1)
    return lower + width * (1 - jnp.cos(jnp.pi * (z - lower) / width)) / 2


def grid(
    domain: domains.Domain, points: int, *, key: Array | None = None
) -> Float[Array, "points coordinates"]:
    """Place the middles of equal cells.

    Args:
        domain: where.
        points: how many; rounded down to a power of the domain's dimension.
        key: not needed.
    """
    _check(points)
    side = int(points ** (1 / max(1, domain.parameters)) + 1e-9)
    middles = (np.arange(side) + 0.5) / side
    axes = np.meshgrid(*[middles] * domain.parameters, indexing="ij")
    cells = [axis.ravel() for axis in axes] or [np.zeros((1, 0))]
    s = np.stack(cells, axis=-1) if axes else cells[0]
    return domain.place(jnp.asarray(s, float))


def residual_adaptive(
    candidates: Float[Array, "many coordinates"],
    residuals: Float[Array, " many"],
    points: int,
    *,
    key: Array,
    power: float = 1.0,
    constant: float = 1.0,
) -> Float[Array, "points coordinates"]:
    """Choose points with the density ``|r|^k / mean |r|^k + c``, without repetition.

    RAD of Wu et al., equation 2; appended to the points at hand, RAR-D.

    Args:
        candidates: many points, (many, coordinates).
        residuals: the size of the residual at each, (many,).
        points: how many to choose.
        key: of the choice.
        power: k; 0 is uniform.
        constant: c; the larger it is, the more uniform.

    Raises:
        ValueError: if there are fewer candidates than points.
    """
    if not 0 < points <= candidates.shape[0]:
        raise ValueError(
            f"points must be 1 to the number of candidates, {candidates.shape[0]}; got "
            f"{points}."
        )
    size = jnp.abs(residuals) ** power
    density = size / jnp.mean(size) + constant
    chosen = jax.random.choice(
        key,
        candidates.shape[0],
        (points,),
        replace=False,
        p=density / jnp.sum(density),
    )
    return candidates[chosen]


def retain_resample_release(
    domain: domains.Domain,
    points: Float[Array, "points coordinates"],
    residuals: Float[Array, " points"],
    *,
    key: Array,
) -> Float[Array, "points coordinates"]:
    """Keep points whose residual is above the mean, and draw the others again (R3).

    Args:
        domain: where.
        points: the points at hand, (points, coordinates).
        residuals: the size of the residual at each, (points,).
        key: of the draw.
    """
    size = jnp.abs(residuals)
    fresh = uniform(domain, points.shape[0], key=key).astype(points.dtype)
    return jnp.where((size > jnp.mean(size))[:, None], points, fresh)


def _check(points: int) -> None:
    if not isinstance(points, int) or points < 1:
        raise ValueError(f"points must be a positive integer; got {points!r}.")
