"""A context and its drugs go in; which of their numbers may be off, how far, and what they belong to, comes out.

What is not known belongs to one of four kinds:

* `stroma`: levels of ligands, and everything of the receptors beside FLT3 that they bind, up to the weights with which
  these drive the pathways
* `cell`: how much there is of all other proteins, and the inputs without a receptor
* `rates`: the other parameters, but those that published fits give together (`joint`)
* `drugs`: the dissociation constant of each drug and target
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from . import contexts, drugs, joint, parameters

KINDS = ("stroma", "cell", "rates", "drugs")
STROMA = re.compile(r"^ligand_|_(FGFR1|KIT|AXL|CXCR4|CSF2R|IL3R|IL6R)(_|$)|_stroma(_|$)")
"""In the names of the parameters that lie between stroma and the pathways."""
CELL = re.compile(r"amount_|drive_\w+_basal$")
SHARE = re.compile(r"_fraction$|^survive_pS6_weight$")
"""In the names of what cannot be above 1."""


@dataclass(frozen=True)
class Prior:
    """How far one number may be off: log10 of it is normal about that of `value`."""

    value: float
    log10_sd: float
    kind: str
    key: str
    """What the number is, whatever the slot and the context: those of one key are off together."""

    def at(self, score: float) -> float:
        """Return the value `score` standard deviations from the middle; a share ends at 1."""
        drawn: float = self.value * 10.0 ** (self.log10_sd * score)
        return min(drawn, 1.0) if SHARE.search(self.key) else drawn


def of_cell(context: str) -> dict[str, Prior]:
    """Return parameter -> prior of the cell and its environment; what is certain or zero is absent.

    Raises
    ------
    UnknownNameError
        If there is no such context.
    """
    of_context = {
        name: (float(quantity.value), quantity.prior_log10_sd)
        for name, quantity in contexts.quantities(context).items()
    }
    return {
        name: Prior(value, sd, _kind(name), name)
        for name, (value, sd) in (_shared() | of_context).items()
        if sd > 0 and value > 0
    }


def of_drug(slot: int, drug: str, context: str) -> dict[str, Prior]:
    """Return parameter -> prior of the dissociation constants of a drug in a slot.

    Raises
    ------
    UnknownNameError
        If there is no such slot, drug or context.
    """
    values = drugs.slot_overrides(slot, drug, context)
    sds = {row.target: row.prior_log10_sd for row in drugs.table() if row.drug == drug}
    return {
        name: Prior(values[name], sds[target], "drugs", f"{drug} {target}")
        for name, target in drugs.kd_parameters(slot, drug, context).items()
        if sds[target] > 0
    }


@cache
def _shared() -> dict[str, tuple[float, float]]:
    """Return parameter -> value and prior of what no context sets."""
    together = set(joint.raf_mek().names)
    return {
        row.name: (row.value, row.prior_log10_sd)
        for row in parameters.table()
        if not row.set_by_context and not row.name.startswith("drug") and row.name not in together
    }


def _kind(name: str) -> str:
    return "stroma" if STROMA.search(name) else "cell" if CELL.match(name) else "rates"
