"""Groups that are left out: never fitted, predicted with intervals that cover, and set beside null models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import recovery_problem

from residuum.fitting import Group, fit, leave_out, left_out_summary, validation, without
from residuum.simulator import InputError, UnknownNameError

GIVEN = ("a_low", "b_low", "a_none")


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


def test_the_better_single_agent_is_the_lower_one(problem: Any, theta: np.ndarray) -> None:
    _, b, c, d, *_ = experiments(problem)
    rows = leave_out(problem, theta, [Group("last", (d,), {"better": {d: (b, c)}})], seed=1)
    table = problem.tables.measurements.frame
    for row in rows.itertuples():
        of = table[table["time"] == row.time].groupby("experimentId")["measurement"].mean()
        assert row.better == min(of[b], of[c])


def test_bliss_above_the_floor_is_of_what_the_assay_shows_of_the_readout(frames: Any, make: Callable) -> None:
    frames["parameters"].loc[0, ["nominalValue", "estimate"]] = [3.0, "false"]
    frames["measurements"].loc[5, "measurement"] = 2.0  # a_low at the last time: less than the floor
    problem = make(frames)
    rows = leave_out(problem, problem.nominal, [Group("g", ("a_high",), {"Bliss": {"a_high": GIVEN}})])
    of = problem.tables.measurements.frame.set_index(["experimentId", "time"])["measurement"]
    for row in rows.itertuples():
        first, second, control = (of[name, row.time] for name in GIVEN)
        assert row.Bliss == pytest.approx(first * second / control)
        above = max(first - 3, 0) * max(second - 3, 0) / (control - 3)
        assert rows.loc[row.Index, "Bliss above the floor"] == pytest.approx(3 + above)
        assert rows.loc[row.Index, "fold_Bliss above the floor"] == pytest.approx((3 + above) / row.measured)
    assert rows["Bliss above the floor"].iloc[-1] == 3.0
    assert "fold_Bliss above the floor" in left_out_summary(rows)


def test_null_models_find_the_rows_of_other_fillings_of_placeholders(frames: Any, make: Callable) -> None:
    frames["observables"]["observableFormula"] = "offset + by * pX"
    frames["observables"]["observablePlaceholders"] = "by"
    rows = frames["measurements"]
    rows["observableParameters"] = np.where(rows["experimentId"].str.startswith("a"), "scale", "2")
    problem = make(frames)
    assert set(problem.tables.measurements.frame["observableId"]) == {"bead", "bead__2"}
    found = leave_out(problem, problem.nominal, [Group("g", ("b_low",), {"other": {"b_low": ("a_low",)}})])
    assert found["other"].to_numpy() == pytest.approx(rows["measurement"][3:6].to_numpy(float))


# ---- what is kept -----------------------------------------------------------------------------------------------


@pytest.mark.fault
def test_groups_that_are_done_are_kept(
    problem: Any, theta: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, b, c, d, *_ = experiments(problem)
    groups = [Group(name, (name,), {"copy": {name: (b,)}}) for name in (c, d)]
    whole, path, done = leave_out(problem, theta, groups, seed=1), tmp_path / "kept" / "groups.json", []
    predicted = validation._predicted

    def counted(*given: Any) -> Any:
        if done == [c]:
            raise KeyboardInterrupt
        done.append(given[2].name)
        return predicted(*given)

    monkeypatch.setattr(validation, "_predicted", counted)
    with pytest.raises(KeyboardInterrupt):
        leave_out(problem, theta, groups, seed=1, checkpoint=path)
    assert [file.name for file in path.parent.iterdir()] == ["groups.json"]
    done.clear()
    rows = leave_out(problem, theta, groups, seed=1, checkpoint=path, resume=True)
    assert done == [d] and rows.equals(whole)
    for settings, words in (
        ({"seed": 2}, "seed was 1, is 2"),
        ({"max_evaluations": 7, "seed": 1}, "max_evaluations was 30, is 7"),
    ):
        with pytest.raises(InputError, match=words):
            leave_out(problem, theta, groups, checkpoint=path, resume=True, **settings)
    with pytest.raises(InputError, match="optimum was"):
        leave_out(problem, theta + 0.1, groups, seed=1, checkpoint=path, resume=True)
    with pytest.raises(InputError, match="holds groups of an earlier run"):
        leave_out(problem, theta, groups, seed=1, checkpoint=path)
    path.write_text(path.read_text()[:200])
    with pytest.raises(InputError, match="is no checkpoint of groups left out"):
        leave_out(problem, theta, groups, seed=1, checkpoint=path, resume=True)


def test_how_a_fit_ended_is_said(problem: Any, theta: np.ndarray) -> None:
    group = Group("one", experiments(problem)[1:2], {})
    assert set(leave_out(problem, theta, [group])["ended"]) == {"converged"}
    short = left_out_summary(leave_out(problem, theta + 0.5, [group], max_evaluations=1))
    assert list(short["ended"]) == ["limit of 1 steps reached before convergence"]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p, t: without(p, ["no such"]), UnknownNameError, "no such"),
        (lambda p, t: without(p, experiments(p)), InputError, "nothing to fit"),
        (lambda p, t: leave_out(p, t, []), InputError, "at least one"),
        (lambda p, t: leave_out(p, t, [], resume=True), InputError, "at least one"),
        (lambda p, t: leave_out(p, t, [Group("g", ("e1",), {})], resume=True), InputError, "give checkpoint"),
        (lambda p, t: leave_out(p, t, [Group("g", ("e1",), {"n": {"e1": ()}})]), InputError, "takes 0 experiments"),
        (lambda p, t: leave_out(p, t, [Group("g", ("e1",), {"n": {"e1": ("x",)}})]), UnknownNameError, "'x'"),
    ],
)
def test_what_cannot_be_left_out_is_refused(
    problem: Any, theta: np.ndarray, call: Callable[..., Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call(problem, theta)
