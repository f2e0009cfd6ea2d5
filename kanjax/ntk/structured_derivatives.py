"""Tangent kernels of finite networks without their Jacobians, layer by layer.

Novak, Sohl-Dickstein, Schoenholz 2022, arXiv 2206.08720, section 3.4: a weight that is
multiplied once with a layer's inputs a has the derivative ``a^T d``, d the derivative
of the outputs in the product. Its share of the kernel is ``(a a'^T) (d d'^T)``, summed
over positions. The products are found in the jaxpr of the function, so that any
network gains.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from kanjax import jaxprs
from kanjax.ntk import weight_products
from pallas_kernels import expansion

_HIGHEST = jax.lax.Precision.HIGHEST
# No pair of blocks has a product between all positions of more entries than this.
_MANY_ENTRIES = 2**27


@dataclasses.dataclass(frozen=True)
class Plan:
    """A function of one example as a jaxpr, and its sites.

    Attributes:
        jaxpr: of ``(parameter leaves, input leaves)``, without nested calls.
        sites: where weights are multiplied.
        leaves: the number of parameter leaves.
    """

    jaxpr: Any
    sites: tuple[weight_products.Site, ...]
    leaves: int

    @property
    def covered(self) -> frozenset[int]:
        """The parameters whose Jacobian is not needed."""
        return frozenset().union(*(site.leaves for site in self.sites))


def plan(f: Callable[[Any, Any], Array], params: Any, x: Any) -> Plan:
    """Find the products of a function of one example.

    Args:
        f: ``f(params, x) -> (outputs,)``.
        params: a pytree of arrays.
        x: one example, without the leading axis.
    """
    leaves, structure = jax.tree.flatten(params)
    inputs, input_structure = jax.tree.flatten(x)

    def flat(leaves: Sequence[Array], inputs: Sequence[Array]) -> Array:
        return f(structure.unflatten(leaves), input_structure.unflatten(inputs))

    # Twice: the second trace has no nested calls, so that equations have one index.
    nested = jax.make_jaxpr(flat)(leaves, inputs)

    def inlined(leaves: Sequence[Array], inputs: Sequence[Array]) -> list[Array]:
        values = [*leaves, *inputs]
        return jaxprs.evaluate(nested.jaxpr, nested.consts, values, _inline)

    closed = jax.make_jaxpr(inlined)(leaves, inputs)
    return Plan(
        closed, tuple(weight_products.find(closed.jaxpr, len(leaves))), len(leaves)
    )


def block(plan: Plan, params: Any, outputs: str, x1: Any, x2: Any, same: bool) -> Array:
    """Return the kernel of two blocks of examples."""
    first = _derivatives(plan, params, x1)
    second = first if same else _derivatives(plan, params, x2)
    shares = layers(plan, first, second, outputs)
    return sum(shares[1:], shares[0])


def layers(plan: Plan, first: Any, second: Any, outputs: str) -> list[Array]:
    """Return the shares of the sites, then those of the other leaves."""
    shares = [
        _site_share(a, b, outputs) for a, b in zip(first[0], second[0], strict=True)
    ]
    others = zip(first[1], second[1], strict=True)
    return shares + [contract(a, b, outputs) for a, b in others]


def contract(j1: Array, j2: Array, outputs: str) -> Array:
    """One leaf's share: Jacobians are (examples, outputs, *leaf)."""
    wide = jnp.promote_types(j1.dtype, jnp.float32)
    j1, j2 = (j.reshape(*j.shape[:2], -1).astype(wide) for j in (j1, j2))
    pattern = {"trace": "iok,jok->ij", "diagonal": "iok,jok->ijo"}
    subscripts = pattern.get(outputs, "iok,jpk->ijop")
    kernel = jnp.einsum(subscripts, j1, j2, precision=_HIGHEST)
    return kernel / j1.shape[1] if outputs == "trace" else kernel


def cost(plan: Plan, outputs: str, width: int, n1: int, n2: int) -> float:
    """About how many multiplications the kernel of two blocks takes."""
    total = 0.0
    # The kernel has this many pairs of outputs for each pair of examples.
    pairs = width**2 if outputs == "full" else width
    for site in plan.sites:
        s, c, f = _sizes(plan, site)
        gram, jacobian = _costs(s, c, f, width, pairs, n1, n2)
        total += min(gram, jacobian)
    return total + n1 * n2 * pairs * float(rest(plan))


def rest(plan: Plan) -> int:
    """Return the number of parameters whose Jacobian is formed."""
    leaves = plan.jaxpr.jaxpr.invars[: plan.leaves]
    return sum(v.aval.size for i, v in enumerate(leaves) if i not in plan.covered)


