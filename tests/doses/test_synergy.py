"""Synergy: null models give zero, units and the order of drugs do not matter, members are counted by their weights."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from helpers import GRID
from helpers import small_matrix as matrix
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import residuum
from residuum.doses import score, synergy_scores
from residuum.doses.hill import Response, fit_hill
from residuum.doses.synergy import MODELS, STRUCTURAL, bliss_excess, hsa_excess, loewe_excess, zip_excess
from residuum.simulator import InputError, Segment

Float = npt.NDArray[np.float64]

DOSES = np.array([0.0, *np.geomspace(0.3, 100.0, 7)])

SURFACES = {
    "bliss": lambda effect, a, b: bliss_excess(effect),
    "hsa": lambda effect, a, b: hsa_excess(effect),
    "loewe": loewe_excess,
    "zip": zip_excess,
}


def hill(dose: Any, most: float, halfway: float, slope: float) -> Any:
    powers = np.asarray(dose) ** slope
    return most * powers / (halfway**slope + powers)


def independent(first: tuple[float, float, float], second: tuple[float, float, float]) -> Float:
    """Return effects of two drugs that act independently, each with a Hill curve."""
    return 1 - (1 - hill(DOSES, *first))[:, None] * (1 - hill(DOSES, *second))


def with_itself(curve: tuple[float, float, float], ratio: float = 1.0) -> Float:
    """Return effects of a drug with itself, of which the second is diluted by a ratio."""
    return np.asarray(hill(DOSES[:, None] + DOSES / ratio, *curve))


def residual_of(effect: Float, **coords: Any) -> xr.DataArray:
    """Return the residual (member, context, a, b, readout) of effects (n_members, n_a, n_b)."""
    return xr.DataArray(
        1 - effect[:, None, :, :, None],
        dims=("member", "context", "a", "b", "readout"),
        coords={
            "member": np.arange(len(effect)),
            "context": ["cell"],
            "a": ("a", DOSES[: effect.shape[1]], {"role": "dose", "units": "nM"}),
            "b": ("b", DOSES[: effect.shape[2]], {"role": "dose", "units": "nM"}),
            "readout": ["pERK"],
            **coords,
        },
    )


curves = st.tuples(st.floats(0.2, 1.0), st.floats(0.5, 60.0), st.floats(0.5, 4.0))


# ---- closed forms -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(curves, curves)
def test_independent_hill_curves_have_no_excess_over_bliss_and_zip(first: Any, second: Any) -> None:
    effect = independent(first, second)
    np.testing.assert_allclose(bliss_excess(effect), 0, atol=1e-15)
    np.testing.assert_allclose(zip_excess(effect, DOSES, DOSES), 0, atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(curves, st.floats(0.1, 10.0))
def test_a_drug_with_itself_is_additive_in_dose(curve: Any, ratio: float) -> None:
    # a curve that has hardly begun to rise at its highest dose does not determine its maximum
    assume(hill(DOSES[-1] / max(ratio, 1.0), 1.0, *curve[1:]) > 0.1)
    np.testing.assert_allclose(loewe_excess(with_itself(curve, ratio), DOSES, DOSES), 0, atol=1e-6)


def test_a_drug_with_itself_is_not_independent_of_itself() -> None:
    a, b = DOSES[:, None], DOSES  # 1 - 1 / (1 + a + b), where independent halves leave 1 / (1 + a) / (1 + b)
    effect = with_itself((1.0, 1.0, 1.0))
    np.testing.assert_allclose(bliss_excess(effect), -a * b / ((1 + a + b) * (1 + a) * (1 + b)), atol=1e-14)


def test_an_inert_drug_adds_nothing_under_any_model() -> None:
    effect = independent((0.8, 5.0, 1.5), (0.0, 1.0, 1.0))
    for name, surface in SURFACES.items():
        np.testing.assert_allclose(surface(effect, DOSES, DOSES), 0, atol=1e-9, err_msg=name)


def test_above_the_maximum_of_the_weaker_drug_the_stronger_one_alone_is_expected() -> None:
    effect = independent((1.0, 1.0, 2.0), (0.2, 1.0, 1.0))
    above = effect[1:, 0] > 0.2
    assert above.any()
    excess = loewe_excess(effect, DOSES, DOSES)[1:, 1:]
    np.testing.assert_allclose(excess[above], hsa_excess(effect)[1:, 1:][above], atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_more_effect_than_every_model_expects_is_positive_and_less_negative(name: str) -> None:
    effect = independent((0.5, 5.0, 1.5), (0.5, 5.0, 1.5))
    effect[1:, 1:] = 0.9
    assert (SURFACES[name](effect, DOSES, DOSES)[1:4, 1:4] > 0.3).all()
    effect[1:, 1:] = 0.0
    assert (SURFACES[name](effect, DOSES, DOSES)[4:, 4:] < -0.2).all()


# ---- the curves -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(curves)
def test_a_hill_curve_is_recovered_from_its_points(curve: tuple[float, float, float]) -> None:
    fitted = fit_hill(DOSES[1:], np.asarray(hill(DOSES[1:], *curve))[None])
    np.testing.assert_allclose([fitted.amplitude[0], fitted.halfway[0], fitted.slope[0]], curve, rtol=1e-5)


def test_what_falls_with_dose_is_fitted_by_a_negative_amplitude() -> None:
    fitted = fit_hill(DOSES[1:], 0.6 - hill(DOSES[1:], 0.4, 3.0, 2.0), 0.6)
    np.testing.assert_allclose([fitted.amplitude, fitted.halfway, fitted.slope], [-0.4, 3.0, 2.0], rtol=1e-6)


def test_no_fitted_effect_exceeds_one() -> None:
    effect = np.array([[0.1, 0.3, 0.5, 0.8, 1.0, 1.0, 1.0], [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64]])
    assert (fit_hill(DOSES[1:], effect).amplitude <= 1).all()


def test_a_curve_without_a_number_is_unknown_and_leaves_the_others_alone() -> None:
    effect = np.array([hill(DOSES[1:], 0.9, 3.0, 1.0), hill(DOSES[1:], 0.4, 9.0, 2.0)])
    alone = fit_hill(DOSES[1:], effect[1:])
    effect[0, 2] = np.nan
    both = fit_hill(DOSES[1:], effect)
    assert np.isnan(both.amplitude[0]) and all(np.array_equal(x[1:], y) for x, y in zip(both, alone, strict=True))


def test_a_response_passes_through_points_that_no_hill_curve_meets() -> None:
    effect = np.array([[0.02, 0.3, 0.31, 0.33, 0.7, 0.72, 0.75]])
    response = Response.through(DOSES[1:], effect)
    np.testing.assert_allclose(response.dose(effect - 1e-12), DOSES[None, 1:], rtol=1e-6)
    between = response.dose(np.linspace(0.01, 0.74, 50)[None])
    assert (np.diff(between) > 0).all() and np.isinf(response.dose(np.array([[1.0]]))).all()


# ---- laws of all models -----------------------------------------------------------------------------------------


def bumpy(seed: int) -> Float:
    """Return effects (2, n_a, n_b) that rise with both doses and follow no formula."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0, 1, (2, len(DOSES), len(DOSES)))
    steps[:, 0, 0] = 0.0
    sums = steps.cumsum(axis=1).cumsum(axis=2)
    return np.asarray(0.97 * sums / sums[:, -1:, -1:])


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_drugs_may_be_swapped(name: str, seed: int) -> None:
    effect = bumpy(seed)
    there, back = (SURFACES[name](e, DOSES, DOSES) for e in (effect, np.swapaxes(effect, 1, 2)))
    np.testing.assert_allclose(there, np.swapaxes(back, 1, 2), atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([1e-9, 1e-3, 1e6]), st.sampled_from([1.0, 1e9]))
