"""A problem in; what its data cannot tell, and whether its gradients are right, out: in words, before a fit begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError
from ..simulator.options import SolverOptions

if TYPE_CHECKING:
    import pandas as pd

    from .objective import Problem

Float = npt.NDArray[np.float64]

STEPS = 10.0 ** np.arange(-4.0, -1.4, 0.5)
"""Sizes of the differences on the search scale (relative where that is linear)."""
RTOL = 1e-9
"""Of the runs whose gradients are compared: differences are the noisier the looser it is."""
UNSEEN, COLLINEAR = 1e-6, 0.9999
"""Residual per unit of the search scale below which a parameter is not seen; cosine above which two act as one."""


def check(
    problem: Problem, *, points: int = 2, seed: int = 0, differences: bool = True, tolerance: float = 1e-4
) -> pd.DataFrame:
    """Say what the data cannot tell, and which gradients disagree with differences.

    Parameters
    ----------
    problem
        The problem; it is not changed.
    points, seed
        Number and seed of points drawn from the priors; the nominal point is looked at in addition.
    differences
        Whether to compare gradients with differences, which costs some ten evaluations per parameter and point.
    tolerance
        Deviation, relative to the largest derivative to a parameter, up to which the two agree.

    Returns
    -------
    DataFrame
        Rows of `about` ("readout", "parameter", "gradient"), `name` and `verdict`. A verdict begins with "measured" or
        "unmeasured"; with "seen", "not seen" or "acts as"; with "agrees", "differs", "no plateau", "no effect" or
        "not run".

    Raises
    ------
    InputError
        If `points` is negative.
    """
    import pandas as pd

    if points < 0:
        raise InputError(f"points is {points}, expected 0 or more")
    streams = np.random.SeedSequence(seed).spawn(points)
    thetas = [problem.nominal, *(problem.scaling.draw(np.random.default_rng(stream)) for stream in streams)]
    rows = [*_readouts(problem), *_parameters(problem, thetas)]
    if differences:
        options = problem.experiments.options or SolverOptions()
        exact = problem.with_options(replace(options, rtol=min(options.rtol, RTOL)))
        rows += [
            ("gradient", name if not i else f"{name} at point {i}", verdict)
            for i, theta in enumerate(thetas)
            for name, verdict in zip(problem.names, compare_gradients(exact, theta, tolerance), strict=True)
        ]
    return pd.DataFrame(rows, columns=["about", "name", "verdict"])


def compare_gradients(problem: Problem, theta: Float, tolerance: float = 1e-4) -> list[str]:
    """Return a verdict per parameter on the Jacobian of `problem` at `theta`, against central differences.

    Where parameters are solved for on the way, the gradient of the loss is compared instead.

    Differences are noise where their step is small and curved where it is large; in between they do not depend on it.
    The step is taken at which the next larger one changes them least: the plateau.
    """
    evaluation = problem.evaluate(theta)
    if evaluation.failed:
        return [f"not run: {next(filter(None, evaluation.failures))}"] * problem.n_free
    verdicts = []
    exact = problem.jacobian(theta) if problem.inner is None else problem.loss_and_gradient(theta)[1][None]
    for j in range(problem.n_free):
        there = _differences(problem, theta, j)
        if there is None:
            verdicts.append("no plateau: a run beside the point failed, or the bounds are too close")
            continue
        changes = np.abs(np.diff(there, axis=0)).max(axis=1)
        best = int(np.argmin(changes))
        size = max(float(np.abs(exact[:, j]).max()), float(np.abs(there[best]).max()))
        deviation = float(np.abs(exact[:, j] - there[best]).max())
        if size <= UNSEEN:
            verdicts.append("no effect")
        elif deviation <= tolerance * size:
            verdicts.append("agrees")
        elif changes[best] > tolerance * size:
            verdicts.append(f"no plateau: differences scatter by {changes[best] / size:.1g} of the derivative")
        else:
            verdicts.append(f"differs by {deviation / size:.1g} of the largest derivative")
    return verdicts


def _differences(problem: Problem, theta: Float, parameter: int) -> Float | None:
    """Return central differences of residuals or loss (n_steps, n_numbers), or None where a run failed."""
    unit = np.eye(problem.n_free)[parameter]
    widths = np.abs([problem.scaling.step(theta, size)[parameter] for size in STEPS])
    done = problem.evaluate_many([theta + sign * width * unit for width in widths for sign in (1.0, -1.0)])
    if any(evaluation.failed for evaluation in done):
        return None
    numbers = np.array([e.residuals if problem.inner is None else [e.loss] for e in done])
    return (numbers[::2] - numbers[1::2]) / (2 * widths[:, None])


def _readouts(problem: Problem) -> Iterator[tuple[str, str, str]]:
    """Yield whether each readout of the model is measured by a row that is fitted."""
    used = problem.observation.readouts_of(problem.fit_rows)
    for name in dict.fromkeys((*problem.compiled.observables, *used)):
        n = used.get(name, 0)
        yield (
            "readout",
            name,
            f"measured by {n} row{'s' * (n != 1)}" if n else "unmeasured: no fitted row depends on it",
        )


def _parameters(problem: Problem, thetas: list[Float]) -> Iterator[tuple[str, str, str]]:
    """Yield whether the data see each parameter, apart from all others, at any of the points."""
    columns = np.vstack([problem.jacobian(theta)[: problem.n_data] for theta in thetas])
    size = np.sqrt((columns**2).sum(axis=0))
    seen = np.abs(columns).max(axis=0) > UNSEEN
    alike: dict[int, list[str]] = {}
    for i, j in itertools.combinations(np.flatnonzero(seen).tolist(), 2):
        cosine = float(columns[:, i] @ columns[:, j]) / (size[i] * size[j])
        if abs(cosine) > COLLINEAR:
            for one, other in ((i, j), (j, i)):
                alike.setdefault(one, []).append(problem.names[other])
    for j, name in enumerate(problem.names):
        if not seen[j]:
            verdict = "not seen: the data do not depend on it; its prior alone decides"
        elif j in alike:
            verdict = f"acts as {', '.join(alike[j])}: the data see their combination only"
        else:
            verdict = "seen"
        yield "parameter", name, verdict
