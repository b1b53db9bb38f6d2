"""Rate expressions: BNGL text in, values, derivatives and generated source out. Symbols end here.

An expression is held as a Python syntax tree over names (parameters, observables, `time()`), numbers and the
functions of `FUNCTIONS`. Derivatives are taken on the tree, so that no computer algebra system is loaded.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError

TIME = "time"
"""The name under which explicit time appears in a parsed expression."""

FUNCTIONS: dict[str, str] = {
    "exp": "exp", "ln": "log", "log": "log", "log10": "log10", "log2": "log2", "sqrt": "sqrt", "abs": "fabs",
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
}  # fmt: skip
"""Functions of one argument: BNGL name -> name in Python's `math`."""

_DERIVATIVES: dict[str, str] = {
    "exp": "exp(x)", "ln": "1/x", "log": "1/x", "log10": "1/(x*ln(10))", "log2": "1/(x*ln(2))",
    "sqrt": "1/(2*sqrt(x))", "abs": "if(x>=0,1,-1)",
    "sin": "cos(x)", "cos": "-sin(x)", "tan": "1+tan(x)^2",
    "asin": "1/sqrt(1-x^2)", "acos": "-1/sqrt(1-x^2)", "atan": "1/(1+x^2)",
    "sinh": "cosh(x)", "cosh": "sinh(x)", "tanh": "1-tanh(x)^2",
}  # fmt: skip
_CONSTANTS = {"_pi": math.pi, "_e": math.e}
_SPECIAL = ("if", "min", "max")
_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<operator>\*\*|&&|\|\||[<>=!]=|[-+*/^<>!(),])|(?P<blank>\s+)|(?P<other>.)"
)
_OPERATORS = {"^": "**", "&&": " and ", "||": " or ", "!": " not "}
_ALLOWED = (
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Call, ast.Name, ast.Constant, ast.Load,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd, ast.Not, ast.And, ast.Or,
    ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip


def parse(text: str) -> ast.expr:
    """Return the syntax tree of a BNGL expression; names are kept, `time()` and calls `f()` become plain names.

    Raises InputError for text that is no expression and for functions that are not supported, by name.
    """
    # Names are prefixed so that a parameter may be called `lambda` or `in`; the prefix goes again below.
    source = ""
    for match in _TOKEN.finditer(text.strip()):
        kind, token = match.lastgroup, match.group()
        if kind == "other":
            raise InputError(f"cannot read {token!r} in the expression {text!r}")
        source += f"_v_{token}" if kind == "name" else _OPERATORS.get(token, token) if kind != "blank" else " "
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, RecursionError) as error:
        raise InputError(f"cannot read the expression {text!r}: {error}") from None
    return _Names(text).visit(tree)


class _Names(ast.NodeTransformer):
    """Take the prefix off names, fold constants and empty calls, refuse what is not supported."""

    def __init__(self, text: str) -> None:
        self.text = text

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Compare) and len(node.ops) != 1):
            raise InputError(f"not supported in a rate expression: {type(node).__name__} in {self.text!r}")
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = node.id.removeprefix("_v_")
        return ast.Constant(_CONSTANTS[name]) if name in _CONSTANTS else ast.Name(name, ast.Load())

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(float(node.value))  # type: ignore[arg-type]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id.removeprefix("_v_") if isinstance(node.func, ast.Name) else ""
        if not node.args and not node.keywords:
            return ast.Name(TIME if name == "time" else name, ast.Load())
        n_expected = {"if": 3}.get(name, len(node.args) if name in _SPECIAL else 1)
        if (name not in FUNCTIONS and name not in _SPECIAL) or len(node.args) != n_expected:
            raise InputError(
                f"function {name}() with {len(node.args)} argument(s) is not supported in {self.text!r}; "
                f"supported: {', '.join([*FUNCTIONS, *_SPECIAL])}"
            )
        first, *others = (self.visit(argument) for argument in node.args)
        if name in ("min", "max") and others:  # of any number: pairwise from here on
            for other in others:
                first = ast.Call(ast.Name(name, ast.Load()), [first, other], [])
            return first
        return ast.Call(ast.Name(name, ast.Load()), [first, *others], [])


