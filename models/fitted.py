"""Estimated values of the shipped fitting problem go in; what they mean in any context under any drugs comes out.

An estimated parameter of the problem is one of the model, in every cell; or belongs to

* `shift_DRUG_TARGET`: a factor on that dissociation constant, whatever the slot, the context or the other drugs
  (`-` is written `_`; the insertion in the kinase domain has its own, `FLT3_ITD_TKD`)
* `input_SOS_starved`, `input_PI3K_starved`, `input_SOS_serum`: the input without a receptor, of cells without and with
  serum; another cell's keeps its ratio to that of the reference cell
* `weight_SOS_tkd`, `weight_PI3K_tkd`, `weight_STAT5_tkd`: what the allele `itd-tkd` drives
* offset and scale of an assay, which mean nothing here
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from . import contexts, drugs, parameters

STARVED = ("baf3-itd-jmd", "baf3-itd-tkd")
TKD = "itd-tkd"


def overrides(values: Mapping[str, float], context: str, given: Sequence[str] = ()) -> dict[str, float]:
    """Return parameter of the model -> value, in `context` under the drugs `given`, which fill the slots in order.

    Raises
    ------
    UnknownNameError
        If there is no such context or drug.
    """
    rows = {row.name: row for row in parameters.table()}
    found = {name: value for name, value in values.items() if name in rows and not rows[name].set_by_context}
    found |= _inputs(values, context) | _weights(values, context)
    for slot, drug in enumerate(given, start=1):
        found |= shifted(values, context, slot, drug)
    return found


def _inputs(values: Mapping[str, float], context: str) -> dict[str, float]:
    of_context = contexts.overrides(context)
    starved = context.partition(contexts.ON)[0] in STARVED
    reference = contexts.overrides(STARVED[0] if starved else parameters.REFERENCE_CONTEXT)
    medium = "starved" if starved else "serum"
    return {
        f"drive_{branch}_basal": values[name] * of_context[f"drive_{branch}_basal"] / reference[f"drive_{branch}_basal"]
        for branch in ("SOS", "PI3K")
        if (name := f"input_{branch}_{medium}") in values
    }


def _weights(values: Mapping[str, float], context: str) -> dict[str, float]:
    return {
        f"drive_{branch}_FLT3{slot}_weight": values[name]
        for slot in parameters.ALLELE_SLOTS
        if contexts.allele_of(context, slot) == TKD
        for branch in ("SOS", "PI3K", "STAT5")
        if (name := f"weight_{branch}_tkd") in values
    }


def shifted(values: Mapping[str, float], context: str, slot: int, drug: str) -> dict[str, float]:
    """Return parameter of the model -> value, of the dissociation constants that `values` shift of a drug in a slot.

    Raises
    ------
    UnknownNameError
        If there is no such context, slot or drug.
    """
    found = {}
    unshifted = drugs.slot_overrides(slot, drug, context)
    for parameter, target in drugs.kd_parameters(slot, drug, context).items():
        names = [f"shift_{drug}_{target}"]
        if any(f"_FLT3{s}_" in parameter and contexts.allele_of(context, s) == TKD for s in parameters.ALLELE_SLOTS):
            names.insert(0, f"shift_{drug}_{target}_TKD")
        known = [name for name in (name.replace("-", "_").replace(".", "_") for name in names) if name in values]
        if known:
            found[parameter] = unshifted[parameter] * values[known[0]]
    return found
