"""A problem, its optimum and groups of rows in; how well each group is predicted by a fit that never saw it out.

Each group is taken from the fit, the rest fitted again from the optimum, and the rows that were taken out predicted:
the median and the 90 % interval of what a measurement would show (parameters from the normal approximation at the new
optimum, noise of the row added). Beside them stand null models: the measured value of another experiment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.progress import progress_bar
from .noise import is_logarithmic
from .sampling import normal_root

if TYPE_CHECKING:
    import pandas as pd

    from .objective import Problem

Float = npt.NDArray[np.float64]

INTERVAL = (0.05, 0.95)
N_DRAWS = 200


@dataclass(frozen=True)
class Group:
    """Rows that are left out together.

    Attributes
    ----------
    name
        What is left out, in words.
    experiments
        Their experiments.
    nulls
        Name of a null model -> experiment of the group -> the experiments whose measured values it takes: one is
        copied; of three, the first two multiply over the third (Bliss: both single agents, and the control).
    """

    name: str
    experiments: tuple[str, ...]
    nulls: Mapping[str, Mapping[str, tuple[str, ...]]]


def without(problem: Problem, experiments: Collection[str]) -> Problem:
    """Return the problem with the rows of `experiments` as validation rows, which never enter a fit.

    Raises
    ------
    UnknownNameError
        For an experiment that the problem does not have.
    InputError
        If no row is left to fit.
    """
    from .objective import Problem

    known = problem.tables.experiments.frame["experimentId"]
    for name in experiments:
        if name not in set(known):
            raise unknown_name("experiment", name, tuple(dict.fromkeys(known)))
    measurements = problem.tables.measurements
    frame = measurements.frame.copy()
    frame.loc[frame["experimentId"].isin(list(experiments)), "role"] = "validation"
    digest = hashlib.sha256("\n".join([problem.tables.hash, "without", *sorted(experiments)]).encode()).hexdigest()
    tables = replace(problem.tables, measurements=replace(measurements, frame=frame), hash=digest)
    resolve, options, threads, inner = problem._settings
    return Problem(problem.compiled, tables, resolve=resolve, options=options, threads=threads, inner=inner)


def leave_out(
    problem: Problem,
    theta: npt.ArrayLike,
    groups: Collection[Group],
    *,
    seed: int = 0,
    max_evaluations: int = 30,
    progress: bool = False,
) -> pd.DataFrame:
    """Return the rows of each group beside what a fit to the others predicts.

    Parameters
    ----------
    problem, theta
        The problem and its optimum (n_free,), at which each fit begins.
    groups
        What to leave out, one after the other.
    seed
        Of the draws.
    max_evaluations
        Limit of steps of each fit.
    progress
        Show a bar.

    Returns
    -------
    DataFrame
        `left_out`, `observable`, `experiment`, `time`, `measured`, `predicted` (median), `lower`, `upper`, `covered`
        (measured within), `fold` (predicted over measured), `failed` (share of draws without a prediction: intervals
        are of the others), and `<null>`, `fold_<null>` for each null model.

    Raises
    ------
    InputError
        Without a group; for noise other than normal or log-normal, and for censored rows.
    UnknownNameError
        For an experiment that the problem does not have.
    """
    import pandas as pd

    if not groups:
        raise InputError("no group was given; name at least one to leave out")
    if not problem.observation.quadratic.all():
        raise InputError("leave_out knows normal and log-normal noise without censoring; a row has other noise")
    parts = []
    with progress_bar(len(groups), "left out", shown=progress) as advance:
        for done, group in enumerate(groups, start=1):
            parts.append(_predicted(without(problem, group.experiments), np.asarray(theta, float), group, seed,
                                    max_evaluations))  # fmt: skip
            advance(done)
    return pd.concat(parts, ignore_index=True)


def left_out_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, per group, rows, share covered, median fold error of the model and of each null model.

    A fold error is `exp(abs(ln(predicted / measured)))`: 1 is exact, whichever side it lies on.
    """
    import pandas as pd

    nulls = [column for column in rows.columns if column.startswith("fold_")]
    table = []
    for name, part in rows.groupby("left_out", sort=False):
        line = {
            "left_out": name,
            "rows": len(part),
            "covered": float(part["covered"].mean()),
            "fold_model": _fold_error(part["fold"]),
        }
        table.append(line | {column: _fold_error(part[column]) for column in nulls})
    return pd.DataFrame(table)


