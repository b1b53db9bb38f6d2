"""Laws of profiles: analytic intervals where the loss is a parabola, verdicts that name what is and is not known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import linear_frames

from residuum.fitting import fit, profile_likelihood
from residuum.simulator import InputError, SolverOptions

RNG = np.random.default_rng(3)
DESIGN = RNG.normal(size=(12, 4))
MEASURED = DESIGN @ [0.5, -1.0, 2.0, 0.3] + 0.2 * RNG.normal(size=12)
Z = 1.959963984540054  # 97.5 % point of the standard normal distribution


@pytest.fixture
def linear(make: Callable) -> Callable[..., Any]:
    """Return a function that makes a problem whose predictions are linear in its parameters."""
    return lambda **settings: make(linear_frames(DESIGN, MEASURED, sd=0.2, **settings))


def analytic(design: np.ndarray, measured: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviations of weighted linear least squares."""
    covariance = np.linalg.inv(design.T @ (design / sd[:, None] ** 2))
    return covariance @ design.T @ (measured / sd**2), np.sqrt(np.diag(covariance))


@pytest.mark.parametrize("level", [0.68, 0.95, 0.999])
def test_a_linear_gaussian_problem_has_its_analytic_intervals(linear: Callable, level: float) -> None:
    from scipy.stats import norm

    done = profile_likelihood(linear(), level=level, progress=False)
    mean, sd = analytic(DESIGN, MEASURED, np.full(12, 0.2))
    half = norm.ppf((1 + level) / 2) * sd
    table = done.table
    assert table["value"].to_numpy() == pytest.approx(mean, abs=1e-4)
    assert np.abs(table["lower"] - (mean - half)).max() < 1e-3 * half.min()
    assert np.abs(table["upper"] - (mean + half)).max() < 1e-3 * half.min()
    assert table["verdict"].str.startswith("identified: ").all()


def test_priors_are_left_out_or_kept(linear: Callable) -> None:
    done = profile_likelihood(linear(priors={0: (1.0, 0.1)}), progress=False)
    alone, alone_sd = analytic(DESIGN, MEASURED, np.full(12, 0.2))
    design, measured = np.vstack([DESIGN, np.eye(4)[0]]), np.append(MEASURED, 1.0)
    mean, sd = analytic(design, measured, np.append(np.full(12, 0.2), 0.1))
    assert done.table["lower"].to_numpy() == pytest.approx(alone - Z * alone_sd, abs=1e-4)
    assert done.table["upper_with_prior"].to_numpy() == pytest.approx(mean + Z * sd, abs=1e-4)
    assert done.table["value"].to_numpy() == pytest.approx(mean, abs=1e-4)


def test_an_estimated_sigma_has_the_profile_of_its_likelihood(make: Callable) -> None:
    from scipy.optimize import brentq

    frames = linear_frames(DESIGN, MEASURED, sd=0.2, priors={0: (1.0, 0.1)})
    changed = {"lowerBound": 0.01, "upperBound": 5.0, "estimate": "true", "parameterScale": "log10"}
    frames["parameters"].loc[4, list(changed)] = list(changed.values())
    row = profile_likelihood(make(frames), parameters=["noise"], prior=False, progress=False).table.iloc[0]
    best = analytic(DESIGN, MEASURED, np.full(12, 1.0))[0]
    squares = float(np.sum((MEASURED - DESIGN @ best) ** 2))
    sigma = np.sqrt(squares / 12)

    def excess(s: float) -> float:
        return 2 * 12 * np.log(s / sigma) + squares * (s**-2 - sigma**-2) - Z**2

    assert row["value"] == pytest.approx(sigma, rel=1e-3)
    assert row["lower"] == pytest.approx(brentq(excess, sigma / 10, sigma), rel=1e-3)
    assert row["upper"] == pytest.approx(brentq(excess, sigma, sigma * 10), rel=1e-3)


def test_a_start_far_from_the_optimum_changes_nothing(linear: Callable) -> None:
    near, far = (profile_likelihood(linear(), at, progress=False).table for at in (np.zeros(4), np.full(4, 40.0)))
    assert near["lower"].to_numpy() == pytest.approx(far["lower"].to_numpy(), abs=1e-4)


def test_what_the_data_do_not_see_is_left_to_the_prior(make: Callable) -> None:
    design = DESIGN.copy()
    design[:, 1] = 0.0
    frames = linear_frames(design, MEASURED, sd=0.2, priors={1: (2.0, 3.0)})
    done = profile_likelihood(make(frames), parameters=["x1", "x2"], progress=False)
    unseen, seen = done.table["verdict"]
    assert unseen == f"not seen by the data: the prior alone, {2 - 3 * Z:.3g} to {2 + 3 * Z:.3g}"
    assert seen.startswith("identified")
    assert np.isnan(done.table["lower"][0]) and np.isnan(done.table["upper"][0])


