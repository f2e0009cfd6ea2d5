"""The infinite-width kernels against closed forms and wide random networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kanjax import gaussian, kan, model, nn, ntk

RELU = nn.Activation(jax.nn.relu)
NTK = {"parameterization": "ntk"}

GRAPHS = jnp.array(
    [
        [[1.0, 1.0, 0.0], [0.5, 1.0, 0.5], [0.0, 1.0, 1.0]],
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]],
        [[0.0, 1.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
    ]
)


def serial(*layers):
    return model.Sequential(layers)


def dense(inputs, outputs, **options):
    return nn.Dense(inputs, outputs, kernel_scale=1.3, bias_scale=0.4, **options)


def vectors(n=4, features=5):
    return jax.random.normal(jax.random.key(7), (n, features))


def images(n=3, size=4, channels=3):
    return jax.random.normal(jax.random.key(7), (n, size, size, channels))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_deep_linear_network_has_depth_times_the_covariance(depth, x64):
    x = vectors()
    layers = [nn.Dense(5 if i == 0 else 8, 8, **NTK) for i in range(depth)]
    kernel = ntk.infinite(serial(*layers))(x)
    np.testing.assert_allclose(kernel.nngp, x @ x.T / 5, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, depth * x @ x.T / 5, rtol=1e-12, atol=1e-12)


def test_one_hidden_layer_of_relu_is_the_arc_cosine_kernel(x64):
    x = vectors()
    kernel = ntk.infinite(nn.MLP((5, 64, 1), parameterization="ntk"))(x)
    norms = np.linalg.norm(x, axis=1)
    cosine = np.clip(x @ x.T / np.outer(norms, norms), -1, 1)
    angle = np.arccos(cosine)
    np.fill_diagonal(angle, 0)
    size = np.outer(norms, norms) / 5
    nngp = size / np.pi * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) * 2
    slope = (np.pi - angle) / np.pi
    np.testing.assert_allclose(kernel.nngp, nngp, rtol=1e-6)
    expected = nngp + slope * (x @ x.T / 5) * 2
    np.testing.assert_allclose(kernel.ntk, expected, rtol=1e-6, atol=1e-6)


WIDE = {
    "standard mlp": (
        nn.MLP((5, 256, 256, 1), jnp.tanh, kernel_scale=1.3, bias_scale=0.2),
        vectors,
    ),
    "trained norms": (
        serial(
            dense(5, 256, **NTK),
            nn.LayerNorm(256),
            nn.Activation(jnp.tanh),
            dense(256, 256, **NTK),
            nn.RMSNorm(256),
            RELU,
            nn.RMSNorm(256),
            dense(256, 1, **NTK),
        ),
        vectors,
    ),
    "residual": (
        serial(
            dense(5, 256, **NTK),
            model.Residual(serial(RELU, dense(256, 256, **NTK))),
            RELU,
            dense(256, 1, **NTK),
        ),
        vectors,
    ),
    "elu": (
        serial(dense(5, 256, **NTK), nn.Activation(jax.nn.elu), dense(256, 1, **NTK)),
        vectors,
    ),
    "normalised exponential": (
        serial(
            dense(5, 256, **NTK),
            nn.NormalizedExponential(0.5, -0.6),
            dense(256, 256, **NTK),
            nn.NormalizedExponential(0.3),
            dense(256, 1, **NTK),
        ),
        vectors,
    ),
    "concatenation and product": (
        serial(
            model.Concatenate(
                (
                    dense(5, 256, **NTK),
                    serial(dense(5, 64, **NTK), RELU, dense(64, 256, **NTK)),
                )
            ),
            dense(512, 256, **NTK),
            model.Product((dense(256, 256, **NTK), dense(256, 256, **NTK))),
            dense(256, 1, **NTK),
        ),
        vectors,
    ),
    "dilated circular conv": (
        serial(
            nn.Conv(3, 128, (2, 3), padding="CIRCULAR", dilation=(2, 1), **NTK),
            RELU,
            nn.Conv(128, 128, (3, 2), strides=2, padding=((1, 1), (0, 1)), **NTK),
            RELU,
            nn.GlobalPool(2),
            dense(128, 1, **NTK),
        ),
        images,
    ),
    "standard conv": (
        serial(
            nn.Conv(3, 128, (3, 3)),
            RELU,
            nn.Conv(128, 128, (3, 3), padding="VALID"),
            RELU,
            nn.Flatten(2),
            nn.Dense(512, 1),
        ),
        images,
    ),
    "attention": (
        serial(
            nn.TiedAttention(5, 256, 4, 64, 2.0, 1.2, 0.3, spatial=2),
            RELU,
            nn.GlobalPool(2),
            dense(256, 1, **NTK),
        ),
        lambda: vectors(12).reshape(3, 2, 2, 5),
    ),
    "positions": (
        serial(
            nn.Conv(3, 128, (3, 3), strides=2, **NTK),
            nn.Resize((3, 2), "cubic"),
            RELU,
            nn.LinearAttention(
                128,
                128,
                32,
                16,
                0.8,
                1.1,
                0.2,
                nn.Positions((3, 2), 128),
                spatial=2,
            ),
            nn.Einsum("hw,kh->wk", jnp.array([[1.0, -0.5, 0.3], [0.2, 0.1, 1.0]])),
            nn.Index((1, (None, None, -1))),
            model.Residual(nn.Positions((2,), 128, 0.7, 0.5 + 0.5 * jnp.eye(2))),
            nn.Flatten(1),
            dense(256, 1, **NTK),
        ),
        images,
    ),
    "graph": (
        nn.GraphNetwork(
            serial(
                nn.Aggregate(),
                dense(5, 256, **NTK),
                RELU,
                nn.Aggregate(jnp.array([[1.0, 1.0, 0.0], [0.5, 1.0, 0.5], [0, 1, 1]])),
                nn.GlobalPool(1),
                dense(256, 1, **NTK),
            )
        ),
        lambda: (vectors(9).reshape(3, 3, 5), GRAPHS),
    ),
    "embedding": (
        serial(
            nn.Embedding(4, 256),
            dense(256, 256, **NTK),
            RELU,
            nn.GlobalPool(1),
            dense(256, 1, **NTK),
        ),
        lambda: jnp.array([[0, 1, 2], [0, 1, 3], [2, 2, 2]]),
    ),
}


@pytest.mark.numerical
@pytest.mark.parametrize("name", WIDE)
def test_equals_the_mean_over_wide_random_networks(name):
    """The error of the mean is estimated from the draws themselves."""
    net, data = WIDE[name]
    x = data()
    kernel, draws = ntk.infinite(net)(x), 12

    def draw(key):
        return ntk.empirical(net.apply, net.init(key), x, method="jacobian")

    thetas = jax.lax.map(draw, jax.random.split(jax.random.key(3), draws))
    error = np.std(thetas, axis=0) / np.sqrt(draws)
    size = float(jnp.max(jnp.abs(kernel.ntk)))
    off = np.abs(np.mean(thetas, axis=0) - kernel.ntk)
    assert np.all(off < 4 * error + 0.01 * size)
    assert np.max(error) < 0.1 * size


@pytest.mark.numerical
@pytest.mark.parametrize("name", ["attention", "graph"])
def test_nngp_is_the_covariance_of_outputs(name):
    net, data = WIDE[name]
    x, draws = data(), 200
    keys = jax.random.split(jax.random.key(3), draws)
    outputs = jax.lax.map(lambda key: net.apply(net.init(key), x)[:, 0], keys)
    nngp = np.asarray(ntk.infinite(net)(x).nngp)
    # The standard error of a Gaussian's empirical covariance.
    error = np.sqrt((np.outer(np.diag(nngp), np.diag(nngp)) + nngp**2) / draws)
    assert np.all(np.abs(outputs.T @ outputs / draws - nngp) < 4 * error)


@pytest.mark.numerical
def test_edges_are_the_same_graph_as_a_matrix(x64):
    """And both in blocks, on the diagonal, with masks, and with their gradients."""
    net, x = WIDE["graph"][0], vectors(9).reshape(3, 3, 5)
    ends = np.nonzero(np.ones((3, 3)))
    senders, receivers = (jnp.broadcast_to(e, (3, 9)) for e in ends)
    weights = jnp.swapaxes(GRAPHS, 1, 2).reshape(3, 9)
    edges = nn.Edges(senders, receivers, weights)
    kernel = ntk.infinite(net)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-9)
    whole = kernel((x, GRAPHS))
    close(kernel((x, edges)).ntk, whole.ntk)
    first = x[:2], GRAPHS[:2]
    close(kernel((x, edges), first, batch_size=2).ntk, whole.ntk[:, :2])
    close(kernel((x, GRAPHS), diagonal=True).ntk, np.diag(whole.ntk))
    product = ntk.rows_product(kernel, (x, edges), batch_size=2)
    close(product(jnp.arange(3.0)), whole.ntk @ jnp.arange(3.0))
    # Without the edges to it a node that is masked is as one that is not there.
    mask = jnp.ones((3, 3), bool).at[1, 2].set(False)
    masked = kernel((x, GRAPHS), mask1=mask).ntk
    lone = model.Sequential(net.network.layers[:3] + net.network.layers[4:])
    alone = ntk.infinite(nn.GraphNetwork(lone))
    pair = x[1:2, :2], GRAPHS[1:2, :2, :2]
    close(alone((x, GRAPHS), mask1=mask).ntk[1, 1], alone(pair).ntk[0, 0])
    assert masked[1, 1] != whole.ntk[1, 1]
    # Of new nodes, those that take anything are there.
    fewer = GRAPHS[0, :2]
    found, expected = (
        ntk.infinite(serial(layer, nn.GlobalPool(1), dense(5, 1, **NTK)))(x, mask1=mask)
        for layer in (nn.Aggregate(fewer), nn.Einsum("n,mn->m", fewer))
    )
    close(found.ntk, expected.ntk)

    def total(weights):
        return jnp.sum(jnp.sin(kernel((x, nn.Edges(senders, receivers, weights))).ntk))

    slope = jax.grad(lambda g: jnp.sum(jnp.sin(kernel((x, g)).ntk)))(GRAPHS)
    close(jax.grad(total)(weights), jnp.swapaxes(slope, 1, 2).reshape(3, 9))


def test_behind_a_norm_the_normalized_exponential_is_an_exponential(x64):
    """Closed forms of all shares against quadrature, that of trained scales as well."""
    gamma, shift = 0.6, -0.3
    plain = gaussian.Exponential(np.exp(gamma * (shift - 1) / 2), gamma**0.5)

    def kernels(layer):
        norm = nn.RMSNorm(8, eps=1e-12)
        net = serial(dense(5, 8, **NTK), norm, layer, dense(8, 1, **NTK))
        return ntk.infinite(net)(vectors())

    found = kernels(nn.NormalizedExponential(gamma, shift))
    expected = kernels(nn.Activation(plain))
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-10)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-8)


@pytest.mark.numerical
def test_what_a_mask_leaves_out_might_as_well_not_be_there(x64):
    net = serial(
        nn.Conv(3, 8, (3,), **NTK),
        RELU,
        nn.TiedAttention(8, 8, bias_scale=0.2, weights=jnp.abs),
        RELU,
        nn.TiedAttention(8, 8),
        nn.GlobalPool(1),
        dense(8, 1, **NTK),
    )
    x, lengths = images(3).reshape(3, 16, 3)[:, :6], jnp.array([6, 4, 2])
    mask = jnp.arange(6)[None] < lengths[:, None]
    kernel = ntk.infinite(net)
    found = kernel(jnp.where(mask[..., None], x, jnp.nan), mask1=mask)
    for i, n in enumerate(lengths):
        alone = kernel(x[i : i + 1, :n])
        np.testing.assert_allclose(found.ntk[i, i], alone.ntk[0, 0], rtol=1e-10)
        np.testing.assert_allclose(found.nngp[i, i], alone.nngp[0, 0], rtol=1e-10)
    parts = kernel(x, x[:2], mask1=mask, mask2=mask[:2], batch_size=2)
    np.testing.assert_allclose(parts.ntk, found.ntk[:, :2], rtol=1e-7)
    pairs = kernel(x, mask1=mask, diagonal=True)
    np.testing.assert_allclose(pairs.ntk, np.diag(found.ntk), rtol=1e-7)
    nothing = kernel(x, mask1=jnp.zeros_like(mask))
    np.testing.assert_allclose(nothing.nngp, 0.16)


def test_dropout_acts_on_an_example_with_itself_only(x64):
    net = serial(dense(5, 64, **NTK), RELU, nn.Dropout(0.5), dense(64, 1, **NTK))
    x = vectors()
    without, dropped = ntk.infinite(net)(x), ntk.infinite(net, dropout=True)(x)
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_array_equal(np.asarray(dropped.ntk)[off], without.ntk[off])
    expected = 2 * (np.diag(without.nngp) - 0.16) + 0.16
    np.testing.assert_allclose(np.diag(dropped.nngp), expected)
    other = ntk.infinite(net, dropout=True)(x, x)
    np.testing.assert_allclose(other.ntk, without.ntk, rtol=1e-6)
    one = ntk.infinite(net, dropout=True)(x, diagonal=True)
    np.testing.assert_allclose(one.nngp, np.diag(dropped.nngp))


NETS = {
    "mlp": (nn.MLP((5, 8, 8, 1), jnp.tanh, "ntk"), vectors(7)),
    "conv": (
        serial(nn.Conv(3, 8, (3, 3)), RELU, nn.GlobalPool(2), nn.Dense(8, 1)),
        images(5),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_blocks_and_diagonals_are_parts_of_the_whole(name, x64):
    net, x = NETS[name]
    x = x.astype(jnp.float64)
    kernel = ntk.infinite(net)
    whole, cross = kernel(x), kernel(x, x[:3])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-7, atol=1e-9)
    for field in ("nngp", "ntk"):
        full, part = getattr(whole, field), getattr(cross, field)
        np.testing.assert_array_equal(full, full.T)
        close(part, full[:, :3])
        close(getattr(kernel(x, batch_size=2), field), full)
        close(getattr(kernel(x, x[:3], batch_size=2), field), part)
        for batch_size in (None, 2):
            found = kernel(x, diagonal=True, batch_size=batch_size)
            close(getattr(found, field), np.diag(full))
        pairs = kernel(x, x[::-1], diagonal=True)
        close(getattr(pairs, field), np.diag(full[:, ::-1]))
    assert np.linalg.eigvalsh(whole.ntk)[0] > 0


def test_large_symmetric_kernels_are_computed_by_halves():
    x = vectors(1101)
    kernel = ntk.infinite(nn.MLP((5, 8, 1), parameterization="ntk"))
    whole = kernel(x)
    np.testing.assert_array_equal(whole.ntk, whole.ntk.T)
    np.testing.assert_allclose(whole.ntk[:9], kernel(x[:9], x).ntk, rtol=2e-3)


def test_jit_vmap_and_grad(x64):
    kernel = ntk.infinite(nn.MLP((5, 8, 1), gaussian.Erf(), "ntk", bias_scale=0.1))
    x = vectors(4)
    alone = kernel(x[:2], x[2:]).ntk
    np.testing.assert_allclose(jax.jit(kernel)(x[:2], x[2:]).ntk, alone)
    sets = x.reshape(2, 2, 5)
    together = jax.vmap(kernel)(sets)
    np.testing.assert_allclose(together.ntk[1], kernel(sets[1]).ntk)
    total = lambda x: jnp.sum(jnp.sin(kernel(x).ntk))  # noqa: E731
    direction = jnp.ones_like(x)
    step = 1e-5
    slope = (total(x + step * direction) - total(x - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(jax.grad(total)(x)), slope, rtol=1e-6)


def test_gradients_are_finite_for_relu_where_an_example_meets_itself():
    kernel = ntk.infinite(nn.MLP((5, 8, 8, 1), parameterization="ntk"))
    gradient = jax.grad(lambda x: jnp.sum(kernel(x).ntk))(vectors())
    assert jnp.all(jnp.isfinite(gradient))


def test_rows_spread_over_a_mesh_stay_there():
    mesh = Mesh(jax.devices()[:4], ("rows",))
    rows = NamedSharding(mesh, PartitionSpec("rows"))
    x = vectors(8)
    kernel = ntk.infinite(nn.MLP((5, 8, 1), parameterization="ntk"))
    spread = kernel(jax.device_put(x, rows), x[:3])
    assert spread.ntk.sharding.is_equivalent_to(rows, 2)
    expected = kernel(x, x[:3])
    np.testing.assert_allclose(spread.ntk, expected.ntk, rtol=1e-5, atol=1e-6)
    again = kernel(x, x[:3], mesh=mesh, batch_size=1)
    assert again.ntk.sharding.is_equivalent_to(rows, 2)
    np.testing.assert_allclose(again.ntk, expected.ntk, rtol=1e-5, atol=1e-6)
    whole = kernel(x[:7], mesh=mesh)
    np.testing.assert_array_equal(whole.ntk, whole.ntk.T)
    np.testing.assert_allclose(whole.ntk, kernel(x[:7]).ntk, rtol=1e-5, atol=1e-6)


@model.dataclass
class Double:
    """A layer of a user's own."""

    factor: float = 2.0

    def init(self, key):
        return ()

    def apply(self, params, x, *, key=None):
        return self.factor * x


