"""Receptor activities and drug slots go in; pMEK, pERK and the feedbacks on SOS, RAF and DUSP come out.

In: observables `pFLT3A`, `pFLT3B`, `pFGFR1`, `pJAK2`; monomers DRUG1 to DRUG4.
Out: observables `RASgtp`, `pMEK`, `pERK`, `pSOS`, `pRAF`, `total_DUSP`.

`RAS` is HRAS, KRAS and NRAS, `RAF` is BRAF and RAF1, `MEK` is MAP2K1 and MAP2K2 (S217 and S221 in one step), `ERK` is
MAPK1 and MAPK3 (neither, one or both of T202 and Y204; `pERK` is both), `DUSP` is DUSP4 and DUSP6, `SOS` is SOS1 and
SOS2.

Every receptor, and an input that needs no receptor of the model (serum, autocrine), is heard as one weighted sum
that brings SOS, bound to GRB2, to the membrane. RAF binds RAS-GTP, which is then out of reach of the GAPs, and
dimerises only when both protomers are on RAS-GTP; each protomer of a dimer phosphorylates MEK. Phosphorylation of
SOS (S1134) weakens its hold on GRB2, that of RAF weakens RAS binding and dimerisation: the factor stands in the
off-rate. DUSP mRNA follows pERK. A MEK inhibitor blocks both the kinase and, but for a residual, its phosphorylation.
"""

from __future__ import annotations

from pysb import ANY

from .building import ModelBuilder
from .motifs import catalyse, convert, drug_mean, drug_off_rate, occupy_pocket, weighted_sum


def ras_mapk(builder: ModelBuilder) -> None:
    """Add SOS, RAS, RAF, MEK, ERK and DUSP."""
    _monomers(builder)
    _recruit_sos(builder)
    _load_ras(builder)
    _activate_raf(builder)
    _phosphorylate_mek(builder)
    _inhibit_mek(builder)
    _phosphorylate_erk(builder)
    _feedback(builder)
    _express_dusp(builder)


def _monomers(builder: ModelBuilder) -> None:
    grb2 = builder.monomer("GRB2", sos=None)
    sos = builder.monomer("SOS", grb2=None, place=["cytosol", "membrane"], s1134=["u", "p"])
    ras = builder.monomer("RAS", raf=None, nucleotide=["gdp", "gtp"])
    raf = builder.monomer("RAF", ras=None, raf=None, s=["u", "p"])
    mek = builder.monomer("MEK", drug=["none", "bound"], s=["u", "p"])
    erk = builder.monomer("ERK", ty=["u", "p", "pp"])
    dusp = builder.monomer("DUSP")
    mrna = builder.monomer("mRNA_DUSP")

    builder.initial(grb2(sos=None), "amount_GRB2_total")
    builder.initial(sos(grb2=None, place="cytosol", s1134="u"), "amount_SOS_total")
    builder.initial(ras(raf=None, nucleotide="gdp"), "amount_RAS_total")
    builder.initial(raf(ras=None, raf=None, s="u"), "amount_RAF_total")
    builder.initial(mek(drug="none", s="u"), "amount_MEK_total")
    builder.initial(erk(ty="u"), "amount_ERK_total")

    for monomer in (grb2, sos, ras, raf, mek, erk, dusp, mrna):
        builder.observable(f"total_{monomer.name}", monomer())
    builder.observable("membrane_SOS", sos(place="membrane"))
    builder.observable("pSOS", sos(s1134="p"))
    builder.observable("RASgtp", ras(nucleotide="gtp"))
    builder.observable("dimeric_RAF", raf(raf=ANY))
    builder.observable("pRAF", raf(s="p"))
    builder.observable("pMEK", mek(s="p"))
    builder.observable("pERK", erk(ty="pp"))


