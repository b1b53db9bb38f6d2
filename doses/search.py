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
from typing import TYPE_CHECKING, Any, NamedTuple

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
NUMBER = (int, float, np.integer, np.floating)
REACH = {
    "reachable": "within what is free in patients ({})",
    "not reachable": "beyond what is free in patients ({})",
    "exposure unknown": "what is free in patients is unknown",
}
"""How a dose compares with the highest free concentration in patients, and that in words."""


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
        members of which a run failed; `silent`: members whose control gives no signal to be a fraction of. Both count
        as not reached; where it then depends on them whether a dose is found, `dose`, `low` or `high` is NaN. With
        other drugs beside: `bliss`, `loewe` (beside one only) and `hsa`, the excess of effect at the dose over these
        null models (`doses.synergy`) for the drug and the others together, with `_low` and `_high`; positive where the
        combination leaves less than expected.
    members : DataArray (member, context, time)
        Dose of each member; infinite if the highest is not enough, NaN where a run failed or the control is silent.
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
    failures: str = ""
    """How many runs failed where some first did, and why the first of them."""
    note: str = ""
    """What to keep in mind with the numbers."""

    def __str__(self) -> str:
        return "\n".join([self.question(), *map(self.words, range(len(self.table))), *self.remarks()])

    def question(self) -> str:
        """Return what was asked for, in a line."""
        beside = "".join(
            f" with {drug} {dose:g} {self.unit}" if dose else f" without {drug}" for drug, dose in self.given.items()
        )
        asked = f"{self.readout} below {100 * self.fraction:.3g}% of untreated with probability {self.probability:g}"
        return f"{self.drug}{beside}: {asked}"

    def remarks(self) -> list[str]:
        """Return, in a line each, why runs failed and what to keep in mind."""
        told = {"failed": self.failures, "note": self.note}
        return [f"{name}: {text}" for name, text in told.items() if text]

    def words(self, row: int) -> str:
        """Return what was found for one row of the table, in a line."""
        found, n = self.table.iloc[row], len(self.members["member"])
        place = f"{found.context}, {duration(found.time, self.unit_time)}: "
        dose, low, high = (self.dose_words(found[name]) for name in ("dose", "low", "high"))
        if math.isnan(found.dose):
            text = "not known"
        elif math.isinf(found.dose):
            there = f"{found.left:.0%} is left" if n == 1 else f"it holds in {found.share:.0%} of members"
            text = f"not reached up to {self.highest:.3g} {self.unit}, where {there}"
        elif found.dose == 0:
            text = "no dose needed"
        else:
            text = f"{self.drug} {dose} {self.unit}"
        if n > 1 and not math.isnan(found.dose):
            text += f" (members, 5-95 %: {low} to {high} {self.unit})"
        if found.rebound > 0:
            text += f"; more is left again at higher doses in {found.rebound:.0%} of members"
        if "bliss" in found and math.isfinite(found.dose):
            models = {"bliss": "Bliss", "loewe": "Loewe", "hsa": "the better one alone"}
            told = [f"{words} {self._excess(found, name)}" for name, words in models.items() if name in found]
            text += f"; excess over {', over '.join(told)}"
        if (reach := found.get("reach", "")) in REACH and found.dose != 0:
            text += f"; {REACH[reach].format(f'{found.clinical_free:.3g} {self.unit}')}"
        if (normal := found.get("normal", "")) and math.isfinite(found.dose):
            text += f"; {found.normal_left:.0%} left in {normal}"
            if n > 1:
                text += f" [{found.normal_low:.0%}, {found.normal_high:.0%}]"
        of = "" if n == 1 else f" in {{}} of {n} members"
        if found.failed:
            text += f"; runs failed{of.format(found.failed)}"
        if found.silent:
            text += f"; no signal in the control{of.format(found.silent)}"
        return place + text

    def _excess(self, found: pd.Series[Any], model: str) -> str:
        middle, low, high = (found[f"{model}{end}"] for end in ("", "_low", "_high"))
        if math.isnan(middle):
            return "not known"
        return f"{middle:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if len(self.members["member"]) > 1 else "")

    def dose_words(self, dose: float) -> str:
        """Return a dose in words: where it lies at an end of the range searched, which end; `?` if it is not known."""
        if math.isnan(dose):
            return "?"
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
        For wrong names, doses, fractions or times, before any run starts.
    KeyboardInterrupt
        If the search was stopped: there is no answer from a part of its runs.
    """
    import pandas as pd

    readout, fraction = _checked_until(until)
    beside = dict(given or {})
    _check(drug, beside, lowest, highest, probability)
    lowest = highest * 10.0**-DECADES if lowest is None else lowest
    search = _prepared(
        compiled, (drug, *beside), contexts, readout, times, beside=[*beside.values()], parameters=parameters,
        members=members, weights=weights, overrides=overrides, dosing=dosing, protocol=protocol, options=options,
        threads=threads, progress=progress,
    )  # fmt: skip
    t, weight, shape = search.times, search.weight, search.shape
    n_doses = 1 + max(2, math.ceil(PER_DECADE * math.log10(highest / lowest)))
    grid = np.array([0.0, *np.geomspace(lowest, highest, n_doses)])
    found = search.doses(grid, fraction)

    def of_members(q: float | Sequence[float]) -> Float:
        """Return quantiles of the members' doses, NaN where those without a number decide whether there is one."""
        most, least = (weighted_quantiles(np.where(found.lost, end, found.dose), weight, q)[0] for end in (np.inf, 0.0))
        return np.where(np.isinf(most) & np.isfinite(least), np.nan, most)

    dose, ends = of_members(probability)[0], of_members((LOW, HIGH))
    tried = np.where(np.isfinite(dose), dose, highest)
    at_it = search.left(np.tile(tried, (len(weight), 1)))
    left = np.diagonal(at_it.values, axis1=1, axis2=2).reshape(shape)
    enough = np.where(np.isnan(left), False, left < fraction)
    failed = (found.lost | np.isnan(left)) & ~found.silent
    told = {"left": left, **(search.excess(tried, left, grid) if null_models and any(beside.values()) else {})}
    bands = {name: weighted_quantiles(numbers, weight, (0.5, LOW, HIGH))[0] for name, numbers in told.items()}
    rows = [
        {
            "context": context, "time": float(time), "dose": dose[c, i], "low": ends[0][c, i], "high": ends[1][c, i],
            "share": float(weight @ enough[:, c, i]), "rebound": float(weight @ found.rebound[:, c, i]),
            "failed": int(np.count_nonzero(failed[:, c, i])), "silent": int(np.count_nonzero(found.silent[:, c, i])),
            **{
                f"{name}{end}": numbers[q, c, i]
                for name, numbers in bands.items()
                for q, end in enumerate(("", "_low", "_high"))
            },
        }
        for c, context in enumerate(contexts)
        for i, time in enumerate(t)
    ]  # fmt: skip
    own = search.labelled(np.where(found.lost, np.nan, found.dose), "dose")
    return DoseSearch(pd.DataFrame(rows), own, drug, compiled.units["amount"], beside, readout, fraction, probability,
                      lowest, highest, compiled.units["time"], found.failures or at_it.failures)  # fmt: skip


