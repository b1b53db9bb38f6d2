"""Sensitivities of steady states: runs that are at rest and how free parameters act on them in, how far each would move
the state out. Machine code.

Forward (`respond`), a system per parameter, gives all derivatives; adjoint (`adjoin`), one transposed system, those of
one sum of amounts to all parameters.

At a steady state `f(y, theta) = 0`, with its conserved totals `W y = W y0`, the derivative `s = dy/dtheta` solves
`J s + f_theta = 0` and `W s = W ds0`: one linear system for all parameters of a run, eight at a time.
"""

from __future__ import annotations

import numpy as np

from .kernel_cache import kernel
from .lu import factor
from .newton import jacobian_at, least_shift
from .rates import call_rates
from .rosenbrock import D0, D1, FACTORISATIONS, OK, SHIFT, T, end_run, refill, set_clock
from .sensitivity import add_up, row_product, spread
from .simd import WIDTH, absolute, at, fma, larger, load, splat, store

MOST_CORRECTIONS = 50
SMALL_ENOUGH, TOO_LARGE = 1e-13, 1e-6
"""A correction this small is the last one; if they stop getting smaller above the second, nothing was found. Both are
relative to the largest sensitivity, each amount's in units of the amount and atol, from the start on."""


@kernel
def solve_block(tables, factors, offset, x, z):
    """Solve `(c I - J) x = b` in place for eight right-hand sides, with the factors of one run; `z` is scratch."""
    n = tables.unknown_species.size
    for i in range(n):
        species = at(tables.unknown_species, i)
        right = load(x, species) if species >= 0 else splat(0.0)
        start, diagonal = at(tables.lu_pointer, i), at(tables.lu_diagonal, i)
        store(z, i, right - row_product(factors, offset, tables.lu_column, start, diagonal, z))
    for i in range(n - 1, -1, -1):
        diagonal, end = at(tables.lu_diagonal, i), at(tables.lu_pointer, i + 1)
        total = load(z, i) - row_product(factors, offset, tables.lu_column, diagonal + 1, end, z)
        store(z, i, at(factors, offset + diagonal) * total)
        if at(tables.unknown_species, i) >= 0:
            store(x, at(tables.unknown_species, i), load(z, i))


@kernel
def forcing_columns(inputs, y, pairs, terms, columns):
    """Write df/dv, for the values that free parameters act on, into `columns`; `pairs` as in `Inputs.term_pair`."""
    for m in range(inputs.term_pair.size):
        v = at(inputs.term_factor, m) * load(y, at(inputs.first, m)) * load(y, at(inputs.second, m))
        for q in range(at(inputs.further_pointer, m), at(inputs.further_pointer, m + 1)):
            v = v * load(y, at(inputs.further, q))
        pair = at(inputs.term_pair, m)
        if pair >= 0:
            v = v * load(pairs, pair)
        store(terms, m, v)
    add_up(inputs.sum_pointer, inputs.sum_term, inputs.sum_by, terms, columns)


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
        solve_block(tables, z.factors, lane * tables.lu_column.size, d, z.unknowns)
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
        solve_block(tables, z.factors, lane * tables.lu_column.size, d, z.unknowns)
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
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            if w.run[lane] >= 0:
                w.lane[T, lane] = runs.reached[w.run[lane]]
        jacobian_at(tables, addresses[0], addresses[1], w)
        if tables.n_functions > 0:
            call_rates(addresses[2], w.x, w.values, z.pairs)
        forcing_columns(inputs, w.y, z.pairs, z.terms, z.columns)
        for lane in range(WIDTH):
            w.lane[SHIFT, lane] = least_shift(settings, w, lane)
        factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
        spread(w.entries, z.matrices, 0, 1, nnz)
        spread(w.lu[:n_lu], z.factors, 0, 1, n_lu)
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


@kernel
def solve_transposed(tables, lu, x, z):
    """Solve `(shift I - J)^T x = b` in place, with the factors of `lu.factor`: `x` (n_species, WIDTH) holds b.

    `z` (n_unknowns, WIDTH) is scratch.
    """
    n = tables.unknown_species.size
    for i in range(n):
        species = at(tables.unknown_species, i)
        store(z, i, load(x, species) if species >= 0 else splat(0.0))
    for i in range(n):
        diagonal = at(tables.lu_diagonal, i)
        v = load(z, i) * load(lu, diagonal)
        store(z, i, v)
        for q in range(diagonal + 1, at(tables.lu_pointer, i + 1)):
            j = at(tables.lu_column, q)
            store(z, j, fma(-load(lu, q), v, load(z, j)))
    for i in range(n - 1, -1, -1):
        v = load(z, i)
        for q in range(at(tables.lu_pointer, i), at(tables.lu_diagonal, i)):
            j = at(tables.lu_column, q)
            store(z, j, fma(-load(lu, q), v, load(z, j)))
        if at(tables.unknown_species, i) >= 0:
            store(x, at(tables.unknown_species, i), v)