def _recruit_sos(builder: ModelBuilder) -> None:
    grb2, sos = builder.model.monomers["GRB2"], builder.model.monomers["SOS"]
    kon = builder.parameter("bind_GRB2_SOS_kon")
    koff = builder.constant("bind_GRB2_SOS_koff", kon * builder.parameter("bind_GRB2_SOS_kd"))
    koff_p = builder.constant("bind_GRB2_pSOS_koff", koff * builder.parameter("bind_GRB2_pSOS_kd_factor"))
    for s1134, rate in (("u", koff), ("p", koff_p)):
        builder.rule(
            f"bind_GRB2_SOS_{s1134}",
            grb2(sos=None) + sos(grb2=None, place="cytosol", s1134=s1134)
            | grb2(sos=1) % sos(grb2=1, place="cytosol", s1134=s1134),
            kon,
            rate,
        )
    observables = builder.model.observables
    drive = builder.expression(
        "drive_SOS",
        builder.parameter("drive_SOS_serum")
        + weighted_sum(
            builder,
            [
                ("drive_SOS_FLT3A_weight", observables["pFLT3A"]),
                ("drive_SOS_FLT3B_weight", observables["pFLT3B"]),
                ("drive_SOS_FGFR1_weight", observables["pFGFR1"]),
                ("drive_SOS_JAK2_weight", observables["pJAK2"]),
            ],
        ),
    )
    recruitment = builder.expression("recruit_SOS_rate", builder.parameter("recruit_SOS_kon") * drive)
    builder.rule(
        "recruit_SOS",
        sos(grb2=1, place="cytosol") % grb2(sos=1) | sos(grb2=1, place="membrane") % grb2(sos=1),
        recruitment,
        builder.parameter("recruit_SOS_koff"),
    )


def _load_ras(builder: ModelBuilder) -> None:
    ras, sos = builder.model.monomers["RAS"], builder.model.monomers["SOS"]
    catalyse(
        builder,
        "load_RAS_SOS",
        sos(place="membrane"),
        ras(raf=None, nucleotide="gdp"),
        ras(raf=None, nucleotide="gtp"),
        builder.parameter("load_RAS_SOS_kcat"),
    )
    convert(
        builder,
        "hydrolyse_RASgtp",
        ras(raf=None, nucleotide="gtp"),
        ras(raf=None, nucleotide="gdp"),
        builder.parameter("hydrolyse_RASgtp_rate"),
    )


def _activate_raf(builder: ModelBuilder) -> None:
    ras, raf = builder.model.monomers["RAS"], builder.model.monomers["RAF"]
    kon = builder.parameter("bind_RAF_RASgtp_kon")
    koff = builder.constant("bind_RAF_RASgtp_koff", kon * builder.parameter("bind_RAF_RASgtp_kd"))
    koff_p = builder.constant("bind_pRAF_RASgtp_koff", koff * builder.parameter("bind_pRAF_RASgtp_kd_factor"))
    for s, rate in (("u", koff), ("p", koff_p)):
        builder.rule(
            f"bind_RAF_RASgtp_{s}",
            ras(raf=None, nucleotide="gtp") + raf(ras=None, raf=None, s=s)
            | ras(raf=1, nucleotide="gtp") % raf(ras=1, raf=None, s=s),
            kon,
            rate,
        )
    pairing = builder.parameter("dimerise_RAF_kon")
    parting = builder.constant("dimerise_RAF_koff", pairing * builder.parameter("dimerise_RAF_kd"))
    factor = builder.parameter("dimerise_pRAF_kd_factor")
    parting_p = builder.constant("dimerise_RAF_pRAF_koff", parting * factor)
    parting_pp = builder.constant("dimerise_pRAF_pRAF_koff", parting * factor * factor)
    for first, second, rate in (("u", "u", parting), ("u", "p", parting_p), ("p", "p", parting_pp)):
        builder.rule(
            f"dimerise_RAF_{first}{second}",
            raf(ras=ANY, raf=None, s=first) + raf(ras=ANY, raf=None, s=second)
            | raf(ras=ANY, raf=1, s=first) % raf(ras=ANY, raf=1, s=second),
            pairing,
            rate,
        )


