"""Steady states: exact where a closed form exists, those of the trajectory where there are several, a status where
there is none, or none that can be trusted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import conserved_totals, net

import residuum
from residuum.simulator import (
    CompiledModel,
    Conditions,
    Segment,
    SolverOptions,
    Status,
    compile_model,
    equilibration,
    simulate,
    steady_state,
)

EXACT = 1e-11
"""Newton's last step is 1e-12 of the amounts or less; rounding of slopes and sums comes on top."""


def binding() -> CompiledModel:
    return net("kf 1; kr 0.3", "A() 10; B() 7; AB() 0", "1,2 3 kf; 3 1,2 kr", "AB 3")


def turnover() -> CompiledModel:
    return net("ks 3; kd 0.2", "A() 1", "0 1 ks; 1 0 kd", "A 1")


def cascade() -> CompiledModel:
    """Each kinase is phosphorylated by the active one above it: x = T a u / (a u + d), with u the one above."""
    return net(
        "a 2; d 0.5", "S() 1; X() 3; Xp() 0; Y() 5; Yp() 0; Z() 7; Zp() 0",
        "1,2 1,3 a; 3 2 d; 3,4 3,5 a; 5 4 d; 5,6 5,7 a; 7 6 d", "Xp 3; Yp 5; Zp 7",
    )  # fmt: skip


def of_binding(p: dict[str, float]) -> list[float]:
    total, kd = 17.0, p["kr"] / p["kf"]
    return [140 / (total + kd + np.sqrt((total + kd) ** 2 - 280))]


def of_cascade(p: dict[str, float]) -> list[float]:
    active, found = 1.0, []
    for total in (3.0, 5.0, 7.0):
        active = total * p["a"] * active / (p["a"] * active + p["d"])
        found.append(active)
    return found


CLOSED_FORMS: dict[str, tuple[Callable[[], CompiledModel], Callable[[dict[str, float]], list[float]]]] = {
    "reversible binding": (binding, of_binding),
    "production and degradation": (turnover, lambda p: [p["ks"] / p["kd"]]),
    "cascade": (cascade, of_cascade),
}


def spread(compiled: CompiledModel, n: int, fold: float, seed: int = 0) -> Conditions:
    """Return n conditions with every parameter that may be set multiplied by up to `fold`, or divided by it."""
    p = compiled.nominal * fold ** np.random.default_rng(seed).uniform(-1, 1, (n, compiled.n_parameters))
    for name in compiled.frozen:
        j = compiled.parameters.index(name)
        p[:, j] = compiled.nominal[j]
    return Conditions(tuple(f"set {i}" for i in range(n)), p)


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
def test_steady_states_equal_closed_forms_whatever_the_tolerance(name: str, rtol: float) -> None:
    build, exact = CLOSED_FORMS[name]
    compiled = build()
    conditions = spread(compiled, 20, 30.0)
    result = steady_state(compiled, conditions, options=SolverOptions(rtol=rtol))
    assert result.ok.all(), result.summary()
    expected = [exact(dict(zip(compiled.parameters, p, strict=True))) for p in conditions.parameters]
    # Newton converges quadratically: a last step below 1e-6 of the tolerance leaves nothing to see
    np.testing.assert_allclose(result.values[:, 0], expected, rtol=max(EXACT, 1e-6 * rtol))


def test_conserved_totals_stay_as_they_start() -> None:
    for compiled in (binding(), cascade(), residuum.aml_model()):
        totals = conserved_totals(compiled)
        conditions = spread(compiled, 16, 3.0)
        result = steady_state(compiled, conditions, observables=compiled.species)
        before = compiled.initial_amounts(conditions.parameters) @ totals.T
        after = result.values[:, 0] @ totals.T
        scale = np.abs(compiled.initial_amounts(conditions.parameters)) @ np.abs(totals).T
        assert result.ok.all() and np.max(np.abs(after - before) / scale.max(axis=1, keepdims=True)) < 1e-12


def test_the_shipped_model_comes_to_rest_where_long_integration_leads() -> None:
    compiled = residuum.aml_model()
    conditions = residuum.aml_conditions(
        ["blast-itd", "blast-itd+erk-stroma"], {"gilteritinib": 10.0}, equilibrate=False
    )
    result = steady_state(compiled, conditions, observables=compiled.species)
    late = simulate(compiled, [1e8], conditions, observables=compiled.species, options=SolverOptions(rtol=1e-9))
    assert result.ok.all() and late.ok.all()
    atol = float(late.attributes["atol"])
    np.testing.assert_allclose(result.values, late.values, rtol=1e-6, atol=atol)


@pytest.mark.external
@pytest.mark.slow
def test_a_published_network_comes_to_rest_where_long_integration_leads(shared: Any) -> None:
    compiled = compile_model(shared / "suites" / "networks" / "egfr_net.net")
    conditions = spread(compiled, 8, 3.0)
    result = steady_state(compiled, conditions, observables=compiled.species)
    late = simulate(compiled, [1e6], conditions, observables=compiled.species, options=SolverOptions(rtol=1e-9))
    assert result.ok.all() and late.ok.all()
    np.testing.assert_allclose(result.values, late.values, rtol=1e-6, atol=float(late.attributes["atol"]))
    totals, start = conserved_totals(compiled), compiled.initial_amounts(conditions.parameters)
    scale = start @ np.abs(totals).T
    assert np.max(np.abs(result.values[:, 0] @ totals.T - start @ totals.T) / scale) < 1e-12


