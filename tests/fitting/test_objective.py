"""Laws of the objective: closed forms, what is simulated and what is not, failures that are flagged and finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting.objective import PENALTY
from residuum.simulator import InputError, SolverOptions

LINES_APART = np.array([0.0, 0.0, 0.0, 0.3, 1.0])
"""A point at which the two lines differ; where they agree, they share their runs."""


def test_perfect_data_leave_no_residual(frames: Any, make: Callable, true_theta: np.ndarray) -> None:
    problem = make(frames)
    evaluation = problem.evaluate(true_theta)
    # the data are the closed form; the solver's rtol is 1e-9 and the noise 0.1
    assert np.max(np.abs(evaluation.residuals[: problem.n_data])) < 1e-6
    assert not evaluation.failed


def test_residuals_are_logarithms_over_noise_then_priors(frames: Any, make: Callable) -> None:
    problem = make(frames)
    evaluation = problem.evaluate(problem.nominal)
    expected = np.log(evaluation.predicted / problem.measured) / 0.1
    assert evaluation.residuals[: problem.n_data] == pytest.approx(expected)
    assert evaluation.residuals[problem.n_data :] == pytest.approx([0, 0, (np.log(10) - 2.3) / 5])
    assert problem.loss(problem.nominal) == pytest.approx(0.5 * np.sum(evaluation.residuals**2))


def test_normal_noise_gives_differences(frames: Any, make: Callable) -> None:
    frames["observables"]["noiseDistribution"] = "normal"
    problem = make(frames)
    evaluation = problem.evaluate(problem.nominal)
    assert evaluation.residuals[: problem.n_data] == pytest.approx((evaluation.predicted - problem.measured) / 0.1)


def test_noise_may_be_given_per_measurement(frames: Any, make: Callable) -> None:
    frames["observables"]["noiseFormula"] = "noise * noiseParameter1_bead"
    frames["observables"]["noisePlaceholders"] = "noiseParameter1_bead"
    frames["measurements"]["noiseParameters"] = [str(1 + i) for i in range(len(frames["measurements"]))]
    problem = make(frames)
    assert problem.observation.sd == pytest.approx(0.1 * (1 + np.arange(problem.n_data)))


def test_the_order_of_rows_changes_nothing(frames: Any, make: Callable) -> None:
    problem = make(frames)
    mixed = {name: frame.sample(frac=1, random_state=3).reset_index(drop=True) for name, frame in frames.items()}
    other = make(mixed)
    order = [problem.names.index(name) for name in other.names]
    theta = LINES_APART
    rows, mixed_rows = (
        list(t["measurements"][["experimentId", "time"]].itertuples(index=False)) for t in (frames, mixed)
    )
    back = [mixed_rows.index(row) for row in rows]
    assert np.array_equal(problem.evaluate(theta).predicted, other.evaluate(theta[order]).predicted[back])
    assert other.loss(theta[order]) == pytest.approx(problem.loss(theta), rel=1e-12)


def test_validation_rows_do_not_enter_the_residuals(frames: Any, make: Callable) -> None:
    frames["measurements"].loc[4, "role"] = "validation"
    problem = make(frames)
    before = problem.residuals(problem.nominal)
    frames["measurements"].loc[4, "measurement"] *= 1000
    assert np.array_equal(before, make(frames).residuals(problem.nominal))
    assert len(before) == len(frames["measurements"]) - 1 + problem.n_priors


def test_held_out_experiments_are_simulated_only_when_asked_for(frames: Any, make: Callable) -> None:
    rows = frames["measurements"]["experimentId"] == "b_high"
    frames["measurements"].loc[rows, "role"] = "validation"
    problem = make(frames)
    problem.evaluate(LINES_APART)
    assert problem.experiments.n_simulated == 5
    evaluation = problem.evaluate(LINES_APART, validation=True)
    assert problem.experiments.n_simulated == 6
    assert np.all(np.isfinite(evaluation.predicted))


def test_offset_and_scale_cost_no_simulation(frames: Any, make: Callable) -> None:
    problem = make(frames)
    problem.evaluate(LINES_APART)
    before = problem.experiments.n_simulated
    problem.evaluate(LINES_APART + np.array([0.1, -0.2, 0, 0, 0]))
    assert problem.experiments.n_simulated == before == 6


def test_a_jacobian_is_one_call_of_one_run_per_experiment(frames: Any, make: Callable) -> None:
    problem = make(frames)
    problem.jacobian(LINES_APART)
    assert problem.experiments.n_simulated == 6
    assert problem.experiments.n_calls == 1
    problem.loss_and_gradient(LINES_APART)
    assert problem.experiments.n_calls == 1


def test_differences_are_one_call_and_leave_the_other_line_alone(frames: Any, make: Callable) -> None:
    problem = make(frames)
    problem.jacobian(LINES_APART, differences=True)
    # kd belongs to the model, so it moves all 6 runs; a gain moves the 3 runs of its line; offset and scale none
    assert problem.experiments.n_simulated == 6 + 6 + 3 + 3
    assert problem.experiments.n_calls == 1


def test_a_jacobian_to_offset_and_scale_asks_the_solver_for_no_derivatives(frames: Any, make: Callable) -> None:
    problem = make(frames)
    problem.evaluate(LINES_APART)
    before = problem.experiments.n_simulated
    part = problem.jacobian(LINES_APART, columns=[0, 1])
    assert problem.experiments.n_simulated == before
    # the runs with derivatives take other steps, to the same tolerance of 1e-9
    assert part == pytest.approx(problem.jacobian(LINES_APART)[:, :2], rel=1e-6, abs=1e-9)


def test_forward_differences_agree_with_the_jacobian(frames: Any, make: Callable) -> None:
    problem = make(frames)
    theta = problem.nominal + 0.05
    exact = problem.jacobian(theta)
    # forward differences of step 1e-3 err by half the step times the second derivative (below 100)
    assert problem.jacobian(theta, differences=True) == pytest.approx(exact, abs=0.05)
    assert problem.jacobian(theta, differences=True, step=1e-5) == pytest.approx(exact, abs=1e-3)


def test_the_jacobian_steps_inwards_at_the_upper_bound(frames: Any, make: Callable) -> None:
    problem = make(frames)
    assert np.all(np.isfinite(problem.jacobian(problem.upper, differences=True)))


def test_several_points_in_one_call_equal_one_by_one(frames: Any, make: Callable) -> None:
    thetas = [make(frames).nominal + shift for shift in (0.0, 0.1, -0.2)]
    together = make(frames).evaluate_many(thetas)
    for theta, evaluation in zip(thetas, together, strict=True):
        assert np.array_equal(evaluation.residuals, make(frames).residuals(theta))


# ---- conditions -------------------------------------------------------------------------------------------------


def test_a_formula_scales_what_the_resolver_gave(frames: Any, make: Callable) -> None:
    asked = []

    def resolve(named: Mapping[str, str]) -> dict[str, float]:
        asked.append(dict(named))
        return {"kf": {"slow": 0.001, "fast": 0.1}[named["cell"]]}

    extra = pd.DataFrame(
        [("a", "cell", "slow"), ("b", "cell", "fast")], columns=["conditionId", "targetId", "targetValue"]
    )
    frames["conditions"] = pd.concat([frames["conditions"], extra], ignore_index=True)
    problem = make(frames, resolve=resolve)
    theta = np.log10([1, 1, 3, 5, 10])
    assert problem.model_parameters("a_low", theta)["kf"] == pytest.approx(3 * 0.001)
    assert problem.model_parameters("b_low", theta)["kf"] == pytest.approx(5 * 0.1)
    assert {"cell": "slow"} in asked


def test_what_the_resolver_does_not_know_is_named_with_its_line(frames: Any, make: Callable) -> None:
    def resolve(named: Mapping[str, str]) -> dict[str, float]:
        raise KeyError("no drug of that name")

    frames["conditions"].loc[2, "targetId"] = "midostaurine"
    with pytest.raises(InputError, match=r"line 4, column targetId: cannot resolve midostaurine = 0.0: .*no drug"):
        make(frames, resolve=resolve)


def test_a_resolver_that_returns_an_unknown_parameter_is_named(frames: Any, make: Callable) -> None:
    frames["conditions"].loc[2, "targetId"] = "drug"
    with pytest.raises(InputError, match="unknown parameter 'dos'"):
        make(frames, resolve=lambda named: {"dos": 1.0})


def test_a_name_alone_and_an_expression_of_several_serve_as_values(frames: Any, make: Callable) -> None:
    frames["conditions"].loc[0, "targetValue"] = "gain_a"
    frames["conditions"].loc[1, "targetValue"] = "0.002*gain_b + gain_a"
    problem = make(frames)
    theta = np.log10([1, 1, 0.3, 5, 10])
    assert problem.model_parameters("a_low", theta)["kf"] == pytest.approx(0.3)
    assert problem.model_parameters("b_low", theta)["kf"] == pytest.approx(0.31)


def test_what_a_period_sets_holds_in_the_later_ones(frames: Any, make: Callable) -> None:
    problem = make(frames)
    parameters = problem.model_parameters("a_high")
    assert (parameters["dose"], parameters["kd"]) == (50.0, pytest.approx(10.0))
    assert parameters["kf"] == pytest.approx(0.02)


def test_two_conditions_of_one_period_may_not_disagree(frames: Any, make: Callable) -> None:
    extra = pd.DataFrame([("a", "dose", 1.0)], columns=["conditionId", "targetId", "targetValue"])
    frames["conditions"] = pd.concat([frames["conditions"], extra], ignore_index=True)
    with pytest.raises(InputError, match=r"'dose' is set by line . too"):
        make(frames)


def test_without_pre_equilibration_the_initial_amounts_hold(frames: Any, make: Callable) -> None:
    table = frames["experiments"]
    lines = table[table["conditionId"].isin(["a", "b"])].assign(time=0.0)
    frames["experiments"] = pd.concat([lines, table[table["time"] == 0.0]], ignore_index=True)
    problem = make(frames)
    at_start = (frames["measurements"]["time"] == 0.0).to_numpy()
    assert problem.evaluate(problem.nominal).predicted[at_start] == pytest.approx(1.0)  # the offset alone


def test_the_floor_is_what_the_assay_shows_of_nothing(frames: Any, make: Callable, true_theta: np.ndarray) -> None:
    assert make(frames).at_zero_readout(true_theta) == pytest.approx(3.0)


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.fault
def test_a_failed_run_is_flagged_and_finite(frames: Any, make: Callable) -> None:
    problem = make(frames, options=SolverOptions(max_steps=3))
    evaluation = problem.evaluate(problem.nominal)
    assert evaluation.failed and problem.n_failures == 1
    assert np.all(evaluation.residuals[: problem.n_data] == PENALTY)
    assert np.all(np.isnan(evaluation.predicted))
    assert "step limit" in evaluation.failures[0]
    assert np.all(problem.jacobian(problem.nominal)[: problem.n_data] == 0.0)


@pytest.mark.fault
def test_one_failed_experiment_leaves_the_others_alone(frames: Any, make: Callable, true_theta: np.ndarray) -> None:
    frames["conditions"].loc[0, "targetValue"] = "kf * gain_a / (gain_a - gain_a)"
    problem = make(frames)
    evaluation = problem.evaluate(true_theta)
    of_a = frames["measurements"]["experimentId"].str.startswith("a").to_numpy()
    assert np.all(evaluation.residuals[: problem.n_data][of_a] == PENALTY)
    assert "kf is not finite" in evaluation.failures[0]
    assert np.max(np.abs(evaluation.residuals[: problem.n_data][~of_a])) < 1e-6


@pytest.mark.fault
def test_a_prediction_without_logarithm_is_flagged(frames: Any, make: Callable) -> None:
    frames["observables"]["observableFormula"] = "offset - 10 * scale * pX"
    problem = make(frames)
    evaluation = problem.evaluate(problem.nominal)
    assert evaluation.failed and np.all(np.isfinite(evaluation.residuals))
    assert "not a positive finite number" in evaluation.failures[0]


def test_a_point_of_the_wrong_length_is_refused(frames: Any, make: Callable) -> None:
    with pytest.raises(InputError, match=r"shape \(2,\), expected \(5,\)"):
        make(frames).residuals([0.0, 1.0])