def _phosphorylate_mek(builder: ModelBuilder) -> None:
    raf, mek = builder.model.monomers["RAF"], builder.model.monomers["MEK"]
    kcat = builder.parameter("phosphorylate_MEK_RAF_kcat")
    catalyse(builder, "phosphorylate_MEK_RAF", raf(raf=ANY), mek(drug="none", s="u"), mek(drug="none", s="p"), kcat)
    residual = builder.expression("phosphorylate_inhibitedMEK_RAF_kcat", kcat * drug_mean(builder, "MEK", "residual"))
    catalyse(
        builder,
        "phosphorylate_inhibitedMEK_RAF",
        raf(raf=ANY),
        mek(drug="bound", s="u"),
        mek(drug="bound", s="p"),
        residual,
    )
    convert(builder, "dephosphorylate_MEK", mek(s="p"), mek(s="u"), builder.parameter("dephosphorylate_MEK_rate"))


def _inhibit_mek(builder: ModelBuilder) -> None:
    mek = builder.model.monomers["MEK"]
    off = builder.expression("unbind_MEK_rate", drug_off_rate(builder, "MEK"))
    off_p = builder.expression("unbind_pMEK_rate", drug_off_rate(builder, "MEK", kd_factor="pMEK_factor"))
    occupy_pocket(
        builder,
        "MEK",
        mek(drug="none"),
        mek(drug="bound"),
        [(f"_{s}", mek(drug="bound", s=s), mek(drug="none", s=s), rate) for s, rate in (("u", off), ("p", off_p))],
    )


def _phosphorylate_erk(builder: ModelBuilder) -> None:
    mek, erk, dusp = (builder.model.monomers[name] for name in ("MEK", "ERK", "DUSP"))
    kinase = builder.parameter("phosphorylate_ERK_MEK_kcat")
    phosphatase = builder.parameter("dephosphorylate_ERK_DUSP_kcat")
    basal = builder.parameter("dephosphorylate_ERK_rate")
    for lower, higher in (("u", "p"), ("p", "pp")):
        catalyse(
            builder, f"phosphorylate_ERK_MEK_{higher}", mek(drug="none", s="p"), erk(ty=lower), erk(ty=higher), kinase
        )
        catalyse(builder, f"dephosphorylate_ERK_DUSP_{higher}", dusp(), erk(ty=higher), erk(ty=lower), phosphatase)
        convert(builder, f"dephosphorylate_ERK_{higher}", erk(ty=higher), erk(ty=lower), basal)


def _feedback(builder: ModelBuilder) -> None:
    erk, sos, raf = (builder.model.monomers[name] for name in ("ERK", "SOS", "RAF"))
    for name, target, site in (("SOS", sos, "s1134"), ("RAF", raf, "s")):
        catalyse(
            builder,
            f"phosphorylate_{name}_ERK",
            erk(ty="pp"),
            target(**{site: "u"}),
            target(**{site: "p"}),
            builder.parameter(f"phosphorylate_{name}_ERK_kcat"),
        )
        convert(
            builder,
            f"dephosphorylate_{name}",
            target(**{site: "p"}),
            target(**{site: "u"}),
            builder.parameter(f"dephosphorylate_{name}_rate"),
        )


def _express_dusp(builder: ModelBuilder) -> None:
    """Transcribe DUSP with pERK: rate = basal * (1 + slope * pERK / (km + pERK))."""
    mrna, dusp = builder.model.monomers["mRNA_DUSP"], builder.model.monomers["DUSP"]
    erk = builder.model.observables["pERK"]
    slope, km = builder.parameter("transcribe_DUSP_ERK_slope"), builder.parameter("transcribe_DUSP_ERK_km")
    basal = builder.parameter("transcribe_DUSP_basal_rate")
    transcription = builder.expression("transcribe_DUSP_rate", basal * (1 + slope * erk / (km + erk)))
    builder.rule("transcribe_DUSP", None >> mrna(), transcription)
    builder.rule("degrade_mRNA_DUSP", mrna() >> None, builder.parameter("degrade_mRNA_DUSP_rate"))
    builder.rule("translate_DUSP", mrna() >> mrna() + dusp(), builder.parameter("translate_DUSP_rate"))
    builder.rule("degrade_DUSP", dusp() >> None, builder.parameter("degrade_DUSP_rate"))
