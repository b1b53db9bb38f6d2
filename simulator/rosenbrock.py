"""The integrator: a stiffly accurate Rosenbrock method over one time interval. Machine code.

Amounts at the start in; amounts at the end, requested outputs at the requested times and a status out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import kernel
from .kernels import Tables, evaluate_partials, jacobian, rhs, update_rates
from .lu import factor, residual, solve
from .status import Status
from .tableaux import RosenbrockTableau

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

OK, STEP_LIMIT, TOO_STIFF, NOT_FINITE, NEGATIVE, SINGULAR = (int(Status(code)) for code in range(6))
NO_STEADY_STATE = int(Status.NO_STEADY_STATE)

ATTEMPTS, STEPS, REJECTIONS, FACTORISATIONS, RHS_CALLS, CULPRIT = range(6)
"""Places in the `counts` array; `CULPRIT` is the species (elimination order) that a failure is blamed on."""
TIME_NOW, STEP_NOW, PREVIOUS_REJECTED = range(3)
"""Places in the `clock` array, which carries the state of the step-size controller."""

EPS = float(np.finfo(np.float64).eps)
REFINE_ABOVE = 1e-10
"""Relative residual of the first solve above which it is refined; still above after that, the step is halved."""
SAFETY, LARGEST_GROWTH, LARGEST_SHRINK = 0.9, 6.0, 0.2
"""Step-size controller: h_new = h min(6, max(0.2, 0.9 err^(-1/5))) (Hairer & Wanner II, IV.7); free choices."""


class Method(NamedTuple):
    """A tableau as plain arrays, for the kernel."""

    gamma: float
    a: Float
    c: Float
    dense: Float
    alpha: Float
    gamma_sums: Float
    error_order: int


class Output(NamedTuple):
    """Which numbers to keep: row `o` of a sparse matrix (rows over species, elimination order), at `times`."""

    times: Float
    pointer: Index
    species: Index
    weight: Float


class Workspace(NamedTuple):
    """Scratch arrays of one thread; nothing is allocated while integrating."""

    k: Float
    x: Float
    rate_values: Float
    partials: Float
    entries: Float
    lu: Float
    y_new: Float
    slope: Float
    dfdt: Float
    scratch: Float
    u: Float
    interpolants: Float


def method_of(tableau: RosenbrockTableau) -> Method:
    """Return the tableau as the kernel takes it."""
    t = tableau
    return Method(t.gamma, t.a, t.c, t.dense, t.alpha, t.gamma_sums, t.error_order)


def workspace_for(tables: Tables, n_partials: int, n_stages: int) -> Workspace:
    """Return scratch arrays that fit the network and the method."""
    n, n_reactions = tables.n_species, len(tables.reactant_pointer) - 1
    zeros = np.zeros
    return Workspace(
        k=zeros(n_reactions), x=zeros(len(tables.observable_pointer)), rate_values=zeros(max(tables.n_rates, 1)),
        partials=zeros(max(n_partials, 1)), entries=zeros(len(tables.jacobian_column)),
        lu=zeros(len(tables.lu_column)), y_new=zeros(n), slope=zeros(n), dfdt=zeros(n), scratch=zeros(n),
        u=zeros((n_stages, n)), interpolants=zeros((3, n)),
    )  # fmt: skip


@kernel
def slope_at(tables, values, rates_address, w, t, y, dy):
    """Write f(t, y) into `dy`."""
    update_rates(tables, values, t, y, rates_address, w.x, w.rate_values, w.k)
    rhs(tables, w.k, y, dy)


@kernel
def first_step_size(tables, values, rates_address, w, t, y, span, rtol, atol, order):
    """Return a starting step after Hairer, Norsett & Wanner, Solving ODEs I, II.4, in the maximum norm.

    `w.slope` holds f(t, y). The result changes amounts by about one per cent of their tolerance-weighted size.
    """
    d0, d1 = 0.0, 0.0
    for i in range(y.size):
        weight = atol[i] + rtol * abs(y[i])
        d0 = max(d0, abs(y[i]) / weight)
        d1 = max(d1, abs(w.slope[i]) / weight)
    h0 = 1e-6 * span if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    h0 = min(h0, span)
    for i in range(y.size):
        w.y_new[i] = y[i] + h0 * w.slope[i]
    slope_at(tables, values, rates_address, w, t + h0, w.y_new, w.scratch)
    d2 = 0.0
    for i in range(y.size):
        d2 = max(d2, abs(w.scratch[i] - w.slope[i]) / ((atol[i] + rtol * abs(y[i])) * h0))
    largest = max(d1, d2)
    if not largest < np.inf:
        return 1e-6 * h0
    h1 = max(1e-6 * span, 1e-3 * h0) if largest <= 1e-15 else (0.01 / largest) ** (1.0 / (order + 1))
    return min(100.0 * h0, h1, span)


@kernel
def write_output(output, y, row):
    """Write the requested linear combinations of `y` into `row` (n_outputs,)."""
    for o in range(output.pointer.size - 1):
        total = 0.0
        for q in range(output.pointer[o], output.pointer[o + 1]):
            total += output.weight[q] * y[output.species[q]]
        row[o] = total


@kernel
def is_rejected(verdict, err):
    """Tell whether the attempted step is refused: not finite, too large an error, or negative beyond tolerance."""
    return verdict != OK or err > 1.0


@kernel
def integrate(
    tables, method, output, values, rates_address, partials_address, t_end, rtol, atol, nonnegative, max_attempts,
    steady_tolerance, stop, w, y, clock, next_output, kept, counts,
):  # fmt: skip
    """Integrate from `clock[TIME_NOW]` to `t_end`; return a status code.

    On entry `y` (n_species,) holds the amounts at the start and `w.k` the constant rate constants; on return `y`
    holds the amounts at `clock[TIME_NOW]`. Rows of `kept` (n_times, n_outputs) from `next_output[0]` on are written
    for the times reached. With `steady_tolerance` > 0 the run ends as soon as no amount would change by more than
    that tolerance (relative, plus atol) until `t_end` at its present slope, and fails if that never comes.
    The local error is measured by the maximum norm of `err_i / (rtol max(|y_i|, |y_new_i|) + atol_i)`.
    """
    n = y.size
    n_stages = method.gamma_sums.size
    n_times = output.times.size
    t = clock[TIME_NOW]
    start = t
    io = next_output[0]
    while io < n_times and output.times[io] <= t:
        write_output(output, y, kept[io])
        io += 1
    next_output[0] = io
    if t >= t_end:
        return OK

    slope_at(tables, values, rates_address, w, t, y, w.slope)
    counts[RHS_CALLS] += 1
    for i in range(n):
        if not abs(w.slope[i]) < np.inf:
            counts[CULPRIT] = i
            return NOT_FINITE
    h = clock[STEP_NOW]
    if not h > 0.0:
        h = first_step_size(tables, values, rates_address, w, t, y, t_end - t, rtol, atol, method.error_order)
        counts[RHS_CALLS] += 1
    new_point = True
    reason = TOO_STIFF  # why the latest attempt was rejected

    while True:
        # ---- limits: attempts count, rejected ones too
        if stop[0] != 0:
            clock[TIME_NOW] = t
            return stop[0]
        if counts[ATTEMPTS] >= max_attempts:
            clock[TIME_NOW] = t
            return STEP_LIMIT
        if h < 10.0 * EPS * abs(t) or h < 1e-290:
            clock[TIME_NOW] = t
            return reason
        counts[ATTEMPTS] += 1
        last = t + 1.0001 * h >= t_end
        if last:
            h = t_end - t

        # ---- Jacobian at (t, y), once per point; factors of I/(gamma h) - J, once per attempt
        if new_point:
            slope_at(tables, values, rates_address, w, t, y, w.slope)
            counts[RHS_CALLS] += 1
            if tables.n_rates > 0:
                evaluate_partials(partials_address, w.x, values, w.partials)
            jacobian(tables, w.k, y, w.partials, w.entries, w.dfdt)
            new_point = False
        shift = 1.0 / (method.gamma * h)
        factor(tables, w.entries, shift, w.lu, w.scratch)
        counts[FACTORISATIONS] += 1

        # ---- stages
        singular = False
        for s in range(n_stages):
            u = w.u[s]
            if s == 0:
                for i in range(n):
                    w.y_new[i] = y[i]
                    u[i] = w.slope[i] + h * method.gamma_sums[0] * w.dfdt[i]
                    w.interpolants[0, i] = u[i]
            else:
                for i in range(n):
                    w.y_new[i] = y[i]
                    w.interpolants[0, i] = 0.0
                for j in range(s):
                    a, c = method.a[s, j], method.c[s, j] / h
                    for i in range(n):
                        w.y_new[i] += a * w.u[j, i]
                        w.interpolants[0, i] += c * w.u[j, i]
                slope_at(tables, values, rates_address, w, t + method.alpha[s] * h, w.y_new, u)
                counts[RHS_CALLS] += 1
                for i in range(n):
                    u[i] += w.interpolants[0, i] + h * method.gamma_sums[s] * w.dfdt[i]
            solve(tables, w.lu, u)
            if s == 0:  # one residual per factorisation; refine once, else call the matrix singular
                error = residual(tables, w.entries, shift, u, w.interpolants[0], w.scratch)
                if error > REFINE_ABOVE:
                    solve(tables, w.lu, w.scratch)
                    for i in range(n):
                        u[i] += w.scratch[i]
                    error = residual(tables, w.entries, shift, u, w.interpolants[0], w.scratch)
                if not error <= REFINE_ABOVE:
                    singular = True
                    break
        if singular:
            counts[REJECTIONS] += 1
            reason = SINGULAR
            h *= 0.5
            clock[PREVIOUS_REJECTED] = 1.0
            continue

        # ---- error, positivity, finiteness
        err, culprit = 0.0, -1
        u = w.u[n_stages - 1]
        verdict = OK
        for i in range(n):
            w.y_new[i] += u[i]
            e = abs(u[i]) / (rtol * max(abs(y[i]), abs(w.y_new[i])) + atol[i])
            if not e < np.inf:
                verdict, culprit = NOT_FINITE, i
                break
            if nonnegative and w.y_new[i] < -atol[i] and w.y_new[i] < y[i] and verdict == OK:
                verdict, counts[CULPRIT] = NEGATIVE, i
            if e > err:
                err, culprit = e, i
        if verdict == NOT_FINITE:
            reason = NOT_FINITE
            counts[CULPRIT] = culprit
            growth = 0.25
        else:
            growth = min(
                LARGEST_GROWTH, max(LARGEST_SHRINK, SAFETY * (err + 1e-14) ** (-1.0 / (method.error_order + 1)))
            )
            if err > 1.0:
                reason = TOO_STIFF
                counts[CULPRIT] = culprit
                growth = min(growth, 0.9)
            elif verdict == NEGATIVE:
                reason = NEGATIVE
                growth = 0.5
        if is_rejected(verdict, err):
            counts[REJECTIONS] += 1
            clock[PREVIOUS_REJECTED] = 1.0
            h *= growth
            continue

        # ---- accepted: outputs inside the step by the method's own interpolation
        t_new = t_end if last else t + h
        if io < n_times and output.times[io] <= t_new:
            for p in range(3):
                for i in range(n):
                    w.interpolants[p, i] = 0.0
                for s in range(n_stages):
                    d = method.dense[p, s]
                    for i in range(n):
                        w.interpolants[p, i] += d * w.u[s, i]
            while io < n_times and output.times[io] <= t_new:
                if output.times[io] == t_new:
                    write_output(output, w.y_new, kept[io])
                else:
                    theta = (output.times[io] - t) / h
                    for i in range(n):
                        inner = w.interpolants[1, i] + theta * w.interpolants[2, i]
                        inner = w.interpolants[0, i] + theta * inner
                        w.scratch[i] = (1.0 - theta) * y[i] + theta * (w.y_new[i] + (1.0 - theta) * inner)
                    write_output(output, w.scratch, kept[io])
                io += 1
            next_output[0] = io
        counts[STEPS] += 1
        for i in range(n):
            y[i] = w.y_new[i]
        t = t_new
        new_point = True
        if clock[PREVIOUS_REJECTED] != 0.0:
            growth = min(growth, 1.0)
            clock[PREVIOUS_REJECTED] = 0.0
        h *= growth
        reason = TOO_STIFF

        # ---- ends
        if steady_tolerance > 0.0:
            slope_at(tables, values, rates_address, w, t, y, w.slope)
            counts[RHS_CALLS] += 1
            drift = 0.0
            for i in range(n):
                d = abs(w.slope[i]) * (t_end - start) / (steady_tolerance * abs(y[i]) + atol[i])
                if not d <= drift:
                    drift = d
                    counts[CULPRIT] = i
            if drift <= 1.0:
                clock[TIME_NOW] = t
                return OK
            if last:
                clock[TIME_NOW] = t
                return NO_STEADY_STATE
        elif last:
            clock[TIME_NOW] = t
            clock[STEP_NOW] = h
            return OK
