"""FLT3 ligand and drug slots go in; phosphorylated FLT3 of the two allele slots comes out.

In: monomers FL and DRUG1 to DRUG4.
Out: observables `pFLT3A`, `pFLT3B`.

One set of rules for both slots; the allele in a slot sets the balance of its conformations and how readily it
dimerises without ligand. Four independent things happen to a receptor:

* It binds ligand. FL is dimeric; `ligand` counts one receptor-binding site of it.
* It dimerises, with its own slot or the other. A dimer is kept in mean-field form: a receptor knows the slot of its
  partner, not the partner's state, which is taken as the mean over all partners of that kind. So 60 species per slot
  replace some thousands. On-rates carry one factor per ligand-bound protomer and one propensity per protomer,

      kon(a, b) = kon * propensity_a * propensity_b * factor ** (number of bound ligands),

  and one off-rate serves all dimers; a bound ligand leaves a dimer more slowly by the same factor (detailed balance).
  As on-rates factorise and off-rates agree, A with partner B always equals B with partner A.
* Its kinase changes between an inactive and an active conformation. A type I drug binds both, a type II drug the
  inactive one only, and holds it there.
* It is phosphorylated in trans, at a rate proportional to the fraction of its partners whose kinase is active and
  free of drug, whatever its own kinase does; phosphatases (PTPRJ, PTPN6 and others, pooled) act at all times.
"""

from __future__ import annotations

import pysb

from .building import ModelBuilder
from .motifs import convert, drug_off_rate, occupy_pocket
from .parameters import ALLELE_SLOTS


def flt3(builder: ModelBuilder) -> None:
    """Add the receptor in both slots."""
    for slot in ALLELE_SLOTS:
        _receptor(builder, slot)
    for slot in ALLELE_SLOTS:
        _bind_ligand(builder, slot)
        _dimerise(builder, slot)
        _change_conformation(builder, slot)
        _bind_drugs(builder, slot)
        _phosphorylate(builder, slot)


def _receptor(builder: ModelBuilder, slot: str) -> None:
    """Add monomer and observables of one slot."""
    receptor = builder.monomer(
        f"FLT3{slot}",
        ligand=["none", "FL"],
        partner=["none", *ALLELE_SLOTS],
        kinase=["inactive", "active"],
        drug=["none", "I", "II"],
        y=["u", "p"],
    )
    builder.initial(
        receptor(ligand="none", partner="none", kinase="inactive", drug="none", y="u"), f"amount_FLT3{slot}_total"
    )
    builder.observable(f"total_FLT3{slot}", receptor())
    builder.observable(f"pFLT3{slot}", receptor(y="p"))
    builder.observable(f"single_FLT3{slot}", receptor(partner="none", ligand="none"))
    builder.observable(f"single_FLT3{slot}_FL", receptor(partner="none", ligand="FL"))
    for partner in ALLELE_SLOTS:
        builder.observable(f"paired_FLT3{slot}_{partner}", receptor(partner=partner))
        builder.observable(f"working_FLT3{slot}_{partner}", receptor(partner=partner, kinase="active", drug="none"))


def _monomer(builder: ModelBuilder, slot: str) -> pysb.Monomer:
    return builder.model.monomers[f"FLT3{slot}"]


def _bind_ligand(builder: ModelBuilder, slot: str) -> None:
    receptor, ligand = _monomer(builder, slot), builder.model.monomers["FL"]
    kon = builder.parameter("bind_FL_FLT3_kon")
    koff = builder.constant("bind_FL_FLT3_koff", kon * builder.parameter("bind_FL_FLT3_kd"))
    koff_paired = builder.constant("bind_FL_FLT3dimer_koff", koff / builder.parameter("dimerise_FLT3_ligand_factor"))
    builder.rule(f"bind_FL_FLT3{slot}", ligand() + receptor(ligand="none") >> ligand() + receptor(ligand="FL"), kon)
    for partner in ("none", *ALLELE_SLOTS):
        convert(
            builder,
            f"unbind_FL_FLT3{slot}_{partner}",
            receptor(ligand="FL", partner=partner),
            receptor(ligand="none", partner=partner),
            koff if partner == "none" else koff_paired,
        )


