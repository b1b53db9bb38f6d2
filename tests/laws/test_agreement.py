"""Trajectories agree with SciPy on right-hand sides that PySB and sympy build independently, and totals are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import EXAMPLES, conserved_totals, example, global_error

import residuum
from residuum.simulator import CompiledModel, SolverOptions, compile_model, simulate

TIGHT = SolverOptions(rtol=1e-10)


def independent_rhs(model: Any) -> tuple[Callable[[float, Any], Any], np.ndarray]:
    """Return f(t, y) from the sympy equations of a PySB model, and its initial amounts."""
    import sympy
    from pysb.bng import generate_equations

    generate_equations(model)
    values = {p.name: p.value for p in model.parameters}
    symbols = sympy.symbols([f"__s{i}" for i in range(len(model.species))])
    named = {e.name: e.expand_expr(expand_observables=True) for e in model.expressions}
    flat = []
    for ode in model.odes:
        for _ in range(3):  # expressions of expressions
            ode = ode.subs({s: named[s.name] for s in ode.free_symbols if s.name in named})
        flat.append(ode)
    parameters = sorted({s for ode in flat for s in ode.free_symbols} - set(symbols), key=lambda s: s.name)
    function = sympy.lambdify([symbols, parameters], flat, "math", cse=True)
    given = [float(values[p.name]) for p in parameters]
    start = np.zeros(len(model.species))
    for initial in model.initials:
        index = model.get_species_index(initial.pattern)
        start[index] = initial.value.get_value() if hasattr(initial.value, "get_value") else initial.value.value
    return (lambda t, y: function(y, given)), start


def trajectories(compiled: CompiledModel, times: np.ndarray) -> np.ndarray:
    result = simulate(compiled, times, observables=compiled.species, options=TIGHT)
    assert result.ok.all(), result.message(0)
    return result.values[0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_agree_with_scipy_to_a_millionth(name: str, bionetgen: str) -> None:
    from scipy.integrate import solve_ivp

    model = example(name)
    compiled = compile_model(model)
    times = np.linspace(0, EXAMPLES[name], 31)
    rhs, start = independent_rhs(model)
    np.testing.assert_allclose(compiled.initial_amounts(), start)
    reference = solve_ivp(rhs, (0, times[-1]), start, "LSODA", times, rtol=1e-10, atol=1e-14 * start.max())
    assert reference.success
    assert global_error(trajectories(compiled, times), reference.y.T) <= 1e-6


def test_the_shipped_model_agrees_with_scipy_to_a_millionth(bionetgen: str) -> None:
    """With drugs on stroma, over a day: all rate functions and modules are at work."""
    from scipy.integrate import solve_ivp

    from residuum import models

    compiled = residuum.aml_model()
    conditions = residuum.aml_conditions(
        ["blast-itd+erk-stroma"], {"gilteritinib": 10.0, "trametinib": 3.0}, equilibrate=False
    )
    model = models.build()
    for name, value in zip(compiled.parameters, conditions.parameters[0], strict=True):
        model.parameters[name].value = value
    rhs, start = independent_rhs(model)
    times = np.linspace(0, 86_400, 25)
    np.testing.assert_allclose(compiled.initial_amounts(conditions.parameters[0]), start)
    reference = solve_ivp(rhs, (0, times[-1]), start, "LSODA", times, rtol=1e-10, atol=1e-14 * start.max())
    assert reference.success
    ours = simulate(compiled, times, conditions, observables=compiled.species, options=TIGHT)
    assert global_error(ours.values[0], reference.y.T) <= 1e-6


@pytest.mark.parametrize("name", EXAMPLES)
def test_conserved_totals_hold_to_a_billionth(name: str, bionetgen: str) -> None:
    compiled = compile_model(example(name))
    totals = conserved_totals(compiled)
    values = trajectories(compiled, np.linspace(0, EXAMPLES[name], 31)) @ totals.T
    scale = np.abs(totals) @ np.abs(compiled.initial_amounts()) + 1e-300
    assert np.max(np.abs(values - values[0]) / scale, initial=0.0) <= 1e-9


def test_conserved_totals_of_the_shipped_model_hold_to_a_billionth() -> None:
    compiled = residuum.aml_model()
    totals = conserved_totals(compiled)
    assert len(totals) >= 5  # SOS, RAS, RAF, MEK, ERK, STAT5, receptors ...
    conditions = residuum.aml_conditions(["blast-itd+erk-stroma"], {"gilteritinib": 30.0})
    times = np.linspace(0, 86_400, 25)
    values = simulate(compiled, times, conditions, observables=compiled.species).values[0] @ totals.T
    assert np.max(np.abs(values - values[0])) <= 1e-9 * np.abs(values[0]).max()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_jacobian_is_the_derivative_of_the_right_hand_side(name: str, bionetgen: str) -> None:
    compiled = compile_model(example(name))
    rng = np.random.default_rng(1)
    y = compiled.initial_amounts() + rng.random(compiled.n_species) * compiled.initial_amounts().max()
    jacobian = compiled.jacobian(0.0, y).toarray()
    numeric = np.empty_like(jacobian)
    for j in range(len(y)):
        step = np.zeros(len(y))
        step[j] = 1e-4 * y[j]  # kinetics are polynomials of low order: central differences are near exact
        numeric[:, j] = (compiled.rhs(0.0, y + step) - compiled.rhs(0.0, y - step)) / (2 * step[j])
    np.testing.assert_allclose(jacobian, numeric, rtol=1e-6, atol=1e-8 * np.abs(jacobian).max())
