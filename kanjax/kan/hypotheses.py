"""What a trained function looks like before it is a formula: sums, products, symmetry.

The tests are on derivatives, as in AI Feynman (Udrescu et al. 2020, arXiv:2006.10782)
and in pykan's ``hypothesis`` (Liu et al. 2024, arXiv:2408.10205, section 4). They take
any function of one row, a KAN's as well as a perceptron's. Inputs count in units of
their spread over the samples, so that scores have no unit.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.csgraph
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from kanjax import checks

Function = Callable[[Array], Array]


class Separability(NamedTuple):
    """Which inputs of a function go together.

    Attributes:
        scores: (in, in) how strongly two inputs interact, 0 where they do not: the
            root mean square of f_ij over the geometric mean of those of f_i and f_j.
            For products all are of log f, weighted by the fourth power of f. No slope
            counts as less than a tenth of the gradient, or inputs that hardly matter
            would seem to interact.
        groups: the inputs in groups that do not interact.
    """

    scores: np.ndarray
    groups: tuple[tuple[int, ...], ...]


def separability(
    f: Function,
    x: Float[ArrayLike, "n in"],
    *,
    kind: Literal["sum", "product"] = "sum",
    tolerance: float = 0.1,
) -> Separability:
    """Find the groups of inputs whose functions add up to f, or multiply.

    f is a sum over groups exactly where the mixed derivatives f_ij between groups
    vanish, and a product where f f_ij - f_i f_j does.

    Args:
        f: ``f(row) -> scalar`` for a row (in,), twice differentiable.
        x: (n, in), samples, in all of which the derivatives are taken.
        kind: what is looked for.
        tolerance: the largest score of inputs that do not interact. What is trained has
            none of exactly 0: its second derivatives err by more than its values.

    Raises:
        ValueError: for samples that are not (n, in), or another kind.
        TypeError: if f does not give a scalar.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import kan
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> f = lambda row: row[0] ** 2 + jnp.sin(row[1] * row[2])
        >>> kan.hypotheses.separability(f, x).groups
        ((0,), (1, 2))
    """
    if kind not in ("sum", "product"):
        raise ValueError(f"kind must be 'sum' or 'product'; got {kind!r}.")
    value, gradient, hessian = _derivatives(f, x)
    if kind == "product":
        pairs = gradient[:, :, None] * gradient[:, None, :]
        hessian = value[:, None, None] * hessian - pairs
        gradient = value[:, None] * gradient
    squares = np.mean(gradient**2, axis=0)
    slopes = np.sqrt(squares + 0.01 * (np.sum(squares) or 1.0))
    scores = np.sqrt(np.mean(hessian**2, axis=0) / np.outer(slopes, slopes))
    np.fill_diagonal(scores, 0.0)
    count, group = scipy.sparse.csgraph.connected_components(scores > tolerance)
    groups = (tuple(np.flatnonzero(group == i).tolist()) for i in range(count))
    return Separability(scores, tuple(groups))


def asymmetry(f: Function, x: Float[ArrayLike, "n in"], group: Sequence[int]) -> float:
    """Return how far f is from depending on some inputs through one number only.

    If f = g(h(x_group), the rest), the gradient in the group points along that of h,
    wherever the rest is. The score is how fast it turns with the rest, in radians, in
    the root mean square weighted by its length: 0 for such a function, 1 and more
    where there is no such h.

    Args:
        f: as for :func:`separability`.
        x: (n, in), samples.
        group: at least two inputs, and not all.

    Raises:
        ValueError: for a group that is none.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import kan
        >>> x = jax.random.normal(jax.random.key(0), (50, 3))
        >>> f = lambda row: jnp.sin(row[0] ** 2 + row[1] ** 2) * row[2]
        >>> kan.hypotheses.asymmetry(f, x, (0, 1)) < 1e-5
        True
        >>> kan.hypotheses.asymmetry(f, x, (0, 2)) > 0.5
        True
    """
    inputs = np.shape(x)[-1] if np.ndim(x) else 0
    rest = np.setdiff1d(np.arange(inputs), group)
    inside = inputs - len(rest)
    if inside != len(group) or inside < 2 or not len(rest):
        raise ValueError(
            f"group must be different inputs from 0 to {inputs - 1}, at least two and "
            f"not all; got {tuple(group)}."
        )
    _, gradient, hessian = _derivatives(f, x)
    along = gradient[:, list(group)]
    square = np.sum(along**2, axis=-1)
    turned = hessian[:, list(group)][:, :, rest]
    # Of its change only what is across to it turns it: |g| du = (1 - u u^T) dg.
    share = np.einsum("ni,nij->nj", along, turned)
    across = (
        turned
        - along[:, :, None]
        * (share / np.where(square > 0, square, 1.0)[:, None])[:, None, :]
    )
    # What does not hang on the group at all has no gradient that could turn.
    length = np.mean(square) or 1.0
    return float(np.sqrt(np.mean(np.sum(across**2, axis=(1, 2))) / length))


def _derivatives(
    f: Function, x: Float[ArrayLike, "n in"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return f, its gradient and its second derivatives at all samples.

    Both are in units of their spread over the samples, so that no power of them
    overflows.
    """
    checks.check_function(f, "f")
    x = checks.as_floating(x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x must be samples, (n, in); got the shape {x.shape}.")
    checks.check_finite(x, "x")
    shape = jax.eval_shape(f, x[0])
    if getattr(shape, "shape", None) != ():
        raise TypeError(
            f"f must give a scalar for a row of {x.shape[1]} inputs; got {shape}. Take "
            "one output, as in lambda row: model.apply(params, row)[0]."
        )
    value, gradient, hessian = (np.asarray(a, float) for a in _at_all(f, x))
    spread = np.std(value) or 1.0
    return value / spread, gradient / spread, hessian / spread


@functools.partial(jax.jit, static_argnums=0)
def _at_all(f: Function, x: Array) -> tuple[Array, Array, Array]:
    center, spread = jnp.mean(x, axis=0), jnp.std(x, axis=0)
    length = jnp.where(spread > 0, spread, 1)

    def at(z: Array) -> tuple[Array, Array, Array]:
        def scaled(z: Array) -> Array:
            return f(center + spread * z)

        return scaled(z), jax.grad(scaled)(z), jax.hessian(scaled)(z)

    return jax.lax.map(at, (x - center[None]) / length[None], batch_size=256)
