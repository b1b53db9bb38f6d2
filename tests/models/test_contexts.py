"""Laws of the contexts: each is complete, a cell is what its name says, and a stroma adds what it says and no more."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from residuum.models import UnknownNameError, alleles, contexts, parameters, tables

CELLS = {cell: contexts.overrides(cell) for cell in contexts.cells()}
STROMA = {
    stroma: {row["quantity"]: float(row["value"]) for row in rows}
    for stroma, rows in itertools.groupby(
        tables.read("stroma.tsv", ("stroma", *tables.QUANTITY_COLUMNS)), key=lambda row: row["stroma"]
    )
}
NICHE = {name for name in CELLS["blast-itd"] if name.startswith("ligand_")} | {
    "drive_SRC_stroma",
    "amount_CYP3A4_total",
}
"""What comes from outside the cell."""
STAT5_TYPE = {"ligand_GMCSF_dose", "ligand_IL3_dose", "ligand_IL6_dose"}
SISTER_LINES = {"molm-13", "molm-14"}


def changed(context: str, other: str) -> set[str]:
    """Return the parameters by which two contexts differ."""
    one, two = contexts.overrides(context), contexts.overrides(other)
    return {name for name in one if one[name] != two[name]}


def test_a_context_is_a_cell_alone_or_on_any_stroma() -> None:
    assert set(contexts.names()) == {
        *contexts.cells(),
        *(f"{cell}+{stroma}" for cell in contexts.cells() for stroma in contexts.stromas()),
    }
    assert len(set(contexts.names())) == len(contexts.names()) == len(CELLS) * (1 + len(STROMA))


@pytest.mark.parametrize("context", contexts.names())
def test_every_context_sets_what_the_parameters_leave_to_it(context: str) -> None:
    assert contexts.overrides(context).keys() == {row.name for row in parameters.table() if row.set_by_context}


def test_the_nominal_values_are_those_of_the_reference_context() -> None:
    reference = contexts.overrides(parameters.REFERENCE_CONTEXT)
    assert reference == {name: parameters.nominal()[name] for name in reference}


@pytest.mark.parametrize("context", contexts.names())
def test_amounts_doses_and_weights_are_not_negative(context: str) -> None:
    assert all(value >= 0 for value in contexts.overrides(context).values())


def test_no_two_cells_are_the_same_but_lines_of_one_patient() -> None:
    alike = {
        cell: (CELLS[cell], *(contexts.allele_of(cell, allele_slot) for allele_slot in contexts.ALLELES))
        for cell in CELLS
    }
    for first, second in itertools.combinations(CELLS, 2):
        assert (alike[first] == alike[second]) == ({first, second} == SISTER_LINES), (first, second)


# ---- stroma -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("stroma", STROMA)
def test_stroma_raises_what_its_preset_lists_and_changes_nothing_else(cell: str, stroma: str) -> None:
    on = contexts.overrides(f"{cell}+{stroma}")
    assert changed(f"{cell}+{stroma}", cell) == STROMA[stroma].keys()
    assert all(on[name] == value > CELLS[cell][name] for name, value in STROMA[stroma].items())


@pytest.mark.parametrize("stroma", STROMA)
def test_stroma_acts_from_outside_the_cell_only(stroma: str) -> None:
    assert STROMA[stroma].keys() <= NICHE


@pytest.mark.parametrize("cell", CELLS)
def test_off_stroma_there_is_no_signal_of_it_but_fl_in_the_medium(cell: str) -> None:
    assert {name for name in NICHE if CELLS[cell][name]} <= {"ligand_FL_dose"}


def test_erk_type_and_stat5_type_share_no_signal() -> None:
    assert STROMA["erk-stroma"].keys() == {"ligand_FL_dose", "ligand_FGF2_dose"}
    assert STROMA["stat5-stroma"].keys() == STAT5_TYPE


def test_conditioned_medium_holds_no_cells() -> None:
    """Soluble factors and unresolved input to SRC, but nothing that clears a drug or sits on a membrane."""
    medium = STROMA["conditioned-medium"].keys()
    assert "drive_SRC_stroma" in medium
    assert not medium & {"amount_CYP3A4_total", "ligand_SCF_dose", "ligand_CXCL12_dose"}


def test_mixed_stroma_has_every_signal_of_the_niche() -> None:
    assert STROMA["mixed-stroma"].keys() == NICHE
    for preset in ("erk-stroma", "stat5-stroma"):
        assert STROMA[preset].items() <= STROMA["mixed-stroma"].items()


# ---- cells ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["mv4-11", "baf3-itd-jmd", "baf3-itd-tkd"])
def test_lines_without_a_wild_type_allele_have_the_itd_alone_and_no_fl(cell: str) -> None:
    assert CELLS[cell]["amount_FLT3A_total"] > 0 == CELLS[cell]["amount_FLT3B_total"]
    assert contexts.allele_of(cell, "A").startswith("itd")
    assert CELLS[cell]["ligand_FL_dose"] == 0


@pytest.mark.parametrize(
    ("cell", "slots"),
    [
        ("blast-itd", ("itd", "wt")),
        ("blast-wt", ("wt", "wt")),
        ("blast-d835y", ("d835y", "wt")),
        ("blast-itd-f691l", ("itd-f691l", "wt")),
        ("molm-13", ("itd", "wt")),
        ("cd34", ("wt", "wt")),
    ],
)
def test_a_cell_holds_the_alleles_of_its_name(cell: str, slots: tuple[str, str]) -> None:
    assert (contexts.allele_of(cell, "A"), contexts.allele_of(cell, "B")) == slots
    assert CELLS[cell]["amount_FLT3A_total"] == CELLS[cell]["amount_FLT3B_total"] > 0


@pytest.mark.parametrize(("mutant", "normal"), [("blast-itd-nras", "blast-itd"), ("blast-wt-nras", "blast-wt")])
def test_an_nras_mutant_has_the_ras_of_the_normal_cell_part_of_it_mutant(mutant: str, normal: str) -> None:
    assert changed(mutant, normal) == {"amount_RAS_total", "amount_RASmut_total"}
    mutated = CELLS[mutant]["amount_RASmut_total"]
    assert CELLS[mutant]["amount_RAS_total"] + mutated == CELLS[normal]["amount_RAS_total"]
    assert mutated > 0 == CELLS[normal]["amount_RASmut_total"]


def test_loss_of_nf1_changes_nf1_only() -> None:
    assert changed("blast-itd-nf1", "blast-itd") == {"amount_NF1_total"}
    assert CELLS["blast-itd-nf1"]["amount_NF1_total"] < CELLS["blast-itd"]["amount_NF1_total"] == 1


# ---- alleles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allele_slot", ["A", "B"])
def test_every_allele_sets_the_same_parameters_of_its_slot(allele_slot: str) -> None:
    of_wild_type = alleles.quantities("wt", allele_slot).keys()
    assert all(f"FLT3{allele_slot}_" in name for name in of_wild_type)
    assert all(alleles.quantities(allele, allele_slot).keys() == of_wild_type for allele in alleles.names())


def test_every_allele_has_drug_targets_that_end_with_the_receptor() -> None:
    for allele in alleles.names():
        *own, last = alleles.drug_targets(allele)
        assert last == "FLT3" and all(target.startswith("FLT3-") for target in own)


def test_only_the_gatekeeper_mutant_costs_affinity_whatever_the_conformation() -> None:
    for allele in alleles.names():
        factors = (alleles.typeI_kd_factor(allele), alleles.typeII_kd_factor(allele))
        assert all(factor > 1 for factor in factors) if "f691l" in allele else factors == (1, 1)


# ---- the reading of the tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cell", "stroma"])
def test_a_number_knows_its_unit_and_source(name: str) -> None:
    of_context = contexts.quantities("blast-itd+mixed-stroma" if name == "stroma" else "blast-itd")
    assert of_context["ligand_FL_dose"].source == "sato2011" and of_context["ligand_FL_dose"].unit == "nM"
    assert (of_context["ligand_CXCL12_dose"].prior_log10_sd > 0) == (name == "stroma")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["a\tx\t1", "a\tx\t2"], "x of a occurs twice"),
        (["a\tx\t1", "a\tbased_on\tb"], "must be the first row of a"),
        (["a\tbased_on\tb", "b\tx\t1"], "Unknown cell 'b'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(
    rows: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "\t".join(("cell", *tables.QUANTITY_COLUMNS))
    lines = [header, *(f"{row}\tnM\t0\tassumed\tbecause" for row in rows)]
    monkeypatch.setattr(tables, "DATA", tmp_path)
    (tmp_path / "wrong.tsv").write_text("\n".join(lines), encoding="utf-8")
    tables.quantities.cache_clear()
    with pytest.raises((ValueError, UnknownNameError), match=says):
        tables.quantities("wrong.tsv", "cell")
