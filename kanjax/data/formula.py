"""Formulas from text, evaluated without ever running the text as code.

The text is parsed to Python's syntax tree, and the tree is walked by a small
evaluator that knows arithmetic, a few functions and two constants. Anything else in
the tree (attributes, subscripts, strings, other calls) is refused.
"""

import ast
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from kanjax.data import errors

FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "tanh": np.tanh,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
}
CONSTANTS = {"pi": np.pi, "e": np.e}

_BINARY: dict[type[ast.operator], Callable[..., np.ndarray]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_UNARY: dict[type[ast.unaryop], Callable[..., np.ndarray]] = {
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}
_LONGEST = 1000


@dataclasses.dataclass(frozen=True)
class Formula:
    """A parsed formula.

    Attributes:
        text: what it was parsed from.
        variables: its free names in order of appearance.
    """

    text: str
    variables: tuple[str, ...]
    tree: ast.expr = dataclasses.field(repr=False, compare=False)

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Evaluate in float64; where it is undefined the result is not finite.

        Args:
            values: an array for each variable, of shapes that broadcast.
        """
        values = {name: np.asarray(values[name], float) for name in self.variables}
        with np.errstate(all="ignore"):
            return np.asarray(_evaluate(self.tree, values))


def parse(text: str) -> Formula:
    """Parse a formula such as ``exp(sin(pi*x) + y^2)``; ``^`` is the power.

    Raises:
        DataError: when it is not a formula of numbers, names, ``+ - * / ^``, the
            functions in ``FUNCTIONS`` and the constants ``pi`` and ``e``.
    """
    if len(text) > _LONGEST:
        raise errors.DataError(
            f"a formula may have {_LONGEST} characters, got {len(text)}"
        )
    # `^` binds like `**` in mathematics but not in Python, so it goes before parsing.
    source = text.strip().replace("**", "^").replace("^", "**")
    try:
        tree = ast.parse(source, mode="eval").body
        names = _variables(tree, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, errors.DataError):
            raise
        raise errors.DataError(
            f"{_quoted(text)} cannot be read ({errors.one_line(error)}); write it "
            "like 'exp(sin(pi*x) + y^2)', with every * in place"
        ) from None
    if not names:
        raise errors.DataError(
            f"{_quoted(text)} has no variable; name at least one, e.g. 'sin(pi*x)'"
        )
    return Formula(text, names, tree)


def _quoted(text: str) -> str:
    short = text if len(text) <= 80 else text[:77] + "..."
    return f"the formula {short!r}"


def _refuse(text: str, what: str) -> errors.DataError:
    return errors.DataError(
        f"{_quoted(text)} has {what}, expected only numbers, variables, + - * / ^, "
        f"pi, e and {', '.join(FUNCTIONS)}"
    )


def _variables(tree: ast.expr, text: str) -> tuple[str, ...]:
    """Check every node against the white list, and collect the free names."""
    names: list[tuple[int, int, str]] = []
    pending: list[ast.expr] = [tree]
    while pending:
        node = pending.pop()
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                pass
            case ast.Name(id=name):
                if name in FUNCTIONS:
                    raise _refuse(text, f"the function {name!r} without an argument")
                if name.startswith("_"):
                    raise _refuse(text, f"the name {name!r}")
                if name not in CONSTANTS:
                    names.append((node.lineno, node.col_offset, name))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                pending += [left, right]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                pending.append(operand)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                if name not in FUNCTIONS:
                    hint = errors.nearest(name, FUNCTIONS)
                    raise _refuse(text, f"the unknown function {name!r} ({hint})")
                pending.append(argument)
            case _:
                raise _refuse(text, f"{ast.unparse(node)[:40]!r}")
    return tuple(dict.fromkeys(name for *_, name in sorted(names)))


def _evaluate(node: ast.expr, values: Mapping[str, np.ndarray]) -> np.ndarray:
    match node:
        case ast.Constant(value=int() | float() as value):
            return np.asarray(_as_float(value))
        case ast.Name(id=name):
            return values[name] if name in values else np.asarray(CONSTANTS[name])
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(op=op, operand=operand):
            return _UNARY[type(op)](_evaluate(operand, values))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](_evaluate(argument, values))
    raise TypeError(f"not part of a formula: {ast.dump(node)}")


def _as_float(value: int | float) -> float:
    # Floats throughout: 9^9^9 becomes inf at once, not an integer without end.
    try:
        return float(value)
    except OverflowError:
        return np.inf
