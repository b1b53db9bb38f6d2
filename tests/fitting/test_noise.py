"""One contract, all noise models: densities integrate to one, censoring is their integral, slopes are differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from residuum.fitting.noise import DEGREES, DISTRIBUTIONS, log_likelihood, misfit

PREDICTED, SIGMA = 2.0, 0.3
CENSORED = [("", np.nan), ("left", np.nan), ("right", np.nan), ("interval", 2.9)]

REFERENCE = {
    "normal": lambda m, y, s: stats.norm.logpdf(m, y, s),
    "log-normal": lambda m, y, s: stats.lognorm.logpdf(m, s, scale=y),
    "laplace": lambda m, y, s: stats.laplace.logpdf(m, y, s),
    "log-laplace": lambda m, y, s: stats.laplace.logpdf(np.log(m), np.log(y), s) - np.log(m),
    "student-t": lambda m, y, s: stats.t.logpdf(m, DEGREES, y, s),
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_densities_are_those_of_scipy(distribution: str) -> None:
    measured = np.array([0.3, 1.9, 2.0, 2.2, 7.0])
    ours = log_likelihood(distribution, PREDICTED, measured, SIGMA)
    assert ours == pytest.approx(REFERENCE[distribution](measured, PREDICTED, SIGMA), rel=1e-12)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("limit", [1.2, 2.0, 2.7])
def test_what_is_censored_has_the_probability_of_all_it_may_be(distribution: str, limit: float) -> None:
    def density(m: float) -> float:
        return (
            float(np.exp(log_likelihood(distribution, PREDICTED, m, SIGMA))[()])
            if m > 0 or "log" not in distribution
            else 0.0
        )

    def between(low: float, high: float) -> float:
        return integrate.quad(density, low, high, points=[PREDICTED] if low < PREDICTED < high else None, limit=400)[0]

    def probability(word: str, upper: float = np.nan) -> float:
        return float(np.exp(log_likelihood(distribution, PREDICTED, limit, SIGMA, word, upper))[()])

    # quadrature over a range that leaves out at most 1e-7 of heavy tails
    low, high = (0.0 if "log" in distribution else -60.0), 120.0
    assert probability("left") == pytest.approx(between(low, limit), abs=1e-6)
    assert probability("right") == pytest.approx(between(limit, high), abs=1e-6)
    assert probability("interval", 3.1) == pytest.approx(between(limit, 3.1), abs=1e-8)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(("word", "upper"), CENSORED)
@pytest.mark.parametrize("measured", [0.7, 1.95, 2.6])
def test_slopes_are_differences(distribution: str, word: str, upper: float, measured: float) -> None:
    h = 1e-6
    slopes = misfit(distribution, PREDICTED, measured, SIGMA, word, upper)

    def value(predicted: float, sigma: float) -> float:
        return float(misfit(distribution, predicted, measured, sigma, word, upper).value[()])

    # central differences of step 1e-6: rounding of 1e-16 / 1e-6, relative to numbers of order 1 to 100
    expected = (value(PREDICTED + h, SIGMA) - value(PREDICTED - h, SIGMA)) / (2 * h)
    assert slopes.by_predicted == pytest.approx(expected, rel=1e-6, abs=1e-7)
    expected = (value(PREDICTED, SIGMA + h) - value(PREDICTED, SIGMA - h)) / (2 * h)
    assert slopes.by_sigma == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize(("word", "upper"), CENSORED)
def test_misfits_are_never_negative_and_nothing_for_a_perfect_prediction(
    distribution: str, word: str, upper: float
) -> None:
    measured = np.linspace(0.1, 2.8, 40)
    assert np.all(misfit(distribution, PREDICTED, measured, SIGMA, word, upper).value >= 0)
    assert misfit(distribution, PREDICTED, PREDICTED, SIGMA).value == 0


@pytest.mark.parametrize(("word", "upper"), CENSORED[1:])
def test_far_in_the_tail_likelihoods_stay_finite(word: str, upper: float) -> None:
    # 100 sigma away, on either side: the probabilities are below the smallest float
    for predicted in (-28.0, 32.0):
        value = log_likelihood("normal", predicted, 2.0, SIGMA, word, upper)
        slopes = misfit("normal", predicted, 2.0, SIGMA, word, upper)
        assert np.isfinite(value) and np.isfinite(slopes.by_predicted) and np.isfinite(slopes.by_sigma)
    assert log_likelihood("normal", 32.0, 2.0, SIGMA, "left") == pytest.approx(-0.5 * 100**2, rel=1e-2)


# ---- in a problem -----------------------------------------------------------------------------------------------


def test_a_problem_adds_up_the_likelihoods_of_its_rows(frames: Any, make: Callable) -> None:
    rows = frames["measurements"]
    rows["censoring"] = ""
    rows.loc[2, "censoring"] = "left"
    problem = make(frames)
    evaluation = problem.evaluate(problem.nominal)
    words = rows["censoring"].to_numpy(str)
    expected = log_likelihood("log-normal", evaluation.predicted, problem.measured, 0.1, words)
    assert problem.log_likelihood(problem.nominal) == pytest.approx(expected.sum())


def test_half_the_squares_of_the_residuals_are_the_loss(frames: Any, make: Callable) -> None:
    rows = frames["measurements"]
    rows["censoring"] = ""
    rows.loc[2, "censoring"] = "right"
    frames["observables"]["noiseDistribution"] = "student-t"
    problem = make(frames)
    evaluation = problem.evaluate(problem.nominal)
    parts = problem.observation.misfit(evaluation.predicted, evaluation.sigma).value
    priors = evaluation.residuals[problem.n_data :]
    assert evaluation.loss == pytest.approx(parts.sum() + 0.5 * priors @ priors)


def test_an_estimated_sigma_is_that_of_the_scatter(frames: Any, make: Callable) -> None:
    """Of normal data about a known prediction the most likely sigma is the root mean square."""
    from scipy.optimize import minimize

    row = dict(zip(frames["parameters"].columns, ("sd", 0.001, 10, 1, "true", "log10", "uniform", ""), strict=True))
    frames["parameters"] = pd.concat([frames["parameters"], pd.DataFrame([row])], ignore_index=True)
    frames["observables"]["noiseFormula"] = "sd"
    generator = np.random.default_rng(3)
    frames["measurements"]["measurement"] *= np.exp(0.2 * generator.standard_normal(18))
    problem = make(frames)
    theta = problem.nominal.copy()

    def loss(sd: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, _ = problem.loss_and_gradient(np.append(theta[:-1], sd))
        return value, gradient[-1:]

    found = minimize(loss, [0.0], jac=True)
    log_ratio = np.log(problem.evaluate(theta).predicted / problem.measured)
    assert 10 ** found.x[0] == pytest.approx(np.sqrt(np.mean(log_ratio**2)), rel=1e-4)


def test_noise_may_be_a_parameter_named_by_the_measurement(frames: Any, make: Callable) -> None:
    rows = [("sd_a", 0.001, 10, 0.2, "true", "log10", "uniform", ""), ("sd_b", "", "", 0.3, "false", "", "", "")]
    extra = pd.DataFrame(rows, columns=frames["parameters"].columns)
    frames["parameters"] = pd.concat([frames["parameters"], extra], ignore_index=True)
    frames["observables"]["noiseFormula"] = "noiseParameter1_bead"
    frames["observables"]["noisePlaceholders"] = "noiseParameter1_bead"
    lines = frames["measurements"]["experimentId"].str[0]
    frames["measurements"]["noiseParameters"] = "sd_" + lines
    problem = make(frames)
    assert problem.observation.sd == pytest.approx(np.where(lines == "a", 0.2, 0.3))
    assert np.array_equal(problem.observation.sd_is_free, (lines == "a").to_numpy())
    assert problem.n_spreads == 9
