"""Dimers in mean-field form: pairs stay pairs, and pFLT3 is close to that of explicit dimers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from residuum.models import contexts, drugs, network_path
from residuum.simulator import Conditions, compile_model, steady_state

if TYPE_CHECKING:
    from .conftest import Reactions

Float = npt.NDArray[np.float64]

CONTEXT = "baf3-itd-jmd"
"""One allele, no ligand: the smallest case that has dimers, conformations and a drug."""
DOSES = np.geomspace(0.03, 300.0, 13)
KINASE_STATES = tuple(itertools.product(("inactive", "active"), ("free", "bound")))


def kinase_generator(p: dict[str, float], dose: float) -> Float:
    """Return the rates (1/s) between the four states of one kinase under a type I drug, shape (4, 4), [to, from]."""
    rates = np.zeros((4, 4))
    kon, kd = p["drug1_FLT3A_typeI_kon"], p["drug1_FLT3A_typeI_kd"]
    factor, keq = p["bind_typeI_FLT3active_factor"], p["change_FLT3A_keq"]
    for a, b in itertools.permutations(range(4), 2):
        (kinase, drug), (kinase_after, drug_after) = KINASE_STATES[a], KINASE_STATES[b]
        if kinase == kinase_after:
            favoured = factor if kinase == "active" else 1.0
            rates[b, a] = kon * dose if drug_after == "bound" else kon * kd / favoured
        elif drug == drug_after:
            favoured = keq * (factor if drug == "bound" else 1.0)
            activation = p["change_FLT3_activation"]
            rates[b, a] = activation if kinase_after == "active" else activation / favoured
    return rates - np.diag(rates.sum(axis=0))


def stationary(rates: Float) -> Float:
    """Return the probabilities that `rates` ([to, from], columns summing to zero) leaves as they are."""
    n = len(rates)
    system = np.vstack([rates, np.ones(n)])
    return np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=None)[0]


def explicit_dimers(p: dict[str, float], dose: float) -> tuple[float, float]:
    """Return (fraction phosphorylated, fraction in dimers) at steady state with every pair of states kept apart.

    Of one receptor, followed through time: its own kinase (4 states), its partner (none, or one of 4 states) and its
    phosphorylation (2). Pairs of ever so many kinds are in the same steady state as that one receptor, because
    dimerisation asks for no state: the free monomers are those of 2 M <-> D, their kinases at equilibrium.
    """
    kinase = kinase_generator(p, dose)
    monomers = stationary(kinase)
    kon = p["dimerise_FLT3_koff"] / p["dimerise_FLT3_kd"] * p["dimerise_FLT3A_propensity"] ** 2
    affinity = kon / p["dimerise_FLT3_koff"]
    total = p["amount_FLT3A_total"]
    free = (np.sqrt(1 + 4 * affinity * total) - 1) / (2 * affinity)
    index = {state: i for i, state in enumerate(itertools.product(range(4), (None, *range(4)), (0, 1)))}
    rates = np.zeros((len(index), len(index)))
    for (own, partner, phosphorylated), i in index.items():
        for other in range(4):
            if other != own:
                rates[index[other, partner, phosphorylated], i] += kinase[other, own]
            if partner is None:
                rates[index[own, other, phosphorylated], i] += kon * free * monomers[other]
            elif other != partner:
                rates[index[own, other, phosphorylated], i] += kinase[other, partner]
        if partner is not None:
            rates[index[own, None, phosphorylated], i] += p["dimerise_FLT3_koff"]
            if not phosphorylated and KINASE_STATES[partner] == ("active", "free"):
                rates[index[own, partner, 1], i] += p["phosphorylate_FLT3_kcat"]
        if phosphorylated:
            rates[index[own, partner, 0], i] += p["dephosphorylate_FLT3_rate"]
    probability = stationary(rates - np.diag(rates.sum(axis=0)))
    phosphorylated = sum(probability[i] for (_, _, y), i in index.items() if y)
    paired = sum(probability[i] for (_, partner, _), i in index.items() if partner is not None)
    return float(phosphorylated), float(paired)


def half_maximal(doses: Float, response: Float) -> float:
    """Return the dose at which a falling response passes half of its first value, between doses on a log scale."""
    return float(np.exp(np.interp(-0.5, -response / response[0], np.log(doses))))


def test_pflt3_and_its_ic50_are_those_of_explicit_dimers(reactions: Reactions) -> None:
    settings = contexts.overrides(CONTEXT) | drugs.slot_overrides(1, "gilteritinib", CONTEXT)
    compiled = compile_model(network_path())
    rows = {f"{dose}": settings | {drugs.dose_parameter(1): dose} for dose in DOSES}
    result = steady_state(compiled, Conditions.from_rows(compiled, rows), observables=["pFLT3A", "paired_FLT3A_A"])
    p = reactions.values(settings)
    explicit = np.array([explicit_dimers(p, dose) for dose in DOSES])
    mean_field = result.values[:, 0, :] / p["amount_FLT3A_total"]
    # no state decides over dimerisation, so that the pairs are exact; 1e-4 is a hundred times the solver's tolerance
    np.testing.assert_allclose(mean_field[:, 1], explicit[:, 1], rtol=1e-4)
    # a dimer lives 10 s and phosphorylation 50-100 s: a receptor sees nearly the mean of its partners; measured 8 %
    np.testing.assert_allclose(mean_field[:, 0], explicit[:, 0], rtol=0.1)
    ic50 = [half_maximal(DOSES, response) for response in (mean_field[:, 0], explicit[:, 0])]
    assert ic50[0] == pytest.approx(ic50[1], rel=0.1)


def test_a_with_partner_b_stays_equal_to_b_with_partner_a(reactions: Reactions) -> None:
    setting = {"ligand_FL_dose": 0.5, "dimerise_FLT3B_propensity": 7.0}
    amounts = np.random.default_rng(3).uniform(0.1, 1.0, len(reactions.species))
    of_pair = {pair: [i for i, _ in reactions.network.observables[f"paired_FLT3{pair}"]] for pair in ("A_B", "B_A")}
    amounts[of_pair["B_A"]] *= amounts[of_pair["A_B"]].sum() / amounts[of_pair["B_A"]].sum()
    change = reactions.derivative(amounts, setting)
    gain = {pair: change[indices].sum() for pair, indices in of_pair.items()}
    assert gain["A_B"] == pytest.approx(gain["B_A"], rel=1e-10)
