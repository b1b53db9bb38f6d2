"""Runs: exact where an exact solution exists, refused where the input is wrong, a status where they fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import decay, dimerisation, net, pulsed, saturating

from residuum.simulator import (
    CompiledModel,
    Conditions,
    InputError,
    Segment,
    SolverOptions,
    Status,
    UnknownNameError,
    simulate,
    steady_state,
)

TIMES = np.linspace(0, 4, 9)


def exploding() -> CompiledModel:
    """dX/dt = k X^2 reaches infinity at t = 1 / (k x0) = 2."""
    return net("k 1; x0 0.5", "X() x0", "1,1 1,1,1 k", "X 1")


def sinking() -> CompiledModel:
    """Loss at a constant rate, whatever is left: the amount becomes negative at t = 1."""
    return net("k 1; small 1e-300", "A() 1", "1 0 loss", "A 1", "loss() k/A")


CLOSED_FORMS: dict[str, tuple[Callable[[], CompiledModel], Callable[[Any], Any]]] = {
    "decay": (decay, lambda t: np.exp(-0.5 * t)),
    "dimerisation": (dimerisation, lambda t: 1 / (1 + t)),
    "explicit time": (pulsed, lambda t: np.exp(-(t + (1 - np.cos(t)) / 2))),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-10])
def test_runs_equal_closed_forms(name: str, rtol: float) -> None:
    build, exact = CLOSED_FORMS[name]
    result = simulate(build(), TIMES, observables=["A"], options=SolverOptions(rtol=rtol))
    # the local error is held at rtol; over these few steps the global one stays below ten times that
    np.testing.assert_allclose(result["A"][0], exact(TIMES), rtol=10 * rtol, atol=rtol)


def test_species_observables_and_expressions_can_be_kept() -> None:
    compiled = saturating()
    result = simulate(compiled, TIMES, observables=["loss", "A()", "A_total"])
    amount = result["A()"]
    np.testing.assert_array_equal(result["A_total"], amount)
    np.testing.assert_allclose(result["loss"], 1 / (0.5 + amount), rtol=1e-14)


def test_a_steady_state_is_where_nothing_changes() -> None:
    compiled = saturating()
    result = steady_state(compiled, observables=["A_total"])
    # ks = vmax A / (km + A) gives A = ks km / (vmax - ks)
    assert result.ok[0] and result.values[0, 0, 0] == pytest.approx(0.2 * 0.5 / 0.8, rel=1e-5)


def test_a_model_that_never_settles_has_no_steady_state() -> None:
    growing = net("k 1", "A() 1", "0 1 k", "A 1")
    result = steady_state(growing, options=SolverOptions(equilibration_time=1e4))
    assert result.status[0] == Status.NO_STEADY_STATE
    assert np.isnan(result.values).all() and "still changes" in result.message(0)


@pytest.mark.parametrize(("kf", "kr"), [(1e6, 3.7e7), (1e-3, 1e6), (1.0, 1e-3)])
def test_fast_turnover_does_not_hide_a_steady_state(kf: float, kr: float) -> None:
    """At rates this fast the slope never gets smaller than the rounding error of its sum."""
    compiled = net("kf 1; kr 1", "A() 10; B() 7; AB() 0", "1,2 3 kf; 3 1,2 kr", "AB 3")
    result = steady_state(compiled, Conditions.product(compiled, kf=[kf], kr=[kr]))
    total, kd = 17.0, kr / kf
    exact = 140 / (total + kd + np.sqrt((total + kd) ** 2 - 280))  # the root, without cancellation
    assert result.ok[0], result.message(0)
    assert result.values[0, 0, 0] == pytest.approx(exact, rel=1e-5)


def test_a_model_with_a_clock_has_no_steady_state() -> None:
    compiled = pulsed()
    with pytest.raises(InputError, match="time"):
        steady_state(compiled)
    before = Conditions(("a",), compiled.nominal[None], (Segment(-np.inf, 0.0),))
    with pytest.raises(InputError, match="no steady state"):
        simulate(compiled, [1.0], before)


def test_amounts_that_rounding_makes_negative_do_not_stop_a_broken_power() -> None:
    """C decays to nothing and drives a Hill rate with exponent 1.7; (-1e-18)^1.7 is no number."""
    compiled = net(
        "kf 1; kr 1; kd 1; K 0.3; k 1", "L() 1; R() 2; C() 0; P() 0", "1,2 3 kf; 3 1,2 kr; 3 0 kd; 0 4 hill; 4 0 k",
        "C_total 3; P_total 4", "hill() k*C_total^1.7/(K^1.7+C_total^1.7)",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    n = 60
    conditions = Conditions(
        tuple(map(str, range(n))), compiled.nominal * np.where(
            np.isin(compiled.parameters, ["kf", "kr", "kd"]), 10 ** rng.uniform(-2, 2, (n, compiled.n_parameters)), 1.0)
    )  # fmt: skip
    result = simulate(compiled, [1.0, 100.0, 1e4], conditions)
    assert result.ok.all(), result.summary()


def test_a_fast_reaction_may_begin_late_on_the_clock() -> None:
    compiled = net("k 0; A0 1", "A() A0; B() 0", "1,1 2 0.5*k", "A 1")
    release = Conditions(("late",), compiled.nominal[None], (Segment(1e6, 2e6, {"k": 1e9}),))
    late = 1e6 + 1e-6  # a thousand half-lives on, and near what the clock resolves
    result = simulate(compiled, [late], release)
    assert result.ok[0], result.message(0)
    assert result["A"][0, 0] == pytest.approx(1 / (1 + 1e9 * (late - 1e6)), rel=1e-4)


# ---- protocols --------------------------------------------------------------------------------------------------


def test_segments_act_from_start_to_end() -> None:
    compiled = decay()
    protocol = (Segment(1.0, 2.0, {"k": 0.0}),)
    result = simulate(compiled, [1.0, 2.0, 4.0], Conditions(("pause",), compiled.nominal[None], protocol))
    np.testing.assert_allclose(result["A"][0], np.exp([-0.5, -0.5, -1.5]), rtol=1e-5)


def test_pre_equilibration_starts_the_clock_in_the_steady_state() -> None:
    compiled = net("ks 1; kd 1; dose 0", "A() 2", "0 1 ks; 1 0 kd; 1 0 dose", "A 1")
    conditions = Conditions.product(compiled, dose=[1.0])
    before = Segment(-np.inf, 0.0, {"dose": 0.0})
    result = simulate(compiled, [0.0, 50.0], Conditions(conditions.names, conditions.parameters, (before,)))
    np.testing.assert_allclose(result["A"][0], [1.0, 0.5], rtol=1e-5)


def test_a_clamped_species_follows_the_segment() -> None:
    compiled = net("k 1; F0 0", "$F() F0; B() 0", "1 1,2 k", "F 1; B 2")
    conditions = Conditions(("pulse",), compiled.nominal[None], (Segment(1.0, 2.0, {"F0": 3.0}),))
    result = simulate(compiled, [1.0, 1.5, 3.0], conditions, options=SolverOptions(atol=1e-7))
    np.testing.assert_allclose(result["F"][0], [0.0, 3.0, 0.0])
    np.testing.assert_allclose(result["B"][0], [0.0, 1.5, 3.0], rtol=1e-6)


def test_the_start_of_the_clock_belongs_to_what_begins_there_whatever_follows() -> None:
    compiled = net("k 1; F0 7", "$F() F0; B() 0", "1 1,2 k", "F 1")
    protocol = (Segment(0.0, 10.0, {"F0": 3.0}),)
    conditions = Conditions(("a",), compiled.nominal[None], protocol)
    options = SolverOptions(atol=1e-6)
    for times in ([0.0], [0.0, 1.0], [0.0, 10.0]):
        assert simulate(compiled, times, conditions, options=options)["F"][0, 0] == 3.0


def test_the_last_output_is_there_however_the_last_step_rounds() -> None:
    """The sum t + h may fall one unit in the last place short of the end; the output there is written all the same."""
    compiled = net("k 1", "A() 1; B() 0", "1 2 k; 2 1 k", "A 1; B 2")
    conditions = Conditions.product(compiled, k=np.linspace(0.5, 2, 8))
    for end in [444.1020776240252, *np.random.default_rng(0).uniform(1, 1000, 200).tolist()]:
        result = simulate(compiled, [end], conditions, observables=["A"], threads=1)
        assert result.ok.all() and np.isfinite(result.values).all(), end


def test_a_boundary_belongs_to_the_segment_that_ends_there_however_its_last_step_rounds() -> None:
    compiled = net("k 1; d 0", "A() 1; $D() d", "1 2,1 k; 1 1 k", "A 1; D 2")
    for b in np.random.default_rng(1).uniform(1, 1000, 100).tolist():
        protocol = (Segment(0.0, b, {"d": 1.0}), Segment(b, 3 * b, {"d": 7.0}))
        conditions = Conditions(("a",), compiled.nominal[None], protocol)
        assert simulate(compiled, [b], conditions, threads=1)["D"][0, 0] == 1.0


def test_a_segment_may_hold_one_value_per_condition() -> None:
    compiled = decay()
    conditions = Conditions(("a", "b"), np.tile(compiled.nominal, (2, 1)), (Segment(0.0, 9.0, {"k": [1.0, 2.0]}),))
    np.testing.assert_allclose(simulate(compiled, [1.0], conditions)["A"][:, 0], np.exp([-1.0, -2.0]), rtol=1e-5)


# ---- wrong input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: simulate(m, [0, 2, 1]), "times must increase: 2 is followed by 1"),
        (lambda m: simulate(m, [0, 1, 1]), "times must increase"),
        (lambda m: simulate(m, []), "non-empty"),
        (lambda m: simulate(m, [np.nan]), "finite"),
        (lambda m: simulate(m, [-1.0, 1.0]), "the clock starts at 0"),
        (lambda m: simulate(m, [1.0], observables=["a"]), "did you mean 'A'"),
        (lambda m: simulate(m, [1.0], threads=0), "threads"),
        (lambda m: SolverOptions(rtol=0), "rtol is 0"),
        (lambda m: SolverOptions(rtol=-1e-6), "rtol"),
        (lambda m: SolverOptions(atol=0.0), "atol"),
        (lambda m: SolverOptions(method="rodas5"), "did you mean 'rodas5p'"),
        (lambda m: SolverOptions(max_steps=0), "max_steps"),
        (lambda m: simulate(m, [1.0], options=SolverOptions(atol=[1e-3])), "atol has shape"),
        (lambda m: Conditions.product(m, kk=[1]), "unknown parameter 'kk': did you mean 'k'"),
        (lambda m: Conditions.from_rows(m, {"a": {"k": np.nan}}), "k in condition 'a' is nan"),
        (lambda m: Conditions.from_rows(m, {"a": {"k": "fast"}}), "'fast', expected a number"),
        (lambda m: Conditions(("a",), np.ones((2, 2))), "1 condition names"),
        (lambda m: simulate(m, [1.0], Conditions(("a",), np.ones((1, 7)))), "another model"),
        (lambda m: Segment(2.0, 1.0), "must end after it starts"),
        (lambda m: Conditions(("a",), m.nominal[None], (Segment(0, 2), Segment(1, 3))), "overlap"),
        (lambda m: simulate(m, [1.0], Conditions(("a",), m.nominal[None], (Segment(0, 2, {"q": 1.0}),))), "'q'"),
        (lambda m: steady_state(m, Conditions(("a",), m.nominal[None], (Segment(0, 2),))), "without a protocol"),
    ],
)
def test_wrong_input_is_refused_in_words_before_any_run(call: Callable[[CompiledModel], object], says: str) -> None:
    with pytest.raises(InputError) as error:
        call(decay())
    assert says in str(error.value)


def test_an_unknown_name_is_a_key_error_too() -> None:
    with pytest.raises(UnknownNameError):
        simulate(decay(), [1.0])["nothing"]


def test_an_empty_table_of_conditions_runs_nothing() -> None:
    none = Conditions((), np.empty((0, decay().n_parameters)))
    assert simulate(decay(), [1.0], none).values.shape == (0, 1, 3)


def test_conditions_and_results_do_not_share_arrays_with_the_caller() -> None:
    compiled, times = decay(), np.array([1.0, 2.0])
    mine = compiled.nominal.copy()[None]
    conditions = Conditions(("a",), mine)
    mine[:] = 99.0
    np.testing.assert_array_equal(conditions.parameters[0], compiled.nominal)
    with pytest.raises(ValueError, match="read-only"):
        conditions.parameters[0, 0] = 1.0
    result = simulate(compiled, times, conditions)
    times[:] = 0.0
    assert result.times.tolist() == [1.0, 2.0]


def test_a_scale_without_any_amount_has_to_be_given() -> None:
    empty = net("k 1", "A() 0", "0 1 k; 1 0 k", "A 1")
    with pytest.raises(InputError, match="pass SolverOptions"):
        simulate(empty, [1.0])
    assert simulate(empty, [1.0], options=SolverOptions(atol=1e-6)).ok[0]


def test_clamped_species_do_not_set_the_scale() -> None:
    compiled = net("k 1", "$ATP() 1e9; A() 1", "1,2 1 k", "A 2")
    result = simulate(compiled, [1.0])
    assert result.attributes["atol"] == pytest.approx(1e-10)


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.fault
@pytest.mark.parametrize(
    ("build", "options", "status", "says"),
    [
        (exploding, {}, {Status.TOO_STIFF, Status.NOT_FINITE}, "t = 2"),
        (decay, {"max_steps": 3}, {Status.STEP_LIMIT}, "3 attempted steps"),
        (sinking, {}, {Status.NEGATIVE, Status.TOO_STIFF, Status.NOT_FINITE}, "A()"),
        (lambda: net("k 1; zero 0", "A() 1", "1 0 rate", "A 1", "rate() k/(zero*A)"), {}, {Status.NOT_FINITE}, "A()"),
        (lambda: net("k 1; d 0; q k/d", "A() 1", "1 0 q", "A 1"), {}, {Status.BAD_START}, "parameter q"),
        (lambda: net("k 1; d 0", "A() k/d", "1 0 k", "A 1"), {}, {Status.BAD_START}, "A()"),
    ],
)
def test_a_failed_run_has_a_status_a_sentence_and_no_number_after_it(
    build: Callable[[], CompiledModel], options: dict[str, Any], status: set[Status], says: str
) -> None:
    times = np.linspace(0, 4, 9)
    result = simulate(build(), times, options=SolverOptions(**options))
    assert Status(int(result.status[0])) in status
    assert says in result.message(0)
    reached = result.reached[0]
    after = ~(times <= reached)  # reached is NaN-safe: a run that never began has no number at all
    assert after.any() and np.isnan(result.values[0, after]).all()
    assert "1 failed" in result.summary()


@pytest.mark.fault
def test_numbers_before_the_failure_are_kept() -> None:
    result = simulate(exploding(), [0.0, 1.0, 1.5, 3.0], options=SolverOptions(rtol=1e-6))
    np.testing.assert_allclose(result["X"][0, :3], [0.5, 1.0, 2.0], rtol=1e-4)
    assert np.isnan(result["X"][0, 3])


@pytest.mark.fault
def test_a_run_may_be_given_a_time_limit() -> None:
    # an oscillator that would take hours at this length
    slow = net("w 1000", "X() 1; Y() 0", "0 1 up; 0 2 down", "X 1; Y 2", "up() -w*Y; down() w*X")
    options = SolverOptions(max_seconds=0.2, max_steps=10**9, nonnegative=False, rtol=1e-10)
    result = simulate(slow, [1e9], options=options)
    assert result.status[0] == Status.TIME_LIMIT and "max_seconds" in result.message(0)


@pytest.mark.fault
def test_a_time_limit_counts_all_intervals_of_a_run() -> None:
    slow = net("w 1000", "X() 1; Y() 0", "0 1 up; 0 2 down", "X 1; Y 2", "up() -w*Y; down() w*X")
    options = SolverOptions(max_seconds=0.3, max_steps=10**9, nonnegative=False, rtol=1e-10)
    pieces = tuple(Segment(1e6 * i, 1e6 * (i + 1)) for i in range(200))
    result = simulate(slow, [2e8], Conditions(("a",), slow.nominal[None], pieces), options=options)
    assert result.status[0] == Status.TIME_LIMIT


@pytest.mark.fault
def test_an_enormous_slope_ends_a_run_at_once() -> None:
    huge = net("k 1e300", "A() 1", "1 0 k", "A 1")
    result = simulate(huge, [1.0], options=SolverOptions(atol=1e-10))
    assert result.statistics["attempts"][0] < 1000  # however it ends
    assert result.status[0] != Status.OK or abs(result["A"][0, 0]) < 1e-9


@pytest.mark.fault
def test_ctrl_c_returns_what_is_done_and_marks_the_rest() -> None:
    slow = net("w 1000; T 1", "X() 1; Y() 0", "0 1 up; 0 2 down", "X 1; Y 2", "up() -w*Y; down() w*X")
    options = SolverOptions(max_steps=10**9, nonnegative=False, rtol=1e-10)
    conditions = Conditions.product(slow, w=[1e-9, *[1000.0] * 5])
    timer = threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    result = simulate(slow, [1e9], conditions, options=options, threads=1)
    assert result.status[0] == Status.OK and np.isfinite(result.values[0]).all()
    assert result.interrupted and set(result.status[1:]) <= {Status.STOPPED, Status.PENDING}
    assert np.isnan(result.values[1:]).all()


def test_statistics_count_every_attempt() -> None:
    counts = simulate(dimerisation(), TIMES).statistics
    assert counts["attempts"] == counts["steps"] + counts["rejections"] > 0
    assert counts["factorisations"] == counts["attempts"]


def test_tables_carry_names_units_and_status() -> None:
    result = simulate(decay(), TIMES, Conditions.product(decay(), k=[0.1, 1.0]))
    frame = result.to_frame()
    assert list(frame.columns) == ["condition", "time", "observable", "value", "status"]
    assert len(frame) == 2 * len(TIMES) * 3 and set(frame["status"]) == {"OK"}
    dataset = result.to_xarray()
    assert dataset["value"].dims == ("condition", "time", "observable")
    assert {"rtol", "atol", "model_hash", "residuum_version", "unit_time"} <= dataset.attrs.keys()
    assert float(dataset["value"].sel(condition="k=1", observable="A", time=0.0)) == 1.0
