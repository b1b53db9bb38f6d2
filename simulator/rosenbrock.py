"""The integrator: a stiffly accurate Rosenbrock method over one time interval, eight runs in lockstep. Machine code.

A queue of runs in; their amounts at the end, requested outputs at the requested times and a status each out. Every lane
has its own time, step and controller and takes the next run from the queue as soon as its own has ended, so that
lanes do not wait for each other, do not touch each other, and give the same numbers whatever runs beside them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .kernel_cache import inlined, kernel
from .kernels import Tables, evaluate_partials, linear_system, rhs, turnover, update_rates
from .lu import factor, put, residual, solve
from .simd import WIDTH, absolute, aligned, at, fma, larger, load, smaller, splat, store, take_next, where_less
from .status import Status
from .tableaux import RosenbrockTableau

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

OK, STEP_LIMIT, TOO_STIFF, NOT_FINITE, NEGATIVE, SINGULAR = (int(Status(code)) for code in range(6))
NO_STEADY_STATE, RUNNING, PENDING = int(Status.NO_STEADY_STATE), int(Status.RUNNING), int(Status.PENDING)

ATTEMPTS, STEPS, REJECTIONS, FACTORISATIONS, RHS_CALLS, CULPRIT = range(6)
"""Columns of `Runs.counts`; `CULPRIT` is the species (elimination order) that a failure is blamed on."""

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 16.0 * EPS
"""Rounding error granted to a slope, relative to the sum of the absolute rates in it."""
REFINE_ABOVE = 1e-10
"""Residual of the first solve, as `lu.residual` measures it, above which it is refined; still above after that, the
step is halved."""
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
    """Counted from the start of the interval."""
    pointer: Index
    species: Index
    weight: Float


class Runs(NamedTuple):
    """The runs of one call: what each starts from, and where it leaves its results. All rows are per run."""

    k: Float
    """Rate constants (n_runs, n_rates)."""
    values: Float
    """Parameter values that rate functions use (n_runs, n_used)."""
    y: Float
    """Amounts (n_runs, n_species), elimination order: at the start, then where the run got to."""
    switches: Float
    """Model times at which rate functions of the run switch (n_runs, n_switches), ascending; inf where there is none.
    Steps end there."""
    next_output: Index
    kept: Float
    """(n_runs, n_times, n_outputs)."""
    status: Index
    reached: Float
    counts: Index
    """(n_runs, 6): see ATTEMPTS and following."""
    stop: Index
    """A status code here ends the run with it; 0 lets it go on."""
    started: Float
    """When the run would have begun, by `clock`, had it not been interrupted between intervals; inf if not running."""
    elapsed: Float
    """Wall time that earlier intervals of the run took."""
    clock: Float
    """One number, the present wall time, kept up to date from outside."""
    queue: Index
    """One number: the next run to begin."""


def new_runs(k: Float, values: Float, y: Float) -> Runs:
    """Return runs that are to begin, with arrays of their own for what is written and nothing to be kept."""
    n = len(y)
    whole: dict[str, Index] = {name: np.zeros(n, np.int64) for name in ("next_output", "stop")}
    return Runs(
        k=k, values=values, y=y, switches=np.zeros((n, 0)), kept=np.zeros((n, 0, 0)),
        status=np.full(n, RUNNING, np.int64), reached=np.zeros(n), counts=np.zeros((n, 6), np.int64),
        started=np.full(n, np.inf), elapsed=np.zeros(n), clock=np.zeros(1), queue=np.zeros(1, np.int64), **whole,
    )  # fmt: skip


class Settings(NamedTuple):
    """Options of the integrator for one call."""

    start: float
    """Model time at which the interval begins. The lanes count from there, so that a late start costs no precision."""
    span: float
    """Length of the interval."""
    rtol: float
    atol: Float
    """(n_species,), elimination order."""
    nonnegative: bool
    max_attempts: int
    steady_tolerance: float
    """Above 0: a run ends as soon as no amount would change by more than this tolerance (relative, plus atol) until
    the end of the interval at its present slope, and fails if that never comes."""
    first_step: float
    """Size of the first step of every run; 0 chooses one from the slope and its change."""


class Workspace(NamedTuple):
    """Scratch of one thread; nothing is allocated while integrating. Lane arrays have shape (n, WIDTH)."""

    k: Float
    values: Float
    x: Float
    function_values: Float
    partials: Float
    terms: Float
    entries: Float
    system: Float
    lu: Float
    y: Float
    y_new: Float
    slope: Float
    dfdt: Float
    scratch: Float
    right: Float
    u: Float
    interpolants: Float
    outputs: Float
    lane: Float
    """Rows: see T and following."""
    run: Index
    """Which run each lane works on; -1 if none."""
    state: Index
    """(WIDTH, 2): why the latest attempt was rejected, whether it was."""
    floor: Float
    """One number: rate functions see no observable below it."""
    clock: Float
    """Rows START, EARLIEST and LATEST, as `kernels.update_rates` takes them."""


T, H, SHIFT, STAGE_T, ERR, LOW, SIZE, PER_H, TRIAL_H, D0, D1, D2, END = range(13)
"""Rows of `Workspace.lane`; END is the next time at which a step has to end."""
START, EARLIEST, LATEST = range(3)
"""Rows of `Workspace.clock`."""
REASON, REJECTED = range(2)


def method_of(tableau: RosenbrockTableau) -> Method:
    """Return the tableau as the kernel takes it."""
    t = tableau
    return Method(t.gamma, t.a, t.c, t.dense, t.alpha, t.gamma_sums, t.error_order)


def workspace_for(
    tables: Tables, n_rates: int, n_values: int, n_partials: int, n_stages: int, n_outputs: int
) -> Workspace:
    """Return scratch arrays that fit the network and the method."""
    n = tables.n_species
    n_unknowns = len(tables.unknown_species)
    n_terms = len(tables.term_rate) + len(tables.chain_partial)

    def lanes(rows: int) -> Float:
        return aligned(max(rows, 1), WIDTH)

    work = Workspace(
        k=lanes(n_rates + 1), values=lanes(n_values), x=lanes(len(tables.observable_pointer)),
        function_values=lanes(tables.n_functions), partials=lanes(n_partials), terms=lanes(n_terms),
        entries=lanes(len(tables.jacobian_column)), system=lanes(len(tables.system_column)),
        lu=lanes(len(tables.lu_column) + n_unknowns), y=lanes(n + 1), y_new=lanes(n + 1),
        slope=lanes(n), dfdt=lanes(n), scratch=lanes(n_unknowns), right=lanes(n), u=lanes(n_stages * n),
        interpolants=lanes(3 * n), outputs=lanes(5 * n_outputs), lane=lanes(13),
        run=np.full(WIDTH, -1, np.int64), state=np.zeros((WIDTH, 2), np.int64),
        floor=np.full(1, -np.inf), clock=lanes(3),
    )  # fmt: skip
    work.y[n] = work.y_new[n] = 1.0
    work.k[n_rates] = 1.0
    work.clock[EARLIEST], work.clock[LATEST] = -np.inf, np.inf
    work.system[tables.weight_entry] = tables.observable_weight[:, None]
    return work


@kernel
def slope_at(tables, rates_address, w, t_row, y, dy):
    """Write f(t, y) of all lanes into `dy`; `t_row` is a row of `w.lane`."""
    t = w.lane[t_row : t_row + 1]
    update_rates(tables, w.values, t, w.clock, y, w.floor[0], rates_address, w.x, w.function_values, w.k)
    rhs(tables, w.k, y, dy)


@kernel
def keep_start(output, runs, w, run, lane):
    """Write the outputs of one run that are due at the very start of the interval."""
    io = runs.next_output[run]
    while io < output.times.size and output.times[io] <= 0.0:
        for o in range(output.pointer.size - 1):
            total = 0.0
            for q in range(output.pointer[o], output.pointer[o + 1]):
                total += output.weight[q] * w.y[output.species[q], lane]
            runs.kept[run, io, o] = total
        io += 1
    runs.next_output[run] = io


@kernel
def project(output, w, n):
    """Write what the outputs need of the latest step into `w.outputs`, five rows each.

    They are sums over the species of an output: of y, of y_new and of the three rows of `w.interpolants`.
    """
    for o in range(output.pointer.size - 1):
        y, y_new, k1, k2, k3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for q in range(output.pointer[o], output.pointer[o + 1]):
            i, weight = at(output.species, q), splat(at(output.weight, q))
            y, y_new = fma(weight, load(w.y, i), y), fma(weight, load(w.y_new, i), y_new)
            k1 = fma(weight, load(w.interpolants, i), k1)
            k2 = fma(weight, load(w.interpolants, n + i), k2)
            k3 = fma(weight, load(w.interpolants, 2 * n + i), k3)
        store(w.outputs, 5 * o, y)
        put(w.outputs, 5 * o + 1, (y_new, k1, k2, k3))


@kernel
def keep_outputs(output, runs, w, run, lane, t, h, reach):
    """Write the outputs of one run that lie in its step of size h from t, by the method's interpolation.

    `reach` is the end of the step as the caller knows it: t + h may round to just below the end of the interval.
    `project` comes before.
    """
    io = runs.next_output[run]
    while io < output.times.size and output.times[io] <= reach:
        theta = min((output.times[io] - t) / h, 1.0)
        if output.times[io] == reach:
            theta = 1.0
        rest = 1.0 - theta
        for o in range(output.pointer.size - 1):
            inner = w.outputs[5 * o + 3, lane] + theta * w.outputs[5 * o + 4, lane]
            inner = w.outputs[5 * o + 2, lane] + theta * inner
            runs.kept[run, io, o] = rest * w.outputs[5 * o, lane] + theta * (w.outputs[5 * o + 1, lane] + rest * inner)
        io += 1
    runs.next_output[run] = io


@kernel
def set_clock(w, start):
    """Let all lanes count from model time `start`, with no switch ahead."""
    for lane in range(WIDTH):
        w.clock[START, lane], w.clock[EARLIEST, lane], w.clock[LATEST, lane] = start, -np.inf, np.inf


@kernel
def next_end(settings, runs, w, run, lane):
    """Find the place up to which a lane may step from where it is: the next switch of its run, or the interval's end.

    Rate functions see only times on its own side of a switch.
    """
    start = w.clock[START, lane]
    w.lane[END, lane] = settings.span
    w.clock[EARLIEST, lane], w.clock[LATEST, lane] = -np.inf, np.inf
    for q in range(runs.switches.shape[1]):
        switch = runs.switches[run, q]
        least = EPS * abs(switch) + 1e-300  # the next number but for rounding
        if switch - start <= w.lane[T, lane]:
            w.clock[EARLIEST, lane] = switch + least
        else:
            if switch - start <= settings.span:
                w.lane[END, lane], w.clock[LATEST, lane] = switch - start, switch - least
            return


@kernel
def load_run(tables, settings, runs, w, run, lane):
    """Put a run into a lane: its rate constants, parameter values, amounts and time."""
    for j in range(runs.k.shape[1]):
        w.k[j, lane] = runs.k[run, j]
    for j in range(runs.values.shape[1]):
        w.values[j, lane] = runs.values[run, j]
    for i in range(tables.n_species):
        w.y[i, lane] = runs.y[run, i]
    w.lane[T, lane] = 0.0
    w.lane[H, lane] = settings.first_step
    next_end(settings, runs, w, run, lane)
    w.state[lane, REASON] = TOO_STIFF
    w.state[lane, REJECTED] = 0


@kernel
def end_run(tables, runs, w, lane, status):
    """Take a run out of its lane: store where it got to and how it ended."""
    run = w.run[lane]
    for i in range(tables.n_species):
        runs.y[run, i] = w.y[i, lane]
    runs.reached[run] = w.clock[START, lane] + w.lane[T, lane]
    runs.status[run] = status
    runs.elapsed[run] = runs.clock[0] - runs.started[run]
    runs.started[run] = np.inf
    w.run[lane] = -1


@kernel
def refill(tables, output, settings, runs, w):
    """Give every free lane the next run of the queue; return the number of busy lanes and whether any is new.

    A lane that stays free gets finite numbers to work on, so that it neither fails nor slows the others.
    """
    busy, new = 0, False
    n_runs = runs.status.size
    for lane in range(WIDTH):
        while w.run[lane] < 0:
            run = take_next(runs.queue)
            if run >= n_runs:
                break
            if runs.status[run] != RUNNING:  # failed in an earlier interval, or never to be begun
                continue
            if runs.stop[run] != 0:
                untouched = runs.counts[run, ATTEMPTS] == 0 and runs.reached[run] != runs.reached[run]
                runs.status[run] = PENDING if untouched else runs.stop[run]
                continue
            runs.started[run] = runs.clock[0] - runs.elapsed[run]
            load_run(tables, settings, runs, w, run, lane)
            w.run[lane] = run
            keep_start(output, runs, w, run, lane)
            if settings.span <= 0.0:
                end_run(tables, runs, w, lane, OK)
                continue
            new = True
        if w.run[lane] >= 0:
            busy += 1
        else:
            for j in range(w.k.shape[0] - 1):  # the last row holds ones
                w.k[j, lane] = 0.0
            for j in range(w.values.shape[0]):
                w.values[j, lane] = 1.0
            for i in range(tables.n_species):
                w.y[i, lane] = 0.0
            w.lane[T, lane] = 0.0
            w.lane[H, lane] = 1.0
            w.clock[EARLIEST, lane], w.clock[LATEST, lane] = -np.inf, np.inf
    return busy, new


@kernel
def first_step_sizes(tables, settings, rates_address, w, order):
    """Choose the first step of new lanes after Hairer, Norsett & Wanner, Solving ODEs I, II.4, in the maximum norm.

    `w.slope` holds f(t, y). The step changes amounts by about one per cent of their tolerance-weighted size.
    """
    n, span = tables.n_species, settings.span
    d0, d1 = splat(0.0), splat(0.0)
    for i in range(n):
        weight = fma(settings.rtol, absolute(load(w.y, i)), splat(settings.atol[i]))
        d0 = larger(absolute(load(w.y, i)) / weight, d0)
        d1 = larger(absolute(load(w.slope, i)) / weight, d1)
    store(w.lane, D0, d0)
    store(w.lane, D1, d1)
    for lane in range(WIDTH):
        small = w.lane[D0, lane] < 1e-5 or w.lane[D1, lane] < 1e-5
        h0 = 1e-6 * span if small else 0.01 * w.lane[D0, lane] / w.lane[D1, lane]
        w.lane[TRIAL_H, lane] = min(h0, span)
        w.lane[STAGE_T, lane] = w.lane[T, lane] + w.lane[TRIAL_H, lane]
    trial = load(w.lane, TRIAL_H)
    for i in range(n):
        store(w.y_new, i, fma(trial, load(w.slope, i), load(w.y, i)))
    slope_at(tables, rates_address, w, STAGE_T, w.y_new, w.scratch)
    d2 = splat(0.0)
    for i in range(n):
        weight = fma(settings.rtol, absolute(load(w.y, i)), splat(settings.atol[i]))
        d2 = larger(absolute(load(w.scratch, i) - load(w.slope, i)) / weight, d2)
    store(w.lane, D2, d2 / trial)
    for lane in range(WIDTH):
        if w.run[lane] < 0 or w.lane[H, lane] > 0.0:
            continue
        runs_h0 = w.lane[TRIAL_H, lane]
        largest = max(w.lane[D1, lane], w.lane[D2, lane])
        if not largest < np.inf:
            h = 1e-6 * runs_h0
        elif largest <= 1e-15:
            h = max(1e-6 * span, 1e-3 * runs_h0)
        else:
            h = (0.01 / largest) ** (1.0 / (order + 1))
        w.lane[H, lane] = max(min(min(100.0 * runs_h0, h), span), 1e-280)  # never 0, which means: not chosen yet


@kernel
def culprit_of_error(settings, w, lane, n, last):
    """Return the species with the largest weighted error of a lane; the first that is not finite, if one is."""
    worst, culprit = -1.0, 0
    for i in range(n):
        size = settings.rtol * max(abs(w.y[i, lane]), abs(w.y_new[i, lane])) + settings.atol[i]
        e = abs(w.u[last + i, lane]) / size
        if not e < np.inf:
            return i
        if e > worst:
            worst, culprit = e, i
    return culprit


@kernel
def lowest(w, lane, n):
    """Return the species with the lowest amount of a lane."""
    culprit = 0
    for i in range(n):
        if w.y_new[i, lane] < w.y_new[culprit, lane]:
            culprit = i
    return culprit


@kernel
def combine(method, w, s, n):
    """Write the argument of stage `s` into `w.y_new` and its weighted sum of earlier stages into `w.right`.

    Four species are done together: one species' sum alone would wait for each of its additions.
    """
    u, y_new, right = w.u, w.y_new, w.right
    whole, first = n - n % 4, s * method.gamma_sums.size
    for i in range(0, whole, 4):
        y0, y1, y2, y3 = load(w.y, i), load(w.y, i + 1), load(w.y, i + 2), load(w.y, i + 3)
        c0, c1, c2, c3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for j in range(s):
            a, c, place = splat(at(method.a, first + j)), splat(at(method.c, first + j)), j * n + i
            v0, v1, v2, v3 = load(u, place), load(u, place + 1), load(u, place + 2), load(u, place + 3)
            y0, y1, y2, y3 = fma(a, v0, y0), fma(a, v1, y1), fma(a, v2, y2), fma(a, v3, y3)
            c0, c1, c2, c3 = fma(c, v0, c0), fma(c, v1, c1), fma(c, v2, c2), fma(c, v3, c3)
        put(y_new, i, (y0, y1, y2, y3))
        put(right, i, (c0, c1, c2, c3))
    for i in range(whole, n):
        y, total = load(w.y, i), splat(0.0)
        for j in range(s):
            v = load(u, j * n + i)
            y, total = fma(at(method.a, first + j), v, y), fma(at(method.c, first + j), v, total)
        store(y_new, i, y)
        store(right, i, total)


@kernel
def stages(tables, method, rates_address, w):
    """Compute the stages `w.u` (n_stages * n_species, WIDTH) and, in `w.y_new`, the argument of the last one.

    Returns nothing; row SIZE of `w.lane` holds the relative residual of the first solve, refined once.
    """
    n = tables.n_species
    n_stages = method.gamma_sums.size
    h, per_h = load(w.lane, H), load(w.lane, PER_H)
    for s in range(n_stages):
        u = w.u[s * n : (s + 1) * n]
        if s == 0:
            weight = method.gamma_sums[0] * h
            for i in range(n):
                right = fma(weight, load(w.dfdt, i), load(w.slope, i))
                store(u, i, right)
                store(w.right, i, right)
        else:
            combine(method, w, s, n)
            store(w.lane, STAGE_T, fma(method.alpha[s], h, load(w.lane, T)))
            slope_at(tables, rates_address, w, STAGE_T, w.y_new, u)
            weight = method.gamma_sums[s] * h
            for i in range(n):
                right = fma(per_h, load(w.right, i), load(u, i))
                store(u, i, fma(weight, load(w.dfdt, i), right))
        solve(tables, w.lu, u)
        if s == 0:  # one residual per factorisation
            shift, size = w.lane[SHIFT : SHIFT + 1], w.lane[SIZE : SIZE + 1]
            residual(tables, w.system, shift, w.lu, u, w.right, w.scratch, size)
            refine = False
            for lane in range(WIDTH):
                if w.run[lane] >= 0 and not w.lane[SIZE, lane] <= REFINE_ABOVE:
                    refine = True
            if refine:
                solve(tables, w.lu, w.scratch)
                for lane in range(WIDTH):  # lanes that need none are left as they are: they do not see their neighbours
                    if not w.lane[SIZE, lane] <= REFINE_ABOVE:
                        for i in range(n):
                            u[i, lane] += w.scratch[i, lane]
                residual(
                    tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, u, w.right, w.scratch, w.lane[SIZE : SIZE + 1]
                )


@kernel
def interpolate(method, u, interpolants, n):
    """Write the interpolation's three rows (of n vectors each) from the stages `u` into `interpolants`."""
    n_stages = method.gamma_sums.size
    for i in range(n):
        k1, k2, k3 = splat(0.0), splat(0.0), splat(0.0)
        for s in range(n_stages):
            v = load(u, s * n + i)
            k1 = fma(at(method.dense, s), v, k1)
            k2 = fma(at(method.dense, n_stages + s), v, k2)
            k3 = fma(at(method.dense, 2 * n_stages + s), v, k3)
        store(interpolants, i, k1)
        store(interpolants, n + i, k2)
        store(interpolants, 2 * n + i, k3)


