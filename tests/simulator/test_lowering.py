"""The kernels' vectors of eight become machine instructions, not library calls, on every CPU that is supported."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numba
import pytest
from helpers import decay
from numba import types

from residuum.simulator import lu, simd
from residuum.simulator.simd import absolute, at, fma, larger, load, smaller, splat, store, where_less

LANES = types.Array(types.float64, 2, "C")
INDICES = types.Array(types.int32, 1, "C")
FUSED = re.compile(r"\b(?:fmla|fmls|vfn?m(?:add|sub)\d+pd)\b")
CALLED = re.compile(r"\b(?:bl|callq?)\s+_?([A-Za-z]\w*)|\b_?([A-Za-z]\w*)@(?:PLT|GOT\w*)|:got:_?([A-Za-z]\w*)")
"""Functions of other libraries: called by name, or their address taken to call it."""


def all_operations(indices, k, y, out):  # type: ignore[no-untyped-def]
    """Use every operation of `simd` that the kernels use on vectors."""
    largest = splat(0.0)
    for i in range(indices.size):
        v = fma(load(k, 0), load(y, at(indices, i)), -load(out, i)) / (load(y, i) * 2.0 + 1.0)
        largest = larger(absolute(v), largest)
        store(out, i, where_less(v, smaller(v, largest), splat(0.0), v - largest))


def exponential(indices, k, y, out):  # type: ignore[no-untyped-def]
    """Call the C library, as rate expressions may."""
    store(out, 0, simd.exp(load(y, 0)))


def ir_of(function: Callable[..., Any], *kinds: Any) -> str:
    """Return LLVM's representation of a kernel, without the parts that let Python call it."""
    compiled = numba.njit(
        kinds, error_model="numpy", nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
    return next(iter(compiled.inspect_llvm().values()))


def assembly(ir: str, triple: str, cpu: str) -> str:
    """Return the assembly of `ir` for another machine."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError as missing:
        pytest.skip(f"this llvmlite knows no {triple}: {missing}")
    machine = target.create_target_machine(cpu=cpu, opt=3, reloc="pic")
    module = llvm.parse_assembly(re.sub(r"^target (?:triple|datalayout) = .*$", "", ir, flags=re.MULTILINE))
    module.triple, module.data_layout = triple, str(machine.target_data)
    module.verify()
    return machine.emit_assembly(module)


def calls(text: str) -> set[str]:
    """Return the functions of other libraries that an assembly calls."""
    names = {name for names in CALLED.findall(text) for name in names if name}
    return {name for name in names if not name.startswith("LCPI")}  # constants of its own


@pytest.fixture(scope="module")
def kernels() -> dict[str, str]:
    factors = (numba.typeof(decay().plan[0]), LANES, LANES)
    return {
        "operations": ir_of(all_operations, INDICES, LANES, LANES, LANES), "solve": ir_of(lu.solve.py_func, *factors),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64-v3"),
        ("x86_64-unknown-linux-gnu", "x86-64-v4"),
        ("aarch64-unknown-linux-gnu", "generic"),
        ("arm64-apple-darwin", "apple-m1"),
    ],
)
@pytest.mark.parametrize("name", ["operations", "solve"])
def test_vectors_lower_without_library_calls(kernels: dict[str, str], name: str, triple: str, cpu: str) -> None:
    text = assembly(kernels[name], triple, cpu)
    assert FUSED.search(text) and calls(text) == set()


def test_a_library_call_would_be_seen(kernels: dict[str, str]) -> None:
    """The first x86-64 has no fused multiply-add; the exponential is a call on any machine."""
    assert calls(assembly(kernels["solve"], "x86_64-unknown-linux-gnu", "x86-64")) == {"fma"}
    ir = ir_of(exponential, INDICES, LANES, LANES, LANES)
    for triple in ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "arm64-apple-darwin"):
        assert calls(assembly(ir, triple, "")) == {"exp"}
