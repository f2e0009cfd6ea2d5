"""How far the best member is pruned."""

import jax

from kanjax import data, kan, training
from kanjax.study import analysis


def test_pruning_goes_as_far_as_the_validation_loss_lets_it(key):
    x = jax.random.uniform(key, (60, 3), minval=-1, maxval=1)
    net = kan.KAN((3, 3, 1))
    params = net.init(key)
    # An input that hardly matters beside two that do.
    params[0]["residual"] = params[0]["residual"].at[2].multiply(0.02)
    params[0]["coef"] = params[0]["coef"].at[:, 2].multiply(0.02)
    y = net.apply(params, x) + 0.006 * jax.random.normal(key, (60, 1))
    rows = data.Examples(x, y)
    loss, scores = training.regression, kan.attribute(net, params, x)

    def pruned_loss(threshold):
        small = kan.prune(
            net, params, x, node_threshold=threshold / 3, edge_threshold=threshold
        )
        return float(loss(small.model.apply)(small.params, rows, None)[0])

    most = analysis.WORSE * float(loss(net.apply)(params, rows, None)[0])
    allowed = [t for t in analysis.THRESHOLDS if pruned_loss(t) <= most]
    found = analysis.edge_threshold(net, params, scores, "regression", rows)
    assert found == (allowed[0] if allowed else 0.0)
    assert 0 < found < analysis.THRESHOLDS[0]
    # Without any room nothing goes.
    exact = data.Examples(x, net.apply(params, x))
    none = analysis.edge_threshold(net, params, scores, "regression", exact)
    left = kan.prune(net, params, x, node_threshold=none / 3, edge_threshold=none)
    assert left.edges_left == 12
