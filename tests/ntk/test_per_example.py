"""What layers ask of each example by itself is computed once for all of its pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import model, nn, ntk
from kanjax.ntk import infinite_width

NTK = {"parameterization": "ntk", "bias_scale": 0.2}
RELU = nn.Activation(jax.nn.relu)


@model.dataclass
class OverSize:
    """Values over the size of the largest of an example's, as no layer here does."""

    def init(self, key):
        return ()

    def apply(self, params, x, *, key=None):
        return x


def over_size(seen):
    def rule(layer, k, propagate):
        def size(own):
            seen.append(own.examples)
            q = own.equal_positions().nngp
            return jnp.sqrt(jnp.max(q, axis=tuple(range(1, q.ndim)), keepdims=True))

        first, second = k.each(size)
        scale = (first * second).reshape(*k.nngp.shape[: k.examples], 1, 1)
        return k.map(lambda c: c / scale)

    return {OverSize: ntk.Rule(rule)}


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_rule_asks_of_each_example_by_itself(repeats, x64):
    """Layers in a loop, too: notes of all its steps are found again in the same."""
    conv = nn.Conv(4, 4, (3,), **NTK)
    layers = (conv, RELU, OverSize()) * repeats
    net = model.Sequential((*layers, nn.GlobalPool(1), nn.Dense(4, 1, **NTK)))
    seen: list[int] = []
    x = np.random.default_rng(0).normal(size=(5, 6, 4))
    kernel = ntk.infinite(net, rules=over_size(seen))
    found = kernel(x, batch_size=2)
    assert set(seen) == {1}
    assert len(seen) < 12
    exact = by_hand(x, repeats)
    np.testing.assert_allclose(found.nngp, exact, rtol=1e-10)
    np.testing.assert_allclose(kernel(x[:2], x[1:]).nngp, exact[:2, 1:], rtol=1e-10)
    pairs = kernel(x, x[::-1], diagonal=True, batch_size=3).nngp
    np.testing.assert_allclose(pairs, np.diag(exact[:, ::-1]), rtol=1e-10)


def by_hand(x: np.ndarray, repeats: int) -> np.ndarray:
    n, size, channels = x.shape
    k = np.einsum("nsc,mtc->nmst", x, x) / channels
    for _ in range(repeats):
        padded = np.pad(k, ((0, 0), (0, 0), (1, 1), (1, 1)))
        shifted = [padded[:, :, d : d + size, d : d + size] for d in range(3)]
        k = sum(shifted) / 3 + 0.04
        q = np.einsum("nnss->ns", k)
        root = np.sqrt(q[:, None, :, None] * q[None, :, None, :])
        cosine = np.clip(k / root, -1, 1)
        angle = np.arccos(cosine)
        k = root * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi)
        scale = np.sqrt(np.einsum("nnss->ns", k).max(1))
        k = k / (scale[:, None] * scale)[..., None, None]
    return k.mean((2, 3)) + 0.04


def test_attention_beyond_the_memory_is_computed_anew_for_each_block(monkeypatch, x64):
    """Where each token looks grows with the square of their number."""
    attention = nn.TiedAttention(4, 4, bias_scale=0.2)
    layers = (nn.Dense(4, 4, **NTK), RELU, attention, RELU, attention)
    net = model.Sequential((*layers, nn.Flatten(1), nn.Dense(36, 1, **NTK)))
    x = np.random.default_rng(1).normal(size=(5, 9, 4))
    results, growth = [], []
    for most in (infinite_width._NOTES, 0):
        monkeypatch.setattr(infinite_width, "_NOTES", most)
        results.append(ntk.infinite(net)(x, batch_size=1))
        growth.append(memory(net, 24) - memory(net, 8))
    np.testing.assert_allclose(*results, rtol=1e-12)
    one_more = 2 * 9**2 * 8  # Both attentions, in bytes.
    assert growth[1] < 8 * one_more < 16 * one_more <= growth[0]


def memory(net: model.Sequential, n: int) -> int:
    kernel = jax.jit(lambda x: ntk.infinite(net)(x, batch_size=1))
    compiled = kernel.lower(jnp.zeros((n, 9, 4))).compile()
    return compiled.memory_analysis().temp_size_in_bytes