def test_units_of_doses_do_not_matter(name: str, seed: int, a: float, b: float) -> None:
    effect = bumpy(seed)
    own, scaled = SURFACES[name](effect, DOSES, DOSES), SURFACES[name](effect, a * DOSES, b * DOSES)
    np.testing.assert_allclose(scaled, own, atol=1e-6)  # sums in another order of rounding: the descent ends elsewhere


@pytest.mark.parametrize("name", MODELS)
def test_a_drug_alone_has_no_excess(name: str) -> None:
    effect = bumpy(1)
    effect[1] *= -0.5  # a drug that raises the signal
    excess = SURFACES[name](effect, DOSES, DOSES)
    known = excess[:1] if name == "loewe" else excess
    np.testing.assert_allclose(known[:, 0], 0, atol=1e-15)
    np.testing.assert_allclose(known[:, :, 0], 0, atol=1e-15)


@pytest.mark.parametrize("name", MODELS)
def test_grids_do_not_see_each_other(name: str) -> None:
    effect = np.concatenate([bumpy(1), bumpy(2)])
    effect[1, 0, 3] = np.nan
    together = SURFACES[name](effect, DOSES, DOSES)
    for i, one in enumerate(effect):
        np.testing.assert_array_equal(SURFACES[name](one, DOSES, DOSES), together[i])


