"""Receptor activities, pS6K and drugs go in; RAS-GTP, pMEK, pERK and the feedbacks of ERK come out.

In: phosphorylated receptors, `pS6K`; monomers DRUG1 to DRUG4.
Out: observables `pSHP2`, `RASgtp`, `pMEK`, `pERK`, `pSOS`, `pRAF`, `DUSP6`, `SPRY`.

`SHP2` is PTPN11 with GAB2, `SOS` SOS1 and SOS2, `RAS` HRAS, KRAS and NRAS, `RAF` BRAF and RAF1, `MEK` MAP2K1 and
MAP2K2 (S217 and S221 in one step), `ERK` MAPK1 and MAPK3 (neither, one or both of T202 and Y204; `pERK` is both),
`DUSP6` DUSP4 and DUSP6, `SPRY` SPRY2 and SPRY4.

From the membrane to RAS. Every receptor, and an input that needs no receptor of the model (serum, autocrine), is
heard as one weighted sum. It phosphorylates SHP2, and brings SOS, bound to GRB2, to the membrane, the more so the more
SHP2 is phosphorylated and the less S6K is (one lumped term for the brake of PI3K and mTORC1 on RAS). SOS loads RAS; NF1
and other GAPs unload it. A mutant RAS is loaded alike, but deaf to the GAPs.

From RAS to ERK. RAF binds RAS-GTP, which is then out of reach of the GAPs, and dimerises only when both protomers are
on RAS-GTP; each protomer of a dimer phosphorylates MEK. (BRAF V600E needs neither; it is there for comparison with
melanoma cells, and absent from leukaemia.) MEK in turn phosphorylates ERK, twice. A MEK inhibitor blocks the kinase
and, but for a residual, its phosphorylation.

Feedback within minutes: ERK phosphorylates SOS (S1134), which weakens its hold on GRB2, and RAF, which weakens RAS
binding and dimerisation; the factor stands in the off-rate. Feedback within hours: pERK makes DUSP6, which
dephosphorylates ERK, and SPRY, which takes GRB2 from SOS.
"""

from __future__ import annotations

from pysb import ANY

from .building import ModelBuilder, Module
from .motifs import (
    catalyse,
    convert,
    drug_mean,
    drug_off_rate,
    express,
    gene,
    occupy_pocket,
    phosphoprotein,
    weighted_sum,
)

RECEPTORS = ("FLT3A_surface", "FLT3B_surface", "FGFR1", "KIT", "AXL", "CXCR4", "CSF2R", "IL3R", "IL6R")


def species(builder: ModelBuilder) -> None:
    """Add the proteins from SHP2 to ERK, and DUSP6 and SPRY."""
    phosphoprotein(builder, "SHP2", "y")
    grb2 = builder.monomer("GRB2", sos=None)
    sos = builder.monomer("SOS", grb2=None, place=["cytosol", "membrane"], s1134=["u", "p"])
    nf1 = builder.monomer("NF1")
    ras = builder.monomer("RAS", raf=None, nucleotide=["gdp", "gtp"], gap=["sensitive", "insensitive"])
    raf = builder.monomer("RAF", ras=None, raf=None, s=["u", "p"])
    v600e = builder.monomer("BRAFV600E")
    mek = builder.monomer("MEK", drug=["none", "bound"], s=["u", "p"])
    erk = builder.monomer("ERK", ty=["u", "p", "pp"])

    builder.initial(grb2(sos=None), "amount_GRB2_total")
    builder.initial(sos(grb2=None, place="cytosol", s1134="u"), "amount_SOS_total")
    builder.initial(nf1(), "amount_NF1_total")
    builder.initial(ras(raf=None, nucleotide="gdp", gap="sensitive"), "amount_RAS_total")
    builder.initial(ras(raf=None, nucleotide="gdp", gap="insensitive"), "amount_RASmut_total")
    builder.initial(raf(ras=None, raf=None, s="u"), "amount_RAF_total")
    builder.initial(v600e(), "amount_BRAFV600E_total")
    builder.initial(mek(drug="none", s="u"), "amount_MEK_total")
    builder.initial(erk(ty="u"), "amount_ERK_total")

    for monomer in (grb2, sos, nf1, ras, raf, v600e, mek, erk):
        builder.observable(f"total_{monomer.name}", monomer())
    builder.observable("membrane_SOS", sos(place="membrane"))
    builder.observable("pSOS", sos(s1134="p"))
    builder.observable("RASgtp", ras(nucleotide="gtp"))
    builder.observable("dimeric_RAF", raf(raf=ANY))
    builder.observable("pRAF", raf(s="p"))
    builder.observable("pMEK", mek(s="p"))
    builder.observable("pERK", erk(ty="pp"))

    gene(builder, "DUSP6")
    spry = builder.monomer("protein_SPRY", grb2=None)
    builder.observable("SPRY_mRNA", builder.monomer("mRNA_SPRY")())
    builder.observable("SPRY", spry())


