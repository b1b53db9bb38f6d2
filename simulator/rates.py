"""Rate functions: expressions of observables, parameters and time in, addresses of compiled C functions out.

The compiled integrator calls them by address, so that a new model compiles only its own few expressions.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.extending import intrinsic

from . import simd
from .cache import CacheNotice, content_hash, writable_folder, write_atomic
from .expressions import TIME, derivative, is_zero, names_in, source_of, used_by

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
        if not self.n_rates:
            return 0, 0, None
        module = _load(self.source)
        values = cfunc(_SIGNATURE, error_model="numpy", cache=module.__name__ != "<memory>")
        functions = values(module.rates), values(module.partials)
        addresses = tuple(function.address for function in functions)
        if not all(addresses):
            raise RuntimeError("the compiled rate functions have no address; remove the cache folder and run again")
        return addresses[0], addresses[1], functions


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
    place = {name: f"v{i}" for i, name in enumerate(values)} | {name: f"x{i}" for i, name in enumerate(inputs, start=1)}
    place |= {name: f"f{i}" for i, name in enumerate(defined)} | {TIME: "x0"}
    # everything is loaded first: a store could, for all the compiler knows, change what is loaded after it
    prelude = [f"x{i} = load(x, {i})" for i in range(len(inputs) + 1)]
    prelude += [f"v{i} = load(values, {i})" for i in range(len(values))]
    prelude += [f"{place[name]} = {source_of(tree, place, lanes=True)}" for name, tree in defined.items()]
    chain: list[str] = []
    partials: list[tuple[int, int]] = []
    partial_results: list[str] = []
    for o, variable in enumerate((TIME, *inputs), start=-1):
        inner: dict[str, ast.expr] = {}
        for name, tree in defined.items():
            if not is_zero(slope := derivative(tree, variable, inner)):
                symbol = f"d {name}/d {variable}"  # no name of a quantity has a blank
                place[symbol] = f"d{len(chain)}"
                inner[name] = ast.Name(symbol, ast.Load())
                chain.append(f"{place[symbol]} = {source_of(slope, place, lanes=True)}")
        for r, tree in enumerate(trees):
            if not is_zero(slope := derivative(tree, variable, inner)):
                partials.append((r, o))
                partial_results.append(source_of(slope, place, lanes=True))
    results = [source_of(tree, place, lanes=True) for tree in trees]
    lines = [f"from {simd.__name__} import {', '.join(simd.RATE_VOCABULARY)}", ""]
    for function, before, texts in (("rates", prelude, results), ("partials", prelude + chain, partial_results)):
        body = [*before, *(f"r{i} = {text}" for i, text in enumerate(texts))]
        body += [f"store(out, {i}, r{i})" for i in range(len(texts))]
        lines += ["", f"def {function}(x, values, out):", *(f"    {line}" for line in body)]
    return RateFunctions("\n".join(lines) + "\n", inputs, values, len(trees), tuple(partials))


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