def _fold_error(fold: pd.Series) -> float:
    known = fold.to_numpy(float)
    known = known[np.isfinite(known) & (known > 0)]
    return float(np.exp(np.median(np.abs(np.log(known))))) if len(known) else float("nan")


def _predicted(problem: Problem, theta: Float, group: Group, seed: int, max_evaluations: int) -> pd.DataFrame:
    import pandas as pd
    from scipy.optimize import least_squares

    margin = 1e-9 * (problem.upper - problem.lower)
    bounds = (problem.lower, problem.upper)
    start = np.clip(theta, problem.lower + margin, problem.upper - margin)
    best = least_squares(problem.residuals, start, jac=problem.jacobian, bounds=bounds, x_scale="jac", ftol=1e-4,
                         xtol=1e-5, max_nfev=max_evaluations).x  # fmt: skip
    generator = np.random.default_rng(seed)
    evaluations = problem.evaluate_many(list(normal_draws(problem, best, N_DRAWS, generator)), validation=True)
    predicted = np.array([e.predicted for e in evaluations])
    sigma = np.array([e.sigma for e in evaluations])
    shown = _with_noise(problem, predicted, sigma, generator)

    frame = problem.tables.measurements.frame
    rows = np.flatnonzero(frame["experimentId"].isin(group.experiments))
    with np.errstate(all="ignore"):
        lower, upper = np.nanquantile(shown[:, rows], INTERVAL, axis=0)
        median = np.nanmedian(predicted[:, rows], axis=0)
    measured = problem.measured[rows]
    table = pd.DataFrame(
        {
            "left_out": group.name,
            "observable": frame["observableId"].to_numpy()[rows],
            "experiment": frame["experimentId"].to_numpy()[rows],
            "time": frame["time"].to_numpy()[rows],
            "measured": measured,
            "predicted": median,
            "lower": lower,
            "upper": upper,
            "covered": (lower <= measured) & (measured <= upper),
            "fold": median / measured,
            "failed": np.mean(~np.isfinite(predicted[:, rows]), axis=0),
        }
    )
    for null, taken in group.nulls.items():
        value = [_null(frame, int(row), taken) for row in rows]
        table[null] = np.array(value, float)
        table[f"fold_{null}"] = table[null] / measured
    return table


def normal_draws(problem: Problem, theta: Float, n: int, generator: np.random.Generator) -> Float:
    """Return points (n, n_free) from the normal approximation at the optimum, kept within the bounds."""
    draws = generator.standard_normal((n, problem.n_free)) @ normal_root(problem, theta).T
    return np.clip(theta + draws, problem.lower, problem.upper)


def _with_noise(problem: Problem, predicted: Float, sigma: Float, generator: np.random.Generator) -> Float:
    noise = generator.standard_normal(predicted.shape) * sigma
    logarithmic = np.array([is_logarithmic(str(name)) for name in problem.observation.distribution])
    return np.where(logarithmic, predicted * np.exp(np.where(logarithmic, noise, 0.0)), predicted + noise)


def _null(frame: pd.DataFrame, row: int, taken: Mapping[str, tuple[str, ...]]) -> float:
    """Return what a null model says of this row from the measured values of others; NaN where there are none."""
    here = frame.iloc[row]
    alike = frame[(frame["observableId"] == here["observableId"]) & (frame["time"] == here["time"])]
    values = [
        float(alike.loc[alike["experimentId"] == name, "measurement"].mean())
        for name in taken.get(here["experimentId"], ())
    ]
    if len(values) == 3:
        return values[0] * values[1] / values[2]
    return values[0] if values else float("nan")
