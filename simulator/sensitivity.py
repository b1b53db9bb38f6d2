"""Forward sensitivities: a queue of runs and how free parameters act on them in, derivatives of what is kept out.
Machine code.

The step of the integrator is itself differentiated (see `step_slopes`). Runs advance eight at a time as in
`rosenbrock`; the sensitivities of each then advance sixteen parameters at a time, as two vectors, with the matrices of
that run alone: a number of a matrix is read once for both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import inlined, kernel
from .kernels import Table, Tables, evaluate_partials, jacobian, update_rates
from .lu import tail_row
from .rates import call_rates
from .rosenbrock import (
    CULPRIT,
    NOT_FINITE,
    PER_H,
    REASON,
    REJECTED,
    REJECTIONS,
    STAGE_T,
    STEPS,
    TOO_STIFF,
    TRIAL_H,
    H,
    T,
    attempt,
    growth_of,
    interpolate,
    proceed,
    reach_of,
    refill,
    set_clock,
)  # fmt: skip
from .simd import PARAMETERS, WIDTH, absolute, aligned, at, fma, larger, load, splat, store, where_less

Float = npt.NDArray[np.float64]


SLACK = 10.0
"""Errors of sensitivities may be so many times as large as those of amounts: they are not fed back, and none the larger
in proportion. On the networks tried, a slack of 1 takes half as many steps again."""


class Inputs(NamedTuple):
    """How dy/dt changes with the values that free parameters act on, as flat tables.

    The change with one value is a sparse column: its entries are sums of terms, and each term is the rate of a
    reaction per unit of the value.
    """

    n_partials: int
    """Partial derivatives of the rate functions to observables and time."""
    first: Table
    second: Table
    further_pointer: Table
    further: Table
    """Reactants of the term's reaction, as in `Tables`."""
    term_pair: Table
    """Which derivative of a rate function to a value; -1 where the value itself is the rate constant."""
    term_factor: Float
    sum_pointer: Table
    sum_term: Table
    sum_by: Float
    column_pointer: Table
    entry_species: Table
    block_pointer: Table
    """Which columns the free parameters of a block act on: the block's share of `block_column`."""
    block_column: Table


class SlopeRuns(NamedTuple):
    """The sensitivities of the runs of one call; last axis: the free parameters of a block."""

    s: Float
    """dy/dtheta (n_runs, n_blocks, n_species, PARAMETERS), elimination order; as `Runs.y`, where the run got to."""
    values: Float
    """Derivatives of the values (n_runs, len(block_column), PARAMETERS)."""
    scale: Float
    """Sizes of the free parameters (n_runs, n_blocks, PARAMETERS)."""
    kept: Float
    """(n_runs, n_times, n_outputs, n_blocks, PARAMETERS)."""


class SlopeWorkspace(NamedTuple):
    """Scratch of one thread. Lane arrays have shape (n, WIDTH), over runs or, from `unknowns` on, over parameters: two
    vectors per species or unknown.
    """

    y: Float
    direction: Float
    x: Float
    """Inputs of the rate functions at the start of the step, and a direction in them."""
    k: Float
    dk: Float
    partials: Float
    pairs: Float
    stage_pairs: Float
    changes: Float
    """Changes along the direction of rate functions, their partial derivatives and their derivatives to values."""
    terms: Float
    term_changes: Float
    stage_terms: Float
    entries: Float
    along: Float
    columns: Float
    matrices: Float
    """Per lane and stage: J at the stage beside the change of J along the stage, entry by entry."""
    column_entries: Float
    """Per lane and stage: entries of the columns of `Inputs`."""
    factors: Float
    """Per lane: the entries of the LU factors."""
    unknowns: Float
    s_stage: Float
    s_new: Float
    u: Float
    interpolants: Float
    error: Float


