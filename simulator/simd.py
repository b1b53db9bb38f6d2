"""Eight numbers at once: a numba type for a machine vector of doubles, with loads, stores and arithmetic. Machine code.

A loop over `range(8)` is not vectorised by the compiler (it cannot exclude that arrays overlap), so vectors are asked
for: a `Lanes` value is LLVM's `<8 x double>`, which AVX-512, AVX2 and NEON all lower without library calls.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

WIDTH = 8
"""Lanes: the trajectories integrated in lockstep, each with its own time and step."""
PARAMETERS = 2 * WIDTH
"""Free parameters of a block: those whose sensitivities advance together, as two vectors."""

_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_ALIGNMENT = 8 * WIDTH


class LanesType(types.Type):
    """The numba type of a vector of `WIDTH` doubles."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend: Any) -> None:
        super().__init__(manager, frontend, _VECTOR)


def aligned(*shape: int) -> npt.NDArray[np.float64]:
    """Return zeros of a shape whose last axis is `WIDTH`, placed so that each vector is one cache line."""
    n = int(np.prod(shape)) * 8
    raw = np.zeros(n + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + n].view(np.float64).reshape(shape)


# ---- arithmetic: +, -, *, / of vectors and of a vector and a number -------------------------------------------------


def _splat(builder: Any, number: Any) -> Any:
    zero = ir.Constant(ir.IntType(32), 0)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, number, zero)
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH))


def _as_vector(context: Any, builder: Any, value: Any, kind: Any) -> Any:
    return value if kind == lanes else _splat(builder, context.cast(builder, value, kind, types.float64))


def _register(op: Any, instruction: str) -> None:
    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and lanes in args and all(a == lanes or isinstance(a, types.Number) for a in args):
                return signature(lanes, *args)
            return None

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True))
        return getattr(builder, instruction)(a, b)

    for kinds in ((lanes, lanes), (lanes, types.Number), (types.Number, lanes)):
        lower_builtin(op, *kinds)(lower)


for _op, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _register(_op, _instruction)


@infer_global(operator.neg)
class _NegTyping(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(lanes, *args) if tuple(args) == (lanes,) else None


@lower_builtin(operator.neg, lanes)
def _neg(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


# ---- memory -----------------------------------------------------------------------------------------------------


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, index_type: Any, size: int) -> Any:
    """Return the address of element `size * index` of an array's data (contiguous float64, or a C pointer)."""
    if isinstance(array_type, types.CPointer):
        data = array
    else:
        data = context.make_array(array_type)(context, builder, array).data
    place = context.cast(builder, index, index_type, types.intp)
    if size != 1:
        place = builder.mul(place, ir.Constant(place.type, size), flags=("nsw",))
    return builder.gep(data, [place], inbounds=True)


@intrinsic
def load(typing_context, array, index):
    """Return vector number `index` of a contiguous float64 array with last axis `WIDTH`."""

    def generate(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], args[0], args[1], sig.args[1], WIDTH)
        value = builder.load(builder.bitcast(address, _VECTOR.as_pointer()))
        value.align = _ALIGNMENT
        return value

    return lanes(array, index), generate


@intrinsic
def store(typing_context, array, index, value):
    """Write a vector (or one number into all lanes) to place `index` of an array as `load` reads it."""

    def generate(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], args[0], args[1], sig.args[1], WIDTH)
        vector = _as_vector(context, builder, args[2], sig.args[2])
        written = builder.store(vector, builder.bitcast(address, _VECTOR.as_pointer()))
        written.align = _ALIGNMENT
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def at(typing_context, table, place):
    """Return `table[place]` of a contiguous table without the test for negative places; integers become 64 bits."""
    result = types.int64 if isinstance(table.dtype, types.Integer) else table.dtype

    def generate(context, builder, sig, args):
        value = builder.load(_address(context, builder, sig.args[0], args[0], args[1], sig.args[1], 1))
        return context.cast(builder, value, sig.args[0].dtype, result)

    return result(table, place), generate


# ---- functions --------------------------------------------------------------------------------------------------


@intrinsic
def splat(typing_context, number):
    """Return the vector with `number` in every lane."""

    def generate(context, builder, sig, args):
        return _as_vector(context, builder, args[0], sig.args[0])

    return lanes(number), generate


@intrinsic
def fma(typing_context, a, b, c):
    """Return a b + c, rounded once; `a` may be a number."""

    def generate(context, builder, sig, args):
        a, b, c = (_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True))
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{WIDTH}f64")
        return builder.call(function, [a, b, c])

    return lanes(a, b, c), generate


@intrinsic
def absolute(typing_context, a):
    """Return |a|."""

    def generate(context, builder, sig, args):
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{WIDTH}f64")
        return builder.call(function, args)

    return lanes(a), generate


def _selecting(comparison: str) -> Any:
    @intrinsic
    def select(typing_context, a, b):
        def generate(context, builder, sig, args):
            return builder.select(builder.fcmp_ordered(comparison, args[0], args[1]), args[0], args[1])

        return lanes(a, b), generate

    return select


