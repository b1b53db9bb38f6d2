"""Rate expressions: BNGL text in, values, derivatives and generated source out. Symbols end here.

An expression is held as a Python syntax tree over names (parameters, observables, `time()`), numbers and the
functions of `FUNCTIONS`. Derivatives are taken on the tree, so that no computer algebra system is loaded.

Numbers and conditions are kept apart from the start: where BNGL uses a comparison as a number the tree has
`if(comparison, 1, 0)`, and where it uses a number as a condition the tree has `number != 0`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, nearest

TIME = "time"
"""The name under which explicit time appears in a parsed expression."""

FUNCTIONS: dict[str, str] = {
    "exp": "exp", "ln": "log", "log10": "log10", "log2": "log2", "sqrt": "sqrt", "abs": "fabs", "rint": "floor",
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
}  # fmt: skip
"""Functions of one argument: BNGL name -> C name. BioNetGen's `rint` rounds halves up: floor(x + 1/2)."""

_DERIVATIVES: dict[str, str] = {
    "exp": "exp(x)", "ln": "1/x", "log10": "1/(x*ln(10))", "log2": "1/(x*ln(2))",
    "sqrt": "1/(2*sqrt(x))", "abs": "if(x>=0,1,-1)", "rint": "0",
    "sin": "cos(x)", "cos": "-sin(x)", "tan": "1+tan(x)^2",
    "asin": "1/sqrt(1-x^2)", "acos": "-1/sqrt(1-x^2)", "atan": "1/(1+x^2)",
    "sinh": "cosh(x)", "cosh": "sinh(x)", "tanh": "1-tanh(x)^2",
    "asinh": "1/sqrt(x^2+1)", "acosh": "1/sqrt(x^2-1)", "atanh": "1/(1-x^2)",
}  # fmt: skip
_CONSTANTS = {"_pi": math.pi, "_e": math.e}
RESERVED = (TIME, *_CONSTANTS)
"""Names with a meaning of their own, which no quantity may have."""
_SPECIAL = ("if", "min", "max", "sum", "avg")
_CONDITIONS = (ast.Compare, ast.BoolOp)

# ---- reading ----------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<call>[A-Za-z_]\w*\s*\()|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<operator>\*\*|&&|\|\||[<>=!]=|[-+*/^<>!(),])|(?P<blank>\s+)|(?P<other>.)",
    re.DOTALL,
)
_OPERATORS: dict[str, tuple[int, Any]] = {
    "||": (1, ast.Or()), "&&": (2, ast.And()),
    "<": (3, ast.Lt()), "<=": (3, ast.LtE()), ">": (3, ast.Gt()), ">=": (3, ast.GtE()),
    "==": (3, ast.Eq()), "!=": (3, ast.NotEq()),
    "+": (4, ast.Add()), "-": (4, ast.Sub()), "*": (5, ast.Mult()), "/": (5, ast.Div()),
    "negative": (6, ast.USub()), "positive": (6, ast.UAdd()), "!": (6, ast.Not()),
    "^": (7, ast.Pow()), "**": (7, ast.Pow()),
}  # fmt: skip
"""Operator -> how tightly it binds, and its node; a power binds more tightly than the sign before it: -x^2 = -(x^2)."""
_PREFIX = {"-": "negative", "+": "positive", "!": "!"}
_LONG_SUM, _DEEP, _MOST_BRACKETS = 32, 100, 190
"""Sums of more terms are kept as balanced trees; trees with more levels, and code with more brackets within each other
(Python reads 200), are refused."""


def parse(text: str) -> ast.expr:
    """Return the syntax tree of a BNGL expression; names are kept, `time()` and calls `f()` become plain names.

    Raises InputError for text that is no expression and for functions that are not supported, by name.
    """
    tree = _Reader(text).read()
    try:
        tree = _BalancedSums().visit(tree)
    except RecursionError:
        raise too_deep(text) from None
    levels, level = 0, [tree]
    while level := [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]:
        levels += 1
    if levels > _DEEP:
        raise too_deep(text)
    return tree


def too_deep(text: str) -> InputError:
    """Return the error for an expression whose brackets or functions are nested too deeply to be worked with."""
    shown = text if len(text) < 80 else f"{text[:80]}..."
    return InputError(f"nested more deeply than supported: {shown!r}; name parts of it as functions of their own")