def forward_cost(plan: Plan) -> float:
    """About how many multiplications one example's outputs take."""
    return _multiplications(plan.jaxpr.jaxpr)


def _multiplications(jaxpr: Any) -> float:
    """Of products, as often as a scan repeats them; anything else once an entry."""
    total = 0.0
    for equation in jaxpr.eqns:
        name, out = equation.primitive.name, equation.outvars[0].aval
        inner = jaxprs.inner(equation)
        if inner:
            # A while loop runs at least once; how often is not known here.
            repeats = equation.params.get("length", 1) if name == "scan" else 1
            total += repeats * sum(_multiplications(jaxpr) for jaxpr in inner)
        elif name == "dot_general":
            axes = equation.params["dimension_numbers"][0][0]
            shape = equation.invars[0].aval.shape
            total += out.size * math.prod(shape[a] for a in axes)
        elif name == "conv_general_dilated":
            weights = equation.invars[1].aval
            features = weights.shape[equation.params["dimension_numbers"].rhs_spec[0]]
            total += out.size * weights.size / features
        else:
            total += out.size
    return total


def entries(plan: Plan, width: int, examples: int) -> int:
    """About how many numbers the derivatives of that many examples take."""
    total = 0
    for site in plan.sites:
        s, c, f = _sizes(plan, site)
        # A site keeps its inputs (s, c) and, for each output, its slopes (s, f).
        total += s * c + width * s * f
    return examples * (total + width * rest(plan))


def _sizes(plan: Plan, site: weight_products.Site) -> tuple[int, int, int]:
    """Positions, inputs and outputs of a product."""
    equation = plan.jaxpr.eqns[site.equation]
    weights = equation.invars[site.operand].aval
    out = equation.outvars[0].aval
    if equation.primitive.name == "conv_general_dilated":
        features = weights.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    else:
        contracted = equation.params["dimension_numbers"][0][site.operand]
        inner = math.prod(weights.shape[a] for a in contracted)
        features = weights.size // inner
    return out.size // features, weights.size // features, features


def _costs(
    s: int, c: int, f: int, width: int, pairs: int, n1: int, n2: int
) -> tuple[float, float]:
    """Of products between positions, and by way of the Jacobian."""
    # Gram: contract channels first, c and f apart, then pairs of positions. Jacobian:
    # contract positions first, to (c, f) for each output. For one position (a dense
    # layer) Gram is the lesser; for few channels on many positions the Jacobian is.
    gram = float(n1) * n2 * s**2 * (c + pairs * f)
    # Gram holds an array of all pairs of positions.
    if s > 1 and n1 * n2 * s**2 * (1 if pairs == width else pairs) > _MANY_ENTRIES:
        gram = math.inf
    jacobian = float(n1 + n2) * width * s * c * f + float(n1) * n2 * pairs * c * f
    return gram, jacobian


def _site_share(
    first: tuple[Array, Array], second: tuple[Array, Array], outputs: str
) -> Array:
    """Of inputs (examples, s, c) and derivatives (examples, outputs, s, f)."""
    wide = jnp.promote_types(first[1].dtype, jnp.float32)
    (a1, d1), (a2, d2) = ((a.astype(wide), d.astype(wide)) for a, d in (first, second))
    n1, width, s, f = d1.shape
    pairs = width**2 if outputs == "full" else width
    gram, jacobian = _costs(s, a1.shape[2], f, width, pairs, n1, d2.shape[0])
    if jacobian < gram:
        j1, j2 = (
            jnp.einsum("nsc,nosf->nocf", a, d, precision=_HIGHEST)
            for a, d in ((a1, d1), (a2, d2))
        )
        return contract(j1, j2, outputs)
    # k = sum_{s,t} (a_s . a_t) (d_s . d_t): both factors over pairs of positions s, t.
    inputs = jnp.einsum("isc,jtc->ijst", a1, a2, precision=_HIGHEST)
    pattern = {"trace": "iosf,jotf->ijst", "diagonal": "iosf,jotf->ijost"}
    subscripts = pattern.get(outputs, "iosf,jptf->ijopst")
    slopes = jnp.einsum(subscripts, d1, d2, precision=_HIGHEST)
    extra = {"trace": 0, "diagonal": 1}.get(outputs, 2)
    inputs = inputs.reshape(*inputs.shape[:2], *(1,) * extra, s, s)
    kernel = jnp.sum(inputs * slopes, axis=(-2, -1))
    return kernel / width if outputs == "trace" else kernel


