"""FLT3 ligand and drugs go in; phosphorylated FLT3 of the two allele slots, in the ER and at the surface, comes out.

One set of rules for both slots; the allele in a slot sets the balance of its conformations and how readily it
dimerises without ligand. What happens to a receptor:

* It is made in the endoplasmic reticulum (ER), matures to the surface and is degraded from there. Phosphorylated
  receptors mature more slowly and are degraded faster (CBL): so a receptor that is active without ligand is held back
  in the ER, and an inhibitor brings it to the surface.
* At the surface it binds ligand. FL is dimeric; `ligand` counts one receptor-binding site of it.
* It dimerises, with its own slot or the other, within its pool. A dimer is kept in mean-field form: a receptor knows
  the slot of its partner, not the partner's state, which is taken as the mean over all partners of that kind. So 90
  species per slot replace some thousands. On-rates carry one factor per ligand-bound protomer and one propensity per
  protomer,

      kon(a, b) = kon * propensity_a * propensity_b * factor ** (number of bound ligands),

  and one off-rate serves all dimers; a bound ligand leaves a dimer more slowly by the same factor (detailed balance).
  A dimer matures and is degraded as a whole, at the mean rate of its kind. So A with partner B stays equal to B with
  partner A.
* Its kinase changes between an inactive and an active conformation. A type I drug binds both, a type II drug the
  inactive one only, and holds it there.
* It is phosphorylated in trans, at a rate proportional to the fraction of its partners whose kinase is active and
  free of drug, whatever its own kinase does; phosphatases (PTPRJ, PTPN6 and others, pooled) act at all times.
"""

from __future__ import annotations

from itertools import product

import pysb
import sympy

from .building import ModelBuilder, Module
from .motifs import convert, drug_off_rate, occupy_pocket
from .parameters import ALLELE_SLOTS

PLACES = ("ER", "surface")
PARTNERS = ("none", *ALLELE_SLOTS)


def species(builder: ModelBuilder) -> None:
    """Add the receptor in both slots, and what is seen of it."""
    for slot in ALLELE_SLOTS:
        receptor = builder.monomer(
            f"FLT3{slot}",
            place=list(PLACES),
            ligand=["none", "FL"],
            partner=list(PARTNERS),
            kinase=["inactive", "active"],
            drug=["none", "I", "II"],
            y=["u", "p"],
        )
        start = receptor(place="surface", ligand="none", partner="none", kinase="inactive", drug="none", y="u")
        builder.initial(start, f"amount_FLT3{slot}_total")
        builder.observable(f"total_FLT3{slot}", receptor())
        builder.observable(f"pFLT3{slot}", receptor(y="p"))
        builder.observable(f"single_FLT3{slot}_FL", receptor(place="surface", partner="none", ligand="FL"))
        for place in PLACES:
            builder.observable(f"pFLT3{slot}_{place}", receptor(place=place, y="p"))
            for partner in PARTNERS:
                kind = receptor(place=place, partner=partner)
                builder.observable(f"FLT3{slot}_{place}_{partner}", kind)
                builder.observable(f"pFLT3{slot}_{place}_{partner}", kind(y="p"))
                if partner != "none":
                    builder.observable(f"working_FLT3{slot}_{place}_{partner}", kind(kinase="active", drug="none"))
    first, second = (builder[f"FLT3{slot}"] for slot in ALLELE_SLOTS)
    builder.observable("pFLT3", first(y="p") + second(y="p"))
    builder.observable("surface_FLT3", first(place="surface") + second(place="surface"))


def rules(builder: ModelBuilder) -> None:
    """Add everything that happens to the receptor."""
    for slot in ALLELE_SLOTS:
        _make(builder, slot)
        _bind_ligand(builder, slot)
        _dimerise(builder, slot)
        _change_conformation(builder, slot)
        _bind_drugs(builder, slot)
        _phosphorylate(builder, slot)
    for place in PLACES:
        _leave(builder, place)


def _make(builder: ModelBuilder, slot: str) -> None:
    """Make the receptor in the ER, at the rate at which `amount` of it would turn over if never phosphorylated."""
    maturing, degrading = builder.parameter("mature_FLT3_rate"), builder.parameter("degrade_FLT3_rate")
    turnover = builder.expression("turn_over_FLT3_rate", maturing * degrading / (maturing + degrading))
    amount = builder.parameter(f"amount_FLT3{slot}_total")
    synthesis = builder.expression(f"synthesise_FLT3{slot}_rate", amount * turnover)
    new = builder[f"FLT3{slot}"](place="ER", ligand="none", partner="none", kinase="inactive", drug="none", y="u")
    builder.rule(f"synthesise_FLT3{slot}", None >> new, synthesis)


def _leave(builder: ModelBuilder, place: str) -> None:
    """Mature from the ER, degrade from the surface: rate * (1 + (factor - 1) * phosphorylated fraction of the kind)."""
    step = {"ER": "mature", "surface": "degrade"}[place]
    rate, factor = builder.parameter(f"{step}_FLT3_rate"), builder.parameter(f"{step}_pFLT3_factor")
    kinds = [[(slot, "none")] for slot in ALLELE_SLOTS]
    kinds += [[("A", "A")], [("A", "B"), ("B", "A")], [("B", "B")]]
    for kind in kinds:
        names = [f"FLT3{slot}_{place}_{partner}" for slot, partner in kind]
        phosphorylated = sum((builder.observed(f"p{name}") for name in names), sympy.Integer(0))
        present = sum((builder.observed(name) for name in names), builder.parameter("guard_amount"))
        leaving = builder.expression(f"{step}_{names[0]}_rate", rate * (1 + (factor - 1) * phosphorylated / present))
        for slot, partner in kind:
            receptor = builder[f"FLT3{slot}"](place=place, partner=partner)
            after = receptor(place="surface") if place == "ER" else None
            builder.rule(f"{step}_FLT3{slot}_{partner}", receptor >> after, leaving)


