"""Merging linear layers by regression on what they take in.

RegMean: Jin, Ren, Preotiuc-Pietro, Cheng (2023), "Dataless Knowledge Fusion by Merging
Weights of Language Models", arXiv 2212.09849.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from kanjax import checks, pytrees, unit_trace
from kanjax.symmetry import fisher_merging

Params = pytrees.Params
Grams = Mapping[str, Float[Array, "in in"]]
LayerInputs = Callable[[Params, Any], Mapping[str, Array]]
"""``layer_inputs(params, x)``: by a weight's path, what it multiplies, (..., in)."""
Layout = Literal["in_out", "out_in"]


def layer_inputs(model: Any) -> LayerInputs:
    """Find what every dense layer of a model takes in, for :func:`collect_grams`.

    For other libraries' networks write a function that gives the same: by each weight's
    path, what it multiplies.

    Args:
        model: a chain of layers, as for :func:`kanjax.symmetry.permutation_spec`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from kanjax import nn
        >>> from kanjax.symmetry import model_arithmetic as arithmetic
        >>> net = nn.MLP((2, 8, 3))
        >>> values = arithmetic.layer_inputs(net)(
        ...     net.init(jax.random.key(0)), jnp.ones((5, 2)))
        >>> tuple(v.shape for v in values.values())
        ((5, 2), (5, 8))
    """

    def values(params: Params, x: Array) -> dict[str, Array]:
        inputs = {}
        for layer in unit_trace.trace(model, params, x).mixing:
            roles = layer.layer.parameter_axes()
            if isinstance(roles, dict) and roles.get("kernel") == ("in", "out"):
                path = (*layer.path, jax.tree_util.DictKey("kernel"))
                assert layer.inputs is not None
                inputs[checks.path_name(path)] = layer.inputs
        return inputs

    return values


def collect_grams(
    layer_inputs: LayerInputs,
    params: Params,
    x: Array,
    *,
    bias: bool = False,
    batch_size: int = 1024,
) -> dict[str, Float[Array, "in in"]]:
    """Average the outer products of what layers take in, ``X^T X / n``.

    For more data than memory, average over batches by
    :func:`kanjax.symmetry.fisher_merging.stream_mean`.

    Args:
        layer_inputs: gives inputs by path; see :func:`layer_inputs`. All axes but the
            last are samples.
        params: the network's own.
        x: (n, ...), the data that it was trained on.
        bias: appends a constant 1 to the inputs, so that :func:`regmean_merge` merges
            weights and biases jointly.
        batch_size: examples at once.

    Returns:
        By path (in, in), or (in + 1, in + 1), in float32 at least.

    Raises:
        ValueError: if there are no examples, or a batch size below one.
    """
    number = len(x)
    if number == 0 or batch_size < 1:
        raise ValueError(
            f"x has {number} examples and batch_size is {batch_size}; both must be at "
            "least 1."
        )

    def gram(values: Array) -> Array:
        flat = values.reshape(-1, values.shape[-1])
        flat = flat.astype(jnp.promote_types(flat.dtype, jnp.float32))
        if bias:
            flat = jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], axis=1)
        return flat.T @ flat / len(flat)

    def of_batch(batch: Array) -> dict[str, Array]:
        return {path: gram(v) for path, v in layer_inputs(params, batch).items()}

    block = min(batch_size, number)
    blocks, rest = divmod(number, block)
    shapes = jax.eval_shape(of_batch, x[:block])
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def add(total: Any, batch: Array) -> tuple[Any, None]:
        return jax.tree.map(lambda a, b: a + b / blocks, total, of_batch(batch)), None

    batches = x[: blocks * block].reshape(blocks, block, *x.shape[1:])
    mean, _ = lax.scan(add, zero, batches)
    if rest:
        mean = pytrees.combine(
            [1 - rest / number, rest / number], [mean, of_batch(x[-rest:])]
        )
    return mean


