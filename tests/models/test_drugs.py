"""Laws of the drugs: a row per target, no dose equals no drug, and a drug may be split over slots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from residuum.models import alleles, contexts, drugs, parameters

if TYPE_CHECKING:
    from .conftest import Reactions

TARGETS = {*drugs.KINASE_TARGETS, *(alleles.drug_target(allele) for allele in alleles.names())}
ROUNDING = 1e-12  # sums of some hundred terms in double precision


def random_amounts(reactions: Reactions, *, bound: bool, seed: int = 1) -> npt.NDArray[np.float64]:
    """Return some positive amounts; without drugs, and with drug-bound kinases only if asked."""
    amounts = np.random.default_rng(seed).uniform(0.1, 10.0, len(reactions.species))
    for i, species in enumerate(reactions.species):
        occupied = "drug~" in species and "drug~none" not in species
        if species.startswith("DRUG") or (occupied and not bound):
            amounts[i] = 0.0
    return amounts


def with_doses(
    reactions: Reactions, amounts: npt.NDArray[np.float64], doses: dict[str, float]
) -> npt.NDArray[np.float64]:
    """Return the amounts with the drug slots at the given doses (nM)."""
    amounts = amounts.copy()
    for slot in parameters.DRUG_SLOTS:
        amounts[reactions.species.index(f"DRUG{slot}()")] = doses.get(drugs.dose_parameter(slot), 0.0)
    return amounts


@pytest.mark.parametrize("drug", drugs.names())
def test_every_drug_says_something_about_every_target_once(drug: str) -> None:
    rows = [row for row in drugs.table() if row.drug == drug]
    assert sorted(row.target for row in rows) == sorted(TARGETS)
    assert any(row.kd is not None for row in rows)


def test_a_row_that_binds_has_numbers_and_flt3_rows_a_pocket() -> None:
    for row in drugs.table():
        if row.kd is not None:
            assert row.kd > 0 and row.kon is not None and row.kon > 0 and row.known
            assert not row.target.startswith("FLT3") or row.binding in drugs.FLT3_POCKETS


def test_what_is_not_known_is_listed() -> None:
    unknown = drugs.unknown_pairs()
    assert unknown
    assert all(row.kd is None for row in drugs.table() if (row.drug, row.target) in unknown)


@pytest.mark.parametrize("drug", drugs.names())
@pytest.mark.parametrize("context", contexts.names())
def test_a_drug_sets_all_of_its_slot_and_nothing_else(drug: str, context: str) -> None:
    dose = drugs.dose_parameter(3)
    of_slot = {name for name in parameters.nominal() if name.startswith("drug3_") and name != dose}
    assert drugs.slot_overrides(3, drug, context).keys() == of_slot


def test_the_allele_decides_which_affinity_holds() -> None:
    itd = drugs.slot_overrides(1, "gilteritinib", "blast-itd")
    assert itd["drug1_FLT3A_typeI_kd"] < itd["drug1_FLT3B_typeI_kd"]
    wild_type = drugs.slot_overrides(1, "gilteritinib", "blast-wt")
    assert wild_type["drug1_FLT3A_typeI_kd"] == wild_type["drug1_FLT3B_typeI_kd"] == itd["drug1_FLT3B_typeI_kd"]


def test_a_type_two_drug_enters_the_inactive_pocket_only() -> None:
    values = drugs.slot_overrides(1, "quizartinib", "blast-itd")
    for allele_slot in parameters.ALLELE_SLOTS:
        assert values[f"drug1_FLT3{allele_slot}_typeII_kon"] > 0 == values[f"drug1_FLT3{allele_slot}_typeI_kon"]


@pytest.mark.parametrize("drug", drugs.names())
def test_no_dose_equals_no_drug_exactly(drug: str, reactions: Reactions) -> None:
    amounts = random_amounts(reactions, bound=False)
    in_slot = drugs.slot_overrides(2, drug, "blast-itd")
    assert np.array_equal(reactions.derivative(amounts, in_slot), reactions.derivative(amounts))


@pytest.mark.parametrize("drug", drugs.names())
def test_a_drug_in_one_slot_equals_its_halves_in_two(drug: str, reactions: Reactions) -> None:
    whole = drugs.slot_overrides(1, drug, "blast-itd") | {"drug1_dose": 30.0}
    halves = {slot: drugs.slot_overrides(slot, drug, "blast-itd") | {f"drug{slot}_dose": 15.0} for slot in (2, 4)}
    amounts = random_amounts(reactions, bound=True)
    one = reactions.derivative(with_doses(reactions, amounts, whole), whole)
    two = reactions.derivative(with_doses(reactions, amounts, halves[2] | halves[4]), halves[2] | halves[4])
    assert np.abs(one - two).max() <= ROUNDING * np.abs(one).max()


def test_at_equilibrium_drugs_share_a_pocket_as_their_concentrations_over_kd(reactions: Reactions) -> None:
    values = drugs.slot_overrides(1, "gilteritinib", "blast-itd") | drugs.slot_overrides(2, "midostaurin", "blast-itd")
    values |= {"drug1_dose": 2.0, "drug2_dose": 50.0}
    amounts = with_doses(reactions, random_amounts(reactions, bound=True), values)
    on = sum(values[f"drug{slot}_FLT3A_typeI_kon"] * values[f"drug{slot}_dose"] for slot in (1, 2))
    bound_over_free = on / reactions.functions(amounts, values)["unbind_FLT3A_typeI_rate"]
    expected = sum(values[f"drug{slot}_dose"] / values[f"drug{slot}_FLT3A_typeI_kd"] for slot in (1, 2))
    # two drugs feel the trace that keeps the formula finite: 1e-9 nM in 2 nM
    assert math.isclose(bound_over_free, expected, rel_tol=1e-8)


def test_a_drug_that_was_washed_out_leaves_at_its_own_rate(reactions: Reactions) -> None:
    values = drugs.slot_overrides(1, "trametinib", "blast-itd") | drugs.slot_overrides(2, "quizartinib", "blast-itd")
    rates = reactions.functions(random_amounts(reactions, bound=True), values)
    off = values["drug1_MEK_kon"] * values["drug1_MEK_kd"]
    assert math.isclose(rates["unbind_MEK_rate"], off, rel_tol=ROUNDING)
    assert math.isclose(rates["unbind_pMEK_rate"], off * values["drug1_MEK_pMEK_factor"], rel_tol=ROUNDING)


def test_a_dose_is_the_free_concentration_at_steady_state(reactions: Reactions) -> None:
    values = {"drug1_dose": 7.0, "ligand_FL_dose": 0.3}
    amounts = reactions.initial_amounts(values)
    change = reactions.derivative(amounts, values)
    for species, dose in (("DRUG1()", 7.0), ("FL()", 0.3)):
        i = reactions.species.index(species)
        assert amounts[i] == dose
        assert abs(change[i]) <= ROUNDING * dose
