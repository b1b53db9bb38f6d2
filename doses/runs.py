"""Cells and doses in; what one run of each gives, made in blocks of bounded memory, out.

A cell is one member of an ensemble in one context: a row of parameter values without drugs.
"""

from __future__ import annotations

import math
import os
import time as wall
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError, unknown_name
from ..simulator.identity import solver
from ..simulator.memory import require_memory
from ..simulator.options import SolverOptions, absolute_tolerances
from ..simulator.progress import progress_bar
from ..simulator.protocol import Conditions, Segment
from ..simulator.result import count_in_words
from ..simulator.shards import Block
from ..simulator.status import Status
from .blocks import Blocks
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
    """How many finished and, for the others, why not."""
    seconds: float
    attributes: Mapping[str, Any]
    """Model, versions and settings of the solver."""

    @property
    def told(self) -> dict[str, Any]:
        """The attributes, and how many runs there are, failed and were not done."""
        n_pending = int(np.count_nonzero(np.isin(self.status, (Status.STOPPED, Status.PENDING))))
        return {
            **self.attributes,
            "n_runs": self.status.size,
            "n_failed": int(np.count_nonzero(self.status != Status.OK)) - n_pending,
            "n_pending": n_pending,
            "failures": self.failures,
            "interrupted": int(n_pending > 0),
            "seconds": self.seconds,
        }


def cells_of(
    compiled: CompiledModel, contexts: Mapping[str, Mapping[str, float]], members: Sequence[Mapping[str, float]],
    drugs: Mapping[str, str], overrides: Overrides | None = None,
) -> Conditions:  # fmt: skip
    """Return the cells, member by member: the parameters of each member and of the context together.

    With `overrides`, a member is not made of parameters of the model: what they make of it is laid over the context.

    Raises InputError where two of member, context and drugs (name -> parameter of the dose) set one parameter.
    """
    if not members:
        raise InputError("members is empty; pass None for the nominal parameters")
    dosed = set(drugs.values())
    for context, values in contexts.items():
        if clash := sorted(dosed & values.keys()):
            raise InputError(f"the context {context!r} sets {clash[0]!r}, which is a dose")
    rows = {}
    for m, member in enumerate(members):
        for context, values in contexts.items():
            if overrides is None and (clash := sorted(member.keys() & (values.keys() | dosed))):
                other = "is a dose" if clash[0] in dosed else f"the context {context!r} sets, too"
                raise InputError(f"member {m} sets {clash[0]!r}, which {other}; leave it out of one, or give overrides")
            rows[f"member {m}, {context}"] = {**values, **(member if overrides is None else overrides(member, context))}
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
    readouts: Sequence[str], schedule: Schedule, **settings: Any,
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
    settings
        As in `run_blocks`.
    """
    points = np.broadcast_to(points, (len(cells), *points.shape[-2:]))
    n_points, columns = points.shape[1], [compiled.parameter_index(parameter) for parameter in drugs.values()]

    def runs(first: int, last: int) -> Conditions:
        doses = points[first:last].reshape(-1, len(columns))
        parameters = np.repeat(cells.parameters[first:last], n_points, axis=0)
        parameters[:, columns] = doses
        names = tuple(
            f"{cells.names[i]}, {_words(drugs, point)}" for i in range(first, last) for point in points[i]
        )  # fmt: skip
        return Conditions(names, parameters, tuple(schedule(doses)))

    return run_blocks(compiled, (len(cells), n_points), runs, times, readouts, **settings)


def run_blocks(
    compiled: CompiledModel, shape: tuple[int, int], runs: Callable[[int, int], Conditions], times: Float,
    readouts: Sequence[str], *, options: SolverOptions | None = None, threads: int | None = None,
    progress: bool = False, label: str = "dose matrix", checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = True,
) -> Runs:  # fmt: skip
    """Run what `runs` makes of cells, block by block.

    Parameters
    ----------
    shape
        Number of cells, and of the runs of each.
    runs
        The cells from a first one to before a last one -> their runs, cell by cell.
    checkpoint, resume
        Folder in which finished blocks are kept, None for none; whether to take up those that are there.

    Other arguments as in `simulate`. After Ctrl-C the runs not yet done are PENDING.

    Raises
    ------
    InputError
        Before any run starts: if there are too many runs for the memory, or the folder is of another job.
    OSError
        If a finished block cannot be written.
    """
    n_cells, n_points = shape
    require_memory(
        16.0 * n_cells * n_points * len(times) * len(readouts),
        f"{n_cells * n_points:,} runs x {len(times):,} times x {len(readouts):,} readouts",
        "ask for fewer doses, members or times",
    )
    values = np.full((*shape, len(times), len(readouts)), np.nan)
    status = np.full(shape, int(Status.PENDING), np.int64)
    messages: dict[int, str] = {}
    began, at_once = wall.monotonic(), max(BLOCK // max(n_points, 1), 1)
    missing = [slice(start, min(start + at_once, n_cells)) for start in range(0, n_cells, at_once)]
    kept = None
    if checkpoint is not None:
        kept = Blocks(Path(checkpoint), {
            "model": f"{compiled.name} ({compiled.hash[:16]})", "runs": list(shape), "times": times.tolist(),
            "readouts": list(readouts), **solver(compiled, options or SolverOptions()),
        }, resume=resume)  # fmt: skip

    def fill(cells: slice, of_runs: Float, codes: npt.NDArray[Any], told: Mapping[int, str]) -> None:
        values[cells] = of_runs.reshape(-1, *values.shape[1:])
        status[cells] = codes.reshape(-1, n_points)
        messages.update(told)

    if kept is not None:
        for cells in [cells for cells in missing if cells.start * n_points in kept]:
            if (block := kept.read(cells.start * n_points, runs(cells.start, cells.stop))) is not None:
                fill(cells, block.values, block.status, block.messages)
                missing.remove(cells)
    attributes: Mapping[str, Any] = {} if kept is None else kept.attributes
    done = status.size - sum(cells.stop - cells.start for cells in missing) * n_points
    with progress_bar(status.size, label, shown=progress) as advance:
        advance(done)
        for cells in missing:
            try:
                conditions = runs(cells.start, cells.stop)
                result = simulate(compiled, times, conditions, observables=list(readouts), options=options,
                                  threads=threads, progress=partial(_further, advance, done))  # fmt: skip
            except KeyboardInterrupt:
                if not attributes:
                    raise
                break
            first, done = cells.start * n_points, done + len(conditions)
            told = {first + int(i): f"{conditions.names[i]}: {result.message(int(i))}"
                    for i in np.flatnonzero(~result.ok)[:1]}  # fmt: skip
            fill(cells, result.values, result.status, told)
            attributes = result.attributes
            if result.interrupted:
                break
            if kept is not None:
                block = Block(first, first + len(conditions), result.values, result.status.astype(np.int8), told)
                kept.keep(block, conditions, attributes)
    failures = count_in_words(status.ravel(), lambda _: messages[min(messages)])
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
