"""pSTAT5, pSTAT3, pERK and pS6 go in; PIM1, BCL-XL, C/EBPalpha phosphorylation and an assumed survival score come out.

In: observables `pSTAT5`, `pSTAT3`, `pERK`, `pS6`.
Out: observables `PIM1`, `BCLXL` (BCL2L1), `pCEBPA` (S21, the differentiation block), function `survival_score`.

The score stands apart from the phospho read-outs, and its formula is assumed. Three arms keep the cell alive, any one
of them to some degree:

    stat  = x^2 / (1 + x^2),   x = PIM1 / half_PIM1 + BCLXL / half_BCLXL
    erk   = (pERK / half_pERK)^2 / (1 + (pERK / half_pERK)^2)
    s6    = weight_S6 * pS6 / (half_pS6 + pS6)
    score = 1 - (1 - stat) (1 - erk) (1 - s6)

Synergy in this score is not synergy in pERK.
"""

from __future__ import annotations

import sympy

from .building import ModelBuilder, Module
from .motifs import express, gene, phosphoprotein, switch


def species(builder: ModelBuilder) -> None:
    """Add the outputs."""
    gene(builder, "PIM1")
    gene(builder, "BCLXL")
    phosphoprotein(builder, "CEBPA", "s21")


def rules(builder: ModelBuilder) -> None:
    """Express the survival proteins, phosphorylate C/EBPalpha, and write down the score."""
    stats = builder.signal("pSTAT5") + builder.parameter("express_STAT3_weight") * builder.signal("pSTAT3")
    express(builder, "PIM1", stats)
    express(builder, "BCLXL", stats)
    switch(builder, "CEBPA", "s21", {"ERK": builder.signal("pERK")})
    _score(builder)


def _score(builder: ModelBuilder) -> None:
    def relative(name: str, amount: sympy.Expr) -> sympy.Expr:
        return amount / builder.parameter(f"survive_{name}_half")

    x = builder.expression(
        "survival_STAT", relative("PIM1", builder.observed("PIM1")) + relative("BCLXL", builder.observed("BCLXL"))
    )
    e = builder.expression("survival_ERK", relative("pERK", builder.signal("pERK")))
    s = builder.expression("survival_S6", relative("pS6", builder.signal("pS6")))
    weight = builder.parameter("survive_pS6_weight")
    lost = 1 / (1 + x * x) * 1 / (1 + e * e) * (1 - weight * s / (1 + s))
    builder.expression("survival_score", 1 - lost)


SURVIVAL = Module(
    "survival",
    "PIM1, BCL-XL, C/EBPalpha, survival score (assumed)",
    inputs=("pSTAT5", "pSTAT3", "pERK", "pS6"),
    outputs=("PIM1", "BCLXL", "pCEBPA", "survival_score"),
    species=species,
    rules=rules,
)
