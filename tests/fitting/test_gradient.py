"""Gradients are exact: against differences over a plateau of steps, whatever a parameter acts on, in any period."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import residuum
from residuum.fitting import read_problem
from residuum.fitting.checks import compare_gradients
from residuum.simulator import SolverOptions, compile_model, parse_net


def points(problem: Any, n: int = 3) -> list[np.ndarray]:
    """Return random points near the nominal one, on the search scale."""
    generator = np.random.default_rng(4)
    return [problem.nominal + generator.uniform(-0.4, 0.4, problem.n_free) for _ in range(n)]


def assert_exact(problem: Any) -> None:
    for theta in points(problem):
        assert compare_gradients(problem, theta) == ["agrees"] * problem.n_free
        loss, gradient, failed = problem.loss_and_gradient(theta)
        assert not failed
        assert loss == pytest.approx(problem.loss(theta), rel=1e-6)
        assert gradient == pytest.approx(problem.jacobian(theta).T @ problem.residuals(theta), rel=1e-6, abs=1e-6)


def with_parameter(frames: Any, name: str, *, scale: str = "log10") -> None:
    row = dict(zip(frames["parameters"].columns, (name, 0.01, 100, 0.5, "true", scale, "uniform", ""), strict=True))
    frames["parameters"] = pd.concat([frames["parameters"], pd.DataFrame([row])], ignore_index=True)


def with_condition(frames: Any, *rows: tuple[str, str, str]) -> None:
    extra = pd.DataFrame(rows, columns=["conditionId", "targetId", "targetValue"])
    frames["conditions"] = pd.concat([frames["conditions"], extra], ignore_index=True)


def test_after_a_pre_equilibration(frames: Any, make: Callable) -> None:
    assert_exact(make(frames))


def test_from_the_initial_amounts(frames: Any, make: Callable) -> None:
    with_parameter(frames, "total", scale="lin")
    table = frames["experiments"]
    lines = table[table["conditionId"].isin(["a", "b"])].assign(time=0.0)
    frames["experiments"] = pd.concat([lines, table[table["time"] == 0.0]], ignore_index=True)
    assert_exact(make(frames))


def test_of_a_value_that_holds_in_one_period_only(frames: Any, make: Callable) -> None:
    with_parameter(frames, "boost")
    with_condition(frames, ("low", "kr", "kr * boost"))
    assert_exact(make(frames))


def test_of_a_value_that_is_another_in_each_period(frames: Any, make: Callable) -> None:
    with_parameter(frames, "boost")
    with_condition(frames, ("none", "kr", "0.01 * boost"), ("high", "kr", "0.02 / boost"), ("low", "kr", "0.01"))
    assert_exact(make(frames))


def test_where_a_value_is_equal_in_two_periods_but_moves_in_one(frames: Any, make: Callable) -> None:
    with_parameter(frames, "boost")
    with_condition(frames, ("none", "kr", "0.02 * boost"), ("high", "kr", "0.01"))
    problem = make(frames)
    theta = problem.nominal  # 0.02 * boost = 0.01
    assert compare_gradients(problem, theta) == ["agrees"] * problem.n_free


def test_of_estimated_noise(frames: Any, make: Callable) -> None:
    with_parameter(frames, "spread")
    frames["observables"]["noiseFormula"] = "0.1 + spread"
    assert_exact(make(frames))


@pytest.mark.parametrize("distribution", ["normal", "laplace", "log-laplace", "student-t"])
def test_of_other_noise(frames: Any, make: Callable, distribution: str) -> None:
    frames["observables"]["noiseDistribution"] = distribution
    frames["parameters"].loc[5, "nominalValue"] = 20.0  # of the order of the data
    assert_exact(make(frames))


def test_of_censored_rows(frames: Any, make: Callable) -> None:
    rows = frames["measurements"]
    rows["censoring"], rows["measurementUpper"] = "", ""
    rows.loc[[0, 3], "censoring"] = "left"
    rows.loc[[1, 8], "censoring"] = "right"
    rows.loc[5, "censoring"], rows.loc[5, "measurementUpper"] = "interval", str(1.3 * rows.loc[5, "measurement"])
    frames["parameters"].loc[5, "nominalValue"] = 0.5
    assert_exact(make(frames))


def test_lines_that_agree_share_a_run_and_keep_their_own_derivatives(frames: Any, make: Callable) -> None:
    problem = make(frames)
    jacobian = problem.jacobian(problem.nominal)
    assert problem.experiments.n_simulated == 3
    of_a = frames["measurements"]["experimentId"].str.startswith("a").to_numpy()
    a, b = (problem.names.index(f"gain_{line}") for line in "ab")
    data = jacobian[: problem.n_data]
    assert np.all(data[of_a, b] == 0) and np.all(data[~of_a, a] == 0)
    # the same run; the measured values of the lines differ, so rounding does
    assert data[of_a, a] == pytest.approx(data[~of_a, b], rel=1e-12) and np.any(data[of_a, a] != 0)


def test_parameters_that_never_meet_share_a_direction(frames: Any, make: Callable) -> None:
    # kd meets both gains, which belong to different lines; offset and scale need none
    assert make(frames).experiments.n_directions == 2


def test_what_was_asked_before_changes_nothing(frames: Any, make: Callable) -> None:
    theta = points(make(frames))[0]
    fresh, used = make(frames, options=SolverOptions()), make(frames, options=SolverOptions())
    used.jacobian(theta)
    assert np.array_equal(fresh.residuals(theta), used.residuals(theta))
    assert np.array_equal(make(frames, options=SolverOptions()).jacobian(theta), used.jacobian(theta))


@pytest.mark.fault
def test_a_failed_run_gives_a_penalty_and_no_slope(frames: Any, make: Callable) -> None:
    problem = make(frames, options=SolverOptions(max_steps=3))
    loss, gradient, failed = problem.loss_and_gradient(problem.nominal)
    assert failed and np.isfinite(loss) and np.all(np.isfinite(gradient))
    assert problem.n_failures == 1
    priors = problem.residuals(problem.nominal)[problem.n_data :]
    assert gradient == pytest.approx(problem.jacobian(problem.nominal)[problem.n_data :].T @ priors)


def test_log_posterior_and_loss_differ_by_a_constant(frames: Any, make: Callable) -> None:
    with_parameter(frames, "spread")
    frames["observables"]["noiseFormula"] = "spread"
    problem = make(frames)
    sums = [problem.loss(theta) + problem.log_likelihood(theta) + problem.log_prior(theta) for theta in points(problem)]
    assert sums == pytest.approx([sums[0]] * 3)
    assert problem.log_prior(problem.upper + 1) == -np.inf


# ---- what a check says ------------------------------------------------------------------------------------------


def test_a_check_names_what_the_data_cannot_tell(frames: Any, make: Callable) -> None:
    with_parameter(frames, "twice")
    with_parameter(frames, "idle")
    frames["observables"]["observableFormula"] = "offset + twice * scale * (pX + 0 * idle)"
    table = make(frames).check(points=1, differences=False).set_index("name")["verdict"]
    assert table["pX"] == "measured by 18 rows"
    assert table["sumX"].startswith("unmeasured")
    assert table["idle"].startswith("not seen")
    assert table["scale"].startswith("acts as twice") and table["twice"].startswith("acts as scale")
    assert table["kd"] == "seen"


def test_a_check_finds_a_wrong_gradient(frames: Any, make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from residuum.fitting import Problem

    exact = Problem.jacobian

    def wrong(self: Any, theta: Any, **settings: Any) -> Any:
        jacobian = exact(self, theta, **settings)
        jacobian[:, 4] *= 1.001
        return jacobian

    assert set(make(frames).check(points=0).query("about == 'gradient'")["verdict"]) == {"agrees"}
    monkeypatch.setattr(Problem, "jacobian", wrong)
    table = make(frames).check(points=0).query("about == 'gradient'").set_index("name")["verdict"]
    assert table["kd"].startswith("differs by") and table["gain_a"] == "agrees"


@pytest.mark.parametrize(("distribution", "sd"), [("log-normal", 0.1), ("student-t", 10.0)])
def test_a_check_steps_across_the_limits_of_censored_rows(
    frames: Any, make: Callable, distribution: str, sd: float
) -> None:
    frames["observables"]["noiseDistribution"] = distribution
    frames["parameters"].loc[5, "nominalValue"] = sd
    rows, there = frames["measurements"], make(frames).evaluate(make(frames).nominal).predicted
    rows["censoring"], rows["measurementUpper"] = "", ""
    for row, word in ((2, "left"), (4, "right"), (5, "interval"), (11, "interval")):
        rows.loc[row, "censoring"] = word
        rows.loc[row, "measurement"] = there[row] * (0.9 if row == 11 else 1.0)
        rows.loc[row, "measurementUpper"] = {5: str(there[row] + 1), 11: str(there[row])}.get(row, "")
    table = make(frames).check(points=0).query("about == 'gradient'")
    assert set(table["verdict"]) == {"agrees"}


# ---- where the solver has no derivative, and the problem that ships ----------------------------------------------

PULSED = """
begin parameters
    1 k 0.3
    2 t_on 2
