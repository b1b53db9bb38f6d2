"""Parameter values of a problem in; simulated readouts at the time of every measurement out.

Each experiment is a list of periods, each with full parameters of the model: the model's nominal values, then what
the caller resolves from names (drugs, contexts), then numbers, then formulas of the problem's parameters. What a
period sets holds in the later periods too, unless they set it anew. A formula may name the model's own parameters:
they have the value that they would have without the formulas, so that `kd * shift` scales a resolved number. A
condition may also name a species of the network: its amount is set once, as the period starts, and changes freely.

Runs that agree in all parameters are simulated once and remembered; so a parameter that only enters an observable
costs no simulation, and one that belongs to one cell line leaves the other line's runs alone.
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

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError
from ..simulator.expressions import array_function, names_in
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


@dataclass(frozen=True)
class Period:
    """One stretch of an experiment: parameters without the problem's parameters, and what these then set."""

    start: float
    base: Float
    formulas: tuple[tuple[int, Callable[[Any], list[Any]], frozenset[str]], ...]
    """Place of a parameter, function of a mapping by name, and the names it uses."""
    settled: frozenset[str]
    """Names of the model's parameters (and of what was resolved) that the conditions set."""
    amounts: tuple[tuple[str, Callable[[Any], list[Any]], frozenset[str]], ...] = ()
    """Species that the period sets as it starts, function of a mapping by name, and the names it uses."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Parameter of the model or species -> what the conditions set it to, as written."""

    def parameters(self, values: Mapping[str, float], place: Mapping[str, int]) -> Float:
        """Return the parameters (n_parameters,) of the model under the problem's parameter `values`."""
        p = self.base.copy()
        for name, value in values.items():
            # what a condition sets takes precedence: such a parameter is a formula or a number below
            if name in place and name not in self.settled:
                p[place[name]] = value
        before = p.copy()
        with np.errstate(all="ignore"):  # what is not finite fails as a run, with the parameter's name
            for index, function, names in self.formulas:
                known = {name: np.float64(values[name] if name in values else before[place[name]]) for name in names}
                p[index] = float(np.asarray(function(known)[0]))
        return p

    def set_amounts(
        self, values: Mapping[str, float], parameters: Float, place: Mapping[str, int]
    ) -> tuple[float, ...]:
        """Return the amounts that the species of `amounts` are set to, under these `parameters` of the model."""
        if not self.amounts:
            return ()
        known = {name: np.float64(parameters[i]) for name, i in place.items()}
        known |= {name: np.float64(value) for name, value in values.items()}
        with np.errstate(all="ignore"):
            return tuple(float(np.asarray(function(known)[0])) for _, function, _ in self.amounts)


