"""A point on the search scale in; weighted residuals of the data and of the priors, and their loss, out.

    loss(theta) = 1/2 sum over data of ((model - measured) / sd)^2 + 1/2 sum over priors of ((x - mean) / sd)^2

with logarithms where noise or prior are log-normal. Up to a constant it is the negative log posterior of theta; its
minimum is the most probable point, not the centre, of that distribution.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.options import SolverOptions
from .experiments import Experiments, Resolve, Run
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


def read_problem(
    compiled: CompiledModel,
    source: str | Path | Mapping[str, str | Path | pd.DataFrame] | Tables,
    *,
    resolve: Resolve | None = None,
    options: SolverOptions | None = None,
    threads: int | None = None,
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

    Raises
    ------
    InputError
        For anything wrong with the tables, with file, line, column and remedy.
    """
    tables = source if isinstance(source, Tables) else read_tables(source)
    return Problem(compiled, tables, resolve=resolve, options=options, threads=threads)


def _again(
    compiled: CompiledModel, tables: Tables, resolve: Resolve | None, options: SolverOptions | None,
    threads: int | None,
) -> Problem:  # fmt: skip
    return Problem(compiled, tables, resolve=resolve, options=options, threads=threads)


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point.

    Attributes
    ----------
    theta : (n_free,)
        The point, on the search scale.
    predicted : (n_measurements,)
        What the assay would show; NaN where the run failed and in rows that were not asked for.
    residuals : (n_data + n_priors,)
        Of the fit rows in the table's order, then of the priors.
    failures : (n_measurements,)
        Why a row has no prediction; empty where it has one.
    """

    theta: Float
    predicted: Float
    residuals: Float
    failures: tuple[str, ...]

    @property
    def loss(self) -> float:
        """Half the sum of squared residuals, dimensionless."""
        return 0.5 * float(self.residuals @ self.residuals)

    @property
    def failed(self) -> bool:
        """True if any row asked for has a penalty instead of a prediction."""
        return any(self.failures)


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
    n_failures
        Number of points evaluated so far at which a run failed.
    resolve
        What names in the conditions stand for, asked once and remembered; None if there are only parameters.
    """

    def __init__(self, compiled: CompiledModel, tables: Tables, *, resolve: Resolve | None = None,
                 options: SolverOptions | None = None, threads: int | None = None) -> None:  # fmt: skip
        self.compiled, self.tables = compiled, tables
        self.resolve = None if resolve is None else Remembered(resolve)
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
        self.observation = Observation(tables, readouts, self.fixed, self.scaling.names)
        self.experiments = Experiments(compiled, tables, self.observation.readouts, (*self.fixed, *self.scaling.names),
                                       self.resolve, options, threads)  # fmt: skip
        self._check_use()
        rows = tables.measurements.frame
        self.measured = rows["measurement"].to_numpy(float)
        self.fit_rows = np.flatnonzero(rows["role"] == "fit")
        self.validation_rows = np.flatnonzero(rows["role"] == "validation")
        if not len(self.fit_rows):
            raise InputError(f"{tables.measurements.file}: no row has the role fit; there is nothing to fit")
        self.names, self.nominal = self.scaling.names, self.scaling.nominal
        self.lower, self.upper = self.scaling.lower, self.scaling.upper
        self.n_free, self.n_data, self.n_priors = len(self.names), len(self.fit_rows), self.scaling.n_priors
        self.observational = np.array([name not in self.experiments.parameters for name in self.names])
        self.n_failures = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the problem was made from: the copy reads the tables anew and remembers no runs."""
        return _again, (self.compiled, self.tables, self.resolve, self.experiments.options, self.experiments.threads)

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
        for theta in thetas:
            if theta.shape != (self.n_free,):
                raise InputError(f"theta has shape {theta.shape}, expected ({self.n_free},): {', '.join(self.names)}")
        rows = np.concatenate([self.fit_rows, self.validation_rows]) if validation else self.fit_rows
        points = [self.values(theta) for theta in thetas]
        runs = self.experiments.run(points, rows)
        done = [self._evaluation(*given, rows) for given in zip(thetas, points, runs, strict=True)]
        self.n_failures += sum(evaluation.failed for evaluation in done)
        return done

    def _evaluation(
        self, theta: Float, values: Mapping[str, float], runs: Mapping[str, Run], rows: npt.NDArray[np.intp]
    ) -> Evaluation:
        readouts, failures = self.experiments.readouts_of(runs)
        predicted = self.observation.predict(readouts, values)
        residuals = self.observation.residuals(predicted, self.measured)
        asked = np.isin(np.arange(len(predicted)), rows)
        for i in np.flatnonzero(asked & ~np.isfinite(residuals)):
            # a finished run may still predict what log-normal noise has no residual for
            failures[i] = failures[i] or f"the prediction {predicted[i]:g} is not a positive finite number"
        lost = np.array([bool(failure) for failure in failures])
        predicted[lost], residuals[lost] = np.nan, PENALTY
        both = np.concatenate([residuals[self.fit_rows], self.scaling.prior_residuals(theta)])
        predicted = np.where(asked, predicted, np.nan)
        return Evaluation(theta.copy(), predicted, both, tuple(failures))

    def residuals(self, theta: npt.ArrayLike) -> Float:
        """Return the residuals at `theta`: (n_data + n_priors,), fit rows first, then priors; always finite."""
        return self.evaluate(theta).residuals

    def loss(self, theta: npt.ArrayLike) -> float:
        """Return half the sum of squared residuals at `theta`."""
        return self.evaluate(theta).loss

    def jacobian(
        self, theta: npt.ArrayLike, *, columns: Sequence[int] | npt.NDArray[np.intp] | None = None, step: float = STEP
    ) -> Float:
        """Return d residuals / d theta, (n_data + n_priors, n_columns), by forward differences.

        All perturbed parameter sets are simulated in one call; parameters that only enter the observation cost
        none. Where a run fails at either end the derivative is set to 0 (the failure is counted in `n_failures`).

        Parameters
        ----------
        theta : (n_free,)
            The point.
        columns
            Numbers of the parameters to differentiate by; all if None.
        step
            Difference step on the search scale (relative where that is linear); it turns inwards at a bound.
        """
        point, wanted = np.asarray(theta, float), np.arange(self.n_free) if columns is None else np.asarray(columns)
        steps = self.scaling.step(point, step)
        moved = [point + steps[k] * np.eye(self.n_free)[k] for k in wanted]
        centre, *there = self.evaluate_many([point, *moved])
        jacobian = np.empty((len(centre.residuals), len(wanted)))
        for j, (k, other) in enumerate(zip(wanted, there, strict=True)):
            jacobian[:, j] = (other.residuals - centre.residuals) / steps[k]
            lost = [bool(other.failures[row] or centre.failures[row]) for row in self.fit_rows]
            jacobian[: self.n_data][lost, j] = 0.0
        return jacobian

    def at_zero_readout(self, theta: npt.ArrayLike) -> Float:
        """Return what the assay would show with all readouts at 0, (n_measurements,): its floor."""
        nothing = {name: np.zeros(len(self.measured)) for name in self.observation.readouts}
        return self.observation.predict(nothing, self.values(theta))

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
