"""What must not change a result does not: threads, order, neighbours, output grid, splits of the interval."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import dimerisation, net, pulsed, saturating
from hypothesis import given, settings
from hypothesis import strategies as st

import residuum
from residuum.simulator import Conditions, Segment, SolverOptions, Status, batch, simulate

TIMES = np.linspace(0, 5, 6)
MODELS = {"mass action": dimerisation, "explicit time": pulsed, "rate function": saturating}


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(9)), threads=st.integers(1, 3), block=st.integers(1, 9))
def test_order_threads_and_blocks_change_nothing_at_all(order: list[int], threads: int, block: int) -> None:
    compiled = dimerisation()
    conditions = Conditions.product(compiled, k=np.geomspace(0.01, 100, 9))
    plain = simulate(compiled, TIMES, conditions, threads=1)
    shuffled = Conditions([conditions.names[i] for i in order], conditions.parameters[order])
    before = batch.BLOCK
    try:
        batch.BLOCK = block
        other = simulate(compiled, TIMES, shuffled, threads=threads)
    finally:
        batch.BLOCK = before
    np.testing.assert_array_equal(other.values, plain.values[order])
    np.testing.assert_array_equal(other.statistics["steps"], plain.statistics["steps"][order])


def test_a_failing_run_changes_nothing_beside_it() -> None:
    # x explodes in finite time where k x0 > 1 / (end of the interval)
    compiled = net("k 1; x0 0.1", "X() x0", "1,1 1,1,1 k", "X 1")
    start = [0.01, 5.0, 0.02, 5.0]
    mixed = simulate(compiled, TIMES, Conditions.product(compiled, x0=start))
    alone = simulate(compiled, TIMES, Conditions.product(compiled, x0=[0.01, 0.02]))
    assert mixed.ok.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(mixed.values[[0, 2]], alone.values)


INSIDE = st.lists(st.floats(1e-6, 5.0, exclude_max=True), min_size=1, max_size=8, unique=True).map(sorted)


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=10)
@given(extra=INSIDE)
def test_further_outputs_change_no_step_and_no_other_output(name: str, extra: list[float]) -> None:
    compiled = MODELS[name]()
    grid = np.union1d(TIMES, extra)
    coarse, fine = simulate(compiled, TIMES), simulate(compiled, grid)
    np.testing.assert_array_equal(coarse.values, fine.values[:, np.isin(grid, TIMES)])
    np.testing.assert_array_equal(coarse.statistics["steps"], fine.statistics["steps"])


@pytest.mark.parametrize("name", MODELS)
@settings(deadline=None, max_examples=10)
@given(cuts=INSIDE)
def test_splitting_the_interval_changes_nothing_beyond_tolerance(name: str, cuts: list[float]) -> None:
    compiled = MODELS[name]()
    pieces = tuple(Segment(start, end) for start, end in itertools.pairwise([0.0, *cuts]))
    split = Conditions(("split",), compiled.nominal[None], pieces)
    options = SolverOptions(rtol=1e-7)
    whole, parts = (simulate(compiled, TIMES, c, options=options) for c in (None, split))
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-5, atol=1e-6)


def test_no_dose_equals_no_drug() -> None:
    """A drug in its slot at dose zero leaves the same trajectories as an empty slot, bit by bit."""
    compiled = residuum.aml_model()
    times = [600.0, 7200.0]
    without = simulate(compiled, times, residuum.aml_conditions(["blast-itd"]), observables=["pERK", "pSTAT5"])
    zero = residuum.aml_conditions(["blast-itd"], {"gilteritinib": 0.0, "trametinib": 0.0})
    with_zero = simulate(compiled, times, zero, observables=["pERK", "pSTAT5"])
    assert without.status[0] == Status.OK
    np.testing.assert_allclose(with_zero.values, without.values, rtol=1e-12)