def slope_workspace(tables: Tables, inputs: Inputs, n_rates: int, n_pairs: int, n_stages: int) -> SlopeWorkspace:
    """Return scratch arrays that fit the network, the free parameters and the method."""
    n, nnz, n_lu = tables.n_species, len(tables.jacobian_column), len(tables.lu_column)
    n_observed, n_columns, n_partials = len(tables.observable_pointer), len(inputs.entry_species), inputs.n_partials
    n_terms = max(len(tables.term_rate) + len(tables.chain_partial), len(inputs.term_pair))

    def lanes(rows: int) -> Float:
        return aligned(max(rows, 1), WIDTH)

    n_blocks = len(inputs.block_pointer) - 1
    work = SlopeWorkspace(
        y=lanes(n + 1), direction=lanes(n + 1), x=lanes(2 * n_observed), k=lanes(n_rates + 1), dk=lanes(n_rates + 1),
        partials=lanes(n_partials), pairs=lanes(n_pairs), stage_pairs=lanes(n_pairs),
        changes=lanes(tables.n_functions + n_partials + n_pairs), terms=lanes(n_terms), term_changes=lanes(n_terms),
        stage_terms=lanes(n_terms), entries=lanes(nnz), along=lanes(nnz), columns=lanes(n_columns),
        matrices=np.zeros(2 * WIDTH * n_stages * nnz), column_entries=np.zeros(WIDTH * n_stages * n_columns),
        factors=np.zeros(WIDTH * n_lu), unknowns=lanes(2 * len(tables.unknown_species)), s_stage=lanes(2 * n),
        s_new=lanes(2 * n * n_blocks), u=lanes(2 * n_stages * n), interpolants=lanes(6 * n), error=lanes(1),
    )  # fmt: skip
    work.y[n] = 1.0
    return work


# ---- eight runs: matrices of every stage ------------------------------------------------------------------------


@kernel
def products_along(y, direction, first, second, pointer, further, n_plain, products, changes):
    """Write products of amounts into `products` and their changes along a direction into `changes`.

    Product m is of species `first[m]` and `second[m]` and, from product `n_plain` on, of those that list `m - n_plain`
    of `pointer` and `further` holds.
    """
    for m in range(first.size):
        i, j = at(first, m), at(second, m)
        a, b = load(y, i), load(y, j)
        store(products, m, a * b)
        store(changes, m, fma(load(direction, i), b, a * load(direction, j)))
    for m in range(n_plain, first.size):
        for q in range(at(pointer, m - n_plain), at(pointer, m - n_plain + 1)):
            i = at(further, q)
            change = load(products, m) * load(direction, i)
            store(changes, m, fma(load(changes, m), load(y, i), change))
            store(products, m, load(products, m) * load(y, i))


@kernel
def add_up(pointer, term, by, terms, sums):
    """Write sums of terms: sum e has those of list `e` of `pointer`, each times `by`."""
    for e in range(pointer.size - 1):
        total = splat(0.0)
        for q in range(at(pointer, e), at(pointer, e + 1)):
            total = fma(at(by, q), load(terms, at(term, q)), total)
        store(sums, e, total)


@kernel
def jacobian_along(tables, k, dk, y, direction, partials, dpartials, terms, changes, entries):
    """Write the change of df/dy along a direction into `entries`: terms as in `kernels.jacobian`, by the product rule.

    `dk` and `dpartials` are the changes of the rate constants and partial derivatives; `terms` and `changes` scratch.
    """
    n_terms = tables.term_rate.size
    products_along(y, direction, tables.term_first, tables.term_second, tables.term_further_pointer,
                   tables.term_further, tables.n_plain_terms, terms, changes)  # fmt: skip
    for m in range(n_terms):
        rate = at(tables.term_rate, m)
        store(terms, m, fma(load(k, rate), load(changes, m), load(dk, rate) * load(terms, m)))
    chains = terms[n_terms:]
    products_along(y, direction, tables.chain_first, tables.chain_second, tables.chain_further_pointer,
                   tables.chain_further, 0, chains, changes)  # fmt: skip
    for m in range(tables.chain_partial.size):
        p = at(tables.chain_partial, m)
        v = fma(load(partials, p), load(changes, m), load(dpartials, p) * load(chains, m))
        store(chains, m, at(tables.chain_factor, m) * v)
    add_up(tables.sum_pointer, tables.sum_term, tables.sum_by, terms, entries)


