"""Compiled models: the right-hand side for own code, the part that conditions can reach, names and shapes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import net, saturating

import residuum
from residuum.simulator import Conditions, InputError, Segment, SolverOptions, simulate

TIMES = [1.0, 10.0]


def test_the_jitted_right_hand_side_is_the_right_hand_side() -> None:
    compiled = saturating()
    p = compiled.parameter_vector({"km": 2.0})
    f = compiled.numba_rhs(p)
    for amount in (0.0, 0.3, 7.0):
        np.testing.assert_array_equal(f(0.0, np.array([amount])), compiled.rhs(0.0, [amount], p))


def test_scipy_takes_the_jitted_right_hand_side() -> None:
    from scipy.integrate import solve_ivp

    compiled = residuum.aml_model()
    solution = solve_ivp(
        compiled.numba_rhs(), (0, 600.0), compiled.initial_amounts(), "LSODA", rtol=1e-8, atol=1e-8,
        jac=lambda t, y: compiled.jacobian(t, y).toarray(),
    )  # fmt: skip
    ours = simulate(compiled, [600.0], observables=compiled.species, options=SolverOptions(rtol=1e-8))
    np.testing.assert_allclose(ours.values[0, 0], solution.y[:, -1], rtol=1e-5, atol=1e-5)


def chain() -> residuum.CompiledModel:
    """A -> B -> C, and D -> E that starts empty; A enters through a fixed reservoir if it is filled."""
    return net(
        "k 1; off 0; R0 0; D0 0", "A() 1; B() 0; C() 0; D() D0; E() 0; $R() R0",
        "1 2 k; 2 3 k; 4 5 k; 6 6,4 k; 3 5 off", "B 2; E 5; all 1,2,3,4,5",
    )  # fmt: skip


def test_restricting_removes_what_cannot_be_reached_and_changes_no_number() -> None:
    compiled = chain()
    conditions = Conditions.product(compiled, k=[0.5, 2.0])
    small = compiled.restrict(conditions)
    assert small.species == ("A()", "B()", "C()") and len(small.network.reactions) == 2
    assert small.parameters == compiled.parameters and small.hash != compiled.hash
    np.testing.assert_allclose(simulate(small, TIMES, conditions).values, simulate(compiled, TIMES, conditions).values,
                               rtol=1e-5, atol=1e-7)  # fmt: skip


@pytest.mark.parametrize("change", [{"off": 1.0}, {"D0": 1.0}, {"R0": 1.0}])
def test_what_any_condition_or_segment_reaches_is_kept(change: dict[str, float]) -> None:
    compiled = chain()
    by_condition = compiled.restrict(Conditions.from_rows(compiled, {"plain": {}, "changed": change}))
    segment = Segment(0.0, 1.0, change)
    by_segment = compiled.restrict(Conditions(("one",), compiled.nominal[None], (segment,)))
    assert "E()" in by_condition.species and "E()" in by_segment.species


@pytest.mark.parametrize(
    ("change", "lost"),
    [({"R0": 1.0}, "the species D"), ({"D0": 1.0}, "the species D"), ({"off": 1.0}, "the species E")],
)
def test_a_restricted_model_refuses_what_it_was_not_made_for(change: dict[str, float], lost: str) -> None:
    compiled = chain()
    small = compiled.restrict(Conditions.product(compiled, k=[1.0]))
    assert small._full is compiled and compiled._full is None
    small.check_restriction(Conditions.product(small, k=[0.0, 3.0]))
    reaching = Conditions.from_rows(small, {"changed": change})
    compiled.check_restriction(reaching)
    with pytest.raises(InputError, match=lost):
        small.check_restriction(reaching)
    with pytest.raises(InputError, match=lost):
        small.restrict(reaching)
    assert small.restrict(Conditions.product(small, k=[0.0])).species == ("A()",)


def test_a_reaction_that_was_removed_is_missed_even_if_its_species_are_there() -> None:
    compiled = net("k 1; off 0", "A() 1; B() 0", "1 2 k; 2 1 off #_back", "B 2")
    small = compiled.restrict(Conditions.product(compiled, k=[1.0]))
    assert len(small.network.reactions) == 1
    with pytest.raises(InputError, match="a reaction of the rule _back"):
        small.check_restriction(Conditions.product(small, off=[1.0]))


@pytest.mark.parametrize(
    ("name", "lost"), [("off", "reaction of the rule"), ("D0", "D()"), ("R0", "R()"), ("D()", "D()")]
)
def test_a_restricted_model_refuses_sensitivities_to_what_acts_on_the_removed(name: str, lost: str) -> None:
    compiled = chain()
    conditions = Conditions.product(compiled, k=[1.0])
    small = compiled.restrict(conditions)
    with pytest.raises(InputError, match=f"sensitivity to '{re.escape(name)}'.*use the full model") as error:
        simulate(small, TIMES, conditions, sensitivities=["k", name])
    assert lost in str(error.value)
    whole, part = (
        simulate(model, TIMES, conditions, observables=["all"], sensitivities=["k", "A()"])
        for model in (compiled, small)
    )
    np.testing.assert_allclose(part.sensitivities, whole.sensitivities, rtol=1e-2, atol=1e-4)


def test_restricting_to_nothing_says_so() -> None:
    compiled = net("k 1; A0 0", "A() A0", "1 0 k", "A 1")
    with pytest.raises(InputError, match="nothing of the model test is reached"):
        compiled.restrict(Conditions.product(compiled, k=[1.0]))


# ---- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "functions",
    [
        "rate() k*(A>time() && k>0)",
        "rate() k*rint(time())",
        "rate() k*(sin(time())>0)",
        "rate() k*if(time()^2>4,1,0)",
        "clock() 2*time(); late() if(clock*A>100,1,0); rate() k*late",
    ],
)
def test_a_rate_that_switches_at_a_time_that_cannot_be_foreseen_is_refused(functions: str) -> None:
    with pytest.raises(InputError, match=r"switches at a time that .*protocol Segment"):
        net("k 1", "A() 1", "1 0 rate", "A 1", functions)


@pytest.mark.parametrize(
    ("functions", "times"),
    [
        ("rate() if(time()>100,k,0)", [100]),
        ("rate() k*(2*time()>=tau)", [1.5]),
        ("rate() k*max(0,tau-time())", [3]),
        ("clock() 2*time(); rate() if(clock()>100,k,0)", [50]),
        ("on() time()>late; rate() k*on()*(time()<7)", [6, 7]),
        ("rate() if(if(time()>5,1,0)>0.5,k,0)", [5, np.inf]),
        ("rate() k*sin(time())*(A>0.5)", []),
    ],
)
def test_times_of_switches_follow_from_the_parameters(functions: str, times: list[float]) -> None:
    compiled = net("k 1; tau 3; late 2*tau", "A() 1", "1 0 rate", "A 1", functions)
    found = compiled.switch_times(compiled.values(np.tile(compiled.nominal, (2, 1))))
    np.testing.assert_allclose(found, [times, times])


def test_a_switch_at_an_amount_and_one_that_is_only_read_out_are_allowed() -> None:
    compiled = net("k 1", "A() 1", "1 0 rate", "A 1", "rate() k*(A>0.5); late() if(time()>1.5,1,0)")
    result = simulate(compiled, [1.0, 2.0], observables=["late"])
    assert result.values[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("functions", "depends"),
    [("rate() k*A", False), ("rate() k*sin(time())", True), ("rate() k*A; other() time()", True),
     ("clock() time(); rate() k*clock()", True)],
)  # fmt: skip
def test_explicit_time_is_known(functions: str, depends: bool) -> None:
    assert net("k 1", "A() 1", "1 0 rate", "A 1", functions).depends_on_time is depends


def test_nested_rate_functions_are_differentiated() -> None:
    compiled = net("k 2; h 0.5", "A() 1; B() 3", "1 2 up; 2 1 down", "A 1; B 2; both 1,2*2",
                   "down() k*half*B; up() half^2+down/A; half() both/(h+both)*exp(-h*time())")  # fmt: skip
    y, step = np.array([1.2, 0.7]), 1e-6
    jacobian = compiled.jacobian(0.3, y).toarray()
    for j in range(2):
        by = step * np.eye(2)[j]
        numeric = (compiled.rhs(0.3, y + by) - compiled.rhs(0.3, y - by)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, j], numeric, rtol=1e-7)  # rounding over the step: 1e-10


# ---- other processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_used_model_works_in_another_process(method: str) -> None:
    compiled = saturating()
    here = simulate(compiled, TIMES).values
    with multiprocessing.get_context(method).Pool(1) as pool:
        there = pool.apply(simulate, (compiled, TIMES)).values
    np.testing.assert_array_equal(there, here)


def test_a_used_model_can_be_copied_and_pickled() -> None:
    whole = chain()
    for compiled in (saturating(), whole.restrict(Conditions.product(whole, k=[1.0]))):
        here = simulate(compiled, TIMES).values
        for twin in (copy.deepcopy(compiled), copy.copy(compiled), pickle.loads(pickle.dumps(compiled))):
            assert twin.hash == compiled.hash and twin.units == compiled.units
            assert (twin._full is None) == (compiled._full is None)
            np.testing.assert_array_equal(simulate(twin, TIMES).values, here)


def test_amounts_and_parameters_of_the_wrong_shape_are_refused() -> None:
    compiled = saturating()
    with pytest.raises(InputError, match=r"expected \(1,\)"):
        compiled.rhs(0.0, [1.0, 2.0])
    with pytest.raises(InputError, match=r"expected \(3,\)"):
        compiled.rhs(0.0, [1.0], [1.0])


def test_running_the_shipped_model_loads_neither_pysb_nor_sympy_nor_matplotlib() -> None:
    code = (
        "import sys, residuum as r; r.simulate(r.aml_model(), [60.0], r.aml_conditions(['blast-itd'], {'U0126': 1}));"
        "print([m for m in ('pysb', 'sympy', 'matplotlib', 'scipy.integrate', 'pandas', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rate_functions_do_not_fill_the_factors() -> None:
    # fifty species that all see one observable of all: the factors keep a few entries per species, not fifty
    n = 50
    species = "; ".join(f"S{i}() {i}" for i in range(n))
    reactions = "; ".join(f"{i} {i % n + 1} slow" for i in range(1, n + 1))
    group = "total " + ",".join(map(str, range(1, n + 1)))
    compiled = net("k 1", species, reactions, group, "slow() k/(1+total)")
    assert len(compiled.plan[0].lu_column) < 10 * n
    p, y, eps = compiled.nominal, np.arange(1.0, n + 1), 1e-6
    jacobian = compiled.jacobian(0.0, y, p).toarray()
    assert np.count_nonzero(jacobian) > 0.9 * n * n - 3 * n
    for j in (0, 7):
        step = np.where(np.arange(n) == j, eps, 0.0)
        slope = (compiled.rhs(0.0, y + step, p) - compiled.rhs(0.0, y - step, p)) / (2 * eps)
        np.testing.assert_allclose(jacobian[:, j], slope, atol=1e-8)
