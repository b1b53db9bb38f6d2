"""Sensitivities of steady states: runs that are at rest and how free parameters act on them in, how far each would move
the state out. Machine code.

At a steady state `f(y, theta) = 0`, with its conserved totals `W y = W y0`, the derivative `s = dy/dtheta` solves
`J s + f_theta = 0` and `W s = W ds0`: one linear system for all parameters of a run, eight at a time.
"""

from __future__ import annotations

from .kernel_cache import kernel
from .lu import factor
from .newton import jacobian_at, least_shift
from .rates import call_rates
from .rosenbrock import FACTORISATIONS, OK, SHIFT, T, end_run, refill
from .sensitivity import input_columns, minus_products, spread
from .simd import WIDTH, absolute, at, fma, larger, load, splat, store

MOST_CORRECTIONS = 50
SMALL_ENOUGH, TOO_LARGE = 1e-13, 1e-6
"""A correction this small is the last one; if they stop getting smaller above the second, nothing was found. Both are
relative to the largest sensitivity, each amount's in units of the amount and atol, from the start on."""


@kernel
def solve_block(tables, factors, offset, x):
    """Solve `(c I - J) x = b` in place for eight right-hand sides, with the factors of one run."""
    n = tables.n_species
    for i in range(n):
        start, diagonal = at(tables.lu_pointer, i), at(tables.lu_diagonal, i)
        store(x, i, minus_products(factors, offset, tables.lu_column, start, diagonal, x, load(x, i)))
    for i in range(n - 1, -1, -1):
        diagonal, end = at(tables.lu_diagonal, i), at(tables.lu_pointer, i + 1)
        total = minus_products(factors, offset, tables.lu_column, diagonal + 1, end, x, load(x, i))
        store(x, i, at(factors, offset + diagonal) * total)


@kernel
def respond_block(tables, settings, inputs, totals, w, z, slopes, run, lane, block):
    """Bring the sensitivities of one run to eight parameters from those of its start to those of its steady state.

    Corrections `(c I - J) d = J s + f_theta` are made until they no longer get smaller; totals are kept as in
    `newton.settle`. Returns whether that ended well.
    """
    n, nnz, n_columns = tables.n_species, tables.jacobian_column.size, inputs.entry_species.size
    n_blocks, n_pairs = inputs.block_pointer.size - 1, inputs.block_column.size
    first = (run * n_blocks + block) * n
    start, forcing, d = z.s_stage, z.u[:n], z.u[n : 2 * n]
    shift = w.lane[SHIFT, lane]
    size = splat(0.0)
    for i in range(n):
        store(start, i, load(slopes.s, first + i))
        size = larger(absolute(load(start, i)) * (1.0 / (abs(w.y[i, lane]) + settings.atol[i])), size)
        store(forcing, i, splat(0.0))
    for pair in range(at(inputs.block_pointer, block), at(inputs.block_pointer, block + 1)):
        column = at(inputs.block_column, pair)
        dv = load(slopes.values, run * n_pairs + pair)
        for q in range(at(inputs.column_pointer, column), at(inputs.column_pointer, column + 1)):
            i = at(inputs.entry_species, q)
            store(forcing, i, fma(at(z.column_entries, lane * n_columns + q), dv, load(forcing, i)))
    before = 1e300
    for _ in range(MOST_CORRECTIONS):
        for i in range(n):
            total = load(forcing, i)
            for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
                s = load(slopes.s, first + at(tables.jacobian_column, e))
                total = fma(at(z.matrices, lane * nnz + e), s, total)
            store(d, i, total)
        solve_block(tables, z.factors, lane * tables.lu_column.size, d)
        step, finite = splat(0.0), splat(0.0)
        for i in range(n):
            scale = 1.0 / (abs(w.y[i, lane]) + settings.atol[i])
            s = load(slopes.s, first + i) + load(d, i)
            store(slopes.s, first + i, s)
            step, size = larger(scale * absolute(load(d, i)), step), larger(scale * absolute(s), size)
            finite = fma(0.0, s, finite)
            store(d, i, splat(0.0))
        for t in range(totals.first[run], totals.last[run]):
            defect = splat(0.0)
            for q in range(totals.pointer[t], totals.pointer[t + 1]):
                i = totals.species[q]
                defect = fma(totals.weight[q], load(start, i) - load(slopes.s, first + i), defect)
            store(d, totals.free[t], shift * defect)
        solve_block(tables, z.factors, lane * tables.lu_column.size, d)
        for i in range(n):
            store(slopes.s, first + i, load(slopes.s, first + i) + load(d, i))
        store(z.error, 0, step / larger(size, splat(1e-300)) + finite)
        worst = 0.0
        for parameter in range(WIDTH):
            if not z.error[0, parameter] <= worst:
                worst = z.error[0, parameter]
        if not worst < 0.5 * before or worst <= SMALL_ENOUGH:
            return worst <= TOO_LARGE
        before = worst
    return False


@kernel
def respond(tables, output, settings, runs, totals, inputs, slopes, solved, addresses, w, z):
    """Compute the sensitivities `slopes.s` of the queue's runs, which are at rest; every run ends as OK.

    On entry `slopes.s` holds the derivatives of the amounts at the start. `solved[run]` says whether it holds those of
    the steady state on return; it may not if that is not isolated. `addresses` are as in `integrate_slopes`.
    """
    nnz, n_columns, n_lu = tables.jacobian_column.size, inputs.entry_species.size, tables.lu_column.size
    no_changes = z.changes[tables.n_functions + inputs.n_partials :]
    w.start[0] = 0.0
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            if w.run[lane] >= 0:
                w.lane[T, lane] = runs.reached[w.run[lane]]
        jacobian_at(tables, addresses[0], addresses[1], w)
        if tables.n_functions > 0:
            call_rates(addresses[2], w.x, w.values, z.stage_pairs)
        # df/dv alone: with no direction, there is no change along one
        input_columns(tables, inputs, w.y, w.y, z.direction, z.stage_pairs, z.pairs, no_changes, z.terms, z.columns)
        for lane in range(WIDTH):
            w.lane[SHIFT, lane] = least_shift(settings, w, lane)
        factor(tables, w.entries, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
        spread(w.entries, z.matrices, 0, 1, nnz)
        spread(w.lu, z.factors, 0, 1, n_lu)
        if n_columns > 0:
            spread(z.columns, z.column_entries, 0, 1, n_columns)
        for lane in range(WIDTH):
            run = w.run[lane]
            if run < 0:
                continue
            runs.counts[run, FACTORISATIONS] += 1
            solved[run] = True
            for block in range(inputs.block_pointer.size - 1):
                done = respond_block(tables, settings, inputs, totals, w, z, slopes, run, lane, block)
                solved[run] = solved[run] and done
            end_run(tables, runs, w, lane, OK)
        busy, _ = refill(tables, output, settings, runs, w)
