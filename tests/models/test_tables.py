"""Laws of the tables: every number is used, has a unit, a prior, and a source or a reason."""

from __future__ import annotations

import re

import pytest

from residuum.models import alleles, contexts, drugs, observables, parameters, tables, variation

THINGS = {**contexts.FILES, alleles.KIND: alleles.FILE}
TABLES = {
    module.FILE: tables.read(module.FILE, module.COLUMNS) for module in (parameters, drugs, observables, variation)
} | {file: tables.read(file, (kind, *tables.QUANTITY_COLUMNS)) for kind, file in THINGS.items()}
WITHOUT_CITATION = {"assumed", "unchecked"}
CITATION_KEY = re.compile(r"\b[a-z]{3,}(?:19|20)\d\d\b")


def is_number(text: str) -> bool:
    """Return whether a cell of a table holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


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
def test_every_row_has_a_unit(table: str) -> None:
    for row in TABLES[table]:
        assert row["unit"], row
        if row["value"] != parameters.SET_BY_CONTEXT:
            assert (row["unit"] == tables.NAME) != is_number(row["value"]), row


@pytest.mark.parametrize("table", [name for name in TABLES if "prior_log10_sd" in TABLES[name][0]])
def test_every_number_has_a_prior_and_only_what_is_positive_a_wide_one(table: str) -> None:
    for row in TABLES[table]:
        given = row.get("value", row.get("kd_nM", ""))
        if is_number(given):
            sd = float(row["prior_log10_sd"])
            assert sd >= 0 and (float(given) > 0 or sd == 0), row
        elif given != parameters.SET_BY_CONTEXT:
            assert row["prior_log10_sd"] in ("", "0"), row


@pytest.mark.parametrize("table", THINGS.values())
def test_a_positive_number_of_a_context_is_uncertain_unless_it_is_a_definition(table: str) -> None:
    for row in TABLES[table]:
        if is_number(row["value"]) and float(row["value"]) > 0:
            assert (float(row["prior_log10_sd"]) == 0) == row["note"].startswith("definition"), row


@pytest.mark.parametrize("table", TABLES)
def test_notes_cite_only_what_the_references_hold(table: str, citation_keys: set[str]) -> None:
    cited = {key for row in TABLES[table] for key in CITATION_KEY.findall(row["note"])}
    assert cited <= citation_keys


def test_no_reference_is_there_twice() -> None:
    keys = re.findall(r"@\w+\{(\w+),", (tables.DATA / "references.bib").read_text(encoding="utf-8"))
    assert len(keys) == len(set(keys))


def test_what_is_not_checked_says_so_in_the_references() -> None:
    """A reference without a doi was read in a copy or abstract at best: its note, or its pages, let one find it."""
    text = (tables.DATA / "references.bib").read_text(encoding="utf-8")
    for entry in text.split("\n@")[1:]:
        assert "doi =" in entry or "note =" in entry or "pages =" in entry, entry


def test_every_parameter_of_the_model_is_a_row_and_every_row_is_used() -> None:
    from residuum.models import build

    model = build()
    assert {p.name: p.value for p in model.parameters} == parameters.nominal()


def test_rates_are_per_second_and_nanomolar() -> None:
    assert {row.unit for row in parameters.table()} == {"nM", "1/s", "1/(nM s)", "nM/s", "1"}


def test_a_context_gives_a_parameter_in_its_own_unit() -> None:
    quantities = contexts.quantities(parameters.REFERENCE_CONTEXT)
    assert all(quantities[row.name].unit == row.unit for row in parameters.table() if row.set_by_context)


def test_only_what_is_positive_has_a_prior() -> None:
    assert all(row.value > 0 or row.set_by_context for row in parameters.table() if row.prior_log10_sd > 0)


def test_every_readout_is_an_observable(reactions) -> None:  # type: ignore[no-untyped-def]
    named = {*reactions.network.observables, *reactions.network.functions}  # the survival score is a function
    assert observables.READOUTS.keys() <= named
    assert {"pFLT3", "pERK", "pMEK", "pSTAT5", "pSOS"} <= observables.READOUTS.keys()
