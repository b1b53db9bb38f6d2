"""Laws of the search: known parameters come back, priors alone give priors, validation rows have no say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import RECOVERY, linear_frames, recovery_problem

from residuum.fitting import fit
from residuum.fitting.minimise import METHODS, Start
from residuum.fitting.result import spread
from residuum.fitting.search import _so_far
from residuum.simulator import InputError, SolverOptions


def test_known_parameters_are_recovered(frames: Any, make: Callable, truth: dict[str, float]) -> None:
    frames["parameters"]["priorDistribution"] = "uniform"
    done = fit(make(frames), progress=False)
    assert done.converged and not done.stopped
    # noiseless data from the closed form, the solver's rtol at 1e-9
    assert done.values == pytest.approx(truth, rel=1e-3)
    assert done.loss < 1e-6 < 50 < done.loss_nominal


def test_several_starts_find_the_same_and_are_reproducible(frames: Any, make: Callable) -> None:
    first = fit(make(frames), starts=3, seed=5, progress=False)
    again = fit(make(frames), starts=3, seed=5, progress=False)
    more = fit(make(frames), starts=4, seed=5, progress=False)
    assert first.starts.equals(again.starts)
    assert list(more.starts["loss_at_start"][:3]) == list(first.starts["loss_at_start"])
    assert first.loss == first.starts["loss"].min()
    other = fit(make(frames), starts=2, seed=6, progress=False)
    assert other.starts["loss_at_start"][1] != first.starts["loss_at_start"][1]


def test_priors_alone_give_the_priors(frames: Any, make: Callable) -> None:
    frames["parameters"].loc[5, "nominalValue"] = 1e6  # noise beyond all data
    frames["parameters"].loc[2, "priorParameters"] = f"{np.log(0.2)}; 0.7"
    done = fit(make(frames), progress=False)
    assert done.values["gain_a"] == pytest.approx(0.2, rel=1e-3)
    table = done.parameters.set_index("parameter")
    assert list(table.loc[["gain_a", "gain_b", "kd"], "determined_by"]) == ["prior"] * 3
    assert table.loc["gain_a", "fit_sd"] == pytest.approx(table.loc["gain_a", "prior_sd"], rel=1e-3)


def test_what_the_data_decide_is_said(frames: Any, make: Callable) -> None:
    assert set(fit(make(frames), progress=False).parameters["determined_by"]) == {"data"}


def test_validation_rows_never_move_the_optimum(frames: Any, make: Callable) -> None:
    frames["measurements"].loc[[4, 9], "role"] = "validation"
    first = fit(make(frames), progress=False)
    frames["measurements"].loc[[4, 9], "measurement"] = 1e6
    second = fit(make(frames), progress=False)
    assert np.array_equal(first.theta, second.theta)
    assert list(second.validation["measured"]) == [1e6, 1e6]


def test_the_order_of_rows_does_not_move_the_optimum(frames: Any, make: Callable) -> None:
    first = fit(make(frames), progress=False)
    mixed = {name: frame.sample(frac=1, random_state=7).reset_index(drop=True) for name, frame in frames.items()}
    assert fit(make(mixed), progress=False).values == pytest.approx(first.values, rel=1e-3)


def test_a_parameter_at_its_bound_is_flagged(frames: Any, make: Callable) -> None:
    frames["parameters"].loc[4, ["lowerBound", "nominalValue"]] = [8.0, 10.0]  # the true kd is 4
    table = fit(make(frames), progress=False).parameters.set_index("parameter")
    assert table.loc["kd", "at_bound"] == "lower"
    assert table.loc["gain_b", "at_bound"] == ""


def test_the_spread_is_that_of_linear_least_squares() -> None:
    jacobian = np.array([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
    assert spread(jacobian) == pytest.approx([1 / np.sqrt(5), 2.0])
    assert spread(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])) == pytest.approx([1.0, np.inf, np.inf])


@pytest.mark.fault
def test_stopping_returns_the_best_so_far(
    frames: Any, make: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = make(frames)
    evaluate, calls = problem.evaluate, []

    def until_the_third(theta: np.ndarray, **settings: Any) -> Any:
        calls.append(theta)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(theta, **settings)

    monkeypatch.setattr(problem, "evaluate", until_the_third)
    done = fit(problem, starts=2, progress=False)
    assert done.stopped and not done.converged and "stopped" in done.message
    assert done.loss == min(make(frames).loss(theta) for theta in calls[:2])
    assert list(done.starts["message"])[1] == "not run"
    assert "stopped" in capsys.readouterr().err


@pytest.mark.fault
def test_a_simulation_stopped_by_the_user_stops_the_search(
    frames: Any, make: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from residuum.fitting import experiments
    from residuum.simulator import Status

    problem, simulate = make(frames), experiments.simulate

    def stopped(*arguments: Any, **settings: Any) -> Any:
        result = simulate(*arguments, **settings)
        status = result.status.copy()
        status[-1] = Status.PENDING
        return replace(result, status=status)

    monkeypatch.setattr(experiments, "simulate", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(problem, progress=False)


@pytest.mark.fault
def test_a_fit_in_which_everything_fails_says_so(frames: Any, make: Callable) -> None:
    done = fit(make(frames, options=SolverOptions(max_steps=3)), progress=False)
    assert not done.converged and "do not use" in done.message
    assert done.n_failures > 0
    assert (done.fitted["failure"] != "").all()
    assert "step limit" in done.report()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"starts": 0}, "starts is 0"),
        ({"processes": 0}, "processes 0"),
        ({"max_evaluations": 0}, "max_evaluations is 0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"method": "least_square"}, "unknown method 'least_square': did you mean 'least_squares'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: Any, said: str, frames: Any, make: Callable) -> None:
    with pytest.raises(InputError, match=said):
        fit(make(frames), **settings)


def needed(method: str) -> None:
    if method == "fides":
        pytest.importorskip("fides", reason="the extra `fit` is not installed")


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_find_the_same_optimum(method: str, frames: Any, make: Callable, truth: dict[str, float]) -> None:
    needed(method)
    frames["parameters"]["priorDistribution"] = "uniform"
    done = fit(make(frames), method=method, tolerance=1e-8, progress=False)
    assert done.converged
    assert done.values == pytest.approx(truth, rel=1e-4)  # noiseless data, exact gradients
    assert done.provenance["method"] == method


def test_all_methods_find_the_same_noise(frames: Any, make: Callable) -> None:
    pytest.importorskip("fides", reason="the extra `fit` is not installed")
    frames["parameters"].loc[5] = ("noise", 1e-3, 10, 0.1, "true", "log10", "uniform", "")
    factors = np.exp(0.2 * np.random.default_rng(3).standard_normal(len(frames["measurements"])))
    frames["measurements"]["measurement"] *= factors
    fits = [fit(make(frames), method=method, tolerance=1e-8, progress=False) for method in METHODS]
    # -ln sigma is part of the loss, though not of a plain sum of squares
    assert fits[0].loss == pytest.approx(fits[1].loss, rel=1e-6)
    assert fits[0].values["noise"] == pytest.approx(fits[1].values["noise"], rel=1e-3)
    assert 0.1 < fits[0].values["noise"] < 0.3


def test_a_missing_extra_is_named(frames: Any, make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fides", None)
    with pytest.raises(InputError, match=r"pip install 'residuum\[fit\]'"):
        fit(make(frames), method="fides")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", RECOVERY)
def test_fifty_starts_recover_the_optimum(name: str, method: str) -> None:
    needed(method)
    problem, true = recovery_problem(name)
    done = fit(problem, starts=50, seed=1, method=method, progress=False)
    finished = done.starts["converged"] & ~done.starts["failed"]
    assert finished.mean() >= 0.95
    # an optimum counts as found within 0.1 of the lowest loss, where the posterior density is 10 % lower
    assert (done.starts["loss"][finished] < done.loss + 0.1).mean() >= 0.8
    # and it is the right one: not above the loss at the truth, and within the data's own uncertainty of it
    assert done.loss <= problem.loss(true)
    assert np.all(np.abs(done.theta - true) < 4 * done.parameters["fit_sd"])


def test_the_result_does_not_depend_on_the_number_of_processes() -> None:
    problem, _ = recovery_problem("decay")
    one, two = (fit(problem, starts=4, seed=2, processes=n, progress=False) for n in (1, 2))
    assert one.starts.equals(two.starts)
    assert np.array_equal(one.ends, two.ends) and one.loss == two.loss


@pytest.mark.fault
def test_arithmetic_that_breaks_down_ends_one_start_only(frames: Any, make: Callable) -> None:
    problem = make(frames)
    jacobian, calls = problem.jacobian, []

    def breaks_once(theta: np.ndarray, **settings: Any) -> np.ndarray:
        calls.append(theta)
        if len(calls) == 8:
            raise np.linalg.LinAlgError("SVD did not converge")
        return jacobian(theta, **settings)

    problem.jacobian = breaks_once
    done = fit(problem, starts=3, progress=False)
    assert list(done.starts["message"]).count("broke down: SVD did not converge") == 1
    assert done.converged


@pytest.mark.fault
def test_a_search_that_cannot_evaluate_a_point_says_why(frames: Any, make: Callable) -> None:
    problem = make(frames)

    def breaks(theta: np.ndarray, **settings: Any) -> Any:
        raise FloatingPointError("overflow")

    problem.evaluate = breaks
    with pytest.raises(RuntimeError, match="no start could evaluate a single point; the first broke down: overflow"):
        fit(problem, starts=2, progress=False)


def test_progress_goes_to_standard_error_only(frames: Any, make: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    fit(make(frames), progress=True)
    assert capsys.readouterr().out == ""


def test_progress_is_one_line_with_the_best_of_all_starts() -> None:
    point = np.zeros(2)
    tries = [Start(0, point), Start(1, point), Start(2, point)]
    tries[0].see(point, 12.345678, False)
    tries[1].see(point, 3.0, True)  # runs fail there: not the best
    tries[1].n_failures = 4
    said = "1 of 3 starts done, best loss 12.35 (start 0); start 1, step 1: loss 3, 4 points failed"
    assert _so_far(tries, {0}, tries[1]) == said


def test_an_estimated_parameter_of_the_model_needs_no_condition(frames: Any, make: Callable) -> None:
    # kr is nobody's target; the true one is 0.01
    row = dict(
        zip(
            frames["parameters"].columns, ("kr", 1e-4, 1, 0.03, "true", "log10", "log-normal", "-4.6; 0.1"), strict=True
        )
    )
    frames["parameters"] = pd.concat([frames["parameters"], pd.DataFrame([row])], ignore_index=True)
    assert fit(make(frames), progress=False).values["kr"] == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("sd", [0.001, 0.2, 3.0])
@pytest.mark.parametrize("method", ["least_squares", "fides"])
def test_a_search_for_sigma_ends_as_near_the_optimum_as_any(make: Callable, method: str, sd: float) -> None:
    """The optimum is the least squares solution and the root mean square of what it leaves."""
    if method == "fides":
        pytest.importorskip("fides", reason="the extra `fit` is not installed")
    generator = np.random.default_rng(0)
    design = generator.normal(size=(40, 3))
    measured = design @ [1.0, 2.0, 3.0] + sd * generator.normal(size=40)
    frames = linear_frames(design, measured, sd=1.0)
    cells = {"lowerBound": 1e-5, "upperBound": 100, "estimate": "true", "parameterScale": "log10"}
    frames["parameters"].loc[3, list(cells)] = list(cells.values())
    problem = make(frames)
    x = np.linalg.lstsq(design, measured, rcond=None)[0]
    best = problem.loss([*x, np.log10(np.sqrt(np.mean((measured - design @ x) ** 2)))])
    done = fit(problem, method=method, tolerance=1e-5, progress=False)
    # a loss of about 20, one per two measurements: where the last step gains 1e-5 of it, next to nothing is left
    assert done.converged and done.loss - best < 1e-6 * 20
