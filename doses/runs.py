"""Cells and doses in; what one run of each gives, made in blocks of bounded memory, out.

A cell is one member of an ensemble in one context: a row of parameter values without drugs.
"""

from __future__ import annotations

import math
import time as wall
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.memory import require_memory
from ..simulator.options import SolverOptions, absolute_tolerances
from ..simulator.progress import progress_bar
from ..simulator.protocol import Conditions, Segment
from ..simulator.result import count_in_words
from ..simulator.status import Status
from .dosing import Dosing, dosing_segments

if TYPE_CHECKING:
    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
Schedule = Callable[[Float], Sequence[Segment]]
"""Doses (n_runs, n_drugs) -> the segments of these runs."""
Overrides = Callable[[Mapping[str, float], str], Mapping[str, float]]
"""A member and the name of a context -> parameter values of the model."""
BLOCK = 8192
"""Runs whose parameters are held in memory at once; results do not depend on it."""


@dataclass(frozen=True)
class Runs:
    """What the runs of `run_cells` gave; NaN with a code of `Status` where one did not finish or was not done."""

    values: Float
    """(n_cells, n_points, n_times, n_readouts)"""
    status: npt.NDArray[np.int64]
    """(n_cells, n_points)"""
    failures: str
    seconds: float
    attributes: Mapping[str, Any]
    """Model, versions and settings of the solver."""

    @property
    def n_pending(self) -> int:
        """Runs that were not done."""
        return int(np.count_nonzero(np.isin(self.status, (Status.STOPPED, Status.PENDING))))

    @property
    def n_failed(self) -> int:
        """Runs that were done and failed."""
        return int(np.count_nonzero(self.status != Status.OK)) - self.n_pending


def cells_of(
    compiled: CompiledModel, contexts: Mapping[str, Mapping[str, float]], members: Sequence[Mapping[str, float]],
    overrides: Overrides | None = None,
) -> Conditions:  # fmt: skip
    """Return the cells, member by member: the parameters of each member under those of the context.

    With `overrides`, a member is not made of parameters of the model: what they make of it is laid over the context.
    """
    if not members:
        raise InputError("members is empty; pass None for the nominal parameters")
    rows = {}
    for m, member in enumerate(members):
        for context, values in contexts.items():
            laid = {**member, **values} if overrides is None else {**values, **overrides(member, context)}
            rows[f"member {m}, {context}"] = laid
    return Conditions.from_rows(compiled, rows)


def schedule_of(
    compiled: CompiledModel, drugs: Mapping[str, str], cells: Conditions, until: float,
    protocol: Sequence[Segment] = (), dosing: Mapping[str, Dosing] | None = None,
) -> Schedule:  # fmt: skip
    """Return what doses mean in time: `protocol`, or steady state without drugs and then, up to `until`, the drugs.

    From time 0 on they are there at their doses, or as their `dosing` says.

    Raises InputError where equilibration would lose a dose, and if both `protocol` and `dosing` are given.
    """
    given = dict(dosing or {})
    for drug in given:
        if drug not in drugs:
            raise unknown_name("drug of the dosing", drug, drugs)
    if protocol:
        if given:
            raise InputError("protocol and dosing were both given; a protocol has to say itself when drugs are there")
        return lambda _: protocol
    _check_that_doses_act(compiled, drugs, cells)
    if given:
        timed = {drug: (parameter, given.get(drug, Dosing.constant())) for drug, parameter in drugs.items()}
        return lambda doses: dosing_segments(timed, doses, until)
    before = (Segment(-math.inf, 0.0, dict.fromkeys(drugs.values(), 0.0)),)
    return lambda _: before


def noise_of(compiled: CompiledModel, readouts: Sequence[str], options: SolverOptions | None) -> Float:
    """Return, per readout, the amount below which a control is noise: the absolute tolerance of what it sums up.

    Named expressions have no such amount: there, any control above zero counts.
    """
    of_species = absolute_tolerances(compiled, options or SolverOptions())
    groups: dict[str, Sequence[tuple[int, float]]] = {name: [(i, 1.0)] for i, name in enumerate(compiled.species)}
    groups |= compiled.network.observables
    return np.array([sum(abs(w) * of_species[i] for i, w in groups.get(name, ())) for name in readouts], float)


