"""A compiled model, points and read-outs in; the conditions of any stretch of points, and what they give, out.

A design is all that decides the numbers of a sweep. Neither the number of workers and threads nor the order in which
they work is part of it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.ensemble import simulate
from ..simulator.errors import InputError
from ..simulator.identity import checksum, plain, software, solver
from ..simulator.options import SolverOptions, absolute_tolerances
from ..simulator.protocol import Conditions, Segment, check_protocol, timeline
from ..simulator.shards import Block
from ..simulator.status import Status
from .keeping import Keep
from .points import Points, as_points, points_from

if TYPE_CHECKING:
    import pandas as pd

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]
LEFT = (Status.STOPPED, Status.PENDING, Status.TIME_LIMIT)
"""Runs that ended so would have gone on elsewhere or at another time: they are pending."""


class SweepDesign:
    """The runs of a sweep, one per point, made when they are asked for.

    Parameters
    ----------
    compiled
        The model.
    parameters
        The points: a `Grid`, a `Sobol` sample, a `PointTable`, `Computed` points; or a mapping of names to values (a
        grid), or a data frame with one row per point. Parameters that do not vary are nominal, or
        `fixed`.
    aliases
        Name in the points -> the parameter that it stands for; other names are parameters. Results keep the name.
    times
        Model times at which all read-outs are kept, or along which `auc` and the like are taken.
    readouts
        Observables, named expressions or species; all observables if None.
    keep
        Numbers to keep of each run in place of whole courses: `"pERK@1h"`, `"auc(pERK)"`, `"max(pERK)"`, `"min(...)"`;
        bare times are in the model's unit.
    protocol
        Segments that hold for all points; a value may be an array with one number per point.
    fixed
        Parameter name -> value at all points, in place of the nominal one.
    options
        Tolerances and limits. Runs that use up `max_seconds` count as not done.

    Raises
    ------
    InputError
        For anything wrong with the input.

    Examples
    --------
    >>> import residuum
    >>> design = residuum.SweepDesign(
    ...     residuum.aml_model(), {"amount_NF1_total": [1.0, 10.0]}, times=[3600.0], readouts=["pERK"]
    ... )
    >>> len(design), design.conditions(0, 2).names
    (2, ('point 0', 'point 1'))
    """

    def __init__(
        self,
        compiled: CompiledModel,
        parameters: Points | Mapping[str, npt.ArrayLike] | pd.DataFrame,
        times: npt.ArrayLike | None = None,
        readouts: Sequence[str] | None = None,
        *,
        keep: Sequence[str] | None = None,
        protocol: Sequence[Segment] = (),
        fixed: Mapping[str, float] | None = None,
        aliases: Mapping[str, str] | None = None,
        options: SolverOptions | None = None,
    ) -> None:
        self.compiled, self.points = compiled, as_points(parameters)
        self.fixed = {name: float(value) for name, value in (fixed or {}).items()}
        self.options = options or SolverOptions()
        self.protocol = tuple(protocol)
        if isinstance(readouts, str) or isinstance(keep, str):
            raise InputError("readouts and keep are lists of names, e.g. ['pERK']")
        shown = compiled.observables if readouts is None and keep is None else readouts
        self.keep = Keep(shown, times, keep, (*compiled.observables, *compiled.species))
        self.aliases = dict(aliases or {})
        varied = [self.aliases.get(name, name) for name in self.points.names]
        self._columns = [compiled.parameter_index(name) for name in varied]
        self._base = compiled.parameter_vector(self.fixed)
        if twice := sorted(self.fixed.keys() & set(varied)):
            raise InputError(f"{twice[0]} varies from point to point and is fixed; it can be one of these")
        if twice := sorted(name for name, count in Counter(varied).items() if count > 1):
            raise InputError(f"{twice[0]} varies under two names: {', '.join(self.points.names)}; leave one out")
        self._check()

    def _check(self) -> None:
        """Refuse, before any run, what would be refused in the middle."""
        for segment in self.protocol:
            for name, value in segment.set.items():
                if np.ndim(value) and np.shape(value) != (len(self),):
                    raise InputError(
                        f"{name} in the segment [{segment.start}, {segment.end}) has shape {np.shape(value)}, "
                        f"expected one value or one per point ({len(self)},)"
                    )
                if not np.all(np.isfinite(np.asarray(value, float))):
                    raise InputError(f"{name} in the segment [{segment.start}, {segment.end}) is not finite")
        first = self.conditions(0, min(8, len(self)))
        check_protocol(self.compiled, first)
        intervals = timeline(first.protocol, self.keep.times)
        if self.compiled.depends_on_time and any(interval.equilibrate for interval in intervals):
            raise InputError(f"{self.compiled.name} has rates that depend on time(): it has no steady state")
        absolute_tolerances(self.compiled, self.options)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"<SweepDesign {self.compiled.name}: {len(self):,} points of {', '.join(self.points.names)}>"

    # ---- the runs ---------------------------------------------------------------------------------------------

    def conditions(self, first: int, last: int) -> Conditions:
        """Return the conditions of the points from `first` to before `last`."""
        return self.selected(range(first, last))

    def selected(self, numbers: range | Sequence[int]) -> Conditions:
        """Return the conditions of the points with the given numbers."""
        p = np.tile(self._base, (len(numbers), 1))
        p[:, self._columns] = np.concatenate([self.points.rows(s.start, s.stop) for s in _stretches(numbers)])
        rows = slice(numbers.start, numbers.stop) if isinstance(numbers, range) else list(numbers)
        protocol = tuple(
            dataclasses.replace(
                segment, set={n: np.asarray(v, float)[rows] if np.ndim(v) else v for n, v in segment.set.items()}
            )
            for segment in self.protocol
        )
        return Conditions(tuple(f"point {i}" for i in numbers), p, protocol)

    def run(self, first: int, last: int, threads: int | None = None) -> Block:
        """Return what the points from `first` to before `last` give."""
        result = simulate(
            self.compiled, self.keep.times, self.conditions(first, last), observables=self.keep.readouts,
            options=self.options, threads=threads,
        )  # fmt: skip
        messages = {first + int(i): result.message(int(i)) for i in np.flatnonzero(~result.ok)}
        return Block(first, last, self.keep.of(result.values), result.status.astype(np.int8), messages)

    # ---- what makes it this design ----------------------------------------------------------------------------

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that decides the numbers, by name, in values that JSON can hold."""
        ends = self.points.rows(0, min(8, len(self))), self.points.rows(max(len(self) - 8, 0), len(self))
        return {
            "model": f"{self.compiled.name} ({self.compiled.hash[:16]})",
            "number of points": len(self),
            "parameters": self.points.recipe(),
            "aliases": dict(sorted(self.aliases.items())),
            "first and last points": checksum(*ends),
            "fixed": dict(sorted(self.fixed.items())),
            "protocol": [plain(segment) for segment in sorted(self.protocol, key=lambda segment: segment.start)],
            "times": self.keep.times.tolist(),
            "readouts": list(self.keep.readouts),
            "keep": list(self.keep.words),
            "course": [] if not self.keep.words else self.keep.times[self.keep._course].tolist(),
            **solver(self.compiled, self.options),
            "software": software(),
        }

    def to_file(self) -> dict[str, Any]:
        """Return what a file needs to hold, besides the identity, for `from_file` to read the design back."""
        return {"name": self.compiled.name, "units": self.compiled.units, "names": list(self.points.names)}

    @classmethod
    def from_identity(cls, compiled: CompiledModel, identity: Mapping[str, Any], table: Any) -> SweepDesign | None:
        """Return the design with an identity, the rows of a table of points from `table()`.

        None where only Python can make it again: points from a function, arrays in the protocol or in atol.
        """
        points = points_from(identity["parameters"], table)
        protocol = [
            Segment(float(s["start"]), float(s["end"]), s["set"]) for s in identity["protocol"]
            if not any(isinstance(value, str) for value in s["set"].values())
        ]  # fmt: skip
        if points is None or len(protocol) < len(identity["protocol"]) or isinstance(identity["atol"], str):
            return None
        words = identity["keep"]
        return cls(
            compiled, points, (identity["course"] or None) if words else identity["times"],
            None if words else identity["readouts"], keep=words or None, protocol=protocol,
            fixed=identity["fixed"], aliases=identity.get("aliases"),
            options=SolverOptions(**identity["options"], atol=identity["atol"]),
        )  # fmt: skip


def _stretches(numbers: range | Sequence[int]) -> list[range]:
    """Return runs of consecutive numbers."""
    if isinstance(numbers, range):
        return [numbers]
    breaks = [0, *(j for j in range(1, len(numbers)) if numbers[j] != numbers[j - 1] + 1), len(numbers)]
    return [range(numbers[i], numbers[j - 1] + 1) for i, j in itertools.pairwise(breaks)]
