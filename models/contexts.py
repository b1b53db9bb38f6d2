"""The name of a context goes in; the parameter values of that cell in that environment come out.

A context is a cell, or a cell on stroma: `blast-itd`, `blast-itd+erk-stroma`. A cell is a genotype in a cell system
(which allele sits in which FLT3 slot, how much of each protein) in its own medium; a stroma preset raises ligands and
the other signals of the niche. All contexts are rows over one network: each sets the same parameters, so that going
from one to another needs no reset.

The presets stand for the literature's disagreement on what protects instead of averaging it: ERK rather than STAT5
(yang2014, traer2016: erk-stroma), JAK, STAT5 and PIM rather than ERK (sung2019: stat5-stroma), STAT5 by soluble factors
that are not resolved (patel2020: conditioned-medium), and all of it at once (mixed-stroma).
"""

from __future__ import annotations

import difflib

from . import alleles, tables
from .names import UnknownNameError, checked
from .tables import Quantity

FILES = {"cell": "cells.tsv", "stroma": "stroma.tsv"}
ON = "+"
OFF = "off"
"""In place of a stroma: the cell alone."""
ALLELES = {"A": "allele_A", "B": "allele_B"}


def cells() -> tuple[str, ...]:
    """Return the names of all cells."""
    return tuple(_table("cell"))


def stromas() -> tuple[str, ...]:
    """Return the names of all stroma presets."""
    return tuple(_table("stroma"))


def names() -> tuple[str, ...]:
    """Return the names of all contexts: each cell alone, then on each stroma."""
    return tuple(f"{cell}{on}" for cell in cells() for on in ("", *(ON + stroma for stroma in stromas())))


def overrides(context: str) -> dict[str, float]:
    """Return parameter name -> value (in the parameter's own unit) for `context`.

    These are exactly the parameters whose value is `context` in `data/parameters.tsv`.

    Raises
    ------
    UnknownNameError
        If there is no such cell or stroma.

    Examples
    --------
    >>> from residuum.models import contexts
    >>> on, off = contexts.overrides("blast-itd+erk-stroma"), contexts.overrides("blast-itd")
    >>> sorted(name for name in on if on[name] != off[name])
    ['ligand_FGF2_dose', 'ligand_FL_dose']
    """
    return {name: float(quantity.value) for name, quantity in quantities(context).items()}


def quantities(context: str) -> dict[str, Quantity]:
    """Return parameter name -> quantity, with prior and source, for `context`.

    Raises
    ------
    UnknownNameError
        If there is no such cell or stroma.
    """
    cell, stroma = _parts(context)
    of_cell = _table("cell")[cell]
    found = {name: quantity for name, quantity in of_cell.items() if quantity.unit != tables.NAME}
    for name, quantity in (_table("stroma")[stroma] if stroma else {}).items():
        found[checked(f"quantity of {cell}", name, found)] = quantity
    for allele_slot, name in ALLELES.items():
        found |= alleles.quantities(of_cell[name].value, allele_slot)
    return found


def moved(context: str, stroma: str) -> str:
    """Return the context of the same cell on `stroma`, or alone if that is `"off"`.

    Raises
    ------
    UnknownNameError
        If there is no such cell or stroma.

    Examples
    --------
    >>> from residuum.models import contexts
    >>> contexts.moved("blast-itd+erk-stroma", "off"), contexts.moved("blast-itd", "stat5-stroma")
    ('blast-itd', 'blast-itd+stat5-stroma')
    """
    cell, _ = _parts(context)
    return cell if checked("stroma", stroma, (OFF, *stromas())) == OFF else f"{cell}{ON}{stroma}"


def allele_of(context: str, allele_slot: str) -> str:
    """Return the name of the allele in slot "A" or "B" of `context`.

    Raises
    ------
    UnknownNameError
        If there is no such cell, stroma or slot.
    """
    cell, _ = _parts(context)
    return _table("cell")[cell][ALLELES[checked("allele slot", allele_slot, ALLELES)]].value


def _table(kind: str) -> dict[str, dict[str, Quantity]]:
    return tables.quantities(FILES[kind], kind)


def _parts(context: str) -> tuple[str, str]:
    """Return cell and stroma of `context`, the stroma empty where the cell stands alone."""
    cell, on, stroma = str(context).partition(ON)
    if cell in cells() and (stroma in stromas() if on else True):
        return cell, stroma
    nearest = _nearest(cell, cells()) + (ON + _nearest(stroma, stromas()) if stroma.strip() else "")
    raise UnknownNameError(
        f"Unknown context {context!r}. Did you mean {nearest!r}? A context is a cell, or CELL{ON}STROMA. "
        f"Cells: {', '.join(cells())}. Stroma: {', '.join(stromas())}."
    )


def _nearest(name: str, allowed: tuple[str, ...]) -> str:
    return difflib.get_close_matches(name.strip().casefold(), allowed, n=1, cutoff=0.0)[0]
