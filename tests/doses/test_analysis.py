"""What follows from a dose matrix: doses that leave a level, means over doses, contours, bands over members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import small_matrix as matrix

from residuum.doses import analysis
from residuum.simulator import InputError

FINE = [0.0, *np.geomspace(0.01, 100, 41)]
LATE = {"readout": "P", "time": 1e4}


def fine(**changes: Any) -> Any:
    """Return a matrix whose late residual of P is 1 / ((1 + d1) (1 + d2)), on a fine grid of d1 that has 1 in it."""
    return matrix(**{"drugs": {"d1": FINE, "d2": [0.0, 1.0, 3.0]}, "times": [1e4], **changes})


def of(numbers: Any, doses: Any = (0.0, 1.0, 10.0, 100.0)) -> xr.DataArray:
    """Return a residual over the doses of one drug."""
    coordinate = ("drug", np.asarray(doses, float), {"role": "dose", "units": "nM"})
    return xr.DataArray(np.asarray(numbers, float), dims=("drug",), coords={"drug": coordinate}, name="residual")


def test_half_is_left_at_one_over_one_plus_d() -> None:
    found = fine().ic50("d1").sel(LATE).isel(member=0)
    np.testing.assert_allclose(found.dose.sel(d2=0.0), 1.0, rtol=1e-4)  # a dose of the grid: no interpolation
    assert found.dose.attrs["units"] and (found.side.sel(d2=[0.0]) == "within").all()
    assert (found.side.sel(d2=[1.0, 3.0]) == "below the lowest dose").all() and np.isnan(found.dose.sel(d2=3.0)).all()
    quarter = fine().ic50("d1", level=0.25).sel(**LATE, d2=1.0)
    np.testing.assert_allclose(quarter.dose, 1.0, rtol=1e-4)  # 1 / (1 + 1) of what 1 / (1 + 1) leaves


def test_between_doses_the_residual_is_linear_in_log_dose() -> None:
    found = fine().ic50("d1", level=0.2).sel(**LATE, d2=0.0)
    np.testing.assert_allclose(found.dose, 4.0, rtol=0.01)  # the grid steps by a factor of 1.26
    assert analysis.crossing(of([1, 0.75, 0.25, 0.0]), "drug").dose == pytest.approx(10**0.5)


@pytest.mark.parametrize(
    ("numbers", "dose", "side", "crossings"),
    [
        ([1, 0.9, 0.8, 0.7], np.nan, analysis.ABOVE, 0),
        ([1, 0.4, 0.3, 0.1], np.nan, analysis.BELOW, 0),
        ([1, 0.5, 0.3, 0.1], 1.0, analysis.WITHIN, 0),
        ([1, 0.9, 0.5, 0.1], 10.0, analysis.WITHIN, 1),
        ([0.1, 0.75, 0.25, 0.1], 10**0.5, analysis.WITHIN, 1),  # a dose of 0 takes no part
        ([1, 0.75, 0.25, 0.75], 10**0.5, analysis.WITHIN, 2),
        ([1, 0.4, 0.75, 0.25], np.nan, analysis.BELOW, 2),
        ([1, 0.75, 0.25, np.nan], 10**0.5, analysis.WITHIN, 1),
        ([1, 0.75, np.nan, 0.25], np.nan, analysis.UNKNOWN, 0),
        ([1, np.nan, 0.75, 0.25], np.nan, analysis.UNKNOWN, 1),
        ([1, 0.9, 0.8, np.nan], np.nan, analysis.UNKNOWN, 0),
    ],
)
def test_the_side_says_why_there_is_no_dose(numbers: list[float], dose: float, side: str, crossings: int) -> None:
    found = analysis.crossing(of(numbers), "drug")
    np.testing.assert_allclose(found.dose, dose, rtol=1e-12)
    assert found.side == side and found.crossings == crossings
    rank = {analysis.BELOW: 0.0, analysis.ABOVE: np.inf}.get(side, dose)
    np.testing.assert_allclose(analysis.in_order(found), rank)


@pytest.mark.parametrize(("left", "side"), [(0.4, analysis.BELOW), (0.6, analysis.ABOVE), (0.5, analysis.WITHIN)])
def test_one_dose_is_enough_to_say_on_which_side_it_lies(left: float, side: str) -> None:
    assert analysis.crossing(of([1.0, left], [0.0, 3.0]), "drug").side == side


def test_the_area_is_the_mean_over_log_dose() -> None:
    exact = (np.log(100 / 101) - np.log(0.01 / 1.01)) / np.log(1e4)
    found = fine().area("d1").sel(**LATE, d2=0.0).isel(member=0)
    np.testing.assert_allclose(found, exact, rtol=1e-3)
    assert analysis.area(of([0.3, 1, 1, 1]), "drug") == 1 and np.isnan(analysis.area(of([1, 1, np.nan, 1]), "drug"))
    with pytest.raises(InputError, match="two doses of drug above 0"):
        analysis.area(of([1, 0.5], [0, 1]), "drug")


def test_the_contour_follows_the_closed_form_in_both_directions() -> None:
    doses = [0.0, *np.geomspace(0.01, 100, 41)]
    table = matrix(drugs={"d1": doses, "d2": doses}, times=[1e4]).contour(0.1, readout="P")
    assert list(table.columns) == ["member", "context", "d1", "d2", "along"]
    np.testing.assert_allclose((1 + table["d1"]) * (1 + table["d2"]), 10.0, rtol=0.02)
    own = table[table["context"] == "slow"]
    assert set(own["along"]) == {"d1", "d2"} and own["d1"].min() == 0 == own["d2"].min()
    assert (np.diff(own["d1"]) >= 0).all() and (np.diff(own["d2"]) <= 1e-12).all()
    with pytest.raises(InputError, match="a contour needs two drugs, given 1: drug"):
        analysis.contour(of([1, 1, 1, 1]), 0.5)


def test_bands_are_weighted_quantiles_of_the_members_that_have_a_number() -> None:
    members = [{"kd": kd} for kd in (1.0, 2.0, 3.0, 4.0)]
    m = matrix(members=members, contexts={"own": {}}, times=[0.3], weights=[1, 1, 1, 7])
    left = m.residual().sel(readout="one", d1=3.0, d2=0.0).squeeze()
    found = m.bands([0.1, 0.3, 0.31, 1.0]).sel(readout="one", d1=3.0, d2=0.0).squeeze()
    ranked = np.sort(left)  # the fastest, of weight 0.7, has least left
    assert (np.diff(left) < 0).all()
    np.testing.assert_array_equal(found.residual, [ranked[0], ranked[0], ranked[0], ranked[3]])
    m.dataset["value"].loc[{"member": 3}] = np.nan
    found = m.bands([0.5]).sel(readout="one", d1=3.0, d2=0.0).squeeze()
    assert found.residual == left[1] and found.share == pytest.approx(0.3)
    with pytest.raises(InputError, match="from 0 to 1"):
        m.bands([5])


def test_unknown_drugs_and_references_are_named() -> None:
    with pytest.raises(InputError, match="drug of the matrix 'd3': did you mean"):
        matrix().ic50("d3")
    with pytest.raises(InputError, match="unknown reference 'fsat'"):
        matrix().residual("fsat")
    with pytest.raises(InputError, match="no dose above 0"):
        analysis.crossing(of([1.0], [0.0]), "drug")