class _Left(NamedTuple):
    """What is left in runs."""

    values: Float
    """(n_cells, n_doses, n_times), NaN where a run failed or the control is silent."""
    silent: Flags
    """(n_cells, n_times), where the control finished and gave no signal to be a fraction of."""
    failures: str
    """How many runs failed and why the first did; empty if none."""


class _Found(NamedTuple):
    """The doses of members, shaped (n_members, n_contexts, n_times)."""

    dose: Float
    rebound: Flags
    """Where more is left again above."""
    lost: Flags
    """Where a number is missing, and with it the dose."""
    silent: Flags
    failures: str


@dataclass(frozen=True)
class _Search:
    """Cells, and the doses of one drug beside others that are fixed, to be run."""

    compiled: CompiledModel
    contexts: tuple[str, ...]
    cells: Conditions
    weight: Float
    drugs: Mapping[str, str]
    beside: Float
    times: Float
    readout: str
    schedule: Schedule
    options: SolverOptions | None
    threads: int | None
    progress: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.weight), len(self.contexts), len(self.times)

    def labelled(self, numbers: Float, name: str) -> xr.DataArray:
        import xarray as xr

        coords = {"member": np.arange(len(self.weight)), "weight": ("member", self.weight),
                  "context": list(self.contexts), "time": self.times}  # fmt: skip
        return xr.DataArray(numbers.reshape(self.shape), coords, ("member", "context", "time"), name)

    def left(self, doses: Float, among: npt.NDArray[np.intp] | None = None, *, alone: bool = False) -> _Left:
        """Return what is left of the readout at doses (n_cells, n_doses), beside the others or alone."""
        cells = self.cells
        if among is not None:
            cells = Conditions(tuple(cells.names[i] for i in among), cells.parameters[among])
        others = np.broadcast_to(0.0 * self.beside if alone else self.beside, (*doses.shape, len(self.beside)))
        return self.at(np.concatenate([doses[:, :, None], others], axis=2), cells)

    def at(self, points: Float, cells: Conditions | None = None) -> _Left:
        """Return what is left of the readout at points (n_cells, n_points, n_drugs)."""
        points = np.concatenate([np.zeros_like(points[:, :1]), points], axis=1)  # the untreated control first
        runs = run_cells(self.compiled, cells or self.cells, self.drugs, points, self.times, [self.readout],
                         self.schedule, options=self.options, threads=self.threads, progress=self.progress,
                         label="dose search")  # fmt: skip
        if runs.told["n_pending"]:
            raise KeyboardInterrupt
        values = runs.values[..., 0]
        control, noise = values[:, :1], noise_of(self.compiled, [self.readout], self.options)
        with np.errstate(all="ignore"):
            left = np.where(control > noise, values[:, 1:] / control, np.nan)
        return _Left(left, (control <= noise)[:, 0], runs.failures if runs.told["n_failed"] else "")

    def excess(self, tried: Float, left: Float, grid: Float) -> dict[str, Float]:
        """Return the excess of effect over null models at the doses tried (n_contexts, n_times), shaped as `left`.

        That is (n_members, n_contexts, n_times). The drug alone is compared with all others together; Loewe's model
        with one other, each alone at many doses: the drug at those of `grid`, the other within two decades of its own.
        """
        shape = left.shape
        doses = np.tile(tried, (shape[0], 1))
        alone = np.diagonal(self.left(doses, alone=True).values, axis1=1, axis2=2).reshape(shape)
        others = self.left(np.zeros((len(self.cells), 1))).values[:, 0].reshape(shape)
        found = {"bliss": alone * others - left}
        if np.count_nonzero(self.beside) == 1:
            found["loewe"] = self._loewe(tried, left, alone, grid[1:])
        return found | {"hsa": np.minimum(alone, others) - left}

    def _loewe(self, tried: Float, left: Float, alone: Float, grid: Float) -> Float:
        shape, other = left.shape, int(np.flatnonzero(self.beside)[0])
        ladder = self.beside[other] * 10.0 ** (np.arange(-2 * PER_DECADE, 2 * PER_DECADE + 1) / PER_DECADE)
        points = np.zeros((len(self.cells), len(ladder), len(self.drugs)))
        points[:, :, 1 + other] = ladder
        grids = np.tile(grid, (len(self.cells), 1))
        of_other = self.at(points).values.reshape(*shape[:2], -1, shape[2])
        of_drug = self.left(grids, alone=True).values.reshape(*shape[:2], -1, shape[2])
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

    def doses(self, grid: Float, fraction: float) -> _Found:
        """Return the dose of each member from which on less than a fraction is left."""
        doses = np.tile(grid, (len(self.cells), 1))
        left, silent, failures = self.left(doses)
        lost = np.asarray(np.isnan(left).any(axis=1))
        enough = left < fraction
        rebound = np.asarray((enough[:, :-1] & ~enough[:, 1:]).any(axis=1) & ~lost)
        found = np.empty(lost.shape)
        for i in range(len(self.times)):
            found[:, i], low = _first_enough(doses, enough[:, :, i])
            for _ in range(ROUNDS):
                among = np.flatnonzero(np.isfinite(found[:, i]) & (low > 0) & ~lost[:, i])
                if not len(among):
                    break
                finer = np.geomspace(low[among], found[among, i], FINER + 1, axis=1)
                between = self.left(finer[:, 1:-1], among)
                inner, failures = between.values[:, :, i], failures or between.failures
                lost[among, i] = np.isnan(inner).any(axis=1)
                ends = np.ones(len(among), bool)
                better = np.column_stack([~ends, inner < fraction, ends])
                found[among, i], low[among] = _first_enough(finer, better)
        return _Found(found.reshape(self.shape), rebound.reshape(self.shape), lost.reshape(self.shape),
                      silent.reshape(self.shape), failures)  # fmt: skip


