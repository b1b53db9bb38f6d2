"""The end of a search in; tables of parameters, fitted and held-out numbers, a figure and files with provenance out."""

from __future__ import annotations

import json
import math
import time as wall
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..simulator.report import write_whole
from .tables import rows_beside, split

if TYPE_CHECKING:
    import pandas as pd

    from .objective import Evaluation, Problem

Float = npt.NDArray[np.float64]

SCHEMA = "residuum-fit-1"
DATA_BELOW, PRIOR_ABOVE = 0.5, 0.9
"""Ratio of a parameter's spread after the fit to its prior spread: below, the data decide; above, the prior does."""
NEAR_BOUND = 1e-3
"""Distance from a bound, as a fraction of the distance between the bounds, at which a parameter counts as on it."""


@dataclass(frozen=True)
class Fit:
    """Outcome of `fit`.

    Attributes
    ----------
    parameters
        One row per estimated parameter: `parameter`, `value`, `nominal`, `lower`, `upper`, `at_bound`, `scale` of the
        search, `prior` in words, `prior_centre` (its most probable value), `prior_sd` and `fit_sd` on the search scale
        (decades where it is log10), `determined_by` (`data`, `both`, `prior`; from the ratio of these two; `solved
        for`), `source`, `note`.
        `fit_sd` is that of the linearised model at the optimum under the assumed noise (see `Problem.information`):
        local, and too small if the model is wrong.
    fitted
        One row per fit measurement: `observable`, `experiment`, `panel`, `label`, `time`, `measured`, `at_nominal`,
        `fitted`, `fold` (fitted / measured; where censored, over the limit that it is beyond, else 1), `floor` (all
        readouts at 0), `noise_sd`, `noise`, `censoring`, `upper`, `residual`, `failure`, `source`.
    validation
        One row per validation measurement, none of which entered the fit: as `fitted`, with `predicted` for `fitted`
        and the null models `copy_of_first` (the measured value of the first experiment in `singleAgents`) and
        `best_single_agent` (the lowest measured value among them), each with its fold of the measured value.
    starts
        One row per start: losses, points evaluated (those that cost no simulation too), how it ended, and whether runs
        fail where it ended.
    ends : (n_starts, n_free)
        The best point of every start on the search scale, in the order of `starts`; NaN where there is none.
    loss_nominal, loss
        The loss (see `objective`), at the nominal point and at the optimum. Here and in `at_nominal` the
        parameters that act on the model are nominal and those that only enter the observation (offsets, scales)
        are fitted, so that the difference is what fitting the model brought.
    chi2_data, chi2_priors
        Sums of squared residuals; with known noise the two parts of twice `loss`.
    n_data, n_priors, n_free
        Counts of fitted measurements, informative priors and estimated parameters.
    theta : (n_free,)
        The optimum on the search scale.
    converged, stopped, message
        How the search ended.
    n_failures
        Number of points, during the search, at which a simulation failed.
    seconds
        Wall time.
    provenance
        Versions, hashes, seed, settings.
    notes
        (subject, note) of the problem.
    """

    parameters: pd.DataFrame
    fitted: pd.DataFrame
    validation: pd.DataFrame
    starts: pd.DataFrame
    ends: Float = field(repr=False)
    loss_nominal: float
    loss: float
    chi2_data: float
    chi2_priors: float
    n_data: int
    n_priors: int
    n_free: int
    theta: Float
    converged: bool
    stopped: bool
    message: str
    n_failures: int
    seconds: float
    provenance: Mapping[str, Any] = field(repr=False)
    notes: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        return (
            f"<Fit {self.message}: loss {self.loss_nominal:.4g} -> {self.loss:.4g}, {self.n_data} measurements, "
            f"{self.n_free} parameters, {self.n_priors} priors>"
        )

    @property
    def values(self) -> dict[str, float]:
        """The estimated parameters by name."""
        return dict(zip(self.parameters["parameter"], map(float, self.parameters["value"]), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """Return fitted and validation rows as one table with a column `role`."""
        import pandas as pd

        parts = [self.fitted.assign(role="fit")]
        if len(self.validation):
            parts.append(self.validation.rename(columns={"predicted": "fitted"}).assign(role="validation"))
        return pd.concat(parts, ignore_index=True)

    def starts_frame(self) -> pd.DataFrame:
        """Return the starts, best first, with the parameter values at which each ended."""
        import pandas as pd

        log = (self.parameters["scale"] == "log10").to_numpy()
        values = np.where(log, 10.0 ** np.where(log, self.ends, 0.0), self.ends)
        table = pd.concat([self.starts, pd.DataFrame(values, columns=list(self.parameters["parameter"]))], axis=1)
        return table.sort_values(["failed", "loss", "start"], ignore_index=True)

    def typical_fold(self) -> dict[str, float]:
        """Return the typical factor, exp(root mean square of ln fold), between numbers and measurements.

        Keys: `fitted`, `at_nominal`, and for validation rows `predicted`, `copy_of_first`, `best_single_agent`.
        Rows without a positive fold have no say; `without_fold` counts them. A censored row has the fold 1 where the
        number lies within its limits.
        """
        return {name: _typical(fold) for name, fold in self._folds().items()}

    def without_fold(self) -> dict[str, int]:
        """Return the number of rows that have no say in each of `typical_fold`: no number, or not a positive fold."""
        return {name: int(np.count_nonzero(~(fold > 0))) for name, fold in self._folds().items()}

    def _folds(self) -> dict[str, Float]:
        found = {name: folds(self.fitted, name) for name in ("at_nominal", "fitted")}
        if len(self.validation):
            nulls = ("predicted", "copy_of_first", "best_single_agent")
            found |= {name: folds(self.validation, name) for name in nulls}
        return found

    def report(self) -> str:
        """Return the fit in words and numbers: what was fitted, what is prior, and how it did on what was held out."""
        typical, lost = self.typical_fold(), self.without_fold()
        left_out = {name: f" (without {n} rows of no positive fold)" if n else "" for name, n in lost.items()}
        failed = f"; simulations failed at {self.n_failures} points" if self.n_failures else ""
        lines = [
            f"{self.n_data} measurements, {self.n_free} estimated parameters, {self.n_priors} priors"
            f" ({self.message}, {self.seconds:.0f} s{failed})",
            f"loss {self.loss_nominal:.4g} with the model nominal (offset and scale fitted), {self.loss:.4g} fitted"
            f" (chi2 of the data {self.chi2_data:.3g}, of the priors {self.chi2_priors:.3g})",
            f"typical factor between fitted and measured: {typical['at_nominal']:.2f}{left_out['at_nominal']} -> "
            f"{typical['fitted']:.2f}{left_out['fitted']}",
            "",
            _shown(
                self.parameters,
                ["parameter", "value", "nominal", "prior", "prior_sd", "fit_sd", "determined_by", "at_bound"],
            ),
            "",
            _shown(
                self.fitted,
                ["observable", "panel", "label", "measured", "at_nominal", "fitted", "residual", "failure"],
            ),
        ]
        if len(self.validation):
            lines += [
                "",
                "held out, not fitted:",
                _shown(
                    self.validation,
                    [
                        "observable",
                        "panel",
                        "label",
                        "measured",
                        "predicted",
                        "copy_of_first",
                        "best_single_agent",
                        "failure",
                    ],
                ),
                "typical factor: "
                + ", ".join(
                    f"{words} {typical[name]:.2f}{left_out[name]}"
                    for name, words in (
                        ("predicted", "model"),
                        ("copy_of_first", "copy of the first single agent"),
                        ("best_single_agent", "best single agent"),
                    )
                ),
            ]
        if self.notes:
            lines += ["", "notes:", *(f"* {subject}: {note}" for subject, note in self.notes)]
        return "\n".join(lines)

    def plot(self, axes: Any = None) -> Any:
        """Draw measured and fitted values per observable and panel; see `plots.plot_fit`."""
        from .plots import plot_fit

        return plot_fit(self, axes)

    def plot_waterfall(self, axis: Any = None) -> Any:
        """Draw the loss at which every start ended; see `plots.plot_waterfall`."""
        from .plots import plot_waterfall

        return plot_waterfall(self, axis)

    def plot_parameters(self, axis: Any = None) -> Any:
        """Draw where the best starts ended between the bounds; see `plots.plot_parameters`."""
        from .plots import plot_parameters

        return plot_parameters(self, axis)

    def save(self, folder: str | Path) -> list[Path]:
        """Write `fit.json` (everything), `parameters.tsv`, `fitted.tsv`, `validation.tsv`, `starts.tsv`; return paths.

        Each file is written under a temporary name and then renamed, so that none is ever half there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "schema": SCHEMA,
            **{name: getattr(self, name) for name in _PLAIN},
            "theta": self.theta.tolist(),
            "ends": [[None if math.isnan(x) else x for x in end] for end in self.ends.tolist()],
            "provenance": dict(self.provenance),
            "notes": [list(note) for note in self.notes],
            **{name: _records(getattr(self, name)) for name in _TABLES},
        }
        texts = {"fit.json": json.dumps(content, indent=1, allow_nan=False) + "\n"}
        texts |= {
            f"{name}.tsv": getattr(self, name).to_csv(sep="\t", index=False)
            for name in ("parameters", "fitted", "validation")
        }
        texts["starts.tsv"] = self.starts_frame().to_csv(sep="\t", index=False)
        return [
            write_whole(folder / name, partial(Path.write_text, data=text, encoding="utf-8"))
            for name, text in texts.items()
        ]


_PLAIN = (
    "loss_nominal", "loss", "chi2_data", "chi2_priors", "n_data", "n_priors", "n_free", "converged", "stopped",
    "message", "n_failures", "seconds",
)  # fmt: skip
_TABLES = ("parameters", "fitted", "validation", "starts")


def assemble(problem: Problem, theta: Float, *, starts: Sequence[Mapping[str, Any]], ends: Float, seed: int,
             stopped: bool, converged: bool, message: str, n_failures: int, began: float,
             search: Mapping[str, Any]) -> Fit:  # fmt: skip
    """Return the Fit of `problem` at `theta`; `began` is the monotonic time at which the search started."""
    import pandas as pd

    from .minimise import observation_fitted

    nominal, best = problem.evaluate_many([observation_fitted(problem, problem.nominal), theta], validation=True)
    data = best.residuals[: problem.n_data]
    failed = any(best.failures[row] for row in problem.fit_rows)
    message = f"{message}; simulations fail at this point, do not use it" if failed else message
    return Fit(
        parameters=_with_solved(problem, _parameter_table(problem, theta), best.inner),
        fitted=_measurement_table(problem, problem.fit_rows, nominal, best),
        validation=_validation_table(problem, nominal, best),
        starts=pd.DataFrame(starts),
        ends=ends,
        loss_nominal=nominal.loss,
        loss=best.loss,
        chi2_data=float(data @ data),
        chi2_priors=float(np.sum(problem.scaling.prior_residuals(best.theta) ** 2)),
        n_data=problem.n_data,
        n_priors=problem.n_priors,
        n_free=problem.n_free,
        theta=best.theta,
        converged=converged and not failed,
        stopped=stopped,
        message=message,
        n_failures=n_failures,
        seconds=wall.monotonic() - began,
        provenance={**problem.provenance(), "seed": seed, "starts": len(starts), **search, "time": _now()},
        notes=problem.notes,
    )


def spread(rows: Float) -> Float:
    """Return the standard deviation of each parameter under the linearised model, (n_free,); inf where undetermined.

    It is the square root of the diagonal of (R^T R)^-1 for rows R (n_rows, n_free) of `Problem.information_rows`.
    """
    _, singular, vt = np.linalg.svd(rows, full_matrices=True)
    weights = np.zeros(vt.shape[0])
    weights[: len(singular)] = singular
    seen = weights > 1e-12 * max(float(weights.max(initial=0.0)), 1e-300)
    variance = (vt[seen] ** 2 / weights[seen, None] ** 2).sum(axis=0)
    # a parameter that takes part in a direction that nothing determines is itself undetermined
    return np.where((vt[~seen] ** 2).sum(axis=0) > 1e-8, np.inf, np.sqrt(variance))


def _parameter_table(problem: Problem, theta: Float) -> pd.DataFrame:
    import pandas as pd

    scaling = problem.scaling
    table = problem.tables.parameters.frame.set_index("parameterId").loc[list(problem.names)]
    width = problem.upper - problem.lower
    at_lower = theta - problem.lower < NEAR_BOUND * width
    at_upper = problem.upper - theta < NEAR_BOUND * width
    fit_sd, prior_sd = spread(problem.information_rows(theta)), scaling.prior_spread()
    ratio = fit_sd / prior_sd
    determined = np.select(
        [np.isnan(prior_sd), ratio < DATA_BELOW, ratio > PRIOR_ABOVE], ["data", "data", "prior"], "both"
    )
    determined = np.where(np.isinf(fit_sd), "nothing", determined)
    return pd.DataFrame(
        {
            "parameter": problem.names,
            "value": scaling.to_values(theta),
            "nominal": scaling.to_values(problem.nominal),
            "lower": scaling.to_values(problem.lower),
            "upper": scaling.to_values(problem.upper),
            "at_bound": np.select([at_lower, at_upper], ["lower", "upper"], ""),
            "scale": table["parameterScale"].to_numpy(),
            "prior": scaling.prior_words(),
            "prior_centre": scaling.prior_centre(),
            "prior_sd": prior_sd,
            "fit_sd": fit_sd,
            "determined_by": determined,
            "source": table["source"].to_numpy(),
            "note": table["note"].to_numpy(),
        }
    )


def _with_solved(problem: Problem, table: pd.DataFrame, solved: Mapping[str, float]) -> pd.DataFrame:
    """Return the parameters with those that were solved for instead of searched."""
    import pandas as pd

    if problem.inner is None:
        return table
    inside = problem.inner.inside(solved)
    known = problem.tables.parameters.frame.set_index("parameterId").loc[list(solved)]
    values = np.array(list(solved.values()))
    lower, upper = (known[column].to_numpy(float) for column in ("lowerBound", "upperBound"))
    rows = pd.DataFrame(
        {
            "parameter": list(solved),
            "value": values,
            "nominal": known["nominalValue"].to_numpy(float),
            "lower": lower,
            "upper": upper,
            "at_bound": np.where(
                np.isin(list(solved), inside), "", np.where(values - lower < upper - values, "lower", "upper")
            ),
            "scale": known["parameterScale"].to_numpy(),
            "prior": "uniform within bounds",
            "prior_sd": math.nan,
            "fit_sd": math.nan,
            "determined_by": "solved for",
            "source": known["source"].to_numpy(),
            "note": known["note"].to_numpy(),
        }
    )
    return pd.concat([table, rows], ignore_index=True)


def _measurement_table(
    problem: Problem, rows: npt.NDArray[np.intp], nominal: Evaluation, best: Evaluation
) -> pd.DataFrame:
    import pandas as pd

    measurements = problem.tables.measurements.frame.iloc[rows]
    described = problem.tables.experiments.frame.drop_duplicates("experimentId").set_index("experimentId")
    names = problem.tables.observables.frame.set_index("observableId")
    experiments = list(measurements["experimentId"])
    observables = list(measurements["observableId"])
    table = pd.DataFrame(
        {
            "observable": [names["observableName"][o] or o for o in observables],
            "unit": [names["unit"][o] for o in observables],
            "experiment": experiments,
            "panel": [described["panel"][e] for e in experiments],
            "label": [described["label"][e] or e for e in experiments],
            "time": measurements["time"].to_numpy(),
            "measured": problem.measured[rows],
            "at_nominal": nominal.predicted[rows],
            "fitted": best.predicted[rows],
            "fold": math.nan,
            "floor": problem.at_zero_readout(best.theta)[rows],
            "noise_sd": best.sigma[rows],
            "noise": problem.observation.distribution[rows],
            "censoring": problem.observation.censoring[rows],
            "upper": problem.observation.upper[rows],
            "residual": problem.observation.residuals(best.predicted, best.sigma)[rows],
            "failure": [best.failures[row] for row in rows],
            "source": measurements["source"].to_numpy(),
        }
    )
    table["fold"] = folds(table, "fitted")
    return table


def _validation_table(problem: Problem, nominal: Evaluation, best: Evaluation) -> pd.DataFrame:
    """Return the validation rows with the null models beside the prediction."""
    table = _measurement_table(problem, problem.validation_rows, nominal, best).rename(columns={"fitted": "predicted"})
    copies, lowest = [], []
    agents = problem.tables.measurements.frame["singleAgents"]
    for row in problem.validation_rows:
        singles = [
            problem.measured[there].mean() if len(there) else math.nan
            for there in (rows_beside(problem.tables, int(row), name) for name in split(agents[row]))
        ]
        copies.append(singles[0] if singles else math.nan)
        lowest.append(np.nanmin(singles) if singles and not np.all(np.isnan(singles)) else math.nan)
    for name, values in (("copy_of_first", copies), ("best_single_agent", lowest)):
        table[name] = np.array(values, float)
        table[f"fold_{name}"] = folds(table, name)
    return table


def folds(table: pd.DataFrame, column: str) -> Float:
    """Return a column over the measured values, (n_rows,); of a censored row over the limit that it is beyond, else 1.

    `table` has the columns `measured`, `censoring` and `upper`.
    """
    value, measured, upper = (table[name].to_numpy(float) for name in (column, "measured", "upper"))
    kind = table["censoring"].to_numpy(str)
    with np.errstate(all="ignore"):
        fold, above = value / measured, np.maximum(value / upper, 1.0)
    below = np.minimum(fold, 1.0)
    fold = np.where(kind == "left", np.maximum(fold, 1.0), np.where(kind == "right", below, fold))
    return np.where(kind == "interval", below * above, fold)


def _typical(fold: Float) -> float:
    known = fold[fold > 0]
    return float(np.exp(np.sqrt(np.mean(np.log(known) ** 2)))) if len(known) else math.nan


def _shown(table: pd.DataFrame, columns: Sequence[str]) -> str:
    kept = [column for column in columns if column not in ("failure", "at_bound") or (table[column] != "").any()]
    return table[kept].to_string(index=False, float_format=lambda x: f"{x:.3g}")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table for JSON: numbers that are not finite become null."""
    rows = table.to_dict(orient="records")
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]


def _now() -> str:
    return wall.strftime("%Y-%m-%dT%H:%M:%SZ", wall.gmtime())
