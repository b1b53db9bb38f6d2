"""Steady states by Newton's method, eight runs in lockstep: states where little changes any more in, the steady states
beside them out, and whether these attract what is near. Machine code.

All linear systems have the matrix `c I - J`, for which the elimination is planned: J alone is singular as soon as
something is conserved. A step `(c I - J) dy = f` is one of implicit Euler, of length 1/c (pseudo-transient
continuation: Kelley & Keyes, SIAM J. Numer. Anal. 35:508, 1998); it keeps conserved totals but for rounding, which
grows with 1/c and is taken back after each step.
"""

from __future__ import annotations

import numpy as np

from .kernel_cache import kernel
from .kernels import evaluate_partials, jacobian, linear_system
from .lu import factor, solve
from .rosenbrock import (
    CULPRIT,
    D0,
    D1,
    ERR,
    FACTORISATIONS,
    LOW,
    NO_STEADY_STATE,
    OK,
    RHS_CALLS,
    RUNNING,
    SHIFT,
    SIZE,
    H,
    T,
    end_run,
    refill,
    set_clock,
    slope_at,
)
from .simd import WIDTH, absolute, fma, larger, load, smaller, splat, store, where_less

SMALLEST_SHIFT = 1e-12
"""Least c relative to the largest entry of J: the linear systems stay solvable."""
LARGEST_MOVE = 0.01
"""How far Newton may take an amount from where it was handed over, relative (plus ten times atol): it is to finish what
integration began, not to find another steady state."""
MOST_STEPS = 50
SMALL_ENOUGH = 1e-6
"""A step this small, in units of the tolerance, is the last one."""
RUNGS, REPEATS = 12, 16
"""Time scales at which the linearised model is tried for growth, and steps made at each."""
GROWS = 1.05
"""Growth per step above which a state is not taken to be stable without its eigenvalues. Stable states reach 1.03, as
damped oscillations turn; an unstable focus that grows by less than a tenth in a radian may pass unseen."""
RETURNS, STAYS = 3, 0.05
"""Longest steps that a deviation gets to return to the steady state, and how much of it may then be left."""


@kernel
def jacobian_at(tables, rates_address, partials_address, w):
    """Write f and df/dy at the lanes' amounts `w.y` into `w.slope` and `w.entries`, and the linear system of a step.

    Row SIZE of `w.lane` gets the largest entry of df/dy.
    """
    slope_at(tables, rates_address, w, T, w.y, w.slope)
    if tables.n_functions > 0:
        evaluate_partials(partials_address, w.x, w.values, w.partials)
    jacobian(tables, w.k, w.y, w.partials, w.terms, w.entries)
    linear_system(tables, w.k, w.y, w.partials, w.terms, w.system, w.dfdt)
    largest = splat(0.0)
    for e in range(tables.jacobian_column.size):
        largest = larger(absolute(load(w.entries, e)), largest)
    store(w.lane, SIZE, largest)


@kernel
def least_shift(settings, w, lane):
    """Return the smallest c of a lane: one over the time in which a steady state has to stay put, or what J allows."""
    return max(1.0 / settings.span, SMALLEST_SHIFT * w.lane[SIZE, lane])


@kernel
def repair_totals(tables, runs, start, totals, w, x):
    """Bring the conserved totals of `w.y_new` back to those of the run's start, off by rounding; `x` is scratch.

    A right-hand side of c d for a total that lacks d moves it by d and the slopes by next to nothing.
    """
    for i in range(x.shape[0]):
        store(x, i, splat(0.0))
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            continue
        for t in range(totals.first[run], totals.last[run]):
            defect = 0.0
            for q in range(totals.pointer[t], totals.pointer[t + 1]):
                i = totals.species[q]
                defect += totals.weight[q] * (start[run, i] - w.y_new[i, lane])
            x[totals.free[t], lane] = w.lane[SHIFT, lane] * defect
    solve(tables, w.lu, x)
    for i in range(x.shape[0]):
        store(w.y_new, i, load(w.y_new, i) + load(x, i))


