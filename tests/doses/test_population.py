"""Populations: log-normal cells of patients, what they keep against closed forms, and sources of variation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers import net

from residuum.doses import draw_population, population_residual, variation
from residuum.doses.population_figures import variation_figure, waterfall_figure
from residuum.simulator import CompiledModel, InputError, SolverOptions, UnknownNameError

MEANS = {"ks": 2.0, "kd": 0.5, "w": 1.0}
CV = {"ks": 0.4, "kd": 0.2}


def drugged() -> CompiledModel:
    """S at steady state ks / kd / (1 + w d): log S under much drug is linear in log ks, log kd and log w."""
    return net("d 0; ks 1; kd 1; w 1", "S() 1", "0 1 make; 1 0 kd", "S 1", "make() ks/(1+w*d)")


def population(**changes: Any) -> Any:
    arguments: dict[str, Any] = {"between_cells": CV, "patients": 3, "cells": 50, "seed": 1, **changes}
    return draw_population({"one": MEANS}, **arguments)


def residual(cells: Any, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"doses": {"d": [0.0, 3.0]}, "readout": "S", "time": 1000.0, **changes}
    return population_residual(drugged(), cells, {"one": MEANS}, **arguments)


def test_cells_have_the_mean_and_the_spread_that_were_asked_for() -> None:
    drawn = population(patients=1, cells=40_000)
    for name, cv in CV.items():
        x = drawn[name].to_numpy()
        assert x.mean() == pytest.approx(MEANS[name], rel=5 * cv / 200)  # five standard errors
        assert x.std() / x.mean() == pytest.approx(cv, rel=0.05)
        assert abs(np.mean(np.log(x) < np.log(x).mean()) - 0.5) < 0.0125  # log x is symmetric: five standard errors


def test_patients_differ_as_far_as_was_asked_for() -> None:
    drawn = population(between_cells={"ks": 0.0}, between_patients={"ks": 0.5}, patients=4000, cells=2)
    of_patient = drawn.groupby("patient")["ks"]
    assert (of_patient.nunique() == 1).all()
    x = of_patient.first().to_numpy()
    assert x.std() / x.mean() == pytest.approx(0.5, rel=0.1)


def test_a_shared_factor_moves_all_amounts_of_a_cell() -> None:
    drawn = population(between_cells=dict.fromkeys(MEANS, 0.0), shared=0.3)
    for name, mean in MEANS.items():
        np.testing.assert_allclose(drawn[name], mean * drawn["shared"], rtol=1e-12)
    assert drawn["shared"].std() == pytest.approx(0.3, rel=0.3)


def test_a_patient_is_the_same_whoever_else_is_drawn() -> None:
    few, many = population(patients=2), population(patients=5)
    assert few.equals(many.iloc[: len(few)])
    assert not population(patients=2, seed=2)["ks"].equals(few["ks"])


def test_genotypes_are_as_frequent_as_stated() -> None:
    contexts = {"a": MEANS, "b": MEANS, "never": MEANS}
    drawn = draw_population(contexts, {"a": 3, "b": 1}, between_cells=CV, patients=2000, cells=1)
    share = drawn["context"].value_counts(normalize=True)
    assert share["a"] == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 2000))
    assert "never" not in share


def test_what_cells_keep_is_the_closed_form() -> None:
    cells = population()
    found = residual(cells)
    untreated = (cells["ks"] / cells["kd"]).to_numpy().reshape(3, 50)
    expected = untreated / np.median(untreated, axis=1, keepdims=True)
    np.testing.assert_allclose(found["left"].isel(step=0), expected, rtol=1e-4)
    np.testing.assert_allclose(found["left"].isel(step=1), expected / 4, rtol=1e-4)
    np.testing.assert_array_equal(found["above"].isel(step=1), (expected / 4 > 0.25).mean(axis=1))
    assert found["above"].isel(step=1).values == pytest.approx([0.5] * 3)  # the median cell is on the threshold


def test_before_the_drugs_hold_the_values_at_rest() -> None:
    cells = population(between_cells={"ks": 0.0}, patients=1, cells=1)
    # a moment after the drug, the amount is still that of rest
    found = residual(cells, doses={"d": 3.0}, at_rest={"ks": 4.0}, time=1e-9)
    assert float(found["control"].squeeze()) == pytest.approx(8.0, rel=1e-4)
    assert float(found["left"].squeeze()) == pytest.approx(1.0, rel=1e-4)


def test_shares_of_variance_are_those_of_the_logarithms() -> None:
    cells = population(patients=1, cells=400, shared=0.1, between_cells={**CV, "w": 0.3})
    found = residual(cells, doses={"d": 1e6})
    ranked = variation(found).set_index("source")
    # log S = log ks - log kd - log w: the shared factor acts once up and twice down
    sd = {"ks": 0.4, "kd": 0.2, "w": 0.3, "shared": 0.1}
    expected = {name: math.log1p(cv**2) for name, cv in sd.items()}
    total = sum(expected.values())
    for name, part in expected.items():
        assert ranked.share[name] == pytest.approx(part / total, abs=0.06)  # 400 cells
    assert ranked.share["unexplained"] < 1e-5
    assert ranked.index[0] == "ks"
    assert ranked.rank_correlation["ks"] > 0.5 > 0 > ranked.rank_correlation["w"]


def test_genotype_is_a_source_of_its_own() -> None:
    contexts = {"one": MEANS, "high": {**MEANS, "ks": 20.0}}
    cells = draw_population(contexts, between_cells=CV, patients=6, cells=20, seed=3)
    found = population_residual(drugged(), cells, contexts, {"d": 1.0}, "S", 1000.0)
    assert set(found["context"].values) == {"one", "high"}
    np.testing.assert_allclose(found["left"].median("cell"), 0.5, rtol=1e-4)  # each against its own untreated cells
    ranked = variation(found).set_index("source")
    assert ranked.share["context"] < 0.05


def test_cells_that_fail_are_counted_and_have_no_number() -> None:
    found = residual(population(), options=SolverOptions(max_steps=1))
    assert found.attrs["n_failed"] == 3 * 50 * 3
    assert (found["n_failed"] == 50).all()
    assert np.isnan(found["left"]).all()
    assert np.isnan(found["above"]).all()
    with pytest.raises(InputError, match="0 cells have a number"):
        variation(found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patients": 0}, "0 patients of 50 cells"),
        ({"between_cells": {"nothing": 0.1}}, "nothing varies, but the context 'one' gives it no mean"),
        ({"between_cells": {"ks": -0.1}}, "coefficient of variation of ks is -0.1"),
        ({"shares": {"one": 0.0}}, "one above 0"),
        ({"shares": {"two": 1.0}}, "two"),
    ],
)
def test_a_population_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        population(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"doses": {}}, "at least one drug"),
        ({"doses": {"d": [0, 1], "w": [1, 2, 3]}}, r"lengths \[2, 3\]"),
        ({"doses": {"d": -1.0}}, "not negative"),
        ({"doses": {"e": 1.0}}, "'e'"),
        ({"readout": "T"}, "'T'"),
        ({"threshold": 0.0}, "threshold is 0"),
        ({"time": -1.0}, "time"),
    ],
)
def test_a_treatment_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        residual(population(), **changes)


def test_a_table_that_is_no_population_is_refused() -> None:
    cells = population()
    for table, message in ((cells.drop(columns="patient"), "no column 'patient'"), (cells.iloc[1:], "same number")):
        with pytest.raises(InputError, match=message):
            residual(table)
    with pytest.raises(UnknownNameError, match="other"):
        residual(cells.assign(context="other"))


def test_figures_show_every_patient_and_every_source() -> None:
    found = residual(population(patients=5), doses={"d": [1.0, 3.0]})
    ax = waterfall_figure(found).axes[0]
    heights = [patch.get_height() for patch in ax.patches]
    assert heights == sorted(heights, reverse=True)
    assert len(heights) == 5
    assert "25% of untreated" in ax.get_ylabel()
    bars = variation_figure(found).axes[0]
    assert [tick.get_text() for tick in bars.get_yticklabels()] == ["ks", "kd", "not described by a line"]


def test_a_patient_without_numbers_is_a_cross() -> None:
    found = residual(population(), options=SolverOptions(max_steps=1))
    crosses = waterfall_figure(found).axes[0].lines[0]
    assert len(np.asarray(crosses.get_xdata())) == 3
