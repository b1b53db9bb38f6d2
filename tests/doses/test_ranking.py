"""Ranked treatments: against closed forms of a small model, and of tables whose order and spread are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import net

from residuum.doses import compare, doses_leaving, gained, ranked, shares_of_spread
from residuum.doses.ranking_figures import interval_figure, pair_map, shares_figure
from residuum.simulator import CompiledModel, InputError, SolverOptions, Status, UnknownNameError, simulate

CELLS = {"weak": {"ks": 1.0}, "strong": {"ks": 10.0}}
DOSES: dict[str, dict[str, float]] = {"d": {"d": 1.0}, "e": {"e": 3.0}, "d + e": {"d": 1.0, "e": 3.0}}
EFFECTS = (1.0, 2.0, 4.0)
"""Of drug d, one per member."""


def two_drugs() -> CompiledModel:
    """S at steady state ks / (1 + w d) / (1 + v e): what is left is a product."""
    return net("d 0; e 0; ks 1; kd 1; w 1; v 1", "S() 1", "0 1 make; 1 0 kd", "S 1", "make() kd*ks/((1+w*d)*(1+v*e))")


def compared(**changes: Any) -> xr.Dataset:
    def cell(member: int, context: str) -> Mapping[str, float]:
        return {**CELLS[context], "w": EFFECTS[member]}

    def given(member: int, context: str, treatment: str) -> Mapping[str, float]:
        return DOSES[treatment]

    arguments: dict[str, Any] = {
        "contexts": list(CELLS), "treatments": list(DOSES), "readouts": ["S"], "time": 1000.0, "cell": cell,
        "given": given, "weights": [0.5, 0.25, 0.25], "at_rest": {"d": 0.0, "e": 0.0}, **changes,
    }  # fmt: skip
    return compare(two_drugs(), **arguments)


def given_values(left: Any, weights: Any = None, **coordinates: Any) -> xr.Dataset:
    """Return a comparison in which what is left is as given, (n_members, n_treatments)."""
    value = np.asarray(left, float)[:, None, :, None]
    n, _, m, _ = value.shape
    return xr.Dataset(
        {
            "value": (("member", "context", "treatment", "readout"), 10 * value),
            "residual": (("member", "context", "treatment", "readout"), value),
            "control": (("member", "context", "readout"), np.full((n, 1, 1), 10.0)),
            "weight": ("member", np.full(n, 1 / n) if weights is None else np.asarray(weights, float)),
        },
        coords={"member": range(n), "context": ["c"], "treatment": [f"t{i}" for i in range(m)], "readout": ["S"],
                **{name: ("treatment", column) for name, column in coordinates.items()}},
        attrs={"time": 3600.0, "unit_time": "s", "n_failed": 0, "n_runs": n * (m + 1)},
    )  # fmt: skip


def test_what_is_left_is_the_closed_form() -> None:
    found = compared()
    for m, w in enumerate(EFFECTS):
        expected = [1 / (1 + w), 1 / 4, 1 / (1 + w) / 4]
        for context, row in CELLS.items():
            here = found.sel(context=context, readout="S").isel(member=m)
            np.testing.assert_allclose(here["residual"], expected, rtol=1e-4)
            assert float(here["control"]) == pytest.approx(row["ks"], rel=1e-4)
    assert found.attrs["failures"] == "24 runs, 0 failed"
    assert found["weight"].values.tolist() == [0.5, 0.25, 0.25]


def test_many_members_in_several_calls_are_the_same_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compared()
    monkeypatch.setattr("residuum.doses.ranking.AT_ONCE", 8)
    assert compared().equals(whole)


def test_before_the_treatment_hold_the_values_at_rest() -> None:
    found = compared(at_rest={"d": 0.0, "e": 0.0, "ks": 7.0}, time=1e-9)
    np.testing.assert_allclose(found["value"], 7.0, rtol=1e-4)


def test_runs_that_fail_are_counted_and_have_neither_number_nor_rank() -> None:
    found = compared(options=SolverOptions(max_steps=1))
    assert found.attrs["n_failed"] == 24
    table = ranked(found)
    assert table["rank"].isna().all()
    assert (table["failed"] == 3).all()


def test_what_a_stop_left_undone_is_told_from_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **settings: Any) -> Any:
        done = simulate(*arguments, **settings)
        done.status[-1], done.values[-1] = Status.STOPPED, np.nan
        return done

    monkeypatch.setattr("residuum.doses.ranking.AT_ONCE", 8)
    monkeypatch.setattr("residuum.doses.ranking.simulate", stopped)
    found = compared()
    assert found.attrs["failures"] == "24 runs, 0 failed, 17 not done"
    assert found.attrs["interrupted"] == 1
    assert np.isfinite(found["value"][0, 0]).all()
    assert np.isnan(found["value"][1:]).all()


def test_treatments_are_in_order_of_the_weighted_median() -> None:
    left = [[0.1, 0.2, 0.9], [0.6, 0.2, 0.9], [0.7, 0.2, 0.1]]
    table = ranked(given_values(left, [0.6, 0.2, 0.2])).set_index("treatment")
    assert list(table.index) == ["t0", "t1", "t2"]
    assert table["median"].tolist() == [0.1, 0.2, 0.9]
    assert table["low"].tolist() == [0.1, 0.2, 0.1]
    assert table["high"].tolist() == [0.7, 0.2, 0.9]
    np.testing.assert_allclose(table["first"], [0.6, 0.2, 0.2])  # of the weight
    np.testing.assert_allclose(table["little"], [0.6, 1.0, 0.2])
    assert (table["control"] == 10.0).all()


def test_a_failed_run_takes_no_part_in_shares() -> None:
    table = ranked(given_values([[0.1, 0.2], [math.nan, 0.2], [0.1, math.nan]])).set_index("treatment")
    assert table["failed"].tolist() == [1, 1]
    np.testing.assert_allclose(table["first"], [1.0, 0.5])  # t1 is first where t0 failed
    np.testing.assert_allclose(table["little"], [1.0, 1.0])


def test_groups_are_ranked_apart() -> None:
    table = ranked(given_values([[0.4, 0.1, 0.3]], basis=["a", "b", "a"]), groups="basis")
    assert table["treatment"].tolist() == ["t2", "t0", "t1"]
    assert table["rank"].tolist() == [1, 2, 1]
    assert table["first"].tolist() == [1, 0, 1]


def test_a_score_counts_as_it_is() -> None:
    table = ranked(given_values([[0.4, 0.1]]), absolute=["S"], below=2.0)
    assert table["median"].tolist() == [1.0, 4.0]
    assert table["little"].tolist() == [1, 0]


def test_what_a_partner_adds_is_a_ratio_to_the_inhibitor_alone() -> None:
    found = compared().assign_coords(tki=("treatment", ["d", "", "d"]), partner=("treatment", ["", "e", "e"]))
    table = gained(found)
    assert table[["tki", "partner"]].to_numpy().tolist() == [["d", "e"], ["d", "e"]]  # one per context
    np.testing.assert_allclose(table[["median", "low", "high"]], 0.25, rtol=1e-4)
    assert (table["much"] == 1).all()
    with pytest.raises(InputError, match="no coordinate 'tki'"):
        gained(compared())


def test_shares_of_spread_are_the_variances_of_a_sum() -> None:
    random = np.random.default_rng(1)
    a, b, again = random.normal(0, 2, 4000), random.normal(0, 1, 4000), random.normal(0, 1, (2, 4000))
    first, of_a, of_b = (given_values(10.0 ** y[:, None]) for y in (a + b, 2 * again[0] + b, a + again[1]))
    table = shares_of_spread(first, {"a": of_a, "b": of_b}).iloc[0]
    assert table["log10_sd"] == pytest.approx(math.sqrt(5), rel=0.05)
    assert table["a"] == pytest.approx(0.8, abs=0.05)
    assert table["b"] == pytest.approx(0.2, abs=0.02)


def test_what_acts_together_counts_for_both() -> None:
    random = np.random.default_rng(2)
    a, b, again = random.normal(size=4000), random.normal(size=4000), random.normal(size=(2, 4000))
    first, of_a, of_b = (given_values(10.0 ** y[:, None]) for y in (a * b, again[0] * b, a * again[1]))
    table = shares_of_spread(first, {"a": of_a, "b": of_b}).iloc[0]
    assert table["a"] == pytest.approx(1.0, abs=0.1)
    assert table["b"] == pytest.approx(1.0, abs=0.1)


def test_where_nothing_varies_there_are_no_shares() -> None:
    same = given_values([[0.5], [0.5]])
    assert math.isnan(shares_of_spread(same, {"a": same})["a"][0])


def test_the_dose_that_leaves_a_tenth_is_found() -> None:
    rows = {"strong": {"w": 2.0}, "weak": {"w": 0.001}, "none": {"w": 0.0}, "other": {"ks": 5.0}}
    doses = {"strong": "d", "weak": "d", "none": "d", "other": "e"}
    arguments: Any = (two_drugs(), rows, doses, dict.fromkeys(rows, "S"), 1000.0)
    found = doses_leaving(*arguments)
    assert found["strong"] == pytest.approx(4.5, rel=1e-3)
    assert found["weak"] == pytest.approx(9000.0, rel=1e-3)
    assert found["other"] == pytest.approx(9.0, rel=1e-3)
    assert math.isnan(found["none"])
    assert doses_leaving(*arguments, level=0.5)["strong"] == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(InputError, match="level is 1"):
        doses_leaving(*arguments, level=1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contexts": ["weak", "weak"]}, "each once"),
        ({"treatments": []}, "treatments are"),
        ({"readouts": ["T"]}, "'T'"),
        ({"time": -1.0}, "time"),
        ({"given": lambda *_: {"f": 1.0}}, "'f'"),
        ({"given": lambda *_: {"d": math.nan}}, "sets d to no finite number"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        compared(**changes)


def test_unknown_groups_and_scores_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="basis"):
        ranked(given_values([[0.1]]), groups="basis")
    with pytest.raises(UnknownNameError, match="'T'"):
        ranked(given_values([[0.1]]), absolute=["T"])


def test_figures_show_every_pair_and_every_share() -> None:
    found = compared().assign_coords(
        tki=("treatment", ["d", "", "d"]), partner=("treatment", ["", "e", "e"]),
        basis=("treatment", ["clinical free exposure"] * 3),
    )  # fmt: skip
    figure = pair_map(found, "S")
    maps = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in maps] == list(CELLS)
    assert [text.get_text() for text in maps[0].texts] == ["100", "25", "33", "8"]  # nothing, e; d alone, d with e
    assert len(interval_figure(found, "S", ["e"]).axes[0].lines) == 4  # two treatments: interval and mark
    shares = shares_of_spread(found, {"a": compared(weights=[1, 1, 1])})
    assert len(shares_figure(shares, "S", ["d", "d + e"]).axes) == 2