def _bind_ligand(builder: ModelBuilder, slot: str) -> None:
    receptor, ligand = builder[f"FLT3{slot}"](place="surface"), builder["FL"]
    kon = builder.parameter("bind_FL_FLT3_kon")
    koff = builder.expression("bind_FL_FLT3_koff", kon * builder.parameter("bind_FL_FLT3_kd"))
    koff_paired = builder.expression("bind_FL_FLT3dimer_koff", koff / builder.parameter("dimerise_FLT3_ligand_factor"))
    builder.rule(f"bind_FL_FLT3{slot}", ligand() + receptor(ligand="none") >> ligand() + receptor(ligand="FL"), kon)
    for partner in PARTNERS:
        rate = koff if partner == "none" else koff_paired
        bound, free = receptor(ligand="FL", partner=partner), receptor(ligand="none", partner=partner)
        convert(builder, f"unbind_FL_FLT3{slot}_{partner}", bound, free, rate)


def _dimerise(builder: ModelBuilder, slot: str) -> None:
    """Pair with what is single in the same pool; a ligand on either side raises the rate by the factor."""
    koff = builder.parameter("dimerise_FLT3_koff")
    kon = builder.expression("dimerise_FLT3_kon", koff / builder.parameter("dimerise_FLT3_kd"))
    factor = builder.parameter("dimerise_FLT3_ligand_factor")
    for place, partner in product(PLACES, ALLELE_SLOTS):
        receptor = builder[f"FLT3{slot}"](place=place)
        propensities = builder.parameter(f"dimerise_FLT3{slot}_propensity")
        propensities *= builder.parameter(f"dimerise_FLT3{partner}_propensity")
        available = builder.observed(f"FLT3{partner}_{place}_none")
        if place == "surface":
            available = available + (factor - 1) * builder.observed(f"single_FLT3{partner}_FL")
        name = f"dimerise_FLT3{slot}_{place}_{partner}"
        encounter = builder.expression(f"{name}_rate", kon * propensities * available)
        before, after = receptor(partner="none"), receptor(partner=partner)
        convert(builder, name, before(ligand="none"), after(ligand="none"), encounter)
        if place == "surface":
            encounter_FL = builder.expression(f"{name}_FL_rate", factor * encounter)
            convert(builder, f"{name}_FL", before(ligand="FL"), after(ligand="FL"), encounter_FL)
        convert(builder, f"part_FLT3{slot}_{place}_{partner}", after, before, koff)


def _change_conformation(builder: ModelBuilder, slot: str) -> None:
    receptor = builder[f"FLT3{slot}"]
    activation = builder.parameter("change_FLT3_activation")
    keq, factor = builder.parameter(f"change_FLT3{slot}_keq"), builder.parameter("bind_typeI_FLT3active_factor")
    back = builder.expression(f"change_FLT3{slot}_inactivation", activation / keq)
    back_bound = builder.expression(f"change_FLT3{slot}_typeI_inactivation", back / factor)
    for drug, inactivation in (("none", back), ("I", back_bound)):
        inactive, active = receptor(kinase="inactive", drug=drug), receptor(kinase="active", drug=drug)
        builder.rule(f"change_FLT3{slot}_{drug}", inactive | active, activation, inactivation)


def _bind_drugs(builder: ModelBuilder, slot: str) -> None:
    receptor: pysb.Monomer = builder[f"FLT3{slot}"]
    factor = builder.parameter("bind_typeI_FLT3active_factor")
    off_I = builder.expression(f"unbind_FLT3{slot}_typeI_rate", drug_off_rate(builder, f"FLT3{slot}_typeI"))
    off_I_active = builder.expression(f"unbind_FLT3{slot}active_typeI_rate", off_I / factor)
    leave_I = [
        (f"_{kinase}", receptor(drug="I", kinase=kinase), receptor(drug="none", kinase=kinase), rate)
        for kinase, rate in (("inactive", off_I), ("active", off_I_active))
    ]
    occupy_pocket(builder, f"FLT3{slot}_typeI", receptor(drug="none"), receptor(drug="I"), leave_I)
    vacant, occupied = receptor(drug="none", kinase="inactive"), receptor(drug="II", kinase="inactive")
    occupy_pocket(builder, f"FLT3{slot}_typeII", vacant, occupied)


def _phosphorylate(builder: ModelBuilder, slot: str) -> None:
    receptor = builder[f"FLT3{slot}"]
    kcat, nothing = builder.parameter("phosphorylate_FLT3_kcat"), builder.parameter("guard_amount")
    for place, partner in product(PLACES, ALLELE_SLOTS):
        working = builder.observed(f"working_FLT3{partner}_{place}_{slot}")
        paired = builder.observed(f"FLT3{partner}_{place}_{slot}")
        name = f"phosphorylate_FLT3{slot}_{place}_{partner}"
        rate = builder.expression(f"{name}_rate", kcat * working / (paired + nothing))
        kind = receptor(place=place, partner=partner)
        convert(builder, name, kind(y="u"), kind(y="p"), rate)
    rest = builder.parameter("dephosphorylate_FLT3_rate")
    convert(builder, f"dephosphorylate_FLT3{slot}", receptor(y="p"), receptor(y="u"), rest)


FLT3 = Module(
    "flt3",
    "FLT3, two alleles: ER, surface, dimers",
    inputs=(),
    outputs=("pFLT3A_surface", "pFLT3B_surface", "pFLT3A_ER", "pFLT3B_ER", "pFLT3", "surface_FLT3"),
    species=species,
    rules=rules,
)