@dataclass(frozen=True)
class Run:
    """What one simulated experiment gave: readouts (n_times, n_readouts), and why it failed (empty if it did not)."""

    values: Float
    failure: str


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
        self._runs: OrderedDict[tuple[Any, ...], Run] = OrderedDict()
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
                    raise table.error(
                        row,
                        "targetId",
                        f"{target!r} is set by line {into[target][0] + 2} too, in the same period of an experiment",
                    )
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
        formulas = []
        for target, (row, text) in settled.items():
            if target in named:
                continue
            try:
                base[self._place[target]] = float(text)
                continue
            except ValueError:
                tree = parsed(table, row, "targetValue", text)
            formulas.append((self._place[target], *self._formula(tables, row, tree)))
        own = frozenset({*resolved, *settled})
        texts = {target: text for target, (_, text) in (settled | amounts).items() if target not in named}
        return Period(start, base, tuple(formulas), own, self._read_amounts(tables, amounts), texts)

    def _read_amounts(
        self, tables: Tables, amounts: Mapping[str, tuple[int, str]]
    ) -> tuple[tuple[str, Callable[[Any], list[Any]], frozenset[str]], ...]:
        read = []
        for species, (row, text) in amounts.items():
            try:
                check_free(self.compiled, species)
            except InputError as error:
                raise tables.conditions.error(row, "targetId", str(error)) from None
            tree = parsed(tables.conditions, row, "targetValue", text)
            read.append((species, *self._formula(tables, row, tree)))
        return tuple(read)

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

    # ---- parameters to readouts ---------------------------------------------------------------------------------

    def model_parameters(self, experiment: str, values: Mapping[str, float]) -> Float:
        """Return the model's parameters (n_parameters,) in the last period of `experiment`."""
        return self._periods[experiment][-1].parameters(values, self._place)

    def run(self, points: Sequence[Mapping[str, float]], rows: Iterable[int]) -> list[dict[str, Run]]:
        """Return, per point (the problem's parameters by name), the run of each experiment that `rows` measure.

        Everything not yet known is simulated in one call per timetable.

        Raises
        ------
        KeyboardInterrupt
            If the simulation was stopped: some runs are then not there.
        """
        experiments = list(dict.fromkeys(self._experiment_of[row] for row in rows))
        keys: list[dict[str, tuple[Any, ...]]] = []
        missing: dict[tuple[Any, ...], dict[tuple[Any, ...], tuple[list[Float], list[tuple[float, ...]]]]] = {}
        for values in points:
            keys.append({})
            for name in experiments:
                periods = [period.parameters(values, self._place) for period in self._periods[name]]
                amounts = [
                    period.set_amounts(values, p, self._place)
                    for period, p in zip(self._periods[name], periods, strict=True)
                ]
                starts, species = self._timetable[name], self._species_set(name)
                key = (starts, species, *(p.tobytes() for p in periods), *amounts)
                keys[-1][name] = key
                if key not in self._runs:
                    missing.setdefault((starts, species), {})[key] = periods, amounts
        for (starts, species), wanted in missing.items():
            self._simulate(starts, species, wanted)
        outcome = [{name: self._runs[key] for name, key in of.items()} for of in keys]
        while len(self._runs) > REMEMBERED_RUNS:
            self._runs.popitem(last=False)
        return outcome

    def _species_set(self, experiment: str) -> tuple[tuple[str, ...], ...]:
        """Return the species that each period of an experiment sets."""
        return tuple(tuple(name for name, *_ in period.amounts) for period in self._periods[experiment])

    def _simulate(
        self,
        starts: tuple[float, ...],
        species: tuple[tuple[str, ...], ...],
        wanted: Mapping[tuple[Any, ...], tuple[list[Float], list[tuple[float, ...]]]],
    ) -> None:
        """Simulate runs whose periods have these `starts` and set these `species`: parameters, amounts per period."""
        stacked = np.array([periods for periods, _ in wanted.values()])  # (n_runs, n_periods, n_parameters)
        # per period (n_runs, n_species)
        amounts = [np.array(given) for given in zip(*(given for _, given in wanted.values()), strict=True)]
        numbers = np.concatenate([stacked.reshape(len(stacked), -1), *amounts], axis=1)
        names = [f"parameter {name}" for _ in starts for name in self.compiled.parameters]
        names += [f"the amount of {name}" for of in species for name in of]
        unusable = ~np.isfinite(numbers).all(axis=1)
        keys = list(wanted)
        for i in np.flatnonzero(unusable):
            j = int(np.argmin(np.isfinite(numbers[i])))
            nothing = np.full((len(self._times[starts]), len(self.readouts)), np.nan)
            self._runs[keys[i]] = Run(nothing, f"{names[j]} is not finite")
        kept = np.flatnonzero(~unusable)
        if not len(kept):
            return
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
        result = simulate(self.compiled, self._times[starts], conditions, observables=self.readouts,
                          options=self.options, threads=self.threads)  # fmt: skip
        if np.any(np.isin(result.status, (Status.STOPPED, Status.PENDING))):
            raise KeyboardInterrupt
        self.n_calls += 1
        self.n_simulated += len(kept)
        for number, i in enumerate(kept):
            self._runs[keys[i]] = Run(result.values[number], "" if result.ok[number] else result.message(number))

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
