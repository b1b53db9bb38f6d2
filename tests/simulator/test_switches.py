"""Rates that switch at a time: steps end there, whatever their size."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import net

from residuum.simulator import CompiledModel, Conditions, InputError, Segment, SolverOptions, simulate


def pulse(between: str = "time()>on && time()<off") -> CompiledModel:
    """0 -> A at rate k while the pulse lasts: A = k (time within the pulse)."""
    return net("k 2; on 10; length 0.001; off on+length", "A() 1e-3", "0 1 dose", "A 1", f"dose() if({between},k,0)")


@pytest.mark.parametrize(
    "between", ["time()>on && time()<off", "time()>=on && time()<=off", "!(time()<on || off<time())"]
)
def test_a_short_pulse_is_not_stepped_over(between: str) -> None:
    result = simulate(pulse(between), [5.0, 10.0, 10.0005, 10.001, 20.0])
    np.testing.assert_allclose(result["A"][0] - 1e-3, [0, 0, 1e-3, 2e-3, 2e-3], atol=1e-12)


def test_each_condition_has_its_own_switches() -> None:
    compiled = pulse()
    conditions = Conditions.product(compiled, on=[0.0, 3.0, 19.9995, 25.0])
    result = simulate(compiled, [20.0], conditions, threads=1)
    np.testing.assert_allclose(result["A"][:, 0] - 1e-3, [2e-3, 2e-3, 1e-3, 0.0], atol=1e-12)
    turned = Conditions(conditions.names[::-1], conditions.parameters[::-1])
    np.testing.assert_array_equal(simulate(compiled, [20.0], turned, threads=2).values[::-1], result.values)


def test_a_switch_equals_a_segment_bit_by_bit_but_for_the_clock() -> None:
    # decay whose rate constant changes at t = 2, by a rate function and by the protocol
    switched = net("k 0.5; fast 3", "A() 1", "1 0 rate", "A 1", "rate() if(time()<2,k,fast)")
    plain = net("k 0.5; fast 3", "A() 1", "1 0 k", "A 1")
    segment = Conditions(("a",), plain.nominal[None], (Segment(2.0, 9.0, {"k": 3.0}),))
    times, options = [1.0, 2.0, 2.5, 4.0], SolverOptions(rtol=1e-10)
    by_function = simulate(switched, times, options=options)
    by_segment = simulate(plain, times, segment, options=options)
    exact = np.exp([-0.5, -1.0, -2.5, -7.0])
    np.testing.assert_allclose(by_function["A"][0], exact, rtol=1e-8)
    np.testing.assert_allclose(by_segment["A"][0], exact, rtol=1e-8)


def test_switches_at_the_borders_of_segments_and_of_the_interval() -> None:
    compiled = pulse()
    conditions = Conditions(
        ("a",), compiled.parameter_vector({"on": 0.0, "length": 4.0})[None], (Segment(4.0, 6.0, {"on": 4.0, "k": 1.0}),)
    )
    # on from 0 to 4 at 2, then on = 4 and off = 8: on from 4 to 6 at 1; after the segment off = 4 again
    result = simulate(compiled, [0.0, 4.0, 6.0, 9.0], conditions)
    np.testing.assert_allclose(result["A"][0] - 1e-3, [0.0, 8.0, 10.0, 10.0], atol=1e-9)


def test_the_error_at_a_switch_is_that_of_smooth_steps() -> None:
    compiled = net("k 1; tau 1.234567", "A() 1", "1 0 rate", "A 1", "rate() k*max(0,time()-tau)")
    for rtol in (1e-4, 1e-7, 1e-10):
        result = simulate(compiled, [4.0], options=SolverOptions(rtol=rtol, atol=1e-14))
        exact = np.exp(-0.5 * (4.0 - 1.234567) ** 2)
        assert abs(result["A"][0, 0] / exact - 1) < 30 * rtol


def test_sensitivities_go_through_a_switch_but_not_to_its_time() -> None:
    compiled = pulse()
    result = simulate(compiled, [20.0], sensitivities=["k"])
    assert result.sensitivities[0, 0, 0, 0] == pytest.approx(1e-3, rel=1e-6)
    for name in ("on", "length"):
        with pytest.raises(InputError, match=f"sensitivity to {name!r}.*switches"):
            simulate(compiled, [20.0], sensitivities=[name])
