"""Where binding, dimers and conformations form cycles, no cycle turns by itself.

Kolmogorov's criterion for all cycles at once: if every reversible step a <-> b has log(k_ab / k_ba) = F(b) - F(a) for
one potential F over the states, the product of constants around any cycle equals its reverse. Phosphorylation
spends ATP; the states on either side of it are compared with their own kind only.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING

import pytest

from residuum.models import drugs

if TYPE_CHECKING:
    from .conftest import Reactions

LIGANDS = [f"ligand_{ligand}_dose" for ligand in ("FL", "FGF2", "SCF", "GAS6", "GMCSF", "IL3", "IL6")]
SETTING = (
    drugs.slot_overrides(1, "midostaurin", "blast-itd")
    | drugs.slot_overrides(2, "quizartinib", "blast-itd")
    | {"drug1_dose": 40.0, "drug2_dose": 3.0, **dict.fromkeys(LIGANDS, 0.3)}
    # off 1, so that a factor that stands in one direction only is found out
    | {"bind_typeI_FLT3active_factor": 5.0, "change_FLT3A_keq": 0.7}
)
ROUNDING = 1e-9


def steps(reactions: Reactions, receptor: str, sites: tuple[str, ...]) -> dict[tuple[int, int], float]:
    """Return (state, state) -> first-order constant (1/s) for what happens to `receptor` while `sites` stay."""
    amounts = reactions.initial_amounts(SETTING)
    amounts += 0.01  # the rates of dimerisation need partners
    constants: dict[tuple[int, int], float] = defaultdict(float)
    named = {i: s for i, s in enumerate(reactions.species) if s.startswith(f"{receptor}(")}
    of_kind = {i for i, s in named.items() if all(site in s for site in sites)}
    doses = {i: amounts[i] for i, s in enumerate(reactions.species) if i not in of_kind}
    for k, reaction in zip(reactions.rate_constants(amounts, SETTING), reactions.network.reactions, strict=True):
        before = [i for i in reaction.reactants if i in of_kind]
        after = [i for i in reaction.products if i in of_kind]
        if len(before) == len(after) == 1 and before != after:
            constants[before[0], after[0]] += k * math.prod(doses[i] for i in reaction.reactants if i not in of_kind)
    return constants


@pytest.mark.parametrize("y", ["y~u", "y~p"])
@pytest.mark.parametrize(
    ("receptor", "place", "n_states"),
    [
        *((f"FLT3{slot}", place, n) for slot in "AB" for place, n in (("place~surface", 30), ("place~ER", 15))),
        *((receptor, "", 4) for receptor in ("FGFR1", "KIT", "AXL", "CSF2R", "IL3R", "IL6R")),
    ],
)
def test_no_cycle_of_binding_dimerisation_and_conformation_turns(
    receptor: str, place: str, n_states: int, y: str, reactions: Reactions
) -> None:
    constants = {edge: k for edge, k in steps(reactions, receptor, (place, y)).items() if k > 0}
    assert all((b, a) in constants for a, b in constants), "a step without its reverse"
    neighbours = defaultdict(list)
    for a, b in constants:
        neighbours[a].append(b)
    start = min(neighbours)
    potential, queue = {start: 0.0}, deque([start])
    while queue:
        a = queue.popleft()
        for b in neighbours[a]:
            if b not in potential:
                potential[b] = potential[a] + math.log(constants[a, b] / constants[b, a])
                queue.append(b)
    assert len(potential) == n_states
    assert len(constants) / 2 >= n_states, "no cycle to test"
    for a, b in constants:
        assert math.isclose(
            math.log(constants[a, b] / constants[b, a]), potential[b] - potential[a], abs_tol=ROUNDING
        ), (reactions.species[a], reactions.species[b])


def test_phosphorylation_weakens_binding_by_its_factor_in_one_direction(reactions: Reactions) -> None:
    """These squares hold a step that spends ATP, so nothing balances; the factor must stand in the off-rate alone."""
    setting = drugs.slot_overrides(1, "trametinib", "blast-itd") | {"drug1_dose": 5.0}
    known = reactions.functions(reactions.initial_amounts(setting), setting)
    assert math.isclose(
        known["unbind_pMEK_rate"] / known["unbind_MEK_rate"], known["drug1_MEK_pMEK_factor"], rel_tol=ROUNDING
    )
    assert math.isclose(
        known["bind_GRB2_pSOS_koff"] / known["bind_GRB2_SOS_koff"], known["bind_GRB2_pSOS_kd_factor"], rel_tol=ROUNDING
    )
    assert math.isclose(
        known["dimerise_pRAF_pRAF_koff"] / known["dimerise_RAF_pRAF_koff"],
        known["dimerise_RAF_pRAF_koff"] / known["dimerise_RAF_koff"],
        rel_tol=ROUNDING,
    )