def regmean_merge(
    members: Sequence[Params],
    grams: Sequence[Grams],
    *,
    alpha: float = 1.0,
    ridge: float = 0.0,
    layout: Layout | None = None,
) -> Params:
    """Merge linear layers so that their outputs change least on all networks' data.

    ``W = (sum_m G_m)^-1 sum_m G_m W_m`` minimizes ``sum_m |X_m (W - W_m)|^2``. Leaves
    without a Gram matrix are averaged, and biases, if the matrices have a row for them,
    are solved for with their weights.

    Args:
        members: networks of one structure.
        grams: for each, by the weights' paths, what :func:`collect_grams` gives. A
            weight with more than two axes is taken as a matrix: patches must come in
            the order of its entries.
        alpha: how much of what is off the Gram matrices' diagonals counts; below 1 the
            matrices are better conditioned.
        ridge: added to the diagonal of their sum, as a share of its mean, and to the
            right side so that equal networks stay as they are.
        layout: of weights; by default "in_out" for leaves named ``kernel`` and "out_in"
            for leaves named ``weight``.

    Returns:
        Like the members. Inputs that were 0 throughout leave a singular matrix, which
        gives NaN: choose a ridge above 0.

    Raises:
        TypeError: if parameters are not real floating point.
        ValueError: if the pytrees differ, for an alpha outside [0, 1], a negative
            ridge, or Gram matrices that do not fit.
    """
    fisher_merging.check_members(members, None)
    if len(grams) != len(members):
        raise ValueError(f"grams has {len(grams)} entries for {len(members)} members.")
    if not 0 <= alpha <= 1 or ridge < 0:
        raise ValueError(
            f"alpha is {alpha} and ridge {ridge}; alpha must lie in [0, 1] and ridge "
            "be at least 0."
        )
    leaves = [fisher_merging.select_leaves(member) for member in members]
    merged: dict[str, Array] = {}
    for path in grams[0]:
        shapes = {jnp.shape(g[path]) if path in g else None for g in grams}
        if path not in leaves[0] or len(shapes) != 1:
            raise ValueError(
                f"grams at {path} have shapes {shapes}, and the members' leaves are "
                f"{list(leaves[0])}; every network needs one of the same shape."
            )
        merged |= _regress(path, leaves, [g[path] for g in grams], alpha, ridge, layout)
    return fisher_merging.replace_leaves(
        fisher_merging.isotropic_merge(members), merged
    )


def _regress(
    path: str,
    leaves: Sequence[dict[str, Array]],
    grams: Sequence[Array],
    alpha: float,
    ridge: float,
    layout: Layout | None,
) -> dict[str, Array]:
    """Return the weight at a path and, if the matrices have a row for it, the bias
    beside.
    """
    weight = leaves[0][path]
    inward = (layout or _layout(path)) == "in_out"
    outputs = weight.shape[-1] if inward else weight.shape[0]
    inputs = weight.size // outputs
    size = grams[0].shape[0]
    if grams[0].shape not in ((inputs, inputs), (inputs + 1, inputs + 1)):
        raise ValueError(
            f"grams at {path} have shape {grams[0].shape}; this weight of shape "
            f"{weight.shape} has {inputs} inputs. Check layout ({layout!r})."
        )
    bias = _bias_of(path, leaves[0], outputs) if size > inputs else None
    dtype = jnp.promote_types(weight.dtype, jnp.float32)

    def matrix(leaf: dict[str, Array]) -> Array:
        flat = leaf[path].astype(dtype)
        flat = flat.reshape(-1, outputs) if inward else flat.reshape(outputs, -1).T
        return flat if bias is None else jnp.vstack([flat, leaf[bias].astype(dtype)])

    first = matrix(leaves[0])
    softened = [
        alpha * g + (1 - alpha) * jnp.diag(jnp.diag(g))
        for g in (jnp.asarray(gram, dtype) for gram in grams)
    ]
    total = sum(softened[1:], softened[0])
    small = ridge * jnp.trace(total) / size
    # Differences from the first, so that equal networks come out as they are; a ridge
    # draws towards the plain mean.
    deviations = [matrix(leaf) - first for leaf in leaves]
    right = sum(
        (g + small / len(grams) * jnp.eye(size, dtype=dtype)) @ w
        for g, w in zip(softened, deviations, strict=True)
    )
    solved = jnp.linalg.solve(total + small * jnp.eye(size, dtype=dtype), right)
    solved = first + solved
    kernel = solved[:inputs]
    kernel = kernel if inward else kernel.T
    result = {path: kernel.reshape(weight.shape).astype(weight.dtype)}
    if bias is not None:
        result[bias] = solved[inputs].astype(leaves[0][bias].dtype)
    return result


def _layout(path: str) -> Layout:
    name = path.rstrip("']")
    if name.endswith("kernel"):
        return "in_out"
    if name.endswith("weight"):
        return "out_in"
    raise ValueError(
        f"{path} is named neither 'kernel' nor 'weight', so its layout is not known; "
        "give layout='in_out' or layout='out_in'."
    )


def _bias_of(path: str, leaves: dict[str, Array], outputs: int) -> str:
    """Return the path of the only vector of outputs beside a weight."""
    stem = path.rstrip("']")
    stem = stem[: max(stem.rfind("kernel"), stem.rfind("weight"))]
    beside = [
        p
        for p, leaf in leaves.items()
        if stem and p.startswith(stem) and jnp.shape(leaf) == (outputs,)
    ]
    if len(beside) != 1:
        raise ValueError(
            f"grams at {path} have a row for a bias; beside it lie {beside}, and there "
            "must be one vector. Collect them with bias=False."
        )
    return beside[0]
