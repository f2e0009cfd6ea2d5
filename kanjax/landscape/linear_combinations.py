"""A loss at many weighted sums of the same few pytrees, as along lines and on planes.

A first layer is linear in its parameters, ``x @ (v + a w) = x @ v + a (x @ w)``. So its
products are made once for each pytree and not at every point, and what does not depend
on the parameters is made once. The rest is evaluated as it stands.

The loss is traced, and each equation of its jaxpr falls in one of four cases:

    inputs                     equation        output
    constants only             any             a constant, made now
    sums (of one operand)      linear          a sum, its terms made now, once a tree
    sums, constants            nested call     walked through
    anything else              any             made later, at each point
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import ArrayLike

from kanjax import checks, jaxprs, pytrees

Params = pytrees.Params

# Linear in their operand; moves are cheap, so a point makes them anew.
_MOVES = frozenset(
    ("broadcast_in_dim", "neg", "reshape", "rev", "slice", "squeeze", "transpose")
)
_SUMS = frozenset(("add", "sub"))
_PRODUCTS = frozenset(("conv_general_dilated", "dot_general", "mul"))
# A product that sums over fewer numbers than this for each pytree is made at a point as
# quickly as the products with all pytrees are read and added.
_LEAST = 4
# Blocks of points are as large as keeps what they compute within a processor's nearest
# shared cache, or keeps an accelerator busy.
_BLOCK_BYTES = {"cpu": 2**22}
_ACCELERATOR_BYTES = 2**28


class _Sum:
    """An array that is ``fixed + sum_i weights_i terms_i``, with None for zeros.

    If there is a source, the array is made at a point as that step says.
    """

    def __init__(self, fixed: Any, terms: Sequence[Any], source: Any = None):
        self.fixed, self.terms, self.source = fixed, tuple(terms), source

    @property
    def constant(self) -> bool:
        return all(term is None for term in self.terms)


class _Later:
    """An array that a step makes at a point."""


class _Step(NamedTuple):
    run: Callable[..., list[Any]]
    eqn: Any
    inputs: Sequence[_Sum | _Later]
    outputs: Sequence[_Later] = ()


def evaluate(
    loss: Callable[[Params], Any],
    weights: Sequence[ArrayLike],
    trees: Sequence[Params],
    *,
    batch_size: int | None,
    mesh: Mesh | None = None,
) -> Any:
    """``loss(sum_i weights_i trees_i)`` for weights that are (points,) each.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values.
        weights: (points,) for each of the trees.
        trees: pytrees of one structure.
        batch_size: how many points are evaluated at once; if None, as many as keep
            their values within some megabytes.
        mesh: spread the points over its devices.

    Raises:
        TypeError: if loss wants more than parameters.
        ValueError: if batch_size is not positive.
    """
    checks.check_loss(loss)
    return pytrees.evaluate_prepared(
        _loss_of_sums,
        tuple(weights),
        *trees,
        static=(loss,),
        batch_size=batch_size,
        mesh=mesh,
    )


def _loss_of_sums(loss: Callable[[Params], Any], *trees: Params) -> Any:
    return loss_of_sums(loss, trees)


def loss_of_sums(
    loss: Callable[[Params], Any], trees: Sequence[Params]
) -> tuple[Callable[[Sequence[ArrayLike]], Any], int]:
    """``weights -> loss(sum_i weights_i trees_i)``, with all shared work already done.

    Call it under jit, which drops what turns out not to be needed. Equal to the plain
    composition up to round-off. For each pytree the first layers' products are held: as
    many numbers as these layers have outputs.

    Args:
        loss: ``loss(params)``, a scalar or a pytree of values.
        trees: pytrees of one structure.

    Returns:
        The function, and how many points it is best given at once by vmap.
    """
    # Traced at shapes alone: the weights 1.0 only give the leaves their types.
    point = jax.eval_shape(lambda: pytrees.combine([1.0] * len(trees), trees))
    traced, shape = jax.make_jaxpr(loss, return_shape=True)(point)
    # Prints and callbacks must happen once a point, in order: nothing is shared.
    if traced.effects:
        return lambda weights: loss(pytrees.combine(weights, trees)), 1
    leaves = zip(*(jax.tree.leaves(tree) for tree in trees), strict=True)
    # Leaf l is sum_i w_i trees[i].l: no fixed part, one term a tree.
    leaf_sums = [_Sum(None, [jnp.asarray(v) for v in column]) for column in leaves]
    steps: list[_Step] = []
    combined = _walk(traced, leaf_sums, len(trees), steps)

    def at(weights: Sequence[ArrayLike]) -> Any:
        known: dict[Any, Any] = {}

        def value(v: _Sum | _Later) -> Any:
            # By identity, each sum is weighted once a point however often it is used.
            if isinstance(v, _Sum) and v not in known:
                if v.source is not None:
                    known[v] = v.source.run(*map(value, v.source.inputs))[0]
                else:
                    known[v] = _weighted(v, weights)
            return known[v]

        for run, _, inputs, outputs in steps:
            results = run(*(value(v) for v in inputs))
            known.update(zip(outputs, results, strict=True))
        return jax.tree.unflatten(
            jax.tree.structure(shape), [value(v) for v in combined]
        )

    return at, _block_size(steps)


def _block_size(steps: Sequence[_Step]) -> int:
    """How many points together fill the nearest memory with what each of them needs."""
    made: dict[_Sum | _Later, Any] = {}
    for _, eqn, inputs, outputs in steps:
        for v, var in zip(
            (*inputs, *outputs), (*eqn.invars, *eqn.outvars), strict=True
        ):
            # Constants are shared by the points of a block and take no room for each.
            if isinstance(v, _Later) or not v.constant:
                made[v] = var
    needed = sum(math.prod(v.aval.shape) * v.aval.dtype.itemsize for v in made.values())
    limit = _BLOCK_BYTES.get(jax.default_backend(), _ACCELERATOR_BYTES)
    return max(1, limit // max(needed, 1))


def _walk(
    traced: Any, leaf_sums: Sequence[_Sum | _Later], count: int, steps: list[_Step]
) -> list[_Sum | _Later]:
    """Return the outputs of a traced function; what only a point can do is added to
    steps.
    """

    def constant(v: Any) -> _Sum:
        return _Sum(v, [None] * count)

    known: dict[Any, _Sum | _Later] = {}
    known |= dict(
        zip(traced.jaxpr.constvars, map(constant, traced.consts), strict=True)
    )
    known |= dict(zip(traced.jaxpr.invars, leaf_sums, strict=True))

    def read(v: Any) -> _Sum | _Later:
        return constant(v.val) if jaxprs.is_literal(v) else known[v]

    for eqn in traced.jaxpr.eqns:
        inputs = [read(v) for v in eqn.invars]
        sums = [v for v in inputs if isinstance(v, _Sum)]
        run = functools.partial(_run, eqn)
        if len(sums) == len(inputs) and all(v.constant for v in sums):
            made = [constant(v) for v in run(*(v.fixed for v in sums))]
            # Large, and quick to make: a point makes it anew, where XLA can fuse it.
            if eqn.primitive.name in ("broadcast_in_dim", "iota"):
                made[0].source = _Step(run, eqn, inputs)
        # Nested functions (jit, custom derivatives) have layers inside.
        elif len(sums) == len(inputs) and eqn.primitive.name in jaxprs.CALLS:
            made = _walk(eqn.params["jaxpr"], inputs, count, steps)
        elif len(sums) == len(inputs) and _is_linear(eqn, sums):
            made = [_mapped(run, eqn, sums)]
        else:
            made = [_Later() for _ in eqn.outvars]
            steps.append(_Step(run, eqn, inputs, made))
        known.update(zip(eqn.outvars, made, strict=True))
    return [read(v) for v in traced.jaxpr.outvars]


def _is_linear(eqn: Any, inputs: Sequence[_Sum]) -> bool:
    """Whether the output is a sum as well, and better kept as one."""
    dtypes = [v.aval.dtype for v in (*eqn.invars, *eqn.outvars)]
    # Sums in less than float32 are rounded at every point.
    if any(dtype != jnp.promote_types(dtype, jnp.float32) for dtype in dtypes):
        return False
    name = eqn.primitive.name
    # A product of two sums is quadratic in the weights; one must be fixed.
    moving = [i for i, v in enumerate(inputs) if not v.constant]
    if name in _MOVES or name in _SUMS or name == "reduce_sum":
        return True
    if name == "div":
        return moving == [0]
    if name not in _PRODUCTS or len(moving) > 1:
        return False
    if name == "mul":
        # A scaled broadcast, such as a bias, is cheaper made at the point.
        source = inputs[moving[0]].source
        return source is None or source.eqn.primitive.name != "broadcast_in_dim"
    return _summed_over(eqn) >= _LEAST * len(inputs[moving[0]].terms)


def _summed_over(eqn: Any) -> int:
    """How many numbers a product sums over for each of its outputs."""
    left, right = (v.aval.shape for v in eqn.invars)
    numbers = eqn.params["dimension_numbers"]
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = numbers
        return math.prod(left[i] for i in contracted)
    return math.prod(right) // right[numbers.rhs_spec[0]]


def _mapped(run: Callable[..., list[Any]], eqn: Any, inputs: Sequence[_Sum]) -> _Sum:
    """Return a linear operation on fixed parts and on terms."""
    # (f1 + sum w t1) +- (f2 + sum w t2) adds term by term, an absent one being 0; any
    # other linear operation maps the moving operand and leaves the fixed one as it is.
    both = eqn.primitive.name in _SUMS

    def image(parts: Sequence[Any]) -> Any:
        if all(term is None for term in parts):
            return None
        if not both:
            return run(*parts)[0]
        left, right = (0 if term is None else term for term in parts)
        moved = left - right if eqn.primitive.name == "sub" else left + right
        return jnp.broadcast_to(moved, eqn.outvars[0].aval.shape)

    def along(i: int) -> list[Any]:
        return [v.terms[i] if both or not v.constant else v.fixed for v in inputs]

    moving = [v for v in inputs if not v.constant]
    terms = [
        None if all(v.terms[i] is None for v in moving) else image(along(i))
        for i in range(len(moving[0].terms))
    ]
    # A moving operand without a fixed part gives an output without one.
    still = both or all(v.fixed is not None for v in inputs)
    fixed = image([v.fixed for v in inputs]) if still else None
    source = _Step(run, eqn, inputs) if eqn.primitive.name in _MOVES else None
    return _Sum(fixed, terms, source)


def _weighted(v: _Sum, weights: Sequence[ArrayLike]) -> Any:
    pairs = [(w, t) for w, t in zip(weights, v.terms, strict=True) if t is not None]
    if not pairs:
        return v.fixed
    moved = pytrees.combine(*zip(*pairs, strict=True))
    return moved if v.fixed is None else v.fixed + moved


def _run(eqn: Any, *operands: Any) -> list[Any]:
    return jaxprs.bind(eqn, operands)
