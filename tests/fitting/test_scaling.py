"""Search scale and parameter values: there and back, priors as residuals, draws within bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting import read_tables
from residuum.fitting.scaling import Scaling, joint_draws
from residuum.simulator import InputError


@pytest.fixture
def scaling(frames: Any) -> Scaling:
    frames["parameters"] = pd.DataFrame(
        [
            ("x", 0.001, 1000, 2, "true", "log10", "log-normal", f"{math.log(2)}; {math.log(10)}"),
            ("y", -10, 10, 1, "true", "lin", "normal", "3; 0.5"),
            ("z", -1, 5, 0, "true", "lin", "uniform", ""),
        ],
        columns=list(frames["parameters"].columns),
    )
    return Scaling(read_tables(frames).parameters)


def test_there_and_back(scaling: Scaling) -> None:
    theta = np.array([[-2.5, 4.0, 1.0], [3.0, -10.0, 5.0]])
    assert scaling.to_values(theta)[0] == pytest.approx([10**-2.5, 4.0, 1.0])
    assert scaling.to_search(scaling.to_values(theta)) == pytest.approx(theta)


def test_bounds_are_on_the_search_scale(scaling: Scaling) -> None:
    assert scaling.lower == pytest.approx([-3, -10, -1])
    assert scaling.upper == pytest.approx([3, 10, 5])


def test_prior_residuals_count_standard_deviations(scaling: Scaling) -> None:
    # x ten times its centre is one sd of a prior x/÷ 10; y two sd below; z has no prior
    assert scaling.prior_residuals([math.log10(20), 2.0, 0.0]) == pytest.approx([1.0, -2.0])
    assert scaling.n_priors == 2


def test_prior_spread_is_on_the_search_scale(scaling: Scaling) -> None:
    assert scaling.prior_spread() == pytest.approx([1.0, 0.5, math.nan], nan_ok=True)
    assert scaling.prior_words() == ["2 x/÷ 10", "3 ± 0.5", "uniform within bounds"]


def test_steps_stay_within_bounds(scaling: Scaling) -> None:
    for theta in (scaling.lower, scaling.upper, scaling.nominal):
        moved = theta + scaling.step(theta, 1e-3)
        assert np.all((moved >= scaling.lower) & (moved <= scaling.upper) & (moved != theta))


def test_draws_follow_the_priors_within_bounds(scaling: Scaling) -> None:
    generator = np.random.default_rng(1)
    drawn = np.array([scaling.draw(generator) for _ in range(2000)])
    assert np.all((drawn >= scaling.lower) & (drawn <= scaling.upper))
    # four standard errors of 2000 draws: 0.09 sd
    assert abs(drawn[:, 0].mean() - math.log10(2)) < 0.09
    assert abs(drawn[:, 1].mean() - 3) < 0.045
    assert abs(drawn[:, 2].mean() - 2) < 0.09 * 6 / math.sqrt(12)


# the third parameter is the sum of the others: the covariance is singular
JOINT = np.array([[1.0, 0.8, 1.8], [0.8, 4.0, 4.8], [1.8, 4.8, 6.6]])


def test_joint_draws_have_the_given_mean_and_covariance() -> None:
    mean = np.array([1.0, -2.0, -1.0])
    drawn = joint_draws(mean, JOINT, 4000, np.random.default_rng(3))
    assert np.allclose(drawn[:, 2], drawn[:, 0] + drawn[:, 1])
    # four standard errors of 4000 draws: 0.063 sd of a mean, 0.09 of a variance
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 0.063 * np.sqrt(np.diag(JOINT)))
    assert np.cov(drawn.T) == pytest.approx(JOINT, rel=0.15)


def test_the_first_joint_draws_do_not_depend_on_how_many_are_asked_for() -> None:
    few, many = (joint_draws(np.zeros(3), JOINT, n, np.random.default_rng(3)) for n in (2, 50))
    assert np.array_equal(few, many[:2])


@pytest.mark.parametrize(
    ("covariance", "told"),
    [
        (JOINT[:2], "shape"),
        (JOINT + np.triu(np.ones((3, 3)), 1), "symmetric"),
        (JOINT - 2 * np.eye(3), "eigenvalue"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=told):
        joint_draws(np.zeros(3), covariance, 1, np.random.default_rng(0))