# ---- which steady state -----------------------------------------------------------------------------------------


def switch() -> CompiledModel:
    """dA/dt = 0.05 + A^2 / (1 + A^2) - 0.45 A: stable below and above, unstable between."""
    return net("basal 0.05; d 0.45; A0 1", "A() A0", "0 1 made; 1 0 d", "A 1", "made() basal+A^2/(1+A^2)")


def test_the_steady_state_is_the_one_that_the_trajectory_reaches() -> None:
    low, border, high = np.sort(np.roots([-0.45, 1.05, -0.45, 0.05]).real)
    compiled = switch()
    off = np.array([1e-3, 1e-2, 0.1, 0.5])
    starts = np.concatenate([border * (1 - off), border * (1 + off), [0.0, low, high, 100.0]])
    result = steady_state(compiled, Conditions.product(compiled, A0=starts))
    assert result.ok.all(), result.summary()
    np.testing.assert_allclose(result["A"][:, 0], np.where(starts < border, low, high), rtol=1e-9)


def logistic() -> CompiledModel:
    """dA/dt = A - A^2: A = 0 is a steady state that the smallest amount leaves for A = 1."""
    return net("k 1; A0 0", "A() A0", "1 1,1 k; 1,1 1 k", "A 1")


@pytest.mark.fault
@pytest.mark.parametrize("start", [0.0, 1e-16])
def test_a_steady_state_that_the_smallest_amount_leaves_is_none(start: float) -> None:
    compiled = logistic()
    result = steady_state(compiled, Conditions.product(compiled, A0=[start]), options=SolverOptions(atol=1e-9))
    assert result.status[0] == Status.UNSTABLE and np.isnan(result.values).all()
    assert "A()" in result.message(0) and "unstable" in result.message(0)


def test_what_starts_above_nothing_grows_to_the_steady_state() -> None:
    compiled = logistic()
    result = steady_state(compiled, Conditions.product(compiled, A0=[1e-3, 2.0]), options=SolverOptions(atol=1e-9))
    np.testing.assert_allclose(result["A"][:, 0], 1.0, rtol=1e-12)


