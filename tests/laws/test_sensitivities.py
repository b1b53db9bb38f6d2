"""Sensitivities are the derivative of the step itself, and have the order of the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from helpers import dimerisation, example, net, pulsed

import residuum
from residuum.simulator import CompiledModel, Conditions, Status, compile_model, rosenbrock, sensitivity, simulate
from residuum.simulator.simd import PARAMETERS
from residuum.simulator.slopes import Forward, Slopes
from residuum.simulator.tableaux import RODAS5P

Float = np.ndarray


def one_step(
    compiled: CompiledModel, names: Sequence[str], h: float, t0: float, y0: Float, s0: Float, p: Float | None = None
) -> tuple[Float, Float, Float]:
    """Return amounts (n_species,) and sensitivities (n_species, n_names) after one step of size h, and inside of it.

    The third item holds the sensitivities after a quarter, a half and three quarters of the step.
    """
    tables, order = compiled.plan
    n, position = compiled.n_species, order.position
    inside = h * np.array([0.25, 0.5, 0.75])
    values = compiled.values(compiled.nominal if p is None else p)
    forward = Forward(compiled, Slopes(compiled, names))
    output = rosenbrock.Output(inside, np.arange(n + 1), position.copy(), np.ones(n))
    settings = rosenbrock.Settings(t0, h, 1.0, np.full(n, 1e30), False, 10, 0.0, h)  # any error is accepted ...
    y = np.ascontiguousarray(y0[None, order.permutation])
    runs = rosenbrock.new_runs(compiled.rate_constants(values), compiled.function_values(values), y)
    runs = runs._replace(kept=np.zeros((1, 3, n)))
    slopes = forward.runs(1, 3, n)
    forward.enter(slopes, values, (), start=True)
    columns = np.arange(len(names))
    place = (0, columns[None, :] // PARAMETERS, position[:, None], columns[None, :] % PARAMETERS)
    slopes.s[place] = s0
    addresses = compiled.compiled_rates[:2] + compiled.compiled_slopes[:2]
    sensitivity.integrate_slopes(
        tables, rosenbrock.method_of(RODAS5P), output, settings, runs, forward.inputs, slopes, addresses,
        compiled.workspace(n), forward.workspace(len(RODAS5P.a)),
    )  # fmt: skip
    assert runs.status[0] == Status.OK and runs.counts[0, rosenbrock.STEPS] == 1  # ... so that exactly one step is made
    return y[0, position], slopes.s[place], forward.by_name(slopes.kept)[0]


def phase(t: float) -> float:
    """Return the integral of the rate of `pulsed`, per unit of its constant k = 1."""
    return t + (1 - np.cos(t)) / 2


PROBLEMS: dict[str, tuple[Callable[[], CompiledModel], Callable[[float], float], Callable[[float], Sequence[float]]]]
PROBLEMS = {
    "autonomous": (dimerisation, lambda t: 1 / (1 + t), lambda t: [-t / (1 + t) ** 2, 1 / (1 + t) ** 2]),
    "non-autonomous": (
        pulsed, lambda t: np.exp(-phase(t)), lambda t: [-phase(t) * np.exp(-phase(t)), np.exp(-phase(t))],
    ),
}  # fmt: skip
"""Model of a species A, its amount, and the derivatives of that to k and to the amount at t = 0."""


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_error_of_one_step_falls_with_the_order_plus_one(name: str) -> None:
    build, amount, slopes = PROBLEMS[name]
    compiled, t0 = build(), 0.3
    names = ["k", compiled.species[0]]
    # small enough that the leading term dominates, large enough that errors stay above rounding
    sizes = 0.05 / 2.0 ** np.arange(3)
    errors = []
    for h in sizes:
        y0, s0 = np.zeros(compiled.n_species), np.zeros((compiled.n_species, 2))
        y0[0], s0[0] = amount(t0), slopes(t0)
        _, s, inside = one_step(compiled, names, h, t0, y0, s0)
        exact = np.array([slopes(t0 + h * theta) for theta in (0.25, 0.5, 0.75)])
        errors.append([*np.abs(s[0] - slopes(t0 + h)), *np.abs(inside[:, 0] - exact).max(axis=0)])
    measured = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    np.testing.assert_allclose(measured, [RODAS5P.order + 1] * 2 + [RODAS5P.dense_order + 1] * 2, atol=0.35)


def rodas_step(h: float, y: float, s: float, *, second_derivatives: bool) -> tuple[float, float]:
    """Return amount and sensitivity to k after one step of dA/dt = -k A^2, k = 1: the formulas without tables."""
    method, w = RODAS5P, 1 / (RODAS5P.gamma * h) + 2 * y
    u, du = np.zeros(8), np.zeros(8)
    for i in range(8):
        stage, d_stage = y + method.a[i] @ u, s + method.a[i] @ du
        u[i] = (-(stage**2) + method.c[i] @ u / h) / w
        right = -2 * stage * d_stage - stage**2 + method.c[i] @ du / h - 2 * y * u[i]
        du[i] = (right - second_derivatives * 2 * u[i] * s) / w
    return stage + u[-1], d_stage + du[-1]


def test_without_second_derivatives_the_order_is_lost() -> None:
    compiled, t0 = dimerisation(), 0.3
    y, s = 1 / (1 + t0), -t0 / (1 + t0) ** 2
    sizes = 0.05 / 2.0 ** np.arange(3)
    errors = []
    for h in sizes:
        whole = rodas_step(h, y, s, second_derivatives=True)
        ours = one_step(compiled, ["k"], h, t0, np.array([y, 0.0]), np.array([[s], [0.0]]))
        np.testing.assert_allclose([ours[0][0], ours[1][0, 0]], whole, rtol=1e-13)
        without = rodas_step(h, y, s, second_derivatives=False)[1]
        errors.append(abs(without + (t0 + h) / (1 + t0 + h) ** 2))
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] < 4


def third_order() -> CompiledModel:
    """Three and four reactants, a fixed species, a Hill function of a sum and explicit time, derived parameters."""
    return net(
        "k 0.7; n 2.5; K 0.8; V k*1.5; w 0.6; A0 1.2",
        "A() A0; B() 0.4; C() 0.3*A0; $D() 0.5",
        "1,1,2 3 k; 3,3,2,1 1 V; 2 1,1 rate; 3,4 2 0.5*drift; 1,4 2 k",
        "S 1,2; C_total 3",
        "hill() S^n/(K^n+S^n); rate() V*hill(); drift() (1+w*sin(time()))*exp(-C_total)*K",
    )


TREATED = {
    "drug1_dose": 20.0, "ligand_FGF2_dose": 1.0, "drug1_FLT3A_typeI_kon": 1e-3, "drug1_MEK_kon": 1e-3,
    "drug1_MEK_residual": 0.1,
}  # fmt: skip
MODELS: dict[str, tuple[Callable[[], CompiledModel], dict[str, float], float]] = {
    "third order": (third_order, {}, 0.3),
    "EARM": (lambda: compile_model(example("earm_1_0")), {}, 100.0),
    "AML": (residuum.aml_model, TREATED, 100.0),
}
"""Model, parameters, and the time at which the step begins; it doubles the time."""


@pytest.mark.parametrize("name", MODELS)
def test_sensitivities_are_the_derivative_of_the_step(name: str, request: pytest.FixtureRequest) -> None:
    if name == "EARM":
        request.getfixturevalue("bionetgen")
    build, changed, t0 = MODELS[name]
    compiled, h = build(), t0
    nominal = compiled.parameter_vector(changed)
    # rate constants of drugs that are absent are left out: behind the guards against 0/0 in the rate functions
    # they are linear over ranges far below the size of a difference
    nonzero = [p for p, value in zip(compiled.parameters, nominal, strict=True) if value != 0.0]
    names = [*nonzero[::3], *(p for p in changed if p not in nonzero[::3]), compiled.species[1]]
    y0 = simulate(compiled, [t0], Conditions(("a",), nominal[None]), observables=compiled.species).values[0, 0]
    fixed = np.array(compiled.network.fixed)
    size = y0.max()
    scale = np.array([abs(nominal[compiled.parameters.index(p)]) or 1.0 for p in names[:-1]] + [size])
    s0 = np.random.default_rng(0).normal(size=(compiled.n_species, len(names))) * y0[:, None] / scale
    s0[fixed] = 0.0
    _, s, _ = one_step(compiled, names, h, t0, y0, s0, nominal)
    for j, parameter in enumerate(names):
        ends = []
        for step in (1e-4, -1e-4):
            p = nominal.copy()
            if parameter in compiled.parameters:
                p[compiled.parameter_index(parameter)] += step * scale[j]
            ends.append(one_step(compiled, [], h, t0, y0 + step * scale[j] * s0[:, j], s0[:, :0], p)[0])
        difference = (ends[0] - ends[1]) / 2e-4
        largest = np.abs(difference).max()
        # truncation: (1e-4)^2 times third derivatives; rounding: 1e-16 / 1e-4 of the amounts
        np.testing.assert_allclose(
            s[:, j] * scale[j], difference, atol=1e-6 * largest + 1e-10 * size, err_msg=parameter
        )
