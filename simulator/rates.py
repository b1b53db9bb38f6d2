"""Rate functions: expressions of observables, parameters and time in, addresses of compiled C functions out.

The compiled integrator calls them by address, so that a new model compiles only its own few expressions.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic

from . import simd
from .cache import CacheNotice, content_hash, writable_folder, write_atomic
from .expressions import TIME, derivative, derivatives, in_steps, is_zero, names_in, source_of, used_by

_SIGNATURE = types.void(types.CPointer(types.double), types.CPointer(types.double), types.CPointer(types.double))


@intrinsic
def call_rates(typing_context, address, x, values, out):  # type: ignore[no-untyped-def]
    """Call the C function at `address` with the data pointers of three contiguous arrays of lanes."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = ir.DoubleType().as_pointer()
        function_type = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        function = builder.inttoptr(arguments[0], function_type.as_pointer())
        data = [
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[1:], arguments[1:], strict=True)
        ]
        builder.call(function, data)
        return context.get_dummy_value()

    return types.void(types.intp, x, values, out), generate


@dataclass(frozen=True)
class RateFunctions:
    """The rate functions of one model and their partial derivatives, as sources and (once compiled) addresses."""

    source: str
    observables: tuple[str, ...]
    """Observables that the functions use; they arrive as `x[1], x[2], ...` after the time `x[0]`."""
    values: tuple[str, ...]
    """Parameters that the functions use, in the order in which they arrive."""
    n_rates: int
    partials: tuple[tuple[int, int], ...]
    """(rate, observable index or -1 for time) of each derivative that is not zero everywhere."""

    def compile(self) -> tuple[int, int, Any]:
        """Return the addresses of values and of derivatives, and the object that keeps them alive."""
        return _compiled(self.source, "rates", "partials") if self.n_rates else (0, 0, None)


@dataclass(frozen=True)
class RateSlopes:
    """Derivatives of rate functions to parameters, and the change of all derivatives along a direction.

    The first compiled function takes `x` and `values` as the rate functions do and writes dF/dv. The second takes `x`
    followed by a direction `[dt, dx[1], dx[2], ...]` and writes the changes along it of the rates, of their `partials`
    and of dF/dv, in this order.
    """

    source: str
    value_partials: tuple[tuple[int, int], ...]
    """(rate, place in `RateFunctions.values`) of each derivative dF/dv that is not zero everywhere."""

    def compile(self) -> tuple[int, int, Any]:
        """Return the addresses of the two functions, and the object that keeps them alive."""
        return _compiled(self.source, "value_partials", "along")


def rate_functions(
    trees: Sequence[ast.expr],
    observables: Sequence[str],
    value_names: Sequence[str],
    definitions: Mapping[str, ast.expr] | None = None,
) -> RateFunctions:
    """Return the functions that evaluate `trees`, of observables and of parameters among `value_names`.

    Every name in `trees` is an observable, a value, `time`, or one of `definitions`: expressions of the same and of
    definitions before them. Each definition that is used is evaluated once; derivatives follow by the chain rule.
    """
    defined = used_by(trees, definitions or {})
    used = {name for tree in (*trees, *defined.values()) for name in names_in(tree)} - defined.keys()
    inputs = tuple(name for name in observables if name in used)
    values = tuple(name for name in value_names if name in used and name not in inputs)
    chain, partials = derivatives(trees, defined, (TIME, *inputs))
    source = _Source(inputs, values)
    source.function("rates", defined, trees)
    source.function("partials", {**defined, **chain}, partials.values())
    places = tuple((rate, variable - 1) for rate, variable in partials)  # time, the first variable, counts as -1
    return RateFunctions(source.text(), inputs, values, len(trees), places)


