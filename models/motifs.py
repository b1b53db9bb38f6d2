"""Patterns and parameter names go in; the few kinds of rules of which all mechanisms are made come out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import pysb
import sympy

from .building import ModelBuilder
from .parameters import DRUG_SLOTS

Rate: TypeAlias = pysb.Parameter | pysb.Expression


def clamp(builder: ModelBuilder, monomer: pysb.Monomer, dose: str, exchange: str) -> None:
    """Hold `monomer` at the concentration `dose` by exchange with the medium.

    d[X]/dt = exchange * (dose - [X]), starting at the dose. The medium is unlimited: cells do not deplete it.
    A loss of its own (metabolism) then lowers the steady level below the dose.
    """
    exchanged = builder.parameter(exchange)
    supply = builder.expression(f"supply_{monomer.name}_rate", builder.parameter(dose) * exchanged)
    builder.initial(monomer(), dose)
    builder.rule(f"supply_{monomer.name}", None >> monomer(), supply)
    builder.rule(f"remove_{monomer.name}", monomer() >> None, exchanged)


def convert(
    builder: ModelBuilder, name: str, before: pysb.MonomerPattern, after: pysb.MonomerPattern, rate: Rate
) -> None:
    """Turn `before` into `after` at `rate` (1/s), which may depend on observables."""
    builder.rule(name, before >> after, rate)


def catalyse(
    builder: ModelBuilder,
    name: str,
    enzyme: pysb.MonomerPattern,
    before: pysb.MonomerPattern,
    after: pysb.MonomerPattern,
    rate: Rate,
) -> None:
    """Turn `before` into `after` at `rate` (1/(nM s)) times the enzyme, which is not bound (no saturation)."""
    builder.rule(name, enzyme + before >> enzyme + after, rate)


def switch(
    builder: ModelBuilder, name: str, site: str, kinases: Mapping[str, pysb.MonomerPattern | pysb.Observable]
) -> None:
    """Let kinases of this model phosphorylate `site` of protein `name`, and phosphatases undo it at all times.

    d[pX]/dt = sum_i(kcat_i [kinase_i]) [X] - k [pX], no saturation. Parameters: `phosphorylate_<name>_<kinase>_kcat`
    (1/(nM s)), `dephosphorylate_<name>_rate` (1/s). A kinase that is a pattern of its own module stands in the rule as
    catalyst, one that is an observable of another module in the rate.
    """
    protein = builder[name]
    before, after = protein(**{site: "u"}), protein(**{site: "p"})
    for kinase, active in kinases.items():
        kcat = builder.parameter(f"phosphorylate_{name}_{kinase}_kcat")
        if isinstance(active, pysb.Observable):
            rate = builder.expression(f"phosphorylate_{name}_{kinase}_rate", kcat * active)
            convert(builder, f"phosphorylate_{name}_{kinase}", before, after, rate)
        else:
            catalyse(builder, f"phosphorylate_{name}_{kinase}", active, before, after, kcat)
    convert(builder, f"dephosphorylate_{name}", after, before, builder.parameter(f"dephosphorylate_{name}_rate"))


def phosphoprotein(builder: ModelBuilder, name: str, site: str, **other: list[str]) -> pysb.Monomer:
    """Add a protein with one phosphosite (states u, p), starting unphosphorylated; observables `total_`, `p<name>`."""
    protein = builder.monomer(name, **other, **{site: ["u", "p"]})
    builder.initial(protein(**{s: states[0] for s, states in other.items()}, **{site: "u"}), f"amount_{name}_total")
    builder.observable(f"total_{name}", protein())
    builder.observable(f"p{name}", protein(**{site: "p"}))
    return protein


def gene(builder: ModelBuilder, name: str) -> None:
    """Add mRNA and protein of a gene, as observables `mRNA_<name>` and `<name>`."""
    builder.observable(f"{name}_mRNA", builder.monomer(f"mRNA_{name}")())
    builder.observable(name, builder.monomer(f"protein_{name}")())


def express(builder: ModelBuilder, name: str, inducer: sympy.Expr, protein: pysb.ComplexPattern | None = None) -> None:
    """Transcribe a gene with its inducer, translate, degrade.

        transcription = basal * (1 + slope * inducer / (km + inducer))

    Parameters: `transcribe_<name>_basal_rate` (nM/s), `_slope`, `_km` (nM), `degrade_mRNA_<name>_rate`,
    `translate_<name>_rate`, `degrade_<name>_rate` (1/s). `protein` is what is made, if it has sites; what became of it
    is then degraded by rules of the module.
    """
    mrna, made = builder[f"mRNA_{name}"], builder[f"protein_{name}"]() if protein is None else protein
    slope, km = builder.parameter(f"transcribe_{name}_slope"), builder.parameter(f"transcribe_{name}_km")
    basal = builder.parameter(f"transcribe_{name}_basal_rate")
    transcription = builder.expression(f"transcribe_{name}_rate", basal * (1 + slope * inducer / (km + inducer)))
    builder.rule(f"transcribe_{name}", None >> mrna(), transcription)
    builder.rule(f"degrade_mRNA_{name}", mrna() >> None, builder.parameter(f"degrade_mRNA_{name}_rate"))
    builder.rule(f"translate_{name}", mrna() >> mrna() + made, builder.parameter(f"translate_{name}_rate"))
    builder.rule(f"degrade_{name}", made >> None, builder.parameter(f"degrade_{name}_rate"))


def bind_clamped(
    builder: ModelBuilder,
    name: str,
    ligand: str,
    free: pysb.MonomerPattern,
    bound: pysb.MonomerPattern,
    kon: Rate,
    koff: Rate,
) -> None:
    """Bind a clamped ligand: on by mass action with the ligand as catalyst, off by first order."""
    catalyst = builder[ligand]
    builder.rule(f"bind_{name}", catalyst() + free >> catalyst() + bound, kon)
    convert(builder, f"unbind_{name}", bound, free, koff)


def drug_on_rate(builder: ModelBuilder, pocket: str) -> pysb.Expression:
    """Return the on-rate (1/s) of a pocket: the sum of kon * concentration over the drug slots."""
    total = sympy.Integer(0)
    for slot in DRUG_SLOTS:
        total = total + builder.parameter(f"drug{slot}_{pocket}_kon") * builder.observed(f"free_DRUG{slot}")
    return builder.expression(f"bind_{pocket}_rate", total)


def drug_off_rate(builder: ModelBuilder, pocket: str, kd_factor: str | None = None) -> sympy.Expr:
    """Return the off-rate (1/s) of a pocket that any of the drug slots may occupy.

    All drugs share one bound state. With C_i the concentrations, the mean of k_off weighted by C_i/Kd_i,

        k_off = sum_i(kon_i C_i) / sum_i(C_i / Kd_i),

    gives bound/free = sum_i(C_i/Kd_i) at steady state, exactly; on the way there it is an approximation as soon as
    two drugs with different residence times share a pocket. For a single drug it is kon * Kd at every moment.

    Three guards, all rows of the parameter table, keep it finite. A trace is added to every C_i, so that a drug
    that was washed out leaves at its own rate. A denominator kon_i Kd_i + tiny gives a slot that does not bind (kon 0)
    no weight, whatever its Kd. With no drug in any slot the rate is a default that acts on nothing.

    Parameters
    ----------
    pocket
        Parameters are `drug<slot>_<pocket>_kon`, `_kd`.
    kd_factor
        Ending of a parameter `drug<slot>_<pocket>_<kd_factor>` that multiplies each Kd.
    """
    tiny = builder.parameter("guard_drug_rate")
    trace = builder.parameter("guard_drug_trace")
    off_default = builder.parameter("guard_drug_koff")
    binding, occupancy = tiny * off_default, tiny
    for slot in DRUG_SLOTS:
        kon = builder.parameter(f"drug{slot}_{pocket}_kon")
        kd = builder.parameter(f"drug{slot}_{pocket}_kd")
        if kd_factor is not None:
            kd = kd * builder.parameter(f"drug{slot}_{pocket}_{kd_factor}")
        rate = kon * (builder.observed(f"free_DRUG{slot}") + trace)
        binding = binding + rate
        occupancy = occupancy + rate / (kon * kd + tiny)
    return binding / occupancy


def drug_mean(builder: ModelBuilder, pocket: str, quantity: str) -> sympy.Expr:
    """Return the mean of a per-slot parameter over the drugs that occupy `pocket`, weighted by C_i/Kd_i."""
    tiny = builder.parameter("guard_drug_rate")
    trace = builder.parameter("guard_drug_trace")
    weighted, occupancy = sympy.Integer(0), tiny
    for slot in DRUG_SLOTS:
        kon = builder.parameter(f"drug{slot}_{pocket}_kon")
        kd = builder.parameter(f"drug{slot}_{pocket}_kd")
        weight = kon * (builder.observed(f"free_DRUG{slot}") + trace) / (kon * kd + tiny)
        weighted = weighted + weight * builder.parameter(f"drug{slot}_{pocket}_{quantity}")
        occupancy = occupancy + weight
    return weighted / occupancy


def occupy_pocket(
    builder: ModelBuilder,
    pocket: str,
    free: pysb.MonomerPattern,
    bound: pysb.MonomerPattern,
    off_rates: Iterable[tuple[str, pysb.MonomerPattern, pysb.MonomerPattern, Rate]] | None = None,
    *,
    of: str | None = None,
) -> None:
    """Let drugs bind `free`, and leave each bound state at its off-rate.

    Parameters
    ----------
    free, bound
        The pocket before and after binding, in every state in which a drug may enter.
    off_rates
        (ending of the rule name, bound pattern, free pattern, off-rate) for each state that differs in its off-rate;
        the pocket's own off-rate for all states if not given.
    of
        The protein, where several have a pocket of one kind.
    """
    place = pocket if of is None else f"{of}_{pocket}"
    convert(builder, f"bind_drug_{place}", free, bound, drug_on_rate(builder, pocket))
    if off_rates is None:
        off_rates = [("", bound, free, builder.expression(f"unbind_{pocket}_rate", drug_off_rate(builder, pocket)))]
    for ending, occupied, vacant, rate in off_rates:
        convert(builder, f"unbind_drug_{place}{ending}", occupied, vacant, rate)


def receptor_species(builder: ModelBuilder, name: str, ligand: str) -> None:
    """Add a receptor kinase with a ligand, a drug pocket and one lumped phosphotyrosine."""
    receptor = builder.monomer(name, ligand=["none", ligand], drug=["none", "bound"], y=["u", "p"])
    builder.initial(receptor(ligand="none", drug="none", y="u"), f"amount_{name}_total")
    builder.observable(f"total_{name}", receptor())
    builder.observable(f"p{name}", receptor(y="p"))
    builder.observable(f"paired_{name}", receptor(ligand=ligand))
    builder.observable(f"working_{name}", receptor(ligand=ligand, drug="none"))


def receptor_rules(
    builder: ModelBuilder, name: str, ligand: str, pocket: str | None = None, damping: sympy.Expr | int = 1
) -> None:
    """Let the ligand activate a receptor kinase, and any drug slot occupy it.

    Dimerisation is not written out. A ligand-bound receptor is taken as paired with other ligand-bound receptors, and
    is phosphorylated in trans at a rate proportional to the fraction of those whose kinase is free of drug (the same
    mean-field form as for FLT3, with ligand and dimer in one), over `damping`. Phosphatases act at all times.
    """
    receptor = builder[name]
    kon = builder.parameter(f"bind_{ligand}_{name}_kon")
    koff = builder.expression(f"bind_{ligand}_{name}_koff", kon * builder.parameter(f"bind_{ligand}_{name}_kd"))
    bind_clamped(builder, f"{ligand}_{name}", ligand, receptor(ligand="none"), receptor(ligand=ligand), kon, koff)
    occupy_pocket(builder, pocket or name, receptor(drug="none"), receptor(drug="bound"), of=name if pocket else None)
    kcat, guard = builder.parameter(f"phosphorylate_{name}_kcat"), builder.parameter("guard_amount")
    working, paired = builder.observed(f"working_{name}"), builder.observed(f"paired_{name}")
    rate = builder.expression(f"phosphorylate_{name}_rate", kcat * working / (paired + guard) / damping)
    convert(builder, f"phosphorylate_{name}", receptor(ligand=ligand, y="u"), receptor(ligand=ligand, y="p"), rate)
    rest = builder.parameter(f"dephosphorylate_{name}_rate")
    convert(builder, f"dephosphorylate_{name}", receptor(y="p"), receptor(y="u"), rest)


def weighted_sum(builder: ModelBuilder, branch: str, signals: Iterable[str]) -> sympy.Expr:
    """Return the sum of `drive_<branch>_<signal>_weight` * p<signal> (nM): how receptors are heard across a border.

    A signal of FLT3 names slot and pool (`FLT3A_surface`); one weight `drive_<branch>_FLT3<slot>_weight` serves both
    pools.
    """
    total = sympy.Integer(0)
    for signal in signals:
        weight = builder.parameter(f"drive_{branch}_{signal.removesuffix('_surface').removesuffix('_ER')}_weight")
        total = total + weight * builder.signal(f"p{signal}")
    return total
