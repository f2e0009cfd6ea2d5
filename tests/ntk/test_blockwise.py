"""Blocks and parts put together what is computed apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax.ntk import blockwise


def kernel(x1: jax.Array, x2: jax.Array, same: bool) -> dict[str, jax.Array]:
    """(rows, columns), and (rows, columns, 2, 2), mirrored in both pairs of axes."""
    product = x1[:, None, :, None] * x2[None, :, None, :]
    return {"trace": jnp.tanh(x1 @ x2.T), "full": product}


@pytest.mark.parametrize("sizes, parts", [((7, 5), (3, 2)), ((6, 4), (3, 4))])
def test_a_rectangle_of_blocks_is_the_whole(sizes, parts):
    rng = np.random.default_rng(0)
    x1, x2 = (jnp.asarray(rng.normal(size=(n, 2)), jnp.float32) for n in sizes)
    found = blockwise.rectangle(kernel, x1, x2, sizes, parts)
    expected = kernel(x1, x2, False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), found, expected)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("size, block", [(8, 3), (7, 4), (6, 3), (5, 4)])
def test_mirrored_blocks_are_the_whole_and_symmetric(size, block, separate):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(size, 2)), jnp.float32)
    found = blockwise.symmetric(kernel, x, size, block, separate_diagonal=separate)
    expected = kernel(x, x, True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6), found, expected)
    np.testing.assert_array_equal(found["trace"], found["trace"].T)
    turned = jnp.transpose(found["full"], (1, 0, 3, 2))
    np.testing.assert_array_equal(found["full"], turned)


SHAPES = [
    ((4, 4), (4, 4)),
    ((13, 1), (1, 11)),
    ((1, 1, 9, 7), (1, 1, 9, 7)),
    ((3, 1, 6), (3, 5, 6)),
    ((2, 1, 40), (2, 3, 1)),
]


@pytest.mark.parametrize("shapes", SHAPES)
def test_parts_give_what_the_function_gives(shapes, monkeypatch):
    monkeypatch.setattr(blockwise, "_PART", 8)
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes]

    def function(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
        return a * b, jnp.sin(a) + b

    found = blockwise.in_parts(function, *arrays)
    for one, exact in zip(found, function(*arrays), strict=True):
        np.testing.assert_allclose(one, exact, rtol=1e-6)
    jaxpr = str(jax.make_jaxpr(lambda *a: blockwise.in_parts(function, *a))(*arrays))
    assert ("scan" in jaxpr) == (found[0].size >= 16)


def test_even_blocks():
    assert [blockwise.even(n, 256) for n in (1, 256, 257, 1000)] == [1, 256, 129, 250]
