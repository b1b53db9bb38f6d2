"""A problem, its optimum and groups of rows in; how well each group is predicted by a fit that never saw it out.

Each group is taken from the fit, the rest fitted again from the optimum, and the rows that were taken out predicted:
the median and the 90 % interval of what a measurement would show (parameters from the normal approximation at the new
optimum, noise of the row added). Beside them stand null models, which take measured values of other experiments.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.errors import InputError, unknown_name
from ..simulator.progress import progress_bar
from ..simulator.report import write_whole
from .checkpoint import differences, identity
from .minimise import ended, tolerance_of_squares
from .noise import is_logarithmic
from .sampling import normal_root
from .tables import rows_beside

if TYPE_CHECKING:
    import pandas as pd

    from .objective import Problem

Float = npt.NDArray[np.float64]

SCHEMA = "residuum-left-out-1"
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
        Name of a null model -> experiment of the group -> the experiments whose measured values it takes. One is
        copied. Of two the lower counts (the better single agent, where agents inhibit). Of three, the first two
        multiply over the third (Bliss: both single agents, and the control).
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
    checkpoint: str | Path | None = None,
    resume: bool = False,
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
    checkpoint
        File that keeps each finished group.
    resume
        Take from `checkpoint` what is done; it must be of the same problem, optimum, seed and limit.
    progress
        Show a bar.

    Returns
    -------
    DataFrame
        `left_out`, `observable`, `experiment`, `time`, `measured`, `predicted` (median), `lower`, `upper`, `covered`
        (measured within), `fold` (predicted over measured), `failed` (share of draws without a prediction: intervals
        are of the others), `ended` (`converged`, or the limit at which the fit ended), and `<null>`, `fold_<null>` for
        each null model. Bliss stands there twice: of raw values and, as `<null> above the floor`, of what is above that
        which the assay shows at read-outs of 0, according to the same fit. A null model is NaN where there is no
        measured value at that time.

    Raises
    ------
    InputError
        Without a group; for noise other than normal or log-normal, and for censored rows; for a null model of no or
        more than three experiments; for a checkpoint of something else, or one that is there without `resume`.
    UnknownNameError
        For an experiment that the problem does not have.
    KeyboardInterrupt
        After Ctrl-C; the finished groups are in `checkpoint`.
    """
    import pandas as pd

    if not groups:
        raise InputError("no group was given; name at least one to leave out")
    if resume and checkpoint is None:
        raise InputError("resume needs the checkpoint file of the run to go on with; give checkpoint")
    _check_nulls(problem, groups)
    if not problem.observation.quadratic.all():
        raise InputError("leave_out knows normal and log-normal noise without censoring; a row has other noise")
    start = np.asarray(theta, float)
    optimum = hashlib.sha256(start.tobytes()).hexdigest()[:16]
    run = identity(problem, optimum=optimum, seed=seed, max_evaluations=max_evaluations)
    kept = _Kept(checkpoint, run, resume=resume)
    parts = []
    with progress_bar(len(groups), "left out", shown=progress) as advance:
        for done, group in enumerate(groups, start=1):
            rows = kept.get(group)
            if rows is None:
                rows = _predicted(without(problem, group.experiments), start, group, seed, max_evaluations)
                kept.add(group, rows)
            parts.append(rows)
            advance(done)
    return pd.concat(parts, ignore_index=True)


def _check_nulls(problem: Problem, groups: Collection[Group]) -> None:
    known = problem.experiments.names
    for group in groups:
        for null, taken in group.nulls.items():
            for of in taken.values():
                if not 1 <= len(of) <= 3:
                    raise InputError(
                        f"the null model {null!r} of {group.name!r} takes {len(of)} experiments; give one to copy, two "
                        "of which the lower counts, or three for Bliss"
                    )
                for name in of:
                    if name not in known:
                        raise unknown_name("experiment", name, known)


