"""Sensitivities of steady states: runs that are at rest and how free parameters act on them in, how far each would move
the state out. Machine code.

Forward (`respond`), a system per parameter, gives all derivatives; adjoint (`adjoin`), one transposed system, those of
one sum of amounts to all parameters.

At a steady state `f(y, theta) = 0`, with its conserved totals `W y = W y0`, the derivative `s = dy/dtheta` solves
`J s + f_theta = 0` and `W s = W ds0`: one linear system for all parameters of a run. Eight runs at a time.
"""

from __future__ import annotations

import numpy as np

from .kernel_cache import kernel
from .lu import factor, solve
from .newton import jacobian_at, least_shift
from .rates import call_rates
from .rosenbrock import CULPRIT, D0, D1, D2, ERR, FACTORISATIONS, OK, SHIFT, T, end_run, refill, set_clock
from .sensitivity import add_up
from .simd import PARAMETERS, WIDTH, absolute, at, fma, larger, load, splat, store

MOST_CORRECTIONS = 50
SMALL_ENOUGH, TOO_LARGE = 1e-13, 1e-6
"""A correction this small is the last one; if they stop getting smaller above the second, nothing was found. Both are
relative to the largest sensitivity, each in the unit of its species, from the start on, or to the least that counts."""
LEAST_EFFECT = 1e-4
"""Sensitivity times parameter, in units. An on-rate of a binding that is at equilibrium moves next to nothing, and
what is left of its large and opposite effects is rounding."""
LEAST_UNIT = 1e-5
"""The unit of a species is its amount and in addition this part of the largest, or atol if that is more: were it atol
alone, next to an absent species that a parameter brings in no other would count."""


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
def at_rest(tables, settings, runs, inputs, addresses, w, z):
    """Prepare the linear systems of the runs in the lanes, at their steady states: J, factors of c I - J, and df/dv.

    `w.u[4 * n_species : 5 * n_species]` gets the units of the species.
    """
    for lane in range(WIDTH):
        if w.run[lane] >= 0:
            w.lane[T, lane] = runs.reached[w.run[lane]]
            runs.counts[w.run[lane], FACTORISATIONS] += 1
    jacobian_at(tables, addresses[0], addresses[1], w)
    for lane in range(WIDTH):
        w.lane[SHIFT, lane] = least_shift(settings, w, lane)
    factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
    largest, unit = splat(0.0), w.u[4 * tables.n_species : 5 * tables.n_species]
    for i in range(tables.n_species):
        largest = larger(largest, absolute(load(w.y, i)))
    for i in range(tables.n_species):
        store(unit, i, absolute(load(w.y, i)) + larger(splat(settings.atol[i]), LEAST_UNIT * largest))
    if tables.n_functions > 0:
        call_rates(addresses[2], w.x, w.values, z.pairs)
    forcing_columns(inputs, w.y, z.pairs, z.terms, z.columns)


@kernel
def enter_parameter(tables, inputs, w, z, slopes, block, parameter, s, start, forcing, unit):
    """Load what belongs to one free parameter: its derivatives of the start into `s` and `start`, and f_theta.

    Rows D0 and D1 of `w.lane` are set for `correct`; row D2 gets the largest sensitivity, or the least that counts.
    """
    for lane in range(WIDTH):
        run = w.run[lane]
        w.lane[D0, lane], w.lane[D1, lane] = np.inf, 1.0 if run >= 0 else 0.0
        w.lane[D2, lane] = LEAST_EFFECT / slopes.scale[run, block, parameter] if run >= 0 else 1.0
        for i in range(tables.n_species):
            start[i, lane] = slopes.s[run, block, i, parameter] if run >= 0 else 0.0
            s[i, lane] = start[i, lane]
            w.lane[D2, lane] = max(abs(start[i, lane]) / unit[i, lane], w.lane[D2, lane])
    for i in range(tables.n_species):
        store(forcing, i, splat(0.0))
    for pair in range(at(inputs.block_pointer, block), at(inputs.block_pointer, block + 1)):
        for lane in range(WIDTH):
            w.lane[ERR, lane] = slopes.values[w.run[lane], pair, parameter] if w.run[lane] >= 0 else 0.0
        column, dv = at(inputs.block_column, pair), load(w.lane, ERR)
        for q in range(at(inputs.column_pointer, column), at(inputs.column_pointer, column + 1)):
            i = at(inputs.entry_species, q)
            store(forcing, i, fma(load(z.columns, q), dv, load(forcing, i)))