def run_cells(
    compiled: CompiledModel, cells: Conditions, drugs: Mapping[str, str], points: Float, times: Float,
    readouts: Sequence[str], schedule: Schedule, *, options: SolverOptions | None = None, threads: int | None = None,
    progress: bool = False, label: str = "dose matrix",
) -> Runs:  # fmt: skip
    """Run every cell at every point.

    Parameters
    ----------
    drugs
        Name of each drug -> the parameter that holds its dose.
    points : (n_points, n_drugs) or (n_cells, n_points, n_drugs)
        Doses, the same for all cells or each cell's own.
    schedule
        What the doses mean in time.

    Other arguments as in `simulate`. After Ctrl-C the runs not yet done are PENDING.
    """
    require_memory(
        16.0 * len(cells) * points.shape[-2] * len(times) * len(readouts),
        f"{len(cells) * points.shape[-2]:,} runs x {len(times):,} times x {len(readouts):,} readouts",
        "ask for fewer doses, members or times",
    )
    points = np.broadcast_to(points, (len(cells), *points.shape[-2:]))
    n_points = points.shape[1]
    columns = [compiled.parameter_index(parameter) for parameter in drugs.values()]
    values = np.full((len(cells), n_points, len(times), len(readouts)), np.nan)
    status = np.full((len(cells), n_points), int(Status.PENDING), np.int64)
    attributes: Mapping[str, Any] = {}
    message, began = "", wall.monotonic()
    at_once = max(BLOCK // max(n_points, 1), 1)
    with progress_bar(status.size, label, shown=progress) as advance:
        for start in range(0, len(cells), at_once):
            block, done = slice(start, start + at_once), start * n_points
            try:
                doses = points[block].reshape(-1, len(columns))
                parameters = np.repeat(cells.parameters[block], n_points, axis=0)
                parameters[:, columns] = doses
                names = [
                    f"{cell}, {_words(drugs, point)}"
                    for cell, own in zip(cells.names[block], points[block], strict=True)
                    for point in own
                ]
                conditions = Conditions(tuple(names), parameters, tuple(schedule(doses)))
                result = simulate(compiled, times, conditions, observables=readouts, options=options, threads=threads,
                                  progress=partial(_further, advance, done))  # fmt: skip
            except KeyboardInterrupt:
                if not attributes:
                    raise
                break
            values[block] = result.values.reshape(-1, *values.shape[1:])
            status[block] = result.status.reshape(-1, n_points)
            attributes = result.attributes
            failed = np.flatnonzero(~result.ok)
            if len(failed) and not message:
                message = f"{names[failed[0]]}: {result.message(int(failed[0]))}"
            if result.interrupted:
                break
    failures = count_in_words(status.ravel(), lambda _: message)
    return Runs(values, status, failures, wall.monotonic() - began, attributes)


def _check_that_doses_act(compiled: CompiledModel, drugs: Mapping[str, str], untreated: Conditions) -> None:
    """Refuse a dose that acts through an initial amount alone: equilibration without drugs would lose it."""
    fixed = np.array(compiled.network.fixed)

    def acting(parameters: Float) -> Float:
        values = compiled.values(parameters)
        rates = compiled.rate_constants(values)
        return np.hstack([rates, compiled.function_values(values), compiled.initial_amounts(parameters)[:, fixed]])

    base = untreated.parameters[:1]
    for label, parameter in drugs.items():
        dosed = base.copy()
        dosed[:, compiled.parameter_index(parameter)] = 1.0
        moved = not np.array_equal(acting(dosed), acting(base), equal_nan=True)
        starts = not np.array_equal(compiled.initial_amounts(dosed), compiled.initial_amounts(base), equal_nan=True)
        if starts and not moved:
            raise InputError(
                f"the dose parameter {parameter!r} of {label!r} only sets an initial amount: cells are first "
                "equilibrated without drugs, and it would come too late to act. Make the drug a fixed species "
                "(Initial(..., fixed=True)) or let the parameter enter a rate; or start without equilibration: "
                "protocol=[Segment(0, float('inf'))]"
            )


def _further(advance: Callable[[int], None], before: int, done: int) -> None:
    advance(before + done)


def _words(drugs: Mapping[str, str], point: Float) -> str:
    given = ", ".join(f"{drug} {dose:g}" for drug, dose in zip(drugs, point, strict=True) if dose > 0)
    return given or "untreated"
