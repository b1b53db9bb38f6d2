"""What is solved in closed form is what a search over all parameters together finds, with the gradient of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting.checks import compare_gradients


def add_parameter(frames: Any, name: str, low: float, high: float, nominal: float) -> None:
    row = dict(
        zip(frames["parameters"].columns, (name, low, high, nominal, "true", "log10", "uniform", ""), strict=True)
    )
    frames["parameters"] = pd.concat([frames["parameters"], pd.DataFrame([row])], ignore_index=True)


@pytest.fixture
def noisy(frames: Any) -> Any:
    """Return the tables with normal noise of unknown size on the data of an offset and a scale."""
    frames["observables"]["noiseDistribution"] = "normal"
    frames["observables"]["noiseFormula"] = "3 * sd"
    add_parameter(frames, "sd", 1e-3, 1e3, 1.0)
    frames["measurements"]["measurement"] += 5.0 * np.random.default_rng(8).standard_normal(18)
    return frames


def joint_optimum(problem: Any, outer: dict[str, float], *, polish: int = 60) -> tuple[np.ndarray, float]:
    """Return the optimum over all parameters but those in `outer`, by Newton steps on differences of the gradient."""
    from scipy.optimize import minimize

    theta = problem.nominal.copy()
    for name, value in outer.items():
        theta[problem.names.index(name)] = value
    free = [j for j, name in enumerate(problem.names) if name not in outer]

    def loss(part: np.ndarray) -> tuple[float, np.ndarray]:
        theta[free] = part
        value, gradient, _ = problem.loss_and_gradient(theta)
        return value, gradient[free]

    bounds = list(zip(problem.lower[free], problem.upper[free], strict=True))
    found = minimize(loss, theta[free], jac=True, bounds=bounds, method="L-BFGS-B",
                     options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 500})  # fmt: skip
    return found.x, found.fun


OUTER = {"gain_a": -0.2, "gain_b": 0.3, "kd": 0.8}


def test_the_closed_form_is_the_joint_optimum(noisy: Any, make: Callable) -> None:
    inner, joint = make(noisy, inner=True), make(noisy)
    assert inner.names == ("gain_a", "gain_b", "kd")
    evaluation = inner.evaluate(list(OUTER.values()))
    found, loss = joint_optimum(joint, OUTER)
    assert evaluation.loss == pytest.approx(loss, rel=1e-9)
    # the loss is flat to second order at its minimum: 1e-15 in the loss is 1e-6 in a parameter
    assert [evaluation.inner[name] for name in ("offset", "scale", "sd")] == pytest.approx(10**found, rel=1e-4)


def test_a_bound_is_kept_and_the_rest_is_best_beside_it(noisy: Any, make: Callable) -> None:
    noisy["parameters"].loc[0, ["lowerBound", "nominalValue"]] = [20.0, 25.0]  # the true offset is 3
    evaluation = make(noisy, inner=True).evaluate(list(OUTER.values()))
    assert evaluation.inner["offset"] == pytest.approx(20.0, rel=1e-12)
    found, loss = joint_optimum(make(noisy), OUTER)
    assert found[0] == pytest.approx(np.log10(20.0))
    assert evaluation.loss == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize(("end", "bounds"), [("lower", [20.0, 100.0]), ("upper", [0.01, 1.0])])
def test_a_fit_names_the_bound_at_which_a_value_was_solved_for(
    noisy: Any, make: Callable, end: str, bounds: list[float]
) -> None:
    from residuum.fitting import fit

    noisy["parameters"].loc[0, ["lowerBound", "upperBound", "nominalValue"]] = [*bounds, bounds[0]]  # 3 is true
    table = fit(make(noisy, inner=True), progress=False).parameters.set_index("parameter")["at_bound"]
    assert table["offset"] == end and table["scale"] == "" and table["sd"] == ""


@pytest.mark.parametrize("bounded", [False, True])
def test_the_gradient_is_that_with_the_solved_held(noisy: Any, make: Callable, bounded: bool) -> None:
    if bounded:
        noisy["parameters"].loc[0, ["lowerBound", "nominalValue"]] = [20.0, 25.0]
    problem = make(noisy, inner=True)
    for theta in (list(OUTER.values()), [0.1, 0.1, 1.2], [-0.5, 0.5, 0.4]):
        theta = np.array(theta)
        assert compare_gradients(problem, theta) == ["agrees"] * 3
        _, gradient, _ = problem.loss_and_gradient(theta)
        # of the same runs but for the steps, to rtol 1e-9
        assert problem.jacobian(theta).T @ problem.residuals(theta) == pytest.approx(gradient, rel=1e-5, abs=1e-6)


def test_a_scale_alone_under_logarithmic_noise(frames: Any, make: Callable) -> None:
    frames["observables"]["observableFormula"] = "scale * (pX + offset)"
    problem = make(frames, inner=True)
    assert problem.inner.names == ("scale",)
    theta = np.array([0.3, *OUTER.values()])
    found, loss = joint_optimum(make(frames), {"offset": 0.3, **OUTER})
    evaluation = problem.evaluate(theta)
    assert evaluation.inner["scale"] == pytest.approx(10 ** found[0], rel=1e-5)
    assert evaluation.loss == pytest.approx(loss, rel=1e-9)
    assert compare_gradients(problem, theta) == ["agrees"] * 4


def test_what_has_no_closed_form_stays_free(frames: Any, make: Callable) -> None:
    assert make(frames, inner=True).inner.names == ()  # an offset beside a scale, under log-normal noise
    frames["observables"]["noiseDistribution"] = "student-t"
    assert make(frames, inner=True).inner.names == ()


def test_what_has_a_prior_or_a_censored_row_stays_free(noisy: Any, make: Callable) -> None:
    noisy["parameters"].loc[0, ["priorDistribution", "priorParameters"]] = ["log-normal", "1; 1"]
    assert make(noisy, inner=True).inner.names == ("scale", "sd")
    noisy["measurements"]["censoring"] = ["left"] + [""] * 17
    assert make(noisy, inner=True).inner.names == ()


def test_sigmas_that_weigh_one_system_stay_free(noisy: Any, make: Callable) -> None:
    """Two observables that share an offset, each with a sigma: no closed form for all at once."""
    add_parameter(noisy, "sd_b", 1e-3, 1e3, 1.0)
    again = noisy["observables"].assign(observableId="other", noiseFormula="sd_b")
    noisy["observables"] = pd.concat([noisy["observables"], again], ignore_index=True)
    noisy["measurements"].loc[9:, "observableId"] = "other"
    problem = make(noisy, inner=True)
    assert problem.inner.names == ("offset", "scale")
    assert compare_gradients(problem, problem.nominal) == ["agrees"] * problem.n_free


def test_a_search_ends_where_the_joint_one_does(noisy: Any, make: Callable) -> None:
    from residuum.fitting import fit

    inner, joint = (fit(make(noisy, inner=flag), progress=False, tolerance=1e-9) for flag in (True, False))
    assert inner.loss == pytest.approx(joint.loss, rel=1e-5)
    assert inner.loss <= joint.loss + 1e-8
    assert inner.values == pytest.approx(joint.values, rel=1e-2)
    assert (
        dict(zip(inner.parameters["parameter"], inner.parameters["determined_by"], strict=True))["sd"] == "solved for"
    )


@pytest.mark.fault
def test_where_all_runs_fail_nothing_is_solved(noisy: Any, make: Callable) -> None:
    from residuum.simulator import SolverOptions

    evaluation = make(noisy, inner=True, options=SolverOptions(max_steps=3)).evaluate(list(OUTER.values()))
    assert evaluation.failed and np.isfinite(evaluation.loss)
    assert evaluation.inner == pytest.approx({"offset": 1.0, "scale": 1.0, "sd": 1.0})