@kernel
def correct(tables, runs, totals, w, solved, s, start, forcing, d, unit):
    """Correct the sensitivities `s` of all lanes once, `(c I - J) d = J s + f_theta`, and keep totals as at the start.

    A lane whose corrections no longer get smaller is done, and changes no more: it does not see its neighbours. Returns
    whether any lane goes on; `solved` remembers those that ended with a correction that is not small, and a run is
    blamed on the species that was corrected most.
    """
    n = tables.n_species
    for i in range(n):
        total = load(forcing, i)
        for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
            total = fma(load(w.entries, e), load(s, at(tables.jacobian_column, e)), total)
        store(d, i, total)
    solve(tables, w.lu, d)
    going = False
    for lane in range(WIDTH):
        run = w.run[lane]
        if w.lane[D1, lane] == 0.0:
            continue
        step, worst = 0.0, 0
        for i in range(n):
            scale = 1.0 / unit[i, lane]
            s[i, lane] += d[i, lane]
            if not scale * abs(d[i, lane]) <= step:
                step, worst = scale * abs(d[i, lane]), i
            w.lane[D2, lane] = max(scale * abs(s[i, lane]), w.lane[D2, lane])
            d[i, lane] = 0.0
        for t in range(totals.first[run], totals.last[run]):
            defect = 0.0
            for q in range(totals.pointer[t], totals.pointer[t + 1]):
                i = totals.species[q]
                defect += totals.weight[q] * (start[i, lane] - s[i, lane])
            d[totals.free[t], lane] = w.lane[SHIFT, lane] * defect
        w.lane[ERR, lane] = step / w.lane[D2, lane]
        if solved[run] and not w.lane[ERR, lane] <= TOO_LARGE:
            runs.counts[run, CULPRIT] = worst
    solve(tables, w.lu, d)
    for lane in range(WIDTH):
        if w.lane[D1, lane] == 0.0:
            continue
        for i in range(n):
            s[i, lane] += d[i, lane]
        relative = w.lane[ERR, lane]
        if not relative < 0.5 * w.lane[D0, lane] or relative <= SMALL_ENOUGH:
            w.lane[D1, lane] = 0.0
            if not relative <= TOO_LARGE:
                solved[w.run[lane]] = False
        else:
            w.lane[D0, lane], going = relative, True
    return going


@kernel
def respond(tables, output, settings, runs, totals, inputs, slopes, solved, addresses, w, z):
    """Compute the sensitivities `slopes.s` of the queue's runs, which are at rest; every run ends as OK.

    On entry `slopes.s` holds the derivatives of the amounts at the start. `solved[run]` says whether it holds those of
    the steady state on return; it may not if that is not isolated. `addresses` are as in `integrate_slopes`.
    """
    n = tables.n_species
    s, start, forcing, d, unit = w.u[:n], w.u[n : 2 * n], w.u[2 * n : 3 * n], w.u[3 * n : 4 * n], w.u[4 * n : 5 * n]
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        at_rest(tables, settings, runs, inputs, addresses, w, z)
        for lane in range(WIDTH):
            if w.run[lane] >= 0:
                solved[w.run[lane]] = True
        for block in range(inputs.block_pointer.size - 1):
            for parameter in range(PARAMETERS):
                enter_parameter(tables, inputs, w, z, slopes, block, parameter, s, start, forcing, unit)
                for _ in range(MOST_CORRECTIONS):
                    if not correct(tables, runs, totals, w, solved, s, start, forcing, d, unit):
                        break
                for lane in range(WIDTH):
                    if w.run[lane] >= 0:
                        solved[w.run[lane]] = solved[w.run[lane]] and w.lane[D1, lane] == 0.0
                        for i in range(n):
                            slopes.s[w.run[lane], block, i, parameter] = s[i, lane]
        for lane in range(WIDTH):
            if w.run[lane] >= 0:
                end_run(tables, runs, w, lane, OK)
        busy, _ = refill(tables, output, settings, runs, w)


