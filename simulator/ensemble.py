"""Ensembles: a compiled model, conditions and times in, a Result with a status per run out.

Runs are independent: threads take them one after another, and a run's numbers do not depend on which others run
beside it, in which order, or in how many threads.
"""

from __future__ import annotations

import os
import sys
import time as wall
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name
from .expressions import TIME, array_function, names_in
from .progress import progress_bar
from .protocol import Conditions, Interval, check_protocol, checked_times, segment_parameters, timeline
from .result import Result
from .status import Status

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .rosenbrock import Output

Float = npt.NDArray[np.float64]
CHUNK = 16
"""Conditions whose parameters are evaluated together; results do not depend on it."""
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
        `min(1e-7, rtol / 10)` of the model's largest nominal initial amount.
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
        Not available yet: anything but an empty sequence is refused.
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
    conditions = conditions or Conditions(("nominal",), compiled.nominal[None, :])
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
    conditions = conditions or Conditions(("nominal",), compiled.nominal[None, :])
    if conditions.protocol:
        raise InputError("steady_state takes conditions without a protocol; put the values into the conditions")
    intervals = [Interval(-np.inf, 0.0, None, equilibrate=True)]
    t = np.array([np.inf])
    return _run(
        compiled, conditions, t, intervals, observables, sensitivities, options, threads, progress, "steady state"
    )


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- what to keep -----------------------------------------------------------------------------------------------


class _Readout:
    """Which sums of species to keep while integrating, and how named expressions follow from them."""

    def __init__(self, compiled: CompiledModel, names: Sequence[str] | None) -> None:
        self.names = tuple(compiled.observables if names is None else names)
        groups = compiled.network.observables
        expressions = compiled._function_trees
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
        for name in self.expressions:
            needed |= {g: groups[g] for g in groups if g in names_in(expressions[name])}
        self.kept = tuple(needed)
        position = compiled.plan[1].position
        self.pointer = np.cumsum([0, *(len(group) for group in needed.values())]).astype(np.int64)
        self.species = np.array([position[i] for group in needed.values() for i, _ in group], np.int64)
        self.weight = np.array([w for group in needed.values() for _, w in group], float)
        place = {name: f"v[{i}][:, None]" for name, i in compiled._value_index.items()}
        place |= {name: f"x[:, :, {i}]" for i, name in enumerate(self.kept)} | {TIME: "t[None, :]"}
        self._evaluate = array_function((expressions[name] for name in self.expressions), place, "x, t, v")

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
                 intervals: Sequence[Interval], readout: _Readout, options: SolverOptions) -> None:  # fmt: skip
        n = len(conditions)
        self.compiled, self.conditions, self.times = compiled, conditions, times
        self.intervals, self.readout, self.options = intervals, readout, options
        self.values = np.full((n, len(times), len(readout.names)), np.nan)
        self.status = np.full(n, int(Status.PENDING), np.int64)
        self.reached = np.full(n, np.nan)
        self.final = np.full((n, compiled.n_species), np.nan)
        self.counts = np.zeros((n, 6), np.int64)
        self.culprits = [""] * n
        self.stop = np.zeros((n, 1), np.int64)
        self.started = np.full(n, np.inf)
        atol = compiled.default_atol(options.rtol) if options.atol is None else options.atol
        atol = np.asarray(atol, float)
        if atol.ndim and atol.shape != (compiled.n_species,):
            raise InputError(f"atol has shape {atol.shape}, expected one value or ({compiled.n_species},)")
        self.atol = np.broadcast_to(atol, compiled.n_species)
        order = compiled.plan[1]
        self.atol_ordered = np.ascontiguousarray(self.atol[order.permutation])
        self.fixed = np.array(compiled.network.fixed)
        tables = compiled.plan[0]
        self.tables, self.order = tables, order

    def run_chunk(self, rows: range) -> None:
        """Run the conditions numbered `rows`, one after another."""
        from .rosenbrock import workspace_for

        base = self.conditions.parameters[rows.start : rows.stop]
        stages = []
        for interval in self.intervals:
            parameters = segment_parameters(self.compiled, base, interval.segment, rows)
            values = self.compiled.values(parameters)
            amounts = self.compiled.initial_amounts(parameters)
            stages.append((interval, values, self.compiled.rate_constants(values), amounts))
        work = workspace_for(self.tables, len(self.compiled.rate_functions.partials), self.method.gamma_sums.size)
        for local, i in enumerate(rows):
            if self.stop[i, 0]:
                continue
            self.started[i] = wall.monotonic()
            self._run_one(i, local, stages, work)
            self.started[i] = np.inf

    def _run_one(self, i: int, local: int, stages: list[Any], work: Any) -> None:
        """Run condition `i` through all its intervals; write values, status and what a message needs."""
        from . import rosenbrock

        kept = np.full((len(self.times), len(self.readout.kept)), np.nan)
        inner = self.order.permutation
        y = np.ascontiguousarray(stages[0][3][local][inner])
        status, reached = int(Status.OK), 0.0
        next_output = np.zeros(1, np.int64)
        parts = []
        for interval, values, k, amounts in stages:
            fixed = self.fixed[inner]
            y[fixed] = amounts[local][inner][fixed]
            bad = _not_finite(self.compiled, values[local], k[local], y[self.order.position])
            if bad:
                self.status[i], self.reached[i], self.culprits[i] = int(Status.BAD_START), interval.start, bad
                return
            work.k[:] = k[local]
            clock = np.zeros(3)
            first = int(next_output[0])
            if interval.equilibrate:
                output: Output = self.no_output
                end, steady = self.options.equilibration_time, max(self.options.rtol, 1e-7)
                progress_of = np.zeros(1, np.int64)
            else:
                clock[rosenbrock.TIME_NOW] = interval.start
                output, end, steady, progress_of = self.output, interval.end, 0.0, next_output
            status = rosenbrock.integrate(
                self.tables, self.method, output, values[local], self.addresses[0], self.addresses[1], end,
                self.options.rtol, self.atol_ordered, self.options.nonnegative, self.options.max_steps, steady,
                self.stop[i], work, y, clock, progress_of, kept, self.counts[i],
            )  # fmt: skip
            reached = float(clock[rosenbrock.TIME_NOW])
            parts.append((slice(first, int(next_output[0])), values[local : local + 1]))
            if status != Status.OK:
                break
            if interval.equilibrate:
                reached = interval.end
        if status == Status.OK and np.isinf(self.times[0]):  # steady state: the end is the output
            rosenbrock.write_output(self.output, y, kept[0])
            parts = [(slice(0, 1), stages[-1][1][local : local + 1])]
        for rows, values in parts:
            if rows.stop > rows.start:
                done = self.readout.complete(kept[None, rows], self.times[rows], values)
                self.values[i, rows] = done[0]
        self.status[i], self.reached[i] = status, reached
        self.culprits[i] = self.compiled.species[inner[self.counts[i, rosenbrock.CULPRIT]]]
        if status == Status.OK:
            self.final[i] = y[self.order.position]

    def prepare(self) -> None:
        """Load or compile the machine code, before threads start."""
        from . import rosenbrock
        from .tableaux import RODAS5P

        self.method = rosenbrock.method_of(RODAS5P)
        self.addresses = self.compiled.compiled_rates
        readout = self.readout
        self.output = rosenbrock.Output(self.times, readout.pointer, readout.species, readout.weight)
        none = np.zeros(0, np.int64)
        self.no_output = rosenbrock.Output(np.zeros(0), np.zeros(1, np.int64), none, np.zeros(0))

    def result(self) -> Result:
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
                      self.final, statistics, tuple(self.culprits), attributes)  # fmt: skip