# ---- with labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_scores_keep_dims_names_and_units(name: str) -> None:
    residual = residual_of(bumpy(3)).transpose("readout", "b", "member", "a", "context")
    excess = score(residual, name)
    assert excess.dims == residual.dims and excess.b.attrs == {"role": "dose", "units": "nM"}
    expected = SURFACES[name](bumpy(3), DOSES, DOSES)
    got = excess.isel(context=0, readout=0).transpose("member", "a", "b")
    np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_the_control_of_a_residual_does_not_matter(name: str) -> None:
    residual = residual_of(bumpy(3))
    np.testing.assert_allclose(score(3 * residual, name), score(residual, name), atol=1e-9)


def test_two_independent_blocks_of_a_model_have_no_bliss_excess() -> None:
    excess = score(matrix().residual(), "bliss").sel(time=100.0, readout="P")
    np.testing.assert_allclose(excess, 0.0, atol=1e-5)


def test_the_highest_single_agent_is_the_better_drug_of_the_model() -> None:
    r = matrix().residual()
    expected = np.minimum(r.sel(d1=3.0, d2=0.0), r.sel(d1=0.0, d2=1.0)) - r.sel(d1=3.0, d2=1.0)
    np.testing.assert_allclose(score(r, "hsa").sel(d1=3.0, d2=1.0), expected)


def test_the_reference_of_a_matrix_does_not_change_synergy() -> None:
    own, named = (
        matrix(times=[0.5], protocol=[Segment(0.0, 9.0)]),
        matrix(times=[0.5], protocol=[Segment(0.0, 9.0)], reference="fast"),
    )
    for name in ("bliss", "hsa"):
        np.testing.assert_allclose(score(named.residual(), name), score(own.residual(), name), atol=1e-14)


def test_three_drugs_have_bliss_and_hsa_only() -> None:
    left = np.multiply.outer(np.multiply.outer([1, 0.5, 0.2, 0.1], [1, 0.9, 0.8, 0.3]), [1, 0.4])
    axes = {name: (name, DOSES[:n], {"role": "dose"}) for name, n in zip("abc", left.shape, strict=True)}
    residual = xr.DataArray(left, dims=tuple("abc"), coords=axes)
    scores = synergy_scores(residual)
    assert (
        scores["model"].values.tolist() == ["bliss", "hsa"] and "loewe compares two drugs" in scores.attrs["left_out"]
    )
    np.testing.assert_allclose(scores["excess"].sel(model="bliss"), 0, atol=1e-15)
    assert scores["highest"].sel(model="hsa").item() == pytest.approx(0.3 - left[1, 3, 1])


def test_a_failed_run_leaves_unknown_what_depends_on_it() -> None:
    residual = residual_of(np.stack([independent((1.0, 5.0, 1.0), (1.0, 5.0, 1.0))] * 2))
    residual[0, 0, 3, 0, 0] = np.nan
    for name in MODELS:
        excess = score(residual, name)
        assert np.isnan(excess[0, 0, 3]).all() and np.isfinite(excess[1]).all()
        assert np.isnan(excess[0]).all() == (name in ("loewe", "zip"))
    scores = synergy_scores(residual)
    assert scores["known"].values == pytest.approx(0.5) and np.isfinite(scores["mean_bands"]).all()


