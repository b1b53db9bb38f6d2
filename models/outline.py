"""The mechanism modules go in; what each hears, tells and is made of comes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pysb

from .assemble import MODULES, build_alone
from .building import Module
from .media import LIGANDS, MEDIA

DRUGS = "drugs"
"""Stands for the drug slots among the inputs of a module with pockets."""
_POCKET = re.compile(r"drug1_(\w+)_kd")


@dataclass(frozen=True)
class Part:
    """One mechanism of the cell, as it stands beside the others."""

    name: str
    title: str
    inputs: tuple[str, ...]
    """Ligands, `drugs` and observables of other modules."""
    outputs: tuple[str, ...]
    monomers: tuple[str, ...]
    parameters: tuple[str, ...]
    """Those that no module before it has."""
    pockets: tuple[str, ...]
    """Where its drugs bind."""


@cache
def parts() -> tuple[Part, ...]:
    """Return all mechanisms, in the order in which they are assembled."""
    medium, found, taken = build_alone(MEDIA), list[Part](), set[str]()
    for module in MODULES:
        model = build_alone(module)
        found.append(_part(module, model, _names(medium.monomers) if module is not MEDIA else set(), taken))
        taken |= _names(model.parameters)
    return tuple(found)


def _part(module: Module, model: pysb.Model, others: set[str], taken: set[str]) -> Part:
    """Return the outline of a module from its model in the medium, without what belongs to others."""
    stand_ins = {f"in_{signal}" for signal in module.inputs}
    parameters = [p.name for p in model.parameters if p.name not in taken and not p.name.startswith("input_")]
    pockets = tuple(m[1] for name in parameters if (m := _POCKET.fullmatch(name)))
    read = {
        pattern.monomer.name
        for rule in model.rules
        for complex_pattern in rule.reactant_pattern.complex_patterns
        for pattern in complex_pattern.monomer_patterns
        if not rule.name.startswith(("supply_", "remove_"))
    }
    ligands = tuple(ligand for ligand in LIGANDS if ligand in read)
    hears = () if module is MEDIA else (*ligands, *((DRUGS,) if pockets else ()), *module.inputs)
    return Part(
        name=module.name,
        title=module.title,
        inputs=hears,
        outputs=(*LIGANDS, DRUGS) if module is MEDIA else module.outputs,
        monomers=tuple(m.name for m in model.monomers if m.name not in others | stand_ins),
        parameters=tuple(parameters),
        pockets=pockets,
    )


def _names(components: pysb.ComponentSet) -> set[str]:
    return {component.name for component in components}
