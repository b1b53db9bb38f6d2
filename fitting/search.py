"""A problem in, its best parameters out: least squares within bounds, from one or several starts."""

from __future__ import annotations

import sys
import time as wall
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError

if TYPE_CHECKING:
    from .objective import Evaluation, Problem
    from .result import Fit

Float = npt.NDArray[np.float64]

STOPPED = "stopped by the user; the best point so far is given"


@dataclass
class _Start:
    """One start of the search and what came of it."""

    index: int
    loss_first: float = np.nan
    loss_best: float = np.inf
    n_evaluations: int = 0
    message: str = "not run"
    converged: bool = False
    best: Evaluation | None = field(default=None, repr=False)

    def see(self, evaluation: Evaluation) -> None:
        """Remember the best point; one with failed runs counts only while there is no other."""
        self.n_evaluations += 1
        if np.isnan(self.loss_first):
            self.loss_first = evaluation.loss
        known = self.best
        if known is None or (evaluation.failed, evaluation.loss) < (known.failed, known.loss):
            self.best, self.loss_best = evaluation, evaluation.loss


class _Show(Protocol):
    def __call__(self, text: str) -> None: ...


def fit(
    problem: Problem,
    *,
    starts: int = 1,
    seed: int = 0,
    max_evaluations: int = 40,
    tolerance: float = 1e-5,
    progress: bool = True,
) -> Fit:
    """Minimise the loss of `problem` within its bounds.

    Parameters
    ----------
    problem
        Data, experiments and parameters.
    starts
        Number of starting points: the nominal point first, the others drawn from the priors.
    seed
        Of the draws; every start has a stream of its own, so that start 3 is the same whatever their number.
    max_evaluations
        Limit on accepted and rejected steps per start (each accepted step also costs one Jacobian).
    tolerance
        Relative change of loss, point and gradient below which a search has converged.
    progress
        Show start, step and loss on standard error.

    Returns
    -------
    Fit
        The best point over all starts. After Ctrl-C the best so far, with `stopped` set.

    Raises
    ------
    InputError
        If `starts` or `max_evaluations` is below 1.
    KeyboardInterrupt
        After Ctrl-C before the first point was evaluated.

    Notes
    -----
    `scipy.optimize.least_squares`, trust region reflective (Branch, Coleman and Li 1999), on the search scale; the
    Jacobian is that of `Problem.jacobian`. Each start first fits the parameters that only enter the observation
    (offsets, scales), which needs no further simulation.
    """
    from .result import assemble

    if starts < 1 or max_evaluations < 1:
        raise InputError(f"starts is {starts} and max_evaluations {max_evaluations}; both must be at least 1")
    began, failures_before = wall.monotonic(), problem.n_failures
    tries = [_Start(i) for i in range(starts)]
    stopped = False
    with _line(shown=progress) as show:
        try:
            for each, child in zip(tries, np.random.SeedSequence(seed).spawn(starts), strict=True):
                start = problem.nominal if each.index == 0 else problem.scaling.draw(np.random.default_rng(child))
                _search(
                    problem,
                    each,
                    start,
                    max_evaluations,
                    tolerance,
                    show,
                    f"start {each.index + 1} of {starts}",
                )
        except KeyboardInterrupt:
            stopped = True
            print(STOPPED, file=sys.stderr)
    seen = [each for each in tries if each.best is not None]
    if not seen:
        raise KeyboardInterrupt
    winner = min(seen, key=lambda each: (each.best.failed, each.loss_best))  # type: ignore[union-attr]
    assert winner.best is not None
    table = [
        {"start": e.index, "loss_at_start": e.loss_first, "loss": e.loss_best, "evaluations": e.n_evaluations,
         "converged": e.converged, "message": e.message}
        for e in tries
    ]  # fmt: skip
    return assemble(
        problem,
        winner.best.theta,
        starts=table,
        seed=seed,
        stopped=stopped,
        converged=winner.converged and not stopped,
        message=STOPPED if stopped else winner.message,
        n_failures=problem.n_failures - failures_before,
        began=began,
    )


def _search(
    problem: Problem, each: _Start, start: Float, limit: int, tolerance: float, show: _Show, label: str
) -> None:
    """Run one start; what it finds is kept in `each` even if it is interrupted."""
    each.message = STOPPED

    def seen(evaluation: Evaluation) -> None:
        each.see(evaluation)
        failed = f", {problem.n_failures} points failed" if problem.n_failures else ""
        done = f"loss {each.loss_best:.4g}, {problem.experiments.n_simulated} runs{failed}"
        show(f"{label}, step {each.n_evaluations}: {done}")

    first = observation_fitted(problem, start, tolerance, seen)
    done = _minimise(problem, first, np.arange(problem.n_free), limit, tolerance, seen)
    each.converged = bool(done.status > 0)
    each.message = "converged" if each.converged else f"limit of {limit} steps reached before convergence"


def observation_fitted(
    problem: Problem, theta: Float, tolerance: float = 1e-6, seen: Callable[[Evaluation], None] | None = None
) -> Float:
    """Return `theta` with the parameters that only enter the observation fitted and the others as given.

    The model is simulated once; every point is shown to `seen`.
    """
    free = np.flatnonzero(problem.observational)
    if not len(free):
        return theta
    best = _Start(0)

    def both(evaluation: Evaluation) -> None:
        best.see(evaluation)
        if seen is not None:
            seen(evaluation)

    _minimise(problem, theta, free, 200, tolerance, both)
    assert best.best is not None
    return best.best.theta


def _minimise(
    problem: Problem,
    start: Float,
    free: npt.NDArray[np.intp],
    limit: int,
    tolerance: float,
    seen: Callable[[Evaluation], None],
) -> Any:
    """Minimise the loss over the parameters numbered `free`; every point is shown to `seen`. Returns SciPy's result."""
    from scipy.optimize import least_squares

    def whole(part: Float) -> Float:
        theta = start.copy()
        theta[free] = part
        return theta

    def residuals(part: Float) -> Float:
        evaluation = problem.evaluate(whole(part))
        seen(evaluation)
        return evaluation.residuals

    lower, upper = problem.lower[free], problem.upper[free]
    margin = 1e-9 * (upper - lower)
    return least_squares(
        residuals, np.clip(start[free], lower + margin, upper - margin), bounds=(lower, upper), method="trf",
        jac=lambda part: problem.jacobian(whole(part), columns=free),
        ftol=tolerance, xtol=tolerance, gtol=tolerance, max_nfev=limit, x_scale="jac",
    )  # fmt: skip


@contextmanager
def _line(*, shown: bool) -> Iterator[_Show]:
    """Yield a function that shows a line of text, in place, on standard error where `shown`."""
    if not shown:
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("fit") as status:
        yield lambda text: status.update(text)
