"""A point on the search scale in; residuals of the data and of the priors, their loss, and its gradient, out.

    loss(theta) = sum over data of (misfit + [noise estimated] ln(sigma / sigma at the nominal point))
                  + 1/2 sum over priors of ((x - mean) / sd)^2

with misfits as in `noise`, 1/2 ((model - measured) / sigma)^2 for normal noise, and logarithms where noise or prior are
log-normal. Up to a constant it is the negative log posterior of theta; its minimum is the most probable point, not the
centre, of that distribution.

The gradient goes back through the twin of each station: misfit, observables, readouts, parameters of the model in each
period, parameters of the problem, search scale. It is exact: derivatives of the integrator's own steps.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from .experiments import Experiments, Resolve, Run
from .inner import Inner
from .noise import Misfit
from .observation import Observation
from .resolving import Remembered
from .scaling import Scaling
from .tables import Tables, read_tables

if TYPE_CHECKING:
    import pandas as pd

    from ..simulator.compiled import CompiledModel

Float = npt.NDArray[np.float64]

PENALTY = 100.0
"""Residual of a measurement whose run failed: finite, so that a search goes on, and larger than any usual misfit."""
STEP = 1e-3
"""Difference step of the Jacobian on the search scale: about the square root of the solver's default rtol."""
SPREAD = 50.0
"""Added to 2 ln(sigma / nominal sigma), so that its root is a residual down to a sigma of exp(-25) of the nominal."""


def read_problem(
    compiled: CompiledModel,
    source: str | Path | Mapping[str, str | Path | pd.DataFrame] | Tables,
    *,
    resolve: Resolve | None = None,
    options: SolverOptions | None = None,
    threads: int | None = None,
    inner: bool = False,
) -> Problem:
    """Return the problem that the tables state about a compiled model.

    Parameters
    ----------
    compiled
        The model whose parameters the conditions set and whose readouts the observables use.
    source
        Folder, common beginning of the file names, or tables by name; see `tables.read_tables`.
    resolve
        Turns what a condition names besides parameters of the model (contexts, drugs and their doses) into such
        parameters: `{"context": "baf3-itd-jmd", "midostaurin": "100"} -> {parameter: value}`. Called once per period
        of an experiment with all names that hold in it; raises ValueError or KeyError for what it does not know.
    options, threads
        Passed on to `simulate`.
    inner
        Solve for offsets, scales and sigmas in closed form, where there is one, instead of leaving them to the search:
        they are then no part of `names`, and each `Evaluation` has their values.

    Raises
    ------
    InputError
        For anything wrong with the tables, with file, line, column and remedy.
    """
    tables = source if isinstance(source, Tables) else read_tables(source)
    return Problem(compiled, tables, resolve=resolve, options=options, threads=threads, inner=inner)


def _again(
    compiled: CompiledModel, tables: Tables, resolve: Resolve | None, options: SolverOptions | None,
    threads: int | None, inner: bool,
) -> Problem:  # fmt: skip
    return Problem(compiled, tables, resolve=resolve, options=options, threads=threads, inner=inner)


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point.

    Attributes
    ----------
    theta : (n_free,)
        The point, on the search scale.
    predicted : (n_measurements,)
        What the assay would show; NaN where the run failed and in rows that were not asked for.
    residuals : (n_data + n_priors + n_spreads,)
        Of the fit rows in the table's order, of the priors, and of estimated sigmas: sqrt(2 ln(sigma) + constant).
    failures : (n_measurements,)
        Why a row has no prediction; empty where it has one.
    sigma : (n_measurements,)
        Sigma of the noise of each row.
    excess
        That of the problem.
    inner
        Parameters that were solved for, by name.
    """

    theta: Float
    predicted: Float
    residuals: Float
    failures: tuple[str, ...]
    sigma: Float
    excess: float = 0.0
    inner: Mapping[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Half the sum of squared residuals, less `excess`; dimensionless."""
        return 0.5 * float(self.residuals @ self.residuals) - self.excess

    @property
    def failed(self) -> bool:
        """True if any row asked for has a penalty instead of a prediction."""
        return any(self.failures)