@kernel
def finish_lanes(tables, settings, runs, w):
    """End the runs that are done, stopped or beyond their limits; `w.slope` holds f at the lanes' points.

    Returns the number of lanes that were freed.
    """
    freed = 0
    if settings.steady_tolerance > 0.0:
        turnover(tables, w.k, w.y, w.scratch)
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            continue
        t, h = w.lane[T, lane], w.lane[H, lane]
        status = RUNNING
        at_end = t >= settings.span
        if settings.steady_tolerance > 0.0 and w.state[lane, REJECTED] == 0:
            drift = 0.0
            for i in range(tables.n_species):
                size = settings.steady_tolerance * abs(w.y[i, lane]) + settings.atol[i]
                # a slope within the rounding error of its own sum counts as none
                slope = max(abs(w.slope[i, lane]) - ROUNDING * w.scratch[i, lane], 0.0)
                d = slope * settings.span / size
                if not d <= drift or not abs(w.slope[i, lane]) < np.inf:
                    drift = d
                    runs.counts[run, CULPRIT] = i
            if drift <= 1.0:
                status = OK
            elif at_end:
                status = NO_STEADY_STATE
        elif at_end:
            status = OK
        if status == RUNNING:
            if runs.stop[run] != 0:
                status = runs.stop[run]
            elif runs.counts[run, ATTEMPTS] >= settings.max_attempts:
                status = STEP_LIMIT
            elif h > 0.0 and (h < 10.0 * EPS * abs(t) or h < 1e-290):
                status = w.state[lane, REASON]
            elif w.state[lane, REJECTED] == 0:
                for i in range(tables.n_species):
                    if not abs(w.slope[i, lane]) < np.inf:
                        runs.counts[run, CULPRIT] = i
                        status = NOT_FINITE
                        break
        if status != RUNNING:
            end_run(tables, runs, w, lane, status)
            freed += 1
    return freed


