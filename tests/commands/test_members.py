"""What members predict and show: variances part exactly, draws are laid over members, priors count where data end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import residuum
from residuum.commands import members
from residuum.commands.members import Answers, answers, answers_under, behaviours_of, prior_shares, variance_parts


def test_the_variance_of_a_table_is_parted_without_a_rest() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=7), generator.normal(size=5)
    of_rows, of_columns, of_both = variance_parts(a[:, None] + b)
    assert (of_rows, of_columns) == pytest.approx((np.var(a), np.var(b)))
    assert of_both == pytest.approx(0.0, abs=1e-12)
    product = (a - a.mean())[:, None] * (b - b.mean())
    assert variance_parts(product) == pytest.approx((0.0, 0.0, np.var(product)), abs=1e-12)
    assert sum(variance_parts(table := generator.normal(size=(7, 5)))) == pytest.approx(np.var(table))


def test_draws_under_which_no_run_ends_and_members_that_fail_take_no_part() -> None:
    table = np.add.outer([1.0, 2.0, 4.0], [0.0, 3.0])
    with_gaps = np.column_stack([table, np.full(3, np.nan)])
    assert variance_parts(with_gaps) == pytest.approx(variance_parts(table))
    with_gaps = np.vstack([with_gaps, [9.0, np.nan, np.nan]])
    assert variance_parts(with_gaps) == pytest.approx(variance_parts(table))
    assert np.isnan(variance_parts(np.full((3, 2), np.nan))).all()


def linear(monkeypatch: pytest.MonkeyPatch, weights: Any, data: Any, priors: Any, width: Any) -> Any:
    """Put predictions linear in the parameters in the place of the questions; return a problem with these rows."""
    monkeypatch.setattr(residuum, "Ensemble", SimpleNamespace(from_points=lambda problem, points: points))
    monkeypatch.setattr(members, "answers", lambda points: Answers(points @ np.array(weights), np.ones(1)))
    flat = [name for name, row in zip("abc", np.array(priors).any(axis=0), strict=True) if not row]
    return SimpleNamespace(
        n_free=3, n_data=len(data), n_priors=len(priors), names=tuple("abc"), lower=np.zeros(3), upper=np.array(width),
        scaling=SimpleNamespace(flat=lambda: dict.fromkeys(flat)), jacobian=lambda theta: np.vstack([data, priors]),
    )  # fmt: skip


def test_the_share_of_the_priors_is_that_of_their_information_where_parameters_are_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, priors = np.diag([2.0, 0.0, 1.0]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    problem = linear(monkeypatch, np.eye(3), data, priors, [9.0, 9.0, 2.0])
    # information 4 and 1; nothing measured; 1 and that of a uniform prior of width 2, 12 / 2^2
    assert prior_shares(problem, np.ones(3)) == pytest.approx([1 / 5, 1.0, 3 / 4])


def test_the_share_of_the_priors_is_what_their_noise_does_to_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    data, priors = generator.normal(size=(4, 3)), np.diag([0.5, 2.0, 1.0])
    gradient = np.array([1.0, -2.0, 0.5])
    problem = linear(monkeypatch, gradient[:, None], data, priors, [9.0, 9.0, 9.0])
    noise = generator.normal(size=(20_000, 7))
    jacobian = np.vstack([data, priors])
    shifted = [np.linalg.lstsq(jacobian, (noise * kept).T, rcond=None)[0].T for kept in (np.arange(7) >= 4, np.ones(7))]
    of_priors, of_all = (np.var(points @ gradient) for points in shifted)
    # the ratio of two variances of 20,000 draws is known to about 1 %
    assert prior_shares(problem, np.ones(3))[0] == pytest.approx(of_priors / of_all, rel=0.05)


def test_a_draw_is_laid_over_every_member_and_the_nominal_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "QUESTIONS", members.QUESTIONS[-2:])
    few = members.first(residuum.aml_ensemble(), 2)
    compiled, draws = residuum.aml_model(), residuum.aml_raf_mek_draws(2, seed=1)
    draws.iloc[0] = [compiled.nominal[compiled.parameter_index(name)] for name in draws]
    plain, crossed = answers(few).left, answers_under(draws, few).left
    assert crossed.shape == (2, 2, 2)
    assert np.array_equal(crossed[:, 0], plain) and np.isfinite(plain).all()
    assert np.all((plain > 0) & (plain < 1)), "drugs that take nothing, or add"
    assert np.abs(crossed[:, 1] / plain - 1).max() > 0.05


def test_behaviours_are_counted_in_every_ensemble_with_the_whole_member(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def shown(ids: Any, *, fitted: Any) -> Any:
        seen.append(fitted)
        return {name: SimpleNamespace(reproduced=name != "B7" or fitted["x"] > 1) for name in ids}

    monkeypatch.setattr(residuum, "aml_behaviours", shown)
    ensemble = residuum.Ensemble(("x", "shift"), np.array([[1.0, 3.0], [2.0, 4.0]]), np.ones(2))
    table = behaviours_of({"prior": ensemble, "fitted": members.first(ensemble, 1)}, progress=False)
    assert list(table["behaviour"]) == [f"B{i}" for i in range(6, 13)]
    by_id = table.set_index("behaviour")
    assert (by_id.loc["B7", "prior"], by_id.loc["B7", "fitted"]) == ("1 of 2", "0 of 1")
    assert (by_id.loc["B8", "prior"], by_id.loc["B8", "fitted"]) == ("2 of 2", "1 of 1")
    assert seen == [{"x": 1.0, "shift": 3.0}, {"x": 2.0, "shift": 4.0}, {"x": 1.0, "shift": 3.0}]
    assert isinstance(table, pd.DataFrame) and table["statement"].str.len().min() > 10