def _prepared(
    compiled: CompiledModel, drugs: Sequence[str], contexts: Mapping[str, Mapping[str, float]], readout: str,
    times: npt.ArrayLike, *, beside: npt.ArrayLike = (), parameters: Mapping[str, str] | None = None,
    members: Sequence[Mapping[str, float]] | None = None, weights: npt.ArrayLike | None = None,
    overrides: Overrides | None = None, dosing: Mapping[str, Dosing] | None = None, protocol: Sequence[Segment] = (),
    options: SolverOptions | None = None, threads: int | None = None, progress: bool = False,
) -> _Search:  # fmt: skip
    """Return what is to be run, with all names, times and weights checked."""
    if readout not in compiled.observables and readout not in compiled.species:
        raise unknown_name("readout", readout, compiled.observables)
    t = checked_times(times)
    parameter_sets = [{}] if members is None else list(members)
    held = {name: (parameters or {}).get(name, name) for name in drugs}
    cells = cells_of(compiled, contexts, parameter_sets, held, overrides)
    weight = checked_weights(weights, len(parameter_sets))
    schedule = schedule_of(compiled, held, cells, float(t[-1]), tuple(protocol), dosing)
    return _Search(compiled, tuple(contexts), cells, weight, held, np.asarray(beside, float), t, readout, schedule,
                   options, threads, progress)  # fmt: skip