@kernel
def growth_of(method, e):
    """Return the factor between a step and the next one, for a step whose weighted error is `e`."""
    return min(LARGEST_GROWTH, max(LARGEST_SHRINK, SAFETY * (e + 1e-14) ** (-1.0 / (method.error_order + 1))))


@kernel
def judge(tables, method, settings, runs, w):
    """Measure the error of the attempted step in every lane, in the maximum norm; accept it or choose a smaller one.

    The error is `max_i |err_i| / (rtol max(|y_i|, |y_new_i|) + atol_i)`; a step is also refused if it gives numbers
    that are not finite or amounts below -atol. Row TRIAL_H of `w.lane` gets the next step, positive where the attempt
    is accepted and negative where it is not.
    """
    n = tables.n_species
    last = (method.gamma_sums.size - 1) * n
    err, low, finite = splat(0.0), splat(0.0), splat(0.0)
    for i in range(n):
        u, y, atol = load(w.u, last + i), load(w.y, i), splat(settings.atol[i])
        y_new = load(w.y_new, i) + u
        store(w.y_new, i, y_new)
        e = absolute(u) / fma(settings.rtol, larger(absolute(y), absolute(y_new)), atol)
        err = larger(e, err)
        finite = fma(0.0, e, finite)
        low = smaller(where_less(y_new, y, y_new + atol, splat(0.0)), low)
    store(w.lane, ERR, err + finite)
    store(w.lane, LOW, low)
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            w.lane[TRIAL_H, lane] = 1.0
            continue
        runs.counts[run, ATTEMPTS] += 1
        runs.counts[run, FACTORISATIONS] += 1
        h, e = w.lane[H, lane], w.lane[ERR, lane]
        growth = growth_of(method, e)
        reason = OK
        if not w.lane[SIZE, lane] <= REFINE_ABOVE and e == e:
            reason, growth = SINGULAR, 0.5
        elif not e < np.inf:
            reason, growth = NOT_FINITE, 0.25
            runs.counts[run, CULPRIT] = culprit_of_error(settings, w, lane, n, last)
        elif e > 1.0:
            reason, growth = TOO_STIFF, min(growth, 0.9)
            runs.counts[run, CULPRIT] = culprit_of_error(settings, w, lane, n, last)
        elif settings.nonnegative and w.lane[LOW, lane] < 0.0:
            reason, growth = NEGATIVE, 0.5
            runs.counts[run, CULPRIT] = lowest(w, lane, n)
        if reason == OK:
            runs.counts[run, STEPS] += 1
            if w.state[lane, REJECTED] != 0:
                growth = min(growth, 1.0)
            w.state[lane, REJECTED] = 0
            w.state[lane, REASON] = TOO_STIFF
            w.lane[TRIAL_H, lane] = h * growth
        else:
            runs.counts[run, REJECTIONS] += 1
            w.state[lane, REJECTED] = 1
            w.state[lane, REASON] = reason
            w.lane[TRIAL_H, lane] = -h * growth


