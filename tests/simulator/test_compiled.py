"""Compiled models: the right-hand side for own code, the part that conditions can reach, names and shapes."""

from __future__ import annotations

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
    ours = simulate(compiled, [600.0], options=SolverOptions(rtol=1e-8))
    np.testing.assert_allclose(ours.final_amounts[0], solution.y[:, -1], rtol=1e-5, atol=1e-5)


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


def test_amounts_and_parameters_of_the_wrong_shape_are_refused() -> None:
    compiled = saturating()
    with pytest.raises(InputError, match=r"expected \(1,\)"):
        compiled.rhs(0.0, [1.0, 2.0])
    with pytest.raises(InputError, match=r"expected \(3,\)"):
        compiled.rhs(0.0, [1.0], [1.0])


def test_running_the_shipped_model_loads_neither_pysb_nor_sympy_nor_matplotlib() -> None:
    code = (
        "import sys, residuum as r; r.simulate(r.aml_model(), [60.0], r.aml_conditions(['flt3-itd'], {'U0126': 1}));"
        "print([m for m in ('pysb', 'sympy', 'matplotlib', 'scipy.integrate', 'pandas', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
