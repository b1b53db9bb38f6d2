"""Starting points: over the priors, within the bounds, each the same whatever the number of the others."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest

from residuum.fitting import read_tables
from residuum.fitting.scaling import Scaling
from residuum.fitting.starting import SAMPLINGS, starting_points
from residuum.simulator import InputError

LN10 = math.log(10)


class Searched:
    """What of a problem the drawing of starting points uses."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling, self.nominal, self.n_free = scaling, scaling.nominal, len(scaling.names)


@pytest.fixture
def scaling(frames: Any) -> Scaling:
    frames["parameters"] = pd.DataFrame(
        [
            ("wide", 1e-9, 1e9, 2, "true", "log10", "log-normal", f"{math.log(2)}; {LN10}"),
            ("cut", 1, 100, 10, "true", "log10", "log-normal", f"0; {LN10}"),
            ("plain", -10, 10, 1, "true", "lin", "normal", "3; 0.5"),
            ("normal_in_log", 0.1, 1000, 1, "true", "log10", "normal", "5; 2"),
            ("flat", 0.01, 100, 1, "true", "log10", "uniform", ""),
            ("far", 1, 10, 2, "true", "log10", "log-normal", f"{-30 * LN10}; {LN10}"),
        ],
        columns=list(frames["parameters"].columns),
    )
    return Scaling(read_tables(frames).parameters)


def test_quantiles_are_those_of_the_priors(scaling: Scaling) -> None:
    normal = NormalDist()
    middle, high = scaling.at_quantiles([0.5] * 6), scaling.at_quantiles([0.75] * 6)
    quartile = normal.inv_cdf(0.75)
    assert middle[[0, 2, 4]] == pytest.approx([math.log10(2), 3.0, 0.0])
    assert high[[0, 2, 4]] == pytest.approx([math.log10(2) + quartile, 3 + 0.5 * quartile, 1.0])
    # what the bounds leave: standard deviations 0 to 2, in decades
    assert middle[1] == pytest.approx(normal.inv_cdf((normal.cdf(0) + normal.cdf(2)) / 2))
    # a prior on the value, searched in its logarithm
    about_five = NormalDist(5, 2)
    assert 10 ** middle[3] == pytest.approx(about_five.inv_cdf((about_five.cdf(0.1) + 1) / 2))


def test_the_ends_are_the_bounds(scaling: Scaling) -> None:
    ends = scaling.at_quantiles(np.zeros(6)), scaling.at_quantiles(np.ones(6))
    assert ends[0][[1, 3, 4]] == pytest.approx(scaling.lower[[1, 3, 4]])
    assert ends[1][[1, 3, 4]] == pytest.approx(scaling.upper[[1, 3, 4]])
    for end in ends:
        assert np.all((end >= scaling.lower) & (end <= scaling.upper))


def test_a_prior_far_beyond_the_bounds_still_gives_points_within(scaling: Scaling) -> None:
    far = [scaling.at_quantiles([q] * 6)[5] for q in (0.1, 0.5, 0.9)]
    assert np.all(np.diff(far) > 0) and 0 <= far[0] and far[2] <= 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_points_cover_the_priors_evenly(sampling: str, scaling: Scaling) -> None:
    points = starting_points(Searched(scaling), 257, 4, sampling)  # type: ignore[arg-type]
    assert np.array_equal(points[0], scaling.nominal)
    for k, q in ((0, 0.25), (2, 0.5), (4, 0.75)):
        share = np.mean(points[1:, k] < scaling.at_quantiles([q] * 6)[k])
        assert share == pytest.approx(q, abs=1 / 256)  # independent draws would be off by 0.03


def test_a_point_of_sobol_does_not_depend_on_how_many_there_are(scaling: Scaling) -> None:
    problem: Any = Searched(scaling)
    all_of_them = starting_points(problem, 70, 4)
    for n in (1, 2, 3, 5, 33, 69):
        assert np.array_equal(starting_points(problem, n, 4), all_of_them[:n])
    assert len(np.unique(all_of_them, axis=0)) == 70


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_points_depend_on_the_seed_alone(sampling: str, scaling: Scaling) -> None:
    problem: Any = Searched(scaling)
    first, again, other = (starting_points(problem, 4, seed, sampling) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.any(first[1:] == other[1:])


def test_an_unknown_sampling_is_named(scaling: Scaling) -> None:
    with pytest.raises(InputError, match="unknown sampling 'sobel': did you mean 'sobol'"):
        starting_points(Searched(scaling), 2, 0, "sobel")  # type: ignore[arg-type]
