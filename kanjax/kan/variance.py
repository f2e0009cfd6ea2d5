"""The gain that keeps the variance of a layer's values.

Sources: He et al. (2015), arXiv 1502.01852; Yang and Wang (2025), arXiv 2409.10594,
section 4.3 and table 1.
"""

import warnings
from collections.abc import Callable

import jax.core
from jax import Array
from jaxtyping import Float

from kanjax import gaussian


def gain(
    function: Callable[[Array], Array], *, tolerance: float | None = None
) -> Float[Array, "*shape"]:
    """``1 / E[function(x)^2]`` for standard normal x.

    Weights of variance ``gain / in`` behind the function keep the variance 1 of its
    inputs. By adaptive quadrature, of each of the function's values, which may have
    kinks anywhere.

    Args:
        function: of x (points,), to (points, *shape).
        tolerance: of the relative error; see ``gaussian.adaptive_expectation``.

    Warns:
        UserWarning: if the estimated error is larger.

    Examples:
        >>> import jax
        >>> round(float(gain(jax.nn.relu)), 4)
        2.0
    """
    power = gaussian.adaptive_expectation(
        lambda x: function(x) ** 2, tolerance=tolerance
    )
    met = power.converged
    if not isinstance(met, jax.core.Tracer) and not met:
        warnings.warn(
            f"the gain of {function!r} has an estimated error of "
            f"{float((power.error / power.value).max()):.1g} of its size. Is the "
            "function finite and made of few smooth pieces?",
            stacklevel=2,
        )
    return 1 / power.value
