"""Networks that choose the family of functions of each of their nodes.

Source: Yang et al. (2024), Activation Space Selectable Kolmogorov-Arnold Networks,
arXiv 2408.08338. A node has a coefficient for every function of every family in a pool,
and a softmax over the families; training finds which one serves, and pruning keeps it.
The paper's phases are full training, selective training and pruning; its equations
were not at hand, and those here are derived.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

import pallas_kernels
from kanjax import bases, checks, model
from kanjax.kan import conv
from kanjax.kan.layers import Activation, KANLayer, check_inputs
from kanjax.kan.pools import POOL_DEFAULT, SelectedLayer, check_pool, residual_branch

# A logit whose weight is zero at any temperature below 90, and still a number, so that
# weight decay and half precision leave it alone.
_NEVER = -1e4

Selected = dict[str, Any]


@model.dataclass
class SelectableLayer:
    """``y_o = sum_i sum_m w_im phi^m_io(x_i)``, ``w_i`` a softmax over families m.

    ``phi^m_io(x) = sum_g coef^m[g, i, o] basis^m_g(x)``, and a residual branch that all
    families share. The families are evaluated as one joined expansion. With logits at
    0 all weigh the same, and the mean of the families has the variance of one of them.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        pool: the families, at least one, with knots that all inputs share.
        residual: the function of the residual branch, or None for none.
        noise: scale of the expansion at initialisation, as of
            :class:`kanjax.kan.KANLayer`.
        nodes: inputs i and i + nodes have one choice; None is one for each input.
            ``nodes`` divides ``in_features``.
        gate: "node" for weights that are trained numbers, or "input" for weights
            ``softmax(logits_i + slopes_i x_i)`` that move with the input. The
            expansion is then stored, family by family, and nothing can be pruned.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = SelectableLayer(4, 3)
        >>> params = layer.init(jax.random.key(0))
        >>> params["logits"].shape, layer.apply(params, jnp.ones((5, 4))).shape
        ((4, 6), (5, 3))
    """

    in_features: int
    out_features: int
    pool: tuple[bases.Basis, ...] = model.child(default=POOL_DEFAULT)
    residual: Activation | None = jax.nn.silu
    noise: float = 0.1
    nodes: int | None = None
    gate: str = "node"

    def __post_init__(self) -> None:
        KANLayer(self.in_features, self.out_features)
        check_pool(self.pool)
        if self.gate not in ("node", "input"):
            raise ValueError(f"gate must be 'node' or 'input'; got {self.gate!r}.")
        if self.nodes is not None and (
            not isinstance(self.nodes, int)
            or self.nodes < 1
            or self.in_features % self.nodes
        ):
            raise ValueError(
                f"nodes={self.nodes!r} must divide in_features={self.in_features}; "
                "choose a divisor, or None for a choice of each input's own."
            )

    def init(self, key: Array) -> Selected:
        """Draw "coef" (each family's (size, in, out)), "residual", "logits" of 0.

        The logits are (nodes, families), and so are the "slopes" of a gate by input.
        """
        keys = jax.random.split(key, len(self.pool))
        drawn = [
            KANLayer(
                self.in_features,
                self.out_features,
                basis,
                self.residual,
                noise=self.noise,
            ).init(k)
            for basis, k in zip(self.pool, keys, strict=True)
        ]
        spread = len(self.pool) ** 0.5
        choices = jnp.zeros((self.nodes or self.in_features, len(self.pool)))
        params: Selected = {
            "coef": tuple(spread * family["coef"] for family in drawn),
            "logits": choices,
        }
        if self.residual is not None:
            params["residual"] = drawn[0]["residual"]
        if self.gate == "input":
            params["slopes"] = choices
        return params

    def apply(
        self, params: Selected, x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the layer's outputs for x (..., in)."""
        check_inputs(x, self.in_features)
        x = checks.as_floating(x)
        functions = self.shared_functions
        if functions is not None:
            weights = self.joined_weights(params)
            return pallas_kernels.expansion_dot(x, weights, functions)
        weights = self.weights(params, x)
        y = residual_branch(self.residual, params, x)
        for m, (basis, coef) in enumerate(zip(self.pool, params["coef"], strict=True)):
            values = basis(x, axis=-2) * weights[..., None, :, m]
            y = y + jnp.einsum("...gi,gio->...o", values.astype(x.dtype), coef)
        return y

    @property
    def shared_functions(self) -> pallas_kernels.Basis | None:
        """All families and, last, the residual branch; None for a gate by input."""
        if self.gate == "input":
            return None
        if self.residual is None:
            return pallas_kernels.Joined(self.pool)
        residual = pallas_kernels.Single(self.residual)
        return pallas_kernels.Joined((*self.pool, residual))

    def joined_weights(self, params: Selected) -> Float[Array, "rows in out"]:
        """Return the weights on :attr:`shared_functions`."""
        choices = self.weights(params, jnp.zeros(self.in_features))
        scaled = [
            choices[None, :, m, None].astype(coef.dtype) * coef
            for m, coef in enumerate(params["coef"])
        ]
        if self.residual is not None:
            scaled.append(params["residual"][None])
        return jnp.concatenate(scaled)

    def weights(self, params: Selected, x: Array) -> Float[Array, "*batch in families"]:
        """Return the families' weights in each input: (in, families), without a gate
        by input.

        Args:
            params: the layer's.
            x: (..., in); only a gate by input looks at it.
        """
        copies = self.in_features // (self.nodes or self.in_features)
        logits = jnp.tile(params["logits"], (copies, 1))
        if self.gate == "input":
            slopes = jnp.tile(params["slopes"], (copies, 1))
            shape = (*x.shape, len(self.pool))
            moved = jnp.broadcast_to(slopes, shape) * x[..., None]
            logits = jnp.broadcast_to(logits, shape) + moved
        return jax.nn.softmax(logits)

    def parameter_axes(self) -> dict[str, Any]:
        """Return what the axes of each parameter run over: "in", "out" or neither."""
        source = "in" if self.nodes in (None, self.in_features) else None
        axes: dict[str, Any] = {
            "coef": tuple((None, source, "out") for _ in self.pool),
            "logits": (source, None),
        }
        if self.residual is not None:
            axes["residual"] = (source, "out")
        return axes | ({"slopes": (source, None)} if self.gate == "input" else {})


@model.dataclass
class SelectableKAN:
    """A stack of selectable layers.

    Args:
        widths: the number of inputs, of each layer's hidden units, and of outputs.
        pool: the families that every node chooses from.
        residual: the function of the residual branch, or None for none.
        noise: scale of the expansions at initialisation.
        gate: "node" or "input", as of :class:`SelectableLayer`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> net = SelectableKAN((2, 4, 1))
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.zeros((3, 2))).shape
        (3, 1)
        >>> small, params = prune(net, params)
        >>> small.layers[0].families
        (0, 0)
    """

    widths: tuple[int, ...]
    pool: tuple[bases.Basis, ...] = model.child(default=POOL_DEFAULT)
    residual: Activation | None = jax.nn.silu
    noise: float = 0.1
    gate: str = "node"

    def __post_init__(self) -> None:
        if len(self.widths) < 2:
            raise ValueError(
                "widths must be at least two positive integers, the inputs first and "
                f"the outputs last; got {self.widths}."
            )
        _ = self.layers

    @property
    def layers(self) -> tuple[SelectableLayer, ...]:
        """The layers' models, first to last."""
        return tuple(
            SelectableLayer(
                inputs,
                outputs,
                self.pool,
                self.residual,
                noise=self.noise,
                gate=self.gate,
            )
            for inputs, outputs in zip(self.widths, self.widths[1:], strict=False)
        )

    def init(self, key: Array) -> tuple[Selected, ...]:
        """Draw the parameters: a tuple with one dictionary a layer."""
        return model.Sequential(self.layers).init(key)

    def apply(
        self, params: Sequence[Selected], x: Array, *, key: Array | None = None
    ) -> Float[Array, "*batch out"]:
        """Return the network's outputs for x (..., in)."""
        return self.activations(params, x)[-1]

    def activations(self, params: Sequence[Selected], x: Array) -> tuple[Array, ...]:
        """x, then each layer's outputs: the values of all units."""
        values = [checks.as_floating(x)]
        for layer, p in zip(self.layers, params, strict=True):
            values.append(layer.apply(p, values[-1]))
        return tuple(values)


def selectable_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: tuple[int, ...],
    pool: tuple[bases.Basis, ...] = POOL_DEFAULT,
    *,
    per_tap: bool = False,
    **options: Any,
) -> conv.KANConv:
    """Describe a convolution whose input channels choose their families (S-ConvKAN).

    Args:
        in_channels: of the images.
        out_channels: of the result.
        kernel_size: the kernel's extent in each of 1 to 3 spatial axes.
        pool: the families.
        per_tap: whether every point of the kernel chooses for itself; else a channel
            has one family in all of them.
        **options: strides, padding, dilation and groups of
            :class:`kanjax.kan.KANConv`.

    Examples:
        >>> import jax
        >>> net = selectable_conv(3, 16, (3, 3), padding="VALID")
        >>> net.init(jax.random.key(0))["logits"].shape
        (3, 6)
    """
    inputs, outputs = conv.per_group(in_channels, out_channels, kernel_size, options)
    nodes = None if per_tap else in_channels // options.get("groups", 1)
    layer = SelectableLayer(inputs, outputs, pool, nodes=nodes)
    return conv.KANConv(layer, kernel_size, **options)


