"""Conditions and protocols: names and parameter values in, one checked table of runs and time segments out.

A segment is active on `[start, end)` in model time; numbers reported at a boundary belong to the segment that ends
there, those at the very start of the clock to the segment that begins there. Outside all segments the condition's own
parameters hold. Amounts are continuous across boundaries, except that fixed (clamped) species take the amount that the
parameters of the segment give them. A segment that starts at minus infinity pre-equilibrates: the model is brought to
steady state under it, then the clock starts at its end.

A segment may also set species: as it starts, their amounts become what is given, once, and change freely from then on.
At the start of the clock this comes after the initial amounts. No parameter acts on an amount that was set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from .compiled import CompiledModel

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """Parameter values that hold on `[start, end)`; `start = -inf` pre-equilibrates.

    `set` maps parameter names to one value, or to one value per condition, shape (n_conditions,). The name of a species
    sets its amount at `start`, and no longer.
    """

    start: float
    end: float
    set: Mapping[str, float | npt.ArrayLike] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if math.isnan(self.start) or math.isnan(self.end) or not self.start < self.end:
            raise InputError(f"a segment must end after it starts, given [{self.start}, {self.end})")


@dataclass(frozen=True)
class Conditions:
    """The runs of an ensemble: names (n_conditions,), parameters (n_conditions, n_parameters) and a shared protocol."""

    names: tuple[str, ...]
    parameters: Float
    protocol: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        p = np.array(self.parameters, float, order="C")  # a copy: later changes of the caller's array are not ours
        p.setflags(write=False)
        object.__setattr__(self, "parameters", p)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "protocol", tuple(sorted(self.protocol, key=lambda segment: segment.start)))
        if p.ndim != 2 or len(p) != len(self.names):
            raise InputError(f"{len(self.names)} condition names for parameters of shape {p.shape}")
        for before, after in itertools.pairwise(self.protocol):
            if after.start < before.end:
                raise InputError(
                    f"segments overlap: [{before.start}, {before.end}) and [{after.start}, {after.end}); "
                    "let one end where the next starts"
                )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_rows(
        cls,
        compiled: CompiledModel,
        rows: Mapping[str, Mapping[str, float]],
        protocol: Sequence[Segment] = (),
    ) -> Conditions:
        """Return one condition per `name -> {parameter: value}`; what a row leaves out is nominal.

        Raises UnknownNameError for an unknown parameter, InputError for a value that is no finite number.
        """
        p = np.tile(compiled.nominal, (len(rows), 1))
        for i, (name, row) in enumerate(rows.items()):
            for parameter, value in row.items():
                p[i, compiled.parameter_index(parameter)] = _finite(value, f"{parameter} in condition {name!r}")
        return cls(tuple(rows), p, tuple(protocol))

    @classmethod
    def from_table(cls, compiled: CompiledModel, frame: pd.DataFrame, protocol: Sequence[Segment] = ()) -> Conditions:
        """Return one condition per row of a table: a column `name` (optional) and columns named by parameters."""
        names = [str(n) for n in (frame["name"] if "name" in frame else frame.index)]
        columns = [column for column in frame.columns if column != "name"]
        p = np.tile(compiled.nominal, (len(frame), 1))
        for column in columns:
            index = compiled.parameter_index(str(column))
            for i, value in enumerate(frame[column]):
                p[i, index] = _finite(value, f"{column} in condition {names[i]!r}")
        return cls(tuple(names), p, tuple(protocol))

    @classmethod
    def product(cls, compiled: CompiledModel, **axes: npt.ArrayLike) -> Conditions:
        """Return the full grid of parameter values, last axis fastest: `product(m, kf=[1, 2], kr=[0, 1])` is 4 runs."""
        values = {name: np.atleast_1d(np.asarray(axis, float)) for name, axis in axes.items()}
        points = np.array(list(itertools.product(*values.values())), float).reshape(-1, len(values))
        names = [", ".join(f"{name}={value:g}" for name, value in zip(values, point, strict=True)) for point in points]
        p = np.tile(compiled.nominal, (len(points), 1))
        p[:, [compiled.parameter_index(name) for name in values]] = points
        conditions = cls(tuple(names), p)
        check_protocol(compiled, conditions)
        return conditions


def _finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{what} is {value!r}, expected a number") from None
    if not math.isfinite(number):
        raise InputError(f"{what} is {number}, expected a finite number")
    return number


def checked_times(times: npt.ArrayLike) -> Float:
    """Return output times as an array (n_times,); raises InputError unless they are finite and increase strictly."""
    try:
        t = np.atleast_1d(np.array(times, float))
    except (TypeError, ValueError):
        raise InputError(f"times must be numbers in the model's unit of time, given {times!r}") from None
    if t.ndim != 1 or t.size == 0 or not np.all(np.isfinite(t)):
        raise InputError("times must be a non-empty list of finite numbers")
    if np.any(bad := np.diff(t) <= 0):
        i = int(np.argmax(bad))
        raise InputError(f"times must increase: {t[i]:g} is followed by {t[i + 1]:g}")
    return t


@dataclass(frozen=True)
class Interval:
    """A stretch of model time under constant parameters: `equilibrate` stretches have no clock."""

    start: float
    end: float
    segment: Segment | None
    equilibrate: bool = False


def timeline(protocol: Sequence[Segment], times: Float) -> list[Interval]:
    """Return the intervals, in order, that lead from the start of the clock to the last output time.

    The clock starts at 0, or at the end of a pre-equilibration, or at the start of the earliest segment before 0.
    Raises InputError for a time before the clock starts.
    """
    intervals: list[Interval] = []
    clocked = [segment for segment in protocol if segment.start > -math.inf]
    if len(clocked) < len(protocol):
        first = protocol[0]
        intervals.append(Interval(first.start, float(first.end), first, equilibrate=True))
        now = first.end
    else:
        now = min([0.0, *(segment.start for segment in clocked)])
    if times[0] < now:
        raise InputError(f"the first time is {times[0]:g}, but the clock starts at {now:g}")
    end = times[-1]
    for segment in clocked:
        if segment.start >= end and segment.start > now:
            break
        if segment.start > now:
            intervals.append(Interval(float(now), float(segment.start), None))
        intervals.append(Interval(float(segment.start), float(min(segment.end, end)), segment))
        now = segment.end
    if now < end or not any(not i.equilibrate for i in intervals):
        intervals.append(Interval(float(now), float(max(end, now)), None))
    return intervals


def segment_parameters(
    compiled: CompiledModel, parameters: Float, segment: Segment | None, rows: Iterable[int]
) -> Float:
    """Return the parameters (n, n_parameters) of the conditions numbered `rows` while `segment` is active."""
    if segment is None or not segment.set:
        return parameters
    p = parameters.copy()
    for name, value in segment.set.items():
        if name not in compiled.species_index:
            p[:, compiled.parameter_index(name)] = _of_rows(value, rows)
    return p


def segment_amounts(compiled: CompiledModel, segment: Segment | None, rows: Iterable[int]) -> dict[int, Float]:
    """Return the amounts, one or (n,), of the species that `segment` sets, by the species' number."""
    given = {} if segment is None else segment.set
    index = compiled.species_index
    return {index[name]: _of_rows(value, rows) for name, value in given.items() if name in index}


