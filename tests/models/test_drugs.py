"""Laws of the drugs: a row per target, no dose equals no drug, and a drug may be split over slots."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from residuum.models import UnknownNameError, alleles, contexts, drugs, observables, parameters, tables

if TYPE_CHECKING:
    from .conftest import Reactions

WANTED = """quizartinib gilteritinib midostaurin sorafenib crenolanib lestaurtinib trametinib selumetinib cobimetinib
    binimetinib ruxolitinib PD173074 wortmannin rapamycin""".split()
QUANTITIES = {
    "class": "name",
    "molecular_weight": "g/mol",
    "free_fraction": "1",
    "clinical_total": "nM",
    "clinical_trough": "nM",
    "half_life": "s",
    "CYP3A4_clearance": "1/(nM s)",
}
FLT3_POCKETS = [f"FLT3{allele}_{kind}" for allele in parameters.ALLELE_SLOTS for kind in drugs.FLT3_POCKETS.values()]
ROUNDING = 1e-12  # sums of some hundred terms in double precision
TRACE = 1e-8  # the guard of 1e-9 nM that keeps the formula finite, in doses of some nM


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


def apparent_kd(drug: str, allele: str) -> float:
    """Return the dissociation constant (nM) of a drug from all kinase of an allele, active or not."""
    cell = next(cell for cell in contexts.cells() if contexts.allele_of(cell, "A") == allele)
    values = drugs.slot_overrides(1, drug, cell)
    keq = contexts.overrides(cell)["change_FLT3A_keq"]
    affinity = 0.0
    if values["drug1_FLT3A_typeI_kon"] > 0:
        affinity += 1 / values["drug1_FLT3A_typeI_kd"]
    if values["drug1_FLT3A_typeII_kon"] > 0:
        affinity += 1 / (values["drug1_FLT3A_typeII_kd"] * (1 + keq))
    return 1 / affinity


# The table.


def test_the_drugs_that_the_literature_compares_are_there() -> None:
    assert set(WANTED) <= set(drugs.names())


def test_a_drug_says_one_thing_about_a_target_and_binds_at_least_one() -> None:
    pairs = [(row.drug, row.target) for row in drugs.table()]
    assert len(set(pairs)) == len(pairs)
    assert {row.target for row in drugs.table()} <= set(drugs.TARGETS)
    assert {row.drug for row in drugs.table() if row.kd is not None} == set(drugs.names())


def test_a_row_that_binds_has_numbers_and_flt3_rows_a_pocket() -> None:
    for row in drugs.table():
        if row.kd is not None:
            assert row.kd > 0 and row.kon is not None and row.kon > 0 and row.known and row.prior_log10_sd > 0
            assert row.target not in drugs.FLT3_TARGETS or row.binding in drugs.FLT3_POCKETS


def test_the_shipped_table_leaves_no_number_of_a_row_that_binds_to_a_default() -> None:
    for cells in tables.read(drugs.FILE, drugs.COLUMNS):
        if cells["kd_nM"] not in (drugs.DOES_NOT_BIND, drugs.UNKNOWN):
            of_mek = ("pMEK_kd_factor", "residual_phosphorylation") if cells["target"] == "MEK" else ()
            assert all(cells[column] for column in ("binding", "kon_per_nM_s", "cell_shift", *of_mek)), cells
            assert float(cells["cell_shift"]) == 1 or "shift" in cells["note"], cells


def test_what_is_not_known_is_listed() -> None:
    unknown = drugs.unknown_pairs()
    assert all(row.kd is None for row in drugs.table() if (row.drug, row.target) in unknown)
    said = {(row.drug, row.target) for row in drugs.table() if row.known}
    assert not said & set(unknown)
    assert ("gilteritinib", "FGFR1") in unknown  # a row that says so
    assert ("trametinib", "KIT") in unknown  # no row at all
    assert ("quizartinib", "FGFR1") not in unknown  # known not to bind
    assert drugs.unknown_pairs("quizartinib") == tuple(pair for pair in unknown if pair[0] == "quizartinib")


def test_an_allele_without_a_row_of_its_own_is_not_unknown() -> None:
    assert not [pair for pair in drugs.unknown_pairs() if pair == ("midostaurin", "FLT3") or pair[1] == "FLT3-ITD"]


def test_off_targets_are_what_a_drug_binds_besides_its_main_target() -> None:
    of = {drug: [row.target for row in drugs.off_targets(drug)] for drug in drugs.names()}
    assert of["midostaurin"][0] == "FGFR1"
    assert {"MEK", "JAK2"} <= set(of["lestaurtinib"])
    assert "FGFR1" not in of["quizartinib"]
    assert of["selumetinib"] == []
    for drug in drugs.names():
        kds = [row.kd for row in drugs.off_targets(drug)]
        assert kds == sorted(kds)  # type: ignore[type-var]
    assert not any("FLT3" in target for target in of["gilteritinib"])


@pytest.mark.parametrize("drug", [drug for drug in drugs.names() if drugs.exposure(drug).drug_class == "MEK inhibitor"])
def test_an_allosteric_inhibitor_holds_mek_at_least_as_well_as_pmek(drug: str) -> None:
    (row,) = (row for row in drugs.table() if (row.drug, row.target) == (drug, "MEK"))
    assert row.pMEK_kd_factor >= 1
    assert row.residual_phosphorylation < 0.2


# What a drug sets.


@pytest.mark.parametrize("drug", drugs.names())
@pytest.mark.parametrize("cell", contexts.cells())
def test_a_drug_sets_all_of_its_slot_and_nothing_else(drug: str, cell: str) -> None:
    dose = drugs.dose_parameter(3)
    of_slot = {name for name in parameters.nominal() if name.startswith("drug3_") and name != dose}
    assert drugs.slot_overrides(3, drug, cell).keys() == of_slot


def test_every_pocket_is_filled_from_the_row_of_its_target() -> None:
    for row in drugs.table():
        if row.target in drugs.POCKET_TARGETS:
            values = drugs.slot_overrides(2, row.drug, "blast-itd")
            given = values[f"drug2_{row.target}_kon"], values[f"drug2_{row.target}_kd"]
            assert given == ((0.0, 1.0) if row.kd is None else (row.kon, row.kd)), row


def test_the_allele_decides_which_affinity_holds() -> None:
    itd = drugs.slot_overrides(1, "gilteritinib", "blast-itd")
    assert itd["drug1_FLT3A_typeI_kd"] < itd["drug1_FLT3B_typeI_kd"]
    wild_type = drugs.slot_overrides(1, "gilteritinib", "blast-wt")
    assert wild_type["drug1_FLT3A_typeI_kd"] == wild_type["drug1_FLT3B_typeI_kd"] == itd["drug1_FLT3B_typeI_kd"]


@pytest.mark.parametrize("drug", [row.drug for row in drugs.table() if row.target == "FLT3" and row.kd is not None])
def test_a_drug_enters_the_pocket_of_its_type_only(drug: str) -> None:
    (own,) = {drugs.FLT3_POCKETS[row.binding] for row in drugs.table() if (row.drug, row.target) == (drug, "FLT3")}
    values = drugs.slot_overrides(1, drug, "blast-itd")
    for pocket in FLT3_POCKETS:
        assert (values[f"drug1_{pocket}_kon"] > 0) == pocket.endswith(f"_{own}")


@pytest.mark.parametrize("drug", ["quizartinib", "sorafenib", "ponatinib", "linifanib"])
def test_an_open_activation_loop_costs_type_two_drugs_affinity(drug: str) -> None:
    assert apparent_kd(drug, "d835y") > 5 * apparent_kd(drug, "itd")


@pytest.mark.parametrize("drug", ["gilteritinib", "midostaurin", "crenolanib", "lestaurtinib"])
def test_an_open_activation_loop_costs_type_one_drugs_nothing(drug: str) -> None:
    assert apparent_kd(drug, "d835y") <= 2 * apparent_kd(drug, "itd")


@pytest.mark.parametrize("drug", ["quizartinib", "gilteritinib"])
def test_the_gatekeeper_mutation_costs_affinity(drug: str) -> None:
    assert apparent_kd(drug, "itd-f691l") > 3 * apparent_kd(drug, "itd")


def test_a_row_of_the_gatekeeper_mutant_holds_as_it_is() -> None:
    assert apparent_kd("crenolanib", "itd-f691l") == apparent_kd("crenolanib", "itd")


# In the network.


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
    in_cell = np.array([not species.startswith("DRUG") for species in reactions.species])
    assert np.abs(one - two)[in_cell].max() <= ROUNDING * np.abs(one).max()
    slots = np.array([reactions.species.index(f"DRUG{slot}()") for slot in (1, 2, 4)])
    assert math.isclose(one[slots].sum(), two[slots].sum(), rel_tol=ROUNDING, abs_tol=ROUNDING)


@pytest.mark.parametrize("pocket", [*FLT3_POCKETS, *drugs.POCKET_TARGETS])
def test_at_equilibrium_drugs_share_a_pocket_as_their_concentrations_over_kd(pocket: str, reactions: Reactions) -> None:
    doses, kons, kds = {1: 2.0, 2: 50.0}, {1: 1e-3, 2: 1e-4}, {1: 0.6, 2: 11.0}
    values = {f"drug{slot}_dose": dose for slot, dose in doses.items()}
    for slot in doses:
        values |= {f"drug{slot}_{pocket}_kon": kons[slot], f"drug{slot}_{pocket}_kd": kds[slot]}
    amounts = with_doses(reactions, random_amounts(reactions, bound=True), values)
    on = sum(kons[slot] * doses[slot] for slot in doses)
    bound_over_free = on / reactions.functions(amounts, values)[f"unbind_{pocket}_rate"]
    assert math.isclose(bound_over_free, sum(doses[slot] / kds[slot] for slot in doses), rel_tol=TRACE)


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


# Exposure.


def test_every_drug_has_every_exposure_quantity_once_in_its_unit() -> None:
    rows = tables.read(drugs.EXPOSURE_FILE, drugs.EXPOSURE_COLUMNS)
    assert [(row["drug"], row["quantity"]) for row in rows] == [(d, q) for d in drugs.names() for q in QUANTITIES]
    assert all(row["unit"] == QUANTITIES[row["quantity"]] for row in rows)


def test_every_exposure_has_a_source_or_a_reason() -> None:
    keys = set(re.findall(r"@\w+\{(\w+),", (tables.DATA / "references.bib").read_text(encoding="utf-8")))
    for row in tables.read(drugs.EXPOSURE_FILE, drugs.EXPOSURE_COLUMNS):
        assert row["source"] in keys or (row["source"] in ("assumed", "unchecked") and row["note"]), row
        cited = set(re.findall(r"\b[a-z]{3,}(?:19|20)\d\d\b|\blabel_\w+", row["note"]))
        assert cited <= keys, row


@pytest.mark.parametrize("drug", drugs.names())
def test_exposure_is_possible_or_unknown(drug: str) -> None:
    known = drugs.exposure(drug)
    assert known.drug_class and known.molecular_weight and 200 < known.molecular_weight < 1000
    assert known.free_fraction is None or 0 < known.free_fraction <= 1
    assert known.half_life is None or known.half_life > 3600
    if known.clinical_trough is not None:
        assert known.clinical_total is not None and 0 < known.clinical_trough < known.clinical_total
    assert (drugs.clinical_free(drug) is None) == (None in (known.free_fraction, known.clinical_total))


def test_free_is_a_fraction_of_total() -> None:
    assert drugs.free_concentration("trametinib", 100.0) == pytest.approx(2.6)
    # 22.2 ng/ml of 615.4 g/mol, of which 2.6 % are free
    assert drugs.clinical_free("trametinib") == pytest.approx(0.94, rel=0.01)


def test_plasma_shifts_gilteritinib_as_measured() -> None:
    fraction = drugs.exposure("gilteritinib").free_fraction
    assert fraction is not None
    middle_of_medium = math.sqrt(0.7 * 1.8)
    assert 17 <= middle_of_medium / fraction <= 33


def test_without_a_free_fraction_there_is_no_free_concentration() -> None:
    with pytest.raises(drugs.DrugError, match="free fraction of quizartinib is unknown; give its free concentration"):
        drugs.free_concentration("quizartinib", 100.0)


def test_only_what_is_known_to_be_cleared_by_cyp3a4_is_cleared() -> None:
    for drug in drugs.names():
        given = drugs.slot_overrides(4, drug, "blast-itd")["drug4_CYP3A4_clearance"]
        assert given == (drugs.exposure(drug).CYP3A4_clearance or 0.0)
    cleared = {drug for drug in drugs.names() if drugs.exposure(drug).CYP3A4_clearance}
    assert {"sorafenib", "quizartinib", "gilteritinib", "midostaurin"} == cleared


# A user's own drugs.

GOOD = "drug\ttarget\tbinding\tkd_nM\nmine\tFLT3\ttype II\t2\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Return where to write a table; what it adds is forgotten afterwards."""
    shipped = set(drugs.names())
    yield tmp_path / "own.tsv"
    for drug in set(drugs.names()) - shipped:
        drugs.remove(drug)


