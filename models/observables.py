"""Nothing goes in; what the model reads out, and the assay each read-out stands for, come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from . import tables

FILE = "readouts.tsv"
COLUMNS = ("readout", "protein", "site", "assay", "source", "note")


@dataclass(frozen=True)
class Readout:
    """One observable that an experiment reports."""

    protein: str
    """HGNC symbols of what is pooled."""
    site: str
    """Phosphosites, human numbering."""
    assay: str
    """What the observable stands for."""
    source: str
    note: str


READOUTS: Mapping[str, Readout] = MappingProxyType(
    {
        cells["readout"]: Readout(cells["protein"], cells["site"], cells["assay"], cells["source"], cells["note"])
        for cells in tables.read(FILE, COLUMNS)
    }
)
"""Name of the observable -> what it stands for."""
