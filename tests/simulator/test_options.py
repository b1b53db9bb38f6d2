"""Solver options: refused in words; tolerances by species; limits by run; a run that reaches each status."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import decay, net, saturating

from residuum.simulator import (
    CompiledModel,
    Conditions,
    InputError,
    Result,
    Segment,
    SolverOptions,
    Status,
    UnknownNameError,
    batch,
    memory,
    rosenbrock,
    simulate,
    steady_state,
)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rtol": 0}, "rtol is 0, expected a number from 1e-14 to below 1"),
        ({"rtol": -1e-6}, "rtol is -1e-06"),
        ({"rtol": 1.0}, "rtol is 1.0"),
        ({"rtol": np.nan}, "rtol is nan"),
        ({"rtol": "fast"}, "rtol is fast"),
        ({"rtol": [1e-3, 1e-3]}, "rtol is [0.001, 0.001]"),
        ({"atol": 0}, "atol is 0, expected positive numbers"),
        ({"atol": -1.0}, "atol is -1.0"),
        ({"atol": np.inf}, "atol is inf"),
        ({"atol": [1e-3, 0.0]}, "atol is [0.001, 0.0]"),
        ({"atol": [1e-3, -1e-3]}, "atol"),
        ({"atol": [1e-3, np.nan]}, "atol"),
        ({"atol": {"A()": 0.0}}, "atol is {'A()': 0.0}"),
        ({"atol": "small"}, "atol is small"),
        ({"max_steps": 0}, "max_steps is 0, expected a whole number above 0"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"max_seconds": 0.0}, "max_seconds is 0.0"),
        ({"max_seconds": np.nan}, "max_seconds is nan"),
        ({"equilibration_time": np.inf}, "equilibration_time is inf"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_what_was_given(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        SolverOptions(**given)
    assert says in str(error.value)


def test_numbers_of_another_type_compile_nothing_again() -> None:
    simulate(decay(), [1.0])
    before = len(rosenbrock.integrate.signatures)
    options: Any = {"rtol": np.float32(1e-5), "max_steps": 1e4, "nonnegative": 1, "equilibration_time": 10**6}
    assert steady_state(decay(), options=SolverOptions(**options)).ok[0]
    assert len(rosenbrock.integrate.signatures) == before == 1


# ---- absolute tolerances ----------------------------------------------------------------------------------------


def large_and_small() -> CompiledModel:
    """Two decays side by side, a slow one of 1e6 and a fast one of 1e-3."""
    return net("k 1", "A() 1e6; B() 1e-3", "1 0 k; 2 0 20", "A 1; B 2")


def relative_error_of_b(atol: Any) -> float:
    result = simulate(large_and_small(), [0.2], options=SolverOptions(atol=atol, rtol=1e-8))
    return abs(float(result["B"][0, 0]) / (1e-3 * np.exp(-4.0)) - 1)


@pytest.mark.parametrize("atol", [[1.0, 1e-12], {"B()": 1e-12}, {"A()": 1e9, "B()": 1e-12}])
def test_each_species_may_have_an_absolute_tolerance_by_place_or_by_name(atol: Any) -> None:
    assert relative_error_of_b(atol) < 1e-7


def test_one_tolerance_for_all_or_for_the_wrong_species_loses_the_small_one() -> None:
    assert relative_error_of_b(1e-2) > 1e-4 and relative_error_of_b({"A()": 1e-12, "B()": 1.0}) > 1e-6


def test_tolerances_that_fit_no_species_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown species in atol 'C\\(\\)': did you mean"):
        simulate(large_and_small(), [1.0], options=SolverOptions(atol={"C()": 1.0}))
    with pytest.raises(InputError, match=r"atol has shape \(3,\), expected one value or one per species \(2,\)"):
        simulate(large_and_small(), [1.0], options=SolverOptions(atol=[1.0, 1.0, 1.0]))


# ---- memory -----------------------------------------------------------------------------------------------------


def test_a_result_that_does_not_fit_is_refused_with_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = decay()
    conditions = Conditions.product(compiled, k=np.linspace(1, 2, 1000))
    monkeypatch.setattr(memory, "available_bytes", lambda: 20e6)
    assert simulate(compiled, np.linspace(0, 1, 101), conditions).ok.all()  # 2.4 MB
    with pytest.raises(InputError) as error:
        simulate(compiled, np.linspace(0, 1, 1001), conditions)
    said = str(error.value)
    assert "1,000 conditions x 1,001 times x 3 observables" in said
    assert "0.02 GB are available; ask for fewer observables or times" in said


def test_sensitivities_count_to_the_memory_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, times = decay(), np.linspace(0, 1, 101)
    conditions = Conditions.product(compiled, k=np.linspace(1, 2, 1000))
    monkeypatch.setattr(memory, "available_bytes", lambda: 15e6)
    with pytest.raises(InputError) as error:  # the derivatives alone take 4.8 MB, what one block needs meanwhile more
        simulate(compiled, times, conditions, sensitivities=["k", "A0"])
    assert "sensitivities" in str(error.value) and "0.015 GB are available" in str(error.value)
    few = Conditions.product(compiled, k=np.linspace(1, 2, 100))
    assert simulate(compiled, times, few, sensitivities=["k", "A0"]).ok.all()


def test_a_limit_on_the_group_counts_if_it_is_the_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 16 kB\nMemAvailable: 8 kB\n")
    (tmp_path / "own").write_text("1:cpu:/elsewhere\n0::/batch/job\n")
    (tmp_path / "groups" / "batch" / "job").mkdir(parents=True)
    for name, path in {"MEMINFO": "meminfo", "OWN_GROUP": "own", "GROUPS": "groups"}.items():
        monkeypatch.setattr(memory, name, tmp_path / path)
    assert memory.available_bytes() == 8192
    (tmp_path / "groups" / "batch" / "job" / "memory.max").write_text("max\n")
    (tmp_path / "groups" / "batch" / "memory.max").write_text("4096\n")
    assert memory.available_bytes() == 4096


# ---- statuses ---------------------------------------------------------------------------------------------------


def rotating() -> CompiledModel:
    """An oscillator that goes round for ever, w radians per unit of time."""
    return net("w 1000", "X() 1; Y() 0", "0 1 up; 0 2 down", "X 1; Y 2", "up() -w*Y; down() w*X")


FOR_EVER: dict[str, Any] = {"max_steps": 10**9, "nonnegative": False, "rtol": 1e-10}


def one(compiled: CompiledModel, end: float = 4.0, **options: Any) -> Result:
    return simulate(compiled, [0.0, end], options=SolverOptions(**options))


def stopped_by_ctrl_c() -> Result:
    """Eight runs are at work when Ctrl-C comes, one waits."""
    timer = threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    conditions = Conditions.product(rotating(), w=np.full(9, 1000.0))
    result = simulate(rotating(), [1e9], conditions, options=SolverOptions(**FOR_EVER), threads=1)
    timer.join()
    return result


def without_a_sound_system() -> CompiledModel:
    """From Z = 1/2 on the slopes stay within 1, but their derivatives are 1e50: elimination loses every digit."""
    return net(
        "one 1; k 1e50", "Z() 0; X() 1; Y() 1", "0 1 one; 0 2 up; 0 3 down", "Z 1; X 2; Y 3",
        "up() sin(if(Z>0.5,k,1)*Y); down() -sin(if(Z>0.5,k,1)*X)",
    )  # fmt: skip


REACHED: dict[Status, tuple[Callable[[], Result], str]] = {
    Status.OK: (lambda: one(decay()), "finished"),
    Status.STEP_LIMIT: (lambda: one(decay(), max_steps=3), "3 attempted steps did not reach the end"),
    # dX/dt = X^2 is infinite at t = 2
    Status.TOO_STIFF: (lambda: one(net("k 1", "X() 0.5", "1,1 1,1,1 k", "X 1")), "too stiff at t = 2"),
    Status.NOT_FINITE: (
        lambda: one(net("k 1; none 0", "A() 1; B() 0", "1 2 rate", "A 1", "rate() k/(none*A)")),
        "not finite at t = 0 because of species",
    ),
    Status.NEGATIVE: (
        lambda: one(net("k 1", "A() 1", "0 1 rate", "A 1", "rate() -k/(1+A)")), "negative beyond tolerance at t = 1.5",
    ),
    Status.SINGULAR: (
        lambda: one(without_a_sound_system(), nonnegative=False, atol=1e10), "the linear system of a step",
    ),
    Status.STOPPED: (stopped_by_ctrl_c, "stopped by the user at t = "),
    Status.TIME_LIMIT: (lambda: one(rotating(), 1e9, max_seconds=0.2, **FOR_EVER), "max_seconds was used up"),
    Status.NO_STEADY_STATE: (
        lambda: steady_state(net("k 1", "A() 1", "0 1 k", "A 1"), options=SolverOptions(equilibration_time=1e4)),
        "species A() still changes",
    ),
    Status.BAD_START: (
        lambda: one(net("k 1; d 0; q k/d", "A() 1", "1 0 q", "A 1")), "could not start at t = 0: parameter q is inf",
    ),
    # nothing grows without an A to begin with
    Status.UNSTABLE: (
        lambda: steady_state(net("k 1", "A() 0", "1 1,1 k; 1,1 1 k", "A 1"), options=SolverOptions(atol=1e-9)),
        "species A() moves away first",
    ),
    # how much becomes B depends on how much was B and C before
    Status.NOT_ISOLATED: (
        lambda: steady_state(net("k 1", "A() 1; B() 0; C() 0", "1 2 k; 1 3 k", "A 1")), "no isolated steady state",
    ),
}  # fmt: skip
"""A way to reach each status, and what its sentence says. PENDING: below; RUNNING never leaves the ensemble."""


@pytest.mark.fault
@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.PENDING, Status.RUNNING)])
def test_every_status_is_reached_and_says_what_happened(status: Status) -> None:
    run, says = REACHED[status]
    result = run()
    assert Status(int(result.status[0])) == status
    assert says in result.message(0)
    assert np.isfinite(result.values[0, -1]).all() == (status == Status.OK)


@pytest.mark.fault
def test_runs_that_never_began_are_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BLOCK", 8)
    result = stopped_by_ctrl_c()
    assert [Status(int(s)) for s in result.status] == [Status.STOPPED] * 8 + [Status.PENDING]
    assert "before this run began" in result.message(8) and np.isnan(result.values).all()


@pytest.mark.fault
def test_runs_that_wait_beside_those_at_work_are_pending_too() -> None:
    result = stopped_by_ctrl_c()
    assert [Status(int(s)) for s in result.status] == [Status.STOPPED] * 8 + [Status.PENDING]


@pytest.mark.fault
def test_time_spent_before_the_runs_is_not_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = batch.Batch.prepare

    def slowly(self: batch.Batch) -> None:
        prepare(self)
        self.clock[0] -= 1000.0

    monkeypatch.setattr(batch.Batch, "prepare", slowly)
    compiled = rotating()
    options = SolverOptions(**{**FOR_EVER, "max_seconds": 500.0})
    assert simulate(compiled, [2.0], options=options).ok.all()  # takes a few polls of the clock


@pytest.mark.fault
def test_an_error_in_one_block_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BLOCK", 8)
    run_block = batch.Batch._run_block

    def failing(self: batch.Batch, rows: slice, *rest: Any) -> None:
        if rows.start == 0:
            raise RuntimeError("a defect")
        run_block(self, rows, *rest)

    monkeypatch.setattr(batch.Batch, "_run_block", failing)
    conditions = Conditions.product(rotating(), w=np.full(40, 1000.0))
    with pytest.raises(RuntimeError, match="a defect"):  # the runs themselves would go on for ever
        simulate(rotating(), [1e9], conditions, options=SolverOptions(**FOR_EVER), threads=2)


@pytest.mark.fault
def test_limits_are_of_each_run_and_leave_the_others_alone() -> None:
    """Beside runs that would go on for ever, those that end quickly are what they are alone."""
    compiled = rotating()
    quick, mixed = ([0.0, 1e-9], [1000.0, 0.0, 1000.0, 1e-9])
    for limit, status in (({"max_steps": 500}, Status.STEP_LIMIT), ({"max_seconds": 0.3}, Status.TIME_LIMIT)):
        options = SolverOptions(**{**FOR_EVER, **limit})
        alone = simulate(compiled, [1e9], Conditions.product(compiled, w=quick), options=options)
        result = simulate(compiled, [1e9], Conditions.product(compiled, w=mixed), options=options)
        assert result.status.tolist() == [status, Status.OK, status, Status.OK]
        np.testing.assert_array_equal(result.values[[1, 3]], alone.values)


# ---- runs that cannot start ---------------------------------------------------------------------------------------


@pytest.mark.fault
@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: net("k -1", "A() 1", "1 0 k", "A 1"), "rate constant k is -1"),
        (lambda: net("k 1", "A() 1", "1 0 -0.5", "A 1"), "rate constant of a reaction is -0.5"),
        (lambda: net("k 1; l k-3", "A() 1", "1 0 l", "A 1"), "rate constant l is -2"),
        (lambda: net("k 1; A0 -1", "A() A0; B() 1", "1 0 k", "A 1"), "species A() is -1"),
        (lambda: net("k 1; A0 -1", "$A() A0; B() 1", "1,2 1 k", "A 1"), "species A() is -1"),
    ],
)
def test_what_is_negative_from_the_start_is_named_unless_it_may_be(
    build: Callable[[], CompiledModel], says: str
) -> None:
    for result in (one(build()), steady_state(build())):
        assert result.status[0] == Status.BAD_START
        assert says in result.message(0) and "nonnegative=False" in result.message(0)
        assert np.isnan(result.values).all() and result.statistics["attempts"][0] == 0
    assert one(build(), nonnegative=False).ok[0]


def test_rate_functions_may_be_negative_and_rounding_may_start_below_zero() -> None:
    assert one(net("k 1", "A() 0.5", "0 1 rate", "A 1", "rate() k*(0.2-A)")).ok[0]
    assert one(net("k 1; A0 -1e-12", "A() A0; B() 1", "1 0 k", "A 1")).ok[0]


@pytest.mark.fault
def test_one_negative_rate_constant_leaves_the_other_runs_alone() -> None:
    compiled = decay()
    mixed = simulate(compiled, [1.0], Conditions.product(compiled, k=[1.0, -1.0, 2.0]))
    assert mixed.status.tolist() == [Status.OK, Status.BAD_START, Status.OK]
    np.testing.assert_allclose(mixed["A"][[0, 2], 0], np.exp([-1.0, -2.0]), rtol=1e-5)


@pytest.mark.fault
def test_a_segment_may_bring_the_bad_number() -> None:
    compiled = decay()
    later = Conditions(("later",), compiled.nominal[None], (Segment(2.0, 3.0, {"k": -1.0}),))
    result = simulate(compiled, [1.0, 2.0, 2.5], later)
    assert result.status[0] == Status.BAD_START and "at t = 2: rate constant k is -1" in result.message(0)
    assert np.isfinite(result["A"][0, :2]).all() and np.isnan(result["A"][0, 2])


def test_a_parameter_that_is_no_number_is_refused_before_any_run() -> None:
    compiled = saturating()
    p = np.tile(compiled.nominal, (3, 1))
    p[1, 2] = np.nan
    with pytest.raises(InputError, match="km in condition 'b' is nan, expected a finite number"):
        simulate(compiled, [1.0], Conditions(("a", "b", "c"), p))