def _dimerise(builder: ModelBuilder, slot: str) -> None:
    receptor = _monomer(builder, slot)
    koff = builder.parameter("dimerise_FLT3_koff")
    kon = builder.constant("dimerise_FLT3_kon", koff / builder.parameter("dimerise_FLT3_kd"))
    factor = builder.parameter("dimerise_FLT3_ligand_factor")
    for partner in ALLELE_SLOTS:
        propensities = builder.parameter(f"dimerise_FLT3{slot}_propensity")
        propensities *= builder.parameter(f"dimerise_FLT3{partner}_propensity")
        available = builder.model.observables[f"single_FLT3{partner}"]
        available = available + factor * builder.model.observables[f"single_FLT3{partner}_FL"]
        encounter = builder.expression(f"dimerise_FLT3{slot}_{partner}_rate", kon * propensities * available)
        encounter_FL = builder.expression(
            f"dimerise_FLT3{slot}_{partner}_FL_rate", kon * factor * propensities * available
        )
        for ligand, rate in (("none", encounter), ("FL", encounter_FL)):
            convert(
                builder,
                f"dimerise_FLT3{slot}_{partner}_{ligand}",
                receptor(ligand=ligand, partner="none"),
                receptor(ligand=ligand, partner=partner),
                rate,
            )
        convert(builder, f"part_FLT3{slot}_{partner}", receptor(partner=partner), receptor(partner="none"), koff)


def _change_conformation(builder: ModelBuilder, slot: str) -> None:
    receptor = _monomer(builder, slot)
    activation = builder.parameter("change_FLT3_activation")
    back = builder.constant(f"change_FLT3{slot}_inactivation", activation / builder.parameter(f"change_FLT3{slot}_keq"))
    back_bound = builder.constant(
        f"change_FLT3{slot}_typeI_inactivation", back / builder.parameter("bind_typeI_FLT3active_factor")
    )
    for drug, inactivation in (("none", back), ("I", back_bound)):
        builder.rule(
            f"change_FLT3{slot}_{drug}",
            receptor(kinase="inactive", drug=drug) | receptor(kinase="active", drug=drug),
            activation,
            inactivation,
        )


def _bind_drugs(builder: ModelBuilder, slot: str) -> None:
    receptor = _monomer(builder, slot)
    off_I = builder.expression(f"unbind_FLT3{slot}_typeI_rate", drug_off_rate(builder, f"FLT3{slot}_typeI"))
    off_I_active = builder.expression(
        f"unbind_FLT3{slot}active_typeI_rate", off_I / builder.parameter("bind_typeI_FLT3active_factor")
    )
    off_II = builder.expression(f"unbind_FLT3{slot}_typeII_rate", drug_off_rate(builder, f"FLT3{slot}_typeII"))
    occupy_pocket(
        builder,
        f"FLT3{slot}_typeI",
        receptor(drug="none"),
        receptor(drug="I"),
        [
            (f"_{kinase}", receptor(drug="I", kinase=kinase), receptor(drug="none", kinase=kinase), rate)
            for kinase, rate in (("inactive", off_I), ("active", off_I_active))
        ],
    )
    occupy_pocket(
        builder,
        f"FLT3{slot}_typeII",
        receptor(drug="none", kinase="inactive"),
        receptor(drug="II", kinase="inactive"),
        [("", receptor(drug="II"), receptor(drug="none"), off_II)],
    )


def _phosphorylate(builder: ModelBuilder, slot: str) -> None:
    receptor = _monomer(builder, slot)
    kcat = builder.parameter("phosphorylate_FLT3_kcat")
    nothing = builder.parameter("guard_amount")
    observables = builder.model.observables
    for partner in ALLELE_SLOTS:
        working = observables[f"working_FLT3{partner}_{slot}"]
        paired = observables[f"paired_FLT3{partner}_{slot}"]
        rate = builder.expression(f"phosphorylate_FLT3{slot}_{partner}_rate", kcat * working / (paired + nothing))
        convert(
            builder,
            f"phosphorylate_FLT3{slot}_{partner}",
            receptor(partner=partner, y="u"),
            receptor(partner=partner, y="p"),
            rate,
        )
    convert(
        builder,
        f"dephosphorylate_FLT3{slot}",
        receptor(y="p"),
        receptor(y="u"),
        builder.parameter("dephosphorylate_FLT3_rate"),
    )
