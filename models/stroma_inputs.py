"""FGF2 and drug slots go in; phosphorylated FGFR1 comes out: a road from stroma to RAS that does not need FLT3.

In: monomers FGF2 and DRUG1 to DRUG4.
Out: observable `pFGFR1`.

Heparan sulphate is not a molecule of the model, but part of the apparent affinity.
"""

from __future__ import annotations

from .building import ModelBuilder
from .motifs import ligand_receptor


def fgfr1(builder: ModelBuilder) -> None:
    """Add the FGF2 receptor."""
    ligand_receptor(builder, "FGFR1", "FGF2")