def _derivatives(plan: Plan, params: Any, x: Any) -> tuple[list, list]:
    """Of each site inputs and output derivatives, of other leaves Jacobians."""
    leaves = jax.tree.leaves(params)
    others = [i for i in range(plan.leaves) if i not in plan.covered]
    eqns = plan.jaxpr.eqns
    avals = [eqns[site.equation].outvars[0].aval for site in plan.sites]

    def of_example(x: Any) -> tuple[list, list]:
        # Zeros added to the products. Reverse mode in them stops at the products: the
        # weights, behind which lie the large Jacobians, are constants here.
        taps = [jnp.zeros(a.shape, a.dtype) for a in avals]

        def run(taps: list[Array], rest: list[Array]) -> tuple[Array, list[Array]]:
            full = list(leaves)
            for i, leaf in zip(others, rest, strict=True):
                full[i] = leaf
            values = [*full, *jax.tree.leaves(x)]
            shift = dict(zip((s.equation for s in plan.sites), taps, strict=True))
            seen: dict[int, Sequence[Array]] = {}

            def tap(index: int, equation: Any, operands: Sequence[Any]) -> Any:
                results = jaxprs.bind(equation, operands)
                if index not in shift:
                    return results
                # The slope in what is added to a product is that in the product.
                seen[index] = operands
                return [results[0] + shift[index]]

            (y,) = jaxprs.evaluate(plan.jaxpr.jaxpr, plan.jaxpr.consts, values, tap)
            inputs = [
                _scaled(s, _inputs(eqns[s.equation], s.operand, seen[s.equation]))
                for s in plan.sites
            ]
            return y, inputs

        start = (taps, [leaves[i] for i in others])
        (slopes, rest), inputs = jax.jacrev(run, argnums=(0, 1), has_aux=True)(*start)
        slopes = [
            _slopes(eqns[s.equation], s.operand, d)
            for s, d in zip(plan.sites, slopes, strict=True)
        ]
        return list(zip(inputs, slopes, strict=True)), rest

    return jax.vmap(of_example)(x)


def _scaled(site: weight_products.Site, inputs: Array) -> Array:
    """Multiply by the factor of the weights; a bias weighs one more input."""
    inputs = site.factor * inputs
    if not site.bias:
        return inputs
    return jnp.pad(inputs, ((0, 0), (0, 1)), constant_values=site.bias)


def _inputs(equation: Any, operand: int, values: Sequence[Array]) -> Array:
    """Return what the weights are multiplied with, as (positions, inputs)."""
    inputs = values[1 - operand]
    if equation.primitive.name == "dot_general":
        contracted = equation.params["dimension_numbers"][0]
        # The weights' own order of their contracted axes.
        pairs = sorted(zip(contracted[operand], contracted[1 - operand], strict=True))
        axes = [other for _, other in pairs]
        # Free axes of the inputs are positions; what remains is (positions, inputs).
        moved = jnp.moveaxis(inputs, axes, range(-len(axes), 0))
        size = math.prod(inputs.shape[a] for a in axes)
        return moved.reshape(-1, size)
    options = equation.params
    numbers = options["dimension_numbers"]
    weights = values[1]
    # A convolution is a dense layer on patches.
    patches = jax.lax.conv_general_dilated_patches(
        inputs,
        [weights.shape[a] for a in numbers.rhs_spec[2:]],
        options["window_strides"],
        options["padding"],
        lhs_dilation=options["lhs_dilation"],
        rhs_dilation=options["rhs_dilation"],
        dimension_numbers=numbers,
        precision=_HIGHEST,
    )
    channel = numbers.out_spec[1]
    return jnp.moveaxis(patches, channel, -1).reshape(-1, patches.shape[channel])


def _slopes(equation: Any, operand: int, slopes: Array) -> Array:
    """Return (outputs, *product) to (outputs, positions, features)."""
    width = slopes.shape[0]
    if equation.primitive.name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][operand]
        free = equation.invars[operand].aval.ndim - len(contracted)
        if operand == 0:
            # The weights' own axes come first.
            # One place after the outputs of jacrev, which lead.
            axes = tuple(range(1, 1 + free))
            slopes = jnp.moveaxis(slopes, axes, range(-free, 0))
        features = math.prod(slopes.shape[slopes.ndim - free :])
        return slopes.reshape(width, -1, features)
    channel = equation.params["dimension_numbers"].out_spec[1] + 1
    moved = jnp.moveaxis(slopes, channel, -1)
    return moved.reshape(width, -1, moved.shape[-1])


def _inline(index: int, equation: Any, operands: Sequence[Any]) -> Sequence[Any]:
    """Run an equation with nested calls and layers' products written out."""
    del index
    if equation.primitive.name in jaxprs.CALLS:
        called = equation.params["jaxpr"]
        return jaxprs.evaluate(called.jaxpr, called.consts, operands, _inline)
    if equation.primitive is expansion.expansion_p:
        # Written out, a layer's product with its coefficients is in sight.
        return [expansion.written_out(*operands, **equation.params)]
    return jaxprs.bind(equation, operands)
