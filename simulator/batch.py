"""The runs of one call: conditions and intervals in, the arrays of a Result out, filled block by block in threads.

Runs are independent: threads take them one after another, and a run's numbers do not depend on which others run
beside it, in which order, or in how many threads.
"""

from __future__ import annotations

import sys
import time as wall
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .directions import DirectedSlopes, Directions
from .options import SolverOptions, absolute_tolerances
from .protocol import Conditions, Interval, segment_parameters
from .readout import Readout
from .result import Result
from .simd import WIDTH
from .slopes import Forward, Slopes
from .status import Status

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .rosenbrock import Output, Runs, Settings, Workspace
    from .sensitivity import SlopeRuns

Float = npt.NDArray[np.float64]
BLOCK = 1024
"""Conditions whose rate constants are held in memory at once, with those of a block beside it; results do not depend on
it."""
BLOCK_BYTES, FEWEST = 2**27, 64
"""Memory that the sensitivities of these may take: fewer conditions are held at once then, but at least so many."""
POLL_SECONDS = 0.05


class Batch:
    """All arrays of one call: inputs shared by the runs, outputs written run by run."""

    def __init__(self, compiled: CompiledModel, conditions: Conditions, times: Float,
                 intervals: Sequence[Interval], readout: Readout, options: SolverOptions,
                 sensitivities: Sequence[str] | Directions = ()) -> None:  # fmt: skip
        n = len(conditions)
        self.compiled, self.conditions, self.times = compiled, conditions, times
        self.intervals, self.readout, self.options = intervals, readout, options
        self.values = np.empty((n, len(times), len(readout.names)))  # NaN where a run does not get: see `_run_block`
        self.forward: Forward | None = None
        self.sensitivities: Float | None = None
        self.directions = sensitivities if isinstance(sensitivities, Directions) else None
        if len(sensitivities):
            slopes = _slopes(compiled, sensitivities)
            self.forward, self.output_slopes = Forward(compiled, slopes), readout.slopes(slopes)
            self.sensitivities = np.empty((*self.values.shape, len(slopes.names)))
        self.status = np.full(n, int(Status.PENDING), np.int64)
        self.reached = np.full(n, np.nan)
        self.counts = np.zeros((n, 6), np.int64)
        self.blamed = np.full(n, "", object)
        self.failed_at = np.full(n, np.nan)
        self.intervals_done = np.zeros(n, np.int64)
        self.stop = np.zeros(n, np.int64)
        self.started = np.full(n, np.inf)
        self.elapsed = np.zeros(n)
        self.clock = np.array([wall.monotonic()])
        self.interrupted = Event()
        self.atol = absolute_tolerances(compiled, options)
        self.tables, self.order = compiled.plan
        self.atol_ordered = np.ascontiguousarray(self.atol[self.order.permutation])
        self.fixed = np.array(compiled.network.fixed)[self.order.permutation]

    def prepare(self) -> None:
        """Load or compile the machine code of the integration, before threads start."""
        from . import rosenbrock
        from .tableaux import RODAS5P

        self.method = rosenbrock.method_of(RODAS5P)
        self.addresses: tuple[int, ...] = self.compiled.compiled_rates[:2]
        if self.forward is not None:
            self.addresses += self.compiled.compiled_slopes[:2]
        readout = self.readout
        self.output = rosenbrock.Output(self.times.copy(), readout.pointer, readout.species, readout.weight)
        if (kind := self.forward is not None) in _PREPARED or all(i.equilibrate for i in self.intervals):
            return
        table, used = self.compiled.rate_table, self.compiled.rate_functions.values
        runs = rosenbrock.new_runs(*(np.zeros((0, m)) for m in (len(table.column), len(used), self.compiled.n_species)))
        settings = rosenbrock.Settings(0.0, 0.0, 1.0, self.atol_ordered, True, 1, 0.0, 0.0)
        slopes = None if self.forward is None else self.forward.runs(0, 0, 0)
        self._work(self._integration(self.output, settings, runs, slopes))  # nothing to run: this loads or compiles
        _PREPARED.add(kind)

    def run(self, n_threads: int, advance: Callable[[int], None]) -> None:
        """Run all conditions; `advance` is told, now and then, how many are done.

        With several threads two blocks are under way at a time: while the runs of one are integrated, Python prepares
        the other's numbers, and threads that find nothing left of the first go on with the second.
        """
        n = len(self.status)
        blocks = [slice(start, min(start + self.block, n)) for start in range(0, n, self.block)]
        at_once = min(2 if n_threads > 1 else 1, len(blocks))
        self.clock[0] = wall.monotonic()  # what was compiled before is no run's time
        with ThreadPoolExecutor(n_threads) as workers, ThreadPoolExecutor(max(at_once, 1)) as leaders:
            try:
                futures = {leaders.submit(self._run_block, rows, workers, n_threads) for rows in blocks}
                self._watch(futures, advance)
            except BaseException:
                self.interrupted.set()  # else the pools would finish what was begun before they close
                self.stop[:] = int(Status.STOPPED)
                leaders.shutdown(wait=False, cancel_futures=True)
                raise

    @property
    def block(self) -> int:
        """Number of conditions whose arrays are held in memory at once."""
        if self.forward is None:
            return BLOCK
        n_kept = len(self.times) * len(self.readout.kept)
        return max(min(BLOCK, BLOCK_BYTES // self.forward.bytes_per_run(n_kept)), FEWEST)

    def _run_block(self, rows: slice, workers: ThreadPoolExecutor, n_threads: int) -> None:
        """Run the conditions in `rows`, interval by interval, in threads that take runs from one queue."""
        self.values[rows] = np.nan
        if self.sensitivities is not None:
            self.sensitivities[rows] = np.nan
        if self.interrupted.is_set():
            return
        from . import rosenbrock
        from .equilibration import Equilibration, equilibrate

        numbers = range(*rows.indices(len(self.status)))
        base = self.conditions.parameters[rows]
        status, counts = self.status[rows], self.counts[rows]
        status[:] = int(Status.RUNNING)
        direct = self.readout.kept == self.readout.names  # then the sums that are kept are the result
        kept = self.values[rows]
        if not direct:
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
            held: Any = () if interval.segment is None else tuple(interval.segment.set)
            if self.directions is not None:
                held = self.directions.along(interval.segment, self.conditions.protocol, rows)
            if self.forward is not None and slopes is not None:
                self.forward.enter(slopes, values, held, start=number == 0)
            self._refuse_bad_start(rows, values, k, y, slopes, interval)
            first = next_output.copy()
            if interval.equilibrate:
                start, span = 0.0, self.options.equilibration_time
                steady, position = max(self.options.rtol, 1e-7), np.zeros(len(base), np.int64)
            else:
                output = self.output._replace(times=self.times - interval.start)
                start, span, steady, position = interval.start, interval.end - interval.start, 0.0, next_output
                if self.forward is not None and slopes is not None and self.times[0] == start:
                    self.forward.keep_start(slopes, output)
            settings = rosenbrock.Settings(
                start, span, self.options.rtol, self.atol_ordered, self.options.nonnegative, self.options.max_steps,
                steady, 0.0,
            )  # fmt: skip
            runs = rosenbrock.Runs(
                k, self.compiled.function_values(values), y, self.compiled.switch_times(values), position, kept, status,
                self.reached[rows], counts, self.stop[rows], self.started[rows], self.elapsed[rows], self.clock,
                np.zeros(1, np.int64),
            )  # fmt: skip
            threads = min(n_threads, -(-len(base) // WIDTH))

            def in_threads(work: Callable[[Workspace], None], runs: Runs = runs, threads: int = threads) -> None:
                runs.queue[0] = 0
                for future in [workers.submit(self._work, work) for _ in range(threads)]:
                    future.result()

            if interval.equilibrate:
                alone = len(self.intervals) == 1
                equilibration = Equilibration(
                    self.compiled, settings, runs, parameters, alone, self.forward, slopes
                )  # fmt: skip
                equilibrate(equilibration, in_threads)
                if self.interrupted.is_set():
                    self.stop[:] = int(Status.STOPPED)
            else:
                in_threads(self._integration(output, settings, runs, slopes))
            alive = status == int(Status.OK)
            failed = ~alive & np.isnan(self.failed_at[rows])
            self.failed_at[rows][failed] = self.reached[rows][failed]
            if interval.equilibrate:  # time spent there is not model time
                self.reached[rows] = np.where(alive, interval.end, np.nan)
            if np.isinf(self.times[0]):  # steady state: the end is the output
                self._keep_end(kept, y, next_output, alive)
                if self.forward is not None and slopes is not None:
                    self.forward.keep_start(slopes, self.output)
            if not direct or slopes is not None:
                self._complete(rows, kept, slopes, first, next_output, values, held)
            self.intervals_done[rows] = number + 1
            if number < len(self.intervals) - 1:
                status[alive] = int(Status.RUNNING)
        names, blamed = self.compiled.species, self.blamed[rows]
        for i in np.flatnonzero(status != int(Status.OK)):
            blamed[i] = blamed[i] or names[self.order.permutation[counts[i, rosenbrock.CULPRIT]]]

    def _integration(
        self, output: Output, settings: Settings, runs: Runs, slopes: SlopeRuns | None
    ) -> Callable[[Workspace], None]:
        """Return what integrates the runs of the queue, with their sensitivities if there are any."""
        from . import rosenbrock

        tables, method, forward = self.tables, self.method, self.forward
        rates, partials = self.addresses[:2]
        if forward is None:
            return lambda w: rosenbrock.integrate(tables, method, output, settings, runs, rates, partials, w)
        from . import sensitivity

        def integrate(w: Workspace) -> None:
            own = forward.workspace(len(method.gamma_sums))
            sensitivity.integrate_slopes(
                tables, method, output, settings, runs, forward.inputs, slopes, self.addresses, w, own
            )

        return integrate

    def _work(self, work: Callable[[Workspace], None]) -> None:
        workspace = self.compiled.workspace(len(self.readout.kept))
        if self.options.nonnegative:
            workspace.floor[0] = 0.0
        work(workspace)

    def _watch(self, futures: set[Future[None]], advance: Callable[[int], None]) -> None:
        """Wait for the blocks; meanwhile keep the clock, stop what is late, and turn Ctrl-C into a stop of all."""
        n_intervals = len(self.intervals)
        while futures:
            try:
                ended, futures = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                self.clock[0] = wall.monotonic()
                if self.options.max_seconds is not None:
                    late = self.clock[0] - self.started > self.options.max_seconds
                    self.stop[late] = int(Status.TIME_LIMIT)
                status = self.status.copy()  # the threads go on
                through = self.intervals_done + (status == int(Status.OK))
                begun = np.isin(status, (Status.RUNNING, Status.PENDING, Status.OK))
                advance(int(np.where(begun, np.minimum(through, n_intervals), n_intervals).sum()) // n_intervals)
            except KeyboardInterrupt:
                self.interrupted.set()
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
                  held: Any) -> None:  # fmt: skip
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

    def _refuse_bad_start(self, rows: slice, values: Float, k: Float, y: Float, slopes: SlopeRuns | None,
                          interval: Interval) -> None:  # fmt: skip
        """Mark the runs that cannot start as they stand: numbers that are not finite, or negative where none may be."""
        status, reached, blamed = self.status[rows], self.reached[rows], self.blamed[rows]
        bad = ~(np.isfinite(values).all(axis=1) & np.isfinite(k).all(axis=1) & np.isfinite(y).all(axis=1))
        if self.options.nonnegative:
            bad |= (k < 0).any(axis=1) | (y < -self.atol_ordered).any(axis=1)
        if self.forward is not None and slopes is not None:
            steep = self.forward.not_finite(slopes)
            bad |= steep >= 0
        for i in np.flatnonzero(bad & (status == int(Status.RUNNING))):
            blamed[i] = _bad_number(self.compiled, values[i], k[i], y[i][self.order.position], self.atol)
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
            "max_steps": self.options.max_steps,
            "max_seconds": "none" if self.options.max_seconds is None else self.options.max_seconds,
            "nonnegative": int(self.options.nonnegative),
            "equilibration_time": self.options.equilibration_time,
            "atol": float(self.atol[0]) if np.ptp(self.atol) == 0 else str(self.atol.tolist()),
            "unit_amount": self.compiled.units["amount"],
            "unit_time": self.compiled.units["time"],
        }
        statistics = {name: self.counts[:, j].copy() for j, name in enumerate(names)}
        return Result(self.conditions.names, self.times, self.readout.names, self.values, self.status, self.reached,
                      statistics, tuple(map(str, self.blamed)), self.failed_at, attributes, self.sensitivities,
                      self.forward.slopes.names if self.forward else ())  # fmt: skip


def _slopes(compiled: CompiledModel, sensitivities: Sequence[str] | Directions) -> Slopes | DirectedSlopes:
    if isinstance(sensitivities, Directions):
        return DirectedSlopes(compiled, sensitivities)
    return Slopes(compiled, sensitivities)


def _rate_name(compiled: CompiledModel, rate: int) -> str:
    """Return the name of a distinct rate constant, or the rule of its reaction where it is a bare number."""
    reaction = compiled.network.reactions[int(np.argmax(compiled.rate_table.of_reaction == rate))]
    return reaction.rate or f"of {reaction.rule or 'a reaction'}"


def _bad_number(compiled: CompiledModel, values: Float, k: Float, y: Float, atol: Float) -> str:
    """Return the first parameter, rate constant or species that is not finite, or is negative, with its value."""
    parameters = (*compiled.parameters, *compiled.derived)
    for bad, numbers, name in (
        (~np.isfinite(values), values, lambda j: f"parameter {parameters[j]}"),
        (~np.isfinite(k), k, lambda j: f"rate constant {_rate_name(compiled, j)}"),
        (~np.isfinite(y), y, lambda j: f"species {compiled.species[j]}"),
        (k < 0.0, k, lambda j: f"rate constant {_rate_name(compiled, j)}"),
        (y < -atol, y, lambda j: f"species {compiled.species[j]}"),
    ):
        if bad.any():
            j = int(np.argmax(bad))
            return f"{name(j)} is {numbers[j]:g}"
    return ""


_PREPARED: set[bool] = set()
"""Whether this process has loaded the integration, without (False) and with sensitivities (True)."""
