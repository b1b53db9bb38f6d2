"""A problem and its optimum in; an ensemble of optima of randomly shifted problems out: draws near the posterior.

Randomised maximum likelihood (Oliver, He and Reynolds 1996; Bardsley and others 2014): with r the residuals of data
and priors at theta, each member is

    argmin over theta of 1/2 |r(theta) - e|^2,   e drawn from the standard normal distribution.

Where r is linear in theta the members are exact draws from the posterior. Elsewhere they are not (no weights correct
them here), but each is a parameter set that fits data shifted within their noise, and bent directions are followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.progress import progress_bar
from .posterior import Ensemble

if TYPE_CHECKING:
    from .objective import Problem

Float = npt.NDArray[np.float64]


def randomised_posterior(
    problem: Problem,
    theta: npt.ArrayLike,
    *,
    members: int = 100,
    seed: int = 0,
    max_evaluations: int = 20,
    tolerance: float = 1e-3,
    progress: bool = False,
) -> Ensemble:
    """Return `members` equally weighted parameter sets, each the optimum of a problem shifted within its noise.

    Parameters
    ----------
    problem
        Data with normal or log-normal noise, experiments, parameters and priors.
    theta : (n_free,)
        The optimum on the search scale (`Fit.theta`), at which each search begins.
    members
        Number of members; member i is the same whatever their number.
    seed
        Of the shifts.
    max_evaluations, tolerance
        Limit of steps and relative change of the loss at which a member is taken as found: that is far below the
        differences between members.
    progress
        Show a bar.

    Returns
    -------
    Ensemble
        Members whose runs fail at the end are left out; `provenance["diagnostics"]` counts them.

    Raises
    ------
    InputError
        If `members` is below 2, or all of them fail.
    """
    if members < 2:
        raise InputError(f"members is {members}, expected at least 2")
    start = np.asarray(theta, float)
    found, lost = [], 0
    with progress_bar(members, "members", shown=progress) as advance:
        for done, stream in enumerate(np.random.SeedSequence(seed).spawn(members), start=1):
            point = _shifted_optimum(problem, start, np.random.default_rng(stream), max_evaluations, tolerance)
            if problem.evaluate(point).failed:
                lost += 1
            else:
                found.append(point)
            advance(done)
    if not found:
        raise InputError("simulations fail at the ends of all members; start from an optimum within the bounds")
    told = f"{len(found)} members, {lost} left out because runs fail there"
    return Ensemble.from_points(problem, found, method="randomised maximum likelihood", seed=seed, diagnostics=told)


def _shifted_optimum(
    problem: Problem, start: Float, generator: np.random.Generator, max_evaluations: int, tolerance: float
) -> Float:
    from scipy.optimize import least_squares

    shift = generator.standard_normal(len(problem.residuals(start)))
    margin = 1e-9 * (problem.upper - problem.lower)
    found = least_squares(
        lambda theta: problem.residuals(theta) - shift,
        np.clip(start, problem.lower + margin, problem.upper - margin),
        jac=problem.jacobian,
        bounds=(problem.lower, problem.upper),
        x_scale="jac",
        ftol=tolerance,
        xtol=1e-4,
        max_nfev=max_evaluations,
    )
    return np.asarray(found.x, float)
