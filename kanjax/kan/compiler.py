"""A formula as a network: what sympy writes, compiled into edges and units.

Source: Liu et al. (2024), KAN 2.0, arXiv 2408.10205, section 5.1 ("kanpiler"). There a
formula is a tree of its operations; here equal subexpressions are one unit.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from kanjax.kan.multiplication import FormulaEdge
from kanjax.kan.networks import KAN, Params

_POWERS = {
    "2": "x^2",
    "3": "x^3",
    "4": "x^4",
    "5": "x^5",
    "-1": "1/x",
    "-2": "1/x^2",
    "-3": "1/x^3",
    "-4": "1/x^4",
    "-5": "1/x^5",
    "1/2": "sqrt",
    "3/2": "x^1.5",
    "-1/2": "1/sqrt",
}
_FUNCTIONS = {
    "exp": "exp",
    "log": "log",
    "Abs": "abs",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "tanh": "tanh",
    "sign": "sgn",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atanh": "arctanh",
}


class _Term(NamedTuple):
    """An edge ``c f(a x + b) + d`` from an input, by index, or from a unit."""

    source: "int | _Unit"
    function: str
    a: float
    b: float
    c: float
    d: float = 0.0


class _Unit:
    """A product of sums of terms; a sum is a product of one.

    Its level is the layer that it comes out of: one above the highest of its sources.
    """

    def __init__(self, factors: Sequence[Sequence[_Term]]) -> None:
        self.factors = tuple(map(tuple, factors))
        self.level = 1 + max(_level(term.source) for term in self.terms())

    def terms(self) -> Iterable[_Term]:
        return (term for factor in self.factors for term in factor)


def _level(source: "int | _Unit") -> int:
    return 0 if isinstance(source, int) else source.level


def compile(
    expressions: Any, symbols: Sequence[Any] | None = None
) -> tuple[KAN, Params]:
    """Return a network that computes formulas, to be trained, pruned or looked at.

    Every edge is a function of the library with its constants, and a product is a unit
    that multiplies: so ``kan.symbolic.formula`` reads the formulas back, and training
    changes their constants.

    Args:
        expressions: a sympy expression, or several, one an output. Text is not taken,
            since reading it evaluates it: call ``sympy.sympify`` on what you trust.
        symbols: the sympy symbols of the inputs, in order; those of the expressions by
            name if None.

    Returns:
        The model, without any learned edge, and its parameters.

    Raises:
        TypeError: for what is no sympy expression.
        ValueError: for a symbol that is no input, a number that is not real, or a
            function or power that the library does not have.

    Examples:
        >>> import jax.numpy as jnp, sympy
        >>> from kanjax import kan
        >>> x, y = sympy.symbols("x y")
        >>> formula = sympy.exp(sympy.sin(sympy.pi * x) + y**2)
        >>> net, params = kan.compile(formula)
        >>> net.widths
        (2, 1, 1)
        >>> round(float(net.apply(params, jnp.array([0.5, 2.0]))[0]), 3)
        148.413
    """
    import sympy

    if isinstance(expressions, sympy.Expr | str):
        expressions = [expressions]
    for expression in expressions:
        if not isinstance(expression, sympy.Expr):
            raise TypeError(
                "expressions must be sympy expressions; got "
                f"{type(expression).__name__}. Call sympy.sympify on text you trust."
            )
    if symbols is None:
        free = set().union(*(each.free_symbols for each in expressions))
        symbols = sorted(free, key=str)
    for expression in expressions:
        unknown = expression.free_symbols - set(symbols)
        if unknown:
            names = ", ".join(sorted(map(str, unknown)))
            raise ValueError(
                f"the formula {expression} has {names}, which symbols does not list; "
                f"the inputs are {', '.join(map(str, symbols)) or 'none'}."
            )
    if not expressions or not symbols:
        raise ValueError("give at least one expression and one symbol.")
    compiler = _Compiler(symbols)
    outputs = [_Unit([compiler.sum_of(expression)]) for expression in expressions]
    return _assembled(outputs, len(symbols))


class _Compiler:
    """Units of expressions, each made once."""

    def __init__(self, symbols: Sequence[Any]) -> None:
        self.inputs = {symbol: i for i, symbol in enumerate(symbols)}
        self.units: dict[Any, _Unit] = {}

    def sum_of(self, expression: Any) -> list[_Term]:
        """Return the terms of a sum, no two of them from one source."""
        import sympy

        terms: list[_Term] = []
        constant = 0.0
        for argument in sympy.Add.make_args(expression):
            if argument.is_number:
                constant += _real(argument)
                continue
            term = self.term(argument)
            sources = [other.source for other in terms]
            if term.source in sources:
                # A layer has one edge between two units: the second goes around.
                term = _Term(self.unit(argument), "x", 1.0, 0.0, 1.0)
            if term.source in sources:
                # Another term is a function of what this one is: it goes further.
                term = _Term(_Unit([[term]]), "x", 1.0, 0.0, 1.0)
            terms.append(term)
        if not terms:
            return [_Term(0, "0", 0.0, 0.0, 0.0, constant)]
        terms[0] = terms[0]._replace(d=terms[0].d + constant)
        return terms

    def term(self, argument: Any) -> _Term:
        """Return the edge of a summand."""
        factor, rest = argument.as_coeff_Mul()
        c = _real(factor)
        constants, others = rest.as_independent(*self.inputs, as_Add=False)
        c, rest = c * _real(constants), others
        if rest in self.inputs:
            return _Term(self.inputs[rest], "x", 1.0, 0.0, c)
        if rest.is_Mul or rest.is_Add:
            return _Term(self.unit(rest), "x", 1.0, 0.0, c)
        name, inner = _function(rest)
        shift, moving = inner.as_independent(*self.inputs, as_Add=True)
        scale, core = moving.as_independent(*self.inputs, as_Add=False)
        source = self.inputs.get(core)
        if source is None:
            return _Term(self.unit(core), name, _real(scale), _real(shift), c)
        return _Term(source, name, _real(scale), _real(shift), c)

    def unit(self, expression: Any) -> _Unit:
        """Return the unit of an expression, the same one for the same expression."""
        if expression not in self.units:
            if expression.is_Mul:
                factors = [self.sum_of(factor) for factor in expression.args]
            else:
                factors = [self.sum_of(expression)]
            self.units[expression] = _Unit(factors)
        return self.units[expression]


def _function(expression: Any) -> tuple[str, Any]:
    """Return the library's name of a function, and what it is taken of."""
    import sympy

    if expression.is_Pow and expression.exp.is_number:
        name = _POWERS.get(str(sympy.nsimplify(expression.exp)))
        inner = expression.base
    else:
        name = _FUNCTIONS.get(type(expression).__name__)
        inner = expression.args[0]
    if name is None:
        raise ValueError(
            f"{expression} is no function of the library, which has the powers "
            f"{', '.join(_POWERS)} and {', '.join(_FUNCTIONS)}; write it by these."
        )
    return name, inner


