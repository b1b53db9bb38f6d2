"""Species that a segment sets: closed forms, sensitivities, what is refused, and what must change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import decay, net

from residuum.simulator import CompiledModel, Conditions, InputError, Segment, SolverOptions, Status, simulate

TIGHT = SolverOptions(rtol=1e-11, atol=1e-13)
TIMES = np.array([0.0, 0.5, 1.0, 1.5, 3.0])
CLOSED_FORM = 1e-8
K = 0.5


def conversion() -> CompiledModel:
    """A <-> B with rate constants k1 and k2: each goes to its share with the rate k1 + k2."""
    return net("k1 0.8; k2 0.6; a0 1; b0 0.2", "A() a0; B() b0", "1 2 k1; 2 1 k2", "A 1; B 2")


def conditions(compiled: CompiledModel, *protocol: Segment, n: int = 1) -> Conditions:
    return Conditions(tuple(f"run {i}" for i in range(n)), np.tile(compiled.nominal, (n, 1)), protocol)


def test_a_species_set_in_mid_course_changes_freely_from_then_on() -> None:
    compiled = decay()
    given = conditions(compiled, Segment(1.0, 1.2, {"A()": 5.0}))
    result = simulate(compiled, TIMES, given, options=TIGHT)
    before, after = TIMES <= 1.0, TIMES > 1.0  # what is reported at the boundary belongs to what ends there
    a, b, _ = result.values[0].T
    np.testing.assert_allclose(a[before], np.exp(-K * TIMES[before]), atol=CLOSED_FORM)
    np.testing.assert_allclose(a[after], 5 * np.exp(-K * (TIMES[after] - 1)), atol=CLOSED_FORM)
    np.testing.assert_allclose((a + b)[after], 5 + 1 - np.exp(-K), atol=CLOSED_FORM)


def test_a_species_set_at_the_start_of_the_clock_replaces_the_initial_amount() -> None:
    compiled = decay()
    result = simulate(compiled, TIMES, conditions(compiled, Segment(0.0, np.inf, {"A()": 3.0})), options=TIGHT)
    np.testing.assert_allclose(result.values[0, :, 0], 3 * np.exp(-K * TIMES), atol=CLOSED_FORM)
    only = simulate(compiled, [0.0], conditions(compiled, Segment(0.0, np.inf, {"A()": 3.0})))
    assert only.values[0, 0, 0] == 3.0


def test_one_species_is_set_after_pre_equilibration_and_the_other_is_left() -> None:
    compiled = conversion()
    protocol = Segment(-np.inf, 0.0, {"k1": 0.3, "B()": 2.0, "A()": 0.0}), Segment(0.0, np.inf, {"A()": 1.0})
    result = simulate(compiled, TIMES, conditions(compiled, *protocol), options=TIGHT)
    b = 2.0 * 0.3 / 0.9
    end, start = (1 + b) * 0.6 / 1.4, 1.0
    np.testing.assert_allclose(result.values[0, :, 0], end + (start - end) * np.exp(-1.4 * TIMES), atol=CLOSED_FORM)


def test_no_parameter_acts_on_an_amount_that_was_set() -> None:
    compiled = decay()
    given = conditions(compiled, Segment(1.0, 2.0, {"A()": 5.0}))
    result = simulate(compiled, TIMES, given, sensitivities=("k", "A0", "A()"), options=TIGHT)
    assert result.sensitivities is not None
    a, b, _ = result.sensitivities[0].transpose(1, 0, 2)
    after, since = TIMES > 1.0, TIMES[TIMES > 1.0] - 1
    np.testing.assert_allclose(a[after, 0], -5 * since * np.exp(-K * since), atol=CLOSED_FORM)
    np.testing.assert_array_equal(a[after, 1:], 0.0)
    np.testing.assert_allclose(b[after, 0], np.exp(-K) + 5 * since * np.exp(-K * since), atol=CLOSED_FORM)
    np.testing.assert_allclose(b[after, 1], 1 - np.exp(-K), atol=CLOSED_FORM)


def test_sensitivities_after_pre_equilibration_agree_with_central_differences() -> None:
    compiled, names = conversion(), ("k1", "k2", "b0")
    protocol = Segment(-np.inf, 0.0, {"k2": 0.3, "A()": 0.4}), Segment(0.0, np.inf, {"A()": 1.0})
    given = conditions(compiled, *protocol)
    result = simulate(compiled, TIMES, given, sensitivities=names, options=TIGHT)
    assert result.sensitivities is not None
    for j, name in enumerate(names):
        index, step = compiled.parameter_index(name), 1e-4
        moved = given.parameters + step * np.array([[-1.0], [1.0]]) * (np.arange(compiled.n_parameters) == index)
        low, high = simulate(compiled, TIMES, Conditions(("-", "+"), moved, protocol), options=TIGHT).values
        # the error of the difference, step squared, and of the solver, rtol over step
        np.testing.assert_allclose(result.sensitivities[0, ..., j], (high - low) / (2 * step), atol=1e-6)


def test_amounts_per_condition_do_not_depend_on_neighbours_or_threads() -> None:
    compiled, amounts = decay(), np.linspace(0.0, 4.0, 21)
    given = conditions(compiled, Segment(1.0, 2.0, {"A()": amounts}), n=21)
    together = simulate(compiled, TIMES, given, sensitivities=["k"], threads=1)
    threaded = simulate(compiled, TIMES, given, sensitivities=["k"], threads=3)
    np.testing.assert_array_equal(together.values, threaded.values)
    np.testing.assert_array_equal(together.sensitivities, threaded.sensitivities)
    for i in (0, 7, 20):
        alone = conditions(compiled, Segment(1.0, 2.0, {"A()": amounts[i]}))
        np.testing.assert_array_equal(
            simulate(compiled, TIMES, alone, sensitivities=["k"]).values[0], together.values[i]
        )


def test_a_restricted_model_keeps_what_a_segment_sets() -> None:
    compiled = net("k 0.5", "A() 1; C() 0; D() 0", "1 0 k; 2 3 k", "A 1; D 3")
    given = conditions(compiled, Segment(1.0, 2.0, {"C()": 2.0}))
    restricted = compiled.restrict(given)
    assert restricted.species == compiled.species
    np.testing.assert_array_equal(simulate(restricted, TIMES, given).values, simulate(compiled, TIMES, given).values)
    narrow = compiled.restrict(conditions(compiled))
    with pytest.raises(InputError, match="unknown species 'C\\(\\)'"):
        simulate(narrow, TIMES, given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"$D()": 1.0}, "unknown species '\\$D\\(\\)'.*did you mean 'D\\(\\)'"),
        ({"D()": 1.0}, "D\\(\\) is clamped: its amount is dose throughout"),
        ({"B(x)": 1.0}, "unknown species 'B\\(x\\)'.*did you mean 'B\\(\\)'"),
        ({"B()": np.nan}, "not finite"),
        ({"B()": [1.0, 2.0]}, "expected one value or one per condition"),
    ],
)
def test_what_cannot_be_set_is_refused(given: dict[str, Any], says: str) -> None:
    compiled = net("dose 2; k 1", "$D() dose; B() 0", "1 1,2 k", "B 2")
    with pytest.raises(InputError, match=says):
        simulate(compiled, TIMES, conditions(compiled, Segment(0.0, 1.0, given)))


def test_a_negative_amount_fails_its_run_alone() -> None:
    compiled = decay()
    given = conditions(compiled, Segment(1.0, 2.0, {"A()": [1.0, -1.0]}), n=2)
    result = simulate(compiled, TIMES, given)
    assert result.status[0] == Status.OK and result.status[1] == Status.BAD_START
    assert "species A() is -1" in result.message(1)
    assert np.isnan(result.values[1, -1]).all() and np.isfinite(result.values[0]).all()
