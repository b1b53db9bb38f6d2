"""The name of a FLT3 allele and the slot it sits in go in; the parameter values it gives that slot come out.

An allele is never a monomer of its own: the two slots A and B carry the same rules, and wild type, internal
tandem duplication and kinase-domain mutants differ by the values of `data/alleles.tsv`.
"""

from __future__ import annotations

from . import tables
from .names import checked
from .tables import Quantity

FILE = "alleles.tsv"
KIND = "allele"
DRUG_TARGETS, TYPE_I_FACTOR, TYPE_II_FACTOR = OF_DRUGS = ("drug_targets", "typeI_kd_factor", "typeII_kd_factor")
"""What an allele says of the drugs that bind it; all else are parameters of the model."""


def names() -> tuple[str, ...]:
    """Return the names of all alleles."""
    return tuple(_alleles())


def quantities(allele: str, allele_slot: str) -> dict[str, Quantity]:
    """Return parameter name -> quantity, with prior and source, for `allele` in slot "A" or "B".

    Raises
    ------
    UnknownNameError
        If there is no such allele.
    """
    return {
        template.format(allele=allele_slot): quantity
        for template, quantity in _of(allele).items()
        if template not in OF_DRUGS
    }


def drug_targets(allele: str) -> tuple[str, ...]:
    """Return the targets of the drug table whose affinities hold for `allele`; the first that a drug has counts.

    Raises
    ------
    UnknownNameError
        If there is no such allele.

    Examples
    --------
    >>> from residuum.models import alleles
    >>> alleles.drug_targets("itd")
    ('FLT3-ITD', 'FLT3')
    """
    return tuple(_of(allele)[DRUG_TARGETS].value.split())


def typeI_kd_factor(allele: str) -> float:
    """Return the factor on the dissociation constant of type I drugs that were measured on another allele.

    Raises
    ------
    UnknownNameError
        If there is no such allele.
    """
    return float(_of(allele)[TYPE_I_FACTOR].value)


def typeII_kd_factor(allele: str) -> float:
    """Return the factor on the dissociation constant of type II drugs that were measured on another allele.

    Raises
    ------
    UnknownNameError
        If there is no such allele.
    """
    return float(_of(allele)[TYPE_II_FACTOR].value)


def _alleles() -> dict[str, dict[str, Quantity]]:
    return tables.quantities(FILE, KIND)


def _of(allele: str) -> dict[str, Quantity]:
    return _alleles()[checked(KIND, allele, _alleles())]