def test_a_drug_that_raises_the_signal_has_no_dose_of_equal_effect_and_the_scores_say_so() -> None:
    effect = independent((1.0, 5.0, 1.0), (-0.4, 5.0, 1.0))
    assert np.isnan(score(residual_of(effect[None]), "loewe")).all()
    scores = synergy_scores(residual_of(effect[None]))
    assert scores.attrs["unknown"].startswith("loewe: 1 of 1 grids: a drug alone raises the signal")
    np.testing.assert_allclose(scores["excess"].sel(model="zip"), 0, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "model", "says"),
    [
        ({"a": slice(1, None)}, "bliss", "add the dose 0 to the axis of a, which begins with 0.3"),
        ({"a": 3}, "bliss", "two or more drugs"),
        ({"b": slice(0, 3)}, "zip", "zip needs 3 doses above 0 of each drug, b has 2"),
        ({"b": slice(0, 3)}, "loewe", "loewe needs 3 doses"),
        ({"b": [0, 2, 1]}, "hsa", "doses of b that increase from 0"),
        ({"b": [0]}, "bliss", "doses of b that increase from 0"),
        ({}, "blis", "bliss"),
    ],
)
def test_what_cannot_be_scored_is_refused(change: dict[str, Any], model: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        score(residual_of(bumpy(1)).isel(change), model)


def test_few_doses_leave_out_the_models_of_curves() -> None:
    scores = synergy_scores(matrix(times=[100.0]).residual())
    assert GRID[1:] == [1.0, 3.0] and scores["model"].values.tolist() == ["bliss", "hsa"]
    assert "zip needs 3 doses above 0 of each drug, d1 has 2" in scores.attrs["left_out"]


# ---- over members -----------------------------------------------------------------------------------------------


def members_with(*bonus: float) -> xr.DataArray:
    """Return members whose combinations all silence `bonus` more than independent drugs do."""
    effect = np.stack([independent((0.5, 5.0, 1.0), (0.5, 5.0, 1.0))] * len(bonus))
    effect[:, 1:, 1:] += np.array(bonus)[:, None, None]
    return residual_of(effect)


def test_members_are_scored_one_by_one_and_counted_by_weight() -> None:
    scores = synergy_scores(members_with(0.1, -0.1, 0.0, 0.3), models=["bliss"], weights=[1, 2, 3, 4]).squeeze()
    np.testing.assert_allclose(scores["mean"], [0.1, -0.1, 0.0, 0.3], atol=1e-12)
    np.testing.assert_allclose(scores["highest"], [0.1, -0.1, 0.0, 0.3], atol=1e-12)
    # the smallest value up to which the weights sum to 5 %, 50 %, 95 %
    np.testing.assert_allclose(scores["mean_bands"], [-0.1, 0.0, 0.3], atol=1e-12)
    assert (scores["probability"].item(), scores["antagonism"].item()) == pytest.approx((0.5, 0.2))
    np.testing.assert_allclose(scores["excess_bands"].sel(quantile=0.95)[1:, 1:], 0.3, atol=1e-12)


def test_weights_of_a_matrix_are_those_of_its_members() -> None:
    residual = members_with(0.1, 0.0, 0.0).assign_coords(weight=("member", [0.98, 0.01, 0.01]))
    scores = synergy_scores(residual, models=["bliss"]).squeeze()
    np.testing.assert_allclose(scores["mean_bands"], [0.1, 0.1, 0.1], atol=1e-12)
    assert scores["probability"].item() == pytest.approx(0.98)
    np.testing.assert_allclose(scores["weight"], [0.98, 0.01, 0.01])


def test_a_matrix_is_scored_as_its_residual() -> None:
    m = matrix(times=[100.0], members=[{"kd": 1.0}, {"kd": 3.0}], weights=[3, 1], contexts={"cell": {}})
    xr.testing.assert_identical(score(m, "hsa"), score(m.residual(), "hsa"))
    xr.testing.assert_identical(synergy_scores(m), synergy_scores(m.residual()))


def test_members_without_a_number_are_left_out_and_counted() -> None:
    residual = members_with(0.1, 0.3, 0.2)
    residual[1, 0, 2, 2, 0] = np.nan
    scores = synergy_scores(residual, models=["hsa", "bliss"], weights=[0.2, 0.5, 0.3]).sel(model="bliss").squeeze()
    np.testing.assert_allclose(scores["mean_bands"].values, [0.1, 0.2, 0.2], atol=1e-12)
    assert scores["known"].item() == pytest.approx(0.5) and scores["probability"].item() == 1
    residual[:] = np.nan
    assert np.isnan(synergy_scores(residual)["probability"]).all()


def test_models_that_differ_in_sign_are_said_to_disagree() -> None:
    effect = 0.97 * with_itself((1.0, 5.0, 3.0))  # steep: additive in dose is more than independent
    effect[1:, 1:] -= 0.03
    surfaces = [surface(effect, DOSES, DOSES) for surface in SURFACES.values()]
    expected = (np.max(surfaces, axis=0) > 0.02) & (np.min(surfaces, axis=0) < -0.02)
    assert expected.any() and not expected.all()
    np.testing.assert_array_equal(synergy_scores(residual_of(effect[None]))["disagree"].squeeze(), expected)


def test_one_member_may_be_scored_without_a_dim_for_it() -> None:
    residual = members_with(0.1)
    one, same = synergy_scores(residual.isel(member=0)), synergy_scores(residual)
    np.testing.assert_array_equal(one["mean"], same["mean"])


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0]])
def test_weights_have_to_fit_the_members(weights: list[float]) -> None:
    with pytest.raises(InputError, match="one per member"):
        synergy_scores(members_with(0.0, 0.1), weights=weights)


