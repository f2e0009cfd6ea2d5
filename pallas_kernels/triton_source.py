"""Functions of a basis written in Triton, from what jax traces of them.

A basis is Python that computes with jax, a kernel in Triton calls functions of Triton:
``function(index, x)`` is traced for one number, and every operation becomes a line that
works on a tile. So every basis and every derivative serves in the same kernel.
"""

import dataclasses
import functools
import linecache
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from pallas_kernels import basis as bases
from pallas_kernels import rewrite

HEADER = """@triton.jit
def values(g, x, leaves_ref, column, WIDTH: tl.constexpr):
    zero = tl.zeros_like(x)
"""

leaf_row_p = jax.extend.core.Primitive("leaf_row")
leaf_row_p.def_abstract_eval(lambda row: jax.core.ShapedArray((), jnp.dtype("float32")))


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A leaf of a basis, (n,) or (in, n): ``leaf[..., i]`` is a number of an input."""

    first: int
    """Which row is its first of those that all leaves have together."""

    def __getitem__(self, index: tuple[Any, Any]) -> Array:
        """Return the number at that place of the input at hand."""
        return leaf_row_p.bind(jnp.asarray(self.first + index[1], jnp.int32))


def function(basis: Any, order: int) -> Any:
    """Return the derivative of a basis' function as one of ``triton.jit``.

    It takes the function's number g, a tile x of float32, a pointer to the leaves' rows
    (as :func:`leaf_rows` gives them), the tile's columns and the length of a row.

    Raises:
        NotImplementedError: for a basis that does what Triton has no word for.
    """
    return _compiled(source(basis, order))


def leaf_rows(leaves: Sequence[tuple[Array, bool]]) -> tuple[Array, bool]:
    """Return leaves, (n,) or (in, n), as the rows of one array, (n, in) or (n, 1).

    Each comes with whether it has a leading axis over members, as does the result.
    """
    rows, batched = [], any(has for _, has in leaves)
    for leaf, has in leaves:
        shape = leaf.shape[int(has) :]
        row = leaf[..., None] if len(shape) == 1 else jnp.swapaxes(leaf, -1, -2)
        rows.append(row if has or not batched else row[None])
    width = max(row.shape[-1] for row in rows)
    number = max(row.shape[0] for row in rows) if batched else 1
    lead = (number,) * batched
    wide = [jnp.broadcast_to(v, (*lead, v.shape[-2], width)) for v in rows]
    return jnp.concatenate(wide, axis=-2).astype(jnp.float32), batched


@functools.cache
def _compiled(text: str) -> Any:
    import triton
    import triton.language as tl

    # Triton asks inspect for the source, and inspect asks linecache.
    name = f"<functions of a basis {hash(text):x}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    names = {"triton": triton, "tl": tl, "__name__": __name__}
    exec(compile(text, name, "exec"), names)
    return names["values"]


def source(basis: Any, order: int) -> str:
    """Return the text of what :func:`function` compiles."""
    leaves, tree = jax.tree.flatten(basis)
    firsts, total = [], 0
    for leaf in leaves:
        firsts.append(total)
        total += leaf.shape[-1]
    parts = bases.parts(jax.tree.unflatten(tree, [Leaf(first) for first in firsts]))
    # One writer for all: Triton asks that a name has one type in every branch.
    writer = Writer("    " if len(parts) == 1 else "        ")
    for number, (first, member) in enumerate(parts):
        # Which part g is of, is the same for all threads: one of the branches runs.
        last = number == len(parts) - 1
        head = (
            "else:" if last else f"{'el' * (number > 0)}if g < {first + member.size}:"
        )
        if len(parts) > 1:
            writer.lines.append("    " + head)
        index = "g" if first == 0 else f"(g - {first})"
        (y,) = writer.run(_traced(member, order), [index, "x"])
        writer.lines.append(f"{writer.indent}y = zero + {_literal(y)}")
    return HEADER + "\n".join([*writer.lines, "    return y", ""])


def _traced(member: Any, order: int) -> Any:
    def f(g: Array, x: Array) -> Array:
        return bases.derivative(lambda v: member.function(g, v), order)(x)

    number = jax.ShapeDtypeStruct((), jnp.float32)
    try:
        return jax.make_jaxpr(f)(jax.ShapeDtypeStruct((), jnp.int32), number)
    except (AttributeError, TypeError) as error:
        raise NotImplementedError(
            f"{type(member).__name__}.function uses its arrays in another way than by "
            f"array[..., index] ({error})"
        ) from error


class Writer:
    """Writes a jaxpr of numbers as lines of Triton on tiles.

    A value is the name of a variable, or a number that is known.
    """

    def __init__(self, indent: str) -> None:
        self.lines: list[str] = []
        self.indent = indent
        self.count = 0

    def run(self, closed: Any, inputs: Sequence[Any]) -> list[Any]:
        """Write all equations; return the outputs."""
        jaxpr = closed.jaxpr
        if any(jnp.ndim(const) for const in closed.consts):
            raise NotImplementedError("arrays in a function of a basis")
        consts = [_number(v) for v in closed.consts]
        values = dict(zip(jaxpr.constvars, consts, strict=True))
        values |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(variable: Any) -> Any:
            literal = isinstance(variable, jax.extend.core.Literal)
            return _number(variable.val) if literal else values[variable]

        for eqn in jaxpr.eqns:
            outputs = self._equation(eqn, [read(v) for v in eqn.invars])
            values |= dict(zip(eqn.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, inputs: list[Any]) -> list[Any]:
        name, params = eqn.primitive.name, eqn.params
        if name in rewrite.CALLS:
            return self.run(params[rewrite.CALLS[name]], inputs)
        if name == "while":
            return self._while(inputs, eqn.outvars, **params)
        known = not any(isinstance(v, str) for v in inputs)
        if known and name != "leaf_row":
            return [self._folded(eqn, inputs)]
        if name == "convert_element_type":
            return [self._assign(_converted(inputs[0], eqn.invars[0].aval, **params))]
        write = WORDS.get(name)
        if write is None:
            raise NotImplementedError(f"the operation {name!r} of a basis")
        return [self._assign(write(*map(_literal, inputs), **params))]

    def _folded(self, eqn: Any, inputs: list[Any]) -> Any:
        with jax.ensure_compile_time_eval():
            avals = [v.aval for v in eqn.invars]
            arrays = [
                jnp.asarray(v, a.dtype) for v, a in zip(inputs, avals, strict=True)
            ]
            return eqn.primitive.bind(*arrays, **eqn.params).item()

    def _while(
        self,
        inputs: list[Any],
        outvars: list[Any],
        cond_jaxpr: Any,
        body_jaxpr: Any,
        cond_nconsts: int,
        body_nconsts: int,
    ) -> list[str]:
        carry = cond_nconsts + body_nconsts
        for_cond, for_body = inputs[:cond_nconsts], inputs[cond_nconsts:carry]
        # What is carried keeps its type: whole numbers one for all threads, others
        # tiles.
        now = []
        for value, variable in zip(inputs[carry:], outvars, strict=True):
            is_integer = jnp.issubdtype(variable.aval.dtype, jnp.integer)
            now.append(
                self._assign(f"{'g * 0' if is_integer else 'zero'} + {_literal(value)}")
            )
        more = self._assign(self.run(cond_jaxpr, [*for_cond, *now])[0])
        self.lines.append(f"{self.indent}while {more}:")
        self.indent += "    "
        after = self.run(body_jaxpr, [*for_body, *now])
        after = [self._assign(_literal(v)) for v in after]
        for variable, value in zip(now, after, strict=True):
            self.lines.append(f"{self.indent}{variable} = {value}")
        again = self.run(cond_jaxpr, [*for_cond, *now])[0]
        self.lines.append(f"{self.indent}{more} = {again}")
        self.indent = self.indent[:-4]
        return now

    def _assign(self, expression: str) -> str:
        self.count += 1
        self.lines.append(f"{self.indent}v{self.count} = {expression}")
        return f"v{self.count}"


def _number(value: Any) -> bool | int | float:
    return np.asarray(value).item()


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return f"({value!r})" if value < 0 else repr(value)


def _converted(x: str, aval: Any, *, new_dtype: Any, **_: Any) -> str:
    kinds = {"float32": "tl.float32", "int32": "tl.int32", "int64": "tl.int64"}
    name = kinds.get(new_dtype.name)
    if name is None:
        raise NotImplementedError(f"numbers of type {new_dtype} in a basis")
    # The number of a function is one of Python's where Triton interprets.
    if jnp.issubdtype(aval.dtype, jnp.integer):
        return f"{x} * 1.0" if name == "tl.float32" else x
    return f"({x}).to({name})"


def _power(x: str, *, y: int) -> str:
    product = "(" + " * ".join([x] * abs(y)) + ")"
    return f"1.0 / {product}" if y < 0 else product


def _round(x: str, *, rounding_method: Any) -> str:
    if int(rounding_method) != 1:
        raise NotImplementedError("rounding of halves away from zero")
    up = f"tl.floor({x} + 0.5)"
    odd = f"({up} - {x} == 0.5) & (tl.floor({up} * 0.5) * 2 != {up})"
    return f"tl.where({odd}, {up} - 1.0, {up})"


def _polynomial(x: str, *coefficients: str) -> str:
    value, *others = reversed(coefficients)
    for coefficient in others:
        value = f"({value} * {x} + {coefficient})"
    return value


def _tanh(x: str, **_: Any) -> str:
    # Of small numbers the quotient would lose digits.
    square, small = f"{x} * {x}", f"tl.abs({x}) < 0.3"
    odd = _polynomial(square, "1.0", "-1/3", "2/15", "-17/315", "62/2835")
    return f"tl.where({small}, {x} * {odd}, 1.0 - 2.0 / (tl.exp(2.0 * {x}) + 1.0))"


def _log1p(x: str, **_: Any) -> str:
    # The rounding of 1 + x is made up for by that of the difference.
    return (
        f"tl.where({x} + 1.0 == 1.0, {x}, "
        f"tl.log(1.0 + {x}) * {x} / tl.where({x} + 1.0 == 1.0, 1.0, {x} + 1.0 - 1.0))"
    )


def _of_two(word: str) -> Callable[..., str]:
    return lambda a, b, **_: f"{a} {word} {b}"


def _called(word: str, more: str = "") -> Callable[..., str]:
    return lambda *a, **_: f"{word}({', '.join(a)}{more})"


ALL = ", propagate_nan=tl.PropagateNan.ALL"
WORDS: dict[str, Callable[..., str]] = {
    **{
        name: _of_two(word)
        for name, word in {
            "add": "+",
            "add_any": "+",
            "sub": "-",
            "mul": "*",
            "div": "/",
            "and": "&",
            "or": "|",
            "xor": "^",
            "eq": "==",
            "ne": "!=",
            "lt": "<",
            "le": "<=",
            "gt": ">",
            "ge": ">=",
        }.items()
    },
    **{name: _called(f"tl.{name}") for name in ("abs", "exp", "exp2", "sin", "cos")},
    **{name: _called(f"tl.{name}") for name in ("log", "floor", "ceil", "sqrt")},
    "copy": lambda x, **_: x,
    "erf": _called("tl.erf"),
    "integer_pow": _power,
    "is_finite": lambda x, **_: f'tl.abs({x}) < float("inf")',
    "leaf_row": lambda row: f"tl.load(leaves_ref + {row} * WIDTH + column)",
    "log1p": _log1p,
    "logistic": _called("tl.sigmoid"),
    "max": _called("tl.maximum", ALL),
    "min": _called("tl.minimum", ALL),
    "neg": lambda x, **_: f"-{x}",
    "not": lambda x, **_: f"{x} == 0",
    "one_minus_square": lambda x, **_: f"1.0 - {x} * {x}",
    "polynomial": _polynomial,
    "round": _round,
    "rsqrt": _called("tl.rsqrt"),
    "select_n": lambda which, no, yes: f"tl.where({which}, {yes}, {no})",
    "sign": lambda x, **_: f"tl.where({x} > 0, 1.0, tl.where({x} < 0, -1.0, {x}))",
    "square": lambda x, **_: f"{x} * {x}",
    "stop_gradient": lambda x, **_: x,
    "tanh": _tanh,
}
"""What an operation of jax is in Triton."""
