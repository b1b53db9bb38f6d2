"""A design in; about how long its sweep will take and how much it will write, out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ..simulator.ensemble import available_threads, simulate
from .design import SweepDesign

STRETCHES, BLOCKS = 8, (8, 256)
"""A pilot runs so many stretches of points, evenly spread, first of a few points each, then, if that was quick, of
more."""
LONG_ENOUGH = 0.1
"""Seconds."""


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take.

    Attributes
    ----------
    n_points
        Points that were asked about.
    seconds
        Wall time, with the number of threads that was asked about.
    n_bytes
        Size of the files.
    n_piloted, n_failed
        Points that were run for it, and how many of these failed.
    """

    n_points: int
    seconds: float
    n_bytes: float
    n_piloted: int
    n_failed: int

    def __str__(self) -> str:
        failed = f"; {self.n_failed} of {self.n_piloted} points tried failed" if self.n_failed else ""
        return f"{self.n_points:,} points: about {_duration(self.seconds)} and {_size(self.n_bytes)}{failed}"


def estimate_sweep(design: SweepDesign, *, n_points: int | None = None, threads: int | None = None) -> Estimate:
    """Run a few points of a design, evenly spread, and return what `n_points` of them (all, if None) will take.

    `threads` is the number of all that compute at a time; the cores available to this process if None.
    """
    n, n_points = len(design), len(design) if n_points is None else n_points
    _pilot(design, [0])  # loads or compiles
    for block in BLOCKS:
        starts = sorted({int(start) for start in np.linspace(0, max(n - block, 0), STRETCHES)})
        numbers = sorted({i for start in starts for i in range(start, min(start + block, n))})
        n_failed, spent = _pilot(design, numbers)
        if spent > LONG_ENOUGH:
            break
    seconds = spent * n_points / len(numbers) / (threads or available_threads())
    n_bytes = n_points * (8.0 * np.prod(design.keep.shape) + 1.0 + 200.0 * n_failed / len(numbers) + 0.5)
    return Estimate(n_points, seconds, float(n_bytes), len(numbers), n_failed)


def _pilot(design: SweepDesign, numbers: list[int]) -> tuple[int, float]:
    """Run points in one thread; return how many failed, and the seconds it took."""
    start = time.perf_counter()
    done = simulate(design.compiled, design.keep.times, design.selected(numbers), observables=design.keep.readouts,
                    options=design.options, threads=1)  # fmt: skip
    return int(np.count_nonzero(~done.ok)), time.perf_counter() - start


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{max(seconds, 1):.2g} s"


def _size(n_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.2g} {unit}"
    return f"{max(n_bytes / 1e3, 1):.2g} kB"