def _real(number: Any) -> float:
    value = complex(number)
    if value.imag or value != value or abs(value) == float("inf"):
        raise ValueError(f"the formula has the constant {number}, which is not real.")
    return value.real


def _assembled(outputs: Sequence[_Unit], inputs: int) -> tuple[KAN, Params]:
    """Put units in layers, with edges that pass on what later layers need."""
    last = max(unit.level for unit in outputs)
    # What each layer hands on: the outputs at the end, before that what is asked for.
    needed: list[list[int | _Unit]] = [list(range(inputs))]
    needed += [[] for _ in range(1, last)] + [list(outputs)]
    for level in range(last, 1, -1):
        for unit in needed[level]:
            for factor in _factors(unit, level, last):
                for term in factor:
                    if term.source not in needed[level - 1]:
                        needed[level - 1].append(term.source)
    arity = max(
        2,
        *(
            len(_factors(unit, level, last))
            for level in range(1, last + 1)
            for unit in needed[level]
        ),
    )
    formulas, params, products = [], [], []
    for level in range(1, last + 1):
        # Units that multiply come last in a layer.
        needed[level].sort(key=lambda unit: len(_factors(unit, level, last)) > 1)
        edges: list[FormulaEdge] = []
        rows: list[tuple[float, ...]] = []
        sums = 0
        for unit in needed[level]:
            factors = list(_factors(unit, level, last))
            if len(factors) > 1:
                nothing = (_Term(needed[level - 1][0], "0", 0.0, 0.0, 0.0, 1.0),)
                factors += [nothing] * (arity - len(factors))
            for factor in factors:
                for term in factor:
                    source = needed[level - 1].index(term.source)
                    edges.append(FormulaEdge(source, sums, term.function))
                    rows.append(term[2:])
                sums += 1
        formulas.append(tuple(edges))
        params.append({"formulas": jnp.asarray(rows, float)})
        products.append(sum(len(_factors(u, level, last)) > 1 for u in needed[level]))
    net = KAN(
        (inputs, *(len(units) for units in needed[1:])),
        basis=None,
        products=tuple(products) if any(products) else None,
        arity=arity,
        formulas=tuple(formulas),
    )
    return net, tuple(params)


def _factors(
    unit: "int | _Unit", level: int, last: int
) -> tuple[tuple[_Term, ...], ...]:
    """Return what a layer sums and multiplies to hand a unit on.

    It is made in the layer of its level, an output in the last one, and passed on by
    an edge that is the identity in those between.
    """
    if isinstance(unit, _Unit) and level in (unit.level, last):
        return unit.factors
    return ((_Term(unit, "x", 1.0, 0.0, 1.0),),)