def at_temperature(params: Any, temperature: float | Array) -> Any:
    """Divide all logits of a model's parameters by a temperature.

    Args:
        params: of a model with selectable layers anywhere in it.
        temperature: (), positive; below 1 choices are sharper, and at infinity all
            families weigh the same and no logit has a gradient.

    Raises:
        ValueError: if the temperature is known and not positive.
    """
    if not isinstance(temperature, jax.core.Tracer) and not np.all(
        np.asarray(temperature) > 0
    ):
        raise ValueError(
            f"temperature must be positive; got {temperature}. Choices get sharper "
            "towards 0; `harden` makes them."
        )

    def divide(layer: Selected) -> Selected:
        names = [name for name in ("logits", "slopes") if name in layer]
        return layer | {name: layer[name] / temperature for name in names}

    return _map(divide, params)


def select(params: Any) -> tuple[Int[Array, "*members nodes"], ...]:
    """Return each node's heaviest family, of each selectable layer in turn.

    Args:
        params: of a model with selectable layers anywhere in it; with a gate by input,
            the choice is that at 0.
    """
    return tuple(jnp.argmax(p["logits"], axis=-1) for p in _selectable(params))


def selection_entropy(params: Any) -> tuple[Float[Array, "*members nodes"], ...]:
    """Return the entropy of each node's weights, in nats, of each selectable layer.

    Args:
        params: of a model with selectable layers anywhere in it; with a gate by input,
            the weights are those at 0.
    """
    # Not x log x of the weights, whose slope is lost where one of them underflows.
    logs = [jax.nn.log_softmax(p["logits"]) for p in _selectable(params)]
    return tuple(-jnp.sum(jnp.exp(each) * each, axis=-1) for each in logs)