def rules(builder: ModelBuilder) -> None:
    """Go from the membrane to ERK, and back."""
    _drive(builder)
    _recruit_sos(builder)
    _load_ras(builder)
    _activate_raf(builder)
    _phosphorylate_mek(builder)
    _inhibit_mek(builder)
    _phosphorylate_erk(builder)
    _fast_feedback(builder)
    _slow_feedback(builder)


def _drive(builder: ModelBuilder) -> None:
    """Add up the receptors, and open the gate of SHP2: gate = closed + (1 - closed) * pSHP2 / SHP2."""
    basal = builder.parameter("drive_SOS_basal")
    drive = builder.expression("drive_SOS", basal + weighted_sum(builder, "SOS", RECEPTORS))
    shp2 = builder["SHP2"]
    rate = builder.expression("phosphorylate_SHP2_rate", builder.parameter("phosphorylate_SHP2_kcat") * drive)
    convert(builder, "phosphorylate_SHP2", shp2(y="u"), shp2(y="p"), rate)
    convert(builder, "dephosphorylate_SHP2", shp2(y="p"), shp2(y="u"), builder.parameter("dephosphorylate_SHP2_rate"))
    closed, total = builder.parameter("recruit_SOS_withoutSHP2_fraction"), builder.parameter("amount_SHP2_total")
    gate = builder.expression("gate_SOS_SHP2", closed + (1 - closed) * builder.observed("pSHP2") / total)
    brake = 1 + builder.signal("pS6K") / builder.parameter("brake_SOS_S6K_ki")
    builder.expression("recruit_SOS_rate", builder.parameter("recruit_SOS_kon") * drive * gate / brake)


def _recruit_sos(builder: ModelBuilder) -> None:
    grb2, sos = builder["GRB2"], builder["SOS"]
    kon = builder.parameter("bind_GRB2_SOS_kon")
    koff = builder.expression("bind_GRB2_SOS_koff", kon * builder.parameter("bind_GRB2_SOS_kd"))
    koff_p = builder.expression("bind_GRB2_pSOS_koff", koff * builder.parameter("bind_GRB2_pSOS_kd_factor"))
    for s1134, rate in (("u", koff), ("p", koff_p)):
        free, bound = sos(grb2=None, place="cytosol", s1134=s1134), sos(grb2=1, place="cytosol", s1134=s1134)
        builder.rule(f"bind_GRB2_SOS_{s1134}", grb2(sos=None) + free | grb2(sos=1) % bound, kon, rate)
    recruitment, back = builder.model.expressions["recruit_SOS_rate"], builder.parameter("recruit_SOS_koff")
    cytosol, membrane = sos(grb2=1, place="cytosol"), sos(grb2=1, place="membrane")
    builder.rule("recruit_SOS", cytosol % grb2(sos=1) | membrane % grb2(sos=1), recruitment, back)


def _load_ras(builder: ModelBuilder) -> None:
    """Load by SOS; unload by NF1, by other GAPs, and, slowly, without any."""
    ras = builder["RAS"](raf=None)
    gdp, gtp = ras(nucleotide="gdp"), ras(nucleotide="gtp")
    sos = builder["SOS"](place="membrane")
    catalyse(builder, "load_RAS_SOS", sos, gdp, gtp, builder.parameter("load_RAS_SOS_kcat"))
    normal, mutant = ((gtp(gap=gap), gdp(gap=gap)) for gap in ("sensitive", "insensitive"))
    nf1, kcat = builder["NF1"](), builder.parameter("hydrolyse_RASgtp_NF1_kcat")
    catalyse(builder, "hydrolyse_RASgtp_NF1", nf1, *normal, kcat)
    convert(builder, "hydrolyse_RASgtp_GAP", *normal, builder.parameter("hydrolyse_RASgtp_GAP_rate"))
    convert(builder, "hydrolyse_mutantRASgtp", *mutant, builder.parameter("hydrolyse_mutantRASgtp_rate"))


def _activate_raf(builder: ModelBuilder) -> None:
    ras, raf = builder["RAS"], builder["RAF"]
    kon = builder.parameter("bind_RAF_RASgtp_kon")
    koff = builder.expression("bind_RAF_RASgtp_koff", kon * builder.parameter("bind_RAF_RASgtp_kd"))
    koff_p = builder.expression("bind_pRAF_RASgtp_koff", koff * builder.parameter("bind_pRAF_RASgtp_kd_factor"))
    for s, rate in (("u", koff), ("p", koff_p)):
        free = ras(raf=None, nucleotide="gtp") + raf(ras=None, raf=None, s=s)
        builder.rule(f"bind_RAF_RASgtp_{s}", free | ras(raf=1, nucleotide="gtp") % raf(ras=1, raf=None, s=s), kon, rate)
    pairing = builder.parameter("dimerise_RAF_kon")
    parting = builder.expression("dimerise_RAF_koff", pairing * builder.parameter("dimerise_RAF_kd"))
    factor = builder.parameter("dimerise_pRAF_kd_factor")
    parting_p = builder.expression("dimerise_RAF_pRAF_koff", parting * factor)
    parting_pp = builder.expression("dimerise_pRAF_pRAF_koff", parting * factor * factor)
    for first, second, rate in (("u", "u", parting), ("u", "p", parting_p), ("p", "p", parting_pp)):
        apart = raf(ras=ANY, raf=None, s=first) + raf(ras=ANY, raf=None, s=second)
        together = raf(ras=ANY, raf=1, s=first) % raf(ras=ANY, raf=1, s=second)
        builder.rule(f"dimerise_RAF_{first}{second}", apart | together, pairing, rate)


