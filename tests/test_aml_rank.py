"""The ranking of the shipped model: doses, members, priors, and the same numbers as by another road."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import residuum
from residuum.models import priors

CONTEXTS = ["blast-itd", "blast-itd+erk-stroma"]


@pytest.fixture(scope="module")
def ensemble() -> residuum.Ensemble:
    shipped = residuum.aml_ensemble()
    return replace(shipped, values=shipped.values[:2], weights=shipped.weights[:2])


def rank(**changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "contexts": CONTEXTS, "tkis": ["gilteritinib"], "partners": ["trametinib"], "readouts": ["pERK"],
        "doses": {"gilteritinib": 30.0, "trametinib": 1.0}, **changes,
    }  # fmt: skip
    return residuum.aml_rank(**arguments)


def test_doses_are_those_of_patients_or_of_equal_effect() -> None:
    table = residuum.aml_doses(["gilteritinib", "quizartinib", "ruxolitinib"]).set_index("drug")
    assert table.basis.tolist() == ["clinical free exposure", "equal effect", "equal effect"]
    assert table.dose_nM["gilteritinib"] == pytest.approx(0.05 * 510)  # free fraction and plasma level of the table
    assert table.effect["ruxolitinib"] == "leaves 10% of pCSF2R in blast-itd+stat5-stroma"
    dose = table.dose_nM["quizartinib"]
    result = [
        residuum.simulate(residuum.aml_model(), [86_400.0], residuum.aml_conditions(["blast-itd"], given),
                          observables=["pFLT3"])["pFLT3"].item()
        for given in ({"quizartinib": 0.0}, {"quizartinib": dose})
    ]  # fmt: skip
    assert result[1] / result[0] == pytest.approx(0.1, rel=3e-3)  # read between neighbours, 16 per decade


def test_a_drug_of_another_class_has_no_dose_of_equal_effect() -> None:
    with pytest.raises(residuum.InputError, match="dasatinib is a SRC inhibitor"):
        residuum.aml_doses(["dasatinib"])


def test_what_is_left_is_what_predictions_say(ensemble: residuum.Ensemble) -> None:
    found = rank(ensemble=ensemble)
    both = {"gilteritinib": 30.0, "trametinib": 1.0}
    for treatment, doses in {"gilteritinib": {"gilteritinib": 30.0}, "gilteritinib + trametinib": both}.items():
        predicted = residuum.aml_predictions(ensemble, CONTEXTS, doses, [86_400.0], ["pERK"])
        np.testing.assert_allclose(
            found["value"].sel(treatment=treatment, readout="pERK"), predicted["value"].squeeze(), rtol=1e-4
        )
    untreated = residuum.aml_predictions(ensemble, CONTEXTS, {}, [86_400.0], ["pERK"])
    np.testing.assert_allclose(found["control"].sel(readout="pERK"), untreated["value"].squeeze(), rtol=1e-4)
    assert found["basis"].values.tolist() == ["given"] * 3


def test_a_number_drawn_from_a_prior_is_the_same_whatever_else_is() -> None:
    alone = rank(priors=["stroma"], members=3, contexts=CONTEXTS[1:])
    both = rank(priors=["stroma", "drugs"], members=3, contexts=CONTEXTS[1:])
    np.testing.assert_array_equal(alone["control"], both["control"])  # drugs change nothing without drugs
    assert not np.allclose(alone["value"], both["value"], rtol=1e-3)
    assert np.std(np.log(alone["control"])) > 0.05


def test_one_source_drawn_anew_leaves_the_others(ensemble: residuum.Ensemble) -> None:
    of: dict[str, Any] = {"ensemble": ensemble, "priors": ["stroma", "drugs"], "contexts": CONTEXTS[1:]}
    first, drugs, fit = (rank(redrawn=redrawn, **of) for redrawn in ("", "drugs", "fit"))
    np.testing.assert_array_equal(first["control"], drugs["control"])
    assert not np.allclose(first["value"], drugs["value"], rtol=1e-3)
    assert not np.allclose(first["control"], fit["control"], rtol=1e-3)
    shares = residuum.shares_of_spread(first, {"drugs": drugs, "fit": fit})
    assert np.isfinite(shares[["drugs", "fit"]]).all().all()


def test_what_was_fitted_stays_as_fitted(ensemble: residuum.Ensemble) -> None:
    # the fit estimates what gilteritinib does to FLT3; of its affinities only those for KIT and AXL are drawn
    fixed, drawn = (
        rank(ensemble=ensemble, partners=[], contexts=CONTEXTS[:1], priors=kinds) for kinds in ([], ["drugs"])
    )
    np.testing.assert_allclose(fixed["value"], drawn["value"], rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contexts": ["blast-itd+erk-strom"]}, "blast-itd\\+erk-stroma"),
        ({"partners": ["trametinip"]}, "trametinib"),
        ({"partners": ["gilteritinib"]}, "give it once"),
        ({"doses": {"gilteritinib": -1.0, "trametinib": 1.0}}, "not negative"),
        ({"priors": ["stromas"]}, "given 'stromas'"),
        ({"members": 0}, "at least one"),
        ({"redrawn": "fit"}, "redrawn is 'fit'"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((residuum.InputError, residuum.UnknownNameError), match=message):
        rank(**changes)


def test_every_prior_is_of_a_parameter_and_of_one_kind() -> None:
    of = priors.of_cell("blast-itd+stat5-stroma") | priors.of_drug(2, "ruxolitinib", "blast-itd")
    assert {prior.kind for prior in of.values()} == set(priors.KINDS)
    assert set(of) <= set(residuum.aml_model().parameters)
    assert of["ligand_GMCSF_dose"].kind == of["drive_STAT5_CSF2R_weight"].kind == "stroma"
    assert of["amount_ERK_total"].kind == of["drive_SOS_basal"].kind == "cell"
    assert of["bind_FL_FLT3_kd"].kind == "rates"
    assert of["drug2_JAK2_kd"].key == "ruxolitinib JAK2"


def test_a_prior_is_log_normal_and_a_share_ends_at_one() -> None:
    of = priors.of_cell("blast-itd")
    number, share = of["amount_ERK_total"], of["survive_pS6_weight"]
    assert number.at(0.0) == number.value
    assert number.at(1.0) == pytest.approx(number.value * 10**number.log10_sd)
    assert share.at(10.0) == 1.0


def test_a_population_is_put_under_the_drugs_of_its_genotype() -> None:
    cells = residuum.aml_population({"blast-itd": 1.0, "blast-itd-nras": 1.0}, patients=4, cells=3, seed=2)
    found = residuum.aml_population_residual(cells, {"gilteritinib": [0.0, 30.0]}, time=7200.0)
    assert found["gilteritinib"].values.tolist() == [0.0, 30.0]
    left = found["left"].isel(step=1).median("cell").groupby("context").median()
    assert float(left.sel(context="blast-itd-nras")) > 2 * float(left.sel(context="blast-itd"))


def test_wrong_doses_of_a_population_are_told_by_drug() -> None:
    cells = residuum.aml_population("blast-itd", cells=3)
    with pytest.raises(residuum.InputError, match="the doses of gilteritinib are"):
        residuum.aml_population_residual(cells, {"gilteritinib": [-10.0]})