@kernel
def input_columns(tables, inputs, y_stage, y, direction, stage_pairs, pairs, dpairs, terms, changes, stage, columns):
    """Write df/dv at a stage plus the change of df/dv, at the start of the step, along the stage."""
    products_along(y, direction, inputs.first, inputs.second, inputs.further_pointer, inputs.further, 0, terms, changes)
    for m in range(inputs.first.size):
        v = load(y_stage, at(inputs.first, m)) * load(y_stage, at(inputs.second, m))
        for q in range(at(inputs.further_pointer, m), at(inputs.further_pointer, m + 1)):
            v = v * load(y_stage, at(inputs.further, q))
        store(stage, m, v)
    for m in range(inputs.term_pair.size):
        pair, v = at(inputs.term_pair, m), load(stage, m) + load(changes, m)
        if pair >= 0:
            v = fma(load(stage_pairs, pair), load(stage, m),
                    fma(load(pairs, pair), load(changes, m), load(dpairs, pair) * load(terms, m)))  # fmt: skip
        store(terms, m, at(inputs.term_factor, m) * v)
    add_up(inputs.sum_pointer, inputs.sum_term, inputs.sum_by, terms, columns)


@kernel
def rates_along(tables, addresses, w, z, dt):
    """Write what the rate functions add to the matrices: changes along the direction, at the start of the step."""
    n_observed = tables.observable_pointer.size
    store(z.x, n_observed, dt)
    for o in range(n_observed - 1):
        total = splat(0.0)
        for q in range(at(tables.observable_pointer, o), at(tables.observable_pointer, o + 1)):
            total = fma(at(tables.observable_weight, q), load(z.direction, at(tables.observable, q)), total)
        store(z.x, n_observed + 1 + o, total)
    call_rates(addresses[3], z.x, w.values, z.changes)
    for i in range(z.changes.shape[0]):
        # x^1.5 has no second derivative at 0: left out, the step there is of lower order
        finite = where_less(absolute(load(z.changes, i)), splat(np.inf), load(z.changes, i), splat(0.0))
        store(z.changes, i, finite)
    for d in range(tables.dynamic_rate.size):
        change = at(tables.dynamic_factor, d) * load(z.changes, at(tables.dynamic_function, d))
        store(z.dk, at(tables.dynamic_rate, d), change)


@kernel
def spread(source, target, offset, step, stride):
    """Write row e of `source` (n, WIDTH) lane by lane: lane l to place `offset + l stride + e step` of `target`."""
    for e in range(source.shape[0]):
        place = offset + e * step
        for lane in range(WIDTH):
            target[np.uint64(place + lane * stride)] = at(source, e * WIDTH + lane)


@kernel
def linearise(tables, method, inputs, addresses, w, z):
    """Compute the matrices of all stages of the step just tried, and lay them out run by run."""
    n, n_stages = tables.n_species, method.gamma_sums.size
    nnz, n_columns, n_lu = tables.jacobian_column.size, inputs.entry_species.size, tables.lu_column.size
    h = load(w.lane, H)
    for j in range(w.k.shape[0]):
        store(z.k, j, load(w.k, j))
    if tables.n_functions > 0:
        update_rates(tables, w.values, w.lane[T : T + 1], w.clock, w.y, w.floor[0], addresses[0], z.x,
                     w.function_values, z.k)  # fmt: skip
        call_rates(addresses[2], z.x, w.values, z.pairs)
    for s in range(n_stages):
        # ---- the argument of the stage, and the direction in which second derivatives are needed
        for i in range(n):
            y = load(w.y, i)
            for j in range(s):
                y = fma(at(method.a, s * n_stages + j), load(w.u, j * n + i), y)
            store(z.y, i, y)
            store(z.direction, i, load(w.u, s * n + i))
        if tables.n_functions > 0:
            store(w.lane, STAGE_T, fma(method.alpha[s], h, load(w.lane, T)))
            update_rates(tables, w.values, w.lane[STAGE_T : STAGE_T + 1], w.clock, z.y, w.floor[0], addresses[0],
                         w.x, w.function_values, w.k)  # fmt: skip
            evaluate_partials(addresses[1], w.x, w.values, z.partials)
            call_rates(addresses[2], w.x, w.values, z.stage_pairs)
            rates_along(tables, addresses, w, z, method.gamma_sums[s] * h)
        # ---- matrices
        jacobian(tables, w.k, z.y, z.partials, z.terms, z.entries)
        dpartials = z.changes[tables.n_functions :]
        dpairs = dpartials[inputs.n_partials :]
        jacobian_along(tables, z.k, z.dk, w.y, z.direction, w.partials, dpartials, z.terms, z.term_changes,
                       z.along)  # fmt: skip
        input_columns(tables, inputs, z.y, w.y, z.direction, z.stage_pairs, z.pairs, dpairs, z.terms, z.term_changes,
                      z.stage_terms, z.columns)  # fmt: skip
        spread(z.entries, z.matrices, 2 * s * nnz, 2, 2 * n_stages * nnz)
        spread(z.along, z.matrices, 2 * s * nnz + 1, 2, 2 * n_stages * nnz)
        if n_columns > 0:
            spread(z.columns, z.column_entries, s * n_columns, 1, n_stages * n_columns)
    spread(w.lu[:n_lu], z.factors, 0, 1, n_lu)


