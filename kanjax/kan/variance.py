"""The gain that keeps the variance of a layer's values.

Sources: He et al. (2015), arXiv 1502.01852; Yang and Wang (2025), arXiv 2409.10594,
section 4.3 and table 1.
"""

from collections.abc import Callable

from jax import Array
from jaxtyping import Float

from kanjax import gaussian


def gain(
    function: Callable[[Array], Array], *, nodes: int = 100
) -> Float[Array, "*shape"]:
    """``1 / E[function(x)^2]`` for standard normal x.

    Weights of variance ``gain / in`` behind the function keep the variance 1 of its
    inputs. By Gauss-Hermite quadrature, of each of the function's values.

    Example:
        >>> import jax
        >>> round(float(gain(jax.nn.relu)), 4)
        2.0
    """
    return 1 / gaussian.expectation(lambda x: function(x) ** 2, nodes=nodes)