def test_what_is_absent_does_not_make_a_pre_equilibration_unstable() -> None:
    """Infected cells would grow, but there are none until the clock starts."""
    compiled = logistic()
    before = Conditions(("none",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    result = simulate(compiled, [1.0], before, options=SolverOptions(atol=1e-9))
    assert result.ok[0] and result["A"][0, 0] == 0.0


def oscillator() -> CompiledModel:
    """The Brusselator with a = 1: it turns around its steady state X = 1, Y = b, and leaves it if b > 2."""
    return net("b 3; X0 1.5; Y0 3", "X() X0; Y() Y0", "0 1 1; 1 2 b; 1,1,2 1,1,1 1; 1 0 1", "X 1; Y 2")


@pytest.mark.fault
def test_an_oscillator_has_no_steady_state() -> None:
    options = SolverOptions(equilibration_time=1e3)
    result = steady_state(oscillator(), options=options)
    assert result.status[0] == Status.NO_STEADY_STATE and np.isnan(result.values).all()


@pytest.mark.fault
@pytest.mark.parametrize(("b", "status"), [(1.5, Status.OK), (1.9, Status.OK), (2.3, Status.UNSTABLE)])
def test_the_centre_of_an_oscillation_is_no_steady_state(b: float, status: Status) -> None:
    compiled = oscillator()
    conditions = Conditions.from_rows(compiled, {"centre": {"b": b, "X0": 1.0, "Y0": b}})
    assert steady_state(compiled, conditions).status[0] == status


# ---- isolated or not --------------------------------------------------------------------------------------------

ENDS = {
    "all of A becomes B": (("k 1", "A() 1; B() 0", "1 2 k", "A 1; B 2"), [0.0, 1.0]),
    "A is used up by B": (("k 1", "A() 1; B() 3; C() 0", "1,2 3 k", "A 1; B 2; C 3"), [0.0, 2.0, 1.0]),
    "a reaction without a rate": (("k 1; no 0", "A() 1; B() 0; C() 2", "1 2 k; 3 1 no", "A 1; B 2; C 3"), [0, 1, 2]),
    "a reaction that lacks its catalyst": (
        ("k 1", "A() 1; B() 0; C() 2; E() 0", "1 2 k; 3,4 1,4 k", "A 1; B 2; C 3"), [0, 1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_irreversible_ends_are_steady_states_if_conserved_totals_decide_them(name: str) -> None:
    text, expected = ENDS[name]
    result = steady_state(net(*text))
    assert result.ok[0], result.message(0)
    np.testing.assert_allclose(result.values[0, 0], expected, atol=1e-12)


def competition() -> CompiledModel:
    """A becomes B or C, for good: B ends at B0 + A0 kb / (kb + kc), whatever B0 was."""
    return net("kb 1; kc 2; B0 0", "A() 1; B() B0; C() 0", "1 2 kb; 1 3 kc", "B 2; C 3")


@pytest.mark.fault
def test_an_end_that_depends_on_the_whole_start_is_no_steady_state() -> None:
    compiled = competition()
    result = steady_state(compiled)
    assert result.status[0] == Status.NOT_ISOLATED and np.isnan(result.values).all()
    assert "does not return" in result.message(0)


def test_a_pre_equilibration_ends_where_the_trajectory_does() -> None:
    compiled = competition()
    conditions = Conditions(("a",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    result = simulate(compiled, [0.0], conditions)
    np.testing.assert_allclose(result.values[0, 0], [1 / 3, 2 / 3], rtol=1e-5)


# ---- independence -----------------------------------------------------------------------------------------------


def test_steady_states_are_the_same_bits_in_any_order_and_any_number_of_threads() -> None:
    for compiled in (switch(), cascade()):
        conditions = spread(compiled, 37, 10.0)
        order = np.random.default_rng(5).permutation(37)
        shuffled = Conditions(tuple(conditions.names[i] for i in order), conditions.parameters[order])
        one = steady_state(compiled, conditions, threads=1)
        many = steady_state(compiled, shuffled, threads=3)
        np.testing.assert_array_equal(one.values[order], many.values)
        np.testing.assert_array_equal(one.status[order], many.status)
        for name in one.statistics:
            np.testing.assert_array_equal(one.statistics[name][order], many.statistics[name])


def test_runs_that_start_alike_are_equilibrated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dose comes after the equilibration, so that all doses of a context share it; the numbers do not show it."""
    compiled = net("ks 1; kd 1; dose 0", "A() 2", "0 1 ks; 1 0 kd; 1 0 dose", "A 1")
    grid = Conditions.product(compiled, ks=[1.0, 2.0, 3.0], dose=np.linspace(0, 2, 20))
    conditions = Conditions(grid.names, grid.parameters, (Segment(-np.inf, 0.0, {"dose": 0.0}),))
    begun: list[int] = []
    one_by_one = equilibration.first_equals

    def counting(batch: Any, flags: Any) -> Any:
        leader = one_by_one(batch, flags)
        begun.append(len(set(leader)))
        return leader

    monkeypatch.setattr(equilibration, "first_equals", counting)
    shared = simulate(compiled, [0.0, 0.5], conditions)
    monkeypatch.setattr(equilibration, "first_equals", lambda batch, flags: np.arange(len(flags)))
    alone = simulate(compiled, [0.0, 0.5], conditions)
    assert begun == [3]
    np.testing.assert_array_equal(shared.values, alone.values)
    np.testing.assert_array_equal(shared.status, alone.status)
    for name in alone.statistics:
        np.testing.assert_array_equal(shared.statistics[name], alone.statistics[name])


@pytest.mark.fault
def test_runs_that_fail_alike_say_so_alike() -> None:
    compiled = net("k 1; dose 0", "A() 1", "0 1 k; 1 0 dose", "A 1")
    conditions = Conditions.product(compiled, dose=[0.0, 1.0])
    before = Conditions(conditions.names, conditions.parameters, (Segment(-np.inf, 0.0, {"dose": 0.0}),))
    result = simulate(compiled, [1.0], before, options=SolverOptions(equilibration_time=1e3))
    assert (result.status == Status.NO_STEADY_STATE).all() and result.message(0) == result.message(1)


@pytest.mark.slow
def test_random_parameters_find_their_steady_states() -> None:
    compiled = residuum.aml_model()
    conditions = spread(compiled, 200, 3.0, seed=1)
    result = steady_state(compiled, conditions, observables=compiled.species)
    tight = steady_state(compiled, conditions, observables=compiled.species, options=SolverOptions(rtol=1e-10))
    assert result.ok.all() and tight.ok.all()
    atol = float(result.attributes["atol"])
    np.testing.assert_allclose(result.values, tight.values, rtol=1e-7, atol=1e-2 * atol)


@pytest.mark.fault
def test_ctrl_c_returns_the_steady_states_that_were_found() -> None:
    options = SolverOptions(max_steps=10**9, equilibration_time=1e9)
    conditions = Conditions.product(oscillator(), b=[1.5, 3.0, 3.0])
    timer = threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    result = steady_state(oscillator(), conditions, options=options, threads=1)
    assert result.interrupted and result.status.tolist() == [Status.OK, Status.STOPPED, Status.STOPPED]
    np.testing.assert_allclose(result.values[0, 0], [1.0, 1.5], rtol=1e-12)


@pytest.mark.fault
def test_a_search_may_be_given_a_time_limit() -> None:
    options = SolverOptions(max_steps=10**9, equilibration_time=1e9, max_seconds=0.2)
    result = steady_state(oscillator(), Conditions.product(oscillator(), b=[1.5, 3.0]), options=options)
    assert result.status.tolist() == [Status.OK, Status.TIME_LIMIT]