# ---- one run: sixteen parameters --------------------------------------------------------------------------------


@inlined
def subtract_row(factors, offset, columns, start, end, x, i):
    """Subtract from row i of `x` the sum of factors `start` to `end` times the rows of `x` in their columns."""
    a, b, c, d = load(x, 2 * i), load(x, 2 * i + 1), splat(0.0), splat(0.0)
    q = start
    while q + 2 <= end:  # two columns at a time: four sums that do not wait for each other
        v, w = -at(factors, offset + q), -at(factors, offset + q + 1)
        j, k = 2 * at(columns, q), 2 * at(columns, q + 1)
        a, b = fma(v, load(x, j), a), fma(v, load(x, j + 1), b)
        c, d = fma(w, load(x, k), c), fma(w, load(x, k + 1), d)
        q += 2
    if q < end:
        v, j = -at(factors, offset + q), 2 * at(columns, q)
        a, b = fma(v, load(x, j), a), fma(v, load(x, j + 1), b)
    store(x, 2 * i, a + c)
    store(x, 2 * i + 1, b + d)


@inlined
def subtract_tile(factors, r0, r1, r2, r3, start, end, x, first, i):
    """Subtract from four rows of `x`, from row i on, the products of factors with rows `start` to `end` of the tail.

    The factors of each row begin at r0, r1, r2, r3, the tail of `x` at row `first`.
    """
    a0, a1, a2, a3 = load(x, 2 * i), load(x, 2 * i + 2), load(x, 2 * i + 4), load(x, 2 * i + 6)
    b0, b1, b2, b3 = load(x, 2 * i + 1), load(x, 2 * i + 3), load(x, 2 * i + 5), load(x, 2 * i + 7)
    for j in range(start, end):
        a, b = -load(x, 2 * (first + j)), -load(x, 2 * (first + j) + 1)
        v0, v1, v2, v3 = at(factors, r0 + j), at(factors, r1 + j), at(factors, r2 + j), at(factors, r3 + j)
        a0, b0 = fma(v0, a, a0), fma(v0, b, b0)
        a1, b1 = fma(v1, a, a1), fma(v1, b, b1)
        a2, b2 = fma(v2, a, a2), fma(v2, b, b2)
        a3, b3 = fma(v3, a, a3), fma(v3, b, b3)
    store(x, 2 * i, a0)
    store(x, 2 * i + 1, b0)
    store(x, 2 * i + 2, a1)
    store(x, 2 * i + 3, b1)
    store(x, 2 * i + 4, a2)
    store(x, 2 * i + 5, b2)
    store(x, 2 * i + 6, a3)
    store(x, 2 * i + 7, b3)


