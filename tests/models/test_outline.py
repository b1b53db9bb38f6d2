"""The outline of the modules holds the whole model, each part once."""

from __future__ import annotations

from collections import Counter

from residuum import models
from residuum.models import outline


def test_every_monomer_and_parameter_belongs_to_one_module() -> None:
    model = models.build()
    for kind in ("monomers", "parameters"):
        counts = Counter(name for part in outline.parts() for name in getattr(part, kind))
        assert set(counts) == {component.name for component in getattr(model, kind)}
        assert set(counts.values()) == {1}


def test_what_a_module_hears_another_one_tells() -> None:
    told = {signal for part in outline.parts() for signal in part.outputs}
    assert [(part.name, signal) for part in outline.parts() for signal in part.inputs if signal not in told] == []


def test_a_module_with_a_pocket_hears_drugs_and_its_ligands() -> None:
    parts = {part.name: part for part in outline.parts()}
    assert parts["flt3"].inputs[:2] == ("FL", outline.DRUGS) and "FLT3A_typeII" in parts["flt3"].pockets
    assert outline.DRUGS not in parts["survival"].inputs and not parts["survival"].pockets
