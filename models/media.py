"""Doses go in; clamped free drugs and ligands come out.

In: `drug<slot>_dose`, `ligand_FL_dose`, `ligand_FGF2_dose`, `ligand_GMCSF_dose` (nM, free, extracellular).
Out: monomers DRUG1 to DRUG4, FL (FLT3LG), FGF2, GMCSF (CSF2) and observables `free_<monomer>`.
"""

from __future__ import annotations

from .building import ModelBuilder
from .motifs import clamp
from .parameters import DRUG_SLOTS

LIGANDS = ("FL", "FGF2", "GMCSF")


def media(builder: ModelBuilder) -> None:
    """Add the drug slots and the ligands."""
    doses = {f"DRUG{slot}": f"drug{slot}_dose" for slot in DRUG_SLOTS}
    doses |= {ligand: f"ligand_{ligand}_dose" for ligand in LIGANDS}
    for name, dose in doses.items():
        monomer = builder.monomer(name)
        builder.observable(f"free_{name}", monomer())
        clamp(builder, monomer, dose, "exchange_medium_rate")