def test_what_neither_data_nor_priors_see_stays_within_its_bounds(make: Callable) -> None:
    design = DESIGN.copy()
    design[:, 1] = 0.0
    done = profile_likelihood(make(linear_frames(design, MEASURED, sd=0.2)), parameters=["x1"], progress=False)
    assert done.table["verdict"][0] == "not seen by the data: anywhere within its bounds, -50 to 50"


def test_two_parameters_of_which_the_data_see_the_sum_are_both_unseen(make: Callable) -> None:
    design = DESIGN.copy()
    design[:, 1] = design[:, 0]
    done = profile_likelihood(make(linear_frames(design, MEASURED, sd=0.2)), progress=False)
    words = done.table["verdict"].str.split(":").str[0]
    # x0 may take any value that x1 can make good within its own bounds: nearly all
    assert list(words[2:]) == ["identified", "identified"]
    assert "identified" not in list(words[:2])


def test_an_optimum_at_a_bound_is_said(make: Callable) -> None:
    frames = linear_frames(DESIGN, MEASURED, sd=0.2)
    frames["parameters"].loc[2, "upperBound"] = 1.0  # the best value is near 2
    row = profile_likelihood(make(frames), parameters=["x2"], progress=False).table.iloc[0]
    assert row["verdict"].startswith("at its bound: 1, at least ")
    assert np.isnan(row["upper"]) and row["lower"] < 1


def test_a_saturating_parameter_is_bounded_from_one_side(frames: Any, make: Callable) -> None:
    """A kd far below the doses: only that it is low is seen."""
    frames["parameters"]["priorDistribution"] = "uniform"
    frames["parameters"].loc[4, ["lowerBound", "nominalValue"]] = [1e-4, 0.01]
    none = frames["measurements"]["experimentId"].str.endswith("none")
    kept = none | frames["measurements"]["experimentId"].str.endswith("high")
    frames["measurements"] = frames["measurements"][kept].reset_index(drop=True)
    problem = make(frames)
    theta = problem.scaling.to_search([3.0, 2.0, 0.5, 3.0, 0.01])
    shown = problem.evaluate(theta).predicted
    frames["measurements"]["measurement"] = shown
    row = profile_likelihood(make(frames), theta, parameters=["kd"], progress=False).table.iloc[0]
    assert row["verdict"].startswith("bounded from above only: at most ")
    assert np.isnan(row["lower"]) and 0.01 < row["upper"] < 10


def test_a_profile_of_a_simulated_problem_meets_its_threshold(frames: Any, make: Callable) -> None:
    problem = make(frames)
    best = fit(problem, progress=False).theta
    done = profile_likelihood(problem, best, parameters=["kd"], prior=True, progress=False)
    profile = done.profiles["kd", "posterior"]
    assert np.all(np.diff(profile.thetas[:, 4]) > 0)
    for end in (profile.lower, profile.upper):
        assert np.interp(end, profile.thetas[:, 4], profile.excess) == pytest.approx(done.threshold, rel=1e-3)
        at = profile.thetas[np.argmin(np.abs(profile.thetas[:, 4] - end))]
        assert 2 * (problem.loss(at) - problem.loss(done.optima["posterior"])) == pytest.approx(3.8415, rel=1e-3)
    assert done.table["lower_with_prior"][0] < 4 < done.table["upper_with_prior"][0]


def test_a_deeper_optimum_on_the_way_becomes_the_optimum(make: Callable) -> None:
    # (x0^2 - 4)^2 with a tilt: the valley at -2 is deeper than the one at 2, where the search begins
    frames = linear_frames(np.ones((2, 1)), np.array([0.0, -1.0]), sd=1.0)
    frames["observables"]["observableFormula"] = ["0.3*(x0*x0-4) + 0*pX", "0.5*x0 + 0*pX"]
    frames["parameters"].loc[0, ["lowerBound", "upperBound"]] = [-5.0, 5.0]
    done = profile_likelihood(make(frames), [2.0], level=0.9999, progress=False)
    assert done.table["value"][0] == pytest.approx(-2, abs=0.2)
    assert done.profiles["x0", "likelihood"].excess.min() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.fault
