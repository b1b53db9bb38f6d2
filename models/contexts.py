"""The name of a context goes in; the parameter values of that cell in that environment come out.

A context is a genotype (which allele sits in which FLT3 slot, how much of each) with an environment (ligands,
serum). All contexts are rows over one network: each sets the same parameters, so that going from one to another
needs no reset. A name contains `stroma` exactly when the cell is on stroma.
"""

from __future__ import annotations

from functools import cache

from . import alleles, tables
from .names import checked

FILE = "contexts.tsv"
COLUMNS = ("context", "quantity", "value", "unit", "source", "note")
BASED_ON = "based_on"
ALLELES = {"A": "allele_A", "B": "allele_B"}


@cache
def _contexts() -> dict[str, dict[str, str]]:
    contexts: dict[str, dict[str, str]] = {}
    for cells in tables.read(FILE, COLUMNS):
        quantities = contexts.setdefault(cells["context"], {})
        if cells["quantity"] == BASED_ON:
            if quantities:
                raise ValueError(f"{FILE}: {BASED_ON} must be the first row of {cells['context']}")
            quantities.update(contexts[checked("context", cells["value"], contexts)])
        else:
            quantities[cells["quantity"]] = cells["value"]
    return contexts


def names() -> tuple[str, ...]:
    """Return the names of all contexts."""
    return tuple(_contexts())


def overrides(context: str) -> dict[str, float]:
    """Return parameter name -> value (in the parameter's own unit) for `context`.

    Raises
    ------
    UnknownNameError
        If there is no such context.

    Examples
    --------
    >>> from residuum.models import contexts
    >>> contexts.overrides("flt3-wt+stroma")["ligand_FL_dose"] > contexts.overrides("flt3-wt")["ligand_FL_dose"]
    True
    """
    quantities = _contexts()[checked("context", context, _contexts())]
    values = {name: float(value) for name, value in quantities.items() if name not in ALLELES.values()}
    for allele_slot, quantity in ALLELES.items():
        values |= alleles.overrides(quantities[quantity], allele_slot)
    return values


def allele_of(context: str, allele_slot: str) -> str:
    """Return the name of the allele in slot "A" or "B" of `context`.

    Raises
    ------
    UnknownNameError
        If there is no such context or slot.
    """
    quantities = _contexts()[checked("context", context, _contexts())]
    return quantities[ALLELES[checked("allele slot", allele_slot, ALLELES)]]
