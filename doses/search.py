"""A drug and what shall be left in; the smallest dose that does it in a stated share of an ensemble, by runs, out.

The dose of one member is that from which on, up to the highest dose searched, less than the fraction asked for is left.
It is found on a coarse grid and then, twice, on a nine times finer one between the neighbours, so that it is a dose
which was run and stands at most 1 % above one at which too much is left. The dose of an ensemble is the smallest one
that is enough for a share of its members; all of them are then run once more at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from ..simulator.plots import duration
from ..simulator.protocol import Conditions, Segment, checked_times
from ..simulator.quantiles import weighted_quantiles
from .dosing import Dosing
from .runs import Overrides, Schedule, cells_of, noise_of, run_cells, schedule_of
from .synergy import loewe_excess
from .weighted import checked_weights

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
PER_DECADE, FINER, ROUNDS = 3, 9, 2
"""Doses of the coarse grid per decade; how much finer each round is."""
DECADES = 5
"""The lowest dose searched is so many decades below the highest."""
LOW, HIGH = 0.05, 0.95


@dataclass(frozen=True)
class DoseSearch:
    """The doses that `find_dose` found.

    Attributes
    ----------
    table
        One row per context and time. `dose`: the smallest that is enough with the probability asked for, 0 if none is
        needed, infinite if the highest is not enough; `low`, `high`: 5 % and 95 % quantile of the members' own doses;
        `share`: of the members, by weight, in which it was enough when all were run at it (at the highest dose if
        none is); `left`, `left_low`, `left_high`: median, 5 % and 95 % quantile of what is left there; `rebound`: share
        of the members in which enough was enough at some dose, and then too much was left at a higher one; `failed`:
        members of which a run failed, which count as not reached. With other drugs beside: `bliss`, `loewe` (beside one
        only) and `hsa`, the excess of effect at the dose over these null models (`doses.synergy`) for the drug and the
        others together, with `_low` and `_high`; positive where the combination leaves less than expected.
    members : DataArray (member, context, time)
        Dose of each member; infinite if the highest is not enough, NaN where a run failed.
    """

    table: pd.DataFrame
    members: xr.DataArray
    drug: str
    unit: str
    given: Mapping[str, float]
    readout: str
    fraction: float
    probability: float
    lowest: float
    highest: float
    unit_time: str = ""
    note: str = ""
    """What to keep in mind with the excess."""

    def __str__(self) -> str:
        beside = "".join(f" with {drug} {dose:g} {self.unit}" for drug, dose in self.given.items() if dose > 0)
        asked = f"{self.readout} below {self.fraction:.0%} of untreated with probability {self.probability:g}"
        note = [f"note: {self.note}"] if self.note else []
        return "\n".join([f"{self.drug}{beside}: {asked}", *map(self.words, range(len(self.table))), *note])

    def words(self, row: int) -> str:
        """Return what was found for one row of the table, in a line."""
        found = self.table.iloc[row]
        place = f"{found.context}, {duration(found.time, self.unit_time)}: "
        dose, low, high = (self.dose_words(found[name]) for name in ("dose", "low", "high"))
        if math.isinf(found.dose):
            text = f"not reached up to {self.highest:.3g} {self.unit}, where it holds in {found.share:.0%} of members"
        elif found.dose == 0:
            text = "no dose needed"
        else:
            text = f"{self.drug} {dose} {self.unit}"
        if len(self.members["member"]) > 1:
            text += f" (members, 5-95 %: {low} to {high} {self.unit})"
        if found.rebound > 0:
            text += f"; more is left again at higher doses in {found.rebound:.0%} of members"
        if "bliss" in found and math.isfinite(found.dose):
            models = {"bliss": "Bliss", "loewe": "Loewe", "hsa": "the better one alone"}
            told = [f"{words} {self._excess(found, name)}" for name, words in models.items() if name in found]
            text += f"; excess over {', over '.join(told)}"
        if reach := found.get("reach", ""):
            free = f" (highest free concentration in patients {found.clinical_free:.3g} {self.unit})"
            text += f"; {reach}{free if math.isfinite(found.clinical_free) else ''}"
        if (normal := found.get("normal", "")) and math.isfinite(found.dose):
            text += f"; {found.normal_left:.0%} left in {normal}"
            if len(self.members["member"]) > 1:
                text += f" [{found.normal_low:.0%}, {found.normal_high:.0%}]"
        return place + text + (f"; {found.failed:g} members failed" if found.failed else "")

    def _excess(self, found: pd.Series[Any], model: str) -> str:
        middle, low, high = (found[f"{model}{end}"] for end in ("", "_low", "_high"))
        if math.isnan(middle):
            return "not known"
        return f"{middle:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if len(self.members["member"]) > 1 else "")

    def dose_words(self, dose: float) -> str:
        """Return a dose in words: where it lies at an end of the range searched, which end."""
        if math.isinf(dose):
            return f"above {self.highest:.3g}"
        return f"at most {dose:.3g}" if dose == self.lowest else f"{dose:.3g}"


def find_dose(
    compiled: CompiledModel,
    drug: str,
    contexts: Mapping[str, Mapping[str, float]],
    until: tuple[str, float],
    times: npt.ArrayLike,
    *,
    highest: float,
    lowest: float | None = None,
    given: Mapping[str, float] | None = None,
    parameters: Mapping[str, str] | None = None,
    probability: float = 0.9,
    null_models: bool = True,
    members: Sequence[Mapping[str, float]] | None = None,
    weights: npt.ArrayLike | None = None,
    overrides: Overrides | None = None,
    dosing: Mapping[str, Dosing] | None = None,
    protocol: Sequence[Segment] = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> DoseSearch:
    """Return, per context and time, the smallest dose of a drug after which less than a fraction of a readout is left.

    Parameters
    ----------
    drug, highest, lowest
        The drug, and the doses between which it is searched; the lowest is five decades below the highest if None.
    until
        Readout and fraction of the untreated control in the same context: `("pERK", 0.1)`.
    given
        Other drug -> dose that is there beside it.
    parameters
        Drug -> parameter that holds its dose; the drug's own name if it is not there.
    probability
        Share of the members, by weight, for which the dose must be enough.
    null_models
        Whether to tell the excess over null models at the dose, which takes about as many runs again.
    contexts, times, members, weights, overrides, dosing, protocol, options, threads, progress
        As in `dose_matrix`.

    Raises
    ------
    InputError
        For wrong names, doses, fractions or times, before any run starts; if the search was stopped.
    """
    import pandas as pd
    import xarray as xr

    readout, fraction = _checked_until(compiled, until)
    lowest = highest * 10.0**-DECADES if lowest is None else lowest
    beside = dict(given or {})
    _check(drug, beside, lowest, highest, probability)
    t = checked_times(times)
    parameter_sets = [{}] if members is None else list(members)
    held = {name: (parameters or {}).get(name, name) for name in (drug, *beside)}
    cells = cells_of(compiled, contexts, parameter_sets, overrides)
    weight = checked_weights(weights, len(parameter_sets))
    schedule = schedule_of(compiled, held, cells, float(t[-1]), tuple(protocol), dosing)
    others = np.array([*beside.values()])
    search = _Search(compiled, cells, held, others, t, readout, schedule, options, threads, progress)
    n_doses = 1 + max(2, math.ceil(PER_DECADE * math.log10(highest / lowest)))
    grid = np.array([0.0, *np.geomspace(lowest, highest, n_doses)])
    own, rebound, failed = search.doses(grid, fraction)

    shape = (len(weight), len(contexts), len(t))
    own, rebound, failed = own.reshape(shape), rebound.reshape(shape), failed.reshape(shape)
    ranked = np.where(failed, np.inf, own)
    dose = weighted_quantiles(ranked, weight, probability)[0][0]
    ends = weighted_quantiles(ranked, weight, (LOW, HIGH))[0]
    tried = np.where(np.isinf(dose), highest, dose)
    left = np.diagonal(search.left(np.tile(tried, (len(weight), 1))), axis1=1, axis2=2).reshape(shape)
    enough = np.where(np.isnan(left), False, left < fraction)
    told = {"left": left, **(search.excess(tried, left, grid) if null_models and np.any(others) else {})}
    bands = {name: weighted_quantiles(numbers, weight, (0.5, LOW, HIGH))[0] for name, numbers in told.items()}
    rows = [
        {
            "context": context, "time": float(time), "dose": dose[c, i], "low": ends[0][c, i], "high": ends[1][c, i],
            "share": float(weight @ enough[:, c, i]), "rebound": float(weight @ rebound[:, c, i]),
            "failed": int(np.count_nonzero(failed[:, c, i] | np.isnan(left[:, c, i]))),
            **{
                f"{name}{end}": numbers[q, c, i]
                for name, numbers in bands.items()
                for q, end in enumerate(("", "_low", "_high"))
            },
        }
        for c, context in enumerate(contexts)
        for i, time in enumerate(t)
    ]  # fmt: skip
    of_members = xr.DataArray(
        np.where(failed, np.nan, own), dims=("member", "context", "time"), name="dose",
        coords={"member": np.arange(len(weight)), "weight": ("member", weight), "context": list(contexts), "time": t},
    )  # fmt: skip
    return DoseSearch(pd.DataFrame(rows), of_members, drug, compiled.units["amount"], beside, readout, fraction,
                      probability, lowest, highest, compiled.units["time"])  # fmt: skip


@dataclass(frozen=True)
class _Search:
    """Cells, and the doses of one drug beside others that are fixed, to be run."""

    compiled: CompiledModel
    cells: Conditions
    drugs: Mapping[str, str]
    beside: Float
    times: Float
    readout: str
    schedule: Schedule
    options: SolverOptions | None
    threads: int | None
    progress: bool

    def left(self, doses: Float, among: npt.NDArray[np.intp] | None = None, *, alone: bool = False) -> Float:
        """Return what is left of the readout at doses (n_cells, n_doses), beside the others or alone, also over times.

        Shape (n_cells, n_doses, n_times).
        """
        cells = self.cells
        if among is not None:
            cells = Conditions(tuple(cells.names[i] for i in among), cells.parameters[among])
        others = np.broadcast_to(0.0 * self.beside if alone else self.beside, (*doses.shape, len(self.beside)))
        return self._at(np.concatenate([doses[:, :, None], others], axis=2), cells)

    def _at(self, points: Float, cells: Conditions) -> Float:
        return _left(self.compiled, cells, self.drugs, points, self.times, self.readout, self.schedule, self.options,
                     self.threads, self.progress)  # fmt: skip

    def excess(self, tried: Float, left: Float, grid: Float) -> dict[str, Float]:
        """Return the excess of effect over null models at the doses tried (n_contexts, n_times), shaped as `left`.

        That is (n_members, n_contexts, n_times). The drug alone is compared with all others together; Loewe's model
        with one other, each alone at many doses: the drug at those of `grid`, the other within two decades of its own.
        """
        shape = left.shape
        doses = np.tile(tried, (shape[0], 1))
        alone = np.diagonal(self.left(doses, alone=True), axis1=1, axis2=2).reshape(shape)
        others = self.left(np.zeros((len(self.cells), 1)))[:, 0].reshape(shape)
        found = {"bliss": alone * others - left}
        if np.count_nonzero(self.beside) == 1:
            found["loewe"] = self._loewe(tried, left, alone, grid[1:])
        return found | {"hsa": np.minimum(alone, others) - left}

    def _loewe(self, tried: Float, left: Float, alone: Float, grid: Float) -> Float:
        shape, other = left.shape, int(np.flatnonzero(self.beside)[0])
        ladder = self.beside[other] * 10.0 ** (np.arange(-2 * PER_DECADE, 2 * PER_DECADE + 1) / PER_DECADE)
        points = np.zeros((len(self.cells), len(ladder), len(self.drugs)))
        points[:, :, 1 + other] = ladder
        of_other = self._at(points, self.cells).reshape(*shape[:2], -1, shape[2])
        of_drug = self.left(np.tile(grid, (len(self.cells), 1)), alone=True).reshape(*shape[:2], -1, shape[2])
        found = np.full(shape, np.nan)
        for c, i in np.argwhere(tried > 0):
            at = int(np.searchsorted(grid, tried[c, i]))
            there = at < len(grid) and grid[at] == tried[c, i]
            doses, numbers = grid, of_drug[:, c, :, i]
            if not there:
                doses, numbers = np.insert(grid, at, tried[c, i]), np.insert(numbers, at, alone[:, c, i], axis=1)
            effect = np.full((shape[0], 1 + len(doses), 1 + len(ladder)), np.nan)
            effect[:, 0, 0], effect[:, 1:, 0], effect[:, 0, 1:] = 0.0, 1 - numbers, 1 - of_other[:, c, :, i]
            place = 1 + at, 1 + 2 * PER_DECADE
            effect[:, *place] = 1 - left[:, c, i]
            found[:, c, i] = loewe_excess(effect, np.array([0.0, *doses]), np.array([0.0, *ladder]))[:, *place]
        return found

    def doses(self, grid: Float, fraction: float) -> tuple[Float, Flags, Flags]:
        """Return per cell and time (n_cells, n_times) the dose, whether more is left again above, and what failed."""
        doses = np.tile(grid, (len(self.cells), 1))
        left = self.left(doses)
        failed = np.asarray(np.isnan(left).any(axis=1))
        enough = left < fraction
        rebound = np.asarray((enough[:, :-1] & ~enough[:, 1:]).any(axis=1) & ~failed)
        found = np.empty(failed.shape)
        for i in range(len(self.times)):
            found[:, i], low = _first_enough(doses, enough[:, :, i])
            for _ in range(ROUNDS):
                among = np.flatnonzero(np.isfinite(found[:, i]) & (low > 0) & ~failed[:, i])
                if not len(among):
                    break
                finer = np.geomspace(low[among], found[among, i], FINER + 1, axis=1)
                inner = self.left(finer[:, 1:-1], among)[:, :, i]
                failed[among, i] = np.isnan(inner).any(axis=1)
                ends = np.ones(len(among), bool)
                better = np.column_stack([~ends, inner < fraction, ends])
                found[among, i], low[among] = _first_enough(finer, better)
        return found, rebound, failed


def left_at(
    compiled: CompiledModel,
    doses: Mapping[str, npt.ArrayLike],
    contexts: Mapping[str, Mapping[str, float]],
    readout: str,
    times: npt.ArrayLike,
    *,
    parameters: Mapping[str, str] | None = None,
    members: Sequence[Mapping[str, float]] | None = None,
    weights: npt.ArrayLike | None = None,
    overrides: Overrides | None = None,
    dosing: Mapping[str, Dosing] | None = None,
    protocol: Sequence[Segment] = (),
    options: SolverOptions | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> xr.DataArray:
    """Return what is left of a readout at each context's own doses, (member, context, time).

    `doses` maps a drug to its dose in each context, (n_contexts,), or one for all; other arguments and errors are those
    of `find_dose`.
    """
    import xarray as xr

    _checked_until(compiled, (readout, 1.0))
    t = checked_times(times)
    parameter_sets = [{}] if members is None else list(members)
    held = {name: (parameters or {}).get(name, name) for name in doses}
    cells = cells_of(compiled, contexts, parameter_sets, overrides)
    weight = checked_weights(weights, len(parameter_sets))
    points = np.stack([np.broadcast_to(np.asarray(each, float), len(contexts)) for each in doses.values()], axis=1)
    points = np.tile(points, (len(weight), 1))[:, None]
    schedule = schedule_of(compiled, held, cells, float(t[-1]), tuple(protocol), dosing)
    left = _left(compiled, cells, held, points, t, readout, schedule, options, threads, progress)
    return xr.DataArray(
        left.reshape(len(weight), len(contexts), len(t)), dims=("member", "context", "time"), name="residual",
        coords={"member": np.arange(len(weight)), "weight": ("member", weight), "context": list(contexts), "time": t},
    )  # fmt: skip


def _left(
    compiled: CompiledModel, cells: Conditions, drugs: Mapping[str, str], points: Float, times: Float, readout: str,
    schedule: Schedule, options: SolverOptions | None, threads: int | None, progress: bool,
) -> Float:  # fmt: skip
    """Return what is left of the readout at points (n_cells, n_points, n_drugs): (n_cells, n_points, n_times)."""
    points = np.concatenate([np.zeros_like(points[:, :1]), points], axis=1)  # the untreated control first
    runs = run_cells(compiled, cells, drugs, points, times, [readout], schedule, options=options, threads=threads,
                     progress=progress, label="dose search")  # fmt: skip
    if runs.n_pending:
        raise InputError(f"the search was stopped before it had an answer: {runs.failures}")
    values = runs.values[..., 0]
    control = values[:, :1]
    with np.errstate(all="ignore"):
        return np.where(control > noise_of(compiled, [readout], options), values[:, 1:] / control, np.nan)


def _first_enough(doses: Float, enough: Flags) -> tuple[Float, Float]:
    """Return, per row, the dose from which on all are enough, infinite if there is none, and the dose below it."""
    rows, n = np.arange(len(doses)), doses.shape[1]
    too_low = n - 1 - np.argmax(~enough[:, ::-1], axis=1)  # the highest dose that is not enough
    too_low = np.where(enough.all(axis=1), -1, too_low)
    found = np.where(too_low == n - 1, np.inf, doses[rows, np.minimum(too_low + 1, n - 1)])
    return found, np.where(too_low >= 0, doses[rows, np.maximum(too_low, 0)], 0.0)


def _checked_until(compiled: CompiledModel, until: tuple[str, float]) -> tuple[str, float]:
    try:
        readout, fraction = until[0], float(until[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError(f"until is {until!r}, expected a readout and a fraction, as ('pERK', 0.1)") from None
    if readout not in compiled.observables and readout not in compiled.species:
        raise unknown_name("readout", readout, compiled.observables)
    if not 0 < fraction < math.inf:
        raise InputError(f"the fraction of {readout} is {fraction:g}, expected a number above 0 (0.1 for a tenth)")
    return readout, fraction


def _check(drug: str, given: Mapping[str, float], lowest: float, highest: float, probability: float) -> None:
    if not 0 < lowest < highest < math.inf:
        raise InputError(
            f"{drug} cannot be searched from {lowest:g} to {highest:g}; give doses with 0 < lowest < highest"
        )
    if not 0 < probability <= 1:
        raise InputError(f"the probability is {probability:g}, expected a number above 0 and at most 1")
    for other, dose in given.items():
        if other.casefold() == drug.casefold():
            raise InputError(f"{drug} is searched and given at once; leave it out of `given`")
        if not (isinstance(dose, (int, float)) and 0 <= dose < math.inf):
            raise InputError(f"the dose of {other} is {dose!r}, expected a number that is not negative")


def cheapest_doses(
    compiled: CompiledModel,
    drugs: tuple[str, str],
    contexts: Mapping[str, Mapping[str, float]],
    until: tuple[str, float],
    times: npt.ArrayLike,
    *,
    cost: Mapping[str, float],
    highest: Mapping[str, float],
    n_doses: int = 9,
    **settings: Any,
) -> pd.DataFrame:
    """Return, per context and time, the doses of two drugs that are enough together and cost least.

    The second drug is searched by `find_dose` beside doses of the first: none, those that are enough alone, `n_doses`
    up to the highest, and as many once more around the best of these.

    Parameters
    ----------
    cost
        Drug -> what one unit of its dose costs; for example one over the concentration that patients reach.
    highest
        Drug -> highest dose.

    Returns
    -------
    DataFrame
        `context`, `time`, a column per drug, `cost` (infinite if no combination is enough), `share` of the members.

    Other arguments and errors as in `find_dose`.
    """
    import pandas as pd

    first, second = drugs
    if missing := [drug for drug in drugs if not (math.isfinite(cost.get(drug, math.nan)) and cost[drug] > 0)]:
        raise InputError(f"the cost of {missing[0]} must be a number above 0 per unit of its dose, given {dict(cost)}")
    if missing := [drug for drug in drugs if drug not in highest]:
        raise InputError(f"the highest dose of {missing[0]} is missing")

    def beside(doses: Float) -> pd.DataFrame:
        tables = []
        for dose in doses:
            found = find_dose(
                compiled, second, contexts, until, times, given={first: dose}, highest=highest[second],
                null_models=False, **settings,
            ).table  # fmt: skip
            tables.append(found[["context", "time", "share"]].assign(**{first: dose, second: found["dose"]}))
        table = pd.concat(tables, ignore_index=True)
        return table.assign(cost=cost[first] * table[first] + cost[second] * table[second])

    def best(table: pd.DataFrame) -> pd.DataFrame:
        order = table.sort_values(["cost", first], kind="stable")
        return order.groupby(["context", "time"], sort=False, as_index=False).first()

    alone = find_dose(compiled, first, contexts, until, times, highest=highest[first], **settings).table["dose"]
    grid = np.geomspace(highest[first] / 1e3, highest[first], n_doses)
    grid = np.array(sorted({0.0, *grid, *alone[np.isfinite(alone)]}))
    rough = beside(grid)
    near: set[float] = set()
    for dose in best(rough)[first]:
        i = int(np.searchsorted(grid, dose))
        low, high = grid[max(i - 1, 1)], grid[min(i + 1, len(grid) - 1)]
        near |= set(np.geomspace(low, high, n_doses)) - set(grid)
    found = best(pd.concat([rough, beside(np.array(sorted(near)))], ignore_index=True))
    keys = pd.DataFrame([(c, float(t)) for c in contexts for t in checked_times(times)], columns=["context", "time"])
    return keys.merge(found, on=["context", "time"])[["context", "time", first, second, "cost", "share"]]
