"""Parameter values of a problem in; simulated readouts at the time of every measurement out.

Each experiment is a list of periods, each with full parameters of the model: the model's nominal values, then what
the caller resolves from names (drugs, contexts), then numbers, then formulas of the problem's parameters. What a
period sets holds in the later periods too, unless they set it anew. A formula may name the model's own parameters:
they have the value that they would have without the formulas, so that `kd * shift` scales a resolved number. A
condition may also name a species of the network: its amount is set once, as the period starts, and changes freely.

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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.directions import Directions
from ..simulator.ensemble import simulate
from ..simulator.errors import InputError
from ..simulator.expressions import array_function, derivative, is_zero, names_in
from ..simulator.options import SolverOptions
from ..simulator.protocol import Conditions, Segment, check_free
from ..simulator.status import Status
from .observation import parsed
from .tables import Tables

if TYPE_CHECKING:
    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
Resolve = Callable[[Mapping[str, str]], Mapping[str, float]]
"""Names in a conditions table -> parameters of the model: `{"context": "baf3-itd-jmd", "midostaurin": "100"}` in."""

REMEMBERED_RUNS = 2_000
Timetable = tuple[tuple[float, ...], tuple[tuple[str, ...], ...]]
"""Start of each period, and the species that it sets."""
SET = -1
"""In the place of a parameter of the model: an amount that is set."""
Slope = tuple[int, str, Callable[[Any], list[Any]], frozenset[str]]
"""Place of a parameter, what its formula is differentiated by, the derivative, and the names in the formula."""

Amount = tuple[str, Callable[[Any], list[Any]], frozenset[str]]
"""A species, the function of a mapping by name that gives its amount, and the names it uses."""


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
    amounts: tuple[Amount, ...] = ()
    """Of the species that the period sets as it starts."""
    slopes_of_amounts: tuple[Slope, ...] = ()
    """The first item is a place in `amounts`."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the model or species -> what the conditions set it to, as written."""

    def parameters(self, values: Mapping[str, float], place: Mapping[str, int]) -> Float:
        """Return the parameters (n_parameters,) of the model under the problem's parameter `values`."""
        before = self._before(values, place)
        p = before.copy()
        for index, function, names in self.formulas:
            p[index] = _at(function, names, values, before, place)
        return p

    def set_amounts(self, values: Mapping[str, float], place: Mapping[str, int]) -> tuple[float, ...]:
        """Return the amounts that the species of `amounts` are set to."""
        before = self._before(values, place)
        return tuple(_at(function, names, values, before, place) for _, function, names in self.amounts)

    def acting(self, place: Mapping[str, int], names: Collection[str]) -> set[tuple[int, str]]:
        """Return (place of a parameter of the model, or `SET`, name) where the former depends on one of `names`."""
        direct = {(place[name], name) for name in names if name in place and name not in self.settled}
        direct |= {(SET, name) for _, name, *_ in self.slopes_of_amounts if name in names}
        return direct | {(index, name) for index, name, *_ in self.slopes if name in names}

    def parameter_slopes(
        self, values: Mapping[str, float], place: Mapping[str, int], names: Collection[str]
    ) -> dict[tuple[int, str], float]:
        """Return the derivative of each pair of `acting`: of a parameter of the model to a parameter of the problem."""
        slopes = {(place[name], name): 1.0 for name in names if name in place and name not in self.settled}
        before = self._before(values, place)
        for index, name, function, used in self.slopes:
            if name in names:
                slopes[index, name] = _at(function, used, values, before, place)
        return slopes

    def amount_slopes(
        self, values: Mapping[str, float], place: Mapping[str, int], names: Collection[str]
    ) -> dict[tuple[int, str], float]:
        """Return the derivatives of the amounts: (place in `amounts`, parameter of the problem) -> derivative."""
        before = self._before(values, place)
        return {
            (index, name): _at(function, used, values, before, place)
            for index, name, function, used in self.slopes_of_amounts
            if name in names
        }

    def _before(self, values: Mapping[str, float], place: Mapping[str, int]) -> Float:
        """Return the parameters without the formulas."""
        p = self.base.copy()
        for name, value in values.items():
            # what a condition sets takes precedence: such a parameter is a formula or a number
            if name in place and name not in self.settled:
                p[place[name]] = value
        return p


