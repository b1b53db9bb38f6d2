"""A wrong name is told what was given, what is nearest, and what there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from residuum.models import UnknownNameError, alleles, contexts, drugs, parameters

MISTAKES: dict[str, tuple[Callable[[], object], str, str]] = {
    "drug": (lambda: drugs.slot_overrides(1, "gilterinitib", "flt3-itd"), "gilterinitib", "gilteritinib"),
    "drug, other case": (lambda: drugs.slot_overrides(1, "Trametinib", "flt3-itd"), "Trametinib", "trametinib"),
    "drug context": (lambda: drugs.slot_overrides(1, "trametinib", "flt3itd"), "flt3itd", "flt3-itd"),
    "slot under": (lambda: drugs.slot_overrides(0, "trametinib", "flt3-itd"), "0", "1, 2, 3, 4"),
    "slot over": (lambda: drugs.dose_parameter(5), "5", "1, 2, 3, 4"),
    "context": (lambda: contexts.overrides("flt3-itd-stroma"), "flt3-itd-stroma", "flt3-itd+stroma"),
    "allele slot": (lambda: contexts.allele_of("flt3-itd", "C"), "C", "A, B"),
    "allele": (lambda: alleles.overrides("D835", "A"), "D835", "d835y"),
    "parameter": (lambda: parameters.row("bind_FL_FLT3_Kd"), "bind_FL_FLT3_Kd", "bind_FL_FLT3_kd"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_unknown_name_is_answered_with_the_nearest(mistake: str) -> None:
    call, given, nearest = MISTAKES[mistake]
    with pytest.raises(UnknownNameError) as raised:
        call()
    assert f"{given!r}" in str(raised.value)
    assert nearest in str(raised.value)


def test_an_unknown_name_is_answered_with_all_names() -> None:
    with pytest.raises(UnknownNameError) as raised:
        contexts.overrides("nothing like it")
    assert all(name in str(raised.value) for name in contexts.names())
