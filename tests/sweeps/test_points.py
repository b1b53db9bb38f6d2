"""Points of a sweep: the same values whichever stretch they are asked for in, and distributed as their priors say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sweeping import PRIORS

from residuum.simulator import InputError, UnknownNameError
from residuum.sweeps import Computed, Grid, Points, PointTable, Prior, Sobol, read_priors
from residuum.sweeps.points import as_points, points_from


def squares(first: int, last: int) -> np.ndarray:
    return np.arange(first, last)[:, None] ** 2.0


ALL: dict[str, Points] = {
    "grid": Grid({"a": [1.0, 2.0, 3.0], "b": np.linspace(0, 1, 7), "c": [5]}),
    "sobol": Sobol(21, PRIORS, seed=3),
    "table": PointTable({"a": np.arange(21.0), "b": np.arange(21.0) / 3}),
    "computed": Computed(21, ("a",), squares, {"power": 2}),
}


@pytest.mark.parametrize("kind", ALL)
def test_a_point_has_the_same_values_in_every_stretch(kind: str) -> None:
    points = ALL[kind]
    whole = points.rows(0, len(points))
    assert whole.shape == (21, len(points.names))
    for size in (1, 2, 8, 13):
        parts = [points.rows(i, min(i + size, 21)) for i in range(0, 21, size)]
        assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(points.rows(13, 17), whole[13:17])


@pytest.mark.parametrize("kind", ["grid", "sobol", "table"])
def test_points_are_made_again_from_their_recipe(kind: str) -> None:
    points = ALL[kind]
    again = points_from(points.recipe(), lambda: points.rows(0, 21))
    assert again is not None and again.names == points.names and again.recipe() == points.recipe()
    assert np.array_equal(again.rows(0, 21), points.rows(0, 21))


def test_points_of_a_function_are_made_again_by_nobody() -> None:
    assert points_from(ALL["computed"].recipe(), lambda: np.zeros((0, 0))) is None


def test_a_grid_runs_through_its_last_parameter_first() -> None:
    assert Grid({"a": [1, 2], "b": [3, 4]}).rows(0, 4).tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]


def test_a_longer_sample_continues_a_shorter_one() -> None:
    assert np.array_equal(Sobol(1000, PRIORS).rows(0, 10), Sobol(10, PRIORS).rows(0, 10))
    assert not np.array_equal(Sobol(10, PRIORS, seed=1).rows(0, 10), Sobol(10, PRIORS).rows(0, 10))


@pytest.mark.parametrize(
    ("prior", "quantiles"),
    [
        (Prior.uniform(2.0, 4.0), [2.5, 3.0, 3.5]),
        (Prior.log_uniform(1.0, 16.0), [2.0, 4.0, 8.0]),
        (Prior.normal(1.0, 2.0), [1 - 2 * 0.6744897501960817, 1.0, 1 + 2 * 0.6744897501960817]),
        (Prior.log_normal(10.0, np.e), 10 * np.exp([-0.6744897501960817, 0.0, 0.6744897501960817])),
        (Prior.normal(0.0, 1.0, lower=0.0), [0.31863936396437514, 0.6744897501960817, 1.1503493803760079]),
        (Prior.log_normal(1.0, np.e, upper=1.0), np.exp([-1.1503493803760079, -0.6744897501961, -0.31863936396437514])),
    ],
    ids=["uniform", "log-uniform", "normal", "log-normal", "upper half of a normal", "lower half of a log-normal"],
)  # fmt: skip
def test_a_sample_has_the_quartiles_of_its_distribution(prior: Prior, quantiles: list[float]) -> None:
    np.testing.assert_allclose(prior.at([0.25, 0.5, 0.75]), quantiles, rtol=1e-12)
    drawn = Sobol(4096, {"x": prior}).rows(0, 4096)[:, 0]
    # a scrambled Sobol' sequence of 2^m points has one in each cell of 2^-m
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), quantiles, rtol=5e-3)
    assert drawn.min() >= prior.lower and drawn.max() <= prior.upper


def test_priors_are_read_from_toml(tmp_path: Path) -> None:
    (path := tmp_path / "priors.toml").write_text(
        'kf = { distribution = "log-uniform", lower = 0.01, upper = 1 }\n'
        '[kd]\ndistribution = "log-normal"\nmedian = 10\nfactor = 3\nupper = 50\n'
    )
    assert read_priors(path) == {
        "kf": Prior.log_uniform(0.01, 1.0), "kd": Prior.log_normal(10.0, 3.0, upper=50.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("kf = 3", "kf: expected a table with distribution"),
        ("kf = {", "is no TOML"),
        ('kf = { distribution = "log-uniforn", lower = 1, upper = 2 }', "did you mean 'log-uniform'"),
        ('kf = { distribution = "uniform", lower = 1 }', "kf: a uniform distribution has lower and upper, given lower"),
        ('kf = { distribution = "normal", mean = 1 }', "has mean and sd (and may have lower, upper), given mean"),
        ('kf = { distribution = "uniform", lower = 2, upper = 1 }', "kf: the bounds of a distribution are 2 and 1"),
        ('kf = { distribution = "uniform", lower = "a", upper = 1 }', "kf: lower is 'a', expected a number"),
        ('kf = { distribution = "log-uniform", lower = 0, upper = 1 }', "positive bounds, given lower = 0"),
        ('kf = { distribution = "log-normal", median = 1, factor = 1 }', "a factor above 1"),
        ('kf = { distribution = "normal", mean = 1, sd = 0 }', "a positive sd, given 1 and 0"),
    ],
)
def test_bad_priors_are_named(text: str, words: str, tmp_path: Path) -> None:
    (path := tmp_path / "priors.toml").write_text(text)
    with pytest.raises(InputError) as told:
        read_priors(path)
    assert words in str(told.value) and str(path) in str(told.value)
    with pytest.raises(InputError, match="cannot read"):
        read_priors(tmp_path / "none.toml")


def test_mappings_are_grids_and_frames_are_tables() -> None:
    assert isinstance(as_points({"a": [1, 2]}), Grid)
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert as_points(frame).rows(0, 2).tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Grid({}), "at least one parameter"),
        (lambda: Grid({"a": []}), "at least one value"),
        (lambda: Grid({"a": ["x"]}), "the values of a are ['x'], expected numbers"),
        (lambda: Grid({"a": [1, np.nan]}), "finite numbers"),
        (lambda: Sobol(0, PRIORS), "the number of points is 0"),
        (lambda: Sobol(2.5, PRIORS), "the number of points is 2.5"),  # type: ignore[arg-type]
        (lambda: Sobol(8, PRIORS, seed=-1), "seed is -1"),
        (lambda: Sobol(8, {}), "at least one parameter"),
        (lambda: Sobol(8, {"a": (0, 1)}), "the distribution of a is (0, 1), expected a Prior"),  # type: ignore[dict-item]
        (lambda: PointTable({"a": [1, 2], "b": [1]}), "differ in length"),
        (lambda: PointTable({}), "at least one parameter"),
        (lambda: Computed(4, ("a", "b"), squares, {}).rows(0, 4), "shape (4, 1), expected (4, 2)"),
        (lambda: as_points(3), "parameters is a int"),  # type: ignore[arg-type]
    ],
)
def test_bad_points_are_refused_in_words(make: object, words: str) -> None:
    with pytest.raises(InputError) as told:
        make()  # type: ignore[operator]
    assert words in str(told.value)


def test_an_unknown_distribution_is_an_unknown_name(tmp_path: Path) -> None:
    (path := tmp_path / "p.toml").write_text('k = { distribution = "beta" }')
    with pytest.raises((UnknownNameError, InputError), match="uniform"):
        read_priors(path)
