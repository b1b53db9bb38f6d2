"""Ligands of the stroma, pSTAT5 and drugs go in; phosphorylated FGFR1, KIT, AXL and occupied CXCR4 come out.

In: monomers FGF2, SCF, GAS6, CXCL12 and DRUG1 to DRUG4; observable `pSTAT5`.
Out: observables `pFGFR1`, `pKIT`, `pAXL`, `pCXCR4`: roads from stroma to RAS and PI3K that do not need FLT3.

Heparan sulphate is not a molecule of the model, but part of the apparent affinity of FGF2. AXL is made at a rate that
rises with pSTAT5 (Dumas 2019). CXCR4 is no kinase: `pCXCR4` is the receptor with its ligand, which an antagonist
keeps away.
"""

from __future__ import annotations

from .building import ModelBuilder, Module
from .motifs import bind_clamped, occupy_pocket, receptor_rules, receptor_species

KINASES = {"FGFR1": "FGF2", "KIT": "SCF", "AXL": "GAS6"}


def species(builder: ModelBuilder) -> None:
    """Add the receptors."""
    for name, ligand in KINASES.items():
        receptor_species(builder, name, ligand)
    cxcr4 = builder.monomer("CXCR4", ligand=["none", "CXCL12"], drug=["none", "bound"])
    builder.initial(cxcr4(ligand="none", drug="none"), "amount_CXCR4_total")
    builder.observable("total_CXCR4", cxcr4())
    builder.observable("pCXCR4", cxcr4(ligand="CXCL12"))


def rules(builder: ModelBuilder) -> None:
    """Bind ligands and drugs, phosphorylate, renew AXL."""
    for name, ligand in KINASES.items():
        receptor_rules(builder, name, ligand)
    _renew_axl(builder)
    _bind_cxcr4(builder)


def _renew_axl(builder: ModelBuilder) -> None:
    """Make AXL at loss * amount * (1 + slope * pSTAT5 / (km + pSTAT5)): `amount` is there without pSTAT5."""
    axl, stat = builder["AXL"], builder.signal("pSTAT5")
    loss, amount = builder.parameter("degrade_AXL_rate"), builder.parameter("amount_AXL_total")
    slope, km = builder.parameter("synthesise_AXL_STAT5_slope"), builder.parameter("synthesise_AXL_STAT5_km")
    synthesis = builder.expression("synthesise_AXL_rate", loss * amount * (1 + slope * stat / (km + stat)))
    builder.rule("synthesise_AXL", None >> axl(ligand="none", drug="none", y="u"), synthesis)
    builder.rule("degrade_AXL", axl() >> None, loss)


def _bind_cxcr4(builder: ModelBuilder) -> None:
    cxcr4 = builder["CXCR4"]
    kon = builder.parameter("bind_CXCL12_CXCR4_kon")
    koff = builder.expression("bind_CXCL12_CXCR4_koff", kon * builder.parameter("bind_CXCL12_CXCR4_kd"))
    vacant, with_ligand = cxcr4(ligand="none", drug="none"), cxcr4(ligand="CXCL12", drug="none")
    bind_clamped(builder, "CXCL12_CXCR4", "CXCL12", vacant, with_ligand, kon, koff)
    occupy_pocket(builder, "CXCR4", vacant, cxcr4(ligand="none", drug="bound"))


STROMA_INPUTS = Module(
    "stroma_inputs",
    "FGFR1, KIT, AXL, CXCR4",
    inputs=("pSTAT5",),
    outputs=("pFGFR1", "pKIT", "pAXL", "pCXCR4"),
    species=species,
    rules=rules,
)
