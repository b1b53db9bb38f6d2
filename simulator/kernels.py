"""Right-hand side and Jacobian by tables, for eight trajectories at once: amounts and rate constants in, dy/dt and
df/dy out. Machine code.

Species are numbered in elimination order (`tables.build_tables` makes the tables). Arrays of lanes have shape
(n, WIDTH); the amounts `y` have one more row, which holds 1.0, so that every reaction of order two or less is
`k * y[a] * y[b]`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import kernel
from .rates import call_rates
from .simd import absolute, at, fma, larger, load, smaller, splat, store, where_less
from .unrolled import RHS, SYSTEM, call_code

Float = npt.NDArray[np.float64]
Table = npt.NDArray[np.int32]


class Tables(NamedTuple):
    """One network as flat tables, model-independent in type so that no model recompiles a kernel.

    Ragged lists are stored as `pointer` and content: list `i` is `content[pointer[i]:pointer[i + 1]]`.
    """

    n_species: int
    n_plain: int
    """Reactions of order two or less; they come first."""
    # reactions
    rate: Table
    """Which rate constant."""
    first: Table
    second: Table
    """Reacting species; `n_species` (the row of ones) where there is none."""
    further_pointer: Table
    further: Table
    """Third and later reactants, of the reactions from `n_plain` on."""
    change_pointer: Table
    change: Table
    """Species that the reaction changes (fixed ones left out) ..."""
    change_by: Float
    """... and by how much."""
    # terms of the Jacobian: rate constant (or the row of ones after the last) times up to two species,
    # or partial derivative times up to two species
    n_plain_terms: int
    term_rate: Table
    term_first: Table
    term_second: Table
    term_further_pointer: Table
    term_further: Table
    chain_partial: Table
    chain_factor: Float
    chain_first: Table
    chain_second: Table
    chain_further_pointer: Table
    chain_further: Table
    # entries of the Jacobian: each is a sum of terms, the chain terms counted after the others
    jacobian_pointer: Table
    jacobian_column: Table
    sum_pointer: Table
    sum_term: Table
    sum_by: Float
    # rate functions: rate constants that they decide, and the observables they read
    dynamic_rate: Table
    dynamic_function: Table
    dynamic_factor: Float
    observable_pointer: Table
    observable: Table
    observable_weight: Float
    n_functions: int
    # the linear system of a step: species, observables and rate functions are its unknowns, in elimination order
    unknown_species: Table
    """(n_unknowns,): the species; -1 for an observable or a rate function, which follow from the others."""
    algebraic: Table
    """Those unknowns, each after those it follows from."""
    system_pointer: Table
    system_column: Table
    system_entry: Table
    """Entries that are sums of terms ..."""
    system_sum_pointer: Table
    system_sum_term: Table
    system_sum_by: Float
    partial_entry: Table
    """... and those that are a partial derivative of a rate function ..."""
    partial: Table
    weight_entry: Table
    """... or a weight in an observable, in the order of `observable_weight`."""
    # explicit time: species changed, by how much, partial derivative of the rate function, term that multiplies it
    drift_species: Table
    drift_by: Float
    drift_partial: Table
    drift_term: Table
    # factors
    lu_pointer: Table
    lu_diagonal: Table
    lu_column: Table
    n_rates: int
    code: npt.NDArray[np.int64]
    """Addresses of straight-line code for a small network (see `unrolled`), or zeros."""
    n_tail: int
    """Rows and columns at the end that are stored in full."""


@kernel
def update_rates(tables, values, t, clock, y, floor, rates_address, x, function_values, k):
    """Evaluate the rate functions at times `t` (1, WIDTH) and amounts `y`; put what they decide into `k`.

    `clock` (3, WIDTH) holds the model time from which `t` counts, and the earliest and the latest model time that
    they may see: a lane that steps up to a switch stays just before it, and just after it when it goes on.

    Observables below `floor` are passed as `floor`: with amounts that rounding makes slightly negative, a power that
    is not whole would give no number. The state itself is never changed.
    """
    if tables.n_functions == 0:
        return
    store(x, 0, larger(smaller(load(t, 0) + load(clock, 0), load(clock, 2)), load(clock, 1)))
    for o in range(tables.observable_pointer.size - 1):
        total = splat(0.0)
        for q in range(at(tables.observable_pointer, o), at(tables.observable_pointer, o + 1)):
            total = fma(at(tables.observable_weight, q), load(y, at(tables.observable, q)), total)
        store(x, o + 1, where_less(total, splat(floor), splat(floor), total))
    call_rates(rates_address, x, values, function_values)
    for d in range(tables.dynamic_rate.size):
        rate = at(tables.dynamic_factor, d) * load(function_values, at(tables.dynamic_function, d))
        store(k, at(tables.dynamic_rate, d), rate)


@kernel
def flow(tables, k, y, r):
    """Return the rate of reaction `r`: its rate constant times the amounts of its reactants."""
    v = load(k, at(tables.rate, r)) * load(y, at(tables.first, r)) * load(y, at(tables.second, r))
    if r >= tables.n_plain:
        place = r - tables.n_plain
        for q in range(at(tables.further_pointer, place), at(tables.further_pointer, place + 1)):
            v = v * load(y, at(tables.further, q))
    return v


@kernel
def rhs(tables, k, y, dy):
    """Write dy/dt for rate constants `k` (n_rates, WIDTH) and amounts `y` into `dy` (n_species, WIDTH)."""
    if tables.code[RHS] != 0:
        call_code(tables.code, RHS, (k, y, dy))
        return
    for i in range(tables.n_species):
        store(dy, i, 0.0)
    for r in range(tables.rate.size):
        v = flow(tables, k, y, r)
        for q in range(at(tables.change_pointer, r), at(tables.change_pointer, r + 1)):
            i = at(tables.change, q)
            store(dy, i, fma(at(tables.change_by, q), v, load(dy, i)))


@kernel
def turnover(tables, k, y, out):
    """Write, per species, the sum of absolute changes that `rhs` adds up: its rounding error is relative to that."""
    for i in range(tables.n_species):
        store(out, i, 0.0)
    for r in range(tables.rate.size):
        v = flow(tables, k, y, r)
        for q in range(at(tables.change_pointer, r), at(tables.change_pointer, r + 1)):
            i = at(tables.change, q)
            store(out, i, load(out, i) + absolute(at(tables.change_by, q) * v))


@kernel
def evaluate_terms(tables, k, y, terms):
    """Write the terms that the entries of the Jacobian, and of the linear system of a step, add up."""
    for m in range(tables.term_rate.size):
        v = load(k, at(tables.term_rate, m)) * load(y, at(tables.term_first, m)) * load(y, at(tables.term_second, m))
        if m >= tables.n_plain_terms:
            place = m - tables.n_plain_terms
            for q in range(at(tables.term_further_pointer, place), at(tables.term_further_pointer, place + 1)):
                v = v * load(y, at(tables.term_further, q))
        store(terms, m, v)


@kernel
def linear_system(tables, k, y, partials, terms, system, dfdt):
    """Write the entries of the linear system of a step into `system` and the explicit df/dt into `dfdt`.

    Observables in rate functions, and the functions themselves, are unknowns beside the species: with dx_i the change
    of a species, dx_i' = sum J_ij dx_j + sum v_if dx_f, dx_f = sum (df/do) dx_o, dx_o = sum w_j dx_j. A function of
    an observable of many species would fill whole columns of the Jacobian; here it fills one.
    """
    if tables.code[SYSTEM] != 0:
        call_code(tables.code, SYSTEM, (k, y, partials, system))
        if tables.drift_species.size > 0:
            evaluate_terms(tables, k, y, terms)
    else:
        evaluate_terms(tables, k, y, terms)
        for q in range(tables.system_entry.size):
            total = splat(0.0)
            for p in range(at(tables.system_sum_pointer, q), at(tables.system_sum_pointer, q + 1)):
                total = fma(at(tables.system_sum_by, p), load(terms, at(tables.system_sum_term, p)), total)
            store(system, at(tables.system_entry, q), total)
        for q in range(tables.partial_entry.size):
            store(system, at(tables.partial_entry, q), load(partials, at(tables.partial, q)))
    for i in range(tables.n_species):
        store(dfdt, i, 0.0)
    for q in range(tables.drift_species.size):
        i = at(tables.drift_species, q)
        slope = at(tables.drift_by, q) * load(partials, at(tables.drift_partial, q))
        store(dfdt, i, fma(slope, load(terms, at(tables.drift_term, q)), load(dfdt, i)))


@kernel
def jacobian(tables, k, y, partials, terms, entries):
    """Write df/dy into `entries` (pattern of `tables`).

    `partials` holds the partial derivatives of the rate functions at the present time and amounts; `terms` is scratch.
    """
    n_terms = tables.term_rate.size
    evaluate_terms(tables, k, y, terms)
    for m in range(tables.chain_partial.size):
        v = at(tables.chain_factor, m) * load(partials, at(tables.chain_partial, m))
        v = v * load(y, at(tables.chain_first, m)) * load(y, at(tables.chain_second, m))
        for q in range(at(tables.chain_further_pointer, m), at(tables.chain_further_pointer, m + 1)):
            v = v * load(y, at(tables.chain_further, q))
        store(terms, n_terms + m, v)
    for e in range(tables.jacobian_column.size):
        total = splat(0.0)
        for q in range(at(tables.sum_pointer, e), at(tables.sum_pointer, e + 1)):
            total = fma(at(tables.sum_by, q), load(terms, at(tables.sum_term, q)), total)
        store(entries, e, total)


@kernel
def evaluate_partials(partials_address, x, values, partials):
    """Write the partial derivatives of the rate functions into `partials`; `x` comes from `update_rates`."""
    call_rates(partials_address, x, values, partials)
