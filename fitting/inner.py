"""Simulated readouts in; the best offsets, scales and sigmas of the observables in closed form out.

Parameters that only enter the observation need no search where the loss has its minimum over them in closed form:

* offsets and scales in which formulas are linear, with normal noise: weighted linear least squares
* a scale that multiplies a whole formula, with log-normal noise: ln(scale) is a weighted mean. An offset beside a scale
  has no closed form there: both stay free
* a sigma that multiplies the noise of its rows: the root mean square of what is left

all within their bounds. At that minimum the gradient of the loss to the other parameters is the one with these held
(envelope theorem). Priors other than uniform, censored rows, and sigmas that would set weights within one such system,
leave a parameter to the search.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from ..simulator.expressions import names_in
from .observation import Formula, Observation

Float = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Bounds = Mapping[str, tuple[float, float]]


class Inner:
    """The parameters of an observation that are solved for, and how.

    Attributes
    ----------
    names
        Their names; the others of `candidates` have no closed form.
    """

    def __init__(self, observation: Observation, candidates: Bounds, rows: Rows) -> None:
        """`candidates` are free parameters with uniform priors that only enter the observation, with their bounds."""
        self._observation, self._bounds = observation, candidates
        quadratic = np.zeros(len(observation.sd), bool)
        quadratic[rows] = True
        quadratic &= observation.quadratic
        held_out = np.setdiff1d(np.arange(len(quadratic)), rows)
        in_noise = {name for _, formula, given in observation.noise for name in formula.names}
        in_noise |= {str(cell) for *_, given in observation.noise for cells in given.values() for cell in cells}
        formulas = [(np.setdiff1d(at, held_out), formula) for at, formula in observation.formulas]
        linear: list[str] = []
        scales: list[str] = []
        for name in candidates:
            mine = [(at, formula) for at, formula in formulas if name in formula.names and len(at)]
            if not mine or name in in_noise or not all(quadratic[at].all() for at, _ in mine):
                continue
            log = np.concatenate([observation.logarithmic[at] for at, _ in mine])
            if not log.any() and all(_is_linear(formula, {*linear, name}) for _, formula in mine):
                linear.append(name)
            elif log.all() and all(
                _is_factor(formula, name) and not {*scales} & {*formula.names} for _, formula in mine
            ):
                scales.append(name)
        self._systems = _systems(formulas, linear) + [(at, (name,)) for name in scales
                                                     for at in [_rows_of(formulas, name)]]  # fmt: skip
        self._scales = frozenset(scales)
        self._sigmas: dict[str, Rows] = {}
        for name in candidates:
            mine = [
                (np.setdiff1d(at, held_out), formula) for at, formula, _ in observation.noise if name in formula.names
            ]
            at = np.concatenate([at for at, _ in mine]) if mine else np.zeros(0, np.intp)
            apart = all(np.isin(own, at).all() or not np.isin(own, at).any() for own, _ in self._systems)
            alone = all(_is_factor(formula, name) and not {*self._sigmas} & {*formula.names} for _, formula in mine)
            elsewhere = any(name in formula.names for _, formula in formulas)
            if len(at) and quadratic[at].all() and apart and alone and not elsewhere:
                self._sigmas[name] = np.sort(at)
        self.names = (*linear, *scales, *self._sigmas)

    def solve(self, readouts: Mapping[str, Float], values: Mapping[str, float]) -> dict[str, float]:
        """Return the best values by name, for readouts per measurement row and the other parameters of the problem.

        Rows without a finite readout have no say; where none is left, and where all would do, the value in `values`
        stays.
        """
        observation, best = self._observation, dict(values)
        weight = 1.0 / observation.sigma(values)
        # offsets at 0 and scales at 1 show what these multiply
        plain = {name: 1.0 if name in self._scales else 0.0 for _, names in self._systems for name in names}
        rest = observation.predict(readouts, {**values, **plain})
        for rows, names in self._systems:
            usable = rows[np.isfinite(rest[rows])]
            if names[0] in self._scales:
                usable = usable[rest[usable] > 0]
                if len(usable):
                    w = weight[usable] ** 2
                    logs = np.log(observation.measured[usable] / rest[usable])
                    best[names[0]] = self._within(names[0], float(np.exp(np.sum(w * logs) / np.sum(w))))
                continue
            _, slopes = observation.predict_slopes(readouts, values, names)
            usable = usable[np.isfinite(slopes[usable]).all(axis=1)]
            if len(usable):
                left = observation.measured[usable] - rest[usable]
                found = self._least_squares(names, weight[usable, None] * slopes[usable], weight[usable] * left)
                best.update(zip(names, found, strict=True))
        if self._sigmas:
            deviation = observation.misfit(observation.predict(readouts, best), 1.0 / weight).deviation
            for name, rows in self._sigmas.items():
                usable = rows[np.isfinite(deviation[rows])]
                if len(usable):
                    root = float(np.sqrt(np.mean(deviation[usable] ** 2)))
                    best[name] = self._within(name, values[name] * root)
        return {name: best[name] for name in self.names}

    def inside(self, best: Mapping[str, float]) -> tuple[str, ...]:
        """Return the names of those that are not at a bound."""
        return tuple(name for name in self.names if self._bounds[name][0] < best[name] < self._bounds[name][1])

    def _within(self, name: str, value: float) -> float:
        return float(np.clip(value, *self._bounds[name]))

    def _least_squares(self, names: tuple[str, ...], slopes: Float, left: Float) -> list[float]:
        """Return the minimum of |slopes x - left| within the bounds."""
        from scipy.optimize import lsq_linear

        size = np.sqrt((slopes**2).sum(axis=0))
        size = np.where(size > 0, size, 1.0)  # columns of one size: readouts and offsets differ by orders of magnitude
        found = np.linalg.lstsq(slopes / size, left, rcond=None)[0] / size
        lower, upper = np.array([self._bounds[name] for name in names]).T
        if np.any(found < lower) or np.any(found > upper):
            bounded = lsq_linear(slopes / size, left, (lower * size, upper * size), method="bvls")
            found = np.clip(bounded.x / size, lower, upper)
            found = np.where(bounded.active_mask < 0, lower, np.where(bounded.active_mask > 0, upper, found))
        return [float(x) for x in found]


def _is_linear(formula: Formula, names: Collection[str]) -> bool:
    """Tell whether a formula is linear in all of `names` together."""
    return not any(names_in(formula.trees[name]) & {*names} for name in names if name in formula.trees)


def _is_factor(formula: Formula, name: str) -> bool:
    """Tell whether a formula is `name` times something without it."""
    if name in names_in(formula.trees[name]):
        return False
    generator = np.random.default_rng(0)
    return all(
        formula({**{other: generator.uniform(0.5, 2.0) for other in formula.names}, name: 0.0}) == 0.0 for _ in range(3)
    )


def _rows_of(formulas: list[tuple[Rows, Formula]], name: str) -> Rows:
    return np.sort(np.concatenate([at for at, formula in formulas if name in formula.names]))


def _systems(formulas: list[tuple[Rows, Formula]], names: list[str]) -> list[tuple[Rows, tuple[str, ...]]]:
    """Return the measurement rows and the parameters of each linear system that has none in common with others."""
    systems: list[tuple[Rows, set[str]]] = []
    for at, formula in formulas:
        mine = {name for name in names if name in formula.names}
        if mine and len(at):
            met = [system for system in systems if system[1] & mine]
            systems = [system for system in systems if not system[1] & mine]
            systems.append((np.concatenate([at, *(rows for rows, _ in met)]), mine.union(*(own for _, own in met))))
    return [(np.sort(rows), tuple(sorted(own))) for rows, own in systems]
