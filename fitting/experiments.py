"""Parameter values of a problem in; simulated readouts at the time of every measurement out.

Each experiment is a list of periods, each with full parameters of the model: the model's nominal values, then what
the caller resolves from names (drugs, contexts), then numbers, then formulas of the problem's parameters. What a
period sets holds in the later periods too, unless they set it anew. A formula may name the model's own parameters:
they have the value that they would have without the formulas, so that `kd * shift` scales a resolved number.

Runs that agree in all parameters are simulated once and remembered; so a parameter that only enters an observable
costs no simulation, and one that belongs to one cell line leaves the other line's runs alone.

Backwards, each formula has its derivatives, and a run those along the directions in which the free parameters move the
model's parameters, period by period (`Directions`). Free parameters that never act on one experiment together share a
direction: a run has as many as act on it, not as many as there are.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.directions import Directions
from ..simulator.ensemble import simulate
from ..simulator.expressions import array_function, derivative, is_zero, names_in
from ..simulator.options import SolverOptions
from ..simulator.protocol import Conditions, Segment
from ..simulator.status import Status
from .observation import parsed
from .tables import Tables

if TYPE_CHECKING:
    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
Resolve = Callable[[Mapping[str, str]], Mapping[str, float]]
"""Names in a conditions table -> parameters of the model: `{"context": "baf3-itd-jmd", "midostaurin": "100"}` in."""

REMEMBERED_RUNS = 2_000
Slope = tuple[int, str, Callable[[Any], list[Any]], frozenset[str]]
"""Place of a parameter, what its formula is differentiated by, the derivative, and the names in the formula."""


@dataclass(frozen=True)
class Period:
    """One stretch of an experiment: parameters without the problem's parameters, and what these then set."""

    start: float
    base: Float
    formulas: tuple[tuple[int, Callable[[Any], list[Any]], frozenset[str]], ...]
    """Place of a parameter, function of a mapping by name, and the names it uses."""
    settled: frozenset[str]
    """Names of the model's parameters (and of what was resolved) that the conditions set."""
    slopes: tuple[Slope, ...] = ()
    resolved: frozenset[str] = frozenset()
    """Names of the model's parameters that the caller made of named things."""

    def parameters(self, values: Mapping[str, float], place: Mapping[str, int]) -> Float:
        """Return the parameters (n_parameters,) of the model under the problem's parameter `values`."""
        before = self._before(values, place)
        p = before.copy()
        with np.errstate(all="ignore"):  # what is not finite fails as a run, with the parameter's name
            for index, function, names in self.formulas:
                known = {name: np.float64(values[name] if name in values else before[place[name]]) for name in names}
                p[index] = float(np.asarray(function(known)[0]))
        return p

    def acting(self, place: Mapping[str, int], names: Collection[str]) -> set[tuple[int, str]]:
        """Return (place of a parameter of the model, name) where the former depends on one of `names`."""
        direct = {(place[name], name) for name in names if name in place and name not in self.settled}
        return direct | {(index, name) for index, name, *_ in self.slopes if name in names}

    def parameter_slopes(
        self, values: Mapping[str, float], place: Mapping[str, int], names: Collection[str]
    ) -> dict[tuple[int, str], float]:
        """Return the derivative of each pair of `acting`: of a parameter of the model to a parameter of the problem."""
        slopes = {(place[name], name): 1.0 for name in names if name in place and name not in self.settled}
        before = self._before(values, place)
        with np.errstate(all="ignore"):
            for index, name, function, used in self.slopes:
                if name in names:
                    known = {n: np.float64(values[n] if n in values else before[place[n]]) for n in used}
                    slopes[index, name] = float(np.asarray(function(known)[0]))
        return slopes

    def _before(self, values: Mapping[str, float], place: Mapping[str, int]) -> Float:
        """Return the parameters without the formulas."""
        p = self.base.copy()
        for name, value in values.items():
            # what a condition sets takes precedence: such a parameter is a formula or a number
            if name in place and name not in self.settled:
                p[place[name]] = value
        return p


