"""Patterns and parameter names go in; the few kinds of rules of which all mechanisms are made come out."""

from __future__ import annotations

from collections.abc import Iterable
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
    catalyst = builder.model.monomers[ligand]
    builder.rule(f"bind_{name}", catalyst() + free >> catalyst() + bound, kon)
    convert(builder, f"unbind_{name}", bound, free, koff)


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
        rate = kon * (builder.model.observables[f"free_DRUG{slot}"] + trace)
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
        weight = kon * (builder.model.observables[f"free_DRUG{slot}"] + trace) / (kon * kd + tiny)
        weighted = weighted + weight * builder.parameter(f"drug{slot}_{pocket}_{quantity}")
        occupancy = occupancy + weight
    return weighted / occupancy


def occupy_pocket(
    builder: ModelBuilder,
    pocket: str,
    free: pysb.MonomerPattern,
    bound: pysb.MonomerPattern,
    off_rates: Iterable[tuple[str, pysb.MonomerPattern, pysb.MonomerPattern, Rate]],
) -> None:
    """Let the drug of every slot bind `free`, and leave each bound state at its own off-rate.

    Parameters
    ----------
    free, bound
        The pocket before and after binding, in every state in which a drug may enter.
    off_rates
        (ending of the rule name, bound pattern, free pattern, off-rate) for each state that differs in its off-rate.
    """
    for slot in DRUG_SLOTS:
        drug = builder.model.monomers[f"DRUG{slot}"]
        kon = builder.parameter(f"drug{slot}_{pocket}_kon")
        builder.rule(f"bind_DRUG{slot}_{pocket}", drug() + free >> drug() + bound, kon)
    for ending, occupied, vacant, rate in off_rates:
        convert(builder, f"unbind_DRUG_{pocket}{ending}", occupied, vacant, rate)


def ligand_receptor(builder: ModelBuilder, name: str, ligand: str) -> None:
    """Add a receptor kinase that its ligand activates and any drug slot may occupy; read out as `p<name>`.

    Dimerisation is not written out. A ligand-bound receptor is taken as paired with other ligand-bound receptors, and
    is phosphorylated in trans at a rate proportional to the fraction of those whose kinase is free of drug (the same
    mean-field form as for FLT3, with ligand and dimer in one). Phosphatases act at all times.
    """
    receptor = builder.monomer(name, ligand=["none", ligand], drug=["none", "bound"], y=["u", "p"])
    builder.initial(receptor(ligand="none", drug="none", y="u"), f"amount_{name}_total")
    builder.observable(f"total_{name}", receptor())
    builder.observable(f"p{name}", receptor(y="p"))
    paired = builder.observable(f"paired_{name}", receptor(ligand=ligand))
    working = builder.observable(f"working_{name}", receptor(ligand=ligand, drug="none"))

    kon = builder.parameter(f"bind_{ligand}_{name}_kon")
    koff = builder.constant(f"bind_{ligand}_{name}_koff", kon * builder.parameter(f"bind_{ligand}_{name}_kd"))
    bind_clamped(builder, f"{ligand}_{name}", ligand, receptor(ligand="none"), receptor(ligand=ligand), kon, koff)
    off = builder.expression(f"unbind_{name}_rate", drug_off_rate(builder, name))
    drug_leaves = ("", receptor(drug="bound"), receptor(drug="none"), off)
    occupy_pocket(builder, name, receptor(drug="none"), receptor(drug="bound"), [drug_leaves])

    kcat, guard = builder.parameter(f"phosphorylate_{name}_kcat"), builder.parameter("guard_amount")
    rate = builder.expression(f"phosphorylate_{name}_rate", kcat * working / (paired + guard))
    convert(builder, f"phosphorylate_{name}", receptor(ligand=ligand, y="u"), receptor(ligand=ligand, y="p"), rate)
    rest = builder.parameter(f"dephosphorylate_{name}_rate")
    convert(builder, f"dephosphorylate_{name}", receptor(y="p"), receptor(y="u"), rest)


def weighted_sum(builder: ModelBuilder, signals: Iterable[tuple[str, pysb.Observable]]) -> sympy.Expr:
    """Return the sum of parameter * observable: how receptors are heard across a module border, in nM."""
    total = sympy.Integer(0)
    for weight, observable in signals:
        total = total + builder.parameter(weight) * observable
    return total