@kernel
def reach_of(w, lane):
    """Return the end of a lane's step, which is the place where one has to end for a step that comes close to it."""
    t, h = w.lane[T, lane], w.lane[H, lane]
    return w.lane[END, lane] if t + 1.0001 * h >= w.lane[END, lane] else t + h


@inlined
def attempt(tables, method, output, settings, runs, rates_address, partials_address, w, new):
    """Make room for new runs where some have come to an end, and try one step of every lane.

    `new` tells whether a run has entered since the last attempt. Returns False if no run is left.
    """
    # ---- slopes at the lanes' points; what has come to an end makes room
    slope_at(tables, rates_address, w, T, w.y, w.slope)
    while finish_lanes(tables, settings, runs, w) > 0:
        busy, again = refill(tables, output, settings, runs, w)
        if busy == 0:
            return False
        new = new or again
        slope_at(tables, rates_address, w, T, w.y, w.slope)
    if new:
        first_step_sizes(tables, settings, rates_address, w, method.error_order)
        slope_at(tables, rates_address, w, T, w.y, w.slope)  # rate functions back at (t, y)
        for lane in range(WIDTH):
            if w.run[lane] >= 0 and runs.counts[w.run[lane], RHS_CALLS] == 0:
                runs.counts[w.run[lane], RHS_CALLS] += 1

    # ---- one attempted step of every lane
    for lane in range(WIDTH):
        h = w.lane[H, lane]
        if w.run[lane] >= 0:
            if w.lane[T, lane] + 1.0001 * h >= w.lane[END, lane]:
                h = w.lane[END, lane] - w.lane[T, lane]
            runs.counts[w.run[lane], RHS_CALLS] += method.gamma_sums.size
        w.lane[H, lane] = h
        w.lane[SHIFT, lane] = 1.0 / (method.gamma * h)
        w.lane[PER_H, lane] = 1.0 / h
    if tables.n_functions > 0:
        evaluate_partials(partials_address, w.x, w.values, w.partials)
    linear_system(tables, w.k, w.y, w.partials, w.terms, w.system, w.dfdt)
    factor(tables, w.system, w.lane[SHIFT : SHIFT + 1], w.lu, w.scratch)
    stages(tables, method, rates_address, w)
    judge(tables, method, settings, runs, w)
    return True