def rate_slopes(
    functions: RateFunctions, trees: Sequence[ast.expr], definitions: Mapping[str, ast.expr] | None = None
) -> RateSlopes:
    """Return the slopes of `functions`, which were made of the same trees and definitions."""
    inputs, values = (TIME, *functions.observables), functions.values
    trees, defined = in_steps(trees, used_by(trees, definitions or {}))
    of_inputs, partials = derivatives(trees, defined, inputs)
    of_values, value_partials = derivatives(trees, defined, values)
    direction = {name: ast.Name(f"along {name}", ast.Load()) for name in inputs}
    changes: dict[str, ast.expr] = {}
    for symbol, tree in {**defined, **of_inputs, **of_values}.items():
        if not is_zero(change := derivative(tree, ALONG, direction)):
            changes[f"along {symbol}"] = change
            direction[symbol] = ast.Name(f"along {symbol}", ast.Load())
    results = [derivative(tree, ALONG, direction) for tree in (*trees, *partials.values(), *value_partials.values())]
    source = _Source(functions.observables, values)
    source.function("value_partials", {**defined, **of_values}, value_partials.values())
    source.function("along", {**defined, **of_inputs, **of_values, **changes}, results, directed=True)
    return RateSlopes(source.text(), tuple(value_partials))


ALONG = "distance along"
"""Stands for the distance along a direction, of which every quantity is a function."""


class _Source:
    """Source text of functions `f(x, values, out)` of the same observables and parameter values."""

    def __init__(self, inputs: Sequence[str], values: Sequence[str]) -> None:
        self.inputs, self.values = (TIME, *inputs), values
        self.lines = [f"from {simd.__name__} import {', '.join(simd.RATE_VOCABULARY)}", ""]

    def function(
        self, name: str, definitions: Mapping[str, ast.expr], results: Iterable[ast.expr], *, directed: bool = False
    ) -> None:
        """Add a function that writes `results`; `directed` ones find a direction behind the inputs in `x`."""
        n = len(self.inputs)
        place = {value: f"v{i}" for i, value in enumerate(self.values)} | {
            x: f"x{i}" for i, x in enumerate(self.inputs)
        }
        place |= {f"along {x}": f"x{n + i}" for i, x in enumerate(self.inputs)}
        place |= {symbol: f"f{i}" for i, symbol in enumerate(definitions)}
        # everything is loaded first: a store could, for all the compiler knows, change what is loaded after it
        body = [f"x{i} = load(x, {i})" for i in range(2 * n if directed else n)]
        body += [f"v{i} = load(values, {i})" for i in range(len(self.values))]
        body += [f"f{i} = {source_of(tree, place, lanes=True)}" for i, tree in enumerate(definitions.values())]
        texts = [source_of(tree, place, lanes=True) for tree in results]
        body += [f"r{i} = {text}" for i, text in enumerate(texts)]
        body += [f"store(out, {i}, r{i})" for i in range(len(texts))]
        self.lines += ["", f"def {name}(x, values, out):", *(f"    {line}" for line in body)]

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def _compiled(source: str, *names: str) -> tuple[int, int, Any]:
    """Return the addresses of the two functions called `names` in a source, and the object that keeps them alive."""
    module = _load(source)
    compile_one = cfunc(_SIGNATURE, error_model="numpy", cache=module.__name__ != "<memory>")
    functions = tuple(compile_one(getattr(module, name)) for name in names)
    addresses = tuple(function.address for function in functions)
    if not all(addresses):
        raise RuntimeError("the compiled rate functions have no address; remove the cache folder and run again")
    return addresses[0], addresses[1], functions


def _load(source: str) -> ModuleType:
    """Return the module of a generated source, kept as a file because machine code of a file can be cached."""
    name = f"rates_{content_hash(source)}"
    folder = writable_folder("rates")
    if folder is not None:
        path = folder / f"{name}.py"
        try:
            if not path.exists() or path.read_text(encoding="utf-8") != source:
                write_atomic(path, source)
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module  # cached machine code looks its module up by name
            spec.loader.exec_module(module)
            return module
        except OSError as error:
            warnings.warn(f"generated rate functions are not kept: {error}", CacheNotice, stacklevel=3)
    module = ModuleType("<memory>")
    exec(compile(source, "<rates>", "exec"), module.__dict__)
    return module
