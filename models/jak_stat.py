"""Cytokines, drugs and receptor activities go in; cytokine receptors with their JAK, SRC, pSTAT5, pSTAT3 come out.

In: monomers GMCSF, IL3, IL6 and DRUG1 to DRUG4; phosphorylated FLT3 of both pools, `pKIT`, `pERK`.
Out: observables `pCSF2R`, `pIL3R`, `pIL6R`, `pSRC`, `pSTAT5`, `pSTAT3`, `SOCS`.

`CSF2R` is the GM-CSF receptor and `IL3R` the IL-3 receptor, each with the common chain and JAK2 as one unit; `IL6R` is
gp130 (IL6ST) with JAK1. `SRC` stands for the SRC family (LYN, HCK, FGR, SRC). `STAT5` is STAT5A and STAT5B, `pSTAT5`
Y694/Y699; `pSTAT3` is Y705. `SOCS` pools CISH and SOCS3.

Every receptor that binds STAT5 offers it; it is phosphorylated there by JAK or FLT3 and by SRC, which ITD and cytokine
receptors activate (Leischner 2012; dasatinib removes the pSTAT5 of conditioned medium: Patel 2020),

    rate = kcat * (sum of weighted receptors) * (direct + (1 - direct) * SRC / (SRC + km)),   SRC: active, without drug.

FLT3 in the ER is heard as well as at the surface (Schmidt-Arras 2009). STAT5 and STAT3 make SOCS, which damps the
cytokine receptors; PTPN6 and others are pooled into the dephosphorylation of STAT5, which pERK slows (assumed: a MEK
inhibitor lowers pSTAT5 to 0.6-0.7 in Ba/F3 cells, Latini 2024).
"""

from __future__ import annotations

from .building import ModelBuilder, Module
from .motifs import (
    convert,
    express,
    gene,
    occupy_pocket,
    phosphoprotein,
    receptor_rules,
    receptor_species,
    switch,
    weighted_sum,
)

CYTOKINE_RECEPTORS = {"CSF2R": ("GMCSF", "JAK2"), "IL3R": ("IL3", "JAK2"), "IL6R": ("IL6", "JAK1")}
FLT3_POOLS = ("FLT3A_surface", "FLT3A_ER", "FLT3B_surface", "FLT3B_ER")


def species(builder: ModelBuilder) -> None:
    """Add cytokine receptors, SRC, STAT5, STAT3 and SOCS."""
    for name, (ligand, _) in CYTOKINE_RECEPTORS.items():
        receptor_species(builder, name, ligand)
    src = phosphoprotein(builder, "SRC", "y419", drug=["none", "bound"])
    builder.observable("active_SRC", src(y419="p", drug="none"))
    phosphoprotein(builder, "STAT5", "y694")
    phosphoprotein(builder, "STAT3", "y705")
    gene(builder, "SOCS")


def rules(builder: ModelBuilder) -> None:
    """Activate the receptors and SRC, phosphorylate the STATs, make SOCS."""
    damping = 1 + builder.observed("SOCS") / builder.parameter("damp_receptors_SOCS_ki")
    for name, (ligand, pocket) in CYTOKINE_RECEPTORS.items():
        receptor_rules(builder, name, ligand, pocket, damping)
    _activate_src(builder)
    _phosphorylate_stat5(builder)
    switch(builder, "STAT3", "y705", {"IL6R": builder.observed("pIL6R")})
    express(builder, "SOCS", builder.observed("pSTAT5") + builder.observed("pSTAT3"))


def _activate_src(builder: ModelBuilder) -> None:
    src = builder["SRC"]
    receptors = weighted_sum(builder, "SRC", (*FLT3_POOLS, "KIT", *CYTOKINE_RECEPTORS))
    drive = builder.expression("drive_SRC", builder.parameter("drive_SRC_stroma") + receptors)
    rate = builder.expression("phosphorylate_SRC_rate", builder.parameter("phosphorylate_SRC_kcat") * drive)
    convert(builder, "phosphorylate_SRC", src(drug="none", y419="u"), src(drug="none", y419="p"), rate)
    convert(builder, "dephosphorylate_SRC", src(y419="p"), src(y419="u"), builder.parameter("dephosphorylate_SRC_rate"))
    occupy_pocket(builder, "SRC", src(drug="none"), src(drug="bound"))


def _phosphorylate_stat5(builder: ModelBuilder) -> None:
    stat, active = builder["STAT5"], builder.observed("active_SRC")
    drive = builder.expression("drive_STAT5", weighted_sum(builder, "STAT5", (*FLT3_POOLS, *CYTOKINE_RECEPTORS)))
    kcat, direct = (builder.parameter(f"phosphorylate_STAT5_{kind}") for kind in ("kcat", "direct_fraction"))
    by_src = direct + (1 - direct) * active / (active + builder.parameter("phosphorylate_STAT5_SRC_km"))
    rate = builder.expression("phosphorylate_STAT5_rate", kcat * drive * by_src)
    convert(builder, "phosphorylate_STAT5", stat(y694="u"), stat(y694="p"), rate)

    slow, factor = (builder.parameter(f"dephosphorylate_STAT5_{kind}") for kind in ("rate", "lowERK_factor"))
    low_erk = 1 / (1 + builder.signal("pERK") / builder.parameter("dephosphorylate_STAT5_ERK_km"))
    loss = builder.expression("lose_pSTAT5_rate", slow * (1 + (factor - 1) * low_erk))
    convert(builder, "dephosphorylate_STAT5", stat(y694="p"), stat(y694="u"), loss)


JAK_STAT = Module(
    "jak_stat",
    "cytokine receptors with JAK, SRC, STAT5, STAT3",
    inputs=(*(f"p{pool}" for pool in FLT3_POOLS), "pKIT", "pERK"),
    outputs=("pCSF2R", "pIL3R", "pIL6R", "pSRC", "pSTAT5", "pSTAT3", "SOCS"),
    species=species,
    rules=rules,
)