@kernel
def solve_tail(tables, factors, offset, x):
    """Solve with the full trailing block of the factors in place, four rows at a time."""
    m, first = tables.n_tail, tables.unknown_species.size - tables.n_tail
    for t in range(0, m, 4):
        r0, r1 = offset + tail_row(tables, t), offset + tail_row(tables, t + 1)
        r2, r3 = offset + tail_row(tables, t + 2), offset + tail_row(tables, t + 3)
        subtract_tile(factors, r0, r1, r2, r3, 0, t, x, first, first + t)
        for i in range(2 * (first + t), 2 * (first + t) + 2):
            x0 = load(x, i)
            x1 = fma(-at(factors, r1 + t), x0, load(x, i + 2))
            x2 = fma(-at(factors, r2 + t + 1), x1, fma(-at(factors, r2 + t), x0, load(x, i + 4)))
            x3 = fma(-at(factors, r3 + t + 1), x1, fma(-at(factors, r3 + t), x0, load(x, i + 6)))
            store(x, i + 2, x1)
            store(x, i + 4, x2)
            store(x, i + 6, fma(-at(factors, r3 + t + 2), x2, x3))
    for t in range(m - 4, -4, -4):
        r0, r1 = offset + tail_row(tables, t), offset + tail_row(tables, t + 1)
        r2, r3 = offset + tail_row(tables, t + 2), offset + tail_row(tables, t + 3)
        subtract_tile(factors, r0, r1, r2, r3, t + 4, m, x, first, first + t)
        for i in range(2 * (first + t), 2 * (first + t) + 2):
            x3 = at(factors, r3 + t + 3) * load(x, i + 6)
            x2 = at(factors, r2 + t + 2) * fma(-at(factors, r2 + t + 3), x3, load(x, i + 4))
            x1 = fma(-at(factors, r1 + t + 2), x2, fma(-at(factors, r1 + t + 3), x3, load(x, i + 2)))
            x1 = at(factors, r1 + t + 1) * x1
            x0 = fma(-at(factors, r0 + t + 2), x2, fma(-at(factors, r0 + t + 3), x3, load(x, i)))
            store(x, i, at(factors, r0 + t) * fma(-at(factors, r0 + t + 1), x1, x0))
            store(x, i + 2, x1)
            store(x, i + 4, x2)
            store(x, i + 6, x3)


