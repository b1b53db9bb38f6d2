"""A wrong name is told what was given, what is nearest, and what there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from residuum.models import UnknownNameError, alleles, contexts, drugs, parameters

MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    "drug": (lambda: drugs.slot_overrides(1, "gilterinitib", "blast-itd"), "gilterinitib", "gilteritinib"),
    "drug, other case": (lambda: drugs.slot_overrides(1, "Trametinib", "blast-itd"), "Trametinib", "trametinib"),
    "drug context": (lambda: drugs.slot_overrides(1, "trametinib", "blastitd"), "blastitd", "blast-itd"),
    "slot under": (lambda: drugs.slot_overrides(0, "trametinib", "blast-itd"), "0", "1, 2, 3, 4"),
    "slot over": (lambda: drugs.dose_parameter(5), "5", "1, 2, 3, 4"),
    "cell": (lambda: contexts.overrides("molm13"), "molm13", "'molm-13'"),
    "cell, other case": (lambda: contexts.overrides("MV4-11"), "MV4-11", "'mv4-11'"),
    "stroma": (
        lambda: contexts.overrides("blast-itd+erkstroma"),
        "blast-itd+erkstroma",
        "'blast-itd+erk-stroma'",
    ),
    "stroma alone": (lambda: contexts.overrides("blast-itd+stroma"), "blast-itd+stroma", "'blast-itd+erk-stroma'"),
    "no stroma": (lambda: contexts.overrides("blast-itd+"), "blast-itd+", "'blast-itd'"),
    "blanks": (
        lambda: contexts.overrides("blast-itd + erk-stroma"),
        "blast-itd + erk-stroma",
        "'blast-itd+erk-stroma'",
    ),
    "cell and stroma": (
        lambda: contexts.overrides("Blast-wt+stat-stroma"),
        "Blast-wt+stat-stroma",
        "'blast-wt+stat5-stroma'",
    ),
    "two stromas": (
        lambda: contexts.overrides("cd34+erk-stroma+stat5-stroma"),
        "cd34+erk-stroma+stat5-stroma",
        "'cd34+",
    ),
    "allele slot": (lambda: contexts.allele_of("blast-itd", "C"), "C", "A, B"),
    "allele": (lambda: alleles.quantities("D835", "A"), "D835", "d835y"),
    "parameter": (lambda: parameters.row("bind_FL_FLT3_Kd"), "bind_FL_FLT3_Kd", "bind_FL_FLT3_kd"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_unknown_name_is_answered_with_the_nearest(mistake: str) -> None:
    call, given, nearest = MISTAKES[mistake]
    with pytest.raises(UnknownNameError) as raised:
        call()
    assert f"{given!r}" in str(raised.value)
    assert nearest in str(raised.value)


def test_an_unknown_context_is_answered_with_all_cells_and_stromas() -> None:
    with pytest.raises(UnknownNameError) as raised:
        contexts.overrides("nothing like it")
    assert all(name in str(raised.value) for name in (*contexts.cells(), *contexts.stromas()))
