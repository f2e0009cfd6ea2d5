"""What each layer does to the covariances of its values as width goes to infinity.

Jacot, Gabriel, Hongler 2018, arXiv 1806.07572, proposition 1 and theorem 1 (dense);
Sohl-Dickstein, Novak, Schoenholz, Lee 2020, arXiv 2001.07301 (the standard
parameterization); Novak et al. 2020, arXiv 1912.02803, appendix E (the other layers).
"""

import difflib
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import gaussian, model, nn
from kanjax.gaussian import Dual
from kanjax.ntk import expansion_rule, scan_layers
from kanjax.ntk.covariances import Covariances

Propagate = Callable[..., Covariances]
"""``propagate(layer, covariances)`` through a layer inside the layer at hand.

With ``pairs=True`` the covariances of all pairs of positions come out, though nothing
behind the layer at hand needs them.
"""


def _as_later(layer: Any, later: bool, needs: Callable[[Any, bool], bool]) -> bool:
    return later


class Rule(NamedTuple):
    """How a class of layers acts at infinite width.

    Attributes:
        propagate: ``(layer, covariances, propagate) -> covariances``; the last argument
            takes a layer inside this one through its own rule.
        needs_pairs: ``(layer, later, needs) -> bool``: whether the layer needs the
            covariances between all pairs of positions, given whether the layers after
            it do (``later``); ``needs(inner, later)`` asks a layer inside. By default a
            layer needs what the layers after it need.
        channelwise: whether the rule knows of ``Covariances.scales``; if not, channels
            are averaged before it.

    Examples:
        >>> import jax.numpy as jnp
        >>> from kanjax import model, nn, ntk
        >>> @model.dataclass
        ... class Double:
        ...     def init(self, key):
        ...         return ()
        ...
        ...     def apply(self, params, x, *, key=None):
        ...         return 2 * x
        >>> def double(layer, k, propagate):
        ...     return k.map(lambda covariance: 4 * covariance)
        >>> net = model.Sequential((nn.Dense(2, 8, parameterization="ntk"), Double()))
        >>> kernel = ntk.infinite(net, rules={Double: ntk.Rule(double)})
        >>> kernel(jnp.ones((1, 2))).nngp.tolist()
        [[4.0]]
    """

    propagate: Callable[[Any, Covariances, Propagate], Covariances]
    needs_pairs: Callable[[Any, bool, Callable[[Any, bool], bool]], bool] = _as_later
    channelwise: bool = False


Rules = Mapping[type, Rule]


def find(rules: Rules, layer: Any) -> Rule:
    """Return the rule of a layer's class or of the nearest class above it.

    Raises:
        ValueError: if there is none, with what there is.
    """
    for kind in type(layer).__mro__:
        if kind in rules:
            return rules[kind]
    # Rooms beside this one have layers that it knows by what they offer only.
    if isinstance(layer, expansion_rule.Expansion):
        return Rule(expansion_rule.propagate)
    inner = getattr(layer, "layers", ())
    if inner and all(isinstance(k, expansion_rule.Expansion) for k in inner):
        return RULES[model.Sequential]
    name = type(layer).__name__
    known = sorted(kind.__name__ for kind in rules)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"there is no infinite-width rule for {layer!r}; there are rules for "
        f"{', '.join(known)}.{hint} Give your own, rules={{{name}: kj.ntk.Rule(...)}}, "
        "or sample finite networks with kj.ntk.empirical."
    )


def weighted(
    covariances: Covariances,
    layer: Any,
    fan_in: int,
    mean: Callable[[Array], Array] = lambda k: k,
    **changes: Any,
) -> Covariances:
    """Through random weights and a bias, where an output sees a mean of covariances.

    ``K <- w^2 M(K) + b^2``; in the NTK parameterization ``Theta <- K + w^2 M(Theta)``
    with that new K, in the standard one ``fan_in M(K) + w^2 M(Theta) + 1`` (the last
    term is the bias's).
    """
    weight = layer.kernel_scale**2
    bias = layer.bias_scale**2 if layer.has_bias else 0.0
    seen = covariances.map(mean, centered=True, fresh=True, **changes)
    nngp = weight * seen.nngp + bias
    if layer.parameterization == "ntk":
        variance = nngp
    else:
        variance = fan_in * seen.nngp + float(layer.has_bias)
    return seen.replace(nngp=nngp, ntk=variance + weight * seen.ntk)


def dense(layer: nn.Dense, k: Covariances, propagate: Propagate) -> Covariances:
    """Return a dense layer; of images, at each position."""
    return weighted(k, layer, layer.in_features, channels=layer.out_features)


