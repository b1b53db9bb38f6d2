"""The name of a FLT3 allele and the slot it sits in go in; the parameter values it gives that slot come out.

An allele is never a monomer of its own: the two slots A and B carry the same rules, and wild type, internal
tandem duplication and kinase-domain mutants differ by the values of `data/alleles.tsv`.
"""

from __future__ import annotations

from functools import cache

from . import tables
from .names import checked

FILE = "alleles.tsv"
COLUMNS = ("allele", "quantity", "value", "unit", "source", "note")
DRUG_TARGET = "drug_target"


@cache
def _alleles() -> dict[str, dict[str, str]]:
    alleles: dict[str, dict[str, str]] = {}
    for cells in tables.read(FILE, COLUMNS):
        quantities = alleles.setdefault(cells["allele"], {})
        if cells["quantity"] in quantities:
            raise ValueError(f"{FILE}: {cells['quantity']} of {cells['allele']} occurs twice")
        quantities[cells["quantity"]] = cells["value"]
    return alleles


def names() -> tuple[str, ...]:
    """Return the names of all alleles."""
    return tuple(_alleles())


def overrides(allele: str, allele_slot: str) -> dict[str, float]:
    """Return parameter name -> value for `allele` in slot "A" or "B".

    Raises
    ------
    UnknownNameError
        If there is no such allele.
    """
    quantities = _alleles()[checked("allele", allele, _alleles())]
    return {
        template.format(allele=allele_slot): float(value)
        for template, value in quantities.items()
        if template != DRUG_TARGET
    }


def drug_target(allele: str) -> str:
    """Return the target of the drug table ("FLT3", "FLT3-ITD") whose affinities hold for `allele`.

    Raises
    ------
    UnknownNameError
        If there is no such allele.
    """
    return _alleles()[checked("allele", allele, _alleles())][DRUG_TARGET]
