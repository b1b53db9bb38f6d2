"""The dose search: exact where the answer is known, by runs alone, over members and combinations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import net, two_independent_drugs

from residuum.doses import Dosing, cheapest_doses, find_dose, left_at
from residuum.doses import runs as runs_module
from residuum.simulator import InputError, Segment

PRECISION = 10 ** (1 / 3 / 81)  # one coarse step, cut twice into nine


def search(**changes: Any) -> Any:
    """Search d1 until less than a tenth of P = 1 / ((1 + d1) (1 + d2)) is left at rest."""
    arguments: dict[str, Any] = {
        "drug": "d1", "contexts": {"own": {}}, "until": ("P", 0.1), "times": [1e4], "highest": 1000.0, **changes,
    }  # fmt: skip
    return find_dose(two_independent_drugs(), **arguments)


def test_the_dose_is_that_of_the_closed_form() -> None:
    found = search(contexts={"slow": {"kd": 0.5}, "fast": {"kd": 2.0}}).table
    assert list(found["context"]) == ["slow", "fast"]
    assert np.all((found["dose"] >= 9.0 * (1 - 1e-4)) & (found["dose"] <= 9.0 * PRECISION))
    assert (found["share"] == 1).all() and (found["left"] < 0.1).all() and (found["left"] > 0.1 / PRECISION).all()


def test_another_drug_takes_part_of_the_work() -> None:
    found = search(given={"d2": 1.0}).table
    assert 4.0 * (1 - 1e-4) <= found["dose"][0] <= 4.0 * PRECISION
    assert search(given={"d2": 20.0}).table["dose"][0] == 0  # no dose needed
    assert "no dose needed" in str(search(given={"d2": 20.0}))


def test_independent_drugs_have_no_excess_over_bliss_at_the_dose() -> None:
    found = search(given={"d2": 1.0}).table.iloc[0]
    # alone, each leaves 1 / (1 + d), so that by Loewe 1 + 4 = 5 of one would leave 1 / 6
    assert found["loewe"] == pytest.approx(1 / 6 - 0.1, abs=0.003)
    assert abs(found["bliss"]) < 1e-4 and found["hsa"] == pytest.approx(0.2 - 0.1, rel=0.02)
    assert "over Bliss" in str(search(given={"d2": 1.0})) and "bliss" not in search().table


def test_a_drug_with_itself_has_no_excess_over_loewe() -> None:
    same = net("a 0; b 0", "S() 1", "0 1 make; 1 0 1", "S_total 1", "make() 1/(1+(a+b)^4)")
    found = find_dose(same, "a", {"own": {}}, ("S_total", 0.1), [1e3], highest=100.0, given={"b": 0.8}).table.iloc[0]
    assert found["dose"] == pytest.approx(9**0.25 - 0.8, rel=0.011)
    assert abs(found["loewe"]) < 0.02 and found["bliss"] == pytest.approx(0.304, abs=0.01)


def test_early_times_need_more() -> None:
    # P = 1/(1+d) + (1 - 1/(1+d)) exp(-t): at t = 3 it is below 0.1 if 1/(1+d) < (0.1 - e^-3) / (1 - e^-3)
    early = 1 / ((0.1 - np.exp(-3)) / (1 - np.exp(-3))) - 1
    found = search(times=[1.0, 3.0, 1e4]).table
    np.testing.assert_allclose(found["dose"], [np.inf, early, 9.0], rtol=0.011)
    assert found["share"][0] == 0 and found["left"][0] > 0.1  # at the highest dose


def test_a_drug_may_come_before_the_other_is_gone() -> None:
    # after d2 is washed out at 10, only d1 acts
    late = search(given={"d2": 20.0}, dosing={"d2": Dosing.pulse(0.0, 10.0)}, times=[10.0, 100.0]).table
    assert late["dose"][0] == 0 and late["dose"][1] == pytest.approx(9.0, rel=0.011)


def with_affinity() -> Any:
    """Drug d acts with affinity K: at rest S = 1 / (1 + d / K)."""
    return net("d 0; K 1", "S() 1", "0 1 make; 1 0 1", "S_total 1", "make() 1/(1+d/K)")


def test_the_dose_of_an_ensemble_is_the_quantile_of_those_of_its_members() -> None:
    affinities = np.geomspace(0.5, 20, 20)
    weights = np.arange(1.0, 21.0)
    found = find_dose(
        with_affinity(), "d", {"own": {}}, ("S_total", 0.1), [1e3], highest=1e4, probability=0.9,
        members=[{"K": float(k)} for k in affinities], weights=weights,
    )  # fmt: skip
    reached = np.cumsum(weights) / weights.sum()
    exact = {q: 9.0 * affinities[np.argmax(reached >= q - 1e-12)] for q in (0.05, 0.9, 0.95)}
    row = found.table.iloc[0]
    for column, q in (("low", 0.05), ("dose", 0.9), ("high", 0.95)):
        assert exact[q] * (1 - 1e-4) <= row[column] <= exact[q] * PRECISION, column
    assert row["share"] == pytest.approx(reached[np.argmax(reached >= 0.9)])
    np.testing.assert_allclose(found.members.squeeze(), 9.0 * affinities, rtol=0.011)


def test_members_that_never_get_there_are_counted() -> None:
    members = [{"K": 1.0}, {"K": 1e9}, {"K": 1.0}]
    settings: dict[str, Any] = {"members": members, "highest": 100.0}
    often = find_dose(with_affinity(), "d", {"own": {}}, ("S_total", 0.1), [1e3], probability=0.6, **settings)
    always = find_dose(with_affinity(), "d", {"own": {}}, ("S_total", 0.1), [1e3], probability=0.9, **settings)
    assert often.table["dose"][0] == pytest.approx(9.0, rel=0.011) and np.isinf(often.table["high"][0])
    assert np.isinf(always.table["dose"][0]) and always.table["share"][0] == pytest.approx(2 / 3)
    assert "not reached up to 100" in str(always) and "in 67% of members" in str(always)
    assert "above 100" in str(often)


def test_a_response_that_comes_back_is_searched_from_the_top_and_said() -> None:
    # S = 1/(1+d) + bump at d about 100: below 0.2 from 4 on, above it around 100, below it again beyond
    bumpy = net("d 0", "S() 1", "0 1 make; 1 0 1", "S_total 1", "make() 1/(1+d)+0.5*d*100/((d+100)^2)*4*0.5")
    exact = max(d for d in np.geomspace(1, 1e5, 200_001) if 1 / (1 + d) + 100 * d / (d + 100) ** 2 >= 0.2)
    found = find_dose(bumpy, "d", {"own": {}}, ("S_total", 0.2), [1e3], highest=1e5, lowest=0.1)
    assert exact * (1 - 1e-3) <= found.table["dose"][0] <= exact * PRECISION * 1.001
    assert found.table["rebound"][0] == 1 and "more is left again at higher doses in 100%" in str(found)


@pytest.mark.fault
def test_failed_members_count_as_not_reached_and_are_counted() -> None:
    # X explodes within the time in members with k = 2 unless the drug holds it
    model = net("k 0; d 0; out 1", "X() 1", "1,1 1,1,1 k; 1 0 loss; 0 1 out", "X 1", "loss() out*(1+d)")
    found = find_dose(
        model, "d", {"own": {}}, ("X", 0.5), [3.0], highest=100.0, members=[{"k": 0.0}, {"k": 4.0}, {"k": 0.0}],
        protocol=[Segment(0.0, 9.0)], probability=0.6,
    )  # fmt: skip
    row = found.table.iloc[0]
    assert row["failed"] == 1 and row["share"] == pytest.approx(2 / 3) and np.isfinite(row["dose"])
    assert np.isnan(found.members.sel(member=1)).all() and np.isinf(row["high"])
    assert "1 members failed" in str(found)


def test_the_cheapest_combination_minimises_the_cost_on_the_contour() -> None:
    # (1 + a) (1 + b) = 10 costs a + 4 b: least at 1 + a = sqrt(40), 1 + b = sqrt(10 / 4)
    table = cheapest_doses(
        two_independent_drugs(), ("d1", "d2"), {"own": {}}, ("P", 0.1), [1e4], cost={"d1": 1.0, "d2": 4.0},
        highest={"d1": 100.0, "d2": 100.0},
    )  # fmt: skip
    exact = 2 * np.sqrt(40) - 5
    assert exact * (1 - 1e-3) <= table["cost"][0] <= exact * 1.02
    np.testing.assert_allclose(table[["d1", "d2"]].iloc[0], [np.sqrt(40) - 1, np.sqrt(2.5) - 1], rtol=0.3)
    assert table["share"][0] == 1


def test_what_is_left_at_doses_of_each_context() -> None:
    left = left_at(
        two_independent_drugs(), {"d1": [1.0, 3.0], "d2": 1.0}, {"slow": {"kd": 0.5}, "fast": {}}, "P", [1.0, 1e4],
        members=[{}, {"kd": 2.0}],
    )  # fmt: skip
    assert left.dims == ("member", "context", "time")
    np.testing.assert_allclose(left.sel(time=1e4), [[0.25, 0.125], [0.25, 0.125]], rtol=1e-4)


def test_the_search_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [{"kd": kd} for kd in (0.5, 1.0, 2.0)]
    whole = search(members=members, times=[3.0])
    monkeypatch.setattr(runs_module, "BLOCK", 20)
    assert search(members=members, times=[3.0]).table.equals(whole.table)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"until": ("Q", 0.1)}, "unknown readout 'Q'"),
        ({"until": ("P", 0.0)}, "above 0 (0.1 for a tenth)"),
        ({"until": "P"}, "expected a readout and a fraction"),
        ({"drug": "d9"}, "unknown parameter 'd9'"),
        ({"given": {"d3": 1.0}}, "unknown parameter 'd3'"),
        ({"given": {"d1": 1.0}}, "searched and given at once"),
        ({"given": {"d2": -1.0}}, "not negative"),
        ({"highest": 0.0}, "0 < lowest < highest"),
        ({"lowest": 2000.0}, "0 < lowest < highest"),
        ({"probability": 90}, "the probability is 90"),
        ({"times": [2.0, 1.0]}, "times must increase"),
        ({"members": []}, "members is empty"),
    ],
)
def test_wrong_input_is_refused_in_words(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        search(**changes)
    assert says in str(error.value)