def mlp(layer: nn.MLP, k: Covariances, propagate: Propagate) -> Covariances:
    """Dense layers with an activation after each but the last."""
    activation = nn.Activation(layer.activation)
    first, *others = layer.layers
    steps = [first, *(layer for dense in others for layer in (activation, dense))]
    return scan_layers.in_turn(propagate, steps, k)


def activation(
    layer: nn.Activation, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return a function of each Gaussian value."""
    if layer.function is jax.nn.identity:
        return k
    if not k.centered:
        raise ValueError(
            f"{layer!r} acts on values that are not Gaussian: put a layer with weights "
            "before it, or apply the function to the data yourself."
        )
    # A trained scale's share is u phi'(u) in each channel, which is phi(u) of a relu.
    share = gaussian.dual(_times_slope(layer.function))
    return k.through(gaussian.dual(layer.function), lambda *q: share(*q).value)


@functools.lru_cache(maxsize=128)
def _times_slope(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    if gaussian.is_homogeneous(function):
        return function
    return lambda u: u * gaussian.value_and_slope(function, u)[1]


def normalized_exponential(
    layer: nn.NormalizedExponential, k: Covariances, propagate: Propagate
) -> Covariances:
    """``sqrt(q11 q22) E`` and ``gamma E Theta``, ``E = exp(gamma (rho + shift))``.

    rho is the correlation; what moves the size of all channels adds nothing to Theta.
    """
    if not k.centered:
        raise ValueError(
            f"{layer!r} acts on values that are not Gaussian: put a layer with weights "
            "before it."
        )

    def dual(q11: Array, q12: Array, q22: Array) -> Dual:
        size, cosine = _polar(q11, q12, q22)
        slope = jnp.exp(layer.gamma * (cosine + layer.shift))
        return Dual(size * slope, layer.gamma * slope)

    def share(q11: Array, q12: Array, q22: Array) -> Array:
        """``E[u phi'(u) v phi'(v)]``, as of an activation."""
        cosine = _polar(q11, q12, q22)[1]
        value = dual(q11, q12, q22).value
        return layer.gamma * value * (cosine + layer.gamma * (1 + cosine) ** 2)

    return k.through(dual, share)


def _polar(q11: Array, q12: Array, q22: Array) -> tuple[Array, Array]:
    """``sqrt(q11 q22)``, and the correlation, 0 of a value that is always 0."""
    product = q11 * q22
    some = product > 0
    size = jnp.sqrt(jnp.where(some, product, 1))
    return jnp.where(some, size, 0), jnp.where(some, q12 / size, 0)


def layer_norm(
    layer: nn.LayerNorm, k: Covariances, propagate: Propagate
) -> Covariances:
    """Values of mean zero over the channels, over their size, with scale and bias.

    ``Theta <- Theta / sqrt(q11 q22)``, plus in each channel the product of its values
    where there is a scale and 1 where there is a bias to train.
    """
    if not k.centered:
        raise ValueError(
            f"{layer!r} acts on values whose mean is not zero at infinite width: put a "
            "layer with weights directly before it."
        )
    return _normalize(k, layer.eps, layer.use_scale, layer.use_bias)


def rms_norm(layer: nn.RMSNorm, k: Covariances, propagate: Propagate) -> Covariances:
    """Values divided by their size, whatever their mean; a trained scale."""
    return _normalize(k, layer.eps, True, False)


def _normalize(k: Covariances, eps: float, scale: bool, bias: bool) -> Covariances:
    def dual(q11: Array, q12: Array, q22: Array) -> Dual:
        size = jnp.sqrt((q11 + eps) * (q22 + eps))
        return Dual(q12 / size, 1 / size)

    k = k.through(dual, centered=k.centered, fresh=k.fresh)
    return k.replace(ntk=k.ntk + float(bias), scales=k.scales + int(scale))


def dropout(layer: nn.Dropout, k: Covariances, propagate: Propagate) -> Covariances:
    """Nothing, or ``1 / keep`` where a value meets itself."""
    itself = k.itself_where()
    if not k.dropout or layer.rate == 0 or not itself:
        return k
    dropped = functools.reduce(operator.and_, itself)
    return k.map(lambda c: jnp.where(dropped, c / (1 - layer.rate), c))


def embedding(layer: nn.Embedding, k: Covariances, propagate: Propagate) -> Covariances:
    """Return a standard normal vector for each token: ``K = Theta = 1`` for equal
    ones.
    """
    return k.replace(
        ntk=k.ntk + k.nngp, centered=True, fresh=True, channels=layer.features
    )


def sequential(
    layer: model.Sequential, k: Covariances, propagate: Propagate
) -> Covariances:
    """One layer after the other."""
    return scan_layers.in_turn(propagate, layer.layers, k)


def residual(
    layer: model.Residual, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return the covariances and those behind the branch, added."""
    inside = propagate(layer.branch, k.replace(fresh=False)).averaged()
    return _add(layer, k, [k.replace(fresh=False), inside])


def parallel(
    layer: model.Parallel, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return the sum over branches, whose weights are their own."""
    return _add(layer, k, _branches(layer, k, propagate))


def product(layer: model.Product, k: Covariances, propagate: Propagate) -> Covariances:
    """``K = prod_b K_b``, ``Theta = sum_b Theta_b prod_(c != b) K_c``."""
    branches = _branches(layer, k, propagate)
    _check_independent(layer, branches)
    total = branches[0]
    for branch in branches[1:]:
        total = _either(total, branch).replace(
            ntk=total.ntk * branch.nngp + total.nngp * branch.ntk,
            nngp=total.nngp * branch.nngp,
        )
    return total.replace(centered=False, fresh=False)


def concatenate(
    layer: model.Concatenate, k: Covariances, propagate: Propagate
) -> Covariances:
    """Return the mean over branches, weighted by their numbers of channels.

    Channels are no longer alike, so a layer with weights must come next.
    """
    branches = _branches(layer, k, propagate)
    channels = sum(branch.channels for branch in branches)
    parts = [
        branch.map(lambda c, branch=branch: c * (branch.channels / channels))
        for branch in branches
    ]
    return functools.reduce(_sum, parts).replace(
        channels=channels,
        centered=False,
        fresh=all(branch.fresh for branch in branches),
    )


def _branches(layer: Any, k: Covariances, propagate: Propagate) -> list[Covariances]:
    start = k.replace(fresh=False)
    branches = [propagate(branch, start).averaged() for branch in layer.branches]
    pairs = all(branch.pairs for branch in branches)
    return branches if pairs else [branch.equal_positions() for branch in branches]


def _add(layer: Any, k: Covariances, branches: list[Covariances]) -> Covariances:
    if not all(branch.pairs for branch in branches):
        branches = [branch.equal_positions() for branch in branches]
    _check_independent(layer, branches)
    return functools.reduce(_sum, branches).replace(
        centered=all(branch.centered for branch in branches),
        fresh=all(branch.fresh or k.fresh for branch in branches),
    )


def _sum(a: Covariances, b: Covariances) -> Covariances:
    return _either(a, b).replace(nngp=a.nngp + b.nngp, ntk=a.ntk + b.ntk)


def _either(a: Covariances, b: Covariances) -> Covariances:
    """Return the first, with something wherever one of both has something."""
    firsts, seconds = (a.first_mask, b.first_mask), (a.second_mask, b.second_mask)

    def union(masks: tuple[Array | None, Array | None]) -> Array | None:
        left, right = masks
        return None if left is None or right is None else left | right

    return a.replace(first_mask=union(firsts), second_mask=union(seconds))


def _check_independent(layer: Any, branches: list[Covariances]) -> None:
    """Two branches are uncorrelated where at most one does not end in weights."""
    if sum(not branch.fresh for branch in branches) > 1:
        raise ValueError(
            f"{type(layer).__name__} has two branches that do not end in a layer with "
            "weights, so their values are correlated and their covariances do not "
            "follow from each branch's own. End all branches but one with weights."
        )


def any_branch(layer: Any, later: bool, needs: Callable[[Any, bool], bool]) -> bool:
    """Return what the neediest of the branches needs."""
    return any(needs(branch, later) for branch in layer.branches)


RULES: Rules = {
    nn.Dense: Rule(dense),
    nn.MLP: Rule(mlp),
    nn.Activation: Rule(activation, channelwise=True),
    nn.NormalizedExponential: Rule(normalized_exponential, channelwise=True),
    nn.LayerNorm: Rule(layer_norm, channelwise=True),
    nn.RMSNorm: Rule(rms_norm, channelwise=True),
    nn.Dropout: Rule(dropout),
    nn.Embedding: Rule(embedding),
    model.Sequential: Rule(
        sequential,
        lambda layer, later, needs: functools.reduce(
            lambda later, sublayer: needs(sublayer, later),
            reversed(layer.layers),
            later,
        ),
    ),
    model.Residual: Rule(
        residual, lambda layer, later, needs: later or needs(layer.branch, later)
    ),
    model.Parallel: Rule(parallel, any_branch),
    model.Product: Rule(product, any_branch),
    model.Concatenate: Rule(concatenate, any_branch),
}