def left_out_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, per group, rows, share covered, how the fit ended, median fold error of the model and each null model.

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
            "ended": part["ended"].iloc[0],
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
    found = least_squares(problem.residuals, start, jac=problem.jacobian, bounds=bounds, x_scale="jac",
                          ftol=tolerance_of_squares(problem, 1e-4), xtol=1e-5, max_nfev=max_evaluations)  # fmt: skip
    best = found.x
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
            "ended": ended(bool(found.status > 0), max_evaluations),
        }
    )
    floor = problem.at_zero_readout(best)
    for null, taken in group.nulls.items():
        values = {null: [_null(problem, int(row), taken) for row in rows]}
        if any(len(of) == 3 for of in taken.values()):
            values[f"{null} above the floor"] = [_null(problem, int(row), taken, floor) for row in rows]
        for name, value in values.items():
            table[name] = np.array(value, float)
            table[f"fold_{name}"] = table[name] / measured
    return table


def normal_draws(problem: Problem, theta: Float, n: int, generator: np.random.Generator) -> Float:
    """Return points (n, n_free) from the normal approximation at the optimum, kept within the bounds."""
    draws = generator.standard_normal((n, problem.n_free)) @ normal_root(problem, theta).T
    return np.clip(theta + draws, problem.lower, problem.upper)


def _with_noise(problem: Problem, predicted: Float, sigma: Float, generator: np.random.Generator) -> Float:
    noise = generator.standard_normal(predicted.shape) * sigma
    logarithmic = np.array([is_logarithmic(str(name)) for name in problem.observation.distribution])
    return np.where(logarithmic, predicted * np.exp(np.where(logarithmic, noise, 0.0)), predicted + noise)


def _null(problem: Problem, row: int, taken: Mapping[str, tuple[str, ...]], floor: Float | None = None) -> float:
    """Return what a null model says of this row from the measured values of others; NaN where there are none.

    With `floor` (n_measurements,), what the assay shows of nothing, it is told of what lies above; less than nothing
    counts as nothing.
    """
    base = np.zeros(len(problem.measured)) if floor is None else floor
    values = []
    for name in taken.get(problem.tables.measurements.frame["experimentId"][row], ()):
        there = rows_beside(problem.tables, row, name)
        above = float(np.mean(problem.measured[there] - base[there])) if len(there) else math.nan
        values.append(above if floor is None or math.isnan(above) else max(above, 0.0))
    if len(values) == 3:
        first, second, control = values
        values = [first * second / control if control else math.nan]
    return float(base[row]) + float(np.min(values)) if values else math.nan


# ---- the checkpoint ---------------------------------------------------------------------------------------------


class _Kept:
    """Finished groups, kept in a file where there is one."""

    def __init__(self, path: str | Path | None, run: Mapping[str, Any], *, resume: bool) -> None:
        self._path, self._run = None if path is None else Path(path), dict(run)
        self._groups: dict[str, dict[str, list[Any]]] = {}
        if self._path is not None and self._path.exists():
            if not resume:
                raise InputError(
                    f"{self._path} holds groups of an earlier run; go on with it (resume), or choose another file"
                )
            self._groups = self._read(self._path)

    def _read(self, path: Path) -> dict[str, dict[str, list[Any]]]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            schema, run, groups = content["schema"], content["run"], dict(content["groups"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no checkpoint of groups left out ({error}); remove it to begin anew") from None
        if schema != SCHEMA:
            raise InputError(f"{path} has the format {schema!r}, this version reads {SCHEMA!r}; begin anew")
        if different := differences(run, self._run):
            raise InputError(
                f"{path} holds groups of another run: {'; '.join(different)}. Go on with the same, or give another file"
            )
        return groups

    def get(self, group: Group) -> pd.DataFrame | None:
        """Return the rows of a finished group; None if it is not there."""
        import pandas as pd

        known = self._groups.get(_definition(group))
        return None if known is None else pd.DataFrame(known)

    def add(self, group: Group, rows: pd.DataFrame) -> None:
        if self._path is None:
            return
        self._groups[_definition(group)] = {str(name): rows[name].tolist() for name in rows}
        content = {"schema": SCHEMA, "run": self._run, "groups": self._groups}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


def _definition(group: Group) -> str:
    nulls = {null: {name: list(of) for name, of in taken.items()} for null, taken in group.nulls.items()}
    return json.dumps([group.name, list(group.experiments), nulls])