class Slopes(NamedTuple):
    """Derivatives at one point: of the residuals, (n_residuals, n_free), and of the loss, (n_free,)."""

    residuals: Float
    gradient: Float


class _Compared(NamedTuple):
    """An evaluation with what led to it: all parameters of the problem; readouts and misfits, per measurement row."""

    evaluation: Evaluation
    values: dict[str, float]
    readouts: dict[str, Float]
    misfit: Misfit


class Problem:
    """Measurements, the experiments that explain them, and the parameters to estimate.

    Attributes
    ----------
    tables
        The tables as read.
    names, nominal, lower, upper : (n_free,)
        The estimated parameters and, on the search scale, their nominal values and bounds.
    observational : (n_free,)
        True for parameters that only enter the observation (offsets, scales): they cost no simulation.
    n_data, n_priors, n_free
        Counts of fit rows, informative priors and estimated parameters.
    n_spreads
        Number of fit rows whose sigma is estimated and enters the likelihood.
    excess
        What the constants in the residuals of sigmas add to half their sum of squares.
    inner
        What is solved for at each point instead of searched; None if nothing is.
    n_failures
        Number of points evaluated so far at which a run failed.
    resolve
        What names in the conditions stand for, asked once and remembered; None if there are only parameters.
    """

    def __init__(self, compiled: CompiledModel, tables: Tables, *, resolve: Resolve | None = None,
                 options: SolverOptions | None = None, threads: int | None = None,
                 inner: bool = False) -> None:  # fmt: skip
        self.resolve = resolve if resolve is None or isinstance(resolve, Remembered) else Remembered(resolve)
        self.compiled, self.tables, self._settings = compiled, tables, (self.resolve, options, threads, inner)
        self.scaling = Scaling(tables.parameters)
        table = tables.parameters.frame
        self.fixed = {
            str(name): float(value)
            for name, value, estimate in zip(
                table["parameterId"], table["nominalValue"], table["estimate"], strict=True
            )
            if not estimate
        }
        readouts = (*compiled.observables, *compiled.species)
        free = dict(zip(self.scaling.names, map(float, self.scaling.to_values(self.scaling.nominal)), strict=True))
        self.observation = Observation(tables, readouts, self.fixed, free)
        self.experiments = Experiments(compiled, tables, self.observation.readouts, (*self.fixed, *self.scaling.names),
                                       self.resolve, options, threads, self.scaling.names)  # fmt: skip
        self._check_use()
        rows = tables.measurements.frame
        self.measured = rows["measurement"].to_numpy(float)
        self.fit_rows = np.flatnonzero(rows["role"] == "fit")
        self.validation_rows = np.flatnonzero(rows["role"] == "validation")
        if not len(self.fit_rows):
            raise InputError(f"{tables.measurements.file}: no row has the role fit; there is nothing to fit")
        self.inner: Inner | None = None
        if inner:
            bounds = {n: b for n, b in self.scaling.flat().items() if n not in self.experiments.parameters}
            self.inner = Inner(self.observation, bounds, self.fit_rows)
            self.fixed |= {name: free[name] for name in self.inner.names}  # where nothing is known yet
            self.scaling = Scaling(tables.parameters, self.inner.names)
        self.names, self.nominal = self.scaling.names, self.scaling.nominal
        self.lower, self.upper = self.scaling.lower, self.scaling.upper
        self.n_free, self.n_data, self.n_priors = len(self.names), len(self.fit_rows), self.scaling.n_priors
        self._spread_rows = np.array([
            row for row in self.fit_rows if self.observation.sd_is_free[row] and not self.observation.censoring[row]
        ], np.intp)  # fmt: skip
        self.n_spreads = len(self._spread_rows)
        self.excess = 0.5 * SPREAD * self.n_spreads
        self.observational = np.array([name not in self.experiments.parameters for name in self.names])
        self.n_failures = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the problem was made from: the copy reads the tables anew and remembers no runs."""
        return _again, (self.compiled, self.tables, *self._settings)

    def _check_use(self) -> None:
        """Raise InputError for an estimated parameter that nothing depends on."""
        table = self.tables.parameters
        for row, name in table.cells("parameterId"):
            if (
                name not in self.scaling.names
                or name in self.experiments.parameters
                or name in self.observation.parameters
            ):
                continue
            if name in self.compiled.parameters:
                told = (
                    "every condition sets this parameter of the model, so estimating it has no effect; "
                    "estimate another name and set the parameter to it in the conditions"
                )
                raise table.error(row, "parameterId", f"{name!r}: {told}")
            known = (*self.compiled.parameters, *self.experiments.parameters, *self.observation.parameters)
            raise table.unknown(row, "parameterId", "parameter, used by no condition or observable:", name, known)

    def __repr__(self) -> str:
        return (
            f"<Problem {self.compiled.name}: {self.n_data} measurements to fit, {len(self.validation_rows)} held out, "
            f"{self.n_free} parameters, {self.n_priors} priors>"
        )

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What the problem's authors say about it: (subject, note)."""
        return self.tables.notes

    def values(self, theta: npt.ArrayLike) -> dict[str, float]:
        """Return all parameters of the problem by name, the fixed ones too."""
        return self.fixed | dict(zip(self.names, map(float, self.scaling.to_values(theta)), strict=True))

    def model_parameters(self, experiment: str, theta: npt.ArrayLike | None = None) -> dict[str, float]:
        """Return parameter -> value of the model in the last period of `experiment`, at `theta` (nominal if None)."""
        if experiment not in self.experiments.names:
            raise unknown_name("experiment", experiment, self.experiments.names)
        values = self.values(self.nominal if theta is None else theta)
        p = self.experiments.model_parameters(experiment, values)
        return dict(zip(self.compiled.parameters, map(float, p), strict=True))

    # ---- evaluation ---------------------------------------------------------------------------------------------

    def evaluate(self, theta: npt.ArrayLike, *, validation: bool = False) -> Evaluation:
        """Return the objective at `theta` (n_free,); with `validation`, predictions of the validation rows too.

        A failed run gives its rows `PENALTY` as residual and its sentence as failure.
        """
        return self.evaluate_many([np.asarray(theta, float)], validation=validation)[0]

    def evaluate_many(self, thetas: Sequence[Float], *, validation: bool = False) -> list[Evaluation]:
        """Return the objective at several points, simulated in one call."""
        thetas = [self._checked(theta) for theta in thetas]
        rows = np.concatenate([self.fit_rows, self.validation_rows]) if validation else self.fit_rows
        points = [self.values(theta) for theta in thetas]
        runs = self.experiments.run(points, rows)
        done = [self._evaluation(*given, rows) for given in zip(thetas, points, runs, strict=True)]
        self.n_failures += sum(evaluation.failed for evaluation in done)
        return done

    def _evaluation(
        self, theta: Float, values: Mapping[str, float], runs: Mapping[str, Run], rows: npt.NDArray[np.intp]
    ) -> Evaluation:
        return self._compared(theta, values, runs, rows).evaluation

    def _compared(
        self, theta: Float, values: Mapping[str, float], runs: Mapping[str, Run], rows: npt.NDArray[np.intp]
    ) -> _Compared:
        readouts, failures = self.experiments.readouts_of(runs)
        inner = {} if self.inner is None else self.inner.solve(readouts, values)
        values = {**values, **inner}
        predicted, sigma = self.observation.predict(readouts, values), self.observation.sigma(values)
        misfit = self.observation.misfit(predicted, sigma)
        residuals = self.observation.as_residuals(misfit)
        asked = np.isin(np.arange(len(predicted)), rows)
        for i in np.flatnonzero(asked & ~np.isfinite(residuals)):
            # a finished run may still predict what log-normal noise has no residual for
            told = f"the prediction {predicted[i]:g} is not a positive finite number"
            if not sigma[i] > 0:
                told = f"sigma is {sigma[i]:g}, expected a positive number"
            failures[i] = failures[i] or told
        lost = np.array([bool(failure) for failure in failures])
        predicted[lost], residuals[lost] = np.nan, PENALTY
        with np.errstate(all="ignore"):
            spreads = 2 * np.log(sigma / self.observation.sd)[self._spread_rows]
        spreads = np.sqrt(np.maximum(np.where(np.isfinite(spreads), spreads, 0.0) + SPREAD, 0.0))
        whole = np.concatenate([residuals[self.fit_rows], self.scaling.prior_residuals(theta), spreads])
        predicted = np.where(asked, predicted, np.nan)
        evaluation = Evaluation(theta.copy(), predicted, whole, tuple(failures), sigma, self.excess, inner)
        return _Compared(evaluation, values, readouts, misfit)

    def residuals(self, theta: npt.ArrayLike) -> Float:
        """Return the residuals at `theta`: (n_data + n_priors + n_spreads,), as in `Evaluation`; always finite."""
        return self.evaluate(theta).residuals

    def loss(self, theta: npt.ArrayLike) -> float:
        """Return the loss at `theta`: the negative log posterior up to a constant."""
        return self.evaluate(theta).loss

    def log_likelihood(self, theta: npt.ArrayLike) -> float:
        """Return the log-likelihood of the fit rows at `theta`, constants included; -inf where a run failed."""
        evaluation = self.evaluate(theta)
        if evaluation.failed:
            return -np.inf
        return float(self.observation.log_likelihood(evaluation.predicted, evaluation.sigma)[self.fit_rows].sum())

    def log_prior(self, theta: npt.ArrayLike) -> float:
        """Return the log density of the informative priors at `theta`; -inf outside the bounds."""
        return self.scaling.log_prior(np.asarray(theta, float))

    # ---- the way back -------------------------------------------------------------------------------------------

    def loss_and_gradient(self, theta: npt.ArrayLike) -> tuple[float, Float, bool]:
        """Return the loss at `theta`, its gradient (n_free,), and whether a run failed.

        The rows of a failed run count as in `evaluate`, with the gradient 0; a row whose derivatives are not finite has
        the gradient 0 too, and counts as failed. Loss and gradient are of the same runs, whose steps differ from those
        of `loss` within the tolerances.
        """
        evaluation, jacobian = self._with_slopes(theta)
        return evaluation.loss, jacobian.gradient, evaluation.failed

    def information_rows(self, theta: npt.ArrayLike) -> Float:
        """Return R, (n_data + n_priors + n_free_sigmas, n_free), with R^T R the `information` at `theta`.

        The last rows belong to the fit rows on whose sigma an estimated parameter acts. Parameters that are solved for
        (`inner`) are as uncertain as the data leave them. Rows of a failed run are 0.
        """
        compared, predicted, sigma, n_solved = self._row_slopes(theta)
        evaluation = compared.evaluation
        with np.errstate(all="ignore"):
            roots = self.observation.information_roots(compared.misfit, evaluation.predicted, evaluation.sigma)
            first, last = (roots[:, k, :1] * predicted + roots[:, k, 1:] * sigma for k in (0, 1))
        kept = ~_lost(evaluation)[:, None]
        first, last = np.where(kept, first, 0.0), np.where(kept, last, 0.0)
        priors = np.pad(self.scaling.prior_slopes(evaluation.theta), ((0, 0), (0, n_solved)))
        of_sigma = self.fit_rows[self.observation.sd_is_free[self.fit_rows]]
        rows = np.vstack([first[self.fit_rows], priors, last[of_sigma]])
        return _without(rows[:, : self.n_free], rows[:, self.n_free :])

    def information(self, theta: npt.ArrayLike) -> Float:
        """Return what data and priors say of the parameters at `theta`: the inverse of their covariance, (n_free,) * 2.

            I = sum over fit rows of (i_x x' x'^T + i_s s' s'^T) + sum over priors of r' r'^T

        with x' and s' the derivatives of the prediction and of sigma, i_x and i_s what `noise.information` says of them
        and r' those of the priors' residuals. It is the expected (Fisher) information in rows that are not censored:
        J^T J of the residuals only where the noise is normal or log-normal and its sigma known.
        """
        rows = self.information_rows(theta)
        return rows.T @ rows

    def jacobian(
        self,
        theta: npt.ArrayLike,
        *,
        columns: Sequence[int] | npt.NDArray[np.intp] | None = None,
        differences: bool = False,
        step: float = STEP,
    ) -> Float:
        """Return d residuals / d theta, (n_data + n_priors + n_spreads, n_columns).

        Exact, but for parameters that decide when a rate function switches: to these there are only differences. Where
        parameters are solved for (`inner`), what these can make up for is taken out of it (Kaufman 1975): the gradient
        of the loss that follows from it is exact, the change of single residuals is that to first order in them.
        Rows of a failed run have the derivative 0 (the failure is counted in `n_failures`).

        Parameters
        ----------
        theta : (n_free,)
            The point.
        columns
            Numbers of the parameters to differentiate by; all if None. If none of them acts on the model, it is not
            simulated for derivatives.
        differences
            Take forward differences instead. All perturbed parameter sets are simulated in one call.
        step
            Difference step on the search scale (relative where that is linear); it turns inwards at a bound.
        """
        wanted = np.arange(self.n_free) if columns is None else np.asarray(columns)
        if differences:
            return self._differences(np.asarray(theta, float), wanted, step)
        return self._with_slopes(theta, observational=bool(self.observational[wanted].all()))[1].residuals[:, wanted]

    def _with_slopes(self, theta: npt.ArrayLike, *, observational: bool = False) -> tuple[Evaluation, Slopes]:
        """Return the objective and its derivatives; `observational`: with those to parameters of the model left out."""
        (evaluation, _, _, misfit), predicted, sigma, n_solved = self._row_slopes(theta, observational=observational)
        point, lost = evaluation.theta, _lost(evaluation)

        def chained(by_predicted: Float, by_sigma: Float) -> Float:
            with np.errstate(all="ignore"):
                slopes = by_predicted[:, None] * predicted + by_sigma[:, None] * sigma
            return np.where(lost[:, None], 0.0, slopes)[self.fit_rows]

        rows = self._spread_rows
        sums = sigma[rows] / evaluation.sigma[rows, None]
        sums[lost[rows]] = 0.0
        spreads = evaluation.residuals[self.n_data + self.n_priors :]
        priors = np.pad(self.scaling.prior_slopes(point), ((0, 0), (0, n_solved)))
        slopes = self.observation.residual_slopes(misfit, evaluation.predicted, evaluation.sigma)
        with np.errstate(all="ignore"):
            residuals = np.vstack([chained(*slopes), priors, sums / np.maximum(spreads, 1.0)[:, None]])
        of_priors = evaluation.residuals[self.n_data : self.n_data + self.n_priors]
        # added row by row: the sum does not depend on how many there are at a time
        parts = np.vstack([chained(misfit.by_predicted, misfit.by_sigma), of_priors[:, None] * priors, sums])
        gradient = np.add.reduce(parts, axis=0)[: self.n_free]
        return evaluation, Slopes(_without(residuals[:, : self.n_free], residuals[:, self.n_free :]), gradient)

    def _row_slopes(self, theta: npt.ArrayLike, *, observational: bool = False) -> tuple[_Compared, Float, Float, int]:
        """Return the objective; per measurement row the derivatives of prediction and sigma; the number solved for.

        The derivatives, (n_measurements, n_free + n_solved), are those to the parameters on the search scale and to
        those solved for that are not at a bound; `observational` leaves those to parameters of the model out.
        """
        point = self._checked(theta)
        runs = self.experiments.run([self.values(point)], self.fit_rows, slopes=not observational)[0]
        compared = self._compared(point, self.values(point), runs, self.fit_rows)
        evaluation, values, readouts, _ = compared
        solved = () if self.inner is None else self.inner.inside(evaluation.inner)
        names = (*self.names, *solved)
        by_readout, predicted = self.observation.predict_slopes(readouts, values, names)
        if not observational:
            of_readouts = self.experiments.slopes_of(runs, values, names)
            for name, slope in by_readout.items():
                # a readout that an observable does not use may have no finite derivative
                predicted += np.where((slope == 0.0)[:, None], 0.0, slope[:, None] * of_readouts[name])
        sigma = self.observation.sigma_slopes(values, names)
        by_value = np.append(self.scaling.value_slopes(point), np.ones(len(solved)))
        predicted, sigma = (x * by_value for x in (predicted, sigma))
        if not observational and self.experiments.without_slopes:
            self._fill_by_differences(point, predicted)
        failures = list(evaluation.failures)
        finite = np.all(np.isfinite(np.hstack([predicted, sigma])), axis=1)
        for row in self.fit_rows:
            if not finite[row]:
                failures[row] = failures[row] or "a derivative of the prediction is not finite"
        evaluation = replace(evaluation, failures=tuple(failures))
        self.n_failures += evaluation.failed
        return compared._replace(evaluation=evaluation), predicted, sigma, len(solved)

    def _fill_by_differences(self, point: Float, slopes: Float) -> None:
        """Write what the solver has no derivatives for into those of the predictions; 0 where a run fails."""
        columns = [j for j, name in enumerate(self.names) if name in self.experiments.without_slopes]
        steps = self.scaling.step(point, STEP)[columns]
        moved = [point + step * np.eye(self.n_free)[j] for j, step in zip(columns, steps, strict=True)]
        centre, *there = (evaluation.predicted for evaluation in self.evaluate_many([point, *moved]))
        found = (np.array(there) - centre).T / steps
        slopes[:, columns] = np.where(np.isfinite(found), found, 0.0)

    def _checked(self, theta: npt.ArrayLike) -> Float:
        point = np.asarray(theta, float)
        if point.shape != (self.n_free,):
            raise InputError(f"theta has shape {point.shape}, expected ({self.n_free},): {', '.join(self.names)}")
        return point

    def _differences(self, point: Float, wanted: npt.NDArray[np.intp], step: float) -> Float:
        steps = self.scaling.step(point, step)
        moved = [point + steps[k] * np.eye(self.n_free)[k] for k in wanted]
        centre, *there = self.evaluate_many([point, *moved])
        jacobian = np.empty((len(centre.residuals), len(wanted)))
        for j, (k, other) in enumerate(zip(wanted, there, strict=True)):
            jacobian[:, j] = (other.residuals - centre.residuals) / steps[k]
            lost = [bool(other.failures[row] or centre.failures[row]) for row in self.fit_rows]
            jacobian[: self.n_data][lost, j] = 0.0
        return jacobian

    def with_options(self, options: SolverOptions) -> Problem:
        """Return the same problem, simulated under other options."""
        resolve, _, threads, inner = self._settings
        return Problem(self.compiled, self.tables, resolve=resolve, options=options, threads=threads, inner=inner)

    def check(self, **settings: Any) -> pd.DataFrame:
        """Return what to know before a fit, in words; see `checks.check`."""
        from .checks import check

        return check(self, **settings)

    def at_zero_readout(self, theta: npt.ArrayLike) -> Float:
        """Return what the assay would show with all readouts at 0, (n_measurements,): its floor."""
        nothing = {name: np.zeros(len(self.measured)) for name in self.observation.readouts}
        inner = {} if self.inner is None else self.evaluate(theta).inner
        return self.observation.predict(nothing, {**self.values(theta), **inner})

    def provenance(self) -> dict[str, str]:
        """Return versions and hashes that say which code, model and tables gave a number."""
        import platform

        import scipy

        return {
            "residuum": getattr(sys.modules[__name__.partition(".")[0]], "__version__", "unknown"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "platform": f"{platform.system()} {platform.machine()}",
            "model": self.compiled.name,
            "model_hash": self.compiled.hash,
            "unit_amount": self.compiled.units["amount"],
            "unit_time": self.compiled.units["time"],
            "data_hash": self.tables.hash,
        }


def _lost(evaluation: Evaluation) -> npt.NDArray[np.bool_]:
    return np.array([bool(failure) for failure in evaluation.failures])


def _without(slopes: Float, solved: Float) -> Float:
    """Return `slopes` (n, n_free) less their part in the span of the columns `solved` (n, n_solved)."""
    if not solved.size:
        return slopes
    size = np.sqrt((solved**2).sum(axis=0))
    directions, weights, _ = np.linalg.svd(solved / np.where(size > 0, size, 1.0), full_matrices=False)
    directions = directions[:, weights > 1e-10 * weights.max()]
    return slopes - directions @ (directions.T @ slopes)
