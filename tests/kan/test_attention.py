"""Learned attention: any basis, heads with a softmax, projections, transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kanjax import bases, kan, nn
from kanjax.kan import attention_transformer as transformer

N, R = 5, 2
WIDE = (-4.0, 4.0)
BASES = (
    bases.BSpline(4, domain=WIDE),
    bases.GaussianRBF(5, domain=WIDE),
    bases.Chebyshev(3, domain=WIDE),
    bases.Rational(form="B"),
    *(
        bases.Wavelet(3, kind, domain=WIDE)
        for kind in ("mexican_hat", "morlet", "dog", "meyer", "shannon")
    ),
)


@pytest.fixture
def logits():
    return jax.random.normal(jax.random.key(3), (2, N, N))


def edges(basis, params, a):
    """Every edge's function on its own, summed by hand: (rows, in) to (rows, out)."""
    if isinstance(basis, bases.Rational):
        above, below = params["numerator"], params["denominator"]
        powers = np.stack([a**i for i in range(6)])
        return sum(
            np.einsum("pm,mk->kp", above[:, q], powers[..., q])
            / (1 + np.abs(np.einsum("pm,mk->kp", below[:, q], powers[1:5, :, q])))
            for q in range(a.shape[1])
        )
    values = [np.asarray(basis.function(g, jnp.asarray(a))) for g in range(basis.size)]
    return sum(v @ np.asarray(c) for v, c in zip(values, params["coef"], strict=True))


