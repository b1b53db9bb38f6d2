"""Loose and tight tolerances both finish, and err as they say, where rate constants lie twelve decades apart."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import conserved_totals, global_error, net

from residuum.simulator import CompiledModel, Conditions, SolverOptions, simulate

TIMES = np.array([0.0, 1e-4, 1e-2, 1.0, 100.0])
N_RUNS = 200


def assembly() -> CompiledModel:
    """A, B, C and D bind each other in every order to ABCD, each step reversible; ABCD also falls apart at once."""
    parts = ("A", "B", "C", "D", "AB", "AC", "BC", "CD", "ABC", "BCD", "ABCD")
    place = {name: i for i, name in enumerate(parts, start=1)}
    steps = ("A+B=AB", "A+C=AC", "B+C=BC", "C+D=CD", "AB+C=ABC", "AC+B=ABC", "BC+A=ABC", "BC+D=BCD", "CD+B=BCD",
             "ABC+D=ABCD", "AB+CD=ABCD", "BCD+A=ABCD")  # fmt: skip
    parameters, reactions = ["apart 1"], ["11 1,2,3,4 apart"]
    for i, step in enumerate(steps):
        left, right = (",".join(str(place[name]) for name in side.split("+")) for side in step.split("="))
        parameters += [f"on{i} 1", f"off{i} 1"]
        reactions += [f"{left} {right} on{i}", f"{right} {left} off{i}"]
    amounts = (1, 2, 0.5, 1.5, *[0] * 7)
    species = [f"{name}() {amount}" for name, amount in zip(parts, amounts, strict=True)]
    return net("; ".join(parameters), "; ".join(species), "; ".join(reactions), "ABCD 11")


@pytest.fixture(scope="module")
def reference() -> tuple[CompiledModel, Conditions, np.ndarray]:
    """Return model, runs with every rate constant drawn from 1e-6 ... 1e6, and their courses by tight tolerances."""
    compiled = assembly()
    parameters = 10 ** np.random.default_rng(12).uniform(-6, 6, (N_RUNS, compiled.n_parameters))
    conditions = Conditions(tuple(map(str, range(N_RUNS))), parameters)
    tight, tighter = (
        simulate(compiled, TIMES, conditions, observables=compiled.species, options=SolverOptions(rtol, atol))
        for rtol, atol in ((1e-10, 1e-13), (1e-11, 1e-14))
    )
    assert tight.ok.all() and tighter.ok.all()
    for one, other in zip(tight.values, tighter.values, strict=True):
        assert global_error(one, other) < 1e-7
    return compiled, conditions, tighter.values


@pytest.mark.parametrize("rtol", [1e-3, 1e-5, 1e-7])
def test_every_run_finishes_and_errs_by_a_few_tolerances(
    reference: tuple[CompiledModel, Conditions, np.ndarray], rtol: float
) -> None:
    compiled, conditions, exact = reference
    options = SolverOptions(rtol=rtol, atol=1e-4 * rtol)
    result = simulate(compiled, TIMES, conditions, observables=compiled.species, options=options)
    assert result.ok.all(), result.summary()
    peaks = exact.max(axis=1, keepdims=True)
    errors = np.max(np.abs(result.values - exact) / (rtol * peaks + 1e-4 * rtol), axis=(1, 2))
    # the tolerance is on each step: errors of many steps add up, and outputs inside a step are of lower order
    assert np.median(errors) < 1 and max(errors) < 20
    totals = result.values @ conserved_totals(compiled).T
    # rounding of a slope (1e6 * 1e-16) over a step (100)
    np.testing.assert_allclose(totals, np.broadcast_to(totals[:, :1], totals.shape), rtol=0, atol=1e-8)