class _Reader:
    """Dijkstra's shunting yard: operands and waiting operators on two stacks, so that brackets cost no recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.operands: list[ast.expr] = []
        self.waiting: list[str] = []
        """Operators and open brackets: `(`, or `name(` of a call."""
        self.opened: list[int] = []
        """How many operands there were before each open bracket."""

    def read(self) -> ast.expr:
        wanted = True  # an operand, not an operator, comes next
        for match in _TOKEN.finditer(self.text):
            kind, token = match.lastgroup, match.group()
            if kind == "blank":
                continue
            if wanted and kind == "number":
                self.operands.append(ast.Constant(float(token)))
                wanted = False
            elif wanted and kind == "name":
                self.operands.append(_quantity(token))
                wanted = False
            elif wanted and (kind == "call" or token == "("):
                self.waiting.append(token)
                self.opened.append(len(self.operands))
            elif wanted and token in _PREFIX:
                self.waiting.append(_PREFIX[token])
            elif token == ")" and self.opened and (not wanted or self._is_empty_call()):
                self._close()
                wanted = False
            elif not wanted and token == "," and self._in_call():
                self._reduce(0)
                wanted = True
            elif not wanted and kind == "operator" and token in _OPERATORS and token != "!":
                tightness = _OPERATORS[token][0]
                self._reduce(tightness + (token in ("^", "**")))  # a^b^c = a^(b^c), all others from the left
                self.waiting.append(token)
                wanted = True
            else:
                raise self._unreadable(f"unexpected {token.strip()!r} at position {match.start()}")
        if wanted or self.opened:
            raise self._unreadable("a bracket is not closed" if self.opened else "it ends too early")
        self._reduce(0)
        return _number(self.operands.pop())

    def _unreadable(self, why: str) -> InputError:
        return InputError(f"cannot read the expression {self.text.strip()!r}: {why}")

    def _is_empty_call(self) -> bool:
        return len(self.waiting[-1]) > 1 and self.waiting[-1].endswith("(") and self.opened[-1] == len(self.operands)

    def _in_call(self) -> bool:
        brackets = [entry for entry in self.waiting if entry.endswith("(")]
        return bool(brackets) and brackets[-1] != "("

    def _close(self) -> None:
        self._reduce(0)
        name, first = self.waiting.pop().rstrip("( \t\n"), self.opened.pop()
        arguments = self.operands[first:]
        if name:
            self.operands[first:] = [self._called(name, arguments)]

    def _reduce(self, tightness: int) -> None:
        """Apply the waiting operators that bind at least that tightly, back to the last open bracket."""
        while self.waiting and not self.waiting[-1].endswith("(") and _OPERATORS[self.waiting[-1]][0] >= tightness:
            operator = _OPERATORS[self.waiting.pop()][1]
            b = self.operands.pop()
            if isinstance(operator, ast.unaryop):
                negated = isinstance(operator, ast.Not)
                # `not c` is kept as the comparison c == 0 of a number, so that conditions are of two kinds only
                tree = ast.Compare(_number(b), [ast.Eq()], [ast.Constant(0.0)]) if negated else _signed(operator, b)
            else:
                a = self.operands.pop()
                if isinstance(operator, ast.boolop):
                    tree = ast.BoolOp(operator, [_condition(a), _condition(b)])
                elif isinstance(operator, ast.cmpop):
                    tree = ast.Compare(_number(a), [operator], [_number(b)])
                else:
                    tree = ast.BinOp(_number(a), operator, _number(b))
            self.operands.append(tree)

    def _called(self, name: str, arguments: Sequence[ast.expr]) -> ast.expr:
        n = len(arguments)
        if not n:
            return _quantity(name)
        if name == "log":
            raise InputError(f"log() is ambiguous in {self.text.strip()!r}; say ln() or log10()")
        known = [*FUNCTIONS, *_SPECIAL]
        if name not in known or n != {"if": 3}.get(name, n if name in _SPECIAL else 1):
            raise InputError(
                f"function {name}() with {n} argument(s) is not supported in {self.text.strip()!r}; "
                f"{nearest(name, known)}supported: {', '.join(known)}"
            )
        if name == "if":
            return _call("if", _condition(arguments[0]), *map(_number, arguments[1:]))
        first, *others = map(_number, arguments)
        for other in others:  # of any number: pairwise from here on
            first = _call(name, first, other) if name in ("min", "max") else ast.BinOp(first, ast.Add(), other)
        if name in ("min", "max", "sum"):
            return first
        return ast.BinOp(first, ast.Div(), ast.Constant(float(n))) if name == "avg" else _call(name, first)


def _quantity(name: str) -> ast.expr:
    return ast.Constant(_CONSTANTS[name]) if name in _CONSTANTS else ast.Name(name, ast.Load())


def _signed(operator: ast.unaryop, tree: ast.expr) -> ast.expr:
    return ast.UnaryOp(operator, _number(tree)) if isinstance(operator, ast.USub) else _number(tree)


def _number(tree: ast.expr) -> ast.expr:
    """Return the tree of a number: a condition counts 1 where it holds, else 0."""
    return _call("if", tree, ast.Constant(1.0), ast.Constant(0.0)) if isinstance(tree, _CONDITIONS) else tree


def _condition(tree: ast.expr) -> ast.expr:
    """Return the tree of a condition: a number holds where it is not 0."""
    return tree if isinstance(tree, _CONDITIONS) else ast.Compare(tree, [ast.NotEq()], [ast.Constant(0.0)])


class _BalancedSums(ast.NodeTransformer):
    """Turn the chain of a long sum into a tree of logarithmic depth."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        terms: list[ast.expr] = []
        rest: ast.expr = node
        while isinstance(rest, ast.BinOp) and isinstance(rest.op, (ast.Add, ast.Sub)):
            terms.append(rest.right if isinstance(rest.op, ast.Add) else ast.UnaryOp(ast.USub(), rest.right))
            rest = rest.left
        if len(terms) < _LONG_SUM:
            return ast.BinOp(self.visit(node.left), node.op, self.visit(node.right))
        terms = [self.visit(term) for term in (rest, *reversed(terms))]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [ast.BinOp(a, ast.Add(), b) for a, b in pairs] + terms[len(terms) - len(terms) % 2 :]
        return terms[0]


