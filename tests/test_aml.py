"""The founding question, answered by the shipped model: stroma keeps pERK on, a MEK inhibitor ends it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import decay, recovery_problem

import residuum
from residuum.doses import DoseMatrix
from residuum.simulator import Conditions, Segment

CONTEXTS = ["blast-itd", "blast-itd+erk-stroma", "blast-wt", "blast-wt+erk-stroma"]


@pytest.fixture(scope="module")
def matrix() -> DoseMatrix:
    drugs = {"gilteritinib": [0, 1, 100], "trametinib": [0, 30]}
    return residuum.dose_matrix(
        residuum.aml_model(), drugs, CONTEXTS, ["pERK", "pSTAT5", "pFLT3", "survival_score"], [7200.0, 86_400.0]
    )


def left(matrix: DoseMatrix, context: str, readout: str, gilteritinib: float, trametinib: float) -> np.ndarray:
    """Return the residuals at 2 h and 24 h."""
    place = {"context": context, "readout": readout, "gilteritinib": gilteritinib, "trametinib": trametinib}
    return matrix.residual().isel(member=0).sel(place).values


def test_every_run_finishes(matrix: DoseMatrix) -> None:
    assert matrix.dataset.attrs["n_failed"] == 0 and np.isfinite(matrix.residual()).all()


def test_off_stroma_the_flt3_inhibitor_alone_takes_pERK_of_itd_cells_and_some_returns(matrix: DoseMatrix) -> None:
    """Within a day pERK rebounds with pFLT3 and pSTAT5 still low, and a MEK inhibitor prevents it (Bruner et al. 2017).

    The size is not readable there: a fall to 0.35 or less, 1.5-fold or more of that at 24 h, 0.3 or less of the others.
    """
    at_2h, at_24h = left(matrix, "blast-itd", "pERK", 100, 0)
    assert at_2h <= 0.35 and at_24h >= 1.5 * at_2h
    assert np.all(left(matrix, "blast-itd", "pFLT3", 100, 0) <= 0.3)
    assert np.all(left(matrix, "blast-itd", "pSTAT5", 100, 0) <= 0.3)
    assert np.all(left(matrix, "blast-itd", "pERK", 100, 30) <= 0.1)


@pytest.mark.parametrize("cell", ["blast-itd", "blast-wt"])
def test_on_stroma_pERK_stays_while_pFLT3_is_inhibited_until_a_mek_inhibitor_is_added(
    matrix: DoseMatrix, cell: str
) -> None:
    """Directions of Yang et al. 2014: nine tenths of pFLT3 gone, half of pERK kept; then a tenth, a blot's floor."""
    stroma = f"{cell}+erk-stroma"
    assert left(matrix, stroma, "pFLT3", 100, 0)[0] <= 0.1
    assert np.all(left(matrix, stroma, "pERK", 100, 0) >= 0.5)
    assert np.all(left(matrix, stroma, "pERK", 100, 0) > left(matrix, cell, "pERK", 100, 0))
    assert np.all(left(matrix, stroma, "pERK", 100, 30) <= 0.1)


def test_the_mek_inhibitor_leaves_pSTAT5(matrix: DoseMatrix) -> None:
    """U0126 leaves 0.5-1.05 of pSTAT5 (Latini, Venafra et al. 2024)."""
    for context in CONTEXTS:
        assert np.all(np.abs(left(matrix, context, "pSTAT5", 0, 30) - 0.775) <= 0.275)


def test_gilteritinib_inhibits_pFLT3_of_itd_by_half_near_its_published_ic50(matrix: DoseMatrix) -> None:
    """0.7-1.8 nM (Lee et al. 2017), to which its affinity was set: at 1 nM between 0.35 and 0.65 is left."""
    assert 0.35 < left(matrix, "blast-itd", "pFLT3", 1, 0)[0] < 0.65


def test_without_a_rule_that_mentions_two_drugs() -> None:
    """What a combination does comes out of the network: no reaction has two drug slots in it."""
    network = residuum.aml_model().network
    drugs = {i for i, name in enumerate(network.species) if name.startswith("DRUG")}
    assert len(drugs) == 4
    assert all(len(drugs & set(reaction.reactants)) <= 1 for reaction in network.reactions)


def test_only_midostaurin_reaches_the_fgf_receptor() -> None:
    """At 1 uM on stroma it takes part of the pERK that quizartinib leaves: an off-target, not a special case."""
    remaining = {}
    for drug in ("midostaurin", "quizartinib"):
        m = residuum.dose_matrix(residuum.aml_model(), {drug: [1000.0]}, ["blast-itd+erk-stroma"], ["pERK"], [7200.0])
        remaining[drug] = m.residual().item()
    assert remaining["midostaurin"] < remaining["quizartinib"] - 0.1