larger = _selecting(">")
"""The larger of two vectors, lane by lane; the second where one is NaN."""
smaller = _selecting("<")
"""The smaller of two vectors, lane by lane; the second where one is NaN."""


@intrinsic
def where_less(typing_context, a, b, yes, no):
    """Return `yes` in the lanes where a < b, else `no`."""

    def generate(context, builder, sig, args):
        a, b, yes, no = args
        return builder.select(builder.fcmp_ordered("<", a, b), yes, no)

    return lanes(a, b, yes, no), generate


@intrinsic
def take_next(typing_context, counter):
    """Return `counter[0]` (int64) and increase it by one, as one step that no other thread can split."""

    def generate(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


# ---- what rate expressions use; numbers may stand for vectors -------------------------------------------------------


def _comparing(comparison: str) -> Any:
    @intrinsic
    def compare(typing_context, a, b):
        def generate(context, builder, sig, args):
            a, b = (_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True))
            test = builder.fcmp_unordered if comparison == "!=" else builder.fcmp_ordered
            one, zero = (_splat(builder, ir.Constant(_DOUBLE, x)) for x in (1.0, 0.0))
            return builder.select(test(comparison, a, b), one, zero)

        return lanes(a, b), generate

    return compare


less, less_equal, greater = _comparing("<"), _comparing("<="), _comparing(">")
greater_equal, equal, not_equal = _comparing(">="), _comparing("=="), _comparing("!=")
"""Comparisons: 1.0 in the lanes where they hold, else 0.0."""


@intrinsic
def where(typing_context, condition, yes, no):
    """Return `yes` in the lanes where `condition` is not 0, else `no`."""

    def generate(context, builder, sig, args):
        condition, yes, no = (_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True))
        zero = _splat(builder, ir.Constant(_DOUBLE, 0.0))
        return builder.select(builder.fcmp_unordered("!=", condition, zero), yes, no)

    return lanes(condition, yes, no), generate


def _logical(instruction: str) -> Any:
    @intrinsic
    def combine(typing_context, a, b):
        def generate(context, builder, sig, args):
            a, b = (_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True))
            one, zero = (_splat(builder, ir.Constant(_DOUBLE, x)) for x in (1.0, 0.0))
            both = (builder.fcmp_unordered("!=", v, zero) for v in (a, b))
            return builder.select(getattr(builder, instruction)(*both), one, zero)

        return lanes(a, b), generate

    return combine


logical_and, logical_or = _logical("and_"), _logical("or_")


@intrinsic
def logical_not(typing_context, a):
    """Return 1.0 in the lanes where `a` is 0, else 0.0."""

    def generate(context, builder, sig, args):
        one, zero = (_splat(builder, ir.Constant(_DOUBLE, x)) for x in (1.0, 0.0))
        vector = _as_vector(context, builder, args[0], sig.args[0])
        return builder.select(builder.fcmp_ordered("==", vector, zero), one, zero)

    return lanes(a), generate


def _of_libm(name: str, n_arguments: int) -> Any:
    """Return the C function `name`, called lane by lane: the same bits as for one number alone."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [_as_vector(context, builder, v, k) for v, k in zip(args, sig.args, strict=True)]
        kind = ir.FunctionType(_DOUBLE, [_DOUBLE] * n_arguments)
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        result = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(WIDTH):
            place = ir.Constant(ir.IntType(32), lane)
            numbers = [builder.extract_element(vector, place) for vector in vectors]
            result = builder.insert_element(result, builder.call(function, numbers), place)
        return result

    if n_arguments == 2:

        @intrinsic
        def two(typing_context, a, b):
            return lanes(a, b), lower

        return two

    @intrinsic
    def one(typing_context, a):
        return lanes(a), lower

    return one


exp, log, log10, log2, sqrt, fabs = (_of_libm(f, 1) for f in ("exp", "log", "log10", "log2", "sqrt", "fabs"))
sin, cos, tan, asin, acos, atan = (_of_libm(f, 1) for f in ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, tanh, asinh = (_of_libm(f, 1) for f in ("sinh", "cosh", "tanh", "asinh"))
acosh, atanh, floor = (_of_libm(f, 1) for f in ("acosh", "atanh", "floor"))
power, minimum, maximum = (_of_libm(f, 2) for f in ("pow", "fmin", "fmax"))


def _integer_power(exponent: int) -> Any:
    @intrinsic
    def raised(typing_context, a):
        def generate(context, builder, sig, args):
            vector = _as_vector(context, builder, args[0], sig.args[0])
            result = vector
            for _ in range(exponent - 1):
                result = builder.fmul(result, vector)
            return result

        return lanes(a), generate

    return raised


power2, power3, power4 = (_integer_power(n) for n in (2, 3, 4))

RATE_VOCABULARY = (
    "load", "store", "where", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "logical_and", "logical_or", "logical_not", "power", "power2", "power3", "power4", "minimum", "maximum",
    "exp", "log", "log10", "log2", "sqrt", "fabs", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "floor",
)  # fmt: skip
"""What generated rate functions may call."""
