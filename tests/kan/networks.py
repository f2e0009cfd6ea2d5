"""Networks of more than one test file."""

import jax

from kanjax import kan


def products_of_formulas(key):
    """Formulas, a product, scales and shifts, all of them away from their start."""
    net = kan.KAN(
        (2, 2, 1),
        None,
        products=(1, 0),
        affine=True,
        formulas=(
            ((0, 0, "sin"), (1, 1, "x"), (0, 2, "x^2")),
            ((0, 0, "x"), (1, 0, "exp")),
        ),
    )
    noise = iter(jax.random.split(key, 20))
    return net, jax.tree.map(
        lambda p: p + 0.3 * jax.random.normal(next(noise), p.shape), net.init(key)
    )
