"""Laws of the tables: every number is used, has a unit, and a source or a reason."""

from __future__ import annotations

import re

import pytest

from residuum.models import alleles, contexts, drugs, observables, parameters, tables

TABLES = {
    module.FILE: tables.read(module.FILE, module.COLUMNS)
    for module in (parameters, alleles, contexts, drugs, observables)
}
WITHOUT_CITATION = {"assumed", "unchecked"}
CITATION_KEY = re.compile(r"\b[a-z]{3,}(?:19|20)\d\d\b")


@pytest.fixture(scope="module")
def citation_keys() -> set[str]:
    text = (tables.DATA / "references.bib").read_text(encoding="utf-8")
    return set(re.findall(r"@\w+\{(\w+),", text))


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_a_source_or_a_reason(table: str, citation_keys: set[str]) -> None:
    for row in TABLES[table]:
        source = row["source"]
        if source in WITHOUT_CITATION:
            assert row["note"], f"{row}: {source} without a reason"
        elif source == parameters.SET_BY_CONTEXT:
            assert row["value"] == parameters.SET_BY_CONTEXT, row
        else:
            assert source in citation_keys, row


@pytest.mark.parametrize("table", [name for name in TABLES if "unit" in TABLES[name][0]])
def test_every_number_has_a_unit(table: str) -> None:
    assert all(row["unit"] for row in TABLES[table])


@pytest.mark.parametrize("table", TABLES)
def test_notes_cite_only_what_the_references_hold(table: str, citation_keys: set[str]) -> None:
    cited = {key for row in TABLES[table] for key in CITATION_KEY.findall(row["note"])}
    assert cited <= citation_keys


def test_every_parameter_of_the_model_is_a_row_and_every_row_is_used() -> None:
    from residuum.models import build

    model = build()
    assert {p.name: p.value for p in model.parameters} == parameters.nominal()


def test_rates_are_per_second_and_nanomolar() -> None:
    assert {row.unit for row in parameters.table()} == {"nM", "1/s", "1/(nM s)", "nM/s", "1"}


def test_only_what_is_positive_has_a_prior() -> None:
    assert all(row.value > 0 or row.set_by_context for row in parameters.table() if row.prior_log10_sd > 0)


def test_every_readout_is_an_observable(reactions) -> None:  # type: ignore[no-untyped-def]
    assert observables.READOUTS.keys() <= reactions.network.observables.keys()
    assert {"pFLT3", "pERK", "pMEK", "pSTAT5", "pSOS"} <= observables.READOUTS.keys()
