"""A sweep in; how far points drawn from it are from what another solver gives, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.independent import solve_independently
from ..simulator.options import absolute_tolerances
from ..simulator.progress import progress_bar
from ..simulator.status import Status
from .design import SweepDesign
from .result import Sweep

Float = npt.NDArray[np.float64]
LIMIT = 100.0
"""In units of the tolerance. Errors of a whole run are larger than its tolerance, which is that of a step: up to 10 of
100 units in 99 of 100 runs."""


@dataclass(frozen=True)
class Verification:
    """How far recomputed points are off.

    Attributes
    ----------
    points
        Numbers of the points that were drawn, ascending.
    units : (n_points,)
        Largest difference of each, in units of the tolerance: rtol of the largest value of that read-out in the run,
        plus what atol allows. NaN where the other solver could not finish.
    relative : (n_points,)
        The same difference as a fraction of that largest value.
    limit
        Up to how many units are in order.
    """

    points: tuple[int, ...]
    units: Float
    relative: Float
    limit: float

    @property
    def passed(self) -> bool:
        """True if points were compared, and none is off by more than the limit."""
        return bool(np.isfinite(self.units).any() and not np.any(self.units > self.limit))

    def __str__(self) -> str:
        solved = np.isfinite(self.units)
        if not solved.any():
            return f"none of {len(self.points)} points could be solved by the other solver: nothing was compared"
        worst = int(np.nanargmax(self.units))
        unsolved = f"; {np.count_nonzero(~solved)} could not be solved so" if not solved.all() else ""
        return (
            f"{np.count_nonzero(solved)} points solved again by SciPy: the worst, point {self.points[worst]}, is off "
            f"by {self.relative[worst]:.1e}, {self.units[worst]:.2g} units of the tolerance (limit {self.limit:g})"
            f"{unsolved}"
        )


def verify_sweep(
    done: Sweep, n: int = 64, *, seed: int = 0, limit: float = LIMIT, design: SweepDesign | None = None,
    progress: bool = False,
) -> Verification:  # fmt: skip
    """Solve `n` finished points, drawn at random, again by SciPy at a tight tolerance, and compare.

    Parameters
    ----------
    done
        The sweep; it need not be complete.
    n, seed
        How many points, and which.
    limit
        Up to how many units of the tolerance a point may be off.
    design
        What the sweep runs, if `done` was opened from its folder and cannot tell.
    progress
        Show a bar.

    Raises
    ------
    InputError
        If no point of the sweep has finished, or nothing tells what it runs.
    """
    design = design or done.design
    if design is None:
        raise InputError(
            f"{done.folder.path} does not tell how its points are made; pass the design: verify_sweep(done, design=...)"
        )
    if n < 1:
        raise InputError(f"n is {n}, expected at least 1 point")
    finished = [block.first + np.flatnonzero(block.status == int(Status.OK)) for block in done.blocks()]
    among = np.concatenate(finished)
    if not len(among):
        raise InputError(f"no point of {done.folder.path} has finished; there is nothing to verify")
    drawn = np.sort(np.random.default_rng(seed).choice(among, min(n, len(among)), replace=False))
    kept = {int(i): row for i, row in _rows(done, drawn)}
    units, relative = np.full(len(drawn), np.nan), np.full(len(drawn), np.nan)
    with progress_bar(len(drawn), "verify", shown=progress) as advance:
        for j, i in enumerate(drawn):
            units[j], relative[j] = _compare(design, int(i), kept[int(i)])
            advance(j + 1)
    return Verification(tuple(map(int, drawn)), units, relative, limit)


def _rows(done: Sweep, drawn: npt.NDArray[np.int64]) -> list[tuple[int, Float]]:
    rows = []
    for block in done.blocks():
        rows += [(int(i), block.values[i - block.first]) for i in drawn[(drawn >= block.first) & (drawn < block.last)]]
    return rows


def _compare(design: SweepDesign, point: int, kept: Float) -> tuple[float, float]:
    """Return the largest difference at a point, in units of the tolerance and as a fraction."""
    atol, rtol = absolute_tolerances(design.compiled, design.options), design.options.rtol
    reference = solve_independently(
        design.compiled, design.keep.times, design.selected([point]), design.keep.readouts,
        rtol=max(rtol * 1e-4, 1e-11), atol=atol * 1e-2, equilibration_time=design.options.equilibration_time,
    )  # fmt: skip
    scale, noise = design.keep.scales(reference[0], _noise(design, atol))
    difference = np.abs(kept - design.keep.of(reference)[0])
    with np.errstate(all="ignore"):
        units = np.where(difference == 0, 0.0, difference / (rtol * scale + noise))
        relative = np.where(difference == 0, 0.0, difference / scale)
    if not np.all(np.isfinite(difference)):
        return np.nan, np.nan
    return float(units.max()), float(relative.flat[int(np.argmax(units))])


def _noise(design: SweepDesign, atol: Float) -> Float:
    """Return what atol allows each read-out to be off by (n_readouts,): nothing, for a named expression."""
    compiled = design.compiled
    groups = {name: [(i, 1.0)] for i, name in enumerate(compiled.species)} | dict(compiled.network.observables)
    return np.array([sum(abs(w) * atol[i] for i, w in groups.get(name, ())) for name in design.keep.readouts])
