"""The table of parameters goes in; one row per model parameter, with value, unit, prior and source, comes out.

A row of `data/parameters.tsv` may stand for several parameters: `{slot}` in its name is expanded to the drug
slots 1 to 4, `{allele}` to the FLT3 allele slots A and B. A value written as `context` belongs to the context
and its alleles (see `contexts`); the nominal value is then that of `REFERENCE_CONTEXT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

from . import contexts, tables
from .names import checked

FILE = "parameters.tsv"
COLUMNS = ("name", "value", "unit", "prior_log10_sd", "source", "note")
DRUG_SLOTS = (1, 2, 3, 4)
ALLELE_SLOTS = ("A", "B")
REFERENCE_CONTEXT = "blast-itd"
SET_BY_CONTEXT = "context"


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of the model."""

    name: str
    """`<what>_<where>_<kind>`, unique."""
    value: float
    """Nominal value in `unit`."""
    unit: str
    prior_log10_sd: float
    """Standard deviation of log10(value) before any fit; 0 for what is not to be fitted."""
    source: str
    """Citation key of `data/references.bib`, `assumed`, or `context`."""
    note: str
    set_by_context: bool
    """True if every context gives its own value."""


@cache
def table() -> tuple[ParameterRow, ...]:
    """Return all parameters in the order of the table, templates expanded.

    Raises
    ------
    ValueError
        If a name occurs twice.
    """
    of_context = contexts.overrides(REFERENCE_CONTEXT)
    rows: dict[str, ParameterRow] = {}
    for cells in tables.read(FILE, COLUMNS):
        for name in _expanded(cells["name"]):
            if name in rows:
                raise ValueError(f"{FILE}: {name} occurs twice")
            set_by_context = cells["value"] == SET_BY_CONTEXT
            value = of_context[checked("context quantity", name, of_context)] if set_by_context else cells["value"]
            rows[name] = ParameterRow(
                name=name,
                value=float(value),
                unit=cells["unit"],
                prior_log10_sd=float(cells["prior_log10_sd"]),
                source=cells["source"],
                note=cells["note"],
                set_by_context=set_by_context,
            )
    return tuple(rows.values())


@cache
def _by_name() -> dict[str, ParameterRow]:
    return {row.name: row for row in table()}


def row(name: str) -> ParameterRow:
    """Return the row of one parameter.

    Raises
    ------
    UnknownNameError
        If there is no such parameter.
    """
    return _by_name()[checked("parameter", name, _by_name())]


def nominal() -> dict[str, float]:
    """Return the nominal value of every parameter, by name."""
    return {row.name: row.value for row in table()}


def _expanded(template: str) -> list[str]:
    slots = DRUG_SLOTS if "{slot}" in template else (0,)
    alleles = ALLELE_SLOTS if "{allele}" in template else ("",)
    return [template.format(slot=slot, allele=allele) for slot, allele in product(slots, alleles)]
