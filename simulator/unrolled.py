"""Straight-line machine code for a small network: its tables in, addresses of compiled functions out.

The kernels run every network by tables. Under a few thousand operations most of their time goes into looking places
up, so that for a small network the same loops are written out, operation by operation, as LLVM assembly: no model
waits for more than a fraction of a second, and the integrator itself is compiled for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .cache import content_hash, read_arrays, writable_folder, write_arrays
from .kernel_cache import kernels_hash
from .simd import WIDTH

if TYPE_CHECKING:
    from .kernels import Tables

RHS, SYSTEM, FACTOR, SOLVE = range(4)
"""Places in `Tables.code`."""
NONE = np.zeros(4, np.int64)
"""`Tables.code` of a network that runs by its tables."""
MOST_OPERATIONS = 6000
"""Operations of one step of every kind, added up, above which a network runs by its tables.

The 1,307 of EARM take 0.08 s to compile, the 37,000 of the shipped model 9 s."""
_LANES = f"<{WIDTH} x double>"
_NAMES = ("rhs", "system", "factor", "solve")


@intrinsic
def call_code(typing_context, code, function, arrays):  # type: ignore[no-untyped-def]
    """Call the function at `code[function]` with the data pointers of a tuple of contiguous float64 arrays."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        table, place, values = arguments
        code_type, place_type, kinds = signature.args
        data = context.make_array(code_type)(context, builder, table).data
        address = builder.load(builder.gep(data, [context.cast(builder, place, place_type, types.intp)]))
        pointers = [
            context.make_array(kind)(context, builder, builder.extract_value(values, i)).data
            for i, kind in enumerate(kinds)
        ]
        function_type = ir.FunctionType(ir.VoidType(), [pointer.type for pointer in pointers])
        builder.call(builder.inttoptr(address, function_type.as_pointer()), pointers)
        return context.get_dummy_value()

    return types.void(code, function, arrays), generate


def unrolled(tables: Tables) -> tuple[npt.NDArray[np.int64], Any]:
    """Return the addresses of the four functions of a network, and what keeps them alive; `NONE` if it is too large."""
    if _operations(tables) > MOST_OPERATIONS:
        return NONE, None
    code = _object_code(tables)
    engine = _load(code)
    return np.array([engine.get_function_address(name) for name in _NAMES], np.int64), (engine, code)


def _operations(tables: Tables) -> int:
    """Return the number of additions and multiplications in one call of each function."""
    n = len(tables.unknown_species)
    above = tables.lu_pointer[1:] - tables.lu_diagonal - 1
    row = np.repeat(np.arange(n), np.diff(tables.lu_pointer))
    below = tables.lu_column < row
    elimination = int(np.sum(1 + above[tables.lu_column[below]]))
    sums = len(tables.change) + len(tables.system_sum_term) + 2 * len(tables.rate) + 2 * len(tables.term_rate)
    return elimination + sums + len(tables.lu_column)


# ---- assembly -----------------------------------------------------------------------------------------------------


class _Function:
    """One function as lines of LLVM assembly. A value is its name; None stands for zero in every lane."""

    def __init__(self, name: str, *arrays: str) -> None:
        self.lines: list[str] = []
        self.n_values = 0
        self.loaded: dict[tuple[str, int], str] = {}
        arguments = ", ".join(f"ptr noalias nocapture align 64 %{array}" for array in arrays)
        self.head = f"define void @{name}({arguments}) nounwind {{"

    def text(self) -> str:
        return "\n".join([self.head, *self.lines, "  ret void", "}"])

    def value(self, instruction: str) -> str:
        self.n_values += 1
        self.lines.append(f"  %v{self.n_values} = {instruction}")
        return f"%v{self.n_values}"

    def load(self, array: str, place: int) -> str:
        """Return vector number `place` of an array that the function does not write."""
        if (array, place) not in self.loaded:
            address = self.value(f"getelementptr double, ptr %{array}, i64 {WIDTH * int(place)}")
            self.loaded[array, place] = self.value(f"load {_LANES}, ptr {address}, align {8 * WIDTH}")
        return self.loaded[array, place]

    def store(self, array: str, place: int, value: str | None) -> None:
        address = self.value(f"getelementptr double, ptr %{array}, i64 {WIDTH * int(place)}")
        self.lines.append(f"  store {_LANES} {value or 'zeroinitializer'}, ptr {address}, align {8 * WIDTH}")

    def times(self, a: str, b: str) -> str:
        return self.value(f"fmul {_LANES} {a}, {b}")

    def minus(self, a: str) -> str:
        return self.value(f"fneg {_LANES} {a}")

    def fma(self, a: str, b: str, c: str | None) -> str:
        """Return a b + c."""
        if c is None:
            return self.times(a, b)
        lanes = f"{_LANES} {a}, {_LANES} {b}, {_LANES} {c}"
        return self.value(f"call {_LANES} @llvm.fma.v{WIDTH}f64({lanes})")

    def add_multiple(self, by: float, a: str, c: str | None) -> str:
        """Return by a + c."""
        if by == 1.0:
            return a if c is None else self.value(f"fadd {_LANES} {c}, {a}")
        if by == -1.0:
            return self.minus(a) if c is None else self.value(f"fsub {_LANES} {c}, {a}")
        return self.fma(_constant(by), a, c)


def _constant(number: float) -> str:
    bits = np.float64(number).view(np.uint64)
    return f"<{', '.join([f'double 0x{bits:016X}'] * WIDTH)}>"