def test_a_drug_of_ones_own_is_one_row(own: Path) -> None:
    own.write_text(GOOD)
    assert drugs.add(own) == ("mine",)
    (row,) = (row for row in drugs.table() if row.drug == "mine")
    assert (row.kd, row.kon, row.prior_log10_sd, row.source) == (2.0, 1e-3, 0.9, "unchecked")
    values = drugs.slot_overrides(1, "mine", "blast-wt")
    assert (values["drug1_FLT3A_typeII_kd"], values["drug1_FLT3A_typeI_kon"]) == (2.0, 0.0)
    assert drugs.exposure("mine") == drugs.Exposure("mine")
    assert drugs.clinical_free("mine") is None
    assert len(drugs.unknown_pairs("mine")) == len(drugs.POCKET_TARGETS)
    drugs.remove("mine")
    assert "mine" not in drugs.names()
    with pytest.raises(UnknownNameError):
        drugs.slot_overrides(1, "mine", "blast-wt")


def test_rows_of_a_shipped_drug_under_another_name_are_the_same_drug(own: Path) -> None:
    header, *lines = (tables.DATA / drugs.FILE).read_text(encoding="utf-8").splitlines()
    copies = [line.replace("lestaurtinib\t", "copy\t", 1) for line in lines if line.startswith("lestaurtinib\t")]
    own.write_text(
        "\ufeff" + "\n\n".join([header, *copies]) + "\n", encoding="utf-8"
    )  # blank lines and a mark do no harm
    assert drugs.add(str(own)) == ("copy",)
    for cell in contexts.cells():
        assert drugs.slot_overrides(1, "copy", cell) == drugs.slot_overrides(1, "lestaurtinib", cell)


