"""A problem and one starting point in; the best point near it out, by least squares or by trust region."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name

if TYPE_CHECKING:
    from .objective import Problem

Float = npt.NDArray[np.float64]
Seen = Callable[[Float, float, bool], None]
"""Is shown every point: where on the search scale, its loss, and whether a run failed there."""

NOT_RUN = "not run"
STOPPED = "stopped by the user; the best point so far is given"


@dataclass(frozen=True)
class Settings:
    """How a start is searched from; see `fit`."""

    method: str = "least_squares"
    max_evaluations: int = 200
    tolerance: float = 1e-5

    def check(self) -> None:
        """Raise InputError for what no search can work with."""
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if self.max_evaluations < 1:
            raise InputError(f"max_evaluations is {self.max_evaluations}; it must be at least 1")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance is {self.tolerance}; give a number between 0 and 1, for example 1e-5")
        if self.method == "fides":
            _import_fides()


@dataclass
class Start:
    """One start of the search and what came of it.

    Attributes
    ----------
    index
        Its number; 0 is the nominal point.
    begin : (n_free,)
        Where it began, on the search scale.
    theta : (n_free,)
        The best point so far; None before the first.
    loss_first, loss, failed
        Loss where it began, loss at `theta`, and whether a run failed there.
    n_evaluations, n_failures
        Points seen, and points at which a run failed (those of differences count too).
    converged, message
        How it ended.
    """

    index: int
    begin: Float
    theta: Float | None = None
    loss_first: float = math.nan
    loss: float = math.inf
    failed: bool = True
    n_evaluations: int = 0
    n_failures: int = 0
    converged: bool = False
    message: str = NOT_RUN

    def see(self, theta: Float, loss: float, failed: bool) -> None:
        """Remember the best point; one with failed runs counts only while there is no other."""
        self.n_evaluations += 1
        if math.isnan(self.loss_first):
            self.loss_first = loss
        if self.theta is None or (failed, loss) < (self.failed, self.loss):
            self.theta, self.loss, self.failed = theta.copy(), loss, failed

    @property
    def rank(self) -> tuple[bool, float, int]:
        """What to sort by: points without failed runs first, then by loss, then by number."""
        return self.failed, self.loss, self.index


def minimise(problem: Problem, start: Start, settings: Settings, tell: Callable[[Start], None]) -> None:
    """Search from `start.begin`; what is found is kept in `start`, even after an interruption.

    Parameters that only enter the observation (offsets, scales) are fitted first, which needs no further simulation.
    `tell` is called after every point. Arithmetic that breaks down ends this start, with its sentence as message.
    """
    failures_before = problem.n_failures
    start.message = STOPPED

    def seen(theta: Float, loss: float, failed: bool) -> None:
        start.see(theta, loss, failed)
        start.n_failures = problem.n_failures - failures_before
        tell(start)

    try:
        first = observation_fitted(problem, start.begin, settings.tolerance, seen)
        start.converged = METHODS[settings.method](problem, first, settings, seen)
    except InputError:
        raise
    except (ArithmeticError, ValueError, np.linalg.LinAlgError) as error:
        start.message = f"broke down: {error}"
        return
    finally:
        start.n_failures = problem.n_failures - failures_before
    start.message = ended(start.converged, settings.max_evaluations)


def ended(converged: bool, limit: int) -> str:
    """Return in words how a search ended that could take `limit` steps."""
    return "converged" if converged else f"limit of {limit} steps reached before convergence"


def observation_fitted(problem: Problem, theta: Float, tolerance: float = 1e-6, seen: Seen | None = None) -> Float:
    """Return `theta` with the parameters that only enter the observation fitted and the others as given.

    The model is simulated once; every point is shown to `seen`.
    """
    free = np.flatnonzero(problem.observational)
    if not len(free):
        return theta
    best = Start(0, theta)

    def both(point: Float, loss: float, failed: bool) -> None:
        best.see(point, loss, failed)
        if seen is not None:
            seen(point, loss, failed)

    _least_squares(problem, theta, free, 200, tolerance, both)
    assert best.theta is not None
    return best.theta


def _by_least_squares(problem: Problem, theta: Float, settings: Settings, seen: Seen) -> bool:
    free = np.arange(problem.n_free)
    return _least_squares(problem, theta, free, settings.max_evaluations, settings.tolerance, seen)


def _least_squares(
    problem: Problem, theta: Float, free: npt.NDArray[np.intp], limit: int, tolerance: float, seen: Seen
) -> bool:
    """Minimise over the parameters numbered `free`; True if converged.

    Trust region reflective (Branch, Coleman and Li 1999) of SciPy on residuals and Jacobian of the problem.
    """
    from scipy.optimize import least_squares

    def whole(part: Float) -> Float:
        point = theta.copy()
        point[free] = part
        return point

    def residuals(part: Float) -> Float:
        evaluation = problem.evaluate(whole(part))
        seen(evaluation.theta, evaluation.loss, evaluation.failed)
        return evaluation.residuals

    done = least_squares(
        residuals, _inside(problem, theta)[free], bounds=(problem.lower[free], problem.upper[free]), method="trf",
        jac=lambda part: problem.jacobian(whole(part), columns=free),
        ftol=tolerance_of_squares(problem, tolerance), xtol=tolerance, gtol=tolerance, max_nfev=limit, x_scale="jac",
    )  # fmt: skip
    return bool(done.status > 0)


def tolerance_of_squares(problem: Problem, tolerance: float) -> float:
    """Return the relative change of half the sum of squared residuals that is one of `tolerance` of the misfit.

    The residuals of estimated sigmas hold constants that dwarf the misfit, which is about 1/2 per measurement.
    """
    if not problem.n_spreads:
        return tolerance
    misfit = 0.5 * problem.n_data
    # Gauss and Newton's method knows half the curvature to sigma only: a small gain there is far from the last
    share = 0.05 * misfit / (misfit + problem.excess)
    return max(tolerance * share, float(np.finfo(float).eps))


def _by_fides(problem: Problem, theta: Float, settings: Settings, seen: Seen) -> bool:
    """Minimise the loss by fides (Fröhlich and Sorger 2022); True if converged.

    The Hessian is the information at the first point, updated by BFGS from the gradients.
    """
    fides = _import_fides()

    def loss(point: Float) -> tuple[float, Float]:
        value, gradient, failed = problem.loss_and_gradient(point)
        seen(point, value, failed)
        return value, gradient

    first = _inside(problem, theta)
    hessian = problem.information(first)
    # BFGS needs a positive definite matrix; directions that nothing determines get a small curvature
    hessian += 1e-6 * max(float(np.trace(hessian)) / problem.n_free, 1.0) * np.eye(problem.n_free)
    o = fides.Options
    # a short step of a quasi-Newton method says less about the optimum than one of least squares
    options = {o.MAXITER: settings.max_evaluations, o.FRTOL: 0.1 * settings.tolerance, o.FATOL: 1e-10, o.GATOL: 1e-6}
    search = fides.Optimizer(
        loss, problem.upper, problem.lower, verbose=logging.CRITICAL, options=options, hessian_update=fides.BFGS()
    )
    search.minimize(first, hess0=hessian)
    # a region that has shrunk to nothing is a minimum to the precision of the gradient
    return bool(search.exitflag > 0 or search.exitflag == fides.ExitFlag.DELTA_TOO_SMALL)


METHODS: dict[str, Callable[[Problem, Float, Settings, Seen], bool]] = {
    "least_squares": _by_least_squares,
    "fides": _by_fides,
}


def _inside(problem: Problem, theta: Float) -> Float:
    """Return `theta` moved off the bounds, where no trust region can begin."""
    margin = 1e-9 * (problem.upper - problem.lower)
    return np.clip(theta, problem.lower + margin, problem.upper - margin)


def _import_fides() -> Any:
    try:
        import fides
    except ImportError:
        raise InputError(
            "the method fides needs the package fides: pip install 'residuum[fit]', or use method='least_squares'"
        ) from None
    return fides