@kernel
def solve_transposed(tables, lu, x):
    """Solve `(shift I - J)^T x = b` in place, with the factors of `lu.factor`: `x` (n_species, WIDTH) holds b.

    As in `lu.solve`, there are unknowns beside the species, and the rows of `lu` after the factors are work space.
    """
    n = tables.unknown_species.size
    z = tables.lu_column.size
    for i in range(n):
        species = at(tables.unknown_species, i)
        store(lu, z + i, load(x, species) if species >= 0 else splat(0.0))
    for i in range(n):
        diagonal = at(tables.lu_diagonal, i)
        v = load(lu, z + i) * load(lu, diagonal)
        store(lu, z + i, v)
        for q in range(diagonal + 1, at(tables.lu_pointer, i + 1)):
            j = z + at(tables.lu_column, q)
            store(lu, j, fma(-load(lu, q), v, load(lu, j)))
    for i in range(n - 1, -1, -1):
        v = load(lu, z + i)
        for q in range(at(tables.lu_pointer, i), at(tables.lu_diagonal, i)):
            j = z + at(tables.lu_column, q)
            store(lu, j, fma(-load(lu, q), v, load(lu, j)))
        species = at(tables.unknown_species, i)
        if species >= 0:
            store(x, species, v)


@kernel
def adjoin(tables, output, settings, runs, totals, inputs, slopes, weights, gradient, solved, addresses, w, z):
    """Compute `gradient` (n_runs, n_blocks, PARAMETERS), the derivatives of sums of amounts at rest; runs end as OK.

    The sums have `weights` (n_runs, n_species); `slopes.s` holds the derivatives of the amounts at the start. With
    `J^T p = W^T a - weights`, the derivative is `p f_theta + a W s`; a shows as the part of p that grows as 1/c.
    `solved[run]` says whether it was found; if not, the run is blamed on a species in which a deviation stays.
    """
    n, n_blocks, n_pairs = tables.n_species, inputs.block_pointer.size - 1, inputs.block_column.size
    p, d, kept, unit = w.u[:n], w.u[n : 2 * n], w.u[2 * n : 3 * n], w.u[4 * n : 5 * n]
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            run = w.run[lane]
            w.lane[D0, lane], w.lane[D1, lane] = np.inf, 0.0
            if run >= 0:
                w.lane[D1, lane], solved[run] = 1.0, False
            for i in range(n):
                w.right[i, lane] = weights[run, i] if run >= 0 else 0.0
                p[i, lane] = kept[i, lane] = 0.0
        at_rest(tables, settings, runs, inputs, addresses, w, z)
        for _ in range(MOST_CORRECTIONS):
            for i in range(n):
                store(d, i, load(w.right, i) - load(kept, i))
            for i in range(n):
                v = load(p, i)
                for e in range(at(tables.jacobian_pointer, i), at(tables.jacobian_pointer, i + 1)):
                    j = at(tables.jacobian_column, e)
                    store(d, j, fma(load(w.entries, e), v, load(d, j)))
            solve_transposed(tables, w.lu, d)
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
                step, size, worst = 0.0, 1e-300, 0
                for i in range(n):
                    p[i, lane] += d[i, lane]
                    if not unit[i, lane] * abs(d[i, lane]) <= step:
                        step, worst = unit[i, lane] * abs(d[i, lane]), i
                    size = max(size, unit[i, lane] * abs(p[i, lane]))
                relative = step / size
                if not relative <= TOO_LARGE:
                    runs.counts[run, CULPRIT] = worst
                if not relative < 0.5 * w.lane[D0, lane] or relative <= SMALL_ENOUGH:
                    solved[run], w.lane[D1, lane] = relative <= TOO_LARGE, 0.0
                else:
                    w.lane[D0, lane], going = relative, True
            if not going:
                break
        for lane in range(WIDTH):
            run = w.run[lane]
            if run < 0:
                continue
            for block in range(n_blocks):
                a, b = splat(0.0), splat(0.0)
                for i in range(n):
                    place = 2 * ((run * n_blocks + block) * n + i)
                    a = fma(kept[i, lane], load(slopes.s, place), a)
                    b = fma(kept[i, lane], load(slopes.s, place + 1), b)
                for pair in range(at(inputs.block_pointer, block), at(inputs.block_pointer, block + 1)):
                    column, product = at(inputs.block_column, pair), 0.0
                    for q in range(at(inputs.column_pointer, column), at(inputs.column_pointer, column + 1)):
                        product += z.columns[q, lane] * p[at(inputs.entry_species, q), lane]
                    place = 2 * (run * n_pairs + pair)
                    a = fma(product, load(slopes.values, place), a)
                    b = fma(product, load(slopes.values, place + 1), b)
                store(gradient, 2 * (run * n_blocks + block), a)
                store(gradient, 2 * (run * n_blocks + block) + 1, b)
            end_run(tables, runs, w, lane, OK)
        busy, _ = refill(tables, output, settings, runs, w)
