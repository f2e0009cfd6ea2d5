"""Where in an image a classifier finds its class.

Selvaraju et al. (2017), "Grad-CAM: visual explanations from deep networks via
gradient-based localization", arXiv 1610.02391.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def grad_cam(
    head: Callable[[Array], Array],
    features: Float[Array, "batch height width channels"],
    classes: Int[Array, " batch"] | None = None,
) -> Float[Array, "batch height width"]:
    """Weigh channels by how much a class depends on them, and keep what speaks for it.

    ``relu(sum_c a_c A_c)``, with a_c the mean over pixels of the slope of the class'
    logit in channel c of the features A (equations 1 and 2).

    Args:
        head: the rest of the network, from features to logits (batch, classes), each
            example by itself.
        features: (batch, height, width, channels), values inside the network.
        classes: (batch,) integers; None is the class of the largest logit.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> head = lambda a: jnp.mean(a, axis=(1, 2)) @ jnp.eye(2)
        >>> features = jnp.zeros((1, 2, 2, 2)).at[0, 0, 1, 1].set(8.0)
        >>> grad_cam(head, features)
        Array([[[0., 2.],
                [0., 0.]]], dtype=float32)
    """
    logits, pull = jax.vjp(head, features)
    chosen = jnp.argmax(logits, axis=-1) if classes is None else classes
    (slopes,) = pull(jax.nn.one_hot(chosen, logits.shape[-1], dtype=logits.dtype))
    weights = jnp.mean(slopes, axis=(1, 2), keepdims=True)
    return jax.nn.relu(jnp.sum(weights * features, axis=-1))