end parameters
begin functions
    1 make() if(time()>t_on,k,0)
end functions
begin species
    1 A() 1
end species
begin reactions
    1 0 1 make
end reactions
begin groups
    1 A_total 1
end groups
"""


def test_a_time_of_a_switch_has_differences_instead() -> None:
    """A = 1 + k (t - t_on) from the switch on."""
    tables = {
        "conditions": pd.DataFrame([], columns=["conditionId", "targetId", "targetValue"]),
        "experiments": pd.DataFrame([("all", 0.0, "")], columns=["experimentId", "time", "conditionId"]),
        "measurements": pd.DataFrame(
            [("seen", "all", t, 0.5) for t in (1.0, 4.0, 8.0)],
            columns=["observableId", "experimentId", "time", "measurement"],
        ),
        "observables": pd.DataFrame(
            [("seen", "A_total", "1")], columns=["observableId", "observableFormula", "noiseFormula"]
        ),
        "parameters": pd.DataFrame(
            [("k", 0.1, 1.0, 0.3, "true"), ("t_on", 1.5, 3.0, 2.0, "true")],
            columns=["parameterId", "lowerBound", "upperBound", "nominalValue", "estimate"],
        ),
    }
    problem = read_problem(compile_model(parse_net(PULSED, "pulsed")), tables, threads=1)
    assert problem.experiments.without_slopes == {"t_on"}
    expected = np.array([[0, 0], [2, -0.3], [6, -0.3]])
    # the rate is linear in k and t_on, so forward differences err by the solver's tolerance, 1e-4, over the step 2e-3
    assert problem.jacobian(problem.nominal) == pytest.approx(expected, abs=1e-4)
    _, gradient, _ = problem.loss_and_gradient(problem.nominal)
    assert gradient == pytest.approx(expected.T @ problem.residuals(problem.nominal), abs=1e-3)


@pytest.mark.fault
def test_a_derivative_that_is_not_finite_counts_as_failed(frames: Any, make: Callable) -> None:
    frames["observables"]["observableFormula"] = "offset + scale * sqrt(pX * (noise - noise))"
    loss, gradient, failed = make(frames).loss_and_gradient(np.zeros(5))
    assert failed and np.isfinite(loss) and np.all(np.isfinite(gradient))


@pytest.mark.slow
def test_of_the_problem_that_ships() -> None:
    problem = residuum.aml_problem().with_options(SolverOptions(rtol=1e-9))
    generator = np.random.default_rng(0)
    for _ in range(3):
        assert compare_gradients(problem, problem.scaling.draw(generator)) == ["agrees"] * problem.n_free