@kernel
def measure(settings, w, begun):
    """Write the size of Newton's step, in units of the tolerance, into row ERR of `w.lane` (NaN if it is not finite);
    into row D1 how far it leads from `begun`, in units of what is allowed; into row LOW the lowest amount below -atol.
    """
    size, moved, low, finite = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for i in range(begun.shape[0]):
        y_new, y0, atol = load(w.y_new, i), load(begun, i), splat(settings.atol[i])
        dy = y_new - load(w.y, i)
        size = larger(absolute(dy) / fma(settings.rtol, absolute(y_new), atol), size)
        moved = larger(absolute(y_new - y0) / fma(LARGEST_MOVE, absolute(y0), 10.0 * atol), moved)
        low = smaller(where_less(y_new, splat(0.0), y_new + atol, splat(0.0)), low)
        finite = fma(0.0, dy, finite)
    store(w.lane, ERR, size + finite)
    store(w.lane, D1, moved)
    store(w.lane, LOW, low)


@kernel
def settle(tables, output, settings, runs, start, totals, rates_address, partials_address, w):
    """Bring the runs of the queue from where they are, near a steady state, to it, with the totals of their `start`.

    Steps are made until they no longer get smaller. A run ends as OK if the last one was within tolerance; else, or if
    Newton leads away or to negative amounts, it stays where it was and ends as NO_STEADY_STATE.
    """
    n = tables.n_species
    begun, step = w.u[:n], w.u[n : 2 * n]
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            if w.run[lane] >= 0 and w.lane[H, lane] == 0.0:  # new
                w.lane[T, lane] = runs.reached[w.run[lane]]
                w.lane[D0, lane] = np.inf
                for i in range(n):
                    begun[i, lane] = w.y[i, lane]
        jacobian_at(tables, rates_address, partials_address, w)
        for lane in range(WIDTH):
            w.lane[SHIFT, lane] = least_shift(settings, w, lane)
        factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
        for i in range(n):
            store(step, i, load(w.slope, i))
        solve(tables, w.lu, step)
        for i in range(n):
            store(w.y_new, i, load(w.y, i) + load(step, i))
        repair_totals(tables, runs, start, totals, w, step)
        measure(settings, w, begun)
        freed = 0
        for lane in range(WIDTH):
            run = w.run[lane]
            if run < 0:
                continue
            runs.counts[run, FACTORISATIONS] += 1
            runs.counts[run, RHS_CALLS] += 1
            w.lane[H, lane] += 1.0
            size, before = w.lane[ERR, lane], w.lane[D0, lane]
            leads_away = not size < np.inf or w.lane[D1, lane] > 1.0 or w.lane[H, lane] > MOST_STEPS
            negative = settings.nonnegative and w.lane[LOW, lane] < 0.0
            is_last = size <= SMALL_ENOUGH or size > 0.5 * before
            status = RUNNING
            if runs.stop[run] != 0:
                status = runs.stop[run]
            elif leads_away or negative or (is_last and size > 1.0):
                status = NO_STEADY_STATE
                for i in range(n):
                    w.y[i, lane] = begun[i, lane]
            else:
                w.lane[D0, lane] = size
                for i in range(n):
                    w.y[i, lane] = w.y_new[i, lane]
                if is_last:
                    status = OK
            if status != RUNNING:
                end_run(tables, runs, w, lane, status)
                freed += 1
        if freed > 0:
            busy, _ = refill(tables, output, settings, runs, w)


@kernel
def draw_deviation(totals, w, probe, x):
    """Write a deviation that leaves the lanes' totals as they are into `x`: random, as large as amounts and atol."""
    for i in range(x.shape[0]):
        store(x, i, probe[i] * load(w.right, i))
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            continue
        for t in range(totals.first[run], totals.last[run]):
            defect = 0.0
            for q in range(totals.pointer[t], totals.pointer[t + 1]):
                i = totals.species[q]
                defect += totals.weight[q] * x[i, lane]
            x[totals.free[t], lane] -= defect