def left_at(
    compiled: CompiledModel, doses: Mapping[str, npt.ArrayLike], contexts: Mapping[str, Mapping[str, float]],
    readout: str, times: npt.ArrayLike, **settings: Any,
) -> xr.DataArray:  # fmt: skip
    """Return what is left of a readout at each context's own doses, (member, context, time).

    `doses` maps a drug to its dose in each context, (n_contexts,), or one for all; other arguments and errors are those
    of `find_dose`.
    """
    search = _prepared(compiled, tuple(doses), contexts, readout, times, **settings)
    points = np.stack([np.broadcast_to(np.asarray(each, float), len(contexts)) for each in doses.values()], axis=1)
    return search.labelled(search.at(np.tile(points, (len(search.weight), 1))[:, None]).values, "residual")


def _first_enough(doses: Float, enough: Flags) -> tuple[Float, Float]:
    """Return, per row, the dose from which on all are enough, infinite if there is none, and the dose below it."""
    rows, n = np.arange(len(doses)), doses.shape[1]
    too_low = n - 1 - np.argmax(~enough[:, ::-1], axis=1)  # the highest dose that is not enough
    too_low = np.where(enough.all(axis=1), -1, too_low)
    found = np.where(too_low == n - 1, np.inf, doses[rows, np.minimum(too_low + 1, n - 1)])
    return found, np.where(too_low >= 0, doses[rows, np.maximum(too_low, 0)], 0.0)


def _checked_until(until: tuple[str, float]) -> tuple[str, float]:
    try:
        readout, fraction = until[0], float(until[1])
    except (TypeError, ValueError, IndexError, KeyError):
        raise InputError(f"until is {until!r}, expected a readout and a fraction, as ('pERK', 0.1)") from None
    if not 0 < fraction < 1:
        raise InputError(
            f"the fraction of {readout} is {fraction:g}, expected a number above 0 and below 1 (0.1 for a tenth)"
        )
    return readout, fraction


def _check(
    drug: str, given: Mapping[str, float], lowest: float | None, highest: float, probability: float
) -> None:  # fmt: skip
    numbers = {"probability": probability, "highest dose": highest, "lowest dose": 0.0 if lowest is None else lowest}
    for name, value in numbers.items():
        if not isinstance(value, NUMBER):
            raise InputError(f"the {name} is {value!r}, expected a number")
    if not (0 < highest < math.inf and (lowest is None or 0 < lowest < highest)):
        start = "" if lowest is None else f"from {lowest:g} "
        raise InputError(f"{drug} cannot be searched {start}up to {highest:g}; give doses with 0 < lowest < highest")
    if not 0 < probability <= 1:
        raise InputError(f"the probability is {probability:g}, expected a number above 0 and at most 1")
    for other, dose in given.items():
        if other.casefold() == drug.casefold():
            raise InputError(f"{drug} is searched and given at once; leave it out of `given`")
        if not (isinstance(dose, NUMBER) and 0 <= dose < math.inf):
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
        `context`, `time`, a column per drug, `cost` (infinite if no combination is enough, NaN if runs
        failed and decide), `share` of the members.

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
        known = table["cost"].fillna(np.finfo(float).max)  # what is not known may be enough
        order = table.assign(rank=known).sort_values(["rank", first], kind="stable")
        return order.drop_duplicates(["context", "time"])

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
