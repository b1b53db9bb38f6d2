"""A compiled model in; its right-hand side and Jacobian for one trajectory out: machine code for others' integrators.

The package's own kernels work on eight trajectories at once: an integrator that asks for one would pay for eight. So
that peers are not held back, this is the same mathematics written for one, specialised to the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

import residuum

Float = npt.NDArray[np.float64]
compiled_function = numba.njit(error_model="numpy")


class Scalar(NamedTuple):
    """What an integrator needs; `k` and `v` come from `constants(member)`."""

    rhs: Callable[[float, Float, Float, Float, Float], None]
    """`rhs(t, y, k, v, out)` writes dy/dt."""
    jacobian: Callable[[float, Float, Float, Float, Float], None]
    """`jacobian(t, y, k, v, out)` writes the entries of df/dy, column by column."""
    constants: Callable[[Any], tuple[Float, Float]]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    """Place of each entry."""


@lru_cache(maxsize=1)
def scalar_code(compiled: residuum.CompiledModel) -> Scalar:
    """Return the model as machine code for one trajectory."""
    network, table, functions = compiled.network, compiled.rate_table, compiled.rate_functions
    rate, factor = table.of_reaction, table.factor[table.of_reaction]
    function_of = table.function[rate]
    groups = [network.observables[name] for name in functions.observables]
    changes = [_net_change(reaction, network.fixed) for reaction in network.reactions]

    # Jacobian: one term per (reaction, differentiated reactant, species changed), and by the chain rule one per
    # (reaction, partial derivative of its rate function, member of the observable, species changed)
    terms = [
        (i, j, r, _without(reaction.reactants, j), reaction.reactants.count(j) * by)
        for r, (reaction, change) in enumerate(zip(network.reactions, changes, strict=True))
        for j in sorted(set(reaction.reactants))
        for i, by in change.items()
    ]
    chains = [
        (i, j, r, place, weight * by * factor[r])
        for r, change in enumerate(changes)
        for place, (function, observable) in enumerate(functions.partials)
        if function == function_of[r] and observable >= 0
        for j, weight in groups[observable]
        for i, by in change.items()
    ]
    diagonal = {(i, i) for i in range(compiled.n_species)}  # implicit methods add to it
    pattern = sorted({(j, i) for i, j, *_ in (*terms, *chains)} | diagonal)
    slot = {place: number for number, place in enumerate(pattern)}
    t_slot, t_reaction = _whole(slot[j, i] for i, j, *_ in terms), _whole(r for _, _, r, *_ in terms)
    t_pointer, t_others = _ragged(others for *_, others, _ in terms)
    t_by = np.array([by for *_, by in terms], float)
    c_slot, c_reaction = _whole(slot[j, i] for i, j, *_ in chains), _whole(r for _, _, r, *_ in chains)
    c_partial, c_by = _whole(place for *_, place, _ in chains), np.array([by for *_, by in chains], float)
    r_pointer, r_species = _ragged(reaction.reactants for reaction in network.reactions)
    s_pointer, s_species = _ragged(change.keys() for change in changes)
    s_by = np.array([by for change in changes for by in change.values()], float)
    g_pointer, g_species = _ragged([i for i, _ in group] for group in groups)
    g_weight = np.array([weight for group in groups for _, weight in group], float)
    n_functions, n_partials = functions.n_rates, len(functions.partials)
    evaluate, differentiate = _rate_functions(functions.source)

    @compiled_function
    def observed(t, y):  # type: ignore[no-untyped-def]
        x = np.empty(g_pointer.size)
        x[0] = t
        for o in range(g_pointer.size - 1):
            total = 0.0
            for q in range(g_pointer[o], g_pointer[o + 1]):
                total += g_weight[q] * y[g_species[q]]
            x[o + 1] = max(total, 0.0)
        return x

    @compiled_function
    def constant(r, k, f):  # type: ignore[no-untyped-def]
        return factor[r] * f[function_of[r]] if function_of[r] >= 0 else k[rate[r]]

    @compiled_function
    def rhs(t, y, k, v, out):  # type: ignore[no-untyped-def]
        f = np.empty(n_functions)
        if n_functions:
            evaluate(observed(t, y), v, f)
        out[:] = 0.0
        for r in range(rate.size):
            flow = constant(r, k, f)
            for q in range(r_pointer[r], r_pointer[r + 1]):
                flow *= y[r_species[q]]
            for q in range(s_pointer[r], s_pointer[r + 1]):
                out[s_species[q]] += s_by[q] * flow

    @compiled_function
    def jacobian(t, y, k, v, out):  # type: ignore[no-untyped-def]
        f, partials = np.empty(n_functions), np.empty(n_partials)
        if n_functions:
            x = observed(t, y)
            evaluate(x, v, f)
            differentiate(x, v, partials)
        out[:] = 0.0
        for m in range(t_slot.size):
            flow = t_by[m] * constant(t_reaction[m], k, f)
            for q in range(t_pointer[m], t_pointer[m + 1]):
                flow *= y[t_others[q]]
            out[t_slot[m]] += flow
        for m in range(c_slot.size):
            flow = c_by[m] * partials[c_partial[m]]
            for q in range(r_pointer[c_reaction[m]], r_pointer[c_reaction[m] + 1]):
                flow *= y[r_species[q]]
            out[c_slot[m]] += flow

    def constants(member: Any) -> tuple[Float, Float]:
        return member.rates, np.array([member.values[name] for name in functions.values], float)

    return Scalar(rhs, jacobian, constants, _whole(i for _, i in pattern), _whole(j for j, _ in pattern))


def _rate_functions(source: str) -> tuple[Any, Any]:
    """Return the generated rate functions and their derivatives, compiled for numbers instead of vectors."""
    vocabulary: dict[str, Any] = {
        "load": lambda x, i: x[i],
        "where": lambda condition, a, b: a if condition else b,
        "less": lambda a, b: a < b, "less_equal": lambda a, b: a <= b,
        "greater": lambda a, b: a > b, "greater_equal": lambda a, b: a >= b,
        "equal": lambda a, b: a == b, "not_equal": lambda a, b: a != b,
        "logical_and": lambda a, b: a and b, "logical_or": lambda a, b: a or b,
        "power": lambda a, b: a**b,
        "power2": lambda a: a * a, "power3": lambda a: a * a * a, "power4": lambda a: (a * a) * (a * a),
        "minimum": lambda a, b: min(a, b), "maximum": lambda a, b: max(a, b),
    }  # fmt: skip
    names = vars(math) | {name: compiled_function(f) for name, f in vocabulary.items()}

    @compiled_function
    def store(out, i, value):  # type: ignore[no-untyped-def]
        out[i] = value

    names["store"] = store
    exec(source.partition("\n")[2], names)  # the first line imports the vocabulary of vectors
    return compiled_function(names["rates"]), compiled_function(names["partials"])


def _net_change(reaction: Any, fixed: tuple[bool, ...]) -> dict[int, float]:
    change: dict[int, float] = {}
    for species, by in ((reaction.reactants, -1.0), (reaction.products, 1.0)):
        for i in species:
            change[i] = change.get(i, 0.0) + by
    return {i: by for i, by in change.items() if by and not fixed[i]}


def _without(reactants: tuple[int, ...], j: int) -> list[int]:
    others = list(reactants)
    others.remove(j)
    return others


def _whole(numbers: Iterable[int]) -> npt.NDArray[np.int64]:
    return np.array(list(numbers), np.int64)


def _ragged(lists: Iterable[Iterable[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    lists = [list(items) for items in lists]
    return _whole(np.cumsum([0, *(len(items) for items in lists)])), _whole(x for items in lists for x in items)
