"""GM-CSF, drug slots and receptor activities go in; phosphorylated cytokine receptor and pSTAT5 come out.

In: monomers GMCSF and DRUG1 to DRUG4; observables `pFLT3A`, `pFLT3B`.
Out: observables `pJAK2`, `pSTAT5`.

`JAK2` stands for the GM-CSF receptor (CSF2RA with the common chain CSF2RB) and the JAK2 on it as one unit. `STAT5` is
STAT5A and STAT5B, `pSTAT5` Y694/Y699. Each receptor phosphorylates STAT5 in proportion to its weighted
phosphotyrosine (catalysis across the border of the module, no complex).
"""

from __future__ import annotations

from .building import ModelBuilder
from .motifs import convert, ligand_receptor, weighted_sum


def jak2(builder: ModelBuilder) -> None:
    """Add the GM-CSF receptor with its JAK2."""
    ligand_receptor(builder, "JAK2", "GMCSF")


def stat5(builder: ModelBuilder) -> None:
    """Add STAT5, driven by the receptors."""
    stat = builder.monomer("STAT5", y=["u", "p"])
    builder.initial(stat(y="u"), "amount_STAT5_total")
    builder.observable("total_STAT5", stat())
    builder.observable("pSTAT5", stat(y="p"))
    observables = builder.model.observables
    drive = builder.expression(
        "drive_STAT5",
        weighted_sum(
            builder,
            [
                ("drive_STAT5_FLT3A_weight", observables["pFLT3A"]),
                ("drive_STAT5_FLT3B_weight", observables["pFLT3B"]),
                ("drive_STAT5_JAK2_weight", observables["pJAK2"]),
            ],
        ),
    )
    rate = builder.expression("phosphorylate_STAT5_rate", builder.parameter("phosphorylate_STAT5_kcat") * drive)
    convert(builder, "phosphorylate_STAT5", stat(y="u"), stat(y="p"), rate)
    convert(builder, "dephosphorylate_STAT5", stat(y="p"), stat(y="u"), builder.parameter("dephosphorylate_STAT5_rate"))