def names_in(tree: ast.expr) -> set[str]:
    """Return the names of the quantities in `tree` (functions not counted)."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def used_by(trees: Iterable[ast.expr], definitions: Mapping[str, ast.expr]) -> dict[str, ast.expr]:
    """Return those of `definitions` that `trees` use, directly or through others, in their order."""
    used: set[str] = set()
    waiting = list(trees)
    while waiting:
        new = names_in(waiting.pop()) & definitions.keys() - used
        used |= new
        waiting += [definitions[name] for name in new]
    return {name: tree for name, tree in definitions.items() if name in used}


def in_steps(
    trees: Iterable[ast.expr], definitions: Mapping[str, ast.expr]
) -> tuple[list[ast.expr], dict[str, ast.expr]]:
    """Return the same quantities made of definitions of one operation each, equal ones shared.

    Derivatives of them, by the chain rule, then grow in number but not in size.
    """
    steps: dict[str, ast.expr] = {}
    known: dict[str, ast.expr] = {}
    """What stands for a part, by its text or by the name of its definition."""

    def step(tree: ast.expr) -> ast.expr:
        match tree:
            case ast.Constant():
                return tree
            case ast.Name(id=name):
                return known.get(name, tree)
            case ast.Call(func=function, args=arguments):
                tree = ast.Call(function, [step(argument) for argument in arguments], [])
            case ast.BinOp(left=a, op=op, right=b):
                tree = ast.BinOp(step(a), op, step(b))
            case ast.UnaryOp(op=op, operand=a):
                tree = ast.UnaryOp(op, step(a))
            case ast.Compare(left=a, ops=ops, comparators=[b]):
                return ast.Compare(step(a), ops, [step(b)])  # conditions stay where they are: they are no numbers
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [step(value) for value in values])
        text = ast.dump(tree)
        if text not in known:
            symbol = f"step {len(steps)}"  # no name of a quantity has a blank
            steps[symbol] = tree
            known[text] = ast.Name(symbol, ast.Load())
        return known[text]

    for name, tree in definitions.items():
        known[name] = step(tree)
    return [step(tree) for tree in trees], steps


def switches(tree: ast.expr) -> Iterator[ast.expr]:
    """Return the parts of `tree` at which its value or slope can jump: comparisons, `rint`, `min` and `max`."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare() | ast.Call(func=ast.Name(id="rint" | "min" | "max")):
                yield node


