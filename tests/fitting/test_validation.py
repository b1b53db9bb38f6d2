"""Groups that are left out: never fitted, predicted with intervals that cover, and set beside null models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import recovery_problem

from residuum.fitting import Group, fit, leave_out, left_out_summary, without
from residuum.simulator import InputError, UnknownNameError


@pytest.fixture(scope="module")
def problem() -> Any:
    return recovery_problem("switch")[0]


@pytest.fixture(scope="module")
def theta(problem: Any) -> np.ndarray:
    return fit(problem, progress=False).theta


def experiments(problem: Any) -> list[str]:
    return list(dict.fromkeys(problem.tables.experiments.frame["experimentId"]))


def test_what_is_left_out_has_no_residual(problem: Any) -> None:
    out = experiments(problem)[1]
    smaller = without(problem, [out])
    n_out = int((problem.tables.measurements.frame["experimentId"] == out).sum())
    assert n_out > 0 and smaller.n_data == problem.n_data - n_out
    assert len(smaller.validation_rows) == len(problem.validation_rows) + n_out
    assert (problem.tables.measurements.frame["role"] == "fit").all(), "the problem itself was changed"
    assert smaller.tables.hash != problem.tables.hash, "a checkpoint of the one would pass for the other's"


def test_a_row_left_out_is_predicted_from_the_others(problem: Any, theta: np.ndarray) -> None:
    first, *others = experiments(problem)
    groups = [Group(name, (name,), {"first": {name: (first,)}}) for name in others]
    rows = leave_out(problem, theta, groups, seed=1)
    assert list(dict.fromkeys(rows["left_out"])) == others
    assert (rows["lower"] < rows["predicted"]).all() and (rows["predicted"] < rows["upper"]).all()
    # noise of 10 %: nine in ten are to be covered; below two thirds of 15 rows would come by chance once in 300
    assert rows["covered"].mean() > 2 / 3
    short = left_out_summary(rows)
    assert (short["fold_model"] < 1.5).all()
    assert short["fold_first"].max() > 2, "copying the cell without dose says little about high doses"


def test_a_null_model_copies_the_measured_value_at_the_same_time(problem: Any, theta: np.ndarray) -> None:
    first, second, *_ = experiments(problem)
    rows = leave_out(problem, theta, [Group("second", (second,), {"copy": {second: (first,)}})], seed=1)
    table = problem.tables.measurements.frame
    for row in rows.itertuples():
        here = table[(table["experimentId"] == first) & (table["time"] == row.time)]
        assert row.copy == here["measurement"].mean()


def test_bliss_is_the_product_of_single_agents_over_the_control(problem: Any, theta: np.ndarray) -> None:
    a, b, c, d, *_ = experiments(problem)
    rows = leave_out(problem, theta, [Group("last", (d,), {"bliss": {d: (b, c, a)}})], seed=1)
    table = problem.tables.measurements.frame
    for row in rows.itertuples():
        of = table[table["time"] == row.time].groupby("experimentId")["measurement"].mean()
        assert row.bliss == pytest.approx(of[b] * of[c] / of[a])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p, t: without(p, ["no such"]), UnknownNameError, "no such"),
        (lambda p, t: without(p, experiments(p)), InputError, "nothing to fit"),
        (lambda p, t: leave_out(p, t, []), InputError, "at least one"),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    problem: Any, theta: np.ndarray, call: Callable[..., Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call(problem, theta)