@inlined
def proceed(method, output, settings, runs, w):
    """Take the accepted steps: outputs inside them, then on to their ends; give every lane its next step size.

    Returns whether a lane has come to a switch, from where it starts anew.
    """
    n = w.slope.shape[0]
    wanted, all_accepted, new = False, True, False
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            continue
        if w.lane[TRIAL_H, lane] < 0.0:
            all_accepted = False
        elif runs.next_output[run] < output.times.size:
            wanted = wanted or output.times[runs.next_output[run]] <= reach_of(w, lane)
    if wanted:
        interpolate(method, w.u, w.interpolants, n)
        project(output, w, n)
    for lane in range(WIDTH):
        run = w.run[lane]
        if run < 0:
            continue
        if w.lane[TRIAL_H, lane] > 0.0:
            reach = reach_of(w, lane)
            if wanted:
                keep_outputs(output, runs, w, run, lane, w.lane[T, lane], w.lane[H, lane], reach)
            w.lane[T, lane] = reach
            if not all_accepted:
                for i in range(n):
                    w.y[i, lane] = w.y_new[i, lane]
        w.lane[H, lane] = abs(w.lane[TRIAL_H, lane])
        if w.lane[TRIAL_H, lane] > 0.0 and w.lane[END, lane] == w.lane[T, lane] < settings.span:
            next_end(settings, runs, w, run, lane)
            w.lane[H, lane] = settings.first_step
            new = True
    if all_accepted:
        for i in range(n):
            store(w.y, i, load(w.y_new, i))
    return new


@kernel
def integrate(tables, method, output, settings, runs, rates_address, partials_address, w):
    """Work off the queue of `runs` over the interval of `settings`, eight at a time, until none is left.

    On entry `runs.status` is RUNNING where there is something to do; on return it says how each run of this thread
    ended. Several threads may call this with the same `runs` and `settings`, each with its own `w`.
    """
    set_clock(w, settings.start)
    busy, new = refill(tables, output, settings, runs, w)
    while busy > 0 and attempt(tables, method, output, settings, runs, rates_address, partials_address, w, new):
        new = proceed(method, output, settings, runs, w)
