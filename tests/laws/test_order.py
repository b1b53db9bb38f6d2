"""The integrator has the order that its tableau states: of the step, and of the output inside a step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers import dimerisation, pulsed

from residuum.simulator import CompiledModel, Status, rosenbrock
from residuum.simulator.tableaux import RODAS5P, RosenbrockTableau

PROBLEMS: dict[str, tuple[Callable[[], CompiledModel], Callable[[float], float]]] = {
    "autonomous": (dimerisation, lambda t: 1 / (1 + t)),
    "non-autonomous": (pulsed, lambda t: float(np.exp(-(t + (1 - np.cos(t)) / 2)))),
}


def one_step(compiled: CompiledModel, exact: Callable[[float], float], h: float) -> tuple[float, float]:
    """Return the errors at the end and, largest, inside of one step of size h from t = 0.3."""
    tables, order = compiled.plan
    t0 = 0.3
    inside = t0 + h * np.array([0.25, 0.5, 0.75])
    values = compiled.values(compiled.nominal)
    a = int(order.position[0])
    output = rosenbrock.Output(inside - t0, np.array([0, 1]), np.array([a]), np.ones(1))
    loose = np.full(compiled.n_species, 1e30)  # any error is accepted ...
    settings = rosenbrock.Settings(t0, h, 1.0, loose, False, 10, 0.0, h)
    y = np.zeros((1, compiled.n_species))
    y[0, a] = exact(t0)
    kept, counts, one = np.zeros((1, 3, 1)), np.zeros((1, 6), np.int64), np.zeros(1, np.int64)
    runs = rosenbrock.Runs(
        compiled.rate_constants(values), compiled.function_values(values), y, one.copy(), kept, one + Status.RUNNING,
        np.zeros(1), counts, one.copy(), np.zeros(1), np.zeros(1), np.zeros(1), one.copy(),
    )  # fmt: skip
    method, addresses = rosenbrock.method_of(RODAS5P), compiled.compiled_rates
    rosenbrock.integrate(tables, method, output, settings, runs, addresses[0], addresses[1], compiled.workspace(1))
    assert runs.status[0] == Status.OK and counts[0, rosenbrock.STEPS] == 1  # ... so that exactly one step is made
    return abs(y[0, a] - exact(t0 + h)), float(np.max(np.abs(kept[0, :, 0] - [exact(t) for t in inside])))


@pytest.mark.parametrize("name", PROBLEMS)
def test_error_of_one_step_falls_with_the_order_plus_one(name: str) -> None:
    build, exact = PROBLEMS[name]
    compiled = build()
    # small enough that the leading term dominates, large enough that errors stay above rounding
    sizes = 0.05 / 2.0 ** np.arange(3)
    errors = np.array([one_step(compiled, exact, h) for h in sizes])
    ends, insides = (np.polyfit(np.log(sizes), np.log(errors[:, k]), 1)[0] for k in (0, 1))
    assert ends == pytest.approx(RODAS5P.order + 1, abs=0.35)
    assert insides == pytest.approx(RODAS5P.dense_order + 1, abs=0.35)


def test_a_tableau_with_a_wrong_digit_is_refused() -> None:
    wrong = RODAS5P.a.copy()
    wrong[3, 1] += 1e-6
    with pytest.raises(ValueError, match="order conditions"):
        RosenbrockTableau("wrong", "", 5, 4, 4, RODAS5P.gamma, wrong, RODAS5P.c, RODAS5P.dense)
