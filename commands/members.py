"""Members of an ensemble of the shipped problem in; what they predict beyond the data, and show, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from .. import Ensemble, Problem

Float = npt.NDArray[np.float64]

BEHAVIOURS = tuple(f"B{i}" for i in range(6, 13))
DAY = 86_400.0
DIFFERENCE = 0.01
"""Of a parameter on its search scale, for derivatives: 2 % of its value."""


class Question(NamedTuple):
    """How much of a read-out of a cell is left 24 h after drugs (free concentrations, nM)?"""

    context: str
    drugs: Mapping[str, float]
    readout: str

    def __str__(self) -> str:
        return (
            f"{self.readout}, {self.context}, {' + '.join(f'{drug} {dose:g} nM' for drug, dose in self.drugs.items())}"
        )


QUESTIONS = (
    Question("blast-itd+erk-stroma", {"quizartinib": 10.0}, "pERK"),
    Question("blast-itd+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    Question("blast-wt+erk-stroma", {"gilteritinib": 30.0}, "pERK"),
    Question("blast-itd+stat5-stroma", {"quizartinib": 10.0}, "pSTAT5"),
    Question("blast-itd+stat5-stroma", {"gilteritinib": 30.0}, "pSTAT5"),
    Question("blast-itd-nras", {"quizartinib": 10.0}, "pERK"),
    Question("molm-13", {"quizartinib": 10.0}, "pERK"),
    Question("blast-itd+erk-stroma", {"quizartinib": 10.0, "trametinib": 3.0}, "pERK"),
)
"""Those of the model page that no data set here answers."""


def first(ensemble: Ensemble, n: int) -> Ensemble:
    """Return the first `n` members."""
    return replace(ensemble, values=ensemble.values[:n], weights=ensemble.weights[:n])


class Answers(NamedTuple):
    """Read-outs (nM) of members, (n_members, ..., n_questions), 24 h after the drugs; NaN where a run failed."""

    treated: Float
    untreated: Float

    @property
    def left(self) -> Float:
        """What is left, as a fraction."""
        with np.errstate(all="ignore"):
            return self.treated / self.untreated


def answers(ensemble: Ensemble) -> Answers:
    """Return what every member says to the questions, (n_members, n_questions)."""
    from .. import aml_predictions

    def of(question: Question, drugs: Mapping[str, float]) -> Float:
        context, _, readout = question
        return aml_predictions(ensemble, [context], drugs, [DAY], [readout])["value"].to_numpy().ravel()

    return Answers(
        np.stack([of(question, question.drugs) for question in QUESTIONS], axis=1),
        np.stack([of(question, dict.fromkeys(question.drugs, 0.0)) for question in QUESTIONS], axis=1),
    )


def answers_under(draws: pd.DataFrame, ensemble: Ensemble) -> Answers:
    """Return the same with each draw of further parameters laid over each member, (n_members, n_draws, n_questions)."""
    n, m = len(ensemble), len(draws)
    crossed = replace(ensemble, values=np.repeat(ensemble.values, m, axis=0), weights=np.repeat(ensemble.weights, m))
    crossed = crossed.with_parameters({name: np.tile(draws[name].to_numpy(float), n) for name in draws})
    return Answers(*(values.reshape(n, m, -1) for values in answers(crossed)))


def variance_parts(table: Float) -> tuple[float, float, float]:
    """Return the variance of a table (n_members, n_draws) by rows, by columns, and by what is of neither alone.

    The parts sum to the variance of the table: those of the means of rows and of columns, and the rest. Columns without
    any number (a draw under which no run ends) are left out, then rows that miss one.
    """
    whole = table[:, np.isfinite(table).any(axis=0)]
    whole = whole[np.isfinite(whole).all(axis=1)]
    if not whole.size:
        return (float("nan"),) * 3
    by_rows, by_columns = float(np.var(whole.mean(axis=1))), float(np.var(whole.mean(axis=0)))
    return by_rows, by_columns, max(float(np.var(whole)) - by_rows - by_columns, 0.0)


def prior_shares(problem: Problem, theta: npt.ArrayLike) -> Float:
    """Return the share of the variance of each prediction under the fit that comes from its priors, (n_questions,).

    With data rows J and prior rows K of the Jacobian at the optimum, the covariance of the parameters is
    C = (J'J + K'K)^-1 = C J'J C + C K'K C: what noise of the data does to the optimum, and what noise of the priors
    does. Along the gradient g of a prediction the second part is the share g'C K'K C g / g'C g. Where nothing is
    measured it is 1, and NaN where no parameter acts. A uniform prior counts as a normal one of the same variance.
    """
    from .. import Ensemble

    centre, n = np.asarray(theta, float), problem.n_free
    jacobian = problem.jacobian(centre)
    data, priors = jacobian[: problem.n_data], jacobian[problem.n_data : problem.n_data + problem.n_priors]
    flat = [name in problem.scaling.flat() for name in problem.names]
    of_priors = priors.T @ priors + np.diag(np.where(flat, 12.0 / (problem.upper - problem.lower) ** 2, 0.0))
    covariance = np.linalg.inv(data.T @ data + of_priors)
    steps = DIFFERENCE * np.eye(n)
    up, down = (answers(Ensemble.from_points(problem, centre + sign * steps)).left for sign in (1.0, -1.0))
    gradients = (up - down) / (2 * DIFFERENCE)
    moved = covariance @ gradients
    with np.errstate(invalid="ignore"):
        return np.sum(moved * (of_priors @ moved), axis=0) / np.sum(moved * gradients, axis=0)


def behaviours_of(ensembles: Mapping[str, Ensemble], progress: bool) -> pd.DataFrame:
    """Return, per behaviour and named ensemble, in what share of the members it is shown."""
    import pandas as pd

    from .. import aml_behaviours, aml_tables
    from ..simulator.progress import progress_bar

    statement = aml_tables()["behaviours"].set_index("id")["statement"]
    table = pd.DataFrame({"behaviour": BEHAVIOURS, "statement": [statement[id_] for id_ in BEHAVIOURS]})
    n_all, done = sum(map(len, ensembles.values())), 0
    with progress_bar(n_all, "behaviours of members", shown=progress) as advance:
        for name, ensemble in ensembles.items():
            shown = np.zeros(len(BEHAVIOURS))
            for row in ensemble.values:
                outcomes = aml_behaviours(BEHAVIOURS, fitted=dict(zip(ensemble.names, map(float, row), strict=True)))
                shown += [outcomes[id_].reproduced for id_ in BEHAVIOURS]
                advance(done := done + 1)
            table[name] = [f"{count:.0f} of {len(ensemble)}" for count in shown]
    return table
