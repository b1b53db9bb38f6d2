"""MuSyC: a known surface is recovered, independent drugs shift nothing, and what doses cannot tell is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from residuum.doses import musyc_fit
from residuum.doses.musyc import PARAMETERS, musyc_effect
from residuum.simulator import InputError

Float = npt.NDArray[np.float64]

DOSES = np.array([0.0, *np.geomspace(0.3, 100.0, 6)])
KNOWN = np.array([0.6, 0.5, 0.9, 4.0, 8.0, 1.3, 1.7, 3.0, 0.5])


def residual_of(*effects: Float, unit: float = 1.0) -> xr.DataArray:
    """Return the residual (context, a, b) of effects (n_a, n_b), one per context."""
    axes = {"a": ("a", unit * DOSES, {"role": "dose"}), "b": ("b", DOSES, {"role": "dose"})}
    contexts = [f"cell {i}" for i in range(len(effects))]
    return xr.DataArray(1 - np.stack(effects), dims=("context", "a", "b"), coords={"context": contexts, **axes})


@pytest.mark.parametrize("unit", [1.0, 1e-9])
def test_a_known_surface_is_recovered_in_any_unit(unit: float) -> None:
    found = musyc_fit(residual_of(musyc_effect(KNOWN, DOSES, DOSES), unit=unit)).squeeze()
    expected = KNOWN * np.where(np.array(PARAMETERS) == "halfway_a", unit, 1.0)
    np.testing.assert_allclose(found["value"], expected, rtol=1e-5)
    assert found["identified"].all() and found["misfit"] < 1e-7
    assert found["beta"].item() == pytest.approx(0.9 / 0.6 - 1)


def test_a_drug_alone_has_its_hill_curve_whatever_the_other_would_do() -> None:
    effect = musyc_effect(KNOWN, DOSES, DOSES)
    np.testing.assert_allclose(effect[:, 0], 0.6 * DOSES**1.3 / (4.0**1.3 + DOSES**1.3), atol=1e-15)
    np.testing.assert_allclose(effect[0], 0.5 * DOSES**1.7 / (8.0**1.7 + DOSES**1.7), atol=1e-15)


def test_independent_drugs_have_no_shift_of_potency() -> None:
    a, b = 0.7 * DOSES / (3.0 + DOSES), 0.8 * DOSES**2 / (5.0**2 + DOSES**2)
    found = musyc_fit(residual_of(1 - (1 - a)[:, None] * (1 - b)))["value"].squeeze()
    np.testing.assert_allclose(found.sel(parameter=["alpha_ab", "alpha_ba"]), 1.0, rtol=1e-5)
    assert found.sel(parameter="maximum_ab").item() == pytest.approx(1 - 0.3 * 0.2, rel=1e-5)


def test_what_the_doses_do_not_determine_is_said() -> None:
    inert = np.repeat(0.8 * DOSES[None] / (5.0 + DOSES), len(DOSES), axis=0)
    found = musyc_fit(residual_of(inert)).squeeze()
    identified = {str(name) for name in found["parameter"].values[found["identified"].values]}
    assert {"maximum_a", "maximum_b", "halfway_b", "slope_b"} <= identified
    assert not identified & {"halfway_a", "slope_a", "alpha_ba"}


def test_contexts_are_fitted_apart_and_a_failed_run_leaves_its_own_unknown() -> None:
    effects = [musyc_effect(KNOWN, DOSES, DOSES), musyc_effect(KNOWN[[1, 0, 2, 4, 3, 6, 5, 8, 7]], DOSES, DOSES)]
    residual = residual_of(*effects, effects[0])
    residual[2, 3, 3] = np.nan
    found = musyc_fit(residual)["value"]
    np.testing.assert_allclose(found[:, 1], KNOWN[[1, 0, 2, 4, 3, 6, 5, 8, 7]], rtol=1e-5)
    assert np.isnan(found[:, 2]).all() and np.isfinite(found[:, :2]).all()


def test_members_are_fitted_at_their_median() -> None:
    residual = residual_of(musyc_effect(KNOWN, DOSES, DOSES))
    members = xr.concat([residual, residual + 0.01 * (residual < 1), residual - 0.01 * (residual < 1)], "member")
    np.testing.assert_allclose(musyc_fit(members)["value"], musyc_fit(residual)["value"], rtol=1e-6)


def test_a_member_of_most_weight_decides_and_one_with_a_failed_run_takes_no_part() -> None:
    residual = residual_of(musyc_effect(KNOWN, DOSES, DOSES))
    members = xr.concat([residual, 0 * residual + 1, residual], "member")
    weighted = members.assign_coords(weight=("member", [0.2, 0.1, 0.7]))
    np.testing.assert_array_equal(musyc_fit(weighted)["value"], musyc_fit(residual)["value"])
    members = members.isel(member=[1, 0, 1])
    members[::2, 0, 3, 3] = np.nan
    np.testing.assert_array_equal(musyc_fit(members)["value"], musyc_fit(residual)["value"])


@pytest.mark.parametrize("change", [{"a": 2}, {"b": slice(1, None)}, {"a": slice(0, 3)}])
def test_doses_that_say_too_little_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        musyc_fit(residual_of(musyc_effect(KNOWN, DOSES, DOSES)).isel(change))


@pytest.mark.external
def test_the_synergy_package_has_the_same_surface() -> None:
    """Of `synergy` (D. Wooten), where it is installed; it knows the signal left, not the effect."""
    combination = pytest.importorskip("synergy.combination", reason="the package `synergy` is not installed")
    e_a, e_b, e_ab, c_a, c_b, h_a, h_b, alpha_ab, alpha_ba = KNOWN
    their = combination.MuSyC(E0=1.0, E1=1 - e_a, E2=1 - e_b, E3=1 - e_ab, h1=h_a, h2=h_b, C1=c_a, C2=c_b,
                              alpha12=alpha_ab, alpha21=alpha_ba, gamma12=1.0, gamma21=1.0)  # fmt: skip
    a, b = (doses.reshape(-1) for doses in np.meshgrid(DOSES, DOSES, indexing="ij"))
    found = musyc_effect(KNOWN, DOSES, DOSES)
    np.testing.assert_allclose(found, 1 - their.E(a, b).reshape(found.shape), atol=1e-12)
