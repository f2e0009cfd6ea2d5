import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import nn


@pytest.mark.parametrize(
    ("subscripts", "shape"),
    [
        ("hw,hw->", (3, 2)),
        ("hw,hw->h", (3, 2)),
        ("hw,kh->wk", (4, 3)),
        ("hw,hwkl->klh", (3, 2, 1, 2)),
        ("hw,->wh", ()),
    ],
)
def test_equals_numpys(subscripts, shape, key):
    weights, x = jax.random.normal(key, shape), jax.random.normal(key, (5, 3, 2, 4))
    found = nn.Einsum(subscripts, weights).apply((), x)
    inputs, after = subscripts.split("->")
    before, of_weights = inputs.split(",")
    expected = np.einsum(f"n{before}c,{of_weights}->n{after}c", x, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("subscripts", ["hw", "hh,h->h", "h,k->h", "h,h->k", "H,h->"])
def test_bad_subscripts_are_named(subscripts):
    with pytest.raises(ValueError, match="must be of the form 'hw,kh->kw'"):
        nn.Einsum(subscripts, jnp.ones(3))


def test_what_does_not_fit_is_named():
    layer = nn.Einsum("hw,kh->kw", jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"x must be \(..., h, w, channels\)"):
        layer.apply((), jnp.ones((5, 2, 3, 4)))
    with pytest.raises(ValueError, match=r"x has shape \(3, 4\) and weights \(2, 3\)"):
        layer.apply((), jnp.ones((3, 4)))