def test_rules_of_ones_own(x64):
    net = serial(dense(5, 8, **NTK), Double(3.0), RELU, dense(8, 1, **NTK))
    x = vectors()
    with pytest.raises(ValueError, match=r"no infinite-width rule for Double\(3.0\)"):
        ntk.infinite(net)(x)

    def scale(layer, k, propagate):
        return k.map(lambda c: layer.factor**2 * c)

    found = ntk.infinite(net, rules={Double: ntk.Rule(scale)})(x)
    plain = serial(dense(5, 8, **NTK), nn.Activation(gaussian.ABReLU(0.0, 3.0)))
    same = ntk.infinite(serial(*plain.layers, dense(8, 1, **NTK)))(x)
    np.testing.assert_allclose(found, same, rtol=1e-12)


def test_bad_input_is_named(monkeypatch):
    x, flat = images(), dense(3, 1)
    raises = functools.partial(pytest.raises, ValueError)
    with raises(match="nn.TiedAttention has one"):
        ntk.infinite(serial(nn.Attention(5, 1), nn.GlobalPool(1)))(x[:, 0])
    with raises(match="outputs have 2 spatial axes; end it with Flatten"):
        ntk.infinite(flat)(x)
    with raises(match="for values with 1 spatial axes; here they have 2"):
        ntk.infinite(serial(nn.Conv(3, 4, (3,)), nn.GlobalPool(1), flat))(x)
    with raises(match="not Gaussian: put a layer with weights before"):
        ntk.infinite(serial(RELU, flat))(x[:, 0, 0])
    with raises(match="mean is not zero"):
        ntk.infinite(serial(flat, RELU, nn.LayerNorm(3)))(x[:, 0, 0])
    with raises(match="two branches that do not end in a layer with weights"):
        ntk.infinite(model.Residual(nn.Dropout(0.5)))(x[:, 0, 0])
    with raises(match="groups=1 only"):
        net = serial(nn.Conv(3, 6, (3, 3), groups=3), nn.GlobalPool(2))
        ntk.infinite(net)(x)
    with raises(match="not Gaussian: put a layer with weights before"):
        ntk.infinite(serial(nn.NormalizedExponential(), flat))(x[:, 0, 0])
    bare = serial(nn.Aggregate(), flat, nn.GlobalPool(1))
    with raises(match=r"Aggregate\(\) has no graph: give it weights"):
        ntk.infinite(bare)(x[:, 0])
    graphs = ntk.infinite(nn.GraphNetwork(bare))
    with raises(match=r"x1 must be a pair \(x, graph\) for a nn.GraphNetwork"):
        graphs(x[:, 0])
    with raises(match=r"an array for any other model; got tuple"):
        ntk.infinite(bare)((x[:, 0], GRAPHS))
    with raises(match=r"graph of \[\(3, 3, 3\)\]; .* has the shape \(3, 4, 4\)"):
        graphs((x[:, 0], GRAPHS))
    with raises(match=r"has a graph for each example: use Aggregate\(\)"):
        ntk.infinite(serial(nn.Aggregate(jnp.ones((3, 4, 4))), flat))(x[:, 0])
    kernel = ntk.infinite(flat)
    with raises(match=r"mask1 is bool\(2,\); .* of its data, here \(2,\)"):
        kernel(jnp.ones((2, 3)), mask1=jnp.ones(2, bool))
    with raises(match="without it give mask1 alone"):
        kernel(jnp.ones((2, 4, 3)), mask2=jnp.ones((2, 4), bool))
    with raises(match=r"x1 has shape \(4,\).*x1\[:, None\]"):
        kernel(jnp.ones(4))
    with raises(match=r"x2 is float32\(3, 4\)"):
        kernel(jnp.ones((2, 3)), jnp.ones((3, 4)))
    with raises(match="diagonal=True takes pairs"):
        kernel(jnp.ones((2, 3)), jnp.ones((3, 3)), diagonal=True)
    with raises(match="batch_size is 0"):
        kernel(jnp.ones((2, 3)), batch_size=0)
    with raises(match=r"GiB, and this machine has .* Give batch_size="):
        pooled = serial(nn.Conv(3, 4, (3, 3)), RELU, nn.GlobalPool(2), flat)
        large = jax.ShapeDtypeStruct((10**4, 64, 64, 3), jnp.float32)
        jax.eval_shape(lambda x: ntk.infinite(pooled)(x, batch_size=5000), large)
    with raises(match=r"kernels of 10000000 by 10000000 .*GiB.*rows_product"):
        jax.eval_shape(kernel, jax.ShapeDtypeStruct((10**7, 3), jnp.float32))


@pytest.mark.parametrize(
    "net, shape",
    [
        (nn.MLP((4, 8, 2)), (5, 3)),
        (model.Sequential((nn.Conv(3, 8, (3,)), nn.GlobalPool(1))), (5, 6, 4)),
        (model.Sequential((nn.Dense(4, 8), nn.LayerNorm(6), nn.Dense(6, 2))), (5, 4)),
        (kan.KAN((4, 8, 2)), (5, 3)),
        (model.Sequential((nn.Dense(4, 8), nn.Dense(7, 2))), (5, 4)),
        (model.Sequential((nn.Flatten(1), nn.Dense(12, 2))), (5, 4, 2)),
    ],
)
def test_data_that_the_finite_network_refuses_are_refused(net, shape):
    with pytest.raises(ValueError, match="which the model does not take"):
        ntk.infinite(net)(jnp.ones(shape))
