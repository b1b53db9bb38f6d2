"""Conditions in; what SciPy's solvers make of the same equations, at tight tolerances, out: to check the integrator by.

Slow, one run after another, and without a part in common with the integrator but the right-hand side.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .protocol import Conditions, Interval, segment_amounts, segment_parameters, timeline
from .readout import Readout

if TYPE_CHECKING:
    from .compiled import CompiledModel
    from .rosenbrock import Workspace

Float = npt.NDArray[np.float64]
LARGEST_DENSE = 150
"""Species; above, the Jacobian is handed over as a sparse matrix, to a solver that takes one."""


def solve_independently(
    compiled: CompiledModel,
    times: Float,
    conditions: Conditions,
    observables: Sequence[str],
    *,
    rtol: float,
    atol: Float,
    equilibration_time: float,
) -> Float:
    """Return the observables (n_conditions, n_times, n_observables); NaN for runs that SciPy cannot finish.

    A pre-equilibration is integrated for `equilibration_time`. `atol` has one value per species.
    """
    readout = Readout(compiled, observables)
    intervals = timeline(conditions.protocol, times)
    values = np.full((len(conditions), len(times), len(readout.names)), np.nan)
    for i in range(len(conditions)):
        run = _Run(compiled, conditions.parameters[i : i + 1], i, times, readout, rtol, atol, equilibration_time)
        values[i] = run.through(intervals)
    return values


class _Run:
    """One condition on its way through the intervals."""

    def __init__(
        self, compiled: CompiledModel, parameters: Float, number: int, times: Float, readout: Readout, rtol: float,
        atol: Float, equilibration_time: float,
    ) -> None:  # fmt: skip
        self.compiled, self.parameters, self.number, self.times = compiled, parameters, number, times
        self.readout, self.rtol, self.atol, self.equilibration_time = readout, rtol, atol, equilibration_time
        self.fixed = np.array(compiled.network.fixed)

    def through(self, intervals: Sequence[Interval]) -> Float:
        """Return the observables (n_times, n_observables)."""
        compiled, rows = self.compiled, [self.number]
        result = np.full((len(self.times), len(self.readout.names)), np.nan)
        y = compiled.initial_amounts(segment_parameters(compiled, self.parameters, intervals[0].segment, rows))[0]
        for number, interval in enumerate(intervals):
            p = segment_parameters(compiled, self.parameters, interval.segment, rows)
            y = np.where(self.fixed, compiled.initial_amounts(p)[0], y)
            for species, amount in segment_amounts(compiled, interval.segment, rows).items():
                y[species] = np.ravel(amount)[0]
            values = compiled.values(p)
            start, end = (0.0, self.equilibration_time) if interval.equilibrate else (interval.start, interval.end)
            mine = (self.times > start) & (self.times <= end) & (not interval.equilibrate)
            if not interval.equilibrate and (number == 0 or intervals[number - 1].equilibrate):
                mine |= self.times == start
            switches = [t for t in compiled.switch_times(values)[0] if start < t < end]
            for begin, stop in zip([start, *switches], [*switches, end], strict=True):
                asked = self.times[mine & (self.times >= begin) & (self.times <= stop)]
                y, at = self._stretch(begin, stop, y, p[0], asked)
                if not len(y):
                    return result
                if len(asked):
                    kept = self._sums(at)
                    result[np.searchsorted(self.times, asked)] = self.readout.complete(kept, asked, values)[0]
        return result

    def _stretch(self, start: float, end: float, y: Float, p: Float, times: Float) -> tuple[Float, Float]:
        """Return amounts at the end (n_species,) and at `times` (n_times, n_species); none if it cannot be solved."""
        from scipy.integrate import solve_ivp

        if start == end:
            return y, np.tile(y, (len(times), 1))
        slope, jacobian = _functions(self.compiled, p)
        dense = self.compiled.n_species <= LARGEST_DENSE
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what fails is seen from the outcome
            solved = solve_ivp(
                slope, (start, end), y, "LSODA" if dense else "BDF", t_eval=np.union1d(times, [end]),
                jac=(lambda t, y: jacobian(t, y).toarray()) if dense else jacobian, rtol=self.rtol, atol=self.atol,
            )  # fmt: skip
        if not solved.success or not np.all(np.isfinite(solved.y)):
            return np.zeros(0), np.zeros((0, 0))
        return solved.y[:, -1], solved.y.T[np.searchsorted(solved.t, times)]

    def _sums(self, y: Float) -> Float:
        """Return the sums of species that the read-outs are made of, (1, n_times, n_kept)."""
        position = self.compiled.plan[1].permutation[self.readout.species]
        terms, pointer = y[:, position] * self.readout.weight, self.readout.pointer
        sums = [terms[:, pointer[o] : pointer[o + 1]].sum(axis=1) for o in range(len(pointer) - 1)]
        return np.stack(sums, axis=1)[None]


def _functions(compiled: CompiledModel, p: Float) -> tuple[Callable[[float, Float], Float], Callable[..., Any]]:
    """Return f(t, y) and its sparse Jacobian at fixed parameters."""
    from . import rosenbrock

    work: Workspace = compiled._at(0.0, np.zeros(compiled.n_species), p)
    tables, order = compiled.plan

    def slope(t: float, y: Float) -> Float:
        work.lane[rosenbrock.T] = t
        work.y[: len(y)] = y[order.permutation, None]
        rosenbrock.slope_at(tables, compiled.compiled_rates[0], work, rosenbrock.T, work.y, work.slope)
        return work.slope[order.position, 0]

    return slope, lambda t, y: compiled.jacobian(t, y, p)