@pytest.mark.parametrize("basis", BASES, ids=repr)
def test_every_basis_is_its_sum_over_edges(basis, logits, key):
    operator = kan.AttentionOperator(N, R, basis)
    params = operator.init(key)
    found = operator.apply(params, logits[0])
    hidden = edges(basis, params["functions"], np.asarray(logits[0]))
    expected = hidden @ params["projection"]["kernel"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_scale_at_initialisation(key):
    basis = bases.Fourier(3, frequency=1.0, constant=False)
    wide = kan.AttentionOperator(200, 50, basis)
    assert abs(jnp.std(wide.init(key)["functions"]["coef"]) - 1) < 0.02
    kernel = wide.init(key)["projection"]["kernel"]
    assert abs(jnp.max(jnp.abs(kernel)) - 50**-0.5) < 1e-3
    kept = kan.AttentionOperator(200, 50, basis, coef_std=None)
    expected = (200 * 3) ** -0.5
    found = jnp.std(kept.init(key)["functions"]["coef"])
    assert abs(found / expected - 1) < 0.02


def test_where_rows_are_projected(logits, key):
    def rows(**options):
        operator = kan.AttentionOperator(N, R, **options)
        return operator.init(key), operator.apply(operator.init(key), logits)

    params, plain = rows()
    _, row = rows(simplex="row")
    np.testing.assert_allclose(row, nn.project_simplex(plain), atol=1e-6)
    _, hidden = rows(simplex="hidden")
    functions = kan.KANLayer(N, R, kan.AttentionOperator(N, R).basis, None)
    z = nn.project_simplex(functions.apply(params["functions"], logits))
    np.testing.assert_allclose(hidden, z @ params["projection"]["kernel"], atol=1e-6)


def test_heads_without_an_operator_have_a_softmax(key):
    usual = nn.Attention(8, 4)
    operator = kan.AttentionOperator(N, R)
    x = jax.random.normal(key, (3, N, 8))
    nothing = kan.KANAttention(8, 4, operator, (False,) * 4)
    params = nothing.init(key)
    assert jax.tree.structure(params) == jax.tree.structure(usual.init(key))
    expected = usual.apply(params, x)
    np.testing.assert_allclose(nothing.apply(params, x), expected, atol=1e-5)

    mixed = kan.KANAttention(8, 4, operator, (False, True, False, True))
    everything = kan.KANAttention(8, 4, operator)
    params = everything.init(key)
    chosen = jax.tree.map(lambda leaf: leaf[jnp.array([1, 3])], params["operators"])
    found = mixed.matrices(params | {"operators": chosen}, x)
    learned = everything.matrices(params, x)
    soft = nothing.matrices(params, x)
    for head, source in enumerate((soft, learned, soft, learned)):
        np.testing.assert_allclose(found[:, head], source[:, head], atol=1e-5)
    # By hand, head 2.
    q, k = (
        x @ params[name]["kernel"][:, 4:6] + params[name]["bias"][None, None, 4:6]
        for name in ("query", "key")
    )
    logits = q @ jnp.swapaxes(k, 1, 2) / 2**0.5
    one = jax.tree.map(lambda leaf: leaf[2], params["operators"])
    np.testing.assert_allclose(learned[:, 2], operator.apply(one, logits), atol=1e-4)
    np.testing.assert_allclose(soft[:, 2], jax.nn.softmax(logits), atol=1e-6)


PLAIN = nn.VisionTransformer((4, 4), 2, 1, 3, 8, 2, 2)


@pytest.mark.parametrize("kind", ["softmax", "blockwise", "universal"])
def test_a_network_that_attends_as_itself_is_itself(kind, key):
    net = PLAIN
    if kind != "softmax":
        operator = kan.AttentionOperator(5, 2, coef_std=None)
        net = transformer.with_operators(PLAIN, operator, universal=kind != "blockwise")
    params = net.init(key)
    x = jax.random.normal(key, (3, 4, 4, 1))

    @jax.jit
    def twice(params, x):
        matrices = transformer.attention_matrices(net, params, x)
        again = transformer.apply_with_matrices(net, params, x, matrices)
        return matrices, again, net.apply(params, x)

    matrices, again, y = twice(params, x)
    assert matrices.shape == (2, 3, 2, 5, 5)
    np.testing.assert_allclose(again, y, atol=1e-5)
    if kind == "softmax":
        np.testing.assert_allclose(matrices.sum(-1), 1, atol=1e-5)
    else:
        return
    slope = jax.grad(
        lambda p: jnp.sum(transformer.apply_with_matrices(net, p, x, matrices) ** 2)
    )(params)["blocks"][0]["attention"]
    assert not np.any(slope["query"]["kernel"]) and not np.any(slope["key"]["bias"])
    assert np.any(slope["value"]["kernel"]) and np.any(slope["output"]["kernel"])
    with pytest.raises(ValueError, match="depth 2"):
        transformer.apply_with_matrices(net, params, x, matrices[:1])
    with pytest.raises(ValueError, match=r"must have shape \(3, 2, 5, 5\)"):
        transformer.apply_with_matrices(net, params, x, matrices[..., :4])


def test_spectra_and_maps_of_the_class_token(key):
    matrices = jax.random.normal(key, (3, 7, 7))
    found = transformer.singular_values(matrices)
    expected = np.linalg.svd(np.asarray(matrices), compute_uv=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    product = matrices[..., :2] @ matrices[..., :2, :]
    np.testing.assert_array_equal(transformer.matrix_rank(product), 2)
    maps = transformer.class_token_maps(matrices, (2, 3))
    row = np.maximum(matrices[:, 0, 1:], 0).reshape(3, 2, 3)
    np.testing.assert_array_equal(maps, row)
    with pytest.raises(ValueError, match=r"grid=\(2, 2\) has 4 patches"):
        transformer.class_token_maps(matrices, (2, 2))


def test_sizes_and_options(key):
    net = kan.karat("small", image_size=(32, 32), variant="phi_w", rank=4)
    assert (net.heads, net.features, net.attention.operator.tokens) == (6, 384, 5)
    assert net.attention.operator.variant == "phi_w"
    shared = transformer.SharedOperators(PLAIN)
    with pytest.raises(ValueError, match="must have KANAttention"):
        shared.init(key)


def test_nothing_of_the_size_of_all_edges_is_stored():
    operator = kan.AttentionOperator(64, 12)
    params = operator.init(jax.random.key(0))
    logits = jnp.ones((8192, 64))

    def loss(params, logits):
        return jnp.sum(operator.apply(params, logits) ** 2)

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(params, logits).compile()
    # The six functions' values alone would be six times the logits.
    assert compiled.memory_analysis().temp_size_in_bytes < 6 * logits.nbytes


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: kan.AttentionOperator(0), "tokens must be a positive integer"),
        (lambda: kan.AttentionOperator(4, 0), "rank must be a positive integer"),
        (lambda: kan.AttentionOperator(4, variant="w"), "variant must be one of"),
        (lambda: kan.AttentionOperator(4, None, variant="phi_w"), "rank=None is the"),
        (lambda: kan.AttentionOperator(4, simplex="all"), "simplex must be None or"),
        (lambda: kan.AttentionOperator(4, None, simplex="hidden"), "simplex='hidden'"),
        (lambda: kan.AttentionOperator(4, coef_std=-1.0), "coef_std must be at least"),
        (
            lambda: kan.AttentionOperator(4, 2, bases.Rational(), jnp.tanh).maps,
            "base stands beside an expansion",
        ),
        (
            lambda: kan.KANAttention(8, 3, kan.AttentionOperator(4)),
            "heads=3 does not divide",
        ),
        (
            lambda: kan.KANAttention(8, 2, kan.AttentionOperator(4), (True,)),
            "learned must be None or a tuple of 2",
        ),
    ],
)
def test_wrong_arguments_are_told(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_masks_are_refused(key):
    attention = kan.KANAttention(8, 2, kan.AttentionOperator(4, 2))
    params = attention.init(key)
    with pytest.raises(ValueError, match="mask must be None"):
        attention.apply(params, jnp.ones((4, 8)), mask=jnp.ones((4, 4), bool))
    with pytest.raises(ValueError, match=r"x must have shape \(..., tokens, 8\)"):
        attention.apply(params, jnp.ones((4, 7)))
