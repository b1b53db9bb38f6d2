"""Laws of the whole model: no drug, more drug, what stays, what turns over, rest and return to it, no idle number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from helpers import conserved_totals
from scipy.integrate import simpson

import residuum
from residuum.models import contexts, drugs, parameters
from residuum.simulator import Conditions, Segment, simulate, steady_state
from residuum.simulator.options import default_atol

Float = npt.NDArray[np.float64]

HOUR, DAY = 3600.0, 86_400.0
AFTER = [1.0, 60.0, 600.0, 2 * HOUR, DAY]
"""From the first second to a day after the drugs."""
STRONGEST = {"quizartinib": 1e4, "trametinib": 1e4}
"""A FLT3 and a MEK inhibitor at 10 uM, thousands of times what they need."""
NICHE = ["blast-itd+mixed-stroma", "blast-d835y+mixed-stroma"]
"""Every target is there, with and without the affinities of a kinase-domain mutant."""
SOLVER_RTOL = 1e-4
RENEWED = {"total_FLT3A", "total_FLT3B", "total_AXL"}

by_drug = pytest.mark.parametrize("drug", drugs.names())


def doses_of(drug: str, doses: Sequence[float], context: str, *, equilibrate: bool = True) -> Conditions:
    """Return one condition per dose (nM)."""
    parts = [residuum.aml_conditions([context], {drug: dose}, equilibrate=equilibrate) for dose in doses]
    return Conditions([f"{dose} nM" for dose in doses], np.vstack([c.parameters for c in parts]), parts[0].protocol)


def untreated(context: str) -> Mapping[str, float]:
    """Return the observables of a context at steady state without drugs."""
    result = steady_state(residuum.aml_model(), residuum.aml_conditions([context], equilibrate=False))
    assert result.ok.all()
    return dict(zip(result.observables, result.values[0, 0], strict=True))


# ---- dose -------------------------------------------------------------------------------------------------------


@by_drug
def test_a_drug_at_no_dose_is_no_drug(drug: str) -> None:
    """Amount by amount, to rounding: an absent drug has rates that an empty slot has not, but they meet zeros.

    They stand in the Jacobian, and for some drugs change the last digit of its factors.
    """
    compiled = residuum.aml_model()
    with_zero, without = (
        simulate(compiled, AFTER, residuum.aml_conditions(NICHE, given), observables=compiled.network.species)
        for given in ({drug: 0.0}, {})
    )
    assert without.ok.all()
    np.testing.assert_allclose(with_zero.values, without.values, rtol=1e-9, atol=1e-9)


def occupied(drug: str, context: str) -> list[tuple[str, str]]:
    """Return (monomer, pattern of the occupied state) for every pocket that `drug` binds."""
    found = []
    for name, value in drugs.slot_overrides(1, drug, context).items():
        if not name.endswith("_kon") or value == 0:
            continue
        pocket = name.removeprefix("drug1_").removesuffix("_kon")
        receptor, _, kind = pocket.partition("_type")
        state = rf"drug~{kind}\b" if kind else r"drug~bound\b"
        holders = {"JAK1": ("IL6R",), "JAK2": ("CSF2R", "IL3R")}.get(receptor, (receptor,))
        found += [(holder, state) for holder in holders]
    return found


@by_drug
@pytest.mark.parametrize("when", ["at rest", "after a day"])
def test_more_drug_occupies_more_of_every_target(drug: str, when: str) -> None:
    """From nothing to most of it, whatever the feedbacks do to the amount of the target."""
    compiled = residuum.aml_model()
    doses, species = (0.0, *np.geomspace(1e-3, 1e5, 13)), compiled.network.species
    for context in NICHE:
        conditions = doses_of(drug, doses, context, equilibrate=when != "at rest")
        if when == "at rest":
            result = steady_state(compiled, conditions, observables=species)
        else:
            result = simulate(compiled, [DAY], conditions, observables=species)
        assert result.ok.all()
        pockets = occupied(drug, context)
        assert pockets
        for monomer, state in pockets:
            of_target = np.array([s.startswith(f"{monomer}(") for s in species])
            bound = of_target & np.array([bool(re.search(state, s)) for s in species])
            assert bound.any()
            fraction = result.values[:, 0, bound].sum(axis=1) / result.values[:, 0, of_target].sum(axis=1)
            # a hundredth of the solver's tolerance: where all is occupied the doses differ by less than that
            assert (np.diff(fraction) > -0.01 * SOLVER_RTOL).all(), (context, monomer, fraction)
            assert fraction[0] == pytest.approx(0, abs=1e-12) and fraction[-1] > 0.5, (context, monomer, fraction)


def test_a_drug_does_the_same_in_any_slot() -> None:
    """Sums over the slots are taken in another order: rounding."""
    compiled, given = (
        residuum.aml_model(),
        {"midostaurin": 30.0, "trametinib": 3.0, "ruxolitinib": 50.0, "dasatinib": 5.0},
    )
    there, back = (
        simulate(compiled, AFTER, residuum.aml_conditions(NICHE, dict(order)))
        for order in (given.items(), reversed(given.items()))
    )
    observables = [name for name in there.observables if not name.startswith("free_DRUG")]
    for name in observables:
        np.testing.assert_allclose(there[name], back[name], rtol=1e-7, atol=1e-9, err_msg=name)


# ---- what stays, what turns over --------------------------------------------------------------------------------


def test_nothing_is_lost_that_nothing_makes() -> None:
    """To rounding: the steps keep linear sums whatever their error."""
    compiled = residuum.aml_model()
    kept = [name for name in compiled.network.observables if name.startswith("total_") and name not in RENEWED]
    conditions = residuum.aml_conditions(contexts.names(), STRONGEST)
    result = simulate(compiled, [0.0, *AFTER], conditions, observables=kept)
    assert result.ok.all() and len(kept) >= 28
    np.testing.assert_allclose(result.values, np.broadcast_to(result.values[:, :1], result.values.shape), rtol=1e-9)


TURNOVER = {
    "total_FLT3A": lambda o, p: flt3_turnover("A", o, p),
    "total_FLT3B": lambda o, p: flt3_turnover("B", o, p),
    "total_AXL": lambda o, p: (
        p["degrade_AXL_rate"]
        * p["amount_AXL_total"]
        * (1 + p["synthesise_AXL_STAT5_slope"] * o["pSTAT5"] / (p["synthesise_AXL_STAT5_km"] + o["pSTAT5"])),
        p["degrade_AXL_rate"] * o["total_AXL"],
    ),
    "SPRY": lambda o, p: (p["translate_SPRY_rate"] * o["SPRY_mRNA"], p["degrade_SPRY_rate"] * o["SPRY"]),
}
"""Observable -> what is made and what is lost of it (nM/s), from observables and parameters."""


def flt3_turnover(slot: str, o: Mapping[str, Float], p: Mapping[str, float]) -> tuple[Float, Float]:
    mature, degrade, factor = p["mature_FLT3_rate"], p["degrade_FLT3_rate"], p["degrade_pFLT3_factor"]
    made = p[f"amount_FLT3{slot}_total"] * mature * degrade / (mature + degrade)
    lost = np.zeros_like(o["pSTAT5"])
    for partner in ("none", "A", "B"):
        pair = [f"FLT3{slot}_surface_{partner}"]
        if partner not in ("none", slot):
            pair.append(f"FLT3{partner}_surface_{slot}")
        phosphorylated = sum(o[f"p{name}"] for name in pair) / sum(o[name] for name in pair)
        lost = lost + o[pair[0]] * degrade * (1 + (factor - 1) * phosphorylated)
    return made + 0 * lost, lost


@pytest.mark.parametrize("name", TURNOVER)
def test_what_turns_over_changes_by_what_is_made_less_what_is_lost(name: str) -> None:
    """Over six hours under drugs, by quadrature every 30 s; at rest the two are equal."""
    compiled = residuum.aml_model()
    times = np.linspace(0, 6 * HOUR, 721)
    conditions = residuum.aml_conditions(["blast-itd+mixed-stroma"], {"quizartinib": 20.0, "trametinib": 3.0})
    result = simulate(compiled, times, conditions)
    amounts = {observable: result[observable][0] for observable in result.observables}
    p = dict(zip(compiled.parameters, conditions.parameters[0], strict=True))
    made, lost = TURNOVER[name](amounts, p)
    assert made[0] == pytest.approx(lost[0], rel=1e-6)  # the drugs come at time 0
    gained, expected = amounts[name][-1] - amounts[name][0], simpson(made - lost, x=times)
    # the tolerance of the solver, and as much for the quadrature, of all that was made
    assert gained == pytest.approx(expected, abs=2 * SOLVER_RTOL * simpson(made, x=times))
    assert abs(gained) > 0.01 * amounts[name][0]


# ---- every run goes well ----------------------------------------------------------------------------------------


def test_no_amount_is_negative_in_any_context() -> None:
    """Beyond the amount that the solver takes for nothing."""
    compiled = residuum.aml_model()
    conditions = residuum.aml_conditions(contexts.names(), STRONGEST)
    result = simulate(compiled, AFTER, conditions, observables=compiled.network.species)
    assert result.ok.all(), result.summary()
    assert result.values.min() >= -default_atol(compiled, SOLVER_RTOL)


def test_no_amount_is_negative_and_every_cell_comes_to_rest_whatever_the_priors_allow() -> None:
    compiled, rng = residuum.aml_model(), np.random.default_rng(20)
    some = [str(context) for context in rng.choice(contexts.names(), 20, replace=False)]
    conditions = residuum.aml_conditions(some, {"gilteritinib": 30.0, "trametinib": 30.0})
    drawn = conditions.parameters.copy()
    for row in parameters.table():
        drawn[:, compiled.parameter_index(row.name)] *= 10 ** (row.prior_log10_sd * rng.standard_normal(len(some)))
    conditions = Conditions(conditions.names, drawn, conditions.protocol)
    result = simulate(compiled, AFTER, conditions, observables=compiled.network.species)
    assert result.ok.all(), result.summary()
    assert result.values.min() >= -default_atol(compiled, SOLVER_RTOL)


# ---- rest -------------------------------------------------------------------------------------------------------


def test_every_context_has_a_stable_steady_state_which_it_reaches_in_a_week() -> None:
    """An unstable one would fail. BCL-XL, of which half turns over in 19 h, has exp(-6) = 0.25 % to go after a week."""
    compiled, conditions = residuum.aml_model(), residuum.aml_conditions(contexts.names(), equilibrate=False)
    rest, week = steady_state(compiled, conditions), simulate(compiled, [7 * DAY], conditions)
    assert rest.ok.all(), rest.summary()
    assert week.ok.all(), week.summary()
    np.testing.assert_allclose(week.values[:, 0], rest.values[:, 0], rtol=5e-3, atol=1e-6)


@pytest.mark.parametrize("context", ["blast-itd", "blast-wt+mixed-stroma"])
def test_a_drug_that_is_washed_out_leaves_no_trace_after_three_days(context: str) -> None:
    """Whichever drug it was, a day at 1 uM.

    BCL-XL may lack a tenth of what it lost: exp(-2.6) = 7.5 % by its own turnover, somewhat more as its mRNA is back
    later.
    """
    compiled = residuum.aml_model()
    parts = [residuum.aml_conditions([context], {drug: 1000.0}) for drug in drugs.names()]
    washed = (parts[0].protocol[0], Segment(DAY, math.inf, {drugs.dose_parameter(1): 0.0}))
    conditions = Conditions(drugs.names(), np.vstack([part.parameters for part in parts]), washed)
    result = simulate(compiled, [DAY, 4 * DAY], conditions)
    assert result.ok.all()
    before = untreated(context)
    changed = 0
    for name in (name for name in result.observables if name in compiled.network.observables):
        left = 0.1 * np.abs(result[name][:, 0] - before[name]).max() if name == "BCLXL" else 0.0
        np.testing.assert_allclose(result[name][:, 1], before[name], rtol=1e-3, atol=left + 1e-6, err_msg=name)
        changed += not np.allclose(result[name][:, 0], before[name], rtol=0.1, atol=1e-3)
    assert changed > 50


@pytest.mark.parametrize("context", ["blast-itd", "cd34+mixed-stroma"])
def test_there_are_processes_of_seconds_and_of_hours(context: str) -> None:
    """Deviations from rest last from below a second to a day; none grows, and none stays but of conserved totals."""
    compiled, conditions = residuum.aml_model(), residuum.aml_conditions([context], equilibrate=False)
    rest = steady_state(compiled, conditions, observables=compiled.network.species)
    jacobian = compiled.jacobian(0.0, rest.values[0, 0], conditions.parameters[0]).toarray()
    modes = np.linalg.eigvals(jacobian).real
    stays = np.abs(modes) < 1e-9
    assert np.count_nonzero(stays) == len(conserved_totals(compiled))
    rates = -modes[~stays]
    assert rates.max() > 1.0
    assert 0 < rates.min() < 1.1e-5
    assert np.count_nonzero((rates > 1e-4) & (rates < 1e-2)) > 20


# ---- FLT3 in its two pools --------------------------------------------------------------------------------------


def flt3_pools(context: str, drug: Mapping[str, float]) -> dict[str, float]:
    """Return, a day after the drug, the receptor at the surface (nM) and the share of each slot in the ER."""
    result = simulate(residuum.aml_model(), [DAY], residuum.aml_conditions([context], drug))
    pools = {"surface": result["surface_FLT3"].item()}
    for slot in "AB":
        inside = sum(result[f"FLT3{slot}_ER_{partner}"].item() for partner in ("none", "A", "B"))
        total = result[f"total_FLT3{slot}"].item()
        pools[slot] = inside / total if total else math.nan
    return pools


@pytest.mark.parametrize("context", ["blast-itd", "molm-13", "mv4-11", "baf3-itd-jmd"])
def test_an_inhibitor_brings_the_itd_from_the_er_to_the_surface(context: str) -> None:
    """At least 1.2-fold in a day: direction as published for FLT3-ITD under kinase inhibitors, size assumed."""
    before, after = flt3_pools(context, {}), flt3_pools(context, {"quizartinib": 20.0})
    assert after["surface"] > 1.2 * before["surface"]
    assert after["A"] < 0.6 * before["A"]


@pytest.mark.parametrize("context", ["blast-wt", "cd34"])
def test_it_hardly_does_so_in_cells_with_wild_type_receptor(context: str) -> None:
    before, after = flt3_pools(context, {}), flt3_pools(context, {"quizartinib": 20.0})
    assert before["surface"] < after["surface"] < 1.1 * before["surface"]


def test_more_of_the_itd_than_of_the_wild_type_is_in_the_er() -> None:
    beside, alone = flt3_pools("blast-itd", {}), flt3_pools("blast-wt", {})
    assert beside["A"] > 1.5 * max(beside["B"], alone["A"], alone["B"])


# ---- no idle number ---------------------------------------------------------------------------------------------

FULL = {"_kon": 1e-3, "_kd": 3.0, "_factor": 2.0, "_residual": 0.1, "_clearance": 1e-3, "_dose": 1.0}
"""Ending -> value of a drug that binds every pocket."""
GUARDS = {"guard_drug_rate", "guard_drug_trace", "guard_drug_koff", "guard_amount"}
"""Keep quotients finite where nothing is there; they are to change nothing."""


def test_every_parameter_changes_something_and_the_guards_nothing() -> None:
    """In a cell with mutant RAS on mixed stroma, each slot with a drug that binds all; relative derivatives at 2 h.

    One that is not used has derivatives of exactly zero. The smallest there is (how fast a drug comes to CYP3A4, on
    which little depends by then) is 2e-5; of guards the largest is 1e-6.
    """
    compiled = residuum.aml_model()
    values = contexts.overrides("blast-itd-nras+mixed-stroma")
    for name in parameters.nominal():
        if re.match(r"drug\d_", name):
            values[name] = next(value for ending, value in FULL.items() if name.endswith(ending))
    conditions = Conditions.from_rows(compiled, {"full": values})
    names, seen = list(compiled.parameters), [*compiled.network.species, "survival_score"]
    assert set(names) == parameters.nominal().keys()
    result = simulate(compiled, [2 * HOUR], conditions, observables=seen, sensitivities=names)
    assert result.ok.all() and result.sensitivities is not None
    amounts, nominal = result.values[0, 0], conditions.parameters[0]
    scale = np.where(nominal > 0, nominal, 1.0) / np.maximum(np.abs(amounts), 1e-6)[:, None]
    effect = dict(zip(names, np.abs(result.sensitivities[0, 0] * scale).max(axis=0), strict=True))
    assert not [name for name, largest in effect.items() if name not in GUARDS and not largest > 1e-6]
    assert not [name for name in GUARDS if not effect[name] < 1e-5]


def test_every_species_takes_part_and_every_observable_is_of_something() -> None:
    network = residuum.aml_model().network
    taking_part = {i for reaction in network.reactions for i in (*reaction.reactants, *reaction.products)}
    assert taking_part == set(range(len(network.species)))
    assert all(network.observables.values())


def test_every_function_is_a_rate_a_readout_or_part_of_one() -> None:
    network = residuum.aml_model().network
    used = {reaction.rate for reaction in network.reactions} | {"survival_score"}
    todo = list(used)
    while todo:
        text = network.functions.get(todo.pop(), "")
        inside = {name for name in re.findall(r"[A-Za-z_]\w*", text) if name in network.functions} - used
        used |= inside
        todo += inside
    assert network.functions.keys() <= used
