"""Laws of the shipped network: it is that of the rules, small enough, and conserves what no rule makes or destroys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from residuum.models import network_path, network_source_hash

if TYPE_CHECKING:
    from .conftest import Reactions

RECEPTORS = "FGFR1 KIT CXCR4 CSF2R IL3R IL6R"
SIGNALLING = "SRC STAT5 STAT3 SHP2 GRB2 SOS NF1 RAS RAF MEK ERK PI3K AKT GSK3B TSC2 RSK MTORC1 S6K S6 CEBPA"
CONSERVED = [f"total_{name}" for name in f"{RECEPTORS} {SIGNALLING} CYP3A4".split()]
MIN_SPECIES, MAX_SPECIES, MAX_REACTIONS = 250, 500, 5000


def test_the_network_was_generated_from_the_rules_as_they_are() -> None:
    from residuum.models.assemble import build, source_hash

    assert source_hash(build()) == network_source_hash(), "run: python -m residuum.models.assemble"


def test_the_network_is_what_bionetgen_generates(bionetgen: str) -> None:
    from residuum.models.assemble import build, network_text

    def without_version(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("# Created by BioNetGen")]

    shipped = network_path().read_text(encoding="utf-8")
    assert without_version(network_text(build())) == without_version(shipped)


def test_the_network_stays_small(reactions: Reactions) -> None:
    assert MIN_SPECIES <= len(reactions.species) <= MAX_SPECIES
    assert len(reactions.network.reactions) <= MAX_REACTIONS


def test_rates_are_plain_arithmetic(reactions: Reactions) -> None:
    names = {*reactions.network.parameters, *reactions.network.observables, *reactions.network.functions}
    for text in (*reactions.network.parameters.values(), *reactions.network.functions.values()):
        words = set(re.findall(r"[A-Za-z_]\w*", re.sub(r"\d[\d.]*[eE][-+]?\d+", "", text)))
        assert words <= names, text
        assert not re.search(r"[<>=!&|%,]", text), text


@pytest.mark.parametrize("total", CONSERVED)
def test_no_reaction_makes_or_destroys(total: str, reactions: Reactions) -> None:
    weight = np.zeros(len(reactions.species))
    for i, w in reactions.network.observables[total]:
        weight[i] = w
    assert weight.any()
    for reaction in reactions.network.reactions:
        assert weight[list(reaction.reactants)].sum() == weight[list(reaction.products)].sum(), reaction


def test_every_initial_amount_is_a_parameter(reactions: Reactions) -> None:
    assert all(text == "0" or text in reactions.network.parameters for text in reactions.network.initials)


def test_no_complex_crosses_a_module_border(reactions: Reactions) -> None:
    bound = {frozenset(re.findall(r"(\w+)\(", s)) for s in reactions.species if "!" in s}
    inside_ras_mapk = {"GRB2", "SOS", "protein_SPRY", "RAS", "RAF"}
    assert bound and all(names <= inside_ras_mapk for names in bound)