def test_a_mek_inhibitor_without_factors_has_no_preference_and_blocks_raf(own: Path) -> None:
    own.write_text("drug\ttarget\tkd_nM\nmeki\tMEK\t3\n")
    drugs.add(own)
    values = drugs.slot_overrides(1, "meki", "blast-itd")
    assert (values["drug1_MEK_pMEK_factor"], values["drug1_MEK_residual"]) == (1.0, 0.0)


def test_unknown_and_not_binding_can_be_said(own: Path) -> None:
    own.write_text(
        "drug\ttarget\tbinding\tkd_nM\tnote\na\tKIT\t\t>10000\t\na\tAXL\t\tunknown\tnot tested\na\tFLT3\ttype I\t5\t\n"
    )
    drugs.add(own)
    unknown = drugs.unknown_pairs("a")
    assert ("a", "AXL") in unknown and ("a", "KIT") not in unknown
    assert drugs.off_targets("a") == ()


def test_an_allele_takes_the_first_row_that_is_known(own: Path) -> None:
    own.write_text(GOOD + "mine\tFLT3-ITD\ttype II\tunknown\nitd-only\tFLT3-ITD\ttype I\t7\n")
    drugs.add(own)
    assert drugs.slot_overrides(1, "mine", "blast-itd")["drug1_FLT3A_typeII_kd"] == 2.0
    values = drugs.slot_overrides(1, "itd-only", "blast-itd")
    assert values["drug1_FLT3A_typeI_kd"] == 7.0
    assert values["drug1_FLT3B_typeI_kon"] == 0.0  # the wild type beside it
    assert ("itd-only", "FLT3") not in drugs.unknown_pairs()


