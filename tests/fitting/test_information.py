"""Laws of information: that of closed forms, the scatter of scores, the curvature where censored; intervals from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import linear_frames

from residuum.fitting import fit, profile_likelihood
from residuum.fitting.noise import DEGREES, DISTRIBUTIONS, information, is_logarithmic, misfit
from residuum.fitting.sampling import normal_root

RNG = np.random.default_rng(5)
DESIGN = 0.3 * RNG.normal((10.0, 0.0, 0.0), 1.0, size=(30, 3))
TRUE = np.array([2.0, 0.3, -0.2])
LOCATION = {"normal": 1.0, "laplace": 1.0, "student-t": (DEGREES + 1) / (DEGREES + 3)}
SCALE = {"normal": 2.0, "laplace": 1.0, "student-t": 2 * DEGREES / (DEGREES + 3)}


@pytest.fixture
def linear(make: Callable) -> Callable[..., Any]:
    """Return a function that makes a linear problem with given noise, whose sigma may be estimated."""

    def problem(distribution: str, *, estimated: bool, sd: float = 0.2, **settings: Any) -> Any:
        measured = DESIGN @ TRUE * np.exp(0.05 * RNG.standard_normal(30))
        frames = linear_frames(DESIGN, measured, sd=sd)
        frames["observables"]["noiseDistribution"] = distribution
        if estimated:
            row = frames["parameters"].index[-1]
            cells = {"lowerBound": 0.001, "upperBound": 10, "estimate": "true", "parameterScale": "log10",
                     "priorDistribution": "uniform"}  # fmt: skip
            frames["parameters"].loc[row, list(cells)] = list(cells.values())
        return make(frames, **settings)

    return problem


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_linear_problem_has_the_information_of_the_closed_form(
    linear: Callable, distribution: str, estimated: bool
) -> None:
    problem = linear(distribution, estimated=estimated)
    theta = np.append(TRUE, np.log10(0.2)) if estimated else TRUE
    plain, rows = distribution.removeprefix("log-"), DESIGN
    if is_logarithmic(distribution):
        rows = DESIGN / (DESIGN @ TRUE)[:, None]
    expected = np.zeros((len(theta), len(theta)))
    expected[:3, :3] = LOCATION[plain] * rows.T @ rows / 0.2**2
    if estimated:  # to ln(sigma), and the search is over the decimal logarithm
        expected[3, 3] = SCALE[plain] * 30 * np.log(10) ** 2
    assert problem.information(theta) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_information_is_the_scatter_of_scores_of_measurements(distribution: str) -> None:
    y, s, n = 2.0, 0.3, 400_000
    draw = np.random.default_rng(1)
    z = {"normal": draw.standard_normal, "laplace": lambda n: draw.laplace(size=n),
         "student-t": lambda n: draw.standard_t(DEGREES, n)}[distribution.removeprefix("log-")](n)  # fmt: skip
    measured = y * np.exp(s * z) if is_logarithmic(distribution) else y + s * z
    seen = misfit(distribution, np.full(n, y), measured, s)
    scores = np.stack([seen.by_predicted, seen.by_sigma + 1 / s])
    # relative standard errors of second moments of 400,000 draws: below 0.4 % each
    expected = information(distribution, y, y, s)
    assert scores @ scores.T / n == pytest.approx(expected, rel=0.02, abs=0.02 * expected.max())


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(("word", "upper"), [("left", np.nan), ("right", np.nan), ("interval", 2.9)])
@pytest.mark.parametrize("measured", [0.9, 1.85, 2.6])
def test_a_censored_row_has_the_curvature_of_its_misfit(
    distribution: str, word: str, upper: float, measured: float
) -> None:
    # in x, the logarithm where the noise is of it: there the second derivative is that of a location
    log = is_logarithmic(distribution)
    x, s, h = np.log(2.0) if log else 2.0, 0.3, 1e-5

    def slopes(x: float, s: float) -> np.ndarray:
        seen = misfit(distribution, np.exp(x) if log else x, measured, s, word, upper)
        return np.array([seen.by_predicted * (np.exp(x) if log else 1.0), seen.by_sigma])

    by_x, by_s = ((slopes(*(np.array([x, s]) + h * e)) - slopes(*(np.array([x, s]) - h * e))) / (2 * h)
                  for e in np.eye(2))  # fmt: skip
    found = information(distribution, np.exp(x) if log else x, measured, s, word, upper)
    found = found * np.outer([2.0, 1.0], [2.0, 1.0]) if log else found
    # central differences of slopes of order 10 with the step 1e-5
    assert found == pytest.approx(np.stack([by_x, by_s]), rel=1e-5, abs=1e-4)


def test_censored_rows_inform_as_little_as_they_curve(make: Callable) -> None:
    """A limit far above the prediction says nothing, one far below as much as a measurement; none less than nothing."""
    frames = linear_frames(np.array([[1.0]]), np.array([2.0]), sd=0.1)
    frames["measurements"]["censoring"] = "left"
    problem = make(frames)
    assert problem.information([1.0]) == pytest.approx(0.0, abs=1e-6)
    assert problem.information([2.0]) == pytest.approx(2 / np.pi / 0.1**2)  # f(0)^2 / F(0)^2
    assert problem.information([6.0]) == pytest.approx(1 / 0.1**2, rel=2e-3)
    frames["observables"]["noiseDistribution"] = "student-t"
    assert make(frames).information([6.0]) >= 0


def test_the_spread_of_a_fit_is_that_of_the_information(linear: Callable) -> None:
    done = fit(linear("laplace", estimated=False), progress=False)
    expected = 0.2 * np.sqrt(np.diag(np.linalg.inv(DESIGN.T @ DESIGN)))
    assert done.parameters["fit_sd"].to_numpy() == pytest.approx(expected, rel=1e-6)
    problem = linear("normal", estimated=True)
    done = fit(problem, progress=False)
    assert done.parameters["fit_sd"].iloc[-1] == pytest.approx(1 / np.sqrt(60) / np.log(10), rel=1e-6)
    # the draws of the normal approximation have it too; the bounds, 4 decades apart, say next to nothing
    root = normal_root(problem, done.theta)
    assert (root @ root.T)[3, 3] == pytest.approx(1 / 60 / np.log(10) ** 2, rel=1e-2)


def test_what_is_solved_for_leaves_the_others_as_uncertain_as_beside_it(make: Callable) -> None:
    frames = linear_frames(DESIGN, DESIGN @ TRUE, sd=0.2, priors={0: (2.0, 1.0), 1: (0.0, 1.0)})
    searched, solved = make(frames), make(frames, inner=True)
    assert solved.names == ("x0", "x1")
    beside = np.linalg.inv(searched.information(TRUE))[:2, :2]
    assert np.linalg.inv(solved.information(TRUE[:2])) == pytest.approx(beside)


def test_a_perfect_prediction_is_as_certain_as_any(make: Callable) -> None:
    problem = make(linear_frames(np.eye(2), np.array([1.0, 2.0]), sd=0.5))
    assert problem.information([1.0, 2.0]) == pytest.approx(4 * np.eye(2))
    assert problem.jacobian([1.0, 2.0]) == pytest.approx(2 * np.eye(2))


def test_intervals_of_a_nearly_quadratic_loss_are_those_of_the_information(linear: Callable) -> None:
    """A profile does not use the information but for its steps."""
    problem = linear("student-t", estimated=False, sd=0.5)
    done = fit(problem, progress=False)
    table = profile_likelihood(problem, done.theta, ["x0"], progress=False).table
    half = float(table["upper"][0] - table["lower"][0]) / 2
    # the observed curvature scatters about the expected one
    assert half == pytest.approx(1.96 * done.parameters["fit_sd"][0], rel=0.3)