@dataclass(frozen=True)
class Run:
    """What one simulated experiment gave: readouts (n_times, n_readouts), and why it failed (empty if it did not).

    `slopes` (n_times, n_readouts, n_directions) are derivatives along the directions of the experiment, if asked for.
    """

    values: Float
    failure: str
    slopes: Float | None = None


class Experiments:
    """The experiments of a problem over one compiled model; see the module for the meaning of the tables.

    Attributes
    ----------
    names
        Names of the experiments.
    parameters
        Names of the problem's parameters that act on the model.
    n_simulated
        Number of runs simulated so far.
    n_calls
        Number of calls of `simulate` so far.
    free
        Names of the estimated parameters.
    n_directions
        Number of directions along which runs have derivatives.
    without_slopes
        Those of them to which the solver has no derivatives, because they decide when a rate function switches.
    """

    def __init__(
        self,
        compiled: CompiledModel,
        tables: Tables,
        readouts: Sequence[str],
        problem_parameters: Collection[str],
        resolve: Resolve | None,
        options: SolverOptions | None,
        threads: int | None,
        free: Collection[str] = (),
    ) -> None:
        self.compiled, self.readouts, self.options, self.threads = compiled, tuple(readouts), options, threads
        self._place = {name: i for i, name in enumerate(compiled.parameters)}
        self._problem_parameters = frozenset(problem_parameters)
        self.names = tuple(dict.fromkeys(tables.experiments.frame["experimentId"]))
        self._periods = {name: self._read_periods(tables, name, resolve) for name in self.names}
        self.parameters = frozenset(
            name
            for periods in self._periods.values()
            for period in periods
            for name in (
                *(n for _, _, names in period.formulas for n in names if n in self._problem_parameters),
                *(n for n in self._problem_parameters if n in self._place and n not in period.settled),
            )
        )
        self._experiment_of = tuple(tables.measurements.frame["experimentId"])
        self._time_of = tables.measurements.frame["time"].to_numpy(float)
        self._read_timetables(tables)
        self.free = tuple(free)
        self._read_directions()
        self._runs: OrderedDict[tuple[Any, ...], Run] = OrderedDict()
        self._slope_runs: OrderedDict[tuple[Any, ...], Run] = OrderedDict()
        self.n_simulated = self.n_calls = 0

    # ---- tables to periods --------------------------------------------------------------------------------------

    def _read_periods(self, tables: Tables, experiment: str, resolve: Resolve | None) -> tuple[Period, ...]:
        table = tables.experiments
        rows = [row for row, name in table.cells("experimentId") if name == experiment]
        starts = sorted({float(table.frame["time"][row]) for row in rows})
        first = min(rows, key=lambda row: float(table.frame["time"][row]))
        if starts[0] not in (-math.inf, 0.0) or math.inf in starts:
            raise table.error(
                first,
                "time",
                f"the experiment {experiment!r} begins at {starts[0]:g}; begin at -inf (pre-equilibration) or 0",
            )
        if starts[0] == -math.inf and len(starts) > 1 and starts[1] != 0:
            raise table.error(
                first,
                "time",
                f"the period of {experiment!r} after -inf begins at {starts[1]:g}; let it begin at 0",
            )
        if starts == [-math.inf]:
            raise table.error(
                first,
                "time",
                f"the experiment {experiment!r} has no period after -inf; add a row with time 0",
            )
        settled: dict[str, tuple[int, str]] = {}
        periods = []
        for start in starts:
            new: dict[str, tuple[int, str]] = {}
            for row in rows:
                if float(table.frame["time"][row]) == start and table.frame["conditionId"][row]:
                    self._read_condition(tables, str(table.frame["conditionId"][row]), new)
            settled = settled | new
            periods.append(self._period(tables, start, settled, resolve))
        return tuple(periods)

    @staticmethod
    def _read_condition(tables: Tables, condition: str, into: dict[str, tuple[int, str]]) -> None:
        """Add target -> (row, value) of one condition; two conditions of one period may not set the same target."""
        table = tables.conditions
        for row, name in table.cells("conditionId"):
            if name == condition:
                target = str(table.frame["targetId"][row])
                if target in into:
                    raise table.error(
                        row,
                        "targetId",
                        f"{target!r} is set by line {into[target][0] + 2} too, in the same period of an experiment",
                    )
                into[target] = row, str(table.frame["targetValue"][row])

    def _period(
        self, tables: Tables, start: float, settled: Mapping[str, tuple[int, str]], resolve: Resolve | None
    ) -> Period:
        table = tables.conditions
        base = self.compiled.nominal.copy()
        named = {target: cell for target, cell in settled.items() if target not in self._place}
        resolved = self._resolved(tables, named, resolve)
        for name, value in resolved.items():
            base[self.compiled.parameter_index(name)] = value
        formulas, slopes = [], list[Slope]()
        for target, (row, text) in settled.items():
            if target in named:
                continue
            try:
                base[self._place[target]] = float(text)
                continue
            except ValueError:
                tree = parsed(table, row, "targetValue", text)
            formulas.append((self._place[target], *self._formula(tables, row, tree)))
            slopes += self._formula_slopes(self._place[target], tree)
        own = frozenset({*resolved, *settled})
        return Period(start, base, tuple(formulas), own, tuple(slopes), frozenset(resolved))

    def _formula_slopes(self, index: int, tree: ast.expr) -> list[Slope]:
        names = frozenset(names_in(tree))
        place = {name: f"v[{name!r}]" for name in names}
        slopes = {name: derivative(tree, name) for name in sorted(names & self._problem_parameters)}
        return [
            (index, name, array_function([slope], place, "v"), names)
            for name, slope in slopes.items()
            if not is_zero(slope)
        ]

    def _formula(self, tables: Tables, row: int, tree: ast.expr) -> tuple[Callable[[Any], list[Any]], frozenset[str]]:
        names = frozenset(names_in(tree))
        known = (*self._problem_parameters, *self.compiled.parameters)
        for name in sorted(names):
            if name not in known:
                raise tables.conditions.unknown(row, "targetValue", "parameter", name, known)
        return array_function([tree], {name: f"v[{name!r}]" for name in names}, "v"), names

    def _resolved(
        self, tables: Tables, named: Mapping[str, tuple[int, str]], resolve: Resolve | None
    ) -> Mapping[str, float]:
        table = tables.conditions
        if not named:
            return {}
        target, (row, _) = next(iter(named.items()))
        if resolve is None:
            raise table.unknown(row, "targetId", "parameter of the model", target, self.compiled.parameters)
        # in alphabetical order, so that what the caller makes of them does not depend on the order of rows
        given = {target: named[target][1] for target in sorted(named, key=str.casefold)}
        try:
            resolved = {name: float(value) for name, value in resolve(given).items()}
            for name in resolved:
                self.compiled.parameter_index(name)
        except (ValueError, LookupError) as error:
            # the resolver's sentence names what it did not know; the row is that of the first name it got
            told = ", ".join(f"{name} = {text}" for name, text in given.items())
            raise table.error(row, "targetId", f"cannot resolve {told}: {error}") from error
        return resolved

    def _read_timetables(self, tables: Tables) -> None:
        """Group experiments with the same starts of periods: they share one call and its output times."""
        self._timetable = {name: tuple(period.start for period in periods) for name, periods in self._periods.items()}
        times: dict[tuple[float, ...], set[float]] = {}
        for row, (experiment, time) in enumerate(zip(self._experiment_of, self._time_of, strict=True)):
            if time < 0:
                raise tables.measurements.error(row, "time", f"is {time:g}; measure at 0 or later")
            times.setdefault(self._timetable[experiment], set()).add(float(time))
        self._times = {starts: np.array(sorted(of)) for starts, of in times.items()}

    def _read_directions(self) -> None:
        """Give each free parameter a direction that none other has which acts on one experiment with it."""
        acting = {
            name: set().union(*(period.acting(self._place, self.free) for period in periods))
            for name, periods in self._periods.items()
        }
        moved = {pair for pairs in acting.values() for pair in pairs}
        switching = {self._place[name] for name in self.compiled.switch_parameters}
        self.without_slopes = frozenset(name for index, name in moved if index in switching)
        self._moved = tuple(sorted({index for index, name in moved if name not in self.without_slopes}))
        self._names_of = {
            experiment: tuple(n for n in self.free if n not in self.without_slopes and n in {name for _, name in pairs})
            for experiment, pairs in acting.items()
        }
        self._direction: dict[str, int] = {}
        for name in self.free:
            together = {other for names in self._names_of.values() if name in names for other in names}
            taken = {self._direction[other] for other in together if other in self._direction}
            if together:
                self._direction[name] = next(i for i in itertools.count() if i not in taken)
        self.n_directions = 1 + max(self._direction.values(), default=-1)

    # ---- parameters to readouts ---------------------------------------------------------------------------------

    def model_parameters(self, experiment: str, values: Mapping[str, float]) -> Float:
        """Return the model's parameters (n_parameters,) in the last period of `experiment`."""
        return self._periods[experiment][-1].parameters(values, self._place)

    def last_period(self, experiment: str) -> Period:
        """Return the period in which `experiment` is measured last."""
        return self._periods[experiment][-1]

    def run(self, points: Sequence[Mapping[str, float]], rows: Iterable[int], *,
            slopes: bool = False) -> list[dict[str, Run]]:  # fmt: skip
        """Return, per point (the problem's parameters by name), the run of each experiment that `rows` measure.

        Everything not yet known is simulated in one call per timetable. Runs with `slopes` are remembered apart: the
        derivatives take part in the choice of the step, and what is known must not depend on what was asked before.

        Raises
        ------
        KeyboardInterrupt
            If the simulation was stopped: some runs are then not there.
        """
        slopes = slopes and self.n_directions > 0
        memory = self._slope_runs if slopes else self._runs
        experiments = list(dict.fromkeys(self._experiment_of[row] for row in rows))
        keys: list[dict[str, tuple[Any, ...]]] = []
        missing: dict[tuple[float, ...], dict[tuple[Any, ...], tuple[Float, Float | None]]] = {}
        for values in points:
            keys.append({})
            for name in experiments:
                parameters = np.array([period.parameters(values, self._place) for period in self._periods[name]])
                weights = self._weights(name, values) if slopes else None
                starts = self._timetable[name]
                key = (starts, parameters.tobytes(), b"" if weights is None else weights.tobytes())
                keys[-1][name] = key
                if key not in memory:
                    missing.setdefault(starts, {})[key] = parameters, weights
        for starts, wanted in missing.items():
            memory |= self._simulate(starts, wanted)
        outcome = [{name: memory[key] for name, key in of.items()} for of in keys]
        most = max(REMEMBERED_RUNS // 10, 2 * len(self.names)) if slopes else REMEMBERED_RUNS
        while len(memory) > most:
            memory.popitem(last=False)
        return outcome

    def _weights(self, experiment: str, values: Mapping[str, float]) -> Float:
        """Return the derivatives (n_periods, n_moved, n_directions) of the model's parameters, per relative change."""
        names, periods = self._names_of[experiment], self._periods[experiment]
        weights = np.zeros((len(periods), len(self._moved), self.n_directions))
        place = {index: i for i, index in enumerate(self._moved)}
        for k, period in enumerate(periods):
            for (index, name), slope in period.parameter_slopes(values, self._place, names).items():
                weights[k, place[index], self._direction[name]] = slope * _unit(values[name])
        return weights

    def _simulate(
        self, starts: tuple[float, ...], wanted: Mapping[tuple[Any, ...], tuple[Float, Float | None]]
    ) -> dict[tuple[Any, ...], Run]:
        """Return the runs of the parameters (n_periods, n_parameters) `wanted`, along directions where given."""
        stacked = np.array([parameters for parameters, _ in wanted.values()])
        unusable = ~np.isfinite(stacked).all(axis=(1, 2))
        keys, runs = list(wanted), dict[tuple[Any, ...], Run]()
        for i in np.flatnonzero(unusable):
            j = int(np.argmin(np.isfinite(stacked[i]).all(axis=0)))
            nothing = np.full((len(self._times[starts]), len(self.readouts)), np.nan)
            runs[keys[i]] = Run(nothing, f"parameter {self.compiled.parameters[j]} is not finite")
        kept = np.flatnonzero(~unusable)
        if not len(kept):
            return runs
        stacked = stacked[kept]
        last = stacked[:, -1]
        segments = []
        for k, (start, end) in enumerate(itertools.pairwise(starts)):
            changed = np.flatnonzero(np.any(stacked[:, k] != last, axis=0))
            segments.append(Segment(start, end, {self.compiled.parameters[j]: stacked[:, k, j] for j in changed}))
        conditions = Conditions(tuple(f"run {i}" for i in kept), last, tuple(segments))
        weights = [weights for _, weights in wanted.values() if weights is not None]
        directions: Directions | tuple[str, ...] = ()
        if weights:
            by_period = np.array(weights)[kept]
            directions = Directions(
                tuple(
                    " or ".join(name for name, j in self._direction.items() if j == i) for i in range(self.n_directions)
                ),
                tuple(self.compiled.parameters[j] for j in self._moved),
                by_period[:, -1],
                tuple(by_period[:, k] for k in range(len(starts) - 1)),
            )
        result = simulate(self.compiled, self._times[starts], conditions, observables=self.readouts,
                          sensitivities=directions, options=self.options, threads=self.threads)  # fmt: skip
        if np.any(np.isin(result.status, (Status.STOPPED, Status.PENDING))):
            raise KeyboardInterrupt
        self.n_calls += 1
        self.n_simulated += len(kept)
        for number, i in enumerate(kept):
            slopes = None if result.sensitivities is None else result.sensitivities[number]
            runs[keys[i]] = Run(result.values[number], "" if result.ok[number] else result.message(number), slopes)
        return runs

    def readouts_of(self, runs: Mapping[str, Run]) -> tuple[dict[str, Float], list[str]]:
        """Return readouts per measurement row, each (n_measurements,), and why each row has none (empty if it has).

        Rows of experiments that `runs` does not hold are NaN.
        """
        table = np.full((len(self._experiment_of), len(self.readouts)), np.nan)
        failures = [""] * len(self._experiment_of)
        for row, (experiment, time) in enumerate(zip(self._experiment_of, self._time_of, strict=True)):
            if experiment in runs:
                times = self._times[self._timetable[experiment]]
                table[row] = runs[experiment].values[int(np.searchsorted(times, time))]
                failures[row] = runs[experiment].failure
        return {name: table[:, j] for j, name in enumerate(self.readouts)}, failures

    def slopes_of(self, runs: Mapping[str, Run], values: Mapping[str, float], names: Sequence[str]) -> dict[str, Float]:
        """Return, per readout, its derivatives (n_measurements, n) to the parameters `names`, on the natural scale.

        `runs` are those of `run` with slopes at the parameters `values`. Rows of experiments that they do not hold, and
        of failed ones, are NaN where a derivative is not zero throughout.
        """
        place = {name: j for j, name in enumerate(names)}
        table = np.zeros((len(self.readouts), len(self._experiment_of), len(names)))
        for row, (experiment, time) in enumerate(zip(self._experiment_of, self._time_of, strict=True)):
            run = runs.get(experiment)
            i_time = int(np.searchsorted(self._times[self._timetable[experiment]], time))
            for name in self._names_of[experiment]:
                along = np.nan if run is None or run.slopes is None else run.slopes[i_time, :, self._direction[name]]
                table[:, row, place[name]] = along / _unit(values[name])
        return dict(zip(self.readouts, table, strict=True))


def _unit(value: float) -> float:
    """Return the change of a parameter that counts as one step of its direction: its size, 1 where it is zero."""
    return abs(value) or 1.0