def harden(params: Any) -> Any:
    """Give every node its heaviest family alone, and fold its weight into "coef".

    The parameters keep their shapes, under ``vmap`` as well, and the other families
    stay at zero, without a gradient, in whatever training follows.

    Args:
        params: of a model with selectable layers anywhere in it.

    Raises:
        ValueError: for a gate by input, which has no choice to make.
    """

    def choose(layer: Selected) -> Selected:
        if "slopes" in layer:
            raise ValueError(
                "gate='input' weighs families at every input anew, so that no family "
                "can be dropped; use gate='node' to prune."
            )
        logits = layer["logits"]
        chosen = jax.nn.one_hot(
            jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype
        )
        kept = chosen * jax.nn.softmax(logits)

        def fold(m: int, coef: Array) -> Array:
            copies = coef.shape[-2] // logits.shape[-2]
            return (
                coef * jnp.concatenate([kept[..., m]] * copies, -1)[..., None, :, None]
            )

        coef = tuple(fold(m, coef) for m, coef in enumerate(layer["coef"]))
        return layer | {"coef": coef, "logits": (1 - chosen) * _NEVER}

    return _map(choose, params)


def prune(network: Any, params: Any) -> tuple[Any, Any]:
    """Keep of every node its heaviest family: a smaller model, and its parameters.

    Its outputs are those of ``harden(params)``.

    Args:
        network: a selectable layer, network or convolution, or a ``Sequential`` of them
            among other models.
        params: its parameters, of one member and not traced.

    Raises:
        ValueError: for a gate by input, or a convolution in groups whose layers may
            choose differently.
    """
    if isinstance(network, SelectableLayer):
        return _prune_layer(network, harden(params))
    if isinstance(network, SelectableKAN):
        network = model.Sequential(network.layers)
    if isinstance(network, model.Sequential):
        pairs = [prune(*each) for each in zip(network.layers, params, strict=True)]
        return (
            model.Sequential(tuple(layer for layer, _ in pairs)),
            tuple(kept for _, kept in pairs),
        )
    if isinstance(network, conv.KANConv) and isinstance(network.layer, SelectableLayer):
        if network.groups > 1:
            raise ValueError(
                f"a convolution with groups={network.groups} has a choice for each "
                "group, which one layer cannot make; use `harden`."
            )
        layer, kept = prune(network.layer, params)
        return dataclasses.replace(network, layer=layer), kept
    return network, params


def _prune_layer(
    layer: SelectableLayer, params: Selected
) -> tuple[SelectedLayer, Selected]:
    copies = layer.in_features // (layer.nodes or layer.in_features)
    families = np.tile(np.argmax(params["logits"], axis=-1), copies)
    small = SelectedLayer(
        layer.in_features,
        layer.out_features,
        tuple(map(int, families)),
        layer.pool,
        layer.residual,
    )
    coef = tuple(
        params["coef"][family][:, inputs] for family, inputs in small.groups.items()
    )
    kept = {name: params[name] for name in params if name == "residual"}
    return small, {"coef": coef} | kept


def _is_selectable(params: Any) -> bool:
    return isinstance(params, dict) and {"coef", "logits"} <= params.keys()


def _map(change: Callable[[Selected], Selected], params: Any) -> Any:
    return jax.tree.map(
        lambda leaf: change(leaf) if _is_selectable(leaf) else leaf,
        params,
        is_leaf=_is_selectable,
    )


def _selectable(params: Any) -> list[Selected]:
    leaves = jax.tree.leaves(params, is_leaf=_is_selectable)
    return [leaf for leaf in leaves if _is_selectable(leaf)]
