"""A drug, one of the four drug slots and a context go in; the parameter values that put it there come out.

A drug is a row per target, never a monomer of its own. An affinity in the table is that of the assay it was
measured in; the model uses `kd_nM * cell_shift`, the dissociation constant towards the state of the target that
the drug binds in the cell (type II: the inactive kinase only, so that its apparent value is larger by
1 + active/inactive).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import alleles, contexts, tables
from .names import checked
from .parameters import ALLELE_SLOTS, DRUG_SLOTS, nominal

FILE = "drugs.tsv"
COLUMNS = (
    "drug",
    "target",
    "binding",
    "kd_nM",
    "kon_per_nM_s",
    "cell_shift",
    "pMEK_kd_factor",
    "residual_phosphorylation",
    "source",
    "note",
)
DOES_NOT_BIND = ">10000"
UNKNOWN = "unknown"
KINASE_TARGETS = ("FGFR1", "JAK2", "MEK")
FLT3_POCKETS = {"type I": "typeI", "type II": "typeII"}


@dataclass(frozen=True)
class Affinity:
    """What one drug does to one target."""

    drug: str
    target: str
    binding: str
    """`type I`, `type II`, `ATP-competitive` or `allosteric`."""
    kd: float | None
    """Dissociation constant in the cell, nM; None if it does not bind, or if nothing is known."""
    kon: float | None
    """1/(nM s); None where `kd` is None."""
    known: bool
    """False if no value was found: the pair is then treated as not binding, and listed by `unknown_pairs`."""
    pMEK_kd_factor: float
    """Of a MEK inhibitor: dissociation constant of pMEK over that of unphosphorylated MEK."""
    residual_phosphorylation: float
    """Of a MEK inhibitor: rate at which RAF phosphorylates drug-bound MEK, relative to free MEK."""
    source: str
    note: str


@cache
def table() -> tuple[Affinity, ...]:
    """Return all drug-target pairs of the table."""
    return tuple(_affinity(cells) for cells in tables.read(FILE, COLUMNS))


def names() -> tuple[str, ...]:
    """Return the names of all drugs."""
    return tuple(dict.fromkeys(affinity.drug for affinity in table()))


def unknown_pairs() -> tuple[tuple[str, str], ...]:
    """Return the (drug, target) pairs without a known affinity; the model treats them as not binding."""
    return tuple((affinity.drug, affinity.target) for affinity in table() if not affinity.known)


def dose_parameter(slot: int) -> str:
    """Return the name of the parameter that sets the free extracellular concentration (nM) of a slot's drug.

    Raises
    ------
    UnknownNameError
        If there is no such slot.

    Examples
    --------
    >>> from residuum.models import drugs
    >>> drugs.dose_parameter(1)
    'drug1_dose'
    """
    return f"drug{_checked_slot(slot)}_dose"


def slot_overrides(slot: int, drug: str, context: str) -> dict[str, float]:
    """Return parameter name -> value for `drug` in `slot` of a cell in `context`; the dose is not among them.

    Every binding parameter of the slot is set, those of targets that the drug does not bind to their empty
    value, so that one drug can follow another in a slot. Which FLT3 row holds depends on the context's alleles.

    Raises
    ------
    UnknownNameError
        If there is no such slot, drug or context.
    """
    of_drug = {row.target: row for row in table() if row.drug == checked("drug", drug, names())}
    values = _empty_slot(_checked_slot(slot))
    for allele_slot in ALLELE_SLOTS:
        row = of_drug[alleles.drug_target(contexts.allele_of(context, allele_slot))]
        if row.kd is not None:
            values |= _binding(f"drug{slot}_FLT3{allele_slot}_{FLT3_POCKETS[row.binding]}", row)
    for target in KINASE_TARGETS:
        row = of_drug[target]
        if row.kd is not None:
            values |= _binding(f"drug{slot}_{target}", row)
    if of_drug["MEK"].kd is not None:
        values[f"drug{slot}_MEK_pMEK_factor"] = of_drug["MEK"].pMEK_kd_factor
        values[f"drug{slot}_MEK_residual"] = of_drug["MEK"].residual_phosphorylation
    return values


def _affinity(cells: dict[str, str]) -> Affinity:
    binds = cells["kd_nM"] not in (DOES_NOT_BIND, UNKNOWN)
    return Affinity(
        drug=cells["drug"],
        target=cells["target"],
        binding=cells["binding"],
        kd=float(cells["kd_nM"]) * float(cells["cell_shift"]) if binds else None,
        kon=float(cells["kon_per_nM_s"]) if binds else None,
        known=cells["kd_nM"] != UNKNOWN,
        pMEK_kd_factor=float(cells["pMEK_kd_factor"] or 1),
        residual_phosphorylation=float(cells["residual_phosphorylation"] or 0),
        source=cells["source"],
        note=cells["note"],
    )


def _binding(pocket: str, row: Affinity) -> dict[str, float]:
    assert row.kon is not None and row.kd is not None
    return {f"{pocket}_kon": row.kon, f"{pocket}_kd": row.kd}


def _empty_slot(slot: int) -> dict[str, float]:
    """Return the nominal values of a slot's binding parameters: nothing binds."""
    prefix = f"drug{slot}_"
    return {name: value for name, value in nominal().items() if name.startswith(prefix) and name != f"drug{slot}_dose"}


def _checked_slot(slot: int) -> int:
    checked("drug slot", str(slot), [str(known) for known in DRUG_SLOTS])
    return slot
