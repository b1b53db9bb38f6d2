"""Laws of the contexts: each is complete, and its name says whether the cell is on stroma."""

from __future__ import annotations

import itertools

import pytest

from residuum.models import contexts, parameters

OFF_STROMA = {name: name.replace("+stroma", "") for name in contexts.names() if "stroma" in name}


@pytest.mark.parametrize("context", contexts.names())
def test_every_context_sets_the_same_parameters(context: str) -> None:
    assert contexts.overrides(context).keys() == {row.name for row in parameters.table() if row.set_by_context}


def test_the_nominal_values_are_those_of_the_reference_context() -> None:
    reference = contexts.overrides(parameters.REFERENCE_CONTEXT)
    assert reference == {name: parameters.nominal()[name] for name in reference}


def test_no_two_contexts_are_the_same() -> None:
    for first, second in itertools.combinations(contexts.names(), 2):
        assert contexts.overrides(first) != contexts.overrides(second), (first, second)


@pytest.mark.parametrize("context", contexts.names())
def test_a_context_is_named_stroma_exactly_when_it_has_stromal_ligand(context: str) -> None:
    values = contexts.overrides(context)
    assert ("stroma" in context) == (values["ligand_FGF2_dose"] + values["ligand_GMCSF_dose"] > 0)


@pytest.mark.parametrize("context", OFF_STROMA)
def test_stroma_adds_ligands_and_changes_nothing_else(context: str) -> None:
    on, off = contexts.overrides(context), contexts.overrides(OFF_STROMA[context])
    changed = {name for name in on if on[name] != off[name]}
    assert changed == {"ligand_FL_dose", "ligand_FGF2_dose"}
    assert all(on[name] > off[name] for name in changed)


@pytest.mark.parametrize("context", ["baf3-itd-jmd", "baf3-itd-tkd"])
def test_the_mouse_lines_hold_the_human_itd_alone(context: str) -> None:
    values = contexts.overrides(context)
    assert values["amount_FLT3A_total"] > 0 == values["amount_FLT3B_total"]
    assert values["ligand_FL_dose"] == 0
