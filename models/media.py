"""Doses go in; clamped free drugs and ligands come out, and the stromal enzyme that clears drugs.

In: `drug<slot>_dose`, `ligand_<name>_dose` (nM, free, extracellular), `amount_CYP3A4_total`.
Out: monomers DRUG1 to DRUG4, FL (FLT3LG), FGF2, GMCSF (CSF2), IL3, IL6, SCF (KITLG), GAS6, CXCL12, CYP3A4, and
observables `free_<monomer>`.

Cells do not deplete the medium. Stromal CYP3A4 lowers the local concentration of a drug that it clears: with the
exchange rate k, the enzyme free of inhibitor E and the clearance c of the drug,

    free = dose * k / (k + c E)
"""

from __future__ import annotations

from .building import ModelBuilder, Module
from .motifs import clamp, occupy_pocket
from .parameters import DRUG_SLOTS

LIGANDS = ("FL", "FGF2", "GMCSF", "IL3", "IL6", "SCF", "GAS6", "CXCL12")


def species(builder: ModelBuilder) -> None:
    """Add the drug slots, the ligands and CYP3A4."""
    for name in (*(f"DRUG{slot}" for slot in DRUG_SLOTS), *LIGANDS):
        builder.observable(f"free_{name}", builder.monomer(name)())
    enzyme = builder.monomer("CYP3A4", drug=["none", "bound"])
    builder.initial(enzyme(drug="none"), "amount_CYP3A4_total")
    builder.observable("total_CYP3A4", enzyme())


def rules(builder: ModelBuilder) -> None:
    """Hold them at their doses; let CYP3A4 clear drugs, and be inhibited by one."""
    for slot in DRUG_SLOTS:
        clamp(builder, builder[f"DRUG{slot}"], f"drug{slot}_dose", "exchange_medium_rate")
    for ligand in LIGANDS:
        clamp(builder, builder[ligand], f"ligand_{ligand}_dose", "exchange_medium_rate")
    enzyme = builder["CYP3A4"]
    occupy_pocket(builder, "CYP3A4", enzyme(drug="none"), enzyme(drug="bound"))
    for slot in DRUG_SLOTS:
        drug, clearance = builder[f"DRUG{slot}"], builder.parameter(f"drug{slot}_CYP3A4_clearance")
        builder.rule(f"clear_DRUG{slot}", enzyme(drug="none") + drug() >> enzyme(drug="none"), clearance)


MEDIA = Module("media", "medium: drugs, ligands, stromal CYP3A4", (), (), species, rules)