@kernel
def adjoin(tables, output, settings, runs, totals, inputs, slopes, weights, gradient, solved, addresses, w, z):
    """Compute `gradient` (n_runs, n_blocks, WIDTH), the derivatives of sums of the amounts at rest; runs end as OK.

    The sums have `weights` (n_runs, n_species); `slopes.s` holds the derivatives of the amounts at the start. With
    `J^T p = W^T a - weights`, the derivative is `p f_theta + a W s`; a shows as the part of p that grows as 1/c.
    `solved[run]` says whether it was found.
    """
    n, n_blocks, n_pairs = tables.n_species, inputs.block_pointer.size - 1, inputs.block_column.size
    p, d, kept = w.u[:n], w.u[n : 2 * n], w.u[2 * n : 3 * n]
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            run = w.run[lane]
            w.lane[D0, lane], w.lane[D1, lane] = np.inf, 0.0
            if run >= 0:
                w.lane[T, lane], w.lane[D1, lane] = runs.reached[run], 1.0
                solved[run] = False
            for i in range(n):
                w.right[i, lane] = weights[run, i] if run >= 0 else 0.0
                p[i, lane] = kept[i, lane] = 0.0
        jacobian_at(tables, addresses[0], addresses[1], w)
        for lane in range(WIDTH):
            w.lane[SHIFT, lane] = least_shift(settings, w, lane)
        factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
        for _ in range(MOST_CORRECTIONS):
            for i in range(n):
                store(d, i, load(w.right, i) - load(kept, i))
            for i in range(n):
                v = load(p, i)
                for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
                    j = at(tables.jacobian_column, e)
                    store(d, j, fma(load(w.entries, e), v, load(d, j)))
            solve_transposed(tables, w.lu, d, z.unknowns)
            going = False
            for lane in range(WIDTH):
                run = w.run[lane]
                if run < 0 or w.lane[D1, lane] == 0.0:  # a lane that is done does not see its neighbours
                    continue
                for t in range(totals.first[run], totals.last[run]):
                    share = d[totals.free[t], lane]
                    for q in range(totals.pointer[t], totals.pointer[t + 1]):
                        i = totals.species[q]
                        kept[i, lane] += w.lane[SHIFT, lane] * totals.weight[q] * share
                        d[i, lane] -= totals.weight[q] * share
                step, size = 0.0, 1e-300
                for i in range(n):
                    p[i, lane] += d[i, lane]
                    scale = abs(w.y[i, lane]) + settings.atol[i]
                    if not scale * abs(d[i, lane]) <= step:
                        step = scale * abs(d[i, lane])
                    size = max(size, scale * abs(p[i, lane]))
                relative = step / size
                if not relative < 0.5 * w.lane[D0, lane] or relative <= SMALL_ENOUGH:
                    solved[run], w.lane[D1, lane] = relative <= TOO_LARGE, 0.0
                else:
                    w.lane[D0, lane], going = relative, True
            if not going:
                break
        if tables.n_functions > 0:
            call_rates(addresses[2], w.x, w.values, z.pairs)
        forcing_columns(inputs, w.y, z.pairs, z.terms, z.columns)
        for lane in range(WIDTH):
            run = w.run[lane]
            if run < 0:
                continue
            runs.counts[run, FACTORISATIONS] += 1
            for block in range(n_blocks):
                total = splat(0.0)
                for i in range(n):
                    total = fma(kept[i, lane], load(slopes.s, (run * n_blocks + block) * n + i), total)
                for pair in range(at(inputs.block_pointer, block), at(inputs.block_pointer, block + 1)):
                    column, product = at(inputs.block_column, pair), 0.0
                    for q in range(at(inputs.column_pointer, column), at(inputs.column_pointer, column + 1)):
                        product += z.columns[q, lane] * p[at(inputs.entry_species, q), lane]
                    total = fma(product, load(slopes.values, run * n_pairs + pair), total)
                store(gradient, run * n_blocks + block, total)
            end_run(tables, runs, w, lane, OK)
        busy, _ = refill(tables, output, settings, runs, w)
