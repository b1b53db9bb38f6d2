"""Receptor activities, RAS-GTP, pERK, PIM1 and drugs go in; pAKT, pGSK3B, pS6K and pS6 come out.

In: phosphorylated receptors, `RASgtp`, `pERK`, `PIM1`; monomers DRUG1 to DRUG4.
Out: observables `pAKT`, `pGSK3B`, `pTSC2`, `pRSK`, `pS6K`, `pS6`.

`PI3K` is the class I catalytic subunit with its adaptor, `AKT` AKT1 to AKT3 (T308 and S473 in one step), `GSK3B` S9,
`TSC2` the TSC complex, `MTORC1` MTOR with RPTOR, `S6K` RPS6KB1 (T389), `RSK` RPS6KA1 to RPS6KA3, `S6` RPS6 (S235/S236).

Receptors, and an input that needs none (serum), bring PI3K to the membrane, where it makes PIP3; PTEN removes it.
AKT inactivates GSK3B and TSC2. TSC2, while not phosphorylated, switches MTORC1 off; AKT, RSK and PIM1 all lift that
brake, so that S6 listens to FLT3 by three roads. S6K and RSK both phosphorylate S6.
"""

from __future__ import annotations

from .building import ModelBuilder, Module
from .motifs import catalyse, convert, occupy_pocket, phosphoprotein, switch, weighted_sum

RECEPTORS = ("FLT3A_surface", "FLT3B_surface", "KIT", "AXL", "CXCR4", "CSF2R", "IL3R")
PHOSPHOSITES = {"AKT": "s473", "GSK3B": "s9", "TSC2": "t1462", "RSK": "s380", "S6K": "t389", "S6": "s235"}


def species(builder: ModelBuilder) -> None:
    """Add PI3K, PIP3 and the proteins below."""
    pi3k = builder.monomer("PI3K", place=["cytosol", "membrane"], drug=["none", "bound"])
    builder.initial(pi3k(place="cytosol", drug="none"), "amount_PI3K_total")
    builder.observable("total_PI3K", pi3k())
    builder.observable("PIP3_amount", builder.monomer("PIP3")())
    for name, site in PHOSPHOSITES.items():
        phosphoprotein(builder, name, site)
    mtorc1 = builder.monomer("MTORC1", activity=["off", "on"], drug=["none", "bound"])
    builder.initial(mtorc1(activity="off", drug="none"), "amount_MTORC1_total")
    builder.observable("total_MTORC1", mtorc1())


def rules(builder: ModelBuilder) -> None:
    """Go from the membrane to S6."""
    _make_pip3(builder)
    switch(builder, "AKT", "s473", {"PIP3": builder["PIP3"]()})
    switch(builder, "GSK3B", "s9", {"AKT": builder["AKT"](s473="p")})
    switch(builder, "RSK", "s380", {"ERK": builder.signal("pERK")})
    switch(
        builder,
        "TSC2",
        "t1462",
        {"AKT": builder["AKT"](s473="p"), "RSK": builder["RSK"](s380="p"), "PIM1": builder.signal("PIM1")},
    )
    _switch_mtorc1(builder)
    switch(builder, "S6K", "t389", {"MTORC1": builder["MTORC1"](activity="on", drug="none")})
    switch(builder, "S6", "s235", {"S6K": builder["S6K"](t389="p"), "RSK": builder["RSK"](s380="p")})


def _make_pip3(builder: ModelBuilder) -> None:
    pi3k, pip3 = builder["PI3K"], builder["PIP3"]
    ras = builder.parameter("drive_PI3K_RAS_weight") * builder.signal("RASgtp")
    basal = builder.parameter("drive_PI3K_basal")
    drive = builder.expression("drive_PI3K", basal + weighted_sum(builder, "PI3K", RECEPTORS) + ras)
    recruitment = builder.expression("recruit_PI3K_rate", builder.parameter("recruit_PI3K_kon") * drive)
    back = builder.parameter("recruit_PI3K_koff")
    builder.rule("recruit_PI3K", pi3k(place="cytosol") | pi3k(place="membrane"), recruitment, back)
    occupy_pocket(builder, "PI3K", pi3k(drug="none"), pi3k(drug="bound"))
    working = pi3k(place="membrane", drug="none")
    builder.rule("make_PIP3", working >> working + pip3(), builder.parameter("make_PIP3_PI3K_kcat"))
    builder.rule("remove_PIP3", pip3() >> None, builder.parameter("remove_PIP3_PTEN_rate"))


def _switch_mtorc1(builder: ModelBuilder) -> None:
    mtorc1, brake = builder["MTORC1"], builder["TSC2"](t1462="u")
    on, off = mtorc1(activity="on"), mtorc1(activity="off")
    convert(builder, "activate_MTORC1", off, on, builder.parameter("activate_MTORC1_rate"))
    convert(builder, "inactivate_MTORC1", on, off, builder.parameter("inactivate_MTORC1_rate"))
    catalyse(builder, "inactivate_MTORC1_TSC2", brake, on, off, builder.parameter("inactivate_MTORC1_TSC2_kcat"))
    occupy_pocket(builder, "MTORC1", mtorc1(drug="none"), mtorc1(drug="bound"))


PI3K_S6 = Module(
    "pi3k_s6",
    "PI3K, AKT, mTORC1, S6",
    inputs=(*(f"p{receptor}" for receptor in RECEPTORS), "RASgtp", "pERK", "PIM1"),
    outputs=("pAKT", "pGSK3B", "pTSC2", "pRSK", "pS6K", "pS6"),
    species=species,
    rules=rules,
)