def test_changes_stand_in_for_values_of_the_context_and_of_the_drug_and_for_nothing_else() -> None:
    compiled, drugs = residuum.aml_model(), {"gilteritinib": 10.0}
    changes = {"amount_NF1_total": 0.25, "drug1_FLT3A_typeI_kd": 7.0, "recruit_SOS_kon": 1e-4}
    plain = residuum.aml_conditions(CONTEXTS, drugs)
    changed = residuum.aml_conditions(CONTEXTS, drugs, changes=changes)
    expected = plain.parameters.copy()
    for name, value in changes.items():
        expected[:, compiled.parameter_index(name)] = value
    assert np.array_equal(changed.parameters, expected) and not np.array_equal(plain.parameters, expected)
    assert changed.names == plain.names and changed.protocol == plain.protocol


def test_a_joint_draw_stands_in_for_what_the_problem_does_not_estimate() -> None:
    draws = residuum.aml_raf_mek_draws(3, seed=1)
    assert np.array_equal(draws, residuum.aml_raf_mek_draws(5, seed=1)[:3])
    assert not np.array_equal(draws, residuum.aml_raf_mek_draws(3, seed=2))
    problem, plain = residuum.aml_problem(changes=draws.iloc[0].to_dict()), residuum.aml_problem()
    assert problem.names == plain.names and problem.tables.hash != plain.tables.hash
    parameters, nominal = (p.model_parameters("molm13_linifanib_1") for p in (problem, plain))
    changed = {name for name in parameters if parameters[name] != nominal[name]}
    assert changed == set(draws.columns)
    assert all(parameters[name] == draws[name].iloc[0] for name in draws)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: residuum.aml_raf_mek_draws(0), "one draw or more"),
        (lambda m: residuum.aml_problem(changes={"recruit_SOS_kon": 1e-4}), "estimated by the problem"),
        (lambda m: residuum.aml_problem(changes={"bind_GRB2_SOS_kdd": 1.0}), "bind_GRB2_SOS_kd"),
        (lambda m: residuum.aml_problem(changes={"amount_SOS_total": 1.0}), "set by the contexts"),
        (lambda m: residuum.aml_problem(changes={"drug1_MEK_kd": 1.0}), "set by the contexts"),
        (lambda m: residuum.aml_conditions(["blast-idt"]), "Did you mean 'blast-itd'"),
        (lambda m: residuum.aml_conditions(["blast-itd+erkstroma"]), r"Did you mean 'blast-itd\+erk-stroma'"),
        (lambda m: residuum.aml_conditions(["blast-itd"], changes={"amount_NF_total": 0.1}), "amount_NF1_total"),
        (lambda m: residuum.aml_conditions(["blast-itd"], changes={"amount_NF1_total": -0.1}), "not negative"),
        (lambda m: residuum.aml_conditions(["blast-itd"], changes={"amount_NF1_total": "low"}), "'low'"),
        (lambda m: residuum.aml_conditions(["blast-itd"], changes={"drug1_dose": 1.0}), "give the drug by name"),
        (lambda m: residuum.aml_conditions(["blast-itd"], changes=["amount_NF1_total"]), "maps a parameter"),
        (lambda m: residuum.aml_conditions(["blast-itd"], {"gilteritinb": 1.0}), "Did you mean 'gilteritinib'"),
        (lambda m: residuum.aml_conditions(["blast-itd"], {"gilteritinib": -1.0}), "not negative"),
        (lambda m: residuum.add_drugs("no_such.tsv"), r"no_such\.tsv: cannot be read"),
        (lambda m: residuum.aml_conditions(["blast-itd"], {"gilteritinib": float("nan")}), "not negative"),
        (lambda m: residuum.dose_matrix(m, {"gilteritinib": [-1]}, ["blast-itd"], ["pERK"], [1.0]), "gilteritinib"),
        (
            lambda m: residuum.aml_conditions(
                ["blast-itd"],
                dict.fromkeys(["gilteritinib", "quizartinib", "midostaurin", "trametinib", "U0126"], 1.0),
            ),
            "holds 4 at a time",
        ),
    ],
)
def test_wrong_names_and_doses_are_refused_in_words(call, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(residuum.InputError, match=says):
        call(residuum.aml_model())


def test_names_of_the_shipped_model_mean_nothing_to_another() -> None:
    with pytest.raises(residuum.InputError, match="belong to the shipped model"):
        residuum.dose_matrix(decay(), {"gilteritinib": [0, 1]}, ["blast-itd"], ["A"], [1.0])


def test_a_matrix_of_an_ensemble_is_what_its_members_predict() -> None:
    few, drugs = residuum.aml_ensemble().first(3), {"gilteritinib": 100.0}
    contexts, times, readouts = ["blast-itd", "blast-wt+erk-stroma"], [7200.0], ["pERK"]
    m = residuum.dose_matrix(
        residuum.aml_model(), {drug: [0.0, dose] for drug, dose in drugs.items()}, contexts, readouts, times,
        ensemble=few,
    )  # fmt: skip
    predicted = residuum.aml_predictions(few, contexts, drugs, times, readouts)
    np.testing.assert_allclose(m.dataset.value.sel(drugs).values, predicted["value"].values, rtol=1e-12)
    np.testing.assert_allclose(m.dataset.weight, few.weights, rtol=1e-12)
    assert m.members == few.members()


def test_a_matrix_of_an_own_model_takes_what_an_ensemble_makes_of_it() -> None:
    problem, theta = recovery_problem("switch")
    ensemble = residuum.Ensemble.from_points(problem, [theta, theta + 0.1])
    m = residuum.dose_matrix(
        problem.compiled, {"dose": [0.0, 5.0]}, {"own": {}, "weak": {"kr": 1.0}}, ["pX"], [20.0], ensemble=ensemble
    )
    own = Conditions.from_rows(problem.compiled, {"c": {"dose": 5.0}}, [Segment(-math.inf, 0.0, {"dose": 0.0})])
    predicted = ensemble.predict(problem.compiled, own, [20.0], ["pX"])["value"]
    np.testing.assert_allclose(m.dataset.value.sel(dose=5.0, context="own").squeeze(), predicted.squeeze(), rtol=1e-12)


def test_every_treated_row_is_left_out_with_its_inhibitor_and_with_its_line() -> None:
    table = residuum.aml_problem().tables.measurements.frame
    fitted = set(table.loc[table["role"] == "fit", "experimentId"])
    groups = {group.name: set(group.experiments) for group in residuum.aml_left_out()}
    lines = {"line JMD", "line TKD", "line MV4-11", "line MOLM-13", "FLT3 wild type with FL"}
    combination = {"midostaurin + U0126"}
    assert groups["midostaurin + U0126"] == set(table["experimentId"]) - fitted
    treated = {name for name in fitted if not name.endswith(("_untreated", "_igf1"))} | {
        name for name in fitted if name.count("_") == 2 and name.endswith("_igf1")
    }
    by_inhibitor = [groups[name] for name in groups.keys() - lines - combination]
    assert sorted(name for part in by_inhibitor for name in part) == sorted(treated)
    # cells with SCF see one inhibitor only: without crenolanib is without that line
    assert treated - set().union(*(groups[name] for name in lines)) == groups["crenolanib"]


def test_null_models_take_rows_that_are_there_and_not_their_own() -> None:
    there = set(residuum.aml_problem().tables.measurements.frame["experimentId"])
    for group in residuum.aml_left_out():
        for name, taken in group.nulls.items():
            for experiment in set(taken) & set(group.experiments):
                assert set(taken[experiment]) <= there - set(group.experiments), (group.name, name)


def test_a_dose_is_searched_with_what_patients_reach_and_the_normal_cell_beside() -> None:
    model, contexts, times = residuum.aml_model(), ["blast-itd", "blast-itd+erk-stroma"], [7200.0]
    found = residuum.find_dose(model, "trametinib", ("pERK", 0.25), contexts=contexts, times=times)
    assert list(found.table["normal"]) == ["cd34", "cd34+erk-stroma"] and (found.table["dose"] > 0).all()
    assert all(found.table["reach"] == np.where(found.table["dose"] <= 0.9386, "reachable", "not reachable"))
    normal = residuum.dose_matrix(model, {"trametinib": [found.table["dose"][0]]}, ["cd34"], ["pERK"], times)
    assert found.table["normal_left"][0] == pytest.approx(normal.residual().item(), rel=1e-9)
    unknown = residuum.find_dose(model, "quizartinib", ("pFLT3", 0.1), contexts=contexts[:1], times=times, normal=None)
    assert unknown.table["reach"][0] == "exposure unknown" and "normal" not in unknown.table
    assert unknown.highest == 10_000.0


def test_a_search_begins_at_a_matrix_of_the_shipped_model_only() -> None:
    own = residuum.dose_matrix(decay(), {"k": [0.0, 1.0]}, {"c": {}}, ["A"], [1.0], protocol=[Segment(0.0, 9.0)])
    with pytest.raises(residuum.InputError, match="give the compiled model, contexts and times"):
        residuum.find_dose(own, "k", ("A", 0.5))
    with pytest.raises(residuum.InputError, match="give contexts and times"):
        residuum.find_dose(decay(), "k", ("A", 0.5))
    found = residuum.find_dose(
        decay(), "k", ("A", 0.5), contexts={"c": {}}, times=[1.0], highest=10.0, protocol=[Segment(0.0, 9.0)]
    )
    assert found.table["dose"][0] == pytest.approx(math.log(2), rel=0.011)  # exp(-k) = 1 / 2


@pytest.mark.slow
def test_the_cheapest_doses_cost_no_more_than_one_drug_alone() -> None:
    until, contexts, times = ("pERK", 0.25), ["blast-itd"], [7200.0]
    table = residuum.cheapest_doses(("gilteritinib", "trametinib"), until, contexts=contexts, times=times)
    alone = [
        residuum.find_dose(residuum.aml_model(), drug, until, contexts=contexts, times=times).table.iloc[0]
        for drug in ("gilteritinib", "trametinib")
    ]
    assert 0 < table["cost"][0] <= min(row["dose"] / row["clinical_free"] for row in alone) * 1.01
    with pytest.raises(residuum.InputError, match="quizartinib in patients is unknown: give cost"):
        residuum.cheapest_doses(("quizartinib", "trametinib"), until, contexts=contexts, times=times)
