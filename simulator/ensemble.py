"""Ensembles: a compiled model, conditions and times in, a Result with a status per run out.

Runs are independent: threads take them one after another, and a run's numbers do not depend on which others run
beside it, in which order, or in how many threads.
"""

from __future__ import annotations

import ast
import os
import sys
import time as wall
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name
from .expressions import TIME, array_function, names_in, used_by
from .progress import progress_bar
from .protocol import Conditions, Interval, check_protocol, checked_times, segment_parameters, timeline
from .result import Result
from .simd import WIDTH
from .slopes import Forward, OutputSlopes, Slopes
from .status import Status

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .rosenbrock import Output, Runs, Settings
    from .sensitivity import SlopeRuns

Float = npt.NDArray[np.float64]
BLOCK = 4096
"""Conditions whose rate constants are held in memory at once; results do not depend on it."""
BLOCK_BYTES, FEWEST = 2**28, 64
"""Memory that the sensitivities of these may take: fewer conditions are held at once then, but at least so many."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class SolverOptions:
    """Settings of the integrator.

    Attributes
    ----------
    rtol
        Relative tolerance of the local error, in the maximum norm over species.
    atol
        Absolute tolerance: one value, or one per species (n_species,); None takes
        `min(1e-7, rtol / 10)` of the model's largest nominal initial amount, clamped species left out.
    method
        `"auto"` or `"rodas5p"`.
    max_steps
        Limit on attempted steps of one run, rejected ones included.
    max_seconds
        Limit on wall time of one run; None for no limit.
    nonnegative
        Refuse steps that make an amount negative beyond atol.
    equilibration_time
        Longest model time granted to reach a steady state, and the time over which a state must stay put
        to count as steady.
    """

    rtol: float = 1e-6
    atol: float | npt.ArrayLike | None = None
    method: Literal["auto", "rodas5p"] = "auto"
    max_steps: int = 100_000
    max_seconds: float | None = None
    nonnegative: bool = True
    equilibration_time: float = 1e7

    def __post_init__(self) -> None:
        if not 1e-14 <= self.rtol < 1:
            raise InputError(f"rtol is {self.rtol}, expected a number from 1e-14 to below 1")
        if self.atol is not None and not np.all(np.asarray(self.atol, float) > 0):
            raise InputError(f"atol is {self.atol}, expected positive numbers")
        if self.method not in ("auto", "rodas5p"):
            raise unknown_name("method", self.method, ("auto", "rodas5p"))
        if self.max_steps < 1 or (self.max_seconds is not None and not self.max_seconds > 0):
            raise InputError("max_steps and max_seconds must be positive")
        if not 0 < self.equilibration_time < np.inf:
            raise InputError(f"equilibration_time is {self.equilibration_time}, expected a positive number")


def simulate(
    compiled: CompiledModel,
    times: npt.ArrayLike,
    conditions: Conditions | None = None,
    *,
    observables: Sequence[str] | None = None,
    sensitivities: Sequence[str] = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Result:
    """Integrate every condition and return the observables at `times`.

    Parameters
    ----------
    compiled
        The model.
    times : (n_times,)
        Strictly increasing model times; without a protocol the clock starts at 0.
    conditions
        Parameters and protocol of the runs; the nominal parameters if None.
    observables
        Names of observables, named expressions or species to keep; all observables if None.
    sensitivities
        Names of parameters, or of species (their initial amounts), to which derivatives are computed, on the natural
        scale. A parameter that a segment of the protocol sets is not the condition's own there: while the segment
        holds, the derivative to it gains nothing. The derivatives take part in the choice of the step size.
    options
        Tolerances and limits.
    threads
        Number of threads; all cores available to the process if None.
    progress
        Show a bar with rate and remaining time on standard error.

    Returns
    -------
    Result
        Failed runs carry a status and NaN; nothing is raised for them. Ctrl-C returns the runs done so far,
        the others marked STOPPED or PENDING.

    Raises
    ------
    InputError
        For anything wrong with the input, before any run starts.
    """
    options = options or SolverOptions()
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    t = checked_times(times)
    intervals = timeline(conditions.protocol, t)
    return _run(compiled, conditions, t, intervals, observables, sensitivities, options, threads, progress, "simulate")


def steady_state(
    compiled: CompiledModel,
    conditions: Conditions | None = None,
    *,
    observables: Sequence[str] | None = None,
    sensitivities: Sequence[str] = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Result:
    """Bring every condition to steady state, by integration from its initial amounts; one time, `inf`, is returned.

    A state counts as steady when, at its present rate of change, no amount would change by more than rtol
    (plus atol) over `options.equilibration_time`; if that time passes without it, the status is NO_STEADY_STATE.
    A protocol is not allowed here. Otherwise arguments, result and errors are those of `simulate`.
    """
    options = options or SolverOptions()
    if conditions is None:
        conditions = Conditions(("nominal",), compiled.nominal[None, :])
    if conditions.protocol:
        raise InputError("steady_state takes conditions without a protocol; put the values into the conditions")
    intervals = [Interval(-np.inf, 0.0, None, equilibrate=True)]
    t = np.array([np.inf])
    return _run(
        compiled, conditions, t, intervals, observables, sensitivities, options, threads, progress, "steady state"
    )


def default_atol(compiled: CompiledModel, rtol: float) -> float:
    """Return the absolute tolerance for `rtol`: `min(1e-7, rtol / 10)` of the largest nominal initial amount.

    Clamped species (drugs, ligands) are left out. At the default rtol of 1e-6 this is 1e-7 of the largest amount; a
    tighter rtol tightens it in step.

    Raises
    ------
    InputError
        If no species starts above zero: then nothing says how small an amount matters.
    """
    amounts = np.abs(compiled.initial_amounts())[~np.array(compiled.network.fixed)]
    finite = np.isfinite(amounts)
    largest = float(np.max(amounts, initial=0.0, where=finite)) if finite.any() else 1.0
    if largest == 0.0 and finite.all():
        raise InputError(
            f"{compiled.name}: every amount starts at zero nominally, so that no absolute tolerance can be derived; "
            "pass SolverOptions(atol=...), an amount of the model's unit that does not matter"
        )
    return min(1e-7, 0.1 * rtol) * largest


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- what to keep -----------------------------------------------------------------------------------------------


class _Readout:
    """Which sums of species to keep while integrating, and how named expressions follow from them."""

    def __init__(self, compiled: CompiledModel, names: Sequence[str] | None) -> None:
        self.names = tuple(compiled.observables if names is None else names)
        groups = compiled.network.observables
        expressions = compiled._functions
        species = {name: i for i, name in enumerate(compiled.species)}
        needed: dict[str, tuple[tuple[int, float], ...]] = {}
        for name in self.names:
            if name in groups:
                needed[name] = groups[name]
            elif name in species:
                needed[name] = ((species[name], 1.0),)
            elif name not in expressions:
                raise unknown_name("observable", name, compiled.observables)
        self.expressions = [name for name in self.names if name in expressions and name not in needed]
        wanted = [ast.Name(name, ast.Load()) for name in self.expressions]
        definitions = used_by(wanted, expressions)
        used = set().union(*(names_in(tree) for tree in definitions.values()))
        needed |= {name: group for name, group in groups.items() if name in used}
        self.kept = tuple(needed)
        position = compiled.plan[1].position
        self.pointer = np.cumsum([0, *(len(group) for group in needed.values())]).astype(np.int64)
        self.species = np.array([position[i] for group in needed.values() for i, _ in group], np.int64)
        self.weight = np.array([w for group in needed.values() for _, w in group], float)
        place = {name: f"v[{i}][:, None]" for name, i in compiled._value_index.items()}
        place |= {name: f"x[:, :, {i}]" for i, name in enumerate(self.kept)} | {TIME: "t[None, :]"}
        self._evaluate = array_function(wanted, place, "x, t, v", definitions)
        self._wanted, self._definitions, self._place = wanted, definitions, place

    def slopes(self, slopes: Slopes) -> OutputSlopes:
        """Return how derivatives of the read-outs follow from those of the sums."""
        trees = dict(zip(self.expressions, self._wanted, strict=True))
        return OutputSlopes(slopes, self.names, self.kept, trees, self._definitions, self._place)

    def complete(self, kept: Float, times: Float, values: Float) -> Float:
        """Return values (n, n_times, n_names) from sums (n, n_times, n_kept) and parameter values (n, n_values)."""
        if not self.expressions:
            return kept[:, :, [self.kept.index(name) for name in self.names]]
        with np.errstate(all="ignore"):
            computed = self._evaluate(kept, times, values.T)
        shape = kept.shape[:2]
        missing = np.isnan(kept).any(axis=2)
        by_name = {name: kept[:, :, i] for i, name in enumerate(self.kept)}
        for name, column in zip(self.expressions, computed, strict=True):
            by_name[name] = np.where(missing, np.nan, np.broadcast_to(column, shape))
        return np.stack([by_name[name] for name in self.names], axis=2)


# ---- the runs ---------------------------------------------------------------------------------------------------


class _Batch:
    """All arrays of one call: inputs shared by the runs, outputs written run by run."""

    def __init__(self, compiled: CompiledModel, conditions: Conditions, times: Float,
                 intervals: Sequence[Interval], readout: _Readout, options: SolverOptions,
                 sensitivities: Sequence[str] = ()) -> None:  # fmt: skip
        n = len(conditions)
        self.compiled, self.conditions, self.times = compiled, conditions, times
        self.intervals, self.readout, self.options = intervals, readout, options
        self.values = np.full((n, len(times), len(readout.names)), np.nan)
        self.forward: Forward | None = None
        self.sensitivities: Float | None = None
        if len(sensitivities):
            slopes = Slopes(compiled, sensitivities)
            self.forward, self.output_slopes = Forward(compiled, slopes), readout.slopes(slopes)
            self.sensitivities = np.full((*self.values.shape, len(slopes.names)), np.nan)
        self.status = np.full(n, int(Status.PENDING), np.int64)
        self.reached = np.full(n, np.nan)
        self.counts = np.zeros((n, 6), np.int64)
        self.blamed = np.full(n, "", object)
        self.failed_at = np.full(n, np.nan)
        self.stop = np.zeros(n, np.int64)
        self.started = np.full(n, np.inf)
        self.elapsed = np.zeros(n)
        self.clock = np.array([wall.monotonic()])
        self.interrupted = False
        atol = np.asarray(default_atol(compiled, options.rtol) if options.atol is None else options.atol, float)
        if atol.ndim and atol.shape != (compiled.n_species,):
            raise InputError(f"atol has shape {atol.shape}, expected one value or ({compiled.n_species},)")
        self.atol = np.broadcast_to(atol, compiled.n_species)
        self.tables, self.order = compiled.plan
        self.atol_ordered = np.ascontiguousarray(self.atol[self.order.permutation])
        self.fixed = np.array(compiled.network.fixed)[self.order.permutation]

    def prepare(self) -> None:
        """Load or compile the machine code, before threads start."""
        from . import rosenbrock
        from .tableaux import RODAS5P

        self.method = rosenbrock.method_of(RODAS5P)
        self.addresses: tuple[int, ...] = self.compiled.compiled_rates[:2]
        if self.forward is not None:
            self.addresses += self.compiled.compiled_slopes[:2]
        readout = self.readout
        self.output = rosenbrock.Output(self.times.copy(), readout.pointer, readout.species, readout.weight)
        none = np.zeros(0, np.int64)
        self.no_output = rosenbrock.Output(np.zeros(0), np.zeros(1, np.int64), none, np.zeros(0))
        n = self.compiled.n_species
        nothing, empty = np.zeros(0), np.zeros((0, n))
        runs = rosenbrock.Runs(
            empty, empty.copy(), empty.copy(), none, np.zeros((0, 1, 1)), none, nothing, np.zeros((0, 6), np.int64),
            none, nothing, nothing.copy(), self.clock, np.zeros(1, np.int64),
        )  # fmt: skip
        settings = rosenbrock.Settings(0.0, 0.0, 1.0, self.atol_ordered, True, 1, 0.0, 0.0)
        slopes = None if self.forward is None else self.forward.runs(0, 0, 0)
        self._work(self.no_output, settings, runs, slopes)  # nothing to run: this loads or compiles

    @property
    def block(self) -> int:
        """Number of conditions whose arrays are held in memory at once."""
        if self.forward is None:
            return BLOCK
        n_kept = len(self.times) * len(self.readout.kept)
        return max(min(BLOCK, BLOCK_BYTES // self.forward.bytes_per_run(n_kept)), FEWEST)

    def run_block(self, rows: slice, pool: ThreadPoolExecutor, n_threads: int, advance: Callable[[int], None]) -> None:
        """Run the conditions in `rows`, interval by interval, in threads that take runs from one queue."""
        from . import rosenbrock

        numbers = range(*rows.indices(len(self.status)))
        base = self.conditions.parameters[rows]
        status, counts = self.status[rows], self.counts[rows]
        status[:] = int(Status.RUNNING)
        kept = np.full((len(base), len(self.times), len(self.readout.kept)), np.nan)
        next_output = np.zeros(len(base), np.int64)
        y = np.zeros((len(base), self.compiled.n_species))
        slopes = None
        if self.forward is not None:
            slopes = self.forward.runs(len(base), len(self.times), len(self.readout.kept))
        for number, interval in enumerate(self.intervals):
            parameters = segment_parameters(self.compiled, base, interval.segment, numbers)
            values = self.compiled.values(parameters)
            k = self.compiled.rate_constants(values)
            amounts = np.ascontiguousarray(self.compiled.initial_amounts(parameters)[:, self.order.permutation])
            if number == 0:
                y[:] = amounts
            y[:, self.fixed] = amounts[:, self.fixed]
            held = () if interval.segment is None else tuple(interval.segment.set)
            if self.forward is not None and slopes is not None:
                self.forward.enter(slopes, values, held, start=number == 0)
            self._refuse_not_finite(rows, values, k, y, slopes, interval)
            first = next_output.copy()
            if interval.equilibrate:
                output, start, span = self.no_output, 0.0, self.options.equilibration_time
                steady, position = max(self.options.rtol, 1e-7), np.zeros(len(base), np.int64)
            else:
                output = self.output._replace(times=self.times - interval.start)
                start, span, steady, position = interval.start, interval.end - interval.start, 0.0, next_output
                if self.forward is not None and slopes is not None and self.times[0] <= start:
                    self.forward.keep_start(slopes, output)
            settings = rosenbrock.Settings(
                start, span, self.options.rtol, self.atol_ordered, self.options.nonnegative, self.options.max_steps,
                steady, 0.0,
            )  # fmt: skip
            runs = rosenbrock.Runs(
                k, self.compiled.function_values(values), y, position, kept, status, self.reached[rows], counts,
                self.stop[rows], self.started[rows], self.elapsed[rows], self.clock, np.zeros(1, np.int64),
            )  # fmt: skip
            done = (rows.start, number / len(self.intervals), 1 / len(self.intervals))
            threads = min(n_threads, -(-len(base) // WIDTH))
            self.clock[0] = wall.monotonic()
            futures = {pool.submit(self._work, output, settings, runs, slopes) for _ in range(threads)}
            self._watch(futures, status, done, advance)
            alive = status == int(Status.OK)
            failed = ~alive & np.isnan(self.failed_at[rows])
            self.failed_at[rows][failed] = self.reached[rows][failed]
            if interval.equilibrate:  # time spent there is not model time
                self.reached[rows] = np.where(alive, interval.end, np.nan)
            if np.isinf(self.times[0]):  # steady state: the end is the output
                self._keep_end(kept, y, next_output, alive)
            self._complete(rows, kept, slopes, first, next_output, values, held)
            if number < len(self.intervals) - 1:
                status[alive] = int(Status.RUNNING)
        inner = self.order.permutation
        for i, species in enumerate(inner[counts[:, rosenbrock.CULPRIT]]):
            self.blamed[numbers[i]] = self.blamed[numbers[i]] or self.compiled.species[species]

    def _work(self, output: Output, settings: Settings, runs: Runs, slopes: SlopeRuns | None) -> None:
        from . import rosenbrock

        work = self.compiled.workspace()
        if self.options.nonnegative:
            work.floor[0] = 0.0
        if self.forward is None:
            values, partials = self.addresses[:2]
            rosenbrock.integrate(self.tables, self.method, output, settings, runs, values, partials, work)
            return
        from . import sensitivity

        inputs, own = self.forward.inputs, self.forward.workspace(len(self.method.gamma_sums))
        sensitivity.integrate_slopes(
            self.tables, self.method, output, settings, runs, inputs, slopes, self.addresses, work, own
        )

    def _watch(
        self, futures: set[Future[None]], status: Any, done: tuple[int, float, float], advance: Callable[[int], None]
    ) -> None:
        """Wait for the threads; meanwhile keep the clock, stop what is late, and turn Ctrl-C into a stop of all."""
        before, share_before, share = done
        while futures:
            try:
                ended, futures = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                self.clock[0] = wall.monotonic()
                if self.options.max_seconds is not None:
                    late = self.clock[0] - self.started > self.options.max_seconds
                    self.stop[late] = int(Status.TIME_LIMIT)
                n_ended = int(np.count_nonzero(status != int(Status.RUNNING)))
                advance(before + int(share_before * len(status) + share * n_ended))
            except KeyboardInterrupt:
                self.interrupted = True
                self.stop[:] = int(Status.STOPPED)
                continue
            for future in ended:
                future.result()

    def _keep_end(
        self, kept: Float, y: Float, next_output: npt.NDArray[np.int64], alive: npt.NDArray[np.bool_]
    ) -> None:
        readout = self.readout
        for o in range(len(readout.kept)):
            members = slice(readout.pointer[o], readout.pointer[o + 1])
            kept[alive, 0, o] = (y[alive][:, readout.species[members]] * readout.weight[members]).sum(axis=1)
        next_output[alive] = 1

    def _complete(self, rows: slice, kept: Float, slopes: SlopeRuns | None, first: Any, last: Any, values: Float,
                  held: Sequence[str]) -> None:  # fmt: skip
        """Turn the sums kept for the output times of an interval into the observables asked for."""
        reached = range(int(first.min(initial=0)), int(last.max(initial=0)))
        if not reached:
            return
        times = slice(reached.start, reached.stop)
        done = self.readout.complete(kept[:, times], self.times[times], values)
        place = np.arange(reached.start, reached.stop)
        mine = (place >= first[:, None]) & (place < last[:, None])
        target = self.values[rows]
        target[:, times] = np.where(mine[:, :, None], done, target[:, times])
        if self.forward is not None and self.sensitivities is not None and slopes is not None:
            target = self.sensitivities[rows]
            by_name, numbers = self.forward.by_name(slopes.kept[:, times]), self.forward.slopes.of_values(values, held)
            done = self.output_slopes.complete(by_name, kept[:, times], self.times[times], values, numbers)
            target[:, times] = np.where(mine[:, :, None, None], done, target[:, times])

    def _refuse_not_finite(self, rows: slice, values: Float, k: Float, y: Float, slopes: SlopeRuns | None,
                           interval: Interval) -> None:  # fmt: skip
        """Mark the runs whose parameters, rates or amounts are not finite; they are not begun."""
        status, reached, blamed = self.status[rows], self.reached[rows], self.blamed[rows]
        bad = ~(np.isfinite(values).all(axis=1) & np.isfinite(k).all(axis=1) & np.isfinite(y).all(axis=1))
        if self.forward is not None and slopes is not None:
            steep = self.forward.not_finite(slopes)
            bad |= steep >= 0
        for i in np.flatnonzero(bad & (status == int(Status.RUNNING))):
            blamed[i] = _not_finite(self.compiled, values[i], k[i], y[i][self.order.position])
            if self.forward is not None and not blamed[i]:
                blamed[i] = f"derivative with respect to {self.forward.slopes.names[steep[i]]}"
            status[i] = int(Status.BAD_START)
            reached[i] = self.failed_at[rows][i] = 0.0 if interval.equilibrate else interval.start
            y[i] = 0.0

    def result(self) -> Result:
        """Return what the runs gave."""
        names = ("attempts", "steps", "rejections", "factorisations", "rhs_calls")
        attributes = {
            "model": self.compiled.name,
            "model_hash": self.compiled.hash,
            "residuum_version": getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"),
            "method": "rodas5p",
            "rtol": self.options.rtol,
            "atol": float(self.atol[0]) if np.ptp(self.atol) == 0 else str(self.atol.tolist()),
            "unit_amount": self.compiled.units["amount"],
            "unit_time": self.compiled.units["time"],
        }
        statistics = {name: self.counts[:, j].copy() for j, name in enumerate(names)}
        return Result(self.conditions.names, self.times, self.readout.names, self.values, self.status, self.reached,
                      statistics, tuple(map(str, self.blamed)), self.failed_at, attributes, self.sensitivities,
                      self.forward.slopes.names if self.forward else ())  # fmt: skip


def _rate_name(compiled: CompiledModel, rate: int) -> str:
    """Return the name of a distinct rate constant."""
    reaction = int(np.argmax(compiled.rate_table.of_reaction == rate))
    return compiled.network.reactions[reaction].rate


def _not_finite(compiled: CompiledModel, values: Float, k: Float, y: Float) -> str:
    """Return the name of the first parameter, rate or species that is not finite; empty if all are."""
    for numbers, name in (
        (values, lambda j: f"parameter {(*compiled.parameters, *compiled.derived)[j]}"),
        (k, lambda j: f"rate {_rate_name(compiled, j)}"),
        (y, lambda j: f"species {compiled.species[j]}"),
    ):
        if not np.all(finite := np.isfinite(numbers)):
            return name(int(np.argmin(finite)))
    return ""


def _run(compiled: CompiledModel, conditions: Conditions, times: Float, intervals: Sequence[Interval],
         observables: Sequence[str] | None, sensitivities: Sequence[str], options: SolverOptions,
         threads: int | None, progress: bool, label: str) -> Result:  # fmt: skip
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    check_protocol(compiled, conditions)
    if compiled.depends_on_time and any(interval.equilibrate for interval in intervals):
        raise InputError(
            f"{compiled.name} has rates that depend on time(): it has no steady state to start from or to find; "
            "leave out the segment that starts at -inf"
        )
    compiled.check_restriction(conditions)
    if len(sensitivities):
        _check_equilibration(intervals)
    batch = _Batch(compiled, conditions, times, intervals, _Readout(compiled, observables), options, sensitivities)
    _announce_compilation(sensitivities=len(sensitivities) > 0)
    batch.prepare()
    n = len(conditions)
    n_threads = min(threads or available_threads(), max(n, 1))
    with progress_bar(n, label, shown=progress) as advance, ThreadPoolExecutor(n_threads) as pool:
        try:
            for start in range(0, n, batch.block):
                rows = slice(start, min(start + batch.block, n))
                try:
                    batch.run_block(rows, pool, n_threads, advance)
                except KeyboardInterrupt:  # between intervals: what is not through all of them counts as stopped
                    batch.interrupted = True
                    batch.status[rows] = int(Status.STOPPED)
                if batch.interrupted:
                    break
        except BaseException:
            batch.stop[:] = int(Status.STOPPED)  # else the pool would finish what was begun before it closes
            raise
    return batch.result()


def _check_equilibration(intervals: Sequence[Interval]) -> None:
    """Refuse sensitivities where a steady state would have to be differentiated."""
    if any(interval.equilibrate for interval in intervals):
        raise InputError(
            "sensitivities through a steady state are not available yet; "
            "leave out the segment that starts at -inf, or ask for no sensitivities"
        )


@lru_cache(maxsize=2)
def _announce_compilation(*, sensitivities: bool) -> None:
    """Say, once per machine, that machine code is being made; a person should not wonder why nothing happens."""
    from .kernel_cache import kernels_are_cached

    kernel, what, seconds = "rosenbrock.integrate", "the integrator", "about 20 s"
    if sensitivities:
        kernel, what, seconds = "sensitivity.integrate_slopes", "the integrator with sensitivities", "20 to 40 s"
    if not kernels_are_cached(kernel):
        print(f"residuum: compiling {what}, once for this machine ({seconds}) ...", file=sys.stderr, flush=True)