def test_runs_that_fail_end_a_profile_with_the_reason(linear: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    problem = linear()
    evaluate_many, mean = problem.evaluate_many, analytic(DESIGN, MEASURED, np.full(12, 0.2))[0]

    def failing(thetas: Any, **settings: Any) -> Any:
        done = evaluate_many(thetas, **settings)
        return [replace(e, failures=("step limit",) * 12) if e.theta[0] > mean[0] + 0.02 else e for e in done]

    monkeypatch.setattr(problem, "evaluate_many", failing)
    row = profile_likelihood(problem, parameters=["x0"], progress=False).table.iloc[0]
    assert row["verdict"].startswith("not known to the end: at least") and "runs fail above" in row["verdict"]


# ---- stop and go on ---------------------------------------------------------------------------------------------


@pytest.mark.fault
def test_a_stopped_run_goes_on_where_it_stopped(
    linear: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = profile_likelihood(linear(), progress=False), tmp_path / "kept.json"
    problem = linear()
    evaluate, calls = problem.evaluate, []

    def until(theta: np.ndarray) -> Any:
        calls.append(1)
        if len(calls) > 60:
            raise KeyboardInterrupt
        return evaluate(theta)

    monkeypatch.setattr(problem, "evaluate", until)
    stopped = profile_likelihood(problem, checkpoint=path, progress=False)
    kept = len(stopped.profiles)
    assert stopped.stopped and 0 < kept < 4 and list(stopped.table["verdict"]).count("not done") == 4 - kept
    done = profile_likelihood(linear(), checkpoint=path, resume=True, progress=False)
    assert done.table.equals(whole.table) and not done.stopped


def test_a_checkpoint_under_other_options_or_of_other_parameters_is_refused(make: Callable, tmp_path: Path) -> None:
    path, frames = tmp_path / "kept.json", linear_frames(DESIGN, MEASURED, sd=0.2, priors={0: (1.0, 0.1)})
    profile_likelihood(make(frames), parameters=["x0"], checkpoint=path, progress=False)
    looser = make(frames, options=SolverOptions(rtol=1e-6))
    with pytest.raises(InputError, match=r"was made with solver .*rtol=1e-09.*, now it is .*rtol=1e-06"):
        profile_likelihood(looser, checkpoint=path, resume=True, progress=False)
    with pytest.raises(InputError, match="was made with parameters searched for x0, x1, x2, x3, now it is x0;"):
        profile_likelihood(make(frames, inner=True), checkpoint=path, resume=True, progress=False)


def test_a_checkpoint_of_other_data_is_refused(linear: Callable, make: Callable, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    profile_likelihood(linear(), parameters=["x0"], checkpoint=path, progress=False)
    other = make(linear_frames(DESIGN, MEASURED + 1, sd=0.2))
    with pytest.raises(InputError, match="was made with data_hash"):
        profile_likelihood(other, checkpoint=path, resume=True, progress=False)
    with pytest.raises(InputError, match=r"level 0\.95, now it is 0\.9"):
        profile_likelihood(linear(), level=0.9, checkpoint=path, resume=True, progress=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other", "provenance": {}}'])
def test_a_checkpoint_that_cannot_be_read_is_refused(linear: Callable, tmp_path: Path, text: str) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"kept\.json"):
        profile_likelihood(linear(), checkpoint=path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": ["x9"]}, "unknown estimated parameter 'x9'"),
        ({"parameters": ["x0", "x0"]}, "given twice"),
        ({"parameters": []}, "no parameter"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 0.0}, "between 0 and 1"),
        ({"tolerance": 0.0}, "small positive"),
        ({"max_points": 0}, "at least 1"),
        ({"resume": True}, "checkpoint"),
        ({"theta": [1.0]}, r"expected \(4,\)"),
        ({"theta": [np.nan] * 4}, "finite"),
        ({"theta": ["x0"]}, "give Fit.theta"),
    ],
)
def test_wrong_settings_are_named(linear: Callable, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_likelihood(linear(), progress=False, **settings)


def test_saved_tables_say_what_they_are_from(linear: Callable, tmp_path: Path) -> None:
    done = profile_likelihood(linear(), parameters=["x0"], progress=False)
    table, curves = done.save(tmp_path)
    assert "identified" in table.read_text()
    kept = json.loads(curves.read_text())
    assert kept["provenance"]["data_hash"] == linear().tables.hash
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profiles.json", "profiles.tsv"]


def test_the_figure_holds_one_panel_per_parameter(linear: Callable) -> None:
    import matplotlib

    matplotlib.use("Agg")
    done = profile_likelihood(linear(priors={0: (1.0, 0.1)}), parameters=["x0", "x1"], progress=False)
    axes = done.plot()
    assert [axis.get_xlabel() for axis in axes.flat] == ["x0", "x1"]
    with pytest.raises(InputError, match="1 axes were given for 2"):
        done.plot(axes.flat[:1])


# ---- coverage ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_intervals_of_95_per_cent_cover_the_truth_in_90_to_99_of_100_data_sets(
    frames: Any, make: Callable, truth: dict[str, float], true_theta: np.ndarray
) -> None:
    """200 data sets from the small model, with known noise; of a kd that the data see well and a gain that bends."""
    frames["parameters"]["priorDistribution"] = "uniform"
    exact, covered = frames["measurements"]["measurement"].to_numpy(float), []
    for generator in map(np.random.default_rng, np.random.SeedSequence(2026).spawn(200)):
        noisy = frames["measurements"].assign(measurement=exact * np.exp(0.1 * generator.standard_normal(len(exact))))
        problem = make({**frames, "measurements": noisy.astype(object)}, options=SolverOptions(rtol=1e-6))
        done = profile_likelihood(problem, true_theta, ["kd", "gain_b"], prior=False, progress=False).table
        low, high = done["lower"].fillna(0.0), done["upper"].fillna(np.inf)
        covered.append([low[i] <= truth[name] <= high[i] for i, name in enumerate(done["parameter"])])
    assert len(covered) == 200
    for share in np.mean(covered, axis=0):
        assert 0.90 <= share <= 0.99