def names_in(tree: ast.expr) -> set[str]:
    """Return the names of the quantities in `tree` (functions not counted)."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


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


def derivative(tree: ast.expr, name: str) -> ast.expr:
    """Return d tree / d name; branches of `if`, `min` and `max` are differentiated in place (one-sided at a kink)."""
    if name not in names_in(tree):
        return ast.Constant(0.0)
    match tree:
        case ast.Name():
            return ast.Constant(1.0)
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return _negate(derivative(x, name))
        case ast.UnaryOp(op=ast.UAdd(), operand=x):
            return derivative(x, name)
        case ast.BinOp(left=a, op=ast.Add(), right=b):
            return _add(derivative(a, name), derivative(b, name))
        case ast.BinOp(left=a, op=ast.Sub(), right=b):
            return _add(derivative(a, name), _negate(derivative(b, name)))
        case ast.BinOp(left=a, op=ast.Mult(), right=b):
            return _add(_multiply(derivative(a, name), b), _multiply(a, derivative(b, name)))
        case ast.BinOp(left=a, op=ast.Div(), right=b):
            first = _divide(derivative(a, name), b)
            second = _divide(_multiply(a, derivative(b, name)), _multiply(b, b))
            return _add(first, _negate(second))
        case ast.BinOp(left=a, op=ast.Pow(), right=b):
            less_one = _add(b, ast.Constant(-1.0))
            base = _multiply(_multiply(b, ast.BinOp(a, ast.Pow(), less_one)), derivative(a, name))
            log_a = ast.Call(ast.Name("ln", ast.Load()), [a], [])
            return _add(base, _multiply(_multiply(tree, log_a), derivative(b, name)))
        case ast.Call(func=ast.Name(id="if"), args=[condition, a, b]):
            return _call("if", condition, derivative(a, name), derivative(b, name))
        case ast.Call(func=ast.Name(id=("min" | "max") as kind), args=[a, b]):
            compare = ast.Compare(a, [ast.LtE() if kind == "min" else ast.GtE()], [b])
            return _call("if", compare, derivative(a, name), derivative(b, name))
        case ast.Call(func=ast.Name(id=function), args=[x]):
            return _multiply(substitute(parse(_DERIVATIVES[function]), {"x": x}), derivative(x, name))
    raise InputError(f"no derivative is known for {ast.unparse(tree)!r}")


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
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id  # type: ignore[attr-defined]
        arguments = [self.visit(argument) for argument in node.args]
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

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return _call("logical_not", operand)
        return operand if isinstance(node.op, ast.UAdd) else ast.UnaryOp(node.op, operand)


_COMPARISONS: dict[type, str] = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
    ast.Eq: "equal", ast.NotEq: "not_equal",
}  # fmt: skip


def source_of(tree: ast.expr, place: Mapping[str, str], *, lanes: bool) -> str:
    """Return Python source of `tree` with each name read from `place`, e.g. `{"kf": "p[3]"}`.

    The source runs on NumPy arrays with the functions of `_NUMPY`, or on vectors with those of `simd`.
    """
    rewritten = _Source(place, lanes).visit(_fresh(tree))
    return ast.unparse(ast.fix_missing_locations(rewritten))


_NUMPY = {
    "exp": np.exp, "log": np.log, "log10": np.log10, "log2": np.log2, "sqrt": np.sqrt, "fabs": np.abs,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "where": np.where, "minimum": np.minimum, "maximum": np.maximum,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_not": np.logical_not,
}  # fmt: skip


def array_function(trees: Iterable[ast.expr], place: Mapping[str, str], argument: str) -> Callable[..., Any]:
    """Return `f(array) -> list of arrays`, one per tree, evaluated with NumPy; `place` indexes `argument`."""
    body = ", ".join(source_of(tree, place, lanes=False) for tree in trees)
    namespace: dict[str, Any] = dict(_NUMPY)
    exec(compile(f"def evaluate({argument}):\n    return [{body}]\n", "<expressions>", "exec"), namespace)
    return namespace["evaluate"]


def evaluate(tree: ast.expr, values: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """Return the value of `tree` for arrays (or numbers) by name, broadcast together."""
    place = {name: f"v[{name!r}]" for name in names_in(tree)}
    with np.errstate(all="ignore"):
        return np.asarray(array_function([tree], place, "v")({k: np.asarray(v, float) for k, v in values.items()})[0])
