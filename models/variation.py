"""The table of variation goes in; how far amounts differ between cells and between patients comes out.

Variation is not uncertainty: a spread in `data/variation.tsv` is one between cells or patients that exist side by side,
a prior in the other tables is how far a number may be off for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import tables
from .names import checked
from .parameters import nominal

FILE = "variation.tsv"
COLUMNS = ("quantity", "cell_cv", "patient_cv", "source", "note")
SHARED = "shared"
"""The row of the factor that all amounts of a cell have in common."""


@dataclass(frozen=True)
class Variation:
    """How far one quantity differs: standard deviation over mean."""

    cells: float
    """Between the cells of one patient."""
    patients: float
    """Between patients of one genotype."""


@cache
def table() -> dict[str, Variation]:
    """Return parameter name, or `shared`, -> variation; what is not listed is the same in all cells.

    Raises
    ------
    ValueError
        If a quantity occurs twice.
    UnknownNameError
        If one is no parameter of the model.
    """
    found: dict[str, Variation] = {}
    for cells in tables.read(FILE, COLUMNS):
        name = checked("quantity", cells["quantity"], (SHARED, *nominal()))
        if name in found:
            raise ValueError(f"{FILE}: {name} occurs twice")
        found[name] = Variation(float(cells["cell_cv"]), float(cells["patient_cv"]))
    return found