@dataclass(frozen=True)
class Course:
    """What one run is given, period by period: parameters (n_periods, n_parameters), amounts of species that are set.

    `weights` (n_periods, n_moved, n_directions) and `amount_weights`, per period (n_species, n_directions), are their
    derivatives, if asked for.
    """

    parameters: Float
    amounts: tuple[tuple[float, ...], ...]
    weights: Float | None = None
    amount_weights: tuple[Float, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for equal runs."""
        slopes = () if self.weights is None else (self.weights, *self.amount_weights)
        return self.parameters.tobytes(), self.amounts, *(weights.tobytes() for weights in slopes)


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
                *(
                    name
                    for *_, names in (*period.formulas, *period.amounts)
                    for name in names & self._problem_parameters
                ),
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
            amounts = {target: new.pop(target) for target in list(new) if target in self.compiled.species_index}
            settled = settled | new
            periods.append(self._period(tables, start, settled, amounts, resolve))
        return tuple(periods)

    @staticmethod
    def _read_condition(tables: Tables, condition: str, into: dict[str, tuple[int, str]]) -> None:
        """Add target -> (row, value) of one condition; two conditions of one period may not set the same target."""
        table = tables.conditions
        for row, name in table.cells("conditionId"):
            if name == condition:
                target = str(table.frame["targetId"][row])
                if target in into:
                    line = table.line(into[target][0])
                    told = f"{target!r} is set by line {line} too, in the same period of an experiment"
                    raise table.error(row, "targetId", told)
                into[target] = row, str(table.frame["targetValue"][row])

    def _period(
        self,
        tables: Tables,
        start: float,
        settled: dict[str, tuple[int, str]],
        amounts: dict[str, tuple[int, str]],
        resolve: Resolve | None,
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
                self.compiled.parameter_index(target)
            except InputError as error:  # what decides a volume
                raise table.error(row, "targetId", str(error)) from None
            try:
                base[self._place[target]] = float(text)
                continue
            except ValueError:
                tree = parsed(table, row, "targetValue", text)
            formulas.append((self._place[target], *self._formula(tables, row, tree)))
            slopes += self._formula_slopes(self._place[target], tree)
        own = frozenset({*resolved, *settled})
        texts = {target: text for target, (_, text) in (settled | amounts).items() if target not in named}
        return Period(start, base, tuple(formulas), own, tuple(slopes), *self._read_amounts(tables, amounts), texts)

    def _read_amounts(
        self, tables: Tables, amounts: Mapping[str, tuple[int, str]]
    ) -> tuple[tuple[Amount, ...], tuple[Slope, ...]]:
        read, slopes = list[Amount](), list[Slope]()
        for species, (row, text) in amounts.items():
            try:
                check_free(self.compiled, species)
            except InputError as error:
                raise tables.conditions.error(row, "targetId", str(error)) from None
            tree = parsed(tables.conditions, row, "targetValue", text)
            slopes += self._formula_slopes(len(read), tree)
            read.append((species, *self._formula(tables, row, tree)))
        return tuple(read), tuple(slopes)

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
        known = (*sorted(self._problem_parameters), *self.compiled.parameters)
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
            known = (*self.compiled.parameters, *self.compiled.species)
            raise table.unknown(row, "targetId", "parameter or species of the model", target, known)
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
            for period in self._periods[experiment]:
                if period.start == time > 0 and period.amounts:
                    told = f"is {time:g}, when {experiment!r} sets {period.amounts[0][0]}; measure just before or after"
                    raise tables.measurements.error(row, "time", told)
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
        self._moved = tuple(
            sorted({index for index, name in moved if name not in self.without_slopes and index != SET})
        )
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

    def periods(self, experiment: str) -> tuple[Period, ...]:
        """Return the periods of `experiment`."""
        return self._periods[experiment]

    def model_parameters(self, experiment: str, values: Mapping[str, float]) -> Float:
        """Return the model's parameters (n_parameters,) in the last period of `experiment`."""
        return self._periods[experiment][-1].parameters(values, self._place)

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
        missing: dict[Timetable, dict[tuple[Any, ...], Course]] = {}
        for values in points:
            keys.append({})
            for name in experiments:
                course = self._course(name, values, slopes=slopes)
                timetable = self._timetable[name], self._species_set(name)
                key = (*timetable, *course.key)
                keys[-1][name] = key
                if key not in memory:
                    missing.setdefault(timetable, {})[key] = course
        for timetable, wanted in missing.items():
            memory |= self._simulate(*timetable, wanted)
        outcome = [{name: memory[key] for name, key in of.items()} for of in keys]
        most = max(REMEMBERED_RUNS // 10, 2 * len(self.names)) if slopes else REMEMBERED_RUNS
        while len(memory) > most:
            memory.popitem(last=False)
        return outcome

    def _species_set(self, experiment: str) -> tuple[tuple[str, ...], ...]:
        """Return the species that each period of an experiment sets."""
        return tuple(tuple(name for name, *_ in period.amounts) for period in self._periods[experiment])

    def _course(self, experiment: str, values: Mapping[str, float], *, slopes: bool) -> Course:
        """Return what an experiment sets under the problem's parameters; slopes are per relative change of these."""
        periods = self._periods[experiment]
        parameters = np.array([period.parameters(values, self._place) for period in periods])
        amounts = tuple(period.set_amounts(values, self._place) for period in periods)
        if not slopes:
            return Course(parameters, amounts)
        names, n = self._names_of[experiment], self.n_directions
        weights = np.zeros((len(periods), len(self._moved), n))
        amount_weights = tuple(np.zeros((len(period.amounts), n)) for period in periods)
        place = {index: i for i, index in enumerate(self._moved)}
        for k, period in enumerate(periods):
            for (index, name), slope in period.parameter_slopes(values, self._place, names).items():
                weights[k, place[index], self._direction[name]] = slope * _unit(values[name])
            for (index, name), slope in period.amount_slopes(values, self._place, names).items():
                amount_weights[k][index, self._direction[name]] = slope * _unit(values[name])
        return Course(parameters, amounts, weights, amount_weights)

    def _simulate(
        self, starts: tuple[float, ...], species: tuple[tuple[str, ...], ...], wanted: Mapping[tuple[Any, ...], Course]
    ) -> dict[tuple[Any, ...], Run]:
        """Return runs whose periods have these `starts` and set these `species`, along directions where given."""
        stacked = np.array([course.parameters for course in wanted.values()])
        # per period (n_runs, n_species)
        amounts = [np.array(given) for given in zip(*(course.amounts for course in wanted.values()), strict=True)]
        numbers = np.concatenate([stacked.reshape(len(stacked), -1), *amounts], axis=1)
        names = [f"parameter {name}" for _ in starts for name in self.compiled.parameters]
        names += [f"the amount of {name}" for of in species for name in of]
        unusable = ~np.isfinite(numbers).all(axis=1)
        keys, runs = list(wanted), dict[tuple[Any, ...], Run]()
        for i in np.flatnonzero(unusable):
            j = int(np.argmin(np.isfinite(numbers[i])))
            nothing = np.full((len(self._times[starts]), len(self.readouts)), np.nan)
            runs[keys[i]] = Run(nothing, f"{names[j]} is not finite")
        kept = np.flatnonzero(~unusable)
        if not len(kept):
            return runs
        stacked = stacked[kept]
        last = stacked[:, -1]
        segments = []
        for k, (start, end) in enumerate(itertools.pairwise((*starts, math.inf))):
            changed = np.flatnonzero(np.any(stacked[:, k] != last, axis=0))
            given = {self.compiled.parameters[j]: stacked[:, k, j] for j in changed}
            given |= {name: amounts[k][kept, j] for j, name in enumerate(species[k])}
            if given or k < len(starts) - 1:  # the last period is the condition itself
                segments.append(Segment(start, end, given))
        conditions = Conditions(tuple(f"run {i}" for i in kept), last, tuple(segments))
        directions: Directions | tuple[str, ...] = ()
        courses = list(wanted.values())
        if all(course.weights is not None for course in courses):
            by_period = np.array([course.weights for course in courses])[kept]
            by_species = [np.array(of)[kept] for of in zip(*(c.amount_weights for c in courses), strict=True)]
            within = range(len(segments))
            directions = Directions(
                tuple(
                    " or ".join(name for name, j in self._direction.items() if j == i) for i in range(self.n_directions)
                ),
                tuple(self.compiled.parameters[j] for j in self._moved),
                by_period[:, -1],
                tuple(by_period[:, k] for k in within),
                tuple({name: by_species[k][:, j] for j, name in enumerate(species[k])} for k in within),
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


def _at(
    function: Callable[[Any], list[Any]],
    names: Collection[str],
    values: Mapping[str, float],
    before: Float,
    place: Mapping[str, int],
) -> float:
    """Return the value of a formula: of parameters of the problem, else of the model's own as they are `before`."""
    known = {name: np.float64(values[name] if name in values else before[place[name]]) for name in names}
    with np.errstate(all="ignore"):  # what is not finite fails as a run, with the name
        return float(np.asarray(function(known)[0]))


def _unit(value: float) -> float:
    """Return the change of a parameter that counts as one step of its direction: its size, 1 where it is zero."""
    return abs(value) or 1.0
