"""The gradient check agrees where it should, and says so where it cannot tell or where something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import decay, net

from residuum.simulator import Conditions, InputError, Segment, SolverOptions, check_gradient
from residuum.simulator.slopes import Slopes


def test_right_gradients_agree() -> None:
    table = check_gradient(decay(), [0.5, 2.0])
    assert table["parameter"].tolist() == ["k", "A0"] and (table["verdict"] == "agrees").all()
    assert (table["deviation"] < 1e-5).all() and (table["plateau"] < 1e-4).all()
    np.testing.assert_allclose(table["analytic"], table["difference"], rtol=1e-4)


def test_wrong_gradients_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Slopes.of_values
    monkeypatch.setattr(Slopes, "of_values", lambda *a, **k: 1.001 * right(*a, **k))
    table = check_gradient(decay(), [0.5, 2.0]).set_index("parameter")
    assert table.loc["k", "verdict"] == "differs"
    assert table.loc["k", "deviation"] == pytest.approx(1e-3, rel=0.1)


def test_a_plateau_wider_than_the_tolerance_shows_nothing() -> None:
    table = check_gradient(decay(), [2.0], names=["k"], observables=["A"], tolerance=1e-14)
    assert table["verdict"][0] == "no plateau: the simulation is too noisy at rtol=1e-09"


def test_a_parameter_that_does_nothing_has_no_effect() -> None:
    compiled = net("k 0.5; idle 2", "A() 1", "1 0 k", "A 1")
    table = check_gradient(compiled, [1.0], names=["idle"])
    assert table["verdict"][0].startswith("no effect") and table["analytic"][0] == 0.0


def test_conditions_and_segments_are_kept() -> None:
    compiled = decay()
    conditions = Conditions.product(compiled, A0=[1.0, 4.0])
    protocol = (Segment(1.0, 2.0, {"k": np.array([0.1, 0.9])}),)
    table = check_gradient(
        compiled, [3.0], Conditions(conditions.names, conditions.parameters, protocol), ["k"], observables=["A"]
    )
    expected = [-2 * a * np.exp(-1.0 - k) for a, k in ((1.0, 0.1), (4.0, 0.9))]
    np.testing.assert_allclose(table["analytic"], expected, rtol=1e-6)
    assert table["condition"].tolist() == list(conditions.names) and (table["verdict"] == "agrees").all()


def test_a_parameter_of_zero_may_fail_below_it() -> None:
    compiled = net("k 0.5; s 0", "A() 1; B() 0", "1 0 k; 0 2 s", "A 1; B 2")
    table = check_gradient(compiled, [1.0], names=["s"])
    assert table["verdict"][0] == "no plateau: the runs with changed values failed"


def test_a_derivative_at_zero_that_no_difference_can_see_says_why() -> None:
    compiled = net("k 0.5; s 0; tiny 1e-9", "A() 1", "1 0 rate", "A 1", "rate() k*(s+tiny*A)/(s+tiny)")
    table = check_gradient(compiled, [1.0], names=["s"], options=SolverOptions(rtol=1e-9, nonnegative=False))
    assert table["verdict"][0].startswith("differs; the parameter is 0")


def test_a_run_that_fails_is_said() -> None:
    table = check_gradient(decay(), [1.0], names=["k"], options=SolverOptions(max_steps=1))
    assert table["verdict"][0].startswith("not run: step limit")


def test_parameters_that_decide_a_switch_are_left_out() -> None:
    compiled = net("k 0.5; fast 3; at 1.5", "A() 1", "1 0 rate", "A 1", "rate() if(time()<at,k,fast)")
    table = check_gradient(compiled, [1.0, 2.0])
    assert table["parameter"].tolist() == ["k", "fast"] and (table["verdict"] == "agrees").all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"names": ["A()"]}, "unknown parameter"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"names": ["kk"]}, "mean 'k'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, says) -> None:
    with pytest.raises(InputError, match=says):
        check_gradient(decay(), [1.0], **arguments)
