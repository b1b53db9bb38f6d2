"""A compiled model in; what it is made of, what is conserved, and what nothing uses or reaches, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError
from .expressions import names_in, parse
from .protocol import Conditions
from .totals import left_null_space

if TYPE_CHECKING:
    from .compiled import CompiledModel

MOST_TERMS = 6
"""Of a conserved total that is written out."""


@dataclass(frozen=True)
class Inspection:
    """What was found in a model.

    Attributes
    ----------
    name, hash
        Of the model.
    n_species, n_fixed, n_reactions, n_functions
        Species, those among them whose amounts are clamped, reactions, and rates that are functions.
    rules
        Names of the rules that made the reactions, where the network tells them.
    parameters, derived, observables
        Names.
    totals
        Sums of amounts that no reaction changes, written out, or with the number of their terms.
    unused
        Parameters that no rate, amount or function names.
    unreached
        Species that never appear with the nominal parameters.
    dead_rules
        Rules all of whose reactions never take place with the nominal parameters.
    """

    name: str
    hash: str
    n_species: int
    n_fixed: int
    n_reactions: int
    n_functions: int
    rules: tuple[str, ...]
    parameters: tuple[str, ...]
    derived: tuple[str, ...]
    observables: tuple[str, ...]
    totals: tuple[str, ...]
    unused: tuple[str, ...]
    unreached: tuple[str, ...]
    dead_rules: tuple[str, ...]

    def __str__(self) -> str:
        clamped = f" ({self.n_fixed} clamped)" if self.n_fixed else ""
        from_rules = f" from {len(self.rules)} rules" if self.rules else ""
        functions = f", {self.n_functions} rates that are functions" if self.n_functions else ""
        lines = [
            f"{self.name} ({self.hash[:16]})",
            f"{self.n_species:,} species{clamped}, {self.n_reactions:,} reactions{from_rules}{functions}",
            f"{len(self.parameters)} parameters and {len(self.derived)} that follow from them: "
            f"{_listed(self.parameters)}",
            f"{len(self.observables)} observables: {_listed(self.observables)}",
            f"{len(self.totals)} conserved totals" + (":" if self.totals else ""),
            *(f"    {total}" for total in self.totals),
        ]
        for what, names in (
            ("parameters that nothing uses", self.unused),
            ("species that never appear with the nominal parameters", self.unreached),
            ("rules that never act with the nominal parameters", self.dead_rules),
        ):
            lines.append(f"{len(names)} {what}" + (f": {_listed(names)}" if names else ""))
        return "\n".join(lines)


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def inspect_model(compiled: CompiledModel) -> Inspection:
    """Return what a model is made of, what it conserves, and what in it nothing uses or reaches."""
    network = compiled.network
    there = Conditions(("nominal",), compiled.nominal[None, :])
    try:
        reached = compiled.restrict(there).network
    except InputError:  # nothing is
        species, alive = set[str](), set[str]()
    else:
        species, alive = set(reached.species), {_rule(reaction.rule) for reaction in reached.reactions}
    rules = tuple(dict.fromkeys(filter(None, (_rule(reaction.rule) for reaction in network.reactions))))
    texts = [*network.parameters.values(), *network.functions.values(), *network.initials]
    used = {reaction.rate for reaction in network.reactions}.union(*(names_in(parse(text)) for text in texts))
    return Inspection(
        compiled.name, compiled.hash, compiled.n_species, sum(network.fixed), len(network.reactions),
        len(compiled._rate_names), rules, compiled.parameters, compiled.derived, compiled.observables,
        _totals(compiled), tuple(name for name in compiled.parameters if name not in used),
        tuple(name for name in compiled.species if name not in species),
        tuple(rule for rule in rules if rule not in alive),
    )  # fmt: skip


def _rule(remark: str) -> str:
    """Return the name of the rule in BioNetGen's remark, without a unit conversion or a direction."""
    return remark.partition(" ")[0].removeprefix("(reverse):").removeprefix("_reverse_")


def _totals(compiled: CompiledModel) -> tuple[str, ...]:
    """Return the conserved totals in words; a clamped species is none."""
    tables, order = compiled.plan
    weights, free = left_null_space(tables, np.ones(len(tables.rate), bool))
    fixed = np.array(compiled.network.fixed)[order.permutation]
    words = []
    for row, own in zip(weights, free, strict=True):
        members = np.flatnonzero(row)
        if fixed[own] and len(members) == 1:
            continue
        names = [compiled.species[i] for i in order.permutation[members]]
        if len(names) > MOST_TERMS:
            words.append(f"{names[list(members).index(own)]} + {len(names) - 1} more")
        else:
            words.append(_sum(dict(zip(names, row[members], strict=True))))
    return tuple(sorted(words))


def _sum(weights: Mapping[str, float]) -> str:
    """Return a weighted sum in words, what is added first."""
    parts: list[str] = []
    for name, weight in sorted(weights.items(), key=lambda item: item[1] < 0):
        sign = " - " if weight < 0 else " + "
        parts.append(f"{sign if parts or weight < 0 else ''}{name if abs(weight) == 1 else f'{abs(weight):g} {name}'}")
    return "".join(parts)