ROW = (
    "drug\ttarget\tbinding\tkd_nM\tkon_per_nM_s\tcell_shift\tpMEK_kd_factor\tresidual_phosphorylation\tprior_log10_sd\n"
)
BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "empty": ("", ("line 1", "drug, target, kd_nM", "tabs")),
    "no rows": ("drug\ttarget\tkd_nM\n", ("no row",)),
    "commas": ("drug,target,kd_nM\na,KIT,3\n", ("line 1", "tabs")),
    "no kd column": ("drug\ttarget\na\tKIT\n", ("line 1", "kd_nM")),
    "unknown column": ("drug\ttarget\tkd_nM\tkon\na\tKIT\t3\t1\n", ("line 1", "'kon'", "kon_per_nM_s")),
    "a column twice": ("drug\ttarget\tkd_nM\tkd_nM\na\tKIT\t3\t1\n", ("line 1", "twice")),
    "a cell missing": (GOOD + "b\tKIT\t3\n", ("line 3", "3 cells, expected 4")),
    "no name": (GOOD + "\tKIT\t\t3\n", ("line 3", "column drug", "''")),
    "a name with a blank": (GOOD + "my drug\tKIT\t\t3\n", ("line 3", "column drug", "'my drug'")),
    "a shipped name": (GOOD + "quizartinib\tKIT\t\t3\n", ("line 3", "column drug", "exists already", "another name")),
    "a shipped name, other case": (GOOD + "Quizartinib\tKIT\t\t3\n", ("column drug", "quizartinib exists already")),
    "an unknown target": (
        GOOD + "mine\tFLT-3\ttype I\t3\n",
        ("line 3", "column target", "'FLT-3'", "Did you mean 'FLT3'"),
    ),
    "a pair twice": (GOOD + "mine\tFLT3\ttype I\t3\n", ("line 3", "column target", "twice")),
    "no binding to FLT3": (GOOD + "mine\tFLT3-ITD\t\t3\n", ("line 3", "column binding", "type I", "type II")),
    "another binding to FLT3": (GOOD + "mine\tFLT3-ITD\ttype-II\t3\n", ("column binding", "Did you mean 'type II'")),
    "no kd": (GOOD + "mine\tKIT\t\t\n", ("line 3", "column kd_nM", "''", ">10000", "unknown")),
    "words for kd": (GOOD + "mine\tKIT\t\t3 nM\n", ("line 3", "column kd_nM", "'3 nM'")),
    "kd of zero": (GOOD + "mine\tKIT\t\t0\n", ("column kd_nM", "'0'")),
    "negative kd": (GOOD + "mine\tKIT\t\t-1\n", ("column kd_nM", "'-1'")),
    "infinite kd": (GOOD + "mine\tKIT\t\tinf\n", ("column kd_nM", "'inf'")),
    "kd not a number": (GOOD + "mine\tKIT\t\tnan\n", ("column kd_nM", "'nan'")),
    "kon of zero": (ROW + "a\tKIT\t\t3\t0\t\t\t\t\n", ("line 2", "column kon_per_nM_s", "'0'")),
    "shift of zero": (ROW + "a\tKIT\t\t3\t\t0\t\t\t\n", ("column cell_shift", "'0'")),
    "factor in words": (ROW + "a\tMEK\t\t3\t\t\tmuch\t\t\n", ("column pMEK_kd_factor", "'much'")),
    "residual over one": (ROW + "a\tMEK\t\t3\t\t\t\t1.1\t\n", ("column residual_phosphorylation", "from 0 to 1")),
    "residual under zero": (ROW + "a\tMEK\t\t3\t\t\t\t-0.1\t\n", ("column residual_phosphorylation", "from 0 to 1")),
    "negative spread": (ROW + "a\tKIT\t\t3\t\t\t\t\t-1\n", ("column prior_log10_sd", "'-1'")),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_bad_table_says_where_and_what_and_adds_nothing(mistake: str, own: Path) -> None:
    text, said = BAD[mistake]
    own.write_text(text)
    before = drugs.names()
    with pytest.raises(drugs.DrugError) as raised:
        drugs.add(own)
    message = str(raised.value)
    assert "own.tsv" in message and "\n" not in message
    assert all(part in message for part in said), message
    assert drugs.names() == before