def _assembly(tables: Tables) -> str:
    functions = (_rhs(tables), _system(tables), _factor(tables), _solve(tables))
    declared = f"declare {_LANES} @llvm.fma.v{WIDTH}f64({_LANES}, {_LANES}, {_LANES})"
    return "\n\n".join([declared, *(function.text() for function in functions)]) + "\n"


def _product(f: _Function, tables: Tables, rate: int, species: Iterable[int]) -> str:
    """Return a rate constant times amounts; the rows of ones are left out where something else is there."""
    n, n_rates = tables.n_species, int(tables.n_rates)
    factors = [] if rate == n_rates else [f.load("k", rate)]
    factors += [f.load("y", i) for i in species if i != n]
    result = factors[0] if factors else _constant(1.0)
    for factor in factors[1:]:
        result = f.times(result, factor)
    return result


def _rhs(tables: Tables) -> _Function:
    f = _Function("rhs", "k", "y", "dy")
    dy: list[str | None] = [None] * tables.n_species
    for r, rate in enumerate(tables.rate):
        further = _list(tables.further_pointer, tables.further, r - tables.n_plain)
        v = _product(f, tables, rate, [tables.first[r], tables.second[r], *further])
        for q in range(tables.change_pointer[r], tables.change_pointer[r + 1]):
            dy[tables.change[q]] = f.add_multiple(tables.change_by[q], v, dy[tables.change[q]])
    for i, value in enumerate(dy):
        f.store("dy", i, value)
    return f


def _system(tables: Tables) -> _Function:
    f = _Function("system", "k", "y", "partials", "system")
    terms: dict[int, str] = {}
    for q, entry in enumerate(tables.system_entry):
        total = None
        for p in range(tables.system_sum_pointer[q], tables.system_sum_pointer[q + 1]):
            m = int(tables.system_sum_term[p])
            if m not in terms:
                further = _list(tables.term_further_pointer, tables.term_further, m - tables.n_plain_terms)
                species = [tables.term_first[m], tables.term_second[m], *further]
                terms[m] = _product(f, tables, int(tables.term_rate[m]), species)
            total = f.add_multiple(tables.system_sum_by[p], terms[m], total)
        f.store("system", entry, total)
    for entry, partial in zip(tables.partial_entry, tables.partial, strict=True):
        f.store("system", entry, f.load("partials", partial))
    return f


def _factor(tables: Tables) -> _Function:
    f = _Function("factor", "system", "shift", "lu")
    shift = f.load("shift", 0)
    rows: list[dict[int, str]] = []
    """Per row done: reciprocal pivot and what is right of it."""
    for i, species in enumerate(tables.unknown_species):
        row: dict[int, str] = {}
        for e in range(tables.system_pointer[i], tables.system_pointer[i + 1]):
            row[int(tables.system_column[e])] = f.minus(f.load("system", e))
        diagonal = shift if species >= 0 else _constant(1.0)
        row[i] = diagonal if i not in row else f.value(f"fadd {_LANES} {row[i]}, {diagonal}")
        columns = tables.lu_column[tables.lu_pointer[i] : tables.lu_pointer[i + 1]].tolist()
        for j in (j for j in columns if j < i):
            if j not in row:
                continue
            row[j] = f.times(row[j], rows[j][j])
            negative = f.minus(row[j])
            for c, u in rows[j].items():
                if c > j:
                    row[c] = f.fma(negative, u, row.get(c))
        row[i] = f.value(f"fdiv {_LANES} {_constant(1.0)}, {row[i]}")
        for place, j in enumerate(columns, start=int(tables.lu_pointer[i])):
            f.store("lu", place, row.get(j))
        rows.append({c: value for c, value in row.items() if c >= i})
    return f


def _solve(tables: Tables) -> _Function:
    f = _Function("solve", "lu", "x")
    z: list[str | None] = []
    for i, species in enumerate(tables.unknown_species):
        total = f.load("x", species) if species >= 0 else None
        for q in range(tables.lu_pointer[i], tables.lu_diagonal[i]):
            if (known := z[tables.lu_column[q]]) is not None:
                total = f.fma(f.minus(f.load("lu", q)), known, total)
        z.append(total)
    for i in range(len(z) - 1, -1, -1):
        total = z[i]
        diagonal = tables.lu_diagonal[i]
        for q in range(diagonal + 1, tables.lu_pointer[i + 1]):
            if (known := z[tables.lu_column[q]]) is not None:
                total = f.fma(f.minus(f.load("lu", q)), known, total)
        z[i] = None if total is None else f.times(total, f.load("lu", diagonal))
    for i, species in enumerate(tables.unknown_species):
        if species >= 0:
            f.store("x", species, z[i])
    return f


def _list(pointer: npt.NDArray[np.int32], content: npt.NDArray[np.int32], i: int) -> Sequence[int]:
    return content[pointer[i] : pointer[i + 1]].tolist() if i >= 0 else []


# ---- machine code -------------------------------------------------------------------------------------------------


def _machine() -> Any:
    """Return a target for this CPU; each engine keeps its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2, jit=True)


def _object_code(tables: Tables) -> bytes:
    """Return the machine code of a network, from the cache if it is there."""
    key = content_hash(kernels_hash(), *(np.asarray(table).tobytes() for table in tables))
    folder = writable_folder("code")
    if folder is not None and (stored := read_arrays(folder / f"{key}.code")) is not None:
        return stored["code"].tobytes()
    module = llvm.parse_assembly(_assembly(tables))
    module.verify()
    code = _machine().emit_object(module)
    if folder is not None:
        write_arrays(folder / f"{key}.code", {"code": np.frombuffer(code, np.uint8)})
    return code


def _load(code: bytes) -> Any:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