def _phosphorylate_mek(builder: ModelBuilder) -> None:
    mek, kcat = builder["MEK"], builder.parameter("phosphorylate_MEK_RAF_kcat")
    factor = drug_mean(builder, "MEK", "residual")
    inhibited = builder.expression("phosphorylate_inhibitedMEK_RAF_kcat", kcat * factor)
    for name, raf in (("RAF", builder["RAF"](raf=ANY)), ("BRAFV600E", builder["BRAFV600E"]())):
        for pocket, rate in (("none", kcat), ("bound", inhibited)):
            before, after = mek(drug=pocket, s="u"), mek(drug=pocket, s="p")
            catalyse(builder, f"phosphorylate_MEK_{name}_{pocket}", raf, before, after, rate)
    convert(builder, "dephosphorylate_MEK", mek(s="p"), mek(s="u"), builder.parameter("dephosphorylate_MEK_rate"))


def _inhibit_mek(builder: ModelBuilder) -> None:
    mek = builder["MEK"]
    off = builder.expression("unbind_MEK_rate", drug_off_rate(builder, "MEK"))
    off_p = builder.expression("unbind_pMEK_rate", drug_off_rate(builder, "MEK", kd_factor="pMEK_factor"))
    leave = [(f"_{s}", mek(drug="bound", s=s), mek(drug="none", s=s), rate) for s, rate in (("u", off), ("p", off_p))]
    occupy_pocket(builder, "MEK", mek(drug="none"), mek(drug="bound"), leave)


def _phosphorylate_erk(builder: ModelBuilder) -> None:
    erk, kinase, phosphatase = builder["ERK"], builder["MEK"](drug="none", s="p"), builder["protein_DUSP6"]()
    kcat, kcat_back = (
        builder.parameter(name) for name in ("phosphorylate_ERK_MEK_kcat", "dephosphorylate_ERK_DUSP6_kcat")
    )
    basal = builder.parameter("dephosphorylate_ERK_rate")
    for lower, higher in (("u", "p"), ("p", "pp")):
        catalyse(builder, f"phosphorylate_ERK_MEK_{higher}", kinase, erk(ty=lower), erk(ty=higher), kcat)
        catalyse(builder, f"dephosphorylate_ERK_DUSP6_{higher}", phosphatase, erk(ty=higher), erk(ty=lower), kcat_back)
        convert(builder, f"dephosphorylate_ERK_{higher}", erk(ty=higher), erk(ty=lower), basal)


def _fast_feedback(builder: ModelBuilder) -> None:
    active = builder["ERK"](ty="pp")
    for name, site in (("SOS", "s1134"), ("RAF", "s")):
        before, after = builder[name](**{site: "u"}), builder[name](**{site: "p"})
        kcat, back = (builder.parameter(p) for p in (f"phosphorylate_{name}_ERK_kcat", f"dephosphorylate_{name}_rate"))
        catalyse(builder, f"phosphorylate_{name}_ERK", active, before, after, kcat)
        convert(builder, f"dephosphorylate_{name}", after, before, back)


def _slow_feedback(builder: ModelBuilder) -> None:
    """Express DUSP6 and SPRY; SPRY holds GRB2 where SOS would, and is degraded there too."""
    erk, spry, grb2 = builder.observed("pERK"), builder["protein_SPRY"], builder["GRB2"]
    express(builder, "DUSP6", erk)
    express(builder, "SPRY", erk, spry(grb2=None))
    kon = builder.parameter("bind_SPRY_GRB2_kon")
    koff = builder.expression("bind_SPRY_GRB2_koff", kon * builder.parameter("bind_SPRY_GRB2_kd"))
    bound = spry(grb2=1) % grb2(sos=1)
    builder.rule("bind_SPRY_GRB2", spry(grb2=None) + grb2(sos=None) | bound, kon, koff)
    builder.rule("degrade_SPRY_GRB2", bound >> grb2(sos=None), builder.parameter("degrade_SPRY_rate"))


RAS_MAPK = Module(
    "ras_mapk",
    "SHP2, SOS, RAS, RAF, MEK, ERK; DUSP6, SPRY",
    inputs=(*(f"p{receptor}" for receptor in RECEPTORS), "pS6K"),
    outputs=("pSHP2", "RASgtp", "pMEK", "pERK", "pSOS", "pRAF", "DUSP6", "SPRY"),
    species=species,
    rules=rules,
)