def test_the_threshold_and_the_models_are_checked() -> None:
    for wrong in ({"threshold": -0.1}, {"models": []}, {"models": ["hsa", "hsa"]}, {"models": ["blis"]}):
        with pytest.raises(InputError):
            synergy_scores(members_with(0.0), **wrong)  # type: ignore[arg-type]


def test_scores_say_where_excess_is_nearly_structural() -> None:
    residual = members_with(0.1)
    assert synergy_scores(residual).attrs["note"] == STRUCTURAL and "structural" not in synergy_scores(residual)
    in_line = synergy_scores(residual, structural=residuum.aml_structural(["gilteritinib", "trametinib"]))
    assert in_line["structural"].values.tolist() == [True]
    assert "one line on the way to pERK: the Bliss excess there is nearly structural" in in_line.attrs["note"]
    assert score(residual, "hsa", structural=["pERK"]).attrs["note"] == in_line.attrs["note"]
    with pytest.raises(InputError, match="select it with a list"):
        score(residual.isel(readout=0), "bliss", structural=["pERK"])
    beside = synergy_scores(residual, structural=residuum.aml_structural(["gilteritinib", "ruxolitinib"]))
    assert beside["structural"].values.tolist() == [False] and not beside.attrs["note"]


# ---- against another implementation -----------------------------------------------------------------------------


@pytest.mark.external
@pytest.mark.parametrize("name", MODELS)
def test_the_synergy_package_finds_the_same(name: str) -> None:
    """Of `synergy` (D. Wooten), where it is installed; it knows the signal left, not the effect."""
    combination = pytest.importorskip("synergy.combination", reason="the package `synergy` is not installed")
    from synergy.single import Hill

    # equal maxima: elsewhere their fits start on the wrong side of the base, and some end there
    first, second = (0.6, 4.0, 1.3), (0.6, 8.0, 1.7)
    given_a = [hill(DOSES, 0.6, 8.0 / (1 + dose / 20), 1.7) for dose in DOSES]  # drug a makes drug b more potent
    effect = 1 - (1 - hill(DOSES, *first))[:, None] * (1 - np.array(given_a))
    singles = {f"drug{i}_model": Hill(E0=1.0, Emax=1 - most, C=halfway, h=slope)
               for i, (most, halfway, slope) in enumerate((first, second), start=1)}  # fmt: skip
    their = {
        "bliss": combination.Bliss, "hsa": combination.HSA, "zip": combination.ZIP,
        "loewe": lambda **models: combination.Loewe(mode="delta_hsa", **models),
    }[name](**singles)  # fmt: skip
    a, b = (doses.reshape(-1) for doses in np.meshgrid(DOSES, DOSES, indexing="ij"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = their.fit(a, b, 1 - effect.reshape(-1)).reshape(effect.shape)
    # their fits and their bounded search for Loewe's effect end at about 1e-5
    np.testing.assert_allclose(SURFACES[name](effect, DOSES, DOSES)[1:, 1:], found[1:, 1:], atol=1e-4)