@kernel
def norm_of(w, x, row):
    """Write the largest number of `x`, in units of amounts and atol, into a row of `w.lane`; NaN if one is NaN."""
    size, finite = splat(0.0), splat(0.0)
    for i in range(x.shape[0]):
        size = larger(absolute(load(x, i)) / load(w.right, i), size)
        finite = fma(0.0, load(x, i), finite)
    store(w.lane, row, size + finite)


@kernel
def culprit_of(w, x, lane):
    """Return the species with the largest number of `x`, in units of amounts and atol."""
    culprit, largest = 0, -1.0
    for i in range(x.shape[0]):
        size = abs(x[i, lane]) / w.right[i, lane]
        if size > largest:
            culprit, largest = i, size
    return culprit


@kernel
def examine(tables, output, settings, runs, near, own, probe, growth, left, rates_address, partials_address, w):
    """Try whether the steady states of the queue's runs attract what is near them; every run ends as OK.

    `growth[run]` becomes the largest factor per step by which a small deviation with unchanged totals `near` grows in
    the linearised model, stepped by the trapezoidal rule, `v <- 2c (c I - J)^-1 v - v`: it multiplies a mode with
    eigenvalue m by |(c + m) / (c - m)|, which exceeds 1 if and only if the real part of m does exceed 0, and most where
    |m| is c. Therefore 1/c goes from the shortest time scale of J to `settings.span`.

    `left[run]` becomes the part of a deviation with unchanged totals `own` that does not return within that span.
    """
    n = tables.n_species
    v, x, away = w.u[:n], w.u[n : 2 * n], w.u[2 * n : 3 * n]
    set_clock(w, 0.0)
    busy, _ = refill(tables, output, settings, runs, w)
    while busy > 0:
        for lane in range(WIDTH):
            if w.run[lane] >= 0:
                w.lane[T, lane] = runs.reached[w.run[lane]]
                growth[w.run[lane]] = 0.0
        jacobian_at(tables, rates_address, partials_address, w)
        for i in range(n):
            store(w.right, i, absolute(load(w.y, i)) + splat(settings.atol[i]))
        draw_deviation(near, w, probe, v)
        for rung in range(RUNGS):
            for lane in range(WIDTH):
                least = least_shift(settings, w, lane)
                largest = max(w.lane[SIZE, lane], least)
                w.lane[SHIFT, lane] = largest * (least / largest) ** (rung / (RUNGS - 1.0))
            factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
            shift = load(w.lane, SHIFT)
            for repeat in range(REPEATS):
                if repeat % (REPEATS // 2) == 0:
                    norm_of(w, v, D0)
                    scale = 1.0 / larger(load(w.lane, D0), splat(1e-300))
                    for i in range(n):
                        store(v, i, scale * load(v, i))
                for i in range(n):
                    store(x, i, 2.0 * shift * load(v, i))
                solve(tables, w.lu, x)
                for i in range(n):
                    store(v, i, load(x, i) - load(v, i))
            norm_of(w, v, D1)
            for lane in range(WIDTH):
                run = w.run[lane]
                if run >= 0:
                    runs.counts[run, FACTORISATIONS] += 1
                    grown = w.lane[D1, lane] ** (2.0 / REPEATS)
                    if not grown <= growth[run]:
                        growth[run] = grown
                        runs.counts[run, CULPRIT] = culprit_of(w, v, lane)
        draw_deviation(own, w, probe, away)
        norm_of(w, away, D0)
        for _ in range(RETURNS):
            for i in range(n):
                store(away, i, shift * load(away, i))
            solve(tables, w.lu, away)
        norm_of(w, away, D1)
        for lane in range(WIDTH):
            run = w.run[lane]
            if run >= 0:
                left[run] = w.lane[D1, lane] / max(w.lane[D0, lane], 1e-300)
                if left[run] > STAYS:
                    runs.counts[run, CULPRIT] = culprit_of(w, away, lane)
                end_run(tables, runs, w, lane, OK)
        busy, _ = refill(tables, output, settings, runs, w)