@kernel
def step_slopes(tables, method, settings, inputs, w, z, slopes, run, lane, block):
    """Advance the sensitivities of one run to a block of parameters over its step; return their weighted error.

    With `s = dy/dtheta`, primes for d/dtheta, and the stages `u_i` of the step, `W = I / (gamma h) - J(t, y)`::

        W u_i' = J(t_i, Y_i) Y_i' + f_theta(t_i, Y_i) + sum_j c_ij u_j' / h + (D_i J) s + D_i f_theta
        Y_i' = s + sum_j a_ij u_j'         s_new = (argument of the last stage) + (last stage)

    where `D_i` is the change along `(u_i, h gamma_i)` in (y, t), at the start of the step: the derivatives of W and of
    f_t. `z.matrices` and `z.column_entries` hold what stands before Y_i', s and the derivatives of the values.
    """
    n, n_unknowns, n_stages = tables.n_species, tables.unknown_species.size, method.gamma_sums.size
    n_head = n_unknowns - tables.n_tail
    nnz, n_columns = tables.jacobian_column.size, inputs.entry_species.size
    n_blocks, n_pairs = inputs.block_pointer.size - 1, inputs.block_column.size
    rows = 2 * n  # vectors: species i has numbers 2 i and 2 i + 1
    first = (run * n_blocks + block) * rows
    """The place of the block in `slopes.s`."""
    per_h = w.lane[PER_H, lane]
    factors = lane * tables.lu_column.size
    for stage in range(n_stages):
        u = z.u[stage * rows : (stage + 1) * rows]
        for i in range(rows):
            s, c = load(slopes.s, first + i), splat(0.0)
            for j in range(stage):
                v = load(z.u, j * rows + i)
                s = fma(at(method.a, stage * n_stages + j), v, s)
                c = fma(at(method.c, stage * n_stages + j), v, c)
            store(z.s_stage, i, s)
            store(u, i, per_h * c)
        entries = (lane * n_stages + stage) * n_columns
        for pair in range(at(inputs.block_pointer, block), at(inputs.block_pointer, block + 1)):
            column, place = at(inputs.block_column, pair), 2 * (run * n_pairs + pair)
            dv, dw = load(slopes.values, place), load(slopes.values, place + 1)
            for q in range(at(inputs.column_pointer, column), at(inputs.column_pointer, column + 1)):
                i, entry = 2 * at(inputs.entry_species, q), at(z.column_entries, entries + q)
                store(u, i, fma(entry, dv, load(u, i)))
                store(u, i + 1, fma(entry, dw, load(u, i + 1)))
        # ---- products with the matrices, and forward substitution as soon as a row is complete
        matrices, x = 2 * (lane * n_stages + stage) * nnz, z.unknowns
        for row in range(n_unknowns):
            a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
            i = at(tables.unknown_species, row)
            if i >= 0:
                a, b = load(u, 2 * i), load(u, 2 * i + 1)
                for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
                    j = 2 * at(tables.jacobian_column, e)
                    v, along = at(z.matrices, matrices + 2 * e), at(z.matrices, matrices + 2 * e + 1)
                    a, b = fma(v, load(z.s_stage, j), a), fma(v, load(z.s_stage, j + 1), b)
                    c, d = fma(along, load(slopes.s, first + j), c), fma(along, load(slopes.s, first + j + 1), d)
            start = at(tables.lu_pointer, row)
            end = at(tables.lu_diagonal, row) if row < n_head else at(tables.lu_pointer, row + 1) - tables.n_tail
            store(x, 2 * row, a + c)
            store(x, 2 * row + 1, b + d)
            subtract_row(z.factors, factors, tables.lu_column, start, end, x, row)
        solve_tail(tables, z.factors, factors, x)
        for row in range(n_unknowns - 1, -1, -1):
            if row < n_head:
                diagonal, end = at(tables.lu_diagonal, row), at(tables.lu_pointer, row + 1)
                subtract_row(z.factors, factors, tables.lu_column, diagonal + 1, end, x, row)
                store(x, 2 * row, at(z.factors, factors + diagonal) * load(x, 2 * row))
                store(x, 2 * row + 1, at(z.factors, factors + diagonal) * load(x, 2 * row + 1))
            i = at(tables.unknown_species, row)
            if i >= 0:
                store(u, 2 * i, load(x, 2 * row))
                store(u, 2 * i + 1, load(x, 2 * row + 1))
    # ---- the error of the last stage, for a relative change of each parameter
    err, finite = splat(0.0), splat(0.0)
    for i in range(rows):
        scale = load(slopes.scale, 2 * (run * n_blocks + block) + i % 2)
        v, s = load(z.u, (n_stages - 1) * rows + i), load(slopes.s, first + i)
        s_new = load(z.s_stage, i) + v
        store(z.s_new, block * rows + i, s_new)
        size = scale * larger(absolute(s), absolute(s_new))
        e = scale * absolute(v) / (SLACK * fma(settings.rtol, size, splat(settings.atol[i // 2])))
        err = larger(e, err)
        finite = fma(0.0, e, finite)
    store(z.error, 0, err + finite)
    worst = 0.0
    for parameter in range(WIDTH):
        e = z.error[0, parameter]
        if not e <= worst:
            worst = e
            if e != e:
                break
    return worst


@kernel
def keep_slopes(method, output, runs, w, z, slopes, run, block, n_blocks, t, h, reach):
    """Write the derivatives of the outputs of one run that lie in its step, as `keep_outputs` does the outputs.

    A step that is refused later leaves numbers here that the next attempt writes over.
    """
    rows = 2 * w.slope.shape[0]
    n_times, n_outputs = output.times.size, output.pointer.size - 1
    first = (run * n_blocks + block) * rows
    io = runs.next_output[run]
    if io >= n_times or output.times[io] > reach:
        return
    interpolate(method, z.u, z.interpolants, rows)
    while io < n_times and output.times[io] <= reach:
        theta = 1.0 if output.times[io] == reach else min((output.times[io] - t) / h, 1.0)
        for o in range(n_outputs):
            for side in range(2):
                total = splat(0.0)
                for q in range(output.pointer[o], output.pointer[o + 1]):
                    i = 2 * output.species[q] + side
                    s_new = load(z.s_new, block * rows + i)
                    if theta < 1.0:
                        inner = fma(theta, load(z.interpolants, 2 * rows + i), load(z.interpolants, rows + i))
                        inner = fma(theta, inner, load(z.interpolants, i))
                        s_new = (1.0 - theta) * load(slopes.s, first + i) + theta * fma(1.0 - theta, inner, s_new)
                    total = fma(output.weight[q], s_new, total)
                place = ((run * n_times + io) * n_outputs + o) * n_blocks + block
                store(slopes.kept, 2 * place + side, total)
        io += 1


@kernel
def culprit_of_slopes(settings, z, slopes, run, block, last):
    """Return the species with the largest weighted error of a block's sensitivities; the first not finite, if any."""
    n = settings.atol.size
    worst, culprit = -1.0, 0
    for i in range(n):
        for parameter in range(PARAMETERS):
            row, lane = 2 * i + parameter // WIDTH, parameter % WIDTH
            scale = slopes.scale[run, block, parameter]
            size = max(abs(slopes.s[run, block, i, parameter]), abs(z.s_new[2 * n * block + row, lane]))
            e = scale * abs(z.u[last + row, lane]) / (SLACK * (settings.rtol * scale * size + settings.atol[i]))
            if not e < np.inf:
                return i
            if e > worst:
                worst, culprit = e, i
    return culprit


@kernel
def judge_slopes(tables, method, output, settings, inputs, runs, w, z, slopes, lane):
    """Advance all sensitivities of a lane whose step has been accepted; refuse the step if they are not accurate."""
    n, n_blocks = tables.n_species, inputs.block_pointer.size - 1
    run, h = w.run[lane], w.lane[H, lane]
    worst = 0.0
    for block in range(n_blocks):
        e = step_slopes(tables, method, settings, inputs, w, z, slopes, run, lane, block)
        if not e <= worst:
            worst = e
        if not e <= 1.0:
            last = (method.gamma_sums.size - 1) * 2 * n
            runs.counts[run, CULPRIT] = culprit_of_slopes(settings, z, slopes, run, block, last)
            break
        keep_slopes(method, output, runs, w, z, slopes, run, block, n_blocks, w.lane[T, lane], h,
                    reach_of(w, lane))  # fmt: skip
    growth = growth_of(method, worst)
    if worst <= 1.0:
        w.lane[TRIAL_H, lane] = min(w.lane[TRIAL_H, lane], h * growth)
        first = 2 * run * n_blocks * n
        for i in range(2 * n_blocks * n):
            store(slopes.s, first + i, load(z.s_new, i))
        return
    finite = worst < np.inf
    w.lane[TRIAL_H, lane] = -h * (min(growth, 0.9) if finite else 0.25)
    w.state[lane, REJECTED] = 1
    w.state[lane, REASON] = TOO_STIFF if finite else NOT_FINITE
    runs.counts[run, STEPS] -= 1
    runs.counts[run, REJECTIONS] += 1


@kernel
def integrate_slopes(tables, method, output, settings, runs, inputs, slopes, addresses, w, z):
    """Work off the queue of `runs` as `rosenbrock.integrate` does, with the sensitivities `slopes`.

    `addresses` are those of the rate functions, their partial derivatives and the two functions of `RateSlopes`.
    """
    set_clock(w, settings.start)
    busy, new = refill(tables, output, settings, runs, w)
    while busy > 0 and attempt(tables, method, output, settings, runs, addresses[0], addresses[1], w, new):
        accepted = False
        for lane in range(WIDTH):
            accepted = accepted or (w.run[lane] >= 0 and w.lane[TRIAL_H, lane] > 0.0)
        if accepted:
            linearise(tables, method, inputs, addresses, w, z)
            for lane in range(WIDTH):
                if w.run[lane] >= 0 and w.lane[TRIAL_H, lane] > 0.0:
                    judge_slopes(tables, method, output, settings, inputs, runs, w, z, slopes, lane)
        new = proceed(method, output, settings, runs, w)