def test_a_file_that_cannot_be_read_is_named(own: Path) -> None:
    with pytest.raises(drugs.DrugError, match=r"own\.tsv: cannot be read"):
        drugs.add(own)
    own.write_bytes(b"drug\ttarget\tkd_nM\n\xff\tKIT\t3\n")
    with pytest.raises(drugs.DrugError, match="not UTF-8"):
        drugs.add(own)


def test_a_name_can_be_added_once(own: Path) -> None:
    own.write_text(GOOD)
    drugs.add(own)
    with pytest.raises(drugs.DrugError, match="mine exists already"):
        drugs.add(own)


def test_shipped_drugs_stay() -> None:
    with pytest.raises(UnknownNameError):
        drugs.remove("quizartinib")


def test_every_allele_finds_its_rows_among_the_targets() -> None:
    assert {target for allele in alleles.names() for target in alleles.drug_targets(allele)} <= set(drugs.FLT3_TARGETS)


@pytest.mark.parametrize("context", ["blast-itd", "blast-d835y", "molm-13", "baf3-itd-tkd"])
@pytest.mark.parametrize("drug", ["midostaurin", "quizartinib", "trametinib"])
def test_every_dissociation_constant_of_a_slot_has_the_row_it_is_from(drug: str, context: str) -> None:
    values, of = drugs.slot_overrides(3, drug, context), drugs.kd_parameters(3, drug, context)
    filled = {name for name in values if name.endswith("_kd") and values[name.removesuffix("kd") + "kon"] > 0}
    assert set(of) == filled
    rows = {row.target: row.kd for row in drugs.table() if row.drug == drug}
    assert all(values[name] == pytest.approx(rows[target]) for name, target in of.items())


def test_drugs_act_in_one_line_where_they_block_different_steps() -> None:
    assert drugs.in_one_line(["gilteritinib", "trametinib"]) == ("pERK", "pCEBPA", "DUSP6", "SPRY")
    assert drugs.in_one_line(["gilteritinib", "quizartinib"]) == drugs.in_one_line(["trametinib", "ruxolitinib"]) == ()
    assert set(drugs.LINES) <= set(observables.READOUTS)
    classes = {drugs.exposure(name).drug_class for name in drugs.names()}
    assert {each for steps in drugs.LINES.values() for step in steps for each in step} <= classes