def _of_rows(value: float | npt.ArrayLike, rows: Iterable[int]) -> Float:
    values = np.asarray(value, float)
    return values if values.ndim == 0 else values[list(rows)]


def check_protocol(compiled: CompiledModel, conditions: Conditions) -> None:
    """Raise InputError for unknown names, clamped species, values that are not finite or not one per condition."""
    if conditions.parameters.shape[1] != compiled.n_parameters:
        raise InputError(
            f"conditions have {conditions.parameters.shape[1]} parameters, the model {compiled.name} has "
            f"{compiled.n_parameters}; were they made for another model?"
        )
    for name in compiled.frozen:
        j = compiled.parameters.index(name)
        if np.any(conditions.parameters[:, j] != compiled.nominal[j]):
            compiled.parameter_index(name)  # says why it cannot be set
    bad = np.argwhere(~np.isfinite(conditions.parameters))
    if len(bad):
        i, j = bad[0]
        value = conditions.parameters[i, j]
        raise InputError(
            f"{compiled.parameters[j]} in condition {conditions.names[i]!r} is {value}, expected a finite number"
        )
    for segment in conditions.protocol:
        for name, value in segment.set.items():
            if name in compiled.species_index:
                check_free(compiled, name)
            elif "(" in name:  # a pattern, which no parameter is called
                raise unknown_name("species", name, compiled.species)
            else:
                compiled.parameter_index(name)
            values = np.asarray(value, float)
            if not np.all(np.isfinite(values)):
                raise InputError(f"{name} in the segment [{segment.start}, {segment.end}) is not finite")
            if values.ndim and values.shape != (len(conditions),):
                raise InputError(
                    f"{name} in the segment [{segment.start}, {segment.end}) has shape {values.shape}, "
                    f"expected one value or one per condition ({len(conditions)},)"
                )


def check_free(compiled: CompiledModel, species: str) -> None:
    """Raise InputError for a clamped species, whose amount cannot be set."""
    i = compiled.species_index[species]
    if compiled.network.fixed[i]:
        raise InputError(
            f"{species} is clamped: its amount is {compiled.network.initials[i]} throughout and cannot be set; "
            "set a parameter that it is made of, or unclamp it in the rules"
        )