def substitute(tree: ast.expr, definitions: Mapping[str, ast.expr]) -> ast.expr:
    """Return `tree` with every name in `definitions` replaced by its expression (once; `tree` is not changed)."""

    class Replace(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.expr:
            return ast.Call(node.func, [self.visit(argument) for argument in node.args], [])

        def visit_Name(self, node: ast.Name) -> ast.expr:
            return definitions.get(node.id, node)

    return Replace().visit(_fresh(tree))


def _fresh(tree: Any) -> Any:
    """Return a copy in which no two places share a node (derivatives share, and transformers work in place)."""
    if isinstance(tree, list):
        return [_fresh(item) for item in tree]
    if not isinstance(tree, ast.AST):
        return tree
    return type(tree)(**{name: _fresh(value) for name, value in ast.iter_fields(tree)})


# ---- derivatives ------------------------------------------------------------------------------------------------


def derivative(tree: ast.expr, name: str, inner: Mapping[str, ast.expr] | None = None) -> ast.expr:
    """Return d tree / d name; branches of `if`, `min` and `max` are differentiated in place (one-sided at a kink).

    `inner` gives the derivatives of other quantities in `tree` that depend on `name`: the chain rule. A condition is
    piecewise constant, its derivative 0.
    """
    known = {**(inner or {}), name: ast.Constant(1.0)}

    def d(tree: ast.expr) -> ast.expr:
        if not names_in(tree) & known.keys():
            return ast.Constant(0.0)
        match tree:
            case ast.Name(id=quantity):
                return known[quantity]
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return _negate(d(x))
            case ast.BinOp(left=a, op=ast.Add(), right=b):
                return _add(d(a), d(b))
            case ast.BinOp(left=a, op=ast.Sub(), right=b):
                return _add(d(a), _negate(d(b)))
            case ast.BinOp(left=a, op=ast.Mult(), right=b):
                return _add(_multiply(d(a), b), _multiply(a, d(b)))
            case ast.BinOp(left=a, op=ast.Div(), right=b):
                return _add(_divide(d(a), b), _negate(_divide(_multiply(a, d(b)), _multiply(b, b))))
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                of_base = _multiply(b, ast.BinOp(a, ast.Pow(), _add(b, ast.Constant(-1.0))))
                of_exponent = _multiply(tree, _call("ln", a))
                zero = ast.Constant(0.0)
                if names_in(b):  # x^0 and 0^n have slopes too: 0, where the formulas say 0/0 and 0 ln(0)
                    of_base = _call("if", ast.Compare(b, [ast.Eq()], [zero]), zero, of_base)
                    of_exponent = _call("if", ast.Compare(a, [ast.Eq()], [zero]), zero, of_exponent)
                return _add(_multiply(of_base, d(a)), _multiply(of_exponent, d(b)))
            case ast.Call(func=ast.Name(id="if"), args=[condition, a, b]):
                yes, no = d(a), d(b)
                return yes if _is(yes, 0) and _is(no, 0) else _call("if", condition, yes, no)
            case ast.Call(func=ast.Name(id=("min" | "max") as kind), args=[a, b]):
                return _call("if", ast.Compare(a, [ast.LtE() if kind == "min" else ast.GtE()], [b]), d(a), d(b))
            case ast.Call(func=ast.Name(id=function), args=[x]):
                return _multiply(substitute(parse(_DERIVATIVES[function]), {"x": x}), d(x))
        raise InputError(f"no derivative is known for {ast.unparse(tree)!r}")

    try:
        return d(tree)
    except RecursionError:
        raise too_deep(f"d/d{name} of {', '.join(sorted(names_in(tree)))}") from None


def derivatives(
    trees: Sequence[ast.expr], defined: Mapping[str, ast.expr], variables: Sequence[str]
) -> tuple[dict[str, ast.expr], dict[tuple[int, int], ast.expr]]:
    """Return the derivatives of `defined` by name, and those of `trees` by (tree, variable); zeros are left out."""
    chain: dict[str, ast.expr] = {}
    partials: dict[tuple[int, int], ast.expr] = {}
    for number, variable in enumerate(variables):
        inner: dict[str, ast.expr] = {}
        for name, tree in defined.items():
            if not is_zero(slope := derivative(tree, variable, inner)):
                symbol = f"d {name}/d {variable}"  # no name of a quantity has a blank
                inner[name] = ast.Name(symbol, ast.Load())
                chain[symbol] = slope
        for r, tree in enumerate(trees):
            if not is_zero(slope := derivative(tree, variable, inner)):
                partials[r, number] = slope
    return chain, partials


def is_zero(tree: ast.expr) -> bool:
    """Tell whether a derivative is zero everywhere, as far as its tree shows."""
    return _is(tree, 0)


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _is(tree: ast.expr, value: float) -> bool:
    return isinstance(tree, ast.Constant) and tree.value == value


def _add(a: ast.expr, b: ast.expr) -> ast.expr:
    if isinstance(a, ast.Constant) and isinstance(b, ast.Constant):
        return ast.Constant(a.value + b.value)  # type: ignore[operator]
    return b if _is(a, 0) else a if _is(b, 0) else ast.BinOp(a, ast.Add(), b)


def _multiply(a: ast.expr, b: ast.expr) -> ast.expr:
    if _is(a, 0) or _is(b, 0):
        return ast.Constant(0.0)
    return b if _is(a, 1) else a if _is(b, 1) else ast.BinOp(a, ast.Mult(), b)


def _divide(a: ast.expr, b: ast.expr) -> ast.expr:
    return a if _is(a, 0) or _is(b, 1) else ast.BinOp(a, ast.Div(), b)


def _negate(a: ast.expr) -> ast.expr:
    return ast.Constant(-a.value) if isinstance(a, ast.Constant) else ast.UnaryOp(ast.USub(), a)  # type: ignore[operator]


# ---- generated source -------------------------------------------------------------------------------------------


class _Source(ast.NodeTransformer):
    """Rewrite a tree to Python over NumPy arrays, or (`lanes`) over the vectors of `simd` in compiled code."""

    def __init__(self, place: Mapping[str, str], lanes: bool) -> None:
        self.place, self.lanes = place, lanes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.parse(self.place[node.id], mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        # Python's own numbers raise where IEEE numbers become inf or NaN: 1/0, 10^400, (-8)^(1/3)
        return node if self.lanes else _call("float64", node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id  # type: ignore[attr-defined]
        arguments = [self.visit(argument) for argument in node.args]
        if name == "rint":
            arguments = [ast.BinOp(arguments[0], ast.Add(), ast.Constant(0.5))]
        special = {"if": "where", "min": "minimum", "max": "maximum"}
        return _call(special.get(name) or FUNCTIONS[name], *arguments)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.right)
        if self.lanes and isinstance(node.op, ast.Pow):
            if isinstance(right, ast.Constant) and right.value in (2.0, 3.0, 4.0):
                return _call(f"power{int(right.value)}", left)  # type: ignore[arg-type]
            return _call("power", left, right)
        return ast.BinOp(left, node.op, right)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        left, right = self.visit(node.left), self.visit(node.comparators[0])
        if not self.lanes:
            return ast.Compare(left, node.ops, [right])
        return _call(_COMPARISONS[type(node.ops[0])], left, right)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        result, *others = (self.visit(value) for value in node.values)
        for other in others:
            result = _call("logical_and" if isinstance(node.op, ast.And) else "logical_or", result, other)
        return result


_COMPARISONS: dict[type, str] = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
    ast.Eq: "equal", ast.NotEq: "not_equal",
}  # fmt: skip


def source_of(tree: ast.expr, place: Mapping[str, str], *, lanes: bool) -> str:
    """Return Python source of `tree` with each name read from `place`, e.g. `{"kf": "p[3]"}`.

    The source runs on NumPy arrays with the functions of `_NUMPY`, or on vectors with those of `simd`.
    """
    try:
        rewritten = _Source(place, lanes).visit(_fresh(tree))
        source = ast.unparse(ast.fix_missing_locations(rewritten))
    except RecursionError:
        source = "(" * _MOST_BRACKETS
    if max(accumulate({"(": 1, ")": -1}.get(c, 0) for c in source)) >= _MOST_BRACKETS:
        raise too_deep("of " + ", ".join(sorted(names_in(tree))))
    return source


_NUMPY = {
    "exp": np.exp, "log": np.log, "log10": np.log10, "log2": np.log2, "sqrt": np.sqrt, "fabs": np.abs,
    "floor": np.floor, "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "where": np.where, "minimum": np.fmin, "maximum": np.fmax,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "float64": np.float64,
}  # fmt: skip


def array_function(
    trees: Iterable[ast.expr],
    place: Mapping[str, str],
    argument: str,
    definitions: Mapping[str, ast.expr] | None = None,
) -> Callable[..., Any]:
    """Return `f(array) -> list of arrays`, one per tree, evaluated with NumPy; `place` indexes `argument`.

    `definitions` are evaluated first, each once and in order; the trees and later definitions may use their names.
    """
    definitions = definitions or {}
    place = {**place, **{name: f"d{i}" for i, name in enumerate(definitions)}}
    lines = [f"    d{i} = {source_of(tree, place, lanes=False)}" for i, tree in enumerate(definitions.values())]
    results = ", ".join(source_of(tree, place, lanes=False) for tree in trees)
    lines = [f"def evaluate({argument}):", *lines, f"    return [{results}]", ""]
    namespace: dict[str, Any] = dict(_NUMPY)
    exec(compile("\n".join(lines), "<expressions>", "exec"), namespace)
    return namespace["evaluate"]


def evaluate(tree: ast.expr, values: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """Return the value of `tree` for arrays (or numbers) by name, broadcast together."""
    place = {name: f"v[{name!r}]" for name in names_in(tree)}
    with np.errstate(all="ignore"):
        return np.asarray(array_function([tree], place, "v")({k: np.asarray(v, float) for k, v in values.items()})[0])