def _not_finite(compiled: CompiledModel, values: Float, k: Float, y: Float) -> str:
    """Return the name of the first parameter, rate or species that is not finite; empty if all are."""
    for numbers, name in (
        (values, lambda j: f"parameter {(*compiled.parameters, *compiled.derived)[j]}"),
        (k, lambda j: f"rate {compiled.network.reactions[j].rate}"),
        (y, lambda j: f"species {compiled.species[j]}"),
    ):
        if not np.all(finite := np.isfinite(numbers)):
            return name(int(np.argmin(finite)))
    return ""


def _run(compiled: CompiledModel, conditions: Conditions, times: Float, intervals: Sequence[Interval],
         observables: Sequence[str] | None, sensitivities: Sequence[str], options: SolverOptions,
         threads: int | None, progress: bool, label: str) -> Result:  # fmt: skip
    if len(sensitivities):
        raise InputError("sensitivities are not available yet; pass none")
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected at least 1")
    check_protocol(compiled, conditions)
    batch = _Batch(compiled, conditions, times, intervals, _Readout(compiled, observables), options)
    _announce_compilation()
    batch.prepare()
    n = len(conditions)
    n_threads = min(threads or available_threads(), max(n, 1))
    # several chunks per thread, so that none waits long for the last
    size = max(1, min(CHUNK, n // (4 * n_threads)))
    chunks = [range(start, min(start + size, n)) for start in range(0, n, size)]
    with progress_bar(n, label, shown=progress) as advance, ThreadPoolExecutor(n_threads) as pool:
        futures: set[Future[None]] = {pool.submit(batch.run_chunk, chunk) for chunk in chunks}
        try:
            while futures:
                done, futures = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                if options.max_seconds is not None:
                    late = wall.monotonic() - batch.started > options.max_seconds
                    batch.stop[late, 0] = int(Status.TIME_LIMIT)
                advance(int(np.count_nonzero(batch.status != Status.PENDING)))
        except KeyboardInterrupt:
            batch.stop[:, 0] = int(Status.STOPPED)
            for future in futures:
                future.cancel()
            wait(futures)
            print("\nstopped: returning the runs done so far", file=sys.stderr)
        except BaseException:
            batch.stop[:, 0] = int(Status.STOPPED)
            raise
    return batch.result()


@lru_cache(maxsize=1)
def _announce_compilation() -> None:
    """Say, once per machine, that machine code is being made; a person should not wonder why nothing happens."""
    from .kernel_cache import kernels_are_cached

    if not kernels_are_cached():
        print("residuum: compiling the integrator, once for this machine (about 20 s) ...", file=sys.stderr, flush=True)
